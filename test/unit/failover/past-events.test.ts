import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { JournalEntry, JournalEvent } from '../../../src/failover/journal.ts';
import { pastEvents } from '../../../src/failover/past-events.ts';
import { EMPTY_STATE } from '../../../src/topology/state-file.ts';

const OPENED: JournalEvent = {
  event: 'opened',
  epoch: 4,
  decision: {
    shape: { kind: 'failover', waitsForReplica: false },
    ...{ target: 'db2', old: 'db1', only: null, force: false, oldWasReadOnly: null },
    because: 'DeadPrimary: db1 is dead',
  },
};
const FAILED: JournalEvent = { event: 'failed', step: 'fence', detail: 'no answer' };
const DONE: JournalEvent = { event: 'closed', result: 'done', detail: 'primary since epoch 5', epoch: 5 };
const UNDONE: JournalEvent = { event: 'closed', result: 'undone', detail: 'step fence failed', epoch: 4 };

/** Each a second after the one before. */
function journal(...events: readonly [run: number, event: JournalEvent][]): JournalEntry[] {
  return events.map(([run, event], index) => ({ run, cluster: 'main', wallMs: index * 1_000, ...event }));
}

function told(entries: readonly JournalEntry[]): unknown[] {
  return pastEvents(entries, EMPTY_STATE, ['main']).map((past): unknown => Object.values(past));
}

suite('the timeline after a restart', () => {
  test('has each promotion that has ended, as it ended, at its time and in the order of the ends', () => {
    const entries = journal([1, OPENED], [2, OPENED], [2, FAILED], [2, UNDONE], [1, DONE]);
    assert.deepEqual(told(entries), [
      [
        'promote.undone',
        'db2',
        'step fence failed; the epoch was 4 then; because: DeadPrimary: db1 is dead',
        3_000,
      ],
      ['promote.done', 'db2', 'primary since epoch 5; because: DeadPrimary: db1 is dead', 4_000],
    ]);
  });

  test('does not say that one was taken back that was given up, nor that one has ended that has not', () => {
    const given: JournalEvent = { event: 'closed', result: 'undone', detail: 'given up by FORCE', epoch: 4 };
    const [first, ...others] = pastEvents(journal([1, OPENED], [1, given], [2, OPENED]), EMPTY_STATE, []);
    assert.equal(first!.event, 'promote.closed');
    assert.deepEqual(others, []);
  });

  test('has the end alone of one whose beginning is in a file that was set aside', () => {
    assert.deepEqual(told(journal([9, DONE])), [['promote.done', 'main', 'primary since epoch 5', 0]]);
  });

  test('says who is remembered as the primary, by the clusters that there are', () => {
    const clusters = {
      main: { primary: 'db2', epoch: 3 },
      other: { primary: 'db7' },
      gone: { primary: 'x' },
    };
    const events = pastEvents([], { epoch: 5, clusters, backends: {} }, ['main', 'other', 'new']);
    assert.deepEqual(
      events.map(({ subject, detail, wallMs }) => [subject, detail, wallMs]),
      [
        ['main', 'dbproxy starts, and remembers db2 as the primary of epoch 3', null],
        ['other', 'dbproxy starts, and remembers db7 as the primary of epoch 5', null],
      ],
    );
  });
});
