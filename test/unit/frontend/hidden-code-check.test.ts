/**
 * When a server is asked for triggers and views, and what becomes of statements that have run while none could be
 * asked. The connections are of the test, and note what they are asked.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Settings } from '../../../src/backend/settings.ts';
import { CommandAtHand } from '../../../src/frontend/command-at-hand.ts';
import { HiddenCodeCheck } from '../../../src/frontend/hidden-code-check.ts';
import { HiddenCodeWatch } from '../../../src/frontend/hidden-code.ts';
import { SessionRecord, type Pin } from '../../../src/frontend/session-record.ts';
import { Command, Status } from '../../../src/protocol/constants.ts';
import { ServerError } from '../../../src/protocol/packets.ts';
import { classify } from '../../../src/sql/classify.ts';
import { Leave, Need } from '../../../src/sql/statement.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { DIALECTS, viewRow } from '../../support/statements.ts';

/** A server, and a session at it. */
class Asker {
  readonly clock = new FakeClock();
  readonly watch = new HiddenCodeWatch();
  readonly record = new SessionRecord(Settings.initial('demo'), DIALECTS.mysql, 'transaction_read_only');
  readonly atHand = new CommandAtHand();
  readonly asked: string[] = [];
  triggers = 0;
  /** Name and text of each. */
  views: [name: string, text: string][] = [];
  refuses = false;
  isAway = false;
  /** What happens while the server answers. */
  meanwhile: () => void = () => undefined;
  readonly check = new HiddenCodeCheck({
    watch: this.watch,
    account: 'app',
    clock: this.clock,
    atHand: this.atHand,
    record: this.record,
    isHome: () => !this.isAway,
    isAway: () => this.isAway,
  });
  readonly connection = {
    queryValue: (sql: string) => this.#answer(/triggers/.exec(sql)![0], String(this.triggers)),
    queryColumn: (sql: string) => this.#answer(/views/.exec(sql)![0], this.views.map(viewRow)),
    execute: (sql: string) => this.#answer(sql, undefined),
  } as unknown as BackendConnection;

  async #answer<T>(what: string, value: T): Promise<T> {
    this.asked.push(what);
    this.meanwhile();
    if (this.refuses) throw new ServerError({ errno: 1104, sqlState: '42000', message: 'max_join_size' });
    return Promise.resolve(value);
  }

  /** The statement is at hand. */
  look(sql: string, command: number = Command.QUERY): void {
    const text = Buffer.from(sql);
    this.atHand.begin(command);
    classify(text, 0, text.length, this.record.dialect, this.atHand.statement);
    this.check.begin();
    this.check.look(text, 0, text.length);
  }

  /** It has run as well, after the server was asked where that was due; `true`: it was. */
  async run(sql: string, status: number = this.record.status): Promise<boolean> {
    this.look(sql);
    const wasDue = this.check.isDue;
    if (wasDue) await this.check.ask(this.connection, Buffer.from(sql));
    this.check.answered();
    const { needs, leaves } = this.atHand.statement;
    const atHome = !this.isAway;
    this.record.answered({ needs, leaves, errno: 0, status, atHome }, this.clock.nowMs());
    return wasDue;
  }

  get pins(): Pin[] {
    return [...this.record.pins.keys()];
  }
}

const OPEN = Status.AUTOCOMMIT | Status.IN_TRANS;
const BOTH = ['triggers', 'views'];

suite('a server is asked for triggers and views', () => {
  test('before the first read or write, and again a minute later', async () => {
    const session = new Asker();
    assert.equal(await session.run('select 1'), true);
    assert.equal(await session.run('insert into t values (1)'), false);
    await session.clock.pass(60_001);
    assert.equal(await session.run('select 1'), true);
    assert.deepEqual(session.asked, [...BOTH, ...BOTH]);
  });

  for (const sql of [
    'begin',
    'start transaction read only',
    "xa start 'x'",
    'set transaction isolation level serializable',
    'lock tables t write',
    'begin; insert into t values (1)',
  ]) {
    test(`before ${sql}, for all that follows`, async () => {
      const session = new Asker();
      assert.equal(await session.run(sql), true);
      assert.equal(await session.run('select 1'), false);
    });
  }

  for (const sql of ['set @x = (select x from v)', 'set statement max_statement_time = 1 for select 1']) {
    test(`before ${sql}, which may read from a view`, async () => {
      const session = new Asker();
      session.record.dialect = DIALECTS.mariadb;
      session.views = [['v', 'select `db`.`f`() AS `x`']];
      assert.equal(await session.run(sql), true);
      assert.deepEqual(session.pins, sql.includes(' v)') ? ['anything'] : []);
    });
  }

  test('and a write in a SET STATEMENT sets off triggers as any other does', async () => {
    const session = new Asker();
    session.record.dialect = DIALECTS.mariadb;
    session.triggers = 1;
    await session.run('set statement max_statement_time = 1 for insert into t values (1)');
    assert.deepEqual(session.pins, ['anything']);
  });

  for (const sql of ['commit', 'set names utf8', 'set @x = 1', 'use test', 'select row_count()']) {
    test(`not before ${sql}`, async () => {
      const session = new Asker();
      assert.equal(await session.run(sql), false);
    });
  }

  test('and what is about to begin is not judged by what there is', async () => {
    const session = new Asker();
    session.refuses = true;
    await session.run('begin', OPEN);
    assert.deepEqual(session.pins, ['transaction']);
  });

  test('and with autocommit off the transaction of the question is ended', async () => {
    const session = new Asker();
    session.record.status = 0;
    await session.run('insert into t values (1)');
    assert.deepEqual(session.asked, [...BOTH, 'COMMIT AND NO CHAIN NO RELEASE']);
  });

  const PINS: readonly Pin[] = [
    'transaction',
    'error',
    'next_transaction',
    'xa',
    'temporary_table',
    'user_lock',
    'table_lock',
    'cursor',
  ];
  for (const pin of PINS) {
    test(`not while the session is pinned: ${pin}`, () => {
      const session = new Asker();
      session.record.pin(pin, 0);
      for (const sql of ['select 1', 'insert into t values (1)']) {
        session.look(sql);
        assert.equal(session.check.isDue, false);
        session.check.answered();
      }
      assert.equal(session.check.hasUnjudged, true);
    });
  }

  test('and an answer that was on its way when something was created is out of date', async () => {
    const session = new Asker();
    session.meanwhile = () => session.watch.forget();
    await session.run('select 1');
    assert.equal(session.watch.known('app', session.clock.nowMs()), undefined);
    assert.equal(session.watch.lastKnown('app')?.triggers, false);
  });
});

suite('what a replica answers', () => {
  /** A session that has asked a replica, and nobody else. */
  async function asked(): Promise<Asker> {
    const session = new Asker();
    session.isAway = true;
    await session.run('select 1');
    return session;
  }

  test('is not taken for what home would answer', async () => {
    const session = await asked();
    session.isAway = false;
    session.triggers = 1;
    assert.equal(await session.run('insert into t values (1)'), true);
    assert.deepEqual(session.pins, ['anything']);
  });

  test('serves others on replicas, a short while only when something has just been made', async () => {
    const session = await asked();
    await session.clock.pass(999);
    assert.equal(await session.run('select 1'), true, 'home may be there again');
    assert.deepEqual(session.asked, BOTH);
    await session.clock.pass(1);
    await session.run('select 1');
    assert.deepEqual(session.asked, [...BOTH, ...BOTH]);
  });

  test('holds the longer the longer nothing was made', async () => {
    const session = new Asker();
    const watch = new HiddenCodeWatch(true);
    let asks = 0;
    for (let second = 0; second < 300; second++) {
      const nowMs = session.clock.nowMs();
      if (watch.known('app', nowMs) === undefined) {
        asks++;
        await watch.ask('app', session.connection, session.record.dialect, nowMs);
      }
      await session.clock.pass(1_000);
    }
    assert.equal(asks, 11, 'after 0, 1, 2, 4, 8, 16, 32, 64, 124, 184 and 244 s');
    watch.forget();
    await watch.ask('app', session.connection, session.record.dialect, session.clock.nowMs());
    await session.clock.pass(1_000);
    assert.equal(watch.known('app', session.clock.nowMs()), undefined);
  });
});

suite('a statement that ran in a transaction while nothing was known', () => {
  /** In a transaction, after something was created. */
  async function inTransaction(): Promise<Asker> {
    const session = new Asker();
    await session.run('begin', OPEN);
    session.watch.forget();
    session.asked.length = 0;
    return session;
  }

  async function judged(session: Asker, ...statements: string[]): Promise<readonly Pin[]> {
    for (const sql of statements) await session.run(sql, OPEN);
    assert.deepEqual(session.asked, [], 'in the transaction nobody is asked');
    await session.run('commit', Status.AUTOCOMMIT);
    assert.deepEqual(session.pins, []);
    assert.equal(session.check.hasUnjudged, true);
    await session.check.judge(session.connection);
    assert.equal(session.check.hasUnjudged, false);
    return session.pins;
  }

  test('pins the session after it, when a trigger may have left something', async () => {
    const session = await inTransaction();
    session.triggers = 1;
    assert.deepEqual(await judged(session, 'insert into t values (1)'), ['anything']);
    assert.deepEqual(session.asked, BOTH);
  });

  test('pins it not when it was a read, or there is nothing', async () => {
    const reads = await inTransaction();
    reads.triggers = 1;
    assert.deepEqual(await judged(reads, 'select * from t'), []);
    assert.deepEqual(await judged(await inTransaction(), 'insert into t values (1)'), []);
  });

  test('pins it when it names a view that calls a function, in whichever case', async () => {
    const session = await inTransaction();
    session.views = [['v_calls', 'select `db`.`f`() AS `x`']];
    assert.deepEqual(await judged(session, 'select 1', 'select * from `V_Calls`', 'select 2'), ['anything']);
    const others = await inTransaction();
    others.views = session.views;
    assert.deepEqual(await judged(others, 'select 1', 'select * from v'), []);
  });

  test('is taken to name every view when there was no room for its text', async () => {
    const session = await inTransaction();
    session.views = [['v_calls', 'select `db`.`f`() AS `x`']];
    assert.deepEqual(await judged(session, `select '${'x'.repeat(70_000)}'`), ['anything']);
  });

  test('pins it when the server refuses to tell, or is gone', async () => {
    const session = await inTransaction();
    session.refuses = true;
    assert.deepEqual(await judged(session, 'select 1'), ['anything']);
    const gone = await inTransaction();
    gone.meanwhile = () => {
      throw new Error('gone');
    };
    assert.deepEqual(await judged(gone, 'select 1'), ['anything']);
  });

  test('is judged at once when somebody else has asked meanwhile', async () => {
    const session = await inTransaction();
    await session.run('insert into t values (1)', OPEN);
    session.triggers = 1;
    await session.watch.ask('app', session.connection, session.record.dialect, session.clock.nowMs());
    await session.run('select 1', OPEN);
    assert.equal(session.check.hasUnjudged, false);
    assert.deepEqual(session.pins, ['transaction', 'anything']);
  });

  test('goes by what was known last, meanwhile', async () => {
    const session = new Asker();
    session.views = [['v_calls', 'select `db`.`f`() AS `x`']];
    await session.run('begin', OPEN);
    await session.clock.pass(60_001);
    session.look('select * from v_calls');
    assert.equal(session.check.isDue, false);
    assert.equal(session.atHand.statement.needs & Need.UNKNOWN_FUNCTION, Need.UNKNOWN_FUNCTION);
    session.look('select * from t');
    assert.equal(session.atHand.statement.needs, 0);
  });

  test('does not count when it was only prepared, never answered, or the session has begun anew', async () => {
    const session = await inTransaction();
    session.look('insert into t values (1)', Command.STMT_PREPARE);
    session.check.answered();
    session.look('insert into t values (1)');
    session.look('commit');
    session.check.answered();
    assert.equal(session.check.hasUnjudged, false);
    await session.run('insert into t values (1)', OPEN);
    session.check.forget();
    assert.equal(session.check.hasUnjudged, false);
  });

  test('may have written: later reads must see that', async () => {
    const session = new Asker();
    session.record.pin('user_lock', 0);
    await session.run('select * from v');
    assert.equal(session.record.hasWritten, true);
  });

  test('may do anything on a replica where nothing was ever known', () => {
    const session = new Asker();
    session.isAway = true;
    session.record.pin('transaction', 0);
    session.look('select * from t');
    assert.equal(session.atHand.statement.leaves & Leave.ANYTHING, Leave.ANYTHING);
  });

  test('whose connection is lost is judged by what was known last; by nothing it may have left anything', async () => {
    const known = await inTransaction();
    known.look('insert into t values (1)');
    known.check.judgeUnasked(true);
    assert.deepEqual(known.pins, ['transaction']);
    const unknown = new Asker();
    unknown.record.pin('transaction', 0);
    unknown.look('insert into t values (1)');
    unknown.check.judgeUnasked(false);
    assert.deepEqual(unknown.pins, ['transaction'], 'it was not sent');
    unknown.look('insert into t values (1)');
    unknown.check.judgeUnasked(true);
    assert.deepEqual(unknown.pins, ['transaction', 'anything']);
  });
});
