/**
 * Acts on lost transactions: makes the harmless ones at the new primary, or undoes all of them at the old one.
 * A statement that does not hit exactly one row ends it, and everything since the last COMMIT is taken back.
 *
 * The connections are used for nothing else: their settings are changed, and not changed back.
 */
import { messageOf } from '../../base/message-of.ts';
import { redoChange, SESSION_SETTINGS, undoSql } from '../../binlog/sql.ts';
import type { RowChange, Transaction } from '../../binlog/transaction.ts';
import { textOf, type SqlConnection } from './connection.ts';
import { Judge } from './conflicts.ts';
import type { LostTransactions } from './find.ts';
import { changesOnlyOurs } from './found.ts';

/** What became of one transaction. */
export interface AppendOutcome {
  readonly transaction: Transaction;
  /** own: it is dbproxy's, of which nothing is made again. */
  readonly result: 'appended' | 'already_there' | 'refused' | 'own';
  /** Why it was refused; empty otherwise. */
  readonly why: string;
}

/** read_only in its forms; a privilege that is missing, for the statement, a table, a column. */
const FORBIDDEN: ReadonlySet<number> = new Set([1290, 1836, 1227, 1142, 1143]);

/** It would replicate from the very beginning. */
const NOTHING_IN_COMMON = 'no transaction is known that both servers have';

/** How long an act waits for a row that somebody else has locked. */
const LOCK_WAIT_SECONDS = 5;

/**
 * Makes each transaction again that nothing stands against, in the order of their commits, each in a transaction of
 * its own; one that is refused leaves nothing behind. Rejects when the connection is lost; then what became of the
 * transaction under way is not known, and appending again finds out: what is there already is not made twice.
 */
export async function appendLost(
  transactions: readonly Transaction[],
  newPrimary: SqlConnection,
  timeoutMs: number,
): Promise<AppendOutcome[]> {
  const run = (sql: string): Promise<unknown> => newPrimary.run(sql, timeoutMs);
  for (const setting of SESSION_SETTINGS) await run(setting);
  await run(`SET SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_SECONDS}`);
  const judge = await Judge.of(transactions, newPrimary, timeoutMs);
  const outcomes: AppendOutcome[] = [];
  for (const transaction of transactions) {
    if (changesOnlyOurs(transaction)) {
      outcomes.push({ transaction, result: 'own', why: '' });
      continue;
    }
    if (transaction.redoProblems.length > 0) {
      outcomes.push({ transaction, result: 'refused', why: transaction.redoProblems.join('; ') });
      continue;
    }
    outcomes.push(await appendOne(transaction, judge, newPrimary, timeoutMs));
  }
  return outcomes;
}

async function appendOne(
  transaction: Transaction,
  judge: Judge,
  connection: SqlConnection,
  timeoutMs: number,
): Promise<AppendOutcome> {
  await connection.run('START TRANSACTION', timeoutMs);
  let made = 0;
  try {
    for (const change of transaction.changes) {
      if (await appendChange(change, judge, connection, timeoutMs)) made++;
    }
  } catch (error) {
    // Rejects when the connection is gone; then so is the transaction.
    await connection.run('ROLLBACK', timeoutMs);
    const why = messageOf(error);
    return { transaction, result: 'refused', why };
  }
  await connection.run('COMMIT', timeoutMs);
  return { transaction, result: made === 0 ? 'already_there' : 'appended', why: '' };
}

/** Answers false when the row is as the change would leave it. */
async function appendChange(
  change: RowChange,
  judge: Judge,
  connection: SqlConnection,
  timeoutMs: number,
): Promise<boolean> {
  const verdict = await judge.verdict(change, true);
  switch (verdict.kind) {
    case 'already_there':
      return false;
    case 'harmless':
      await hitOneRow(redoChange(change), connection, timeoutMs);
      return true;
    case 'conflict':
    case 'unknown':
      throw new Error(`${change.kind} in ${change.table.database}.${change.table.table}: ${verdict.why}`);
  }
}

export type UndoOutcome =
  | { readonly kind: 'undone'; readonly changes: number }
  /** Nothing was changed: the server needs a fresh copy of the data, for these reasons. */
  | { readonly kind: 'needs_copy'; readonly why: readonly string[] };

/** Why lost transactions cannot be undone, as far as that is known before it is tried; empty: nothing is known. */
export function undoObstacles({ transactions, further, common }: LostTransactions): string[] {
  const why = [...new Set(transactions.flatMap(({ undoProblems }) => undoProblems))];
  if (further > 0) why.push(`${further} more transactions were too many to decode`);
  const isMariadb = transactions.some(({ gtid }) => gtid?.includes(':') === false);
  if (isMariadb && common.position === '') why.push(NOTHING_IN_COMMON);
  return why;
}

/**
 * Undoes all transactions at the server that has them, the last one first, all in one transaction that goes to no
 * binlog. The server must take writes from the account (super_read_only off), and from nobody else. It still believes
 * that it has them, until `forgetLost`. Rejects when the connection is lost, or when the account may not write there.
 */
export async function undoLost(
  lost: LostTransactions,
  oldPrimary: SqlConnection,
  timeoutMs: number,
): Promise<UndoOutcome> {
  const why = undoObstacles(lost);
  if (why.length > 0) return { kind: 'needs_copy', why };
  await oldPrimary.run('SET SESSION sql_log_bin = 0', timeoutMs);
  // Each row is put back by itself, in the opposite order: what referred to it then was there, too.
  await oldPrimary.run('SET SESSION foreign_key_checks = 0', timeoutMs);
  for (const setting of SESSION_SETTINGS) await oldPrimary.run(setting, timeoutMs);
  await oldPrimary.run(`SET SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_SECONDS}`, timeoutMs);
  await oldPrimary.run('START TRANSACTION', timeoutMs);
  let changes = 0;
  try {
    for (const transaction of lost.transactions.toReversed()) {
      for (const sql of undoSql(transaction)) {
        await hitOneRow(sql, oldPrimary, timeoutMs);
        changes++;
      }
    }
  } catch (error) {
    await oldPrimary.run('ROLLBACK', timeoutMs);
    if (isForbidden(error)) throw error;
    return { kind: 'needs_copy', why: [messageOf(error)] };
  }
  await oldPrimary.run('COMMIT', timeoutMs);
  return { kind: 'undone', changes };
}

/**
 * Makes a server that does not replicate and has been undone forget the ids of what was undone, and with them its
 * whole binlog: it can follow the new primary by global ids then. Its own replicas have to be pointed elsewhere first.
 */
export async function forgetLost(
  { transactions, common }: LostTransactions,
  oldPrimary: SqlConnection,
  timeoutMs: number,
): Promise<void> {
  const run = (sql: string): ReturnType<SqlConnection['run']> => oldPrimary.run(sql, timeoutMs);
  const version = textOf((await run('SELECT VERSION() AS version'))[0]?.['version']);
  if (/mariadb/i.test(version)) {
    if (common.position === '') throw new Error(NOTHING_IN_COMMON);
    await run('RESET MASTER');
    // Without it the server would not know, should it be the primary again, that it has what others wrote.
    await run(`SET GLOBAL gtid_binlog_state = '${common.history}'`);
    await run(`SET GLOBAL gtid_slave_pos = '${common.position}'`);
    return;
  }
  const lost = transactions.flatMap(({ gtid }) => gtid ?? []).join(',');
  const [row] = await run(`SELECT GTID_SUBTRACT(@@global.gtid_executed, '${lost}') AS kept`);
  await run(
    Number.parseInt(version, 10) >= 9 || /^8\.[2-9]/.test(version)
      ? 'RESET BINARY LOGS AND GTIDS'
      : 'RESET MASTER',
  );
  await run(`SET GLOBAL gtid_purged = '${textOf(row?.['kept']).replaceAll('\n', '')}'`);
}

/** It says nothing of the rows: the server takes no writes from the account. */
function isForbidden(error: unknown): boolean {
  const errno = error instanceof Error && 'errno' in error ? Number(error.errno) : 0;
  return FORBIDDEN.has(errno);
}

async function hitOneRow(sql: string, connection: SqlConnection, timeoutMs: number): Promise<void> {
  await connection.run(sql, timeoutMs);
  const [row] = await connection.run('SELECT ROW_COUNT() AS hit', timeoutMs);
  const hit = Number(row?.['hit']);
  if (hit !== 1) throw new Error(`${hit} rows hit, where it must be one, by ${beginningOf(sql)}`);
}

function beginningOf(sql: string): string {
  return sql.length <= 200 ? sql : `${sql.slice(0, 200)}…`;
}
