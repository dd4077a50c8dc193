import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { healthOf, type HealthQuestion } from '../../../src/http/health.ts';
import type { Snapshot } from '../../../src/topology/snapshot.ts';
import { backendView, clusterView, snapshotOf } from '../../support/operations.ts';

describe('of one cluster', () => {
  const cases: [what: string, question: HealthQuestion, snapshot: Snapshot, well: boolean, reason: string][] =
    [
      ['all is well', 'write', snapshotOf(), true, 'main: writes go to db1'],
      ['all is well', 'read', snapshotOf(), true, 'main: reads go to db2'],
      [
        'maintenance is on',
        'write',
        snapshotOf({ cluster: { maintenance: 'on' } }),
        true,
        'main: writes go to db1; MAINTENANCE is on in main',
      ],
      [
        'maintenance is on, and nobody takes writes',
        'write',
        snapshotOf({ cluster: { maintenance: 'on', primary: null, reason: 'db1 is down' } }),
        false,
        'main: no writes: db1 is down; MAINTENANCE is on in main',
      ],
      [
        'no primary',
        'write',
        snapshotOf({ cluster: { primary: null, reason: 'db1 is down' } }),
        false,
        'main: no writes: db1 is down',
      ],
      [
        'writes are held',
        'write',
        snapshotOf({ cluster: { writesHeld: true } }),
        false,
        'main: no writes: writes are held while a promotion is under way',
      ],
      [
        'the primary drains',
        'write',
        snapshotOf({ db1: { state: 'draining' } }),
        false,
        'main: no writes: db1 is draining',
      ],
      [
        'the primary is down',
        'write',
        snapshotOf({ db1: { state: 'down', reason: 'refused' } }),
        false,
        'main: no writes: db1 is down (refused)',
      ],
      [
        'the primary is read-only',
        'write',
        snapshotOf({ db1: { writable: false } }),
        false,
        'main: no writes: db1 is read-only',
      ],
      [
        'the primary is suspect only',
        'write',
        snapshotOf({ db1: { state: 'suspect' } }),
        true,
        'main: writes go to db1',
      ],
      [
        'the replica lags',
        'read',
        snapshotOf({ db2: { readable: false, reason: 'lag 12 s' } }),
        true,
        'main: reads go to db1: no replica can serve, so the primary does',
      ],
      [
        'the replica has no share',
        'read',
        snapshotOf({ db2: { roWeight: 0 } }),
        true,
        'main: reads go to db1: no replica can serve, so the primary does',
      ],
      [
        'the primary is gone',
        'read',
        snapshotOf({ cluster: { primary: null }, db1: { state: 'down' } }),
        true,
        'main: reads go to db2',
      ],
      [
        'both are gone',
        'read',
        snapshotOf({ db1: { state: 'down', reason: 'refused' }, db2: { state: 'offline', readable: false } }),
        false,
        'main: no reads: db1 is down (refused); db2 is offline',
      ],
    ];
  for (const [what, question, snapshot, well, reason] of cases) {
    test(`${question}: ${what}`, () => assert.deepEqual(healthOf(question, snapshot), { well, reason }));
  }
});

describe('of several clusters', () => {
  const one = snapshotOf();
  const two: Snapshot = {
    ...one,
    clusters: [...one.clusters, clusterView({ name: 'other', primary: null, reason: 'nobody is up' })],
    backends: [...one.backends, backendView({ name: 'db3', cluster: 'other', state: 'down' })],
  };

  test('well is only when each is, and the bad one is named', () => {
    assert.deepEqual(healthOf('write', two), { well: false, reason: 'other: no writes: nobody is up' });
  });

  test('one of them may be asked for', () => {
    assert.deepEqual(healthOf('write', two, 'main'), { well: true, reason: 'main: writes go to db1' });
    assert.equal(healthOf('write', two, 'mian'), 'unknown cluster');
  });
});

test('without any cluster nothing is well', () => {
  const empty: Snapshot = { version: 0, epoch: 0, clusters: [], backends: [] };
  assert.deepEqual(healthOf('read', empty), { well: false, reason: 'no cluster is known' });
});
