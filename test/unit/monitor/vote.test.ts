import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { leaseLeftMs, renewalMs } from '../../../src/monitor/lease.ts';
import { LeaseVote, proxyName, type VoteOptions } from '../../../src/monitor/vote.ts';
import { formatRecord, parseRecord } from '../../../src/topology/shared-state.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';

const TTL_MS = 3_000;
const STATE = 'dbproxy/main/state';
const LEADER = 'dbproxy/main/leader';

class Lab {
  readonly clock = new FakeClock();
  readonly etcd = new FakeEtcd(this.clock);
  readonly told: string[] = [];

  vote(name: string, over: Partial<VoteOptions> = {}): LeaseVote {
    return new LeaseVote({
      cluster: 'main',
      name,
      ttlMs: TTL_MS,
      clock: this.clock,
      etcd: this.etcd,
      wants: () => true,
      isWorried: () => false,
      worriedIntervalMs: 250,
      settle: async () => undefined,
      onChange: ({ vote }) => this.told.push(`${name} ${vote}`),
      ...over,
    });
  }
}

suite('a lease by our own clock', () => {
  const lease = { id: '1', ttlMs: 3_000, askedMs: 10_000 };
  for (const [what, nowMs, leftMs] of [
    ['just asked for', 10_000, 2_700],
    ['a while after', 11_000, 1_700],
    ['at its end, less a tenth', 12_700, 0],
    ['long after', 60_000, 0],
  ] as const) {
    test(`${what}: ${leftMs} ms are left`, () => assert.equal(leaseLeftMs(lease, nowMs), leftMs));
  }

  test('is renewed twice before it would run out', () => assert.equal(renewalMs(3_000), 1_000));
});

suite('the vote of an etcd', () => {
  test('gives the right to the one that comes first, and tells the other who has it', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    const other = lab.vote('other');
    await one.start();
    await other.start();
    assert.equal(one.sight.vote, 'ours');
    assert.deepEqual(other.sight, {
      vote: 'theirs',
      holder: 'one',
      why: 'one has the lease',
      recorded: null,
    });
    assert.equal(lab.etcd.valueOf(LEADER), 'one');
  });

  test('keeps it as long as it is renewed', async () => {
    const lab = new Lab();
    const vote = lab.vote('one');
    await vote.start();
    await lab.clock.pass(60_000);
    assert.equal(vote.sight.vote, 'ours');
    assert.deepEqual(lab.told, ['one ours']);
  });

  test('is over by our own clock before another one can have it', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    const other = lab.vote('other');
    await one.start();
    await other.start();
    // This process stands still: no timer of it fires.
    one.close();
    const sights: string[] = [];
    for (let passedMs = 0; passedMs < 5_000; passedMs += 50) {
      await lab.clock.pass(50);
      sights.push(`${one.sight.vote} ${other.sight.vote}`);
      assert.notEqual(`${one.sight.vote} ${other.sight.vote}`, 'ours ours');
    }
    assert.ok(sights.includes('none theirs'), 'for a moment nobody has it');
    assert.equal(other.sight.vote, 'ours');
  });

  test('is over when the process stood still, before any timer of it has fired', async () => {
    const lab = new Lab();
    const vote = lab.vote('one');
    await vote.start();
    lab.clock.jump(2_700);
    assert.equal(vote.sight.vote, 'none');
    assert.match(vote.sight.why, /the lease may have run out/);
  });

  test('counts from before it was asked, however long the answer takes', async () => {
    const lab = new Lab();
    lab.etcd.onAsked = () => void lab.clock.jump(900);
    const vote = lab.vote('one');
    await vote.start();
    // Granted after 900 ms, and 900 more for the key.
    assert.equal(vote.leftMs, 900);
  });

  test('is nobody to be trusted with when etcd is silent for as long as the lease lasts', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    const other = lab.vote('other');
    await one.start();
    await other.start();
    lab.etcd.isDown = true;
    await lab.clock.pass(1_000);
    assert.equal(one.sight.vote, 'ours', 'what was given still holds');
    assert.equal(one.answer?.kind, 'unreachable');
    await lab.clock.pass(3_000);
    assert.equal(one.sight.vote, 'none');
    assert.equal(other.sight.vote, 'none');
    assert.match(one.sight.why, /no answer within 1000 ms/);
    lab.etcd.isDown = false;
    await lab.clock.pass(1_000);
    assert.deepEqual([one.sight.vote, other.sight.vote].toSorted(), ['ours', 'theirs']);
  });

  test('is given back at an orderly end, and another one has it at once', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    const other = lab.vote('other');
    await one.start();
    await other.start();
    await one.release();
    assert.equal(lab.etcd.valueOf(LEADER), null);
    await lab.clock.pass(1_000);
    assert.equal(other.sight.vote, 'ours');
    assert.notEqual(one.sight.vote, 'ours');
  });

  test('is given back by one that does not want it any more', async () => {
    const lab = new Lab();
    let wants = true;
    const one = lab.vote('one', { wants: () => wants });
    await one.start();
    wants = false;
    await lab.clock.pass(1_100);
    assert.equal(lab.etcd.valueOf(LEADER), null);
    assert.equal(one.sight.vote, 'none');
  });

  test('is of no use until what was decided before has been taken over', async () => {
    const lab = new Lab();
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (finish = resolve));
    const vote = lab.vote('one', { settle: () => gate });
    const started = vote.start();
    await lab.clock.pass(500);
    assert.equal(vote.sight.vote, 'none');
    assert.match(vote.sight.why, /reads what was decided/);
    finish();
    await started;
    assert.equal(vote.sight.vote, 'ours');
  });

  test('goes to another one when the first cannot take over what was decided', async () => {
    const lab = new Lab();
    const one = lab.vote('one', { settle: () => Promise.reject(new Error('no space left')) });
    const other = lab.vote('other');
    await one.start();
    assert.equal(one.sight.vote, 'none');
    assert.match(one.sight.why, /cannot use it \(no space left\)/);
    await other.start();
    await lab.clock.pass(2_500);
    assert.deepEqual([one.sight.vote, other.sight.vote], ['theirs', 'ours']);
  });

  test('a process of the same name does not take the key of the one before for its own', async () => {
    const lab = new Lab();
    const before = lab.vote('one');
    await before.start();
    before.close();
    const vote = lab.vote('one');
    await vote.start();
    assert.equal(vote.sight.vote, 'none');
    await lab.clock.pass(TTL_MS + 1_000);
    assert.equal(vote.sight.vote, 'ours');
  });

  test('is confirmed for as long as it is ours for sure', async () => {
    const lab = new Lab();
    const vote = lab.vote('one');
    await vote.start();
    lab.clock.jump(1_500);
    assert.equal(vote.leftMs, 1_200);
    assert.equal(await vote.confirm(), 2_700);
    lab.etcd.isDown = true;
    lab.clock.jump(1_000);
    assert.equal(await vote.confirm(), 1_700);
  });
});

suite('the shared state of a cluster', () => {
  const state = { primary: 'db2', epoch: 8 };

  test('is read as it was written', () => {
    const record = { epoch: 8, state: { ...state, alone: true, inHand: ['db1'] }, by: 'one' };
    assert.deepEqual(parseRecord(formatRecord(record)), record);
  });

  test('that makes no sense says why', () => {
    assert.equal(
      parseRecord('{'),
      "it is not JSON (Expected property name or '}' in JSON at position 1 (line 1 column 2))",
    );
    assert.match(JSON.stringify(parseRecord('{"format":9}')), /format 9/);
  });

  test('is written by the one with the right, and read by the others', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    const other = lab.vote('other');
    await one.start();
    await other.start();
    await one.publish(state, 8);
    await lab.clock.pass(1_000);
    assert.deepEqual(other.record, { epoch: 8, state, by: 'one' });
    assert.deepEqual(other.sight.recorded, { epoch: 8, primary: 'db2' });
    await assert.rejects(other.publish({ primary: 'db1' }, 9), /not written down, as one has the lease/);
  });

  test('is not written by one that has lost the right and does not know it', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    await one.start();
    // Somebody has taken it away, as an operator of etcd may.
    await lab.etcd.revoke('1');
    lab.etcd.put(LEADER, 'other');
    assert.equal(one.sight.vote, 'ours', 'it does not know');
    await assert.rejects(one.publish(state, 8), /not written down/);
    assert.equal(lab.etcd.valueOf(STATE), null);
  });

  test('is not written over by an earlier epoch', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    await one.start();
    await one.publish(state, 8);
    await assert.rejects(one.publish({ primary: 'db1' }, 7), /one has written down epoch 8 \(db2\)/);
  });

  test('that was written, with the answer lost, is found out at the next attempt', async () => {
    const lab = new Lab();
    const one = lab.vote('one');
    await one.start();
    lab.etcd.losesAnswers = 1;
    await assert.rejects(one.publish(state, 8), /the answer was lost/);
    assert.equal(one.lastEpoch, 8, 'its number is not used again');
    await one.publish({ primary: 'db1' }, 9);
    const kept = parseRecord(lab.etcd.valueOf(STATE)!);
    assert.deepEqual(kept, { epoch: 9, state: { primary: 'db1', epoch: 9 }, by: 'one' });
  });

  test('that cannot be understood keeps everybody from acting', async () => {
    const lab = new Lab();
    lab.etcd.put(STATE, 'what?');
    const vote = lab.vote('one');
    await vote.start();
    assert.equal(vote.sight.vote, 'none');
    assert.match(vote.sight.why, /dbproxy\/main\/state cannot be understood: it is not JSON/);
  });
});

test('the name of a proxy is that of its host, and differs by state_dir', () => {
  assert.equal(proxyName('/a'), proxyName('/b/../a'));
  assert.notEqual(proxyName('/a'), proxyName('/b'));
});
