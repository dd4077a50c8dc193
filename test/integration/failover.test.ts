/**
 * Failover by itself, on real servers with `semi_sync = require`: who dies, who takes over, what becomes of the writes
 * that were acknowledged and of the server that was the primary; and what dbproxy does not do, and why.
 */
import assert from 'node:assert/strict';
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
  configWith,
  diagnoses,
  eventSince,
  isReadOnly,
  primaryOf,
  untilSafe,
  untilWell,
  underWriters,
  writeOne,
} from '../support/failovers.ts';

forEachFlavour(
  (flavour, words) => {
    const { primary: waits, clients } = words.semiSync!;

    async function waitingReplicas(server: DatabaseServer): Promise<number> {
      const [row] = await server.query(`select @@global.${waits} as value`);
      const [count] = await server.query(`show global status like '${clients}'`);
      return Number(row?.['value']) === 1 ? Number(count?.['Value']) : -1;
    }

    suite(`a primary that dies on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith() });
        await untilSafe(proxy, lab.db1, flavour);
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
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith() });
        await untilSafe(proxy, lab.db1, flavour);
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
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        // A server that is back within a second or two is not taken for dead.
        proxy = await lab.startProxy({ config: configWith({ fall: 100 }) });
        await untilSafe(proxy, lab.db1, flavour);
      });
      after(() => lab?.stop());

      test('a replica that a fool has made writable', async () => {
        await lab.db2.query('set global read_only = 0');
        await eventually(async () => assert.equal(await isReadOnly(lab.db2), true));
        await untilWell(proxy);
      });

      test('two servers that take writes: nothing is written until there is one', async () => {
        // Both know the last promotion, so which of them is right is not to be seen from what they know.
        await proxy.admin('PROMOTE db2');
        await untilWell(proxy);
        await proxy.admin('PROMOTE db1');
        await untilWell(proxy);
        const from = proxy.log.length;
        await lab.db2.execute(words.stopReplica, words.resetReplica, 'set global read_only = 0');
        await eventSince(proxy, from, 'diagnosis.TwoWritablePrimaries');
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
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith() });
        await untilSafe(proxy, lab.db1, flavour);
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
        await manual.stop();

        await proxy.admin('MAINTENANCE OFF');
        await eventually(() => writeOne(proxy, -6));
        assert.equal(await primaryOf(proxy), 'db2');
        await lab.db1.start();
        await untilWell(proxy);

        // The second within the hour is not done by itself.
        await lab.db2.kill();
        await proxy.waitForEvent('failover.cooldown');
        assert.equal(await isReadOnly(lab.db1), true);
        await proxy.admin('FAILOVER');
        await writeOne(proxy, -7);
        assert.equal(await primaryOf(proxy), 'db1');
      });
    });

    suite(`statements about the primary on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith() });
        await untilSafe(proxy, lab.db1, flavour);
      });
      after(() => lab?.stop());

      test('DRY RUN prints the plan and changes nothing', async () => {
        for (const statement of ['SWITCHOVER DRY RUN', 'FAILOVER DRY RUN']) {
          const rows = await proxy.admin(statement);
          const steps = rows.map((row) => row['step']);
          for (const step of ['hold', 'fence', 'make_writable', 'publish', 'expected loss', 'expected pause'])
            assert.ok(steps.includes(step), `${statement}: ${steps.join()}`);
          assert.ok(rows.every((row) => row['result'] === 'planned'));
        }
        assert.equal(await primaryOf(proxy), 'db1');
        assert.equal(await isReadOnly(lab.db1), false);
      });

      test('SWITCHOVER goes to the other, REHEARSE there and back, FAILOVER while the primary lives as well', async () => {
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
        await proxy.admin('FAILOVER');
        await writeOne(proxy, -8);
        assert.equal(await primaryOf(proxy), 'db1');
        await assertFencedAndAccountedFor(proxy, lab.db2);
      });
    });
  },
  ['mariadb', 'mysql97'],
);
