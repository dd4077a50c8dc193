import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, editDistance, nearest } from '../../../src/config/suggest.ts';

const distances: [from: string, to: string, edits: number][] = [
  ['', '', 0],
  ['abc', 'abc', 0],
  ['', 'abc', 3],
  ['abc', '', 3],
  ['kitten', 'sitting', 3],
  ['ab', 'ba', 1],
  ['rw_weigth', 'rw_weight', 1],
  ['flaw', 'lawn', 2],
];

for (const [from, to, edits] of distances) {
  test(`'${from}' is ${edits} edits from '${to}'`, () => assert.equal(editDistance(from, to), edits));
}

test('the nearest name is found without regard to case', () => {
  assert.equal(nearest('Max_Lagg', ['readmit_lag', 'max_lag']), 'max_lag');
});

test('a word far from all names has no nearest', () => {
  assert.equal(nearest('zzz', ['max_lag', 'rise']), undefined);
  assert.equal(didYouMean('zzz', ['max_lag', 'rise']), '');
});

test('the suggestion is a clause for the end of a sentence', () => {
  assert.equal(didYouMean('ries', ['max_lag', 'rise']), "; did you mean 'rise'?");
});
