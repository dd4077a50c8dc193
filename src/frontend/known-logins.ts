/**
 * What a server said to logins of this endpoint that it has let in: the same login again is answered with the
 * same words, without asking a server. The client has proved to us who it is; its first statement will
 * find a connection of its account, or open one.
 */
import type { BackendConnection } from '../backend/connection.ts';
import type { SessionRequest } from './session-request.ts';
import type { RelayFlags } from './relay.ts';

/** How a server let an account in. */
export interface KnownLogin {
  /** Payload of its OK. */
  readonly payload: Buffer;
  readonly flags: RelayFlags;
}

/** Logins at most; the oldest gives way. */
const MOST = 1000;

export class KnownLogins {
  readonly #logins = new Map<string, KnownLogin>();

  find(key: string): KnownLogin | undefined {
    return this.#logins.get(key);
  }

  keep(key: string, login: KnownLogin): void {
    this.#logins.set(key, login);
    if (this.#logins.size <= MOST) return;
    const [oldest] = this.#logins.keys();
    this.#logins.delete(oldest!);
  }

  /** Accounts have changed, or another server is the primary. */
  clear(): void {
    this.#logins.clear();
  }
}

/** Equal for logins to which a server says the same. */
export function loginKey({ identity, preparation }: SessionRequest): string {
  const { database, collation, settingFlags } = preparation;
  // An account may be let in from one address and not from another.
  return [identity.key, identity.client.address, database, collation, settingFlags].join('\0');
}

/** The flags in force on a connection, apart from it. */
export function flagsOf({ capabilities, extendedCapabilities, loginOk }: BackendConnection): RelayFlags {
  return { capabilities, extendedCapabilities, loginOk: { ...loginOk } };
}
