/**
 * What keepalived and its operators see of a real dbproxy: the question whether this host should have the virtual
 * addresses, and haconf.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');

suite('keepalived', () => {
  let lab: Lab;
  let proxy: ProxyProcess;

  before(async () => {
    lab = await startPair();
    proxy = await lab.startProxy({
      config: {
        keepalived: {
          // The machine of the tests may be busy.
          check_timeout: '3s',
          vip: '10.255.7.1/32',
          interface: 'eth0',
          gateway: '127.0.0.1',
          haconf: '../haconf',
        },
        'backend db2': { rw_weight: 1 },
      },
    });
  });
  after(() => lab.stop());

  function check(): { status: number | null; line: string } {
    const command = [CLI, 'keepalived', 'check', '--config', proxy.configPath];
    const { status, stdout } = spawnSync(process.execPath, command, { encoding: 'utf8' });
    return { status, line: stdout };
  }

  function order(columns: {
    maintenance?: string;
    master?: string;
    errorMode?: string;
    instance?: string;
  }): void {
    const { maintenance = 'N', master = 'null', errorMode = 'N', instance = 'vi_dbproxy_51' } = columns;
    const line = `${maintenance} dbproxy /usr 3001 ${master} null ${errorMode} ${instance} null null\n`;
    writeFileSync(join(dirname(dirname(proxy.configPath)), 'haconf'), line);
  }

  async function maintenance(): Promise<unknown> {
    const [cluster] = await proxy.admin('SHOW CLUSTERS');
    return cluster!['maintenance'];
  }

  test('check is well while it can route a read, and says so without a haconf, too', () => {
    const { status, line } = check();
    assert.equal(status, 0);
    assert.match(line, /^well: main: reads go to db2.*; haconf does not count: ENOENT.*\n$/);
  });

  test('a wrong column of haconf is an event, and changes nothing', async () => {
    order({ maintenance: 'yes' });
    const { detail } = await proxy.waitForEvent('haconf.bad', ({ detail }) =>
      String(detail).includes('column'),
    );
    assert.match(String(detail), /column 1 \(maintenance\): 'yes' is not Y or N/);
    assert.equal(check().status, 0);
    assert.equal(await maintenance(), 'off');
  });

  test('a haconf of another VRRP instance is a wrong column for check and the running dbproxy', async () => {
    order({ maintenance: 'Y', errorMode: 'Y', instance: 'vi_other' });
    await proxy.waitForEvent('haconf.bad', ({ detail }) => String(detail).includes('vi_other'));
    const { status, line } = check();
    assert.equal(status, 0);
    assert.match(
      line,
      /^well: .*haconf does not count: .*column 8 \(VRRP instance\): 'vi_other' is not vi_dbproxy_51/,
    );
    assert.equal(await maintenance(), 'off');
  });

  test('maintenance in haconf is maintenance of all clusters, for as long as it says so', async () => {
    order({ maintenance: 'Y', errorMode: 'Y' });
    await proxy.waitForEvent('haconf.maintenance');
    assert.equal(await maintenance(), 'haconf');
    assert.deepEqual(check(), { status: 0, line: 'maintenance (haconf): nothing is checked\n' });
    await assert.rejects(proxy.admin('MAINTENANCE OFF'), /haconf of this host says maintenance/);
    order({});
    await proxy.waitForEvent('haconf.maintenance', ({ detail }) => String(detail).includes('N again'));
    assert.equal(await maintenance(), 'off');
  });

  test('error mode in haconf sends the addresses away', () => {
    order({ errorMode: 'Y' });
    assert.equal(check().status, 1);
    order({});
    assert.equal(check().status, 0);
  });

  test('another master in haconf is a switchover', async () => {
    order({ master: `127.0.0.1:${lab.db2.port}` });
    const { detail } = await proxy.waitForEvent('haconf.switched');
    assert.match(String(detail), /db2 is the primary/);
    const [cluster] = await proxy.admin('SHOW CLUSTERS');
    assert.equal(cluster!['primary'], 'db2');
  });

  test('check does not send the addresses away in vain when all databases are down', async () => {
    await Promise.all([lab.db1.kill(), lab.db2.kill()]);
    await eventually(async () => assert.equal((await proxy.get('/health/read')).status, 503));
    const { status, line } = check();
    assert.equal(status, 0);
    assert.match(line, /^well, but no database: main: no reads/);
  });

  test('check sends them away when the process hangs or is gone', async () => {
    proxy.signal('SIGSTOP');
    const hanging = check();
    proxy.signal('SIGCONT');
    assert.equal(hanging.status, 1);
    assert.match(hanging.line, /^dbproxy does not answer: .* no answer within \d+ ms/);
    await proxy.stop();
    const gone = check();
    assert.equal(gone.status, 1);
    assert.match(gone.line, /^dbproxy does not answer: .*ECONNREFUSED/);
  });
});
