/**
 * A login seen from the server's side, without sockets: greeting out, packets in, and each packet answered
 * by one step. The same steps serve COM_CHANGE_USER later in the session.
 *
 *   greeting → response [→ auth switch → answer] → accepted | refused
 *
 * An unknown user goes the same way as a known one with a wrong password, to the same error.
 * Manual: page_protocol_connection_phase.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import { DEFAULT_PLUGIN, newScramble, type AuthPlugin, type Secret } from './auth.ts';
import { Capability } from './constants.ts';
import {
  GREETING_STATUS,
  parseChangeUser,
  parseHandshakeResponse,
  writeAuthSwitch,
  writeGreeting,
} from './handshake.ts';

/** What this server offers and who may come. */
export interface ServerLoginOptions {
  connectionId: number;
  serverVersion: string;
  /** Capability flags offered. */
  capabilities: number;
  /** Default collation id, for clients that name none. */
  collation: number;
  /** The client's address as an error message shows it. */
  clientAddress: string;
  /** The secret of a user; undefined for one that is not known here. */
  findSecret(user: string): Secret | undefined;
}

/** Who logged in, and what was agreed. */
export interface AcceptedLogin {
  user: string;
  database: string;
  /** Collation id the client asked for. */
  collation: number;
  /** Flags that both sides have. */
  capabilities: number;
  /** What the login proved of the user's secret, joined with what was known. */
  secret: Secret;
}

/** What to do after a packet. `sequence` is the number the next packet to the client must carry. */
export type LoginStep =
  | { kind: 'send'; bytes: Buffer }
  | { kind: 'accepted'; login: AcceptedLogin; sequence: number }
  | { kind: 'refused'; error: ProxyError; sequence: number };

type State = 'greeted' | 'switched' | 'ended';

export class ServerLogin {
  readonly #options: ServerLoginOptions;
  readonly #plugin: AuthPlugin = DEFAULT_PLUGIN;
  #state: State = 'greeted';
  #scramble: Buffer = newScramble();
  #expectedSequence = 1;
  #login: Omit<AcceptedLogin, 'secret'> = { user: '', database: '', collation: 0, capabilities: 0 };

  constructor(options: ServerLoginOptions) {
    this.#options = options;
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
      scramble: this.#scramble,
      capabilities: this.#options.capabilities,
      collation: this.#options.collation,
      status: GREETING_STATUS,
      plugin: this.#plugin.name,
    });
  }

  /** Takes the client's next packet. Never throws: what is wrong with it is a refused step. */
  receive(payload: Buffer, sequence: number): LoginStep {
    if (sequence !== this.#expectedSequence) {
      return this.#refuse(refusal('DBPROXY_PACKET_OUT_OF_ORDER', this.#expectedSequence, sequence), sequence);
    }
    this.#expectedSequence = (sequence + 2) & 0xff;
    switch (this.#state) {
      case 'greeted':
        return this.#guarded(sequence, () => this.#response(payload, sequence));
      case 'switched':
        return this.#check(payload, sequence);
      case 'ended':
        return this.#refuse(refusal('DBPROXY_HANDSHAKE', 'a packet after the end of the login'), sequence);
    }
  }

  /**
   * Begins a COM_CHANGE_USER of a session that agreed on `capabilities`: the client is asked to answer a
   * fresh scramble, so an answer seen earlier is worth nothing.
   */
  changeUser(payload: Buffer, capabilities: number): LoginStep {
    return this.#guarded(0, () => {
      const change = parseChangeUser(payload, capabilities);
      this.#login = {
        user: change.user,
        database: change.database,
        collation: change.collation || this.#options.collation,
        capabilities,
      };
      if ((capabilities & Capability.PLUGIN_AUTH) === 0) return this.#check(change.answer, 0);
      return this.#askAgain(0);
    });
  }

  #response(payload: Buffer, sequence: number): LoginStep {
    const response = parseHandshakeResponse(payload, this.#options.capabilities);
    this.#login = {
      user: response.user,
      database: response.database,
      collation: response.collation || this.#options.collation,
      capabilities: response.capabilities,
    };
    const switchNeeded = response.plugin !== '' && response.plugin !== this.#plugin.name;
    return switchNeeded ? this.#askAgain(sequence) : this.#check(response.answer, sequence);
  }

  #askAgain(sequence: number): LoginStep {
    this.#state = 'switched';
    this.#scramble = newScramble();
    this.#expectedSequence = (sequence + 2) & 0xff;
    return { kind: 'send', bytes: writeAuthSwitch((sequence + 1) & 0xff, this.#plugin.name, this.#scramble) };
  }

  #check(answer: Buffer, sequence: number): LoginStep {
    const known = this.#options.findSecret(this.#login.user);
    const verdict = this.#plugin.verify(this.#scramble, answer, known ?? {});
    if (!verdict.accepted || known === undefined) {
      const { user } = this.#login;
      const error = refusal(
        'DBPROXY_ACCESS_DENIED',
        user,
        this.#options.clientAddress,
        answer.length > 0 ? 'YES' : 'NO',
      );
      return this.#refuse(error, sequence);
    }
    this.#state = 'ended';
    const secret = { ...known, ...verdict.learned };
    return { kind: 'accepted', login: { ...this.#login, secret }, sequence: (sequence + 1) & 0xff };
  }

  #refuse(error: ProxyError, sequence: number): LoginStep {
    this.#state = 'ended';
    return { kind: 'refused', error, sequence: (sequence + 1) & 0xff };
  }

  #guarded(sequence: number, step: () => LoginStep): LoginStep {
    try {
      return step();
    } catch (error) {
      if (isRefusal(error)) return this.#refuse(error, sequence);
      throw error;
    }
  }
}
