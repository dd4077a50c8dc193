/**
 * MySQL's binary JSON as text, and as SQL that gives the same value again. Most values are their text; but a JSON
 * value may hold what JSON has no word for (decimals, dates, bytes), and such a one is built by functions.
 * Manual: sql-common/json_binary.h, which has the grammar.
 */
import { bytesLiteral, quoteText, textLiteral } from './literal.ts';
import { readDecimal } from './numbers.ts';
import { EventReader, UnreadableEvent } from './reader.ts';
import { FieldType } from './table-map.ts';
import { jsonMoment, jsonTime } from './times.ts';

/** A value; `built` is SQL for one that has no word in JSON. */
type Node =
  | { kind: 'object'; members: readonly (readonly [string, Node])[] }
  | { kind: 'array'; items: readonly Node[] }
  | { kind: 'scalar'; text: string; built: string | null };

const JsonType = {
  SMALL_OBJECT: 0,
  LARGE_OBJECT: 1,
  SMALL_ARRAY: 2,
  LARGE_ARRAY: 3,
  LITERAL: 4,
  INT16: 5,
  UINT16: 6,
  INT32: 7,
  UINT32: 8,
  INT64: 9,
  UINT64: 10,
  DOUBLE: 11,
  STRING: 12,
  OPAQUE: 15,
} as const;

/** How deep it is, and how many values there may still be: each takes three bytes, and none is there twice. */
interface Limits {
  readonly level: number;
  readonly values: { left: number };
}

/** Servers refuse deeper ones. */
const MOST_LEVELS = 100;

const LITERALS = ['null', 'true', 'false'];

/** Reads a value as a JSON column has it. */
export function readJson(bytes: Buffer): { text: string; sql: string } {
  // What an INSERT IGNORE of nothing leaves.
  const limits = { level: 0, values: { left: bytes.length } };
  const node = bytes.length === 0 ? scalar('null') : readValue(bytes[0]!, bytes.subarray(1), limits);
  const text = textOf(node);
  return { text, sql: isBuilt(node) ? buildSql(node) : castText(text) };
}

function castText(text: string): string {
  return `CAST(${textLiteral(Buffer.from(text, 'utf8'), 'utf8mb4')} AS JSON)`;
}

/** `bytes` begin where the value does; offsets in it count from there. */
function readValue(type: number, bytes: Buffer, limits: Limits): Node {
  if (limits.level > MOST_LEVELS) throw new UnreadableEvent(`JSON of more than ${MOST_LEVELS} levels`);
  if (limits.values.left-- <= 0) throw new UnreadableEvent('JSON with more values than bytes');
  const reader = new EventReader(bytes);
  switch (type) {
    case JsonType.SMALL_OBJECT:
    case JsonType.LARGE_OBJECT:
      return readObject(bytes, type === JsonType.LARGE_OBJECT, limits);
    case JsonType.SMALL_ARRAY:
    case JsonType.LARGE_ARRAY:
      return readArray(bytes, type === JsonType.LARGE_ARRAY, limits);
    case JsonType.LITERAL:
      return literal(reader.u8());
    case JsonType.INT16:
      return scalar(String(reader.int(2)));
    case JsonType.UINT16:
      return unsigned(String(reader.u16()));
    case JsonType.INT32:
      return scalar(String(reader.int(4)));
    case JsonType.UINT32:
      return unsigned(String(reader.u32()));
    case JsonType.INT64:
      return scalar(String(reader.i64()));
    case JsonType.UINT64:
      return unsigned(String(reader.u64()));
    case JsonType.DOUBLE:
      return double(reader.double());
    case JsonType.STRING:
      return scalar(JSON.stringify(reader.text(readLength(reader))));
    case JsonType.OPAQUE:
      return readOpaque(reader);
    default:
      throw new UnreadableEvent(`JSON of type ${type}`);
  }
}

/** Of small ones offsets and counts have 2 bytes, of large ones 4. */
function readObject(bytes: Buffer, isLarge: boolean, limits: Limits): Node {
  const { reader, whole, count, width } = enter(bytes, isLarge);
  const keys = Array.from({ length: count }, () => {
    const offset = reader.uint(width);
    const length = reader.u16();
    return sliceOf(whole, offset, length).toString('utf8');
  });
  const values = readItems(reader, whole, count, isLarge, limits);
  return { kind: 'object', members: values.map((value, index) => [keys[index]!, value] as const) };
}

function readArray(bytes: Buffer, isLarge: boolean, limits: Limits): Node {
  const { reader, whole, count } = enter(bytes, isLarge);
  return { kind: 'array', items: readItems(reader, whole, count, isLarge, limits) };
}

function enter(
  bytes: Buffer,
  isLarge: boolean,
): { reader: EventReader; whole: Buffer; count: number; width: number } {
  const width = isLarge ? 4 : 2;
  const reader = new EventReader(bytes);
  const count = reader.uint(width);
  const size = reader.uint(width);
  // Each item has an entry of three bytes at least: a count that has no room for them is a lie.
  if (size > bytes.length || count * 3 > size) throw new UnreadableEvent('JSON that is cut off');
  return { reader, whole: bytes.subarray(0, size), count, width };
}

function readItems(
  reader: EventReader,
  whole: Buffer,
  count: number,
  isLarge: boolean,
  limits: Limits,
): Node[] {
  const width = isLarge ? 4 : 2;
  const inner = { ...limits, level: limits.level + 1 };
  return Array.from({ length: count }, () => {
    const type = reader.u8();
    const entry = reader.bytes(width);
    if (isInlined(type, isLarge)) return readValue(type, entry, inner);
    const offset = entry.readUIntLE(0, width);
    return readValue(type, sliceOf(whole, offset, whole.length - offset), inner);
  });
}

function isInlined(type: number, isLarge: boolean): boolean {
  if (type === JsonType.LITERAL || type === JsonType.INT16 || type === JsonType.UINT16) return true;
  return isLarge && (type === JsonType.INT32 || type === JsonType.UINT32);
}

function sliceOf(whole: Buffer, offset: number, length: number): Buffer {
  if (length < 0 || offset + length > whole.length) throw new UnreadableEvent('JSON that is cut off');
  return whole.subarray(offset, offset + length);
}

/** Seven bits a byte, the lowest first; the top bit says that more follow. */
function readLength(reader: EventReader): number {
  let length = 0;
  for (let index = 0; index < 5; index++) {
    const byte = reader.u8();
    length += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) === 0) return length;
  }
  throw new UnreadableEvent('a length of more than five bytes in JSON');
}

/** A value of a column's type: its type, its length, its bytes. */
function readOpaque(reader: EventReader): Node {
  const type = reader.u8();
  const bytes = reader.bytes(readLength(reader));
  const inner = new EventReader(bytes);
  switch (type) {
    case FieldType.NEWDECIMAL:
    case FieldType.DECIMAL: {
      const precision = inner.u8();
      const scale = inner.u8();
      const text = readDecimal(inner, precision, scale);
      return scalar(text, `CAST(${text} AS DECIMAL(${precision},${scale}))`);
    }
    case FieldType.DATE:
    case FieldType.NEWDATE:
      return moment(jsonMoment(inner.i64(), true), 'DATE');
    case FieldType.DATETIME:
    case FieldType.DATETIME2:
    case FieldType.TIMESTAMP:
    case FieldType.TIMESTAMP2:
      return moment(jsonMoment(inner.i64(), false), 'DATETIME(6)');
    case FieldType.TIME:
    case FieldType.TIME2:
      return moment(jsonTime(inner.i64()), 'TIME(6)');
    default:
      return scalar(JSON.stringify(`base64:type${type}:${bytes.toString('base64')}`), bytesLiteral(bytes));
  }
}

function moment(text: string, type: string): Node {
  return scalar(JSON.stringify(text), `CAST('${text}' AS ${type})`);
}

function scalar(text: string, built: string | null = null): Node {
  return { kind: 'scalar', text, built };
}

/** In text a number is a signed one as long as it fits. */
function unsigned(text: string): Node {
  return scalar(text, BigInt(text) <= 0x7fffffffffffffffn ? `CAST(${text} AS UNSIGNED)` : null);
}

/** In text a double is told from an integer by its point or exponent. */
function double(value: number): Node {
  const digits = Object.is(value, -0) ? '-0' : String(value);
  return scalar(/[.e]/.test(digits) ? digits : `${digits}.0`);
}

function literal(code: number): Node {
  const word = LITERALS[code];
  if (word === undefined) throw new UnreadableEvent(`JSON literal ${code}`);
  return scalar(word);
}

/** As MySQL writes it: a blank behind each comma and colon. */
function textOf(node: Node): string {
  switch (node.kind) {
    case 'scalar':
      return node.text;
    case 'array':
      return `[${node.items.map(textOf).join(', ')}]`;
    case 'object':
      return `{${node.members.map(([key, value]) => `${JSON.stringify(key)}: ${textOf(value)}`).join(', ')}}`;
  }
}

function isBuilt(node: Node): boolean {
  switch (node.kind) {
    case 'scalar':
      return node.built !== null;
    case 'array':
      return node.items.some(isBuilt);
    case 'object':
      return node.members.some(([, value]) => isBuilt(value));
  }
}

/** A value whose parts have no text of their own; parts that have one are cast from it. */
function buildSql(node: Node): string {
  const top = partSql(node);
  return node.kind === 'scalar' ? `CAST(${top} AS JSON)` : top;
}

function partSql(node: Node): string {
  if (!isBuilt(node)) return castText(textOf(node));
  switch (node.kind) {
    case 'scalar':
      return node.built!;
    case 'array':
      return `JSON_ARRAY(${node.items.map(partSql).join(', ')})`;
    case 'object':
      return `JSON_OBJECT(${node.members.map(([key, value]) => `${keySql(key)}, ${partSql(value)}`).join(', ')})`;
  }
}

function keySql(key: string): string {
  return /^[\x20-\x5b\x5d-\x7d]*$/.test(key)
    ? quoteText(key)
    : textLiteral(Buffer.from(key, 'utf8'), 'utf8mb4');
}
