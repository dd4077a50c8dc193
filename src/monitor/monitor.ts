/**
 * The monitor: runs the checks of all backends on their schedule and passes on what they mean. It is the
 * thin shell around `probe` (look), `detector` (judge) and `schedule` (when); it decides nothing itself.
 * Beside the servers it has the arbiters asked, and the heart of each cluster beats on its primary.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { BackendHealth } from '../topology/health.ts';
import { Arbiters, type ArbiterSight, type AskArbiter } from './arbiter.ts';
import type { LeaseVote } from './vote.ts';
import {
  FIRST_RECORD,
  judgeCheck,
  judgeReplication,
  judgeWrite,
  toBackendHealth,
  type HealthRecord,
  type PrimarySight,
} from './detector.ts';
import { Heart, takesBeats, type HeartConnection, type HeartTarget } from './heart.ts';
import { isAlive, type Observation } from './observation.ts';
import { Probe } from './probe.ts';
import { nextCheckMs, STALL_TICK_MS, StallGuard, urgentCheckMs, type CheckState } from './schedule.ts';
import { receiverWitness } from './witness.ts';
import type { WriteOutcome } from './write-outcome.ts';

/** What looks at one server; `Probe` in real life. */
export interface Checker {
  /** Several checks may run side by side. */
  check(timeoutMs: number): Promise<Observation>;
  close(): void;
}

export interface MonitorOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The primary as it was decided; lag is judged by whether that one is up. */
  readonly primaryOf: (cluster: string) => string | null;
  /**
   * The epoch of the cluster when the monitor may write a row on its primary now; null while a promotion or
   * an operator wants nothing written. Without it nothing is ever written.
   */
  readonly mayBeat?: (cluster: string) => { readonly epoch: number } | null;
  /** Called with the health of a backend after each check that counts. */
  readonly onHealth: (backend: string, health: BackendHealth) => void;
  /** Makes the checker of a backend, which calls `onLost` when its idle connection breaks; by default a `Probe`. */
  readonly makeChecker?: (backend: BackendConfig, cluster: ClusterConfig, onLost: () => void) => Checker;
  /** By default over the network. */
  readonly askArbiter?: AskArbiter;
  /** Makes what asks the arbiter of a cluster that votes; null: none does. */
  readonly makeVote?: (cluster: ClusterConfig, isWorried: () => boolean) => LeaseVote | null;
  readonly connectHeart?: (backend: BackendConfig, timeoutMs: number) => Promise<HeartConnection>;
}

/** One backend under watch. */
interface Watch {
  readonly backend: BackendConfig;
  readonly cluster: ClusterConfig;
  readonly checker: Checker;
  record: HealthRecord;
  timer: Timer | null;
  lastStartMs: number;
  lastUrgentMs: number;
  /** Somebody wants a check that begins from now on, as soon as the rate allows. */
  isWanted: boolean;
  /** The checks that run now, by their end, and when each began. */
  readonly running: Map<Promise<void>, number>;
  /** How many checks were begun, and which of them was the last to begin that the server answered. */
  begun: number;
  answered: number;
}

/** What belongs to a cluster as a whole. */
interface ClusterWatch {
  readonly cluster: ClusterConfig;
  readonly arbiters: Arbiters;
  /** Null where nothing is to be written. */
  readonly heart: Heart | null;
}

/** How long after a stall nothing is done: by then every server that answers has been asked anew. */
const AFTER_STALL_MS = 1_000;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #watches = new Map<string, Watch>();
  readonly #clusters = new Map<string, ClusterWatch>();
  readonly #guard: StallGuard;
  #ticker: Timer | null = null;
  #closed = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#guard = new StallGuard(options.clock.nowMs());
    for (const cluster of options.config.clusters)
      this.#clusters.set(cluster.name, this.#clusterWatch(cluster));
    for (const backend of options.config.backends)
      this.#watches.set(backend.name, this.#backendWatch(backend));
  }

  /** Starts to check; resolves when every backend has been checked once. */
  async start(): Promise<void> {
    this.#ticker = this.#options.clock.every(STALL_TICK_MS, () => {
      const stalledMs = this.#guard.tick(this.#options.clock.nowMs());
      if (stalledMs > 0) this.#options.log.warn('monitor.stalled', { stalledMs: Math.round(stalledMs) });
    });
    const clusters = [...this.#clusters.values()];
    await Promise.all([
      ...[...this.#watches.keys()].map((name) => this.checkNow(name)),
      ...clusters.map(({ arbiters }) => arbiters.start()),
    ]);
    for (const { heart } of clusters) heart?.start();
  }

  /** Watches one more backend from now on. */
  add(backend: BackendConfig): void {
    const watch = this.#backendWatch(backend);
    this.#watches.set(backend.name, watch);
    if (this.#ticker !== null) void this.#run(watch);
  }

  /** Looks at a backend no more. */
  remove(backend: string): void {
    const watch = this.#watches.get(backend);
    if (watch === undefined) return;
    this.#watches.delete(backend);
    watch.timer?.cancel();
    watch.checker.close();
  }

  /** What is known of a backend. */
  recordOf(backend: string): HealthRecord {
    return this.#watch(backend).record;
  }

  /** This process stood still a moment ago: what it knows may be old, so nothing should be done on its strength. */
  get hasStalled(): boolean {
    const nowMs = this.#options.clock.nowMs();
    return this.#guard.stalledSince(nowMs - AFTER_STALL_MS, nowMs);
  }

  /** What asks the arbiter of a cluster that votes; null: none does. */
  voteOf(cluster: string): LeaseVote | null {
    return this.#cluster(cluster).arbiters.vote;
  }

  /** Gives back all rights to act that arbiters have given; never rejects. */
  async releaseVotes(): Promise<void> {
    await Promise.all([...this.#clusters.values()].map(async ({ arbiters }) => arbiters.vote?.release()));
  }

  /** What the arbiters of a cluster say. */
  arbiterSight(cluster: string): ArbiterSight {
    return this.#cluster(cluster).arbiters.sight;
  }

  /** Somebody has reason to doubt this backend: its next check comes as soon as the rate allows. */
  checkSoon(backend: string): void {
    const watch = this.#watches.get(backend);
    if (watch === undefined) return;
    watch.isWanted = true;
    this.#plan(watch);
  }

  /** Checks a backend by a check that begins after this call, and answers what is known then. */
  async checkNow(backend: string): Promise<HealthRecord> {
    const watch = this.#watch(backend);
    // A check that runs already may have asked its questions before whatever the caller did.
    while (watch.running.size >= watch.cluster.fall && !this.#closed)
      await Promise.race(watch.running.keys());
    await this.#run(watch);
    return watch.record;
  }

  /** The primary of a cluster has changed: what its other servers are worth is judged anew. */
  rejudge(cluster: string): void {
    for (const watch of this.#watches.values()) {
      if (watch.cluster.name === cluster) this.#judge(watch);
    }
  }

  /** Stops checking and closes the connections. */
  close(): void {
    this.#closed = true;
    this.#ticker?.cancel();
    for (const { arbiters, heart } of this.#clusters.values()) {
      arbiters.close();
      heart?.close();
    }
    for (const watch of this.#watches.values()) {
      watch.timer?.cancel();
      watch.checker.close();
    }
  }

  // ---- what is watched -----------------------------------------------------------------------------

  #clusterWatch(cluster: ClusterConfig): ClusterWatch {
    const { clock, askArbiter, connectHeart, makeVote, mayBeat } = this.#options;
    const isWorried = (): boolean => this.#isPrimaryDoubted(cluster);
    const arbiters = new Arbiters({
      cluster,
      clock,
      isWorried,
      vote: makeVote?.(cluster, isWorried) ?? null,
      ...(askArbiter !== undefined && { ask: askArbiter }),
    });
    const isNeeded = mayBeat !== undefined && (cluster.lagSource !== 'status' || cluster.writeCheck);
    const heart = isNeeded
      ? new Heart({
          cluster,
          clock,
          target: () => this.#heartTarget(cluster),
          onOutcome: (...outcome) => this.#heartHasBeaten(cluster, ...outcome),
          onProblem: (...problem) => this.#tellProblem(cluster, ...problem),
          ...(connectHeart !== undefined && { connect: connectHeart }),
        })
      : null;
    return { cluster, arbiters, heart };
  }

  #backendWatch(backend: BackendConfig): Watch {
    const { config, clock, makeChecker } = this.#options;
    const cluster = config.clusters.find(({ name }) => name === backend.cluster);
    if (cluster === undefined) throw new TypeError(`backend ${backend.name} has no cluster`);
    const onLost = (): void => this.checkSoon(backend.name);
    const checker = makeChecker?.(backend, cluster, onLost) ?? new Probe(backend, cluster, clock, onLost);
    return {
      backend,
      cluster,
      checker,
      record: FIRST_RECORD,
      timer: null,
      lastStartMs: -Infinity,
      lastUrgentMs: -Infinity,
      isWanted: false,
      running: new Map(),
      begun: 0,
      answered: 0,
    };
  }

  /** False once it has been removed, also when there is another one of its name. */
  #isWatched(watch: Watch): boolean {
    return this.#watches.get(watch.backend.name) === watch;
  }

  #watch(backend: string): Watch {
    const watch = this.#watches.get(backend);
    if (watch === undefined) throw new TypeError(`no such backend: ${backend}`);
    return watch;
  }

  #cluster(name: string): ClusterWatch {
    const watch = this.#clusters.get(name);
    if (watch === undefined) throw new TypeError(`no such cluster: ${name}`);
    return watch;
  }

  #watchesOf(cluster: string): Watch[] {
    return [...this.#watches.values()].filter((watch) => watch.cluster.name === cluster);
  }

  #primaryWatch({ name }: ClusterConfig): Watch | undefined {
    const primary = this.#options.primaryOf(name);
    return primary === null ? undefined : this.#watches.get(primary);
  }

  // ---- when ----------------------------------------------------------------------------------------

  #stateOf(watch: Watch): CheckState {
    return {
      record: watch.record,
      lastStartMs: watch.lastStartMs,
      lastUrgentMs: watch.lastUrgentMs,
      running: watch.running.size,
      isWitness: !this.#isPrimary(watch) && this.#isPrimaryDoubted(watch.cluster),
    };
  }

  /** Sets the timer for the check that is due when nothing happens until then. */
  #plan(watch: Watch): void {
    watch.timer?.cancel();
    if (this.#closed || !this.#isWatched(watch)) return;
    const { clock } = this.#options;
    const state = this.#stateOf(watch);
    const regularMs = nextCheckMs(state, watch.cluster) ?? Infinity;
    const urgentMs = (watch.isWanted ? urgentCheckMs(state, watch.cluster) : null) ?? Infinity;
    const dueMs = Math.min(regularMs, urgentMs);
    if (dueMs === Infinity) return;
    watch.timer = clock.after(Math.max(0, dueMs - clock.nowMs()), () => {
      if (urgentMs < regularMs) watch.lastUrgentMs = clock.nowMs();
      void this.#run(watch);
    });
  }

  #isPrimaryDoubted(cluster: ClusterConfig): boolean {
    const primary = this.#primaryWatch(cluster);
    return primary !== undefined && this.#isDoubted(primary);
  }

  /** It does not answer, or one of its checks has been without an answer for longer than the fast interval. */
  #isDoubted({ record, running, cluster }: Watch): boolean {
    if (record.reach !== 'up') return true;
    const sinceMs = this.#options.clock.nowMs() - cluster.checkFastIntervalMs;
    return [...running.values()].some((startMs) => startMs <= sinceMs);
  }

  // ---- checks --------------------------------------------------------------------------------------

  /** One check; never rejects. */
  #run(watch: Watch): Promise<void> {
    if (this.#closed || !this.#isWatched(watch)) return Promise.resolve();
    // That another one is not answered yet is a reason to ask the others for their witness.
    if (watch.record.reach === 'up' && this.#isDoubted(watch)) this.#comeIntoDoubt(watch);
    const running = this.#check(watch).finally(() => {
      watch.running.delete(running);
      this.#plan(watch);
    });
    watch.running.set(running, watch.lastStartMs);
    this.#plan(watch);
    return running;
  }

  async #check(watch: Watch): Promise<void> {
    const { clock, log } = this.#options;
    const startMs = clock.nowMs();
    const number = ++watch.begun;
    watch.lastStartMs = startMs;
    watch.isWanted = false;
    const observation = await watch.checker.check(watch.cluster.checkTimeoutMs);
    if (this.#closed || !this.#isWatched(watch)) return;

    const nowMs = clock.nowMs();
    // A later check has been answered meanwhile: this one has nothing new to tell, and its silence means nothing.
    if (number < watch.answered) return;
    if (observation.kind === 'failed' && this.#guard.stalledSince(startMs, nowMs)) {
      log.warn('monitor.check_discarded', {
        backend: watch.backend.name,
        reason: 'this process stood still',
      });
      watch.isWanted = true;
      return;
    }
    if (observation.kind === 'seen' || isAlive(observation.failure)) watch.answered = number;
    this.#take(watch, judgeCheck(watch.record, observation, watch.cluster, nowMs, startMs));
  }

  #take(watch: Watch, record: HealthRecord): void {
    const { log } = this.#options;
    const before = watch.record;
    watch.record = record;
    if (record.restarts > before.restarts) {
      log.warn('backend.restarted', {
        backend: watch.backend.name,
        uptimeSeconds: record.facts?.uptimeSeconds,
      });
    }
    this.#judge(watch);
    if (record.reach !== before.reach && this.#isPrimary(watch)) this.rejudge(watch.cluster.name);
    if (before.reach === 'up' && record.reach !== 'up') this.#comeIntoDoubt(watch);
    this.#askPrimaryOf(watch);
  }

  /** Of a primary the witness of its replicas is wanted, and whether it is not we who are cut off. */
  #comeIntoDoubt(watch: Watch): void {
    if (!this.#isPrimary(watch)) return;
    this.#cluster(watch.cluster.name).arbiters.askSoon();
    for (const other of this.#watchesOf(watch.cluster.name)) {
      if (other !== watch) this.checkSoon(other.backend.name);
    }
  }

  /** A replica that has lost its source knows it before we do. */
  #askPrimaryOf(watch: Watch): void {
    const primary = this.#primaryWatch(watch.cluster);
    if (primary === undefined || primary === watch) return;
    const witness = receiverWitness(watch.record, watch.cluster, this.#options.clock.nowMs());
    if (witness === 'lost' || witness === 'silent') this.checkSoon(primary.backend.name);
  }

  // ---- what it means -------------------------------------------------------------------------------

  #judge(watch: Watch): void {
    const { clock, onHealth } = this.#options;
    const isWritten = this.#isPrimary(watch);
    watch.record = judgeReplication(
      // What was found when it was the primary is nobody's concern any more.
      isWritten ? watch.record : { ...watch.record, writeFailing: null },
      this.#primarySight(watch.cluster),
      watch.cluster,
      clock.nowMs(),
    );
    onHealth(watch.backend.name, toBackendHealth(watch.record));
  }

  #primarySight(cluster: ClusterConfig): PrimarySight {
    const record = this.#primaryWatch(cluster)?.record;
    const { heart } = this.#cluster(cluster.name);
    const beats =
      heart === null || cluster.lagSource === 'status'
        ? null
        : // Where they are measured by beats if there are any, their absence is nothing to tell.
          { written: heart.beats, problem: cluster.lagSource === 'heartbeat' ? heart.problem : '' };
    return { isUp: record?.reach === 'up', seenMs: record?.seenMs ?? null, beats };
  }

  #isPrimary(watch: Watch): boolean {
    return this.#options.primaryOf(watch.cluster.name) === watch.backend.name;
  }

  // ---- the heart -----------------------------------------------------------------------------------

  /** The primary, unless nothing is to be written on it now. */
  #heartTarget(cluster: ClusterConfig): HeartTarget | null {
    const may = this.#options.mayBeat?.(cluster.name) ?? null;
    const watch = this.#primaryWatch(cluster);
    if (may === null || watch === undefined || !takesBeats(watch.record, may.epoch)) return null;
    return { backend: watch.backend, epoch: may.epoch };
  }

  #heartHasBeaten(
    { writeCheck }: ClusterConfig,
    backend: string,
    outcome: WriteOutcome,
    startMs: number,
  ): void {
    if (!writeCheck) return;
    const watch = this.#watches.get(backend);
    // A write may end after its server was replaced and dropped.
    if (watch === undefined) return;
    const before = watch.record.writeFailing;
    watch.record = judgeWrite(watch.record, outcome, startMs);
    if (before !== watch.record.writeFailing) this.#judge(watch);
  }

  #tellProblem(
    { name: cluster, lagSource, writeCheck }: ClusterConfig,
    reason: string,
    backend: string,
    { kind }: WriteOutcome,
  ): void {
    const { log } = this.#options;
    if (reason === '') log.info('heartbeat.written', { cluster, backend });
    // Where lag is measured by beats only if there is a table for them, it is no news that there is none.
    else if (kind === 'hopeless' && lagSource === 'auto' && !writeCheck)
      log.debug('heartbeat.not_written', { cluster, backend, reason });
    else log.warn('heartbeat.not_written', { cluster, backend, reason });
  }
}
