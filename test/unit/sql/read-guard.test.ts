import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { guardRead, isPlainSelect } from '../../../src/sql/read-guard.ts';

function guard(sql: string, onPrimary = false): string {
  const text = Buffer.from(sql);
  return guardRead(text, 0, text.length, onPrimary).kind;
}

test('maintenance that a server writes into its own binary log is refused', () => {
  for (const sql of ['analyze table t', 'ANALYZE LOCAL TABLE t', 'flush tables', 'FLUSH /* all */ STATUS']) {
    assert.equal(guard(sql), 'refuse', sql);
  }
  for (const sql of [
    'analyze select 1',
    'analyze format=json select 1',
    'flush local tables',
    'explain analyze select 1',
  ]) {
    assert.equal(guard(sql), 'pass', sql);
  }
});

test('a routine is refused where nothing but the guard stands before a write', () => {
  for (const sql of ['call p()', '/* now */ CALL db.p(1)', 'select 1; call p()', '{call p()}']) {
    assert.equal(guard(sql, true), 'refuse', sql);
    assert.equal(guard(sql, false), 'pass', sql);
  }
  assert.equal(guard('select call from calls', true), 'pass');
});

suite('passes', () => {
  const statements = [
    'select 1',
    'select @@tx_read_only, @@session.transaction_read_only',
    "select 'set session transaction read write'",
    'select `read`, `write` from files',
    'SELECT t.read, t.write FROM t',
    'show variables like "tx_read_only"',
    'set names utf8mb4',
    'set autocommit = 1',
    "set @a = 'read write'",
    'set session transaction read only',
    'set session transaction isolation level read committed',
    'set transaction isolation level repeatable read',
    'start transaction',
    'start transaction read only',
    'start transaction with consistent snapshot, read only',
    'begin',
    'begin not atomic select 1; end',
    'lock tables a read, b write',
    'prepare s from "select ? + 1"',
    "execute immediate 'select 1'",
    "execute immediate 'select ?' using 1",
    'execute s using @a',
    "prepare s from 'select ''a'' from t'",
    'insert into t values (1)',
    '/*!40101 SET NAMES utf8 */',
    'START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */',
    'select 1; select 2',
    'set @x = 1; select @x',
    'set session transaction read only; select * from writers',
    '',
    ';',
    '-- nothing',
  ];
  for (const sql of statements) test(JSON.stringify(sql), () => assert.equal(guard(sql), 'pass'));
});

suite('is answered OK and reaches no server', () => {
  const statements = [
    'set session transaction read write',
    'SET TRANSACTION READ WRITE',
    'set local transaction read write;',
    '/* driver */ SET\tSESSION\nTRANSACTION /* x */ READ  WRITE -- now',
  ];
  for (const sql of statements) test(JSON.stringify(sql), () => assert.equal(guard(sql), 'answer_ok'));
});

suite('is refused', () => {
  const statements = [
    'set tx_read_only = 0',
    'SET SESSION transaction_read_only=OFF',
    'set @@tx_read_only = 0',
    'set @@session.tx_read_only = 0',
    'set @@session . `transaction_read_only` = 0',
    'set autocommit = 1, @@local.tx_read_only := 0',
    'set @a = 1, tx_read_only = default',
    'set global tx_read_only = 0',
    'set global transaction read write',
    'start transaction read write',
    'start /* x */ transaction with consistent snapshot, read write',
    'set session transaction isolation level serializable, read write',
    // Several statements
    'select 1; set session transaction read write',
    'set session transaction read write; insert into t values (1)',
    'select 1; start transaction read write',
    // Quotes and comments that end elsewhere in another sql_mode or version
    "select '\\'; set session transaction read write; -- '",
    "/*!99999 ' */ set session transaction read write -- '",
    "select 1 /*!99999 ' */; set tx_read_only = 0 -- '",
    "select 1 */* ' */ 2; set session transaction read write; select ' '",
    '/*!50000 set session transaction read write */',
    '/*!50000set*/ tx_read_only = 0',
    // Text that is executed
    "prepare s from 'set session transaction read write'",
    'prepare s from "set tx_read_only = 0"',
    "execute immediate 'start transaction read write'",
    "execute immediate 'set session transac' 'tion read wr' 'ite'",
    "execute immediate concat('set session transaction read ', 'write')",
    "execute immediate 'set session transaction r\\ead w\\rite'",
    'execute immediate @a',
    'execute immediate 0x7365742074785f726561645f6f6e6c793d30',
    "execute immediate x'736574'",
    'prepare s from @a',
    'prepare `s` from @a',
    "execute immediate 'execute immediate @a'",
    // Compound statements
    'begin not atomic set session transaction read write; end',
    'begin not atomic set tx_read_only = 0; end',
    'begin not atomic execute immediate @a; end',
    'if 1 then set session transaction read write; end if',
    'loop set tx_read_only = 0; end loop',
    'l: begin not atomic set @@session.tx_read_only = 0; end',
    'for i in 1..1 do execute immediate @a; end for',
    // SET STATEMENT
    'set statement tx_read_only = 0 for insert into t values (1)',
    'set statement max_statement_time = 1 for set session transaction read write',
  ];
  for (const sql of statements) test(JSON.stringify(sql), () => assert.equal(guard(sql), 'refuse'));
});

suite('a plain SELECT', () => {
  const plain = (sql: string): boolean =>
    isPlainSelect(Buffer.from(`;${sql};`), 1, 1 + Buffer.byteLength(sql));

  test('is one word and a blank, in any case', () => {
    for (const sql of ['select 1', 'SELECT\n1', 'SeLeCt\t*']) assert.equal(plain(sql), true, sql);
  });

  test('is alone in its packet', () => {
    for (const sql of ['select 1;', "select ';'", 'select 1; select 2']) assert.equal(plain(sql), false, sql);
  });

  test('is nothing else', () => {
    for (const sql of [
      '',
      'selec',
      'select',
      'select*',
      'select/**/1',
      'selects 1',
      ' select 1',
      '(select 1)',
    ]) {
      assert.equal(plain(sql), false, sql);
    }
  });
});
