/**
 * How a write of ours went, and what its failure says of the server. Only one that was sent and not taken
 * speaks against it; that we could not get there, or may not write there, is known from elsewhere.
 */
import { messageOf } from '../base/message-of.ts';
import { errnoOf, isConnectionLost, isDenied, isTimeout } from './observation.ts';

export type WriteOutcome =
  | { readonly kind: 'written' }
  /** The server takes no write: it hangs, its disk is full, everything is locked. */
  | { readonly kind: 'failing'; readonly reason: string }
  /** Somebody holds a lock that the write waits for: a backup, a LOCK TABLES. The server itself is well. */
  | { readonly kind: 'locked'; readonly reason: string }
  /** The write did not get there, or its answer was lost: the checks tell how the server is. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** It will not get better by itself: no right, no table, read-only. */
  | { readonly kind: 'hopeless'; readonly reason: string };

/** No such database, no such table. */
const NO_TABLE_ERRORS = new Set([1049, 1146]);
/** Read-only in all its forms: option, transaction, mode of the engine. */
const READ_ONLY_ERRORS = new Set([1036, 1290, 1792, 1836]);

/** The server gave up waiting for a lock. */
const LOCK_WAIT_ERROR = 1205;
/** What a thread of a server does that waits for a lock on a table, or on everything. */
const WAITS_FOR_LOCK = /^waiting for .*\block$/i;

/** True when the table is not there. */
export function lacksTable(error: unknown): boolean {
  return NO_TABLE_ERRORS.has(errnoOf(error));
}

/**
 * The outcome of a write that ended with this error; `sent`: it was on its way to the server; `doing`: what its thread
 * was seen to do there when it had not been answered in time.
 */
export function outcomeOfError(error: unknown, sent: boolean, doing = ''): WriteOutcome {
  const reason = messageOf(error);
  if (isDenied(error)) return { kind: 'hopeless', reason: `monitor_user may not write there (${reason})` };
  if (lacksTable(error)) return { kind: 'hopeless', reason: `the table is not there (${reason})` };
  if (READ_ONLY_ERRORS.has(errnoOf(error))) return { kind: 'hopeless', reason };
  if (errnoOf(error) === LOCK_WAIT_ERROR) return { kind: 'locked', reason };
  if (isTimeout(error) && WAITS_FOR_LOCK.test(doing)) return { kind: 'locked', reason: doing };
  if (!sent || isConnectionLost(error)) return { kind: 'unreachable', reason };
  return {
    kind: 'failing',
    reason: isTimeout(error) ? `a write hangs (${reason})` : `a write failed (${reason})`,
  };
}
