/** What two journals and the state that both have say of one promotion. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import { unfinishedRuns, type Journal, type JournalEntry } from '../../../src/failover/journal.ts';
import { RunJournal } from '../../../src/failover/run-journal.ts';
import type { SharedRuns } from '../../../src/failover/shared-run.ts';
import { firstNotes } from '../../../src/failover/steps/notes.ts';
import type { PromotionUnderWay } from '../../../src/topology/state-file.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

const SHAPE = { kind: 'switchover', waitsForReplica: true } as const;
const DECISION = {
  shape: SHAPE,
  target: 'db2',
  old: 'db1',
  only: null,
  force: false,
  oldWasReadOnly: false,
  because: 'a test',
};
const NOTES = firstNotes(new FakeProcess(new FakeCluster(['db1', 'db2'])).world, 'main', 'db2');

/** A disk of one host, and what both have. */
class Host {
  readonly entries: JournalEntry[] = [];
  isFull = false;
  readonly #kept: { promotion: PromotionUnderWay | null };

  constructor(kept: { promotion: PromotionUnderWay | null }) {
    this.#kept = kept;
  }

  process(by: string, inCharge = true): RunJournal {
    const kept = this.#kept;
    const journal: Journal = {
      entries: () => this.entries,
      append: async (entry) => {
        if (this.isFull) throw new Error('no space left on device');
        this.entries.push(entry);
      },
    };
    const shared: SharedRuns = {
      by,
      clusters: ['main'],
      keptOf: () => kept.promotion,
      runOf: () => (inCharge || kept.promotion?.by === by ? kept.promotion : null),
      note: async (_cluster, promotion, replaces) => {
        if (this.isFull || !replaces(kept.promotion)) throw new Error('it is not noted');
        kept.promotion = { ...promotion, ofEpoch: 4 };
      },
      end: async (_cluster, ended) => {
        if (kept.promotion !== null && ended(kept.promotion)) kept.promotion = null;
      },
    };
    return new RunJournal({ clock: new FakeClock(), log: silentLog, journal, shared });
  }

  get unfinished(): number[] {
    return unfinishedRuns(this.entries).map(({ run }) => run);
  }
}

function pair(): { here: Host; there: Host; kept: { promotion: PromotionUnderWay | null } } {
  const kept: { promotion: PromotionUnderWay | null } = { promotion: null };
  return { here: new Host(kept), there: new Host(kept), kept };
}

async function fenced(
  journal: RunJournal,
): Promise<{ number: number; cluster: string; shape: typeof SHAPE }> {
  const run = { number: journal.nextRun(), cluster: 'main', shape: SHAPE };
  await journal.write(run, { event: 'opened', decision: DECISION, epoch: 4 });
  await journal.begin(run, 'fence', NOTES);
  return run;
}

const NOBODY = (): boolean => false;

suite('a promotion that both of a pair have', () => {
  test('is not carried on by who comes back after the other one has taken it up, nor after that one has ended it', async () => {
    const { here, there, kept } = pair();
    const first = here.process('here');
    const run = await fenced(first);
    const other = there.process('there');
    const [taken] = other.unfinished();
    assert.equal(first.isOvertaken('main'), false);
    await other.takeOver(taken!);
    assert.equal(first.isOvertaken('main'), true);
    await assert.rejects(first.begin(run, 'record', NOTES), /not noted/);
    await other.close(taken!.run, 'main', { event: 'closed', result: 'undone', detail: '', epoch: 4 });
    assert.equal(kept.promotion, null);
    assert.equal(first.isOvertaken('main'), true);
    await assert.rejects(first.begin(run, 'make_writable', NOTES), /not noted/);
    await first.closeSuperseded(NOBODY, () => 4);
    assert.deepEqual([here.unfinished, first.unfinished()], [[], []]);
  });

  test('and that could not be written down when it was taken up stays unfinished, under the same number', async () => {
    const { here, there, kept } = pair();
    await fenced(here.process('here'));
    // So that the numbers of the two are not the same.
    const other = there.process('there');
    for (let count = 0; count < 5; count++) other.nextRun();
    there.isFull = true;
    const [taken] = other.unfinished();
    await other.takeOver(taken!);
    await other.closeSuperseded(NOBODY, () => 4);
    assert.deepEqual(
      other.unfinished().map(({ run }) => run),
      [taken!.run],
    );
    there.isFull = false;
    await other.takeOver(taken!);
    await other.closeSuperseded(NOBODY, () => 4);
    assert.deepEqual(
      other.unfinished().map(({ run }) => run),
      [taken!.run],
    );
    assert.deepEqual([kept.promotion?.by, there.unfinished], ['there', [taken!.run]]);
  });

  test('of the same number as an old one here ends the old one', async () => {
    const { here, there } = pair();
    const first = here.process('here');
    const { number } = await fenced(first);
    const other = there.process('there');
    const [taken] = other.unfinished();
    await other.close(taken!.run, 'main', { event: 'closed', result: 'undone', detail: '', epoch: 4 });
    there.entries.length = 0;
    const next = there.process('there again');
    assert.equal((await fenced(next)).number, number);
    await first.closeSuperseded(NOBODY, () => 4);
    assert.deepEqual(here.unfinished, []);
  });

  test('is known to be past the point of no return by both, from the first step behind it on', async () => {
    const { here, there } = pair();
    const first = here.process('here');
    const run = await fenced(first);
    await first.begin(run, 'make_writable', NOTES);
    await first.begin(run, 'weights', NOTES);
    await new Promise(setImmediate);
    assert.equal(there.process('there').unfinished()[0]?.step, 'weights');
  });

  test('is for who is in charge', async () => {
    const { here, there } = pair();
    await fenced(here.process('here'));
    assert.deepEqual(there.process('there', false).unfinished(), []);
  });
});
