/**
 * Whether a lost change can still be made at the new primary, by the row as it is there now. It is the server that
 * compares, each column exactly.
 *
 * | change | the row there now                | verdict          |
 * |--------|----------------------------------|------------------|
 * | insert | none                             | harmless         |
 * |        | with all the values              | already there    |
 * |        | another                          | conflict         |
 * | update | as before the change             | harmless         |
 * |        | as after it                      | already there    |
 * |        | none, or another                 | conflict         |
 * | delete | as before                        | harmless         |
 * |        | none                             | already there    |
 * |        | another                          | conflict         |
 *
 * A change that builds on an earlier lost one of the same row shares that one's verdict.
 */
import type { TableDefinition } from '../../binlog/definition.ts';
import { bytesLiteral, quoteName, quoteTable } from '../../binlog/literal.ts';
import type { Image } from '../../binlog/rows.ts';
import { rowCondition, sameValues, SESSION_SETTINGS } from '../../binlog/sql.ts';
import {
  definitionKey,
  laterImage,
  type ChangedTable,
  type RowChange,
  type Transaction,
} from '../../binlog/transaction.ts';
import { textOf, type SqlConnection } from './connection.ts';
import { describeTables } from './describe.ts';

/** `current`: the row as it is there, for people. */
export type Verdict =
  | { readonly kind: 'harmless' }
  | { readonly kind: 'already_there' }
  | { readonly kind: 'conflict'; readonly why: string; readonly current: Row | null }
  | { readonly kind: 'unknown'; readonly why: string };

type Row = Readonly<Record<string, string | null>>;

/** The verdict on each change of a transaction, in order. */
export type TransactionVerdict = readonly Verdict[];

/** Of a long value so much is shown. */
const MOST_SHOWN = 200;

/** Judges transactions in the order that they were committed. Changes nothing but settings of the connection. */
export async function conflictsOf(
  transactions: readonly Transaction[],
  newPrimary: SqlConnection,
  timeoutMs: number,
): Promise<TransactionVerdict[]> {
  for (const setting of SESSION_SETTINGS) await newPrimary.run(setting, timeoutMs);
  const judge = await Judge.of(transactions, newPrimary, timeoutMs);
  const earlier = new Map<string, Verdict>();
  const verdicts: TransactionVerdict[] = [];
  for (const { changes } of transactions) {
    const own: Verdict[] = [];
    for (const change of changes) own.push(await judgeAfter(earlier, change, judge));
    verdicts.push(own);
  }
  return verdicts;
}

/** True when nothing stands against making all changes of a transaction. */
export function isHarmless(transaction: Transaction, verdicts: TransactionVerdict): boolean {
  const isFine = ({ kind }: Verdict): boolean => kind === 'harmless' || kind === 'already_there';
  return transaction.redoProblems.length === 0 && verdicts.every(isFine);
}

async function judgeAfter(earlier: Map<string, Verdict>, change: RowChange, judge: Judge): Promise<Verdict> {
  const { table, before, after } = change;
  const names = [before, after].flatMap((image) => rowName(table, image) ?? []);
  const known = names.flatMap((name) => earlier.get(name) ?? [])[0];
  const verdict = known === undefined ? await judge.verdict(change, false) : following(known);
  for (const name of names) earlier.set(name, verdict);
  return verdict;
}

function following(verdict: Verdict): Verdict {
  switch (verdict.kind) {
    case 'conflict':
      return { kind: 'conflict', why: 'it builds on a lost change that is in conflict', current: null };
    case 'harmless':
    case 'already_there':
    case 'unknown':
      return verdict;
  }
}

function rowName(table: ChangedTable, image: Image | null): string | null {
  if (table.key === null || image === null) return null;
  if (table.key.some((index) => image[index] === undefined)) return null;
  return `${definitionKey(table)}\0${table.key.map((index) => image[index]!.exact).join('\0')}`;
}

/** Compares changes with the rows of one server. */
export class Judge {
  readonly #connection: SqlConnection;
  readonly #timeoutMs: number;
  readonly #definitions: ReadonlyMap<string, TableDefinition>;

  private constructor(
    connection: SqlConnection,
    timeoutMs: number,
    definitions: ReadonlyMap<string, TableDefinition>,
  ) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#definitions = definitions;
  }

  /** Asks the server for the tables of the transactions first. */
  static async of(
    transactions: readonly Transaction[],
    connection: SqlConnection,
    timeoutMs: number,
  ): Promise<Judge> {
    const tables = transactions.flatMap(({ changes }) => changes.map(({ table }) => table));
    return new Judge(connection, timeoutMs, await describeTables(connection, tables, timeoutMs));
  }

  /** `locks`: the row stays as it is until the transaction of the connection ends. */
  async verdict(change: RowChange, locks: boolean): Promise<Verdict> {
    const { table } = change;
    const reason = this.#incomparable(table);
    if (reason !== null) return { kind: 'conflict', why: reason, current: null };
    if (table.key === null)
      return { kind: 'unknown', why: `table ${table.table} has no key to find its row by` };
    const gap = gapOf(change);
    if (gap !== null) return { kind: 'unknown', why: gap };
    switch (change.kind) {
      case 'insert':
        return this.#insert(table, change.after!, locks);
      case 'update':
        return this.#update(table, change.before!, laterImage(change), locks);
      case 'delete':
        return this.#delete(table, change.before!, locks);
    }
  }

  #incomparable(table: ChangedTable): string | null {
    const there = this.#definitions.get(definitionKey(table));
    if (there === undefined)
      return `there is no table ${table.table} at the new primary that monitor_user may see`;
    if (there.redoHazards.length > 0) return there.redoHazards.join('; ');
    const shape = (columns: TableDefinition['columns']): string =>
      columns.map(({ name, fullType, charset }) => `${name} ${fullType} ${charset ?? ''}`).join('\n');
    const isSame = shape(there.columns) === shape(table.columns);
    return isSame ? null : `table ${table.table} has other columns at the new primary`;
  }

  async #insert(table: ChangedTable, after: Image, locks: boolean): Promise<Verdict> {
    const found = await this.#find(table, after, null, after, locks);
    if (found === null) return { kind: 'harmless' };
    if (found.isAfter) return { kind: 'already_there' };
    return { kind: 'conflict', why: 'there is another row with this key', current: found.row };
  }

  async #delete(table: ChangedTable, before: Image, locks: boolean): Promise<Verdict> {
    const found = await this.#find(table, before, before, null, locks);
    if (found === null) return { kind: 'already_there' };
    if (found.isBefore) return { kind: 'harmless' };
    return { kind: 'conflict', why: 'the row has been changed since', current: found.row };
  }

  async #update(table: ChangedTable, before: Image, after: Image, locks: boolean): Promise<Verdict> {
    const moves = table.key!.some((index) => before[index]!.exact !== after[index]!.exact);
    const found = await this.#find(table, before, before, after, locks);
    const moved = moves ? await this.#find(table, after, null, after, locks) : null;
    if (found?.isAfter === true || (found === null && moved?.isAfter === true))
      return { kind: 'already_there' };
    if (found === null) return { kind: 'conflict', why: 'the row is gone', current: moved?.row ?? null };
    if (!found.isBefore)
      return { kind: 'conflict', why: 'the row has been changed since', current: found.row };
    // A key that differs by what its comparison ignores names the same row.
    const isTaken = moved !== null && !moved.isBefore && moved.name !== found.name;
    return isTaken
      ? { kind: 'conflict', why: 'there is another row with the new key', current: moved.row }
      : { kind: 'harmless' };
  }

  /** The row that an image names, and whether it is as it was before and after the change. */
  async #find(
    table: ChangedTable,
    image: Image,
    before: Image | null,
    after: Image | null,
    locks: boolean,
  ): Promise<{ isBefore: boolean; isAfter: boolean; row: Row; name: string } | null> {
    const same = (one: Image | null): string => (one === null ? 'FALSE' : sameValues(table, one));
    const shown = table.columns.map((column, index) => `${shownSql(column)} AS c${index}`);
    const sql = `SELECT (${same(before)}) AS is_before, (${same(after)}) AS is_after, ${shown.join(', ')} FROM ${quoteTable(table)} WHERE ${rowCondition(table, image)}${locks ? ' FOR UPDATE' : ''}`;
    const [found] = await this.#connection.run(sql, this.#timeoutMs);
    if (found === undefined) return null;
    const values = table.columns.map(
      ({ name }, index) => [name, found[`c${index}`] === null ? null : textOf(found[`c${index}`])] as const,
    );
    return {
      isBefore: Number(found['is_before']) === 1,
      isAfter: Number(found['is_after']) === 1,
      row: Object.fromEntries(values),
      name: table.key!.map((index) => values[index]![1]).join('\0'),
    };
  }
}

/** What is not logged cannot be compared. */
function gapOf({ kind, table, before, after }: RowChange): string | null {
  if (kind === 'insert') return null;
  const isNeeded = (index: number): boolean =>
    !table.columns[index]!.isGenerated && (kind === 'delete' || after![index] !== undefined);
  const isGap = table.columns.some((_, index) => isNeeded(index) && before![index] === undefined);
  return isGap ? 'what the row was before is not logged (binlog_row_image)' : null;
}

/** A value as text that needs no type of its own. */
function shownSql({ name, type, charset }: ChangedTable['columns'][number]): string {
  const column = quoteName(name);
  switch (type) {
    case 'bit':
      return `CAST(${column} + 0 AS CHAR)`;
    default: {
      const isText =
        charset !== null ||
        !/^(binary|varbinary|.*blob|vector|geom.*|point|.*linestring|.*polygon|multipoint)$/.test(type);
      return isText
        ? `LEFT(CAST(${column} AS CHAR), ${MOST_SHOWN})`
        : `CONCAT(${bytesLiteral(Buffer.from('0x'))}, LEFT(HEX(${column}), ${MOST_SHOWN}))`;
    }
  }
}
