/**
 * The topology store: keeps all that the snapshot is made of, and tells those who listen when a new one
 * has been made. Everything that must outlive the process goes to the state file first and counts only
 * when it is there; a change that cannot be written has not happened.
 */
import { formatEndpoint } from '../base/address.ts';
import { messageOf } from '../base/message-of.ts';
import type { BackendConfig, ProxyConfig } from '../config/config.ts';
import {
  assembleSnapshot,
  epochOf,
  firstPrimary,
  maintenanceBy,
  settings,
  type Knowledge,
  type Settings,
} from './assemble.ts';
import { UNSEEN, type BackendHealth } from './health.ts';
import { membersInForce } from './members.ts';
import type { BackendView, Diagnosis, Maintenance, Snapshot } from './snapshot.ts';
import { isSameRecord, type SharedPlace } from './shared-state.ts';
import {
  formatState,
  type BackendOverride,
  type ClusterState,
  type Divergence,
  type DurableState,
  type Handover,
  type PromotionUnderWay,
  type StateStore,
  type WrittenKeys,
} from './state-file.ts';

/** Called with each new snapshot and the one before it. */
export type SnapshotListener = (snapshot: Snapshot, previous: Snapshot) => void;

/** What is decided of a cluster beside who its primary is. */
type Decided =
  'alone' | 'maintenance' | 'failoverWallMs' | 'handover' | 'diverged' | 'ownWrites' | 'longGone';

/** The other dbproxy of a pair, as far as the store has to know of it. */
export interface Sharing {
  /** Why nothing may be written down here now; throws it. `settles`: what an arbiter has is no decision of ours. */
  requireCharge(settles?: boolean): void;
  /**
   * Has the other write it down: `held` when it has, `alone` when it is known to be gone. Rejects when neither comes true
   * in time, and when the other knows better.
   */
  share(durable: DurableState): Promise<'held' | 'alone'>;
  /** Above 0: the first of these holds; below: the other one; 0: they are the same. */
  compare(one: DurableState, other: DurableState): number;
}

/** Called when backends have come or gone, before the snapshot that says so. */
export type MembersListener = (joined: readonly BackendConfig[], left: readonly BackendConfig[]) => void;

export class TopologyStore {
  readonly #config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly #file: StateStore;
  readonly #health = new Map<string, BackendHealth>();
  readonly #held = new Set<string>();
  readonly #stopped = new Map<string, string>();
  readonly #diagnoses = new Map<string, Diagnosis>();
  readonly #diverged = new Map<string, Divergence>();
  readonly #listeners: SnapshotListener[] = [];
  readonly #membersListeners: MembersListener[] = [];
  #durable: DurableState;
  #rests = false;
  #sharing: Sharing | null = null;
  /** On our disk, and on its way to the other. */
  #pending: DurableState | null = null;
  /** The term that was begun here since the other has last been heard; null: none was. */
  #ownTerm: number | null = null;
  /** The one that was to be begun, until it was, or the other is heard. */
  #triedTerm: number | null = null;
  #members: readonly BackendConfig[];
  #current: Snapshot;
  /** What of the current one was published, as text: it is compared with each check of each server. */
  #published: string;
  /** Where clusters are kept that several dbproxies have in common. */
  #shared: SharedPlace | null = null;
  /** Writes of the state file follow one another; each starts from what the one before left. */
  #lastWrite: Promise<void> = Promise.resolve();

  /** Reads the state file; throws DBPROXY_STATE_UNREADABLE when it cannot be used. */
  constructor(config: Pick<ProxyConfig, 'clusters' | 'backends'>, file: StateStore) {
    this.#config = config;
    this.#file = file;
    this.#durable = file.load();
    this.#members = membersInForce(config, this.#durable);
    this.#current = assembleSnapshot(this.#knowledge(1));
    this.#published = withoutMotion(this.#current);
  }

  /** What is known now. Lags and positions in it are newer than in what listeners were given last. */
  get snapshot(): Snapshot {
    return this.#current;
  }

  /** The backends that there are now: of the file, or added since; see `members.ts`. */
  get members(): readonly BackendConfig[] {
    return this.#members;
  }

  /** All that is remembered on disk. */
  get durable(): DurableState {
    return this.#durable;
  }

  /** What is to be told to the other of a pair: what counts, or what is about to. */
  get latest(): DurableState {
    return this.#pending ?? this.#durable;
  }

  /** A term was begun here without the other, who has not been heard since. */
  get isAlone(): boolean {
    return this.#ownTerm !== null;
  }

  /** From now on another process has to have what is written down. */
  shareWith(sharing: Sharing): void {
    this.#sharing = sharing;
  }

  /** Throws DBPROXY_NOT_IN_CHARGE where the other of a pair is the one that writes down what is decided. */
  requireCharge(): void {
    this.#sharing?.requireCharge();
  }

  /** Goes on without the other: what it may have written down and could not hand over loses against what comes now. */
  async beginTerm(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#ownTerm === null) await this.#saveTerm(this.#durable);
    });
  }

  /** The other is there, and has what we have. */
  endTerm(): void {
    this.#ownTerm = null;
    this.#triedTerm = null;
  }

  /**
   * Takes the document of the other when it holds against ours; answers ours then, else null. It counts even if our disk
   * does not take it (`unsaved` says why): the other's has it, and our next process asks the other before it does anything.
   */
  async adopt(theirs: DurableState): Promise<{ ours: DurableState; unsaved: string | null } | null> {
    return this.#inTurn(async () => {
      const ours = this.#durable;
      if (this.#sharing!.compare(ours, theirs) >= 0) return null;
      const unsaved = await this.#file.save(theirs).then(() => null, messageOf);
      this.endTerm();
      this.#take(theirs);
      return { ours, unsaved };
    });
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
  decisionsOf(cluster: string): Pick<ClusterState, Decided | 'inHand'> {
    const decided = this.#durable.clusters[cluster] ?? {};
    return this.#rests ? { ...decided, maintenance: true } : decided;
  }

  /** What is under way in a cluster, or was cut off; null: nothing, or it is over. */
  promotionOf(cluster: string): PromotionUnderWay | null {
    const promotion = this.#durable.clusters[cluster]?.promotion;
    return promotion?.ofEpoch === this.epochOf(cluster) ? promotion : null;
  }

  maintenanceOf(cluster: string): Maintenance {
    return maintenanceBy(this.#durable.clusters[cluster]?.maintenance === true, this.#rests);
  }

  /** haconf says maintenance: of all clusters, whatever was decided of each, and only while it says so. Not kept on disk. */
  rest(on: boolean): void {
    this.#rests = on;
    this.#rebuild();
  }

  /** Weights, limit and admin state of a configured backend. */
  settingsOf(backend: string): Settings {
    const found = this.#members.find((one) => one.name === backend);
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

  /** The members as their sections would have to be for what holds now. */
  membersAsSet(): BackendConfig[] {
    return this.#members.map((member) => {
      const { rwWeight, roWeight, roWeightSet, maxConnections } = this.settingsOf(member.name);
      return { ...member, rwWeight, roWeight, roWeightSet, maxConnections };
    });
  }

  /** From now on what is decided of a cluster counts only when it is in this place, too. */
  shareIn(place: SharedPlace): void {
    this.#shared = place;
  }

  /**
   * Takes over what the shared place has of a cluster when that is newer, and answers whether it was; with `isOurs`, puts
   * there what is newer here. Rejects when the primary there is no backend of ours.
   */
  async settleWithShared(cluster: string, isOurs: boolean): Promise<boolean> {
    return this.#write(
      (durable) => {
        const unchanged = { durable, answer: false, publishes: false };
        const record = this.#shared?.recordOf(cluster) ?? null;
        const own = durable.clusters[cluster];
        const ownEpoch = epochOf(durable, cluster);
        if (record === null) return { ...unchanged, publishes: isOurs };
        if (own !== undefined && isSameRecord(record, own, ownEpoch)) return unchanged;
        if (own !== undefined && (record.epoch < ownEpoch || (record.epoch === ownEpoch && isOurs)))
          return { ...unchanged, publishes: isOurs };
        const { primary } = record.state;
        if (!this.#members.some(({ name, cluster: of }) => name === primary && of === cluster))
          throw new Error(
            `${record.by} has written down ${primary} as the primary of epoch ${record.epoch}, which is no backend of cluster ${cluster} here`,
          );
        // What is under way is for the other of a pair alone; its record may have come to the shared place first.
        const isItsRecord = own?.promotion?.ofEpoch === ownEpoch && own.promotion.target === primary;
        const promotion = own?.promotion && {
          promotion: isItsRecord ? { ...own.promotion, ofEpoch: record.epoch } : own.promotion,
        };
        const state = { ...record.state, ...promotion, epoch: record.epoch };
        const clusters = { ...durable.clusters, [cluster]: state };
        const epoch = Math.max(durable.epoch, record.epoch);
        return { durable: { ...durable, epoch, clusters }, answer: true, publishes: false };
      },
      [cluster],
      true,
    );
  }

  /** Adds a listener for backends that come and go. */
  onMembers(listener: MembersListener): void {
    this.#membersListeners.push(listener);
  }

  /** Adds a backend; whether that may be is asked before (`objectionsToAdding`). Its settings are those it begins with. */
  async addBackend(name: string, written: WrittenKeys, settings: BackendOverride): Promise<void> {
    await this.#write((durable) => {
      const dropped = { ...durable.dropped };
      delete dropped[name];
      return {
        durable: {
          ...durable,
          backends: { ...durable.backends, [name]: settings },
          added: { ...durable.added, [name]: written },
          dropped,
        },
        answer: undefined,
      };
    });
  }

  /** Forgets a backend, and all that was set of it. */
  async dropBackend(name: string): Promise<void> {
    await this.#write((durable) => {
      const section = this.#config.backends.find((one) => one.name === name);
      const added = { ...durable.added };
      const backends = { ...durable.backends };
      delete added[name];
      delete backends[name];
      const dropped = {
        ...durable.dropped,
        ...(section !== undefined && { [name]: formatEndpoint(section.address) }),
      };
      const clusters = Object.fromEntries(
        Object.entries(durable.clusters).map(([cluster, state]) => [cluster, withoutInHand(state, name)]),
      );
      return { durable: { ...durable, clusters, backends, added, dropped }, answer: undefined };
    });
  }

  /** Takes in what the monitor sees of one backend. */
  observe(backend: string, health: BackendHealth): void {
    this.#health.set(backend, health);
    this.#rebuild();
  }

  /** Holds the writes of a cluster, or lets them go. */
  hold(cluster: string, held: boolean): void {
    if (this.#held.has(cluster) === held) return;
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

  /** Whether the data of each of these servers is what its primary has; null: as far as is known it is. */
  setDiverged(backends: ReadonlyMap<string, Divergence | null>): void {
    const news = [...backends].filter(([name, now]) => {
      const before = this.#diverged.get(name);
      return before?.extras !== now?.extras || before?.kind !== now?.kind;
    });
    if (news.length === 0) return;
    for (const [name, now] of news) {
      if (now === null) this.#diverged.delete(name);
      else this.#diverged.set(name, now);
    }
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
    return this.#write(
      (durable) => {
        if (durable.clusters[cluster] !== undefined) return { durable, answer: null };
        const { primary } = firstPrimary(this.#knowledge(this.#current.version), cluster);
        if (primary === null) return { durable, answer: null };
        const next = withPrimary(durable, cluster, primary, this.#nextEpoch(durable, cluster));
        return { durable: next, answer: primary };
      },
      [cluster],
    );
  }

  /**
   * Records a promotion: `primary` with the next epoch, which it answers. In the same document also, with
   * `failoverWallMs`, that a primary was replaced then without an operator, and, with `handover`, where its log goes on
   * from the one before; null: that it was not, and that this is not known; undefined: as before.
   */
  async recordPromotion(
    cluster: string,
    primary: string,
    failoverWallMs?: number | null,
    handover?: Handover | null,
  ): Promise<number> {
    return this.#write(
      (durable) => {
        const nextEpoch = this.#nextEpoch(durable, cluster);
        // It is a step of the promotion that both of a pair have.
        const promotion = this.#sharing === null ? null : this.promotionOf(cluster);
        const next = withPrimary(durable, cluster, primary, nextEpoch, failoverWallMs, handover, promotion);
        return { durable: next, answer: next.epoch };
      },
      [cluster],
    );
  }

  /** Believes the servers, which know a newer promotion than this state file; does nothing when they do not. */
  async adoptEpoch(cluster: string, primary: string, epoch: number): Promise<void> {
    await this.#write((durable) => {
      const known = durable.clusters[cluster];
      if (known !== undefined && (known.epoch ?? durable.epoch) >= epoch)
        return { durable, answer: undefined };
      const clusters = {
        ...durable.clusters,
        [cluster]: { ...known, primary, epoch, alone: false },
      };
      return { durable: { ...durable, epoch: Math.max(durable.epoch, epoch), clusters }, answer: undefined };
    });
  }

  /** Writes something down of a cluster that has a primary. */
  async decide(cluster: string, change: Partial<Pick<ClusterState, Decided>>): Promise<void> {
    await this.#write(
      (durable) => {
        const known = durable.clusters[cluster];
        if (known === undefined || isSame(known, change)) return { durable, answer: undefined };
        const clusters = { ...durable.clusters, [cluster]: { ...known, ...change } };
        return { durable: { ...durable, clusters }, answer: undefined };
      },
      [cluster],
    );
  }

  /**
   * Writes down how far a promotion has come, in a cluster that has a primary. `replaces`: of what is written down by then;
   * rejects where that is another one.
   */
  async notePromotion(
    cluster: string,
    promotion: Omit<PromotionUnderWay, 'ofEpoch'>,
    replaces: (known: PromotionUnderWay | null) => boolean,
  ): Promise<void> {
    await this.#changePromotion(cluster, (_, ofEpoch) => {
      if (!replaces(this.promotionOf(cluster)))
        throw new Error(`the other dbproxy has taken the promotion of ${promotion.target} up, or ended it`);
      return { ...promotion, ofEpoch };
    });
  }

  /** Writes down that it has ended; does nothing where another one is written down. */
  async endPromotion(cluster: string, ended: (promotion: PromotionUnderWay) => boolean): Promise<void> {
    await this.#changePromotion(cluster, (known) =>
      known !== undefined && ended(known) ? undefined : known,
    );
  }

  #changePromotion(
    cluster: string,
    change: (known: PromotionUnderWay | undefined, epoch: number) => PromotionUnderWay | undefined,
  ): Promise<void> {
    return this.#write((durable) => {
      const unchanged = { durable, answer: undefined };
      const known = durable.clusters[cluster];
      if (known === undefined) return unchanged;
      const { promotion: before, ...rest } = known;
      const promotion = change(before, epochOf(durable, cluster));
      if (promotion === before) return unchanged;
      const clusters = { ...durable.clusters, [cluster]: { ...rest, ...(promotion && { promotion }) } };
      return { durable: { ...durable, clusters }, answer: undefined };
    });
  }

  /** Writes down that the replication of these is about to be stopped, to be started again. */
  async takeInHand(cluster: string, backends: readonly string[]): Promise<void> {
    await this.#changeInHand(cluster, (inHand) => [...new Set([...inHand, ...backends])]);
  }

  /** Writes down that these are in nobody's hands any more. */
  async letGo(cluster: string, backends: readonly string[]): Promise<void> {
    await this.#changeInHand(cluster, (inHand) => inHand.filter((name) => !backends.includes(name)));
  }

  /** From what the write before has left: several servers are taken in hand at a time. */
  #changeInHand(cluster: string, change: (inHand: readonly string[]) => readonly string[]): Promise<void> {
    return this.#write(
      (durable) => {
        const known = durable.clusters[cluster];
        const before = known?.inHand ?? [];
        const inHand = change(before);
        if (known === undefined || inHand.join() === before.join()) return { durable, answer: undefined };
        const clusters = { ...durable.clusters, [cluster]: { ...known, inHand } };
        return { durable: { ...durable, clusters }, answer: undefined };
      },
      [cluster],
    );
  }

  /** Changes settings of backends, all of them or none. */
  async change(changes: Readonly<Record<string, BackendOverride>>): Promise<void> {
    await this.#write((durable) => {
      const backends = { ...durable.backends };
      for (const [name, change] of Object.entries(changes)) backends[name] = { ...backends[name], ...change };
      return { durable: { ...durable, backends }, answer: undefined };
    });
  }

  /** Not used before, here or by another dbproxy of the cluster. */
  #nextEpoch(durable: DurableState, cluster: string): number {
    return Math.max(durable.epoch, this.#shared?.lastEpochOf(cluster) ?? 0) + 1;
  }

  /**
   * Writes what `decide` makes of the durable state, then lets it count. What it has changed of `shared` clusters is put
   * into the shared place before: who cannot, as another dbproxy has the right to, changes nothing.
   */
  #write<T>(
    decide: (durable: DurableState) => { durable: DurableState; answer: T; publishes?: boolean },
    shared: readonly string[] = [],
    settles = false,
  ): Promise<T> {
    return this.#inTurn(async () => {
      const { durable, answer, publishes } = decide(this.#durable);
      if (durable !== this.#durable) this.#sharing?.requireCharge(settles);
      for (const cluster of shared) {
        const state = durable.clusters[cluster];
        const isDue = publishes ?? state !== this.#durable.clusters[cluster];
        if (isDue && state !== undefined) {
          await this.#shared?.publish(cluster, state, epochOf(durable, cluster));
        }
      }
      if (durable === this.#durable) return answer;
      if (this.#sharing !== null) await this.#saveShared(durable, this.#sharing);
      else {
        await this.#save(durable);
        this.#take(durable);
      }
      return answer;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastWrite.then(work);
    this.#lastWrite = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async #save(durable: DurableState): Promise<void> {
    try {
      await this.#file.save(durable);
    } catch (error) {
      this.#followDisk(durable);
      throw error;
    }
  }

  /** Own disk, then the other's; it counts when it is on both, or when a term has been begun without the other. */
  async #saveShared(changed: DurableState, sharing: Sharing): Promise<void> {
    const durable = { ...changed, revision: (this.#durable.revision ?? 0) + 1 };
    await this.#save(durable);
    this.#pending = durable;
    try {
      const outcome = await sharing.share(durable);
      if (outcome === 'alone' && this.#ownTerm === null) return await this.#saveTerm(durable);
    } catch (error) {
      // The other has not got it, or has something better: what we had counts on.
      await this.#file.save(this.#durable).catch(() => undefined);
      throw error;
    } finally {
      this.#pending = null;
    }
    this.#take(durable);
  }

  async #saveTerm(durable: DurableState): Promise<void> {
    const last = durable.term ?? 0;
    // One that the disk has although it said no is not yet begun, and not passed over either: it would hold against more than it is.
    const term = last === this.#triedTerm ? last : last + 1;
    this.#triedTerm = term;
    const begun = { ...durable, term, revision: (durable.revision ?? 0) + 1 };
    await this.#save(begun);
    this.#ownTerm = term;
    this.#take(begun);
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
    this.#take(attempted);
  }

  /** What is on disk counts from now on. */
  #take(durable: DurableState): void {
    const before = this.#members;
    const isOther = durable.added !== this.#durable.added || durable.dropped !== this.#durable.dropped;
    this.#durable = durable;
    if (isOther) this.#members = membersInForce(this.#config, durable);
    const joined = this.#members.filter(({ name }) => !before.some((one) => one.name === name));
    const left = before.filter(({ name }) => !this.#members.some((one) => one.name === name));
    for (const { name } of left) {
      this.#health.delete(name);
      this.#diverged.delete(name);
    }
    if (joined.length + left.length > 0)
      for (const listener of this.#membersListeners) listener(joined, left);
    this.#rebuild();
  }

  #knowledge(version: number): Knowledge {
    return {
      version,
      clusters: this.#config.clusters,
      backends: this.#members,
      durable: this.#durable,
      health: this.#health,
      held: this.#held,
      stopped: this.#stopped,
      diagnoses: this.#diagnoses,
      diverged: this.#diverged,
      rests: this.#rests,
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

function withoutInHand(state: ClusterState, backend: string): ClusterState {
  if (state.inHand?.includes(backend) !== true) return state;
  return { ...state, inHand: state.inHand.filter((name) => name !== backend) };
}

function withPrimary(
  durable: DurableState,
  cluster: string,
  primary: string,
  epoch: number,
  failoverWallMs?: number | null,
  handover?: Handover | null,
  promotion: PromotionUnderWay | null = null,
): DurableState {
  const { failoverWallMs: before, promotion: _, ...known } = durable.clusters[cluster] ?? {};
  const when = failoverWallMs === undefined ? before : (failoverWallMs ?? undefined);
  const state = {
    ...known,
    primary,
    epoch,
    ...(when !== undefined && { failoverWallMs: when }),
    ...(handover !== undefined && { handover }),
    ...(promotion !== null && { promotion: { ...promotion, ofEpoch: epoch } }),
  };
  return { ...durable, epoch, clusters: { ...durable.clusters, [cluster]: state } };
}

function isSame(state: ClusterState, change: Partial<ClusterState>): boolean {
  return (
    (change.alone ?? state.alone ?? false) === (state.alone ?? false) &&
    (change.maintenance ?? state.maintenance ?? false) === (state.maintenance ?? false) &&
    (change.failoverWallMs ?? state.failoverWallMs) === state.failoverWallMs &&
    (change.handover === undefined ||
      JSON.stringify(change.handover) === JSON.stringify(state.handover ?? null)) &&
    (change.diverged === undefined ||
      JSON.stringify(change.diverged) === JSON.stringify(state.diverged ?? [])) &&
    (change.ownWrites === undefined ||
      JSON.stringify(change.ownWrites) === JSON.stringify(state.ownWrites ?? null)) &&
    (change.longGone === undefined ||
      JSON.stringify(change.longGone) === JSON.stringify(state.longGone ?? null))
  );
}

/** Without what changes with every check although nothing has happened. */
function withoutMotion(snapshot: Snapshot): string {
  const blank = (backend: BackendView): BackendView => ({ ...backend, lagMs: null, gtidPosition: null });
  return JSON.stringify({ ...snapshot, backends: snapshot.backends.map(blank) });
}
