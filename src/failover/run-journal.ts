/**
 * The journal as promotions write it: the numbers of runs, what of a run has begun, failed or ended, and which runs
 * no process has ended. What a full disk keeps from being written is known here all the same while this process lives.
 *
 * Of a pair both have what is under way (`shared-run.ts`), and that decides what is unfinished: what this journal alone
 * has was ended by the other, or had not begun. A journal that is older than the pair is closed so, too.
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
  /** By cluster: the run that is under way here, once both have had it. */
  readonly #noted = new Map<string, number>();
  /** Runs of which both know that they are past the point of no return, or are being told. */
  readonly #isBeyond = new Set<number>();
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
    // What both have by then was seen to be over, or is not to be understood here.
    if (event.event === 'opened') return this.#share(number, cluster, () => true);
    if (event.event !== 'begun') return;
    // A cluster that had no primary yet had no place for it.
    const isStill = (known: PromotionUnderWay | null): boolean =>
      this.#noted.has(cluster) ? this.#isSame(known, number) : known === null;
    if (canBeUndone(shape, event.step)) {
      if (durable) await this.#share(number, cluster, isStill);
    } else if (!this.#isBeyond.has(number)) {
      // So that who takes it up need not have the new primary answer; nothing waits for that.
      this.#isBeyond.add(number);
      this.#share(number, cluster, isStill).catch((error: unknown) => this.#complain(cluster, error));
    }
  }

  async #share(
    number: number,
    cluster: string,
    replaces: (known: PromotionUnderWay | null) => boolean,
  ): Promise<void> {
    const { shared } = this.#options;
    const run = this.#unfinishedHere().find((one) => one.run === number);
    if (shared === undefined || run === undefined) return;
    const { decision, notes } = run;
    const target = notes?.target ?? decision.target;
    await shared.note(cluster, { by: shared.by, number, target, run: sharedPartOf(run) }, replaces);
    if (shared.keptOf(cluster) !== null) this.#noted.set(cluster, number);
  }

  async #endShared(number: number, cluster: string): Promise<void> {
    this.#noted.delete(cluster);
    await this.#options.shared?.end(cluster, (one) => this.#isSame(one, number));
  }

  /** What both have is this run. */
  #isSame(known: Pick<PromotionUnderWay, 'by' | 'number'> | null, number: number): boolean {
    if (known === null) return false;
    const inherited = this.#inherited.get(number);
    const isOwn = known.by === this.#options.shared?.by && known.number === number;
    return isOwn || (known.by === inherited?.by && known.number === inherited.number);
  }

  /** The run of this cluster that both had is not what both have any more: the other one has gone on without it. */
  isOvertaken(cluster: string): boolean {
    const number = this.#noted.get(cluster);
    const kept = this.#options.shared?.keptOf(cluster) ?? null;
    return number !== undefined && !this.#isSame(kept, number);
  }

  /**
   * From here on it is this process's. Where that cannot be written down it stays what it was for both, so that whoever
   * comes next does the same once more.
   */
  async takeOver(run: UnfinishedRun): Promise<void> {
    const { clock, journal, shared } = this.#options;
    const { run: number, cluster } = run;
    if (!this.#inherited.has(number) || shared?.runOf(cluster)?.by === shared?.by) return;
    this.#noted.set(cluster, number);
    try {
      for (const event of eventsOf(run))
        await journal.append({ run: number, cluster, wallMs: clock.wallMs(), ...event }, true);
      await this.#share(number, cluster, (known) => this.#isSame(known, number));
    } catch (error) {
      this.#complain(cluster, error);
    }
  }

  /**
   * Closes here what both do not have any more: the other has ended it, or nothing of it had begun. What cannot be written
   * down is tried again with the next call.
   */
  async closeSuperseded(
    isRunning: (cluster: string) => boolean,
    epochOf: (cluster: string) => number,
  ): Promise<void> {
    const { clock, journal, shared } = this.#options;
    if (shared === undefined) return;
    for (const { run, cluster } of this.#unfinishedHere()) {
      const kept = shared.keptOf(cluster);
      // A process before this one on this host has the same numbers, and another name.
      const isOfBefore = run < this.#firstOwnRun && kept?.number === run;
      if (isRunning(cluster) || isOfBefore || this.#isSame(kept, run)) continue;
      const entry = { run, cluster, wallMs: clock.wallMs(), epoch: epochOf(cluster) };
      const detail = 'the other dbproxy has ended it, or nothing of it had begun';
      this.#ended.add(run);
      this.#noted.delete(cluster);
      try {
        await journal.append({ ...entry, event: 'closed', result: 'undone', detail }, true);
      } catch (error) {
        this.#ended.delete(run);
        this.#complain(cluster, error);
      }
    }
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

  /** Nobody takes up what is unfinished in this cluster. Rejects with DBPROXY_STATE_FILE: then it stays unfinished, here at least. */
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
