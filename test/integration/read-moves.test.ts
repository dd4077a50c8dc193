/**
 * Sessions of a read endpoint that keep one connection leave a replica that may not read any more, with all that they
 * are set to, and come back; an open transaction ends first, and who has something there that is nowhere else stays.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { backendRow } from '../support/failovers.ts';

async function valueOf(connection: Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return Object.values(rows[0]!)[0];
}

const serverOf = async (connection: Connection): Promise<number> =>
  Number(await valueOf(connection, 'select @@server_id'));

forEachFlavour((flavour, words) => {
  suite(`a replica that stops being readable on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      await lab.db1.query('create table demo.seen (a int primary key)');
      await lab.db1.query('insert into demo.seen values (1)');
      await lab.db1.query('create database other');
      proxy = await lab.startProxy();
      await untilReadable('yes');
    });
    after(() => lab?.stop());

    async function untilReadable(readable: string): Promise<void> {
      await eventually(
        async () => assert.equal((await backendRow(proxy, 'db2'))?.['readable'], readable),
        20_000,
      );
    }

    test('is left by all that may leave it, with what they are set to, and they come back', async () => {
      const [idle, prepared, open, locked] = (await Promise.all(
        Array.from({ length: 4 }, () => proxy.connect('read', ADMIN_ACCOUNT)),
      )) as [Connection, Connection, Connection, Connection];
      const home = await serverOf(idle);
      await idle.query('use other');
      await idle.query("set @mine = 'my own', time_zone = '+03:00'");
      const sum = await prepared.prepare('select a + ? as sum, @@server_id as server from demo.seen');
      await sum.execute([1]);
      await open.query('start transaction');
      assert.equal(await serverOf(open), home);
      assert.equal(Number(await valueOf(locked, "select get_lock('mine', 0)")), 1);

      await lab.db2.query(words.stopReplica);
      await untilReadable('no');
      await eventually(async () => assert.notEqual(await serverOf(idle), home));
      assert.equal(await valueOf(idle, 'select @mine'), 'my own');
      assert.equal(await valueOf(idle, 'select @@time_zone'), '+03:00');
      assert.equal(await valueOf(idle, 'select database()'), 'other');
      await eventually(async () => {
        const [rows] = await sum.execute([41]);
        const [row] = rows as RowDataPacket[];
        assert.equal(Number(row!['sum']), 42);
        assert.notEqual(Number(row!['server']), home);
      });
      // Reads only, wherever it is.
      await assert.rejects(idle.query('insert into demo.seen values (2)'), { errno: 1792 });
      assert.equal(await serverOf(open), home, 'a transaction ends where it began');
      await open.query('commit');
      await eventually(async () => assert.notEqual(await serverOf(open), home));
      assert.equal(await serverOf(locked), home, 'its lock is nowhere else');

      await lab.db2.query(words.startReplica);
      await untilReadable('yes');
      for (const connection of [idle, prepared, open])
        await eventually(async () => assert.equal(await serverOf(connection), home));
      assert.equal(await valueOf(idle, 'select @mine'), 'my own');
      for (const connection of [idle, prepared, open, locked]) connection.destroy();
    });
  });
});
