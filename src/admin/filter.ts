/**
 * LIKE and WHERE on a table that SHOW answers, in MySQL's manner: without regard to case, `%` any text,
 * `_` one character; columns of numbers are compared as numbers, and NULL is neither more nor less than anything.
 */
import { refusal } from '../base/errors.ts';
import type { ResultCell } from '../protocol/packets.ts';
import type { Comparison, Condition, Filter } from './statement.ts';
import type { Table } from './tables.ts';

/**
 * The table with the rows that pass. Throws DBPROXY_ADMIN_UNKNOWN_OBJECT for a column it has not, and
 * DBPROXY_ADMIN_BAD_VALUE for a number that is none.
 */
export function applyFilter(table: Table, filter: Filter): Table {
  switch (filter.kind) {
    case 'all':
      return table;
    case 'like': {
      const column = columnIndex(table, table.likeColumn);
      return { ...table, rows: table.rows.filter((row) => matchesLike(textOf(row[column]), filter.pattern)) };
    }
    case 'where': {
      const tests = filter.conditions.map((condition) => testOf(table, condition));
      return { ...table, rows: table.rows.filter((row) => tests.every((passes) => passes(row))) };
    }
  }
}

type RowTest = (row: readonly ResultCell[]) => boolean;

function testOf(table: Table, { column, comparison, value }: Condition): RowTest {
  const index = columnIndex(table, column);
  if (comparison === 'like') return (row) => matchesLike(textOf(row[index]), value);
  const isEquality = comparison === '=' || comparison === '!=';
  // `= NULL` finds the rows without a value, as nobody would ask for none.
  if (isEquality && value.toUpperCase() === 'NULL') {
    return (row) => ((row[index] ?? null) === null) === (comparison === '=');
  }
  if (table.columns[index]!.type === 'integer') {
    const number = value.trim() === '' ? Number.NaN : Number(value);
    if (Number.isNaN(number)) {
      throw refusal('DBPROXY_ADMIN_BAD_VALUE', column, value, 'the column holds numbers');
    }
    return (row) => isFilled(row[index]) && stands(Number(row[index]) - number, comparison);
  }
  const text = value.toLowerCase();
  return (row) => isFilled(row[index]) && stands(order(textOf(row[index]).toLowerCase(), text), comparison);
}

function isFilled(cell: ResultCell | undefined): boolean {
  return cell !== null && cell !== undefined;
}

function order(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** `difference`: below 0 when the cell is less than the value. */
function stands(difference: number, comparison: Exclude<Comparison, 'like'>): boolean {
  switch (comparison) {
    case '=':
      return difference === 0;
    case '!=':
      return difference !== 0;
    case '<':
      return difference < 0;
    case '<=':
      return difference <= 0;
    case '>':
      return difference > 0;
    case '>=':
      return difference >= 0;
  }
}

function columnIndex(table: Table, name: string): number {
  const index = table.columns.findIndex((column) => column.name.toLowerCase() === name.toLowerCase());
  if (index >= 0) return index;
  throw refusal(
    'DBPROXY_ADMIN_UNKNOWN_OBJECT',
    'column',
    name,
    table.columns.map((column) => column.name).join(', '),
  );
}

function textOf(cell: ResultCell | undefined): string {
  return cell === null || cell === undefined ? 'NULL' : String(cell);
}

/**
 * Matches by walking both texts, going back to the last `%` only: no pattern can make it slow, as a
 * translation to a regular expression could.
 */
export function matchesLike(subject: string, pattern: string): boolean {
  const text = subject.toLowerCase();
  const parts = likeParts(pattern.toLowerCase());
  let at = 0;
  let part = 0;
  let afterAny = -1;
  let resumeAt = 0;
  while (at < text.length) {
    const current = parts[part];
    if (current === 'any') {
      afterAny = ++part;
      resumeAt = at;
    } else if (current !== undefined && (current === 'one' || current.character === text[at])) {
      at++;
      part++;
    } else if (afterAny >= 0) {
      part = afterAny;
      at = ++resumeAt;
    } else {
      return false;
    }
  }
  return parts.slice(part).every((rest) => rest === 'any');
}

type LikePart = 'any' | 'one' | { character: string };

function likeParts(pattern: string): LikePart[] {
  const parts: LikePart[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!;
    if (character === '%') parts.push('any');
    else if (character === '_') parts.push('one');
    else if (character === '\\' && i + 1 < pattern.length) parts.push({ character: pattern[++i]! });
    else parts.push({ character });
  }
  return parts;
}
