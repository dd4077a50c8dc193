/**
 * The journal as promotions write it: the numbers of runs, what of a run has begun, failed or ended, and which runs
 * no process has ended. What a full disk keeps from being written is known here all the same while this process lives.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Notes } from './steps/notes.ts';
import { nextRun, unfinishedRuns, type Journal, type JournalEvent, type UnfinishedRun } from './journal.ts';
import { canBeUndone, leavesTraces, type PlanShape, type StepName } from './plan.ts';

/** Of a run what its entries need. */
export interface JournaledRun {
  readonly number: number;
  readonly cluster: string;
  readonly shape: PlanShape;
}

export interface RunJournalOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Journal;
}

/** How long until it is tried again to write down that a promotion has ended. */
const CLOSE_RETRY_MS = 1_000;

export class RunJournal {
  readonly #options: RunJournalOptions;
  /** Runs that have ended in this process, whether or not the journal knows. */
  readonly #ended = new Set<number>();
  /** By run: the last step of which this process has written down that it begins. */
  readonly #begun = new Map<number, StepName>();
  /** The number that was given out last, whether or not the journal has it yet. */
  #lastRun: number;
  /** Runs before this are of earlier processes. */
  readonly #firstOwnRun: number;
  #stopping = false;

  constructor(options: RunJournalOptions) {
    this.#options = options;
    this.#firstOwnRun = nextRun(options.journal.entries());
    this.#lastRun = this.#firstOwnRun - 1;
  }

  /** A number for a new run. That of another cluster may have one already that the journal has not. */
  nextRun(): number {
    return ++this.#lastRun;
  }

  /** This process has begun it. */
  isOwn(run: number): boolean {
    return run >= this.#firstOwnRun;
  }

  /** Those that no process has ended, as far as is known: one a cluster at most. */
  unfinished(): UnfinishedRun[] {
    return unfinishedRuns(this.#options.journal.entries()).filter(({ run }) => !this.#ended.has(run));
  }

  isUnfinished(run: number): boolean {
    return this.unfinished().some((one) => one.run === run);
  }

  unfinishedIn(cluster: string): UnfinishedRun | undefined {
    return this.unfinished().find((run) => run.cluster === cluster);
  }

  /** Nothing is tried again any more. */
  stop(): void {
    this.#stopping = true;
  }

  /** What leaves traces outside waits until it is on disk. Rejects with DBPROXY_STATE_FILE. */
  write(run: JournaledRun, event: JournalEvent): Promise<void> {
    const { clock, journal } = this.#options;
    const { number, cluster, shape } = run;
    const durable = event.event === 'opened' || (event.event === 'begun' && leavesTraces(shape, event.step));
    return journal.append({ run: number, cluster, wallMs: clock.wallMs(), ...event }, durable);
  }

  /** What has happened has happened, whether or not it could be written down: the next start does it once more. */
  async tryToWrite(run: JournaledRun, event: JournalEvent): Promise<void> {
    try {
      await this.write(run, event);
    } catch (error) {
      this.#complain(run.cluster, error);
    }
  }

  /** Before a step begins. Once there is no way back, a full disk keeps nobody from going on. */
  async begin(run: JournaledRun, step: StepName, notes: Notes): Promise<void> {
    // However often it is taken up there, this process writes it once.
    if (this.#begun.get(run.number) === step) return;
    const entry = { event: 'begun', step, notes } as const;
    if (!canBeUndone(run.shape, step)) return this.tryToWrite(run, entry);
    await this.write(run, entry);
    this.#begun.set(run.number, step);
  }

  /** A promotion that has ended has ended, also while that cannot be written down; it is tried until it is. */
  async close(run: number, cluster: string, event: JournalEvent & { event: 'closed' }): Promise<void> {
    const { clock, journal } = this.#options;
    this.#ended.add(run);
    try {
      await journal.append({ run, cluster, wallMs: clock.wallMs(), ...event }, true);
    } catch (error) {
      this.#complain(cluster, error);
      if (!this.#stopping) clock.after(CLOSE_RETRY_MS, () => void this.close(run, cluster, event));
    }
  }

  /** Nobody takes up what is unfinished in this cluster. Rejects with DBPROXY_STATE_FILE: then it stays unfinished. */
  async giveUp(cluster: string, epoch: number, detail = 'given up by FORCE'): Promise<void> {
    const { clock, journal } = this.#options;
    for (const { run } of this.unfinished().filter((one) => one.cluster === cluster)) {
      const entry = { run, cluster, wallMs: clock.wallMs(), epoch };
      await journal.append({ ...entry, event: 'closed', result: 'undone', detail }, true);
      this.#ended.add(run);
    }
  }

  #complain(cluster: string, error: unknown): void {
    this.#options.log.error('promote.journal', { cluster, error: String(error) });
  }
}
