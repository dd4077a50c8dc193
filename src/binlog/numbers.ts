/**
 * Numbers as row images have them.
 * Manual: mysql::binlog::event::Table_map_event ("Type specific value format"), strings/decimal.cc.
 */
import type { EventReader } from './reader.ts';
import { UnreadableEvent } from './reader.ts';

/** Integers of 1, 2, 3, 4 or 8 bytes, exactly. */
export function readInteger(reader: EventReader, size: 1 | 2 | 3 | 4 | 8, isUnsigned: boolean): string {
  if (size === 8) return String(isUnsigned ? reader.u64() : reader.i64());
  return String(isUnsigned ? reader.uint(size) : reader.int(size));
}

/** BIT(n): the high byte first. */
export function readBits(reader: EventReader, size: number): string {
  if (size > 8) throw new UnreadableEvent(`BIT of ${size} bytes`);
  let value = 0n;
  for (const byte of reader.bytes(size)) value = (value << 8n) | BigInt(byte);
  return String(value);
}

/** Decimal digits that are left over beside groups of nine take so many bytes. */
const LEFTOVER_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const GROUP_DIGITS = 9;
const GROUP_BYTES = 4;

/**
 * DECIMAL(precision, scale): digits in groups of nine, four bytes each, the groups that are not full at both ends.
 * The top bit is turned over, and of a negative number all bits are.
 */
export function readDecimal(reader: EventReader, precision: number, scale: number): string {
  const wholeDigits = precision - scale;
  if (wholeDigits < 0 || precision > 65) throw new UnreadableEvent(`DECIMAL(${precision},${scale})`);
  const bytes = Buffer.from(reader.bytes(bytesOf(wholeDigits) + bytesOf(scale)));
  const isNegative = (bytes[0]! & 0x80) === 0;
  bytes[0]! ^= 0x80;
  if (isNegative) for (let index = 0; index < bytes.length; index++) bytes[index]! ^= 0xff;
  const cursor = { bytes, offset: 0 };
  const lead = wholeDigits % GROUP_DIGITS;
  let whole = lead === 0 ? '' : takeDigits(cursor, lead);
  for (let left = wholeDigits - lead; left > 0; left -= GROUP_DIGITS)
    whole += takeDigits(cursor, GROUP_DIGITS);
  let fraction = '';
  for (let left = scale; left > 0; left -= GROUP_DIGITS) {
    fraction += takeDigits(cursor, Math.min(left, GROUP_DIGITS));
  }
  const digits = `${whole.replace(/^0+(?=\d)/, '') || '0'}${scale > 0 ? `.${fraction}` : ''}`;
  return isNegative ? `-${digits}` : digits;
}

function bytesOf(digits: number): number {
  return Math.floor(digits / GROUP_DIGITS) * GROUP_BYTES + LEFTOVER_BYTES[digits % GROUP_DIGITS]!;
}

function takeDigits(cursor: { bytes: Buffer; offset: number }, digits: number): string {
  const size = digits === GROUP_DIGITS ? GROUP_BYTES : LEFTOVER_BYTES[digits]!;
  const value = cursor.bytes.readUIntBE(cursor.offset, size);
  cursor.offset += size;
  const text = String(value).padStart(digits, '0');
  if (text.length > digits) throw new UnreadableEvent('a DECIMAL with more digits than it has room for');
  return text;
}

/** The shortest digits that give the same FLOAT again, for people. */
export function floatText(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}
