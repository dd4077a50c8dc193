/**
 * The histories of every `npm test`, a test file each way, as they take minutes: with one dbproxy and with two. A run
 * of more is `npm run sim`.
 */
import assert from 'node:assert/strict';
import { availableParallelism, constants, setPriority } from 'node:os';
import { describe, test } from 'node:test';
import { tell } from './history.ts';
import { PAIRS_FROM, scenarioOf } from './scenario.ts';
import { search } from './search.ts';

/** Seeds that are played, from `first` on. */
export interface Histories {
  readonly what: string;
  readonly first: number;
  readonly count: number;
}

export const ALONE: Histories = { what: 'with one dbproxy', first: 1, count: 16_000 };
export const PAIRS: Histories = { what: 'with two and a VIP', first: PAIRS_FROM, count: 4_000 };

// All it does is compute: others, who wait for servers, go first.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

const PROCESSES = Math.min(2, availableParallelism());

/** Histories are played from the event loop, not from a promise. */
export function fromEventLoop<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    setImmediate(() => resolve(work()));
  });
}

/** Defines the tests of these histories. */
export function testHistories({ what, first, count }: Histories): void {
  describe(`the control plane in a simulated world, ${what}`, () => {
    test(`breaks no invariant in ${count} histories`, async () => {
      const { histories, failures, promotions, outcomes } = await search(first, count, PROCESSES);
      assert.equal(histories, count);
      const words = failures.map(({ kind, seeds }) => `${kind} (npm run sim -- --story ${seeds[0]})`);
      assert.deepEqual(words, []);
      // A world in which nothing happens proves nothing.
      assert.ok(promotions > count / 5, `${promotions} promotions`);
      assert.ok(outcomes.acknowledged > 20 * count, `${outcomes.acknowledged} acknowledged writes`);
    });

    test('plays the same seed the same way', async () => {
      const scenario = scenarioOf(first + 3);
      const [one, other] = await fromEventLoop(() => [tell(scenario), tell(scenario)]);
      assert.deepEqual(one.story, other.story);
      assert.ok(one.story.length > 20);
    });
  });
}
