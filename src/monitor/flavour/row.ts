/**
 * How servers write values: the driver gives numbers, strings, null or (for big numbers) strings of digits,
 * and one server says `ON` where another says 1.
 */

/** One row of an answer. */
export type Row = Readonly<Record<string, unknown>>;

/** A statement and the values for its `?` places. */
export interface Statement {
  readonly sql: string;
  readonly values?: readonly (string | number)[];
}

/** True for a server variable that is switched on, in any of the ways servers write it. */
export function isOn(value: unknown): boolean {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value) !== 0;
  if (typeof value !== 'string') return value === true;
  return !['', '0', 'OFF', 'FALSE', 'NO'].includes(value.toUpperCase());
}

/** A value as text; empty for what is no text. */
export function text(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return '';
}

/** A value as a number; null for what is none. */
export function numberOf(value: unknown): number | null {
  const written = text(value).trim();
  const number = Number(written);
  return written === '' || Number.isNaN(number) ? null : number;
}

/** MySQL writes a GTID set of several servers over several lines. */
export function withoutLineBreaks(position: string): string {
  return position.replaceAll('\n', '');
}

/** The answer to a SHOW VARIABLES or SHOW STATUS, by name in lower case. */
export function byName(rows: readonly Row[]): ReadonlyMap<string, unknown> {
  return new Map(rows.map((row) => [text(row.Variable_name).toLowerCase(), row.Value]));
}
