import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { Promotions } from '../../../src/failover/promotion.ts';
import { changePrimary, rehearse } from '../../../src/failover/requests.ts';
import type { PrimaryChange, PromoteStep } from '../../../src/ipc/operations.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

interface Scene {
  readonly cluster: FakeCluster;
  readonly process: FakeProcess;
  readonly promotions: Promotions;
  readonly ask: (request: Partial<PrimaryChange>) => Promise<PromoteStep[]>;
}

function scene(
  change: (cluster: FakeCluster) => void = () => undefined,
  config: Partial<ClusterConfig> = {},
): Scene {
  const cluster = new FakeCluster(['db1', 'db2', 'db3'], config);
  change(cluster);
  const process = new FakeProcess(cluster);
  const promotions = new Promotions({
    config: { clusters: [cluster.cluster], backends: cluster.backends },
    clock: cluster.clock,
    log: silentLog,
    journal: process.journal,
    world: process.world,
    onEvent: () => undefined,
  });
  return {
    cluster,
    process,
    promotions,
    ask: (request) =>
      changePrimary(
        process.survey(),
        { kind: 'switchover', to: null, force: false, dryRun: false, ...request },
        promotions,
      ),
  };
}

const isDown = (cluster: FakeCluster): void => void (cluster.server('db1').isDown = true);

function detailOf(steps: readonly PromoteStep[], name: string): string {
  const found = steps.find(({ step }) => step === name);
  assert.ok(found !== undefined, `no row ${name} in ${steps.map(({ step }) => step).join(', ')}`);
  return found.detail;
}

suite('a dry run', () => {
  test('of a switchover says who, each step, the loss and the pause, and changes nothing', async () => {
    const { ask, cluster } = scene();
    const before = structuredClone(cluster.servers);
    const steps = await ask({ dryRun: true });
    assert.deepEqual(
      steps.map(({ step }) => step),
      [
        'candidate db2',
        'candidate db3',
        'hold',
        'end_sessions',
        'fence',
        'catch_up',
        'stop_replication',
        'record',
        'make_writable',
        'weights',
        'publish',
        'repoint',
        'semi_sync',
        'expected loss',
        'expected pause',
      ],
    );
    assert.ok(steps.every(({ result }) => result === 'planned'));
    assert.equal(detailOf(steps, 'candidate db2'), 'elected');
    assert.match(detailOf(steps, 'candidate db3'), /^passed over: /);
    assert.match(detailOf(steps, 'record'), /epoch 5 with db2/);
    assert.match(detailOf(steps, 'repoint'), /^db1, db3 follow/);
    assert.equal(detailOf(steps, 'expected loss'), 'none');
    assert.match(detailOf(steps, 'expected pause'), /^not measured yet; at most hold_timeout \(10000 ms\)/);
    assert.deepEqual([cluster.servers, cluster.written, cluster.state.epoch], [before, [], 4]);
  });

  test('of a failover says what the old primary had and the new one has not', async () => {
    const nothing = await scene(isDown).ask({ kind: 'failover', dryRun: true });
    assert.match(detailOf(nothing, 'expected loss'), /^nothing that db1 had when it was last seen/);
    assert.match(detailOf(nothing, 'stop_receivers'), /replicas of db1 receive nothing more/);
    assert.match(detailOf(nothing, 'repoint'), /^db3 follows db2$/);
    const behind = (cluster: FakeCluster): void => {
      isDown(cluster);
      cluster.server('db1').position = '0-1-103';
    };
    const some = await scene(behind).ask({ kind: 'failover', dryRun: true });
    assert.match(detailOf(some, 'expected loss'), /^3 transaction\(s\) that db1 had .* db2 had not$/);
  });

  test('of a failover says that no client was told of what is lost, when that is certain', async () => {
    const inFlight = (cluster: FakeCluster): void => {
      cluster.server('db1').position = '0-1-103';
      cluster.server('db1').waits = true;
    };
    const { ask } = scene(inFlight, { semiSync: 'require' });
    const covered = await ask({ kind: 'failover', dryRun: true });
    assert.match(detailOf(covered, 'expected loss'), /^3 transaction\(s\) .*none of that was acknowledged/);
    const forced = await ask({ kind: 'failover', force: true, dryRun: true });
    assert.doesNotMatch(detailOf(forced, 'expected loss'), /acknowledged/);
  });

  test('of a failover from a primary that is well shows the plan, and says that it would be refused now', async () => {
    const { ask, cluster } = scene();
    const steps = await ask({ kind: 'failover', dryRun: true });
    assert.match(detailOf(steps, 'check'), /^now: the primary db1 is alive and well: SWITCHOVER TO db2/);
    assert.match(detailOf(steps, 'expected loss'), /^nothing that db1 had/);
    const forced = await ask({ kind: 'failover', force: true, dryRun: true });
    assert.ok(!forced.some(({ step }) => step === 'check'));
    assert.equal(cluster.state.epoch, 4);
  });

  test('of what would be refused says why', async () => {
    const { ask } = scene(isDown);
    const steps = await ask({ kind: 'switchover', to: 'db2', dryRun: true });
    assert.match(detailOf(steps, 'check'), /db1 is down .*FAILOVER promotes without it/);
    assert.deepEqual([steps.at(-1)?.step, steps.at(-1)?.result], ['check', 'refused']);
  });

  test('of a cluster of which nobody can be elected, or without a primary, says so in a row', async () => {
    const { ask, promotions, process } = scene((one) => {
      for (const server of one.servers) server.isDown = true;
    });
    const steps = await ask({ kind: 'failover', dryRun: true });
    assert.deepEqual(
      steps.map(({ step, result }) => [step, result]),
      [
        ['candidate db2', 'planned'],
        ['candidate db3', 'planned'],
        ['check', 'refused'],
      ],
    );
    assert.match(detailOf(steps, 'check'), /db2: it does not answer well.*db3: it does not answer well/);
    const survey = { ...process.survey(), remembered: null };
    const change = { kind: 'switchover', to: null, force: false, dryRun: true } as const;
    const [row, ...others] = await changePrimary(survey, change, promotions);
    assert.deepEqual([row?.step, row?.result, others], ['check', 'refused', []]);
    assert.match(row!.detail, /PROMOTE names the first one/);
  });

  test('beside a promotion that is under way says so', async () => {
    const { ask, cluster } = scene();
    let beside: Promise<PromoteStep[]> | undefined;
    cluster.onAct = () => void (beside ??= ask({ to: 'db3', dryRun: true }));
    await ask({ to: 'db2' });
    const steps = await beside!;
    assert.equal(detailOf(steps, 'check'), 'a promotion of db2 is under way; wait for its end');
    assert.equal(steps.at(-1)?.result, 'refused');
  });

  test('knows the pause of the last one', async () => {
    const { ask } = scene();
    await ask({ to: 'db2' });
    const steps = await ask({ to: 'db1', dryRun: true });
    assert.match(detailOf(steps, 'expected pause'), /^about \d+ ms, as the last one/);
  });
});

suite('a change of primary', () => {
  test('goes to the best one when none is named', async () => {
    const { ask, cluster } = scene();
    const steps = await ask({});
    assert.equal(cluster.state.primary, 'db2');
    assert.deepEqual([steps[0]?.step, steps.at(-1)?.step], ['check', 'semi_sync']);
  });

  test('of a cluster of which nobody can be elected is refused with the reason of each', async () => {
    const { ask, cluster } = scene((one) => {
      isDown(one);
      one.server('db2').isDown = true;
      one.server('db3').isDown = true;
    });
    await assert.rejects(ask({ kind: 'failover' }), {
      code: 'DBPROXY_PROMOTE_REFUSED',
      message: /db2: it does not answer well.*db3: it does not answer well/,
    });
    assert.equal(cluster.state.epoch, 4);
  });

  test('of a cluster without a primary is refused, and says what to do', async () => {
    const { promotions, process } = scene();
    const survey = { ...process.survey(), remembered: null };
    const change = { kind: 'switchover', to: null, force: false, dryRun: false } as const;
    await assert.rejects(changePrimary(survey, change, promotions), /PROMOTE names the first one/);
  });

  test('to the one that is the primary already is refused, in the words of who asked', async () => {
    await assert.rejects(
      scene().ask({ to: 'db1' }),
      /^FastifyError \[DBPROXY_PROMOTE_REFUSED\]: SWITCHOVER TO db1 was refused and nothing/,
    );
    const { promotions } = scene();
    const wish = { target: 'db1', named: true, as: 'any', force: false } as const;
    await assert.rejects(
      promotions.promote(wish, 'a test', true),
      /^FastifyError \[DBPROXY_PROMOTE_REFUSED\]: PROMOTE db1 was refused/,
    );
    const { process, promotions: others } = scene(isDown);
    await assert.rejects(
      rehearse(() => process.survey(), null, others),
      /^FastifyError \[DBPROXY_PROMOTE_REFUSED\]: REHEARSE SWITCHOVER CLUSTER main \(to db2\) was refused/,
    );
  });

  test('of a failover from a primary that is well is refused; with FORCE it is done', async () => {
    const { ask, cluster } = scene();
    await assert.rejects(
      ask({ kind: 'failover' }),
      /^FastifyError \[DBPROXY_PROMOTE_REFUSED\]: FAILOVER CLUSTER main \(to db2\) was refused .*SWITCHOVER TO db2/,
    );
    assert.equal(cluster.state.epoch, 4);
    const steps = await ask({ kind: 'failover', force: true });
    assert.match(detailOf(steps, 'check'), /db2 takes over from db1, which is given up/);
    assert.deepEqual(cluster.writers, ['db2']);
  });

  test('to the one that is the primary already says its epoch', async () => {
    await assert.rejects(scene().ask({ to: 'db1' }), /the primary already \(epoch 4\)/);
    const steps = await scene().ask({ kind: 'failover', to: 'db1', dryRun: true });
    assert.deepEqual(
      steps.map(({ step, detail }) => [step, detail]),
      [['check', 'it is the primary already (epoch 4)']],
    );
  });

  test('to the primary that came back read-only makes it writable', async () => {
    const { ask, cluster } = scene((one) => void (one.server('db1').readOnly = true));
    await ask({ kind: 'failover', to: 'db1' });
    assert.deepEqual(cluster.writers, ['db1']);
  });
});

suite('a rehearsal', () => {
  test('goes there and back, and tells both pauses', async () => {
    const { cluster, promotions, process } = scene();
    const steps = await rehearse(() => process.survey(), 'db3', promotions);
    assert.deepEqual([cluster.state.primary, cluster.state.epoch, cluster.writers], ['db1', 6, ['db1']]);
    assert.match(detailOf(steps, 'there: pause'), /statements waited up to \d+ ms/);
    assert.match(detailOf(steps, 'back: pause'), /statements waited up to \d+ ms/);
    assert.match(detailOf(steps, 'there: make_writable'), /db3 is writable/);
    assert.match(detailOf(steps, 'back: make_writable'), /db1 is writable/);
  });

  test('that does not come back says who is the primary now, and how the way there went', async () => {
    const { cluster, promotions, process } = scene();
    cluster.onAct = (act) => void (act === 'journal closed' && (cluster.server('db1').isDown = true));
    await assert.rejects(
      rehearse(() => process.survey(), 'db3', promotions),
      (error: Error) => {
        assert.match(
          error.message,
          /^REHEARSE SWITCHOVER CLUSTER main failed at step 'back to db1': it does not answer well/,
        );
        assert.match(
          error.message,
          /db3 is the primary now \(epoch 5\): .* waited up to \d+ ms.*SWITCHOVER TO db1/,
        );
        assert.doesNotMatch(error.message, /nothing was changed/);
        return true;
      },
    );
  });

  test('does not begin when the way there is refused', async () => {
    const { cluster, promotions, process } = scene(isDown);
    await assert.rejects(
      rehearse(() => process.survey(), null, promotions),
      {
        code: 'DBPROXY_PROMOTE_REFUSED',
      },
    );
    assert.equal(cluster.state.epoch, 4);
  });
});
