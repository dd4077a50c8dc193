/**
 * Servers that come and go while clients write: a third one is added and filled, becomes the primary, the old ones
 * leave, and dbproxy is restarted in between. No write that was acknowledged is lost, and none fails.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';
import { startProxy, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { untilWell, backendRow, untilRole } from '../support/failovers.ts';

let lab: BlankServers;
let proxy: ProxyProcess;
let db1: DatabaseServer;
let db2: DatabaseServer;
let db3: DatabaseServer;

/** Writes as fast as it is let until it is told to stop, then answers how many rows were acknowledged. */
interface Load {
  stop(): Promise<number>;
}

before(async () => {
  lab = await startBlankServers({ flavour: 'mariadb', count: 3 });
  [db1, db2, db3] = lab.servers as [DatabaseServer, DatabaseServer, DatabaseServer];
  await db3.execute('drop database demo');
  const { user, password } = ADMIN_ACCOUNT;
  proxy = await startProxy(
    { directory: lab.directory, serverPorts: [db1.port, db2.port], number: 1 },
    {
      readyWhen: 'alive',
      config: {
        'cluster main': {
          monitor_user: user,
          monitor_password: password,
          semi_sync: 'require',
          rejoin: 'auto',
          enforce_read_only: 'on',
        },
        'backend db2': { rw_weight: 1 },
      },
    },
  );
  await proxy.admin('BOOTSTRAP CLUSTER main PRIMARY db1');
  await db1.execute('create table demo.written (id int primary key auto_increment)');
  await untilRole(proxy, 'db1', 'primary');
  await untilRole(proxy, 'db2', 'replica');
});

after(async () => {
  await proxy.stop();
  await lab.stop();
});

async function load(): Promise<Load> {
  const connection = await proxy.connect('write');
  let going = true;
  let acknowledged = 0;
  const work = (async () => {
    while (going) {
      await connection.query('insert into demo.written values ()');
      acknowledged++;
    }
  })();
  work.catch(() => undefined);
  return {
    async stop() {
      going = false;
      await work;
      await connection.end();
      return acknowledged;
    },
  };
}

async function rowsAt(server: DatabaseServer): Promise<number> {
  const [row] = await server.query('select count(*) as n from demo.written');
  return Number(row!['n']);
}

const addressOf = ({ port }: DatabaseServer): string => `127.0.0.1:${port}`;

function refused(why: RegExp): { code: string; message: RegExp } {
  return { code: 'ER_OPTION_PREVENTS_STATEMENT', message: why };
}

describe('servers that come and go', () => {
  let written = 0;

  test('an empty one counts for nothing, and makes nobody lose a diagnosis', async () => {
    await proxy.admin(`ADD BACKEND db3 ADDRESS '${addressOf(db3)}' CLUSTER main`);
    await eventually(async () => assert.equal((await backendRow(proxy, 'db3'))?.['role'], 'standalone'));
    const diagnoses = await proxy.admin('SHOW DIAGNOSES');
    assert.deepEqual(
      diagnoses.map(({ diagnosis }) => diagnosis),
      ['AllHealthy'],
    );
    const [row] = await db3.query('select @@global.read_only as read_only');
    assert.equal(Number(row!['read_only']), 0, 'nobody touches it');
    await proxy.admin('DROP BACKEND db3');
    assert.equal(await backendRow(proxy, 'db3'), undefined);
    assert.deepEqual(await proxy.admin('SHOW CONFIG DIFF'), []);
  });

  test('what cannot be is refused: a name or an address twice, the primary, the last that acknowledges', async () => {
    const add = (name: string, address: string): Promise<unknown> =>
      proxy.admin(`ADD BACKEND ${name} ADDRESS '${address}' CLUSTER main`);
    await assert.rejects(add('db2', addressOf(db3)), refused(/there is a backend db2 already/));
    await assert.rejects(add('other', addressOf(db2)), refused(/is db2 already/));
    await assert.rejects(
      add('other', `127.0.0.1:${proxy.ports.write}`),
      refused(/where listener write itself listens/),
    );
    await assert.rejects(proxy.admin('DROP BACKEND db1'), refused(/it is the primary/));
    await assert.rejects(proxy.admin('DROP BACKEND db2'), refused(/the last replica that acknowledges/));
  });

  test('one that cannot be filled stays, offline, with the reason', async () => {
    await db3.execute('create database somebodys');
    const statement = `ADD BACKEND db3 ADDRESS '${addressOf(db3)}' CLUSTER main CLONE`;
    await assert.rejects(proxy.admin(statement), refused(/db3 is not empty \(somebodys\)/));
    const row = await backendRow(proxy, 'db3');
    assert.equal(row?.['state'], 'offline');
    assert.match(String(row['reason']), /^offline: .*db3 is not empty/);
    await proxy.admin('DROP BACKEND db3');
    await db3.execute('drop database somebodys');
  });

  test('a server is added and filled under load, and takes reads', async () => {
    const writer = await load();
    const cloned = proxy.admin(
      `ADD BACKEND db3 ADDRESS '${addressOf(db3)}' CLUSTER main RW_WEIGHT 2 CLONE FROM db1`,
    );
    await eventually(async () => assert.equal((await backendRow(proxy, 'db3'))?.['state'], 'offline'));
    await assert.rejects(proxy.admin('PROMOTE db2'), refused(/ADD BACKEND db3|CLONE BACKEND db3/));
    const reports = await cloned;
    assert.equal(reports[0]!['step'], 'fill it from db1');
    await untilRole(proxy, 'db3', 'replica');
    written += await writer.stop();
    const seen = new Set<number>();
    await eventually(async () => {
      const reader = await proxy.connect('read');
      const [rows] = await reader.query('select @@server_id as id');
      await reader.end();
      seen.add(Number((rows as { id: number }[])[0]?.id));
      assert.deepEqual([...seen].sort(), [2, 3]);
    });
  });

  test('it becomes the primary, and the old one leaves', async () => {
    const writer = await load();
    await untilWell(proxy);
    await proxy.admin('PROMOTE db3');
    await untilRole(proxy, 'db3', 'primary');
    await untilRole(proxy, 'db1', 'replica');
    await proxy.admin('DROP BACKEND db1');
    written += await writer.stop();
    assert.equal(await rowsAt(db3), written);
    assert.equal(await backendRow(proxy, 'db1'), undefined);
    assert.doesNotMatch((await proxy.get('/metrics')).text, /backend="db1"/);
    const [side] = await db1.query("show global status like 'Rpl_semi_sync_slave_status'");
    assert.equal(side!['Value'], 'OFF', 'nobody waits for who cannot be asked');
  });

  test('all of that is there after a restart, and shown', async () => {
    await proxy.stop();
    await proxy.start();
    await untilRole(proxy, 'db3', 'primary');
    await untilRole(proxy, 'db2', 'replica');
    const names = (await proxy.admin('SHOW BACKENDS')).map(({ name }) => name);
    assert.deepEqual(names, ['db2', 'db3']);
    const rows = await proxy.admin("SHOW CONFIG DIFF WHERE section = '[backend db1]'");
    assert.deepEqual(rows, [{ section: '[backend db1]', key: '', running: null, file: 'dropped' }]);
    const added = await proxy.admin("SHOW CONFIG DIFF WHERE section = '[backend db3]'");
    assert.deepEqual(added.map(({ key, running }) => [key, running]).slice(0, 3), [
      ['', 'added'],
      ['cluster', 'main'],
      ['address', addressOf(db3)],
    ]);
  });

  test('one that was dropped comes back by its name, and the way back is the same', async () => {
    const writer = await load();
    await proxy.admin(`ADD BACKEND db1 ADDRESS '${addressOf(db1)}' CLUSTER main`);
    await untilRole(proxy, 'db1', 'replica');
    await eventually(async () => {
      const [side] = await db1.query('select @@global.rpl_semi_sync_slave_enabled as on_');
      assert.equal(Number(side!['on_']), 1);
    });
    await untilWell(proxy);
    // Its receiver may be connecting anew, so that it hears more often.
    await eventually(() => proxy.admin('PROMOTE db1'));
    await untilRole(proxy, 'db1', 'primary');
    await untilRole(proxy, 'db3', 'replica');
    await proxy.admin('DROP BACKEND db3');
    written += await writer.stop();
    assert.equal(await rowsAt(db1), written);
    const sections = (await proxy.admin('SHOW CONFIG DIFF')).map(({ section }) => section);
    assert.ok(!sections.includes('[backend db3]'), sections.join());
  });
});
