import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LoginCheck } from '../../../src/monitor/login-check.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const DENIED = Object.assign(new Error('Access denied for user'), { errno: 1045 });

/** Logins that end as the test says, with how many there were and how many are still open. */
function logins(intervalMs = 30_000): {
  clock: FakeClock;
  check: LoginCheck;
  count: { tried: number; open: number };
  answer: { with: () => Promise<void> };
} {
  const clock = new FakeClock();
  const count = { tried: 0, open: 0 };
  const answer = { with: (): Promise<void> => Promise.resolve() };
  const check = new LoginCheck(intervalMs, clock, async () => {
    count.tried++;
    await answer.with();
    count.open++;
    return { close: () => void count.open-- };
  });
  return { clock, check, count, answer };
}

suite('a new login', () => {
  test('is tried once an interval, counted from the last one of whoever logged in, and is closed', async () => {
    const { clock, check, count } = logins();
    check.note(null);
    await check.tryIfDue(1_000);
    await clock.pass(29_999);
    await check.tryIfDue(1_000);
    assert.equal(count.tried, 0);
    await clock.pass(1);
    await check.tryIfDue(1_000);
    await check.tryIfDue(1_000);
    assert.deepEqual(count, { tried: 1, open: 0 });
    await clock.pass(30_000);
    await check.tryIfDue(1_000);
    assert.equal(count.tried, 2);
  });

  test('that has no answer is not followed by another', async () => {
    const { clock, check, count, answer } = logins();
    answer.with = () => new Promise(() => undefined);
    void check.tryIfDue(1_000);
    await clock.pass(100_000);
    void check.tryIfDue(1_000);
    assert.equal(count.tried, 1);
  });

  for (const [words, errno] of [
    ['a wrong password', 1045],
    ['a locked account of MySQL', 3118],
    ['a locked account of MariaDB', 4151],
    ['a password that must be changed first', 1820],
    ['an expired password', 1862],
  ] as const) {
    test(`is refused by ${words}, until one goes well`, async () => {
      const { clock, check, answer } = logins();
      answer.with = () => Promise.reject(Object.assign(new Error(words), { errno }));
      await check.tryIfDue(1_000);
      assert.equal(check.trouble, words);
      await clock.pass(30_000);
      answer.with = () => Promise.resolve();
      await check.tryIfDue(1_000);
      assert.equal(check.trouble, null);
    });
  }

  test('that fails for another reason says nothing of the account, either way', async () => {
    const { clock, check, answer } = logins();
    answer.with = () => Promise.reject(Object.assign(new Error('x'), { code: 'ETIMEDOUT' }));
    await check.tryIfDue(1_000);
    assert.equal(check.trouble, null);
    check.note(DENIED);
    await clock.pass(30_000);
    await check.tryIfDue(1_000);
    assert.equal(check.trouble, DENIED.message);
  });
});
