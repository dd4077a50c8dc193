/**
 * Session variables: set in every spelling, asked for, and statements whose answer depends on them.
 */
import type { Draw } from '../draw.ts';
import { query, sequences, statements, type Family, type Place, type Template } from './family.ts';

/** Values as SQL. */
const SETTINGS: readonly (readonly [name: string, ...values: string[]])[] = [
  [
    'sql_mode',
    ...[
      "''",
      "'ansi_quotes'",
      "'no_backslash_escapes'",
      "'pipes_as_concat'",
      "'strict_all_tables'",
      "'ansi'",
    ],
    ...["'only_full_group_by'", "'no_auto_value_on_zero'", "'strict_trans_tables,no_zero_date'", 'default'],
    ...["'ansi_quotes,no_backslash_escapes'", "concat(@@sql_mode, ',pipes_as_concat')", "'no_such_mode'"],
  ],
  ['time_zone', "'+00:00'", "'+03:00'", "'-08:30'", "'system'", 'default', "'nowhere'"],
  ['group_concat_max_len', '4', '8', '1024', 'default', '10 + 2'],
  ['sql_safe_updates', '0', '1'],
  ['sql_select_limit', '2', '0', 'default', '18446744073709551615'],
  ['div_precision_increment', '0', '2', '8', 'default', '99'],
  ['lc_time_names', "'de_DE'", "'fr_FR'", "'en_US'", 'default'],
  ['max_error_count', '0', '1', '64', 'default'],
  [
    'collation_connection',
    "'utf8mb4_bin'",
    "'latin1_swedish_ci'",
    "'utf8mb4_general_ci'",
    'utf8mb4_unicode_ci',
  ],
  ['character_set_results', "'latin1'", "'utf8mb4'", 'null', 'binary', 'default'],
  ['character_set_connection', "'latin1'", "'utf8mb4'"],
  ['auto_increment_increment', '1', '3', '10', 'default'],
  ['auto_increment_offset', '1', '2', 'default'],
  ['sql_auto_is_null', '0', '1'],
  ['foreign_key_checks', '0', '1', 'off', 'on', "'off'"],
  ['unique_checks', '0', '1'],
  ['default_week_format', '0', '3', '7'],
  ['sql_big_selects', '0', '1'],
  // A small one is held against estimates, which differ from server to server.
  ['max_join_size', '1000000', 'default'],
  ['sql_quote_show_create', '0', '1'],
  ['sql_notes', '0', '1'],
  ['wait_timeout', '1000', '28800'],
  ['net_write_timeout', '60', '77'],
  ['max_sort_length', '64', '1024'],
  ['lock_wait_timeout', '1', '2'],
  ['innodb_lock_wait_timeout', '1', '2'],
  ['optimizer_switch', "'index_merge=off'", "'materialization=off'", 'default'],
  ['sort_buffer_size', '65536', 'default'],
  ['max_sp_recursion_depth', '0', '5'],
  ['low_priority_updates', '0', '1'],
  ['insert_id', '501', '77'],
  ['last_insert_id', '17', '0'],
  ['identity', '18'],
  ['timestamp', '1600000000', '1000000000.25', '0', 'default'],
  ['no_such_variable', '1'],
  ['max_connections', '5'],
  ['@@global.no_such_variable', '1'],
];

/** Statements whose answers depend on a setting; each is the same at any time and on any server. */
const PROBES: readonly Template[] = [
  () => 'select group_concat(name order by id) from item',
  () => 'select 10 / 3, 1 / 7.0',
  () => "select from_unixtime(1000000000), unix_timestamp('2001-09-09 03:46:40')",
  () => 'select id, ts from types order by id',
  () =>
    "select if(now() < '2021-01-01', now(), 'later'), unix_timestamp() < 1650000000, curdate() < '2021-01-01'",
  () => "select date_format('2020-03-01', '%W %M %a')",
  () => "select week('2020-01-01'), week('2020-12-31')",
  () => "select 'a' = 'A', 'a' = 'a ', 'ä' = 'a', 'ß' = 'ss'",
  () => 'select "id" from item order by id limit 2',
  () => "select 'a\\\\b', 'it\\'s', length('a\\nb')",
  () => "select 'a' || 'b'",
  () => 'select * from kind',
  () => 'select label, parent from kind group by parent having parent = 2',
  () => 'update pairs set v = v',
  ({ draw }) => `insert into types (id, y, e) values (${200 + draw.int(99)}, 99999, 'no such')`,
  ({ draw }) => `insert into audit (id, what) values (0, '${draw.fresh()}')`,
  ({ draw }) => `insert into sale (item_id, amount) values (${draw.id()}, 5)`,
  ({ draw }) => orphan(draw),
  () => 'select id from item where id is null',
  () => "select hex('ö'), char_length('ö'), collation('x'), charset('x'), coercibility('x')",
  () => "select name, hex(name) from item where name = 'käse'",
  () => 'select count(*) from item a, item b, kind c',
  () => 'show create table kind',
  () => 'drop table if exists nothing_here',
  () => 'show count(*) warnings',
  () => "select cast('abc' as signed), 1 / 0",
  () => 'show warnings',
  () => 'select last_insert_id()',
  () => 'select @@insert_id, @@last_insert_id, @@sql_mode',
  () =>
    'select @@group_concat_max_len, @@sql_select_limit, @@max_error_count, @@sql_safe_updates, @@autocommit',
  () => 'select @@lc_time_names, @@time_zone, @@div_precision_increment, @@foreign_key_checks, @@sql_notes',
  () =>
    'select @@auto_increment_increment, @@auto_increment_offset, @@unique_checks, @@wait_timeout, @@net_write_timeout',
  () =>
    'select @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection',
  () => "show variables like 'character_set_re%'",
];

const CHARACTER_SETS: readonly Template[] = [
  ({ draw }) =>
    `set names ${draw.pick(['utf8mb4', 'latin1', "'utf8mb4'", 'utf8', 'binary', 'default', 'nonsense'])}`,
  ({ draw }) => `set names utf8mb4 collate ${draw.pick(['utf8mb4_bin', 'utf8mb4_general_ci', 'latin1_bin'])}`,
  ({ draw }) => `set character set ${draw.pick(['utf8mb4', 'latin1', 'default'])}`,
  ({ draw }) => `set charset '${draw.pick(['utf8mb4', 'latin1'])}'`,
];

const TRANSACTION_SETTINGS: readonly Template[] = [
  ({ draw }) => `set session transaction isolation level ${isolationLevel(draw)}`,
  ({ draw }) => `set session transaction read ${draw.pick(['only', 'write', 'write'])}`,
  ({ draw }) => `set session transaction isolation level ${isolationLevel(draw)}, read write`,
  ({ draw }) => `set ${isolationVariable(draw)} = '${isolationLevel(draw).replaceAll(' ', '-')}'`,
  ({ draw }) => `set @@session.${readOnlyVariable(draw)} = ${draw.pick(['0', '1', 'off', 'default'])}`,
  ({ draw }) => `set completion_type = ${draw.pick(['0', '1', "'chain'", 'default'])}`,
  ({ draw }) => `select @@${isolationVariable(draw)}, @@${readOnlyVariable(draw)}, @@completion_type`,
];

export function isolationLevel(draw: Draw): string {
  return draw.pick(['read committed', 'repeatable read', 'repeatable read', 'serializable']);
}

function isolationVariable(draw: Draw): string {
  return draw.flavour === 'mysql97' ? 'transaction_isolation' : 'tx_isolation';
}

function readOnlyVariable(draw: Draw): string {
  return draw.flavour === 'mysql97' ? 'transaction_read_only' : 'tx_read_only';
}

function assignment(draw: Draw): string {
  const [name, ...values] = draw.pick(SETTINGS);
  const value = draw.pick(values);
  const target = name.startsWith('@@')
    ? name
    : draw.pick([
        name,
        name,
        name.toUpperCase(),
        `session ${name}`,
        `@@${name}`,
        `@@session.${name}`,
        `local ${name}`,
      ]);
  return `${target} ${draw.pick(['=', '=', ':='])} ${value}`;
}

/** One setting or several, and then some statements that may depend on it. */
function setAndProbe({ draw }: Place): string[] {
  const count = draw.pick([1, 1, 1, 2, 3]);
  const set = `${draw.pick(['set', 'SET'])} ${Array.from({ length: count }, () => assignment(draw)).join(', ')}`;
  const probes = Array.from({ length: 1 + draw.int(3) }, () => draw.pick(PROBES)({ draw } as Place));
  return [set, ...probes];
}

/**
 * A child without a parent. Its id is new: where the id is taken as well, MySQL 9.7 names the one error on a new
 * connection and the other on one that was reset.
 */
function orphan(draw: Draw): string {
  return `insert into child values (${1000 + draw.fresh()}, 777)`;
}

/** A value kept in a variable and given back, as dump files and frameworks do. */
function saveAndRestore({ draw }: Place): string[] {
  const [name, value, probe] = draw.pick<[string, string, () => string]>([
    ['sql_mode', "'ansi_quotes'", () => 'select "id" from item order by id limit 1'],
    ['foreign_key_checks', '0', () => orphan(draw)],
    ['group_concat_max_len', '5', () => 'select group_concat(name order by id) from item'],
    ['time_zone', "'+05:00'", () => 'select from_unixtime(1000000000)'],
  ]);
  return draw.chance(50)
    ? [`set @old = @@${name}, ${name} = ${value}`, probe(), `set ${name} = @old`, probe()]
    : [
        `/*!40101 set @old_it = @@${name} */`,
        `set ${name} = ${value}`,
        probe(),
        `/*!40101 SET ${name} = @old_it */`,
        probe(),
      ];
}

const FOR_ONE_STATEMENT: readonly ((place: Place) => string[])[] = [
  () => ['set statement group_concat_max_len = 5 for select group_concat(name order by id) from item'],
  () => ['set statement sql_mode = \'ansi_quotes\' for select "id" from item order by id'],
  ({ draw }) => [
    `set statement max_statement_time = 10 for update item set stock = ${draw.fresh()} where id = 1`,
  ],
  () => ['select /*+ set_var(group_concat_max_len = 5) */ group_concat(name order by id) from item'],
  () => [
    'set @seeded = 1, rand_seed1 = 5, rand_seed2 = 9',
    "select if(@seeded = 1, rand(), 'no')",
    "select if(@seeded = 1, rand(), 'no')",
  ],
  () => ['select rand(5), rand(6)'],
];

/** Bytes whose second half looks like a quote or a backslash. */
function severalBytes({ draw }: Place): ReturnType<Family['make']> {
  const name = draw.pick(['gbk', 'sjis', 'big5', 'latin1']);
  const bytes = draw.pick(["\xbf\\' or 1", '\xbf\\', '\x95\\', "\xbf'"]);
  return [
    query(`set names ${name}`),
    { do: 'query', sql: `select '${bytes}', 1 from item where id = 1 -- '`, latin1: true },
    {
      do: 'query',
      sql: `insert into pairs values ('${bytes}', 'x') on duplicate key update v = 'y'`,
      latin1: true,
    },
    query('select hex(k), v from pairs order by hex(k)'),
    query('set names utf8mb4'),
  ];
}

export const settingFamilies: readonly Family[] = [
  sequences('setting', 9, [setAndProbe]),
  statements('probe', 5, PROBES),
  statements('character set', 2, CHARACTER_SETS),
  statements('setting of transactions', 2, TRANSACTION_SETTINGS),
  sequences('saved and restored', 2, [saveAndRestore]),
  sequences('for one statement', 2, FOR_ONE_STATEMENT),
  { name: 'several bytes', weight: 1, make: severalBytes },
];
