/**
 * One client from its greeting to its end. The steps: log in (the conversation does it) → find a backend (or
 * wait for one, within queue_timeout) → relay. The relay does the work; the session decides what the relay
 * cannot: the end, KILL, a change of user, a reset, and what a read endpoint refuses.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import { ByteSocket, type ByteStream, type SocketHandler } from '../base/socket.ts';
import {
  identityKey,
  initialSettings,
  PasswordNeeded,
  type BackendConnection,
  type LoginOk,
} from '../backend/connection.ts';
import { takeSlotInTime } from '../backend/slots.ts';
import type { SessionInfo, SessionPlace } from '../ipc/messages.ts';
import { CompressedStream } from '../transport/compressed-stream.ts';
import { withoutPassword } from '../protocol/auth.ts';
import { Command } from '../protocol/constants.ts';
import { compressionOf } from '../protocol/compression.ts';
import type { AcceptedLogin } from '../protocol/login-server.ts';
import { toErrorPacket, writeError, writeOk, writePayload } from '../protocol/packets.ts';
import { queryPayload, textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { parseKill, type KillStatement } from '../sql/kill.ts';
import { guardRead } from '../sql/read-guard.ts';
import type { SessionContext, SessionEndpoint } from './context.ts';
import type { QueryCounter } from './counters.ts';
import { flagsOf, loginKey, type KnownLogin } from './known-logins.ts';
import { findBackend, sessionRequest, type SessionRequest } from './find-backend.ts';
import { LoginConversation, type LoginHost } from './login-conversation.ts';
import { StatementDispatcher, type DispatchHost } from './dispatcher.ts';
import { INSPECT_BYTES, Relay, type Dispatcher, type RelayFlags, type RelayHost } from './relay.ts';
import type { KnownUser } from './users.ts';

/** login: until accepted. waiting: for a backend. relay: in service. ended: closing or closed. */
type State = 'login' | 'waiting' | 'relay' | 'ended';

/** Identities that are known to have been introduced; then all are introduced again. */
const MOST_INTRODUCED = 1000;

/** A session that guesses is ended; MariaDB counts as far. */
const MOST_REFUSED_CHANGES = 3;

export class Session implements SocketHandler, RelayHost, LoginHost, DispatchHost {
  readonly id: number;
  readonly endpoint: SessionEndpoint;
  readonly #context: SessionContext;
  readonly #onOver: (session: Session) => void;
  readonly #conversation: LoginConversation;
  readonly #startedMs: number;
  #state: State = 'login';
  #stateSinceMs: number;
  #accepted: AcceptedLogin | null = null;
  #user: KnownUser | null = null;
  /** What a session that changes connections asks of pools. */
  #request: SessionRequest | null = null;
  /** Its reads must see what it has written as somebody else. */
  #hasWritten = false;
  /** Who the session was before a change of user that is under way. */
  #before: { login: AcceptedLogin; user: KnownUser } | null = null;
  #hasChangedUser = false;
  #refusedChanges = 0;
  /** What must precede the packet that ends the login, and the number of that one. */
  #prelude: Buffer | null = null;
  #loginSequence = 0;
  #userSlot: string | null = null;
  /** The one connection of a session that keeps one. */
  #connection: BackendConnection | null = null;
  #relay: Relay | null = null;
  /** Chooses the connections of a session that changes them, and the flags they all have. */
  #dispatcher: StatementDispatcher | null = null;
  #flags: RelayFlags | null = null;
  /** Client bytes in its input buffer that came while the session waited for a backend. */
  #early = 0;
  #queries: QueryCounter | null = null;
  #queryCount = 0;
  #sentMs = 0;
  /** Why the session is to end as soon as it may, and when at the latest. */
  #ending: { error: ProxyError; deadlineMs: number } | null = null;
  readonly #whenOver: (() => void)[] = [];

  /** `onOver` is called once, when the session has ended and given everything back. */
  constructor(
    id: number,
    client: ByteSocket,
    endpoint: SessionEndpoint,
    context: SessionContext,
    onOver: (session: Session) => void,
  ) {
    this.id = id;
    this.#onOver = onOver;
    this.endpoint = endpoint;
    this.#context = context;
    this.#startedMs = context.clock.nowMs();
    this.#stateSinceMs = this.#startedMs;
    this.#conversation = new LoginConversation(id, client, endpoint, context, this);
  }

  /** Greets the client. */
  start(): void {
    this.#conversation.start();
  }

  /** The backend it is on; null while it has none. */
  get backend(): string | null {
    return this.#serving?.backend ?? null;
  }

  /** Something of it is on the backend. */
  isOn(backend: string): boolean {
    return this.#dispatcher === null ? this.backend === backend : this.#dispatcher.isOn(backend);
  }

  /** It is to be killed on the server: the connection must not have become that of somebody else by then. */
  markForKill(): void {
    const connection = this.#serving;
    if (connection !== null) connection.isMarked = true;
  }

  /** The connection that serves it now. */
  get #serving(): BackendConnection | null {
    return this.#dispatcher === null ? this.#connection : this.#dispatcher.attached;
  }

  /** What chooses its connections; null where it keeps one, and before it is in service. */
  get dispatcher(): StatementDispatcher | null {
    return this.#dispatcher;
  }

  /** The one connection of a session that keeps one. */
  get connection(): BackendConnection | null {
    return this.#connection;
  }

  /** Where it is; a session that changes connections may be nowhere. Null before it is in service. */
  get place(): SessionPlace | null {
    const connection = this.#serving;
    const user = this.#accepted?.user ?? '';
    if (connection !== null) return { backend: connection.backend, threadId: connection.threadId, user };
    return this.#dispatcher === null ? null : { backend: '', threadId: 0, user };
  }

  /** A statement is under way. */
  get isActive(): boolean {
    return this.#relay !== null && !this.#relay.idle;
  }

  /** For SHOW SESSIONS. */
  info(): SessionInfo {
    const nowMs = this.#context.clock.nowMs();
    return {
      id: this.id,
      user: this.#accepted?.user ?? '',
      clientAddress: this.#clientAddress,
      tls: this.#conversation.tls,
      listener: this.endpoint.config.name,
      backend: this.backend,
      threadId: this.#serving?.threadId ?? null,
      database: this.#accepted?.database ?? '',
      state: this.#stateName(),
      ageMs: nowMs - this.#startedMs,
      stateMs: nowMs - (this.#relay?.idle === false ? this.#sentMs : this.#stateSinceMs),
      queries: this.#queryCount,
    };
  }

  /** Bytes of a session in service that are not in the counters yet. */
  liveBytes(): { fromClient: number; toClient: number } {
    return { fromClient: this.#relay?.bytesFromClient ?? 0, toClient: this.#relay?.bytesToClient ?? 0 };
  }

  /** Looks at the limits of time; called by the worker a few times a second. */
  tick(nowMs: number): void {
    const { handshakeTimeoutMs, idleTimeoutMs } = this.endpoint.config;
    if (this.#state === 'login' && nowMs - this.#stateSinceMs > handshakeTimeoutMs) {
      const { expectedSequence } = this.#conversation;
      this.#refuseLogin(refusal('DBPROXY_HANDSHAKE_TIMEOUT', handshakeTimeoutMs), expectedSequence);
    } else if (this.#ending !== null && nowMs >= this.#ending.deadlineMs) {
      this.end(this.#ending.error);
    } else if (this.#relay?.idle === true && nowMs - this.#stateSinceMs > idleTimeoutMs) {
      this.end(refusal('DBPROXY_IDLE_TIMEOUT', idleTimeoutMs));
    }
  }

  /**
   * Ends the session at its next rest (no statement, no transaction), and at `deadlineMs` in any case.
   * Resolves when it has ended.
   */
  endWhenIdle(error: ProxyError, deadlineMs: number): Promise<void> {
    if (this.#isOver()) return Promise.resolve();
    const ended = new Promise<void>((resolve) => this.#whenOver.push(resolve));
    if (this.#ending === null || deadlineMs < this.#ending.deadlineMs) this.#ending = { error, deadlineMs };
    this.#endIfResting();
    return ended;
  }

  /**
   * Has the session leave a backend: one that changes connections goes on elsewhere as soon as nothing pins it
   * there; any other ends as by `endWhenIdle`. Resolves when nothing of it is left there.
   */
  leaveBackend(backend: string, error: ProxyError, deadlineMs: number): Promise<void> {
    const dispatcher = this.#dispatcher;
    if (dispatcher === null) return this.endWhenIdle(error, deadlineMs);
    const ending = { error, deadlineMs };
    return new Promise((resolve) => {
      this.#whenOver.push(resolve);
      const left = (): void => {
        if (this.#ending === ending) this.#ending = null;
        resolve();
      };
      if (dispatcher.leave(backend, left)) return left();
      if (this.#ending === null || deadlineMs < this.#ending.deadlineMs) this.#ending = ending;
      this.#endIfResting();
    });
  }

  /**
   * Ends the session now. A client that waits for an answer gets `error`; one that rests sees its
   * connection close in order, as a server's does that shuts down.
   */
  end(error: ProxyError): void {
    if (this.#state === 'ended') return;
    const relay = this.#relay;
    const waitsForAnswer =
      this.#state === 'waiting' || (relay !== null && !relay.idle && !relay.answerStarted);
    if (waitsForAnswer) this.#sayLast(error, relay?.answerSequence ?? this.#loginSequence);
    else if (error.code !== 'DBPROXY_SESSION_KILLED' && (relay === null || relay.idle)) this.#client.end();
    // Who is killed at rest is gone at once: an end in order would come after the killer's OK.
    else this.#client.destroy();
    this.#over(false);
  }

  /** Ends the running statement on the server, as KILL QUERY by the session's own user. */
  async killQuery(): Promise<void> {
    if (this.#serving === null) return;
    this.markForKill();
    const { backend, threadId } = this.#serving;
    await this.#context.pool(backend).executeAside(this.#poolRequest(), `KILL QUERY ${threadId}`);
  }

  // The client's side between relays.

  /** It may send its first commands together with its login: they wait in its input buffer. */
  onData(length: number): void {
    if (this.#state !== 'waiting') return;
    this.#early = length;
    this.#client.pause();
  }

  onDrain(): void {
    // Greetings and errors are own memory: nothing waits for them.
  }

  onClose(error: Error | undefined): void {
    this.onClientGone(error);
  }

  // What the relay asks.

  onCommand(payload: Buffer, sequence: number): void {
    switch (payload[0] ?? Command.SLEEP) {
      case Command.QUIT:
        // It has taken every answer and goes; only TLS has a word to say before it closes.
        if (this.#client instanceof ByteSocket) this.#client.destroy();
        else this.#client.end();
        return this.#over(this.#relay!.reusable);
      case Command.QUERY:
      case Command.STMT_PREPARE:
        return this.#statement(payload);
      case Command.PROCESS_KILL:
        if (payload.length !== 5) return this.#forward(payload);
        return this.#background(this.#kill(payload, { query: false, id: payload.readUInt32LE(1) }));
      case Command.CHANGE_USER:
        return this.#changeUser(payload);
      case Command.RESET_CONNECTION:
        return this.#background(this.#reset());
      default:
        return this.#answerError(refusal('DBPROXY_UNKNOWN_COMMAND'), sequence);
    }
  }

  onSent(): void {
    this.#sentMs = this.#context.clock.nowMs();
  }

  onAnswered(): void {
    const nowMs = this.#context.clock.nowMs();
    this.#stateSinceMs = nowMs;
    this.#queryCount++;
    const { errno } = this.#relay!.tracker;
    const durationMs = nowMs - this.#sentMs;
    if (this.#dispatcher === null) this.#queries!.record(durationMs);
    else this.#dispatcher.count(durationMs);
    if (errno !== 0) this.#context.counters.error(errno);
    if (this.#ending !== null) this.#endIfResting();
  }

  onProtocolError(expected: number, got: number): void {
    const error = refusal('DBPROXY_PACKET_OUT_OF_ORDER');
    this.#context.log.warn('session.protocol_error', { ...this.#who(), error: error.message, expected, got });
    // Servers count anew for this one.
    this.#sayLast(error, 0);
    this.#over(false);
  }

  onTooLarge(command: number, bytes: number, sequence: number): void {
    const what = `command 0x${command.toString(16)} of ${bytes} bytes cannot be checked; the limit here is ${INSPECT_BYTES}`;
    this.#answerError(refusal('DBPROXY_READ_ENDPOINT', this.endpoint.config.name, what), sequence);
  }

  onClientGone(error: Error | undefined): void {
    if (this.#state === 'ended') return;
    // Lying lengths of compressed packets and the like: the stream has closed already.
    if (isRefusal(error)) {
      this.#context.counters.error(error.errno);
      this.#context.log.warn('session.protocol_error', { ...this.#who(), error: error.message });
    } else {
      this.#context.log.debug('session.client_gone', { ...this.#who(), error: error?.message });
    }
    this.#over(this.#relay?.reusable === true);
  }

  onBackendGone(reason: string): void {
    if (this.#state === 'ended') return;
    const backend = this.backend ?? '';
    this.#context.log.debug('session.backend_gone', { ...this.#who(), backend, reason });
    this.end(refusal('DBPROXY_BACKEND_LOST', backend, reason));
  }

  // What the conversation tells.

  /** The client is who it says; may it be here? */
  onAccepted(login: AcceptedLogin, user: KnownUser, prelude: Buffer | null, sequence: number): void {
    const { config } = this.endpoint;
    this.#accepted = login;
    this.#user = user;
    this.#prelude = prelude;
    this.#loginSequence = sequence;
    const { address } = this.#conversation;
    if (!user.allowsAddress(address)) {
      return this.#refuseLogin(
        refusal('DBPROXY_ADDRESS_NOT_ALLOWED', address, `user '${user.name}'`),
        sequence,
      );
    }
    if (!user.allowsListener(config.name)) {
      const what = `listener '${config.name}' as '${user.name}' (its 'listeners')`;
      return this.#refuseLogin(refusal('DBPROXY_ADDRESS_NOT_ALLOWED', address, what), sequence);
    }
    this.#enter('waiting');
    this.#client.handler = this;
    this.#early = this.#conversation.takeEarly();
    // While it waits, its going must be noticed.
    if (this.#early === 0) this.#client.resume();
    this.#background(this.#connection === null ? this.#findBackend() : this.#changeBackendUser());
  }

  onRefused(error: ProxyError, sequence: number): void {
    if (this.#before === null || !this.#mayGoBack()) return this.#refuseLogin(error, sequence);
    this.#loginSequence = sequence;
    this.#early = this.#conversation.takeEarly();
    this.#reportRefusedLogin(error, error.code);
    this.#background(this.#resetAndGoBack(error));
  }

  #refuseLogin(error: ProxyError, sequence: number): void {
    if (this.#state === 'ended') return;
    this.#reportRefusedLogin(error, error.code);
    this.#sayLast(error, sequence);
    this.#over(false);
  }

  #reportRefusedLogin(error: unknown, counted: string): void {
    this.#context.counters.loginRefused(counted);
    this.#context.log.warn('session.login_refused', {
      ...this.#who(),
      error: toErrorPacket(error).message,
      ...(isRefusal(error) && { code: error.code }),
      reason: this.#conversation.reason,
    });
  }

  // Finding a backend.

  /** Finds a backend, tells the client that it is logged in, and begins to relay. */
  async #findBackend(): Promise<void> {
    const { counters } = this.#context;
    counters.waiting++;
    try {
      const slot = await this.#slotFor(this.#user!);
      this.#releaseUserSlot();
      this.#userSlot = slot;
      if (this.#isOver()) return this.#releaseUserSlot();
      const request = this.#poolRequest();
      if (this.#shouldAskPassword(request)) return this.#askPassword();
      const known = this.endpoint.shared?.logins.find(loginKey(request));
      if (known !== undefined) return this.#serveShared(request, known);
      const connection = await findBackend(this.#context, this.endpoint, request, () => this.#isOver());
      if (this.#isOver()) return this.#context.pool(connection.backend).release(connection, true);
      if (this.endpoint.shared === null) this.#serve(connection);
      else await this.#share(connection, request);
    } catch (error) {
      if (this.#isOver()) return;
      if (error instanceof PasswordNeeded && this.#mayAskPassword()) {
        this.#askPassword();
      } else {
        this.#refuseService(error);
      }
    } finally {
      counters.waiting--;
    }
  }

  /**
   * The session will change connections: this one shows that the server lets it in, and with which database, and
   * what it says then.
   */
  async #share(connection: BackendConnection, request: SessionRequest): Promise<void> {
    const pool = this.#context.pool(connection.backend);
    const isLike = connection.preparation.database === request.preparation.database;
    try {
      // What the server says at a login it says again at a change of user.
      if (connection.worn || !isLike) await connection.prepare(request.preparation);
    } catch (error) {
      pool.release(connection, false);
      throw error;
    }
    const login = { payload: connection.loginOk.payload, flags: flagsOf(connection) };
    this.endpoint.shared!.logins.keep(loginKey(request), login);
    pool.giveBack(connection);
    if (!this.#isOver()) this.#serveShared(request, login);
  }

  /**
   * Servers know some accounts by a hash that they make at a login with the clear password. While it is at hand,
   * each replica gets one.
   */
  #introduce(request: SessionRequest): void {
    const { shared, config } = this.endpoint;
    const key = identityKey(request.identity);
    if (!shared!.passwords.has(key) && shared!.introduced.has(key)) return;
    shared!.passwords.delete(key);
    if (shared!.introduced.size >= MOST_INTRODUCED) shared!.introduced.clear();
    shared!.introduced.add(key);
    const { backends } = this.#context.snapshot();
    for (const { name, cluster, readable } of backends) {
      if (cluster !== config.cluster || !readable) continue;
      const preparation = { ...request.preparation, readOnly: true };
      const settings = initialSettings(preparation);
      const pool = this.#context.pool(name);
      const wish = { ...request, preparation, settings, timeoutMs: config.queueTimeoutMs };
      pool.acquire(wish).then(
        (connection) => pool.giveBack(connection),
        (error: unknown) =>
          this.#context.log.debug('session.not_introduced', { backend: name, error: String(error) }),
      );
    }
  }

  #serveShared(request: SessionRequest, { payload, flags }: KnownLogin): void {
    this.#request = request;
    this.#flags = flags;
    if (request.secret.password !== undefined) this.#introduce(request);
    this.#welcome(payload);
    this.#beginRelay(null);
    this.#context.log.debug('session.opened', { ...this.#who(), backend: '' });
  }

  /** What this session asks of a pool. */
  #poolRequest(): SessionRequest {
    const isFirstLogin = !this.#hasChangedUser;
    return sessionRequest(this.endpoint, this.#accepted!, this.#user!, this.#conversation, isFirstLogin);
  }

  /** A replica wanted the password, and the client can tell it so that nobody else hears it. */
  #shouldAskPassword({ identity }: SessionRequest): boolean {
    const isWanted = this.endpoint.shared?.passwords.has(identityKey(identity)) === true;
    return isWanted && this.#conversation.tls !== null && this.#mayAskPassword();
  }

  /** A client that went on without waiting for its OK cannot be asked any more. */
  #mayAskPassword(): boolean {
    return this.#accepted!.secret.password === undefined && this.#early === 0;
  }

  /** What the client has proved is not enough for the server: it is asked for more before it gets its OK. */
  #askPassword(): void {
    this.#enter('login');
    this.#conversation.askPassword();
  }

  /** A place among the sessions of a user that may have only so many; null for one without a limit. */
  async #slotFor({ name, maxConnections }: KnownUser): Promise<string | null> {
    if (maxConnections === 0) return null;
    const key = `user:${name}`;
    if (!(await takeSlotInTime(this.#context.slots, this.#context.clock, key))) {
      throw refusal('DBPROXY_USER_CONNECTIONS', name, maxConnections);
    }
    return key;
  }

  #serve(connection: BackendConnection): void {
    const { config } = this.endpoint;
    this.#connection = connection;
    this.#queries = this.#context.counters.queries(config.name, connection.backend, config.mode);
    this.#welcome(connection.loginOk.payload);
    this.#beginRelay(connection);
    this.#context.log.debug('session.opened', { ...this.#who(), backend: connection.backend });
  }

  /** Tells the client that it is logged in. */
  #welcome(okPayload: Buffer): void {
    const login = this.#accepted!;
    // From here on what the login proved is enough; a password that only went through our hands is forgotten.
    if (this.#user!.secret.password === undefined) {
      this.#accepted = { ...login, secret: withoutPassword(login.secret) };
    }
    const ok = writePayload(this.#loginSequence, okPayload);
    this.#client.write(this.#prelude === null ? ok : Buffer.concat([this.#prelude, ok]));
    this.#prelude = null;
    this.#compress(login);
  }

  /** `connection` null: the session changes connections. */
  #beginRelay(connection: BackendConnection | null): void {
    this.#enter('relay');
    if (connection === null) {
      const { endpoint } = this;
      const makeRelay = (dispatcher: Dispatcher): Relay =>
        new Relay(this.#client, this.#flags!, this, dispatcher);
      this.#dispatcher = new StatementDispatcher(this.#context, endpoint, endpoint.shared!, this, makeRelay);
      // What was written before a change of user must be seen after it.
      this.#dispatcher.record.hasWritten = this.#hasWritten;
      this.#relay = this.#dispatcher.relay;
    } else {
      this.#relay = new Relay(this.#client, connection, this, this.endpoint.config.mode === 'read');
    }
    const early = this.#early;
    this.#early = 0;
    if (early === 0) this.#client.resume();
    this.#relay.begin(early);
    if (this.#ending !== null) this.#endIfResting();
  }

  /** From the OK on the two may have agreed to speak compressed. */
  #compress({ capabilities, zstdLevel }: AcceptedLogin): void {
    const algorithm = compressionOf(capabilities);
    if (algorithm === null || this.#client instanceof CompressedStream) return;
    const early = Buffer.from(this.#client.input.subarray(0, this.#early));
    this.#early = 0;
    const stream = new CompressedStream(this.#client, { role: 'server', algorithm, level: zstdLevel, early });
    this.#conversation.useChannel(stream);
  }

  #refuseService(error: unknown): void {
    const login = this.#accepted!;
    let answer = error;
    if (isRefusal(error) && error.code === 'DBPROXY_BACKEND_LOGIN') {
      // What we know of the account may be older than what the server knows.
      void this.#context.refreshAccounts(this.endpoint.config.cluster);
    }
    if (error instanceof PasswordNeeded) {
      answer = refusal('DBPROXY_BACKEND_LOGIN', error.backend, login.user, error.message);
    }
    this.#reportRefusedLogin(answer, isRefusal(answer) ? answer.code : 'server');
    this.#sayPrelude();
    this.#sayLast(answer, this.#loginSequence);
    this.#over(false);
  }

  /** The client is told that it has proved itself, also where the next word is an error. */
  #sayPrelude(): void {
    if (this.#prelude !== null) this.#client.write(this.#prelude);
    this.#prelude = null;
  }

  // Commands that do not simply pass.

  #statement(payload: Buffer): void {
    const relay = this.#relay!;
    const start = textStart(payload, 0, payload.length, this.#accepted!.capabilities);
    // A server may find a statement behind attributes that cannot be read here.
    if (start === UNKNOWN_START) {
      return this.endpoint.config.mode === 'read'
        ? this.#answerError(
            refusal(
              'DBPROXY_READ_ENDPOINT',
              this.endpoint.config.name,
              'its query attributes cannot be read',
            ),
            0,
          )
        : relay.forward(payload);
    }
    const kill = payload[0] === Command.QUERY ? parseKill(payload, start, payload.length) : undefined;
    if (kill !== undefined) return this.#background(this.#kill(payload, kill));
    const guards = this.endpoint.config.mode === 'read';
    if (guards && this.answersRead(payload, 0, start, payload.length)) return;
    relay.forward(payload);
  }

  /**
   * Looks at the statement of a read endpoint, `bytes[start, end)` with its text at `text`. True: it does not
   * go to a server, and has been answered.
   */
  answersRead(bytes: Buffer, start: number, text: number, end: number): boolean {
    const verdict = guardRead(bytes, text, end, this.#isOnPrimary());
    if (verdict.kind === 'pass') return false;
    if (verdict.kind === 'answer_ok' && bytes[start] === Command.QUERY) this.#answerOk();
    else {
      const what = verdict.kind === 'refuse' ? verdict.what : 'a prepared SET … READ WRITE';
      this.#answerError(refusal('DBPROXY_READ_ENDPOINT', this.endpoint.config.name, what), 0);
    }
    return true;
  }

  /** A read session that fell back to the primary, where `read_only` does not help against routines. */
  #isOnPrimary(): boolean {
    const { backends } = this.#context.snapshot();
    const { backend } = this;
    const { cluster } = this.endpoint.config;
    // One that changes connections is on whichever server reads now.
    if (backend === null) return !backends.some((view) => view.cluster === cluster && view.readable);
    return backends.find(({ name }) => name === backend)?.role !== 'replica';
  }

  // What the dispatcher asks.

  get request(): SessionRequest {
    return this.#request!;
  }

  isOver(): boolean {
    return this.#isOver();
  }

  background(work: Promise<void>): void {
    this.#background(work);
  }

  answer(bytes: Buffer): void {
    this.#answer(bytes);
  }

  answerError(error: unknown): void {
    if (!this.#isOver()) this.#answerError(error, this.#relay!.answerSequence - 1);
  }

  kill(payload: Buffer, kill: KillStatement): void {
    this.#background(this.#kill(payload, kill));
  }

  fail(error: unknown): void {
    const { message } = toErrorPacket(error);
    this.end(isRefusal(error) ? error : refusal('DBPROXY_SESSION_ENDED', message));
  }

  /** A command passes to the server as it is. */
  #forward(payload: Buffer): void {
    if (this.#dispatcher === null) this.#relay!.forward(payload);
    else this.#dispatcher.forwardHome(payload);
  }

  /**
   * KILL with an id that a client was told: runs as KILL of the connection that this session has on the
   * server, by the killer's own account, so that the server decides whether it may.
   */
  async #kill(payload: Buffer, kill: KillStatement): Promise<void> {
    const place = await this.#context.placeOf(kill.id);
    const relay = this.#relay;
    if (relay === null || this.#isOver()) return;
    if (place === null) return this.#forward(payload);
    if (place.threadId === 0) return this.#killAtRest(kill, place.user);
    const sql = `KILL ${kill.query ? 'QUERY ' : ''}${place.threadId}`;
    // Who kills itself gets whatever the server says to that.
    if (kill.id === this.id) return this.#forward(queryPayload(sql, this.#accepted!.capabilities));
    try {
      const isHere = place.backend === this.backend;
      const ok = isHere
        ? await this.#executeHere(sql)
        : await this.#context.pool(place.backend).executeAside(this.#poolRequest(), sql);
      // As at a server, the killed one is gone before the killer hears of it.
      if (!kill.query) await this.#context.endKilled(kill.id);
      if (!this.#isOver())
        this.#answer(
          isHere
            ? writePayload(relay.answerSequence, ok.payload)
            : writeOk(relay.answerSequence, { status: relay.tracker.status }),
        );
    } catch (error) {
      if (this.#isOver()) return;
      if (this.#serving?.closed === true) return this.onBackendGone(toErrorPacket(error).message);
      this.#answerError(error, 0);
    }
  }

  /** KILL of a session that has no connection now, so that no server can be asked whether this one may. */
  async #killAtRest({ query, id }: KillStatement, user: string): Promise<void> {
    if (user !== this.#accepted!.user) return this.#answerError(refusal('DBPROXY_NOT_OWNER', id), 0);
    if (!query) await this.#context.endKilled(id);
    if (!this.#isOver()) this.#answerOk();
  }

  /** Runs a statement without rows on this session's own connection, which rests. */
  async #executeHere(sql: string): Promise<LoginOk> {
    const connection = this.#serving!;
    connection.user = null;
    return connection.execute(sql).finally(() => {
      if (!this.#isOver()) connection.user = this.#relay;
    });
  }

  /** COM_RESET_CONNECTION, after which a read endpoint's session must be READ ONLY again. */
  async #reset(): Promise<void> {
    const relay = this.#relay!;
    if (this.#dispatcher !== null) return this.#resetShared(this.#dispatcher);
    const connection = this.#connection!;
    connection.user = null;
    try {
      const ok = await connection.reset(this.endpoint.config.mode === 'read');
      relay.tracker.status = ok.status;
      if (this.#isOver()) return;
      connection.user = relay;
      this.#answer(writePayload(relay.answerSequence, ok.payload));
    } catch (error) {
      if (this.#isOver()) return;
      connection.user = relay;
      if (connection.closed) return this.onBackendGone(toErrorPacket(error).message);
      this.#answerError(error, 0);
    }
  }

  async #resetShared(dispatcher: StatementDispatcher): Promise<void> {
    try {
      const payload = await dispatcher.reset();
      if (!this.#isOver()) this.#answer(writePayload(this.#relay!.answerSequence, payload));
    } catch (error) {
      if (!this.#isOver()) this.#answerError(error, 0);
    }
  }

  /** COM_CHANGE_USER: a new login on the same connections, towards the client and towards the server. */
  #changeUser(payload: Buffer): void {
    const login = this.#accepted!;
    this.#before = { login, user: this.#user! };
    this.#hasChangedUser = true;
    this.#dropRelay();
    if (this.#dispatcher === null) this.#connection!.user = null;
    else this.#stopDispatcher(true);
    this.#enter('login');
    this.#conversation.changeUser(payload, login.capabilities);
  }

  /** The client has proved who it is now; the server must take it for that, too. */
  async #changeBackendUser(): Promise<void> {
    const connection = this.#connection!;
    // The first user's place is kept until the second one is let in.
    let slot: string | null = null;
    try {
      slot = await this.#slotFor(this.#user!);
      await connection.changeUser(this.#poolRequest());
    } catch (error) {
      if (slot !== null) this.#context.slots.release(slot);
      if (!this.#isOver()) this.#changeFailed(error);
      return;
    }
    this.#releaseUserSlot();
    this.#userSlot = slot;
    if (this.#isOver()) return this.#releaseUserSlot();
    this.#before = null;
    this.#serve(connection);
  }

  #changeFailed(error: unknown): void {
    const connection = this.#connection!;
    if (error instanceof PasswordNeeded && this.#mayAskPassword()) {
      // In the middle of its question the connection is of no more use; the next one gets the password.
      this.#before = null;
      this.#giveBack(false);
      return this.#askPassword();
    }
    if (connection.closed) return this.onBackendGone(toErrorPacket(error).message);
    if (!this.#mayGoBack()) return this.#refuseService(error);
    this.#reportRefusedLogin(error, isRefusal(error) ? error.code : 'server');
    // What the server has refused it has reset.
    if (isRefusal(error)) return this.#background(this.#resetAndGoBack(error));
    this.#goBack(error);
  }

  /** A change of user was refused here, so the server has not seen it: it resets its session all the same. */
  async #resetAndGoBack(error: ProxyError): Promise<void> {
    const connection = this.#connection;
    if (connection === null) return this.#goBack(error);
    try {
      await connection.prepare({ ...connection.preparation, settingFlags: 0 });
    } catch (failure) {
      if (!this.#isOver()) this.onBackendGone(toErrorPacket(failure).message);
      return;
    }
    if (!this.#isOver()) this.#goBack(error);
  }

  /** MySQL ends a session whose change of user it refuses, MariaDB lets it go on as the user it was. */
  #mayGoBack(): boolean {
    const isMariaDb = this.endpoint.offer().extendedCapabilities !== undefined;
    return isMariaDb && ++this.#refusedChanges < MOST_REFUSED_CHANGES;
  }

  /** The session goes on as the user it was. */
  #goBack(error: unknown): void {
    const { login, user } = this.#before!;
    this.#before = null;
    this.#accepted = login;
    this.#user = user;
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.#sayPrelude();
    this.#client.write(writeError(this.#loginSequence, packet));
    this.#beginRelay(this.#connection);
  }

  #answerError(error: unknown, sequence: number): void {
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.#answer(writeError((sequence + 1) & 0xff, packet));
  }

  #answerOk(): void {
    const { answerSequence, tracker } = this.#relay!;
    this.#answer(writeOk(answerSequence, { status: tracker.status }));
  }

  /** Answers a command that did not go to the server; the session rests after it as after any other. */
  #answer(bytes: Buffer): void {
    this.#stateSinceMs = this.#context.clock.nowMs();
    this.#queryCount++;
    this.#relay!.answer(bytes);
    if (this.#ending !== null) this.#endIfResting();
  }

  // The end.

  #endIfResting(): void {
    const relay = this.#relay;
    const rests = relay !== null ? relay.idle && !relay.inTransaction : this.#state === 'login';
    if (rests) this.end(this.#ending!.error);
  }

  /** The last words to the client. */
  #sayLast(error: unknown, sequence: number): void {
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.#client.end(writeError(sequence & 0xff, packet));
  }

  /** Gives everything back; `reusable`: the backend connection is at rest and may serve another. */
  #over(reusable: boolean): void {
    this.#state = 'ended';
    this.#conversation.stop();
    this.#dropRelay();
    this.#stopDispatcher(reusable);
    this.#giveBack(reusable);
    this.#releaseUserSlot();
    this.#context.log.debug('session.closed', this.#who());
    this.#onOver(this);
    for (const tell of this.#whenOver) tell();
  }

  #dropRelay(): void {
    const { fromClient, toClient } = this.liveBytes();
    this.#context.counters.bytesFromClients += fromClient;
    this.#context.counters.bytesToClients += toClient;
    this.#relay?.stop();
    this.#relay = null;
    this.#client.handler = this;
  }

  #stopDispatcher(reusable: boolean): void {
    const dispatcher = this.#dispatcher;
    this.#dispatcher = null;
    if (dispatcher === null) return;
    this.#hasWritten ||= dispatcher.hasWritten;
    dispatcher.stop(reusable);
  }

  #giveBack(reusable: boolean): void {
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) this.#context.pool(connection.backend).release(connection, reusable);
  }

  #releaseUserSlot(): void {
    if (this.#userSlot !== null) this.#context.slots.release(this.#userSlot);
    this.#userSlot = null;
  }

  #enter(state: State): void {
    this.#state = state;
    this.#stateSinceMs = this.#context.clock.nowMs();
  }

  #isOver(): boolean {
    return this.#state === 'ended';
  }

  get #client(): ByteStream {
    return this.#conversation.client;
  }

  get #clientAddress(): string {
    return `${this.#conversation.address}:${this.#conversation.port}`;
  }

  #stateName(): string {
    if (this.#ending !== null || this.#state === 'ended') return 'closing';
    if (this.#relay === null) return this.#state;
    if (!this.#relay.idle) return 'active';
    return this.#relay.inTransaction ? 'transaction' : 'idle';
  }

  /** Runs a piece of work that answers for itself; what it still throws is a defect of ours. */
  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#context.log.error('session.defect', {
        ...this.#who(),
        error: String(error instanceof Error ? error.stack : error),
      });
      if (!this.#isOver()) this.end(refusal('DBPROXY_SESSION_ENDED', 'an internal error'));
    });
  }

  #who(): { session: number; user: string; client: string; listener: string } {
    return {
      session: this.id,
      user: this.#accepted?.user ?? this.#conversation.user,
      client: this.#clientAddress,
      listener: this.endpoint.config.name,
    };
  }
}
