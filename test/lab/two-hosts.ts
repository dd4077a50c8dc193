/**
 * The network of a real pair: two hosts, each with a database server, keepalived and dbproxy, and a gateway, on one
 * switch (hosts.ts: network namespaces in a world that is gone when the test's process is). Both have the same proxy.conf
 * but for their own folders, and keepalived as dbproxy sets it up. The test itself stands at the switch, as an application
 * does: it reaches the pair by its virtual addresses, and each host by its own.
 *
 *   h1 10.99.0.1   h2 10.99.0.2   gateway 10.99.0.254   the test 10.99.0.9   write VIP 10.99.0.100   read VIP 10.99.0.101
 *
 * What can happen to it are methods: hosts that lose their power, cables that are pulled, hosts that do not see each
 * other any more or hear only half of it; and what operators do: addresses that are sent away, orders in haconf.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { certificate } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { copyData } from './copy-data.ts';
import { follow, GRANT_ALL, hostServer, lead, SERVER_PORT, type HostFlavour } from './host-servers.ts';
import { goFirst, Host } from './hosts.ts';
import { Keepalived } from './keepalived.ts';
import { makeTemplate, temporaryDirectory } from './pair.ts';
import {
  mergeSections,
  prepareProxy,
  type ConfigSections,
  type ProxyPorts,
  type ProxyProcess,
} from './proxy.ts';

/** Where the test and its clients stand: what `insideOwnNetwork` is to be told. */
export const CLIENT_ADDRESS = '10.99.0.9';
export const WRITE_VIP = '10.99.0.100';
export const READ_VIP = '10.99.0.101';
export const PAIR_PORTS: ProxyPorts = { write: 6446, read: 6447, split: 6448, admin: 6032, http: 9104 };

const NETWORK = '10.99.0.0/24';
const GATEWAY_NUMBER = 254;
const SETTLE_MS = 30_000;
/** The VRRP instance, as it is called unless told otherwise. */
const INSTANCE = 'vi_dbproxy_51';

export type HostName = 'h1' | 'h2';

export interface TwoHostsOptions {
  readonly flavour: HostFlavour;
  /** For both proxies, key by key over the lab's own. */
  readonly config?: ConfigSections;
}

/** What an operator orders in haconf; the rest says nothing. */
export interface Orders {
  readonly maintenance?: boolean;
  /** The address of the host whose server is to be the primary. */
  readonly master?: string;
  readonly errorMode?: boolean;
}

/** One of the two, with what runs on it. */
export class PairHost {
  readonly name: HostName;
  readonly host: Host;
  readonly proxy: ProxyProcess;
  readonly keepalived: Keepalived;
  readonly #flavour: HostFlavour;
  readonly #directory: string;
  #server: DatabaseServer;

  private constructor(host: Host, number: 1 | 2, proxy: ProxyProcess, place: PairPlace) {
    this.name = number === 1 ? 'h1' : 'h2';
    this.host = host;
    this.proxy = proxy;
    this.#flavour = place.flavour;
    this.#directory = place.directory;
    this.#server = this.#newServer();
    this.order({});
    this.keepalived = new Keepalived({
      host,
      directory: join(place.directory, `keepalived${number}`),
      proxyConfigPath: proxy.configPath,
    });
  }

  /** Its network is there, its server has data, its files are written; nothing runs yet. */
  static async open(number: 1 | 2, place: PairPlace): Promise<PairHost> {
    const { directory, flavour, config } = place;
    const data = join(directory, `db${number}`);
    mkdirSync(data, { mode: 0o700 });
    await copyData(await makeTemplate(flavour), data);
    const host = await Host.open(`h${number}`, number);
    const command = (...program: string[]): readonly string[] => host.command(...program);
    const proxy = await prepareProxy(
      { directory, serverPorts: [SERVER_PORT, SERVER_PORT], number },
      {
        workers: 1,
        readyWhen: 'alive',
        config: { ...config, keepalived: { ...config['keepalived'], haconf: haconfOf(directory, number) } },
        host: { address: host.address, ports: PAIR_PORTS, command },
      },
    );
    return new PairHost(host, number, proxy, place);
  }

  /** Named db1 on h1, db2 on h2. */
  get server(): DatabaseServer {
    return this.#server;
  }

  get number(): 1 | 2 {
    return this.name === 'h1' ? 1 : 2;
  }

  /** Whether its network card has a VIP now; the write VIP unless told otherwise. */
  holds(vip: string = WRITE_VIP): boolean {
    return this.host.addresses().includes(vip);
  }

  /** As if its plug were pulled: nobody hears it die. */
  async powerOff(): Promise<void> {
    this.host.powerOff();
    await Promise.all([this.#server.kill(), this.proxy.ended(), this.keepalived.kill()]);
  }

  /** Its server, after its network is back (`host.powerOn`). */
  async startServer(): Promise<void> {
    this.#server = this.#newServer();
    await this.#server.start();
  }

  /** Its power is back: its network, its server, keepalived and dbproxy. */
  async boot(): Promise<void> {
    await this.host.powerOn();
    await this.startServer();
    this.keepalived.start();
    await this.proxy.start();
  }

  /** dbproxy as a crash of its supervisor is: its workers end by themselves. */
  async killProxy(): Promise<void> {
    this.proxy.signal('SIGKILL');
    await this.proxy.ended();
  }

  /** Sends the addresses of a VRRP instance to the other host, or lets this one have them again. */
  sendAway(away: boolean, instance: string = INSTANCE): void {
    writeFileSync(join(this.proxy.stateDirectory, `${instance}.away`), away ? '1\n' : '0\n');
  }

  /** Writes haconf. */
  order({ maintenance = false, master = 'null', errorMode = false }: Orders): void {
    const yes = (on: boolean): string => (on ? 'Y' : 'N');
    writeFileSync(
      haconfOf(this.#directory, this.number),
      `${yes(maintenance)} dbproxy /usr ${SERVER_PORT} ${master} null ${yes(errorMode)} ${INSTANCE} null null\n`,
    );
  }

  async close(): Promise<void> {
    if (this.host.isOn) await this.powerOff();
  }

  #newServer(): DatabaseServer {
    const name = `db${this.number}`;
    return hostServer({
      flavour: this.#flavour,
      name,
      serverId: this.number,
      directory: join(this.#directory, name),
      host: this.host,
    });
  }
}

/** Where the hosts of a pair have their files, and what both are told. */
interface PairPlace {
  readonly directory: string;
  readonly flavour: HostFlavour;
  readonly config: ConfigSections;
}

export class TwoHosts {
  readonly flavour: HostFlavour;
  readonly h1: PairHost;
  readonly h2: PairHost;
  readonly #directory: string;
  readonly #gateway: Host;

  private constructor(
    flavour: HostFlavour,
    directory: string,
    hosts: readonly [PairHost, PairHost],
    gateway: Host,
  ) {
    this.flavour = flavour;
    this.#directory = directory;
    [this.h1, this.h2] = hosts;
    this.#gateway = gateway;
  }

  /** The network, and the two servers as a semi-synchronous pair, db1 the primary; no dbproxy and no keepalived yet. */
  static async open(options: TwoHostsOptions): Promise<TwoHosts> {
    const { flavour } = options;
    goFirst();
    const directory = temporaryDirectory();
    const gateway = await Host.open('gateway', GATEWAY_NUMBER);
    const config = mergeSections(pairConfig(directory, gateway.address), options.config ?? {});
    const place = { directory, flavour, config };
    const hosts = await Promise.all([PairHost.open(1, place), PairHost.open(2, place)]);
    const pair = new TwoHosts(flavour, directory, hosts, gateway);
    try {
      await Promise.all(hosts.map(({ server }) => server.start()));
      await lead(flavour, pair.h1.server);
      await follow(flavour, pair.h2.server, pair.h1.host.address);
      await pair.h1.server.execute(GRANT_ALL, CREATE_WRITTEN);
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  get hosts(): readonly [PairHost, PairHost] {
    return [this.h1, this.h2];
  }

  other(host: PairHost): PairHost {
    return host === this.h1 ? this.h2 : this.h1;
  }

  /** Who has a VIP, by default the write VIP; both is what must not last. */
  holders(vip: string = WRITE_VIP): HostName[] {
    return this.hosts.filter((host) => host.holds(vip)).map(({ name }) => name);
  }

  /** Resolves when this host, and no other, has the VIP; by default any single one, and the write VIP. */
  async untilHeld(by?: HostName, vip: string = WRITE_VIP): Promise<PairHost> {
    return eventually(() => {
      const [holder, ...others] = this.holders(vip);
      const held = `the VIP is at ${[holder ?? 'nobody', ...others].join(' and ')}`;
      if (holder === undefined || others.length > 0 || (by !== undefined && holder !== by))
        throw new Error(held);
      return this[holder];
    }, SETTLE_MS);
  }

  /** From now on the two do not see each other; the gateway and the clients see both. */
  cutBetween(): void {
    for (const { host } of this.hosts) host.setApart(true);
  }

  healBetween(): void {
    for (const { host } of this.hosts) host.setApart(false);
  }

  cutGateway(): void {
    this.#gateway.cut();
  }

  mendGateway(): void {
    this.#gateway.mend();
  }

  async close(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.close()));
    this.#gateway.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The same for both: nothing acknowledged is lost, and what can be done by itself is. */
function pairConfig(directory: string, gateway: string): ConfigSections {
  const hosts = ['10.99.0.1', '10.99.0.2'] as const;
  const { cert, key } = certificate({ ipAddresses: [...hosts] });
  const files = { tls_cert: join(directory, 'admin.pem'), tls_key: join(directory, 'admin.key') };
  writeFileSync(files.tls_cert, cert);
  writeFileSync(files.tls_key, key);
  return {
    admin: { address: `0.0.0.0:${PAIR_PORTS.admin}`, allow: `127.0.0.0/8, ${NETWORK}`, ...files },
    http: { address: `0.0.0.0:${PAIR_PORTS.http}`, allow: `127.0.0.0/8, ${NETWORK}` },
    peer: {
      address: hosts.map((host) => `${host}:${PAIR_PORTS.admin}`).join(', '),
      user: 'pair',
      password: 'secret-of-pair',
      tls_ca: files.tls_cert,
      peer_timeout: '2s',
    },
    keepalived: {
      vip: `${WRITE_VIP}/24, ${READ_VIP}/24`,
      interface: 'eth0',
      gateway,
      hosts: hosts.join(', '),
      advert_int: '250ms',
      // The machine of the tests may be busy.
      check_timeout: '2s',
    },
    'cluster main': {
      // As they are where nobody has set them.
      check_interval: '1s',
      check_fast_interval: '250ms',
      check_timeout: '1s',
      failover: 'auto',
      rejoin: 'auto',
      enforce_read_only: 'on',
      failover_cooldown: '0s',
      semi_sync: 'require',
      arbiter: `ping:${gateway}`,
    },
    'backend db1': { address: `${hosts[0]}:${SERVER_PORT}`, rw_weight: 1 },
    'backend db2': { address: `${hosts[1]}:${SERVER_PORT}`, rw_weight: 1 },
    'listener write': { address: `${WRITE_VIP}:${PAIR_PORTS.write}` },
    'listener split': { address: `${WRITE_VIP}:${PAIR_PORTS.split}` },
    'listener read': { address: `${READ_VIP}:${PAIR_PORTS.read}` },
  };
}

function haconfOf(directory: string, number: 1 | 2): string {
  return join(directory, `haconf${number}`);
}
