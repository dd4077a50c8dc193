/**
 * Semi-synchronous replication as those who act on a server switch it: commits that must wait do, and those that must
 * not wait do not, also where they wait already, on real servers.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import type { ServerControl } from '../../src/failover/server-control.ts';
import { sqlServers } from '../../src/failover/sql-server.ts';
import type { SemiSyncPrimary } from '../../src/monitor/observation.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import { backendConfig, clusterConfig } from '../support/configs.ts';
import { eventually } from '../support/eventually.ts';

const { monitor } = PAIR_ACCOUNTS;

forEachFlavour(
  (flavour, words) => {
    suite(`commits that wait, and do not, on ${flavour}`, () => {
      let lab: Lab;
      let db1: ServerControl;
      let db2: ServerControl;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query('create table demo.waited (id int primary key)');
        [db1, db2] = await Promise.all([control(lab.db1), control(lab.db2)]);
      });
      after(async () => {
        db1?.close();
        db2?.close();
        await lab?.stop();
      });

      function control(server: DatabaseServer): Promise<ServerControl> {
        const address = { kind: 'tcp', host: '127.0.0.1', port: server.port } as const;
        const config = { semiSync: 'require', monitorUser: monitor.user, monitorPassword: monitor.password };
        return sqlServers(systemClock)(
          backendConfig(server.name, { address }),
          clusterConfig(config as Parameters<typeof clusterConfig>[0]),
        );
      }

      async function primarySide(server: ServerControl): Promise<SemiSyncPrimary> {
        return (await server.look(2_000)).semiSync.primary!;
      }

      /** Begins a write; `isSaved` tells whether it was acknowledged. */
      async function write(server: DatabaseServer, id: number): Promise<{ isSaved: () => boolean }> {
        const connection = await lab.connect(server);
        let isSaved = false;
        connection.query(`insert into demo.waited values (${id})`).then(
          () => (isSaved = true),
          () => undefined,
        );
        return { isSaved: () => isSaved };
      }

      test('a replica that was told to wait as a primary does, and applies at once when told not to', async () => {
        await db2.setSemiSync('primary', true);
        assert.deepEqual(await sideOf(db2), { enabled: true, live: true, clients: 0 });
        await lab.db1.query('insert into demo.waited values (1)');
        await eventually(async () => assert.equal((await primarySide(db2)).waiting, 1));
        await db2.setSemiSync('primary', false);
        assert.deepEqual(await sideOf(db2), { enabled: false, live: false, clients: 0 });
        const { position } = await db1.look(2_000);
        assert.equal(await db2.hasApplied(position), true);
      });

      test('one that did not wait, and becomes a primary, acknowledges nothing alone', async () => {
        await db2.stopReplication(false, 5_000);
        await db2.setSemiSync('primary', true);
        await db2.makeWritable();
        const side = await primarySide(db2);
        assert.deepEqual([side.enabled, side.live, side.timeoutMs > 24 * 3_600_000], [true, true, true]);
        const written = await write(lab.db2, 100);
        await eventually(async () => assert.equal((await primarySide(db2)).waiting, 1));
        assert.equal(written.isSaved(), false);
        await db2.setSemiSync('primary', false);
        await eventually(() => assert.equal(written.isSaved(), true));
        await lab.db2.execute('set sql_log_bin = 0', 'delete from demo.waited where id = 100');
      });

      test('a primary whose replica is connected and does not answer is let go', async () => {
        await db2.makeReadOnly(5_000, true);
        await db2.startReplication();
        await db1.setSemiSync('primary', true);
        await untilFollowed();
        lab.db2.pause();
        try {
          const written = await write(lab.db1, 2);
          await eventually(async () => assert.equal((await primarySide(db1)).waiting, 1));
          assert.equal((await primarySide(db1)).clients, 1);
          await db1.setSemiSync('primary', false);
          await eventually(() => assert.equal(written.isSaved(), true));
        } finally {
          lab.db2.resume();
        }
      });

      test('and waits again when it is told to', async () => {
        await db1.setSemiSync('primary', true);
        await untilFollowed();
        await lab.db2.query(words.stopReceiver);
        const written = await write(lab.db1, 3);
        await eventually(async () => assert.equal((await primarySide(db1)).waiting, 1));
        assert.equal(written.isSaved(), false);
        await lab.db2.query(words.startReplica);
        await eventually(() => assert.equal(written.isSaved(), true));
      });

      /** The connection of db2 that is counted is the one that it has now. */
      async function untilFollowed(): Promise<void> {
        const dumps = "select 1 from information_schema.processlist where command like 'Binlog Dump%'";
        await eventually(async () => {
          assert.equal((await db2.look(2_000)).replication?.receiver, 'running');
          assert.equal((await lab.db1.query(dumps)).length, 1);
          assert.equal((await primarySide(db1)).clients, 1);
        });
      }

      async function sideOf(server: ServerControl): Promise<Partial<SemiSyncPrimary>> {
        const { enabled, live, clients } = await primarySide(server);
        return { enabled, live, clients };
      }
    });
  },
  ['mariadb', 'mysql97'],
);
