/**
 * Cuts an admin statement into words, quoted texts and signs. A bare word goes on until a blank, a quote
 * or one of `= , ( ) ; < > !`, so names with dots and dashes, addresses and `--options` are words as they stand.
 */
import { refusal } from '../base/errors.ts';
import { didYouMean } from '../config/suggest.ts';

/** One piece of a statement. */
export interface Token {
  kind: 'word' | 'quoted' | 'sign';
  /** A quoted text without its quotes; the others as written. */
  text: string;
  /** Where the next one may begin. */
  end: number;
}

const SIGNS = '=,();<>!';

/**
 * Cuts the text; what ends a statement in clients (`;`, `\G`, `\g`) and comments are left out. The marks
 * of an executable comment are left out, its content is not, as servers do. Throws DBPROXY_ADMIN_SYNTAX.
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let offset = skipBlanks(text, 0);
  while (offset < text.length) {
    const token = readToken(text, offset);
    tokens.push(token);
    offset = skipBlanks(text, token.end);
  }
  while (isTerminator(tokens.at(-1))) tokens.pop();
  return tokens;
}

/** The first token of a text and what stands behind it; undefined when there is none. */
export function firstToken(text: string): { token: Token; rest: string } | undefined {
  const start = skipBlanks(text, 0);
  if (start >= text.length) return undefined;
  const token = readToken(text, start);
  return { token, rest: text.slice(token.end) };
}

/** What stands behind these words (in capitals), when a text begins with them, in any case. */
export function behindWords(text: string, ...words: string[]): string | undefined {
  let offset = 0;
  for (const word of words) {
    const start = skipBlanks(text, offset);
    offset = start + word.length;
    const isWhole = offset >= text.length || !isWordPart(text, offset);
    if (!isWhole || text.slice(start, offset).toUpperCase() !== word) return undefined;
  }
  return text.slice(offset);
}

function isTerminator(token: Token | undefined): boolean {
  return token !== undefined && token.kind !== 'quoted' && /^(;|\\[gG])$/.test(token.text);
}

function readToken(text: string, start: number): Token {
  const first = text[start]!;
  if (first === "'" || first === '"' || first === '`') return readQuoted(text, start);
  if (SIGNS.includes(first)) return { kind: 'sign', text: first, end: start + 1 };
  let end = start + (first === '\\' ? 2 : 1);
  while (end < text.length && isWordPart(text, end)) end++;
  return { kind: 'word', text: text.slice(start, end), end };
}

/** Word parts end also where a comment begins and before a `\G`. */
function isWordPart(text: string, offset: number): boolean {
  const character = text[offset]!;
  if (character === '\\' || `${SIGNS}'"\``.includes(character) || /[\s\0]/.test(character)) return false;
  return !text.startsWith('/*', offset) && !text.startsWith('*/', offset);
}

/**
 * The letters behind a backslash that stand for something else, as servers read them; `\%` and `\_` keep
 * theirs (https://dev.mysql.com/doc/refman/8.4/en/string-literals.html).
 */
const ESCAPES: Readonly<Record<string, string>> = {
  0: '\0',
  b: '\b',
  n: '\n',
  r: '\r',
  t: '\t',
  Z: '\x1a',
};

/** The same quote twice, or behind a backslash, stands for itself. */
function readQuoted(text: string, start: number): Token {
  const quote = text[start]!;
  let content = '';
  let offset = start + 1;
  while (offset < text.length) {
    const character = text[offset]!;
    const following = text[offset + 1];
    const escape = character === '\\' && quote !== '`' ? escaped(following, quote) : undefined;
    const doubled = character === quote && following === quote;
    if (character === quote && !doubled) return { kind: 'quoted', text: content, end: offset + 1 };
    content += escape ?? character;
    offset += escape !== undefined || doubled ? 2 : 1;
  }
  throw refusal('DBPROXY_ADMIN_SYNTAX', `the quote ${quote} is not closed`);
}

function escaped(letter: string | undefined, quote: string): string | undefined {
  if (letter === undefined) return undefined;
  return letter === quote || letter === '\\' ? letter : ESCAPES[letter];
}

/** Past white space and comments: slash star, hash, and two dashes with a blank behind them. */
function skipBlanks(text: string, from: number): number {
  let offset = from;
  for (;;) {
    if (offset < text.length && /[\s\0]/.test(text[offset]!)) offset++;
    else if (text[offset] === '#' || /^--(\s|$)/.test(text.slice(offset, offset + 3)))
      offset = afterLine(text, offset);
    else if (text.startsWith('/*', offset)) offset = afterComment(text, offset);
    else if (text.startsWith('*/', offset)) offset += 2;
    else return offset;
  }
}

function afterLine(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  return newline < 0 ? text.length : newline + 1;
}

function afterComment(text: string, from: number): number {
  const executable = /^\/\*M?!\d*/.exec(text.slice(from, from + 12));
  if (executable) return from + executable[0].length;
  const close = text.indexOf('*/', from + 2);
  return close < 0 ? text.length : close + 2;
}

/** Walks over the tokens of one statement; every expectation that fails is a DBPROXY_ADMIN_SYNTAX. */
export class Cursor {
  readonly #tokens: readonly Token[];
  #next = 0;
  /** Words that could have stood here, as far as was asked. */
  #possible: string[] = [];
  /** Of those, the ones that need others behind them. */
  #begun: (readonly string[])[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#next + ahead];
  }

  get atEnd(): boolean {
    return this.#next >= this.#tokens.length;
  }

  take(): Token | undefined {
    const token = this.peek();
    if (token !== undefined) this.#advance(1);
    return token;
  }

  /** Takes the words, in any case, when all of them are next. */
  takeWords(...words: string[]): boolean {
    const here = words.every((word, index) => {
      const token = this.peek(index);
      return token?.kind === 'word' && token.text.toUpperCase() === word;
    });
    if (here) this.#advance(words.length);
    else {
      this.#possible.push(words[0]!);
      if (words.length > 1) this.#begun.push(words);
    }
    return here;
  }

  takeSign(sign: string): boolean {
    const token = this.peek();
    if (token?.kind !== 'sign' || token.text !== sign) return false;
    this.#advance(1);
    return true;
  }

  /** A name, bare or in quotes. */
  name(what: string): string {
    const token = this.take();
    if (token === undefined || token.kind === 'sign' || token.text === '') throw this.#expected(what, token);
    return token.text;
  }

  wholeNumber(what: string, max: number): number {
    const token = this.take();
    if (token === undefined) throw this.#expected(what, token);
    const value = /^\d{1,15}$/.test(token.text) ? Number(token.text) : Number.NaN;
    if (!(value <= max)) {
      throw refusal('DBPROXY_ADMIN_BAD_VALUE', what, token.text, `a whole number from 0 to ${max} is needed`);
    }
    return value;
  }

  sign(sign: string): void {
    if (!this.takeSign(sign)) throw this.#expected(`'${sign}'`, this.peek());
  }

  /** The statement must be over. */
  end(): void {
    const token = this.peek();
    if (token === undefined) return;
    if (token.text === ';') throw refusal('DBPROXY_ADMIN_SYNTAX', 'one statement at a time');
    throw this.notExpected(token);
  }

  /** The refusal of a token, with the word that was asked for here and is nearest to it. */
  notExpected(token: Token, possible: readonly string[] = this.#possible): Error {
    const [, missing] = this.#begun.find(([first]) => first === token.text.toUpperCase()) ?? [];
    if (missing !== undefined) {
      return refusal('DBPROXY_ADMIN_SYNTAX', `expected ${missing} behind '${token.text}'`);
    }
    return refusal(
      'DBPROXY_ADMIN_SYNTAX',
      `'${token.text}' is not expected here${didYouMean(token.text, possible)}`,
    );
  }

  #advance(count: number): void {
    this.#next += count;
    this.#possible = [];
    this.#begun = [];
  }

  /** The refusal of what is next, where something else had to be. */
  expected(what: string): Error {
    return this.#expected(what, this.peek());
  }

  #expected(what: string, found: Token | undefined): Error {
    const seen = found === undefined ? 'the end of the statement' : `'${found.text}'`;
    const hint = found === undefined ? '' : didYouMean(found.text, this.#possible);
    return refusal('DBPROXY_ADMIN_SYNTAX', `expected ${what}, found ${seen}${hint}`);
  }
}
