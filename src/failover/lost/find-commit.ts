/**
 * Whether a COMMIT, or a write in autocommit, whose answer was lost is in the binlog of the server that serves now.
 *
 * What a log tells of the session differs (measured):
 *
 * | server asked          | the session's number   | when it was committed first | the statements' texts            |
 * |-----------------------|------------------------|-----------------------------|----------------------------------|
 * | MySQL 5.6             | yes, replicas keep it  | no                          | with binlog_rows_query_log_events |
 * | MySQL 8 and later     | no: the applier's own  | yes, in microseconds        | with binlog_rows_query_log_events |
 * | MariaDB 10.11         | no                     | no                          | yes (binlog_annotate_row_events) |
 *
 * So, of the transactions of that server since a place before the COMMIT:
 * 1. where sessions are told, the session's own is the one;
 * 2. else those that some client was told of, and those from before the COMMIT was sent, are not it; when none is left,
 *    it was not committed;
 * 3. of the others, the one with the mark is it, when its statements had one; none with it: not committed;
 * 4. without a mark those with the same statements may be it: none, and it was not committed; more than there are other
 *    unanswered transactions with these statements, and it was;
 * 5. all else is unknown: better that than a wrong answer, for the client would write twice or not at all.
 */
import { TransactionReader, type RawTransaction } from '../../binlog/transaction-reader.ts';
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
  /** When the COMMIT was sent, by a clock that is less than `skewMs` from the server's. */
  readonly sentAtMs: number;
  readonly skewMs: number;
  /** Some client was told of the transaction with this id. */
  readonly isAcknowledged: (gtid: string) => boolean;
  /** In the text of each statement of this transaction, and in no other's; null: there is none. */
  readonly mark: string | null;
  /** The transaction's writes as they were sent as text; empty when some were not. */
  readonly statements: readonly string[];
  /** Other transactions with the same statements that nobody has an answer for; null: not known. */
  readonly rivals: number | null;
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
  readonly committedAtUs: bigint | null;
  /** Where it is, for people. */
  readonly place: string;
  /** Texts of its statements, as far as they are logged. */
  readonly texts: readonly string[];
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
    const traces = await readTraces(search, source, connection, bounds);
    const tellsSessions = keepsSessions(textOf(row?.['version']));
    return questions.map((question) => answer(search, question, traces, tellsSessions));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return questions.map(() => unknown(`the binlog of ${source.backend.name} was not read: ${why}`));
  }
}

function keepsSessions(version: string): boolean {
  return /^5\.[56]\./.test(version) && !/mariadb/i.test(version);
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
      if (transaction.end === 'cut_off' || isHeld(transaction)) return 'more';
      if (traces.length >= MOST_TRACES) throw new Error(`more than ${MOST_TRACES} transactions to look at`);
      traces.push(traceOf(transaction));
      return 'more';
    };
  });
  return traces;
}

function traceOf(transaction: RawTransaction): Trace {
  const { gtid, threadId, committedAtUs, annotations, ddl, file, position, parts } = transaction;
  const logged = parts.flatMap((part) => (part.kind === 'statement' ? [part.text] : []));
  const texts = [...annotations, ...logged, ...(ddl === null ? [] : [ddl])];
  return { gtid, threadId, committedAtUs, place: gtid ?? `${file}:${position}`, texts };
}

/** The rules, pure. `traces`: all transactions of that server since then, in the order of the log. */
export function answer(
  search: CommitSearch,
  question: CommitQuestion,
  traces: readonly Trace[],
  tellsSessions: boolean,
): CommitAnswer {
  return tellsSessions ? bySession(search, question, traces) : byExclusion(question, traces);
}

function bySession(
  { since }: CommitSearch,
  { threadId, earlier }: CommitQuestion,
  traces: readonly Trace[],
): CommitAnswer {
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
      return unknown(
        `session ${threadId} has ${own.length} transactions since then, and which were answered is not known`,
      );
  }
}

function byExclusion(question: CommitQuestion, traces: readonly Trace[]): CommitAnswer {
  const { mark } = question;
  const candidates = traces.filter((trace) => mayBeIt(question, trace));
  if (candidates.length === 0) {
    return none(
      `each of the ${traces.length} transactions since then was answered, or is older than the COMMIT`,
    );
  }
  const marked =
    mark === null ? undefined : candidates.find(({ texts }) => texts.some((text) => text.includes(mark)));
  if (marked !== undefined) return found(marked, `its statements have the mark ${mark}`);
  const mute = candidates.find(({ texts }) => texts.length === 0);
  if (mute !== undefined) {
    return unknown(
      `transaction ${mute.place} has no statements in the log and may be it (binlog_rows_query_log_events, binlog_annotate_row_events)`,
    );
  }
  if (mark !== null) return none(`none of ${candidates.length} unanswered transactions has the mark ${mark}`);
  return byTexts(question, candidates);
}

function mayBeIt({ sentAtMs, skewMs, isAcknowledged }: CommitQuestion, trace: Trace): boolean {
  if (trace.gtid !== null && isAcknowledged(trace.gtid)) return false;
  return trace.committedAtUs === null || Number(trace.committedAtUs / 1000n) >= sentAtMs - skewMs;
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

/** Of a CALL the statements in it are logged; text that is not ASCII is logged in the session's character set. */
function isLoggedAsSent(text: string): boolean {
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

function unknown(detail: string): CommitAnswer {
  return { outcome: 'unknown', detail, gtid: null };
}
