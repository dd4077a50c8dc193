import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { doubleLiteral, quoteName, textLiteral } from '../../../src/binlog/literal.ts';

suite('literals', () => {
  const cases: [text: string | Buffer, charset: string, sql: string][] = [
    ["it's", 'utf8mb4', "_utf8mb4'it''s'"],
    ['中文 😀', 'utf8mb4', "_utf8mb4'中文 😀'"],
    ['plain', 'latin1', "_utf8mb4'plain'"],
    // A backslash means something in one SQL mode and nothing in another.
    ['a\\', 'utf8mb4', "_utf8mb4 X'615C'"],
    ['a\nb', 'utf8mb4', "_utf8mb4 X'610A62'"],
    ['\u2028', 'utf8mb4', "_utf8mb4 X'E280A8'"],
    [Buffer.from([0xe9]), 'latin1', "_latin1 X'E9'"],
    // Bytes that are no text of their own character set are kept as they are.
    [Buffer.from([0xff]), 'utf8mb4', "_utf8mb4 X'FF'"],
    [Buffer.from([0, 0x61]), 'ucs2', "_ucs2 X'0061'"],
    [Buffer.from([0xd6, 0x5c]), 'gbk', "_gbk X'D65C'"],
  ];
  for (const [text, charset, sql] of cases) {
    test(`${sql}`, () => assert.equal(textLiteral(Buffer.from(text as string), charset), sql));
  }

  test('of doubles are doubles', () => {
    assert.deepEqual([0.1, 5, -0, 1e21, 5e-324].map(doubleLiteral), [
      '0.1e0',
      '5e0',
      '-0e0',
      '1e+21',
      '5e-324',
    ]);
  });

  test('of names keep their backticks', () => assert.equal(quoteName('a`b'), '`a``b`'));
});
