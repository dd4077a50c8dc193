/**
 * One value of a row image: read by its column's type, and written in three ways: as text for people, as a literal
 * to store, and as what the stored value is compared with. That last comparison is exact where the column's own is
 * not: text by its bytes, ENUM and SET by their numbers, geometries by their bytes.
 */
import { unpackColumn } from './compression.ts';
import type { Column } from './definition.ts';
import { readJson } from './json.ts';
import { bytesLiteral, doubleLiteral, quoteName, quoteText, readableText, textLiteral } from './literal.ts';
import { formatUuid } from './gtid-event.ts';
import { floatText, readBits, readDecimal, readInteger } from './numbers.ts';
import { UnreadableEvent, type EventReader } from './reader.ts';
import { FieldType } from './table-map.ts';
import * as times from './times.ts';

export interface Cell {
  /** Null for NULL. */
  readonly text: string | null;
  /** What is stored by. */
  readonly sql: string;
  /** The same as `how` of the comparison wants it. */
  readonly exact: string;
  readonly how: 'value' | 'number' | 'bytes' | 'hex';
}

/** NULL. */
export const NULL_CELL: Cell = { text: null, sql: 'NULL', exact: 'NULL', how: 'value' };

/** True in SQL when the column has exactly this value. */
export function equalsSql(column: Pick<Column, 'name'>, cell: Cell): string {
  const name = quoteName(column.name);
  if (cell.text === null) return `${name} IS NULL`;
  switch (cell.how) {
    case 'value':
      return `${name} = ${cell.exact}`;
    case 'number':
      return `CAST(${name} AS UNSIGNED) = ${cell.exact}`;
    case 'bytes':
      return `CAST(${name} AS BINARY) = ${cell.exact}`;
    case 'hex':
      return `HEX(${name}) = ${cell.exact}`;
  }
}

const BYTES_OF_INTEGER = {
  [FieldType.TINY]: 1,
  [FieldType.SHORT]: 2,
  [FieldType.INT24]: 3,
  [FieldType.LONG]: 4,
  [FieldType.LONGLONG]: 8,
} as const;

/** Reads a value that is not NULL. */
export function readCell(reader: EventReader, column: Column): Cell {
  const { type, detail } = column.mapped;
  switch (type) {
    case FieldType.TINY:
    case FieldType.SHORT:
    case FieldType.INT24:
    case FieldType.LONG:
    case FieldType.LONGLONG: {
      const size = BYTES_OF_INTEGER[type];
      return plain(readInteger(reader, size, column.isUnsigned));
    }
    case FieldType.NEWDECIMAL:
      return plain(readDecimal(reader, detail & 0xff, detail >> 8));
    case FieldType.FLOAT: {
      const value = reader.float();
      return { ...plain(doubleLiteral(value)), text: floatText(value) };
    }
    case FieldType.DOUBLE: {
      const value = reader.double();
      return { ...plain(doubleLiteral(value)), text: String(value) };
    }
    case FieldType.BIT: {
      const bits = (detail & 0xff) + (detail >> 8) * 8;
      return number(readBits(reader, (bits + 7) >> 3));
    }
    case FieldType.ENUM:
      return enumCell(reader.uint(detail), column);
    case FieldType.SET:
      return setCell(BigInt(readSet(reader, detail)), column);
    case FieldType.JSON: {
      const { text, sql } = readJson(reader.bytes(reader.uint(detail)));
      return { text, sql, exact: sql, how: 'value' };
    }
    case FieldType.GEOMETRY:
      return geometryCell(reader.bytes(reader.uint(detail)));
    case FieldType.STRING:
      return fixedCell(reader.bytes(reader.uint(detail > 255 ? 2 : 1)), column);
    case FieldType.VARCHAR:
    case FieldType.VAR_STRING:
      return stringCell(reader.bytes(reader.uint(detail > 255 ? 2 : 1)), column.charset);
    case FieldType.VARCHAR_COMPRESSED:
      return stringCell(unpackColumn(reader.bytes(reader.uint(detail > 255 ? 2 : 1))), column.charset);
    case FieldType.BLOB_COMPRESSED:
      return stringCell(unpackColumn(reader.bytes(reader.uint(detail))), column.charset);
    case FieldType.BLOB:
    case FieldType.VECTOR:
      return stringCell(reader.bytes(reader.uint(detail)), column.charset);
    default:
      return timeCell(reader, column);
  }
}

function timeCell(reader: EventReader, { mapped: { type, detail }, name }: Column): Cell {
  switch (type) {
    case FieldType.YEAR:
      return plain(times.readYear(reader));
    case FieldType.DATE:
    case FieldType.NEWDATE:
      return quoted(times.readDate(reader));
    case FieldType.TIME:
      return quoted(times.readOldTime(reader));
    case FieldType.DATETIME:
      return quoted(times.readOldDatetime(reader));
    case FieldType.TIMESTAMP:
      return quoted(times.readOldTimestamp(reader));
    case FieldType.TIME2:
      return quoted(times.readTime(reader, detail));
    case FieldType.DATETIME2:
      return quoted(times.readDatetime(reader, detail));
    case FieldType.TIMESTAMP2:
      return quoted(times.readTimestamp(reader, detail));
    default:
      throw new UnreadableEvent(`column ${name} is of type ${type}, which is not known here`);
  }
}

function plain(text: string): Cell {
  return { text, sql: text, exact: text, how: 'value' };
}

function quoted(text: string): Cell {
  return { text, sql: `'${text}'`, exact: `'${text}'`, how: 'value' };
}

function number(text: string): Cell {
  return { text, sql: text, exact: text, how: 'number' };
}

/** CHAR comes without its trailing blanks, which it has none of; BINARY without its trailing zeros, which it has. */
function fixedCell(stored: Buffer, column: Column): Cell {
  const { type, charset } = column;
  if (type === 'char' && charset !== null) return stringCell(stored, charset);
  const bytes = Buffer.alloc(Math.max(column.mapped.detail, stored.length));
  stored.copy(bytes);
  switch (type) {
    case 'uuid':
      return quoted(formatUuid(storedUuid(bytes)));
    case 'inet6':
      return quoted(bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:'));
    case 'inet4':
      return quoted([...bytes].join('.'));
    default:
      return stringCell(bytes, null);
  }
}

/**
 * MariaDB stores the parts of a UUID the other way round, so that those made one after the other lie together;
 * versions 6 and later, which are in order by themselves, as they are (from 10.11.5 on).
 * Source: plugin/type_uuid/sql_type_uuid.h, UUID::record_to_memory.
 */
function storedUuid(stored: Buffer): Buffer {
  const isTurned = (stored[6]! & 0x80) !== 0 && stored[8]! > 0 && stored[8]! < 0x60;
  if (!isTurned) return stored;
  const parts = [
    [12, 16],
    [10, 12],
    [8, 10],
    [6, 8],
    [0, 6],
  ] as const;
  return Buffer.concat(parts.map(([start, end]) => stored.subarray(start, end)));
}

function stringCell(bytes: Buffer, charset: string | null): Cell {
  const exact = bytesLiteral(bytes);
  if (charset === null) return { text: `0x${exact.slice(2, -1)}`, sql: exact, exact, how: 'bytes' };
  const text = readableText(bytes, charset) ?? bytes.toString(charset.startsWith('utf8') ? 'utf8' : 'latin1');
  return { text, sql: textLiteral(bytes, charset), exact, how: 'bytes' };
}

/** SRID and WKB, as servers store them and take them back. */
function geometryCell(bytes: Buffer): Cell {
  const hex = bytes.toString('hex').toUpperCase();
  return { text: `0x${hex}`, sql: bytesLiteral(bytes), exact: `'${hex}'`, how: 'hex' };
}

/** By its name, which means the same where the members have another order; 0 is the value that was none of them. */
function enumCell(place: number, { members, name }: Column): Cell {
  if (members !== null && place > members.length) {
    throw new UnreadableEvent(`member ${place} of column ${name}, which has ${members.length}`);
  }
  const member = members?.[place - 1];
  const sql = member === undefined ? String(place) : memberSql(member);
  return { text: member ?? String(place), sql: sql ?? String(place), exact: String(place), how: 'number' };
}

function readSet(reader: EventReader, size: number): string {
  let value = 0n;
  reader.bytes(size).forEach((byte, index) => (value |= BigInt(byte) << BigInt(8 * index)));
  return String(value);
}

function setCell(mask: bigint, { members, name }: Column): Cell {
  const exact = String(mask);
  if (members === null) return number(exact);
  if (mask >> BigInt(members.length) !== 0n) {
    throw new UnreadableEvent(`members ${mask} of column ${name}, which has ${members.length}`);
  }
  const text = members.filter((_, index) => ((mask >> BigInt(index)) & 1n) === 1n).join(',');
  return { text, sql: memberSql(text) ?? exact, exact, how: 'number' };
}

/** Null for one that cannot be written as text. */
function memberSql(text: string): string | null {
  return readableText(Buffer.from(text, 'utf8'), 'utf8mb4') === null ? null : quoteText(text);
}
