/**
 * The pair of servers that the demo and every integration test stand on.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { startPair as startDemoPair, type Pair } from '../../src/demo/pair.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { mariaDbSetup, replicate } from '../lab/mariadb.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import { freePorts } from '../lab/ports.ts';
import { eventually } from '../support/eventually.ts';

forEachFlavour((flavour, { semiSync }) => {
  suite(`a pair of ${flavour} for a test`, () => {
    let lab: Lab;
    before(async () => {
      lab = await startPair({ flavour });
    });
    after(() => lab?.stop());

    test('has a primary that can be written and a replica that cannot', async () => {
      const primary = await lab.connect(lab.db1);
      await primary.query('create table t (a int primary key)');
      await primary.query('insert into t values (1)');
      const replica = await lab.connect(lab.db2);
      await eventually(async () => assert.deepEqual((await replica.query('select a from t'))[0], [{ a: 1 }]));
      await assert.rejects(replica.query('insert into t values (2)'), { errno: 1290 });
    });

    const skip = semiSync === null && 'this build of the server has no semi-synchronous replication';
    test('is semi-synchronous on one side only', { skip }, async () => {
      const { clients, primary } = semiSync!;
      await eventually(async () => {
        const [onPrimary] = await lab.db1.query(`show global status like '${clients}'`);
        assert.equal(onPrimary?.['Value'], '1');
      });
      const [onReplica] = await lab.db2.query(`select @@global.${primary} as enabled`);
      assert.equal(onReplica?.['enabled'], 0);
    });

    test('has root2 who may write on the replica all the same', async () => {
      const root2 = await lab.connect(lab.db2, { user: 'root2', password: 'root2' });
      await root2.query('set sql_log_bin = 0');
      await root2.query('create table only_here (a int)');
      await root2.query('drop table only_here');
    });

    test('answers again after a pause, and after a kill', async () => {
      lab.db2.pause();
      const answer = lab.db2.query('select 1 as one');
      lab.db2.resume();
      assert.deepEqual(await answer, [{ one: 1 }]);
      await lab.db2.kill();
      assert.equal(lab.db2.running, false);
      await lab.db2.start();
      assert.deepEqual(await lab.db2.query('select @@read_only as readOnly'), [{ readOnly: 1 }]);
    });
  });
});

suite('a pair that is started again', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-pair-'));
  let pair: Pair | undefined;
  after(async () => {
    await pair?.stop();
    rmSync(directory, { recursive: true });
  });

  // Its replica reaches the primary where it was before.
  let ports: [number, number];
  before(async () => {
    ports = (await freePorts(2)) as [number, number];
  });

  const start = (setUp: (servers: Pair['servers']) => Promise<void>): Promise<Pair> =>
    startDemoPair({
      directory,
      names: ['a', 'b'],
      ports,
      clock: systemClock,
      sql: mariaDbSetup([]),
      semiSyncTimeoutMs: 1000,
      setUp,
    });
  const never = (): Promise<void> => Promise.reject(new Error('they were to be set up again'));

  function untilBoth(servers: Pair['servers'], table: string, rows: number): Promise<void[]> {
    return Promise.all(
      servers.map((server) =>
        eventually(async () => assert.equal((await server.query(`select * from ${table}`)).length, rows)),
      ),
    );
  }

  test('is set up by the next start when the first did not come to its end', async () => {
    await assert.rejects(
      start(async ([first]) => {
        await first.execute('create database dbproxy', 'create table dbproxy.epoch (epoch int)');
        throw new Error('and no further');
      }),
      /and no further/,
    );
    let isSetUp = false;
    pair = await start(async (servers) => {
      await replicate(servers);
      await untilBoth(servers, 'dbproxy.epoch', 0);
      isSetUp = true;
    });
    assert.ok(isSetUp);
  });

  test('keeps its data, and nobody makes it writable: replication alone goes on', async () => {
    await pair!.servers[0].execute('create table demo.t (a int)', 'insert into demo.t values (1)');
    await untilBoth(pair!.servers, 'demo.t', 1);
    await pair!.stop();

    pair = await start(never);
    for (const server of pair.servers) {
      assert.deepEqual(await server.query('select @@read_only as readOnly'), [{ readOnly: 1 }]);
    }
    // root may write all the same.
    await pair.servers[0].execute('insert into demo.t values (2)');
    await untilBoth(pair.servers, 'demo.t', 2);
  });

  test('takes the place of servers that were left running', async () => {
    // As after a SIGKILL of whoever started them: nobody has told the first pair to stop.
    const left = pair!;
    pair = await start(never);
    await eventually(() => assert.ok(left.servers.every((server) => !server.running)));
  });

  test('stops whole and leaves no pid file', async () => {
    await pair!.stop();
    assert.ok(pair!.servers.every((server) => !server.running));
    assert.ok(pair!.servers.every((server) => !existsSync(join(server.directory, 'pid'))));
  });
});
