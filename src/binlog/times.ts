/**
 * Dates and times as row images have them: packed numbers, those of MySQL 5.6.4 and MariaDB 10.0 on with the high
 * byte first and fractions behind. All are kept as text, as a server writes them; TIMESTAMP in UTC.
 * Manual: mysql::binlog::event::Table_map_event ("Type specific value format"), mysys my_time.cc.
 */
import { UnreadableEvent, type EventReader } from './reader.ts';

const ZERO_MOMENT = '0000-00-00 00:00:00';

/** DATE: three bytes, of them 5 bits of day, 4 of month. */
export function readDate(reader: EventReader): string {
  const packed = reader.u24();
  return dateText(packed >> 9, (packed >> 5) & 15, packed & 31);
}

/** YEAR: years since 1900; 0 is the year 0. */
export function readYear(reader: EventReader): string {
  const packed = reader.u8();
  return packed === 0 ? '0000' : String(1900 + packed);
}

/** TIME of before fractions: a number whose decimal digits are the text's. */
export function readOldTime(reader: EventReader): string {
  const packed = reader.int(3);
  const digits = Math.abs(packed);
  const text = clockText(Math.floor(digits / 10_000), Math.floor(digits / 100) % 100, digits % 100);
  return packed < 0 ? `-${text}` : text;
}

/** DATETIME of before fractions: YYYYMMDDhhmmss as a number. */
export function readOldDatetime(reader: EventReader): string {
  const digits = String(reader.u64()).padStart(14, '0');
  if (digits.length > 14) throw new UnreadableEvent('a DATETIME of more than 14 digits');
  return digits.replace(/^(.{4})(..)(..)(..)(..)(..)$/, '$1-$2-$3 $4:$5:$6');
}

/** TIMESTAMP of before fractions: seconds since the Unix epoch. */
export function readOldTimestamp(reader: EventReader): string {
  return momentText(reader.u32());
}

/** TIMESTAMP: seconds, high byte first. */
export function readTimestamp(reader: EventReader, fractionDigits: number): string {
  const seconds = reader.uintBE(4);
  return momentText(seconds) + readFraction(reader, fractionDigits);
}

/** DATETIME: 1 bit of sign, 17 of year and month (times 13), 5 each of day and hour, 6 each of minute and second. */
export function readDatetime(reader: EventReader, fractionDigits: number): string {
  const packed = BigInt(reader.uintBE(5)) - 0x8000000000n;
  if (packed < 0n) throw new UnreadableEvent('a DATETIME below zero');
  return packedMoment(packed) + readFraction(reader, fractionDigits);
}

/** TIME: 1 bit of sign, 1 unused, 10 of hour, 6 each of minute and second; of a negative one all is negative. */
export function readTime(reader: EventReader, fractionDigits: number): string {
  const fractionBytes = bytesOfFraction(fractionDigits);
  const scale = 2 ** (8 * fractionBytes);
  const packed = (reader.uintBE(3) - 0x800000) * scale + reader.uintBE(fractionBytes);
  const magnitude = Math.abs(packed);
  const text = packedClock(Math.floor(magnitude / scale)) + fractionText(magnitude % scale, fractionDigits);
  return packed < 0 ? `-${text}` : text;
}

/** A moment or a date inside a JSON value: as a DATETIME, 24 bits of microseconds below. */
export function jsonMoment(packed: bigint, isDate: boolean): string {
  const moment = packedMoment(packed >> 24n);
  return isDate ? moment.slice(0, 10) : moment + fractionText(Number(packed & 0xffffffn), 6);
}

/** A TIME inside a JSON value. */
export function jsonTime(packed: bigint): string {
  const magnitude = packed < 0n ? -packed : packed;
  const text = packedClock(Number(magnitude >> 24n)) + fractionText(Number(magnitude & 0xffffffn), 6);
  return packed < 0n ? `-${text}` : text;
}

function packedMoment(packed: bigint): string {
  const clock = Number(packed & 0x1ffffn);
  const days = Number(packed >> 17n);
  const months = days >> 5;
  return `${dateText(Math.floor(months / 13), months % 13, days & 31)} ${packedClock(clock)}`;
}

function packedClock(packed: number): string {
  return clockText((packed >> 12) & 0x3ff, (packed >> 6) & 63, packed & 63);
}

function bytesOfFraction(digits: number): number {
  if (digits > 6) throw new UnreadableEvent(`${digits} digits of fractions`);
  return (digits + 1) >> 1;
}

function readFraction(reader: EventReader, digits: number): string {
  return fractionText(reader.uintBE(bytesOfFraction(digits)), digits);
}

/** Two digits a byte; of an odd number of digits the last one is 0. */
function fractionText(value: number, digits: number): string {
  if (digits === 0) return '';
  const text = String(value).padStart(bytesOfFraction(digits) * 2, '0');
  if (text.length > 6) throw new UnreadableEvent('a fraction of a second of a second and more');
  return `.${text.slice(0, digits)}`;
}

function momentText(seconds: number): string {
  return seconds === 0 ? ZERO_MOMENT : new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

function dateText(year: number, month: number, day: number): string {
  if (month > 12 || day > 31) throw new UnreadableEvent(`month ${month}, day ${day}`);
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
}

function clockText(hour: number, minute: number, second: number): string {
  if (minute > 59 || second > 59) throw new UnreadableEvent(`minute ${minute}, second ${second}`);
  return `${two(hour)}:${two(minute)}:${two(second)}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
