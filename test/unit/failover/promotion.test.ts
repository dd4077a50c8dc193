import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import type { Wish } from '../../../src/failover/check.ts';
import { unfinishedRuns } from '../../../src/failover/journal.ts';
import { Promotions } from '../../../src/failover/promotion.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

const NAMES = ['db1', 'db2', 'db3'];
const WISH: Wish = { target: 'db2', named: true, as: 'any', force: false };

function promotionsOf(process: FakeProcess): Promotions {
  const { cluster, backends, clock } = process.cluster;
  return new Promotions({
    config: { clusters: [cluster], backends },
    clock,
    log: silentLog,
    journal: process.journal,
    world: process.world,
    onEvent: (event) => process.events.push(event),
  });
}

interface Kind {
  readonly name: string;
  readonly wish: Wish;
  readonly config: Partial<ClusterConfig>;
  readonly prepare: (cluster: FakeCluster) => void;
}

const KINDS: readonly Kind[] = [
  { name: 'a switchover', wish: WISH, config: {}, prepare: () => undefined },
  {
    name: 'a switchover with semi-sync',
    wish: WISH,
    config: { semiSync: 'require' },
    prepare: (cluster) => void (cluster.server('db1').waits = true),
  },
  {
    name: 'a failover',
    wish: { ...WISH, named: false, as: 'failover' },
    config: {},
    prepare: (cluster) => void (cluster.server('db1').isDown = true),
  },
  {
    name: 'an adoption',
    wish: { ...WISH, target: 'db1' },
    config: {},
    prepare: (cluster) => void (cluster.server('db1').readOnly = true),
  },
];

function clusterOf({ config, prepare }: Kind): FakeCluster {
  const cluster = new FakeCluster(NAMES, config);
  prepare(cluster);
  return cluster;
}

/** Begins it in a process that ends with the act of this number; resolves when it has ended or the process has. */
async function begin(kind: Kind, cluster: FakeCluster, process: FakeProcess): Promise<void> {
  const ended = promotionsOf(process)
    .promote(kind.wish, 'a test', true)
    .then(
      () => true,
      () => true,
    );
  await untilEnd(ended, cluster, process);
}

async function untilEnd(work: Promise<unknown>, cluster: FakeCluster, process: FakeProcess): Promise<void> {
  let isOver = false;
  void work.then(() => (isOver = true));
  for (let round = 0; !isOver && !process.isDead; round++) {
    assert.ok(round < 2_000, 'it must end');
    await cluster.clock.pass(20);
  }
  await cluster.clock.pass(0);
}

/** The next process takes up what is there. */
async function takeUp(cluster: FakeCluster, process: FakeProcess): Promise<void> {
  const promotions = promotionsOf(process);
  if (promotions.isBusy('main')) process.world.hold('main', true);
  await untilEnd(promotions.resume(), cluster, process);
}

function assertWell(cluster: FakeCluster, process: FakeProcess, about: string): void {
  assert.deepEqual(cluster.violations, [], about);
  const { primary, epoch } = cluster.state;
  assert.deepEqual(unfinishedRuns(process.journal.entries()), [], `${about}: the journal is closed`);
  assert.equal(process.held.size, 0, `${about}: statements are let go`);
  const { isDown } = cluster.server(primary);
  if (!isDown) assert.deepEqual(cluster.writers, [primary], `${about}: who is remembered takes the writes`);
  const known = cluster.servers.flatMap(({ epochs }) => epochs);
  for (const one of known) {
    assert.ok(one.epoch <= epoch, `${about}: a server knows epoch ${one.epoch}, the state file ${epoch}`);
    const others = known.filter((other) => other.epoch === one.epoch && other.backend !== one.backend);
    assert.deepEqual(others, [], `${about}: epoch ${one.epoch} has two primaries`);
  }
}

suite('a promotion that nothing disturbs', () => {
  for (const kind of KINDS) {
    test(`${kind.name}: the target takes the writes in the next epoch, and the others follow`, async () => {
      const cluster = clusterOf(kind);
      const process = new FakeProcess(cluster);
      await begin(kind, cluster, process);
      assertWell(cluster, process, 'in the end');
      assert.deepEqual([cluster.state.primary, cluster.state.epoch], [kind.wish.target, 5]);
      assert.deepEqual(cluster.server(kind.wish.target).epochs, [{ epoch: 5, backend: kind.wish.target }]);
      for (const { name, source, isDown } of cluster.servers) {
        if (name !== kind.wish.target && !isDown) assert.equal(source, kind.wish.target, name);
      }
      assert.ok(process.events.includes('promote.done'));
    });
  }

  test('counts, and is not there any more', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const process = new FakeProcess(cluster);
    const promotions = promotionsOf(process);
    await promotions.promote(WISH, 'a test', true);
    assert.deepEqual(
      promotions.counts().map(({ kind, result, count }) => [kind, result, count]),
      [['switchover', 'done', 1]],
    );
    assert.deepEqual([promotions.plan, promotions.underWay, promotions.isBusy('main')], [null, null, false]);
  });
});

suite('wherever the process is killed', () => {
  for (const kind of KINDS) {
    for (const power of ['stays', 'is lost'] as const) {
      test(`${kind.name}: the next one ends it well (the power of its host ${power})`, async () => {
        const whole = new FakeProcess(clusterOf(kind));
        await begin(kind, whole.cluster, whole);
        assert.ok(whole.acts > 20);
        for (let diesAt = 1; diesAt <= whole.acts; diesAt++) {
          const cluster = clusterOf(kind);
          await begin(kind, cluster, new FakeProcess(cluster, diesAt));
          if (power === 'is lost') cluster.losePower();
          const next = new FakeProcess(cluster);
          await takeUp(cluster, next);
          assertUsable(kind, cluster, next, `killed at ${diesAt}`);
        }
      });
    }

    test(`${kind.name}: also when the next one is killed as well`, async () => {
      const whole = new FakeProcess(clusterOf(kind));
      await begin(kind, whole.cluster, whole);
      for (let diesAt = 1; diesAt <= whole.acts; diesAt += 3) {
        for (let thenAt = 1; thenAt <= 40; thenAt += 4) {
          const cluster = clusterOf(kind);
          await begin(kind, cluster, new FakeProcess(cluster, diesAt));
          await takeUp(cluster, new FakeProcess(cluster, thenAt));
          const last = new FakeProcess(cluster);
          await takeUp(cluster, last);
          assertUsable(kind, cluster, last, `killed at ${diesAt}, then at ${thenAt}`);
        }
      }
    });
  }
});

suite('a new primary that may have been written to when the power went', () => {
  test('is not given up however often it does not answer afterwards', async () => {
    const kind = KINDS[0]!;
    const cluster = clusterOf(kind);
    let diesAt = Infinity;
    const first = new FakeProcess(cluster, () => diesAt);
    cluster.onAct = (act) => {
      if (act === 'journal done publish') diesAt = first.acts + 1;
    };
    await begin(kind, cluster, first);
    cluster.losePower();
    assert.deepEqual(
      unfinishedRuns(cluster.written.map(({ entry }) => entry)).map(({ step }) => step),
      ['make_writable'],
      'of what came after it nothing was on the disk',
    );
    cluster.server('db2').isDown = true;
    for (let count = 0; count < 3; count++) {
      const next = new FakeProcess(cluster);
      await takeUp(cluster, next);
      assert.equal(cluster.state.primary, 'db2');
      assert.deepEqual(cluster.writers, [], 'the old primary is not let write again');
      assert.equal(promotionsOf(next).isBusy('main'), true, 'it stays open');
    }
    cluster.server('db2').isDown = false;
    const last = new FakeProcess(cluster);
    await takeUp(cluster, last);
    assertWell(cluster, last, 'when it answers again');
    assert.equal(cluster.state.primary, 'db2');
  });
});

/** An adoption that was cut off before its record leaves the server as it was: read-only, for the governor. */
function assertUsable(kind: Kind, cluster: FakeCluster, process: FakeProcess, about: string): void {
  if (kind.name === 'an adoption' && cluster.writers.length === 0) {
    assert.equal(process.held.size, 0, about);
    assert.deepEqual(unfinishedRuns(process.journal.entries()), [], about);
    return;
  }
  assertWell(cluster, process, about);
}

/** When the process is killed, counted in acts from the failure: each moment of the taking back at its beginning. */
const MOMENTS_LATER = [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 18, 26, 40];

suite('whatever fails, and wherever the process is killed then', () => {
  for (const kind of KINDS) {
    test(`${kind.name}: never two writers, and nobody is left waiting`, async () => {
      const whole = new FakeProcess(clusterOf(kind));
      await begin(kind, whole.cluster, whole);
      for (let failsAt = 1; failsAt <= whole.acts / 2; failsAt++) {
        for (const when of ['before', 'after'] as const) {
          for (const later of MOMENTS_LATER) {
            const diesAt = 2 * failsAt + later;
            for (const losesPower of [false, true]) {
              await failThenDie(kind, { failsAt, when, diesAt, losesPower });
            }
          }
        }
      }
    });
  }
});

async function failThenDie(
  kind: Kind,
  {
    failsAt,
    when,
    diesAt,
    losesPower,
  }: { failsAt: number; when: 'before' | 'after'; diesAt: number; losesPower: boolean },
): Promise<void> {
  const cluster = clusterOf(kind);
  const about = `act ${failsAt} failed (${when} its effect), killed at ${diesAt}${losesPower ? ' with its host' : ''}`;
  let acts = 0;
  const process = new FakeProcess(cluster, diesAt, () => (++acts === failsAt ? when : null));
  await begin(kind, cluster, process);
  if (losesPower) cluster.losePower();
  const next = new FakeProcess(cluster);
  await takeUp(cluster, next);
  assert.equal(next.held.size, 0, about);
  assert.deepEqual(cluster.violations, [], about);
  assert.deepEqual(unfinishedRuns(next.journal.entries()), [], about);
}

suite('what cannot be', () => {
  test('a second promotion while one runs is refused, with who is being promoted', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const promotions = promotionsOf(new FakeProcess(cluster));
    const first = promotions.promote(WISH, 'a test', true);
    await assert.rejects(promotions.promote({ ...WISH, target: 'db3' }, 'a test', true), {
      code: 'DBPROXY_PROMOTE_REFUSED',
      message: /a promotion of db2 is under way/,
    });
    await first;
  });

  test('once a stop has begun no promotion begins; the one that runs comes to its end', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const process = new FakeProcess(cluster);
    const promotions = promotionsOf(process);
    const first = promotions.promote(WISH, 'a test', true);
    await promotions.stop();
    assert.equal(cluster.state.primary, 'db2');
    await first;
    await assert.rejects(promotions.promote({ ...WISH, target: 'db3' }, 'a test', true), {
      code: 'DBPROXY_PROMOTE_REFUSED',
      message: /is stopping/,
    });
    assert.equal(promotions.underWay, null);
  });

  test('an unknown server is refused', async () => {
    const promotions = promotionsOf(new FakeProcess(clusterOf(KINDS[0]!)));
    await assert.rejects(promotions.promote({ ...WISH, target: 'db9' }, 'a test', true), /no such backend/);
  });

  test('without a journal nothing is begun: a full disk changes no server', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const acts: string[] = [];
    const process = new FakeProcess(cluster, Infinity, (act) => {
      acts.push(act);
      return act === 'journal opened' ? 'before' : null;
    });
    await assert.rejects(promotionsOf(process).promote(WISH, 'a test', true), /journal opened failed/);
    assert.deepEqual(
      acts.filter((act) => act !== 'check'),
      ['journal opened'],
    );
    assert.equal(process.held.size, 0);
  });

  test('an end that cannot be written down is tried until it is, and it has ended all the same', async () => {
    const cluster = clusterOf(KINDS[0]!);
    let isFull = true;
    const process = new FakeProcess(cluster, Infinity, (act) =>
      isFull && act === 'journal closed' ? 'before' : null,
    );
    const promotions = promotionsOf(process);
    await promotions.promote(WISH, 'a test', true);
    assert.equal(promotions.isBusy('main'), false);
    assert.equal(unfinishedRuns(process.journal.entries()).length, 1);
    isFull = false;
    await cluster.clock.pass(1_000);
    await cluster.clock.pass(0);
    assert.deepEqual(unfinishedRuns(process.journal.entries()), []);
  });

  test('a promotion of a server that has been taken out of the configuration is closed, and lets the writes go', async () => {
    const cluster = clusterOf(KINDS[0]!);
    await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
    const process = new FakeProcess(cluster);
    const promotions = new Promotions({
      config: {
        clusters: [cluster.cluster],
        backends: cluster.backends.filter(({ name }) => name !== 'db2'),
      },
      clock: cluster.clock,
      log: silentLog,
      journal: process.journal,
      world: process.world,
      onEvent: () => undefined,
    });
    assert.equal(promotions.isBusy('main'), true);
    process.world.hold('main', true);
    await promotions.resume();
    assert.equal(promotions.isBusy('main'), false);
    assert.equal(process.held.size, 0);
  });
});

test('a dry run answers the steps and changes nothing', async () => {
  const cluster = clusterOf(KINDS[0]!);
  const acts: string[] = [];
  const process = new FakeProcess(cluster, Infinity, (act) => {
    acts.push(act);
    return null;
  });
  const { verdict, steps } = await promotionsOf(process).dryRun(WISH);
  assert.equal(verdict.kind, 'switchover');
  assert.deepEqual([steps[0], steps.at(-1)], ['hold', 'semi_sync']);
  assert.deepEqual([...new Set(acts)], ['check']);
});

test('the plan under way says what is done, what is being done, and what is left', async () => {
  const cluster = clusterOf(KINDS[0]!);
  const process = new FakeProcess(cluster);
  const promotions = promotionsOf(process);
  const seen: string[] = [];
  cluster.onAct = () => {
    const { plan } = promotions;
    if (plan?.now === 'record') seen.push(`${plan.steps.at(-1)?.step} ${plan.now} ${plan.left.join()}`);
  };
  await promotions.promote(WISH, 'a test', true);
  assert.equal(seen[0], 'stop_replication record make_writable,weights,publish,repoint,semi_sync');
});
