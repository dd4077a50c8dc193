/**
 * A transaction with its rows read: what was changed in which table, by which key, from what to what; and whether
 * it can be done again, or undone, by statements. What cannot be read is said as a problem, and never left out.
 */
import type { Cell } from './cell.ts';
import { columnsOf, type Column, type TableDefinition } from './definition.ts';
import { UnreadableEvent } from './reader.ts';
import { layoutOf, parseRows, type ChangeKind, type Image, type RowImages } from './rows.ts';
import { tableNumberOf, type TableMap } from './table-map.ts';
import type { RawTransaction } from './transaction-reader.ts';

export interface RowChange {
  readonly kind: ChangeKind;
  readonly table: ChangedTable;
  readonly before: Image | null;
  readonly after: Image | null;
}

/** A table as a change of it needs it. */
export interface ChangedTable {
  readonly database: string;
  readonly table: string;
  readonly columns: readonly Column[];
  readonly key: readonly number[] | null;
}

export interface Transaction {
  readonly gtid: string | null;
  readonly file: string;
  readonly position: number;
  readonly endPosition: number;
  readonly serverId: number;
  readonly atMs: number;
  readonly threadId: number | null;
  /** As they were sent, where the server logs them; or logged by statement. */
  readonly statements: readonly string[];
  /** Names, of those after its first change. */
  readonly savepoints: readonly string[];
  readonly changes: readonly RowChange[];
  readonly ddl: string | null;
  /** Why `changes` may not be all of it; empty when they are. */
  readonly problems: readonly string[];
  /** Why it cannot be done again, or undone, by statements; empty when it can. */
  readonly redoProblems: readonly string[];
  readonly undoProblems: readonly string[];
}

/** The name that a definition is kept under. */
export function definitionKey({ database, table }: { database: string; table: string }): string {
  return `${database}\0${table}`;
}

/** The tables that a transaction has rows of. */
export function tablesOf(raw: RawTransaction): TableMap[] {
  return raw.parts.flatMap((part) => (part.kind === 'table' ? [part.map] : []));
}

/** Reads the rows of a transaction by the tables' definitions. */
export function decodeTransaction(
  raw: RawTransaction,
  definitions: ReadonlyMap<string, TableDefinition>,
): Transaction {
  const problems = [...raw.problems];
  let changes: RowChange[] = [];
  try {
    changes = readChanges(raw, definitions);
  } catch (error) {
    if (!(error instanceof UnreadableEvent)) throw error;
    problems.push(error.message);
  }
  const logged = raw.parts.flatMap((part) => (part.kind === 'statement' ? [part.text] : []));
  const { gtid, file, position, endPosition, serverId, atMs, threadId, ddl } = raw;
  const all = ddl === null ? problems : [...problems, 'it is DDL'];
  if (raw.end === 'rolled_back') all.push('it was rolled back, and yet logged: tables without transactions');
  const hazards = (which: 'redoHazards' | 'undoHazards'): string[] => hazardsOf(raw, definitions, which);
  return {
    ...{ gtid, file, position, endPosition, serverId, atMs, threadId, ddl },
    statements: [...raw.annotations, ...logged],
    savepoints: raw.savepoints,
    changes,
    problems,
    redoProblems: unique([...all, ...hazards('redoHazards'), ...changes.flatMap(redoGaps)]),
    undoProblems: unique([...all, ...hazards('undoHazards'), ...changes.flatMap(undoGaps)]),
  };
}

function hazardsOf(
  raw: RawTransaction,
  definitions: ReadonlyMap<string, TableDefinition>,
  which: 'redoHazards' | 'undoHazards',
): string[] {
  return tablesOf(raw).flatMap((map) => definitions.get(definitionKey(map))?.[which] ?? []);
}

function readChanges(raw: RawTransaction, definitions: ReadonlyMap<string, TableDefinition>): RowChange[] {
  const maps = new Map<number, ChangedTable>();
  const changes: RowChange[] = [];
  for (const part of raw.parts) {
    if (part.kind === 'table') maps.set(part.map.id, changedTable(part.map, definitions));
    else if (part.kind === 'rows') {
      const table = maps.get(tableNumberOf(part.event));
      if (table === undefined) throw new UnreadableEvent('rows of a table that was not named before');
      const layout = layoutOf(part.event.type)!;
      for (const images of parseRows(part.event, layout, table.columns)) {
        changes.push({ kind: layout.kind, table, ...images });
      }
    }
  }
  return changes;
}

function changedTable(map: TableMap, definitions: ReadonlyMap<string, TableDefinition>): ChangedTable {
  const definition = definitions.get(definitionKey(map));
  const columns = columnsOf(map, definition);
  return { database: map.database, table: map.table, columns, key: definition!.key };
}

function redoGaps(change: RowChange): string[] {
  if (change.kind === 'insert' || namesRow(change.table, change.before)) return [];
  return [`the row of a change in ${change.table.table} cannot be found by what is logged of it`];
}

/** To undo takes all that was there before, and what tells the row as it is now. */
function undoGaps({ kind, table, before, after }: RowChange): string[] {
  const isWhole = (image: Image | null): boolean => lacking(table, image).length === 0;
  const gaps: string[] = [];
  if (kind === 'delete' && !isWhole(before)) gaps.push('not all values of a deleted row are logged');
  if (kind === 'update') {
    const unknown = table.columns.filter(
      (column, index) => after![index] !== undefined && before![index] === undefined && !column.isGenerated,
    );
    if (unknown.length > 0) gaps.push('not all values of a row before its change are logged');
  }
  const present = kind === 'insert' ? after : kind === 'update' ? laterImage({ before, after }) : before;
  if (kind !== 'delete' && !namesRow(table, present)) gaps.push('a changed row cannot be found again');
  return gaps.map((gap) => `${gap} (${table.table}; see binlog_row_image)`);
}

/** All that is known of a row after a change: what the image leaves out is as it was. */
export function laterImage({ before, after }: RowImages): Image {
  return after!.map((cell, index) => cell ?? before?.[index]);
}

/** Columns that somebody has to give a value, and that are not in the image. */
function lacking(table: ChangedTable, image: Image | null): Column[] {
  return table.columns.filter((column, index) => !column.isGenerated && image?.[index] === undefined);
}

/** The image tells which row it is: by the key, or by all of it where there is no key. */
function namesRow(table: ChangedTable, image: Image | null): boolean {
  if (image === null) return false;
  if (table.key === null) return lacking(table, image).length === 0;
  return table.key.every((index) => image[index] !== undefined);
}

/** Names and values of an image, for people: without what is not there. */
export function valuesOf(table: ChangedTable, image: Image | null): Record<string, string | null> | null {
  if (image === null) return null;
  const entries = table.columns.flatMap((column, index) => {
    const cell: Cell | undefined = image[index];
    return cell === undefined ? [] : [[column.name, cell.text] as const];
  });
  return Object.fromEntries(entries);
}

/** The values of the key, for people; null when there is none. */
export function keyOf({ table, before, after }: RowChange): Record<string, string | null> | null {
  if (table.key === null) return null;
  const image = before ?? after!;
  return Object.fromEntries(
    table.key.map((index) => [table.columns[index]!.name, image[index]?.text ?? null]),
  );
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
