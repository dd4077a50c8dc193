/**
 * A primary and a replica for one test file, real servers on free ports, up in well under a second: the
 * data directory is made once for this machine and copied. Whatever happens to the test, the servers die
 * with its process and the folder goes with them.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection, type Connection, type ConnectionOptions } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { initialiseDataDirectory, type MariaDbServer } from '../../src/demo/mariadb-server.ts';
import { setupSql, startPair as startDemoPair } from '../../src/demo/pair.ts';
import { freePorts } from './ports.ts';
import { startProxy, type ProxyOptions, type ProxyProcess } from './proxy.ts';

/** An account that may do everything, also write on a read-only server. */
export const ADMIN_ACCOUNT = { user: 'root2', password: 'root2' } as const;

const EXTRA_SQL = [
  `create user root2@'%' identified via mysql_native_password using password('root2')`,
  `grant all privileges on *.* to root2@'%' with grant option`,
];

export interface LabOptions {
  /** More options of mariadbd, for both servers. */
  serverOptions?: readonly string[];
}

/** Two servers, and the proxies that were started on them. */
export interface Lab {
  /** Everything of this lab lies in here. */
  readonly directory: string;
  readonly db1: MariaDbServer;
  readonly db2: MariaDbServer;
  /** Connects to a server directly: as app on database demo, unless told otherwise. The lab ends it. */
  connect(server: MariaDbServer, options?: ConnectionOptions): Promise<Connection>;
  /** Runs the proxy on this pair; waits until it routes. */
  startProxy(options?: ProxyOptions): Promise<ProxyProcess>;
  /** Stops the proxies, then the servers, and removes the folder. */
  stop(): Promise<void>;
}

/** Starts db1 as the primary and db2 as its replica. */
export async function startPair(options: LabOptions = {}): Promise<Lab> {
  const directory = temporaryDirectory();
  const [port1, port2] = (await freePorts(2)) as [number, number];
  const pair = await startDemoPair({
    directory,
    names: ['db1', 'db2'],
    ports: [port1, port2],
    clock: systemClock,
    template: await template(),
    extraOptions: ['--innodb-flush-log-at-trx-commit=2', ...(options.serverOptions ?? [])],
    signalWhenOrphaned: 'KILL',
  });
  const [db1, db2] = pair.servers;
  const proxies: ProxyProcess[] = [];
  const connections: Connection[] = [];

  return {
    directory,
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
        { directory, serverPorts: [port1, port2], number: proxies.length + 1 },
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

/** A folder that is gone when this process is, also when the test failed. */
function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-lab-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** The folder to copy data directories from; made whole beside its place, so two runs may make it at once. */
async function template(): Promise<string> {
  const sql = setupSql(EXTRA_SQL);
  const version = execFileSync('/usr/sbin/mariadbd', ['--version'], { encoding: 'utf8' });
  const key = createHash('sha256')
    .update(JSON.stringify([version, process.getuid?.(), sql]))
    .digest('hex');
  const place = join(tmpdir(), `dbproxy-template-${key.slice(0, 16)}`);
  if (existsSync(place)) return place;
  const partial = mkdtempSync(`${place}-partial-`);
  await initialiseDataDirectory(partial, sql, systemClock);
  await rename(partial, place).catch(async (error: NodeJS.ErrnoException) => {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(place)) throw error; // else another run was quicker
  });
  return place;
}
