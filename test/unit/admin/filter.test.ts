import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyFilter, matchesLike } from '../../../src/admin/filter.ts';
import type { Comparison, Condition } from '../../../src/admin/statement.ts';
import { tableOf } from '../../../src/admin/tables.ts';

const patterns: [subject: string, pattern: string, matches: boolean][] = [
  ['db1', 'db1', true],
  ['db1', 'DB1', true],
  ['db1', 'db', false],
  ['db1', 'db%', true],
  ['db1', '%1', true],
  ['db1', '%', true],
  ['', '%', true],
  ['', '_', false],
  ['db1', 'db_', true],
  ['db12', 'db_', false],
  ['a.b', 'a_b', true],
  ['aXb', 'a\\_b', false],
  ['a_b', 'a\\_b', true],
  ['100%', '100\\%', true],
  ['abcabd', '%ab_', true],
  ['abcabd', '%abc', false],
  ['db1', 'db(1', false],
];

for (const [subject, pattern, matches] of patterns) {
  test(`'${subject}' is ${matches ? '' : 'not '}like '${pattern}'`, () => {
    assert.equal(matchesLike(subject, pattern), matches);
  });
}

test('a hostile pattern costs no more than its length times that of the subject', () => {
  assert.equal(matchesLike('a'.repeat(5000), `${'%a'.repeat(500)}%b`), false);
});

const table = tableOf(
  ['id#', 'name', 'lag_ms#'],
  [
    [1, 'db1', null],
    [2, 'db2', 40],
    [3, 'other', 40],
  ],
  'name',
);

test('LIKE looks at the naming column', () => {
  const ids = applyFilter(table, { kind: 'like', pattern: 'db%' }).rows.map((row) => row[0]);
  assert.deepEqual(ids, [1, 2]);
});

test('WHERE compares any columns, all of them, without regard to case', () => {
  const idsWhere = (...conditions: { column: string; value: string }[]): unknown[] =>
    applyFilter(table, {
      kind: 'where',
      conditions: conditions.map((one) => ({ ...one, comparison: '=' })),
    }).rows.map((row) => row[0]);
  assert.deepEqual(idsWhere({ column: 'LAG_MS', value: '40' }), [2, 3]);
  assert.deepEqual(idsWhere({ column: 'lag_ms', value: '40' }, { column: 'name', value: 'DB2' }), [2]);
  assert.deepEqual(idsWhere({ column: 'lag_ms', value: 'null' }), [1]);
});

test('WHERE on a column that is not there names those that are', () => {
  assert.throws(
    () => applyFilter(table, { kind: 'where', conditions: [{ column: 'lag', comparison: '=', value: '1' }] }),
    {
      code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT',
      message: /no column 'lag'; known: id, name, lag_ms/,
    },
  );
});

const comparisons: [comparison: Comparison, column: string, value: string, ids: number[]][] = [
  ['>', 'id', '6', [7, 10]],
  ['>=', 'id', '7', [7, 10]],
  ['<', 'id', '10', [6, 7]],
  ['<=', 'id', '07', [6, 7]],
  ['=', 'id', '7.0', [7]],
  ['!=', 'id', '7', [6, 10]],
  ['>', 'lag_ms', '-1', [7]],
  ['!=', 'lag_ms', '40', []],
  ['=', 'lag_ms', 'null', [6, 10]],
  ['!=', 'lag_ms', 'NULL', [7]],
  ['>', 'name', 'db1', [7, 10]],
  ['<', 'name', 'DB2', [6]],
  ['like', 'name', 'db_', [6, 7]],
];
for (const [comparison, column, value, ids] of comparisons) {
  test(`WHERE ${column} ${comparison} ${value}`, () => {
    const rows = [
      [6, 'db1', null],
      [7, 'db2', 40],
      [10, 'other', null],
    ];
    const conditions = [{ column, comparison, value }];
    const found = applyFilter({ ...table, rows }, { kind: 'where', conditions }).rows.map(([id]) => id);
    assert.deepEqual(found, ids);
  });
}

test('WHERE on a column of numbers refuses what is none', () => {
  const conditions: Condition[] = [{ column: 'id', comparison: '>', value: 'six' }];
  assert.throws(() => applyFilter(table, { kind: 'where', conditions }), {
    code: 'DBPROXY_ADMIN_BAD_VALUE',
    message: /id = 'six' is not possible: the column holds numbers/,
  });
});
