/**
 * The lexer for all that looks into statements: one token after the other, on bytes, without strings. Where a
 * quote or a comment ends it decides as the servers do (MySQL `sql/sql_lex.cc`, MariaDB the same with its own
 * executable comments); where servers, versions or character sets differ and it makes a difference here, it
 * goes on and notes the place in `ambiguousAt`.
 *
 * MySQL manual: "Comment Syntax", "String Literals", "Schema Object Names", "Keywords and Reserved Words";
 * MariaDB: "Comment Syntax".
 */
import { beginsWithMycat, Hint, readHint } from './route-hint.ts';
import type { SqlDialect } from './statement.ts';
import { FIRST_WORD, FOLDED, findWord, HASH_PRIME, HASH_SEED } from './words.ts';

/**
 * What `next` has found: one of these, the code of a mark (`(`, `,`, …: 33 to 126), or, from FIRST_WORD on,
 * the number of a known word.
 */
export const Token = {
  END: 0,
  /** A word that is not in the table of words. */
  IDENTIFIER: 1,
  /** A quoted name. */
  NAME: 2,
  STRING: 3,
  NUMBER: 4,
  /** The `?` of a prepared statement. */
  PLACEHOLDER: 5,
  /** `@v`, also quoted. */
  USER_VARIABLE: 6,
  /** `@@v`, without what may follow a dot. */
  SYSTEM_VARIABLE: 7,
} as const;

/** Marks that code asks for by name. */
export const Mark = {
  OPEN: 0x28,
  CLOSE: 0x29,
  COMMA: 0x2c,
  DOT: 0x2e,
  COLON: 0x3a,
  SEMICOLON: 0x3b,
  EQUALS: 0x3d,
} as const;

/** What a byte may begin. */
const Begin = {
  MARK: 0,
  BLANK: 1,
  CONTROL: 2,
  WORD: 3,
  DIGIT: 4,
  QUOTE: 5,
  BACKQUOTE: 6,
  SLASH: 7,
  MINUS: 8,
  HASH: 9,
  STAR: 10,
  AT: 11,
  DOT: 12,
  QUESTION: 13,
  BACKSLASH: 14,
} as const;

const BEGIN = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) BEGIN[byte] = beginOf(byte);

function beginOf(byte: number): number {
  if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) return Begin.BLANK;
  if (byte < 0x20 || byte === 0x7f) return Begin.CONTROL;
  if (byte >= 0x30 && byte <= 0x39) return Begin.DIGIT;
  if (FOLDED[byte] !== 0) return Begin.WORD;
  switch (byte) {
    case 0x22:
    case 0x27:
      return Begin.QUOTE;
    case 0x60:
      return Begin.BACKQUOTE;
    case 0x2f:
      return Begin.SLASH;
    case 0x2d:
      return Begin.MINUS;
    case 0x23:
      return Begin.HASH;
    case 0x2a:
      return Begin.STAR;
    case 0x40:
      return Begin.AT;
    case 0x2e:
      return Begin.DOT;
    case 0x3f:
      return Begin.QUESTION;
    case 0x5c:
      return Begin.BACKSLASH;
    default:
      return Begin.MARK;
  }
}

const NEWLINE = 0x0a;
const EXCLAMATION = 0x21;
const DOUBLE_QUOTE = 0x22;
const DOLLAR = 0x24;
const SINGLE_QUOTE = 0x27;
const STAR = 0x2a;
const PLUS = 0x2b;
const MINUS = 0x2d;
const SLASH = 0x2f;
const ZERO = 0x30;
const UPPER_M = 0x4d;
const BACKSLASH = 0x5c;
const BACKQUOTE = 0x60;
const SMALL_E = 0x65;
const NO_BREAK_SPACE = 0xa0;
/** The blank of the old PC character sets (cp852, cp866, keybcs2). */
const PC_BLANK = 0xff;

/** The second hash of a word, so that a digest has 64 bits. */
const SECOND_SEED = 0x2f0b4c47;
const SECOND_PRIME = 0x5bd1e995;

/** MySQL reads versions of six digits at least from here on; before, the sixth is already code. */
const MYSQL_WITH_SIX_DIGITS = 80400;

/** For those who do not know the servers behind: every executable comment is code. */
export const ANY_DIALECT: SqlDialect = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: Infinity,
  maxVersion: Infinity,
};

export class Lexer {
  #text: Buffer = Buffer.alloc(0);
  #end = 0;
  #dialect: SqlDialect = ANY_DIALECT;
  #isWide = false;
  /** Between the marks of an executable comment; only there a star and a slash are its end. */
  #inExecutable = false;
  /** The token before was a dot with this word right behind it: then it is a name, whatever it says. */
  #afterDot = false;
  /** Offsets of the token found last. */
  tokenStart = 0;
  tokenEnd = 0;
  /** Of the word or quoted name found last, capitals as small letters. */
  hash = 0;
  secondHash = 0;
  /** A value of `Hint`: what the comments passed so far ask for. */
  hint: number = Hint.NONE;
  /** The first place where it is not sure how the server reads on; -1: none. */
  ambiguousAt = -1;

  /** Begins to read `text[start, end)`. */
  begin(text: Buffer, start: number, end: number, dialect: SqlDialect): void {
    this.#text = text;
    this.#end = end;
    this.#dialect = dialect;
    this.#isWide = dialect.characterSet !== 'safe';
    this.#inExecutable = false;
    this.#afterDot = false;
    this.tokenStart = start;
    this.tokenEnd = start;
    this.hint = Hint.NONE;
    this.ambiguousAt = -1;
  }

  /** Goes to the next token. */
  next(): number {
    const text = this.#text;
    const end = this.#end;
    let offset = this.tokenEnd;
    for (;;) {
      if (offset >= end) return this.#atEnd();
      const byte = text[offset]!;
      switch (BEGIN[byte]!) {
        case Begin.BLANK:
          offset++;
          break;
        case Begin.WORD:
          return this.#isPrefixedString(offset)
            ? this.#string(offset, offset + 1)
            : this.#word(offset, offset);
        case Begin.DIGIT:
          return this.#afterDot ? this.#word(offset, offset) : this.#number(offset);
        case Begin.QUOTE:
          if (byte === DOUBLE_QUOTE && this.#dialect.ansiQuotes) return this.#name(offset);
          return this.#string(offset, offset);
        case Begin.BACKQUOTE:
          return this.#name(offset);
        case Begin.DOT:
          return this.#dot(offset);
        case Begin.AT:
          return this.#variable(offset);
        case Begin.QUESTION:
          return this.#found(Token.PLACEHOLDER, offset, offset + 1);
        case Begin.CONTROL:
          // The servers stop or complain here.
          this.#ambiguous(offset);
          offset++;
          break;
        case Begin.HASH:
          offset = this.#afterLine(offset, offset + 1);
          break;
        case Begin.MINUS:
          if (!this.#isLineComment(offset)) return this.#found(byte, offset, offset + 1);
          offset = this.#afterLine(offset, offset + 2);
          break;
        case Begin.SLASH:
          if (offset + 1 >= end || text[offset + 1] !== STAR) return this.#found(byte, offset, offset + 1);
          offset = this.#afterCommentStart(offset);
          break;
        case Begin.STAR:
          if (!this.#inExecutable || offset + 1 >= end || text[offset + 1] !== SLASH) {
            return this.#found(byte, offset, offset + 1);
          }
          this.#inExecutable = false;
          offset += 2;
          break;
        case Begin.BACKSLASH:
          this.#ambiguous(offset);
          return this.#found(byte, offset, offset + 1);
        default:
          return this.#found(byte, offset, offset + 1);
      }
    }
  }

  /** The token found last, as it stands there, in capitals. */
  word(): string {
    return this.#text.toString('latin1', this.tokenStart, this.tokenEnd).toUpperCase();
  }

  /** The token found last, for people: as the digest counts it, with capitals as small letters. */
  foldedText(): string {
    const bytes = Buffer.from(this.#text.subarray(this.tokenStart, this.tokenEnd));
    for (let index = 0; index < bytes.length;) {
      if (isCapital(bytes[index]!)) bytes[index]! |= 0x20;
      index += this.#characterLength(this.tokenStart + index);
    }
    const text = bytes.toString('utf8');
    return text.includes('\uFFFD') ? bytes.toString('latin1') : text;
  }

  /** The byte at this offset of the statement's text. */
  byteAt(offset: number): number {
    return offset < this.#end ? this.#text[offset]! : 0;
  }

  /** The number that `text[start, end)` has as a word, also where a dot or quotes made it a name; 0: none. */
  wordAt(start: number, end: number): number {
    let hash = HASH_SEED;
    for (let offset = start; offset < end; offset++) {
      hash = Math.imul(hash ^ FOLDED[this.#text[offset]!]!, HASH_PRIME);
    }
    return findWord(this.#text, start, end, hash);
  }

  #found(token: number, start: number, end: number): number {
    this.#afterDot = false;
    this.tokenStart = start;
    this.tokenEnd = end;
    return token;
  }

  #atEnd(): number {
    if (this.#inExecutable) this.#ambiguous(this.#end);
    this.#inExecutable = false;
    return this.#found(Token.END, this.#end, this.#end);
  }

  #ambiguous(offset: number): void {
    if (this.ambiguousAt < 0) this.ambiguousAt = offset;
  }

  /** A word whose bytes begin at `from`; the token begins at `start`. */
  #word(start: number, from: number): number {
    const text = this.#text;
    const end = this.#end;
    let hash = HASH_SEED;
    let second = SECOND_SEED;
    let bits = 0;
    let offset = from;
    for (; offset < end; offset++) {
      const byte = text[offset]!;
      const folded = FOLDED[byte]!;
      if (folded === 0) break;
      hash = Math.imul(hash ^ folded, HASH_PRIME);
      second = Math.imul(second ^ folded, SECOND_PRIME);
      bits |= byte;
    }
    if (bits >= 0x80) return this.#wideWord(start, from);
    const isName = this.#afterDot;
    this.hash = hash;
    this.secondHash = second;
    this.#found(Token.IDENTIFIER, start, offset);
    if (isName) return Token.IDENTIFIER;
    const word = findWord(text, from, offset, hash);
    if (word !== 0) return word;
    if (text[start] === DOLLAR) this.#checkDollar(start, offset);
    return Token.IDENTIFIER;
  }

  /** `$$` and `$tag$` begin a text of their own at newer MySQL. */
  #checkDollar(start: number, end: number): void {
    if (this.#dialect.isMariaDb) return;
    for (let offset = start + 1; offset < end; offset++) {
      if (this.#text[offset] === DOLLAR) this.#ambiguous(start);
    }
  }

  /** A word with bytes beyond ASCII in it, which is nobody's keyword. */
  #wideWord(start: number, from: number): number {
    const text = this.#text;
    let hash = HASH_SEED;
    let second = SECOND_SEED;
    let offset = from;
    while (offset < this.#end && FOLDED[text[offset]!] !== 0) {
      const length = this.#characterLength(offset);
      if (length === 1) this.#checkLoneByte(offset);
      for (const last = offset + length; offset < last; offset++) {
        const byte = length === 1 ? FOLDED[text[offset]!]! : text[offset]!;
        hash = Math.imul(hash ^ byte, HASH_PRIME);
        second = Math.imul(second ^ byte, SECOND_PRIME);
      }
    }
    this.hash = hash;
    this.secondHash = second;
    return this.#found(Token.IDENTIFIER, start, offset);
  }

  /** Some bytes are blanks in some character sets, and end a word there. */
  #checkLoneByte(offset: number): void {
    const byte = this.#text[offset]!;
    if (byte < 0x80) return;
    if (this.#isWide) {
      // The one-byte katakana of sjis are letters; all else is no character.
      const isKatakana = this.#dialect.characterSet === 'sjis' && byte >= 0xa1 && byte <= 0xdf;
      if (!isKatakana) this.#ambiguous(offset);
    } else if (byte === NO_BREAK_SPACE || byte === PC_BLANK) this.#ambiguous(offset);
  }

  /**
   * How many bytes the character at `offset` has in the character set of the session, as the servers' own
   * test says (`my_ismbchar`): a first byte without its second counts alone.
   */
  #characterLength(offset: number): number {
    const first = this.#text[offset]!;
    if (!this.#isWide || first < 0x80 || offset + 1 >= this.#end) return 1;
    const next = this.#text[offset + 1]!;
    switch (this.#dialect.characterSet) {
      case 'gbk':
        return first >= 0x81 && first <= 0xfe && isGbkTail(next) ? 2 : 1;
      case 'sjis':
        return isSjisHead(first) && ((next >= 0x40 && next <= 0x7e) || (next >= 0x80 && next <= 0xfc))
          ? 2
          : 1;
      case 'big5':
        return first >= 0xa1 &&
          first <= 0xf9 &&
          ((next >= 0x40 && next <= 0x7e) || (next >= 0xa1 && next <= 0xfe))
          ? 2
          : 1;
      case 'gb18030':
        return this.#gb18030Length(offset, first, next);
      case 'safe':
        return 1;
    }
  }

  #gb18030Length(offset: number, first: number, second: number): number {
    if (first < 0x81 || first > 0xfe) return 1;
    if (isGbkTail(second)) return 2;
    if (!isDigit(second) || offset + 3 >= this.#end) return 1;
    const third = this.#text[offset + 2]!;
    return third >= 0x81 && third <= 0xfe && isDigit(this.#text[offset + 3]!) ? 4 : 1;
  }

  /** x'41', b'01', n'a': the letter right before the quote belongs to the literal. */
  #isPrefixedString(offset: number): boolean {
    if (offset + 1 >= this.#end || this.#text[offset + 1] !== SINGLE_QUOTE || this.#afterDot) return false;
    const letter = this.#text[offset]! | 0x20;
    return letter === 0x78 || letter === 0x62 || letter === 0x6e;
  }

  /** A text in quotes; the quote stands at `from`. */
  #string(start: number, from: number): number {
    const text = this.#text;
    const end = this.#end;
    const quote = text[from]!;
    const escapes = !this.#dialect.noBackslashEscapes;
    let offset = from + 1;
    while (offset < end) {
      const byte = text[offset]!;
      if (byte === quote) {
        if (offset + 1 >= end || text[offset + 1] !== quote)
          return this.#found(Token.STRING, start, offset + 1);
        offset += 2;
      } else if (byte === BACKSLASH && escapes) offset += 2;
      else if (byte >= 0x80 && this.#isWide) offset += this.#characterLength(offset);
      else offset++;
    }
    this.#ambiguous(start);
    return this.#found(Token.STRING, start, end);
  }

  /** A quoted name. Backslashes are letters in it; a NUL ends it at some servers. */
  #name(start: number): number {
    const end = this.#afterName(start);
    return this.#found(Token.NAME, start, end);
  }

  /** Past the quoted name at `start`; notes its hash. */
  #afterName(start: number): number {
    const text = this.#text;
    const end = this.#end;
    const quote = text[start]!;
    let hash = HASH_SEED;
    let second = SECOND_SEED ^ quote;
    let offset = start + 1;
    while (offset < end) {
      const byte = text[offset]!;
      if (byte === quote) {
        if (offset + 1 >= end || text[offset + 1] !== quote) {
          this.hash = hash;
          this.secondHash = second;
          return offset + 1;
        }
        offset++;
      } else if (byte === 0) this.#ambiguous(offset);
      const length = byte >= 0x80 && this.#isWide ? this.#characterLength(offset) : 1;
      for (const last = offset + length; offset < last; offset++) {
        const folded = length === 1 && isCapital(byte) ? byte | 0x20 : text[offset]!;
        hash = Math.imul(hash ^ folded, HASH_PRIME);
        second = Math.imul(second ^ folded, SECOND_PRIME);
      }
    }
    this.#ambiguous(start);
    this.hash = hash;
    this.secondHash = second;
    return end;
  }

  /**
   * What begins with a digit: a number, or a name like `2nd`. A number may end right before a word:
   * `1.5FOR UPDATE` are three tokens, `1FOR` is one.
   */
  #number(start: number): number {
    const text = this.#text;
    if (text[start] === ZERO) {
      const end = this.#afterPrefixedNumber(start);
      if (end > 0) return this.#found(Token.NUMBER, start, end);
    }
    let offset = this.#afterDigits(start + 1);
    const byte = this.byteAt(offset);
    if (byte === Mark.DOT) return this.#fraction(start, offset + 1);
    if (FOLDED[byte] === 0) return this.#found(Token.NUMBER, start, offset);
    if ((byte | 0x20) === SMALL_E) {
      offset++;
      const sign = this.byteAt(offset);
      if (sign === PLUS || sign === MINUS) offset++;
      if (isDigit(this.byteAt(offset))) return this.#found(Token.NUMBER, start, this.#afterDigits(offset));
    }
    this.#afterDot = true; // no keyword begins with a digit
    return this.#word(start, start);
  }

  /** Past 0x1f or 0b01; 0 when it is none. */
  #afterPrefixedNumber(start: number): number {
    const text = this.#text;
    const prefix = this.byteAt(start + 1);
    if (prefix !== 0x78 && prefix !== 0x62) return 0;
    let offset = start + 2;
    while (
      offset < this.#end &&
      (prefix === 0x78 ? isHexDigit(text[offset]!) : (text[offset]! & 0xfe) === ZERO)
    ) {
      offset++;
    }
    return offset > start + 2 && FOLDED[this.byteAt(offset)] === 0 ? offset : 0;
  }

  /** The digits after the point, and an exponent. */
  #fraction(start: number, from: number): number {
    let offset = this.#afterDigits(from);
    if ((this.byteAt(offset) | 0x20) !== SMALL_E) return this.#found(Token.NUMBER, start, offset);
    offset++;
    const sign = this.byteAt(offset);
    if (sign === PLUS || sign === MINUS) offset++;
    if (isDigit(this.byteAt(offset))) return this.#found(Token.NUMBER, start, this.#afterDigits(offset));
    // An exponent without digits is an error at the servers.
    this.#ambiguous(start);
    return this.#found(Token.NUMBER, start, Math.min(offset, this.#end));
  }

  #afterDigits(from: number): number {
    let offset = from;
    while (offset < this.#end && isDigit(this.#text[offset]!)) offset++;
    return offset;
  }

  /** A dot between names, or before the digits of a number; right behind a word it is between names. */
  #dot(start: number): number {
    const next = this.byteAt(start + 1);
    const followsWord =
      start === this.tokenEnd && this.tokenEnd > this.tokenStart && this.#endsWord(start - 1);
    if (isDigit(next) && !followsWord) return this.#fraction(start, start + 1);
    this.#found(Mark.DOT, start, start + 1);
    this.#afterDot = FOLDED[next] !== 0;
    return Mark.DOT;
  }

  #endsWord(offset: number): boolean {
    return FOLDED[this.#text[offset]!] !== 0;
  }

  /** `@v`, `@'v'`, `@"v"`, `@v` in backquotes, `@@v`. */
  #variable(start: number): number {
    const text = this.#text;
    const next = this.byteAt(start + 1);
    if (next === 0x40) return this.#systemVariable(start);
    if (next === BACKQUOTE || (next === DOUBLE_QUOTE && this.#dialect.ansiQuotes)) {
      return this.#found(Token.USER_VARIABLE, start, this.#afterName(start + 1));
    }
    if (next === SINGLE_QUOTE || next === DOUBLE_QUOTE) {
      this.#string(start, start + 1);
      this.#hashRange(start + 2, this.tokenEnd - 1, next);
      return Token.USER_VARIABLE;
    }
    let offset = start + 1;
    while (offset < this.#end && (FOLDED[text[offset]!] !== 0 || text[offset] === Mark.DOT)) {
      // Beyond ASCII it depends on the character set what is still a letter of the name.
      if (text[offset]! >= 0x80) this.#ambiguous(offset);
      offset++;
    }
    this.#hashRange(start + 1, offset, 0);
    return this.#found(Token.USER_VARIABLE, start, offset);
  }

  #systemVariable(start: number): number {
    const from = start + 2;
    if (this.byteAt(from) === BACKQUOTE) {
      return this.#found(Token.SYSTEM_VARIABLE, start, this.#afterName(from));
    }
    this.#afterDot = true;
    this.#word(start, from);
    return Token.SYSTEM_VARIABLE;
  }

  #hashRange(start: number, end: number, quote: number): void {
    let hash = HASH_SEED;
    let second = SECOND_SEED ^ quote;
    for (let offset = start; offset < end; offset++) {
      const byte = this.#text[offset]!;
      const folded = isCapital(byte) ? byte | 0x20 : byte;
      hash = Math.imul(hash ^ folded, HASH_PRIME);
      second = Math.imul(second ^ folded, SECOND_PRIME);
    }
    this.hash = hash;
    this.secondHash = second;
  }

  /** Two minus signs are a comment only before a blank, a control character or the end. */
  #isLineComment(offset: number): boolean {
    if (offset + 1 >= this.#end || this.#text[offset + 1] !== MINUS) return false;
    if (offset + 2 >= this.#end) return true;
    const byte = this.#text[offset + 2]!;
    // In some character sets this one is a blank, too.
    if (byte === NO_BREAK_SPACE || byte === PC_BLANK) this.#ambiguous(offset);
    return byte <= 0x20 || byte === 0x7f;
  }

  /** Past a comment up to the end of its line; its text begins at `from`. */
  #afterLine(start: number, from: number): number {
    let end = from;
    for (; end < this.#end && this.#text[end] !== NEWLINE; end++) {
      // The servers end such a comment at a NUL, too.
      if (this.#text[end] === 0) this.#ambiguous(start);
    }
    this.#noteHint(readHint(this.#text, from, end));
    return Math.min(end + 1, this.#end);
  }

  #noteHint(hint: number): void {
    // Contradicting ones: the primary is right for everything.
    if (hint !== Hint.NONE && this.hint !== Hint.PRIMARY) this.hint = hint;
  }

  /** Past a whole comment, or past the mark of an executable one whose content is code. */
  #afterCommentStart(start: number): number {
    const isMariaMark = this.byteAt(start + 2) === UPPER_M && this.byteAt(start + 3) === EXCLAMATION;
    const isExecutable = this.byteAt(start + 2) === EXCLAMATION || (isMariaMark && this.#dialect.isMariaDb);
    if (!isExecutable) return this.#afterPlainComment(start);
    const mark = start + (isMariaMark ? 4 : 3);
    if (beginsWithMycat(this.#text, mark, this.#end)) {
      this.#ambiguous(start);
      const end = this.#afterComment(mark, 0);
      this.#noteHint(readHint(this.#text, mark, end - 2));
      return end;
    }
    return this.#afterExecutableMark(start, mark, isMariaMark);
  }

  #afterPlainComment(start: number): number {
    const end = this.#afterComment(start + 2, 0);
    if (this.byteAt(start + 2) === PLUS) this.#checkOptimizerHint(start + 3, end);
    else this.#noteHint(readHint(this.#text, start + 2, end - 2));
    return end;
  }

  /** In an optimizer hint a quoted name may hide the end of the comment. */
  #checkOptimizerHint(start: number, end: number): void {
    let quote = 0;
    for (let offset = start; offset < end - 2; offset++) {
      const byte = this.#text[offset]!;
      if (quote === 0 && (byte === BACKQUOTE || byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE)) quote = byte;
      else if (byte === quote) quote = 0;
    }
    if (quote !== 0) this.#ambiguous(start);
  }

  /**
   * `/*!`, five or six digits or none, and then code, if the version is not above the server's.
   * MariaDB leaves out those of MySQL 5.7 and newer (50700 to 99999).
   */
  #afterExecutableMark(start: number, mark: number, isMariaMark: boolean): number {
    const { isMariaDb, minVersion, maxVersion } = this.#dialect;
    let digits = 0;
    let version = 0;
    while (digits < 6 && isDigit(this.byteAt(mark + digits))) {
      version = version * 10 + (this.byteAt(mark + digits) - ZERO);
      digits++;
    }
    this.#inExecutable = true;
    if (digits < 5) {
      if (this.#dialect === ANY_DIALECT) return mark + digits;
      return mark;
    }
    if (this.#dialect === ANY_DIALECT) return mark + digits;
    if (digits === 6 && !isMariaDb && !this.#hasSixDigits(mark)) {
      // Five are the version, and the sixth is code.
      this.#ambiguous(start);
      return mark + 5;
    }
    const isMySqlOnly = isMariaDb && !isMariaMark && version >= 50700 && version <= 99999;
    if (isMySqlOnly || version > maxVersion) {
      this.#inExecutable = false;
      return this.#afterComment(mark, 1);
    }
    if (version > minVersion) this.#ambiguous(start);
    return mark + digits;
  }

  /** MySQL takes a sixth digit for the version's if it is new enough and a blank follows. */
  #hasSixDigits(mark: number): boolean {
    return this.#dialect.minVersion >= MYSQL_WITH_SIX_DIGITS && BEGIN[this.byteAt(mark + 6)] === Begin.BLANK;
  }

  /** Past the end of a comment that may have `nested` levels of comments in it. */
  #afterComment(from: number, nested: number): number {
    const text = this.#text;
    const end = this.#end;
    let offset = from;
    while (offset + 1 < end) {
      const byte = text[offset]!;
      if (byte === STAR && text[offset + 1] === SLASH) return offset + 2;
      if (nested > 0 && byte === SLASH && text[offset + 1] === STAR) {
        offset = this.#afterComment(offset + 2, nested - 1);
      } else offset++;
    }
    this.#ambiguous(from);
    return end;
  }
}

/** True for a token that is a word, known or not. */
export function isWordToken(token: number): boolean {
  return token === Token.IDENTIFIER || token >= FIRST_WORD;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isCapital(byte: number): boolean {
  return byte >= 0x41 && byte <= 0x5a;
}

function isHexDigit(byte: number): boolean {
  const small = byte | 0x20;
  return isDigit(byte) || (small >= 0x61 && small <= 0x66);
}

function isGbkTail(byte: number): boolean {
  return (byte >= 0x40 && byte <= 0x7e) || (byte >= 0x80 && byte <= 0xfe);
}

function isSjisHead(byte: number): boolean {
  return (byte >= 0x81 && byte <= 0x9f) || (byte >= 0xe0 && byte <= 0xfc);
}
