import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Endpoint } from '../../../src/base/address.ts';
import { ListenerClaims } from '../../../src/ipc/listener-claims.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** Two listeners and a Unix socket; `owners` has by port who else has an address. */
function claiming(owners: Map<number, string>): {
  clock: FakeClock;
  claims: ListenerClaims;
  seen: { asked: number[]; released: number[]; changes: unknown[] };
} {
  const clock = new FakeClock();
  const seen = { asked: [] as number[], released: [] as number[], changes: [] as unknown[] };
  const at = (port: number): Endpoint => ({ kind: 'tcp', host: '127.0.0.1', port });
  const claims: ListenerClaims = new ListenerClaims({
    listeners: [
      { name: 'write', address: at(1) },
      { name: 'read', address: at(2) },
      { name: 'local', address: { kind: 'unix', path: '/tmp/socket' } },
    ],
    clock,
    holder: 'me',
    onChange: () => seen.changes.push(claims.taken),
    claim: async ({ port }) => {
      seen.asked.push(port);
      const by = owners.get(port);
      return by === undefined
        ? { kind: 'claimed', release: () => void seen.released.push(port) }
        : { kind: 'taken', by };
    },
  });
  return { clock, claims, seen };
}

suite('the addresses of the listeners', () => {
  test('are claimed once, and let go at the end', async () => {
    const { clock, claims, seen } = claiming(new Map());
    await claims.start();
    assert.deepEqual([claims.taken, seen.asked], [{}, [1, 2]]);
    await clock.pass(10_000);
    claims.close();
    assert.deepEqual(
      [seen.asked, seen.released],
      [
        [1, 2],
        [1, 2],
      ],
    );
  });

  test('that are let go within a second are waited for', async () => {
    const owners = new Map([[1, 'a process that is on its way out']]);
    const { clock, claims, seen } = claiming(owners);
    const started = claims.start();
    await clock.pass(500);
    owners.clear();
    await clock.pass(50);
    await started;
    assert.deepEqual([claims.taken, seen.changes], [{}, []]);
  });

  test('that stay taken are told with whom, and tried again, which is told when it changes', async () => {
    const owners = new Map([[1, 'another dbproxy']]);
    const { clock, claims, seen } = claiming(owners);
    const started = claims.start();
    await clock.pass(1_100);
    await started;
    assert.deepEqual(claims.taken, { write: 'another dbproxy' });
    await clock.pass(3_000);
    owners.set(1, 'a third one');
    await clock.pass(1_000);
    owners.clear();
    await clock.pass(1_000);
    assert.deepEqual(seen.changes, [{ write: 'a third one' }, {}]);
    const asked = seen.asked.length;
    await clock.pass(10_000);
    assert.equal(seen.asked.length, asked);
    claims.close();
    assert.deepEqual(seen.released.toSorted(), [1, 2]);
  });

  test('are not tried again after the end', async () => {
    const { clock, claims } = claiming(new Map([[1, 'another dbproxy']]));
    const started = claims.start();
    await clock.pass(1_100);
    await started;
    claims.close();
    assert.equal(clock.pending, 0);
  });
});
