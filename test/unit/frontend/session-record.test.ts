/**
 * What a session is told of its statements, and what it says then: may it leave its connection, and if not,
 * why not.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Settings } from '../../../src/backend/settings.ts';
import { PIN_WORDS, SessionRecord, type Outcome, type Pin } from '../../../src/frontend/session-record.ts';
import { Status } from '../../../src/protocol/constants.ts';
import { classify } from '../../../src/sql/classify.ts';
import { Leave, Need, Statement, type SqlDialect } from '../../../src/sql/statement.ts';

const DIALECT: SqlDialect = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: 101106,
  maxVersion: 101106,
};
const { AUTOCOMMIT, IN_TRANS } = Status;
const READ_ONLY_NAME = 'tx_read_only';
const DUPLICATE = 1062;

function record(): SessionRecord {
  return new SessionRecord(Settings.initial('db'), DIALECT, READ_ONLY_NAME);
}

function outcome(change: Partial<Outcome> = {}): Outcome {
  return { needs: 0, leaves: 0, errno: 0, status: AUTOCOMMIT, atHome: true, ...change };
}

/** What the classifier says of a statement, answered with this status or error. */
function of(sql: string, change: Partial<Outcome> = {}): Outcome {
  const statement = new Statement();
  const text = Buffer.from(sql);
  classify(text, 0, text.length, DIALECT, statement);
  return outcome({ needs: statement.needs, leaves: statement.leaves, ...change });
}

function pinsAfter(...outcomes: Outcome[]): Pin[] {
  const one = record();
  outcomes.forEach((answered, index) => one.answered(answered, index));
  return [...one.pins.keys()];
}

const OPEN = { status: AUTOCOMMIT | IN_TRANS };
const FAILED = { errno: DUPLICATE };

suite('a session is pinned', () => {
  const CASES: readonly [what: string, outcomes: Outcome[], pins: Pin[]][] = [
    ['by nothing after a read', [of('select 1')], []],
    ['while the server says that a transaction is open', [of('begin', OPEN)], ['transaction']],
    ['until the server says that it has ended', [of('begin', OPEN), of('commit')], []],
    ['by what the server says, whatever the text was', [of('select 1', OPEN)], ['transaction']],
    ['on after COMMIT AND CHAIN', [of('begin', OPEN), of('commit and chain', OPEN)], ['transaction']],
    ['on after an error in a transaction', [of('begin', OPEN), of('select x', FAILED)], ['transaction']],
    [
      'not any more when that error rolled it back',
      [of('begin', OPEN), of('select x', FAILED), of('select 1')],
      [],
    ],
    [
      'by an error with autocommit off',
      [of('set autocommit=0', { status: 0 }), of('select x', { ...FAILED, status: 0 })],
      ['error'],
    ],
    ['not by an error of a plain statement', [of('insert into t values (1)', FAILED)], []],
    ['by an error of several statements', [of('begin; insert into t values (1)', FAILED)], ['error']],
    ['by an error of BEGIN', [of('start transaction', FAILED)], ['error']],
    [
      'by SET TRANSACTION until the next transaction ends',
      [of('set transaction read only')],
      ['next_transaction'],
    ],
    [
      'by it in that transaction',
      [of('set transaction read only'), of('begin', OPEN)],
      ['next_transaction', 'transaction'],
    ],
    ['not after that transaction', [of('set transaction read only'), of('begin', OPEN), of('commit')], []],
    [
      'by it on after a statement outside of one',
      [of('set transaction read only'), of('do 1')],
      ['next_transaction'],
    ],
    ['by GET_LOCK', [of("select get_lock('a', 1)")], ['user_lock']],
    [
      'by a GET_LOCK in a statement that failed: the lock may be there',
      [of("select get_lock('a', 1), x", FAILED)],
      ['user_lock'],
    ],
    ['by a temporary table', [of('create temporary table t (a int)')], ['temporary_table']],
    ['not by one that was not created', [of('create temporary table t (a int)', FAILED)], []],
    [
      'by one that may have been created before another statement failed',
      [of('create temporary table t (a int); x', FAILED)],
      ['error', 'temporary_table', 'anything'],
    ],
    ['by a user variable whose value is not known', [of('select @a := 1')], ['user_variable']],
    [
      'by one in a statement that failed: it may be set',
      [of('select @a := 1, x', FAILED)],
      ['user_variable'],
    ],
    ['by LOCK TABLES', [of('lock tables t read')], ['table_lock']],
    ['not after UNLOCK TABLES', [of('lock tables t read'), of('unlock tables')], []],
    [
      'on after an UNLOCK TABLES that failed',
      [of('lock tables t read'), of('unlock tables', FAILED)],
      ['table_lock'],
    ],
    ['by HANDLER', [of('handler t open')], ['handler']],
    ['by PREPARE', [of("prepare p from 'select 1'")], ['named_statement']],
    ['by XA', [of("xa start 'x'")], ['xa']],
    ['not after XA COMMIT', [of("xa start 'x'"), of("xa commit 'x'")], []],
    ['by CONNECTION_ID()', [of('select connection_id()')], ['connection_id']],
    ['by CALL', [of('call p()')], ['anything']],
    ['by a CALL that failed', [of('call p()', FAILED)], ['anything']],
    ['by a stored function', [of('select f()')], ['anything']],
  ];
  for (const [what, outcomes, pins] of CASES) {
    test(what, () => {
      assert.deepEqual(pinsAfter(...outcomes).sort(), [...pins].sort());
    });
  }

  test('since the first time, not the last', () => {
    const one = record();
    one.answered(of('begin', OPEN), 10);
    one.answered(of('select 1', OPEN), 20);
    assert.equal(one.pins.get('transaction'), 10);
    assert.equal(one.pinned, true);
  });

  test('by each pin for a reason that says when it ends', () => {
    for (const [pin, words] of Object.entries(PIN_WORDS)) assert.match(words, / (?:until|when) /, pin);
  });
});

suite('the status flags', () => {
  test('are the server’s last word', () => {
    const one = record();
    one.answered(of('set autocommit = 0', { status: 0 }), 0);
    assert.equal(one.autocommit, false);
    assert.equal(one.inTransaction, false);
    one.answered(of('select * from t', { status: IN_TRANS }), 0);
    assert.equal(one.inTransaction, true);
  });

  test('beside an error count for nothing: they are those of an answer to somebody else', () => {
    const one = record();
    one.answered(of('set autocommit = 0', { status: 0 }), 0);
    one.answered(of('select x', { ...FAILED, status: AUTOCOMMIT }), 0);
    assert.equal(one.autocommit, false);
  });
});

suite('whether it has written', () => {
  const CASES: readonly [sql: string, change: Partial<Outcome>, wrote: boolean][] = [
    ['select 1', {}, false],
    ['select * from t for update', {}, false],
    ['set names utf8', {}, false],
    ['insert into t values (1)', {}, true],
    ['insert into t values (1)', FAILED, true],
    ['create table t (a int)', {}, true],
    ['commit', {}, true],
    ['call p()', {}, true],
    ['select f()', {}, true],
    ['select nextval(s)', {}, true],
    ['select 1; insert into t values (1)', {}, true],
    ['commit', { atHome: false }, false],
  ];
  for (const [sql, change, wrote] of CASES) {
    const where = change.atHome === false ? ' on a replica' : '';
    const failed = change.errno === undefined ? '' : ' that failed';
    test(`${wrote ? 'yes' : 'no'}: ${sql}${where}${failed}`, () => {
      const one = record();
      one.answered(of(sql, change), 0);
      assert.equal(one.hasWritten, wrote);
    });
  }
});

suite('its settings', () => {
  test('have no READ ONLY or READ WRITE of their own on a replica', () => {
    const one = record();
    const set = one.settings.withVariable(READ_ONLY_NAME, '1').withVariable('sql_mode', "''");
    one.set(set);
    assert.equal(one.replicaSettings.equals(Settings.initial('db').withVariable('sql_mode', "''")), true);
    assert.equal(one.onReplica(set), one.replicaSettings);
    const before = Settings.initial('x').withVariable(READ_ONLY_NAME, '0');
    assert.equal(one.onReplica(before).equals(Settings.initial('x')), true);
  });

  test('begin anew with COM_RESET_CONNECTION, and nothing pins it any more', () => {
    const one = record();
    one.set(one.settings.withVariable('a', '1'));
    one.answered(outcome({ needs: Need.WRITE, leaves: Leave.TEMPORARY_TABLE, status: IN_TRANS }), 0);
    one.reset(Settings.initial('db'));
    assert.equal(one.pinned, false);
    assert.equal(one.autocommit, true);
    assert.equal(one.inTransaction, false);
    assert.equal(one.settings.equals(Settings.initial('db')), true);
    assert.equal(one.replicaSettings, one.settings);
    assert.equal(one.hasWritten, true, 'what was written is still to be seen');
  });
});
