import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DEFAULT_JSON_PATH, parseBenchArguments } from '../../../bench/options.ts';

suite('the command line of the bench', () => {
  const nothing = { quick: false, jsonPath: null, only: null, flavour: 'mariadb' } as const;
  const good = [
    ['nothing', [], nothing],
    ['--quick', ['--quick'], { ...nothing, quick: true }],
    ['--json alone', ['--json'], { ...nothing, jsonPath: DEFAULT_JSON_PATH }],
    ['--json with a file', ['--json', 'a.json'], { ...nothing, jsonPath: 'a.json' }],
    ['--json=file', ['--json=a.json'], { ...nothing, jsonPath: 'a.json' }],
    [
      '--json before an option',
      ['--json', '--quick'],
      { ...nothing, quick: true, jsonPath: DEFAULT_JSON_PATH },
    ],
    ['--only with a name', ['--only', 'stream'], { ...nothing, only: 'stream' }],
    ['--only=name', ['--only=stream', '--quick'], { ...nothing, quick: true, only: 'stream' }],
    ['--flavour', ['--flavour', 'mysql97'], { ...nothing, flavour: 'mysql97' }],
  ] as const;
  for (const [what, args, expected] of good) {
    test(`takes ${what}`, () => assert.deepEqual(parseBenchArguments(args), expected));
  }

  const bad = [
    ['an unknown option', ['--fast'], /--fast is not known/],
    ['a word of its own', ['stream'], /stream is not known/],
    ['--only without a name', ['--only', '--quick'], /--only needs the name/],
    ['a flavour that is none', ['--flavour=oracle'], /--flavour needs mariadb or mysql97/],
  ] as const;
  for (const [what, args, complaint] of bad) {
    test(`complains of ${what}`, () => {
      const answer = parseBenchArguments(args);
      assert.ok(typeof answer === 'string');
      assert.match(answer, complaint);
    });
  }
});
