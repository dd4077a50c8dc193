/**
 * What becomes of a session when the connection it has is lost, or is taken away from it because another server
 * becomes the primary: a pure decision. The rule behind all of it: what may be anywhere else just the same goes on
 * unnoticed, and whatever is in doubt is said once and never run twice.
 *
 *   1. State that cannot be made anew elsewhere (a temporary table, a lock) is lost: the session ends with an error
 *      that names it, because an application must not go on believing that it has its lock. What may have come of the
 *      command under way is said with it.
 *   2. A command that has not reached the server whole ends the session, for its rest is still to come. It was not run.
 *   3. In a transaction all of it is lost, and the client hears so once: now, or with its next statement.
 *      a) Whether a COMMIT has taken effect, somebody has to find out.
 *      b) A plain ROLLBACK is what has happened. One that begins the next transaction, or ends the session, is not: that
 *         has not happened.
 *      c) What commits by itself what was open, or does what no ROLLBACK undoes, may have done so: not known. So is what
 *         was under way when the transaction may have been over before it.
 *   4. Outside of one nothing is lost when no command is under way. What changes nothing is run again. With autocommit a
 *      single write may have taken effect, which somebody has to find out; without, it has begun a transaction, and
 *      that is lost. All else is not known.
 */
import { Leave, Need, type StatementClass } from '../sql/statement.ts';
import type { Pin } from './session-record.ts';

/** What was lost, and in the midst of what. */
export interface Loss {
  readonly pins: ReadonlyMap<Pin, number>;
  readonly autocommit: boolean;
  /** An error may have ended the transaction, so that a write of now commits by itself. */
  readonly mayBeOver: boolean;
  /** Of the command under way: none, a part of it was sent, or all. */
  readonly sent: 'nothing' | 'part' | 'whole';
  /** What it is; it counts only where something was sent. */
  readonly statement: { readonly class: StatementClass; readonly needs: number; readonly leaves: number };
  /** It can be sent again, and nothing comes of it when it runs twice. */
  readonly mayGoAgain: boolean;
  /** It is a ROLLBACK of the whole transaction, which may begin the next one or end the session besides. */
  readonly isRollback: boolean;
  /** A plain COMMIT or ROLLBACK does more than that (completion_type). */
  readonly endsOtherwise: boolean;
  /** It is run several times, each by itself: COM_STMT_BULK_EXECUTE. */
  readonly isBulk: boolean;
}

export type LossVerdict =
  /** The session does not notice. */
  | { readonly kind: 'unnoticed' }
  | { readonly kind: 'again' }
  /** The next statement is told that the transaction is gone. */
  | { readonly kind: 'tell_next' }
  /** The command is answered with an error, and the session goes on. */
  | { readonly kind: 'rolled_back' }
  | { readonly kind: 'unknown' }
  /** Whether it has been committed is to be found out. `autocommit`: it was one statement alone. */
  | { readonly kind: 'resolve'; readonly autocommit: boolean }
  /**
   * The session ends; `lost` says what it had, null when it was only in the middle of a command. `underWay`: what is to be
   * said of the command under way; null where there was none, or nothing comes of it.
   */
  | { readonly kind: 'end'; readonly lost: string | null; readonly underWay: 'not_run' | 'unknown' | null };

/** Pins that the session survives, because what they stand for is told, or can be said again. */
const SURVIVABLE: ReadonlySet<Pin> = new Set<Pin>([
  'transaction',
  'error',
  'next_transaction',
  'cursor',
  'long_data',
]);

/** What is said of each other pin. */
const LOST_WORDS: Readonly<Partial<Record<Pin, string>>> = {
  xa: 'an XA transaction',
  temporary_table: 'a temporary table',
  user_lock: 'a user lock (GET_LOCK)',
  table_lock: 'locked tables',
  handler: 'an open HANDLER',
  named_statement: 'a statement prepared by PREPARE',
  user_variable: 'a user variable whose value is not known',
  settings: 'a setting that cannot be repeated',
  unread: 'settings that had not been read back',
  connection_id: 'a connection whose number the client has asked for',
  anything: 'what a routine or a function may have left there',
  unseen: 'what a statement too large to be looked at may have left there',
  set_option: 'an option set by COM_SET_OPTION',
  replication: 'a replica that follows',
};

/** What such a statement has done may be there for good, whatever transaction it was in. */
const MAY_COMMIT_NEEDS = Need.SEVERAL | Need.UNKNOWN_STATEMENT | Need.AMBIGUOUS;
const MAY_COMMIT_LEAVES =
  Leave.IMPLICIT_COMMIT |
  Leave.LASTING |
  Leave.ANYTHING |
  Leave.TRANSACTION |
  Leave.TRANSACTION_ENDED |
  Leave.XA_ENDED |
  Leave.TABLE_LOCK;

/** Besides rows, a single write may leave this: its client is told that the answer is lost, and with it such values. */
const LOST_WITH_ANSWER = Leave.FOUND_ROWS | Leave.LAST_INSERT_ID;

/** What pins a session to its connection and cannot be made anew elsewhere, in words; empty when there is nothing. */
export function stateLostWith(pins: ReadonlyMap<Pin, number>): string {
  const lost = [...pins.keys()].filter((pin) => !SURVIVABLE.has(pin));
  return lost.map((pin) => LOST_WORDS[pin] ?? pin).join(', ');
}

/** True when nothing but what ends by itself keeps a session where it is. */
export function isInTransaction(pins: ReadonlyMap<Pin, number>): boolean {
  return pins.has('transaction') || pins.has('error');
}

export function judgeLoss(loss: Loss): LossVerdict {
  const { pins, sent, statement } = loss;
  const lost = stateLostWith(pins);
  if (lost !== '') return { kind: 'end', lost, underWay: underWayOf(loss) };
  if (sent === 'part') return { kind: 'end', lost: null, underWay: 'not_run' };
  if (isInTransaction(pins)) return sent === 'nothing' ? { kind: 'tell_next' } : inTransaction(loss);
  if (sent === 'nothing') return { kind: 'unnoticed' };
  if (loss.mayGoAgain) return { kind: 'again' };
  const commits = mayHaveCommitted(loss) && !(isOfSession(statement) && !loss.autocommit);
  if (commits) return { kind: 'unknown' };
  if (!loss.autocommit) return { kind: 'rolled_back' };
  return isSingleWrite(statement) && !loss.isBulk
    ? { kind: 'resolve', autocommit: true }
    : { kind: 'unknown' };
}

/** A server runs nothing before it has all of it. */
function underWayOf({ sent, mayGoAgain }: Loss): 'not_run' | 'unknown' | null {
  if (sent === 'part') return 'not_run';
  return sent === 'whole' && !mayGoAgain ? 'unknown' : null;
}

function inTransaction(loss: Loss): LossVerdict {
  const { statement, autocommit, mayBeOver } = loss;
  const isPlainEnd = isCommit(statement) && !loss.endsOtherwise;
  if (loss.isRollback) return { kind: isPlainEnd ? 'again' : 'rolled_back' };
  if (isPlainEnd) return { kind: 'resolve', autocommit: false };
  const mayWrite = statement.class !== 'read' || (statement.needs & Need.UNKNOWN_FUNCTION) !== 0;
  const commitsAlone = mayBeOver && autocommit && mayWrite;
  return { kind: commitsAlone || mayHaveCommitted(loss) ? 'unknown' : 'rolled_back' };
}

/** A COMMIT, or a ROLLBACK, and nothing else. */
export function isCommit({ class: kind, needs, leaves }: Loss['statement']): boolean {
  return kind === 'transaction' && needs === Need.TRANSACTION && leaves === Leave.TRANSACTION_ENDED;
}

/** A ROLLBACK of the whole transaction, by the first letter of its text: one behind a comment counts as a COMMIT. */
export function rollsBack({ needs, leaves }: Loss['statement'], letter: number): boolean {
  const ends = needs === Need.TRANSACTION && (leaves & Leave.TRANSACTION_ENDED) !== 0;
  return ends && (letter | 0x20) === LETTER_R;
}

/** Of a COMMIT or a ROLLBACK the latter begins so, in small letters. */
const LETTER_R = 0x72;

function mayHaveCommitted({ statement: { needs, leaves } }: Pick<Loss, 'statement'>): boolean {
  return (needs & MAY_COMMIT_NEEDS) !== 0 || (leaves & MAY_COMMIT_LEAVES) !== 0;
}

/** It sets what is gone with its connection; and SET autocommit has nothing to commit where nothing is open. */
function isOfSession({ class: kind, needs, leaves }: Loss['statement']): boolean {
  const statement = { class: kind, needs, leaves: leaves & ~Leave.LASTING };
  return kind === 'session' && !mayHaveCommitted({ statement });
}

/** One write that, in autocommit, commits what it has done and nothing else, and leaves only what is there for all. */
export function isSingleWrite(statement: Loss['statement']): boolean {
  const leavesMore = (statement.leaves & ~LOST_WITH_ANSWER) !== 0;
  return statement.class === 'write' && !leavesMore && !mayHaveCommitted({ statement });
}

/** A command that only begins a transaction, or ends one that there is not: outside of one it may run twice. */
export function onlyMarksTransaction(needs: number, leaves: number): boolean {
  const marks = Leave.TRANSACTION | Leave.READ_ONLY | Leave.TRANSACTION_ENDED;
  return needs === Need.TRANSACTION && leaves !== 0 && (leaves & ~marks) === 0;
}
