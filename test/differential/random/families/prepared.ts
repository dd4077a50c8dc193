/**
 * Prepared statements, as text and as commands of the protocol: kept and run again while the session goes
 * from one connection to another.
 */
import type { Action } from '../scenario.ts';
import { query, sequences, type Family, type Place } from './family.ts';

const SLOTS = 4;

/** A text with the kinds of its parameters. */
type Prepared = readonly [sql: (place: Place) => string, kinds: string];

const TEXTS: readonly Prepared[] = [
  [() => 'select * from item where id = ?', 'n'],
  [() => 'select id, name, ? as given from item where id < ? order by id', 'sn'],
  [() => 'select count(*) from sale where amount > ?', 'n'],
  [() => 'select * from types order by id', ''],
  [() => 'select * from kind where label = ? or id = ? order by id', 'sn'],
  [() => 'insert into sale (item_id, amount, note) values (?, ?, ?)', 'nns'],
  [() => 'update item set stock = ? where id = ?', 'nn'],
  [() => 'insert into pairs values (?, ?) on duplicate key update v = ?', 'sss'],
  [({ me }) => `insert into mine${me.index} (v, s) values (?, ?)`, 'ns'],
  [({ me }) => `select * from mine${me.index} where id > ? order by id`, 'n'],
  [() => 'select last_insert_id()', ''],
  [() => 'select row_count()', ''],
  [() => 'select @a, ?', 's'],
  [() => 'select database()', ''],
  [() => 'select * from shape order by id', ''],
  [() => 'select * from item where id = ? for update', 'n'],
  [() => 'select group_concat(name order by id) from item where name <> ?', 's'],
  [() => 'select f_write(?)', 'n'],
  [() => 'select f_pure(?)', 'n'],
  [() => 'select * from v_hidden where id = ?', 'n'],
  [() => 'select cast(? as signed)', 's'],
  [() => 'select ? + 1, ?', 'ns'],
  [() => 'select found_rows()', ''],
  [() => 'show warnings', ''],
  [() => 'select * from made0', ''],
  [() => 'select missing_column from item where id = ?', 'n'],
  [() => 'delete from sale where id = ?', 'n'],
  [() => 'begin', ''],
  [() => 'commit', ''],
  [() => 'set @a = ?', 's'],
  [() => 'call p_read()', ''],
  [() => 'call p_out(?, @y, @z)', 'n'],
  [() => 'select 1; select 2', ''],
  [() => 'selec ?', 'n'],
];

function values({ draw }: Place, kinds: string): (string | number | null)[] {
  return [...kinds].map((kind) => {
    if (draw.chance(10)) return null;
    return kind === 'n' ? draw.int(12) : draw.pick(['apple', 'a', 'käse', '', '12x', `p${draw.fresh()}`]);
  });
}

function execute(place: Place, slot: number, kinds: string): Action {
  const { draw } = place;
  const action: Action = { do: 'execute', slot, kinds, values: values(place, kinds) };
  if (kinds !== '' && draw.chance(30)) action.bare = true;
  return action;
}

/** The kinds of what lies in a slot; '' of what is not known. */
function kindsIn({ me }: Place, slot: number): string {
  const sql = me.slots.get(slot)?.sql;
  return TEXTS.find(([text]) => text({ me } as Place) === sql)?.[1] ?? '';
}

function prepareAndExecute(place: Place): Action[] {
  const { draw } = place;
  const slot = draw.int(SLOTS);
  const [text, kinds] = draw.pick(TEXTS);
  const sql = text(place);
  const actions: Action[] = [{ do: 'prepare', slot, sql }];
  for (let count = 1 + draw.int(3); count > 0; count--) actions.push(execute(place, slot, kinds));
  return draw.chance(40) ? [...actions, { do: 'close', slot }] : actions;
}

function executeAgain(place: Place): Action[] {
  const slot = place.draw.int(SLOTS);
  return [execute(place, slot, kindsIn(place, slot))];
}

function resetOrClose({ draw }: Place): Action[] {
  const slot = draw.int(SLOTS);
  return [draw.chance(50) ? { do: 'reset_statement', slot } : { do: 'close', slot }];
}

/** Two preparations of one text live side by side. */
function twice(place: Place): Action[] {
  const [text, kinds] = place.draw.pick(TEXTS);
  const sql = text(place);
  return [
    { do: 'prepare', slot: 0, sql },
    { do: 'prepare', slot: 1, sql },
    execute(place, 0, kinds),
    { do: 'close', slot: 0 },
    execute(place, 1, kinds),
  ];
}

/** The table changes its shape under a prepared statement. */
function overChange(place: Place): Action[] {
  return [
    { do: 'prepare', slot: 2, sql: 'select * from shape order by id' },
    { do: 'execute', slot: 2, kinds: '', values: [] },
    query(`alter table shape add column c${1 + place.draw.int(4)} int default 3`),
    { do: 'execute', slot: 2, kinds: '', values: [] },
  ];
}

function withCursor(place: Place): Action[] {
  const { draw } = place;
  const slot = draw.int(SLOTS);
  const sql = draw.pick([
    'select id, name from item order by id',
    'select * from kind order by id',
    'select id from item where id = 99',
  ]);
  return [
    { do: 'prepare', slot, sql },
    { do: 'execute', slot, kinds: '', values: [], cursor: true },
    { do: 'fetch', slot, rows: 1 + draw.int(3) },
    ...(draw.chance(40) ? [query('select count(*) from sale')] : []),
    { do: 'fetch', slot, rows: 9 },
    ...(draw.chance(30) ? [{ do: 'fetch', slot, rows: 1 } as const] : []),
    draw.chance(50) ? { do: 'close', slot } : { do: 'reset_statement', slot },
  ];
}

function withLongData(place: Place): Action[] {
  const { draw } = place;
  const slot = draw.int(SLOTS);
  const isWrite = draw.chance(50);
  const sql = isWrite ? 'insert into sale (item_id, note) values (?, ?)' : 'select ? as a, ? as b';
  const long = (): Action => ({ do: 'long_data', slot, index: 1, text: `long ${draw.fresh()} ` });
  const run: Action = { do: 'execute', slot, kinds: 'ns', values: [draw.int(9), 'short'] };
  return [
    { do: 'prepare', slot, sql },
    long(),
    ...(draw.chance(50) ? [query('select count(*) from item'), long()] : []),
    ...(draw.chance(20) ? [{ do: 'reset_statement', slot } as const] : []),
    run,
    run,
    query('select * from sale order by id'),
  ];
}

const AS_TEXT: readonly ((place: Place) => string[])[] = [
  ({ draw }) => [
    "prepare p from 'select * from item where id = ?'",
    `set @id = ${draw.id()}`,
    'execute p using @id',
    'deallocate prepare p',
  ],
  ({ draw }) => [
    "prepare w from 'insert into sale (item_id, amount) values (?, 7)'",
    `set @id = ${draw.id()}`,
    'execute w using @id',
    'execute w using @id',
    'select count(*) from sale',
  ],
  () => ["set @q = 'select count(*) from kind'", 'prepare q from @q', 'execute q', 'select 1', 'execute q'],
  () => ['execute p using @id'],
  () => ['execute q', 'drop prepare q', 'execute q'],
  () => ["prepare bad from 'selec 1'", 'execute bad'],
  () => [
    "prepare t from 'create temporary table if not exists scratch (id int primary key, v varchar(20))'",
    'execute t',
    'select * from scratch',
  ],
  () => ["prepare f from 'select * from item where id = 1 for update'", 'execute f'],
  ({ draw }) => [`prepare s from 'set @a = ${draw.int(99)}'`, 'execute s', 'select @a'],
  () => ["prepare l from 'select f_write(5)'", 'execute l', 'select count(*) from audit'],
];

const IMMEDIATE: readonly ((place: Place) => string[])[] = [
  () => ["execute immediate 'select count(*) from item'"],
  ({ draw }) => [
    `execute immediate 'insert into audit (what) values (?)' using '${draw.fresh()}'`,
    'select count(*) from audit',
  ],
  () => ["execute immediate concat('set @a = ', '5')", 'select @a'],
];

export const preparedFamilies: readonly Family[] = [
  { name: 'prepared', weight: 8, make: prepareAndExecute },
  { name: 'prepared again', weight: 6, make: executeAgain },
  { name: 'prepared, reset or close', weight: 2, make: resetOrClose },
  { name: 'prepared twice', weight: 2, make: twice },
  { name: 'prepared over a change', weight: 1, make: overChange },
  { name: 'cursor', weight: 2, make: withCursor },
  { name: 'long data', weight: 2, make: withLongData },
  sequences('prepared as text', 4, AS_TEXT),
];

/** MariaDB only. */
export const immediateFamilies: readonly Family[] = [sequences('immediate', 1, IMMEDIATE)];
