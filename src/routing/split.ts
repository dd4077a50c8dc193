/**
 * Where one statement goes: a pure function of what the classifier says of it, of what the session depends
 * on, and of what somebody asked for (a hint, a rule). It chooses a kind of server; which one of that kind
 * is the router's choice.
 *
 *   1. A session that is pinned to its connection stays there, whatever it sends.
 *   2. A statement that asks after the one before it goes to the connection that ran that one.
 *   3. With autocommit off every statement belongs to a transaction that may write: home.
 *   4. START TRANSACTION READ ONLY goes to a replica, and what follows stays there with it (1); where reads must
 *      see what everybody has written (causal_reads = global) only when that is asked for, because nothing waits
 *      for the replica once the transaction has begun.
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
  /** Reads must see what everybody has written, in a transaction, too. */
  readonly seesAll: boolean;
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
  if (beginsReadOnly(statement)) return session.seesAll && asked !== 'replica' ? 'home' : 'replica';
  if (isRead(statement, 0)) return 'replica';
  return asked === 'replica' && isRead(statement, OVERRULED) ? 'replica' : 'home';
}

function beginsReadOnly({ needs, leaves }: StatementView): boolean {
  return leaves === READ_ONLY_TRANSACTION && needs === Need.TRANSACTION;
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

/** A session, as people are told of it. */
export interface ExplainedView extends SplitView {
  /** Why it is pinned, in words. */
  readonly pins: readonly string[];
  /** Where the endpoint sends what may not go to any server: 'the primary', on a read endpoint 'a replica'. */
  readonly home: string;
}

/** What a rule asks for; its name is for people. */
export interface RuleWish {
  readonly name: string;
  readonly target: RouteHint;
}

/** Why it goes `to` there, in plain words, in the order in which it was decided. `evidence`: the text that did. */
export function explainDestination(
  statement: StatementView,
  to: Destination,
  session: ExplainedView,
  rule: RuleWish | null,
  evidence: string,
): string[] {
  switch (to) {
    case 'here':
      return session.pins.length === 0
        ? ['the session kept its connection, and does not any more']
        : session.pins.map((pin) => `the session keeps its connection: ${pin}`);
    case 'last':
      return [
        ...needWords(statement, OF_THE_LAST, evidence),
        'so it goes to the connection that ran that one',
      ];
    case 'home':
      return whyHome(statement, session, rule, evidence);
    case 'replica':
      return whyReplica(statement, rule, evidence);
  }
}

function whyHome(
  statement: StatementView,
  { splits, autocommit, seesAll, home }: ExplainedView,
  rule: RuleWish | null,
  evidence: string,
): string[] {
  if (!splits) return [`every statement of this endpoint goes to ${home}`];
  if (!autocommit) return ['autocommit is off: every statement is part of a transaction, which may write'];
  const asked = wishWords(statement, rule);
  const needs = needWords(statement, ~0, evidence);
  if (needs.length === 0 && statement.class !== 'read') needs.push('it is no read');
  const isAskedFor = (statement.hint === 'none' ? rule?.target : statement.hint) === 'primary';
  if (isAskedFor) return [...asked, ...needs];
  if (seesAll && beginsReadOnly(statement)) {
    return [...needs, 'causal_reads = global: on a replica it would not see what is written meanwhile'];
  }
  const inVain = asked.length === 0 ? [] : ['which no comment and no rule can send to a replica'];
  return [...asked, ...needs, ...inVain];
}

function whyReplica(statement: StatementView, rule: RuleWish | null, evidence: string): string[] {
  const asked = wishWords(statement, rule);
  if (statement.leaves === READ_ONLY_TRANSACTION) {
    return [...asked, 'a READ ONLY transaction runs whole on a replica'];
  }
  return isRead(statement, 0)
    ? [...asked, 'a read that every server answers alike']
    : [
        ...asked,
        ...needWords(statement, ~0, evidence),
        'which a replica answers as well when it is asked to',
      ];
}

function wishWords({ hint }: StatementView, rule: RuleWish | null): string[] {
  if (hint !== 'none') return [`a comment asks for the ${hint}`];
  return rule === null ? [] : [`rule '${rule.name}' asks for the ${rule.target}`];
}

function needWords({ needs }: StatementView, among: number, evidence: string): string[] {
  const words = NEED_WORDS.filter(([bit]) => (needs & among & bit) !== 0).map(([, said]) => said);
  if (words.length > 0 && evidence !== '') words.push(`seen at: ${evidence}`);
  return words;
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
