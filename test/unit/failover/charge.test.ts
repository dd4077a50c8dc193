import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { chargeOf, serversInCharge, whyNotHere, type Standing } from '../../../src/failover/charge.ts';
import type { ServerControl } from '../../../src/failover/server-control.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';

const THEIRS = { vote: 'theirs', holder: 'web2/1', why: 'web2/1 has the lease', recorded: null } as const;

suite('who is in charge', () => {
  test('where nobody votes: this one', () => assert.deepEqual(chargeOf(null), { isOurs: true }));

  test('by a vote for another one: that one, which an operator is sent to', () => {
    const charge = chargeOf(THEIRS);
    assert.deepEqual(charge, { isOurs: false, holder: 'web2/1', why: 'web2/1 has the lease' });
    assert.equal(
      whyNotHere(charge),
      'another dbproxy is in charge of the cluster: web2/1 has the lease; say it there',
    );
  });

  test('by no vote: nobody', () => {
    const charge = chargeOf({ ...THEIRS, vote: 'none', holder: null, why: 'etcd is silent' });
    assert.equal(whyNotHere(charge), 'no dbproxy is in charge of the cluster: etcd is silent');
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
    confirms = true,
  ): Promise<{ server: ServerControl; asked: string[] }> {
    const asked: string[] = [];
    const note = (name: string) => async (): Promise<void> => void asked.push(name);
    const methods = Object.fromEntries([...ACTS, ...LOOKS, 'close'].map((name) => [name, note(name)]));
    const plain = { backend: backendConfig('db1'), ...methods } as unknown as ServerControl;
    const open = serversInCharge(async () => plain, {
      charge: () => charge,
      confirm: async (_cluster, forMs) => confirms && forMs >= 2_000,
    });
    return { server: await open(plain.backend, clusterConfig()), asked };
  }

  const say = (server: ServerControl, name: string): Promise<unknown> =>
    (server as unknown as Record<string, () => Promise<unknown>>)[name]!();

  test('are looked at by everybody, and acted on by the one in charge', async () => {
    const { server, asked } = await opened({ isOurs: true });
    for (const name of [...LOOKS, ...ACTS]) await say(server, name);
    assert.deepEqual(asked, [...LOOKS, ...ACTS]);
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

  test('are made writable only when that is sure for as long as they may take to come to it', async () => {
    const { server, asked } = await opened({ isOurs: true }, false);
    await assert.rejects(server.makeWritable(), /db1 is left read-only/);
    assert.deepEqual(asked, []);
  });
});
