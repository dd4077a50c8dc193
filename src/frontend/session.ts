/**
 * One client from its greeting to its end. The steps: greet → log in → find a backend (or wait for one,
 * within queue_timeout) → relay. The relay does the work; the session decides what the relay cannot: the
 * end, KILL, a change of user, a reset, and what a read endpoint refuses.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { ByteSocket, SocketHandler } from '../base/socket.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { takeSlotInTime } from '../backend/slots.ts';
import type { SessionInfo, SessionPlace } from '../ipc/messages.ts';
import { Collation, Command } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import {
  ServerLogin,
  type AcceptedLogin,
  type LoginStep,
  type ServerLoginOptions,
} from '../protocol/login-server.ts';
import { ServerError, toErrorPacket, writeError, writeOk, writeCommand } from '../protocol/packets.ts';
import { parseKill, type KillStatement } from '../sql/kill.ts';
import { guardRead } from '../sql/read-guard.ts';
import type { SessionContext, SessionEndpoint } from './context.ts';
import type { QueryCounter } from './counters.ts';
import { findBackend, poolRequest } from './find-backend.ts';
import { INSPECT_BYTES, Relay, type RelayHost } from './relay.ts';

/** login: until accepted. waiting: for a backend. relay: in service. ended: closing or closed. */
type State = 'login' | 'waiting' | 'relay' | 'ended';

/** A login is short; anything longer is an attempt on our memory. */
const LOGIN_PACKET_BYTES = 64 * 1024;

export class Session implements SocketHandler, RelayHost {
  readonly id: number;
  readonly endpoint: SessionEndpoint;
  readonly #context: SessionContext;
  readonly #onOver: (session: Session) => void;
  readonly #client: ByteSocket;
  readonly #clientAddress: string;
  readonly #clientPort: number;
  readonly #startedMs: number;
  #state: State = 'login';
  #stateSinceMs: number;
  readonly #login: ServerLogin;
  #framer = new PacketFramer(LOGIN_PACKET_BYTES);
  #accepted: AcceptedLogin | null = null;
  /** Number of the packet that ends the login. */
  #loginSequence = 0;
  #userSlot: string | null = null;
  #connection: BackendConnection | null = null;
  #relay: Relay | null = null;
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
    this.#client = client;
    const { address } = endpoint.config;
    this.#clientAddress = address.kind === 'unix' ? 'localhost' : client.remoteAddress;
    this.#clientPort = client.remotePort;
    this.#startedMs = context.clock.nowMs();
    this.#stateSinceMs = this.#startedMs;
    this.#login = new ServerLogin(this.#loginOptions());
  }

  /** Greets the client. */
  start(): void {
    this.#client.handler = this;
    this.#client.write(this.#login.greeting());
    this.#client.resume();
  }

  /** The backend it is on; null while it has none. */
  get backend(): string | null {
    return this.#connection?.backend ?? null;
  }

  get place(): SessionPlace | null {
    return this.#connection === null
      ? null
      : { backend: this.#connection.backend, threadId: this.#connection.threadId };
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
      clientAddress: `${this.#clientAddress}:${this.#clientPort}`,
      listener: this.endpoint.config.name,
      backend: this.backend,
      threadId: this.#connection?.threadId ?? null,
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
      const { expectedSequence } = this.#login;
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
   * Ends the session now. A client that waits for an answer gets `error`; one that rests sees its
   * connection close in order, as a server's does that shuts down.
   */
  end(error: ProxyError): void {
    if (this.#state === 'ended') return;
    const relay = this.#relay;
    const waitsForAnswer =
      this.#state === 'waiting' || (relay !== null && !relay.idle && !relay.answerStarted);
    if (waitsForAnswer) this.#sayLast(error, relay?.answerSequence ?? this.#loginSequence);
    else if (relay === null || relay.idle) this.#client.end();
    else this.#client.destroy();
    this.#over(false);
  }

  /** Ends the running statement on the server, as KILL QUERY by the session's own user. */
  async killQuery(): Promise<void> {
    if (this.#connection === null) return;
    await this.#executeAside(this.#connection.backend, `KILL QUERY ${this.#connection.threadId}`);
  }

  // The client's side before and between relays.

  onData(length: number): void {
    if (this.#state === 'waiting') {
      this.#early = length;
      this.#client.pause();
      return;
    }
    if (this.#state !== 'login') return;
    try {
      let packet = this.#framer.next(this.#client.input.subarray(0, length));
      while (packet !== undefined) {
        this.#step(this.#login.receive(packet.payload, packet.sequence));
        if (this.#state !== 'login') return this.#keepEarly();
        packet = this.#framer.next();
      }
    } catch (error) {
      const { expectedSequence } = this.#login;
      const answer = isRefusal(error) ? error : refusal('DBPROXY_HANDSHAKE', String(error));
      this.#refuseLogin(answer, expectedSequence + 1);
    }
  }

  /** A client may send its first commands together with its login: they wait in its input buffer. */
  #keepEarly(): void {
    const rest = this.#framer.takeRest();
    if (rest.length === 0 || this.#isOver()) return;
    this.#client.input.set(rest);
    this.#early = rest.length;
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
        this.#client.end();
        return this.#over(this.#relay!.reusable);
      case Command.QUERY:
      case Command.STMT_PREPARE:
        return this.#statement(payload);
      case Command.PROCESS_KILL:
        if (payload.length !== 5) return this.#relay!.forward(payload);
        return this.#background(this.#kill(payload, { query: false, id: payload.readUInt32LE(1) }));
      case Command.CHANGE_USER:
        return this.#changeUser(payload);
      case Command.RESET_CONNECTION:
        return this.#background(this.#reset());
      default:
        return this.#answerError(
          refusal('DBPROXY_UNKNOWN_COMMAND', `0x${(payload[0] ?? 0).toString(16)}`),
          sequence,
        );
    }
  }

  onSent(): void {
    this.#sentMs = this.#context.clock.nowMs();
  }

  onAnswered(): void {
    const nowMs = this.#context.clock.nowMs();
    this.#stateSinceMs = nowMs;
    this.#queryCount++;
    this.#queries!.record(nowMs - this.#sentMs);
    const { errno } = this.#relay!.tracker;
    if (errno !== 0) this.#context.counters.error(errno);
    if (this.#ending !== null) this.#endIfResting();
  }

  onProtocolError(expected: number, got: number): void {
    const error = refusal('DBPROXY_PACKET_OUT_OF_ORDER', expected, got);
    this.#context.log.warn('session.protocol_error', { ...this.#who(), error: error.message });
    this.#sayLast(error, got + 1);
    this.#over(false);
  }

  onTooLarge(command: number, bytes: number, sequence: number): void {
    const what = `command 0x${command.toString(16)} of ${bytes} bytes cannot be checked; the limit here is ${INSPECT_BYTES}`;
    this.#answerError(refusal('DBPROXY_READ_ENDPOINT', this.endpoint.config.name, what), sequence);
  }

  onClientGone(error: Error | undefined): void {
    if (this.#state === 'ended') return;
    this.#context.log.debug('session.client_gone', { ...this.#who(), error: error?.message });
    this.#over(this.#relay?.reusable === true);
  }

  onBackendGone(reason: string): void {
    if (this.#state === 'ended') return;
    const backend = this.#connection?.backend ?? '';
    this.#context.log.debug('session.backend_gone', { ...this.#who(), backend, reason });
    this.end(refusal('DBPROXY_BACKEND_LOST', backend, reason));
  }

  // Login.

  #loginOptions(): ServerLoginOptions {
    return {
      ...this.endpoint.offer(),
      connectionId: this.id,
      collation: Collation.UTF8MB4_GENERAL_CI,
      clientAddress: this.#clientAddress,
      findSecret: (user) => this.#context.users.get(user)?.secret,
    };
  }

  #step(step: LoginStep): void {
    switch (step.kind) {
      case 'send':
        this.#client.write(step.bytes);
        return;
      case 'refused':
        return this.#refuseLogin(step.error, step.sequence);
      case 'accepted':
        this.#loginSequence = step.sequence;
        return this.#admit(step.login);
    }
  }

  /** The client is who it says; may it be here? */
  #admit(login: AcceptedLogin): void {
    const { config } = this.endpoint;
    const user = this.#context.users.get(login.user)!;
    this.#accepted = login;
    if (!user.allowsAddress(this.#clientAddress)) {
      return this.#refuseLogin(
        refusal('DBPROXY_ADDRESS_NOT_ALLOWED', this.#clientAddress, `user '${user.name}'`),
        this.#loginSequence,
      );
    }
    if (!user.allowsListener(config.name)) {
      return this.#refuseLogin(
        refusal(
          'DBPROXY_ADDRESS_NOT_ALLOWED',
          this.#clientAddress,
          `listener '${config.name}' as '${user.name}' (its 'listeners')`,
        ),
        this.#loginSequence,
      );
    }
    this.#enter('waiting');
    this.#background(
      this.#findBackend(user.maxConnections > 0 ? `user:${user.name}` : null, user.maxConnections),
    );
  }

  #refuseLogin(error: ProxyError, sequence: number): void {
    if (this.#state === 'ended') return;
    this.#context.counters.loginRefused(error.code);
    this.#context.log.warn('session.login_refused', {
      ...this.#who(),
      code: error.code,
      error: error.message,
    });
    this.#sayLast(error, sequence);
    this.#over(false);
  }

  // Finding a backend.

  /** Finds a backend, tells the client that it is logged in, and begins to relay. */
  async #findBackend(userSlot: string | null, userLimit: number): Promise<void> {
    const { counters } = this.#context;
    const login = this.#accepted!;
    counters.waiting++;
    try {
      if (this.#userSlot !== userSlot) await this.#takeUserSlot(userSlot, userLimit);
      const connection = await findBackend(this.#context, this.endpoint, login, () => this.#isOver());
      if (this.#isOver()) return this.#context.pool(connection.backend).release(connection, true);
      this.#serve(connection);
    } catch (error) {
      if (!this.#isOver()) this.#refuseService(error);
    } finally {
      counters.waiting--;
    }
  }

  async #takeUserSlot(key: string | null, limit: number): Promise<void> {
    this.#releaseUserSlot();
    if (key === null) return;
    if (!(await takeSlotInTime(this.#context.slots, this.#context.clock, key))) {
      throw refusal('DBPROXY_USER_CONNECTIONS', this.#accepted!.user, limit);
    }
    this.#userSlot = key;
    if (this.#isOver()) this.#releaseUserSlot();
  }

  #serve(connection: BackendConnection): void {
    const { config } = this.endpoint;
    this.#connection = connection;
    this.#queries = this.#context.counters.queries(config.name, connection.backend, config.mode);
    this.#enter('relay');
    this.#client.write(writeOk(this.#loginSequence, connection.loginOk));
    this.#relay = new Relay(this.#client, connection, this, config.mode === 'read');
    this.#context.log.debug('session.opened', { ...this.#who(), backend: connection.backend });
    const early = this.#early;
    this.#early = 0;
    this.#relay.begin(early);
    if (this.#ending !== null) this.#endIfResting();
  }

  #refuseService(error: unknown): void {
    const login = this.#accepted!;
    let answer = error;
    if (error instanceof ServerError && error.packet.errno === 1045) {
      answer = refusal('DBPROXY_BACKEND_LOGIN', 'of this listener', login.user, error.packet.message);
    }
    this.#context.counters.loginRefused(isRefusal(answer) ? answer.code : 'server');
    this.#context.log.warn('session.login_refused', { ...this.#who(), error: toErrorPacket(answer).message });
    this.#sayLast(answer, this.#loginSequence);
    this.#over(false);
  }

  // Commands that do not simply pass.

  #statement(payload: Buffer): void {
    const relay = this.#relay!;
    const kill = payload[0] === Command.QUERY ? parseKill(payload, 1, payload.length) : undefined;
    if (kill !== undefined) return this.#background(this.#kill(payload, kill));
    if (this.endpoint.config.mode !== 'read') return relay.forward(payload);
    const verdict = guardRead(payload, 1, payload.length, this.#isOnPrimary());
    if (verdict.kind === 'answer_ok' && payload[0] === Command.QUERY) {
      return this.#answerOk();
    }
    if (verdict.kind === 'pass') return relay.forward(payload);
    const what = verdict.kind === 'refuse' ? verdict.what : 'a prepared SET … READ WRITE';
    this.#answerError(refusal('DBPROXY_READ_ENDPOINT', this.endpoint.config.name, what), 0);
  }

  /** A read session that fell back to the primary, where `read_only` does not help against routines. */
  #isOnPrimary(): boolean {
    const view = this.#context.snapshot().backends.find(({ name }) => name === this.backend);
    return view?.role !== 'replica';
  }

  /**
   * KILL with an id that a client was told: runs as KILL of the connection that this session has on the
   * server, by the killer's own account, so that the server decides whether it may.
   */
  async #kill(payload: Buffer, kill: KillStatement): Promise<void> {
    const place = await this.#context.placeOf(kill.id);
    const relay = this.#relay;
    if (relay === null || this.#isOver()) return;
    if (place === null) return relay.forward(payload);
    const sql = `KILL ${kill.query ? 'QUERY ' : ''}${place.threadId}`;
    if (place.backend === this.backend) {
      return relay.forward(writeCommand(Command.QUERY, sql).subarray(4));
    }
    const error = await this.#executeAside(place.backend, sql).then(
      () => undefined,
      (failure: unknown) => failure ?? new Error('unknown'),
    );
    if (this.#isOver()) return;
    if (error === undefined) this.#answerOk();
    else this.#answerError(error, 0);
  }

  /** Runs a statement as this session's user on a connection of its own. */
  async #executeAside(backend: string, sql: string): Promise<void> {
    const { identity, secret } = poolRequest(this.endpoint, this.#accepted!, 0);
    await this.#context.pool(backend).executeAside(identity, secret, sql);
  }

  /** COM_RESET_CONNECTION, after which a read endpoint's session must be READ ONLY again. */
  async #reset(): Promise<void> {
    const relay = this.#relay!;
    const connection = this.#connection!;
    connection.user = null;
    try {
      const ok = await connection.reset(this.endpoint.config.mode === 'read');
      relay.tracker.status = ok.status;
      if (this.#isOver()) return;
      connection.user = relay;
      this.#answer(writeOk(relay.answerSequence, ok));
    } catch (error) {
      if (this.#isOver()) return;
      connection.user = relay;
      if (connection.closed) return this.onBackendGone(toErrorPacket(error).message);
      this.#answerError(error, 0);
    }
  }

  /** COM_CHANGE_USER: a new login on the same client connection, and a backend connection to fit it. */
  #changeUser(payload: Buffer): void {
    const { capabilities } = this.#accepted!;
    const reusable = this.#relay!.reusable;
    this.#client.handler = this;
    this.#dropRelay();
    this.#giveBack(reusable);
    this.#framer = new PacketFramer(LOGIN_PACKET_BYTES);
    this.#enter('login');
    // The relay may have paused the client, for a command that came before its turn.
    this.#client.resume();
    this.#step(this.#login.changeUser(payload, capabilities));
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
    this.#dropRelay();
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
      user: this.#accepted?.user ?? '',
      client: `${this.#clientAddress}:${this.#clientPort}`,
      listener: this.endpoint.config.name,
    };
  }
}
