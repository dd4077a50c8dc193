/**
 * The guard of a read endpoint. Its sessions run with their transactions set to READ ONLY, so the server
 * itself refuses every write with 1792, whatever the account may do and on whichever server. What is left
 * for us is to see that a session does not take that setting back.
 *
 * Three answers: the statement passes; it passes to nobody but is answered OK (a driver that sets its
 * session to READ WRITE on connecting, as on a read-only server, where that is allowed and changes nothing);
 * or it is refused.
 */
import { ANY_DIALECT, isWordToken, Lexer, Mark, Token } from './lexer.ts';
import { FOLDED } from './words.ts';

export type GuardVerdict = { kind: 'pass' } | { kind: 'answer_ok' } | { kind: 'refuse'; what: string };

const PASS: GuardVerdict = { kind: 'pass' };

/** A semicolon, the only byte by which one packet can hold several statements. */
const SEMICOLON = 0x3b;

const BACKSLASH = 0x5c;

/** Marks the words that were quoted. */
const QUOTE = "'";

/** True when `text[start, end)`, perhaps the beginning of a statement only, begins with SELECT and a blank. */
export function beginsWithSelect(text: Buffer, start: number, end: number): boolean {
  if (end - start < 7) return false;
  return (
    (text[start]! | 0x20) === 0x73 &&
    (text[start + 1]! | 0x20) === 0x65 &&
    (text[start + 2]! | 0x20) === 0x6c &&
    (text[start + 3]! | 0x20) === 0x65 &&
    (text[start + 4]! | 0x20) === 0x63 &&
    (text[start + 5]! | 0x20) === 0x74 &&
    text[start + 6]! <= 0x20
  );
}

/** True when the whole statement is a SELECT alone in its packet: the path of nearly every read. */
export function isPlainSelect(text: Buffer, start: number, end: number): boolean {
  if (!beginsWithSelect(text, start, end)) return false;
  const semicolon = text.indexOf(SEMICOLON, start + 7);
  return semicolon < 0 || semicolon >= end;
}

/**
 * Looks at the whole text of a COM_QUERY or COM_STMT_PREPARE. `onPrimary`: the server behind could write, so
 * a routine, which nobody can look into from here, is refused.
 */
export function guardRead(text: Buffer, start: number, end: number, onPrimary: boolean): GuardVerdict {
  if (mayHideSetting(text, start, end))
    return { kind: 'refuse', what: 'READ WRITE among several statements' };
  const statements = splitStatements(text, start, end);
  if (onPrimary && statements.some(([first]) => first === 'CALL')) {
    return { kind: 'refuse', what: 'CALL while the primary serves the reads: a routine may set READ WRITE' };
  }
  for (const [index, words] of statements.entries()) {
    const verdict = guardStatement(words);
    if (verdict.kind === 'pass') continue;
    // OK can be answered for a whole packet only; inside a list the setting is refused.
    const alone = statements.length === 1 && index === 0;
    return verdict.kind === 'answer_ok' && !alone
      ? { kind: 'refuse', what: 'SET … READ WRITE among several statements' }
      : verdict;
  }
  return PASS;
}

/**
 * Several statements in one packet that name the setting anywhere. Where a quote ends depends on the
 * session's sql_mode and character set, so among several statements even quoted text is not trusted; and
 * whether an executable comment is code depends on the server's version.
 */
function mayHideSetting(text: Buffer, start: number, end: number): boolean {
  const semicolon = text.indexOf(SEMICOLON, start);
  const several = semicolon >= 0 && semicolon < end - 1;
  const raw = text.toString('latin1', start, end);
  return (several || /\/\*M?!/.test(raw)) && namesSetting(raw);
}

/** True when the setting, or TRANSACTION with READ and WRITE, is anywhere in the raw text. */
function namesSetting(raw: string): boolean {
  return (
    /(?:tx|transaction)_read_only/i.test(raw) ||
    (/transaction/i.test(raw) && standsBefore(raw, READ_WORD, WRITE_WORD))
  );
}

const READ_WORD = /(?<![a-z_$])read(?![\w$])/i;
const WRITE_WORD = /(?<![a-z_$])write(?![\w$])/gi;

/** True when some `last` comes after the first `first`; each text is gone through once. */
function standsBefore(raw: string, first: RegExp, last: RegExp): boolean {
  const from = raw.search(first);
  if (from < 0) return false;
  last.lastIndex = from;
  return last.test(raw);
}

/** The words of each statement; quoted text that a statement would execute is read as words, too. */
function splitStatements(text: Buffer, start: number, end: number): string[][] {
  const lexer = new Lexer();
  lexer.begin(text, start, end, ANY_DIALECT);
  const statements: string[][] = [];
  let words: string[] = [];
  for (;;) {
    const token = lexer.next();
    if (isPlainWord(token)) words.push(lexer.word());
    else if (isQuoted(token)) {
      // x'…' is no text that can be seen: its letter counts as a word before it.
      const prefix = FOLDED[text[lexer.tokenStart]!] === 0 ? 0 : 1;
      if (prefix === 1) words.push('X');
      words.push(...quotedWords(text, lexer.tokenStart + prefix, lexer.tokenEnd));
    } else if (token === Mark.SEMICOLON || token === Token.END) {
      if (words.length > 0) statements.push(words);
      words = [];
      if (token === Token.END) return statements;
    }
  }
}

/** Words, numbers and variables, as they stand there. */
function isPlainWord(token: number): boolean {
  return (
    isWordToken(token) ||
    token === Token.NUMBER ||
    token === Token.USER_VARIABLE ||
    token === Token.SYSTEM_VARIABLE
  );
}

function isQuoted(token: number): boolean {
  return token === Token.STRING || token === Token.NAME;
}

/** The words in quoted text, each marked by a quote, after a quote alone for the beginning of the text. */
function quotedWords(text: Buffer, start: number, end: number): string[] {
  const lexer = new Lexer();
  lexer.begin(text, start + 1, Math.max(start + 1, end - 1), ANY_DIALECT);
  const words: string[] = [QUOTE];
  // With a backslash in it the text is not what its words say: it counts as more than one piece.
  if (text.subarray(start, end).includes(BACKSLASH)) words.push(QUOTE);
  for (let token = lexer.next(); token !== Token.END; token = lexer.next()) {
    if (isPlainWord(token)) words.push(`${QUOTE}${lexer.word()}`);
  }
  return words;
}

/**
 * 1. SET [SESSION] TRANSACTION … READ WRITE: answered OK, nothing changes.
 * 2. START TRANSACTION … READ WRITE: refused, as a read-only server refuses it.
 * 3. SET of tx_read_only / transaction_read_only, however it is spelled: refused.
 * 4. ANALYZE TABLE and FLUSH: READ ONLY does not stop them, and on a replica they make transactions that the
 *    primary does not have; refused.
 * 5. A text that is executed (PREPARE … FROM, EXECUTE IMMEDIATE, BEGIN NOT ATOMIC, SET STATEMENT) with
 *    any of these inside: refused.
 * 6. A text that is executed and cannot be seen here (a variable, an expression): refused.
 * 7. Any of these inside a compound statement (IF, LOOP, FOR, a label): refused.
 */
function guardStatement(words: readonly string[]): GuardVerdict {
  const plain = words.map((word) => word.replace(/^'/, ''));
  const readWrite = hasReadWrite(plain);
  if (runsUnseenText(words)) return { kind: 'refuse', what: 'the text it executes cannot be checked' };
  switch (plain[0]) {
    case 'SET':
      if (plain.some(namesReadOnly)) return { kind: 'refuse', what: 'SET of transaction_read_only' };
      if (!readWrite) return PASS;
      return /^SET (?:(?:SESSION|LOCAL) )?TRANSACTION READ WRITE$/.test(words.join(' '))
        ? { kind: 'answer_ok' }
        : quietSet(words);
    case 'START':
      return readWrite ? { kind: 'refuse', what: 'START TRANSACTION READ WRITE' } : PASS;
    case 'PREPARE':
    case 'EXECUTE':
    case 'BEGIN':
      return readWrite || plain.some(namesReadOnly)
        ? { kind: 'refuse', what: `${plain[0]} of a text that sets READ WRITE` }
        : PASS;
    case 'ANALYZE':
    case 'FLUSH':
      return writesBinaryLog(plain)
        ? { kind: 'refuse', what: `${plain[0]}, which goes into the server's own binary log` }
        : PASS;
    case undefined:
    default:
      return insideCompound(words, plain);
  }
}

function hasReadWrite(words: readonly string[]): boolean {
  return words.some((word, index) => word === 'READ' && words[index + 1] === 'WRITE');
}

/** PREPARE name FROM and EXECUTE IMMEDIATE, with anything but one literal that holds no such text itself. */
function runsUnseenText(words: readonly string[]): boolean {
  const at = words.findIndex(
    (word, index) =>
      (word === 'IMMEDIATE' && words[index - 1] === 'EXECUTE') ||
      (word === 'FROM' && (words[index - 2] === 'PREPARE' || words[index - 3] === 'PREPARE')),
  );
  if (at < 0 || words[0] === 'SELECT') return false;
  const using = words.indexOf('USING', at);
  const text = words.slice(at + 1, using < 0 ? words.length : using);
  const oneLiteral =
    text[0] === QUOTE && text.slice(1).every((word) => word.length > 1 && word.startsWith(QUOTE));
  return !oneLiteral || text.some((word) => word === `${QUOTE}IMMEDIATE` || word === `${QUOTE}PREPARE`);
}

/** ANALYZE TABLE, and FLUSH that is not LOCAL. */
function writesBinaryLog([first, second]: readonly string[]): boolean {
  const isLocal = second === 'LOCAL' || second === 'NO_WRITE_TO_BINLOG';
  // ANALYZE of a statement is a read; of a table it changes what the server knows of it.
  return first === 'ANALYZE' ? isLocal || second === 'TABLE' : !isLocal;
}

/** READ and WRITE are reserved words, so side by side and unquoted they are nothing else. */
function insideCompound(words: readonly string[], plain: readonly string[]): GuardVerdict {
  const unquoted = words.filter((word) => !word.startsWith(QUOTE));
  const sets = unquoted.includes('SET') && plain.some(namesReadOnly);
  return sets || hasReadWrite(unquoted) ? { kind: 'refuse', what: 'READ WRITE inside a statement' } : PASS;
}

/** READ WRITE inside a quoted value (SET @a = 'read write') changes nothing. */
function quietSet(words: readonly string[]): GuardVerdict {
  const unquoted = words.filter((word) => !word.startsWith(QUOTE));
  return hasReadWrite(unquoted) ? { kind: 'refuse', what: 'SET … READ WRITE' } : PASS;
}

function namesReadOnly(word: string): boolean {
  return /(?:^|@)(?:TX|TRANSACTION)_READ_ONLY$/.test(word);
}
