/**
 * What chaos is made in: two or three real servers, each on a host of its own with a small disk of its own, set up
 * as a semi-synchronous cluster, and one dbproxy before them that must lose nothing (`semi_sync = require`).
 */
import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { follow, GRANT_ALL, hostServer, lead, SERVER_PORT, type HostFlavour } from '../lab/host-servers.ts';
import { Host, mountSmallDisk, SWITCH_ADDRESS, unmountSmallDisk } from '../lab/hosts.ts';
import { copyData } from '../lab/copy-data.ts';
import { makeTemplate, temporaryDirectory } from '../lab/pair.ts';
import { startProxy, type ConfigSections, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { CREATE_WRITTEN } from './workload.ts';

/** The data of an empty server, and room for what a few minutes write. */
const DISK_MEGABYTES = 600;
const SETTLE_MS = 60_000;

export type { HostFlavour as ChaosFlavour } from '../lab/host-servers.ts';

/** One server on its host. */
export interface Machine {
  readonly host: Host;
  readonly server: DatabaseServer;
  /** Its data directory lies here, on a disk of its own. */
  readonly disk: string;
}

export interface ChaosOptions {
  readonly flavour: HostFlavour;
  readonly servers: number;
  readonly config?: ConfigSections;
  /** Of each server. */
  readonly diskMegabytes?: number;
  /** Servers flush each commit to their disks, which lie in memory here: a crash of one costs it nothing acknowledged. */
  readonly durable?: boolean;
}

export class ChaosCluster {
  readonly flavour: HostFlavour;
  readonly directory: string;
  readonly machines: readonly Machine[];
  readonly #template: string;
  readonly #arbiter: net.Server;
  #proxy: ProxyProcess | null = null;

  private constructor(
    flavour: HostFlavour,
    directory: string,
    template: string,
    machines: readonly Machine[],
    arbiter: net.Server,
  ) {
    this.#arbiter = arbiter;
    this.flavour = flavour;
    this.directory = directory;
    this.machines = machines;
    this.#template = template;
  }

  /** Starts the servers and dbproxy; resolves when all is well. */
  static async start(options: ChaosOptions): Promise<ChaosCluster> {
    const { flavour, servers, config = {}, diskMegabytes = DISK_MEGABYTES, durable = false } = options;
    const directory = temporaryDirectory();
    const template = await makeTemplate(flavour);
    const machines: Machine[] = [];
    for (let number = 1; number <= servers; number++) {
      const name = `db${number}`;
      const host = await Host.open(name, number);
      const disk = join(directory, name);
      mountSmallDisk(disk, diskMegabytes);
      await copyData(template, disk);
      machines.push({
        host,
        disk,
        server: hostServer({ flavour, name, serverId: number, directory: disk, host, durable }),
      });
    }
    const arbiter = net.createServer((socket) => socket.destroy()).listen(0, SWITCH_ADDRESS);
    await once(arbiter, 'listening');
    const cluster = new ChaosCluster(flavour, directory, template, machines, arbiter);
    try {
      await Promise.all(machines.map(({ server }) => server.start()));
      const [first, ...others] = machines as [Machine, ...Machine[]];
      await lead(flavour, first.server);
      for (const { server } of others) await follow(flavour, server, first.host.address);
      await first.server.execute(GRANT_ALL, CREATE_WRITTEN);
      cluster.#proxy = await startProxy(
        { directory, serverPorts: [SERVER_PORT, SERVER_PORT], number: 1 },
        { config: sectionsFor(machines, arbiter, config), readyWhen: 'alive' },
      );
      await cluster.untilWell();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  get proxy(): ProxyProcess {
    return this.#proxy!;
  }

  get names(): string[] {
    return this.machines.map(({ server }) => server.name);
  }

  machine(name: string): Machine {
    return this.machines.find(({ server }) => server.name === name)!;
  }

  /** Who takes the writes, by what dbproxy says; null when nobody does. */
  async primary(): Promise<string | null> {
    const rows = await this.proxy.admin("SHOW BACKENDS WHERE role = 'primary'");
    return rows.length === 0 ? null : String(rows[0]!['name']);
  }

  /** What is the matter, by what dbproxy says: its diagnoses with their details. */
  async diagnoses(): Promise<{ name: string; detail: string }[]> {
    const rows = await this.proxy.admin('SHOW DIAGNOSES');
    return rows.map((row) => ({ name: String(row['diagnosis']), detail: String(row['detail']) }));
  }

  /** Resolves when the only diagnosis is AllHealthy; rejects with what is the matter instead. */
  async untilWell(timeoutMs = SETTLE_MS): Promise<void> {
    await eventually(async () => {
      const found = await this.diagnoses();
      if (found.length !== 1 || found[0]!.name !== 'AllHealthy') {
        throw new Error(found.map(({ name, detail }) => `${name}: ${detail}`).join('\n'));
      }
    }, timeoutMs);
  }

  /**
   * Throws a server's data away and has it filled from the primary: what an operator does with a server that has what
   * nobody else has.
   */
  async copyAnew(name: string): Promise<void> {
    const { server, disk } = this.machine(name);
    await server.kill();
    for (const entry of await readdir(disk)) await rm(join(disk, entry), { recursive: true, force: true });
    await copyData(this.#template, disk);
    await server.start();
    await server.execute('set sql_log_bin = 0', GRANT_ALL, 'drop database demo');
    // Not before it has been seen empty; what it was lies a moment back.
    await eventually(() => this.proxy.admin(`CLONE BACKEND ${name}`), SETTLE_MS);
  }

  async stop(): Promise<void> {
    await this.#proxy?.stop();
    await Promise.all(this.machines.map(({ server }) => server.kill()));
    for (const { host, disk } of this.machines) {
      host.close();
      unmountSmallDisk(disk);
    }
    this.#arbiter.close();
  }
}

function sectionsFor(
  machines: readonly Machine[],
  arbiter: net.Server,
  config: ConfigSections,
): ConfigSections {
  const sections: ConfigSections = {
    'cluster main': {
      failover: 'auto',
      rejoin: 'auto',
      enforce_read_only: 'on',
      failover_cooldown: '0s',
      semi_sync: 'require',
      write_check: 'on',
      arbiter: `tcp:${SWITCH_ADDRESS}:${(arbiter.address() as net.AddressInfo).port}`,
      check_interval: '1s',
      check_fast_interval: '250ms',
      check_timeout: '1s',
    },
  };
  // Half of the clients with marks, half without: either may be told nothing that the rows do not say.
  sections['listener write'] = { mark_commits: 'on' };
  for (const { server, host } of machines) {
    sections[`backend ${server.name}`] = {
      cluster: 'main',
      address: `${host.address}:${SERVER_PORT}`,
      rw_weight: 1,
    };
  }
  for (const [heading, keys] of Object.entries(config)) sections[heading] = { ...sections[heading], ...keys };
  return sections;
}
