/**
 * Where the generations of MariaDB and MySQL keep their accounts, and how their rows read.
 *
 * | server               | table              | how                                                    |
 * |----------------------|--------------------|--------------------------------------------------------|
 * | MariaDB 10.4 on      | mysql.global_priv  | one JSON document an account, with alternatives         |
 * | MariaDB up to 10.3   | mysql.user         | Password, or plugin and authentication_string           |
 * | MySQL 5.6            | mysql.user         | the same                                                |
 * | MySQL 5.7 on         | mysql.user         | plugin and authentication_string; locks and lifetimes   |
 *
 * Manual: https://mariadb.com/kb/en/mysqlglobal_priv-table/ and .../mysqluser-table/,
 *         https://dev.mysql.com/doc/refman/8.4/en/grant-tables.html
 */
import { isSha2Hash } from '../../protocol/sha2-hash.ts';
import type { Account, AccountMaterial, ServerProduct } from '../../topology/account.ts';
import { isOn, type Row } from './row.ts';

/** How the accounts of one server are read. */
export interface AccountTable {
  readonly product: ServerProduct;
  /** What the monitor account needs SELECT on. */
  readonly table: string;
  /** One row an account. */
  readonly query: string;
  /**
   * One row of the answer as an account. What cannot be read for sure is never taken for an empty password:
   * throws when a column is missing, and an account with values that are not understood is unservable.
   */
  readAccount(row: Row): Account;
}

/** The account table of a server by its VERSION(). */
export function accountTableOf(version: string): AccountTable {
  const [major = 0, minor = 0, patch = 0] = version
    .replace(/^5\.5\.5-(?=.*mariadb)/i, '')
    .split(/[.-]/, 3)
    .map(Number);
  const isAtLeast = (...wanted: [number, number, number]): boolean => {
    const [wantedMajor, wantedMinor, wantedPatch] = wanted;
    return major !== wantedMajor
      ? major > wantedMajor
      : minor !== wantedMinor
        ? minor > wantedMinor
        : patch >= wantedPatch;
  };
  if (/mariadb/i.test(version)) return isAtLeast(10, 4, 0) ? globalPriv : mariadbUser;
  if (!isAtLeast(5, 7, 6)) return mysql56User;
  return isAtLeast(8, 0, 27) ? mysqlUserWithFactors : mysqlUser;
}

const NATIVE = 'mysql_native_password';
const NOTHING: Buffer = Buffer.alloc(0);

/** Common to all of mysql.user; a hash may hold any byte, so it travels as hexadecimal digits. */
const USER_COLUMNS =
  'User AS user, Host AS host, plugin, HEX(authentication_string) AS hash, password_expired, ssl_type';
const LEGACY_COLUMNS = `${USER_COLUMNS}, HEX(Password) AS old_hash`;
const LIFETIME_COLUMNS =
  'account_locked, UNIX_TIMESTAMP(password_last_changed) AS changed, password_lifetime, @@global.default_password_lifetime AS default_lifetime, UNIX_TIMESTAMP() AS now';

const globalPriv: AccountTable = {
  product: 'mariadb',
  table: 'mysql.global_priv',
  query:
    'SELECT User AS user, Host AS host, HEX(Priv) AS priv, @@global.default_password_lifetime AS default_lifetime, UNIX_TIMESTAMP() AS now FROM mysql.global_priv',
  readAccount: readGlobalPriv,
};

const mariadbUser: AccountTable = {
  product: 'mariadb',
  table: 'mysql.user',
  query: `SELECT ${LEGACY_COLUMNS}, is_role FROM mysql.user`,
  readAccount: readUserRow,
};

const mysql56User: AccountTable = {
  product: 'mysql',
  table: 'mysql.user',
  query: `SELECT ${LEGACY_COLUMNS} FROM mysql.user`,
  readAccount: readUserRow,
};

const mysqlUser: AccountTable = {
  product: 'mysql',
  table: 'mysql.user',
  query: `SELECT ${USER_COLUMNS}, ${LIFETIME_COLUMNS} FROM mysql.user`,
  readAccount: readUserRow,
};

const mysqlUserWithFactors: AccountTable = {
  ...mysqlUser,
  query: `SELECT ${USER_COLUMNS}, ${LIFETIME_COLUMNS}, JSON_EXTRACT(User_attributes, '$.Multi_factor_authentication') IS NOT NULL AS several_factors FROM mysql.user`,
};

/** How one plugin lets a client in: with what material, or why dbproxy cannot serve it. */
interface Authentication {
  readonly plugin: string;
  readonly material: AccountMaterial;
  readonly emptyPassword: boolean;
  readonly unservable: string | null;
}

function readUserRow(row: Row): Account {
  const plugin = (row.plugin === null ? '' : word(row, 'plugin')) || NATIVE;
  const sslType = word(row, 'ssl_type');
  // Before MySQL 5.7 the hash of a native password stands in Password; authentication_string is for the others.
  const oldHash = 'old_hash' in row ? fromHex(row, 'old_hash') : NOTHING;
  const hash = plugin === NATIVE && oldHash.length > 0 ? oldHash : fromHex(row, 'hash');
  const authentication = authenticationOf(plugin, hash);
  return {
    ...authentication,
    user: word(row, 'user'),
    host: word(row, 'host'),
    locked: isYes(row, 'account_locked'),
    expired:
      isYes(row, 'password_expired') ||
      hasOutlived(row.changed, row.password_lifetime ?? row.default_lifetime, row.now),
    requiresTls: sslType !== '',
    unservable:
      roleReason(isYes(row, 'is_role')) ??
      factorReason(isOn(row.several_factors)) ??
      certificateReason(sslType === 'X509' || sslType === 'SPECIFIED') ??
      authentication.unservable,
  };
}

/** What MariaDB keeps in the column Priv, as far as it concerns logins. */
interface PrivDocument {
  readonly plugin?: unknown;
  readonly authentication_string?: unknown;
  /** Alternatives; an empty one stands for the plugin of the document itself. */
  readonly auth_or?: readonly PrivDocument[];
  readonly account_locked?: unknown;
  readonly password_last_changed?: unknown;
  readonly password_lifetime?: unknown;
  /** 0: not required, 1: encryption, 2: a certificate, 3: a certain certificate. */
  readonly ssl_type?: unknown;
  readonly is_role?: unknown;
}

/** In MariaDB's documents: the account goes by the server's default_password_lifetime. */
const DEFAULT_LIFETIME = -1;

function readGlobalPriv(row: Row): Account {
  const priv = JSON.parse(fromHex(row, 'priv').toString('utf8')) as PrivDocument;
  const authentication = bestOf(priv);
  const sslType = Number(priv.ssl_type ?? 0);
  const lifetime = priv.password_lifetime ?? DEFAULT_LIFETIME;
  return {
    ...authentication,
    user: word(row, 'user'),
    host: word(row, 'host'),
    locked: priv.account_locked === true,
    // PASSWORD EXPIRE sets the time of the last change to 0.
    expired:
      priv.password_last_changed === 0 ||
      hasOutlived(
        priv.password_last_changed,
        lifetime === DEFAULT_LIFETIME ? row.default_lifetime : lifetime,
        row.now,
      ),
    requiresTls: sslType > 0,
    unservable:
      roleReason(priv.is_role === true) ?? certificateReason(sslType > 1) ?? authentication.unservable,
  };
}

/** Of several alternatives the one that costs least to serve. */
const PREFERENCE = [NATIVE, 'ed25519'];

function bestOf(priv: PrivDocument): Authentication {
  const alternatives = (priv.auth_or ?? [{}]).map((alternative) => {
    const { plugin = NATIVE, authentication_string: stored = '' } =
      alternative.plugin === undefined ? priv : alternative;
    return typeof plugin === 'string' && typeof stored === 'string'
      ? authenticationOf(plugin, Buffer.from(stored))
      : refusedAs('unknown', 'its entry in the account table is not understood');
  });
  const cost = ({ plugin, unservable }: Authentication): number => {
    if (unservable !== null) return Infinity;
    const place = PREFERENCE.indexOf(plugin);
    return place === -1 ? PREFERENCE.length : place;
  };
  return alternatives.reduce((best, other) => (cost(other) < cost(best) ? other : best));
}

const ED25519_KEY_BYTES = 32;

function authenticationOf(plugin: string, hash: Buffer): Authentication {
  const served = (material: AccountMaterial): Authentication => ({
    plugin,
    material,
    emptyPassword: hash.length === 0,
    unservable: null,
  });
  const refused = (unservable: string): Authentication => refusedAs(plugin, unservable);
  const noPassword = `no password fits what is stored for it (${plugin})`;
  const stored = hash.toString('latin1');
  switch (plugin) {
    case NATIVE:
      if (hash.length === 0) return served({});
      if (/^\*[0-9A-F]{40}$/i.test(stored)) return served({ doubleSha1: stored.slice(1).toLowerCase() });
      return refused(/^[0-9a-f]{16}$/i.test(stored) ? OLD_HASH : noPassword);
    case 'caching_sha2_password':
    case 'sha256_password':
      if (hash.length === 0) return served({});
      return isSha2Hash(hash) ? served({ sha2Hash: hash.toString('base64') }) : refused(noPassword);
    case 'ed25519': {
      const key = Buffer.from(stored, 'base64');
      return key.length === ED25519_KEY_BYTES
        ? served({ ed25519Key: key.toString('base64') })
        : refused(noPassword);
    }
    case 'mysql_old_password':
      return refused(OLD_HASH);
    case 'unix_socket':
    case 'auth_socket':
      return refused(`it is for the operating system's user of that name on the server itself (${plugin})`);
    case 'pam':
    case 'pam_v1':
    case 'authentication_pam':
    case 'auth_pam':
    case 'auth_pam_compat':
      return refused(`it authenticates by PAM (${plugin})`);
    case 'mysql_no_login':
      return refused('nobody may log in to it (mysql_no_login)');
    default:
      return refused(`it authenticates by ${plugin}, which dbproxy does not have`);
  }
}

const OLD_HASH = 'it has a password hash of before MySQL 4.1; set its password anew';

function refusedAs(plugin: string, unservable: string): Authentication {
  return { plugin, material: {}, emptyPassword: false, unservable };
}

function roleReason(isRole: boolean): string | null {
  return isRole ? 'it is a role' : null;
}

function factorReason(hasSeveral: boolean): string | null {
  return hasSeveral ? 'it asks for several factors of authentication' : null;
}

/** The server would see dbproxy's certificate, not the client's. */
function certificateReason(needsCertificate: boolean): string | null {
  return needsCertificate
    ? 'it demands a certificate of the client (REQUIRE X509, ISSUER, SUBJECT or CIPHER)'
    : null;
}

const SECONDS_PER_DAY = 86_400;

/** `lifetime` in days; none, or 0, is for ever. */
function hasOutlived(changedSeconds: unknown, lifetime: unknown, nowSeconds: unknown): boolean {
  const days = Number(lifetime ?? 0);
  if (changedSeconds === null || changedSeconds === undefined || !(days > 0)) return false;
  return Number(changedSeconds) + days * SECONDS_PER_DAY < Number(nowSeconds);
}

/** A column of Y and N; no for one that this server does not have. */
function isYes(row: Row, column: string): boolean {
  if (!(column in row)) return false;
  const value = word(row, column);
  if (value !== 'Y' && value !== 'N') throw notAskedFor(column);
  return value === 'Y';
}

function word(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw notAskedFor(column);
  return value;
}

/** The bytes of a column that was asked for by HEX(…); NULL is none, as the servers take it. */
function fromHex(row: Row, column: string): Buffer {
  const value = row[column];
  if (value === null) return NOTHING;
  const isHex = typeof value === 'string' && /^([0-9A-F]{2})*$/i.test(value);
  if (!isHex) throw notAskedFor(column);
  return Buffer.from(value, 'hex');
}

function notAskedFor(column: string): TypeError {
  return new TypeError(`the column ${column} of an account table is not what was asked for`);
}
