/**
 * The packets of the connection phase, read and written: greeting, request for TLS, handshake response, auth
 * switch, further rounds, change user. No decisions here; those are in login-server.ts and login-client.ts.
 * Manual: page_protocol_connection_phase, https://mariadb.com/kb/en/connection/.
 */
import { refusal } from '../base/errors.ts';
import { Capability, Command, Status } from './constants.ts';
import { NATIVE_PASSWORD, SCRAMBLE_BYTES } from './plugins.ts';
import { PacketReader } from './reader.ts';
import { PacketWriter } from './writer.ts';

/** What a server says first (page_protocol_connection_phase_packets_protocol_handshake_v10). */
export interface Greeting {
  serverVersion: string;
  /** The server's id of the connection: what KILL takes. */
  connectionId: number;
  scramble: Buffer;
  capabilities: number;
  /** MariaDB's upper 32 flags; 0 for a server that has none, which says so with LONG_PASSWORD. */
  extendedCapabilities: number;
  /** Default collation, low byte of its id. */
  collation: number;
  status: number;
  plugin: string;
}

/** What a client answers (page_protocol_connection_phase_packets_protocol_handshake_response). */
export interface HandshakeResponse {
  /** Flags that the client has; parsed, those of them that were offered. */
  capabilities: number;
  /** MariaDB's upper 32 flags; they travel only without LONG_PASSWORD. */
  extendedCapabilities: number;
  maxPacketBytes: number;
  collation: number;
  user: string;
  answer: Buffer;
  database: string;
  plugin: string;
  /** Connection attributes: pairs of length-encoded key and value, without the length of the whole. */
  attributes: Buffer;
  /** Level of zstd compression that the client asks for; 0 when it does not. */
  zstdLevel: number;
}

/** COM_CHANGE_USER (page_protocol_com_change_user). */
export interface ChangeUser {
  user: string;
  answer: Buffer;
  database: string;
  collation: number;
  plugin: string;
  attributes: Buffer;
}

/** Bytes that connection attributes may have, as in MySQL. */
export const MOST_ATTRIBUTE_BYTES = 64 * 1024;

/** A request for TLS is the first 32 bytes of a response (…_packets_protocol_ssl_request). */
const TLS_REQUEST_BYTES = 32;
/** What a client takes when it names no level (zstd's own default). */
const ZSTD_LEVEL = 3;

/** Bytes after the capabilities that MySQL leaves at zero and MariaDB ends with its extended flags. */
const GREETING_FILLER_BYTES = 6;
const RESPONSE_FILLER_BYTES = 19;

export function writeGreeting(greeting: Greeting): Buffer {
  return new PacketWriter()
    .begin()
    .u8(10)
    .nulText(greeting.serverVersion)
    .u32(greeting.connectionId)
    .bytes(greeting.scramble.subarray(0, 8))
    .u8(0)
    .u16(greeting.capabilities & 0xffff)
    .u8(greeting.collation & 0xff)
    .u16(greeting.status)
    .u16(greeting.capabilities >>> 16)
    .u8(SCRAMBLE_BYTES + 1)
    .zeros(GREETING_FILLER_BYTES)
    .u32(greeting.extendedCapabilities)
    .bytes(greeting.scramble.subarray(8))
    .u8(0)
    .nulText(greeting.plugin)
    .end(0)
    .take();
}

/** Reads a greeting's payload; the first byte (10) tells it from an ERR packet. */
export function parseGreeting(payload: Buffer): Greeting {
  const reader = new PacketReader(payload);
  const version = reader.u8();
  if (version !== 10) throw refusal('DBPROXY_MALFORMED_PACKET', `protocol version ${version}, expected 10`);
  const serverVersion = reader.nulBytes().toString('latin1');
  const connectionId = reader.u32();
  const first = reader.bytes(8);
  reader.skip(1);
  let capabilities = reader.u16();
  const collation = reader.u8();
  const status = reader.u16();
  capabilities = (capabilities | (reader.u16() << 16)) >>> 0;
  const scrambleBytes = reader.u8();
  reader.skip(GREETING_FILLER_BYTES);
  const last = reader.u32();
  const second = reader.bytes(Math.max(12, scrambleBytes - 9));
  if (reader.remaining > 0) reader.skip(1);
  const plugin = has(capabilities, Capability.PLUGIN_AUTH) ? untilNul(reader) : NATIVE_PASSWORD.name;
  return {
    serverVersion,
    connectionId,
    scramble: Buffer.concat([first, second]),
    capabilities,
    extendedCapabilities: has(capabilities, Capability.LONG_PASSWORD) ? 0 : last,
    collation,
    status,
    plugin,
  };
}

/** True when a client's first packet asks for TLS and is to be followed by the response itself. */
export function isTlsRequest(payload: Buffer): boolean {
  return payload.length === TLS_REQUEST_BYTES && has(payload.readUInt16LE(0), Capability.SSL);
}

/** The request for TLS that goes before `response`. */
export function writeTlsRequest(sequence: number, response: HandshakeResponse): Buffer {
  return responseHead(response).end(sequence).take();
}

export function writeHandshakeResponse(sequence: number, response: HandshakeResponse): Buffer {
  const { capabilities } = response;
  const writer = responseHead(response).nulText(response.user);
  if (has(capabilities, Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA)) writer.lenencBytes(response.answer);
  else writer.u8(response.answer.length).bytes(response.answer);
  if (has(capabilities, Capability.CONNECT_WITH_DB)) writer.nulText(response.database);
  if (has(capabilities, Capability.PLUGIN_AUTH)) writer.nulText(response.plugin);
  if (has(capabilities, Capability.CONNECT_ATTRS)) writer.lenencBytes(response.attributes);
  if (has(capabilities, Capability.ZSTD_COMPRESSION)) writer.u8(response.zstdLevel);
  return writer.end(sequence).take();
}

/** What a response and a request for TLS begin with. */
function responseHead(response: HandshakeResponse): PacketWriter {
  return new PacketWriter()
    .begin()
    .u32(response.capabilities)
    .u32(response.maxPacketBytes)
    .u8(response.collation & 0xff)
    .zeros(RESPONSE_FILLER_BYTES)
    .u32(response.extendedCapabilities);
}

/**
 * Reads a handshake response. Throws DBPROXY_OLD_CLIENT for a client without protocol 4.1,
 * DBPROXY_HANDSHAKE for a wish that cannot be, and DBPROXY_MALFORMED_PACKET.
 */
export function parseHandshakeResponse(
  payload: Buffer,
  offered: number,
  offeredExtended = 0,
): HandshakeResponse {
  const reader = new PacketReader(payload);
  const low = reader.u16();
  if (!has(low, Capability.PROTOCOL_41) || !has(low, Capability.SECURE_CONNECTION)) {
    throw refusal('DBPROXY_OLD_CLIENT');
  }
  const asked = (low | (reader.u16() << 16)) >>> 0;
  if (has(asked & ~offered, Capability.SSL)) {
    throw refusal(
      'DBPROXY_HANDSHAKE',
      'the client asks for TLS, which this listener does not offer (tls = off)',
    );
  }
  const capabilities = (asked & offered) >>> 0;
  const maxPacketBytes = reader.u32();
  const collation = reader.u8();
  reader.skip(RESPONSE_FILLER_BYTES);
  const extended = reader.u32();
  const extendedCapabilities = has(asked, Capability.LONG_PASSWORD) ? 0 : (extended & offeredExtended) >>> 0;
  const user = reader.nulBytes().toString('utf8');
  const answer = has(asked, Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA)
    ? reader.lenencBytes()
    : reader.bytes(reader.u8());
  return {
    capabilities,
    extendedCapabilities,
    maxPacketBytes,
    collation,
    user,
    answer: Buffer.from(answer),
    database: has(asked, Capability.CONNECT_WITH_DB) ? untilNul(reader) : '',
    plugin: has(asked, Capability.PLUGIN_AUTH) ? untilNul(reader) : '',
    attributes: has(asked, Capability.CONNECT_ATTRS) ? attributesOf(reader) : Buffer.alloc(0),
    zstdLevel: has(capabilities, Capability.ZSTD_COMPRESSION) ? zstdLevelOf(reader) : 0,
  };
}

/** The attributes' bytes, of which every pair has been looked at; some clients leave them out. */
function attributesOf(reader: PacketReader): Buffer {
  if (reader.remaining === 0) return Buffer.alloc(0);
  const length = reader.lenenc();
  if (length > MOST_ATTRIBUTE_BYTES) {
    throw refusal(
      'DBPROXY_HANDSHAKE',
      `${length} bytes of connection attributes, ${MOST_ATTRIBUTE_BYTES} may be`,
    );
  }
  const attributes = Buffer.from(reader.bytes(length));
  const pairs = new PacketReader(attributes);
  while (pairs.remaining > 0) {
    pairs.skipLenencBytes();
    pairs.skipLenencBytes();
  }
  return attributes;
}

function zstdLevelOf(reader: PacketReader): number {
  const level = reader.remaining > 0 ? reader.u8() : ZSTD_LEVEL;
  if (level < 1 || level > 22) {
    throw refusal('DBPROXY_HANDSHAKE', `zstd has no compression level ${level} (1 to 22)`);
  }
  return level;
}

/**
 * page_protocol_connection_phase_packets_protocol_auth_switch_request. `data` is the plugin's: a scramble of
 * 20 bytes ends with a NUL that is not part of it, MariaDB's longer one does not.
 */
export function writeAuthSwitch(sequence: number, plugin: string, data: Buffer): Buffer {
  return new PacketWriter().begin().u8(0xfe).nulText(plugin).bytes(data).end(sequence).take();
}

export function parseAuthSwitch(payload: Buffer): { plugin: string; data: Buffer } {
  const reader = new PacketReader(payload, 1);
  const plugin = reader.nulBytes().toString('latin1');
  return { plugin, data: Buffer.from(reader.rest()) };
}

/** A server's word to the plugin of the client (…_packets_protocol_auth_more_data). */
export function writeAuthMoreData(sequence: number, data: Uint8Array): Buffer {
  return new PacketWriter().begin().u8(0x01).bytes(data).end(sequence).take();
}

/** A packet whose payload is the answer of a plugin alone. */
export function writeAuthAnswer(sequence: number, answer: Buffer): Buffer {
  return new PacketWriter().begin().bytes(answer).end(sequence).take();
}

/** COM_CHANGE_USER; what `capabilities` do not have is left out of it. */
export function writeChangeUser(change: ChangeUser, capabilities: number): Buffer {
  const writer = new PacketWriter()
    .begin()
    .u8(Command.CHANGE_USER)
    .nulText(change.user)
    .u8(change.answer.length)
    .bytes(change.answer)
    .nulText(change.database)
    .u16(change.collation);
  if (has(capabilities, Capability.PLUGIN_AUTH)) writer.nulText(change.plugin);
  if (has(capabilities, Capability.CONNECT_ATTRS)) writer.lenencBytes(change.attributes);
  return writer.end(0).take();
}

/** Reads COM_CHANGE_USER with its command byte; old clients leave the end out. */
export function parseChangeUser(payload: Buffer, capabilities: number): ChangeUser {
  const reader = new PacketReader(payload, 1);
  const user = reader.nulBytes().toString('utf8');
  const answer = Buffer.from(reader.bytes(reader.u8()));
  const database = reader.nulBytes().toString('utf8');
  const collation = reader.remaining >= 2 ? reader.u16() : 0;
  const isNamed = has(capabilities, Capability.PLUGIN_AUTH) && reader.remaining > 0;
  const plugin = isNamed ? untilNul(reader) : '';
  const attributes = has(capabilities, Capability.CONNECT_ATTRS) ? attributesOf(reader) : Buffer.alloc(0);
  return { user, answer, database, collation, plugin, attributes };
}

/** The status a server of ours greets with. */
export const GREETING_STATUS: number = Status.AUTOCOMMIT;

/** A string that ends with NUL or with the packet: some clients and servers leave the last NUL out. */
function untilNul(reader: PacketReader): string {
  return (reader.hasNul() ? reader.nulBytes() : reader.rest()).toString('utf8');
}

function has(capabilities: number, flag: number): boolean {
  return (capabilities & flag) !== 0;
}
