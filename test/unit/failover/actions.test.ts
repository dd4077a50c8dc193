import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { PromotionActions } from '../../../src/failover/actions.ts';
import type { StepReport } from '../../../src/failover/steps/step-report.ts';
import type { Decision } from '../../../src/failover/check.ts';
import type { PromotionKind, StepName } from '../../../src/failover/plan.ts';
import type { PromotionWorld } from '../../../src/failover/steps/world.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

type Fails = (act: string) => 'before' | 'after' | null;

interface Scene {
  readonly cluster: FakeCluster;
  readonly actions: PromotionActions;
  readonly process: FakeProcess;
  /** Does a step while time passes. */
  do(step: StepName): Promise<StepReport>;
}

function scene(
  kind: PromotionKind,
  options: {
    config?: Partial<ClusterConfig>;
    force?: boolean;
    fails?: Fails;
    change?: (cluster: FakeCluster) => void;
  } = {},
): Scene {
  const cluster = new FakeCluster(['db1', 'db2', 'db3'], options.config);
  options.change?.(cluster);
  const [old, target] = cluster.backends;
  const decision: Decision = {
    kind,
    old: kind === 'adopt' ? null : old!,
    target: target!,
    followers: [],
    only: 'db2',
    force: options.force ?? false,
    isAutomatic: false,
  };
  const process = new FakeProcess(cluster, Infinity, options.fails);
  const actions = new PromotionActions(process.world, cluster.cluster, decision);
  return {
    cluster,
    actions,
    process,
    async do(step) {
      let isOver = false;
      const doing = actions.do(step).finally(() => (isOver = true));
      doing.catch(() => undefined);
      for (let round = 0; !isOver; round++) {
        assert.ok(round < 5_000, 'it must end');
        await cluster.clock.pass(20);
      }
      return doing;
    },
  };
}

/** Fails the first act of this name. */
function firstOf(name: string, when: 'before' | 'after'): Fails {
  let failed = false;
  return (act) => {
    if (failed || act !== name) return null;
    failed = true;
    return when;
  };
}

const isDown = (cluster: FakeCluster): void => void (cluster.server('db1').isDown = true);

suite('the new primary begins a new binary log', () => {
  test('before anybody waits', async () => {
    const { actions, cluster, process } = scene('switchover');
    const acts: string[] = [];
    cluster.onAct = (act) => void acts.push(`${act}, ${process.held.size} held`);
    await actions.do('hold');
    assert.equal(acts.at(-1), 'begin new log db2, 0 held');
    assert.equal(process.held.size, 1);
  });

  test('or goes on in the one it has, and the switchover with it', async () => {
    const { actions } = scene('switchover', { fails: firstOf('begin new log db2', 'before') });
    const { result, detail } = await actions.do('hold');
    assert.equal(result, 'done');
    assert.match(detail, /^statements that need the primary wait; db2 could not begin a new binary log/);
  });

  test('or does not answer any more: then nobody is made to wait', async () => {
    const one = scene('switchover', { fails: firstOf('begin new log db2', 'before') });
    one.cluster.server('db2').isDown = true;
    await assert.rejects(one.do('hold'), /db2: connection refused/);
    assert.equal(one.process.held.size, 0);
  });

  test('in a failover once nobody receives any more, where somebody is left to follow it', async () => {
    for (const isAlone of [false, true]) {
      const change = (cluster: FakeCluster): void => {
        isDown(cluster);
        cluster.server('db3').isDown = isAlone;
      };
      const one = scene('failover', { change });
      await one.actions.do('hold');
      assert.equal(one.cluster.server('db2').logFiles, 1);
      await one.do('catch_up');
      assert.equal(one.cluster.server('db2').logFiles, isAlone ? 1 : 2);
    }
  });

  test('not where it takes over from nobody', async () => {
    const { actions, cluster } = scene('adopt');
    await actions.do('hold');
    assert.equal(cluster.server('db2').logFiles, 1);
  });
});

suite('a primary that a crash has cut short', () => {
  const isCutShort = (cluster: FakeCluster): void => {
    Object.assign(cluster.server('db2'), { source: null, position: '0-2-100', readOnly: true });
    Object.assign(cluster.server('db3'), { source: 'db2', position: '0-2-101' });
    Object.assign(cluster.server('db1'), { source: 'db2', position: '0-2-100', readOnly: true });
    cluster.state = { ...cluster.state, primary: 'db2' };
  };

  test('does not take writes by itself', async () => {
    const all = scene('adopt', { change: isCutShort });
    await assert.rejects(all.do('make_writable'), /db3 received what it has not any more/);
    assert.deepEqual([all.cluster.diverged, all.cluster.server('db2').readOnly], [[], true]);
  });

  test('takes them with FORCE, and who has more than it is known for good before it does', async () => {
    const all = scene('adopt', { change: isCutShort, force: true });
    const wasReadOnly: boolean[] = [];
    all.cluster.onAct = (act) => {
      if (act === 'note diverged') wasReadOnly.push(all.cluster.server('db2').readOnly);
    };
    await all.do('make_writable');
    assert.deepEqual(all.cluster.diverged, [{ backend: 'db3', extras: '0-2-101', kind: 'forgotten' }]);
    assert.deepEqual([wasReadOnly, all.cluster.server('db2').readOnly], [[true], false]);
  });

  test('and stays read-only when that cannot be written down', async () => {
    const fails: Fails = (act) => (act === 'note diverged' ? 'before' : null);
    const all = scene('adopt', { change: isCutShort, force: true, fails });
    await assert.rejects(all.do('make_writable'));
    assert.equal(all.cluster.server('db2').readOnly, true);
  });
});

suite('taking back a step that failed', () => {
  for (const when of ['before', 'after'] as const) {
    test(`the record is written anew, when the disk has it and when it has not (${when})`, async () => {
      const { actions, cluster } = scene('switchover', { fails: firstOf('record', when) });
      await assert.rejects(actions.do('record'));
      assert.match(await actions.undo('record'), /db1 is the primary of epoch/);
      assert.equal(cluster.state.primary, 'db1');
    });
  }

  test('a record that was never tried is left alone', async () => {
    const { actions, cluster } = scene('switchover');
    assert.match(await actions.undo('record'), /had not been changed/);
    assert.equal(cluster.state.epoch, 4);
  });

  test('a fence that never learnt whether the old primary was read-only makes nothing writable', async () => {
    const { actions } = scene('switchover', { change: isDown });
    await assert.rejects(actions.do('fence'), /connection refused/);
    assert.equal(await actions.undo('fence'), 'db1 had not been touched');
  });

  test('an old primary that was read-only before stays so', async () => {
    const change = (cluster: FakeCluster): void => void (cluster.server('db1').readOnly = true);
    const { actions, cluster } = scene('switchover', { change });
    await actions.do('fence');
    assert.match(await actions.undo('fence'), /read-only, as it was before/);
    assert.deepEqual(cluster.writers, []);
  });

  test('a new primary that could not even be asked is not called a second writer', async () => {
    const change = (cluster: FakeCluster): void => void (cluster.server('db2').isDown = true);
    const { actions } = scene('switchover', { change });
    await assert.rejects(actions.do('make_writable'), /connection refused/);
    assert.equal(await actions.undo('make_writable'), 'db2 had not been made writable');
  });

  test('one that may be writable and does not answer any more is, and says what to do', async () => {
    const { actions, cluster } = scene('switchover', { fails: firstOf('make writable db2', 'after') });
    await actions.do('fence');
    await actions.do('record');
    await assert.rejects(actions.do('make_writable'));
    cluster.server('db2').isDown = true;
    await assert.rejects(actions.undo('make_writable'), /db2 may be writable .*db1 is left as it is/);
  });

  test('a replica that has forgotten its source is pointed at it anew', async () => {
    const { actions, cluster } = scene('switchover', { fails: firstOf('note epoch db2', 'before') });
    await actions.do('fence');
    await actions.do('stop_replication');
    await assert.rejects(actions.do('make_writable'));
    assert.equal(cluster.server('db2').source, null);
    await actions.undo('stop_replication');
    assert.deepEqual([cluster.server('db2').source, cluster.server('db2').receives], ['db1', true]);
  });

  test('a new primary that was restarted meanwhile, and starts writable, takes no writes when it follows again', async () => {
    const { actions, cluster } = scene('switchover', { fails: firstOf('note epoch db2', 'before') });
    await actions.do('fence');
    await actions.do('stop_replication');
    await assert.rejects(actions.do('make_writable'));
    cluster.server('db2').readOnly = false;
    await actions.undo('stop_replication');
    assert.deepEqual([cluster.server('db2').source, cluster.server('db2').readOnly], ['db1', true]);
    await actions.undo('fence');
    assert.deepEqual([cluster.writers, cluster.violations], [['db1'], []]);
  });

  test('receivers that were stopped receive again', async () => {
    const { actions, cluster } = scene('failover', { change: isDown });
    await actions.do('stop_receivers');
    assert.deepEqual(cluster.state.inHand, ['db2', 'db3']);
    assert.equal(cluster.server('db3').receives, false);
    await actions.undo('stop_receivers');
    assert.equal(cluster.server('db3').receives, true);
  });

  test('one whose applier was stopped is left so while its source is gone: it may have what nobody else has', async () => {
    const change = (cluster: FakeCluster): void => {
      isDown(cluster);
      Object.assign(cluster.server('db3'), { isApplierStopped: true, isDrained: false });
    };
    const { actions, cluster } = scene('failover', { change });
    await actions.do('stop_receivers');
    await assert.rejects(actions.undo('stop_receivers'), /db3: it is left stopped, as a start might throw/);
    assert.deepEqual([cluster.server('db2').receives, cluster.server('db3').receives], [true, false]);
    cluster.server('db1').isDown = false;
    await actions.undo('stop_receivers');
    assert.equal(cluster.server('db3').receives, true);
  });
});

suite('a new primary', () => {
  test('knows its epoch before it takes a write', async () => {
    const { actions, cluster } = scene('switchover');
    await actions.do('fence');
    await actions.do('record');
    cluster.onAct = (act) => {
      if (act !== 'make writable db2') return;
      assert.deepEqual(cluster.server('db2').epochs, [{ epoch: 5, backend: 'db2' }]);
    };
    await actions.do('make_writable');
    assert.deepEqual([cluster.writers, cluster.violations], [['db2'], []]);
  });

  test('that cannot write its epoch down stays read-only', async () => {
    const { actions, cluster } = scene('switchover', { fails: firstOf('note epoch db2', 'before') });
    await actions.do('fence');
    await actions.do('record');
    await assert.rejects(actions.do('make_writable'), /note epoch db2 failed/);
    assert.deepEqual(cluster.writers, []);
  });

  test('does not wait for replicas that it has not got yet', async () => {
    const change = (cluster: FakeCluster): void => {
      isDown(cluster);
      cluster.server('db2').waits = true;
    };
    const { actions, cluster } = scene('failover', { config: { semiSync: 'require' }, change });
    await actions.do('catch_up');
    assert.equal(cluster.server('db2').waits, false);
  });
});

/** What happened since the election, or since the old primary was fenced. */
suite('right before the new primary takes writes', () => {
  const takenBack: [string, PromotionKind, (cluster: FakeCluster) => void, RegExp][] = [
    [
      'the old one can be written to again',
      'switchover',
      ({ servers }) => (servers[0]!.readOnly = false),
      /db1 can be written to again/,
    ],
    [
      'the old one was written to by who may',
      'switchover',
      ({ servers }) => (servers[0]!.position = '0-1-101'),
      /db1 has been written to since it was made read-only: it has 0-1-101, and db2 0-1-100/,
    ],
    [
      'the old one is gone, and a replica has more',
      'switchover',
      ({ servers }) => {
        servers[0]!.isDown = true;
        servers[2]!.position = '0-1-101';
      },
      /meanwhile db3 has 0-1-101, which db2 has not: db1 may have acknowledged that/,
    ],
    [
      'a replica has received more',
      'failover',
      ({ servers }) => Object.assign(servers[2]!, { receives: true, position: '0-1-101' }),
      /meanwhile db3 has 0-1-101, which db2 has not/,
    ],
    [
      'a replica that may acknowledge does not answer any more',
      'failover',
      ({ servers }) => (servers[2]!.isDown = true),
      /db3 \(db3: connection refused\) cannot be asked any more, and may acknowledge what db1 writes/,
    ],
  ];
  for (const [what, kind, happens, why] of takenBack) {
    for (const act of ['record', 'note epoch db2']) {
      test(`${what}: a ${kind} is taken back (after ${act})`, async () => {
        const change = kind === 'failover' ? isDown : undefined;
        const { actions, cluster } = scene(kind, {
          config: { semiSync: 'require' },
          ...(change !== undefined && { change }),
        });
        cluster.server('db1').waits = true;
        await actions.do(kind === 'failover' ? 'stop_receivers' : 'fence');
        cluster.onAct = (done) => void (done === act && happens(cluster));
        await actions.do('record');
        await assert.rejects(actions.do('make_writable'), why);
        assert.ok(!cluster.writers.includes('db2'));
      });
    }
  }

  test('a replica that receives again is stopped, and as it has no more, the failover goes on', async () => {
    const { actions, cluster } = scene('failover', { config: { semiSync: 'require' }, change: isDown });
    cluster.server('db1').waits = true;
    await actions.do('stop_receivers');
    await actions.do('record');
    cluster.server('db3').receives = true;
    await actions.do('make_writable');
    assert.deepEqual([cluster.writers, cluster.server('db3').receives], [['db2'], false]);
  });

  test('a replica that was not there when the others were stopped receives again when all is taken back', async () => {
    const { actions, cluster } = scene('failover', { config: { semiSync: 'require' }, change: isDown });
    cluster.server('db1').waits = true;
    cluster.server('db3').isDown = true;
    await actions.do('stop_receivers');
    await actions.do('record');
    Object.assign(cluster.server('db3'), { isDown: false, position: '0-1-101' });
    await assert.rejects(actions.do('make_writable'), /meanwhile db3 has 0-1-101/);
    assert.deepEqual([cluster.server('db3').receives, cluster.state.inHand], [false, ['db3']]);
    await actions.undo('stop_receivers');
    assert.equal(cluster.server('db3').receives, true);
  });

  const goesOn: [string, boolean, Partial<ClusterConfig>][] = [
    ['FORCE', true, { semiSync: 'require' }],
    ['semi_sync = prefer', false, { semiSync: 'prefer' }],
  ];
  for (const [what, force, config] of goesOn) {
    test(`nobody is asked in a failover with ${what}`, async () => {
      const { actions, cluster } = scene('failover', { config, force, change: isDown });
      await actions.do('stop_receivers');
      await actions.do('record');
      cluster.server('db3').position = '0-1-101';
      await actions.do('make_writable');
      assert.deepEqual(cluster.writers, ['db2']);
    });
  }

  test('what may have been written to before is the primary, whatever others have', async () => {
    const { actions, cluster } = scene('switchover', { fails: firstOf('make writable db2', 'after') });
    await actions.do('fence');
    await actions.do('record');
    await assert.rejects(actions.do('make_writable'));
    cluster.server('db1').position = '0-1-101';
    await actions.do('make_writable');
    assert.deepEqual(cluster.writers, ['db2']);
  });
});

suite('an old primary that is to be replaced without being asked', () => {
  test('is not waited for when it is gone', async () => {
    const { actions } = scene('failover', { change: isDown });
    const { result, detail } = await actions.do('fence');
    assert.deepEqual([result, /fenced when it comes back/.test(detail)], ['skipped', true]);
  });

  test('is made read-only when it answers after all', async () => {
    const { actions, cluster } = scene('failover');
    assert.equal((await actions.do('fence')).result, 'done');
    assert.deepEqual(cluster.writers, []);
  });

  test('that answers and cannot be fenced stops the failover', async () => {
    const { actions } = scene('failover', { fails: firstOf('make read-only db1', 'before') });
    await assert.rejects(actions.do('fence'), /make read-only db1 failed/);
  });

  test('unless it can acknowledge nothing, as semi_sync = require and no replica receives from it', async () => {
    const { actions } = scene('failover', {
      config: { semiSync: 'require' },
      fails: firstOf('make read-only db1', 'before'),
    });
    const { result, detail } = await actions.do('fence');
    assert.deepEqual([result, /it can acknowledge nothing/.test(detail)], ['skipped', true]);
  });
});

suite('a new primary that was restarted while it applied what it had received', () => {
  const restartedAfterElection = async (force: boolean): Promise<Scene> => {
    const change = (cluster: FakeCluster): void => {
      isDown(cluster);
      cluster.server('db2').position = '0-1-101';
    };
    const all = scene('failover', { force, change });
    await all.actions.do('elect');
    all.cluster.server('db2').position = '0-1-100';
    return all;
  };

  test('has nothing left to apply, and is not taken for one that has applied all', async () => {
    const all = await restartedAfterElection(false);
    await assert.rejects(
      all.do('catch_up'),
      /db2 has lost what it had received and not applied.*elected with 0-1-101.* and has .*0-1-100/,
    );
  });

  test('is promoted all the same with FORCE', async () => {
    const all = await restartedAfterElection(true);
    assert.equal((await all.do('catch_up')).result, 'done');
  });
});

suite('what had been received and is not applied in time', () => {
  const undrained = (cluster: FakeCluster): void => {
    isDown(cluster);
    cluster.server('db2').isDrained = false;
  };

  test('stops the failover with failover_data = wait', async () => {
    const all = scene('failover', {
      config: { failoverData: 'wait', catchUpTimeoutMs: 2_000 },
      change: undrained,
    });
    await assert.rejects(
      all.do('catch_up'),
      /not applied all it received within catch_up_timeout \(2000 ms\)/,
    );
  });

  for (const over of [{ config: { failoverData: 'lose_with_report' } }, { force: true }] as const) {
    test(`is lost with a report: ${JSON.stringify(over)}`, async () => {
      const config = { catchUpTimeoutMs: 2_000, ...('config' in over ? over.config : {}) };
      const all = scene('failover', { ...over, config, change: undrained });
      const { detail } = await all.do('catch_up');
      assert.match(detail, /promoted without that/);
      assert.equal(all.actions.notes.loss, 'what db2 had received and not applied');
    });
  }
});

suite('semi-synchronous replication of the new primary', () => {
  const promoted = (cluster: FakeCluster): void => {
    isDown(cluster);
    Object.assign(cluster.server('db2'), { source: null, readOnly: false });
    cluster.state = { ...cluster.state, primary: 'db2', alone: true };
  };

  test('is on as soon as somebody follows it, and it is not alone', async () => {
    const change = (cluster: FakeCluster): void => {
      promoted(cluster);
      cluster.server('db3').source = 'db2';
    };
    const { actions, cluster } = scene('failover', { config: { semiSync: 'require' }, change });
    assert.equal((await actions.do('semi_sync')).result, 'done');
    assert.deepEqual([cluster.server('db2').waits, cluster.state.alone], [true, false]);
  });

  test('is off while nobody follows it; that it goes on alone is on disk', async () => {
    const change = (cluster: FakeCluster): void => {
      promoted(cluster);
      cluster.server('db3').isDown = true;
      cluster.state = { ...cluster.state, alone: false };
    };
    const { actions, cluster } = scene('failover', { config: { semiSync: 'require' }, change });
    const { result, detail } = await actions.do('semi_sync');
    assert.deepEqual([result, cluster.server('db2').waits, cluster.state.alone], ['skipped', false, true]);
    assert.match(detail, /acknowledges writes alone/);
  });
});

test('workers have the time that leaving takes, however short hold_timeout is', async () => {
  const cases = [
    // kind, hold_timeout, transaction_grace; the grace, how long one may take to begin, and in all
    ['switchover', 10_000, 5_000, 5_000, 7_000, 10_000],
    ['switchover', 1_000, 5_000, 500, 2_500, 2_500],
    ['switchover', 4_000, 300, 300, 2_300, 4_000],
    ['failover', 100, 5_000, 0, 2_000, 2_000],
    ['failover', 10_000, 5_000, 0, 2_000, 10_000],
  ] as const;
  for (const [kind, holdTimeoutMs, transactionGraceMs, ...expected] of cases) {
    const cluster = new FakeCluster(['db1', 'db2'], { holdTimeoutMs, transactionGraceMs });
    const [old, target] = cluster.backends;
    const rest = { followers: [], only: 'db2', force: false, isAutomatic: false };
    const decision: Decision = { kind, old: old!, target: target!, ...rest };
    const asked: number[][] = [];
    const world: PromotionWorld = {
      ...new FakeProcess(cluster).world,
      holdWrites: async ({ graceMs }, { beginTimeoutMs, timeoutMs }) => {
        asked.push([graceMs, beginTimeoutMs, timeoutMs]);
        return { moved: 0, ended: 0, workersKilled: 0 };
      },
    };
    await new PromotionActions(world, cluster.cluster, decision).do('end_sessions');
    assert.deepEqual(asked, [expected]);
  }
});
