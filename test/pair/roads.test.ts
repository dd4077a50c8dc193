/** The main roads of a pair, on each kind of server that can be semi-synchronous: what dies, what moves, what is upgraded. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TwoHosts } from '../lab/two-hosts.ts';
import { eventually } from '../support/eventually.ts';
import { eventSince, isReadOnly, primaryOf, untilRole } from '../support/failovers.ts';
import {
  assertNothingFailed,
  goesOn,
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

/** Where nothing dies, nobody gives up waiting for an answer. */
const PATIENT_MS = 10_000;

const gapWords = (gapMs: number): string =>
  `longest time without an acknowledged write: ${Math.round(gapMs)} ms`;

await pairSuite(
  'the main roads of a pair',
  (flavour) => {
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
        await eventSince(holder.proxy, from, 'promote.done');
      });
      assert.equal(await primaryOf(holder.proxy), other.server.name);
      assert.deepEqual(pair.holders(), [holder.name]);
      await holder.server.start();
      await settledAgain(pair);
      assert.deepEqual([promotionsSince(holder, from), promotionsSince(other, 0)], [1, 0]);
    });

    test('SWITCHOVER moves the primary and not the VIP, and no statement fails; the other host refuses it', async (context) => {
      const holder = await holderWithPrimary(pair);
      const other = pair.other(holder);
      await assert.rejects(other.proxy.admin(`SWITCHOVER TO ${other.server.name}`), /not in charge/);
      const workload = await underLoad(
        pair,
        () => holder.proxy.admin(`SWITCHOVER TO ${other.server.name}`).then(() => undefined),
        PATIENT_MS,
      );
      assertNothingFailed(pair, workload);
      assert.deepEqual(pair.holders(), [holder.name]);
      await settled(pair);
      assert.equal(await primaryOf(other.proxy), other.server.name);
      context.diagnostic(gapWords(workload.longestGapMs));
    });

    test('dbproxy is upgraded on both hosts, one after the other: no statement fails, and the primary stays', async (context) => {
      const holder = await holderWithPrimary(pair);
      const from = pair.hosts.map(({ proxy }) => proxy.log.length);
      const workload = await underLoad(
        pair,
        async () => {
          for (const { proxy } of [pair.other(holder), holder]) {
            assert.equal(await proxy.stop(), 0);
            await proxy.start();
            await settled(pair);
          }
        },
        PATIENT_MS,
      );
      assertNothingFailed(pair, workload);
      assert.deepEqual(
        pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
        [0, 0],
      );
      context.diagnostic(gapWords(workload.longestGapMs));
    });

    test('the VIP is sent to the other host and back: nobody is promoted, and each time that host acts', async (context) => {
      const holder = await holderWithPrimary(pair);
      const other = pair.other(holder);
      const from = pair.hosts.map(({ proxy }) => proxy.log.length);
      const gaps: number[] = [];
      for (const [one, next] of [
        [holder, other],
        [other, holder],
      ] as const) {
        const workload = await underLoad(pair, async (load) => {
          one.sendAway(true);
          await pair.untilHeld(next.name);
          await goesOn(load);
          one.sendAway(false);
        });
        gaps.push(Math.round(workload.longestGapMs));
        await eventually(() => next.proxy.admin(`SET BACKEND ${holder.server.name} RO_WEIGHT = 1`));
        await assert.rejects(
          one.proxy.admin(`SET BACKEND ${holder.server.name} RO_WEIGHT = 1`),
          /not in charge/,
        );
      }
      await settled(pair);
      assert.deepEqual(
        pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
        [0, 0],
      );
      context.diagnostic(gapWords(Math.max(...gaps)));
    });

    test('the host with the VIP and the primary dies: the other one has both; the dead one is back, and is its replica', async (context) => {
      const holder = await holderWithPrimary(pair);
      const other = pair.other(holder);
      const from = other.proxy.log.length;
      const workload = await underLoad(pair, async () => {
        await holder.powerOff();
        await pair.untilHeld(other.name);
        await eventSince(other.proxy, from, 'promote.done');
      });
      context.diagnostic(gapWords(workload.longestGapMs));
      assert.equal(await primaryOf(other.proxy), other.server.name);

      await holder.boot();
      await settledAgain(pair);
      await untilRole(holder.proxy, holder.server.name, 'replica');
      assert.equal(await isReadOnly(holder.server), true);
      assert.deepEqual([promotionsSince(other, from), pair.holders()], [1, [other.name]]);
    });
  },
  ['mariadb', 'mysql97'],
);
