import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from '../../../src/frontend/counters.ts';
import { DURATION_BOUNDS_SECONDS } from '../../../src/ipc/messages.ts';

test('a duration falls into the bucket whose bound it does not pass', () => {
  const counters = new Counters();
  const counter = counters.queries('write', 'db1', 'write');
  for (const bound of DURATION_BOUNDS_SECONDS) counter.record(bound * 1000);
  counter.record(60_000);
  const [stats] = counters.queryStats();
  assert.deepEqual(stats!.durationBuckets, new Array(DURATION_BOUNDS_SECONDS.length + 1).fill(1));
  assert.equal(stats!.count, DURATION_BOUNDS_SECONDS.length + 1);
  assert.ok(stats!.durationSumSeconds > 60);
});

test('the same three names share a counter, others do not', () => {
  const counters = new Counters();
  assert.equal(counters.queries('a', 'b', 'c'), counters.queries('a', 'b', 'c'));
  assert.notEqual(counters.queries('a', 'b', 'c'), counters.queries('a', 'c', 'b'));
  assert.equal(counters.queryStats().length, 2);
});

test('errors and refused logins are counted by their code', () => {
  const counters = new Counters();
  for (const errno of [1045, 1045, 2013]) counters.error(errno);
  counters.loginRefused('DBPROXY_HANDSHAKE');
  assert.deepEqual(counters.errorStats(), [
    { code: 1045, count: 2 },
    { code: 2013, count: 1 },
  ]);
  assert.deepEqual(counters.loginStats(), [{ reason: 'DBPROXY_HANDSHAKE', count: 1 }]);
});
