import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import type { Wish } from '../../../src/failover/check.ts';
import type { Chore } from '../../../src/failover/chores.ts';
import { Governor, type GovernorWorld } from '../../../src/failover/governor.ts';
import { NotYet } from '../../../src/failover/not-yet.ts';
import {
  SEEN_MS,
  surveyOf,
  type ClusterDescription,
  type ServerDescription,
} from '../../support/clusters.ts';
import { clusterConfig } from '../../support/configs.ts';
import type { Divergence, LongGone, OwnWrites } from '../../../src/topology/state-file.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A world that does what it is told, unless a test makes it refuse, and remembers what that was. */
class FakeWorld implements GovernorWorld {
  readonly clock = new FakeClock();
  readonly log = silentLog;
  description: ClusterDescription = WELL;
  decisions: ReturnType<GovernorWorld['decisionsOf']> = {};
  acts = true;
  /** How much older the description is than it says. */
  agesMs = (): number => 0;
  busy = false;
  /** What went out, in order: promotions, chores, epochs, decisions. */
  readonly done: string[] = [];
  readonly told: string[] = [];
  stopped: string | null = null;
  diagnosis = '';
  diverged: ReadonlyMap<string, Divergence | null> = new Map();
  refusal: Error | null = null;
  discardRefusal: Error | null = null;
  /** What an old primary alone has is of dbproxy itself. */
  isOnlyOurs = false;
  savedAs = 'in a file';
  /** While it is there, work does not end. */
  gate: Promise<void> | null = null;

  survey(): ReturnType<GovernorWorld['survey']> {
    return { ...surveyOf(this.description), nowMs: 100_000 + this.agesMs() };
  }

  mayAct(): boolean {
    return this.acts;
  }

  writesDown = true;

  mayWriteDown(): boolean {
    return this.writesDown;
  }

  inCharge = true;

  isInCharge(): boolean {
    return this.inCharge;
  }

  work: ReturnType<GovernorWorld['workUnderWay']> = null;

  workUnderWay(): ReturnType<GovernorWorld['workUnderWay']> {
    return this.work;
  }

  decisionsOf(): ReturnType<GovernorWorld['decisionsOf']> {
    return this.decisions;
  }

  /** How often who has diverged was written down. */
  writes = 0;

  async writeDiverged(_cluster: string, diverged: readonly Divergence[]): Promise<void> {
    this.writes++;
    if (this.refusal !== null) throw this.refusal;
    await this.gate;
    this.decisions = { ...this.decisions, diverged };
  }

  readonly ownWrites: OwnWrites[] = [];

  async writeOwnWrites(_cluster: string, ownWrites: OwnWrites): Promise<void> {
    this.ownWrites.push(ownWrites);
  }

  async writeLongGone(_cluster: string, { servers }: LongGone): Promise<void> {
    await this.#work(`long gone: ${servers.join()}`);
  }

  async adoptEpoch(cluster: string, backend: string, epoch: number): Promise<void> {
    await this.#work(`adopt ${cluster} ${backend} ${epoch}`);
  }

  async letGo(
    cluster: string,
    backends: readonly string[],
    isAtRest: (backend: string) => boolean,
  ): Promise<void> {
    await this.#work(`let go of ${backends.join()} in ${cluster}`);
    this.letGoOf = backends.filter(isAtRest);
  }

  letGoOf: readonly string[] = [];

  stopWrites(_cluster: string, reason: string | null): void {
    this.stopped = reason;
  }

  setDiverged(backends: ReadonlyMap<string, Divergence | null>): void {
    this.diverged = backends;
  }

  setDiagnosis(_cluster: string, { name }: { name: string }): void {
    this.diagnosis = name;
  }

  async carryOut(_cluster: ClusterConfig, chore: Chore): Promise<string> {
    await this.#work(`${chore.kind} ${chore.backend}`);
    return 'it went well';
  }

  async saveLost(_cluster: string, backend: string): ReturnType<GovernorWorld['saveLost']> {
    await this.#work(`save ${backend}`);
    return { detail: this.savedAs, isOnlyOurs: this.isOnlyOurs };
  }

  async discardLost(_cluster: string, backend: string): Promise<void> {
    await this.#work(`discard ${backend}`);
    if (this.discardRefusal !== null) throw this.discardRefusal;
  }

  tell(_level: string, event: string, subject: string): void {
    this.told.push(`${event} ${subject}`);
  }

  readonly promotions = {
    promote: async (wish: Wish): Promise<[]> => {
      await this.#work(`${wish.isAutomatic === true ? 'automatic ' : ''}${wish.as} ${wish.target}`);
      return [];
    },
    isBusy: (): boolean => this.busy,
  };

  async #work(what: string): Promise<void> {
    this.done.push(what);
    await this.gate;
    if (this.refusal !== null) throw this.refusal;
  }
}

const WELL: ClusterDescription = { servers: { db1: {}, db2: { from: 'db1' } } };
const DOWN_SERVERS: Record<string, ServerDescription> = {
  db1: { down: 'connection refused' },
  db2: { from: 'db1', hears: 'lost' },
};
const DOWN: ClusterDescription = { servers: DOWN_SERVERS };
const TWO_WRITERS: ClusterDescription = { epoch: 0, servers: { db1: {}, db2: {} } };
const STALE: ClusterDescription = { servers: { db1: {}, db2: { from: 'db1', epoch: [5, 'db2'] } } };
const RETURNED: ClusterDescription = { servers: { db1: {}, db2: { facts: { readOnly: true } } } };

function governed(
  description: ClusterDescription,
  config: Partial<ClusterConfig> = {},
): { world: FakeWorld; governor: Governor } {
  const world = new FakeWorld();
  const cluster = { failover: 'auto', ...config } as const;
  world.description = { ...description, cluster };
  return { world, governor: new Governor(clusterConfig(cluster), world) };
}

/** Looks now, and lets what that began come to its end. */
async function look({ world, governor }: ReturnType<typeof governed>): Promise<void> {
  governor.consider();
  await world.clock.pass(0);
}

suite('while another dbproxy is in charge', () => {
  const cases = [
    ['the primary is down', DOWN, []],
    ['a replica has come back', RETURNED, []],
    ['the servers know a later epoch', STALE, ['adopt main db2 5']],
  ] as const;
  for (const [title, description, done] of cases) {
    test(`${title}: ${done.join() || 'nothing is done'}`, async () => {
      const { world, governor } = governed(description);
      world.inCharge = false;
      await look({ world, governor });
      assert.deepEqual(world.done, done);
      assert.equal(world.writes, 0);
    });
  }

  test('the servers know a later epoch: it is written down by the one of a pair that writes', async () => {
    const { world, governor } = governed(STALE);
    world.inCharge = false;
    world.writesDown = false;
    await look({ world, governor });
    assert.deepEqual(world.done, []);
  });
});

suite('while an operator has work done', () => {
  const end = (): Promise<void> => Promise.resolve();
  const cases = [
    // title, work; what is done of a failover, of a chore, of a later epoch
    ['a BOOTSTRAP', { isExclusive: true, end: null }, [], [], []],
    [
      'a CLONE that fills',
      { isExclusive: false, end },
      ['automatic failover db2'],
      ['follow db2'],
      ['adopt main db2 5'],
    ],
    ['a CLONE that joins', { isExclusive: true, end }, ['automatic failover db2'], [], []],
  ] as const;
  for (const [title, work, failover, chore, epoch] of cases) {
    test(title, async () => {
      for (const [description, done] of [
        [DOWN, failover],
        [RETURNED, chore],
        [STALE, epoch],
      ] as const) {
        const all = governed(description, { rejoin: 'auto' });
        all.world.work = { title, ...work };
        await look(all);
        assert.deepEqual(all.world.done, done, JSON.stringify(description));
      }
    });
  }
});

suite('a failover', () => {
  test('is begun when the primary is down, as one that nobody has asked for', async () => {
    const all = governed(DOWN);
    await look(all);
    assert.deepEqual(all.world.done, ['automatic failover db2']);
    assert.equal(all.world.diagnosis, 'PrimaryDown');
  });

  test('is not begun by itself when failover = manual; that is told once, not with each look', async () => {
    const all = governed(DOWN, { failover: 'manual' });
    for (let count = 0; count < 5; count++) await look(all);
    assert.deepEqual(all.world.done, []);
    assert.deepEqual(all.world.told, ['diagnosis.PrimaryDown main', 'failover.manual main']);
  });

  test('and is told anew when it comes anew', async () => {
    const all = governed(DOWN, { failover: 'manual' });
    await look(all);
    const { description } = all.world;
    all.world.description = WELL;
    await look(all);
    all.world.description = description;
    await look(all);
    assert.deepEqual(all.world.told, [
      'diagnosis.PrimaryDown main',
      'failover.manual main',
      'diagnosis.AllHealthy main',
      'diagnosis.PrimaryDown main',
      'failover.manual main',
    ]);
  });

  test('is not begun within failover_cooldown of the last one, and is right after it', async () => {
    const all = governed(DOWN, { failoverCooldownMs: 600_000 });
    const { world } = all;
    world.decisions = { failoverWallMs: world.clock.wallMs() };
    for (let count = 0; count < 3; count++) await look(all);
    assert.deepEqual(world.done, []);
    assert.deepEqual(world.told, ['diagnosis.PrimaryDown main', 'failover.cooldown main']);
    world.clock.jump(599_999);
    await look(all);
    assert.deepEqual(world.done, []);
    world.clock.jump(1);
    await look(all);
    assert.equal(world.done[0], 'automatic failover db2');
  });

  test('is not begun by a clock that went back, and no such clock keeps it from ever being begun', async () => {
    const all = governed(DOWN, { failoverCooldownMs: 600_000 });
    const { world } = all;
    world.decisions = { failoverWallMs: world.clock.wallMs() + 365 * 24 * 3600 * 1000 };
    await look(all);
    assert.deepEqual(world.done, []);
    world.clock.jump(600_000);
    await look(all);
    assert.equal(world.done[0], 'automatic failover db2');
  });

  test('is not begun in maintenance, nor is anything else; but what is the matter is told', async () => {
    for (const description of [DOWN, RETURNED, TWO_WRITERS]) {
      const all = governed(description);
      all.world.decisions = { maintenance: true };
      await look(all);
      assert.deepEqual(all.world.done, []);
      assert.notEqual(all.world.diagnosis, 'AllHealthy');
    }
  });

  test('is begun once, while it runs', async () => {
    const all = governed(DOWN);
    let open = (): void => undefined;
    all.world.gate = new Promise((resolve) => (open = resolve));
    for (let count = 0; count < 5; count++) await look(all);
    assert.deepEqual(all.world.done, ['automatic failover db2']);
    open();
    await all.world.clock.pass(0);
    assert.equal(all.world.done.length, 1);
  });

  test('that was refused is tried again, each time later, and told once', async () => {
    const all = governed(DOWN);
    const { world } = all;
    world.refusal = new Error('db3 is writable');
    const triedMs: number[] = [];
    const startMs = world.clock.nowMs();
    for (let passedMs = 0; passedMs <= 120_000; passedMs += 50) {
      const before = world.done.length;
      await look(all);
      if (world.done.length > before) triedMs.push(world.clock.nowMs() - startMs);
      world.clock.jump(50);
    }
    assert.deepEqual(triedMs.slice(0, 6), [0, 250, 750, 1_750, 3_750, 7_750]);
    const pauses = triedMs.slice(1).map((atMs, index) => atMs - triedMs[index]!);
    assert.equal(Math.max(...pauses), 30_000, 'it is never given up');
    assert.deepEqual(
      world.told.filter((line) => line.startsWith('care.failed')),
      ['care.failed failover of main'],
    );
    assert.deepEqual(all.governor.failoverFailure, {
      failures: triedMs.length,
      lastWallMs: startMs + triedMs.at(-1)!,
      reason: 'db3 is writable',
    });
  });

  test('is not begun while a promotion runs or was left unfinished, nor while this process has stood still', async () => {
    const busy = governed(DOWN);
    busy.world.busy = true;
    await look(busy);
    assert.deepEqual([busy.world.done, busy.world.told], [[], []]);
    const stalled = governed(DOWN);
    stalled.world.acts = false;
    await look(stalled);
    assert.deepEqual(stalled.world.done, []);
    assert.equal(stalled.world.diagnosis, 'PrimaryDown');
  });

  test('does not keep who was the primary before, and can be written to, from being fenced', async () => {
    for (const [failover, done] of [
      ['auto', ['automatic failover db2', 'fence db3']],
      ['manual', ['fence db3']],
    ] as const) {
      const all = governed({ servers: { ...DOWN_SERVERS, db3: {} } }, { failover });
      await look(all);
      assert.deepEqual(all.world.done.toSorted(), done);
    }
  });

  test('is not begun once the governor is closed', async () => {
    const all = governed(DOWN);
    all.governor.start();
    all.governor.close();
    const before = all.world.done.length;
    await all.world.clock.pass(10_000);
    assert.equal(all.world.clock.pending, 0);
    assert.deepEqual(all.world.done.slice(before), []);
  });
});

suite('a promotion that got no further than the state file', () => {
  const cutShort: ClusterDescription = {
    remembered: 'db2',
    servers: { db1: { facts: { readOnly: true } }, db2: { from: 'db1' } },
  };

  test('is finished', async () => {
    const all = governed(cutShort);
    await look(all);
    assert.deepEqual(all.world.done, ['any db2']);
  });

  test('is finished, and who was before it and came back writable is fenced, too', async () => {
    const all = governed({ ...cutShort, servers: { ...cutShort.servers, db1: {} } });
    await look(all);
    assert.deepEqual(all.world.done.toSorted(), ['any db2', 'fence db1']);
  });

  test('is left to the operator when failover = manual', async () => {
    const all = governed(cutShort, { failover: 'manual' });
    for (let count = 0; count < 3; count++) await look(all);
    assert.deepEqual(all.world.done, []);
    assert.equal(all.world.told.filter((line) => line.startsWith('failover.manual')).length, 1);
  });
});

suite('writes', () => {
  test('stop while two servers take them, and go on when it is clear who does', async () => {
    const all = governed(TWO_WRITERS);
    await look(all);
    assert.match(all.world.stopped ?? '', /db1 and db2 are writable/);
    assert.deepEqual(all.world.done, ['fence db2']);
    all.world.description = WELL;
    await look(all);
    assert.equal(all.world.stopped, null);
  });

  test('stop also where nothing may be done about it', async () => {
    const all = governed(TWO_WRITERS, { enforceReadOnly: false });
    all.world.decisions = { maintenance: true };
    await look(all);
    assert.match(all.world.stopped ?? '', /db1 and db2/);
    assert.deepEqual(all.world.done, []);
  });
});

suite('a newer epoch', () => {
  test('is adopted once, and nothing else is done before', async () => {
    const all = governed(STALE);
    let open = (): void => undefined;
    all.world.gate = new Promise((resolve) => (open = resolve));
    for (let count = 0; count < 5; count++) await look(all);
    assert.deepEqual(all.world.done, ['adopt main db2 5']);
    open();
    await all.world.clock.pass(0);
    assert.ok(all.world.told.includes('cluster.epoch_adopted main'));
  });

  test('is adopted also in maintenance: it is no act on a server', async () => {
    const all = governed(STALE);
    all.world.decisions = { maintenance: true };
    await look(all);
    assert.deepEqual(all.world.done, ['adopt main db2 5']);
  });

  test('that could not be written down is tried again', async () => {
    const all = governed(STALE);
    all.world.refusal = new Error('no space left on device');
    for (let passedMs = 0; passedMs < 5_000; passedMs += 50) {
      await look(all);
      await all.world.clock.pass(50);
    }
    assert.equal(all.world.done.length, 5, 'each time later');
    const notAdopted = all.world.told.filter((event) => event === 'cluster.epoch_not_adopted main');
    assert.equal(notAdopted.length, 1, 'and told once');
    all.world.refusal = null;
    all.world.clock.jump(30_000);
    await look(all);
    assert.ok(all.world.told.includes('cluster.epoch_adopted main'));
  });
});

suite('what has failed', () => {
  test('and came right by itself is forgotten: who was in hand is let go, and the next one is another incident', async () => {
    const stopped: ClusterDescription = {
      inHand: ['db2'],
      servers: { db1: {}, db2: { from: 'db1', hears: 'stopped' } },
    };
    const all = governed(stopped);
    const { world } = all;
    world.refusal = new Error('does not replicate from db1 after 5000 ms');
    await look(all);
    assert.deepEqual(world.done, ['reconnect db2']);
    world.refusal = null;
    world.description = { ...world.description, servers: WELL.servers };
    for (let passedMs = 0; passedMs <= 6_000; passedMs += 1_000) {
      await look(all);
      await world.clock.pass(1_000);
    }
    assert.deepEqual(world.letGoOf, ['db2']);
    world.refusal = new Error('once more');
    world.description = { ...world.description, servers: stopped.servers };
    await look(all);
    assert.equal(world.told.filter((event) => event === 'care.failed db2').length, 2);
  });

  test('of a failover is forgotten once the primary is well: the next one begins with the first wait', async () => {
    const all = governed(DOWN);
    const { world } = all;
    const { description } = world;
    world.refusal = new Error('refused');
    for (let passedMs = 0; passedMs < 100_000; passedMs += 250) {
      await look(all);
      await world.clock.pass(250);
    }
    world.description = { ...description, servers: WELL.servers };
    world.clock.jump(60_000);
    await look(all);
    assert.equal(all.governor.failoverFailure, null);
    world.description = description;
    world.done.length = 0;
    for (let passedMs = 0; passedMs < 1_000; passedMs += 250) {
      await look(all);
      await world.clock.pass(250);
    }
    assert.equal(world.done.length, 3);
  });

  test('and goes on being called for is not forgotten, however seldom it is tried', async () => {
    const all = governed(RETURNED);
    all.world.refusal = new Error('refused');
    for (let passedMs = 0; passedMs < 300_000; passedMs += 1_000) {
      await look(all);
      await all.world.clock.pass(1_000);
    }
    assert.equal(all.world.told.filter((event) => event === 'care.failed db2').length, 1);
  });
});

suite('beside a promotion', () => {
  const stand = { target: 'db2', step: 'make_writable', sinceWallMs: 0, cutOffBy: null } as const;

  test('that runs nothing is told or done, and SHOW DIAGNOSES has a row', async () => {
    const all = governed({ ...DOWN, promotion: stand });
    all.world.busy = true;
    await look(all);
    assert.deepEqual([all.world.done, all.world.told, all.world.diagnosis], [[], [], '']);
    assert.deepEqual(
      all.governor.findings.map(({ name }) => name),
      ['PromotionUnderWay'],
    );
  });

  test('that was cut off it is told once where it stands, and of the rest what it is; nothing is done', async () => {
    const all = governed({ ...DOWN, promotion: { ...stand, cutOffBy: 'connection refused' } });
    const { world, governor } = all;
    world.busy = true;
    for (let count = 0; count < 5; count++) await look(all);
    assert.deepEqual(world.told, ['diagnosis.PromotionUnfinished main']);
    assert.deepEqual([world.done, world.diagnosis], [[], 'PromotionUnfinished']);
    const [first, ...others] = governor.findings;
    assert.match(first!.detail, /at make_writable since .*connection refused.*FORCE/);
    assert.deepEqual(
      others.map(({ name, action }) => [name, action.kind]),
      [['PrimaryDown', 'none']],
    );
    world.busy = false;
    world.description = { ...DOWN };
    await look(all);
    assert.deepEqual(world.done, ['automatic failover db2']);
    world.busy = true;
    world.description = { ...DOWN, promotion: { ...stand, cutOffBy: 'connection refused' } };
    await look(all);
    assert.equal(
      world.told.filter((event) => event.includes('Unfinished')).length,
      2,
      'anew when it comes anew',
    );
  });

  test('a process that has just begun says what it sees', () => {
    assert.deepEqual(
      governed(WELL).governor.findings.map(({ name }) => name),
      ['AllHealthy'],
    );
  });
});

suite('small acts', () => {
  test('are done, one at a time a server, and told with their reason', async () => {
    const all = governed(RETURNED);
    let open = (): void => undefined;
    all.world.gate = new Promise((resolve) => (open = resolve));
    await look(all);
    await look(all);
    assert.deepEqual(all.world.done, ['follow db2']);
    open();
    await all.world.clock.pass(0);
    assert.ok(all.world.told.includes('care.follow db2'));
  });

  test('keep a server in hand, also when they begin while it is looked at whether it runs', async () => {
    const servers = { db1: {}, db2: { from: 'db1' }, db3: { from: 'db1' } };
    const all = governed({ servers, inHand: ['db2', 'db3'] });
    let open = (): void => undefined;
    all.world.gate = new Promise((resolve) => (open = resolve));
    await look(all);
    assert.deepEqual(all.world.done, ['let go of db2,db3 in main']);
    const deaf = { ...servers, db3: { from: 'db1', hears: 'silent' } } as const;
    all.world.description = { ...all.world.description, servers: deaf };
    await look(all);
    assert.deepEqual(all.world.done.slice(1), ['reconnect db3']);
    open();
    await all.world.clock.pass(0);
    assert.deepEqual(all.world.letGoOf, ['db2']);
  });

  test('that fail do not keep another server waiting', async () => {
    const servers = {
      db1: {},
      db2: { facts: { readOnly: true } },
      db3: { from: 'db1', hears: 'silent' },
    } as const;
    const all = governed({ servers });
    all.world.refusal = new Error('x');
    await look(all);
    assert.deepEqual(all.world.done.sort(), ['follow db2', 'reconnect db3']);
    await look(all);
    assert.equal(all.world.done.length, 2, 'both are left alone for a while');
    assert.deepEqual(
      all.world.told.filter((line) => line.startsWith('care.failed')),
      ['care.failed db2', 'care.failed db3'],
    );
  });

  test('whose time has not come are tried again without a word, unless that lasts', async () => {
    const all = governed({ servers: { db1: {}, db2: { facts: { readOnly: true } } } });
    all.world.refusal = new NotYet('not yet');
    const failed = (): number => all.world.told.filter((line) => line.startsWith('care.failed')).length;
    for (let tries = 1; tries <= 6; tries++) {
      assert.deepEqual([all.world.done.length, failed()], [tries - 1, 0]);
      all.world.clock.advance(30_000);
      await look(all);
    }
    assert.equal(failed(), 1);
  });

  test('a primary without replicas is let go on alone after a time, counted from when they were gone', async () => {
    const semiSync = { failover: 'auto', semiSync: 'require', holdTimeoutMs: 10_000 } as const;
    const servers = { db1: { waitsFor: 0 }, db2: { has: 'rubbish', facts: { readOnly: true } } };
    const all = governed({ servers }, { ...semiSync, rejoin: 'off' });
    all.world.agesMs = () => all.world.clock.nowMs();
    await look(all);
    all.world.clock.jump(10_000);
    await look(all);
    assert.deepEqual(all.world.done, []);
    all.world.clock.jump(1);
    await look(all);
    assert.deepEqual(all.world.done, ['go_alone db1']);
  });
});

suite('what only an old primary has', () => {
  const DIVERGED: ClusterDescription = {
    servers: { db1: {}, db2: { has: '0-1-100', facts: { readOnly: true, history: '0-1-100,0-2-101' } } },
  };

  test('is told and saved once', async () => {
    const all = governed(DIVERGED);
    for (let count = 0; count < 3; count++) await look(all);
    assert.match(all.world.diverged.get('db2')?.extras ?? '', /^0-2-101/);
    assert.deepEqual(all.world.done, ['save db2']);
    assert.equal(all.world.told.filter((line) => line === 'rejoin.diverged db2').length, 1);
    assert.deepEqual(
      all.governor.divergences.map(({ backend }) => backend),
      ['db2'],
    );
  });

  test('is written down once, and again when it is over', async () => {
    const all = governed(DIVERGED);
    for (let count = 0; count < 3; count++) await look(all);
    assert.deepEqual(
      [all.world.writes, all.world.decisions.diverged?.map(({ backend }) => backend)],
      [1, ['db2']],
    );
    all.world.description = WELL;
    for (let count = 0; count < 3; count++) await look(all);
    assert.deepEqual([all.world.writes, all.world.decisions.diverged], [2, []]);
  });

  test('is known to the next process, which has nobody to compare it with: it promotes nobody who has that', async () => {
    const world = new FakeWorld();
    world.decisions = { diverged: [{ backend: 'db2', extras: '0-2-101' }] };
    const servers = { ...DOWN_SERVERS, db1: { down: 'x', facts: null } };
    world.description = { servers, cluster: { failover: 'auto' } };
    const all = { world, governor: new Governor(clusterConfig({ failover: 'auto' }), world) };
    world.survey = () => ({ ...surveyOf(world.description), diverged: all.governor.divergences });
    await look(all);
    assert.deepEqual([world.done, world.diagnosis], [['save db2'], 'NoSafeCandidate']);
    world.decisions = {};
    const forgetful = { world, governor: new Governor(clusterConfig({ failover: 'auto' }), world) };
    world.survey = () => ({ ...surveyOf(world.description), diverged: forgetful.governor.divergences });
    await look(forgetful);
    assert.deepEqual(world.done, ['save db2', 'automatic failover db2']);
  });

  test('what replicas have written that the primary has as well is written down once, for the next process', async () => {
    const own = { history: '0-1-100,0-2-90', ownTransactions: '0-2-90' };
    const db1 = { has: '0-1-100', facts: { history: '0-1-100,0-2-90' } };
    const description = (db2: ServerDescription, servers = { db1 }): ClusterDescription => ({
      servers: { ...servers, db2: { from: 'db1', has: '0-1-100', ...db2 } },
    });
    const all = governed(description({ facts: own }));
    all.world.survey = () => ({
      ...surveyOf(all.world.description),
      ownWrites: all.world.ownWrites.at(-1)?.of ?? {},
    });
    const known = [{ epoch: 4, of: { db2: '0-2-90' } }];
    for (let count = 0; count < 3; count++) await look(all);
    assert.deepEqual(all.world.ownWrites, known);
    const written = { history: '0-1-100,0-2-101', ownTransactions: '0-2-101' };
    // What the primary has not does not count, nor what it cannot be asked for.
    all.world.description = description({ facts: written });
    await look(all);
    all.world.description = description({ facts: written }, { db1: { ...db1, down: 'x' } as typeof db1 });
    await look(all);
    assert.deepEqual(all.world.ownWrites, known);
    all.world.description = { ...description({}), remembered: 'db2' };
    await look(all);
    assert.deepEqual(all.world.ownWrites.at(-1)?.of.db2, undefined);
  });

  test('which replicas were gone for long is written down, for a process that finds both dead', async () => {
    const down = { from: 'db1', down: 'x', answers: true } as const;
    const alone = { primarySide: { enabled: false, live: false } };
    const reign = { askedMs: SEEN_MS, accountedSinceMs: SEEN_MS - 60_000 };
    const description = { alone: true, reign, servers: { db1: alone, db2: down } };
    const all = governed(description, { semiSync: 'require' });
    await look(all);
    assert.deepEqual(all.world.done, ['long gone: db2']);
    all.world.description = { ...all.world.description, longGone: ['db2'] };
    await look(all);
    all.world.description = {
      ...all.world.description,
      servers: { ...all.world.description.servers, db2: { from: 'db1', answers: false } },
    };
    await look(all);
    assert.deepEqual(all.world.done.slice(0, 2), ['long gone: db2', 'long gone: ']);
  });

  test('is undone when it is only of dbproxy itself, unless rejoin = report', async () => {
    const all = governed(DIVERGED);
    all.world.isOnlyOurs = true;
    await look(all);
    await look(all);
    assert.deepEqual(all.world.done, ['save db2', 'discard db2']);
    const reporting = governed(DIVERGED, { rejoin: 'report' });
    reporting.world.isOnlyOurs = true;
    await look(reporting);
    assert.deepEqual(reporting.world.done, ['save db2']);
  });

  test('is told once as saved, though it is looked at again because it could not be brought back', async () => {
    const all = governed(DIVERGED);
    const told = (): number => all.world.told.filter((one) => one === 'rejoin.saved db2').length;
    all.world.isOnlyOurs = true;
    all.world.discardRefusal = new Error('it does not follow');
    await look(all);
    all.world.clock.jump(60_000);
    await look(all);
    assert.deepEqual(all.world.done, ['save db2', 'discard db2', 'save db2', 'discard db2']);
    assert.equal(told(), 1);
    all.world.savedAs = 'in another file';
    all.world.clock.jump(60_000);
    await look(all);
    assert.equal(told(), 2);
  });

  test('is left alone with rejoin = off, but told', async () => {
    const all = governed(DIVERGED, { rejoin: 'off' });
    await look(all);
    assert.deepEqual(all.world.done, []);
    assert.ok(all.world.told.includes('rejoin.diverged db2'));
  });

  test('is saved later when it could not be at first', async () => {
    const all = governed(DIVERGED);
    all.world.refusal = new Error('no space left on device');
    await look(all);
    all.world.refusal = null;
    all.world.clock.jump(60_000);
    await look(all);
    assert.deepEqual(all.world.done, ['save db2', 'save db2']);
    assert.ok(all.world.told.includes('rejoin.saved db2'));
  });
});
