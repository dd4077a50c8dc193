import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AccountQuestions } from '../../../src/frontend/account-questions.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function setUp() {
  const clock = new FakeClock();
  const users = { revision: 1, isUnread: () => users.revision === 0 };
  const asked: [number, string][] = [];
  const ask = (requestId: number, cluster: string): number => asked.push([requestId, cluster]);
  return { clock, users, asked, questions: new AccountQuestions({ clock, users, ask }) };
}

test('the answer says whether the accounts have changed meanwhile', async () => {
  const { clock, users, asked, questions } = setUp();
  const same = questions.refresh('main');
  questions.answered(asked[0]![0], false);
  assert.equal(await same, false);
  const changed = questions.refresh('main');
  users.revision++;
  questions.answered(asked[1]![0], false);
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
  questions.answered(asked[0]![0], false); // too late, and harmless
});

test('beyond a thousand nobody waits and nothing is asked', async () => {
  const { asked, questions } = setUp();
  for (let count = 0; count < 1_000; count++) void questions.refresh('main');
  assert.equal(await questions.refresh('main'), false);
  assert.equal(asked.length, 1_000);
  questions.answered(asked[0]![0], false);
  void questions.refresh('main');
  assert.equal(asked.length, 1_001);
});

/** None have been read yet, and the supervisor has looked in vain. */
async function lookedInVain(awaitsFirst: boolean, patienceMs = 10_000) {
  const scene = setUp();
  scene.users.revision = 0;
  const waiting = scene.questions.refresh('main', patienceMs);
  scene.questions.answered(scene.asked[0]![0], awaitsFirst);
  await scene.clock.pass(0);
  return { ...scene, waiting };
}

test('while there are no accounts at all the first ones are waited for, of this cluster', async () => {
  const { clock, users, asked, questions, waiting } = await lookedInVain(true);
  questions.arrived('other');
  await clock.pass(9_000);
  assert.equal(clock.pending, 1, 'it goes on waiting');
  users.revision = 1;
  questions.arrived('main');
  assert.equal(await waiting, true);
  assert.deepEqual([asked.length, clock.pending], [1, 0]);
});

test('the first accounts are not waited for longer than patience lasts', async () => {
  const { clock, waiting } = await lookedInVain(true);
  await clock.pass(10_000);
  assert.equal(await waiting, false);
});

test('nobody waits for accounts that do not come by themselves, nor without patience', async () => {
  for (const { waiting } of [await lookedInVain(false), await lookedInVain(true, 0)]) {
    assert.equal(await waiting, false);
  }
});

test('who waits for the first accounts counts for the bound, too', async () => {
  const { clock, users, asked, questions } = setUp();
  users.revision = 0;
  for (let count = 0; count < 1_000; count++) {
    void questions.refresh('main', 10_000);
    questions.answered(asked[count]![0], true);
  }
  await clock.pass(0);
  assert.equal(await questions.refresh('main', 10_000), false);
  assert.equal(asked.length, 1_000);
});
