/**
 * What a SET means for a session that changes connections. The statements are parsed as they come from clients.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Settings } from '../../../src/backend/settings.ts';
import {
  applyAssignments,
  isRepeatable,
  withReadBack,
  type TransactionNames,
} from '../../../src/frontend/session-settings.ts';
import { parseSet } from '../../../src/sql/set-statement.ts';
import type { SqlDialect } from '../../../src/sql/statement.ts';

const DIALECT: SqlDialect = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: 101106,
  maxVersion: 101106,
};
const OLD: TransactionNames = { isolation: 'tx_isolation', readOnly: 'tx_read_only' };
const NEW: TransactionNames = { isolation: 'transaction_isolation', readOnly: 'transaction_read_only' };

const START = Settings.initial('db');

function apply(sql: string, before = START, names = OLD) {
  const text = Buffer.from(sql);
  return applyAssignments(before, parseSet(text, 0, text.length, DIALECT), names);
}

/** Session variables and user variables (with @) of settings. */
function valuesOf(settings: Settings): Record<string, string> {
  const user = [...settings.userVariables].map(([name, value]) => [`@${name}`, value]);
  return Object.fromEntries([...settings.variables, ...user]) as Record<string, string>;
}

suite('is repeated as it was said', () => {
  const CASES: readonly [sql: string, values: Record<string, string>][] = [
    ["set time_zone = '+01:00'", { time_zone: "'+01:00'" }],
    [
      "set session time_zone = '+01:00', @@session.wait_timeout = 60",
      { time_zone: "'+01:00'", wait_timeout: '60' },
    ],
    ['set @@local.sql_select_limit = 10', { sql_select_limit: '10' }],
    ['set time_zone = "+01:00"', { time_zone: "'+01:00'" }],
    ['set SQL_BIG_SELECTS = ON', { sql_big_selects: 'on' }],
    ['set autocommit = ON', { autocommit: '1' }],
    ['set autocommit = false', { autocommit: '0' }],
    ['set autocommit = 0', { autocommit: '0' }],
    ['set sql_auto_is_null = 0', { sql_auto_is_null: '0' }],
    ["set names 'utf8mb4'", { names: "'utf8mb4'" }],
    ["set names latin1 collate 'latin1_bin'", { names: "'latin1' COLLATE 'latin1_bin'" }],
    ["set lc_time_names = 'de_DE', names utf8", { lc_time_names: "'de_DE'", names: "'utf8'" }],
    ['set session transaction isolation level read committed', { tx_isolation: "'READ-COMMITTED'" }],
    ['set session transaction read only', { tx_read_only: '1' }],
    ['set session transaction read write', { tx_read_only: '0' }],
    ["set @a = 'it''s', @B = -1.50, @c = null", { '@a': "'it''s'", '@b': '-1.50', '@c': 'null' }],
    ['set global max_connections = 5', {}],
  ];
  for (const [sql, values] of CASES) {
    test(sql, () => {
      const { settings, readBack, pin, nextTransaction } = apply(sql);
      assert.deepEqual(
        { values: valuesOf(settings), readBack, pin, nextTransaction },
        { values, readBack: [], pin: null, nextTransaction: null },
      );
    });
  }

  test('with the names that the servers know', () => {
    const both = "set @@session.transaction_isolation = 'serializable', session tx_read_only = 1";
    assert.deepEqual(valuesOf(apply(both).settings), { tx_isolation: "'serializable'", tx_read_only: '1' });
    assert.deepEqual(valuesOf(apply(both, START, NEW).settings), {
      transaction_isolation: "'serializable'",
      transaction_read_only: '1',
    });
  });

  test('the last value counts', () => {
    const first = apply('set wait_timeout = 1, @a = 1').settings;
    assert.deepEqual(valuesOf(apply('set wait_timeout = 2, @A = 2', first).settings), {
      wait_timeout: '2',
      '@a': '2',
    });
  });
});

suite('its value is asked for, as it was computed or has several spellings', () => {
  const CASES: readonly [sql: string, readBack: string[]][] = [
    ["set sql_mode = 'ansi'", ['sql_mode']],
    ["set sql_mode = concat(@@sql_mode, ',ansi')", ['sql_mode']],
    ['set time_zone = default', ['time_zone']],
    ['set time_zone = @@global.time_zone', ['time_zone']],
    ['set character_set_results = null', ['character_set_results']],
    ["set character_set_connection = 'latin1'", ['collation_connection']],
    ['set character set utf8', ['character_set_client', 'character_set_results', 'collation_connection']],
    ['set wait_timeout = 1 + 1', ['wait_timeout']],
    ["set optimizer_switch = 'mrr=on'", ['optimizer_switch']],
  ];
  for (const [sql, readBack] of CASES) {
    test(sql, () => {
      const { settings, readBack: asked, pin } = apply(sql);
      assert.deepEqual({ asked, pin }, { asked: readBack, pin: null });
      assert.equal(settings.equals(START), true);
    });
  }
});

suite('pins the session', () => {
  const CASES: readonly [sql: string, pin: RegExp][] = [
    ['set sql_log_bin = 0', /SET sql_log_bin/],
    ['set timestamp = 1', /SET timestamp/],
    ['set insert_id = 5', /SET insert_id/],
    ['set last_insert_id = 5', /SET last_insert_id/],
    ['set no_such_variable = 1', /SET no_such_variable/],
    ['set sql_auto_is_null = 1', /SET sql_auto_is_null/],
    ["set password = 'x'", /cannot be repeated/],
    ['set role none', /cannot be repeated/],
    ['set statement max_statement_time = 1 for select 1', /does not understand/],
  ];
  for (const [sql, pin] of CASES) test(sql, () => assert.match(apply(sql).pin ?? 'no pin', pin));

  test('another character set while there are texts in user variables, which keep the one before', () => {
    const texts = apply("set @a = 'x'").settings;
    for (const sql of [
      'set names latin1',
      'set character set latin1',
      'set collation_connection = latin1_bin',
    ]) {
      assert.match(apply(sql, texts).pin ?? 'no pin', /texts/, sql);
    }
    const numbers = apply('set @a = 1').settings;
    assert.equal(apply('set names latin1', numbers).pin, null);
  });

  test('also when something else in the same SET can be repeated', () => {
    const { settings, pin } = apply('set sql_log_bin = 0, wait_timeout = 5');
    assert.notEqual(pin, null);
    assert.deepEqual(valuesOf(settings), { wait_timeout: '5' });
  });
});

test('SET TRANSACTION is for the next transaction, and no setting', () => {
  const { settings, nextTransaction, pin } = apply('set transaction isolation level serializable, read only');
  assert.deepEqual(
    { isolation: nextTransaction?.isolation, access: nextTransaction?.access, pin, same: settings === START },
    { isolation: 'SERIALIZABLE', access: 'read only', pin: null, same: true },
  );
});

suite('a text is never repeated in a form that another sql_mode or character set reads otherwise', () => {
  for (const value of ["'a\\\\b'", "'ä'", "_utf8'x'", '0x41', "concat('a')", "'a' 'b'"]) {
    test(`set @a = ${value}`, () => {
      assert.deepEqual(valuesOf(apply(`set @a = ${value}`).settings), {});
    });
  }
});

suite('a value that a server has told', () => {
  const CASES: readonly [value: string | null, written: string | null][] = [
    [null, 'NULL'],
    ['5', '5'],
    ['-1.5', '-1.5'],
    ['', "''"],
    ['+01:00', "'+01:00'"],
    ["it's", "'it''s'"],
    ['a,b=c', "'a,b=c'"],
    ['back\\slash', null],
    ['ä', null],
    ['a\nb', null],
    ['x'.repeat(4096), `'${'x'.repeat(4096)}'`],
    ['x'.repeat(4097), null],
  ];
  for (const [value, written] of CASES) {
    const shown = value !== null && value.length > 20 ? `${value.length} letters` : JSON.stringify(value);
    test(`${shown} ${written === null ? 'cannot be written down safely' : 'is written down'}`, () => {
      const settings = withReadBack(START, 'x', value);
      assert.deepEqual(
        settings === null ? null : valuesOf(settings),
        written === null ? null : { x: written },
      );
    });
  }
});

suite('whether a SET has the same effect whatever was set before', () => {
  const CASES: readonly [name: string, same: boolean][] = [
    ['time_zone', true],
    ['sql_mode', true],
    ['character_set_connection', true],
    ['sql_auto_is_null', true],
    ['optimizer_switch', false],
    ['sql_log_bin', false],
    ['no_such_variable', false],
  ];
  for (const [name, same] of CASES)
    test(`${name}: ${same ? 'yes' : 'no'}`, () => assert.equal(isRepeatable(name), same));
});
