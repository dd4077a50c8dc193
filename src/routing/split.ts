/**
 * Where one statement goes: a pure function of what the classifier says of it, of what the session depends
 * on, and of what somebody asked for (a hint, a rule). It chooses a kind of server; which one of that kind
 * is the router's choice.
 *
 *   1. A session that is pinned to its connection stays there, whatever it sends.
 *   2. A statement that asks after the one before it goes to the connection that ran that one.
 *   3. With autocommit off every statement belongs to a transaction that may write: home.
 *   4. START TRANSACTION READ ONLY goes to a replica, and what follows stays there with it (1).
 *   5. A hint or a rule decides where both are right; none sends a write to a replica.
 *   6. A read that every server answers alike goes to a replica.
 *   7. All else goes home.
 *
 * Home is the primary, and on a read endpoint a replica.
 */
import { Leave, Need, type RouteHint, type StatementClass } from '../sql/statement.ts';

/** What the statement is; see `Statement`. */
export interface StatementView {
  readonly class: StatementClass;
  readonly needs: number;
  readonly leaves: number;
  readonly hint: RouteHint;
}

/** What the session depends on. */
export interface SplitView {
  /** It must go where its connection is. */
  readonly pinned: boolean;
  readonly autocommit: boolean;
  /** Reads may leave home: the endpoint splits. */
  readonly splits: boolean;
}

/** here: the connection it is pinned to. last: the one that ran the statement before. */
export type Destination = 'here' | 'last' | 'home' | 'replica';

/** Reasons that may be overruled by who says that a replica will do: servers may differ in them, nothing is lost. */
const OVERRULED =
  Need.SYSTEM_VARIABLE | Need.SYSTEM_SCHEMA | Need.SERVER_STATE | Need.UNKNOWN_FUNCTION | Need.USER_VARIABLE;

/** What the connection of the statement before knows alone. */
const OF_THE_LAST = Need.ROW_COUNT | Need.FOUND_ROWS | Need.DIAGNOSTICS;

const READ_ONLY_TRANSACTION = Leave.TRANSACTION | Leave.READ_ONLY;

/** `wish` is what a rule says; a hint in the statement goes before it. */
export function destinationOf(statement: StatementView, session: SplitView, wish: RouteHint): Destination {
  if (session.pinned) return 'here';
  if ((statement.needs & OF_THE_LAST) !== 0) return 'last';
  if (!session.splits || !session.autocommit) return 'home';
  const asked = statement.hint === 'none' ? wish : statement.hint;
  if (asked === 'primary') return 'home';
  if (statement.leaves === READ_ONLY_TRANSACTION && statement.needs === Need.TRANSACTION) return 'replica';
  if (isRead(statement, 0)) return 'replica';
  return asked === 'replica' && isRead(statement, OVERRULED) ? 'replica' : 'home';
}

/**
 * A read that needs nothing but what is in `allowed`. The values of user variables that are known are brought
 * along, and with one that is not the session is pinned.
 */
function isRead({ class: kind, needs, leaves }: StatementView, allowed: number): boolean {
  if (kind !== 'read' || (needs & ~(allowed | Need.USER_VARIABLE)) !== 0) return false;
  const harmless = Leave.FOUND_ROWS | ((allowed & Need.UNKNOWN_FUNCTION) === 0 ? 0 : Leave.ANYTHING);
  return (leaves & ~harmless) === 0;
}

/** Why, in plain words, one line a rule that applied, in their order. `evidence` is the text that decided. */
export function explainDestination(
  statement: StatementView,
  session: SplitView & { readonly pins: readonly string[]; readonly home: string },
  wish: RouteHint,
  evidence: string,
): string[] {
  const to = destinationOf(statement, session, wish);
  if (to === 'here') return session.pins.map((pin) => `the session keeps its connection: ${pin}`);
  const reasons: string[] = [];
  if (!session.splits) reasons.push(`every statement of this endpoint goes to ${session.home}`);
  else if (!session.autocommit) reasons.push('autocommit is off: every statement is part of a transaction');
  if (statement.hint !== 'none') reasons.push(`a comment asks for the ${statement.hint}`);
  else if (wish !== 'none') reasons.push(`a rule asks for the ${wish}`);
  for (const [bit, words] of NEED_WORDS) {
    if ((statement.needs & bit) !== 0) reasons.push(words);
  }
  if (evidence !== '' && statement.needs !== 0) reasons.push(`it was seen at: ${evidence}`);
  if (statement.hint === 'replica' || wish === 'replica') {
    if (to === 'home' && session.splits) reasons.push('which no comment and no rule can send to a replica');
  }
  if (to === 'replica') {
    reasons.push(
      statement.leaves === READ_ONLY_TRANSACTION
        ? 'a READ ONLY transaction runs whole on a replica'
        : 'a read that every server answers alike',
    );
  }
  return reasons;
}

const NEED_WORDS: readonly (readonly [bit: number, words: string])[] = [
  [Need.AMBIGUOUS, 'servers may read the text in different ways'],
  [Need.SEVERAL, 'it is several statements'],
  [Need.UNKNOWN_STATEMENT, 'it is a statement that dbproxy does not know'],
  [Need.WRITE, 'it writes, or may write'],
  [Need.ROW_LOCKS, 'it locks rows'],
  [Need.INTO, 'it puts its result into a file or a variable, or reads a file of the server'],
  [Need.SEQUENCE, 'it asks a sequence'],
  [Need.USER_LOCK, 'it is about a user lock'],
  [Need.UNKNOWN_FUNCTION, 'it calls a function that is not known to only read'],
  [Need.TRANSACTION, 'it begins or ends a transaction'],
  [Need.SESSION, 'it changes the session'],
  [Need.LAST_INSERT_ID, 'it asks for LAST_INSERT_ID'],
  [Need.ROW_COUNT, 'it asks for the ROW_COUNT of the statement before'],
  [Need.FOUND_ROWS, 'it asks for the FOUND_ROWS of the SELECT before'],
  [Need.DIAGNOSTICS, 'it asks for the warnings of the statement before'],
  [Need.CONNECTION_ID, 'it asks which connection it has'],
  [Need.SYSTEM_VARIABLE, 'it reads a system variable'],
  [Need.SYSTEM_SCHEMA, 'it reads a system schema'],
  [Need.SERVER_STATE, 'it asks for the state of one server'],
  [Need.USER_VARIABLE, 'it uses user variables'],
];
