/** A pair of hosts on which one thing dies at a time: who has the VIP then, who is written, and what clients are told. */
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { SERVER_PORT } from '../lab/host-servers.ts';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';
import type { TwoHosts } from '../lab/two-hosts.ts';
import { endAtOnce } from '../support/end-at-once.ts';
import { eventually } from '../support/eventually.ts';
import { backendRow, diagnoses, eventSince, primaryOf } from '../support/failovers.ts';
import {
  bothInCharge,
  goesOn,
  holderWithPrimary,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

await pairSuite('a pair of hosts', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await startPairOfHosts({ flavour, config: { 'cluster main': { max_lag: '1s' } } });
  });
  after(() => pair?.close());

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

  test('the standby is shut down in order, dbproxy before its server: the primary goes on alone, and waits for it again when both are back', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, async (workload) => {
      assert.equal(await other.proxy.stop(), 0);
      await other.server.stop();
      await eventSince(holder.proxy, from, 'care.go_alone');
      await goesOn(workload);
    });
    await other.server.start();
    await other.proxy.start();
    await settled(pair);
    assert.deepEqual([promotionsSince(holder, from), pair.holders()], [0, [holder.name]]);
  });

  test('the host without the VIP and the primary dies: each commit waits, until an operator says that it is gone', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    await underLoad(pair, async (workload) => {
      await other.powerOff();
      await eventually(
        async () => assert.ok((await diagnoses(holder.proxy)).includes('CommitsWait')),
        20_000,
      );
      await holder.proxy.admin('SET PEER GONE');
      await goesOn(workload);
    });
    await other.boot();
    await settled(pair);
    assert.deepEqual([promotionsSince(holder, from), pair.holders()], [0, [holder.name]]);
  });

  test('the replica lags: it is given no reads, by either dbproxy, until it has caught up', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const { address } = other.host;
    const direct = await createConnection({ host: address, port: SERVER_PORT, ...ADMIN_ACCOUNT });
    try {
      await direct.query('lock tables demo.written write');
      const isReadable = async (): Promise<unknown[]> =>
        Promise.all(
          pair.hosts.map(async ({ proxy }) => (await backendRow(proxy, other.server.name))?.['readable']),
        );
      await underLoad(pair, async () => {
        await eventually(async () => assert.deepEqual(await isReadable(), ['no', 'no']), 20_000);
        await direct.query('unlock tables');
        await eventually(async () => assert.deepEqual(await isReadable(), ['yes', 'yes']), 20_000);
      });
    } finally {
      endAtOnce(direct);
    }
    await settled(pair);
  });

  test('dbproxy dies and is started again in its place: the primary stays, wherever the VIP is', async () => {
    const holder = await holderWithPrimary(pair);
    const from = holder.proxy.log.length;
    await underLoad(pair, async () => {
      await holder.killProxy();
      await holder.proxy.start();
    });
    // The VIP stays when dbproxy is back within keepalived's three checks, which a busy machine does not promise.
    const now = await settled(pair);
    assert.equal(promotionsSince(holder, from), 0);
    assert.equal(await primaryOf(now.proxy), holder.server.name);
  });

  test('dbproxy dies again and is not started: the VIP moves, the primary stays; back as the standby it does not act', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    await underLoad(pair, async () => {
      await holder.killProxy();
      await holder.proxy.start();
      await holder.killProxy();
      await pair.untilHeld(other.name);
    });
    assert.equal(await primaryOf(other.proxy), holder.server.name);

    const from = holder.proxy.log.length;
    await holder.proxy.start();
    await settled(pair);
    await assert.rejects(holder.proxy.admin(`SWITCHOVER TO ${other.server.name}`), /not in charge/);
    const fromOther = other.proxy.log.length;
    await underLoad(pair, async () => {
      await holder.server.kill();
      await eventSince(other.proxy, fromOther, 'promote.done');
    });
    await holder.server.start();
    await settledAgain(pair);
    assert.deepEqual(pair.holders(), [other.name]);
    assert.equal(promotionsSince(holder, from), 0);
    assert.ok(!holder.proxy.log.slice(from).some(({ event }) => /^(promote|care)\./.test(event)));
  });

  test('dbproxy dies in the middle of a switchover: the other one takes the switchover back, and is written', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = holder.proxy.log.length;
    const fromOther = other.proxy.log.length;
    const direct = await createConnection({ host: other.host.address, port: SERVER_PORT, ...ADMIN_ACCOUNT });
    try {
      await underLoad(pair, async () => {
        // So that it cannot catch up.
        await direct.query('lock tables demo.written write');
        const asked = holder.proxy.admin(`SWITCHOVER TO ${other.server.name}`).catch(() => undefined);
        await eventSince(holder.proxy, from, 'promote.fence');
        await holder.killProxy();
        await asked;
        const { reason, aftermath } = await eventSince(other.proxy, fromOther, 'promote.undone');
        const why = 'dbproxy was stopped in the middle of it';
        assert.deepEqual([reason, aftermath], [why, 'everything was taken back']);
        await direct.query('unlock tables');
      });
    } finally {
      endAtOnce(direct);
    }
    assert.deepEqual(pair.holders(), [other.name]);
    await holder.proxy.start();
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
    assert.deepEqual(await holder.proxy.admin('SHOW PLAN'), []);
  });

  test('the state_dir of the one in charge takes nothing: it says how the other one comes to act, which does', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = other.proxy.log.length;
    const inTheWay = join(holder.proxy.stateDirectory, 'probe.tmp');
    mkdirSync(inTheWay);
    await underLoad(pair, async () => {
      await eventually(async () => {
        const [diagnosis] = await holder.proxy.admin('SHOW DIAGNOSES');
        assert.equal(diagnosis!['diagnosis'], 'StateNotWritable');
        assert.match(
          String(diagnosis!['detail']),
          /systemctl stop keepalived on this host moves the write VIP/,
        );
      }, 20_000);
      await holder.keepalived.stop();
      await pair.untilHeld(other.name);
      await holder.server.kill();
      await eventSince(other.proxy, from, 'promote.done');
    });
    rmdirSync(inTheWay);
    holder.keepalived.start();
    await holder.server.start();
    await settledAgain(pair);
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

  test('keepalived is killed, and its address stays behind: nobody is written until it is started again, and gives it up', async () => {
    const holder = await holderWithPrimary(pair);
    const other = pair.other(holder);
    const from = pair.hosts.map(({ proxy }) => proxy.log.length);
    await underLoad(pair, async () => {
      await holder.keepalived.kill();
      await eventually(() => assert.deepEqual(pair.holders(), ['h1', 'h2']));
      await bothInCharge(pair);
      for (const { proxy } of pair.hosts) {
        const [diagnosis] = await proxy.admin('SHOW DIAGNOSES');
        assert.match(String(diagnosis!['detail']), /does not run .* systemctl start keepalived there/);
      }
      holder.keepalived.start();
      await pair.untilHeld(other.name);
    });
    await settled(pair);
    assert.equal(await primaryOf(other.proxy), holder.server.name);
    assert.deepEqual(
      pair.hosts.map((host, index) => promotionsSince(host, from[index]!)),
      [0, 0],
    );
  });
});
