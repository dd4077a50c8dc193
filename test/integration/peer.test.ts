/**
 * Two dbproxies of a pair and two servers: what one decides is on the disk of the other, and who loses its host after a
 * failover never brings the old primary back. Which of them has the VIP, and
 * whether they reach each other, the test says (pair-of-proxies.ts).
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { PROGRAM_VERSION } from '../../src/base/version.ts';
import { loadConfig } from '../../src/config/load.ts';
import { lookAtPeer } from '../../src/peer/look.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { PairOfProxies } from '../support/pair-of-proxies.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');

/** Severity, subject and rule of what it finds on the host of this one. */
function doctor({ configPath }: ProxyProcess): Promise<{ code: unknown; rows: string[] }> {
  return new Promise((resolve) => {
    const words = [CLI, 'doctor', '--batch', '--config', configPath];
    const child = execFile(process.execPath, words, (_error, output) => {
      const [, ...rows] = output.trimEnd().split('\n');
      resolve({ code: child.exitCode, rows: rows.map((row) => row.split('\t').slice(0, 3).join(' ')) });
    });
  });
}

suite('a pair of dbproxies', () => {
  let lab: Lab;
  let pair: PairOfProxies;
  let one: ProxyProcess;
  let two: ProxyProcess;

  before(async () => {
    lab = await startPair();
    pair = await PairOfProxies.open(lab, {
      'cluster main': {
        failover: 'auto',
        failover_cooldown: '0s',
        semi_sync: 'require',
        rejoin: 'auto',
        enforce_read_only: 'on',
      },
    });
    one = await pair.start(1);
  });
  after(async () => {
    await lab?.stop();
    pair?.close();
  });

  test('the first one alone waits for the other, and then they are a pair', async () => {
    assert.deepEqual(await pair.diagnoses(one), ['PeerUnheard', 'NoWritablePrimary']);
    await assert.rejects(pair.admin(one, 'PROMOTE db1'), /not in charge.*SET PEER GONE/);
    two = await pair.start(2);
    await eventually(async () => assert.equal(await pair.primaryOf(two), 'db1'));
    await eventually(async () => assert.deepEqual(await pair.diagnoses(two), ['NotInCharge']));
    await eventually(() => pair.write(one));
    await pair.write(two);
  });

  test('nobody else says PEER, and the account of the two says nothing else', async () => {
    await assert.rejects(pair.admin(one, 'PEER {}'), /may not say PEER/);
    const account = { user: 'pair', password: 'secret-of-pair' };
    const connection = await createConnection({ host: '127.0.0.1', port: pair.admins[0]!, ...account });
    await assert.rejects(connection.query('SHOW CONFIG'), /may not say anything but PEER/);
    await assert.rejects(connection.query('PEER {"format":1}'), /process or config is missing/);
    connection.destroy();
  });

  test('what an operator sets at the one in charge counts at the other, and is refused there', async () => {
    await pair.admin(one, 'SET BACKEND db2 RO_WEIGHT = 7');
    const [row] = await pair.admin(two, "SHOW BACKENDS WHERE name = 'db2'");
    assert.equal(Number(row?.['ro_weight']), 7);
    await assert.rejects(pair.admin(two, 'SET BACKEND db2 RO_WEIGHT = 8'), /not in charge/);
    await assert.rejects(pair.admin(two, 'SWITCHOVER'), /not in charge/);
  });

  test('both have the VIP: what is open ends, and who is logged in already writes nothing either', async () => {
    await eventually(() => pair.write(one));
    const [session, open] = [await one.connect('write'), await one.connect('write')];
    await session.query('SELECT 1');
    await open.query('BEGIN');
    await open.query('INSERT INTO pair (v) VALUES (3)');
    pair.giveVip(one, two);
    try {
      await eventually(async () => {
        assert.ok((await pair.diagnoses(one)).includes('BothInCharge'));
        const sessions = await pair.admin(one, 'SHOW SESSIONS');
        assert.ok(!sessions.some(({ backend }) => backend === 'db1'));
      });
      for (const proxy of [one, two]) {
        const { code, rows } = await doctor(proxy);
        assert.equal(code, 1);
        assert.ok(rows.includes('error main BothInCharge'), rows.join('\n'));
      }
      await assert.rejects(open.query('COMMIT'));
      let isWritten = false;
      const written = session.query('INSERT INTO pair (v) VALUES (4)').then(() => (isWritten = true));
      await eventually(async () => assert.ok((await pair.diagnoses(one)).includes('BothInCharge')));
      assert.equal(isWritten, false);
      pair.giveVip(one);
      await written;
    } finally {
      pair.giveVip(one);
    }
    assert.deepEqual(await lab.db1.query('SELECT v FROM demo.pair WHERE v = 3'), []);
    session.destroy();
    open.destroy();
  });

  test('SHOW PEER says the same at both, seen from the other side', async () => {
    const rowsOf = async (proxy: ProxyProcess): Promise<unknown[]> =>
      (await pair.admin(proxy, 'SHOW PEER')).map((row) =>
        ['state', 'holds_vip', 'in_charge', 'epoch', 'revision', 'reason'].map((name) => row[name]),
      );
    await eventually(async () => {
      const [[own, other], [second, first]] = [await rowsOf(one), await rowsOf(two)] as [
        [unknown[], unknown[]],
        [unknown[], unknown[]],
      ];
      assert.deepEqual(own.slice(0, 3), ['running', 'yes', 'yes']);
      assert.deepEqual(other.slice(0, 3), ['connected', 'no', 'no']);
      assert.deepEqual(first.slice(0, 3), ['connected', 'yes', 'yes']);
      assert.deepEqual(second.slice(0, 3), ['running', 'no', 'no']);
      assert.match(String(second[5]), /does not hold the write VIP/);
      for (const row of [other, first, second]) assert.deepEqual(row.slice(3, 5), own.slice(3, 5));
    });
  });

  test('the doctor finds the other one, and what is another there', async () => {
    const config = loadConfig(one.configPath, process.env);
    const look = await lookAtPeer({ ...config, backends: [] }, systemClock);
    assert.deepEqual(
      { ...look, address: '' },
      {
        kind: 'answers',
        address: '',
        version: PROGRAM_VERSION,
        differing: ['backends'],
        clockAheadMs: 0,
      },
    );
    const stranger = { ...config, peer: { ...config.peer!, password: 'another' } };
    const refused = await lookAtPeer(stranger, systemClock);
    assert.ok(refused?.kind === 'silent' && /Access denied/.test(refused.reason), JSON.stringify(refused));
  });

  test('a switchover at the one in charge is one at the other', async () => {
    await pair.admin(one, 'SWITCHOVER TO db2');
    await eventually(async () => assert.equal(await pair.primaryOf(two), 'db2'));
    await eventually(() => pair.write(two));
    await pair.write(one);
    await eventually(() => pair.admin(one, 'SWITCHOVER TO db1'));
  });

  test('the VIP moves with nobody dead: the other one acts, without a new term', async () => {
    pair.giveVip(two);
    await eventually(() => pair.admin(two, 'SET BACKEND db2 RO_WEIGHT = 1'));
    await assert.rejects(pair.admin(one, 'SET BACKEND db2 RO_WEIGHT = 2'), /not in charge/);
    pair.giveVip(one);
    await eventually(() => pair.admin(one, 'SET BACKEND db2 RO_WEIGHT = 1'));
  });

  test('the holder dies right after a promotion, and the other starts alone: the old primary takes no writes', async () => {
    await eventually(async () => assert.deepEqual(await pair.diagnoses(one), ['AllHealthy']), 20_000);
    // A replica that is just being connected anew has it refused, with nothing changed.
    await eventually(() => pair.admin(one, 'SWITCHOVER TO db2'));
    one.signal('SIGKILL');
    two.signal('SIGKILL');
    await Promise.all([one.ended(), two.ended()]);
    pair.giveVip(two);
    await two.start();
    assert.deepEqual((await pair.diagnoses(two))[0], 'PeerUnheard');
    assert.ok((await doctor(one)).rows.includes('warning host dbproxy'));
    const { rows } = await doctor(two);
    assert.ok(
      rows.includes('error main PeerUnheard') && !rows.includes('warning host dbproxy'),
      rows.join('\n'),
    );
    await pair.admin(two, 'SET PEER GONE');
    await eventually(() => pair.write(two));
    assert.equal(await pair.primaryOf(two), 'db2');
  });

  test('a host dies with the proxy in charge and the primary: the other one fails over, and what comes back believes it', async () => {
    await one.start();
    await eventually(async () => assert.deepEqual(await pair.diagnoses(one), ['NotInCharge']), 20_000);
    await eventually(async () => assert.deepEqual(await pair.diagnoses(two), ['AllHealthy']), 20_000);
    two.signal('SIGKILL');
    await Promise.all([two.ended(), lab.db2.kill()]);
    pair.giveVip(one);
    await eventually(() => pair.write(one), 20_000);
    assert.equal(await pair.primaryOf(one), 'db1');
    await two.start();
    await lab.db2.start();
    await eventually(async () => assert.equal(await pair.primaryOf(two), 'db1'), 20_000);
    await eventually(async () => assert.deepEqual(await pair.diagnoses(two), ['NotInCharge']), 20_000);
  });
});
