/**
 * Statements in text and prepared: warnings, errors of many kinds, several results, routines, cursors.
 */
import { parameter, WireClient, WireFlag } from '../../support/wire-client.ts';
import type { WireCase } from '../compare.ts';

const TABLE = [
  'create table t (id int primary key, v varchar(20))',
  "insert into t values (1,'one'),(2,'two'),(3,'three'),(4,null),(5,'five')",
];

const warnings: WireCase = {
  name: 'warnings and notes',
  setup: ['create table t (v tinyint)'],
  async *steps(client) {
    yield client.query("set sql_mode = ''");
    yield client.query("insert into t values (1000), ('x'), (-1000)");
    yield client.query('show warnings');
    yield client.query('show count(*) warnings');
    yield client.query("select cast('abc' as signed), cast('12z' as signed)");
    yield client.query('show warnings');
    yield client.query('drop table if exists not_there');
    yield client.query('show warnings');
    yield client.query("select 1 + 'a'");
    yield client.ping();
    yield client.query('show errors');
  },
};

const errors: WireCase = {
  name: 'errors of many kinds',
  setup: [...TABLE, 'create table n (v int not null)', 'create table k (a int primary key) engine=innodb'],
  async *steps(client) {
    for (const sql of [
      'selec 1',
      '',
      ' ',
      ';',
      '-- nothing',
      'select * from missing',
      'select missing from t',
      'select missing()',
      'use missing',
      "insert into t values (1, 'again')",
      'insert into n values (null)',
      'insert into t values (1)',
      'create table t (a int)',
      'drop table missing',
      "signal sqlstate '45000' set message_text = 'of my own', mysql_errno = 31001",
      "signal sqlstate '02TRY'",
      "signal sqlstate '01234' set message_text = 'a warning'",
      'select * from t where id = (select id from t)',
      'select 1 union select 1, 2',
      'select (select 1, 2)',
      'call missing()',
      'set global max_connections = "x"',
      'set @@missing = 1',
      'kill 0',
      'execute missing',
      "select 'ö' from missing_ö",
      `select ${'x'.repeat(300)}`,
      'lock tables missing read',
      'load data infile "/nowhere" into table t',
    ]) {
      yield client.query(sql);
    }
    yield client.query('show errors');
  },
};

const lateErrors: WireCase = {
  name: 'errors in the middle of rows',
  setup: TABLE,
  async *steps(client) {
    const sql = 'select id, (select id from t where id >= x.id) from t x order by id desc';
    yield client.query(sql);
    yield client.ping();
    const prepared = await client.prepare(sql);
    yield prepared;
    yield client.execute(WireClient.idOf(prepared));
  },
};

const lockWait: WireCase = {
  name: 'a lock wait that times out, and a deadlock-free rollback',
  costly: true,
  setup: TABLE,
  async *steps(client, place) {
    const other = await place.open();
    yield other.query('begin');
    yield other.query("update t set v = 'locked' where id = 1");
    yield client.query('set innodb_lock_wait_timeout = 1');
    yield client.query('begin');
    yield client.query("update t set v = 'mine' where id = 1");
    yield client.query("update t set v = 'mine' where id = 2");
    yield other.query('rollback');
    yield client.query('commit');
    yield client.query('select * from t order by id');
  },
};

const severalStatements: WireCase = {
  name: 'several statements in one command',
  needs: WireFlag.MULTI_STATEMENTS,
  setup: TABLE,
  async *steps(client) {
    yield client.query('select 1; do 1; select id from t where id < 3; select 2 from t where 0; set @a = 1');
    yield client.query("select 1; insert into t values (9,'nine'); select * from missing; select 2");
    yield client.query('select 1; selec 2');
    yield client.query('begin; update t set v = 1; rollback');
    yield client.query(';select 1');
    yield client.query('select 1;');
    yield client.query('select 1; ; select 2');
    yield client.query("select repeat('a', 70000); select repeat('b', 300)");
    yield client.single(0x1b, Buffer.from([1, 0]));
    yield client.query('select 1; select 2');
    yield client.single(0x1b, Buffer.from([0, 0]));
    yield client.query('select 1; select 2');
    yield client.single(0x1b, Buffer.from([9, 0]));
  },
};

const setOption: WireCase = {
  name: 'COM_SET_OPTION of a client that did not ask for several statements',
  async *steps(client) {
    if (client.has(WireFlag.MULTI_STATEMENTS)) return;
    yield client.query('select 1; select 2');
    yield client.single(0x1b, Buffer.from([0, 0]));
    yield client.query('select 1; select 2');
    yield client.single(0x1b, Buffer.from([1, 0]));
    yield client.query('select 1; select 2');
  },
};

const routines: WireCase = {
  name: 'routines with several results, OUT parameters and errors',
  needs: WireFlag.MULTI_RESULTS,
  setup: [
    ...TABLE,
    'create procedure two() begin select 1 as a; select id, v from t where id < 3; end',
    "create procedure fails() begin select 1 as a; signal sqlstate '45000' set message_text='enough'; end",
    'create procedure nothing() begin end',
    'create procedure out_only(out a int, inout b varchar(20)) begin set a = 7; set b = concat(b, "!"); end',
    'create procedure out_and_rows(in x int, out a int) begin select x; set a = x * 2; select x + 1; end',
    'create procedure writes() begin insert into t values (10, "ten"); update t set v = "u"; end',
    'create function f(x int) returns int deterministic return x * 2',
  ],
  async *steps(client) {
    for (const sql of [
      'call two()',
      'call fails()',
      'call nothing()',
      'call writes()',
      'call out_only(@a, @b)',
      'select @a, @b',
      'select f(21)',
      'call out_and_rows(1, @a)',
    ]) {
      yield client.query(sql);
    }
    const prepared = await client.prepare('call out_and_rows(?, ?)');
    yield prepared;
    const id = WireClient.idOf(prepared);
    yield client.execute(id, [parameter(4), parameter(null)]);
    yield client.execute(id, [parameter(5), parameter(null)]);
    const other = await client.prepare('call out_only(?, ?)');
    yield other;
    yield client.execute(WireClient.idOf(other), [parameter(null), parameter('hello')]);
    const two = await client.prepare('call two()');
    yield two;
    yield client.execute(WireClient.idOf(two));
    const failing = await client.prepare('call fails()');
    yield failing;
    yield client.execute(WireClient.idOf(failing));
    yield client.query('select 1');
  },
};

const routinesUnasked: WireCase = {
  name: 'a routine with results for a client that takes none',
  setup: ['create procedure p() begin select 1; end'],
  async *steps(client) {
    if (client.has(WireFlag.MULTI_RESULTS)) return;
    yield client.query('call p()');
  },
};

const prepared: WireCase = {
  name: 'prepared statements: prepare, execute again, long data, reset, close',
  setup: [...TABLE, 'create table b (id int, v longblob)'],
  async *steps(client) {
    for (const sql of [
      'do 1',
      'select 1',
      'select ? + 1 as x, ?',
      'insert into b values (?, ?)',
      'selec 1',
      'select * from missing',
      'begin',
      'select 1; select 2',
      '',
      'set @a = ?',
      'show tables',
      'create table made (a int)',
    ]) {
      yield client.prepare(sql);
    }
    const select = await client.prepare('select id, v, ? as p from t where id < ? order by id');
    yield select;
    const id = WireClient.idOf(select);
    yield client.execute(id, [parameter('a'), parameter(3)]);
    yield client.execute(id, [parameter('b'), parameter(5)], { typesToo: false });
    yield client.execute(id, [parameter(null), parameter(2)]);
    yield client.execute(id, [parameter(7), parameter(99)]);
    const insert = await client.prepare('insert into b values (?, ?)');
    yield insert;
    const insertId = WireClient.idOf(insert);
    client.longData(insertId, 1, Buffer.from('first '));
    client.longData(insertId, 1, Buffer.alloc(100_000, 'x'));
    client.longData(insertId, 1, Buffer.alloc(0));
    yield client.execute(insertId, [parameter(1), { type: 252, value: Buffer.alloc(0) }]);
    client.longData(insertId, 1, Buffer.from('forgotten'));
    yield client.resetStatement(insertId);
    yield client.execute(insertId, [parameter(2), parameter('plain')]);
    yield client.query('select id, length(v), crc32(v) from b order by id');
    client.close(insertId);
    yield client.execute(insertId, [parameter(3), parameter('closed')]);
    yield client.resetStatement(insertId);
    yield client.execute(id, [parameter('still'), parameter(2)]);
    yield client.query('alter table t add column more int default 5');
    yield client.execute(id, [parameter('still'), parameter(2)]);
  },
};

const preparedBadly: WireCase = {
  name: 'prepared statements used wrongly',
  setup: TABLE,
  async *steps(client, place) {
    yield client.execute(4711);
    yield client.resetStatement(4711);
    yield client.fetch(4711, 1);
    client.close(4711);
    client.longData(4711, 0, Buffer.from('nowhere'));
    yield client.ping();
    const select = await client.prepare('select ?, ?');
    yield select;
    const id = WireClient.idOf(select);
    yield client.execute(id);
    yield client.execute(id, [parameter(1)], { typesToo: false });
    client.longData(id, 99, Buffer.from('no such parameter'));
    yield client.execute(id, [parameter(1), parameter(2)]);
    yield client.fetch(id, 5);
    // MySQL 5.6 reads beyond the end of packets that are too short, and does by chance what it finds there.
    if (place.kind === 'mysql56') return;
    yield client.single(0x17, Buffer.from([1, 0]));
    yield client.single(0x1c, Buffer.from([1]));
    yield client.single(0x1a, Buffer.from([1]));
    // Not a word from the others; MySQL 9.7 answers what has no answer, and the client reads it for the next.
    client.send(0x19, Buffer.from([1]));
    if (place.kind === 'mysql97') yield client.readSingle();
    yield client.ping();
  },
};

const cursors: WireCase = {
  name: 'cursors: fetch in pieces, beyond the end, with statements in between',
  setup: [...TABLE, 'create procedure two() begin select 1 as a; select id, v from t; end'],
  async *steps(client, place) {
    const select = await client.prepare('select id, v from t where id <> ? order by id');
    yield select;
    const id = WireClient.idOf(select);
    yield client.execute(id, [parameter(99)], { cursor: 1 });
    yield client.fetch(id, 2);
    yield client.query('select 1');
    yield client.fetch(id, 1);
    yield client.fetch(id, 0);
    yield client.fetch(id, 10);
    yield client.fetch(id, 10);
    yield client.execute(id, [parameter(1)], { cursor: 1 });
    yield client.resetStatement(id);
    yield client.fetch(id, 1);
    // MySQL 9.7 itself does not end its answer when an open cursor's statement is executed without one.
    if (place.kind !== 'mysql97') {
      yield client.execute(id, [parameter(1)], { cursor: 1 });
      yield client.execute(id, [parameter(1)]);
    }
    const none = await client.prepare('select id from t where 0');
    yield none;
    yield client.execute(WireClient.idOf(none), [], { cursor: 1 });
    yield client.fetch(WireClient.idOf(none), 1);
    const write = await client.prepare("update t set v = 'u'");
    yield write;
    yield client.execute(WireClient.idOf(write), [], { cursor: 1 });
    if (client.has(WireFlag.MULTI_RESULTS)) {
      const call = await client.prepare('call two()');
      yield call;
      yield client.execute(WireClient.idOf(call), [], { cursor: 1 });
    }
    yield client.execute(id, [parameter(2)], { cursor: 1 });
    yield client.query('commit');
    yield client.fetch(id, 2);
    client.close(id);
  },
};

const sqlPrepare: WireCase = {
  name: 'PREPARE and EXECUTE in SQL',
  setup: TABLE,
  async *steps(client) {
    yield client.query("prepare s from 'select id, v from t where id < ? order by id'");
    yield client.query('set @limit = 3');
    yield client.query('execute s using @limit');
    yield client.query('deallocate prepare s');
    yield client.query('execute s using @limit');
  },
};

const manyParameters: WireCase = {
  name: '300 parameters, and more than a statement can have',
  costly: true,
  async *steps(client) {
    const count = 300;
    const list = (length: number): string => Array.from({ length }, () => '?').join(',');
    const select = await client.prepare(`select ${list(count)}`);
    yield select;
    const values = Array.from({ length: count }, (_, index) => parameter(index % 3 === 0 ? null : index));
    yield client.execute(WireClient.idOf(select), values);
    yield client
      .prepare(`select 1 in (${list(65_535)})`)
      .then((answer) => answer.slice(0, 1).concat(answer.slice(-1)));
    yield client.prepare(`select 1 in (${list(65_536)})`);
  },
};

export const statementCases: readonly WireCase[] = [
  warnings,
  errors,
  lateErrors,
  lockWait,
  severalStatements,
  setOption,
  routines,
  routinesUnasked,
  prepared,
  preparedBadly,
  cursors,
  sqlPrepare,
  manyParameters,
];
