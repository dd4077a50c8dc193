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

test('keeps the time of what was before, with ids in the order in which it was told', () => {
  const ring = new EventRing(systemClock, 3);
  ring.add('promote.done', 'db2', 'primary', 1_000);
  ring.add('backend.down', 'db1', 'why');
  const [first, second] = ring.list();
  assert.deepEqual([first!.id, first!.wallMs], [1, 1_000]);
  assert.ok(second!.id === 2 && second!.wallMs > 1_000);
});
