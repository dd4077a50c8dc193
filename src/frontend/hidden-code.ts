/**
 * Code that a statement sets off without naming it: triggers of the tables that it writes, functions in the
 * views that it reads. Such code may leave something on the connection (user variables, locks, settings), or
 * ask for what only one connection knows. Nobody sees that in the statement, so the server is asked what there
 * is: before an account's first statement, and again now and then, only where nothing of the client's is open. A
 * view is judged as a statement would be, by its own text.
 *
 * It is home that is asked: a replica that lags knows nothing yet of what has just been made. What a replica says, where
 * home cannot be asked, is kept apart, and judges nothing but what runs on replicas.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { ServerError } from '../protocol/packets.ts';
import { classify } from '../sql/classify.ts';
import { Statement, type SqlDialect } from '../sql/statement.ts';
import type { Side } from './side.ts';

/** How long an answer holds. What was made through endpoints like this one is forgotten at once. */
const HOLDS_MS = 60_000;

/** How long one of a replica holds at least, right after something was made: the replica may not have that yet. */
const REPLICA_HOLDS_MS = 1_000;

/**
 * MariaDB shows triggers without their text to an account without TRIGGER on the table, MySQL none at all. Of what a
 * trigger calls, only that it calls is seen. MySQL's dictionary compares letters of different case as different.
 */
const TRIGGERS = `SELECT COUNT(*) FROM information_schema.triggers
  WHERE trigger_schema NOT IN ('sys', 'mysql')
    AND (action_statement IS NULL OR action_statement LIKE '%@%'
      OR UPPER(action_statement) LIKE '%CALL%' OR UPPER(action_statement) LIKE '%_LOCK%')`;

/**
 * Name, as the digits of its UTF-8, and text of each view that the account may use; the text is empty for one without
 * SHOW VIEW on it, and for one that is too long for a packet of ours. Bytes come as they are, whatever
 * character_set_results says. The LIMIT stands against a sql_select_limit of the session.
 */
const VIEWS = `SELECT CONVERT(CONVERT(CONCAT(HEX(CONVERT(table_name USING utf8)), '\n',
    IF(LENGTH(view_definition) <= 60000, view_definition, '')) USING utf8) USING binary)
  FROM information_schema.views
  WHERE table_schema NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema') LIMIT 1000000`;

/** What is taken for true where the server refuses to tell, by a max_join_size of the session, or cannot be asked. */
export const UNKNOWN: HiddenCode = { triggers: true, views: [''] };

/** What there is for one account. */
export interface HiddenCode {
  /** A write may leave something behind. */
  readonly triggers: boolean;
  /** Views that are more than a plain read. */
  readonly views: readonly ViewName[];
}

/** What a text, read as latin1 and in small letters, contains where it may name the view. */
export type ViewName = string | RegExp;

interface Answer {
  readonly code: HiddenCode;
  readonly askedMs: number;
  readonly holdsMs: number;
}

/** When an answer was asked that does not hold any more. */
const OUT_OF_DATE = -Infinity;

/** Accounts at most; the oldest gives way. */
const MOST = 1000;

export class HiddenCodeWatch {
  /** Of home, and of replicas where that is another server. */
  readonly #answers = { home: new Map<string, Answer>(), replica: new Map<string, Answer>() };
  /** Home is a replica, too. */
  readonly #homeMayLag: boolean;
  /** How often all has been forgotten: what was asked before that is out of date when it comes. */
  #era = 0;
  /** When the first question of this era was put. */
  #eraBeganMs: number | null = null;

  constructor(homeMayLag = false) {
    this.#homeMayLag = homeMayLag;
  }

  /** What is known for an account at home, or of replicas; undefined when it has to be asked (again). */
  known(account: string, nowMs: number, side: Side = 'home'): HiddenCode | undefined {
    const answer = this.#answers[side].get(account);
    return answer === undefined || answer.askedMs + answer.holdsMs <= nowMs ? undefined : answer.code;
  }

  /** What was known of it last, however long ago: what to go by where nobody can be asked. */
  lastKnown(account: string): HiddenCode | undefined {
    return (this.#answers.home.get(account) ?? this.#answers.replica.get(account))?.code;
  }

  /** What is known of home by a question that was put after that time; undefined: by none. */
  knownSince(account: string, sinceMs: number): HiddenCode | undefined {
    const answer = this.#answers.home.get(account);
    return answer === undefined || answer.askedMs < sinceMs ? undefined : answer.code;
  }

  /** Asks on a connection of the account to that side, which is at rest. Rejects as `queryValue` does. */
  async ask(
    account: string,
    connection: BackendConnection,
    dialect: SqlDialect,
    nowMs: number,
    side: Side = 'home',
  ): Promise<HiddenCode> {
    const era = this.#era;
    this.#eraBeganMs ??= nowMs;
    const holdsMs = this.#holdsMs(side, nowMs - this.#eraBeganMs);
    const code = await look(connection, dialect);
    if (code === UNKNOWN) return code;
    const answers = this.#answers[side];
    answers.delete(account);
    answers.set(account, { code, askedMs: era === this.#era ? nowMs : OUT_OF_DATE, holdsMs });
    if (answers.size > MOST) {
      const [oldest] = answers.keys();
      answers.delete(oldest!);
    }
    return code;
  }

  /** Views that are more than a plain read to any account that has asked; for EXPLAIN. */
  allViews(): ViewName[] {
    return Object.values(this.#answers).flatMap((answers) =>
      [...answers.values()].flatMap(({ code }) => code.views),
    );
  }

  /** Something was created, or another server is the primary: every account has to be asked for anew. */
  forget(): void {
    this.#era++;
    this.#eraBeganMs = null;
    for (const answers of Object.values(this.#answers)) {
      for (const [account, { code, holdsMs }] of answers) {
        answers.set(account, { code, askedMs: OUT_OF_DATE, holdsMs });
      }
    }
  }

  /** A replica that may lag is asked again soon, and the longer nothing is made, the more seldom. */
  #holdsMs(side: Side, quietMs: number): number {
    if (side === 'home' && !this.#homeMayLag) return HOLDS_MS;
    return Math.min(HOLDS_MS, Math.max(REPLICA_HOLDS_MS, quietMs));
  }
}

async function look(connection: BackendConnection, dialect: SqlDialect): Promise<HiddenCode> {
  try {
    const triggers = (await connection.queryValue(TRIGGERS)) !== '0';
    return { triggers, views: unsafeViews(await connection.queryColumn(VIEWS), dialect) };
  } catch (error) {
    if (error instanceof ServerError) return UNKNOWN;
    throw error;
  }
}

/** True when the text may name one of the views; it need not be more than that. */
export function mayName(views: readonly ViewName[], text: Buffer, start: number, end: number): boolean {
  return views.length > 0 && namesOneOf(views, text.toString('latin1', start, end));
}

/** The same of a text that has been read as latin1. */
export function namesOneOf(views: readonly ViewName[], text: string): boolean {
  if (views.length === 0) return false;
  const words = text.toLowerCase();
  return views.some((view) => contains(words, view));
}

function contains(words: string, view: ViewName): boolean {
  return typeof view === 'string' ? words.includes(view) : view.test(words);
}

/** Of name (the digits of its UTF-8) and text of all views, a line between: those that are no plain reads, and those
 * that read from them. */
export function unsafeViews(rows: readonly string[], dialect: SqlDialect): ViewName[] {
  const plain = { ...dialect, ansiQuotes: false, noBackslashEscapes: false, ignoreSpace: false };
  const safe: { readonly name: string; readonly text: string }[] = [];
  const unsafe: ViewName[] = [];
  for (const row of rows) {
    const line = row.indexOf('\n');
    const name = Buffer.from(row.slice(0, line), 'hex').toString('utf8').toLowerCase();
    const text = Buffer.from(row.slice(line + 1), 'utf8');
    if (isPlainRead(text, plain)) safe.push({ name, text: text.toString('latin1').toLowerCase() });
    else unsafe.push(viewName(name));
  }
  for (let known = 0; known < unsafe.length; known++) {
    for (const [at, { name, text }] of safe.entries()) {
      if (name === '' || !contains(text, unsafe[known]!)) continue;
      safe[at] = { name: '', text: '' };
      unsafe.push(viewName(name));
    }
  }
  return unsafe;
}

/**
 * A name of other letters than ASCII has other bytes in each character set of a client, and other ones again in capital
 * letters: so each such letter is taken for one to four bytes, as they are in whichever set, and the whole word must be
 * of that length. A quote within a name may be doubled.
 */
function viewName(name: string): ViewName {
  if (/^[a-z0-9_$]*$/.test(name)) return name;
  const parts = name.match(/[^\0-\x7f]+|[\0-\x7f]+/gu)!;
  const pattern = parts.map((part) =>
    part.charCodeAt(0) < 0x80 ? asciiPattern(part) : foreignPattern(part),
  );
  return new RegExp(`(?<![a-z_$\\x80-\\xff])${pattern.join('')}(?![a-z0-9_$\\x80-\\xff])`);
}

function asciiPattern(part: string): string {
  return part.replace(/[^a-z0-9_]/g, (mark) => {
    const escaped = `\\x${mark.charCodeAt(0).toString(16).padStart(2, '0')}`;
    return mark === '`' || mark === '"' ? `${escaped}{1,2}` : escaped;
  });
}

/** Of no character set does the first byte of such a letter look like ASCII, or a later one like a blank or a mark. */
function foreignPattern(part: string): string {
  const letters = [...part].length;
  return `[\\x80-\\xff][\\x30-\\xff]{${letters - 1},${4 * letters - 1}}`;
}

function isPlainRead(text: Buffer, dialect: SqlDialect): boolean {
  const statement = new Statement();
  classify(text, 0, text.length, dialect, statement);
  return statement.class === 'read' && statement.needs === 0 && statement.leaves === 0;
}
