import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { mayReadOn, route, type Endpoint } from '../../../src/routing/router.ts';
import type { BackendView, ClusterView, Snapshot } from '../../../src/topology/snapshot.ts';
import { backendView } from '../../support/fake-worker.ts';
import { clusterView } from '../../support/operations.ts';

type Change = Partial<BackendView>;

/** A cluster of primary p and replicas a and b; `changes` says what is different. */
function snapshot(changes: Record<string, Change> = {}, cluster: Partial<ClusterView> = {}): Snapshot {
  const views = [
    backendView('p', { role: 'primary', writable: true, readable: false, ...changes['p'] }),
    backendView('a', changes['a']),
    backendView('b', changes['b']),
    backendView('other', { cluster: 'd' }),
  ];
  return {
    version: 1,
    epoch: 1,
    clusters: [clusterView({ name: 'c', primary: 'p', ...cluster })],
    backends: views,
  };
}

function endpoint(mode: 'write' | 'read', change: Partial<Endpoint> = {}): Endpoint {
  return { cluster: 'c', mode, balance: 'weighted_round_robin', ...change };
}

/** Who gets the next `count` sessions. */
function routes(from: Snapshot, mode: 'write' | 'read', excluded: string[] = [], count = 12): string {
  const credits = new Map<string, number>();
  const names = new Set<string>();
  for (let round = 0; round < count; round++) {
    names.add(route(from, endpoint(mode), credits, () => 0, new Set(excluded)).backend?.name ?? '-');
  }
  return [...names].sort().join('');
}

function whyNot(from: Snapshot, mode: 'write' | 'read', excluded: string[] = []): string {
  const found = route(from, endpoint(mode), new Map(), () => 0, new Set(excluded));
  assert.equal(found.backend, null);
  return found.reason;
}

const ineligible = { readable: false, reason: 'replication lag 20s' };

suite('the write endpoint', () => {
  test('goes to the primary, also while it is suspect', () => {
    assert.equal(routes(snapshot(), 'write'), 'p');
    assert.equal(routes(snapshot({ p: { state: 'suspect' } }), 'write'), 'p');
  });

  test('goes nowhere else, whatever the replicas are', () => {
    for (const state of ['down', 'draining', 'offline'] as const) {
      const reason = whyNot(snapshot({ p: { state, reason: 'because' } }), 'write');
      assert.equal(reason, `p is ${state} (because)`);
    }
    assert.match(whyNot(snapshot(), 'write', ['p']), /has just failed/);
  });

  test('says why there is nowhere to go', () => {
    assert.match(whyNot(snapshot({}, { writesHeld: true }), 'write'), /held while a promotion/);
    assert.equal(
      whyNot(snapshot({}, { primary: null, reason: 'two are writable' }), 'write'),
      'two are writable',
    );
    assert.match(whyNot(snapshot({}, { primary: 'x' }), 'write'), /x is not configured/);
    const elsewhere = route(snapshot(), endpoint('write', { cluster: 'z' }), new Map(), () => 0, new Set());
    assert.deepEqual(elsewhere, { backend: null, reason: "there is no cluster 'z'" });
  });
});

suite('the read endpoint', () => {
  const cases: [what: string, from: Snapshot, excluded: string[], expected: string][] = [
    ['goes to all replicas', snapshot(), [], 'ab'],
    ['leaves out one with weight 0', snapshot({ a: { roWeight: 0 } }), [], 'b'],
    ['leaves out one that is not readable', snapshot({ a: ineligible }), [], 'b'],
    ['leaves out one that is draining', snapshot({ a: { state: 'draining' } }), [], 'b'],
    ['keeps one that is suspect', snapshot({ a: { state: 'suspect' } }), [], 'ab'],
    ['leaves out one that has just failed', snapshot(), ['a'], 'b'],
    [
      'falls back to the primary when no replica can serve',
      snapshot({ a: ineligible, b: { state: 'down' } }),
      [],
      'p',
    ],
    ['falls back when all weights are 0', snapshot({ a: { roWeight: 0 }, b: { roWeight: 0 } }), [], 'p'],
    ['falls back when all replicas have just failed', snapshot(), ['a', 'b'], 'p'],
    ['counts a weight that was set for the primary', snapshot({ p: { roWeightSet: true } }), [], 'abp'],
    ['does not count a set weight of 0', snapshot({ p: { roWeightSet: true, roWeight: 0 } }), [], 'ab'],
    [
      'leaves out a primary that is down, weight or not',
      snapshot({ p: { roWeightSet: true, state: 'down' } }),
      [],
      'ab',
    ],
    ['leaves out a primary that has just failed', snapshot({ p: { roWeightSet: true } }), ['p'], 'ab'],
    ['reads on while there is no primary', snapshot({}, { primary: null, reason: 'gone' }), [], 'ab'],
    ['reads on while writes are held', snapshot({}, { writesHeld: true }), [], 'ab'],
  ];
  for (const [what, from, excluded, expected] of cases) {
    test(what, () => assert.equal(routes(from, 'read', excluded), expected));
  }

  test('splits by weight, exactly', () => {
    const credits = new Map<string, number>();
    const from = snapshot({ a: { roWeight: 3 }, b: { roWeight: 1 }, p: { roWeightSet: true, roWeight: 1 } });
    const counts: Record<string, number> = {};
    for (let round = 0; round < 1000; round++) {
      const { name } = route(from, endpoint('read'), credits, () => 0, new Set()).backend!;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    assert.deepEqual(counts, { a: 600, b: 200, p: 200 });
  });

  test('takes the least busy one where that is asked for', () => {
    const busy: Record<string, number> = { a: 4, b: 3 };
    const least = endpoint('read', { balance: 'least_connections' });
    const found = route(snapshot(), least, new Map(), (name) => busy[name] ?? 0, new Set());
    assert.equal(found.backend?.name, 'b');
  });

  test('says of each why there is nowhere to go', () => {
    const from = snapshot({ p: { state: 'down', reason: 'refused' }, a: ineligible, b: { roWeight: 0 } });
    const reason = whyNot(from, 'read');
    assert.match(reason, /a is online \(replication lag 20s\)/);
    assert.match(reason, /b is online, its ro_weight is 0/);
    assert.match(reason, /p is down \(refused\)/);
    assert.doesNotMatch(reason, /other/);
  });
});

suite('a session that reads somewhere', () => {
  const lags: Change = { readable: false, reason: 'lags' };
  const down: Change = { state: 'down', readable: false };
  const cases: [what: string, from: Snapshot, stays: string][] = [
    ['stays on a replica, and leaves the primary for it', snapshot(), 'ab'],
    ['leaves one that lags for another', snapshot({ a: lags }), 'b'],
    ['leaves those that lag for the primary', snapshot({ a: lags, b: lags }), 'p'],
    ['stays where it is when nobody is better', snapshot({ p: { state: 'down' }, a: lags, b: lags }), 'abp'],
    [
      'is not kept from one that is down, or taken out',
      snapshot({ a: down, b: { state: 'offline' } }),
      'abp',
    ],
    [
      'stays on the primary that an operator gave a share',
      snapshot({ p: { roWeight: 2, roWeightSet: true } }),
      'abp',
    ],
    ['stays on a replica without a share', snapshot({ a: { roWeight: 0 } }), 'ab'],
    ['leaves one that lags, though the other has no share', snapshot({ a: lags, b: { roWeight: 0 } }), 'bp'],
  ];
  for (const [what, from, stays] of cases) {
    test(what, () => {
      const staying = ['a', 'b', 'p'].filter((name) => mayReadOn(from, 'c', name));
      assert.equal(staying.join(''), stays);
    });
  }

  test('has nothing to do with another cluster', () => {
    assert.equal(mayReadOn(snapshot(), 'nowhere', 'a'), true);
    assert.equal(mayReadOn(snapshot(), 'c', 'gone'), true);
  });
});
