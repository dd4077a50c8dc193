/**
 * Where the text of a COM_QUERY begins. With the capability QUERY_ATTRIBUTES named values may precede it:
 * they are for the server, and pass; only whoever looks at the statement must know how long they are.
 * Manual: page_protocol_com_query, page_protocol_binary_resultset (the values).
 */
import { isRefusal, refusal } from '../base/errors.ts';
import { Capability, Command } from './constants.ts';
import { PacketReader } from './reader.ts';

/** Offset of a statement's text in a payload without attributes: right after the command byte. */
const AFTER_COMMAND = 1;

/** `textStart` cannot tell: the attributes go on beyond the bytes at hand, or are none that a server reads. */
export const UNKNOWN_START = -1;

/**
 * Types of parameters by the bytes of their value. Only types are here that every server reads the same way:
 * MySQL itself reads YEAR, INT24 and a type it does not know with a length before them. Who looks for the
 * text at another place than the server does would look at another statement.
 */
const FIXED_BYTES = new Map<number, number>([
  [0x01, 1], // TINY
  [0x02, 2], // SHORT
  [0x03, 4], // LONG
  [0x04, 4], // FLOAT
  [0x05, 8], // DOUBLE
  [0x08, 8], // LONGLONG
]);

/** Dates and times, texts and blobs: their length, in one to four bytes, stands before them. */
const WITH_LENGTH = new Set<number>([
  0x00, 0x07, 0x0a, 0x0b, 0x0c, 0x0f, 0x10, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
]);

const UNSIGNED_FLAG = 0x8000;

/**
 * Offset of the statement's text within `buffer`, whose bytes from `start` are (the beginning of) the payload
 * of a COM_QUERY or COM_STMT_PREPARE; UNKNOWN_START when `end` comes before it.
 */
export function textStart(buffer: Buffer, start: number, end: number, capabilities: number): number {
  if (buffer[start] !== Command.QUERY || (capabilities & Capability.QUERY_ATTRIBUTES) === 0) {
    return start + AFTER_COMMAND;
  }
  // Nearly always: no attribute, in one set.
  if (end - start >= 3 && buffer[start + 1] === 0 && buffer[start + 2] === 1) return start + 3;
  try {
    return start + afterAttributes(buffer.subarray(start, end));
  } catch (error) {
    if (isRefusal(error)) return UNKNOWN_START;
    throw error;
  }
}

/** The payload of a COM_QUERY without attributes, as a connection with these flags wants it. */
export function queryPayload(sql: string, capabilities: number): Buffer {
  const hasAttributes = (capabilities & Capability.QUERY_ATTRIBUTES) !== 0;
  const head = hasAttributes ? [Command.QUERY, 0, 1] : [Command.QUERY];
  return Buffer.concat([Buffer.from(head), Buffer.from(sql, 'utf8')]);
}

function afterAttributes(payload: Buffer): number {
  const reader = new PacketReader(payload, AFTER_COMMAND);
  const count = reader.lenenc();
  if (reader.lenenc() !== 1) throw unreadable('not one set');
  if (count === 0) return reader.offset;
  const nullBitmap = reader.bytes((count + 7) >>> 3);
  const types: number[] = [];
  if (reader.u8() !== 1) throw unreadable('without their types');
  for (let index = 0; index < count; index++) {
    types.push(reader.u16() & ~UNSIGNED_FLAG);
    reader.lenencBytes(); // its name
  }
  for (const [index, type] of types.entries()) {
    const isNull = (nullBitmap[index >>> 3]! & (1 << (index & 7))) !== 0;
    if (!isNull) skipValue(reader, type);
  }
  return reader.offset;
}

function skipValue(reader: PacketReader, type: number): void {
  const fixed = FIXED_BYTES.get(type);
  if (fixed !== undefined) reader.skip(fixed);
  else if (WITH_LENGTH.has(type)) reader.lenencBytes();
  else throw unreadable(`of type 0x${type.toString(16)}`);
}

function unreadable(what: string): Error {
  return refusal('DBPROXY_MALFORMED_PACKET', `query attributes ${what}`);
}
