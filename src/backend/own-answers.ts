/**
 * What dbproxy reads in the answers to its own questions: values and their types, in the text protocol
 * (page_protocol_com_query_response_text_resultset).
 */
import { ExtendedCapability } from '../protocol/constants.ts';
import { PacketReader } from '../protocol/reader.ts';

/** Type of a column. */
export interface ColumnType {
  readonly type: number;
  readonly isUnsigned: boolean;
}

/** A value with the type of its column. */
export interface TypedValue extends ColumnType {
  readonly value: string | null;
}

/** Of a column. */
const UNSIGNED_FLAG = 0x20;

/** Stands for NULL in a row of the text protocol. */
const NULL_VALUE = 0xfb;

/**
 * The type in a column definition: behind six texts (MariaDB has a seventh where the client can take it), a
 * length, a character set and a width; its flags follow.
 */
export function columnType(definition: Buffer, extendedCapabilities: number): ColumnType {
  const hasExtended = (extendedCapabilities & ExtendedCapability.EXTENDED_METADATA) !== 0;
  const reader = new PacketReader(definition);
  for (let text = hasExtended ? 7 : 6; text > 0; text--) reader.lenencBytes();
  reader.skip(7);
  return { type: reader.u8(), isUnsigned: (reader.u16() & UNSIGNED_FLAG) !== 0 };
}

/** First value of a row in the text protocol. */
export function firstValue(row: Buffer): string | null {
  return row[0] === NULL_VALUE ? null : new PacketReader(row).lenencBytes().toString('utf8');
}

/** The same OK, its number of warnings 0. */
export function withoutWarnings(ok: Buffer): Buffer {
  const reader = new PacketReader(ok, 1);
  reader.lenenc();
  reader.lenenc();
  const clean = Buffer.from(ok);
  clean.writeUInt16LE(0, reader.offset + 2);
  return clean;
}
