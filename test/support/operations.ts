/**
 * A supervisor's operations for tests of its doors: a cluster of two servers that holds still, and a
 * record of what was asked of it.
 */
import type { ProxyConfig } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { QueryStats, WorkerStats } from '../../src/ipc/messages.ts';
import type { SessionInfo } from '../../src/ipc/session-info.ts';
import type {
  DiagnosisReport,
  EventRecord,
  LostChange,
  Operations,
  PeerReport,
  SetupReport,
} from '../../src/ipc/operations.ts';
import type {
  DigestStats,
  RouteExplanation,
  SessionExplanation,
  SessionRecord,
} from '../../src/ipc/split.ts';
import type { ImportStatus } from '../../src/topology/account.ts';
import type { BackendView, ClusterView, Snapshot } from '../../src/topology/snapshot.ts';
import { account } from './accounts.ts';
import { MARIADB_10_11 } from './greetings.ts';

const CONFIG_TEXT = `
[admin]
user = admin
password = secret-of-admin
[cluster main]
monitor_user = m
monitor_password = secret-of-monitor
replication_user = r
replication_password = secret-of-replication
[backend db1]
cluster = main
address = 10.0.0.1:3306
rw_weight = 2
[backend db2]
cluster = main
address = 10.0.0.2:3306
rw_weight = 1
[listener write]
cluster = main
address = 127.0.0.1:6446
[listener read]
cluster = main
address = 127.0.0.1:6447
mode = read
[listener split]
cluster = main
address = 127.0.0.1:6450
mode = split
pool = transaction
causal_reads = session
[user app]
password = secret-of-app
[rule reports]
user = reporting
target = replica
[rule checkout]
listener = split
digest = 0x0123456789abcdef
target = primary
`;

/** A listener that has been as it is for a while. */
const STEADY = { isDraining: false, stateMs: 5_000 };

/** The configuration of the two servers. */
export function exampleConfig(): ProxyConfig {
  return parseConfig(CONFIG_TEXT, {
    file: 'proxy.conf',
    env: {},
    readFile: () => {
      throw new Error('no files here');
    },
    cores: 2,
  });
}

/** One server of the cluster `main`, healthy; with `changes`. */
export function backendView(changes: Partial<BackendView> = {}): BackendView {
  return {
    name: 'db1',
    cluster: 'main',
    address: { kind: 'tcp', host: '10.0.0.1', port: 3306 },
    role: 'primary',
    state: 'online',
    writable: true,
    lagMs: null,
    rwWeight: 2,
    roWeight: 1,
    roWeightSet: false,
    maxConnections: 200,
    readable: false,
    reason: '',
    serverVersion: '10.11.6-MariaDB',
    greeting: MARIADB_10_11,
    sqlMode: '',
    gtidPosition: null,
    ...changes,
  };
}

/** Cluster `main`, whose writes go to db1; with `changes`. */
export function clusterView(changes: Partial<ClusterView> = {}): ClusterView {
  return {
    name: 'main',
    epoch: 3,
    diagnosis: null,
    maintenance: 'off',
    alone: false,
    primary: 'db1',
    writesHeld: false,
    writesStopped: false,
    reason: '',
    ...changes,
  };
}

/** db1 is the primary, db2 its replica; with `changes` of the cluster and of each server. */
export function snapshotOf(
  changes: { cluster?: Partial<ClusterView>; db1?: Partial<BackendView>; db2?: Partial<BackendView> } = {},
): Snapshot {
  return {
    version: 7,
    epoch: 3,
    clusters: [clusterView(changes.cluster)],
    backends: [
      backendView(changes.db1),
      backendView({
        name: 'db2',
        address: { kind: 'tcp', host: '10.0.0.2', port: 3306 },
        role: 'replica',
        writable: false,
        readable: true,
        lagMs: 12.4,
        rwWeight: 1,
        ...changes.db2,
      }),
    ],
  };
}

/** What one statement class counted in a worker; three statements, two of them in the first bucket. */
export function queryStats(changes: Partial<QueryStats> = {}): QueryStats {
  const durationBuckets = Array.from({ length: 17 }, () => 0);
  durationBuckets[0] = 2;
  durationBuckets[16] = 1;
  return {
    listener: 'write',
    backend: 'db1',
    class: 'write',
    count: 3,
    durationBuckets,
    durationSumSeconds: 12.5,
    ...changes,
  };
}

/** One worker's answer; with `changes`. */
export function workerStats(changes: Partial<WorkerStats> = {}): WorkerStats {
  return {
    slot: 1,
    pid: 101,
    clientConnections: [{ listener: 'write', count: 4 }],
    pools: [{ backend: 'db1', user: 'app', used: 3, idle: 2, connecting: 1, waiting: 0 }],
    queries: [queryStats()],
    errors: [{ code: 1040, count: 5 }],
    bytes: { fromClients: 100, toClients: 1000 },
    poolWaits: 6,
    holds: [],
    waiting: 1,
    loginsRefused: [{ reason: 'password', count: 2 }],
    causal: [{ listener: 'split', atOnce: 10, waited: 4, fellBack: 1 }],
    retries: [{ listener: 'split', reason: 'refused', count: 2 }],
    pipelined: 7,
    restores: 9,
    pinned: [{ listener: 'split', reason: 'transaction', count: 1 }],
    preparedStatements: 5,
    rules: [{ name: 'reports', hits: 3 }],
    residentBytes: 50_000_000,
    eventLoopLagMs: 0.5,
    ...changes,
  };
}

const SESSIONS: readonly SessionInfo[] = [
  {
    id: 1_090_519_042,
    user: 'app',
    clientAddress: '10.0.0.50:40001',
    tls: null,
    listener: 'write',
    backend: 'db1',
    threadId: 77,
    database: 'shop',
    state: 'active',
    ageMs: 1500.5,
    stateMs: 2.2,
    queries: 12,
  },
];

/** A read of a session that has written before; db2 has not got that yet. */
export const ROUTE: RouteExplanation = {
  listener: 'split',
  target: 'primary',
  backend: 'db1',
  class: 'read',
  pinnedBy: null,
  reasons: ['it is a read', 'no replica has the last write of this session'],
  digest: '0x0123456789abcdef',
  replicas: [
    {
      name: 'db2',
      readable: true,
      lagMs: 12.4,
      roWeight: 1,
      hasPosition: false,
      reason: 'not asked to wait',
    },
  ],
};

/** A session that has set this and that and is in a transaction; with `changes` of its record. */
export function sessionExplanation(changes: Partial<SessionRecord> = {}): SessionExplanation {
  return {
    session: SESSIONS[0]!,
    mode: 'split',
    pool: 'transaction',
    connections: [{ backend: 'db1', threadId: 77, role: 'primary' }],
    record: {
      database: 'shop',
      characterSet: 'utf8mb4',
      settings: [{ name: 'sql_mode', value: "'ANSI'" }],
      userVariables: [{ name: '@tenant', value: '7' }],
      pins: [{ reason: 'open transaction', sinceMs: 20.6 }],
      pinnedTo: 'db1',
      inTransaction: true,
      autocommit: true,
      preparedStatements: 2,
      causal: { mode: 'session', position: '0-1-5', atOnce: 3, waited: 2, fellBack: 1 },
      lastStatement: { class: 'write', target: 'primary', backend: 'db1', reasons: ['it writes'] },
      counters: [{ name: 'retries', count: 4 }],
      ...changes,
    },
  };
}

/** What one worker knows of a form of statement; with `changes`. */
export function digestStats(changes: Partial<DigestStats> = {}): DigestStats {
  return {
    digest: '0x0123456789abcdef',
    listener: 'split',
    text: 'select c from t where id = ?',
    class: 'read',
    count: 3,
    sumMs: 1.5,
    maxMs: 0.75,
    bytes: 300,
    primary: 1,
    replica: 2,
    pipelined: 1,
    ...changes,
  };
}

const SETUP_REPORT: SetupReport = {
  server: 'db2',
  step: 'follow db1',
  result: 'done',
  detail: 'it has all that was sent to it',
  sql: 'START SLAVE;',
  durationMs: 12.4,
};

/** A row that only an old primary has; with `changes`. */
function lostChange(changes: Partial<LostChange> = {}): LostChange {
  return {
    backend: 'db1',
    epoch: 4,
    gtid: '0-1-100',
    at: '2024-06-11 03:14:15',
    table: 'shop.orders',
    kind: 'insert',
    key: 'id=7',
    old: null,
    new: 'id=7, total=12.50',
    conflict: '',
    file: 'lost/db1-4.sql',
    ...changes,
  };
}

const DIAGNOSIS: DiagnosisReport = {
  cluster: 'main',
  name: 'ReplicaLagging',
  gravity: 'warning',
  action: 'none',
  detail: 'db2: lags more than max_lag',
};

/** A pair, of which this one is not in charge. */
export const PEERS: PeerReport[] = [
  {
    which: 'this',
    address: '10.0.0.1:6032',
    state: 'running',
    holdsVip: false,
    inCharge: false,
    version: '1.2.3',
    term: 1,
    epoch: 7,
    revision: 12,
    heardMs: null,
    clockAheadMs: null,
    doing: '',
    reason: 'the VIP is there',
  },
  {
    which: 'other',
    address: '10.0.0.2:6032',
    state: 'connected',
    holdsVip: true,
    inCharge: true,
    version: '1.2.3',
    term: 1,
    epoch: 7,
    revision: 12,
    heardMs: 250,
    clockAheadMs: -3,
    doing: 'a promotion of main',
    reason: '',
  },
];

const EVENTS: readonly EventRecord[] = [
  { id: 1, wallMs: 0, event: 'backend.up', subject: 'db1', detail: '' },
  { id: 2, wallMs: 1000, event: 'backend.down', subject: 'db2', detail: 'refused' },
];

const IMPORTS: readonly ImportStatus[] = [
  {
    cluster: 'main',
    accounts: {
      cluster: 'main',
      product: 'mariadb',
      accounts: [
        account({ user: 'app', host: '10.%', material: { doubleSha1: 'secret-of-app' } }),
        account({ user: 'old', host: '%', locked: true, expired: true }),
        account({ user: 'root', host: 'localhost', plugin: 'unix_socket', unservable: 'it is local' }),
        account({ user: 'stale', host: '%', expired: true }),
      ],
    },
    ageMs: 1_234.5,
    failure: null,
  },
];

/** Operations on the example; `calls` has each action that was asked for. */
export interface FakeOperations extends Operations {
  calls: unknown[];
}

/** The example's operations; `changes` replaces some of them. */
export function fakeOperations(changes: Partial<Operations> = {}): FakeOperations {
  const calls: unknown[] = [];
  return {
    calls,
    config: exampleConfig,
    snapshot: () => snapshotOf(),
    uptimeMs: () => 61_500,
    sessions: async () => [...SESSIONS],
    stats: async () => [workerStats(), workerStats({ slot: 2, pid: 102 })],
    digests: async () => [digestStats(), digestStats({ count: 1, sumMs: 8.5, maxMs: 8.5 })],
    explainRoute: async (asker, sql) => {
      calls.push(['explainRoute', asker, sql]);
      return asker.kind === 'session' && asker.sessionId !== SESSIONS[0]!.id ? null : ROUTE;
    },
    explainSession: async (id) => {
      calls.push(['explainSession', id]);
      return id === SESSIONS[0]!.id ? sessionExplanation() : null;
    },
    listeners: () => [
      { listener: 'write', worker: 1, error: null, ...STEADY },
      { listener: 'write', worker: 2, error: null, ...STEADY },
      { listener: 'read', worker: 1, error: null, ...STEADY },
      { listener: 'read', worker: 2, error: 'address not available', ...STEADY },
      { listener: 'split', worker: 1, error: null, ...STEADY },
      { listener: 'split', worker: 2, error: null, ...STEADY },
    ],
    events: () => [...EVENTS],
    setBackend: async (name, change) => {
      calls.push(['setBackend', name, change]);
    },
    addBackend: async (name, keys, clone) => {
      calls.push(['addBackend', name, keys, clone]);
      return clone === null ? [] : [SETUP_REPORT];
    },
    dropBackend: async (name) => {
      calls.push(['dropBackend', name]);
    },
    configDiff: () => [
      { section: '[backend db1]', key: 'rw_weight', running: '5', file: '2' },
      { section: '[backend db2]', key: '', running: null, file: 'dropped' },
    ],
    promote: async (name, force) => {
      calls.push(['promote', name, force]);
      return [{ step: 'fence', result: 'done', detail: 'db1 is read-only', durationMs: 3.4 }];
    },
    bootstrap: async (cluster, primary, dryRun) => {
      calls.push(['bootstrap', cluster, primary, dryRun]);
      return [SETUP_REPORT];
    },
    cloneBackend: async (name, from, dryRun) => {
      calls.push(['cloneBackend', name, from, dryRun]);
      return [SETUP_REPORT];
    },
    changePrimary: async (cluster, change) => {
      calls.push(['changePrimary', cluster, change]);
      return [{ step: 'fence', result: 'done', detail: 'db1 is read-only', durationMs: 3.4 }];
    },
    rehearse: async (cluster, to) => {
      calls.push(['rehearse', cluster, to]);
      return [
        { step: 'there: pause', result: 'done', detail: 'statements waited up to 41 ms', durationMs: 41 },
      ];
    },
    rejoin: async (request) => {
      calls.push(['rejoin', request]);
      return [{ step: 'follow', result: 'done', detail: 'db1 follows db2', durationMs: 8.6 }];
    },
    lostTransactions: () => [lostChange(), lostChange({ backend: 'db2', conflict: 'the row has changed' })],
    setMaintenance: async (cluster, on) => {
      calls.push(['setMaintenance', cluster, on]);
    },
    diagnoses: () => [DIAGNOSIS],
    plans: () => [],
    peers: () => [],
    killSession: async (id, query) => {
      calls.push(['killSession', id, query]);
      return SESSIONS.some((session) => session.id === id);
    },
    shutdown: (now) => {
      calls.push(['shutdown', now]);
    },
    stateTrouble: () => null,
    peer: (message) => Promise.resolve(message),
    setPeerGone: () => Promise.resolve(),
    charges: () => [{ cluster: 'main', isOurs: true }],
    lostCommits: () => [{ cluster: 'main', outcome: 'not_committed', count: 3 }],
    promotions: () => [{ kind: 'switchover', result: 'done', count: 2, lastDurationMs: 1500 }],
    imports: () => [...IMPORTS],
    reloadTls: () => {
      calls.push(['reloadTls']);
      return [{ listener: 'write', result: 'reloaded', detail: 'it is in its time' }];
    },
    reloadUsers: async (cluster) => {
      calls.push(['reloadUsers', cluster]);
      return [...IMPORTS];
    },
    ...changes,
  };
}
