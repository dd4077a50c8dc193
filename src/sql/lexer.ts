/**
 * The least of a lexer that the endpoints need: words of a statement, one after the other, past spaces,
 * comments and quoted text, without building strings. Executable comments (slash star bang, also with M
 * and a version) are code, as the servers treat them. Works on bytes; all it looks for is ASCII.
 */

/** What `next` has found. */
export type Token = 'word' | 'quoted' | 'semicolon' | 'other' | 'end';

const SPACE_MAX = 0x20;
const STAR = 0x2a;
const SLASH = 0x2f;
const MINUS = 0x2d;
const HASH = 0x23;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

export class Lexer {
  readonly #text: Buffer;
  readonly #end: number;
  /** Between the marks of an executable comment; only there a star and a slash are its end. */
  #inExecutable = false;
  /** Offsets of the token found last. */
  tokenStart = 0;
  tokenEnd: number;

  /** Reads `text[start, end)`. */
  constructor(text: Buffer, start: number, end: number) {
    this.#text = text;
    this.#end = end;
    this.tokenEnd = start;
  }

  /** Goes to the next token. */
  next(): Token {
    const text = this.#text;
    const start = this.#skipBlanks(this.tokenEnd);
    this.tokenStart = start;
    if (start >= this.#end) {
      this.tokenEnd = start;
      return 'end';
    }
    const first = text[start]!;
    if (isWordByte(first)) {
      let offset = start + 1;
      while (offset < this.#end && isWordByte(text[offset]!)) offset++;
      this.tokenEnd = offset;
      return 'word';
    }
    if (first === 0x27 || first === 0x22 || first === 0x60) {
      this.tokenEnd = this.#afterQuote(start, first);
      return 'quoted';
    }
    this.tokenEnd = start + 1;
    return first === 0x3b ? 'semicolon' : 'other';
  }

  /** The word found last, in capitals. */
  word(): string {
    return this.#text.toString('latin1', this.tokenStart, this.tokenEnd).toUpperCase();
  }

  /** Past white space and comments; the marks of an executable comment count as blanks. */
  #skipBlanks(from: number): number {
    const text = this.#text;
    let offset = from;
    while (offset < this.#end) {
      const byte = text[offset]!;
      const following = offset + 1 < this.#end ? text[offset + 1]! : 0;
      if (byte <= SPACE_MAX) offset++;
      else if (byte === HASH) offset = this.#afterLine(offset);
      else if (byte === MINUS && following === MINUS && this.#isBlankAt(offset + 2))
        offset = this.#afterLine(offset);
      else if (byte === SLASH && following === STAR) offset = this.#afterCommentStart(offset);
      else if (byte === STAR && following === SLASH && this.#inExecutable) {
        this.#inExecutable = false;
        offset += 2;
      } else break;
    }
    return offset;
  }

  #isBlankAt(offset: number): boolean {
    return offset >= this.#end || this.#text[offset]! <= SPACE_MAX;
  }

  #afterLine(from: number): number {
    const newline = this.#text.indexOf(NEWLINE, from);
    return newline < 0 || newline >= this.#end ? this.#end : newline + 1;
  }

  /** Past a whole comment, or past the mark of an executable one, whose content is code. */
  #afterCommentStart(from: number): number {
    let mark = from + 2;
    if (this.#text[mark] === 0x4d && this.#text[mark + 1] === 0x21) mark++;
    if (mark < this.#end && this.#text[mark] === 0x21) {
      this.#inExecutable = true;
      mark++;
      while (mark < this.#end && isDigit(this.#text[mark]!)) mark++;
      return mark;
    }
    const close = this.#text.indexOf('*/', from + 2, 'latin1');
    return close < 0 || close + 2 > this.#end ? this.#end : close + 2;
  }

  #afterQuote(from: number, quote: number): number {
    const text = this.#text;
    let offset = from + 1;
    while (offset < this.#end) {
      const byte = text[offset]!;
      if (byte === BACKSLASH && quote !== 0x60) offset += 2;
      else if (byte === quote && text[offset + 1] === quote) offset += 2;
      else if (byte === quote) return Math.min(offset + 1, this.#end);
      else offset++;
    }
    return this.#end;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Letters, digits, `_`, `$`, `@` (variables), and all bytes of characters beyond ASCII. */
function isWordByte(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x40 && byte <= 0x5a) ||
    isDigit(byte) ||
    byte === 0x5f ||
    byte === 0x24 ||
    byte >= 0x80
  );
}
