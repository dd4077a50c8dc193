import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, suite, test } from 'node:test';
import { claimAddress, type ClaimOutcome, type TcpEndpoint } from '../../../src/base/address-claim.ts';
import { systemClock } from '../../../src/base/clock.ts';

const releases: (() => void)[] = [];
const servers: net.Server[] = [];

afterEach(() => {
  for (const release of releases.splice(0)) release();
  for (const server of servers.splice(0)) server.close();
});

async function claim(address: TcpEndpoint, holder = 'me'): Promise<ClaimOutcome> {
  const outcome = await claimAddress(address, holder, systemClock);
  if (outcome.kind === 'claimed') releases.push(outcome.release);
  return outcome;
}

/** Listens as a worker does, and answers where. */
async function listen(host: string, port = 0): Promise<number> {
  const server = net.createServer().listen({ host, port, reusePort: true });
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

/** An address that nobody listens on. */
async function free(host = '127.0.0.1'): Promise<TcpEndpoint> {
  const port = await listen(host);
  const [server] = servers.splice(0);
  server!.close();
  await once(server!, 'close');
  return { kind: 'tcp', host, port };
}

suite('an address', () => {
  test('is claimed by one, who may have as many listen there as he likes; the next is told who that is', async () => {
    const address = await free();
    assert.equal((await claim(address, 'process 1')).kind, 'claimed');
    await listen(address.host, address.port);
    await listen(address.host, address.port);
    assert.deepEqual(await claim(address), { kind: 'taken', by: 'another dbproxy (process 1)' });
  });

  test('is claimed by one of several that want it at once', async () => {
    const address = await free();
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => claim(address)));
    assert.equal(outcomes.filter(({ kind }) => kind === 'claimed').length, 1);
  });

  test('is free again when it was let go', async () => {
    const address = await free();
    const first = await claim(address);
    assert.ok(first.kind === 'claimed');
    first.release();
    assert.equal((await claim(address)).kind, 'claimed');
  });

  test('on which somebody listens without a claim is taken, also on all addresses; it is not kept from others', async () => {
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const address: TcpEndpoint = { kind: 'tcp', host: '127.0.0.1', port: await listen(host) };
      assert.deepEqual(await claim(address), { kind: 'taken', by: 'another process' }, host);
      assert.deepEqual(await claim(address), { kind: 'taken', by: 'another process' }, host);
    }
  });

  test('that this host does not have (now) is claimed all the same', async () => {
    const address: TcpEndpoint = { kind: 'tcp', host: '203.0.113.1', port: 6446 };
    assert.equal((await claim(address)).kind, 'claimed');
    assert.equal((await claim(address)).kind, 'taken');
  });

  test('may have a name of any length', async () => {
    const { port } = await free();
    const address: TcpEndpoint = { kind: 'tcp', host: `${'a'.repeat(60)}.${'b'.repeat(60)}.invalid`, port };
    assert.equal((await claim(address)).kind, 'claimed');
    assert.equal((await claim(address)).kind, 'taken');
  });

  test('is nobody’s to speak at length about, nor in control characters', async () => {
    const address = await free();
    await claim(address, `a\u001b[31m\n${'b'.repeat(10_000)}`);
    const outcome = await claim(address);
    assert.ok(outcome.kind === 'taken' && outcome.by.length < 350);
    assert.doesNotMatch(outcome.by, /\p{Cc}/u);
  });
});
