/**
 * A connection was lost, and its server is still the primary: what became of the COMMIT on it is said when nothing more
 * can come of it, and that it was saved only when a replica has it.
 */
import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import type { ClusterConfig } from '../../src/config/config.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { CommitResolver, type CommitVerdict } from '../../src/failover/commit-resolver.ts';
import type { LostCommit } from '../../src/ipc/messages.ts';
import { FIRST_RECORD, type HealthRecord } from '../../src/monitor/detector.ts';
import { forEachFlavour, WORDS, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { backendConfig, clusterConfig } from '../support/configs.ts';
import { eventually } from '../support/eventually.ts';
import { serverFacts } from '../support/facts.ts';

const NAME = 'dbproxy_test_1';
/** A sample of a server counts from this age on. */
const SAMPLE_AGE_MS = 1_100;

/** A primary whose commits wait for replicas. */
const WAITS = {
  enabled: true,
  live: true,
  clients: 1,
  timeoutMs: 100_000_000,
  waitPoint: 'after_sync',
  waiting: 0,
  acknowledged: 0,
} as const;

class Stage {
  readonly lab: Lab;
  readonly client: Connection;
  /** What is known of the replica, and of what the primary waits for. */
  follow = false;
  isGivenUp = false;
  waitForReplicas = 1;
  readonly #resolver: CommitResolver;
  readonly #histories = new Map<string, string>();

  private constructor(lab: Lab, client: Connection, cluster: Partial<ClusterConfig>) {
    this.lab = lab;
    this.client = client;
    const { replication } = PAIR_ACCOUNTS;
    const { user: monitorUser, password: monitorPassword } = ADMIN_ACCOUNT;
    const accounts = { monitorUser, monitorPassword, replicationUser: replication.user };
    this.#resolver = new CommitResolver({
      config: {
        clusters: [clusterConfig({ ...accounts, replicationPassword: replication.password, ...cluster })],
        backends: [lab.db1, lab.db2].map(({ name, port }) =>
          Object.defineProperty(
            backendConfig(name, { address: { kind: 'tcp', host: '127.0.0.1', port } }),
            'follow',
            { get: () => name === 'db2' && this.follow },
          ),
        ),
      },
      clock: systemClock,
      primaryOf: () => 'db1',
      recordOf: (backend) => this.#recordOf(backend),
      isGivenUp: (backend) => backend === 'db2' && this.isGivenUp,
    });
  }

  /** db1 with a row that is not committed, and old enough samples of both servers. */
  static async start(
    context: TestContext,
    flavour: LabFlavour,
    cluster: Partial<ClusterConfig>,
  ): Promise<Stage> {
    const lab = await startPair({ flavour });
    context.after(() => lab.stop());
    await lab.db1.query('create table demo.written (id int primary key)');
    const client = await lab.connect(lab.db1);
    const stage = new Stage(lab, client, cluster);
    await eventually(async () => assert.deepEqual(await stage.rows(lab.db2), []));
    for (const server of [lab.db1, lab.db2]) await stage.look(server);
    await delay(SAMPLE_AGE_MS);
    await client.query('begin');
    await client.query('insert into written values (1)');
    await client.query(`savepoint ${NAME}`);
    return stage;
  }

  /** The monitor has looked at a server. */
  async look(server: DatabaseServer): Promise<void> {
    const isMariaDb = this.lab.flavour === 'mariadb';
    const [row] = await server.query(
      `select @@global.${isMariaDb ? 'gtid_binlog_state' : 'gtid_executed'} as history`,
    );
    this.#histories.set(server.name, String(row!['history']).replaceAll('\n', ''));
    this.#resolver.note(server.name);
  }

  async rows(server: DatabaseServer): Promise<unknown[]> {
    return (await server.query('select id from demo.written')).map((row) => Number(row['id']));
  }

  /** The connection is gone; what the client is to be told. */
  resolve(): Promise<CommitVerdict> {
    const nowMs = systemClock.wallMs();
    this.client.destroy();
    const question: LostCommit = {
      cluster: 'main',
      backend: 'db1',
      threadId: this.client.threadId,
      user: 'app',
      database: 'demo',
      beganAtMs: nowMs,
      sentAtMs: nowMs,
      lostAtMs: nowMs,
      autocommit: false,
      statements: ['insert into written values (1)'],
      writeCount: 1,
      mark: { kind: 'savepoint', name: NAME },
    };
    return this.#resolver.resolve(question);
  }

  #recordOf(backend: string): HealthRecord {
    const isMariaDb = this.lab.flavour === 'mariadb';
    const facts = serverFacts({
      version: isMariaDb ? '10.11.6-MariaDB' : '9.7.0',
      serverId: Number(backend.slice(2)),
      history: this.#histories.get(backend) ?? '',
      semiSync: { primary: { ...WAITS, waitForReplicas: this.waitForReplicas }, replica: null },
    });
    return { ...FIRST_RECORD, reach: 'up', reachReason: '', seenMs: systemClock.nowMs(), facts };
  }
}

forEachFlavour(
  (flavour) => {
    suite(`the server that a COMMIT was sent to is asked, on ${flavour}`, () => {
      test('when the session has ended, as its COMMIT may wait for a lock', async (context) => {
        const stage = await Stage.start(context, flavour, {});
        const locker = await stage.lab.connect(stage.lab.db1, ADMIN_ACCOUNT);
        await locker.query('flush tables with read lock');
        void stage.client.query('commit').catch(() => undefined);
        await eventually(async () => {
          const list = await stage.lab.db1.query('show full processlist');
          const own = list.find((row) => Number(row['Id']) === stage.client.threadId);
          assert.match(String(own?.['State']), /waiting for (commit|backup) lock/i);
        });
        const verdict = stage.resolve();
        const first = await Promise.race([verdict, delay(500, 'waits')]);
        assert.equal(first, 'waits');
        await locker.query('unlock tables');
        assert.equal((await verdict).outcome, 'committed');
        assert.deepEqual(await stage.rows(stage.lab.db1), [1]);
      });

      test('and with semi_sync = require it is committed when a replica has it, and else not known', async (context) => {
        const stage = await Stage.start(context, flavour, { semiSync: 'require', holdTimeoutMs: 500 });
        await stage.lab.db2.query(WORDS[flavour].stopReceiver);
        await stage.client.query('commit');
        const { outcome, detail } = await stage.resolve();
        assert.equal(outcome, 'unknown');
        assert.match(detail, /no replica/);
        await stage.lab.db2.query(WORDS[flavour].startReplica);
        await eventually(async () => assert.deepEqual(await stage.rows(stage.lab.db2), [1]));
        await stage.look(stage.lab.db2);
        await eventually(async () => assert.equal((await stage.resolve()).outcome, 'committed'));
        // The one that has it does not count, or is not enough: a failover could go on without it.
        for (const change of [{ follow: true }, { isGivenUp: true }, { waitForReplicas: 2 }]) {
          Object.assign(stage, { follow: false, isGivenUp: false, waitForReplicas: 1, ...change });
          assert.equal((await stage.resolve()).outcome, 'unknown', JSON.stringify(change));
        }
      });
    });
  },
  ['mariadb', 'mysql97'],
);
