import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AccountQuestions } from '../../../src/frontend/account-questions.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function setUp() {
  const clock = new FakeClock();
  const users = { revision: 1 };
  const asked: [number, string][] = [];
  const ask = (requestId: number, cluster: string): number => asked.push([requestId, cluster]);
  return { clock, users, asked, questions: new AccountQuestions({ clock, users, ask }) };
}

test('the answer says whether the accounts have changed meanwhile', async () => {
  const { clock, users, asked, questions } = setUp();
  const same = questions.refresh('main');
  questions.answered(asked[0]![0]);
  assert.equal(await same, false);
  const changed = questions.refresh('main');
  users.revision++;
  questions.answered(asked[1]![0]);
  assert.equal(await changed, true);
  assert.deepEqual(
    asked.map(([, cluster]) => cluster),
    ['main', 'main'],
  );
  assert.equal(clock.pending, 0);
});

test('without an answer the waiting ends', async () => {
  const { clock, asked, questions } = setUp();
  const waiting = questions.refresh('main');
  clock.advance(2_000);
  assert.equal(await waiting, false);
  questions.answered(asked[0]![0]); // too late, and harmless
});

test('beyond a thousand nobody waits and nothing is asked', async () => {
  const { asked, questions } = setUp();
  for (let count = 0; count < 1_000; count++) void questions.refresh('main');
  assert.equal(await questions.refresh('main'), false);
  assert.equal(asked.length, 1_000);
  questions.answered(asked[0]![0]);
  void questions.refresh('main');
  assert.equal(asked.length, 1_001);
});
