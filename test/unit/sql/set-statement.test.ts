import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSet, parseUse, type Assignment } from '../../../src/sql/set-statement.ts';
import type { SqlDialect } from '../../../src/sql/statement.ts';
import { damaged, fuzz } from '../../support/fuzz.ts';
import { DIALECTS } from '../../support/statements.ts';

function parse(sql: string, dialect: SqlDialect = DIALECTS.mariadb): Assignment[] | null {
  const text = Buffer.from(sql);
  return parseSet(text, 0, text.length, dialect);
}

/** An assignment in short: `name=value`, a star before what is no literal. */
function short(assignment: Assignment): string {
  switch (assignment.kind) {
    case 'setting':
      return `${assignment.name}=${assignment.isLiteral ? '' : '*'}${assignment.value}`;
    case 'user_variable':
      return `@${assignment.name}=${assignment.isLiteral ? '' : '*'}${assignment.value}`;
    case 'names':
      return `names ${assignment.characterSet} ${assignment.collation}`;
    case 'character_set':
      return `charset ${assignment.characterSet}`;
    case 'transaction':
      return `${assignment.scope} ${assignment.isolation} ${assignment.access}`;
    case 'global':
    case 'other':
      return assignment.kind;
  }
}

const cases: [sql: string, found: string[] | null][] = [
  ['SET autocommit=1', ['autocommit=1']],
  ['set AutoCommit := OFF ;', ['autocommit=OFF']],
  ['SET @@autocommit = 1', ['autocommit=1']],
  ['SET @@session.autocommit = 1', ['autocommit=1']],
  ['SET @@SESSION . autocommit = 1', ['autocommit=1']],
  ['SET @@local.`autocommit` = 1', ['autocommit=1']],
  ['SET @@`autocommit` = 1', ['autocommit=1']],
  ['SET SESSION autocommit = 1', ['autocommit=1']],
  ['SET LOCAL `autocommit` := DEFAULT', ['autocommit=DEFAULT']],
  ["SET sql_mode='ANSI,TRADITIONAL'", ["sql_mode='ANSI,TRADITIONAL'"]],
  ['SET sql_mode="ANSI", time_zone = "+00:00"', ["sql_mode='ANSI'", "time_zone='+00:00'"]],
  [`SET @a = "it's", @b = "say ""x""", @c = "a\\"b"`, ["@a='it''s'", `@b='say "x"'`, `@c='a\\"b'`]],
  ['SET sql_mode = ANSI', ['sql_mode=ANSI']],
  ['SET character_set_results = NULL', ['character_set_results=NULL']],
  ['SET a = -5, b = +1.5e3, c = 0x41', ['a=-5', 'b=+1.5e3', 'c=0x41']],
  ["SET a = _utf8'x', b = N'x', c = x'41'", ["a=_utf8'x'", "b=N'x'", "c=x'41'"]],
  ["SET sql_mode = CONCAT(@@sql_mode, ',ANSI')", ["sql_mode=*CONCAT(@@sql_mode, ',ANSI')"]],
  ['SET a = (1 + 2) * 3, b = 4', ['a=*(1 + 2) * 3', 'b=4']],
  ['SET a = (SELECT MAX(x), 2 FROM t), b = 1', ['a=*(SELECT MAX(x), 2 FROM t)', 'b=1']],
  ['SET @@d = @@e', ['d=*@@e']],
  ['SET a = CURRENT_TIMESTAMP', ['a=*CURRENT_TIMESTAMP']],
  ['SET timestamp = DEFAULT', ['timestamp=DEFAULT']],
  ['SET @v = 3', ['@v=3']],
  ["SET @V := 3, @`a B` = 4, @\"c\" = 5, @'d''e' = 6", ['@v=3', '@a b=4', '@c=5', "@d'e=6"]],
  ['SET @a.b = 1', ['@a.b=1']],
  ['SET @a = NULL, @b = TRUE, @c = x', ['@a=NULL', '@b=TRUE', '@c=*x']],
  ['SET @a = @b', ['@a=*@b']],
  ['SET @a = NOW()', ['@a=*NOW()']],
  ['SET @a = @b := 3', ['@a=*@b := 3']],
  ['SET NAMES utf8mb4', ['names utf8mb4 null']],
  ["SET NAMES 'UTF8MB4' COLLATE 'utf8mb4_bin'", ['names utf8mb4 utf8mb4_bin']],
  ['SET NAMES "latin1" collate latin1_bin', ['names latin1 latin1_bin']],
  ['SET NAMES DEFAULT', ['names default null']],
  ['SET NAMES binary', ['names binary null']],
  ['SET CHARACTER SET utf8', ['charset utf8']],
  ["SET CHARSET 'utf8'", ['charset utf8']],
  ['SET CHAR SET utf8', ['charset utf8']],
  ['SET CHARACTER SET DEFAULT', ['charset default']],
  ['SET NAMES utf8, @a = 1, autocommit = 0', ['names utf8 null', '@a=1', 'autocommit=0']],
  // Scopes
  ['SET GLOBAL a = 1', ['global']],
  ['SET @@global.a = 1', ['global']],
  ['SET PERSIST a = 1, b = 2', ['global', 'global']],
  ['SET PERSIST_ONLY a = 1', ['global']],
  ['SET @@persist.a = 1, b = 2', ['global', 'b=2']],
  ['SET GLOBAL a = 1, b = 2', ['global', 'global']],
  ['SET GLOBAL a = 1, @@b = 2', ['global', 'b=2']],
  ['SET GLOBAL a = 1, SESSION b = 2, c = 3', ['global', 'b=2', 'c=3']],
  ['SET GLOBAL a = 1, @x = 2, c = 3', ['global', '@x=2', 'global']],
  ['SET @@global.a = 1, c = 3', ['global', 'c=3']],
  ['SET SESSION a = 1, GLOBAL b = 2', ['a=1', 'global']],
  ['SET GLOBAL validate_password.length = 8', ['global']],
  [
    "SET a=1, @@session.b = 'x', SESSION c = DEFAULT, LOCAL d := 2, @v = 3, GLOBAL x = 1, y = 2",
    ['a=1', "b='x'", 'c=DEFAULT', 'd=2', '@v=3', 'global', 'global'],
  ],
  // Transactions
  ['SET TRANSACTION ISOLATION LEVEL READ COMMITTED', ['next READ COMMITTED null']],
  ['SET TRANSACTION READ ONLY', ['next null read only']],
  ['set transaction isolation level serializable , read write', ['next SERIALIZABLE read write']],
  ['SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY', ['session READ COMMITTED read only']],
  ['SET LOCAL TRANSACTION ISOLATION LEVEL REPEATABLE READ', ['session REPEATABLE READ null']],
  ['SET GLOBAL TRANSACTION READ ONLY', ['global']],
  ['SET TRANSACTION', null],
  ['SET TRANSACTION ISOLATION LEVEL CHAOS', null],
  ["SET transaction_isolation = 'READ-COMMITTED'", ["transaction_isolation='READ-COMMITTED'"]],
  ["SET @@session.tx_isolation = 'READ-COMMITTED'", ["tx_isolation='READ-COMMITTED'"]],
  ["SET @@transaction_isolation = 'READ-COMMITTED'", ['next READ COMMITTED null']],
  ['SET @@tx_read_only = 1', ['next null read only']],
  ['SET @@transaction_read_only = OFF', ['next null read write']],
  ['SET @@tx_isolation = @x', null],
  // Others
  ["SET PASSWORD = 'x'", ['other']],
  ['SET ROLE r', ['other']],
  ['SET DEFAULT ROLE r TO u', ['other']],
  ['SET RESOURCE GROUP g', ['other']],
  // Comments
  ['/* driver */ SET /* x */ a /* y */ = /* z */ 1 -- end', ['a=1']],
  ['/*!40101 SET NAMES utf8 */', ['names utf8 null']],
  [
    "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
    ['@old_sql_mode=*@@SQL_MODE', "sql_mode='NO_AUTO_VALUE_ON_ZERO'"],
  ],
  ['SET a = 1 /* x */ + 2', null],
  ['SET a = 1 /*! + 2 */', null],
  // Not understood
  ['', null],
  ['SET', null],
  ['SET a', null],
  ['SET a =', null],
  ['SET = 1', null],
  ['SET a = 1,', null],
  ['SET a = 1 b = 2, ', null],
  ['SET a = 1; SET b = 2', null],
  ['SET a = (1', null],
  ['SET a = 1)', null],
  ["SET a = 'x", null],
  ['SET a = ?', null],
  ['SET @ = 1', null],
  ['SET @größe = 1', null],
  ['SET größe = 1', null],
  ['SET session.a = 1', null],
  ['SET a.b = 1', null],
  ['SET @@a.b = 1', null],
  ['SET NAMES', null],
  ['SET NAMES utf8 COLLATE', null],
  ['SET NAMES utf8 utf8_bin', null],
  ['SET CHARACTER utf8', null],
  ['SET STATEMENT a = 1 FOR SELECT 1', null],
  ['SELECT 1', null],
  ['RESET a = 1', null],
];

describe('parseSet', () => {
  for (const [sql, found] of cases) {
    test(sql, () => assert.deepEqual(parse(sql)?.map(short) ?? null, found));
  }

  test('a double-quoted text is said again as what it was under ANSI_QUOTES', () => {
    assert.deepEqual(parse('SET sql_mode = "ANSI"', DIALECTS.ansi)?.map(short), ["sql_mode='ANSI'"]);
    assert.deepEqual(parse('SET @a = "x"', DIALECTS.ansi)?.map(short), ["@a=*'x'"]);
  });

  test('a backslash is a letter under NO_BACKSLASH_ESCAPES', () => {
    assert.deepEqual(parse("SET @a = 'x\\', @b = 1", DIALECTS.noescape)?.map(short), ["@a='x\\'", '@b=1']);
    assert.deepEqual(parse('SET @a = "x\\""y"', DIALECTS.noescape)?.map(short), [`@a='x\\"y'`]);
  });

  test('no byte of a value is lost', () => {
    const text = Buffer.from("SET @a = '\xff\x00ü'", 'latin1');
    const [found] = parseSet(text, 0, text.length, DIALECTS.mariadb) ?? [];
    assert.ok(found?.kind === 'user_variable');
    assert.deepEqual(Buffer.from(found.value, 'latin1'), text.subarray(9));
  });

  test('only what lies within the bounds is read', () => {
    const text = Buffer.from('xxSET a = 12345');
    assert.deepEqual(parseSet(text, 2, 12, DIALECTS.mariadb)?.map(short), ['a=12']);
  });

  test('whatever comes, it answers', () => {
    fuzz('parseSet', (random) => {
      const text = damaged(random, Buffer.from(cases[random(cases.length)]![0]));
      const found = parseSet(text, 0, text.length, DIALECTS.mysql);
      assert.ok(found === null || found.length > 0);
      parseUse(text, 0, text.length, DIALECTS.mysql);
    });
  });
});

describe('parseUse', () => {
  const uses: [sql: string, database: string | null][] = [
    ['USE db', 'db'],
    ['use db ;', 'db'],
    ['USE `my db`', 'my db'],
    ['USE `a``b`', 'a`b'],
    ['USE Db1', 'Db1'],
    ['USE 2nd', '2nd'],
    ['USE test', 'test'],
    ['USE mysql', 'mysql'],
    ['/* x */ USE /* y */ db -- z', 'db'],
    ['USE größe', Buffer.from('größe').toString('latin1')],
    ["USE 'db'", null],
    ['USE', null],
    ['USE a b', null],
    ['USE a.b', null],
    ['USE a; USE b', null],
    ['USE `a', null],
    ['SELECT 1', null],
  ];
  for (const [sql, database] of uses) {
    test(sql, () => {
      const text = Buffer.from(sql);
      assert.equal(parseUse(text, 0, text.length, DIALECTS.mariadb), database);
    });
  }

  test('double quotes are quotes of a name under ANSI_QUOTES only', () => {
    const text = Buffer.from('USE "a b"');
    assert.equal(parseUse(text, 0, text.length, DIALECTS.ansi), 'a b');
    assert.equal(parseUse(text, 0, text.length, DIALECTS.mariadb), null);
  });
});
