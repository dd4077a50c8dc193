/**
 * Questions about lost COMMITs come together, as all sessions of a server lose their answers at once. Those that wait are
 * answered from one reading of the binlog: it begins where the oldest of them asks from, and each is told of no more than
 * it has asked for (`since` of the question). A reading that has begun already says nothing to who comes later: what that
 * one asks for may not have been there yet.
 */
import { messageOf } from '../../base/message-of.ts';
import { sleep, type Clock } from '../../base/clock.ts';
import { unknown, type CommitAnswer, type CommitQuestion } from './find-commit.ts';
import type { Held } from './held.ts';

/** What a server had at some moment. */
export interface HeldThen {
  readonly atMs: number;
  readonly held: Held;
}

/** Reads once, and answers all in their order; may reject. */
export type ReadOnce = (
  since: Held,
  questions: readonly CommitQuestion[],
  timeoutMs: number,
) => Promise<readonly CommitAnswer[]>;

interface Waiting {
  readonly question: CommitQuestion;
  readonly since: HeldThen;
  readonly endMs: number;
  readonly settle: (answer: CommitAnswer) => void;
}

/** So long is waited for others that ask at the same time. */
const GATHER_MS = 50;

/** One for each server that is asked, and each whose COMMITs are asked for. */
export class SharedSearch {
  readonly #clock: Clock;
  readonly #read: ReadOnce;
  #waiting: Waiting[] = [];
  #isReading = false;

  constructor(clock: Clock, read: ReadOnce) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Nobody waits for anything. */
  get isIdle(): boolean {
    return !this.#isReading && this.#waiting.length === 0;
  }

  /** Answers by `endMs`; never rejects. */
  ask(question: CommitQuestion, since: HeldThen, endMs: number): Promise<CommitAnswer> {
    return new Promise((resolve) => {
      const patience = this.#clock.after(Math.max(0, endMs - this.#clock.nowMs()), () =>
        resolve(unknown('the binlog was not read in time')),
      );
      const settle = (answer: CommitAnswer): void => {
        patience.cancel();
        resolve(answer);
      };
      this.#waiting.push({ question: { ...question, since: since.held }, since, endMs, settle });
      if (!this.#isReading) void this.#readAll();
    });
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    while (this.#waiting.length > 0) {
      await sleep(this.#clock, GATHER_MS);
      const asking = this.#waiting;
      this.#waiting = [];
      const answers = await this.#readFor(asking);
      for (const [index, { settle }] of asking.entries()) settle(answers[index] ?? unknown('no answer'));
    }
    this.#isReading = false;
  }

  async #readFor(asking: readonly Waiting[]): Promise<readonly CommitAnswer[]> {
    const [oldest] = asking.map(({ since }) => since).toSorted((one, other) => one.atMs - other.atMs);
    const endMs = Math.max(...asking.map((one) => one.endMs));
    const timeoutMs = Math.max(1, endMs - this.#clock.nowMs());
    try {
      const questions = asking.map(({ question }) => question);
      return await this.#read(oldest!.held, questions, timeoutMs);
    } catch (error) {
      const why = messageOf(error);
      return asking.map(() => unknown(why));
    }
  }
}
