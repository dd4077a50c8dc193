/**
 * A cluster of servers in memory that promotions can be run on, and that can be cut off at any moment: each act is
 * counted before and after it has taken effect, and from a given count on nothing is answered any more, as when the
 * process has been killed. Servers, journal and state file outlive it, so that the next process can be tried.
 *
 * It shows no more of a server than who may write, who follows whom, and how far it has come.
 */
import type { BackendConfig, ClusterConfig } from '../../src/config/config.ts';
import type { Standing } from '../../src/failover/charge.ts';
import type { PromotionWorld } from '../../src/failover/steps/world.ts';
import type { Journal, JournalEntry } from '../../src/failover/journal.ts';
import type { OpenServer, ServerControl } from '../../src/failover/server-control.ts';
import type { Member, Survey } from '../../src/failover/survey.ts';
import type { WorkUnderWay } from '../../src/failover/work-under-way.ts';
import type { ServerFacts } from '../../src/monitor/observation.ts';
import type { SharedRuns } from '../../src/failover/shared-run.ts';
import type { Divergence, PromotionUnderWay } from '../../src/topology/state-file.ts';
import { memberFrom, SEEN_MS, surveyOf } from './clusters.ts';
import { backendConfig, clusterConfig } from './configs.ts';
import { FakeClock } from './fake-clock.ts';

export interface FakeServer {
  readonly name: string;
  readOnly: boolean;
  /** Whom it follows, and whether it receives; null: nobody. */
  source: string | null;
  receives: boolean;
  /** Nobody can reach it. */
  isDown: boolean;
  waits: boolean;
  /** Files of its binary log. */
  logFiles: number;
  /** A crash costs it nothing that clients were told of. */
  keepsAcknowledged: boolean;
  /** It tells its source what it has received. */
  answers: boolean;
  /** It has applied all that it has received. */
  isDrained: boolean;
  isApplierStopped: boolean;
  /** All that it has, by its global ids. */
  position: string;
  /** Epochs that are written down there. */
  readonly epochs: { readonly epoch: number; readonly backend: string }[];
}

interface Written {
  readonly entry: JournalEntry;
  readonly durable: boolean;
}

/** What outlives a process. */
export class FakeCluster {
  readonly servers: readonly FakeServer[];
  readonly cluster: ClusterConfig;
  readonly backends: BackendConfig[];
  readonly clock = new FakeClock();
  state: {
    readonly primary: string;
    readonly epoch: number;
    readonly alone: boolean;
    readonly inHand: readonly string[];
    readonly failoverWallMs: number | null;
    readonly promotion?: PromotionUnderWay | undefined;
  };
  /** Whose data was noted to be another than the primary's. */
  diverged: readonly Divergence[] = [];
  written: Written[] = [];
  /** The journal of the other host of a pair. */
  writtenThere: Written[] = [];
  /** What must never be and was, with the act after which it was. */
  readonly violations: string[] = [];
  /** Replicas apply what they lack while they are waited for. */
  applies = true;
  /** Called after each effect. */
  onAct: (act: string) => void = () => undefined;

  constructor(names: readonly string[], config: Partial<ClusterConfig> = {}) {
    this.cluster = clusterConfig(config);
    this.state = { primary: names[0]!, epoch: 4, alone: false, inHand: [], failoverWallMs: null };
    this.backends = names.map((name) => backendConfig(name, { cluster: this.cluster.name }));
    this.servers = names.map((name, index) => ({
      name,
      readOnly: index > 0,
      source: index > 0 ? names[0]! : null,
      receives: index > 0,
      isDown: false,
      waits: false,
      logFiles: 1,
      keepsAcknowledged: true,
      answers: index > 0,
      isDrained: true,
      isApplierStopped: false,
      position: '0-1-100',
      epochs: [],
    }));
  }

  server(name: string): FakeServer {
    return this.servers.find((server) => server.name === name)!;
  }

  /** Who takes writes, of those that run. */
  get writers(): string[] {
    return this.servers.filter(({ readOnly, isDown }) => !readOnly && !isDown).map(({ name }) => name);
  }

  /** Looks for what must never be. */
  noteAct(act: string): void {
    this.onAct(act);
    if (this.writers.length > 1)
      this.violations.push(`after ${act}: ${this.writers.join(' and ')} take writes`);
  }

  /** What a host that has lost its power still has: nothing that was written after the last flush. */
  losePower(): void {
    const last = this.written.findLastIndex(({ durable }) => durable);
    this.written = this.written.slice(0, last + 1);
  }
}

/** One process on it: its life ends with the act of the given number. */
export class FakeProcess {
  readonly cluster: FakeCluster;
  readonly held = new Set<string>();
  readonly events: string[] = [];
  /** What an operator has done to the servers meanwhile; null: nothing. */
  workUnderWay: WorkUnderWay | null = null;
  /** Acts so far, each counted twice. */
  acts = 0;
  readonly #diesAt: () => number;
  #fails: (act: string) => 'before' | 'after' | null;

  constructor(
    cluster: FakeCluster,
    diesAt: number | (() => number) = Infinity,
    fails: (act: string) => 'before' | 'after' | null = () => null,
  ) {
    this.cluster = cluster;
    this.#diesAt = typeof diesAt === 'number' ? () => diesAt : diesAt;
    this.#fails = fails;
  }

  /** Carries out one act, unless the process ends before it, or it fails. */
  async act<T>(name: string, effect: () => T): Promise<T> {
    await this.#live();
    const failure = this.#fails(name);
    if (failure === 'before') throw new Error(`${name} failed`);
    const answer = effect();
    this.cluster.noteAct(name);
    await this.#live();
    if (failure === 'after') throw new Error(`${name} was not answered`);
    return answer;
  }

  /** Does not resolve any more once the process has ended. */
  #live(): Promise<void> {
    return ++this.acts >= this.#diesAt() ? new Promise(() => undefined) : Promise.resolve();
  }

  get isDead(): boolean {
    return this.acts >= this.#diesAt();
  }

  /** Of a pair: its own name, and whether it is on the other host. */
  pair: { readonly by: string; readonly isThere: boolean } | null = null;

  get journal(): Journal {
    const written = this.pair?.isThere === true ? this.cluster.writtenThere : this.cluster.written;
    return {
      entries: () => written.map(({ entry }) => entry),
      append: (entry, durable) => {
        const what = 'step' in entry ? `${entry.event} ${entry.step}` : entry.event;
        return this.act(`journal ${what}`, () => void written.push({ entry, durable }));
      },
    };
  }

  /** What both of the pair have. */
  get shared(): SharedRuns | undefined {
    const { cluster, pair } = this;
    if (pair === null) return undefined;
    const kept = (): PromotionUnderWay | null => {
      const { promotion, epoch } = cluster.state;
      return promotion?.ofEpoch === epoch ? promotion : null;
    };
    const keep = (what: string, promotion: PromotionUnderWay | undefined): Promise<void> =>
      this.act(what, () => void (cluster.state = { ...cluster.state, promotion }));
    return {
      by: pair.by,
      clusters: [cluster.cluster.name],
      keptOf: kept,
      runOf: () => (kept()?.by === pair.by || this.charge.isOurs ? kept() : null),
      note: async (_name, promotion, replaces) => {
        if (!replaces(kept())) throw new Error('the other one has gone on without it');
        await keep('share', { ...promotion, ofEpoch: cluster.state.epoch });
      },
      end: async (_name, ended) => {
        const promotion = kept();
        if (promotion !== null && ended(promotion)) await keep('share the end', undefined);
      },
    };
  }

  /** Whether this process is the one that acts. */
  charge: Standing = { isOurs: true };

  get world(): PromotionWorld {
    const { cluster } = this;
    return {
      clock: cluster.clock,
      openServer: this.#openServer,
      charge: () => this.charge,
      overtakeChores: () => Promise.resolve(false),
      workUnderWay: () => this.workUnderWay,
      hold: (name, held) => void (held ? this.held.add(name) : this.held.delete(name)),
      holdWrites: () => this.act('hold writes', () => ({ moved: 1, ended: 0, workersKilled: 0 })),
      recordPromotion: (_name, primary, failoverWallMs = cluster.state.failoverWallMs) =>
        this.act('record', () => {
          const epoch = cluster.state.epoch + 1;
          const promotion = cluster.state.promotion && { ...cluster.state.promotion, ofEpoch: epoch };
          cluster.state = { ...cluster.state, primary, epoch, failoverWallMs, promotion };
          return cluster.state.epoch;
        }),
      failoverWallMs: () => cluster.state.failoverWallMs,
      handoverOf: () => null,
      setHandover: () => this.act('set handover', () => undefined),
      epochOf: () => cluster.state.epoch,
      takeInHand: (_name, inHand) =>
        this.act('take in hand', () => {
          cluster.state = { ...cluster.state, inHand };
        }),
      setAlone: (_name, alone) =>
        this.act('set alone', () => {
          cluster.state = { ...cluster.state, alone };
        }),
      noteDiverged: (_name, found) =>
        this.act('note diverged', () => {
          cluster.diverged = found;
        }),
      changeSettings: () => this.act('settings', () => undefined),
      rwWeight: () => 1,
      rememberedPrimary: () => cluster.state.primary,
      survey: () => this.survey(),
      checkNow: (name) => this.act('check', () => !cluster.server(name).isDown),
      rejudge: () => undefined,
    };
  }

  survey(): Survey {
    const { state, cluster, servers } = this.cluster;
    return {
      ...surveyOf({ servers: {}, remembered: state.primary, epoch: state.epoch, alone: state.alone }),
      cluster,
      inHand: state.inHand,
      handover: null,
      members: servers.map((server) => this.#member(server)),
    };
  }

  #member(server: FakeServer): Member {
    const { name, source, receives, isDown, readOnly } = server;
    const lost = source !== null && this.cluster.server(source).isDown;
    const last = server.epochs.at(-1);
    return memberFrom(name, {
      has: server.position,
      ...(source !== null && { from: source, hears: receives ? (lost ? 'lost' : 'receives') : 'stopped' }),
      ...(isDown && { down: 'connection refused' }),
      ...(last !== undefined && { epoch: [last.epoch, last.backend] }),
      facts: { readOnly, keepsAcknowledged: server.keepsAcknowledged },
      replication: {
        drained: server.isDrained,
        applier: server.isApplierStopped ? 'stopped' : 'running',
      },
      record: source === null ? {} : { lastInSync: { atMs: SEEN_MS, lagMs: 0 } },
      ...(server.waits && { waitsFor: 1 }),
      ...(source !== null && { answers: server.answers }),
    });
  }

  readonly #openServer: OpenServer = async (backend) => {
    const server = this.cluster.server(backend.name);
    await this.act(`open ${server.name}`, () => this.#reach(server));
    return this.#control(backend, server);
  };

  #reach({ isDown, name }: FakeServer): void {
    if (isDown) throw new Error(`${name}: connection refused`);
  }

  #control(backend: BackendConfig, server: FakeServer): ServerControl {
    const on = <T>(what: string, effect: () => T): Promise<T> =>
      this.act(`${what} ${server.name}`, () => {
        this.#reach(server);
        return effect();
      });
    return {
      backend,
      look: () => on('look', (): ServerFacts => this.#member(server).record.facts!),
      makeReadOnly: () => on('make read-only', () => void (server.readOnly = true)),
      makeWritable: () => on('make writable', () => void (server.readOnly = false)),
      beginNewLog: () => on('begin new log', () => void server.logFiles++),
      stopReceiver: () => on('stop receiver', () => void (server.receives = false)),
      startReplication: () => on('start replication', () => void (server.receives = true)),
      stopReplication: () =>
        on('stop replication', () => {
          server.receives = false;
          return '';
        }),
      forgetSource: () => on('forget source', () => void (server.source = null)),
      hasApplied: () => on('wait for', () => this.cluster.applies),
      bringTo: () => Promise.reject(new Error('it has global ids')),
      logAfter: () => Promise.reject(new Error('it has global ids')),
      follow: (source) =>
        on('follow', () => {
          server.source = source.name;
          server.receives = true;
        }),
      setSemiSync: (side, isOn) =>
        on('semi-sync', () => {
          if (side === 'primary') server.waits = isOn;
        }),
      noteEpoch: ({ epoch, backend: primary }) =>
        on('note epoch', () => void server.epochs.push({ epoch, backend: primary })),
      close: () => undefined,
    };
  }
}
