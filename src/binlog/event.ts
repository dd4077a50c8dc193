/**
 * One event of a binlog as it lies in the log or comes over a replication connection: its header, whether its
 * checksum is right, its body. What the body means is read by the files beside.
 *
 *   timestamp 4 | type 1 | server id 4 | length 4 | end position 4 | flags 2 | body | [CRC32 4]
 *
 * Our own decoder, as the one library that is kept and knows MariaDB gives values as JavaScript has them (not exactly), and
 * reads no compressed transactions of MySQL.
 * Manual: page_protocol_replication_binlog_event (MySQL), mariadb.com/kb/en/2-binlog-event-header.
 */
import { crc32 } from 'node:zlib';
import { EventReader, UnreadableEvent } from './reader.ts';

/** Types of events (mysql::binlog::event::Log_event_type; those from 160 on are MariaDB's). */
export const EventType = {
  QUERY: 2,
  STOP: 3,
  ROTATE: 4,
  INTVAR: 5,
  RAND: 13,
  USER_VAR: 14,
  FORMAT_DESCRIPTION: 15,
  XID: 16,
  BEGIN_LOAD_QUERY: 17,
  EXECUTE_LOAD_QUERY: 18,
  TABLE_MAP: 19,
  WRITE_ROWS_V1: 23,
  UPDATE_ROWS_V1: 24,
  DELETE_ROWS_V1: 25,
  INCIDENT: 26,
  HEARTBEAT: 27,
  IGNORABLE: 28,
  ROWS_QUERY: 29,
  WRITE_ROWS: 30,
  UPDATE_ROWS: 31,
  DELETE_ROWS: 32,
  GTID: 33,
  ANONYMOUS_GTID: 34,
  PREVIOUS_GTIDS: 35,
  TRANSACTION_CONTEXT: 36,
  VIEW_CHANGE: 37,
  XA_PREPARE: 38,
  PARTIAL_UPDATE_ROWS: 39,
  TRANSACTION_PAYLOAD: 40,
  HEARTBEAT_V2: 41,
  GTID_TAGGED: 42,
  ANNOTATE_ROWS: 160,
  BINLOG_CHECKPOINT: 161,
  MARIADB_GTID: 162,
  MARIADB_GTID_LIST: 163,
  START_ENCRYPTION: 164,
  QUERY_COMPRESSED: 165,
  WRITE_ROWS_COMPRESSED_V1: 166,
  UPDATE_ROWS_COMPRESSED_V1: 167,
  DELETE_ROWS_COMPRESSED_V1: 168,
  WRITE_ROWS_COMPRESSED: 169,
  UPDATE_ROWS_COMPRESSED: 170,
  DELETE_ROWS_COMPRESSED: 171,
} as const;

/** LOG_EVENT_IGNORABLE_F: who does not know the type may go on without it. */
const IGNORABLE_FLAG = 0x80;
/** LOG_EVENT_ARTIFICIAL_F: made by the server for this connection; it lies in no file. */
const ARTIFICIAL_FLAG = 0x20;

const HEADER_BYTES = 19;
const CHECKSUM_BYTES = 4;

export interface BinlogEvent {
  readonly type: number;
  /** Seconds since the Unix epoch: when its statement began. */
  readonly timestamp: number;
  readonly serverId: number;
  /** Where the event after it begins; 0 for one that lies in no file of its own. */
  readonly endPosition: number;
  readonly isArtificial: boolean;
  readonly isIgnorable: boolean;
  /** Without header and checksum. */
  readonly body: Buffer;
  /** All of it, as it came. */
  readonly raw: Buffer;
}

/** How the events after a FORMAT_DESCRIPTION_EVENT are written. */
export interface BinlogFormat {
  readonly serverVersion: string;
  readonly hasChecksums: boolean;
}

/** Reads an event. `format` is null before the first FORMAT_DESCRIPTION_EVENT, which tells about itself. */
export function parseEvent(raw: Buffer, hasChecksums: boolean): BinlogEvent {
  const reader = new EventReader(raw);
  const timestamp = reader.u32();
  const type = reader.u8();
  const serverId = reader.u32();
  const length = reader.u32();
  const endPosition = reader.u32();
  const flags = reader.u16();
  if (length !== raw.length) throw new UnreadableEvent(`an event of ${length} bytes came as ${raw.length}`);
  const ownWord = type === EventType.FORMAT_DESCRIPTION ? describesChecksums(raw) : hasChecksums;
  const end = ownWord ? raw.length - CHECKSUM_BYTES : raw.length;
  if (end < HEADER_BYTES) throw new UnreadableEvent(`an event of ${length} bytes`);
  if (ownWord) verifyChecksum(raw, end);
  return {
    type,
    timestamp,
    serverId,
    endPosition,
    isArtificial: (flags & ARTIFICIAL_FLAG) !== 0,
    isIgnorable: (flags & IGNORABLE_FLAG) !== 0,
    body: raw.subarray(HEADER_BYTES, end),
    raw,
  };
}

/** The events inside a payload lie one behind the other and have no checksums of their own. */
export function* parseEvents(payload: Buffer): Generator<BinlogEvent> {
  let offset = 0;
  while (offset < payload.length) {
    if (payload.length - offset < HEADER_BYTES) throw new UnreadableEvent('a header that is cut off');
    const length = payload.readUInt32LE(offset + 9);
    if (length < HEADER_BYTES || length > payload.length - offset) {
      throw new UnreadableEvent(`an event of ${length} bytes where ${payload.length - offset} are left`);
    }
    yield parseEvent(payload.subarray(offset, offset + length), false);
    offset += length;
  }
}

/**
 * FORMAT_DESCRIPTION_EVENT: version 2, server's version 50, time 4, header's length 1, a length for each type of
 * event; then, from MySQL 5.6.1 and MariaDB 5.3 on, the kind of checksum (0 none, 1 CRC32) and its own checksum.
 * Manual: Format_description_event; mariadb.com/kb/en/format_description_event.
 */
export function parseFormat(event: BinlogEvent): BinlogFormat {
  const reader = new EventReader(event.body);
  const version = reader.u16();
  if (version !== 4) throw new UnreadableEvent(`binlog version ${version}, where 4 is read`);
  const serverVersion = reader.bytes(50).toString('latin1').replace(/\0.*$/s, '');
  reader.skip(4);
  const header = reader.u8();
  if (header !== HEADER_BYTES) throw new UnreadableEvent(`headers of ${header} bytes, where 19 are read`);
  return { serverVersion, hasChecksums: describesChecksums(event.raw) };
}

/** The byte before the last four says it; an event of before checksums ends with its list of lengths. */
function describesChecksums(raw: Buffer): boolean {
  if (raw.length < HEADER_BYTES + 57 + CHECKSUM_BYTES + 1) return false;
  const kind = raw[raw.length - CHECKSUM_BYTES - 1]!;
  if (kind > 1) throw new UnreadableEvent(`checksums of kind ${kind}, which are not known here`);
  return kind === 1;
}

/** A server writes an event's checksum as if the log were closed in order: without the flag that it is in use. */
function verifyChecksum(raw: Buffer, end: number): void {
  const expected = raw.readUInt32LE(end);
  if (crc32(raw.subarray(0, end)) === expected) return;
  const IN_USE_FLAG = 0x1;
  const closed = Buffer.from(raw.subarray(0, end));
  closed[17]! &= ~IN_USE_FLAG;
  if (crc32(closed) !== expected) throw new UnreadableEvent('the checksum of an event is wrong');
}
