/**
 * pool = transaction on endpoints that split nothing: a write endpoint asks the primary for everything, a read
 * endpoint writes nowhere, and sessions of either stay apart on the connections that they share.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { Endpoint, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { Witness } from '../support/witness.ts';

const SESSIONS = 24;
const MAX_CONNECTIONS = 2;

forEachFlavour((flavour) => {
  describe(`write and read endpoints with pool = transaction on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let witness: Witness;
    const opened: Connection[] = [];

    before(async () => {
      lab = await startPair({ flavour });
      const direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, multipleStatements: true });
      await direct.query(`
        create table t (id int auto_increment primary key, owner int) engine = innodb;
        create table audit (id int auto_increment primary key) engine = innodb;
        create function writing() returns int deterministic modifies sql data
          begin insert into audit values (null); return last_insert_id(); end;
        create view writes as select writing() as n;`);
      const replica = await lab.connect(lab.db2);
      await eventually(() => replica.query('select * from t, audit'));
      proxy = await lab.startProxy({
        workers: 2,
        config: {
          'backend db1': { max_connections: MAX_CONNECTIONS },
          'backend db2': { max_connections: MAX_CONNECTIONS },
          'listener write': { pool: 'transaction' },
          'listener read': { pool: 'transaction' },
        },
      });
      witness = await Witness.of(lab);
    });
    after(() => lab?.stop());
    afterEach(() => {
      for (const connection of opened.splice(0)) connection.destroy();
      assert.deepEqual(
        proxy.log.filter(({ event }) => event === 'session.defect'),
        [],
      );
    });

    async function open(endpoint: Endpoint, options: ConnectionOptions = {}): Promise<Connection> {
      const connection = await proxy.connect(endpoint, options);
      opened.push(connection);
      return connection;
    }

    async function one(connection: Connection, sql: string, values?: unknown[]): Promise<RowDataPacket> {
      const [rows] = await connection.query<RowDataPacket[]>(sql, values);
      return rows[0]!;
    }

    const SERVERS = [
      ['write', 'db1'],
      ['read', 'db2'],
    ] as const;
    for (const [endpoint, server] of SERVERS) {
      it(`asks ${server} for everything on the ${endpoint} endpoint, many sessions over few connections`, async () => {
        await Promise.all(
          Array.from({ length: SESSIONS }, async (_, session) => {
            const connection = await open(endpoint);
            await connection.query(
              `set @mine = ${session}, sql_mode = '${session % 2 === 0 ? 'ANSI_QUOTES' : ''}'`,
            );
            for (let round = 0; round < 8; round++) {
              const mark = witness.mark();
              const seen = await one(
                connection,
                `select @mine as m, @@sql_mode like '%ANSI%' as ansi ${mark}`,
              );
              assert.deepEqual(seen, { m: session, ansi: session % 2 === 0 ? 1 : 0 });
              if (round === 0) assert.deepEqual(await witness.askedOf(mark), [server]);
              const [rows] = await connection.execute<RowDataPacket[]>('select ? as n, @mine as m', [round]);
              assert.deepEqual(rows[0], { n: round, m: session });
            }
          }),
        );
      });
    }

    it('answers each session of the write endpoint its own LAST_INSERT_ID() and rows', async () => {
      await Promise.all(
        Array.from({ length: SESSIONS }, async (_, session) => {
          const connection = await open('write');
          for (let round = 0; round < 5; round++) {
            const [{ insertId }] = await connection.query<ResultSetHeader>(
              `insert into t (owner) values (${session})`,
            );
            assert.equal(
              (await one(connection, 'select owner from t where id = last_insert_id()'))['owner'],
              session,
            );
            assert.equal((await one(connection, 'select last_insert_id() as id'))['id'], insertId);
          }
        }),
      );
    });

    const WRITES = [
      'insert into t (owner) values (1)',
      'create table nowhere (a int)',
      'select n from writes',
      'select writing()',
      'insert into t (owner) select 1',
    ];
    for (const account of ['app', 'root2']) {
      for (const sql of WRITES) {
        it(`writes nothing on the read endpoint for ${account}: ${sql}`, async () => {
          const connection = await open('read', { user: account, password: account });
          await assert.rejects(connection.query(sql), (error: { errno: number; message: string }) => {
            assert.ok([1792, 1290, 1836].includes(error.errno), error.message);
            return true;
          });
          await assert.rejects(connection.query('start transaction read write'), { errno: 1290 });
          await connection.beginTransaction();
          await assert.rejects(connection.query(sql));
          await connection.rollback();
          await assert.rejects(connection.execute(sql));
          const marked = witness.mark();
          await connection.query(`select * from t ${marked}`);
          assert.deepEqual(await witness.askedOf(marked), ['db2']);
        });
      }
    }

    it('is READ ONLY on the read endpoint after a reset and a change of user, too', async () => {
      const connection = await open('read', { ...ADMIN_ACCOUNT });
      if (flavour !== 'mysql56') {
        await connection.reset();
        await assert.rejects(connection.query(WRITES[0]!), { errno: 1792 });
      }
      await connection.changeUser({ user: 'root2', password: 'root2', database: 'demo' });
      await assert.rejects(connection.query(WRITES[0]!), { errno: 1792 });
      await connection.query('set session transaction read write');
      await assert.rejects(connection.query(WRITES[0]!), { errno: 1792 });
    });

    it('ends sessions of another worker by KILL, at rest, in a read and in a transaction', async () => {
      // With several of each, some pairs are in different workers.
      const killers = await Promise.all(Array.from({ length: 4 }, () => open('write')));
      for (const [index, killer] of killers.entries()) {
        const victims = await Promise.all(Array.from({ length: 3 }, () => proxy.connect('read')));
        const slow = assert.rejects(victims[0]!.query(`select sleep(3${index}), 1 from t limit 1`));
        await victims[1]!.query('select 1');
        for (const victim of victims) await killer.query(`kill ${victim.threadId}`);
        await slow;
        for (const victim of victims) await assert.rejects(victim.query('select 1'));
      }
      await eventually(async () => {
        const sessions = await proxy.admin("SHOW SESSIONS WHERE listener = 'read'");
        assert.deepEqual(sessions, []);
      });
    });
  });
});
