/**
 * The digest of a statement: the same number for texts that differ in literals, blanks, comments and case
 * only. It is fed the tokens one by one while something else reads them, and keeps two 32-bit halves; on
 * demand it also keeps the words, so that the text that people see comes out of the very same decisions.
 *
 * 1. Strings, numbers, placeholders and NULL, TRUE, FALSE are all one literal (`IS NULL` stays).
 * 2. A sign before a literal that is no operation belongs to it: `-1` is a literal, `a - 1` has one.
 * 3. A list of literals after IN or VALUES, or inside another list, is one whatever its length, and several
 *    such lists in a row are one: `IN (1, 2)`, `VALUES (1, 'a'), (2, 'b')`.
 */
import { isFunction } from './grammar.ts';
import { Mark, Token, type Lexer } from './lexer.ts';
import { FIRST_WORD, namesIn, numberOf, Word, WORD_LIMIT } from './words.ts';

const LITERAL = 0x3f1d2b77;
const LIST = 0x51c6a93b;
const PLUS = 0x2b;
const MINUS = 0x2d;

/** Where a list of literals stands. */
const List = {
  NONE: 0,
  /** After its parenthesis or a comma. */
  WANTS_LITERAL: 1,
  HAS_LITERAL: 2,
} as const;

/** What the last tokens were, for several lists in a row. */
const Chain = { NONE: 0, LIST: 1, COMMA: 2 } as const;

/** Words after which a sign is part of a number. */
const SIGNED_AFTER = `
  AND BETWEEN BY CASE DEFAULT DISTINCT DIV ELSE HAVING IN INTERVAL LIKE LIMIT MOD NOT OFFSET ON OR REGEXP
  RLIKE SELECT THEN WHEN WHERE XOR`;

const BEFORE_OPERAND = new Uint8Array(WORD_LIMIT);
for (const name of namesIn(SIGNED_AFTER)) BEFORE_OPERAND[numberOf(name)] = 1;

export class Digest {
  high = 0;
  low = 0;
  /** The words of the text, if they are asked for. */
  #pieces: string[] | null = null;
  #before: number = Token.END;
  /** Semicolons at the end do not count: they wait for another statement. */
  #hasSemicolon = false;
  /** A sign that waits for what it belongs to; 0: none. */
  #sign = 0;
  #list: number = List.NONE;
  #chain: number = Chain.NONE;
  /** The list that is open comes right after another. */
  #continues = false;
  /** How it stood before the list that is open, and after the first of several. */
  #openHigh = 0;
  #openLow = 0;
  #openPieces = 0;
  #chainHigh = 0;
  #chainLow = 0;
  #chainPieces = 0;

  begin(pieces: string[] | null): void {
    this.high = 0x6a09e667;
    this.low = 0x3c6ef372;
    this.#pieces = pieces;
    this.#before = Token.END;
    this.#hasSemicolon = false;
    this.#sign = 0;
    this.#list = List.NONE;
    this.#chain = Chain.NONE;
  }

  /** Takes the token that the lexer found last. */
  add(found: number, lexer: Lexer): void {
    // After a dot every word is a name, however many blanks are between.
    const token = found >= FIRST_WORD && this.#before === Mark.DOT ? Token.IDENTIFIER : found;
    if (token === Token.END) return;
    if (token === Mark.SEMICOLON) {
      this.#hasSemicolon = true;
      return;
    }
    if (this.#hasSemicolon) this.#flushSemicolon();
    if (this.#isLiteral(token)) this.#literal();
    else if (token < FIRST_WORD && token > Token.SYSTEM_VARIABLE) this.#mark(token);
    else this.#word(token, lexer);
    this.#before = token;
  }

  #isLiteral(token: number): boolean {
    if (token >= FIRST_WORD) {
      return (
        (token === Word.NULL || token === Word.TRUE || token === Word.FALSE) &&
        this.#before !== Word.IS &&
        this.#before !== Word.NOT
      );
    }
    return token === Token.STRING || token === Token.NUMBER || token === Token.PLACEHOLDER;
  }

  #literal(): void {
    this.#sign = 0;
    this.#mix(LITERAL, LITERAL);
    this.#chain = Chain.NONE;
    this.#list = this.#list === List.WANTS_LITERAL ? List.HAS_LITERAL : List.NONE;
    if (this.#pieces !== null) this.#push('?', false);
  }

  #word(token: number, lexer: Lexer): void {
    if (this.#sign !== 0) this.#flushSign();
    // Quoted names and variables are not the words of the same letters.
    const kind = token < FIRST_WORD && token !== Token.IDENTIFIER ? token : 0;
    this.#mix(lexer.hash ^ kind, lexer.secondHash);
    this.#list = List.NONE;
    this.#chain = Chain.NONE;
    if (this.#pieces !== null) this.#push(lexer.foldedText(), false);
  }

  #mark(mark: number): void {
    if (this.#sign !== 0) this.#flushSign();
    switch (mark) {
      case Mark.OPEN:
        this.#open();
        break;
      case Mark.CLOSE:
        if (this.#list === List.HAS_LITERAL) this.#closeList();
        else this.#plainMark(mark);
        break;
      case Mark.COMMA:
        this.#comma();
        break;
      case PLUS:
      case MINUS:
        if (this.#isOperand()) this.#plainMark(mark);
        else this.#sign = mark;
        break;
      default:
        this.#plainMark(mark);
    }
  }

  #plainMark(mark: number): void {
    this.#mix(mark, mark);
    this.#list = List.NONE;
    this.#chain = Chain.NONE;
    if (this.#pieces !== null) this.#push(String.fromCharCode(mark), this.#isGlued(mark));
  }

  #comma(): void {
    const list = this.#list === List.HAS_LITERAL ? List.WANTS_LITERAL : List.NONE;
    const chain = this.#chain === Chain.LIST ? Chain.COMMA : Chain.NONE;
    this.#plainMark(Mark.COMMA);
    this.#list = list;
    this.#chain = chain;
  }

  #open(): void {
    const before = this.#before;
    const mayBeList =
      before === Word.IN ||
      before === Word.VALUES ||
      before === Word.VALUE ||
      before === Mark.OPEN ||
      before === Mark.COMMA;
    const { high, low } = this;
    const pieces = this.#pieces === null ? 0 : this.#pieces.length;
    const continues = this.#chain === Chain.COMMA;
    this.#plainMark(Mark.OPEN);
    if (!mayBeList) return;
    this.#list = List.WANTS_LITERAL;
    this.#continues = continues;
    this.#openHigh = high;
    this.#openLow = low;
    this.#openPieces = pieces;
  }

  #closeList(): void {
    if (this.#continues) this.#restore(this.#chainHigh, this.#chainLow, this.#chainPieces);
    else {
      this.#restore(this.#openHigh, this.#openLow, this.#openPieces);
      this.#mix(LIST, LIST);
      if (this.#pieces !== null) {
        this.#push('(?, ...)', false);
        this.#chainPieces = this.#pieces.length;
      }
      this.#chainHigh = this.high;
      this.#chainLow = this.low;
    }
    this.#list = List.NONE;
    this.#chain = Chain.LIST;
  }

  #restore(high: number, low: number, pieces: number): void {
    this.high = high;
    this.low = low;
    if (this.#pieces !== null) this.#pieces.length = pieces;
  }

  /** True when what came last can stand before an operator. */
  #isOperand(): boolean {
    const before = this.#before;
    if (before >= FIRST_WORD) return BEFORE_OPERAND[before] === 0;
    return before === Mark.CLOSE || (before !== Token.END && before <= Token.SYSTEM_VARIABLE);
  }

  #flushSemicolon(): void {
    this.#hasSemicolon = false;
    if (this.#sign !== 0) this.#flushSign();
    if (this.#before === Token.END) return;
    this.#plainMark(Mark.SEMICOLON);
    this.#before = Mark.SEMICOLON;
  }

  #flushSign(): void {
    const sign = this.#sign;
    this.#sign = 0;
    this.#plainMark(sign);
  }

  /** A call's parenthesis stands right behind the name, and so do a few marks. */
  #isGlued(mark: number): boolean {
    if (mark === Mark.OPEN) return isFunctionWord(this.#before);
    return mark === Mark.COMMA || mark === Mark.CLOSE || mark === Mark.DOT || mark === Mark.SEMICOLON;
  }

  #push(piece: string, isGlued: boolean): void {
    const pieces = this.#pieces!;
    const last = pieces.at(-1);
    const isTight =
      isGlued ||
      last === undefined ||
      last.endsWith('(') ||
      last.endsWith('.') ||
      (isOperator(piece) && isOperator(last.trimStart()));
    pieces.push(isTight ? piece : ` ${piece}`);
  }

  #mix(high: number, low: number): void {
    this.high = Math.imul(((this.high << 5) | (this.high >>> 27)) ^ high, 0x9e3779b1);
    this.low = Math.imul(((this.low << 13) | (this.low >>> 19)) ^ low, 0x85ebca6b);
  }
}

/** Marks that make operators of several, as `<=` and `:=`. */
function isOperator(piece: string): boolean {
  return piece.length === 1 && '<>=!|&:'.includes(piece);
}

/** Words that a parenthesis follows without a blank in the text. */
function isFunctionWord(token: number): boolean {
  return token === Token.IDENTIFIER || (token >= FIRST_WORD && isFunction(token));
}
