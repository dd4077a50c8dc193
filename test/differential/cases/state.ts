/**
 * What answers say about the session: status flags, and the changes that servers track.
 */
import { parameter, WireClient, WireExtended, WireFlag } from '../../support/wire-client.ts';
import type { WireCase } from '../compare.ts';

const TABLE = [
  'create table t (id int primary key, v varchar(20))',
  "insert into t values (1,'one'),(2,'two')",
];

const transactions: WireCase = {
  name: "transactions' status flags",
  setup: TABLE,
  async *steps(client) {
    for (const sql of [
      'begin',
      'select * from t',
      "insert into t values (3, 'three')",
      'savepoint s',
      'rollback to s',
      'commit',
      'start transaction read only',
      'select * from t',
      "insert into t values (4, 'four')",
      'rollback',
      'set autocommit = 0',
      'select * from t',
      'commit and chain',
      'rollback',
      'set autocommit = 1',
      'start transaction with consistent snapshot',
      'create table implicit_commit (a int)',
      'select 1',
      'lock tables t write',
      'unlock tables',
      "xa start 'x'",
      "xa end 'x'",
      "xa rollback 'x'",
      'set transaction isolation level serializable',
      'begin',
      'commit and release',
    ]) {
      yield client.query(sql);
    }
  },
  ends: true,
};

const modes: WireCase = {
  name: 'sql_mode shows in the status flags, and slow or indexless statements',
  setup: ['create table t (id int)', 'insert into t values (1), (2)'],
  async *steps(client) {
    yield client.query("set sql_mode = 'no_backslash_escapes'");
    yield client.query("select 'a\\\\b'");
    yield client.query("set sql_mode = 'ansi_quotes'");
    yield client.query('select "id" from t');
    yield client.query("set sql_mode = ''");
    yield client.query('select * from t where id = 1');
    yield client.query('select a.id from t a, t b where a.id = b.id');
    yield client.query('drop database wire');
    yield client.query('create database wire');
    yield client.query('use wire');
  },
};

const tracking: WireCase = {
  name: 'session tracking: schema, variables, state, characteristics, GTIDs',
  needs: WireFlag.SESSION_TRACK,
  setup: TABLE,
  async *steps(client, place) {
    yield client.query('use mysql');
    yield client.single(0x02, Buffer.from('wire'));
    yield client.query('set names latin1');
    yield client.query('set autocommit = 0');
    yield client.query('set autocommit = 1');
    yield client.query('set session_track_state_change = on');
    yield client.query('set @user = 1');
    yield client.query('create temporary table tmp (a int)');
    yield client.prepare('select 1');
    yield client.query("set session_track_system_variables = '*'");
    yield client.query('set sort_buffer_size = 131072, sql_mode = default');
    yield client.query("set session_track_system_variables = 'time_zone,autocommit'");
    yield client.query("set time_zone = '+03:00'");
    yield client.query('set session_track_transaction_info = characteristics');
    yield client.query('set transaction isolation level read committed');
    yield client.query('start transaction with consistent snapshot');
    yield client.query('select * from t');
    yield client.query("update t set v = 'x'");
    yield client.query('commit');
    yield client.query('set session_track_transaction_info = state');
    yield client.query('begin');
    yield client.query('select * from t');
    yield client.query('rollback');
    if (place.kind === 'mysql97') {
      yield client.query('set session_track_gtids = own_gtid');
      yield client.query('insert into t values (7, 7)');
    } else {
      yield client.query("set session_track_system_variables = 'last_gtid'");
      yield client.query('insert into t values (7, 7)');
    }
    yield client.single(0x1f);
    yield client.query('use mysql');
  },
};

const infos: WireCase = {
  name: 'the info texts of OK packets, long ones among them',
  setup: [...TABLE, 'create table u like t'],
  async *steps(client) {
    yield client.query("update t set v = 'x'");
    yield client.query('insert into u select * from t');
    yield client.query('alter table u add column w int');
    yield client.query('delete from u');
    yield client.query('insert into u (id) values (1), (2), (3)');
    yield client.query('truncate u');
  },
};

const attributes: WireCase = {
  name: 'query attributes reach the server',
  needs: WireFlag.QUERY_ATTRIBUTES,
  servers: ['mysql97'],
  async *steps(client) {
    yield client.query("install component 'file://component_query_attributes'");
    const sql = "select mysql_query_attribute_string('a') as a, mysql_query_attribute_string('none') as n";
    yield client.query(sql, [], [parameter('value', 'a'), parameter(5, 'b'), parameter(null, 'none')]);
    yield client.query(sql);
    const prepared = await client.prepare(`${sql}, ? as p`);
    yield prepared;
    const id = WireClient.idOf(prepared);
    yield client.execute(id, [parameter('p')], { attributes: [parameter('again', 'a')] });
    yield client.execute(id, [parameter('p')]);
    yield client.query(`begin`, [], [parameter('x'.repeat(300), 'long')]);
    yield client.query(
      'commit',
      [],
      Array.from({ length: 200 }, (_, index) => parameter(index, `n${index}`)),
    );
    yield client.query("uninstall component 'file://component_query_attributes'");
  },
};

const noMetadata: WireCase = {
  name: 'results without their metadata',
  needs: WireFlag.OPTIONAL_METADATA,
  servers: ['mysql97'],
  setup: TABLE,
  async *steps(client) {
    yield client.query('select * from t');
    yield client.query('set resultset_metadata = none');
    yield client.query('select * from t');
    yield client.query('select * from t where 0');
    yield client.query('update t set v = 1');
    yield client.query('select * from missing');
    const prepared = await client.prepare('select *, ? from t');
    yield prepared;
    yield client.execute(WireClient.idOf(prepared), [parameter('p')]);
    yield client.execute(WireClient.idOf(prepared), [parameter('p')], { cursor: 1 });
    yield client.fetch(WireClient.idOf(prepared), 1);
    yield client.fetch(WireClient.idOf(prepared), 9);
    yield client.query('select 1');
    yield client.query('set resultset_metadata = full');
    yield client.query('select 1');
  },
};

const cachedMetadata: WireCase = {
  name: 'metadata that the client has cached',
  needsExtended: WireExtended.CACHE_METADATA,
  servers: ['mariadb'],
  setup: [...TABLE, 'create procedure two() begin select 1 as a; select id, v from t; end'],
  async *steps(client) {
    const prepared = await client.prepare('select id, v, ? as p from t');
    yield prepared;
    const id = WireClient.idOf(prepared);
    yield client.execute(id, [parameter('p')]);
    yield client.execute(id, [parameter('p')]);
    yield client.execute(id, [parameter(5)]);
    yield client.execute(id, [parameter(5)]);
    yield client.query('alter table t modify v varchar(30)');
    yield client.execute(id, [parameter(5)]);
    yield client.execute(id, [parameter(5)]);
    yield client.execute(id, [parameter(6)], { cursor: 1 });
    yield client.fetch(id, 1);
    yield client.fetch(id, 9);
    const call = await client.prepare('call two()');
    yield call;
    yield client.execute(WireClient.idOf(call));
    yield client.execute(WireClient.idOf(call));
    yield client.query('select id from t');
  },
};

const bulk: WireCase = {
  name: 'many rows of parameters at once (COM_STMT_BULK_EXECUTE)',
  needsExtended: WireExtended.BULK,
  servers: ['mariadb'],
  setup: ['create table b (id int auto_increment primary key, v varchar(20))'],
  async *steps(client) {
    const prepared = await client.prepare('insert into b (v) values (?)');
    yield prepared;
    const id = WireClient.idOf(prepared);
    yield client.bulkExecute(id, [[parameter('a')], [parameter(null)], [parameter('c')]]);
    yield client.bulkExecute(id, [[parameter('d')], [parameter('e')]], 128 | 64);
    yield client.query('select * from b');
    const returning = await client.prepare('insert into b (v) values (?) returning id, v');
    yield returning;
    yield client.bulkExecute(WireClient.idOf(returning), [[parameter('f')], [parameter('g')]]);
    const broken = await client.prepare('insert into b values (?, ?)');
    yield broken;
    yield client.bulkExecute(WireClient.idOf(broken), [
      [parameter(100), parameter('x')],
      [parameter(100), parameter('y')],
    ]);
    yield client.bulkExecute(4711, [[parameter('a')]]);
    const select = await client.prepare('select ?');
    yield select;
    yield client.bulkExecute(WireClient.idOf(select), [[parameter('a')]]);
  },
};

export const stateCases: readonly WireCase[] = [
  transactions,
  modes,
  tracking,
  infos,
  attributes,
  noMetadata,
  cachedMetadata,
  bulk,
];
