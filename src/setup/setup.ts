/**
 * What an operator can have set up while dbproxy runs: BOOTSTRAP CLUSTER and CLONE BACKEND. One thing at a time,
 * never beside a promotion, each step in the log and in SHOW EVENTS.
 */
import type { Clock } from '../base/clock.ts';
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
  /** The promotion that is under way, in words; null: none. */
  readonly promotionUnderWay: () => string | null;
  /** A line for SHOW EVENTS. */
  readonly onEvent: (event: string, subject: string, detail: string) => void;
}

export class Setup {
  readonly #options: SetupOptions;
  #underWay: string | null = null;

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
    return this.#alone(`BOOTSTRAP CLUSTER ${name}`, () =>
      bootstrap(this.#world(), { cluster, backends: config.backends, primary, dryRun }),
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
    return this.#alone(`CLONE BACKEND ${name}`, () =>
      cloneInto(this.#world(), { cluster, backends: config.backends, target: name, from, dryRun }),
    );
  }

  /** What is being set up now. */
  get underWay(): string | null {
    return this.#underWay;
  }

  async #alone(title: string, work: () => Promise<SetupReport[]>): Promise<SetupReport[]> {
    const inTheWay = this.#underWay ?? this.#options.promotionUnderWay();
    if (inTheWay !== null)
      throw refusal('DBPROXY_SETUP_REFUSED', title, `${inTheWay} is under way; wait for its end`);
    this.#underWay = title;
    try {
      return await work();
    } finally {
      this.#underWay = null;
    }
  }

  #world(): SetupWorld {
    const { clock, store, monitor, log, onEvent } = this.#options;
    return {
      clock,
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
