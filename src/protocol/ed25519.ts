/**
 * MariaDB's ed25519: the password, hashed with SHA512, is the private key itself, so a password of any
 * length signs. (Ed25519 as the standard has it hashes a seed of 32 bytes, which is why the client's side
 * cannot be done with node:crypto; the server's side is an ordinary verification.)
 * Manual: https://mariadb.com/kb/en/authentication-plugin-ed25519/; signature: RFC 8032, 5.1.6.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { createHash, createPublicKey, verify } from 'node:crypto';

/** Bytes of a public key, which is what MariaDB stores of a password. */
export const PUBLIC_KEY_BYTES = 32;

const { BASE, Fn } = ed25519.Point;

/** The public key of a password. */
export function ed25519KeyOf(password: string): Buffer {
  return publicKey(expanded(password).scalar);
}

/** Signs `message` with a password. */
export function signEd25519(password: string, message: Buffer): Buffer {
  const { scalar, prefix } = expanded(password);
  const nonce = scalarOf(sha512(prefix, message));
  const r = Buffer.from(BASE.multiply(nonce).toBytes());
  const challenge = scalarOf(sha512(r, publicKey(scalar), message));
  const s = Fn.add(nonce, Fn.mul(challenge, scalar));
  return Buffer.concat([r, littleEndian(s)]);
}

/** True when `signature` of `message` was made with the password of `key`. */
export function verifyEd25519(key: Buffer, message: Buffer, signature: Buffer): boolean {
  try {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.toString('base64url') };
    return verify(null, message, createPublicKey({ key: jwk, format: 'jwk' }), signature);
  } catch {
    // A key that is no point of the curve has no signatures.
    return false;
  }
}

/** The two halves of SHA512(password): the clamped scalar and the prefix of the nonce. */
function expanded(password: string): { scalar: bigint; prefix: Buffer } {
  const hash = sha512(Buffer.from(password, 'utf8'));
  hash[0]! &= 0xf8;
  hash[31] = (hash[31]! & 0x7f) | 0x40;
  return { scalar: scalarOf(hash.subarray(0, 32)), prefix: hash.subarray(32) };
}

function publicKey(scalar: bigint): Buffer {
  return Buffer.from(BASE.multiply(scalar).toBytes());
}

/** Little-endian bytes as a number below the order of the curve. */
function scalarOf(bytes: Buffer): bigint {
  return Fn.create(BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`));
}

function littleEndian(scalar: bigint): Buffer {
  return Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex').reverse();
}

function sha512(...parts: Buffer[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
