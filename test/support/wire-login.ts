/**
 * The login of the raw test client: the greeting taken apart, the response with exactly the flags that a
 * test wants, and the answers of the plugins. Written apart from src/protocol, as a second opinion on it.
 * Manual: page_protocol_connection_phase, page_caching_sha2_authentication_exchanges;
 * https://mariadb.com/kb/en/connection/.
 */
import { constants, createHash, publicEncrypt } from 'node:crypto';

export interface WireGreeting {
  serverVersion: string;
  threadId: number;
  scramble: Buffer;
  /** Lower 32 capability flags. */
  capabilities: number;
  /** MariaDB's upper 32; 0 of a MySQL. */
  extended: number;
  collation: number;
  status: number;
  plugin: string;
}

export function readGreeting(payload: Buffer): WireGreeting {
  if (payload[0] !== 10) throw new Error(`no greeting: ${payload.toString('latin1')}`);
  const versionEnd = payload.indexOf(0, 1);
  const at = versionEnd + 1;
  const capabilities = (payload.readUInt16LE(at + 13) | (payload.readUInt16LE(at + 18) << 16)) >>> 0;
  const isMariaDb = (capabilities & 1) === 0;
  const scrambleBytes = Math.max(12, payload[at + 20]! - 9);
  const pluginAt = at + 31 + scrambleBytes + 1;
  return {
    serverVersion: payload.toString('latin1', 1, versionEnd),
    threadId: payload.readUInt32LE(at),
    scramble: Buffer.concat([
      payload.subarray(at + 4, at + 12),
      payload.subarray(at + 31, at + 31 + scrambleBytes),
    ]),
    capabilities,
    extended: isMariaDb ? payload.readUInt32LE(at + 27) : 0,
    collation: payload[at + 15]!,
    status: payload.readUInt16LE(at + 16),
    plugin: payload.toString('latin1', pluginAt).replace(/\0.*$/, ''),
  };
}

export interface WireResponse {
  capabilities: number;
  extended: number;
  collation: number;
  user: string;
  answer: Buffer;
  database: string;
  plugin: string;
  attributes: Record<string, string>;
}

/** The 32 bytes that an SSL request and a handshake response begin with. */
export function responseHead(response: WireResponse): Buffer {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(response.capabilities, 0);
  head.writeUInt32LE(0x40000000, 4);
  head[8] = response.collation & 0xff;
  head.writeUInt32LE(response.extended, 28);
  return head;
}

export function writeResponse(response: WireResponse): Buffer {
  const { capabilities, answer } = response;
  const has = (flag: number): boolean => (capabilities & flag) !== 0;
  const parts = [responseHead(response), Buffer.from(`${response.user}\0`)];
  parts.push(Buffer.from([answer.length]), answer);
  if (has(0x8)) parts.push(Buffer.from(`${response.database}\0`));
  if (has(0x80000)) parts.push(Buffer.from(`${response.plugin}\0`));
  if (has(0x100000)) parts.push(writeAttributes(response.attributes));
  return Buffer.concat(parts);
}

/** A map of strings with its length in bytes before it. */
function writeAttributes(attributes: Record<string, string>): Buffer {
  const body = Buffer.concat(Object.entries(attributes).flat().map(lenencText));
  return Buffer.concat([lenenc(body.length), body]);
}

export function lenencText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([lenenc(bytes.length), bytes]);
}

export function lenenc(value: number): Buffer {
  if (value < 0xfb) return Buffer.from([value]);
  const [first, bytes] = value < 0x10000 ? [0xfc, 2] : value < 0x1000000 ? [0xfd, 3] : [0xfe, 8];
  const result = Buffer.alloc(1 + bytes, first);
  if (bytes === 8) result.writeBigUInt64LE(BigInt(value), 1);
  else result.writeUIntLE(value, 1, bytes);
  return result;
}

/** What a client of `plugin` answers to a scramble. */
export function pluginAnswer(plugin: string, password: string, scramble: Buffer): Buffer {
  if (password === '') return Buffer.alloc(0);
  const seed = scramble.subarray(0, 20);
  switch (plugin) {
    case 'mysql_native_password': {
      const once = digest('sha1', Buffer.from(password));
      return xor(once, digest('sha1', seed, digest('sha1', once)));
    }
    case 'caching_sha2_password': {
      const once = digest('sha256', Buffer.from(password));
      return xor(once, digest('sha256', digest('sha256', once), seed));
    }
    case 'sha256_password':
      // Asks for the server's key; over TLS the password itself would do.
      return Buffer.from([1]);
    case 'mysql_clear_password':
      return Buffer.from(`${password}\0`);
    default:
      throw new Error(`this client has no plugin ${plugin}`);
  }
}

/** The password for caching_sha2_password's full path: in clear over TLS, else under the server's key. */
export function encryptedPassword(password: string, scramble: Buffer, key: string): Buffer {
  const clear = Buffer.from(`${password}\0`);
  const mixed = clear.map((byte, index) => byte ^ scramble[index % 20]!);
  return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING }, mixed);
}

function digest(name: string, ...parts: Buffer[]): Buffer {
  const hash = createHash(name);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function xor(left: Buffer, right: Buffer): Buffer {
  return Buffer.from(left.map((byte, index) => byte ^ right[index]!));
}
