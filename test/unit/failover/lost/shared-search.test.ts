import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { CommitAnswer, CommitQuestion } from '../../../../src/failover/lost/find-commit.ts';
import type { Held } from '../../../../src/failover/lost/held.ts';
import { SharedSearch, type HeldThen } from '../../../../src/failover/lost/shared-search.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

function question(threadId: number): CommitQuestion {
  return {
    threadId,
    earlier: { kind: 'unknown' },
    isAnother: () => false,
    mark: null,
    statements: [],
    rivals: null,
  };
}

function heldAt(atMs: number): HeldThen {
  return { atMs, held: { kind: 'mariadb', gtids: `0-1-${atMs}` } };
}

function committed({ threadId, since }: CommitQuestion): CommitAnswer {
  const from = since?.kind === 'mariadb' ? since.gtids : '';
  return { outcome: 'committed', detail: `session ${threadId} since ${from}`, gtid: null };
}

/** Readings that end when a test says so. */
class Readings {
  readonly clock = new FakeClock();
  readonly begun: { since: Held; threads: number[]; timeoutMs: number; end: (error?: Error) => void }[] = [];
  readonly search = new SharedSearch(
    this.clock,
    (since, questions, timeoutMs) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error): void =>
          error === undefined ? resolve(questions.map(committed)) : reject(error);
        this.begun.push({ since, threads: questions.map(({ threadId }) => threadId), timeoutMs, end });
      }),
  );

  ask(threadId: number, atMs: number, inMs = 10_000): Promise<CommitAnswer> {
    return this.search.ask(question(threadId), heldAt(atMs), this.clock.nowMs() + inMs);
  }
}

suite('questions about lost COMMITs', () => {
  test('that come together share one reading, from where the oldest asks', async () => {
    const { ask, begun, clock, search } = bound(new Readings());
    const told = Promise.all([ask(1, 700), ask(2, 500, 4_000), ask(3, 600)]);
    await clock.pass(50);
    assert.equal(begun.length, 1);
    assert.deepEqual(begun[0]!.since, heldAt(500).held);
    assert.deepEqual([begun[0]!.threads, begun[0]!.timeoutMs], [[1, 2, 3], 9_950]);
    begun[0]!.end();
    assert.deepEqual(
      (await told).map(({ detail }) => detail),
      ['session 1 since 0-1-700', 'session 2 since 0-1-500', 'session 3 since 0-1-600'],
    );
    await clock.pass(0);
    assert.equal(search.isIdle, true);
  });

  test('that come while one is read wait for the next', async () => {
    const { ask, begun, clock } = bound(new Readings());
    const first = ask(1, 700);
    await clock.pass(50);
    const second = ask(2, 700);
    const third = ask(3, 700);
    await clock.pass(1_000);
    assert.equal(begun.length, 1);
    begun[0]!.end();
    assert.equal((await first).outcome, 'committed');
    await clock.pass(50);
    assert.deepEqual(begun[1]?.threads, [2, 3]);
    begun[1].end(new Error('the binlog is gone'));
    assert.deepEqual(
      (await Promise.all([second, third])).map(({ outcome, detail }) => `${outcome}: ${detail}`),
      ['unknown: the binlog is gone', 'unknown: the binlog is gone'],
    );
  });

  test('are unknown when their time is over', async () => {
    const { ask, begun, clock } = bound(new Readings());
    const late = ask(1, 700, 3_000);
    await clock.pass(3_000);
    assert.deepEqual(await late, {
      outcome: 'unknown',
      detail: 'the binlog was not read in time',
      gtid: null,
    });
    begun[0]!.end();
  });
});

function bound(readings: Readings): Pick<Readings, 'ask' | 'begun' | 'clock' | 'search'> {
  const { begun, clock, search } = readings;
  return { begun, clock, search, ask: (...request) => readings.ask(...request) };
}
