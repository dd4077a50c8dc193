/**
 * TABLE_MAP_EVENT: which table the row events after it change, and how each of its columns is written.
 *
 *   table's number 6 | flags 2 | database | table | columns | a type each | details of the types | which may be NULL |
 *   more, in servers that say more
 *
 * Manual: mysql::binlog::event::Table_map_event, mariadb.com/kb/en/table_map_event.
 */
import type { BinlogEvent } from './event.ts';
import { EventReader, UnreadableEvent } from './reader.ts';

/** Types of columns (enum_field_types); 17 to 19 are the times with fractions, 140 and 141 MariaDB's compressed. */
export const FieldType = {
  DECIMAL: 0,
  TINY: 1,
  SHORT: 2,
  LONG: 3,
  FLOAT: 4,
  DOUBLE: 5,
  NULL: 6,
  TIMESTAMP: 7,
  LONGLONG: 8,
  INT24: 9,
  DATE: 10,
  TIME: 11,
  DATETIME: 12,
  YEAR: 13,
  NEWDATE: 14,
  VARCHAR: 15,
  BIT: 16,
  TIMESTAMP2: 17,
  DATETIME2: 18,
  TIME2: 19,
  BLOB_COMPRESSED: 140,
  VARCHAR_COMPRESSED: 141,
  VECTOR: 242,
  JSON: 245,
  NEWDECIMAL: 246,
  ENUM: 247,
  SET: 248,
  TINY_BLOB: 249,
  MEDIUM_BLOB: 250,
  LONG_BLOB: 251,
  BLOB: 252,
  VAR_STRING: 253,
  STRING: 254,
  GEOMETRY: 255,
} as const;

/** How one column is written. */
export interface MappedColumn {
  /** The real one: ENUM and SET hide behind STRING. */
  readonly type: number;
  /** What else the type needs: bytes of a length, digits, fractions, the most bytes of a string. */
  readonly detail: number;
  /** Null where the event does not say it. */
  readonly isUnsigned: boolean | null;
  readonly name: string | null;
}

export interface TableMap {
  readonly id: number;
  readonly database: string;
  readonly table: string;
  readonly columns: readonly MappedColumn[];
}

/** What follows in servers with binlog_row_metadata, by kind; all others are passed over. */
const Optional = { SIGNEDNESS: 1, COLUMN_NAME: 4 } as const;

/** Reads the event. */
export function parseTableMap(event: BinlogEvent): TableMap {
  const reader = new EventReader(event.body);
  const id = reader.u48();
  reader.skip(2);
  const database = nameOf(reader);
  const table = nameOf(reader);
  const types = [...reader.bytes(reader.lenenc())];
  const details = new EventReader(reader.lenencBytes());
  const columns = types.map((type) => realType(type, details));
  if (details.remaining > 0) throw new UnreadableEvent(`details of the types of ${table} are left over`);
  reader.bitmap(columns.length);
  const more = optionalFields(reader);
  const names = namesOf(more.get(Optional.COLUMN_NAME), columns.length);
  const signs = signsOf(more.get(Optional.SIGNEDNESS), columns);
  return {
    id,
    database,
    table,
    columns: columns.map((column, index) => ({
      ...column,
      isUnsigned: signs?.[index] ?? null,
      name: names?.[index] ?? null,
    })),
  };
}

/** The number of the table that a row event is about; it comes first in both. */
export function tableNumberOf(event: BinlogEvent): number {
  return new EventReader(event.body).u48();
}

function nameOf(reader: EventReader): string {
  const name = reader.text(reader.u8());
  reader.skip(1);
  return name;
}

/** page: Table_map_event, "m_field_metadata": how many bytes of details each type has. */
function realType(type: number, details: EventReader): { type: number; detail: number } {
  switch (type) {
    case FieldType.FLOAT:
    case FieldType.DOUBLE:
    case FieldType.TIMESTAMP2:
    case FieldType.DATETIME2:
    case FieldType.TIME2:
    case FieldType.BLOB:
    case FieldType.TINY_BLOB:
    case FieldType.MEDIUM_BLOB:
    case FieldType.LONG_BLOB:
    case FieldType.BLOB_COMPRESSED:
    case FieldType.GEOMETRY:
    case FieldType.JSON:
    case FieldType.VECTOR:
      return { type, detail: details.u8() };
    case FieldType.VARCHAR:
    case FieldType.VARCHAR_COMPRESSED:
    case FieldType.VAR_STRING:
    case FieldType.BIT:
    case FieldType.NEWDECIMAL:
      return { type, detail: details.u16() };
    case FieldType.STRING:
    case FieldType.ENUM:
    case FieldType.SET:
      return realString(details.u8(), details.u8());
    default:
      return { type, detail: 0 };
  }
}

/** Lengths above 255 have their two upper bits, turned over, in the byte of the type. */
function realString(typeByte: number, lengthByte: number): { type: number; detail: number } {
  if (typeByte === FieldType.ENUM || typeByte === FieldType.SET)
    return { type: typeByte, detail: lengthByte };
  const upper = ((typeByte & 0x30) ^ 0x30) << 4;
  return { type: typeByte | 0x30, detail: upper | lengthByte };
}

function optionalFields(reader: EventReader): ReadonlyMap<number, Buffer> {
  const fields = new Map<number, Buffer>();
  while (reader.remaining > 0) {
    const kind = reader.u8();
    fields.set(kind, reader.lenencBytes());
  }
  return fields;
}

function namesOf(field: Buffer | undefined, count: number): string[] | null {
  if (field === undefined) return null;
  const reader = new EventReader(field);
  return Array.from({ length: count }, () => reader.lenencBytes().toString('utf8'));
}

/** A bit for each column that is a number, the first one in the highest bit. */
function signsOf(field: Buffer | undefined, columns: readonly { type: number }[]): boolean[] | null {
  if (field === undefined) return null;
  let next = 0;
  return columns.map(({ type }) => {
    if (!isNumber(type)) return false;
    const byte = field[next >> 3];
    if (byte === undefined) throw new UnreadableEvent('signs of fewer columns than there are numbers');
    const isUnsigned = ((byte >> (7 - (next & 7))) & 1) === 1;
    next++;
    return isUnsigned;
  });
}

function isNumber(type: number): boolean {
  switch (type) {
    case FieldType.TINY:
    case FieldType.SHORT:
    case FieldType.INT24:
    case FieldType.LONG:
    case FieldType.LONGLONG:
    case FieldType.NEWDECIMAL:
    case FieldType.FLOAT:
    case FieldType.DOUBLE:
    case FieldType.YEAR:
      return true;
    default:
      return false;
  }
}
