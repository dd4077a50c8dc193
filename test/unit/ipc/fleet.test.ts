import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restartDelayMs } from '../../../src/ipc/fleet.ts';

test('a worker is started again at once, later when it keeps dying, and never later than 10 s', () => {
  assert.deepEqual([0, 1, 2, 3].map(restartDelayMs), [0, 100, 200, 400]);
  assert.equal(restartDelayMs(50), 10_000);
});
