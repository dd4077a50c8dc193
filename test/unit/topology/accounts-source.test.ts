import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { accountsSource } from '../../../src/topology/accounts-source.ts';
import type { BackendView, ClusterView, Snapshot } from '../../../src/topology/snapshot.ts';
import { backendView, clusterView } from '../../support/operations.ts';

const HELD: Partial<ClusterView> = { primary: null, writesHeld: true };
const DOWN: Partial<BackendView> = { state: 'down', writable: null, readable: false };
const OLD: Partial<BackendView> = { role: 'standalone', writable: false, readable: false };
const NEW: Partial<BackendView> = { role: 'standalone', writable: true, readable: false };
const REPLICA: Partial<BackendView> = { role: 'replica', writable: false, readable: true };
const LATE: Partial<BackendView> = { ...REPLICA, readable: false };
const PRIMARY: Partial<BackendView> = { role: 'primary', writable: true, readable: false };

interface Row {
  readonly title: string;
  readonly cluster?: Partial<ClusterView>;
  readonly servers: readonly Partial<BackendView>[];
  /** Names of those that have just been added. */
  readonly added?: readonly string[];
  /** The choice when there are none yet, and when some have been read. */
  readonly first: string | null;
  readonly later: string | null;
}

const ROWS: readonly Row[] = [
  {
    title: 'the primary, whatever else answers',
    cluster: { primary: 'db2' },
    servers: [REPLICA, PRIMARY],
    first: 'db2',
    later: 'db2',
  },
  {
    title: 'a replica while the primary is away',
    servers: [DOWN, LATE, REPLICA],
    first: 'db3',
    later: 'db3',
  },
  {
    title: 'the old primary when the one that is being promoted is away',
    servers: [OLD, { ...DOWN, role: 'primary' }],
    first: 'db1',
    later: null,
  },
  {
    title: 'who is remembered as the primary before a replica that is far behind',
    servers: [LATE, { ...PRIMARY, writable: false }],
    first: 'db2',
    later: null,
  },
  {
    title: 'a replica that is far behind before a server that follows nobody',
    servers: [OLD, LATE],
    first: 'db2',
    later: null,
  },
  { title: 'nobody who does not answer', servers: [DOWN, DOWN], first: null, later: null },
  {
    title: 'nobody whom an operator has taken out',
    servers: [{ ...OLD, state: 'offline' }],
    first: null,
    later: null,
  },
  { title: 'nobody who has just been added', servers: [NEW, OLD], added: ['db1'], first: 'db2', later: null },
  {
    title: 'nobody of another cluster',
    servers: [{ ...REPLICA, cluster: 'other' }],
    first: null,
    later: null,
  },
];

suite('accounts are read from', () => {
  for (const { title, cluster = HELD, servers, added = [], first, later } of ROWS) {
    test(title, () => {
      const snapshot: Snapshot = {
        version: 1,
        epoch: 4,
        clusters: [clusterView(cluster)],
        backends: servers.map((server, index) => backendView({ name: `db${index + 1}`, ...server })),
      };
      const choose = (hasNone: boolean): string | null =>
        accountsSource(snapshot, 'main', hasNone, (name) => added.includes(name));
      assert.deepEqual([choose(true), choose(false)], [first, later]);
    });
  }
});
