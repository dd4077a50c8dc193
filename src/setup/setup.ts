/**
 * What an operator can have set up while dbproxy runs: BOOTSTRAP CLUSTER and CLONE BACKEND. One thing at a time,
 * never beside a promotion, each step in the log and in SHOW EVENTS. BOOTSTRAP is short, and a promotion waits for
 * it. CLONE may take hours: meanwhile the server that is filled counts for nothing, all others are governed as
 * always, and a failover ends it.
 */
import { sleep, type Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { SetupReport } from '../ipc/operations.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { TopologyStore } from '../topology/store.ts';
import { bootstrap } from './bootstrap.ts';
import type { SetupWorld } from './world.ts';
import { cloneInto } from './clone.ts';

export interface SetupOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TopologyStore;
  readonly monitor: Monitor;
  /** The promotion that runs now, or was left unfinished in this cluster, in words; null: none. */
  readonly promotionUnderWay: (cluster: string) => string | null;
  /** Waits for what dbproxy does in a cluster by itself. */
  readonly overtakeChores: (cluster: string) => Promise<unknown>;
  /** Throws DBPROXY_SETUP_REFUSED for that statement, unless this proxy is the one that acts on the cluster's servers. */
  readonly requireCharge: (cluster: string) => void;
  /** A line for SHOW EVENTS. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
}

/** How far a set-up is in the way of what else there is to do in its cluster. */
export interface SetupUnderWay {
  readonly title: string;
  /** It may change any server of the cluster; if not, it only fills one that counts for nothing. */
  readonly isExclusive: boolean;
  /** Ends it; resolves when it has been taken back, or after a bound. Null: it is short, and waited for. */
  readonly end: ((why: string) => Promise<void>) | null;
}

interface Running {
  readonly title: string;
  readonly cluster: string;
  /** Of CLONE: the server to fill. */
  readonly target: string | null;
  readonly ending: AbortController;
  phase: 'looking' | 'filling' | 'joining';
  ended: Promise<unknown>;
}

/** How long a failover waits for a CLONE to be taken back. */
const END_TIMEOUT_MS = 2_000;

export class Setup {
  readonly #options: SetupOptions;
  #isStopping = false;
  #underWay: Running | null = null;

  constructor(options: SetupOptions) {
    this.#options = options;
  }

  /** BOOTSTRAP CLUSTER; rejects with DBPROXY_SETUP_REFUSED or _FAILED. */
  async bootstrap(name: string, primary: string | null, dryRun: boolean): Promise<SetupReport[]> {
    const { config } = this.#options;
    const cluster = config.clusters.find((one) => one.name === name);
    if (cluster === undefined) {
      const known = config.clusters.map((one) => one.name).join(', ');
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'cluster', name, known);
    }
    const said = `BOOTSTRAP CLUSTER ${name}`;
    if (!dryRun) this.#options.requireCharge(name);
    return this.#alone(said, name, null, (running) =>
      bootstrap(this.#world(running), { cluster, backends: config.backends, primary, dryRun }),
    );
  }

  /** CLONE BACKEND; rejects with DBPROXY_SETUP_REFUSED or _FAILED. */
  async cloneBackend(name: string, from: string | null, dryRun: boolean): Promise<SetupReport[]> {
    const { config } = this.#options;
    const backend = config.backends.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (backend === undefined || cluster === undefined) {
      const known = config.backends.map((one) => one.name).join(', ');
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known);
    }
    const said = `CLONE BACKEND ${name}`;
    if (!dryRun) this.#options.requireCharge(cluster.name);
    return this.#alone(said, cluster.name, name, (running) =>
      cloneInto(this.#world(running), { cluster, backends: config.backends, target: name, from, dryRun }),
    );
  }

  /** What is being set up in a cluster now; without one, in any. */
  underWay(cluster?: string): string | null {
    if (this.#underWay === null) return null;
    return cluster === undefined || this.#underWay.cluster === cluster ? this.#underWay.title : null;
  }

  /** The same, with how far it is in the way. */
  work(cluster: string): SetupUnderWay | null {
    const running = this.#underWay;
    if (running?.cluster !== cluster) return null;
    const { title, target, phase } = running;
    return {
      title,
      isExclusive: target === null || phase === 'joining',
      end: target === null ? null : (why) => this.#endClone(running, target, why),
    };
  }

  /** Begins nothing more, and ends what runs; resolves when as much of it as can be has been taken back. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#underWay?.ending.abort(new Error('dbproxy is stopping'));
    await this.#underWay?.ended;
  }

  async #endClone(running: Running, target: string, why: string): Promise<void> {
    const { ending, phase } = running;
    const { clock, log, store, onEvent } = this.#options;
    if (!ending.signal.aborted) {
      const rest = phase === 'joining' ? `REJOIN ${target} has it follow` : `CLONE BACKEND ${target} again`;
      const detail = `ended by ${why}; ${rest}`;
      ending.abort(new Error(detail));
      log.warn('setup.ended', { subject: target, detail });
      onEvent('setup.ended', target, detail);
      // It counts for nothing already: that the disk takes no word of it must not be in the way.
      if (phase !== 'looking')
        await store
          .change({ [target]: { admin: 'offline', adminReason: detail } })
          .catch((error: unknown) => {
            log.error('setup.not_recorded', { backend: target, error: String(error) });
          });
    }
    const waited = new AbortController();
    await Promise.race([running.ended, sleep(clock, END_TIMEOUT_MS, waited.signal)]);
    waited.abort();
  }

  async #alone(
    title: string,
    cluster: string,
    target: string | null,
    work: (running: Running) => Promise<SetupReport[]>,
  ): Promise<SetupReport[]> {
    if (this.#isStopping) throw refusal('DBPROXY_SETUP_REFUSED', title, 'dbproxy is stopping');
    const inTheWay = this.underWay() ?? this.#options.promotionUnderWay(cluster);
    if (inTheWay !== null)
      throw refusal('DBPROXY_SETUP_REFUSED', title, `${inTheWay} is under way; wait for its end`);
    const running: Running = {
      title,
      cluster,
      target,
      ending: new AbortController(),
      phase: 'looking',
      ended: Promise.resolve(),
    };
    // It begins in the next moment: by then it is known to be under way.
    const result = Promise.resolve()
      .then(() => this.#options.overtakeChores(cluster))
      .then(() => work(running));
    running.ended = result.catch(() => undefined);
    this.#underWay = running;
    try {
      return await result;
    } finally {
      this.#underWay = null;
    }
  }

  #world(running: Running): SetupWorld {
    const { clock, store, monitor, log, overtakeChores, onEvent } = this.#options;
    const stopping = running.ending.signal;
    return {
      clock,
      stopping,
      beginFilling: async (server) => {
        // What was last seen of it may be older than its being emptied.
        await monitor.checkNow(server);
        await store.change({ [server]: { isNew: true } });
        stopping.throwIfAborted();
        running.phase = 'filling';
      },
      beginJoining: async () => {
        stopping.throwIfAborted();
        running.phase = 'joining';
        await overtakeChores(running.cluster);
      },
      rememberedPrimary: (cluster) => store.rememberedPrimary(cluster),
      epoch: (cluster) => store.epochOf(cluster),
      recordPromotion: (cluster, primary) => store.recordPromotion(cluster, primary),
      rwWeight: (backend) => store.settingsOf(backend).rwWeight,
      checkNow: (backend) => monitor.checkNow(backend),
      rejudge: (cluster) => monitor.rejudge(cluster),
      onProgress: (cluster, server, detail) => {
        log.info('setup.progress', { cluster, backend: server, detail });
        onEvent('setup.progress', server, detail);
      },
      onReport: (cluster, { server, step, result, detail, durationMs }) => {
        const level = result === 'failed' ? 'error' : 'info';
        log[level]('setup.step', { cluster, backend: server, step, result, detail, durationMs });
        onEvent(
          'setup.step',
          server === '' ? cluster : server,
          [`${step}: ${result}`, detail].filter(Boolean).join('; '),
        );
      },
    };
  }
}
