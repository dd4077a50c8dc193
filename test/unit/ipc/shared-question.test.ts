import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedWhileInFlight } from '../../../src/ipc/shared-question.ts';

test('who asks while it is being answered shares the answer; who asks later gets a new one', async () => {
  let asked = 0;
  const ask = sharedWhileInFlight(async () => ++asked);
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), [1, 1, 1]);
  assert.equal(await ask(), 2);
});

test('a question that failed is asked again', async () => {
  let asked = 0;
  const ask = sharedWhileInFlight(async () => {
    if (++asked === 1) throw new Error('lost');
    return asked;
  });
  await assert.rejects(ask(), /lost/);
  assert.equal(await ask(), 2);
});
