/**
 * Clients that write rows with numbers of their own through dbproxy, as applications do (single statements,
 * transactions, prepared statements; through the write and the split endpoint), and keep the books: what was
 * acknowledged, what was refused, and what is in doubt.
 */
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import { createConnection, type Connection } from 'mysql2/promise';
import { endAtOnce } from '../support/end-at-once.ts';

/** What became of one piece of work, as its client was told. */
export type Outcome = 'acknowledged' | 'refused' | 'in_doubt';

/** One piece of work: the rows (id, 1) to (id, parts). */
export interface Entry {
  readonly id: number;
  readonly parts: number;
  readonly outcome: Outcome;
  /** The error, when there was one. */
  readonly error: string;
}

type Way = 'statement' | 'transaction' | 'prepared';
const WAYS: readonly Way[] = ['statement', 'transaction', 'prepared'];
const ENDPOINTS = ['write', 'split'] as const;
const CONNECT_TIMEOUT_MS = 5_000;
const CONNECT_AGAIN_MS = 50;
const GOES_ON_POLL_MS = 50;
/**
 * A client that is told nothing at all for so long is a finding of its own. MariaDB looks once a minute whether a full disk
 * has room again, and where there is nobody to take over its statements wait for that.
 */
const ANSWER_TIMEOUT_MS = 75_000;

export interface Load {
  readonly clients: number;
  readonly paceMs: number;
  /** The number of the first row; no two workloads on one table may use the same. */
  readonly first: number;
  /** Where the ports are; this machine unless told otherwise. */
  readonly host?: string;
  /**
   * How long a client waits for an answer before it begins anew. Where a host dies that had a statement already, nobody
   * ever tells its client.
   */
  readonly answerTimeoutMs?: number;
}

const INSERT = 'insert into written (id, part, server, at_ms) values';
const VALUES = '@@server_id, cast(unix_timestamp(now(3)) * 1000 as signed)';

/** The table that they write to, in the schema `demo`. */
export const CREATE_WRITTEN = `create table demo.written (
  seq bigint auto_increment primary key, id bigint not null, part int not null,
  server int not null, at_ms bigint not null, key (id))`;

export class Workload {
  readonly entries: Entry[] = [];
  /** Pieces of work that got no answer at all in time. */
  readonly hung: string[] = [];
  readonly #host: string;
  readonly #ports: Readonly<Record<'write' | 'split', number>>;
  readonly #paceMs: number;
  readonly #answerTimeoutMs: number;
  readonly #clients: Promise<void>[] = [];
  /** Connections that were closed while they rested, or are broken: a pool hands out none of them. */
  readonly #closed = new WeakSet<Connection>();
  #next: number;
  #stopped = false;
  #lastMs = performance.now();
  #longestGapMs = 0;

  constructor(ports: Readonly<Record<'write' | 'split', number>>, load: Load) {
    const { clients, paceMs, first, host = '127.0.0.1', answerTimeoutMs = ANSWER_TIMEOUT_MS } = load;
    this.#host = host;
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#ports = ports;
    this.#paceMs = paceMs;
    this.#next = first;
    for (let number = 0; number < clients; number++) this.#clients.push(this.#run(number));
  }

  /** Ends every client after what it is doing. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  /** The number that the next row would have. */
  get next(): number {
    return this.#next;
  }

  get acknowledged(): number {
    return this.entries.filter(({ outcome }) => outcome === 'acknowledged').length;
  }

  /** Resolves when another piece of work has been acknowledged; false: none was in time. */
  async goesOn(timeoutMs: number): Promise<boolean> {
    const before = this.acknowledged;
    const endMs = performance.now() + timeoutMs;
    while (this.acknowledged === before && performance.now() < endMs) await delay(GOES_ON_POLL_MS);
    return this.acknowledged > before;
  }

  /** The longest time without an acknowledged write so far, the one that lasts included. */
  get longestGapMs(): number {
    return Math.max(this.#longestGapMs, performance.now() - this.#lastMs);
  }

  /** From now on. */
  measureGap(): void {
    this.#longestGapMs = 0;
    this.#lastMs = performance.now();
  }

  async #run(number: number): Promise<void> {
    const way = WAYS[number % WAYS.length]!;
    const endpoint = ENDPOINTS[number % ENDPOINTS.length]!;
    let connection: Connection | null = null;
    while (!this.#stopped) {
      await delay(this.#paceMs);
      // What has come meanwhile is read first: a connection may have been closed.
      await immediate();
      if (connection !== null && this.#closed.has(connection)) connection = null;
      try {
        connection ??= await this.#connect(endpoint);
      } catch {
        await delay(CONNECT_AGAIN_MS);
        continue;
      }
      const { outcome, error } = await this.#work(connection, way);
      if (outcome !== 'acknowledged' && !isUsable(error)) {
        endAtOnce(connection);
        connection = null;
      }
    }
    if (connection !== null) endAtOnce(connection);
  }

  async #connect(endpoint: 'write' | 'split'): Promise<Connection> {
    const connection = await createConnection({
      host: this.#host,
      port: this.#ports[endpoint],
      user: 'app',
      password: 'app',
      database: 'demo',
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
    // As mysql2's own pool does: the end comes before the close, which is an error.
    for (const event of ['end', 'error']) connection.on(event, () => this.#closed.add(connection));
    return connection;
  }

  async #work(connection: Connection, way: Way): Promise<Entry> {
    const id = this.#next++;
    const parts = way === 'transaction' ? 2 : 1;
    const entry = await withTimeout(attempt(connection, way, id, parts), this.#answerTimeoutMs, () => {
      this.hung.push(`${way} ${id} got no answer within ${this.#answerTimeoutMs} ms`);
      endAtOnce(connection);
      return { id, parts, outcome: 'in_doubt' as const, error: 'no answer' };
    });
    this.entries.push(entry);
    if (entry.outcome === 'acknowledged') {
      const now = performance.now();
      this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastMs);
      this.#lastMs = now;
    }
    return entry;
  }
}

async function withTimeout(work: Promise<Entry>, timeoutMs: number, late: () => Entry): Promise<Entry> {
  const over = new AbortController();
  try {
    return await Promise.race([work, delay(timeoutMs, null, { signal: over.signal }).then(late, () => work)]);
  } finally {
    over.abort();
  }
}

async function attempt(connection: Connection, way: Way, id: number, parts: number): Promise<Entry> {
  const commits = { now: way !== 'transaction' };
  try {
    switch (way) {
      case 'statement':
        await connection.query(`${INSERT} (${id}, 1, ${VALUES})`);
        break;
      case 'prepared':
        await connection.execute(`${INSERT} (?, 1, ${VALUES})`, [id]);
        break;
      case 'transaction':
        await connection.query('begin');
        await connection.query(`select count(*) from written where id = ${id}`);
        await connection.query(`${INSERT} (${id}, 1, ${VALUES})`);
        await connection.query(`${INSERT} (${id}, 2, ${VALUES})`);
        commits.now = true;
        await connection.query('commit');
    }
    return { id, parts, outcome: 'acknowledged', error: '' };
  } catch (error) {
    return { id, parts, ...judge(error, commits.now) };
  }
}

/**
 * What an error says of the rows. Only what dbproxy promises counts as a promise; a connection that is gone says
 * nothing, unless the COMMIT had not been sent yet.
 */
function judge(thrown: unknown, committing: boolean): { outcome: Outcome; error: string } {
  const { errno, message } = thrown as { errno?: number; message: string };
  const error = `${errno ?? ''} ${message}`.trim();
  if (!committing || /nothing of it (was run|has taken effect)/.test(message))
    return { outcome: 'refused', error };
  if (/^This statement has taken effect/.test(message)) return { outcome: 'acknowledged', error };
  return { outcome: 'in_doubt', error };
}

/** The session lives on after dbproxy's own refusals; after all else the client begins anew. */
function isUsable(error: string): boolean {
  return /^(1205|1213|1290) /.test(error);
}
