/**
 * The table of Prometheus metrics: a row holds a metric's name, type, labels, help, and where its values
 * come from. A scrape fills a fresh registry from it; nothing is counted here.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  DURATION_BOUNDS_SECONDS,
  type HoldStats,
  type QueryStats,
  type WorkerStats,
} from '../ipc/messages.ts';
import type { Operations } from '../ipc/operations.ts';
import type { BackendRole, BackendView, Snapshot } from '../topology/snapshot.ts';
import type { Totals } from './totals.ts';

/** Everything that a scrape has gathered. */
export interface MetricSource {
  snapshot: Snapshot;
  /** Workers that have answered. */
  workers: readonly WorkerStats[];
  listeners: ReturnType<Operations['listeners']>;
  totals: Totals;
  promotions: ReturnType<Operations['promotions']>;
  lostCommits: ReturnType<Operations['lostCommits']>;
  imports: ReturnType<Operations['imports']>;
  stateTrouble: ReturnType<Operations['stateTrouble']>;
  charges: ReturnType<Operations['charges']>;
  peers: ReturnType<Operations['peers']>;
  version: string;
  uptimeMs: number;
  supervisorResidentBytes: number;
}

type Labels = Record<string, string>;

interface Sample {
  labels: Labels;
  value: number;
}

/** One metric that is no histogram; its name gets the prefix `dbproxy_`. */
interface MetricRow {
  name: string;
  type: 'counter' | 'gauge';
  labels: readonly string[];
  help: string;
  samples(source: MetricSource): Sample[];
}

const PREFIX = 'dbproxy_';
const ROLES: readonly BackendRole[] = ['primary', 'replica', 'standalone', 'unknown'];

const metricRows: readonly MetricRow[] = [
  {
    name: 'build_info',
    type: 'gauge',
    labels: ['version', 'node_version'],
    help: 'Always 1; the labels say what is running',
    samples: ({ version }) => [{ labels: { version, node_version: process.version }, value: 1 }],
  },
  {
    name: 'uptime_seconds',
    type: 'gauge',
    labels: [],
    help: 'Seconds since the supervisor started',
    samples: ({ uptimeMs }) => [{ labels: {}, value: uptimeMs / 1000 }],
  },
  {
    name: 'client_connections',
    type: 'gauge',
    labels: ['listener'],
    help: 'Client connections now',
    samples: ({ workers }) =>
      summed(
        workers.flatMap((worker) => worker.clientConnections),
        ({ listener, count }) => ({ labels: { listener }, value: count }),
      ),
  },
  {
    name: 'listener_workers',
    type: 'gauge',
    labels: ['listener'],
    help: 'Workers that listen on the address now; 0 while this host does not have it',
    samples: ({ listeners }) =>
      summed(listeners, ({ listener, error }) => ({ labels: { listener }, value: error === null ? 1 : 0 })),
  },
  {
    name: 'listener_draining',
    type: 'gauge',
    labels: ['listener'],
    help: '1 while the address has left this host and its sessions are kept for drain_timeout, else 0',
    samples: ({ listeners }) =>
      [...new Set(listeners.map(({ listener }) => listener))].map((listener) => ({
        labels: { listener },
        value: listeners.some((one) => one.listener === listener && one.isDraining) ? 1 : 0,
      })),
  },
  {
    name: 'backend_connections',
    type: 'gauge',
    labels: ['backend', 'state'],
    help: 'Connections to a backend now: used, idle, or connecting (being opened or reset)',
    samples: ({ workers }) =>
      (['used', 'idle', 'connecting'] as const).flatMap((state) =>
        summed(
          workers.flatMap((worker) => worker.pools),
          (pool) => ({ labels: { backend: pool.backend, state }, value: pool[state] }),
        ),
      ),
  },
  {
    name: 'backend_up',
    type: 'gauge',
    labels: ['backend', 'cluster'],
    help: '1 when the backend answers its checks and is not taken offline, else 0',
    samples: ({ snapshot }) =>
      snapshot.backends.map((backend) => ({ labels: labelsOf(backend), value: isUp(backend) ? 1 : 0 })),
  },
  {
    name: 'backend_role',
    type: 'gauge',
    labels: ['backend', 'cluster', 'role'],
    help: '1 for the role that the backend has, 0 for the others',
    samples: ({ snapshot }) =>
      snapshot.backends.flatMap((backend) =>
        ROLES.map((role) => ({
          labels: { ...labelsOf(backend), role },
          value: backend.role === role ? 1 : 0,
        })),
      ),
  },
  {
    name: 'backend_lag_seconds',
    type: 'gauge',
    labels: ['backend', 'cluster'],
    help: 'Replication lag; absent when it is not known or the backend is no replica',
    samples: ({ snapshot }) =>
      snapshot.backends.flatMap((backend) =>
        backend.lagMs === null ? [] : [{ labels: labelsOf(backend), value: backend.lagMs / 1000 }],
      ),
  },
  {
    name: 'backend_weight',
    type: 'gauge',
    labels: ['backend', 'cluster', 'kind'],
    help: 'Weights in force; kind is rw or ro',
    samples: ({ snapshot }) =>
      snapshot.backends.flatMap((backend) => [
        { labels: { ...labelsOf(backend), kind: 'rw' }, value: backend.rwWeight },
        { labels: { ...labelsOf(backend), kind: 'ro' }, value: backend.roWeight },
      ]),
  },
  {
    name: 'queries_total',
    type: 'counter',
    labels: ['listener', 'backend', 'class'],
    help: 'Statements relayed',
    samples: ({ totals }) =>
      totals.queries.map((entry) => ({ labels: queryLabels(entry), value: entry.count })),
  },
  {
    name: 'query_errors_total',
    type: 'counter',
    labels: ['code'],
    help: 'Errors that dbproxy itself sent to clients, by MySQL error number',
    samples: ({ totals }) =>
      totals.errors.map(({ code, count }) => ({ labels: { code: String(code) }, value: count })),
  },
  {
    name: 'logins_refused_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Client logins that were refused',
    samples: ({ totals }) =>
      totals.loginsRefused.map(({ reason, count }) => ({ labels: { reason }, value: count })),
  },
  {
    name: 'bytes_total',
    type: 'counter',
    labels: ['direction'],
    help: 'Bytes relayed; direction is from_clients or to_clients',
    samples: ({ totals }) => [
      { labels: { direction: 'from_clients' }, value: totals.bytes.fromClients },
      { labels: { direction: 'to_clients' }, value: totals.bytes.toClients },
    ],
  },
  {
    name: 'pool_waits_total',
    type: 'counter',
    labels: [],
    help: 'Times that a session had to wait for a backend connection',
    samples: ({ totals }) => [{ labels: {}, value: totals.poolWaits }],
  },
  {
    name: 'pool_restores_total',
    type: 'counter',
    labels: [],
    help: 'Times that a connection was brought to the state of the session it was lent to',
    samples: ({ totals }) => [{ labels: {}, value: totals.restores }],
  },
  {
    name: 'pinned_sessions',
    type: 'gauge',
    labels: ['listener', 'reason'],
    help: 'Sessions that must keep their backend connection now; one with two reasons counts in each',
    samples: ({ workers }) =>
      summed(
        workers.flatMap((worker) => worker.pinned),
        ({ listener, reason, count }) => ({ labels: { listener, reason }, value: count }),
      ),
  },
  {
    name: 'causal_reads_total',
    type: 'counter',
    labels: ['listener', 'outcome'],
    help: 'Reads that had to see a write: the replica had it (at_once), was waited for, or the primary served (fell_back)',
    samples: ({ totals }) =>
      totals.causal.flatMap(({ listener, atOnce, waited, fellBack }) => [
        { labels: { listener, outcome: 'at_once' }, value: atOnce },
        { labels: { listener, outcome: 'waited' }, value: waited },
        { labels: { listener, outcome: 'fell_back' }, value: fellBack },
      ]),
  },
  {
    name: 'read_retries_total',
    type: 'counter',
    labels: ['listener', 'reason'],
    help: 'Reads that a server refused or lost and that were sent again to another',
    samples: ({ totals }) =>
      totals.retries.map(({ listener, reason, count }) => ({ labels: { listener, reason }, value: count })),
  },
  {
    name: 'pipelined_queries_total',
    type: 'counter',
    labels: [],
    help: 'Statements that travelled on a connection shared at that moment',
    samples: ({ totals }) => [{ labels: {}, value: totals.pipelined }],
  },
  {
    name: 'prepared_statements',
    type: 'gauge',
    labels: [],
    help: 'Statements that clients have prepared and not closed, where dbproxy keeps them',
    samples: ({ workers }) => [
      { labels: {}, value: workers.reduce((total, worker) => total + worker.preparedStatements, 0) },
    ],
  },
  {
    name: 'rule_hits_total',
    type: 'counter',
    labels: ['rule'],
    help: 'Statements that a [rule] was the first to fit',
    samples: ({ totals }) => totals.rules.map(({ name, hits }) => ({ labels: { rule: name }, value: hits })),
  },
  {
    name: 'held_statements',
    type: 'gauge',
    labels: [],
    help: 'Statements held during a promotion, and logins that wait for a backend connection or a primary, now',
    samples: ({ workers }) => [
      { labels: {}, value: workers.reduce((total, worker) => total + heldIn(worker), 0) },
    ],
  },
  {
    name: 'failovers_total',
    type: 'counter',
    labels: ['kind', 'result'],
    help: 'Promotions; kind is switchover or failover, result is done or failed',
    samples: ({ promotions }) =>
      promotions.map(({ kind, result, count }) => ({ labels: { kind, result }, value: count })),
  },
  {
    name: 'failover_duration_seconds',
    type: 'gauge',
    labels: ['kind', 'result'],
    help: 'How long the latest promotion of this kind and result took',
    samples: ({ promotions }) =>
      promotions.map(({ kind, result, lastDurationMs }) => ({
        labels: { kind, result },
        value: lastDurationMs / 1000,
      })),
  },
  {
    name: 'lost_commits_total',
    type: 'counter',
    labels: ['cluster', 'outcome'],
    help: 'Commits whose answers were lost; outcome is what was found of them: committed, not_committed or unknown',
    samples: ({ lostCommits }) =>
      lostCommits.map(({ cluster, outcome, count }) => ({ labels: { cluster, outcome }, value: count })),
  },
  {
    name: 'topology_epoch',
    type: 'gauge',
    labels: [],
    help: 'Grows by one with each promotion',
    samples: ({ snapshot }) => [{ labels: {}, value: snapshot.epoch }],
  },
  {
    name: 'topology_version',
    type: 'gauge',
    labels: [],
    help: 'Grows by one with each publication of the topology since the start',
    samples: ({ snapshot }) => [{ labels: {}, value: snapshot.version }],
  },
  {
    name: 'writes_held',
    type: 'gauge',
    labels: ['cluster'],
    help: '1 while a promotion makes new write sessions wait',
    samples: ({ snapshot }) =>
      snapshot.clusters.map(({ name, writesHeld }) => ({
        labels: { cluster: name },
        value: writesHeld ? 1 : 0,
      })),
  },
  {
    name: 'maintenance',
    type: 'gauge',
    labels: ['cluster'],
    help: '1 while MAINTENANCE is on: nothing is done on the servers by itself, no failover either',
    samples: ({ snapshot }) =>
      snapshot.clusters.map(({ name, maintenance }) => ({
        labels: { cluster: name },
        value: maintenance === 'off' ? 0 : 1,
      })),
  },
  {
    name: 'state_writable',
    type: 'gauge',
    labels: [],
    help: '1 while state_dir can be written to; 0: no promotion can be written down, so none is carried out',
    samples: ({ stateTrouble }) => [{ labels: {}, value: stateTrouble === null ? 1 : 0 }],
  },
  {
    name: 'in_charge',
    type: 'gauge',
    labels: ['cluster'],
    help: '1 when this dbproxy acts on the servers of the cluster; 0: another one does, or nobody may',
    samples: ({ charges }) =>
      charges.map(({ cluster, isOurs }) => ({ labels: { cluster }, value: isOurs ? 1 : 0 })),
  },
  {
    name: 'peer_up',
    type: 'gauge',
    labels: ['address'],
    help: '1 while the other dbproxy of the pair answers; absent where there is no other',
    samples: ({ peers }) =>
      peers.flatMap(({ which, address, state }) =>
        which === 'other' ? [{ labels: { address }, value: state === 'connected' ? 1 : 0 }] : [],
      ),
  },
  {
    name: 'peer_heard_seconds',
    type: 'gauge',
    labels: ['address'],
    help: 'Since the other dbproxy of the pair was heard last; absent until it is',
    samples: ({ peers }) =>
      peers.flatMap(({ address, heardMs }) =>
        heardMs === null ? [] : [{ labels: { address }, value: heardMs / 1000 }],
      ),
  },
  {
    name: 'peer_holds_vip',
    type: 'gauge',
    labels: ['dbproxy'],
    help: '1 for each of a pair (this, other) whose host has the write VIP; of the other, as it has said last',
    samples: ({ peers }) =>
      peers.flatMap(({ which, holdsVip }) =>
        holdsVip === null ? [] : [{ labels: { dbproxy: which }, value: holdsVip ? 1 : 0 }],
      ),
  },
  {
    name: 'accounts',
    type: 'gauge',
    labels: ['cluster'],
    help: 'Accounts imported from the primary of a cluster',
    samples: ({ imports }) =>
      imports.map(({ cluster, accounts }) => ({
        labels: { cluster },
        value: accounts?.accounts.length ?? 0,
      })),
  },
  {
    name: 'accounts_age_seconds',
    type: 'gauge',
    labels: ['cluster'],
    help: 'Time since the accounts of a cluster were last read well; absent when they never were',
    samples: ({ imports }) =>
      imports.flatMap(({ cluster, ageMs }) =>
        ageMs === null ? [] : [{ labels: { cluster }, value: ageMs / 1000 }],
      ),
  },
  {
    name: 'process_resident_bytes',
    type: 'gauge',
    labels: ['process'],
    help: 'Resident memory of the supervisor and of each worker',
    samples: ({ workers, supervisorResidentBytes }) => [
      { labels: { process: 'supervisor' }, value: supervisorResidentBytes },
      ...workers.map((worker) => ({ labels: processLabel(worker), value: worker.residentBytes })),
    ],
  },
  {
    name: 'event_loop_lag_seconds',
    type: 'gauge',
    labels: ['process'],
    help: 'How late the event loop of a worker is',
    samples: ({ workers }) =>
      workers.map((worker) => ({ labels: processLabel(worker), value: worker.eventLoopLagMs / 1000 })),
  },
];

/** Writes all metrics in the text format of Prometheus. */
export async function renderMetrics(source: MetricSource): Promise<string> {
  const registry = new Registry();
  for (const row of metricRows) {
    const options = {
      name: `${PREFIX}${row.name}`,
      help: row.help,
      labelNames: row.labels,
      registers: [registry],
    };
    const samples = row.samples(source);
    if (row.type === 'gauge') fillGauge(new Gauge(options), samples);
    else fillCounter(new Counter(options), samples);
  }
  const { queries, holds } = source.totals;
  registry.registerMetric(new DurationHistogram(QUERY_DURATION, queries.map(byQuery)));
  registry.registerMetric(new DurationHistogram(HOLD_DURATION, holds.map(byCluster)));
  return registry.metrics();
}

/** The content type of what `renderMetrics` writes. */
export const METRICS_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

function fillGauge(gauge: Gauge, samples: readonly Sample[]): void {
  for (const { labels, value } of samples) gauge.set(labels, value);
}

function fillCounter(counter: Counter, samples: readonly Sample[]): void {
  for (const { labels, value } of samples) counter.inc(labels, value);
}

/** A histogram whose buckets the workers have counted. */
interface HistogramRow {
  readonly name: string;
  readonly help: string;
}

const QUERY_DURATION: HistogramRow = {
  name: `${PREFIX}query_duration_seconds`,
  help: 'Time from a statement to the end of its answer',
};
const HOLD_DURATION: HistogramRow = {
  name: `${PREFIX}hold_seconds`,
  help: 'How long statements were held during promotions',
};

/** One set of labels of such a histogram. */
interface Counted {
  readonly labels: Labels;
  readonly durationBuckets: readonly number[];
  readonly durationSumSeconds: number;
}

/** prom-client can only observe values one by one. */
class DurationHistogram extends Histogram {
  readonly #row: HistogramRow;
  readonly #counted: readonly Counted[];

  constructor(row: HistogramRow, counted: readonly Counted[]) {
    super({ ...row, registers: [] });
    this.#row = row;
    this.#counted = counted;
  }

  /** What a registry asks a histogram for to write its text; prom-client's types leave it out. */
  getForPromString(): Promise<{ name: string; help: string; type: 'histogram'; values: HistogramValue[] }> {
    const values = this.#counted.flatMap((counted) => histogramValues(this.#row.name, counted));
    return Promise.resolve({ ...this.#row, type: 'histogram', values });
  }
}

interface HistogramValue {
  metricName: string;
  labels: Record<string, string | number>;
  value: number;
}

/** Cumulative buckets, sum and count of one set of labels. */
function histogramValues(
  name: string,
  { labels, durationBuckets, durationSumSeconds }: Counted,
): HistogramValue[] {
  let below = 0;
  const buckets = [...DURATION_BOUNDS_SECONDS, '+Inf'].map((le, index) => {
    below += durationBuckets[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: durationSumSeconds },
    { metricName: `${name}_count`, labels, value: below },
  ];
}

function byQuery(entry: QueryStats): Counted {
  return { ...entry, labels: queryLabels(entry) };
}

function byCluster(entry: HoldStats): Counted {
  return { ...entry, labels: { cluster: entry.cluster } };
}

/** Who waits in a worker, for whatever reason. */
function heldIn({ waiting, holds }: WorkerStats): number {
  return holds.reduce((sum, { held }) => sum + held, waiting);
}

/** Samples with equal labels joined into one. */
function summed<T>(items: readonly T[], sampleOf: (item: T) => Sample): Sample[] {
  const sums = new Map<string, Sample>();
  for (const { labels, value } of items.map(sampleOf)) {
    const key = JSON.stringify(labels);
    const known = sums.get(key);
    if (known === undefined) sums.set(key, { labels, value });
    else known.value += value;
  }
  return [...sums.values()];
}

function labelsOf(backend: BackendView): Labels {
  return { backend: backend.name, cluster: backend.cluster };
}

function queryLabels(entry: QueryStats): Labels {
  return { listener: entry.listener, backend: entry.backend, class: entry.class };
}

function processLabel(worker: WorkerStats): Labels {
  return { process: `worker-${worker.slot}` };
}

function isUp(backend: BackendView): boolean {
  switch (backend.state) {
    case 'online':
    case 'suspect':
    case 'draining':
      return true;
    case 'down':
    case 'offline':
      return false;
  }
}
