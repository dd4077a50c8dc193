/**
 * A control connection to one server: the driver wrapped so that every wait has an end. A statement that
 * is not answered in time breaks the connection, for nothing else can be known of its state.
 */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { createConnection, type Connection, type SslOptions } from 'mysql2';
import type { Endpoint } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { writeProxyHeaderV2 } from '../protocol/proxy-header.ts';
import type { ServerGreeting } from '../topology/snapshot.ts';
import type { Row, Statement } from './flavour/row.ts';
import { listenForGreeting } from './greeting.ts';

/** How a server is connected to. */
export type ControlServer = Pick<
  BackendConfig,
  'address' | 'tls' | 'tlsCa' | 'tlsCert' | 'tlsKey' | 'proxyProtocol'
>;

/** As whom. */
export type ControlAccount = Pick<ClusterConfig, 'monitorUser' | 'monitorPassword'>;

/** The driver's word for a server without TLS. */
const NO_TLS = 'HANDSHAKE_NO_SSL_SUPPORT';

/** The time for an answer is over. Its code is that of a timeout of the operating system. */
class TimedOut extends Error {
  readonly code = 'ETIMEDOUT';
}

export class ControlConnection {
  static #opened = 0;
  /** No other connection of ours has it; the server's own ids begin anew when it is restarted. */
  readonly number = ++ControlConnection.#opened;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #inBatches: boolean;
  #broken = false;
  /** Called once when the connection breaks by itself. */
  onLost: (() => void) | null = null;
  #greeting: ServerGreeting | null = null;

  private constructor(connection: Connection, clock: Clock, inBatches: boolean) {
    this.#connection = connection;
    this.#clock = clock;
    this.#inBatches = inBatches;
    connection.on('error', () => this.#lost());
    connection.on('end', () => this.#lost());
  }

  /**
   * Connects and logs in within `timeoutMs`; rejects with the driver's error or a timeout. The session has
   * no SQL mode, whatever the server's default: the driver quotes values with backslashes. With `inBatches`
   * several statements may go in one message.
   */
  static async open(
    server: ControlServer,
    account: ControlAccount,
    clock: Clock,
    timeoutMs: number,
    inBatches = false,
  ): Promise<ControlConnection> {
    const endMs = clock.nowMs() + timeoutMs;
    try {
      return await ControlConnection.#open(server, account, clock, timeoutMs, inBatches);
    } catch (error) {
      const hasNoTls = error instanceof Error && 'code' in error && error.code === NO_TLS;
      if (server.tls !== 'preferred' || !hasNoTls) throw error;
      const leftMs = Math.max(1, endMs - clock.nowMs());
      return ControlConnection.#open({ ...server, tls: 'off' }, account, clock, leftMs, inBatches);
    }
  }

  static async #open(
    server: ControlServer,
    account: ControlAccount,
    clock: Clock,
    timeoutMs: number,
    inBatches: boolean,
  ): Promise<ControlConnection> {
    const endMs = clock.nowMs() + timeoutMs;
    const socket = connectTo(server.address);
    if (server.proxyProtocol === 'v2') socket.write(writeProxyHeaderV2('local'));
    const connection = createConnection({
      stream: socket,
      // The name that TLS indicates and verifies; the connection is made already.
      ...(server.address.kind === 'tcp' && { host: server.address.host }),
      ...(server.tls !== 'off' && { ssl: tlsOptions(server) }),
      user: account.monitorUser,
      password: account.monitorPassword,
      // Ours is the only timer: the driver's own would run on a clock that tests cannot turn.
      connectTimeout: 0,
      multipleStatements: inBatches,
    });
    const control = new ControlConnection(connection, clock, inBatches);
    listenForGreeting(socket, (greeting) => {
      control.#greeting = greeting;
    });
    try {
      await control.#bounded(timeoutMs, 'no login', (settle) => connection.connect((error) => settle(error)));
      await control.run("SET SESSION sql_mode = ''", Math.max(1, endMs - clock.nowMs()));
    } catch (error) {
      control.close();
      throw error;
    }
    return control;
  }

  /** False once the connection can serve no more statements. */
  get usable(): boolean {
    return !this.#broken;
  }

  /** How the server greeted this connection. */
  get greeting(): ServerGreeting {
    if (this.#greeting === null) throw new Error('the server has not greeted this connection');
    return this.#greeting;
  }

  /** The server's id of this connection. */
  get threadId(): number {
    return this.#connection.threadId ?? 0;
  }

  /** Runs one statement and answers its rows (none for one that has no result set). */
  async run(statement: Statement | string, timeoutMs: number): Promise<Row[]> {
    const { sql, values = [] } = typeof statement === 'string' ? { sql: statement } : statement;
    const result = await this.#bounded<unknown>(timeoutMs, `no answer to ${firstWords(sql)}`, (settle) => {
      this.#connection.query({ sql, values: [...values] }, (error, rows) => settle(error, rows));
    });
    return Array.isArray(result) ? (result as Row[]) : [];
  }

  /**
   * Runs several statements and answers the rows of each; rejects with the error of the first that fails. In
   * one round trip, where the connection takes batches: a process that gets little of the processor must not
   * take its own turns for the server's slowness.
   */
  async runAll(statements: readonly Statement[], timeoutMs: number): Promise<Row[][]> {
    const [only, ...others] = statements;
    if (only === undefined) return [];
    if (others.length === 0) return [await this.run(only, timeoutMs)];
    if (this.#inBatches) {
      const sql = statements.map((one) => one.sql).join('; ');
      const values = statements.flatMap((one) => one.values ?? []);
      return (await this.run({ sql, values }, timeoutMs)) as unknown as Row[][];
    }
    const endMs = this.#clock.nowMs() + timeoutMs;
    const answers: Row[][] = [];
    for (const one of statements) answers.push(await this.run(one, Math.max(1, endMs - this.#clock.nowMs())));
    return answers;
  }

  /** Closes at once, without a goodbye. */
  close(): void {
    this.#broken = true;
    this.#connection.destroy();
  }

  #lost(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.onLost?.();
  }

  #bounded<T>(
    timeoutMs: number,
    what: string,
    begin: (settle: (error: Error | null | undefined, value?: T) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        this.close();
        reject(new TimedOut(`${what} within ${Math.round(timeoutMs)} ms`));
      });
      begin((error, value) => {
        timer.cancel();
        if (error === null || error === undefined) return resolve(value as T);
        if ('fatal' in error && error.fatal === true) this.close();
        reject(error);
      });
    });
  }
}

function connectTo(address: Endpoint): net.Socket {
  if (address.kind === 'unix') return net.connect({ path: address.path });
  const { host, port } = address;
  const socket = net.connect({ host, port, noDelay: true, keepAlive: true });
  // Where there is no name to indicate, node:tls compares the certificate with what node:net has left here; that does so for
  // names alone, and without it an address would be compared with 'localhost'.
  return net.isIP(host) === 0 ? socket : Object.assign(socket, { _host: host });
}

function tlsOptions({ tls, tlsCa, tlsCert, tlsKey }: ControlServer): SslOptions {
  const read = (path: string): string => readFileSync(path, 'utf8');
  return {
    rejectUnauthorized: tls === 'verify',
    verifyIdentity: tls === 'verify',
    ...(tlsCa !== undefined && { ca: read(tlsCa) }),
    ...(tlsCert !== undefined && { cert: read(tlsCert) }),
    ...(tlsKey !== undefined && { key: read(tlsKey) }),
  };
}

/** Enough of a statement to know it by, and never a password. */
function firstWords(sql: string): string {
  return sql.split(/\s+/, 4).join(' ');
}
