/**
 * The network between hosts: each direction of each pair has a delay, keeps the order of what it carries, and can
 * be cut. What is under way on a cut line arrives when it is healed, as TCP sends it again; whoever waits for it
 * has given up by then, perhaps.
 */
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

interface Line {
  cutSinceMs: number | null;
  wholeSinceMs: number;
  lastReadyMs: number;
  /** What is under way, in the order in which it was sent. */
  readonly queue: { readonly readyMs: number; readonly arrive: () => void }[];
}

export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #lines = new Map<string, Line>();
  /** The usual delay, and one that comes now and then. */
  readonly #usualMs: number;
  readonly #rareMs: number;

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#usualMs = random.pick([0.2, 0.5, 2, 10]);
    this.#rareMs = random.pick([1, 5, 40, 120]);
  }

  /** Carries `arrive` from one host to another. */
  send(from: string, to: string, arrive: () => void): void {
    const line = this.#line(from, to);
    const readyMs = Math.max(line.lastReadyMs, this.#scheduler.nowMs + this.#delayMs());
    line.lastReadyMs = readyMs;
    line.queue.push({ readyMs, arrive });
    this.#scheduler.at(readyMs, () => this.#deliver(line));
  }

  cut(from: string, to: string): void {
    this.#line(from, to).cutSinceMs ??= this.#scheduler.nowMs;
  }

  heal(from: string, to: string): void {
    const line = this.#line(from, to);
    if (line.cutSinceMs === null) return;
    const { nowMs } = this.#scheduler;
    line.cutSinceMs = null;
    line.wholeSinceMs = nowMs;
    const againMs = nowMs + this.#delayMs();
    for (const { readyMs } of line.queue) {
      if (readyMs <= nowMs) this.#scheduler.at(againMs, () => this.#deliver(line));
    }
  }

  healAll(): void {
    for (const key of this.#lines.keys()) {
      const [from, to] = key.split('>');
      this.heal(from!, to!);
    }
  }

  /** Since when nothing gets through; null while it does. */
  cutSinceMs(from: string, to: string): number | null {
    return this.#line(from, to).cutSinceMs;
  }

  /** For how long all has got through; 0 while it does not. */
  wholeForMs(from: string, to: string): number {
    const { cutSinceMs, wholeSinceMs } = this.#line(from, to);
    return cutSinceMs === null ? this.#scheduler.nowMs - wholeSinceMs : 0;
  }

  /** The first that is under way, if it is there. */
  #deliver(line: Line): void {
    const [first] = line.queue;
    if (first === undefined || line.cutSinceMs !== null || first.readyMs > this.#scheduler.nowMs) return;
    line.queue.shift();
    first.arrive();
  }

  #delayMs(): number {
    return this.#random.between(0.5, 1.5) * (this.#random.chance(0.03) ? this.#rareMs : this.#usualMs);
  }

  #line(from: string, to: string): Line {
    const key = `${from}>${to}`;
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { cutSinceMs: null, wholeSinceMs: 0, lastReadyMs: 0, queue: [] };
      this.#lines.set(key, line);
    }
    return line;
  }
}
