/**
 * A clock that stands still until a test turns it. Timers fire in the order of their time.
 */
import type { Clock, Timer } from '../../src/base/clock.ts';

interface Alarm {
  atMs: number;
  readonly everyMs: number | null;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #alarms = new Set<Alarm>();

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  random(): number {
    return 0.5;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#add({ atMs: this.#nowMs + delayMs, everyMs: null, callback });
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#add({ atMs: this.#nowMs + intervalMs, everyMs: intervalMs, callback });
  }

  /** Lets time pass, firing what is due, and between two timers lets promises settle. */
  async pass(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await settle();
    for (let alarm = this.#next(endMs); alarm !== undefined; alarm = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, alarm.atMs);
      this.#fire(alarm);
      await settle();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass without firing anything, as when the process stood still. */
  jump(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  #add(alarm: Alarm): Timer {
    this.#alarms.add(alarm);
    return { cancel: () => void this.#alarms.delete(alarm) };
  }

  #next(endMs: number): Alarm | undefined {
    const due = [...this.#alarms].filter(({ atMs }) => atMs <= endMs);
    return due.sort((one, other) => one.atMs - other.atMs)[0];
  }

  #fire(alarm: Alarm): void {
    if (alarm.everyMs === null) this.#alarms.delete(alarm);
    else alarm.atMs = this.#nowMs + alarm.everyMs;
    alarm.callback();
  }
}

/** Runs all promise callbacks that are due, and those they make due. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
