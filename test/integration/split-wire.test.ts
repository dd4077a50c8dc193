/**
 * What clients of a split endpoint may send besides one short statement after the other: large ones, pieces,
 * many at once, files, and KILL.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { Command } from '../../src/protocol/constants.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { commandBytes, PLAIN_COMMANDS, socketOf } from '../support/driver-socket.ts';
import { eventually } from '../support/eventually.ts';
import { WireClient, WireFlag } from '../support/wire-client.ts';

const MEGABYTE = 1024 * 1024;

forEachFlavour((flavour) => {
  describe(`what clients send to a split endpoint before ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let direct: Connection;
    const opened: Connection[] = [];

    before(async () => {
      lab = await startPair({
        flavour,
        serverOptions: [
          '--max-allowed-packet=64M',
          '--local-infile=1',
          // A value may be as large as a tenth of the log there.
          ...(flavour === 'mysql56' ? ['--innodb-log-file-size=256M'] : []),
        ],
      });
      direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT });
      await direct.query('create table big (id int auto_increment primary key, v longblob) engine = innodb');
      await direct.query('create table entries (a int primary key, b varchar(20)) engine = innodb');
      const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
      await eventually(() => replica.query('select * from entries'));
      proxy = await lab.startProxy({
        workers: 1,
        config: { 'listener split': { pool: 'transaction', causal_reads: 'session' } },
      });
    });
    after(() => lab?.stop());
    afterEach(() => {
      for (const connection of opened.splice(0)) connection.destroy();
      assert.deepEqual(
        proxy.log.filter(({ event }) => event === 'session.defect'),
        [],
      );
    });

    async function open(options: ConnectionOptions = {}): Promise<Connection> {
      const connection = await proxy.connect('split', options);
      opened.push(connection);
      return connection;
    }

    async function one(connection: Connection, sql: string, values?: unknown[]): Promise<RowDataPacket> {
      const [rows] = await connection.query<RowDataPacket[]>(sql, values);
      return rows[0]!;
    }

    for (const megabytes of [0.9, 1.5, 17]) {
      it(`takes statements of ${megabytes} MB, as text and prepared, and answers as large`, async () => {
        const connection = await open();
        const length = Math.floor(megabytes * MEGABYTE);
        const text = 'x'.repeat(length);
        assert.deepEqual(await one(connection, `select length('${text}') as n, 1 as one`), {
          n: length,
          one: 1,
        });
        const [inserted] = await connection.query<ResultSetHeader>(`insert into big (v) values ('${text}')`);
        const [again] = await connection.execute<ResultSetHeader>('insert into big (v) values (?)', [text]);
        for (const id of [inserted.insertId, again.insertId]) {
          assert.deepEqual(await one(connection, `select length(v) as n from big where id = ${id}`), {
            n: length,
          });
          const row = await one(connection, `select v from big where id = ${id}`);
          assert.ok(Buffer.from(text).equals(row['v'] as Buffer));
        }
        assert.deepEqual(await one(connection, 'select 2 as two'), { two: 2 });
      });
    }

    it('sends a local file', async () => {
      const connection = await open();
      const rows = Array.from({ length: 50_000 }, (_, a) => `${a}\tline ${a}`).join('\n');
      await connection.query({
        sql: "load data local infile 'lines' into table entries",
        infileStreamFactory: () => Readable.from([Buffer.from(`${rows}\n`)]),
      } as never);
      assert.equal((await one(connection, 'select count(*) as n from entries'))['n'], 50_000);
      assert.equal((await one(connection, 'select b from entries where a = 4711'))['b'], 'line 4711');
    });

    it('answers in order what a client sends at once, of every kind', async () => {
      const texts = [
        'select 1',
        'insert into big (v) values (1)',
        'begin',
        'select 2',
        'rollback',
        'select 3',
        'set @a = 4',
        'select @a',
      ];
      const bytes = texts.map((text) => commandBytes(Command.QUERY, text));
      const connection = await open(PLAIN_COMMANDS);
      const socket = socketOf(connection);
      const received: Buffer[] = [];
      socket.removeAllListeners('data');
      socket.on('data', (chunk: Buffer) => received.push(chunk));
      socket.write(Buffer.concat(bytes));
      const values = (): string[] =>
        [
          ...Buffer.concat(received)
            .toString('latin1')
            .matchAll(/\x02\0\0.\x01([1-4])/gs),
        ].map(([, digit]) => digit!);
      await eventually(() => assert.deepEqual(values(), ['1', '2', '3', '4']));
    });

    it('takes commands in pieces, cut anywhere', async () => {
      const connection = await open(PLAIN_COMMANDS);
      const socket = socketOf(connection);
      socket.setNoDelay(true);
      const received: Buffer[] = [];
      socket.removeAllListeners('data');
      socket.on('data', (chunk: Buffer) => received.push(chunk));
      const count = (): number =>
        [
          ...Buffer.concat(received)
            .toString('latin1')
            .matchAll(/piece of \d+!/g),
        ].length;
      let expected = 0;
      for (const text of [
        "select concat('piece of ', 1, '!')",
        "select concat('piece of ', 2, '!') from entries limit 1",
      ]) {
        const bytes = commandBytes(Command.QUERY, text);
        for (let cut = 1; cut < bytes.length; cut++) {
          socket.write(bytes.subarray(0, cut));
          // The first piece has left this process, and the proxy's turn comes before the next one.
          await proxy.get('/health');
          socket.write(bytes.subarray(cut));
          expected++;
          await eventually(() => assert.equal(count(), expected));
        }
      }
    });

    it('ends another session of the same user by KILL, at rest and in a read, and its own', async () => {
      const killer = await open();
      const resting = await open();
      await resting.query('select 1');
      await killer.query(`kill ${resting.threadId}`);
      await assert.rejects(resting.query('select 1'));

      const reading = await open();
      const slow = assert.rejects(reading.query('select sleep(30) from entries limit 1'));
      await isRunning('sleep(30)');
      await killer.query(`kill ${reading.threadId}`);
      await slow;
      await isGone('sleep(30)');

      const inTransaction = await open();
      await inTransaction.beginTransaction();
      await inTransaction.query('insert into entries values (-1, "mine")');
      await killer.query(`kill ${inTransaction.threadId}`);
      await assert.rejects(inTransaction.query('select 1'));
      await eventually(async () =>
        assert.equal((await one(direct, 'select count(*) as n from entries where a = -1'))['n'], 0),
      );
      await assert.rejects(killer.query(`kill ${killer.threadId}`));
    });

    it('ends a running read by KILL QUERY, and its session goes on', async () => {
      const [killer, reading] = [await open(), await open()];
      for (const sql of [
        'select sleep(31), count(*) from entries',
        'select sleep(31) from entries for update',
      ]) {
        const slow = reading.query<RowDataPacket[]>(sql).then(
          ([rows]) => rows,
          (error: { errno: number }) => error.errno,
        );
        await isRunning('sleep(31)');
        await killer.query(`kill query ${reading.threadId}`);
        const outcome = await slow;
        // Servers end a SLEEP that is killed with 1 or with an error.
        if (typeof outcome === 'number') assert.equal(outcome, 1317);
        assert.deepEqual(await one(reading, 'select 5 as five'), { five: 5 });
      }
    });

    it('refuses to end the session of another user, at rest and in a read', async () => {
      const theirs = await open({ ...ADMIN_ACCOUNT });
      const mine = await open();
      await theirs.query('select 1');
      await assert.rejects(mine.query(`kill ${theirs.threadId}`), { errno: 1095 });
      const slow = theirs.query('select sleep(2), 1 from entries limit 1');
      await isRunning('sleep(2)');
      await assert.rejects(mine.query(`kill ${theirs.threadId}`), { errno: 1095 });
      await assert.rejects(mine.query(`kill query ${theirs.threadId}`), { errno: 1095 });
      await slow;
      assert.deepEqual(await one(theirs, 'select 1 as one'), { one: 1 });
      await assert.rejects(mine.query('kill 1999999999'), { errno: 1094 });
    });

    it('follows a client that goes away in the middle of a large statement', async () => {
      for (const megabytes of [0.5, 3]) {
        const connection = await proxy.connect('split', PLAIN_COMMANDS);
        const header = Buffer.alloc(5);
        header.writeUIntLE(megabytes * MEGABYTE + 1, 0, 3);
        header[4] = Command.QUERY;
        const socket = socketOf(connection);
        socket.write(
          Buffer.concat([header, Buffer.from('insert into entries values (-3, "'), Buffer.alloc(100_000)]),
        );
        await proxy.get('/health');
        const closed = once(socket, 'close');
        socket.destroy();
        await closed;
      }
      const connection = await open();
      assert.equal(
        (await one(connection, 'select count(*) as n from entries where a = -3 for update'))['n'],
        0,
      );
      await eventually(async () => {
        const pools = await proxy.admin('SHOW POOLS');
        assert.equal(
          pools.reduce((sum, row) => sum + Number(row['used']), 0),
          0,
        );
      });
    });

    it('answers several statements in one packet where they belong', async () => {
      const client = await WireClient.connect({
        port: proxy.ports.split,
        database: 'demo',
        capabilities: WireFlag.MULTI_STATEMENTS | WireFlag.MULTI_RESULTS,
      });
      const answer = await client.query(
        'insert into big (v) values (9); select row_count() as n; select 7 as seven',
      );
      assert.deepEqual(
        answer.filter(({ kind }) => kind === 'error'),
        [],
      );
      assert.ok(answer.length > 3);
      client.destroy();
    });

    async function running(text: string): Promise<number> {
      let count = 0;
      for (const server of [lab.db1, lab.db2]) {
        const rows = await server.query(
          `select id from information_schema.processlist where info like '%${text}%' and info not like '%processlist%'`,
        );
        count += rows.length;
      }
      return count;
    }
    const isRunning = (text: string): Promise<void> =>
      eventually(async () => assert.ok((await running(text)) > 0));
    const isGone = (text: string): Promise<void> =>
      eventually(async () => assert.equal(await running(text), 0));
  });
});
