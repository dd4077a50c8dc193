/** What operators order of a pair, and what they have to put right. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TwoHosts } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { diagnoses, eventSince, isReadOnly, primaryOf } from '../support/failovers.ts';
import { WORDS } from '../lab/flavours.ts';
import {
  assertNothingFailed,
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('the operators of a pair', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await startPairOfHosts({ flavour });
  });
  after(() => pair?.close());

  test('haconf on both hosts names another master: one switchover, no statement fails, the VIP stays', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    const workload = await underLoad(
      pair,
      async () => {
        for (const host of pair.hosts) host.order({ master: other.host.address });
        await eventSince(holder.proxy, from[holder.number - 1]!, 'haconf.switched');
      },
      10_000,
    );
    assertNothingFailed(pair, workload);
    assert.equal(await primaryOf(other.proxy), other.server.name);
    assert.deepEqual(
      [holder, other].map((host) => promotionsSince(host, from[host.number - 1]!)),
      [1, 0],
    );
    for (const host of pair.hosts) host.order({});
    await settled(pair);
    assert.deepEqual(pair.holders(), [holder.name]);
  });

  test('MAINTENANCE ON is known to both: nobody is promoted for a dead primary, until it is OFF', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, async () => {
      await holder.proxy.admin('MAINTENANCE ON');
      for (const { proxy } of pair.hosts)
        assert.equal((await proxy.admin('SHOW CLUSTERS'))[0]!['maintenance'], 'on');
      await holder.server.kill();
      await eventually(async () =>
        assert.deepEqual(await diagnoses(holder.proxy), ['PrimaryDown', 'InMaintenance']),
      );
      assert.equal(promotionsSince(holder, from), 0);
      await holder.proxy.admin('MAINTENANCE OFF');
      await eventSince(holder.proxy, from, 'promote.done');
    });
    await holder.server.start();
    await settled(pair);
    assert.equal(await primaryOf(holder.proxy), other.server.name);
  });

  test('haconf says maintenance: a dead dbproxy keeps the VIP, and is started again in its place', async () => {
    const holder = await holderWithPrimary(pair);
    for (const host of pair.hosts) host.order({ maintenance: true });
    for (const { proxy } of pair.hosts)
      await eventually(async () => assert.ok((await diagnoses(proxy)).includes('InMaintenance')));
    await underLoad(pair, async () => {
      await holder.killProxy();
      assert.deepEqual(holder.keepalived.check(), {
        isWell: true,
        words: 'maintenance (haconf): nothing is checked',
      });
      await holder.proxy.start();
    });
    assert.deepEqual(pair.holders(), [holder.name]);
    for (const host of pair.hosts) host.order({});
    await settled(pair);
  });

  test('haconf says maintenance on the host without the VIP alone: it says that the other one goes by its own, which fails over', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, async () => {
      other.order({ maintenance: true });
      await eventually(async () =>
        assert.deepEqual(await diagnoses(other.proxy), ['NotInCharge', 'InMaintenance']),
      );
      const [, maintenance] = await other.proxy.admin('SHOW DIAGNOSES');
      assert.match(
        String(maintenance!['detail']),
        /this dbproxy alone: the other one .* N in column 1 of the file ends it/,
      );
      const shown = pair.hosts.map(
        async ({ proxy }) => (await proxy.admin('SHOW CLUSTERS'))[0]!['maintenance'],
      );
      assert.deepEqual(new Set(await Promise.all(shown)), new Set(['haconf', 'off']));
      await holder.server.kill();
      await eventSince(holder.proxy, from, 'promote.done');
    });
    other.order({});
    await holder.server.start();
    await settledAgain(pair);
    assert.equal(await primaryOf(holder.proxy), other.server.name);
  });

  test('haconf says error mode: the VIP goes to the other host, the primary stays', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      holder.order({ errorMode: true });
      await pair.untilHeld(other.name);
    });
    holder.order({});
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
    assert.deepEqual(pair.holders(), [other.name]);
  });

  test('the old primary returns with transactions of its own: it is read-only and told of, until an operator gives them up', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = other.proxy.log.length;
    await underLoad(pair, async () => {
      holder.host.cut();
      await eventSince(other.proxy, from, 'promote.done');
      // Whoever stands before that machine writes there, past all that keeps others from it.
      await holder.server.execute(
        `set global ${WORDS[flavour].semiSync!.primary} = 0`,
        'set global read_only = 0',
        'insert into demo.written (id, part, server, at_ms) values (-1, 1, 0, 0)',
      );
      holder.host.mend();
      const told = await eventSince(other.proxy, from, 'rejoin.diverged');
      assert.equal(told['subject'], holder.server.name);
    });
    await eventually(async () => assert.equal(await isReadOnly(holder.server), true));
    assert.equal(await primaryOf(other.proxy), other.server.name);
    // The two have found each other again: until then nobody is in charge.
    await eventually(async () => {
      assert.ok(!(await diagnoses(other.proxy)).includes('PeerUnreachable'));
    });
    await other.proxy.admin(`REJOIN ${holder.server.name} DISCARD`);
    await settled(pair);
    assert.deepEqual(await holder.server.query('select id from demo.written where id < 0'), []);
  });
});
