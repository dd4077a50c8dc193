import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { choresOf, type Chore } from '../../../src/failover/chores.ts';
import { diagnose } from '../../../src/failover/diagnosis.ts';
import { divergencesOf } from '../../../src/failover/divergence.ts';
import type { Divergence } from '../../../src/topology/state-file.ts';
import {
  DAY_MS,
  NOW_MS,
  surveyOf,
  type ClusterDescription,
  type ServerDescription,
} from '../../support/clusters.ts';

const U = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const V = '3e11fa47-71ca-11e1-9e33-c80aa9429563';

interface Work {
  readonly chores: readonly Chore[];
  readonly divergences: readonly Divergence[];
}

function workOf(description: ClusterDescription, unacknowledgedMs = 0): Work {
  const seen = surveyOf(description);
  const survey = { ...seen, diverged: divergencesOf(seen, seen.diverged) };
  return { chores: choresOf(survey, diagnose(survey), unacknowledgedMs), divergences: survey.diverged };
}

/** A chore in short: what, where, and with what. */
function inShort(chore: Chore): string {
  switch (chore.kind) {
    case 'follow':
      return `follow ${chore.backend} ${chore.source}`;
    case 'semi_sync':
      return `semi_sync ${chore.backend} ${chore.side} ${chore.on ? 'on' : 'off'}`;
    case 'fence':
    case 'unlock':
    case 'reconnect':
    case 'go_alone':
    case 'take_back':
      return `${chore.kind} ${chore.backend}`;
  }
}

function chores(description: ClusterDescription, replicalessMs = 0): string[] {
  return workOf(description, replicalessMs).chores.map(inShort);
}

const REPLICA = { from: 'db1' } as const;

suite('a cluster that is well is left alone', () => {
  const table: [string, ClusterDescription][] = [
    ['a pair', { servers: { db1: {}, db2: REPLICA } }],
    [
      'a semi-synchronous pair',
      {
        cluster: { semiSync: 'require' },
        servers: { db1: { waitsFor: 1 }, db2: { ...REPLICA, answers: true } },
      },
    ],
    ['a chain', { servers: { db1: {}, db2: REPLICA, db3: { from: 'db2' } } }],
    ['a ring', { servers: { db1: { from: 'db2', facts: { readOnly: false } }, db2: REPLICA } }],
    [
      'a follower of a server outside, without follow',
      { servers: { db1: {}, db2: REPLICA, db3: { from: 'else' } } },
    ],
    [
      'one with several sources',
      { servers: { db1: {}, db2: REPLICA, db3: { from: 'else', replication: { channels: 2 } } } },
    ],
    [
      'an empty new server',
      { servers: { db1: {}, db2: REPLICA, db3: { has: '', facts: { readOnly: true } } } },
    ],
    [
      'one that an operator took out',
      { servers: { db1: {}, db2: REPLICA, db3: { admin: 'offline', facts: { readOnly: true } } } },
    ],
    [
      'a replica that an operator has stopped',
      { servers: { db1: {}, db2: { from: 'db1', hears: 'stopped' } } },
    ],
  ];
  for (const [name, description] of table) {
    test(name, () => assert.deepEqual(workOf(description), { chores: [], divergences: [] }));
  }
});

suite('who may write', () => {
  const returned: ClusterDescription = {
    remembered: 'db2',
    epoch: 5,
    servers: { db1: { epoch: [4, 'db1'] }, db2: { epoch: [5, 'db2'] } },
  };

  test('an old primary that comes back writable is fenced, and not yet made to follow', () => {
    assert.deepEqual(chores(returned), ['fence db1']);
  });

  test('a replica whose read_only is off is fenced', () => {
    assert.deepEqual(chores({ servers: { db1: {}, db2: { from: 'db1', facts: { readOnly: false } } } }), [
      'fence db2',
    ]);
  });

  test('of two writers the one that is not the primary of the epoch is fenced', () => {
    assert.deepEqual(chores({ epoch: 0, servers: { db1: {}, db2: {} } }), ['fence db2']);
  });

  test('the primary that came back read-only is made writable', () => {
    assert.deepEqual(chores({ servers: { db1: { facts: { readOnly: true } }, db2: REPLICA } }), [
      'unlock db1',
    ]);
  });

  test('with enforce_read_only = off none of it', () => {
    const cluster = { enforceReadOnly: false };
    assert.deepEqual(chores({ ...returned, cluster }), []);
    assert.deepEqual(chores({ cluster, servers: { db1: { facts: { readOnly: true } }, db2: REPLICA } }), []);
  });

  test('a server that is not of this configuration cannot be fenced', () => {
    assert.deepEqual(chores({ servers: { db1: { epoch: [5, 'db9'] }, db2: REPLICA } }), []);
  });
});

suite('who follows whom', () => {
  test('an old primary that came back read-only and has nothing of its own follows the new one', () => {
    const { chores: found, divergences } = workOf({
      remembered: 'db2',
      epoch: 5,
      servers: { db1: { facts: { readOnly: true } }, db2: {} },
    });
    assert.deepEqual(found.map(inShort), ['follow db1 db2']);
    assert.equal(found[0]?.because, 'it follows nobody');
    assert.deepEqual(divergences, []);
  });

  test('one of which nobody can tell what it has is left alone, and so is one that says it has nothing', () => {
    const forgotten = { position: '0-1-1', history: '0-1-1', why: 'it has given 0-1-2 twice' };
    for (const facts of [{ forgotten }, { position: '', history: '' }]) {
      const servers = { db1: { facts: { readOnly: true, ...facts } }, db2: {} };
      const { chores: found, divergences } = workOf({ remembered: 'db2', epoch: 5, servers });
      assert.deepEqual([found, divergences], [[], []]);
    }
  });

  test('one that has what the primary has not is reported instead (MariaDB, the same numbers)', () => {
    const { chores: found, divergences } = workOf({
      remembered: 'db2',
      epoch: 5,
      servers: {
        db1: { has: '0-1-100', facts: { readOnly: true } },
        db2: { has: '0-2-105', facts: { history: '0-1-99,0-2-105' } },
      },
    });
    assert.deepEqual(found, []);
    assert.deepEqual(divergences, [{ backend: 'db1', extras: '0-1-100 (the other has up to 0-1-99)' }]);
  });

  test('one that has what the primary has not is reported instead (MySQL)', () => {
    const { divergences } = workOf({
      remembered: 'db2',
      epoch: 5,
      servers: {
        db1: { has: `${U}:1-9`, facts: { readOnly: true } },
        db2: { has: `${U}:1-7,${V}:1-4` },
      },
    });
    assert.match(divergences[0]?.extras ?? '', /^2 of/);
  });

  test('one of which it cannot be told is reported, too', () => {
    const { chores: found, divergences } = workOf({
      servers: { db1: {}, db2: { has: 'rubbish', facts: { readOnly: true } } },
    });
    assert.deepEqual([found, divergences.length], [[], 1]);
  });

  test('a replica with transactions of its own is reported though it follows', () => {
    const { divergences } = workOf({
      servers: {
        db1: { has: `${U}:1-9` },
        db2: {
          from: 'db1',
          has: `${U}:1-9`,
          facts: { position: `${U}:1-9,${V}:1`, ownTransactions: `${V}:1` },
        },
      },
    });
    assert.deepEqual(
      divergences.map(({ backend }) => backend),
      ['db2'],
    );
  });

  test('a replica that has more than the one that was promoted is reported, and not moved', () => {
    const promoted = { has: '0-2-101', facts: { history: '0-1-99,0-2-101' } };
    const description = (db2: ServerDescription, diverged = {}): ClusterDescription => ({
      remembered: 'db2',
      epoch: 5,
      diverged,
      servers: {
        db1: { down: 'connection refused' },
        db2: { ...promoted, ...db2 },
        db3: { from: 'db1', hears: 'stopped', has: '0-1-100', facts: { history: '0-1-100' } },
      },
    });
    const lookedAtAfter = { record: { askedMs: NOW_MS } };
    const found = workOf(description(lookedAtAfter));
    assert.deepEqual(found.chores, []);
    assert.deepEqual(found.divergences, [{ backend: 'db3', extras: '0-1-100 (the other has up to 0-1-99)' }]);
    // What the primary had at its last look may be old: what was found out stays so, and nothing is made up.
    const lookedAtBefore = { record: { askedMs: NOW_MS - 60_000 } };
    assert.deepEqual(workOf(description(lookedAtBefore)).divergences, []);
    const known = workOf(description(lookedAtBefore, { db3: '0-1-100' }));
    assert.deepEqual([known.chores.length, known.divergences.length], [0, 1]);
    // Its primary got all that it has.
    const has = { ...lookedAtAfter, facts: { history: '0-1-100,0-2-101' } };
    assert.deepEqual(workOf(description(has, { db3: '0-1-100' })).divergences, []);
  });

  test('with rejoin = report nobody is made to follow, and what is extra is reported all the same', () => {
    const servers = {
      db1: {},
      db2: { facts: { readOnly: true } },
      db3: { has: '0-3-101', facts: { readOnly: true } },
    };
    const { chores: found, divergences } = workOf({ cluster: { rejoin: 'report' }, servers });
    assert.deepEqual([found, divergences.map(({ backend }) => backend)], [[], ['db3']]);
  });

  test('a replica of an old primary is pointed at the new one', () => {
    const { chores: found } = workOf({
      remembered: 'db2',
      servers: {
        db1: { facts: { readOnly: true }, down: 'x' },
        db2: {},
        db3: { from: 'db1', hears: 'lost' },
      },
    });
    assert.deepEqual(found.map(inShort), ['follow db3 db2']);
    assert.equal(found[0]?.because, 'it follows db1, which is not the primary');
  });

  test('a follower of a server outside is pointed at the primary when its section says follow = on', () => {
    const db3 = { from: 'elsewhere', backend: { follow: true } } as const;
    assert.deepEqual(chores({ servers: { db1: {}, db2: REPLICA, db3 } }), ['follow db3 db1']);
  });

  test('a replica that hears nothing of a primary that is well connects anew', () => {
    assert.deepEqual(chores({ servers: { db1: {}, db2: { from: 'db1', hears: 'silent' } } }), [
      'reconnect db2',
    ]);
  });

  test('a replica that dbproxy has stopped and not started again is started; another one’s stop is respected', () => {
    const servers = {
      db1: {},
      db2: { from: 'db1', hears: 'stopped' },
      db3: { from: 'db1', hears: 'stopped' },
    } as const;
    assert.deepEqual(chores({ servers, inHand: ['db2'] }), ['reconnect db2']);
  });

  test('the end of a chain whose middle is gone follows the primary; one that still hears from it stays', () => {
    const db2 = { from: 'db1', down: 'connection refused' } as const;
    const orphan = { db1: {}, db2, db3: { from: 'db2', hears: 'lost' } } as const;
    assert.deepEqual(chores({ servers: orphan }), ['follow db3 db1']);
    const hears = { db1: {}, db2, db3: { from: 'db2' } } as const;
    assert.deepEqual(chores({ servers: hears }), []);
  });

  test('in a ring without a primary nobody is made read-only before somebody has said who takes the writes', () => {
    const db1 = { from: 'db2', facts: { readOnly: false } } as const;
    const db2 = { from: 'db1', facts: { readOnly: false } } as const;
    assert.deepEqual(chores({ remembered: null, epoch: 0, servers: { db1, db2 } }), []);
    assert.deepEqual(chores({ servers: { db1, db2 } }), ['fence db2']);
  });

  test('one that has given up reaching the primary, which is well, connects anew', () => {
    const db2 = {
      from: 'db1',
      hears: 'stopped',
      replication: { receiverErrno: 2003, receiverError: 'This was attempt 10/10' },
    } as const;
    assert.deepEqual(chores({ servers: { db1: {}, db2 } }), ['reconnect db2']);
  });

  test('one whose receiver has stopped with an error is not started again and again', () => {
    const db2 = {
      from: 'db1',
      hears: 'stopped',
      replication: { receiverErrno: 1236, receiverError: 'x' },
    } as const;
    assert.deepEqual(chores({ servers: { db1: {}, db2 }, inHand: ['db2'] }), []);
  });

  test('a replica that hears too seldom to be a witness follows anew, where a failover may need it', () => {
    const servers = { db1: {}, db2: { from: 'db1', hears: 'seldom' } } as const;
    assert.deepEqual(chores({ cluster: { failover: 'auto' }, servers }), ['follow db2 db1']);
    assert.deepEqual(chores({ cluster: { failover: 'manual' }, servers }), []);
  });

  test('nobody is moved while the primary is not seen well, or is read-only', () => {
    const db2 = { facts: { readOnly: true } };
    assert.deepEqual(chores({ servers: { db1: { suspect: 'x' }, db2 } }), []);
    assert.deepEqual(chores({ servers: { db1: { down: 'x' }, db2 } }), []);
    assert.deepEqual(chores({ servers: { db1: { facts: { readOnly: true } }, db2 } }), ['unlock db1']);
  });
});

suite('semi-synchronous replication', () => {
  const require_ = { semiSync: 'require' } as const;
  const answering = { from: 'db1', answers: true } as const;

  const table: [string, ClusterDescription, string[]][] = [
    [
      'a replica that does not answer is made to',
      {
        cluster: require_,
        servers: { db1: { waitsFor: 1 }, db2: answering, db3: { from: 'db1', answers: false } },
      },
      ['semi_sync db3 replica on'],
    ],
    [
      'one without the plugin, too',
      { cluster: require_, servers: { db1: { waitsFor: 1 }, db2: answering, db3: REPLICA } },
      ['semi_sync db3 replica on'],
    ],
    [
      'a replica does not wait for replicas of its own',
      { cluster: require_, servers: { db1: { waitsFor: 1 }, db2: { ...answering, waitsFor: 0 } } },
      ['semi_sync db2 primary off'],
    ],
    [
      'a primary does not wait before anybody answers it',
      { cluster: require_, servers: { db1: {}, db2: REPLICA } },
      ['semi_sync db2 replica on'],
    ],
    [
      'a primary waits as soon as somebody does',
      { cluster: { semiSync: 'prefer' }, servers: { db1: {}, db2: answering } },
      ['semi_sync db1 primary on'],
    ],
    [
      'one that is switched off is switched on',
      {
        cluster: require_,
        servers: { db1: { waitsFor: 1, primarySide: { enabled: false } }, db2: answering },
      },
      ['semi_sync db1 primary on'],
    ],
    [
      'one that would give up waiting is told not to',
      {
        cluster: require_,
        servers: { db1: { waitsFor: 1, primarySide: { timeoutMs: DAY_MS - 1 } }, db2: answering },
      },
      ['semi_sync db1 primary on'],
    ],
    [
      'with prefer it may give up',
      {
        cluster: { semiSync: 'prefer' },
        servers: { db1: { waitsFor: 1, primarySide: { timeoutMs: 1_000 } }, db2: answering },
      },
      [],
    ],
    [
      'with off nothing is touched',
      { servers: { db1: { waitsFor: 0 }, db2: { from: 'db1', answers: false, waitsFor: 0 } } },
      [],
    ],
  ];
  for (const [name, description, expected] of table) {
    test(name, () => assert.deepEqual(chores(description), expected));
  }
});

suite('a primary whose replicas are all gone', () => {
  const waiting = (over: Partial<ClusterDescription> = {}): ClusterDescription => ({
    cluster: { semiSync: 'require', holdTimeoutMs: 10_000 },
    servers: { db1: { waitsFor: 0 }, db2: { from: 'db1', answers: true, down: 'connection refused' } },
    ...over,
  });
  const stillThere = { db1: { waitsFor: 0 }, db2: { facts: { readOnly: true }, has: '0-1-100,5-5-5' } };

  test('goes on alone at once when they are down', () => {
    assert.deepEqual(chores(waiting(), 1), ['go_alone db1']);
  });

  test('but not in the moment in which that is first seen', () => {
    assert.deepEqual(chores(waiting(), 0), []);
  });

  test('waits for hold_timeout while one answers that may come back', () => {
    assert.deepEqual(chores(waiting({ servers: stillThere }), 10_000), []);
    assert.deepEqual(chores(waiting({ servers: stillThere }), 10_001), ['go_alone db1']);
  });

  test('not while no arbiter answers: it may be we who are cut off', () => {
    assert.deepEqual(chores(waiting({ arbiters: [0, 1] }), 60_000), []);
    assert.deepEqual(chores(waiting({ arbiters: [0, 0] }), 60_000), ['go_alone db1']);
  });

  test('not when somebody answers it after all', () => {
    const servers = { db1: { waitsFor: 1 }, db2: { from: 'db1', answers: true, down: 'x' } };
    assert.deepEqual(chores(waiting({ servers }), 60_000), []);
  });

  test('is let go when its commits wait for one that is connected and acknowledges nothing', () => {
    const mute = { waitsFor: 1, primarySide: { waiting: 3 } };
    const servers = { db1: mute, db2: { from: 'db1', answers: true } };
    assert.deepEqual(chores(waiting({ servers }), 10_000), []);
    assert.deepEqual(chores(waiting({ servers }), 10_001), ['go_alone db1']);
    // Down for us, and connected there: it may be acknowledging all the same, and has the time of a check.
    const unseen = { db1: mute, db2: { from: 'db1', answers: true, down: 'x' } };
    assert.deepEqual(chores(waiting({ servers: unseen }), 1_000), []);
    assert.deepEqual(chores(waiting({ servers: unseen }), 1_001), ['go_alone db1']);
  });

  test('needs as many replicas as its commits wait for', () => {
    const two = { waitsFor: 1, primarySide: { waitForReplicas: 2 } };
    const servers = { db1: two, db2: { from: 'db1', answers: true } };
    assert.deepEqual(chores(waiting({ servers }), 10_001), ['go_alone db1']);
    const more = { ...servers, db3: { from: 'db1', answers: true } };
    assert.deepEqual(chores(waiting({ servers: more }), 10_001), []);
    const off = { db1: { primarySide: { enabled: false, waitForReplicas: 2 } } };
    assert.deepEqual(chores(waiting({ alone: true, servers: { ...servers, ...off } })), []);
    assert.deepEqual(chores(waiting({ alone: true, servers: { ...more, ...off } })), ['take_back db1']);
  });

  test('is not let go twice', () => {
    const servers = {
      db1: { primarySide: { enabled: false } },
      db2: { from: 'db1', answers: true, down: 'x' },
    };
    assert.deepEqual(chores(waiting({ alone: true, servers }), 60_000), []);
  });

  test('is let go once more when its commits wait all the same', () => {
    const db2 = { from: 'db1', answers: true, down: 'x' };
    const stuck = { primarySide: { enabled: false, waiting: 1, clients: 1 } };
    assert.deepEqual(chores(waiting({ alone: true, servers: { db1: stuck, db2 } })), ['go_alone db1']);
  });

  const alone = { primarySide: { enabled: false, live: false }, has: '0-1-100' };

  test('is taken back when a replica has caught up, not before', () => {
    const behind = { db1: alone, db2: { from: 'db1', answers: true, has: '0-1-99' } } as const;
    assert.deepEqual(chores(waiting({ alone: true, servers: behind })), []);
    const caughtUp = { db1: alone, db2: { from: 'db1', answers: true, has: '0-1-100' } } as const;
    assert.deepEqual(chores(waiting({ alone: true, servers: caughtUp })), ['take_back db1']);
  });

  test('is not taken back for one that does not answer, or has just lost it', () => {
    const mute = { db1: alone, db2: { from: 'db1', answers: false } } as const;
    assert.deepEqual(chores(waiting({ alone: true, servers: mute })), ['semi_sync db2 replica on']);
    const lost = { db1: alone, db2: { from: 'db1', hears: 'lost', answers: true } } as const;
    assert.deepEqual(chores(waiting({ alone: true, servers: lost })), []);
  });
});
