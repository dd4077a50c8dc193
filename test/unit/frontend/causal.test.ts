/**
 * What is known of positions, and how often the primary is asked: never for an answer that may be older than the
 * question of who waits for it.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { CausalReads, causalWords, waitForPosition } from '../../../src/frontend/causal.ts';

const MARIADB = causalWords(true, 101106);

/** A primary that answers when the test says so. */
class Primary {
  readonly #answers: { resolve: (position: string | null) => void; reject: (error: Error) => void }[] = [];
  asked = 0;

  readonly ask = (): Promise<string | null> => {
    this.asked++;
    return new Promise((resolve, reject) => this.#answers.push({ resolve, reject }));
  };

  async answer(position: string | null): Promise<void> {
    this.#answers.shift()!.resolve(position);
    await settled();
  }

  async fail(): Promise<void> {
    this.#answers.shift()!.reject(new Error('gone'));
    await settled();
  }
}

/** Lets promises that are due go on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

suite('the position of the primary', () => {
  test('is asked for at once when no question is under way', async () => {
    const primary = new Primary();
    const position = new CausalReads().positionNow(primary.ask);
    assert.equal(primary.asked, 1);
    await primary.answer('0-1-5');
    assert.equal(await position, '0-1-5');
  });

  test('is never that of a question which began before', async () => {
    const primary = new Primary();
    const causal = new CausalReads();
    const first = causal.positionNow(primary.ask);
    const second = causal.positionNow(primary.ask);
    assert.equal(primary.asked, 1);
    await primary.answer('0-1-5');
    assert.equal(await first, '0-1-5');
    assert.equal(primary.asked, 2);
    await primary.answer('0-1-6');
    assert.equal(await second, '0-1-6');
  });

  test('is asked for once for all who come during one question', async () => {
    const primary = new Primary();
    const causal = new CausalReads();
    const first = causal.positionNow(primary.ask);
    const later = Array.from({ length: 10 }, () => causal.positionNow(primary.ask));
    await primary.answer('0-1-5');
    await first;
    await primary.answer('0-1-6');
    assert.deepEqual(new Set(await Promise.all(later)), new Set(['0-1-6']));
    assert.equal(primary.asked, 2);
  });

  test('is asked for again after a question that failed, by those who waited for it', async () => {
    const primary = new Primary();
    const causal = new CausalReads();
    const first = causal.positionNow(primary.ask);
    const second = causal.positionNow(primary.ask);
    const failed = assert.rejects(first, /gone/);
    await primary.fail();
    await failed;
    await primary.answer('0-1-6');
    assert.equal(await second, '0-1-6');
    const third = causal.positionNow(primary.ask);
    await primary.answer('0-1-7');
    assert.equal(await third, '0-1-7');
  });

  const ANSWERS: readonly [what: string, answer: string | null, position: string | null][] = [
    ['MariaDB’s', '0-1-5,1-2-7', '0-1-5,1-2-7'],
    [
      'MySQL’s, which is told in lines',
      '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:tag_a:7',
      '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,4e11fa47-71ca-11e1-9e33-c80aa9429562:tag_a:7',
    ],
    ['of a server that has none', '', null],
    ['of a server that does not say', null, null],
    ['that could end the text it is put into', "0-1-5') or sleep(9", null],
    ['with a backslash', '0-1-5\\', null],
  ];
  for (const [what, answer, expected] of ANSWERS) {
    test(`${what} is ${expected === null ? 'none' : 'taken'}`, async () => {
      const primary = new Primary();
      const position = new CausalReads().positionNow(primary.ask);
      await primary.answer(answer);
      assert.equal(await position, expected);
    });
  }
});

suite('what a replica is known to have', () => {
  test('is nothing before it has been looked at', () => {
    assert.equal(new CausalReads().isKnownToHave('r', '0-1-1'), false);
  });

  test('is all up to what it has been seen with', () => {
    const causal = new CausalReads();
    causal.learn('r', '0-1-5');
    assert.equal(causal.isKnownToHave('r', '0-1-5'), true);
    assert.equal(causal.isKnownToHave('r', '0-2-4'), true);
    assert.equal(causal.isKnownToHave('r', '0-1-6'), false);
    assert.equal(causal.isKnownToHave('r', '1-1-1'), false, 'another domain');
    assert.equal(causal.isKnownToHave('other', '0-1-5'), false);
  });

  test('does not shrink by an older look that comes late', () => {
    const causal = new CausalReads();
    causal.learn('r', '0-1-5');
    causal.learn('r', '0-1-3');
    assert.equal(causal.isKnownToHave('r', '0-1-5'), true);
  });

  test('is nothing any more once it is forgotten, and who relied on it can tell', () => {
    const causal = new CausalReads();
    causal.learn('r', '0-1-5');
    const era = causal.eraOf('r');
    causal.forget('r');
    assert.equal(causal.isKnownToHave('r', '0-1-5'), false);
    assert.notEqual(causal.eraOf('r'), era);
    assert.equal(causal.eraOf('other'), causal.eraOf('another'), 'nobody else is concerned');
  });

  test('is not concluded from a position that cannot be read', () => {
    const causal = new CausalReads();
    causal.learn('r', '0-1-5');
    assert.equal(causal.isKnownToHave('r', 'what?'), false);
  });
});

suite('waiting for a position', () => {
  const ANSWERS: readonly [answer: string | null, has: boolean][] = [
    ['0', true],
    ['-1', false],
    ['1', false],
    [null, false],
    ['', false],
  ];
  for (const [answer, has] of ANSWERS) {
    test(`${has ? 'has succeeded' : 'has not'} when the replica says ${JSON.stringify(answer)}`, async () => {
      const asked: string[] = [];
      const connection = {
        queryValue: (sql: string) => {
          asked.push(sql);
          return Promise.resolve(answer);
        },
      } as unknown as BackendConnection;
      assert.equal(await waitForPosition(connection, MARIADB, '0-1-5', 250), has);
      assert.deepEqual(asked, ["SELECT MASTER_GTID_WAIT('0-1-5', 0.25)"]);
    });
  }
});
