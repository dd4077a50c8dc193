/**
 * The accounts of a cluster, as its primary's own tables have them: plain data that travels from the
 * supervisor, which reads them, to the workers, which check logins by them. Which account a client gets is
 * a pure question, answered here in the order in which the servers answer it.
 */
import { createHash } from 'node:crypto';
import { compareHostPatterns, parseHostPattern, type HostPattern } from './host-pattern.ts';

/** Who wrote the account tables: it decides the words of some refusals. */
export type ServerProduct = 'mariadb' | 'mysql';

/** What the server stores in place of the password; nothing when the password is empty. */
export interface AccountMaterial {
  /** mysql_native_password: SHA1(SHA1(password)), 40 hexadecimal digits. */
  readonly doubleSha1?: string;
  /** caching_sha2_password and sha256_password: the stored text (`$A$005$…`, `$5$…`), base64 of its bytes. */
  readonly sha2Hash?: string;
  /** ed25519: the public key, base64 of 32 bytes. */
  readonly ed25519Key?: string;
}

export interface Account {
  readonly user: string;
  /** As written: `%`, `10.1.%`, `localhost`. */
  readonly host: string;
  /** The authentication plugin; of several alternatives the one that is served. */
  readonly plugin: string;
  readonly material: AccountMaterial;
  readonly emptyPassword: boolean;
  readonly locked: boolean;
  readonly expired: boolean;
  /** REQUIRE SSL: the server takes this account on encrypted connections only. */
  readonly requiresTls: boolean;
  /** Why dbproxy cannot log anybody in to it; null when it can. */
  readonly unservable: string | null;
}

/** All accounts of a cluster, as last read. */
export interface ClusterAccounts {
  readonly cluster: string;
  readonly product: ServerProduct;
  readonly accounts: readonly Account[];
}

/** How the import of a cluster's accounts goes. */
export interface ImportStatus {
  readonly cluster: string;
  /** As last read; null when they never were. */
  readonly accounts: ClusterAccounts | null;
  /** Age of what was read last; null when nothing was. */
  readonly ageMs: number | null;
  /** Why the latest read failed; null when it did not. */
  readonly failure: string | null;
}

/** The account of a client, or in words why there is none. */
export type AccountMatch =
  | { readonly kind: 'account'; readonly account: Account }
  /** It has accounts, but every one is for a host name, and names are not looked up. */
  | { readonly kind: 'names_only'; readonly hosts: readonly string[] }
  | { readonly kind: 'none'; readonly reason: string };

/** `'app'@'10.1.%'`, as GRANT writes it. */
export function accountName(account: Pick<Account, 'user' | 'host'>): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  return `${quoted(account.user)}@${quoted(account.host)}`;
}

const fingerprints = new WeakMap<Account, string>();

/** Tells one stored hash from another, and nothing else about it; made once for an account, as each login asks. */
export function fingerprintOf(account: Account): string {
  let fingerprint = fingerprints.get(account);
  if (fingerprint === undefined) {
    const stored = JSON.stringify([account.plugin, account.material]);
    fingerprint = createHash('sha256').update(stored).digest('base64').slice(0, 22);
    fingerprints.set(account, fingerprint);
  }
  return fingerprint;
}

interface Candidate {
  readonly account: Account;
  readonly host: HostPattern;
}

/** Accounts ready to be looked up by name and address. */
export class AccountIndex {
  /** By user; each list is in the order in which a server looks, anonymous accounts among the others. */
  readonly #byUser = new Map<string, readonly Candidate[]>();
  readonly #anonymous: readonly Candidate[];

  constructor(accounts: readonly Account[]) {
    const candidates = accounts.map((account) => ({ account, host: parseHostPattern(account.host) }));
    this.#anonymous = candidates.filter(({ account }) => account.user === '').sort(compareCandidates);
    for (const [user, own] of Map.groupBy(candidates, ({ account }) => account.user)) {
      if (user !== '') this.#byUser.set(user, [...own, ...this.#anonymous].sort(compareCandidates));
    }
  }

  /** The account that a server would give to `user` coming from `address` (`localhost` for a Unix socket). */
  find(user: string, address: string): AccountMatch {
    const candidates = this.#byUser.get(user) ?? this.#anonymous;
    const found = candidates.find(({ host }) => host.matches(address));
    if (found !== undefined) return { kind: 'account', account: found.account };
    const own = candidates.filter(({ account }) => account.user === user);
    const hosts = own.map(({ account }) => account.host);
    if (own.length === 0) return { kind: 'none', reason: `there is no account '${user}'` };
    if (own.every(({ host }) => host.isName)) return { kind: 'names_only', hosts };
    const some = hosts.slice(0, HOSTS_SHOWN).map((host) => `'${host}'`);
    return {
      kind: 'none',
      reason: `no account '${user}' is for ${address}; there is one for ${some.join(', ')}${hosts.length > some.length ? ', …' : ''}`,
    };
  }
}

const HOSTS_SHOWN = 5;

/**
 * The order in which a server looks for an account
 * (https://dev.mysql.com/doc/refman/8.4/en/connection-access.html):
 * 1. the most specific host first;
 * 2. on the same host a named account before the anonymous one.
 */
function compareCandidates(one: Candidate, other: Candidate): number {
  return (
    compareHostPatterns(one.host, other.host) ||
    Number(one.account.user === '') - Number(other.account.user === '')
  );
}
