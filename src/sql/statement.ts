/**
 * What the classifier says of a statement, as numbers: two sets of bits. `needs` are the reasons why it may
 * not run on just any server or connection; `leaves` is what it leaves behind on the connection that runs it.
 * A statement that needs nothing is a read that any server answers alike, and nothing but such a one.
 *
 * A `Statement` is made once and filled anew for each text: this is the path of every query.
 */

/** Why a statement may not run just anywhere. */
export const Need = {
  /** It writes, or might: DML, DDL, grants, and all that only the primary may do. */
  WRITE: 1 << 0,
  /** FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE: locks belong to the primary. */
  ROW_LOCKS: 1 << 1,
  /** INTO OUTFILE, DUMPFILE or a variable; LOAD_FILE: a file is on one server, a variable on one connection. */
  INTO: 1 << 2,
  /** LAST_INSERT_ID(), @@last_insert_id, @@identity: of the connection that inserted. */
  LAST_INSERT_ID: 1 << 3,
  /** ROW_COUNT(): of the connection that ran the statement before. */
  ROW_COUNT: 1 << 4,
  /** FOUND_ROWS(): the same. */
  FOUND_ROWS: 1 << 5,
  /** SHOW WARNINGS / ERRORS / COUNT(*), GET DIAGNOSTICS, @@warning_count, @@error_count, RESIGNAL. */
  DIAGNOSTICS: 1 << 6,
  /** Any other @@variable: servers may differ in them. */
  SYSTEM_VARIABLE: 1 << 7,
  /** It names information_schema, performance_schema, mysql or sys, whose contents are one server's own. */
  SYSTEM_SCHEMA: 1 << 8,
  /** SHOW STATUS, PROCESSLIST, VARIABLES, MASTER STATUS, ENGINE …; VERSION(): what one server says of itself. */
  SERVER_STATE: 1 << 9,
  /** GET_LOCK, RELEASE_LOCK, IS_FREE_LOCK, IS_USED_LOCK, RELEASE_ALL_LOCKS. */
  USER_LOCK: 1 << 10,
  /** NEXTVAL, LASTVAL, SETVAL, NEXT / PREVIOUS VALUE FOR. */
  SEQUENCE: 1 << 11,
  /** A function that is not known to be a read-only built-in. */
  UNKNOWN_FUNCTION: 1 << 12,
  /** CONNECTION_ID() and what else names the connection. */
  CONNECTION_ID: 1 << 13,
  /** A statement that the classifier does not know. */
  UNKNOWN_STATEMENT: 1 << 14,
  /** Several statements in one packet. */
  SEVERAL: 1 << 15,
  /** It reads a user variable (`@v`), of which this session's values must be there. */
  USER_VARIABLE: 1 << 16,
  /** How it is to be read is not sure: an executable comment that only some versions execute, an open quote. */
  AMBIGUOUS: 1 << 17,
  /** BEGIN, COMMIT, SAVEPOINT, SET TRANSACTION, XA …: it makes or ends a transaction. */
  TRANSACTION: 1 << 18,
  /** SET, USE, and what else changes only the session: the server that serves it must see it. */
  SESSION: 1 << 19,
} as const;

/** What a statement leaves behind on its connection. */
export const Leave = {
  /** `@v := …`, SELECT … INTO @v, FETCH INTO: the value is not known here. (SET @v is a SET.) */
  USER_VARIABLE: 1 << 0,
  /** A SET statement: `parseSet` says which settings. */
  SETTINGS: 1 << 1,
  /** USE. */
  DATABASE: 1 << 2,
  /** CREATE TEMPORARY TABLE. */
  TEMPORARY_TABLE: 1 << 3,
  /** GET_LOCK. */
  USER_LOCK: 1 << 4,
  /** LOCK TABLES, FLUSH TABLES … WITH READ LOCK / FOR EXPORT, LOCK INSTANCE, BACKUP STAGE / LOCK. */
  TABLE_LOCK: 1 << 5,
  /** UNLOCK TABLES, UNLOCK INSTANCE, BACKUP STAGE END, BACKUP UNLOCK. */
  TABLES_UNLOCKED: 1 << 6,
  /** HANDLER … OPEN. */
  HANDLER: 1 << 7,
  /** PREPARE name FROM. */
  NAMED_STATEMENT: 1 << 8,
  /** XA START / BEGIN. */
  XA: 1 << 9,
  /** XA COMMIT / ROLLBACK. */
  XA_ENDED: 1 << 10,
  /** SET TRANSACTION without SESSION or GLOBAL: for the next transaction only. */
  NEXT_TRANSACTION: 1 << 11,
  /** SELECT SQL_CALC_FOUND_ROWS. */
  FOUND_ROWS: 1 << 12,
  /** CONNECTION_ID() and what else tells the client which connection it has. */
  CONNECTION_ID: 1 << 13,
  /** It may leave anything: CALL, a function that is not known, EXECUTE, a compound statement, what is not known. */
  ANYTHING: 1 << 14,
  /** BEGIN, START TRANSACTION. */
  TRANSACTION: 1 << 15,
  /** With TRANSACTION: it is READ ONLY. */
  READ_ONLY: 1 << 16,
  /** COMMIT or ROLLBACK (not to a savepoint). */
  TRANSACTION_ENDED: 1 << 17,
  /** LAST_INSERT_ID(expr): a value for the next LAST_INSERT_ID(). */
  LAST_INSERT_ID: 1 << 18,
  /** DDL and the like commit the transaction that is open. */
  IMPLICIT_COMMIT: 1 << 19,
  /**
   * It takes effect whatever becomes of the transaction that is open: SET GLOBAL, PURGE, KILL, SHUTDOWN …; or it may
   * commit that: SET autocommit.
   */
  LASTING: 1 << 20,
} as const;

/** How contract and metrics name what a statement is. */
export type StatementClass = 'read' | 'write' | 'transaction' | 'session' | 'unknown';

/** What somebody wrote in a comment of the statement. */
export type RouteHint = 'none' | 'primary' | 'replica';

/** What the lexer must know of the session: it decides where a quote or a comment ends. */
export interface SqlDialect {
  /** sql_mode has ANSI_QUOTES: `"a"` is a name. */
  readonly ansiQuotes: boolean;
  /** sql_mode has NO_BACKSLASH_ESCAPES. */
  readonly noBackslashEscapes: boolean;
  /**
   * character_set_client where the second byte of a character may look like a backslash or a backquote;
   * 'safe' for all others (utf8mb4, latin1, …).
   */
  readonly characterSet: 'safe' | 'gbk' | 'sjis' | 'big5' | 'gb18030';
  /** sql_mode has IGNORE_SPACE: a blank may stand between the name of a function and its parenthesis. */
  readonly ignoreSpace?: boolean;
  readonly isMariaDb: boolean;
  /** Lowest and highest version of the servers behind, as executable comments write it (101106, 50624, 90700). */
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** One classified text; filled by `classify`, valid until it is filled again. */
export class Statement {
  class: StatementClass = 'unknown';
  /** Bits of `Need`; 0: any server may answer it. */
  needs = 0;
  /** Bits of `Leave`. */
  leaves = 0;
  hint: RouteHint = 'none';
  /** Two halves of the digest: equal for texts that differ in literals, spaces, comments and case only. */
  digestHigh = 0;
  digestLow = 0;
  /** What decided, for people: `text[evidenceStart, evidenceEnd)`, the name of a function for example. */
  evidenceStart = 0;
  evidenceEnd = 0;
}
