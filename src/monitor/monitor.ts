/**
 * The monitor: runs the checks of all backends on their schedule and passes on what they mean. It is the
 * thin shell around `probe` (look), `detector` (judge) and `schedule` (when); it decides nothing itself.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { BackendHealth } from '../topology/health.ts';
import {
  FIRST_RECORD,
  judgeCheck,
  judgeReplication,
  toBackendHealth,
  type HealthRecord,
  type PrimarySight,
} from './detector.ts';
import type { Observation } from './observation.ts';
import { Probe } from './probe.ts';
import { checkDelayMs, STALL_TICK_MS, StallGuard, urgentDelayMs } from './schedule.ts';

/** What looks at one server; `Probe` in real life. */
export interface Checker {
  check(timeoutMs: number): Promise<Observation>;
  close(): void;
}

export interface MonitorOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The primary as it was decided; lag is judged by whether that one is up. */
  readonly primaryOf: (cluster: string) => string | null;
  /** Called with the health of a backend after each check that counts. */
  readonly onHealth: (backend: string, health: BackendHealth) => void;
  /** Makes the checker of a backend; by default a `Probe`. */
  readonly makeChecker?: (backend: BackendConfig, cluster: ClusterConfig) => Checker;
}

/** One backend under watch. */
interface Watch {
  readonly backend: BackendConfig;
  readonly cluster: ClusterConfig;
  readonly checker: Checker;
  record: HealthRecord;
  timer: Timer | null;
  lastStartMs: number;
  /** The check that runs now. */
  running: Promise<void> | null;
}

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #watches = new Map<string, Watch>();
  readonly #guard: StallGuard;
  #ticker: Timer | null = null;
  #closed = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#guard = new StallGuard(options.clock.nowMs());
    const makeChecker =
      options.makeChecker ?? ((backend, cluster) => new Probe(backend, cluster, options.clock));
    for (const backend of options.config.backends) {
      const cluster = options.config.clusters.find(({ name }) => name === backend.cluster);
      if (cluster === undefined) throw new TypeError(`backend ${backend.name} has no cluster`);
      this.#watches.set(backend.name, {
        backend,
        cluster,
        checker: makeChecker(backend, cluster),
        record: FIRST_RECORD,
        timer: null,
        lastStartMs: -Infinity,
        running: null,
      });
    }
  }

  /** Starts to check; resolves when every backend has been checked once. */
  async start(): Promise<void> {
    this.#ticker = this.#options.clock.every(STALL_TICK_MS, () => {
      const stalledMs = this.#guard.tick(this.#options.clock.nowMs());
      if (stalledMs > 0) this.#options.log.warn('monitor.stalled', { stalledMs: Math.round(stalledMs) });
    });
    await Promise.all([...this.#watches.keys()].map((name) => this.checkNow(name)));
  }

  /** What is known of a backend. */
  recordOf(backend: string): HealthRecord {
    return this.#watch(backend).record;
  }

  /** Somebody has reason to doubt this backend: its next check comes as soon as the rate allows. */
  checkSoon(backend: string): void {
    const watch = this.#watches.get(backend);
    if (watch === undefined || watch.running !== null || this.#closed) return;
    const delayMs = urgentDelayMs(watch.lastStartMs, watch.cluster, this.#options.clock.nowMs());
    const dueMs = watch.lastStartMs + checkDelayMs(watch.record, watch.cluster) - this.#options.clock.nowMs();
    if (delayMs < dueMs) this.#schedule(watch, delayMs);
  }

  /** Checks a backend that starts after this call, and answers what is known then. */
  async checkNow(backend: string): Promise<HealthRecord> {
    const watch = this.#watch(backend);
    // A check that runs already may have asked its questions before whatever the caller did.
    while (watch.running !== null) await watch.running;
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
    for (const watch of this.#watches.values()) {
      watch.timer?.cancel();
      watch.checker.close();
    }
  }

  #watch(backend: string): Watch {
    const watch = this.#watches.get(backend);
    if (watch === undefined) throw new TypeError(`no such backend: ${backend}`);
    return watch;
  }

  #schedule(watch: Watch, delayMs: number): void {
    watch.timer?.cancel();
    watch.timer = this.#options.clock.after(delayMs, () => void this.#run(watch));
  }

  /** One check; never rejects. A second call while one runs joins it. */
  #run(watch: Watch): Promise<void> {
    watch.running ??= this.#check(watch).finally(() => {
      watch.running = null;
    });
    return watch.running;
  }

  async #check(watch: Watch): Promise<void> {
    if (this.#closed) return;
    const { clock, log } = this.#options;
    watch.timer?.cancel();
    const startMs = clock.nowMs();
    watch.lastStartMs = startMs;
    const observation = await watch.checker.check(watch.cluster.checkTimeoutMs);
    if (this.#closed) return;

    const nowMs = clock.nowMs();
    if (observation.kind === 'failed' && this.#guard.stalledSince(startMs, nowMs)) {
      log.warn('monitor.check_discarded', {
        backend: watch.backend.name,
        reason: 'this process stood still',
      });
      this.#schedule(watch, watch.cluster.checkFastIntervalMs);
      return;
    }
    const reachBefore = watch.record.reach;
    watch.record = judgeCheck(watch.record, observation, watch.cluster, nowMs);
    this.#judge(watch);
    if (watch.record.reach !== reachBefore && this.#isPrimary(watch)) this.rejudge(watch.cluster.name);
    const dueMs = startMs + checkDelayMs(watch.record, watch.cluster);
    this.#schedule(watch, Math.max(0, dueMs - nowMs));
  }

  #judge(watch: Watch): void {
    const { clock, onHealth } = this.#options;
    watch.record = judgeReplication(
      watch.record,
      this.#primarySight(watch.cluster),
      watch.cluster,
      clock.nowMs(),
    );
    onHealth(watch.backend.name, toBackendHealth(watch.record));
  }

  #primarySight(cluster: ClusterConfig): PrimarySight {
    const name = this.#options.primaryOf(cluster.name);
    const record = name === null ? undefined : this.#watches.get(name)?.record;
    return { isUp: record?.reach === 'up', seenMs: record?.seenMs ?? null };
  }

  #isPrimary(watch: Watch): boolean {
    return this.#options.primaryOf(watch.cluster.name) === watch.backend.name;
  }
}
