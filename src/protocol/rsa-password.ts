/**
 * A password on its way over a channel that anybody may read: XORed with the scramble, so that a recorded
 * packet is worth nothing later, then encrypted with the server's RSA key (OAEP with SHA1).
 * Manual: page_caching_sha2_authentication_exchanges, page_protocol_connection_phase_authentication_methods.
 */
import { constants, createPublicKey, privateDecrypt, publicEncrypt, type KeyObject } from 'node:crypto';
import { refusal } from '../base/errors.ts';

/** Bytes that the text of a key may have: a key of 8192 bits has 1.5 KB. */
const MOST_PEM_BYTES = 4096;
/** A larger key is an attempt on our time, a smaller one holds no password. */
const MODULUS_BITS = { least: 1024, most: 8192 };

/** Encrypts for the server that gave the key `pem`. Throws DBPROXY_MALFORMED_PACKET for what is no such key. */
export function encryptPassword(password: string, scramble: Buffer, pem: Buffer): Buffer {
  const plain = masked(Buffer.from(`${password}\0`, 'utf8'), scramble);
  const key = publicKeyOf(pem);
  try {
    return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, plain);
  } catch {
    throw refusal('DBPROXY_MALFORMED_PACKET', 'an RSA key too short for the password');
  }
}

/** The password with its NUL as the client sent it; undefined when it was not encrypted for this key. */
export function decryptPassword(encrypted: Buffer, scramble: Buffer, key: KeyObject): Buffer | undefined {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  try {
    return masked(privateDecrypt({ key, padding, oaepHash: 'sha1' }, encrypted), scramble);
  } catch {
    return undefined;
  }
}

function publicKeyOf(pem: Buffer): KeyObject {
  const wrong = refusal('DBPROXY_MALFORMED_PACKET', 'the server sent no RSA public key to encrypt with');
  if (pem.length > MOST_PEM_BYTES) throw wrong;
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw wrong;
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const fits = bits >= MODULUS_BITS.least && bits <= MODULUS_BITS.most;
  if (key.asymmetricKeyType !== 'rsa' || !fits) throw wrong;
  return key;
}

function masked(bytes: Buffer, scramble: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, index) => byte ^ scramble[index % scramble.length]!));
}
