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
    for (;;) {
      const due = [...this.#alarms].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = due.atMs;
      if (due.intervalMs === null) this.#alarms.delete(due);
      else due.atMs += due.intervalMs;
      due.callback();
    }
    this.#nowMs = untilMs;
  }

  #set(alarm: Alarm): Timer {
    this.#alarms.add(alarm);
    return { cancel: () => this.#alarms.delete(alarm) };
  }
}
