/**
 * Reads of many sessions back to back on few connections (pipelining = on): no answer ever reaches another
 * session, whatever clients and servers do in the middle.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, RowDataPacket } from 'mysql2/promise';
import { Command } from '../../src/protocol/constants.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { commandBytes, PLAIN_COMMANDS, socketOf } from '../support/driver-socket.ts';

const SESSIONS = 64;
const ROUNDS = 60;
/** As many must have been seen of a form before it may share a connection. */
const WARM_UP = 40;

forEachFlavour((flavour, words) => {
  describe(`shared connections to ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    const opened: Connection[] = [];

    before(async () => {
      lab = await startPair({ flavour });
      const direct = await lab.connect(lab.db1);
      await direct.query('create table pairs (id int primary key, v varchar(40)) engine = innodb');
      const values = Array.from({ length: SESSIONS }, (_, id) => `(${id}, 'value of ${id}')`).join(', ');
      await direct.query(`insert into pairs values ${values}`);
      const replica = await lab.connect(lab.db2);
      await eventually(async () => {
        const [rows] = await replica.query<RowDataPacket[]>('select count(*) as n from pairs');
        assert.equal(rows[0]!['n'], SESSIONS);
      });
    });
    after(() => lab?.stop());
    afterEach(async () => {
      for (const connection of opened.splice(0)) connection.destroy();
      await proxy.stop();
      assert.deepEqual(
        proxy.log.filter(({ event }) => event === 'session.defect'),
        [],
      );
    });

    /** A proxy whose lanes are used whenever they can be; slow machines must not make a read slow. */
    async function start(listener: Record<string, string | number> = {}): Promise<void> {
      proxy = await lab.startProxy({
        workers: 1,
        config: {
          'backend db1': { max_connections: 4 },
          'backend db2': { max_connections: 4 },
          'listener split': {
            pool: 'transaction',
            pipelining: 'on',
            pipeline_threshold: '50ms',
            ...listener,
          },
        },
      });
      const first = await open();
      for (let n = 0; n < WARM_UP; n++) {
        await ask(first, n % SESSIONS);
        await prepared(first, n % SESSIONS);
      }
    }

    async function open(options: ConnectionOptions = {}): Promise<Connection> {
      const connection = await proxy.connect('split', options);
      opened.push(connection);
      return connection;
    }

    async function ask(connection: Connection, id: number): Promise<void> {
      const [rows] = await connection.query<RowDataPacket[]>(`select id, v from pairs where id = ${id}`);
      assert.deepEqual(rows, [{ id, v: `value of ${id}` }]);
    }

    async function prepared(connection: Connection, id: number): Promise<void> {
      const [rows] = await connection.execute<RowDataPacket[]>('select v, id from pairs where id = ?', [id]);
      assert.deepEqual(rows, [{ v: `value of ${id}`, id }]);
    }

    /** What all sessions do at once, each with its own number. */
    async function everybody(
      run: (connection: Connection, session: number) => Promise<void>,
      count = SESSIONS,
      options: (session: number) => ConnectionOptions = () => ({}),
    ): Promise<void> {
      const sessions = Array.from({ length: count }, (_, session) => session);
      await Promise.all(sessions.map(async (session) => run(await open(options(session)), session)));
    }

    async function pipelined(): Promise<number> {
      const { text } = await proxy.get('/metrics');
      return Number(/^dbproxy_pipelined_queries_total (\d+)/m.exec(text)?.[1] ?? Number.NaN);
    }

    it('asks what a view does before a read of it travels with others, also at the primary', async () => {
      await lab.db1.query(
        'create function demo.limits() returns int deterministic no sql begin set sql_select_limit = 1; return 1; end',
      );
      await start();
      const maker = await open();
      await maker.query('create view v_changed as select 1 as x');
      const read = '/* dbproxy: primary */ select x from v_changed';
      for (let n = 0; n < WARM_UP; n++) await maker.query(read);
      await maker.query('create or replace view v_changed as select limits() as x');
      await maker.query(read);
      for (let session = 0; session < 8; session++) {
        const other = await open();
        const [rows] = await other.query<RowDataPacket[]>('/* dbproxy: primary */ select id from pairs');
        assert.equal(rows.length, SESSIONS);
      }
      await maker.query('drop view v_changed');
    });

    it('gives each of many sessions its own answers, of texts and of prepared statements', async () => {
      await start();
      const before = await pipelined();
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS; round++) {
          await ask(connection, (session + round) % SESSIONS);
          await prepared(connection, (session * 7 + round) % SESSIONS);
        }
      });
      const shared = (await pipelined()) - before;
      assert.ok(shared > SESSIONS * ROUNDS * 0.2, `only ${shared} shared a connection`);
      const digests = await proxy.admin('SHOW DIGESTS');
      assert.ok(digests.some((row) => Number(row['pipelined']) > 0));
    });

    it('gives each its own while some are slow, fail, warn, write or have settings of their own', async () => {
      await start();
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS / 4; round++) {
          const id = (session + round) % SESSIONS;
          await ask(connection, id);
          switch ((session + round) % 8) {
            case 0: {
              const [rows] = await connection.query<RowDataPacket[]>(
                `select id, sleep(0.02) as s from pairs where id = ${id}`,
              );
              assert.equal(rows[0]!['id'], id);
              break;
            }
            case 1:
              await assert.rejects(connection.query(`select nosuch${id} from pairs`), { errno: 1054 });
              break;
            case 2:
              await connection.query(`update pairs set v = 'value of ${id}' where id = ${id}`);
              break;
            case 3:
              await connection.query(`set @mine = ${session}`);
              assert.deepEqual((await connection.query<RowDataPacket[]>('select @mine as m'))[0], [
                { m: session },
              ]);
              break;
            case 4: {
              await connection.beginTransaction();
              await ask(connection, id);
              await connection.rollback();
              break;
            }
            case 5: {
              const [rows] = await connection.query<RowDataPacket[]>(`select repeat('${id} ', 20000) as r`);
              assert.ok(String(rows[0]!['r']).startsWith(`${id} ${id} `));
              break;
            }
            default:
              await prepared(connection, id);
          }
        }
      });
    });

    it('gives each its own where some clients speak compressed', async () => {
      await start();
      const before = await pipelined();
      await everybody(
        async (connection, session) => {
          for (let round = 0; round < ROUNDS / 2; round++) {
            await ask(connection, (session + round) % SESSIONS);
            await prepared(connection, (session * 3 + round) % SESSIONS);
          }
        },
        SESSIONS,
        (session) => ({ compress: session % 2 === 0 }),
      );
      assert.ok((await pipelined()) > before);
    });

    for (const causalReads of ['session', 'global']) {
      it(`has each see its own writes with causal_reads = ${causalReads}`, async () => {
        await start({ causal_reads: causalReads });
        await everybody(async (connection, session) => {
          for (let round = 0; round < ROUNDS / 4; round++) {
            const v = `round ${round} of ${session}`;
            await connection.query(`update pairs set v = '${v}' where id = ${session}`);
            for (let again = 0; again < 3; again++) {
              const [rows] = await connection.query<RowDataPacket[]>(
                `select id, v from pairs where id = ${session}`,
              );
              assert.deepEqual(rows, [{ id: session, v }]);
            }
          }
          await connection.query(`update pairs set v = 'value of ${session}' where id = ${session}`);
        });
      });
    }

    it('goes on when clients die in the middle, before their answers', async () => {
      await start();
      let isOver = false;
      const rude = Array.from({ length: 4 }, async () => {
        while (!isOver) {
          const connection = await proxy.connect('split');
          connection.query('select id, v from pairs where id = 1').catch(() => undefined);
          connection.query('select id, v from pairs where id = 2').catch(() => undefined);
          await new Promise((resolve) => setImmediate(resolve));
          connection.destroy();
        }
      });
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS; round++) await ask(connection, (session + round) % SESSIONS);
      }, 16);
      isOver = true;
      await Promise.all(rude);
    });

    it('goes on beside a client that does not read', async () => {
      await start();
      const lazy = socketOf(await open(PLAIN_COMMANDS));
      lazy.pause();
      // It asks and asks, and never takes an answer: the proxy must stop reading it, and serve the others.
      const query = commandBytes(Command.QUERY, "select repeat('a', 8000), v from pairs where id = 3");
      lazy.write(Buffer.concat(Array.from({ length: 5000 }, () => query)));
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS; round++) await ask(connection, (session + round) % SESSIONS);
      }, 16);
      const digests = await proxy.admin('SHOW DIGESTS');
      const answered = Number(digests.find(({ text }) => /repeat/.test(String(text)))?.['count']);
      assert.ok(answered > 0 && answered < 5000, `${answered} of its 5000 statements were answered`);
    });

    it('ends a session by KILL whose statement is on a lane, and nobody else', async () => {
      await start();
      let isOver = false;
      const others = Array.from({ length: 8 }, async (_, session) => {
        const connection = await open();
        for (let round = 0; !isOver; round++) await ask(connection, (session + round) % SESSIONS);
      });
      const killer = await open();
      for (let round = 0; round < 10; round++) {
        const victim = await proxy.connect('split');
        const id = victim.threadId;
        let isDead = false;
        const dying = (async () => {
          for (let asked = 0; ; asked++) await ask(victim, asked % SESSIONS);
        })().catch((error: unknown) => {
          isDead = true;
          assert.ok(!(error instanceof assert.AssertionError), String(error));
        });
        await killer.query(`kill ${id}`);
        await dying;
        assert.ok(isDead);
        victim.destroy();
      }
      isOver = true;
      await Promise.all(others);
    });

    it('loses no read when the replica is killed while lanes are full', async () => {
      await start();
      let asked = 0;
      let isDead = false;
      const reading = everybody(async (connection, session) => {
        for (let after = 0; after < ROUNDS;) {
          await ask(connection, (session + asked++) % SESSIONS);
          if (isDead) after++;
        }
      }, 32);
      await eventually(() => assert.ok(asked > 500));
      const before = await pipelined();
      assert.ok(before > 0);
      await lab.db2.kill();
      isDead = true;
      await reading;
      await lab.db2.start();
      const replica = await lab.connect(lab.db2, { user: 'root2', password: 'root2' });
      await replica.query(words.startReplica);
    });

    it('shares adaptively when all connections are busy, and not at all when it is off', async () => {
      await start({ pipelining: 'adaptive' });
      const before = await pipelined();
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS; round++) await ask(connection, (session + round) % SESSIONS);
      });
      assert.ok((await pipelined()) > before, 'nothing was shared');
      await proxy.stop();
      await start({ pipelining: 'off' });
      await everybody(async (connection, session) => {
        for (let round = 0; round < ROUNDS / 4; round++) await ask(connection, (session + round) % SESSIONS);
      });
      assert.equal(await pipelined(), 0);
    });
  });
});
