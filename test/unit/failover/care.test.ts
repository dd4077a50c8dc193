import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { careFor } from '../../../src/failover/care.ts';
import type { Chore } from '../../../src/failover/chores.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

interface Scene {
  readonly cluster: FakeCluster;
  readonly acts: readonly string[];
  readonly carryOut: (chore: ChoreInShort) => Promise<string>;
}

/** A chore without its reason. */
type ChoreInShort = Chore extends infer One ? (One extends Chore ? Omit<One, 'because'> : never) : never;

function scene(change: (cluster: FakeCluster) => void, config: Partial<ClusterConfig> = {}): Scene {
  const cluster = new FakeCluster(['db1', 'db2', 'db3'], config);
  change(cluster);
  const acts: string[] = [];
  const process = new FakeProcess(cluster, Infinity, (act) => {
    acts.push(act);
    return null;
  });
  const promotionWorld = process.world;
  const world = {
    openServer: promotionWorld.openServer,
    survey: () => process.survey(),
    turn: { isOver: false, act: <T>(_backend: string | null, work: () => Promise<T>) => work() },
    setAlone: (alone: boolean) => promotionWorld.setAlone('main', alone),
    takeInHand: (backends: readonly string[]) => promotionWorld.takeInHand('main', backends),
    checkNow: (backend: string) => promotionWorld.checkNow(backend),
  };
  return {
    cluster,
    acts,
    carryOut: (chore) => careFor(cluster.cluster, { ...chore, because: 'a test' }, world),
  };
}

/** db2 has taken over; db1 is back as it was. */
function afterFailover(cluster: FakeCluster): void {
  cluster.state = { ...cluster.state, primary: 'db2', epoch: 5 };
  Object.assign(cluster.server('db2'), { readOnly: false, source: null });
}

suite('a server that must not be written to', () => {
  test('is made read-only', async () => {
    const { carryOut, cluster } = scene(afterFailover);
    await carryOut({ kind: 'fence', backend: 'db1' });
    assert.deepEqual(cluster.writers, ['db2']);
  });

  test('is left alone when it has become the primary meanwhile', async () => {
    const { carryOut, cluster } = scene(() => undefined);
    await assert.rejects(carryOut({ kind: 'fence', backend: 'db1' }), /db1 is the primary now/);
    assert.deepEqual(cluster.writers, ['db1']);
  });
});

suite('the primary that came back read-only', () => {
  const isReadOnly = (cluster: FakeCluster): void => void (cluster.server('db1').readOnly = true);

  test('is made writable, with its epoch written down first', async () => {
    const { carryOut, cluster, acts } = scene(isReadOnly);
    await carryOut({ kind: 'unlock', backend: 'db1' });
    assert.deepEqual(cluster.writers, ['db1']);
    assert.ok(acts.indexOf('note epoch db1') < acts.indexOf('make writable db1'));
  });

  test('waits for its replicas from its first write on, when it must', async () => {
    const { carryOut, cluster } = scene(isReadOnly, { semiSync: 'require' });
    cluster.onAct = (act) => {
      if (act === 'make writable db1') assert.equal(cluster.server('db1').waits, true);
    };
    await carryOut({ kind: 'unlock', backend: 'db1' });
    assert.deepEqual(cluster.writers, ['db1']);
  });

  test('stays read-only when it is the primary no more', async () => {
    const { carryOut, cluster } = scene((one) => {
      afterFailover(one);
      isReadOnly(one);
    });
    await assert.rejects(carryOut({ kind: 'unlock', backend: 'db1' }), /not the primary any more/);
    assert.deepEqual(cluster.writers, ['db2']);
  });

  test('stays read-only when it knows a later epoch than we do', async () => {
    const { carryOut, cluster } = scene((one) => {
      isReadOnly(one);
      one.server('db1').epochs.push({ epoch: 7, backend: 'db3' });
    });
    await assert.rejects(carryOut({ kind: 'unlock', backend: 'db1' }), /knows epoch 7, in which db3/);
    assert.deepEqual(cluster.writers, []);
  });

  test('stays read-only when another server knows a later epoch', async () => {
    const { carryOut, cluster } = scene((one) => {
      isReadOnly(one);
      one.server('db2').epochs.push({ epoch: 7, backend: 'db2' });
    });
    await assert.rejects(carryOut({ kind: 'unlock', backend: 'db1' }), /db2 knows epoch 7, in which db2/);
    assert.deepEqual(cluster.writers, []);
  });

  test('stays read-only as long as another server can be written to', async () => {
    const { carryOut, cluster } = scene((one) => {
      isReadOnly(one);
      one.server('db2').readOnly = false;
    });
    await assert.rejects(
      carryOut({ kind: 'unlock', backend: 'db1' }),
      /db2 can be written to, .* two writers/,
    );
    assert.deepEqual(cluster.writers, ['db2']);
  });
});

suite('a server that is to follow the primary', () => {
  const follow = { kind: 'follow', backend: 'db1', source: 'db2' } as const;

  test('does, read-only, and is in hand before its replication is touched', async () => {
    const { carryOut, cluster, acts } = scene(afterFailover);
    await carryOut(follow);
    const { readOnly, source, receives } = cluster.server('db1');
    assert.deepEqual([readOnly, source, receives], [true, 'db2', true]);
    assert.ok(acts.indexOf('take in hand') < acts.indexOf('follow db1'));
    assert.ok(acts.indexOf('make read-only db1') < acts.indexOf('follow db1'));
  });

  test('does not when it has something of its own, whatever was seen of it before', async () => {
    const { carryOut, cluster } = scene((one) => {
      afterFailover(one);
      one.server('db1').position = '0-1-101';
    });
    await assert.rejects(carryOut(follow), /it has what db2 has not: 0-1-101/);
    assert.equal(cluster.server('db1').source, null);
  });

  test('does not when it has been emptied since it was seen', async () => {
    const { carryOut, cluster } = scene((one) => {
      afterFailover(one);
      one.server('db1').position = '';
    });
    await assert.rejects(carryOut(follow), /from the very beginning/);
    assert.equal(cluster.server('db1').source, null);
  });

  test('does not follow one that is the primary no more', async () => {
    const { carryOut } = scene(() => undefined);
    await assert.rejects(carryOut(follow), /db2 is not the primary any more/);
  });
});

suite('a primary without replicas', () => {
  const waits = (cluster: FakeCluster): void => {
    cluster.server('db1').waits = true;
    for (const name of ['db2', 'db3']) cluster.server(name).isDown = true;
  };
  const config = { semiSync: 'require' } as const;

  test('goes on alone by a decision that is on disk first', async () => {
    const { carryOut, cluster, acts } = scene(waits, config);
    await carryOut({ kind: 'go_alone', backend: 'db1' });
    assert.deepEqual([cluster.state.alone, cluster.server('db1').waits], [true, false]);
    assert.ok(acts.indexOf('set alone') < acts.indexOf('semi-sync db1'));
  });

  test('is said to lose what it acknowledges then, where a crash of it costs that', async () => {
    const words = (keepsAcknowledged: boolean): Promise<string> =>
      scene((one) => {
        waits(one);
        one.server('db1').keepsAcknowledged = keepsAcknowledged;
      }, config).carryOut({ kind: 'go_alone', backend: 'db1' });
    assert.match(await words(false), /from now on, and should it crash, the last of that may be gone/);
    assert.match(await words(true), /from now on$/);
  });

  test('is said to have lost that, when it is back', async () => {
    const words = (keepsAcknowledged: boolean, alone: boolean): Promise<string> =>
      scene((one) => {
        one.state = { ...one.state, alone };
        Object.assign(one.server('db1'), { keepsAcknowledged, readOnly: true });
      }, config).carryOut({ kind: 'unlock', backend: 'db1' });
    assert.match(
      await words(false, true),
      /writable again; .* the last of what it had acknowledged may be gone/,
    );
    assert.match(await words(true, true), /writable again$/);
    assert.match(await words(false, false), /writable again$/, 'a replica has that, or it waited for it');
  });

  test('waits again when a replica has all that it has', async () => {
    const { carryOut, cluster } = scene((one) => void (one.state = { ...one.state, alone: true }), config);
    await carryOut({ kind: 'take_back', backend: 'db1' });
    assert.deepEqual([cluster.state.alone, cluster.server('db1').waits], [false, true]);
  });

  test('does not wait for one that has all that it has, and does not acknowledge', async () => {
    const { carryOut, cluster } = scene((one) => {
      one.state = { ...one.state, alone: true };
      // Another one does, and is behind.
      one.server('db2').answers = false;
      one.server('db3').position = '0-1-99';
    }, config);
    cluster.applies = false;
    await assert.rejects(
      carryOut({ kind: 'take_back', backend: 'db1' }),
      /no replica acknowledged and had all of it/,
    );
    assert.deepEqual([cluster.state.alone, cluster.server('db1').waits], [true, false]);
  });

  test('goes on alone when, looked at again, there is none', async () => {
    const { carryOut, cluster } = scene((one) => {
      waits(one);
      one.state = { ...one.state, alone: true };
    }, config);
    await assert.rejects(carryOut({ kind: 'take_back', backend: 'db1' }), /no replica acknowledged/);
    assert.deepEqual([cluster.state.alone, cluster.server('db1').waits], [true, false]);
  });
});

test('a server that is not of the cluster is not touched', async () => {
  const { carryOut, acts } = scene(() => undefined);
  await assert.rejects(carryOut({ kind: 'fence', backend: 'db9' }), /db9 is not in cluster main/);
  assert.deepEqual(acts, []);
});
