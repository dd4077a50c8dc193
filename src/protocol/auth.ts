/**
 * Authentication plugins, each a row of one table with both of its sides: how a server checks what a
 * client answers to a scramble, and how a client answers. mysql_native_password is the first; the shape
 * (a plugin may want several rounds, a server may ask for another plugin) expects the others.
 * Manual: page_protocol_connection_phase_authentication_methods.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Bytes of a scramble. */
export const SCRAMBLE_BYTES = 20;

/** What dbproxy knows of a user's secret; each plugin says which of it it needs. */
export interface Secret {
  /** The clear password, when the configuration has it. */
  password?: string;
  /** SHA1(password): enough to answer as a client of mysql_native_password. */
  sha1?: Buffer;
  /** SHA1(SHA1(password)): enough to check as a server of mysql_native_password. */
  doubleSha1?: Buffer;
}

/** The outcome of one check on the server's side. */
export type Verdict = { accepted: false } | { accepted: true; learned: Secret };

/** One authentication plugin. */
export interface AuthPlugin {
  readonly name: string;
  /** Checks a client's answer. What the answer lets us know of the secret is in `learned`. */
  verify(scramble: Buffer, answer: Buffer, secret: Secret): Verdict;
  /** Answers a server's scramble; undefined when `secret` does not hold what is needed. */
  respond(scramble: Buffer, secret: Secret): Buffer | undefined;
}

/** mysql_native_password: page_protocol_connection_phase_authentication_methods_native_password_authentication. */
const nativePassword: AuthPlugin = {
  name: 'mysql_native_password',

  verify(scramble, answer, secret) {
    const stored = doubleSha1Of(secret);
    if (stored === undefined) return { accepted: false };
    if (stored.length === 0)
      return answer.length === 0 ? { accepted: true, learned: { password: '' } } : { accepted: false };
    if (answer.length !== SCRAMBLE_BYTES) return { accepted: false };
    // The answer is SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password))); we have the last term.
    const sha1Password = xor(answer, sha1(scramble, stored));
    if (!timingSafeEqual(sha1(sha1Password), stored)) return { accepted: false };
    return { accepted: true, learned: { sha1: sha1Password, doubleSha1: stored } };
  },

  respond(scramble, secret) {
    if (secret.password === '') return Buffer.alloc(0);
    const stage1 =
      secret.sha1 ?? (secret.password === undefined ? undefined : sha1(Buffer.from(secret.password, 'utf8')));
    if (stage1 === undefined) return undefined;
    return xor(stage1, sha1(scramble, sha1(stage1)));
  },
};

const plugins: readonly AuthPlugin[] = [nativePassword];

/** The plugin a server of ours asks for first. */
export const DEFAULT_PLUGIN: AuthPlugin = nativePassword;

/** The plugin called `name`, when dbproxy has it. */
export function findPlugin(name: string): AuthPlugin | undefined {
  return plugins.find((plugin) => plugin.name === name);
}

/** A fresh scramble: 20 random bytes without NUL and `$`, which old clients read as an end. */
export function newScramble(): Buffer {
  const scramble = randomBytes(SCRAMBLE_BYTES);
  for (let i = 0; i < scramble.length; i++) {
    const byte = scramble[i]! & 0x7f;
    scramble[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return scramble;
}

/** The secret of a user as the configuration gives it: a clear password or `*` and 40 hex digits. */
export function secretOf(user: { password?: string; auth?: string }): Secret {
  if (user.password !== undefined) return { password: user.password };
  if (user.auth !== undefined) return { doubleSha1: Buffer.from(user.auth.replace(/^\*/, ''), 'hex') };
  return {};
}

/** An empty buffer stands for the empty password, which has no hash. */
function doubleSha1Of(secret: Secret): Buffer | undefined {
  if (secret.password === '') return Buffer.alloc(0);
  if (secret.doubleSha1 !== undefined) return secret.doubleSha1;
  if (secret.password !== undefined) return sha1(sha1(Buffer.from(secret.password, 'utf8')));
  return undefined;
}

function sha1(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.allocUnsafe(left.length);
  for (let i = 0; i < left.length; i++) result[i] = left[i]! ^ right[i]!;
  return result;
}
