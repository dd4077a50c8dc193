/**
 * Values and their columns: every type as text and in binary, NULL, no rows, many columns.
 */
import { parameter, WireClient } from '../../support/wire-client.ts';
import type { LabFlavour } from '../../lab/flavours.ts';
import type { WireCase } from '../compare.ts';

const EVERYWHERE = [
  ['bit', 'bit(17)', "b'10101'"],
  ['tiny', 'tinyint', '-7'],
  ['tiny_unsigned', 'tinyint unsigned', '250'],
  ['bool', 'bool', 'true'],
  ['small', 'smallint zerofill', '12'],
  ['medium', 'mediumint', '-70000'],
  ['int', 'int', '2147483647'],
  ['big', 'bigint', '-9223372036854775808'],
  ['big_unsigned', 'bigint unsigned', '18446744073709551615'],
  ['decimal', 'decimal(30,10)', '-12345678901234567890.0123456789'],
  ['float', 'float', '1.5'],
  ['double', 'double', '-2.25e100'],
  ['date', 'date', "'2024-02-29'"],
  ['datetime', 'datetime', "'2024-02-29 23:59:59'"],
  ['datetime6', 'datetime(6)', "'2024-02-29 23:59:59.123456'"],
  ['timestamp3', 'timestamp(3) null', "'2024-02-29 12:00:00.123'"],
  ['time', 'time', "'-838:59:59'"],
  ['time6', 'time(6)', "'12:34:56.000001'"],
  ['year', 'year', '2024'],
  ['char', 'char(10)', "'äöü'"],
  ['varchar', 'varchar(300)', "repeat('x', 260)"],
  ['binary', 'binary(8)', "x'00ff00ff'"],
  ['varbinary', 'varbinary(10)', "x'00fbfcfdfeff'"],
  ['tinyblob', 'tinyblob', "x'00'"],
  ['blob', 'blob', "repeat('y', 65535)"],
  ['mediumblob', 'mediumblob', "repeat('z', 70000)"],
  ['longblob', 'longblob', "''"],
  ['tinytext', 'tinytext', "'t'"],
  ['longtext', 'longtext', "repeat('ü', 40000)"],
  ['enum', "enum('a','b','ü')", "'ü'"],
  ['set', "set('x','y','z')", "'x,z'"],
  ['point', 'point', 'point(1, 2)'],
  ['geometry', 'geometry', 'linestring(point(0,0), point(1,1))'],
] as const;
const OF_MARIADB = [
  ['json', 'json', '\'{"a": [1, 2]}\''],
  ['uuid', 'uuid', "'123e4567-e89b-12d3-a456-426655440000'"],
  ['inet4', 'inet4', "'10.0.0.1'"],
  ['inet6', 'inet6', "'2001:db8::ff00:42:8329'"],
] as const;
const OF_MYSQL = [
  ['json', 'json', '\'{"a": [1, 2]}\''],
  ['vector', 'vector(3)', "to_vector('[1,2,3]')"],
] as const;

type TypeRow = readonly [name: string, type: string, value: string];
const SPECIAL: Record<LabFlavour, readonly TypeRow[]> = {
  mariadb: OF_MARIADB,
  mysql97: OF_MYSQL,
  mysql56: [],
};

function everyType(kind: LabFlavour): WireCase {
  const types: readonly TypeRow[] = [...EVERYWHERE, ...SPECIAL[kind]];
  const columns = types.map(([name, type]) => `c_${name} ${type} null`);
  return {
    name: `every type of ${kind}, text and binary, with NULLs`,
    servers: [kind],
    setup: [
      "set time_zone = '+00:00'",
      `create table types (id int primary key, ${columns.join(', ')})`,
      `insert into types values (1, ${types.map(([, , value]) => value).join(', ')})`,
      'insert into types (id) values (2)',
    ],
    async *steps(client) {
      yield client.query("set time_zone = '+00:00'");
      yield client.query('select * from types order by id');
      const prepared = await client.prepare('select * from types order by id');
      yield prepared;
      const id = WireClient.idOf(prepared);
      yield client.execute(id);
      yield client.execute(id);
      for (const [name] of types) {
        yield client.query(`select c_${name} from types where id = 1`);
      }
      yield client.fieldList('types');
    },
  };
}

/** Values out of nothing, which need no table. */
const oddValues: WireCase = {
  name: 'odd values and names',
  async *steps(client) {
    yield client.query("select null, '', 'a', x'', x'00', 1.0, 1e0, true, now() is null, null as `n u l l`");
    yield client.query("select '' as ``");
    yield client.query("select 1 as `a``b`, 2 as 'ü', 3 as `a`, 4 as `a`");
    yield client.query(
      "select 251, repeat('a', 250), repeat('a', 251), repeat('a', 65535), repeat('a', 65536)",
    );
    yield client.query('select char(0xfb using binary), char(0xfe using binary), char(0xff using binary)');
    yield client.query('select -0.0, 1/3, 2e308, 10 div 3, 5 % 3, 1 = 1');
  },
};

const fewRows: WireCase = {
  name: 'no rows, one row, many rows',
  setup: [
    'create table t (id int primary key, v varchar(20))',
    "insert into t values (1,'a'),(2,null),(3,'')",
  ],
  async *steps(client) {
    yield client.query('select * from t where id > 99');
    yield client.query('select * from t where id = 2');
    yield client.query('select * from t order by id');
    yield client.query('select 1 from t where 0');
    yield client.query('select t1.id from t t1, t t2, t t3, t t4, t t5, t t6 order by 1');
    yield client.query('show tables');
    yield client.query('describe t');
    yield client.query('show create table t');
    yield client.query('do 1');
    yield client.query('update t set v = "x" where id < 3');
    yield client.query('update t set v = "x" where id < 3');
    yield client.query('delete from t where id = 77');
  },
};

const manyColumns: WireCase = {
  name: '250, 251, 300 and 1000 columns',
  async *steps(client) {
    for (const count of [250, 251, 252, 256, 300, 1000]) {
      const sql = `select ${Array.from({ length: count }, (_, index) => index).join(',')}`;
      yield client.query(sql);
      const prepared = await client.prepare(sql);
      yield prepared;
      yield client.execute(WireClient.idOf(prepared));
    }
  },
};

const autoIncrement: WireCase = {
  name: 'affected rows and insert ids',
  setup: ['create table t (id bigint unsigned auto_increment primary key, v int unique)'],
  async *steps(client) {
    yield client.query('insert into t (v) values (1), (2), (3)');
    yield client.query('insert into t (v) values (3) on duplicate key update v = 30');
    yield client.query('insert into t values (250, 250)');
    yield client.query('insert into t (v) values (251)');
    yield client.query('insert into t values (70000, 252), (18446744073709551610, 253)');
    yield client.query('insert into t (v) values (254)');
    yield client.query('replace into t values (1, 1)');
    yield client.query('select last_insert_id()');
    yield client.query('insert into t (v) select v + 1000 from t');
    const prepared = await client.prepare('insert into t values (?, ?)');
    yield prepared;
    yield client.execute(WireClient.idOf(prepared), [parameter(900_000), parameter(5)]);
  },
};

const characterSets: WireCase = {
  name: 'character sets of values and of names',
  setup: [
    'create table umlaute (`größe` varchar(20) character set utf8mb4, l varchar(20) character set latin1)',
  ],
  async *steps(client, place) {
    yield client.query("insert into umlaute values ('äß€', 'äß')");
    for (const set of ['latin1', 'utf8', 'utf8mb4', 'binary', 'gbk', 'sjis', 'cp1251', 'ascii', 'koi8r']) {
      yield client.query(`set names ${set}`);
      yield client.query(Buffer.from('select * from umlaute'));
      yield client.query(
        Buffer.from("select '\xe4\xdf' as a, '\xd6\xd0\x5c' as b, _binary 'x' as c", 'latin1'),
      );
    }
    yield client.query('set names utf8mb4 collate utf8mb4_bin');
    yield client.query("select 'a' as `größe`, collation('a')");
    yield client.query('set character set latin1');
    yield client.query('select * from umlaute');
    for (const collation of [8, 28, 33, 45, 63, 224, 255]) {
      const other = await place.open({ collation });
      yield other.loginAnswer;
      yield other.query(
        'select @@character_set_client, @@character_set_results, @@collation_connection, @@character_set_connection',
      );
      yield other.query("select 'x', _utf8'\xc3\xa4' as a");
      yield other.query(Buffer.from("select '\xd6\xd0' as `\xd6\xd0`", 'latin1'));
      other.destroy();
    }
  },
};

export const valueCases: readonly WireCase[] = [
  everyType('mariadb'),
  everyType('mysql97'),
  everyType('mysql56'),
  oddValues,
  fewRows,
  manyColumns,
  autoIncrement,
  characterSets,
];
