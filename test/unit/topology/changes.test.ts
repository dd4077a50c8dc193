import assert from 'node:assert/strict';
import { test } from 'node:test';
import { topologyEvents } from '../../../src/topology/changes.ts';
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
      topologyEvents(snapshot({}), next).map(({ event }) => event),
      expected,
    );
  });
}
