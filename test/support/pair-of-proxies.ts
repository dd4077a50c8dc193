/**
 * Two dbproxies of a pair on this one machine, for tests: whose host has the VIP is written into a file
 * (pair-member.ts), and the way from each to the other's admin port is a tunnel that can be cut.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import type { Lab } from '../lab/pair.ts';
import { freePorts } from '../lab/ports.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { Tunnel } from '../lab/tunnel.ts';
import { certificate } from './certificates.ts';

const PROGRAM = join(import.meta.dirname, 'pair-member.ts');
const VIP = '10.99.0.100';

/** Sections and their keys, as `lab.startProxy` takes them. */
type Sections = Readonly<Record<string, Readonly<Record<string, string | number>>>>;

export class PairOfProxies {
  readonly #lab: Lab;
  readonly #sections: Sections;
  readonly #files: { readonly tls_cert: string; readonly tls_key: string };
  readonly admins: readonly number[];
  /** The way to the admin port of the first, and to that of the second. */
  readonly #ways: readonly Tunnel[];
  readonly #members: ProxyProcess[] = [];

  private constructor(lab: Lab, sections: Sections, admins: readonly number[], ways: readonly Tunnel[]) {
    this.#lab = lab;
    this.#sections = sections;
    this.admins = admins;
    this.#ways = ways;
    // By its address alone, as `dbproxy init` makes them.
    const { cert, key } = certificate({ dnsNames: [] });
    this.#files = { tls_cert: join(lab.directory, 'admin.pem'), tls_key: join(lab.directory, 'admin.key') };
    writeFileSync(this.#files.tls_cert, cert);
    writeFileSync(this.#files.tls_key, key);
  }

  /** Neither has been started; `sections` are beside what makes them a pair. */
  static async open(lab: Lab, sections: Sections): Promise<PairOfProxies> {
    const admins = await freePorts(2);
    const ways = await Promise.all(admins.map((port) => Tunnel.open(port)));
    return new PairOfProxies(lab, sections, admins, ways);
  }

  /** Starts the first (1), which has the VIP, or the second (2). */
  async start(number: 1 | 2): Promise<ProxyProcess> {
    const directory = join(this.#lab.directory, `proxy${number}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'addresses'), number === 1 ? VIP : '');
    const proxy = await this.#lab.startProxy({
      program: PROGRAM,
      workers: 1,
      readyWhen: 'alive',
      config: {
        ...this.#sections,
        admin: { address: `127.0.0.1:${this.admins[number - 1]}`, ...this.#files },
        peer: {
          address: `127.0.0.1:${this.#ways[2 - number]!.port}`,
          user: 'pair',
          password: 'secret-of-pair',
          tls_ca: this.#files.tls_cert,
          // A machine that is busy with other tests stops a process for longer than half a second.
          peer_timeout: '3s',
        },
        keepalived: { vip: `${VIP}/24`, interface: 'lo' },
        'backend db2': { rw_weight: 1 },
      },
    });
    this.#members[number - 1] = proxy;
    return proxy;
  }

  /** The hosts of these have the VIP now, and no other. */
  giveVip(...holders: ProxyProcess[]): void {
    for (const proxy of this.#members) {
      const addresses = join(dirname(proxy.configPath), 'addresses');
      writeFileSync(addresses, holders.includes(proxy) ? VIP : '');
    }
  }

  /** Nothing passes between the two any more, or (false) all does. */
  cut(isCut: boolean): void {
    for (const way of this.#ways) way.silence(isCut);
  }

  async admin(proxy: ProxyProcess, statement: string): Promise<Record<string, unknown>[]> {
    const port = this.admins[this.#members.indexOf(proxy)]!;
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'admin', password: 'admin' });
    try {
      const [rows] = await connection.query(statement);
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
    } finally {
      connection.destroy();
    }
  }

  async diagnoses(proxy: ProxyProcess): Promise<unknown[]> {
    return (await this.admin(proxy, 'SHOW DIAGNOSES')).map(({ diagnosis }) => diagnosis);
  }

  async primaryOf(proxy: ProxyProcess): Promise<unknown> {
    return (await this.admin(proxy, 'SHOW CLUSTERS'))[0]?.['primary'];
  }

  /** One row through its write endpoint. */
  async write(proxy: ProxyProcess): Promise<void> {
    const connection = await proxy.connect('write');
    try {
      await connection.query('CREATE TABLE IF NOT EXISTS pair (id INT AUTO_INCREMENT PRIMARY KEY, v INT)');
      await connection.query('INSERT INTO pair (v) VALUES (1)');
    } finally {
      connection.destroy();
    }
  }

  close(): void {
    for (const way of this.#ways) way.close();
  }
}
