/**
 * A login seen from the client's side, without sockets: packets of the server in, one step out for each.
 *
 *   greeting → response → [auth switch → answer]* → ok | failed
 *
 * COM_CHANGE_USER on a connection that is logged in goes the same way from its second step on.
 * Manual: page_protocol_connection_phase.
 */
import { findPlugin, type Secret } from './auth.ts';
import { Capability } from './constants.ts';
import {
  parseAuthSwitch,
  parseGreeting,
  writeAuthAnswer,
  writeChangeUser,
  writeHandshakeResponse,
  type Greeting,
} from './handshake.ts';
import { parseError, parseOk, type ErrorPacket } from './packets.ts';

/** Who to be and what to ask for. */
export interface ClientLoginOptions {
  user: string;
  secret: Secret;
  database: string;
  /** Collation id of the connection. */
  collation: number;
  /** Flags wanted; those the server lacks are left out. */
  capabilities: number;
}

export type ClientStep =
  | { kind: 'send'; bytes: Buffer }
  | { kind: 'ok'; status: number; warnings: number }
  | { kind: 'failed'; error: ErrorPacket };

/** A client never sends packets above this itself; the server's own limit is what counts. */
const MAX_PACKET_BYTES = 0x40000000;

/** Flags a login of ours cannot do without, whatever the session wants. */
const LOGIN_CAPABILITIES = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH;

export class ClientLogin {
  readonly #options: ClientLoginOptions;
  #greeting: Greeting | undefined;
  #capabilities = 0;

  constructor(options: ClientLoginOptions) {
    this.#options = options;
  }

  /** The server's greeting; undefined before it came. */
  get greeting(): Greeting | undefined {
    return this.#greeting;
  }

  /** Flags in force on the connection. */
  get capabilities(): number {
    return this.#capabilities;
  }

  /** Takes the server's next packet. Throws DBPROXY_MALFORMED_PACKET. */
  receive(payload: Buffer, sequence: number): ClientStep {
    if (payload[0] === 0xff) return { kind: 'failed', error: parseError(payload) };
    if (this.#greeting === undefined) return this.#respond(parseGreeting(payload), sequence);
    switch (payload[0] ?? -1) {
      case 0x00:
        return { kind: 'ok', ...parseOk(payload) };
      case 0xfe:
        return payload.length === 1
          ? failed(1251, 'the server asks for the authentication of before MySQL 4.1')
          : this.#answerSwitch(payload, sequence);
      case 0x01:
        return failed(2059, 'the server asks for a further round, which the plugin here does not have');
      default:
        return failed(2027, `unexpected packet 0x${(payload[0] ?? 0).toString(16)} during the login`);
    }
  }

  /**
   * The COM_CHANGE_USER packet that brings a connection greeted with `greeting` to the state the options
   * describe; the server's answers then go to `receive`.
   */
  changeUser(greeting: Greeting, capabilities: number): ClientStep {
    this.#greeting = greeting;
    this.#capabilities = capabilities;
    const plugin = findPlugin(greeting.plugin);
    const answer = plugin?.respond(greeting.scramble, this.#options.secret);
    const { user, database, collation } = this.#options;
    return {
      kind: 'send',
      bytes: writeChangeUser({
        user,
        answer: answer ?? Buffer.alloc(0),
        database,
        collation,
        plugin: greeting.plugin,
      }),
    };
  }

  #respond(greeting: Greeting, sequence: number): ClientStep {
    this.#greeting = greeting;
    const { user, secret, database, collation } = this.#options;
    const withDatabase = database === '' ? 0 : Capability.CONNECT_WITH_DB;
    const wanted = this.#options.capabilities | LOGIN_CAPABILITIES | withDatabase;
    this.#capabilities = (wanted & (greeting.capabilities | Capability.LONG_PASSWORD)) >>> 0;
    // A server that begins with a plugin we lack asks for the account's own plugin next.
    const plugin = findPlugin(greeting.plugin) ?? findPlugin('mysql_native_password');
    const answer = plugin?.respond(greeting.scramble, secret) ?? Buffer.alloc(0);
    return {
      kind: 'send',
      bytes: writeHandshakeResponse((sequence + 1) & 0xff, {
        capabilities: this.#capabilities,
        maxPacketBytes: MAX_PACKET_BYTES,
        collation,
        user,
        answer,
        database,
        plugin: plugin?.name ?? greeting.plugin,
      }),
    };
  }

  #answerSwitch(payload: Buffer, sequence: number): ClientStep {
    const { plugin: name, scramble } = parseAuthSwitch(payload);
    const plugin = findPlugin(name);
    if (plugin === undefined)
      return failed(2059, `the server asks for plugin ${name}, which is not available in this version`);
    const answer = plugin.respond(scramble, this.#options.secret);
    if (answer === undefined) return failed(2059, `plugin ${name} needs more of the secret than is known`);
    return { kind: 'send', bytes: writeAuthAnswer((sequence + 1) & 0xff, answer) };
  }
}

function failed(errno: number, message: string): ClientStep {
  return { kind: 'failed', error: { errno, sqlState: 'HY000', message } };
}
