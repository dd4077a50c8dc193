import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { Monitor, type Checker } from '../../../src/monitor/monitor.ts';
import type { Observation, ServerFacts } from '../../../src/monitor/observation.ts';
import type { BackendHealth } from '../../../src/topology/health.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { backendConfig } from '../../support/configs.ts';
import { MARIADB_10_11 } from '../../support/greetings.ts';

const CLUSTER: ClusterConfig = {
  name: 'main',
  monitorUser: 'm',
  monitorPassword: 'm',
  replicationUser: '',
  replicationPassword: '',
  checkIntervalMs: 1_000,
  checkFastIntervalMs: 250,
  checkTimeoutMs: 1_000,
  rise: 2,
  fall: 3,
  maxLagMs: 10_000,
  readmitLagMs: 5_000,
  catchUpTimeoutMs: 30_000,
  holdTimeoutMs: 10_000,
  transactionGraceMs: 5_000,
  users: 'import',
  usersIntervalMs: 30_000,
};

const PRIMARY: ServerFacts = {
  version: '10.11.6-MariaDB',
  greeting: MARIADB_10_11,
  serverId: 1,
  readOnly: false,
  logsChanges: true,
  hasGtid: true,
  sqlMode: '',
  position: '',
  replicatedPosition: '',
  replication: null,
};
const REPLICA: ServerFacts = {
  ...PRIMARY,
  serverId: 2,
  readOnly: true,
  replication: {
    receiver: 'running',
    applier: 'running',
    lagMs: 0,
    sourceHost: 'db1',
    sourcePort: 3306,
    sourceServerId: 1,
    drained: true,
    receivedPosition: '',
    receiverError: '',
    applierError: '',
    channels: 1,
  },
};
const seen = (facts: ServerFacts): Observation => ({ kind: 'seen', facts });
const REFUSED: Observation = { kind: 'failed', failure: { kind: 'refused', message: 'x' } };

/** A server that answers as the test says; while `hold` is on, answers wait. */
class FakeServer implements Checker {
  answer: Observation;
  checks = 0;
  held: (() => void)[] | null = null;

  constructor(answer: Observation) {
    this.answer = answer;
  }

  async check(): Promise<Observation> {
    this.checks++;
    if (this.held !== null) await new Promise<void>((resolve) => this.held?.push(resolve));
    return this.answer;
  }

  close(): void {
    this.held = null;
  }
}

async function watched(): Promise<{
  clock: FakeClock;
  monitor: Monitor;
  db1: FakeServer;
  db2: FakeServer;
  health: Map<string, BackendHealth>;
}> {
  const clock = new FakeClock();
  const servers = { db1: new FakeServer(seen(PRIMARY)), db2: new FakeServer(seen(REPLICA)) };
  const health = new Map<string, BackendHealth>();
  const monitor = new Monitor({
    config: { clusters: [CLUSTER], backends: [backendConfig('db1'), backendConfig('db2')] },
    clock,
    log: silentLog,
    primaryOf: () => 'db1',
    onHealth: (name, is) => void health.set(name, is),
    makeChecker: ({ name }) => servers[name as keyof typeof servers],
  });
  await monitor.start();
  return { clock, monitor, health, ...servers };
}

suite('the rhythm', () => {
  test('the first round is done when start resolves; then one check an interval', async () => {
    const { clock, db1, health } = await watched();
    assert.equal(health.get('db1')?.reach, 'up');
    assert.equal(db1.checks, 1);
    await clock.pass(3_050);
    assert.equal(db1.checks, 4);
  });

  test('a server that fails is checked at the fast interval, and is down after `fall` checks', async () => {
    const { clock, db1, health } = await watched();
    db1.answer = REFUSED;
    await clock.pass(1_000);
    assert.equal(health.get('db1')?.reach, 'suspect');
    await clock.pass(500);
    assert.equal(health.get('db1')?.reach, 'down');
    assert.equal(db1.checks, 4);
  });

  test('a hundred complaints of workers are one early check', async () => {
    const { clock, monitor, db1 } = await watched();
    await clock.pass(400);
    for (let count = 0; count < 100; count++) monitor.checkSoon('db1');
    await clock.pass(200);
    assert.equal(db1.checks, 2);
    for (let count = 0; count < 100; count++) monitor.checkSoon('db1');
    await clock.pass(40);
    assert.equal(db1.checks, 2, 'not sooner than the fast interval');
    await clock.pass(60);
    assert.equal(db1.checks, 3);
  });

  test('after close nothing is checked any more', async () => {
    const { clock, monitor, db1 } = await watched();
    monitor.close();
    await clock.pass(10_000);
    assert.equal(db1.checks, 1);
  });
});

test('a check that is asked for now begins now, also when one is running', async () => {
  const { clock, monitor, db1 } = await watched();
  const held: (() => void)[] = (db1.held = []);
  await clock.pass(1_000);
  assert.equal(db1.checks, 2);
  const asked = monitor.checkNow('db1');
  db1.held = null;
  db1.answer = seen({ ...PRIMARY, readOnly: true });
  held.shift()!();
  assert.equal((await asked).facts?.readOnly, true);
  assert.equal(db1.checks, 3);
});

test('when the primary goes down, its replica is judged anew at once and goes on', async () => {
  const { clock, db1, db2, health } = await watched();
  db2.answer = seen({
    ...REPLICA,
    replication: { ...REPLICA.replication!, receiver: 'stopped', lagMs: null },
  });
  await clock.pass(1_000);
  assert.equal(health.get('db2')?.fresh, false);
  db2.held = []; // no answer of its own any more
  db1.answer = REFUSED;
  await clock.pass(2_000);
  assert.equal(health.get('db1')?.reach, 'down');
  assert.equal(health.get('db2')?.fresh, true);
});

suite('after a stall of this process', () => {
  test('a check that failed meanwhile does not count', async () => {
    const { clock, db1, health } = await watched();
    const held: (() => void)[] = (db1.held = []);
    await clock.pass(1_000);
    clock.jump(5_000);
    db1.answer = REFUSED;
    db1.held = null;
    held.shift()!();
    await clock.pass(0);
    assert.equal(health.get('db1')?.reach, 'up');
  });

  test('the next ones do', async () => {
    const { clock, db1, health } = await watched();
    clock.jump(5_000);
    await clock.pass(1_000);
    db1.answer = REFUSED;
    await clock.pass(1_600);
    assert.equal(health.get('db1')?.reach, 'down');
  });
});

test('a replica whose receiver stopped long ago does not come back when its primary goes', async () => {
  const { clock, monitor, db1, db2, health } = await watched();
  db2.answer = seen({
    ...REPLICA,
    replication: { ...REPLICA.replication!, receiver: 'stopped', lagMs: null },
  });
  await clock.pass(60_000);
  db1.answer = REFUSED;
  await clock.pass(5_000);
  assert.equal(health.get('db1')?.reach, 'down');
  assert.equal(health.get('db2')?.fresh, false);
  assert.ok(monitor.recordOf('db1').seenMs! - monitor.recordOf('db2').lastInSync!.atMs > 50_000);
});
