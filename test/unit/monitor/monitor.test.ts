import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { AskArbiter } from '../../../src/monitor/arbiter.ts';
import type { Statement } from '../../../src/monitor/flavour/row.ts';
import { Monitor, type Checker, type MonitorOptions } from '../../../src/monitor/monitor.ts';
import type { Observation, ServerFacts } from '../../../src/monitor/observation.ts';
import type { BackendHealth } from '../../../src/topology/health.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { replicationFacts, serverFacts } from '../../support/facts.ts';

const CLUSTER = clusterConfig();
const PRIMARY = serverFacts();
const REPLICA = serverFacts({ serverId: 2, readOnly: true, replication: replicationFacts() });
const seen = (facts: ServerFacts): Observation => ({ kind: 'seen', facts });
const REFUSED: Observation = { kind: 'failed', failure: { kind: 'refused', message: 'x' } };

/** A server that answers as the test says; while `hold` is on, answers wait, and while it is frozen, there are none. */
class FakeServer implements Checker {
  readonly #clock: FakeClock;
  answer: Observation;
  checks = 0;
  held: (() => void)[] | null = null;
  isFrozen = false;
  unanswered = 0;
  mostUnanswered = 0;
  /** Tells the monitor that its idle connection broke. */
  onLost = (): void => undefined;

  constructor(clock: FakeClock, answer: Observation) {
    this.#clock = clock;
    this.answer = answer;
  }

  async check(timeoutMs: number): Promise<Observation> {
    this.checks++;
    this.mostUnanswered = Math.max(this.mostUnanswered, ++this.unanswered);
    try {
      if (this.held !== null) await new Promise<void>((resolve) => this.held?.push(resolve));
      if (!this.isFrozen) return this.answer;
      await new Promise<void>((resolve) => this.#clock.after(timeoutMs, resolve));
      return SILENT;
    } finally {
      this.unanswered--;
    }
  }

  close(): void {
    this.held = null;
  }
}

const SILENT: Observation = { kind: 'failed', failure: { kind: 'timed_out', message: 'x' } };

async function watched(
  over: Partial<MonitorOptions> = {},
  cluster = CLUSTER,
): Promise<{
  clock: FakeClock;
  monitor: Monitor;
  db1: FakeServer;
  db2: FakeServer;
  health: Map<string, BackendHealth>;
}> {
  const clock = new FakeClock();
  const servers = { db1: new FakeServer(clock, seen(PRIMARY)), db2: new FakeServer(clock, seen(REPLICA)) };
  const health = new Map<string, BackendHealth>();
  const monitor = new Monitor({
    config: { clusters: [cluster], backends: [backendConfig('db1'), backendConfig('db2')] },
    clock,
    log: silentLog,
    primaryOf: () => 'db1',
    onHealth: (name, is) => void health.set(name, is),
    makeChecker: ({ name }, _cluster, onLost) => {
      const server = servers[name as keyof typeof servers];
      server.onLost = onLost;
      return server;
    },
    ...over,
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
  assert.equal(db1.checks, 3);
  db1.answer = seen({ ...PRIMARY, readOnly: true });
  held[1]!();
  assert.equal((await asked).facts?.readOnly, true);
  db1.answer = seen(PRIMARY);
  held[0]!();
  await clock.pass(0);
  assert.equal(monitor.recordOf('db1').facts?.readOnly, true, 'what began earlier has nothing to tell');
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

suite('a server that is frozen', () => {
  test('is down by the time its first unanswered check has failed, and two fast intervals', async () => {
    const { clock, db1, health } = await watched();
    db1.isFrozen = true;
    const frozenMs = clock.nowMs();
    while (health.get('db1')?.reach !== 'down') await clock.pass(10);
    // The worst case: the next check was a whole interval away.
    assert.equal(clock.nowMs() - frozenMs, 1_000 + 1_000 + 2 * 250);
    assert.equal(db1.mostUnanswered, 3);
  });

  test('is asked by one check at a time once it is down', async () => {
    const { clock, db1, health } = await watched();
    db1.isFrozen = true;
    await clock.pass(6_000);
    assert.equal(health.get('db1')?.reach, 'down');
    db1.mostUnanswered = 0;
    await clock.pass(10_000);
    assert.equal(db1.mostUnanswered, 1);
  });

  test('has its replicas asked for their witness before its first check has failed', async () => {
    const { clock, db1, db2 } = await watched();
    db1.isFrozen = true;
    await clock.pass(1_250);
    const before = db2.checks;
    await clock.pass(750);
    assert.ok(db2.checks - before >= 3, `${db2.checks - before} checks`);
  });

  test('a single answer that is lost means nothing, as the next one is there before', async () => {
    const { clock, db1, health } = await watched();
    db1.isFrozen = true;
    await clock.pass(1_010);
    db1.isFrozen = false;
    await clock.pass(3_000);
    assert.equal(health.get('db1')?.reach, 'up');
    assert.equal(health.get('db1')?.reachReason, '');
  });
});

suite('a check out of turn', () => {
  test('comes at once when the idle connection breaks', async () => {
    const { clock, db1 } = await watched();
    await clock.pass(10);
    db1.onLost();
    await clock.pass(0);
    assert.equal(db1.checks, 2);
  });

  test('a server that is killed is down two fast intervals after it was', async () => {
    const { clock, db1, health } = await watched();
    await clock.pass(10);
    db1.answer = REFUSED;
    db1.onLost();
    await clock.pass(499);
    assert.equal(health.get('db1')?.reach, 'suspect');
    await clock.pass(1);
    assert.equal(health.get('db1')?.reach, 'down');
  });

  test('a server that breaks every connection is not asked without end', async () => {
    const { clock, db1 } = await watched();
    for (let ms = 0; ms < 2_000; ms += 10) {
      db1.onLost();
      await clock.pass(10);
    }
    assert.ok(db1.checks <= 10, `${db1.checks} checks`);
  });

  test('comes to a primary whose replica has lost it', async () => {
    const { clock, db1, db2 } = await watched();
    await clock.pass(500);
    db2.answer = seen({
      ...REPLICA,
      replication: replicationFacts({ receiver: 'connecting', receiverErrno: 2003 }),
    });
    db2.onLost();
    await clock.pass(0);
    assert.equal(db1.checks, 2);
  });
});

suite('the heart', () => {
  const beating = clusterConfig({ lagSource: 'heartbeat', writeCheck: true });

  /** What is written, and how the next write goes. */
  function fakeHeart(): { written: unknown[]; fails: Error | null; connect: MonitorOptions['connectHeart'] } {
    const heart = {
      written: [] as unknown[],
      fails: null as Error | null,
      connect: async () => ({
        usable: true,
        threadId: 7,
        close: () => undefined,
        run: async (statement: Statement | string) => {
          if (typeof statement === 'string') return [];
          if (heart.fails !== null) throw heart.fails;
          heart.written.push(statement.values);
          return [];
        },
      }),
    };
    return heart;
  }

  test('beats on the primary with its epoch, and not while nobody may write', async () => {
    const heart = fakeHeart();
    let may: { epoch: number } | null = { epoch: 4 };
    const { clock } = await watched({ mayBeat: () => may, connectHeart: heart.connect! }, beating);
    await clock.pass(1_010);
    assert.equal(heart.written.length, 5);
    assert.deepEqual(heart.written[0], ['main', 1_000, 4]);
    may = null;
    await clock.pass(2_000);
    assert.equal(heart.written.length, 5);
  });

  test('does not beat on a primary that is read-only, knows a later epoch, or waits for a replica', async () => {
    const semiSync = {
      primary: {
        enabled: true,
        live: true,
        clients: 0,
        timeoutMs: 1e9,
        waitPoint: 'after_sync',
        waitForReplicas: 1,
        waiting: 0,
        acknowledged: 0,
      },
      replica: null,
    } as const;
    const epoch = { epoch: 5, backend: 'db2' };
    for (const over of [{ readOnly: true }, { epoch }, { semiSync }]) {
      const heart = fakeHeart();
      const { clock, db1 } = await watched(
        { mayBeat: () => ({ epoch: 4 }), connectHeart: heart.connect! },
        beating,
      );
      db1.answer = seen(serverFacts(over));
      await clock.pass(1_300);
      heart.written.length = 0;
      await clock.pass(2_000);
      assert.deepEqual(heart.written, [], JSON.stringify(over));
    }
  });

  test('a write that fails is on the record of the primary until one is taken', async () => {
    const heart = fakeHeart();
    const { clock, monitor } = await watched(
      { mayBeat: () => ({ epoch: 4 }), connectHeart: heart.connect! },
      beating,
    );
    heart.fails = Object.assign(new Error('The table is full'), { errno: 1114 });
    await clock.pass(1_010);
    const { writeFailing } = monitor.recordOf('db1');
    assert.equal(writeFailing?.count, 5);
    assert.match(writeFailing.reason, /a write failed \(The table is full\)/);
    heart.fails = null;
    await clock.pass(250);
    assert.equal(monitor.recordOf('db1').writeFailing, null);
  });

  test('a write that ends after its server was replaced and dropped says nothing', async () => {
    let primary = 'db1';
    let answer: (() => void) | null = null;
    const connection = {
      usable: true,
      threadId: 7,
      close: () => undefined,
      run: async (statement: Statement | string) => {
        const hangs = typeof statement !== 'string' && primary === 'db1';
        if (hangs) await new Promise<void>((resolve) => (answer = resolve));
        return [];
      },
    };
    const { clock, monitor } = await watched(
      {
        mayBeat: () => ({ epoch: 4 }),
        connectHeart: async () => connection,
        primaryOf: () => primary,
      },
      beating,
    );
    await clock.pass(10);
    primary = 'db2';
    monitor.remove('db1');
    assert.ok(answer !== null);
    // An unhandled rejection fails this test, and would end dbproxy.
    (answer as () => void)();
    await clock.pass(1_000);
  });

  test('takes a replica out that does not get the beats, within two check intervals', async () => {
    const heart = fakeHeart();
    const cluster = clusterConfig({ lagSource: 'heartbeat', maxLagMs: 2_000, readmitLagMs: 1_000 });
    const { clock, db2, health } = await watched(
      { mayBeat: () => ({ epoch: 4 }), connectHeart: heart.connect! },
      cluster,
    );
    await clock.pass(1_010);
    const last = (heart.written.at(-1) as [string, number, number])[1];
    db2.answer = seen({ ...REPLICA, beat: { atMs: last } });
    // The first beat that it lacks comes 240 ms from now.
    await clock.pass(240 + 2_000);
    assert.equal(health.get('db2')?.fresh, true);
    await clock.pass(2_000);
    assert.equal(health.get('db2')?.fresh, false);
    assert.ok(health.get('db2')!.lagMs! >= 2_000);
  });
});

suite('the arbiters', () => {
  test('are asked at the interval, and at once and fast when a server comes into doubt', async () => {
    let asked = 0;
    const askArbiter: AskArbiter = async () => {
      asked++;
      return { kind: 'reachable' };
    };
    const { clock, monitor, db1 } = await watched(
      { askArbiter },
      clusterConfig({ arbiter: ['ping:10.0.0.1', 'tcp:10.0.0.2:80'] }),
    );
    assert.equal(asked, 2);
    await clock.pass(3_010);
    assert.equal(asked, 8);
    const { freshMs, ...sight } = monitor.arbiterSight('main');
    assert.deepEqual(sight, { configured: true, reachable: 2, total: 2, broken: 0, reasons: [], vote: null });
    assert.equal(freshMs, clock.nowMs() - 10);
    db1.answer = REFUSED;
    db1.onLost();
    await clock.pass(1_000);
    assert.ok(asked >= 8 + 2 * 4);
  });

  test('a cluster without any says so', async () => {
    const { monitor } = await watched();
    const none = {
      configured: false,
      reachable: 0,
      total: 0,
      broken: 0,
      reasons: [],
      freshMs: null,
      vote: null,
    };
    assert.deepEqual(monitor.arbiterSight('main'), none);
  });
});

suite('servers that come and go', () => {
  test('one that is added is looked at from then on', async () => {
    const { clock, monitor, health } = await watched({
      config: { clusters: [CLUSTER], backends: [backendConfig('db1')] },
    });
    assert.throws(() => monitor.recordOf('db2'), /no such backend/);
    monitor.add(backendConfig('db2'));
    assert.equal(monitor.recordOf('db2').reach, 'unknown');
    await clock.pass(0);
    assert.equal(health.get('db2')?.reach, 'up');
  });

  test('of one that is removed nothing is told any more, not even what was asked before', async () => {
    const { clock, monitor, db2, health } = await watched();
    const answers: (() => void)[] = [];
    db2.held = answers;
    monitor.checkSoon('db2');
    await clock.pass(1_000);
    assert.equal(answers.length > 0, true);
    health.delete('db2');
    monitor.remove('db2');
    const { checks } = db2;
    for (const answer of answers) answer();
    await clock.pass(5_000);
    assert.deepEqual([health.has('db2'), db2.checks], [false, checks]);
  });

  test('one that gets the name of another begins anew', async () => {
    const { clock, monitor, db2 } = await watched();
    monitor.remove('db2');
    db2.answer = REFUSED;
    monitor.add(backendConfig('db2'));
    assert.equal(monitor.recordOf('db2').facts, null);
    await clock.pass(0);
    assert.equal(monitor.recordOf('db2').facts, null);
  });
});
