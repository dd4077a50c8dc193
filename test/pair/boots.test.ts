/** A pair that is started in any order, and again after both of its hosts were without power. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TwoHosts, type PairHost } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { diagnoses, primaryOf } from '../support/failovers.ts';
import {
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('the start of a pair', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await TwoHosts.open({ flavour });
  });
  after(() => pair?.close());

  test('keepalived first: nobody has the VIP before a dbproxy runs, then its host has it, and keeps it', async () => {
    for (const { keepalived } of pair.hosts) keepalived.start();
    await eventually(() => {
      for (const { keepalived } of pair.hosts) assert.match(keepalived.output, /VRRP_Script.* failed/);
    });
    assert.deepEqual(pair.holders(), []);
    await pair.h2.proxy.start();
    await pair.untilHeld('h2');
    // It cannot know what the other one has decided.
    assert.ok((await diagnoses(pair.h2.proxy)).includes('PeerUnheard'));
    await pair.h1.proxy.start();
    await settled(pair);
    await underLoad(pair, async () => undefined);
    assert.deepEqual(pair.holders(), ['h2']);
    assert.equal(await primaryOf(pair.h1.proxy), 'db1');
  });

  test('both hosts lose their power; dbproxy is first, then keepalived, then the servers, the one that was the standby before the other', async () => {
    const holder = await holderWithPrimary(pair);
    await loseBoth(pair);
    const [first, second] = [pair.other(holder), holder] as const;
    for (const { host } of [first, second]) await host.powerOn();
    for (const { proxy } of [first, second]) await proxy.start();
    for (const { keepalived } of [first, second]) keepalived.start();
    await startAgain(pair, holder, () => Promise.all([first.startServer(), second.startServer()]));
  });

  test('both hosts lose their power; the standby is back alone, and takes no writes until the other one is back', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await loseBoth(pair);
    await other.boot();
    await pair.untilHeld(other.name);
    assert.ok((await diagnoses(other.proxy)).includes('PeerUnheard'));
    await startAgain(pair, holder, () => holder.boot());
    assert.deepEqual(pair.holders(), [other.name]);
  });

  test('both hosts lose their power; the one with the VIP and the primary is back alone, then the other one', async () => {
    const holder = await holderWithPrimary(pair);
    await loseBoth(pair);
    await holder.boot();
    await pair.untilHeld(holder.name);
    await startAgain(pair, holder, () => pair.other(holder).boot());
    assert.deepEqual(pair.holders(), [holder.name]);
  });
});

async function loseBoth(pair: TwoHosts): Promise<void> {
  await underLoad(pair, async () => undefined);
  await Promise.all(pair.hosts.map((host) => host.powerOff()));
}

/** After `rest` all goes on, with the primary that there was. */
async function startAgain(pair: TwoHosts, before: PairHost, rest: () => Promise<unknown>): Promise<void> {
  const from = pair.hosts.map(({ proxy }) => proxy.log.length);
  await rest();
  await settledAgain(pair);
  await underLoad(pair, async () => undefined);
  assert.equal(await primaryOf(before.proxy), before.server.name);
  assert.deepEqual(
    pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
    [0, 0],
  );
}
