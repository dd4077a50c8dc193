/** Promotions of two clusters beside each other, with one journal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { Wish } from '../../../src/failover/check.ts';
import { unfinishedRuns } from '../../../src/failover/journal.ts';
import { Promotions } from '../../../src/failover/promotion.ts';
import type { PromotionWorld } from '../../../src/failover/steps/world.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

const MAIN: Wish = { target: 'db2', named: true, as: 'any', force: false };
const OTHER: Wish = { ...MAIN, target: 'db5' };

interface Both {
  readonly main: FakeCluster;
  readonly other: FakeCluster;
}

function bothClusters(): Both {
  return { main: new FakeCluster(['db1', 'db2']), other: new FakeCluster(['db4', 'db5'], { name: 'other' }) };
}

/** One process on both clusters, whose journal is that of `main`. */
class Process {
  readonly main: FakeProcess;
  readonly other: FakeProcess;
  readonly promotions: Promotions;

  constructor({ main, other }: Both, diesAt: () => number = () => Infinity) {
    this.main = new FakeProcess(main);
    this.other = new FakeProcess(other, diesAt);
    this.promotions = new Promotions({
      config: { clusters: [main.cluster, other.cluster], backends: [...main.backends, ...other.backends] },
      clock: main.clock,
      log: silentLog,
      journal: {
        entries: () => this.main.journal.entries(),
        append: async (entry, durable) => {
          if (this.other.isDead && entry.cluster === 'other') await new Promise(() => undefined);
          await this.main.journal.append(entry, durable);
        },
      },
      world: worldOf(this.main.world, this.other.world),
      onEvent: (event) => this.main.events.push(event),
    });
  }
}

/** Each cluster's part of the world does what is asked of that cluster. */
function worldOf(main: PromotionWorld, other: PromotionWorld): PromotionWorld {
  const of = (cluster: string): PromotionWorld => (cluster === 'other' ? other : main);
  const having = (backend: string): PromotionWorld => (backend > 'db3' ? other : main);
  return {
    clock: main.clock,
    openServer: (backend, cluster) => of(cluster.name).openServer(backend, cluster),
    charge: (cluster) => of(cluster).charge(cluster),
    overtakeChores: (cluster) => of(cluster).overtakeChores(cluster),
    workUnderWay: (cluster) => of(cluster).workUnderWay(cluster),
    hold: (cluster, held) => of(cluster).hold(cluster, held),
    holdWrites: (request, bounds) => of(request.cluster).holdWrites(request, bounds),
    recordPromotion: (cluster, ...record) => of(cluster).recordPromotion(cluster, ...record),
    failoverWallMs: (cluster) => of(cluster).failoverWallMs(cluster),
    handoverOf: (cluster) => of(cluster).handoverOf(cluster),
    setHandover: (cluster, handover) => of(cluster).setHandover(cluster, handover),
    epochOf: (cluster) => of(cluster).epochOf(cluster),
    takeInHand: (cluster, backends) => of(cluster).takeInHand(cluster, backends),
    setAlone: (cluster, alone) => of(cluster).setAlone(cluster, alone),
    noteDiverged: (cluster, found) => of(cluster).noteDiverged(cluster, found),
    changeSettings: (changes) => main.changeSettings(changes),
    rwWeight: () => 1,
    rememberedPrimary: (cluster) => of(cluster).rememberedPrimary(cluster),
    survey: (cluster) => of(cluster).survey(cluster),
    checkNow: (backend) => having(backend).checkNow(backend),
    rejudge: (cluster) => of(cluster).rejudge(cluster),
  };
}

/** A promotion of the other cluster is cut off when it was about to make its target writable; that is down now. */
async function cutOff(both: Both): Promise<void> {
  let diesAt = Infinity;
  const { promotions, other } = new Process(both, () => diesAt);
  both.other.onAct = (act) => {
    if (act === 'note epoch db5') diesAt = other.acts + 1;
  };
  void promotions.promote(OTHER, 'a test', true);
  for (let round = 0; !other.isDead; round++) {
    assert.ok(round < 200, 'it must be cut off');
    await both.other.clock.pass(20);
  }
  both.other.onAct = () => undefined;
  both.other.server('db5').isDown = true;
  const [left] = unfinishedRuns(both.main.written.map(({ entry }) => entry));
  assert.deepEqual([left?.cluster, left?.step], ['other', 'make_writable']);
}

test('two clusters are promoted in at once, with numbers of their own', async () => {
  const both = bothClusters();
  const { promotions, main } = new Process(both);
  const ended = Promise.all([
    promotions.promote(MAIN, 'a test', true),
    promotions.promote(OTHER, 'a test', true),
  ]);
  assert.deepEqual(promotions.underWay, ['db2', 'db5']);
  assert.deepEqual([promotions.underWayIn('main'), promotions.underWayIn('other')], ['db2', 'db5']);
  let mostPlans = 0;
  both.main.onAct = () => (mostPlans = Math.max(mostPlans, promotions.plans.length));
  await ended;
  assert.equal(mostPlans, 2);
  assert.deepEqual([both.main.writers, both.other.writers], [['db2'], ['db5']]);
  const entries = main.journal.entries();
  assert.deepEqual(unfinishedRuns(entries), []);
  const opened = entries.filter(({ event }) => event === 'opened');
  assert.deepEqual(
    opened.map(({ run }) => run).sort((one, other) => one - other),
    [1, 2],
  );
  const runs = entries.map(({ run }) => run);
  assert.ok(runs.lastIndexOf(runs[0]!) > runs.findIndex((run) => run !== runs[0]), 'one among the other’s');
});

test('what is unfinished in one cluster keeps nobody from a promotion of another one, with or without FORCE', async () => {
  for (const force of [false, true]) {
    const both = bothClusters();
    await cutOff(both);
    const { promotions, main } = new Process(both);
    await promotions.resume();
    assert.deepEqual([promotions.isBusy('main'), promotions.isBusy('other')], [false, true]);
    await assert.rejects(promotions.promote({ ...OTHER, target: 'db4' }, 'a test', true), /cut off/);
    await promotions.promote({ ...MAIN, force }, 'a test', true);
    assert.deepEqual([both.main.writers, both.main.state.epoch], [['db2'], 5]);
    const left = unfinishedRuns(main.journal.entries());
    assert.deepEqual(
      left.map(({ cluster, run }) => [cluster, run]),
      [['other', 1]],
      'FORCE gives up what is cut off in its own cluster alone',
    );
  }
});

test('while what is unfinished in one cluster is taken up, another cluster is promoted in', async () => {
  const both = bothClusters();
  await cutOff(both);
  const { promotions, other } = new Process(both);
  let reach: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (reach = resolve));
  const act = other.act.bind(other);
  other.act = async (name, effect) => {
    await gate;
    return act(name, effect);
  };
  const resumed = promotions.resume();
  assert.deepEqual(promotions.underWay, ['db5']);
  await promotions.promote(MAIN, 'a test', true);
  assert.deepEqual(both.main.writers, ['db2']);
  both.other.server('db5').isDown = false;
  reach();
  await resumed;
  assert.deepEqual([both.other.writers, promotions.isBusy('other')], [['db5'], false]);
});
