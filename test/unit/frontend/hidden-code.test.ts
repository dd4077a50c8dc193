import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { mayName, unsafeViews, type ViewName } from '../../../src/frontend/hidden-code.ts';
import { DIALECTS, viewRow } from '../../support/statements.ts';

function unsafe(views: Record<string, string>): ViewName[] {
  return unsafeViews(Object.entries(views).map(viewRow), DIALECTS.mariadb).toSorted();
}

suite('a view', () => {
  test('that only reads is as good as a table', () => {
    assert.deepEqual(
      unsafe({ plain: 'select `t`.`a` AS `a`,count(0) AS `n` from `db`.`t` group by `t`.`a`' }),
      [],
    );
  });

  test('that calls a stored function, or asks the connection, is not', () => {
    const views = {
      calls: 'select `db`.`f`() AS `x`',
      asks: 'select last_insert_id() AS `id`',
      locks: "select get_lock('a',0) AS `got`",
      varies: 'select @@server_id AS `id`',
      plain: 'select 1 AS `one`',
    };
    assert.deepEqual(unsafe(views), ['asks', 'calls', 'locks', 'varies']);
  });

  test('whose text the account may not see is not', () => {
    assert.deepEqual(unsafe({ unseen: '' }), ['unseen']);
  });

  test('that reads from such a one is not, however far away that is and in whichever order they come', () => {
    const views = {
      third: 'select `second`.`x` AS `x` from `db`.`second`',
      second: 'select `first`.`x` AS `x` from `db`.`First`',
      First: 'select `db`.`f`() AS `x`',
      other: 'select 1 AS `x`',
    };
    assert.deepEqual(unsafe(views), ['first', 'second', 'third']);
  });
});

suite('a statement', () => {
  const text = (sql: string): [Buffer, number, number] => [Buffer.from(sql), 0, Buffer.byteLength(sql)];

  test('names a view in any case and quoting', () => {
    assert.equal(mayName(['v_lim'], ...text('SELECT * FROM `V_Lim`')), true);
    assert.equal(mayName(['v_lim'], ...text('SELECT * FROM plain')), false);
  });

  /** Of a view that calls a function, as this statement might name it. */
  const names = (view: string, sql: string | Buffer): boolean => {
    const bytes = Buffer.from(sql);
    return mayName(unsafe({ [view]: 'select `f`() AS `x`' }), bytes, 0, bytes.length);
  };

  const SPELLINGS: readonly [view: string, characterSet: string, name: Buffer | string][] = [
    ['Größe', 'utf8', 'Größe'],
    ['Größe', 'latin1', Buffer.from('Größe', 'latin1')],
    ['größe', 'latin1, in capital letters', Buffer.from('GRÖßE', 'latin1')],
    ['größe', 'utf8, in capital letters', 'GRÖßE'],
    ['模', 'gbk', Buffer.from('c4a3', 'hex')],
    ['表', 'sjis, a backslash in it', Buffer.from('955c', 'hex')],
    ['Рё', 'cp1251', Buffer.from('d0b8', 'hex')],
    ['äx😀', 'utf8mb4', 'äx😀'],
    ['äx', 'gb18030', Buffer.from('8130853178', 'hex')],
  ];
  for (const [view, characterSet, name] of SPELLINGS) {
    test(`names ${view} in ${characterSet}`, () => {
      for (const [before, after] of [
        ['select x from ', ''],
        ['select x from `db`.`', '` as a'],
        ['select x from (', ')'],
      ] as const) {
        const sql = Buffer.concat([Buffer.from(before), Buffer.from(name), Buffer.from(after)]);
        assert.equal(names(view, sql), true);
      }
    });
  }

  test('names no such view by other words', () => {
    assert.equal(names('Größe', 'select x from grosse, `Grünt`'), false);
    assert.equal(names('Größe', "select 'Gr', 'ö', 'e', 'eine Größenangabe'"), false);
    assert.equal(names('отчёт', "select 'да', 'x'"), false);
  });

  test('names a view with a quote in its name', () => {
    assert.equal(names('a`b', 'select x from `a``b`'), true);
    assert.equal(names('a"b', 'select x from "a""b"'), true);
    assert.equal(names('a.b c', 'select x from `a.b c`'), true);
    assert.equal(names('a.b', 'select x from `axb`'), false);
  });

  test('names a view by one that reads from it', () => {
    const views = { Größe: 'select `f`() AS `x`', über: 'select `größe`.`x` AS `x` from `w1`.`größe`' };
    assert.equal(unsafe(views).length, 2);
  });

  test('is looked at between its ends only', () => {
    assert.equal(mayName(['v'], Buffer.from('v select 1 v'), 1, 11), false);
  });

  test('names nothing where there is nothing to name', () => {
    assert.equal(mayName([], ...text('SELECT * FROM v')), false);
  });
});
