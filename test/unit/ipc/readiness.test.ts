import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readiness } from '../../../src/ipc/readiness.ts';
import { FakeClock } from '../../support/fake-clock.ts';

test('a listener that no worker listens on is named; one that some have not got yet is not', () => {
  const readiness = new Readiness(2, new FakeClock());
  readiness.setListening(0, 'write', null);
  readiness.setListening(1, 'write', 'not yet');
  readiness.setListening(0, 'read', 'EADDRINUSE');
  readiness.setListening(1, 'read', 'EADDRINUSE');
  assert.deepEqual([...readiness.notListening()], ['read']);
  readiness.setListening(1, 'read', null);
  assert.deepEqual([...readiness.notListening()], []);
});

test('the sessions of a listener whose address has left drain until it is back, or they are ended', () => {
  const clock = new FakeClock();
  const readiness = new Readiness(1, clock);
  const shown = () =>
    readiness.listeners().map(({ error, isDraining, stateMs }) => [error, isDraining, stateMs]);
  readiness.setListening(0, 'write', null);
  clock.advance(500);
  readiness.setDraining(0, 'write', true);
  readiness.setListening(0, 'write', 'gone');
  clock.advance(200);
  assert.deepEqual(shown(), [['gone', true, 200]]);
  readiness.setListening(0, 'write', null);
  assert.deepEqual(shown(), [[null, false, 0]]);
  readiness.setDraining(0, 'write', true);
  readiness.setListening(0, 'write', 'gone');
  readiness.setDraining(0, 'write', false);
  assert.deepEqual(shown(), [['gone', false, 0]]);
});
