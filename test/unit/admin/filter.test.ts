import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyFilter, matchesLike } from '../../../src/admin/filter.ts';
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
    applyFilter(table, { kind: 'where', conditions }).rows.map((row) => row[0]);
  assert.deepEqual(idsWhere({ column: 'LAG_MS', value: '40' }), [2, 3]);
  assert.deepEqual(idsWhere({ column: 'lag_ms', value: '40' }, { column: 'name', value: 'DB2' }), [2]);
  assert.deepEqual(idsWhere({ column: 'lag_ms', value: 'null' }), [1]);
});

test('WHERE on a column that is not there names those that are', () => {
  assert.throws(() => applyFilter(table, { kind: 'where', conditions: [{ column: 'lag', value: '1' }] }), {
    code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT',
    message: /no column 'lag'; known: id, name, lag_ms/,
  });
});
