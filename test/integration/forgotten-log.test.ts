/**
 * MariaDB that starts as a semi-synchronous replica after a crash in the first moments of a new binary log does not know any
 * more what is in its log (`src/monitor/log-memory.ts`). It must not take in twice what it has.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { startTopology, type Topology } from '../lab/topology.ts';
import { eventually } from '../support/eventually.ts';
import {
  assertAllThere,
  configWith,
  primaryOf,
  underWriters,
  untilSafe,
  untilWell,
  writeOne,
} from '../support/failovers.ts';

const DURABLE = ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=2'];
/** A recovery begins with the file before as long as the engine has not written its own log to the disk: here for ever. */
const FORGETFUL = 'set global innodb_flush_log_at_timeout = 2700';

/** What comes twice is there twice. */
const KEYLESS = [
  'create table demo.keyless (seq bigint)',
  'create trigger demo.keeps_count after insert on demo.written for each row insert into demo.keyless values (new.seq)',
];

forEachFlavour(
  (flavour) => {
    suite(`a primary on ${flavour} that a crash has made forget its own log`, () => {
      let lab: Topology;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startTopology({
          flavour: 'mariadb',
          names: ['db1', 'db2'],
          serverOptions: { db1: DURABLE, db2: DURABLE },
          follows: [['db2', 'db1']],
          writable: ['db1'],
        });
        await lab.server('db1').execute(CREATE_WRITTEN, ...KEYLESS);
        proxy = await lab.startProxy(configWith());
        await untilSafe(proxy, lab.server('db1'), flavour);
      });
      after(() => lab?.stop());

      const contentOf = async (name: string): Promise<string> =>
        JSON.stringify([
          await lab.server(name).query('select * from demo.written order by seq'),
          await lab
            .server(name)
            .query('select seq, count(*) as times from demo.keyless group by seq order by seq'),
        ]);

      /** The state at the head of its oldest log, and whether there are others. */
      const beginning = async (name: string): Promise<string> => {
        const events = await lab.server(name).query('show binlog events limit 2');
        return String(events[1]?.['Info']);
      };

      async function killRightAfterANewLog(name: string, other: string, first: number): Promise<void> {
        const server = lab.server(name);
        const workload = await underWriters(proxy, first, async () => {
          await server.execute(FORGETFUL, 'flush binary logs');
          await eventually(async () => {
            const [row] = await server.query('show master status');
            assert.ok(Number(row?.['Position']) > 10_000);
          });
          await server.kill();
        });
        assert.equal(await primaryOf(proxy), other);
        await server.start();
        await untilWell(proxy);
        await assertAllThere(lab.server(other), workload);
        await eventually(async () => assert.equal(await contentOf(name), await contentOf(other)));
      }

      test('follows from where it stands, as its log tells: it had forgotten all', async () => {
        await killRightAfterANewLog('db1', 'db2', 1);
        // It has begun its log anew, behind all that it has.
        assert.match(await beginning('db1'), /^\[0-1-\d{2,}/);
      });

      test('the same where it had forgotten the last of it', async () => {
        const db2 = lab.server('db2');
        // From here on a recovery begins with this file, which begins with what it has.
        await db2.execute('flush binary logs');
        await eventually(async () => {
          // At rest the engine may leave that for later.
          await db2.execute('flush no_write_to_binlog engine logs');
          const [row] = await db2.query('show master status');
          const events = await db2.query(`show binlog events in '${String(row?.['File'])}' limit 20`);
          assert.ok(
            events.some(
              ({ Event_type: type, Info: info }) => type === 'Binlog_checkpoint' && info === row?.['File'],
            ),
          );
        });
        await killRightAfterANewLog('db2', 'db1', 100_000);
        assert.match(await beginning('db2'), /0-2-\d{2,}/);
      });

      test('and what nobody else has is found in what it had forgotten', async () => {
        const [db1, db2] = [lab.server('db1'), lab.server('db2')];
        // What triggers have made REJOIN does not undo.
        await db1.execute('drop trigger demo.keeps_count');
        await eventually(async () => assert.deepEqual(await db2.query('show triggers from demo'), []));
        await proxy.admin('MAINTENANCE ON');
        await db2.execute('stop slave');
        await db1.execute('set global rpl_semi_sync_master_enabled = 0', FORGETFUL, 'flush binary logs');
        for (const id of [-1, -2]) await writeOne(proxy, id);
        await db1.kill();
        await eventually(() => proxy.admin('FAILOVER TO db2 FORCE'));
        await proxy.admin('MAINTENANCE OFF');
        await db1.start();
        const lost = await eventually(async () => {
          const rows = await proxy.admin('SHOW LOST TRANSACTIONS db1');
          assert.ok(rows.length > 0);
          return rows.map((row) => JSON.stringify(row)).join();
        });
        assert.match(lost, /written/);
        for (const one of [db1, db2])
          await one.execute(
            'set sql_log_bin = 0',
            `grant binlog admin on *.* to ${PAIR_ACCOUNTS.monitor.user}@'%'`,
          );
        await proxy.admin('REJOIN db1 DISCARD');
        await untilWell(proxy);
        assert.deepEqual(await db1.query('select * from demo.written where id < 0'), []);
        await eventually(async () => assert.equal(await contentOf('db1'), await contentOf('db2')));
      });

      test('one whose log tells nothing is not begun anew, unless somebody says where it stands', async () => {
        const db1 = lab.server('db1');
        const [before] = await db1.query('select @@gtid_slave_pos as place');
        await proxy.admin('MAINTENANCE ON');
        await db1.execute('stop slave', 'reset slave all', 'reset master', "set global gtid_slave_pos = ''");
        await proxy.admin('MAINTENANCE OFF');
        await eventually(async () => {
          const [row] = await proxy.admin("SHOW DIAGNOSES WHERE diagnosis = 'OldPrimaryReturned'");
          assert.match(
            String(row?.['detail']),
            /its binary log tells of nothing that it has.*CLONE BACKEND db1/,
          );
        });
        await assert.rejects(proxy.admin('REJOIN db1'), /its binary log tells of nothing that it has/);
        // Who has been in no cluster gives itself away by what it has.
        await db1.execute('set sql_log_bin = 0', 'drop table dbproxy.epoch');
        await assert.rejects(
          proxy.admin('REJOIN db1'),
          /it says that it has nothing, and has data \(.*\..*\)/,
        );
        await db1.execute(`set global gtid_slave_pos = '${String(before?.['place'])}'`);
        await proxy.admin('REJOIN db1');
        await untilWell(proxy);
        await eventually(async () => assert.equal(await contentOf('db1'), await contentOf('db2')));
      });
    });
  },
  ['mariadb'],
);
