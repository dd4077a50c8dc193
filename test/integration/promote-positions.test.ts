/**
 * Who is the primary where there are no global ids: MySQL 5.6 that replicates by file and position. Switchover there
 * and back, failover, and what becomes of the old primary; with each acknowledged row looked for on all servers.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { CREATE_WRITTEN, Workload } from '../chaos/workload.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { followByPlace } from '../lab/mysql.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import { startProxy, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import {
  assertAllThere,
  configWith,
  diagnoses,
  eventSince,
  isReadOnly,
  primaryOf,
  underWriters,
  untilWell,
  writeOne,
} from '../support/failovers.ts';

const CONFIG = configWith({ semi_sync: 'off' });

/** Each acknowledged row is on both, and both have the same rows. */
async function assertSame(servers: readonly DatabaseServer[], workload: Workload): Promise<void> {
  const rowsOf = async (server: DatabaseServer): Promise<unknown> => [
    await server.query('select seq, id, part, server from demo.written order by seq'),
    // There is none before the first promotion.
    await server.query('select epoch, backend from dbproxy.epoch order by epoch').catch(String),
  ];
  const [first, ...others] = servers as [DatabaseServer, ...DatabaseServer[]];
  await eventually(async () => {
    const rows = await rowsOf(first);
    for (const other of others) assert.deepEqual(await rowsOf(other), rows, `${other.name}, ${first.name}`);
  });
  for (const server of servers) await assertAllThere(server, workload);
}

function untilThere(server: DatabaseServer, id: number): Promise<void> {
  return eventually(async () => {
    const rows = await server.query(`select id from demo.written where id = ${id}`);
    assert.equal(rows.length, 1, `row ${id} on ${server.name}`);
  });
}

async function sourcePortOf(server: DatabaseServer): Promise<number> {
  const [row] = await server.query('show slave status');
  return Number(row?.['Master_Port']);
}

forEachFlavour(
  (flavour) => {
    suite(`a promotion without global ids on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour, globalIds: false });
        await lab.db1.query(CREATE_WRITTEN);
        await lab.db1.query(`grant all on demo.* to ${PAIR_ACCOUNTS.monitor.user}@'%'`);
        proxy = await lab.startProxy({ config: CONFIG });
        await untilWell(proxy);
      });
      after(() => lab?.stop());

      test('goes there and back under writers, and both servers have every row', async () => {
        const workload = await underWriters(proxy, 1, async () => {
          await proxy.admin('SWITCHOVER');
          assert.equal(await primaryOf(proxy), 'db2');
          await untilWell(proxy);
          await proxy.admin('SWITCHOVER TO db1');
        });
        assert.equal(await primaryOf(proxy), 'db1');
        await untilWell(proxy);
        await assertSame([lab.db1, lab.db2], workload);
      });

      test('a primary that dies is replaced, and comes back by itself when it has nothing of its own', async () => {
        await writeOne(proxy, -1);
        await untilThere(lab.db2, -1);
        await lab.db1.kill();
        await eventually(() => writeOne(proxy, -2));
        assert.equal(await primaryOf(proxy), 'db2');
        await lab.db1.start();
        await untilWell(proxy);
        assert.equal(await isReadOnly(lab.db1), true);
        await untilThere(lab.db1, -2);
      });

      test('what an old primary alone has is reported, and discarded when an operator says so', async () => {
        await lab.db2.kill();
        await eventually(() => writeOne(proxy, -3));
        assert.equal(await primaryOf(proxy), 'db1');
        await proxy.admin('MAINTENANCE ON');
        const from = proxy.log.length;
        await lab.db2.start();
        await lab.db2.query('insert into demo.written (id, part, server, at_ms) values (-4, 1, 2, 0)');
        await proxy.admin('MAINTENANCE OFF');
        await eventSince(proxy, from, 'rejoin.saved');
        const lost = await proxy.admin('SHOW LOST TRANSACTIONS db2');
        assert.ok(
          lost.some((row) => /id=-4/.test(String(row['new']))),
          JSON.stringify(lost),
        );
        await assert.rejects(proxy.admin('REJOIN db2'), /DISCARD/);
        await proxy.admin('REJOIN db2 DISCARD');
        assert.deepEqual(await proxy.admin('SHOW LOST TRANSACTIONS db2'), []);
        await untilWell(proxy);
        await untilThere(lab.db2, -3);
        assert.equal((await lab.db2.query('select id from demo.written where id = -4')).length, 0);
        await writeOne(proxy, -5);
        await untilThere(lab.db2, -5);
      });
    });

    suite(`a dbproxy that is killed in the middle of a switchover without global ids on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour, globalIds: false });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: CONFIG });
        await untilWell(proxy);
      });
      after(() => lab?.stop());

      for (const [number, step] of ['stop_replication', 'record', 'make_writable'].entries()) {
        test(`after ${step}: the next start ends it, and the servers hold the same`, async () => {
          const from = proxy.log.length;
          const workload = new Workload(proxy.ports, { clients: 4, paceMs: 2, first: 1 + number * 100_000 });
          proxy.admin('SWITCHOVER').catch(() => undefined); // nobody is there to answer it
          await eventSince(proxy, from, `promote.${step}`);
          proxy.signal('SIGKILL');
          await proxy.ended();
          await workload.stop();
          await proxy.start();
          await untilWell(proxy);
          await writeOne(proxy, -100 - number);
          await assertSame([lab.db1, lab.db2], workload);
          const readOnly = await Promise.all([lab.db1, lab.db2].map(isReadOnly));
          assert.equal(readOnly[(await primaryOf(proxy)) === 'db1' ? 0 : 1], false);
          assert.deepEqual(readOnly.toSorted(), [false, true]);
        });
      }
    });

    suite(`three servers without global ids on ${flavour}`, () => {
      let lab: BlankServers;
      let proxy: ProxyProcess;
      let db1: DatabaseServer, db2: DatabaseServer, db3: DatabaseServer;
      before(async () => {
        const serverOptions = ['--skip-slave-start', '--read-only=1', '--binlog-format=row'];
        lab = await startBlankServers({ flavour, count: 3, serverOptions });
        [db1, db2, db3] = lab.servers as [DatabaseServer, DatabaseServer, DatabaseServer];
        await followByPlace(db2, db1);
        await followByPlace(db3, db1);
        await db1.execute('set global read_only = 0', CREATE_WRITTEN);
        const backend = { cluster: 'main', address: `127.0.0.1:${db3.port}`, rw_weight: 1 };
        proxy = await startProxy(
          { directory: lab.directory, serverPorts: [db1.port, db2.port], number: 1 },
          { config: { ...CONFIG, 'backend db3': backend } },
        );
        await untilWell(proxy);
      });
      after(async () => {
        await proxy?.stop();
        await lab?.stop();
      });

      test('in a switchover the third follows as well, though it is behind', async () => {
        await db3.query('stop slave sql_thread');
        const workload = await underWriters(proxy, 1, async () => {
          await db3.query('stop slave io_thread');
          await proxy.admin('SWITCHOVER TO db2');
        });
        await untilWell(proxy);
        for (const server of [db1, db3]) assert.equal(await sourcePortOf(server), db2.port);
        await assertSame([db1, db2, db3], workload);
      });

      test('in a failover one that is behind is left there and named, until its old source has the rest', async () => {
        await proxy.admin('MAINTENANCE ON');
        await db3.query('stop slave io_thread');
        await writeOne(proxy, -1);
        await untilThere(db1, -1);
        await proxy.admin('MAINTENANCE OFF');
        await db2.kill();
        // Of a receiver that was stopped nobody knows what it would hear, so an operator decides.
        await eventually(() => proxy.admin('FAILOVER'));
        await writeOne(proxy, -2);
        assert.equal(await primaryOf(proxy), 'db1');
        await eventually(async () => assert.ok((await diagnoses(proxy)).includes('ReplicaLeftBehind')));
        assert.equal(await sourcePortOf(db3), db2.port);
        await db2.start();
        await untilWell(proxy);
        for (const server of [db2, db3]) {
          await untilThere(server, -1);
          await untilThere(server, -2);
        }
      });
    });
  },
  ['mysql56'],
);
