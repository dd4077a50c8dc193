/**
 * A primary and a replica for one test file, real servers of any flavour on free ports, up within a second
 * or two: the data directory is made once for this machine and copied. Whatever happens to the test, the
 * servers die with its process and the folder goes with them.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createConnection,
  type Connection,
  type ConnectionOptions,
  type RowDataPacket,
} from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer } from '../../src/demo/database-server.ts';
import { initialiseDataDirectory } from '../../src/demo/mariadb-server.ts';
import type { LabFlavour } from './flavours.ts';
import { mariaDbSetup, startMariaDbPair } from './mariadb.ts';
import { initialiseMySql, mysqldOf, mySqlSetup, startMySqlPair } from './mysql.ts';
import { freePorts } from './ports.ts';
import { startProxy, type ProxyOptions, type ProxyProcess } from './proxy.ts';

/** An account that may do everything, also write on a read-only server. */
export const ADMIN_ACCOUNT = { user: 'root2', password: 'root2' } as const;

const NO_SUCH_THREAD = 1094;

const EXTRA_SQL = [
  `create user root2@'%' identified via mysql_native_password using password('root2')`,
  `grant all privileges on *.* to root2@'%' with grant option`,
];

/** 200 MB in 200 rows, on any server and with any rights. */
export const BIG_RESULT = "select repeat('x', 1000000) from information_schema.columns limit 200";

export interface LabOptions {
  /** Which servers; MariaDB unless told otherwise. */
  flavour?: LabFlavour;
  /** More options of the server program, for both servers. */
  serverOptions?: readonly string[];
  /** False: MySQL 5.6 that replicates by places in binary logs. */
  globalIds?: boolean;
}

/** Two servers, and the proxies that were started on them. */
export interface Lab {
  /** Everything of this lab lies in here. */
  readonly directory: string;
  readonly flavour: LabFlavour;
  readonly db1: DatabaseServer;
  readonly db2: DatabaseServer;
  /** Connects to a server directly: as app on database demo, unless told otherwise. The lab ends it. */
  connect(server: DatabaseServer, options?: ConnectionOptions): Promise<Connection>;
  /** Runs the proxy on this pair; waits until it routes. */
  startProxy(options?: ProxyOptions): Promise<ProxyProcess>;
  /** Stops the proxies, then the servers, and removes the folder. */
  stop(): Promise<void>;
}

/** Starts db1 as the primary and db2 as its replica. */
export async function startPair(options: LabOptions = {}): Promise<Lab> {
  const { flavour = 'mariadb', serverOptions = [], globalIds = true } = options;
  const directory = temporaryDirectory();
  const ports = (await freePorts(2)) as [number, number];
  const [db1, db2] = await startServers(flavour, directory, ports, serverOptions, globalIds);
  const proxies: ProxyProcess[] = [];
  const connections: Connection[] = [];

  return {
    directory,
    flavour,
    db1,
    db2,
    async connect(server, connectionOptions = {}) {
      const connection = await createConnection({
        host: '127.0.0.1',
        port: server.port,
        user: 'app',
        password: 'app',
        database: 'demo',
        ...connectionOptions,
      });
      connection.on('error', () => undefined);
      connections.push(connection);
      return connection;
    },
    async startProxy(proxyOptions = {}) {
      const proxy = await startProxy(
        { directory, serverPorts: ports, number: proxies.length + 1 },
        proxyOptions,
      );
      proxies.push(proxy);
      return proxy;
    },
    async stop() {
      for (const connection of connections) connection.destroy();
      await Promise.all(proxies.map((proxy) => proxy.stop()));
      await Promise.all([db1.kill(), db2.kill()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Ends the connections of a user, as root: over the server's own socket, or on a connection at hand. */
export async function endConnectionsOf(by: DatabaseServer | Connection, user: string): Promise<void> {
  const sql = `select id as id from information_schema.processlist where user = '${user}'`;
  const rows = by instanceof DatabaseServer ? await by.query(sql) : (await by.query<RowDataPacket[]>(sql))[0];
  for (const { id } of rows) {
    await by.query(`kill ${Number(id)}`).catch((error: { errno?: number }) => {
      if (error.errno !== NO_SUCH_THREAD) throw error; // it may have ended by itself
    });
  }
}

/** A folder that is gone when this process is, also when the test failed. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-lab-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function startServers(
  flavour: LabFlavour,
  directory: string,
  ports: [number, number],
  extraOptions: readonly string[],
  globalIds: boolean,
): Promise<readonly [DatabaseServer, DatabaseServer]> {
  const template = await makeTemplate(flavour);
  if (flavour === 'mariadb') return startMariaDbPair({ directory, ports, template, extraOptions });
  return startMySqlPair({ flavour, directory, ports, template, extraOptions, globalIds });
}

/** The folder to copy data directories from; made whole beside its place, so two runs may make it at once. */
export async function makeTemplate(flavour: LabFlavour): Promise<string> {
  const sql = flavour === 'mariadb' ? mariaDbSetup(EXTRA_SQL) : mySqlSetup(flavour);
  const [program, ...args] = flavour === 'mariadb' ? ['/usr/sbin/mariadbd'] : mysqldOf(flavour);
  const version = execFileSync(program, [...args, '--no-defaults', '--version'], { encoding: 'utf8' });
  const key = createHash('sha256')
    .update(JSON.stringify([version, process.getuid?.(), sql]))
    .digest('hex');
  const place = join(tmpdir(), `dbproxy-template-${key.slice(0, 16)}`);
  if (existsSync(place)) return place;
  const partial = mkdtempSync(`${place}-partial-`);
  if (flavour === 'mariadb') await initialiseDataDirectory(partial, sql, systemClock);
  else await initialiseMySql(flavour, partial, sql);
  await rename(partial, place).catch(async (error: NodeJS.ErrnoException) => {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(place)) throw error; // else another run was quicker
  });
  return place;
}
