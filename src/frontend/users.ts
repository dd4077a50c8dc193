/**
 * Who may log in, and by what: the accounts read from a cluster's primary (`users = import`) with what the
 * [user] sections of the configuration add to them, or those sections alone (`users = file`).
 *
 * A section adds limits, networks and listeners to the account of its name; a password in it takes the place
 * of the account's. While the accounts could not be read yet, a section with a password serves its user.
 */
import { networkList, type NetworkList } from '../base/address.ts';
import { refusal, type ProxyError } from '../base/errors.ts';
import type { ClusterConfig, ProxyConfig, UserConfig } from '../config/config.ts';
import { secretOf, type Secret } from '../protocol/auth.ts';
import {
  AccountIndex,
  accountName,
  fingerprintOf,
  type Account,
  type ClusterAccounts,
  type ServerProduct,
} from '../topology/account.ts';
import { ProvenLogins, type ProvenLogin } from '../topology/proven-logins.ts';

export interface KnownUser {
  readonly name: string;
  readonly secret: Secret;
  /** Its account on the servers; null when only the configuration knows it. */
  readonly account: Account | null;
  /** What the server says to this account after a right password; null when it lets it in. */
  readonly refuseAfterProof: ProxyError | null;
  /** It may come over an encrypted connection only. */
  readonly requiresTls: boolean;
  /** Sessions at once over all workers; 0 means no limit. */
  readonly maxConnections: number;
  /** May come from this address. */
  allowsAddress(address: string): boolean;
  allowsListener(listener: string): boolean;
  /** The clear password, when a login has given it, it may be remembered, and the account has it still. */
  rememberedPassword(): string | undefined;
}

/** What is known of a client by its name and address. */
export type Found =
  | { readonly kind: 'known'; readonly user: KnownUser }
  /** There is an account, and dbproxy cannot log anybody in to it. */
  | { readonly kind: 'unservable'; readonly error: ProxyError }
  /** `reason` is for the log; a client is not told which names there are. */
  | { readonly kind: 'unknown'; readonly reason: string };

export interface UserDirectoryOptions {
  readonly clusters: readonly Pick<ClusterConfig, 'name' | 'users'>[];
  readonly users: ProxyConfig['users'];
  /** Passwords that clients give are remembered, and so many logins at most. */
  readonly remember: Pick<ProxyConfig['dbproxy'], 'rememberPasswords' | 'rememberedLogins'>;
  /** Called with what a login has proved that was not known before. */
  readonly onProven: (login: ProvenLogin) => void;
}

interface Imported {
  readonly product: ServerProduct;
  /** All that is known of each account, by its name. */
  readonly states: ReadonlyMap<string, string>;
  readonly index: AccountIndex;
}

export class UserDirectory {
  readonly #options: UserDirectoryOptions;
  readonly #sections: ReadonlyMap<string, Section>;
  readonly #imported = new Map<string, Imported>();
  readonly #proven: ProvenLogins;
  #revision = 0;

  constructor(options: UserDirectoryOptions) {
    this.#options = options;
    this.#proven = new ProvenLogins(options.remember.rememberedLogins);
    this.#sections = new Map(options.users.map((config) => [config.name, sectionOf(config)]));
  }

  /** Grows with each change of the accounts. */
  get revision(): number {
    return this.#revision;
  }

  /** Takes the newest accounts of a cluster; answers the users of those that are not as they were. */
  take(accounts: ClusterAccounts): ReadonlySet<string> {
    const { cluster, product } = accounts;
    const before = this.#imported.get(cluster)?.states ?? new Map<string, string>();
    const states = new Map(
      accounts.accounts.map((account) => [accountName(account), JSON.stringify(account)]),
    );
    this.#imported.set(cluster, { product, index: new AccountIndex(accounts.accounts), states });
    this.#proven.keepOnly(accounts);
    this.#revision++;
    return changedUsers(before, states);
  }

  /** Its accounts are imported, and none have come yet. */
  isUnread(cluster: string): boolean {
    const config = this.#options.clusters.find(({ name }) => name === cluster);
    return config?.users === 'import' && !this.#imported.has(cluster);
  }

  /** Takes what a login elsewhere has proved. */
  learn(login: ProvenLogin): void {
    this.#proven.remember(login);
  }

  /** Who `name` is to `cluster`, coming from `address` (`localhost` for a Unix socket). */
  find(cluster: string, name: string, address: string): Found {
    const section = this.#sections.get(name);
    const config = this.#options.clusters.find((one) => one.name === cluster);
    if (config?.users !== 'import') return fromSection(name, section, 'it has no [user] section');
    const imported = this.#imported.get(cluster);
    if (imported === undefined) {
      if (section?.secret !== undefined) return fromSection(name, section, '');
      return { kind: 'unservable', error: refusal('DBPROXY_ACCOUNTS_UNREAD', cluster) };
    }
    const match = imported.index.find(name, address);
    switch (match.kind) {
      case 'none':
        return { kind: 'unknown', reason: match.reason };
      case 'names_only':
        return unservable(
          name,
          address,
          "it is for hosts by their names only, and names of hosts are not looked up; create it for '%' or an address",
        );
      case 'account':
        return this.#fromAccount(cluster, name, address, match.account, imported.product, section);
    }
  }

  /** A login has proved `secret`: what it says of the account is kept, and told to the other workers. */
  proven(cluster: string, user: KnownUser, { doubleSha256, password }: Secret): void {
    const { account } = user;
    if (account === null || doubleSha256 === undefined || !isSlow(account)) return;
    // One that the configuration gives may be another than the account has.
    const isKept = this.#options.remember.rememberPasswords && user.secret.password === undefined;
    const login: ProvenLogin = {
      cluster,
      user: account.user,
      host: account.host,
      doubleSha256: doubleSha256.toString('base64'),
      stored: fingerprintOf(account),
      ...(isKept && password !== undefined && { password }),
    };
    if (this.#proven.remember(login)) this.#options.onProven(login);
  }

  #fromAccount(
    cluster: string,
    name: string,
    address: string,
    account: Account,
    product: ServerProduct,
    section: Section | undefined,
  ): Found {
    if (account.user !== name) {
      const reason = `the anonymous account ${accountName(account)} comes first for this address; drop it`;
      return unservable(name, address, reason);
    }
    if (account.unservable !== null && section?.secret === undefined) {
      return unservable(name, address, account.unservable);
    }
    return {
      kind: 'known',
      user: {
        ...(section ?? NO_SECTION),
        name,
        secret: section?.secret ?? this.#secretOf(cluster, account),
        account,
        refuseAfterProof: refusalOf(account, product, address),
        requiresTls: account.requiresTls,
        rememberedPassword: () => this.#proven.passwordOf(cluster, account),
      },
    };
  }

  #secretOf(cluster: string, account: Account): Secret {
    if (account.emptyPassword) return { password: '' };
    const { doubleSha1, sha2Hash, ed25519Key } = account.material;
    const doubleSha256 = isSlow(account) ? this.#proven.find(cluster, account) : undefined;
    return {
      ...(doubleSha1 !== undefined && { doubleSha1: Buffer.from(doubleSha1, 'hex') }),
      ...(sha2Hash !== undefined && { sha2Hash: Buffer.from(sha2Hash, 'base64') }),
      ...(ed25519Key !== undefined && { ed25519Key: Buffer.from(ed25519Key, 'base64') }),
      ...(doubleSha256 !== undefined && { doubleSha256: Buffer.from(doubleSha256, 'base64') }),
    };
  }
}

/** What a [user] section says of its user. */
interface Section extends Pick<KnownUser, 'maxConnections' | 'allowsAddress' | 'allowsListener'> {
  /** Undefined when the section has neither password nor auth. */
  readonly secret: Secret | undefined;
}

const NO_SECTION: Section = {
  secret: undefined,
  maxConnections: 0,
  allowsAddress: () => true,
  allowsListener: () => true,
};

function sectionOf(config: UserConfig): Section {
  const networks: NetworkList | undefined = config.allow.length > 0 ? networkList(config.allow) : undefined;
  const hasSecret = config.password !== undefined || config.auth !== undefined;
  return {
    secret: hasSecret ? secretOf(config) : undefined,
    maxConnections: config.maxConnections,
    allowsAddress: (address) =>
      networks === undefined || address === 'localhost' || networks.contains(address),
    allowsListener: (listener) => config.listeners.length === 0 || config.listeners.includes(listener),
  };
}

function fromSection(name: string, section: Section | undefined, reason: string): Found {
  if (section?.secret === undefined) return { kind: 'unknown', reason };
  const { secret } = section;
  const user = {
    ...section,
    name,
    secret,
    account: null,
    refuseAfterProof: null,
    requiresTls: false,
    rememberedPassword: () => undefined,
  };
  return { kind: 'known', user };
}

/** The server keeps only what cannot check the short answers of clients, so a proof is worth keeping. */
function isSlow({ material }: Account): boolean {
  return material.sha2Hash !== undefined || material.ed25519Key !== undefined;
}

function unservable(name: string, address: string, reason: string): Found {
  return { kind: 'unservable', error: refusal('DBPROXY_ACCOUNT_UNSERVABLE', name, address, reason) };
}

/** A server says so only to who knows the password; locked comes before expired. */
function refusalOf(account: Account, product: ServerProduct, address: string): ProxyError | null {
  if (account.locked) {
    return product === 'mariadb'
      ? refusal('DBPROXY_ACCOUNT_LOCKED_MARIADB')
      : refusal('DBPROXY_ACCOUNT_LOCKED', account.user, address);
  }
  return account.expired ? refusal('DBPROXY_PASSWORD_EXPIRED') : null;
}

/** Users of accounts that are in one of the two only, or differ. */
function changedUsers(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const [name, state] of [...before, ...after]) {
    if (before.get(name) !== after.get(name)) changed.add((JSON.parse(state) as Account).user);
  }
  return changed;
}
