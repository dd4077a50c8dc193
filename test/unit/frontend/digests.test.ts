import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Digests, isFast, recordDigest, whyNotFast, type Digest } from '../../../src/frontend/digests.ts';

const HOME = { atHome: true, pipelined: false };
const REPLICA = { atHome: false, pipelined: false };
const FAST_MS = 1;

function one(): Digest {
  return new Digests(10).add(1, 2, 'select ?', 'read')!;
}

/** A form that was answered so often, each within `idleMs` of waiting. */
function seen(times: number, idleMs: number, bytes = 100): Digest {
  const digest = one();
  for (let count = 0; count < times; count++) recordDigest(digest, 2 * idleMs, idleMs, bytes, HOME);
  return digest;
}

test('a form is found by both halves of its digest', () => {
  const digests = new Digests(10);
  const added = digests.add(-5, 7, 'select ?', 'read');
  assert.equal(digests.find(-5, 7), added);
  assert.equal(digests.find(-5, 8), undefined);
  assert.equal(digests.find(-4, 7), undefined);
});

test('forms that share all that a number can hold are still told apart', () => {
  const digests = new Digests(10);
  digests.add(1, 7, 'one', 'read');
  // The upper eleven bits are not in the key.
  assert.equal(digests.find(1 | (1 << 25), 7), undefined);
});

test('when there are too many, the one that was met first gives way', () => {
  const digests = new Digests(2);
  for (const high of [1, 2, 3]) digests.add(high, 0, `form ${high}`, 'read');
  assert.equal(digests.find(1, 0), undefined);
  assert.deepEqual(
    digests.stats('l', String).map(({ text }) => text),
    ['form 2', 'form 3'],
  );
});

test('with a limit of none nothing is remembered', () => {
  const digests = new Digests(0);
  assert.equal(digests.add(1, 1, 'x', 'read'), undefined);
  assert.equal(digests.find(1, 1), undefined);
});

test('counts where statements went and what they cost', () => {
  const digest = one();
  recordDigest(digest, 4, 1, 100, HOME);
  recordDigest(digest, 6, 1, 300, REPLICA);
  recordDigest(digest, 2, 1, 200, { atHome: false, pipelined: true });
  const { count, sumMs, maxMs, bytes, maxBytes, primary, replica, pipelined } = digest;
  assert.deepEqual(
    { count, sumMs, maxMs, bytes, maxBytes, primary, replica, pipelined },
    { count: 3, sumMs: 12, maxMs: 6, bytes: 600, maxBytes: 300, primary: 1, replica: 2, pipelined: 1 },
  );
});

test('what is shown is the sum of what was counted, in the listener’s name', () => {
  const digests = new Digests(5);
  recordDigest(digests.add(0x12, 0x34, 'select ?', 'read')!, 4, 1, 100, REPLICA);
  const [stats] = digests.stats('split', (high, low) => `${high.toString(16)}/${low.toString(16)}`);
  assert.deepEqual(stats, {
    digest: '12/34',
    listener: 'split',
    text: 'select ?',
    class: 'read',
    count: 1,
    sumMs: 4,
    maxMs: 4,
    bytes: 100,
    primary: 0,
    replica: 1,
    pipelined: 0,
  });
});

test('what a form typically takes falls quickly and rises slowly: one slow answer does not make it slow', () => {
  const digest = seen(50, 0.1);
  recordDigest(digest, 30, 10, 100, HOME);
  assert.ok(digest.typicalMs < 0.5, `${digest.typicalMs}`);
  const slow = seen(50, 10);
  for (let count = 0; count < 8; count++) recordDigest(slow, 1, 0.1, 100, HOME);
  assert.ok(slow.typicalMs < 0.2, `${slow.typicalMs}`);
});

test('a form that has become slow is found out', () => {
  const digest = seen(50, 0.1);
  for (let count = 0; count < 50; count++) recordDigest(digest, 10, 5, 100, HOME);
  assert.equal(isFast(digest, FAST_MS), false);
});

const JUDGED: readonly [name: string, digest: () => Digest | undefined, why: RegExp | null][] = [
  ['never seen', () => undefined, /not been seen/],
  ['seen too seldom', () => seen(19, 0.1), /19 times, not yet 20/],
  ['seen often enough', () => seen(20, 0.1), null],
  ['too slow', () => seen(20, 1), /take 1\.000 ms, pipeline_threshold is 1 ms/],
  ['answered at length once', () => seen(20, 0.1, 16 * 1024 + 1), /answer of 16385 bytes/],
  ['answered at the longest that may be', () => seen(20, 0.1, 16 * 1024), null],
  [
    'with a warning once',
    () => {
      const digest = seen(20, 0.1);
      digest.hasComplained = true;
      return digest;
    },
    /warning or an error/,
  ],
];

for (const [name, make, why] of JUDGED) {
  test(`a form ${name} ${why === null ? 'is fast' : 'is not fast, and it is said why'}`, () => {
    const digest = make();
    const said = whyNotFast(digest, FAST_MS);
    if (digest !== undefined) assert.equal(isFast(digest, FAST_MS), why === null);
    if (why === null) assert.equal(said, null);
    else assert.match(said!, why);
  });
}
