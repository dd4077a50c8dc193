/**
 * A session until commands may come: MySQL's connection phase. The client proves who it is (the conversation does
 * that), then a server lets the session in, within queue_timeout, and the client hears that server's OK. A change of
 * user goes the same way again, on the same connections.
 *
 *   login → waiting → welcomed [→ change of user: login → waiting → welcomed | back as the user before]
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { ByteSocket, ByteStream, SocketHandler } from '../base/socket.ts';
import { PasswordNeeded, type BackendConnection } from '../backend/connection.ts';
import { CompressedStream } from '../transport/compressed-stream.ts';
import type { TlsInfo } from '../transport/tls-stream.ts';
import { withoutPassword } from '../protocol/auth.ts';
import { compressionOf } from '../protocol/compression.ts';
import type { AcceptedLogin } from '../protocol/login-server.ts';
import { toErrorPacket, writeError, writePayload } from '../protocol/packets.ts';
import { introduceToReplicas, obtainConnection, obtainHome, obtainLogin } from './admission.ts';
import type { SharedService } from './command-phase.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import { sessionRequest } from './find-backend.ts';
import type { SessionRequest } from './session-request.ts';
import { flagsOf } from './known-logins.ts';
import { LoginConversation, type LoginHost } from './login-conversation.ts';
import { staysHome } from './shared-endpoint.ts';
import { UserSlot } from './user-slot.ts';
import type { KnownUser } from './users.ts';

/** The session that the phase belongs to. */
export interface ConnectionPhaseHost {
  isOver(): boolean;
  /** The client is told that it is logged in; `early` bytes of its commands are in its input buffer already. */
  onWelcomed(early: number): void;
  /** The client is not let in; `sequence` is what the ERR packet must carry. */
  onRefused(error: unknown, sequence: number): void;
  onClientGone(error: Error | undefined): void;
  onBackendGone(reason: string): void;
  background(work: Promise<void>): void;
  /** Who it is, for the log. */
  logFields(): object;
}

/** Who the client has proved to be. */
interface Client {
  readonly login: AcceptedLogin;
  readonly user: KnownUser;
}

/** A session that guesses is ended; MariaDB counts as far. */
const MOST_REFUSED_CHANGES = 3;

export class ConnectionPhase implements SocketHandler, LoginHost {
  readonly #context: SessionContext;
  readonly #endpoint: SessionEndpoint;
  readonly #session: ConnectionPhaseHost;
  readonly #conversation: LoginConversation;
  readonly #userSlot: UserSlot;
  /** It has proved who it is, and no server has let it in yet. */
  #isWaiting = false;
  #sinceMs: number;
  #who: Client | null = null;
  /** Who the session was before a change of user that is under way. */
  #before: Client | null = null;
  #hasChangedUser = false;
  #refusedChanges = 0;
  /** What must precede the packet that ends the login, and the number of that one. */
  #prelude: Buffer | null = null;
  #loginSequence = 0;
  /** The one connection of a session that keeps one. */
  #connection: BackendConnection | null = null;
  /** What one that changes connections has in its place. */
  #shared: SharedService | null = null;
  /** Client bytes in its input buffer that came while the session waited for a server. */
  #early = 0;

  constructor(
    id: number,
    client: ByteSocket,
    endpoint: SessionEndpoint,
    context: SessionContext,
    session: ConnectionPhaseHost,
  ) {
    this.#context = context;
    this.#endpoint = endpoint;
    this.#session = session;
    this.#sinceMs = context.clock.nowMs();
    this.#userSlot = new UserSlot(context.slots, context.clock);
    this.#conversation = new LoginConversation(id, client, endpoint, context, this);
  }

  /** Greets the client. */
  start(): void {
    this.#conversation.start();
  }

  /** The session is over: gives back what it has of a server. */
  stop(reusable: boolean): void {
    this.#isWaiting = false;
    this.#conversation.stop();
    this.#client.handler = this;
    this.#giveBack(reusable);
    this.#userSlot.release();
  }

  /** The client has not proved in time who it is. */
  refuseForTime(): void {
    const { handshakeTimeoutMs } = this.#endpoint.config;
    const error = refusal('DBPROXY_HANDSHAKE_TIMEOUT', handshakeTimeoutMs);
    this.#refuseLogin(error, this.#conversation.expectedSequence);
  }

  // What the session is told.

  get stateName(): 'login' | 'waiting' {
    return this.#isWaiting || this.#conversation.looksAgain ? 'waiting' : 'login';
  }

  /** Since when it is in this state. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** The channel to the client, as far as the two have agreed on TLS and compression. */
  get client(): ByteStream {
    return this.#conversation.client;
  }

  get clientAddress(): string {
    return `${this.#conversation.address}:${this.#conversation.port}`;
  }

  get tls(): TlsInfo | null {
    return this.#conversation.tls;
  }

  /** What the client has logged in with; null before it did. */
  get login(): AcceptedLogin | null {
    return this.#who?.login ?? null;
  }

  /** The name that the client gave, whether it has proved that or not. */
  get claimedUser(): string {
    return this.#who?.login.user ?? this.#conversation.user;
  }

  /** The client has done its part, and is owed the packet that ends the login. */
  get waitsForAnswer(): boolean {
    return this.#isWaiting;
  }

  /** The number of that packet. */
  get answerSequence(): number {
    return this.#loginSequence;
  }

  /** The one connection of a session that keeps one. */
  get connection(): BackendConnection | null {
    return this.#connection;
  }

  /** What commands run on; not before the client was welcomed. */
  get service(): BackendConnection | SharedService {
    return this.#connection ?? this.#shared!;
  }

  // The client's side between login and commands.

  /** It may send its first commands together with its login: they wait in its input buffer. */
  onData(length: number): void {
    if (!this.#isWaiting) return;
    this.#early = length;
    this.#client.pause();
  }

  onDrain(): void {
    // Greetings and errors are own memory: nothing waits for them.
  }

  onClose(error: Error | undefined): void {
    this.onClientGone(error);
  }

  onClientGone(error: Error | undefined): void {
    this.#session.onClientGone(error);
  }

  // What the conversation tells.

  /** The client is who it says; may it be here? */
  onAccepted(login: AcceptedLogin, user: KnownUser, prelude: Buffer | null, sequence: number): void {
    const { config } = this.#endpoint;
    this.#who = { login, user };
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
    this.#enter(true);
    this.#client.handler = this;
    this.#early = this.#conversation.takeEarly();
    // While it waits, its going must be noticed.
    if (this.#early === 0) this.#client.resume();
    const connection = this.#connection;
    this.#session.background(
      connection === null ? this.#seekAdmission() : this.#changeBackendUser(connection),
    );
  }

  onLookedAgain(): void {
    this.#enter(false);
  }

  onRefused(error: ProxyError, sequence: number): void {
    if (this.#before === null || !this.#mayGoBack()) return this.#refuseLogin(error, sequence);
    this.#loginSequence = sequence;
    this.#early = this.#conversation.takeEarly();
    this.#reportRefusedLogin(error);
    this.#session.background(this.#resetAndGoBack(error));
  }

  // Being let in by a server.

  async #seekAdmission(): Promise<void> {
    const { counters } = this.#context;
    counters.waiting++;
    try {
      await this.#userSlot.reserve(this.#who!.user);
      if (this.#session.isOver()) return this.#userSlot.release();
      const request = this.poolRequest();
      if (this.#shouldAskPassword(request)) this.#askPassword();
      else await this.#findService(request);
    } catch (error) {
      if (this.#session.isOver()) return;
      this.#userSlot.cancelReserved();
      if (error instanceof PasswordNeeded && this.#mayAskPassword()) return this.#askPassword();
      if (this.#before === null || !this.#mayGoBack()) return this.#refuseService(error);
      this.#reportRefusedLogin(error);
      this.#goBack(error);
    } finally {
      counters.waiting--;
    }
  }

  async #findService(request: SessionRequest): Promise<void> {
    const endpoint = this.#endpoint;
    const { shared } = endpoint;
    const isOver = (): boolean => this.#session.isOver();
    if (shared === null) {
      const connection = await obtainConnection(this.#context, endpoint, request, isOver);
      if (connection === null) return;
      this.#userSlot.keepReserved();
      return this.#keep(connection);
    }
    if (staysHome(endpoint.config)) return this.#findHome(shared, request, isOver);
    const login = await obtainLogin(this.#context, endpoint, shared, request, isOver);
    if (login === null || isOver()) return;
    this.#userSlot.keepReserved();
    this.#before = null;
    if (request.secret.password !== undefined) introduceToReplicas(this.#context, endpoint, shared, request);
    this.#shared = { shared, request, flags: login.flags, first: null };
    this.#welcome(login.payload);
  }

  async #findHome(shared: SharedEndpoint, request: SessionRequest, isOver: () => boolean): Promise<void> {
    const home = await obtainHome(this.#context, this.#endpoint, request, isOver);
    if (home === null) return;
    const { login, connection } = home;
    // Each of them may be the next primary.
    if (request.secret.password !== undefined) {
      introduceToReplicas(this.#context, this.#endpoint, shared, request);
    }
    this.#userSlot.keepReserved();
    this.#before = null;
    this.#shared = { shared, request, flags: login.flags, first: connection };
    this.#welcome(login.payload);
  }

  #keep(connection: BackendConnection): void {
    this.#connection = connection;
    this.#letChange();
    this.#welcome(connection.loginOk.payload);
  }

  /** Where the session may change its connection, the commands have it from now on. */
  #letChange(): void {
    const { shared } = this.#endpoint;
    const connection = this.#connection;
    if (shared === null || connection === null) return;
    this.#shared = { shared, request: this.poolRequest(), flags: flagsOf(connection), first: connection };
    this.#connection = null;
  }

  /** What this session asks of a pool. */
  poolRequest(): SessionRequest {
    const { login, user } = this.#who!;
    const isFirstLogin = !this.#hasChangedUser;
    return sessionRequest(this.#endpoint, login, user, this.#conversation, isFirstLogin);
  }

  /** A replica wanted the password, and the client can tell it so that nobody else hears it. */
  #shouldAskPassword({ identity }: SessionRequest): boolean {
    const isWanted = this.#endpoint.shared?.passwords.has(identity.key) === true;
    const isRemembered = this.#who!.user.rememberedPassword() !== undefined;
    return isWanted && !isRemembered && this.#conversation.tls !== null && this.#mayAskPassword();
  }

  /** A client that went on without waiting for its OK cannot be asked any more. */
  #mayAskPassword(): boolean {
    return this.#who!.login.secret.password === undefined && this.#early === 0;
  }

  /** What the client has proved is not enough for the server: it is asked for more before it gets its OK. */
  #askPassword(): void {
    this.#enter(false);
    // Who is let in after all takes a place again; with a change of user the one that is held stays.
    if (this.#before === null) this.#userSlot.release();
    else this.#userSlot.cancelReserved();
    this.#conversation.askPassword();
  }

  /** Tells the client that it is logged in. */
  #welcome(okPayload: Buffer): void {
    const { login, user } = this.#who!;
    // From here on what the login proved is enough; a password that only went through our hands is forgotten.
    if (user.secret.password === undefined) {
      this.#who = { user, login: { ...login, secret: withoutPassword(login.secret) } };
    }
    const ok = writePayload(this.#loginSequence, okPayload);
    this.#client.write(this.#prelude === null ? ok : Buffer.concat([this.#prelude, ok]));
    this.#prelude = null;
    this.#compress(login);
    this.#handOver();
    const backend = this.#connection?.backend ?? '';
    this.#context.log.debug('session.opened', () => ({ ...this.#session.logFields(), backend }));
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

  /** Hands the client over, to send its commands. */
  #handOver(): void {
    this.#isWaiting = false;
    const early = this.#early;
    this.#early = 0;
    this.#session.onWelcomed(early);
  }

  // Being refused.

  #refuseLogin(error: ProxyError, sequence: number): void {
    if (this.#session.isOver()) return;
    this.#reportRefusedLogin(error);
    this.#session.onRefused(error, sequence);
  }

  #refuseService(error: unknown): void {
    let answer = error;
    if (isRefusal(error) && error.code === 'DBPROXY_BACKEND_LOGIN') {
      // What we know of the account may be older than what the server knows.
      void this.#context.refreshAccounts(this.#endpoint.config.cluster);
    }
    if (error instanceof PasswordNeeded) {
      answer = refusal('DBPROXY_BACKEND_LOGIN', error.backend, this.#who!.login.user, error.message);
    }
    this.#reportRefusedLogin(answer);
    this.#sayPrelude();
    this.#session.onRefused(answer, this.#loginSequence);
  }

  #reportRefusedLogin(error: unknown): void {
    const code = isRefusal(error) ? error.code : undefined;
    this.#context.counters.loginRefused(code ?? 'server');
    this.#context.log.warn('session.login_refused', {
      ...this.#session.logFields(),
      error: toErrorPacket(error).message,
      ...(code !== undefined && { code }),
      reason: this.#conversation.reason,
    });
  }

  /** The client is told that it has proved itself, also where the next word is an error. */
  #sayPrelude(): void {
    if (this.#prelude !== null) this.#client.write(this.#prelude);
    this.#prelude = null;
  }

  // COM_CHANGE_USER: a new login on the same connections, towards the client and towards the server.

  /** `connection`: the one that a session had which may change it. */
  changeUser(payload: Buffer, connection: BackendConnection | null): void {
    const who = this.#who!;
    this.#connection ??= connection;
    this.#before = who;
    this.#hasChangedUser = true;
    if (this.#connection !== null) this.#connection.user = null;
    this.#enter(false);
    this.#conversation.changeUser(payload, who.login.capabilities);
  }

  /** The client has proved who it is now; the server must take it for that, too. */
  async #changeBackendUser(connection: BackendConnection): Promise<void> {
    try {
      await this.#userSlot.reserve(this.#who!.user);
      await connection.changeUser(this.poolRequest());
    } catch (error) {
      this.#userSlot.cancelReserved();
      if (!this.#session.isOver()) this.#changeFailed(connection, error);
      return;
    }
    this.#userSlot.keepReserved();
    if (this.#session.isOver()) return this.#userSlot.release();
    this.#before = null;
    this.#keep(connection);
  }

  #changeFailed(connection: BackendConnection, error: unknown): void {
    if (error instanceof PasswordNeeded && this.#mayAskPassword()) {
      // In the middle of its question the connection is of no more use; the next one gets the password.
      this.#before = null;
      this.#giveBack(false);
      return this.#askPassword();
    }
    if (connection.closed) return this.#session.onBackendGone(toErrorPacket(error).message);
    if (!this.#mayGoBack()) return this.#refuseService(error);
    this.#reportRefusedLogin(error);
    // What the server has refused it has reset.
    if (isRefusal(error)) return this.#session.background(this.#resetAndGoBack(error));
    this.#goBack(error);
  }

  /** A change of user was refused here, so the server has not seen it: it resets its session all the same. */
  async #resetAndGoBack(error: ProxyError): Promise<void> {
    const connection = this.#connection;
    if (connection === null) return this.#goBack(error);
    try {
      await connection.prepare({ ...connection.preparation, settingFlags: 0 });
    } catch (failure) {
      if (!this.#session.isOver()) this.#session.onBackendGone(toErrorPacket(failure).message);
      return;
    }
    if (!this.#session.isOver()) this.#goBack(error);
  }

  /** MySQL ends a session whose change of user it refuses, MariaDB lets it go on as the user it was. */
  #mayGoBack(): boolean {
    const isMariaDb = this.#endpoint.offer().extendedCapabilities !== undefined;
    return isMariaDb && ++this.#refusedChanges < MOST_REFUSED_CHANGES;
  }

  /** The session goes on as the user it was. */
  #goBack(error: unknown): void {
    this.#who = this.#before;
    this.#before = null;
    const packet = toErrorPacket(error);
    this.#context.counters.error(packet.errno);
    this.#sayPrelude();
    this.#client.write(writeError(this.#loginSequence, packet));
    this.#letChange();
    this.#handOver();
  }

  #enter(isWaiting: boolean): void {
    this.#isWaiting = isWaiting;
    this.#sinceMs = this.#context.clock.nowMs();
  }

  #giveBack(reusable: boolean): void {
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) this.#context.pool(connection.backend).release(connection, reusable);
  }

  get #client(): ByteStream {
    return this.#conversation.client;
  }
}
