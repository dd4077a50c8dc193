/**
 * A primary and its replica: two MariaDB servers with GTID replication, semi-synchronous, made from
 * nothing in seconds. Both boot read-only and not replicating; then the roles they had are found again
 * (`roles.ts`) and given to them. So a promotion survives a restart, and no restart makes two writers.
 */
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { DatabaseServer, Row } from './database-server.ts';
import { initialiseDataDirectory, mariaDbServer } from './mariadb-server.ts';
import { choosePrimary } from './roles.ts';

/** A name with its password. */
export interface Account {
  user: string;
  password: string;
}

/** The accounts that dbproxy and an application use on the pair. */
export const PAIR_ACCOUNTS = {
  application: { user: 'app', password: 'app' },
  monitor: { user: 'monitor', password: 'monitor' },
  replication: { user: 'replication', password: 'replication' },
} as const satisfies Record<string, Account>;

/** What dbproxy's monitor account needs: to look at a server, and to promote it. */
const MONITOR_PRIVILEGES = [
  'binlog monitor',
  'slave monitor',
  'process',
  'reload',
  'connection admin',
  'read_only admin',
  'replication slave admin',
  'replication master admin',
  'super',
];

/** A write waits this long for the replica to have it; then the primary goes on without. */
const SEMI_SYNC_TIMEOUT_MS = 1000;

export interface PairOptions {
  /** Each server gets a folder of its name in here. */
  directory: string;
  names: readonly [string, string];
  ports: readonly [number, number];
  clock: Clock;
  /**
   * Makes a pair of two servers that are none yet, with whom it is to have as its primary; without it they are
   * told their roles here, and no more.
   */
  setUp?: (primary: DatabaseServer, servers: readonly DatabaseServer[]) => Promise<void>;
  /** A commit waits this long for the replica; without it, a second. */
  semiSyncTimeoutMs?: number;
  extraOptions?: readonly string[];
  /** A folder with a `data` that `initialiseDataDirectory` made, to copy from. */
  template?: string;
  signalWhenOrphaned?: 'TERM' | 'KILL';
  onCrash?: (server: DatabaseServer, how: string) => void;
}

export interface Pair {
  readonly servers: readonly [DatabaseServer, DatabaseServer];
  /** The server that took the writes when the pair was started. */
  readonly primary: DatabaseServer;
  readonly replica: DatabaseServer;
  /**
   * Starts a server again that has ended, and gives it a role by what it finds: it follows the other one if
   * that is writable, goes on following if it did, and else leads as before. Answers which it was.
   */
  restart(server: DatabaseServer): Promise<'leads' | 'follows'>;
  /** Stops both; remembers which one was writable. */
  stop(): Promise<void>;
}

/** The statements that make a new server ready for an application, and for nothing else. */
function applicationSql(): string[] {
  const { application } = PAIR_ACCOUNTS;
  return [
    // An anonymous account would come before app@'%' for clients on this machine.
    "delete from mysql.global_priv where user = ''",
    // root comes in by the socket only, and that lies in a folder of the owner's.
    "delete from mysql.global_priv where user = 'root' and host <> 'localhost'",
    'flush privileges',
    'create database demo',
    ...createUser(application),
    `grant all on demo.* to ${application.user}@'%'`,
  ];
}

/** The statements that make a new server ready for a pair that is not set up by others. */
export function setupSql(extraSql: readonly string[] = []): string[] {
  const { monitor, replication } = PAIR_ACCOUNTS;
  return [
    ...applicationSql(),
    ...createUser(monitor),
    `grant ${MONITOR_PRIVILEGES.join(', ')} on *.* to ${monitor.user}@'%'`,
    // Who may log in is read from here.
    `grant select on mysql.global_priv to ${monitor.user}@'%'`,
    // The tables that it keeps there itself.
    `grant create, select, insert, update, delete on dbproxy.* to ${monitor.user}@'%'`,
    ...createUser(replication),
    `grant replication slave on *.* to ${replication.user}@'%'`,
    ...extraSql,
  ];
}

function createUser(account: Account): string[] {
  const password = `password('${account.password}')`;
  return [`create user ${account.user}@'%' identified via mysql_native_password using ${password}`];
}

/** Starts the pair, making it first where it is missing. On failure nothing is left running. */
export async function startPair(options: PairOptions): Promise<Pair> {
  await makeDataDirectories(options);
  const servers = [newServer(options, 0), newServer(options, 1)] as const;
  try {
    await Promise.all(servers.map((server) => server.start()));
    const primary = await findPrimary(servers, await recall(options.directory));
    const replica = servers.find((server) => server !== primary)!;
    if (options.setUp !== undefined && !(await isSetUp(primary))) {
      await options.setUp(primary, servers);
    } else {
      await lead(primary);
      await follow(replica, primary);
    }
    return {
      servers,
      primary,
      replica,
      restart: (server) =>
        restart(
          server,
          servers.find((other) => other !== server)!,
        ),
      stop: () => stopPair(options.directory, servers),
    };
  } catch (error) {
    await Promise.all(servers.map((server) => server.kill()));
    throw error;
  }
}

/** A data directory is made beside its place and moved there whole: half of one is never taken for one. */
async function makeDataDirectories(options: PairOptions): Promise<void> {
  let source = options.template;
  for (const name of options.names) {
    const directory = join(options.directory, name);
    const data = join(directory, 'data');
    if (!existsSync(data)) {
      const partial = join(options.directory, `${name}.partial`);
      await rm(partial, { recursive: true, force: true });
      await mkdir(directory, { recursive: true, mode: 0o700 });
      if (source === undefined) {
        const sql = options.setUp === undefined ? setupSql() : applicationSql();
        await initialiseDataDirectory(partial, sql, options.clock);
      } else {
        await cp(join(source, 'data'), join(partial, 'data'), { recursive: true });
      }
      await rename(join(partial, 'data'), data);
      await rm(partial, { recursive: true });
      source ??= directory;
    }
  }
}

function newServer(options: PairOptions, index: 0 | 1): DatabaseServer {
  const name = options.names[index];
  return mariaDbServer({
    name,
    directory: join(options.directory, name),
    port: options.ports[index],
    serverId: index + 1,
    clock: options.clock,
    extraOptions: [
      '--log-bin=binlog',
      '--log-slave-updates',
      '--binlog-format=row',
      '--relay-log=relay',
      '--skip-slave-start',
      '--read-only=1',
      // More than dbproxy takes of a backend at most, by default.
      '--max-connections=250',
      '--rpl-semi-sync-master-wait-point=AFTER_SYNC',
      `--rpl-semi-sync-master-timeout=${options.semiSyncTimeoutMs ?? SEMI_SYNC_TIMEOUT_MS}`,
      // After a crash it takes out what no replica has acknowledged, instead of committing it.
      '--init-rpl-role=SLAVE',
      '--rpl-semi-sync-slave-enabled=ON',
      `--report-host=127.0.0.1`,
      `--report-port=${options.ports[index]}`,
      ...(options.extraOptions ?? []),
    ],
    ...(options.signalWhenOrphaned && { signalWhenOrphaned: options.signalWhenOrphaned }),
    ...(options.onCrash && { onCrash: options.onCrash }),
  });
}

async function findPrimary(
  servers: readonly DatabaseServer[],
  remembered: string | null,
): Promise<DatabaseServer> {
  const observations = await Promise.all(
    servers.map(async (server) => {
      const source = await sourceOf(server);
      const [position] = await server.query('select @@gtid_current_pos as position');
      return {
        name: server.name,
        followsPort: source === undefined ? null : Number(source['Master_Port']),
        gtidCurrentPosition: position?.['position'] as string,
      };
    }),
  );
  const name = choosePrimary(observations, remembered);
  return servers.find((server) => server.name === name)!;
}

/** Setting up ends with a row in dbproxy's own table; one that was begun and has not ended is begun anew. */
async function isSetUp(primary: DatabaseServer): Promise<boolean> {
  const found = await primary.query("show tables from dbproxy like 'epoch'").catch(() => []);
  return found.length > 0;
}

/** Makes a server the primary: it follows nobody, waits for a replica's receipt, and can be written. */
async function lead(server: DatabaseServer): Promise<void> {
  if ((await sourceOf(server)) !== undefined) await server.execute('stop slave', 'reset slave all');
  await server.execute(
    'set global rpl_semi_sync_slave_enabled = 0',
    'set global rpl_semi_sync_master_enabled = 1',
    'set global read_only = 0',
  );
}

/** Makes a server the replica of `primary`, from the last transaction it has; a history of its own counts. */
async function follow(server: DatabaseServer, primary: DatabaseServer): Promise<void> {
  await server.execute(
    'set global rpl_semi_sync_master_enabled = 0',
    'set global rpl_semi_sync_slave_enabled = 1',
  );
  const source = await sourceOf(server);
  if (Number(source?.['Master_Port']) !== primary.port || source?.['Using_Gtid'] !== 'Slave_Pos') {
    const { user, password } = PAIR_ACCOUNTS.replication;
    await server.execute(
      `change master to master_host = '127.0.0.1', master_port = ${primary.port}, master_user = '${user}',
       master_password = '${password}', master_connect_retry = 1, master_heartbeat_period = 0.5,
       master_use_gtid = slave_pos,
       master_demote_to_slave = 1`,
    );
  }
  await server.execute('start slave');
}

async function restart(server: DatabaseServer, other: DatabaseServer): Promise<'leads' | 'follows'> {
  await server.start();
  const otherWrites = other.running && (await isWritable(other));
  const source = await sourceOf(server);
  if (!otherWrites && source === undefined) {
    await lead(server);
    return 'leads';
  }
  if (otherWrites) await follow(server, other);
  else await server.execute('start slave');
  return 'follows';
}

async function isWritable(server: DatabaseServer): Promise<boolean> {
  const [row] = await server.query('select @@read_only as readOnly');
  return Number(row?.['readOnly']) === 0;
}

/** SHOW SLAVE STATUS: undefined when the server was set up to follow nobody. */
async function sourceOf(server: DatabaseServer): Promise<Row | undefined> {
  return (await server.query('show slave status'))[0];
}

async function stopPair(directory: string, servers: readonly DatabaseServer[]): Promise<void> {
  for (const server of servers.filter((candidate) => candidate.running)) {
    if (await isWritable(server).catch(() => false)) await remember(directory, server.name);
  }
  await Promise.all(servers.map((server) => server.stop()));
}

function remember(directory: string, primary: string): Promise<void> {
  return writeFile(join(directory, 'primary'), `${primary}\n`);
}

async function recall(directory: string): Promise<string | null> {
  try {
    return (await readFile(join(directory, 'primary'), 'utf8')).trim();
  } catch {
    return null;
  }
}
