import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleConfig } from '../../../src/config/config.ts';
import { Rules } from '../../../src/frontend/rules.ts';

const HIGH = 0x89abcdef | 0;
const LOW = 0xfedcba98 | 0;
const DIGEST = '0x89abcdeffedcba98';

function rule(name: string, change: Partial<RuleConfig> = {}): RuleConfig {
  return { name, target: 'replica', ...change };
}

/** Which of the rules a statement of `user` hits, by name; '' for none. */
function hit(configs: RuleConfig[], user: string): string {
  const rules = new Rules(configs, 'split');
  const wish = rules.wishFor(user, HIGH, LOW);
  const name = rules.hits().find(({ hits }) => hits > 0)?.name ?? '';
  assert.equal(wish, configs.find((config) => config.name === name)?.target ?? 'none');
  return name;
}

const FITS: readonly [what: string, configs: RuleConfig[], user: string, name: string][] = [
  ['nothing without rules', [], 'ann', ''],
  ['a rule without conditions', [rule('all')], 'ann', 'all'],
  ['a rule for the user', [rule('ann', { user: 'ann' })], 'ann', 'ann'],
  ['no rule for another user', [rule('bob', { user: 'bob' })], 'ann', ''],
  ['a rule for this listener', [rule('here', { listener: 'split' })], 'ann', 'here'],
  ['no rule for another listener', [rule('there', { listener: 'other' })], 'ann', ''],
  ['a rule for the digest', [rule('digest', { digest: DIGEST })], 'ann', 'digest'],
  ['no rule for another first half', [rule('digest', { digest: '0x89abcdeefedcba98' })], 'ann', ''],
  ['no rule for another second half', [rule('digest', { digest: '0x89abcdeffedcba99' })], 'ann', ''],
  [
    'only a rule of which every condition fits',
    [rule('both', { user: 'bob', digest: DIGEST }), rule('later', { digest: DIGEST })],
    'ann',
    'later',
  ],
  ['the first of several that fit', [rule('one', { target: 'primary' }), rule('two')], 'ann', 'one'],
];

for (const [what, configs, user, name] of FITS) {
  test(`a statement hits ${what}`, () => {
    assert.equal(hit(configs, user), name);
  });
}

test('hits are counted; a look is none', () => {
  const rules = new Rules([rule('one', { user: 'ann' }), rule('two')], 'split');
  rules.wishFor('ann', 0, 0);
  rules.wishFor('ann', 0, 0);
  rules.wishFor('bob', 0, 0);
  assert.equal(rules.peek('ann', 0, 0)?.name, 'one');
  assert.equal(rules.peek('eve', 0, 0)?.name, 'two');
  assert.deepEqual(rules.hits(), [
    { name: 'one', hits: 2 },
    { name: 'two', hits: 1 },
  ]);
});

test('knows whether it matters who asks', () => {
  assert.equal(new Rules([rule('a'), rule('b', { user: 'ann' })], 'split').dependOnUser, true);
  assert.equal(new Rules([rule('a', { digest: DIGEST })], 'split').dependOnUser, false);
  assert.equal(new Rules([], 'split').peek('ann', 0, 0), null);
});
