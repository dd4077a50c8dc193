/**
 * The differential random test as part of `npm test`, at one kind of server: the scenarios that have once
 * failed, then fixed seeds, then seeds that are new each time. A failure says how to have it again.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { forEachFlavour, type LabFlavour } from '../../lab/flavours.ts';
import { Arena } from './arena.ts';
import { report } from './difference.ts';
import { SPLIT_PROFILES } from './endpoints.ts';
import { huntIn, tryScenario, type HuntResult } from './hunt.ts';
import { keptScenarios } from './kept.ts';
import type { ProfileName } from './scenario.ts';

/** Together about 3,000 statements a run. */
const FIXED_STATEMENTS = 1_500;
const NEW_STATEMENTS = 1_500;
/** No scenario begins later than this after the first of its test. */
const TIMEOUT_MS = 17_000;
const SHRINK_MS = 15_000;
const FIXED_SEED = 20_261_121;
/** Of the scenarios of one test, which are few; documented refusals beyond that would hide too much. */
const MOST_REFUSED_PERCENT = 40;

/** Defines the tests, through the split endpoints. */
export function randomSuite(kind: LabFlavour): void {
  forEachFlavour(() => {
    describe(`random sessions on ${kind}, direct and split`, () => {
      let arena: Arena;
      before(async () => {
        arena = await Arena.open(kind, ['write', ...SPLIT_PROFILES]);
      });
      after(() => arena?.close());

      for (const { name, why, scenario } of keptScenarios(kind)) {
        it(`${name}: ${why}`, async () => {
          const failure = await tryScenario(arena, scenario, 0);
          if (failure !== null) assert.fail(report(failure.scenario, failure.difference));
        });
      }

      it('the write endpoint answers as the server does', async (context) => {
        const result = await huntSome(arena, ['write'], FIXED_SEED, FIXED_STATEMENTS / 2);
        context.diagnostic(summary(result, FIXED_SEED));
      });

      it('split endpoints answer as one server does, fixed seeds', async (context) => {
        const result = await huntSome(arena, SPLIT_PROFILES, FIXED_SEED, FIXED_STATEMENTS);
        context.diagnostic(summary(result, FIXED_SEED));
      });

      it('split endpoints answer as one server does, new seeds', async (context) => {
        const seed = Date.now() % 1_000_000_000;
        const result = await huntSome(arena, SPLIT_PROFILES, seed, NEW_STATEMENTS);
        context.diagnostic(summary(result, seed));
        // Were all sent to the primary, the comparison would prove nothing.
        const { db1 = 0, db2 = 0 } = result.served;
        assert.ok(db2 > 0 && db1 > 0, `served: ${JSON.stringify(result.served)}`);
      });
    });
  }, [kind]);
}

/** Fails with the first difference. */
async function huntSome(
  arena: Arena,
  profiles: readonly ProfileName[],
  seed: number,
  statements: number,
): Promise<HuntResult> {
  const result = await huntIn(arena, {
    flavour: arena.flavour,
    profiles,
    seed,
    statements,
    timeoutMs: TIMEOUT_MS,
    mostFailures: 1,
    shrinkMs: SHRINK_MS,
  });
  const [failure] = result.failures;
  if (failure !== undefined) {
    assert.fail(`${report(failure.scenario, failure.difference)}\n${failure.complaints.join('\n')}`);
  }
  const refused = Object.values(result.refusals).reduce((sum, count) => sum + count, 0);
  assert.ok(refused * 100 <= result.scenarios * MOST_REFUSED_PERCENT, summary(result, seed));
  return result;
}

function summary({ statements, scenarios, refusals, served }: HuntResult, seed: number): string {
  const counts = `${statements} statements in ${scenarios} scenarios from seed ${seed}`;
  return `${counts}; refused: ${JSON.stringify(refusals)}; served: ${JSON.stringify(served)}`;
}
