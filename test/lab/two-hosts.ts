/**
 * The network of a real pair: two hosts, each with a database server, keepalived and dbproxy, and a gateway, on one
 * switch (hosts.ts: network namespaces in a world that is gone when the test's process is). The test itself stands at the
 * switch, as an application does: it reaches the pair by its virtual addresses, and each host by its own.
 *
 *   h1 10.99.0.1   h2 10.99.0.2   gateway 10.99.0.254   the test 10.99.0.9   write VIP 10.99.0.100   read VIP 10.99.0.101
 *
 * What can happen to it are methods: hosts that lose their power, cables that are pulled, hosts that do not see each
 * other any more or hear only half of it.
 */
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { eventually } from '../support/eventually.ts';
import { copyData } from './copy-data.ts';
import { follow, GRANT_ALL, hostServer, lead, SERVER_PORT, type HostFlavour } from './host-servers.ts';
import { Host } from './hosts.ts';
import { Keepalived } from './keepalived.ts';
import { makeTemplate, temporaryDirectory } from './pair.ts';
import { startProxy, type ConfigSections, type ProxyPorts, type ProxyProcess } from './proxy.ts';

/** Where the test and its clients stand: what `insideOwnNetwork` is to be told. */
export const CLIENT_ADDRESS = '10.99.0.9';
export const WRITE_VIP = '10.99.0.100';
export const READ_VIP = '10.99.0.101';
export const PAIR_PORTS: ProxyPorts = { write: 6446, read: 6447, split: 6448, admin: 6032, http: 9104 };

const NETWORK = '10.99.0.0/24';
const GATEWAY_NUMBER = 254;
const SETTLE_MS = 30_000;

export type HostName = 'h1' | 'h2';

export interface TwoHostsOptions {
  readonly flavour: HostFlavour;
  /** For both proxies, key by key over the lab's own. */
  readonly config?: ConfigSections;
}

/** One of the two, with what runs on it. */
export class PairHost {
  readonly name: HostName;
  readonly host: Host;
  readonly keepalived: Keepalived;
  readonly #flavour: HostFlavour;
  readonly #directory: string;
  readonly #config: ConfigSections;
  #server: DatabaseServer;
  #proxy: ProxyProcess | null = null;

  private constructor(host: Host, number: 1 | 2, directory: string, options: TwoHostsOptions) {
    this.name = number === 1 ? 'h1' : 'h2';
    this.host = host;
    this.#flavour = options.flavour;
    this.#directory = directory;
    this.#config = options.config ?? {};
    this.#server = this.#newServer();
    this.keepalived = new Keepalived({
      host,
      directory: join(directory, `keepalived${number}`),
      priority: 100,
      vips: [`${WRITE_VIP}/24`, `${READ_VIP}/24`],
      checkScript: checkScript(host.address),
      notifyScript: notifyScript(host.address),
    });
  }

  /** Its network is there, its server has data; nothing runs yet. */
  static async open(number: 1 | 2, directory: string, options: TwoHostsOptions): Promise<PairHost> {
    const place = join(directory, `db${number}`);
    mkdirSync(place, { mode: 0o700 });
    await copyData(await makeTemplate(options.flavour), place);
    return new PairHost(await Host.open(`h${number}`, number), number, directory, options);
  }

  /** Named db1 on h1, db2 on h2. */
  get server(): DatabaseServer {
    return this.#server;
  }

  get proxy(): ProxyProcess {
    if (this.#proxy === null) throw new Error(`dbproxy has not been started on ${this.name} yet`);
    return this.#proxy;
  }

  get number(): 1 | 2 {
    return this.name === 'h1' ? 1 : 2;
  }

  /** Whether its network card has the write VIP now. */
  get hasVip(): boolean {
    return this.host.addresses().includes(WRITE_VIP);
  }

  /** Starts dbproxy, or starts it again on its state. */
  async startProxy(): Promise<void> {
    if (this.#proxy === null) this.#proxy = await this.#newProxy();
    else await this.#proxy.start();
    // Its hands are off until keepalived gives it the VIP; what keepalived said while it was dead it has not heard.
    if (!this.hasVip) await this.#proxy.admin('MAINTENANCE ON');
  }

  /** As if its plug were pulled: nobody hears it die. */
  async powerOff(): Promise<void> {
    this.host.powerOff();
    await Promise.all([this.#server.kill(), this.#proxy?.ended(), this.keepalived.kill()]);
  }

  /** Its network and its server, as at boot; `startProxy` and `keepalived.start` are the test's to order. */
  async powerOn(): Promise<void> {
    await this.host.powerOn();
    this.#server = this.#newServer();
    await this.#server.start();
  }

  async close(): Promise<void> {
    if (this.host.isOn) await this.powerOff();
  }

  #newProxy(): Promise<ProxyProcess> {
    const at = (port: number): string => `${this.host.address}:${port}`;
    const config = {
      ...this.#config,
      admin: { address: at(PAIR_PORTS.admin), allow: NETWORK },
      http: { address: at(PAIR_PORTS.http) },
    };
    const command = (...program: string[]): readonly string[] => this.host.command(...program);
    return startProxy(
      { directory: this.#directory, serverPorts: [SERVER_PORT, SERVER_PORT], number: this.number },
      {
        workers: 1,
        readyWhen: 'alive',
        config,
        host: { address: this.host.address, ports: PAIR_PORTS, command },
      },
    );
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
    const directory = temporaryDirectory();
    const gateway = await Host.open('gateway', GATEWAY_NUMBER);
    const config = { ...pairConfig(gateway.address), ...options.config };
    const hosts = await Promise.all([
      PairHost.open(1, directory, { flavour, config }),
      PairHost.open(2, directory, { flavour, config }),
    ]);
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

  /** Who has the write VIP; both is what must not last. */
  holders(): HostName[] {
    return this.hosts.filter(({ hasVip }) => hasVip).map(({ name }) => name);
  }

  /** Resolves when this host, and no other, has the VIP; by default any single one. */
  async untilHeld(by?: HostName): Promise<PairHost> {
    return eventually(() => {
      const [holder, ...others] = this.holders();
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
function pairConfig(gateway: string): ConfigSections {
  return {
    'cluster main': {
      failover: 'auto',
      rejoin: 'auto',
      enforce_read_only: 'on',
      failover_cooldown: '0s',
      semi_sync: 'require',
      arbiter: `ping:${gateway}`,
    },
    'backend db1': { address: `10.99.0.1:${SERVER_PORT}`, rw_weight: 1 },
    'backend db2': { address: `10.99.0.2:${SERVER_PORT}`, rw_weight: 1 },
    'listener write': { address: `${WRITE_VIP}:${PAIR_PORTS.write}` },
    'listener split': { address: `${WRITE_VIP}:${PAIR_PORTS.split}` },
    'listener read': { address: `${READ_VIP}:${PAIR_PORTS.read}` },
  };
}

/** dbproxy answers here, and the gateway does: with neither this host must not have the addresses. */
function checkScript(address: string): string {
  return `exec 3<>/dev/tcp/${address}/${PAIR_PORTS.http} || exit 1
printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
read -r -t 1 _ status _ <&3 || exit 1
[ "$status" = 200 ] || exit 1
ping -q -c 1 -W 1 10.99.0.${GATEWAY_NUMBER} >/dev/null`;
}

/**
 * Two proxies do not know of each other: so it is keepalived that says which of them may act, as an operator could set it
 * up. The other one looks on, routes, and believes a later epoch.
 */
function notifyScript(address: string): string {
  const client = `mariadb --no-defaults --skip-ssl -h ${address} -P ${PAIR_PORTS.admin} -u admin -padmin`;
  return `case $state in master) word=OFF ;; *) word=ON ;; esac
for try in 1 2 3 4 5; do
  ${client} -e "MAINTENANCE $word" && break
  sleep 0.2
done`;
}
