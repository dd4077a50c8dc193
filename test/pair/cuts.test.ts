/** A pair of hosts whose network is cut: between the two, from everything, one way only, and the gateway. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TwoHosts } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { diagnoses, eventSince, isReadOnly, primaryOf } from '../support/failovers.ts';
import {
  bothInCharge,
  bringVips,
  goesOn,
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('a pair of hosts and its network', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await startPairOfHosts({ flavour });
  });
  after(() => pair?.close());

  test('the cable between the hosts is cut: each takes itself for the only one, and one server alone acknowledges; healed, one gives way', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async (workload) => {
      pair.cutBetween();
      await eventually(() => assert.deepEqual(pair.holders(), ['h1', 'h2']));
      await eventSince(other.proxy, from[other.number - 1]!, 'promote.done');
      const told = pair.hosts.map(({ keepalived }) => keepalived.output.length);
      pair.healBetween();
      const { keepalived, number } = await pair.untilHeld();
      // It has heard the one that gives way, or the neighbours would look for the VIP there until the next refresh.
      await eventually(() =>
        assert.match(
          keepalived.output.slice(told[number - 1]),
          /lower priority[^]*Sending gratuitous ARP on eth0 for 10\.99\.0\.100/,
        ),
      );
      await goesOn(workload);
    });
    await settledAgain(pair);
    // Of the two the one counts that went on with the replica.
    assert.deepEqual(
      [holder, other].map((host) => promotionsSince(host, from[host.number - 1]!)),
      [0, 1],
    );
    assert.equal(await primaryOf(holder.proxy), other.server.name);
    assert.equal(await isReadOnly(holder.server), true);
  });

  test('the host with the VIP and the primary is cut off from everything: the other one has both; back, it is the standby', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async (workload) => {
      holder.host.cut();
      await eventSince(other.proxy, from[other.number - 1]!, 'promote.done');
      await goesOn(workload);
      await eventually(() => assert.deepEqual(pair.holders(), [other.name]), 20_000);
      holder.host.mend();
    });
    await settledAgain(pair);
    assert.deepEqual(
      [holder, other].map((host) => promotionsSince(host, from[host.number - 1]!)),
      [0, 1],
    );
    assert.deepEqual(pair.holders(), [other.name]);
    assert.equal(await isReadOnly(holder.server), true);
  });

  test('VRRP is heard one way only: the deaf host takes the VIP, too, nobody is written, and it gives it back', async () => {
    // Of a deaf host that VRRP prefers the other one hears that, and gives way.
    await bringVips(pair, pair.h1);
    const holder = await holderWithPrimary(pair);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async () => {
      pair.h2.host.setDeaf(true);
      await bothInCharge(pair).finally(() => pair.h2.host.setDeaf(false));
      await pair.untilHeld();
    });
    const now = await settled(pair);
    assert.equal(await primaryOf(now.proxy), holder.server.name);
    assert.deepEqual(
      pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
      [0, 0],
    );
  });

  test('the gateway dies: nobody has the VIP and nobody is promoted; it is back, and so is the VIP', async () => {
    const holder = await holderWithPrimary(pair);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async () => {
      pair.cutGateway();
      await eventually(() => assert.deepEqual(pair.holders(), []), 20_000);
      for (const { proxy } of pair.hosts)
        await eventually(async () => assert.ok((await diagnoses(proxy)).includes('NotInCharge')));
      pair.mendGateway();
      await pair.untilHeld();
    });
    const now = await settled(pair);
    assert.equal(await primaryOf(now.proxy), holder.server.name);
    assert.deepEqual(
      pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
      [0, 0],
    );
  });
});
