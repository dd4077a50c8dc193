import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIni } from '../../../src/config/ini.ts';

/** The value that `line` gives to `key`, or the problem it makes. */
function valueOf(line: string): string {
  const { sections, problems } = parseIni(`[user app]\n${line}\n`);
  return problems[0]?.text ?? sections[0]!.entries[0]!.value;
}

const values: [line: string, value: string][] = [
  ['password = secret', 'secret'],
  ['password=secret', 'secret'],
  ['  password  =  two words  ', 'two words'],
  ['password = a=b=c', 'a=b=c'],
  ['password = pa#ss;word', 'pa#ss;word'],
  ['password = secret # a comment', 'secret'],
  ['password = secret\t; a comment', 'secret'],
  ["password = '# not a comment'", '# not a comment'],
  ['password = "a; b" # a comment', 'a; b'],
  ['password = " blanks "', ' blanks '],
  ["password = 'it''s'", "it's"],
  ['password = "say ""no"""', 'say "no"'],
  [`password = 'a"b'`, 'a"b'],
  ["password = ''", ''],
  ['password = pass"word', 'pass"word'],
];

for (const [line, value] of values) {
  test(`reads ${JSON.stringify(line)}`, () => assert.equal(valueOf(line), value));
}

const problems: [line: string, problem: RegExp][] = [
  ['password =', /^\[user app\] password: has no value; write ''/],
  ['password = # secret', /has no value: # or ; after a blank begins a comment/],
  ["password = 'open", /the quote ' is not closed/],
  ["password = 'a' b", /'b' stands behind the closing quote/],
  ['password', /neither \[section\], key = value nor a comment/],
  ['= value', /neither \[section\], key = value nor a comment/],
  ['[user', /is not a section/],
  ['[]', /is not a section/],
];

for (const [line, problem] of problems) {
  test(`refuses ${JSON.stringify(line)}`, () => assert.match(valueOf(line), problem));
}

test('a broken line does not hide the lines after it, and each is counted', () => {
  const read = parseIni('\uFEFF# comment\r\n[cluster main]\r\nbroken\r\nrise = 2\r\n; end');
  assert.deepEqual(read.problems, [
    { line: 3, text: 'this line is neither [section], key = value nor a comment' },
  ]);
  assert.deepEqual(read.sections, [
    {
      kind: 'cluster',
      name: 'main',
      line: 2,
      entries: [{ key: 'rise', value: '2', line: 4, quoted: false, commented: false }],
      brokenKeys: [],
    },
  ]);
});

test('a key before the first section is a problem', () => {
  assert.deepEqual(parseIni('rise = 2').problems, [
    { line: 1, text: 'rise: stands before the first [section]' },
  ]);
});
