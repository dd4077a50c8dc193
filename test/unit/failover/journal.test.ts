import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import type { Notes } from '../../../src/failover/steps/notes.ts';
import {
  nextRun,
  openJournal,
  unfinishedRuns,
  type JournalEntry,
  type JournalEvent,
} from '../../../src/failover/journal.ts';
import { stepsOf, type PlanShape, type StepName } from '../../../src/failover/plan.ts';

const root = mkdtempSync(join(tmpdir(), 'dbproxy-journal-'));
after(() => rmSync(root, { recursive: true }));

let places = 0;
function place(): string {
  return join(root, String(++places));
}

const SHAPE: PlanShape = { kind: 'switchover', waitsForReplica: false };
const DECISION = {
  shape: SHAPE,
  target: 'db2',
  old: 'db1',
  only: null,
  force: false,
  oldWasReadOnly: false,
  because: 'SWITCHOVER of an operator',
} as const;
const NOTES: Notes = {
  target: 'db2',
  wasReadOnly: null,
  fencedPosition: null,
  stopped: [],
  rememberedBefore: 'db1',
  failoverWallMsBefore: null,
  recordTried: false,
  writableTried: false,
  loss: '',
};
const OPENED: JournalEvent = { event: 'opened', decision: DECISION, epoch: 4 };
const CLOSED: JournalEvent = { event: 'closed', result: 'done', detail: '', epoch: 5 };

function entry(event: JournalEvent, run = 1, cluster = 'main'): JournalEntry {
  return { run, cluster, wallMs: 1_000, ...event };
}

function begun(step: StepName, notes: Notes = NOTES): JournalEvent {
  return { event: 'begun', step, notes };
}

function done(step: StepName, notes: Notes = NOTES): JournalEvent {
  return { event: 'done', step, detail: '', notes };
}

/** A switchover from its beginning to its end. */
const WHOLE: readonly JournalEvent[] = [
  OPENED,
  ...stepsOf(SHAPE).flatMap((step) => [begun(step), done(step)]),
  CLOSED,
];

suite('the file', () => {
  test('is there for the next process, in the order of the entries', async () => {
    const directory = place();
    const journal = openJournal(directory);
    await Promise.all([
      journal.append(entry(OPENED), true),
      journal.append(entry(begun('hold')), false),
      journal.append(entry(done('hold')), false),
    ]);
    assert.deepEqual(journal.entries(), [entry(OPENED), entry(begun('hold')), entry(done('hold'))]);
    assert.deepEqual(openJournal(directory).entries(), journal.entries());
    const mode = statSync(join(directory, 'journal.jsonl')).mode & 0o777;
    assert.equal(mode & 0o007, 0, 'it is nobody else’s to read');
  });

  test('cut off at any byte, is what had been written whole; and goes on from there', async () => {
    const directory = place();
    const path = join(directory, 'journal.jsonl');
    const journal = openJournal(directory);
    await journal.append(entry(OPENED), true);
    const firstBytes = statSync(path).size;
    await journal.append(entry(begun('hold')), true);
    const text = readFileSync(path);
    for (let bytes = firstBytes; bytes < text.length; bytes++) {
      writeFileSync(path, text.subarray(0, bytes));
      const again = openJournal(directory);
      assert.deepEqual(again.entries(), [entry(OPENED)], `${bytes} bytes`);
      await again.append(entry(CLOSED), true);
      assert.deepEqual(openJournal(directory).entries(), [entry(OPENED), entry(CLOSED)], `${bytes} bytes`);
    }
  });

  test('with a whole line in it that is no entry is refused, and says which', () => {
    for (const line of ['{"run":1', 'null', '[]', '{"run":"1","cluster":"main","event":"opened"}', '']) {
      const directory = place();
      mkdirSync(directory);
      writeFileSync(join(directory, 'journal.jsonl'), `${JSON.stringify(entry(OPENED))}\n${line}\n`);
      assert.throws(() => openJournal(directory), {
        code: 'DBPROXY_STATE_UNREADABLE',
        message: /journal\.jsonl' .*line 2 is no entry/,
      });
    }
  });

  test('that cannot be written is an error, and the entry is not there, neither now nor later', async () => {
    const directory = place();
    const path = join(directory, 'journal.jsonl');
    const journal = openJournal(directory);
    await journal.append(entry(OPENED), true);
    const text = readFileSync(path);
    // A directory in its place, as root heeds no permissions.
    rmSync(path);
    mkdirSync(path);
    await assert.rejects(journal.append(entry(begun('hold')), true), { code: 'DBPROXY_STATE_FILE' });
    assert.deepEqual(journal.entries(), [entry(OPENED)]);
    rmSync(path, { recursive: true });
    writeFileSync(path, text);
    await journal.append(entry(begun('fence')), true);
    assert.deepEqual(openJournal(directory).entries(), [entry(OPENED), entry(begun('fence'))]);
  });

  test('with the half of an entry in it, as a full disk leaves it, is written over from there', async () => {
    const directory = place();
    const path = join(directory, 'journal.jsonl');
    const journal = openJournal(directory);
    await journal.append(entry(OPENED), true);
    appendFileSync(path, JSON.stringify(entry(begun('make_writable'))).slice(0, 60));
    await journal.append(entry(begun('hold')), true);
    assert.deepEqual(openJournal(directory).entries(), [entry(OPENED), entry(begun('hold'))]);
  });

  test('with a whole entry in it that was reported as not written is written over, to its end', async () => {
    const directory = place();
    const path = join(directory, 'journal.jsonl');
    const journal = openJournal(directory);
    await journal.append(entry(OPENED), true);
    appendFileSync(path, `${JSON.stringify(entry(begun('hold', { ...NOTES, loss: 'x'.repeat(500) })))}\n`);
    await journal.append(entry(CLOSED), true);
    assert.deepEqual(openJournal(directory).entries(), [entry(OPENED), entry(CLOSED)]);
  });

  test('is set aside when it has grown, but only once a promotion has been closed', async () => {
    const directory = place();
    const path = join(directory, 'journal.jsonl');
    const journal = openJournal(directory);
    const long = { ...NOTES, loss: 'x'.repeat(600_000) };
    await journal.append(entry(OPENED), true);
    await journal.append(entry(begun('hold', long)), true);
    await journal.append(entry(begun('fence', long)), true);
    assert.equal(openJournal(directory).entries().length, 3, 'an unfinished promotion is never set aside');
    await journal.append(entry(CLOSED), true);
    assert.equal(readFileSync(`${path}.1`, 'utf8').trimEnd().split('\n').length, 4);
    assert.deepEqual(journal.entries(), [entry(CLOSED)]);
    assert.equal(nextRun(journal.entries()), 2, 'the numbers go on');
    await journal.append(entry(OPENED, 2), true);
    assert.deepEqual(openJournal(directory).entries(), [entry(CLOSED), entry(OPENED, 2)]);
  });

  test('is set aside beside an unfinished promotion of another cluster, of which nothing is forgotten', async () => {
    const long = { ...NOTES, loss: 'x'.repeat(1_200_000) };
    const failed = { event: 'failed', step: 'record', detail: 'no space' } as const;
    const stands: readonly (readonly JournalEvent[])[] = [
      [OPENED],
      [OPENED, begun('hold'), done('hold'), begun('fence')],
      [OPENED, begun('hold'), begun('record'), failed, { event: 'undone', step: 'record', detail: '' }],
      [OPENED, begun('make_writable', { ...NOTES, writableTried: true })],
      WHOLE.slice(0, -1),
    ];
    for (const stand of stands) {
      const directory = place();
      const path = join(directory, 'journal.jsonl');
      const journal = openJournal(directory);
      await journal.append(entry(OPENED, 2), true);
      for (const event of stand) {
        await journal.append(entry(event, 1, 'other'), true);
        await journal.append(entry(begun('hold'), 2), true);
      }
      await journal.append(entry(begun('hold', long), 2), true);
      const before = unfinishedRuns(journal.entries()).filter(({ run }) => run === 1);
      assert.equal(before.length, 1);
      await journal.append(entry(CLOSED, 2), true);
      assert.ok(statSync(path).size < 10_000);
      assert.deepEqual(unfinishedRuns(journal.entries()), before);
      const next = openJournal(directory);
      assert.deepEqual(unfinishedRuns(next.entries()), before);
      assert.equal(nextRun(next.entries()), 3);
      await next.append(entry(CLOSED, 1, 'other'), true);
      assert.deepEqual(unfinishedRuns(openJournal(directory).entries()), []);
    }
  });

  test('that cannot be set aside goes on as it is', async () => {
    const directory = place();
    const journal = openJournal(directory);
    mkdirSync(join(directory, 'journal.jsonl.new'));
    await journal.append(entry(OPENED), true);
    await journal.append(entry(begun('hold', { ...NOTES, loss: 'x'.repeat(1_200_000) })), true);
    await journal.append(entry(CLOSED), true);
    assert.equal(journal.entries().length, 3);
    await journal.append(entry(OPENED, 2), true);
    assert.equal(openJournal(directory).entries().length, 4);
  });
});

suite('what is unfinished', () => {
  const unfinished = (events: readonly JournalEvent[]): ReturnType<typeof unfinishedRuns> =>
    unfinishedRuns(events.map((event) => entry(event)));

  test('nothing, before a promotion and when it has been closed', () => {
    assert.deepEqual(unfinished([]), []);
    assert.deepEqual(unfinished(WHOLE), []);
  });

  for (let length = 1; length < WHOLE.length; length++) {
    const last = WHOLE[length - 1]!;
    const step = last.event === 'begun' || last.event === 'done' ? last.step : null;
    test(`a switchover of which ${length} entries were written: at ${step ?? 'its beginning'}`, () => {
      const [run, ...others] = unfinished(WHOLE.slice(0, length));
      assert.deepEqual(others, []);
      assert.equal(run?.step, step);
      assert.equal(run.undoing, false);
      assert.deepEqual(run.decision, DECISION);
    });
  }

  test('a step that failed before the point of no return is being taken back', () => {
    for (const event of ['failed', 'undone'] as const) {
      const events: JournalEvent[] = [OPENED, begun('fence'), { event, step: 'fence', detail: '' }];
      assert.equal(unfinished(events)[0]?.undoing, true);
    }
  });

  test('a step that failed after it is a gap, and it goes forward', () => {
    const events = [OPENED, begun('repoint'), { event: 'failed', step: 'repoint', detail: '' } as const];
    assert.deepEqual(
      unfinished(events).map(({ step, undoing }) => [step, undoing]),
      [['repoint', false]],
    );
  });

  test('the notes are those that were written last', () => {
    const later = { ...NOTES, fencedPosition: '0-1-7' };
    const [run] = unfinished([OPENED, begun('fence'), done('fence', later)]);
    assert.equal(run?.notes?.fencedPosition, '0-1-7');
  });

  test('entries of a promotion whose beginning is not there are nobody’s', () => {
    assert.deepEqual(unfinished([begun('record'), done('record')]), []);
  });

  test('of two clusters whose entries stand one among the other’s is told of each by itself', () => {
    const others = [OPENED, begun('hold'), done('hold'), begun('fence')];
    for (let count = 1; count <= WHOLE.length; count++) {
      const mixed = WHOLE.slice(0, count).flatMap((event, index) => {
        const other = others[index];
        return [entry(event, 1), ...(other === undefined ? [] : [entry(other, 2, 'other')])];
      });
      const alone = unfinishedRuns(WHOLE.slice(0, count).map((event) => entry(event)));
      const beside = unfinishedRuns(others.slice(0, count).map((event) => entry(event, 2, 'other')));
      assert.deepEqual(unfinishedRuns(mixed), [...alone, ...beside]);
    }
  });

  test('is no promotion after which another one of the same cluster has begun: it had ended, unwritten', () => {
    const entries = [entry(OPENED, 3), entry(OPENED, 4, 'other'), entry(begun('hold'), 3), entry(OPENED, 5)];
    assert.deepEqual(
      unfinishedRuns([...entries, entry(begun('fence'), 3)]).map(({ run }) => run),
      [4, 5],
    );
  });

  test('several, the oldest first; and no number is used twice', () => {
    const entries = [entry(OPENED, 3), entry(OPENED, 4, 'other'), entry(begun('hold'), 3)];
    assert.deepEqual(
      unfinishedRuns(entries).map(({ run, cluster }) => [run, cluster]),
      [
        [3, 'main'],
        [4, 'other'],
      ],
    );
    assert.equal(nextRun(entries), 5);
    assert.equal(nextRun([]), 1);
  });
});
