/**
 * Configurations as tests need them: whole, and changed where a test cares.
 */
import type { BackendConfig } from '../../src/config/config.ts';

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
