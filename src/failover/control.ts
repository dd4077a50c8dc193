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
import type { TopologyStore } from '../topology/store.ts';
import type { HoldWrites, PromotionWorld } from './actions.ts';
import { careFor } from './care.ts';
import { Governor, type GovernorWorld } from './governor.ts';
import type { Journal } from './journal.ts';
import { Promotions } from './promotion.ts';
import type { RejoinWorld, SavedLost } from './rejoin.ts';
import type { OpenServer } from './server-control.ts';
import type { Survey } from './survey.ts';

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
  readonly openServer: OpenServer;
  readonly holdWrites: PromotionWorld['holdWrites'];
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: GovernorWorld['tell'];
  /** Servers are being set up on an operator's word (BOOTSTRAP, CLONE): nothing is done to them by itself meanwhile. */
  readonly isSettingUp?: () => boolean;
  /** A line for SHOW EVENTS alone: its event is in the log already. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
}

const RESUME_EVERY_MS = 1_000;

export class ControlPlane {
  readonly promotions: Promotions;
  readonly #options: ControlOptions;
  readonly #governors: ReadonlyMap<string, Governor>;
  #isReady = false;
  #resuming: Timer | null = null;

  constructor(options: ControlOptions) {
    const { config, clock, log, journal, onEvent } = options;
    this.#options = options;
    this.promotions = new Promotions({ config, clock, log, journal, world: this.#promotionWorld(), onEvent });
    const world = this.#governorWorld();
    this.#governors = new Map(config.clusters.map((cluster) => [cluster.name, new Governor(cluster, world)]));
  }

  /** Holds what an unfinished promotion had held; to be called before any worker is given a snapshot. */
  holdUnfinished(): void {
    const { config, store } = this.#options;
    for (const { name } of config.clusters) if (this.promotions.isBusy(name)) store.hold(name, true);
  }

  /** When every server has been looked at once: takes up what was left unfinished, then begins to govern. */
  async start(): Promise<void> {
    await this.promotions.resume();
    this.#isReady = true;
    // What could not be taken up now is tried again.
    this.#resuming = this.#options.clock.every(RESUME_EVERY_MS, () => void this.promotions.resume());
    for (const governor of this.#governors.values()) governor.start();
  }

  /** Something has been seen of this cluster. */
  consider(cluster: string): void {
    if (this.#isReady) this.#governors.get(cluster)?.consider();
  }

  governorOf(cluster: string): Governor {
    const governor = this.#governors.get(cluster);
    if (governor === undefined) throw new TypeError(`no such cluster: ${cluster}`);
    return governor;
  }

  /** The cluster as it is known now. */
  survey(name: string): Survey {
    const { clock, config, monitor, store } = this.#options;
    const cluster = config.clusters.find((one) => one.name === name);
    if (cluster === undefined) throw new TypeError(`no such cluster: ${name}`);
    return {
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
      arbiters: monitor.arbiterSight(name),
      nowMs: clock.nowMs(),
    };
  }

  /** What REJOIN works with. */
  rejoinWorld(cluster: string): RejoinWorld {
    const { clock, monitor, openServer, stateDir } = this.#options;
    return {
      clock,
      openServer,
      stateDir,
      survey: () => this.survey(cluster),
      isBusy: () => this.promotions.isBusy(cluster),
      takeInHand: (backends) => this.#takeInHand(cluster, backends),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
    };
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
    if (!this.#isReady || this.promotions.isBusy(cluster)) return null;
    if (store.decisionsOf(cluster).maintenance === true) return null;
    return { epoch: store.epochOf(cluster) };
  }

  #takeInHand(cluster: string, backends: readonly string[]): Promise<void> {
    const { store } = this.#options;
    const inHand = [...new Set([...(store.decisionsOf(cluster).inHand ?? []), ...backends])];
    return store.decide(cluster, { inHand });
  }

  #promotionWorld(): PromotionWorld {
    const { clock, store, monitor, openServer, holdWrites } = this.#options;
    return {
      clock,
      openServer,
      holdWrites: (request: HoldWrites, timeoutMs) => holdWrites(request, timeoutMs),
      hold: (cluster, held) => store.hold(cluster, held),
      recordPromotion: (cluster, primary) => store.recordPromotion(cluster, primary),
      epochOf: (cluster) => store.epochOf(cluster),
      setAlone: (cluster, alone) => store.decide(cluster, { alone }),
      takeInHand: (cluster, backends) => this.#takeInHand(cluster, backends),
      changeSettings: (changes) => store.change(changes),
      rwWeight: (backend) => store.settingsOf(backend).rwWeight,
      rememberedPrimary: (cluster) => store.rememberedPrimary(cluster),
      survey: (cluster) => this.survey(cluster),
      checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
      rejudge: (cluster) => monitor.rejudge(cluster),
    };
  }

  #governorWorld(): GovernorWorld {
    const { clock, isSettingUp, log, monitor, openServer, store, tell } = this.#options;
    return {
      clock,
      log,
      promotions: this.promotions,
      survey: (cluster) => this.survey(cluster),
      mayAct: () => this.#isReady && !monitor.hasStalled && isSettingUp?.() !== true,
      decisionsOf: (cluster) => store.decisionsOf(cluster),
      adoptEpoch: (cluster, backend, epoch) => store.adoptEpoch(cluster, backend, epoch),
      decide: (cluster, change) => store.decide(cluster, change),
      stopWrites: (cluster, reason) => store.stopWrites(cluster, reason),
      setDiagnosis: (cluster, { name, gravity, detail }) =>
        store.setDiagnosis(cluster, { name, gravity, detail }),
      carryOut: (cluster: ClusterConfig, chore) =>
        careFor(cluster, chore, {
          openServer,
          survey: () => this.survey(cluster.name),
          isBusy: () => this.promotions.isBusy(cluster.name),
          setAlone: (alone) => store.decide(cluster.name, { alone }),
          takeInHand: (backends) => this.#takeInHand(cluster.name, backends),
          checkNow: async (backend) => isSeenWell(await monitor.checkNow(backend)),
        }),
      saveLost: (cluster, backend) => this.#options.lost.save(backend, this.rejoinWorld(cluster)),
      discardLost: (cluster, backend) => this.#options.lost.discard(backend, this.rejoinWorld(cluster)),
      tell,
    };
  }
}
