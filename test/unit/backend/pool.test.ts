import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Identity, SETTING_FLAGS } from '../../../src/backend/wish.ts';
import { BackendPool, type PoolRequest } from '../../../src/backend/pool.ts';
import { Slots } from '../../../src/backend/slots.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { writeError, writeOk } from '../../../src/protocol/packets.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { PLAIN_CHANNEL } from '../../support/channels.ts';
import { FakeServer, type FakeServerOptions } from '../../support/fake-server.ts';

const TIMEOUT_MS = 1000;
const CONNECT_TIMEOUT_MS = 400;

function request(
  change: {
    user?: string;
    capabilities?: number;
    database?: string;
    readOnly?: boolean;
    client?: string;
    account?: string;
  } = {},
): PoolRequest {
  const {
    user = 'app',
    capabilities = 0,
    database = '',
    readOnly = false,
    client = '10.0.0.1',
    account = '',
  } = change;
  return {
    identity: new Identity({
      user,
      account,
      capabilities,
      extendedCapabilities: 0,
      client: { address: client, port: 4000 },
    }),
    secret: { password: user },
    keepsPassword: true,
    preparation: {
      database,
      collation: 45,
      readOnly,
      attributes: Buffer.alloc(0),
      settingFlags: capabilities & SETTING_FLAGS,
    },
    timeoutMs: TIMEOUT_MS,
  };
}

let clock: FakeClock;
let servers: FakeServer[];
let failures: string[];
let slots: Slots;

beforeEach(() => {
  clock = new FakeClock();
  servers = [];
  failures = [];
});

afterEach(async () => {
  for (const server of servers) await server.stop();
});

async function serve(options: FakeServerOptions = {}): Promise<FakeServer> {
  const server = await FakeServer.start({
    accounts: { app: { password: 'app' }, other: { password: 'other' } },
    ...options,
  });
  servers.push(server);
  return server;
}

/** A pool of at most `limit` connections to a server. */
function poolOf(server: FakeServer, limit = 10): BackendPool {
  let free = limit;
  slots = new Slots({
    want: (key, count) => {
      const granted = Math.min(count, free);
      free -= granted;
      if (granted > 0) queueMicrotask(() => slots.granted(key, granted));
    },
    giveBack: (_key, count) => {
      free += count;
    },
  });
  return new BackendPool(
    { name: 'db1', address: server.endpoint, maxConnections: limit },
    {
      slots,
      clock,
      idleTimeoutMs: 5000,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      workers: 1,
      channel: PLAIN_CHANNEL,
      onFailure: (name, error) => failures.push(`${name}: ${error}`),
    },
  );
}

function count(pool: BackendPool, user = 'app') {
  return pool.counts().find((entry) => entry.user === user);
}

/** Resolves when the pool has that many idle connections. */
async function idle(pool: BackendPool, wanted: number, user = 'app'): Promise<void> {
  await eventually(() => assert.equal(count(pool, user)?.idle ?? 0, wanted));
}

suite('lending', () => {
  test('opens a connection, counts it, and lends it again after a reset', async () => {
    const server = await serve();
    const pool = poolOf(server);
    const first = await pool.acquire(request());
    assert.deepEqual(count(pool), { user: 'app', used: 1, idle: 0, connecting: 0, waiting: 0 });
    pool.release(first, true);
    assert.deepEqual(count(pool), { user: 'app', used: 0, idle: 0, connecting: 1, waiting: 0 });
    await idle(pool, 1);
    const second = await pool.acquire(request());
    assert.equal(second, first);
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.CHANGE_USER]);
  });

  test('never lends a connection of one account to another account of the same name', async () => {
    const server = await serve();
    const pool = poolOf(server);
    pool.release(await pool.acquire(request({ account: "app@'10.0.0.1' one" })), true);
    await idle(pool, 1);
    await pool.acquire(request({ account: "app@'10.0.0.2' two" }));
    assert.equal(server.connections.length, 2);
  });

  test('asks a new connection when one that idled cannot be brought to the state of the next session', async () => {
    let answersChange = true;
    const server = await serve({
      respond: (command) =>
        command[0] === Command.CHANGE_USER && !answersChange
          ? writeError(1, { errno: 1045, sqlState: '28000', message: 'an older password' })
          : command[0] === Command.CHANGE_USER
            ? undefined
            : writeOk(1),
    });
    const pool = poolOf(server);
    const held = await pool.acquire(request());
    answersChange = false;
    server.connections[0]!.socket.resume();
    pool.release(held, true);
    await eventually(() => assert.equal(held.closed, true));
    await pool.acquire(request({ database: 'other' }));
    assert.equal(server.connections.length, 2);
  });

  test('closes a connection that is given back in an unknown state', async () => {
    const server = await serve();
    const pool = poolOf(server);
    pool.release(await pool.acquire(request()), false);
    await server.connections[0]!.closed();
    await eventually(() => assert.equal(slots.used('backend:db1'), 0));
    assert.notEqual((await pool.acquire(request())).threadId, 1);
  });

  test('refuses to take one back twice', async () => {
    const pool = poolOf(await serve());
    const connection = await pool.acquire(request());
    pool.release(connection, false);
    assert.throws(() => pool.release(connection, false), /released twice/);
  });

  test('prefers the connection that is prepared already, and prepares another only for want of it', async () => {
    const server = await serve();
    const pool = poolOf(server);
    const [one, two] = [
      await pool.acquire(request({ database: 'one' })),
      await pool.acquire(request({ database: 'two' })),
    ];
    pool.release(one, true);
    await idle(pool, 1);
    pool.release(two, true);
    await idle(pool, 2);
    assert.equal(await pool.acquire(request({ database: 'one' })), one);
    assert.equal(server.connections[0]!.log.length, 1);
    assert.equal(await pool.acquire(request({ database: 'three' })), two);
    assert.deepEqual(server.connections[1]!.commandBytes, [Command.CHANGE_USER, Command.CHANGE_USER]);
    assert.equal(two.preparation.database, 'three');
  });

  test('makes a connection of a read endpoint READ ONLY, new or used', async () => {
    const server = await serve();
    const pool = poolOf(server);
    const connection = await pool.acquire(request({ readOnly: true }));
    assert.equal(server.connections[0]!.log[0]!.toString('latin1', 1), 'SET SESSION TRANSACTION READ ONLY');
    pool.release(connection, true);
    await idle(pool, 1);
    await pool.acquire(request({ readOnly: true }));
    const again = [Command.QUERY, Command.CHANGE_USER, Command.QUERY];
    assert.deepEqual(server.connections[0]!.commandBytes, again);
  });

  test('does not give one identity the connection of another', async () => {
    const pool = poolOf(await serve());
    const first = await pool.acquire(request());
    pool.release(first, true);
    await idle(pool, 1);
    assert.notEqual(await pool.acquire(request({ user: 'other' })), first);
    assert.notEqual(await pool.acquire(request({ capabilities: 2 })), first);
  });
});

suite('limits', () => {
  test('never opens more than the limit, and serves the queue in its order', async () => {
    const server = await serve();
    const pool = poolOf(server, 2);
    const held = [await pool.acquire(request()), await pool.acquire(request())];
    const waitsBefore = pool.waits;
    const order: number[] = [];
    const waiting = [1, 2, 3].map((number) =>
      pool.acquire(request()).then((connection) => {
        order.push(number);
        return connection;
      }),
    );
    assert.equal(count(pool)?.waiting, 3);
    assert.equal(pool.waits - waitsBefore, 3);
    for (const connection of held) pool.release(connection, true);
    pool.release(await waiting[0]!, true);
    await Promise.all(waiting);
    assert.deepEqual(order, [1, 2, 3]);
    assert.equal(server.connections.length, 2);
  });

  test('a burst opens the limit at most', async () => {
    const server = await serve();
    const pool = poolOf(server, 3);
    const wishes = Array.from({ length: 12 }, () =>
      pool.acquire(request()).then(async (connection) => {
        assert.ok(server.openCount <= 3);
        pool.release(connection, Math.abs(connection.threadId) % 2 === 0);
      }),
    );
    await Promise.all(wishes);
  });

  test('who waits too long is told the limit and the time, and is forgotten', async () => {
    const pool = poolOf(await serve(), 1);
    const held = await pool.acquire(request());
    const late = assert.rejects(pool.acquire(request()), {
      code: 'DBPROXY_QUEUE_TIMEOUT',
      message: /1000 ms.*= 1 /,
    });
    clock.advance(TIMEOUT_MS);
    await late;
    assert.equal(pool.waitingCount, 0);
    pool.release(held, true);
    await idle(pool, 1);
    assert.equal(await pool.acquire(request()), held);
  });

  test('a slot that comes after the last waiter has given up goes back', async () => {
    const server = await serve();
    const returned: number[] = [];
    slots = new Slots({ want: () => undefined, giveBack: (_key, slotCount) => returned.push(slotCount) });
    const pool = new BackendPool(
      { name: 'db1', address: server.endpoint, maxConnections: 1 },
      {
        slots,
        clock,
        idleTimeoutMs: 5000,
        connectTimeoutMs: 2_000,
        workers: 1,
        channel: PLAIN_CHANNEL,
        onFailure: () => undefined,
      },
    );
    const late = assert.rejects(pool.acquire(request()), { code: 'DBPROXY_QUEUE_TIMEOUT' });
    clock.advance(TIMEOUT_MS);
    await late;
    slots.granted('backend:db1', 5);
    assert.deepEqual(returned, [5]);
  });

  test('a waiter gets the connection prepared for it', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    const held = await pool.acquire(request());
    const waiting = pool.acquire(request({ database: 'mine' }));
    pool.release(held, true);
    assert.equal((await waiting).preparation.database, 'mine');
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.CHANGE_USER]);
  });

  test('an idle connection of another identity makes room, one for one', async () => {
    const server = await serve();
    const pool = poolOf(server, 2);
    const held = [await pool.acquire(request()), await pool.acquire(request())];
    for (const connection of held) pool.release(connection, true);
    await idle(pool, 2);
    const other = await pool.acquire(request({ user: 'other' }));
    assert.equal(other.identity.user, 'other');
    assert.equal(count(pool)?.idle, 1);
    assert.equal(server.openCount, 2);
  });

  test('slots that others are owed are given back instead of idling', async () => {
    const server = await serve();
    const pool = poolOf(server, 2);
    const held = await pool.acquire(request());
    // The second slot of the two has been granted with the first one and goes back at once.
    slots.giveBackIdle('backend:db1');
    slots.giveBackIdle('backend:db1');
    pool.release(held, true);
    await server.connections[0]!.closed();
    assert.equal(count(pool), undefined);
  });
});

suite('failures', () => {
  test('a server that is not there is reported, and its slot is free again', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    await server.stop();
    servers = [];
    for (let round = 0; round < 2; round++) {
      await assert.rejects(pool.acquire(request()), {
        code: 'DBPROXY_BACKEND_CONNECT',
        message: /ECONNREFUSED/,
      });
    }
    assert.equal(failures.length, 2);
    assert.equal(slots.used('backend:db1'), 0);
  });

  test('a refused login comes as the server said it, and is no failure of the server', async () => {
    const pool = poolOf(await serve({ accounts: {} }), 1);
    await assert.rejects(pool.acquire(request()), /Access denied/);
    assert.deepEqual(failures, []);
    assert.equal(slots.used('backend:db1'), 0);
  });

  test('a server that says nothing is given up after the time', async () => {
    const server = await serve({ onConnect: () => undefined });
    const pool = poolOf(server, 1);
    const wish = assert.rejects(pool.acquire(request()), {
      code: 'DBPROXY_BACKEND_CONNECT',
      message: /no answer within/,
    });
    await eventually(() => assert.equal(server.openCount, 1));
    clock.advance(CONNECT_TIMEOUT_MS);
    await wish;
    assert.equal(slots.used('backend:db1'), 0);
  });

  test('who waits for a server that is down is told at once, in the queue and at its login', async () => {
    const server = await serve({ onConnect: () => undefined });
    const pool = poolOf(server, 1);
    const told = { code: 'DBPROXY_BACKEND_CONNECT', message: /it is down/ };
    const opening = assert.rejects(pool.acquire(request()), told);
    await eventually(() => assert.equal(server.openCount, 1));
    const queued = assert.rejects(pool.acquire(request()), told);
    pool.serverDown('it is down');
    await Promise.all([opening, queued]);
    assert.equal(slots.used('backend:db1'), 0);
  });

  test('what idles in the name of some users is closed, and nothing else', async () => {
    const server = await serve();
    const pool = poolOf(server);
    const [mine, others] = [await pool.acquire(request()), await pool.acquire(request({ user: 'other' }))];
    pool.release(mine, true);
    pool.release(others, true);
    await idle(pool, 1);
    await idle(pool, 1, 'other');
    pool.dropIdle((user) => user === 'other');
    assert.equal(others.closed, true);
    assert.equal(mine.closed, false);
  });

  test('a statement aside gets through when all connections are taken', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    await pool.acquire(request());
    await pool.executeAside(request(), 'KILL QUERY 1');
    assert.deepEqual(server.connections[1]!.commandBytes, [Command.QUERY]);
    await server.connections[1]!.closed();
    assert.equal(slots.used('backend:db1'), 1);
  });

  test('what flags gave a session at its login, a reset gives the next', async () => {
    const server = await serve({ capabilities: 0xffffffff & ~Capability.SSL });
    const pool = poolOf(server);
    const flags = Capability.IGNORE_SPACE | Capability.INTERACTIVE;
    pool.release(await pool.acquire(request({ capabilities: flags })), true);
    await idle(pool, 1);
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.CHANGE_USER, Command.QUERY]);
  });

  test('a server that speaks nonsense is refused in words', async () => {
    const nonsense = [
      Buffer.from([3, 0, 0, 0, 9, 1, 0]),
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      Buffer.alloc(9),
    ];
    for (const bytes of nonsense) {
      const server = await serve({ onConnect: (socket) => socket.write(bytes) });
      await assert.rejects(poolOf(server, 1).acquire(request()), {
        code: /DBPROXY_(MALFORMED_PACKET|PACKET_TOO_LARGE|BACKEND_CONNECT)/,
      });
    }
  });

  test('a reset that the server refuses closes the connection, and the next one is new', async () => {
    const server = await serve({
      respond: (command) =>
        command[0] === Command.CHANGE_USER
          ? writeError(1, { errno: 1045, sqlState: '28000', message: 'no more' })
          : writeOk(1),
    });
    const pool = poolOf(server, 1);
    pool.release(await pool.acquire(request()), true);
    await server.connections[0]!.closed();
    assert.equal((await pool.acquire(request())).threadId, 2);
  });

  test('a reset that the server never answers is given up, and its slot is free again', async () => {
    const server = await serve({ respond: () => Buffer.alloc(0) });
    const pool = poolOf(server, 1);
    pool.release(await pool.acquire(request()), true);
    const waiting = pool.acquire({ ...request(), timeoutMs: 60_000 });
    clock.advance(20_000);
    assert.equal((await waiting).threadId, 2);
    await server.connections[0]!.closed();
  });

  test('bytes after the answer to a reset spoil the connection', async () => {
    const server = await serve({
      respond: () =>
        Buffer.concat([writeOk(1), writeError(1, { errno: 1, sqlState: 'HY000', message: 'x' })]),
    });
    const pool = poolOf(server, 1);
    pool.release(await pool.acquire(request()), true);
    await server.connections[0]!.closed();
    assert.equal((await pool.acquire(request())).threadId, 2);
  });

  test('an idle connection that the server closes is forgotten', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    pool.release(await pool.acquire(request()), true);
    await idle(pool, 1);
    server.connections[0]!.socket.end(writeError(0, { errno: 1927, sqlState: '70100', message: 'killed' }));
    await idle(pool, 0);
    assert.equal((await pool.acquire(request())).threadId, 2);
  });

  test('an idle connection that is lost while it is prepared is replaced by a new one', async () => {
    let answers = 0;
    const server = await serve({
      respond: (command, connection) => {
        if (command[0] !== Command.CHANGE_USER || ++answers === 1) return writeOk(1);
        connection.socket.destroy();
        return Buffer.alloc(0);
      },
    });
    const pool = poolOf(server, 1);
    pool.release(await pool.acquire(request()), true);
    await idle(pool, 1);
    const connection = await pool.acquire(request({ database: 'another' }));
    assert.equal(connection.threadId, 2);
    assert.equal(connection.preparation.database, 'another');
  });

  test('a lent connection that is lost gives its slot free when its session gives it back', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    const connection = await pool.acquire(request());
    const lost = new Promise<string>((resolve) => {
      connection.user = {
        onBackendData: () => undefined,
        onBackendDrain: () => undefined,
        onBackendClose: resolve,
      };
    });
    server.connections[0]!.socket.destroy();
    assert.match(await lost, /closed|ECONNRESET/);
    pool.release(connection, true);
    assert.equal((await pool.acquire(request())).threadId, 2);
  });
});

suite('idling', () => {
  async function twoIdle(): Promise<{ server: FakeServer; pool: BackendPool; both: BackendConnection[] }> {
    const server = await serve();
    const pool = poolOf(server);
    const both = [await pool.acquire(request()), await pool.acquire(request())];
    pool.release(both[0]!, true);
    await idle(pool, 1);
    clock.advance(3000);
    pool.release(both[1]!, true);
    await idle(pool, 2);
    return { server, pool, both };
  }

  test('those that have idled too long are closed, and only those', async () => {
    const { pool, both } = await twoIdle();
    clock.advance(2500);
    pool.trim(clock.nowMs());
    assert.equal(count(pool)?.idle, 1);
    assert.equal(both[0]!.closed, true);
    assert.equal(both[1]!.closed, false);
  });

  test('one that is being closed is given to nobody', async () => {
    const { pool, both } = await twoIdle();
    pool.dropIdle();
    const fresh = await pool.acquire(request());
    assert.ok(!both.includes(fresh));
    assert.equal(fresh.closed, false);
  });

  test('the pool closes whole, and tells who waits', async () => {
    const server = await serve();
    const pool = poolOf(server, 1);
    await pool.acquire(request());
    const told = assert.rejects(pool.acquire(request()), /the end/);
    pool.close(new Error('the end'));
    await told;
    await server.connections[0]!.closed();
    assert.equal(clock.pending, 0);
  });

  test('sockets that nobody uses any more are closed on both sides', async () => {
    const { server, pool } = await twoIdle();
    const gone = server.connections.map(({ socket }) => once(socket, 'close'));
    pool.dropIdle();
    await Promise.all(gone);
    await eventually(() => assert.equal(slots.used('backend:db1'), 0));
  });
});

suite('another primary', () => {
  test('while it is shut no connection that may write is kept, and one that is READ ONLY is', async () => {
    const pool = poolOf(await serve());
    const [writer, reader] = [await pool.acquire(request()), await pool.acquire(request({ readOnly: true }))];
    pool.shut();
    const emptied = pool.emptied();
    pool.giveBack(writer);
    pool.giveBack(reader);
    await emptied;
    assert.deepEqual([writer.closed, reader.closed], [true, false]);
    pool.reopen();
    const next = await pool.acquire(request());
    pool.giveBack(next);
    assert.equal(next.closed, false);
    pool.close(new Error('the test is over'));
  });

  test('a cut tells who uses a connection why, and leaves those that are READ ONLY', async () => {
    const pool = poolOf(await serve());
    const [writer, reader] = [await pool.acquire(request()), await pool.acquire(request({ readOnly: true }))];
    const told = new Promise<string>((resolve) => {
      writer.user = {
        onBackendData: () => undefined,
        onBackendDrain: () => undefined,
        onBackendClose: resolve,
      };
    });
    assert.equal(pool.cut('db2 is the primary now'), 1);
    assert.equal(await told, 'db2 is the primary now');
    assert.equal(reader.closed, false);
    assert.deepEqual(failures, [], 'it is not the server that has failed');
    pool.close(new Error('the test is over'));
  });

  test('a connection that the server ends is reported, in use or idle', async () => {
    const server = await serve();
    const pool = poolOf(server);
    const [used, rests] = [await pool.acquire(request()), await pool.acquire(request())];
    pool.giveBack(rests);
    for (const { socket } of server.connections) socket.destroy();
    await eventually(() => assert.equal(failures.length, 2, String(failures)));
    assert.equal(used.closed, true);
  });
});
