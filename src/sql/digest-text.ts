/**
 * A statement as SHOW DIGESTS shows it: literals are `?`, lists of them `(?, ...)`, one blank between words,
 * small letters, no comments. Two texts are alike exactly when their digests are.
 */
import { Digest } from './digest.ts';
import { Lexer, Token } from './lexer.ts';
import type { SqlDialect } from './statement.ts';

/** The text of the digest of `text[start, end)`, at most `maxLength` characters of it. */
export function digestText(
  text: Buffer,
  start: number,
  end: number,
  dialect: SqlDialect,
  maxLength: number,
): string {
  const lexer = new Lexer();
  const digest = new Digest();
  const pieces: string[] = [];
  lexer.begin(text, start, end, dialect);
  digest.begin(pieces);
  for (let token = lexer.next(); token !== Token.END; token = lexer.next()) digest.add(token, lexer);
  const whole = pieces.join('');
  return whole.length <= maxLength ? whole : `${whole.slice(0, Math.max(0, maxLength - 3))}...`;
}

/** The two halves of a digest as `0x` and 16 digits. */
export function formatDigest(high: number, low: number): string {
  return `0x${hex(high)}${hex(low)}`;
}

function hex(half: number): string {
  return (half >>> 0).toString(16).padStart(8, '0');
}
