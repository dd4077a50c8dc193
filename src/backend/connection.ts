/**
 * One connection to a server. It logs in, and from then on either belongs to somebody who relays bytes
 * over it (`user`), or runs an exchange of its own: being brought to a session's first state, a statement
 * of dbproxy's. The two never overlap.
 */
import net from 'node:net';
import type { Endpoint } from '../base/address.ts';
import { refusal } from '../base/errors.ts';
import { ByteSocket, type ByteStream, type SocketHandler } from '../base/socket.ts';
import { withoutPassword, type Secret } from '../protocol/auth.ts';
import { Capability, Command } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import { compressionOf } from '../protocol/compression.ts';
import type { Greeting } from '../protocol/handshake.ts';
import { ClientLogin, type ClientStep } from '../protocol/login-client.ts';
import { parseError, parseOk, ServerError, writeCommand, writePayload } from '../protocol/packets.ts';
import { writeProxyHeaderV2 } from '../protocol/proxy-header.ts';
import { NOT_ENDED, ReplyTracker } from '../protocol/reply-tracker.ts';
import { queryPayload } from '../protocol/query-attributes.ts';
import { CompressedStream } from '../transport/compressed-stream.ts';
import { TlsStream } from '../transport/tls-stream.ts';
import { columnType, firstValue, withoutWarnings, type ColumnType, type TypedValue } from './own-answers.ts';
import { ColumnsHash } from './columns-hash.ts';
import { PreparedStatements } from './prepared-statements.ts';
import type { Settings, SettingsChange } from './settings.ts';
import {
  flagSettings,
  initialSettings,
  SETTING_FLAGS,
  type BackendChannel,
  type ConnectionWish,
  type Identity,
  type Preparation,
} from './wish.ts';

/** Why a server did not let a session in: it wants more of the secret than the client has shown so far. */
export class PasswordNeeded extends Error {
  readonly backend: string;

  constructor(backend: string) {
    super('it asks for the password itself, and the client has only proved that it knows it');
    this.backend = backend;
  }
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

const COMPRESSION_FLAGS = {
  off: 0,
  zlib: Capability.COMPRESS,
  zstd: Capability.ZSTD_COMPRESSION,
} as const;

/** The level that the MySQL clients ask for by default. */
const ZSTD_LEVEL = 3;

const ANY_ADDRESS = '0.0.0.0';

/** An OK that says nothing: before the first login. */
const EMPTY_OK = Buffer.from([0, 0, 0, 0, 0, 0, 0]);

/** One exchange of our own: takes packets until it is done. */
interface Exchange {
  receive(payload: Buffer, sequence: number): void;
  fail(error: Error): void;
}

/** An OK of the server: its status flags, and all of it as it came. */
export interface LoginOk {
  status: number;
  payload: Buffer;
}

export class BackendConnection implements SocketHandler {
  readonly backend: string;
  /** Something in it outlives a reset: it must serve nobody else. */
  spoiled = false;
  /** Called once when the connection is gone, whoever used it. `lost`: why, when it was not we who closed it. */
  onGone: (lost: string | null) => void = () => undefined;
  /** The relay in charge; null while idle or in an exchange. */
  user: ConnectionUser | null = null;
  /** What it was prepared for last. */
  preparation: Preparation;
  /** Status of the last login or preparation. */
  loginOk: LoginOk = { status: 0, payload: EMPTY_OK };
  /** What is set on it, while sessions share it; those of its first state after a preparation. */
  settings: Settings;
  /** A session that shares connections has used it: beside its settings little things are left on it. */
  worn = false;
  /** Who used it last, and whose LAST_INSERT_ID() it has (null: that is 0): compared, never called. */
  lastUser: object | null = null;
  lastInserter: object | null = null;
  /** Whose warnings and errors may be in its list; the same. */
  lastComplainer: object | null = null;
  /** Whose memory it has: who used it last, whatever dbproxy has done with it since. */
  #holder: object | null = null;
  /** How often it has changed hands. */
  turns = 0;
  /** Grows with each command of dbproxy's own, too: what could be asked after a statement before may be gone. */
  memoryAge = 0;
  /** Somebody may kill it by its number at any moment: it serves nobody but who has it. */
  isMarked = false;
  /** A sequence has given a value on it, which no reset takes away. */
  knowsSequences = false;
  /** Statements prepared on it for sessions that share it. */
  readonly prepared: PreparedStatements = new PreparedStatements();
  /** When it began to idle, for trimming. */
  idleSinceMs = 0;
  #socket!: ByteStream;
  #identity: Identity;
  #secret: Secret;
  #findPassword: ConnectionWish['findPassword'];
  readonly #framer = new PacketFramer(EXCHANGE_PACKET_BYTES);
  #greeting: Greeting | undefined;
  #capabilities = 0;
  #extendedCapabilities = 0;
  /** Nobody can read on the way what is sent over it: TLS, or a Unix socket. */
  #secure = false;
  /** TLS was asked for and has not begun: what comes meanwhile in clear text was said by nobody we know. */
  #startsTls = false;
  #exchange: Exchange | null = null;
  #closed = false;
  #saidGoodbye = false;
  /** Why it was cut; null: it was not. */
  #cutFor: string | null = null;

  private constructor(
    backend: string,
    { identity, secret, findPassword }: ConnectionWish,
    preparation: Preparation,
  ) {
    this.backend = backend;
    this.#identity = identity;
    this.preparation = preparation;
    this.settings = initialSettings(preparation);
    this.#secret = secret;
    this.#findPassword = findPassword;
  }

  /**
   * Connects and logs in. Rejects with DBPROXY_BACKEND_CONNECT when the server cannot be reached, and with
   * ServerError when it refuses the login. The caller bounds the time
   * with the function that `onSocket` is given.
   */
  static async open(
    backend: string,
    channel: BackendChannel,
    wish: ConnectionWish,
    onSocket: (abort: (reason: string) => void) => void,
  ): Promise<BackendConnection> {
    const { identity, secret, keepsPassword, preparation } = wish;
    const connection = new BackendConnection(backend, wish, { ...preparation, readOnly: false });
    onSocket((reason) => connection.#fail(refusal('DBPROXY_BACKEND_CONNECT', backend, 'login', reason)));
    try {
      await connection.#logIn(channel, preparation);
      if (!keepsPassword) connection.#secret = withoutPassword(secret);
      // The login has one byte for the collation, a change of user has two.
      const flags = identity.capabilities & SETTING_FLAGS;
      const isExact = preparation.collation <= 0xff && preparation.settingFlags === flags;
      if (!isExact) await connection.prepare(preparation);
      else if (preparation.readOnly) await connection.#makeReadOnly();
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #logIn(channel: BackendChannel, preparation: Preparation): Promise<void> {
    this.#secure = channel.endpoint.kind === 'unix';
    const login = this.#clientLogin(preparation, channel);
    await this.#exchangeOf((resolve, reject) => {
      const socket = ByteSocket.connect(channel.endpoint, INPUT_BYTES, this);
      this.#socket = socket;
      if (channel.sendsProxyHeader) this.#socket.write(this.#proxyHeader(channel.endpoint));
      return (payload, sequence) => {
        const step = login.receive(payload, sequence);
        if (step.kind !== 'tls') return this.#step(step, resolve, reject);
        this.#socket.write(step.bytes);
        this.#startsTls = true;
        const host = channel.endpoint.kind === 'tcp' ? channel.endpoint.host : '';
        this.#socket = TlsStream.connect(socket, channel.tlsClient!, host, this, () => {
          this.#secure = true;
          this.#startsTls = false;
          this.#step(login.secured(), resolve, reject);
        });
      };
    });
    this.#greeting = login.greeting;
    this.#capabilities = login.capabilities;
    this.#extendedCapabilities = login.extendedCapabilities;
    this.#compress();
    this.#refuseLesser();
  }

  /** The session was offered what the server seemed to have; a server that has less cannot serve it. */
  #refuseLesser(): void {
    const { capabilities, extendedCapabilities } = this.identity;
    const lacking = capabilities & ~this.#capabilities;
    const lackingExtended = extendedCapabilities & ~this.#extendedCapabilities;
    if (lacking === 0 && lackingExtended === 0) return;
    const flags = `0x${(lacking >>> 0).toString(16)} and 0x${(lackingExtended >>> 0).toString(16)}`;
    const what = `the server lacks capabilities ${flags} that the session was offered`;
    throw refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'login', what);
  }

  #clientLogin(preparation: Preparation, channel: BackendChannel | null): ClientLogin {
    const { user, capabilities, extendedCapabilities } = this.identity;
    return new ClientLogin({
      user,
      secret: this.#secret,
      findPassword: this.#findPassword,
      database: preparation.database,
      collation: preparation.collation,
      capabilities: (capabilities | COMPRESSION_FLAGS[channel?.compression ?? 'off']) >>> 0,
      extendedCapabilities,
      attributes: preparation.attributes,
      zstdLevel: ZSTD_LEVEL,
      tls: channel?.tls ?? 'off',
      secure: this.#secure,
    });
  }

  #proxyHeader(endpoint: Endpoint): Buffer {
    const { address, port } = this.identity.client;
    if (endpoint.kind === 'unix' || address === 'localhost') return writeProxyHeaderV2('local');
    // The header goes first, before the address of a name is known; nobody decides by it.
    const destination = net.isIP(endpoint.host) === 0 ? ANY_ADDRESS : endpoint.host;
    return writeProxyHeaderV2({
      source: { address, port },
      destination: { address: destination, port: endpoint.port },
    });
  }

  #compress(): void {
    const algorithm = compressionOf(this.#capabilities);
    if (algorithm === null) return;
    const early = Buffer.alloc(0);
    this.#socket = new CompressedStream(this.#socket, {
      role: 'client',
      algorithm,
      level: ZSTD_LEVEL,
      early,
    });
    this.#socket.handler = this;
  }

  /** Whom it belongs to now. */
  get identity(): Identity {
    return this.#identity;
  }

  /** The server's id of this connection. */
  get threadId(): number {
    return this.#greeting?.connectionId ?? 0;
  }

  /** Flags in force: they decide the form of the answers. */
  get capabilities(): number {
    return this.#capabilities;
  }

  /** MariaDB's upper flags in force. */
  get extendedCapabilities(): number {
    return this.#extendedCapabilities;
  }

  /** It is closed, or the server has ended it: nothing that is sent arrives. */
  get closed(): boolean {
    return this.#closed || this.#socket.hasEnded;
  }

  /** The bytes that `onBackendData` announced. */
  get input(): Buffer {
    return this.#socket.input;
  }

  /** True when it is in the first state of such a session already. */
  isPreparedFor(preparation: Preparation): boolean {
    const mine = this.preparation;
    return (
      !this.worn &&
      mine.database === preparation.database &&
      this.#isLikeIn(preparation) &&
      mine.attributes.equals(preparation.attributes)
    );
  }

  /**
   * How it comes to the settings of a session that shares connections. Such sessions do not look at the
   * database and the attributes of the first state: the one is a setting, the others name the client that
   * opened the connection.
   */
  changeTo(preparation: Preparation, settings: Settings): SettingsChange {
    return this.#isLikeIn(preparation) ? this.settings.changeTo(settings) : { kind: 'reset' };
  }

  /** True when it has the settings of such a session already. */
  hasSettings(preparation: Preparation, settings: Settings): boolean {
    return this.#isLikeIn(preparation) && this.settings.equals(settings);
  }

  #isLikeIn({ collation, readOnly, settingFlags }: Preparation): boolean {
    const mine = this.preparation;
    return mine.collation === collation && mine.readOnly === readOnly && mine.settingFlags === settingFlags;
  }

  /**
   * Brings the connection to the first state of a session: the server ends the transaction, drops temporary
   * tables, locks, prepared statements and variables (COM_CHANGE_USER to the same user, which every server
   * knows). Rejects with ServerError (the connection is closed then) or when the connection is lost.
   */
  async prepare(preparation: Preparation): Promise<void> {
    try {
      await this.#becomeUser(preparation);
      await this.#forgetLeftovers();
      await this.#settle(preparation);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * COM_CHANGE_USER of a client: the connection becomes that of another user, its server session a new one.
   * Rejects with ServerError when the server refuses: as on a direct connection the session goes on then as
   * the user it was, its state reset. Any other error closes the connection. What MySQL before 5.7 leaves over
   * is this client's own, and stays.
   */
  async changeUser(wish: ConnectionWish): Promise<void> {
    const [identity, secret, findPassword] = [this.#identity, this.#secret, this.#findPassword];
    const { readOnly } = this.preparation;
    this.#identity = wish.identity;
    this.#secret = wish.secret;
    this.#findPassword = wish.findPassword;
    try {
      await this.#becomeUser(wish.preparation);
    } catch (error) {
      if (!(error instanceof ServerError)) this.close();
      this.#identity = identity;
      this.#secret = secret;
      this.#findPassword = findPassword;
      if (readOnly && !this.#closed) await this.#makeReadOnlyAgain();
      throw error;
    }
    if (!wish.keepsPassword) this.#secret = withoutPassword(wish.secret);
    try {
      await this.#settle(wish.preparation);
    } catch (error) {
      // It is the new user's already, and not in the state that it should be in.
      this.close();
      throw error;
    }
  }

  async #becomeUser(preparation: Preparation): Promise<void> {
    const login = this.#clientLogin(preparation, null);
    this.preparation = { ...preparation, readOnly: false };
    this.settings = initialSettings(preparation);
    this.worn = false;
    this.lastUser = null;
    this.lastInserter = null;
    this.lastComplainer = null;
    this.memoryAge++;
    this.prepared.clear();
    await this.#exchangeOf((resolve, reject) => {
      this.#step(login.changeUser(this.#greeting!, this.#capabilities), resolve, reject);
      return (payload, sequence) => {
        const step = login.receive(payload, sequence);
        // The server's own refusal leaves the connection whole.
        if (payload[0] === 0xff && step.kind === 'failed') reject(new ServerError(step.error));
        else this.#step(step, resolve, reject);
      };
    });
  }

  /** What a change of user does not take away at MySQL before 5.7, though its manual says so. */
  async #forgetLeftovers(): Promise<void> {
    if (!isOldMySql(this.#greeting!.serverVersion)) return;
    const { status, payload } = this.loginOk;
    await this.execute('SET timestamp = DEFAULT, last_insert_id = 0');
    // It empties the list of warnings, too. A forced id cannot be taken back: the next insert takes it.
    const forced = await this.queryValue('SELECT @@insert_id FROM (SELECT 1) t');
    this.loginOk = { status, payload: withoutWarnings(payload) };
    if (forced !== '0') throw new Error(`insert_id = ${forced} is still in force`);
  }

  /** Somebody (a session, a lane) uses it from now on. */
  takenBy(user: object): void {
    this.lastUser = user;
    if (this.#holder === user) return;
    this.#holder = user;
    this.turns++;
    this.memoryAge++;
  }

  /** Empties the list of warnings and errors: only a statement with a table in it does so at every server. */
  async forgetDiagnostics(): Promise<void> {
    await this.queryValue('SELECT 1 FROM (SELECT 1) t');
    this.lastComplainer = null;
  }

  /** What a change of user alone does not bring. */
  async #settle(preparation: Preparation): Promise<void> {
    const settings = flagSettings(preparation.settingFlags);
    if (settings !== '') await this.execute(settings);
    if (preparation.readOnly) await this.#makeReadOnly();
  }

  /** COM_RESET_CONNECTION, and READ ONLY again where the session is to be so. Rejects as `execute` does. */
  async reset(readOnly: boolean): Promise<LoginOk> {
    const ok = await this.#command(writeCommand(Command.RESET_CONNECTION));
    if (readOnly) await this.#makeReadOnlyAgain();
    return ok;
  }

  async #makeReadOnlyAgain(): Promise<void> {
    try {
      await this.#makeReadOnly();
    } catch (error) {
      // It could write now.
      this.close();
      throw error;
    }
  }

  /** Runs a statement without rows; rejects with ServerError, the connection stays usable then. */
  async execute(sql: string): Promise<LoginOk> {
    return this.#command(writePayload(0, queryPayload(sql, this.#capabilities)));
  }

  /** Runs a command, by its payload, that is answered by one packet; rejects as `execute` does. */
  async command(payload: Buffer): Promise<LoginOk> {
    return this.#command(writePayload(0, payload));
  }

  /** COM_PING: all that could be asked after the statement before stays, but for its ROW_COUNT(). */
  async ping(): Promise<LoginOk> {
    const { memoryAge, lastUser } = this;
    const ok = await this.#command(writeCommand(Command.PING));
    this.memoryAge = memoryAge;
    this.lastUser = lastUser;
    return ok;
  }

  /** COM_INIT_DB; rejects as `execute` does. */
  async selectDatabase(name: Buffer): Promise<LoginOk> {
    return this.#command(writeCommand(Command.INIT_DB, name));
  }

  /**
   * COM_STMT_PREPARE, by its payload; answers the server's number of the statement and how many parameters it
   * has. Rejects as `execute` does.
   */
  prepareStatement(
    payload: Buffer,
    hashesColumns = false,
  ): Promise<{ id: number; parameters: number; columns: string | null }> {
    const columns = hashesColumns ? new ColumnsHash() : null;
    const tracker = new ReplyTracker(this.#capabilities, this.#extendedCapabilities);
    tracker.begin(Command.STMT_PREPARE);
    let prepared: { id: number; parameters: number } | null = null;
    return this.#exchangeOf((resolve, reject) => {
      this.#socket.write(writePayload(0, payload));
      return (answer, sequence) => {
        if (prepared === null && answer[0] === 0) {
          prepared = { id: answer.readUInt32LE(1), parameters: answer.readUInt16LE(7) };
        }
        const framed = writePayload(sequence, answer);
        columns?.add(framed);
        if (tracker.feed(framed, 0, framed.length) === NOT_ENDED) return;
        if (prepared === null) reject(new ServerError(parseError(answer)));
        else resolve({ ...prepared, columns: columns?.digest() ?? null });
      };
    });
  }

  /**
   * Asks for one value by a SELECT of dbproxy's own without a LIMIT; null when it is NULL. Rejects as `execute`
   * does.
   */
  async queryValue(select: string): Promise<string | null> {
    return (await this.queryTyped(select)).value;
  }

  /** The same with the type of its column. */
  queryTyped(select: string): Promise<TypedValue> {
    // With a sql_select_limit of 0 there would be no row.
    return this.#query(`${select} LIMIT 1`);
  }

  /** The first values of all rows, those that are NULL left out; for results of dbproxy's own, which are not large. */
  async queryColumn(sql: string): Promise<string[]> {
    const values: string[] = [];
    await this.#query(sql, (value) => values.push(value));
    return values;
  }

  /** First value and its column's type (page_protocol_com_query_response_text_resultset_column_definition). */
  #query(sql: string, onValue: (value: string) => void = () => undefined): Promise<TypedValue> {
    this.memoryAge++;
    const tracker = new ReplyTracker(this.#capabilities, this.#extendedCapabilities);
    tracker.begin(Command.QUERY);
    let packets = 0;
    let columns = 0;
    let value: string | null = null;
    let column: ColumnType = { type: 0, isUnsigned: false };
    return this.#exchangeOf<TypedValue>((resolve, reject) => {
      this.#socket.write(writePayload(0, queryPayload(sql, this.#capabilities)));
      return (payload, sequence) => {
        const hasRow = tracker.expectsRows;
        const framed = writePayload(sequence, payload);
        const ended = tracker.feed(framed, 0, framed.length) !== NOT_ENDED;
        if (packets === 0) columns = payload[0]!;
        else if (packets === 1 && !ended) column = columnType(payload, this.#extendedCapabilities);
        else if (hasRow && !ended && columns > 0) {
          const found = firstValue(payload);
          value ??= found;
          if (found !== null) onValue(found);
        }
        packets++;
        if (!ended) return;
        if (tracker.errno !== 0) reject(new ServerError(parseError(payload)));
        else resolve({ value, ...column });
      };
    });
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

  /** Closes at once; whoever uses it is told this reason. */
  cut(reason: string): void {
    this.#cutFor ??= reason;
    this.close();
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
    this.#saidGoodbye = true;
    this.close();
  }

  onDrain(): void {
    this.user?.onBackendDrain();
  }

  onClose(error: Error | undefined): void {
    const isOurs = this.#closed && !this.#saidGoodbye;
    this.#closed = true;
    const reason = this.#cutFor ?? error?.message ?? 'the server closed the connection';
    const exchange = this.#exchange;
    this.#exchange = null;
    exchange?.fail(refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'connection', reason));
    this.onGone(isOurs ? null : reason);
    this.user?.onBackendClose(reason);
  }

  /** Sends a command that is answered by one packet, OK or ERR. */
  #command(packet: Buffer): Promise<LoginOk> {
    this.memoryAge++;
    return this.#exchangeOf((resolve, reject) => {
      this.#socket.write(packet);
      return (payload) => {
        if (payload[0] === 0xff) reject(new ServerError(parseError(payload)));
        else {
          const { status } = parseOk(payload);
          this.loginOk.status = status;
          resolve({ status, payload: Buffer.from(payload) });
        }
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
        if (this.#startsTls) return this.#refuseClearText();
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

  /** Bytes behind the greeting that asked for TLS came before anybody was sure who speaks. */
  #refuseClearText(): void {
    if (this.#framer.takeRest().length === 0) return;
    const what = 'the server went on in clear text where TLS was to begin';
    this.#fail(refusal('DBPROXY_BACKEND_CONNECT', this.backend, 'login', what));
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
      case 'wait':
        return;
      case 'ok':
        this.loginOk = { status: step.status, payload: step.payload };
        return resolve(this.loginOk);
      case 'tls':
        // Only the very first login may ask for it, and handles it.
        return reject(new Error('TLS in the middle of a connection'));
      case 'password_needed':
        reject(new PasswordNeeded(this.backend));
        return this.close();
      case 'failed':
        reject(new ServerError(step.error));
        return this.close();
    }
  }

  /** Runs one exchange: `begin` sends the first bytes and answers the receiver of the packets. */
  #exchangeOf<Result = LoginOk>(
    begin: (
      resolve: (result: Result) => void,
      reject: (error: Error) => void,
    ) => (payload: Buffer, sequence: number) => void,
  ): Promise<Result> {
    if (this.#exchange !== null || this.user !== null) throw new Error('the connection is in use');
    // What it knew of the last statement of somebody is gone.
    this.lastUser = null;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#exchange = null;
      };
      const receive = begin(
        (result) => {
          done();
          resolve(result);
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

/** MySQL 5.5 and 5.6; MariaDB's greeting says 5.5.5 before its own version. */
function isOldMySql(version: string): boolean {
  return /^5\.[0-6]\./.test(version) && !version.includes('MariaDB');
}
