/**
 * Question: how long does a replica go on taking reads after its lag has passed max_lag? A row is written on the
 * primary again and again; on the replica its table is locked, so replication hangs there without being stopped. From
 * the moment on at which what the replica shows is max_lag old, no read should be answered there later than two
 * check intervals. Readers note which server has answered: on the read endpoint with a new
 * session each time (a session there stays where it is), and on the split endpoint.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { systemClock } from '../src/base/clock.ts';
import type { ChaosFlavour } from '../test/chaos/options.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../test/lab/pair.ts';
import type { ProxyProcess } from '../test/lab/proxy.ts';

export interface LagCase {
  readonly name: string;
  readonly title: string;
  readonly lagSource: 'auto' | 'status';
  readonly fault: 'hang' | 'stop';
}

/** All of them. */
export const lagCases: readonly LagCase[] = [
  { name: 'lag-heartbeat', title: 'replication hangs, lag by heartbeat', lagSource: 'auto', fault: 'hang' },
  { name: 'lag-status', title: "replication hangs, the server's word", lagSource: 'status', fault: 'hang' },
  { name: 'lag-stopped', title: 'replication is stopped', lagSource: 'auto', fault: 'stop' },
];

/** What the project wants at most: check intervals from max_lag to the last read. */
export const LAG_GOAL = 2;

export const LAG_READERS = ['read, new sessions', 'split'] as const;
export type LagReader = (typeof LAG_READERS)[number];

/** One round of one case. */
export interface LagSample {
  readonly name: string;
  readonly flavour: ChaosFlavour;
  /** From when what the replica shows is max_lag old to its last answer, in check intervals; below 0: it never got that old. */
  readonly lateness: Readonly<Record<LagReader, number>>;
}

const CHECK_INTERVAL_MS = 1_000;
const MAX_LAG_MS = 3_000;
const READ_PACE_MS = 5;
const WRITE_PACE_MS = 20;
/** Until every reader has left for sure. */
const OBSERVED_MS = MAX_LAG_MS + 6 * CHECK_INTERVAL_MS;
const WELL_TIMEOUT_MS = 30_000;

/** Asks each of these cases so many times; says what it does by `say`. */
export async function askLag(
  cases: readonly LagCase[],
  flavour: ChaosFlavour,
  rounds: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<LagSample[]> {
  const samples: LagSample[] = [];
  for (const one of cases) {
    const lab = await startPair({ flavour });
    try {
      await lab.db1.execute('create table demo.marks (id int primary key, at double)');
      await lab.db1.execute('insert into demo.marks values (1, 0)', 'create table demo.who (name char(3))');
      await untilThere(lab);
      for (const server of [lab.db1, lab.db2]) {
        await server.execute('set session sql_log_bin = 0', `insert into demo.who values ('${server.name}')`);
      }
      const proxy = await lab.startProxy({
        config: {
          'cluster main': {
            check_interval: `${CHECK_INTERVAL_MS}ms`,
            check_fast_interval: '250ms',
            check_timeout: '1s',
            max_lag: `${MAX_LAG_MS}ms`,
            lag_source: one.lagSource,
          },
          'backend db1': { ro_weight: 1 },
          'backend db2': { ro_weight: 1 },
        },
      });
      for (let round = 1; round <= rounds; round++) {
        signal.throwIfAborted();
        const lateness = await measure(lab, proxy, one, signal);
        samples.push({ name: one.name, flavour, lateness });
        const words = LAG_READERS.map((reader) => `${reader} ${lateness[reader].toFixed(2)}`);
        say(`${one.title}, round ${round}: ${words.join(', ')} check intervals after max_lag`);
      }
    } finally {
      await lab.stop();
    }
  }
  return samples;
}

/** One round, and all made well again. */
async function measure(
  lab: Lab,
  proxy: ProxyProcess,
  { fault }: LagCase,
  signal: AbortSignal,
): Promise<LagSample['lateness']> {
  const writer = await lab.connect(lab.db1);
  const operator = await createConnection({ host: '127.0.0.1', port: lab.db2.port, ...ADMIN_ACCOUNT });
  const round = new AbortController();
  const over = AbortSignal.any([signal, round.signal]);
  const written = write(writer, over);
  await untilRead(proxy);
  // Checks come at any time within their interval, so that which it is must be a matter of chance.
  await delay(Math.random() * CHECK_INTERVAL_MS);
  const readers = LAG_READERS.map((reader) => read(proxy, reader, over));
  try {
    await operator.query(fault === 'hang' ? 'lock tables demo.marks read' : stopApplier(lab));
    await delay(OBSERVED_MS, undefined, { signal });
    const [rows] = await operator.query<RowDataPacket[]>('select at from demo.marks');
    round.abort();
    const passedMs = Number(rows[0]!['at']) + MAX_LAG_MS;
    const lasts = await Promise.all(readers);
    const late = lasts.map((lastMs) => (lastMs - passedMs) / CHECK_INTERVAL_MS);
    return Object.fromEntries(
      LAG_READERS.map((reader, index) => [reader, late[index]!]),
    ) as LagSample['lateness'];
  } finally {
    round.abort();
    await operator.query(fault === 'hang' ? 'unlock tables' : startApplier(lab));
    await Promise.allSettled([written, ...readers]);
    await Promise.allSettled([writer.end(), operator.end()]);
  }
}

/** Writes the time of our own clock on the primary, again and again. */
async function write(connection: Connection, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    await connection.query('update demo.marks set at = ? where id = 1', [systemClock.nowMs()]);
    await delay(WRITE_PACE_MS);
  }
}

/** Reads until it is over; answers when the replica has answered last. */
async function read(proxy: ProxyProcess, reader: LagReader, over: AbortSignal): Promise<number> {
  // Not through the lab, which would keep each of the thousands until it is stopped.
  const port = proxy.ports[reader === 'split' ? 'split' : 'read'];
  const login = { host: '127.0.0.1', port, user: 'app', password: 'app', database: 'demo' };
  const connect = async (): Promise<Connection> => {
    const made = await createConnection(login);
    made.on('error', () => undefined);
    return made;
  };
  let connection: Connection | null = null;
  let lastMs = -Infinity;
  while (!over.aborted) {
    try {
      connection ??= await connect();
      if (await isAnsweredBy(connection, 'db2')) lastMs = systemClock.nowMs();
      if (reader === 'read, new sessions') {
        await connection.end();
        connection = null;
      }
    } catch {
      // Its server was taken out: a client connects anew.
      connection?.destroy();
      connection = null;
    }
    await delay(READ_PACE_MS);
  }
  connection?.destroy();
  return lastMs;
}

/** Each server has its own name in a table, for what a server itself is asked for goes to the primary. */
async function isAnsweredBy(connection: Connection, server: string): Promise<boolean> {
  const [rows] = await connection.query<RowDataPacket[]>('select name, at from demo.who, demo.marks');
  return rows[0]!['name'] === server;
}

async function untilThere(lab: Lab): Promise<void> {
  const endMs = systemClock.nowMs() + WELL_TIMEOUT_MS;
  for (;;) {
    const isThere = await lab.db2.query('select 1 from demo.who').then(
      () => true,
      () => false,
    );
    if (isThere) return;
    if (systemClock.nowMs() > endMs) throw new Error('the replica does not get its tables');
    await delay(20);
  }
}

/** The replica has caught up and takes reads. */
async function untilRead(proxy: ProxyProcess): Promise<void> {
  const endMs = systemClock.nowMs() + WELL_TIMEOUT_MS;
  const connection = await proxy.connect('split');
  try {
    for (;;) {
      const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db2'");
      if (row?.['readable'] === 'yes' && (await isAnsweredBy(connection, 'db2'))) return;
      if (systemClock.nowMs() > endMs) throw new Error(`the replica takes no reads: ${JSON.stringify(row)}`);
      await delay(50);
    }
  } finally {
    connection.destroy();
  }
}

function stopApplier({ flavour }: Lab): string {
  return flavour === 'mariadb' ? 'stop slave sql_thread' : 'stop replica sql_thread';
}

function startApplier({ flavour }: Lab): string {
  return flavour === 'mariadb' ? 'start slave sql_thread' : 'start replica sql_thread';
}
