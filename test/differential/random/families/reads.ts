/**
 * Reads of many shapes: most of them any server may answer, and some only look as if.
 */
import { sequences, statements, type Family, type Template } from './family.ts';

const PLAIN: readonly Template[] = [
  ({ draw }) => `select * from item where id = ${draw.id()}`,
  ({ draw }) => `select name, price from item where id = ${draw.id()} or name = '${draw.word()}' order by id`,
  () => 'select id, name, stock from item order by id desc limit 3',
  ({ draw }) =>
    `SELECT * FROM item i JOIN kind k ON k.id = i.kind_id WHERE k.id >= ${draw.int(4)} ORDER BY i.id`,
  () =>
    'select k.label, count(*) as n, sum(i.stock), avg(i.price) from kind k left join item i on i.kind_id = k.id group by k.label order by k.label',
  ({ draw }) =>
    `select * from sale where item_id in (select id from item where stock > ${draw.int(20)}) order by id`,
  () => 'select exists (select 1 from sale where amount > 4) as big, (select max(id) from sale) as last',
  ({ draw }) =>
    `select * from (select id, amount * 2 as twice from sale) as d where twice > ${draw.int(9)} order by id`,
  () => 'select id from item union select id from kind order by id',
  () => 'select 1 union all select 2 union all select 2',
  ({ draw }) => `select v from pairs where k = '${draw.pick(['a', 'b', 'A B', 'missing'])}'`,
  () => 'select count(*) from item',
  () => 'select count(*), max(id) from audit',
  () => 'select * from audit order by id',
  () => 'select * from watched order by id',
  () => 'select * from types order by id',
  () => 'select id, b + 0, hex(bl), e + 0, st from types order by id',
  () => 'select * from shape order by id',
  () => 'select p.*, c.* from parent p left join child c on c.parent_id = p.id order by p.id, c.id',
  ({ me }) => `select * from mine${me.index} order by id`,
  ({ draw }) => `select * from mine${draw.int(4)} order by id`,
  ({ draw }) => `(select id from item where id = ${draw.id()}) order by id`,
  ({ draw }) => `/* a comment */ select ${draw.int(9)} as one -- and another`,
  ({ draw }) => `select /*! straight_join */ count(*) from item i, kind k where i.id > ${draw.int(4)}`,
  () => 'select sum(id) over (order by id) as running, id from kind order by id',
  () => 'with few as (select id, name from item where id < 4) select * from few order by id',
  () => 'with recursive n as (select 1 as i union all select i + 1 from n where i < 5) select * from n',
  () => 'table kind',
  () => 'values row(1, 2), row(3, 4)',
  () =>
    "select upper(name), length(name), char_length(name), md5(name), locate('e', name) from item order by id",
  () =>
    "select concat_ws('-', id, label, parent), ifnull(parent, 'none'), case when id > 2 then 'b' end from kind order by id",
  () => 'select 1 from dual',
  () =>
    "select date_add('2020-01-31', interval 1 month), datediff('2020-03-01', '2020-02-01'), last_day('2020-02-01')",
  () => "select cast('12' as signed) + 1, convert('7', unsigned), round(2.5), 7 div 2, 7 % 4, pi(), bin(5)",
  () => "select json_extract('{\"a\": [1, 2]}', '$.a[1]') as j",
  () => 'select group_concat(distinct kind_id order by kind_id) as kinds from item',
  () => 'select * from item where 1 = 0',
  () => 'select id from item where id between 2 and 4 for update of item',
  () => "select name from item where name like '%e%' order by name",
  () => "select 'it''s', \"double\", `id` from `item` order by `id` limit 1",
  () => 'select sql_no_cache id from kind order by id',
  () => 'select distinct parent from kind order by parent',
  () => 'do 1',
  () => 'select w2.item.id, w2.item.name from w2.item order by id',
  () => 'select a.id, b.other from w1.item a join w2.item b using (id) order by a.id',
  () => 'select * from only_here order by id',
  () => 'select * from w2.only_here order by id',
];

const VIEWS: readonly Template[] = [
  () => 'select * from v_plain order by id',
  () => 'select * from v_reads order by id',
  () => 'select * from v_hidden order by id',
  ({ draw }) => `select written from v_hidden where id = ${draw.int(5)}`,
  () => 'select count(*) from v_hidden where written > 0',
  () => 'select * from v_stock order by id',
  () => 'select * from v_made order by id',
];

/** What only looks like a read that any server may answer. */
const LOCKING: readonly Template[] = [
  ({ draw }) => `select * from item where id = ${draw.id()} for update`,
  ({ draw }) => `select * from kind where id = ${draw.id()} lock in share mode`,
  ({ draw }) => `select id from sale where id = ${draw.id()} for update nowait`,
  ({ draw }) => `select id from sale where id = ${draw.id()} for update skip locked`,
  ({ draw }) => `select * from (select id from item where id = ${draw.id()} for update) d`,
  ({ draw }) => `select * from kind where id = ${draw.id()} for share`,
  ({ me }) => `select * from mine${me.index} where id < 3 order by id for update`,
];

const ABOUT_THE_SESSION: readonly Template[] = [
  () => 'select database(), schema()',
  () => 'select user(), current_user(), session_user()',
  () => 'select connection_id() = connection_id() as same',
  () => 'select @@autocommit, @@sql_mode, @@session.time_zone',
  () => 'select @@session.group_concat_max_len, @@local.div_precision_increment, @@sql_select_limit',
  () =>
    'select @@character_set_client, @@character_set_results, @@collation_connection, @@character_set_connection',
  () =>
    "show variables where variable_name in ('sql_mode', 'autocommit', 'sql_safe_updates', 'foreign_key_checks')",
  () => "show session variables like 'max_error_count'",
  () => 'select version() = @@version as same',
  () => 'show tables',
  () => 'show full tables from w1',
  () => 'show columns from item',
  () => 'describe kind',
  () => 'show create table mine0',
  () => 'show create view v_plain',
  () => 'show create procedure p_read',
  () => "show databases like 'w_'",
  () => "show collation like 'utf8mb4_bin'",
  () =>
    "select table_name, table_type, engine from information_schema.tables where table_schema in ('w1', 'w2') order by table_name, table_type",
  () =>
    "select column_name, column_type from information_schema.columns where table_schema = 'w1' and table_name = 'shape' order by ordinal_position",
  () =>
    "select routine_name, routine_type from information_schema.routines where routine_schema = 'w1' order by routine_name",
  () => 'explain select 1',
  () => 'explain select * from kind where id = 1',
  () => 'select @@in_transaction',
  () => 'checksum table kind',
];

const FOUND_ROWS: readonly ((place: Parameters<Template>[0]) => string[])[] = [
  ({ draw }) => [
    `select sql_calc_found_rows id from item order by id limit ${1 + draw.int(3)}`,
    'select found_rows()',
  ],
  ({ draw }) => [`select id from item order by id limit ${1 + draw.int(3)}`, 'select found_rows() as n'],
  () => ['select id from kind', 'select found_rows(), found_rows() + 1'],
  () => ['select sql_calc_found_rows id from sale order by id limit 1', 'select 5', 'select found_rows()'],
  () => ['update item set stock = stock + 1 where id < 3', 'select found_rows()'],
  () => [
    'select sql_calc_found_rows id from kind where id > 1 order by id limit 1',
    'set @n = found_rows()',
    'select @n',
  ],
  () => ['show tables', 'select found_rows()'],
  () => ['select found_rows()'],
];

export const readFamilies: readonly Family[] = [
  statements('plain read', 30, PLAIN),
  statements('view', 3, VIEWS),
  statements('locking read', 3, LOCKING),
  statements('about the session', 6, ABOUT_THE_SESSION),
  sequences('found rows', 4, FOUND_ROWS),
];
