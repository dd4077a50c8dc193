/**
 * The answer to a statement is lost with its connection, while the server lives. What the client is told is compared with
 * the rows that are there: never OK for what is not, never "nothing has taken effect" for what is, nothing twice.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { Endpoint, ProxyProcess } from '../lab/proxy.ts';
import { Tunnel } from '../lab/tunnel.ts';
import { eventually } from '../support/eventually.ts';

const ENDPOINTS = ['write', 'split'] as const satisfies readonly Endpoint[];
const SET_UP = [
  'create table demo.w (id int primary key auto_increment, v varchar(20))',
  "create function demo.f() returns int modifies sql data begin insert into demo.w (v) values ('f'); return 1; end",
  'create view demo.writing as select demo.f() as a',
];
/** What a server held before is known for moments that lie a second back. */
const SAMPLE_AGE_MS = 1_500;

forEachFlavour(
  (flavour) => {
    suite(`an answer that is lost on ${flavour}`, () => {
      let lab: Lab;
      let tunnel: Tunnel;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour, serverOptions: ['--log-bin-trust-function-creators=1'] });
        for (const sql of SET_UP) await lab.db1.query(sql);
        tunnel = await Tunnel.open(lab.db1.port);
        proxy = await lab.startProxy({
          workers: 1,
          config: { 'backend db1': { address: `127.0.0.1:${tunnel.port}` } },
        });
        await delay(SAMPLE_AGE_MS);
      });
      after(async () => {
        tunnel?.close();
        await lab?.stop();
      });

      async function rows(): Promise<unknown[]> {
        return (await lab.db1.query('select v from demo.w order by id')).map(({ v }) => v);
      }

      /** A session that has run these; errors of theirs are what is wanted. */
      async function sessionAfter(endpoint: Endpoint, statements: readonly string[]): Promise<Connection> {
        await lab.db1.query('delete from demo.w');
        const connection = await proxy.connect(endpoint, { multipleStatements: true });
        for (const sql of statements) await connection.query(sql).catch(() => undefined);
        return connection;
      }

      /** The server has done it, as \`isDone\` sees, and its answer does not come. */
      async function loseAnswer(
        connection: Connection,
        sql: string,
        isDone: () => Promise<void>,
        inWords = toldOf,
      ): Promise<string> {
        void tunnel.cutAfter(0);
        const told = inWords(connection.query(sql));
        await eventually(isDone);
        tunnel.breakAll();
        return told;
      }

      /** The COMMIT waits for a lock when its connection is lost, and is killed there. */
      async function loseCommit(connection: Connection): Promise<string> {
        const locker = await lab.connect(lab.db1, ADMIN_ACCOUNT);
        await locker.query('flush tables with read lock');
        const told = toldOf(connection.query('commit'));
        const id = await eventually(async () => {
          const list = await lab.db1.query('show full processlist');
          const own = list.find(({ Info }) => /^commit/i.test(String(Info)));
          assert.match(String(own?.['State']), /waiting for (commit|backup) lock/i);
          return Number(own!['Id']);
        });
        tunnel.breakAll();
        await locker.query(`kill ${id}`).catch(() => undefined);
        await eventually(async () => {
          const list = await lab.db1.query('show full processlist');
          assert.ok(list.every(({ Id }) => Number(Id) !== id));
        });
        await locker.query('unlock tables');
        locker.destroy();
        return told;
      }

      for (const endpoint of ENDPOINTS) {
        test(`of the COMMIT of what several statements have left open is no OK, on the ${endpoint} endpoint`, async () => {
          const several = "begin; insert into w values (1, 'a'); insert into w values (1, 'b')";
          const connection = await sessionAfter(endpoint, [several]);
          assert.match(await loseCommit(connection), /^error (1213|1180)$/);
          assert.deepEqual(await rows(), []);
          connection.destroy();
        });

        test(`of SET autocommit = 1 is not told as a rollback, on the ${endpoint} endpoint`, async () => {
          const before = ['set autocommit = 0', "insert into w (v) values ('a')"];
          const connection = await sessionAfter(endpoint, before);
          const isDone = async (): Promise<void> => assert.deepEqual(await rows(), ['a']);
          assert.equal(await loseAnswer(connection, 'set autocommit = 1', isDone), 'error 1180');
          connection.destroy();
        });

        test(`of a read whose view writes does not have it write again, on the ${endpoint} endpoint`, async () => {
          // There is a connection to the primary, and what its views do has been asked where that is done beforehand.
          const before = ['select 1', 'update w set v = v where id < 0'];
          const connection = await sessionAfter(endpoint, before);
          const isDone = async (): Promise<void> => assert.deepEqual(await rows(), ['f']);
          assert.equal(await loseAnswer(connection, 'select * from writing', isDone), 'error 1180');
          assert.deepEqual(await rows(), ['f']);
          connection.destroy();
        });
      }

      test('of the COMMIT of a read whose view writes is no OK', async () => {
        const connection = await sessionAfter('write', ['begin', 'select * from writing']);
        assert.match(await loseCommit(connection), /^error (1213|1180)$/);
        assert.deepEqual(await rows(), []);
        connection.destroy();
      });

      test('of a statement too large to be looked at ends the session, and says that its outcome is not known', async () => {
        const connection = await sessionAfter('write', []);
        const sql = `insert into w (v) values ('a') /* ${'x'.repeat(1_200_000)} */`;
        const isDone = async (): Promise<void> => assert.deepEqual(await rows(), ['a']);
        const told =
          /^error 1053 .*too large to be looked at.*whether the statement under way has taken effect is not known/;
        assert.match(await loseAnswer(connection, sql, isDone, wordsOf), told);
        connection.destroy();
      });

      test('of a ROLLBACK AND CHAIN is not told as if the next transaction had begun', async () => {
        const connection = await sessionAfter('write', ['begin', "insert into w (v) values ('a')"]);
        const ended = async (): Promise<number> =>
          Number((await lab.db1.query("show global status like 'Com_rollback'"))[0]!['Value']);
        const before = await ended();
        const isDone = async (): Promise<void> => assert.ok((await ended()) > before);
        assert.equal(await loseAnswer(connection, 'rollback and chain', isDone), 'error 1213');
        assert.deepEqual(await rows(), []);
        connection.destroy();
      });
    });
  },
  ['mariadb', 'mysql97'],
);

async function toldOf(answer: Promise<unknown>): Promise<string> {
  return answer.then(
    () => 'OK',
    (error: { errno?: number }) => `error ${error.errno}`,
  );
}

async function wordsOf(answer: Promise<unknown>): Promise<string> {
  return answer.then(
    () => 'OK',
    (error: { errno?: number; message: string }) => `error ${error.errno} ${error.message}`,
  );
}
