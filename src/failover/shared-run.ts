/**
 * A promotion under way as the two dbproxies of a pair have it in common (`PromotionUnderWay` of the state file): so who
 * comes into charge goes on at the step where the other one stood, or takes it back. Pure.
 */
import type { PromotionUnderWay } from '../topology/state-file.ts';
import type { JournalEvent, UnfinishedRun } from './journal.ts';
import { stepsOf, type PlanShape } from './plan.ts';

/** What the journal of a pair needs of the state that both have. */
export interface SharedRuns {
  /** This process. */
  readonly by: string;
  readonly clusters: readonly string[];
  /** What both have of a cluster, whoever carries it out. */
  keptOf(cluster: string): PromotionUnderWay | null;
  /** What is under way in a cluster and is this process's own, or for it to take up; null: nothing is. */
  runOf(cluster: string): PromotionUnderWay | null;
  /**
   * Writes down how far it has come, instead of what `replaces` says; rejects when something else is there, and when it is
   * not on both disks, or on the one that is left.
   */
  note(
    cluster: string,
    promotion: Omit<PromotionUnderWay, 'ofEpoch'>,
    replaces: (known: PromotionUnderWay | null) => boolean,
  ): Promise<void>;
  /** Writes down that it has ended; rejects as `note` does. */
  end(cluster: string, ended: (promotion: PromotionUnderWay) => boolean): Promise<void>;
}

/** What is kept of it. */
export function sharedPartOf(run: UnfinishedRun): PromotionUnderWay['run'] {
  const { run: _run, cluster: _cluster, ...shared } = run;
  return shared;
}

/** The promotion that was kept, under a number of this journal; null: another version has kept it, in its own way. */
export function unfinishedFrom(
  { run: kept }: PromotionUnderWay,
  cluster: string,
  number: number,
): UnfinishedRun | null {
  const { decision, epoch, step, sinceWallMs, undoing, notes } = kept as Partial<UnfinishedRun>;
  const shape = decision?.shape as Partial<PlanShape> | null | undefined;
  if (decision === undefined || shape === undefined || shape === null || typeof decision.target !== 'string')
    return null;
  if (typeof epoch !== 'number' || typeof sinceWallMs !== 'number' || typeof undoing !== 'boolean')
    return null;
  if (step !== null && (step === undefined || notes === undefined)) return null;
  if (!['switchover', 'failover', 'adopt'].includes(String(shape.kind))) return null;
  if (step !== null && !stepsOf(decision.shape).includes(step)) return null;
  return { run: number, cluster, decision, epoch, step, sinceWallMs, undoing, notes };
}

/** What a journal has of it when it has been begun there. */
export function eventsOf({ decision, epoch, step, undoing, notes }: UnfinishedRun): JournalEvent[] {
  const events: JournalEvent[] = [{ event: 'opened', decision, epoch, takenOver: true }];
  if (step === null || notes === undefined) return events;
  events.push({ event: 'begun', step, notes });
  if (undoing) events.push({ event: 'undone', step, detail: 'it was being taken back' });
  return events;
}
