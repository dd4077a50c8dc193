/**
 * What a SET changes, so that it can be recorded and said again on another connection; and the database of a
 * USE. Off the hot path: it works on strings, decoded as latin1, so that no byte is lost.
 *
 * Scopes as the servers have them: GLOBAL, SESSION and their kin hold for the assignments after them, too, up
 * to the next such word, but not for `@@x`, which names its own; `@@x` of a transaction's characteristics
 * without a scope is for the next transaction only. MySQL manual, "SET Syntax for Variable Assignment" and
 * "SET TRANSACTION Statement".
 */
import { isWordToken, Lexer, Mark, Token } from './lexer.ts';
import type { SqlDialect } from './statement.ts';
import { FIRST_WORD, numberOf, Word } from './words.ts';

export type Assignment =
  /** A session variable; its name in small letters, its value as SQL text. */
  | { kind: 'setting'; name: string; value: string; isLiteral: boolean }
  /** A user variable; its name without `@` and quotes, in small letters. */
  | { kind: 'user_variable'; name: string; value: string; isLiteral: boolean }
  /** SET NAMES; 'default' for DEFAULT. */
  | { kind: 'names'; characterSet: string; collation: string | null }
  | { kind: 'character_set'; characterSet: string }
  | TransactionAssignment
  /** GLOBAL, PERSIST: changes nothing of the session. */
  | { kind: 'global' }
  /** SET ROLE, PASSWORD, RESOURCE GROUP: understood, and nothing that could be said again. */
  | { kind: 'other' };

interface TransactionAssignment {
  kind: 'transaction';
  scope: 'next' | 'session';
  isolation: string | null;
  access: 'read only' | 'read write' | null;
}

const CHAR = numberOf('CHAR');

/** A token with its text. */
interface Piece {
  readonly token: number;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Where the parser stands. */
interface Reader {
  readonly pieces: readonly Piece[];
  readonly text: Buffer;
  readonly dialect: SqlDialect;
  at: number;
  /** GLOBAL was said last, and holds on. */
  isGlobal: boolean;
}

/** What the SET `text[start, end)` assigns, in order; null: not understood. */
export function parseSet(text: Buffer, start: number, end: number, dialect: SqlDialect): Assignment[] | null {
  const pieces = readPieces(text, start, end, dialect);
  if (pieces?.[0]?.token !== Word.SET) return null;
  const reader: Reader = { pieces, text, dialect, at: 1, isGlobal: false };
  switch (pieces[1]?.token) {
    case Word.STATEMENT:
      return null;
    case Word.PASSWORD:
    case Word.DEFAULT:
    case Word.ROLE:
    case Word.RESOURCE:
      return [{ kind: 'other' }];
    case undefined:
    default:
      return parseTransaction(reader) ?? parseAssignments(reader);
  }
}

/** The database that the USE `text[start, end)` names; null: not understood. */
export function parseUse(text: Buffer, start: number, end: number, dialect: SqlDialect): string | null {
  const pieces = readPieces(text, start, end, dialect);
  const name = pieces?.[1];
  if (pieces?.length !== 2 || pieces[0]!.token !== Word.USE || name === undefined) return null;
  return isName(name) ? unquoted(name.text) : null;
}

/** The tokens of one statement; null when there are several or it is not sure how to read them. */
function readPieces(text: Buffer, start: number, end: number, dialect: SqlDialect): Piece[] | null {
  const lexer = new Lexer();
  lexer.begin(text, start, end, dialect);
  const pieces: Piece[] = [];
  let hasEnded = false;
  for (let token = lexer.next(); token !== Token.END; token = lexer.next()) {
    if (token === Mark.SEMICOLON) hasEnded = true;
    else if (hasEnded) return null;
    else {
      const { tokenStart, tokenEnd } = lexer;
      pieces.push({
        token,
        start: tokenStart,
        end: tokenEnd,
        text: text.toString('latin1', tokenStart, tokenEnd),
      });
    }
  }
  return lexer.ambiguousAt >= 0 ? null : pieces;
}

// SET TRANSACTION

/** SET [GLOBAL | SESSION | LOCAL] TRANSACTION characteristic [, characteristic]; null: it is none. */
function parseTransaction(reader: Reader): Assignment[] | null {
  const first = tokenAt(reader, 1);
  const hasScope = first === Word.GLOBAL || first === Word.SESSION || first === Word.LOCAL;
  const at = hasScope ? 2 : 1;
  if (tokenAt(reader, at) !== Word.TRANSACTION) return null;
  const words = reader.pieces.slice(at + 1).map((piece) => piece.text.toUpperCase());
  const found: TransactionAssignment = {
    kind: 'transaction',
    scope: hasScope ? 'session' : 'next',
    isolation: null,
    access: null,
  };
  for (const characteristic of words.join(' ').split(' , ')) {
    const isolation = /^ISOLATION LEVEL (.+)$/.exec(characteristic)?.[1];
    if (isolation !== undefined && isIsolation(isolation)) found.isolation = isolation;
    else if (characteristic === 'READ ONLY') found.access = 'read only';
    else if (characteristic === 'READ WRITE') found.access = 'read write';
    else return null;
  }
  return first === Word.GLOBAL ? [{ kind: 'global' }] : [found];
}

function isIsolation(name: string): boolean {
  return ['READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'].includes(name);
}

// Assignments

function parseAssignments(reader: Reader): Assignment[] | null {
  const found: Assignment[] = [];
  for (;;) {
    const assignment = parseAssignment(reader);
    if (assignment === null) return null;
    found.push(assignment);
    if (reader.at >= reader.pieces.length) return found;
    if (tokenAt(reader, reader.at) !== Mark.COMMA) return null;
    reader.at++;
  }
}

function parseAssignment(reader: Reader): Assignment | null {
  switch (tokenAt(reader, reader.at)) {
    case Token.USER_VARIABLE:
      return parseUserVariable(reader);
    case Token.SYSTEM_VARIABLE:
      return parseSystemVariable(reader);
    case Word.NAMES:
      return assigns(reader, reader.at + 1) ? parseSetting(reader) : parseNames(reader);
    case Word.CHARSET:
    case Word.CHARACTER:
    case CHAR:
      return parseCharacterSet(reader);
    case Word.GLOBAL:
    case Word.PERSIST:
    case Word.PERSIST_ONLY:
      reader.isGlobal = true;
      reader.at++;
      return parseSetting(reader);
    case Word.SESSION:
    case Word.LOCAL:
      reader.isGlobal = false;
      reader.at++;
      return parseSetting(reader);
    default:
      return parseSetting(reader);
  }
}

/** `@v = expr` */
function parseUserVariable(reader: Reader): Assignment | null {
  const { text } = reader.pieces[reader.at++]!;
  const name = unquoted(text.slice(1));
  if (name === '' || !isAscii(name)) return null;
  const value = parseValue(reader);
  return value && { kind: 'user_variable', name: name.toLowerCase(), ...value };
}

/** `@@x`, `@@session.x`, `@@global.x`. */
function parseSystemVariable(reader: Reader): Assignment | null {
  const first = unquoted(reader.pieces[reader.at++]!.text.slice(2)).toLowerCase();
  if (tokenAt(reader, reader.at) !== Mark.DOT) {
    const value = parseValue(reader);
    if (value === null) return null;
    const transaction = nextTransaction(first, value.value);
    return transaction === undefined ? settingOf(first, value) : transaction;
  }
  const name = reader.pieces[reader.at + 1];
  reader.at += 2;
  if (name === undefined || !isName(name)) return null;
  const isSession = first === 'session' || first === 'local';
  const isGlobal = first === 'global' || first === 'persist' || first === 'persist_only';
  if (isGlobal) skipComponent(reader);
  const value = parseValue(reader);
  if (value === null) return null;
  if (isGlobal) return { kind: 'global' };
  return isSession ? settingOf(unquoted(name.text).toLowerCase(), value) : null;
}

/** `x = expr` */
function parseSetting(reader: Reader): Assignment | null {
  const name = reader.pieces[reader.at++];
  if (name === undefined || !isName(name)) return null;
  if (reader.isGlobal) skipComponent(reader);
  const value = parseValue(reader);
  if (value === null) return null;
  return reader.isGlobal ? { kind: 'global' } : settingOf(unquoted(name.text).toLowerCase(), value);
}

/** Past the second part of a component's variable, `validate_password.length`; they are global. */
function skipComponent(reader: Reader): void {
  if (tokenAt(reader, reader.at) === Mark.DOT) reader.at += 2;
}

function settingOf(name: string, value: Value): Assignment | null {
  // A variable has a plain name; with others something is not as it seems.
  return /^[a-z0-9_$]+$/.test(name) ? { kind: 'setting', name, ...value } : null;
}

/** `@@transaction_isolation = x` and its kin, which hold for the next transaction; undefined: it is another. */
function nextTransaction(name: string, value: string): Assignment | null | undefined {
  const plain = value.replace(/^'(.*)'$/s, '$1').toUpperCase();
  const found: TransactionAssignment = { kind: 'transaction', scope: 'next', isolation: null, access: null };
  switch (name) {
    case 'tx_isolation':
    case 'transaction_isolation': {
      const isolation = plain.replace('-', ' ');
      return isIsolation(isolation) ? { ...found, isolation } : null;
    }
    case 'tx_read_only':
    case 'transaction_read_only':
      if (/^(?:1|ON|TRUE)$/.test(plain)) return { ...found, access: 'read only' };
      return /^(?:0|OFF|FALSE)$/.test(plain) ? { ...found, access: 'read write' } : null;
    default:
      return undefined;
  }
}

/** NAMES x [COLLATE y] */
function parseNames(reader: Reader): Assignment | null {
  reader.at++;
  const characterSet = parseCharacterSetName(reader);
  if (characterSet === null) return null;
  if (reader.pieces[reader.at]?.text.toLowerCase() !== 'collate') {
    return { kind: 'names', characterSet, collation: null };
  }
  reader.at++;
  const collation = parseCharacterSetName(reader);
  return collation === null ? null : { kind: 'names', characterSet, collation };
}

/** CHARACTER SET x, CHARSET x; or a variable of such a name. */
function parseCharacterSet(reader: Reader): Assignment | null {
  if (assigns(reader, reader.at + 1)) return parseSetting(reader);
  const isOneWord = tokenAt(reader, reader.at) === Word.CHARSET;
  if (!isOneWord && tokenAt(reader, reader.at + 1) !== Word.SET) return null;
  reader.at += isOneWord ? 1 : 2;
  const characterSet = parseCharacterSetName(reader);
  return characterSet === null ? null : { kind: 'character_set', characterSet };
}

/** The name of a character set or collation, bare or quoted, in small letters. */
function parseCharacterSetName(reader: Reader): string | null {
  const piece = reader.pieces[reader.at++];
  if (piece === undefined || !(isName(piece) || piece.token === Token.STRING)) return null;
  const name = unquoted(piece.text).toLowerCase();
  return /^[a-z0-9_]+$/.test(name) ? name : null;
}

// Values

interface Value {
  value: string;
  isLiteral: boolean;
}

/** `= expr` or `:= expr`, up to the next comma outside of parentheses. */
function parseValue(reader: Reader): Value | null {
  if (!assigns(reader, reader.at)) return null;
  const isUserVariable = reader.pieces[reader.at - 1]!.token === Token.USER_VARIABLE;
  reader.at += tokenAt(reader, reader.at) === Mark.COLON ? 2 : 1;
  const first = reader.at;
  let depth = 0;
  for (; reader.at < reader.pieces.length; reader.at++) {
    const token = tokenAt(reader, reader.at);
    if (token === Mark.COMMA && depth === 0) break;
    if (token === Mark.OPEN) depth++;
    else if (token === Mark.CLOSE && --depth < 0) return null;
    else if (token === Token.PLACEHOLDER) return null;
  }
  const pieces = reader.pieces.slice(first, reader.at);
  if (pieces.length === 0 || depth !== 0) return null;
  return valueOf(reader, pieces, isUserVariable);
}

function valueOf(reader: Reader, pieces: readonly Piece[], isUserVariable: boolean): Value | null {
  const isLiteral = isLiteralValue(pieces, isUserVariable);
  const [only] = pieces;
  if (pieces.length === 1) return { value: portable(only!, reader.dialect), isLiteral };
  const value = reader.text.toString('latin1', only!.start, pieces.at(-1)!.end);
  // An executable comment may begin in the value and end outside.
  return value.includes('/*') || value.includes('*/') ? null : { value, isLiteral };
}

/** A literal, a signed number, and for a setting a word such as ON, DEFAULT, utf8mb4. */
function isLiteralValue(pieces: readonly Piece[], isUserVariable: boolean): boolean {
  const [first, second] = pieces as [Piece, Piece?];
  if (pieces.length === 1) return isOneLiteral(first, isUserVariable);
  if (pieces.length !== 2) return false;
  const isSigned = (first.text === '-' || first.text === '+') && second!.token === Token.NUMBER;
  const isIntroduced = first.text.startsWith('_') && second!.token === Token.STRING;
  return isSigned || isIntroduced;
}

function isOneLiteral({ token, text }: Piece, isUserVariable: boolean): boolean {
  if (token === Token.STRING || token === Token.NUMBER) return true;
  if (isUserVariable) return token === Word.NULL || token === Word.TRUE || token === Word.FALSE;
  return (isWordToken(token) || token === Token.NAME) && !WITHOUT_PARENTHESES.test(text);
}

/** Functions that need no parentheses. */
const WITHOUT_PARENTHESES = /^(?:CURRENT_\w+|LOCALTIME(?:STAMP)?|UTC_\w+|SYSDATE|ROWNUM)$/i;

/** The text of a literal that means the same whatever ANSI_QUOTES says: with single quotes. */
function portable({ token, text }: Piece, dialect: SqlDialect): string {
  if (!text.startsWith('"')) return text;
  if (token === Token.NAME) return `'${text.slice(1, -1).replaceAll('""', '"').replaceAll("'", "''")}'`;
  if (token !== Token.STRING) return text;
  const escape = dialect.noBackslashEscapes ? /""|'/gs : /\\.|""|'/gs;
  return `'${text.slice(1, -1).replace(escape, (found) => REQUOTED[found] ?? found)}'`;
}

const REQUOTED: Readonly<Record<string, string>> = { '""': '"', "'": "''" };

// Tokens

function tokenAt({ pieces }: Reader, at: number): number {
  return pieces[at]?.token ?? Token.END;
}

/** `=` or `:=` stands there. */
function assigns(reader: Reader, at: number): boolean {
  const token = tokenAt(reader, at);
  return token === Mark.EQUALS || (token === Mark.COLON && tokenAt(reader, at + 1) === Mark.EQUALS);
}

function isName({ token }: Piece): boolean {
  return token === Token.NAME || token === Token.IDENTIFIER || token >= FIRST_WORD;
}

/** A name or text without its quotes. */
function unquoted(text: string): string {
  const quote = text[0];
  if (quote !== '`' && quote !== '"' && quote !== "'") return text;
  return text.slice(1, -1).replaceAll(quote + quote, quote);
}

function isAscii(text: string): boolean {
  return /^[\x00-\x7f]*$/.test(text);
}
