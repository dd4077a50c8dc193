import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  missingForMs,
  noteAcknowledgements,
  type Acknowledgements,
} from '../../../src/failover/acknowledgements.ts';
import { surveyOf, type ServerDescription } from '../../support/clusters.ts';

/** One look at a primary: commits that wait, acknowledged so far, replicas connected; and how its replica is. */
interface Look {
  readonly waiting?: number;
  readonly acknowledged?: number;
  readonly clients?: number;
  /** Of db2; by default it answers, and is connected. */
  readonly replica?: ServerDescription;
  /** How far db2 has received. */
  readonly at?: number;
}

const GONE: ServerDescription = { down: 'connection refused' };
const MUTE: ServerDescription = { answers: true, replicaSide: { live: false } };
const SILENT: ServerDescription = { answers: true, hears: 'silent' };

/** What is known after looks that are one second apart: for how long none has come. */
function afterLooks(looks: readonly Look[]): number {
  let known: Acknowledgements | null = null;
  let missingMs = 0;
  for (const [index, look] of looks.entries()) {
    const seenMs = 200_000 + index * 1_000;
    const { waiting = 0, acknowledged = 0, clients = 1, replica = { answers: true }, at } = look;
    const receivedFile = at === undefined ? null : { file: 'binlog.000001', position: at };
    const survey = {
      ...surveyOf({
        cluster: { semiSync: 'require' },
        servers: {
          db1: { waitsFor: clients, primarySide: { waiting, acknowledged }, record: { seenMs } },
          db2: {
            from: 'db1',
            ...replica,
            replication: { receivedFile, heartbeatPeriodMs: 500 },
            record: { seenMs, receiverSeenMs: replica === SILENT ? seenMs - 5_000 : seenMs },
          },
        },
      }),
      nowMs: seenMs + 100,
    };
    // The governor looks more often than the monitor does.
    known = noteAcknowledgements(known, survey);
    known = noteAcknowledgements(known, { ...survey, nowMs: survey.nowMs + 250 });
    missingMs = missingForMs(known, { ...survey, nowMs: survey.nowMs + 500 });
  }
  return missingMs;
}

const times = (count: number, look: (index: number) => Look): Look[] =>
  Array.from({ length: count }, (_, index) => look(index));

suite('acknowledgements', () => {
  const table: readonly [string, readonly Look[], 'come' | 'are missing'][] = [
    ['are there while nobody waits and a replica acknowledges', times(20, () => ({})), 'come'],
    ['cannot come while it is gone', times(20, () => ({ clients: 0, replica: GONE })), 'are missing'],
    [
      'cannot come of one that is connected without',
      times(20, () => ({ clients: 0, replica: MUTE })),
      'are missing',
    ],
    ['cannot come of one that hears nothing', times(20, () => ({ replica: SILENT })), 'are missing'],
    [
      'come while each look finds more, however many wait',
      times(20, (index) => ({ waiting: 5, acknowledged: index })),
      'come',
    ],
    [
      'come although we do not reach the replica',
      times(20, (index) => ({ waiting: index % 2, acknowledged: index, replica: GONE })),
      'come',
    ],
    [
      'come of one that is busy receiving a large transaction',
      times(20, (index) => ({ waiting: 1, at: 1_000 * index })),
      'come',
    ],
    ['do not come of one that only says so', times(20, () => ({ waiting: 1, at: 7 })), 'are missing'],
    [
      'do not come of one that comes and goes',
      times(20, (index) => ({ waiting: 1, ...(index % 2 === 0 && { clients: 0, replica: GONE }) })),
      'are missing',
    ],
    [
      'do not come of one that comes and goes, and begins anew each time',
      times(20, (index) => ({ waiting: 1, at: 100 + (index % 3) })),
      'are missing',
    ],
    [
      'come again when one has come',
      [...times(20, () => ({ waiting: 1 })), { waiting: 1, acknowledged: 1 }],
      'come',
    ],
    [
      'of a server that was restarted are counted anew',
      [{ acknowledged: 9 }, { waiting: 1, acknowledged: 0 }, { waiting: 1, acknowledged: 1 }],
      'come',
    ],
  ];
  for (const [name, looks, expected] of table) {
    test(name, () => {
      const missingMs = afterLooks(looks);
      if (expected === 'come') assert.equal(missingMs, 0);
      else assert.ok(missingMs > 15_000, `${missingMs} ms`);
    });
  }

  test('are not missing on account of one look alone, while replicas are connected', () => {
    assert.equal(afterLooks([{}, { waiting: 1 }]), 0);
    assert.ok(afterLooks([{}, { waiting: 1 }, { waiting: 1 }]) > 0);
  });
});
