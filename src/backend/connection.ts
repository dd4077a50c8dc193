/**
 * One connection to a server. It logs in, and from then on either belongs to somebody who relays bytes
 * over it (`user`), or runs an exchange of its own: being brought to a session's first state, a statement
 * of dbproxy's. The two never overlap.
 */
import type { Endpoint } from '../base/address.ts';
import { refusal } from '../base/errors.ts';
import { ByteSocket, type SocketHandler } from '../base/socket.ts';
import type { Secret } from '../protocol/auth.ts';
import { Capability, Command } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import type { Greeting } from '../protocol/handshake.ts';
import { ClientLogin, type ClientStep } from '../protocol/login-client.ts';
import { parseError, parseOk, ServerError, writeCommand } from '../protocol/packets.ts';

/** The state that a session begins in; a connection is brought to it before it is handed over. */
export interface Preparation {
  readonly database: string;
  /** Collation id. */
  readonly collation: number;
  /** Transactions are READ ONLY: for read endpoints. */
  readonly readOnly: boolean;
}

/** Whom a connection belongs to as far as the server is concerned. */
export interface Identity {
  readonly user: string;
  /** Flags that shape what travels over the connection; only a session with the same can use it. */
  readonly capabilities: number;
}

/** Who relays over a connection. */
export interface ConnectionUser {
  /** `connection.socket.input[0, length)` holds new bytes of the server. */
  onBackendData(length: number): void;
  onBackendDrain(): void;
  /** The connection is gone, with the reason in words. */
  onBackendClose(reason: string): void;
}

/** Input buffer of a connection: large enough that a big result needs few reads. */
const INPUT_BYTES = 64 * 1024;
/** Packets of our own exchanges are short. */
const EXCHANGE_PACKET_BYTES = 64 * 1024;

/** Makes the session's transactions READ ONLY; known to MariaDB 10.0, MySQL 5.6 and all later. */
const SET_READ_ONLY = 'SET SESSION TRANSACTION READ ONLY';

/**
 * The SET that gives a session what its flags gave it at the login: servers act on IGNORE_SPACE and
 * INTERACTIVE there only, not at a change of user. Empty when there is nothing to set.
 */
function flagSettings(capabilities: number): string {
  const settings: string[] = [];
  if ((capabilities & Capability.IGNORE_SPACE) !== 0) {
    settings.push("SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'IGNORE_SPACE')");
  }
  if ((capabilities & Capability.INTERACTIVE) !== 0) {
    settings.push('SESSION wait_timeout = @@interactive_timeout');
  }
  return settings.length === 0 ? '' : `SET ${settings.join(', ')}`;
}

/** One exchange of our own: takes packets until it is done. */
interface Exchange {
  receive(payload: Buffer, sequence: number): void;
  fail(error: Error): void;
}

/** Status flags and warnings of the OK that ended a login. */
export interface LoginOk {
  status: number;
  warnings: number;
}

export class BackendConnection implements SocketHandler {
  readonly backend: string;
  readonly identity: Identity;
  /** Called once when the connection is gone, whoever used it. */
  onGone: () => void = () => undefined;
  /** The relay in charge; null while idle or in an exchange. */
  user: ConnectionUser | null = null;
  /** What it was prepared for last. */
  preparation: Preparation;
  /** Status of the last login or preparation. */
  loginOk: LoginOk = { status: 0, warnings: 0 };
  /** When it began to idle, for trimming. */
  idleSinceMs = 0;
  #socket!: ByteSocket;
  readonly #secret: Secret;
  readonly #framer = new PacketFramer(EXCHANGE_PACKET_BYTES);
  #greeting: Greeting | undefined;
  #capabilities = 0;
  #exchange: Exchange | null = null;
  #closed = false;

  private constructor(backend: string, identity: Identity, secret: Secret, preparation: Preparation) {
    this.backend = backend;
    this.identity = identity;
    this.preparation = preparation;
    this.#secret = secret;
  }

  /**
   * Connects and logs in. Rejects with DBPROXY_BACKEND_CONNECT when the server cannot be reached, and with
   * ServerError when it refuses the login. The caller bounds the time
   * with the function that `onSocket` is given.
   */
  static async open(
    backend: string,
    endpoint: Endpoint,
    identity: Identity,
    secret: Secret,
    preparation: Preparation,
    onSocket: (abort: (reason: string) => void) => void,
  ): Promise<BackendConnection> {
    const connection = new BackendConnection(backend, identity, secret, { ...preparation, readOnly: false });
    onSocket((reason) => connection.#fail(refusal('DBPROXY_BACKEND_CONNECT', backend, 'login', reason)));
    try {
      await connection.#logIn(endpoint, preparation);
      // The login has one byte for the collation, a change of user has two.
      if (preparation.collation > 0xff) await connection.prepare(preparation);
      else if (preparation.readOnly) await connection.#makeReadOnly();
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #logIn(endpoint: Endpoint, preparation: Preparation): Promise<void> {
    const login = new ClientLogin({ ...this.identity, ...preparation, secret: this.#secret });
    await this.#exchangeOf((resolve, reject) => {
      this.#socket = ByteSocket.connect(endpoint, INPUT_BYTES, this);
      return (payload, sequence) => this.#step(login.receive(payload, sequence), resolve, reject);
    });
    this.#greeting = login.greeting;
    this.#capabilities = login.capabilities;
    const lacking = this.identity.capabilities & ~login.capabilities;
    if (lacking === 0) return;
    const flags = `0x${lacking.toString(16)}`;
    throw refusal(
      'DBPROXY_BACKEND_CONNECT',
      this.backend,
      'login',
      `the server lacks capabilities ${flags} that the session was offered`,
    );
  }

  /** The server's id of this connection. */
  get threadId(): number {
    return this.#greeting?.connectionId ?? 0;
  }

  /** Flags in force: they decide the form of the answers. */
  get capabilities(): number {
    return this.#capabilities;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The bytes that `onBackendData` announced. */
  get input(): Buffer {
    return this.#socket.input;
  }

  /** True when it is in the first state of such a session already. */
  isPreparedFor(preparation: Preparation): boolean {
    const mine = this.preparation;
    return (
      mine.database === preparation.database &&
      mine.collation === preparation.collation &&
      mine.readOnly === preparation.readOnly
    );
  }

  /**
   * Brings the connection to the first state of a session: the server ends the transaction, drops temporary
   * tables, locks, prepared statements and variables (COM_CHANGE_USER to the same user, which every server
   * knows). Rejects with ServerError (the connection is closed then) or when the connection is lost.
   */
  async prepare(preparation: Preparation): Promise<void> {
    const login = new ClientLogin({ ...this.identity, ...preparation, secret: this.#secret });
    this.preparation = { ...preparation, readOnly: false };
    try {
      await this.#exchangeOf((resolve, reject) => {
        this.#step(login.changeUser(this.#greeting!, this.#capabilities), resolve, reject);
        return (payload, sequence) => this.#step(login.receive(payload, sequence), resolve, reject);
      });
    } catch (error) {
      this.close();
      throw error;
    }
    const flags = flagSettings(this.identity.capabilities);
    if (flags !== '') await this.execute(flags);
    if (preparation.readOnly) await this.#makeReadOnly();
  }

  /** COM_RESET_CONNECTION, and READ ONLY again where the session is to be so. Rejects as `execute` does. */
  async reset(readOnly: boolean): Promise<LoginOk> {
    const ok = await this.#command(writeCommand(Command.RESET_CONNECTION));
    if (!readOnly) return ok;
    try {
      await this.#makeReadOnly();
      return ok;
    } catch (error) {
      // It could write now.
      this.close();
      throw error;
    }
  }

  /** Runs a statement without rows; rejects with ServerError, the connection stays usable then. */
  async execute(sql: string): Promise<void> {
    await this.#command(writeCommand(Command.QUERY, sql));
  }

  /** Sends bytes; see ByteSocket.write. */
  write(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Gives up the exchange under way, which rejects with `reason`, and closes. */
  abort(reason: string): void {
    this.#fail(refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'connection', reason));
  }

  /** Closes at once. Harmless when it is closed. */
  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  onData(length: number): void {
    if (this.user !== null) return this.user.onBackendData(length);
    if (this.#exchange !== null) return this.#receive(length);
    // Nobody asked: the server says goodbye (shutdown, kill, timeout).
    this.close();
  }

  onDrain(): void {
    this.user?.onBackendDrain();
  }

  onClose(error: Error | undefined): void {
    this.#closed = true;
    const reason = error?.message ?? 'the server closed the connection';
    const exchange = this.#exchange;
    this.#exchange = null;
    exchange?.fail(refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'connection', reason));
    this.onGone();
    this.user?.onBackendClose(reason);
  }

  /** Sends a command that is answered by one packet, OK or ERR. */
  #command(packet: Buffer): Promise<LoginOk> {
    return this.#exchangeOf((resolve, reject) => {
      this.#socket.write(packet);
      return (payload) => {
        if (payload[0] === 0xff) reject(new ServerError(parseError(payload)));
        else resolve(parseOk(payload));
      };
    });
  }

  async #makeReadOnly(): Promise<void> {
    await this.execute(SET_READ_ONLY);
    this.preparation = { ...this.preparation, readOnly: true };
  }

  #receive(length: number): void {
    try {
      let packet = this.#framer.next(this.#socket.input.subarray(0, length));
      while (packet !== undefined && this.#exchange !== null) {
        this.#exchange.receive(packet.payload, packet.sequence);
        packet = this.#framer.next();
      }
      // What follows the answer nobody asked for; a connection with bytes left over serves nobody.
      if (this.#exchange === null && (packet !== undefined || this.#framer.takeRest().length > 0)) {
        this.close();
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Ends the exchange under way with `error`, and the connection with it. */
  #fail(error: Error): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.close();
    exchange?.fail(error);
  }

  #step(step: ClientStep, resolve: (ok: LoginOk) => void, reject: (error: Error) => void): void {
    switch (step.kind) {
      case 'send':
        this.#socket.write(step.bytes);
        return;
      case 'ok':
        this.loginOk = { status: step.status, warnings: step.warnings };
        return resolve(this.loginOk);
      case 'failed':
        reject(new ServerError(step.error));
        return this.close();
    }
  }

  /** Runs one exchange: `begin` sends the first bytes and answers the receiver of the packets. */
  #exchangeOf(
    begin: (
      resolve: (ok: LoginOk) => void,
      reject: (error: Error) => void,
    ) => (payload: Buffer, sequence: number) => void,
  ): Promise<LoginOk> {
    if (this.#exchange !== null || this.user !== null) throw new Error('the connection is in use');
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#exchange = null;
      };
      const receive = begin(
        (ok) => {
          done();
          resolve(ok);
        },
        (error) => {
          done();
          reject(error);
        },
      );
      this.#exchange = { receive, fail: reject };
      if (this.#closed) {
        done();
        reject(refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'connection', 'it is closed'));
      }
    });
  }
}
