/**
 * A long hunt by hand:
 *
 *   node test/differential/random/run.ts --flavour mariadb --statements 100000 [--seed N]
 *        [--profile transaction,session] [--failures 1] [--shrink 60] [--minutes 60] [--keep FOLDER]
 *        [--known PATTERN]
 *   node test/differential/random/run.ts --scenario FILE [--times 1] [--profile NAME]
 *
 * The first goes from seed to seed; `--keep` writes each failure as a scenario into a folder, and
 * failures whose name fits the pattern of `--known` are only counted. The second
 * plays such a file again. Exit code 1 when the two sides differed.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { LabFlavour } from '../../lab/flavours.ts';
import { Arena } from './arena.ts';
import { report, signature } from './difference.ts';
import { ENDPOINTS, SPLIT_PROFILES } from './endpoints.ts';
import { hunt, tryScenario, type Failure } from './hunt.ts';
import type { ProfileName, Scenario } from './scenario.ts';

const PROGRESS_EVERY = 5_000;

const { values } = parseArgs({
  options: {
    flavour: { type: 'string', default: 'mariadb' },
    statements: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    profile: { type: 'string' },
    failures: { type: 'string', default: '1' },
    shrink: { type: 'string', default: '60' },
    minutes: { type: 'string', default: '600' },
    keep: { type: 'string' },
    known: { type: 'string' },
    scenario: { type: 'string' },
    times: { type: 'string', default: '1' },
  },
});

process.exitCode = (await (values.scenario === undefined ? huntByHand() : playFile(values.scenario))) ? 0 : 1;

/** Answers whether both sides agreed. */
async function huntByHand(): Promise<boolean> {
  const flavour = asFlavour(values.flavour);
  const profiles = values.profile === undefined ? SPLIT_PROFILES : asProfiles(values.profile);
  const seed = Number(values.seed);
  const started = performance.now();
  const seconds = (): string => ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${flavour}, endpoints ${profiles.join(', ')}, first seed ${seed}`);
  let said = 0;
  const result = await hunt({
    flavour,
    profiles,
    seed,
    statements: Number(values.statements),
    timeoutMs: Number(values.minutes) * 60_000,
    mostFailures: Number(values.failures),
    shrinkMs: Number(values.shrink) * 1000,
    ...(values.known === undefined ? {} : { known: new RegExp(values.known) }),
    onProgress(statements) {
      if (statements - said < PROGRESS_EVERY) return;
      said = statements;
      console.log(`${statements} statements, ${seconds()} s`);
    },
    onFailure(failure) {
      console.log(`\n=== ${signature(failure.scenario, failure.difference)}`);
      console.log(`${report(failure.scenario, failure.difference)}\n${failure.complaints.join('\n')}`);
      keep(failure);
    },
  });
  const { statements, scenarios, failures, knownFailures, refusals, served } = result;
  console.log(
    `${statements} statements in ${scenarios} scenarios, ${seconds()} s: ${failures.length} differences and ${knownFailures} known ones; refused: ${JSON.stringify(refusals)}; served: ${JSON.stringify(served)}`,
  );
  return failures.length === 0;
}

async function playFile(file: string): Promise<boolean> {
  const kept = JSON.parse(readFileSync(file, 'utf8')) as Scenario;
  const scenario = values.profile === undefined ? kept : { ...kept, profile: asProfiles(values.profile)[0]! };
  const arena = await Arena.open(scenario.flavour, [scenario.profile]);
  try {
    for (let time = 1; time <= Number(values.times); time++) {
      const failure = await tryScenario(arena, scenario, 0);
      console.log(failure === null ? `${time}: equal` : report(failure.scenario, failure.difference));
      if (failure !== null) return false;
    }
    return true;
  } finally {
    await arena.close();
  }
}

function keep({ scenario }: Failure): void {
  if (values.keep === undefined) return;
  mkdirSync(values.keep, { recursive: true });
  const file = join(values.keep, `${scenario.flavour}-${scenario.profile}-${scenario.seed}.json`);
  writeFileSync(file, `${JSON.stringify(scenario, null, 2)}\n`);
}

function asFlavour(name: string): LabFlavour {
  if (name !== 'mariadb' && name !== 'mysql97' && name !== 'mysql56') throw new Error(`no flavour ${name}`);
  return name;
}

function asProfiles(names: string): ProfileName[] {
  return names.split(',').map((name) => {
    if (!(name in ENDPOINTS))
      throw new Error(`no endpoint ${name}; there are ${Object.keys(ENDPOINTS).join(', ')}`);
    return name as ProfileName;
  });
}
