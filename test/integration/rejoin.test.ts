/**
 * REJOIN of a server that has what nobody else has, and cannot simply be brought back: what it says before, what it
 * has done when it fails half-way, and the way that it names then.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { discardLost } from '../../src/failover/rejoin.ts';
import { sqlServers } from '../../src/failover/sql-server.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import { forEachFlavour, WORDS } from '../lab/flavours.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { memberFrom, surveyOf } from '../support/clusters.ts';
import { backendConfig, clusterConfig } from '../support/configs.ts';
import { eventually } from '../support/eventually.ts';
import { configWith, untilWell } from '../support/failovers.ts';

const MONITOR = { user: 'narrow', password: 'narrow' };

forEachFlavour(
  (flavour) => {
    suite(`REJOIN on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.execute(
          'create table demo.item (id int primary key)',
          `create user ${MONITOR.user}@'%' identified by '${MONITOR.password}'`,
          // All that it takes to look at the servers and to act on them.
          flavour === 'mariadb'
            ? `grant binlog monitor, slave monitor, process, reload, connection admin, read_only admin, replication slave admin, replication master admin, super on *.* to ${MONITOR.user}@'%'`
            : `grant replication client, replication slave, process, reload, connection_admin, system_variables_admin, replication_slave_admin on *.* to ${MONITOR.user}@'%'`,
          `grant create, select, insert, update, delete on dbproxy.* to ${MONITOR.user}@'%'`,
          `grant select on mysql.* to ${MONITOR.user}@'%'`,
          `grant select on performance_schema.* to ${MONITOR.user}@'%'`,
        );
        proxy = await lab.startProxy({
          config: configWith({
            rejoin: 'report',
            semi_sync: 'off',
            monitor_user: MONITOR.user,
            monitor_password: MONITOR.password,
          }),
        });
        await untilWell(proxy);
      });
      after(() => lab?.stop());

      async function stepsOf(statement: string): Promise<[string, string, string][]> {
        const rows = await proxy.admin(statement);
        return rows.map((row) => [String(row['step']), String(row['result']), String(row['detail'])]);
      }

      test('leaves a replica alone that follows', async () => {
        // It has what was seen of it, and the primary has gone on since.
        await lab.db1.query('insert into demo.item values (1)');
        const steps = await stepsOf('REJOIN db2');
        assert.deepEqual(steps, [
          ['follow', 'skipped', 'it follows db1 already, and has nothing of its own'],
        ]);
      });

      test('names the server and the rights that it lacks, before it does anything', async () => {
        const { stopReplica, resetReplica } = WORDS[flavour];
        await lab.db2.execute(stopReplica, resetReplica);
        await lab.db2.execute(
          ...(flavour === 'mysql97' ? ['set global super_read_only = 0'] : []),
          'insert into demo.item values (10)',
          'create table demo.other (id int)',
        );
        await eventually(async () => {
          assert.equal((await proxy.admin('SHOW LOST TRANSACTIONS db2')).length, 2);
        });
        const rights =
          /narrow may not do all that this takes; say on db2: SET SESSION sql_log_bin = 0; .*GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON demo\.item TO 'narrow'@'%'/;
        const [step, result, detail] = (await stepsOf('REJOIN db2 APPEND DRY RUN')).at(-1)!;
        assert.deepEqual([step, result], ['check', 'refused']);
        assert.match(detail, rights);
        assert.match((await stepsOf('REJOIN db2 DRY RUN')).at(-1)![2], /say APPEND or DISCARD/);
        const [ofPrimary] = await stepsOf('REJOIN db1 DRY RUN');
        assert.deepEqual(ofPrimary, ['check', 'refused', 'it is the primary']);
        await assert.rejects(proxy.admin('REJOIN db2 APPEND'), rights);
        assert.deepEqual(await lab.db1.query('select id from demo.item where id = 10'), []);
      });

      test('by itself undoes nothing but what is dbproxy’s own, however it came there since that was found', async () => {
        const { monitor, replication } = PAIR_ACCOUNTS;
        const cluster = clusterConfig({
          ...{ monitorUser: monitor.user, monitorPassword: monitor.password, semiSync: 'off' },
          ...{ replicationUser: replication.user, replicationPassword: replication.password },
        });
        const openServer = sqlServers(systemClock);
        const members = await Promise.all(
          [lab.db1, lab.db2].map(async ({ port }, index) => {
            const backend = { address: { kind: 'tcp', host: '127.0.0.1', port } } as const;
            const name = `db${index + 1}`;
            const server = await openServer(backendConfig(name, backend), cluster);
            const facts = await server.look(2_000);
            server.close();
            return memberFrom(name, { backend, facts });
          }),
        );
        const survey = { ...surveyOf({ servers: {} }), cluster, members };
        const stateDir = mkdtempSync(join(tmpdir(), 'dbproxy-discard-'));
        const refused = discardLost('db2', {
          ...{ clock: systemClock, openServer, stateDir, survey: () => survey, inTheWay: () => null },
          turn: { isOver: false, act: (_, work) => work() },
          takeInHand: () => assert.fail('nothing is done with it'),
          checkNow: () => Promise.resolve(true),
        });
        await assert.rejects(refused, /that is not only dbproxy's own any more/);
        assert.deepEqual(await lab.db2.query('select id from demo.item where id = 10'), [{ id: 10 }]);
        rmSync(stateDir, { recursive: true });
      });

      test('does not promise an undo that cannot be done', async () => {
        const unlogged = flavour === 'mariadb' ? 'binlog admin' : 'session_variables_admin';
        for (const server of [lab.db1, lab.db2]) {
          await server.execute(
            ...(flavour === 'mysql97' ? ['set global super_read_only = 0'] : []),
            'set sql_log_bin = 0',
            `grant select, insert, update, delete, trigger on demo.* to ${MONITOR.user}@'%'`,
            `grant ${unlogged} on *.* to ${MONITOR.user}@'%'`,
          );
        }
        const steps = await stepsOf('REJOIN db2 APPEND DRY RUN');
        assert.deepEqual(
          steps.map(([step, result]) => `${step} ${result}`),
          ['compare planned', 'save planned', 'append planned', 'undo planned'],
        );
        assert.match(
          (await stepsOf('REJOIN db2 DRY RUN')).at(-1)![2],
          /say APPEND or DISCARD\. Look first whether/,
        );
        await assert.rejects(proxy.admin('REJOIN db2'), /both undo them here\. Look first whether/);
        assert.match(steps.at(-2)![2], /^1 would be made again at db1\. Look first whether .* there twice/);
        assert.match(steps.at(-1)![2], /^it would fail here: it is DDL; .*CLONE BACKEND db2/);
        assert.deepEqual(await lab.db1.query('select id from demo.item where id = 10'), []);
      });

      test('says what stays when it fails half-way, and does it once', async () => {
        for (const made of [
          '1 made again at db1, 0 were there already',
          '0 made again at db1, 1 were there already',
        ]) {
          await assert.rejects(
            proxy.admin('REJOIN db2 APPEND'),
            new RegExp(
              `failed at step 'undo': it is DDL.*what was made again at the primary stays there .${made}`,
            ),
          );
        }
        assert.deepEqual(await lab.db1.query('select id from demo.item where id = 10'), [{ id: 10 }]);
      });

      test('shows what is lost once, however often it was found', async () => {
        const rows = await proxy.admin('SHOW LOST TRANSACTIONS db2');
        assert.deepEqual(rows.map((row) => row['kind']).sort(), ['ddl', 'insert']);
        assert.equal(new Set(rows.map((row) => row['file'])).size, 1);
      });

      // The clone plugin of MySQL restarts the server, which nobody does here: test/integration/bootstrap.test.ts.
      const isPlugin = flavour === 'mysql97';
      test('is told the way to a fresh copy, which leads there', { skip: isPlugin }, async () => {
        for (const server of [lab.db1, lab.db2]) {
          await server.execute(
            'set sql_log_bin = 0',
            `grant all on *.* to ${MONITOR.user}@'%' with grant option`,
          );
        }
        // As somebody has left it who tried to bring it back by hand.
        await lab.db2.execute('reset master', 'set global gtid_slave_pos = ""');
        const { message } = await proxy.admin('CLONE BACKEND db2').then(
          () => assert.fail('it was not refused'),
          (error: Error) => error,
        );
        const way =
          /: (MAINTENANCE ON CLUSTER main); on db2 itself: (.*); then (CLONE BACKEND db2); (MAINTENANCE OFF CLUSTER main)$/.exec(
            message,
          );
        assert.ok(way !== null, message);
        const [, on, sql, clone, off] = way as unknown as [string, string, string, string, string];
        await proxy.admin(on);
        await lab.db2.execute(...sql.split('; '));
        await proxy.admin(clone);
        await proxy.admin(off);
        await untilWell(proxy);
        await lab.db1.query('insert into demo.item values (20)');
        await eventually(async () => {
          assert.deepEqual(await lab.db2.query('select id from demo.item order by id'), [
            { id: 1 },
            { id: 10 },
            { id: 20 },
          ]);
        });
      });

      test(
        'has one follow that was filled from a backup, and knows then who wrote before',
        { skip: isPlugin },
        async () => {
          await proxy.admin('MAINTENANCE ON');
          await lab.db1.execute('set session server_id = 9', 'insert into demo.item values (30)');
          await lab.db1.execute('insert into demo.item values (31)');
          await eventually(async () => {
            const rows = await lab.db2.query('select id from demo.item where id = 31');
            assert.equal(rows.length, 1);
          });
          // What a backup leaves behind: rows, and the place where it was made.
          const [now] = await lab.db1.query('select @@global.gtid_binlog_pos as place');
          await lab.db2.execute('stop slave', 'reset slave all', 'reset master');
          await lab.db2.execute(`set global gtid_slave_pos = '${String(now?.['place'])}'`);
          await proxy.admin('MAINTENANCE OFF');
          await eventually(async () => {
            const [row] = await proxy.admin('REJOIN db2');
            assert.match(String(row?.['detail']), /it has nothing that db1 has not|it follows db1 already/);
          });
          await untilWell(proxy);
          const state = 'select @@global.gtid_binlog_state as state';
          await eventually(async () => {
            assert.deepEqual(await lab.db2.query(state), await lab.db1.query(state));
          });
        },
      );

      test(
        'is refused of a replica that has passed over what it had written itself',
        { skip: isPlugin },
        async () => {
          const [first] = await lab.db2.query('select @@server_id as id');
          // Both have written by now, and both logs say so.
          await proxy.admin('PROMOTE db2');
          await lab.db2.execute('insert into demo.item values (40)');
          await proxy.admin('PROMOTE db1');
          await untilWell(proxy);
          // As a crash leaves it that has taken from db2 what db1 has: pointed at db1 by hand, it skips what bears its number.
          await lab.db1.execute(
            `set session server_id = ${String(first?.['id'])}`,
            'insert into demo.item values (41)',
          );
          await lab.db1.execute('insert into demo.item values (42)');
          await eventually(async () => {
            const rows = await lab.db2.query('select id from demo.item where id > 40');
            assert.deepEqual(rows, [{ id: 42 }]);
          });
          await eventually(async () => {
            const [found] = await proxy.admin('SHOW DIAGNOSES');
            assert.match(String(found?.['diagnosis']), /^ReplicaDiverged$/);
            assert.match(String(found?.['detail']), /db2 lacks .*CLONE BACKEND db2/);
          });
          await assert.rejects(proxy.admin('REJOIN db2'), /it lacks .*never gets it; CLONE BACKEND db2/);
          await assert.rejects(proxy.admin('SWITCHOVER TO db2'), /it lacks /);
          const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db2'");
          assert.match(String(row?.['reason']), /lacks /);
        },
      );
    });
  },
  ['mariadb', 'mysql97'],
);
