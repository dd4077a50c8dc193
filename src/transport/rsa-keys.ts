/**
 * The RSA key that passwords of caching_sha2_password are encrypted with where there is no TLS. Clients may
 * keep the public half in a file, so it outlives the process: made once, in `state_dir`, beside the file
 * with the public half for them. Its files are called as a server calls its own.
 * Manual: page_caching_sha2_authentication_exchanges.
 */
import { messageOf } from '../base/message-of.ts';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { refusal } from '../base/errors.ts';

/** Both halves, in PEM. */
export interface RsaKeyTexts {
  rsaPrivateKeyPem: string;
  rsaPublicKeyPem: string;
}

const PRIVATE_FILE = 'private_key.pem';
const PUBLIC_FILE = 'public_key.pem';
const MODULUS_BITS = 2048;

/**
 * Reads the key of `stateDir`, or makes it. Throws when there is one that cannot be used, and
 * DBPROXY_STATE_FILE when it cannot be written down.
 */
export function openRsaKeys(stateDir: string): RsaKeyTexts {
  const path = join(stateDir, PRIVATE_FILE);
  const privateKey = readKey(path) ?? written(path, () => makeKey(stateDir, path));
  const rsaPublicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
  const publicPath = join(stateDir, PUBLIC_FILE);
  written(publicPath, () => writeFileSync(publicPath, rsaPublicKeyPem, { mode: 0o644 }));
  return { rsaPrivateKeyPem: pemOf(privateKey), rsaPublicKeyPem };
}

/** The key that is there; undefined when there is none yet. */
function readKey(path: string): KeyObject | undefined {
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'rsa') return key;
  } catch {
    // Said below.
  }
  throw new Error(`${path} holds no RSA key; remove it, and a new one is made`);
}

function written<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    throw refusal('DBPROXY_STATE_FILE', path, messageOf(error));
  }
}

/** Written beside and renamed: there is never half a key. */
function makeKey(stateDir: string, path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: MODULUS_BITS });
  mkdirSync(stateDir, { recursive: true, mode: 0o750 });
  writeFileSync(`${path}.new`, pemOf(privateKey), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return privateKey;
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
