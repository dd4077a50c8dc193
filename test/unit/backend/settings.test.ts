/**
 * Settings as values, and the way from one to another. Where a case is about what servers do with it, there is
 * an integration test of the same (split-routing.test.ts).
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Settings } from '../../../src/backend/settings.ts';

const PLAIN = Settings.initial('');

/** Settings by what is set: `names`, `@user` variables and session variables, in this order. */
function settings(values: Record<string, string>, database = ''): Settings {
  let made = Settings.initial(database);
  for (const [name, value] of Object.entries(values)) {
    if (name === 'names') made = made.withNames(value);
    else if (name.startsWith('@')) made = made.withUserVariable(name.slice(1), value);
    else made = made.withVariable(name, value);
  }
  return made;
}

suite('settings as values', () => {
  const EQUAL: readonly [what: string, one: Settings, other: Settings][] = [
    ['nothing', PLAIN, Settings.initial('')],
    ['the same in another order', settings({ a: '1', b: '2' }), settings({ b: '2', a: '1' })],
    [
      'a value that was set back',
      settings({ a: '1' }).withVariable('a', '2').withVariable('a', '1'),
      settings({ a: '1' }),
    ],
    ['a variable that is as after the login again', settings({ a: '1' }).withVariable('a', null), PLAIN],
    [
      'a database that was left and chosen again',
      PLAIN.withDatabase('x').withDatabase('y'),
      Settings.initial('y'),
    ],
    [
      'NAMES after what it sets anew',
      settings({ character_set_results: 'NULL', names: "'latin1'" }),
      settings({ names: "'latin1'" }),
    ],
  ];
  for (const [what, one, other] of EQUAL) {
    test(`are equal: ${what}`, () => {
      assert.equal(one.equals(other), true);
      assert.deepEqual(one.changeTo(other), { kind: 'set', database: null, statements: [] });
    });
  }

  const DIFFERENT: readonly [what: string, one: Settings, other: Settings][] = [
    ['a value', settings({ a: '1' }), settings({ a: '2' })],
    ['a number and a text', settings({ a: '1' }), settings({ a: "'1'" })],
    ['a session variable and a user variable', settings({ a: '1' }), settings({ '@a': '1' })],
    ['the database', PLAIN.withDatabase('x'), PLAIN.withDatabase('y')],
    ['a name with a quote and a text', settings({ "@a='x": "'y'" }), settings({ '@a': "'x=''y'" })],
    ['a name and a text that ends in a quote', settings({ "@a='x": "''" }), settings({ '@a': "'x='''" })],
    [
      'what was set before and after NAMES',
      settings({ names: "'latin1'", character_set_results: 'NULL' }),
      settings({ names: "'latin1'" }),
    ],
  ];
  for (const [what, one, other] of DIFFERENT) {
    test(`are not equal: ${what}`, () => {
      assert.equal(one.equals(other), false);
    });
  }

  test('stay the same object when nothing changes', () => {
    const one = settings({ a: '1', '@b': '2' }, 'db');
    assert.equal(one.withVariable('a', '1'), one);
    assert.equal(one.withVariable('c', null), one);
    assert.equal(one.withUserVariable('b', '2'), one);
    assert.equal(one.withDatabase('db'), one);
  });

  test('are not changed by what is made of them', () => {
    const one = settings({ a: '1' });
    one.withVariable('a', '2').withUserVariable('u', '3').withDatabase('x').withNames("'utf8'");
    assert.equal(one.equals(settings({ a: '1' })), true);
  });
});

suite('the way from one to another', () => {
  const WAYS: readonly [
    what: string,
    from: Settings,
    to: Settings,
    database: string | null,
    statements: string[],
  ][] = [
    [
      'what is not set yet is set',
      PLAIN,
      settings({ a: '1', b: "'x'" }),
      null,
      ["SET SESSION a = 1, SESSION b = 'x'"],
    ],
    [
      'what is right already is left alone',
      settings({ a: '1', b: '2' }),
      settings({ a: '1', b: '3' }),
      null,
      ['SET SESSION b = 3'],
    ],
    ['a database is selected', settings({}, 'one'), settings({}, 'two'), 'two', []],
    ['a user variable’s name is quoted', PLAIN, settings({ '@a`b': '1' }), null, ['SET @`a``b` = 1']],
    [
      'character sets come first, in a statement of their own, so that texts get them',
      PLAIN,
      settings({
        '@t': "'x'",
        a: '1',
        collation_connection: "'latin1_bin'",
        character_set_client: "'latin1'",
      }),
      null,
      [
        "SET SESSION character_set_client = 'latin1', SESSION collation_connection = 'latin1_bin'",
        "SET SESSION a = 1, @`t` = 'x'",
      ],
    ],
    [
      'NAMES comes before what was set after it, which it would wipe out',
      settings({ names: "'latin1'", character_set_results: 'NULL' }),
      settings({ names: "'utf8mb4'", character_set_results: 'NULL' }),
      null,
      ["SET NAMES 'utf8mb4', SESSION character_set_results = NULL"],
    ],
    [
      'the same NAMES is not said again',
      settings({ names: "'latin1'" }),
      settings({ names: "'latin1'", a: '1' }),
      null,
      ['SET SESSION a = 1'],
    ],
    [
      'NAMES speaks of all character sets',
      settings({ character_set_client: "'latin1'", character_set_results: 'NULL' }),
      settings({ names: "'utf8mb4'" }),
      null,
      ["SET NAMES 'utf8mb4'"],
    ],
    [
      'the same NAMES is said again where one of them was set after it',
      settings({ names: "'latin1'", character_set_results: 'NULL' }),
      settings({ names: "'latin1'" }),
      null,
      ["SET NAMES 'latin1'"],
    ],
  ];
  for (const [what, from, to, database, statements] of WAYS) {
    test(what, () => {
      assert.deepEqual(from.changeTo(to), { kind: 'set', database, statements });
    });
  }

  const RESETS: readonly [what: string, from: Settings, to: Settings][] = [
    ['a variable that the other has not set', settings({ a: '1' }), PLAIN],
    ['a user variable that the other does not know', settings({ '@a': '1' }), PLAIN],
    ['a database where the other has none', settings({}, 'db'), PLAIN],
    ['NAMES where the other has none', settings({ names: "'latin1'" }), PLAIN],
    ['one too many and one too few', settings({ a: '1' }), settings({ b: '1' })],
  ];
  for (const [what, from, to] of RESETS) {
    test(`no SET takes back ${what}`, () => {
      assert.deepEqual(from.changeTo(to), { kind: 'reset' });
    });
  }
});
