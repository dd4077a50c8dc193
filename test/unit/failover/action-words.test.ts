import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { actionWords, type Leave } from '../../../src/failover/findings/action-words.ts';
import type { Action } from '../../../src/failover/findings/finding.ts';

const FAILOVER: Action = { kind: 'failover' };
const FINISH: Action = { kind: 'finish', backend: 'db2' };
const UNLOCK: Action = { kind: 'unlock', backend: 'db1' };
const FENCE: Action = { kind: 'fence', backends: ['db2', 'db3'] };

suite('the action of a finding', () => {
  const table: [string, Action, Partial<Leave>, Partial<Leave['cluster']>, string][] = [
    ['a failover', FAILOVER, {}, {}, 'failover'],
    [
      'a failover, failover = manual',
      FAILOVER,
      {},
      { failover: 'manual' },
      'waits for FAILOVER CLUSTER main (failover = manual)',
    ],
    [
      'a failover in maintenance',
      FAILOVER,
      { maintenance: true },
      {},
      'waits for FAILOVER CLUSTER main (maintenance)',
    ],
    [
      'a failover after a failover',
      FAILOVER,
      { isCoolingDown: true },
      {},
      'waits for FAILOVER CLUSTER main (failover_cooldown)',
    ],
    ['what is to be finished', FINISH, { isCoolingDown: true }, {}, 'finish'],
    [
      'what is to be finished, failover = manual',
      FINISH,
      {},
      { failover: 'manual' },
      'waits for PROMOTE db2 (failover = manual)',
    ],
    ['unlocking', UNLOCK, {}, { failover: 'manual' }, 'unlock'],
    ['unlocking in maintenance', UNLOCK, { maintenance: true }, {}, 'waits for PROMOTE db1 (maintenance)'],
    [
      'unlocking, enforce_read_only = off',
      UNLOCK,
      {},
      { enforceReadOnly: false },
      'waits for PROMOTE db1 (enforce_read_only = off)',
    ],
    ['fencing', FENCE, {}, {}, 'fence'],
    [
      'fencing in maintenance',
      FENCE,
      { maintenance: true },
      {},
      'waits for SET GLOBAL read_only = 1 on db2, db3 (maintenance)',
    ],
    ['nothing', { kind: 'none' }, { maintenance: true }, {}, 'none'],
    [
      'stopping the writes, which maintenance does not forbid',
      { kind: 'stop_writes', backends: ['db2'] },
      { maintenance: true },
      {},
      'stop writes',
    ],
    [
      'a failover that another dbproxy is in charge of',
      { kind: 'failover' },
      { charge: { isOurs: false, holder: 'web2/0a1b2c3d', why: 'web2/0a1b2c3d has the lease' } },
      {},
      'failover is up to web2/0a1b2c3d',
    ],
    [
      'a failover that nobody is in charge of',
      { kind: 'failover' },
      { charge: { isOurs: false, holder: null, why: 'nobody has the lease' } },
      {},
      'failover waits (nobody has the lease)',
    ],
    [
      'believing another epoch, which everybody may',
      { kind: 'adopt_epoch', backend: 'db2', epoch: 5 },
      { charge: { isOurs: false, holder: null, why: 'nobody has the lease' } },
      {},
      'adopt epoch',
    ],
    [
      'believing another epoch, which maintenance does not forbid',
      { kind: 'adopt_epoch', backend: 'db2', epoch: 5 },
      { maintenance: true },
      {},
      'adopt epoch',
    ],
  ];
  for (const [name, action, leave, cluster, words] of table) {
    test(`${name}: ${words}`, () => {
      const own = { name: 'main', failover: 'auto', enforceReadOnly: true, ...cluster } as const;
      assert.equal(
        actionWords(action, {
          charge: { isOurs: true },
          maintenance: false,
          isCoolingDown: false,
          ...leave,
          cluster: own,
        }),
        words,
      );
    });
  }
});
