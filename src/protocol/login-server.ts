/**
 * A login seen from the server's side, without sockets: greeting out, packets in, and each packet answered
 * by one step. The same steps serve COM_CHANGE_USER later in the session.
 *
 *   greeting [→ TLS] → response [→ auth switch → answer] [→ full path → password] → accepted | unproven
 *   accepted → OK, or askPassword → … → accepted | refused
 *   unproven → recheck → … , or deny → refused
 *
 * What a client is asked for follows from what is known of the account, not from the account's own plugin:
 * dbproxy need not have the password to check it, only one form that a plugin can be checked with.
 *
 *   1. the client's own plugin, when its answer can be checked
 *   2. the plugin of the greeting, when its answer can be checked
 *   3. mysql_native_password, with SHA1(SHA1(password))
 *   4. caching_sha2_password: its fast path with SHA256(SHA256(password)), else its full path, in which the
 *      client gives the password itself, over TLS or encrypted with our RSA key
 *
 * An unknown user goes the way of an account of the default plugin whose password nobody has: the same
 * rounds, the same work, the same error.
 * Manual: page_protocol_connection_phase, page_caching_sha2_authentication_exchanges.
 */
import { randomBytes, type KeyObject } from 'node:crypto';
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import { fitsSecret, isEmptySecret, secretOfPassword, type Secret } from './auth.ts';
import { Capability } from './constants.ts';
import {
  GREETING_STATUS,
  isTlsRequest,
  parseChangeUser,
  parseHandshakeResponse,
  writeAuthMoreData,
  writeAuthSwitch,
  writeGreeting,
} from './handshake.ts';
import {
  CACHING_SHA2,
  CLEAR_PASSWORD,
  findPlugin,
  isNoPassword,
  NATIVE_PASSWORD,
  newScramble,
  SCRAMBLE_BYTES,
  type AuthPlugin,
} from './plugins.ts';
import { decryptPassword } from './rsa-password.ts';
import { MOST_PASSWORD_BYTES } from './sha2-hash.ts';

/** A plugin that a greeting of ours names. */
type DefaultPlugin = 'mysql_native_password' | 'caching_sha2_password';

/** The RSA key of this server: what it decrypts with, and the text it gives to clients that ask. */
export interface RsaKeys {
  readonly privateKey: KeyObject;
  readonly publicPem: string;
}

/**
 * An account that exists and cannot be served: locked, expired, of a plugin that is not here. With a
 * `secret`, the client must prove it before it is told; without one there is nothing to prove, and it is
 * told at once. Either way it is `unproven` first: the account may have been mended since it was read.
 */
export interface RefusedAccount {
  refused: ProxyError;
  secret?: Secret;
}

/** What this server offers and who may come. */
export interface ServerLoginOptions {
  connectionId: number;
  serverVersion: string;
  /** Capability flags offered. */
  capabilities: number;
  /** MariaDB's upper flags; undefined on a server that is to look like MySQL. */
  extendedCapabilities?: number | undefined;
  /** Default collation id, for clients that name none. */
  collation: number;
  /** What the greeting names: caching_sha2_password; anything else stands for mysql_native_password. */
  defaultPlugin?: string | undefined;
  /** The client's address as an error message shows it; asked anew at each use. */
  clientAddress(): string;
  /** Nobody but the client can read the channel: TLS or a Unix socket. Asked anew at each use. */
  isSecure?(): boolean;
  /** A channel that is not secure is refused. */
  requireTls?: boolean;
  /** For the full path of caching_sha2_password without TLS. */
  rsa?: RsaKeys | undefined;
  /** The account of a user; undefined for one that is not known here. */
  findSecret(user: string): Secret | RefusedAccount | undefined;
}

/** Who logged in, and what was agreed. */
export interface AcceptedLogin {
  user: string;
  database: string;
  /** Collation id the client asked for. */
  collation: number;
  /** Flags that both sides have. */
  capabilities: number;
  extendedCapabilities: number;
  /** The client's connection attributes: pairs of length-encoded key and value. */
  attributes: Buffer;
  /** The largest packet that the client wants to get. */
  maxPacketBytes: number;
  /** Level of zstd the client asked for; 0 when it did not. */
  zstdLevel: number;
  /** The plugin by which the client proved itself. */
  plugin: string;
  /** What the login proved of the user's secret, joined with what was known. */
  secret: Secret;
}

/**
 * What to do after a packet. `sequence` is the number the next packet to the client must carry.
 *
 * tls: the client begins TLS now; its next packet comes over it, after `secured()`.
 * unproven: unknown user, or an answer that does not fit what is known: `recheck()` after the accounts were
 * read again, or `deny()`.
 * accepted: `prelude` goes before the OK; instead of both there may be `askPassword()`.
 */
export type LoginStep =
  | { kind: 'send'; bytes: Buffer }
  | { kind: 'tls' }
  | { kind: 'unproven'; user: string }
  | { kind: 'accepted'; login: AcceptedLogin; prelude: Buffer | null; sequence: number }
  | { kind: 'refused'; error: ProxyError; sequence: number };

/**
 * greeted: the response is awaited. switched: the answer to an auth switch. full: the password, or a request
 * for the RSA key. keyed: the password encrypted with it. unproven, accepted: the caller decides. ended.
 */
type State = 'greeted' | 'switched' | 'full' | 'keyed' | 'unproven' | 'accepted' | 'ended';

/** What the client has given to prove itself. */
type Proof =
  | { kind: 'nothing' }
  | { kind: 'answer'; plugin: AuthPlugin; scramble: Buffer; answer: Buffer }
  | { kind: 'password'; plugin: string; password: Buffer };

/** First bytes of the rounds of caching_sha2_password. */
const FAST_PATH_DONE = Buffer.from([0x03]);
const FULL_PATH = Buffer.from([0x04]);
const KEY_REQUEST = 0x02;
const NUL = Buffer.alloc(1);

/** What nobody's answer fits; see the head of the file. Made once; its rounds are those of MySQL 9, `A` of a thousand. */
const STRANGERS: Record<DefaultPlugin, Secret> = {
  mysql_native_password: { doubleSha1: randomBytes(20) },
  caching_sha2_password: {
    sha2Hash: Buffer.from(`$A$00A$${newScramble().toString('latin1')}${'.'.repeat(43)}`, 'latin1'),
  },
};

type Parameters = Omit<AcceptedLogin, 'secret' | 'plugin'>;

const NOBODY: Parameters = {
  user: '',
  database: '',
  collation: 0,
  capabilities: 0,
  extendedCapabilities: 0,
  attributes: Buffer.alloc(0),
  maxPacketBytes: 0,
  zstdLevel: 0,
};

export class ServerLogin {
  readonly #options: ServerLoginOptions;
  readonly #defaultPlugin: DefaultPlugin;
  readonly #offered: number;
  readonly #greetingScramble: Buffer = newScramble();
  #state: State = 'greeted';
  #tlsBegun = false;
  /** Number of the client's last packet. */
  #sequence = -1;
  #expectedSequence = 1;
  #login: Parameters = NOBODY;
  /** The plugin that the client says it begins with. */
  #clientPlugin = '';
  #proof: Proof = { kind: 'nothing' };
  /** The plugin and scramble of the auth switch under way. */
  #asked: { plugin: AuthPlugin; scramble: Buffer } | null = null;
  /** The backend wants the password itself. */
  #wantsPassword = false;
  #accepted: AcceptedLogin | null = null;
  /** What `deny` says. */
  #denial: ProxyError | null = null;

  constructor(options: ServerLoginOptions) {
    this.#options = options;
    this.#defaultPlugin =
      options.defaultPlugin === 'caching_sha2_password' ? 'caching_sha2_password' : 'mysql_native_password';
    const isExtended = options.extendedCapabilities !== undefined;
    const { capabilities } = options;
    // MariaDB says that it has extended flags by leaving LONG_PASSWORD out.
    this.#offered = (isExtended ? capabilities & ~Capability.LONG_PASSWORD : capabilities) >>> 0;
  }

  /** The number that the client's next packet must carry. */
  get expectedSequence(): number {
    return this.#expectedSequence;
  }

  /** The first packet of the connection. */
  greeting(): Buffer {
    return writeGreeting({
      serverVersion: this.#options.serverVersion,
      connectionId: this.#options.connectionId,
      scramble: this.#greetingScramble,
      capabilities: this.#offered,
      extendedCapabilities: this.#options.extendedCapabilities ?? 0,
      collation: this.#options.collation,
      status: GREETING_STATUS,
      plugin: this.#defaultPlugin,
    });
  }

  /** Takes the client's next packet. Never throws: what is wrong with it is a refused step. */
  receive(payload: Buffer, sequence: number): LoginStep {
    const expected = this.#expectedSequence;
    this.#sequence = sequence;
    if (sequence !== expected) {
      return this.#refuse(refusal('DBPROXY_PACKET_OUT_OF_ORDER'));
    }
    this.#expectedSequence = (sequence + 2) & 0xff;
    return this.#guarded(() => this.#received(payload));
  }

  /** The caller has brought the channel to TLS after a `tls` step. */
  secured(): void {
    this.#tlsBegun = true;
  }

  /**
   * Begins a COM_CHANGE_USER of a session that agreed on `capabilities`: the client is asked to answer a
   * fresh scramble, so an answer seen earlier is worth nothing. (A client without plugins cannot be asked;
   * its answer is to the greeting, which no other connection had.)
   */
  changeUser(payload: Buffer, capabilities: number): LoginStep {
    this.#sequence = 0;
    this.#expectedSequence = 2;
    return this.#guarded(() => {
      const { user, database, collation, plugin, attributes, answer } = parseChangeUser(
        payload,
        capabilities,
      );
      return this.#begin(
        {
          ...this.#login,
          user,
          database,
          collation: collation || this.#options.collation,
          capabilities,
          attributes,
        },
        plugin,
        answer,
        false,
      );
    });
  }

  /** After `unproven`: looks the account up again and goes on with what the client has given. */
  recheck(): LoginStep {
    if (this.#state !== 'unproven') throw new Error(`recheck of a login that is ${this.#state}`);
    return this.#guarded(() => this.#decide());
  }

  /** After `unproven`: the login ends. */
  deny(): LoginStep {
    if (this.#state !== 'unproven') throw new Error(`denial of a login that is ${this.#state}`);
    return this.#refuse(this.#denial!);
  }

  /**
   * After `accepted`, in the place of prelude and OK: the server behind wants the password itself, so the
   * client is asked for it (the full path of caching_sha2_password). Ends in a new `accepted`, or `refused`.
   * Older clients of MySQL follow one auth switch a login and hang up at a second one.
   */
  askPassword(): LoginStep {
    const accepted = this.#accepted;
    if (this.#state !== 'accepted' || accepted === null) {
      throw new Error(`the password is asked for in a login that is ${this.#state}`);
    }
    if (accepted.secret.password !== undefined) return this.#acceptedStep(accepted);
    if (this.#proof.kind === 'password') {
      return this.#refuse(refusal('DBPROXY_NOT_AVAILABLE', 'a password that is not UTF-8'));
    }
    this.#wantsPassword = true;
    return this.#guarded(() => this.#decide());
  }

  #received(payload: Buffer): LoginStep {
    switch (this.#state) {
      case 'greeted':
        return this.#response(payload);
      case 'switched':
        this.#proof = { kind: 'answer', ...this.#asked!, answer: Buffer.from(payload) };
        return this.#decide();
      case 'full':
        return this.#fullPath(payload);
      case 'keyed':
        return this.#encrypted(payload);
      case 'unproven':
      case 'accepted':
      case 'ended':
        return this.#refuse(refusal('DBPROXY_HANDSHAKE', 'a packet after the end of the login'));
    }
  }

  #response(payload: Buffer): LoginStep {
    if (isTlsRequest(payload) && (this.#offered & Capability.SSL) !== 0) return this.#beginTls();
    const response = parseHandshakeResponse(payload, this.#offered, this.#options.extendedCapabilities);
    const { plugin, answer, ...parameters } = response;
    if ((response.capabilities & Capability.SSL) !== 0 && !this.#tlsBegun) {
      throw refusal('DBPROXY_HANDSHAKE', 'the client announced TLS and went on without it');
    }
    if (this.#options.requireTls === true && !this.#isSecure()) throw refusal('DBPROXY_TLS_REQUIRED');
    const login = { ...parameters, collation: parameters.collation || this.#options.collation };
    return this.#begin(login, plugin, answer, plugin === this.#defaultPlugin);
  }

  #beginTls(): LoginStep {
    if (this.#tlsBegun) throw refusal('DBPROXY_HANDSHAKE', 'a second request for TLS');
    // The next packet is the client's too: the response, after the TLS handshake.
    this.#expectedSequence = (this.#sequence + 1) & 0xff;
    return { kind: 'tls' };
  }

  /** Who the client is, and what its first answer is worth; `isToGreeting`: it is one to our scramble. */
  #begin(login: Parameters, plugin: string, answer: Buffer, isToGreeting: boolean): LoginStep {
    this.#login = login;
    this.#clientPlugin = plugin;
    this.#accepted = null;
    this.#wantsPassword = false;
    this.#asked = null;
    this.#proof = this.#firstProof(answer, isToGreeting);
    return this.#decide();
  }

  #firstProof(answer: Buffer, isToGreeting: boolean): Proof {
    const scramble = this.#greetingScramble;
    if (!this.#canSwitch()) return { kind: 'answer', plugin: NATIVE_PASSWORD, scramble, answer };
    if (this.#clientPlugin === CLEAR_PASSWORD) {
      if (!this.#isSecure()) {
        throw refusal('DBPROXY_INSECURE_LOGIN', this.#login.user, 'the client sends the password in clear');
      }
      return answer.length > 0 ? clearPassword(CLEAR_PASSWORD, answer) : { kind: 'nothing' };
    }
    if (!isToGreeting) return { kind: 'nothing' };
    return { kind: 'answer', plugin: findPlugin(this.#defaultPlugin)!, scramble, answer };
  }

  /** The next step, from the account and from what the client has given. */
  #decide(): LoginStep {
    const account = this.#options.findSecret(this.#login.user);
    const secret = secretIn(account);
    if (account !== undefined && 'refused' in account && secret === undefined) {
      return this.#unproven(account.refused);
    }
    // 1. Unknown, or known by name alone: nothing fits.
    const known = secret !== undefined && !isEmptySecret(secret) ? secret : STRANGERS[this.#defaultPlugin];
    const proof = this.#proof;
    // 2. The password itself fits or does not.
    if (proof.kind === 'password') {
      return fitsSecret(proof.password, known)
        ? this.#accept(account, known, secretOfPassword(proof.password))
        : this.#unproven();
    }
    // 3. The server behind wants the password.
    if (this.#wantsPassword) return this.#askFullPath();
    // 4. An answer that can be checked; where one to the fast path does not fit, the full path decides, as
    //    what is remembered may be older than the account.
    if (proof.kind === 'answer' && proof.plugin.canVerify(known)) {
      const verdict = proof.plugin.verify(proof.scramble, proof.answer, known);
      if (verdict.accepted) return this.#accept(account, known, verdict.learned);
      const hasMore = proof.plugin === CACHING_SHA2 && known.sha2Hash !== undefined && this.#canAskPassword();
      return hasMore && !isNoPassword(proof.answer) ? this.#askFullPath() : this.#unproven();
    }
    // 5. Another plugin, or the full path.
    const plugin = this.#choosePlugin(known);
    return plugin === undefined ? this.#askFullPath() : this.#askPlugin(plugin);
  }

  /** See the head of the file; undefined: none can be checked, the full path must give the password. */
  #choosePlugin(known: Secret): AuthPlugin | undefined {
    const order = [
      findPlugin(this.#clientPlugin),
      findPlugin(this.#defaultPlugin),
      NATIVE_PASSWORD,
      CACHING_SHA2,
    ];
    return order.find((plugin) => plugin?.canVerify(known) === true);
  }

  #askPlugin(plugin: AuthPlugin): LoginStep {
    if (!this.#canSwitch()) {
      return this.#unproven(refusal('DBPROXY_AUTH_PLUGIN', this.#login.user, plugin.name));
    }
    const scramble = newScramble(plugin.scrambleBytes);
    this.#asked = { plugin, scramble };
    const data = plugin.scrambleBytes === SCRAMBLE_BYTES ? Buffer.concat([scramble, NUL]) : scramble;
    return this.#ask('switched', writeAuthSwitch(this.#nextSequence(), plugin.name, data));
  }

  /** Asks for the password itself; the client must be on caching_sha2_password for that. */
  #askFullPath(): LoginStep {
    const proof = this.#proof;
    if (!this.#canAskPassword()) {
      const reason = 'its password is needed, and there is no TLS and no RSA key';
      return this.#unproven(refusal('DBPROXY_INSECURE_LOGIN', this.#login.user, reason));
    }
    if (proof.kind !== 'answer' || proof.plugin !== CACHING_SHA2) return this.#askPlugin(CACHING_SHA2);
    // A client without a password has said so already.
    if (isNoPassword(proof.answer)) return this.#unproven();
    return this.#ask('full', writeAuthMoreData(this.#nextSequence(), FULL_PATH));
  }

  #fullPath(payload: Buffer): LoginStep {
    const { rsa } = this.#options;
    if (payload.length === 1 && payload[0] === KEY_REQUEST) {
      if (rsa === undefined) {
        const reason = 'the client asks for an RSA key, and there is none';
        throw refusal('DBPROXY_INSECURE_LOGIN', this.#login.user, reason);
      }
      const key = Buffer.from(rsa.publicPem, 'latin1');
      return this.#ask('keyed', writeAuthMoreData(this.#nextSequence(), key));
    }
    if (!this.#isSecure()) return this.#encrypted(payload);
    this.#proof = clearPassword(CACHING_SHA2.name, payload);
    return this.#decide();
  }

  #encrypted(payload: Buffer): LoginStep {
    const { rsa } = this.#options;
    if (rsa === undefined || this.#proof.kind !== 'answer') {
      throw refusal('DBPROXY_INSECURE_LOGIN', this.#login.user, 'the client sends the password in clear');
    }
    const password = decryptPassword(payload, this.#proof.scramble, rsa.privateKey);
    // What was not encrypted for us is told like a wrong password: the difference helps only attackers.
    if (password === undefined || !isClearPassword(password)) return this.#refuse(this.#accessDenied());
    this.#proof = clearPassword(CACHING_SHA2.name, password);
    return this.#decide();
  }

  #accept(account: Secret | RefusedAccount | undefined, known: Secret, learned: Secret): LoginStep {
    if (account !== undefined && 'refused' in account) return this.#unproven(account.refused);
    const secret = { ...known, ...learned };
    this.#state = 'accepted';
    this.#accepted = { ...this.#login, plugin: this.#provenBy(), secret };
    return this.#acceptedStep(this.#accepted);
  }

  #acceptedStep(login: AcceptedLogin): LoginStep {
    const sequence = this.#nextSequence();
    const proof = this.#proof;
    const isFastPath =
      proof.kind === 'answer' && proof.plugin === CACHING_SHA2 && !isNoPassword(proof.answer);
    if (!isFastPath) return { kind: 'accepted', login, prelude: null, sequence };
    const prelude = writeAuthMoreData(sequence, FAST_PATH_DONE);
    return { kind: 'accepted', login, prelude, sequence: (sequence + 1) & 0xff };
  }

  #unproven(denial = this.#accessDenied()): LoginStep {
    // Once accepted there is nothing to read again: the secret itself was proved.
    if (this.#accepted !== null) return this.#refuse(denial);
    this.#state = 'unproven';
    this.#denial = denial;
    return { kind: 'unproven', user: this.#login.user };
  }

  #accessDenied(): ProxyError {
    const { user } = this.#login;
    return refusal(
      'DBPROXY_ACCESS_DENIED',
      user,
      this.#options.clientAddress(),
      this.#usesPassword() ? 'YES' : 'NO',
    );
  }

  #usesPassword(): boolean {
    switch (this.#proof.kind) {
      case 'nothing':
        return false;
      case 'answer':
        return !isNoPassword(this.#proof.answer);
      case 'password':
        return this.#proof.password.length > 0;
    }
  }

  #provenBy(): string {
    switch (this.#proof.kind) {
      case 'nothing':
        return '';
      case 'answer':
        return this.#proof.plugin.name;
      case 'password':
        return this.#proof.plugin;
    }
  }

  #ask(state: State, bytes: Buffer): LoginStep {
    this.#state = state;
    this.#expectedSequence = (this.#sequence + 2) & 0xff;
    return { kind: 'send', bytes };
  }

  #refuse(error: ProxyError): LoginStep {
    this.#state = 'ended';
    return { kind: 'refused', error, sequence: this.#nextSequence() };
  }

  #nextSequence(): number {
    return (this.#sequence + 1) & 0xff;
  }

  #isSecure(): boolean {
    return this.#tlsBegun || this.#options.isSecure?.() === true;
  }

  /** The full path has a channel that nobody else reads, or a key. */
  #canAskPassword(): boolean {
    return this.#isSecure() || this.#options.rsa !== undefined;
  }

  /** A client without plugins has mysql_native_password and no other. */
  #canSwitch(): boolean {
    return (this.#login.capabilities & Capability.PLUGIN_AUTH) !== 0;
  }

  #guarded(step: () => LoginStep): LoginStep {
    try {
      return step();
    } catch (error) {
      if (isRefusal(error)) return this.#refuse(error);
      throw error;
    }
  }
}

function secretIn(account: Secret | RefusedAccount | undefined): Secret | undefined {
  return account !== undefined && 'refused' in account ? account.secret : account;
}

/** A password ends with its NUL, and has no other. */
function isClearPassword(bytes: Buffer): boolean {
  const { length } = bytes;
  return length > 0 && length <= MOST_PASSWORD_BYTES + 1 && bytes.indexOf(0) === length - 1;
}

/** A password as a client sends it; throws DBPROXY_MALFORMED_PACKET. */
function clearPassword(plugin: string, bytes: Buffer): Proof {
  if (!isClearPassword(bytes)) {
    throw refusal(
      'DBPROXY_MALFORMED_PACKET',
      `a password without its end, or above ${MOST_PASSWORD_BYTES} bytes`,
    );
  }
  return { kind: 'password', plugin, password: Buffer.from(bytes.subarray(0, -1)) };
}
