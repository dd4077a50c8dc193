/**
 * Several servers in any shape: who follows whom, on which channel, and one dbproxy before them. Each follower starts
 * to replicate by itself after a restart, as servers in production do.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer } from '../../src/demo/database-server.ts';
import { mariaDbServer } from '../../src/demo/mariadb-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { eventually } from '../support/eventually.ts';
import { copyData } from './copy-data.ts';
import { WORDS, type LabFlavour } from './flavours.ts';
import { BASE_OPTIONS, mysqldOf } from './mysql.ts';
import { GLOBAL_IDS, logging, LOGS_REPLICATED, SEMI_SYNC, SMALL } from './server-options.ts';
import { makeTemplate, temporaryDirectory } from './pair.ts';
import { freePorts } from './ports.ts';
import { startProxy, type ConfigSections, type ProxyOptions, type ProxyProcess } from './proxy.ts';

export type TopologyFlavour = Exclude<LabFlavour, 'mysql56'>;

export interface TopologyOptions {
  readonly flavour: TopologyFlavour;
  /** One writable server of each name; the digits of a name are its server id. */
  readonly names: readonly string[];
  /** More options of the server program, by the server's name; the last one given counts. */
  readonly serverOptions?: Readonly<Record<string, readonly string[]>>;
  /** Statements for each server before anybody follows anybody. */
  readonly before?: Readonly<Record<string, readonly string[]>>;
  /** Who follows whom, in this order, each read-only unless it is in `writable`. */
  readonly follows: readonly (readonly [replica: string, source: string, channel?: string])[];
  /** Who takes writes. */
  readonly writable: readonly string[];
}

export interface Topology {
  readonly directory: string;
  readonly flavour: TopologyFlavour;
  readonly names: readonly string[];
  server(name: string): DatabaseServer;
  /** Has a server follow another one, as an operator would. */
  follow(replica: string, source: string, channel?: string): Promise<void>;
  /** Runs dbproxy on `db1`, `db2` and all others that the configuration names as backends. */
  startProxy(config: ConfigSections, options?: Omit<ProxyOptions, 'config'>): Promise<ProxyProcess>;
  stop(): Promise<void>;
}

/** What REJOIN takes beyond the rest. */
const GRANT_REJOIN = `grant select, insert, update, delete, trigger on demo.* to ${PAIR_ACCOUNTS.monitor.user}@'%'`;

const COMMON = ['--binlog-format=row', '--read-only=1', '--max-connections=250'];

const OPTIONS: Readonly<Record<TopologyFlavour, readonly string[]>> = {
  mariadb: [...SMALL.mariadb, ...LOGS_REPLICATED.mariadb, ...SEMI_SYNC.mariadb],
  mysql97: [...SMALL.mysql97, ...GLOBAL_IDS, ...SEMI_SYNC.mysql97],
};

/** Starts the servers in their shape. */
export async function startTopology(options: TopologyOptions): Promise<Topology> {
  const { flavour, names, serverOptions = {}, before = {}, follows, writable } = options;
  const directory = temporaryDirectory();
  const template = await makeTemplate(flavour);
  const ports = await freePorts(names.length);
  const servers = new Map<string, DatabaseServer>();
  for (const [index, name] of names.entries()) {
    const place = join(directory, name);
    await mkdir(place, { mode: 0o700 });
    await copyData(template, place);
    servers.set(name, newServer(flavour, name, place, ports[index]!, serverOptions[name] ?? []));
  }
  const proxies: ProxyProcess[] = [];
  const server = (name: string): DatabaseServer => servers.get(name)!;

  const follow: Topology['follow'] = async (replica, source, channel) => {
    const { user, password } = PAIR_ACCOUNTS.replication;
    const words = WORDS[flavour];
    const change = words.follow(server(source).port, user, password);
    // It may be the first source of all, which is no error here.
    await server(replica)
      .execute(aimed(flavour, words.stopReplica, channel))
      .catch(() => undefined);
    await server(replica).execute(
      aimed(flavour, change, channel),
      aimed(flavour, words.startReplica, channel),
    );
    await eventually(() => isRunning(replica, channel));
  };
  const isRunning = async (replica: string, channel = ''): Promise<void> => {
    const status = flavour === 'mariadb' ? 'show all slaves status' : 'show replica status';
    const rows = await server(replica).query(status);
    const row = rows.find((one) => (one['Channel_Name'] ?? one['Connection_name']) === channel);
    if ((row?.['Replica_IO_Running'] ?? row?.['Slave_IO_Running']) === 'Yes') return;
    throw new Error(`${replica} does not receive: ${JSON.stringify(row)}`);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await Promise.all([...servers.values()].map((one) => one.kill()));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all([...servers.values()].map((one) => one.start()));
    for (const [name, statements] of Object.entries(before)) await server(name).execute(...statements);
    for (const one of servers.values()) await one.execute('set sql_log_bin = 0', GRANT_REJOIN);
    for (const name of writable) await server(name).execute('set global read_only = 0');
    for (const [replica, source, channel] of follows) await follow(replica, source, channel);
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    directory,
    flavour,
    names,
    server,
    follow,
    stop,
    async startProxy(config, proxyOptions = {}) {
      const sections: ConfigSections = { ...config };
      for (const name of names) {
        const heading = `backend ${name}`;
        const isNamed = name === 'db1' || name === 'db2' || sections[heading] !== undefined;
        if (!isNamed) continue;
        const address = `127.0.0.1:${server(name).port}`;
        sections[heading] = { cluster: 'main', address, ...sections[heading] };
      }
      const serverPorts = [server('db1').port, server('db2').port] as const;
      const proxy = await startProxy(
        { directory, serverPorts, number: proxies.length + 1 },
        { ...proxyOptions, config: sections },
      );
      proxies.push(proxy);
      return proxy;
    },
  };
}

/** A statement about one channel alone. */
export function aimed(flavour: TopologyFlavour, sql: string, channel: string | undefined): string {
  if (channel === undefined) return sql;
  return flavour === 'mysql97'
    ? `${sql} for channel '${channel}'`
    : sql.replace(/^(stop|start|reset) slave|^change master/, (verb) => `${verb} '${channel}'`);
}

function newServer(
  flavour: TopologyFlavour,
  name: string,
  directory: string,
  port: number,
  moreOptions: readonly string[],
): DatabaseServer {
  const options = {
    name,
    directory,
    port,
    serverId: Number(name.replace(/\D/g, '')),
    clock: systemClock,
    signalWhenOrphaned: 'KILL' as const,
    extraOptions: [...COMMON, ...logging(port), ...OPTIONS[flavour], ...moreOptions],
  };
  return flavour === 'mariadb'
    ? mariaDbServer(options)
    : new DatabaseServer(options, [...mysqldOf(flavour), ...BASE_OPTIONS[flavour]()]);
}
