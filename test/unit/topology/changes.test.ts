import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TopologyChanges } from '../../../src/topology/changes.ts';
import type { BackendView, ClusterView, Snapshot } from '../../../src/topology/snapshot.ts';
import { clusterView } from '../../support/operations.ts';

const DB1: BackendView = {
  name: 'db1',
  cluster: 'main',
  address: { kind: 'tcp', host: 'h', port: 1 },
  role: 'replica',
  state: 'online',
  writable: false,
  lagMs: 0,
  rwWeight: 1,
  roWeight: 1,
  roWeightSet: false,
  maxConnections: 10,
  readable: true,
  reason: '',
  serverVersion: '1',
  greeting: null,
  sqlMode: null,
  gtidPosition: null,
};
const MAIN: ClusterView = clusterView();

function snapshot(backend: Partial<BackendView>, cluster: Partial<ClusterView> = {}): Snapshot {
  return { version: 1, epoch: 1, backends: [{ ...DB1, ...backend }], clusters: [{ ...MAIN, ...cluster }] };
}

const table: [string, Snapshot, string[]][] = [
  ['nothing', snapshot({}), []],
  ['lag alone', snapshot({ lagMs: 5000 }), []],
  [
    'down',
    snapshot({ state: 'down', readable: false, reason: 'x' }),
    ['backend.down', 'backend.not_readable'],
  ],
  ['a role', snapshot({ role: 'standalone' }), ['backend.role']],
  ['weights', snapshot({ roWeight: 5 }), ['backend.weights']],
  ['a limit', snapshot({ maxConnections: 5 }), ['backend.max_connections']],
  ['another reason', snapshot({ reason: 'access denied' }), ['backend.reason']],
  ['a primary lost', snapshot({}, { primary: null, reason: 'x' }), ['cluster.no_primary']],
  ['writes held', snapshot({}, { primary: null, writesHeld: true }), ['cluster.writes_held']],
  ['another primary', snapshot({}, { primary: 'db2' }), ['cluster.primary']],
];
for (const [name, next, expected] of table) {
  test(`events for ${name}`, () => {
    assert.deepEqual(
      new TopologyChanges().between(snapshot({}), next).map(({ event }) => event),
      expected,
    );
  });
}

/** The reasons that are told of a server that goes through these, one after the other. */
function toldOf(...states: Partial<BackendView>[]): string[] {
  const changes = new TopologyChanges();
  let before = snapshot({});
  return states.flatMap((state) => {
    const next = snapshot(state);
    const events = changes.between(before, next);
    before = next;
    return events.filter(({ event }) => event === 'backend.reason').map(({ detail }) => detail);
  });
}

test('while a server stays down each reason is told once, whatever numbers it has', () => {
  const down = (reason: string): Partial<BackendView> => ({ state: 'down', readable: false, reason });
  const [unreachable, late] = [down('host unreachable (port 40001)'), down('no login within 1000 ms')];
  const flips = [down('host unreachable (port 40002)'), late, down('host unreachable (port 40003)'), late];
  assert.deepEqual(toldOf(unreachable, ...flips, ...flips), [late.reason]);
  assert.deepEqual(toldOf(unreachable, ...flips, down('access denied'), late), [
    late.reason,
    'access denied',
  ]);
  assert.deepEqual(toldOf(unreachable, ...flips, {}, unreachable, late), [late.reason, late.reason]);
  const worn = { state: 'online', reason: 'its receiver is reconnecting' } as const;
  assert.deepEqual(
    toldOf(unreachable, late, worn, unreachable, late),
    [late.reason, late.reason],
    'another outage, though all was never well between the two',
  );
});

test('that all is well again is told each time', () => {
  const odd = { reason: 'its receiver is reconnecting' };
  assert.deepEqual(toldOf(odd, {}, odd, {}), [odd.reason, 'all is well', odd.reason, 'all is well']);
});

test('of a server that has left nothing is remembered', () => {
  const changes = new TopologyChanges();
  const [well, odd] = [snapshot({}), snapshot({ reason: 'odd' })];
  const none = { ...well, backends: [] };
  const worse = snapshot({ reason: 'worse' });
  const reasons = [
    [well, odd],
    [odd, none],
    [none, worse],
    [worse, odd],
  ].flatMap(([before, next]) => changes.between(before!, next!).map(({ detail }) => detail));
  assert.deepEqual(reasons, ['odd', 'odd']);
});
