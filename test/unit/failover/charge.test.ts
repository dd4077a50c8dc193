import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  chargeOf,
  matterOf,
  mayGoAlone,
  requireOurs,
  serversInCharge,
  whyNotHere,
  type Standing,
} from '../../../src/failover/charge.ts';
import type { ServerControl } from '../../../src/failover/server-control.ts';
import type { PairRight } from '../../../src/topology/charge.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';

const THEIRS = { vote: 'theirs', holder: 'web2/1', why: 'web2/1 has the lease', recorded: null } as const;

suite('who is in charge', () => {
  test('where nobody votes: this one', () => assert.deepEqual(chargeOf(null, null, false), { isOurs: true }));

  test('by a vote for another one: that one, which an operator is sent to', () => {
    const charge = chargeOf(THEIRS, null, false);
    assert.deepEqual(charge, { isOurs: false, holder: 'web2/1', why: 'web2/1 has the lease' });
    assert.equal(
      whyNotHere(charge),
      'another dbproxy is in charge of the cluster: web2/1 has the lease; say it there',
    );
  });

  test('by no vote: nobody', () => {
    const charge = chargeOf({ ...THEIRS, vote: 'none', holder: null, why: 'etcd is silent' }, null, false);
    assert.equal(whyNotHere(charge), 'no dbproxy is in charge of the cluster: etcd is silent');
  });
});

suite('who of a pair is in charge', () => {
  const LEFT: PairRight = {
    mayAct: true,
    mayActByVote: false,
    claims: true,
    mayFinish: true,
    mayGoAlone: true,
    holder: null,
    charge: null,
  };
  const CHARGE = { diagnosis: 'NotInCharge', detail: 'the VIP is there', stopsWrites: false } as const;
  const THERE: PairRight = { ...LEFT, mayAct: false, claims: false, holder: '10.0.0.2:6032', charge: CHARGE };
  const OURS_BY_VOTE = { ...THEIRS, vote: 'ours', holder: 'web1/1', why: '' } as const;
  const NOBODYS = { ...THEIRS, vote: 'none', holder: null, why: 'etcd is silent' } as const;
  const BOTH: PairRight = {
    ...LEFT,
    mayAct: false,
    mayActByVote: true,
    mayGoAlone: false,
    charge: { diagnosis: 'BothInCharge', detail: 'the VIP is on both', stopsWrites: true },
  };
  const ALONE: PairRight = {
    ...LEFT,
    mayGoAlone: false,
    charge: { diagnosis: 'PeerUnreachable', detail: 'the other is gone', stopsWrites: false },
  };

  test('the one that the other leaves it to', () => {
    assert.equal(chargeOf(null, LEFT, false).isOurs, true);
    const there = chargeOf(null, THERE, false);
    assert.deepEqual(there, { isOurs: false, holder: '10.0.0.2:6032', why: 'the VIP is there' });
    assert.throws(() => requireOurs(there), { code: 'DBPROXY_NOT_IN_CHARGE', message: /the VIP is there/ });
  });

  test('what has begun goes on to its end, where the other waits for that', () => {
    assert.equal(chargeOf(null, THERE, true).isOurs, true);
    assert.equal(chargeOf(null, { ...THERE, mayFinish: false }, true).isOurs, false);
  });

  test('nobody, as long as the other has not said that it leaves it', () => {
    const charge = chargeOf(null, { ...LEFT, mayAct: false }, false);
    assert.match(whyNotHere(charge)!, /^no dbproxy is in charge .*has not said yet/);
  });

  test('where an arbiter votes as well: the one that has both', () => {
    assert.equal(chargeOf(OURS_BY_VOTE, LEFT, false).isOurs, true);
    assert.equal(chargeOf(OURS_BY_VOTE, THERE, false).isOurs, false);
    assert.equal(chargeOf(THEIRS, LEFT, false).isOurs, false);
    assert.equal(chargeOf(THEIRS, LEFT, true).isOurs, false, 'a promotion, too, is cut off by a vote');
  });

  test('where both have the VIP: the one that has the vote, and nobody without one', () => {
    assert.equal(chargeOf(OURS_BY_VOTE, BOTH, false).isOurs, true);
    assert.deepEqual(chargeOf(THEIRS, BOTH, false), { isOurs: false, holder: 'web2/1', why: THEIRS.why });
    assert.equal(chargeOf(null, BOTH, false).isOurs, false);
    assert.equal(chargeOf(OURS_BY_VOTE, { ...BOTH, mayActByVote: false }, false).isOurs, false);
    const stops = [OURS_BY_VOTE, THEIRS, NOBODYS, null].map((vote) => matterOf(vote, BOTH)?.stopsWrites);
    assert.deepEqual(stops, [false, false, true, true]);
  });

  test('who has the VIP, and neither the other nor the vote, takes no writes', () => {
    const stops = [OURS_BY_VOTE, THEIRS, NOBODYS, null].map((vote) => matterOf(vote, ALONE)?.stopsWrites);
    assert.deepEqual(stops, [false, true, true, false]);
    assert.match(matterOf(NOBODYS, ALONE)!.detail, /has not the lease of etcd: etcd is silent/);
    assert.equal(matterOf(OURS_BY_VOTE, LEFT), null);
    assert.equal(matterOf(NOBODYS, THERE), THERE.charge, 'the other has it');
  });

  test('lets a primary go on alone with the vote, or with the word of the other', () => {
    assert.deepEqual(
      [null, THEIRS, OURS_BY_VOTE].map((vote) => mayGoAlone(vote, ALONE)),
      [false, false, true],
    );
    assert.equal(mayGoAlone(null, null), true);
    assert.match(matterOf(null, ALONE)!.detail, /SET PEER GONE/);
    assert.doesNotMatch(matterOf(OURS_BY_VOTE, ALONE)!.detail, /SET PEER GONE/);
  });
});

suite('servers', () => {
  const ACTS = [
    'makeReadOnly',
    'makeWritable',
    'beginNewLog',
    'stopReceiver',
    'startReplication',
    'stopReplication',
    'forgetSource',
    'bringTo',
    'follow',
    'setSemiSync',
    'noteEpoch',
  ] as const;
  const LOOKS = ['look', 'hasApplied', 'logAfter'] as const;

  /** Opens a server that does nothing and remembers what it was asked to. */
  async function opened(
    charge: Standing,
    confirmedMs = Infinity,
    chargeToTidy = charge,
  ): Promise<{ server: ServerControl; asked: string[] }> {
    const asked: string[] = [];
    const note =
      (name: string) =>
      async (withinMs?: number): Promise<void> =>
        void asked.push(withinMs === undefined ? name : `${name} ${withinMs}`);
    const methods = Object.fromEntries([...ACTS, ...LOOKS, 'close'].map((name) => [name, note(name)]));
    const plain = { backend: backendConfig('db1'), ...methods } as unknown as ServerControl;
    const open = serversInCharge(async () => plain, {
      charge: () => charge,
      chargeToTidy: () => chargeToTidy,
      confirm: async () => confirmedMs,
    });
    return { server: await open(plain.backend, clusterConfig()), asked };
  }

  const say = (server: ServerControl, name: string): Promise<unknown> =>
    (server as unknown as Record<string, () => Promise<unknown>>)[name]!();

  test('are looked at by everybody, and acted on by the one in charge', async () => {
    const { server, asked } = await opened({ isOurs: true });
    for (const name of [...LOOKS, ...ACTS]) await say(server, name);
    const said = ACTS.map((name) => (name === 'makeWritable' ? 'makeWritable 2000' : name));
    assert.deepEqual(asked, [...LOOKS, ...said]);
  });

  test('are acted on by nobody else', async () => {
    const { server, asked } = await opened({
      isOurs: false,
      holder: null,
      why: 'the lease may have run out',
    });
    for (const name of ACTS)
      await assert.rejects(say(server, name), /not done at db1: the lease may have run out/, name);
    for (const name of LOOKS) await say(server, name);
    assert.deepEqual(asked, LOOKS);
  });

  test('go on replicating by who has stopped them, though the other one has taken the promotion up', async () => {
    const overtaken: Standing = { isOurs: false, holder: null, why: 'the other one has taken it up' };
    const { server, asked } = await opened(overtaken, Infinity, { isOurs: true });
    for (const name of ACTS)
      if (name !== 'startReplication') await assert.rejects(say(server, name), /not done at db1/, name);
    await say(server, 'startReplication');
    assert.deepEqual(asked, ['startReplication']);
  });

  test('are made writable within the time for which that is sure, and not where there is hardly any', async () => {
    const { server, asked } = await opened({ isOurs: true }, 900.5);
    await server.makeWritable();
    assert.deepEqual(asked, ['makeWritable 900']);
    const another = await opened({ isOurs: true }, 200);
    await assert.rejects(another.server.makeWritable(), /db1 is left read-only/);
    assert.deepEqual(another.asked, []);
  });
});
