/**
 * A split endpoint under everything at once: few connections, shared ones among them, many sessions with settings
 * of their own, servers that end connections, clients that vanish. No answer may be another's, and in the end
 * every connection is to be had again.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, endConnectionsOf, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const CLIENTS = 30;
const ROUNDS = 40;
const MAX_CONNECTIONS = 4;

/** What a client may hear when a server has ended the connection of its write, or of its transaction. */
const OF_LOST_CONNECTIONS = /Lost connection|closed|ended|ECONNRESET|EPIPE|was killed|interrupted|aborted/i;

forEachFlavour((flavour) => {
  describe(`a storm on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    before(async () => {
      lab = await startPair({ flavour });
      const direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, multipleStatements: true });
      await direct.query('create table t (id int primary key, v int, text varchar(40)) engine = innodb');
      const rows = Array.from({ length: CLIENTS }, (_, id) => `(${id}, 0, 'text of ${id}')`).join(', ');
      await direct.query(`insert into t values ${rows}`);
      const replica = await lab.connect(lab.db2);
      await eventually(async () => {
        const [there] = await replica.query<RowDataPacket[]>('select count(*) as n from t');
        assert.equal(there[0]!['n'], CLIENTS);
      });
      proxy = await lab.startProxy({
        workers: 2,
        config: {
          'backend db1': { max_connections: MAX_CONNECTIONS },
          'backend db2': { max_connections: MAX_CONNECTIONS },
          'listener split': {
            pool: 'transaction',
            causal_reads: 'session',
            pipelining: 'on',
            pipeline_threshold: '20ms',
            statement_cache: 3,
          },
        },
      });
    });
    after(() => lab?.stop());

    it('mixes nothing up, and leaves nothing behind', async () => {
      let isOver = false;
      const chaos = (async () => {
        while (!isOver) {
          for (const server of [lab.db1, lab.db2]) await endConnectionsOf(server, 'app');
          const [row] = await proxy.admin("SHOW BACKENDS WHERE name = 'db1'");
          assert.equal(row!['state'], 'online');
        }
      })();
      let lost = 0;
      let done = 0;
      await Promise.all(
        Array.from({ length: CLIENTS }, async (_, client) => {
          let connection: Connection | null = null;
          for (let round = 0; round < ROUNDS; round++) {
            try {
              connection ??= await begin(client);
              await step(connection, client, round);
              done++;
            } catch (error) {
              if (error instanceof assert.AssertionError) throw error;
              assert.match((error as Error).message, OF_LOST_CONNECTIONS);
              lost++;
              connection?.destroy();
              connection = null;
            }
            if (round % 13 === client % 13) {
              // It vanishes, in the middle of something at times.
              connection?.query('select sleep(0.01), id from t').catch(() => undefined);
              connection?.destroy();
              connection = null;
            }
          }
          connection?.destroy();
        }),
      );
      isOver = true;
      await chaos;
      assert.ok(done > CLIENTS, `${done} steps were done, ${lost} lost`);

      await eventually(async () => {
        const pools = await proxy.admin('SHOW POOLS');
        const left = pools.map((row) => ['used', 'connecting', 'waiting'].map((what) => Number(row[what])));
        assert.deepEqual(
          left.filter((numbers) => numbers.some((n) => n > 0)),
          [],
        );
      });
      // Every connection of the primary can be had at once.
      const all = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, () => proxy.connect('split')));
      await Promise.all(all.map((connection) => connection.beginTransaction()));
      await Promise.all(all.map((connection, id) => connection.query(`update t set v = 0 where id = ${id}`)));
      for (const connection of all) {
        await connection.rollback();
        await connection.end();
      }
      assert.deepEqual(
        proxy.log.filter(({ event }) => event === 'session.defect' || event === 'worker.exited'),
        [],
      );
    });

    async function begin(client: number): Promise<Connection> {
      const connection = await proxy.connect('split');
      await connection.query(`set @mine = ${client}, sql_mode = '${client % 2 === 0 ? 'ANSI_QUOTES' : ''}'`);
      return connection;
    }

    /** Something that a client does, whose result it knows. */
    async function step(connection: Connection, client: number, round: number): Promise<void> {
      const one = async (sql: string, values?: number[]): Promise<RowDataPacket> => {
        const [rows] =
          values === undefined
            ? await connection.query<RowDataPacket[]>(sql)
            : await connection.execute<RowDataPacket[]>(sql, values);
        return rows[0]!;
      };
      const text = `text of ${client}`;
      switch ((client + round) % 7) {
        case 0:
          assert.deepEqual(await one(`select text from t where id = ${client}`), { text });
          return;
        case 1:
          assert.deepEqual(await one('select text, id from t where id = ?', [client]), { text, id: client });
          return;
        case 2: {
          const seen = await one('select @mine as m, "text" as q from t where id = 0');
          assert.deepEqual(seen, { m: client, q: client % 2 === 0 ? 'text of 0' : 'text' });
          return;
        }
        case 3:
          await connection.query(`update t set v = ${round} where id = ${client}`);
          assert.deepEqual(await one(`select v from t where id = ${client}`), { v: round });
          return;
        case 4:
          await connection.beginTransaction();
          await connection.query(`update t set v = -1 where id = ${client}`);
          assert.deepEqual(await one(`select v from t where id = ${client}`), { v: -1 });
          await connection.rollback();
          return;
        case 5:
          await assert.rejects(connection.query(`select nosuch${client} from t`), (error: Error) => {
            if (!OF_LOST_CONNECTIONS.test(error.message)) {
              assert.match(error.message, new RegExp(`nosuch${client}'`));
            }
            return true;
          });
          return;
        default:
          await connection.query('create temporary table mine (a int)');
          await connection.query(`insert into mine values (${client})`);
          assert.deepEqual(await one('select a from mine'), { a: client });
          await connection.query('drop temporary table mine');
      }
    }
  });
});
