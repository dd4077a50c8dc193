/**
 * Configurations as tests need them: whole, and changed where a test cares.
 */
import type { BackendConfig, ListenerConfig } from '../../src/config/config.ts';

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
} as const satisfies Partial<ListenerConfig>;
