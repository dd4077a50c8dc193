/**
 * Lost transactions as rows for people: one a change, with its key, its values, and whether it is in conflict with
 * what is at the new primary now. Kept as a file beside the others, so that a restart does not forget them.
 */
import { laterImage, keyOf, valuesOf, type RowChange, type Transaction } from '../../binlog/transaction.ts';
import type { TransactionVerdict, Verdict } from './conflicts.ts';
import { isOurs } from './found.ts';

/** A row of SHOW LOST TRANSACTIONS. */
export interface LostRow {
  readonly backend: string;
  readonly epoch: number;
  /** The global id, or the place in the binlog where there is none. */
  readonly gtid: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly table: string;
  readonly kind: 'insert' | 'update' | 'delete' | 'ddl' | 'unreadable';
  readonly key: string;
  readonly old: string | null;
  readonly new: string | null;
  /** harmless, already there, conflict: …, or why nobody can tell. */
  readonly conflict: string;
  /** Of the SQL that makes them again; the one that undoes them lies beside it. */
  readonly file: string;
}

/** Where the rows belong to. */
export interface LostPlace {
  readonly backend: string;
  readonly epoch: number;
  readonly file: string;
}

/** More is in the files only. */
const MOST_ROWS = 1_000;
const MOST_VALUE_CHARACTERS = 200;

/** The rows of transactions, in the order of their commits, up to a bound; nobody misses dbproxy's own. */
export function lostRows(
  place: LostPlace,
  transactions: readonly Transaction[],
  verdicts: readonly TransactionVerdict[],
): LostRow[] {
  const rows: LostRow[] = [];
  for (const [index, transaction] of transactions.entries()) {
    if (rows.length >= MOST_ROWS) break;
    if (isOurs(transaction)) continue;
    rows.push(...rowsOf(place, transaction, verdicts[index] ?? []));
  }
  return rows.slice(0, MOST_ROWS);
}

function rowsOf(place: LostPlace, transaction: Transaction, verdicts: TransactionVerdict): LostRow[] {
  const head = {
    backend: place.backend,
    epoch: place.epoch,
    gtid: nameOf(transaction),
    at: new Date(transaction.atMs).toISOString(),
    file: place.file,
  };
  const changes = transaction.changes.map((change, index) => ({
    ...head,
    table: `${change.table.database}.${change.table.table}`,
    kind: change.kind,
    key: shown(keyOf(change)) ?? '(no key)',
    old: shown(valuesOf(change.table, change.before)),
    new: shown(valuesOf(change.table, newImage(change))),
    conflict: verdictText(verdicts[index], transaction.redoProblems),
  }));
  const isWhole = transaction.problems.length === 0 && transaction.ddl === null;
  if (isWhole) return changes;
  const kind = transaction.ddl === null ? ('unreadable' as const) : ('ddl' as const);
  const text = transaction.ddl ?? transaction.statements.join('; ');
  const conflict = kind === 'ddl' ? 'it is DDL: apply it by hand' : transaction.problems.join('; ');
  const further = { ...head, table: '', kind, key: '', old: null, new: cut(text), conflict };
  return [...changes, further];
}

/** The global id; without one, the place where it begins. */
export function nameOf({ gtid, file, position }: Transaction): string {
  return gtid ?? `${file}:${position}`;
}

function newImage(change: RowChange): RowChange['after'] {
  return change.kind === 'update' ? laterImage(change) : change.after;
}

/** A verdict in words. */
export function verdictText(verdict: Verdict | undefined, redoProblems: readonly string[]): string {
  if (redoProblems.length > 0) return `cannot be appended: ${redoProblems.join('; ')}`;
  switch (verdict?.kind) {
    case undefined:
      return 'not compared';
    case 'harmless':
      return 'harmless';
    case 'already_there':
      return 'already there';
    case 'conflict':
      return `conflict: ${verdict.why}${verdict.current === null ? '' : `, now ${shown(verdict.current)}`}`;
    case 'unknown':
      return `cannot tell: ${verdict.why}`;
  }
}

function shown(values: Readonly<Record<string, string | null>> | null): string | null {
  if (values === null) return null;
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value === null ? 'NULL' : cut(value)}`)
    .join(', ');
}

function cut(text: string): string {
  return text.length <= MOST_VALUE_CHARACTERS ? text : `${text.slice(0, MOST_VALUE_CHARACTERS)}…`;
}
