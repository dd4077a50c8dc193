/**
 * Failover by itself, on real servers with `semi_sync = require`: who dies, who takes over, what becomes of the writes
 * that were acknowledged and of the server that was the primary; and what dbproxy does not do, and why.
 */
import assert from 'node:assert/strict';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import {
  assertAllThere,
  assertFencedAndAccountedFor,
  backendRow,
  configWith,
  diagnoses,
  eventSince,
  isReadOnly,
  primaryOf,
  startGuarded,
  untilSafe,
  untilWell,
  underWriters,
  writeOne,
} from '../support/failovers.ts';

forEachFlavour(
  (flavour, words) => {
    const { primary: waits, replica: acknowledges, waitWithoutReplica, clients } = words.semiSync!;

    async function waitingReplicas(server: DatabaseServer): Promise<number> {
      const [row] = await server.query(
        `select @@global.${waits} and @@global.${waitWithoutReplica} as value`,
      );
      const [count] = await server.query(`show global status like '${clients}'`);
      return Number(row?.['value']) === 1 ? Number(count?.['Value']) : -1;
    }

    suite(`a primary that dies on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      test('is replaced, and comes back by itself as a replica that is waited for', async () => {
        await lab.db1.kill();
        await eventually(() => writeOne(proxy, -1));
        assert.equal(await primaryOf(proxy), 'db2');
        await lab.db1.start();
        await untilWell(proxy);
        assert.equal(await isReadOnly(lab.db1), true);
        assert.equal(await waitingReplicas(lab.db2), 1);
        await eventually(async () => {
          assert.equal((await lab.db1.query('select id from demo.written where id = -1')).length, 1);
        });
      });

      test('under eight writers costs no acknowledged write', async () => {
        const workload = await underWriters(proxy, 1, () => lab.db2.kill());
        await assertAllThere(lab.db1, workload);
        await lab.db2.start();
        await assertFencedAndAccountedFor(proxy, lab.db2);
      });
    });

    suite(`a primary that stops answering on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      test('is replaced, acknowledges nothing when it wakes up, and is fenced', async () => {
        const workload = await underWriters(proxy, 1, async () => {
          lab.db1.pause();
          await proxy.waitForEvent('promote.done');
        });
        lab.db1.resume();
        await assertFencedAndAccountedFor(proxy, lab.db1);
        await assertAllThere(lab.db2, workload);
        assert.equal(await primaryOf(proxy), 'db2');
      });
    });

    suite(`what is put right by itself on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        // A server that is back within a second or two is not taken for dead.
        ({ lab, proxy } = await startGuarded(flavour, { fall: 100, hold_timeout: '2s' }));
      });
      after(() => lab?.stop());

      test('a replica that a fool has made writable', async () => {
        await lab.db2.query('set global read_only = 0');
        await eventually(async () => assert.equal(await isReadOnly(lab.db2), true));
        await untilWell(proxy);
      });

      test('a replica that was told to acknowledge, and is connected as one that does not', async () => {
        await proxy.admin('MAINTENANCE ON');
        const { stopReceiver, startReplica } = words;
        await lab.db2.execute(`set global ${acknowledges} = 0`, stopReceiver, startReplica);
        await eventually(async () => {
          const [row] = await lab.db2.query(words.replicaStatus);
          assert.equal(row?.['Slave_IO_Running'] ?? row?.['Replica_IO_Running'], 'Yes');
        });
        await lab.db2.query(`set global ${acknowledges} = 1`);
        const written = writeOne(proxy, -1);
        await eventually(async () => {
          assert.equal((await lab.db2.query('select id from demo.written where id = -1')).length, 1);
        });
        const from = proxy.log.length;
        await proxy.admin('MAINTENANCE OFF');
        await eventSince(proxy, from, 'care.semi_sync');
        // What it had received before nobody acknowledges any more: the primary is let go on, and then waits for it again.
        await written;
        await eventSince(proxy, from, 'care.take_back');
        await untilWell(proxy);
        assert.equal(await waitingReplicas(lab.db1), 1);
      });

      test('two servers that take writes: nothing is written until there is one', async () => {
        // Both know the last promotion, so which of them is right is not to be seen from what they know.
        await proxy.admin('PROMOTE db2');
        await untilWell(proxy);
        await proxy.admin('PROMOTE db1');
        await untilWell(proxy);
        const from = proxy.log.length;
        // Or it may be put right between two of the statements.
        await proxy.admin('MAINTENANCE ON');
        await lab.db2.execute(words.stopReplica, words.resetReplica, 'set global read_only = 0');
        await eventSince(proxy, from, 'diagnosis.TwoWritablePrimaries');
        await proxy.admin('MAINTENANCE OFF');
        await writeOne(proxy, -2);
        assert.equal((await lab.db1.query('select id from demo.written where id = -2')).length, 1);
        assert.equal(await isReadOnly(lab.db2), true);
        await untilWell(proxy);
        assert.equal(await primaryOf(proxy), 'db1');
        assert.equal((await lab.db2.query('select id from demo.written where id = -2')).length, 1);
      });

      test('a primary that was restarted and came up read-only', async () => {
        const from = proxy.log.length;
        await lab.db1.kill();
        await lab.db1.start();
        await eventSince(proxy, from, 'care.unlock');
        await eventually(() => writeOne(proxy, -3));
        assert.equal(await primaryOf(proxy), 'db1');
        await untilWell(proxy);
        assert.equal(await waitingReplicas(lab.db1), 1);
      });
    });

    suite(`a replica that dies on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      test('leaves a primary that goes on alone by decision, until it has caught up', async () => {
        await lab.db2.kill();
        await writeOne(proxy, -4);
        await proxy.waitForEvent('care.go_alone');
        await lab.db2.start();
        await lab.db2.query(words.startReplica);
        await untilWell(proxy);
        assert.equal(await waitingReplicas(lab.db1), 1);
        assert.equal((await lab.db2.query('select id from demo.written where id = -4')).length, 1);
      });

      test('and nobody takes over from a primary that died while it was alone', async () => {
        const from = proxy.log.length;
        await lab.db2.kill();
        await eventSince(proxy, from, 'care.go_alone');
        await eventually(() => writeOne(proxy, -5));
        await lab.db1.kill();
        await lab.db2.start();
        await lab.db2.query(words.startReplica);
        await eventually(async () => assert.ok((await diagnoses(proxy)).includes('NoSafeCandidate')));
        assert.equal(await isReadOnly(lab.db2), true);
        await lab.db1.start();
        await untilWell(proxy);
        assert.equal(await primaryOf(proxy), 'db1');
        assert.equal((await lab.db2.query('select id from demo.written where id = -5')).length, 1);
      });

      test('and stays away when the primary is back: what the diagnosis says has that one go on', async () => {
        await untilSafe(proxy, lab.db1, flavour);
        await Promise.all([lab.db1.kill(), lab.db2.kill()]);
        await eventually(async () => assert.ok((await diagnoses(proxy)).includes('AllServersGone')));
        await lab.db1.start();
        let advice = '';
        await eventually(async () => {
          const [row] = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'PrimaryReadOnly'");
          advice = /PROMOTE \S+ FORCE/.exec(String(row?.['detail']))?.[0] ?? '';
          assert.notEqual(advice, '');
        });
        await assert.rejects(proxy.admin('PROMOTE db1'), new RegExp(advice));
        assert.equal(await isReadOnly(lab.db1), true);
        await proxy.admin(advice);
        await eventually(() => writeOne(proxy, -8));
        assert.equal(await primaryOf(proxy), 'db1');
        await lab.db2.start();
        await lab.db2.query(words.startReplica);
        await untilWell(proxy);
        assert.equal((await lab.db2.query('select id from demo.written where id = -8')).length, 1);
      });
    });

    suite(`what keeps dbproxy from acting on ${flavour}`, () => {
      let lab: Lab;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
      });
      after(() => lab?.stop());

      test('failover = manual, maintenance, a cooldown: it tells, and an operator decides', async () => {
        const manual = await lab.startProxy({ config: configWith({ failover: 'manual' }) });
        const proxy = await lab.startProxy({ config: configWith({ failover_cooldown: '1h' }) });
        await untilSafe(manual, lab.db1, flavour);
        await untilSafe(proxy, lab.db1, flavour);
        await proxy.admin('MAINTENANCE ON');
        await lab.db1.kill();
        await Promise.all([
          manual.waitForEvent('failover.manual'),
          proxy.waitForEvent('diagnosis.PrimaryDown'),
        ]);
        assert.equal(await isReadOnly(lab.db2), true);
        for (const [asked, why] of [
          [manual, 'failover = manual'],
          [proxy, 'maintenance'],
        ] as const) {
          // A look at the replica that a busy machine makes too slow puts it off.
          await eventually(async () => {
            const [worst] = await asked.admin('SHOW DIAGNOSES');
            assert.equal(worst?.['action'], `waits for FAILOVER CLUSTER main (${why})`);
            assert.equal((await backendRow(asked, 'db1'))?.['writable'], 'unknown');
          });
        }
        const [cluster] = await proxy.admin('SHOW CLUSTERS');
        assert.equal(cluster?.['maintenance'], 'on');
        await manual.stop();

        await proxy.admin('MAINTENANCE OFF');
        await eventually(() => writeOne(proxy, -6));
        assert.equal(await primaryOf(proxy), 'db2');
        await lab.db1.start();
        await untilWell(proxy);

        // Servers tell their uptime in whole seconds: only then is it sure that the primary was looked at since.
        await eventually(async () => {
          const [row] = await lab.db1.query("show global status like 'uptime'");
          assert.ok(Number(row?.['Value']) >= 3);
        });
        // The second within the hour is not done by itself.
        await lab.db2.kill();
        await proxy.waitForEvent('failover.cooldown');
        assert.equal(await isReadOnly(lab.db1), true);
        await proxy.admin('FAILOVER');
        await writeOne(proxy, -7);
        assert.equal(await primaryOf(proxy), 'db1');
      });
    });

    suite(`a primary that somebody has locked on ${flavour}`, () => {
      let lab: Lab;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
      });
      after(() => lab?.stop());

      test('as a backup does stays the primary, and that is said', async () => {
        const proxy = await lab.startProxy({ config: configWith({ write_check: 'on' }) });
        await untilSafe(proxy, lab.db1, flavour);
        await eventually(async () => {
          assert.equal((await lab.db1.query('select 1 from dbproxy.heartbeat')).length, 1);
        });
        const from = proxy.log.length;
        await lab.db1.execute('flush tables with read lock', 'select sleep(4)');
        await eventSince(proxy, from, 'diagnosis.PrimaryLocked');
        assert.equal(
          proxy.log.slice(from).some(({ event }) => event === 'diagnosis.PrimaryHung'),
          false,
        );
        await eventually(() => writeOne(proxy, -1));
        assert.equal(await primaryOf(proxy), 'db1');
      });
    });

    suite(`statements about the primary on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      test('DRY RUN prints the plan and changes nothing', async () => {
        for (const statement of ['SWITCHOVER DRY RUN', 'FAILOVER DRY RUN']) {
          const rows = await proxy.admin(statement);
          const steps = rows.map((row) => row['step']);
          for (const step of ['hold', 'fence', 'make_writable', 'publish', 'expected loss', 'expected pause'])
            assert.ok(steps.includes(step), `${statement}: ${steps.join()}`);
          const others = rows.filter((row) => row['result'] !== 'planned');
          assert.deepEqual(
            others.map((row) => `${String(row['step'])} ${String(row['result'])}`),
            statement.startsWith('FAILOVER') ? ['check refused'] : [],
          );
        }
        assert.equal(await primaryOf(proxy), 'db1');
        assert.equal(await isReadOnly(lab.db1), false);
      });

      test('a state_dir that takes nothing is noticed before it is needed, and maintenance is seen', async () => {
        const inTheWay = join(proxy.stateDirectory, 'probe.tmp');
        await mkdir(inTheWay);
        await eventually(async () => assert.deepEqual(await diagnoses(proxy), ['StateNotWritable']), 20_000);
        await assert.rejects(proxy.admin('SWITCHOVER'), /nothing can be written to state_dir .*free space/);
        assert.ok(!proxy.log.some(({ event }) => event === 'promote.hold'));
        await rmdir(inTheWay);
        await untilWell(proxy);
        await proxy.admin('MAINTENANCE ON');
        await eventually(async () => assert.deepEqual(await diagnoses(proxy), ['InMaintenance']));
        await proxy.admin('MAINTENANCE OFF');
        await untilWell(proxy);
      });

      test('SWITCHOVER goes to the other, REHEARSE there and back, FAILOVER while the primary lives with FORCE alone', async () => {
        const workload = await underWriters(proxy, 1, async () => {
          const steps = await proxy.admin('SWITCHOVER');
          assert.ok(steps.every((row) => row['result'] !== 'failed'));
          assert.equal(await primaryOf(proxy), 'db2');
          await untilWell(proxy);
          const rehearsed = await proxy.admin('REHEARSE SWITCHOVER');
          const pauses = rehearsed.filter((row) => / pause$/.test(String(row['step'])));
          assert.equal(pauses.length, 2);
          assert.equal(await primaryOf(proxy), 'db2');
          await untilWell(proxy);
        });
        assert.deepEqual(
          workload.entries.filter(({ outcome }) => outcome !== 'acknowledged'),
          [],
          'no client was told of any of it',
        );
        await assertAllThere(lab.db2, workload);
        await assert.rejects(proxy.admin('FAILOVER'), /db2 is alive and well: SWITCHOVER TO db1/);
        assert.equal(await primaryOf(proxy), 'db2');
        await proxy.admin('FAILOVER FORCE');
        await writeOne(proxy, -8);
        assert.equal(await primaryOf(proxy), 'db1');
        await assertFencedAndAccountedFor(proxy, lab.db2);
      });
    });

    suite(`a primary whose binary log was reset by hand on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      test('has no replica any more that could take over: who has what cannot be told by ids that begin anew', async () => {
        await lab.db1.execute(flavour === 'mariadb' ? 'reset master' : 'reset binary logs and gtids');
        await eventually(async () => {
          const rows = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'ReplicaDiverged'");
          assert.match(String(rows[0]?.['detail']), /db2 has .*, which db1 had written and has not any more/);
        }, 20_000);
        await lab.db1.kill();
        await eventually(async () => {
          const rows = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'NoSafeCandidate'");
          assert.match(String(rows[0]?.['detail']), /which db1 had written and has not any more/);
        }, 20_000);
        await assert.rejects(proxy.admin('FAILOVER'), /which db1 had written and has not any more/);
        assert.equal(await isReadOnly(lab.db2), true);
      });
    });
  },
  ['mariadb', 'mysql97'],
);
