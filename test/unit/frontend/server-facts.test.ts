import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { factsOf, sameFacts } from '../../../src/frontend/server-facts.ts';
import type { BackendView, Snapshot } from '../../../src/topology/snapshot.ts';
import { backendView } from '../../support/fake-worker.ts';
import { clusterView } from '../../support/operations.ts';

/** A cluster `c` of servers with these versions, the first its primary. */
function snapshot(versions: (string | null)[], change: Partial<BackendView>[] = []): Snapshot {
  return {
    version: 1,
    epoch: 1,
    clusters: [clusterView({ name: 'c' })],
    backends: [
      ...versions.map((serverVersion, index) =>
        backendView(`db${index + 1}`, { serverVersion, ...change[index] }),
      ),
      backendView('stranger', { cluster: 'other', serverVersion: '5.1.0', sqlMode: 'ANSI' }),
    ],
  };
}

suite('versions, as executable comments write them', () => {
  const CASES: readonly [versions: (string | null)[], isMariaDb: boolean, min: number, max: number][] = [
    [['10.11.6-MariaDB'], true, 101106, 101106],
    [['5.5.5-10.11.6-MariaDB-log'], true, 101106, 101106],
    [['11.4.2-MariaDB', '10.6.20-MariaDB'], true, 100620, 110402],
    [['9.7.0'], false, 90700, 90700],
    [['5.6.24-log', '8.0.36'], false, 50624, 80036],
    [['8.4.0', null], false, 80400, 80400],
    [[null], false, 50500, 999999],
    [[], false, 50500, 999999],
    [['what is this'], false, 0, 0],
  ];
  for (const [versions, isMariaDb, min, max] of CASES) {
    test(versions.length === 0 ? 'of no server' : versions.join(' and '), () => {
      const facts = factsOf(snapshot(versions), 'c');
      assert.deepEqual([facts.isMariaDb, facts.minVersion, facts.maxVersion], [isMariaDb, min, max]);
    });
  }
});

suite('the variables of transactions have the name that every server knows', () => {
  const CASES: readonly [versions: string[], isolation: string][] = [
    [['5.6.24'], 'tx_isolation'],
    [['5.7.19'], 'tx_isolation'],
    [['5.7.20'], 'transaction_isolation'],
    [['9.7.0'], 'transaction_isolation'],
    [['5.6.24', '5.7.44'], 'tx_isolation'],
    [['10.11.6-MariaDB'], 'tx_isolation'],
    [['11.1.1-MariaDB'], 'transaction_isolation'],
    [['11.4.2-MariaDB', '10.6.20-MariaDB'], 'tx_isolation'],
  ];
  for (const [versions, isolation] of CASES) {
    test(`${versions.join(' and ')}: ${isolation}`, () => {
      const { transactionNames } = factsOf(snapshot(versions), 'c');
      assert.equal(transactionNames.isolation, isolation);
      assert.equal(transactionNames.readOnly, isolation.replace('isolation', 'read_only'));
    });
  }
});

suite('sql_mode', () => {
  test('is the primary’s', () => {
    const two = snapshot(['8.0.1', '8.0.1'], [{ sqlMode: 'ONE' }, { sqlMode: 'TWO' }]);
    assert.equal(factsOf(two, 'c').sqlMode, 'ONE');
    const other = { ...two, clusters: [{ ...two.clusters[0]!, primary: 'db2' }] };
    assert.equal(factsOf(other, 'c').sqlMode, 'TWO');
  });

  test('is that of any other server where the primary’s is not known', () => {
    const unknown = snapshot(['8.0.1', '8.0.1'], [{ sqlMode: null }, { sqlMode: 'TWO' }]);
    assert.equal(factsOf(unknown, 'c').sqlMode, 'TWO');
    assert.equal(factsOf({ ...unknown, clusters: [] }, 'c').sqlMode, 'TWO');
    assert.equal(factsOf(snapshot(['8.0.1'], [{ sqlMode: null }]), 'c').sqlMode, '');
  });
});

suite('positions are asked for and waited for in the words of the servers', () => {
  const CASES: readonly [version: string, position: RegExp, wait: RegExp][] = [
    ['10.11.6-MariaDB', /gtid_binlog_pos/, /^SELECT MASTER_GTID_WAIT\('P', 1\.5\)$/],
    ['9.7.0', /gtid_executed/, /^SELECT WAIT_FOR_EXECUTED_GTID_SET\('P', 1\.5\)$/],
    ['5.7.5', /gtid_executed/, /^SELECT WAIT_FOR_EXECUTED_GTID_SET\('P', 1\.5\)$/],
    ['5.6.24', /gtid_executed/, /^SELECT IF\(WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS\('P', 2\) >= 0, 0, 1\)$/],
  ];
  for (const [version, position, wait] of CASES) {
    test(version, () => {
      const { causal } = factsOf(snapshot([version]), 'c');
      assert.match(causal.position, position);
      assert.match(causal.wait('P', 1500), wait);
    });
  }

  test('5.6 waits whole seconds, and one at least: none would be for ever', () => {
    const { causal } = factsOf(snapshot(['5.6.24']), 'c');
    assert.match(causal.wait('P', 1), /\('P', 1\)/);
  });
});

suite('facts are the same', () => {
  const BASE = snapshot(['10.11.6-MariaDB'], [{ sqlMode: 'A' }]);
  test('as long as nothing of them changes', () => {
    const lagging = { ...BASE, backends: BASE.backends.map((view) => ({ ...view, lagMs: 5000 })) };
    assert.equal(sameFacts(factsOf(BASE, 'c'), factsOf(lagging, 'c')), true);
  });
  const CHANGES: readonly [what: string, other: Snapshot][] = [
    ['the kind of server', snapshot(['10.11.6'], [{ sqlMode: 'A' }])],
    ['the oldest version', snapshot(['10.11.6-MariaDB', '10.6.1-MariaDB'], [{ sqlMode: 'A' }])],
    ['the newest version', snapshot(['10.11.6-MariaDB', '11.4.2-MariaDB'], [{ sqlMode: 'A' }])],
    ['the sql_mode', snapshot(['10.11.6-MariaDB'], [{ sqlMode: 'B' }])],
  ];
  for (const [what, other] of CHANGES) {
    test(`not when ${what} has changed`, () =>
      assert.equal(sameFacts(factsOf(BASE, 'c'), factsOf(other, 'c')), false));
  }
});
