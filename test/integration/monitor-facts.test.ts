/**
 * The monitor itself against real servers: the facts that failover rests on, what it makes of a server that
 * freezes, dies, restarts or takes no writes, and how soon.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import type { BackendConfig, ClusterConfig } from '../../src/config/config.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import type { HealthRecord } from '../../src/monitor/detector.ts';
import { flavourOf } from '../../src/monitor/flavour/flavour.ts';
import type { Statement } from '../../src/monitor/flavour/row.ts';
import { readBinlogStatus } from '../../src/monitor/flavour/status.ts';
import { CREATE_TABLES, noteEpoch } from '../../src/monitor/flavour/tables.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import type { ServerFacts } from '../../src/monitor/observation.ts';
import { receiverWitness } from '../../src/monitor/witness.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { backendConfig, clusterConfig } from '../support/configs.ts';
import { eventually } from '../support/eventually.ts';

const { monitor: MONITOR, replication: REPLICATION } = PAIR_ACCOUNTS;

/** A monitor of the pair, as the supervisor has one, with db1 as the primary of epoch 1. */
async function watch(
  lab: Lab,
  over: Partial<ClusterConfig> = {},
  ofBackends: Partial<BackendConfig> = {},
): Promise<Monitor> {
  const cluster = clusterConfig({ monitorUser: MONITOR.user, monitorPassword: MONITOR.password, ...over });
  const backends = (['db1', 'db2'] as const).map((name) =>
    backendConfig(name, {
      address: { kind: 'tcp', host: '127.0.0.1', port: lab[name].port },
      ...ofBackends,
    }),
  );
  const monitor = new Monitor({
    config: { clusters: [cluster], backends },
    clock: systemClock,
    log: silentLog,
    primaryOf: () => 'db1',
    mayBeat: () => ({ epoch: 1 }),
    onHealth: () => undefined,
  });
  await monitor.start();
  return monitor;
}

async function factsOf(monitor: Monitor, backend: string): Promise<ServerFacts> {
  const { facts } = await monitor.checkNow(backend);
  assert.ok(facts !== null);
  return facts;
}

/** Waits for a record that is so, and answers how long that took. */
async function until(
  monitor: Monitor,
  backend: string,
  isSo: (record: HealthRecord) => boolean,
  timeoutMs = 10_000,
): Promise<number> {
  const startMs = performance.now();
  await eventually(() => {
    const record = monitor.recordOf(backend);
    assert.ok(isSo(record), JSON.stringify({ ...record, facts: record.facts?.replication }));
  }, timeoutMs);
  return Math.round(performance.now() - startMs);
}

/** Has db2 follow db1 by the words that a promotion uses. */
async function follow(lab: Lab): Promise<void> {
  const root = await lab.connect(lab.db2, ADMIN_ACCOUNT);
  const [[row]] = await root.query<RowDataPacket[]>('select version() as version');
  const flavour = flavourOf(String(row?.['version']));
  const login = { user: REPLICATION.user, password: REPLICATION.password };
  const change = flavour.changeSource({ host: '127.0.0.1', port: lab.db1.port, login });
  await root.query(flavour.stopReplication);
  await root.query(change.sql, [...(change.values ?? [])]);
  await root.query(flavour.startReplication);
  root.destroy();
}

forEachFlavour((flavour, words) => {
  suite(`what the monitor knows of ${flavour}`, () => {
    let lab: Lab;
    let monitor: Monitor;
    before(async () => {
      lab = await startPair({ flavour });
      await follow(lab);
      monitor = await watch(lab);
    });
    after(async () => {
      monitor?.close();
      await lab?.stop();
    });

    test('a primary and its replica, each as it is', async () => {
      await lab.db1.query('create table demo.facts (a int)');
      const primary = await factsOf(monitor, 'db1');
      const root = await lab.connect(lab.db1, ADMIN_ACCOUNT);
      const [rows] = await root.query<RowDataPacket[]>(flavourOf(primary.version).binlogStatus);
      const replica = await eventually(async () => {
        const facts = await factsOf(monitor, 'db2');
        assert.equal(facts.replication?.receiver, 'running');
        assert.deepEqual(facts.replication.appliedFile, readBinlogStatus(rows));
        return facts;
      });
      assert.equal(primary.replication, null);
      assert.equal(primary.readOnly, false);
      assert.equal(primary.superReadOnly, false);
      assert.ok(primary.uptimeSeconds >= 0 && primary.uptimeSeconds < 3_600);
      assert.equal(primary.history, primary.ownTransactions, 'all it has it has written itself');
      assert.notEqual(primary.ownTransactions, '');
      assert.equal(replica.ownTransactions, '');
      assert.equal(replica.readOnly, true);
      assert.equal(primary.filePosition, null, 'it has global ids');
      const { receivedFile, appliedFile, drained, heartbeatPeriodMs } = replica.replication!;
      assert.deepEqual(receivedFile, appliedFile);
      assert.equal(drained, true);
      assert.equal(heartbeatPeriodMs, 500);
    });

    test('its receiver gives signs of life while nothing is written', async () => {
      const signs = async (): Promise<string> => (await factsOf(monitor, 'db2')).replication!.signs;
      const first = await signs();
      await eventually(async () => assert.notEqual(await signs(), first), 3_000);
      await until(monitor, 'db2', (record) => witnessOf(record) === 'receives');
    });

    test('the last epoch, where there is a table of them', async () => {
      assert.equal((await factsOf(monitor, 'db1')).epoch, null);
      const root = await lab.connect(lab.db1, ADMIN_ACCOUNT);
      for (const sql of CREATE_TABLES) await root.query(sql);
      for (const [cluster, epoch, backend] of [
        ['main', 9, 'db1'],
        ['main', 10, 'db2'],
        ['other', 11, 'db3'],
      ] as const) {
        const { sql, values } = noteEpoch(cluster, epoch, backend, 1);
        await root.query(sql, [...(values ?? [])]);
      }
      const expected = { epoch: 10, backend: 'db2' };
      assert.deepEqual((await factsOf(monitor, 'db1')).epoch, expected);
      await eventually(async () => assert.deepEqual((await factsOf(monitor, 'db2')).epoch, expected));
    });

    test('a table of ours that somebody holds fails no check', async () => {
      const root = await lab.connect(lab.db1, ADMIN_ACCOUNT);
      await root.query('lock tables dbproxy.epoch write');
      const record = await monitor.checkNow('db1');
      assert.deepEqual([record.reach, record.failed], ['up', 0]);
      assert.deepEqual(record.facts?.epoch, { epoch: 10, backend: 'db2' }, 'what was known stays');
      await root.query('unlock tables');
    });

    test('whether semi-sync is live, not only switched on', async () => {
      const { semiSync } = await factsOf(monitor, 'db1');
      if (words.semiSync === null) return assert.deepEqual(semiSync, { primary: null, replica: null });
      assert.deepEqual(semiSync.primary, {
        enabled: true,
        live: true,
        clients: 1,
        timeoutMs: 1_000,
        waitPoint: 'after_sync',
        waitForReplicas: 1,
        waiting: 0,
        acknowledged: semiSync.primary?.acknowledged,
      });
      assert.deepEqual((await factsOf(monitor, 'db2')).semiSync.replica, { enabled: true, live: true });
      await lab.db2.query(words.stopReceiver);
      // The first write waits for its second, and switches it off.
      await lab.db1.query('insert into demo.facts values (1)');
      const { primary } = (await factsOf(monitor, 'db1')).semiSync;
      assert.deepEqual([primary?.enabled, primary?.live, primary?.clients], [true, false, 0]);
      await lab.db2.query(words.startReplica);
      await eventually(async () =>
        assert.equal((await factsOf(monitor, 'db1')).semiSync.primary?.live, true),
      );
    });

    test('a restart between two checks', async () => {
      // Long enough ago to be told from rounding.
      await eventually(async () => assert.ok((await factsOf(monitor, 'db2')).uptimeSeconds > 4), 8_000);
      assert.equal(monitor.recordOf('db2').restarts, 0);
      await lab.db2.kill();
      await lab.db2.start();
      await until(monitor, 'db2', ({ restarts, reach }) => restarts === 1 && reach === 'up');
      await lab.db2.query(words.startReplica);
      await until(monitor, 'db2', (record) => witnessOf(record) === 'receives');
    });

    test('that a primary is frozen, from itself and from its replica', async (t) => {
      const record = (): HealthRecord => monitor.recordOf('db1');
      await until(monitor, 'db1', ({ reach }) => reach === 'up');
      lab.db1.pause();
      try {
        const [down, silent] = await Promise.all([
          until(monitor, 'db1', ({ reach }) => reach === 'down'),
          until(monitor, 'db2', (one) => ['silent', 'lost'].includes(witnessOf(one))),
        ]);
        t.diagnostic(`frozen: down after ${down} ms, missed by its replica after ${silent} ms`);
        assert.match(record().reachReason, /timed out/);
        assert.ok(down < 4_000 && silent < 5_000);
      } finally {
        lab.db1.resume();
      }
      await until(monitor, 'db1', ({ reach }) => reach === 'up');
      await until(monitor, 'db2', (one) => witnessOf(one) === 'receives');
    });

    test('that a primary is dead, from itself and from its replica', async (t) => {
      const isDead = until(monitor, 'db1', ({ reach }) => reach === 'down');
      const isLost = until(monitor, 'db2', (one) => witnessOf(one) === 'lost');
      await lab.db1.kill();
      const [down, lost] = await Promise.all([isDead, isLost]);
      t.diagnostic(`killed: down after ${down} ms, lost by its replica after ${lost} ms`);
      assert.ok(down < 3_000 && lost < 5_000);
      await lab.db1.start();
      await lab.db1.query('set global read_only = 0');
      await until(monitor, 'db1', ({ reach }) => reach === 'up');
    });
  });

  suite(`writes of the monitor on ${flavour}`, () => {
    let lab: Lab;
    before(async () => {
      lab = await startPair({ flavour });
    });
    after(() => lab?.stop());

    test('lag is measured by beats, to the fraction of a second', async () => {
      const monitor = await watch(lab, {
        lagSource: 'heartbeat',
        heartbeatIntervalMs: 100,
        maxLagMs: 2_000,
        readmitLagMs: 1_000,
      });
      try {
        await until(monitor, 'db2', ({ facts, lagMs }) => (facts?.beat?.atMs ?? 0) > 0 && lagMs! < 500);
        const root = await lab.connect(lab.db2, ADMIN_ACCOUNT);
        await lab.db1.query('create table demo.slow (a int)');
        await eventually(async () => void (await root.query('select * from demo.slow')));
        await root.query('lock tables demo.slow write');
        await lab.db1.query('insert into demo.slow values (1)');
        const lockedMs = performance.now();
        await until(monitor, 'db2', ({ lagging }) => lagging);
        const behindMs = performance.now() - lockedMs;
        assert.ok(behindMs > 1_900 && behindMs < 2_000 + 2 * 1_000, `${behindMs}`);
        await root.query('unlock tables');
        await until(monitor, 'db2', ({ lagging, lagMs }) => !lagging && lagMs! < 500);
      } finally {
        monitor.close();
      }
    });

    test('a primary that answers but takes no write is told from one that is well', async () => {
      const monitor = await watch(lab, { writeCheck: true, checkTimeoutMs: 500 });
      try {
        await until(monitor, 'db1', ({ writeFailing, reach }) => writeFailing === null && reach === 'up');
        const root = await lab.connect(lab.db1, ADMIN_ACCOUNT);
        await root.query('flush tables with read lock');
        await until(monitor, 'db1', ({ writeFailing }) => (writeFailing?.count ?? 0) >= 3);
        const { reach, writeFailing } = monitor.recordOf('db1');
        assert.equal(reach, 'up');
        assert.match(writeFailing!.reason, /Waiting for .* lock|Lock wait timeout/);
        // What was given up has been ended there, and does not pile up.
        const [waiting] = await root.query<RowDataPacket[]>(
          `select id from information_schema.processlist where user = '${MONITOR.user}' and info like 'REPLACE%'`,
        );
        assert.ok(waiting.length <= 1, `${waiting.length} are waiting`);
        await root.query('unlock tables');
        await until(monitor, 'db1', (record) => record.writeFailing === null);
      } finally {
        monitor.close();
      }
    });

    if (flavour !== 'mysql56') {
      test('a channel by its name, whatever the others do', async () => {
        const root = await lab.connect(lab.db2, ADMIN_ACCOUNT);
        const [[row]] = await root.query<RowDataPacket[]>('select version() as version');
        const version = String(row?.['version']);
        const run = async (statements: readonly (string | Statement)[]): Promise<void> => {
          for (const one of statements) {
            const { sql, values = [] } = typeof one === 'string' ? { sql: one } : one;
            await root.query(sql, [...values]);
          }
        };
        const login = { user: REPLICATION.user, password: REPLICATION.password };
        const source = { host: '127.0.0.1', port: lab.db1.port, login };
        const named = flavourOf(version, 'dr');
        const { stopReplication, forgetSource } = flavourOf(version);
        await run([stopReplication, forgetSource, named.changeSource(source), named.startReplication]);
        const monitor = await watch(lab, {}, { channel: 'dr' });
        const other = await watch(lab, {}, { channel: 'elsewhere' });
        try {
          await until(monitor, 'db2', ({ facts }) => facts?.replication?.receiver === 'running');
          assert.equal(monitor.recordOf('db2').facts?.replication?.channelName, 'dr');
          assert.equal(other.recordOf('db2').facts?.replication, null);
          await run([named.stopReceiver]);
          await until(monitor, 'db2', ({ facts }) => facts?.replication?.receiver === 'stopped');
          await run([named.stopReplication, named.forgetSource]);
          await until(monitor, 'db2', ({ facts }) => facts?.replication === null);
        } finally {
          monitor.close();
          other.close();
        }
      });
    }
  });
});

function witnessOf(record: HealthRecord): string {
  return receiverWitness(record, clusterConfig(), systemClock.nowMs());
}
