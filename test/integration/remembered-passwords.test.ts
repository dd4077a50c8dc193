/**
 * A MySQL server that has been restarted, or at which an account has never logged in, wants to see the password itself
 * of an account of caching_sha2_password. dbproxy remembers the one that the client has given it, so sessions go on
 * there all the same, until the account has another one.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { Endpoint, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

async function serverOf(connection: Connection): Promise<number> {
  const [rows] = await connection.query<RowDataPacket[]>('select id from place');
  return Number(rows[0]!['id']);
}

forEachFlavour(
  (_flavour, words) => {
    suite('servers that want to see the password itself', () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour: 'mysql97' });
        await lab.db1.query('create table demo.written (a int)');
        // A plain read that tells where it was answered.
        for (const [index, server] of [lab.db1, lab.db2].entries()) {
          const place = `insert into demo.place values (${index + 1})`;
          await server.execute('set sql_log_bin = 0', 'create table demo.place (id int)', place);
        }
        for (const name of ['keeper', 'changer']) {
          await lab.db1.query(`create user ${name}@'%' identified by 'first of ${name}'`);
          await lab.db1.query(`grant all on demo.* to ${name}@'%'`);
        }
        proxy = await lab.startProxy();
      });
      after(() => lab?.stop());

      function logIn(endpoint: Endpoint, user: string, password = `first of ${user}`): Promise<Connection> {
        return proxy.connect(endpoint, { user, password });
      }

      /** What it remembers of clients is lost with it, and its replication has to be started. */
      async function restart(server: DatabaseServer): Promise<void> {
        await server.kill();
        await server.start();
        await server.query(words.startReplica);
        await eventually(async () => {
          const [row] = await proxy.admin(`SHOW BACKENDS WHERE name = '${server.name}'`);
          assert.deepEqual([row!['role'], row!['state']], ['replica', 'online']);
        });
      }

      test('get it from dbproxy when the primary changes: sessions go on, at rest and held', async () => {
        // Over both workers: one of them has seen the password, the other knows it from there.
        const resting = await Promise.all(Array.from({ length: 6 }, () => logIn('write', 'keeper')));
        const busy = await logIn('write', 'keeper');
        for (const connection of [...resting, busy]) assert.equal(await serverOf(connection), 1);
        await restart(lab.db2);
        let isOver = false;
        const working = (async () => {
          while (!isOver) await busy.query('insert into written values (2)');
        })();
        await eventually(() => proxy.admin('PROMOTE db2'));
        isOver = true;
        await working;
        for (const connection of [...resting, busy]) assert.equal(await serverOf(connection), 2);
      });

      test('are not asked by somebody who does not know it', async () => {
        for (let login = 0; login < 4; login++) {
          await assert.rejects(logIn('write', 'keeper', 'wrong'), { errno: 1045 });
        }
      });

      test('are read from again after their restart, and with a new password, not with the old one', async () => {
        const keeper = await logIn('split', 'keeper');
        await logIn('split', 'changer');
        const root = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
        await root.query(`alter user changer@'%' identified by 'second of changer'`);
        const renewed = await logIn('split', 'changer', 'second of changer');
        await assert.rejects(logIn('split', 'changer'), { errno: 1045 });
        await restart(lab.db1);
        for (const connection of [keeper, renewed]) {
          await eventually(async () => assert.equal(await serverOf(connection), 1));
        }
        assert.ok(!proxy.log.some(({ event }) => event === 'session.password_needed'));
      });

      test('are not told in the log, and nothing else is', async () => {
        const told = [JSON.stringify(proxy.log), proxy.output];
        for (const statement of ['SHOW USERS', 'SHOW SESSIONS', 'SHOW EVENTS', 'SHOW VARIABLES']) {
          told.push(JSON.stringify(await proxy.admin(statement)));
        }
        assert.doesNotMatch(told.join('\n'), /(first|second) of/);
      });
    });
  },
  ['mysql97'],
);
