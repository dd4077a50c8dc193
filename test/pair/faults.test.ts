/** A pair of hosts on which one thing dies at a time: who has the VIP then, who is written, and what clients are told. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PairHost, TwoHosts } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { primaryOf } from '../support/failovers.ts';
import {
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('a pair of hosts', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await startPairOfHosts({ flavour });
  });
  after(() => pair?.close());

  test('only the primary dies: the replica takes over, the VIP stays, and the old one comes back as its replica', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, async () => {
      await holder.server.kill();
      await holder.proxy.waitForEvent('promote.done', (event) => holder.proxy.log.indexOf(event) >= from);
    });
    assert.equal(await primaryOf(holder.proxy), other.server.name);
    assert.deepEqual(pair.holders(), [holder.name]);
    await holder.server.start();
    await settled(pair);
    assert.equal(promotionsSince(holder, from), 1);
    assert.equal(promotionsSince(other, 0), 0);
  });

  test('the replica dies: the primary goes on without it, and waits for it again when it is back', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, () => other.server.kill());
    assert.equal(await primaryOf(holder.proxy), holder.server.name);
    await other.server.start();
    await settled(pair);
    assert.deepEqual([promotionsSince(holder, from), pair.holders()], [0, [holder.name]]);
  });

  test('dbproxy dies and is started again in its place: the primary stays, wherever the VIP is', async () => {
    const holder = await holderWithPrimary(pair);
    const from = holder.proxy.log.length;
    await underLoad(pair, async () => {
      await kill(holder);
      await holder.startProxy();
    });
    // The VIP stays when dbproxy is back within keepalived's three checks, which a busy machine does not promise.
    const now = await settled(pair);
    assert.equal(promotionsSince(holder, from), 0);
    assert.equal(await primaryOf(now.proxy), holder.server.name);
  });

  test('dbproxy dies and does not come back: the VIP moves, the primary stays; when it is back it is the standby', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      await kill(holder);
      await pair.untilHeld(other.name);
    });
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
    await holder.startProxy();
    await eventually(async () => assert.equal(await primaryOf(holder.proxy), holder.server.name));
    await underLoad(pair, async () => undefined);
    assert.deepEqual(pair.holders(), [other.name]);
  });

  test('keepalived ends in order: the VIP moves, the primary stays', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      await holder.keepalived.stop();
      await pair.untilHeld(other.name);
    });
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
    holder.keepalived.start();
    await underLoad(pair, async () => undefined);
    assert.deepEqual(pair.holders(), [other.name]);
  });

  test('keepalived is killed, and its address stays behind: the other host has it, too, until it is started again', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      await holder.keepalived.kill();
      await eventually(() => assert.deepEqual(pair.holders(), ['h1', 'h2']));
      holder.keepalived.start();
      await pair.untilHeld(other.name);
    });
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
  });

  test('VRRP is heard one way only: the deaf host takes the VIP, too, one server is written, and it gives it back', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      other.host.setDeaf(true);
      await eventually(() => assert.ok(other.hasVip), 10_000);
      other.host.setDeaf(false);
      await pair.untilHeld();
    });
    const now = await settled(pair);
    assert.equal(await primaryOf(now.proxy), holder.server.name);
  });

  test('the gateway dies: nobody has the VIP and nobody is promoted; it is back, and so is the VIP', async () => {
    const holder = await holderWithPrimary(pair);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async () => {
      pair.cutGateway();
      await eventually(() => assert.deepEqual(pair.holders(), []), 20_000);
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

/** The whole of dbproxy, as a crash of its supervisor is: its workers end by themselves. */
async function kill(host: PairHost): Promise<void> {
  host.proxy.signal('SIGKILL');
  await host.proxy.ended();
}
