/**
 * The commands that run prepared statements, as far as a proxy must change them that gives statements
 * numbers of its own and prepares them where they run: the number, and the types of the parameters, which
 * a client sends with the first execution only and a server remembers.
 * Manual: page_protocol_com_stmt_execute; https://mariadb.com/kb/en/com_stmt_execute/,
 * https://mariadb.com/kb/en/com_stmt_bulk_execute/
 */
import { refusal } from '../base/errors.ts';
import { Capability, Command } from './constants.ts';
import { PacketReader } from './reader.ts';

/** Offsets in the payload. */
const ID_AT = 1;
const EXECUTE_FLAGS_AT = 5;
const AFTER_ITERATIONS = 10;
const BULK_FLAGS_AT = 5;
const AFTER_BULK_FLAGS = 7;

/** MySQL: a number of parameters follows. */
const PARAMETER_COUNT_AVAILABLE = 0x08;
/** Any of the flags that ask for a cursor. */
const CURSOR_FLAGS = 0x07;
/** MariaDB's bulk execution: types follow. */
const SEND_TYPES = 0x80;

/** "The statement prepared last" of MariaDB's connectors. */
export const LAST_STATEMENT_ID = 0xffffffff;

/** Where the types are in an execution. */
export interface TypesPlace {
  /** Offset of the byte (of the flags, for a bulk execution) that says whether types follow; -1: none can. */
  readonly saidAt: number;
  /** The types of the statement's own parameters, each with its name where there are names; none: an empty range. */
  readonly start: number;
  readonly end: number;
}

/** There are none, and none can be put in. */
export const NO_TYPES: TypesPlace = { saidAt: -1, start: 0, end: 0 };

/** The number of the statement that a command is about. */
export function statementIdOf(payload: Buffer, start: number): number {
  return payload.readUInt32LE(start + ID_AT);
}

/** Writes another number into the command that begins at `start`. */
export function setStatementId(payload: Buffer, start: number, id: number): void {
  payload.writeUInt32LE(id, start + ID_AT);
}

/** The client wants a cursor. */
export function asksForCursor(payload: Buffer): boolean {
  return payload[0] === Command.STMT_EXECUTE && (payload[EXECUTE_FLAGS_AT]! & CURSOR_FLAGS) !== 0;
}

/** Finds the types of a COM_STMT_EXECUTE or COM_STMT_BULK_EXECUTE. Throws DBPROXY_MALFORMED_PACKET. */
export function placeOfTypes(payload: Buffer, parameters: number, capabilities: number): TypesPlace {
  return payload[0] === Command.STMT_BULK_EXECUTE
    ? placeInBulk(payload, parameters)
    : placeInExecute(payload, parameters, capabilities);
}

function placeInExecute(payload: Buffer, parameters: number, capabilities: number): TypesPlace {
  if (payload.length < AFTER_ITERATIONS) throw refusal('DBPROXY_MALFORMED_PACKET', 'COM_STMT_EXECUTE');
  const reader = new PacketReader(payload, AFTER_ITERATIONS);
  const hasAttributes = (capabilities & Capability.QUERY_ATTRIBUTES) !== 0;
  const saysCount = hasAttributes && (payload[EXECUTE_FLAGS_AT]! & PARAMETER_COUNT_AVAILABLE) !== 0;
  if (parameters === 0 && !saysCount) return NO_TYPES;
  // A server reads the count wherever there may be attributes, whether the flag says so or not.
  const count = hasAttributes ? reader.lenenc() : parameters;
  if (count === 0) return NO_TYPES;
  reader.skip((count + 7) >>> 3);
  const saidAt = reader.offset;
  if (reader.u8() !== 1) {
    // Attributes without their types: a server remembers none of those, and says so.
    return count === parameters ? { saidAt, start: reader.offset, end: reader.offset } : NO_TYPES;
  }
  const start = reader.offset;
  let end = start;
  for (let index = 0; index < count; index++) {
    reader.skip(2);
    if (hasAttributes) reader.lenencBytes();
    // What follows the statement's own parameters are attributes of this one execution.
    if (index < parameters) end = reader.offset;
  }
  return { saidAt, start, end };
}

function placeInBulk(payload: Buffer, parameters: number): TypesPlace {
  if (payload.length < AFTER_BULK_FLAGS) throw refusal('DBPROXY_MALFORMED_PACKET', 'COM_STMT_BULK_EXECUTE');
  const has = (payload[BULK_FLAGS_AT]! & SEND_TYPES) !== 0;
  const end = has ? AFTER_BULK_FLAGS + 2 * parameters : AFTER_BULK_FLAGS;
  if (end > payload.length) throw refusal('DBPROXY_MALFORMED_PACKET', 'COM_STMT_BULK_EXECUTE');
  return { saidAt: parameters === 0 ? -1 : BULK_FLAGS_AT, start: AFTER_BULK_FLAGS, end };
}

/** The command with `types` put in, for a server that has not seen them. */
export function withTypes(payload: Buffer, place: TypesPlace, types: Buffer): Buffer {
  const changed = Buffer.concat([payload.subarray(0, place.start), types, payload.subarray(place.end)]);
  if (payload[0] === Command.STMT_BULK_EXECUTE) changed[BULK_FLAGS_AT]! |= SEND_TYPES;
  else changed[place.saidAt] = 1;
  return changed;
}
