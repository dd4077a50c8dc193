/**
 * What becomes of a session when the connection it has is lost, or is taken away from it because another server
 * becomes the primary: a pure decision. The rule behind all of it: what may be anywhere else just the same goes on
 * unnoticed, and whatever is in doubt is said once and never run twice.
 *
 *   1. State that cannot be made anew elsewhere (a temporary table, a lock) is lost: the session ends with an error
 *      that names it, because an application must not go on believing that it has its lock.
 *   2. A command that has not reached the server whole ends the session, for its rest is still to come.
 *   3. In a transaction all of it is lost, and the client hears so once: now, or with its next statement. Only a
 *      COMMIT may have taken effect, which somebody has to find out, and a statement that may commit by itself.
 *      A ROLLBACK is what has happened.
 *   4. Outside of one nothing is lost when no command is under way. What changes nothing is run again; a single
 *      write may have taken effect, which somebody has to find out; all else is not known.
 */
import { Leave, Need, type StatementClass } from '../sql/statement.ts';
import type { Pin } from './session-record.ts';

/** What was lost, and in the midst of what. */
export interface Loss {
  readonly pins: ReadonlyMap<Pin, number>;
  readonly autocommit: boolean;
  /** Of the command under way: none, a part of it was sent, or all. */
  readonly sent: 'nothing' | 'part' | 'whole';
  /** What it is; it counts only where something was sent. */
  readonly statement: { readonly class: StatementClass; readonly needs: number; readonly leaves: number };
  /** It can be sent again, and nothing comes of it when it runs twice. */
  readonly mayGoAgain: boolean;
  /** It is a ROLLBACK of the whole transaction. */
  readonly isRollback: boolean;
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
  /** The session ends; `lost` says what it had, null when it was in the middle of a command. */
  | { readonly kind: 'end'; readonly lost: string | null };

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

/** What such a statement has done may be committed, whatever transaction it was in. */
const MAY_COMMIT_NEEDS = Need.SEVERAL | Need.UNKNOWN_STATEMENT | Need.AMBIGUOUS;
const MAY_COMMIT_LEAVES =
  Leave.IMPLICIT_COMMIT | Leave.ANYTHING | Leave.TRANSACTION | Leave.TRANSACTION_ENDED | Leave.TABLE_LOCK;

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
  const { pins, sent, isRollback, mayGoAgain } = loss;
  const lost = stateLostWith(pins);
  if (lost !== '') return { kind: 'end', lost };
  if (sent === 'part') return { kind: 'end', lost: null };
  if (isInTransaction(pins)) {
    if (sent === 'nothing') return { kind: 'tell_next' };
    if (isRollback) return { kind: 'again' };
    if (isCommit(loss)) return { kind: 'resolve', autocommit: false };
    return { kind: mayHaveCommitted(loss) ? 'unknown' : 'rolled_back' };
  }
  if (sent === 'nothing') return { kind: 'unnoticed' };
  if (mayGoAgain) return { kind: 'again' };
  if (mayHaveCommitted(loss)) return { kind: 'unknown' };
  if (!loss.autocommit) return { kind: 'rolled_back' };
  return loss.statement.class === 'write' ? { kind: 'resolve', autocommit: true } : { kind: 'unknown' };
}

/** A COMMIT and nothing else. */
function isCommit({ statement: { class: kind, needs, leaves } }: Loss): boolean {
  return kind === 'transaction' && needs === Need.TRANSACTION && leaves === Leave.TRANSACTION_ENDED;
}

function mayHaveCommitted({ statement: { needs, leaves } }: Loss): boolean {
  return (needs & MAY_COMMIT_NEEDS) !== 0 || (leaves & MAY_COMMIT_LEAVES) !== 0;
}

/** A command that only begins a transaction, or ends one that there is not: outside of one it may run twice. */
export function onlyMarksTransaction(needs: number, leaves: number): boolean {
  const marks = Leave.TRANSACTION | Leave.READ_ONLY | Leave.TRANSACTION_ENDED;
  return needs === Need.TRANSACTION && leaves !== 0 && (leaves & ~marks) === 0;
}
