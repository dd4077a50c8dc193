/**
 * Sessions go on at the new primary: a switchover under load costs no client an error, what a session is set to is
 * there afterwards, and what cannot be there is told once. Also when the primary dies.
 */
import assert from 'node:assert/strict';
import { once, type EventEmitter } from 'node:events';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { Endpoint, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const POOLS = ['session', 'transaction'] as const;
const ENDPOINTS = ['write', 'split'] as const satisfies readonly Endpoint[];

interface Failure {
  readonly errno?: number;
  readonly sqlState?: string;
  readonly message?: string;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  return promise.then(
    () => assert.fail('it should have failed'),
    (error: unknown) => error as Failure,
  );
}

async function valueOf(connection: Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return Object.values(rows[0]!)[0];
}

/** A client that works as fast as it can, and notes what was acknowledged, what failed, and its longest wait. */
class Worker {
  readonly acknowledged: number[] = [];
  readonly failures: string[] = [];
  longestMs = 0;
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(
    connection: Connection,
    first: number,
    step: (connection: Connection, n: number) => Promise<unknown>,
  ) {
    this.#done = this.#run(connection, first, step);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(
    connection: Connection,
    first: number,
    step: (connection: Connection, n: number) => Promise<unknown>,
  ): Promise<void> {
    for (let next = first; !this.#stopped && this.failures.length === 0; next++) {
      const began = performance.now();
      try {
        await step(connection, next);
        this.acknowledged.push(next);
      } catch (error) {
        this.failures.push(`${next}: ${String(error)}`);
      }
      this.longestMs = Math.max(this.longestMs, performance.now() - began);
    }
  }
}

const insert = (connection: Connection, n: number): Promise<unknown> =>
  connection.query('insert into moved values (?)', [n]);

const insertPrepared = (connection: Connection, n: number): Promise<unknown> =>
  connection.execute('insert into moved values (?)', [n]);

async function transaction(connection: Connection, n: number): Promise<void> {
  await connection.query('begin');
  await connection.query('insert into moved values (?)', [n]);
  assert.equal(Number(await valueOf(connection, `select a from moved where a = ${n}`)), n);
  await connection.query('commit');
}

async function read(connection: Connection): Promise<void> {
  assert.equal(await valueOf(connection, 'select 40 + 2'), 42);
  assert.equal(await valueOf(connection, 'select @mine'), 'my own');
}

forEachFlavour((flavour) => {
  if (flavour === 'mysql56') return;
  test(`with session_moves = off the sessions of the old primary end, on ${flavour}`, async () => {
    const lab = await startPair({ flavour });
    try {
      const proxy = await lab.startProxy({ config: { 'listener write': { session_moves: 'off' } } });
      const connection = await proxy.connect('write');
      await connection.query('select 1');
      const ended = once(connection as unknown as EventEmitter, 'error');
      await proxy.admin('PROMOTE db2');
      await ended;
    } finally {
      await lab.stop();
    }
  });

  for (const pool of POOLS) {
    suite(`a switchover with pool = ${pool} on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      let primary = 'db1';
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query('create table demo.moved (a int primary key)');
        await lab.db1.query('create table demo.numbered (id int auto_increment primary key, a int)');
        await lab.db1.query('create database other');
        await lab.db1.query('create table other.here (a int)');
        proxy = await lab.startProxy({
          config: {
            'cluster main': { transaction_grace: '700ms' },
            'listener write': { pool },
            'listener split': { pool },
          },
        });
      });
      after(() => lab?.stop());

      async function switchOver(): Promise<void> {
        const target = primary === 'db1' ? 'db2' : 'db1';
        await proxy.admin(`PROMOTE ${target}`);
        primary = target;
      }

      test('under load and back: no statement fails, and all that was acknowledged is there once', async () => {
        const workers: Worker[] = [];
        let first = 0;
        for (const endpoint of ENDPOINTS) {
          for (const step of [insert, insertPrepared, transaction, read]) {
            const connection = await proxy.connect(endpoint);
            await connection.query("set @mine = 'my own'");
            workers.push(new Worker(connection, (first += 1_000_000), step));
          }
        }
        const go = async (): Promise<void> => {
          const before = workers.map(({ acknowledged }) => acknowledged.length);
          await eventually(() =>
            workers.forEach(({ acknowledged, failures }, index) =>
              assert.ok(acknowledged.length > before[index]! + 20 || failures.length > 0),
            ),
          );
        };
        await go();
        await switchOver();
        await go();
        await switchOver();
        await go();
        await Promise.all(workers.map((worker) => worker.stop()));
        assert.deepEqual(
          workers.flatMap(({ failures }) => failures),
          [],
        );
        const server = primary === 'db1' ? lab.db1 : lab.db2;
        const rows = await server.query('select a from demo.moved');
        const written = new Set(rows.map((row) => Number(row['a'])));
        const writers = workers.filter((_, index) => index % 4 !== 3);
        const acknowledged = writers.flatMap((worker) => worker.acknowledged);
        assert.deepEqual(
          [...written].toSorted((a, b) => a - b),
          acknowledged.toSorted((a, b) => a - b),
        );
      });

      for (const endpoint of ENDPOINTS) {
        test(`takes what a session is set to along, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint, ADMIN_ACCOUNT);
          const prepared = await connection.prepare('select a + ? as sum from moved');
          await connection.query('use other');
          const inOther = await connection
            .prepare('select count(*) + ? as count from here')
            .catch(() => null);
          await connection.query('set names latin1');
          await connection.query("set time_zone = '+03:00', @number = 17, @text = 'a text'");
          await connection.query("set sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')");
          await connection.query('set autocommit = 0');
          await connection.query('insert into demo.numbered (a) values (1)');
          await connection.query('commit');
          const id = await valueOf(connection, 'select last_insert_id()');
          await connection.query('commit');
          await switchOver();
          assert.equal(await valueOf(connection, 'select database()'), 'other');
          assert.equal(await valueOf(connection, 'select @@time_zone'), '+03:00');
          assert.equal(Number(await valueOf(connection, 'select @number')), 17);
          assert.equal(await valueOf(connection, 'select @text'), 'a text');
          assert.match(String(await valueOf(connection, 'select @@sql_mode')), /ANSI_QUOTES/);
          assert.equal(Number(await valueOf(connection, 'select @@autocommit')), 0);
          assert.equal(await valueOf(connection, 'select @@character_set_client'), 'latin1');
          assert.equal(await valueOf(connection, 'select last_insert_id()'), id);
          assert.notEqual(inOther, null);
          const [rows] = await inOther!.execute([5]);
          assert.equal(Number((rows as RowDataPacket[])[0]!['count']), 5);
          await prepared.close();
          connection.destroy();
        });

        if (pool === 'session' && endpoint === 'write') {
          test('goes on after an execution with more than can be looked at', async () => {
            const connection = await proxy.connect(endpoint, ADMIN_ACCOUNT);
            for (const size of [3_000_000, 10_000_000]) {
              const [rows] = await connection.execute('select length(?) as size', ['x'.repeat(size)]);
              assert.equal(Number((rows as RowDataPacket[])[0]!['size']), size);
            }
            await switchOver();
            const [rows] = await connection.execute('select length(?) as size', ['short']);
            assert.equal(Number((rows as RowDataPacket[])[0]!['size']), 5);
            connection.destroy();
          });
        }

        test(`brings what was said of the next transaction along, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          await connection.query('set transaction read only');
          await switchOver();
          await connection.query('begin');
          const { errno } = await failureOf(connection.query('insert into moved values (-1)'));
          assert.equal(errno, 1792);
          await connection.query('rollback');
          await connection.query('insert into moved values (-1)');
          await connection.query('delete from moved where a = -1');
          connection.destroy();
        });

        test(`lets a transaction end within its grace, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          await connection.query('begin');
          await connection.query('insert into moved values (-2)');
          const moved = switchOver();
          await proxy.waitForEvent('promote.hold');
          await connection.query('insert into moved values (-3)');
          await connection.query('commit');
          await moved;
          assert.equal(
            Number(
              await valueOf(
                connection,
                '/* dbproxy: primary */ select count(*) from moved where a in (-2, -3)',
              ),
            ),
            2,
          );
          await connection.query('delete from moved where a in (-2, -3)');
          connection.destroy();
        });

        test(`tells once that a transaction was cut, and the session goes on, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          await connection.query('set @kept = 3');
          await connection.query('begin');
          await connection.query('insert into moved values (-4)');
          await switchOver();
          const { errno, sqlState, message } = await failureOf(
            connection.query('insert into moved values (-5)'),
          );
          assert.deepEqual([errno, sqlState], [1213, '40001']);
          assert.match(message!, new RegExp(`rolled back .*${primary} becomes the primary`));
          await connection.query('insert into moved values (-6)');
          assert.equal(Number(await valueOf(connection, 'select @kept')), 3);
          const [rows] = await connection.query<RowDataPacket[]>(
            '/* dbproxy: primary */ select a from moved where a in (-4, -5, -6)',
          );
          assert.deepEqual(
            rows.map(({ a }) => Number(a)),
            [-6],
          );
          await connection.query('delete from moved where a = -6');
          connection.destroy();
        });

        test(`kills what still runs when the grace is over, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          const running = failureOf(
            connection.query('insert into moved select -9 from (select sleep(20)) s'),
          );
          await switchOver();
          assert.equal((await running).errno, 1317);
          const count = '/* dbproxy: primary */ select count(*) from moved where a = -9';
          assert.equal(Number(await valueOf(connection, count)), 0);
          connection.destroy();
        });

        test(`answers the ROLLBACK of a transaction that was cut, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          await connection.query('begin');
          await connection.query('insert into moved values (-7)');
          await switchOver();
          await connection.query('rollback');
          assert.equal(
            Number(
              await valueOf(connection, '/* dbproxy: primary */ select count(*) from moved where a = -7'),
            ),
            0,
          );
          connection.destroy();
        });

        test(`ends a session that had a temporary table, and says so, on the ${endpoint} endpoint`, async () => {
          const connection = await proxy.connect(endpoint);
          const closed = once(connection as unknown as EventEmitter, 'end');
          await connection.query('create temporary table mine (a int)');
          await connection.query('insert into mine values (1)');
          await switchOver();
          const { errno, message } = await failureOf(connection.query('select * from mine'));
          assert.equal(errno, 1053);
          assert.match(message!, /temporary table/);
          await closed;
        });
      }

      test('counts the statements that were held, and for how long', async () => {
        const { text } = await proxy.get('/metrics');
        assert.match(text, /^dbproxy_held_statements 0$/m);
        assert.ok(Number(/^dbproxy_hold_seconds_count\{cluster="main"\} (\d+)$/m.exec(text)?.[1]) > 0);
      });
    });

    suite(`a primary that is killed, with pool = ${pool} on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query('create table demo.moved (a int primary key)');
        proxy = await lab.startProxy({ config: { 'listener write': { pool }, 'listener split': { pool } } });
      });
      after(() => lab?.stop());

      test('idle sessions go on at the new one, one in a transaction hears of it once', async () => {
        const idle: Connection[] = [];
        const open: Connection[] = [];
        for (const endpoint of ENDPOINTS) {
          idle.push(await proxy.connect(endpoint), await proxy.connect(endpoint));
          open.push(await proxy.connect(endpoint));
        }
        for (const [index, connection] of idle.entries()) await connection.query(`set @mine = ${index}`);
        for (const connection of idle) await connection.query('select count(*) from moved');
        for (const [index, connection] of open.entries()) {
          await connection.query('begin');
          await connection.query(`insert into moved values (${index})`);
        }
        await lab.db1.kill();
        const waiting = idle[0]!.query('insert into moved values (100)');
        await eventually(async () => {
          const rows = await proxy.admin('SHOW BACKENDS');
          assert.equal(rows.find(({ name }) => name === 'db1')?.['state'], 'down');
        });
        await proxy.admin('PROMOTE db2');
        await waiting;
        for (const [index, connection] of idle.entries()) {
          assert.equal(Number(await valueOf(connection, 'select @mine')), index);
          await connection.query(`insert into moved values (${index + 10})`);
        }
        for (const [index, connection] of open.entries()) {
          const { errno } = await failureOf(connection.query(`insert into moved values (${index + 20})`));
          assert.equal(errno, 1213);
          await connection.query(`insert into moved values (${index + 30})`);
        }
        const rows = await lab.db2.query('select a from demo.moved order by a');
        assert.deepEqual(
          rows.map((row) => Number(row['a'])),
          [10, 11, 12, 13, 30, 31, 100],
        );
      });
    });
  }
});
