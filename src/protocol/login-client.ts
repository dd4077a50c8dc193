/**
 * A login seen from the client's side, without sockets: packets of the server in, one step out for each.
 *
 *   greeting [→ TLS] → response [→ auth switch → answer | further round → answer]* → ok | failed
 *
 * COM_CHANGE_USER on a connection that is logged in goes the same way from its second step on. The password
 * in clear leaves on a secure channel only, whatever the server asks for; elsewhere it leaves encrypted with
 * the RSA key that the server gives, as MySQL's clients do with --get-server-public-key.
 * Manual: page_protocol_connection_phase, page_caching_sha2_authentication_exchanges.
 */
import { isRefusal } from '../base/errors.ts';
import type { Secret } from './auth.ts';
import { Capability } from './constants.ts';
import {
  parseAuthSwitch,
  parseGreeting,
  writeAuthAnswer,
  writeChangeUser,
  writeHandshakeResponse,
  writeTlsRequest,
  type Greeting,
  type HandshakeResponse,
} from './handshake.ts';
import { parseError, parseOk, type ErrorPacket } from './packets.ts';
import {
  CACHING_SHA2,
  CLEAR_PASSWORD,
  findPlugin,
  NATIVE_PASSWORD,
  SCRAMBLE_BYTES,
  SHA256_PASSWORD,
} from './plugins.ts';
import { encryptPassword } from './rsa-password.ts';

/** Who to be and what to ask for. */
export interface ClientLoginOptions {
  user: string;
  secret: Secret;
  /** Knows the clear password that `secret` lacks, perhaps: asked when the server wants it, and not before. */
  findPassword?: (() => string | undefined) | undefined;
  database: string;
  /** Collation id of the connection; a login has one byte for it, a change of user two. */
  collation: number;
  /** Flags wanted; those the server lacks are left out. */
  capabilities: number;
  /** MariaDB's upper flags wanted. */
  extendedCapabilities?: number;
  /** Connection attributes: pairs of length-encoded key and value. */
  attributes?: Buffer;
  /** Level to ask for with ZSTD_COMPRESSION. */
  zstdLevel?: number;
  /** off when nothing is said. */
  tls?: 'off' | 'preferred' | 'required';
  /** Nobody but the server can read the channel as it is: a Unix socket, or TLS that is in force already. */
  secure?: boolean;
}

/**
 * tls: send the bytes, bring the channel to TLS, then take the step of `secured()`.
 * wait: nothing to send, the server goes on.
 * password_needed: `plugin` wants more of the secret than is known; the login can only be given up.
 */
export type ClientStep =
  | { kind: 'send'; bytes: Buffer }
  | { kind: 'tls'; bytes: Buffer }
  | { kind: 'wait' }
  | { kind: 'ok'; status: number; warnings: number; payload: Buffer }
  | { kind: 'failed'; error: ErrorPacket }
  | { kind: 'password_needed'; plugin: string };

/** A client never sends packets above this itself; the server's own limit is what counts. */
const MAX_PACKET_BYTES = 0x40000000;

/** Answers in one login; a server that goes on asking is not logging us in. */
const MOST_ROUNDS = 16;

/** From this length on an answer has no place in one byte of length that old servers read. */
const LONG_ANSWER_BYTES = 251;

/** Flags a login of ours cannot do without, whatever the session wants. */
const LOGIN_CAPABILITIES = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH;

/** First bytes of the rounds of caching_sha2_password, and the two requests for a key. */
const FAST_PATH_DONE = 0x03;
const FULL_PATH = 0x04;
const KEY_REQUEST = { [CACHING_SHA2.name]: 0x02, [SHA256_PASSWORD]: 0x01 };

/** What a plugin answers; undefined: it needs more of the secret. A string: why it must not be answered. */
type Answer = Buffer | string | undefined;

export class ClientLogin {
  readonly #options: ClientLoginOptions;
  #greeting: Greeting | undefined;
  #capabilities = 0;
  #extendedCapabilities = 0;
  #isSecure: boolean;
  /** Number of the server's last packet, or of our request for TLS. */
  #sequence = 0;
  #rounds = 0;
  /** The plugin in force and the scramble it was given. */
  #plugin = '';
  #scramble: Buffer = Buffer.alloc(0);
  #keyRequested = false;

  constructor(options: ClientLoginOptions) {
    this.#options = options;
    this.#isSecure = options.secure === true;
  }

  /** The server's greeting; undefined before it came. */
  get greeting(): Greeting | undefined {
    return this.#greeting;
  }

  /** Flags in force on the connection. */
  get capabilities(): number {
    return this.#capabilities;
  }

  /** MariaDB's upper flags in force on the connection. */
  get extendedCapabilities(): number {
    return this.#extendedCapabilities;
  }

  /** Takes the server's next packet. Throws DBPROXY_MALFORMED_PACKET. */
  receive(payload: Buffer, sequence: number): ClientStep {
    this.#sequence = sequence;
    if (payload[0] === 0xff) return { kind: 'failed', error: parseError(payload) };
    if (this.#greeting === undefined) return this.#greeted(parseGreeting(payload));
    switch (payload[0] ?? -1) {
      case 0x00:
        return { kind: 'ok', ...parseOk(payload), payload: Buffer.from(payload) };
      case 0xfe:
        return payload.length === 1
          ? failed(1251, 'the server asks for the authentication of before MySQL 4.1')
          : this.#round(() => this.#switched(payload));
      case 0x01:
        return this.#round(() => this.#furtherRound(payload.subarray(1)));
      case 0x02:
        return failed(2059, 'the server asks for a second factor, which is not available in this version');
      default:
        return failed(2027, `unexpected packet 0x${(payload[0] ?? 0).toString(16)} during the login`);
    }
  }

  /** The channel is TLS now: the response, which was held back. */
  secured(): ClientStep {
    if (this.#greeting === undefined) throw new Error('TLS before the greeting');
    this.#isSecure = true;
    // Our request was a packet of its own.
    this.#sequence = (this.#sequence + 1) & 0xff;
    return this.#respond(this.#greeting);
  }

  /**
   * The COM_CHANGE_USER packet that brings a connection greeted with `greeting` to the state the options
   * describe; the server's answers then go to `receive`. Whether the channel is secure is in the options.
   */
  changeUser(greeting: Greeting, capabilities: number): ClientStep {
    this.#greeting = greeting;
    this.#capabilities = capabilities;
    const first = this.#firstAnswer(greeting);
    if ('kind' in first) return first;
    const { user, database, collation, attributes } = this.#options;
    const change = { user, database, collation, attributes: attributes ?? Buffer.alloc(0), ...first };
    return { kind: 'send', bytes: writeChangeUser(change, capabilities) };
  }

  #greeted(greeting: Greeting): ClientStep {
    this.#greeting = greeting;
    const tls = this.#options.tls ?? 'off';
    if (tls === 'off') return this.#respond(greeting);
    if ((greeting.capabilities & Capability.SSL) !== 0) {
      this.#negotiate(greeting, Capability.SSL);
      return {
        kind: 'tls',
        bytes: writeTlsRequest(this.#nextSequence(), this.#response('', Buffer.alloc(0))),
      };
    }
    return tls === 'preferred'
      ? this.#respond(greeting)
      : failed(2026, 'TLS is required, and the server does not offer it');
  }

  #respond(greeting: Greeting): ClientStep {
    const first = this.#firstAnswer(greeting);
    if ('kind' in first) return first;
    const isTls = this.#isSecure && (this.#capabilities & Capability.SSL) !== 0;
    const isLong = first.answer.length >= LONG_ANSWER_BYTES;
    this.#negotiate(
      greeting,
      (isTls ? Capability.SSL : 0) | (isLong ? Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA : 0),
    );
    const response = this.#response(first.plugin, first.answer);
    return { kind: 'send', bytes: writeHandshakeResponse(this.#nextSequence(), response) };
  }

  /** The flags in force: what is wanted and what the login itself needs, as far as the server has them. */
  #negotiate(greeting: Greeting, further: number): void {
    const { database, attributes, capabilities, extendedCapabilities } = this.#options;
    const withDatabase = database === '' ? 0 : Capability.CONNECT_WITH_DB;
    // Servers of before session tracking (MySQL 5.6) cannot read a change of user with attributes.
    const readsAttributes = (greeting.capabilities & Capability.SESSION_TRACK) !== 0;
    const hasAttributes = attributes !== undefined && attributes.length > 0;
    const withAttributes = hasAttributes && readsAttributes ? Capability.CONNECT_ATTRS : 0;
    const wanted =
      (capabilities & ~Capability.CONNECT_WITH_DB & ~Capability.SSL) |
      LOGIN_CAPABILITIES |
      withDatabase |
      withAttributes |
      further;
    this.#capabilities = (wanted & (greeting.capabilities | Capability.LONG_PASSWORD)) >>> 0;
    this.#extendedCapabilities = ((extendedCapabilities ?? 0) & greeting.extendedCapabilities) >>> 0;
    // Extended flags are there for a server only without this one.
    if (this.#extendedCapabilities !== 0) {
      this.#capabilities = (this.#capabilities & ~Capability.LONG_PASSWORD) >>> 0;
    }
  }

  #response(plugin: string, answer: Buffer): HandshakeResponse {
    const { user, database, collation, attributes, zstdLevel } = this.#options;
    return {
      capabilities: this.#capabilities,
      extendedCapabilities: this.#extendedCapabilities,
      maxPacketBytes: MAX_PACKET_BYTES,
      collation,
      user,
      answer,
      database,
      plugin,
      attributes: attributes ?? Buffer.alloc(0),
      zstdLevel: zstdLevel ?? 3,
    };
  }

  /**
   * The answer to a greeting. With a plugin that cannot be answered we name one that can, and a server whose
   * account has another asks for that next.
   */
  #firstAnswer(greeting: Greeting): { plugin: string; answer: Buffer } | ClientStep {
    const names = [greeting.plugin, NATIVE_PASSWORD.name, CACHING_SHA2.name];
    for (const name of names) {
      const answer = this.#answer(name, greeting.scramble, this.#options.secret);
      if (answer instanceof Buffer) return { plugin: name, answer };
    }
    return { kind: 'password_needed', plugin: greeting.plugin };
  }

  #switched(payload: Buffer): ClientStep {
    const { plugin, data } = parseAuthSwitch(payload);
    const { secret } = this.#options;
    const answer = this.#answer(plugin, data, secret);
    // One that is remembered has been proved to a plugin that never needs it in clear: who asks for that is no such server.
    const mayBeFound = answer === undefined && plugin !== CLEAR_PASSWORD;
    const password = mayBeFound ? this.#password() : undefined;
    return this.#sendAnswer(
      plugin,
      password === undefined ? answer : this.#answer(plugin, data, { ...secret, password }),
    );
  }

  #password(): string | undefined {
    const { secret, findPassword } = this.#options;
    return secret.password ?? findPassword?.();
  }

  #sendAnswer(plugin: string, answer: Answer): ClientStep {
    if (answer === undefined) return { kind: 'password_needed', plugin };
    if (typeof answer === 'string') return failed(2059, answer);
    return { kind: 'send', bytes: writeAuthAnswer(this.#nextSequence(), answer) };
  }

  /** Puts a plugin in force and gives its first answer. */
  #answer(name: string, scramble: Buffer, secret: Secret): Answer {
    const plugin = findPlugin(name);
    this.#plugin = name;
    this.#scramble = scramble.subarray(0, plugin?.scrambleBytes ?? SCRAMBLE_BYTES);
    this.#keyRequested = false;
    if (plugin === undefined) return this.#unscrambledAnswer(name, secret);
    return this.#scramble.length === plugin.scrambleBytes
      ? plugin.respond(this.#scramble, secret)
      : `plugin ${name} with a scramble of ${scramble.length} bytes`;
  }

  /** Plugins that want the password itself. */
  #unscrambledAnswer(name: string, { password }: Secret): Answer {
    switch (name) {
      case CLEAR_PASSWORD:
        if (!this.#isSecure)
          return `plugin ${name} wants the password in clear, and the channel is not secure`;
        return password === undefined ? undefined : withNul(password);
      case SHA256_PASSWORD:
        if (password === undefined) return undefined;
        return password === '' ? Buffer.alloc(1) : this.#passwordOrKeyRequest(name, password);
      default:
        return `the server asks for plugin ${name}, which is not available in this version`;
    }
  }

  /** What the server says to the plugin in force. */
  #furtherRound(data: Buffer): ClientStep {
    if (this.#keyRequested) return this.#encrypted(data);
    if (this.#plugin === CACHING_SHA2.name && data.length === 1) {
      if (data[0] === FAST_PATH_DONE) return { kind: 'wait' };
      if (data[0] === FULL_PATH) {
        const password = this.#password();
        const name = CACHING_SHA2.name;
        return this.#sendAnswer(
          name,
          password === undefined ? undefined : this.#passwordOrKeyRequest(name, password),
        );
      }
    }
    return failed(2061, `the server goes on in a way that plugin ${this.#plugin} does not have`);
  }

  /** The password itself on a secure channel; elsewhere the server is asked for its key. */
  #passwordOrKeyRequest(plugin: string, password: string): Buffer {
    if (this.#isSecure) return withNul(password);
    this.#keyRequested = true;
    return Buffer.from([KEY_REQUEST[plugin]!]);
  }

  #encrypted(pem: Buffer): ClientStep {
    this.#keyRequested = false;
    // It may have been forgotten while the server sent its key.
    const password = this.#password();
    if (password === undefined) return { kind: 'password_needed', plugin: this.#plugin };
    try {
      return this.#sendAnswer(this.#plugin, encryptPassword(password, this.#scramble, pem));
    } catch (error) {
      if (isRefusal(error)) return failed(2061, error.message);
      throw error;
    }
  }

  #round(answer: () => ClientStep): ClientStep {
    this.#rounds++;
    if (this.#rounds > MOST_ROUNDS) return failed(2027, `the login has no end after ${MOST_ROUNDS} rounds`);
    return answer();
  }

  #nextSequence(): number {
    return (this.#sequence + 1) & 0xff;
  }
}

function withNul(password: string): Buffer {
  return Buffer.from(`${password}\0`, 'utf8');
}

function failed(errno: number, message: string): ClientStep {
  return { kind: 'failed', error: { errno, sqlState: 'HY000', message } };
}
