import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkerTotals } from '../../../src/http/totals.ts';
import { queryStats, workerStats } from '../../support/operations.ts';

test('totals are the sums over the workers, equal labels joined', () => {
  const read = queryStats({ listener: 'read', class: 'read', count: 10 });
  const totals = new WorkerTotals().update([
    workerStats(),
    workerStats({ slot: 2, pid: 102, queries: [queryStats(), read], errors: [{ code: 2003, count: 1 }] }),
  ]);
  assert.deepEqual(
    totals.queries.map((entry) => [
      entry.class,
      entry.count,
      entry.durationBuckets[0],
      entry.durationSumSeconds,
    ]),
    [
      ['write', 6, 4, 25],
      ['read', 10, 2, 12.5],
    ],
  );
  assert.deepEqual(totals.errors, [
    { code: 1040, count: 5 },
    { code: 2003, count: 1 },
  ]);
  assert.deepEqual(totals.bytes, { fromClients: 200, toClients: 2000 });
  assert.equal(totals.poolWaits, 12);
  assert.deepEqual(totals.loginsRefused, [{ reason: 'password', count: 4 }]);
});

test('what is counted by listener, reason and rule is joined by these', () => {
  const other = workerStats({
    slot: 2,
    pid: 102,
    causal: [
      { listener: 'split', atOnce: 1, waited: 1, fellBack: 1 },
      { listener: 'reports', atOnce: 5, waited: 0, fellBack: 0 },
    ],
    retries: [
      { listener: 'split', reason: 'refused', count: 1 },
      { listener: 'split', reason: 'lost', count: 4 },
      { listener: 'reports', reason: 'refused', count: 8 },
    ],
    rules: [
      { name: 'reports', hits: 4 },
      { name: 'checkout', hits: 1 },
    ],
  });
  const totals = new WorkerTotals().update([workerStats(), other]);
  assert.deepEqual(totals.causal, [
    { listener: 'split', atOnce: 11, waited: 5, fellBack: 2 },
    { listener: 'reports', atOnce: 5, waited: 0, fellBack: 0 },
  ]);
  assert.deepEqual(totals.retries, [
    { listener: 'split', reason: 'refused', count: 3 },
    { listener: 'split', reason: 'lost', count: 4 },
    { listener: 'reports', reason: 'refused', count: 8 },
  ]);
  assert.deepEqual(totals.rules, [
    { name: 'reports', hits: 7 },
    { name: 'checkout', hits: 1 },
  ]);
  assert.deepEqual([totals.pipelined, totals.restores], [14, 18]);
});

test('a worker that is restarted does not take its counts with it', () => {
  const totals = new WorkerTotals();
  totals.update([workerStats({ poolWaits: 6 })]);
  assert.equal(totals.update([workerStats({ pid: 201, poolWaits: 1 })]).poolWaits, 7);
  assert.equal(totals.update([workerStats({ pid: 201, poolWaits: 2 })]).poolWaits, 8);
  assert.equal(totals.update([workerStats({ pid: 301, poolWaits: 0 })]).poolWaits, 8);
});

test('a worker that does not answer counts with what it said last', () => {
  const totals = new WorkerTotals();
  totals.update([workerStats({ poolWaits: 6 }), workerStats({ slot: 2, pid: 102, poolWaits: 4 })]);
  assert.equal(totals.update([workerStats({ poolWaits: 7 })]).poolWaits, 11);
  assert.equal(totals.update([]).poolWaits, 11);
});

test('the answers of the workers are left as they are', () => {
  const answer = workerStats();
  const totals = new WorkerTotals();
  totals.update([answer, workerStats({ slot: 2, pid: 102 })]);
  assert.deepEqual(answer, workerStats());
});
