/**
 * From the text of a statement to a typed one: finds the row of the table whose first words match and has
 * it read the rest. A statement that no row knows is answered with the nearest that one does.
 */
import { refusal } from '../base/errors.ts';
import { didYouMean } from '../config/suggest.ts';
import type { Statement } from './statement.ts';
import { statementRows, type StatementRow } from './statements.ts';
import { behindWords, Cursor, tokenize, type Token } from './tokens.ts';

/** Longest statement that is looked at, in characters. */
const MAX_STATEMENT_LENGTH = 65_536;
/** What the other dbproxy of a pair sends is all that is remembered; a packet of the admin port has room for it. */
const MAX_PEER_LENGTH = 786_432;

/** Reads one statement. Throws DBPROXY_ADMIN_SYNTAX, DBPROXY_ADMIN_BAD_VALUE or DBPROXY_NOT_AVAILABLE. */
export function parseStatement(text: string): Statement {
  if (text.length > MAX_STATEMENT_LENGTH && !(text.startsWith('PEER ') && text.length <= MAX_PEER_LENGTH)) {
    throw refusal('DBPROXY_ADMIN_SYNTAX', `a statement has at most ${MAX_STATEMENT_LENGTH} characters`);
  }
  const ofServer = parseWithServerStatement(text);
  if (ofServer !== undefined) return ofServer;
  const tokens = tokenize(text);
  if (tokens.length === 0) throw refusal('DBPROXY_ADMIN_SYNTAX', 'the statement is empty');
  const cursor = new Cursor(tokens);
  if (isClientSetting(tokens)) return { kind: 'nothing' };
  const found = findRow(tokens);
  if (found === undefined) throw unknownStatement(tokens);
  const { row, words } = found;
  if (row.parse === undefined) {
    const meanwhile = row.instead === undefined ? '' : ` (instead: ${row.instead})`;
    throw refusal('DBPROXY_NOT_AVAILABLE', `${words.join(' ')}${meanwhile}`);
  }
  cursor.takeWords(...words);
  const statement = row.parse(cursor);
  cursor.end();
  return statement;
}

/** A statement that holds one of a server is not cut into our words. */
function parseWithServerStatement(text: string): Statement | undefined {
  for (const { begins, parseText } of statementRows) {
    if (parseText === undefined) continue;
    const rests = begins.map((words) => behindWords(text, ...words.split(' ')));
    const rest = rests.find((found) => found !== undefined);
    if (rest !== undefined) return parseText(rest);
  }
  return undefined;
}

/** The row with the most first words that the statement begins with. */
function findRow(tokens: readonly Token[]): { row: StatementRow; words: string[] } | undefined {
  let best: { row: StatementRow; words: string[] } | undefined;
  for (const row of statementRows) {
    for (const begins of row.begins) {
      const words = begins.split(' ');
      const matches = words.every(
        (word, index) => tokens[index]?.kind === 'word' && tokens[index].text.toUpperCase() === word,
      );
      if (matches && words.length > (best?.words.length ?? 0)) best = { row, words };
    }
  }
  return best;
}

/** `SET @x = …`, `SET @@x = …` and `SET session_variable = …`: clients set them on connecting. */
function isClientSetting(tokens: readonly Token[]): boolean {
  const [first, second] = tokens;
  if (first?.text.toUpperCase() !== 'SET' || second?.kind !== 'word') return false;
  if (/^@@global\./i.test(second.text)) return false;
  return second.text.startsWith('@') || clientVariables.has(second.text.toLowerCase());
}

const clientVariables: ReadonlySet<string> = new Set([
  'autocommit',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
  'foreign_key_checks',
  'interactive_timeout',
  'max_allowed_packet',
  'net_read_timeout',
  'net_write_timeout',
  'profiling',
  'sql_auto_is_null',
  'sql_big_selects',
  'sql_mode',
  'sql_quote_show_create',
  'sql_safe_updates',
  'sql_select_limit',
  'time_zone',
  'tx_isolation',
  'transaction_isolation',
  'unique_checks',
  'wait_timeout',
]);

/** Suggestions compare as many words as the known beginning has. */
function unknownStatement(tokens: readonly Token[]): Error {
  const known = statementRows.filter((row) => row.hidden !== true).flatMap(namesOf);
  const written = tokens.slice(0, 3).map((token) => token.text);
  for (let count = written.length; count > 0; count--) {
    const start = written.slice(0, count).join(' ');
    const hint = didYouMean(
      start,
      known.filter((begins) => begins.split(' ').length === count),
    );
    if (hint !== '')
      return refusal('DBPROXY_ADMIN_SYNTAX', `there is no statement '${start.slice(0, 80)}'${hint}`);
  }
  return refusal('DBPROXY_ADMIN_SYNTAX', `there is no statement '${written.join(' ').slice(0, 80)}'`);
}

/** The first words of a statement as its syntax writes them: `ShowBackends`, not `SHOWBACKENDS`. */
function namesOf(row: StatementRow): string[] {
  return row.begins.map((begins) => {
    const written = row.syntax.slice(0, begins.length);
    return written.toUpperCase() === begins ? written : begins;
  });
}
