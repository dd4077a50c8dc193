/**
 * The words of each generation of servers for setting one up: semi-synchronous replication, accounts and
 * their grants, settings that stay over a restart, a history to begin from. Nothing here is sent by itself;
 * `setup/` says what is needed and why.
 *
 * | server            | semi-sync                   | a setting that stays       | forgets its history           |
 * |-------------------|-----------------------------|----------------------------|-------------------------------|
 * | MariaDB           | built in, MASTER and SLAVE  | my.cnf only                | RESET MASTER                  |
 * | MySQL 5.6, 5.7    | plugins, MASTER and SLAVE   | my.cnf only                | RESET MASTER                  |
 * | MySQL 8.0         | plugins (SOURCE: 8.0.26 on) | SET PERSIST                | RESET MASTER                  |
 * | MySQL 8.2 on, 9   | plugins, SOURCE and REPLICA | SET PERSIST                | RESET BINARY LOGS AND GTIDS   |
 *
 * Manual: https://mariadb.com/kb/en/semisynchronous-replication/,
 *         https://dev.mysql.com/doc/refman/8.4/en/replication-semisync-installation.html,
 *         https://dev.mysql.com/doc/refman/8.4/en/persisted-system-variables.html
 */
import { joinPositions } from '../gtid.ts';
import type { Statement } from './row.ts';
import { DBPROXY_SCHEMA } from './tables.ts';

/** A plugin as SQL installs it. */
export interface PluginWords {
  readonly name: string;
  readonly install: string;
}

/** What semi-synchronous replication is called at one server. */
export interface SemiSyncWords {
  /** Null where it is built in. */
  readonly plugins: { readonly primary: PluginWords; readonly replica: PluginWords } | null;
  readonly primarySwitch: string;
  readonly replicaSwitch: string;
  /** Milliseconds that a commit waits before the primary goes on without its replicas. */
  readonly timeout: string;
  /** Goes on waiting when no replica is connected; off, the primary would go on alone at once. */
  readonly waitWithoutReplica: string;
  /** Null where commits are seen by others before they wait, and nothing can be set (MySQL 5.6). */
  readonly waitPoint: string | null;
  /** How many replicas have to answer; null where it is one and nothing can be set. */
  readonly waitCount: string | null;
  /**
   * Switching a primary's side off takes up to a second, in which nobody can read a global variable: the thread that
   * reads the replicas' answers has to end (MySQL 5.7.5 and later). So it stays on, and `waitWithoutReplica` says
   * whether commits wait.
   */
  readonly standsBy: boolean;
}

/** A privilege that an account needs, and what for. */
export interface NeededPrivilege {
  readonly privilege: string;
  /** `*.*`, `schema.*` or `schema.table`. */
  readonly on: string;
  readonly why: string;
  /** Without it all works, only not as well. */
  readonly optional?: true;
}

/** What another server has: the parts of `Identity` with these names. */
export interface StartingPoint {
  readonly position: string;
  readonly replicatedPosition: string;
  readonly history: string;
}

export interface SetupWords {
  readonly family: 'mariadb' | 'mysql';
  readonly semiSync: SemiSyncWords;
  /** SQL can make a setting stay over a restart. */
  readonly persists: boolean;
  /** Global ids can be switched on while the server runs; null: they always are. */
  readonly gtidOnline: boolean | null;
  /**
   * Up to which size, in bytes, a file of its binary log is soon looked through for the place of a replica that connects
   * (0.3 to 0.4 s a gigabyte, for which commits wait that it has to acknowledge). Null where a new file is begun before a
   * promotion.
   */
  readonly largestLogFile: number | null;
  readonly forgetHistory: string;
  /**
   * Begins the history of a server whose binary log is empty at what another one has. `history`: with the last number
   * of each server that has written (`Identity.history`). A log that lacked one of them would say, once this server
   * is the primary, that it does not have what that one wrote.
   */
  startAt(has: StartingPoint): readonly Statement[];
  /** Makes an account where it is missing; its password is left as it is where it is there. */
  createAccount(user: string, password: string): readonly Statement[];
  /** What looks at the servers, and promotes one. */
  readonly monitorPrivileges: readonly NeededPrivilege[];
  /** What bootstrap takes beyond that. */
  readonly bootstrapPrivileges: readonly NeededPrivilege[];
  /** What REJOIN takes beyond that of looking: at the server that is brought back, and at the tables of what is lost. */
  readonly rejoinPrivileges: {
    readonly onServer: readonly NeededPrivilege[];
    readonly onTables: readonly NeededPrivilege[];
  };
  /** What replicas log in with. */
  readonly replicationPrivileges: readonly NeededPrivilege[];
  /** The plugin by which one server takes all data of another, where there is one. */
  readonly clonePlugin: PluginWords | null;
  /** What filling a server takes beyond that of bootstrap, at either end. */
  readonly clonePrivileges: {
    readonly source: readonly NeededPrivilege[];
    readonly target: readonly NeededPrivilege[];
  };
}

/**
 * In effect for ever (49.7 days): the greatest that MySQL takes. MariaDB would take more, but adds it to the
 * clock in nanoseconds.
 */
const FOR_EVER_MS = 4_294_967_295;
/** How long a commit waits where it is preferred, not required, that a replica has it. */
const PREFERRED_WAIT_MS = 1_000;

/** How long commits wait under each policy, in milliseconds. */
export function semiSyncTimeoutMs(policy: 'require' | 'prefer'): number {
  switch (policy) {
    case 'require':
      return FOR_EVER_MS;
    case 'prefer':
      return PREFERRED_WAIT_MS;
  }
}

/** 128 MB. */
const SOON_LOOKED_THROUGH = 134_217_728;

/** What a server is called by its VERSION(), in numbers. */
export function versionNumbers(version: string): [major: number, minor: number, patch: number] {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/, 3).map((part) => Number(part) || 0);
  return [major, minor, patch];
}

/**
 * The words of a server: by its version and, for the names of MySQL's plugins, by what it has installed.
 *
 * @param hasVariable True for a global variable that the server has now.
 */
export function setupWordsOf(version: string, hasVariable: (name: string) => boolean): SetupWords {
  const numbers = versionNumbers(version);
  const from = (...other: [number, number, number]): boolean => compareNumbers(numbers, other) >= 0;
  if (/mariadb/i.test(version)) return mariadbWords(from(10, 5, 2));
  const persists = from(8, 0, 11);
  return {
    family: 'mysql',
    semiSync: mysqlSemiSync(from, hasVariable),
    persists,
    gtidOnline: from(5, 7, 6),
    largestLogFile: null,
    forgetHistory: from(8, 2, 0) ? 'RESET BINARY LOGS AND GTIDS' : 'RESET MASTER',
    startAt: ({ position }) =>
      position === '' ? [] : [{ sql: 'SET GLOBAL gtid_purged = ?', values: [position] }],
    createAccount: (user, password) => [
      from(5, 7, 6)
        ? { sql: "CREATE USER IF NOT EXISTS ?@'%' IDENTIFIED BY ?", values: [user, password] }
        : { sql: "GRANT USAGE ON *.* TO ?@'%' IDENTIFIED BY ?", values: [user, password] },
    ],
    monitorPrivileges: persists ? MYSQL8_MONITOR : from(5, 7, 2) ? MYSQL57_MONITOR : MYSQL56_MONITOR,
    bootstrapPrivileges: persists ? MYSQL8_BOOTSTRAP : MYSQL5_BOOTSTRAP,
    rejoinPrivileges: { onServer: [], onTables: LOST_ROWS },
    replicationPrivileges: REPLICATION,
    clonePlugin: from(8, 0, 17) ? CLONE_PLUGIN : null,
    clonePrivileges: from(8, 0, 17) ? BY_PLUGIN : BY_DUMP,
  };
}

/** A setting, for good where the server can keep it. */
export function setGlobal(
  words: Pick<SetupWords, 'persists'>,
  name: string,
  value: string | number,
): Statement {
  return { sql: `SET ${words.persists ? 'PERSIST' : 'GLOBAL'} ${name} = ?`, values: [value] };
}

/** A setting for the next start, which leaves the server that runs as it is; only where `persists`. */
export function setForNextStart(name: string, value: string | number): Statement {
  return { sql: `SET PERSIST_ONLY ${name} = ?`, values: [value] };
}

/** The privileges as GRANT statements, one for each place. */
export function grantStatements(needed: readonly NeededPrivilege[], user: string): string[] {
  const places = [...new Set(needed.map(({ on }) => on))];
  return places.map((place) => {
    const privileges = needed.filter(({ on }) => on === place).map(({ privilege }) => privilege);
    const named = privileges.filter((privilege) => privilege !== GRANT_OPTION);
    const option = named.length < privileges.length ? ` WITH ${GRANT_OPTION}` : '';
    return `GRANT ${named.join(', ') || 'USAGE'} ON ${place} TO '${user.replaceAll("'", "''")}'@'%'${option}`;
  });
}

export const GRANT_OPTION = 'GRANT OPTION';

/** Above 0 when `one` is newer. */
export function compareNumbers(one: readonly number[], other: readonly number[]): number {
  for (const [index, number] of one.entries()) {
    const difference = number - (other[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function mariadbWords(hasFinePrivileges: boolean): SetupWords {
  return {
    family: 'mariadb',
    semiSync: {
      ...masterNames,
      plugins: null,
      waitCount: null,
      waitPoint: 'rpl_semi_sync_master_wait_point',
      standsBy: false,
    },
    persists: false,
    gtidOnline: null,
    largestLogFile: SOON_LOOKED_THROUGH,
    forgetHistory: 'RESET MASTER',
    startAt: ({ position, replicatedPosition, history }) => [
      ...(history === '' ? [] : [{ sql: 'SET GLOBAL gtid_binlog_state = ?', values: [history] }]),
      { sql: 'SET GLOBAL gtid_slave_pos = ?', values: [joinPositions(position, replicatedPosition)] },
    ],
    createAccount: (user, password) => [
      { sql: "CREATE USER IF NOT EXISTS ?@'%' IDENTIFIED BY ?", values: [user, password] },
    ],
    monitorPrivileges: hasFinePrivileges ? MARIADB_MONITOR : MARIADB_OLD_MONITOR,
    bootstrapPrivileges: hasFinePrivileges ? MARIADB_BOOTSTRAP : MYSQL5_BOOTSTRAP,
    rejoinPrivileges: {
      // Before 10.5.2 it takes this one to see where a binary log begins.
      onServer: everywhere(REJOIN, hasFinePrivileges ? 'BINLOG ADMIN' : 'REPLICATION SLAVE'),
      onTables: LOST_ROWS,
    },
    replicationPrivileges: REPLICATION,
    clonePlugin: null,
    clonePrivileges: BY_DUMP,
  };
}

const masterNames = {
  primarySwitch: 'rpl_semi_sync_master_enabled',
  replicaSwitch: 'rpl_semi_sync_slave_enabled',
  timeout: 'rpl_semi_sync_master_timeout',
  waitWithoutReplica: 'rpl_semi_sync_master_wait_no_slave',
} as const;

/** A server that has the older plugins keeps them: it will not have both. */
function mysqlSemiSync(
  from: (...version: [number, number, number]) => boolean,
  hasVariable: (name: string) => boolean,
): SemiSyncWords {
  const hasOld = hasVariable('rpl_semi_sync_master_enabled') || hasVariable('rpl_semi_sync_slave_enabled');
  const hasNew = hasVariable('rpl_semi_sync_source_enabled') || hasVariable('rpl_semi_sync_replica_enabled');
  if (hasNew || (from(8, 0, 26) && !hasOld)) {
    return {
      plugins: { primary: pluginOf('source'), replica: pluginOf('replica') },
      primarySwitch: 'rpl_semi_sync_source_enabled',
      replicaSwitch: 'rpl_semi_sync_replica_enabled',
      timeout: 'rpl_semi_sync_source_timeout',
      waitWithoutReplica: 'rpl_semi_sync_source_wait_no_replica',
      waitPoint: 'rpl_semi_sync_source_wait_point',
      waitCount: 'rpl_semi_sync_source_wait_for_replica_count',
      standsBy: true,
    };
  }
  return {
    ...masterNames,
    plugins: { primary: pluginOf('master'), replica: pluginOf('slave') },
    waitPoint: from(5, 7, 2) ? 'rpl_semi_sync_master_wait_point' : null,
    waitCount: from(5, 7, 3) ? 'rpl_semi_sync_master_wait_for_slave_count' : null,
    standsBy: from(5, 7, 5),
  };
}

function pluginOf(side: 'master' | 'slave' | 'source' | 'replica'): PluginWords {
  const name = `rpl_semi_sync_${side}`;
  return { name, install: `INSTALL PLUGIN ${name} SONAME 'semisync_${side}.so'` };
}

/** Privileges on all of a server, with what for. */
function everywhere(why: string, ...privileges: string[]): NeededPrivilege[] {
  return privileges.map((privilege) => ({ privilege, on: '*.*', why }));
}

const LOOK = 'to look at the server';
const ACT = 'to make it read-only or writable, and to point it at another primary';
const OWN_TABLES: readonly NeededPrivilege[] = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE'].map(
  (privilege) => ({ privilege, on: `${DBPROXY_SCHEMA}.*`, why: "for dbproxy's own two tables" }),
);

const readsAccounts = (table: string): NeededPrivilege => ({
  privilege: 'SELECT',
  on: `mysql.${table}`,
  why: 'to read who may log in (users = import)',
});

const MARIADB_MONITOR: readonly NeededPrivilege[] = [
  ...everywhere(LOOK, 'BINLOG MONITOR', 'SLAVE MONITOR', 'PROCESS', 'RELOAD'),
  ...everywhere(
    ACT,
    'CONNECTION ADMIN',
    'READ_ONLY ADMIN',
    'REPLICATION SLAVE ADMIN',
    'REPLICATION MASTER ADMIN',
    'SUPER',
  ),
  readsAccounts('global_priv'),
  ...OWN_TABLES,
];

const MARIADB_OLD_MONITOR: readonly NeededPrivilege[] = [
  ...everywhere(LOOK, 'REPLICATION CLIENT', 'PROCESS', 'RELOAD'),
  ...everywhere(ACT, 'SUPER'),
  readsAccounts('user'),
  ...OWN_TABLES,
];

const MYSQL56_MONITOR: readonly NeededPrivilege[] = [
  ...everywhere(LOOK, 'REPLICATION CLIENT', 'REPLICATION SLAVE', 'PROCESS', 'RELOAD'),
  ...everywhere(ACT, 'SUPER'),
  readsAccounts('user'),
  ...OWN_TABLES,
];

const SEE_RECEIVERS: NeededPrivilege = {
  privilege: 'SELECT',
  on: 'performance_schema.*',
  why: 'to see what replicas hear of their primary',
};

const MYSQL57_MONITOR: readonly NeededPrivilege[] = [...MYSQL56_MONITOR, SEE_RECEIVERS];

const MYSQL8_MONITOR: readonly NeededPrivilege[] = [
  ...everywhere(LOOK, 'REPLICATION CLIENT', 'REPLICATION SLAVE', 'PROCESS', 'RELOAD'),
  ...everywhere(ACT, 'CONNECTION_ADMIN', 'SYSTEM_VARIABLES_ADMIN', 'REPLICATION_SLAVE_ADMIN'),
  {
    privilege: 'SYSTEM_USER',
    on: '*.*',
    why: 'so that a failover need not wait 60 s for the rest of a transaction that a dead primary has begun to send',
    optional: true,
  },
  SEE_RECEIVERS,
  readsAccounts('user'),
  ...OWN_TABLES,
];

const COMPARE = 'to see what data the servers have, and whether it is the same';
const ACCOUNTS = 'to make the accounts that are missing';

const BOOTSTRAP: readonly NeededPrivilege[] = [
  ...everywhere(COMPARE, 'SELECT', 'SHOW DATABASES'),
  ...everywhere(ACCOUNTS, 'CREATE USER', 'REPLICATION SLAVE', GRANT_OPTION),
];

const MARIADB_BOOTSTRAP: readonly NeededPrivilege[] = [
  ...BOOTSTRAP,
  ...everywhere('to change one server without the others', 'BINLOG ADMIN'),
];

const MYSQL5_BOOTSTRAP: readonly NeededPrivilege[] = [
  ...BOOTSTRAP,
  { privilege: 'INSERT', on: 'mysql.plugin', why: 'to install the plugins of semi-synchronous replication' },
];

const MYSQL8_BOOTSTRAP: readonly NeededPrivilege[] = [
  ...MYSQL5_BOOTSTRAP,
  ...everywhere('to set what holds from the next start on', 'PERSIST_RO_VARIABLES_ADMIN'),
];

const REJOIN = 'so that REJOIN can list, make again and undo what only an old primary has';
const LOST_ROWS = everywhere(REJOIN, 'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRIGGER');

const CLONE = 'to fill a server from another one';

const CLONE_PLUGIN: PluginWords = { name: 'clone', install: "INSTALL PLUGIN clone SONAME 'mysql_clone.so'" };

/** https://dev.mysql.com/doc/refman/8.4/en/clone-plugin-remote.html */
const BY_PLUGIN = {
  source: everywhere(CLONE, 'BACKUP_ADMIN'),
  target: everywhere(CLONE, 'CLONE_ADMIN'),
};

/** https://mariadb.com/kb/en/mariadb-dump/; loading takes what makes any object. */
const BY_DUMP = {
  source: everywhere(CLONE, 'SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT', 'LOCK TABLES'),
  target: everywhere(
    CLONE,
    ...['CREATE', 'ALTER', 'DROP', 'INSERT', 'INDEX', 'REFERENCES', 'LOCK TABLES'],
    ...['CREATE VIEW', 'CREATE ROUTINE', 'ALTER ROUTINE', 'EVENT', 'TRIGGER'],
  ),
};

const REPLICATION: readonly NeededPrivilege[] = everywhere('to receive the changes', 'REPLICATION SLAVE');
