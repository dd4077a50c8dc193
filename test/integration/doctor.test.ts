/**
 * `dbproxy doctor` as a program, on real servers with faults planted into them; and what one of its hints is worth:
 * how MariaDB recovers from a crash.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createConnection, type Connection } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { readIdentity, mariadbStatus } from '../../src/monitor/flavour/status.ts';
import { surveyHost } from '../../src/setup/host-survey.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { forEachFlavour, WORDS } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { keepalivedConfig } from '../support/configs.ts';
import { eventually } from '../support/eventually.ts';

const AS_REPLICA = ['--init-rpl-role=SLAVE', '--rpl-semi-sync-slave-enabled=ON'];

const CLI = join(import.meta.dirname, '../../src/cli.ts');

interface Diagnosis {
  readonly code: number | null;
  readonly output: string;
  /** `error db2 read_only` */
  readonly found: readonly string[];
}

async function doctor(
  lab: Lab,
  more: Record<string, string> = {},
  sections = '',
  ...words: readonly string[]
): Promise<Diagnosis> {
  const stateDirectory = join(lab.directory, 'state');
  mkdirSync(stateDirectory, { recursive: true });
  const settings = {
    monitor_user: 'monitor',
    monitor_password: 'monitor',
    replication_user: 'replication',
    replication_password: 'replication',
    semi_sync: lab.flavour === 'mysql56' ? 'off' : 'prefer',
    ...more,
  };
  const backends = [lab.db1, lab.db2].map(
    ({ name, port }) =>
      `[backend ${name}]\ncluster = main\naddress = 127.0.0.1:${port}\nrw_weight = 1\nmax_connections = 100\n`,
  );
  const path = join(lab.directory, 'doctor.conf');
  writeFileSync(
    path,
    `[dbproxy]
state_dir = ${stateDirectory}
[admin]
address = 127.0.0.1:1
user = admin
password = admin
[cluster main]
${Object.entries(settings)
  .map(([key, value]) => `${key} = ${value}\n`)
  .join('')}
${backends.join('')}[listener write]
cluster = main
address = 127.0.0.1:2
${sections}`,
  );
  const child = spawn(process.execPath, [CLI, 'doctor', '--config', path, '--batch', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  const [, ...rows] = output.trimEnd().split('\n');
  const found = rows.map((row) => row.split('\t').slice(0, 3).join(' '));
  return { code, output, found };
}

forEachFlavour((flavour, words) => {
  describe(`doctor on ${flavour}`, () => {
    let lab: Lab;
    before(async () => {
      lab = await startPair({ flavour });
      // What the lab leaves loose for speed.
      for (const server of [lab.db1, lab.db2]) {
        await server.execute('set global sync_binlog = 1', 'set global innodb_flush_log_at_trx_commit = 1');
      }
      await lab.db1.execute(
        'create database dbproxy',
        "grant select, insert, update, delete, create on dbproxy.* to monitor@'%'",
      );
      const { user, password } = { user: 'replication', password: 'replication' };
      const period = flavour === 'mysql97' ? 'source_heartbeat_period' : 'master_heartbeat_period';
      const follow = words.follow(lab.db1.port, user, password);
      await lab.db2.execute(words.stopReplica, `${follow}, ${period} = 0.5`, words.startReplica);
      await eventually(async () => {
        const [row] = await lab.db2.query(words.replicaStatus);
        assert.equal(row?.['Slave_IO_Running'] ?? row?.['Replica_IO_Running'], 'Yes');
      });
    });
    after(() => lab.stop());

    test('finds no error in the pair of the lab', async () => {
      const { found, output } = await doctor(lab);
      assert.deepEqual(
        found.filter((finding) => finding.startsWith('error')),
        [],
        output,
      );
    });

    test('finds what was planted, with the statement that mends it, and exits with 1', async () => {
      await lab.db2.execute('set global read_only = 0', "revoke reload on *.* from monitor@'%'");
      if (words.semiSync !== null) await lab.db2.execute(`set global ${words.semiSync.replica} = 0`);
      const planted = await doctor(lab);
      assert.equal(planted.code, 1);
      for (const finding of ['error main one_writer', 'error db2 monitor_grants', 'error db2 read_only']) {
        assert.ok(planted.found.includes(finding), `${finding}\n${planted.output}`);
      }
      if (words.semiSync !== null) {
        assert.ok(planted.found.includes('warning db2 semi_sync_switches'), planted.output);
        assert.match(planted.output, new RegExp(`SET GLOBAL ${words.semiSync.replica} = ON;`));
        await lab.db2.execute(`set global ${words.semiSync.replica} = 1`);
      }
      assert.match(planted.output, /GRANT RELOAD ON \*\.\* TO 'monitor'@'%';/);
      await lab.db2.execute("grant reload on *.* to monitor@'%'", 'set global read_only = 1');
      assert.deepEqual(
        (await doctor(lab)).found.filter((finding) => finding.startsWith('error')),
        [],
      );
    });

    test('finds a replica that has stopped, and an account that is not let in', async () => {
      await lab.db2.execute(words.stopReplica);
      const { found } = await doctor(lab, { replication_password: 'wrong' });
      assert.ok(found.includes('error db2 replication_runs'));
      assert.ok(found.includes('error db1 replication_account'));
      await lab.db2.execute(words.startReplica);
    });

    test('names a server that is down', async () => {
      await lab.db2.kill();
      const { found, code } = await doctor(lab);
      assert.equal(code, 1);
      assert.ok(found.includes('error db2 reachable'));
      await lab.db2.start();
      await lab.db2.execute(words.startReplica);
    });
  });
});

describe('doctor on a host of the pair', () => {
  let lab: Lab;
  before(async () => {
    lab = await startPair();
  });
  after(() => lab.stop());

  test('finds what keepalived and those who are asked would fail at', async () => {
    const keepalived =
      '[keepalived]\nvip = 10.255.9.100/24\ninterface = nosuch0\ngateway = 127.0.0.2\nhosts = 127.0.0.1, 127.0.0.3\n';
    const haconf = join(lab.directory, 'haconf');
    writeFileSync(haconf, 'Y dbproxy /usr 3001 null null Y vi_dbproxy_51 null null\n');
    const sections = `${keepalived}haconf = ${haconf}\n`;
    const { output, found } = await doctor(lab, { arbiter: 'tcp:127.0.0.1:1' }, sections, '--vip');
    const wanted = [
      'error main arbiter',
      'error host interface',
      'warning host haconf',
      'hint host vip_in_use',
    ];
    for (const finding of wanted) assert.ok(found.includes(finding), `${finding}\n${output}`);
    assert.ok(!found.some((finding) => /gateway|other_host/.test(finding)), 'they answer');
    const alone = await doctor(lab);
    assert.ok(!alone.found.some((finding) => finding.includes(' host ')), alone.output);
  });

  test('compares keepalived’s file with what it should be, and sees whether keepalived runs', async () => {
    const keepalivedConf = join(lab.directory, 'keepalived.conf');
    const keepalivedPid = join(lab.directory, 'keepalived.pid');
    const keepalived = keepalivedConfig({ vip: ['10.255.9.100/24'], interface: 'lo' });
    const look = async (): Promise<unknown[]> => {
      const questions = { configPath: 'proxy.conf', probesVips: false, keepalivedConf, keepalivedPid };
      const keepalivedText = (): Promise<string> => Promise.resolve('priority 100\n');
      const { pair } = await surveyHost(
        { clusters: [], keepalived },
        {
          ...questions,
          version: '1.2.3',
          keepalivedText,
          orders: () => Promise.resolve(null),
          peer: () => Promise.resolve(null),
        },
        systemClock,
      );
      return [pair!.file.kind, pair!.running];
    };
    assert.deepEqual(await look(), ['missing', false]);
    writeFileSync(keepalivedConf, '# by hand\npriority 90\n');
    writeFileSync(keepalivedPid, `${process.pid}\n`);
    assert.deepEqual(await look(), ['differs', true]);
    writeFileSync(keepalivedConf, '# by hand\npriority 100\n');
    writeFileSync(keepalivedPid, '999999999\n');
    assert.deepEqual(await look(), ['same', false]);
  });
});

describe('a MariaDB primary that is killed while its commits wait for a replica', () => {
  const CLIENTS = 20;

  /** Kills it with commits that no client was told of; answers what it has when it is back. */
  async function rowsAfterCrash(serverOptions: readonly string[]): Promise<{ rows: number; told: number }> {
    const words = WORDS.mariadb;
    const durable = ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=1', '--skip-slave-start'];
    const lab: BlankServers = await startBlankServers({
      flavour: 'mariadb',
      count: 2,
      serverOptions: [...durable, ...serverOptions],
    });
    const connections: Connection[] = [];
    try {
      const [db1, db2] = lab.servers as [DatabaseServer, DatabaseServer];
      await db1.execute(
        'set global rpl_semi_sync_slave_enabled = 0',
        'set global rpl_semi_sync_master_timeout = 4294967295',
        "set global rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
        'create table demo.t (a int primary key)',
      );
      await db2.execute(
        words.follow(db1.port, 'replication', 'replication'),
        `set global ${words.semiSync!.replica} = 1`,
        words.startReplica,
      );
      await db1.execute(`set global ${words.semiSync!.primary} = 1`);
      await eventually(async () => {
        const [row] = await db1.query(`show status like '${words.semiSync!.clients}'`);
        assert.equal(row?.['Value'], '1');
      });
      await db1.execute('insert into demo.t values (0)');
      await db2.execute(words.stopReplica);
      let told = 0;
      for (let key = 1; key <= CLIENTS; key++) {
        const connection = await createConnection({ host: '127.0.0.1', port: db1.port, ...ADMIN_ACCOUNT });
        connection.on('error', () => undefined);
        connections.push(connection);
        connection.query(`insert into demo.t values (${key})`).then(
          () => told++,
          () => undefined,
        );
      }
      await eventually(async () => {
        const waiting = await db1.query(
          "select 1 from information_schema.processlist where state like 'Waiting for semi-sync ACK%'",
        );
        assert.ok(waiting.length > 0);
      });
      await db1.kill();
      await db1.start();
      const [row] = await db1.query('select count(*) as count from demo.t');
      return { rows: Number(row?.['count']), told };
    } finally {
      for (const connection of connections) connection.destroy();
      await lab.stop();
    }
  }

  test('comes back with commits that nobody else has, as a primary', async () => {
    const { rows, told } = await rowsAfterCrash([]);
    assert.equal(told, 0);
    assert.ok(rows > 1, `${rows} rows`);
  });

  test('comes back without them, when it starts as the doctor says', async () => {
    assert.deepEqual(await rowsAfterCrash(AS_REPLICA), { rows: 1, told: 0 });
  });
});

describe('a MariaDB primary that is killed while it goes on alone', () => {
  test('comes back with all that clients were told of, when it flushes as the doctor says', async () => {
    const lab = await startBlankServers({
      flavour: 'mariadb',
      count: 1,
      serverOptions: [...AS_REPLICA, '--sync-binlog=1', '--innodb-flush-log-at-trx-commit=3'],
    });
    try {
      const [db1] = lab.servers as [DatabaseServer];
      assert.equal(readIdentity(await db1.query(mariadbStatus.identity)).keepsAcknowledged, true);
      await db1.execute('create table demo.t (a int primary key)', 'insert into demo.t values (1)');
      await db1.execute('insert into demo.t values (2)');
      await db1.kill();
      await db1.start();
      const [row] = await db1.query('select count(*) as count from demo.t');
      assert.equal(Number(row?.['count']), 2);
      await db1.execute('set global innodb_flush_log_at_trx_commit = 1');
      assert.equal(readIdentity(await db1.query(mariadbStatus.identity)).keepsAcknowledged, false);
    } finally {
      await lab.stop();
    }
  });
});
