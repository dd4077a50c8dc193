/**
 * Connections to the servers: how many, for whom, and in what state a session finds one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, BIG_RESULT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

async function one(connection: Connection, sql: string): Promise<RowDataPacket> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return rows[0]!;
}

forEachFlavour((flavour) => {
  describe(`the pool of backend connections to ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let direct: Connection;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({
        workers: 2,
        config: { 'backend db1': { max_connections: 4 }, 'listener write': { queue_timeout: '2s' } },
      });
      direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT });
      await direct.query('create table demo.t (a int primary key) engine = innodb');
    });
    after(() => lab?.stop());

    const onServer = async (): Promise<number> =>
      (
        await one(
          direct,
          "select count(*) as n from information_schema.processlist where user in ('app', 'root2') and id <> connection_id()",
        )
      ).n as number;

    it('gives a session a connection without anything of the session before', async () => {
      for (let round = 0; round < 6; round++) {
        const connection = await proxy.connect('write');
        assert.deepEqual(
          await one(
            connection,
            "select @mine as mine, @@autocommit as autocommit, @@sql_mode like '%ANSI%' as ansi, @@sql_mode like '%IGNORE_SPACE%' as spaces, database() as d, @@character_set_client as cs",
          ),
          { mine: null, autocommit: 1, ansi: 0, spaces: 1, d: 'demo', cs: 'utf8mb4' },
        );
        await assert.rejects(connection.query('select * from temporary_one'), { errno: 1146 });
        // In this order: 5.6 with GTIDs makes a temporary table outside of transactions only.
        await connection.query('create temporary table temporary_one (a int)');
        await connection.query("set @mine = 1, autocommit = 0, sql_mode = 'ANSI', names latin1");
        await connection.query('lock tables t write');
        await connection.query('use mysql').catch(() => undefined);
        await connection.end();
      }
    });

    it('ends the transaction and the locks of a client that vanished', async () => {
      const connection = await proxy.connect('write');
      await connection.beginTransaction();
      await connection.query('insert into t values (1)');
      await one(connection, "select get_lock('mine', 0) as l");
      connection.destroy();
      const other = await proxy.connect('write');
      await eventually(async () => assert.equal((await one(other, "select get_lock('mine', 0) as l")).l, 1));
      assert.equal((await one(other, 'select count(*) as n from t')).n, 0);
      await other.end();
    });

    it('never has more than max_connections over all workers, serves those who wait, and says so at queue_timeout', async () => {
      const connections = await Promise.all([1, 2, 3, 4].map(() => proxy.connect('write')));
      await assert.rejects(proxy.connect('write'), (error: { errno: number; message: string }) => {
        assert.equal(error.errno, 1040);
        assert.match(
          error.message,
          /'db1' became free within queue_timeout \(2000 ms\): max_connections = 4/,
        );
        return true;
      });
      assert.ok((await onServer()) <= 4);
      const waiting = proxy.connect('write');
      await connections.pop()!.end();
      connections.push(await waiting);
      for (const connection of connections) await connection.query('select 1');
      for (const connection of connections) await connection.end();
    });

    it('gives the place of an idle connection to another user who needs it', async () => {
      const many = await Promise.all([1, 2, 3, 4].map(() => proxy.connect('write')));
      for (const connection of many) await connection.end();
      const others = await Promise.all([1, 2, 3, 4].map(() => proxy.connect('write', { ...ADMIN_ACCOUNT })));
      assert.equal((await one(others[3]!, 'select current_user() as u')).u, 'root2@%');
      for (const connection of others) await connection.end();
    });

    it('closes the connection of a client that vanished in the middle of an answer, and uses it for nobody', async () => {
      for (let round = 0; round < 8; round++) {
        const rude = await proxy.connect('write');
        rude.query(`${BIG_RESULT} /* ${round} */`).catch(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
        rude.destroy();
        const polite = await eventually(() => proxy.connect('write'));
        assert.equal((await one(polite, `select ${round} as n`)).n, round);
        await polite.end();
      }
      await eventually(async () => assert.ok((await onServer()) <= 4));
    });

    it('shows what it holds', async () => {
      const connection = await proxy.connect('write');
      const backends = await proxy.admin("SHOW BACKENDS WHERE name = 'db1'");
      assert.equal(Number(backends[0]!.sessions), 1);
      assert.equal(Number(backends[0]!.connections_used), 1);
      await connection.end();
      await eventually(async () => {
        const [idle] = await proxy.admin("SHOW BACKENDS WHERE name = 'db1'");
        assert.equal(Number(idle!.connections_used), 0);
        assert.ok(Number(idle!.connections_idle) >= 1);
      });
    });
  });
});
