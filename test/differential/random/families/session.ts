/**
 * What belongs to a session or its connection: variables of its own, the database, locks, temporary tables,
 * warnings, and commands that change who or where it is.
 */
import { query, sequences, statements, type Family, type Place, type Template } from './family.ts';
import type { Action } from '../scenario.ts';

type Several = (place: Place) => string[];

const VARIABLES: readonly Several[] = [
  ({ draw }) => [`set @a = ${draw.int(999)}`, 'select @a'],
  ({ draw }) => [`set @a = '${draw.word()}', @b = ${draw.int(99)}.5, @c = null`, 'select @a, @b, @c'],
  ({ draw }) => [
    `set @A = x'00ff41', @\`odd name\` = ${draw.int(9)}, @'q' = true`,
    "select @a, @`odd name`, @'q'",
  ],
  ({ draw }) => [
    `set @a = ${draw.id()}`,
    'select * from item where id = @a',
    'select count(*) from kind where id > @a',
  ],
  () => ['select @a, @b, @c, @n, @old'],
  () => ['select @never_set'],
  ({ draw }) => [`set @b = @b + ${draw.int(9)}`, 'select @b'],
  ({ draw }) => [
    `set @day = date '2020-01-0${1 + draw.int(9)}', @neg = -5, @hex = 0x41, @bit = b'101'`,
    'select @day, @neg, @hex, @bit',
  ],
  ({ draw }) => [
    `set @text = _latin1'caf${draw.pick(['e', 'o'])}' collate latin1_bin`,
    'select @text, charset(@text), collation(@text)',
  ],
  ({ draw }) => [
    `set names utf8mb4`,
    `set @text = 'ä${draw.int(9)}'`,
    'set names latin1',
    'select @text, hex(@text), charset(@text)',
    'set names utf8mb4',
  ],
];

/** Variables whose value only the connection knows. */
const VARIABLES_OF_THE_CONNECTION: readonly Several[] = [
  () => ['set @r = 0', 'select @r := @r + 1 as n, id from kind order by id', 'select @r'],
  ({ draw }) => [
    `select name, stock into @name, @stock from item where id = ${draw.id()}`,
    'select @name, @stock',
  ],
  () => ['set @m = (select max(id) from item)', 'select @m'],
  () => ['select max(id) from sale into @x', 'select @x'],
  ({ draw }) => [`update item set stock = (@seen := stock) where id = ${draw.id()}`, 'select @seen'],
  ({ draw }) => [`select f_variable(${draw.int(99)})`, 'select @from_function'],
  ({ draw }) => [`call p_variable(${draw.int(99)})`, 'select @from_procedure, @other'],
  ({ draw }) => [`update watched set v = ${draw.int(99)} where id = 1`, 'select @trigger_saw'],
  ({ draw }) => [`set @in = ${draw.int(9)}`, 'call p_out(@in, @out, @inout)', 'select @in, @out, @inout'],
  () => ['set @t = (select count(*) from item), @u = @t + 1', 'select @t, @u'],
];

const DATABASE: readonly ((place: Place) => Action[])[] = [
  ({ draw }) => [
    query(`use ${draw.pick(['w2', 'w1', '`w2`', 'missing_db'])}`),
    query('select * from item order by id'),
  ],
  ({ draw }) => [
    { do: 'init_db', database: draw.pick(['w1', 'w2', 'missing_db']) },
    query('select database()'),
  ],
  () => [query('use w2'), query('select f_pure(3), (select count(*) from item)'), query('use w1')],
  () => [
    query('use w2'),
    query('call p_read()'),
    query('select * from v_plain order by id'),
    query('use w1'),
  ],
];

// RENAME TABLE is left out: MariaDB logs it even for a temporary table, and its own replica stops there.
const TEMPORARY: readonly Several[] = [
  () => [
    'create temporary table scratch (id int primary key, v varchar(20))',
    "insert into scratch values (1, 'one')",
    'select * from scratch',
  ],
  () => [
    'create temporary table item (id int, hidden varchar(10))',
    "insert into item values (1, 'mine')",
    'select * from item',
    'select * from v_plain order by id',
  ],
  () => ['drop temporary table if exists item', 'select id, name from item order by id'],
  () => ['drop temporary table if exists scratch', 'select * from scratch'],
  () => ['select * from scratch order by id', 'select count(*) from item'],
  ({ draw }) => [
    `create temporary table if not exists scratch select id, label as v from kind where id < ${draw.int(4)}`,
    'select * from scratch order by id',
  ],
  () => [
    'create temporary table kind like w1.kind',
    'select * from kind',
    'drop temporary table kind',
    'select * from kind order by id',
  ],
  ({ draw }) => [`call p_temporary(${draw.int(9)})`, 'select * from scratch order by id'],
  () => ['drop table scratch', 'select 1'],
  () => [
    'create temporary table w2.scratch2 (a int)',
    'insert into w2.scratch2 values (5)',
    'select * from w2.scratch2',
  ],
  () => [
    'begin',
    'create temporary table in_transaction (a int)',
    'insert into in_transaction values (1)',
    'rollback',
    'select * from in_transaction',
  ],
  () => ['alter table scratch add column w int default 4', 'select * from scratch order by id'],
  () => ['truncate scratch', 'select count(*) from scratch'],
];

const USER_LOCKS: readonly Several[] = [
  ({ draw }) => [`select get_lock('L${draw.int(3)}', 0)`],
  ({ draw }) => [`select release_lock('L${draw.int(3)}')`],
  ({ draw }) => [`select is_free_lock('L${draw.int(3)}'), is_used_lock('L${draw.int(3)}') is null`],
  ({ draw }) => [`select is_used_lock('L${draw.int(3)}') = connection_id()`],
  ({ draw }) => {
    const name = `L${draw.int(3)}`;
    return [
      `select get_lock('${name}', 0)`,
      'select id from kind order by id',
      `select is_used_lock('${name}') = connection_id()`,
      `do release_lock('${name}')`,
    ];
  },
  ({ draw }) => [`do get_lock('L${draw.int(3)}', 0)`, 'select count(*) from sale'],
];

const TABLE_LOCKS: readonly Several[] = [
  ({ me }) => [
    `lock tables mine${me.index} write`,
    `insert into mine${me.index} (s) values ('locked')`,
    'select count(*) from kind',
    'unlock tables',
  ],
  ({ me }) => [
    `lock tables mine${me.index} read, kind as k read`,
    `select count(*) from mine${me.index}`,
    'select count(*) from kind k',
    `insert into mine${me.index} (s) values ('no')`,
    'unlock tables',
  ],
  () => [
    'lock tables pairs read',
    'select * from pairs order by k',
    'select * from item order by id',
    'unlock tables',
    'select count(*) from item',
  ],
  ({ me }) => [`lock tables mine${me.index} write`, 'begin', 'select count(*) from kind', 'commit'],
  () => ['unlock tables'],
];

const HANDLERS: readonly Several[] = [
  ({ me }) => [
    `handler mine${me.index} open`,
    `handler mine${me.index} read first`,
    `handler mine${me.index} read next limit 2`,
    `handler mine${me.index} close`,
  ],
  () => [
    'handler kind open as h',
    'handler h read `PRIMARY` = (2)',
    'select count(*) from kind',
    'handler h read `PRIMARY` next',
    'handler h close',
  ],
  () => ['handler kind read first'],
];

const DIAGNOSTICS: readonly Several[] = [
  () => ["select cast('abc' as signed)", 'show warnings'],
  () => [
    "select cast('12x' as unsigned) from kind order by id limit 2",
    'show count(*) warnings',
    'show warnings',
  ],
  () => ["select 1 + 'a' as a", 'select @@warning_count, @@error_count'],
  () => ["select 1 + 'a' as a", 'select id from kind order by id', 'show warnings'],
  () => ['select * from missing_table', 'show warnings', 'show errors'],
  () => ['selec 1', 'show errors'],
  () => [
    "insert into pairs values ('a', 'dup')",
    'show warnings',
    'get diagnostics @number = number, @rows = row_count',
    'select @number, @rows',
  ],
  () => [
    'insert into kind values (null, null, null)',
    'get diagnostics condition 1 @state = returned_sqlstate, @text = message_text, @no = mysql_errno',
    'select @state, @text, @no',
  ],
  () => ['drop table if exists nothing_here, nothing_there', 'show warnings limit 1', 'show warnings'],
  () => ["insert ignore into types (id, e) values (1, 'x')", 'show warnings'],
  () => ['select 1 / 0', 'show warnings'],
  () => ['call p_warns()', 'show warnings'],
  ({ draw }) => [`call p_fails(${draw.int(9)})`, 'show warnings', 'select count(*) from audit'],
  () => ["signal sqlstate '45000' set message_text = 'own'", 'show errors'],
  () => ['select id from item where id = (select id from kind)', 'show warnings'],
  () => ["select convert('ö' using latin1), 'a' + 1", 'show warnings'],
  () => ['show warnings'],
  () => ['show errors'],
  () => ['explain select id from kind where id = 1', 'show warnings'],
];

const ERRORS: readonly Template[] = [
  () => 'selec 1',
  () => '',
  () => ' ; ',
  () => 'select * from missing_table',
  () => 'select missing_column from item',
  () => 'select missing_function()',
  () => 'insert into item (missing) values (1)',
  () => "insert into item (id, name) values (1, 'dup')",
  () => 'insert into item values (1)',
  () => 'call missing()',
  () => 'select (select 1, 2)',
  () => 'set @@missing = 1',
  () => 'set global no_such = 1',
  () => 'execute missing',
  () => "select 'unterminated",
  () => 'select 1; select 2',
  () => 'drop database missing_db',
  () => 'kill 0',
  () => 'select /* unclosed',
  () => 'create table item (a int)',
  () => 'select * from item where id = (select id from item)',
];

/** What comes with the words of a comment: no server knows them, so the answer stays the same. */
const HINTS: readonly Template[] = [
  () => '/* dbproxy: primary */ select count(*) from item',
  () => 'select /* dbproxy: replica */ count(*) from item',
  () => '/*master*/ select * from kind order by id',
  () => '/*#mycat:db_type=slave*/ select id from kind order by id',
  ({ draw }) => `/* dbproxy: replica */ update item set stock = ${draw.fresh()} where id = 1`,
  () => '/* dbproxy: replica */ select * from item where id = 1 for update',
];

const ROUTINES: readonly Several[] = [
  () => ['call p_read()'],
  () => ['call p_two()', 'select 1'],
  ({ draw }) => [`call p_write(${draw.int(99)})`, 'select count(*) from audit'],
  ({ draw }) => [
    `call p_settings(${draw.int(9)})`,
    'select group_concat(name order by id) from item',
    'select @@group_concat_max_len',
  ],
  ({ draw }) => [`call p_transaction(${draw.int(9)})`, 'select count(*), max(what) from audit'],
  ({ draw }) => [
    `call p_opens(${draw.int(9)})`,
    'select count(*) from audit',
    draw.pick(['rollback', 'commit']),
    'select count(*) from audit',
  ],
  ({ draw }) => [`call p_dynamic(${draw.int(5)})`, 'select @text'],
  ({ draw }) => [`call p_out(${draw.int(9)}, @y, @z)`, 'select @y, @z'],
  ({ draw }) => [`select f_pure(${draw.int(9)}), f_count()`],
  ({ draw }) => [`select f_write(${draw.int(99)}) as w`, 'select count(*), max(what) from audit'],
  ({ draw }) => [
    `select id from kind where f_write(id) > ${draw.int(4)} order by id`,
    'select count(*) from audit',
  ],
  () => ['select f_insert_id(1)', 'select last_insert_id()'],
  ({ draw }) => [`select w2.f_pure(${draw.int(9)})`],
  ({ draw }) => [`do f_write(${draw.int(9)})`, 'select max(what) from audit'],
  ({ draw }) => [`set @f = f_write(${draw.int(99)})`, 'select @f', 'select count(*) from audit'],
  () => ['select f_count() as n, id from kind order by id'],
];

const COMMANDS: readonly ((place: Place) => Action[])[] = [
  () => [{ do: 'ping' }],
  ({ draw }) => [{ do: 'field_list', table: draw.pick(['item', 'kind', 'missing_table']) }],
  ({ draw }) => [
    { do: 'set_option', several: draw.chance(50) },
    query('select 1; select 2'),
    query('select 3'),
  ],
];

/** They end all that a session had: what others could wait for must not hang on when the server notices. */
const FAREWELLS: readonly ((place: Place) => Action[])[] = [
  // With a USE: MariaDB keeps the database in a reset, and forgets its character set.
  () => [
    { do: 'reset' },
    query('use w1'),
    query('select @a, @@sql_mode, database()'),
    query('select * from scratch'),
  ],
  ({ draw }) => [
    { do: 'change_user', user: draw.pick(['app', 'root2', 'app']), database: draw.pick(['w1', 'w2', '']) },
    query('select user(), database(), @a'),
  ],
  () => [{ do: 'reconnect' }, query('select @a, @@sql_mode, database()'), query('select count(*) from item')],
];

function farewell(place: Place): Action[] {
  const { draw, me } = place;
  if (me.userLocks || me.tablesLocked) return draw.pick(COMMANDS)(place);
  return draw.pick(FAREWELLS)(place);
}

const SEVERAL: readonly Template[] = [
  () => 'select 1; select count(*) from item',
  ({ draw }) =>
    `insert into sale (item_id, amount) values (1, ${draw.int(9)}); select last_insert_id(); select count(*) from sale`,
  ({ draw }) => `set @a = ${draw.int(99)}; select @a`,
  () => 'select 1; select * from missing_table; select 3',
  ({ draw, me }) =>
    `begin; insert into mine${me.index} (s) values ('${draw.fresh()}'); commit; select row_count()`,
  () => 'select id from kind order by id;',
  () => 'call p_two(); select found_rows()',
  ({ draw }) =>
    `update item set stock = ${draw.int(9)} where id = 1; show warnings; select stock from item where id = 1`,
  () => "set time_zone = '+02:00'; select from_unixtime(0)",
  () => "select ';' as a; -- select 2; \n select /* ; */ 3",
];

export const sessionFamilies: readonly Family[] = [
  sequences('variable', 6, VARIABLES),
  sequences('variable of the connection', 5, VARIABLES_OF_THE_CONNECTION),
  { name: 'database', weight: 3, make: (place) => place.draw.pick(DATABASE)(place) },
  sequences('temporary table', 5, TEMPORARY),
  sequences('user lock', 3, USER_LOCKS),
  sequences('table lock', 2, TABLE_LOCKS),
  sequences('handler', 1, HANDLERS),
  sequences('diagnostics', 7, DIAGNOSTICS),
  statements('error', 3, ERRORS),
  statements('hint', 2, HINTS),
  sequences('routine', 6, ROUTINES),
  { name: 'command', weight: 2, make: (place) => place.draw.pick(COMMANDS)(place) },
  { name: 'farewell', weight: 3, make: farewell },
  statements('several in one packet', 2, SEVERAL),
];
