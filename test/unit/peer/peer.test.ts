/** Two dbproxies of a pair, with disks, a line between them and VIPs that a test moves; no servers. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { LOOK, parseMessage } from '../../../src/peer/message.ts';
import { Peer } from '../../../src/peer/peer.ts';
import type { Sight } from '../../../src/peer/right.ts';
import {
  formatState,
  parseState,
  type DurableState,
  type StateStore,
} from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const CONFIG = { clusters: [clusterConfig()], backends: [backendConfig('db1'), backendConfig('db2')] };

/** A host: its disk outlives its dbproxy. */
class Host {
  readonly pair: Pair;
  disk = formatState({ epoch: 5, clusters: { main: { primary: 'db1', epoch: 5 } }, backends: {} });
  vip = false;
  isFull = false;
  other!: Host;
  store!: TopologyStore;
  peer: Peer | null = null;
  busy: string[] = [];
  isActing = false;
  votes: boolean | null = null;
  config = 'clusters:1 backends:1';
  /** Another one after each start and each death. */
  life = 0;
  events: string[] = [];
  /** With their details. */
  told: string[] = [];

  constructor(pair: Pair) {
    this.pair = pair;
  }

  start(): void {
    const life = ++this.life;
    const file: StateStore = {
      load: () => parseState(this.disk) as DurableState,
      save: (state) => {
        if (this.isFull) return Promise.reject(new Error('no space left on device'));
        // A process that is dead writes nothing.
        if (this.life === life) this.disk = formatState(state);
        return Promise.resolve();
      },
    };
    this.store = new TopologyStore(CONFIG, file);
    const peer: Peer = new Peer({
      process: randomUUID(),
      clock: this.pair.clock,
      link: {
        address: 'the other',
        ask: async (message): Promise<string> => {
          await Promise.resolve();
          const there = this.other.peer;
          if (this.pair.isCut) return this.pair.silence();
          if (this.pair.failure !== null) throw this.pair.failure;
          if (there === null) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
          const answer = await there.receive(message);
          return this.peer === peer ? answer : this.pair.silence();
        },
        close: () => undefined,
      },
      timeoutMs: this.pair.timeoutMs,
      store: this.store,
      holdsVip: () => this.vip,
      busy: () => this.busy,
      isActing: () => this.isActing,
      hasVotes: () => this.votes,
      config: this.config,
      version: '1.2.3',
      onAdopted: () => Promise.resolve(),
      onRight: () => undefined,
      tell: (_level, event, detail) => {
        this.events.push(event);
        this.told.push(`${event}: ${detail}`);
      },
    });
    this.store.shareWith(peer);
    this.peer = peer;
    peer.start();
  }

  kill(): void {
    this.life++;
    this.peer?.close();
    this.peer = null;
  }

  get right(): string {
    const { mayAct, charge } = this.peer!.right;
    return mayAct ? 'acts' : (charge?.diagnosis ?? 'waits');
  }

  get sight(): Sight['kind'] {
    return this.peer!.sight.kind;
  }

  get primary(): string | null {
    return (parseState(this.disk) as DurableState).clusters['main']?.primary ?? null;
  }
}

class Pair {
  readonly clock = new FakeClock();
  readonly one = new Host(this);
  readonly two = new Host(this);
  isCut = false;
  /** What each question ends with. */
  failure: Error | null = null;
  readonly timeoutMs: number;

  constructor(timeoutMs = 3_000) {
    this.timeoutMs = timeoutMs;
    this.one.other = this.two;
    this.two.other = this.one;
  }

  async pass(timeMs: number): Promise<void> {
    for (let passed = 0; passed < timeMs; passed += 50) {
      this.clock.advance(50);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** What a cut line answers, until the question is given up. */
  silence(): Promise<never> {
    return new Promise((_resolve, reject) => {
      this.clock.after(1_500, () => reject(new Error('no answer')));
    });
  }
}

async function pairAtWork(timeoutMs?: number): Promise<Pair> {
  const pair = new Pair(timeoutMs);
  pair.one.vip = true;
  pair.one.start();
  pair.two.start();
  await pair.pass(1_000);
  assert.deepEqual([pair.one.right, pair.two.right], ['acts', 'NotInCharge']);
  return pair;
}

describe('a pair of dbproxies', () => {
  test('one that is alone since its start does not act, until an operator says that the other is gone', async () => {
    const { one, ...pair } = await startedAlone();
    await pair.pass(10_000);
    assert.equal(one.right, 'PeerUnheard');
    await assert.rejects(one.store.recordPromotion('main', 'db2'), /not in charge.*SET PEER GONE/);
    await one.peer!.setGone();
    assert.equal(one.right, 'acts');
    await one.store.recordPromotion('main', 'db2');
    assert.equal(one.primary, 'db2');
  });

  test('what one writes down is on the disk of the other when it counts', async () => {
    const { one, two } = await pairAtWork();
    await one.store.recordPromotion('main', 'db2');
    assert.deepEqual([one.primary, two.primary], ['db2', 'db2']);
    assert.equal(two.store.rememberedPrimary('main'), 'db2');
    await assert.rejects(two.store.change({ db1: { roWeight: 3 } }), /not in charge/);
  });

  test('the holder dies right after a promotion: the old primary never comes back, whoever starts alone', async () => {
    const pair = await pairAtWork();
    await pair.one.store.recordPromotion('main', 'db2');
    pair.one.kill();
    pair.two.kill();
    pair.two.start();
    assert.equal(pair.two.store.rememberedPrimary('main'), 'db2');
    assert.equal(pair.two.store.epochOf('main'), 6);
  });

  test('while the disk of the other is full it counts there as well, and that it is not on it is told once', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.isFull = true;
    for (const primary of ['db2', 'db1', 'db2']) {
      const recorded = one.store.recordPromotion('main', primary);
      await pair.pass(200);
      await recorded;
      assert.equal(two.store.rememberedPrimary('main'), primary);
    }
    assert.equal(two.primary, 'db1', 'on its disk');
    assert.equal(two.events.filter((event) => event === 'peer.state_not_saved').length, 1);
    two.isFull = false;
    const recorded = one.store.recordPromotion('main', 'db1');
    await pair.pass(200);
    await recorded;
    assert.deepEqual([one.primary, two.primary], ['db1', 'db1']);
  });

  test('one dies with a promotion on its own disk alone: what the other decides since then holds', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    pair.isCut = true;
    const recorded = one.store.recordPromotion('main', 'db2');
    await pair.pass(200);
    assert.deepEqual([one.primary, two.primary], ['db2', 'db1'], 'on one disk, and not acknowledged');
    one.kill();
    void recorded.catch(() => undefined);
    one.vip = false;
    pair.isCut = false;
    two.vip = true;
    await pair.pass(4_000);
    assert.equal(two.right, 'acts');
    one.start();
    await pair.pass(1_000);
    assert.deepEqual([one.primary, two.primary], ['db1', 'db1']);
    assert.ok(one.events.includes('peer.state_adopted'));
  });

  test('a cut line: who has the VIP goes on when the other is gone, the other stops before that', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    pair.isCut = true;
    await pair.pass(2_000);
    assert.deepEqual([one.sight, one.right], ['silent', 'PeerUnreachable']);
    assert.equal(two.peer!.right.charge?.stopsWrites, true, 'while the first does not act yet');
    await pair.pass(2_000);
    assert.deepEqual([one.sight, one.right, two.right], ['gone', 'acts', 'PeerUnreachable']);
    await one.store.recordPromotion('main', 'db2');
    pair.isCut = false;
    await pair.pass(2_500);
    assert.deepEqual([one.right, two.right, two.primary], ['acts', 'NotInCharge', 'db2']);
  });

  test('a change waits for the other no longer than until it is gone', async () => {
    const pair = await pairAtWork();
    pair.isCut = true;
    let isWritten = false;
    const written = pair.one.store.change({ db1: { roWeight: 3 } }).then(() => (isWritten = true));
    await pair.pass(1_000);
    assert.equal(isWritten, false);
    await pair.pass(4_000);
    assert.equal(isWritten, true);
    await written;
  });

  test('both have the VIP: nobody acts and nobody takes writes, until one has it no more', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.vip = true;
    await pair.pass(300);
    assert.deepEqual([one.right, two.right], ['BothInCharge', 'BothInCharge']);
    one.vip = false;
    await pair.pass(1_000);
    assert.deepEqual([one.right, two.right], ['NotInCharge', 'acts']);
  });

  for (const first of ['one', 'two'] as const) {
    test(`the VIP moves, as dbproxy ${first} sees first: what the other said before stops no writes`, async () => {
      const pair = new Pair();
      const { one, two } = pair;
      one.vip = true;
      pair[first].start();
      await pair.pass(50);
      pair[first].other.start();
      await pair.pass(1_000);
      [one.vip, two.vip] = [false, true];
      for (let step = 0; step < 40; step++) {
        await pair.pass(50);
        for (const { peer } of [one, two]) assert.equal(peer!.right.charge?.stopsWrites ?? false, false);
      }
      assert.deepEqual([one.right, two.right], ['NotInCharge', 'acts']);
    });
  }

  test('a question that was long under way does not undo what was said after it', async () => {
    const pair = await pairAtWork();
    const slow = await pair.two.peer!.receive(LOOK);
    assert.equal(parseMessage(slow).holds, false);
    pair.two.vip = true;
    await pair.pass(600);
    await pair.one.peer!.receive(slow);
    assert.equal(pair.one.right, 'BothInCharge', 'two still has the VIP');
  });

  test('the VIP leaves in the middle of a promotion: it is brought to its end first', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    one.busy = ['main'];
    one.vip = false;
    two.vip = true;
    await pair.pass(500);
    assert.equal(two.right, 'NotInCharge');
    await one.store.recordPromotion('main', 'db2');
    one.busy = [];
    await pair.pass(1_000);
    assert.deepEqual([one.right, two.right, two.primary], ['NotInCharge', 'acts', 'db2']);
  });

  test('the VIP leaves while something is done at a server: the other begins when that has ended', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    one.isActing = true;
    one.vip = false;
    two.vip = true;
    await pair.pass(700);
    assert.deepEqual([one.right, two.right], ['NotInCharge', 'waits']);
    await assert.rejects(two.store.recordPromotion('main', 'db2'), /has not said yet/);
    one.isActing = false;
    await pair.pass(200);
    assert.equal(two.right, 'acts');
  });

  test('a server is made writable only as long as the other can take nothing over', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    const confirmed = async (): Promise<number | null> => {
      let leftMs: number | null = null;
      void one.peer!.confirm().then((left) => (leftMs = left));
      await pair.pass(50);
      return leftMs;
    };
    assert.ok((await confirmed())! > 2_500);
    one.busy = ['main'];
    one.vip = false;
    two.vip = true;
    await pair.pass(300);
    assert.ok((await confirmed())! > 2_500, 'the other waits for the end');
    pair.isCut = true;
    assert.equal(await confirmed(), null);
    await pair.pass(1_600);
    assert.equal(one.peer!.right.mayFinish, false, 'it stops');
    assert.equal(two.right, 'PeerUnreachable', 'before the other begins');
    await pair.pass(3_000);
    assert.deepEqual([two.right, await two.peer!.confirm(), await confirmed()], ['acts', Infinity, 0]);
  });

  test('of two that are cut apart, and both have the VIP, the one with the vote of an arbiter goes on', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.votes = false;
    one.votes = true;
    two.vip = true;
    await pair.pass(1_000);
    assert.deepEqual([one.right, two.right], ['BothInCharge', 'BothInCharge']);
    await one.store.recordPromotion('main', 'db2');
    await assert.rejects(two.store.recordPromotion('main', 'db1'), /not in charge/);
    assert.equal(two.store.epochOf('main'), 6);
    pair.isCut = true;
    await pair.pass(4_000);
    assert.deepEqual([one.right, two.right], ['acts', 'PeerUnreachable']);
    one.votes = false;
    two.votes = true;
    await pair.pass(200);
    assert.equal(two.right, 'acts', 'the vote has come over');
  });

  test('who loses the VIP and the other in the middle of a promotion does not record it', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    one.busy = ['main'];
    pair.isCut = true;
    one.vip = false;
    two.vip = true;
    const recorded = assert.rejects(one.store.recordPromotion('main', 'db2'), /VIP is not here any more/);
    await pair.pass(5_000);
    await recorded;
    assert.deepEqual([one.primary, two.right], ['db1', 'acts']);
  });

  test('the least peer_timeout is no shorter than what is between two questions', async () => {
    const pair = await pairAtWork(500);
    const { one, two } = pair;
    const before = one.events.length + two.events.length;
    await pair.pass(5_000);
    assert.deepEqual([one.right, two.right], ['acts', 'NotInCharge']);
    assert.equal(one.events.length + two.events.length, before, 'nothing was told of a silence');
  });

  test('who stood still takes no writes and does not act until the other has answered', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    pair.isCut = true;
    pair.clock.jump(10_000);
    assert.equal(one.peer!.right.charge?.stopsWrites, true);
    assert.deepEqual([one.sight, one.right], ['silent', 'PeerUnreachable']);
    await pair.pass(2_000);
    assert.deepEqual([one.sight, one.peer!.right.charge?.stopsWrites], ['silent', true]);
    pair.isCut = false;
    await pair.pass(2_000);
    assert.deepEqual([one.right, two.right], ['acts', 'NotInCharge']);
  });

  test('who stood still while the port of the other was closed does not act until it has asked anew', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.kill();
    await pair.pass(1_000);
    assert.deepEqual([one.sight, one.right], ['gone', 'acts']);
    pair.clock.jump(10_000);
    assert.deepEqual([one.right, one.peer!.right.charge?.stopsWrites], ['PeerUnreachable', true]);
    await pair.pass(1_000);
    assert.equal(one.right, 'acts');
  });

  test('who stood still goes on alone when the other has not answered for peer_timeout since then', async () => {
    const pair = await pairAtWork();
    pair.isCut = true;
    pair.clock.jump(10_000);
    await pair.pass(4_000);
    assert.deepEqual([pair.one.sight, pair.one.right], ['gone', 'acts']);
  });

  test('tells of itself and of the other', async () => {
    const pair = await pairAtWork();
    pair.two.busy = ['main'];
    pair.one.config = 'clusters:1 backends:2';
    pair.one.kill();
    pair.one.start();
    await pair.pass(600);
    const [own, other] = pair.one.peer!.report('10.0.0.1:6032', false);
    const stamp = { version: '1.2.3', term: 0, epoch: 5, revision: 0 };
    assert.deepEqual(
      { ...own, reason: '' },
      {
        ...stamp,
        which: 'this',
        address: '10.0.0.1:6032',
        state: 'running',
        holdsVip: true,
        inCharge: false,
        heardMs: null,
        clockAheadMs: null,
        doing: '',
        reason: '',
      },
    );
    assert.match(own!.reason, /in the middle of a promotion/);
    assert.deepEqual(
      { ...other, heardMs: 0 },
      {
        ...stamp,
        which: 'other',
        address: 'the other',
        state: 'connected',
        holdsVip: false,
        inCharge: true,
        heardMs: 0,
        clockAheadMs: 0,
        doing: 'a promotion of main',
        reason: 'its configuration differs: backends',
      },
    );
    pair.two.kill();
    await pair.pass(600);
    const [, gone] = pair.one.peer!.report('10.0.0.1:6032', true);
    assert.deepEqual(
      [gone!.state, gone!.inCharge, gone!.reason],
      ['gone', null, 'connection refused (refused)'],
    );
  });

  test('answers who only looks, and learns nothing from that', async () => {
    const { one } = await pairAtWork();
    const before = one.peer!.report('', true)[1]!.heardMs;
    const message = parseMessage(await one.peer!.receive(LOOK));
    assert.deepEqual([message.holds, message.version, message.state.epoch], [true, '1.2.3', 5]);
    assert.equal(one.peer!.report('', true)[1]!.heardMs, before);
  });

  test('one that is stopped says so when it has ended what it did, and does nothing more; a primary may go on alone then', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.isActing = true;
    let hasLeft = false;
    const left = two.peer!.leave().then(() => (hasLeft = true));
    await pair.pass(1_000);
    assert.equal(hasLeft, false);
    two.isActing = false;
    await pair.pass(1_000);
    assert.equal(hasLeft, true);
    await left;
    // It still answers, and counts as before.
    assert.deepEqual([one.sight, one.right], ['connected', 'acts']);
    await one.store.recordPromotion('main', 'db2');
    two.kill();
    await pair.pass(1_000);
    assert.deepEqual([one.right, one.peer!.right.mayGoAlone], ['acts', true]);
    assert.equal(two.primary, 'db2');
    two.start();
    pair.isCut = true;
    await pair.pass(5_000);
    assert.equal(two.right, 'PeerUnheard', 'who starts again does nothing by what it knows');
    assert.equal(one.peer!.right.mayGoAlone, true);
  });

  test('one that was only killed may be alive behind a cut: no primary goes on alone', async () => {
    const pair = await pairAtWork();
    pair.two.kill();
    await pair.pass(5_000);
    assert.deepEqual([pair.one.right, pair.one.peer!.right.mayGoAlone], ['acts', false]);
  });

  test('that one was stopped does not count after its next process was heard, though it is told late', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    const farewell = two.peer!.leave();
    await pair.pass(500);
    await farewell;
    const last = await two.peer!.receive(LOOK);
    two.kill();
    two.start();
    await pair.pass(1_000);
    await one.peer!.receive(last);
    pair.isCut = true;
    await pair.pass(5_000);
    assert.deepEqual([one.sight, one.peer!.right.mayGoAlone], ['gone', false]);
  });

  test('that one was stopped does not count after standing still: it may have been started again, and gone on alone', async () => {
    const pair = await pairAtWork();
    const farewell = pair.two.peer!.leave();
    await pair.pass(500);
    await farewell;
    pair.two.kill();
    await pair.pass(1_000);
    assert.equal(pair.one.peer!.right.mayGoAlone, true);
    pair.isCut = true;
    pair.clock.jump(10_000);
    await pair.pass(5_000);
    assert.deepEqual([pair.one.sight, pair.one.peer!.right.mayGoAlone], ['gone', false]);
  });

  test('who is being stopped with the VIP decides nothing more, and leaves that to the other', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    const left = one.peer!.leave();
    await pair.pass(500);
    await left;
    await assert.rejects(one.store.change({ db1: { roWeight: 3 } }), /being stopped/);
    assert.equal(one.peer!.right.mayAct, false);
    [one.vip, two.vip] = [false, true];
    await pair.pass(1_000);
    assert.equal(two.right, 'acts');
  });

  test('one that is started anew and lets nobody in is not connected for a moment either', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    two.kill();
    await pair.pass(600);
    one.told = [];
    pair.failure = DENIED;
    two.start();
    for (let step = 0; step < 100; step++) {
      await pair.pass(50);
      assert.equal(one.sight, 'gone');
    }
    assert.deepEqual(one.told, [`peer.not_answered: the other did not answer: ${DENIED.message}`]);
    const { diagnosis, detail } = one.peer!.right.charge!;
    assert.equal(diagnosis, 'PeerUnreachable');
    assert.match(detail, /does not let this one in \(Access denied for user 'pair'/);
    pair.failure = null;
    await pair.pass(1_000);
    assert.deepEqual([one.right, two.right], ['acts', 'NotInCharge']);
  });

  test('one that lets the other in no more is not connected from then on, and gone after peer_timeout', async () => {
    const pair = await pairAtWork();
    const { one, two } = pair;
    pair.failure = DENIED;
    await pair.pass(550);
    assert.deepEqual([one.sight, two.sight], ['silent', 'silent']);
    for (const { peer } of [one, two]) assert.match(peer!.right.charge!.detail, /Access denied/);
    await pair.pass(4_000);
    assert.deepEqual([one.sight, one.right], ['gone', 'acts']);
    assert.match(one.peer!.right.charge!.detail, /Access denied/);
  });

  test('while it does not answer each reason is told once, in words, and again in the next outage', async () => {
    const pair = await pairAtWork();
    const { one } = pair;
    const failures = [1, 2, 3].flatMap((port) => [
      Object.assign(new Error(`connect EHOSTUNREACH - Local (${port})`), { code: 'EHOSTUNREACH' }),
      Object.assign(new Error(`no answer to PEER {"process":"a"} within ${port} ms`), { code: 'ETIMEDOUT' }),
    ]);
    const told = [
      'the other did not answer: host unreachable (connect EHOSTUNREACH - Local (1))',
      'the other did not answer: no answer in time',
    ].map((detail) => `peer.not_answered: ${detail}`);
    for (const outage of [1, 2]) {
      one.told = [];
      for (const failure of failures) {
        pair.failure = failure;
        await pair.pass(1_000);
      }
      const troubles = one.told.filter((line) => line.startsWith('peer.not_answered'));
      assert.deepEqual(troubles, told, `outage ${outage}`);
      pair.failure = null;
      await pair.pass(1_000);
    }
  });

  test('one process that dies is known to be gone at once', async () => {
    const pair = await pairAtWork();
    pair.one.kill();
    pair.one.vip = false;
    pair.two.vip = true;
    await pair.pass(1_000);
    assert.equal(pair.two.right, 'acts');
  });
});

const DENIED = Object.assign(new Error("Access denied for user 'pair'@'10.0.0.1'"), { errno: 1045 });

async function startedAlone(): Promise<{ one: Host; pass(timeMs: number): Promise<void> }> {
  const pair = new Pair();
  pair.one.vip = true;
  pair.one.start();
  await pair.pass(100);
  return { one: pair.one, pass: (timeMs) => pair.pass(timeMs) };
}
