/**
 * Many sessions over few connections (pool = transaction): each finds its own settings, statements and ids,
 * whoever used the connection before it.
 */
import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const SESSIONS = 50;
const MAX_CONNECTIONS = 3;
const ROUNDS = 8;

/** Settings by the number of a session; some are shared by several, as in life. */
const MODES = ['', 'ANSI_QUOTES', 'NO_BACKSLASH_ESCAPES', 'PIPES_AS_CONCAT,ANSI_QUOTES'];
const NAMES = ['utf8mb4', 'latin1', 'utf8'];
const DATABASES = ['demo', 'other'];

forEachFlavour((flavour) => {
  describe(`${SESSIONS} sessions over ${MAX_CONNECTIONS} connections to ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let direct: Connection;
    const opened: Connection[] = [];

    before(async () => {
      lab = await startPair({ flavour });
      direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, multipleStatements: true });
      await direct.query(`
        create database other;
        grant all privileges on other.* to app@'%';
        create table ids (id int auto_increment primary key, owner int, n int) engine = innodb;
        create table here (name varchar(10)) engine = innodb;
        insert into here values ('demo');
        create table other.here (name varchar(10)) engine = innodb;
        insert into other.here values ('other');`);
      proxy = await lab.startProxy({
        workers: 2,
        config: {
          'backend db1': { max_connections: MAX_CONNECTIONS },
          'backend db2': { max_connections: MAX_CONNECTIONS },
          'listener split': { pool: 'transaction', statement_cache: 2, causal_reads: 'session' },
        },
      });
      await eventually(async () => {
        const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
        await replica.query('select * from other.here, ids').finally(() => replica.destroy());
      });
    });
    after(() => lab?.stop());
    afterEach(async () => {
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

    /** Runs the same for each session, all at once. */
    async function forAll(run: (session: number, connection: Connection) => Promise<void>): Promise<void> {
      const sessions = Array.from({ length: SESSIONS }, (_, session) => session);
      await Promise.all(sessions.map(async (session) => run(session, await open())));
    }

    async function connectionsOnServers(): Promise<number> {
      const backends = await proxy.admin('SHOW BACKENDS');
      const numbers = backends.map(
        (row) => Number(row['connections_used']) + Number(row['connections_idle']),
      );
      return Math.max(...numbers);
    }

    it('gives each session its own settings, database and variables, and no more connections than allowed', async () => {
      await forAll(async (session, connection) => {
        const mode = MODES[session % MODES.length]!;
        const names = NAMES[session % NAMES.length]!;
        const database = DATABASES[session % DATABASES.length]!;
        await connection.query(`set names ${names}`);
        await connection.query(
          `set sql_mode = '${mode}', @mine = ${session}, time_zone = '+0${session % 9}:00'`,
        );
        await connection.query(`use ${database}`);
        for (let round = 0; round < ROUNDS; round++) {
          const where = round % 2 === 0 ? '/* dbproxy: replica */' : '/* dbproxy: primary */';
          const seen = await one(
            connection,
            `select ${where} @mine as mine, @@sql_mode as mode, @@character_set_client as cs, database() as d,
             @@time_zone as zone, name from here`,
          );
          assert.deepEqual(
            { ...seen, mode: String(seen['mode']).split(',').includes('ANSI_QUOTES') },
            {
              mine: session,
              mode: mode.includes('ANSI_QUOTES'),
              cs: flavour === 'mysql56' || names !== 'utf8' ? names : 'utf8mb3',
              d: database,
              zone: `+0${session % 9}:00`,
              name: database,
            },
          );
          // What quotes mean depends on the mode: so that a wrong one is seen by what comes back, too.
          const quoted = await one(connection, 'select "name" as q from here');
          assert.equal(quoted['q'], mode.includes('ANSI_QUOTES') ? database : 'name');
          await connection.query(`set @mine = ${session}`);
        }
        assert.ok((await connectionsOnServers()) <= MAX_CONNECTIONS);
      });
    });

    it('shows no session what another one has set', async () => {
      const loud = await open();
      await loud.query("set @theirs = 1, sql_mode = 'ANSI', names latin1");
      await loud.query('select 1');
      await forAll(async (_session, connection) => {
        const seen = await one(
          connection,
          "select /* dbproxy: replica */ @theirs as v, @@sql_mode like '%ANSI%' as ansi, @@character_set_client as cs",
        );
        assert.deepEqual(seen, { v: null, ansi: 0, cs: 'utf8mb4' });
      });
    });

    it('executes the prepared statements of every session wherever they run', async () => {
      await forAll(async (session, connection) => {
        for (let round = 0; round < ROUNDS; round++) {
          const [sum] = await connection.execute<RowDataPacket[]>(
            `select ? + ${session % 5} as sum, ? as text`,
            [round, `text ${session}`],
          );
          assert.deepEqual(sum[0], { sum: round + (session % 5), text: `text ${session}` });
          const [inserted] = await connection.execute<ResultSetHeader>(
            'insert into ids (owner, n) values (?, ?)',
            [session, round],
          );
          const [mine] = await connection.execute<RowDataPacket[]>(
            'select id, owner, n from ids where owner = ? and n = ? order by id desc limit 1',
            [session, round],
          );
          assert.deepEqual(mine[0], { id: inserted.insertId, owner: session, n: round });
        }
      });
    });

    it('executes a statement as it was prepared, though its session has changed since', async () => {
      // MySQL may have read the text again at the first execution: then dbproxy says that it cannot.
      let executed = 0;
      const orPreparedBefore = async <T>(round: number, execute: () => Promise<T>): Promise<T | null> => {
        try {
          const found = await execute();
          executed++;
          return found;
        } catch (error) {
          const mayBeRefused = flavour !== 'mariadb' && round > 0;
          if (mayBeRefused && (error as { errno: number }).errno === 1615) return null;
          throw error;
        }
      };
      await forAll(async (session, connection) => {
        const database = DATABASES[session % 2]!;
        const other = DATABASES[(session + 1) % 2]!;
        await connection.query(`use ${database}`);
        await connection.query(`set sql_mode = '${session % 3 === 0 ? 'ANSI_QUOTES' : ''}'`);
        const statement = await connection.prepare(
          `select name, "name" as quoted, concat(?, '') as n from here`,
        );
        const quoted = session % 3 === 0 ? database : 'name';
        for (let round = 0; round < 4; round++) {
          const rows = await orPreparedBefore(round, async () => {
            const [found] = (await statement.execute([String(round)])) as [RowDataPacket[], unknown];
            return found;
          });
          if (rows !== null) assert.deepEqual(rows[0], { name: database, quoted, n: String(round) });
          await connection.query(`use ${round % 2 === 0 ? other : database}`);
          await connection.query(`set sql_mode = '${round % 2 === 0 ? 'PIPES_AS_CONCAT' : 'ANSI_QUOTES'}'`);
        }
        await statement.close();
      });
      assert.ok(
        executed >= (flavour === 'mariadb' ? 4 * SESSIONS : SESSIONS),
        `only ${executed} were executed`,
      );
    });

    it('keeps READ ONLY, isolation and autocommit to the session that has set them', async () => {
      await forAll(async (session, connection) => {
        const isReadOnly = session % 3 === 0;
        const hasAutocommit = session % 5 !== 0;
        // Reads of a serializable transaction lock what they scan, so two of them can deadlock at any server;
        // with autocommit they lock nothing.
        const isolation = hasAutocommit && session % 2 === 0 ? 'serializable' : 'read committed';
        await connection.query(`set session transaction read ${isReadOnly ? 'only' : 'write'}`);
        await connection.query(`set session transaction isolation level ${isolation}`);
        if (!hasAutocommit) await connection.query('set autocommit = 0');
        for (let round = 0; round < 4; round++) {
          const inserting = connection.query(`insert into ids (owner, n) values (${session}, 77)`);
          if (isReadOnly) await assert.rejects(inserting, { errno: 1792 });
          else await inserting;
          const found = await one(
            connection,
            `select count(*) as n from ids where owner = ${session} and n = 77`,
          );
          assert.equal(found['n'], isReadOnly ? 0 : round + 1);
          const kept = await one(
            connection,
            "show session variables where variable_name in ('tx_isolation', 'transaction_isolation')",
          );
          assert.equal(String(kept['Value']).replace('-', ' ').toLowerCase(), isolation);
          if (!hasAutocommit) await connection.query(round === 3 ? 'rollback' : 'select 1');
        }
      });
      const [rows] = await direct.query<RowDataPacket[]>(
        'select count(*) as n from ids where n = 77 and owner % 5 = 0',
      );
      assert.equal(rows[0]!['n'], 0);
    });

    it('answers LAST_INSERT_ID() of each session, right after the inserts of others', async () => {
      await forAll(async (session, connection) => {
        for (let round = 0; round < ROUNDS; round++) {
          const [inserted] = await connection.query<ResultSetHeader>(
            `insert into ids (owner, n) values (${session}, ${round})`,
          );
          const seen = await one(connection, 'select last_insert_id() as id');
          assert.equal(seen['id'], inserted.insertId);
          await connection.query('select 1');
          const row = await one(connection, 'select owner, n from ids where id = last_insert_id()');
          assert.deepEqual(row, { owner: session, n: round });
          assert.equal((await one(connection, 'select @@identity as id'))['id'], inserted.insertId);
        }
      });
    });

    it('answers ROW_COUNT(), FOUND_ROWS() and SHOW WARNINGS right, or says that it cannot', async () => {
      let answered = 0;
      const orGone = async (connection: Connection, sql: string): Promise<unknown> => {
        try {
          const [rows] = await connection.query<RowDataPacket[]>(sql);
          answered++;
          return rows[0]?.['n'] ?? rows[0]?.['Code'];
        } catch (error) {
          assert.equal((error as { errno: number }).errno, 1235, String(error));
          assert.match(String(error), /belongs to the statement before/);
          return 'gone';
        }
      };
      await forAll(async (session, connection) => {
        for (let round = 0; round < 4; round++) {
          const count = 1 + ((session + round) % 4);
          const values = Array.from({ length: count }, () => `(${session}, ${round})`).join(', ');
          await connection.query(`insert into ids (owner, n) values ${values}`);
          const rowCount = await orGone(connection, 'select row_count() as n');
          assert.ok(
            rowCount === count || rowCount === 'gone',
            `ROW_COUNT() ${String(rowCount)} for ${count}`,
          );

          const wanted = 3 + ((session * 7 + round) % 20);
          await connection.query(
            `select sql_calc_found_rows x.n from (${series(wanted)}) as x order by x.n limit 1`,
          );
          const found = await orGone(connection, 'select found_rows() as n');
          assert.ok(found === wanted || found === 'gone', `FOUND_ROWS() ${String(found)} for ${wanted}`);

          const code = session % 2 === 0 ? 1365 : 1292;
          await connection.query(session % 2 === 0 ? 'select 1/0' : "select cast('12x' as signed)");
          const warning = await orGone(connection, 'show warnings');
          // Not every sql_mode warns of a division by zero.
          const isRight = warning === code || warning === 'gone' || (code === 1365 && warning === undefined);
          assert.ok(isRight, `SHOW WARNINGS ${String(warning)} for ${code}`);
        }
      });
      assert.ok(answered > SESSIONS, `only ${answered} were answered`);
    });

    it('shows no session the warnings of another', async () => {
      const [loud, quiet] = [await open(), await open()];
      for (let round = 0; round < 20; round++) {
        await loud.query("select cast('12x' as signed)");
        await quiet.query('select 1');
        const [warnings] = await quiet.query<RowDataPacket[]>('show warnings');
        assert.deepEqual(warnings, []);
      }
    });

    it('keeps transactions of many sessions apart', async () => {
      await direct.query('create table balance (id int primary key, n int) engine = innodb');
      await direct.query('insert into balance values (1, 0)');
      await forAll(async (_session, connection) => {
        for (let round = 0; round < 4; round++) {
          await connection.beginTransaction();
          const { n } = (await one(connection, 'select n from balance where id = 1 for update')) as {
            n: number;
          };
          await connection.query('update balance set n = ? where id = 1', [n + 1]);
          assert.equal((await one(connection, 'select n from balance where id = 1'))['n'], n + 1);
          if (round % 2 === 0) await connection.commit();
          else await connection.rollback();
        }
      });
      assert.equal((await one(direct, 'select n from balance'))['n'], SESSIONS * 2);
    });

    it('serves sessions that come and go', async () => {
      await Promise.all(
        Array.from({ length: SESSIONS }, async (_, session) => {
          for (let round = 0; round < 3; round++) {
            const connection = await proxy.connect('split');
            await connection.query(`set @mine = ${session}`);
            assert.equal((await one(connection, 'select @mine as mine'))['mine'], session);
            await connection.beginTransaction();
            await connection.query('insert into ids (owner, n) values (-1, 0)');
            // In the middle of its transaction, which must not become another's.
            connection.destroy();
          }
        }),
      );
      const after = await open();
      await eventually(async () => {
        assert.equal((await one(after, 'select count(*) as n from ids where owner = -1 for update'))['n'], 0);
      });
    });

    it('has a session that does not read its result keep no connection but its own', async () => {
      const slow = await open();
      const stream = (slow as unknown as { connection: StreamingConnection }).connection
        .query("select repeat('x', 100000) from information_schema.columns limit 300")
        .stream({ highWaterMark: 1 });
      stream.pause();
      await forAll(async (session, connection) => {
        assert.equal((await one(connection, `select ${session} as n`))['n'], session);
        await connection.query(`insert into ids (owner, n) values (${session}, 9)`);
      });
      let rows = 0;
      for await (const row of stream) rows += Number((row as object) !== null);
      assert.equal(rows, 300);
    });
  });
});

/** What the driver's connection can that its promises hide. */
interface StreamingConnection {
  query(sql: string): { stream(options: { highWaterMark: number }): Readable };
}

/** A subquery with the numbers 1 to `count`. */
function series(count: number): string {
  return Array.from({ length: count }, (_, index) => `select ${index + 1} as n`).join(' union all ');
}
