import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { classify } from '../../../src/sql/classify.ts';
import { Statement } from '../../../src/sql/statement.ts';
import {
  judgeLoss,
  stateLostWith,
  type Loss,
  type LossVerdict,
} from '../../../src/frontend/lost-connection.ts';
import type { Pin } from '../../../src/frontend/session-record.ts';

const DIALECT = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: 101_100,
  maxVersion: 101_100,
} as const;

function statementOf(sql: string): Statement {
  const statement = new Statement();
  const text = Buffer.from(sql);
  classify(text, 0, text.length, DIALECT, statement);
  return statement;
}

/** What becomes of a session with these pins that has sent `sql` whole, or nothing. */
function judge(sql: string | null, pins: readonly Pin[] = [], change: Partial<Loss> = {}): LossVerdict {
  const statement = statementOf(sql ?? 'select 1');
  return judgeLoss({
    pins: new Map(pins.map((pin) => [pin, 0])),
    autocommit: true,
    sent: sql === null ? 'nothing' : 'whole',
    statement,
    mayGoAgain: sql !== null && pins.length === 0 && statement.class === 'read' && statement.needs === 0,
    isRollback: /^rollback/i.test(sql ?? ''),
    ...change,
  });
}

describe('a session whose connection is lost', () => {
  it('does not notice at rest, with nothing open', () => {
    assert.deepEqual(judge(null), { kind: 'unnoticed' });
    assert.deepEqual(judge(null, ['next_transaction']), { kind: 'unnoticed' });
  });

  it('has its read run again outside of a transaction', () => {
    assert.deepEqual(judge('select 1'), { kind: 'again' });
  });

  it('asks what became of a write that commits by itself, and of a COMMIT', () => {
    assert.deepEqual(judge('insert into t values (1)'), { kind: 'resolve', autocommit: true });
    assert.deepEqual(judge('commit', ['transaction']), { kind: 'resolve', autocommit: false });
  });

  it('knows that a ROLLBACK has happened', () => {
    assert.deepEqual(judge('rollback', ['transaction']), { kind: 'again' });
  });

  for (const sql of [
    'select 1',
    'update t set a = 1',
    'select a from t for update',
    'rollback to savepoint s',
  ]) {
    it(`has lost its transaction, and nothing else, with: ${sql}`, () => {
      assert.deepEqual(judge(sql, ['transaction'], { isRollback: false }), { kind: 'rolled_back' });
    });
  }

  for (const sql of [
    'create table t (a int)',
    'call p()',
    'begin',
    'insert into t values (1); commit',
    'commit and chain',
  ]) {
    it(`does not know what became of its transaction with: ${sql}`, () => {
      assert.deepEqual(judge(sql, ['transaction']), { kind: 'unknown' });
    });
  }

  for (const sql of [
    'create table t (a int)',
    'call p()',
    'insert into t values (1); select 1',
    'select f()',
  ]) {
    it(`does not know what became of: ${sql}`, () => {
      assert.deepEqual(judge(sql, [], { mayGoAgain: false }), { kind: 'unknown' });
    });
  }

  it('is told with its next statement when it rests in a transaction', () => {
    assert.deepEqual(judge(null, ['transaction']), { kind: 'tell_next' });
    assert.deepEqual(judge(null, ['error']), { kind: 'tell_next' });
  });

  it('has lost the transaction that its first write with autocommit off has begun', () => {
    const off = { autocommit: false };
    assert.deepEqual(judge('insert into t values (1)', [], off), { kind: 'rolled_back' });
    assert.deepEqual(judge('create table t (a int)', [], off), { kind: 'unknown' });
  });

  it('ends when it was in the middle of sending a command', () => {
    assert.deepEqual(judge('insert into t values (1)', [], { sent: 'part' }), { kind: 'end', lost: null });
  });

  it('ends when it has lost what cannot be made anew, also when a transaction is lost, too', () => {
    assert.deepEqual(judge(null, ['transaction', 'temporary_table']), {
      kind: 'end',
      lost: 'a temporary table',
    });
    assert.deepEqual(judge('select 1', ['user_lock', 'handler']), {
      kind: 'end',
      lost: 'a user lock (GET_LOCK), an open HANDLER',
    });
  });
});

it('a cursor, parameters sent in advance and SET TRANSACTION do not end a session', () => {
  const pins: Pin[] = ['transaction', 'error', 'next_transaction', 'cursor', 'long_data'];
  assert.equal(stateLostWith(new Map(pins.map((pin) => [pin, 0]))), '');
});
