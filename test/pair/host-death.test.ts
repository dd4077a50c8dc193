/** A host of a pair that loses its power, and gets it back; and a pair that is started in any order. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TwoHosts, type HostName } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { diagnoses, isReadOnly, primaryOf, untilRole } from '../support/failovers.ts';
import {
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('the hosts of a pair', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await TwoHosts.open({ flavour });
  });
  after(() => pair?.close());

  test('started with keepalived first: nobody has the VIP before a dbproxy runs, then its host has it, and keeps it', async () => {
    for (const { keepalived } of pair.hosts) keepalived.start();
    await eventually(() => {
      for (const { keepalived } of pair.hosts) assert.match(keepalived.output, /VRRP_Script.* failed/);
    });
    assert.deepEqual(pair.holders(), []);
    await pair.h2.startProxy();
    await pair.untilHeld('h2');
    await pair.h1.startProxy();
    await settled(pair);
    await underLoad(pair, async () => undefined);
    assert.deepEqual(pair.holders(), ['h2']);
    assert.equal(await primaryOf(pair.h1.proxy), 'db1');
  });

  test('the host with the VIP and the primary dies: the other one has both; the dead one is back, and is its replica', async (context) => {
    const gaps: number[] = [];
    for (const round of [1, 2]) {
      const holder = await holderWithPrimary(pair);
      const other = pair.other(holder);
      // Who has not seen all well knows too little of the primary to take over from it.
      await eventually(async () => assert.deepEqual(await diagnoses(other.proxy), ['InMaintenance']));
      const from = other.proxy.log.length;
      const workload = await underLoad(pair, async () => {
        await holder.powerOff();
        await pair.untilHeld(other.name);
        await other.proxy.waitForEvent('promote.done', (event) => other.proxy.log.indexOf(event) >= from);
      });
      gaps.push(Math.round(workload.longestGapMs));
      assert.equal(await primaryOf(other.proxy), other.server.name);
      assert.equal(promotionsSince(other, from), 1);

      await holder.powerOn();
      await holder.startProxy();
      holder.keepalived.start();
      await settled(pair);
      await untilRole(holder.proxy, holder.server.name, 'replica');
      assert.equal(await isReadOnly(holder.server), true);
      assert.deepEqual(pair.holders(), [other.name] satisfies HostName[], `round ${round}`);
    }
    context.diagnostic(`longest time without an acknowledged write: ${gaps.join(' ms, ')} ms`);
  });
});
