/** What a worker has counted, and what there is now: its part of the metrics and of the tables of SHOW. */
import type { BackendPool } from '../backend/pool.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { WorkerStats } from '../ipc/messages.ts';
import type { PinStats } from '../ipc/split.ts';
import type { Counters } from './counters.ts';
import type { WriteHold } from './hold.ts';
import type { Sessions } from './sessions.ts';
import type { EndpointShares } from './shared-endpoint.ts';

/** All that knows a number. */
export interface Counted {
  readonly slot: number;
  readonly config: Pick<ProxyConfig, 'listeners' | 'rules'>;
  readonly sessions: Sessions;
  readonly pools: ReadonlyMap<string, BackendPool>;
  readonly counters: Counters;
  readonly holds: ReadonlyMap<string, WriteHold>;
  readonly shares: ReadonlyMap<string, EndpointShares>;
  readonly lagMs: number;
}

/** The numbers of this worker as they are now. */
export function workerStats(counted: Counted): WorkerStats {
  const { slot, config, sessions, pools, counters, holds, shares, lagMs } = counted;
  const live = { fromClient: 0, toClient: 0 };
  const clients = new Map(config.listeners.map(({ name }) => [name, 0]));
  for (const session of sessions.all()) {
    const bytes = session.liveBytes();
    live.fromClient += bytes.fromClient;
    live.toClient += bytes.toClient;
    const { name } = session.endpoint.config;
    clients.set(name, (clients.get(name) ?? 0) + 1);
  }
  return {
    slot,
    pid: process.pid,
    clientConnections: [...clients].map(([listener, count]) => ({ listener, count })),
    pools: [...pools].flatMap(([backend, pool]) => pool.counts().map((count) => ({ backend, ...count }))),
    queries: counters.queryStats(),
    errors: counters.errorStats(),
    bytes: {
      fromClients: counters.bytesFromClients + live.fromClient,
      toClients: counters.bytesToClients + live.toClient,
    },
    poolWaits: [...pools].reduce((sum, [, pool]) => sum + pool.waits, 0),
    waiting: counters.waiting,
    loginsRefused: counters.loginStats(),
    holds: [...holds.values()].map((hold) => hold.stats()),
    causal: [...shares].map(([listener, { causal }]) => ({ listener, ...causal.counts })),
    retries: [...shares].flatMap(([listener, { retries }]) =>
      [...retries].map(([reason, count]) => ({ listener, reason, count })),
    ),
    ...splitStats(counted),
    residentBytes: process.memoryUsage.rss(),
    eventLoopLagMs: lagMs,
  };
}

/** What only sessions have that change connections. */
function splitStats({
  config,
  sessions,
  shares: byListener,
}: Counted): Pick<WorkerStats, 'pipelined' | 'restores' | 'pinned' | 'preparedStatements' | 'rules'> {
  const shares = [...byListener.values()];
  const pinned = new Map<string, PinStats>();
  let preparedStatements = 0;
  for (const { dispatcher, endpoint } of sessions.all()) {
    if (dispatcher === null) continue;
    preparedStatements += dispatcher.statements.count;
    for (const reason of dispatcher.record.pins.keys()) {
      const listener = endpoint.config.name;
      const key = `${listener}\0${reason}`;
      pinned.set(key, { listener, reason, count: (pinned.get(key)?.count ?? 0) + 1 });
    }
  }
  const hits = shares.flatMap(({ rules }) => rules.hits());
  return {
    pipelined: shares.reduce((sum, shared) => sum + shared.pipelined, 0),
    restores: shares.reduce((sum, shared) => sum + shared.restores, 0),
    pinned: [...pinned.values()],
    preparedStatements,
    rules: config.rules.map(({ name }) => ({
      name,
      hits: hits.filter((one) => one.name === name).reduce((sum, one) => sum + one.hits, 0),
    })),
  };
}
