/**
 * One promotion, from its first step to its end: `plan.ts` says what comes next and `actions.ts` does it, and the
 * journal has it before it is done. Each step is written to the log under its own name (`promote.<step>`).
 */
import { messageOf } from '../base/message-of.ts';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ClusterConfig } from '../config/config.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import type { PromotionActions } from './actions.ts';
import {
  advance,
  stepsOf,
  stepsToUndoBefore,
  type PlanCommand,
  type PlanEvent,
  type PlanMove,
  type PlanShape,
  type PlanState,
  type StepName,
} from './plan.ts';
import type { RunJournal } from './run-journal.ts';
import type { PromotionWorld } from './steps/world.ts';

/** A promotion under way, for SHOW PLAN. */
export interface RunningPlan {
  readonly cluster: string;
  readonly kind: PlanShape['kind'];
  readonly target: string;
  readonly because: string;
  readonly steps: readonly PromoteStep[];
  /** What is being done now, or taken back; empty: nothing yet. */
  readonly now: StepName | '';
  /** Why all is being taken back; null: it is not. */
  readonly undoneFor: string | null;
  /** What is left to do, or to take back. */
  readonly left: readonly StepName[];
  /** It was cut off, and is not being taken up right now. */
  readonly isWaiting: boolean;
}

/** What one promotion is. */
export interface RunSubject {
  readonly number: number;
  readonly cluster: ClusterConfig;
  readonly shape: PlanShape;
  readonly because: string;
  /** What was said, for refusals. */
  readonly said: string;
  readonly startMs: number;
  readonly actions: PromotionActions;
  /** Why the attempt to take it up before this one has failed: told already; null: there was none. */
  readonly failedBefore: string | null;
}

/** What it works with. */
export interface RunTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: RunJournal;
  readonly world: PromotionWorld;
  /** A line for SHOW EVENTS. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
  /** It has ended; not told of one that is stuck. */
  readonly onEnded: (kind: PlanShape['kind'], result: 'done' | 'failed', durationMs: number) => void;
}

export class PromotionRun {
  readonly #subject: RunSubject;
  readonly #tools: RunTools;
  readonly #steps: PromoteStep[] = [];
  #now: StepName | '' = '';
  #undoneFor: string | null = null;

  constructor(subject: RunSubject, tools: RunTools) {
    this.#subject = subject;
    this.#tools = tools;
  }

  get plan(): RunningPlan {
    const { shape, because } = this.#subject;
    const now = this.#now;
    const done = new Set(this.#steps.map(({ step }) => step));
    const ahead = stepsOf(shape).filter((step) => !done.has(step) && step !== now);
    return {
      cluster: this.#cluster,
      kind: shape.kind,
      target: this.#target,
      because,
      steps: this.#steps,
      now,
      undoneFor: this.#undoneFor,
      left: this.#undoneFor === null || now === '' ? ahead : stepsToUndoBefore(shape, now),
      isWaiting: false,
    };
  }

  /** Tells of a step that has ended. */
  report(step: PromoteStep): void {
    const { log, onEvent } = this.#tools;
    this.#steps.push(step);
    const event = `promote.${step.step}`;
    const { result, detail, durationMs } = step;
    const backend = this.#target;
    const isKnown = result === 'failed' && this.#subject.failedBefore?.includes(detail) === true;
    const level = isKnown ? 'debug' : result === 'failed' ? 'error' : 'info';
    log[level](event, { cluster: this.#cluster, backend, result, detail, durationMs });
    if (!isKnown) onEvent(event, backend, `${result}: ${detail}`);
  }

  /**
   * Drives the plan to its end; resolves with the steps that were done. Rejects with DBPROXY_PROMOTE_FAILED when they
   * were taken back, and with the reason when it is stuck.
   */
  async carryOut(first: PlanMove): Promise<PromoteStep[]> {
    let move = first;
    try {
      while (move.command.kind !== 'finish') {
        if (move.state.phase === 'undoing') {
          const { step, reason } = move.state.failure;
          this.#undoneFor = `${step} failed: ${reason}`;
        }
        const onlyForward = move.state.phase === 'doing' && move.state.onlyForward === true;
        const { step, event } = await this.#carryOutOne(move.command, onlyForward);
        this.report(step);
        move = advance(move.state, event);
      }
      await this.#finish(move.state);
      return this.#steps;
    } finally {
      // One that was taken up after its clients had been let go has held them once more; one that is stuck goes on holding.
      if (move.state.phase !== 'stuck') this.#tools.world.hold(this.#cluster, false);
      this.#subject.actions.close();
    }
  }

  get #cluster(): string {
    return this.#subject.cluster.name;
  }

  get #target(): string {
    return this.#subject.actions.notes.target;
  }

  get #journaled(): { number: number; cluster: string; shape: PlanShape } {
    const { number, shape } = this.#subject;
    return { number, cluster: this.#cluster, shape };
  }

  async #carryOutOne(
    command: Exclude<PlanCommand, { kind: 'finish' }>,
    onlyForward: boolean,
  ): Promise<{ step: PromoteStep; event: PlanEvent }> {
    const { clock, journal } = this.#tools;
    const { actions } = this.#subject;
    const startMs = clock.nowMs();
    const { step: name } = command;
    this.#now = name;
    const step = (result: PromoteStep['result'], detail: string): PromoteStep => ({
      step: name,
      result,
      detail,
      durationMs: Math.round(clock.nowMs() - startMs),
    });
    try {
      if (command.kind === 'undo') {
        const detail = await actions.undo(name);
        await journal.tryToWrite(this.#journaled, { event: 'undone', step: name, detail });
        return { step: step('undone', detail), event: { kind: 'succeeded' } };
      }
      await journal.begin(this.#journaled, name, actions.notes);
      const { result, detail } = await actions.do(name);
      await journal.tryToWrite(this.#journaled, { event: 'done', step: name, detail, notes: actions.notes });
      return { step: step(result, detail), event: { kind: 'succeeded' } };
    } catch (error) {
      const reason = messageOf(error);
      const detail = command.kind === 'undo' ? `could not be taken back: ${reason}` : reason;
      const untouched = name === 'make_writable' && !actions.notes.writableTried;
      // What only goes forward is not taken back by the next process either.
      if (!onlyForward || untouched) {
        await journal.tryToWrite(this.#journaled, { event: 'failed', step: name, detail });
      }
      return {
        step: step('failed', detail),
        event: { kind: 'failed', reason, ...(untouched ? { untouched } : {}) },
      };
    }
  }

  /** Tells of the end; throws when it was taken back, or is stuck. */
  async #finish(state: PlanState): Promise<void> {
    switch (state.phase) {
      case 'done':
        return this.#succeeded(state);
      case 'undone':
        return this.#takenBack(state);
      case 'stuck': {
        const { step, reason } = state.failure;
        throw new Error(
          `${this.#target} could not be made the primary (${step}: ${reason}), and may have been written to`,
        );
      }
      case 'ready':
      case 'doing':
      case 'undoing':
        throw new Error(`promotion ended in phase ${state.phase}`);
    }
  }

  async #succeeded({ shape, gaps: open }: PlanState & { phase: 'done' }): Promise<void> {
    const { log, journal, world, onEvent, onEnded } = this.#tools;
    const { number, actions } = this.#subject;
    const cluster = this.#cluster;
    const backend = this.#target;
    const durationMs = this.#durationMs;
    const epoch = world.epochOf(cluster);
    onEnded(shape.kind, 'done', durationMs);
    const { loss } = actions.notes;
    const gaps = open.map((gap) => `${gap.step}: ${gap.reason}`).join('; ');
    const left = `${gaps === '' ? '' : `; left to do: ${gaps}`}${loss === '' ? '' : `; it may lack: ${loss}`}`;
    const detail = `primary of ${cluster} since epoch ${epoch}, in ${durationMs} ms${left}`;
    await journal.close(number, cluster, { event: 'closed', result: 'done', detail, epoch });
    log[left === '' ? 'info' : 'warn']('promote.done', { cluster, backend, epoch, durationMs, gaps, loss });
    onEvent('promote.done', backend, detail);
  }

  async #takenBack({ shape, failure, left }: PlanState & { phase: 'undone' }): Promise<never> {
    const { log, journal, world, onEvent, onEnded } = this.#tools;
    const { number, said } = this.#subject;
    const cluster = this.#cluster;
    const backend = this.#target;
    const durationMs = this.#durationMs;
    const epoch = world.epochOf(cluster);
    onEnded(shape.kind, 'failed', durationMs);
    const stays = left.map((one) => `${one.step} (${one.reason})`).join('; ');
    const aftermath = stays === '' ? 'everything was taken back' : `NOT taken back: ${stays}`;
    const detail = `step ${failure.step} failed: ${failure.reason}; ${aftermath}`;
    await journal.close(number, cluster, { event: 'closed', result: 'undone', detail, epoch });
    log.error('promote.undone', { cluster, backend, ...failure, aftermath, durationMs });
    onEvent('promote.undone', backend, detail);
    throw refusal('DBPROXY_PROMOTE_FAILED', said, failure.step, failure.reason, aftermath);
  }

  get #durationMs(): number {
    return Math.round(this.#tools.clock.nowMs() - this.#subject.startMs);
  }
}
