import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIRST_RECORD } from '../../../src/monitor/detector.ts';
import { checkDelayMs, STALL_TICK_MS, StallGuard, urgentDelayMs } from '../../../src/monitor/schedule.ts';

const INTERVALS = { checkIntervalMs: 1000, checkFastIntervalMs: 250 };

test('a well server is checked at the interval, a worrying one at the fast interval', () => {
  assert.equal(checkDelayMs({ ...FIRST_RECORD, reach: 'up' }, INTERVALS), 1000);
  assert.equal(checkDelayMs({ ...FIRST_RECORD, reach: 'suspect' }, INTERVALS), 250);
});

test('an urgent check comes at once, but no more often than the fast interval', () => {
  assert.equal(urgentDelayMs(0, INTERVALS, 900), 0);
  assert.equal(urgentDelayMs(0, INTERVALS, 100), 150);
  assert.equal(urgentDelayMs(-Infinity, INTERVALS, 0), 0);
});

suite('the stall guard', () => {
  test('regular ticks are no stall', () => {
    const guard = new StallGuard(0);
    for (let nowMs = STALL_TICK_MS; nowMs <= 1000; nowMs += STALL_TICK_MS) assert.equal(guard.tick(nowMs), 0);
    assert.equal(guard.stalledSince(0, 1000), false);
  });

  test('a late tick is a stall for all that began before its end', () => {
    const guard = new StallGuard(0);
    assert.ok(guard.tick(3000) > 0);
    assert.equal(guard.stalledSince(2000, 3010), true);
    assert.equal(guard.stalledSince(3005, 3010), false);
  });

  test('a stall that no tick has told yet counts too', () => {
    const guard = new StallGuard(0);
    assert.equal(guard.stalledSince(50, 3000), true);
  });
});
