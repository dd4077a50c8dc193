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
 * switchover: the old primary is alive and is fenced. failover: it is gone, or takes no writes. adopt: there is
 * none to take over from (the server only needs to be made, or acknowledged as, the primary).
 */
export type PromotionKind = 'switchover' | 'failover' | 'adopt';

export type StepName =
  | 'hold'
  | 'end_sessions'
  | 'stop_receivers'
  | 'elect'
  | 'fence'
  | 'catch_up'
  | 'stop_replication'
  | 'record'
  | 'make_writable'
  | 'weights'
  | 'repoint'
  | 'semi_sync'
  | 'publish';

/**
 * What decides which steps there are, and their order. `waitsForReplica`: no write may be acknowledged before a
 * replica follows (semi_sync = require), so clients are let go last; otherwise as soon as the new primary is writable.
 */
export interface PlanShape {
  readonly kind: PromotionKind;
  readonly waitsForReplica: boolean;
}

interface StepRow {
  readonly step: StepName;
  readonly kinds: readonly PromotionKind[];
  /**
   * How it is taken back. required: those before it must not be taken back when this could not be (an old
   * primary is not let write again while the record says another, or while the new one may be writable).
   * best_effort: they may.
   */
  readonly undo: 'none' | 'best_effort' | 'required';
  /** It changes something outside this process, so it is on disk that it begins before it does. */
  readonly leavesTraces: boolean;
}

const ALL: readonly PromotionKind[] = ['switchover', 'failover', 'adopt'];
const TAKEOVER: readonly PromotionKind[] = ['switchover', 'failover'];

const HOLD: StepRow = { step: 'hold', kinds: ALL, undo: 'required', leavesTraces: false };
const PUBLISH: StepRow = { step: 'publish', kinds: ALL, undo: 'none', leavesTraces: false };

/** Up to the point of no return, which is the last of them. */
const BEFORE: readonly StepRow[] = [
  HOLD,
  { step: 'end_sessions', kinds: TAKEOVER, undo: 'none', leavesTraces: false },
  // What a replica has received must stay what it is, should the old primary come back right now; and with
  // semi-synchronous replication, a primary whose replicas do not receive can acknowledge nothing more.
  { step: 'stop_receivers', kinds: ['failover'], undo: 'best_effort', leavesTraces: true },
  { step: 'elect', kinds: ['failover'], undo: 'none', leavesTraces: false },
  { step: 'fence', kinds: TAKEOVER, undo: 'required', leavesTraces: true },
  { step: 'catch_up', kinds: TAKEOVER, undo: 'none', leavesTraces: false },
  { step: 'stop_replication', kinds: TAKEOVER, undo: 'best_effort', leavesTraces: true },
  { step: 'record', kinds: ALL, undo: 'required', leavesTraces: true },
  { step: 'make_writable', kinds: ALL, undo: 'required', leavesTraces: true },
];

const WEIGHTS: StepRow = { step: 'weights', kinds: TAKEOVER, undo: 'none', leavesTraces: false };
const FOLLOW: readonly StepRow[] = [
  { step: 'repoint', kinds: TAKEOVER, undo: 'none', leavesTraces: true },
  { step: 'semi_sync', kinds: ALL, undo: 'none', leavesTraces: true },
];

const NO_RETURN_AFTER: StepName = 'make_writable';
/** From here on a plan that was cut off only goes forward: the new primary may be writable, and written to. */
const FORWARD_FROM: StepName = 'make_writable';

export interface StepFailure {
  readonly step: StepName;
  readonly reason: string;
}

export type PlanState =
  | { readonly phase: 'ready'; readonly shape: PlanShape }
  | {
      readonly phase: 'doing';
      readonly shape: PlanShape;
      readonly step: StepName;
      /** Steps after the point of no return that did not work. */
      readonly gaps: readonly StepFailure[];
      /** It was taken up again, and may have got further than is known: it is not taken back. */
      readonly onlyForward?: true;
    }
  | {
      readonly phase: 'undoing';
      readonly shape: PlanShape;
      readonly step: StepName;
      readonly failure: StepFailure;
      /** Steps that could not be taken back. */
      readonly left: readonly StepFailure[];
    }
  /** It can go neither forward now nor back; it stays open, and is taken up again. */
  | { readonly phase: 'stuck'; readonly shape: PlanShape; readonly failure: StepFailure }
  | { readonly phase: 'done'; readonly shape: PlanShape; readonly gaps: readonly StepFailure[] }
  | {
      readonly phase: 'undone';
      readonly shape: PlanShape;
      readonly failure: StepFailure;
      readonly left: readonly StepFailure[];
    };

export type PlanEvent =
  | { readonly kind: 'begin' }
  | { readonly kind: 'succeeded' }
  /** `untouched`: the new primary is known not to have been made writable, also not by a process before this one. */
  | { readonly kind: 'failed'; readonly reason: string; readonly untouched?: true };

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
      return doNext(state.shape, null, []);
    case 'doing':
      if (event.kind === 'begin') throw illegal(state, event);
      return afterDoing(state, event);
    case 'undoing':
      if (event.kind === 'begin') throw illegal(state, event);
      return afterUndoing(state, event);
    case 'stuck':
    case 'done':
    case 'undone':
      throw illegal(state, event);
  }
}

/**
 * Takes up a plan that was cut off when `step` was the last that had begun (null: none had). It goes on being taken
 * back when it was; else forward from where the decision is written down, and back before that. The step is done
 * once more, or taken back though it may not have been done: each can be.
 */
export function resume(shape: PlanShape, step: StepName | null, undoing: boolean, reason: string): PlanMove {
  const at = step ?? HOLD.step;
  if (!undoing && resumesForward(shape, at)) {
    const state = { phase: 'doing', shape, step: at, gaps: [], onlyForward: true } as const;
    return { state, command: { kind: 'do', step: at } };
  }
  return undoFrom(shape, indexOf(shape, at), { step: at, reason }, []);
}

/** True when a plan that was cut off in this step goes forward, unless it was being taken back. */
export function resumesForward(shape: PlanShape, step: StepName): boolean {
  return indexOf(shape, step) >= indexOf(shape, FORWARD_FROM);
}

/** The steps of a plan, in order. */
export function stepsOf(shape: PlanShape): StepName[] {
  return rowsOf(shape).map(({ step }) => step);
}

/** What is still to be taken back once this step has been, in that order. */
export function stepsToUndoBefore(shape: PlanShape, step: StepName): StepName[] {
  return rowsOf(shape)
    .slice(0, indexOf(shape, step))
    .filter(({ undo }) => undo !== 'none')
    .map((row) => row.step)
    .reverse();
}

/** Whether it must be on disk that a step begins before it does. */
export function leavesTraces(shape: PlanShape, step: StepName): boolean {
  return rowsOf(shape)[indexOf(shape, step)]!.leavesTraces;
}

/** True when a failure in this step takes the plan back. */
export function canBeUndone(shape: PlanShape, step: StepName): boolean {
  return indexOf(shape, step) <= indexOf(shape, NO_RETURN_AFTER);
}

function rowsOf({ kind, waitsForReplica }: PlanShape): StepRow[] {
  const after = waitsForReplica ? [WEIGHTS, ...FOLLOW, PUBLISH] : [WEIGHTS, PUBLISH, ...FOLLOW];
  return [...BEFORE, ...after].filter(({ kinds }) => kinds.includes(kind));
}

function afterDoing(
  state: Extract<PlanState, { phase: 'doing' }>,
  event: Exclude<PlanEvent, { kind: 'begin' }>,
): PlanMove {
  const { shape, step, gaps } = state;
  if (event.kind === 'succeeded') return doNext(shape, step, gaps);
  const failure = { step, reason: event.reason };
  if (!canBeUndone(shape, step)) return doNext(shape, step, [...gaps, failure]);
  if (state.onlyForward === true && event.untouched !== true)
    return { state: { phase: 'stuck', shape, failure }, command: { kind: 'finish' } };
  // The step that failed may have done half of its work, so the undoing begins with itself.
  return undoFrom(shape, indexOf(shape, step), failure, []);
}

function afterUndoing(
  state: Extract<PlanState, { phase: 'undoing' }>,
  event: Exclude<PlanEvent, { kind: 'begin' }>,
): PlanMove {
  const { shape, step, failure } = state;
  const index = indexOf(shape, step);
  if (event.kind === 'succeeded') return undoFrom(shape, index - 1, failure, state.left);
  const left = [...state.left, { step, reason: event.reason }];
  if (rowsOf(shape)[index]!.undo === 'best_effort') return undoFrom(shape, index - 1, failure, left);
  // What was before relies on this one: only the waiting clients are let go.
  return step === HOLD.step
    ? finishUndone(shape, failure, left)
    : undoFrom(shape, indexOf(shape, HOLD.step), failure, left);
}

function doNext(shape: PlanShape, after: StepName | null, gaps: readonly StepFailure[]): PlanMove {
  const step = rowsOf(shape)[after === null ? 0 : indexOf(shape, after) + 1]?.step;
  if (step === undefined) return { state: { phase: 'done', shape, gaps }, command: { kind: 'finish' } };
  return { state: { phase: 'doing', shape, step, gaps }, command: { kind: 'do', step } };
}

/** Takes back the last step at or before `index` that can be. */
function undoFrom(
  shape: PlanShape,
  index: number,
  failure: StepFailure,
  left: readonly StepFailure[],
): PlanMove {
  const rows = rowsOf(shape);
  for (let at = index; at >= 0; at--) {
    const { step, undo } = rows[at]!;
    if (undo === 'none') continue;
    return { state: { phase: 'undoing', shape, step, failure, left }, command: { kind: 'undo', step } };
  }
  return finishUndone(shape, failure, left);
}

function finishUndone(shape: PlanShape, failure: StepFailure, left: readonly StepFailure[]): PlanMove {
  return { state: { phase: 'undone', shape, failure, left }, command: { kind: 'finish' } };
}

function indexOf(shape: PlanShape, step: StepName): number {
  return rowsOf(shape).findIndex((row) => row.step === step);
}

function illegal(state: PlanState, event: PlanEvent): Error {
  return new Error(`promotion plan: ${event.kind} cannot come in phase ${state.phase}`);
}
