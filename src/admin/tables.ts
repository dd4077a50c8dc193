/**
 * The tables that SHOW answers: pure functions from what the supervisor knows to columns and rows.
 */
import { formatEndpoint } from '../base/address.ts';
import type { ProxyConfig } from '../config/config.ts';
import { configRows } from '../config/show.ts';
import type { PoolStats, WorkerStats } from '../ipc/messages.ts';
import type { SessionInfo } from '../ipc/session-info.ts';
import type {
  CheckSettings,
  DiagnosisReport,
  EventRecord,
  ListenerStatus,
  LostChange,
  PlanReport,
  PromoteStep,
  SetupReport,
} from '../ipc/operations.ts';
import type { ResultCell, ResultColumn } from '../protocol/packets.ts';
import { readersOf } from '../routing/router.ts';
import type { Account, ImportStatus } from '../topology/account.ts';
import type { BackendState, BackendView, Snapshot } from '../topology/snapshot.ts';
import type { CertificateNews } from '../transport/certificates.ts';
import { isAvailable, statementRows } from './statements.ts';

/** Columns and rows of an answer. */
export interface Table {
  columns: readonly ResultColumn[];
  rows: readonly (readonly ResultCell[])[];
  /** Column that LIKE looks at. */
  likeColumn: string;
}

/** Builds a table; a column is text, unless its name ends in `#`, which makes it a number. */
export function tableOf(
  names: readonly string[],
  rows: readonly (readonly ResultCell[])[],
  likeColumn?: string,
): Table {
  const columns = names.map((name): ResultColumn =>
    name.endsWith('#') ? { name: name.slice(0, -1), type: 'integer' } : { name, type: 'text' },
  );
  return { columns, rows, likeColumn: likeColumn ?? columns[0]!.name };
}

export function clustersTable(snapshot: Snapshot): Table {
  const rows = snapshot.clusters.map((cluster) => {
    const members = snapshot.backends.filter((backend) => backend.cluster === cluster.name);
    const online = members.filter((backend) => backend.state === 'online').length;
    return [
      cluster.name,
      cluster.primary,
      snapshot.epoch,
      yesNo(cluster.writesHeld),
      members.length,
      online,
      cluster.reason,
      cluster.maintenance,
    ];
  });
  return tableOf(
    ['name', 'primary', 'epoch#', 'writes_held', 'backends#', 'backends_online#', 'reason', 'maintenance'],
    rows,
  );
}

/**
 * SHOW BACKENDS. `sessions` are those that hold a connection there now. A used connection is held by exactly
 * one, so they are counted from the pools and the sessions themselves need not be gathered.
 */
export function backendsTable(snapshot: Snapshot, stats: readonly WorkerStats[]): Table {
  const rows = snapshot.backends.map((backend) => {
    const pool = poolOf(backend.name, stats);
    return [
      backend.name,
      backend.cluster,
      formatEndpoint(backend.address),
      backend.role,
      backend.state,
      yesNoUnknown(backend.writable),
      wholeMs(backend.lagMs),
      backend.rwWeight,
      backend.roWeight,
      pool.used,
      pool.used,
      pool.idle,
      backend.reason,
      backend.maxConnections,
      yesNo(takesReads(snapshot, backend)),
      backend.serverVersion,
    ];
  });
  return tableOf(
    [
      'name',
      'cluster',
      'address',
      'role',
      'state',
      'writable',
      'lag_ms#',
      'rw_weight#',
      'ro_weight#',
      'sessions#',
      'connections_used#',
      'connections_idle#',
      'reason',
      'max_connections#',
      'readable',
      'server_version',
    ],
    rows,
  );
}

/** It has a share of the reads now, as the router gives them out. */
function takesReads(snapshot: Snapshot, backend: BackendView): boolean {
  const cluster = snapshot.clusters.find(({ name }) => name === backend.cluster);
  return cluster !== undefined && readersOf(snapshot, cluster, new Set()).includes(backend);
}

/**
 * ShowBackends of the older dbproxy: its columns in its order; times are milliseconds. `health` is the
 * number it counted checks with: rise + fall - 1 when all is well, 0 when down.
 */
export function seedBackendsTable(
  snapshot: Snapshot,
  stats: readonly WorkerStats[],
  checksOf: (cluster: string) => CheckSettings,
): Table {
  const rows = snapshot.backends.map((backend, index) => {
    const checks = checksOf(backend.cluster);
    return [
      index + 1,
      formatEndpoint(backend.address),
      seedStatus(backend),
      snapshot.clusters.some((cluster) => cluster.primary === backend.name) ? 'rw' : 'ro',
      poolOf(backend.name, stats).used,
      backend.rwWeight,
      backend.roWeight,
      checks.rise,
      checks.fall,
      checks.intervalMs,
      checks.fastIntervalMs,
      seedHealth(backend.state, checks),
    ];
  });
  return tableOf(
    [
      'backend_ndx#',
      'address',
      'status',
      'type',
      'connected_clients#',
      'rw_weight#',
      'ro_weight#',
      'rise#',
      'fall#',
      'interval#',
      'fastdowninter#',
      'health#',
    ],
    rows,
    'address',
  );
}

/** The older dbproxy has four words for the state of a server. */
function seedStatus(backend: BackendView): 'up' | 'down' | 'pending' | 'unknown' {
  switch (backend.state) {
    case 'online':
    case 'suspect':
      return backend.serverVersion === null ? 'unknown' : 'up';
    case 'draining':
      return 'pending';
    case 'down':
    case 'offline':
      return 'down';
  }
}

function seedHealth(state: BackendState, checks: CheckSettings): number {
  switch (state) {
    case 'online':
    case 'draining':
      return checks.rise + checks.fall - 1;
    case 'suspect':
      return checks.rise;
    case 'down':
    case 'offline':
      return 0;
  }
}

export function listenersTable(
  config: ProxyConfig,
  statuses: readonly ListenerStatus[],
  stats: readonly WorkerStats[],
): Table {
  const rows = config.listeners.map((listener) => {
    const own = statuses.filter((status) => status.listener === listener.name);
    const bound = own.filter((status) => status.error === null).length;
    const draining = new Set(own.filter((status) => status.isDraining).map(({ worker }) => worker));
    const clients = stats.flatMap(({ slot, clientConnections }) =>
      clientConnections
        .filter((entry) => entry.listener === listener.name)
        .map(({ count }) => ({ slot, count })),
    );
    return [
      listener.name,
      listener.cluster,
      formatEndpoint(listener.address),
      listener.mode,
      stateOfListener(bound, own.length, draining.size),
      sum(clients, (entry) => entry.count),
      listener.maxConnections,
      bound,
      listener.balance,
      own.find((status) => status.error !== null)?.error ?? '',
      listener.pool,
      listener.causalReads,
      listener.pipelining,
      sum(
        clients.filter(({ slot }) => draining.has(slot)),
        (entry) => entry.count,
      ),
      own.length === 0 ? null : Math.min(...own.map(({ stateMs }) => stateMs)),
    ];
  });
  return tableOf(
    [
      'name',
      'cluster',
      'address',
      'mode',
      'state',
      'connections#',
      'max_connections#',
      'workers_listening#',
      'balance',
      'reason',
      'pool',
      'causal_reads',
      'pipelining',
      'draining#',
      'state_ms#',
    ],
    rows,
  );
}

/** draining: its address has left, and its sessions are kept for drain_timeout. */
function stateOfListener(bound: number, workers: number, draining: number): string {
  if (bound > 0) return bound < workers ? 'partly' : 'listening';
  return draining > 0 ? 'draining' : 'waiting';
}

export function poolsTable(stats: readonly WorkerStats[]): Table {
  const pools = new Map<string, PoolStats>();
  for (const pool of stats.flatMap((worker) => worker.pools)) {
    const key = JSON.stringify([pool.backend, pool.user]);
    const known = pools.get(key);
    pools.set(key, known === undefined ? pool : addPools(known, pool));
  }
  const rows = [...pools.values()].map((pool) => [
    pool.backend,
    pool.user,
    pool.used,
    pool.idle,
    pool.connecting,
    pool.waiting,
  ]);
  return tableOf(['backend', 'user', 'used#', 'idle#', 'connecting#', 'waiting#'], rows);
}

function addPools(one: PoolStats, other: PoolStats): PoolStats {
  return {
    backend: one.backend,
    user: one.user,
    used: one.used + other.used,
    idle: one.idle + other.idle,
    connecting: one.connecting + other.connecting,
    waiting: one.waiting + other.waiting,
  };
}

/**
 * SHOW USERS: a row an imported account, a row for each cluster whose accounts were never read, then the
 * [user] sections that are the only source of a user.
 * `sessions` are those of the name, whatever the account.
 */
export function usersTable(
  config: ProxyConfig,
  imports: readonly ImportStatus[],
  sessions: readonly SessionInfo[],
): Table {
  const limitOf = (name: string): number =>
    config.users.find((user) => user.name === name)?.maxConnections ?? 0;
  const clusterOf = (listener: string): string | undefined =>
    config.listeners.find(({ name }) => name === listener)?.cluster;
  const sessionsOf = (name: string, cluster: string): number =>
    sessions.filter((session) => session.user === name && clusterOf(session.listener) === cluster).length;
  const imported = imports.flatMap(({ cluster, accounts, failure }) =>
    (accounts?.accounts ?? []).map((account) => [
      account.user,
      account.host,
      cluster,
      'import',
      account.plugin,
      accountState(account),
      account.unservable ?? (failure === null ? '' : `as last read: ${failure}`),
      limitOf(account.user),
      sessionsOf(account.user, cluster),
    ]),
  );
  const unread = imports
    .filter(({ accounts }) => accounts === null)
    .map(({ cluster, failure }) => ['', '', cluster, 'import', '', 'unread', failure ?? '', 0, 0]);
  const listed = config.clusters.flatMap((cluster) => {
    const status = imports.find((one) => one.cluster === cluster.name);
    // Without accounts a section with a password serves its user.
    if (cluster.users === 'import' && status?.accounts !== null) return [];
    return config.users
      .filter((user) => user.password !== undefined || user.auth !== undefined)
      .map((user) => [
        user.name,
        '%',
        cluster.name,
        'file',
        '',
        'ok',
        '',
        user.maxConnections,
        sessionsOf(user.name, cluster.name),
      ]);
  });
  return tableOf(
    ['name', 'host', 'cluster', 'source', 'plugin', 'state', 'reason', 'max_connections#', 'sessions#'],
    [...imported, ...unread, ...listed],
  );
}

function accountState(account: Account): 'ok' | 'locked' | 'expired' | 'unservable' {
  if (account.unservable !== null) return 'unservable';
  if (account.locked) return 'locked';
  return account.expired ? 'expired' : 'ok';
}

/** RELOAD USERS: how the reading went, a row a cluster. */
export function importsTable(imports: readonly ImportStatus[]): Table {
  const rows = imports.map(({ cluster, accounts, ageMs, failure }) => [
    cluster,
    failure === null ? 'ok' : 'failed',
    accounts?.accounts.length ?? 0,
    wholeMs(ageMs),
    failure ?? '',
  ]);
  return tableOf(['cluster', 'result', 'accounts#', 'age_ms#', 'reason'], rows);
}

/** RELOAD TLS: what became of each listener's certificate. */
export function certificatesTable(news: readonly CertificateNews[]): Table {
  const rows = news.map(({ listener, result, detail }) => [listener, result, detail]);
  return tableOf(['listener', 'result', 'detail'], rows);
}

export function sessionsTable(sessions: readonly SessionInfo[]): Table {
  const rows = sessions
    .toSorted((one, other) => one.id - other.id)
    .map((session) => [
      session.id,
      session.user,
      session.clientAddress,
      session.listener,
      session.backend,
      session.threadId,
      session.database,
      session.state,
      wholeMs(session.ageMs),
      wholeMs(session.stateMs),
      session.queries,
      session.tls === null
        ? null
        : [session.tls.version, session.tls.cipher, session.tls.peerSubject ?? ''].join(' ').trimEnd(),
    ]);
  return tableOf(
    [
      'id#',
      'user',
      'client_address',
      'listener',
      'backend',
      'thread_id#',
      'database',
      'state',
      'age_ms#',
      'state_ms#',
      'queries#',
      'tls',
    ],
    rows,
    'user',
  );
}

/** SHOW STATUS: names and values, as MySQL's own has them. */
export function statusTable(snapshot: Snapshot, uptimeMs: number, stats: readonly WorkerStats[]): Table {
  const pools = stats.flatMap((worker) => worker.pools);
  const clients = stats.flatMap((worker) => worker.clientConnections);
  const refused = stats.flatMap((worker) => worker.loginsRefused);
  const rows: [string, number][] = [
    ['Uptime', Math.floor(uptimeMs / 1000)],
    ['Workers', stats.length],
    ['Topology_version', snapshot.version],
    ['Topology_epoch', snapshot.epoch],
    ['Client_connections', sum(clients, (entry) => entry.count)],
    ['Backend_connections_used', sum(pools, (pool) => pool.used)],
    ['Backend_connections_idle', sum(pools, (pool) => pool.idle)],
    ['Backend_connections_connecting', sum(pools, (pool) => pool.connecting)],
    ['Sessions_waiting', sum(stats, (worker) => worker.waiting)],
    ['Pool_waits', sum(stats, (worker) => worker.poolWaits)],
    ['Logins_refused', sum(refused, (entry) => entry.count)],
    [
      'Errors_sent',
      sum(
        stats.flatMap((worker) => worker.errors),
        (entry) => entry.count,
      ),
    ],
    ['Bytes_from_clients', sum(stats, (worker) => worker.bytes.fromClients)],
    ['Bytes_to_clients', sum(stats, (worker) => worker.bytes.toClients)],
    [
      'Queries',
      sum(
        stats.flatMap((worker) => worker.queries),
        (entry) => entry.count,
      ),
    ],
    ...queriesByClass(stats),
    ...splitCounters(stats),
    ['Resident_bytes_workers', sum(stats, (worker) => worker.residentBytes)],
    ['Event_loop_lag_ms_max', Math.ceil(Math.max(0, ...stats.map((worker) => worker.eventLoopLagMs)))],
  ];
  return tableOf(['Variable_name', 'Value'], rows);
}

function queriesByClass(stats: readonly WorkerStats[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const entry of stats.flatMap((worker) => worker.queries)) {
    counts.set(entry.class, (counts.get(entry.class) ?? 0) + entry.count);
  }
  return [...counts].toSorted().map(([name, count]) => [`Queries_${name}`, count]);
}

function splitCounters(stats: readonly WorkerStats[]): [string, number][] {
  const causal = stats.flatMap((worker) => worker.causal);
  const counts = (lists: { count: number }[][]): number => sum(lists.flat(), ({ count }) => count);
  return [
    ['Causal_reads_at_once', sum(causal, ({ atOnce }) => atOnce)],
    ['Causal_reads_waited', sum(causal, ({ waited }) => waited)],
    ['Causal_reads_fell_back', sum(causal, ({ fellBack }) => fellBack)],
    ['Read_retries', counts(stats.map(({ retries }) => retries))],
    ['Pipelined_queries', sum(stats, ({ pipelined }) => pipelined)],
    ['Pool_restores', sum(stats, ({ restores }) => restores)],
    ['Session_pins', counts(stats.map(({ pinned }) => pinned))],
    ['Prepared_statements', sum(stats, ({ preparedStatements }) => preparedStatements)],
    [
      'Rule_hits',
      sum(
        stats.flatMap(({ rules }) => rules),
        ({ hits }) => hits,
      ),
    ],
  ];
}

/** SHOW VARIABLES: what clients ask by name, then the settings of the process itself. */
export function variablesTable(config: ProxyConfig, serverVariables: ReadonlyMap<string, string>): Table {
  const single = configRows(config).filter(
    ({ kind }) => kind === 'dbproxy' || kind === 'admin' || kind === 'http',
  );
  const own = single.map((row): [string, string] => [`${row.kind}.${row.key}`, row.value]);
  return tableOf(['Variable_name', 'Value'], [...serverVariables, ...own]);
}

export function eventsTable(events: readonly EventRecord[]): Table {
  const rows = events.map((event) => [
    event.id,
    new Date(event.wallMs).toISOString(),
    event.event,
    event.subject,
    event.detail,
  ]);
  return tableOf(['id#', 'time', 'event', 'subject', 'detail'], rows, 'event');
}

/** SHOW TOPOLOGY: the snapshot that the workers route by, a row a server. */
export function topologyTable(snapshot: Snapshot): Table {
  const rows = snapshot.backends.map((backend) => {
    const cluster = snapshot.clusters.find((candidate) => candidate.name === backend.cluster);
    return [
      backend.cluster,
      snapshot.epoch,
      snapshot.version,
      backend.name,
      yesNo(cluster?.primary === backend.name),
      backend.role,
      backend.state,
      yesNoUnknown(backend.writable),
      yesNo(backend.readable),
      wholeMs(backend.lagMs),
      backend.gtidPosition,
    ];
  });
  return tableOf(
    [
      'cluster',
      'epoch#',
      'version#',
      'backend',
      'takes_writes',
      'role',
      'state',
      'writable',
      'readable',
      'lag_ms#',
      'gtid_position',
    ],
    rows,
  );
}

export function configTable(config: ProxyConfig): Table {
  const rows = configRows(config).map((row) => [row.section, row.key, row.value, row.default]);
  return tableOf(['section', 'key', 'value', 'default'], rows, 'key');
}

export function helpTable(about: string): Table {
  const wanted = about.toUpperCase();
  const rows = statementRows
    .filter((row) => row.hidden !== true)
    .filter((row) => `${row.syntax} ${row.help}`.toUpperCase().includes(wanted))
    .map((row) => [row.syntax, row.help, yesNo(isAvailable(row))]);
  return tableOf(['statement', 'does', 'available'], rows);
}

export function stepsTable(steps: readonly PromoteStep[]): Table {
  const rows = steps.map((step) => [step.step, step.result, wholeMs(step.durationMs), step.detail]);
  return tableOf(['step', 'result', 'duration_ms#', 'detail'], rows);
}

/** What is the matter, the gravest first in each cluster. */
export function diagnosesTable(diagnoses: readonly DiagnosisReport[]): Table {
  const rows = diagnoses.map(({ cluster, name, gravity, action, detail }) => [
    cluster,
    name,
    gravity,
    action,
    detail,
  ]);
  return tableOf(['cluster', 'diagnosis', 'gravity', 'action', 'detail'], rows);
}

/** The promotion under way; no rows when there is none. */
export function planTable(plans: readonly PlanReport[]): Table {
  const columns = ['cluster', 'kind', 'target', 'step', 'result', 'duration_ms#', 'detail'];
  const rows = plans.flatMap(({ cluster, kind, target, steps }) =>
    steps.map(({ step, result, durationMs, detail }) => [
      cluster,
      kind,
      target,
      step,
      result,
      wholeMs(durationMs),
      detail,
    ]),
  );
  return tableOf(columns, rows);
}

/** What old primaries had that nobody else has, a row a change. */
export function lostTable(lost: readonly LostChange[]): Table {
  const rows = lost.map((row) => [
    row.backend,
    row.epoch,
    row.gtid,
    row.at,
    row.table,
    row.kind,
    row.key,
    row.old,
    row.new,
    row.conflict,
    row.file,
  ]);
  const columns = [
    'backend',
    'epoch#',
    'gtid',
    'at',
    'table',
    'kind',
    'key',
    'old',
    'new',
    'conflict',
    'file',
  ];
  return tableOf(columns, rows);
}

/** A bootstrap or a clone: what was done where, or would be. */
export function setupTable(reports: readonly SetupReport[]): Table {
  const rows = reports.map((report) => [
    report.server,
    report.step,
    report.result,
    wholeMs(report.durationMs),
    report.detail,
    report.sql,
  ]);
  return tableOf(['server', 'step', 'result', 'duration_ms#', 'detail', 'sql'], rows);
}

/** Connections to one backend over all workers and users. */
function poolOf(backend: string, stats: readonly WorkerStats[]): { used: number; idle: number } {
  const pools = stats.flatMap((worker) => worker.pools).filter((pool) => pool.backend === backend);
  return { used: sum(pools, (pool) => pool.used), idle: sum(pools, (pool) => pool.idle) };
}

function sum<T>(items: readonly T[], valueOf: (item: T) => number): number {
  return items.reduce((total, item) => total + valueOf(item), 0);
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

function yesNoUnknown(value: boolean | null): string {
  return value === null ? 'unknown' : yesNo(value);
}

/** Fractions of a millisecond say nothing to a reader. */
function wholeMs(valueMs: number | null): number | null {
  return valueMs === null ? null : Math.round(valueMs);
}
