/**
 * Holding the statements of one cluster in one worker: while a promotion moves the primary, what needs it waits here
 * instead of failing, and goes on when the new primary takes writes. Nothing that waits has been sent anywhere, so
 * nothing is run twice; and nothing waits longer than hold_timeout.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { DURATION_BOUNDS_SECONDS, type HoldStats } from '../ipc/messages.ts';

export class WriteHold {
  readonly #cluster: string;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  readonly #buckets: number[] = Array.from({ length: DURATION_BOUNDS_SECONDS.length + 1 }, () => 0);
  #count = 0;
  #sumMs = 0;
  /** Looked at for every statement. */
  isOn = false;

  /** `timeoutMs`: hold_timeout of the cluster. */
  constructor(cluster: string, timeoutMs: number, clock: Clock) {
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
  }

  begin(): void {
    this.isOn = true;
  }

  /** Lets all go that wait. */
  end(): void {
    this.isOn = false;
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves when the hold is over; rejects with DBPROXY_WRITES_HELD when that takes longer than hold_timeout. */
  released(): Promise<void> {
    if (!this.isOn) return Promise.resolve();
    const sinceMs = this.#clock.nowMs();
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel();
        this.#waiting.delete(wake);
        this.#record(this.#clock.nowMs() - sinceMs);
      };
      const wake = (): void => {
        settle();
        resolve();
      };
      const timer = this.#clock.after(this.#timeoutMs, () => {
        settle();
        reject(refusal('DBPROXY_WRITES_HELD', this.#cluster, this.#timeoutMs));
      });
      this.#waiting.add(wake);
    });
  }

  /** How many wait, and how long those have waited that do not any more. */
  stats(): HoldStats {
    return {
      cluster: this.#cluster,
      held: this.#waiting.size,
      count: this.#count,
      durationBuckets: [...this.#buckets],
      durationSumSeconds: this.#sumMs / 1000,
    };
  }

  #record(durationMs: number): void {
    let bucket = 0;
    while (bucket < DURATION_BOUNDS_SECONDS.length && durationMs > DURATION_BOUNDS_SECONDS[bucket]! * 1000) {
      bucket++;
    }
    this.#buckets[bucket]!++;
    this.#count++;
    this.#sumMs += durationMs;
  }
}
