/** A pair whose write VIP is on one host and whose read VIP is on the other, so that both dbproxies work. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { PAIR_PORTS, READ_VIP, type TwoHosts } from '../lab/two-hosts.ts';
import { endAtOnce } from '../support/end-at-once.ts';
import { eventually } from '../support/eventually.ts';
import { eventSince, primaryOf } from '../support/failovers.ts';
import {
  goesOn,
  pairSuite,
  promotionsSince,
  settled,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../support/pair-scenarios.ts';

const READ_INSTANCE = 'vi_dbproxy_51_read';

await pairSuite('a pair with the read VIP apart', (flavour) => {
  let pair: TwoHosts;
  before(async () => {
    pair = await startPairOfHosts({ flavour, config: { keepalived: { vip_layout: 'apart' } } });
  });
  after(() => pair?.close());

  /** The id of the server that answers a read through the read VIP. */
  async function readsFrom(): Promise<number> {
    return eventually(async () => {
      const connection = await createConnection({
        host: READ_VIP,
        port: PAIR_PORTS.read,
        user: 'app',
        password: 'app',
        database: 'demo',
        connectTimeout: 1_000,
      });
      connection.on('error', () => undefined);
      try {
        const sql = 'select @@server_id as id, count(*) from written';
        const [[row]] = await connection.query<RowDataPacket[]>(sql);
        return Number(row!['id']);
      } finally {
        endAtOnce(connection);
      }
    }, 20_000);
  }

  /** The read VIP on h2, which prefers it. */
  async function bringReadsHome(): Promise<void> {
    pair.h1.sendAway(true, READ_INSTANCE);
    await pair.untilHeld('h2', READ_VIP);
    pair.h1.sendAway(false, READ_INSTANCE);
  }

  test('writes go by h1 and reads by h2, from the replica, though dbproxy there may not act', async () => {
    await bringReadsHome();
    await settled(pair);
    assert.deepEqual([pair.holders(), await readsFrom()], [['h1'], 2]);
  });

  test('the host with the read VIP and the replica dies: reads go on by the other one, writes when an operator says that it is gone', async () => {
    const from = pair.h1.proxy.log.length;
    await underLoad(pair, async (workload) => {
      await pair.h2.powerOff();
      await pair.untilHeld('h1', READ_VIP);
      assert.equal(await readsFrom(), 1);
      await eventSince(pair.h1.proxy, from, 'peer.gone');
      // A dead host and a cut cable look alike: behind it the other one could go on with the replica.
      await pair.h1.proxy.admin('SET PEER GONE');
      await goesOn(workload);
    });
    await pair.h2.boot();
    await settled(pair);
    assert.deepEqual([pair.holders(), pair.holders(READ_VIP)], [['h1'], ['h1']]);
    await bringReadsHome();
    assert.equal(await readsFrom(), 2);
    assert.equal(promotionsSince(pair.h1, from), 0);
  });

  test('the host with the write VIP and the primary dies: the other one has all, and is written', async () => {
    const from = pair.h2.proxy.log.length;
    await underLoad(pair, async () => {
      await pair.h1.powerOff();
      await pair.untilHeld('h2');
      assert.equal(await readsFrom(), 2);
      await eventSince(pair.h2.proxy, from, 'promote.done');
    });
    assert.deepEqual(pair.holders(READ_VIP), ['h2']);
    await pair.h1.boot();
    await settledAgain(pair);
    assert.deepEqual([pair.holders(), pair.holders(READ_VIP)], [['h2'], ['h2']]);
    assert.equal(await primaryOf(pair.h1.proxy), 'db2');
  });
});
