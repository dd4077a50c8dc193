/**
 * Lost transactions on disk, under `lost/` of the state directory, before anything is done about them. Four files of
 * one name, `<backend>-<epoch>-<number>`:
 *
 *   .binlog    all of them, as they came, in the form of a binlog: mysqlbinlog and mariadb-binlog read it
 *   .sql       makes them again; what cannot be made by statements stands there as a comment, with the reason
 *   .undo.sql  undoes them, the last one first
 *   .json      what SHOW LOST TRANSACTIONS tells
 *
 * A name is used once: whoever creates the .binlog has it. Files are on the disk when these functions return.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { redoSql, SESSION_SETTINGS, undoSql } from '../../binlog/sql.ts';
import type { Transaction } from '../../binlog/transaction.ts';
import type { TransactionVerdict } from './conflicts.ts';
import type { LostTransactions } from './find.ts';
import { lostRows, nameOf, verdictText, type LostRow } from './report.ts';

/** The files of one find. */
export class LostFiles {
  readonly backend: string;
  readonly epoch: number;
  /** Without ending. */
  readonly base: string;
  readonly #binlog: number;

  private constructor(backend: string, epoch: number, base: string, binlog: number) {
    this.backend = backend;
    this.epoch = epoch;
    this.base = base;
    this.#binlog = binlog;
  }

  /** Takes the next free name. Throws when the folder cannot be written to. */
  static create(stateDir: string, backend: string, epoch: number): LostFiles {
    const folder = lostFolder(stateDir);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (let number = 1; ; number++) {
      const base = join(folder, `${backend}-${epoch}-${number}`);
      try {
        return new LostFiles(backend, epoch, base, openSync(`${base}.binlog`, 'wx', 0o600));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  }

  /** The file of the SQL that makes them again. */
  get file(): string {
    return `${this.base}.sql`;
  }

  /** Adds bytes to the .binlog: the `onRaw` of a find. */
  writeRaw(bytes: Buffer): void {
    for (let written = 0; written < bytes.length;) {
      written += writeSync(this.#binlog, bytes, written);
    }
  }

  /** Writes the other files and closes; answers the rows of SHOW LOST TRANSACTIONS. Must be called once. */
  save(lost: LostTransactions, verdicts: readonly TransactionVerdict[]): LostRow[] {
    fsyncSync(this.#binlog);
    closeSync(this.#binlog);
    const rows = lostRows(this, lost.transactions, verdicts);
    writeNew(`${this.base}.undo.sql`, undoFile(this, lost));
    writeNew(`${this.base}.json`, [JSON.stringify(rows, null, 1)]);
    writeNew(this.file, redoFile(this, lost, verdicts));
    syncFolder(join(this.base, '..'));
    return rows;
  }

  /** Nothing was found, or it could not be read: the .binlog stays as far as it came. */
  abandon(): void {
    closeSync(this.#binlog);
  }
}

/** What was found before, by all runs of dbproxy: the rows of all files that are there. */
export function readLostRows(stateDir: string): LostRow[] {
  const folder = lostFolder(stateDir);
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .filter((name) => name.endsWith('.json'))
    .sort()
    .flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as LostRow[]);
}

function lostFolder(stateDir: string): string {
  return join(stateDir, 'lost');
}

function* redoFile(
  { backend, epoch }: LostFiles,
  { transactions, further }: LostTransactions,
  verdicts: readonly TransactionVerdict[],
): Generator<string> {
  yield comment(
    `Transactions that ${backend} had and nobody else, found in epoch ${epoch}: to make them again.`,
  );
  yield* settings([]);
  for (const [index, transaction] of transactions.entries()) {
    yield* headOf(transaction);
    for (const [place, change] of transaction.changes.entries()) {
      const verdict = verdictText(verdicts[index]?.[place], []);
      yield comment(`${change.kind} in ${change.table.database}.${change.table.table}: ${verdict}`);
    }
    yield* bodyOf(redoSql(transaction), transaction.redoProblems, 'made again by statements');
  }
  yield* tail(further);
}

function* undoFile(
  { backend, epoch }: LostFiles,
  { transactions, further }: LostTransactions,
): Generator<string> {
  yield comment(`Undoes at ${backend} the transactions that nobody else has, found in epoch ${epoch}.`);
  if (further > 0) yield comment('It does NOT undo all of them: see the end.');
  yield* settings(['SET SESSION sql_log_bin = 0', 'SET SESSION foreign_key_checks = 0']);
  for (const transaction of transactions.toReversed()) {
    yield* headOf(transaction);
    yield* bodyOf(undoSql(transaction), transaction.undoProblems, 'undone by statements');
  }
  yield* tail(further);
}

function* settings(further: readonly string[]): Generator<string> {
  for (const setting of [...SESSION_SETTINGS, ...further]) yield `${setting};`;
}

function* headOf(transaction: Transaction): Generator<string> {
  const { threadId, file, position, statements, ddl } = transaction;
  yield '';
  const thread = threadId === null ? '' : `, session ${threadId}`;
  const at = new Date(transaction.atMs).toISOString();
  yield comment(`Transaction ${nameOf(transaction)} of ${at}${thread}, at ${file}:${position}`);
  for (const statement of statements) yield comment(`  ${statement}`);
  if (ddl !== null) yield comment(`  ${ddl}`);
}

/** What must not be run stands there to be read. */
function* bodyOf(sql: readonly string[], problems: readonly string[], what: string): Generator<string> {
  for (const problem of problems) yield comment(`NOT to be ${what}: ${problem}`);
  if (problems.length > 0) yield* sql.map((statement) => comment(`${statement};`));
  else if (sql.length > 0) yield* ['START TRANSACTION;', ...sql.map((one) => `${one};`), 'COMMIT;'];
}

function* tail(further: number): Generator<string> {
  if (further > 0) {
    yield '';
    yield comment(
      `${further} more transactions were too many to decode: they are in the .binlog file beside this.`,
    );
  }
}

function comment(text: string): string {
  return text
    .split(/[\r\n]+/)
    .map((line) => `-- ${line}`)
    .join('\n');
}

function writeNew(path: string, lines: Iterable<string>): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    for (const line of lines) writeSync(file, `${line}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
