/**
 * Where scenarios are played: a server alone for the direct side; a primary, its replica and proxies in
 * front of them for the other. Both sides begin each scenario with fresh databases and end it with a look
 * at the data: what is written must be the same, and on the replica as well.
 */
import type { Connection, RowDataPacket } from 'mysql2/promise';
import type { LabFlavour } from '../../lab/flavours.ts';
import { WORDS } from '../../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../../lab/pair.ts';
import { freePorts } from '../../lab/ports.ts';
import type { ConfigSections, ProxyProcess } from '../../lab/proxy.ts';
import { eventually } from '../../support/eventually.ts';
import { WireClient, WireFlag } from '../../support/wire-client.ts';
import { ENDPOINTS, NARROW_CONNECTIONS } from './endpoints.ts';
import { LagControl } from './lag.ts';
import type { Answer } from './masks.ts';
import { play } from './player.ts';
import { DATABASES, setupStatements } from './schema.ts';
import type { LagAction, ProfileName, Scenario } from './scenario.ts';

/** Both sides of a scenario: an answer for each step, one for the logins, two for the data that was left. */
export interface Transcripts {
  readonly direct: readonly Answer[];
  readonly proxied: readonly Answer[];
}

const SERVER_OPTIONS = [
  '--log-bin-trust-function-creators=1',
  '--innodb-stats-auto-recalc=0',
  // The applier waits for a held row as long as it takes.
  '--loose-slave-transaction-retries=1000',
  '--loose-replica-transaction-retries=1000',
];

/** No session may be out for its lag: a replica far behind is what this is about. */
const CLUSTER_KEYS = { max_lag: '1h', readmit_lag: '1h' };
const DATA_TIMEOUT_MS = 1_000;
const WARNINGS: readonly unknown[] = ['warn', 'error', 'fatal'];
const NARROW_QUEUE_TIMEOUT = '1s';

export class Arena {
  readonly flavour: LabFlavour;
  readonly #pair: Lab;
  readonly #alone: Lab;
  readonly #lag: LagControl;
  readonly #proxies: Proxies;
  readonly #witnesses: Witnesses;

  private constructor(pair: Lab, alone: Lab, lag: LagControl, proxies: Proxies, witnesses: Witnesses) {
    this.flavour = pair.flavour;
    this.#pair = pair;
    this.#alone = alone;
    this.#lag = lag;
    this.#proxies = proxies;
    this.#witnesses = witnesses;
  }

  /** Starts the servers, and the proxies that these profiles need. */
  static async open(flavour: LabFlavour, profiles: readonly ProfileName[]): Promise<Arena> {
    const [pair, alone] = await Promise.all([newPair(flavour), newPair(flavour)]);
    try {
      await Promise.all([pair, alone].map((lab) => allow(lab)));
      await leaveAlone(alone);
      const lag = await LagControl.open(pair);
      const proxies = await Proxies.start(pair, profiles);
      const witnesses = {
        alone: await alone.db1.connectAsRoot(),
        primary: await pair.db1.connectAsRoot(),
        replica: await pair.db2.connectAsRoot(),
      };
      return new Arena(pair, alone, lag, proxies, witnesses);
    } catch (error) {
      await Promise.all([pair.stop(), alone.stop()]);
      throw error;
    }
  }

  /** Plays a scenario on both sides at once. */
  async play(scenario: Scenario): Promise<Transcripts> {
    const setup = setupStatements(this.flavour, scenario.variablesByTrigger);
    const port = this.#proxies.portOf(scenario.profile) ?? this.#pair.db1.port;
    const makeFresh = async (): Promise<void> => {
      try {
        await freshDatabases(setup, port);
      } catch (error) {
        throw new Error(`${String(error)}\n${await this.#whoIsThere()}`, { cause: error });
      }
    };
    const moveReplica = (action: LagAction): Promise<void> => this.#lag.move(action);
    await Promise.all([
      freshDatabases(setup, this.#alone.db1.port),
      // A worker that has died is back soon.
      this.#lag.move('release').then(() => eventually(makeFresh)),
    ]);
    // This profile promises a session its own writes, and the fresh databases are another's.
    if (scenario.profile === 'own_writes') await this.#lag.move('catch_up');
    const [direct, proxied] = await Promise.all([
      play(scenario, { port: this.#alone.db1.port, moveReplica: async () => undefined }),
      play(scenario, { port, moveReplica }),
    ]);
    await this.#lag.move('catch_up');
    const [alone, primary, replica] = await this.#dataLeft();
    return { direct: [...direct, alone, alone], proxied: [...proxied, primary, replica] };
  }

  /** Who is connected to the primary, and in the middle of what; for the report of a failure. */
  async #whoIsThere(): Promise<string> {
    const { primary } = this.#witnesses;
    const [processes] = await primary.query('show full processlist');
    const [transactions] = await primary.query('select * from information_schema.innodb_trx');
    return JSON.stringify({ processes, transactions }, null, 1);
  }

  /**
   * What lies on the three servers. Transactions that were open are rolled back a moment after their sessions
   * have ended, and CHECKSUM TABLE of MySQL 5.6 sees them until then: so it is given time to become equal.
   */
  async #dataLeft(): Promise<[Answer, Answer, Answer]> {
    const { alone, primary, replica } = this.#witnesses;
    const end = performance.now() + DATA_TIMEOUT_MS;
    for (;;) {
      const data = await Promise.all([dataOf(alone), dataOf(primary), dataOf(replica)]);
      const [first, ...others] = data.map((one) => JSON.stringify(one));
      if (others.every((other) => other === first) || performance.now() > end) return data;
    }
  }

  /** Statements that each backend has served, for all proxies. */
  async served(): Promise<Record<string, number>> {
    return this.#proxies.served();
  }

  /** What the proxies have complained of since the last call: a worker that died, a stack trace. */
  complaints(): string[] {
    return this.#proxies.complaints();
  }

  async close(): Promise<void> {
    await this.#lag.close();
    for (const connection of Object.values(this.#witnesses) as Connection[]) connection.destroy();
    await Promise.all([this.#pair.stop(), this.#alone.stop()]);
  }
}

interface Witnesses {
  readonly alone: Connection;
  readonly primary: Connection;
  readonly replica: Connection;
}

function newPair(flavour: LabFlavour): Promise<Lab> {
  return startPair({ flavour, serverOptions: SERVER_OPTIONS });
}

async function allow(lab: Lab): Promise<void> {
  await lab.db1.execute(...DATABASES.map((database) => `grant all on ${database}.* to app@'%'`));
}

/** The direct side is one server: its replica goes, and it must not wait for one. */
async function leaveAlone(lab: Lab): Promise<void> {
  const { semiSync } = WORDS[lab.flavour];
  if (semiSync !== null) await lab.db1.execute(`set global ${semiSync.primary} = 0`);
  await lab.db2.kill();
  await lab.db1.execute('set global innodb_lock_wait_timeout = 1, global lock_wait_timeout = 2');
}

async function freshDatabases(setup: readonly string[], port: number): Promise<void> {
  const client = await WireClient.connect({
    port,
    ...ADMIN_ACCOUNT,
    database: '',
    capabilities: WireFlag.MULTI_STATEMENTS | WireFlag.MULTI_RESULTS,
  });
  try {
    const answer = await client.query(setup.join(';\n'));
    const last = answer.at(-1)!;
    if (last.kind !== 'ok') throw new Error(`the databases were not made: ${JSON.stringify(last)}`);
  } finally {
    client.destroy();
  }
}

/** What lies in the tables, as one answer: a line for each. */
async function dataOf(connection: Connection): Promise<Answer> {
  const [tables] = await connection.query<RowDataPacket[]>(
    `select concat(table_schema, '.', table_name) as name from information_schema.tables
     where table_schema in ('w1', 'w2') and table_type = 'BASE TABLE' order by 1`,
  );
  const names = tables.map((row) => String(row['name']));
  const [sums] = await connection.query<RowDataPacket[]>(`checksum table ${names.join(', ')}`);
  return sums.map((row) => ({
    kind: 'text',
    text: `${String(row['Table'])}: ${String(row['Checksum'])}`,
    sequence: 0,
    pieces: 0,
  }));
}

/** The proxies on the pair, with a listener for each profile. */
class Proxies {
  readonly #processes: readonly ProxyProcess[];
  readonly #ports: ReadonlyMap<ProfileName, number>;
  readonly #seen: { events: number; characters: number }[] = [];

  private constructor(processes: readonly ProxyProcess[], ports: ReadonlyMap<ProfileName, number>) {
    this.#processes = processes;
    this.#ports = ports;
  }

  /** New lines of their output, and events that tell of a fault. */
  complaints(): string[] {
    return this.#processes.flatMap((proxy, index) => {
      const seen = this.#seen[index] ?? { events: 0, characters: 0 };
      this.#seen[index] = { events: proxy.log.length, characters: proxy.output.length };
      const events = proxy.log.slice(seen.events).filter(({ level }) => WARNINGS.includes(level));
      const output = proxy.output.slice(seen.characters);
      return [...(output === '' ? [] : [output]), ...events.map((event) => JSON.stringify(event))];
    });
  }

  static async start(pair: Lab, profiles: readonly ProfileName[]): Promise<Proxies> {
    const ports = new Map<ProfileName, number>();
    const processes: ProxyProcess[] = [];
    for (const kind of ['wide', 'narrow'] as const) {
      const served = profiles.filter((profile) => ENDPOINTS[profile].proxy === kind);
      if (served.length === 0) continue;
      const free = await freePorts(served.length);
      served.forEach((profile, index) => ports.set(profile, free[index]!));
      const config = { ...configOf(kind), ...listenersOf(served, ports) };
      processes.push(await pair.startProxy({ workers: 1, config }));
    }
    return new Proxies(processes, ports);
  }

  portOf(profile: ProfileName): number | undefined {
    return this.#ports.get(profile);
  }

  async served(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const proxy of this.#processes) {
      const { text } = await proxy.get('/metrics');
      for (const [, labels, count] of text.matchAll(/^dbproxy_queries_total\{(.*)\} (\d+)/gm)) {
        const backend = /backend="([^"]*)"/.exec(labels!)?.[1] ?? 'none';
        counts[backend] = (counts[backend] ?? 0) + Number(count);
      }
    }
    return counts;
  }
}

function configOf(kind: 'wide' | 'narrow'): ConfigSections {
  const few = kind === 'narrow' ? { max_connections: NARROW_CONNECTIONS } : {};
  // What a replica may answer, a replica shall answer.
  return { 'cluster main': CLUSTER_KEYS, 'backend db1': { ...few, ro_weight: 0 }, 'backend db2': few };
}

function listenersOf(
  profiles: readonly ProfileName[],
  ports: ReadonlyMap<ProfileName, number>,
): ConfigSections {
  return Object.fromEntries(
    profiles.map((profile) => [
      `listener ${profile}`,
      {
        cluster: 'main',
        address: `127.0.0.1:${ports.get(profile)}`,
        ...(profile === 'tight' ? { queue_timeout: NARROW_QUEUE_TIMEOUT } : {}),
        ...ENDPOINTS[profile].keys,
      },
    ]),
  );
}
