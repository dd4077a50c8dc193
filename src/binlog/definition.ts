/**
 * A table's definition as a server tells it now: what a row event leaves out. An event of another age of the table
 * must not be read by it, so names, types and signs are compared as far as the event has them.
 */
import { UnreadableEvent } from './reader.ts';
import { FieldType, type MappedColumn, type TableMap } from './table-map.ts';

export interface ColumnDefinition {
  readonly name: string;
  /** `data_type` in information_schema, in lower case. */
  readonly type: string;
  /** `column_type`: with length, members, sign. */
  readonly fullType: string;
  /** Null for what has none. */
  readonly charset: string | null;
  /** Computed by the server: nobody gives it a value. */
  readonly isGenerated: boolean;
}

export interface TableDefinition {
  readonly database: string;
  readonly table: string;
  readonly columns: readonly ColumnDefinition[];
  /** Places of the columns of a key that names one row at most, none of them NULL; null: there is none. */
  readonly key: readonly number[] | null;
  /** Why changes of it cannot be done again by statements, and why they cannot be undone by them. */
  readonly redoHazards: readonly string[];
  readonly undoHazards: readonly string[];
}

/** A column of an event with all that is known of it. */
export interface Column extends ColumnDefinition {
  readonly mapped: MappedColumn;
  readonly isUnsigned: boolean;
  /** Of ENUM and SET, as the server writes them; null when one of them cannot be told for sure. */
  readonly members: readonly string[] | null;
}

const INTEGERS: Readonly<Record<number, string>> = {
  [FieldType.TINY]: 'tinyint',
  [FieldType.SHORT]: 'smallint',
  [FieldType.INT24]: 'mediumint',
  [FieldType.LONG]: 'int',
  [FieldType.LONGLONG]: 'bigint',
};

const FIXED_STRINGS = ['char', 'binary', 'uuid', 'inet4', 'inet6'];
const STRINGS = ['varchar', 'varbinary', 'vector'];
const BLOBS = [
  ...['tinyblob', 'blob', 'mediumblob', 'longblob'],
  ...['tinytext', 'text', 'mediumtext', 'longtext'],
];
const GEOMETRIES = [
  ...['geometry', 'point', 'linestring', 'polygon', 'multipoint', 'multilinestring', 'multipolygon'],
  ...['geometrycollection', 'geomcollection'],
];

/** The columns of a table as an event has them; throws UnreadableEvent when this is not the table it speaks of. */
export function columnsOf(map: TableMap, definition: TableDefinition | undefined): readonly Column[] {
  const name = `${map.database}.${map.table}`;
  if (definition === undefined) {
    throw new UnreadableEvent(
      `table ${name} is not there any more, or monitor_user may not see it (GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER)`,
    );
  }
  const { columns } = definition;
  if (columns.length !== map.columns.length) {
    throw new UnreadableEvent(
      `table ${name} had ${map.columns.length} columns then, and has ${columns.length} now`,
    );
  }
  return map.columns.map((mapped, index) => columnOf(name, mapped, columns[index]!));
}

function columnOf(table: string, mapped: MappedColumn, definition: ColumnDefinition): Column {
  const isUnsigned = /\bunsigned\b/i.test(definition.fullType);
  const complaint = difference(mapped, definition, isUnsigned);
  if (complaint !== null) {
    throw new UnreadableEvent(
      `column ${definition.name} of ${table} ${complaint} when the event was written`,
    );
  }
  const isList = mapped.type === FieldType.ENUM || mapped.type === FieldType.SET;
  return { ...definition, mapped, isUnsigned, members: isList ? membersOf(definition.fullType) : null };
}

function difference(mapped: MappedColumn, now: ColumnDefinition, isUnsigned: boolean): string | null {
  if (mapped.name !== null && mapped.name !== now.name) return `was ${mapped.name}`;
  if (!typesFor(mapped.type).includes(now.type)) return `(${now.type}) was of another type (${mapped.type})`;
  if (isOldTime(mapped.type) && /^\w+\([1-6]\)/.test(now.fullType)) {
    return `(${now.fullType}) was in MariaDB's format of before 10.1, which is not read,`;
  }
  const isInteger = INTEGERS[mapped.type] !== undefined;
  if (isInteger && mapped.isUnsigned !== null && mapped.isUnsigned !== isUnsigned) return 'had another sign';
  return null;
}

/** Of before MySQL 5.6.4; MariaDB (mysql56_temporal_format = OFF) has fractions in them, in a way that no event tells. */
function isOldTime(type: number): boolean {
  return type === FieldType.TIME || type === FieldType.DATETIME || type === FieldType.TIMESTAMP;
}

/** Which types of information_schema a type of an event may be. */
function typesFor(type: number): readonly string[] {
  const integer = INTEGERS[type];
  if (integer !== undefined) return [integer];
  switch (type) {
    case FieldType.NEWDECIMAL:
      return ['decimal'];
    case FieldType.FLOAT:
      return ['float'];
    case FieldType.DOUBLE:
      return ['double'];
    case FieldType.BIT:
      return ['bit'];
    case FieldType.YEAR:
      return ['year'];
    case FieldType.DATE:
    case FieldType.NEWDATE:
      return ['date'];
    case FieldType.TIME:
    case FieldType.TIME2:
      return ['time'];
    case FieldType.DATETIME:
    case FieldType.DATETIME2:
      return ['datetime'];
    case FieldType.TIMESTAMP:
    case FieldType.TIMESTAMP2:
      return ['timestamp'];
    case FieldType.STRING:
      return FIXED_STRINGS;
    case FieldType.VARCHAR:
    case FieldType.VARCHAR_COMPRESSED:
    case FieldType.VAR_STRING:
      return STRINGS;
    case FieldType.BLOB:
    case FieldType.BLOB_COMPRESSED:
      return BLOBS;
    case FieldType.ENUM:
      return ['enum'];
    case FieldType.SET:
      return ['set'];
    case FieldType.JSON:
      return ['json'];
    case FieldType.VECTOR:
      return ['vector'];
    case FieldType.GEOMETRY:
      return GEOMETRIES;
    default:
      return [];
  }
}

/** `enum('a','it''s')`; servers write some characters with a backslash, but not all of them alike. */
function membersOf(fullType: string): readonly string[] | null {
  if (fullType.includes('\\')) return null;
  return [...fullType.matchAll(/'((?:[^']|'')*)'/g)].map((match) => match[1]!.replaceAll("''", "'"));
}
