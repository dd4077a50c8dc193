/**
 * Promotions: looks, asks `check.ts` whether, and has a `PromotionRun` do it. One promotion of a cluster at a time;
 * those of other clusters are nothing to it. A promotion that the last process left unfinished is taken up by `resume`.
 */
import { messageOf } from '../base/message-of.ts';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import { PromotionActions } from './actions.ts';
import { decidePromotion, type Decision, type Verdict, type Wish } from './check.ts';
import { requireOurs, whyNotHere } from './charge.ts';
import { CUT_OFF, notesAfter, StuckRuns, waitingPlanOf, wasTakenBack } from './cut-off.ts';
import type { Journal, UnfinishedRun } from './journal.ts';
import { advance, resume, stepsOf, type PlanMove, type PlanShape, type StepName } from './plan.ts';
import {
  describeDecision,
  saidOf,
  TAKEN_UP_FIRST,
  underWayWords,
  waitWords,
  type Asked,
} from './promotion-words.ts';
import { PromotionRun, type RunningPlan, type RunSubject, type RunTools } from './promotion-run.ts';
import { RunJournal } from './run-journal.ts';
import type { PromotionWorld } from './steps/world.ts';
import type { SharedRuns } from './shared-run.ts';
import { isSeen, memberOf, type PromotionStand, type Survey } from './survey.ts';
import type { WorkUnderWay } from './work-under-way.ts';

export interface PromotionsOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Journal;
  readonly world: PromotionWorld;
  /** What both of a pair have of what is under way; absent: there is no other. */
  readonly shared?: SharedRuns | undefined;
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

/** A promotion of one cluster while it is under way, from before its check on. */
interface Running {
  readonly target: string;
  readonly sinceWallMs: number;
  readonly ended: Promise<unknown>;
  /** Once it has been decided. */
  run: PromotionRun | null;
}

export class Promotions {
  readonly #options: PromotionsOptions;
  readonly #counts = new Map<string, PromotionCount>();
  readonly #journal: RunJournal;
  readonly #stuck: StuckRuns;
  /** By cluster. */
  readonly #running = new Map<string, Running>();
  /** Clusters in which FORCE is giving up what was cut off. */
  readonly #givingUp = new Set<string>();
  #stopping = false;

  constructor(options: PromotionsOptions) {
    this.#options = options;
    this.#journal = new RunJournal(options);
    this.#stuck = new StuckRuns({ ...options, targetAnswers: (run) => this.#targetAnswers(run) });
  }

  /**
   * Makes a server the primary of its cluster; rejects with DBPROXY_PROMOTE_REFUSED or _FAILED, or with
   * DBPROXY_NOT_IN_CHARGE. `looks`: every server
   * is looked at first; not for a failover that the diagnosis of just now asks for.
   */
  async promote(wish: Wish, because: string, looks: boolean): Promise<PromoteStep[]> {
    const { cluster } = this.#find(wish.target);
    requireOurs(this.#options.world.charge(cluster.name));
    const work = this.#options.world.workUnderWay(cluster.name);
    if (work !== null) await this.#endWork(work, wish, cluster, looks);
    const givesUp = wish.force && this.#isCutOff(cluster.name);
    try {
      if (givesUp) await this.#giveUp(cluster.name);
      if (this.#isCutOff(cluster.name)) throw this.#refused(wish, TAKEN_UP_FIRST);
      return await this.#alone(wish, cluster.name, (hasWaited) =>
        this.#promote(wish, because, looks || hasWaited),
      );
    } finally {
      // What was given up had held statements, and does not come to let them go itself.
      if (givesUp && !this.isBusy(cluster.name)) this.#options.world.hold(cluster.name, false);
    }
  }

  /** Until that is written down it stays what it was, and nobody takes it up. */
  async #giveUp(cluster: string, detail?: string): Promise<void> {
    this.#givingUp.add(cluster);
    try {
      await this.#journal.giveUp(cluster, this.#options.world.epochOf(cluster), detail);
    } finally {
      this.#givingUp.delete(cluster);
    }
  }

  /** What `promote` would do, or why it would not: nothing is changed. */
  async dryRun(wish: Wish): Promise<{ verdict: Verdict; steps: StepName[] }> {
    const { cluster } = this.#find(wish.target);
    const inTheWay = this.#inTheWay(wish, cluster.name);
    if (inTheWay !== null) return { verdict: { kind: 'refused', reason: inTheWay }, steps: [] };
    const verdict = await this.#check(wish, cluster, true);
    if (verdict.kind === 'refused') return { verdict, steps: [] };
    const work = this.#options.world.workUnderWay(cluster.name);
    if (work !== null && (work.end === null || verdict.kind === 'switchover')) {
      return { verdict: { kind: 'refused', reason: waitWords(work) }, steps: [] };
    }
    const actions = new PromotionActions(this.#options.world, cluster, verdict);
    try {
      const reason = await actions.connectAhead();
      if (reason !== null) return { verdict: { kind: 'refused', reason }, steps: [] };
      return { verdict, steps: stepsOf(shapeOf(verdict, cluster)) };
    } finally {
      actions.close();
    }
  }

  /** Why this promotion could not begin now, whatever the servers are; null: it could. */
  #inTheWay({ force }: Wish, cluster: string): string | null {
    const other = this.#running.get(cluster);
    if (other !== undefined) return underWayWords(other);
    const notHere = whyNotHere(this.#options.world.charge(cluster));
    if (notHere !== null) return notHere;
    return this.#isCutOff(cluster) && !force ? TAKEN_UP_FIRST : null;
  }

  /**
   * Takes up what the last process left unfinished, or the other of a pair, in each cluster; resolves when all that has
   * ended, well or not.
   */
  async resume(): Promise<void> {
    if (this.#options.shared !== undefined) await this.leaveToOther();
    const isDue = (run: UnfinishedRun): boolean =>
      !this.#running.has(run.cluster) && !this.#givingUp.has(run.cluster) && this.#stuck.isDue(run);
    const due = this.#journal.unfinished().filter(isDue);
    if (!this.#stopping) await Promise.all(due.map((run) => this.#takeUpIfOurs(run)));
  }

  /**
   * Who is in charge now has found what was left, and done what it calls for; nobody is: it waits. The other of a pair
   * has the journal, too, and ends it there.
   */
  async #takeUpIfOurs(run: UnfinishedRun): Promise<void> {
    const charge = this.#options.world.charge(run.cluster);
    if (charge.isOurs) return this.#takeUp(run);
    if (charge.holder === null || this.#options.shared !== undefined) return;
    await this.#close(
      run,
      `${charge.holder} is in charge of the cluster now, and decides what is to be done`,
    );
  }

  #targetAnswers({ cluster, decision, notes }: UnfinishedRun): boolean {
    const { config, world } = this.#options;
    if (!config.clusters.some(({ name }) => name === cluster)) return false;
    const target = memberOf(world.survey(cluster), notes?.target ?? decision.target);
    return target !== undefined && isSeen(target);
  }

  async #takeUp(run: UnfinishedRun): Promise<void> {
    const gone = this.#goneSince(run);
    try {
      if (gone.length > 0) await this.#closeWithout(gone, run);
      else await this.#alone(run.decision, run.cluster, () => this.#resume(run));
      this.#stuck.forget(run);
    } catch (error) {
      // One that was taken back has told of its end itself.
      if (this.#journal.isUnfinished(run.run)) this.#stuck.failed(run, messageOf(error));
      else this.#stuck.forget(run);
    }
  }

  /** What this journal has, and what both of the pair have does not, has been ended by the other. */
  async leaveToOther(): Promise<void> {
    const { world } = this.#options;
    const isRunning = (cluster: string): boolean => this.#running.has(cluster) || this.#givingUp.has(cluster);
    await this.#journal.closeSuperseded(isRunning, (cluster) => world.epochOf(cluster));
    // Whatever could be written down.
    for (const { name } of this.#options.config.clusters)
      if (!isRunning(name) && !this.isBusy(name)) world.hold(name, false);
  }

  /** Who of those that it is about has been taken out of the configuration meanwhile. */
  #goneSince({ cluster, decision }: UnfinishedRun): string[] {
    const { backends } = this.#options.config;
    return [decision.target, decision.old ?? decision.target].filter(
      (name) => !backends.some((backend) => backend.name === name && backend.cluster === cluster),
    );
  }

  /** There is nothing to be done about it any more. */
  async #closeWithout(gone: readonly string[], run: UnfinishedRun): Promise<void> {
    await this.#close(run, `${gone.join(', ')} is not in the configuration any more`);
  }

  async #close({ run, cluster, decision }: UnfinishedRun, detail: string): Promise<void> {
    const { world, log, onEvent } = this.#options;
    const epoch = world.epochOf(cluster);
    world.hold(cluster, false);
    await this.#journal.close(run, cluster, { event: 'closed', result: 'undone', detail, epoch });
    log.error('promote.closed', { cluster, backend: decision.target, reason: detail });
    onEvent('promote.closed', decision.target, `${detail}; it is not taken up, and nothing was taken back`);
  }

  /** Begins no more promotions; resolves when those that run have ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#journal.stop();
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  /** The servers that are being promoted now. */
  get underWay(): string[] {
    return [...this.#running.values()].map(({ target }) => target);
  }

  /** The server that is being promoted now in this cluster. */
  underWayIn(cluster: string): string | null {
    return this.#running.get(cluster)?.target ?? null;
  }

  /** What runs here is not this process's any more. */
  isOvertaken(cluster: string): boolean {
    return this.#running.has(cluster) && this.#journal.isOvertaken(cluster);
  }

  /** A promotion of this cluster runs, or was left unfinished. */
  isBusy(cluster: string): boolean {
    return this.#running.has(cluster) || this.#journal.unfinishedIn(cluster) !== undefined;
  }

  /** A promotion of this cluster was left unfinished, and is not being taken up now. */
  #isCutOff(cluster: string): boolean {
    return !this.#running.has(cluster) && this.isBusy(cluster);
  }

  /** How far the promotion of a cluster has come that runs, or was left unfinished; null: there is none. */
  standOf(cluster: string): PromotionStand | null {
    const unfinished = this.#journal.unfinishedIn(cluster);
    const running = this.#running.get(cluster);
    if (unfinished === undefined) {
      if (running === undefined) return null;
      const { target, sinceWallMs } = running;
      return { target, step: null, sinceWallMs, cutOffBy: null };
    }
    const { decision, notes, step, sinceWallMs } = unfinished;
    return {
      target: notes?.target ?? decision.target,
      step,
      sinceWallMs,
      cutOffBy: this.#journal.isOwn(unfinished.run) ? null : this.#whyCutOff(unfinished),
    };
  }

  #whyCutOff(run: UnfinishedRun): string {
    return this.#stuck.reasonOf(run) ?? CUT_OFF;
  }

  /** The plans that have not ended, one a cluster at most. */
  get plans(): RunningPlan[] {
    const running = [...this.#running.values()].flatMap(({ run }) => (run === null ? [] : [run.plan]));
    const waiting = this.#journal
      .unfinished()
      .filter(({ cluster }) => running.every((plan) => plan.cluster !== cluster))
      .map((run) => waitingPlanOf(run, this.#whyCutOff(run)));
    return [...running, ...waiting];
  }

  /** Promotions so far. */
  counts(): PromotionCount[] {
    return [...this.#counts.values()];
  }

  /** What an operator is having done may take hours. What is planned waits for its end; a cluster without a primary does not. */
  async #endWork(work: WorkUnderWay, wish: Wish, cluster: ClusterConfig, looks: boolean): Promise<void> {
    const { world } = this.#options;
    const inTheWay = this.#refused(wish, waitWords(work));
    if (work.end === null || this.#running.has(cluster.name) || this.#stopping) throw inTheWay;
    const verdict = await this.#check(wish, cluster, looks);
    if (verdict.kind === 'refused') throw this.#refused(wish, verdict.reason);
    if (verdict.kind === 'switchover') throw inTheWay;
    await work.end(
      `the ${verdict.kind === 'failover' ? 'failover' : 'promotion'} of cluster ${cluster.name}`,
    );
    if (world.workUnderWay(cluster.name)?.isExclusive === true)
      throw this.#refused(wish, `${work.title} is being taken back; try again in a moment`);
  }

  /** Nothing else acts on the servers of the cluster meanwhile; `hasWaited`: something else did a moment ago. */
  async #alone<T>(wish: Asked, cluster: string, work: (hasWaited: boolean) => Promise<T>): Promise<T> {
    const { target } = wish;
    if (this.#stopping) throw this.#refused(wish, 'dbproxy is stopping');
    const other = this.#running.get(cluster);
    if (other !== undefined) throw this.#refused(wish, underWayWords(other));
    const { clock, world } = this.#options;
    // What has begun is let go on to its end: so it begins only while that is so.
    requireOurs(world.charge(cluster));
    // It counts as running before anything of it is done: from then on no chore begins anything.
    const running = Promise.resolve()
      .then(() => world.overtakeChores(cluster))
      .catch((error: unknown) => {
        throw this.#refused(wish, messageOf(error));
      })
      .then(work);
    const sinceWallMs = clock.wallMs();
    this.#running.set(cluster, { target, sinceWallMs, ended: running.catch(() => undefined), run: null });
    try {
      return await running;
    } finally {
      this.#running.delete(cluster);
    }
  }

  async #promote(wish: Wish, because: string, looks: boolean): Promise<PromoteStep[]> {
    const { clock, world } = this.#options;
    const startMs = clock.nowMs();
    const { cluster } = this.#find(wish.target);
    const verdict = await this.#check(wish, cluster, looks);
    if (verdict.kind === 'refused') throw this.#refused(wish, verdict.reason);
    const actions = new PromotionActions(world, cluster, verdict);
    try {
      // A failover that nobody has asked for is in a hurry, and tried again.
      const reason = looks && wish.isAutomatic !== true ? await actions.connectAhead() : null;
      if (reason !== null) throw this.#refused(wish, reason);
      const run = await this.#open(wish, because, verdict, actions, startMs);
      return await this.#carryOut(
        cluster,
        run,
        advance({ phase: 'ready', shape: shapeOf(verdict, cluster) }, { kind: 'begin' }),
      );
    } finally {
      actions.close();
    }
  }

  /** Writes down that it begins. */
  async #open(
    wish: Wish,
    because: string,
    verdict: Decision,
    actions: PromotionActions,
    startMs: number,
  ): Promise<PromotionRun> {
    const { clock, world } = this.#options;
    const { cluster } = this.#find(wish.target);
    const shape = shapeOf(verdict, cluster);
    const number = this.#journal.nextRun();
    const run = this.#runOf({
      number,
      cluster,
      shape,
      because,
      said: saidOf(wish),
      startMs,
      actions,
      failedBefore: null,
    });
    await this.#journal.write(
      { number, cluster: cluster.name, shape },
      {
        event: 'opened',
        epoch: world.epochOf(cluster.name),
        decision: {
          shape,
          target: verdict.target.name,
          old: verdict.old?.name ?? null,
          only: verdict.only,
          force: verdict.force,
          isAutomatic: verdict.isAutomatic,
          ...(verdict.dissolvesRing === true && { dissolvesRing: true }),
          because,
          oldWasReadOnly: readOnlyOf(world.survey(cluster.name), verdict.old),
        },
      },
    );
    run.report({
      step: 'check',
      result: 'done',
      detail: describeDecision(verdict, world.survey(cluster.name)),
      durationMs: Math.round(clock.nowMs() - startMs),
    });
    return run;
  }

  async #resume(unfinished: UnfinishedRun): Promise<void> {
    const { world, clock } = this.#options;
    world.hold(unfinished.cluster, true);
    await this.#journal.takeOver(unfinished);
    const { decision, step } = unfinished;
    const { shape, because } = decision;
    const undoing = unfinished.undoing || wasTakenBack(unfinished, world);
    const { cluster, backend: target } = this.#find(decision.target);
    const old = decision.old === null ? null : this.#find(decision.old).backend;
    const taken: Decision = {
      kind: shape.kind,
      target,
      old,
      followers: [],
      only: decision.only,
      force: decision.force,
      isAutomatic: decision.isAutomatic ?? false,
      dissolvesRing: decision.dissolvesRing ?? false,
    };
    const run = this.#runOf({
      number: unfinished.run,
      cluster,
      shape,
      because: `${because}; taken up after it was cut off`,
      said: `the promotion of ${decision.target}, taken up after it was cut off,`,
      startMs: clock.nowMs(),
      actions: new PromotionActions(world, cluster, taken, notesAfter(unfinished)),
      failedBefore: this.#stuck.reasonOf(unfinished) ?? null,
    });
    await this.#carryOut(cluster, run, resume(shape, step, undoing, CUT_OFF));
  }

  #runOf(subject: RunSubject): PromotionRun {
    const onEnded: RunTools['onEnded'] = (kind, result, durationMs) => this.#count(kind, result, durationMs);
    return new PromotionRun(subject, { ...this.#options, journal: this.#journal, onEnded });
  }

  #carryOut(cluster: ClusterConfig, run: PromotionRun, first: PlanMove): Promise<PromoteStep[]> {
    this.#running.get(cluster.name)!.run = run;
    return run.carryOut(first);
  }

  async #check(wish: Wish, cluster: ClusterConfig, looks: boolean): Promise<Verdict> {
    const { world } = this.#options;
    if (looks) {
      const { members } = world.survey(cluster.name);
      await Promise.all(members.map(({ backend }) => world.checkNow(backend.name)));
    }
    return decidePromotion(world.survey(cluster.name), wish);
  }

  #count(kind: PlanShape['kind'], result: PromotionCount['result'], lastDurationMs: number): void {
    const counted = kind === 'failover' ? 'failover' : 'switchover';
    const key = `${counted} ${result}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { kind: counted, result, count, lastDurationMs });
  }

  #find(name: string): { backend: BackendConfig; cluster: ClusterConfig } {
    const { config } = this.#options;
    const backend = config.backends.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (backend === undefined || cluster === undefined)
      throw this.#refused({ target: name }, 'there is no such backend');
    return { backend, cluster };
  }

  #refused(wish: Asked, reason: string): Error {
    const said = saidOf(wish);
    this.#options.log.warn('promote.refused', { backend: wish.target, said, reason });
    this.#options.onEvent('promote.refused', wish.target, reason);
    return refusal('DBPROXY_PROMOTE_REFUSED', said, reason);
  }
}

function shapeOf({ kind }: Decision, { semiSync }: ClusterConfig): PlanShape {
  return { kind, waitsForReplica: semiSync === 'require' };
}

function readOnlyOf(survey: Survey, old: BackendConfig | null): boolean | null {
  return memberOf(survey, old?.name ?? null)?.record.facts?.readOnly ?? null;
}
