/**
 * Every diagnosis by example: each file of `test/scenarios` is a cluster at one moment and what is to be found
 * there. The files are named `<Diagnosis>-<case>.json`; a case that begins with `near` is one where it only
 * looks like that diagnosis.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { diagnose } from '../../../src/failover/diagnosis.ts';
import type { Action, DiagnosisName } from '../../../src/failover/findings/finding.ts';
import { divergencesOf } from '../../../src/failover/divergence.ts';
import { stepsOf } from '../../../src/failover/plan.ts';
import { surveyOf, type ClusterDescription } from '../../support/clusters.ts';

interface Scenario extends ClusterDescription {
  readonly about: string;
  readonly expect: {
    /** All findings, the gravest first. */
    readonly findings: readonly [DiagnosisName, ...DiagnosisName[]];
    /** Of the first one. */
    readonly action: Action;
    /** What the detail of the first one says, among other things. */
    readonly words: readonly string[];
  };
}

const DIRECTORY = join(import.meta.dirname, '../../scenarios');

/** Every name, by the compiler's word: one that is missing here does not typecheck. */
const NAMES: Readonly<Record<DiagnosisName, true>> = {
  PromotionUnderWay: true,
  PromotionUnfinished: true,
  PeerUnheard: true,
  BothInCharge: true,
  PeerUnreachable: true,
  NotInCharge: true,
  StaleEpoch: true,
  TwoWritablePrimaries: true,
  PrimaryDown: true,
  NoSafeCandidate: true,
  Isolated: true,
  CheckerBroken: true,
  PrimaryUnreachableButReplicasSeeIt: true,
  PrimaryUnreachableNoWitness: true,
  AllServersGone: true,
  PrimaryHung: true,
  PrimaryLocked: true,
  PrimaryReadOnly: true,
  PrimaryReplicates: true,
  NoWritablePrimary: true,
  OldPrimaryWritable: true,
  ReplicaWritable: true,
  PrimarySuspect: true,
  StateNotWritable: true,
  MonitorAccountRefused: true,
  CommitsWait: true,
  AllReplicasGone: true,
  SemiSyncDegraded: true,
  NobodyElectable: true,
  OnlyLaggingCandidate: true,
  ReplicaDiverged: true,
  ReplicaLeftBehind: true,
  ReplicaBroken: true,
  ReplicaStopped: true,
  ReplicaGone: true,
  ReplicaOrphaned: true,
  ReplicaLagging: true,
  OldPrimaryReturned: true,
  NobodyInCharge: true,
  InMaintenance: true,
  AllHealthy: true,
};

const scenarios = readdirSync(DIRECTORY)
  .filter((file) => file.endsWith('.json'))
  .sort()
  .map((file) => {
    const [, about = '', name = ''] = /^(\w+)-([\w-]+)\.json$/.exec(file) ?? [];
    const scenario = JSON.parse(readFileSync(join(DIRECTORY, file), 'utf8')) as Scenario;
    return { file, about, isNear: name.startsWith('near'), scenario };
  });

suite('scenarios', () => {
  for (const { file, scenario } of scenarios) {
    test(`${file}: ${scenario.about}`, () => {
      const { findings, action, words } = scenario.expect;
      const survey = surveyOf(scenario);
      const found = diagnose({ ...survey, diverged: divergencesOf(survey, survey.diverged) });
      assert.deepEqual(
        found.map(({ name }) => name),
        findings,
      );
      assert.deepEqual(found[0].action, action);
      for (const word of words) assert.ok(found[0].detail.includes(word), `"${word}": ${found[0].detail}`);
    });
  }
});

suite('docs/failover.md', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/failover.md'), 'utf8');
  const sectionOf = (title: string): string[] => {
    const [, section = ''] = text.split(`\n## ${title}\n`);
    const [own = ''] = section.split('\n## ');
    return [...own.matchAll(/^\| `(\w+)`/gm)].map(([, name = '']) => name);
  };

  test('has a row for each diagnosis, and none for others', () => {
    assert.deepEqual(sectionOf('The diagnoses').toSorted(), Object.keys(NAMES).toSorted());
  });

  test('has the steps of a switchover in their order, and no step of a failover that is none', () => {
    const switchover = stepsOf({ kind: 'switchover', waitsForReplica: false });
    assert.deepEqual(sectionOf('A switchover, step by step'), ['check', ...switchover]);
    const failover = stepsOf({ kind: 'failover', waitsForReplica: false });
    const told = sectionOf('A failover, step by step');
    assert.deepEqual(
      told,
      failover.filter((step) => told.includes(step)),
    );
    for (const step of failover) {
      assert.ok(told.includes(step) || (switchover as string[]).includes(step), step);
    }
  });
});

suite('the scenarios', () => {
  for (const name of Object.keys(NAMES) as DiagnosisName[]) {
    test(`of ${name}: one that has it at least, and one that has not`, () => {
      const own = scenarios.filter(({ about }) => about === name);
      const having = own.filter(({ scenario }) => scenario.expect.findings.includes(name));
      assert.notEqual(having.length, 0, 'a scenario that gives it');
      // All is well, or it is not: what is near to that is all the others.
      const near = name === 'AllHealthy' ? scenarios : own;
      assert.ok(
        near.some(({ scenario }) => !scenario.expect.findings.includes(name)),
        'a near miss',
      );
    });
  }

  test('are named after a diagnosis that they are about', () => {
    for (const { file, about, isNear, scenario } of scenarios) {
      assert.ok(Object.hasOwn(NAMES, about), file);
      assert.equal(scenario.expect.findings.includes(about as DiagnosisName), !isNear, file);
    }
  });
});
