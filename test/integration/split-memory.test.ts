/**
 * What only one connection knows, and what would keep a session where it cannot stay: questions after the
 * statement before, and READ ONLY transactions on a replica. A question is answered right or refused, and the
 * session can write afterwards.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { Command } from '../../src/protocol/constants.ts';
import { pinsOf } from '../support/explained-session.ts';
import { eventually } from '../support/eventually.ts';
import { WireClient } from '../support/wire-client.ts';

const GONE = { errno: 1235 };

forEachFlavour(
  (flavour) => {
    describe(`what only one connection to ${flavour} knows`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      const opened: Connection[] = [];

      before(async () => {
        lab = await startPair({ flavour });
        const direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, multipleStatements: true });
        await direct.query(`
          create table seven (id int primary key) engine = innodb;
          insert into seven values (1), (2), (3), (4), (5), (6), (7);
          create table written (id int auto_increment primary key, n int) engine = innodb;`);
        proxy = await lab.startProxy({
          workers: 1,
          config: {
            'backend db2': { max_connections: 1 },
            'listener split': { pool: 'transaction', causal_reads: 'session' },
          },
        });
        await eventually(async () => {
          const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
          await replica.query('select * from seven, written').finally(() => replica.destroy());
        });
      });
      after(() => lab?.stop());
      afterEach(async () => {
        for (const connection of opened.splice(0)) connection.destroy();
        const faults = proxy.log.filter(
          ({ event }) => event === 'session.defect' || event === 'worker.exited',
        );
        assert.deepEqual(faults, []);
      });

      async function open(): Promise<Connection> {
        const connection = await proxy.connect('split', { multipleStatements: true });
        opened.push(connection);
        return connection;
      }

      async function rows(connection: Connection, sql: string): Promise<RowDataPacket[]> {
        return (await connection.query<RowDataPacket[]>(sql))[0];
      }

      async function canWrite(connection: Connection): Promise<void> {
        await connection.query('insert into written (n) values (1)');
        assert.deepEqual(await pinsOf(proxy, 'split'), []);
      }

      for (const question of [
        'select found_rows() into @x',
        "select found_rows(), get_lock('q', 0)",
        "prepare p from 'select found_rows()'",
      ]) {
        it(`is not asked of a replica by what leaves something behind: ${question}`, async () => {
          const connection = await open();
          assert.equal((await rows(connection, 'select * from seven')).length, 7);
          await assert.rejects(connection.query(question), GONE);
          await canWrite(connection);
          const other = await open();
          const [row] = await rows(other, "select is_free_lock('q') as is_free");
          assert.equal(row!['is_free'], 1);
        });
      }

      it('is asked at home where there is nothing to ask after', async () => {
        const connection = await open();
        await rows(connection, 'select * from seven');
        await connection.query('get diagnostics @n = number');
        await connection.query('insert into written (n) values (1)');
        const [row] = await rows(connection, 'select @n as n');
        assert.equal(row!['n'], 0);
      });

      it('is refused when another session has used the connection, whatever came between', async () => {
        const [connection, other] = [await open(), await open()];
        assert.equal((await rows(connection, 'select * from seven')).length, 7);
        assert.equal((await rows(other, 'select * from seven limit 2')).length, 2);
        await connection.prepare('select 1');
        await assert.rejects(connection.query('select found_rows()'), GONE);
      });

      it('is there in one packet, whoever has used the connection before', async () => {
        const connection = await open();
        await connection.query('insert into written (n) values (1)');
        const other = await open();
        await other.query('insert into written (n) values (1), (2), (3)');
        const answers = await rows(
          connection,
          'insert into written (n) values (1), (2); select row_count() as n; select * from seven; select found_rows() as n',
        );
        const [, counted, , found] = answers as unknown as RowDataPacket[][];
        assert.equal(counted![0]!['n'], 2);
        assert.equal(found![0]!['n'], 7);
      });

      it('does not keep it when one of several statements has failed outside of a transaction', async () => {
        const connection = await open();
        await assert.rejects(connection.query('insert into written (n) values (5); select * from nope'), {
          errno: 1146,
        });
        const [warning] = await rows(connection, 'show warnings');
        assert.equal(warning!['Code'], 1146);
        assert.deepEqual(await pinsOf(proxy, 'split'), []);
        await assert.rejects(connection.query('begin; select * from nope'), { errno: 1146 });
        await connection.query('insert into written (n) values (6)');
        await connection.query('rollback');
        assert.deepEqual(await rows(connection, 'select * from written where n = 6'), []);
      });

      it('moves home with a READ ONLY transaction, or is refused after a read: a SET that cannot be said again', async () => {
        const connection = await open();
        await connection.query('start transaction read only');
        await connection.query('set @d = now()');
        await connection.query('commit');
        await connection.query('insert into written (n) values (2)');
        const other = await open();
        await other.query('start transaction read only');
        await rows(other, 'select * from seven');
        await assert.rejects(other.query('set @d = now()'), GONE);
        await other.query('begin');
        await other.query('insert into written (n) values (3)');
        await other.query('commit');
      });

      it('is read back in peace when a KILL comes meanwhile', async () => {
        const victim = await open();
        await victim.query('begin');
        await victim.query('insert into written (n) values (4)');
        const gone = once(victim, 'error');
        const killer = await WireClient.connect({ port: proxy.ports.split, user: 'app', password: 'app' });
        const id = Buffer.alloc(4);
        id.writeUInt32LE(victim.threadId);
        killer.send(Command.QUERY, Buffer.from("set sql_mode = concat(@@sql_mode, ''), @k = 1"));
        killer.send(Command.PROCESS_KILL, id);
        for (const answer of [await killer.readSingle(), await killer.readSingle()]) {
          assert.equal(answer[0]!.kind, 'ok');
        }
        await gone;
        const [answer] = await killer.query('select @k');
        assert.equal(answer!.kind, 'column_count');
        killer.destroy();
      });

      it('is waited for where the server takes fewer connections than dbproxy may open', async () => {
        await lab.db1.execute('set global max_connections = 12');
        try {
          const sessions = await Promise.all(Array.from({ length: 40 }, open));
          await Promise.all(
            sessions.map((connection) => connection.query('/* dbproxy: primary */ select @i, sleep(0.1)')),
          );
        } finally {
          await lab.db1.execute('set global max_connections = 151');
        }
      });

      it('ends a READ ONLY transaction by what commits before it begins, which runs on the primary', async () => {
        const connection = await open();
        await connection.query('start transaction read only');
        await rows(connection, 'select * from seven');
        await connection.query('create table made (id int) engine = innodb');
        await canWrite(connection);
        await connection.query('drop table made');
      });
    });
  },
  ['mariadb', 'mysql97'],
);
