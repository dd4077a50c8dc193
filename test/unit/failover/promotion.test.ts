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

function promotionsOf(process: FakeProcess, world = process.world): Promotions {
  const { cluster, backends, clock } = process.cluster;
  return new Promotions({
    config: { clusters: [cluster], backends },
    clock,
    log: silentLog,
    journal: process.journal,
    world,
    shared: process.shared,
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
    wish: { ...WISH, named: false, as: 'failover', isAutomatic: true },
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

  test('is refused while servers of the cluster are set up, also with FORCE', async () => {
    for (const kind of KINDS) {
      const cluster = clusterOf(kind);
      const process = new FakeProcess(cluster);
      process.workUnderWay = { title: 'BOOTSTRAP CLUSTER main', isExclusive: true, end: null };
      const promotions = promotionsOf(process);
      const isRefused = { code: 'DBPROXY_PROMOTE_REFUSED', message: /BOOTSTRAP CLUSTER main is under way/ };
      await assert.rejects(promotions.promote({ ...kind.wish, force: true }, 'a test', true), isRefused);
      assert.deepEqual([process.acts, promotions.underWay], [0, []]);
    }
  });

  test('of a dead primary ends a CLONE; a switchover waits for it', async () => {
    for (const kind of KINDS) {
      const cluster = clusterOf(kind);
      const process = new FakeProcess(cluster);
      const ends: string[] = [];
      const end = async (why: string): Promise<void> => {
        ends.push(why);
        process.workUnderWay = null;
      };
      process.workUnderWay = { title: 'CLONE BACKEND db9', isExclusive: true, end };
      if (kind.name.startsWith('a switchover')) {
        const isRefused = { code: 'DBPROXY_PROMOTE_REFUSED', message: /CLONE BACKEND db9 is under way/ };
        await assert.rejects(promotionsOf(process).promote(kind.wish, 'a test', true), isRefused);
        assert.deepEqual([ends, cluster.written], [[], []]);
      } else {
        await begin(kind, cluster, process);
        assert.match(ends.join(), /^the (failover|promotion) of cluster main$/);
        assert.equal(cluster.state.primary, kind.wish.target);
      }
    }
  });

  test('does not end a CLONE when it is refused itself, and is refused while one that joins has not ended', async () => {
    const kind = KINDS.find(({ wish }) => wish.as === 'failover')!;
    const cluster = clusterOf(kind);
    const process = new FakeProcess(cluster);
    let ends = 0;
    const end = async (): Promise<void> => void ends++;
    process.workUnderWay = { title: 'CLONE BACKEND db9', isExclusive: true, end };
    const promotions = promotionsOf(process);
    await assert.rejects(
      promotions.promote({ ...kind.wish, target: cluster.state.primary }, 'a test', false),
    );
    assert.equal(ends, 0);
    await assert.rejects(promotions.promote(kind.wish, 'a test', true), {
      message: /CLONE BACKEND db9 is being taken back; try again/,
    });
    assert.deepEqual([ends, cluster.written], [1, []]);
    process.workUnderWay = { ...process.workUnderWay, isExclusive: false };
    await untilEnd(promotions.promote(kind.wish, 'a test', true), cluster, process);
    assert.equal(cluster.state.primary, kind.wish.target, 'one that only fills its server is not waited for');
  });

  test('counts, and is not there any more', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const process = new FakeProcess(cluster);
    const promotions = promotionsOf(process);
    await promotions.promote(WISH, 'a test', true);
    assert.deepEqual(
      promotions.counts().map(({ kind, result, count }) => [kind, result, count]),
      [['switchover', 'done', 1]],
    );
    assert.deepEqual([promotions.plans, promotions.underWay, promotions.isBusy('main')], [[], [], false]);
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
          assertCooldown(kind, cluster, `killed at ${diesAt}, before the next one`);
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

suite('wherever the one of a pair that promotes is killed', () => {
  const HERE = { by: 'here 1', isThere: false };
  const AGAIN = { by: 'here 2', isThere: false };
  const THERE = { by: 'there', isThere: true };
  const processOf = (
    cluster: FakeCluster,
    pair: NonNullable<FakeProcess['pair']>,
    diesAt = Infinity,
  ): FakeProcess => {
    const process = new FakeProcess(cluster, diesAt);
    process.pair = pair;
    return process;
  };
  const assertOver = (cluster: FakeCluster, process: FakeProcess, about: string, kind = KINDS[0]!): void => {
    assertUsable(kind, cluster, process, about);
    assert.equal(process.shared!.keptOf('main'), null, `${about}: it is over for both`);
  };

  for (const kind of KINDS) {
    test(`${kind.name}: the other one ends it well, and the first one then has nothing left to do`, async () => {
      const whole = processOf(clusterOf(kind), HERE);
      await begin(kind, whole.cluster, whole);
      assertOver(whole.cluster, whole, 'undisturbed', kind);
      let inherited = 0;
      for (let diesAt = 1; diesAt <= whole.acts; diesAt++) {
        const cluster = clusterOf(kind);
        await begin(kind, cluster, processOf(cluster, HERE, diesAt));
        const other = processOf(cluster, THERE);
        if (other.shared!.runOf('main') !== null) inherited++;
        await takeUp(cluster, other);
        assertOver(cluster, other, `killed at ${diesAt}`, kind);
        const { writers, state } = cluster;
        const back = processOf(cluster, AGAIN);
        back.charge = { isOurs: false, holder: 'the other', why: 'it has the VIP' };
        await takeUp(cluster, back);
        assertOver(cluster, back, `killed at ${diesAt}, and back`, kind);
        assert.deepEqual([cluster.writers, cluster.state], [writers, state]);
      }
      assert.ok(inherited > whole.acts / 2, `${inherited} of ${whole.acts}`);
    });

    test(`${kind.name}: also when the other one is killed as well, and the first one is back`, async () => {
      const whole = processOf(clusterOf(kind), HERE);
      await begin(kind, whole.cluster, whole);
      for (let diesAt = 1; diesAt <= whole.acts; diesAt += 3) {
        for (let thenAt = 1; thenAt <= 40; thenAt += 4) {
          const cluster = clusterOf(kind);
          await begin(kind, cluster, processOf(cluster, HERE, diesAt));
          await takeUp(cluster, processOf(cluster, THERE, thenAt));
          const last = processOf(cluster, AGAIN);
          await takeUp(cluster, last);
          assertOver(cluster, last, `killed at ${diesAt}, then at ${thenAt}`, kind);
        }
      }
    });
  }

  test('one that another promotion has overtaken is not taken up', async () => {
    const kind = KINDS[0]!;
    const cluster = clusterOf(kind);
    let diesAt = Infinity;
    const first = processOf(cluster, HERE);
    const dying = new FakeProcess(cluster, () => diesAt);
    dying.pair = HERE;
    cluster.onAct = (act) => {
      if (act === 'make read-only db1') diesAt = dying.acts + 1;
    };
    await begin(kind, cluster, dying);
    assert.notEqual(first.shared!.keptOf('main'), null);
    // Servers told of it, or an arbiter: the other one went on from there.
    cluster.state = { ...cluster.state, primary: 'db3', epoch: 9 };
    cluster.server('db3').readOnly = false;
    const back = processOf(cluster, AGAIN);
    await takeUp(cluster, back);
    assert.deepEqual([cluster.writers, cluster.state.epoch], [['db3'], 9]);
    assertOver(cluster, back, 'in the end');
  });
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

suite('a promotion that cannot be brought to its end', () => {
  const stuck = async (): Promise<{ cluster: FakeCluster; process: FakeProcess; promotions: Promotions }> => {
    const cluster = clusterOf(KINDS[0]!);
    let diesAt = Infinity;
    const first = new FakeProcess(cluster, () => diesAt);
    cluster.onAct = (act) => {
      if (act === 'note epoch db2') diesAt = first.acts + 1;
    };
    await begin(KINDS[0]!, cluster, first);
    cluster.onAct = () => undefined;
    cluster.server('db2').isDown = true;
    const process = new FakeProcess(cluster);
    return { cluster, process, promotions: promotionsOf(process) };
  };
  /** As the control plane does, once a second. */
  const passSeconds = async (
    seconds: number,
    cluster: FakeCluster,
    promotions: Promotions,
  ): Promise<void> => {
    for (let count = 0; count < seconds; count++) {
      await promotions.resume();
      await cluster.clock.pass(1_000);
    }
  };

  test('says where it stands, since when and why, before it is tried and after', async () => {
    const { cluster, promotions } = await stuck();
    const before = promotions.standOf('main');
    assert.deepEqual([before?.target, before?.step], ['db2', 'make_writable']);
    assert.match(before!.cutOffBy!, /dbproxy was stopped/);
    await passSeconds(5, cluster, promotions);
    const after = promotions.standOf('main');
    assert.deepEqual({ ...after, cutOffBy: '' }, { ...before, cutOffBy: '' });
    assert.match(after!.cutOffBy!, /make_writable: db2: connection refused/);
    const [plan] = promotions.plans;
    assert.deepEqual([plan?.now, plan?.isWaiting, plan?.left[0]], ['make_writable', true, 'weights']);
    assert.match(plan!.because, /connection refused/);
  });

  test('is tried ever later, told once, written down once, and holds the writes throughout', async () => {
    const { cluster, process, promotions } = await stuck();
    const written = cluster.written.length;
    process.world.hold('main', true);
    const letGo: string[] = [];
    const holds = process.held;
    const remove = holds.delete.bind(holds);
    holds.delete = (name) => letGo.push(name) > 0 && remove(name);
    await passSeconds(300, cluster, promotions);
    assert.deepEqual(process.events, ['promote.make_writable', 'promote.resumed_badly']);
    assert.equal(cluster.written.length, written + 1);
    assert.deepEqual([letGo, holds.size], [[], 1]);
  });

  test('is tried at once when its target answers again', async () => {
    const { cluster, process, promotions } = await stuck();
    process.world.hold('main', true);
    await passSeconds(200, cluster, promotions);
    const acts = process.acts;
    await promotions.resume();
    assert.equal(process.acts, acts, 'not its time');
    cluster.server('db2').isDown = false;
    await promotions.resume();
    assert.deepEqual([cluster.writers, promotions.isBusy('main'), process.held.size], [['db2'], false, 0]);
    assert.deepEqual([promotions.plans, promotions.standOf('main')], [[], null]);
  });

  test('one of this process is under way, not cut off', async () => {
    const cluster = clusterOf(KINDS[0]!);
    const promotions = promotionsOf(new FakeProcess(cluster));
    const stands = new Set<string>();
    cluster.onAct = () => {
      const stand = promotions.standOf('main');
      stands.add(`${stand?.step} ${stand?.cutOffBy}`);
    };
    await promotions.promote(WISH, 'a test', true);
    assert.deepEqual([...stands].slice(0, 3), ['null null', 'hold null', 'end_sessions null']);
  });
});

/** It is known when a primary was replaced without an operator from the moment on in which it is known to be replaced. */
function assertCooldown({ wish }: Kind, { state }: FakeCluster, about: string): void {
  const isReplaced = wish.isAutomatic === true && state.primary !== 'db1';
  assert.equal(state.failoverWallMs !== null, isReplaced, about);
}

/** An adoption that was cut off before its record leaves the server as it was: read-only, for the governor. */
function assertUsable(kind: Kind, cluster: FakeCluster, process: FakeProcess, about: string): void {
  if (kind.name === 'an adoption' && cluster.writers.length === 0) {
    assert.equal(process.held.size, 0, about);
    assert.deepEqual(unfinishedRuns(process.journal.entries()), [], about);
    return;
  }
  assertWell(cluster, process, about);
  assertCooldown(kind, cluster, about);
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
    assert.deepEqual(promotions.underWay, []);
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
      acts.filter((act) => act !== 'check' && !act.startsWith('open ')),
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

  test('a promotion that was cut off waits while nobody is in charge, and is closed when another dbproxy is', async () => {
    const cluster = clusterOf(KINDS[0]!);
    await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
    const process = new FakeProcess(cluster, Infinity, () => null);
    const told: string[] = [];
    const promotions = new Promotions({
      config: { clusters: [cluster.cluster], backends: cluster.backends },
      clock: cluster.clock,
      log: silentLog,
      journal: process.journal,
      world: process.world,
      onEvent: (event, _subject, detail) => told.push(`${event} ${detail}`),
    });
    process.world.hold('main', true);
    process.charge = { isOurs: false, holder: null, why: 'nobody has the lease' };
    await promotions.resume();
    assert.deepEqual(told, []);
    assert.equal(promotions.isBusy('main'), true);
    process.charge = { isOurs: false, holder: 'web2/1', why: 'web2/1 has the lease' };
    await promotions.resume();
    assert.equal(told.length, 1);
    assert.match(told[0]!, /^promote\.closed web2\/1 is in charge of the cluster now/);
    assert.equal(promotions.isBusy('main'), false);
    assert.equal(process.held.size, 0);
    const wish = { target: 'db2', named: true, as: 'any', force: true } as const;
    await assert.rejects(
      promotions.promote(wish, 'an operator', true),
      /web2\/1 has the lease; say it there/,
    );
  });

  test('a promotion of a server that has been taken out of the configuration is closed, and lets the writes go', async () => {
    const cluster = clusterOf(KINDS[0]!);
    await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
    let isFull = true;
    const process = new FakeProcess(cluster, Infinity, (act) =>
      isFull && act === 'journal closed' ? 'before' : null,
    );
    const told: string[] = [];
    const promotions = new Promotions({
      config: {
        clusters: [cluster.cluster],
        backends: cluster.backends.filter(({ name }) => name !== 'db2'),
      },
      clock: cluster.clock,
      log: silentLog,
      journal: process.journal,
      world: process.world,
      onEvent: (event, subject, detail) => told.push(`${event} ${subject} ${detail}`),
    });
    assert.equal(promotions.isBusy('main'), true);
    process.world.hold('main', true);
    await promotions.resume();
    assert.deepEqual(told, [
      'promote.closed db2 db2 is not in the configuration any more; it is not taken up, and nothing was taken back',
    ]);
    assert.equal(promotions.isBusy('main'), false, 'also while its end cannot be written down');
    assert.equal(process.held.size, 0);
    isFull = false;
    await cluster.clock.pass(1_000);
    await cluster.clock.pass(0);
    assert.deepEqual(unfinishedRuns(process.journal.entries()), []);
  });
});

const refuses =
  (act: string) =>
  (what: string): 'before' | null =>
    what === act ? 'before' : null;

test('one that FORCE gives up lets the writes go, also when the promotion that FORCE asked for is refused', async () => {
  const cases = [
    ['the target is down', () => null],
    ['that another one begins cannot be written down', refuses('journal opened')],
  ] as const;
  for (const [title, faults] of cases) {
    const cluster = clusterOf(KINDS[0]!);
    await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
    cluster.server('db3').isDown = title === 'the target is down';
    const process = new FakeProcess(cluster, Infinity, faults);
    const promotions = promotionsOf(process);
    assert.equal(promotions.isBusy('main'), true, title);
    process.world.hold('main', true);
    await assert.rejects(promotions.promote({ ...WISH, target: 'db3', force: true }, 'a test', true));
    assert.deepEqual([promotions.isBusy('main'), process.held.size], [false, 0], title);
  }
});

test('one that FORCE could not write down as given up stays unfinished, holds the writes, and is taken up', async () => {
  const cluster = clusterOf(KINDS[0]!);
  await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
  const process = new FakeProcess(cluster, Infinity, refuses('journal closed'));
  const promotions = promotionsOf(process);
  process.world.hold('main', true);
  const forced = promotions.promote({ ...WISH, target: 'db3', force: true }, 'a test', true);
  await promotions.resume();
  assert.deepEqual(process.events, [], 'nobody takes it up while it is being given up');
  await assert.rejects(forced, /journal closed failed/);
  assert.deepEqual([promotions.isBusy('main'), process.held.size], [true, 1]);
  await promotions.resume();
  assert.deepEqual([promotions.isBusy('main'), process.held.size], [false, 0]);
  assert.equal(cluster.state.primary, 'db1');
});

test('one that was taken back when it was taken up has ended: it is not told as one that is tried again', async () => {
  const cluster = clusterOf(KINDS[0]!);
  await begin(KINDS[0]!, cluster, new FakeProcess(cluster, 30));
  const process = new FakeProcess(cluster);
  const promotions = promotionsOf(process);
  await promotions.resume();
  assert.deepEqual(cluster.writers, ['db1']);
  assert.deepEqual([promotions.isBusy('main'), process.events.at(-1)], [false, 'promote.undone']);
});

test('FORCE that is refused beside a promotion under way lets nothing go', async () => {
  const cluster = clusterOf(KINDS[0]!);
  const process = new FakeProcess(cluster);
  const promotions = promotionsOf(process);
  const ended = promotions.promote(WISH, 'a test', true);
  process.world.hold('main', true);
  await assert.rejects(
    promotions.promote({ ...WISH, target: 'db3', force: true }, 'a test', true),
    /is under way/,
  );
  assert.equal(process.held.size, 1);
  await untilEnd(ended, cluster, process);
});

test('FORCE that is refused and has nothing to give up lets nothing go: somebody else may hold the writes', async () => {
  const cluster = clusterOf(KINDS[0]!);
  cluster.server('db3').isDown = true;
  const process = new FakeProcess(cluster);
  process.world.hold('main', true);
  await assert.rejects(
    promotionsOf(process).promote({ ...WISH, target: 'db3', force: true }, 'a test', true),
  );
  assert.equal(process.held.size, 1);
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
  assert.deepEqual([...new Set(acts)], ['check', 'open db2', 'open db1', 'open db3']);
});

test('a login that would be refused is found out before anything is held', async () => {
  const denied = Object.assign(new Error('Access denied'), { errno: 1045 });
  const cases = [
    // whose login fails, and how; what a switchover says, and a failover that an operator asks for
    ['db1', denied, /db1 refuses monitor_user a new login \(Access denied\)/, null],
    ['db2', denied, /db2 refuses monitor_user/, /db2 refuses monitor_user/],
    ['db3', denied, /db3 refuses monitor_user/, /db3 refuses monitor_user/],
    ['db1', new Error('no answer'), /a new connection to db1 cannot be made: no answer/, null],
    ['db2', new Error('no answer'), /a new connection to db2 cannot be made: no answer/, null],
    ['db3', new Error('no answer'), null, null],
  ] as const;
  for (const [name, error, ...expected] of cases) {
    for (const [index, reason] of expected.entries()) {
      const about = `${name}: ${error.message}, ${index === 0 ? 'switchover' : 'failover'}`;
      const cluster = clusterOf(KINDS[0]!);
      const process = new FakeProcess(cluster);
      const { world } = process;
      const promotions = promotionsOf(process, {
        ...world,
        openServer: (backend, ...rest) =>
          backend.name === name ? Promise.reject(error) : world.openServer(backend, ...rest),
      });
      const wish: Wish = index === 0 ? WISH : { ...WISH, as: 'failover', isOnPaper: true };
      const { verdict } = await promotions.dryRun(wish);
      assert.equal(verdict.kind === 'refused', reason !== null, about);
      if (reason === null) continue;
      assert.match(verdict.kind === 'refused' ? verdict.reason : '', reason, about);
      await assert.rejects(
        promotions.promote({ ...wish, force: true }, 'a test', true),
        { code: 'DBPROXY_PROMOTE_REFUSED', message: reason },
        about,
      );
      assert.deepEqual([process.held.size, cluster.written], [0, []], about);
    }
  }
});

test('the plan under way says what is done, what is being done, and what is left', async () => {
  const cluster = clusterOf(KINDS[0]!);
  const process = new FakeProcess(cluster);
  const promotions = promotionsOf(process);
  const seen: string[] = [];
  cluster.onAct = () => {
    const [plan] = promotions.plans;
    if (plan?.now === 'record') seen.push(`${plan.steps.at(-1)?.step} ${plan.now} ${plan.left.join()}`);
  };
  await promotions.promote(WISH, 'a test', true);
  assert.equal(seen[0], 'stop_replication record make_writable,weights,publish,repoint,semi_sync');
});

test('the plan under way says when it is being taken back, why, and what is left of that', async () => {
  const cluster = clusterOf(KINDS[0]!);
  let hasFailed = false;
  const process = new FakeProcess(cluster, Infinity, (act) => {
    if (act !== 'record' || hasFailed) return null;
    hasFailed = true;
    return 'before';
  });
  const promotions = promotionsOf(process);
  const seen = new Set<string>();
  cluster.onAct = () => {
    const [plan] = promotions.plans;
    if (plan !== undefined && plan.undoneFor !== null)
      seen.add(`${plan.now} (${plan.undoneFor}), left ${plan.left.join()}`);
  };
  await assert.rejects(promotions.promote(WISH, 'a test', true));
  const because = '(record failed: record failed)';
  assert.deepEqual(
    [...seen],
    [
      `record ${because}, left stop_replication,fence,hold`,
      `stop_replication ${because}, left fence,hold`,
      `fence ${because}, left hold`,
      `hold ${because}, left `,
    ],
  );
});
