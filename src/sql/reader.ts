/**
 * Reads a statement token by token for the classifier: keeps the token at hand and the two before it, feeds
 * the digest, and notes whatever inside of expressions and queries makes a difference to where a statement
 * may run: locks, INTO, variables, schemas, sequences, and calls.
 *
 * A call is a name before a parenthesis. `#isNoCall` has the few places where the grammar allows a name there
 * that is none; a name that is no function of every server behind is somebody's stored function.
 */
import { Digest } from './digest.ts';
import {
  functionGroup,
  GROUP_LEAVES,
  GROUP_NEEDS,
  isReservedBeforeOpen,
  isSystemSchema,
  mustBeAdjacent,
  Role,
  ROLE,
} from './grammar.ts';
import { ANY_DIALECT, Lexer, Mark, Token } from './lexer.ts';
import { Leave, Need, type SqlDialect } from './statement.ts';
import { FIRST_WORD, FOLDED, NameWord, Word } from './words.ts';

/** How the rest of a statement is to be read. */
export const Mode = {
  /** INTO asks for something, UPDATE is a lock or a write. */
  READ: 0,
  /** INSERT and REPLACE before their values: names before parentheses are tables. */
  HEAD: 1,
  /** LOAD up to its SET: the same. */
  LOAD: 2,
  /** The rest of a write. */
  WRITE: 3,
} as const;

/** What is noted of an open parenthesis. */
const Inside = {
  /** The tables of a WITH are named here: a name after a comma is one of them. */
  WITH: 1,
  JSON_TABLE: 2,
  /** COLUMNS( of a JSON_TABLE: names with their types. */
  COLUMNS: 4,
  /** CONVERT( may have a type as its second part. */
  CONVERT: 8,
  /** LAST_INSERT_ID( */
  LAST_INSERT_ID: 16,
  /** ANY( or SOME(, which only a query follows. */
  QUERY: 32,
} as const;

/** Parentheses within parentheses that are followed; the servers' own limits are not far. */
const MAX_DEPTH = 1000;

const BACKQUOTE = 0x60;

export class StatementReader {
  readonly #lexer = new Lexer();
  readonly #digest = new Digest();
  #dialect: SqlDialect = ANY_DIALECT;
  /** What the statements of this text need and leave behind, and what decided that first. */
  needs = 0;
  leaves = 0;
  evidenceStart = 0;
  evidenceEnd = 0;
  /** The token at hand, and the one before it. */
  token: number = Token.END;
  before: number = Token.END;
  /** INSERT, SHOW and others set these for their own statement. */
  mode: number = Mode.READ;
  /** Variables from here on are written. */
  isInto = false;
  /** Schemas are named also without a dot behind them, as in SHOW TABLES FROM mysql. */
  namesSchemas = false;
  #beforeThat: number = Token.END;
  #beforeStart = 0;
  #beforeEnd = 0;
  #depth = 0;
  readonly #inside = new Uint8Array(MAX_DEPTH + 1);
  /** VALUE was read where VALUES may stand. */
  #isValueList = false;

  /** Begins a text, and goes to its first token. */
  begin(text: Buffer, start: number, end: number, dialect: SqlDialect): void {
    this.#lexer.begin(text, start, end, dialect);
    this.#digest.begin(null);
    this.#dialect = dialect;
    this.needs = 0;
    this.leaves = 0;
    this.evidenceStart = start;
    this.evidenceEnd = start;
    this.token = Token.END;
    this.before = Token.END;
    this.advance();
  }

  /** Begins one of its statements. */
  beginStatement(): void {
    this.#depth = 0;
    this.#inside[0] = 0;
    this.mode = Mode.READ;
    this.isInto = false;
    this.namesSchemas = false;
    this.#isValueList = false;
    if (this.needs !== 0) return;
    this.evidenceStart = this.#lexer.tokenStart;
    this.evidenceEnd = this.#lexer.tokenEnd;
  }

  get lexer(): Lexer {
    return this.#lexer;
  }

  get digest(): Digest {
    return this.#digest;
  }

  // Steps

  /** Goes to the next token, and answers it. */
  advance(): number {
    const lexer = this.#lexer;
    this.#beforeThat = this.before;
    this.before = this.token;
    this.#beforeStart = lexer.tokenStart;
    this.#beforeEnd = lexer.tokenEnd;
    const token = lexer.next();
    this.token = token;
    this.#digest.add(token, lexer);
    return token;
  }

  /** Goes on if the token at hand is this one. */
  accept(token: number): boolean {
    if (this.token !== token) return false;
    this.advance();
    return true;
  }

  isAtEnd(): boolean {
    return this.token === Token.END || this.token === Mark.SEMICOLON;
  }

  /** Past all that is left of this statement, which is not looked at. */
  skip(): void {
    while (!this.isAtEnd()) this.advance();
  }

  // Notes

  /** Notes a need for which the token at hand is the evidence. */
  need(need: number): void {
    this.#needAt(need, this.#lexer.tokenStart, this.#lexer.tokenEnd);
  }

  /** The same, for the token before. */
  needBefore(need: number): void {
    this.#needAt(need, this.#beforeStart, this.#beforeEnd);
  }

  /** Notes that nobody here knows what this statement is. */
  unknown(): void {
    this.need(Need.UNKNOWN_STATEMENT);
    this.leaves |= Leave.ANYTHING;
  }

  /** Notes what the lexer was not sure of. */
  noteAmbiguity(end: number): void {
    const at = this.#lexer.ambiguousAt;
    if (at >= 0) this.#needAt(Need.AMBIGUOUS, at, end);
  }

  #needAt(need: number, start: number, end: number): void {
    if (this.needs === 0) {
      this.evidenceStart = start;
      this.evidenceEnd = end;
    }
    this.needs |= need;
  }

  // Inside a statement

  /** True for a token that begins a query. */
  beginsQuery(): boolean {
    switch (this.token) {
      case Word.SELECT:
      case Word.WITH:
      case Word.VALUES:
      case Word.TABLE:
        return true;
      default:
        return false;
    }
  }

  /** Reads on to the end of the statement. */
  rest(): void {
    this.restUntil(Mark.SEMICOLON);
  }

  /** Reads on to a token outside of all parentheses, at most to the end of the statement. */
  restUntil(stop: number): void {
    for (;;) {
      const token = this.token;
      if (token >= FIRST_WORD) {
        if (token === stop && this.#depth === 0) return;
        const role = ROLE[token]!;
        if (role !== Role.NONE && this.before !== Mark.DOT) this.#word(role);
        this.advance();
      } else if (token === Mark.OPEN) this.open();
      else if (token === Token.END || token === Mark.SEMICOLON) return;
      else if (token === stop && this.#depth === 0) return;
      else {
        this.#other(token);
        this.advance();
      }
    }
  }

  /** Whatever is no word and opens no parenthesis. */
  #other(token: number): void {
    switch (token) {
      case Token.IDENTIFIER:
        if (this.before === Mark.DOT && this.#dialect.isMariaDb) this.#nameAfterDot();
        break;
      case Mark.DOT:
        if (this.#isSystemSchemaBefore()) this.needBefore(Need.SYSTEM_SCHEMA);
        break;
      case Mark.CLOSE:
        if (this.#depth > 0) this.#depth--;
        break;
      case Mark.EQUALS:
        if (this.before === Mark.COLON && this.#beforeThat === Token.USER_VARIABLE) {
          this.leaves |= Leave.USER_VARIABLE;
        }
        break;
      case Token.USER_VARIABLE:
        if (this.isInto) this.leaves |= Leave.USER_VARIABLE;
        if (this.before !== Word.INTO) this.need(Need.USER_VARIABLE);
        break;
      case Token.SYSTEM_VARIABLE:
        this.#systemVariable();
        break;
      case Token.NAME:
        if (this.namesSchemas && this.#isSystemSchemaName(this.#lexer.tokenStart, this.#lexer.tokenEnd)) {
          this.need(Need.SYSTEM_SCHEMA);
        }
        break;
      default:
    }
  }

  /** A word that means something inside a statement. */
  #word(role: number): void {
    switch (role) {
      case Role.AS:
        if (this.#beforeThat === Word.WITH || this.#beforeThat === Word.RECURSIVE) this.#enter(Inside.WITH);
        break;
      case Role.QUERY:
        this.#beginQuery();
        break;
      case Role.FOR:
        if (this.before === Word.VALUE) this.#valueFor();
        break;
      case Role.UPDATE:
        this.#leaveWith();
        if (this.before === Word.FOR) this.need(Need.ROW_LOCKS);
        else if (this.mode === Mode.READ) this.need(Need.WRITE);
        break;
      case Role.DELETE:
        this.#leaveWith();
        if (this.mode === Mode.READ) this.need(Need.WRITE);
        break;
      case Role.SHARE:
        if (this.before === Word.FOR) this.need(Need.ROW_LOCKS);
        break;
      case Role.LOCK:
        this.need(Need.ROW_LOCKS);
        break;
      case Role.INTO:
        if (this.mode !== Mode.READ) break;
        this.isInto = true;
        this.need(Need.INTO);
        break;
      case Role.FOUND_ROWS:
        this.leaves |= Leave.FOUND_ROWS;
        break;
      case Role.SET:
        if (this.before !== Word.CHARACTER && this.mode !== Mode.READ) this.mode = Mode.WRITE;
        break;
      case Role.VALUE:
        this.#isValueList = this.mode === Mode.HEAD;
        this.#endHead();
        break;
      case Role.SCHEMA_NAME:
        if (this.namesSchemas) this.need(Need.SYSTEM_SCHEMA);
        break;
      default:
    }
  }

  #beginQuery(): void {
    this.#leaveWith();
    this.#endHead();
  }

  #endHead(): void {
    if (this.mode === Mode.HEAD) this.mode = Mode.WRITE;
  }

  #enter(inside: number): void {
    this.#inside[this.#depth]! |= inside;
  }

  #leaveWith(): void {
    this.#inside[this.#depth]! &= ~Inside.WITH;
  }

  /** NEXT VALUE FOR s, PREVIOUS VALUE FOR s. */
  #valueFor(): void {
    if (this.#beforeThat === Word.NEXT || this.#beforeThat === Word.PREVIOUS) this.need(Need.SEQUENCE);
  }

  /** MariaDB's Oracle mode reads sequences as `s.nextval` and `s.currval`. */
  #nameAfterDot(): void {
    const { tokenStart, tokenEnd } = this.#lexer;
    if (tokenEnd - tokenStart !== 'nextval'.length) return;
    const word = this.#lexer.wordAt(tokenStart, tokenEnd);
    if (word === NameWord.NEXTVAL || word === NameWord.CURRVAL) this.need(Need.SEQUENCE);
  }

  // Variables and schemas

  /** `@@x` that is read, with its scope: some belong to the connection, some to the server. */
  #systemVariable(): void {
    const start = this.#lexer.tokenStart;
    let word = this.systemVariableWord();
    const isScope = word === Word.GLOBAL || word === Word.SESSION || word === Word.LOCAL;
    if (isScope) {
      // No server has a variable of that name: without the dot it is not what it seems.
      if (this.advance() !== Mark.DOT) this.need(Need.AMBIGUOUS);
      else this.advance();
      word = this.#lexer.wordAt(...this.#unquoted(this.#lexer.tokenStart, this.#lexer.tokenEnd));
    }
    this.#needAt(needOfVariable(word), start, this.#lexer.tokenEnd);
  }

  /** The name right behind the `@@` at hand, as a word. */
  systemVariableWord(): number {
    return this.#lexer.wordAt(...this.#unquoted(this.#lexer.tokenStart + 2, this.#lexer.tokenEnd));
  }

  /** The token at hand is this name, in small letters; with quotes or without, or behind `@@`. */
  names(name: Buffer): boolean {
    const { token } = this;
    let [start, end] = [this.#lexer.tokenStart, this.#lexer.tokenEnd];
    if (token === Token.SYSTEM_VARIABLE) [start, end] = this.#unquoted(start + 2, end);
    else if (token === Token.NAME) [start, end] = [start + 1, end - 1];
    else if (token !== Token.IDENTIFIER) return false;
    if (end - start !== name.length) return false;
    for (let index = 0; index < name.length; index++) {
      if (FOLDED[this.#lexer.byteAt(start + index)] !== name[index]) return false;
    }
    return true;
  }

  #unquoted(start: number, end: number): [number, number] {
    return this.#lexer.byteAt(start) === BACKQUOTE ? [start + 1, end - 1] : [start, end];
  }

  #isSystemSchemaBefore(): boolean {
    if (this.before === Token.NAME) return this.#isSystemSchemaName(this.#beforeStart, this.#beforeEnd);
    return isSystemSchema(this.before);
  }

  /** The quoted name between these is one of the servers' own schemas. */
  #isSystemSchemaName(start: number, end: number): boolean {
    const length = end - start - 2;
    // sys, mysql, information_schema and performance_schema
    if (length !== 3 && length !== 5 && length !== 18) return false;
    return isSystemSchema(this.#lexer.wordAt(start + 1, end - 1));
  }

  // Calls

  /** Goes past an opening parenthesis; what stands before it may be a function. */
  open(): void {
    const before = this.before;
    const calledStart = this.#beforeStart;
    const calledEnd = this.#beforeEnd;
    let inside = 0;
    if (before >= FIRST_WORD) inside = this.#wordBeforeOpen(before);
    else if (before === Token.IDENTIFIER || before === Token.NAME) this.#nameBeforeOpen();
    // The query after a WITH, in parentheses.
    else if (before === Mark.CLOSE) this.#leaveWith();
    this.openPlain(inside);
    if ((inside & Inside.LAST_INSERT_ID) !== 0) {
      // With an argument it sets what the next one without will answer.
      if (this.token !== Mark.CLOSE) this.leaves |= Leave.LAST_INSERT_ID;
    } else if ((inside & Inside.QUERY) !== 0 && !this.beginsQuery()) {
      this.#unknownCall(calledStart, calledEnd);
    }
  }

  /** Goes past a parenthesis that opens no call. */
  openPlain(inside = 0): void {
    if (this.#depth < MAX_DEPTH) this.#depth++;
    else this.need(Need.AMBIGUOUS);
    this.#inside[this.#depth] = inside;
    this.advance();
  }

  #nameBeforeOpen(): void {
    if (!this.#isNoCall()) this.#unknownCall(this.#beforeStart, this.#beforeEnd);
  }

  /** A word of the table before a parenthesis; answers what is to be noted of what is inside. */
  #wordBeforeOpen(word: number): number {
    if (this.#beforeThat === Mark.DOT) {
      this.#nameBeforeOpen();
      return 0;
    }
    if (isReservedBeforeOpen(word)) return 0;
    switch (word) {
      case Word.ANY:
      case Word.SOME:
        return Inside.QUERY;
      case Word.VALUE:
        if (this.#isValueList) return 0;
        break;
      case Word.OF:
        if (this.#beforeThat === Word.MEMBER || this.#beforeThat === Word.AS) return 0;
        break;
      case Word.DATETIME:
      case Word.NCHAR:
        if (this.#isTypeOfConvert()) return 0;
        break;
      case Word.COLUMNS:
        if ((this.#inside[this.#depth]! & (Inside.JSON_TABLE | Inside.COLUMNS)) !== 0) return Inside.COLUMNS;
        break;
      default:
    }
    return this.#functionBeforeOpen(word);
  }

  #functionBeforeOpen(word: number): number {
    if (this.#isNoCall()) return 0;
    const group = functionGroup(word, this.#dialect);
    const isApart = this.#beforeEnd !== this.#lexer.tokenStart;
    if (group === 0 || (isApart && mustBeAdjacent(word, this.#dialect))) {
      this.#unknownCall(this.#beforeStart, this.#beforeEnd);
      return 0;
    }
    if (GROUP_NEEDS[group] !== 0) this.needBefore(GROUP_NEEDS[group]!);
    this.leaves |= GROUP_LEAVES[group]!;
    switch (word) {
      case NameWord.LAST_INSERT_ID:
        return Inside.LAST_INSERT_ID;
      case Word.JSON_TABLE:
        return Inside.JSON_TABLE;
      case Word.CONVERT:
        return Inside.CONVERT;
      default:
        return 0;
    }
  }

  /** CONVERT(x, DATETIME(6)) */
  #isTypeOfConvert(): boolean {
    return this.#beforeThat === Mark.COMMA && (this.#inside[this.#depth]! & Inside.CONVERT) !== 0;
  }

  /**
   * The name before the parenthesis at hand calls nothing:
   * 1. AS d (a, b), and types: CAST(x AS CHAR(10));
   * 2. (SELECT …) d (a, b);
   * 3. WITH a (x) AS …, b (y) AS …;
   * 4. INSERT INTO t (a, b);
   * 5. the columns of a JSON_TABLE.
   */
  #isNoCall(): boolean {
    const before = this.#beforeThat;
    if (before === Word.AS || before === Mark.CLOSE) return true;
    if (before === Word.WITH || before === Word.RECURSIVE) {
      this.#enter(Inside.WITH);
      return true;
    }
    const inside = this.#inside[this.#depth]!;
    if (before === Mark.COMMA && (inside & Inside.WITH) !== 0) return true;
    return this.mode === Mode.HEAD || this.mode === Mode.LOAD || (inside & Inside.COLUMNS) !== 0;
  }

  #unknownCall(start: number, end: number): void {
    this.#needAt(Need.UNKNOWN_FUNCTION, start, end);
    this.leaves |= Leave.ANYTHING;
  }
}

/** What reading this system variable needs. */
function needOfVariable(word: number): number {
  switch (word) {
    case NameWord.LAST_INSERT_ID:
    case NameWord.IDENTITY:
      return Need.LAST_INSERT_ID;
    case NameWord.WARNING_COUNT:
    case NameWord.ERROR_COUNT:
      return Need.DIAGNOSTICS;
    case NameWord.PSEUDO_THREAD_ID:
      return Need.CONNECTION_ID;
    default:
      return Need.SYSTEM_VARIABLE;
  }
}
