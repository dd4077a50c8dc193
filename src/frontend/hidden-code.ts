/**
 * Code that a statement sets off without naming it: triggers of the tables that it writes, functions in the
 * views that it reads. Such code may leave something on the connection (user variables, locks, settings), or
 * ask for what only one connection knows. Nobody sees that in the statement, so the server is asked what there
 * is: before an account's first statement, and again now and then. A view is judged as a statement would be, by
 * its own text.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { ServerError } from '../protocol/packets.ts';
import { classify } from '../sql/classify.ts';
import { Statement, type SqlDialect } from '../sql/statement.ts';

/** How long an answer holds. What was made through endpoints like this one is forgotten at once. */
const HOLDS_MS = 60_000;

/**
 * Only triggers of tables that the account may change are seen, and it can write to no others. Of what a
 * trigger calls, only that it calls is seen.
 */
const TRIGGERS = `SELECT COUNT(*) FROM information_schema.triggers
  WHERE trigger_schema NOT IN ('sys', 'mysql')
    AND (action_statement LIKE '%@%' OR action_statement LIKE '%CALL%' OR action_statement LIKE '%_LOCK%')`;

/**
 * Name and text of each view that the account may use; the text is empty for one without SHOW VIEW on it. The
 * LIMIT stands against a sql_select_limit of the session.
 */
const VIEWS = `SELECT CONCAT(table_name, '\n', view_definition) FROM information_schema.views
  WHERE table_schema NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema') LIMIT 1000000`;

/** What is taken for true where the server refuses to tell, by a max_join_size of the session, or cannot be asked. */
export const UNKNOWN: HiddenCode = { triggers: true, views: [''] };

/** What there is for one account. */
export interface HiddenCode {
  /** A write may leave something behind. */
  readonly triggers: boolean;
  /** Views that are more than a plain read, by their names in small letters. */
  readonly views: readonly string[];
}

interface Answer {
  readonly code: HiddenCode;
  readonly untilMs: number;
}

/** Accounts at most; the oldest gives way. */
const MOST = 1000;

export class HiddenCodeWatch {
  readonly #answers = new Map<string, Answer>();

  /** What is known for an account; undefined when it has to be asked (again). */
  known(account: string, nowMs: number): HiddenCode | undefined {
    const answer = this.#answers.get(account);
    return answer === undefined || answer.untilMs <= nowMs ? undefined : answer.code;
  }

  /** Asks on a connection of the account, which is at rest, on whichever server. Rejects as `queryValue` does. */
  async ask(
    account: string,
    connection: BackendConnection,
    dialect: SqlDialect,
    nowMs: number,
  ): Promise<HiddenCode> {
    const code = await look(connection, dialect);
    if (code === UNKNOWN) return code;
    this.#answers.delete(account);
    this.#answers.set(account, { code, untilMs: nowMs + HOLDS_MS });
    if (this.#answers.size > MOST) {
      const [oldest] = this.#answers.keys();
      this.#answers.delete(oldest!);
    }
    return code;
  }

  /** Views that are more than a plain read to any account that has asked; for EXPLAIN. */
  allViews(): string[] {
    return [...this.#answers.values()].flatMap(({ code }) => code.views);
  }

  /** Something was created, or another server is the primary. */
  forget(): void {
    this.#answers.clear();
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
export function mayName(views: readonly string[], text: Buffer, start: number, end: number): boolean {
  if (views.length === 0) return false;
  const words = text.toString('latin1', start, end).toLowerCase();
  return views.some((view) => words.includes(view));
}

/** Of `name\ntext` of all views: those that are no plain reads, and those that read from them. */
export function unsafeViews(rows: readonly string[], dialect: SqlDialect): string[] {
  const plain = { ...dialect, ansiQuotes: false, noBackslashEscapes: false, ignoreSpace: false };
  const safe = new Map<string, string>();
  const unsafe: string[] = [];
  for (const row of rows) {
    const line = row.indexOf('\n');
    const name = Buffer.from(row.slice(0, line), 'utf8').toString('latin1').toLowerCase();
    const text = Buffer.from(row.slice(line + 1), 'utf8');
    if (isPlainRead(text, plain)) safe.set(name, text.toString('latin1').toLowerCase());
    else unsafe.push(name);
  }
  for (let known = 0; known < unsafe.length; known++) {
    for (const [name, text] of safe) {
      if (!text.includes(unsafe[known]!)) continue;
      safe.delete(name);
      unsafe.push(name);
    }
  }
  return unsafe;
}

function isPlainRead(text: Buffer, dialect: SqlDialect): boolean {
  const statement = new Statement();
  classify(text, 0, text.length, dialect, statement);
  return statement.class === 'read' && statement.needs === 0 && statement.leaves === 0;
}
