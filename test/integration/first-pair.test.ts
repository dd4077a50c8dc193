/**
 * What `dbproxy init` writes is all that two new servers need: with mariadb.cnf and accounts.sql and one BOOTSTRAP the
 * doctor has nothing left to say of them.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { lookAtRunning } from '../../src/cli/look-at-running.ts';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import type { ProxyConfig } from '../../src/config/config.ts';
import { findingsOf } from '../../src/setup/cluster-rules.ts';
import { surveyCluster } from '../../src/setup/doctor.ts';
import { firstFiles } from '../../src/setup/first-pair.ts';
import { runningFindings } from '../../src/setup/running-rules.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';
import { startProxy, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

/** Its servers stay on this machine, and their logs are where the lab wants them. */
const OF_THE_LAB = /^(bind_address|log_bin) /;

suite('the first files of a pair', () => {
  const files = new Map(
    firstFiles({
      hosts: ['10.0.0.1', '10.0.0.2'],
      vips: ['10.0.0.100/24'],
      interfaceName: 'eth0',
      gateway: '10.0.0.254',
      makePassword: () => 'a-password_of-24-letters',
      certificate: { cert: '', key: '' },
    }).map(({ name, text }) => [name, text]),
  );
  let servers: BlankServers;
  let config: ProxyConfig;
  let proxy: ProxyProcess;

  before(async () => {
    const lines = files.get('mariadb.cnf')!.split('\n');
    const serverOptions = lines
      .filter((line) => / = /.test(line) && !line.startsWith('#') && !OF_THE_LAB.test(line))
      .map((line) => `--${line.replace(' = ', '=')}`);
    servers = await startBlankServers({ flavour: 'mariadb', count: 2, serverOptions });
    const [db1, db2] = servers.servers.map(({ port }) => `127.0.0.1:${port}`);
    const text = files.get('proxy.conf')!.replace('10.0.0.1:3306', db1!).replace('10.0.0.2:3306', db2!);
    const context = { file: 'proxy.conf', env: {}, readFile: () => '', cores: 1, ignoresCertificates: true };
    config = parseConfig(text, context);
  });
  after(async () => {
    await proxy?.stop();
    await servers?.stop();
  });

  test('let dbproxy in, and make a cluster that the doctor finds nothing wrong with', async () => {
    for (const { port } of servers.servers) {
      const root = await createConnection({
        ...ADMIN_ACCOUNT,
        host: '127.0.0.1',
        port,
        multipleStatements: true,
      });
      await root.query(files.get('accounts.sql')!);
      await root.end();
    }
    const cluster = config.clusters[0]!;
    const [db1, db2] = servers.servers.map(({ port }) => port);
    proxy = await startProxy(
      { directory: servers.directory, serverPorts: [db1!, db2!], number: 1 },
      {
        readyWhen: 'alive',
        config: {
          'cluster main': {
            monitor_user: cluster.monitorUser,
            monitor_password: cluster.monitorPassword,
            replication_user: cluster.replicationUser,
            replication_password: cluster.replicationPassword,
            semi_sync: 'require',
          },
          'backend db2': { rw_weight: 1 },
        },
      },
    );
    const found = async (): Promise<string[]> => {
      const { backends } = config;
      const seen = findingsOf(await surveyCluster(cluster, backends, systemClock));
      const running = await lookAtRunning(loadConfig(proxy.configPath, process.env).admin);
      assert.equal(running.kind, 'runs');
      const findings = [...runningFindings({ running, isOfPair: true, found: seen, backends }), ...seen];
      return findings.filter(({ severity }) => severity !== 'hint').map(({ id }) => id);
    };
    await eventually(async () => assert.deepEqual(await found(), ['one_writer']));
    const reports = await proxy.admin('BOOTSTRAP CLUSTER main');
    const notDone = reports.filter(({ result }) => result !== 'done');
    assert.deepEqual(notDone, [], 'nothing is left for my.cnf');
    // Of settings that were made since, MariaDB cannot say what they are at its next start: those are hints.
    await eventually(async () => assert.deepEqual(await found(), []));
  });
});
