/**
 * The client's side of a session until it is known who it is: the header of a load balancer, the greeting,
 * TLS, the packets of the login, and a second look at the accounts when the first does not let the client in.
 * A change of user later in the session goes the same way from the packets on.
 *
 *   greeted [→ PROXY header] [→ TLS] → packets [→ accounts read anew → checked again] → accepted | refused
 *
 * What is agreed is in ServerLogin, without sockets; this file gives it bytes, and the channel it asks for.
 */
import { networkList } from '../base/address.ts';
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { ByteSocket, ByteStream, SocketHandler } from '../base/socket.ts';
import type { Secret } from '../protocol/auth.ts';
import { Capability } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import {
  ServerLogin,
  type AcceptedLogin,
  type LoginStep,
  type RefusedAccount,
} from '../protocol/login-server.ts';
import { parseProxyHeader } from '../protocol/proxy-header.ts';
import { TlsStream, type TlsInfo } from '../transport/tls-stream.ts';
import type { SessionContext, SessionEndpoint } from './context.ts';
import type { KnownUser } from './users.ts';

/** Who is told how the login goes on. */
export interface LoginHost {
  /** The client is who it says; the OK is the host's to send, after `prelude`, with number `sequence`. */
  onAccepted(login: AcceptedLogin, user: KnownUser, prelude: Buffer | null, sequence: number): void;
  onRefused(error: ProxyError, sequence: number): void;
  onClientGone(error: Error | undefined): void;
  /** The accounts have been looked at anew: from now on it is the client again that is waited for. */
  onLookedAgain(): void;
}

/** A login is short; anything longer is an attempt on our memory. A password of 64 KB is none. */
const LOGIN_PACKET_BYTES = 128 * 1024;

export class LoginConversation implements SocketHandler {
  readonly #endpoint: SessionEndpoint;
  readonly #context: SessionContext;
  readonly #host: LoginHost;
  readonly #login: ServerLogin;
  readonly #isLocal: boolean;
  #client: ByteStream;
  #tls: TlsInfo | null = null;
  #address: string;
  #port: number;
  #framer = new PacketFramer(LOGIN_PACKET_BYTES);
  /** The beginning of what may be a PROXY header; null when none is awaited (any more). */
  #head: Buffer | null;
  #user: KnownUser | null = null;
  #name = '';
  /** Whether there is such a user cannot be said yet. */
  #isUnread = false;
  /** What the log is told of a refused login, and the client is not. */
  #reason: string | undefined;
  #over = false;
  #looksAgain = false;

  constructor(
    id: number,
    client: ByteSocket,
    endpoint: SessionEndpoint,
    context: SessionContext,
    host: LoginHost,
  ) {
    const { config } = endpoint;
    this.#endpoint = endpoint;
    this.#context = context;
    this.#host = host;
    this.#client = client;
    this.#isLocal = config.address.kind === 'unix';
    this.#address = this.#isLocal ? 'localhost' : client.remoteAddress;
    this.#port = client.remotePort;
    this.#head = this.#isBalancer() ? Buffer.alloc(0) : null;
    this.#login = this.#makeLogin(id);
  }

  /** The channel to the client; after TLS another one than before. */
  get client(): ByteStream {
    return this.#client;
  }

  /** The two have agreed to go on over this one, which is compressed. */
  useChannel(client: ByteStream): void {
    this.#client = client;
  }

  /** What was agreed on TLS; null without it. */
  get tls(): TlsInfo | null {
    return this.#tls;
  }

  /** Where the client is, by its connection or by the header of its load balancer. */
  get address(): string {
    return this.#address;
  }

  get port(): number {
    return this.#port;
  }

  /** The name that the client gave; empty before it did. */
  get user(): string {
    return this.#name;
  }

  /** Why the login was refused, where the client is told less; for the log. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** It is not the client that is waited for, but the accounts. */
  get looksAgain(): boolean {
    return this.#looksAgain;
  }

  /** Number of the packet that the client is waited for. */
  get expectedSequence(): number {
    return this.#login.expectedSequence;
  }

  /** Greets the client. */
  start(): void {
    this.#client.handler = this;
    this.#client.write(this.#login.greeting());
    this.#client.resume();
  }

  /** COM_CHANGE_USER: a new login on the same connection; the outcome comes as of the first one. */
  changeUser(payload: Buffer, capabilities: number): void {
    this.#listenAgain();
    this.#step(this.#login.changeUser(payload, capabilities));
  }

  /** The server behind wants the password itself, and the accepted login did not give it. */
  askPassword(): void {
    this.#listenAgain();
    this.#step(this.#login.askPassword());
  }

  /** Nothing that comes from the client concerns the login any more. */
  stop(): void {
    this.#over = true;
  }

  onData(length: number): void {
    if (this.#over) return;
    this.#guarded(() => {
      const bytes = this.#client.input.subarray(0, length);
      const rest =
        this.#head === null ? this.#withoutForeignHeader(bytes) : this.#withoutHeader(this.#head, bytes);
      if (rest !== null) this.#packets(rest);
    });
  }

  onDrain(): void {
    // Greetings and errors are own memory: nothing waits for them.
  }

  onClose(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#host.onClientGone(error);
  }

  #listenAgain(): void {
    this.#over = false;
    this.#framer = new PacketFramer(LOGIN_PACKET_BYTES);
    this.#client.handler = this;
    // The relay may have paused the client, for a command that came before its turn.
    this.#client.resume();
  }

  #makeLogin(id: number): ServerLogin {
    const { config } = this.#endpoint;
    const offer = this.#endpoint.offer();
    return new ServerLogin({
      serverVersion: offer.serverVersion,
      capabilities: (offer.capabilities | channelCapabilities(this.#endpoint)) >>> 0,
      extendedCapabilities: offer.extendedCapabilities,
      collation: offer.collation,
      defaultPlugin: offer.defaultPlugin,
      connectionId: id,
      clientAddress: () => this.#address,
      rsa: this.#context.rsa,
      requireTls: config.tls === 'required',
      isSecure: () => this.#isLocal || this.#tls !== null,
      findSecret: (user) => this.#find(user),
    });
  }

  /** What is known of a user's secret, or why it cannot be served; undefined for a stranger. */
  #find(name: string): Secret | RefusedAccount | undefined {
    const { config } = this.#endpoint;
    this.#name = name;
    this.#reason = undefined;
    const found = this.#context.users.find(config.cluster, name, this.#address);
    this.#user = found.kind === 'known' ? found.user : null;
    this.#isUnread = found.kind === 'unservable' && found.error.code === 'DBPROXY_ACCOUNTS_UNREAD';
    switch (found.kind) {
      case 'known':
        return this.#known(found.user);
      case 'unservable':
        return { refused: found.error };
      case 'unknown':
        this.#reason = found.reason;
        return undefined;
    }
  }

  #known(user: KnownUser): Secret | RefusedAccount {
    const { secret } = user;
    if (user.requiresTls && this.#tls === null) {
      this.#reason = 'the account requires TLS';
      return { refused: refusal('DBPROXY_ACCESS_DENIED', user.name, this.#address, 'YES'), secret };
    }
    return user.refuseAfterProof === null ? secret : { refused: user.refuseAfterProof, secret };
  }

  /** A load balancer that we believe where its clients come from. */
  #isBalancer(): boolean {
    const { proxyProtocolFrom } = this.#endpoint.config;
    return (
      proxyProtocolFrom.length > 0 && networkList(proxyProtocolFrom).contains(this.#client.remoteAddress)
    );
  }

  /** A header from somebody who is not believed: the commonest mistake with load balancers gets its own words. */
  #withoutForeignHeader(bytes: Buffer): Buffer {
    if (this.#name === '' && beginsLikeHeader(bytes)) {
      const what = `${this.#address} sends one and is not in proxy_protocol_from of listener '${this.#endpoint.config.name}'`;
      throw refusal('DBPROXY_PROXY_HEADER', what);
    }
    return bytes;
  }

  /** Reads the PROXY header that may come first; answers the bytes behind it, null while it is not whole. */
  #withoutHeader(before: Buffer, bytes: Buffer): Buffer | null {
    const head = Buffer.concat([before, bytes]);
    const header = parseProxyHeader(head);
    if (header.kind === 'incomplete') {
      this.#head = head;
      return null;
    }
    this.#head = null;
    if (header.kind === 'header' && header.source !== null) {
      this.#address = header.source.address;
      this.#port = header.source.port;
    }
    const { allow, name } = this.#endpoint.config;
    if (allow.length > 0 && !networkList(allow).contains(this.#address)) {
      throw refusal('DBPROXY_ADDRESS_NOT_ALLOWED', this.#address, `listener '${name}'`);
    }
    const rest = header.kind === 'header' ? head.subarray(header.bytes) : head;
    return rest.length === 0 ? null : rest;
  }

  #packets(bytes: Buffer): void {
    let packet = this.#framer.next(bytes);
    while (packet !== undefined) {
      const step = this.#login.receive(packet.payload, packet.sequence);
      this.#step(step);
      // What follows waits: for a second look, for the session, or it is the beginning of TLS.
      if (step.kind !== 'send') return;
      packet = this.#framer.next();
    }
  }

  #step(step: LoginStep): void {
    switch (step.kind) {
      case 'send':
        this.#client.write(step.bytes);
        return;
      case 'tls':
        return this.#startTls();
      case 'unproven':
        this.#client.pause();
        return void this.#lookAgain();
      case 'accepted':
        return this.#accepted(step);
      case 'refused':
        this.#over = true;
        return this.#host.onRefused(step.error, step.sequence);
    }
  }

  #accepted({ login, prelude, sequence }: Extract<LoginStep, { kind: 'accepted' }>): void {
    this.#over = true;
    const user = this.#user!;
    this.#context.users.proven(this.#endpoint.config.cluster, user, login.secret);
    this.#host.onAccepted(login, user, prelude, sequence);
  }

  /**
   * Bytes of the client behind its login, left in its input buffer: their number. The client is paused, so
   * that no more come before somebody has a use for them.
   */
  takeEarly(): number {
    this.#client.pause();
    const rest = this.#framer.takeRest();
    if (rest.length > this.#client.input.length) {
      throw refusal('DBPROXY_PACKET_TOO_LARGE', this.#client.input.length);
    }
    this.#client.input.set(rest);
    return rest.length;
  }

  /** The account is unknown or its secret another one: it may be newer than what we have read. */
  async #lookAgain(): Promise<void> {
    const { users } = this.#context;
    const { revision } = users;
    const { cluster, queueTimeoutMs } = this.#endpoint.config;
    this.#looksAgain = true;
    await this.#context.refreshAccounts(cluster, this.#isUnread ? queueTimeoutMs : 0);
    this.#looksAgain = false;
    if (this.#over || this.#client.destroyed) return;
    this.#host.onLookedAgain();
    this.#guarded(() => {
      // What has not changed need not be checked again: a check may cost milliseconds.
      const step = users.revision === revision ? this.#login.deny() : this.#login.recheck();
      this.#client.resume();
      this.#step(step.kind === 'unproven' ? this.#login.deny() : step);
      if (!this.#over) this.#packets(Buffer.alloc(0));
    });
  }

  #startTls(): void {
    const rest = Buffer.from(this.#framer.takeRest());
    const stream = TlsStream.accept(this.#client as ByteSocket, this.#endpoint.tls()!, rest, this, () => {
      this.#tls = stream.info();
      this.#login.secured();
    });
    this.#client = stream;
  }

  /** Runs a step; what is wrong with the client's bytes refuses the login. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (this.#over) return;
      this.#over = true;
      if (!isRefusal(error)) {
        const text = String(error instanceof Error ? error.stack : error);
        this.#context.log.error('session.defect', { client: this.#address, error: text });
      }
      const answer = isRefusal(error) ? error : refusal('DBPROXY_HANDSHAKE', 'an internal error');
      this.#host.onRefused(answer, this.#login.expectedSequence + 1);
    }
  }
}

/** The flags of a listener's own channel: TLS when it has a certificate, compression unless it is off. */
function channelCapabilities(endpoint: SessionEndpoint): number {
  const encrypted = endpoint.tls() === null ? 0 : Capability.SSL;
  const compressed = endpoint.config.compression ? Capability.COMPRESS | Capability.ZSTD_COMPRESSION : 0;
  return encrypted | compressed;
}

function beginsLikeHeader(bytes: Buffer): boolean {
  const head = bytes.toString('latin1', 0, 6);
  return head === 'PROXY ' || head === '\r\n\r\n\0\r';
}
