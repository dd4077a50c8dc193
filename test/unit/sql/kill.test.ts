import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayBeKill, parseKill } from '../../../src/sql/kill.ts';

/** As the relay asks: the command byte comes first. */
function parse(sql: string) {
  const text = Buffer.from(`\x03${sql}`);
  return { found: parseKill(text, 1, text.length), mayBe: mayBeKill(text, 1, text.length), text };
}

const kills: [sql: string, query: boolean][] = [
  ['KILL 1073741825', false],
  ['kill 1073741825;', false],
  ['Kill Connection 1073741825', false],
  ['KILL QUERY 1073741825', true],
  ['kill hard query 1073741825 ; ', true],
  ['KILL SOFT CONNECTION 1073741825', false],
  ['  \t\r\n kill\n1073741825', false],
  ['/* why */ KILL /* who */ 1073741825 -- done', false],
  ['-- first\nKILL 1073741825', false],
  ['# first\nKILL 1073741825', false],
  ['/*!KILL 1073741825*/', false],
  ['/*!50000 KILL QUERY*/ 1073741825', true],
  ['/*M! KILL 1073741825 */', false],
  ['/**/KILL/**/1073741825/**/', false],
];

for (const [sql, query] of kills) {
  test(`is a KILL: ${JSON.stringify(sql)}`, () => {
    const { found, mayBe } = parse(sql);
    assert.equal(mayBe, true);
    assert.equal(found?.query, query);
    assert.equal(found.id, 1073741825);
  });
}

const others = [
  '',
  ' ',
  'KILL',
  'KILL QUERY',
  'KILL USER app',
  'KILL QUERY ID 5',
  'KILL -5',
  'KILL 5+5',
  'KILL (5)',
  'KILL @id',
  "KILL '5'",
  'KILL `5`',
  'KILL 0x10',
  'KILL 5 6',
  'KILL 5; SELECT 1',
  'KILL CONNECTION_ID()',
  'KILL 12345678901',
  'KILLED 5',
  'K ILL 5',
  'SELECT "KILL 5"',
  '/* KILL 5 */ SELECT 1',
  '-- KILL 5',
  'SELECT 1; KILL 5',
  '`KILL` 5',
];

for (const sql of others) {
  test(`is left to the server: ${JSON.stringify(sql)}`, () => {
    assert.equal(parse(sql).found, undefined);
  });
}

test('what begins with another word is not looked at twice', () => {
  for (const sql of ['SELECT 1', 'update t', 'ß', '(select 1)', ''])
    assert.equal(parse(sql).mayBe, false, sql);
});
