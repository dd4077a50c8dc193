import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { EventRing } from '../../../src/ipc/event-ring.ts';

test('keeps the last events only, the newest last, each under a number of its own', () => {
  const ring = new EventRing(systemClock, 3);
  for (const subject of ['a', 'b', 'c', 'd']) ring.add('backend.down', subject, 'why');
  assert.deepEqual(
    ring.list().map(({ id, subject }) => [id, subject]),
    [
      [2, 'b'],
      [3, 'c'],
      [4, 'd'],
    ],
  );
});
