/**
 * A split endpoint on real servers: which server each statement was asked of, as the servers' own logs have it,
 * and that a session finds what it has left behind.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { Witness } from '../support/witness.ts';

const POOLS = ['session', 'transaction'] as const;

/** Words that only a replica's statement needs. */
const ON_REPLICA = '/* dbproxy: replica */';

forEachFlavour((flavour) => {
  for (const pool of POOLS) {
    describe(`a split endpoint with pool = ${pool} on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      let direct: Connection;
      let replica: Connection;
      let witness: Witness;
      const opened: Connection[] = [];

      before(async () => {
        lab = await startPair({ flavour });
        direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, multipleStatements: true });
        replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
        await direct.query(`
          create table t (id int primary key, v varchar(100)) engine = innodb;
          insert into t values (1, 'one'), (2, 'two');
          create table audit (id int auto_increment primary key) engine = innodb;
          create function writing() returns int deterministic modifies sql data
            begin insert into audit values (null); return last_insert_id(); end;
          create function reading() returns int reads sql data return (select count(*) from t);
          create function seven() returns int deterministic no sql return 7;
          create view writes as select writing() as n;`);
        proxy = await lab.startProxy({ workers: 1, config: { 'listener split': { pool } } });
        witness = await Witness.of(lab);
        await caughtUp();
      });
      after(() => lab?.stop());
      afterEach(async () => {
        for (const connection of opened.splice(0)) await connection.end();
      });

      /** The replica has all that was created and inserted. */
      async function caughtUp(): Promise<void> {
        const [rows] = await direct.query<RowDataPacket[]>(
          'select (select count(*) from audit) as a, (select max(id) from t) as t',
        );
        await eventually(async () => {
          const [there] = await replica.query<RowDataPacket[]>(
            'select (select count(*) from audit) as a, (select max(id) from t) as t, seven() as s',
          );
          assert.deepEqual(there[0], { ...rows[0], s: 7 });
        });
      }

      async function open(options: ConnectionOptions = {}): Promise<Connection> {
        const connection = await proxy.connect('split', options);
        opened.push(connection);
        return connection;
      }

      async function one(connection: Connection, sql: string): Promise<RowDataPacket> {
        const [rows] = await connection.query<RowDataPacket[]>(sql);
        return rows[0]!;
      }

      /** Runs a statement and answers which servers were asked it. */
      async function askedOf(connection: Connection, sql: string): Promise<string[]> {
        const mark = witness.mark();
        await connection.query(`${sql} ${mark}`);
        return witness.askedOf(mark);
      }

      const READS = [
        'select 1',
        'select * from t',
        'select count(*) from t where v like "%e%" -- for update',
        'with c as (select 1 as n) select n from c',
        '(select 1) union (select 2)',
        'select upper(v), now(), concat(v, 1) from t',
        'show tables',
        'describe t',
        'explain select * from t',
      ];
      for (const sql of READS.filter((text) => flavour !== 'mysql56' || !text.startsWith('with'))) {
        it(`asks a replica: ${sql}`, async () => {
          // A comment behind `--` would take the mark with it.
          const mark = witness.mark();
          await (await open()).query(`${mark} ${sql}`);
          assert.deepEqual(await witness.askedOf(mark), ['db2']);
        });
      }

      const FOR_PRIMARY = [
        'insert into audit values (null)',
        'select * from t for update',
        'select * from t lock in share mode',
        'select * from (select * from t for update) as d',
        'select last_insert_id()',
        'select @@identity',
        'select writing()',
        'select reading()',
        'select demo.seven()',
        'select @v := 1',
        'select v into @v from t limit 1',
        "select get_lock('a', 0)",
        "select is_used_lock('a')",
        'select @@server_id',
        'select version()',
        'select connection_id()',
        'select * from information_schema.schemata',
        'show processlist',
        'show global status like "Uptime"',
        'do 1',
        'select row_count()',
        'analyze table t',
        'create table if not exists t2 (id int)',
        'call nothing()',
        ...(flavour === 'mysql97'
          ? ['select * from t for share nowait', 'show binary log status']
          : ['show master status']),
        ...(flavour === 'mariadb' ? ['select * from t for update skip locked', 'select nextval(seq)'] : []),
      ];
      for (const sql of FOR_PRIMARY) {
        it(`asks the primary: ${sql}`, async () => {
          if (sql.startsWith('call')) await direct.query('create procedure nothing() begin end');
          if (sql.includes('seq')) await direct.query('create sequence seq');
          // An account that may ask for everything, and write on a read-only server.
          assert.deepEqual(await askedOf(await open({ ...ADMIN_ACCOUNT }), sql), ['db1']);
        });
      }

      const HINTS: readonly (readonly [sql: string, server: string])[] = [
        ['/* dbproxy: primary */ select 1', 'db1'],
        ['select /* dbproxy: primary */ 1', 'db1'],
        ['/* dbproxy: replica */ select @@server_id', 'db2'],
        ['/* dbproxy: replica */ select reading()', 'db2'],
        ['/* dbproxy: replica */ insert into audit values (null)', 'db1'],
        ['/* dbproxy: replica */ select * from t for update', 'db1'],
        ['/*master*/ select 1', 'db1'],
        ['/*#mycat:db_type=master*/ select 1', 'db1'],
        ['/*#mycat:db_type=slave*/ select @@server_id', 'db2'],
        ['select 1 -- maxscale route to master', 'db1'],
        ['/* maxscale route to master */ select 1', 'db1'],
      ];
      for (const [sql, server] of HINTS) {
        it(`hears ${sql}`, async () => {
          const mark = witness.mark();
          // Behind the hint, so that it stands first where it must, and not behind a comment to the end.
          const marked = sql.includes('--') ? sql.replace(' --', ` ${mark} --`) : `${sql} ${mark}`;
          await (await open({ multipleStatements: false })).query(marked);
          assert.deepEqual(await witness.askedOf(mark), [server]);
        });
      }

      it('has a replica prepare and execute reads, and the primary the rest', async () => {
        const connection = await open();
        const mark = witness.mark();
        for (let id = 1; id <= 2; id++) {
          const [rows] = await connection.execute<RowDataPacket[]>(`select v ${mark} from t where id = ?`, [
            id,
          ]);
          assert.equal(rows[0]!['v'], id === 1 ? 'one' : 'two');
        }
        assert.deepEqual(new Set(await witness.askedOf(mark)), new Set(['db2']));
        const other = witness.mark();
        await connection.execute(`insert into audit values (?) ${other}`, [null]);
        assert.deepEqual(await witness.askedOf(other), ['db1']);
      });

      it('has on a replica what the session has set', async () => {
        const connection = await open();
        await connection.query("set sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:30'");
        await connection.query('set names latin1');
        await connection.query("set @a = 5, @`b c` = 'text'");
        await connection.query('set session group_concat_max_len = 5');
        const asked = `select ${ON_REPLICA} @@server_id as server, @@sql_mode as mode, @@time_zone as zone,
          @@character_set_client as client, @@character_set_results as results, @@collation_connection as coll,
          @a as a, @\`b c\` as b, @@group_concat_max_len as len, "id" as id from t limit 1`;
        const sawReplica = await one(connection, asked);
        const sawPrimary = await one(connection, asked.replace(ON_REPLICA, '/* dbproxy: primary */'));
        assert.notEqual(sawReplica['server'], sawPrimary['server']);
        assert.deepEqual({ ...sawReplica, server: 0 }, { ...sawPrimary, server: 0 });
        assert.equal(sawReplica['zone'], '+05:30');
        assert.equal(sawReplica['client'], 'latin1');
        assert.equal(sawReplica['a'], 5);
        assert.equal(sawReplica['b'], 'text');
        assert.equal(sawReplica['len'], 5);
        assert.equal(sawReplica['id'], 1);
        assert.match(String(sawReplica['mode']), /ANSI_QUOTES/);
      });

      it('has on a replica the database that the session has chosen', async () => {
        const connection = await open();
        assert.equal((await one(connection, `select ${ON_REPLICA} database() as d`))['d'], 'demo');
        await connection.query('use information_schema');
        assert.equal(
          (await one(connection, `select ${ON_REPLICA} database() as d`))['d'],
          'information_schema',
        );
        await assert.rejects(connection.query('select v from t'), { errno: 1109 });
        await connection.changeUser({ user: 'app', password: 'app', database: 'demo' });
        assert.equal((await one(connection, `select ${ON_REPLICA} database() as d`))['d'], 'demo');
      });

      it('keeps a session where its temporary table is', async () => {
        const connection = await open();
        await connection.query('create temporary table mine (a int)');
        await connection.query('insert into mine values (7)');
        assert.deepEqual(await askedOf(connection, 'select * from mine'), ['db1']);
        assert.equal((await one(connection, 'select a from mine'))['a'], 7);
        await assert.rejects((await open()).query('select a from mine'), { errno: 1146 });
      });

      it('keeps a session where its unknown user variable, its lock and its prepared text are', async () => {
        const byVariable = await open();
        await byVariable.query('select @x := 3');
        assert.equal((await one(byVariable, 'select @x as x'))['x'], 3);
        const byText = await open();
        await byText.query("prepare p from 'select 5 as five'");
        assert.equal((await one(byText, 'execute p'))['five'], 5);
        const byLock = await open();
        await byLock.query("select get_lock('mine', 1)");
        assert.deepEqual(await askedOf(byLock, 'select 1'), ['db1']);
        const other = await open();
        assert.equal((await one(other, "select get_lock('mine', 0) as got"))['got'], 0);
        await byLock.query("select release_lock('mine')");
        assert.equal((await one(other, "select get_lock('mine', 0) as got"))['got'], 1);
      });

      it('keeps a transaction together, and sees its own writes in it', async () => {
        const connection = await open();
        for (const begin of ['begin', 'start transaction', 'set autocommit = 0']) {
          await connection.query(begin);
          await connection.query("insert into t values (50, 'mine')");
          const mark = witness.mark();
          assert.equal((await one(connection, `select count(*) as n from t where id = 50 ${mark}`))['n'], 1);
          assert.deepEqual(await witness.askedOf(mark), ['db1']);
          await connection.query('rollback');
          await connection.query('set autocommit = 1');
        }
        assert.deepEqual(await askedOf(connection, 'select * from t where id = 50'), ['db2']);
      });

      it('runs a READ ONLY transaction whole on a replica, and refuses a write in it as a server does', async () => {
        const connection = await open();
        const begin = witness.mark();
        await connection.query(`start transaction read only ${begin}`);
        assert.deepEqual(await witness.askedOf(begin), ['db2']);
        assert.deepEqual(await askedOf(connection, 'select * from t'), ['db2']);
        const refused = (error: { errno: number; message: string }): boolean => {
          assert.equal(error.errno, 1792);
          assert.match(error.message, /^Cannot execute statement in a READ ONLY transaction/);
          return true;
        };
        await assert.rejects(connection.query("insert into t values (60, 'no')"), refused);
        await direct.query('start transaction read only');
        await assert.rejects(direct.query("insert into t values (60, 'no')"), refused);
        await direct.query('rollback');
        assert.deepEqual(await askedOf(connection, 'select * from t'), ['db2']);
        await connection.query('commit');
        assert.deepEqual(await askedOf(connection, 'insert into audit values (null)'), ['db1']);
      });

      it('asks the primary again when a replica refuses what a view hides', async () => {
        const [{ n: before }] = (
          await direct.query<RowDataPacket[]>('select count(*) as n from audit')
        )[0] as [RowDataPacket];
        const retriesBefore = await retries('refused');
        const connection = await open();
        await one(connection, 'select n from (select 1 as n) as one');
        // Made behind the back of dbproxy, which knows the views that were there when it asked.
        await direct.query('create or replace view hides as select writing() as n');
        await caughtUp();
        const mark = witness.mark();
        assert.ok(Number((await one(connection, `select n from hides ${mark}`))['n']) > 0);
        assert.deepEqual(await witness.askedOf(mark), ['db1', 'db2']);
        assert.equal((await retries('refused')) - retriesBefore, 1);
        assert.equal((await one(direct, 'select count(*) as n from audit'))['n'], Number(before) + 1);
        await caughtUp();
      });

      it('writes on no replica for an account that may write on a read-only server', async () => {
        const connection = await open({ ...ADMIN_ACCOUNT });
        const before = (await one(direct, 'select count(*) as n from audit'))['n'] as number;
        assert.ok(Number((await one(connection, 'select n from writes'))['n']) > 0);
        assert.equal((await one(direct, 'select count(*) as n from audit'))['n'], before + 1);
        await caughtUp();
      });

      it('asks the primary again when the hidden write is in a prepared statement', async () => {
        const before = (await one(direct, 'select count(*) as n from audit'))['n'] as number;
        const connection = await open();
        await connection.execute('select n + ? as n from writes', [0]);
        await connection.execute('select n + ? as n from writes', [0]);
        assert.equal((await one(direct, 'select count(*) as n from audit'))['n'], before + 2);
        await caughtUp();
      });

      it('answers what is asked after the statement before', async () => {
        const connection = await open();
        const [inserted] = await connection.query<ResultSetHeader>('insert into audit values (null), (null)');
        assert.equal((await one(connection, 'select row_count() as n'))['n'], 2);
        assert.equal((await one(connection, 'select last_insert_id() as id'))['id'], inserted.insertId);
        await connection.query('select sql_calc_found_rows id from t order by id limit 1');
        assert.equal((await one(connection, 'select found_rows() as n'))['n'], 2);
        await connection.query('select 1/0, cast("a" as signed)');
        const [warnings] = await connection.query<RowDataPacket[]>('show warnings');
        assert.ok(
          warnings.some(({ Message }) => /Truncated/.test(String(Message))),
          JSON.stringify(warnings),
        );
        await assert.rejects(connection.query('select nosuch from t'), { errno: 1054 });
        const [errors] = await connection.query<RowDataPacket[]>('show errors');
        assert.equal(errors[0]!['Code'], 1054);
        // Its own statement in between does not take the id away.
        await connection.query('select 1');
        assert.equal((await one(connection, 'select last_insert_id() as id'))['id'], inserted.insertId);
      });

      it('begins anew by COM_RESET_CONNECTION and by COM_CHANGE_USER', async () => {
        const connection = await open();
        const ask = `select ${ON_REPLICA} @a as a, @@sql_mode like '%ANSI%' as ansi, @@autocommit as auto, database() as d`;
        const fresh = { a: null, ansi: 0, auto: 1, d: 'demo' };
        for (const begin of flavour === 'mysql56' ? ['change'] : ['reset', 'change']) {
          await connection.query("set @a = 1, sql_mode = 'ANSI'");
          await connection.query('create temporary table mine (a int)');
          await connection.query('set autocommit = 0');
          if (begin === 'change')
            await connection.changeUser({ user: 'app', password: 'app', database: 'demo' });
          else await connection.reset();
          assert.deepEqual(await one(connection, ask), fresh);
          await assert.rejects(connection.query('select * from mine'), { errno: 1146 });
          assert.deepEqual(await askedOf(connection, 'select 1'), ['db2']);
        }
      });

      it('answers PING with the connections gone', async () => {
        const connection = await open();
        await connection.ping();
        await connection.query('select 1');
        await connection.ping();
        await connection.beginTransaction();
        await connection.ping();
        await connection.rollback();
      });

      async function retries(reason: string): Promise<number> {
        const { text } = await proxy.get('/metrics');
        const line = new RegExp(
          `^dbproxy_read_retries_total\\{listener="split",reason="${reason}"\\} (\\d+)`,
          'm',
        );
        return Number(line.exec(text)?.[1] ?? 0);
      }
    });
  }
});
