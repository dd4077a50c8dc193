/** Which commands get a mark, what is sent then, and when none is sent any more. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CommandAtHand } from '../../../src/frontend/command-at-hand.ts';
import { CommitMarker, CommitMarks } from '../../../src/frontend/commit-marks.ts';
import type { Pin } from '../../../src/frontend/session-record.ts';
import { TransactionTrail } from '../../../src/frontend/transaction-trail.ts';
import { classify } from '../../../src/sql/classify.ts';
import { Command } from '../../../src/protocol/constants.ts';

const DIALECT = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: 101106,
  maxVersion: 101106,
} as const;

class Stage {
  readonly marks = new CommitMarks('t');
  readonly trail = new TransactionTrail();
  readonly pins = new Map<Pin, number>();
  sent: string[] = [];
  refuse: ((errno: number) => boolean) | null = null;
  readonly #atHand = new CommandAtHand();
  readonly #marker: CommitMarker;

  constructor(autocommit = true) {
    const relay = {
      forward: (payload: Buffer) => this.sent.push(textOf(payload)),
      forwardAfter: (hidden: readonly Buffer[], payload: Buffer, isHarmless: (errno: number) => boolean) => {
        this.refuse = isHarmless;
        this.sent.push(...hidden.map((packet) => textOf(packet.subarray(4))), textOf(payload));
      },
    };
    const record = { autocommit, pins: this.pins };
    const parts = {
      marks: this.marks,
      trail: this.trail,
      atHand: this.#atHand,
      capabilities: 0,
      record,
      relay,
    };
    this.#marker = new CommitMarker(parts as unknown as ConstructorParameters<typeof CommitMarker>[0]);
  }

  /** True: it was sent with a mark. */
  run(sql: string): boolean {
    const packet = Buffer.from(`....\x03${sql}`);
    const { statement } = this.#atHand;
    this.#atHand.begin(Command.QUERY);
    classify(packet, 5, packet.length, DIALECT, statement);
    this.#atHand.isRollback = sql.startsWith('rollback');
    if (statement.class === 'write') this.trail.add(packet, 5, packet.length, false, 1);
    return this.#marker.sends(packet, 4, packet.length);
  }
}

function textOf(payload: Buffer): string {
  assert.equal(payload[0], Command.QUERY);
  return payload.toString('latin1', 1);
}

suite('a mark', () => {
  test('is a savepoint before the COMMIT of a transaction that has written', () => {
    const stage = new Stage();
    stage.pins.set('transaction', 1);
    assert.equal(stage.run('insert into t values (1)'), false);
    assert.equal(stage.run('commit'), true);
    assert.deepEqual(stage.sent, ['SAVEPOINT dbproxy_t_0', 'commit']);
    assert.deepEqual(stage.trail.mark, { kind: 'savepoint', name: 'dbproxy_t_0' });
    stage.trail.clear();
    assert.equal(stage.trail.mark, null);
  });

  for (const sql of [
    'insert into t values (1)',
    'update t set a = 1',
    ' /* x */ delete from t',
    'REPLACE t VALUES (1)',
  ]) {
    test(`is a comment before a write in autocommit: ${sql}`, () => {
      const stage = new Stage();
      assert.equal(stage.run(sql), true);
      assert.deepEqual(stage.sent, [`/*dbproxy_t_0*/ ${sql}`]);
      assert.deepEqual(stage.trail.mark, { kind: 'comment', name: 'dbproxy_t_0' });
    });
  }

  for (const sql of [
    'create table t (a int)',
    'call p()',
    'select 1',
    "load data infile 'x' into table t",
    'insert into t values (1); commit',
    '/*!50000 insert into t values (1) */',
    'set autocommit = 1',
  ]) {
    test(`is not sent with ${sql}`, () => {
      const stage = new Stage();
      assert.equal(stage.run(sql), false);
      assert.equal(stage.trail.mark, null);
    });
  }

  test('is not sent for a transaction that has not written, a ROLLBACK, or a write while autocommit is off', () => {
    const stage = new Stage(false);
    assert.equal(stage.run('insert into t values (1)'), false);
    stage.pins.set('transaction', 1);
    assert.equal(stage.run('rollback'), false);
    stage.trail.clear();
    assert.equal(stage.run('commit'), false);
    assert.deepEqual(stage.sent, []);
  });

  function committing(): Stage {
    const stage = new Stage();
    stage.pins.set('transaction', 1);
    stage.run('update t set a = 1');
    stage.run('commit');
    return stage;
  }

  test('is no savepoint any more where an engine has none', () => {
    const stage = committing();
    assert.equal(stage.refuse!(1178), true);
    assert.equal(stage.trail.mark, null);
    assert.equal(stage.run('commit'), false);
    stage.pins.clear();
    assert.equal(stage.run('update t set a = 1'), true);
  });

  test('that has failed for another reason is none of that transaction alone', () => {
    const stage = committing();
    assert.equal(stage.refuse!(1317), true);
    assert.equal(stage.trail.mark, null);
    assert.equal(stage.run('commit'), true);
  });

  test('that was told of a transaction rolled back does harm: its COMMIT would be answered with an OK', () => {
    const stage = committing();
    assert.equal(stage.refuse!(1213), false);
    assert.equal(stage.trail.mark, null);
  });

  test('is never the same twice', () => {
    assert.deepEqual(
      [new CommitMarks('a').next(), new CommitMarks('b').next()],
      ['dbproxy_a_0', 'dbproxy_b_0'],
    );
    const marks = new CommitMarks('a');
    assert.equal(new Set(Array.from({ length: 1_000 }, () => marks.next())).size, 1_000);
  });
});
