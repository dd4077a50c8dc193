/**
 * What logins have proved: the SHA256(SHA256(password)) of accounts whose server keeps a slow hash only.
 * Who has it can check the short answer of caching_sha2_password, as the server itself does from its own
 * cache. With `remember_passwords` the password itself is kept with it, where a client has given it: for
 * servers that want to see it. Kept in memory alone, by the supervisor and the workers; worth something as long as the
 * account's stored hash is the one it was proved against.
 */
import { fingerprintOf, type Account, type ClusterAccounts } from './account.ts';

export interface ProvenLogin {
  readonly cluster: string;
  readonly user: string;
  readonly host: string;
  /** SHA256(SHA256(password)), base64. */
  readonly doubleSha256: string;
  /** `fingerprintOf` the account it was proved against. */
  readonly stored: string;
  /** The password itself, where it was given and may be remembered. */
  readonly password?: string;
}

export class ProvenLogins {
  /** In the order of the last proof. */
  readonly #logins = new Map<string, ProvenLogin>();
  readonly #most: number;

  /** Beyond `most` the one that was proved longest ago is forgotten. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a proof; false when it says nothing new. One in the short way leaves the password that is known. */
  remember(login: ProvenLogin): boolean {
    const key = keyOf(login.cluster, login);
    const known = this.#logins.get(key);
    const isSame = known?.doubleSha256 === login.doubleSha256 && known.stored === login.stored;
    const password = login.password ?? (isSame ? known.password : undefined);
    this.#logins.delete(key);
    this.#logins.set(key, { ...login, ...(password !== undefined && { password }) });
    const [oldest] = this.#logins.keys();
    if (this.#logins.size > this.#most) this.#logins.delete(oldest!);
    return !isSame || known.password !== password;
  }

  /** What was proved of an account, when its stored hash is still the same. */
  find(cluster: string, account: Account): string | undefined {
    const login = this.#logins.get(keyOf(cluster, account));
    return login?.stored === fingerprintOf(account) ? login.doubleSha256 : undefined;
  }

  /** The password of an account, when it is remembered and its stored hash is still the same. */
  passwordOf(cluster: string, account: Account): string | undefined {
    const login = this.#logins.get(keyOf(cluster, account));
    return login?.stored === fingerprintOf(account) ? login.password : undefined;
  }

  /** Forgets what was proved against hashes that the cluster's accounts have no longer. */
  keepOnly({ cluster, accounts }: ClusterAccounts): void {
    const valid = new Map(accounts.map((account) => [keyOf(cluster, account), account]));
    for (const [key, login] of this.#logins) {
      if (login.cluster !== cluster) continue;
      const account = valid.get(key);
      if (account === undefined || fingerprintOf(account) !== login.stored) this.#logins.delete(key);
    }
  }

  all(): ProvenLogin[] {
    return [...this.#logins.values()];
  }
}

function keyOf(cluster: string, { user, host }: { user: string; host: string }): string {
  return JSON.stringify([cluster, user, host]);
}
