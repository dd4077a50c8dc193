/** Histories that once broke something, and the proof that the simulator would notice. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { ALONE, fromEventLoop, PAIRS } from './histories.ts';
import { play } from './history.ts';
import { NO_MUTATIONS, type Mutations } from './mutations.ts';
import type { Scenario } from './scenario.ts';
import { search } from './search.ts';

/** Each deliberate breakage is found within so many histories. */
const MUTATED_HISTORIES = 10_000;
/** Each kept scenario is played in so many worlds. */
const WORLDS = 25;

/** The same faults under other winds: a kept scenario must not depend on the delay of one message. */
function playInWorlds(scenario: Scenario): string[] {
  return Array.from({ length: WORLDS }, (_, index) => {
    const { violation } = play({ ...scenario, seed: scenario.seed + index });
    return violation === null ? '' : `seed ${scenario.seed + index}: ${violation.detail}`;
  }).filter((one) => one !== '');
}

describe('a scenario that once broke something', () => {
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
