/**
 * One client from its greeting to its end. A session has two phases, which are MySQL's: in the connection phase the
 * client logs in and a server lets it in, in the command phase it sends commands, until the end or a change of user,
 * which leads back. This file is about what goes beyond a phase: where the session is, its limits of time, its ends.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { ByteSocket } from '../base/socket.ts';
import type { BackendConnection } from '../backend/connection.ts';
import type { SessionPlace } from '../ipc/messages.ts';
import type { SessionInfo } from '../ipc/session-info.ts';
import { toErrorPacket, writeError } from '../protocol/packets.ts';
import { CommandPhase, type CommandPhaseHost } from './command-phase.ts';
import { ConnectionPhase, type ConnectionPhaseHost } from './connection-phase.ts';
import type { SessionContext, SessionEndpoint } from './context.ts';
import type { StatementDispatcher } from './dispatcher.ts';
import type { SessionRequest } from './session-request.ts';

/** Why the session is to end as soon as it may, and when at the latest. */
interface Ending {
  readonly error: ProxyError;
  readonly deadlineMs: number;
  /** Who has not rested for so long is about to say something: it ends behind the answer to that. */
  readonly afterRestMs: number;
}

/** Giving a client an answer takes a tenth of this. */
const RIGHT_BEHIND_MS = 1;

export class Session implements ConnectionPhaseHost, CommandPhaseHost {
  readonly id: number;
  readonly endpoint: SessionEndpoint;
  readonly #context: SessionContext;
  readonly #onOver: (session: Session) => void;
  readonly #startedMs: number;
  readonly #connectionPhase: ConnectionPhase;
  /** Null while the other phase lasts. */
  #commandPhase: CommandPhase | null = null;
  #isOver = false;
  /** Statements of command phases that are over. */
  #queriesBefore = 0;
  /** Its reads must see what it has written as somebody else. */
  #hasWritten = false;
  #ending: Ending | null = null;
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
    this.#connectionPhase = new ConnectionPhase(id, client, endpoint, context, this);
  }

  /** Greets the client. */
  start(): void {
    this.#connectionPhase.start();
  }

  // What others want to know.

  /** The backend it is on; null while it has none. */
  get backend(): string | null {
    return this.#serving?.backend ?? null;
  }

  /** Something of it is on the backend. */
  isOn(backend: string): boolean {
    const { dispatcher } = this;
    return dispatcher === null ? this.backend === backend : dispatcher.isOn(backend);
  }

  /** Where it is; a session that changes connections may be nowhere. Null before it is in service. */
  get place(): SessionPlace | null {
    const connection = this.#serving;
    const user = this.#connectionPhase.login?.user ?? '';
    if (connection !== null) return { backend: connection.backend, threadId: connection.threadId, user };
    return this.dispatcher === null ? null : { backend: '', threadId: 0, user };
  }

  /** What chooses its connections; null where it keeps one, and before it is in service. */
  get dispatcher(): StatementDispatcher | null {
    return this.#commandPhase?.dispatcher ?? null;
  }

  /** The one connection of a session that keeps one. */
  get connection(): BackendConnection | null {
    return this.#connectionPhase.connection;
  }

  /** The connection that serves it now. */
  get #serving(): BackendConnection | null {
    return this.#commandPhase === null ? this.connection : this.#commandPhase.serving;
  }

  /** A statement is under way. */
  get isActive(): boolean {
    return this.#commandPhase !== null && !this.#commandPhase.isIdle;
  }

  /** For SHOW SESSIONS. */
  info(): SessionInfo {
    const nowMs = this.#context.clock.nowMs();
    return {
      id: this.id,
      user: this.#connectionPhase.login?.user ?? '',
      clientAddress: this.#connectionPhase.clientAddress,
      tls: this.#connectionPhase.tls,
      listener: this.endpoint.config.name,
      backend: this.backend,
      threadId: this.#serving?.threadId ?? null,
      database: this.#connectionPhase.login?.database ?? '',
      state: this.#stateName(),
      ageMs: nowMs - this.#startedMs,
      stateMs: nowMs - this.#phase.sinceMs,
      queries: this.#queriesBefore + (this.#commandPhase?.queryCount ?? 0),
    };
  }

  #stateName(): string {
    if (this.#ending !== null || this.#isOver) return 'closing';
    return this.#phase.stateName;
  }

  get #phase(): ConnectionPhase | CommandPhase {
    return this.#commandPhase ?? this.#connectionPhase;
  }

  /** Bytes of a session in service that are not in the counters yet. */
  liveBytes(): { fromClient: number; toClient: number } {
    const commands = this.#commandPhase;
    return { fromClient: commands?.bytesFromClient ?? 0, toClient: commands?.bytesToClient ?? 0 };
  }

  isOver(): boolean {
    return this.#isOver;
  }

  // What others do to it.

  /** Looks at the limits of time; called by the worker a few times a second. */
  tick(nowMs: number): void {
    const { handshakeTimeoutMs, idleTimeoutMs } = this.endpoint.config;
    const { stateName, sinceMs } = this.#phase;
    const inStateMs = nowMs - sinceMs;
    if (stateName === 'login' && inStateMs > handshakeTimeoutMs) {
      this.#connectionPhase.refuseForTime();
    } else if (this.#ending !== null && nowMs >= this.#ending.deadlineMs) {
      this.end(this.#ending.error);
    } else if (this.#commandPhase?.isIdle === true && inStateMs > idleTimeoutMs) {
      this.end(refusal('DBPROXY_IDLE_TIMEOUT', idleTimeoutMs));
    } else if (this.#ending !== null) {
      this.#endIfRested(this.#ending);
    }
  }

  /**
   * Ends the session at its next rest (no statement, no transaction), and at `deadlineMs` in any case; one that rests
   * already, when it has done so for `afterRestMs`. Resolves when it has ended.
   */
  endWhenIdle(error: ProxyError, deadlineMs: number, afterRestMs = 0): Promise<void> {
    if (this.isOver()) return Promise.resolve();
    const ended = new Promise<void>((resolve) => this.#whenOver.push(resolve));
    this.#endBy({ error, deadlineMs, afterRestMs });
    return ended;
  }

  /**
   * Has the session leave a backend: one that changes connections goes on elsewhere as soon as nothing pins it
   * there; any other ends as by `endWhenIdle`. Resolves when nothing of it is left there.
   */
  leaveBackend(backend: string, error: ProxyError, deadlineMs: number): Promise<void> {
    const { dispatcher } = this;
    if (dispatcher === null) return this.endWhenIdle(error, deadlineMs);
    const ending = { error, deadlineMs, afterRestMs: 0 };
    return new Promise((resolve) => {
      this.#whenOver.push(resolve);
      const left = (): void => {
        if (this.#ending === ending) this.#ending = null;
        resolve();
      };
      if (dispatcher.leave(backend, left)) left();
      else this.#endBy(ending);
    });
  }

  /**
   * Ends the session now. A client that waits for an answer gets `error`; one that rests sees its
   * connection close, as a server's does that shuts down.
   */
  end(error: ProxyError): void {
    if (this.#isOver) return;
    const phase = this.#phase;
    if (phase.waitsForAnswer) this.#sayLast(error, phase.answerSequence);
    else if (error.code !== 'DBPROXY_SESSION_KILLED' && !this.isActive) this.#connectionPhase.client.close();
    // Who is killed at rest is gone at once: an end in order would come after the killer's OK.
    else this.#connectionPhase.client.destroy();
    this.#over(false);
  }

  /** Has the kernel ask a client that is silent for so long whether it is still there. */
  askClient(afterMs: number): void {
    this.#connectionPhase.client.askPeer(afterMs);
  }

  /** Ends the running statement on the server, as KILL QUERY by the session's own user. */
  async killQuery(): Promise<void> {
    if (this.#serving === null) return;
    this.markForKill();
    const { backend, threadId } = this.#serving;
    await this.#context.pool(backend).executeAside(this.poolRequest(), `KILL QUERY ${threadId}`);
  }

  /** It is to be killed on the server: the connection must not have become that of somebody else by then. */
  markForKill(): void {
    const connection = this.#serving;
    if (connection !== null) connection.isMarked = true;
  }

  // What the connection phase tells.

  onWelcomed(early: number): void {
    const { client, login, service } = this.#connectionPhase;
    const phase = new CommandPhase(this.#context, this.endpoint, this, client, login!, service);
    // What was written before a change of user must be seen after it.
    if (phase.dispatcher !== null) phase.dispatcher.record.hasWritten = this.#hasWritten;
    this.#commandPhase = phase;
    phase.begin(early);
    if (this.#ending !== null) this.#endIfRested(this.#ending);
  }

  onRefused(error: unknown, sequence: number): void {
    this.#sayLast(error, sequence);
    this.#over(false);
  }

  // What the command phase tells.

  poolRequest(): SessionRequest {
    return this.#connectionPhase.poolRequest();
  }

  onRest(): void {
    if (this.#ending !== null) this.#endBehindAnswer(this.#ending);
  }

  onChangeUser(payload: Buffer): void {
    const connection = this.dispatcher?.handOver() ?? null;
    this.#stopCommands(true);
    this.#connectionPhase.changeUser(payload, connection);
  }

  onQuit(): void {
    // It has taken every answer and goes.
    this.#connectionPhase.client.close();
    this.#over(this.#commandPhase!.isReusable);
  }

  onProtocolError(expected: number, got: number): void {
    const error = refusal('DBPROXY_PACKET_OUT_OF_ORDER');
    const fields = { ...this.logFields(), error: error.message, expected, got };
    this.#context.log.warn('session.protocol_error', fields);
    // Servers count anew for this one.
    this.#sayLast(error, 0);
    this.#over(false);
  }

  // What both tell.

  onClientGone(error: Error | undefined): void {
    if (this.#isOver) return;
    // Lying lengths of compressed packets and the like: the stream has closed already.
    if (isRefusal(error)) {
      this.#context.counters.error(error.errno);
      this.#context.log.warn('session.protocol_error', { ...this.logFields(), error: error.message });
    } else {
      this.#context.log.debug('session.client_gone', () => ({ ...this.logFields(), error: error?.message }));
    }
    this.#over(this.#commandPhase?.isReusable === true);
  }

  onBackendGone(reason: string): void {
    if (this.#isOver) return;
    const backend = this.backend ?? '';
    this.#context.log.debug('session.backend_gone', { ...this.logFields(), backend, reason });
    this.end(refusal('DBPROXY_BACKEND_LOST', backend, reason));
  }

  /** Runs a piece of work that answers for itself; what it still throws is a defect of ours. */
  background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#context.log.error('session.defect', {
        ...this.logFields(),
        error: String(error instanceof Error ? error.stack : error),
      });
      if (!this.isOver()) this.end(refusal('DBPROXY_SESSION_ENDED', 'an internal error'));
    });
  }

  // The end.

  /** The sooner of two ends counts. */
  #endBy(ending: Ending): void {
    if (this.#ending === null || ending.deadlineMs < this.#ending.deadlineMs) this.#ending = ending;
    this.#endIfRested(this.#ending);
  }

  /** Not while the client is about to say something, see `Ending`. */
  #endIfRested(ending: Ending): void {
    const { stateName } = this.#phase;
    if (stateName === 'login' || (stateName === 'idle' && this.#restsMs() >= ending.afterRestMs))
      this.end(ending.error);
  }

  /**
   * On a busy machine giving the client its answer wakes the client and puts this process to sleep: then it is too late, the
   * client may have gone on with what it got. It ends behind the next one.
   */
  #endBehindAnswer(ending: Ending): void {
    const isRightBehind = this.#restsMs() <= RIGHT_BEHIND_MS;
    if (isRightBehind && this.#phase.stateName === 'idle') this.end(ending.error);
    else this.#endIfRested(ending);
  }

  #restsMs(): number {
    return this.#context.clock.nowMs() - this.#phase.sinceMs;
  }

  /** The last words to the client. */
  #sayLast(error: unknown, sequence: number): void {
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.#connectionPhase.client.end(writeError(sequence & 0xff, packet));
  }

  /** Gives everything back; `reusable`: the backend connection is at rest and may serve another. */
  #over(reusable: boolean): void {
    this.#isOver = true;
    this.#stopCommands(reusable);
    this.#connectionPhase.stop(reusable);
    this.#context.log.debug('session.closed', () => this.logFields());
    this.#onOver(this);
    for (const tell of this.#whenOver) tell();
  }

  #stopCommands(reusable: boolean): void {
    const phase = this.#commandPhase;
    this.#commandPhase = null;
    if (phase === null) return;
    this.#queriesBefore += phase.queryCount;
    this.#hasWritten ||= phase.dispatcher?.hasWritten === true;
    phase.stop(reusable);
  }

  /** Who it is, for the log. */
  logFields(): { session: number; user: string; client: string; listener: string } {
    const { claimedUser, clientAddress } = this.#connectionPhase;
    const listener = this.endpoint.config.name;
    return { session: this.id, user: claimedUser, client: clientAddress, listener };
  }
}
