import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { mayName, unsafeViews } from '../../../src/frontend/hidden-code.ts';
import { DIALECTS } from '../../support/statements.ts';

function unsafe(views: Record<string, string>): string[] {
  const rows = Object.entries(views).map(([name, text]) => `${name}\n${text}`);
  return unsafeViews(rows, DIALECTS.mariadb).toSorted();
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

  test('is looked at between its ends only', () => {
    assert.equal(mayName(['v'], Buffer.from('v select 1 v'), 1, 11), false);
  });

  test('names nothing where there is nothing to name', () => {
    assert.equal(mayName([], ...text('SELECT * FROM v')), false);
  });
});
