import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { execute, FIRST_ADMIN_ID, type Answer, type ExecuteContext } from '../../../src/admin/execute.ts';
import { parseStatement } from '../../../src/admin/parse.ts';
import type { ListenerConfig } from '../../../src/config/config.ts';
import {
  backendView,
  digestStats,
  exampleConfig,
  fakeOperations,
  ROUTE,
  sessionExplanation,
  snapshotOf,
  workerStats,
  PEERS,
} from '../../support/operations.ts';

function contextOf(changes: Partial<ExecuteContext> = {}): ExecuteContext {
  return {
    operations: fakeOperations(),
    version: '1.2.3',
    account: 'admin@127.0.0.1',
    connectionId: FIRST_ADMIN_ID,
    database: '',
    complaint: null,
    killAdmin: () => false,
    ...changes,
  };
}

function run(text: string, context = contextOf()): Promise<Answer> {
  return execute(parseStatement(text), context);
}

/** Rows as objects by column name. */
async function rowsOf(text: string, context = contextOf()): Promise<Record<string, unknown>[]> {
  const answer = await run(text, context);
  assert.equal(answer.kind, 'table');
  const { columns, rows } = answer.table;
  for (const row of rows) assert.equal(row.length, columns.length);
  return rows.map((row) => Object.fromEntries(row.map((cell, index) => [columns[index]!.name, cell])));
}

async function columnsOf(text: string): Promise<string[]> {
  const answer = await run(text);
  assert.equal(answer.kind, 'table');
  return answer.table.columns.map((column) => column.name);
}

describe('SHOW BACKENDS', () => {
  test('begins with the columns that scripts rely on', async () => {
    const columns = await columnsOf('SHOW BACKENDS');
    assert.deepEqual(columns.slice(0, 13), [
      'name',
      'cluster',
      'address',
      'role',
      'state',
      'writable',
      'lag_ms',
      'rw_weight',
      'ro_weight',
      'sessions',
      'connections_used',
      'connections_idle',
      'reason',
    ]);
  });

  test('adds up the connections of all workers', async () => {
    const [db1, db2] = await rowsOf('SHOW BACKENDS');
    assert.equal(db1!['connections_used'], 6);
    assert.equal(db1!['connections_idle'], 4);
    assert.equal(db2!['connections_used'], 0);
    assert.equal(db1!['lag_ms'], null);
    assert.equal(db2!['lag_ms'], 12);
    assert.equal(db1!['address'], '10.0.0.1:3306');
  });
});

describe('ShowBackends', () => {
  test('has exactly the columns of the older dbproxy', async () => {
    assert.deepEqual(await columnsOf('ShowBackends'), [
      'backend_ndx',
      'address',
      'status',
      'type',
      'connected_clients',
      'rw_weight',
      'ro_weight',
      'rise',
      'fall',
      'interval',
      'fastdowninter',
      'health',
    ]);
  });

  test('answers a row a server', async () => {
    const [db1, db2] = await rowsOf('ShowBackends');
    assert.deepEqual(db1, {
      backend_ndx: 1,
      address: '10.0.0.1:3306',
      status: 'up',
      type: 'rw',
      connected_clients: 6,
      rw_weight: 2,
      ro_weight: 1,
      rise: 2,
      fall: 3,
      interval: 1000,
      fastdowninter: 250,
      health: 4,
    });
    assert.equal(db2!['type'], 'ro');
  });

  const states = [
    ['online', 'up', 4],
    ['suspect', 'up', 2],
    ['draining', 'pending', 4],
    ['down', 'down', 0],
    ['offline', 'down', 0],
  ] as const;
  for (const [state, status, health] of states) {
    test(`says ${status} for a server that is ${state}`, async () => {
      const operations = fakeOperations({ snapshot: () => snapshotOf({ db1: { state } }) });
      const [db1] = await rowsOf('ShowBackends', contextOf({ operations }));
      assert.deepEqual([db1!['status'], db1!['health']], [status, health]);
    });
  }

  test('says unknown before the first good check', async () => {
    const operations = fakeOperations({ snapshot: () => snapshotOf({ db1: { serverVersion: null } }) });
    const [db1] = await rowsOf('ShowBackends', contextOf({ operations }));
    assert.equal(db1!['status'], 'unknown');
  });
});

describe('the other tables', () => {
  test('SHOW CLUSTERS names the primary', async () => {
    assert.deepEqual(await rowsOf('SHOW CLUSTERS'), [
      {
        name: 'main',
        primary: 'db1',
        epoch: 3,
        writes_held: 'no',
        backends: 2,
        backends_online: 2,
        reason: '',
        maintenance: 'off',
      },
    ]);
  });

  test('SHOW CLUSTERS tells of maintenance', async () => {
    const operations = fakeOperations({ snapshot: () => snapshotOf({ cluster: { maintenance: 'on' } }) });
    const [row] = await rowsOf('SHOW CLUSTERS', contextOf({ operations }));
    assert.equal(row?.['maintenance'], 'on');
  });

  test('whether a server that does not answer is writable nobody knows', async () => {
    const operations = fakeOperations({
      snapshot: () => snapshotOf({ db2: { state: 'down', writable: null } }),
    });
    for (const statement of ['SHOW BACKENDS', 'SHOW TOPOLOGY']) {
      const rows = await rowsOf(statement, contextOf({ operations }));
      assert.deepEqual(
        rows.map((row) => row['writable']),
        ['yes', 'unknown'],
        statement,
      );
    }
  });

  test('SHOW LISTENERS tells one that waits in part', async () => {
    const rows = await rowsOf('SHOW LISTENERS');
    assert.deepEqual(
      rows.map((row) => [
        row['name'],
        row['state'],
        row['connections'],
        row['workers_listening'],
        row['reason'],
      ]),
      [
        ['write', 'listening', 8, 2, ''],
        ['read', 'partly', 0, 1, 'address not available'],
        ['split', 'listening', 0, 2, ''],
      ],
    );
  });

  test('SHOW LISTENERS counts the sessions of an address that has left', async () => {
    const gone = { listener: 'write', error: 'this host does not have it', isDraining: true };
    const operations = fakeOperations({
      listeners: () => [
        { ...gone, worker: 1, stateMs: 1_200 },
        { ...gone, worker: 2, stateMs: 1_210 },
      ],
    });
    const rows = await rowsOf("SHOW LISTENERS LIKE 'write'", contextOf({ operations }));
    assert.deepEqual(
      rows.map((row) => [row['state'], row['connections'], row['draining'], row['state_ms']]),
      [['draining', 8, 8, 1_200]],
    );
  });

  test('SHOW LISTENERS says waiting when no worker has the address', async () => {
    const operations = fakeOperations({ listeners: () => [] });
    const rows = await rowsOf("SHOW LISTENERS LIKE 'write'", contextOf({ operations }));
    assert.deepEqual(
      rows.map((row) => row['state']),
      ['waiting'],
    );
  });

  test('SHOW POOLS joins the workers', async () => {
    const other = { backend: 'db1', user: 'batch', used: 1, idle: 0, connecting: 0, waiting: 2 };
    const stats = [workerStats(), workerStats({ slot: 2, pools: [...workerStats().pools, other] })];
    const operations = fakeOperations({ stats: async () => stats });
    assert.deepEqual(await rowsOf('SHOW POOLS', contextOf({ operations })), [
      { backend: 'db1', user: 'app', used: 6, idle: 4, connecting: 2, waiting: 0 },
      { backend: 'db1', user: 'batch', used: 1, idle: 0, connecting: 0, waiting: 2 },
    ]);
  });

  test('SHOW SESSIONS is SHOW PROCESSLIST', async () => {
    const rows = await rowsOf('SHOW SESSIONS');
    assert.deepEqual(rows, await rowsOf('SHOW PROCESSLIST'));
    assert.equal(rows[0]!['thread_id'], 77);
    assert.equal(rows[0]!['age_ms'], 1501);
  });

  test('SHOW STATUS has counters by name', async () => {
    const rows = await rowsOf("SHOW STATUS WHERE Variable_name = 'queries'");
    assert.deepEqual(rows, [{ Variable_name: 'Queries', Value: 6 }]);
    assert.equal((await rowsOf("SHOW STATUS LIKE 'Queries_write'"))[0]!['Value'], 6);
    assert.equal((await rowsOf("SHOW STATUS LIKE 'Uptime'"))[0]!['Value'], 61);
  });

  test('SHOW EVENTS has times that people read', async () => {
    const rows = await rowsOf("SHOW EVENTS LIKE 'backend.down'");
    assert.deepEqual(rows, [
      { id: 2, time: '1970-01-01T00:00:01.000Z', event: 'backend.down', subject: 'db2', detail: 'refused' },
    ]);
  });

  test('SHOW TOPOLOGY says which server takes the writes', async () => {
    const rows = await rowsOf("SHOW TOPOLOGY WHERE takes_writes = 'yes'");
    assert.deepEqual(
      rows.map((row) => row['backend']),
      ['db1'],
    );
  });

  test('HELP lists the statements, also those of later versions', async () => {
    const rows = await rowsOf('HELP pause');
    assert.ok(rows.length >= 1);
    assert.ok(rows.every((row) => row['available'] === 'no'));
    assert.deepEqual(
      (await rowsOf('HELP shutdown')).map((row) => row['available']),
      ['yes'],
    );
  });

  const shows = [
    'CLUSTERS',
    'BACKENDS',
    'LISTENERS',
    'POOLS',
    'USERS',
    'SESSIONS',
    'STATUS',
    'VARIABLES',
    'EVENTS',
    'DIGESTS',
    'DIAGNOSES',
    'PLAN',
    'PEER',
    'RULES',
    'TOPOLOGY',
    'CONFIG',
    'VERSION',
    'HELP',
    'DATABASES',
    'TABLES',
    'WARNINGS',
  ];
  test('no table has a secret in it', async () => {
    for (const word of shows) {
      assert.doesNotMatch(JSON.stringify(await run(`SHOW ${word}`)), /secret-of/, word);
    }
  });
});

describe('EXPLAIN ROUTE', () => {
  const route = {
    target: 'primary',
    backend: 'db1',
    class: 'read',
    pinned_by: null,
    digest: '0x0123456789abcdef',
    listener: 'split',
  };

  test('answers a row a reason, then a row a replica', async () => {
    const rows = await rowsOf('EXPLAIN ROUTE select 1');
    assert.deepEqual(rows, [
      { ...route, reason: 'it is a read' },
      { ...route, reason: 'no replica has the last write of this session' },
      {
        ...route,
        reason:
          'db2: takes reads, lag 12 ms, ro_weight 1, is not known to have the writes to be seen, not asked to wait',
      },
    ]);
    assert.deepEqual(Object.keys(rows[0]!).slice(0, 4), ['target', 'backend', 'class', 'pinned_by']);
  });

  test('answers a row also where there is no reason to give', async () => {
    const operations = fakeOperations({
      explainRoute: async () => ({ ...ROUTE, reasons: [], replicas: [], pinnedBy: 'open transaction' }),
    });
    assert.deepEqual(await rowsOf('EXPLAIN ROUTE select 1', contextOf({ operations })), [
      { ...route, pinned_by: 'open transaction', reason: '' },
    ]);
  });

  test('asks for a new session of the split listener, of the one that is named, or for a session', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    await run("EXPLAIN ROUTE select ';'", context);
    await run('EXPLAIN ROUTE ON LISTENER split select 2', context);
    await run('EXPLAIN ROUTE FOR SESSION 1090519042 select 3', context);
    await run('EXPLAIN ROUTE ON LISTENER split FOR SESSION 1090519042 select 4', context);
    const session = { kind: 'session', sessionId: 1_090_519_042 };
    assert.deepEqual(operations.calls, [
      ['explainRoute', { kind: 'fresh', listener: 'split' }, "select ';'"],
      ['explainRoute', { kind: 'fresh', listener: 'split' }, 'select 2'],
      ['explainRoute', session, 'select 3'],
      ['explainRoute', session, 'select 4'],
    ]);
  });

  test('says which listeners could be meant when it is not clear', async () => {
    const config = exampleConfig();
    const withModes = (...modes: ListenerConfig['mode'][]): ExecuteContext => {
      const listeners = config.listeners.map((one, index) => ({ ...one, mode: modes[index]! }));
      return contextOf({ operations: fakeOperations({ config: () => ({ ...config, listeners }) }) });
    };
    await assert.rejects(run('EXPLAIN ROUTE select 1', withModes('write', 'read', 'read')), {
      code: 'DBPROXY_ADMIN_SYNTAX',
      message: /no listener has mode = split: write ON LISTENER and one of write, read, split/,
    });
    await assert.rejects(run('EXPLAIN ROUTE select 1', withModes('split', 'read', 'split')), {
      code: 'DBPROXY_ADMIN_SYNTAX',
      message: /several listeners have mode = split: write ON LISTENER and one of write, split/,
    });
  });

  test('refuses a listener or a session that there is not, and a session of another listener', async () => {
    const refused: [string, string, RegExp][] = [
      [
        'EXPLAIN ROUTE ON LISTENER splti select 1',
        'DBPROXY_ADMIN_UNKNOWN_OBJECT',
        /no listener 'splti'; known: write, read, split; did you mean 'split'\?/,
      ],
      ['EXPLAIN ROUTE FOR SESSION 5 select 1', 'DBPROXY_NO_SUCH_THREAD', /5/],
      [
        'EXPLAIN ROUTE ON LISTENER read FOR SESSION 1090519042 select 1',
        'DBPROXY_ADMIN_BAD_VALUE',
        /session 1090519042 is on listener 'split'/,
      ],
    ];
    for (const [text, code, message] of refused) await assert.rejects(run(text), { code, message });
  });
});

describe('EXPLAIN SESSION', () => {
  test('answers what a session is, holds and has set, and why it is pinned since when', async () => {
    const rows = await rowsOf('EXPLAIN SESSION 1090519042');
    assert.deepEqual(
      rows.map(({ item, value, since_ms: sinceMs }) => [item, value, sinceMs]),
      [
        ['id', 1_090_519_042, 1501],
        ['user', 'app', null],
        ['client', '10.0.0.50:40001', null],
        ['listener', 'write', null],
        ['mode', 'split', null],
        ['pool', 'transaction', null],
        ['state', 'active', 2],
        ['queries', 12, null],
        ['connection', 'db1 (primary), thread 77', null],
        ['pin', 'open transaction', 21],
        ['pinned_to', 'db1', null],
        ['in_transaction', 'on', null],
        ['autocommit', 'on', null],
        ['database', 'shop', null],
        ['character_set', 'utf8mb4', null],
        ['setting', "sql_mode = 'ANSI'", null],
        ['user_variable', '@tenant = 7', null],
        ['prepared_statements', 2, null],
        ['causal_reads', 'session', null],
        ['causal_position', '0-1-5', null],
        ['causal_at_once', 3, null],
        ['causal_waited', 2, null],
        ['causal_fell_back', 1, null],
        ['last_class', 'write', null],
        ['last_target', 'primary', null],
        ['last_backend', 'db1', null],
        ['last_reason', 'it writes', null],
        ['retries', 4, null],
      ],
    );
  });

  test('says of a session that nothing pins that it is pinned to nothing', async () => {
    const explanation = sessionExplanation({ pins: [], pinnedTo: null, lastStatement: null });
    const operations = fakeOperations({ explainSession: async () => explanation });
    const rows = await rowsOf('EXPLAIN SESSION 1090519042', contextOf({ operations }));
    assert.deepEqual(
      rows.filter(({ item }) => /^(pin|last_)/.test(String(item))).map(({ item, value }) => [item, value]),
      [['pinned_to', null]],
    );
  });

  test('says of a session that keeps one connection that it does, and since when', async () => {
    const explanation = { ...sessionExplanation(), mode: 'read', pool: 'session', record: null } as const;
    const operations = fakeOperations({ explainSession: async () => explanation });
    const rows = await rowsOf('EXPLAIN SESSION 1090519042', contextOf({ operations }));
    assert.deepEqual(rows.slice(-2), [
      {
        item: 'pin',
        value: 'keeps one connection for its life (mode = read, pool = session)',
        since_ms: 1501,
      },
      { item: 'pinned_to', value: 'db1', since_ms: null },
    ]);
  });

  test('refuses a session that there is not', async () => {
    await assert.rejects(run('EXPLAIN SESSION 5'), { code: 'DBPROXY_NO_SUCH_THREAD' });
  });
});

describe('SHOW DIGESTS', () => {
  test('joins the workers, and has what took the most time first', async () => {
    const other = digestStats({ digest: '0x00000000000000ff', sumMs: 2000, count: 1, text: 'update t' });
    const elsewhere = digestStats({ listener: 'reports', count: 0, sumMs: 0 });
    const workers = [...(await fakeOperations().digests()), elsewhere, other];
    const operations = fakeOperations({ digests: async () => workers });
    const rows = await rowsOf('SHOW DIGESTS', contextOf({ operations }));
    assert.deepEqual(Object.keys(rows[0]!), [
      'digest',
      'listener',
      'class',
      'count',
      'mean_ms',
      'max_ms',
      'bytes',
      'primary',
      'replica',
      'pipelined',
      'text',
    ]);
    assert.deepEqual(
      rows.map((row) => Object.values(row)),
      [
        ['0x00000000000000ff', 'split', 'read', 1, '2000.000', '0.750', 300, 1, 2, 1, 'update t'],
        [
          '0x0123456789abcdef',
          'split',
          'read',
          4,
          '2.500',
          '8.500',
          600,
          2,
          4,
          2,
          'select c from t where id = ?',
        ],
        [
          '0x0123456789abcdef',
          'reports',
          'read',
          0,
          '0.000',
          '0.750',
          300,
          1,
          2,
          1,
          'select c from t where id = ?',
        ],
      ],
    );
    assert.equal((await rowsOf("SHOW DIGESTS LIKE 'update%'", contextOf({ operations }))).length, 1);
    assert.equal(
      (await rowsOf('SHOW DIGESTS WHERE digest = 0x00000000000000FF', contextOf({ operations }))).length,
      1,
    );
  });
});

test('SHOW RULES has the rules in their order, with the hits of all workers', async () => {
  assert.deepEqual(await rowsOf('SHOW RULES'), [
    { name: 'reports', user: 'reporting', listener: '', digest: '', target: 'replica', hits: 6 },
    {
      name: 'checkout',
      user: '',
      listener: 'split',
      digest: '0x0123456789abcdef',
      target: 'primary',
      hits: 0,
    },
  ]);
});

test('what was counted of split endpoints is in SHOW STATUS', async () => {
  const rows = await rowsOf('SHOW STATUS');
  const shown: Record<string, unknown> = {};
  for (const row of rows) shown[String(row['Variable_name'])] = row['Value'];
  assert.partialDeepStrictEqual(shown, {
    Causal_reads_at_once: 20,
    Causal_reads_waited: 8,
    Causal_reads_fell_back: 2,
    Read_retries: 4,
    Pipelined_queries: 14,
    Pool_restores: 18,
    Session_pins: 2,
    Prepared_statements: 10,
    Rule_hits: 6,
  });
});

describe('acting', () => {
  test('changes go to the server that is named, by name or by address', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    assert.equal((await run('SET BACKEND db2 RO_WEIGHT = 5', context)).kind, 'ok');
    await run('SetBackendParam --backend=10.0.0.1:3306 --rw-weight=0', context);
    await run('SetBKOffline --backend=10.0.0.2:3306', context);
    assert.deepEqual(operations.calls, [
      ['setBackend', 'db2', { roWeight: 5 }],
      ['setBackend', 'db1', { rwWeight: 0 }],
      ['setBackend', 'db2', { admin: 'offline' }],
    ]);
  });

  test('an unknown server is refused with the names there are, and nothing is done', async () => {
    const operations = fakeOperations();
    for (const text of ['SET BACKEND db3 ONLINE', 'PROMOTE db3', 'SetBKOnline --backend=10.0.0.9:1']) {
      await assert.rejects(run(text, contextOf({ operations })), {
        code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT',
        message: /known: db1, db2/,
      });
    }
    assert.deepEqual(operations.calls, []);
  });

  test('PROMOTE answers its steps, with FORCE or without', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    assert.deepEqual(await rowsOf('PROMOTE db2', context), [
      { step: 'fence', result: 'done', duration_ms: 3, detail: 'db1 is read-only' },
    ]);
    await run('PROMOTE 10.0.0.2:3306 FORCE', context);
    assert.deepEqual(operations.calls, [
      ['promote', 'db2', false],
      ['promote', 'db2', true],
    ]);
  });

  test('SWITCHOVER and FAILOVER of the only cluster, of one that is named, to whom is called by address', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    const step = { step: 'fence', result: 'done', duration_ms: 3, detail: 'db1 is read-only' };
    assert.deepEqual(await rowsOf('SWITCHOVER', context), [step]);
    await run('FAILOVER CLUSTER main TO 10.0.0.2:3306 FORCE', context);
    await run('SWITCHOVER TO db2 DRY RUN', context);
    assert.deepEqual(operations.calls, [
      ['changePrimary', 'main', { kind: 'switchover', to: null, force: false, dryRun: false }],
      ['changePrimary', 'main', { kind: 'failover', to: 'db2', force: true, dryRun: false }],
      ['changePrimary', 'main', { kind: 'switchover', to: 'db2', force: false, dryRun: true }],
    ]);
  });

  test('REHEARSE SWITCHOVER answers the steps of both ways', async () => {
    const operations = fakeOperations();
    const rows = await rowsOf('REHEARSE SWITCHOVER TO db2', contextOf({ operations }));
    assert.deepEqual(rows, [
      { step: 'there: pause', result: 'done', duration_ms: 41, detail: 'statements waited up to 41 ms' },
    ]);
    assert.deepEqual(operations.calls, [['rehearse', 'main', 'db2']]);
  });

  test('MAINTENANCE is set for one cluster, or for all', async () => {
    const operations = fakeOperations({
      config: () => {
        const config = exampleConfig();
        return { ...config, clusters: [...config.clusters, { ...config.clusters[0]!, name: 'other' }] };
      },
    });
    const context = contextOf({ operations });
    const answer = await run('MAINTENANCE ON', context);
    assert.ok(answer.kind === 'ok' && answer.affectedRows === 2);
    await run('MAINTENANCE OFF CLUSTER other', context);
    assert.deepEqual(operations.calls, [
      ['setMaintenance', 'main', true],
      ['setMaintenance', 'other', true],
      ['setMaintenance', 'other', false],
    ]);
    await assert.rejects(run('SWITCHOVER', context), {
      code: 'DBPROXY_ADMIN_SYNTAX',
      message: /several clusters: write CLUSTER and one of main, other/,
    });
  });

  test('an unknown cluster or server is refused, and nothing is done', async () => {
    const operations = fakeOperations();
    const statements = [
      'SWITCHOVER CLUSTER mian',
      'FAILOVER TO db3',
      'REHEARSE SWITCHOVER CLUSTER x',
      'MAINTENANCE ON CLUSTER x',
      'REJOIN db3',
    ];
    for (const text of statements) {
      await assert.rejects(run(text, contextOf({ operations })), { code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT' });
    }
    assert.deepEqual(operations.calls, []);
  });

  test('REJOIN goes to the server that is named, with what is to become of its own transactions', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    await run('REJOIN 10.0.0.2:3306 APPEND', context);
    await run('REJOIN db1 DRY RUN', context);
    assert.deepEqual(operations.calls, [
      ['rejoin', { backend: 'db2', mode: 'append', dryRun: false }],
      ['rejoin', { backend: 'db1', mode: 'plain', dryRun: true }],
    ]);
  });

  test('SHOW LOST TRANSACTIONS is of one server, or of all', async () => {
    const all = await rowsOf('SHOW LOST TRANSACTIONS');
    assert.deepEqual(
      all.map((row) => row['backend']),
      ['db1', 'db2'],
    );
    const one = await rowsOf('SHOW LOST TRANSACTIONS db2');
    assert.deepEqual(
      one.map((row) => row['backend']),
      ['db2'],
    );
    assert.equal((await rowsOf("SHOW LOST TRANSACTIONS WHERE conflict = 'the row has changed'")).length, 1);
  });

  test('SHOW DIAGNOSES tells what is the matter and what is done about it', async () => {
    assert.deepEqual(await rowsOf("SHOW DIAGNOSES WHERE gravity = 'warning'"), [
      {
        cluster: 'main',
        diagnosis: 'ReplicaLagging',
        gravity: 'warning',
        action: 'none',
        detail: 'db2: lags more than max_lag',
      },
    ]);
  });

  test('SHOW PEER has no rows, or one of each of the pair', async () => {
    assert.deepEqual(await rowsOf('SHOW PEER'), []);
    const rows = await rowsOf('SHOW PEER', contextOf({ operations: fakeOperations({ peers: () => PEERS }) }));
    const stamp = { term: 1, epoch: 7, revision: 12, version: '1.2.3' };
    assert.deepEqual(rows, [
      {
        ...stamp,
        dbproxy: 'this',
        address: '10.0.0.1:6032',
        state: 'running',
        holds_vip: 'no',
        in_charge: 'no',
        heard_ms: null,
        clock_ahead_ms: null,
        doing: '',
        reason: 'the VIP is there',
      },
      {
        ...stamp,
        dbproxy: 'other',
        address: '10.0.0.2:6032',
        state: 'connected',
        holds_vip: 'yes',
        in_charge: 'yes',
        heard_ms: 250,
        clock_ahead_ms: -3,
        doing: 'a promotion of main',
        reason: '',
      },
    ]);
  });

  test('SHOW PLAN has no rows, or the steps of the promotions under way in their order', async () => {
    assert.deepEqual(await rowsOf('SHOW PLAN'), []);
    const operations = fakeOperations({
      plans: () => [
        {
          cluster: 'main',
          kind: 'switchover',
          target: 'db2',
          steps: [
            { step: 'hold', result: 'done', detail: 'statements wait', durationMs: 0.4 },
            { step: 'fence', result: 'running', detail: '', durationMs: 0 },
          ],
        },
        {
          cluster: 'other',
          kind: 'failover',
          target: 'db5',
          steps: [{ step: 'hold', result: 'planned', detail: '', durationMs: 0 }],
        },
      ],
    });
    const common = { cluster: 'main', kind: 'switchover', target: 'db2', duration_ms: 0 };
    assert.deepEqual(await rowsOf('SHOW PLAN', contextOf({ operations })), [
      { ...common, step: 'hold', result: 'done', detail: 'statements wait' },
      { ...common, step: 'fence', result: 'running', detail: '' },
      {
        ...common,
        cluster: 'other',
        kind: 'failover',
        target: 'db5',
        step: 'hold',
        result: 'planned',
        detail: '',
      },
    ]);
  });

  test('BOOTSTRAP and CLONE BACKEND answer what was done where, or would be', async () => {
    const row = {
      server: 'db2',
      step: 'follow db1',
      result: 'done',
      duration_ms: 12,
      detail: 'it has all that was sent to it',
      sql: 'START SLAVE;',
    };
    assert.deepEqual(await rowsOf('BOOTSTRAP CLUSTER main PRIMARY db1 DRY RUN'), [row]);
    assert.deepEqual(await rowsOf('CLONE BACKEND 10.0.0.2:3306 FROM db1'), [row]);
  });

  test('KILL ends a client session; an id that is none is told', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    await run('KILL QUERY 1090519042', context);
    await assert.rejects(run('KILL 5', context), { code: 'DBPROXY_NO_SUCH_THREAD' });
    assert.deepEqual(operations.calls, [
      ['killSession', 1_090_519_042, true],
      ['killSession', 5, false],
    ]);
  });

  test('KILL of an admin connection never reaches the client sessions', async () => {
    const operations = fakeOperations();
    const killed: number[] = [];
    const killAdmin = (id: number): boolean => killed.push(id) > 0 && id === FIRST_ADMIN_ID + 1;
    const context = contextOf({ operations, killAdmin });
    await run(`KILL QUERY ${FIRST_ADMIN_ID}`, context);
    await run(`KILL ${FIRST_ADMIN_ID + 1}`, context);
    await assert.rejects(run(`KILL ${FIRST_ADMIN_ID + 2}`, context), { code: 'DBPROXY_NO_SUCH_THREAD' });
    assert.deepEqual(killed, [FIRST_ADMIN_ID + 1, FIRST_ADMIN_ID + 2]);
    assert.deepEqual(operations.calls, []);
  });

  test('SHUTDOWN acts when its answer has left', async () => {
    const operations = fakeOperations();
    const answer = await run('SHUTDOWN NOW', contextOf({ operations }));
    assert.deepEqual(operations.calls, []);
    assert.equal(answer.kind, 'ok');
    answer.afterwards?.();
    assert.deepEqual(operations.calls, [['shutdown', true]]);
  });
});

describe('SELECT', () => {
  test('answers what clients ask on connecting', async () => {
    const rows = await rowsOf('SELECT DATABASE(), USER(), CONNECTION_ID(), @@version_comment, 1 AS one');
    assert.deepEqual(rows, [
      {
        'DATABASE()': null,
        'USER()': 'admin@127.0.0.1',
        'CONNECTION_ID()': FIRST_ADMIN_ID,
        '@@version_comment': 'dbproxy 1.2.3 admin',
        one: 1,
      },
    ]);
  });

  test('refuses what it does not know', async () => {
    await assert.rejects(run('SELECT @@tls_version'), { code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT' });
    await assert.rejects(run('SELECT SLEEP()'), { code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT' });
  });
});

test('a server without a cluster view is not shown as one that takes writes', async () => {
  const operations = fakeOperations({
    snapshot: () => ({ version: 1, epoch: 0, clusters: [], backends: [backendView()] }),
  });
  const [row] = await rowsOf('SHOW TOPOLOGY', contextOf({ operations }));
  assert.equal(row!['takes_writes'], 'no');
});

describe('users', () => {
  test('SHOW USERS has a row an account, with its state and its sessions', async () => {
    const rows = await rowsOf('SHOW USERS');
    assert.deepEqual(
      rows.map((row) => Object.values(row)),
      [
        ['app', '10.%', 'main', 'import', 'mysql_native_password', 'ok', '', 0, 1],
        ['old', '%', 'main', 'import', 'mysql_native_password', 'locked', '', 0, 0],
        ['root', 'localhost', 'main', 'import', 'unix_socket', 'unservable', 'it is local', 0, 0],
        ['stale', '%', 'main', 'import', 'mysql_native_password', 'expired', '', 0, 0],
      ],
    );
    assert.deepEqual(await columnsOf('SHOW USERS'), [
      'name',
      'host',
      'cluster',
      'source',
      'plugin',
      'state',
      'reason',
      'max_connections',
      'sessions',
    ]);
  });

  test('SHOW USERS says what stands in the way of the import, and which sections serve meanwhile', async () => {
    const unread = { cluster: 'main', accounts: null, ageMs: null, failure: 'SELECT denied' };
    const rows = await rowsOf(
      'SHOW USERS',
      contextOf({ operations: fakeOperations({ imports: () => [unread] }) }),
    );
    assert.deepEqual(
      rows.map(({ name, source, state, reason }) => [name, source, state, reason]),
      [
        ['', 'import', 'unread', 'SELECT denied'],
        ['app', 'file', 'ok', ''],
      ],
    );
  });

  test('SHOW USERS says that accounts are old', async () => {
    const [status] = fakeOperations().imports();
    const old = fakeOperations({ imports: () => [{ ...status!, failure: 'the primary is away' }] });
    const [app, , root] = await rowsOf('SHOW USERS', contextOf({ operations: old }));
    assert.equal(app!['reason'], 'as last read: the primary is away');
    assert.equal(root!['reason'], 'it is local');
  });

  test('SHOW USERS with users = file has the sections', async () => {
    const config = exampleConfig();
    const operations = fakeOperations({
      config: () => ({ ...config, clusters: config.clusters.map((one) => ({ ...one, users: 'file' })) }),
      imports: () => [],
    });
    const rows = await rowsOf('SHOW USERS', contextOf({ operations }));
    assert.deepEqual(
      rows.map((row) => Object.values(row)),
      [['app', '%', 'main', 'file', '', 'ok', '', 0, 1]],
    );
  });

  test('RELOAD TLS says of each listener what became of its certificate', async () => {
    const operations = fakeOperations();
    assert.deepEqual(await rowsOf('reload tls', contextOf({ operations })), [
      { listener: 'write', result: 'reloaded', detail: 'it is in its time' },
    ]);
    assert.deepEqual(operations.calls, [['reloadTls']]);
  });

  test('RELOAD USERS reads one cluster or all, and says how it went', async () => {
    const operations = fakeOperations();
    const context = contextOf({ operations });
    assert.deepEqual(await rowsOf('RELOAD USERS', context), [
      { cluster: 'main', result: 'ok', accounts: 4, age_ms: 1235, reason: '' },
    ]);
    await run('reload users cluster main;', context);
    assert.deepEqual(operations.calls, [
      ['reloadUsers', null],
      ['reloadUsers', 'main'],
    ]);
  });
});
