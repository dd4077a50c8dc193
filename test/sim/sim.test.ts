/**
 * The simulator: many histories of the real control plane in a simulated world, those that once broke something,
 * and the proof that it would notice.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { play, tell } from './history.ts';
import { NO_MUTATIONS, type Mutations } from './mutations.ts';
import { PAIRS_FROM, scenarioOf, type Scenario } from './scenario.ts';
import { search } from './search.ts';

/** In every `npm test`, with one dbproxy and with two; a run of more is `npm run sim`. */
const ALONE = { what: 'with one dbproxy', first: 1, count: 14_000 };
const PAIRS = { what: 'with two and a VIP', first: PAIRS_FROM, count: 6_000 };
/** Each deliberate breakage is found within so many histories. */
const MUTATED_HISTORIES = 10_000;
/** Each kept scenario is played in so many worlds. */
const WORLDS = 25;
const PROCESSES = Math.min(2, availableParallelism());

/** Histories are played from the event loop, not from a promise. */
function fromEventLoop<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    setImmediate(() => resolve(work()));
  });
}

/** The same faults under other winds: a kept scenario must not depend on the delay of one message. */
function playInWorlds(scenario: Scenario): string[] {
  return Array.from({ length: WORLDS }, (_, index) => {
    const { violation } = play({ ...scenario, seed: scenario.seed + index });
    return violation === null ? '' : `seed ${scenario.seed + index}: ${violation.detail}`;
  }).filter((one) => one !== '');
}

describe('the control plane in a simulated world', () => {
  for (const { what, first, count } of [ALONE, PAIRS]) {
    test(`breaks no invariant in ${count} histories ${what}`, async () => {
      const { histories, failures, promotions, outcomes } = await search(first, count, PROCESSES);
      assert.equal(histories, count);
      const words = failures.map(({ kind, seeds }) => `${kind} (npm run sim -- --story ${seeds[0]})`);
      assert.deepEqual(words, []);
      // A world in which nothing happens proves nothing.
      assert.ok(promotions > count / 5, `${promotions} promotions`);
      assert.ok(outcomes.acknowledged > 20 * count, `${outcomes.acknowledged} acknowledged writes`);
    });
  }

  for (const path of globSync('kept/*.json', { cwd: import.meta.dirname }).sort()) {
    const { why, scenario } = JSON.parse(readFileSync(join(import.meta.dirname, path), 'utf8')) as {
      why: string;
      scenario: Scenario;
    };
    test(`${basename(path)}: ${why}`, async () => {
      const violations = await fromEventLoop(() => playInWorlds(scenario));
      assert.deepEqual(violations, []);
    });
  }

  for (const { what, first } of [ALONE, PAIRS]) {
    test(`plays the same seed the same way, ${what}`, async () => {
      const scenario = scenarioOf(first + 3);
      const [one, other] = await fromEventLoop(() => [tell(scenario), tell(scenario)]);
      assert.deepEqual(one.story, other.story);
      assert.ok(one.story.length > 20);
    });
  }
});

describe('the simulator notices', () => {
  const breakages: Record<keyof Mutations, { what: string; rule: number; first?: number }> = {
    ignoresSemiSync: { what: 'a failover that does not ask who has acknowledged', rule: 2 },
    oneWitness: { what: 'a monitor that believes itself alone', rule: 8 },
    ignoresHold: { what: 'a worker that goes on while writes are held', rule: 1 },
    forgetsJournal: { what: 'a journal that has forgotten what was unfinished', rule: 5 },
    ignoresPeer: {
      what: 'two dbproxies of which each acts without asking the other',
      rule: 2,
      first: PAIRS.first,
    },
  };
  for (const [name, { what, rule, first = ALONE.first }] of Object.entries(breakages)) {
    test(what, async () => {
      const mutations = { ...NO_MUTATIONS, [name]: true };
      const { failures } = await search(first, MUTATED_HISTORIES, 1, { mutations, stopsAtRule: rule });
      const found = failures.map(({ kind }) => kind);
      assert.ok(
        found.some((kind) => kind.startsWith(`rule ${rule}:`)),
        `rule ${rule} is not among ${found.join('; ')}`,
      );
    });
  }
});
