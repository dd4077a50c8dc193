import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { noteLook } from '../../../src/failover/memory.ts';
import { NO_MEMORY, type Memory, type Trace } from '../../../src/failover/traces.ts';
import type { Survey } from '../../../src/failover/survey.ts';
import { surveyOf, type ServerDescription } from '../../support/clusters.ts';

/** With the moments at which each was asked; the look is at the last of them. */
function seen(
  servers: Record<string, ServerDescription>,
  askedMs: Record<string, number>,
  remembered = 'db1',
): Survey {
  const survey = surveyOf({ servers, remembered });
  const members = survey.members.map((member) => ({
    ...member,
    record: { ...member.record, askedMs: askedMs[member.backend.name] ?? null },
  }));
  return { ...survey, members, nowMs: Math.max(...Object.values(askedMs)) };
}

/** After looks at db1, the primary, and db2, at the given times. */
function after(...looks: [ServerDescription, ServerDescription, number, number][]): Trace | undefined {
  const memory = looks.reduce<Memory>(
    (known, [db1, db2, primaryMs, replicaMs]) =>
      noteLook(known, seen({ db1, db2 }, { db1: primaryMs, db2: replicaMs })),
    NO_MEMORY,
  );
  return memory.traces.get('db1')?.get('db2');
}

const AT_100: ServerDescription = { has: '0-1-100' };
const AT_101: ServerDescription = { has: '0-1-101' };
const FOLLOWS: ServerDescription = { from: 'db1', has: '0-1-100' };
const ACKNOWLEDGES: ServerDescription = { ...FOLLOWS, answers: true };

suite('a replica has had all that the primary had', () => {
  const settled: [string, Parameters<typeof after>, number][] = [
    ['as of the moment at which the primary was asked', [[AT_100, FOLLOWS, 500, 600]], 500],
    [
      'and stays so when the primary has more',
      [
        [AT_100, FOLLOWS, 500, 600],
        [AT_101, FOLLOWS, 1500, 1600],
      ],
      500,
    ],
    [
      "which a look before the primary's does not show: it may have been restarted in between",
      [[AT_100, FOLLOWS, 500, 499]],
      -Infinity,
    ],
    [
      'which nobody knows of a primary that does not answer',
      [[{ ...AT_100, down: 'x' }, FOLLOWS, 500, 600]],
      -Infinity,
    ],
    [
      'and of one that answers no more it is known still',
      [
        [AT_100, FOLLOWS, 500, 600],
        [AT_100, { ...FOLLOWS, down: 'x' }, 1500, 1600],
      ],
      500,
    ],
  ];
  for (const [name, looks, settledMs] of settled)
    test(name, () => assert.equal(after(...looks)?.settledMs, settledMs));

  test('which nobody knows of a replica that was never seen', () => {
    assert.equal(after([AT_100, { ...FOLLOWS, down: 'x' }, 500, 600]), undefined);
  });
});

suite('all that acknowledge can be asked', () => {
  const waits = (clients: number, waiting = 0): ServerDescription => ({
    ...AT_100,
    primarySide: { clients, waiting },
  });
  /** Since when, after looks at db1 at these times. */
  function accounted(...looks: [ServerDescription, ServerDescription, number][]): number | null | undefined {
    const memory = looks.reduce<Memory>(
      (known, [db1, db2, atMs]) => noteLook(known, seen({ db1, db2 }, { db1: atMs, db2: atMs })),
      NO_MEMORY,
    );
    return memory.reigns.get('db1')?.accountedSinceMs;
  }
  const gone: ServerDescription = { ...ACKNOWLEDGES, down: 'x' };

  test('since the first look at which no other was connected', () => {
    assert.equal(accounted([waits(1), ACKNOWLEDGES, 500], [waits(0), gone, 1500]), 500);
    assert.equal(accounted([waits(1), gone, 500], [waits(0), gone, 1500]), 1500);
  });

  test('not while one is connected that does not answer us', () => {
    assert.equal(accounted([waits(1), ACKNOWLEDGES, 500], [waits(1), gone, 1500]), null);
  });

  test('not while a commit waits that one may have received which is gone since', () => {
    assert.equal(accounted([waits(0, 1), gone, 500]), null);
    assert.equal(accounted([waits(1, 1), ACKNOWLEDGES, 500]), 500, 'it is just being acknowledged');
  });

  test('as far as is known of one that takes no writes now', () => {
    const back = { ...waits(0), facts: { readOnly: true } };
    assert.equal(accounted([waits(1), ACKNOWLEDGES, 500], [back, gone, 1500]), 500);
  });
});

suite('a replica has lost what it had', () => {
  const received: ServerDescription = { ...FOLLOWS, replication: { receivedPosition: '0-1-101' } };
  const forgotten: [string, Parameters<typeof after>, number][] = [
    [
      'when it has received less than before',
      [
        [AT_100, received, 500, 600],
        [AT_100, FOLLOWS, 1500, 1600],
        [AT_100, received, 2500, 2600],
      ],
      1600,
    ],
    [
      'and not when it has applied that',
      [
        [AT_101, received, 500, 600],
        [AT_101, { ...FOLLOWS, has: '0-1-101' }, 1500, 1600],
      ],
      -Infinity,
    ],
    [
      'and not when its global ids were not known',
      [
        [AT_100, received, 500, 600],
        [AT_100, { ...FOLLOWS, facts: { hasGtid: false, position: '' } }, 1500, 1600],
      ],
      -Infinity,
    ],
  ];
  for (const [name, looks, forgotMs] of forgotten)
    test(name, () => assert.equal(after(...looks)?.forgotMs, forgotMs));
});

suite('a replica is remembered as one that acknowledged', () => {
  const acknowledged: [string, Parameters<typeof after>, number | null][] = [
    ['never', [[AT_100, FOLLOWS, 500, 600]], null],
    ['as long as it does', [[AT_100, ACKNOWLEDGES, 500, 600]], Infinity],
    [
      'also while it does not answer',
      [
        [AT_100, ACKNOWLEDGES, 500, 600],
        [AT_100, { ...FOLLOWS, down: 'x' }, 1500, 1600],
      ],
      Infinity,
    ],
    [
      'until it is found to follow another one',
      [
        [AT_100, ACKNOWLEDGES, 500, 600],
        [AT_100, { ...ACKNOWLEDGES, from: 'db3' }, 1500, 1600],
        [AT_100, { ...ACKNOWLEDGES, from: 'db3' }, 2500, 2600],
      ],
      1600,
    ],
    [
      'once more when it does again',
      [
        [AT_100, ACKNOWLEDGES, 500, 600],
        [AT_100, FOLLOWS, 1500, 1600],
        [AT_100, ACKNOWLEDGES, 2500, 2600],
      ],
      Infinity,
    ],
  ];
  for (const [name, looks, untilMs] of acknowledged)
    test(name, () => assert.equal(after(...looks)?.acknowledgedUntilMs, untilMs));
});

suite('what is remembered', () => {
  const settledOf = (memory: Memory, primary: string, replica: string): number | undefined =>
    memory.traces.get(primary)?.get(replica)?.settledMs;
  const first = noteLook(NO_MEMORY, seen({ db1: AT_100, db2: FOLLOWS }, { db1: 500, db2: 600 }));

  test('is of one primary, and still there when a promotion was taken back', () => {
    const servers = { db1: { ...AT_100, down: 'x' }, db2: AT_100 };
    const memory = noteLook(first, seen(servers, { db1: 500, db2: 600 }, 'db2'));
    assert.deepEqual([settledOf(memory, 'db2', 'db1'), settledOf(memory, 'db1', 'db2')], [undefined, 500]);
  });

  test('is of this server, and not of another one that gets its name later', () => {
    const dropped = noteLook(first, seen({ db1: AT_100 }, { db1: 1500 }));
    const servers = { db1: AT_100, db2: { ...FOLLOWS, has: '0-1-7' } };
    const memory = noteLook(dropped, seen(servers, { db1: 2500, db2: 2600 }));
    assert.equal(settledOf(memory, 'db1', 'db2'), -Infinity);
  });

  test('is nothing while nobody is the primary', () => {
    const survey = { ...seen({ db2: FOLLOWS }, { db2: 600 }), remembered: null };
    assert.equal(noteLook(NO_MEMORY, survey), NO_MEMORY);
  });
});
