-- What the command lines are given: results, an error that is passed over (-f), the session's state.
set names utf8mb4;
drop table if exists cli;
create table cli (id int primary key, v varchar(50), b longblob);
insert into cli values (1, 'äöü', null), (2, '😀', x'00ff');
select id, v, hex(b) from cli order by id;
insert into cli values (1, 'again', null);
select * from missing;
begin;
update cli set v = 'changed';
rollback;
select v from cli order by id;
prepare s from 'select ? + 1 as n';
set @a = 41;
execute s using @a;
insert into cli values (3, 'big', repeat('x', 20000000));
select length(b), crc32(b) from cli where id = 3;
update cli set v = '1' where id > 1;
show warnings;
use mysql
select database();
use demo
drop table cli;
