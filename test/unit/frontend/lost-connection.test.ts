import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CommandAtHand } from '../../../src/frontend/command-at-hand.ts';
import { Command } from '../../../src/protocol/constants.ts';
import { classify } from '../../../src/sql/classify.ts';
import {
  judgeLoss,
  rollsBack,
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

/** What becomes of a session with these pins that has sent `sql` whole, or nothing. */
function judge(sql: string | null, pins: readonly Pin[] = [], change: Partial<Loss> = {}): LossVerdict {
  const atHand = new CommandAtHand();
  atHand.begin(Command.QUERY);
  const text = Buffer.from(sql ?? 'select 1');
  const { statement } = atHand;
  classify(text, 0, text.length, DIALECT, statement);
  return judgeLoss({
    pins: new Map(pins.map((pin) => [pin, 0])),
    autocommit: true,
    mayBeOver: false,
    sent: sql === null ? 'nothing' : 'whole',
    statement,
    mayGoAgain: sql !== null && pins.length === 0 && atHand.mayRunTwice,
    isRollback: rollsBack(statement, text[0]!),
    endsOtherwise: false,
    isBulk: false,
    ...change,
  });
}

/**
 * Every kind of statement that ends a transaction or commits by itself, and the others for comparison: what becomes of it
 * when its answer is lost in a transaction; outside of one; and with autocommit off, when nothing is open yet.
 */
const KINDS: readonly (readonly [
  inTransaction: LossVerdict['kind'],
  alone: LossVerdict['kind'],
  autocommitOff: LossVerdict['kind'],
  statements: readonly string[],
])[] = [
  ['resolve', 'again', 'again', ['commit', 'COMMIT WORK;', 'commit and no chain no release']],
  ['unknown', 'again', 'again', ['commit and chain', 'commit work and chain no release']],
  ['unknown', 'unknown', 'unknown', ['commit release', 'commit and no chain release']],
  ['again', 'again', 'again', ['rollback', 'ROLLBACK WORK', 'rollback and no chain']],
  ['rolled_back', 'again', 'again', ['rollback and chain', 'rollback work and chain no release']],
  ['rolled_back', 'unknown', 'unknown', ['rollback release']],
  [
    'rolled_back',
    'unknown',
    'rolled_back',
    ['rollback to savepoint s', 'savepoint s', 'release savepoint s'],
  ],
  [
    'unknown',
    'again',
    'again',
    [
      'begin',
      'start transaction',
      'start transaction read only',
      'start transaction with consistent snapshot',
    ],
  ],
  [
    'unknown',
    'unknown',
    'rolled_back',
    [
      'set autocommit = 1',
      'SET AUTOCOMMIT=ON',
      'set session autocommit = 1',
      'set local autocommit = 1',
      'set @@autocommit = 1',
      'set @@session.autocommit = 1',
      'set `autocommit` = 1',
      "set names utf8, time_zone = '+00:00', autocommit = 1",
      'set @a = 1, @@local.autocommit := 1',
    ],
  ],
  [
    'rolled_back',
    'unknown',
    'rolled_back',
    ['set names utf8', 'use db', 'set @a = 1', 'set transaction read only'],
  ],
  ['unknown', 'unknown', 'unknown', ["xa commit 'x'", "xa rollback 'x'", "xa commit 'x' one phase"]],
  [
    'unknown',
    'unknown',
    'unknown',
    [
      'create table t (a int)',
      'create table t select 1',
      'create or replace view v as select 1',
      'create index i on t (a)',
      'create procedure p() begin end',
      'create trigger x before insert on t for each row set @a = 1',
      "create user u identified by 'x'",
      'create role r',
      'create database d',
      'create sequence s',
      'alter table t add b int',
      'alter user u account lock',
      'drop table t',
      'drop view v',
      'drop user u',
      'drop database d',
      'truncate t',
      'rename table t to u',
      'rename user u to w',
      'grant select on t to u',
      'revoke select on t from u',
      "set password = 'x'",
      "set password for u = password('x')",
      'set default role r for u',
      'analyze table t',
      'optimize table t',
      'repair table t',
      'check table t',
      'cache index t in c',
      'load index into cache t',
      'flush privileges',
      'flush tables with read lock',
      'lock tables t write',
      'unlock tables',
      'lock instance for backup',
      'install plugin p soname "x"',
      'reset master',
      'start slave',
      'stop slave',
      "change master to master_host = 'x'",
    ],
  ],
  [
    'unknown',
    'unknown',
    'unknown',
    [
      'set global max_connections = 5',
      'set @@global.max_connections = 5',
      'set persist max_connections = 5',
      "purge binary logs to 'x'",
      'kill 5',
      'shutdown',
    ],
  ],
  [
    'unknown',
    'unknown',
    'unknown',
    [
      'call p()',
      'execute s',
      'select f()',
      'do f()',
      'insert into t values (f())',
      'set @a = f()',
      'set statement max_statement_time = 1 for commit',
      'frobnicate',
      "binlog 'x'",
      'begin not atomic insert into t values (1); end',
    ],
  ],
  [
    'unknown',
    'unknown',
    'unknown',
    [
      'insert into t values (1); select 1',
      'insert into t values (1); commit',
      'rollback; insert into t values (1); commit',
      'commit; begin',
      'select 1; select 2',
      'set autocommit = 1; select 1',
    ],
  ],
  [
    'rolled_back',
    'resolve',
    'rolled_back',
    [
      'insert into t values (1)',
      'insert into t values (last_insert_id(5))',
      'replace into t values (1)',
      'update t set a = 1',
      'delete from t',
      "load data infile 'x' into table t",
    ],
  ],
  // What they have left besides is gone, so that it is not said that they have taken effect.
  [
    'rolled_back',
    'unknown',
    'rolled_back',
    [
      'create temporary table t (a int)',
      'insert into t select @a := a from u',
      "insert into t values (get_lock('x', 1))",
    ],
  ],
  ['rolled_back', 'again', 'again', ['select 1', 'select @a', 'show tables', 'table t', 'explain select 1']],
  [
    'rolled_back',
    'unknown',
    'rolled_back',
    ['select a from t for update', "select get_lock('x', 1)", 'select nextval(s)', 'select row_count()'],
  ],
];

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

  it('does not say of a write after a deadlock that it was rolled back: the transaction was over before it', () => {
    const sql = 'insert into t values (1)';
    assert.deepEqual(judge(sql, ['transaction']), { kind: 'rolled_back' });
    assert.deepEqual(judge(sql, ['transaction'], { mayBeOver: true }), { kind: 'unknown' });
    assert.deepEqual(judge(sql, ['transaction'], { mayBeOver: true, autocommit: false }), {
      kind: 'rolled_back',
    });
    assert.deepEqual(judge('select 1', ['transaction'], { mayBeOver: true }), { kind: 'rolled_back' });
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

  for (const [inTransaction, alone, autocommitOff, statements] of KINDS) {
    for (const sql of statements) {
      it(`judges by what it may have done: ${sql}`, () => {
        const off = { autocommit: false };
        assert.deepEqual(
          [
            judge(sql, ['transaction']).kind,
            judge(sql, ['transaction'], off).kind,
            judge(sql, ['error'], off).kind,
            judge(sql).kind,
            judge(sql, [], off).kind,
          ],
          [inTransaction, inTransaction, inTransaction, alone, autocommitOff],
        );
      });
    }
  }

  it('does not take the end of a transaction for no more than that where it begins the next one (completion_type)', () => {
    const otherwise = { endsOtherwise: true };
    assert.deepEqual(judge('commit', ['transaction'], otherwise), { kind: 'unknown' });
    assert.deepEqual(judge('rollback', ['transaction'], otherwise), { kind: 'rolled_back' });
  });

  it('does not ask after one write that was many, each of which commits by itself', () => {
    assert.deepEqual(judge('update t set a = ?', [], { isBulk: true }), { kind: 'unknown' });
    assert.deepEqual(judge('update t set a = ?', ['transaction'], { isBulk: true }), { kind: 'rolled_back' });
  });

  it('ends when it was in the middle of sending a command', () => {
    assert.deepEqual(judge('insert into t values (1)', [], { sent: 'part' }), {
      kind: 'end',
      lost: null,
      underWay: 'not_run',
    });
  });

  it('ends when it has lost what cannot be made anew, also when a transaction is lost, too', () => {
    assert.deepEqual(judge(null, ['transaction', 'temporary_table']), {
      kind: 'end',
      lost: 'a temporary table',
      underWay: null,
    });
    assert.deepEqual(judge('select 1', ['user_lock', 'handler']), {
      kind: 'end',
      lost: 'a user lock (GET_LOCK), an open HANDLER',
      underWay: 'unknown',
    });
  });

  it('says with it what may have come of the command under way', () => {
    const cases: readonly [Partial<Loss>, 'not_run' | 'unknown' | null][] = [
      [{ sent: 'nothing' }, null],
      [{ sent: 'part' }, 'not_run'],
      [{ sent: 'whole' }, 'unknown'],
      [{ sent: 'whole', mayGoAgain: true }, null],
    ];
    for (const [change, underWay] of cases) {
      const verdict = judge('insert into t values (1)', ['unseen'], change);
      assert.deepEqual(verdict.kind === 'end' && verdict.underWay, underWay, JSON.stringify(change));
    }
  });
});

it('a cursor, parameters sent in advance and SET TRANSACTION do not end a session', () => {
  const pins: Pin[] = ['transaction', 'error', 'next_transaction', 'cursor', 'long_data'];
  assert.equal(stateLostWith(new Map(pins.map((pin) => [pin, 0]))), '');
});
