/**
 * The control plane of all clusters: joins store, monitor, arbiters, promotions and governors into one, with every
 * way out of the process (servers, workers, disk, clock) given from outside. The supervisor gives it the real ones,
 * the simulator a world of its own: what runs between them is the same.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { ClusterConfig, ProxyConfig } from '../config/config.ts';
import { isSeenWell } from '../monitor/detector.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { VoteSight } from '../monitor/vote.ts';
import type { PairRight } from '../topology/charge.ts';
import type { TopologyStore } from '../topology/store.ts';
import type { HoldWrites, PromotionWorld } from './steps/world.ts';
import { careFor } from './care.ts';
import { chargeOf, matterOf, mayGoAlone, requireOurs, serversInCharge, type Standing } from './charge.ts';
import type { Chore } from './chores.ts';
import { ownWritesIn } from './divergence.ts';
import { longGoneIn } from './long-gone.ts';
import { Governor, type GovernorWorld } from './governor.ts';
import type { Journal } from './journal.ts';
import { noteLook } from './memory.ts';
import { NO_MEMORY, type Memory } from './traces.ts';
import { Promotions } from './promotion.ts';
import type { RejoinWorld, SavedLost } from './rejoin.ts';
import type { OpenServer } from './server-control.ts';
import type { SharedRuns } from './shared-run.ts';
import { inCluster, type Member, type Survey } from './survey.ts';
import { serversInTurn, Turns } from './turns.ts';
import type { WorkUnderWay } from './work-under-way.ts';

export interface ControlOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TopologyStore;
  readonly monitor: Monitor;
  readonly journal: Journal;
  /** What is done about a server that has what nobody else has (`rejoin.ts`). */
  readonly lost: {
    save(backend: string, world: RejoinWorld): Promise<SavedLost>;
    discard(backend: string, world: RejoinWorld): Promise<void>;
  };
  /** Where lost transactions are saved. */
  readonly stateDir: string;
  /** Why nothing can be written there; null: as far as is known it can be. */
  readonly stateTrouble?: () => string | null;
  readonly openServer: OpenServer;
  readonly holdWrites: PromotionWorld['holdWrites'];
  /** What the other dbproxy of a pair leaves to this one; absent: it is the only one. */
  readonly pair?: PairShare;
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: GovernorWorld['tell'];
  /** What is being done to the servers of a cluster on an operator's word; null: nothing. */
  readonly workUnderWay?: (cluster: string) => WorkUnderWay | null;
  /** A line for SHOW EVENTS alone: its event is in the log already. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
}

/** The other dbproxy of a pair, as far as the control plane has to know of it. */
export interface PairShare {
  /** Names this process. */
  readonly process: string;
  /** To be asked each time: it ends by time alone. */
  readonly right: PairRight;
  /** Has the other say it anew; answers for how long it can take nothing over. 0: it may have. */
  confirm(): Promise<number>;
}

const RESUME_EVERY_MS = 1_000;

const OVERTAKEN: Standing = {
  isOurs: false,
  holder: null,
  why: 'the other dbproxy has taken up what runs here, or ended it',
};

export class ControlPlane {
  readonly promotions: Promotions;
  readonly #turns: Turns;
  readonly #options: ControlOptions;
  readonly #openServer: OpenServer;
  readonly #governors = new Map<string, Governor>();
  /** By cluster. */
  readonly #memories = new Map<string, Memory>();
  #isReady = false;
  #resuming: Timer | null = null;

  constructor(options: ControlOptions) {
    const { config, clock, log, journal, store, onEvent } = options;
    this.#options = options;
    this.#openServer = serversInCharge(options.openServer, {
      charge: (cluster) => this.charge(cluster),
      chargeToTidy: (cluster) => this.#chargeWithPromotion(cluster),
      confirm: (cluster) => this.#confirmCharge(cluster),
    });
    this.#turns = new Turns({
      clock,
      isBusy: (cluster) => this.promotions.isBusy(cluster) || this.#work(cluster)?.isExclusive === true,
      epochOf: (cluster) => store.epochOf(cluster),
      isInCharge: (cluster) => this.charge(cluster).isOurs,
    });
    const world = this.#promotionWorld();
    const shared = options.pair === undefined ? undefined : this.#sharedRuns(options.pair);
    this.promotions = new Promotions({ config, clock, log, journal, world, shared, onEvent });
    const governorWorld = this.#governorWorld();
    for (const cluster of config.clusters)
      this.#governors.set(cluster.name, new Governor(cluster, governorWorld));
  }

  /** Holds what an unfinished promotion had held; to be called before any worker is given a snapshot. */
  holdUnfinished(): void {
    const { config, store } = this.#options;
    for (const { name } of config.clusters) if (this.promotions.isBusy(name)) store.hold(name, true);
  }

  /**
   * When every server has been looked at once: begins to govern, and takes up what was left unfinished; resolves when
   * that has ended, well or not. A cluster in which it has not is left alone by its governor.
   */
  async start(): Promise<void> {
    this.#isReady = true;
    const resumed = this.promotions.resume();
    // What could not be taken up now is tried again.
    this.#resuming = this.#options.clock.every(RESUME_EVERY_MS, () => void this.promotions.resume());
    for (const governor of this.#governors.values()) governor.start();
    await resumed;
  }

  /** Something has been seen of this cluster. */
  consider(cluster: string): void {
    const survey = this.survey(cluster);
    this.#memories.set(cluster, noteLook(survey.memory, survey));
    if (this.#isReady) this.#governors.get(cluster)?.consider();
  }

  /** The other of a pair leaves more to this one, or less: what it had begun is taken up at once. */
  pairRightChanged(): void {
    for (const { name } of this.#options.config.clusters) this.consider(name);
    if (this.#isReady) void this.promotions.resume();
  }

  governorOf(cluster: string): Governor {
    const governor = this.#governors.get(cluster);
    if (governor === undefined) throw new TypeError(`no such cluster: ${cluster}`);
    return governor;
  }

  /**
   * The cluster as it is known now, without servers that were added and have never been seen to replicate from it:
   * nobody is to be judged by them, and they are nobody's business yet.
   */
  survey(name: string): Survey {
    const whole = this.wholeSurvey(name);
    const { store } = this.#options;
    const isOurs = ({ backend }: Member): boolean =>
      whole.remembered === null || backend.name === whole.remembered || !store.settingsOf(backend.name).isNew;
    return { ...whole, members: whole.members.filter(isOurs) };
  }

  /** The cluster with all of its servers. */
  wholeSurvey(name: string): Survey {
    const { clock, config, monitor, store } = this.#options;
    const cluster = config.clusters.find((one) => one.name === name);
    if (cluster === undefined) throw new TypeError(`no such cluster: ${name}`);
    return inCluster({
      cluster,
      members: config.backends
        .filter((backend) => backend.cluster === name)
        .map((backend) => {
          const { admin, rwWeight } = store.settingsOf(backend.name);
          return { backend, admin, rwWeight, record: monitor.recordOf(backend.name) };
        }),
      remembered: store.rememberedPrimary(name),
      epoch: store.epochOf(name),
      alone: store.decisionsOf(name).alone ?? false,
      inHand: store.decisionsOf(name).inHand ?? [],
      handover: store.decisionsOf(name).handover ?? null,
      diverged: this.#governors.get(name)?.divergences ?? [],
      ownWrites: ownWritesIn(store.epochOf(name), store.decisionsOf(name).ownWrites),
      longGone: longGoneIn(store.epochOf(name), store.decisionsOf(name).longGone),
      memory: this.#memories.get(name) ?? NO_MEMORY,
      arbiters: monitor.arbiterSight(name),
      maintenance: store.maintenanceOf(name),
      stateTrouble: this.#options.stateTrouble?.() ?? null,
      failoverFailure: this.#governors.get(name)?.failoverFailure ?? null,
      promotion: this.promotions.standOf(name),
      charge: matterOf(this.#voteOn(name), this.#right),
      hasStandby: this.#right?.charge === null,
      mayGoAlone: mayGoAlone(this.#voteOn(name), this.#right),
      nowMs: clock.nowMs(),
    });
  }

  /** What REJOIN works with. */
  rejoinWorld(cluster: string): RejoinWorld {
    const { clock, monitor, stateDir, store } = this.#options;
    const openServer = this.#openServer;
    const turn = this.#turns.begin(cluster);
    return {
      clock,
      turn,
      openServer: serversInTurn(openServer, turn),
      stateDir,
      survey: () => this.wholeSurvey(cluster),
      inTheWay: () => this.#inTheWay(cluster),
      takeInHand: (backends) => store.takeInHand(cluster, backends),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
    };
  }

  /** Whether this proxy is the one that acts on the servers of a cluster. */
  charge(cluster: string): Standing {
    // It ends with the act under way, and lets none take writes again: that is for the other one to say.
    return this.promotions.isOvertaken(cluster) ? OVERTAKEN : this.#chargeWithPromotion(cluster);
  }

  #chargeWithPromotion(cluster: string): Standing {
    const isUnderWay = this.promotions.underWayIn(cluster) !== null;
    return chargeOf(this.#voteOn(cluster), this.#right, isUnderWay);
  }

  /** Throws DBPROXY_NOT_IN_CHARGE for a statement that acts on servers, unless this proxy is the one that does. */
  requireCharge(cluster: string): void {
    requireOurs(this.charge(cluster));
  }

  /** Something has begun on servers of a cluster, and has not ended: chores and REJOIN; promotions are `promotions.underWay`. */
  isActing(cluster: string): boolean {
    return this.#turns.isActing(cluster);
  }

  /** By all that have a say in it; a right that ends meanwhile is none. */
  async #confirmCharge(cluster: string): Promise<number> {
    const { monitor, pair } = this.#options;
    const [byPair, byVote] = await Promise.all([pair?.confirm(), monitor.voteOf(cluster)?.confirm()]);
    return this.charge(cluster).isOurs ? Math.min(byPair ?? Infinity, byVote ?? Infinity) : 0;
  }

  /** What is known may be written down here: a pair has one state, and one of the two that changes it. */
  #mayWriteDown(cluster: string): boolean {
    const pair = this.#right;
    return pair === null || this.charge(cluster).isOurs || chargeOf(null, pair, false).isOurs;
  }

  /** An arbiter's vote is to be for this dbproxy: of a pair for the one with the VIP, and where a promotion runs, to its end. */
  wantsVote(cluster: string): boolean {
    return this.#right === null || this.#right.claims || this.isPromoting(cluster);
  }

  #voteOn(cluster: string): VoteSight | null {
    return this.#options.monitor.arbiterSight(cluster).vote;
  }

  get #right(): PairRight | null {
    return this.#options.pair?.right ?? null;
  }

  /** A promotion runs here, and the other of a pair has not gone on without it. */
  isPromoting(cluster: string): boolean {
    return this.promotions.underWayIn(cluster) !== null && !this.promotions.isOvertaken(cluster);
  }

  /** Another proxy has written down what is newer than what was known here. */
  takeOver(cluster: string): void {
    const { monitor, store } = this.#options;
    const governor = this.governorOf(cluster);
    for (const one of store.decisionsOf(cluster).diverged ?? []) governor.setDivergence(one);
    monitor.rejudge(cluster);
    this.consider(cluster);
  }

  /** Begins nothing more; resolves when the promotion under way has ended. */
  async stop(): Promise<void> {
    this.#resuming?.cancel();
    for (const governor of this.#governors.values()) governor.close();
    await this.promotions.stop();
  }

  /** The epoch in which the monitor may write a row on the primary of a cluster; null: nothing is to be written now. */
  mayBeat(cluster: string): { readonly epoch: number } | null {
    const { store } = this.#options;
    if (!this.#isReady || this.promotions.isBusy(cluster) || !this.#mayWriteDown(cluster)) return null;
    if (store.decisionsOf(cluster).maintenance === true) return null;
    return { epoch: store.epochOf(cluster) };
  }

  /** To be called in the same moment in which the chore is decided on. */
  #carryOut(cluster: ClusterConfig, chore: Chore): Promise<string> {
    const { monitor, store } = this.#options;
    const openServer = this.#openServer;
    const { name } = cluster;
    const turn = this.#turns.begin(name);
    return careFor(cluster, chore, {
      turn,
      openServer: serversInTurn(openServer, turn),
      survey: () => this.survey(name),
      setAlone: (alone) => turn.act(null, () => store.decide(name, { alone })),
      takeInHand: (backends) => turn.act(null, () => store.takeInHand(name, backends)),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
    });
  }

  /** What is known may be from before it was stopped, so each is looked at once more; not while anything else begins. */
  async #letGo(
    cluster: string,
    backends: readonly string[],
    isAtRest: (backend: string) => boolean,
  ): Promise<void> {
    const { clock, monitor, store } = this.#options;
    const turn = this.#turns.begin(cluster);
    const sinceMs = clock.nowMs();
    const records = await Promise.all(backends.map((backend) => monitor.checkNow(backend)));
    const running = backends.filter((_, index) => {
      const { askedMs, facts } = records[index]!;
      return askedMs !== null && askedMs >= sinceMs && facts?.replication?.receiver === 'running';
    });
    // One that is acted on from here on is written down again, after this.
    await turn.act(null, () => store.letGo(cluster, running.filter(isAtRest)));
  }

  /** Has chores do nothing more, once something else is under way, and waits for what they have begun. */
  overtakeChores(name: string): Promise<boolean> {
    const { config, monitor } = this.#options;
    const { holdTimeoutMs } = config.clusters.find((cluster) => cluster.name === name)!;
    // One that was dropped meanwhile is as good as one that is down; a failed check alone says nothing yet.
    const answers = (backend: string): boolean =>
      config.backends.some((one) => one.name === backend) && monitor.recordOf(backend).reach !== 'down';
    return this.#turns.overtake(name, holdTimeoutMs, answers);
  }

  /** What forbids an operator to have anything else done to the servers of a cluster now, in words. */
  #inTheWay(cluster: string): string | null {
    if (this.promotions.isBusy(cluster)) return 'a promotion';
    return this.#work(cluster)?.title ?? null;
  }

  #work(cluster: string): WorkUnderWay | null {
    return this.#options.workUnderWay?.(cluster) ?? null;
  }

  /** What the other one is in the middle of is its own; what it was is for who is in charge now. */
  #sharedRuns({ process }: PairShare): SharedRuns {
    const { config, store } = this.#options;
    return {
      by: process,
      clusters: config.clusters.map(({ name }) => name),
      keptOf: (cluster) => store.promotionOf(cluster),
      runOf: (cluster) => {
        const promotion = store.promotionOf(cluster);
        return promotion?.by === process || this.charge(cluster).isOurs ? promotion : null;
      },
      note: (...note) => store.notePromotion(...note),
      end: (cluster, ended) => store.endPromotion(cluster, ended),
    };
  }

  #promotionWorld(): PromotionWorld {
    const { clock, store, monitor, holdWrites } = this.#options;
    return {
      clock,
      openServer: this.#openServer,
      charge: (cluster) => this.charge(cluster),
      overtakeChores: (cluster) => this.overtakeChores(cluster),
      workUnderWay: (cluster) => this.#work(cluster),
      holdWrites: (request: HoldWrites, bounds) => holdWrites(request, bounds),
      hold: (cluster, held) => store.hold(cluster, held),
      recordPromotion: async (cluster, ...record) => {
        requireOurs(this.charge(cluster));
        return store.recordPromotion(cluster, ...record);
      },
      failoverWallMs: (cluster) => store.decisionsOf(cluster).failoverWallMs ?? null,
      handoverOf: (cluster) => store.decisionsOf(cluster).handover ?? null,
      setHandover: (cluster, handover) => store.decide(cluster, { handover }),
      epochOf: (cluster) => store.epochOf(cluster),
      setAlone: (cluster, alone) => store.decide(cluster, { alone }),
      takeInHand: (cluster, backends) => store.takeInHand(cluster, backends),
      noteDiverged: async (cluster, found) => {
        const governor = this.governorOf(cluster);
        for (const one of found) governor.setDivergence(one);
        await store.decide(cluster, { diverged: governor.divergences });
      },
      changeSettings: (changes) => store.change(changes),
      rwWeight: (backend) => store.settingsOf(backend).rwWeight,
      rememberedPrimary: (cluster) => store.rememberedPrimary(cluster),
      survey: (cluster) => this.survey(cluster),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
      rejudge: (cluster) => monitor.rejudge(cluster),
    };
  }

  #governorWorld(): GovernorWorld {
    const { clock, log, monitor, store, tell } = this.#options;
    return {
      clock,
      log,
      promotions: this.promotions,
      survey: (cluster) => this.survey(cluster),
      mayAct: () => this.#isReady && !monitor.hasStalled,
      mayWriteDown: (cluster) => this.#mayWriteDown(cluster),
      isInCharge: (cluster) => this.charge(cluster).isOurs,
      workUnderWay: (cluster) => this.#work(cluster),
      decisionsOf: (cluster) => store.decisionsOf(cluster),
      writeDiverged: (cluster, diverged) => store.decide(cluster, { diverged }),
      writeOwnWrites: (cluster, ownWrites) => store.decide(cluster, { ownWrites }),
      writeLongGone: (cluster, longGone) => store.decide(cluster, { longGone }),
      adoptEpoch: (cluster, backend, epoch) =>
        this.#turns.begin(cluster, false).act(null, () => store.adoptEpoch(cluster, backend, epoch)),
      letGo: (...those) => this.#letGo(...those),
      stopWrites: (cluster, reason) => store.stopWrites(cluster, reason),
      setDiverged: (backends) => store.setDiverged(backends),
      setDiagnosis: (cluster, { name, gravity, detail }) =>
        store.setDiagnosis(cluster, { name, gravity, detail }),
      carryOut: (cluster, chore) => this.#carryOut(cluster, chore),
      saveLost: (cluster, backend) => this.#options.lost.save(backend, this.rejoinWorld(cluster)),
      discardLost: (cluster, backend) => this.#options.lost.discard(backend, this.rejoinWorld(cluster)),
      tell,
    };
  }
}
