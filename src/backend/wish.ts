/**
 * What somebody wants who asks for a connection: whose it is as far as the server is concerned, how the server is
 * reached, and the state in which a session begins on it.
 */
import type { Endpoint } from '../base/address.ts';
import type { Secret } from '../protocol/auth.ts';
import { Capability } from '../protocol/constants.ts';
import type { TlsClient } from '../transport/tls-stream.ts';
import { Settings } from './settings.ts';

/** The state that a session begins in; a connection is brought to it before it is handed over. */
export interface Preparation {
  readonly database: string;
  /** Collation id. */
  readonly collation: number;
  /** Transactions are READ ONLY: for read endpoints. */
  readonly readOnly: boolean;
  /** Connection attributes, encoded. */
  readonly attributes: Buffer;
  /** Flags whose settings the session has; servers act on them at its login, and forget them at a change of user. */
  readonly settingFlags: number;
}

/** The flags that give a session settings. */
export const SETTING_FLAGS: number = Capability.IGNORE_SPACE | Capability.INTERACTIVE;

/** What makes an identity. */
export interface IdentityParts {
  readonly user: string;
  /**
   * The account and the secret that the session was let in with, in a form to compare: a server may have
   * several accounts of one name, and a connection of one of them must not serve another.
   */
  readonly account: string;
  /** Flags that shape what travels over the connection; only a session with the same can use it. */
  readonly capabilities: number;
  /** The same of MariaDB's upper flags. */
  readonly extendedCapabilities: number;
  /** Where the first session came from: for a server that is told so. */
  readonly client: { readonly address: string; readonly port: number };
}

/** Whom a connection belongs to as far as the server is concerned. */
export class Identity implements IdentityParts {
  readonly user: string;
  readonly account: string;
  readonly capabilities: number;
  readonly extendedCapabilities: number;
  readonly client: { readonly address: string; readonly port: number };
  /** Equal for identities whose sessions may use one another's connections, where they come from apart. */
  readonly key: string;

  constructor({ user, account, capabilities, extendedCapabilities, client }: IdentityParts) {
    this.user = user;
    this.account = account;
    this.capabilities = capabilities;
    this.extendedCapabilities = extendedCapabilities;
    this.client = client;
    this.key = `${user}\0${account}\0${capabilities}\0${extendedCapabilities}`;
  }
}

/** How a server is connected to. */
export interface BackendChannel {
  readonly endpoint: Endpoint;
  readonly tls: 'off' | 'preferred' | 'required';
  /** What TLS needs; null when it is off. */
  readonly tlsClient: TlsClient | null;
  readonly compression: 'off' | 'zlib' | 'zstd';
  /** Tell the server the client's address by a PROXY header. */
  readonly sendsProxyHeader: boolean;
}

/** Who wants a connection, and what for. */
export interface ConnectionWish {
  readonly identity: Identity;
  readonly secret: Secret;
  /** The clear password that `secret` lacks, where somebody remembers it: asked for when a server wants it. */
  readonly findPassword?: () => string | undefined;
  /** A clear password in `secret` may be kept as long as the connection is. */
  readonly keepsPassword: boolean;
  readonly preparation: Preparation;
}

/** The settings of a first state. */
export function initialSettings({ database }: Preparation): Settings {
  return Settings.initial(Buffer.from(database, 'utf8').toString('latin1'));
}

/**
 * The SET that gives a session what its flags gave it at the login: servers act on IGNORE_SPACE and
 * INTERACTIVE there only, not at a change of user. Empty when there is nothing to set.
 */
export function flagSettings(capabilities: number): string {
  const settings: string[] = [];
  if ((capabilities & Capability.IGNORE_SPACE) !== 0) {
    settings.push("SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'IGNORE_SPACE')");
  }
  if ((capabilities & Capability.INTERACTIVE) !== 0) {
    settings.push('SESSION wait_timeout = @@interactive_timeout');
  }
  return settings.length === 0 ? '' : `SET ${settings.join(', ')}`;
}
