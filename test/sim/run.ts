/**
 * `npm run sim -- --histories N --seed S`: plays N histories, the seeds from S on, in all cores (`--processes P`).
 * `--story SEED` tells one of them, `--minimise SEED` with as few faults as still break the same rule, and prints
 * the scenario. `--keep SEED --why TEXT` puts it into test/sim/kept/, where every `npm test` plays it; TEXT says what
 * it once broke. `--mutation NAME` breaks something on purpose.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { minimised, play, tell } from './history.ts';
import { NO_MUTATIONS, type Mutations } from './mutations.ts';
import { scenarioOf, type Scenario } from './scenario.ts';
import { search, type Failures, type Findings } from './search.ts';

const KINDS_SHOWN = 40;
const SEEDS_SHOWN = 6;

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    processes: { type: 'string', default: String(availableParallelism()) },
    story: { type: 'string' },
    minimise: { type: 'string' },
    keep: { type: 'string' },
    why: { type: 'string', default: '' },
    mutation: { type: 'string' },
  },
});

const mutations: Mutations =
  values.mutation === undefined ? NO_MUTATIONS : { ...NO_MUTATIONS, [values.mutation]: true };
// Histories are played from the event loop, not from a promise.
if (values.story !== undefined) setImmediate(() => printStory(scenarioOf(Number(values.story))));
else if (values.minimise !== undefined) {
  setImmediate(() => printStory(minimised(scenarioOf(Number(values.minimise)), mutations)));
} else if (values.keep !== undefined) setImmediate(() => keep(scenarioOf(Number(values.keep)), values.why));
else await runMany();

/** With fewer faults, if it still breaks something; as it is otherwise. */
function keep(scenario: Scenario, why: string): void {
  const kept = play(scenario).violation === null ? scenario : minimised(scenario);
  const path = new URL(`kept/seed-${scenario.seed}.json`, import.meta.url);
  writeFileSync(path, `${JSON.stringify({ why, scenario: kept }, null, 2)}\n`);
}

function printStory(scenario: Scenario): void {
  const { result, story } = tell(scenario, mutations);
  console.log(story.join('\n'));
  console.log(JSON.stringify(scenario, null, 2));
  console.log(JSON.stringify(result, null, 2));
  if (result.violation !== null) process.exitCode = 1;
}

async function runMany(): Promise<void> {
  const startMs = performance.now();
  const findings = await search(Number(values.seed), Number(values.histories), Number(values.processes), {
    mutations,
  });
  printFindings(findings, (performance.now() - startMs) / 1000);
  if (findings.failed > 0) process.exitCode = 1;
}

function printFindings(findings: Findings, seconds: number): void {
  const { histories, failed, events, virtualMs, promotions, outcomes } = findings;
  printKinds('', findings.failures);
  printKinds('left to an operator: ', findings.leftToOperator.slice(0, 10));
  const each = (total: number): number => Math.round(total / histories);
  console.log(
    `${histories} histories, ${failed} failed, in ${seconds.toFixed(1)} s (${Math.round(histories / seconds)}/s); each ${each(events)} events in ${each(virtualMs)} ms of its time; ${promotions} promotions; statements: ${outcomes.acknowledged} acknowledged, ${outcomes.refused} refused, ${outcomes.unknown} unknown`,
  );
}

function printKinds(title: string, kinds: readonly Failures[]): void {
  for (const { kind, seeds } of kinds.slice(0, KINDS_SHOWN)) {
    console.log(`${title}${seeds.length} × ${kind}\n    seeds ${seeds.slice(0, SEEDS_SHOWN).join(' ')}`);
  }
}
