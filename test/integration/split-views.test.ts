/**
 * Views that do more than read, through the split endpoint: what a function in them leaves on its connection must
 * not be found by another session, and what they ask of a connection must be that of the session.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const SET_UP = [
  'create table demo.k (id int auto_increment primary key)',
  'insert into demo.k values (1), (2), (3), (4)',
  'create function demo.limits() returns int begin set sql_select_limit = 1; return 1; end',
  'create view demo.v_limits as select demo.limits() as x',
  'create view demo.v_nested as select x from demo.v_limits',
  'create view demo.v_last_id as select last_insert_id() as id',
  'create view demo.v_plain as select id from demo.k',
  // More than a packet of dbproxy's own exchanges holds.
  `create view demo.v_long as select '${'x'.repeat(70_000)}' as x`,
  'create procedure demo.sets() set @seen = 1',
  'create table demo.other (id int)',
  "create user writer@'%' identified by 'writer'",
  "grant select, insert on demo.* to writer@'%'",
];

/** What a trigger or a procedure has left for the session. */
async function seenBy(connection: Connection): Promise<number> {
  const [[row]] = await connection.query<RowDataPacket[]>('select @seen as seen');
  return Number(row?.['seen']);
}

forEachFlavour((flavour) => {
  describe(`views on ${flavour}, through the split endpoint`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour, serverOptions: ['--log-bin-trust-function-creators=1'] });
      const split = { pool: 'transaction', causal_reads: 'session' };
      proxy = await lab.startProxy({ workers: 1, config: { 'listener split': split } });
      for (const sql of SET_UP) await lab.db1.query(sql);
    });
    after(() => lab?.stop());

    const rowsSeen = async (connection: Connection): Promise<number> =>
      (await connection.query<RowDataPacket[]>('select id from k'))[0].length;

    for (const view of ['v_limits', 'v_nested']) {
      it(`leaves no setting of a function in ${view} to other sessions, also out of a transaction`, async () => {
        const asked = await proxy.connect('split');
        await asked.query('begin');
        await asked.query(`select x from ${view}`);
        await asked.query('commit');
        const prepared = await proxy.connect('split');
        await prepared.execute(`select x from ${view}`);
        assert.equal(await rowsSeen(prepared), 1, 'its own session sees what the function has set');
        await asked.end();
        await prepared.end();
        for (let session = 0; session < 8; session++) {
          const other = await proxy.connect('split');
          assert.equal(await rowsSeen(other), 4);
          await other.end();
        }
      });
    }

    it('leaves no setting of a function in a view that a SET reads from to other sessions', async () => {
      const asked = await proxy.connect('split');
      await asked.query('set @got = (select x from v_limits)');
      assert.equal(await rowsSeen(asked), 1);
      await asked.end();
      for (let session = 0; session < 8; session++) {
        const other = await proxy.connect('split');
        assert.equal(await rowsSeen(other), 4);
        await other.end();
      }
    });

    it('knows a view by a name that its client writes in other bytes', async () => {
      const maker = await proxy.connect('split');
      await maker.query('create view `Größe` as select limits() as x');
      await maker.end();
      const latin1 = { charset: 'LATIN1_SWEDISH_CI' };
      const asked = await proxy.connect('split', latin1);
      await asked.query('select x from `Größe`');
      assert.equal(await rowsSeen(asked), 1);
      const other = await proxy.connect('split', latin1);
      assert.equal(await rowsSeen(other), 4);
      await asked.end();
      await other.end();
    });

    it('asks the connection of the session for what a view hides', async () => {
      const connection = await proxy.connect('split');
      await connection.query('insert into k values (null)');
      const [[row]] = await connection.query<RowDataPacket[]>('select id > 4 as is_own from v_last_id');
      assert.equal(row?.['is_own'], 1);
      await connection.query('delete from k where id > 4');
      await connection.end();
    });

    it('says so before it is asked', async () => {
      const route = async (sql: string): Promise<unknown> =>
        (await proxy.admin(`EXPLAIN ROUTE ${sql}`))[0]?.['target'];
      assert.equal(await route('select id from v_last_id'), 'primary');
      assert.equal(await route('select x from v_nested'), 'primary');
      assert.equal(await route('select id from v_plain'), 'replica');
    });

    it('keeps what a trigger has left that was made while the transaction was open', async () => {
      const [writer, maker] = [await proxy.connect('split'), await proxy.connect('split')];
      await writer.query('begin');
      await maker.query('create trigger sets before insert on k for each row set @seen = 1');
      await writer.query('insert into k values (null)');
      await writer.query('commit');
      assert.equal(await seenBy(writer), 1);
      await maker.query('drop trigger sets');
      await maker.query('delete from k where id > 4');
      await writer.end();
      await maker.end();
    });

    it('knows a trigger that calls in small letters', async () => {
      const connection = await proxy.connect('split');
      await connection.query('create trigger calls before insert on k for each row call sets()');
      await connection.query('insert into k values (null)');
      assert.equal(await seenBy(connection), 1);
      await connection.query('drop trigger calls');
      await connection.query('delete from k where id > 4');
      await connection.end();
    });

    it('asks the primary for a trigger, also when a read of a replica that lags comes first', async () => {
      const holder = await lab.connect(lab.db2);
      await holder.query('begin');
      await holder.query('select id from k');
      const [maker, reader, writer] = [
        await proxy.connect('split'),
        await proxy.connect('split'),
        await proxy.connect('split'),
      ];
      await maker.query('create trigger sets before insert on k for each row set @seen = 1');
      await reader.query('select id from other');
      await writer.query('insert into k values (null)');
      await holder.query('commit');
      assert.equal(await seenBy(writer), 1);
      await maker.query('drop trigger sets');
      await maker.query('delete from k where id > 4');
      for (const connection of [maker, reader, writer]) await connection.end();
    });

    // MySQL shows none of them.
    if (flavour === 'mariadb') {
      it('takes a trigger whose text the account may not see for one that leaves something', async () => {
        const maker = await proxy.connect('split');
        await maker.query('create trigger sets before insert on k for each row set @seen = 1');
        const writer = await proxy.connect('split', { user: 'writer', password: 'writer' });
        await writer.query('insert into k values (null)');
        assert.equal(await seenBy(writer), 1);
        await maker.query('drop trigger sets');
        await maker.query('delete from k where id > 4');
        for (const connection of [maker, writer]) await connection.end();
      });
    }

    it('sends plain views to the replica', async () => {
      const connection = await proxy.connect('split');
      await connection.query('select id from v_plain');
      const [digest] = await proxy.admin("SHOW DIGESTS WHERE text = 'select id from v_plain'");
      assert.deepEqual([Number(digest?.['primary']), Number(digest?.['replica'])], [0, 1]);
      await connection.end();
    });
  });

  describe(`a trigger made on ${flavour} through one worker`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour, serverOptions: ['--log-bin-trust-function-creators=1'] });
      const split = { pool: 'transaction', causal_reads: 'session' };
      proxy = await lab.startProxy({ workers: 2, config: { 'listener split': split } });
      await lab.db1.query('create table demo.k (id int auto_increment primary key)');
    });
    after(() => lab?.stop());

    it('is known to the sessions of the others', async () => {
      const connections = await Promise.all(Array.from({ length: 8 }, () => proxy.connect('split')));
      for (const connection of connections) await connection.query('insert into k values (null)');
      await connections[0]!.query('create trigger sets before insert on k for each row set @seen = 1');
      await eventually(async () => {
        for (const connection of connections) {
          await connection.query('insert into k values (null)');
          assert.equal(await seenBy(connection), 1);
        }
      });
      for (const connection of connections) connection.destroy();
    });
  });
});
