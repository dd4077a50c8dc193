/**
 * What the words of the table are for: which of them mean something inside a statement, which may stand
 * before a parenthesis without being a function, and which function is one on the servers behind.
 */
import {
  ADJACENT_NAMES,
  FUNCTION_GROUPS,
  MARIADB_ADJACENT_NAMES,
  MYSQL_ADJACENT_NAMES,
} from './functions.ts';
import type { SqlDialect } from './statement.ts';
import { namesIn, numberOf, NameWord, Word, WORD_LIMIT } from './words.ts';

/** What a word does inside a statement; most do nothing that matters here. */
export const Role = {
  NONE: 0,
  /** SELECT, TABLE, VALUES: a query begins. */
  QUERY: 1,
  AS: 2,
  UPDATE: 3,
  DELETE: 4,
  SHARE: 5,
  LOCK: 6,
  FOR: 7,
  INTO: 8,
  FOUND_ROWS: 9,
  SET: 10,
  VALUE: 11,
  SCHEMA_NAME: 12,
} as const;

export const ROLE = new Uint8Array(WORD_LIMIT);
ROLE[Word.SELECT] = Role.QUERY;
ROLE[Word.TABLE] = Role.QUERY;
ROLE[Word.VALUES] = Role.QUERY;
ROLE[Word.AS] = Role.AS;
ROLE[Word.UPDATE] = Role.UPDATE;
ROLE[Word.DELETE] = Role.DELETE;
ROLE[Word.SHARE] = Role.SHARE;
ROLE[Word.LOCK] = Role.LOCK;
ROLE[Word.FOR] = Role.FOR;
ROLE[Word.INTO] = Role.INTO;
ROLE[Word.SQL_CALC_FOUND_ROWS] = Role.FOUND_ROWS;
ROLE[Word.SET] = Role.SET;
ROLE[Word.VALUE] = Role.VALUE;
ROLE[NameWord.INFORMATION_SCHEMA] = Role.SCHEMA_NAME;
ROLE[NameWord.PERFORMANCE_SCHEMA] = Role.SCHEMA_NAME;
ROLE[NameWord.MYSQL] = Role.SCHEMA_NAME;
ROLE[NameWord.SYS] = Role.SCHEMA_NAME;

/** True for the schemas that are each server's own. */
export function isSystemSchema(word: number): boolean {
  return (
    word === NameWord.INFORMATION_SCHEMA ||
    word === NameWord.PERFORMANCE_SCHEMA ||
    word === NameWord.MYSQL ||
    word === NameWord.SYS
  );
}

/** Reserved words that a parenthesis may follow and that are no functions, on every server. */
const RESERVED_BEFORE_OPEN = `
  ALL AND AS BETWEEN BIGINT BINARY BOTH BY CASE DEC DECIMAL DISTINCT DISTINCTROW DIV DOUBLE ELSE EXISTS
  FLOAT FROM GROUP HAVING IN INDEX INT INTEGER JOIN KEY LEADING LIKE LIMIT MATCH MEDIUMINT NOT NUMERIC ON OR
  PARTITION REAL REGEXP RLIKE ROW SELECT SMALLINT STRAIGHT_JOIN THEN TINYINT TO TRAILING UNION USING
  VALUES VARBINARY VARCHAR WHEN WHERE XOR`;

const reservedBeforeOpen = new Uint8Array(WORD_LIMIT);
for (const name of namesIn(RESERVED_BEFORE_OPEN)) reservedBeforeOpen[numberOf(name)] = 1;

/** True when `word (` is no call, whatever stands around it. */
export function isReservedBeforeOpen(word: number): boolean {
  return reservedBeforeOpen[word] === 1;
}

/** Up to two rows of the function table a word, counted from 1; 0: none. */
const firstGroup = new Uint8Array(WORD_LIMIT);
const secondGroup = new Uint8Array(WORD_LIMIT);
for (const [index, { names }] of FUNCTION_GROUPS.entries()) {
  for (const word of namesIn(names).map(numberOf)) {
    if (secondGroup[word] !== 0) throw new Error(`a third row of functions for word ${word}`);
    (firstGroup[word] === 0 ? firstGroup : secondGroup)[word] = index + 1;
  }
}

const columnOf = (value: (group: (typeof FUNCTION_GROUPS)[number]) => number) =>
  Float64Array.from([0, ...FUNCTION_GROUPS.map(value)]);
const mysqlSince = columnOf(({ mysql }) => mysql?.[0] ?? Infinity);
const mysqlUntil = columnOf(({ mysql }) => mysql?.[1] ?? 0);
const mariadbSince = columnOf(({ mariadb }) => mariadb?.[0] ?? Infinity);
const mariadbUntil = columnOf(({ mariadb }) => mariadb?.[1] ?? 0);

/** What calls of a group's functions need, by the number that `functionGroup` gives. */
export const GROUP_NEEDS = Int32Array.from([0, ...FUNCTION_GROUPS.map(({ needs }) => needs)]);
export const GROUP_LEAVES = Int32Array.from([0, ...FUNCTION_GROUPS.map(({ leaves }) => leaves)]);

/** The group of functions that this word belongs to on every server behind; 0: on some it is none. */
export function functionGroup(word: number, dialect: SqlDialect): number {
  const first = firstGroup[word]!;
  if (first === 0 || isEverywhere(first, dialect)) return first;
  const second = secondGroup[word]!;
  return second !== 0 && isEverywhere(second, dialect) ? second : 0;
}

function isEverywhere(group: number, { isMariaDb, minVersion, maxVersion }: SqlDialect): boolean {
  return isMariaDb
    ? minVersion >= mariadbSince[group]! && maxVersion < mariadbUntil[group]!
    : minVersion >= mysqlSince[group]! && maxVersion < mysqlUntil[group]!;
}

/** True for the name of a function of any server. */
export function isFunction(word: number): boolean {
  return firstGroup[word] !== 0;
}

/** 1: at MySQL; 2: at MariaDB; 3: at both. */
const adjacent = new Uint8Array(WORD_LIMIT);
for (const name of namesIn(ADJACENT_NAMES)) adjacent[numberOf(name)] = 3;
for (const name of namesIn(MYSQL_ADJACENT_NAMES)) adjacent[numberOf(name)] = 1;
for (const name of namesIn(MARIADB_ADJACENT_NAMES)) adjacent[numberOf(name)] = 2;

/** True for a function that is one only with its parenthesis right behind it. */
export function mustBeAdjacent(word: number, dialect: SqlDialect): boolean {
  return dialect.ignoreSpace !== true && (adjacent[word]! & (dialect.isMariaDb ? 2 : 1)) !== 0;
}
