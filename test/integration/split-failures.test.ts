/**
 * A split endpoint while servers die, lag and change their roles: no read fails, no acknowledged write is lost,
 * and reads that must see a write see it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, endConnectionsOf, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const TABLE = 'create table t (id int auto_increment primary key, n int) engine = innodb';

async function one(connection: Connection, sql: string): Promise<RowDataPacket> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return rows[0]!;
}

/** A counter of the metrics; 0 while it is not there. */
async function metric(proxy: ProxyProcess, name: string, labels: string): Promise<number> {
  const { text } = await proxy.get('/metrics');
  const line = text.split('\n').find((each) => each.startsWith(`dbproxy_${name}{${labels}}`));
  return line === undefined ? 0 : Number(line.split(' ').at(-1));
}

/** How many reads of the endpoint a server has answered. */
const readsOn = (proxy: ProxyProcess, backend: string): Promise<number> =>
  metric(proxy, 'queries_total', `listener="split",backend="${backend}",class="read"`);

forEachFlavour((flavour, words) => {
  for (const pool of ['session', 'transaction'] as const) {
    describe(`reads on ${flavour} with pool = ${pool} while a replica dies`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        const direct = await lab.connect(lab.db1);
        await direct.query(TABLE);
        await direct.query('insert into t (n) values (1)');
        proxy = await lab.startProxy({ workers: 1, config: { 'listener split': { pool } } });
        const replica = await lab.connect(lab.db2);
        await eventually(async () => assert.equal((await one(replica, 'select n from t'))['n'], 1));
      });
      after(() => lab?.stop());

      it('fails no read, also of a prepared statement, and goes on at the primary', async () => {
        const connections = await Promise.all(Array.from({ length: 8 }, () => proxy.connect('split')));
        let isDead = false;
        let readsAfter = 0;
        const readers = connections.map(async (connection, index) => {
          while (readsAfter < 400) {
            const [rows] =
              index % 2 === 0
                ? await connection.query<RowDataPacket[]>('select n, sleep(0.02) as s from t')
                : await connection.execute<RowDataPacket[]>(
                    'select n, sleep(0.02) as s from t where n = ?',
                    [1],
                  );
            assert.equal(rows[0]!['n'], 1);
            if (isDead) readsAfter++;
          }
        });
        await eventually(async () => assert.ok((await readsOn(proxy, 'db2')) > 20));
        await lab.db2.kill();
        isDead = true;
        await Promise.all(readers);
        assert.ok((await readsOn(proxy, 'db1')) > 0);
        await eventually(async () => {
          assert.ok((await metric(proxy, 'read_retries_total', 'listener="split",reason="lost"')) > 0);
        });
        for (const connection of connections) await connection.end();
      });

      it('says so where a READ ONLY transaction was on it, and reads on it again when it is back', async () => {
        await lab.db2.start();
        const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
        await replica.query(words.startReplica);
        await eventually(async () => {
          const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db2'");
          assert.equal(row!['role'], 'replica');
          assert.equal(row!['state'], 'online');
        });
        const connection = await proxy.connect('split');
        await eventually(async () => {
          const before = await readsOn(proxy, 'db2');
          await connection.query('select n from t');
          assert.ok((await readsOn(proxy, 'db2')) > before);
        });
        await connection.query('start transaction read only');
        assert.equal((await one(connection, 'select n from t'))['n'], 1);
        await lab.db2.kill();
        await assert.rejects(connection.query('select n from t'), /lost|closed|ended|ECONNRESET|EPIPE/i);
      });
    });
  }

  for (const pool of ['session', 'transaction'] as const) {
    describe(`split sessions on ${flavour} with pool = ${pool} while servers drop them`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        const direct = await lab.connect(lab.db1);
        await direct.query(TABLE);
        await direct.query('insert into t (n) values (1)');
        proxy = await lab.startProxy({
          workers: 1,
          config: {
            'listener split': { pool, queue_timeout: '1s' },
            'cluster main': { enforce_read_only: 'off' },
          },
        });
        const replica = await lab.connect(lab.db2);
        await eventually(async () => assert.equal((await one(replica, 'select n from t'))['n'], 1));
      });
      after(() => lab?.stop());

      it('goes on when the servers have closed connections at rest, with all that was set', async () => {
        const connection = await proxy.connect('split');
        await connection.query('set @mine = 7');
        await connection.query("set sql_mode = 'ANSI_QUOTES'");
        const statement = await connection.prepare('select n, ? as p from t where n = 1');
        for (let round = 0; round < 3; round++) {
          await connection.query('select n from t');
          await connection.query(`update t set n = 1 where n = 1`);
          for (const server of [lab.db1, lab.db2]) await endConnectionsOf(server, 'app');
          // Reads may find that out: they are sent again.
          await connection.query('/* dbproxy: primary */ select n from t');
          await connection.query('select n from t');
          assert.deepEqual(await one(connection, 'select @mine as m, "n" as n from t'), { m: 7, n: 1 });
          const [rows] = (await statement.execute([round])) as [RowDataPacket[], unknown];
          assert.deepEqual(rows[0], { n: 1, p: round });
          await connection.query('insert into t (n) values (2)');
        }
      });

      it('fails no read while an operator takes the replica out and brings it back', async () => {
        const connections = await Promise.all(Array.from({ length: 6 }, () => proxy.connect('split')));
        let isOver = false;
        let reads = 0;
        const readers = connections.map(async (connection, index) => {
          while (!isOver) {
            if (index % 2 === 0) await connection.query('select n from t where n = 1');
            else await connection.execute('select n from t where n = ?', [1]);
            reads++;
          }
        });
        for (const state of ['OFFLINE', 'ONLINE', 'DRAIN', 'ONLINE', 'OFFLINE', 'ONLINE']) {
          await proxy.admin(`SET BACKEND db2 ${state}`);
          const before = reads;
          await eventually(() => assert.ok(reads > before + 100));
        }
        isOver = true;
        await Promise.all(readers);
        for (const connection of connections) await connection.end();
      });

      it('reads while the primary is away, refuses writes in time, and writes when it is back', async () => {
        const connection = await proxy.connect('split');
        await connection.query('select n from t');
        await lab.db1.kill();
        try {
          for (let n = 0; n < 50; n++) await connection.query('select n from t');
          const startedMs = performance.now();
          await assert.rejects(
            connection.query('insert into t (n) values (3)'),
            (error: { errno: number; message: string }) => {
              assert.ok([1290, 1429, 1158].includes(error.errno), error.message);
              return true;
            },
          );
          assert.ok(performance.now() - startedMs < 5000);
          await connection.query('select n from t');
          const [known] = await (
            await proxy.connect('split')
          ).query<RowDataPacket[]>('select n from t limit 1');
          assert.equal(known.length, 1);
        } finally {
          await lab.db1.start();
        }
        await eventually(() => proxy.admin('PROMOTE db1'));
        await connection.query('insert into t (n) values (4)');
        const direct = await lab.connect(lab.db1);
        assert.equal((await one(direct, 'select count(*) as n from t where n = 4'))['n'], 1);
        assert.equal((await one(direct, 'select count(*) as n from t where n = 3'))['n'], 0);
      });
    });
  }

  describe(`reads on ${flavour} that must see writes`, () => {
    let lab: Lab;
    let direct: Connection;
    let replica: Connection;
    before(async () => {
      lab = await startPair({ flavour });
      direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT });
      replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
      await direct.query(TABLE);
      await eventually(() => replica.query('select * from t'));
    });
    after(() => lab?.stop());

    for (const causalReads of ['session', 'global'] as const) {
      describe(`causal_reads = ${causalReads}`, () => {
        let proxy: ProxyProcess;
        const count = (outcome: string): Promise<number> =>
          metric(proxy, 'causal_reads_total', `listener="split",outcome="${outcome}"`);

        before(async () => {
          proxy = await startProxy('8s');
        });
        after(() => proxy.stop());

        function startProxy(causalTimeout: string): Promise<ProxyProcess> {
          return lab.startProxy({
            workers: 1,
            config: {
              'cluster main': { max_lag: '1h' },
              'listener split': {
                pool: 'transaction',
                causal_reads: causalReads,
                causal_timeout: causalTimeout,
              },
            },
          });
        }

        it('finds every write at once on a replica that is well', async () => {
          const writer = await proxy.connect('split');
          const reader = causalReads === 'session' ? writer : await proxy.connect('split');
          const before = await readsOn(proxy, 'db2');
          for (let n = 0; n < 100; n++) {
            const [{ insertId }] = await writer.query<ResultSetHeader>(`insert into t (n) values (${n})`);
            assert.equal((await one(reader, `select n from t where id = ${insertId}`))['n'], n);
          }
          assert.ok((await readsOn(proxy, 'db2')) - before > 90, 'the replica serves them');
          assert.ok((await count('at_once')) + (await count('waited')) > 90);
        });

        it('falls back to the primary where the replica takes too long', async () => {
          const hasty = await startProxy('100ms');
          const writer = await hasty.connect('split');
          const reader = causalReads === 'session' ? writer : await hasty.connect('split');
          const before = await metric(hasty, 'causal_reads_total', 'listener="split",outcome="fell_back"');
          // The replica cannot apply what comes while somebody has its table locked.
          await replica.query('lock tables t read');
          try {
            const [{ insertId }] = await writer.query<ResultSetHeader>('insert into t (n) values (-1)');
            assert.equal((await one(reader, `select n from t where id = ${insertId}`))['n'], -1);
            const after = await metric(hasty, 'causal_reads_total', 'listener="split",outcome="fell_back"');
            assert.equal(after - before, 1);
            assert.equal((await replica.query<RowDataPacket[]>('select * from t where n = -1'))[0].length, 0);
          } finally {
            await replica.query('unlock tables');
          }
          await hasty.stop();
          await direct.query('delete from t where n = -1');
        });

        it('waits for a replica that is busy with an older transaction', async () => {
          const writer = await proxy.connect('split');
          const reader = causalReads === 'session' ? writer : await proxy.connect('split');
          const before = await count('waited');
          await replica.query('lock tables t read');
          const [{ insertId }] = await writer.query<ResultSetHeader>('insert into t (n) values (-2)');
          const reading = one(reader, `select n from t where id = ${insertId}`);
          await eventually(async () => {
            const [waiting] = await replica.query<RowDataPacket[]>(
              "select info from information_schema.processlist where info like '%GTID%' and id <> connection_id()",
            );
            assert.equal(waiting.length, 1, 'the replica is asked to wait');
          });
          await replica.query('unlock tables');
          assert.equal((await reading)['n'], -2);
          assert.equal((await count('waited')) - before, 1);
        });
      });
    }

    it('takes no replica whose lag is above max_lag, and takes it back', async () => {
      const proxy = await lab.startProxy({
        workers: 1,
        config: {
          'cluster main': { max_lag: '1s', readmit_lag: '500ms' },
          'listener split': { pool: 'transaction' },
        },
      });
      const connection = await proxy.connect('split');
      const asked = async (): Promise<string> => {
        const onReplica = await readsOn(proxy, 'db2');
        await connection.query('select count(*) from t');
        return (await readsOn(proxy, 'db2')) > onReplica ? 'db2' : 'db1';
      };
      assert.equal(await asked(), 'db2');
      await replica.query(words.stopReplica);
      try {
        await eventually(async () => assert.equal(await asked(), 'db1'));
        const [route] = await proxy.admin('EXPLAIN ROUTE select count(*) from t');
        assert.equal(route!['target'], 'primary');
      } finally {
        await replica.query(words.startReplica);
      }
      await eventually(async () => assert.equal(await asked(), 'db2'));
      await proxy.stop();
    });
  });

  describe(`PROMOTE on ${flavour} under split sessions`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      const direct = await lab.connect(lab.db1);
      await direct.query(TABLE);
      const replica = await lab.connect(lab.db2);
      await eventually(() => replica.query('select * from t'));
      proxy = await lab.startProxy({
        workers: 2,
        config: {
          'backend db2': { rw_weight: 1 },
          'listener split': { pool: 'transaction', causal_reads: 'session' },
        },
      });
    });
    after(() => lab?.stop());

    it('goes unnoticed by sessions at rest and in reads, and loses no acknowledged write', async () => {
      const idle = await Promise.all(Array.from({ length: 6 }, () => proxy.connect('split')));
      for (const [index, connection] of idle.entries()) {
        await connection.query(`set @mine = ${index}, sql_mode = 'ANSI_QUOTES'`);
        await connection.query('select count(*) from t');
      }
      const stop = new AbortController();
      const acknowledged: number[] = [];
      const failures: string[] = [];
      const writers = Array.from({ length: 3 }, async (_, index) => {
        let connection = await proxy.connect('split');
        for (let n = 0; !stop.signal.aborted; n++) {
          const value = index * 1_000_000 + n;
          try {
            if (index === 0) await connection.execute('insert into t (n) values (?)', [value]);
            else await connection.query(`insert into t (n) values (${value})`);
            acknowledged.push(value);
          } catch (error) {
            failures.push(String(error));
            connection = await proxy.connect('split');
          }
        }
      });
      let reads = 0;
      const readers = Array.from({ length: 3 }, async (_, index) => {
        const connection = await proxy.connect('split');
        while (!stop.signal.aborted) {
          if (index === 0) await connection.execute('select count(*) from t where n > ?', [0]);
          else await connection.query('select count(*) from t');
          reads++;
        }
      });
      await eventually(() => assert.ok(acknowledged.length > 100));
      for (const server of ['db2', 'db1']) {
        const readsBefore = reads;
        await eventually(() => promote(server));
        const written = acknowledged.length;
        await eventually(() => assert.ok(acknowledged.length > written + 50 && reads > readsBefore + 50));
      }
      stop.abort();
      await Promise.all([...writers, ...readers]);
      assert.deepEqual(failures, []);
      for (const [index, connection] of idle.entries()) {
        const seen = await one(connection, 'select /* dbproxy: replica */ @mine as "m", @@sql_mode as mode');
        assert.equal(seen['m'], index);
        assert.match(String(seen['mode']), /ANSI_QUOTES/);
        await connection.query('insert into t (n) values (-1)');
      }
      const [rows] = await (
        await lab.connect(lab.db1)
      ).query<RowDataPacket[]>('select n from t where n >= 0');
      const there = new Set(rows.map(({ n }) => Number(n)));
      assert.deepEqual(
        acknowledged.filter((value) => !there.has(value)),
        [],
      );
      assert.equal(there.size, acknowledged.length);
    });

    it('lets a transaction end first, or rolls all of it back, and never half of it', async () => {
      const connections = await Promise.all(Array.from({ length: 8 }, () => proxy.connect('split')));
      const [{ primary }] = (await proxy.admin('SHOW CLUSTERS')) as [{ primary: string }];
      const other = primary === 'db1' ? 'db2' : 'db1';
      for (const connection of connections) {
        await connection.beginTransaction();
        await connection.query('insert into t (n) values (-10)');
      }
      const promoting = eventually(() => promote(other));
      const outcomes = await Promise.all(
        connections.map(async (connection, index) => {
          try {
            await connection.query('insert into t (n) values (-11)');
            // The last ones do not end it: they must not keep the promotion waiting for ever.
            if (index >= 6) await promoting;
            await connection.commit();
            return 'committed';
          } catch (error) {
            assert.equal((error as { errno?: number }).errno, 1213);
            return 'rolled back';
          }
        }),
      );
      await promoting;
      const committed = outcomes.filter((outcome) => outcome === 'committed').length;
      const server = await lab.connect(other === 'db1' ? lab.db1 : lab.db2);
      const { first, second } = (await one(
        server,
        'select sum(n = -10) as first, sum(n = -11) as second from t',
      )) as unknown as { first: string; second: string };
      assert.equal(Number(first), committed);
      assert.equal(Number(second), committed);
    });

    async function promote(server: string): Promise<void> {
      await proxy.admin(`PROMOTE ${server}`);
      const [cluster] = await proxy.admin('SHOW CLUSTERS');
      assert.equal(cluster!['primary'], server);
    }
  });
});
