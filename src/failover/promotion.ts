/**
 * Runs promotions: looks, asks `check.ts` whether, lets `plan.ts` say what comes next and `actions.ts` do
 * it, and writes each step to the log under its own name (`promote.<step>`). One promotion at a time.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import { isSeenWell } from '../monitor/detector.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { TopologyStore } from '../topology/store.ts';
import { PromotionActions, type PromotionWorld } from './actions.ts';
import { decidePromotion, type Decision, type Verdict } from './check.ts';
import { advance, type PlanCommand, type PlanEvent, type PlanState } from './plan.ts';

export interface PromotionsOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TopologyStore;
  readonly monitor: Monitor;
  readonly endSessions: PromotionWorld['endSessions'];
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

export class Promotions {
  readonly #options: PromotionsOptions;
  readonly #counts = new Map<string, PromotionCount>();
  #stopping = false;
  #running: { readonly target: string; readonly ended: Promise<unknown> } | null = null;

  constructor(options: PromotionsOptions) {
    this.#options = options;
  }

  /** Makes `name` the primary of its cluster; rejects with DBPROXY_PROMOTE_REFUSED or _FAILED. */
  async promote(name: string): Promise<PromoteStep[]> {
    if (this.#stopping) throw this.#refused(name, 'dbproxy is stopping');
    if (this.#running !== null) {
      throw this.#refused(name, `a promotion of ${this.#running.target} is under way; wait for its end`);
    }
    const run = this.#promote(name);
    this.#running = { target: name, ended: run.catch(() => undefined) };
    try {
      return await run;
    } finally {
      this.#running = null;
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

  /** Promotions so far. */
  counts(): PromotionCount[] {
    return [...this.#counts.values()];
  }

  async #promote(name: string): Promise<PromoteStep[]> {
    const { clock, config } = this.#options;
    const startMs = clock.nowMs();
    const backend = config.backends.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (backend === undefined || cluster === undefined) throw this.#refused(name, 'there is no such backend');

    const verdict = await this.#check(name, cluster.name);
    if (verdict.kind === 'refused') throw this.#refused(name, verdict.reason);
    const checkStep: PromoteStep = {
      step: 'check',
      result: 'done',
      detail: describeDecision(verdict),
      durationMs: Math.round(clock.nowMs() - startMs),
    };
    this.#report(checkStep, cluster.name, name);

    const actions = new PromotionActions(this.#world(), cluster, verdict);
    try {
      const { state, steps } = await this.#carryOut(verdict, actions, cluster.name);
      const durationMs = Math.round(clock.nowMs() - startMs);
      this.#finish(state, name, cluster.name, durationMs);
      return [checkStep, ...steps];
    } finally {
      actions.close();
    }
  }

  async #check(name: string, cluster: string): Promise<Verdict> {
    const { config, monitor, store } = this.#options;
    const backends = config.backends.filter((backend) => backend.cluster === cluster);
    await Promise.all(backends.map((backend) => monitor.checkNow(backend.name)));
    return decidePromotion({
      cluster: config.clusters.find((one) => one.name === cluster)!,
      target: name,
      members: backends.map((backend) => ({
        backend,
        admin: store.settingsOf(backend.name).admin,
        record: monitor.recordOf(backend.name),
      })),
      remembered: store.rememberedPrimary(cluster),
      epoch: store.snapshot.epoch,
    });
  }

  /** Drives the plan to its end. */
  async #carryOut(
    decision: Decision,
    actions: PromotionActions,
    cluster: string,
  ): Promise<{ state: PlanState; steps: PromoteStep[] }> {
    const steps: PromoteStep[] = [];
    let move = advance({ phase: 'ready', kind: decision.kind }, { kind: 'begin' });
    while (move.command.kind !== 'finish') {
      const { step, event } = await this.#carryOutOne(move.command, actions);
      steps.push(step);
      this.#report(step, cluster, decision.target.name);
      move = advance(move.state, event);
    }
    return { state: move.state, steps };
  }

  async #carryOutOne(
    command: Exclude<PlanCommand, { kind: 'finish' }>,
    actions: PromotionActions,
  ): Promise<{ step: PromoteStep; event: PlanEvent }> {
    const { clock } = this.#options;
    const startMs = clock.nowMs();
    const step = (result: PromoteStep['result'], detail: string): PromoteStep => ({
      step: command.step,
      result,
      detail,
      durationMs: Math.round(clock.nowMs() - startMs),
    });
    try {
      if (command.kind === 'undo') {
        return { step: step('undone', await actions.undo(command.step)), event: { kind: 'succeeded' } };
      }
      const { result, detail } = await actions.do(command.step);
      return { step: step(result, detail), event: { kind: 'succeeded' } };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const detail = command.kind === 'undo' ? `could not be taken back: ${reason}` : reason;
      return { step: step('failed', detail), event: { kind: 'failed', reason } };
    }
  }

  /** Counts and reports the end; throws when the promotion was undone. */
  #finish(state: PlanState, name: string, cluster: string, durationMs: number): void {
    const { log, onEvent, store } = this.#options;
    switch (state.phase) {
      case 'done': {
        this.#count(state.kind, 'done', durationMs);
        const gaps = state.gaps.map((gap) => `${gap.step}: ${gap.reason}`).join('; ');
        const { epoch } = store.snapshot;
        log[gaps === '' ? 'info' : 'warn']('promote.done', {
          cluster,
          backend: name,
          epoch,
          durationMs,
          gaps,
        });
        const left = gaps === '' ? '' : `; left to do: ${gaps}`;
        onEvent(
          'promote.done',
          name,
          `primary of ${cluster} since epoch ${epoch}, in ${durationMs} ms${left}`,
        );
        return;
      }
      case 'undone': {
        this.#count(state.kind, 'failed', durationMs);
        const { failure } = state;
        const left = state.left.map((one) => `${one.step} (${one.reason})`).join('; ');
        const aftermath = left === '' ? 'everything was taken back' : `NOT taken back: ${left}`;
        log.error('promote.undone', { cluster, backend: name, ...failure, aftermath, durationMs });
        onEvent('promote.undone', name, `step ${failure.step} failed: ${failure.reason}; ${aftermath}`);
        throw refusal('DBPROXY_PROMOTE_FAILED', name, failure.step, failure.reason, aftermath);
      }
      case 'ready':
      case 'doing':
      case 'undoing':
        throw new Error(`promotion ended in phase ${state.phase}`);
    }
  }

  #count(kind: PlanState['kind'], result: PromotionCount['result'], lastDurationMs: number): void {
    const counted = kind === 'failover' ? 'failover' : 'switchover';
    const key = `${counted} ${result}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { kind: counted, result, count, lastDurationMs });
  }

  #report(step: PromoteStep, cluster: string, backend: string): void {
    const { log, onEvent } = this.#options;
    const event = `promote.${step.step}`;
    const { result, detail, durationMs } = step;
    log[result === 'failed' ? 'error' : 'info'](event, { cluster, backend, result, detail, durationMs });
    onEvent(event, backend, `${result}: ${detail}`);
  }

  #refused(name: string, reason: string): Error {
    this.#options.log.warn('promote.refused', { backend: name, reason });
    this.#options.onEvent('promote.refused', name, reason);
    return refusal('DBPROXY_PROMOTE_REFUSED', name, reason);
  }

  #world(): PromotionWorld {
    const { clock, store, monitor, endSessions } = this.#options;
    return {
      clock,
      endSessions,
      hold: (cluster, held) => store.hold(cluster, held),
      recordPromotion: (cluster, primary) => store.recordPromotion(cluster, primary),
      changeSettings: (changes) => store.change(changes),
      rwWeight: (backend) => store.settingsOf(backend).rwWeight,
      rememberedPrimary: (cluster) => store.rememberedPrimary(cluster),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
      rejudge: (cluster) => monitor.rejudge(cluster),
    };
  }
}

function describeDecision({ kind, target, old, followers }: Decision): string {
  const others =
    followers.length === 0 ? '' : `, followed by ${followers.map(({ name }) => name).join(', ')}`;
  switch (kind) {
    case 'switchover':
      return `${target.name} takes over from ${old!.name}, which is alive${others}`;
    case 'failover':
      return `${target.name} takes over from ${old!.name}, which is down${others}`;
    case 'adopt':
      return `${target.name} becomes the primary; there is none to take over from`;
  }
}
