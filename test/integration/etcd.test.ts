/**
 * Several dbproxies in front of one pair of servers, with a real etcd that says which of them acts: exactly one does,
 * another one takes its place, and without an etcd nobody does, while sessions go on.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { connectEtcd } from '../../src/monitor/etcd.ts';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { startEtcd, type EtcdServer } from '../lab/etcd.ts';
import { startPair, temporaryDirectory, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { configWith, diagnoses, eventSince, isReadOnly, primaryOf, writeOne } from '../support/failovers.ts';

const LONG_MS = 20_000;

suite('an etcd', () => {
  let etcd: EtcdServer;
  before(async () => {
    etcd = await startEtcd(temporaryDirectory());
  });
  after(() => etcd?.kill());

  test('grants leases, compares and writes, and tells what is there', async () => {
    const client = connectEtcd({
      urls: ['http://127.0.0.1:1', etcd.url],
      timeoutMs: 2_000,
      clock: systemClock,
    });
    try {
      const lease = await client.grant(3_000);
      assert.equal(lease.ttlMs, 3_000);
      const put = { key: 'k', value: 'wörter', lease: lease.id };
      const absent = { key: 'k', createRevision: '0' };
      const first = await client.transact({ compare: [absent], put: [put], read: ['k', 'none'] });
      assert.equal(first.succeeded, true);
      assert.equal(first.entries[0]?.value, 'wörter');
      assert.equal(first.entries[0]?.lease, lease.id);
      assert.equal(first.entries[1], null);
      const second = await client.transact({ compare: [absent], put: [put], read: ['k'] });
      assert.equal(second.succeeded, false);
      assert.deepEqual(second.entries[0], first.entries[0]);
      assert.equal(await client.keepAlive(lease.id), 3_000);
      await client.revoke(lease.id);
      await client.revoke(lease.id);
      assert.equal(await client.keepAlive(lease.id), 0);
      const left = await client.transact({ compare: [], put: [], read: ['k'] });
      assert.deepEqual(left.entries, [null]);
    } finally {
      client.close();
    }
  });
});

suite('three dbproxies with an etcd', () => {
  let lab: Lab;
  let etcd: EtcdServer;
  let proxies: ProxyProcess[];
  before(async () => {
    lab = await startPair();
    await lab.db1.query(CREATE_WRITTEN);
    etcd = await startEtcd(lab.directory);
    const config = configWith({ arbiter: etcd.arbiter });
    proxies = [];
    for (let count = 0; count < 3; count++) proxies.push(await lab.startProxy({ config, workers: 1 }));
  });
  after(async () => {
    etcd?.signal('SIGCONT');
    await etcd?.kill();
    await lab?.stop();
  });

  const living = (): ProxyProcess[] => proxies.filter(({ pid }) => pid !== undefined);

  /** The one in charge, once it is known to everybody. */
  function whoActs(): Promise<ProxyProcess> {
    return eventually(async () => {
      const found = await Promise.all(living().map(diagnoses));
      const own = found.flatMap((names, index) =>
        names.includes('NotInCharge') || names.includes('NobodyInCharge') ? [] : [living()[index]!],
      );
      assert.equal(own.length, 1, JSON.stringify(found));
      assert.ok(!found.flat().includes('NobodyInCharge'), JSON.stringify(found));
      return own[0]!;
    }, LONG_MS);
  }

  /** Everybody takes this one for the primary, and nothing is the matter. */
  function untilAllAgree(primary: string): Promise<void> {
    return eventually(async () => {
      for (const proxy of living()) {
        const names = await diagnoses(proxy);
        assert.ok(names[0] === 'AllHealthy' || names[0] === 'NotInCharge', names.join());
        assert.equal(await primaryOf(proxy), primary);
      }
    }, LONG_MS);
  }

  test('have one that acts; the others refuse a switchover and name it, and follow the one it does', async () => {
    const acts = await whoActs();
    await untilAllAgree('db1');
    const { detail } = await acts.waitForEvent('charge.ours');
    const name = /\((\S+)\)/.exec(String(detail))?.[1] ?? 'nobody';
    for (const proxy of living().filter((one) => one !== acts)) {
      await assert.rejects(proxy.admin('SWITCHOVER CLUSTER main'), (error: Error) =>
        error.message.includes(`another dbproxy is in charge of the cluster: ${name} has the lease`),
      );
      await assert.rejects(proxy.admin('MAINTENANCE ON'), /another dbproxy is in charge/);
    }
    await acts.admin('SWITCHOVER CLUSTER main');
    await untilAllAgree('db2');
    for (const proxy of living()) await writeOne(proxy, proxies.indexOf(proxy) + 1);
    assert.equal(await isReadOnly(lab.db1), true);
  });

  test('replace the one that acts, and its successor fails over', async () => {
    const acts = await whoActs();
    acts.signal('SIGKILL');
    await acts.ended();
    await lab.db2.kill();
    const successor = await whoActs();
    await successor.waitForEvent('promote.done', ({ backend }) => backend === 'db1', LONG_MS);
    await eventually(async () => {
      for (const proxy of living()) assert.equal(await primaryOf(proxy), 'db1');
    }, LONG_MS);
    assert.equal(
      living().flatMap(({ log }) => log.filter(({ event }) => event === 'promote.done')).length,
      1,
      'one promotion since',
    );
    await lab.db2.start();
    await acts.start();
    await untilAllAgree('db1');
  });

  test('do nothing while etcd stands still, and go on serving; then exactly one acts again', async () => {
    const acts = await whoActs();
    const session = await acts.connect('write');
    const marks = living().map(({ log }) => log.length);
    etcd.signal('SIGSTOP');
    for (const [index, proxy] of living().entries()) await eventSince(proxy, marks[index]!, 'charge.none');
    await session.query('insert into written (id, part, server, at_ms) values (100, 1, @@server_id, 0)');
    await assert.rejects(acts.admin('SWITCHOVER CLUSTER main'), /no dbproxy is in charge of the cluster/);
    await lab.db1.kill();
    for (const proxy of living())
      await eventually(async () => {
        const names = await diagnoses(proxy);
        assert.ok(names.includes('Isolated') && names.includes('NobodyInCharge'), names.join());
      }, LONG_MS);
    assert.equal(await isReadOnly(lab.db2), true);
    etcd.signal('SIGCONT');
    await eventually(async () => {
      for (const proxy of living()) assert.equal(await primaryOf(proxy), 'db2');
    }, LONG_MS);
    await lab.db1.start();
    await untilAllAgree('db2');
    const again = await whoActs();
    const promoted = living().flatMap((proxy) =>
      proxy.log
        .slice(marks[living().indexOf(proxy)])
        .filter(({ event }) => event === 'promote.done')
        .map(() => proxy),
    );
    assert.deepEqual(promoted.length, 1);
    assert.equal(promoted[0], again);
  });

  test('hand over at an orderly end, at once', async () => {
    const acts = await whoActs();
    const others = living().filter((one) => one !== acts);
    const marks = others.map(({ log }) => log.length);
    await acts.stop();
    await Promise.any(others.map((proxy, index) => eventSince(proxy, marks[index]!, 'charge.ours')));
    await acts.start();
    await untilAllAgree('db2');
  });
});
