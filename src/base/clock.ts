/**
 * Time, as an argument. Decisions take `now`; whoever needs a timer gets a Clock.
 * This is the only file that touches Date.now, performance.now, setTimeout and Math.random, so that
 * tests and the simulator can run the same code on a clock of their own.
 */

/** A timer that was set and can be taken back. */
export interface Timer {
  /** Takes the timer back; harmless when it has fired already. */
  cancel(): void;
}

/** The source of time for one process. */
export interface Clock {
  /** Monotonic time in milliseconds (fractions allowed); only differences have a meaning. */
  nowMs(): number;
  /** Wall-clock time in milliseconds since the Unix epoch; for people, never for decisions. */
  wallMs(): number;
  /**
   * Milliseconds that this process has spent with nothing to do. What it waited for while it was idle was slow;
   * what was there when it looked again was not, however long that took.
   */
  idleMs(): number;
  /** Runs `callback` once after `delayMs`. */
  after(delayMs: number, callback: () => void): Timer;
  /** Runs `callback` every `intervalMs` until cancelled. */
  every(intervalMs: number, callback: () => void): Timer;
  /** A number in [0, 1). */
  random(): number;
}

/** The clock of the machine. Timers do not keep the process alive by themselves. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  idleMs: () => performance.nodeTiming.idleTime,
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(intervalMs, callback) {
    const handle = setInterval(callback, intervalMs);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
  random: () => Math.random(),
};

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `delayMs`, or at once when `signal` is aborted. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const wake = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = clock.after(delayMs, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

/** Keeps the process alive until this work has ended, though it may wait for nothing but the clock. */
export function stayAliveFor<T>(work: Promise<T>): Promise<T> {
  const handle = setInterval(() => undefined, LONGEST_TIMER_MS);
  return work.finally(() => clearInterval(handle));
}

/** Runs `callback` when all input that is there now has been handled: what it has gathered goes out together. */
export function afterThisRound(callback: () => void): void {
  setImmediate(callback);
}
