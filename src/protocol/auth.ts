/**
 * What dbproxy knows of a user's secret. Servers store different things, and a login proves different
 * things, so a secret is a set of forms of one password; each form says what it is enough for. The clear
 * password is only one of them, and the one that is kept the least.
 */
import { isUtf8 } from 'node:buffer';
import { hash, timingSafeEqual } from 'node:crypto';
import { ed25519KeyOf, PUBLIC_KEY_BYTES } from './ed25519.ts';
import { isSha2Hash, matchesSha2Hash } from './sha2-hash.ts';

/** Forms of one password; those that are not known are missing. */
export interface Secret {
  /** The clear password. The empty one stands for an account without a password. */
  password?: string;
  /** SHA1(password): enough to answer as a client of mysql_native_password. */
  sha1?: Buffer;
  /** SHA1(SHA1(password)): enough to check as a server of mysql_native_password. */
  doubleSha1?: Buffer;
  /** SHA256(password): enough to answer the fast path of caching_sha2_password as a client. */
  sha256?: Buffer;
  /** SHA256(SHA256(password)): enough to check the fast path of caching_sha2_password. */
  doubleSha256?: Buffer;
  /** What MySQL stores for caching_sha2_password or sha256_password: checks a clear password, slowly. */
  sha2Hash?: Buffer;
  /** What MariaDB stores for ed25519: checks a clear password. */
  ed25519Key?: Buffer;
}

/**
 * The secret of a user as the configuration or an account table gives it: a clear password, or `auth`, which
 * is `*` and 40 hex digits, `$A$…`, `$B$…` or `$5$…` (also as `0x` and hex digits, as their salt may be any
 * bytes), or the 43 characters of MariaDB's ed25519. An empty `auth` is an account without a password.
 * Empty (nothing can be checked) for what is none of these.
 */
export function secretOf(user: { password?: string; auth?: string }): Secret {
  if (user.password !== undefined) return { password: user.password };
  const { auth } = user;
  if (auth === undefined) return {};
  if (auth === '') return { password: '' };
  if (/^\*?[0-9a-f]{40}$/i.test(auth)) return { doubleSha1: Buffer.from(auth.replace('*', ''), 'hex') };
  if (/^0x(?:[0-9a-f]{2})+$/i.test(auth)) return sha2SecretOf(Buffer.from(auth.slice(2), 'hex'));
  if (auth.startsWith('$')) return sha2SecretOf(Buffer.from(auth, 'latin1'));
  const key = Buffer.from(auth, 'base64');
  const isKey = /^[0-9a-z+/]{43}$/i.test(auth) && key.length === PUBLIC_KEY_BYTES;
  return isKey ? { ed25519Key: key } : {};
}

function sha2SecretOf(stored: Buffer): Secret {
  return isSha2Hash(stored) ? { sha2Hash: stored } : {};
}

/** All that a clear password, as a client has sent it, lets us know. */
export function secretOfPassword(bytes: Buffer): Secret {
  const hashes = bytes.length === 0 ? {} : hashesOf(bytes);
  // A password that is no UTF-8 could not be sent on as it was typed; its hashes can.
  return isUtf8(bytes) ? { password: bytes.toString('utf8'), ...hashes } : hashes;
}

/**
 * The same secret without the clear password: what may be kept. It still logs in by mysql_native_password
 * and by the fast path of caching_sha2_password. The empty password stays, as it is none.
 */
export function withoutPassword(secret: Secret): Secret {
  const { password, ...rest } = secret;
  if (password === undefined || password === '') return secret;
  return { ...rest, ...hashesOf(Buffer.from(password, 'utf8')) };
}

/**
 * Checks a clear password against every form that is known, the cheap ones first. One that fits is enough:
 * what a caller remembers of an earlier login may be older than what the server stores now.
 */
export function fitsSecret(password: Buffer, secret: Secret): boolean {
  if (secret.password !== undefined) return equal(password, Buffer.from(secret.password, 'utf8'));
  const doubleSha1 = doubleSha1Of(secret);
  if (doubleSha1 !== undefined && equal(doubleHash('sha1', password), doubleSha1)) return true;
  const doubleSha256 = doubleSha256Of(secret);
  if (doubleSha256 !== undefined && equal(doubleHash('sha256', password), doubleSha256)) return true;
  if (secret.sha2Hash !== undefined && matchesSha2Hash(password, secret.sha2Hash)) return true;
  // The key is made of text, so a password that is no UTF-8 cannot be told by it.
  if (secret.ed25519Key === undefined || !isUtf8(password)) return false;
  return equal(ed25519KeyOf(password.toString('utf8')), secret.ed25519Key);
}

/** SHA1(password), from whatever holds it. */
export function sha1Of(secret: Secret): Buffer | undefined {
  return secret.sha1 ?? (secret.password === undefined ? undefined : digest('sha1', secret.password));
}

export function doubleSha1Of(secret: Secret): Buffer | undefined {
  if (secret.doubleSha1 !== undefined) return secret.doubleSha1;
  const once = sha1Of(secret);
  return once === undefined ? undefined : digest('sha1', once);
}

/** SHA256(password), from whatever holds it. */
export function sha256Of(secret: Secret): Buffer | undefined {
  return secret.sha256 ?? (secret.password === undefined ? undefined : digest('sha256', secret.password));
}

export function doubleSha256Of(secret: Secret): Buffer | undefined {
  if (secret.doubleSha256 !== undefined) return secret.doubleSha256;
  const once = sha256Of(secret);
  return once === undefined ? undefined : digest('sha256', once);
}

/** True when nothing of the secret is known, so that nothing can be checked. */
export function isEmptySecret(secret: Secret): boolean {
  return Object.values(secret).every((form) => form === undefined);
}

/** One digest; text is taken as UTF-8. */
export function digest(algorithm: 'sha1' | 'sha256', data: string | Buffer): Buffer {
  return hash(algorithm, data, 'buffer');
}

function doubleHash(algorithm: 'sha1' | 'sha256', data: Buffer): Buffer {
  return digest(algorithm, digest(algorithm, data));
}

function hashesOf(password: Buffer): Secret {
  const sha1 = digest('sha1', password);
  const sha256 = digest('sha256', password);
  return { sha1, doubleSha1: digest('sha1', sha1), sha256, doubleSha256: digest('sha256', sha256) };
}

/** Equal, in a time that depends on the lengths alone. */
function equal(left: Buffer, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}
