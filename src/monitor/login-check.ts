/**
 * Would this server let us in anew? The connection of the checks is kept, and lives on when its account is locked, dropped
 * or given another password; each act of a promotion logs in anew, and would be refused. So a new login is made from time
 * to time, beside the checks: it never says whether the server is up, only whether it refuses us.
 */
import type { Clock } from '../base/clock.ts';
import { classifyError } from './observation.ts';

export class LoginCheck {
  readonly #intervalMs: number;
  readonly #clock: Clock;
  readonly #logIn: (timeoutMs: number) => Promise<{ close(): void }>;
  #lastMs = -Infinity;
  #isRunning = false;
  #trouble: string | null = null;

  /** `logIn` rejects with the driver's error. */
  constructor(intervalMs: number, clock: Clock, logIn: (timeoutMs: number) => Promise<{ close(): void }>) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#logIn = logIn;
  }

  /** Why the last new login that was answered was refused; null: it was not. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Somebody has logged in anew: `error` is what came of it, null when all went well. */
  note(error: unknown): void {
    this.#lastMs = this.#clock.nowMs();
    if (error === null) {
      this.#trouble = null;
      return;
    }
    const failure = classifyError(error);
    // Whatever else went wrong says nothing of the account.
    if (failure.kind === 'access_denied') this.#trouble = failure.message;
  }

  /** Logs in when the last login is long enough ago and none is under way. */
  async tryIfDue(timeoutMs: number): Promise<void> {
    if (this.#isRunning || this.#clock.nowMs() - this.#lastMs < this.#intervalMs) return;
    this.#isRunning = true;
    // The next one counts from here: a login that is not answered must not be followed at once by another.
    this.#lastMs = this.#clock.nowMs();
    try {
      (await this.#logIn(timeoutMs)).close();
      this.note(null);
    } catch (error) {
      this.note(error);
    } finally {
      this.#isRunning = false;
    }
  }
}
