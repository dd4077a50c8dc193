import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownSettings, type KnownSet } from '../../../src/frontend/known-settings.ts';

const MOST = 500;

function set(value: string): KnownSet {
  return { variables: new Map([['time_zone', value]]), status: 2, answer: Buffer.from([0]) };
}

/** As many as are kept, under the keys 0, 1, 2, … */
function full(): KnownSettings {
  const known = new KnownSettings();
  for (let index = 0; index < MOST; index++) known.keep(`${index}`, set('x'));
  return known;
}

test('finds what was kept, and only that', () => {
  const known = new KnownSettings();
  const kept = set("'UTC'");
  known.keep('a', kept);
  assert.equal(known.find('a'), kept);
  assert.equal(known.find('b'), undefined);
});

test('what is kept again takes the place of the one before', () => {
  const known = new KnownSettings();
  known.keep('a', set('1'));
  const newer = set('2');
  known.keep('a', newer);
  assert.equal(known.find('a'), newer);
});

test('when there are too many, the oldest gives way, and only that', () => {
  const known = full();
  known.keep('more', set('y'));
  assert.equal(known.find('0'), undefined);
  assert.notEqual(known.find('1'), undefined);
  assert.notEqual(known.find('more'), undefined);
});

test('long statements are not kept, and drive nobody out', () => {
  const known = full();
  known.keep('x'.repeat(2001), set('y'));
  assert.equal(known.find('x'.repeat(2001)), undefined);
  assert.notEqual(known.find('0'), undefined);
  known.keep('x'.repeat(2000), set('y'));
  assert.notEqual(known.find('x'.repeat(2000)), undefined);
});

test('nothing is left when it is cleared', () => {
  const known = full();
  known.clear();
  assert.equal(known.find('1'), undefined);
});
