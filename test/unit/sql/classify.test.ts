import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { classify } from '../../../src/sql/classify.ts';
import { digestText, formatDigest } from '../../../src/sql/digest-text.ts';
import { Leave, Need, Statement, type SqlDialect } from '../../../src/sql/statement.ts';
import { damaged, fuzz, randomBytes } from '../../support/fuzz.ts';
import { DIALECTS, namesOfBits, readStatementVectors } from '../../support/statements.ts';

const vectors = readStatementVectors();

function look(sql: string | Buffer, dialect: SqlDialect = DIALECTS.mariadb): Statement {
  const text = Buffer.from(sql);
  const statement = new Statement();
  classify(text, 0, text.length, dialect, statement);
  return statement;
}

/** What it found, as the vectors say it. */
function words({ class: kind, needs, leaves }: Pick<Statement, 'class' | 'needs' | 'leaves'>): string {
  return `${kind} | ${namesOfBits(Need, needs)} | ${namesOfBits(Leave, leaves)}`;
}

describe('the labelled statements', () => {
  test('are more than a thousand different ones', () => {
    assert.ok(new Set(vectors.map(({ sql }) => sql)).size > 1400);
  });

  for (const vector of vectors) {
    test(`${vector.server}: ${JSON.stringify(vector.sql)}`, () => {
      assert.equal(words(look(vector.sql, vector.dialect)), words(vector));
    });
  }
});

describe('wherever a statement is cut', () => {
  test('it is classified without reading beyond its end', () => {
    // What follows would change the answer, if it were read.
    const after = Buffer.from('0a\'"`*/ FOR UPDATE; CALL p()');
    for (const { sql, dialect } of vectors) {
      const text = Buffer.from(sql);
      const around = Buffer.concat([Buffer.from("'/*"), text, after]);
      const inside = new Statement();
      for (let end = 0; end <= text.length; end++) {
        const alone = look(text.subarray(0, end), dialect);
        const short = Buffer.concat([Buffer.from("'/*"), text.subarray(0, end), after]);
        classify(end === text.length ? around : short, 3, 3 + end, dialect, inside);
        assert.equal(words(inside), words(alone), sql.slice(0, end));
        assert.equal(inside.digestLow, alone.digestLow, sql.slice(0, end));
        assert.ok(inside.evidenceStart >= 3 && inside.evidenceEnd <= 3 + end, sql.slice(0, end));
        assert.ok(inside.evidenceStart <= inside.evidenceEnd);
      }
    }
  });

  test('random bytes do no harm', () => {
    const dialects: SqlDialect[] = (['safe', 'gbk', 'sjis', 'big5', 'gb18030'] as const).flatMap(
      (characterSet) => [
        { ...DIALECTS.mysql, characterSet },
        { ...DIALECTS.ansi, characterSet, noBackslashEscapes: true },
      ],
    );
    fuzz('classify', (random) => {
      const good = Buffer.from(vectors[random(vectors.length)]!.sql);
      const text = random(4) === 0 ? randomBytes(random, 60) : damaged(random, good);
      const dialect = dialects[random(dialects.length)]!;
      const statement = look(text, dialect);
      assert.equal(statement.needs === 0, statement.needs === 0 && statement.class === 'read');
      assert.equal(typeof digestText(text, 0, text.length, dialect, 100), 'string');
    });
  });
});

describe('the second byte of a character is neither quote nor backslash', () => {
  const cases: [characterSet: SqlDialect['characterSet'], text: Buffer, isRead: boolean][] = [
    // 0xd5 0x5c is one character of gbk: the quote after it ends the text.
    ['gbk', Buffer.from("SELECT '\xd5\x5c' FROM t FOR UPDATE -- '", 'latin1'), false],
    ['gbk', Buffer.from("SELECT '\xd5\x5c' FROM t", 'latin1'), true],
    ['safe', Buffer.from("SELECT '\xd5\x5c' FROM t FOR UPDATE -- '", 'latin1'), true],
    ['gbk', Buffer.from("SELECT '\xd5\x5c', 'FOR UPDATE' FROM t", 'latin1'), true],
    ['gbk', Buffer.from('SELECT `\x81\x60` FROM t', 'latin1'), true],
    ['gbk', Buffer.from('SELECT `\x81\x60`(1) FROM t', 'latin1'), false],
    ['gbk', Buffer.from('SELECT \x81\x60 FROM t', 'latin1'), true],
    // A first byte alone counts alone: the quote is a quote.
    ['gbk', Buffer.from("SELECT '\xd5' FROM t", 'latin1'), true],
    ['sjis', Buffer.from("SELECT '\x83\x5c' FROM t FOR UPDATE -- '", 'latin1'), false],
    ['sjis', Buffer.from("SELECT '\x83\x5c' FROM t", 'latin1'), true],
    // One byte of katakana, then an escaped quote.
    ['sjis', Buffer.from("SELECT '\xb1\x5c' FOR UPDATE' FROM t", 'latin1'), true],
    ['sjis', Buffer.from('SELECT \xb1 FROM t', 'latin1'), true],
    ['big5', Buffer.from("SELECT '\xa5\x5c' FROM t FOR UPDATE -- '", 'latin1'), false],
    ['big5', Buffer.from("SELECT '\xa5\x5c' FROM t", 'latin1'), true],
    ['gb18030', Buffer.from("SELECT '\xd5\x5c' FROM t FOR UPDATE -- '", 'latin1'), false],
    ['gb18030', Buffer.from("SELECT '\x81\x30\x81\x30' FROM t", 'latin1'), true],
    // Not a character, outside of quotes.
    ['gbk', Buffer.from('SELECT a FROM t FOR\xffUPDATE', 'latin1'), false],
    // A blank in latin1 and its kin.
    ['safe', Buffer.from('SELECT a FROM t FOR\xa0UPDATE', 'latin1'), false],
    ['safe', Buffer.from('SELECT a FROM t --\xa0FOR UPDATE', 'latin1'), false],
    ['safe', Buffer.from('SELECT a FROM t FOR\xffUPDATE', 'latin1'), false],
    ['safe', Buffer.from('SELECT \xe9t\xe9 FROM t', 'latin1'), true],
  ];
  for (const [characterSet, text, isRead] of cases) {
    test(`${characterSet}: ${JSON.stringify(text.toString('latin1'))}`, () => {
      const found = look(text, { ...DIALECTS.mariadb, characterSet });
      assert.equal(found.needs === 0, isRead, words(found));
    });
  }
});

test('control characters outside of quotes are not trusted', () => {
  for (const sql of [
    'SELECT 1\0',
    'SELECT 1 -- a\0 FOR UPDATE',
    'SELECT\x01a',
    'SELECT `a\0b`',
    '# \0⏎SELECT 1',
  ]) {
    assert.ok((look(sql).needs & Need.AMBIGUOUS) !== 0, JSON.stringify(sql));
  }
  for (const sql of ["SELECT 'a\0b'", 'SELECT /* \0 */ 1', 'SELECT\x0b1']) {
    assert.equal(look(sql).needs, 0, JSON.stringify(sql));
  }
});

test('a name that begins like quoted text is not trusted where it may be that', () => {
  assert.equal(look('SELECT $a$ FROM t', DIALECTS.mysql).needs, Need.AMBIGUOUS);
  assert.equal(look('SELECT $a$ FROM t', DIALECTS.mariadb).needs, 0);
});

test('parentheses may be deeper than anybody writes them', () => {
  const deep = (depth: number, inner: string) => `SELECT ${'('.repeat(depth)}${inner}${')'.repeat(depth)}`;
  assert.equal(look(deep(500, '1')).needs, 0);
  assert.ok((look(deep(5000, '1')).needs & Need.AMBIGUOUS) !== 0);
  assert.ok((look(deep(5000, 'f(1)')).needs & Need.UNKNOWN_FUNCTION) !== 0);
});

describe('hints in comments', () => {
  const hints: [sql: string, hint: Statement['hint']][] = [
    ['SELECT 1', 'none'],
    ['/* dbproxy: primary */ SELECT 1', 'primary'],
    ['/* dbproxy: replica */ SELECT 1', 'replica'],
    ['/*dbproxy:primary*/SELECT 1', 'primary'],
    ['/*  DBPROXY :  Primary  */ SELECT 1', 'primary'],
    ['SELECT 1 /* dbproxy: replica */', 'replica'],
    ['SELECT 1 -- dbproxy: primary', 'primary'],
    ['SELECT 1 # dbproxy: primary\n', 'primary'],
    ['/* dbproxy: master */ SELECT 1', 'primary'],
    ['/* dbproxy: slave */ SELECT 1', 'replica'],
    ['/* dbproxy: primary */ SELECT /* dbproxy: replica */ 1', 'primary'],
    ['/* dbproxy: replica */ SELECT /* dbproxy: primary */ 1', 'primary'],
    ['/* dbproxy: primary please */ SELECT 1', 'none'],
    ['/* dbproxy: elsewhere */ SELECT 1', 'none'],
    ['/* dbproxy primary */ SELECT 1', 'none'],
    ['/* not dbproxy: primary */ SELECT 1', 'none'],
    ["SELECT '/* dbproxy: primary */'", 'none'],
    ['SELECT "/* dbproxy: primary */"', 'none'],
    ['SELECT `/* dbproxy: primary */` FROM t', 'none'],
    ['SELECT 1 -- maxscale route to master', 'primary'],
    ['SELECT 1 -- maxscale route to slave', 'replica'],
    ['SELECT 1 # maxscale route to slave', 'replica'],
    ['SELECT 1 /* maxscale route to master */', 'primary'],
    ['SELECT 1 /*MaxScale Route To Slave*/', 'replica'],
    ['SELECT 1 -- maxscale route to last', 'none'],
    ['SELECT 1 -- maxscale route to server db2', 'none'],
    ['SELECT 1 -- maxscale max_slave_replication_lag=5', 'none'],
    ['/*#mycat:db_type=slave*/ SELECT 1', 'replica'],
    ['/*#mycat:db_type=master*/ SELECT 1', 'primary'],
    ['/*mycat:db_type=slave*/ SELECT 1', 'replica'],
    ['/* mycat: db_type = master */ SELECT 1', 'primary'],
    ['/*!mycat:db_type=slave*/ SELECT 1', 'replica'],
    ['/*!mycat: db_type=master*/ SELECT 1', 'primary'],
    ['/*#mycat:sql=select 1*/ SELECT 1', 'none'],
    ['/*master*/ SELECT 1', 'primary'],
    ['/* master */ SELECT 1', 'primary'],
    ['/*MASTER*/ SELECT 1', 'primary'],
    ['/*slave*/ SELECT 1', 'replica'],
    ['/*balance*/ SELECT 1', 'replica'],
    ['/* master data */ SELECT 1', 'none'],
    ['/* the master */ SELECT 1', 'none'],
    ['/*#master*/ SELECT 1', 'none'],
    ['/* hostgroup=1 */ SELECT 1', 'none'],
    ['/* ;hostgroup=1; */ SELECT 1', 'none'],
    ['/*+ dbproxy: primary */ SELECT 1', 'none'],
    ['/* dbproxy: primary', 'none'],
  ];
  for (const [sql, hint] of hints) test(sql, () => assert.equal(look(sql).hint, hint));
});

describe('the evidence is what decided first', () => {
  const cases: [sql: string, evidence: string][] = [
    ['SELECT 1', 'SELECT'],
    ['/* x */ SELECT f(1), g(2)', 'f'],
    ['SELECT a FROM t FOR UPDATE', 'UPDATE'],
    ['SELECT LAST_INSERT_ID()', 'LAST_INSERT_ID'],
    ['SELECT * FROM `mysql`.user', '`mysql`'],
    ['SELECT @@session.sql_mode', '@@session.sql_mode'],
    ['SELECT @a', '@a'],
    ['INSERT INTO t VALUES (1)', 'INSERT'],
    ['SHOW GLOBAL STATUS', 'GLOBAL'],
    ['SELECT 1; SELECT 2', 'SELECT'],
    ['nonsense 1', 'nonsense'],
    ["SELECT 1 FROM t WHERE a = 'x", "'x"],
    ['SELECT a = ANY (1)', 'ANY'],
    ['', ''],
  ];
  for (const [sql, evidence] of cases) {
    test(sql, () => {
      const { evidenceStart, evidenceEnd } = look(sql);
      assert.equal(sql.slice(evidenceStart, evidenceEnd), evidence);
    });
  }
});

test('nothing of one statement is left in the next', () => {
  const statement = new Statement();
  for (const sql of [
    '(((',
    "SELECT '",
    'INSERT INTO t',
    'SHOW TABLES FROM',
    'SELECT 1 INTO @a',
    'WITH a AS',
  ]) {
    const before = Buffer.from(sql);
    classify(before, 0, before.length, DIALECTS.mariadb, statement);
    const text = Buffer.from('SELECT mysql, f FROM t WHERE a IN (1)');
    classify(text, 0, text.length, DIALECTS.mariadb, statement);
    assert.equal(words(statement), 'read | - | -', sql);
    assert.equal(statement.hint, 'none');
  }
});

describe('the digest', () => {
  const digestOf = (sql: string, dialect: SqlDialect = DIALECTS.mariadb) => {
    const { digestHigh, digestLow } = look(sql, dialect);
    return formatDigest(digestHigh, digestLow);
  };
  const textOf = (sql: string, maxLength = 10_000) => {
    const text = Buffer.from(sql);
    return digestText(text, 0, text.length, DIALECTS.mariadb, maxLength);
  };

  const texts: [sql: string, text: string][] = [
    ['SELECT c FROM t WHERE id=10', 'select c from t where id = ?'],
    ["select  C from T where ID = 'x' ;", 'select c from t where id = ?'],
    ['SELECT /* why */ c -- not\n FROM t /*+ x */ WHERE id = NULL', 'select c from t where id = ?'],
    ['SELECT c FROM t WHERE id = ?', 'select c from t where id = ?'],
    ['SELECT c FROM t WHERE id = -10', 'select c from t where id = ?'],
    ['SELECT a - 1, a -1, -1, - 1, -a', 'select a - ?, a - ?, ?, ?, - a'],
    ['SELECT a FROM t WHERE b IN (1)', 'select a from t where b in (?, ...)'],
    ["SELECT a FROM t WHERE b IN (1, -2, 'x', NULL, ?)", 'select a from t where b in (?, ...)'],
    ['SELECT a FROM t WHERE b IN (1, c)', 'select a from t where b in (?, c)'],
    ['SELECT a FROM t WHERE (b, c) IN ((1, 2), (3, 4))', 'select a from t where (b, c) in ((?, ...))'],
    ['INSERT INTO t VALUES (1, 2)', 'insert into t values (?, ...)'],
    ["INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", 'insert into t values (?, ...)'],
    ['SELECT a IS NULL, a IS NOT NULL, NULL, TRUE', 'select a is null, a is not null, ?, ?'],
    ['SELECT `a b`, `A`', 'select `a b`, `a`'],
    ['SELECT COUNT(*), f (1)', 'select count(*), f(?)'],
    ['SELECT a<=b, a := 1, a->>"$.x"', 'select a <= b, a := ?, a - >> ?'],
    ["SELECT @a, @@session.b, x'41', 0x41, 1.5e3", 'select @a, @@session.b, ?, ?, ?'],
    ['SELECT 1; SELECT 2;', 'select ?; select ?'],
    ['größe', 'größe'],
    ['', ''],
    [';', ''],
  ];
  for (const [sql, text] of texts) test(sql, () => assert.equal(textOf(sql), text));

  test('is the same for texts that differ in literals, blanks, comments and case', () => {
    for (const group of [
      ['SELECT 1', 'select 2', "SELECT 'x'", ' SELECT\n1 ;', 'SELECT/**/1', 'SELECT -5', 'SELECT 1.5e-3'],
      [
        'SELECT a FROM t WHERE b IN (1)',
        'SELECT a FROM t WHERE b IN (1,2,3,4)',
        "select A from T where B in ('x')",
      ],
      ['INSERT INTO t (a) VALUES (1)', 'INSERT INTO t (a) VALUES (1), (2)', 'INSERT INTO t (a) VALUES (1,2)'],
    ]) {
      assert.equal(new Set(group.map((sql) => digestOf(sql))).size, 1, group.join());
    }
  });

  test('is another for another statement', () => {
    const different = [
      'SELECT a FROM t',
      'SELECT b FROM t',
      'SELECT a FROM u',
      'SELECT ab FROM t',
      'SELECT a b FROM t',
      'SELECT `a` FROM t',
      'SELECT @a FROM t',
      "SELECT @'a' FROM t",
      'SELECT @@a FROM t',
      'SELECT a.b FROM t',
      'SELECT a, b FROM t',
      'SELECT (a, b) FROM t',
      'SELECT a FROM t WHERE b IN (1)',
      'SELECT a FROM t WHERE b = 1',
      'SELECT a FROM t WHERE b < 1',
      'SELECT a FROM t WHERE b <= 1',
      'SELECT a FROM t WHERE b IS NULL',
      'SELECT a FROM t WHERE b IS NOT NULL',
      'SELECT a - 1 FROM t',
      'SELECT a, - 1 FROM t',
      'SELECT a + 1 FROM t',
    ];
    assert.equal(new Set(different.map((sql) => digestOf(sql))).size, different.length);
    assert.equal(new Set(different.map((sql) => textOf(sql))).size, different.length);
  });

  test('is the same exactly where the text is, for all labelled statements and damaged ones', () => {
    const textOfDigest = new Map<string, string>();
    const digestOfText = new Map<string, string>();
    const check = (text: Buffer, dialect: SqlDialect) => {
      const statement = look(text, dialect);
      const digest = formatDigest(statement.digestHigh, statement.digestLow);
      const words = digestText(text, 0, text.length, dialect, 1_000_000);
      assert.equal(textOfDigest.get(digest) ?? words, words, digest);
      assert.equal(digestOfText.get(words) ?? digest, digest, words);
      textOfDigest.set(digest, words);
      digestOfText.set(words, digest);
    };
    for (const { sql } of vectors) check(Buffer.from(sql), DIALECTS.mariadb);
    fuzz('digest', (random) => {
      const pieces = vectors[random(vectors.length)]!.sql.split(/(?=[ (),;.])/);
      for (let count = random(4); count > 0; count--)
        pieces.splice(random(pieces.length + 1), random(2), ', 1', '(2)');
      check(Buffer.from(pieces.join('')), DIALECTS.mariadb);
    });
  });

  test('its text is as long as asked for', () => {
    const long = textOf('SELECT a FROM t WHERE b = 1', 12);
    assert.equal(long.length, 12);
    assert.equal(long, 'select a ...');
    assert.equal(textOf('SELECT a', 8), 'select a');
  });

  test('is written with 16 digits', () => {
    assert.equal(formatDigest(1, -1), '0x00000001ffffffff');
    assert.match(digestOf('SELECT 1'), /^0x[0-9a-f]{16}$/);
  });
});

test('a blank before the parenthesis makes another function of some names, but not under IGNORE_SPACE', () => {
  assert.notEqual(look('SELECT COUNT (*) FROM t').needs & Need.UNKNOWN_FUNCTION, 0);
  assert.equal(look('SELECT COUNT (*) FROM t', { ...DIALECTS.mariadb, ignoreSpace: true }).needs, 0);
});
