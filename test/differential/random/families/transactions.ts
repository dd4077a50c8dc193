/**
 * Transactions in every way to begin and to end them. What is done inside comes from other families, too:
 * a transaction stays open while other steps of its session follow.
 */
import type { Draw } from '../draw.ts';
import { sequences, type Family, type Place } from './family.ts';
import { isolationLevel } from './settings.ts';

type Several = (place: Place) => string[];

function ending(draw: Draw): string {
  return draw.pick([
    'commit',
    'commit',
    'rollback',
    'commit work',
    'rollback and no chain',
    'commit no release',
  ]);
}

function change({ draw, me }: Place): string {
  return draw.pick([
    `insert into mine${me.index} (v, s) values (${draw.fresh()}, 'in transaction')`,
    `update mine${me.index} set s = 't${draw.fresh()}' where id < ${draw.id()} order by id`,
    `update item set stock = ${draw.fresh()} where id = ${draw.id()}`,
    `insert into audit (what) values ('t${draw.fresh()}')`,
    `delete from mine${me.index} where id = ${draw.id()}`,
  ]);
}

function look({ draw, me }: Place): string {
  return draw.pick([
    `select * from mine${me.index} order by id`,
    'select id, stock from item order by id',
    'select count(*) from audit',
    'select count(*) from sale',
    'select f_count()',
    'select * from v_reads order by id',
  ]);
}

const TRANSACTIONS: readonly Several[] = [
  (place) => ['begin', look(place), change(place), look(place), ending(place.draw), look(place)],
  (place) => ['start transaction', change(place), look(place), ending(place.draw), look(place)],
  (place) => [
    'start transaction read only',
    look(place),
    ...(place.draw.chance(40) ? [change(place)] : []),
    look(place),
    place.draw.pick(['commit', 'rollback']),
    look(place),
  ],
  (place) => [
    'start transaction with consistent snapshot, read only',
    look(place),
    look(place),
    look(place),
    'commit',
  ],
  (place) => ['start transaction read write', change(place), 'commit', look(place)],
  (place) => [
    'begin',
    'savepoint one',
    change(place),
    'savepoint two',
    change(place),
    'rollback to one',
    look(place),
    ending(place.draw),
  ],
  (place) => [
    'begin',
    change(place),
    'release savepoint missing',
    // After that MySQL 5.6 commits what is open when the session goes.
    ...(place.draw.flavour === 'mysql56' ? [] : ['rollback to savepoint missing']),
    look(place),
    ending(place.draw),
  ],
  (place) => [
    'set autocommit = 0',
    look(place),
    change(place),
    look(place),
    ending(place.draw),
    look(place),
    'set autocommit = 1',
    look(place),
  ],
  (place) => ['SET AUTOCOMMIT=0', change(place), 'set autocommit = on', look(place)],
  (place) => [
    `set transaction isolation level ${isolationLevel(place.draw)}`,
    'begin',
    look(place),
    change(place),
    ending(place.draw),
  ],
  (place) => ['set transaction read only', look(place), change(place), look(place)],
  (place) => ['set transaction read only', 'begin', change(place), look(place), 'commit'],
  (place) => [
    `set session transaction isolation level ${isolationLevel(place.draw)}`,
    'begin',
    look(place),
    look(place),
    look(place),
    ending(place.draw),
  ],
  (place) => [
    'set session transaction isolation level read committed',
    'start transaction read only',
    look(place),
    look(place),
    look(place),
    'commit',
    'set session transaction isolation level repeatable read',
  ],
  (place) => ['begin', change(place), 'begin', look(place), 'rollback', look(place)],
  (place) => [
    'begin',
    change(place),
    'create table if not exists made0 (id int primary key)',
    'rollback',
    look(place),
  ],
  (place) => ['begin', change(place), 'commit and chain', look(place), 'rollback', look(place)],
  (place) => [
    'begin',
    `insert into mine${place.me.index} (id, v) values (1, 5)`,
    `insert into mine${place.me.index} (id, v) values (1, 6)`,
    look(place),
    ending(place.draw),
  ],
  (place) => ['begin', 'select * from missing_table', look(place), ending(place.draw)],
  (place) => [
    `xa start 'x${place.me.index}'`,
    change(place),
    look(place),
    `xa end 'x${place.me.index}'`,
    `xa ${place.draw.pick(['rollback', 'commit'])} 'x${place.me.index}'${place.draw.chance(70) ? '' : ' one phase'}`,
    `xa rollback 'x${place.me.index}'`,
  ],
  (place) => ['begin', look(place)],
  (place) => [ending(place.draw)],
  (place) => [
    'set session transaction read only',
    look(place),
    change(place),
    'set session transaction read write',
    change(place),
  ],
  (place) => [
    'set completion_type = 1',
    'begin',
    change(place),
    'commit',
    look(place),
    'rollback',
    'set completion_type = 0',
    'commit',
  ],
  (place) => ['/*!40000 begin */', change(place), 'ROLLBACK /* away with it */', look(place)],
  (place) => ['select @@autocommit', 'begin', 'select @@autocommit', look(place), 'select 1', 'commit'],
];

export const transactionFamilies: readonly Family[] = [sequences('transaction', 11, TRANSACTIONS)];
