/**
 * Recognises KILL, because the id in it is one that dbproxy told a client and no server knows.
 */
import { ANY_DIALECT, isWordToken, Lexer, Mark, Token } from './lexer.ts';
import { AdminWord } from './words.ts';

/** A KILL of one connection by its number. */
export interface KillStatement {
  /** Ends the running statement only. */
  query: boolean;
  id: number;
}

/** False when the statement `text[start, end)` cannot be a KILL: cheap, for the path of every statement. */
export function mayBeKill(text: Buffer, start: number, end: number): boolean {
  if (start >= end) return false;
  const first = text[start]!;
  // k, K, or something that may stand before the first word: a blank or a comment.
  return (first | 0x20) === 0x6b || first <= 0x20 || first === 0x2f || first === 0x2d || first === 0x23;
}

/**
 * Reads `KILL [HARD | SOFT] [CONNECTION | QUERY] id`; undefined for all else, also for KILL USER and for an
 * id that is an expression, which the server itself answers.
 */
export function parseKill(text: Buffer, start: number, end: number): KillStatement | undefined {
  const lexer = new Lexer();
  lexer.begin(text, start, end, ANY_DIALECT);
  if (lexer.next() !== AdminWord.KILL) return undefined;
  let query = false;
  for (;;) {
    const token = lexer.next();
    const word = lexer.word();
    if (token === Token.NUMBER && /^\d{1,10}$/.test(word)) break;
    if (!isWordToken(token)) return undefined;
    if (word === 'QUERY') query = true;
    else if (word !== 'HARD' && word !== 'SOFT' && word !== 'CONNECTION') return undefined;
  }
  const found = { query, id: Number(lexer.word()) };
  const after = lexer.next();
  if (after === Mark.SEMICOLON) return lexer.next() === Token.END ? found : undefined;
  return after === Token.END ? found : undefined;
}
