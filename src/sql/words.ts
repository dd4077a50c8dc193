/**
 * The words that mean something to the classifier, found by their bytes. Every keyword and every function
 * that is known has a number; a word that is not in the table is somebody's table, column or function.
 *
 * The look-up makes no string: the lexer folds a hash while it walks over the word, a probe into a table
 * finds the candidate, and its bytes are compared.
 */
import { FUNCTION_GROUPS } from './functions.ts';

/**
 * The keywords that code asks for by name. Tokens that are no words have lower numbers. (There are several such
 * tables because the engine reads objects of up to 127 fields much faster than larger ones.)
 */
export const Word = {
  ALTER: 256,
  ANALYZE: 257,
  ANY: 258,
  AS: 259,
  BACKUP: 260,
  BEGIN: 261,
  CHAIN: 262,
  CHARACTER: 263,
  CHARSET: 264,
  COLUMNS: 265,
  COMMIT: 266,
  CONVERT: 267,
  COUNT: 268,
  CREATE: 269,
  DATABASE: 270,
  DATABASES: 271,
  DATETIME: 272,
  DEALLOCATE: 273,
  DEFAULT: 274,
  DELETE: 275,
  DESC: 276,
  DESCRIBE: 277,
  DO: 278,
  DROP: 279,
  END: 280,
  ERRORS: 281,
  EVENT: 282,
  EXECUTE: 283,
  EXPLAIN: 284,
  EXPORT: 285,
  EXTENDED: 286,
  FALSE: 287,
  FIELDS: 288,
  FOR: 289,
  FORMAT: 290,
  FULL: 291,
  FUNCTION: 292,
  GET: 293,
  GLOBAL: 294,
  HANDLER: 295,
  IN: 296,
  INDEX: 297,
  INSERT: 298,
  INSTANCE: 299,
  INTO: 300,
  IS: 301,
  JSON_TABLE: 302,
  LIBRARY: 303,
  LOAD: 304,
  LOCAL: 305,
  LOCK: 306,
  MEMBER: 307,
  NAMES: 308,
  NCHAR: 309,
  NEXT: 310,
  NO: 311,
  NOT: 312,
  NO_WRITE_TO_BINLOG: 313,
  NULL: 314,
  OF: 315,
  ONLY: 316,
  OPEN: 317,
  PACKAGE: 318,
  PARTITIONS: 319,
  PASSWORD: 320,
  PERSIST: 321,
  PERSIST_ONLY: 322,
  PREPARE: 323,
  PREVIOUS: 324,
  PROCEDURE: 325,
  READ: 326,
  RECURSIVE: 327,
  RELEASE: 328,
  REPLACE: 329,
  RESIGNAL: 330,
  RESOURCE: 331,
  ROLE: 332,
  ROLLBACK: 333,
  ROW: 334,
  SAVEPOINT: 335,
  SCHEMA: 336,
  SCHEMAS: 337,
  SELECT: 338,
  SESSION: 339,
  SET: 340,
  SHARE: 341,
  SHOW: 342,
  SIGNAL: 343,
  SOME: 344,
  SQL_CALC_FOUND_ROWS: 345,
  START: 346,
  STATEMENT: 347,
  TABLE: 348,
  TABLES: 349,
  TEMPORARY: 350,
  TO: 351,
  TRANSACTION: 352,
  TRIGGER: 353,
  TRUE: 354,
  UNLOCK: 355,
  UPDATE: 356,
  USE: 357,
  VALUE: 358,
  VALUES: 359,
  VIEW: 360,
  WARNINGS: 361,
  WHERE: 362,
  WITH: 363,
  WORK: 364,
  XA: 365,
} as const;

/** What begins statements for those who run a server. */
export const AdminWord = {
  BINLOG: 366,
  CACHE: 367,
  CALL: 368,
  CHANGE: 369,
  CHECK: 370,
  CHECKSUM: 371,
  CLONE: 372,
  FLUSH: 373,
  GRANT: 374,
  HELP: 375,
  IMPORT: 376,
  INSTALL: 377,
  KILL: 378,
  OPTIMIZE: 379,
  PURGE: 380,
  RENAME: 381,
  REPAIR: 382,
  RESET: 383,
  RESTART: 384,
  REVOKE: 385,
  SHUTDOWN: 386,
  STOP: 387,
  TRUNCATE: 388,
  UNINSTALL: 389,
} as const;

/** Names of schemas, variables and sequences that stand for something. */
export const NameWord = {
  CURRVAL: 390,
  ERROR_COUNT: 391,
  IDENTITY: 392,
  INFORMATION_SCHEMA: 393,
  LAST_INSERT_ID: 394,
  MYSQL: 395,
  NEXTVAL: 396,
  PERFORMANCE_SCHEMA: 397,
  PSEUDO_THREAD_ID: 398,
  SYS: 399,
  TRANSACTION_ISOLATION: 400,
  TRANSACTION_READ_ONLY: 401,
  TX_ISOLATION: 402,
  TX_READ_ONLY: 403,
  WARNING_COUNT: 404,
} as const;

/** The words of routing hints. */
export const HintWord = {
  BALANCE: 405,
  DBPROXY: 406,
  DB_TYPE: 407,
  MASTER: 408,
  MAXSCALE: 409,
  MYCAT: 410,
  PRIMARY: 411,
  REPLICA: 412,
  ROUTE: 413,
  SLAVE: 414,
} as const;

/** Keywords that are in lists only (`grammar.ts`, `digest.ts`). */
const OTHER_KEYWORDS = `
  ALL AND BETWEEN BIGINT BINARY BOTH BY CASE DEC DECIMAL DISTINCT DISTINCTROW DIV DOUBLE ELSE EXISTS
  FLOAT FROM GROUP HAVING INT INTEGER INTERVAL JOIN KEY LEADING LIKE LIMIT MATCH MEDIUMINT MOD NUMERIC OFFSET
  ON OR PARTITION REAL REGEXP RLIKE SMALLINT STRAIGHT_JOIN THEN TINYINT TRAILING UNION USING VARBINARY
  VARCHAR WHEN XOR`;

/** The lowest number of a word. */
export const FIRST_WORD = 256;

/** How the hash of a word begins and goes on; the lexer does the same in its own loop. */
export const HASH_SEED = 0x811c9dc5 | 0;
export const HASH_PRIME = 0x01000193;

/** What a byte of a word counts as: capitals as small letters; 0 for bytes that no word has. */
export const FOLDED = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const isCapital = byte >= 0x41 && byte <= 0x5a;
  const isSmall = byte >= 0x61 && byte <= 0x7a;
  const isDigit = byte >= 0x30 && byte <= 0x39;
  if (isCapital) FOLDED[byte] = byte | 0x20;
  else if (isSmall || isDigit || byte === 0x5f || byte === 0x24 || byte >= 0x80) FOLDED[byte] = byte;
}

const names = new Map<string, number>(Object.entries({ ...Word, ...AdminWord, ...NameWord, ...HintWord }));
for (const list of [OTHER_KEYWORDS, ...FUNCTION_GROUPS.map((group) => group.names)]) {
  for (const name of namesIn(list)) if (!names.has(name)) names.set(name, FIRST_WORD + names.size);
}

/** The names in a list with blanks and line breaks between. */
export function namesIn(list: string): string[] {
  return list.trim().split(/\s+/);
}

/** The number of a name that is in the table. */
export function numberOf(name: string): number {
  const word = names.get(name);
  if (word === undefined) throw new Error(`${name} is not in the table of words`);
  return word;
}

/** All words there are: one more than the highest number. */
export const WORD_LIMIT = FIRST_WORD + names.size;

/** Open addressing, a quarter full: nearly every miss ends at the first probe. */
const SLOTS = 4096;
const slotWord = new Uint16Array(SLOTS);
const slotHash = new Int32Array(SLOTS);
const bytesStart = new Uint16Array(WORD_LIMIT + 1);
const bytes = Buffer.from(
  [...names]
    .sort((a, b) => a[1] - b[1])
    .map(([name]) => name.toLowerCase())
    .join(''),
  'latin1',
);

{
  let offset = 0;
  for (const [name, word] of [...names].sort((a, b) => a[1] - b[1])) {
    bytesStart[word] = offset;
    offset += name.length;
    bytesStart[word + 1] = offset;
    const hash = hashOf(bytes, bytesStart[word], offset);
    let slot = hash & (SLOTS - 1);
    while (slotWord[slot] !== 0) slot = (slot + 1) & (SLOTS - 1);
    slotWord[slot] = word;
    slotHash[slot] = hash;
  }
}

/** The hash of a word, as the lexer makes it on its way. */
export function hashOf(text: Uint8Array, start: number, end: number): number {
  let hash = HASH_SEED;
  for (let offset = start; offset < end; offset++) {
    hash = Math.imul(hash ^ FOLDED[text[offset]!]!, HASH_PRIME);
  }
  return hash;
}

/** The number of the word `text[start, end)` with this hash; 0 when it is none of the table. */
export function findWord(text: Uint8Array, start: number, end: number, hash: number): number {
  let slot = hash & (SLOTS - 1);
  for (;;) {
    const word = slotWord[slot]!;
    if (word === 0) return 0;
    if (slotHash[slot] === hash && isWord(word, text, start, end)) return word;
    slot = (slot + 1) & (SLOTS - 1);
  }
}

function isWord(word: number, text: Uint8Array, start: number, end: number): boolean {
  const from = bytesStart[word]!;
  const length = end - start;
  if (bytesStart[word + 1]! - from !== length) return false;
  for (let index = 0; index < length; index++) {
    if (FOLDED[text[start + index]!] !== bytes[from + index]) return false;
  }
  return true;
}
