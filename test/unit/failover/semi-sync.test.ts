import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NEVER_MS, semiSyncCovers, whyACrashMayCost } from '../../../src/failover/semi-sync.ts';
import type { ServerFacts } from '../../../src/monitor/observation.ts';
import {
  memberFrom,
  NOW_MS,
  surveyOf,
  type ClusterDescription,
  type ServerDescription,
} from '../../support/clusters.ts';

const OLD: ServerDescription = { down: 'connection refused', waitsFor: 1 };
const REPLICA: ServerDescription = { from: 'db1', hears: 'lost', answers: true };

function covers(
  servers: Record<string, ServerDescription>,
  over: Partial<ClusterDescription> = {},
): string | null {
  const survey = surveyOf({
    cluster: { semiSync: 'require' },
    servers: { db1: OLD, db2: REPLICA, ...servers },
    ...over,
  });
  return semiSyncCovers(survey, survey.members[0]!, 'db2');
}

suite('semi-sync vouches for a candidate', () => {
  const table: [string, Record<string, ServerDescription>][] = [
    ['that is the only one who acknowledged', {}],
    ['beside another that has not received more', { db1: { ...OLD, waitsFor: 2 }, db3: REPLICA }],
    ['beside an asynchronous replica that is gone', { db3: { from: 'db1', down: 'x', answers: false } }],
    [
      'when two of three acknowledged each write and two can be asked',
      {
        db1: { ...OLD, waitsFor: 3, primarySide: { waitForReplicas: 2 } },
        db3: REPLICA,
        db4: { ...REPLICA, down: 'host unreachable' },
      },
    ],
    ['when the timeout is a day or longer', { db1: { ...OLD, primarySide: { timeoutMs: NEVER_MS } } }],
    [
      'when one that acknowledged cannot be asked, and an operator has taken it out',
      { db1: { ...OLD, waitsFor: 1 }, db3: { ...REPLICA, down: 'x', admin: 'offline' } },
    ],
    ['when no replica was connected: its commits waited', { db1: { ...OLD, waitsFor: 0 } }],
    [
      'beside one at the end of a chain, which tells another one what it has received',
      { db3: { ...REPLICA, from: 'db2', down: 'host unreachable' } },
    ],
    [
      'beside one that was restarted before the primary was last seen, which the candidate has all of',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, facts: { uptimeSeconds: 10 } } },
    ],
    [
      'beside one that was restarted since, and that an operator has taken out',
      { db1: { ...OLD, waitsFor: 1 }, db3: { ...REPLICA, facts: { uptimeSeconds: 1 }, admin: 'offline' } },
    ],
    [
      'beside one that was restarted since, when two acknowledged each write',
      {
        db1: { ...OLD, waitsFor: 2, primarySide: { waitForReplicas: 2 } },
        db3: { ...REPLICA, facts: { uptimeSeconds: 1 } },
      },
    ],
  ];
  for (const [name, servers] of table) {
    test(name, () => assert.equal(covers(servers), null));
  }

  test('that had all, after the restart of another, before the primary wrote what it never sent', () => {
    const servers = {
      db1: { ...OLD, waitsFor: 2, has: '0-1-101' },
      db3: { ...REPLICA, facts: { uptimeSeconds: 10 } },
    };
    const { nowMs } = surveyOf({ servers });
    assert.match(covers(servers) ?? '', /db2 has not all of 0-1-101/);
    assert.match(
      covers(servers, { traces: { db2: { settledMs: nowMs - 60_000 } } }) ?? '',
      /db2 has not all of 0-1-101/,
    );
    assert.equal(covers(servers, { traces: { db2: { settledMs: nowMs } } }), null);
  });

  const remembered: [string, Record<string, ServerDescription>, ClusterDescription['traces']][] = [
    [
      'that had all, after another had ceased to acknowledge',
      { db3: { ...REPLICA, from: 'elsewhere' } },
      { db3: { acknowledgedUntilMs: NOW_MS - 2_000 }, db2: { settledMs: NOW_MS - 1_000 } },
    ],
    [
      'that has all that the primary had when another had left it',
      { db3: { ...REPLICA, from: 'db2' } },
      { db3: { acknowledgedUntilMs: NOW_MS - 1_000 }, db2: { settledMs: NOW_MS - 2_000 } },
    ],
    [
      'that had all, after another had thrown its relay log away',
      { db1: { ...OLD, waitsFor: 2 }, db3: REPLICA },
      { db3: { forgotMs: NOW_MS - 2_000 }, db2: { settledMs: NOW_MS - 1_000 } },
    ],
    [
      'that got all again after it had thrown its own relay log away',
      {},
      { db2: { forgotMs: NOW_MS - 2_000, settledMs: NOW_MS - 1_000 } },
    ],
    [
      'beside one that had acknowledged, and that an operator has taken out',
      { db3: { ...REPLICA, down: 'x', admin: 'offline' } },
      { db3: { acknowledgedUntilMs: Infinity } },
    ],
  ];
  for (const [name, servers, traces] of remembered) {
    test(name, () => assert.equal(covers(servers, { traces: traces! }), null));
  }

  test('that has more than the primary, which was let go on alone and is back, cut short by a crash', () => {
    const back = { has: '0-1-100', facts: { readOnly: true, keepsLog: false } };
    const db2 = { ...REPLICA, has: '0-1-101' };
    assert.equal(covers({ db1: back, db2 }, { alone: true }), null);
    assert.match(covers({ db1: back, db2: REPLICA }, { alone: true }) ?? '', /had been let go on alone/);
  });

  test('is not asked for unless semi_sync = require', () => {
    const never = { db1: { down: 'x' }, db2: { from: 'db1', hears: 'lost' } } as const;
    assert.equal(covers(never, { cluster: { semiSync: 'prefer' } }), null);
    assert.equal(covers(never, { cluster: { semiSync: 'off' } }), null);
  });
});

suite('semi-sync does not vouch', () => {
  const table: [string, Record<string, ServerDescription>, RegExp, Partial<ClusterDescription>?][] = [
    [
      'for anybody once the primary was let go on alone',
      {},
      /db1 had been let go on alone, so it may have acknowledged writes that are nowhere else/,
      { alone: true },
    ],
    ['when the primary had no such plugin', { db1: { down: 'x' } }, /was not semi-synchronous/],
    [
      'when it was switched off there',
      { db1: { ...OLD, primarySide: { enabled: false, live: false } } },
      /was not semi-synchronous/,
    ],
    [
      'when the primary has never been seen',
      { db1: { down: 'x', facts: null } },
      /db1 has not been seen since dbproxy was started: whether its writes waited .* is not known/,
    ],
    [
      'beside one that was seen to acknowledge and follows another server now: it may have lost that',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, from: 'elsewhere' } },
      /db3 acknowledges nothing to db1 any more, and may have lost .*: db2 may not have it either/,
      { traces: { db3: { acknowledgedUntilMs: NOW_MS - 1_000 }, db2: { settledMs: NOW_MS - 2_000 } } },
    ],
    [
      'that has not all that the primary had when another had left it',
      { db1: { ...OLD, has: '0-1-101' }, db3: { ...REPLICA, from: 'db2' } },
      /db3 acknowledges nothing to db1 any more/,
      { traces: { db3: { acknowledgedUntilMs: NOW_MS - 1_000 }, db2: { settledMs: NOW_MS - 2_000 } } },
    ],
    [
      'beside one that was seen to acknowledge, was told not to, and is gone',
      { db3: { ...REPLICA, answers: false, down: 'x' } },
      /db3 may have acknowledged/,
      { traces: { db3: { acknowledgedUntilMs: Infinity } } },
    ],
    [
      'beside one that has less than it had: its relay log was thrown away',
      { db1: { ...OLD, waitsFor: 2 }, db3: REPLICA },
      /db3 has less than it had, and may have lost/,
      { traces: { db3: { forgotMs: NOW_MS - 1_000 }, db2: { settledMs: NOW_MS - 2_000 } } },
    ],
    [
      'for one that has less than it had',
      {},
      /db2 has less than it had, and may have lost/,
      { traces: { db2: { forgotMs: NOW_MS - 1_000, settledMs: NOW_MS - 2_000 } } },
    ],
    [
      'when it had given up waiting',
      { db1: { ...OLD, primarySide: { live: false } } },
      /had given up waiting for its replicas/,
    ],
    [
      'when it could give up by itself',
      { db1: { ...OLD, primarySide: { timeoutMs: NEVER_MS - 1 } } },
      /waits only 86399999 ms .*set its timeout above/,
    ],
    ['for one that does not answer', { db2: { ...REPLICA, suspect: 'timed out' } }, /db2 does not answer/],
    [
      'when one that acknowledged cannot be asked',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, down: 'host unreachable' } },
      /db3 may have acknowledged what db2 has not, and cannot be asked; SET BACKEND … OFFLINE/,
    ],
    [
      'when one that may have acknowledged was never seen',
      { db3: { facts: null, down: 'host unreachable' } },
      /db3 may have acknowledged/,
    ],
    [
      'when one that acknowledged is not of this configuration',
      { db1: { ...OLD, waitsFor: 2 } },
      /only 1 can be asked: another may have what db2 has not/,
    ],
    [
      'for one that does not acknowledge itself',
      { db2: { from: 'db1', hears: 'lost', answers: false } },
      /1 replica\(s\) acknowledged .*only 0 can be asked/,
    ],
    [
      'when two of four acknowledged each write, and two cannot be asked',
      {
        db1: { ...OLD, waitsFor: 4, primarySide: { waitForReplicas: 2 } },
        db3: REPLICA,
      },
      /only 2 can be asked/,
    ],
    [
      'when one acknowledged that nobody knows, whoever else answers at the end of a chain',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, from: 'db2' } },
      /only 1 can be asked/,
    ],
    [
      'when another has received more',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, has: '0-1-101' } },
      /db3 has received more than db2/,
    ],
    [
      'beside one that was restarted since the primary was last seen: it may have lost what it acknowledged',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, facts: { uptimeSeconds: 1 } } },
      /db3 was restarted lately, and may have lost .*: db2 may not have it either; SET BACKEND … OFFLINE/,
    ],
    [
      'beside one that came back as one that follows nobody: what it is now says nothing of what it was',
      { db1: { ...OLD, waitsFor: 1 }, db3: { has: '0-1-100', facts: { uptimeSeconds: 1 } } },
      /db3 was restarted lately/,
    ],
    [
      'beside one that came back as one that follows nobody, and whose checks are not good yet',
      {
        db1: { ...OLD, waitsFor: 1 },
        db3: { down: 'answers again', facts: { uptimeSeconds: 1 }, record: { startedMs: Infinity } },
      },
      /db3 may have acknowledged/,
    ],
    [
      'beside one that was restarted in the second in which the primary was last seen',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, facts: { uptimeSeconds: 3 } } },
      /db3 was restarted lately/,
    ],
    [
      'beside one that was restarted, when the candidate has not all that the primary had after that',
      {
        db1: { ...OLD, waitsFor: 2, has: '0-1-101' },
        db3: { ...REPLICA, facts: { uptimeSeconds: 10 } },
      },
      /db3 was restarted lately, .*: db2 has not all of 0-1-101/,
    ],
    [
      'beside one that was restarted long ago, when the primary has been away for even longer',
      {
        db1: { ...OLD, waitsFor: 2, record: { seenMs: NOW_MS - 700_000, askedMs: NOW_MS - 700_000 } },
        db3: { ...REPLICA, facts: { uptimeSeconds: 650 } },
      },
      /db3 was restarted lately, and may have lost/,
    ],
    [
      'for one that was restarted itself, however long the primary is away by now',
      {
        db1: { ...OLD, record: { seenMs: NOW_MS - 700_000, askedMs: NOW_MS - 700_000 } },
        db2: { ...REPLICA, facts: { uptimeSeconds: 650 } },
      },
      /db2 was restarted lately, and may have lost/,
    ],
  ];
  for (const [name, servers, reason, over] of table) {
    test(name, () => assert.match(covers(servers, over) ?? 'it vouched', reason));
  }
});

test('a third server that is dead keeps others from being promoted, however long, until it is set offline', () => {
  const db3 = { ...REPLICA, down: 'host unreachable' };
  const known = {
    reign: { askedMs: NOW_MS - 1_000, accountedSinceMs: NOW_MS - 90_000 },
    traces: {
      db2: { settledMs: NOW_MS - 2_000, acknowledgedUntilMs: Infinity },
      db3: { goneMs: NOW_MS - 90_000, acknowledgedUntilMs: Infinity },
    },
    longGone: ['db3'],
  };
  // It may be back beside a primary that only we cannot reach, which is asked for right before the new one takes writes.
  assert.match(covers({ db3 }, known) ?? '', /db3 may have acknowledged .* SET BACKEND … OFFLINE/);
  assert.equal(covers({ db3: { ...db3, admin: 'offline' } }, known), null);
});

suite('a primary that is back after a crash', () => {
  const BACK: ServerDescription = {
    facts: { readOnly: true, keepsLog: false, keepsAcknowledged: false, uptimeSeconds: 1 },
  };
  const GONE: ServerDescription = { ...REPLICA, down: 'connection refused' };
  const reign = {
    askedMs: NOW_MS - 10_000,
    facts: { semiSync: reigned(1), keepsLog: false, keepsAcknowledged: false },
  };

  function reigned(clients: number): ServerFacts['semiSync'] {
    const primary = memberFrom('db1', { waitsFor: clients }).record.facts!.semiSync.primary;
    return { primary, replica: null };
  }

  function costs(over: Partial<ClusterDescription>, servers: Record<string, ServerDescription> = {}): string {
    const cluster = { semiSync: 'require', ...over.cluster } as const;
    const survey = surveyOf({ reign, ...over, cluster, servers: { db1: BACK, db2: GONE, ...servers } });
    return whyACrashMayCost(survey, survey.members[0]!) ?? '';
  }

  const may: [string, Partial<ClusterDescription>, Record<string, ServerDescription>?][] = [
    ['and the replica that acknowledged is gone', {}],
    ['and dbproxy was restarted meanwhile', { reign: undefined }],
    ['and it had been let go on alone: dbproxy may have been cut off from its replica', { alone: true }],
    [
      'and had not been one that keeps its log then',
      {},
      { db1: { facts: { ...BACK.facts, keepsLog: true } } },
    ],
    [
      'and the replica has gone since it was last seen taking writes',
      { traces: { db2: { goneMs: NOW_MS - 9_000 } } },
    ],
    [
      'and what it had when the gone one went may not have been on its disk yet',
      {
        reign: { ...reign, accountedSinceMs: NOW_MS - 80_000 },
        traces: { db2: { goneMs: NOW_MS - 11_000 } },
      },
    ],
    [
      'and the replica was restarted since, and did not acknowledge any more when it was seen then',
      {},
      { db2: { ...GONE, answers: false, record: { startedMs: NOW_MS - 5_000 } } },
    ],
    [
      'and another replica is there, which need not have what the gone one has',
      {},
      { db3: { ...REPLICA, hears: 'receives' } },
    ],
  ];
  for (const [name, over, servers] of may)
    test(`${name}: it may lack what it had acknowledged`, () => {
      assert.match(
        costs(over, servers),
        /a crash may have cost db1 .* db2, which may have that, cannot be asked$/,
      );
    });

  test('is not said to lack what it had acknowledged, where it keeps that in any crash', () => {
    const words = (before: boolean, now: boolean): string =>
      costs(
        { reign: { ...reign, facts: { ...reign.facts, keepsAcknowledged: before } } },
        { db1: { facts: { ...BACK.facts, keepsAcknowledged: now } } },
      );
    assert.match(words(true, true), /have cost db1 what it had sent and told nobody of, and db2, which may/);
    for (const [before, now] of [
      [false, true],
      [true, false],
    ] as const)
      assert.match(words(before, now), /have cost db1 what it had acknowledged, and db2/);
  });

  const cannot: [string, Partial<ClusterDescription>, Record<string, ServerDescription>?][] = [
    ['and all that acknowledged can be asked', {}, { db2: REPLICA }],
    [
      'and keeps its log',
      { reign: { ...reign, facts: { keepsLog: true } } },
      { db1: { facts: { ...BACK.facts, keepsLog: true } } },
    ],
    ['and has not been restarted', {}, { db1: { facts: { ...BACK.facts, uptimeSeconds: 1_000 } } }],
    ['and need not have waited for anybody', { cluster: { semiSync: 'prefer' } }],
    [
      'and the gone one had not acknowledged then either',
      {},
      { db2: { ...GONE, answers: false, record: { startedMs: NOW_MS - 50_000 } } },
    ],
    ['and an operator has taken the gone one out', {}, { db2: { ...GONE, admin: 'offline' } }],
    ['and the gone one was gone for long, as it was written down', { reign: undefined, longGone: ['db2'] }],
    [
      'and was alone, and the gone one was gone for long',
      {
        alone: true,
        reign: { ...reign, accountedSinceMs: NOW_MS - 70_000 },
        traces: { db2: { goneMs: NOW_MS - 70_000 } },
      },
    ],
  ];
  for (const [name, over, servers] of cannot)
    test(`${name}: it goes on`, () => assert.equal(costs(over, servers), ''));
});
