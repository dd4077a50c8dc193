/**
 * Writes, what a session may ask about its last one, and changes of the tables themselves.
 */
import { query, sequences, statements, type Family, type Place, type Template } from './family.ts';

const PLAIN: readonly Template[] = [
  ({ draw }) =>
    `insert into item (name, price, kind_id) values ('new ${draw.fresh()}', ${draw.int(90)}.5, ${draw.int(5)})`,
  ({ draw }) => `insert into sale (item_id, amount) values (${draw.id()}, ${draw.int(9)}), (${draw.id()}, 1)`,
  ({ draw }) => `insert into item (name) values ('${draw.word()}')`,
  ({ draw }) => `insert ignore into item (name, stock) values ('${draw.word()}', ${draw.int(9)})`,
  ({ draw }) =>
    `insert into item (id, name) values (${draw.id()}, 'id ${draw.fresh()}') on duplicate key update stock = stock + 1`,
  ({ draw }) => `update item set stock = ${draw.fresh()} where id = ${draw.id()}`,
  ({ draw }) =>
    `update item set stock = stock + 1, name = concat(left(name, 20), '~') where id = ${draw.id()}`,
  () => 'update item set stock = stock order by id',
  ({ draw }) =>
    `update item i join kind k on k.id = i.kind_id set i.price = i.price + ${draw.int(3)} where k.id = ${draw.int(5)}`,
  ({ draw }) => `delete from sale where id = ${draw.id()}`,
  ({ draw }) => `delete from item where id = ${draw.id()} and stock > 1000`,
  ({ draw }) => `delete s from sale s join item i on i.id = s.item_id where i.id = ${draw.id()}`,
  ({ draw }) => `replace into pairs values ('${draw.pick(['a', 'b', 'c'])}', 'r${draw.fresh()}')`,
  ({ draw }) =>
    `insert into pairs (k, v) values ('${draw.word()}', '${draw.word()}') on duplicate key update v = concat(v, '+')`,
  ({ draw }) =>
    `insert into sale (item_id, amount, note) select id, stock, name from item where id < ${draw.int(4)} order by id`,
  ({ draw }) => `insert into watched (v) values (${draw.fresh()})`,
  ({ draw }) => `update watched set v = v + 1 where id = ${draw.id()}`,
  ({ draw }) => `insert into parent values (${draw.int(20)}, 0)`,
  ({ draw }) => `insert into child values (${1000 + draw.fresh()}, ${draw.id()})`,
  ({ draw }) => `delete from parent where id = ${draw.int(20)}`,
  ({ draw }) =>
    `insert into types (id, y, e) values (${3 + draw.int(90)}, '20${10 + draw.int(80)}', 'small')`,
  ({ draw }) =>
    `insert into types (id, t, dt, d) values (${3 + draw.int(90)}, '99:99:99', '2020-13-45', 'abc')`,
  ({ draw, me }) => `insert into mine${me.index} (v, s) values (${draw.fresh()}, '${draw.word()}')`,
  ({ draw, me }) => `update mine${me.index} set s = '${draw.word()}' where id = ${draw.id()}`,
  ({ draw, me }) => `delete from mine${me.index} where id > ${draw.id()}`,
  ({ draw }) => `insert into w2.only_here (v) values (${draw.int(99)})`,
  ({ draw }) => `insert into only_here (v) values (${draw.int(99)})`,
  ({ draw }) => `insert into v_stock (name, stock) values ('view ${draw.fresh()}', ${draw.int(3)})`,
  ({ draw }) => `insert into kind values (${4 + draw.int(20)}, 'k${draw.int(99)}', ${draw.int(3)})`,
  ({ draw }) =>
    `with few as (select id from item where id = ${draw.id()}) update item set stock = 1 where id in (select id from few)`,
  ({ draw }) => `insert into audit (what) values ('${draw.fresh()}') returning id, what`,
  ({ draw }) => `delete from sale where id = ${draw.id()} returning id`,
  ({ draw }) => `select id into outfile '/nowhere/at/all${draw.fresh()}' from kind`,
  ({ draw }) => `insert into shape (id, c0) values (${draw.int(30)}, ${draw.int(9)})`,
];

type Several = (place: Place) => string[];

const LAST_INSERT_ID: readonly Several[] = [
  ({ draw }) => [`insert into item (name) values ('li ${draw.fresh()}')`, 'select last_insert_id()'],
  ({ draw }) => [
    `insert into sale (item_id, amount) values (1, 1), (2, 2), (3, ${draw.int(9)})`,
    'select id, amount from sale order by id',
    'select last_insert_id() as id, @@last_insert_id, @@identity',
  ],
  ({ draw, me }) => [
    `insert into mine${me.index} (v) values (${draw.fresh()})`,
    'select count(*) from kind',
    `select * from mine${me.index} where id = last_insert_id()`,
  ],
  ({ draw }) => [
    `update pairs set v = last_insert_id(${draw.int(999)}) where k = 'a'`,
    'select last_insert_id()',
  ],
  ({ draw }) => [`select last_insert_id(${draw.int(999)}) as given`, 'select last_insert_id()'],
  ({ draw }) => [
    `insert into watched (v) values (${draw.int(99)})`,
    'select last_insert_id()',
    'select count(*) from audit',
  ],
  ({ draw }) => [
    `insert into item (name) values ('a ${draw.fresh()}')`,
    'insert into sale (item_id, amount) values (last_insert_id(), 3)',
    'select * from sale order by id',
  ],
  () => ["insert into item (name) values ('apple')", 'select last_insert_id()'],
  () => ["insert ignore into item (name) values ('apple')", 'select last_insert_id()'],
  () => ['select last_insert_id()'],
];

const ROW_COUNT: readonly Several[] = [
  ({ draw }) => [`update item set price = price + 1 where id <= ${draw.id()}`, 'select row_count()'],
  ({ draw }) => [
    `delete from sale where id = ${draw.id()}`,
    'select row_count() as n',
    'select row_count() as n',
  ],
  () => ['select id from kind', 'select row_count()'],
  () => ["insert into pairs values ('a', 'again')", 'select row_count()'],
  ({ draw }) => [
    `replace into pairs values ('b', '${draw.fresh()}')`,
    'set @changed = row_count()',
    'select @changed',
  ],
  () => ['select row_count()'],
];

const CHANGES: readonly Several[] = [
  ({ draw }) => [
    `alter table shape add column c${1 + draw.int(4)} int default ${draw.int(9)}`,
    'select * from shape order by id',
  ],
  ({ draw }) => [`alter table shape drop column c${1 + draw.int(4)}`, 'select * from shape order by id'],
  () => [
    'alter table shape modify c0 varchar(20)',
    'select * from shape order by id',
    'select c0 + 1 from shape order by id',
  ],
  () => ['alter table shape modify c0 int', 'select * from shape order by id'],
  ({ draw }) => [
    `create table made${draw.int(2)} (id int primary key, v varchar(20))`,
    'select * from made0',
    'select * from made1',
  ],
  ({ draw }) => [
    `create table if not exists made${draw.int(2)} (a int auto_increment primary key) select id, label from kind`,
    'select * from made0',
  ],
  ({ draw }) => [`drop table made${draw.int(2)}`, 'select * from made0', 'select * from made1'],
  ({ draw }) => [`drop table if exists made${draw.int(2)}`, 'show warnings', 'select * from made0'],
  () => ['rename table made0 to made1', 'select count(*) from made1', 'select count(*) from made0'],
  () => [
    'truncate table shape',
    'select * from shape',
    'insert into shape (id) values (1)',
    'select * from shape',
  ],
  () => [
    'create index by_stock on item (stock)',
    'select id, stock from item order by stock, id',
    'drop index by_stock on item',
  ],
  ({ draw }) => [
    `create or replace view v_made as select id, ${draw.pick(['stock', 'name', 'kind_id'])} from item`,
    'select * from v_made order by id',
  ],
  () => ['drop view v_made', 'select * from v_made'],
  ({ draw }) => [
    'drop function if exists f_made',
    `create function f_made() returns int deterministic no sql return ${draw.int(99)}`,
    'select f_made()',
    'select f_made(), id from kind order by id',
  ],
  ({ draw }) => [
    'drop procedure if exists p_made',
    `create procedure p_made() select ${draw.int(99)} as made`,
    'call p_made()',
  ],
  () => ['analyze table kind', 'select count(*) from kind'],
];

/** DDL ends the session's own transaction; one that holds tables by locks would only get errors. */
function changes(): Family {
  return {
    name: 'change of a table',
    weight: 4,
    make: (place) => place.draw.pick(CHANGES)(place).map(query),
  };
}

const SEQUENCES: readonly Several[] = [
  () => ['select nextval(seq)', 'select lastval(seq)'],
  () => ['select next value for seq', 'select previous value for seq'],
  ({ draw }) => [`select setval(seq, ${100 + draw.int(900)})`, 'select nextval(seq)'],
  ({ draw }) => [
    `insert into pairs values (concat('s', nextval(seq)), '${draw.fresh()}')`,
    'select * from pairs order by k',
  ],
  () => ['select lastval(seq)'],
  () => ['select count(*), max(cache_size) from seq'],
];

export const writeFamilies: readonly Family[] = [
  statements('write', 22, PLAIN),
  sequences('last insert id', 6, LAST_INSERT_ID),
  sequences('row count', 3, ROW_COUNT),
  changes(),
];

/** MariaDB only. */
export const sequenceFamilies: readonly Family[] = [sequences('sequence', 2, SEQUENCES)];
