/**
 * The words of each generation of servers for acting on one: stop and start replication, follow another
 * server, take writes and refuse them. Who may say them, and when, is the business of failover.
 */
import { joinPositions } from '../gtid.ts';
import type { FilePosition } from '../observation.ts';
import type { Statement } from './row.ts';

/** Where and as whom a replica is to follow. A null user keeps the one it has. */
export interface Source {
  readonly host: string;
  readonly port: number;
  readonly login: { readonly user: string; readonly password: string } | null;
}

export interface ActWords {
  readonly stopReceiver: string;
  readonly startReplication: string;
  readonly stopReplication: string;
  /** Forgets the source, so that nothing starts replicating again after a restart. */
  readonly forgetSource: string;
  /** Turn writes off and on, the wider lock last and first. */
  readonly makeReadOnly: readonly string[];
  readonly makeWritable: readonly string[];
  /**
   * The same, which leaves the server read-only when it comes to be run after this moment of the server's own clock (Unix
   * time in seconds): a statement may lie in the network for as long as that is cut.
   */
  makeWritableBefore(unixSeconds: string): readonly string[];
  /** Lets who may write on a read-only server do so, and nobody else: dbproxy itself. */
  readonly letOurselvesWrite: readonly string[];
  /**
   * Asks for the `id` of each applier thread that has nothing to apply; null where a stop never waits for
   * those. MySQL's coordinator lets a stop wait 60 s for the rest of a transaction that it has half of.
   */
  readonly idleAppliers: string | null;
  /**
   * Asks for the `id` of each receiver that has to be ended before it is stopped; null where that is not needed.
   * MariaDB's waits two seconds in its stop for a source that is frozen.
   */
  readonly receiverThreads: string | null;
  /** Asks for the `id` of each session of a client: not of replicas, not of the server's own threads, not of who asks. */
  readonly clientSessions: string;
  /** Ends one statement of another connection. */
  killQuery(threadId: number): string;
  /** One row with `outcome`: 0 or above when `position` has been applied, null or -1 when not in time. */
  waitFor(position: string, timeoutSeconds: number): Statement;
  /**
   * Goes on in a new file of the binary log; null where that has a price. MariaDB that is killed in the first moments of a
   * file forgets what is in its log (`log-memory.ts`): it is told again, but its log has to begin anew for that.
   */
  readonly beginNewLog: string | null;
  /** Has a replica take from its source what it has written itself; null where that cannot be. */
  readonly takeBackOwn: string | null;
  /** Tells a server that follows nobody what it has, for good; its binary log begins anew behind that. */
  remindOf(position: string, history: string): readonly Statement[];
  /** What turns a former primary's own position into one it can follow from. */
  followFrom(ownPosition: string, replicatedPosition: string): readonly Statement[];
  changeSource(source: Source): Statement;
  /** The same by places in binary logs; null where global ids can always be had. */
  readonly byPlace: PlaceWords | null;
}

function switchBefore(variable: string, unixSeconds: string): string {
  return `SET GLOBAL ${variable} = IF(UNIX_TIMESTAMP(SYSDATE(6)) < ${unixSeconds}, 0, 1)`;
}

/** What is said where a place in a binary log takes the place of global ids. */
export interface PlaceWords {
  /** As `waitFor`, of a place in the source's log. */
  waitFor(place: FilePosition, timeoutSeconds: number): Statement;
  /** Follows a source from a place in its log. */
  changeSource(source: Source, place: FilePosition): Statement;
  /** The applier goes on to a place in the source's log, and stops there. */
  startApplierUntil(place: FilePosition): Statement;
  readonly startReceiver: string;
  readonly stopApplier: string;
  /** One row a file: `Log_name`, `File_size`. */
  readonly binlogFiles: string;
  /** The first events of one file from a place on: `Event_type`, `Server_id`. */
  binlogEvents(place: FilePosition, most: number): Statement;
}

/** How often a receiver tries again to reach its source; the servers' own default of 60 s is too slow here. */
const CONNECT_RETRY_SECONDS = 1;
/**
 * How often it tries before it gives up for good, where a source is told: a year. MySQL's own default is 10 since 8.4,
 * with a try a second no more than ten seconds, which any restart of its source may take.
 */
const CONNECT_RETRIES = 31_536_000;
/**
 * How often a source that has nothing to send says that it is there; the servers' own default of 30 s or
 * more is too slow for a replica that is to bear witness of a primary that has gone silent.
 */
const HEARTBEAT_SECONDS = 0.5;

const NO_CLIENTS = "('Binlog Dump', 'Binlog Dump GTID', 'Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')";

function clientSessionsIn(table: string): string {
  return `SELECT id AS id FROM ${table} WHERE user NOT IN ('system user', 'event_scheduler', SUBSTRING_INDEX(USER(), '@', 1)) AND command NOT IN ${NO_CLIENTS}`;
}

/** The words MariaDB and the older MySQL have in common. */
const slaveWords = {
  stopReceiver: 'STOP SLAVE IO_THREAD',
  startReplication: 'START SLAVE',
  stopReplication: 'STOP SLAVE',
  forgetSource: 'RESET SLAVE ALL',
  clientSessions: clientSessionsIn('information_schema.processlist'),
  killQuery: (threadId: number) => `KILL QUERY ${threadId}`,
} as const;

export const mariadbActs: ActWords = {
  byPlace: null,
  beginNewLog: null,
  takeBackOwn: 'SET GLOBAL gtid_strict_mode = 1',
  ...slaveWords,
  idleAppliers: null,
  receiverThreads: "SELECT id AS id FROM information_schema.processlist WHERE command = 'Slave_IO'",
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  makeWritableBefore: (moment) => [switchBefore('read_only', moment)],
  letOurselvesWrite: [],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT MASTER_GTID_WAIT(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  // Whatever comes in between: with its position as a replica it can be told the rest again (REJOIN). That is to be on the
  // disk first.
  remindOf: (position, history) => [
    { sql: 'SET GLOBAL gtid_slave_pos = ?', values: [position] },
    { sql: 'FLUSH LOCAL ENGINE LOGS' },
    { sql: 'RESET MASTER' },
    { sql: 'SET GLOBAL gtid_binlog_state = ?', values: [history] },
  ],
  followFrom: (own, replicated) => [
    { sql: 'SET GLOBAL gtid_slave_pos = ?', values: [joinPositions(own, replicated)] },
  ],
  changeSource: (source) => changeMaster(source, 'MASTER_USE_GTID = slave_pos'),
};

/** Manual: https://dev.mysql.com/doc/refman/5.6/en/start-slave.html, .../miscellaneous-functions.html (MASTER_POS_WAIT) */
const placeWords: PlaceWords = {
  waitFor: ({ file, position }, timeoutSeconds) => ({
    sql: 'SELECT MASTER_POS_WAIT(?, ?, ?) AS outcome',
    values: [file, position, timeoutSeconds],
  }),
  changeSource: (source, { file, position }) => {
    const { sql, values = [] } = changeMaster(
      source,
      'MASTER_LOG_FILE = ?, MASTER_LOG_POS = ?, MASTER_AUTO_POSITION = 0',
    );
    return { sql, values: [...values, file, position] };
  },
  startApplierUntil: ({ file, position }) => ({
    sql: 'START SLAVE SQL_THREAD UNTIL MASTER_LOG_FILE = ?, MASTER_LOG_POS = ?',
    values: [file, position],
  }),
  startReceiver: 'START SLAVE IO_THREAD',
  stopApplier: 'STOP SLAVE SQL_THREAD',
  binlogFiles: 'SHOW BINARY LOGS',
  binlogEvents: ({ file, position }, most) => ({
    sql: 'SHOW BINLOG EVENTS IN ? FROM ? LIMIT ?',
    values: [file, position, most],
  }),
};

export const mysql56Acts: ActWords = {
  ...slaveWords,
  byPlace: placeWords,
  receiverThreads: null,
  beginNewLog: 'FLUSH LOCAL BINARY LOGS',
  takeBackOwn: null,
  idleAppliers:
    "SELECT id AS id FROM information_schema.processlist WHERE user = 'system user' AND state = 'Waiting for an event from Coordinator'",
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  makeWritableBefore: (moment) => [switchBefore('read_only', moment)],
  letOurselvesWrite: [],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  remindOf: () => [],
  followFrom: () => [],
  changeSource: (source) =>
    changeMaster(source, `MASTER_RETRY_COUNT = ${CONNECT_RETRIES}, MASTER_AUTO_POSITION = 1`),
};

export const mysql57Acts: ActWords = {
  ...mysql56Acts,
  byPlace: null,
  makeReadOnly: ['SET GLOBAL read_only = 1', 'SET GLOBAL super_read_only = 1'],
  makeWritable: ['SET GLOBAL super_read_only = 0', 'SET GLOBAL read_only = 0'],
  makeWritableBefore: (moment) => [
    switchBefore('super_read_only', moment),
    switchBefore('read_only', moment),
  ],
  letOurselvesWrite: ['SET GLOBAL super_read_only = 0'],
  // 0: reached, 1: timed out (https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html); as `waitFor` promises.
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT -WAIT_FOR_EXECUTED_GTID_SET(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
};

export const mysql8Acts: ActWords = {
  ...mysql57Acts,
  stopReceiver: 'STOP REPLICA IO_THREAD',
  startReplication: 'START REPLICA',
  stopReplication: 'STOP REPLICA',
  forgetSource: 'RESET REPLICA ALL',
  clientSessions: clientSessionsIn('performance_schema.processlist'),
  changeSource: ({ host, port, login }) => ({
    // Without TLS a caching_sha2_password account is let in only with the server's public key.
    sql: `CHANGE REPLICATION SOURCE TO SOURCE_HOST = ?, SOURCE_PORT = ?, ${
      login === null ? '' : 'SOURCE_USER = ?, SOURCE_PASSWORD = ?, '
    }SOURCE_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, SOURCE_RETRY_COUNT = ${CONNECT_RETRIES}, SOURCE_HEARTBEAT_PERIOD = ${HEARTBEAT_SECONDS}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1`,
    values: sourceValues(host, port, login),
  }),
};

/**
 * The words for one channel of several. MariaDB names it behind the verb, and MySQL (5.7 and later) at the end;
 * 5.6 has one source only, and no names.
 *
 * Manual: https://mariadb.com/kb/en/multi-source-replication/,
 *         https://dev.mysql.com/doc/refman/8.4/en/replication-channels.html
 */
export function forChannel(words: ActWords, family: 'mariadb' | 'mysql', channel: string): ActWords {
  const name = `'${channel.replaceAll("'", "''")}'`;
  const aimed = (sql: string): string =>
    family === 'mysql'
      ? `${sql} FOR CHANNEL ${name}`
      : sql.replace(/^(STOP SLAVE|START SLAVE|RESET SLAVE|CHANGE MASTER)/, `$1 ${name}`);
  return {
    ...words,
    // Which of its receivers is which MariaDB does not tell; those of other channels are not ours to end.
    receiverThreads: null,
    idleAppliers: words.idleAppliers === null ? null : idleAppliersOf(name),
    stopReceiver: aimed(words.stopReceiver),
    startReplication: aimed(words.startReplication),
    stopReplication: aimed(words.stopReplication),
    forgetSource: aimed(words.forgetSource),
    changeSource: (source) => {
      const { sql, values = [] } = words.changeSource(source);
      return { sql: aimed(sql), values };
    },
  };
}

function idleAppliersOf(channel: string): string {
  return `SELECT t.PROCESSLIST_ID AS id FROM performance_schema.replication_applier_status_by_worker w
JOIN performance_schema.threads t USING (THREAD_ID)
WHERE w.CHANNEL_NAME = ${channel} AND t.PROCESSLIST_STATE = 'Waiting for an event from Coordinator'`;
}

function changeMaster({ host, port, login }: Source, place: string): Statement {
  return {
    sql: `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, ${
      login === null ? '' : 'MASTER_USER = ?, MASTER_PASSWORD = ?, '
    }MASTER_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, MASTER_HEARTBEAT_PERIOD = ${HEARTBEAT_SECONDS}, ${place}`,
    values: sourceValues(host, port, login),
  };
}

function sourceValues(host: string, port: number, login: Source['login']): (string | number)[] {
  return login === null ? [host, port] : [host, port, login.user, login.password];
}
