import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unfinishedRuns, type UnfinishedRun } from '../../../src/failover/journal.ts';
import { eventsOf, sharedPartOf, unfinishedFrom } from '../../../src/failover/shared-run.ts';
import type { Notes } from '../../../src/failover/steps/notes.ts';
import type { PromotionUnderWay } from '../../../src/topology/state-file.ts';

const NOTES: Notes = {
  target: 'db2',
  wasReadOnly: false,
  fencedPosition: '0-1-7',
  stopped: ['db3'],
  rememberedBefore: 'db1',
  failoverWallMsBefore: null,
  recordTried: false,
  writableTried: false,
  loss: '',
};

const RUN: UnfinishedRun = {
  run: 7,
  cluster: 'main',
  decision: {
    shape: { kind: 'switchover', waitsForReplica: true },
    target: 'db2',
    old: 'db1',
    only: null,
    force: false,
    isAutomatic: false,
    oldWasReadOnly: false,
    because: 'a test',
  },
  epoch: 4,
  step: 'fence',
  sinceWallMs: 1_000,
  undoing: false,
  notes: NOTES,
};

/** As the other one reads it from the state. */
function kept(run: UnfinishedRun): PromotionUnderWay {
  const text = JSON.stringify({
    by: 'a',
    number: run.run,
    ofEpoch: 4,
    target: 'db2',
    run: sharedPartOf(run),
  });
  return JSON.parse(text) as PromotionUnderWay;
}

const RUNS: readonly UnfinishedRun[] = [
  RUN,
  { ...RUN, undoing: true },
  { ...RUN, step: null, notes: undefined },
  { ...RUN, step: 'make_writable' },
];

test('the other one reads what was kept, under a number of its own, and so does its next process', () => {
  for (const run of RUNS) {
    const read = unfinishedFrom(kept(run), 'main', 31);
    assert.deepEqual(read, { ...run, run: 31 });
    const entries = eventsOf(read).map((event) => ({ run: 31, cluster: 'main', wallMs: 1_000, ...event }));
    assert.deepEqual(unfinishedRuns(entries), [{ ...run, run: 31 }]);
  }
});

test('what another version has kept in its own way is nothing that can be taken up', () => {
  const { run } = kept(RUN);
  const strange: Record<string, unknown>[] = [
    {},
    { ...run, decision: { target: 'db2' } },
    { ...run, decision: { ...RUN.decision, shape: { kind: 'wander' } } },
    { ...run, step: 'sing' },
    // It has the steps of a failover alone.
    { ...run, step: 'elect' },
    { ...run, notes: undefined },
    { ...run, epoch: '4' },
  ];
  for (const one of strange) assert.equal(unfinishedFrom({ ...kept(RUN), run: one }, 'main', 31), null);
});
