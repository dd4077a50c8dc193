/**
 * A primary that dies while a third server is being filled: that must not keep the second one from taking over. The
 * table that is to be copied is locked, so the copying has always just begun.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createConnection, type Connection } from 'mysql2/promise';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';
import { startProxy, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { configWith, untilSafe, backendRow, untilRole, untilWell } from '../support/failovers.ts';

const LONG_MS = 20_000;

let lab: BlankServers;
let proxy: ProxyProcess;
let blocker: Connection;
let db1: DatabaseServer;
let db2: DatabaseServer;
let db3: DatabaseServer;

before(async () => {
  lab = await startBlankServers({ flavour: 'mariadb', count: 3 });
  [db1, db2, db3] = lab.servers as [DatabaseServer, DatabaseServer, DatabaseServer];
  await db3.execute('drop database demo');
  const { user: monitor_user, password: monitor_password } = ADMIN_ACCOUNT;
  proxy = await startProxy(
    { directory: lab.directory, serverPorts: [db1.port, db2.port], number: 1 },
    { readyWhen: 'alive', config: configWith({ monitor_user, monitor_password }) },
  );
  await proxy.admin('BOOTSTRAP CLUSTER main PRIMARY db1');
  await db1.execute('create table demo.t (a int primary key)', 'insert into demo.t values (1)');
  await proxy.admin(`ADD BACKEND db3 ADDRESS '127.0.0.1:${db3.port}' CLUSTER main`);
  await untilSafe(proxy, db1, 'mariadb');
  blocker = await createConnection({ host: '127.0.0.1', port: db2.port, ...ADMIN_ACCOUNT });
});

after(async () => {
  blocker.destroy();
  await proxy.stop();
  await lab.stop();
});

describe('while a server is being filled', () => {
  let cloned: Promise<unknown>;

  test('the others are looked after as always, and a switchover is refused', async () => {
    await blocker.query('lock tables demo.t write');
    cloned = proxy.admin('CLONE BACKEND db3 FROM db2');
    cloned.catch(() => undefined);
    await eventually(async () => {
      const [row] = await db2.query(
        "select count(*) as n from information_schema.processlist where info like 'select%no_cache%from `t`'",
      );
      assert.equal(Number(row!['n']), 1);
    }, LONG_MS);
    await db1.execute('set global read_only = 1');
    await proxy.waitForEvent('care.unlock');
    // Until it has been seen to wait for a replica again, nobody would take over from it.
    await untilSafe(proxy, db1, 'mariadb');
    await assert.rejects(
      proxy.admin('SWITCHOVER TO db2'),
      /CLONE BACKEND db3 is under way; wait for its end/,
    );
  });

  test('a primary that dies is replaced, and the copying ended', async () => {
    await db1.kill();
    await untilRole(proxy, 'db2', 'primary');
    const why = 'ended by the failover of cluster main; CLONE BACKEND db3 again';
    await assert.rejects(cloned, new RegExp(why));
    const row = await backendRow(proxy, 'db3');
    assert.equal(row?.['state'], 'offline');
    assert.ok(String(row?.['reason']).startsWith(`offline: ${why}`), String(row?.['reason']));
    assert.deepEqual(await db3.query("show databases like 'demo'"), []);
    const [event] = await proxy.admin("SHOW EVENTS WHERE event = 'setup.ended'");
    assert.equal(event?.['detail'], why);
  });

  test('it is filled at the next try', async () => {
    await blocker.query('unlock tables');
    await db1.start();
    await untilRole(proxy, 'db1', 'replica');
    await proxy.admin('CLONE BACKEND db3');
    await proxy.admin('SET BACKEND db3 ONLINE');
    await untilRole(proxy, 'db3', 'replica');
    assert.deepEqual(await db3.query('select a from demo.t'), [{ a: 1 }]);
  });

  test('it knows who has written before, so that all follow it when it is the primary', async () => {
    const state = async (server: DatabaseServer): Promise<unknown> =>
      (await server.query('select @@global.gtid_binlog_state as state'))[0]?.['state'];
    await eventually(async () => assert.equal(await state(db3), await state(db2)), LONG_MS);
    await proxy.admin('SET BACKEND db3 RW_WEIGHT = 1');
    await untilSafe(proxy, db2, 'mariadb');
    await proxy.admin('SWITCHOVER TO db3');
    await untilWell(proxy);
    assert.deepEqual((await proxy.admin('SHOW LOST TRANSACTIONS')).length, 0);
    await db3.execute('insert into demo.t values (2)');
    for (const server of [db1, db2]) {
      await eventually(async () => {
        assert.deepEqual(await server.query('select a from demo.t'), [{ a: 1 }, { a: 2 }]);
      }, LONG_MS);
    }
  });
});
