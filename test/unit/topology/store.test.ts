import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import type { BackendHealth } from '../../../src/topology/health.ts';
import type { Snapshot } from '../../../src/topology/snapshot.ts';
import { EMPTY_STATE, type DurableState, type StateStore } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig } from '../../support/configs.ts';
import { MARIADB_10_11 } from '../../support/greetings.ts';
import { handover } from '../../support/places.ts';

const CONFIG = {
  clusters: [{ name: 'main' } as ClusterConfig],
  backends: [backendConfig('db1'), backendConfig('db2')],
};
const WRITABLE: BackendHealth = {
  reach: 'up',
  reachReason: '',
  serverVersion: '10.11.6-MariaDB',
  greeting: MARIADB_10_11,
  sqlMode: '',
  gtidPosition: null,
  writable: true,
  replicating: false,
  lagMs: null,
  fresh: false,
  replicationReason: '',
};
const REPLICA: BackendHealth = { ...WRITABLE, writable: false, replicating: true, lagMs: 0, fresh: true };

/** A state file in memory whose disk can be full. */
class MemoryFile implements StateStore {
  state: DurableState = EMPTY_STATE;
  full = false;
  writes = 0;

  load(): DurableState {
    return this.state;
  }

  async save(state: DurableState): Promise<void> {
    if (this.full) throw new Error('no space left on device');
    this.state = state;
    this.writes++;
  }
}

function open(file = new MemoryFile()): { store: TopologyStore; file: MemoryFile; published: Snapshot[] } {
  const store = new TopologyStore(CONFIG, file);
  const published: Snapshot[] = [];
  store.onSnapshot((snapshot) => published.push(snapshot));
  return { store, file, published };
}

/** A disk that has the new state although it says that writing failed, or then cannot be read either. */
class UnflushedFile extends MemoryFile {
  unreadable = false;

  override load(): DurableState {
    if (this.unreadable) throw new Error('input/output error');
    return super.load();
  }

  override async save(state: DurableState): Promise<void> {
    await super.save(state);
    throw new Error('the directory was not flushed');
  }
}

test('after a write that failed only in its flushing, memory follows the disk', async () => {
  const file = new UnflushedFile();
  const { store, published } = open(file);
  await assert.rejects(store.recordPromotion('main', 'db2'), /not flushed/);
  assert.equal(store.rememberedPrimary('main'), 'db2');
  assert.equal(published.at(-1)?.epoch, 1);
});

test('a term whose write failed only in its flushing is begun anew, not passed over', async () => {
  const file = new UnflushedFile();
  const { store } = open(file);
  for (let attempt = 0; attempt < 3; attempt++) await assert.rejects(store.beginTerm(), /not flushed/);
  assert.deepEqual([store.latest.term, store.isAlone], [1, false]);
  // The other was heard: the next one is another.
  store.endTerm();
  await assert.rejects(store.beginTerm(), /not flushed/);
  assert.equal(store.latest.term, 2);
});

test('when the disk cannot be read after a failed write, its epoch is not used again', async () => {
  const file = new UnflushedFile();
  const { store } = open(file);
  file.unreadable = true;
  await assert.rejects(store.recordPromotion('main', 'db2'));
  assert.equal(store.rememberedPrimary('main'), null);
  await assert.rejects(store.recordPromotion('main', 'db1'));
  assert.equal(file.state.epoch, 2);
});

async function started(): Promise<ReturnType<typeof open>> {
  const opened = open();
  opened.store.observe('db1', WRITABLE);
  opened.store.observe('db2', REPLICA);
  assert.equal(await opened.store.adoptFirstPrimary('main'), 'db1');
  return opened;
}

test('the first primary is remembered on disk under epoch 1, once', async () => {
  const { store, file } = await started();
  assert.equal(store.snapshot.clusters[0]?.primary, 'db1');
  assert.deepEqual([file.state.epoch, file.state.clusters], [1, { main: { primary: 'db1', epoch: 1 } }]);
  assert.equal(await store.adoptFirstPrimary('main'), null);
  assert.equal(file.writes, 1);
});

test('versions grow by one with each snapshot, and the same knowledge publishes nothing', async () => {
  const { store, published } = await started();
  const count = published.length;
  store.observe('db2', REPLICA);
  assert.equal(published.length, count);
  store.observe('db2', { ...REPLICA, fresh: false, replicationReason: 'lags' });
  assert.equal(published.length, count + 1);
  assert.deepEqual(
    published.map(({ version }) => version),
    published.map((_, index) => index + 2),
  );
});

test('lag alone is not published, but is there for who looks', async () => {
  const { store, published } = await started();
  const count = published.length;
  store.observe('db2', { ...REPLICA, lagMs: 3000 });
  assert.equal(published.length, count);
  assert.equal(store.snapshot.backends[1]?.lagMs, 3000);
});

test('how far a replica has come is not published alone, but goes with what is', async () => {
  const { store, published } = await started();
  const count = published.length;
  store.observe('db2', { ...REPLICA, gtidPosition: '0-1-5' });
  assert.equal(published.length, count);
  assert.equal(store.snapshot.backends[1]?.gtidPosition, '0-1-5');
  store.observe('db1', { ...WRITABLE, sqlMode: 'ANSI_QUOTES' });
  assert.equal(published.length, count + 1);
  assert.deepEqual(
    published.at(-1)?.backends.map(({ sqlMode, gtidPosition }) => [sqlMode, gtidPosition]),
    [
      ['ANSI_QUOTES', null],
      ['', '0-1-5'],
    ],
  );
});

test('a promotion raises the epoch by one and is on disk when it resolves', async () => {
  const { store, file } = await started();
  assert.equal(await store.recordPromotion('main', 'db2'), 2);
  assert.deepEqual([file.state.epoch, file.state.clusters.main?.primary], [2, 'db2']);
  assert.equal(store.snapshot.epoch, 2);
});

test('changes at once all count', async () => {
  const { store, file } = await started();
  await Promise.all([
    store.change({ db1: { rwWeight: 4 } }),
    store.change({ db2: { roWeight: 9 } }),
    store.change({ db1: { roWeight: 0 } }),
    store.recordPromotion('main', 'db2'),
  ]);
  assert.deepEqual(file.state, {
    epoch: 2,
    clusters: { main: { primary: 'db2', epoch: 2 } },
    backends: { db1: { rwWeight: 4, roWeight: 0 }, db2: { roWeight: 9 } },
  });
});

suite('a full disk', () => {
  test('refuses a change, which then has not happened', async () => {
    const { store, file, published } = await started();
    const count = published.length;
    file.full = true;
    await assert.rejects(store.change({ db1: { rwWeight: 4 } }), /no space left/);
    assert.equal(store.settingsOf('db1').rwWeight, 1);
    assert.equal(published.length, count);
  });

  test('refuses a promotion, and the next one after space was made goes through', async () => {
    const { store, file } = await started();
    file.full = true;
    await assert.rejects(store.recordPromotion('main', 'db2'), /no space left/);
    assert.equal(store.rememberedPrimary('main'), 'db1');
    file.full = false;
    assert.equal(await store.recordPromotion('main', 'db2'), 2);
  });
});

test('what was set survives a restart', async () => {
  const { store, file } = await started();
  await store.change({ db2: { roWeight: 9, admin: 'offline' } });
  const again = open(file).store;
  assert.equal(again.rememberedPrimary('main'), 'db1');
  assert.deepEqual([again.settingsOf('db2').roWeight, again.settingsOf('db2').admin], [9, 'offline']);
});

suite('what else is decided of a cluster', () => {
  test('is on disk when it resolves, is published, and the next process knows it', async () => {
    const { store, file, published } = await started();
    await store.decide('main', { alone: true, maintenance: true, failoverWallMs: 1_000 });
    await store.takeInHand('main', ['db2']);
    const decided = { alone: true, maintenance: true, failoverWallMs: 1_000, inHand: ['db2'] };
    assert.deepEqual(file.state.clusters.main, { primary: 'db1', epoch: 1, ...decided });
    assert.partialDeepStrictEqual(published.at(-1)?.clusters[0], { alone: true, maintenance: 'on' });
    assert.partialDeepStrictEqual(open(file).store.decisionsOf('main'), decided);
  });

  test('that is decided already is not written once more', async () => {
    const { store, file } = await started();
    await store.decide('main', { alone: false, maintenance: false });
    await store.takeInHand('main', []);
    assert.equal(file.writes, 1);
    await store.decide('main', { alone: true });
    await store.decide('main', { alone: true });
    await store.letGo('main', ['db2']);
    assert.equal(file.writes, 2);
  });

  test('a handover is written with its promotion, stays with the next unless it has another, and can be forgotten', async () => {
    const { store, file } = await started();
    const first = handover('2:500', '1:700');
    await store.recordPromotion('main', 'db2', undefined, first);
    assert.deepEqual(file.state.clusters.main, { primary: 'db2', epoch: 2, handover: first });
    await store.recordPromotion('main', 'db2');
    assert.deepEqual(open(file).store.decisionsOf('main').handover, first);
    const second = handover('3:120', '1:900');
    await store.decide('main', { handover: second });
    assert.deepEqual(store.decisionsOf('main').handover, second);
    const { writes } = file;
    await store.decide('main', { handover: { ...second } });
    assert.equal(file.writes, writes, 'it is that one already');
    await store.recordPromotion('main', 'db1', undefined, null);
    assert.equal(store.decisionsOf('main').handover, null);
  });

  test('stays with a promotion', async () => {
    const { store } = await started();
    await store.decide('main', { maintenance: true });
    await store.recordPromotion('main', 'db2');
    assert.equal(store.decisionsOf('main').maintenance, true);
  });

  test('is of when the primary was replaced by itself, in the same write as the primary', async () => {
    const { store, file } = await started();
    const before = file.writes;
    await store.recordPromotion('main', 'db2', 1_000);
    assert.deepEqual([file.writes - before, store.decisionsOf('main').failoverWallMs], [1, 1_000]);
    await store.recordPromotion('main', 'db1');
    assert.equal(store.decisionsOf('main').failoverWallMs, 1_000);
    await store.recordPromotion('main', 'db2', null);
    assert.equal(store.decisionsOf('main').failoverWallMs, undefined);
  });

  test('is nothing where there is no primary, and has not happened when the disk is full', async () => {
    const { store, file } = open();
    await store.decide('main', { maintenance: true });
    assert.deepEqual([file.writes, store.decisionsOf('main')], [0, {}]);
    const full = await started();
    full.file.full = true;
    await assert.rejects(full.store.decide('main', { alone: true }), /no space left/);
    assert.equal(full.store.decisionsOf('main').alone ?? false, false);
  });
});

suite('a newer epoch that the servers know', () => {
  test('is believed with its primary; the next promotion has a later one', async () => {
    const { store, file } = await started();
    await store.decide('main', { alone: true });
    await store.adoptEpoch('main', 'db2', 7);
    assert.deepEqual(
      [store.rememberedPrimary('main'), store.epochOf('main'), store.decisionsOf('main').alone],
      ['db2', 7, false],
    );
    assert.equal(file.state.epoch, 7);
    assert.equal(await store.recordPromotion('main', 'db1'), 8);
  });

  test('is believed also where nothing was known', async () => {
    const { store } = open();
    await store.adoptEpoch('main', 'db2', 7);
    assert.deepEqual([store.rememberedPrimary('main'), store.epochOf('main')], ['db2', 7]);
  });

  test('that is none is not', async () => {
    const { store, file } = await started();
    await store.recordPromotion('main', 'db2');
    const { writes } = file;
    await store.adoptEpoch('main', 'db1', 1);
    await store.adoptEpoch('main', 'db1', 2);
    assert.deepEqual([store.rememberedPrimary('main'), file.writes], ['db2', writes]);
  });
});

test('each cluster has the epoch of its own last promotion, and no number is used twice', async () => {
  const { store } = await started();
  assert.equal(await store.recordPromotion('other', 'x1'), 2);
  assert.equal(await store.recordPromotion('main', 'db2'), 3);
  assert.deepEqual(
    ['main', 'other', 'third'].map((cluster) => store.epochOf(cluster)),
    [3, 2, 0],
  );
});

test('a cluster in a state file of an older version has the epoch of the document', () => {
  const file = new MemoryFile();
  file.state = { epoch: 6, clusters: { main: { primary: 'db1' } }, backends: {} };
  assert.equal(open(file).store.epochOf('main'), 6);
});

test('writes that are stopped go nowhere, with the reason, until they are let go', async () => {
  const { store, published } = await started();
  store.stopWrites('main', 'db1 and db2 are writable');
  const [cluster] = store.snapshot.clusters;
  assert.deepEqual([cluster?.primary, cluster?.reason], [null, 'db1 and db2 are writable']);
  const count = published.length;
  store.stopWrites('main', 'db1 and db2 are writable');
  assert.equal(published.length, count, 'the same reason is no news');
  store.stopWrites('main', null);
  store.stopWrites('main', null);
  assert.deepEqual([store.snapshot.clusters[0]?.primary, published.length], ['db1', count + 1]);
});

test('holding writes takes the primary away, letting go gives it back', async () => {
  const { store } = await started();
  store.hold('main', true);
  assert.deepEqual(
    [store.snapshot.clusters[0]?.primary, store.snapshot.clusters[0]?.writesHeld],
    [null, true],
  );
  store.hold('main', false);
  assert.equal(store.snapshot.clusters[0]?.primary, 'db1');
});

test('servers that are taken in hand and let go at the same time do not undo one another', async () => {
  const { store } = open();
  await store.recordPromotion('main', 'db1');
  await Promise.all([
    store.takeInHand('main', ['db2']),
    store.takeInHand('main', ['db3']),
    store.takeInHand('main', ['db4']),
    store.letGo('main', ['db2']),
  ]);
  assert.deepEqual(store.decisionsOf('main').inHand, ['db3', 'db4']);
});

suite('a promotion that both of a pair have', () => {
  const underWay = (ofEpoch: number): DurableState => {
    const promotion = { by: 'a', number: 3, ofEpoch, target: 'db2', run: {} };
    return { epoch: 5, clusters: { main: { primary: 'db1', epoch: 5, promotion } }, backends: {} };
  };
  const inPair = (state: DurableState): TopologyStore => {
    const file = new MemoryFile();
    file.state = state;
    const { store } = open(file);
    store.shareWith({ requireCharge: () => undefined, share: async () => 'held', compare: () => 0 });
    return store;
  };
  const NEXT = { by: 'b', number: 1, target: 'db2', run: { step: 'fence' } };

  test('stays what is under way when it is written down who the primary is', async () => {
    const store = inPair(underWay(5));
    await store.recordPromotion('main', 'db2');
    assert.deepEqual([store.promotionOf('main')?.number, store.promotionOf('main')?.ofEpoch], [3, 6]);
    await store.endPromotion('main', ({ number }) => number === 4);
    assert.notEqual(store.promotionOf('main'), null);
    await store.endPromotion('main', ({ number }) => number === 3);
    assert.equal(store.promotionOf('main'), null);
  });

  test('is over when another epoch has begun without it, also for good', async () => {
    const store = inPair(underWay(4));
    assert.equal(store.promotionOf('main'), null);
    await store.recordPromotion('main', 'db2');
    assert.equal(store.promotionOf('main'), null);
    assert.equal(store.durable.clusters['main']?.promotion, undefined);
  });

  test('is over as soon as a dbproxy without the other one promotes', async () => {
    const file = new MemoryFile();
    file.state = underWay(5);
    const { store } = open(file);
    await store.recordPromotion('main', 'db2');
    assert.equal(file.state.clusters['main']?.promotion, undefined);
  });

  test('gives way to what it is told to, and to nothing else', async () => {
    const store = inPair(underWay(5));
    await assert.rejects(
      store.notePromotion('main', NEXT, (known) => known === null),
      /has taken the promotion of db2 up, or ended it/,
    );
    await store.notePromotion('main', NEXT, (known) => known?.by === 'a');
    assert.deepEqual(store.promotionOf('main'), { ...NEXT, ofEpoch: 5 });
  });

  test('has its record taken over from an etcd, where that came before the state file', async () => {
    for (const [primary, isKept] of [
      ['db2', true],
      ['db1', false],
    ] as const) {
      const store = inPair(underWay(5));
      store.shareIn({
        recordOf: () => ({ epoch: 6, by: 'a', state: { primary } }),
        lastEpochOf: () => 6,
        publish: async () => undefined,
      });
      assert.equal(await store.settleWithShared('main', false), true);
      assert.equal(store.promotionOf('main') !== null, isKept);
    }
  });
});
