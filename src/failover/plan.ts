/**
 * The promotion as a state machine: (state, event) → the next state and the one command to carry out.
 * It knows the order of the steps, which of them can be taken back, and the point after which it only
 * goes forward. It does not know how a step is done; `actions.ts` does.
 *
 * Until the new primary is writable, a step that fails is undone together with all before it, the last
 * first. From then on nothing is taken back: a step that fails is reported and the next one is tried,
 * because a cluster with one writer and an untidy rest is better than one with two.
 */

/**
 * switchover: the old primary is alive and is fenced. failover: it is gone. adopt: there is none to take
 * over from (the server only needs to be made, or acknowledged as, the primary).
 */
export type PromotionKind = 'switchover' | 'failover' | 'adopt';

export type StepName =
  | 'hold'
  | 'end_sessions'
  | 'fence'
  | 'catch_up'
  | 'stop_replication'
  | 'record'
  | 'make_writable'
  | 'weights'
  | 'publish'
  | 'repoint'
  | 'semi_sync';

interface StepRow {
  readonly step: StepName;
  readonly kinds: readonly PromotionKind[];
  /**
   * How it is taken back. required: those before it must not be taken back when this could not be (an old
   * primary is not let write again while the record says another, or while the new one may be writable).
   * best_effort: they may.
   */
  readonly undo: 'none' | 'best_effort' | 'required';
}

const ALL: readonly PromotionKind[] = ['switchover', 'failover', 'adopt'];
const TAKEOVER: readonly PromotionKind[] = ['switchover', 'failover'];

/** The steps in their order. `make_writable` is the point of no return. */
const STEPS: readonly StepRow[] = [
  { step: 'hold', kinds: ALL, undo: 'required' },
  { step: 'end_sessions', kinds: TAKEOVER, undo: 'none' },
  { step: 'fence', kinds: ['switchover'], undo: 'required' },
  { step: 'catch_up', kinds: TAKEOVER, undo: 'best_effort' },
  { step: 'stop_replication', kinds: TAKEOVER, undo: 'best_effort' },
  { step: 'record', kinds: ALL, undo: 'required' },
  { step: 'make_writable', kinds: ALL, undo: 'required' },
  { step: 'weights', kinds: TAKEOVER, undo: 'none' },
  { step: 'publish', kinds: ALL, undo: 'none' },
  { step: 'repoint', kinds: TAKEOVER, undo: 'none' },
  { step: 'semi_sync', kinds: TAKEOVER, undo: 'none' },
];

const NO_RETURN_AFTER: StepName = 'make_writable';

export interface StepFailure {
  readonly step: StepName;
  readonly reason: string;
}

export type PlanState =
  | { readonly phase: 'ready'; readonly kind: PromotionKind }
  | {
      readonly phase: 'doing';
      readonly kind: PromotionKind;
      readonly step: StepName;
      /** Steps after the point of no return that did not work. */
      readonly gaps: readonly StepFailure[];
    }
  | {
      readonly phase: 'undoing';
      readonly kind: PromotionKind;
      readonly step: StepName;
      readonly failure: StepFailure;
      /** Steps that could not be taken back. */
      readonly left: readonly StepFailure[];
    }
  | { readonly phase: 'done'; readonly kind: PromotionKind; readonly gaps: readonly StepFailure[] }
  | {
      readonly phase: 'undone';
      readonly kind: PromotionKind;
      readonly failure: StepFailure;
      readonly left: readonly StepFailure[];
    };

export type PlanEvent =
  | { readonly kind: 'begin' }
  | { readonly kind: 'succeeded' }
  | { readonly kind: 'failed'; readonly reason: string };

export type PlanCommand =
  | { readonly kind: 'do'; readonly step: StepName }
  | { readonly kind: 'undo'; readonly step: StepName }
  | { readonly kind: 'finish' };

export interface PlanMove {
  readonly state: PlanState;
  readonly command: PlanCommand;
}

/** Moves the plan on; throws on an event that cannot come in this state. */
export function advance(state: PlanState, event: PlanEvent): PlanMove {
  switch (state.phase) {
    case 'ready':
      if (event.kind !== 'begin') throw illegal(state, event);
      return doNext(state.kind, null, []);
    case 'doing':
      if (event.kind === 'begin') throw illegal(state, event);
      return afterDoing(state, event);
    case 'undoing':
      if (event.kind === 'begin') throw illegal(state, event);
      return afterUndoing(state, event);
    case 'done':
    case 'undone':
      throw illegal(state, event);
  }
}

/** The steps of a kind of promotion, in order. */
export function stepsOf(kind: PromotionKind): StepName[] {
  return STEPS.filter((row) => row.kinds.includes(kind)).map((row) => row.step);
}

function afterDoing(
  state: Extract<PlanState, { phase: 'doing' }>,
  event: Exclude<PlanEvent, { kind: 'begin' }>,
): PlanMove {
  const { kind, step, gaps } = state;
  if (event.kind === 'succeeded') return doNext(kind, step, gaps);
  const failure = { step, reason: event.reason };
  if (indexOf(step) > indexOf(NO_RETURN_AFTER)) return doNext(kind, step, [...gaps, failure]);
  // The step that failed may have done half of its work, so the undoing begins with itself.
  return undoFrom(kind, indexOf(step), failure, []);
}

function afterUndoing(
  state: Extract<PlanState, { phase: 'undoing' }>,
  event: Exclude<PlanEvent, { kind: 'begin' }>,
): PlanMove {
  const { kind, step, failure } = state;
  const index = indexOf(step);
  if (event.kind === 'succeeded') return undoFrom(kind, index - 1, failure, state.left);
  const left = [...state.left, { step, reason: event.reason }];
  if (STEPS[index]!.undo === 'best_effort') return undoFrom(kind, index - 1, failure, left);
  // What was before relies on this one: only the waiting clients are let go.
  return step === 'hold' ? finishUndone(kind, failure, left) : undoFrom(kind, indexOf('hold'), failure, left);
}

function doNext(kind: PromotionKind, after: StepName | null, gaps: readonly StepFailure[]): PlanMove {
  const steps = stepsOf(kind);
  const step = steps[after === null ? 0 : steps.indexOf(after) + 1];
  if (step === undefined) return { state: { phase: 'done', kind, gaps }, command: { kind: 'finish' } };
  return { state: { phase: 'doing', kind, step, gaps }, command: { kind: 'do', step } };
}

/** Takes back the last step at or before `index` that can be. */
function undoFrom(
  kind: PromotionKind,
  index: number,
  failure: StepFailure,
  left: readonly StepFailure[],
): PlanMove {
  for (let at = index; at >= 0; at--) {
    const { step, kinds, undo } = STEPS[at]!;
    if (undo === 'none' || !kinds.includes(kind)) continue;
    return { state: { phase: 'undoing', kind, step, failure, left }, command: { kind: 'undo', step } };
  }
  return finishUndone(kind, failure, left);
}

function finishUndone(kind: PromotionKind, failure: StepFailure, left: readonly StepFailure[]): PlanMove {
  return { state: { phase: 'undone', kind, failure, left }, command: { kind: 'finish' } };
}

function indexOf(step: StepName): number {
  return STEPS.findIndex((row) => row.step === step);
}

function illegal(state: PlanState, event: PlanEvent): Error {
  return new Error(`promotion plan: ${event.kind} cannot come in phase ${state.phase}`);
}
