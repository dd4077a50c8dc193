/**
 * Authentication plugins that prove a secret by one answer to a scramble, each a row of one table with both
 * of its sides: how a server checks the answer, and how a client gives it. What takes more rounds (the full
 * path of caching_sha2_password, sha256_password, a clear password) is the business of login-server.ts and
 * login-client.ts.
 * Manual: page_protocol_connection_phase_authentication_methods.
 */
import { hash, randomFillSync, timingSafeEqual } from 'node:crypto';
import { digest, doubleSha1Of, doubleSha256Of, sha1Of, sha256Of, type Secret } from './auth.ts';
import { ed25519KeyOf, signEd25519, verifyEd25519 } from './ed25519.ts';

/** Bytes of a greeting's scramble. */
export const SCRAMBLE_BYTES = 20;

/** Plugins without a scramble. */
export const CLEAR_PASSWORD = 'mysql_clear_password';
export const SHA256_PASSWORD = 'sha256_password';

/** The outcome of one check on the server's side; what it lets us know of the secret is `learned`. */
export type Verdict = { accepted: false } | { accepted: true; learned: Secret };

/** One plugin of the table. */
export interface AuthPlugin {
  readonly name: string;
  readonly scrambleBytes: number;
  /** True when `secret` holds what a check needs. */
  canVerify(secret: Secret): boolean;
  verify(scramble: Buffer, answer: Buffer, secret: Secret): Verdict;
  /** Answers a server's scramble; undefined when `secret` does not hold what is needed. */
  respond(scramble: Buffer, secret: Secret): Buffer | undefined;
}

const REFUSED: Verdict = { accepted: false };

/** page_protocol_connection_phase_authentication_methods_native_password_authentication */
export const NATIVE_PASSWORD: AuthPlugin = {
  name: 'mysql_native_password',
  scrambleBytes: SCRAMBLE_BYTES,

  canVerify: (secret) => doubleSha1Of(secret) !== undefined,

  verify(scramble, answer, secret) {
    if (isNoPassword(answer)) return verifyNoPassword(secret);
    const stored = doubleSha1Of(secret);
    if (stored === undefined || answer.length !== stored.length) return REFUSED;
    // The answer is SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password))); we have the last term.
    const sha1 = xor(answer, joined('sha1', scramble, stored));
    if (!timingSafeEqual(digest('sha1', sha1), stored) || secret.password === '') return REFUSED;
    return { accepted: true, learned: { sha1, doubleSha1: stored } };
  },

  respond(scramble, secret) {
    if (secret.password === '') return Buffer.alloc(0);
    const sha1 = sha1Of(secret);
    if (sha1 === undefined) return undefined;
    return xor(sha1, joined('sha1', scramble, digest('sha1', sha1)));
  },
};

/** Its fast path: page_caching_sha2_authentication_exchanges. */
export const CACHING_SHA2: AuthPlugin = {
  name: 'caching_sha2_password',
  scrambleBytes: SCRAMBLE_BYTES,

  canVerify: (secret) => doubleSha256Of(secret) !== undefined,

  verify(scramble, answer, secret) {
    if (isNoPassword(answer)) return verifyNoPassword(secret);
    const stored = doubleSha256Of(secret);
    if (stored === undefined || answer.length !== stored.length) return REFUSED;
    // The answer is SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble).
    const sha256 = xor(answer, joined('sha256', stored, scramble));
    if (!timingSafeEqual(digest('sha256', sha256), stored) || secret.password === '') return REFUSED;
    return { accepted: true, learned: { sha256, doubleSha256: stored } };
  },

  respond(scramble, secret) {
    if (secret.password === '') return Buffer.alloc(1);
    const sha256 = sha256Of(secret);
    if (sha256 === undefined) return undefined;
    return xor(sha256, joined('sha256', digest('sha256', sha256), scramble));
  },
};

/** https://mariadb.com/kb/en/authentication-plugin-ed25519/ */
const CLIENT_ED25519: AuthPlugin = {
  name: 'client_ed25519',
  scrambleBytes: 32,

  // The public key would do for the check, but a signature teaches nothing that logs in at a server.
  canVerify: (secret) => secret.password !== undefined,

  verify(scramble, answer, secret) {
    if (secret.password === undefined) return REFUSED;
    const fits = verifyEd25519(ed25519KeyOf(secret.password), scramble, answer);
    return fits ? { accepted: true, learned: {} } : REFUSED;
  },

  respond: (scramble, secret) =>
    secret.password === undefined ? undefined : signEd25519(secret.password, scramble),
};

const plugins: readonly AuthPlugin[] = [NATIVE_PASSWORD, CACHING_SHA2, CLIENT_ED25519];

/** The plugin called `name`, when the table has it. */
export function findPlugin(name: string): AuthPlugin | undefined {
  return plugins.find((plugin) => plugin.name === name);
}

/** Random bytes are made for many logins at once: each call of the generator costs as much as a whole greeting. */
const RANDOM_BYTES = 4096;
const random: Buffer = Buffer.alloc(RANDOM_BYTES);
let randomUsed = RANDOM_BYTES;

/** Random bytes that nobody has been given before. */
function freshBytes(length: number): Buffer {
  if (length > RANDOM_BYTES - randomUsed) {
    randomFillSync(random);
    randomUsed = 0;
  }
  const bytes = Buffer.from(random.subarray(randomUsed, randomUsed + length));
  random.fill(0, randomUsed, randomUsed + length);
  randomUsed += length;
  return bytes;
}

/** A fresh scramble: random bytes without NUL and `$`, which old clients read as an end. */
export function newScramble(length: number = SCRAMBLE_BYTES): Buffer {
  const scramble = freshBytes(length);
  for (let i = 0; i < scramble.length; i++) {
    const byte = scramble[i]! & 0x7f;
    scramble[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return scramble;
}

/** The answer of a client that has no password: nothing, or a single NUL. */
export function isNoPassword(answer: Buffer): boolean {
  return answer.length === 0 || (answer.length === 1 && answer[0] === 0);
}

function verifyNoPassword(secret: Secret): Verdict {
  return secret.password === '' ? { accepted: true, learned: {} } : REFUSED;
}

function joined(algorithm: 'sha1' | 'sha256', first: Buffer, second: Buffer): Buffer {
  // In one call: an object for it would cost more than the sum.
  return hash(algorithm, Buffer.concat([first, second]), 'buffer');
}

function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.allocUnsafe(left.length);
  for (let i = 0; i < left.length; i++) result[i] = left[i]! ^ right[i]!;
  return result;
}
