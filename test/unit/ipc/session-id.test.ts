import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatSessionId,
  SESSION_COUNTER_MAX,
  slotOfSessionId,
  WORKER_SLOT_MAX,
} from '../../../src/ipc/session-id.ts';

test('an id says which worker it belongs to, at every border', () => {
  for (const slot of [0, 1, 31, WORKER_SLOT_MAX]) {
    for (const counter of [0, 1, SESSION_COUNTER_MAX]) {
      const id = formatSessionId(slot, counter);
      assert.equal(slotOfSessionId(id), slot);
      assert.ok(id > 0x3fffffff && id < 2 ** 31, 'positive in every language, above the ids of servers');
    }
  }
});

test('ids of different workers and counters differ', () => {
  const ids = new Set<number>();
  for (let slot = 0; slot <= WORKER_SLOT_MAX; slot++) {
    for (const counter of [0, 1, SESSION_COUNTER_MAX]) ids.add(formatSessionId(slot, counter));
  }
  assert.equal(ids.size, (WORKER_SLOT_MAX + 1) * 3);
});

test("a server's own id and a number of no worker belong to nobody", () => {
  for (const id of [0, 1, 12345, 0x3fffffff, 2 ** 31, 2 ** 32, -1, formatSessionId(63, 5)]) {
    assert.equal(slotOfSessionId(id), undefined, String(id));
  }
});
