/**
 * All differences between MariaDB and the generations of MySQL, and nothing else: which statement asks a
 * question, which column holds the answer, which statement does an act. Everybody else speaks through a
 * Flavour and does not know which server it is.
 *
 * | flavour   | servers            | words                                             |
 * |-----------|--------------------|---------------------------------------------------|
 * | mariadb   | MariaDB 10.x, 11.x | SLAVE; GTID positions by domain                    |
 * | mysql     | MySQL 5.6, 5.7     | SLAVE, MASTER; GTID sets; super_read_only from 5.7 |
 * | mysql8    | MySQL 8.0.23 on, 9 | REPLICA, SOURCE; GTID sets; super_read_only        |
 */
import { countLacking } from '../gtid.ts';
import type { ApplierState, ReceiverState, ReplicationFacts } from '../observation.ts';

/** One row of an answer; the driver gives numbers, strings, null or (for big ones) strings of digits. */
export type Row = Readonly<Record<string, unknown>>;

export type FlavourName = 'mariadb' | 'mysql' | 'mysql8';

/** Where and as whom a replica is to follow. A null user keeps the one it has. */
export interface Source {
  readonly host: string;
  readonly port: number;
  readonly login: { readonly user: string; readonly password: string } | null;
}

/** A statement and the values for its `?` places. */
export interface Statement {
  readonly sql: string;
  readonly values?: readonly (string | number)[];
}

export interface Flavour {
  readonly name: FlavourName;
  /**
   * One row: server_id, read_only, log_bin, gtid_mode, sql_mode, position (all it has in its binary log),
   * replicated_position (what it has applied as a replica, where that is kept apart).
   */
  readonly identity: string;
  /** One row a source, none when it does not replicate. */
  readonly replicaStatus: string;
  readonly columns: ReplicaStatusColumns;
  readonly stopReceiver: string;
  readonly startReplication: string;
  readonly stopReplication: string;
  /** Forgets the source, so that nothing starts replicating again after a restart. */
  readonly forgetSource: string;
  /** Turn writes off and on, the wider lock last and first. */
  readonly makeReadOnly: readonly string[];
  readonly makeWritable: readonly string[];
  /**
   * Asks for the `id` of each applier thread that has nothing to apply; null where a stop never waits for
   * those. MySQL's coordinator lets a stop wait 60 s for the rest of a transaction that it has half of.
   */
  readonly idleAppliers: string | null;
  /** Ends one statement of another connection. */
  killQuery(threadId: number): string;
  /** One row with `outcome`: 0 or above when `position` has been applied, null or -1 when not in time. */
  waitFor(position: string, timeoutSeconds: number): Statement;
  /** What turns a former primary's own position into one it can follow from. */
  followFrom(ownPosition: string, replicatedPosition: string): readonly Statement[];
  changeSource(source: Source): Statement;
}

interface ReplicaStatusColumns {
  readonly receiver: string;
  readonly applier: string;
  readonly lagSeconds: string;
  readonly sourceHost: string;
  readonly sourcePort: string;
  readonly sourceServerId: string;
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

/** How often a receiver tries again to reach its source; the servers' own default of 60 s is too slow here. */
const CONNECT_RETRY_SECONDS = 2;

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
  receiver: 'Slave_IO_Running',
  applier: 'Slave_SQL_Running',
  lagSeconds: 'Seconds_Behind_Master',
  sourceHost: 'Master_Host',
  sourcePort: 'Master_Port',
  sourceServerId: 'Master_Server_Id',
  receivedFile: 'Master_Log_File',
  receivedPosition: 'Read_Master_Log_Pos',
  appliedFile: 'Relay_Master_Log_File',
  appliedPosition: 'Exec_Master_Log_Pos',
};

const REPLICA_COLUMNS: ReplicaStatusColumns = {
  ...MYSQL_GTID_COLUMNS,
  applierActivity: null,
  receiver: 'Replica_IO_Running',
  applier: 'Replica_SQL_Running',
  lagSeconds: 'Seconds_Behind_Source',
  sourceHost: 'Source_Host',
  sourcePort: 'Source_Port',
  sourceServerId: 'Source_Server_Id',
  receivedFile: 'Source_Log_File',
  receivedPosition: 'Read_Source_Log_Pos',
  appliedFile: 'Relay_Source_Log_File',
  appliedPosition: 'Exec_Source_Log_Pos',
};

/** The words MariaDB and the older MySQL have in common. */
const slaveWords = {
  columns: SLAVE_COLUMNS,
  stopReceiver: 'STOP SLAVE IO_THREAD',
  startReplication: 'START SLAVE',
  stopReplication: 'STOP SLAVE',
  forgetSource: 'RESET SLAVE ALL',
  killQuery: (threadId: number) => `KILL QUERY ${threadId}`,
} as const;

const mariadb: Flavour = {
  name: 'mariadb',
  ...slaveWords,
  idleAppliers: null,
  columns: { ...SLAVE_COLUMNS, ...MARIADB_GTID_COLUMNS },
  identity:
    "SELECT @@global.server_id AS server_id, @@global.read_only AS read_only, @@global.gtid_binlog_pos AS position, @@global.gtid_slave_pos AS replicated_position, @@global.log_bin AS log_bin, 'ON' AS gtid_mode, @@global.sql_mode AS sql_mode",
  replicaStatus: 'SHOW ALL SLAVES STATUS',
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT MASTER_GTID_WAIT(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  followFrom: (own, replicated) => [
    { sql: 'SET GLOBAL gtid_slave_pos = ?', values: [joinPositions(own, replicated)] },
  ],
  changeSource: ({ host, port, login }) => ({
    sql: `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, ${
      login === null ? '' : 'MASTER_USER = ?, MASTER_PASSWORD = ?, '
    }MASTER_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, MASTER_USE_GTID = slave_pos`,
    values: sourceValues(host, port, login),
  }),
};

const mysqlIdentity =
  "SELECT @@global.server_id AS server_id, @@global.read_only AS read_only, @@global.gtid_executed AS position, '' AS replicated_position, @@global.log_bin AS log_bin, @@global.gtid_mode AS gtid_mode, @@global.sql_mode AS sql_mode";

const mysql56: Flavour = {
  name: 'mysql',
  ...slaveWords,
  idleAppliers:
    "SELECT id AS id FROM information_schema.processlist WHERE user = 'system user' AND state = 'Waiting for an event from Coordinator'",
  columns: { ...SLAVE_COLUMNS, applierActivity: 'Slave_SQL_Running_State' },
  identity: mysqlIdentity,
  replicaStatus: 'SHOW SLAVE STATUS',
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  followFrom: () => [],
  changeSource: ({ host, port, login }) => ({
    sql: `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, ${
      login === null ? '' : 'MASTER_USER = ?, MASTER_PASSWORD = ?, '
    }MASTER_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, MASTER_AUTO_POSITION = 1`,
    values: sourceValues(host, port, login),
  }),
};

const withSuperReadOnly = {
  makeReadOnly: ['SET GLOBAL read_only = 1', 'SET GLOBAL super_read_only = 1'],
  makeWritable: ['SET GLOBAL super_read_only = 0', 'SET GLOBAL read_only = 0'],
  // 0: reached, 1: timed out (https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html); as `waitFor` promises.
  waitFor: (position: string, timeoutSeconds: number): Statement => ({
    sql: 'SELECT -WAIT_FOR_EXECUTED_GTID_SET(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
} as const;

const mysql57: Flavour = { ...mysql56, ...withSuperReadOnly, columns: SLAVE_COLUMNS };

const mysql8: Flavour = {
  ...mysql57,
  name: 'mysql8',
  replicaStatus: 'SHOW REPLICA STATUS',
  columns: REPLICA_COLUMNS,
  stopReceiver: 'STOP REPLICA IO_THREAD',
  startReplication: 'START REPLICA',
  stopReplication: 'STOP REPLICA',
  forgetSource: 'RESET REPLICA ALL',
  changeSource: ({ host, port, login }) => ({
    // Without TLS a caching_sha2_password account is let in only with the server's public key.
    sql: `CHANGE REPLICATION SOURCE TO SOURCE_HOST = ?, SOURCE_PORT = ?, ${
      login === null ? '' : 'SOURCE_USER = ?, SOURCE_PASSWORD = ?, '
    }SOURCE_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1`,
    values: sourceValues(host, port, login),
  }),
};

/** The flavour of a server by its VERSION(), for example `10.11.6-MariaDB-0+deb12u1-log` or `8.0.36`. */
export function flavourOf(version: string): Flavour {
  if (/mariadb/i.test(version)) return mariadb;
  const [major, minor, patch] = version.split(/[.-]/, 3).map(Number) as [number, number, number];
  if (major > 8 || (major === 8 && (minor > 0 || patch >= 23))) return mysql8;
  if (major > 5 || (major === 5 && minor >= 7)) return mysql57;
  return mysql56;
}

/** True for a server variable that is switched on, in any of the ways servers write it. */
export function isOn(value: unknown): boolean {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value) !== 0;
  if (typeof value !== 'string') return value === true;
  return !['', '0', 'OFF', 'FALSE', 'NO'].includes(value.toUpperCase());
}

/** The replication facts of an answer to `replicaStatus`; null when the server does not replicate. */
export function readReplicaStatus(flavour: Flavour, rows: readonly Row[]): ReplicationFacts | null {
  const channels = rows.map((row) => readChannel(flavour.columns, row, rows.length));
  const [worst] = channels.sort((one, other) => badness(other) - badness(one));
  return worst ?? null;
}

/** What a server says of itself. */
export interface Identity {
  readonly serverId: number;
  readonly readOnly: boolean;
  readonly logsChanges: boolean;
  readonly hasGtid: boolean;
  /** What new sessions begin with. */
  readonly sqlMode: string;
  /** All that is in its binary log. */
  readonly position: string;
  /** What it has applied as a replica, where that is kept apart. */
  readonly replicatedPosition: string;
}

/** Reads the answer to a flavour's `identity`. */
export function readIdentity(rows: readonly Row[]): Identity {
  const row = rows[0] ?? {};
  return {
    serverId: Number(row.server_id),
    readOnly: isOn(row.read_only),
    logsChanges: isOn(row.log_bin),
    hasGtid: text(row.gtid_mode).toUpperCase() === 'ON',
    sqlMode: text(row.sql_mode),
    position: withoutLineBreaks(text(row.position)),
    replicatedPosition: withoutLineBreaks(text(row.replicated_position)),
  };
}

/** Semi-synchronous replication: the two switches of a server, under the names it has for them. */
export interface SemiSyncSwitches {
  readonly primary: { readonly variable: string; readonly on: boolean } | null;
  readonly replica: { readonly variable: string; readonly on: boolean } | null;
}

/** Asks for the switches; the same in all flavours, as the names come with the answer. */
export const SEMI_SYNC_QUERY = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%\\_enabled'";

/** Reads the answer to SEMI_SYNC_QUERY. */
export function readSemiSync(rows: readonly Row[]): SemiSyncSwitches {
  const find = (pattern: RegExp): SemiSyncSwitches['primary'] => {
    const row = rows.find((one) => pattern.test(text(one.Variable_name)));
    return row === undefined ? null : { variable: text(row.Variable_name), on: isOn(row.Value) };
  };
  return {
    primary: find(/^rpl_semi_sync_(master|source)_/i),
    replica: find(/^rpl_semi_sync_(slave|replica)_/i),
  };
}

/** Joins two MariaDB positions (`domain-server-sequence,…`): of each domain the furthest. */
export function joinPositions(one: string, other: string): string {
  const furthest = new Map<string, { gtid: string; sequence: bigint }>();
  for (const gtid of `${one},${other}`.split(',').map((part) => part.trim())) {
    const match = /^(\d+)-\d+-(\d+)$/.exec(gtid);
    if (match === null) continue;
    const [, domain, digits] = match;
    const sequence = BigInt(digits!);
    const known = furthest.get(domain!);
    if (known === undefined || sequence > known.sequence) furthest.set(domain!, { gtid, sequence });
  }
  return [...furthest.values()].map(({ gtid }) => gtid).join(',');
}

function readChannel(columns: ReplicaStatusColumns, row: Row, channels: number): ReplicationFacts {
  const lagSeconds = row[columns.lagSeconds];
  return {
    receiver: receiverState(text(row[columns.receiver])),
    applier: text(row[columns.applier]) === 'Yes' ? 'running' : 'stopped',
    lagMs: lagSeconds === null || lagSeconds === undefined ? null : Number(lagSeconds) * 1000,
    sourceHost: text(row[columns.sourceHost]),
    sourcePort: Number(row[columns.sourcePort] ?? 0),
    sourceServerId: Number(row[columns.sourceServerId] ?? 0),
    drained: isDrained(columns, row),
    receivedPosition: withoutLineBreaks(text(row[columns.receivedGtids])),
    receiverError: text(row.Last_IO_Error),
    applierError: text(row.Last_SQL_Error),
    channels,
  };
}

/**
 * All that was received has been applied when
 * 1. nothing was received: after a restart without its source a replica has no file to read from, and
 *    starts over from what it applied;
 * 2. or it has applied up to the very place it has read to;
 * 3. or it has applied every transaction it has received in full, perhaps none. A primary that died in the middle of
 *    sending one leaves the place read ahead for ever, and that half is worth nothing to anybody;
 * 4. or, where that half counts as received, it is the only one that is not applied, and the applier has
 *    read all there is. One that is whole and being applied just then is finished before the applier stops.
 */
function isDrained(columns: ReplicaStatusColumns, row: Row): boolean {
  const receivedFile = text(row[columns.receivedFile]);
  if (receivedFile === '') return true;
  const received = `${receivedFile}:${text(row[columns.receivedPosition])}`;
  const applied = `${text(row[columns.appliedFile])}:${text(row[columns.appliedPosition])}`;
  if (received === applied) return true;
  const receivedGtids = withoutLineBreaks(text(row[columns.receivedGtids]));
  const appliedGtids = withoutLineBreaks(text(row[columns.appliedGtids]));
  if (receivedGtids === '') return columns.byGtids !== null && isOn(row[columns.byGtids]);
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

/** MySQL writes a GTID set of several servers over several lines. */
function withoutLineBreaks(position: string): string {
  return position.replaceAll('\n', '');
}

/** Orders channels: a stopped thread is worse than any lag. */
function badness(facts: ReplicationFacts): number {
  const applier: Record<ApplierState, number> = { running: 0, stopped: 4e15 };
  const receiver: Record<ReceiverState, number> = { running: 0, connecting: 1e15, stopped: 2e15 };
  return applier[facts.applier] + receiver[facts.receiver] + (facts.lagMs ?? 0);
}

function sourceValues(host: string, port: number, login: Source['login']): (string | number)[] {
  return login === null ? [host, port] : [host, port, login.user, login.password];
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return '';
}
