import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayAsk, restartDelayMs } from '../../../src/ipc/fleet.ts';

test('a worker is started again at once, later when it keeps dying, and never later than 10 s', () => {
  assert.deepEqual([0, 1, 2, 3].map(restartDelayMs), [0, 100, 200, 400]);
  assert.equal(restartDelayMs(50), 10_000);
});

test('questions to one worker are bounded, but it is always asked to end sessions', () => {
  assert.equal(mayAsk('stats-wanted', 63), true);
  assert.equal(mayAsk('stats-wanted', 64), false);
  assert.equal(mayAsk('end-sessions', 1_000), true);
  assert.equal(mayAsk('hold-writes', 1_000), true);
});
