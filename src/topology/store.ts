/**
 * The topology store: keeps all that the snapshot is made of, and tells those who listen when a new one
 * has been made. Everything that must outlive the process goes to the state file first and counts only
 * when it is there; a change that cannot be written has not happened.
 */
import type { ProxyConfig } from '../config/config.ts';
import {
  assembleSnapshot,
  epochOf,
  firstPrimary,
  settings,
  type Knowledge,
  type Settings,
} from './assemble.ts';
import { UNSEEN, type BackendHealth } from './health.ts';
import type { BackendView, Diagnosis, Snapshot } from './snapshot.ts';
import {
  formatState,
  type BackendOverride,
  type ClusterState,
  type DurableState,
  type StateStore,
} from './state-file.ts';

/** Called with each new snapshot and the one before it. */
export type SnapshotListener = (snapshot: Snapshot, previous: Snapshot) => void;

export class TopologyStore {
  readonly #config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly #file: StateStore;
  readonly #health = new Map<string, BackendHealth>();
  readonly #held = new Set<string>();
  readonly #stopped = new Map<string, string>();
  readonly #diagnoses = new Map<string, Diagnosis>();
  readonly #listeners: SnapshotListener[] = [];
  #durable: DurableState;
  #current: Snapshot;
  /** What of the current one was published, as text: it is compared with each check of each server. */
  #published: string;
  /** Writes of the state file follow one another; each starts from what the one before left. */
  #lastWrite: Promise<void> = Promise.resolve();

  /** Reads the state file; throws DBPROXY_STATE_UNREADABLE when it cannot be used. */
  constructor(config: Pick<ProxyConfig, 'clusters' | 'backends'>, file: StateStore) {
    this.#config = config;
    this.#file = file;
    this.#durable = file.load();
    this.#current = assembleSnapshot(this.#knowledge(1));
    this.#published = withoutMotion(this.#current);
  }

  /** What is known now. Lags and positions in it are newer than in what listeners were given last. */
  get snapshot(): Snapshot {
    return this.#current;
  }

  /** The backend that was made the primary of `cluster`, whether or not it can take writes now. */
  rememberedPrimary(cluster: string): string | null {
    return this.#durable.clusters[cluster]?.primary ?? null;
  }

  /** The epoch of the remembered primary; 0: there is none. */
  epochOf(cluster: string): number {
    return epochOf(this.#durable, cluster);
  }

  /** What else was decided of a cluster. */
  decisionsOf(cluster: string): Pick<ClusterState, 'alone' | 'maintenance' | 'inHand' | 'failoverWallMs'> {
    return this.#durable.clusters[cluster] ?? {};
  }

  /** Weights, limit and admin state of a configured backend. */
  settingsOf(backend: string): Settings {
    const found = this.#config.backends.find((one) => one.name === backend);
    if (found === undefined) throw new TypeError(`no such backend: ${backend}`);
    return settings({ durable: this.#durable }, found);
  }

  /** How the monitor sees a backend. */
  healthOf(backend: string): BackendHealth {
    return this.#health.get(backend) ?? UNSEEN;
  }

  /** Adds a listener; it is not called for the snapshot that is there already. */
  onSnapshot(listener: SnapshotListener): void {
    this.#listeners.push(listener);
  }

  /** Takes in what the monitor sees of one backend. */
  observe(backend: string, health: BackendHealth): void {
    this.#health.set(backend, health);
    this.#rebuild();
  }

  /** Holds the writes of a cluster, or lets them go. */
  hold(cluster: string, held: boolean): void {
    if (held) this.#held.add(cluster);
    else this.#held.delete(cluster);
    this.#rebuild();
  }

  /** Takes the writes of a cluster nowhere for a reason, or (null) where they belong. */
  stopWrites(cluster: string, reason: string | null): void {
    if ((this.#stopped.get(cluster) ?? null) === reason) return;
    if (reason === null) this.#stopped.delete(cluster);
    else this.#stopped.set(cluster, reason);
    this.#rebuild();
  }

  /** What is the matter with a cluster, in the words of its diagnosis. */
  setDiagnosis(cluster: string, diagnosis: Diagnosis): void {
    const known = this.#diagnoses.get(cluster);
    if (known?.name === diagnosis.name && known.detail === diagnosis.detail) return;
    this.#diagnoses.set(cluster, diagnosis);
    this.#rebuild();
  }

  /**
   * When `cluster` has no remembered primary and one server alone can be it, remembers that one.
   * Answers its name when it did.
   */
  async adoptFirstPrimary(cluster: string): Promise<string | null> {
    if (this.rememberedPrimary(cluster) !== null) return null;
    return this.#write((durable) => {
      if (durable.clusters[cluster] !== undefined) return { durable, answer: null };
      const { primary } = firstPrimary(this.#knowledge(this.#current.version), cluster);
      if (primary === null) return { durable, answer: null };
      return { durable: withPrimary(durable, cluster, primary), answer: primary };
    });
  }

  /** Records a promotion: `primary` with the next epoch, which it answers. */
  async recordPromotion(cluster: string, primary: string): Promise<number> {
    return this.#write((durable) => {
      const next = withPrimary(durable, cluster, primary);
      return { durable: next, answer: next.epoch };
    });
  }

  /** Believes the servers, which know a newer promotion than this state file; does nothing when they do not. */
  async adoptEpoch(cluster: string, primary: string, epoch: number): Promise<void> {
    await this.#write((durable) => {
      const known = durable.clusters[cluster];
      if (known !== undefined && (known.epoch ?? durable.epoch) >= epoch)
        return { durable, answer: undefined };
      const clusters = { ...durable.clusters, [cluster]: { ...known, primary, epoch, alone: false } };
      return { durable: { ...durable, epoch: Math.max(durable.epoch, epoch), clusters }, answer: undefined };
    });
  }

  /** Writes something down of a cluster that has a primary. */
  async decide(
    cluster: string,
    change: Partial<Pick<ClusterState, 'alone' | 'maintenance' | 'inHand' | 'failoverWallMs'>>,
  ): Promise<void> {
    await this.#write((durable) => {
      const known = durable.clusters[cluster];
      if (known === undefined || isSame(known, change)) return { durable, answer: undefined };
      const clusters = { ...durable.clusters, [cluster]: { ...known, ...change } };
      return { durable: { ...durable, clusters }, answer: undefined };
    });
  }

  /** Changes settings of backends, all of them or none. */
  async change(changes: Readonly<Record<string, BackendOverride>>): Promise<void> {
    await this.#write((durable) => {
      const backends = { ...durable.backends };
      for (const [name, change] of Object.entries(changes)) backends[name] = { ...backends[name], ...change };
      return { durable: { ...durable, backends }, answer: undefined };
    });
  }

  /** Writes what `decide` makes of the durable state, then lets it count. */
  #write<T>(decide: (durable: DurableState) => { durable: DurableState; answer: T }): Promise<T> {
    const write = this.#lastWrite.then(async () => {
      const { durable, answer } = decide(this.#durable);
      if (durable !== this.#durable) {
        try {
          await this.#file.save(durable);
        } catch (error) {
          this.#followDisk(durable);
          throw error;
        }
        this.#durable = durable;
        this.#rebuild();
      }
      return answer;
    });
    this.#lastWrite = write.then(
      () => undefined,
      () => undefined,
    );
    return write;
  }

  /**
   * After a write that was reported as failed: the disk may have it all the same, as when only the flush of
   * the directory failed. Then it counts, for the next process would read it. When that cannot be told, the
   * old state counts, and the number of the attempt is not used again.
   */
  #followDisk(attempted: DurableState): void {
    let onDisk: DurableState;
    try {
      onDisk = this.#file.load();
    } catch {
      this.#durable = { ...this.#durable, epoch: attempted.epoch };
      return;
    }
    if (formatState(onDisk) !== formatState(attempted)) return;
    this.#durable = attempted;
    this.#rebuild();
  }

  #knowledge(version: number): Knowledge {
    return {
      version,
      clusters: this.#config.clusters,
      backends: this.#config.backends,
      durable: this.#durable,
      health: this.#health,
      held: this.#held,
      stopped: this.#stopped,
      diagnoses: this.#diagnoses,
    };
  }

  /** Publishes when something that matters to a worker has changed; lag and position alone are only kept. */
  #rebuild(): void {
    const previous = this.#current;
    const same = assembleSnapshot(this.#knowledge(previous.version));
    if (withoutMotion(same) === this.#published) {
      this.#current = same;
      return;
    }
    this.#current = { ...same, version: previous.version + 1 };
    this.#published = withoutMotion(this.#current);
    for (const listener of this.#listeners) listener(this.#current, previous);
  }
}

function withPrimary(durable: DurableState, cluster: string, primary: string): DurableState {
  const epoch = durable.epoch + 1;
  const known = durable.clusters[cluster];
  return { ...durable, epoch, clusters: { ...durable.clusters, [cluster]: { ...known, primary, epoch } } };
}

function isSame(state: ClusterState, change: Partial<ClusterState>): boolean {
  return (
    (change.alone ?? state.alone ?? false) === (state.alone ?? false) &&
    (change.maintenance ?? state.maintenance ?? false) === (state.maintenance ?? false) &&
    (change.inHand ?? state.inHand ?? []).join() === (state.inHand ?? []).join() &&
    (change.failoverWallMs ?? state.failoverWallMs) === state.failoverWallMs
  );
}

/** Without what changes with every check although nothing has happened. */
function withoutMotion(snapshot: Snapshot): string {
  const blank = (backend: BackendView): BackendView => ({ ...backend, lagMs: null, gtidPosition: null });
  return JSON.stringify({ ...snapshot, backends: snapshot.backends.map(blank) });
}
