/**
 * The two small databases that every scenario begins with. Their names say what the generator must know:
 * which tables a statement touches is found by these names alone (see world.ts).
 */
import type { LabFlavour } from '../../lab/flavours.ts';

export const DATABASES = ['w1', 'w2'] as const;

/** Sessions have tables of their own for what would block others: mine0, mine1, … */
export const MOST_SESSIONS = 6;

/** Statements that make both databases anew; what a scenario of before has left is dropped first. */
export function setupStatements(flavour: LabFlavour, variablesByTrigger: boolean): string[] {
  return [
    ...DATABASES.map((database) => `drop database if exists ${database}`),
    'create database w1 character set utf8mb4 collate utf8mb4_unicode_ci',
    'create database w2 character set latin1',
    'use w1',
    ...TABLES,
    ...Array.from({ length: MOST_SESSIONS }, (_, index) => mine(index)),
    ...ROWS,
    ...ROUTINES,
    ...(variablesByTrigger ? [TRIGGER_WITH_VARIABLE] : []),
    ...(flavour === 'mariadb' ? ['create sequence seq start with 10 increment by 5'] : []),
    ...SECOND,
  ];
}

const TABLES = [
  `create table item (
     id int auto_increment primary key, name varchar(40) not null, price decimal(10,2) not null default 1.00,
     kind_id int, stock int default 0, made date, unique key (name), key (kind_id)) engine=innodb`,
  `create table kind (id int primary key, label varchar(20), parent int) engine=innodb`,
  `create table sale (
     id bigint unsigned auto_increment primary key, item_id int, amount int, at timestamp null, note text,
     key (item_id)) engine=innodb`,
  `create table pairs (k varchar(30) primary key, v varchar(100)) engine=innodb`,
  `create table audit (id int auto_increment primary key, what varchar(60)) engine=innodb`,
  `create table watched (id int auto_increment primary key, v int) engine=innodb`,
  `create table shape (id int primary key, c0 int) engine=innodb`,
  `create table parent (id int primary key, v int) engine=innodb`,
  `create table child (
     id int primary key, parent_id int,
     constraint of_parent foreign key (parent_id) references parent (id) on delete cascade) engine=innodb`,
  `create table types (
     id int primary key, b bit(9), f float, d double, y year, t time, dt datetime, ts timestamp null,
     e enum('small','large'), st set('a','b','c'), bl varbinary(20), big bigint unsigned, txt text) engine=innodb`,
];

function mine(index: number): string {
  return `create table mine${index} (
    id int auto_increment primary key, v int, s varchar(30), unique key one_v (v)) engine=innodb`;
}

const ROWS = [
  `insert into kind values (1, 'fruit', null), (2, 'cheese', null), (3, 'soft cheese', 2), (4, null, 1)`,
  `insert into item (name, price, kind_id, stock, made) values
     ('apple', 0.50, 1, 100, '2020-01-31'), ('Pear', 0.75, 1, 0, '2020-02-29'), ('käse', 12.30, 2, 7, null),
     ('Ärger', 0.00, null, -1, '1999-12-31'), ('brie', 9.99, 3, 20, '2021-06-01'), ('10', 10, 4, 10, '2022-10-10')`,
  `insert into sale (item_id, amount, at, note) values
     (1, 5, '2020-03-01 10:00:00', 'first'), (1, 2, '2020-03-02 23:59:59', null), (3, 1, null, 'ö'), (9, 4, null, '')`,
  `insert into pairs values ('a', 'one'), ('b', 'two'), ('A b', null)`,
  `insert into shape values (1, 10), (2, 20)`,
  `insert into parent values (1, 1), (2, 2)`,
  `insert into child values (1, 1), (2, 1), (3, 2)`,
  `insert into types values
     (1, b'101', 1.5, 2.25, 2020, '10:11:12', '2020-01-02 03:04:05', '2020-06-07 08:09:10', 'large', 'a,c', x'00ff',
      18446744073709551615, 'text'),
     (2, null, null, null, null, null, null, null, null, null, null, null, null)`,
];

const TRIGGER_WITH_VARIABLE =
  'create trigger watched_update after update on watched for each row set @trigger_saw = new.v';

const ROUTINES = [
  `create function f_pure(x int) returns int deterministic no sql return x * 2`,
  `create function f_count() returns int reads sql data return (select count(*) from item)`,
  `create function f_write(x int) returns int modifies sql data begin
     insert into audit (what) values (concat('f_write ', x)); return x; end`,
  `create function f_insert_id(x int) returns int modifies sql data begin
     insert into audit (what) values ('id'); return last_insert_id(); end`,
  `create function f_variable(x int) returns int no sql begin set @from_function = x; return x + 1; end`,
  `create procedure p_read() select id, name from item order by id limit 3`,
  `create procedure p_write(x int) begin
     insert into audit (what) values (concat('p_write ', x)); select row_count() as changed; end`,
  `create procedure p_temporary(x int) begin
     create temporary table if not exists scratch (id int primary key, v varchar(20));
     replace into scratch values (x, 'by p_temporary'); end`,
  `create procedure p_variable(x int) set @from_procedure = x, @other = concat('p', x)`,
  `create procedure p_out(in x int, out y int, inout z int) begin set y = x + 1; set z = coalesce(z, 0) + x; end`,
  `create procedure p_two() begin select id from kind order by id; select 'second' as word; end`,
  `create procedure p_fails(x int) begin
     insert into audit (what) values ('before'); signal sqlstate '45000' set message_text = 'of p_fails'; end`,
  `create procedure p_warns() signal sqlstate '01000' set message_text = 'a warning of p_warns', mysql_errno = 1000`,
  `create procedure p_settings(x int) set session group_concat_max_len = 4 + x`,
  `create procedure p_transaction(x int) begin
     start transaction; insert into audit (what) values (concat('t', x)); commit; end`,
  `create procedure p_opens(x int) begin start transaction; insert into audit (what) values ('open'); end`,
  `create procedure p_dynamic(x int) begin
     set @text = 'select id, v from pairs_missing'; if x > 2 then set @text = 'select k from pairs order by k'; end if;
     prepare dynamic from @text; execute dynamic; end`,
  `create trigger watched_insert before insert on watched for each row
     insert into audit (what) values (concat('watched ', new.v))`,
  `create view v_plain as select i.id, i.name, k.label from item i left join kind k on k.id = i.kind_id`,
  `create view v_hidden as select id, f_write(id) as written from kind`,
  `create view v_reads as select id, label, f_count() as items from kind`,
  `create view v_stock as select id, name, stock from item where stock > 0 with check option`,
];

const SECOND = [
  'use w2',
  `create table item (id int primary key, name varchar(40), other int) engine=innodb`,
  `insert into item values (1, 'of w2', 7), (2, x'e4', 8)`,
  `create table only_here (id int auto_increment primary key, v int) engine=innodb`,
  `create function f_pure(x int) returns int deterministic no sql return x * 1000`,
  `create procedure p_read() select id, other from item order by id`,
  `create view v_plain as select id, name from item`,
  'use w1',
];
