import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIRST_RECORD, type HealthRecord } from '../../../src/monitor/detector.ts';
import {
  checkDelayMs,
  nextCheckMs,
  STALL_TICK_MS,
  StallGuard,
  urgentCheckMs,
  type CheckState,
} from '../../../src/monitor/schedule.ts';

const INTERVALS = { checkIntervalMs: 1000, checkFastIntervalMs: 250, fall: 3 };

/** A server that is well, whose last check began at 1000. */
function state(over: Partial<CheckState> = {}, record: Partial<HealthRecord> = {}): CheckState {
  return {
    record: { ...FIRST_RECORD, reach: 'up', ...record },
    lastStartMs: 1_000,
    lastUrgentMs: -Infinity,
    running: 0,
    isWitness: false,
    ...over,
  };
}

suite('the next check', () => {
  const table: [string, CheckState, number | null][] = [
    ['a well server, at the interval', state(), 2_000],
    ['a worrying one, at the fast interval', state({}, { reach: 'suspect' }), 1_250],
    ['a replica of a primary in doubt, at the fast interval', state({ isWitness: true }), 1_250],
    ['unanswered, another one beside it', state({ running: 1 }), 1_250],
    ['two unanswered, a third one', state({ running: 2 }, { reach: 'suspect' }), 1_250],
    ['as many as `fall`, no more', state({ running: 3 }, { reach: 'suspect' }), null],
    ['a server that is down is asked by one at a time', state({ running: 1 }, { reach: 'down' }), null],
    ['so is one that nobody has seen', state({ running: 1 }, { reach: 'unknown' }), null],
    ['down and answered, at the fast interval', state({}, { reach: 'down' }), 1_250],
  ];
  for (const [what, of, dueMs] of table) {
    test(what, () => assert.equal(nextCheckMs(of, INTERVALS), dueMs));
  }

  test('the delay alone', () => {
    assert.equal(checkDelayMs(state(), INTERVALS), 1_000);
    assert.equal(checkDelayMs(state({}, { lagging: true }), INTERVALS), 250);
  });
});

suite('an urgent check', () => {
  const table: [string, CheckState, number | null][] = [
    ['at once, however lately the last one in turn was', state(), -Infinity],
    ['no more often than the fast interval', state({ lastUrgentMs: 900 }), 1_150],
    [
      'of one that fails already, no faster than it is looked at',
      state({}, { reach: 'suspect', failed: 1 }),
      1_250,
    ],
    ['beside one that is not answered yet', state({ running: 1 }), -Infinity],
    ['not beyond `fall` at once', state({ running: 3 }), null],
    ['not beside one of a server that is down', state({ running: 1 }, { reach: 'down' }), null],
  ];
  for (const [what, of, dueMs] of table) {
    test(what, () => assert.equal(urgentCheckMs(of, INTERVALS), dueMs));
  }
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
