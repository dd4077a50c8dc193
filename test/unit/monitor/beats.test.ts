import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  areWritten,
  lagByBeats,
  nextBeatMs,
  NO_BEATS,
  withBeat,
  type Beats,
} from '../../../src/monitor/beats.ts';

/** Beats written at these times, named by them. */
function written(...atMs: number[]): Beats {
  return atMs.reduce((beats, at) => withBeat(beats, { atMs: at, writtenMs: at }), NO_BEATS);
}

suite('the lag of a replica', () => {
  const beats = written(100, 350, 600);
  const table: [string, shownMs: number | null, askedMs: number, lagMs: number | null][] = [
    ['that has the last beat is none', 600, 840, 0],
    ['that lacks the last one counts from when that was written', 350, 840, 240],
    ['that lacks several, from the first of them', 100, 840, 490],
    ['that has none, from the first of all', null, 840, 740],
    ['that has an old one of before, likewise', 7, 840, 740],
    ['a beat that was written after it was asked does not count', 350, 599, 0],
    ['asked before there was one: not known', null, 99, null],
    ['that has one of somebody else after ours is none', 601, 840, 0],
  ];
  for (const [what, shownMs, askedMs, lagMs] of table) {
    test(what, () => assert.equal(lagByBeats(beats, shownMs, askedMs), lagMs));
  }
});

test('a clock that jumps changes nothing: beats have names that grow, and times of the other clock', () => {
  let beats = NO_BEATS;
  const wallMs = [1_000_000, 1_000_250, 400, 650, 9_000_000];
  wallMs.forEach((wall, index) => {
    beats = withBeat(beats, { atMs: nextBeatMs(beats, wall), writtenMs: index * 250 });
  });
  const names = beats.beats.map(({ atMs }) => atMs);
  assert.deepEqual(names, [1_000_000, 1_000_250, 1_000_251, 1_000_252, 9_000_000]);
  assert.equal(lagByBeats(beats, 1_000_252, 1_100), 100);
  assert.equal(lagByBeats(beats, 1_000_000, 1_100), 850);
});

test('beats of longer ago than is remembered are told by their names', () => {
  let beats = NO_BEATS;
  for (let at = 0; at < 2_000; at++) beats = withBeat(beats, { atMs: at * 1_000, writtenMs: at * 1_000 });
  assert.equal(beats.beats.length, 1_024);
  assert.equal(lagByBeats(beats, 1_500_000, 1_999_000), 498_000);
  assert.equal(lagByBeats(beats, 10_000, 1_999_000), 1_989_000);
});

test('beats are being written while the last one is not too old', () => {
  assert.equal(areWritten(NO_BEATS, 250, 0), false);
  assert.equal(areWritten(written(1_000), 250, 3_000), true);
  assert.equal(areWritten(written(1_000), 250, 3_001), false);
  assert.equal(areWritten(written(1_000), 1_000, 5_000), true);
});
