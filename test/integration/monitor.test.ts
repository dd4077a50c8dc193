/**
 * The monitor and the topology against real servers: who takes reads and writes while servers stop, hang,
 * lag, refuse us or come back, as an operator sees it in SHOW BACKENDS and a client by where it lands.
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, endConnectionsOf, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

async function backend(proxy: ProxyProcess, name: string): Promise<Record<string, unknown>> {
  const rows = await proxy.admin('SHOW BACKENDS');
  const row = rows.find((one) => one['name'] === name);
  assert.ok(row !== undefined);
  return row;
}

/** Waits until SHOW BACKENDS has these values; a RegExp is looked for. */
function shows(
  proxy: ProxyProcess,
  name: string,
  expected: Record<string, string | RegExp>,
  timeoutMs?: number,
): Promise<void> {
  return eventually(async () => {
    const row = await backend(proxy, name);
    for (const [column, value] of Object.entries(expected)) {
      if (value instanceof RegExp) assert.match(String(row[column]), value);
      else assert.equal(String(row[column]), value, `${column} (${String(row['reason'])})`);
    }
  }, timeoutMs);
}

async function portBehind(connection: Connection): Promise<number> {
  const [rows] = await connection.query<RowDataPacket[]>('select @@port as port');
  return Number(rows[0]?.['port']);
}

/** The server a new session on the read endpoint lands on. */
async function readsAt(proxy: ProxyProcess): Promise<number> {
  const connection = await proxy.connect('read');
  try {
    return await portBehind(connection);
  } finally {
    connection.destroy();
  }
}

forEachFlavour((flavour, words) => {
  suite(`a replica of ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy();
    });
    after(() => lab?.stop());

    const readsFrom = (port: number): Promise<void> =>
      eventually(async () => assert.equal(await readsAt(proxy), port), 5_000);

    test('takes the reads while it replicates', async () => {
      await shows(proxy, 'db1', { role: 'primary', state: 'online', writable: 'yes', reason: '' });
      await shows(proxy, 'db2', {
        role: 'replica',
        state: 'online',
        writable: 'no',
        lag_ms: '0',
        reason: '',
      });
      assert.equal(await readsAt(proxy), lab.db2.port);
    });

    test('is known to have come as far as its primary, and no further than it has applied', async () => {
      const positions = async (): Promise<unknown[]> =>
        (await proxy.admin('SHOW TOPOLOGY')).map((row) => row['gtid_position']);
      await lab.db1.query('create table demo.positions (a int)');
      const [reached] = await eventually(async () => {
        const [ofPrimary, ofReplica] = await positions();
        assert.ok(typeof ofPrimary === 'string' && ofPrimary !== '');
        assert.equal(ofReplica, ofPrimary);
        return [ofPrimary];
      });
      await lab.db2.query(words.stopReplica);
      await lab.db1.query('insert into demo.positions values (1)');
      await eventually(async () => assert.notEqual((await positions())[0], reached));
      assert.equal((await positions())[1], reached);
      await lab.db2.query(words.startReplica);
      await eventually(async () => {
        const [ofPrimary, ofReplica] = await positions();
        assert.equal(ofReplica, ofPrimary);
      });
      await readsFrom(lab.db2.port);
    });

    test('has its sql_mode in the snapshot, also a new one', async () => {
      const sqlModes = async (): Promise<unknown[]> => {
        const { backends } = JSON.parse((await proxy.get('/api/topology')).text) as {
          backends: { sqlMode: unknown }[];
        };
        return backends.map(({ sqlMode }) => sqlMode);
      };
      const [first] = await sqlModes();
      await lab.db2.query("set global sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
      await eventually(async () => {
        const [ofPrimary, ofReplica] = await sqlModes();
        assert.match(String(ofReplica), /^ANSI_QUOTES,NO_BACKSLASH_ESCAPES$/);
        assert.equal(ofPrimary, first);
      });
      await lab.db2.query(`set global sql_mode = '${String(first)}'`);
      await eventually(async () => assert.deepEqual(await sqlModes(), [first, first]));
    });

    test('is out at once after STOP SLAVE, and back after START SLAVE', async () => {
      await lab.db2.query(words.stopReplica);
      const started = performance.now();
      await readsFrom(lab.db1.port);
      assert.ok(performance.now() - started < 2_000);
      await shows(proxy, 'db2', { readable: 'no', reason: /applier does not run/ });
      await lab.db2.query(words.startReplica);
      await readsFrom(lab.db2.port);
    });

    test('is out while only its receiver is stopped', async () => {
      await lab.db2.query(words.stopReceiver);
      await shows(proxy, 'db2', {
        readable: 'no',
        reason: /receiver does not run although the primary is up/,
      });
      await lab.db2.query(words.startReplica);
      await shows(proxy, 'db2', { readable: 'yes', reason: '' });
    });

    test('is out with the error when it cannot apply a change', async () => {
      // Where several threads apply, the status only names the one that failed.
      const clash =
        flavour === 'mysql97' ? /does not run: .*Worker \d+ failed/ : /does not run: .*Duplicate entry/;
      await lab.db1.query('create table demo.clash (a int primary key)');
      const onReplica = (statement: string): Promise<void> =>
        lab.db2.execute('set sql_log_bin = 0', statement);
      await eventually(() => onReplica('insert into demo.clash values (1)'));
      await lab.db1.query('insert into demo.clash values (1)');
      await shows(proxy, 'db2', { readable: 'no', reason: clash });
      await onReplica('delete from demo.clash');
      await lab.db2.query(words.startReplica);
      await shows(proxy, 'db2', { readable: 'yes', reason: '' });
    });

    test('that is killed gives its reads to the primary in under two seconds, and takes them back', async () => {
      await lab.db2.kill();
      const started = performance.now();
      await readsFrom(lab.db1.port);
      assert.ok(performance.now() - started < 2_000);
      await shows(proxy, 'db2', { state: 'down', role: 'replica', reason: /connection refused/ });
      await lab.db2.start();
      await shows(proxy, 'db2', { state: 'online', readable: 'no' });
      // The servers of the lab do not follow by themselves after a restart.
      await lab.db2.query(words.startReplica);
      await readsFrom(lab.db2.port);
      await shows(proxy, 'db2', { state: 'online', reason: '' });
    });

    test('that hangs is told apart from one that refuses', async () => {
      lab.db2.pause();
      try {
        await shows(proxy, 'db2', { state: 'down', reason: /timed out/ });
        await readsFrom(lab.db1.port);
      } finally {
        lab.db2.resume();
      }
      await shows(proxy, 'db2', { state: 'online', reason: '' });
    });

    test('lags and is taken out, catches up and is taken back', async () => {
      const other = await lab.startProxy({
        config: { 'cluster main': { max_lag: '1500ms', readmit_lag: '500ms' } },
      });
      const root = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      await lab.db1.query('create table demo.slow (a int)');
      await eventually(async () => void (await root.query('select * from demo.slow')));
      await root.query('lock tables demo.slow write');
      await lab.db1.query('insert into demo.slow values (1)');
      await shows(other, 'db2', { readable: 'no', reason: /lags more than max_lag = 1500 ms/ });
      assert.equal(await readsAt(other), lab.db1.port);
      await root.query('unlock tables');
      await shows(other, 'db2', { readable: 'yes', reason: '' });
      assert.equal(await other.stop(), 0);
    });

    test('whose server has the monitor’s password changed stays as it is, with the reason', async () => {
      const { user, password } = PAIR_ACCOUNTS.monitor;
      const change = (to: string): Promise<void> =>
        lab.db2.execute('set sql_log_bin = 0', words.setPassword(user, to));
      await change('another');
      await endConnectionsOf(lab.db2, user);
      await shows(proxy, 'db2', {
        state: 'online',
        readable: 'yes',
        reason: /alive but denies monitor_user access/,
      });
      await change(password);
      await shows(proxy, 'db2', { state: 'online', reason: '' });
    });

    test('with too many connections stays as it is, with the reason', async () => {
      const { user } = PAIR_ACCOUNTS.monitor;
      await lab.db2.query('set global max_connections = 10');
      const root = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      const fill: Connection[] = [];
      try {
        await eventually(async () => {
          await endConnectionsOf(root, user);
          // The one more that a server keeps for administrators must be taken too.
          await lab.connect(lab.db2, ADMIN_ACCOUNT).then(
            (connection) => fill.push(connection),
            () => undefined,
          );
          const row = await backend(proxy, 'db2');
          assert.match(String(row['reason']), /alive but has too many connections/);
          if (row['state'] === 'suspect') {
            // A look was under way when its connection was ended; then it is suspect until a good one.
            for (const connection of fill.splice(0)) connection.destroy();
            await shows(proxy, 'db2', { state: 'online', reason: '' });
          }
          assert.equal(row['state'], 'online');
        }, 20_000);
      } finally {
        await root.query('set global max_connections = 151');
        for (const connection of fill) connection.destroy();
      }
      await shows(proxy, 'db2', { state: 'online', reason: '' });
    });

    test('has its lag measured by a row on the primary, whose table is made where it is missing', async () => {
      const other = await lab.startProxy({
        config: { 'cluster main': { lag_source: 'heartbeat', write_check: 'on' } },
      });
      await eventually(async () => {
        const beats = await lab.db2.query("select at_ms from dbproxy.heartbeat where cluster = 'main'");
        assert.equal(beats.length, 1);
      });
      await shows(other, 'db2', { readable: 'yes', reason: '' });
      assert.ok(Number((await backend(other, 'db2'))['lag_ms']) < 1_000);
      assert.equal(await other.stop(), 0);
    });

    test('goes on serving reads when its primary dies, and there is no primary then', async () => {
      await lab.db1.kill();
      await shows(proxy, 'db1', { state: 'down', role: 'primary' });
      await shows(proxy, 'db2', { readable: 'yes', reason: /orphan/ });
      assert.equal(await readsAt(proxy), lab.db2.port);
      const [cluster] = await proxy.admin('SHOW CLUSTERS');
      assert.match(JSON.stringify(cluster), /db1 is the primary of epoch 1 but down/);
    });
  });

  suite(`the supervisor, with ${flavour} behind`, () => {
    let lab: Lab;
    before(async () => {
      lab = await startPair({ flavour });
    });
    after(() => lab?.stop());

    test('that stood still takes no server for dead', async () => {
      const proxy = await lab.startProxy();
      proxy.signal('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      proxy.signal('SIGCONT');
      await proxy.waitForEvent('monitor.stalled');
      await eventually(async () => assert.equal((await backend(proxy, 'db1'))['state'], 'online'));
      const lost = proxy.log.filter(({ event }) => event === 'backend.down' || event === 'backend.suspect');
      assert.deepEqual(lost, []);
      await proxy.stop();
    });

    test('keeps weights over a restart, and changes nothing when they cannot be written', async () => {
      const proxy = await lab.startProxy();
      await proxy.admin('SET BACKEND db2 RO_WEIGHT = 7');
      await proxy.stop();
      await proxy.start();
      await shows(proxy, 'db2', { ro_weight: '7' });

      // As root heeds no permissions, a folder in the way stands for a full disk.
      const inTheWay = join(proxy.stateDirectory, 'state.json.new');
      mkdirSync(inTheWay);
      await assert.rejects(proxy.admin('SET BACKEND db2 RO_WEIGHT = 9'), /nothing was changed/);
      await shows(proxy, 'db2', { ro_weight: '7' });
      rmSync(inTheWay, { recursive: true });
      await proxy.admin('SET BACKEND db2 RO_WEIGHT = 9');
      await shows(proxy, 'db2', { ro_weight: '9' });

      await proxy.stop();
      writeFileSync(join(proxy.stateDirectory, 'state.json'), '{"epoch": ');
      await assert.rejects(proxy.start(), /state\.json' cannot be used/);
    });

    test('knows no primary while two servers are writable, names both, and takes the one that is left', async () => {
      await lab.db2.query(words.stopReplica);
      await lab.db2.query('set global read_only = 0');
      // Not replicating is what makes it look like a primary.
      await lab.db2.query(words.resetReplica);
      const proxy = await lab.startProxy({ readyWhen: 'alive', config: { 'backend db2': { rw_weight: 1 } } });
      await eventually(async () => {
        const [cluster] = await proxy.admin('SHOW CLUSTERS');
        assert.match(JSON.stringify(cluster), /db1, db2 are all writable/);
      });
      await lab.db2.query('set global read_only = 1');
      await shows(proxy, 'db1', { role: 'primary', reason: '' });

      await lab.db2.query('set global read_only = 0');
      await shows(proxy, 'db2', {
        role: 'standalone',
        readable: 'no',
        reason: /writable but not the primary of epoch 1/,
      });
      const writer = await proxy.connect('write');
      assert.equal(await portBehind(writer), lab.db1.port);
      assert.equal(await readsAt(proxy), lab.db1.port);
      await proxy.stop();
    });
  });
});
