/**
 * The words of each generation of servers for acting on one: stop and start replication, follow another
 * server, take writes and refuse them. Who may say them, and when, is the business of failover.
 */
import { joinPositions } from '../gtid.ts';
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
  /** Has a replica take from its source what it has written itself; null where that cannot be. */
  readonly takeBackOwn: string | null;
  /** What turns a former primary's own position into one it can follow from. */
  followFrom(ownPosition: string, replicatedPosition: string): readonly Statement[];
  changeSource(source: Source): Statement;
}

/** How often a receiver tries again to reach its source; the servers' own default of 60 s is too slow here. */
const CONNECT_RETRY_SECONDS = 1;
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
  takeBackOwn: 'SET GLOBAL gtid_strict_mode = 1',
  ...slaveWords,
  idleAppliers: null,
  receiverThreads: "SELECT id AS id FROM information_schema.processlist WHERE command = 'Slave_IO'",
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  letOurselvesWrite: [],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT MASTER_GTID_WAIT(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  followFrom: (own, replicated) => [
    { sql: 'SET GLOBAL gtid_slave_pos = ?', values: [joinPositions(own, replicated)] },
  ],
  changeSource: (source) => changeMaster(source, 'MASTER_USE_GTID = slave_pos'),
};

export const mysql56Acts: ActWords = {
  ...slaveWords,
  receiverThreads: null,
  takeBackOwn: null,
  idleAppliers:
    "SELECT id AS id FROM information_schema.processlist WHERE user = 'system user' AND state = 'Waiting for an event from Coordinator'",
  makeReadOnly: ['SET GLOBAL read_only = 1'],
  makeWritable: ['SET GLOBAL read_only = 0'],
  letOurselvesWrite: [],
  waitFor: (position, timeoutSeconds) => ({
    sql: 'SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(?, ?) AS outcome',
    values: [position, timeoutSeconds],
  }),
  followFrom: () => [],
  changeSource: (source) => changeMaster(source, 'MASTER_AUTO_POSITION = 1'),
};

export const mysql57Acts: ActWords = {
  ...mysql56Acts,
  makeReadOnly: ['SET GLOBAL read_only = 1', 'SET GLOBAL super_read_only = 1'],
  makeWritable: ['SET GLOBAL super_read_only = 0', 'SET GLOBAL read_only = 0'],
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
    }SOURCE_CONNECT_RETRY = ${CONNECT_RETRY_SECONDS}, SOURCE_HEARTBEAT_PERIOD = ${HEARTBEAT_SECONDS}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1`,
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
