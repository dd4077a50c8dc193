/**
 * A replica, or a tool that reads the binary log, may follow the write endpoint: it gets the primary's
 * events straight through, and a semi-synchronous one acknowledges them the same way.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

forEachFlavour((flavour, words) => {
  describe(`a replica behind the write endpoint on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour, serverOptions: ['--max-allowed-packet=64M'] });
      proxy = await lab.startProxy({ workers: 1 });
      const { user, password } = PAIR_ACCOUNTS.replication;
      await lab.db2.query(words.stopReplica);
      // MySQL 9 insists on TLS unless it is told otherwise.
      const plain = flavour === 'mysql97' ? ', source_ssl = 0' : '';
      await lab.db2.query(words.follow(proxy.ports.write, user, password) + plain);
      await lab.db2.query(words.startReplica);
    });
    after(() => lab?.stop());

    async function status(name: string): Promise<number> {
      const rows = await lab.db1.query(`show global status like '${name}'`);
      return Number(rows[0]?.Value);
    }

    async function rowsOnReplica(condition = 'true'): Promise<number> {
      const sql = `select count(*) as n from demo.followed where ${condition}`;
      const [row] = await lab.db2.query(sql).catch(() => [{ n: 0 }]);
      return Number(row!.n);
    }

    it('gets every transaction, in pieces of every size', async () => {
      const writer = await proxy.connect('write');
      // The redo log of the lab's MySQL 5.6 is too small for large values.
      const engine = flavour === 'mysql56' ? 'engine = myisam' : '';
      await writer.query(`create table followed (id int primary key, body longblob) ${engine}`);
      const sizes = [0, 1, 1000, 70_000, 1_000_000, 17_000_000];
      for (const [id, size] of sizes.entries()) {
        await writer.query("insert into followed values (?, repeat('x', ?))", [id, size]);
      }
      await eventually(async () => assert.equal(await rowsOnReplica(), sizes.length), 20_000);
      const direct = await lab.connect(lab.db2, ADMIN_ACCOUNT);
      const [rows] = await direct.query<RowDataPacket[]>(
        'select length(body) as n from followed order by id',
      );
      assert.deepEqual(
        rows.map((row) => Number(row.n)),
        sizes,
      );
    });

    it('acknowledges what it got, when it is semi-synchronous', async () => {
      if (words.semiSync === null) return; // this server has no such plugin
      // No commit goes on without an answer, on a machine that is slow to give it.
      const patience = words.semiSync.primary.replace(/enabled$/, 'timeout');
      await lab.db1.query(`set global ${patience} = 20000`);
      await lab.db1.query(`set global ${words.semiSync.primary} = 1`);
      await lab.db2.query(`set global ${words.semiSync.replica} = 1`);
      await lab.db2.query(words.stopReplica);
      await lab.db2.query(words.startReplica);
      await eventually(async () => assert.equal(await status(words.semiSync!.clients), 1), 20_000);
      const acknowledged = words.semiSync.clients.replace(/clients$/, 'yes_tx');
      const before = await status(acknowledged);
      const writer = await proxy.connect('write');
      for (let id = 100; id < 120; id++) await writer.query('insert into followed values (?, null)', [id]);
      assert.equal((await status(acknowledged)) - before, 20);
    });

    it('follows again after its session was killed', async () => {
      const dumps = (await proxy.admin('SHOW SESSIONS')).filter(
        ({ user }) => user === PAIR_ACCOUNTS.replication.user,
      );
      assert.equal(dumps.length, 1);
      await proxy.admin(`KILL ${String(dumps[0]!.id)}`);
      const writer = await proxy.connect('write');
      await writer.query('insert into followed values (1000, null)');
      await eventually(async () => assert.equal(await rowsOnReplica('id = 1000'), 1), 20_000);
    });

    it(
      'a tool reads the log up to its end, and leaves',
      { skip: flavour !== 'mariadb' && 'the tool at hand is MariaDB’s' },
      async () => {
        const { user, password } = PAIR_ACCOUNTS.replication;
        const [log] = await lab.db1.query('show binary logs');
        const place = ['-h127.0.0.1', `-P${proxy.ports.write}`, `-u${user}`, `-p${password}`];
        const tool = spawnSync(
          'mariadb-binlog',
          [
            '--no-defaults',
            ...place,
            '--read-from-remote-server',
            '--to-last-log',
            '--base64-output=never',
            '-v',
            String(log!.Log_name),
          ],
          { encoding: 'utf8', maxBuffer: 200_000_000 },
        );
        assert.equal(tool.status, 0, tool.stderr);
        assert.match(tool.stdout, /create table followed/);
        assert.match(tool.stdout, /ROLLBACK|End of log file/);
      },
    );
  });
});
