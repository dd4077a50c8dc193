import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { PromotionActions, type StepReport } from '../../../src/failover/actions.ts';
import type { Decision } from '../../../src/failover/check.ts';
import type { PromotionKind, StepName } from '../../../src/failover/plan.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

type Fails = (act: string) => 'before' | 'after' | null;

interface Scene {
  readonly cluster: FakeCluster;
  readonly actions: PromotionActions;
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
  };
  const process = new FakeProcess(cluster, Infinity, options.fails);
  const actions = new PromotionActions(process.world, cluster.cluster, decision);
  return {
    cluster,
    actions,
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
    await actions.do('stop_replication');
    await assert.rejects(actions.do('make_writable'));
    assert.equal(cluster.server('db2').source, null);
    await actions.undo('stop_replication');
    assert.deepEqual([cluster.server('db2').source, cluster.server('db2').receives], ['db1', true]);
  });

  test('receivers that were stopped receive again', async () => {
    const { actions, cluster } = scene('failover', { change: isDown });
    await actions.do('stop_receivers');
    assert.deepEqual(cluster.state.inHand, ['db2', 'db3']);
    assert.equal(cluster.server('db3').receives, false);
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
