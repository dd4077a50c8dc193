/**
 * Two MariaDB servers that are to be a primary and its replica, made from nothing in seconds. Whoever starts them says
 * how they become a pair, once. From then on they are only started: both boot read-only, a replica goes on replicating as
 * it was told, and which one is writable is left to dbproxy, which alone knows what a promotion or a crash has changed.
 */
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { DatabaseServer } from './database-server.ts';
import { initialiseDataDirectory, mariaDbServer } from './mariadb-server.ts';

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

export interface PairOptions {
  /** Each server gets a folder of its name in here. */
  directory: string;
  names: readonly [string, string];
  ports: readonly [number, number];
  clock: Clock;
  /** Makes a pair of two servers that are none yet; the first is to be its primary. */
  setUp: (servers: readonly [DatabaseServer, DatabaseServer]) => Promise<void>;
  /** A commit waits this long for the replica. */
  semiSyncTimeoutMs: number;
  /** Run once, when the data directories are made. */
  sql: readonly string[];
  extraOptions?: readonly string[];
  /** A folder with a `data` that `initialiseDataDirectory` made, to copy from. */
  template?: string;
  signalWhenOrphaned?: 'TERM' | 'KILL';
  onCrash?: (server: DatabaseServer, how: string) => void;
}

export interface Pair {
  readonly servers: readonly [DatabaseServer, DatabaseServer];
  /** Stops both. */
  stop(): Promise<void>;
}

/** The statements that make a new server ready for an application, and for nothing else. */
export function applicationSql(): string[] {
  const { application } = PAIR_ACCOUNTS;
  return [
    // An anonymous account would come before app@'%' for clients on this machine.
    "delete from mysql.global_priv where user = ''",
    // root comes in by the socket only, and that lies in a folder of the owner's.
    "delete from mysql.global_priv where user = 'root' and host <> 'localhost'",
    'flush privileges',
    'create database demo',
    createUserSql(application),
    `grant all on demo.* to ${application.user}@'%'`,
  ];
}

/** Makes an account that may come from anywhere. */
export function createUserSql({ user, password }: Account): string {
  return `create user ${user}@'%' identified via mysql_native_password using password('${password}')`;
}

/** Starts the pair, making it first where it is missing. On failure nothing is left running. */
export async function startPair(options: PairOptions): Promise<Pair> {
  await makeDataDirectories(options);
  const servers = [newServer(options, 0), newServer(options, 1)] as const;
  try {
    await Promise.all(servers.map((server) => server.start()));
    if (!(await areSetUp(servers))) await options.setUp(servers);
  } catch (error) {
    await Promise.all(servers.map((server) => server.kill()));
    throw error;
  }
  return {
    servers,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
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
        await initialiseDataDirectory(partial, options.sql, options.clock);
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
      '--read-only=1',
      // More than dbproxy takes of a backend at most, by default.
      '--max-connections=250',
      '--rpl-semi-sync-master-wait-point=AFTER_SYNC',
      `--rpl-semi-sync-master-timeout=${options.semiSyncTimeoutMs}`,
      // When the replica connects anew, its place is looked for from the start of the newest file.
      '--max-binlog-size=128M',
      // What the replica has been sent is on this server's disk, too.
      '--sync-binlog=1',
      // A replica that flushes for each commit keeps up only when it applies several at a time.
      '--slave-parallel-threads=16',
      // After a crash it takes out what no replica has acknowledged, instead of committing it.
      '--init-rpl-role=SLAVE',
      '--rpl-semi-sync-slave-enabled=ON',
      // … and keeps what a client was told of, also where no replica has it.
      '--innodb-flush-log-at-trx-commit=3',
      `--report-host=127.0.0.1`,
      `--report-port=${options.ports[index]}`,
      ...(options.extraOptions ?? []),
    ],
    ...(options.signalWhenOrphaned && { signalWhenOrphaned: options.signalWhenOrphaned }),
    ...(options.onCrash && { onCrash: options.onCrash }),
  });
}

/**
 * Setting up ends when the replica has dbproxy's own table from the primary; what was begun and has not come so far is
 * begun anew.
 */
async function areSetUp(servers: readonly DatabaseServer[]): Promise<boolean> {
  const found = await Promise.all(
    servers.map((server) => server.query("show tables from dbproxy like 'epoch'").catch(() => [])),
  );
  return found.every((tables) => tables.length > 0);
}
