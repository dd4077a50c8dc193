import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compareDocuments, droppedWords } from '../../../src/peer/merge.ts';
import type { DurableState } from '../../../src/topology/state-file.ts';

function state(over: Partial<DurableState> & { primary?: string } = {}): DurableState {
  const { primary = 'db1', ...rest } = over;
  const epoch = over.epoch ?? 5;
  return { epoch, clusters: { main: { primary, epoch } }, backends: {}, term: 1, revision: 9, ...rest };
}

/** The first holds against the second, whichever side asks. */
const CASES: readonly [string, DurableState, DurableState][] = [
  ['the later revision', state({ revision: 10, backends: { db2: { roWeight: 3 } } }), state({ revision: 9 })],
  ['the later epoch', state({ epoch: 6, primary: 'db2', revision: 2 }), state({ revision: 40 })],
  [
    'what was decided without the other, against what that one had written down alone before it died',
    state({ term: 2 }),
    state({ epoch: 6, primary: 'db2', revision: 10 }),
  ],
  ['what there is, against a side from an old backup', state(), state({ epoch: 3, revision: 400, term: 0 })],
  [
    'a promotion, where both have gone on without each other',
    state({ term: 2, epoch: 6, primary: 'db2', revision: 10 }),
    state({ term: 2, revision: 30 }),
  ],
  [
    'a state from before there was a pair, against an empty one',
    { ...state() },
    { epoch: 0, clusters: {}, backends: {} },
  ],
];

describe('which document holds', () => {
  for (const [what, winner, loser] of CASES) {
    test(what, () => {
      assert.ok(compareDocuments(winner, loser) > 0);
      assert.ok(compareDocuments(loser, winner) < 0);
    });
  }

  test('of two changes at once one, and both sides find the same', () => {
    const one = state({ revision: 10, backends: { db1: { roWeight: 1 } } });
    const other = state({ revision: 10, backends: { db1: { roWeight: 2 } } });
    assert.equal(Math.sign(compareDocuments(one, other)), -Math.sign(compareDocuments(other, one)));
    assert.notEqual(compareDocuments(one, other), 0);
  });

  test('the order of keys makes no difference', () => {
    const one = state({ backends: { db1: { roWeight: 1 }, db2: { rwWeight: 2, roWeight: 3 } } });
    const other = state({ backends: { db2: { roWeight: 3, rwWeight: 2 }, db1: { roWeight: 1 } } });
    assert.equal(compareDocuments(one, other), 0);
    assert.equal(droppedWords(one, other), '');
  });
});

describe('what is dropped', () => {
  test('is told, also of servers that one side alone knows', () => {
    const dropped = state({ backends: { old9: { roWeight: 7 } } });
    const words = droppedWords(dropped, state({ epoch: 6, primary: 'db2' }));
    assert.match(words, /backends old9: \{"roWeight":7\} gives way to nothing/);
    assert.match(words, /clusters main: .*"db1".* gives way to .*"db2"/);
  });

  test('is not how far a promotion has come', () => {
    const promotion = { by: 'a', number: 7, ofEpoch: 5, target: 'db2', run: {} };
    const under = state({ clusters: { main: { primary: 'db1', epoch: 5, promotion } } });
    assert.equal(droppedWords(under, state()), '');
    assert.ok(compareDocuments(under, state()) !== 0, 'though the two are not the same');
  });
});
