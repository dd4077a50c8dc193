import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rightOf, type Sight } from '../../../src/peer/right.ts';

const OTHER = '10.0.0.2:6032';
const connected = (over: Partial<Extract<Sight, { kind: 'connected' }>> = {}): Sight => ({
  kind: 'connected',
  holds: false,
  busy: [],
  isActing: false,
  knowsWeHold: true,
  ...over,
});
const gone = (over: Partial<Extract<Sight, { kind: 'gone' }>> = {}): Sight => ({
  kind: 'gone',
  byWord: false,
  hasLeft: false,
  hasTerm: true,
  ...over,
});

/** What is known of the other, whether the VIP is here, and then: acts, takes writes, lets a primary go on alone, diagnosis. */
const CASES: readonly [string, Sight, boolean, boolean, boolean, boolean, string | null][] = [
  [
    'the holder, while the other has an act under way',
    connected({ isActing: true }),
    true,
    false,
    true,
    true,
    null,
  ],
  ['not heard since the start', { kind: 'unheard', trouble: '' }, true, false, false, false, 'PeerUnheard'],
  ['not heard, without the VIP', { kind: 'unheard', trouble: '' }, false, false, false, false, 'PeerUnheard'],
  ['the holder beside a standby', connected(), true, true, true, true, null],
  [
    'the holder, of which the other does not know',
    connected({ knowsWeHold: false }),
    true,
    false,
    true,
    true,
    null,
  ],
  ['the standby', connected({ holds: true }), false, false, true, false, 'NotInCharge'],
  ['nobody holds it', connected(), false, false, true, false, 'NotInCharge'],
  [
    'the VIP came, and the other has not been asked since',
    connected({ holds: true, knowsWeHold: false }),
    true,
    false,
    true,
    true,
    null,
  ],
  ['both hold it', connected({ holds: true }), true, false, false, false, 'BothInCharge'],
  [
    'the other promotes, as the VIP comes',
    connected({ busy: ['main'] }),
    true,
    false,
    false,
    false,
    'NotInCharge',
  ],
  [
    'the other promotes, seen by the standby',
    connected({ holds: true, busy: ['main'] }),
    false,
    false,
    false,
    false,
    'NotInCharge',
  ],
  [
    'the holder, and the other does not answer yet',
    { kind: 'silent', stoodStill: false },
    true,
    false,
    true,
    false,
    'PeerUnreachable',
  ],
  [
    'the standby, and the other does not answer yet',
    { kind: 'silent', stoodStill: false },
    false,
    false,
    false,
    false,
    'PeerUnreachable',
  ],
  [
    'the holder that stood still, and has not heard the other since',
    { kind: 'silent', stoodStill: true },
    true,
    false,
    false,
    false,
    'PeerUnreachable',
  ],
  ['the holder alone', gone(), true, true, true, false, 'PeerUnreachable'],
  [
    'the holder alone, without a term of its own',
    gone({ hasTerm: false }),
    true,
    false,
    true,
    false,
    'PeerUnreachable',
  ],
  [
    'the holder alone, by the word of an operator',
    gone({ byWord: true }),
    true,
    true,
    true,
    true,
    'PeerUnreachable',
  ],
  [
    'the holder, when the other was stopped',
    gone({ hasLeft: true }),
    true,
    true,
    true,
    true,
    'PeerUnreachable',
  ],
  [
    'alone and without the VIP, when the other was stopped',
    gone({ hasLeft: true }),
    false,
    false,
    false,
    false,
    'PeerUnreachable',
  ],
  ['alone and without the VIP', gone(), false, false, false, false, 'PeerUnreachable'],
];

describe('who may act', () => {
  for (const [what, sight, holds, acts, writes, alone, diagnosis] of CASES) {
    test(what, () => {
      const right = rightOf(sight, holds, OTHER);
      assert.equal(right.mayAct, acts, 'acts');
      assert.equal(right.charge?.stopsWrites !== true, writes, 'takes writes');
      assert.equal(right.mayGoAlone, alone, 'lets a primary go on alone');
      assert.equal(right.charge?.diagnosis ?? null, diagnosis);
      if (right.charge !== null && right.charge.detail.includes('other dbproxy ('))
        assert.ok(right.charge.detail.includes(OTHER));
    });
  }
});

/** What is known of the other, whether the VIP is here, and whether what has begun here may go on. */
const TO_THE_END: readonly [string, Sight, boolean, boolean][] = [
  ['not heard since the start', { kind: 'unheard', trouble: '' }, true, false],
  ['the holder beside a standby', connected(), true, true],
  ['the VIP has gone to the other, which waits', connected({ holds: true }), false, true],
  ['the VIP has gone, nobody has it yet', connected(), false, true],
  ['both hold it', connected({ holds: true }), true, true],
  ['both hold it, and both have begun', connected({ holds: true, busy: ['main'] }), true, false],
  ['both have begun, and the VIP is there', connected({ holds: true, busy: ['main'] }), false, false],
  ['both have begun, and the VIP is here', connected({ busy: ['main'] }), true, true],
  ['the holder, and the other does not answer', { kind: 'silent', stoodStill: false }, true, true],
  ['the holder that stood still', { kind: 'silent', stoodStill: true }, true, false],
  ['without the VIP, and the other does not answer', { kind: 'silent', stoodStill: false }, false, false],
  ['the holder alone, before its term', gone({ hasTerm: false }), true, true],
  ['alone and without the VIP', gone(), false, false],
];

describe('what has begun', () => {
  for (const [what, sight, holds, goesOn] of TO_THE_END) {
    test(`${goesOn ? 'goes on' : 'ends'}: ${what}`, () => {
      assert.equal(rightOf(sight, holds, OTHER).mayFinish, goesOn);
    });
  }
});

test('who was never heard of is told with the reason', () => {
  const trouble = 'connect ECONNREFUSED';
  const { charge } = rightOf({ kind: 'unheard', trouble }, true, OTHER);
  assert.match(charge!.detail, /since this one started \(connect ECONNREFUSED\): /);
});

test('who is alone and has not written that down says that it does not act yet', () => {
  const wordsOf = (hasTerm: boolean): string => rightOf(gone({ hasTerm }), true, OTHER).charge!.detail;
  assert.match(wordsOf(true), /which holds the write VIP, goes on without it\./);
  assert.match(wordsOf(false), /does nothing to the servers before it has written down in state_dir that/);
});

test('who acts is named where it is known', () => {
  assert.equal(rightOf(connected({ holds: true }), false, OTHER).holder, OTHER);
  assert.equal(rightOf(connected({ busy: ['main'] }), true, OTHER).holder, OTHER);
  assert.equal(rightOf(connected(), false, OTHER).holder, null);
});
