/**
 * Lost transactions on disk, under `lost/` of the state directory, before anything is done about them. Files of one name, `<backend>-<epoch>-<number>`:
 *
 *   .binlog    all of them, as they came, in the form of a binlog: mysqlbinlog and mariadb-binlog read it
 *   .sql       makes them again; what cannot be made by statements stands there as a comment, with the reason
 *   .undo.sql  undoes them, the last one first
 *   .json      what SHOW LOST TRANSACTIONS tells
 *   .undone    REJOIN has undone them there since: they are told no more
 *
 * A name is used once: whoever creates the .binlog has it. What is found again byte by byte has its files already, and
 * gets no others: they tell it as it is seen now. Files are on the disk when these functions return.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { redoSql, SESSION_SETTINGS, undoSql } from '../../binlog/sql.ts';
import type { Transaction } from '../../binlog/transaction.ts';
import type { TransactionVerdict } from './conflicts.ts';
import type { LostTransactions } from './find.ts';
import { changesOnlyOurs, MAY_BE_THERE_TWICE } from './found.ts';
import { lostRows, nameOf, verdictText, type LostRow } from './report.ts';

const CHUNK_BYTES = 65_536;

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
  save(
    lost: LostTransactions,
    verdicts: readonly TransactionVerdict[],
  ): { readonly rows: LostRow[]; readonly file: string } {
    fsyncSync(this.#binlog);
    closeSync(this.#binlog);
    const same = this.#whoHasTheSame();
    const { backend } = this;
    const { base, epoch } = same ?? this;
    const file = `${base}.sql`;
    const rows = lostRows({ backend, epoch, file }, lost.transactions, verdicts);
    if (same !== null) unlinkSync(`${this.base}.binlog`);
    // A table may be seen now that was not; one that is gone since was told of then.
    if (same === null || unreadable(rows) <= unreadable(readRows(base))) {
      writeWhole(`${base}.undo.sql`, undoFile({ backend, epoch }, lost));
      writeWhole(`${base}.json`, [JSON.stringify(rows, null, 1)]);
      writeWhole(`${base}.sql`, redoFile({ backend, epoch }, lost, verdicts));
      syncFolder(dirname(base));
    }
    return { rows, file };
  }

  /** An earlier find of the same transactions of this server that has all its files; null: none. */
  #whoHasTheSame(): { base: string; epoch: number } | null {
    const folder = dirname(this.base);
    const own = `${this.base}.binlog`;
    const { size } = statSync(own);
    for (const { backend, epoch, base } of finds(folder)) {
      const other = join(folder, base);
      if (backend !== this.backend || other === this.base || !existsSync(`${other}.sql`)) continue;
      const binlog = `${other}.binlog`;
      if (statSync(binlog, { throwIfNoEntry: false })?.size !== size) continue;
      if (digestOf(binlog) === digestOf(own)) return { base: other, epoch };
    }
    return null;
  }

  /** Nothing was found, or it could not be read: the .binlog stays as far as it came. */
  abandon(): void {
    closeSync(this.#binlog);
  }
}

/**
 * What was found before, by all runs of dbproxy: the rows of all files that are there, in the order of their epochs. Of a
 * transaction that was found more than once the last find tells.
 */
export function readLostRows(stateDir: string): LostRow[] {
  const folder = lostFolder(stateDir);
  const last = new Map<string, LostRow[]>();
  for (const { base } of finds(folder)) {
    const rows = readRows(join(folder, base));
    for (const [transaction, changes] of Map.groupBy(rows, nameTransaction)) {
      last.delete(transaction);
      last.set(transaction, changes);
    }
  }
  return [...last.values()].flat();
}

/** What was found at a server has been undone there: it is told no more, and its files stay. */
export function noteUndone(stateDir: string, backend: string): void {
  const folder = lostFolder(stateDir);
  for (const { base, backend: owner } of finds(folder)) {
    if (owner === backend) writeWhole(join(folder, `${base}.undone`), [`undone at ${backend} by REJOIN`]);
  }
  if (existsSync(folder)) syncFolder(folder);
}

/** Numbers are given again after a failover, but hardly at the same moment. */
function nameTransaction({ backend, gtid, at }: LostRow): string {
  return `${backend} ${gtid} ${at}`;
}

/** The finds that are complete and not undone, in the order in which they were made. */
function finds(folder: string): { backend: string; epoch: number; base: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const undone = new Set(names.filter((name) => name.endsWith('.undone')));
  const found = names.flatMap((name) => {
    const match = /^((.*)-(\d+)-(\d+))\.json$/.exec(name);
    if (match === null) return [];
    const [, base, backend, epoch, number] = match;
    if (undone.has(`${base}.undone`)) return [];
    return [{ base: base!, backend: backend!, epoch: Number(epoch), number: Number(number) }];
  });
  return found.sort(
    (one, other) =>
      one.epoch - other.epoch || one.backend.localeCompare(other.backend) || one.number - other.number,
  );
}

function readRows(base: string): LostRow[] {
  return JSON.parse(readFileSync(`${base}.json`, 'utf8')) as LostRow[];
}

function unreadable(rows: readonly LostRow[]): number {
  return rows.filter(({ kind }) => kind === 'unreadable').length;
}

function digestOf(path: string): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
      hash.update(chunk.subarray(0, read));
    }
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}

function lostFolder(stateDir: string): string {
  return join(stateDir, 'lost');
}

function* redoFile(
  { backend, epoch }: Pick<LostFiles, 'backend' | 'epoch'>,
  { transactions, further }: LostTransactions,
  verdicts: readonly TransactionVerdict[],
): Generator<string> {
  yield comment(
    `Transactions that ${backend} had and nobody else, found in epoch ${epoch}: to make them again.`,
  );
  yield comment(`LOOK FIRST whether they have been run again: ${MAY_BE_THERE_TWICE}.`);
  yield* settings([]);
  for (const [index, transaction] of transactions.entries()) {
    yield* headOf(transaction);
    if (changesOnlyOurs(transaction)) {
      yield* bodyOf(redoSql(transaction), ["it is dbproxy's own"], 'made again');
      continue;
    }
    for (const [place, change] of transaction.changes.entries()) {
      const verdict = verdictText(verdicts[index]?.[place], []);
      yield comment(`${change.kind} in ${change.table.database}.${change.table.table}: ${verdict}`);
    }
    yield* bodyOf(redoSql(transaction), transaction.redoProblems, 'made again by statements');
  }
  yield* tail(further);
}

function* undoFile(
  { backend, epoch }: Pick<LostFiles, 'backend' | 'epoch'>,
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
  const { threadId, file, position, statements, savepoints, ddl } = transaction;
  yield '';
  const thread = threadId === null ? '' : `, session ${threadId}`;
  const at = new Date(transaction.atMs).toISOString();
  yield comment(`Transaction ${nameOf(transaction)} of ${at}${thread}, at ${file}:${position}`);
  for (const statement of statements) yield comment(`  ${statement}`);
  for (const name of savepoints) yield comment(`  SAVEPOINT ${name}`);
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

/** The file is there whole, or as it was. */
function writeWhole(path: string, lines: Iterable<string>): void {
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    for (const line of lines) writeSync(file, `${line}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
