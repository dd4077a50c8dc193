/**
 * The guard of a read endpoint. Its sessions run with their transactions set to READ ONLY, so the server
 * itself refuses every write with 1792, whatever the account may do and on whichever server. What is left
 * for us is to see that a session does not take that setting back.
 *
 * Three answers: the statement passes; it passes to nobody but is answered OK (a driver that sets its
 * session to READ WRITE on connecting, as on a read-only server, where that is allowed and changes nothing);
 * or it is refused.
 */
import { Lexer } from './lexer.ts';

export type GuardVerdict = { kind: 'pass' } | { kind: 'answer_ok' } | { kind: 'refuse'; what: string };

const PASS: GuardVerdict = { kind: 'pass' };

/** A semicolon, the only byte by which one packet can hold several statements. */
const SEMICOLON = 0x3b;

/** True when the statement is a plain SELECT, alone in its packet: the path of nearly every read. */
export function isPlainSelect(text: Buffer, start: number, end: number): boolean {
  if (end - start < 7) return false;
  const isSelect =
    (text[start]! | 0x20) === 0x73 &&
    (text[start + 1]! | 0x20) === 0x65 &&
    (text[start + 2]! | 0x20) === 0x6c &&
    (text[start + 3]! | 0x20) === 0x65 &&
    (text[start + 4]! | 0x20) === 0x63 &&
    (text[start + 5]! | 0x20) === 0x74 &&
    text[start + 6]! <= 0x20;
  if (!isSelect) return false;
  const semicolon = text.indexOf(SEMICOLON, start + 7);
  return semicolon < 0 || semicolon >= end;
}

/** Looks at the whole text of a COM_QUERY or COM_STMT_PREPARE. */
export function guardRead(text: Buffer, start: number, end: number): GuardVerdict {
  const statements = splitStatements(text, start, end);
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

/** The words of each statement; quoted text that a statement would execute is read as words, too. */
function splitStatements(text: Buffer, start: number, end: number): string[][] {
  const lexer = new Lexer(text, start, end);
  const statements: string[][] = [];
  let words: string[] = [];
  for (;;) {
    const token = lexer.next();
    if (token === 'word') words.push(lexer.word());
    else if (token === 'quoted') words.push(...quotedWords(text, lexer.tokenStart, lexer.tokenEnd));
    else if (token === 'semicolon' || token === 'end') {
      if (words.length > 0) statements.push(words);
      words = [];
      if (token === 'end') return statements;
    }
  }
}

/** Quoted text counts as one word when it is a name (`tx_read_only` in backquotes), else as its words. */
function quotedWords(text: Buffer, start: number, end: number): string[] {
  const lexer = new Lexer(text, start + 1, end - 1);
  const words: string[] = [];
  for (let token = lexer.next(); token !== 'end'; token = lexer.next()) {
    if (token === 'word') words.push(`'${lexer.word()}`);
  }
  return words;
}

/**
 * 1. SET [SESSION] TRANSACTION … READ WRITE: answered OK, nothing changes.
 * 2. START TRANSACTION … READ WRITE: refused, as a read-only server refuses it.
 * 3. SET of tx_read_only / transaction_read_only, however it is spelled: refused.
 * 4. A text that is executed (PREPARE … FROM, EXECUTE IMMEDIATE, BEGIN NOT ATOMIC, SET STATEMENT) with
 *    any of these inside: refused.
 */
function guardStatement(words: readonly string[]): GuardVerdict {
  const plain = words.map((word) => word.replace(/^'/, ''));
  const readWrite = plain.some((word, index) => word === 'READ' && plain[index + 1] === 'WRITE');
  switch (plain[0]) {
    case 'SET':
      if (plain.some(namesReadOnly)) return { kind: 'refuse', what: 'SET of transaction_read_only' };
      if (!readWrite) return PASS;
      return plain.includes('TRANSACTION') &&
        plain[1] !== 'STATEMENT' &&
        plain[1] !== 'GLOBAL' &&
        !words.some((word) => word.startsWith("'"))
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
    case undefined:
    default:
      return PASS;
  }
}

/** READ WRITE inside a quoted value (SET @a = 'read write') changes nothing. */
function quietSet(words: readonly string[]): GuardVerdict {
  const unquoted = words.filter((word) => !word.startsWith("'"));
  const readWrite = unquoted.some((word, index) => word === 'READ' && unquoted[index + 1] === 'WRITE');
  return readWrite ? { kind: 'refuse', what: 'SET … READ WRITE' } : PASS;
}

function namesReadOnly(word: string): boolean {
  return /(?:^|@)(?:TX|TRANSACTION)_READ_ONLY$/.test(word);
}
