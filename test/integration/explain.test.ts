/**
 * Questions of an operator that only a worker can answer: where a statement would go and why, what a session
 * depends on, which rules were met; and what is said when the worker does not answer.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, afterEach, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ConfigSections, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { Witness } from '../support/witness.ts';

suite('a worker that does not answer', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  let worker: number;
  before(async () => {
    lab = await startPair();
    proxy = await lab.startProxy({ workers: 1 });
    worker = Number(execFileSync('pgrep', ['-P', String(proxy.pid)], { encoding: 'utf8' }).trim());
  });
  after(() => lab?.stop());

  /** The ids of client sessions have the worker in them. */
  async function sessionId(): Promise<number> {
    const connection = await proxy.connect('write');
    const [rows] = await connection.query<RowDataPacket[]>('select 1');
    assert.equal(rows.length, 1);
    const [session] = await proxy.admin('SHOW SESSIONS');
    return Number(session!['id']);
  }

  test('is named to who asked about one session or route, and left out of what is counted', async () => {
    const id = await sessionId();
    process.kill(worker, 'SIGSTOP');
    try {
      const answers = await Promise.allSettled([
        proxy.admin(`EXPLAIN SESSION ${id}`),
        proxy.admin(`EXPLAIN ROUTE FOR SESSION ${id} select 1`),
        proxy.admin('EXPLAIN ROUTE select 1'),
        proxy.admin('SHOW DIGESTS'),
      ]);
      for (const answer of answers.slice(0, 3)) {
        assert.ok(answer.status === 'rejected');
        assert.match(String(answer.reason), /worker 0 did not answer within 2000 ms/);
      }
      assert.deepEqual(answers[3], { status: 'fulfilled', value: [] });
    } finally {
      process.kill(worker, 'SIGCONT');
    }
  });

  test('is not asked for a session that no worker can have', async () => {
    const ofNoWorker = 0x40000000 | (5 << 24) | 1;
    for (const id of [7, ofNoWorker]) {
      await assert.rejects(proxy.admin(`EXPLAIN SESSION ${id}`), { errno: 1094 });
      await assert.rejects(proxy.admin(`EXPLAIN ROUTE FOR SESSION ${id} select 1`), { errno: 1094 });
    }
  });
});

/** EXPLAIN ROUTE, as it is told: where, and all reasons. */
interface Told {
  target: string;
  backend: string | null;
  class: string;
  pinnedBy: string | null;
  reasons: string[];
}

suite('EXPLAIN on a split endpoint', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  let witness: Witness;
  const opened: Connection[] = [];

  const CONFIG: ConfigSections = {
    'listener split': {
      pool: 'transaction',
      causal_reads: 'session',
      pipelining: 'on',
      pipeline_threshold: '50ms',
    },
    'rule by_user': { user: 'root2', listener: 'split', target: 'primary' },
    'rule by_digest': { digest: '0x0000000000000001', target: 'primary' },
  };

  before(async () => {
    lab = await startPair();
    const direct = await lab.connect(lab.db1);
    await direct.query('create table t (id int primary key, v int)');
    await direct.query('insert into t values (1, 1)');
    const replica = await lab.connect(lab.db2);
    await eventually(() => replica.query('select * from t'));
    const scout = await lab.startProxy({ workers: 1, config: CONFIG });
    const [told] = await scout.admin('EXPLAIN ROUTE ON LISTENER split select max(id) from t where v = 5');
    await scout.stop();
    proxy = await lab.startProxy({
      workers: 1,
      config: {
        ...CONFIG,
        'rule by_digest': { digest: String(told!['digest']), target: 'primary' },
        'rule wants_replica': { digest: await digestOf('insert into t values (5, 5)'), target: 'replica' },
      },
    });
    witness = await Witness.of(lab);

    async function digestOf(sql: string): Promise<string> {
      await scout.start();
      const [row] = await scout.admin(`EXPLAIN ROUTE ${sql}`);
      await scout.stop();
      return String(row!['digest']);
    }
  });
  after(() => lab?.stop());
  afterEach(async () => {
    for (const connection of opened.splice(0)) await connection.end();
    await eventually(async () => assert.deepEqual(await proxy.admin('SHOW SESSIONS'), []));
  });

  async function open(user = 'app', endpoint: 'split' | 'write' | 'read' = 'split'): Promise<Connection> {
    const connection = await proxy.connect(endpoint, { user, password: user });
    opened.push(connection);
    return connection;
  }

  async function explain(sql: string, of?: Connection): Promise<Told> {
    const whose = of === undefined ? '' : `FOR SESSION ${of.threadId} `;
    const rows = await proxy.admin(`EXPLAIN ROUTE ${whose}${sql}`);
    const [first] = rows;
    return {
      target: String(first!['target']),
      backend: first!['backend'] as string | null,
      class: String(first!['class']),
      pinnedBy: first!['pinned_by'] as string | null,
      reasons: rows.map(({ reason }) => String(reason)),
    };
  }

  async function session(connection: Connection): Promise<Map<string, string[]>> {
    const items = new Map<string, string[]>();
    for (const { item, value } of await proxy.admin(`EXPLAIN SESSION ${connection.threadId}`)) {
      const name = String(item);
      const told = value as string | number | null;
      items.set(name, [...(items.get(name) ?? []), told === null ? 'NULL' : String(told)]);
    }
    return items;
  }

  const metric = async (name: string): Promise<number> => {
    const { text } = await proxy.get('/metrics');
    const lines = text.split('\n').filter((line) => line.startsWith(`dbproxy_${name}`));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };

  const hits = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await proxy.admin('SHOW RULES')).map((row) => [String(row['name']), Number(row['hits'])]),
    );

  const STATEMENTS: readonly (readonly [sql: string, target: string, reason: RegExp])[] = [
    ['select * from t', 'replica', /^a read that every server answers alike$/],
    ['insert into t values (2, 2)', 'primary', /^it writes, or may write$/],
    ['select * from t for update', 'primary', /^it locks rows$/],
    ["select get_lock('a', 1)", 'primary', /^seen at: get_lock/i],
    ['select nobody_knows(1)', 'primary', /^seen at: nobody_knows/],
    ['select 1; select 2', 'primary', /^it is several statements$/],
    ['/* dbproxy: primary */ select 1', 'primary', /^a comment asks for the primary$/],
    ['/* dbproxy: replica */ select @@server_id', 'replica', /^which a replica answers as well/],
    [
      '/* dbproxy: replica */ delete from t',
      'primary',
      /^which no comment and no rule can send to a replica$/,
    ],
    ['select max(id) from t where v = 77', 'primary', /^rule 'by_digest' asks for the primary$/],
    ['insert into t values (7, 7)', 'primary', /^rule 'wants_replica' asks for the replica$/],
    ['start transaction read only', 'replica', /^a READ ONLY transaction runs whole on a replica$/],
    ['kill 5', 'dbproxy', /^KILL/],
  ];
  for (const [sql, target, reason] of STATEMENTS) {
    test(`tells where ${sql} would go, and why`, async () => {
      const told = await explain(sql);
      assert.equal(told.target, target);
      assert.equal(told.backend, { primary: 'db1', replica: 'db2' }[target] ?? null);
      assert.ok(
        told.reasons.some((each) => reason.test(each)),
        told.reasons.join('\n'),
      );
      assert.equal(told.pinnedBy, null);
    });
  }

  test('names the servers that read, and the rules that it cannot look at without a user', async () => {
    const { reasons } = await explain('select * from t');
    assert.ok(reasons.some((reason) => /^db2: takes reads, lag \d+ ms, ro_weight 1/.test(reason)));
    assert.ok(reasons.some((reason) => /^rules of one user are not looked at/.test(reason)));
  });

  test('looks at the rules of the user of a session', async () => {
    const connection = await open('root2');
    const told = await explain('select * from t', connection);
    assert.equal(told.target, 'primary');
    assert.ok(told.reasons.includes("rule 'by_user' asks for the primary"));
  });

  test('has said what then happens, and has run and counted nothing itself', async () => {
    const app = await open();
    const before = { hits: await hits(), queries: await metric('queries_total') };
    for (const [sql] of STATEMENTS) await explain(sql, app);
    assert.deepEqual({ hits: await hits(), queries: await metric('queries_total') }, before);
    assert.deepEqual((await session(app)).get('last_class'), undefined);

    const root = await open('root2');
    const byRule: readonly (readonly [Connection, string])[] = [
      [app, 'select max(id) from t where v = 3'],
      [app, 'insert into t values (100, 1)'],
      [root, 'select * from t where v = 4'],
      [app, 'select * from t where v = 4'],
    ];
    for (const [connection, sql] of byRule) {
      const { backend } = await explain(sql, connection);
      const mark = witness.mark();
      await connection.query(`${sql} ${mark}`);
      assert.deepEqual(await witness.askedOf(mark), [backend]);
    }
    assert.deepEqual(await hits(), {
      by_user: before.hits['by_user']! + 1,
      by_digest: before.hits['by_digest']! + 1,
      wants_replica: before.hits['wants_replica']! + 1,
    });
  });

  test('tells what a session has set, and that nothing pins it', async () => {
    const connection = await open();
    await connection.query("set sql_mode = 'ANSI_QUOTES', @tenant = 7");
    await connection.query('set names latin1');
    await connection.query('use information_schema');
    await connection.query('use demo');
    const statement = await connection.prepare('select ? as n');
    await statement.execute([1]);
    const told = await session(connection);
    assert.deepEqual(told.get('setting')?.includes("sql_mode = 'ANSI_QUOTES'"), true);
    assert.deepEqual(told.get('user_variable'), ['@tenant = 7']);
    assert.deepEqual(told.get('character_set'), ['latin1']);
    assert.deepEqual(told.get('database'), ['demo']);
    assert.deepEqual(told.get('prepared_statements'), ['1']);
    assert.deepEqual(told.get('pinned_to'), ['NULL']);
    assert.equal(told.get('pin'), undefined);
    assert.equal(await metric('prepared_statements'), 1);
    assert.ok((await metric('pool_restores_total')) > 0);
  });

  test('tells each pin, what holds it and where, in words and in counts', async () => {
    const connection = await open();
    await connection.query('create temporary table mine (a int)');
    await connection.query("select get_lock('a', 0)");
    await connection.beginTransaction();
    const told = await session(connection);
    assert.deepEqual(
      told
        .get('pin')
        ?.map((pin) => pin.split(',')[0])
        .toSorted(),
      ['a temporary table', 'a transaction is open', 'a user lock (GET_LOCK)'],
    );
    assert.deepEqual(told.get('pinned_to'), ['db1']);
    assert.deepEqual(told.get('in_transaction'), ['on']);
    assert.match(told.get('connection')![0]!, /^db1 \(primary\), thread \d+$/);
    const { target, pinnedBy, reasons } = await explain('select * from t', connection);
    assert.deepEqual(
      { target, pinnedBy },
      { target: 'primary', pinnedBy: 'temporary_table, user_lock, transaction' },
    );
    assert.ok(
      reasons.some((reason) => reason.startsWith('the session keeps its connection: a temporary table')),
    );
    assert.equal(await metric('pinned_sessions{listener="split",reason="temporary_table"}'), 1);
    await connection.rollback();
  });

  test('tells what a read must have seen, and what became of such reads', async () => {
    const connection = await open();
    await connection.query('insert into t values (200, 1)');
    const { reasons } = await explain('select * from t', connection);
    assert.ok(
      reasons.some((reason) => /^the session has written: the position of the primary is asked/.test(reason)),
    );
    await connection.query('select * from t where id = 200');
    const told = await session(connection);
    const counted = ['causal_at_once', 'causal_waited', 'causal_fell_back'].map((name) =>
      Number(told.get(name)![0]),
    );
    assert.equal(
      counted.reduce((sum, count) => sum + count),
      1,
    );
    assert.match(told.get('causal_position')![0]!, /^\d+-\d+-\d+$/);
    assert.deepEqual(told.get('last_class'), ['read']);
    assert.deepEqual(told.get('last_target'), ['replica']);
    const after = await explain('select * from t', connection);
    assert.ok(
      after.reasons.some((reason) => /^db2: .* has the writes to be seen/.test(reason)),
      after.reasons.join('\n'),
    );
  });

  test('tells whether a form may share a connection, and why not', async () => {
    const connection = await open();
    const sql = 'select id, v from t where id = 1';
    assert.ok((await explain(sql)).reasons.some((reason) => /have not been seen yet/.test(reason)));
    await connection.query(sql);
    assert.ok((await explain(sql)).reasons.some((reason) => /were seen 1 times, not yet 20/.test(reason)));
    for (let n = 0; n < 30; n++) await connection.query(sql);
    assert.ok((await explain(sql)).reasons.some((reason) => /^it may share a connection/.test(reason)));
    assert.ok((await explain('delete from t')).reasons.some((reason) => /it is no plain read/.test(reason)));
  });

  test('follows a READ ONLY transaction on a replica', async () => {
    const connection = await open();
    await connection.query('start transaction read only');
    const first = await explain("select get_lock('a', 0)", connection);
    assert.equal(first.target, 'primary');
    assert.match(first.reasons[0]!, /has read nothing yet/);
    await connection.query('select * from t');
    const later = await explain("select get_lock('a', 0)", connection);
    assert.equal(later.target, 'dbproxy');
    await assert.rejects(connection.query("select get_lock('a', 0)"), { errno: 1235 });
    assert.equal((await explain('select * from t', connection)).target, 'replica');
    assert.match((await explain('begin', connection)).reasons[0]!, /on a replica ends first/);
    await connection.query('commit');
  });

  test('tells of a session that keeps one connection that it does', async () => {
    const connection = await open('app', 'write');
    await connection.query('select 1');
    assert.deepEqual((await session(connection)).get('pin'), [
      'keeps one connection, and another one only when another server becomes the primary (session_moves = on)',
    ]);
    const told = await explain('select 1', connection);
    assert.deepEqual([told.target, told.backend, told.pinnedBy], ['primary', 'db1', 'session']);
    const reading = await open('app', 'read');
    await reading.query('select 1');
    assert.deepEqual((await session(reading)).get('pin'), [
      'keeps one connection, and another one only when its server may not serve reads any more and another one may (session_moves = on)',
    ]);
    const rows = await proxy.admin('EXPLAIN ROUTE ON LISTENER read select 1');
    assert.deepEqual([rows[0]!['target'], rows[0]!['backend']], ['replica', 'db2']);
    const refused = await proxy.admin('EXPLAIN ROUTE ON LISTENER read start transaction read write');
    assert.equal(refused[0]!['target'], 'dbproxy');
  });

  test('says that nobody can serve, and why', async () => {
    await proxy.admin('SET BACKEND db1 OFFLINE');
    try {
      await eventually(async () => {
        const told = await explain('insert into t values (9, 9)');
        assert.deepEqual([told.target, told.backend], ['none', null]);
        assert.ok(
          told.reasons.some((reason) => /set it offline/.test(reason)),
          told.reasons.join('\n'),
        );
      });
    } finally {
      await proxy.admin('SET BACKEND db1 ONLINE');
    }
    await eventually(async () => assert.equal((await explain('delete from t')).target, 'primary'));
  });
});
