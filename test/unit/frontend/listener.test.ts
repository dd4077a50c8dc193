import assert from 'node:assert/strict';
import net from 'node:net';
import { afterEach, suite, test } from 'node:test';
import { once } from 'node:events';
import type { Endpoint } from '../../../src/base/address.ts';
import { HostAddresses } from '../../../src/base/host-addresses.ts';
import { silentLog } from '../../../src/base/log.ts';
import type { ByteSocket } from '../../../src/base/socket.ts';
import { Slots } from '../../../src/backend/slots.ts';
import { Counters } from '../../../src/frontend/counters.ts';
import { Listener } from '../../../src/frontend/listener.ts';
import type { ListenerConfig } from '../../../src/config/config.ts';
import { parseError } from '../../../src/protocol/packets.ts';
import { SPLIT_DEFAULTS } from '../../support/configs.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeHost } from '../../support/fake-host.ts';
import { Inbox } from '../../support/inbox.ts';

const open: Listener[] = [];
const sockets: { destroy(): void }[] = [];

afterEach(() => {
  for (const listener of open.splice(0)) listener.close();
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A free port of 127.0.0.1: taken, and let go. */
async function freePort(): Promise<Extract<Endpoint, { kind: 'tcp' }>> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return { kind: 'tcp', host: '127.0.0.1', port };
}

async function listen(change: Partial<ListenerConfig> = {}, limit = 10, takenBy: string | null = null) {
  const clock = new FakeClock();
  const counters = new Counters();
  const statuses = new Inbox<string | null>();
  const begun = new Inbox<{ client: ByteSocket; over: () => void }>();
  const taken: { by: string | null } = { by: takenBy };
  const host = new FakeHost();
  const released = new Inbox<null>();
  let free = limit;
  const slots: Slots = new Slots({
    want: (key, count) => {
      const granted = Math.min(count, free);
      free -= granted;
      if (granted > 0) queueMicrotask(() => slots.granted(key, granted));
    },
    giveBack: (_key, count) => {
      free += count;
    },
  });
  const config: ListenerConfig = {
    name: 'entry',
    cluster: 'c',
    address: change.address ?? (await freePort()),
    mode: 'write',
    ...SPLIT_DEFAULTS,
    balance: 'weighted_round_robin',
    maxConnections: limit,
    queueTimeoutMs: 1000,
    idleTimeoutMs: 1000,
    handshakeTimeoutMs: 1000,
    drainTimeoutMs: 30_000,
    allow: [],
    proxyProtocolFrom: [],
    tls: 'off',
    compression: true,
    ...change,
  };
  const listener = new Listener({
    config,
    clock,
    log: silentLog,
    slots,
    counters,
    addresses: new HostAddresses(clock, host),
    onReleased: () => released.put(null),
    removesStaleSocket: false,
    takenBy: () => taken.by,
    begin: (client, over) => {
      sockets.push(client);
      begun.put({ client, over });
    },
    onStatus: (error) => statuses.put(error),
  });
  open.push(listener);
  listener.open();
  const connect = async (): Promise<FakeClient> => {
    const client = await FakeClient.connect(config.address);
    sockets.push(client);
    return client;
  };
  return { listener, clock, counters, statuses, begun, slots, connect, taken, host, released };
}

/** An address of no host that may be one of any. */
const MOVING = { kind: 'tcp', host: '192.0.2.77', port: 3306 } as const;

/** Lets the loop turn until a timer has been set. */
async function timerSet(clock: FakeClock): Promise<void> {
  while (clock.pending === 0) await new Promise((resolve) => setImmediate(resolve));
}

suite('a listener', () => {
  test('says that it listens and begins a session for each client', async () => {
    const { statuses, begun, connect } = await listen();
    assert.equal(await statuses.take(), null);
    await connect();
    assert.equal((await begun.take()).client.remoteAddress, '127.0.0.1');
  });

  test('refuses an address that is not allowed, in words and before any greeting', async () => {
    const { statuses, counters, begun, connect } = await listen({ allow: ['10.0.0.0/8'] });
    await statuses.take();
    const client = await connect();
    const packet = (await client.packet())!;
    assert.equal(packet.sequence, 0);
    const error = parseError(packet.payload);
    assert.equal(error.errno, 1130);
    assert.equal(error.sqlState, '', 'clients know no SQLSTATE yet');
    await client.end();
    assert.equal(begun.length, 0);
    assert.deepEqual(counters.loginStats(), [{ reason: 'DBPROXY_ADDRESS_NOT_ALLOWED', count: 1 }]);
  });

  test('refuses more than max_connections, and lets in again when one has gone', async () => {
    const { statuses, begun, slots, clock, connect } = await listen({}, 1);
    await statuses.take();
    await connect();
    const first = await begun.take();
    const second = await connect();
    const refused = second.packet();
    // The wish for a slot is made when the kernel has handed the connection over.
    await timerSet(clock);
    clock.advance(600);
    assert.equal(parseError((await refused)!.payload).errno, 1040);
    first.over();
    assert.equal(slots.used('listener:entry'), 0);
    await connect();
    await begun.take();
  });

  test('lets a burst in as far as the limit allows', async () => {
    const { statuses, begun, connect } = await listen({}, 40);
    await statuses.take();
    await Promise.all(Array.from({ length: 40 }, connect));
    for (let count = 0; count < 40; count++) await begun.take();
  });

  test('says who has its port, and that it is tried again', async () => {
    const address = await freePort();
    const other = net.createServer().listen(address.port, address.host);
    await once(other, 'listening');
    const { statuses, clock } = await listen({ address });
    assert.match((await statuses.take())!, /EADDRINUSE, another process has it; tried again every 1000 ms$/);
    other.close();
    await once(other, 'close');
    clock.advance(1_000);
    assert.equal(await statuses.take(), null);
  });

  test('does not share its address with whom it is said to belong to, and takes it when he has let go', async () => {
    const { statuses, clock, taken } = await listen({}, 10, 'another dbproxy (process 1)');
    assert.match((await statuses.take())!, /EADDRINUSE, another dbproxy \(process 1\) has it; tried again/);
    clock.advance(1_000);
    taken.by = null;
    clock.advance(1_000);
    assert.equal(await statuses.take(), null);
  });

  test('waits for an address that this host does not have, and says so once', async () => {
    const { statuses, clock } = await listen({ address: MOVING });
    assert.match(
      (await statuses.take())!,
      /does not have 192\.0\.2\.77:3306 \(now\); listens as soon as it comes$/,
    );
    await clock.pass(150);
    assert.equal(statuses.length, 0);
  });

  test('tries an address that has come and cannot be bound yet again at once', async () => {
    const { statuses, clock, host, released } = await listen({ address: MOVING });
    await statuses.take();
    // An IPv6 address that may be somebody else's, too, is in the list, and cannot be bound.
    host.addresses.add(MOVING.host);
    await clock.pass(50);
    assert.match(
      (await statuses.take())!,
      /does not have 192\.0\.2\.77:3306 \(now\); tried again every 100 ms$/,
    );
    host.addresses.delete(MOVING.host);
    await clock.pass(50);
    assert.match((await statuses.take())!, /listens as soon as it comes$/);
    assert.equal(released.length, 0, 'it has never listened');
    assert.equal(clock.pending, 1, 'only the look at the addresses is left');
  });

  test('looks at no address when it listens where every host does', async () => {
    const { statuses, clock } = await listen();
    assert.equal(await statuses.take(), null);
    assert.equal(clock.pending, 0);
  });
});
