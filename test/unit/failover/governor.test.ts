import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import type { Wish } from '../../../src/failover/check.ts';
import type { Chore } from '../../../src/failover/chores.ts';
import { Governor, type GovernorWorld } from '../../../src/failover/governor.ts';
import { surveyOf, type ClusterDescription, type ServerDescription } from '../../support/clusters.ts';
import { clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A world that does what it is told, unless a test makes it refuse, and remembers what that was. */
class FakeWorld implements GovernorWorld {
  readonly clock = new FakeClock();
  readonly log = silentLog;
  description: ClusterDescription = WELL;
  decisions: ReturnType<GovernorWorld['decisionsOf']> = {};
  acts = true;
  busy = false;
  /** What went out, in order: promotions, chores, epochs, decisions. */
  readonly done: string[] = [];
  readonly told: string[] = [];
  stopped: string | null = null;
  diagnosis = '';
  refusal: Error | null = null;
  /** What an old primary alone has is of dbproxy itself. */
  isOnlyOurs = false;
  /** While it is there, work does not end. */
  gate: Promise<void> | null = null;

  survey(): ReturnType<GovernorWorld['survey']> {
    return { ...surveyOf(this.description), nowMs: 100_000 };
  }

  mayAct(): boolean {
    return this.acts;
  }

  decisionsOf(): ReturnType<GovernorWorld['decisionsOf']> {
    return this.decisions;
  }

  async adoptEpoch(cluster: string, backend: string, epoch: number): Promise<void> {
    await this.#work(`adopt ${cluster} ${backend} ${epoch}`);
  }

  async decide(cluster: string, change: object): Promise<void> {
    await this.#work(`decide ${cluster} ${JSON.stringify(change)}`);
    this.decisions = { ...this.decisions, ...change };
  }

  stopWrites(_cluster: string, reason: string | null): void {
    this.stopped = reason;
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
    return { detail: 'in a file', isOnlyOurs: this.isOnlyOurs };
  }

  async discardLost(_cluster: string, backend: string): Promise<void> {
    await this.#work(`discard ${backend}`);
  }

  tell(_level: string, event: string, subject: string): void {
    this.told.push(`${event} ${subject}`);
  }

  readonly promotions = {
    promote: async (wish: Wish): Promise<[]> => {
      await this.#work(`${wish.as} ${wish.target}`);
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

suite('a failover', () => {
  test('is begun when the primary is down, and when it ended is kept', async () => {
    const all = governed(DOWN);
    await look(all);
    assert.deepEqual(all.world.done, ['failover db2', 'decide main {"failoverWallMs":1000}']);
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
    assert.equal(world.done[0], 'failover db2');
  });

  test('is not begun by a clock that went back, and no such clock keeps it from ever being begun', async () => {
    const all = governed(DOWN, { failoverCooldownMs: 600_000 });
    const { world } = all;
    world.decisions = { failoverWallMs: world.clock.wallMs() + 365 * 24 * 3600 * 1000 };
    await look(all);
    assert.deepEqual(world.done, []);
    world.clock.jump(600_000);
    await look(all);
    assert.equal(world.done[0], 'failover db2');
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
    assert.deepEqual(all.world.done, ['failover db2']);
    open();
    await all.world.clock.pass(0);
    assert.equal(all.world.done.length, 2);
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

  test('is not begun once the governor is closed', async () => {
    const all = governed(DOWN);
    all.governor.start();
    all.governor.close();
    const before = all.world.done.length;
    await all.world.clock.pass(10_000);
    assert.equal(all.world.clock.pending, 0);
    assert.equal(all.world.done.length - before, 1, 'only what had begun came to its end');
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
    await look(all);
    await look(all);
    assert.deepEqual(all.world.done, ['adopt main db2 5', 'adopt main db2 5']);
    assert.ok(all.world.told.includes('cluster.epoch_not_adopted main'));
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

  test('a primary without replicas is let go on alone after a time, counted from when they were gone', async () => {
    const semiSync = { failover: 'auto', semiSync: 'require', holdTimeoutMs: 10_000 } as const;
    const servers = { db1: { waitsFor: 0 }, db2: { has: 'rubbish', facts: { readOnly: true } } };
    const all = governed({ servers }, { ...semiSync, rejoin: 'off' });
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
    assert.deepEqual(all.world.done, ['save db2']);
    assert.equal(all.world.told.filter((line) => line === 'rejoin.diverged db2').length, 1);
    assert.deepEqual(
      all.governor.divergences.map(({ backend }) => backend),
      ['db2'],
    );
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
