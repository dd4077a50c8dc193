import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { stopWish } from '../../../src/cli/stop-signals.ts';

suite('signals that end the program', () => {
  test('the first asks for a graceful stop', () => assert.equal(stopWish(null, 5_000), 'graceful'));
  test('its echo through npm is not a second wish', () => assert.equal(stopWish(5_000, 5_030), 'same'));
  test('a second one means at once', () => assert.equal(stopWish(5_000, 5_400), 'at-once'));
});
