/**
 * The words of each generation of servers for looking at one, and how its answers read: who it is, how its
 * replication goes, what its receiver hears.
 *
 * Manual: https://mariadb.com/kb/en/show-replica-status/,
 *         https://dev.mysql.com/doc/refman/8.4/en/show-replica-status.html and
 *         .../performance-schema-replication-connection-status-table.html
 */
import { countLacking } from '../gtid.ts';
import type { LogQuestions } from '../log-memory.ts';
import type { ApplierState, FilePosition, ReceiverState, ReplicationFacts } from '../observation.ts';
import { byName, isOn, numberOf, text, withoutLineBreaks, type Row } from './row.ts';

export interface StatusWords {
  /**
   * One row: server_id, server_uuid (where it has one), read_only, super_read_only, log_bin, gtid_mode,
   * keeps_log, keeps_acknowledged, sql_mode, position (all it has in its binary log), history (the same with the last
   * number of each server), replicated_position (what it has applied as a replica, where that is kept apart); and of a
   * server that can do without global ids log_replica_updates and parallel_appliers.
   */
  readonly identity: string;
  /** One row a source, none when it does not replicate. */
  readonly replicaStatus: string;
  readonly columns: ReplicaStatusColumns;
  /** Uptime, the live status of semi-sync, and what a receiver has heard, where that is said here. */
  readonly status: string;
  /** One row a channel: what its receiver has heard, where that is said in a table of its own; null elsewhere. */
  readonly receiverSigns: string | null;
  /** One row: the end of the binary log. */
  readonly binlogStatus: string;
  /** How a server that may have forgotten what is in its log is asked for that; null: such a one does not forget. */
  readonly log: LogQuestions | null;
}

interface ReplicaStatusColumns {
  readonly channel: string;
  readonly receiver: string;
  readonly applier: string;
  readonly lagSeconds: string;
  readonly sourceHost: string;
  readonly sourcePort: string;
  readonly sourceServerId: string;
  readonly sourceUuid: string;
  readonly receivedFile: string;
  readonly receivedPosition: string;
  readonly appliedFile: string;
  readonly appliedPosition: string;
  /** Global ids of what was received in full, and of what was applied. */
  readonly receivedGtids: string;
  readonly appliedGtids: string;
  /** Tells whether it receives by global ids, so that an empty list of received ones means none; null: never said. */
  readonly byGtids: string | null;
  /**
   * What the applier says it is doing, where that is needed: MySQL 5.6 counts a transaction as received
   * from its first event on (5.7 and later: from its last).
   */
  readonly applierActivity: string | null;
}

/** What a server says of itself. */
export interface Identity {
  readonly serverId: number;
  readonly readOnly: boolean;
  readonly superReadOnly: boolean;
  readonly logsChanges: boolean;
  readonly hasGtid: boolean;
  readonly whyNotByPlace: string;
  readonly serverUuid: string;
  readonly keepsLog: boolean;
  readonly keepsAcknowledged: boolean;
  /** What new sessions begin with. */
  readonly sqlMode: string;
  /** All that is in its binary log. */
  readonly position: string;
  /** What it has applied as a replica, where that is kept apart. */
  readonly replicatedPosition: string;
  /** As `position`, with the last number of each server; and what of it is its own. */
  readonly history: string;
  readonly ownTransactions: string;
}

const MYSQL_GTID_COLUMNS = {
  receivedGtids: 'Retrieved_Gtid_Set',
  appliedGtids: 'Executed_Gtid_Set',
  byGtids: 'Auto_Position',
} as const;

const MARIADB_GTID_COLUMNS = {
  receivedGtids: 'Gtid_IO_Pos',
  appliedGtids: 'Gtid_Slave_Pos',
  byGtids: null,
} as const;

const SLAVE_COLUMNS: ReplicaStatusColumns = {
  ...MYSQL_GTID_COLUMNS,
  applierActivity: null,
  channel: 'Channel_Name',
  receiver: 'Slave_IO_Running',
  applier: 'Slave_SQL_Running',
  lagSeconds: 'Seconds_Behind_Master',
  sourceHost: 'Master_Host',
  sourcePort: 'Master_Port',
  sourceServerId: 'Master_Server_Id',
  sourceUuid: 'Master_UUID',
  receivedFile: 'Master_Log_File',
  receivedPosition: 'Read_Master_Log_Pos',
  appliedFile: 'Relay_Master_Log_File',
  appliedPosition: 'Exec_Master_Log_Pos',
};

const REPLICA_COLUMNS: ReplicaStatusColumns = {
  ...MYSQL_GTID_COLUMNS,
  applierActivity: null,
  channel: 'Channel_Name',
  receiver: 'Replica_IO_Running',
  applier: 'Replica_SQL_Running',
  lagSeconds: 'Seconds_Behind_Source',
  sourceHost: 'Source_Host',
  sourcePort: 'Source_Port',
  sourceServerId: 'Source_Server_Id',
  sourceUuid: 'Source_UUID',
  receivedFile: 'Source_Log_File',
  receivedPosition: 'Read_Source_Log_Pos',
  appliedFile: 'Relay_Source_Log_File',
  appliedPosition: 'Exec_Source_Log_Pos',
};

const SEMI_SYNC_STATUS = [
  'Rpl_semi_sync_master_status',
  'Rpl_semi_sync_master_clients',
  'Rpl_semi_sync_master_wait_sessions',
  'Rpl_semi_sync_slave_status',
  'Rpl_semi_sync_source_status',
  'Rpl_semi_sync_source_clients',
  'Rpl_semi_sync_source_wait_sessions',
  'Rpl_semi_sync_replica_status',
] as const;

/** Only what is needed: a list of all takes the server ten times as long. */
function statusOf(...names: string[]): string {
  const list = ['Uptime', ...SEMI_SYNC_STATUS, ...names].map((name) => `'${name}'`).join(', ');
  return `SHOW GLOBAL STATUS WHERE Variable_name IN (${list})`;
}

const mariadbLog: LogQuestions = {
  files: 'SHOW BINARY LOGS',
  events: (file, most) => `SHOW BINLOG EVENTS IN ${quoted(file)} LIMIT ${most}`,
  endOf: (file, size) => `SELECT BINLOG_GTID_POS(${quoted(file)}, ${size}) AS position`,
};

function quoted(name: string): string {
  return `'${name.replaceAll("'", "''")}'`;
}

/**
 * MariaDB keeps no log for certain: one that starts as a replica (`init_rpl_role`, which it does not tell) takes out of
 * its binary log what had not been committed in the storage engine. A commit whose client was told comes there with the
 * next one, or within a second; with innodb_flush_log_at_trx_commit = 3 before the client is told.
 */
export const mariadbStatus: StatusWords = {
  columns: { ...SLAVE_COLUMNS, ...MARIADB_GTID_COLUMNS, channel: 'Connection_name' },
  identity:
    "SELECT @@global.server_id AS server_id, '' AS server_uuid, @@global.gtid_binlog_state AS history, @@global.read_only AS read_only, 0 AS super_read_only, @@global.gtid_binlog_pos AS position, @@global.gtid_slave_pos AS replicated_position, @@global.log_bin AS log_bin, 'ON' AS gtid_mode, 0 AS keeps_log, @@global.sync_binlog = 1 AND @@global.innodb_flush_log_at_trx_commit = 3 AS keeps_acknowledged, @@global.sql_mode AS sql_mode",
  replicaStatus: 'SHOW ALL SLAVES STATUS',
  status: statusOf(),
  receiverSigns: null,
  binlogStatus: 'SHOW MASTER STATUS',
  log: mariadbLog,
};

const FLUSHES_ALL = '@@global.sync_binlog = 1 AND @@global.innodb_flush_log_at_trx_commit = 1';

const mysqlIdentity = (superReadOnly: string, further = ''): string =>
  `SELECT @@global.server_id AS server_id, @@global.server_uuid AS server_uuid, @@global.gtid_executed AS history, @@global.read_only AS read_only, ${superReadOnly} AS super_read_only, @@global.gtid_executed AS position, '' AS replicated_position, @@global.log_bin AS log_bin, @@global.gtid_mode AS gtid_mode, ${FLUSHES_ALL} AS keeps_log, ${FLUSHES_ALL} AS keeps_acknowledged, @@global.sql_mode AS sql_mode${further}`;

export const mysql56Status: StatusWords = {
  columns: { ...SLAVE_COLUMNS, applierActivity: 'Slave_SQL_Running_State' },
  identity: mysqlIdentity(
    '0',
    ', @@global.log_slave_updates AS log_replica_updates, @@global.slave_parallel_workers AS parallel_appliers',
  ),
  replicaStatus: 'SHOW SLAVE STATUS',
  // Its performance schema does not tell of replication, and is often off.
  status: statusOf('Slave_received_heartbeats', 'Slave_heartbeat_period'),
  receiverSigns: null,
  binlogStatus: 'SHOW MASTER STATUS',
  log: null,
};

const RECEIVER_SIGNS = `SELECT CHANNEL_NAME AS channel, s.COUNT_RECEIVED_HEARTBEATS AS heartbeats, c.HEARTBEAT_INTERVAL AS period_seconds
FROM performance_schema.replication_connection_status s
JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME)`;

export const mysql57Status: StatusWords = {
  ...mysql56Status,
  columns: SLAVE_COLUMNS,
  identity: mysqlIdentity('@@global.super_read_only'),
  status: statusOf(),
  receiverSigns: RECEIVER_SIGNS,
};

export const mysql8Status: StatusWords = {
  ...mysql57Status,
  replicaStatus: 'SHOW REPLICA STATUS',
  columns: REPLICA_COLUMNS,
};

/** The word came with 8.2.0, and the older one went with 8.4.0. */
export const mysql82Status: StatusWords = { ...mysql8Status, binlogStatus: 'SHOW BINARY LOG STATUS' };

/** Reads the answer to a flavour's `identity`. */
export function readIdentity(rows: readonly Row[]): Identity {
  const row = rows[0] ?? {};
  const hasGtid = text(row.gtid_mode).toUpperCase() === 'ON';
  const history = withoutLineBreaks(text(row.history));
  return {
    serverId: Number(row.server_id),
    serverUuid: text(row.server_uuid).toLowerCase(),
    readOnly: isOn(row.read_only),
    superReadOnly: isOn(row.super_read_only),
    logsChanges: isOn(row.log_bin),
    hasGtid,
    whyNotByPlace: hasGtid ? '' : whyNotByPlace(row),
    keepsLog: isOn(row.keeps_log),
    keepsAcknowledged: isOn(row.keeps_acknowledged),
    sqlMode: text(row.sql_mode),
    position: withoutLineBreaks(text(row.position)),
    replicatedPosition: withoutLineBreaks(text(row.replicated_position)),
    history,
    ownTransactions: ownOf(history, Number(row.server_id), text(row.server_uuid)),
  };
}

/**
 * Places in binary logs take the place of global ids only where those cannot be had without a restart (MySQL 5.6), and
 * where a place says all there is to know: what it has applied is in its own log, and one after the other.
 */
function whyNotByPlace({
  log_replica_updates: logsReplicaUpdates,
  parallel_appliers: appliers,
}: Row): string {
  if (logsReplicaUpdates === undefined)
    return 'its global transaction ids (gtid_mode) can be switched on while it runs';
  if (!isOn(logsReplicaUpdates)) return 'without global ids log_slave_updates must be on';
  return Number(appliers) > 0
    ? `without global ids it must apply one change after the other (slave_parallel_workers = ${Number(appliers)})`
    : '';
}

/** The items of a history that a server has written itself: by its id in MariaDB, by its uuid in MySQL. */
export function ownOf(history: string, serverId: number, serverUuid: string): string {
  const isOwn = (item: string): boolean =>
    serverUuid === ''
      ? Number(/^\d+-(\d+)-\d+$/.exec(item)?.[1]) === serverId
      : item.toLowerCase().startsWith(`${serverUuid.toLowerCase()}:`);
  const items = history.split(',').map((item) => item.trim());
  return items.filter(isOwn).join(',');
}

/** The seconds that a server runs, from the answer to a flavour's `status`. */
export function readUptimeSeconds(statusRows: readonly Row[]): number {
  return numberOf(byName(statusRows).get('uptime')) ?? 0;
}

/** Reads the answer to a flavour's `binlogStatus`; null when it writes no binary log. */
export function readBinlogStatus(rows: readonly Row[]): FilePosition | null {
  return filePosition(rows[0]?.File, rows[0]?.Position);
}

/** What receivers have heard of their sources, beside the places they have read to. */
export interface Hearing {
  /** The answer to `status`. */
  readonly status: readonly Row[];
  /** The answer to `receiverSigns`; empty when that was not asked or is denied. */
  readonly signs: readonly Row[];
}

const NOTHING_HEARD: Hearing = { status: [], signs: [] };

/**
 * The replication facts of an answer to `replicaStatus`; null when the server does not replicate. Of several
 * channels the one that is named counts, or else the one that is worst off.
 */
export function readReplicaStatus(
  words: Pick<StatusWords, 'columns'>,
  rows: readonly Row[],
  hearing: Hearing = NOTHING_HEARD,
  channelName?: string,
): ReplicationFacts | null {
  const isNamed = (row: Row): boolean => text(row[words.columns.channel]) === channelName;
  const counting = channelName === undefined ? rows : rows.filter(isNamed);
  const channels = counting.map((row) => readChannel(words.columns, row, hearing, counting.length));
  const [worst] = channels.sort((one, other) => badness(other) - badness(one));
  return worst ?? null;
}

function readChannel(
  columns: ReplicaStatusColumns,
  row: Row,
  hearing: Hearing,
  channels: number,
): ReplicationFacts {
  const lagSeconds = numberOf(row[columns.lagSeconds]);
  const channelName = text(row[columns.channel]);
  const receivedFile = filePosition(row[columns.receivedFile], row[columns.receivedPosition]);
  const receivedPosition = withoutLineBreaks(text(row[columns.receivedGtids]));
  const { heartbeats, heartbeatPeriodMs } = readHeartbeats(row, channelName, hearing);
  return {
    channelName,
    receiver: receiverState(text(row[columns.receiver])),
    applier: text(row[columns.applier]) === 'Yes' ? 'running' : 'stopped',
    lagMs: lagSeconds === null ? null : lagSeconds * 1000,
    sourceHost: text(row[columns.sourceHost]),
    sourcePort: Number(row[columns.sourcePort] ?? 0),
    sourceServerId: Number(row[columns.sourceServerId] ?? 0),
    sourceUuid: text(row[columns.sourceUuid]).toLowerCase(),
    drained: isDrained(columns, row),
    receivedPosition,
    receivedFile,
    appliedFile: filePosition(row[columns.appliedFile], row[columns.appliedPosition]),
    receiverError: text(row.Last_IO_Error),
    receiverErrno: Number(row.Last_IO_Errno ?? 0),
    applierError: text(row.Last_SQL_Error),
    applierErrno: Number(row.Last_SQL_Errno ?? 0),
    heartbeatPeriodMs,
    signs: [receivedFile?.file, receivedFile?.position, receivedPosition, heartbeats].join('|'),
    channels,
  };
}

/**
 * Heartbeats are told in the replica status by MariaDB, in a table by MySQL 5.7 and later, and in the global
 * status by MySQL 5.6, which has one source only.
 */
function readHeartbeats(
  row: Row,
  channelName: string,
  { status, signs }: Hearing,
): { heartbeats: number | null; heartbeatPeriodMs: number | null } {
  const told = signs.find((one) => text(one.channel) === channelName);
  const global = byName(status);
  const heartbeats =
    row.Slave_received_heartbeats ?? told?.heartbeats ?? global.get('slave_received_heartbeats');
  const period = numberOf(
    row.Slave_heartbeat_period ?? told?.period_seconds ?? global.get('slave_heartbeat_period'),
  );
  return {
    heartbeats: numberOf(heartbeats),
    heartbeatPeriodMs: period === null ? null : Math.round(period * 1000),
  };
}

function filePosition(file: unknown, position: unknown): FilePosition | null {
  return text(file) === '' ? null : { file: text(file), position: Number(position ?? 0) };
}

/**
 * All that was received has been applied when
 * 1. nothing was received: after a restart without its source a replica has no file to read from, and
 *    starts over from what it applied;
 * 2. or it has applied up to the very place it has read to;
 * 3. or it has applied every transaction it has received in full, perhaps none. A primary that died in the middle of
 *    sending one leaves the place read ahead for ever, and that half is worth nothing to anybody;
 * 4. or, where that half counts as received, it is the only one that is not applied, and the applier has
 *    read all there is. One that is whole and being applied just then is finished before the applier stops;
 * 5. or, without global ids, the applier has read all there is: so what is not applied is such a half.
 */
function isDrained(columns: ReplicaStatusColumns, row: Row): boolean {
  const receivedFile = text(row[columns.receivedFile]);
  if (receivedFile === '') return true;
  const received = `${receivedFile}:${text(row[columns.receivedPosition])}`;
  const applied = `${text(row[columns.appliedFile])}:${text(row[columns.appliedPosition])}`;
  if (received === applied) return true;
  const receivedGtids = withoutLineBreaks(text(row[columns.receivedGtids]));
  const appliedGtids = withoutLineBreaks(text(row[columns.appliedGtids]));
  if (receivedGtids === '') {
    const isByGtids = columns.byGtids !== null && isOn(row[columns.byGtids]);
    return isByGtids || (appliedGtids === '' && hasReadAll(columns, row));
  }
  const lacking = countLacking(appliedGtids, receivedGtids);
  return lacking === 0n || (lacking === 1n && hasReadAll(columns, row));
}

/** 5.6: `Slave has read all relay log; waiting for the slave I/O thread to update it`. */
function hasReadAll({ applierActivity }: ReplicaStatusColumns, row: Row): boolean {
  return applierActivity !== null && /has read all relay log/.test(text(row[applierActivity]));
}

function receiverState(word: string): ReceiverState {
  switch (word) {
    case 'Yes':
      return 'running';
    case 'Connecting':
    // MariaDB, while it gets ready to connect.
    case 'Preparing':
      return 'connecting';
    default:
      return 'stopped';
  }
}

/** Orders channels: a stopped thread is worse than any lag. */
function badness(facts: ReplicationFacts): number {
  const applier: Record<ApplierState, number> = { running: 0, stopped: 4e15 };
  const receiver: Record<ReceiverState, number> = { running: 0, connecting: 1e15, stopped: 2e15 };
  return applier[facts.applier] + receiver[facts.receiver] + (facts.lagMs ?? 0);
}
