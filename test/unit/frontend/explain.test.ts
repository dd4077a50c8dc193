import assert from 'node:assert/strict';
import { afterEach, suite, test } from 'node:test';
import type { ListenerConfig } from '../../../src/config/config.ts';
import { explainFirstRoute, explainRoute } from '../../../src/frontend/explain.ts';
import { explainSession } from '../../../src/frontend/explain-session.ts';
import type { Session } from '../../../src/frontend/session.ts';
import type { BackendView, Snapshot } from '../../../src/topology/snapshot.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { backendView, FakeWorker } from '../../support/fake-worker.ts';
import { clusterView } from '../../support/operations.ts';
import { DIALECTS, readStatementVectors } from '../../support/statements.ts';

const NOWHERE = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const;

let worker: FakeWorker;
let client: FakeClient;

afterEach(async () => {
  client.destroy();
  await worker.stop();
});

/** A session of an endpoint that has been greeted and has not logged in: no server is needed for that. */
async function greeted(listener: Partial<ListenerConfig>): Promise<Session> {
  worker = await FakeWorker.start({ servers: { db1: NOWHERE, db2: NOWHERE }, listener });
  client = await FakeClient.connect(worker.endpoint);
  return worker.session();
}

/** What EXPLAIN looks at, with these servers; the first is the primary. */
function looking(views: readonly BackendView[], writesHeld = false): Parameters<typeof explainRoute>[2] {
  const snapshot: Snapshot = {
    version: 2,
    epoch: 1,
    clusters: [clusterView({ name: 'c', primary: views[0]!.name, writesHeld })],
    backends: views,
  };
  return { snapshot: () => snapshot, pool: (name) => worker.pool(name), clock: worker.clock };
}

const A_READ = 'a read that every server answers alike';

const PRIMARY = backendView('db1', { role: 'primary', writable: true, readable: false });
const REPLICA = backendView('db2', { lagMs: 12, roWeight: 3 });

suite('where the first statement of a session would go', () => {
  const SPLIT = { mode: 'split' } as const;
  const WRITE = 'delete from t';
  const READ = 'select 1';

  const CASES: readonly [
    what: string,
    listener: Partial<ListenerConfig>,
    views: readonly BackendView[],
    sql: string,
    expected: readonly [target: string, backend: string | null],
  ][] = [
    ['a read, to a replica', SPLIT, [PRIMARY, REPLICA], READ, ['replica', 'db2']],
    ['a write, to the primary', SPLIT, [PRIMARY, REPLICA], WRITE, ['primary', 'db1']],
    [
      'a read while no replica can serve, to the primary',
      SPLIT,
      [PRIMARY, { ...REPLICA, readable: false, reason: 'it lags' }],
      READ,
      ['primary', 'db1'],
    ],
    [
      'a write while the primary is down, nowhere',
      SPLIT,
      [{ ...PRIMARY, state: 'down', reason: 'refused' }, REPLICA],
      WRITE,
      ['none', null],
    ],
    [
      'a write of a read endpoint with a shared pool, to a replica, which refuses it',
      { mode: 'read', pool: 'transaction' },
      [PRIMARY, REPLICA],
      WRITE,
      ['replica', 'db2'],
    ],
    [
      'a read of a write endpoint',
      { mode: 'write', pool: 'transaction' },
      [PRIMARY, REPLICA],
      READ,
      ['primary', 'db1'],
    ],
    [
      'a read of an endpoint that shares nothing',
      { mode: 'read' },
      [PRIMARY, REPLICA],
      READ,
      ['replica', 'db2'],
    ],
    [
      'START TRANSACTION READ WRITE on a read endpoint, nowhere',
      { mode: 'read' },
      [PRIMARY, REPLICA],
      'start transaction read write',
      ['dbproxy', null],
    ],
  ];
  for (const [what, listener, views, sql, expected] of CASES) {
    test(what, async () => {
      const session = await greeted(listener);
      const told = explainFirstRoute(session.endpoint, sql, looking(views));
      assert.deepEqual([told.target, told.backend], expected);
      assert.equal(told.pinnedBy, null);
      assert.ok(told.reasons.length > 0);
    });
  }

  test('has a reason for every statement, and a replica for plain reads alone', async () => {
    const { endpoint } = await greeted(SPLIT);
    const context = looking([PRIMARY, REPLICA]);
    const vectors = readStatementVectors().filter(({ dialect }) => dialect === DIALECTS.mariadb);
    assert.ok(vectors.length > 500);
    for (const { sql, class: kind, needs } of vectors) {
      const told = explainFirstRoute(endpoint, sql, context);
      assert.ok(told.reasons.length > 0 && told.reasons.every((reason) => reason !== ''), sql);
      if (told.target === 'dbproxy') assert.match(sql, /kill/i);
      const mayBeOnReplica = kind === 'read' || /read\s+only/i.test(sql);
      if (!mayBeOnReplica) assert.notEqual(told.target, 'replica', sql);
      const isPlain = kind === 'read' && needs === 0 && !/dbproxy|route|master|slave|hostgroup/i.test(sql);
      if (isPlain) assert.deepEqual([told.target, told.reasons[0]], ['replica', A_READ], sql);
    }
  });

  test('says why nothing can be had while writes are held', async () => {
    const { endpoint } = await greeted(SPLIT);
    const told = explainFirstRoute(endpoint, WRITE, looking([PRIMARY, REPLICA], true));
    assert.equal(told.target, 'none');
    assert.ok(told.reasons.includes('writes are held while a promotion is under way'));
  });

  test('leaves the shares of the servers as they are', async () => {
    const { endpoint } = await greeted(SPLIT);
    const views = [PRIMARY, REPLICA, backendView('db3', { roWeight: 1 })];
    const told = [1, 2, 3].map(() => explainFirstRoute(endpoint, READ, looking(views)).backend);
    assert.deepEqual(told, ['db2', 'db2', 'db2']);
    assert.equal(endpoint.credits.size, 0);
  });

  test('shows those that read, and why others do not', async () => {
    const { endpoint } = await greeted(SPLIT);
    const views = [
      PRIMARY,
      REPLICA,
      backendView('db3', { readable: false, lagMs: 60_000, reason: 'it lags' }),
      backendView('db4', { roWeight: 0 }),
      backendView('db5', { state: 'offline' }),
    ];
    assert.deepEqual(
      explainFirstRoute(endpoint, READ, looking(views)).replicas.map(
        ({ name, readable, lagMs, roWeight, reason }) => [name, readable, lagMs, roWeight, reason],
      ),
      [
        ['db2', true, 12, 3, ''],
        ['db3', false, 60_000, 1, 'it lags'],
        ['db4', true, 0, 0, 'its ro_weight is 0'],
        ['db5', false, 0, 1, 'it is offline'],
      ],
    );
  });
});

suite('a session that has not logged in', () => {
  test('is explained without a record of what it has set', async () => {
    const session = await greeted({ mode: 'split', causalReads: 'session' });
    const { record, connections, mode } = explainSession(session, looking([PRIMARY, REPLICA]));
    assert.equal(mode, 'split');
    assert.deepEqual(connections, []);
    assert.equal(record?.causal.mode, 'session');
    assert.deepEqual(record.pins, []);
    assert.equal(record.lastStatement, null);
  });

  test('keeps one connection where sessions do, and has none yet', async () => {
    const session = await greeted({ mode: 'write' });
    const { record, connections } = explainSession(session, looking([PRIMARY, REPLICA]));
    assert.equal(record, null);
    assert.deepEqual(connections, []);
    assert.equal(explainRoute(session, 'select 1', looking([PRIMARY, REPLICA])).backend, 'db1');
  });
});
