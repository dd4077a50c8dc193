import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withPosition } from '../../../src/topology/snapshot.ts';
import { snapshotOf } from '../../support/operations.ts';

test('a newer position of one server changes nothing else, and not the snapshot that others hold', () => {
  const before = snapshotOf({ db1: { gtidPosition: '0-1-7' }, db2: { gtidPosition: '0-1-5' } });
  const now = withPosition(before, 'db2', '0-1-7');
  assert.deepEqual(now, snapshotOf({ db1: { gtidPosition: '0-1-7' }, db2: { gtidPosition: '0-1-7' } }));
  assert.equal(before.backends[1]?.gtidPosition, '0-1-5');
});

test('a server that there is not changes nothing', () => {
  assert.deepEqual(withPosition(snapshotOf(), 'db9', '0-1-7'), snapshotOf());
});
