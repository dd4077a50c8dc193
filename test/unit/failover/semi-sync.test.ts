import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NEVER_MS, semiSyncCovers } from '../../../src/failover/semi-sync.ts';
import { surveyOf, type ClusterDescription, type ServerDescription } from '../../support/clusters.ts';

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
  ];
  for (const [name, servers] of table) {
    test(name, () => assert.equal(covers(servers), null));
  }

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
    ['when the primary has never been seen', { db1: { down: 'x', facts: null } }, /was not semi-synchronous/],
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
      'when another has received more',
      { db1: { ...OLD, waitsFor: 2 }, db3: { ...REPLICA, has: '0-1-101' } },
      /db3 has received more than db2/,
    ],
  ];
  for (const [name, servers, reason, over] of table) {
    test(name, () => assert.match(covers(servers, over) ?? 'it vouched', reason));
  }
});
