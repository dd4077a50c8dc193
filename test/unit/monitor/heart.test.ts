import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CREATE_TABLES } from '../../../src/monitor/flavour/tables.ts';
import type { Row, Statement } from '../../../src/monitor/flavour/row.ts';
import { Heart, type HeartConnection, type HeartTarget } from '../../../src/monitor/heart.ts';
import type { WriteOutcome } from '../../../src/monitor/write-outcome.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const TIMED_OUT = Object.assign(new Error('no answer to REPLACE within 1000 ms'), { code: 'ETIMEDOUT' });
const serverError = (errno: number, words = 'as the server says it'): Error =>
  Object.assign(new Error(words), { errno, code: 'ER_SOMETHING' });

/** A heart on a server that does with each statement what the test says. */
function beating(
  answer: (sql: string, connection: number) => Promise<Row[]>,
  over: Parameters<typeof clusterConfig>[0] = { lagSource: 'heartbeat' },
): {
  clock: FakeClock;
  heart: Heart;
  said: string[];
  outcomes: WriteOutcome[];
  problems: string[];
  target: HeartTarget[];
} {
  const clock = new FakeClock();
  const said: string[] = [];
  const outcomes: WriteOutcome[] = [];
  const problems: string[] = [];
  const target: HeartTarget[] = [{ backend: backendConfig('db1'), epoch: 3 }];
  let connections = 0;
  const connect = async (): Promise<HeartConnection> => {
    const number = ++connections;
    return {
      usable: true,
      threadId: number,
      close: () => void said.push(`${number}: closed`),
      run: async (statement: Statement | string) => {
        const sql = typeof statement === 'string' ? statement : statement.sql;
        said.push(`${number}: ${sql}`);
        return answer(sql, number);
      },
    };
  };
  const heart = new Heart({
    cluster: clusterConfig(over),
    clock,
    target: () => target[0] ?? null,
    onProblem: (problem) => void problems.push(problem),
    onOutcome: (_backend, outcome) => void outcomes.push(outcome),
    connect,
  });
  heart.start();
  return { clock, heart, said, outcomes, problems, target };
}

const isWrite = (sql: string): boolean => sql.startsWith('REPLACE');

suite('a write that hangs', () => {
  test('is ended from another connection, and its own is dropped', async () => {
    let hangs = true;
    const { clock, said, outcomes } = beating(async (sql) => {
      if (isWrite(sql) && hangs) throw TIMED_OUT;
      return [];
    });
    await clock.pass(0);
    assert.deepEqual(said.slice(-2), ['2: KILL 1', '2: closed']);
    assert.deepEqual(outcomes, [{ kind: 'failing', reason: `a write hangs (${TIMED_OUT.message})` }]);
    hangs = false;
    await clock.pass(250);
    assert.match(said.at(-1)!, /^3: REPLACE/);
    assert.equal(outcomes[1]?.kind, 'written');
  });

  test('is no failure of the server when it waits for a lock that somebody holds', async () => {
    const { clock, outcomes } = beating(async (sql) => {
      if (isWrite(sql)) throw TIMED_OUT;
      return sql.includes('processlist') ? [{ state: 'Waiting for global read lock' }] : [];
    });
    await clock.pass(0);
    assert.deepEqual(outcomes, [{ kind: 'locked', reason: 'Waiting for global read lock' }]);
  });

  test('keeps the row locked, and the next ones hang as well: no server gives up on that before we do', async () => {
    for (const checkTimeoutMs of [200, 1_000, 2_500]) {
      const { clock, said } = beating(async () => [], { lagSource: 'heartbeat', checkTimeoutMs });
      await clock.pass(0);
      const [, seconds] = /innodb_lock_wait_timeout = (\d+)/.exec(said[0]!)!;
      assert.ok(Number(seconds) * 1000 > checkTimeoutMs, `${seconds} s`);
    }
  });

  test('is the only one under way', async () => {
    const waiting: (() => void)[] = [];
    const { clock, said } = beating(async (sql) => {
      if (isWrite(sql)) await new Promise<void>((resolve) => waiting.push(resolve));
      return [];
    });
    await clock.pass(5_000);
    assert.equal(said.filter((one) => one.includes('REPLACE')).length, 1);
    waiting.shift()!();
    await clock.pass(10);
    assert.equal(said.filter((one) => one.includes('REPLACE')).length, 2);
  });
});

suite('a table that is not there', () => {
  const missing = (): ((sql: string) => Promise<Row[]>) => {
    let isThere = false;
    return async (sql) => {
      if (sql === CREATE_TABLES[2]) isThere = true;
      if (isWrite(sql) && !isThere) throw serverError(1146);
      return [];
    };
  };

  test('is made when somebody has asked for it by name', async () => {
    for (const over of [{ lagSource: 'heartbeat' }, { lagSource: 'status', writeCheck: true }] as const) {
      const { clock, outcomes } = beating(missing(), over);
      await clock.pass(0);
      assert.deepEqual(outcomes, [{ kind: 'written' }]);
    }
  });

  test('is not made otherwise, and is looked for less often', async () => {
    const { clock, said, outcomes, heart } = beating(missing(), { lagSource: 'auto' });
    await clock.pass(4_900);
    assert.equal(outcomes.length, 1);
    assert.equal(outcomes[0]?.kind, 'hopeless');
    assert.equal(
      said.some((one) => one.includes('CREATE')),
      false,
    );
    assert.match(heart.problem, /the table is not there/);
    await clock.pass(200);
    assert.equal(outcomes.length, 2);
  });
});

suite('what a failed write says of the server', () => {
  const table: [string, Error, WriteOutcome['kind']][] = [
    ['no answer', TIMED_OUT, 'failing'],
    ['a full table', serverError(1114), 'failing'],
    ['a lock that was not given', serverError(1205), 'locked'],
    ['a full disk', serverError(1021), 'failing'],
    ['no right', serverError(1142), 'hopeless'],
    ['read-only', serverError(1290), 'hopeless'],
    ['a lost connection', Object.assign(new Error('x'), { code: 'ECONNRESET' }), 'unreachable'],
  ];
  for (const [what, error, kind] of table) {
    test(`${what}: ${kind}`, async () => {
      const { clock, outcomes } = beating(async (sql) => {
        if (isWrite(sql)) throw error;
        return [];
      });
      await clock.pass(0);
      assert.equal(outcomes[0]?.kind, kind);
    });
  }

  test('a server that is not to be reached: unreachable', async () => {
    const { clock, outcomes } = beating(async () => {
      throw TIMED_OUT;
    });
    await clock.pass(0);
    assert.equal(outcomes[0]?.kind, 'unreachable');
  });
});

test('a server that has just become read-only is not written on, although our account might', async () => {
  const { clock, said, outcomes } = beating(async (sql) =>
    sql.includes('read_only') ? [{ read_only: 1 }] : [],
  );
  await clock.pass(0);
  assert.deepEqual(outcomes, [{ kind: 'hopeless', reason: 'it is read-only' }]);
  assert.equal(
    said.some((one) => one.includes('REPLACE')),
    false,
  );
});

test('a problem is told once, and its end', async () => {
  let error: Error | null = serverError(1114, 'full');
  const { clock, problems } = beating(async (sql) => {
    if (isWrite(sql) && error !== null) throw error;
    return [];
  });
  await clock.pass(1_000);
  error = Object.assign(new Error('gone'), { code: 'ECONNRESET' });
  await clock.pass(1_000);
  error = null;
  await clock.pass(1_000);
  assert.deepEqual(problems, ['a write failed (full)', '']);
});

test('another primary is written on over a connection of its own', async () => {
  const { clock, said, target, heart } = beating(async () => []);
  await clock.pass(0);
  target[0] = { backend: backendConfig('db2'), epoch: 4 };
  await clock.pass(250);
  assert.deepEqual(
    said.map((one) => one.split(' ', 2).join(' ')),
    ['1: SET', '1: SELECT', '1: REPLACE', '1: closed', '2: SET', '2: SELECT', '2: REPLACE'],
  );
  assert.equal(heart.beats.beats.length, 2);
  heart.close();
  assert.equal(clock.pending, 0);
});
