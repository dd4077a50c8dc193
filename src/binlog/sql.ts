/**
 * A transaction as SQL: to do it again, and to undo it. Each change is one statement that hits one row: found by its
 * key, or by all of its values where there is no key. What undoes a change also demands that the row is as the
 * change left it. `SESSION_SETTINGS` must be in force, so that every value is stored as it was.
 */
import { equalsSql, type Cell } from './cell.ts';
import { quoteName, quoteTable } from './literal.ts';
import type { Image } from './rows.ts';
import { laterImage, type ChangedTable, type RowChange, type Transaction } from './transaction.ts';

/** Zero dates and days that no month has, 0 for AUTO_INCREMENT, times in UTC; and nothing is cut to fit. */
export const SESSION_SETTINGS: readonly string[] = [
  'SET NAMES utf8mb4',
  "SET SESSION time_zone = '+00:00'",
  "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES'",
];

/** The statements that do a transaction again, in order. */
export function redoSql(transaction: Transaction): string[] {
  return transaction.changes.map(redoChange);
}

/** The statements that undo a transaction, the last change first. */
export function undoSql(transaction: Transaction): string[] {
  return transaction.changes.toReversed().map(undoChange);
}

/** Does one change again. */
export function redoChange({ kind, table, before, after }: RowChange): string {
  switch (kind) {
    case 'insert':
      return insertSql(table, after!);
    case 'update':
      return `UPDATE ${quoteTable(table)} SET ${assignments(table, before!, after!)} WHERE ${rowCondition(table, before!)}${limit(table)}`;
    case 'delete':
      return `DELETE FROM ${quoteTable(table)} WHERE ${rowCondition(table, before!)}${limit(table)}`;
  }
}

/** Undoes one change of a row that is still as the change left it. */
export function undoChange({ kind, table, before, after }: RowChange): string {
  switch (kind) {
    case 'insert':
      return `DELETE FROM ${quoteTable(table)} WHERE ${exactCondition(table, after!)}${limit(table)}`;
    case 'update': {
      const later = laterImage({ before, after });
      return `UPDATE ${quoteTable(table)} SET ${assignments(table, later, before!)} WHERE ${exactCondition(table, later)}${limit(table)}`;
    }
    case 'delete':
      return insertSql(table, before!);
  }
}

/** Names one row: by its key, or by all of its values. */
export function rowCondition(table: ChangedTable, image: Image): string {
  if (table.key === null) return exactCondition(table, image);
  return keyCondition(table, table.key, image);
}

/** By its key, in the column's own comparison: an index serves it. */
function keyCondition(table: ChangedTable, key: readonly number[], image: Image): string {
  return key.map((index) => `${quoteName(table.columns[index]!.name)} = ${image[index]!.sql}`).join(' AND ');
}

/** By all of its values, exactly; by its key, too, where it has one. */
function exactCondition(table: ChangedTable, image: Image): string {
  const byKey = table.key === null ? [] : [keyCondition(table, table.key, image)];
  return [...byKey, ...present(table, image).map(({ column, cell }) => equalsSql(column, cell))].join(
    ' AND ',
  );
}

/** Those that nobody may give a value are left out: they follow from the others. */
function present(
  table: ChangedTable,
  image: Image,
): { column: ChangedTable['columns'][number]; cell: Cell; index: number }[] {
  return table.columns.flatMap((column, index) => {
    const cell = image[index];
    return cell === undefined || column.isGenerated ? [] : [{ column, cell, index }];
  });
}

/** True in SQL when the row has all values of the image. */
export function sameValues(table: ChangedTable, image: Image): string {
  const conditions = present(table, image).map(({ column, cell }) => equalsSql(column, cell));
  return conditions.length === 0 ? 'TRUE' : conditions.join(' AND ');
}

function insertSql(table: ChangedTable, image: Image): string {
  const values = present(table, image);
  const names = values.map(({ column }) => quoteName(column.name)).join(', ');
  return `INSERT INTO ${quoteTable(table)} (${names}) VALUES (${values.map(({ cell }) => cell.sql).join(', ')})`;
}

/** What differs; all that is there when nothing does, so that the statement is one. */
function assignments(table: ChangedTable, from: Image, to: Image): string {
  const values = present(table, to);
  const changed = values.filter(({ cell, index }) => from[index]?.sql !== cell.sql);
  // A column that takes the time of each change by itself must be told to stay.
  const clocks = values.filter(({ column }) => column.type === 'timestamp' || column.type === 'datetime');
  const chosen = changed.length === 0 ? values : [...new Set([...changed, ...clocks])];
  return chosen.map(({ column, cell }) => `${quoteName(column.name)} = ${cell.sql}`).join(', ');
}

/** Rows that are equal in everything are told apart by nobody: one of them is as good as another. */
function limit({ key }: ChangedTable): string {
  return key === null ? ' LIMIT 1' : '';
}
