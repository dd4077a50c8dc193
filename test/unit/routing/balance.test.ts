import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  leastConnections,
  nextByWeight,
  type Candidate,
  type Credits,
} from '../../../src/routing/balance.ts';

function candidates(weights: Record<string, number>): Candidate[] {
  return Object.entries(weights).map(([name, weight]) => ({ name, weight, sessions: 0 }));
}

function take(weights: Record<string, number>, count: number, credits: Credits = new Map()): string[] {
  return Array.from({ length: count }, () => nextByWeight(candidates(weights), credits)!);
}

function countOf(taken: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of taken) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

suite('weighted round robin', () => {
  test('gives exact shares over every cycle', () => {
    const mixes = [
      { a: 1 },
      { a: 1, b: 1 },
      { a: 3, b: 1 },
      { a: 5, b: 3, c: 2 },
      { a: 100, b: 1 },
      { a: 7, b: 7, c: 7 },
    ];
    for (const weights of mixes) {
      const cycle = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
      const credits: Credits = new Map();
      for (let round = 0; round < 3; round++)
        assert.deepEqual(countOf(take(weights, cycle, credits)), weights);
    }
  });

  test('mixes instead of giving one its share in a row', () => {
    assert.equal(take({ a: 3, b: 1 }, 8).join(''), 'aabaaaba');
    assert.equal(take({ a: 1, b: 1, c: 1 }, 6).join(''), 'abcabc');
  });

  test('takes none when there is none', () => {
    assert.equal(nextByWeight([], new Map()), undefined);
  });

  test('one that comes back starts anew and gets no arrears', () => {
    const credits: Credits = new Map();
    take({ a: 1, b: 1 }, 1, credits);
    take({ a: 1 }, 50, credits);
    assert.deepEqual(countOf(take({ a: 1, b: 1 }, 10, credits)), { a: 5, b: 5 });
  });

  test('follows a change of weights within one new cycle', () => {
    const credits: Credits = new Map();
    take({ a: 1, b: 1 }, 11, credits);
    const { a = 0 } = countOf(take({ a: 3, b: 1 }, 40, credits));
    assert.ok(Math.abs(a - 30) <= 1, `a got ${a} of 40`);
  });

  test('keeps no memory of those that are gone', () => {
    const credits: Credits = new Map();
    take({ a: 1, b: 1, c: 1 }, 4, credits);
    take({ d: 1 }, 1, credits);
    assert.deepEqual([...credits.keys()], ['d']);
  });
});

suite('least connections', () => {
  const of = (...rows: [name: string, weight: number, sessions: number][]): Candidate[] =>
    rows.map(([name, weight, sessions]) => ({ name, weight, sessions }));

  test('takes the one with the fewest sessions for its weight', () => {
    assert.equal(leastConnections(of(['a', 1, 5], ['b', 1, 4])), 'b');
    assert.equal(leastConnections(of(['a', 2, 5], ['b', 1, 3])), 'a');
    assert.equal(leastConnections(of(['a', 1, 0], ['b', 9, 1])), 'a');
  });

  test('takes the first of equals, and none of none', () => {
    assert.equal(leastConnections(of(['a', 1, 2], ['b', 2, 4])), 'a');
    assert.equal(leastConnections([]), undefined);
  });
});
