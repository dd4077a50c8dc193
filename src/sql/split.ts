/**
 * Where the statements of a packet begin and end.
 */
import { Lexer, Mark, Token } from './lexer.ts';
import type { SqlDialect } from './statement.ts';

/** One statement of several: `text[start, end)`. */
export interface StatementPlace {
  readonly start: number;
  readonly end: number;
}

/** The statements of `text[start, end)` that are not empty, in their order. */
export function splitStatements(
  text: Buffer,
  start: number,
  end: number,
  dialect: SqlDialect,
): StatementPlace[] {
  const lexer = new Lexer();
  const places: StatementPlace[] = [];
  let first = -1;
  lexer.begin(text, start, end, dialect);
  for (;;) {
    const token = lexer.next();
    const isBoundary = token === Mark.SEMICOLON || token === Token.END;
    if (!isBoundary && first < 0) first = lexer.tokenStart;
    if (isBoundary && first >= 0) {
      places.push({ start: first, end: lexer.tokenStart });
      first = -1;
    }
    if (token === Token.END) return places;
  }
}
