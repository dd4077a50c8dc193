/**
 * Logins that wait until the accounts have been looked at anew, because what is known of them does not let
 * the client in. The supervisor answers, for all workers; here are the bounds of the waiting. As long as no accounts
 * could be read at all, who has patience waits for the first ones.
 */
import type { Clock } from '../base/clock.ts';
import type { UserDirectory } from './users.ts';

/** Who has waited this long is answered by what is known. */
const WAIT_MS = 2_000;
/** More logins at once do not wait: somebody is guessing. */
const WAITING_MAX = 1_000;

export interface AccountQuestionsOptions {
  readonly clock: Clock;
  readonly users: Pick<UserDirectory, 'revision' | 'isUnread'>;
  /** Sends the question; its answer comes to `answered`. */
  readonly ask: (requestId: number, cluster: string) => void;
}

export class AccountQuestions {
  readonly #options: AccountQuestionsOptions;
  /** By the number of their question: told whether the first accounts may come yet. */
  readonly #asking = new Map<number, (awaitsFirst: boolean) => void>();
  /** Who waits for the first accounts of a cluster. */
  readonly #awaiting = new Map<() => void, string>();
  #lastRequestId = 0;

  constructor(options: AccountQuestionsOptions) {
    this.#options = options;
  }

  /**
   * True when there are other accounts than at the time of the call; waits for a bounded time. While there are none at
   * all and they may come yet, that is `patienceMs`.
   */
  async refresh(cluster: string, patienceMs = 0): Promise<boolean> {
    const { clock, users } = this.#options;
    if (this.#asking.size + this.#awaiting.size >= WAITING_MAX) return false;
    const before = users.revision;
    const deadlineMs = clock.nowMs() + patienceMs;
    const awaitsFirst = await this.#ask(cluster);
    const leftMs = deadlineMs - clock.nowMs();
    if (awaitsFirst && leftMs > 0 && users.isUnread(cluster)) await this.#awaitFirst(cluster, leftMs);
    return users.revision !== before;
  }

  /** The supervisor has looked; what it found new came before. */
  answered(requestId: number, awaitsFirst: boolean): void {
    const wake = this.#asking.get(requestId);
    this.#asking.delete(requestId);
    wake?.(awaitsFirst);
  }

  /** Accounts of this cluster have come. */
  arrived(cluster: string): void {
    for (const [wake, awaited] of this.#awaiting) if (awaited === cluster) wake();
  }

  /** What is not answered in time may be read yet. */
  #ask(cluster: string): Promise<boolean> {
    const { clock, ask } = this.#options;
    const requestId = ++this.#lastRequestId;
    return new Promise((resolve) => {
      const timer = clock.after(WAIT_MS, () => this.answered(requestId, true));
      this.#asking.set(requestId, (awaitsFirst) => {
        timer.cancel();
        resolve(awaitsFirst);
      });
      ask(requestId, cluster);
    });
  }

  #awaitFirst(cluster: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#awaiting.delete(wake);
        resolve();
      };
      const timer = this.#options.clock.after(timeoutMs, wake);
      this.#awaiting.set(wake, cluster);
    });
  }
}
