/**
 * Logins that wait until the accounts have been looked at anew, because what is known of them does not let
 * the client in. The supervisor answers, for all workers; here are the bounds of the waiting.
 */
import type { Clock } from '../base/clock.ts';
import type { UserDirectory } from './users.ts';

/** Who has waited this long is answered by what is known. */
const WAIT_MS = 2_000;
/** More logins at once do not wait: somebody is guessing. */
const WAITING_MAX = 1_000;

export interface AccountQuestionsOptions {
  readonly clock: Clock;
  readonly users: Pick<UserDirectory, 'revision'>;
  /** Sends the question; its answer comes to `answered`. */
  readonly ask: (requestId: number, cluster: string) => void;
}

export class AccountQuestions {
  readonly #options: AccountQuestionsOptions;
  readonly #waiting = new Map<number, () => void>();
  #lastRequestId = 0;

  constructor(options: AccountQuestionsOptions) {
    this.#options = options;
  }

  /** True when there are other accounts than at the time of the call; waits for a bounded time. */
  async refresh(cluster: string): Promise<boolean> {
    const { clock, users, ask } = this.#options;
    if (this.#waiting.size >= WAITING_MAX) return false;
    const before = users.revision;
    const requestId = ++this.#lastRequestId;
    await new Promise<void>((resolve) => {
      const timer = clock.after(WAIT_MS, () => this.answered(requestId));
      this.#waiting.set(requestId, () => {
        timer.cancel();
        resolve();
      });
      ask(requestId, cluster);
    });
    return users.revision !== before;
  }

  /** The supervisor has looked; what it found new came before. */
  answered(requestId: number): void {
    const wake = this.#waiting.get(requestId);
    this.#waiting.delete(requestId);
    wake?.();
  }
}
