/**
 * The shelves of idle connections. All they look at of a connection is whose it is and since when it idles.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Identity } from '../../../src/backend/wish.ts';
import { IdleConnections } from '../../../src/backend/idle.ts';

function identity(user: string, change: Partial<Identity> = {}): Identity {
  return new Identity({
    user,
    account: `${user}@%`,
    capabilities: 0,
    extendedCapabilities: 0,
    client: { address: '10.0.0.1', port: 4000 },
    ...change,
  });
}

function connection(user: string, idleSinceMs: number, change: Partial<Identity> = {}): BackendConnection {
  return { identity: identity(user, change), idleSinceMs } as BackendConnection;
}

/** Connections of two users, as they came: 1 and 3 are ann's, 2 and 4 bob's. */
function shelves() {
  const idle = new IdleConnections();
  const all = [connection('ann', 1), connection('bob', 2), connection('ann', 3), connection('bob', 4)];
  for (const one of all) idle.add(one);
  return { idle, all, sinceOf: (list: readonly BackendConnection[]) => list.map((one) => one.idleSinceMs) };
}

test('a session sees those of its own identity only, the warmest last', () => {
  const { idle, sinceOf } = shelves();
  assert.deepEqual(sinceOf(idle.of(identity('ann'))), [1, 3]);
  assert.deepEqual(sinceOf(idle.of(identity('bob'))), [2, 4]);
  assert.deepEqual(idle.of(identity('eve')), []);
  assert.equal(idle.size, 4);
});

test('neither another account of the same name nor other flags are the same identity; another address is', () => {
  const { idle } = shelves();
  assert.equal(idle.of(identity('ann', { account: 'ann@10.0.0.9' })).length, 0);
  assert.equal(idle.of(identity('ann', { capabilities: 1 })).length, 0);
  assert.equal(idle.of(identity('ann', { extendedCapabilities: 1 })).length, 0);
  assert.equal(idle.of(identity('ann', { client: { address: '10.0.0.2', port: 1 } })).length, 2);
});

test('each can be taken from its place once', () => {
  for (const index of [0, 1, 2, 3]) {
    const { idle, all } = shelves();
    const taken = all[index]!;
    assert.equal(idle.has(taken), true);
    assert.equal(idle.remove(taken), true);
    assert.equal(idle.has(taken), false);
    assert.equal(idle.remove(taken), false, 'it is not there any more');
    assert.deepEqual(new Set(idle.all()), new Set(all.filter((one) => one !== taken)));
    assert.equal(idle.size, 3);
  }
});

test('one that was never here is not removed, and takes nobody else with it', () => {
  const { idle } = shelves();
  assert.equal(idle.remove(connection('ann', 1)), false);
  assert.equal(idle.remove(connection('eve', 1)), false);
  assert.equal(idle.size, 4);
});

test('knows the one that idles longest, whoever it belongs to', () => {
  const { idle, all } = shelves();
  for (const expected of all) {
    assert.equal(idle.oldest(), expected);
    idle.remove(expected);
  }
  assert.equal(idle.oldest(), undefined);
});

test('the list of all is the caller’s own: removing while going through it loses none', () => {
  const { idle } = shelves();
  for (const one of idle.all()) idle.remove(one);
  assert.equal(idle.size, 0);
  assert.deepEqual(idle.all(), []);
});
