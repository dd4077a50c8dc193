import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConfig, ClusterConfig } from '../../../src/config/config.ts';
import { assembleSnapshot, firstPrimary, type Knowledge } from '../../../src/topology/assemble.ts';
import type { BackendHealth } from '../../../src/topology/health.ts';
import type { BackendView, ClusterView } from '../../../src/topology/snapshot.ts';
import type { Divergence } from '../../../src/topology/state-file.ts';
import { backendConfig } from '../../support/configs.ts';
import { MARIADB_10_11 } from '../../support/greetings.ts';
import { clusterView } from '../../support/operations.ts';

const CLUSTER = { name: 'main' } as ClusterConfig;

const WRITABLE: BackendHealth = {
  reach: 'up',
  reachReason: '',
  serverVersion: '10.11.6-MariaDB',
  greeting: MARIADB_10_11,
  sqlMode: '',
  gtidPosition: null,
  writable: true,
  replicating: false,
  lagMs: null,
  fresh: false,
  replicationReason: '',
};
const REPLICA: BackendHealth = { ...WRITABLE, writable: false, replicating: true, lagMs: 0, fresh: true };
const READ_ONLY: BackendHealth = { ...WRITABLE, writable: false };
const DOWN = { reach: 'down', reachReason: 'connection refused' } as const;

function knowledge(
  health: Record<string, BackendHealth>,
  over: Partial<Knowledge> = {},
  backends: BackendConfig[] = [backendConfig('db1'), backendConfig('db2')],
): Knowledge {
  return {
    version: 1,
    clusters: [CLUSTER],
    backends,
    durable: { epoch: 3, clusters: { main: { primary: 'db1' } }, backends: {} },
    health: new Map(Object.entries(health)),
    held: new Set(),
    stopped: new Map(),
    diagnoses: new Map(),
    diverged: new Map(),
    ...over,
  };
}

const FRESH_START = { durable: { epoch: 0, clusters: {}, backends: {} } };

function view(known: Knowledge): { cluster: ClusterView; db1: BackendView; db2: BackendView } {
  const { clusters, backends } = assembleSnapshot(known);
  const [db1, db2] = backends;
  return { cluster: clusters[0]!, db1: db1!, db2: db2! };
}

suite('the first primary', () => {
  test('is the one server that is writable and does not replicate', () => {
    const choice = firstPrimary(knowledge({ db1: WRITABLE, db2: REPLICA }, FRESH_START), 'main');
    assert.equal(choice.primary, 'db1');
  });

  test('is nobody while two could be, and both are named', () => {
    const choice = firstPrimary(knowledge({ db1: WRITABLE, db2: WRITABLE }, FRESH_START), 'main');
    assert.equal(choice.primary, null);
    assert.match(choice.reason, /db1, db2 are all writable/);
  });

  test('is nobody before all that may be elected were looked at', () => {
    const choice = firstPrimary(knowledge({ db1: WRITABLE }, FRESH_START), 'main');
    assert.equal(choice.primary, null);
    assert.match(choice.reason, /db2 not checked yet/);
  });

  test('is never one with rw_weight 0', () => {
    const backends = [backendConfig('db1', { rwWeight: 0 }), backendConfig('db2')];
    const choice = firstPrimary(knowledge({ db1: WRITABLE, db2: REPLICA }, FRESH_START, backends), 'main');
    assert.equal(choice.primary, null);
    assert.match(choice.reason, /db2 replicates/);
  });

  test('by the weights set at run time, not those of the file', () => {
    const durable = { epoch: 0, clusters: {}, backends: { db2: { rwWeight: 0 } } };
    const choice = firstPrimary(knowledge({ db1: WRITABLE, db2: WRITABLE }, { durable }), 'main');
    assert.equal(choice.primary, 'db1');
  });

  test('the reason for none tells of each server why', () => {
    const { cluster } = view(knowledge({ db1: { ...WRITABLE, ...DOWN }, db2: READ_ONLY }, FRESH_START));
    assert.equal(cluster.primary, null);
    assert.match(cluster.reason, /db1 is down \(connection refused\), db2 is read-only/);
  });
});

suite('the remembered primary', () => {
  test('takes the writes; a replica takes reads', () => {
    const { cluster, db1, db2 } = view(knowledge({ db1: WRITABLE, db2: REPLICA }));
    assert.deepEqual(cluster, clusterView({ epoch: 3 }));
    assert.deepEqual([db1.role, db1.state, db1.readable, db1.reason], ['primary', 'online', false, '']);
    assert.deepEqual([db2.role, db2.state, db2.readable, db2.reason], ['replica', 'online', true, '']);
  });

  test('is told with the epoch of its own cluster, where there are several', () => {
    const durable = {
      epoch: 9,
      clusters: { main: { primary: 'db1', epoch: 3 }, other: { primary: 'x', epoch: 9 } },
      backends: {},
    };
    const { cluster, db1 } = view(knowledge({ db1: READ_ONLY, db2: REPLICA }, { durable }));
    assert.equal(cluster.epoch, 3);
    assert.match(cluster.reason, /db1 is the primary of epoch 3 but read_only is on/);
    assert.match(db1.reason, /the primary of epoch 3, but read_only is on/);
  });

  test('takes no writes while they are stopped, with the reason; but less so while a promotion holds them', () => {
    const stopped = new Map([['main', 'db1 and db2 are writable']]);
    const known = knowledge({ db1: WRITABLE, db2: WRITABLE }, { stopped });
    assert.deepEqual(
      view(known).cluster,
      clusterView({ primary: null, writesStopped: true, reason: 'db1 and db2 are writable' }),
    );
    const { cluster } = view({ ...known, held: new Set(['main']) });
    assert.deepEqual([cluster.primary, cluster.writesHeld], [null, true]);
  });

  test('comes with what is the matter with its cluster, and what was decided of it', () => {
    const diagnosis = { name: 'AllReplicasGone', gravity: 'warning', detail: 'db2 is down' } as const;
    const durable = {
      epoch: 3,
      clusters: { main: { primary: 'db1', alone: true, maintenance: true } },
      backends: {},
    };
    const { cluster } = view(
      knowledge({ db1: WRITABLE, db2: REPLICA }, { durable, diagnoses: new Map([['main', diagnosis]]) }),
    );
    assert.deepEqual(cluster, clusterView({ epoch: 3, diagnosis, alone: true, maintenance: 'on' }));
  });

  test('stays the primary while it is down: nobody else is chosen', () => {
    const { cluster, db1, db2 } = view(knowledge({ db1: { ...WRITABLE, ...DOWN }, db2: WRITABLE }));
    assert.equal(cluster.primary, null);
    assert.match(
      cluster.reason,
      /db1 is the primary of epoch 3 but down: connection refused; SHOW DIAGNOSES says what to do$/,
    );
    assert.deepEqual([db1.role, db1.state], ['primary', 'down']);
    assert.deepEqual([db2.role, db2.readable], ['standalone', false]);
  });

  test('is told to become it, while a promotion has it on record and its replication not ended yet', () => {
    const promoted = knowledge({ db1: REPLICA, db2: WRITABLE });
    assert.match(view(promoted).db1.reason, /of epoch 3, but it replicates from another server/);
    const { db1 } = view({ ...promoted, held: new Set(['main']) });
    assert.equal(db1.reason, 'becomes the primary of epoch 3');
  });

  test('still takes the writes while it is suspect', () => {
    const suspect: BackendHealth = { ...WRITABLE, reach: 'suspect', reachReason: 'timed out, check 1 of 3' };
    const { cluster, db1 } = view(knowledge({ db1: suspect, db2: REPLICA }));
    assert.equal(cluster.primary, 'db1');
    assert.equal(db1.state, 'suspect');
  });

  const cases: [string, BackendHealth, RegExp][] = [
    ['read-only', READ_ONLY, /read_only is on there; SHOW DIAGNOSES/],
    ['replicating', REPLICA, /replicates from another server/],
    [
      'not looked into',
      { ...WRITABLE, reach: 'suspect', serverVersion: null, greeting: null, reachReason: 'denied' },
      /denied/,
    ],
  ];
  for (const [name, health, reason] of cases) {
    test(`takes no writes when it is ${name}`, () => {
      const { cluster } = view(knowledge({ db1: health, db2: REPLICA }));
      assert.equal(cluster.primary, null);
      assert.match(cluster.reason, reason);
    });
  }

  test('another server that is writable gets no traffic, and the reason says so', () => {
    const { cluster, db2 } = view(knowledge({ db1: WRITABLE, db2: WRITABLE }));
    assert.equal(cluster.primary, 'db1');
    assert.deepEqual([db2.role, db2.readable], ['standalone', false]);
    assert.match(db2.reason, /writable but not the primary of epoch 3 \(db1 is\); no traffic/);
  });

  test('a server that neither replicates nor is the primary takes no reads', () => {
    const { db2 } = view(knowledge({ db1: WRITABLE, db2: READ_ONLY }));
    assert.equal(db2.readable, false);
    assert.match(db2.reason, /does not replicate and is not the primary/);
  });

  test('one that the configuration has lost is nobody', () => {
    const known = knowledge({ db2: REPLICA }, {}, [backendConfig('db2')]);
    assert.equal(assembleSnapshot(known).clusters[0]!.primary, null);
  });
});

suite('what an operator wants', () => {
  for (const admin of ['draining', 'offline'] as const) {
    test(`${admin} shows as its state and ends its readability`, () => {
      const durable = { epoch: 3, clusters: { main: { primary: 'db1' } }, backends: { db2: { admin } } };
      const { db2 } = view(knowledge({ db1: WRITABLE, db2: REPLICA }, { durable }));
      assert.deepEqual([db2.state, db2.readable], [admin, false]);
      assert.match(db2.reason, new RegExp(`set ${admin} by an operator`));
    });

    test(`a primary that is ${admin} takes no writes`, () => {
      const durable = { epoch: 3, clusters: { main: { primary: 'db1' } }, backends: { db1: { admin } } };
      const { cluster } = view(knowledge({ db1: WRITABLE, db2: REPLICA }, { durable }));
      assert.equal(cluster.primary, null);
      assert.match(cluster.reason, /SET BACKEND db1 ONLINE/);
    });
  }

  test('weights of the state file win over those of the configuration, key by key', () => {
    const durable = {
      epoch: 3,
      clusters: { main: { primary: 'db1' } },
      backends: { db2: { roWeight: 0 } },
    };
    const { db2 } = view(
      knowledge({ db1: WRITABLE, db2: REPLICA }, { durable }, [
        backendConfig('db1'),
        backendConfig('db2', { rwWeight: 7, roWeight: 5 }),
      ]),
    );
    assert.deepEqual([db2.rwWeight, db2.roWeight, db2.roWeightSet], [7, 0, true]);
  });
});

test('while a promotion is under way writes are held and there is no primary', () => {
  const { cluster } = view(knowledge({ db1: WRITABLE, db2: REPLICA }, { held: new Set(['main']) }));
  assert.deepEqual([cluster.primary, cluster.writesHeld], [null, true]);
});

test('a replica that is down or not fresh is not readable; one that is suspect is', () => {
  const readable = (health: BackendHealth): boolean =>
    view(knowledge({ db1: WRITABLE, db2: health })).db2.readable;
  assert.equal(readable({ ...REPLICA, ...DOWN }), false);
  assert.equal(readable({ ...REPLICA, fresh: false, replicationReason: 'lags' }), false);
  assert.equal(readable({ ...REPLICA, reach: 'suspect', reachReason: 'x' }), true);
});

test('whether one is writable that does not answer, or was never seen, is not known', () => {
  const { db1, db2 } = view(knowledge({ db1: { ...WRITABLE, reach: 'down', reachReason: 'refused' } }));
  assert.deepEqual([db1.writable, db2.writable], [null, null]);
  const gone = view(knowledge({ db1: WRITABLE, db2: { ...REPLICA, reach: 'down', reachReason: 'refused' } }));
  assert.deepEqual([gone.db2.role, gone.db2.lagMs], ['replica', null]);
  const suspect = view(knowledge({ db1: { ...WRITABLE, reach: 'suspect', reachReason: 'timed out' } }));
  assert.equal(suspect.db1.writable, true);
});

test('a replica that is writable is told of', () => {
  const { db2 } = view(knowledge({ db1: WRITABLE, db2: { ...REPLICA, writable: true } }));
  assert.match(db2.reason, /replicates but is writable/);
  assert.equal(db2.writable, true);
});

test('a server that has what its primary has not says so, whatever else there is to say', () => {
  const diverged = new Map([['db2', { backend: 'db2', extras: '0-2-101 (the other has none)' }]]);
  const { backends } = assembleSnapshot(knowledge({ db1: WRITABLE, db2: READ_ONLY }, { diverged }));
  const reason = backends.find(({ name }) => name === 'db2')?.reason ?? '';
  assert.match(
    reason,
    /does not replicate .*; has what db1 has not: 0-2-101 .*SHOW LOST TRANSACTIONS db2 lists it/,
  );
});

test('a replica that lacks for good what its primary has takes no reads', () => {
  const divergence: Divergence = { backend: 'db2', extras: '0-2-101 to 0-2-102', kind: 'lacks' };
  for (const diverged of [new Map<string, Divergence>(), new Map([['db2', divergence]])]) {
    const { db2 } = view(knowledge({ db1: WRITABLE, db2: REPLICA }, { diverged }));
    assert.equal(db2.readable, diverged.size === 0);
    assert.match(db2.reason, diverged.size === 0 ? /^$/ : /lacks 0-2-101 to 0-2-102.*CLONE BACKEND db2/);
  }
});
