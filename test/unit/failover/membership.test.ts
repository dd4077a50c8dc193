import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig, ProxyConfig } from '../../../src/config/config.ts';
import { Membership, objectionToDropping, type MembershipWorld } from '../../../src/failover/membership.ts';
import type { ServerControl } from '../../../src/failover/server-control.ts';
import { EMPTY_STATE, type DurableState, type StateStore } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { surveyOf, type ClusterDescription, type ServerDescription } from '../../support/clusters.ts';

const PRIMARY: ServerDescription = { waitsFor: 1 };
const REPLICA: ServerDescription = { from: 'db1', answers: true };

function objection(
  name: string,
  servers: Record<string, ServerDescription>,
  over: Partial<ClusterDescription> = {},
): string | null {
  return objectionToDropping(surveyOf({ cluster: { semiSync: 'require' }, servers, ...over }), name);
}

suite('a server may be dropped', () => {
  const table: [string, Record<string, ServerDescription>, Partial<ClusterDescription>?][] = [
    ['a replica beside another one that acknowledges', { db1: PRIMARY, db2: REPLICA, db3: REPLICA }],
    ['one that is down, also the last', { db1: PRIMARY, db2: { ...REPLICA, down: 'connection refused' } }],
    ['one that never acknowledged', { db1: PRIMARY, db2: { from: 'db1', answers: false } }],
    ['the last one, when nobody waits for it', { db1: PRIMARY, db2: REPLICA }, { cluster: {} }],
    [
      'one of three, when a write needs two',
      { db1: { waitsFor: 3, primarySide: { waitForReplicas: 2 } }, db2: REPLICA, db3: REPLICA, db4: REPLICA },
    ],
    ['the last one, when the primary goes on alone', { db1: PRIMARY, db2: REPLICA }, { alone: true }],
    ['any, while the cluster has no primary', { db1: {}, db2: {} }, { remembered: null }],
  ];
  for (const [what, servers, over] of table) {
    test(what, () => assert.equal(objection('db2', servers, over), null));
  }
});

suite('a server may not be dropped', () => {
  const table: [string, string, Record<string, ServerDescription>, RegExp][] = [
    ['the primary', 'db1', { db1: PRIMARY, db2: REPLICA }, /it is the primary/],
    ['a stranger', 'db9', { db1: PRIMARY, db2: REPLICA }, /no such backend/],
    [
      'while the primary is away: it may be asked',
      'db2',
      { db1: { ...PRIMARY, down: 'connection refused' }, db2: REPLICA, db3: REPLICA },
      /the primary db1 does not answer, .* SET BACKEND db2 OFFLINE/,
    ],
    ['a source', 'db2', { db1: PRIMARY, db2: REPLICA, db3: { from: 'db2' } }, /db3 replicates from it/],
    ['the last that acknowledges', 'db2', { db1: PRIMARY, db2: REPLICA }, /the last replica that ack/],
    [
      'one of two, when a write needs two',
      'db2',
      { db1: { waitsFor: 2, primarySide: { waitForReplicas: 2 } }, db2: REPLICA, db3: REPLICA },
      /a write needs 2 acknowledgements and 1 other replica\(s\) acknowledge: writes would wait/,
    ],
    [
      'the last that can, beside one that is down',
      'db2',
      { db1: PRIMARY, db2: REPLICA, db3: { ...REPLICA, down: 'x' } },
      /the last replica that acknowledges/,
    ],
  ];
  for (const [what, name, servers, told] of table) {
    test(what, () => assert.match(objection(name, servers) ?? '', told));
  }

  test('the only server', () => {
    const alone = { servers: { db2: {} }, remembered: null };
    assert.match(objection('db2', alone.servers, alone) ?? '', /the only server/);
  });
});

/** Servers db1 and db2 in cluster main, db3 in cluster other; what is done is in `said`. */
function scene(over: Partial<MembershipWorld> = {}): {
  membership: Membership;
  store: TopologyStore;
  said: string[];
  /** The disk takes this long. */
  disk: { until: Promise<void> };
} {
  const said: string[] = [];
  const disk = { until: Promise.resolve() };
  let state: DurableState = EMPTY_STATE;
  const file: StateStore = {
    load: () => state,
    save: async (next) => {
      await disk.until;
      state = next;
      said.push('saved');
    },
  };
  const main = clusterConfig({ semiSync: 'require' });
  const clusters: ClusterConfig[] = [main, clusterConfig({ name: 'other' })];
  const backends = [backendConfig('db1'), backendConfig('db2'), backendConfig('db9', { cluster: 'other' })];
  const store = new TopologyStore({ clusters, backends }, file);
  const listens = { address: { kind: 'tcp', host: '127.0.0.1', port: 1 } } as ProxyConfig['admin'] &
    ProxyConfig['http'];
  const world: MembershipWorld = {
    config: { clusters, listeners: [], admin: listens, http: listens },
    clock: new FakeClock(),
    store,
    openServer: async (backend) =>
      ({
        backend,
        setSemiSync: async () => void said.push(`${backend.name} is told not to acknowledge`),
        stopReceiver: async () => void said.push(`${backend.name} hangs up`),
        startReplication: async () => void said.push(`${backend.name} connects anew`),
        close: () => undefined,
      }) as unknown as ServerControl,
    survey: () => surveyOf({ cluster: main, servers: { db1: PRIMARY, db2: REPLICA, db3: REPLICA } }),
    inTheWay: () => null,
    overtakeChores: async () => void said.push('chores have ended'),
    sessionsOn: async () => 0,
    tell: () => undefined,
    ...over,
  };
  return { membership: new Membership(world), store, said, disk };
}

suite('while a server is dropped', () => {
  test('no chore is at work that would have it acknowledge again', async () => {
    const { membership, store, said } = scene();
    await membership.drop('db2');
    assert.deepEqual(said, [
      'saved',
      'chores have ended',
      'db2 is told not to acknowledge',
      'db2 hangs up',
      'db2 connects anew',
      'saved',
    ]);
    assert.deepEqual(
      store.members.map(({ name }) => name),
      ['db1', 'db9'],
    );
  });

  test('a receiver that somebody has stopped is not started', async () => {
    const db2 = { ...REPLICA, hears: 'stopped' } as const;
    const { membership, said } = scene({
      survey: () =>
        surveyOf({ cluster: { semiSync: 'require' }, servers: { db1: PRIMARY, db2, db3: REPLICA } }),
    });
    await membership.drop('db2');
    assert.deepEqual(said.slice(-2), ['db2 is told not to acknowledge', 'saved']);
  });

  test('a chore that does not end has it refused, and all is as before', async () => {
    const { membership, store } = scene({
      overtakeChores: async () => Promise.reject(new Error('what dbproxy was doing at db2 has not ended')),
    });
    await assert.rejects(
      membership.drop('db2'),
      /DROP BACKEND db2.*what dbproxy was doing at db2 has not ended/,
    );
    assert.equal(store.settingsOf('db2').admin, 'online');
    assert.equal(membership.underWay('main'), null);
  });

  test('one that has become the last to acknowledge meanwhile stays', async () => {
    let servers: Record<string, ServerDescription> = { db1: PRIMARY, db2: REPLICA, db3: REPLICA };
    const { membership, store } = scene({
      survey: () => surveyOf({ cluster: { semiSync: 'require' }, servers }),
      overtakeChores: async () => void (servers = { db1: PRIMARY, db2: REPLICA }),
    });
    await assert.rejects(membership.drop('db2'), /the last replica that acknowledges/);
    assert.equal(store.settingsOf('db2').admin, 'online');
  });

  test('it is under way in its cluster, whatever joins another one', async () => {
    let hasEnded: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (hasEnded = resolve));
    const { membership } = scene({ overtakeChores: () => ended });
    const dropping = membership.drop('db2');
    await membership.add('db8', { address: '10.0.0.8:3306', cluster: 'other' }, null);
    assert.equal(membership.underWay('main'), 'DROP BACKEND db2');
    assert.equal(membership.underWay('other'), null);
    hasEnded();
    await dropping;
    assert.equal(membership.underWay('main'), null);
  });
});
