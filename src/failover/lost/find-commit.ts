/**
 * Whether a COMMIT, or a write in autocommit, whose answer was lost is in the binlog of the server that serves now.
 *
 * What a log tells of the session differs (measured):
 *
 * | server asked      | the session's number                    | savepoints | the statements' texts             |
 * |-------------------|-----------------------------------------|------------|-----------------------------------|
 * | MySQL 5.6         | yes, replicas keep it                   | yes        | with binlog_rows_query_log_events |
 * | MySQL 9.7         | no: the applier's own, or that of a DDL | yes        | with binlog_rows_query_log_events |
 * | MariaDB 10.11     | no (from 11.5 on with the global id)    | yes        | yes (binlog_annotate_row_events)  |
 *
 * MySQL 8 and later tell when a transaction was committed first, to the microsecond. That is not used: it is by the
 * clock of a server that is dead.
 * So, of the transactions of that server since a place before the COMMIT:
 * 1. the one with the savepoint is it, when a savepoint was sent before the COMMIT; none with it: not committed;
 * 2. where sessions are told, the session's own is the one, or those of other sessions are not it;
 * 3. those that some client was told of, and those from before the COMMIT was sent, are not it; when none is left,
 *    it was not committed;
 * 4. of the others, the one with the comment is it, when its statement had one; none with it: not committed;
 * 5. without a mark those with the same statements may be it: none, and it was not committed; more than there are other
 *    unanswered transactions with these statements, and it was;
 * 6. all else is unknown: better that than a wrong answer, for the client would write twice or not at all.
 */
import { messageOf } from '../../base/message-of.ts';
import type { CommitMark } from '../../ipc/messages.ts';
import { TransactionReader, type RawTransaction } from '../../binlog/transaction-reader.ts';
import { comparePlaces } from '../place.ts';
import { textOf, type SqlConnection } from './connection.ts';
import { readBinlog, type BinlogSource, type DumpBounds } from './dump.ts';
import { holder, startOf, type Held } from './held.ts';

/** The session's last transaction that was acknowledged: by its id; or there was none; or nobody has kept it. */
export type EarlierCommit =
  { readonly kind: 'gtid'; readonly gtid: string } | { readonly kind: 'none' } | { readonly kind: 'unknown' };

/** Where all questions of one failover are looked for. */
export interface CommitSearch {
  /** `server_id` of the server that the COMMITs were sent to. */
  readonly serverId: number;
  /**
   * What the server that is asked had at some moment before the transactions began; all after it is looked at. A place
   * in its own binlog is the quickest to find: else a file is read from its beginning.
   */
  readonly since: Held;
}

export interface CommitQuestion {
  /** The session's number at the server that the COMMIT was sent to. */
  readonly threadId: number;
  readonly earlier: EarlierCommit;
  /** The transaction with this id was there before the COMMIT was sent, or some client was told of it. */
  readonly isAnother: (gtid: string) => boolean;
  /** What is logged with this transaction and with no other; null: nothing. */
  readonly mark: CommitMark | null;
  /** The transaction's writes as they were sent as text; empty when some were not. */
  readonly statements: readonly string[];
  /** Other transactions with the same statements that nobody has an answer for; null: not known. */
  readonly rivals: number | null;
  /** What the server that is asked had before this transaction began; absent: as the search. */
  readonly since?: Held;
}

export interface CommitAnswer {
  readonly outcome: 'committed' | 'not_committed' | 'unknown';
  /** Why, for people. */
  readonly detail: string;
  readonly gtid: string | null;
}

/** What is kept of a transaction of that server while the log is read. */
export interface Trace {
  readonly gtid: string | null;
  readonly threadId: number | null;
  /** Where it is, for people. */
  readonly place: string;
  /** Where it begins in the log that was read. */
  readonly file: string;
  readonly position: number;
  /** Texts of its statements, as far as they are logged. */
  readonly texts: readonly string[];
  readonly savepoints: readonly string[];
}

/** What the server that is asked can tell of transactions. */
export interface CommitLog {
  /** The number of the session that each has run in. */
  readonly tellsSessions: boolean;
  /** All engines that have transactions have savepoints: one that was sent before a COMMIT has not failed. */
  readonly hasSavepoints: boolean;
}

/** So many transactions of one server are looked at; more than that is no answer. */
const MOST_TRACES = 200_000;
/** Of larger transactions nothing but the head is kept. */
const MOST_BYTES = 16 * 1024 * 1024;

/**
 * Reads the binlog of the server that serves now, which must have applied all that it has received, once for all
 * questions; answers in their order. Never rejects: what cannot be read is `unknown`.
 */
export async function findCommits(
  search: CommitSearch,
  questions: readonly CommitQuestion[],
  source: BinlogSource,
  connection: SqlConnection,
  bounds: DumpBounds,
): Promise<CommitAnswer[]> {
  try {
    const [row] = await connection.run('SELECT VERSION() AS version', bounds.timeoutMs);
    await demandWholeLog(search, connection, bounds);
    const engines = await connection.run('SHOW ENGINES', bounds.timeoutMs);
    const traces = await readTraces(search, source, connection, bounds);
    const log = {
      tellsSessions: keepsSessions(textOf(row?.['version'])),
      hasSavepoints: !engines.some(isWithoutSavepoints),
    };
    return questions.map((question) => answer(search, question, tracesFor(question, traces), log));
  } catch (error) {
    const why = messageOf(error);
    return questions.map(() => unknown(`the binlog of ${source.backend.name} was not read: ${why}`));
  }
}

/** Rejects when the server does not log what it has applied as a replica: its log then lacks the transaction in any case. */
async function demandWholeLog(
  { serverId }: CommitSearch,
  connection: SqlConnection,
  { timeoutMs }: DumpBounds,
): Promise<void> {
  const names = "'server_id', 'log_slave_updates', 'log_replica_updates'";
  const rows = await connection.run(`SHOW GLOBAL VARIABLES WHERE variable_name IN (${names})`, timeoutMs);
  const values = new Map(
    rows.map((row) => [textOf(row['Variable_name']).toLowerCase(), textOf(row['Value'])]),
  );
  if (Number(values.get('server_id')) === serverId) return;
  const logsApplied = values.get('log_replica_updates') ?? values.get('log_slave_updates') ?? '';
  if (!/^(?:ON|1)$/i.test(logsApplied))
    throw new Error('it does not log what it applies (log_slave_updates)');
}

function keepsSessions(version: string): boolean {
  return /^5\.[56]\./.test(version) && !/mariadb/i.test(version);
}

function isWithoutSavepoints(engine: Readonly<Record<string, unknown>>): boolean {
  const is = (name: string): boolean => textOf(engine[name]).toUpperCase() === 'YES';
  return textOf(engine['Support']).toUpperCase() !== 'NO' && is('Transactions') && !is('Savepoints');
}

async function readTraces(
  { serverId, since }: CommitSearch,
  source: BinlogSource,
  connection: SqlConnection,
  bounds: DumpBounds,
): Promise<Trace[]> {
  const endMs = bounds.clock.nowMs() + bounds.timeoutMs;
  const start = await startOf(since, source, connection, bounds);
  const isHeld = holder(since);
  const traces: Trace[] = [];
  const timeoutMs = Math.max(1, endMs - bounds.clock.nowMs());
  await readBinlog(source, start, { ...bounds, timeoutMs }, ({ hasChecksums }) => {
    const file = start.kind === 'at' ? start.file : '';
    const reader = new TransactionReader({ hasChecksums, file, mostBytes: MOST_BYTES });
    return (event) => {
      const { transaction, ends } = reader.push(event);
      if (!ends || transaction === null || transaction.serverId !== serverId) return 'more';
      // One that is logged with a ROLLBACK, for what that does not undo, was not committed.
      const isOver = transaction.end !== 'cut_off' && transaction.end !== 'rolled_back';
      if (!isOver || isHeld(transaction)) return 'more';
      if (traces.length >= MOST_TRACES) throw new Error(`more than ${MOST_TRACES} transactions to look at`);
      traces.push(traceOf(transaction));
      return 'more';
    };
  });
  return traces;
}

/** The search may begin before what one question is about: another one's session may have had the same number, too. */
export function tracesFor({ since }: CommitQuestion, traces: readonly Trace[]): readonly Trace[] {
  if (since === undefined) return traces;
  if (since.kind === 'position') return traces.filter((trace) => isAtOrAfter(trace, since));
  const isHeld = holder(since);
  return traces.filter((trace) => !isHeld(trace));
}

function isAtOrAfter({ file, position }: Trace, since: Held & { kind: 'position' }): boolean {
  const order = comparePlaces({ server: '', file, position }, { server: '', ...since });
  return order === null || order >= 0;
}

function traceOf(transaction: RawTransaction): Trace {
  const { gtid, threadId, annotations, savepoints, ddl, file, position, parts } = transaction;
  const logged = parts.flatMap((part) => (part.kind === 'statement' ? [part.sent] : []));
  const texts = [...annotations, ...logged, ...(ddl === null ? [] : [ddl])];
  return { gtid, threadId, place: gtid ?? `${file}:${position}`, file, position, texts, savepoints };
}

/** The rules, pure. `traces`: all transactions of that server since then, in the order of the log. */
export function answer(
  search: CommitSearch,
  question: CommitQuestion,
  traces: readonly Trace[],
  { tellsSessions, hasSavepoints }: CommitLog,
): CommitAnswer {
  const { mark } = question;
  if (mark?.kind === 'savepoint') {
    const marked = traces.find(({ savepoints }) => savepoints.includes(mark.name));
    if (marked !== undefined) return found(marked, `it has the savepoint ${mark.name}`);
    if (hasSavepoints)
      return none(`none of the ${traces.length} transactions since then has the savepoint ${mark.name}`);
  }
  return tellsSessions ? bySession(search, question, traces) : byExclusion(question, traces);
}

function bySession(search: CommitSearch, question: CommitQuestion, traces: readonly Trace[]): CommitAnswer {
  const { threadId, earlier, since = search.since } = question;
  const own = traces.filter((trace) => trace.threadId === threadId);
  const [first] = own;
  if (first === undefined) {
    return none(`session ${threadId} has none of the ${traces.length} transactions since then`);
  }
  switch (earlier.kind) {
    case 'none':
      return found(first, `it is the first of session ${threadId}`);
    case 'gtid': {
      const last = own.findIndex(({ gtid }) => gtid === earlier.gtid);
      // What a session does comes in its order.
      if (last < 0 && !holder(since)(earlier)) return none(`even ${earlier.gtid} before it is missing`);
      const next = own[last + 1];
      return next === undefined
        ? none(`session ${threadId} has no transaction after ${earlier.gtid}`)
        : found(next, `it is the first of session ${threadId} after ${earlier.gtid}`);
    }
    case 'unknown':
      return byExclusion(question, own);
  }
}

function byExclusion(question: CommitQuestion, traces: readonly Trace[]): CommitAnswer {
  const { mark } = question;
  const candidates = traces.filter(({ gtid }) => gtid === null || !question.isAnother(gtid));
  if (candidates.length === 0) {
    return none(
      `each of the ${traces.length} transactions since then was answered, or is older than the COMMIT`,
    );
  }
  const comment = mark?.kind === 'comment' ? mark.name : null;
  const marked =
    comment === null
      ? undefined
      : candidates.find(({ texts }) => texts.some((text) => text.includes(`/*${comment}*/`)));
  if (marked !== undefined) return found(marked, `its statement has the comment ${comment}`);
  const mute = candidates.find(({ texts }) => texts.length === 0);
  if (mute !== undefined) {
    return unknown(
      `transaction ${mute.place} has no statements in the log and may be it (binlog_rows_query_log_events, binlog_annotate_row_events)`,
    );
  }
  if (comment !== null)
    return none(`none of ${candidates.length} unanswered transactions has the comment ${comment}`);
  return byTexts(question, candidates);
}

function byTexts({ statements, rivals }: CommitQuestion, candidates: readonly Trace[]): CommitAnswer {
  if (statements.length === 0 || !statements.every(isLoggedAsSent)) {
    return unknown(
      `${candidates.length} unanswered transactions may be it: not all of its statements are logged as sent`,
    );
  }
  const wanted = statements.map(bare);
  const alike = candidates.filter(({ texts }) => isWithin(texts.map(bare), wanted));
  const [first] = alike;
  if (first === undefined)
    return none(`none of ${candidates.length} unanswered transactions has its statements`);
  if (rivals !== null && alike.length > rivals) {
    return found(
      first,
      `${alike.length} transactions have its statements, and ${rivals} others were unanswered`,
    );
  }
  return unknown(`transaction ${first.place} has its statements, and may be another session's`);
}

/**
 * Of a CALL the statements in it are logged, and those of one packet each by itself; text that is not ASCII is logged in
 * the session's character set; in an executable comment that is not for them servers write over the mark of such.
 */
function isLoggedAsSent(text: string): boolean {
  if (bare(text).includes(';') || /\/\*M?!/i.test(text)) return false;
  return /^\s*(?:\/\*.*?\*\/\s*)*(?:insert|update|delete|replace)\b[\x09-\x7e]*$/is.test(text);
}

/** Statements that changed nothing are not logged: what is there must come in the same order. */
function isWithin(texts: readonly string[], wanted: readonly string[]): boolean {
  let next = 0;
  return texts.every((text) => {
    const place = wanted.indexOf(text, next);
    next = place + 1;
    return place >= 0;
  });
}

/** Without what servers take away at the ends. */
function bare(text: string): string {
  return text.trim().replace(/;+$/, '').trim();
}

function found({ gtid, place }: Trace, why: string): CommitAnswer {
  return { outcome: 'committed', detail: `${place}: ${why}`, gtid };
}

function none(detail: string): CommitAnswer {
  return { outcome: 'not_committed', detail, gtid: null };
}

/** Nobody can tell, and why. */
export function unknown(detail: string): CommitAnswer {
  return { outcome: 'unknown', detail, gtid: null };
}
