/**
 * The read endpoint never writes: on a replica, on the primary it falls back to, and for an account that
 * may write on a read-only server.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { Command } from '../../src/protocol/constants.ts';
import { eventually } from '../support/eventually.ts';
import { WireClient, WireFlag } from '../support/wire-client.ts';

const REFUSED = new Set([1290, 1792]);

/** What a login needs, on top of what a test is about. */
const BASE_FLAGS =
  WireFlag.LONG_PASSWORD |
  WireFlag.CONNECT_WITH_DB |
  WireFlag.PROTOCOL_41 |
  WireFlag.TRANSACTIONS |
  WireFlag.SECURE_CONNECTION |
  WireFlag.PLUGIN_AUTH;

/** Ways to write, and ways to get the right to. */
const attempts = [
  'insert into t values (1)',
  'update t set a = 2',
  'delete from t',
  'replace into t values (3)',
  'create table other (a int)',
  'alter table t add column b int',
  'truncate table t',
  'drop table t',
  'start transaction read write; insert into t values (4)',
  'START /* now */ TRANSACTION READ /* and */ WRITE',
  'set tx_read_only = 0; insert into t values (5)',
  'set @@session.transaction_read_only = off',
  'set @@tx_read_only = 0',
  'set `tx_read_only` = 0',
  '/*!50000 set tx_read_only = 0 */',
  '/*M! set tx_read_only = 0 */',
  'set autocommit = 1, tx_read_only = 0',
  'select 1; set session transaction read write; insert into t values (6)',
  "prepare s from 'set tx_read_only = 0'",
  "execute immediate 'start transaction read write'",
  'set statement tx_read_only = 0 for insert into t values (7)',
  'begin not atomic set tx_read_only = 0; insert into t values (8); end',
  'call writer()',
  'load data infile "/dev/null" into table t',
];

forEachFlavour((flavour, words) => {
  describe(`the read endpoint on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let direct: Connection;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({ workers: 1 });
      direct = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT });
      await direct.query('create table t (a int)');
      await direct.query('create procedure writer() insert into t values (9)');
      const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT, database: 'demo' });
      await eventually(() => replica.query('show create procedure writer'));
    });
    after(() => lab?.stop());

    it(
      'refuses a statement hidden behind query attributes that servers read in ways of their own',
      { skip: flavour !== 'mysql97' && 'this server has no query attributes' },
      async () => {
        const hidden = '\nSET SESSION TRANSACTION READ WRITE';
        const decoy = ' SELECT 1 --';
        const value = Buffer.concat([Buffer.from([decoy.length]), Buffer.from(decoy + hidden)]);
        const eightBytes = Buffer.concat([
          Buffer.from('fe0c00000001000000', 'hex'),
          Buffer.from(decoy + hidden),
        ]);
        const payloads: [type: number, value: Buffer][] = [
          [0x0d, value],
          [0x09, value],
          [0x0101, value],
          [0xfe, eightBytes],
          [0xfe, Buffer.concat([Buffer.from([0xfb]), Buffer.alloc(251, 0x20), Buffer.from(hidden)])],
        ];
        for (const [type, bytes] of payloads) {
          const client = await WireClient.connect({
            port: proxy.ports.read,
            ...ADMIN_ACCOUNT,
            database: 'demo',
            capabilities: BASE_FLAGS | WireFlag.QUERY_ATTRIBUTES,
          });
          const head = Buffer.from([1, 1, 0, 1, type & 0xff, type >>> 8, 0]);
          client.send(Command.QUERY, Buffer.concat([head, bytes]));
          const [answer] = await client.readResults();
          assert.equal(answer!.kind, 'error', `type 0x${type.toString(16)}`);
          const [refused] = await client.query('insert into t values (77)');
          assert.ok(refused!.kind === 'error' && REFUSED.has(refused!.errno), `type 0x${type.toString(16)}`);
          client.destroy();
        }
      },
    );

    async function refusesAll(): Promise<void> {
      const connect = (): Promise<Connection> =>
        proxy.connect('read', { ...ADMIN_ACCOUNT, database: 'demo', multipleStatements: true });
      let connection = await connect();
      for (const attempt of attempts) {
        const error = await connection.query(attempt).then(
          () => ({ errno: 0, message: 'it was executed' }),
          (failure: { errno: number; message: string }) => failure,
        );
        assert.ok(REFUSED.has(error.errno), `${attempt}: ${error.errno} ${error.message}`);
      }
      // A driver may set its session to read-write, as it may on a read-only server; writes are refused all the same.
      await connection.query('SET SESSION TRANSACTION READ WRITE');
      await assert.rejects(connection.query('insert into t values (10)'), { errno: 1792 });
      if (words.resetsConnections) await connection.reset();
      await assert.rejects(connection.query('insert into t values (11)'), { errno: 1792 });
      await connection.changeUser({ ...ADMIN_ACCOUNT, database: 'demo' });
      await assert.rejects(connection.query('insert into t values (12)'), { errno: 1792 });
      await assert.rejects(connection.execute('insert into t values (?)', [13]), { errno: 1792 });
      await connection.end();
      connection = await connect();
      await assert.rejects(connection.query('insert into t values (14)'), { errno: 1792 });
      const [rows] = await direct.query<RowDataPacket[]>('select count(*) as n from t');
      assert.equal(rows[0]!.n, 0);
    }

    it('refuses every write on a replica, also for an account that may write there', refusesAll);

    it('reads from the replica, in transactions too', async () => {
      const connection = await proxy.connect('read');
      await connection.beginTransaction();
      const [[row]] = await connection.query<RowDataPacket[]>('select @@port as port, count(*) as n from t');
      assert.deepEqual(row, { port: lab.db2.port, n: 0 });
      await connection.commit();
    });

    it('falls back to the primary when the replica is gone, refuses every write there, and comes back', async () => {
      const port = async (): Promise<unknown> => {
        const connection = await proxy.connect('read');
        const [[row]] = await connection.query<RowDataPacket[]>('select @@port as port');
        await connection.end();
        return row!.port;
      };
      await lab.db2.stop();
      await eventually(async () => assert.equal(await port(), lab.db1.port));
      await refusesAll();
      await lab.db2.start();
      const replica = await lab.connect(lab.db2, { ...ADMIN_ACCOUNT });
      await replica.query(words.startReplica).catch(() => undefined);
      await eventually(async () => assert.equal(await port(), lab.db2.port));
    });
  });
});
