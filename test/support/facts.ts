/**
 * What a check found, as tests need it: whole, and changed where a test cares.
 */
import type { ReplicationFacts, ServerFacts } from '../../src/monitor/observation.ts';
import { MARIADB_10_11 } from './greetings.ts';

/** A writable server that follows nobody. */
export function serverFacts(over: Partial<ServerFacts> = {}): ServerFacts {
  return {
    version: '10.11.6-MariaDB',
    greeting: MARIADB_10_11,
    serverId: 1,
    serverUuid: '',
    uptimeSeconds: 1_000,
    connectionId: 1,
    readOnly: false,
    superReadOnly: false,
    logsChanges: true,
    hasGtid: true,
    whyNotByPlace: '',
    keepsLog: true,
    keepsAcknowledged: true,
    sqlMode: '',
    position: '',
    replicatedPosition: '',
    history: '',
    ownTransactions: '',
    filePosition: null,
    semiSync: { primary: null, replica: null },
    epoch: null,
    beat: null,
    replication: null,
    ...over,
  };
}

/** Replication that works. */
export function replicationFacts(over: Partial<ReplicationFacts> = {}): ReplicationFacts {
  return {
    channelName: '',
    receiver: 'running',
    applier: 'running',
    lagMs: 0,
    sourceHost: '10.0.0.1',
    sourcePort: 3306,
    sourceServerId: 1,
    sourceUuid: '',
    drained: true,
    receivedPosition: '',
    receivedFile: null,
    appliedFile: null,
    receiverError: '',
    receiverErrno: 0,
    applierError: '',
    applierErrno: 0,
    heartbeatPeriodMs: null,
    signs: '',
    channels: 1,
    ...over,
  };
}
