/**
 * Values as literals that mean the same under every SQL mode and character set: text that is written as text has
 * no backslash, no control character and only single quotes (doubled); all else is written by its bytes.
 */
import { isUtf8 } from 'node:buffer';

/** A name in backticks. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** `database`.`table` */
export function quoteTable({ database, table }: { database: string; table: string }): string {
  return `${quoteName(database)}.${quoteName(table)}`;
}

/** Longer values are written by their bytes alone: nobody reads them, and half the checks are saved. */
const MOST_READABLE_BYTES = 16 * 1024;

/** Character sets whose bytes below 128 are not ASCII. */
const NOT_ASCII = new Set(['ucs2', 'utf16', 'utf16le', 'utf32', 'swe7']);
const UTF8 = new Set(['utf8', 'utf8mb3', 'utf8mb4']);

/** The bytes as text, when they can be written as such: printable, and the same in UTF-8. */
export function readableText(bytes: Buffer, charset: string): string | null {
  if (bytes.length > MOST_READABLE_BYTES || NOT_ASCII.has(charset)) return null;
  const text = bytes.toString('utf8');
  if (/[\\\p{C}\u2028\u2029]/u.test(text)) return null;
  if (/^[\x20-\x7d]*$/.test(text)) return text;
  return UTF8.has(charset) && isUtf8(bytes) ? text : null;
}

/** A string of a column with this character set. */
export function textLiteral(bytes: Buffer, charset: string): string {
  const text = readableText(bytes, charset);
  if (text !== null) return quoteText(text);
  return `_${charset} ${bytesLiteral(bytes)}`;
}

/** Text without backslashes or control characters. */
export function quoteText(text: string): string {
  return `_utf8mb4'${text.replaceAll("'", "''")}'`;
}

export function bytesLiteral(bytes: Buffer): string {
  return `X'${bytes.toString('hex').toUpperCase()}'`;
}

/** A double so that the server reads the same one: the shortest digits, and an exponent, which makes it a double. */
export function doubleLiteral(value: number): string {
  const digits = Object.is(value, -0) ? '-0' : String(value);
  return digits.includes('e') ? digits : `${digits}e0`;
}
