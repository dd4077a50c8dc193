/**
 * Reads what stands behind EXPLAIN ROUTE: two options, then the statement of a server. That one is not cut
 * into words, as it need not follow our rules for quotes and comments: it is the rest of the text as it is,
 * or one quoted text, which is for client programs that would cut it up at its semicolons.
 */
import { refusal } from '../base/errors.ts';
import type { Statement } from './statement.ts';
import { behindWords, Cursor, firstToken, tokenize, type Token } from './tokens.ts';

const MAX_ID = 0xffff_ffff;

/** `[ON LISTENER l] [FOR SESSION id] sql`, the options in any order. */
export function parseExplainRoute(text: string): Statement {
  let rest = text;
  let listener: string | null = null;
  let sessionId: number | null = null;
  for (;;) {
    const behindOn = behindWords(rest, 'ON', 'LISTENER');
    const behindFor = behindOn === undefined ? behindWords(rest, 'FOR', 'SESSION') : undefined;
    if (behindOn !== undefined) {
      if (listener !== null) throw refusal('DBPROXY_ADMIN_SYNTAX', 'ON LISTENER is given twice');
      const taken = takeArgument(behindOn);
      listener = taken.cursor.name('the name of a listener');
      rest = taken.rest;
    } else if (behindFor !== undefined) {
      if (sessionId !== null) throw refusal('DBPROXY_ADMIN_SYNTAX', 'FOR SESSION is given twice');
      const taken = takeArgument(behindFor);
      sessionId = taken.cursor.wholeNumber('the id of a session', MAX_ID);
      rest = taken.rest;
    } else {
      return { kind: 'explain-route', listener, sessionId, sql: explainedStatement(rest) };
    }
  }
}

function takeArgument(text: string): { cursor: Cursor; rest: string } {
  const first = firstToken(text);
  const tokens: Token[] = first === undefined ? [] : [first.token];
  return { cursor: new Cursor(tokens), rest: first?.rest ?? '' };
}

/** No statement begins with a quote, so a text that does is a quoted statement. */
function explainedStatement(text: string): string {
  const bare = withoutTerminators(text);
  const quoted = bare.startsWith("'") || bare.startsWith('"') ? firstToken(bare) : undefined;
  if (quoted !== undefined && tokenize(quoted.rest).length > 0) {
    throw refusal('DBPROXY_ADMIN_SYNTAX', 'nothing may stand behind a statement in quotes');
  }
  const sql = quoted?.token.text ?? bare;
  if (sql === '') throw refusal('DBPROXY_ADMIN_SYNTAX', 'expected the statement to explain');
  return sql;
}

/** Without the blanks around it and what ends a statement in clients. */
function withoutTerminators(text: string): string {
  let end = text.length;
  for (;;) {
    if (end > 0 && /[\s\0;]/.test(text[end - 1]!)) end--;
    else if (end > 1 && /^\\[gG]$/.test(text.slice(end - 2, end))) end -= 2;
    else return text.slice(0, end).trimStart();
  }
}
