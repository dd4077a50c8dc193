/**
 * PROMOTE on real servers: what it does when all is well, what it takes back when a step fails, and that
 * no acknowledged write is lost and no second server is ever written, whatever is killed in between.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { slotOfSessionId } from '../../src/ipc/session-id.ts';
import { forEachFlavour, WORDS } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ConfigSections, ProxyProcess } from '../lab/proxy.ts';
import { Tunnel } from '../lab/tunnel.ts';
import { eventually } from '../support/eventually.ts';

const STEPS = [
  'check',
  'hold',
  'end_sessions',
  'fence',
  'catch_up',
  'stop_replication',
  'record',
  'make_writable',
  'weights',
  'publish',
  'repoint',
  'semi_sync',
];

/** Short bounds, so that a step that must run into one does so soon. */
const IMPATIENT: ConfigSections = {
  'cluster main': { hold_timeout: '2s', catch_up_timeout: '2s', transaction_grace: '500ms' },
};

async function variable(server: DatabaseServer, name: string): Promise<number> {
  const [row] = await server.query(`select @@global.${name} as value`);
  return Number(row?.['value']);
}

async function roles(proxy: ProxyProcess): Promise<Record<string, string>> {
  const rows = await proxy.admin('SHOW BACKENDS');
  return Object.fromEntries(rows.map((row) => [String(row['name']), String(row['role'])]));
}

function epochOnDisk(proxy: ProxyProcess): number {
  const state = JSON.parse(readFileSync(join(proxy.stateDirectory, 'state.json'), 'utf8')) as {
    epoch: number;
  };
  return state.epoch;
}

/** The port of the server a new write session lands on. */
async function writesAt(proxy: ProxyProcess): Promise<number> {
  const connection = await proxy.connect('write');
  try {
    const [rows] = await connection.query<RowDataPacket[]>('select @@port as port');
    return Number(rows[0]?.['port']);
  } finally {
    connection.destroy();
  }
}

/** A client that writes numbers as fast as it can and connects again when its session is ended. */
class Writer {
  readonly acknowledged: number[] = [];
  /** Errors of statements and logins, by number. */
  readonly errors = new Set<number | string>();
  readonly #proxy: ProxyProcess;
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(proxy: ProxyProcess, first: number) {
    this.#proxy = proxy;
    this.#done = this.#run(first);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(first: number): Promise<void> {
    let next = first;
    while (!this.#stopped) {
      try {
        const connection = await this.#proxy.connect('write');
        try {
          while (!this.#stopped) {
            await connection.query('insert into written values (?)', [next]);
            this.acknowledged.push(next++);
          }
        } finally {
          connection.destroy();
        }
      } catch (error) {
        const { errno, code } = error as { errno?: number; code?: string };
        this.errors.add(errno ?? code ?? String(error));
        // Whether the last one was written is not known; it is not counted and not repeated.
        next++;
      }
    }
  }
}

async function startProxy(lab: Lab, config: ConfigSections = {}): Promise<ProxyProcess> {
  return lab.startProxy({ config });
}

/** Without semi-synchronous replication a primary acknowledges what nobody else has yet. */
async function untilReceived(lab: Lab): Promise<void> {
  const [executed] = await lab.db1.query('select @@global.gtid_executed as gtids');
  await eventually(async () => {
    const [status] = await lab.db2.query(WORDS[lab.flavour].replicaStatus);
    assert.equal(status?.['Retrieved_Gtid_Set'], executed?.['gtids']);
  });
}

forEachFlavour((flavour, words) => {
  suite(`a switchover on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.written (a int primary key)');
      // Where it can wait for its replica, it does.
      proxy = await startProxy(lab, {
        'cluster main': { semi_sync: words.semiSync === null ? 'off' : 'prefer' },
      });
    });
    after(() => lab?.stop());

    test('under load loses no acknowledged write, fails no statement and swaps the roles', async () => {
      const writers = [0, 1, 2, 3].map((number) => new Writer(proxy, number * 1_000_000));
      await eventually(() => assert.ok(writers.every(({ acknowledged }) => acknowledged.length > 20)));
      const steps = await proxy.admin('PROMOTE db2');
      const counts = writers.map(({ acknowledged }) => acknowledged.length);
      await eventually(() =>
        assert.ok(writers.every(({ acknowledged }, index) => acknowledged.length > counts[index]! + 20)),
      );
      await Promise.all(writers.map((writer) => writer.stop()));

      assert.deepEqual(
        steps.map((row) => [row['step'], row['result']]),
        STEPS.map((step) => [step, step === 'semi_sync' && words.semiSync === null ? 'skipped' : 'done']),
      );
      // And nothing is said of a new binary log that could not be begun.
      assert.equal(steps[1]?.['detail'], 'statements that need the primary wait');
      const rows = await lab.db2.query('select a from demo.written');
      const written = new Set(rows.map((row) => row['a']));
      const lost = writers
        .flatMap(({ acknowledged }) => acknowledged)
        .filter((number) => !written.has(number));
      assert.deepEqual(lost, []);
      assert.deepEqual(
        writers.flatMap((writer) => [...writer.errors]),
        [],
        'every session went on',
      );

      assert.deepEqual(await roles(proxy), { db1: 'replica', db2: 'primary' });
      assert.equal(await writesAt(proxy), lab.db2.port);
      assert.deepEqual([await variable(lab.db1, 'read_only'), await variable(lab.db2, 'read_only')], [1, 0]);
      await eventually(async () => {
        const [count] = await lab.db1.query('select count(*) as count from demo.written');
        assert.equal(Number(count?.['count']), rows.length);
      });
    });

    test('writes each step to the log under a name of its own', () => {
      const logged = proxy.log.map(({ event }) => event).filter((event) => event.startsWith('promote.'));
      assert.deepEqual(logged, [...STEPS.map((step) => `promote.${step}`), 'promote.done']);
    });

    const skip = words.semiSync === null && 'this build of the server has no semi-synchronous replication';
    test('carries semi-synchronous replication over and has it on at one side only', { skip }, async () => {
      const { primary, replica, waitWithoutReplica, clients } = words.semiSync!;
      const waits = async (server: DatabaseServer): Promise<number> =>
        (await variable(server, primary)) * (await variable(server, waitWithoutReplica));
      await eventually(async () => assert.deepEqual([await waits(lab.db1), await waits(lab.db2)], [0, 1]));
      assert.deepEqual([await variable(lab.db1, replica), await variable(lab.db2, replica)], [1, 0]);
      const [count] = await lab.db2.query(`show global status like '${clients}'`);
      assert.equal(count?.['Value'], '1');
    });

    test('gives the new primary the old one’s rw_weight and raises the epoch, also after a restart', async () => {
      const weights = async (): Promise<unknown> =>
        (await proxy.admin('SHOW BACKENDS')).map((row) => [row['name'], Number(row['rw_weight'])]);
      assert.deepEqual(await weights(), [
        ['db1', 0],
        ['db2', 1],
      ]);
      assert.equal(epochOnDisk(proxy), 2);
      await proxy.stop();
      await proxy.start();
      assert.deepEqual(await weights(), [
        ['db1', 0],
        ['db2', 1],
      ]);
      assert.deepEqual(await roles(proxy), { db1: 'replica', db2: 'primary' });
    });

    test('goes back the same way', async () => {
      await proxy.admin('PROMOTE db1');
      assert.deepEqual(await roles(proxy), { db1: 'primary', db2: 'replica' });
      assert.equal(epochOnDisk(proxy), 3);
      assert.equal(await writesAt(proxy), lab.db1.port);
    });

    test('waits for an open transaction, and ends it when its grace is over', async () => {
      const other = await startProxy(lab, IMPATIENT);
      const connection = await other.connect('write');
      await connection.query('begin');
      await connection.query('insert into written values (-1)');
      const started = performance.now();
      const promoted = other.admin('PROMOTE db2');
      // What was open there is rolled back, and the session goes on.
      await eventually(() =>
        assert.rejects(connection.query('select 1'), { errno: 1213, sqlState: '40001' }),
      );
      await promoted;
      await connection.query('select 1');
      assert.ok(performance.now() - started >= 450);
      assert.deepEqual(await lab.db2.query('select a from demo.written where a = -1'), []);
      // The first dbproxy looks after the replica as well, and may have just had it connect anew.
      await eventually(() => other.admin('PROMOTE db1'));
      await other.stop();
      // The epoch that the servers know is believed here, too.
      await eventually(() => assert.equal(epochOnDisk(proxy), 5));
    });

    const refusals: [string, string, RegExp][] = [
      ['the primary itself', 'PROMOTE db1', /it is the primary already/],
      ['a server it does not know', 'PROMOTE db9', /there is no backend 'db9'; known: db1, db2/],
    ];
    for (const [name, statement, message] of refusals) {
      test(`is refused for ${name}`, () => assert.rejects(proxy.admin(statement), { message }));
    }

    test('is refused for a replica that is stopped, and nothing has changed', async () => {
      await lab.db2.query(words.stopReplica);
      await assert.rejects(proxy.admin('PROMOTE db2'), { errno: 1290, message: /replication does not run/ });
      await lab.db2.query(words.startReplica);
      assert.equal(await variable(lab.db1, 'read_only'), 0);
      assert.equal(await writesAt(proxy), lab.db1.port);
    });
  });

  suite(`a switchover that cannot be finished on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.locked (a int)');
      await lab.db1.query('insert into demo.locked values (1)');
      await lab.db1.query(`grant select, lock tables on demo.* to ${PAIR_ACCOUNTS.monitor.user}@'%'`);
      proxy = await startProxy(lab, IMPATIENT);
    });
    after(() => lab?.stop());

    /** All is as it was: db1 is written, db2 follows it. */
    async function assertNothingChanged(value: number): Promise<void> {
      assert.deepEqual([await variable(lab.db1, 'read_only'), await variable(lab.db2, 'read_only')], [0, 1]);
      assert.deepEqual(await roles(proxy), { db1: 'primary', db2: 'replica' });
      assert.equal(epochOnDisk(proxy), 1);
      const writer = await proxy.connect('write');
      await writer.query('insert into locked values (?)', [value]);
      await eventually(async () => {
        const rows = await lab.db2.query(`select a from demo.locked where a = ${value}`);
        assert.equal(rows.length, 1);
      });
    }

    test('because the old primary does not become read-only in time is taken back', async () => {
      // Sessions of clients would be ended; those of dbproxy's own account are not.
      const blocker = await lab.connect(lab.db1, PAIR_ACCOUNTS.monitor);
      await blocker.query('lock tables locked write');
      await assert.rejects(proxy.admin('PROMOTE db2'), {
        errno: 1105,
        message:
          /failed at step 'fence': db1 did not become read-only within 2000 ms.* everything was taken back/,
      });
      await blocker.query('unlock tables');
      await assertNothingChanged(2);
    });

    test('because the replica does not catch up is taken back', async () => {
      const blocker = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      await blocker.query('lock tables locked read');
      await lab.db1.query('insert into demo.locked values (3)');
      await assert.rejects(proxy.admin('PROMOTE db2'), {
        errno: 1105,
        message:
          /failed at step 'catch_up': .* within catch_up_timeout \(2000 ms\); everything was taken back/,
      });
      await blocker.query('unlock tables');
      await assertNothingChanged(4);
      assert.ok(proxy.log.some(({ event }) => event === 'promote.undone'));
    });

    test('holds new write sessions meanwhile, which then go on', async () => {
      // The test before left the replica behind; PROMOTE refuses one that lags.
      await eventually(async () => {
        const [db2] = await proxy.admin("SHOW BACKENDS WHERE name = 'db2'");
        assert.equal(Number(db2!.lag_ms), 0);
      });
      const blocker = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      await blocker.query('lock tables locked read');
      await lab.db1.query('insert into demo.locked values (5)');
      const logged = proxy.log.length;
      const promoting = assert.rejects(proxy.admin('PROMOTE db2'));
      await proxy.waitForEvent('promote.fence', (event) => proxy.log.indexOf(event) >= logged);
      const writing = writesAt(proxy);
      await assert.rejects(proxy.admin('PROMOTE db2'), {
        errno: 1290,
        message: /a promotion of db2 is under way/,
      });
      await promoting;
      assert.equal(await writing, lab.db1.port);
      await blocker.query('unlock tables');
    });
  });

  suite(`a failover on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.written (a int primary key)');
      // What dbproxy does to an old primary by itself is left to other tests: here it does not have to.
      const handsOff = { ...IMPATIENT['cluster main'], enforce_read_only: 'off', rejoin: 'off' };
      proxy = await startProxy(lab, { 'cluster main': handsOff });
    });
    after(() => lab?.stop());

    test('takes the writes to the replica with all it had received', async () => {
      // What the replica has received is not applied while the table is locked there.
      const blocker = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      await eventually(() => blocker.query('lock tables written read'));
      await lab.db1.query('insert into demo.written values (1)');
      if (words.semiSync === null) await untilReceived(lab);
      await lab.db1.kill();
      await eventually(async () => {
        const rows = await proxy.admin('SHOW BACKENDS');
        assert.equal(rows.find((row) => row['name'] === 'db1')?.['state'], 'down');
      });
      const promoting = proxy.admin('PROMOTE db2');
      await proxy.waitForEvent('promote.end_sessions');
      await blocker.query('unlock tables');
      const steps = await promoting;
      // It cannot be reached, so it is fenced when it comes back.
      assert.equal(steps.find((row) => row['step'] === 'fence')?.['result'], 'skipped');
      assert.deepEqual(await lab.db2.query('select a from demo.written'), [{ a: 1 }]);
      assert.equal(await writesAt(proxy), lab.db2.port);
      assert.equal(epochOnDisk(proxy), 2);
    });

    test('leaves the old primary without traffic when it comes back writable', async () => {
      await lab.db1.start();
      await lab.db1.query('set global read_only = 0');
      await eventually(async () => {
        const rows = await proxy.admin('SHOW BACKENDS');
        const old = rows.find((row) => row['name'] === 'db1');
        assert.match(String(old?.['reason']), /writable but not the primary of epoch 2 \(db2 is\)/);
        assert.equal(old?.['state'], 'online');
      });
      for (let count = 0; count < 8; count++) assert.equal(await writesAt(proxy), lab.db2.port);
      await proxy.stop();
      await proxy.start();
      assert.equal(await writesAt(proxy), lab.db2.port);
    });
  });

  suite(`a failover on ${flavour} from a primary that died while it sent a transaction`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let tunnel: Tunnel;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.written (a int primary key, v longtext)');
      tunnel = await Tunnel.open(lab.db1.port);
      const { user, password } = PAIR_ACCOUNTS.replication;
      await eventually(() => lab.db2.query('select * from demo.written'));
      await lab.db2.execute(words.stopReplica, words.follow(tunnel.port, user, password), words.startReplica);
      proxy = await startProxy(lab, IMPATIENT);
    });
    after(async () => {
      tunnel?.close();
      await lab?.stop();
    });

    test('does without the half that arrived', { timeout: 30_000 }, async () => {
      await lab.db1.query("insert into demo.written values (1, '')");
      await eventually(async () => {
        assert.equal((await lab.db2.query('select a from demo.written')).length, 1);
      });
      const cut = tunnel.cutAfter(700_000);
      const writer = await lab.connect(lab.db1);
      const big = (a: number): string => `insert into written values (${a}, repeat('x', 300000))`;
      for (const statement of ['begin', big(2), big(3), big(4), 'commit']) {
        writer.query(statement).catch(() => undefined); // its server is killed
      }
      await cut;
      await lab.db1.kill();
      tunnel.close();
      await eventually(async () => {
        const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db1'");
        assert.equal(row?.['state'], 'down');
      });
      await proxy.admin('PROMOTE db2');
      assert.deepEqual(await lab.db2.query('select a from demo.written'), [{ a: 1 }]);
      assert.equal(await writesAt(proxy), lab.db2.port);
    });
  });

  suite(`a promotion in which something of dbproxy dies on ${flavour}`, () => {
    let lab: Lab;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.locked (a int)');
    });
    after(() => lab?.stop());

    test('a worker that hangs is killed while what the others hold can still wait', async () => {
      const proxy = await startProxy(lab, {
        'cluster main': { hold_timeout: '4s', transaction_grace: '100ms' },
      });
      const connection = await proxy.connect('write');
      const hung = proxy.log.find(
        ({ event, worker }) => event === 'worker.started' && worker !== slotOfSessionId(connection.threadId),
      );
      const pid = Number(hung!['pid']);
      process.kill(pid, 'SIGSTOP');
      const promoted = proxy.admin('PROMOTE db2');
      await proxy.waitForEvent('promote.hold');
      await connection.query('insert into demo.locked values (0)');
      await promoted;
      await proxy.waitForEvent('worker.killed');
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
      await eventually(async () => assert.equal(await writesAt(proxy), lab.db2.port));
      await proxy.admin('PROMOTE db1');
      await proxy.stop();
    });

    test('killed half way: the next start takes it back, and PROMOTE again does it', async () => {
      const proxy = await startProxy(lab, { 'cluster main': { catch_up_timeout: '30s' } });
      const blocker = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      await eventually(() => blocker.query('lock tables locked read'));
      await lab.db1.query('insert into demo.locked values (1)');
      const promoting = proxy.admin('PROMOTE db2').catch(() => undefined);
      await proxy.waitForEvent('promote.fence');
      assert.equal(await variable(lab.db1, 'read_only'), 1);
      proxy.signal('SIGKILL');
      await proxy.ended();
      await promoting;

      await proxy.start();
      await proxy.waitForEvent('promote.undone');
      assert.equal(await writesAt(proxy), lab.db1.port);
      assert.deepEqual([await variable(lab.db1, 'read_only'), await variable(lab.db2, 'read_only')], [0, 1]);
      await blocker.query('unlock tables');
      await eventually(() => proxy.admin('PROMOTE db2'));
      assert.deepEqual(await roles(proxy), { db1: 'replica', db2: 'primary' });
      assert.equal(await writesAt(proxy), lab.db2.port);
      await proxy.stop();
    });
  });

  test(`a primary that came back read-only is made writable by PROMOTE on ${flavour}`, async () => {
    const lab = await startPair({ flavour });
    try {
      const proxy = await startProxy(lab, { 'cluster main': { enforce_read_only: 'off' } });
      await lab.db1.kill();
      await lab.db1.start();
      await eventually(async () => {
        const [cluster] = await proxy.admin('SHOW CLUSTERS');
        assert.match(JSON.stringify(cluster), /read_only is on there; SHOW DIAGNOSES says what to do/);
      });
      await proxy.admin('PROMOTE db1');
      assert.equal(await writesAt(proxy), lab.db1.port);
      assert.equal(epochOnDisk(proxy), 2);
    } finally {
      await lab.stop();
    }
  });
});
