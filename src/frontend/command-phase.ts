/**
 * A session whose client is logged in, and may send commands: MySQL's command phase. The relay moves what passes;
 * this file answers what cannot simply pass (KILL, a reset, what a read endpoint refuses), and counts. A change of
 * user ends the phase, and the next one begins when the client has proved who it is now.
 *
 * A session either keeps one connection for its life, or has a dispatcher that chooses one for each statement.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { ByteStream } from '../base/socket.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command } from '../protocol/constants.ts';
import type { AcceptedLogin } from '../protocol/login-server.ts';
import { toErrorPacket, writeError, writeOk, writePayload } from '../protocol/packets.ts';
import { queryPayload, textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { parseKill, type KillStatement } from '../sql/kill.ts';
import { guardRead } from '../sql/read-guard.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import type { QueryCounter } from './counters.ts';
import { StatementDispatcher, type DispatchHost } from './dispatcher.ts';
import type { SessionRequest } from './session-request.ts';
import { INSPECT_BYTES } from './first-look.ts';
import { Relay, type RelayFlags, type RelayHost } from './relay.ts';

/** The session that the phase belongs to. */
export interface CommandPhaseHost {
  readonly id: number;
  isOver(): boolean;
  /** What it asks of a pool now. */
  poolRequest(): SessionRequest;
  /** A statement has been answered. */
  onRest(): void;
  onChangeUser(payload: Buffer): void;
  onQuit(): void;
  onProtocolError(expected: number, got: number): void;
  onClientGone(error: Error | undefined): void;
  onBackendGone(reason: string): void;
  end(error: ProxyError): void;
  background(work: Promise<void>): void;
}

/** What a session that changes connections has in the place of one. */
export interface SharedService {
  readonly shared: SharedEndpoint;
  readonly request: SessionRequest;
  /** In force on every connection that it will have. */
  readonly flags: RelayFlags;
  /** One that it has already; null: none. */
  readonly first: BackendConnection | null;
}

export class CommandPhase implements RelayHost, DispatchHost {
  readonly #context: SessionContext;
  readonly #endpoint: SessionEndpoint;
  readonly #session: CommandPhaseHost;
  readonly #client: ByteStream;
  readonly #login: AcceptedLogin;
  readonly #relay: Relay;
  /** The one connection of a session that keeps one. */
  readonly #connection: BackendConnection | null;
  readonly #request: SessionRequest | null;
  /** What chooses its connections; null where it keeps one. */
  readonly dispatcher: StatementDispatcher | null;
  /** Of the one connection; a dispatcher counts for itself. */
  readonly #queries: QueryCounter | null;
  queryCount = 0;
  #sentMs = 0;
  #restsSinceMs: number;

  constructor(
    context: SessionContext,
    endpoint: SessionEndpoint,
    session: CommandPhaseHost,
    client: ByteStream,
    login: AcceptedLogin,
    service: BackendConnection | SharedService,
  ) {
    this.#context = context;
    this.#endpoint = endpoint;
    this.#session = session;
    this.#client = client;
    this.#login = login;
    this.#restsSinceMs = context.clock.nowMs();
    const { config } = endpoint;
    if ('shared' in service) {
      this.#connection = null;
      this.#request = service.request;
      this.#queries = null;
      this.dispatcher = new StatementDispatcher(
        context,
        endpoint,
        service.shared,
        this,
        (dispatcher) => new Relay(client, service.flags, this, dispatcher),
      );
      this.#relay = this.dispatcher.relay;
      if (service.first !== null) this.dispatcher.beginOn(service.first);
    } else {
      this.#connection = service;
      this.#request = null;
      this.#queries = context.counters.queries(config.name, service.backend, config.mode);
      this.dispatcher = null;
      this.#relay = new Relay(client, service, this, config.mode === 'read');
    }
  }

  /** Bytes that the client sent before are in its input buffer up to `early`. */
  begin(early: number): void {
    if (early === 0) this.#client.resume();
    this.#relay.begin(early);
  }

  /** The phase is over. `reusable`: what the dispatcher has may serve another. */
  stop(reusable: boolean): void {
    this.#context.counters.bytesFromClients += this.#relay.bytesFromClient;
    this.#context.counters.bytesToClients += this.#relay.bytesToClient;
    this.#relay.stop();
    this.dispatcher?.stop(reusable);
  }

  // What the session is told.

  /** The connection that serves it now. */
  get serving(): BackendConnection | null {
    return this.dispatcher === null ? this.#connection : this.dispatcher.attached;
  }

  get stateName(): 'active' | 'transaction' | 'idle' {
    if (!this.#relay.idle) return 'active';
    return this.#relay.inTransaction ? 'transaction' : 'idle';
  }

  /** Since when it is in this state. */
  get sinceMs(): number {
    return this.#relay.idle ? this.#restsSinceMs : this.#sentMs;
  }

  get isIdle(): boolean {
    return this.#relay.idle;
  }

  /** The connection can serve another session. */
  get isReusable(): boolean {
    return this.#relay.reusable;
  }

  /** A command is under way, and nothing of its answer has reached the client. */
  get waitsForAnswer(): boolean {
    return !this.#relay.idle && !this.#relay.answerStarted;
  }

  /** The number that the first packet of an answer must carry. */
  get answerSequence(): number {
    return this.#relay.answerSequence;
  }

  get bytesFromClient(): number {
    return this.#relay.bytesFromClient;
  }

  get bytesToClient(): number {
    return this.#relay.bytesToClient;
  }

  // What the relay asks.

  onCommand(payload: Buffer, sequence: number): void {
    switch (payload[0] ?? Command.SLEEP) {
      case Command.QUIT:
        return this.#session.onQuit();
      case Command.QUERY:
      case Command.STMT_PREPARE:
        return this.#statement(payload);
      case Command.PROCESS_KILL:
        if (payload.length !== 5) return this.#forward(payload);
        return this.kill(payload, { query: false, id: payload.readUInt32LE(1) });
      case Command.CHANGE_USER:
        return this.#session.onChangeUser(payload);
      case Command.RESET_CONNECTION:
        return this.background(this.#reset());
      default:
        return this.#answerError(refusal('DBPROXY_UNKNOWN_COMMAND'), sequence);
    }
  }

  onSent(): void {
    this.#sentMs = this.#context.clock.nowMs();
  }

  onAnswerEnds(): void {
    this.#restsSinceMs = this.#context.clock.nowMs();
  }

  onAnswered(): void {
    this.queryCount++;
    const { errno } = this.#relay.tracker;
    const durationMs = this.#restsSinceMs - this.#sentMs;
    if (this.dispatcher === null) this.#queries!.record(durationMs);
    else this.dispatcher.count(durationMs);
    if (errno !== 0) this.#context.counters.error(errno);
    this.#session.onRest();
  }

  onProtocolError(expected: number, got: number): void {
    this.#session.onProtocolError(expected, got);
  }

  onTooLarge(command: number, bytes: number, sequence: number): void {
    const what = `command 0x${command.toString(16)} of ${bytes} bytes cannot be checked; the limit here is ${INSPECT_BYTES}`;
    this.#answerError(this.#readRefusal(what), sequence);
  }

  onClientGone(error: Error | undefined): void {
    this.#session.onClientGone(error);
  }

  onBackendGone(reason: string): void {
    this.#session.onBackendGone(reason);
  }

  // What the dispatcher asks.

  get request(): SessionRequest {
    return this.#request!;
  }

  isOver(): boolean {
    return this.#session.isOver();
  }

  background(work: Promise<void>): void {
    this.#session.background(work);
  }

  /** Answers a command that did not go to the server; the session rests after it as after any other. */
  answer(bytes: Buffer): void {
    this.#restsSinceMs = this.#context.clock.nowMs();
    this.queryCount++;
    this.#relay.answer(bytes);
    this.#session.onRest();
  }

  answerError(error: unknown): void {
    if (!this.isOver()) this.#answerError(error, this.#relay.answerSequence - 1);
  }

  kill(payload: Buffer, kill: KillStatement): void {
    this.background(this.#kill(payload, kill));
  }

  fail(error: unknown): void {
    const { message } = toErrorPacket(error);
    this.#session.end(isRefusal(error) ? error : refusal('DBPROXY_SESSION_ENDED', message));
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
      this.#answerError(this.#readRefusal(what), 0);
    }
    return true;
  }

  /** A read session that fell back to the primary, where `read_only` does not help against routines. */
  #isOnPrimary(): boolean {
    const { backends } = this.#context.snapshot();
    const backend = this.serving?.backend;
    const { cluster } = this.#endpoint.config;
    // One that changes connections is on whichever server reads now.
    if (backend === undefined) return !backends.some((view) => view.cluster === cluster && view.readable);
    return backends.find(({ name }) => name === backend)?.role !== 'replica';
  }

  #readRefusal(what: string): ProxyError {
    return refusal('DBPROXY_READ_ENDPOINT', this.#endpoint.config.name, what);
  }

  // Statements that the relay has not let pass.

  #statement(payload: Buffer): void {
    const start = textStart(payload, 0, payload.length, this.#login.capabilities);
    const guards = this.#endpoint.config.mode === 'read';
    // A server may find a statement behind attributes that cannot be read here.
    if (start === UNKNOWN_START && guards) {
      return this.#answerError(this.#readRefusal('its query attributes cannot be read'), 0);
    }
    if (start === UNKNOWN_START) return this.#relay.forward(payload);
    const kill = payload[0] === Command.QUERY ? parseKill(payload, start, payload.length) : undefined;
    if (kill !== undefined) return this.kill(payload, kill);
    if (guards && this.answersRead(payload, 0, start, payload.length)) return;
    this.#relay.forward(payload);
  }

  /** A command passes to the server as it is. */
  #forward(payload: Buffer): void {
    if (this.dispatcher === null) this.#relay.forward(payload);
    else this.dispatcher.forwardHome(payload);
  }

  // KILL.

  /**
   * KILL with an id that a client was told: runs as KILL of the connection that this session has on the
   * server, by the killer's own account, so that the server decides whether it may.
   */
  async #kill(payload: Buffer, kill: KillStatement): Promise<void> {
    const place = await this.#context.placeOf(kill.id);
    // The connection that the session has may be at work for it.
    await this.dispatcher?.settled();
    if (this.isOver()) return;
    if (place === null) return this.#forward(payload);
    if (place.threadId === 0) return this.#killAtRest(kill, place.user);
    const sql = `KILL ${kill.query ? 'QUERY ' : ''}${place.threadId}`;
    // Who kills itself gets whatever the server says to that.
    if (kill.id === this.#session.id) return this.#forward(queryPayload(sql, this.#login.capabilities));
    try {
      const { serving } = this;
      const isHere = serving !== null && place.backend === serving.backend;
      const ok = isHere
        ? await this.#borrow(serving, () => serving.execute(sql))
        : await this.#context.pool(place.backend).executeAside(this.#session.poolRequest(), sql);
      // As at a server, the killed one is gone before the killer hears of it.
      if (!kill.query) await this.#context.endKilled(kill.id);
      if (this.isOver()) return;
      if (isHere) this.#answerPayload(ok.payload);
      else this.#answerOk();
    } catch (error) {
      if (this.isOver()) return;
      if (this.serving?.closed === true) return this.onBackendGone(toErrorPacket(error).message);
      this.#answerError(error, 0);
    }
  }

  /** KILL of a session that has no connection now, so that no server can be asked whether this one may. */
  async #killAtRest({ query, id }: KillStatement, user: string): Promise<void> {
    if (user !== this.#login.user) return this.#answerError(refusal('DBPROXY_NOT_OWNER', id), 0);
    if (!query) await this.#context.endKilled(id);
    if (!this.isOver()) this.#answerOk();
  }

  // COM_RESET_CONNECTION.

  async #reset(): Promise<void> {
    try {
      const payload =
        this.dispatcher === null ? await this.#resetKept(this.#connection!) : await this.dispatcher.reset();
      if (!this.isOver()) this.#answerPayload(payload);
    } catch (error) {
      if (this.isOver()) return;
      if (this.#connection?.closed === true) return this.onBackendGone(toErrorPacket(error).message);
      this.#answerError(error, 0);
    }
  }

  /** After it a read endpoint's session must be READ ONLY again. */
  async #resetKept(connection: BackendConnection): Promise<Buffer> {
    const readOnly = this.#endpoint.config.mode === 'read';
    const ok = await this.#borrow(connection, () => connection.reset(readOnly));
    this.#relay.tracker.status = ok.status;
    return ok.payload;
  }

  /** Asks something of dbproxy's own of the connection that the relay has, and that rests. */
  async #borrow<T>(connection: BackendConnection, ask: () => Promise<T>): Promise<T> {
    connection.user = null;
    return ask().finally(() => {
      if (!this.isOver() && connection.user === null) connection.user = this.#relay;
    });
  }

  // Answers.

  #answerPayload(payload: Buffer): void {
    this.answer(writePayload(this.#relay.answerSequence, payload));
  }

  #answerOk(): void {
    const { answerSequence, tracker } = this.#relay;
    this.answer(writeOk(answerSequence, { status: this.dispatcher?.lastingStatus ?? tracker.status }));
  }

  #answerError(error: unknown, sequence: number): void {
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.answer(writeError((sequence + 1) & 0xff, packet));
  }
}
