/**
 * What applications do, through the write endpoint against a real server: every kind of command, with
 * mysql2, the mariadb command line and PyMySQL.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { Connection, RowDataPacket, ResultSetHeader } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const run = promisify(execFile);

forEachFlavour((flavour, words) => {
  describe(`commands through the write endpoint to ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let connection: Connection;

    before(async () => {
      lab = await startPair({ flavour, serverOptions: ['--max-allowed-packet=128M', '--local-infile=1'] });
      proxy = await lab.startProxy({ workers: 1 });
      connection = await proxy.connect('write', { multipleStatements: true });
      // InnoDB of 5.6 takes no value that is longer than a tenth of its log.
      const engine = flavour === 'mysql56' ? 'myisam' : 'innodb';
      await connection.query(
        `create table t (id int auto_increment primary key, v longtext) engine = ${engine}`,
      );
    });
    after(() => lab?.stop());

    const rows = async (sql: string, values: unknown[] = []): Promise<RowDataPacket[]> => {
      const [answer] = await connection.query<RowDataPacket[]>(sql, values);
      return answer;
    };

    it('reads and writes text statements', async () => {
      const [written] = await connection.query<ResultSetHeader>('insert into t (v) values (?), (?)', [
        'a',
        'b',
      ]);
      assert.equal(written.affectedRows, 2);
      assert.equal(written.insertId, 1);
      assert.deepEqual(
        (await rows('select v from t order by id')).map(({ v }) => v as string),
        ['a', 'b'],
      );
    });

    it('prepares, executes again and closes statements', async () => {
      for (const value of [4, 5]) {
        const [answer] = await connection.execute<RowDataPacket[]>('select ? + 1 as x', [value]);
        assert.equal(Number(answer[0]!.x), value + 1);
      }
      connection.unprepare('select ? + 1 as x');
      assert.equal((await rows('select 1 as one'))[0]!.one, 1);
    });

    it('keeps the results of several statements apart', async () => {
      const [results] = await connection.query<RowDataPacket[][]>(
        'select 1 as a; select 2 as b union select 3; do 1',
      );
      assert.deepEqual(results[0], [{ a: 1 }]);
      assert.deepEqual(results[1], [{ b: 2 }, { b: 3 }]);
      assert.equal(results.length, 3);
    });

    it('passes the results of a procedure and its errors in the middle', async () => {
      await connection.query(
        'create procedure p() begin select 1 as a; select 2 as b; signal sqlstate "45000" set message_text = "enough"; end',
      );
      await assert.rejects(connection.query('call p()'), { sqlState: '45000', message: 'enough' });
      assert.equal((await rows('select 7 as seven'))[0]!.seven, 7);
    });

    it('passes errors with number, state and text as the server gave them', async () => {
      const direct = await lab.connect(lab.db1);
      const wrong = 'select * from nowhere';
      const fields = async (of: Connection): Promise<unknown> => {
        const error = (await of.query(wrong).then(
          () => undefined,
          (e: unknown) => e,
        )) as Record<string, unknown>;
        return [error.errno, error.sqlState, error.sqlMessage];
      };
      assert.deepEqual(await fields(connection), await fields(direct));
    });

    it('loads a local file, and goes on after one that the client refuses to send', async () => {
      await connection.query('truncate t');
      await connection.query({
        sql: "load data local infile 'x' into table t (v)",
        infileStreamFactory: () => Readable.from([Buffer.from('one\ntwo\nthree\n')]),
      });
      assert.equal((await rows('select count(*) as n from t'))[0]!.n, 3);
    });

    it('carries values across the limit of 16 MB a packet, both ways', async () => {
      const bytes = 40 * 1024 * 1024;
      await connection.query('truncate t');
      await connection.query('insert into t (v) values (?)', ['x'.repeat(bytes)]);
      const [row] = await rows('select length(v) as n, v from t');
      assert.equal(row!.n, bytes);
      assert.equal((row!.v as string).length, bytes);
      assert.equal((await rows('select 1 as one'))[0]!.one, 1);
    });

    it('changes the user, the database, and resets the session', async () => {
      const other = await proxy.connect('write');
      await other.query('set @a = 1');
      await other.changeUser({ user: 'root2', password: 'root2', database: 'mysql' });
      const [[who]] = await other.query<RowDataPacket[]>(
        'select current_user() as u, database() as d, @a as a',
      );
      assert.deepEqual(who, { u: 'root2@%', d: 'mysql', a: null });
      await other.query('use demo');
      await other.query('set @a = 2');
      if (!words.resetsConnections) {
        await assert.rejects(other.reset(), { errno: 1047 });
        return;
      }
      await other.reset();
      const [[after2]] = await other.query<RowDataPacket[]>('select database() as d, @a as a');
      assert.deepEqual(after2, { d: 'demo', a: null });
    });

    it('refuses a change to a wrong password, and ends the session or goes on as its server does', async () => {
      const other = await proxy.connect('write');
      await assert.rejects(other.changeUser({ user: 'app', password: 'wrong' }), {
        errno: 1045,
        sqlState: '28000',
      });
      // The driver takes an error of a change of user for the end; what the session does shows on the wire.
      const sessions = `SHOW SESSIONS WHERE id = ${other.threadId}`;
      const remaining = flavour === 'mariadb' ? 1 : 0;
      await eventually(async () => assert.equal((await proxy.admin(sessions)).length, remaining));
    });

    it('answers a ping', async () => {
      await connection.ping();
    });

    it('serves the mariadb command line', async () => {
      const where = ['-h127.0.0.1', `-P${proxy.ports.write}`, '-uapp', '-papp', 'demo'];
      const { stdout } = await run('mariadb', [...where, '-N', '-e', 'select 6*7; \\s']);
      assert.match(stdout, /^42\n/);
      assert.match(stdout, /Current database:\s+demo/);
      assert.ok(/Server version:\s+(\S+)/.exec(stdout)?.[1]?.startsWith(words.version));
    });

    it('serves PyMySQL', async () => {
      const program = [
        'import pymysql',
        `c = pymysql.connect(host="127.0.0.1", port=${proxy.ports.write}, user="app", password="app", database="demo", autocommit=True)`,
        'k = c.cursor(); k.execute("create temporary table z(a int)"); k.executemany("insert into z values (%s)", [(i,) for i in range(10)])',
        'k.execute("select sum(a) from z"); print(k.fetchone()[0]); c.commit(); c.ping(); c.select_db("demo"); c.close()',
      ].join('\n');
      const { stdout } = await run('/usr/bin/python3', ['-c', program]);
      assert.equal(stdout.trim(), '45');
    });
  });
});
