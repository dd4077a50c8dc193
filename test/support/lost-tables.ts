/**
 * Tables with a column of every type, and changes of them by chance (seeded) with the values at the edges: what a
 * decoder of row events has to get right.
 */
import type { LabFlavour } from '../lab/flavours.ts';

/** A column and the literals that it is given. */
export interface ColumnSpec {
  readonly type: string;
  readonly values: readonly string[];
  /** Only these servers know it; all without. */
  readonly only?: readonly LabFlavour[];
}

const text = (bytes: number): string => `repeat('x', ${bytes})`;
const ALL = "'a,b\\'c', 'd', 'e'";

const COLUMNS: readonly ColumnSpec[] = [
  { type: 'tinyint', values: ['-128', '127', '0', '-1'] },
  { type: 'tinyint unsigned', values: ['0', '255', '128'] },
  { type: 'smallint', values: ['-32768', '32767'] },
  { type: 'smallint unsigned', values: ['0', '65535'] },
  { type: 'mediumint', values: ['-8388608', '8388607', '-1'] },
  { type: 'mediumint unsigned', values: ['0', '16777215'] },
  { type: 'int', values: ['-2147483648', '2147483647'] },
  { type: 'int unsigned zerofill', values: ['0', '4294967295'] },
  { type: 'bigint', values: ['-9223372036854775808', '9223372036854775807'] },
  { type: 'bigint unsigned', values: ['0', '18446744073709551615'] },
  {
    type: 'decimal(65,30)',
    values: [
      `${'9'.repeat(35)}.${'9'.repeat(30)}`,
      `-${'9'.repeat(35)}.${'1'.repeat(30)}`,
      '0',
      '-0.000000000000000000000000000001',
    ],
  },
  { type: 'decimal(10,0)', values: ['-9999999999', '42'] },
  { type: 'decimal(7,7) unsigned', values: ['0.9999999', '0.0000001'] },
  { type: 'float', values: ['0.1', '-3.402823466E+38', '1.175494351E-38', '16777217', '-0e0'] },
  { type: 'float(7,3)', values: ['1234.568', '-0.001'] },
  { type: 'double', values: ['0.1', '1.7976931348623157E+308', '2.2250738585072014E-308', '-0e0', '1e21'] },
  { type: 'double(10,2)', values: ['1234567.89', '-0.01'] },
  { type: 'bit(1)', values: ["b'0'", "b'1'"] },
  { type: 'bit(12)', values: ["b'101010101010'", "b'1'"] },
  { type: 'bit(64)', values: [`b'${'1'.repeat(64)}'`, "b'0'"] },
  { type: 'year', values: ['1901', '2155', '0'] },
  { type: 'date', values: ["'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2023-02-31'", "'2024-00-00'"] },
  { type: 'time', values: ["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"] },
  { type: 'time(1)', values: ["'-838:59:58.9'", "'-00:00:00.1'", "'23:59:59.9'"] },
  { type: 'time(3)', values: ["'-01:02:03.004'", "'01:02:03.999'"] },
  { type: 'time(6)', values: ["'-838:59:58.999999'", "'-00:00:00.000001'", "'12:34:56.789012'"] },
  { type: 'datetime', values: ["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'0000-00-00 00:00:00'"] },
  { type: 'datetime(2)', values: ["'2024-02-29 12:34:56.78'"] },
  { type: 'datetime(5)', values: ["'2024-02-29 12:34:56.78901'"] },
  { type: 'datetime(6)', values: ["'9999-12-31 23:59:59.999999'", "'2000-01-01 00:00:00.000001'"] },
  {
    type: 'timestamp null',
    values: ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"],
  },
  { type: 'timestamp(6) null', values: ["'2024-03-31 02:30:00.000001'", "'2024-10-27 02:30:00.5'"] },
  {
    type: 'timestamp(3) null default current_timestamp(3) on update current_timestamp(3)',
    values: ["'2001-01-01 01:01:01.001'"],
  },
  { type: 'char(10) character set utf8mb4', values: ["''", "'it''s'", "'😀é'", "'back\\\\slash'", "'ab '"] },
  { type: 'char(255) character set utf8mb4', values: ["repeat('😀', 255)", "'x'"] },
  { type: 'char(10) character set latin1', values: ["'àé'", "'plain'"] },
  { type: 'binary(8)', values: ["X'0000000000000000'", "X'FF00FF0000000000'", "'abc'"] },
  { type: 'varchar(20) character set gbk', values: ["'中文'", "_gbk X'D65C'", "'x'"] },
  { type: 'varchar(20) character set ucs2', values: ["'中é'", "''"] },
  { type: 'varchar(20) character set utf8', values: ["'中文'", "'tab\\t nl\\n nul\\0'"] },
  { type: 'varchar(300) character set latin1', values: [text(300), "''", "'  lead and trail  '"] },
  { type: 'varbinary(300)', values: ["X'00FF27225C0A'", text(300), "''"] },
  { type: 'tinyblob', values: ["X'00'", text(255)] },
  { type: 'blob', values: ["X'DEADBEEF'", "''"] },
  { type: 'mediumblob', values: [text(70 * 1024), "X'01'"] },
  { type: 'longblob', values: [text(70 * 1024)] },
  { type: 'tinytext character set utf8mb4', values: ["'😀'", "''"] },
  { type: 'text character set utf8mb4', values: ["'line\\nline'", "'-- no comment; /* */'"] },
  { type: 'mediumtext character set latin1', values: [text(70 * 1024)] },
  { type: 'longtext character set utf8mb4', values: ["'中文 😀'"] },
  { type: `enum(${ALL})`, values: ["'a,b\\'c'", "'e'"] },
  { type: `enum('', 'é', '中', 'x y') character set utf8mb4`, values: ["''", "'中'", "'é'"] },
  {
    type: `enum(${Array.from({ length: 300 }, (_, index) => `'m${index}'`).join(',')})`,
    values: ["'m0'", "'m299'"],
  },
  { type: `set('r','g','b')`, values: ["''", "'r,b'", "'r,g,b'"] },
  {
    type: `set(${Array.from({ length: 64 }, (_, index) => `'s${index}'`).join(',')})`,
    values: ["'s0,s63'", "'s31,s32,s33'", "''"],
  },
  { type: 'point', values: ['point(1.5, -2.25)'] },
  {
    type: 'geometry',
    values: [
      "ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0))')",
      "ST_GeomFromText('LINESTRING(0 0,1 1)')",
    ],
  },
  { type: 'geometry', values: ["ST_GeomFromText('POINT(12 34)', 4326)"], only: ['mysql97', 'mariadb'] },
  {
    type: 'json',
    values: [
      `'{"n": null, "t": true, "f": false, "i": -1, "u": 65535, "l": 4294967296, "m": -9223372036854775808, "x": 18446744073709551615, "d": 0.1, "e": 1e100, "z": 5.0, "s": "it''s \\\\"q\\\\" 😀", "a": [1, [2, [3, {}]], []], "": {"ключ": "v"}}'`,
      "'null'",
      "'[]'",
      `'"just text"'`,
      `concat('["', repeat('long', 20000), '", 1]')`,
    ],
    only: ['mysql97', 'mariadb'],
  },
  {
    type: 'json',
    values: [
      "json_array(cast(1.50 as decimal(10,2)), cast('2024-01-02' as date), cast('2024-01-02 03:04:05.6' as datetime(6)), cast('-01:02:03.000004' as time(6)), cast(7 as unsigned), null, true)",
      "json_object('k', cast(1.1 as decimal(5,3)), 'o', json_object('x', 'y'))",
      "cast(cast('10:11:12' as time) as json)",
    ],
    only: ['mysql97'],
  },
  { type: 'vector(3)', values: ["string_to_vector('[1,2.5,-3]')"], only: ['mysql97'] },
  { type: 'inet6', values: ["'::1'", "'2001:db8::ff00:42:8329'", "'::'", "'fe80::'"], only: ['mariadb'] },
  {
    type: 'uuid',
    values: [
      "'123e4567-e89b-12d3-a456-426655440000'",
      "'ffffffff-ffff-ffff-ffff-fffffffffffe'",
      "'01890000-0000-7000-8000-000000000100'",
      "'00000000-0000-0000-0000-000000000000'",
    ],
    only: ['mariadb'],
  },
  { type: 'inet4', values: ["'10.0.0.1'", "'0.0.0.0'"], only: ['mariadb'] },
  {
    type: 'varchar(1000) compressed character set utf8mb4',
    values: ["repeat('ab', 400)", "'short'", "''"],
    only: ['mariadb'],
  },
  { type: 'blob compressed', values: ["repeat('ab', 4000)", "X'00'"], only: ['mariadb'] },
];

const GENERATED: readonly string[] = ['gv int as (id1 + 1) virtual', 'gs int as (id1 * 2) stored'];

/** What the values need; a time zone, too, that is not the one they are read in. */
export const CHANGE_SETTINGS = "set session sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+02:00'";

/** A table of them, how it is made, and changes of it. */
export interface LostTable {
  readonly name: string;
  readonly specs: readonly ColumnSpec[];
  readonly create: string;
  readonly columns: readonly string[];
}

/** One with a composite key, one without any key, one whose key is text. `small`: without values of many KB. */
export function lostTables(flavour: LabFlavour, size: 'all' | 'small' = 'all'): LostTable[] {
  const columns = columnsFor(flavour).filter(
    ({ values }) => size === 'all' || !values.some((value) => /repeat\('\w+', \d{4,}\)/.test(value)),
  );
  const own = columns.map(({ type }, index) => `c${index} ${type}${/\bnull\b/.test(type) ? '' : ' null'}`);
  const names = columns.map((_, index) => `c${index}`);
  const generated = flavour === 'mysql56' ? [] : GENERATED;
  const make = (name: string, head: readonly string[], tail: readonly string[]): LostTable => ({
    name,
    specs: columns,
    create: `create table ${name} (${[...head, ...own, ...tail].join(', ')}) engine=innodb default charset=utf8mb4 row_format=dynamic`,
    columns: names,
  });
  return [
    make(
      'keyed',
      ['id1 int not null', ...generated],
      ["id2 varchar(20) not null default 'k'", 'primary key (id2, id1)'],
    ),
    make('keyless', ['id1 int not null', ...generated], []),
    make('texted', ['id1 int not null'], ['k char(20) character set latin1 not null', 'unique key (k)']),
  ];
}

function columnsFor(flavour: LabFlavour): ColumnSpec[] {
  return COLUMNS.filter(({ only }) => only === undefined || only.includes(flavour));
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A statement that inserts a row with a value of each column's own. */
export function randomInsert({ name, columns, specs }: LostTable, id: number, random: () => number): string {
  const key = name === 'texted' ? ['k'] : name === 'keyed' ? ['id2'] : [];
  const values = specs.map((spec) => randomValue(spec, random));
  const keyValues = key.map(() => `'é ${id}'`);
  return `insert into ${name} (id1, ${[...key, ...columns].join(', ')}) values (${[id, ...keyValues, ...values].join(', ')})`;
}

/** A statement that changes a few columns of one row. */
export function randomUpdate({ name, columns, specs }: LostTable, id: number, random: () => number): string {
  const chosen = columns.flatMap((column, index) =>
    random() < 0.2 ? [`${column} = ${randomValue(specs[index]!, random)}`] : [],
  );
  return `update ${name} set ${[...chosen, `c0 = ${Math.floor(random() * 100)}`].join(', ')} where id1 = ${id}`;
}

function randomValue({ values }: ColumnSpec, random: () => number): string {
  if (random() < 0.15) return 'null';
  return values[Math.floor(random() * values.length)]!;
}

/** All rows of a table, each column so that nothing of it is hidden. */
export function everythingOf({ name, columns, specs }: LostTable, flavour: LabFlavour): string {
  const shown = columns.map((column, index) => {
    const { type } = specs[index]!;
    if (type === 'json' && flavour !== 'mariadb')
      return `concat(json_type(${column}), cast(${column} as char))`;
    if (/^(float|double|decimal|date|time|year|inet|uuid)/.test(type)) return `cast(${column} as char)`;
    if (/^bit/.test(type)) return `cast(${column} as unsigned)`;
    return `hex(${column})`;
  });
  const key = name === 'texted' ? ', k' : name === 'keyed' ? ', id2' : '';
  return `select concat_ws('|', id1${key}, ${shown.map((one) => `ifnull(${one}, 'NULL')`).join(', ')}) as line from ${name} order by 1`;
}
