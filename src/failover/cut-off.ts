/**
 * Promotions that were cut off: what is to be taken for true of one, and how often it is tried to take it up while
 * that fails.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { UnfinishedRun } from './journal.ts';
import { stepsOf, stepsToUndoBefore, type StepName } from './plan.ts';
import type { RunningPlan } from './promotion-run.ts';
import type { Notes } from './steps/notes.ts';
import type { PromotionWorld } from './steps/world.ts';

/** Of one that nobody has tried to take up yet. */
export const CUT_OFF = 'dbproxy was stopped in the middle of it';

/** How long a promotion that could not be taken up is left alone: at first, and at most. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 15_000;

export interface StuckRunsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** A line for SHOW EVENTS. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
  /** The server that it would make the primary answers. */
  readonly targetAnswers: (run: UnfinishedRun) => boolean;
}

interface Attempts {
  readonly count: number;
  readonly reason: string;
  /** Not tried again before that, unless its target answers anew. */
  readonly notBeforeMs: number;
  readonly targetAnswered: boolean;
}

/** What has come of the attempts to take up each run. */
export class StuckRuns {
  readonly #options: StuckRunsOptions;
  readonly #attempts = new Map<number, Attempts>();

  constructor(options: StuckRunsOptions) {
    this.#options = options;
  }

  isDue(run: UnfinishedRun): boolean {
    const attempts = this.#attempts.get(run.run);
    if (attempts === undefined || this.#options.clock.nowMs() >= attempts.notBeforeMs) return true;
    return !attempts.targetAnswered && this.#options.targetAnswers(run);
  }

  /** Why the last attempt has failed; undefined: there has been none. */
  reasonOf({ run }: Pick<UnfinishedRun, 'run'>): string | undefined {
    return this.#attempts.get(run)?.reason;
  }

  forget({ run }: UnfinishedRun): void {
    this.#attempts.delete(run);
  }

  /** One more attempt has failed. The same reason once more is no news. */
  failed(run: UnfinishedRun, reason: string): void {
    const { clock, log, onEvent, targetAnswers } = this.#options;
    const before = this.#attempts.get(run.run);
    const count = (before?.count ?? 0) + 1;
    const isNews = before?.reason !== reason;
    log[isNews ? 'error' : 'debug']('promote.resumed_badly', {
      cluster: run.cluster,
      reason,
      attempts: count,
    });
    const advice = 'it is tried again; FAILOVER TO … FORCE gives it up';
    if (isNews) onEvent('promote.resumed_badly', run.decision.target, `${reason}; ${advice}`);
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (count - 1));
    this.#attempts.set(run.run, {
      count,
      reason,
      notBeforeMs: clock.nowMs() + waitMs,
      targetAnswered: targetAnswers(run),
    });
  }
}

/** For SHOW PLAN. What had begun before is not known step by step. */
export function waitingPlanOf(
  { cluster, decision, notes, step, undoing }: UnfinishedRun,
  reason: string,
): RunningPlan {
  const { shape, because } = decision;
  const steps = stepsOf(shape);
  return {
    cluster,
    kind: shape.kind,
    target: notes?.target ?? decision.target,
    because: `${because}; cut off: ${reason}`,
    steps: [],
    now: step ?? '',
    undoneFor: undoing ? reason : null,
    left:
      undoing && step !== null
        ? stepsToUndoBefore(shape, step)
        : steps.slice(step === null ? 0 : steps.indexOf(step) + 1),
    isWaiting: true,
  };
}

/**
 * Its record was made and taken back, though the journal may have lost that: then the old primary may write again,
 * and going forward would make a second writer. The state file is flushed with each change.
 */
export function wasTakenBack(
  { cluster, decision, epoch, notes }: UnfinishedRun,
  world: Pick<PromotionWorld, 'epochOf' | 'rememberedPrimary'>,
): boolean {
  const target = notes?.target ?? decision.target;
  return world.epochOf(cluster) > epoch && world.rememberedPrimary(cluster) !== target;
}

/**
 * What must be taken for true of it: a step that had begun may have done all of its work, though it did not come to
 * write that down.
 */
export function notesAfter({ decision, step, notes }: UnfinishedRun): Notes | undefined {
  if (notes === undefined || step === null) return notes;
  const steps = stepsOf(decision.shape);
  const hadBegun = (name: StepName): boolean =>
    steps.includes(name) && steps.indexOf(name) <= steps.indexOf(step);
  return {
    ...notes,
    wasReadOnly: notes.wasReadOnly ?? (hadBegun('fence') ? wasReadOnlyBefore(decision) : null),
    recordTried: notes.recordTried || hadBegun('record'),
    writableTried: notes.writableTried || hadBegun('make_writable'),
  };
}

/**
 * When that was not written down before dbproxy was stopped. Whether the old primary of a failover may take writes again is
 * for `unlock` to judge: it may be back after a crash.
 */
function wasReadOnlyBefore({ shape, oldWasReadOnly }: UnfinishedRun['decision']): boolean {
  return shape.kind === 'failover' || (oldWasReadOnly ?? false);
}
