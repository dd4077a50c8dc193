/**
 * What a statement is, what it needs of the connection that runs it, and what it leaves behind there: in one
 * pass over its tokens, together with its digest. This is not a parser. It knows what begins a statement, and
 * `reader.ts` every construct inside one that makes a difference to where it may run; whatever they cannot
 * place makes the statement one for the primary. To be wrong in that direction costs a little time, in the
 * other it is a lie.
 *
 * MySQL manual, "SQL Statements"; MariaDB, "SQL Statements". This is the path of every query: no strings and
 * no objects are made; one reader is used again and again.
 */
import { Mark, Token } from './lexer.ts';
import { Mode, StatementReader } from './reader.ts';
import { Hint } from './route-hint.ts';
import {
  Leave,
  Need,
  type RouteHint,
  type SqlDialect,
  type Statement,
  type StatementClass,
} from './statement.ts';
import { AdminWord, FIRST_WORD, NameWord, Word } from './words.ts';

const reader = new StatementReader();

/** Says what `text[start, end)` is, into `into`. */
export function classify(
  text: Buffer,
  start: number,
  end: number,
  dialect: SqlDialect,
  into: Statement,
): void {
  reader.begin(text, start, end, dialect);
  readStatements();
  reader.noteAmbiguity(end);
  into.class = classOf(reader.needs);
  into.needs = reader.needs;
  into.leaves = reader.leaves;
  into.hint = hintOf(reader.lexer.hint);
  into.digestHigh = reader.digest.high;
  into.digestLow = reader.digest.low;
  into.evidenceStart = reader.evidenceStart;
  into.evidenceEnd = reader.evidenceEnd;
}

/** The strongest of what its needs say. */
function classOf(needs: number): StatementClass {
  if (needs === 0) return 'read';
  if ((needs & Need.UNKNOWN_STATEMENT) !== 0) return 'unknown';
  if ((needs & Need.WRITE) !== 0) return 'write';
  if ((needs & Need.TRANSACTION) !== 0) return 'transaction';
  return (needs & Need.SESSION) !== 0 ? 'session' : 'read';
}

function hintOf(hint: number): RouteHint {
  if (hint === Hint.NONE) return 'none';
  return hint === Hint.PRIMARY ? 'primary' : 'replica';
}

/** All statements of the text; semicolons before and after them are none. */
function readStatements(): void {
  let count = 0;
  // What asks after a statement in the same packet asks nobody else.
  let answered = 0;
  for (;;) {
    while (reader.token === Mark.SEMICOLON) reader.advance();
    if (reader.token === Token.END) break;
    count++;
    if (count > 1) reader.need(Need.SEVERAL);
    reader.beginStatement();
    const before = reader.needs;
    const selects = isSelect(reader.token);
    readStatement();
    reader.needs &= ~answered | before;
    answered |= Need.ROW_COUNT | Need.DIAGNOSTICS | (selects ? Need.FOUND_ROWS : 0);
  }
  if (count === 0) reader.need(Need.UNKNOWN_STATEMENT);
}

function isSelect(token: number): boolean {
  return token === Word.SELECT || token === Word.WITH || token === Word.VALUES || token === Word.TABLE;
}

// What begins a statement

function readStatement(): void {
  switch (reader.token) {
    case Word.SELECT:
    case Word.WITH:
    case Word.VALUES:
    case Word.TABLE:
      reader.rest();
      return;
    case Mark.OPEN:
      readParenthesised();
      return;
    case Word.INSERT:
    case Word.REPLACE:
      readWrite(Mode.HEAD);
      return;
    case Word.UPDATE:
    case Word.DELETE:
    case Word.DO:
      readWrite(Mode.WRITE);
      return;
    case Word.SET:
      readSet();
      return;
    case Word.USE:
      reader.need(Need.SESSION);
      reader.leaves |= Leave.DATABASE;
      reader.skip();
      return;
    case Word.SHOW:
      readShow();
      return;
    case Word.EXPLAIN:
    case Word.DESCRIBE:
    case Word.DESC:
      readExplain();
      return;
    case Word.ANALYZE:
      readAnalyze();
      return;
    default:
      if (!readTransactionStatement() && !readConnectionStatement() && !readAdministration()) {
        reader.unknown();
        reader.rest();
      }
  }
}

/** BEGIN to XA; false when it is none of these. */
function readTransactionStatement(): boolean {
  switch (reader.token) {
    case Word.BEGIN:
      readBegin();
      return true;
    case Word.START:
      readStart();
      return true;
    case Word.COMMIT:
    case Word.ROLLBACK:
      readEnd();
      return true;
    case Word.SAVEPOINT:
    case Word.RELEASE:
      reader.need(Need.TRANSACTION);
      reader.skip();
      return true;
    case Word.XA:
      readXa();
      return true;
    default:
      return false;
  }
}

/** What belongs to the connection: prepared statements, locks, handlers, diagnostics. */
function readConnectionStatement(): boolean {
  switch (reader.token) {
    case Word.PREPARE:
      reader.need(Need.SESSION);
      reader.leaves |= Leave.NAMED_STATEMENT;
      reader.rest();
      return true;
    case Word.DEALLOCATE:
      reader.need(Need.SESSION);
      reader.skip();
      return true;
    case Word.EXECUTE:
      reader.unknown();
      reader.rest();
      return true;
    case Word.HANDLER:
      readHandler();
      return true;
    case Word.LOCK:
      readLock(Leave.TABLE_LOCK);
      return true;
    case Word.UNLOCK:
      readLock(Leave.TABLES_UNLOCKED);
      return true;
    case Word.BACKUP:
      readBackup();
      return true;
    case Word.SIGNAL:
    case Word.RESIGNAL:
      reader.need(Need.DIAGNOSTICS);
      reader.rest();
      return true;
    case Word.GET:
      reader.need(Need.DIAGNOSTICS);
      reader.isInto = true;
      reader.rest();
      return true;
    default:
      return false;
  }
}

/** DDL, accounts, maintenance, replication. */
function readAdministration(): boolean {
  switch (reader.token) {
    case Word.CREATE:
      readCreate();
      return true;
    case Word.DROP:
      readDrop();
      return true;
    case Word.ALTER:
      readAlter();
      return true;
    case Word.LOAD:
      readLoad();
      return true;
    case AdminWord.CALL:
      readCall();
      return true;
    case AdminWord.TRUNCATE:
    case AdminWord.RENAME:
    case AdminWord.GRANT:
    case AdminWord.REVOKE:
    case AdminWord.OPTIMIZE:
    case AdminWord.REPAIR:
    case AdminWord.CHECK:
    case AdminWord.CACHE:
    case AdminWord.INSTALL:
    case AdminWord.UNINSTALL:
    case AdminWord.STOP:
    case AdminWord.RESET:
    case AdminWord.CHANGE:
    case AdminWord.IMPORT:
      reader.need(Need.WRITE);
      reader.leaves |= Leave.IMPLICIT_COMMIT;
      reader.skip();
      return true;
    case AdminWord.FLUSH:
      readFlush();
      return true;
    case AdminWord.BINLOG:
      reader.leaves |= Leave.ANYTHING;
      reader.need(Need.WRITE);
      reader.skip();
      return true;
    case AdminWord.PURGE:
    case AdminWord.KILL:
    case AdminWord.SHUTDOWN:
    case AdminWord.RESTART:
    case AdminWord.CLONE:
      reader.need(Need.WRITE);
      reader.leaves |= Leave.LASTING;
      reader.skip();
      return true;
    case AdminWord.CHECKSUM:
      reader.need(Need.SERVER_STATE);
      reader.skip();
      return true;
    case AdminWord.HELP:
      reader.need(Need.SYSTEM_SCHEMA);
      reader.skip();
      return true;
    default:
      return false;
  }
}

// Reads

/** `(SELECT …) UNION (SELECT …)`. */
function readParenthesised(): void {
  while (reader.token === Mark.OPEN) reader.openPlain();
  if (!reader.beginsQuery()) reader.unknown();
  reader.rest();
}

/**
 * EXPLAIN and its synonyms: [EXTENDED | PARTITIONS | ANALYZE | FORMAT = x] and a statement; or a table.
 */
function readExplain(): void {
  reader.advance();
  while (
    reader.token === Word.EXTENDED ||
    reader.token === Word.PARTITIONS ||
    reader.token === Word.ANALYZE ||
    reader.token === Word.FORMAT
  ) {
    readExplainOption();
  }
  readExplained();
}

function readExplainOption(): void {
  const isFormat = reader.token === Word.FORMAT;
  reader.advance();
  if (isFormat && reader.accept(Mark.EQUALS)) reader.advance();
}

function readExplained(): void {
  switch (reader.token) {
    case Mark.OPEN:
      readParenthesised();
      return;
    case Word.SELECT:
    case Word.WITH:
    case Word.VALUES:
    case Word.TABLE:
    case Word.INTO:
      reader.rest();
      return;
    case Word.INSERT:
    case Word.REPLACE:
      readWrite(Mode.HEAD);
      return;
    case Word.UPDATE:
    case Word.DELETE:
      readWrite(Mode.WRITE);
      return;
    case Word.FOR:
      reader.need(Need.SERVER_STATE);
      reader.rest();
      return;
    default:
      reader.namesSchemas = true;
      if (!isTableName()) reader.unknown();
      reader.rest();
  }
}

/** EXPLAIN t; not a statement that cannot be explained. Words that begin one and are reserved name no table. */
function isTableName(): boolean {
  switch (reader.token) {
    case Word.ALTER:
    case AdminWord.CALL:
    case Word.CREATE:
    case Word.DROP:
    case AdminWord.GRANT:
    case Word.LOAD:
    case Word.SET:
    case Word.SHOW:
      return false;
    case Token.IDENTIFIER:
    case Token.NAME:
      return true;
    default:
      // A table named format was taken for an option.
      return reader.token >= FIRST_WORD || reader.before === Word.FORMAT;
  }
}

/** ANALYZE TABLE is maintenance; MariaDB's ANALYZE of a statement runs it. */
function readAnalyze(): void {
  reader.advance();
  switch (reader.token) {
    case Word.TABLE:
    case Word.TABLES:
    case Word.LOCAL:
    case Word.NO_WRITE_TO_BINLOG:
      reader.need(Need.WRITE);
      reader.leaves |= Leave.IMPLICIT_COMMIT;
      reader.skip();
      return;
    case Word.FORMAT:
      readExplainOption();
      readExplained();
      return;
    default:
      readExplained();
  }
}

/**
 * What replication keeps alike on all servers is a read; what each server counts, caches or is set to
 * is not. SHOW CREATE TABLE has the next AUTO_INCREMENT in it, SHOW INDEX estimates, events another status.
 */
function readShow(): void {
  reader.namesSchemas = true;
  reader.advance();
  while (reader.token === Word.FULL || reader.token === Word.EXTENDED) reader.advance();
  switch (reader.token) {
    case Word.DATABASES:
    case Word.SCHEMAS:
    case Word.TABLES:
    case Word.COLUMNS:
    case Word.FIELDS:
      break;
    case Word.CREATE:
      readShowCreate();
      break;
    case Word.WARNINGS:
    case Word.ERRORS:
      reader.need(Need.DIAGNOSTICS);
      break;
    case Word.COUNT:
      reader.need(Need.DIAGNOSTICS);
      reader.skip();
      break;
    default:
      reader.need(Need.SERVER_STATE);
  }
  reader.rest();
}

function readShowCreate(): void {
  reader.advance();
  switch (reader.token) {
    case Word.VIEW:
    case Word.DATABASE:
    case Word.SCHEMA:
    case Word.PROCEDURE:
    case Word.FUNCTION:
      return;
    default:
      reader.need(Need.SERVER_STATE);
  }
}

// Writes

function readWrite(mode: number): void {
  reader.need(Need.WRITE);
  reader.mode = mode;
  reader.advance();
  reader.rest();
}

/** CALL p (…): whatever the routine does. */
function readCall(): void {
  reader.leaves |= Leave.ANYTHING;
  reader.need(Need.WRITE);
  reader.mode = Mode.WRITE;
  reader.advance();
  while (!reader.isAtEnd() && reader.token !== Mark.OPEN) reader.advance();
  if (reader.token === Mark.OPEN) reader.openPlain();
  reader.rest();
}

function readLoad(): void {
  reader.need(Need.WRITE);
  reader.advance();
  if (reader.token === Word.INDEX) {
    reader.leaves |= Leave.IMPLICIT_COMMIT;
    reader.skip();
    return;
  }
  reader.mode = Mode.LOAD;
  reader.isInto = true;
  reader.rest();
}

/**
 * CREATE of a table may select into it; of a routine, trigger or event it carries statements of its own,
 * with semicolons that nobody but the server can tell from those between statements.
 */
function readCreate(): void {
  reader.need(Need.WRITE);
  reader.advance();
  let isTemporary = false;
  for (; !reader.isAtEnd(); reader.advance()) {
    switch (reader.token) {
      case Word.TEMPORARY:
        isTemporary = true;
        break;
      case Word.TABLE:
        reader.leaves |= isTemporary ? Leave.TEMPORARY_TABLE : Leave.IMPLICIT_COMMIT;
        readCreateTable();
        return;
      case Word.PROCEDURE:
      case Word.FUNCTION:
      case Word.TRIGGER:
      case Word.EVENT:
      case Word.PACKAGE:
      case Word.LIBRARY:
        reader.leaves |= Leave.IMPLICIT_COMMIT;
        readBody();
        return;
      default:
    }
  }
  reader.leaves |= isTemporary ? Leave.TEMPORARY_TABLE : Leave.IMPLICIT_COMMIT;
}

/** Up to its SELECT there is nothing that runs. */
function readCreateTable(): void {
  reader.mode = Mode.WRITE;
  for (; !reader.isAtEnd(); reader.advance()) {
    const selects =
      reader.token === Word.SELECT ||
      (reader.token === Word.ROW && reader.before === Word.VALUES) ||
      (reader.before === Word.AS && reader.beginsQuery());
    if (selects) {
      reader.rest();
      return;
    }
  }
}

/** A routine's body, up to the end of the text. */
function readBody(): void {
  reader.skip();
  while (reader.token === Mark.SEMICOLON) reader.advance();
  if (reader.token === Token.END) return;
  reader.need(Need.SEVERAL);
  reader.leaves |= Leave.ANYTHING;
  while (reader.token !== Token.END) reader.advance();
}

function readAlter(): void {
  reader.need(Need.WRITE);
  reader.leaves |= Leave.IMPLICIT_COMMIT;
  for (reader.advance(); !reader.isAtEnd(); reader.advance()) {
    if (reader.token === Word.TABLE) break;
    if (reader.token === Word.EVENT) {
      readBody();
      return;
    }
  }
  reader.skip();
}

function readDrop(): void {
  reader.advance();
  if (reader.token === Word.PREPARE) {
    reader.needBefore(Need.SESSION);
  } else {
    reader.needBefore(Need.WRITE);
    if (reader.token !== Word.TEMPORARY) reader.leaves |= Leave.IMPLICIT_COMMIT;
  }
  reader.skip();
}

/** FLUSH TABLES … WITH READ LOCK or FOR EXPORT keeps its locks. */
function readFlush(): void {
  reader.need(Need.WRITE);
  reader.leaves |= Leave.IMPLICIT_COMMIT;
  for (; !reader.isAtEnd(); reader.advance()) {
    if (reader.token === Word.LOCK || reader.token === Word.EXPORT) reader.leaves |= Leave.TABLE_LOCK;
  }
}

// The connection

function readHandler(): void {
  reader.need(Need.SESSION);
  for (; !reader.isAtEnd(); reader.advance()) {
    if (reader.token === Word.OPEN) reader.leaves |= Leave.HANDLER;
    else if (reader.token === Word.WHERE) {
      reader.rest();
      return;
    }
  }
}

/** LOCK and UNLOCK of tables commit; of the INSTANCE they do not. */
function readLock(leave: number): void {
  reader.need(Need.WRITE);
  reader.leaves |= reader.advance() === Word.INSTANCE ? leave : leave | Leave.IMPLICIT_COMMIT;
  reader.skip();
}

/** BACKUP STAGE START … END, BACKUP LOCK t, BACKUP UNLOCK. */
function readBackup(): void {
  reader.need(Need.WRITE);
  for (; !reader.isAtEnd(); reader.advance()) {
    if (reader.token === Word.END || reader.token === Word.UNLOCK) {
      reader.leaves |= Leave.TABLES_UNLOCKED;
      reader.skip();
      return;
    }
  }
  reader.leaves |= Leave.TABLE_LOCK;
}

// Transactions

/** BEGIN [WORK]; all else after it is a compound statement. */
function readBegin(): void {
  reader.advance();
  reader.accept(Word.WORK);
  if (!reader.isAtEnd()) {
    reader.unknown();
    reader.rest();
    return;
  }
  reader.needBefore(Need.TRANSACTION);
  reader.leaves |= Leave.TRANSACTION;
}

function readStart(): void {
  if (reader.advance() !== Word.TRANSACTION) {
    // START SLAVE, START GROUP_REPLICATION
    reader.needBefore(Need.WRITE);
    reader.leaves |= Leave.IMPLICIT_COMMIT;
    reader.skip();
    return;
  }
  reader.needBefore(Need.TRANSACTION);
  reader.leaves |= Leave.TRANSACTION;
  let isReadOnly = false;
  let hasSnapshot = false;
  for (reader.advance(); !reader.isAtEnd(); reader.advance()) {
    if (reader.token === Word.ONLY && reader.before === Word.READ) isReadOnly = true;
    if (reader.token === Word.WITH) hasSnapshot = true;
  }
  // The snapshot is of now, and could not move home later with the transaction.
  if (isReadOnly && !hasSnapshot) reader.leaves |= Leave.READ_ONLY;
}

/** COMMIT or ROLLBACK [WORK] [AND [NO] CHAIN] [[NO] RELEASE], ROLLBACK [WORK] TO [SAVEPOINT] s. */
function readEnd(): void {
  reader.need(Need.TRANSACTION);
  let ends: number = Leave.TRANSACTION_ENDED;
  for (reader.advance(); !reader.isAtEnd(); reader.advance()) {
    const isNo = reader.before === Word.NO;
    if (reader.token === Word.TO) ends = 0;
    else if (reader.token === Word.CHAIN && !isNo && ends !== 0) ends |= Leave.TRANSACTION;
    // The server ends the connection.
    else if (reader.token === Word.RELEASE && !isNo && ends !== 0) ends |= Leave.ANYTHING;
  }
  reader.leaves |= ends;
}

function readXa(): void {
  reader.need(Need.TRANSACTION);
  reader.advance();
  switch (reader.token) {
    case Word.START:
    case Word.BEGIN:
      reader.leaves |= Leave.XA;
      break;
    case Word.COMMIT:
    case Word.ROLLBACK:
      reader.leaves |= Leave.XA_ENDED;
      break;
    default:
  }
  reader.skip();
}

// SET

function readSet(): void {
  reader.advance();
  switch (reader.token) {
    case Word.STATEMENT:
      readSetStatement();
      return;
    case Word.PASSWORD:
    case Word.DEFAULT:
      reader.needBefore(Need.WRITE | Need.SESSION);
      reader.leaves |= Leave.SETTINGS | Leave.IMPLICIT_COMMIT;
      reader.skip();
      return;
    case Word.TRANSACTION:
      reader.needBefore(Need.TRANSACTION);
      reader.leaves |= Leave.SETTINGS | Leave.NEXT_TRANSACTION;
      reader.skip();
      return;
    default:
      reader.needBefore(Need.SESSION);
      reader.leaves |= Leave.SETTINGS;
      readAssignments();
  }
}

function readAssignments(): void {
  for (;;) {
    readTarget();
    reader.restUntil(Mark.COMMA);
    if (!reader.accept(Mark.COMMA)) return;
  }
}

/** Past what is assigned to: it is no variable that is read. */
function readTarget(): void {
  switch (reader.token) {
    case Word.GLOBAL:
    case Word.PERSIST:
    case Word.PERSIST_ONLY:
      needGlobal();
      reader.advance();
      return;
    case Word.SESSION:
    case Word.LOCAL:
      reader.advance();
      noteAutocommit();
      return;
    case Token.IDENTIFIER:
    case Token.NAME:
      noteAutocommit();
      return;
    case Token.USER_VARIABLE:
      reader.advance();
      reader.accept(Mark.COLON);
      reader.accept(Mark.EQUALS);
      return;
    case Token.SYSTEM_VARIABLE:
      readSystemTarget();
      return;
    default:
  }
}

/** `@@x`, `@@global.x`; of a transaction's own variables, `@@x` without a scope is for the next one only. */
function readSystemTarget(): void {
  const word = reader.systemVariableWord();
  const isSession = word === Word.SESSION || word === Word.LOCAL;
  noteAutocommit();
  if (word === Word.GLOBAL || word === Word.PERSIST || word === Word.PERSIST_ONLY) needGlobal();
  else if (
    word === NameWord.TX_ISOLATION ||
    word === NameWord.TX_READ_ONLY ||
    word === NameWord.TRANSACTION_ISOLATION ||
    word === NameWord.TRANSACTION_READ_ONLY
  ) {
    reader.leaves |= Leave.NEXT_TRANSACTION;
  }
  reader.advance();
  if (isSession && reader.accept(Mark.DOT)) noteAutocommit();
}

/** A variable of the whole server. */
function needGlobal(): void {
  reader.need(Need.WRITE);
  reader.leaves |= Leave.LASTING;
}

/** The variable at hand is autocommit: to switch it on commits what is open. */
function noteAutocommit(): void {
  if (reader.names(AUTOCOMMIT)) reader.leaves |= Leave.LASTING;
}

const AUTOCOMMIT = Buffer.from('autocommit');

/** SET STATEMENT x = 1 FOR …: settings for one statement; the primary does it. */
function readSetStatement(): void {
  reader.need(Need.UNKNOWN_STATEMENT);
  reader.advance();
  reader.restUntil(Word.FOR);
  if (!reader.accept(Word.FOR)) {
    reader.unknown();
    return;
  }
  const leaves = reader.leaves;
  reader.leaves = 0;
  readStatement();
  reader.leaves |= reader.leaves === 0 ? leaves : leaves | Leave.ANYTHING;
}
