/**
 * What a look at a simulated server finds, in the words of its family.
 */
import type { ReplicationFacts, ServerFacts } from '../../src/monitor/observation.ts';
import { MARIADB_10_11, MYSQL_9_7 } from '../support/greetings.ts';
import type { Replication } from './replication.ts';
import type { SimServer } from './server.ts';
import { gtidOf, type GlobalId, type Txn } from './transactions.ts';

const HEARTBEAT_MS = 500;

/** All but what time alone changes. */
export function factsOf(server: SimServer): Omit<ServerFacts, 'uptimeSeconds' | 'replication'> {
  const isMaria = server.family === 'mariadb';
  const { log, settings, primarySide, slavePosition, startedMs } = server;
  const history = log.history(server.waiting);
  const keeps = !isMaria && !settings.dropsUnacknowledged;
  const isOwn = (item: string): boolean =>
    isMaria ? item.split('-')[1] === server.writer : item.startsWith(server.writer);
  return {
    version: isMaria ? '10.11.6-MariaDB' : '9.7.0',
    greeting: isMaria ? MARIADB_10_11 : MYSQL_9_7,
    serverId: server.id,
    serverUuid: isMaria ? '' : server.writer,
    connectionId: Math.floor(startedMs) + 1,
    readOnly: server.readOnly,
    superReadOnly: server.readOnly && !isMaria,
    logsChanges: true,
    hasGtid: true,
    whyNotByPlace: '',
    keepsLog: keeps,
    keepsAcknowledged: keeps,
    sqlMode: '',
    position: isMaria ? textOf(log.last) : history,
    replicatedPosition: isMaria ? textOf(slavePosition) : '',
    history,
    ownTransactions: history.split(',').filter(isOwn).join(','),
    filePosition: null,
    semiSync: settings.hasSemiSync
      ? {
          primary: {
            ...primarySide,
            clients: server.feeds.semiSyncClients,
            waiting: server.waiting,
            acknowledged: server.acknowledgedCount,
            timeoutMs: settings.semiSyncTimeoutMs,
            waitPoint: 'after_sync',
            waitForReplicas: 1,
          },
          replica: {
            enabled: server.replicaSide.enabled,
            live: server.replication?.feed?.semiSync ?? false,
          },
        }
      : { primary: null, replica: null },
    epoch: log.epoch,
    beat: null,
  };
}

/** How its replication goes. */
export function replicationFactsOf(
  server: SimServer,
  replication: Replication,
  nowMs: number,
): ReplicationFacts {
  const { source, feed, relay, quietSinceMs } = replication;
  const heardUntilMs = Math.min(nowMs, quietSinceMs ?? nowMs);
  const beats = Math.floor(Math.max(0, heardUntilMs - (feed?.sinceMs ?? nowMs)) / HEARTBEAT_MS);
  const works = replication.receiver === 'running' && replication.applier === 'running';
  const lagSeconds = relay.length === 0 ? 0 : Math.floor((nowMs - replication.lagSinceMs) / 1000);
  return {
    channelName: '',
    receiver: replication.receiver,
    applier: replication.applier,
    lagMs: works ? lagSeconds * 1000 : null,
    sourceHost: source.host,
    sourcePort: 3306,
    sourceServerId: replication.knowsSource ? source.id : 0,
    sourceUuid: '',
    drained: relay.length === 0,
    receivedPosition: server.family === 'mariadb' ? textOf(server.receivedPosition) : intervalsOf(relay),
    receivedFile: null,
    appliedFile: null,
    receiverError: replication.receiverError,
    receiverErrno: replication.receiverErrno,
    applierError: replication.applierError,
    applierErrno: replication.applierErrno,
    heartbeatPeriodMs: HEARTBEAT_MS,
    signs: `${replication.attempt}|${replication.received}|${beats}`,
    channels: 1,
  };
}

function textOf(position: GlobalId | null): string {
  return position === null ? '' : gtidOf(position);
}

/** MySQL's set of what is in the relay log. */
function intervalsOf(relay: readonly Txn[]): string {
  const intervals = new Map<string, { readonly first: number; last: number }>();
  for (const { writer, sequence } of relay) {
    const known = intervals.get(writer);
    if (known === undefined) intervals.set(writer, { first: sequence, last: sequence });
    else known.last = sequence;
  }
  return [...intervals].map(([writer, { first, last }]) => `${writer}:${first}-${last}`).join(',');
}
