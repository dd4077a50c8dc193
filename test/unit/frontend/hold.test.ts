import assert from 'node:assert/strict';
import { it } from 'node:test';
import { WriteHold } from '../../../src/frontend/hold.ts';
import { FakeClock } from '../../support/fake-clock.ts';

it('what comes while nothing is held goes on at once', async () => {
  const hold = new WriteHold('main', 1000, new FakeClock());
  await hold.released();
  assert.equal(hold.stats().count, 0);
});

it('what is held goes on when the hold ends, and is counted with the time it took', async () => {
  const clock = new FakeClock();
  const hold = new WriteHold('main', 1000, clock);
  hold.begin();
  const waiting = [hold.released(), hold.released()];
  assert.equal(hold.stats().held, 2);
  clock.advance(40);
  hold.end();
  await Promise.all(waiting);
  const { held, count, durationSumSeconds, durationBuckets } = hold.stats();
  assert.deepEqual({ held, count, durationSumSeconds }, { held: 0, count: 2, durationSumSeconds: 0.08 });
  // Up to 0.05 s.
  assert.equal(durationBuckets[8], 2);
});

it('what is held longer than hold_timeout is refused, and hears that nothing was run', async () => {
  const clock = new FakeClock();
  const hold = new WriteHold('main', 1000, clock);
  hold.begin();
  const refused = assert.rejects(hold.released(), {
    code: 'DBPROXY_WRITES_HELD',
    message: /nothing of it was run/,
  });
  clock.advance(1000);
  await refused;
  assert.equal(hold.stats().held, 0);
  assert.equal(hold.isOn, true);
});
