import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import { ControlPlane, type ControlOptions } from '../../../src/failover/control.ts';
import type { JournalEntry } from '../../../src/failover/journal.ts';
import { FIRST_RECORD, type HealthRecord } from '../../../src/monitor/detector.ts';
import type { Monitor } from '../../../src/monitor/monitor.ts';
import { EMPTY_STATE } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { memberFrom, surveyOf } from '../../support/clusters.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** What a control plane is given of a world that has hardly anything. */
function optionsOf(records: Map<string, HealthRecord>, clock: FakeClock): ControlOptions {
  const clusters = [clusterConfig()];
  const config = {
    clusters,
    get backends() {
      return [...records.keys()].map((name) => backendConfig(name));
    },
  };
  const recordOf = (name: string): HealthRecord => {
    const record = records.get(name);
    if (record === undefined) throw new TypeError(`no such backend: ${name}`);
    return record;
  };
  const entries: JournalEntry[] = [];
  const nobody = async (): Promise<never> => Promise.reject(new Error('no server here'));
  return {
    config,
    clock,
    log: silentLog,
    store: new TopologyStore(config, { load: () => EMPTY_STATE, save: async () => undefined }),
    monitor: { recordOf, arbiterSight: () => ({ vote: null }) } as unknown as Monitor,
    journal: { entries: () => entries, append: async (entry) => void entries.push(entry) },
    lost: { save: nobody, discard: nobody },
    stateDir: '/nowhere',
    openServer: nobody,
    holdWrites: nobody,
    tell: () => undefined,
    onEvent: () => undefined,
  };
}

/** A control plane that only knows who there is, and who answers. */
function controlOf(records: Map<string, HealthRecord>, clock = new FakeClock()): ControlPlane {
  return new ControlPlane(optionsOf(records, clock));
}

test('what was being done at a server that is dropped by now keeps no promotion', async () => {
  const records = new Map<string, HealthRecord>([
    ['db1', { ...FIRST_RECORD, reach: 'up' }],
    ['db2', { ...FIRST_RECORD, reach: 'down' }],
  ]);
  const control = controlOf(records);
  const world = control.rejoinWorld('main');
  void world.turn.act('db2', () => new Promise(() => undefined));
  assert.equal(await control.overtakeChores('main'), false);
  records.delete('db2');
  assert.equal(await control.overtakeChores('main'), false);
});

test('what is being done at a server in doubt is waited for, until it ends or the server is down', async () => {
  const clock = new FakeClock();
  const records = new Map<string, HealthRecord>([['db1', { ...FIRST_RECORD, reach: 'suspect' }]]);
  const control = controlOf(records, clock);
  let end: () => void = () => undefined;
  const { turn } = control.rejoinWorld('main');
  const act = turn.act('db1', () => new Promise<void>((resolve) => (end = resolve)));
  let hasWaited: boolean | null = null;
  const ends = control.overtakeChores('main').then((waited) => (hasWaited = waited));
  await clock.pass(2_000);
  assert.equal(hasWaited, null);
  end();
  await Promise.all([act, ends]);
  assert.equal(hasWaited, true);

  const another = control.rejoinWorld('main');
  void another.turn.act('db1', () => new Promise(() => undefined));
  const given = control.overtakeChores('main');
  await clock.pass(500);
  records.set('db1', { ...FIRST_RECORD, reach: 'down' });
  await clock.pass(500);
  assert.equal(await given, true);
  assert.equal(clock.pending, 0);
});

test('what is taken up in one cluster keeps no governor of another one waiting, nor the beats there', async () => {
  const clock = new FakeClock();
  const other = clusterConfig({ name: 'other' });
  const records = new Map([
    ['db1', memberFrom('db1').record],
    ['db2', memberFrom('db2', { from: 'db1' }).record],
  ]);
  const options = optionsOf(records, clock);
  const { clusters } = options.config;
  const backends = [
    ...options.config.backends,
    ...['db4', 'db5'].map((name) => backendConfig(name, { cluster: 'other' })),
  ];
  records.set('db4', memberFrom('db4', { facts: { readOnly: true } }).record);
  records.set('db5', memberFrom('db5', { down: 'connection refused' }).record);
  const shape = { kind: 'switchover', waitsForReplica: false } as const;
  const decision = {
    ...{ shape, target: 'db5', old: 'db4', only: 'db5', force: false, because: 'a test' },
    ...{ isAutomatic: false, oldWasReadOnly: false },
  };
  const opened = { run: 1, cluster: 'other', wallMs: 0, event: 'opened', epoch: 4, decision } as const;
  const monitor = {
    recordOf: (name: string) => records.get(name)!,
    arbiterSight: () => surveyOf({ servers: {} }).arbiters,
    hasStalled: false,
    rejudge: () => undefined,
    checkNow: async (name: string) =>
      name > 'db3' ? new Promise(() => undefined) : { ...records.get(name)!, askedMs: clock.nowMs() },
  };
  const config = { clusters: [...clusters, other], backends };
  const store = new TopologyStore(config, { load: () => EMPTY_STATE, save: async () => undefined });
  const control = new ControlPlane({
    ...options,
    config,
    store,
    monitor: monitor as unknown as Monitor,
    journal: { entries: () => [opened], append: () => Promise.resolve() },
  });
  await store.recordPromotion('main', 'db1');
  await store.takeInHand('main', ['db2']);
  control.holdUnfinished();
  void control.start();
  await clock.pass(0);
  assert.deepEqual(control.promotions.underWay, ['db5']);
  assert.deepEqual(store.decisionsOf('main').inHand, []);
  assert.deepEqual([control.mayBeat('main') !== null, control.mayBeat('other')], [true, null]);
});

test('who is in hand is let go when it is seen to run by a look of now, and nothing began meanwhile', async () => {
  const ASKED_BEFORE_MS = -1;
  const cases = [
    // title; what the look finds, whether it began after the decision, whether a promotion begins; who stays in hand
    ['it runs', 'receives', true, false, []],
    ['it was stopped since it was seen last', 'stopped', true, false, ['db2']],
    ['it does not answer now', 'receives', false, false, ['db2']],
    ['a promotion has begun meanwhile', 'receives', true, true, ['db2']],
  ] as const;
  for (const [title, hears, isAnswered, isOvertaken, inHand] of cases) {
    const clock = new FakeClock();
    const db2 = { from: 'db1', record: { askedMs: ASKED_BEFORE_MS } };
    const records = new Map([
      ['db1', memberFrom('db1').record],
      ['db2', memberFrom('db2', db2).record],
    ]);
    const options = optionsOf(records, clock);
    const { store } = options;
    let looks = 0;
    const monitor = {
      recordOf: (name: string) => records.get(name)!,
      arbiterSight: () => surveyOf({ servers: {} }).arbiters,
      hasStalled: false,
      checkNow: async (name: string) => {
        looks++;
        if (isOvertaken) void control.overtakeChores('main');
        if (isAnswered) {
          const record = { askedMs: clock.nowMs() };
          records.set(name, memberFrom(name, { ...db2, hears, record }).record);
        }
        return records.get(name)!;
      },
    };
    const control: ControlPlane = new ControlPlane({ ...options, monitor: monitor as unknown as Monitor });
    await store.recordPromotion('main', 'db1');
    await store.takeInHand('main', ['db2']);
    await control.start();
    await clock.pass(0);
    await control.stop();
    assert.deepEqual(store.decisionsOf('main').inHand, inHand, title);
    assert.ok(looks > 0, title);
  }
});
