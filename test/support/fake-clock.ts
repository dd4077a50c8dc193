/**
 * A clock that stands until a test moves it: timers fire in `advance`, in the order of their times.
 */
import type { Clock, Timer } from '../../src/base/clock.ts';

interface Alarm {
  atMs: number;
  intervalMs: number | null;
  callback: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 1_000;
  readonly #alarms = new Set<Alarm>();

  nowMs(): number {
    return this.#nowMs;
  }

  idleMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#set({ atMs: this.#nowMs + delayMs, intervalMs: null, callback });
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#set({ atMs: this.#nowMs + intervalMs, intervalMs, callback });
  }

  random(): number {
    return 0.5;
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#alarms.size;
  }

  /** Moves time on and fires what falls due on the way. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** As `advance`, and between two timers lets promises settle. */
  async pass(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    do await settle();
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Lets time pass without firing anything, as when the process stood still. */
  jump(byMs: number): void {
    this.#nowMs += byMs;
  }

  /** Fires the earliest timer due until then; false when there is none. */
  #fireNext(untilMs: number): boolean {
    const due = [...this.#alarms].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
    if (due === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, due.atMs);
    if (due.intervalMs === null) this.#alarms.delete(due);
    else due.atMs = this.#nowMs + due.intervalMs;
    due.callback();
    return true;
  }

  #set(alarm: Alarm): Timer {
    this.#alarms.add(alarm);
    return { cancel: () => this.#alarms.delete(alarm) };
  }
}

/** Runs all promise callbacks that are due, and those they make due. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
