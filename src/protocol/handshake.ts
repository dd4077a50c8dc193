/**
 * The packets of the connection phase, read and written: greeting, handshake response, auth switch,
 * change user. No decisions here; those are in login-server.ts and login-client.ts.
 * Manual: page_protocol_connection_phase.
 */
import { refusal } from '../base/errors.ts';
import { SCRAMBLE_BYTES } from './auth.ts';
import { Capability, Command, Status } from './constants.ts';
import { PacketReader } from './reader.ts';
import { PacketWriter } from './writer.ts';

/** What a server says first (page_protocol_connection_phase_packets_protocol_handshake_v10). */
export interface Greeting {
  serverVersion: string;
  /** The server's id of the connection: what KILL takes. */
  connectionId: number;
  scramble: Buffer;
  capabilities: number;
  /** Default collation, low byte of its id. */
  collation: number;
  status: number;
  plugin: string;
}

/** What a client answers (page_protocol_connection_phase_packets_protocol_handshake_response). */
export interface HandshakeResponse {
  capabilities: number;
  maxPacketBytes: number;
  collation: number;
  user: string;
  answer: Buffer;
  database: string;
  plugin: string;
}

/** COM_CHANGE_USER (page_protocol_com_change_user). */
export interface ChangeUser {
  user: string;
  answer: Buffer;
  database: string;
  collation: number;
  plugin: string;
}

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
    .zeros(10)
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
  reader.skip(10);
  const second = reader.bytes(Math.max(12, scrambleBytes - 9));
  if (reader.remaining > 0) reader.skip(1);
  const plugin = (capabilities & Capability.PLUGIN_AUTH) !== 0 ? untilNul(reader) : 'mysql_native_password';
  return {
    serverVersion,
    connectionId,
    scramble: Buffer.concat([first, second]),
    capabilities,
    collation,
    status,
    plugin,
  };
}

export function writeHandshakeResponse(sequence: number, response: HandshakeResponse): Buffer {
  const { capabilities } = response;
  const writer = new PacketWriter()
    .begin()
    .u32(capabilities)
    .u32(response.maxPacketBytes)
    .u8(response.collation & 0xff)
    .zeros(23)
    .nulText(response.user)
    .u8(response.answer.length)
    .bytes(response.answer);
  if ((capabilities & Capability.CONNECT_WITH_DB) !== 0) writer.nulText(response.database);
  if ((capabilities & Capability.PLUGIN_AUTH) !== 0) writer.nulText(response.plugin);
  return writer.end(sequence).take();
}

/**
 * Reads a handshake response. Throws DBPROXY_OLD_CLIENT for a client without protocol 4.1, and
 * DBPROXY_MALFORMED_PACKET.
 */
export function parseHandshakeResponse(payload: Buffer, offered: number): HandshakeResponse {
  const reader = new PacketReader(payload);
  const low = reader.u16();
  if ((low & Capability.PROTOCOL_41) === 0 || (low & Capability.SECURE_CONNECTION) === 0) {
    throw refusal('DBPROXY_OLD_CLIENT');
  }
  const asked = (low | (reader.u16() << 16)) >>> 0;
  if ((asked & Capability.SSL & ~offered) !== 0) {
    throw refusal(
      'DBPROXY_HANDSHAKE',
      'the client asks for TLS, which this listener does not offer (tls = off)',
    );
  }
  const capabilities = (asked & offered) >>> 0;
  const maxPacketBytes = reader.u32();
  const collation = reader.u8();
  reader.skip(23);
  const user = reader.nulBytes().toString('utf8');
  const answer =
    (asked & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA) !== 0
      ? reader.lenencBytes()
      : reader.bytes(reader.u8());
  const database = (asked & Capability.CONNECT_WITH_DB) !== 0 ? untilNul(reader) : '';
  const plugin = (asked & Capability.PLUGIN_AUTH) !== 0 ? untilNul(reader) : '';
  return { capabilities, maxPacketBytes, collation, user, answer: Buffer.from(answer), database, plugin };
}

/** page_protocol_connection_phase_packets_protocol_auth_switch_request */
export function writeAuthSwitch(sequence: number, plugin: string, scramble: Buffer): Buffer {
  return new PacketWriter().begin().u8(0xfe).nulText(plugin).bytes(scramble).u8(0).end(sequence).take();
}

export function parseAuthSwitch(payload: Buffer): { plugin: string; scramble: Buffer } {
  const reader = new PacketReader(payload, 1);
  const plugin = reader.nulBytes().toString('latin1');
  const scramble = reader.rest();
  return { plugin, scramble: Buffer.from(scramble.subarray(0, SCRAMBLE_BYTES)) };
}

/** A packet whose payload is the answer to an auth switch alone. */
export function writeAuthAnswer(sequence: number, answer: Buffer): Buffer {
  return new PacketWriter().begin().bytes(answer).end(sequence).take();
}

export function writeChangeUser(change: ChangeUser): Buffer {
  return new PacketWriter()
    .begin()
    .u8(Command.CHANGE_USER)
    .nulText(change.user)
    .u8(change.answer.length)
    .bytes(change.answer)
    .nulText(change.database)
    .u16(change.collation)
    .nulText(change.plugin)
    .end(0)
    .take();
}

/** Reads COM_CHANGE_USER with its command byte; old clients leave the end out. */
export function parseChangeUser(payload: Buffer, capabilities: number): ChangeUser {
  const reader = new PacketReader(payload, 1);
  const user = reader.nulBytes().toString('utf8');
  const answer = Buffer.from(reader.bytes(reader.u8()));
  const database = reader.nulBytes().toString('utf8');
  const collation = reader.remaining >= 2 ? reader.u16() : 0;
  const named = (capabilities & Capability.PLUGIN_AUTH) !== 0 && reader.remaining > 0;
  return { user, answer, database, collation, plugin: named ? untilNul(reader) : '' };
}

/** The status a server of ours greets with. */
export const GREETING_STATUS: number = Status.AUTOCOMMIT;

/** A string that ends with NUL or with the packet: some clients and servers leave the last NUL out. */
function untilNul(reader: PacketReader): string {
  return (reader.hasNul() ? reader.nulBytes() : reader.rest()).toString('utf8');
}
