/**
 * The generic answers (OK, ERR, EOF) read and written, and text result sets written: for what dbproxy says
 * itself, at login and on the admin port.
 * Manual: page_protocol_basic_ok_packet, page_protocol_basic_err_packet, page_protocol_basic_eof_packet,
 * page_protocol_com_query_response_text_resultset.
 */
import { messageOf } from '../base/message-of.ts';
import { isRefusal, type ProxyError } from '../base/errors.ts';
import { Capability, Collation, ColumnType, MAX_PACKET_PAYLOAD, Status } from './constants.ts';
import { PacketReader } from './reader.ts';
import { PacketWriter } from './writer.ts';

/** What an ERR packet says. */
export interface ErrorPacket {
  errno: number;
  /** Five characters; empty when the server sent none (before the login is known). */
  sqlState: string;
  message: string;
}

export interface OkFields {
  affectedRows?: number;
  insertId?: number;
  status?: number;
  warnings?: number;
  info?: string;
}

/** Reads an ERR packet's payload. */
export function parseError(payload: Buffer): ErrorPacket {
  const reader = new PacketReader(payload, 1);
  const errno = reader.u16();
  let sqlState = '';
  if (payload[reader.offset] === 0x23) {
    reader.skip(1);
    sqlState = reader.bytes(5).toString('latin1');
  }
  return { errno, sqlState, message: reader.rest().toString('utf8') };
}

/** Reads status flags and warnings of an OK packet's payload (0x00 or 0xfe first). */
export function parseOk(payload: Buffer): { status: number; warnings: number } {
  const reader = new PacketReader(payload, 1);
  reader.lenenc();
  reader.lenenc();
  return { status: reader.u16(), warnings: reader.u16() };
}

/** Writes an ERR packet. Clients before the login is known (`withState` false) get no SQLSTATE. */
export function writeError(sequence: number, error: ErrorPacket, withState = true): Buffer {
  const writer = new PacketWriter().begin().u8(0xff).u16(error.errno);
  if (withState) writer.text('#').text(/^.{5}$/.test(error.sqlState) ? error.sqlState : 'HY000');
  return writer.text(error.message.slice(0, 4096)).end(sequence).take();
}

/** What an ERR packet says of any error: ours as it is, a server's with its number, another as 1105. */
export function toErrorPacket(error: unknown): ErrorPacket {
  if (isRefusal(error)) return fromRefusal(error);
  if (error instanceof ServerError) return error.packet;
  return {
    errno: 1105,
    sqlState: 'HY000',
    message: `dbproxy: ${messageOf(error)}`,
  };
}

function fromRefusal(error: ProxyError): ErrorPacket {
  return { errno: error.errno, sqlState: error.sqlState, message: error.message };
}

/** A server's ERR packet as an exception: it is passed on to the client as it came. */
export class ServerError extends Error {
  readonly packet: ErrorPacket;

  constructor(packet: ErrorPacket) {
    super(`${packet.message} (${packet.errno}, ${packet.sqlState})`);
    this.packet = packet;
  }
}

/** Writes an OK packet. */
export function writeOk(sequence: number, fields: OkFields = {}): Buffer {
  const writer = new PacketWriter();
  okPacket(writer, 0x00, sequence, fields);
  return writer.take();
}

function okPacket(writer: PacketWriter, header: number, sequence: number, fields: OkFields): void {
  writer
    .begin()
    .u8(header)
    .lenenc(fields.affectedRows ?? 0)
    .lenenc(fields.insertId ?? 0)
    .u16(fields.status ?? Status.AUTOCOMMIT)
    .u16(fields.warnings ?? 0)
    .text(fields.info ?? '')
    .end(sequence);
}

/** A column of a result set that dbproxy writes; numbers are written as text all the same. */
export interface ResultColumn {
  name: string;
  type: 'text' | 'integer' | 'real';
}

/** A cell: null is NULL. */
export type ResultCell = string | number | bigint | boolean | null;

/**
 * Writes a whole text result set, in the form the client's capabilities ask for (with or without EOF
 * packets). `sequence` is the number of the first packet, one more than the command's.
 * Throws RangeError for a row of 16 MB or more.
 */
export function writeResultSet(
  columns: readonly ResultColumn[],
  rows: readonly (readonly ResultCell[])[],
  capabilities: number,
  sequence = 1,
  status: number = Status.AUTOCOMMIT,
): Buffer {
  const writer = new PacketWriter(4096);
  const deprecateEof = (capabilities & Capability.DEPRECATE_EOF) !== 0;
  let next = sequence;
  writer.begin().lenenc(columns.length).end(next++);
  for (const column of columns) writeColumn(writer, column, next++);
  if (!deprecateEof) writer.begin().u8(0xfe).u16(0).u16(status).end(next++);
  for (const row of rows) {
    writer.begin();
    for (const cell of row) writeCell(writer, cell);
    writer.end(next++);
  }
  if (deprecateEof) okPacket(writer, 0xfe, next, { status });
  else writer.begin().u8(0xfe).u16(0).u16(status).end(next);
  return writer.take();
}

/** page_protocol_com_query_response_text_resultset_column_definition */
function writeColumn(writer: PacketWriter, column: ResultColumn, sequence: number): void {
  const isText = column.type === 'text';
  const type = isText
    ? ColumnType.VAR_STRING
    : column.type === 'real'
      ? ColumnType.DOUBLE
      : ColumnType.LONGLONG;
  writer
    .begin()
    .lenencText('def')
    .lenencText('')
    .lenencText('')
    .lenencText('')
    .lenencText(column.name)
    .lenencText(column.name)
    .lenenc(0x0c)
    .u16(isText ? Collation.UTF8MB4_GENERAL_CI : Collation.BINARY)
    .u32(isText ? 0xffff : 21)
    .u8(type)
    .u16(0)
    .u8(isText ? 0 : column.type === 'real' ? 31 : 0)
    .u16(0)
    .end(sequence);
}

function writeCell(writer: PacketWriter, cell: ResultCell): void {
  if (cell === null) writer.u8(0xfb);
  else writer.lenencText(typeof cell === 'boolean' ? (cell ? '1' : '0') : String(cell));
}

/** Writes one command packet (sequence 0). Throws RangeError for 16 MB or more. */
export function writeCommand(command: number, body: Uint8Array | string = ''): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
  if (bytes.length + 1 >= MAX_PACKET_PAYLOAD) throw new RangeError(`command of ${bytes.length} bytes`);
  return new PacketWriter(bytes.length + 8).begin().u8(command).bytes(bytes).end(0).take();
}

/** A payload below 16 MB as a packet. */
export function writePayload(sequence: number, payload: Buffer): Buffer {
  return new PacketWriter(payload.length + 4).begin().bytes(payload).end(sequence).take();
}
