/**
 * Runs promotions: looks, asks `check.ts` whether, lets `plan.ts` say what comes next and `actions.ts` do it, and
 * has the journal say so before it is done. One promotion at a time. Each step is written to the log under its own
 * name (`promote.<step>`). A promotion that the last process left unfinished is taken up by `resume`.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import { PromotionActions, type Notes, type PromotionWorld } from './actions.ts';
import { decidePromotion, type Decision, type Verdict, type Wish } from './check.ts';
import { nextRun, unfinishedRuns, type Journal, type JournalEvent, type UnfinishedRun } from './journal.ts';
import {
  advance,
  canBeUndone,
  leavesTraces,
  resume,
  stepsOf,
  type PlanCommand,
  type PlanEvent,
  type PlanMove,
  type PlanShape,
  type PlanState,
  type StepName,
} from './plan.ts';
import { memberOf, type Survey } from './survey.ts';

export interface PromotionsOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Journal;
  readonly world: PromotionWorld;
  /** A line for SHOW EVENTS. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
}

/** How promotions of one kind have ended so far. */
export interface PromotionCount {
  kind: 'switchover' | 'failover';
  result: 'done' | 'failed';
  count: number;
  lastDurationMs: number;
}

/** A promotion under way, for SHOW PLAN. */
export interface RunningPlan {
  readonly cluster: string;
  readonly kind: PlanShape['kind'];
  readonly target: string;
  readonly because: string;
  readonly steps: readonly PromoteStep[];
  /** What is being done now; empty: nothing yet. */
  readonly now: string;
  /** What is left to do. */
  readonly left: readonly StepName[];
}

/** One run while it lasts. */
interface Run {
  readonly number: number;
  readonly cluster: ClusterConfig;
  readonly shape: PlanShape;
  readonly because: string;
  readonly startMs: number;
  readonly actions: PromotionActions;
  readonly steps: PromoteStep[];
  now: string;
}

/** How long until it is tried again to write down that a promotion has ended. */
const CLOSE_RETRY_MS = 1_000;

export class Promotions {
  readonly #options: PromotionsOptions;
  readonly #counts = new Map<string, PromotionCount>();
  /** Runs that have ended in this process, whether or not the journal knows. */
  readonly #ended = new Set<number>();
  /** Why the last attempt to take up a promotion failed. */
  #stuck = '';
  #stopping = false;
  #running: { readonly target: string; readonly cluster: string; readonly ended: Promise<unknown> } | null =
    null;
  #run: Run | null = null;

  constructor(options: PromotionsOptions) {
    this.#options = options;
  }

  /**
   * Makes a server the primary of its cluster; rejects with DBPROXY_PROMOTE_REFUSED or _FAILED. `looks`: every server
   * is looked at first; not for a failover that the diagnosis of just now asks for.
   */
  async promote(wish: Wish, because: string, looks: boolean): Promise<PromoteStep[]> {
    const { cluster } = this.#find(wish.target);
    if (wish.force) await this.#giveUp(cluster.name);
    if (this.#unfinished().length > 0 && this.#running === null) {
      throw this.#refused(
        wish.target,
        'a promotion that was cut off is to be taken up first; try again in a moment',
      );
    }
    return this.#alone(wish.target, cluster.name, () => this.#promote(wish, because, looks));
  }

  /** What `promote` would do, or why it would not: nothing is changed. */
  async dryRun(wish: Wish): Promise<{ verdict: Verdict; steps: StepName[] }> {
    const { cluster } = this.#find(wish.target);
    const verdict = await this.#check(wish, cluster, true);
    const steps = verdict.kind === 'refused' ? [] : stepsOf(shapeOf(verdict, cluster));
    return { verdict, steps };
  }

  /** Takes up what the last process left unfinished; resolves when that has ended, well or not. */
  async resume(): Promise<void> {
    if (this.#running !== null || this.#stopping) return;
    for (const run of this.#unfinished()) {
      try {
        await this.#alone(run.decision.target, run.cluster, () => this.#resume(run));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#options.log.error('promote.resumed_badly', { cluster: run.cluster, reason });
        if (this.#stuck !== reason)
          this.#options.onEvent('promote.resumed_badly', run.decision.target, reason);
        this.#stuck = reason;
      }
    }
  }

  /** Begins no more promotions; resolves when the one that runs has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running?.ended;
  }

  /** The server that is being promoted now. */
  get underWay(): string | null {
    return this.#running?.target ?? null;
  }

  /** A promotion of this cluster runs, or was left unfinished. */
  isBusy(cluster: string): boolean {
    if (this.#running?.cluster === cluster) return true;
    return this.#unfinished().some((run) => run.cluster === cluster);
  }

  /** The plan under way. */
  get plan(): RunningPlan | null {
    const run = this.#run;
    if (run === null) return null;
    const done = new Set(run.steps.map(({ step }) => step));
    return {
      cluster: run.cluster.name,
      kind: run.shape.kind,
      target: run.actions.notes.target,
      because: run.because,
      steps: run.steps,
      now: run.now,
      left: stepsOf(run.shape).filter((step) => !done.has(step) && step !== run.now),
    };
  }

  /** Promotions so far. */
  counts(): PromotionCount[] {
    return [...this.#counts.values()];
  }

  /** An operator knows better than to wait for what was cut off. */
  async #giveUp(cluster: string): Promise<void> {
    if (this.#running !== null) return;
    const { clock, journal, world } = this.#options;
    for (const { run } of this.#unfinished().filter((one) => one.cluster === cluster)) {
      this.#ended.add(run);
      const detail = 'given up by FORCE';
      const entry = { run, cluster, wallMs: clock.wallMs(), epoch: world.epochOf(cluster) };
      await journal.append({ ...entry, event: 'closed', result: 'undone', detail }, true);
    }
  }

  /** Those that no process has ended, as far as is known. */
  #unfinished(): UnfinishedRun[] {
    return unfinishedRuns(this.#options.journal.entries()).filter(({ run }) => !this.#ended.has(run));
  }

  async #alone<T>(target: string, cluster: string, work: () => Promise<T>): Promise<T> {
    if (this.#stopping) throw this.#refused(target, 'dbproxy is stopping');
    if (this.#running !== null) {
      throw this.#refused(target, `a promotion of ${this.#running.target} is under way; wait for its end`);
    }
    const running = work();
    this.#running = { target, cluster, ended: running.catch(() => undefined) };
    try {
      return await running;
    } finally {
      this.#running = null;
      this.#run = null;
    }
  }

  async #promote(wish: Wish, because: string, looks: boolean): Promise<PromoteStep[]> {
    const { clock, journal, world } = this.#options;
    const startMs = clock.nowMs();
    const { cluster } = this.#find(wish.target);
    const verdict = await this.#check(wish, cluster, looks);
    if (verdict.kind === 'refused') throw this.#refused(wish.target, verdict.reason);
    const shape = shapeOf(verdict, cluster);
    const number = nextRun(journal.entries());
    const actions = new PromotionActions(world, cluster, verdict);
    const run: Run = { number, cluster, shape, because, startMs, actions, steps: [], now: '' };
    await this.#write(run, {
      event: 'opened',
      epoch: world.epochOf(cluster.name),
      decision: {
        shape,
        target: verdict.target.name,
        old: verdict.old?.name ?? null,
        only: verdict.only,
        force: verdict.force,
        because,
        oldWasReadOnly: readOnlyOf(world.survey(cluster.name), verdict.old),
      },
    });
    this.#report(run, {
      step: 'check',
      result: 'done',
      detail: describeDecision(verdict),
      durationMs: Math.round(clock.nowMs() - startMs),
    });
    return this.#carryOut(run, advance({ phase: 'ready', shape }, { kind: 'begin' }));
  }

  async #resume(unfinished: UnfinishedRun): Promise<void> {
    const { world, clock } = this.#options;
    const { decision, step } = unfinished;
    const { shape, because } = decision;
    const undoing = unfinished.undoing || wasTakenBack(unfinished, world);
    const gone = [decision.target, decision.old ?? decision.target].filter(
      (name) => !this.#options.config.backends.some((backend) => backend.name === name),
    );
    if (gone.length > 0) {
      const detail = `${gone.join(', ')} is not in the configuration any more`;
      const epoch = world.epochOf(unfinished.cluster);
      this.#ended.add(unfinished.run);
      const entry = { run: unfinished.run, cluster: unfinished.cluster, wallMs: clock.wallMs() };
      await this.#options.journal.append(
        { ...entry, event: 'closed', result: 'undone', detail, epoch },
        true,
      );
      world.hold(unfinished.cluster, false);
      throw new Error(detail);
    }
    const { cluster, backend: target } = this.#find(decision.target);
    const old = decision.old === null ? null : this.#find(decision.old).backend;
    const taken: Decision = {
      kind: shape.kind,
      target,
      old,
      followers: [],
      only: decision.only,
      force: decision.force,
    };
    const actions = new PromotionActions(world, cluster, taken, notesAfter(unfinished));
    const run: Run = {
      number: unfinished.run,
      cluster,
      shape,
      because: `${because}; taken up after a restart`,
      startMs: clock.nowMs(),
      actions,
      steps: [],
      now: '',
    };
    world.hold(cluster.name, true);
    await this.#carryOut(run, resume(shape, step, undoing, 'dbproxy was stopped in the middle of it'));
  }

  async #check(wish: Wish, cluster: ClusterConfig, looks: boolean): Promise<Verdict> {
    const { world } = this.#options;
    if (looks) {
      const { members } = world.survey(cluster.name);
      await Promise.all(members.map(({ backend }) => world.checkNow(backend.name)));
    }
    return decidePromotion(world.survey(cluster.name), wish);
  }

  /** Drives the plan to its end. */
  async #carryOut(run: Run, first: PlanMove): Promise<PromoteStep[]> {
    this.#run = run;
    let move = first;
    try {
      while (move.command.kind !== 'finish') {
        const onlyForward = move.state.phase === 'doing' && move.state.onlyForward === true;
        const { step, event } = await this.#carryOutOne(run, move.command, onlyForward);
        this.#report(run, step);
        move = advance(move.state, event);
      }
      await this.#finish(run, move.state);
      return run.steps;
    } finally {
      // One that was taken up after its clients had been let go has held them once more.
      this.#options.world.hold(run.cluster.name, false);
      run.actions.close();
    }
  }

  async #carryOutOne(
    run: Run,
    command: Exclude<PlanCommand, { kind: 'finish' }>,
    onlyForward: boolean,
  ): Promise<{ step: PromoteStep; event: PlanEvent }> {
    const { clock } = this.#options;
    const { actions } = run;
    const startMs = clock.nowMs();
    const { step: name } = command;
    run.now = command.kind === 'undo' ? `undo ${name}` : name;
    const step = (result: PromoteStep['result'], detail: string): PromoteStep => ({
      step: name,
      result,
      detail,
      durationMs: Math.round(clock.nowMs() - startMs),
    });
    try {
      if (command.kind === 'undo') {
        const detail = await actions.undo(name);
        await this.#try(run, { event: 'undone', step: name, detail });
        return { step: step('undone', detail), event: { kind: 'succeeded' } };
      }
      await this.#begin(run, name);
      const { result, detail } = await actions.do(name);
      await this.#try(run, { event: 'done', step: name, detail, notes: actions.notes });
      return { step: step(result, detail), event: { kind: 'succeeded' } };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const detail = command.kind === 'undo' ? `could not be taken back: ${reason}` : reason;
      // What only goes forward is not taken back by the next process either.
      if (!onlyForward) await this.#try(run, { event: 'failed', step: name, detail });
      return { step: step('failed', detail), event: { kind: 'failed', reason } };
    }
  }

  /** Counts and reports the end; throws when the promotion was undone. */
  async #finish(run: Run, state: PlanState): Promise<void> {
    const { clock, log, onEvent, world } = this.#options;
    const name = run.actions.notes.target;
    const cluster = run.cluster.name;
    const durationMs = Math.round(clock.nowMs() - run.startMs);
    const epoch = world.epochOf(cluster);
    switch (state.phase) {
      case 'done': {
        this.#count(state.shape.kind, 'done', durationMs);
        const { loss } = run.actions.notes;
        const gaps = state.gaps.map((gap) => `${gap.step}: ${gap.reason}`).join('; ');
        const left = `${gaps === '' ? '' : `; left to do: ${gaps}`}${loss === '' ? '' : `; it may lack: ${loss}`}`;
        const detail = `primary of ${cluster} since epoch ${epoch}, in ${durationMs} ms${left}`;
        await this.#close(run, { event: 'closed', result: 'done', detail, epoch });
        log[left === '' ? 'info' : 'warn']('promote.done', {
          cluster,
          backend: name,
          epoch,
          durationMs,
          gaps,
          loss,
        });
        return onEvent('promote.done', name, detail);
      }
      case 'undone': {
        this.#count(state.shape.kind, 'failed', durationMs);
        const { failure } = state;
        const left = state.left.map((one) => `${one.step} (${one.reason})`).join('; ');
        const aftermath = left === '' ? 'everything was taken back' : `NOT taken back: ${left}`;
        const detail = `step ${failure.step} failed: ${failure.reason}; ${aftermath}`;
        await this.#close(run, { event: 'closed', result: 'undone', detail, epoch });
        log.error('promote.undone', { cluster, backend: name, ...failure, aftermath, durationMs });
        onEvent('promote.undone', name, detail);
        throw refusal('DBPROXY_PROMOTE_FAILED', name, failure.step, failure.reason, aftermath);
      }
      case 'stuck': {
        const { step, reason } = state.failure;
        throw new Error(
          `${name} could not be made the primary (${step}: ${reason}), and may have been written to: it is tried again; FAILOVER TO … FORCE gives it up`,
        );
      }
      case 'ready':
      case 'doing':
      case 'undoing':
        throw new Error(`promotion ended in phase ${state.phase}`);
    }
  }

  #count(kind: PlanShape['kind'], result: PromotionCount['result'], lastDurationMs: number): void {
    const counted = kind === 'failover' ? 'failover' : 'switchover';
    const key = `${counted} ${result}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { kind: counted, result, count, lastDurationMs });
  }

  #report(run: Run, step: PromoteStep): void {
    const { log, onEvent } = this.#options;
    run.steps.push(step);
    const event = `promote.${step.step}`;
    const { result, detail, durationMs } = step;
    const backend = run.actions.notes.target;
    log[result === 'failed' ? 'error' : 'info'](event, {
      cluster: run.cluster.name,
      backend,
      result,
      detail,
      durationMs,
    });
    onEvent(event, backend, `${result}: ${detail}`);
  }

  /** Once there is no way back, a full disk keeps nobody from going on. */
  async #begin(run: Run, step: StepName): Promise<void> {
    const entry = { event: 'begun', step, notes: run.actions.notes } as const;
    await (canBeUndone(run.shape, step) ? this.#write(run, entry) : this.#try(run, entry));
  }

  /** A promotion that has ended has ended, also while that cannot be written down; it is tried until it is. */
  async #close(run: Run, event: Extract<JournalEvent, { event: 'closed' }>): Promise<void> {
    this.#ended.add(run.number);
    try {
      await this.#write(run, event);
    } catch (error) {
      this.#options.log.error('promote.journal', { cluster: run.cluster.name, error: String(error) });
      if (!this.#stopping) this.#options.clock.after(CLOSE_RETRY_MS, () => void this.#close(run, event));
    }
  }

  /** Into the journal; what leaves traces outside waits until that is on disk. */
  #write(run: Run, event: JournalEvent): Promise<void> {
    const { clock, journal } = this.#options;
    const durable =
      event.event === 'opened' || (event.event === 'begun' && leavesTraces(run.shape, event.step));
    const entry = { run: run.number, cluster: run.cluster.name, wallMs: clock.wallMs(), ...event };
    return journal.append(entry, durable || event.event === 'closed');
  }

  /** What has happened has happened, whether or not it could be written down: the next start does it once more. */
  async #try(run: Run, event: JournalEvent): Promise<void> {
    try {
      await this.#write(run, event);
    } catch (error) {
      this.#options.log.error('promote.journal', { cluster: run.cluster.name, error: String(error) });
    }
  }

  #find(name: string): { backend: BackendConfig; cluster: ClusterConfig } {
    const { config } = this.#options;
    const backend = config.backends.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (backend === undefined || cluster === undefined) throw this.#refused(name, 'there is no such backend');
    return { backend, cluster };
  }

  #refused(name: string, reason: string): Error {
    this.#options.log.warn('promote.refused', { backend: name, reason });
    this.#options.onEvent('promote.refused', name, reason);
    return refusal('DBPROXY_PROMOTE_REFUSED', name, reason);
  }
}

function shapeOf({ kind }: Decision, { semiSync }: ClusterConfig): PlanShape {
  return { kind, waitsForReplica: semiSync === 'require' };
}

function readOnlyOf(survey: Survey, old: BackendConfig | null): boolean | null {
  return memberOf(survey, old?.name ?? null)?.record.facts?.readOnly ?? null;
}

/**
 * Its record was made and taken back, though the journal may have lost that: then the old primary may write again,
 * and going forward would make a second writer. The state file is flushed with each change.
 */
function wasTakenBack({ cluster, decision, epoch, notes }: UnfinishedRun, world: PromotionWorld): boolean {
  const target = notes?.target ?? decision.target;
  return world.epochOf(cluster) > epoch && world.rememberedPrimary(cluster) !== target;
}

/**
 * What must be taken for true of a promotion that was cut off: a step that had begun may have done all of its work,
 * though it did not come to write that down.
 */
function notesAfter({ decision, step, notes }: UnfinishedRun): Notes | undefined {
  if (notes === undefined || step === null) return notes;
  const steps = stepsOf(decision.shape);
  const hadBegun = (name: StepName): boolean =>
    steps.includes(name) && steps.indexOf(name) <= steps.indexOf(step);
  return {
    ...notes,
    wasReadOnly: notes.wasReadOnly ?? (hadBegun('fence') ? (decision.oldWasReadOnly ?? false) : null),
    recordTried: notes.recordTried || hadBegun('record'),
    writableTried: notes.writableTried || hadBegun('make_writable'),
  };
}

function describeDecision({ kind, target, old, followers }: Decision): string {
  const others =
    followers.length === 0 ? '' : `, followed by ${followers.map(({ name }) => name).join(', ')}`;
  switch (kind) {
    case 'switchover':
      return `${target.name} takes over from ${old!.name}, which is alive${others}`;
    case 'failover':
      return `${target.name} takes over from ${old!.name}, which is lost${others}`;
    case 'adopt':
      return `${target.name} becomes the primary; there is none to take over from`;
  }
}
