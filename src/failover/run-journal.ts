/**
 * The journal as promotions write it: the numbers of runs, what of a run has begun, failed or ended, and which runs
 * no process has ended. What a full disk keeps from being written is known here all the same while this process lives.
 *
 * Of a pair both have what is under way (`shared-run.ts`), and that decides what is unfinished: what this journal alone
 * has was ended by the other, or had not begun.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Notes } from './steps/notes.ts';
import { nextRun, unfinishedRuns, type Journal, type JournalEvent, type UnfinishedRun } from './journal.ts';
import type { PromotionUnderWay } from '../topology/state-file.ts';
import { eventsOf, sharedPartOf, unfinishedFrom, type SharedRuns } from './shared-run.ts';
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
  /** What both of a pair have; absent: there is no other. */
  readonly shared?: SharedRuns | undefined;
}

/** How long until it is tried again to write down that a promotion has ended. */
const CLOSE_RETRY_MS = 1_000;

export class RunJournal {
  readonly #options: RunJournalOptions;
  /** Runs that have ended in this process, whether or not the journal knows. */
  readonly #ended = new Set<number>();
  /** By run: the last step of which this process has written down that it begins. */
  readonly #begun = new Map<number, StepName>();
  /** Of the other, or of a process before this one of the pair: by the numbers that they have here. */
  readonly #inherited = new Map<number, Pick<PromotionUnderWay, 'by' | 'number'>>();
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
    return run >= this.#firstOwnRun && !this.#inherited.has(run);
  }

  /** Those that no process has ended, as far as is known: one a cluster at most. */
  unfinished(): UnfinishedRun[] {
    const { shared } = this.#options;
    const own = this.#unfinishedHere();
    if (shared === undefined) return own;
    return shared.clusters.flatMap((cluster) => {
      const promotion = shared.runOf(cluster);
      if (promotion === null) return [];
      const run =
        promotion.by === shared.by
          ? own.find((one) => one.run === promotion.number && one.cluster === cluster)
          : unfinishedFrom(promotion, cluster, this.#numberOf(promotion));
      return run === undefined || run === null || this.#ended.has(run.run) ? [] : [run];
    });
  }

  #unfinishedHere(): UnfinishedRun[] {
    return unfinishedRuns(this.#options.journal.entries()).filter(({ run }) => !this.#ended.has(run));
  }

  #numberOf({ by, number }: PromotionUnderWay): number {
    for (const [here, one] of this.#inherited) if (one.by === by && one.number === number) return here;
    const here = this.nextRun();
    this.#inherited.set(here, { by, number });
    return here;
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

  /**
   * What leaves traces outside waits until it is on disk, and, up to the point of no return, until the other of a pair
   * has it: from there on it goes forward, from wherever. Rejects with DBPROXY_STATE_FILE or DBPROXY_NOT_IN_CHARGE.
   */
  async write(run: JournaledRun, event: JournalEvent): Promise<void> {
    const { clock, journal } = this.#options;
    const { number, cluster, shape } = run;
    const durable = event.event === 'opened' || (event.event === 'begun' && leavesTraces(shape, event.step));
    await journal.append({ run: number, cluster, wallMs: clock.wallMs(), ...event }, durable);
    if (event.event === 'opened' || (event.event === 'begun' && durable && canBeUndone(shape, event.step)))
      await this.#share(number, cluster);
  }

  async #share(number: number, cluster: string): Promise<void> {
    const { shared } = this.#options;
    const run = this.#unfinishedHere().find((one) => one.run === number);
    if (shared === undefined || run === undefined) return;
    await shared.note(cluster, { by: shared.by, number, run: sharedPartOf(run) });
  }

  async #endShared(number: number, cluster: string): Promise<void> {
    const { shared } = this.#options;
    const inherited = this.#inherited.get(number);
    await shared?.end(
      cluster,
      (one) =>
        (one.by === shared.by && one.number === number) ||
        (one.by === inherited?.by && one.number === inherited.number),
    );
  }

  /**
   * From here on it is this process's. Where that cannot be written down it stays what it was for both, so that whoever
   * comes next does the same once more.
   */
  async takeOver(run: UnfinishedRun): Promise<void> {
    const { clock, journal, shared } = this.#options;
    const { run: number, cluster } = run;
    if (!this.#inherited.has(number) || shared?.runOf(cluster)?.by === shared?.by) return;
    try {
      for (const event of eventsOf(run))
        await journal.append({ run: number, cluster, wallMs: clock.wallMs(), ...event }, true);
      await this.#share(number, cluster);
    } catch (error) {
      this.#complain(cluster, error);
    }
  }

  /**
   * Closes here what both do not have any more: the other has ended it, or nothing of it had begun. Answers the clusters;
   * what cannot be written down is in the next answer.
   */
  async closeSuperseded(
    isRunning: (cluster: string) => boolean,
    epochOf: (cluster: string) => number,
  ): Promise<string[]> {
    const { clock, journal, shared } = this.#options;
    if (shared === undefined) return [];
    const closed: string[] = [];
    for (const { run, cluster } of this.#unfinishedHere()) {
      if (isRunning(cluster) || shared.keptOf(cluster)?.number === run) continue;
      const entry = { run, cluster, wallMs: clock.wallMs(), epoch: epochOf(cluster) };
      const detail = 'the other dbproxy has ended it, or nothing of it had begun';
      this.#ended.add(run);
      try {
        await journal.append({ ...entry, event: 'closed', result: 'undone', detail }, true);
        closed.push(cluster);
      } catch (error) {
        this.#ended.delete(run);
        this.#complain(cluster, error);
      }
    }
    return closed;
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
      await this.#endShared(run, cluster);
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
      await this.#endShared(run, cluster);
      const entry = { run, cluster, wallMs: clock.wallMs(), epoch };
      await journal.append({ ...entry, event: 'closed', result: 'undone', detail }, true);
      this.#ended.add(run);
    }
  }

  #complain(cluster: string, error: unknown): void {
    this.#options.log.error('promote.journal', { cluster, error: String(error) });
  }
}
