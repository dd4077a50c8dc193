/**
 * Clusters of more than two servers, and of other shapes than a primary with its replica, on real servers: several
 * replicas, chains, rings, and followers that take no traffic.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { messageOf } from '../../src/base/message-of.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import type { ConfigSections, ProxyProcess } from '../lab/proxy.ts';
import { startTopology, type Topology, type TopologyFlavour } from '../lab/topology.ts';
import { eventually } from '../support/eventually.ts';
import {
  assertAllThere,
  configWith,
  diagnoses,
  eventSince,
  isReadOnly,
  primaryOf,
  underWriters,
  untilSafe,
  writeOne,
} from '../support/failovers.ts';

const LONG_MS = 20_000;

/** What MySQL has committed is there after any crash. */
const DURABLE = ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=1'];

/** Three equal servers under `semi_sync = require`. */
function three(cluster: Record<string, string | number> = {}): ConfigSections {
  return { ...configWith(cluster), 'backend db3': { rw_weight: 1 } };
}

/** The server that this one has its changes from, on this channel; null when it follows nobody. */
async function sourceOf(lab: Topology, name: string, channel = ''): Promise<string | null> {
  const status = lab.flavour === 'mariadb' ? 'show all slaves status' : 'show replica status';
  const rows = await lab.server(name).query(status);
  const row = rows.find((one) => (one['Channel_Name'] ?? one['Connection_name']) === channel);
  if (row === undefined) return null;
  const port = Number(row['Source_Port'] ?? row['Master_Port']);
  return lab.names.find((one) => lab.server(one).port === port) ?? `port ${port}`;
}

/** On a source: its connections to replicas, by their ids. */
async function feedsOf(lab: Topology, name: string): Promise<number[]> {
  const rows = await lab
    .server(name)
    .query("select id as id from information_schema.processlist where command like 'Binlog Dump%'");
  return rows.map((row) => Number(row['id']));
}

/**
 * All is well in the end. A server that died as the primary may have what it was never acknowledged for; what an
 * operator would do about that is done.
 */
async function getWell(proxy: ProxyProcess): Promise<void> {
  let refused: unknown;
  await eventually(async () => {
    const rows = await proxy.admin('SHOW DIAGNOSES');
    const [returned] = rows.filter((row) => row['diagnosis'] === 'OldPrimaryReturned');
    const name = /^(db\d)/.exec(String(returned?.['detail']))?.[1];
    const isToldOf = proxy.log.some(({ event, subject }) => event === 'rejoin.saved' && subject === name);
    if (name !== undefined && isToldOf)
      await proxy.admin(`REJOIN ${name} DISCARD`).catch((error: unknown) => (refused = error));
    assert.deepEqual(
      rows.map((row) => row['diagnosis']),
      ['AllHealthy'],
      `${JSON.stringify(rows)}; REJOIN: ${refused === undefined ? 'not refused' : messageOf(refused)}`,
    );
  }, LONG_MS);
}

/** What dbproxy has pointed elsewhere a moment ago it looks after until that runs: whoever stops it then is taken for dbproxy. */
async function untilLetGo(proxy: ProxyProcess, name: string): Promise<void> {
  await eventually(() => {
    const state = readFileSync(join(proxy.stateDirectory, 'state.json'), 'utf8');
    const { clusters } = JSON.parse(state) as { clusters: { main: { inHand?: string[] } } };
    assert.ok(clusters.main.inHand?.includes(name) !== true);
  }, LONG_MS);
}

/** MySQL asks a client that it has not seen since its start for the password itself, which one that moves cannot give. */
async function knowsClients(lab: Topology, name: string): Promise<void> {
  const { port } = lab.server(name);
  const client = await createConnection({ host: '127.0.0.1', port, user: 'app', password: 'app' });
  await client.end();
}

forEachFlavour(
  (flavour, words) => {
    const kind = flavour as TopologyFlavour;
    const { primary: waits, clients } = words.semiSync!;

    /** Semi-synchronous replicas that a primary waits for; -1: it does not wait. */
    async function waitedFor(lab: Topology, name: string): Promise<number> {
      const [row] = await lab.server(name).query(`select @@global.${waits} as value`);
      const [count] = await lab.server(name).query(`show global status like '${clients}'`);
      return Number(row?.['value']) === 1 ? Number(count?.['Value']) : -1;
    }

    async function assertSources(lab: Topology, expected: Record<string, string | null>): Promise<void> {
      await eventually(async () => {
        const found: Record<string, string | null> = {};
        for (const name of Object.keys(expected)) found[name] = await sourceOf(lab, name);
        assert.deepEqual(found, expected);
      }, LONG_MS);
    }

    suite(`one primary and two replicas on ${flavour}`, () => {
      let lab: Topology;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startTopology({
          flavour: kind,
          names: ['db1', 'db2', 'db3'],
          follows: [
            ['db2', 'db1'],
            ['db3', 'db1'],
          ],
          writable: ['db1'],
          ...(flavour === 'mysql97' ? { serverOptions: { db1: DURABLE, db2: DURABLE, db3: DURABLE } } : {}),
        });
        await lab.server('db1').query(CREATE_WRITTEN);
        // db3 may come to have as much as db2, out of what its connection had been sent: then the first by name is taken.
        proxy = await lab.startProxy(three());
        await untilSafe(proxy, lab.server('db1'), flavour);
      });
      after(() => lab?.stop());

      test('the most advanced replica is promoted when all that may have acknowledged can be asked', async () => {
        const from = proxy.log.length;
        const workload = await underWriters(proxy, 1, async () => {
          lab.server('db3').pause();
          const before = proxy.log.length;
          await eventSince(proxy, before, 'diagnosis.ReplicaGone');
          await lab.server('db1').kill();
          await eventually(async () => {
            const rows = await proxy.admin('SHOW DIAGNOSES');
            assert.equal(rows[0]?.['diagnosis'], 'NoSafeCandidate', JSON.stringify(rows));
            assert.match(String(rows[0]?.['detail']), /db3 may have acknowledged what db2 has not/);
          }, LONG_MS);
          assert.equal(await isReadOnly(lab.server('db2')), true);
          lab.server('db3').resume();
          await eventSince(proxy, from, 'promote.done');
        });
        assert.equal(await primaryOf(proxy), 'db2');
        await assertAllThere(lab.server('db2'), workload);
        await assertSources(lab, { db3: 'db2' });
        await eventually(async () => assert.equal(await waitedFor(lab, 'db2'), 1), LONG_MS);

        await lab.server('db1').start();
        await getWell(proxy);
        await assertSources(lab, { db1: 'db2', db3: 'db2' });
        await eventually(async () => assert.equal(await waitedFor(lab, 'db2'), 2), LONG_MS);
        await eventually(() => assertAllThere(lab.server('db1'), workload));
        await eventually(() => assertAllThere(lab.server('db3'), workload));
      });

      test('two that die at once, and the replica is back first: what it acknowledged it may have lost', async () => {
        const primary = (await primaryOf(proxy))!;
        const workload = await underWriters(proxy, 1_000_000, async () => {
          const before = proxy.log.length;
          await Promise.all([lab.server(primary).kill(), lab.server('db3').kill()]);
          await eventSince(proxy, before, 'diagnosis.NoSafeCandidate');
          const down = proxy.log.length;
          await lab.server('db3').start();
          await eventSince(proxy, down, 'backend.restarted');
          await eventually(async () => {
            const [worst] = await proxy.admin('SHOW DIAGNOSES');
            assert.equal(worst?.['diagnosis'], 'NoSafeCandidate');
            // Whoever was not seen in sync just before is not elected for that reason already.
            assert.match(
              String(worst?.['detail']),
              /db3 was restarted lately|db3 may have acknowledged|did not work when/,
            );
          }, LONG_MS);
          assert.equal(await isReadOnly(lab.server('db1')), true);
          assert.equal(await isReadOnly(lab.server('db3')), true);
          await lab.server(primary).start();
        });
        // Where the crash has cost the primary what a replica has received, that one is promoted instead.
        await assertAllThere(lab.server((await primaryOf(proxy))!), workload);
        await getWell(proxy);
      });

      test('two that die at once: the primary is the first that is back, and goes on when it can have lost nothing', async () => {
        const primary = (await primaryOf(proxy))!;
        const other = ['db1', 'db2', 'db3'].find((name) => name !== primary)!;
        const workload = await underWriters(proxy, 2_000_000, async () => {
          await Promise.all([lab.server(primary).kill(), lab.server(other).kill()]);
          await eventually(
            async () => assert.ok((await diagnoses(proxy)).includes('NoSafeCandidate')),
            LONG_MS,
          );
          await lab.server(primary).start();
          if (flavour !== 'mariadb') return;
          // Its crash may have cost it what only the other one has.
          await eventually(async () => {
            const rows = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'PrimaryReadOnly'");
            assert.match(String(rows[0]?.['detail']), new RegExp(`a crash (may have|has) .*${other}`));
          }, LONG_MS);
          assert.equal(await isReadOnly(lab.server(primary)), true);
          await lab.server(other).start();
        });
        const now = (await primaryOf(proxy))!;
        await assertAllThere(lab.server(now), workload);
        if (flavour !== 'mariadb') await lab.server(other).start();
        await getWell(proxy);
        await eventually(async () => assert.equal(await waitedFor(lab, now), 2), LONG_MS);
      });

      test('SWITCHOVER TO the one that lags waits for it, and loses nothing', async () => {
        const primary = (await primaryOf(proxy))!;
        const target = primary === 'db3' ? 'db1' : 'db3';
        const workload = await underWriters(proxy, 3_000_000, async () => {
          await knowsClients(lab, target);
          const lock = await lab.server(target).connectAsRoot();
          await lock.query('lock tables demo.written read');
          const before = proxy.log.length;
          const switchover = proxy.admin(`SWITCHOVER TO ${target}`);
          await eventSince(proxy, before, 'promote.fence');
          await lock.query('unlock tables');
          await lock.end();
          const steps = await switchover;
          assert.ok(
            steps.every((row) => row['result'] !== 'failed'),
            JSON.stringify(steps),
          );
        });
        assert.equal(await primaryOf(proxy), target);
        assert.deepEqual(
          workload.entries.filter(({ outcome }) => outcome !== 'acknowledged'),
          [],
        );
        await assertAllThere(lab.server(target), workload);
        await getWell(proxy);
      });

      test('read_only is put right on either side, and in maintenance nothing is', async () => {
        const primary = lab.server((await primaryOf(proxy))!);
        const replica = lab.server(primary.name === 'db1' ? 'db2' : 'db1');
        await replica.query('set global read_only = 0');
        await eventually(async () => assert.equal(await isReadOnly(replica), true));
        await primary.query('set global read_only = 1');
        await eventually(async () => assert.equal(await isReadOnly(primary), false));
        await getWell(proxy);

        await proxy.admin('MAINTENANCE ON');
        const before = proxy.log.length;
        await replica.query('set global read_only = 0');
        await primary.query('set global read_only = 1');
        await eventSince(proxy, before, 'diagnosis.PrimaryReadOnly');
        await eventSince(proxy, before, 'diagnosis.ReplicaWritable');
        const looks = async (): Promise<unknown> => proxy.admin('SHOW DIAGNOSES');
        for (let round = 0; round < 3; round++) await looks();
        assert.equal(await isReadOnly(primary), true);
        assert.equal(await isReadOnly(replica), false);
        assert.ok(!proxy.log.slice(before).some(({ event }) => event.startsWith('care.')));

        await proxy.admin('MAINTENANCE OFF');
        await eventually(async () => assert.equal(await isReadOnly(primary), false));
        await eventually(async () => assert.equal(await isReadOnly(replica), true));
        await getWell(proxy);
        await writeOne(proxy, -1);
      });

      test('a replica that waits for replicas of its own is made read-only all the same', async () => {
        const primary = await primaryOf(proxy);
        const replica = lab.server(primary === 'db1' ? 'db2' : 'db1');
        const [enabled, timeout] =
          flavour === 'mysql97'
            ? ['rpl_semi_sync_source_enabled', 'rpl_semi_sync_source_timeout']
            : ['rpl_semi_sync_master_enabled', 'rpl_semi_sync_master_timeout'];
        const from = proxy.log.length;
        // As if it had been started so while nobody looked.
        proxy.signal('SIGSTOP');
        await replica.query(`set global ${timeout} = 4294967295`);
        await replica.query(`set global ${enabled} = 1`);
        await replica.query('set global read_only = 0');
        await writeOne(proxy, -2);
        proxy.signal('SIGCONT');
        await eventSince(proxy, from, 'care.fence');
        await getWell(proxy);
        assert.equal(await isReadOnly(replica), true);
      });
    });

    suite(`a chain on ${flavour}`, () => {
      let lab: Topology;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startTopology({
          flavour: kind,
          names: ['db1', 'db2', 'db3'],
          follows: [
            ['db2', 'db1'],
            ['db3', 'db2'],
          ],
          writable: ['db1'],
        });
        await lab.server('db1').query(CREATE_WRITTEN);
        proxy = await lab.startProxy(three());
        await untilSafe(proxy, lab.server('db1'), flavour);
      });
      after(() => lab?.stop());

      test('hands on to the replica in the middle, and to the one at its end', async () => {
        await proxy.admin('SWITCHOVER TO db2');
        await getWell(proxy);
        await assertSources(lab, { db1: 'db2', db2: null, db3: 'db2' });
        await lab.follow('db3', 'db1');
        await assertSources(lab, { db1: 'db2', db3: 'db1' });
        await getWell(proxy);

        await proxy.admin('SWITCHOVER TO db3');
        await getWell(proxy);
        await assertSources(lab, { db1: 'db3', db2: 'db3', db3: null });
        await writeOne(proxy, -1);
      });

      test('loses its head: the replica next to it is promoted, and the one below stays there', async () => {
        await lab.follow('db2', 'db1');
        await assertSources(lab, { db1: 'db3', db2: 'db1' });
        // The primary notices with a write that a replica has left it; dbproxy, when it looks the next time.
        await eventually(async () => {
          await writeOne(proxy, -2);
          assert.equal(await waitedFor(lab, 'db3'), 1);
        });
        await proxy.admin('SWITCHOVER DRY RUN');
        await getWell(proxy);
        const workload = await underWriters(proxy, 1, () => lab.server('db3').kill());
        assert.equal(await primaryOf(proxy), 'db1');
        await assertAllThere(lab.server('db1'), workload);
        await assertSources(lab, { db1: null, db2: 'db1' });
        await lab.server('db3').start();
        await getWell(proxy);
      });

      test('loses its middle: the one below it follows the primary itself, and writes go on', async () => {
        await untilLetGo(proxy, 'db3');
        await lab.follow('db3', 'db2');
        await assertSources(lab, { db2: 'db1', db3: 'db2' });
        await getWell(proxy);
        const from = proxy.log.length;
        const workload = await underWriters(proxy, 1_000_000, () => lab.server('db2').kill());
        await eventSince(proxy, from, 'diagnosis.ReplicaOrphaned');
        await assertSources(lab, { db3: 'db1' });
        assert.ok(
          workload.entries.every(({ outcome }) => outcome === 'acknowledged'),
          'no client was told of it',
        );
        await lab.server('db2').start();
        await getWell(proxy);
        await eventually(() => assertAllThere(lab.server('db3'), workload));
      });
    });

    suite(`a follower that takes no traffic on ${flavour}`, () => {
      let lab: Topology;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startTopology({
          flavour: kind,
          names: ['db1', 'db2', 'db3', 'db4'],
          // Semi-synchronous replicas do not tell their channels apart: the other source is none.
          serverOptions: {
            db3: [`--rpl-semi-sync-${flavour === 'mysql97' ? 'replica' : 'slave'}-enabled=OFF`],
          },
          before: {
            db4: [
              ...(flavour === 'mariadb'
                ? ['set global gtid_domain_id = 9', 'set session gtid_domain_id = 9']
                : []),
              'set global read_only = 0',
              'create database other',
              'create table other.t (id int primary key)',
            ],
          },
          follows: [
            ['db2', 'db1'],
            ['db3', 'db1', 'up'],
            ['db3', 'db4', 'elsewhere'],
          ],
          writable: ['db1', 'db4'],
        });
        await lab.server('db1').query(CREATE_WRITTEN);
        const config = configWith();
        config['backend db3'] = { follow: 'on', channel: 'up' };
        proxy = await lab.startProxy(config);
        await untilSafe(proxy, lab.server('db1'), flavour);
      });
      after(() => lab?.stop());

      async function assertFollows(primary: string, id: number): Promise<void> {
        await eventually(async () => assert.equal(await sourceOf(lab, 'db3', 'up'), primary), LONG_MS);
        await writeOne(proxy, id);
        await lab.server('db4').query(`insert into other.t values (${-id})`);
        await eventually(async () => {
          const here = await lab.server('db3').query(`select id from demo.written where id = ${id}`);
          assert.equal(here.length, 1, 'what the primary writes');
          const there = await lab.server('db3').query(`select id from other.t where id = ${-id}`);
          assert.equal(there.length, 1, 'what the other source writes');
        }, LONG_MS);
        assert.equal(await sourceOf(lab, 'db3', 'elsewhere'), 'db4');
      }

      test('follows the primary of the moment on its channel; its other source is left alone', async () => {
        const feeds = await feedsOf(lab, 'db4');
        assert.equal(feeds.length, 1);
        await assertFollows('db1', -1);
        await assert.rejects(proxy.admin('SWITCHOVER TO db3'), /follow = on/);
        await proxy.admin('SWITCHOVER');
        assert.equal(await primaryOf(proxy), 'db2');
        await assertFollows('db2', -2);
        await getWell(proxy);

        // While nobody writes: what no client was told of it might have instead of db1.
        await lab.server('db2').kill();
        await eventually(async () => assert.equal(await primaryOf(proxy), 'db1'), LONG_MS);
        await assertFollows('db1', -3);
        assert.deepEqual(await feedsOf(lab, 'db4'), feeds, 'it has never been interrupted');
        await lab.server('db2').start();
        await getWell(proxy);

        await lab.server('db3').kill();
        await lab.server('db3').start();
        await getWell(proxy);
        await eventually(async () => assert.equal((await feedsOf(lab, 'db4')).length, 1), LONG_MS);
        const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db3'");
        assert.deepEqual([row?.['rw_weight'], row?.['ro_weight'], row?.['sessions']], [0, 0, 0]);
      });

      test('does not stop a failover by what it has received and no client was told of', async () => {
        await getWell(proxy);
        const from = proxy.log.length;
        const client = await proxy.connect('write');
        // Nobody sees that db2 does not receive for a moment.
        proxy.signal('SIGSTOP');
        const [stop, start] =
          flavour === 'mariadb' ? ['stop slave', 'start slave'] : ['stop replica', 'start replica'];
        await lab.server('db2').query(`${stop} io_thread`);
        const insert = 'insert into written (id, part, server, at_ms) values (-4, 1, @@server_id, 0)';
        const answer = client.query(insert).then(
          () => 'acknowledged',
          () => 'refused',
        );
        await eventually(async () => {
          const rows = await lab.server('db3').query('select id from demo.written where id = -4');
          assert.equal(rows.length, 1);
        });
        await lab.server('db1').kill();
        await lab.server('db2').query(`${start} io_thread`);
        proxy.signal('SIGCONT');
        await eventSince(proxy, from, 'promote.done');
        await eventually(async () => assert.equal(await primaryOf(proxy), 'db2'), LONG_MS);
        assert.equal(await answer, 'refused');
        client.destroy();
        await eventually(async () => {
          const [row] = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'ReplicaDiverged'");
          assert.match(String(row?.['detail']), /^db3/);
        }, LONG_MS);
        const saved = await eventSince(proxy, from, 'rejoin.saved');
        assert.match(String(saved['detail']), /^1 transaction/);
        await assert.rejects(proxy.admin('REJOIN db3 DISCARD'), /touches none but up; it needs a fresh copy/);
      });
    });

    suite(`a ring on ${flavour}`, () => {
      let lab: Topology;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startTopology({
          flavour: kind,
          names: ['db1', 'db2'],
          follows: [
            ['db2', 'db1'],
            ['db1', 'db2'],
          ],
          writable: ['db1', 'db2'],
        });
        await lab.server('db1').query(CREATE_WRITTEN);
        proxy = await lab.startProxy(configWith(), { readyWhen: 'alive' });
      });
      after(() => lab?.stop());

      const insertInto = (name: string, id: number): Promise<unknown> =>
        lab
          .server(name)
          .query(
            `insert into demo.written (seq, id, part, server, at_ms) values (${1000 - id}, ${id}, 1, @@server_id, 0)`,
          );
      const has = async (name: string, id: number): Promise<void> => {
        const rows = await lab.server(name).query(`select id from demo.written where id = ${id}`);
        assert.equal(rows.length, 1, `${id} on ${name}`);
      };

      test('of two that take writes gets one writer when an operator names it, and loses nothing', async () => {
        await eventually(async () => {
          const [worst] = await proxy.admin('SHOW DIAGNOSES');
          assert.equal(worst?.['diagnosis'], 'NoWritablePrimary');
          assert.match(String(worst?.['detail']), /db1 and db2 replicate from each other/);
        });
        await insertInto('db1', -1);
        await insertInto('db2', -2);
        await eventually(async () => {
          const steps = await proxy.admin('PROMOTE db1');
          assert.match(JSON.stringify(steps), /the ring with db2 is dissolved/);
        });
        await assertSources(lab, { db1: null, db2: 'db1' });
        assert.equal(await isReadOnly(lab.server('db2')), true);
        await getWell(proxy);
        for (const name of ['db1', 'db2']) for (const id of [-1, -2]) await has(name, id);
      });

      test('that an operator closes again under writers is dissolved, and no client is told', async () => {
        const from = proxy.log.length;
        const workload = await underWriters(proxy, 1, async () => {
          await lab.follow('db1', 'db2');
          await eventSince(proxy, from, 'diagnosis.PrimaryReplicates');
          await assertSources(lab, { db1: null, db2: 'db1' });
        });
        assert.ok(workload.entries.every(({ outcome }) => outcome === 'acknowledged'));
        await assertAllThere(lab.server('db1'), workload);
        await getWell(proxy);
        assert.equal(await primaryOf(proxy), 'db1');
      });

      test('goes back and forth without being one, and fails over', async () => {
        await proxy.admin('SWITCHOVER');
        await getWell(proxy);
        await assertSources(lab, { db1: 'db2', db2: null });
        const workload = await underWriters(proxy, 1_000_000, () => lab.server('db2').kill());
        assert.equal(await primaryOf(proxy), 'db1');
        await assertAllThere(lab.server('db1'), workload);
        await lab.server('db2').start();
        await getWell(proxy);
        await assertSources(lab, { db1: null, db2: 'db1' });
      });
    });
  },
  ['mariadb', 'mysql97'],
);
