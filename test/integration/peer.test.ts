/**
 * Two dbproxies of a pair and two servers: what one decides is on the disk of the other, and who loses its host after a
 * failover never brings the old primary back. Which of them has the VIP a test writes into a file (pair-member.ts).
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { startPair, type Lab } from '../lab/pair.ts';
import { freePorts } from '../lab/ports.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { certificate } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

const PROGRAM = join(import.meta.dirname, '../support/pair-member.ts');
const VIP = '10.99.0.100';

suite('a pair of dbproxies', () => {
  let lab: Lab;
  let one: ProxyProcess;
  let two: ProxyProcess;
  let files: { tls_cert: string; tls_key: string };
  let admins: number[];

  /** Whose host has the VIP. */
  function giveVip(...holders: ProxyProcess[]): void {
    for (const proxy of [one, two]) {
      const addresses = join(dirname(proxy.configPath), 'addresses');
      writeFileSync(addresses, holders.includes(proxy) ? VIP : '');
    }
  }

  async function startMember(number: number): Promise<ProxyProcess> {
    const directory = join(lab.directory, `proxy${number}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'addresses'), number === 1 ? VIP : '');
    return lab.startProxy({
      program: PROGRAM,
      workers: 1,
      readyWhen: 'alive',
      config: {
        admin: { address: `127.0.0.1:${admins[number - 1]}`, ...files },
        peer: {
          address: admins.map((port) => `127.0.0.1:${port}`).join(', '),
          user: 'pair',
          password: 'secret-of-pair',
          tls_ca: files.tls_cert,
          peer_timeout: '1s',
        },
        keepalived: { vip: `${VIP}/24`, interface: 'lo' },
        'backend db2': { rw_weight: 1 },
        'cluster main': {
          failover: 'auto',
          failover_cooldown: '0s',
          semi_sync: 'require',
          rejoin: 'auto',
          enforce_read_only: 'on',
        },
      },
    });
  }

  const admin = async (proxy: ProxyProcess, statement: string): Promise<Record<string, unknown>[]> => {
    const port = admins[proxy === one ? 0 : 1]!;
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'admin', password: 'admin' });
    try {
      const [rows] = await connection.query(statement);
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
    } finally {
      connection.destroy();
    }
  };
  const diagnoses = async (proxy: ProxyProcess): Promise<unknown[]> =>
    (await admin(proxy, 'SHOW DIAGNOSES')).map(({ diagnosis }) => diagnosis);
  const primaryOf = async (proxy: ProxyProcess): Promise<unknown> =>
    (await admin(proxy, 'SHOW CLUSTERS'))[0]?.['primary'];
  const writes = async (proxy: ProxyProcess): Promise<void> => {
    const connection = await proxy.connect('write');
    await connection.query('CREATE TABLE IF NOT EXISTS pair (id INT AUTO_INCREMENT PRIMARY KEY, v INT)');
    await connection.query('INSERT INTO pair (v) VALUES (1)');
    connection.destroy();
  };

  before(async () => {
    lab = await startPair();
    admins = await freePorts(2);
    const { cert, key } = certificate();
    files = { tls_cert: join(lab.directory, 'admin.pem'), tls_key: join(lab.directory, 'admin.key') };
    writeFileSync(files.tls_cert, cert);
    writeFileSync(files.tls_key, key);
    one = await startMember(1);
  });
  after(() => lab?.stop());

  test('the first one alone waits for the other, and then they are a pair', async () => {
    assert.deepEqual(await diagnoses(one), ['PeerUnheard', 'NoWritablePrimary']);
    await assert.rejects(admin(one, 'PROMOTE db1'), /not in charge.*SET PEER GONE/);
    two = await startMember(2);
    await eventually(async () => assert.equal(await primaryOf(two), 'db1'));
    await eventually(async () => assert.deepEqual(await diagnoses(two), ['NotInCharge']));
    await eventually(() => writes(one));
    await writes(two);
  });

  test('nobody else says PEER, and the account of the two says nothing else', async () => {
    await assert.rejects(admin(one, 'PEER {}'), /may not say PEER/);
    const account = { user: 'pair', password: 'secret-of-pair' };
    const connection = await createConnection({ host: '127.0.0.1', port: admins[0]!, ...account });
    await assert.rejects(connection.query('SHOW CONFIG'), /may not say anything but PEER/);
    await assert.rejects(connection.query('PEER {"format":1}'), /process or config is missing/);
    connection.destroy();
  });

  test('what an operator sets at the one in charge counts at the other, and is refused there', async () => {
    await admin(one, 'SET BACKEND db2 RO_WEIGHT = 7');
    const [row] = await admin(two, "SHOW BACKENDS WHERE name = 'db2'");
    assert.equal(Number(row?.['ro_weight']), 7);
    await assert.rejects(admin(two, 'SET BACKEND db2 RO_WEIGHT = 8'), /not in charge/);
    await assert.rejects(admin(two, 'SWITCHOVER'), /not in charge/);
  });

  test('a switchover at the one in charge is one at the other', async () => {
    await admin(one, 'SWITCHOVER TO db2');
    await eventually(async () => assert.equal(await primaryOf(two), 'db2'));
    await eventually(() => writes(two));
    await writes(one);
    await eventually(() => admin(one, 'SWITCHOVER TO db1'));
  });

  test('the VIP moves with nobody dead: the other one acts, without a new term', async () => {
    giveVip(two);
    await eventually(() => admin(two, 'SET BACKEND db2 RO_WEIGHT = 1'));
    await assert.rejects(admin(one, 'SET BACKEND db2 RO_WEIGHT = 2'), /not in charge/);
    giveVip(one);
    await eventually(() => admin(one, 'SET BACKEND db2 RO_WEIGHT = 1'));
  });

  test('the holder dies right after a promotion, and the other starts alone: the old primary takes no writes', async () => {
    await eventually(async () => assert.deepEqual(await diagnoses(one), ['AllHealthy']), 20_000);
    // A replica that is just being connected anew has it refused, with nothing changed.
    await eventually(() => admin(one, 'SWITCHOVER TO db2'));
    one.signal('SIGKILL');
    two.signal('SIGKILL');
    await Promise.all([one.ended(), two.ended()]);
    giveVip(two);
    await two.start();
    assert.deepEqual((await diagnoses(two))[0], 'PeerUnheard');
    await admin(two, 'SET PEER GONE');
    await eventually(() => writes(two));
    assert.equal(await primaryOf(two), 'db2');
  });

  test('a host dies with the proxy in charge and the primary: the other one fails over, and what comes back believes it', async () => {
    await one.start();
    await eventually(async () => assert.deepEqual(await diagnoses(one), ['NotInCharge']), 20_000);
    await eventually(async () => assert.deepEqual(await diagnoses(two), ['AllHealthy']), 20_000);
    two.signal('SIGKILL');
    await Promise.all([two.ended(), lab.db2.kill()]);
    giveVip(one);
    await eventually(() => writes(one), 20_000);
    assert.equal(await primaryOf(one), 'db1');
    await two.start();
    await lab.db2.start();
    await eventually(async () => assert.equal(await primaryOf(two), 'db1'), 20_000);
    await eventually(async () => assert.deepEqual(await diagnoses(two), ['NotInCharge']), 20_000);
  });
});
