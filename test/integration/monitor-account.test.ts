/**
 * The account of the monitor loses its password while dbproxy runs: the checks, which keep their connection, go on, and
 * what would fail when it is needed is said before.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { configWith, diagnoses, primaryOf, untilWell } from '../support/failovers.ts';

suite('a monitor account whose password is changed', () => {
  const { user, password } = PAIR_ACCOUNTS.monitor;
  let lab: Lab;
  let proxy: ProxyProcess;
  before(async () => {
    lab = await startPair();
    const config = configWith({ semi_sync: 'off', check_login_interval: '100ms' });
    proxy = await lab.startProxy({ config });
    await untilWell(proxy);
  });
  after(() => lab?.stop());

  const change = async (to: string, servers = [lab.db1, lab.db2]): Promise<void> => {
    for (const server of servers) {
      await server.execute(
        'set session sql_log_bin = 0',
        `set password for '${user}'@'%' = password('${to}')`,
      );
    }
  };
  const detailOf = async (diagnosis: string): Promise<string> => {
    const rows = await proxy.admin('SHOW DIAGNOSES');
    const row = rows.find((one) => one['diagnosis'] === diagnosis);
    assert.ok(row !== undefined, JSON.stringify(rows));
    return String(row['detail']);
  };

  test('is found while the checks go on, on each server, and is forgotten once it is right', async () => {
    await change('another');
    await eventually(async () => {
      const detail = await detailOf('MonitorAccountRefused');
      assert.match(detail, /^db1, db2 refuse monitor_user \(db1: Access denied.*db2: Access denied/);
    });
    assert.deepEqual(await diagnoses(proxy), ['MonitorAccountRefused']);
    const backends = await proxy.admin('SHOW BACKENDS');
    assert.deepEqual(
      backends.map(({ name, role, state, reason }) => [name, role, state, reason]),
      [
        ['db1', 'primary', 'online', ''],
        ['db2', 'replica', 'online', ''],
      ],
    );
    await change(password);
    await untilWell(proxy);
  });

  test('has what is planned refused before anything is held, also on paper', async () => {
    await change('another', [lab.db1]);
    const refused = /db1 refuses monitor_user a new login \(Access denied/;
    const plan = await proxy.admin('SWITCHOVER DRY RUN');
    assert.match(String(plan.at(-1)?.['detail']), refused);
    await assert.rejects(proxy.admin('SWITCHOVER'), refused);
    assert.ok(!proxy.log.some(({ event }) => event === 'promote.hold'));
    await change(password, [lab.db1]);
    await untilWell(proxy);
  });

  test('is why a failover fails, which PrimaryDown says, and which goes on once it is right', async () => {
    await change('another', [lab.db2]);
    await eventually(async () => assert.match(await detailOf('MonitorAccountRefused'), /^db2 refuses/));
    await lab.db1.kill();
    await eventually(async () => {
      const detail = await detailOf('PrimaryDown');
      assert.match(
        detail,
        /tried (once|\d+ times).*last at .*: the failover of cluster main .*Access denied/,
      );
    });
    await change(password, [lab.db2]);
    await eventually(async () => assert.equal(await primaryOf(proxy), 'db2'), 60_000);
  });
});
