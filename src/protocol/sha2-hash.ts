/**
 * What MySQL stores of a password, and the check of a clear password against it:
 *
 *   `$A$` rounds `$` salt digest   caching_sha2_password, SHA256-crypt
 *   `$B$` rounds `$` salt digest   caching_sha2_password of 9.7 and later, PBKDF2 with SHA512
 *   `$5$` salt `$` digest          sha256_password, SHA256-crypt of 5000 rounds
 *
 * Rounds are thousands in three hex digits, the salt is 20 bytes. The check is slow on purpose: 10000 rounds
 * (what MySQL 9.7 stores) of SHA256-crypt take about 8 ms of one core, of PBKDF2 3 ms, in which nothing else
 * runs. So a caller keeps what a login has proved (SHA256 of SHA256 of the password) and comes here once for
 * each password.
 * Manual: page_caching_sha2_authentication_exchanges, MySQL worklogs 9591 and 17160; SHA256-crypt:
 * https://www.akkadia.org/drepper/SHA-crypt.txt.
 */
import { hash, pbkdf2Sync, timingSafeEqual } from 'node:crypto';

/** Passwords above this MySQL refuses too. */
export const MOST_PASSWORD_BYTES = 256;

interface StoredHash {
  scheme: 'sha256-crypt' | 'pbkdf2-sha512';
  rounds: number;
  salt: Buffer;
  /** As stored, in the scheme's own base 64. */
  digest: Buffer;
}

const SALT_BYTES = 20;
/** Characters of a digest, by scheme. */
const DIGEST_CHARACTERS = { 'sha256-crypt': 43, 'pbkdf2-sha512': 88 };
const PLAIN_ROUNDS = 5000;
/** MySQL's default is 5000, 10000 in 9.7; it allows 4 million, which would stop us for seconds. */
const MOST_ROUNDS = 100_000;

const CRYPT_ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** True for a stored hash that `matchesSha2Hash` can check a password against. */
export function isSha2Hash(stored: Buffer): boolean {
  return parse(stored) !== undefined;
}

/** True when `password` is the one that `stored` was made of. */
export function matchesSha2Hash(password: Buffer, stored: Buffer): boolean {
  const parsed = parse(stored);
  if (parsed === undefined || password.length > MOST_PASSWORD_BYTES) return false;
  const { scheme, salt, rounds } = parsed;
  const digest =
    scheme === 'sha256-crypt'
      ? cryptText(sha256Crypt(password, salt, rounds))
      : pbkdf2Sync(password, salt, rounds, 64, 'sha512').toString('base64');
  return timingSafeEqual(Buffer.from(digest, 'latin1'), parsed.digest);
}

/** Takes a stored hash apart; undefined when it is none of the three. The salt may be any bytes. */
function parse(stored: Buffer): StoredHash | undefined {
  const head = stored.toString('latin1', 0, 7);
  const thousands = /^\$[AB]\$([0-9A-Fa-f]{3})\$/.exec(head)?.[1];
  if (thousands !== undefined) {
    return withRounds(head[1] === 'A' ? 'sha256-crypt' : 'pbkdf2-sha512', thousands, stored);
  }
  return head.startsWith('$5$') ? withoutRounds(stored) : undefined;
}

function withRounds(scheme: StoredHash['scheme'], thousands: string, stored: Buffer): StoredHash | undefined {
  if (stored.length !== 7 + SALT_BYTES + DIGEST_CHARACTERS[scheme]) {
    return undefined;
  }
  const rounds = Number.parseInt(thousands, 16) * 1000;
  if (rounds === 0 || rounds > MOST_ROUNDS) return undefined;
  return {
    scheme,
    rounds,
    salt: stored.subarray(7, 7 + SALT_BYTES),
    digest: stored.subarray(7 + SALT_BYTES),
  };
}

function withoutRounds(stored: Buffer): StoredHash | undefined {
  const end = 3 + SALT_BYTES;
  if (stored.length !== end + 1 + DIGEST_CHARACTERS['sha256-crypt'] || stored[end] !== 0x24) return undefined;
  const salt = stored.subarray(3, end);
  return { scheme: 'sha256-crypt', rounds: PLAIN_ROUNDS, salt, digest: stored.subarray(end + 1) };
}

/** SHA256-crypt; the one-letter names are those of its description. */
function sha256Crypt(password: Buffer, salt: Buffer, rounds: number): Buffer {
  let digest = firstDigest(password, salt);
  const p = repeated(sha256(repeated(password, password.length ** 2)), password.length);
  const s = repeated(sha256(repeated(salt, salt.length * (16 + digest[0]!))), salt.length);
  const messages = roundMessages(p, s);
  for (let round = 0; round < rounds; round++) {
    const { bytes, digestAt } = messages[messageIndex(round % 2 === 1, round % 3 !== 0, round % 7 !== 0)]!;
    digest.copy(bytes, digestAt);
    digest = sha256(bytes);
  }
  return digest;
}

/** Steps 1 to 12: the digest that the rounds begin with. */
function firstDigest(password: Buffer, salt: Buffer): Buffer {
  const b = sha256(Buffer.concat([password, salt, password]));
  const parts = [password, salt, repeated(b, password.length)];
  for (let bits = password.length; bits > 0; bits >>= 1) parts.push((bits & 1) === 1 ? b : password);
  return sha256(Buffer.concat(parts));
}

/** The eight forms that a round's message has, with a place for the digest of the round before. */
function roundMessages(p: Buffer, s: Buffer): { bytes: Buffer; digestAt: number }[] {
  const digest = Buffer.alloc(32);
  const none = Buffer.alloc(0);
  return Array.from({ length: 8 }, (_, index) => {
    const isOdd = (index & 4) !== 0;
    const middle = [(index & 2) !== 0 ? s : none, (index & 1) !== 0 ? p : none];
    const bytes = Buffer.concat(isOdd ? [p, ...middle, digest] : [digest, ...middle, p]);
    return { bytes, digestAt: isOdd ? bytes.length - digest.length : 0 };
  });
}

function messageIndex(isOdd: boolean, withSalt: boolean, withPassword: boolean): number {
  return (isOdd ? 4 : 0) + (withSalt ? 2 : 0) + (withPassword ? 1 : 0);
}

/** `bytes` again and again, `length` bytes of it. */
function repeated(bytes: Buffer, length: number): Buffer {
  return length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, bytes);
}

/** Three bytes make four characters; the triples are (0, 10, 20), then each turned by one: (21, 1, 11), … */
function cryptText(digest: Buffer): string {
  let text = '';
  let triple: [number, number, number] = [0, 10, 20];
  for (let group = 0; group < 10; group++) {
    const [a, b, c] = triple;
    text += characters((digest[a]! << 16) | (digest[b]! << 8) | digest[c]!, 4);
    triple = [c + 1, a + 1, b + 1];
  }
  return text + characters((digest[31]! << 8) | digest[30]!, 3);
}

function characters(value: number, count: number): string {
  return Array.from({ length: count }, (_, index) => CRYPT_ALPHABET[(value >> (6 * index)) & 0x3f]).join('');
}

function sha256(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer');
}
