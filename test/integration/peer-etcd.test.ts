/**
 * Two dbproxies of a pair and a real etcd: the lease follows the VIP, and where a cut gives both of them the VIP, exactly
 * one acts and takes writes.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startEtcd, type EtcdServer } from '../lab/etcd.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { PairOfProxies } from '../support/pair-of-proxies.ts';

const LONG_MS = 20_000;

suite('a pair of dbproxies with an etcd', () => {
  let lab: Lab;
  let etcd: EtcdServer;
  let pair: PairOfProxies;
  let one: ProxyProcess;
  let two: ProxyProcess;

  const others = (proxy: ProxyProcess): ProxyProcess => (proxy === one ? two : one);

  before(async () => {
    lab = await startPair();
    etcd = await startEtcd(lab.directory);
    pair = await PairOfProxies.open(lab, {
      'listener write': { queue_timeout: '1s' },
      'cluster main': {
        arbiter: etcd.arbiter,
        failover: 'auto',
        failover_cooldown: '0s',
        semi_sync: 'require',
        rejoin: 'auto',
        enforce_read_only: 'on',
      },
    });
    one = await pair.start(1);
    two = await pair.start(2);
  });
  after(async () => {
    etcd?.signal('SIGCONT');
    await lab?.stop();
    pair?.close();
    await etcd?.kill();
  });

  /** This one acts, and the other says so. */
  async function untilActs(proxy: ProxyProcess): Promise<void> {
    await eventually(async () => {
      assert.deepEqual(await pair.diagnoses(proxy), ['AllHealthy']);
      assert.deepEqual(await pair.diagnoses(others(proxy)), ['NotInCharge']);
      assert.equal(await pair.primaryOf(one), await pair.primaryOf(two));
    }, LONG_MS);
  }

  test('the one with the VIP has the lease', async () => {
    await untilActs(one);
    await pair.write(one);
    await pair.write(two);
    await assert.rejects(pair.admin(two, 'SWITCHOVER'), /not in charge/);
    await pair.admin(one, 'SWITCHOVER TO db2');
    await untilActs(one);
    assert.equal(await pair.primaryOf(two), 'db2');
  });

  test('the lease follows the VIP', async () => {
    const mark = two.log.length;
    pair.giveVip(two);
    await untilActs(two);
    assert.ok(two.log.slice(mark).some(({ event }) => event === 'charge.ours'));
    await eventually(() => pair.admin(two, 'SWITCHOVER TO db1'));
    await untilActs(two);
    pair.giveVip(one);
    await untilActs(one);
  });

  test('both have the VIP, and reach each other: who has the lease acts, and both route its writes', async () => {
    pair.giveVip(one, two);
    await eventually(async () => {
      assert.deepEqual(await pair.diagnoses(one), ['BothInCharge']);
      assert.ok((await pair.diagnoses(two)).includes('NotInCharge'));
    });
    await eventually(() => pair.write(one));
    await eventually(() => pair.write(two));
    await pair.admin(one, 'SET BACKEND db2 RO_WEIGHT = 3');
    await assert.rejects(pair.admin(two, 'SET BACKEND db2 RO_WEIGHT = 4'), /not in charge/);
  });

  test('a cut gives both the VIP: exactly one acts and takes writes', async () => {
    pair.cut(true);
    await eventually(async () => {
      assert.ok((await pair.diagnoses(two)).includes('PeerUnreachable'));
      await assert.rejects(pair.write(two), /has not the lease of etcd/);
    }, LONG_MS);
    await eventually(() => pair.admin(one, 'SET BACKEND db2 RO_WEIGHT = 5'), LONG_MS);
    await pair.write(one);
    await assert.rejects(pair.admin(two, 'SET BACKEND db2 RO_WEIGHT = 6'), /not in charge/);
  });

  test('behind the cut the half with the lease dies with the primary: the other gets the lease and fails over', async () => {
    const writtenBefore = await rows('db2');
    one.signal('SIGKILL');
    await Promise.all([one.ended(), lab.db1.kill()]);
    await eventually(() => pair.write(two), LONG_MS);
    assert.equal(await pair.primaryOf(two), 'db2');
    assert.ok((await rows('db2')) > writtenBefore);
  });

  test('the old one comes back with the VIP as well, behind the cut: it takes no writes, and then believes the other', async () => {
    await lab.db1.start();
    await one.start();
    await eventually(async () => assert.equal((await pair.diagnoses(one))[0], 'PeerUnheard'));
    await assert.rejects(pair.write(one), /nothing has been heard/);
    pair.cut(false);
    await eventually(async () => assert.equal(await pair.primaryOf(one), 'db2'), LONG_MS);
    pair.giveVip(two);
    await untilActs(two);
  });

  test('without the etcd, too, behind a cut: nobody takes writes, rather than two', async () => {
    pair.giveVip(one, two);
    await eventually(async () => assert.ok((await pair.diagnoses(one)).includes('BothInCharge')));
    etcd.signal('SIGSTOP');
    pair.cut(true);
    for (const proxy of [one, two]) {
      await eventually(() => assert.rejects(pair.write(proxy), /has not the lease of etcd/), LONG_MS);
    }
    etcd.signal('SIGCONT');
    const taken = await eventually(async () => {
      const results = await Promise.allSettled([pair.write(one), pair.write(two)]);
      const takes = results.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
      assert.equal(takes.length, 1);
      return takes[0];
    }, LONG_MS);
    assert.ok(taken !== undefined);
    pair.cut(false);
    pair.giveVip(one);
    await untilActs(one);
  });

  async function rows(server: 'db1' | 'db2'): Promise<number> {
    const found = (await lab[server].query('select count(*) as count from demo.pair')) as {
      count: number;
    }[];
    return Number(found[0]!.count);
  }
});
