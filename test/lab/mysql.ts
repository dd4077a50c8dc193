/**
 * MySQL 9.7 and 5.6 as servers of the lab: how each is run with little memory, how its data directory is
 * made, and how two of them become a primary and a replica. The counterpart of `src/demo/`, which does
 * the same for MariaDB.
 */
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mysql56Command, mysql97Command, serverFolder } from '../../scripts/mysql-servers.mjs';
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer, userOption } from '../../src/demo/database-server.ts';
import { runToEnd } from '../../src/demo/mariadb-server.ts';
import { PAIR_ACCOUNTS, type Account } from '../../src/demo/pair.ts';
import { copyData } from './copy-data.ts';
import { GLOBAL_IDS, logging, LOGS_REPLICATED, SEMI_SYNC, SMALL } from './server-options.ts';
import { WORDS } from './flavours.ts';

export type MySqlFlavour = 'mysql97' | 'mysql56';

/** A write waits this long for the replica to have it, as in the MariaDB pair. */
const SEMI_SYNC_TIMEOUT_MS = 1000;

/** What dbproxy's monitor account needs: to look at a server, to read its accounts, and to promote it. */
const MONITOR_PRIVILEGES: Readonly<Record<MySqlFlavour, string>> = {
  mysql56: 'super, process, reload, replication client, replication slave',
  mysql97:
    'process, reload, replication client, replication slave, connection_admin, system_variables_admin, replication_slave_admin, system_user',
};

/** What the server is told at every start, also while its data directory is made. */
export const BASE_OPTIONS: Readonly<Record<MySqlFlavour, () => string[]>> = {
  mysql97: () => {
    const usr = join(serverFolder('mysql97'), 'usr');
    return [
      '--no-defaults',
      `--basedir=${usr}`,
      `--lc-messages-dir=${usr}/share/mysql`,
      `--character-sets-dir=${usr}/share/mysql/charsets`,
      `--plugin-dir=${usr}/lib/mysql/plugin`,
      '--secure-file-priv=',
      '--innodb-redo-log-capacity=16M',
      '--innodb-doublewrite=OFF',
    ];
  },
  mysql56: () => {
    const base = serverFolder('mysql56');
    return [
      '--no-defaults',
      `--basedir=${base}`,
      `--lc-messages-dir=${base}/share`,
      '--innodb-log-file-size=4M',
      '--skip-innodb-doublewrite',
    ];
  },
};

const SERVER_OPTIONS: Readonly<Record<MySqlFlavour, readonly string[]>> = {
  mysql97: [
    ...SMALL.mysql97,
    ...LOGS_REPLICATED.mysql97,
    ...SEMI_SYNC.mysql97,
    // `follow` and `lead` say who sends and who waits.
    '--loose-rpl-semi-sync-replica-enabled=OFF',
    '--skip-replica-start',
    `--loose-rpl-semi-sync-source-timeout=${SEMI_SYNC_TIMEOUT_MS}`,
  ],
  mysql56: [...SMALL.mysql56, ...LOGS_REPLICATED.mysql56, '--binlog-format=row', '--skip-slave-start'],
};

export interface MySqlPairOptions {
  readonly flavour: MySqlFlavour;
  readonly directory: string;
  readonly ports: readonly [number, number];
  /** A folder that `initialiseMySql` has filled. */
  readonly template: string;
  readonly extraOptions: readonly string[];
  /** Without: they replicate by places in binary logs. */
  readonly globalIds: boolean;
}

/** Starts db1 as the primary and db2 as its replica, on copies of the template. */
export async function startMySqlPair(
  options: MySqlPairOptions,
): Promise<readonly [DatabaseServer, DatabaseServer]> {
  const servers = await Promise.all([newServer(options, 0), newServer(options, 1)]);
  try {
    await Promise.all(servers.map((server) => server.start()));
    await lead(options.flavour, servers[0]);
    if (options.globalIds) await follow(options.flavour, servers[1], servers[0].port);
    else await followByPlace(servers[1], servers[0]);
    return servers;
  } catch (error) {
    await Promise.all(servers.map((server) => server.kill()));
    throw error;
  }
}

/** The command line of a flavour's server program. */
export function mysqldOf(flavour: MySqlFlavour): [program: string, ...args: string[]] {
  return flavour === 'mysql97' ? mysql97Command('sbin/mysqld') : mysql56Command();
}

/** The statements that make a new server ready for a pair: the accounts that the MariaDB pair has, too. */
export function mySqlSetup(flavour: MySqlFlavour): string[] {
  const { application, monitor, replication } = PAIR_ACCOUNTS;
  return [
    // 5.6 comes with anonymous accounts, which would come before app@'%' for clients on this machine.
    "delete from mysql.user where user = ''",
    "delete from mysql.user where user = 'root' and host <> 'localhost'",
    'flush privileges',
    'create database demo',
    createUser(application),
    `grant all on demo.* to ${application.user}@'%'`,
    createUser(monitor),
    `grant ${MONITOR_PRIVILEGES[flavour]} on *.* to ${monitor.user}@'%'`,
    `grant select on mysql.user to ${monitor.user}@'%'`,
    `grant create, select, insert, update, delete on dbproxy.* to ${monitor.user}@'%'`,
    // 5.6 has no tables there that tell of replication, and this one has its performance schema off.
    ...(flavour === 'mysql97' ? [`grant select on performance_schema.* to ${monitor.user}@'%'`] : []),
    createUser(replication),
    `grant replication slave on *.* to ${replication.user}@'%'`,
    createUser({ user: 'root2', password: 'root2' }),
    "grant all privileges on *.* to root2@'%' with grant option",
  ];
}

/**
 * Makes `directory/data`: the system tables, then `sql`, not logged, so that every server made this way
 * starts with equal accounts and an empty history.
 */
export async function initialiseMySql(
  flavour: MySqlFlavour,
  directory: string,
  sql: readonly string[],
): Promise<void> {
  const data = join(directory, 'data');
  const [program, ...args] = mysqldOf(flavour);
  const folders = [`--datadir=${data}`, `--tmpdir=${data}`];
  const common = [...args, ...BASE_OPTIONS[flavour](), ...userOption(), ...folders];
  const script = ['set sql_log_bin = 0', 'flush privileges', ...sql].map((one) => `${one};\n`).join('');
  if (flavour === 'mysql97') {
    await mkdir(data, { mode: 0o700 });
    const file = join(directory, 'setup.sql');
    await writeFile(file, script);
    const initialise = ['--initialize-insecure', '--skip-log-bin', `--init-file=${file}`];
    await runToEnd(program, [...common, ...initialise], '', systemClock);
  } else {
    // The package brings system tables that are ready for use.
    await cp(join(serverFolder('mysql56'), 'data/mysql'), data, { recursive: true });
    await runToEnd(program, [...common, '--skip-name-resolve', '--bootstrap'], script, systemClock);
  }
  // Copies of one server's id would be one server to their replicas.
  await rm(join(data, 'auto.cnf'), { force: true });
}

function createUser({ user, password }: Account): string {
  return `create user ${user}@'%' identified by '${password}'`;
}

async function newServer(options: MySqlPairOptions, index: 0 | 1): Promise<DatabaseServer> {
  const { flavour, ports, template } = options;
  const name = index === 0 ? 'db1' : 'db2';
  const directory = join(options.directory, name);
  await mkdir(directory, { mode: 0o700 });
  await copyData(template, directory);
  const port = ports[index];
  return new DatabaseServer(
    {
      name,
      directory,
      port,
      serverId: index + 1,
      clock: systemClock,
      signalWhenOrphaned: 'KILL',
      extraOptions: [
        ...SERVER_OPTIONS[flavour],
        ...(options.globalIds ? GLOBAL_IDS : []),
        ...logging(port),
        '--read-only=1',
        ...options.extraOptions,
      ],
    },
    [...mysqldOf(flavour), ...BASE_OPTIONS[flavour]()],
  );
}

/** Makes a server the primary: it waits for a replica's receipt where it can, and takes writes. */
async function lead(flavour: MySqlFlavour, server: DatabaseServer): Promise<void> {
  const { semiSync } = WORDS[flavour];
  if (semiSync !== null) await server.execute(`set global ${semiSync.primary} = 1`);
  await server.execute('set global read_only = 0');
}

async function follow(flavour: MySqlFlavour, server: DatabaseServer, port: number): Promise<void> {
  const words = WORDS[flavour];
  const { user, password } = PAIR_ACCOUNTS.replication;
  if (words.semiSync !== null) await server.execute(`set global ${words.semiSync.replica} = 1`);
  await server.execute(words.follow(port, user, password), words.startReplica);
}

/** MySQL 5.6 without global ids: from where the source stands now, which nobody may write to meanwhile. */
export async function followByPlace(server: DatabaseServer, source: DatabaseServer): Promise<void> {
  const { user, password } = PAIR_ACCOUNTS.replication;
  const [place] = await source.query('show master status');
  await server.execute(
    `change master to master_host = '127.0.0.1', master_port = ${source.port}, master_user = '${user}',
     master_password = '${password}', master_connect_retry = 1, master_heartbeat_period = 0.5,
     master_log_file = '${String(place?.['File'])}', master_log_pos = ${Number(place?.['Position'])}`,
    WORDS.mysql56.startReplica,
  );
}
