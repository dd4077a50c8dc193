/**
 * Fuzzing with seeds: a round is a function of a random generator, so a failure can be had again by its seed
 * alone. Seeds that have once found something are kept in test/vectors/fuzz/seeds.json and run first.
 *
 *   FUZZ_SEED=n      begins at another seed
 *   FUZZ_SECONDS=n   goes on with new seeds for so long, each test
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** A random whole number from 0 up to, not with, `below`. */
export type Random = (below: number) => number;

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_240_611);
const EXTRA_MS = Number(process.env['FUZZ_SECONDS'] ?? 0) * 1000;
const ROUNDS = 4000;

const kept = JSON.parse(
  readFileSync(new URL('../vectors/fuzz/seeds.json', import.meta.url), 'utf8'),
) as Record<string, number[]>;

/** Runs `round` with the kept seeds of `name`, then with many others; a failure names the seed. */
export function fuzz(name: string, round: (random: Random) => void): void {
  for (const seed of kept[name] ?? []) runRound(name, seed, round);
  // Tests that begin with the same seed would try the same bytes on different readers.
  const first =
    SEED + [...name].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) >>> 0, 7);
  for (let index = 0; index < ROUNDS; index++) runRound(name, (first + index) >>> 0, round);
  const end = performance.now() + EXTRA_MS;
  for (let index = ROUNDS; performance.now() < end; index++) runRound(name, (first + index) >>> 0, round);
}

function runRound(name: string, seed: number, round: (random: Random) => void): void {
  try {
    round(generator(seed));
  } catch (error) {
    const words = error instanceof Error ? error.stack : String(error);
    assert.fail(`seed ${seed} (keep it in test/vectors/fuzz/seeds.json under '${name}'): ${words}`);
  }
}

/** mulberry32: small, seeded, good enough to hit the corners. */
export function generator(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function randomBytes(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random(most + 1) }, () => random(256)));
}

/** Any 32 bits. */
export function randomFlags(random: Random): number {
  return ((random(0x10000) << 16) | random(0x10000)) >>> 0;
}

/** A good message with some bytes changed, cut out, or doubled. */
export function damaged(random: Random, good: Buffer): Buffer {
  let bytes = Buffer.from(good);
  for (let count = 1 + random(4); count > 0 && bytes.length > 0; count--) {
    const at = random(bytes.length);
    switch (random(4)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = [0, 0xfb, 0xfc, 0xfd, 0xfe, 0xff][random(6)]!;
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(8))]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(8)))]);
    }
  }
  return bytes;
}

/** Pieces of `bytes`, one after the other, each of at most `most` bytes. */
export function* pieces(random: Random, bytes: Buffer, most: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(bytes.length, start + 1 + random(most));
    yield bytes.subarray(start, end);
    start = end;
  }
}
