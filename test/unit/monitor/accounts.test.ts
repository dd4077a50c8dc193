import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { AccountImport, type ImportNews } from '../../../src/monitor/accounts.ts';
import type { ClusterAccounts } from '../../../src/topology/account.ts';
import { account, accountsOf } from '../../support/accounts.ts';
import { backendConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { exampleConfig } from '../../support/operations.ts';

/** An import of one cluster whose reads the test answers. */
function setUp(primary: () => boolean = () => true) {
  const clock = new FakeClock();
  const cluster: ClusterConfig = { ...exampleConfig().clusters[0]!, usersIntervalMs: 30_000 };
  const reads: PromiseWithResolvers<ClusterAccounts>[] = [];
  const changes: ClusterAccounts[] = [];
  const news: ImportNews[] = [];
  const accounts = new AccountImport({
    clusters: [cluster],
    clock,
    sourceOf: () => (primary() ? backendConfig('db1') : null),
    onChange: (changed) => changes.push(changed),
    onNews: (_cluster, piece) => news.push(piece),
    read: () => {
      const read = Promise.withResolvers<ClusterAccounts>();
      reads.push(read);
      return read.promise;
    },
  });
  return { clock, accounts, reads, changes, news };
}

/** True when the promise has settled after the microtasks that are due. */
async function isSettled(clock: FakeClock, promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.finally(() => (settled = true));
  await clock.pass(0);
  return settled;
}

const ONE = accountsOf(account());
const TWO = accountsOf(account(), account({ user: 'second' }));

suite('the import of accounts', () => {
  test('reads once for all who ask before it begins', async () => {
    const { clock, accounts, reads, changes } = setUp();
    const asked = [accounts.refresh('main'), accounts.refresh('main'), accounts.refresh('main')];
    await clock.pass(0);
    assert.equal(reads.length, 1);
    reads[0]!.resolve(ONE);
    await Promise.all(asked);
    assert.deepEqual(changes, [ONE]);
    assert.equal(reads.length, 1);
  });

  test('who asks during a read waits for the next one, which keeps its distance', async () => {
    const { clock, accounts, reads } = setUp();
    void accounts.refresh('main');
    await clock.pass(10);
    const late = accounts.refresh('main');
    reads[0]!.resolve(ONE);
    assert.equal(await isSettled(clock, late), false);
    await clock.pass(239);
    assert.equal(reads.length, 1);
    await clock.pass(1);
    assert.equal(reads.length, 2);
    reads[1]!.resolve(ONE);
    await late;
  });

  test('is asked a thousand times and reads four times a second', async () => {
    const { clock, accounts, reads } = setUp();
    for (let round = 0; round < 999; round++) {
      void accounts.refresh('main');
      reads.at(-1)?.resolve(ONE);
      await clock.pass(1);
    }
    assert.equal(reads.length, 4);
  });

  test('comes back at its interval, counted from the last read', async () => {
    const { clock, accounts, reads } = setUp();
    void accounts.refresh('main');
    await clock.pass(0);
    reads[0]!.resolve(ONE);
    await clock.pass(29_999);
    assert.equal(reads.length, 1);
    await clock.pass(1);
    assert.equal(reads.length, 2);
  });

  test('tells of changes only', async () => {
    const { clock, accounts, reads, changes } = setUp();
    for (const [index, answer] of [ONE, structuredClone(ONE), TWO].entries()) {
      void accounts.refresh('main');
      await clock.pass(250);
      reads[index]!.resolve(answer);
      await clock.pass(0);
    }
    assert.deepEqual(changes, [ONE, TWO]);
  });

  test('keeps what it has when a read fails, and says why once', async () => {
    const { clock, accounts, reads, news } = setUp();
    const outcomes: (ClusterAccounts | string)[] = [ONE, 'away', 'away', 'denied', ONE];
    for (const [index, outcome] of outcomes.entries()) {
      const asked = accounts.refresh('main');
      await clock.pass(250);
      if (typeof outcome === 'string') reads[index]!.reject(new Error(outcome));
      else reads[index]!.resolve(outcome);
      await asked;
      const [status] = accounts.statuses();
      assert.equal(status!.accounts, ONE);
      assert.equal(status!.failure, typeof outcome === 'string' ? outcome : null);
    }
    assert.deepEqual(
      news.map(({ kind, detail }) => `${kind}: ${detail}`),
      [
        'imported: 1 accounts, 0 of them cannot be served; see SHOW USERS',
        'failed: away; those read last go on being served',
        'failed: denied; those read last go on being served',
        'imported: 1 accounts, 0 of them cannot be served; see SHOW USERS',
      ],
    );
  });

  test('without a primary there is nothing to read, and it says so', async () => {
    let hasPrimary = false;
    const { clock, accounts, reads, news } = setUp(() => hasPrimary);
    await accounts.firstReads();
    assert.equal(reads.length, 0);
    assert.deepEqual(news, [
      { kind: 'failed', detail: 'there is no server to read them from; there are none yet' },
    ]);
    assert.equal(accounts.statuses()[0]!.ageMs, null);
    hasPrimary = true;
    const asked = accounts.refresh('main');
    await clock.pass(250);
    reads[0]!.resolve(ONE);
    await asked;
    await clock.pass(5);
    assert.equal(accounts.statuses()[0]!.ageMs, 5);
  });

  test('is tried again at short intervals until there are some, unless somebody has to help', async () => {
    const { clock, accounts, reads } = setUp();
    const denied = Object.assign(new Error('SELECT command denied'), { errno: 1142 });
    void accounts.refresh('main');
    await clock.pass(0);
    reads[0]!.reject(new Error('connection refused'));
    await clock.pass(500);
    assert.deepEqual([reads.length, accounts.awaitsFirst('main')], [2, true]);
    reads[1]!.reject(new Error('with the grant', { cause: denied }));
    await clock.pass(29_999);
    assert.deepEqual([reads.length, accounts.awaitsFirst('main')], [2, false]);
    await clock.pass(1);
    reads[2]!.resolve(ONE);
    await clock.pass(29_999);
    assert.deepEqual([reads.length, accounts.awaitsFirst('main')], [3, false]);
  });

  test('the first reads are waited for once', async () => {
    const { clock, accounts, reads } = setUp();
    const asked = accounts.refresh('main');
    await clock.pass(0);
    const first = accounts.firstReads();
    reads[0]!.resolve(ONE);
    await Promise.all([asked, first]);
    await accounts.firstReads();
    assert.equal(reads.length, 1);
  });

  test('when closed it lets go who waits and reads no more', async () => {
    const { clock, accounts, reads, changes } = setUp();
    void accounts.refresh('main');
    await clock.pass(0);
    const waiting = accounts.refresh('main');
    reads[0]!.resolve(ONE);
    await clock.pass(1);
    accounts.close();
    await waiting;
    await accounts.refresh('main');
    await clock.pass(60_000);
    assert.equal(reads.length, 1);
    assert.equal(changes.length, 1);
    assert.equal(clock.pending, 0);
  });

  test('another cluster is nothing to it', async () => {
    const { accounts, reads } = setUp();
    await accounts.refresh('elsewhere');
    assert.equal(reads.length, 0);
  });
});
