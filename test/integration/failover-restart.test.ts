/**
 * A dbproxy that is killed in the middle of a switchover, after each step at which something has changed: the next
 * start ends what was begun, and there is one primary.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import {
  configWith,
  diagnoses,
  eventSince,
  isReadOnly,
  primaryOf,
  startGuarded,
  untilSafe,
  untilWell,
  writeOne,
} from '../support/failovers.ts';

forEachFlavour(
  (flavour) => {
    suite(`a dbproxy that is killed in the middle of a switchover on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        ({ lab, proxy } = await startGuarded(flavour));
      });
      after(() => lab?.stop());

      for (const [number, step] of [
        'end_sessions',
        'fence',
        'record',
        'make_writable',
        'repoint',
      ].entries()) {
        test(`after ${step}: the next start ends it, with one primary`, async () => {
          const from = proxy.log.length;
          proxy.admin('SWITCHOVER').catch(() => undefined); // nobody is there to answer it
          await eventSince(proxy, from, `promote.${step}`);
          proxy.signal('SIGKILL');
          await proxy.ended();
          await proxy.start();
          await untilWell(proxy);
          await writeOne(proxy, -100 - number);
          const readOnly = await Promise.all([lab.db1, lab.db2].map(isReadOnly));
          assert.deepEqual(readOnly.toSorted(), [false, true]);
          const primary = await primaryOf(proxy);
          assert.equal(readOnly[primary === 'db1' ? 0 : 1], false);
          const ends = proxy.log.slice(from).filter(({ event }) => /^promote\.(done|undone)$/.test(event));
          assert.equal(ends.length, 1);
          // Also those before this start.
          const events = await proxy.admin('SHOW EVENTS');
          const told = events.filter(({ event }) => /^promote\.(done|undone)$/.test(String(event)));
          assert.equal(told.length, number + 1);
          assert.equal(
            events.findIndex(({ event }) => event === 'cluster.remembered'),
            number,
          );
        });
      }
    });
  },
  ['mariadb', 'mysql97'],
);

forEachFlavour(
  (flavour) => {
    suite(`a replica that somebody has written on while no dbproxy looked, on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith({ semi_sync: 'off' }), readyWhen: 'alive' });
        await untilWell(proxy);
      });
      after(() => lab?.stop());

      test('is not promoted by a dbproxy that has never seen the primary', async () => {
        const path = join(proxy.stateDirectory, 'state.json');
        await eventually(() => assert.match(readFileSync(path, 'utf8'), /"ownWrites"/));
        await proxy.stop();
        await lab.db2.execute('set global read_only = 0', 'create database fool', 'set global read_only = 1');
        await lab.db1.kill();
        await proxy.start();
        await eventually(async () => {
          const [found] = await proxy.admin('SHOW DIAGNOSES');
          assert.equal(found?.['diagnosis'], 'NoSafeCandidate', JSON.stringify(found));
          assert.match(
            String(found?.['detail']),
            /db2: somebody has written there since .* compared with db1/,
          );
        });
        await lab.db1.start();
        await eventually(async () => {
          assert.deepEqual(await diagnoses(proxy), ['ReplicaDiverged', 'NobodyElectable']);
        });
        assert.equal(await primaryOf(proxy), 'db1');
      });

      const isMariadb = flavour === 'mariadb';
      test(
        'that has what a crash has taken from the primary is known for good when FORCE gives that up',
        { skip: !isMariadb },
        async () => {
          // As a crash leaves them that has cut the log of db1 short.
          await proxy.admin('MAINTENANCE ON');
          await lab.db1.execute('set global read_only = 1');
          const [first] = await lab.db1.query('select @@server_id as id, @@gtid_binlog_pos as place');
          // What came later would hide it.
          await lab.db2.query(`select master_gtid_wait('${String(first?.['place'])}')`);
          await lab.db2.execute(
            'set global read_only = 0',
            `set session server_id = ${String(first?.['id'])}, gtid_seq_no = 100000`,
            'create database cut_off',
            'set global read_only = 1',
          );
          await proxy.admin('MAINTENANCE OFF');
          await eventually(() =>
            assert.rejects(proxy.admin('PROMOTE db1'), /db2 received what it has not any more/),
          );
          assert.equal(await isReadOnly(lab.db1), true);
          await proxy.admin('PROMOTE db1 FORCE');
          await writeOne(proxy, -200);
          await eventually(async () => {
            const [found] = await proxy.admin('SHOW DIAGNOSES');
            assert.equal(found?.['diagnosis'], 'ReplicaDiverged', JSON.stringify(found));
            assert.match(String(found?.['detail']), /db2 has .*which db1 had written and has not any more/);
          });
        },
      );
    });
  },
  ['mariadb', 'mysql97'],
);

test('a primary whose section was renamed is taken on under its new name by FORCE, and no other way', async () => {
  const lab = await startPair();
  try {
    await lab.db1.query(CREATE_WRITTEN);
    const proxy = await lab.startProxy({ config: configWith(), readyWhen: 'alive' });
    await untilSafe(proxy, lab.db1, 'mariadb');
    await proxy.stop();
    const text = readFileSync(proxy.configPath, 'utf8');
    writeFileSync(proxy.configPath, text.replace('[backend db1]', '[backend dbone]'));
    await proxy.start();
    await eventually(async () => {
      const [found] = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'NoWritablePrimary'");
      assert.match(String(found?.['detail']), /is db1, which the configuration here does not have/);
    });
    await assert.rejects(proxy.admin('PROMOTE dbone'), /PROMOTE dbone FORCE/);
    await proxy.admin('PROMOTE dbone FORCE');
    await untilWell(proxy);
    assert.equal(await primaryOf(proxy), 'dbone');
    await writeOne(proxy, -1);
  } finally {
    await lab.stop();
  }
});

suite('a dbproxy that is killed in the middle of a switchover, whose target dies with it', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  before(async () => {
    lab = await startPair();
    await lab.db1.query(CREATE_WRITTEN);
    const patient = { queue_timeout: '60s' };
    const config = {
      ...configWith(),
      'listener write': patient,
      'listener read': patient,
      'listener split': patient,
    };
    proxy = await lab.startProxy({ config, readyWhen: 'alive' });
    await untilSafe(proxy, lab.db1, 'mariadb');
  });
  after(() => lab?.stop());

  test('knows who may log in from the old primary, and has who does wait for the new one', async () => {
    const from = proxy.log.length;
    proxy.admin('SWITCHOVER').catch(() => undefined); // nobody is there to answer it
    await eventSince(proxy, from, 'promote.make_writable');
    proxy.signal('SIGKILL');
    await Promise.all([proxy.ended(), lab.db2.kill()]);
    await proxy.start();
    const logins = Promise.all(
      (['write', 'read', 'split'] as const).map((endpoint) =>
        proxy.connect(endpoint, { connectTimeout: 60_000 }),
      ),
    );
    const refused = assert.rejects(proxy.connect('read', { password: 'wrong' }), {
      errno: 1045,
      message: /using password: YES/,
    });
    await Promise.all([refused, Promise.race([logins, untilWaiting(proxy, 3)])]);
    await lab.db2.start();
    await logins;
    await untilWell(proxy);
  });

  test('with no server at all, has logins wait for the accounts until one answers', async () => {
    await proxy.stop();
    await Promise.all([lab.db1.kill(), lab.db2.kill()]);
    await proxy.start();
    const denied = { errno: 1045, message: /using password: YES/ };
    const login = assert.rejects(
      proxy.connect('read', { password: 'wrong', connectTimeout: 60_000 }),
      denied,
    );
    await Promise.race([login, untilWaiting(proxy, 1)]);
    await lab.db1.start();
    await login;
  });
});

async function untilWaiting(proxy: ProxyProcess, count: number): Promise<void> {
  await eventually(async () => {
    const states = (await proxy.admin('SHOW SESSIONS')).map((row) => row['state']);
    assert.deepEqual(states, Array<string>(count).fill('waiting'));
  });
}
