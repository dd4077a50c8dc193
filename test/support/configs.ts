/**
 * Configurations as tests need them: whole, and changed where a test cares.
 */
import type {
  BackendConfig,
  ClusterConfig,
  KeepalivedConfig,
  ListenerConfig,
} from '../../src/config/config.ts';

/** Cluster main, with the defaults of the file. */
export function clusterConfig(over: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    name: 'main',
    monitorUser: 'm',
    monitorPassword: 'm',
    replicationUser: 'r',
    replicationPassword: 'r',
    checkIntervalMs: 1_000,
    checkFastIntervalMs: 250,
    checkTimeoutMs: 1_000,
    checkLoginIntervalMs: 30_000,
    rise: 2,
    fall: 3,
    maxLagMs: 10_000,
    readmitLagMs: 5_000,
    lagSource: 'status',
    heartbeatIntervalMs: 250,
    writeCheck: false,
    arbiter: [],
    arbiterLeaseMs: 3_000,
    failover: 'manual',
    failoverCooldownMs: 600_000,
    failoverData: 'wait',
    rejoin: 'auto',
    enforceReadOnly: true,
    catchUpTimeoutMs: 30_000,
    holdTimeoutMs: 10_000,
    transactionGraceMs: 5_000,
    semiSync: 'off',
    users: 'import',
    usersIntervalMs: 30_000,
    ...over,
  };
}

export function backendConfig(name: string, over: Partial<BackendConfig> = {}): BackendConfig {
  return {
    name,
    cluster: 'main',
    address: { kind: 'tcp', host: `host-${name}`, port: 3306 },
    rwWeight: 1,
    roWeight: 1,
    roWeightSet: false,
    maxConnections: 200,
    poolIdleTimeoutMs: 60_000,
    connectTimeoutMs: 2_000,
    tls: 'off',
    proxyProtocol: 'off',
    compression: 'off',
    follow: false,
    ...over,
  };
}

/** No virtual addresses, and the defaults of the file. */
export function keepalivedConfig(over: Partial<KeepalivedConfig> = {}): KeepalivedConfig {
  return {
    vip: [],
    hosts: [],
    unicast: false,
    virtualRouterId: 51,
    instance: 'vi_dbproxy_51',
    priority: 100,
    advertIntMs: 1_000,
    vipLayout: 'together',
    checkTimeoutMs: 500,
    notifyTimeoutMs: 10_000,
    ...over,
  };
}

/** What the file's defaults say of splitting, pooling and sharing. */
export const SPLIT_DEFAULTS = {
  pool: 'session',
  causalReads: 'off',
  causalTimeoutMs: 1000,
  pipelining: 'off',
  pipelineDepth: 16,
  pipelineThresholdMs: 1,
  maxPreparedStatements: 1000,
  statementCache: 100,
  sessionMoves: true,
  markCommits: false,
} as const satisfies Partial<ListenerConfig>;
