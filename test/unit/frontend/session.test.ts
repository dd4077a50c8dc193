/**
 * Whole sessions over loopback sockets, between a client and a server that do what no driver and no server
 * can be made to do.
 */
import assert from 'node:assert/strict';
import { afterEach, suite, test } from 'node:test';
import { refusal } from '../../../src/base/errors.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { writeHandshakeResponse } from '../../../src/protocol/handshake.ts';
import { ClientLogin } from '../../../src/protocol/login-client.ts';
import { parseOk, writeCommand, writeError, writeOk, writeResultSet } from '../../../src/protocol/packets.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClient, type FakeLogin } from '../../support/fake-client.ts';
import { MYSQL_5_6 } from '../../support/greetings.ts';
import { FakeServer, type FakeServerConnection, type FakeServerOptions } from '../../support/fake-server.ts';
import { FakeWorker, user, type FakeWorkerOptions } from '../../support/fake-worker.ts';

const clients: FakeClient[] = [];
let worker: FakeWorker;
let server: FakeServer;

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await worker.stop();
  await server.stop();
});

interface Setup extends Omit<Partial<FakeWorkerOptions>, 'servers'> {
  server?: FakeServerOptions;
}

/** A server and an endpoint in front of it. */
async function setUp({ server: serverOptions = {}, ...options }: Setup = {}): Promise<void> {
  server = await FakeServer.start(serverOptions);
  worker = await FakeWorker.start({ servers: { db1: server.endpoint }, ...options });
}

async function connect(): Promise<FakeClient> {
  const client = await FakeClient.connect(worker.endpoint);
  clients.push(client);
  return client;
}

async function logIn(login: FakeLogin = {}): Promise<FakeClient> {
  const client = await FakeClient.loggedIn(worker.endpoint, login);
  clients.push(client);
  return client;
}

/** Leaves every statement to the test; answers our own commands with OK. */
const scripted: FakeServerOptions = {
  respond: (command) => (command[0] === Command.CHANGE_USER ? writeOk(1) : undefined),
};

function query(sql: string): Buffer {
  return writeCommand(Command.QUERY, sql);
}

const QUIT = writeCommand(Command.QUIT);
const PING = writeCommand(Command.PING);
const failure = { errno: 1146, sqlState: '42S02', message: 'no such table' };

async function assertOk(client: FakeClient, sequence = 1): Promise<void> {
  const packet = await client.packet();
  assert.equal(packet?.payload[0], 0, packet?.payload.toString('latin1') ?? 'closed');
  assert.equal(packet.sequence, sequence);
}

/** The text of the statements that a connection has got. */
function statements(connection: FakeServerConnection): string[] {
  return connection.log
    .filter(([command]) => command === Command.QUERY)
    .map((bytes) => bytes.toString('utf8', 1));
}

async function idleConnections(wanted: number): Promise<void> {
  await eventually(() => {
    const idle = worker
      .pool('db1')
      .counts()
      .reduce((sum, count) => sum + count.idle, 0);
    assert.equal(idle, wanted);
  });
}

async function noSessions(): Promise<void> {
  await eventually(() => assert.equal([...worker.sessions.all()].length, 0));
}

suite('login', () => {
  test('right: the client is told the status, and its statement reaches the server', async () => {
    await setUp();
    const client = await connect();
    const ok = await client.logIn({ database: 'demo' });
    assert.equal(ok!.sequence, 2);
    assert.equal(parseOk(ok!.payload).status, 2);
    client.send(query('select 1'));
    await assertOk(client);
    assert.deepEqual(statements(server.connections[0]!), ['select 1']);
  });

  test('a wrong password and an unknown user get the same error and a closed connection', async () => {
    await setUp();
    for (const login of [{ password: 'wrong' }, { user: 'nobody' }]) {
      const client = await connect();
      const packet = await client.logIn(login);
      assert.equal(packet!.payload.readUInt16LE(1), 1045);
      assert.equal(packet!.sequence, 2);
      await client.end();
    }
    await noSessions();
    assert.equal(server.connections.length, 0);
    assert.deepEqual(worker.counters.loginStats(), [{ reason: 'DBPROXY_ACCESS_DENIED', count: 2 }]);
  });

  test('garbage, an oversized packet and an early TLS request are answered in words', async () => {
    await setUp();
    const ssl = Buffer.alloc(36);
    ssl.set([32, 0, 0, 1]);
    ssl.writeUInt32LE(Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.SSL, 4);
    const old = Buffer.from([10, 0, 0, 1, 0x05, 0x20, 0, 0, 0, 0x61, 0, 0, 0, 0]);
    const cases: [bytes: Buffer, errno: number][] = [
      [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1153],
      [Buffer.from([0xff, 0xff, 0xff, 1]), 1153],
      [Buffer.from([3, 0, 0, 7, 1, 2, 3]), 1156],
      [Buffer.from([3, 0, 0, 1, 0, 0x82, 0]), 1835],
      [Buffer.from([0, 0, 0, 1]), 1835],
      [ssl, 1043],
      [old, 1251],
    ];
    for (const [bytes, errno] of cases) {
      const client = await connect();
      await client.packet();
      client.send(bytes);
      const error = await client.error();
      assert.equal(error.errno, errno, bytes.toString('hex'));
      assert.equal(error.sequence, errno === 1156 ? 8 : 2, bytes.toString('hex'));
      await client.end();
    }
    await noSessions();
  });

  test('the response may come byte by byte, and with a command behind it', async () => {
    await setUp({
      server: { accounts: { open: { password: '' } } },
      users: [user({ name: 'open', password: '' })],
    });
    // An empty password: the response does not depend on the scramble.
    const response = writeHandshakeResponse(1, {
      capabilities: Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION,
      extendedCapabilities: 0,
      maxPacketBytes: 1,
      collation: 45,
      user: 'open',
      answer: Buffer.alloc(0),
      database: '',
      plugin: '',
      attributes: Buffer.alloc(0),
      zstdLevel: 0,
    });
    const client = await connect();
    await client.packet();
    await client.sendInPieces([...response].map((byte) => Buffer.from([byte])));
    await assertOk(client, 2);

    const hasty = await connect();
    await hasty.packet();
    hasty.send(response, PING, query('select 1'));
    await assertOk(hasty, 2);
    await assertOk(hasty);
    await assertOk(hasty);
  });

  test('a client that says nothing is told so after handshake_timeout', async () => {
    await setUp({ listener: { handshakeTimeoutMs: 500 } });
    const client = await connect();
    await client.packet();
    await worker.session();
    worker.clock.advance(400);
    worker.sessions.tick();
    assert.equal([...worker.sessions.all()].length, 1);
    worker.clock.advance(200);
    worker.sessions.tick();
    assert.equal((await client.error()).errno, 1159);
    await client.end();
  });

  test('an address or a listener that the user may not use is refused by name', async () => {
    const far = user({ name: 'far', password: 'app', allow: ['10.0.0.0/8'] });
    const elsewhere = user({ name: 'elsewhere', password: 'app', listeners: ['other'] });
    await setUp({ users: [far, elsewhere] });
    for (const { name } of [far, elsewhere]) {
      const client = await connect();
      const packet = await client.logIn({ user: name });
      assert.equal(packet!.payload.readUInt16LE(1), 1130);
      assert.match(packet!.payload.toString(), new RegExp(`'${name}'`));
      await client.end();
    }
  });

  test("a user's limit holds, and is free again when a session ends", async () => {
    await setUp({ users: [user({ maxConnections: 1 })], limits: { 'user:app': 1 } });
    const first = await logIn();
    const second = await connect();
    const answer = second.logIn();
    await eventually(() => assert.equal(worker.counters.waiting, 1));
    worker.clock.advance(600);
    assert.equal((await answer)!.payload.readUInt16LE(1), 1226);
    first.send(QUIT);
    await noSessions();
    await logIn();
  });

  test("a server's refusal is passed on as one, without the account's password", async () => {
    await setUp({ server: { accounts: {} } });
    const client = await connect();
    const packet = await client.logIn();
    assert.equal(packet!.payload.readUInt16LE(1), 1045);
    assert.equal(packet!.sequence, 2);
    await client.end();
    assert.equal(worker.slots.used('backend:db1'), 0);
  });

  test('with no primary it waits for a snapshot that has one, and gives up after queue_timeout', async () => {
    await setUp();
    const whole = worker.snapshot;
    const without = {
      ...whole,
      clusters: [{ ...whole.clusters[0]!, primary: null, reason: 'all are down' }],
    };
    worker.publish(without);
    const lucky = await connect();
    const answer = lucky.logIn();
    await eventually(() => assert.equal(worker.counters.waiting, 1));
    worker.publish(whole);
    assert.equal((await answer)!.payload[0], 0);

    worker.publish(without);
    const late = await connect();
    const refused = late.logIn();
    await eventually(() => assert.equal(worker.counters.waiting, 1));
    worker.clock.advance(1001);
    const packet = await refused;
    assert.equal(packet!.payload.readUInt16LE(1), 1290);
    assert.match(packet!.payload.toString(), /all are down/);
  });

  test('a read finds another server when its replica does not answer', async () => {
    server = await FakeServer.start();
    const gone = await FakeServer.start();
    const { endpoint } = gone;
    await gone.stop();
    worker = await FakeWorker.start({
      servers: { db1: server.endpoint, db2: endpoint },
      listener: { mode: 'read' },
    });
    const client = await logIn();
    client.send(query('select 1'));
    await assertOk(client);
    assert.equal([...worker.sessions.all()][0]!.backend, 'db1');
  });

  test('a client that goes while it waits leaves nothing behind', async () => {
    await setUp({ limits: { 'backend:db1': 1 } });
    const holder = await logIn();
    const waiting = await connect();
    void waiting.logIn();
    await eventually(() => assert.equal(worker.pool('db1').waitingCount, 1));
    waiting.destroy();
    await eventually(() => assert.equal([...worker.sessions.all()].length, 1));
    holder.send(QUIT);
    await idleConnections(1);
    assert.equal(server.connections.length, 1);
  });
});

suite('commands', () => {
  const sent = Buffer.concat([
    query('select 1'),
    PING,
    writeCommand(Command.STMT_CLOSE, Buffer.alloc(4)),
    query('KILL 5'),
    writeCommand(Command.RESET_CONNECTION),
    writeCommand(Command.STMT_SEND_LONG_DATA, Buffer.alloc(30)),
    writeCommand(0x77),
    Buffer.from([0, 0, 0, 0]),
    query('  '),
    writeCommand(Command.STMT_PREPARE, 'select ?'),
  ]);
  /** What the server must have got of it; the last one has an answer of its own shape. */
  const arrived = ['select 1', 'KILL 5', '  '];

  function respond(command: Buffer): Buffer {
    if (command[0] === Command.STMT_CLOSE || command[0] === Command.STMT_SEND_LONG_DATA)
      return Buffer.alloc(0);
    if (command[0] === Command.STMT_PREPARE)
      return Buffer.concat([Buffer.from([12, 0, 0, 1]), Buffer.alloc(12)]);
    return command[0] === 0x77
      ? writeError(1, { errno: 1047, sqlState: '08S01', message: 'Unknown' })
      : writeOk(1);
  }

  async function assertAllAnswered(client: FakeClient, connection: FakeServerConnection): Promise<void> {
    await assertOk(client); // select 1
    await assertOk(client); // ping
    await assertOk(client); // kill
    await assertOk(client); // reset
    assert.equal((await client.error()).errno, 1047);
    assert.equal((await client.error()).errno, 1047);
    await assertOk(client); // blank
    assert.equal((await client.packet())!.payload.length, 12);
    assert.deepEqual(statements(connection), arrived);
  }

  test('in one piece, pipelined, are answered in their order', async () => {
    await setUp({ server: { respond } });
    const client = await logIn();
    client.send(sent);
    await assertAllAnswered(client, server.connections[0]!);
  });

  test('byte by byte are the same', async () => {
    await setUp({ server: { respond } });
    const client = await logIn();
    await client.sendInPieces([...sent].map((byte) => Buffer.from([byte])));
    await assertAllAnswered(client, server.connections[0]!);
  });

  for (const mode of ['write', 'read'] as const) {
    test(`cut in two at every offset are the same (${mode} endpoint)`, async () => {
      await setUp({ server: { respond }, listener: { mode } });
      const client = await logIn();
      const kill = query('KILL 1073741824');
      worker.places.set(1073741824, { backend: 'db1', threadId: 99, user: 'app' });
      for (let cut = 1; cut < kill.length; cut++) {
        await client.sendInPieces([kill.subarray(0, cut), kill.subarray(cut)]);
        await assertOk(client);
      }
      const seen = statements(server.connections[0]!).filter((sql) => sql.startsWith('KILL'));
      assert.deepEqual(new Set(seen), new Set(['KILL 99']));
      assert.equal(seen.length, kill.length - 1);
      for (let cut = 1; cut < 12; cut++) {
        await client.sendInPieces([
          PING.subarray(0, cut),
          PING.subarray(cut),
          query('select 2').subarray(0, cut),
        ]);
        await client.sendInPieces([query('select 2').subarray(cut)]);
        await assertOk(client);
        await assertOk(client);
      }
    });
  }

  test('an empty packet whose header is cut is one unknown command, and what follows is its own', async () => {
    await setUp();
    const client = await logIn();
    const empty = Buffer.from([0, 0, 0, 0]);
    for (let cut = 1; cut < 4; cut++) {
      await client.sendInPieces([empty.subarray(0, cut), Buffer.concat([empty.subarray(cut), PING])]);
      assert.equal((await client.error()).errno, 1047);
      await assertOk(client);
    }
  });

  test('a wrong sequence number ends the session with 1156', async () => {
    await setUp();
    const client = await logIn();
    const odd = Buffer.from(PING);
    odd[3] = 3;
    client.send(odd);
    const error = await client.error();
    assert.equal(error.errno, 1156);
    assert.equal(error.sequence, 0);
    await client.end();
    await server.connections[0]!.closed();
  });

  test('a body of 20 MB passes in its chain', async () => {
    let received = 0;
    await setUp({ server: scripted });
    const client = await logIn();
    const connection = server.connections[0]!;
    connection.socket.removeAllListeners('data');
    const first = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0]), Buffer.alloc(0xffffff, 0x20)]);
    first[4] = Command.QUERY;
    const second = Buffer.concat([Buffer.from([0, 0, 0x40, 1]), Buffer.alloc(0x400000, 0x20)]);
    const whole = new Promise<void>((resolve) => {
      connection.socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received >= first.length + second.length) resolve();
      });
    });
    client.send(first, second);
    await whole;
    assert.equal(received, first.length + second.length);
    connection.send(writeOk(2));
    await assertOk(client, 2);
    connection.socket.on('data', () => connection.send(writeOk(1)));
    client.send(PING);
    await assertOk(client);
  });

  test('an ERR before the body has been read whole reaches the client, and the session goes on', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    const connection = server.connections[0]!;
    const long = query(`insert into t values ('${'x'.repeat(3000)}')`);
    client.send(long.subarray(0, 1000));
    connection.send(writeError(1, failure));
    assert.equal((await client.error()).errno, 1146);
    client.send(long.subarray(1000), PING);
    assert.equal((await connection.command()).length, long.length - 4);
    assert.equal((await connection.command())[0], Command.PING);
    connection.send(writeOk(1));
    await assertOk(client);
  });

  test('a local file passes, and the next command after it', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    const connection = server.connections[0]!;
    client.send(query("load data local infile 'x' into table t"));
    await connection.command();
    connection.send(Buffer.concat([Buffer.from([2, 0, 0, 1]), Buffer.from('\xfbx', 'latin1')]));
    assert.equal((await client.packet())!.payload[0], 0xfb);
    const file = Buffer.concat([
      Buffer.from([5, 0, 0, 2]),
      Buffer.from('\x01QUIT'),
      Buffer.from([0, 0, 0, 3]),
    ]);
    await client.sendInPieces([...file].map((byte) => Buffer.from([byte])));
    assert.equal((await connection.command()).toString(), '\x01QUIT');
    assert.equal((await connection.command()).length, 0);
    connection.send(writeOk(4));
    await assertOk(client, 4);
    client.send(PING);
    assert.equal((await connection.command())[0], Command.PING);
  });

  test('KILL ends the other session before the killer hears of it', async () => {
    await setUp();
    const victim = await logIn();
    const victimSession = await worker.session();
    const killer = await logIn();
    killer.send(query(`KILL ${victimSession.id}`));
    await assertOk(killer);
    assert.equal(worker.sessions.find(victimSession.id), undefined);
    await victim.end();
    assert.deepEqual(statements(server.connections[1]!), ['KILL 1']);
    killer.send(PING);
    await assertOk(killer);
  });

  test('KILL of a session that is nowhere is left to the server, elsewhere it runs there', async () => {
    await setUp();
    const client = await logIn();
    const victim = await logIn();
    const [, second] = [...worker.sessions.all()];
    const id = second!.id;
    client.send(query('kill 1073741999'));
    await assertOk(client);
    client.send(query(`kill query ${id}`));
    await assertOk(client);
    const processKill = Buffer.alloc(4);
    processKill.writeUInt32LE(id);
    client.send(writeCommand(Command.PROCESS_KILL, processKill));
    await assertOk(client);
    assert.deepEqual(statements(server.connections[0]!), ['kill 1073741999', 'KILL QUERY 2', 'KILL 2']);
    assert.equal(victim.closed, false);
  });
});

suite('COM_CHANGE_USER', () => {
  const other = user({ name: 'other', password: 'other' });
  const accounts = { app: { password: 'app' }, other: { password: 'other' } };

  /** Runs a change of user on a client that is logged in; answers the last packet. */
  async function change(
    client: FakeClient,
    name: string,
    password: string,
    before: Buffer = Buffer.alloc(0),
  ) {
    const login = new ClientLogin({
      user: name,
      secret: { password },
      database: 'demo',
      collation: 45,
      capabilities: Capability.PLUGIN_AUTH,
    });
    const greeting = {
      serverVersion: '',
      connectionId: 1,
      scramble: Buffer.alloc(20, 1),
      capabilities: 0,
      extendedCapabilities: 0,
      collation: 0,
      status: 0,
      plugin: 'mysql_native_password',
    };
    const first = login.changeUser(greeting, Capability.PLUGIN_AUTH);
    assert.equal(first.kind, 'send');
    client.send(before, (first as { bytes: Buffer }).bytes);
    if (before.length > 0) await assertOk(client);
    const question = (await client.packet())!;
    const step = login.receive(question.payload, question.sequence);
    assert.equal(step.kind, 'send');
    client.send((step as { bytes: Buffer }).bytes);
    return (await client.packet())!;
  }

  test('right: the session goes on as the other user, on the same connection to the server', async () => {
    await setUp({ users: [user(), other], server: { accounts } });
    const client = await logIn();
    const packet = await change(client, 'other', 'other');
    assert.equal(packet.payload[0], 0);
    assert.equal(packet.sequence, 3);
    client.send(query('select 1'));
    await assertOk(client);
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.CHANGE_USER, Command.QUERY]);
    assert.equal(worker.pool('db1').counts()[0]!.user, 'other');
  });

  test('behind another command in one chunk is right as well', async () => {
    await setUp({ users: [user(), other], server: { accounts } });
    const client = await logIn();
    assert.equal((await change(client, 'other', 'other', query('select 1'))).payload[0], 0);
  });

  test('wrong: 1045, and the session goes on as the user it was, its state reset, until it has guessed thrice', async () => {
    await setUp({ users: [user(), other], server: { accounts } });
    const client = await logIn();
    for (const guess of ['wrong', 'wrong too']) {
      const packet = await change(client, 'other', guess);
      assert.equal(packet.payload.readUInt16LE(1), 1045);
      assert.equal(packet.sequence, 3);
      client.send(query('select 1'));
      await assertOk(client);
    }
    const [connection] = server.connections;
    assert.equal(server.connections.length, 1);
    assert.deepEqual(
      connection!.commandBytes,
      [Command.CHANGE_USER, Command.QUERY, Command.CHANGE_USER, Command.QUERY],
      'the server resets its session',
    );
    assert.equal(worker.pool('db1').counts()[0]!.user, 'app');
    assert.equal((await change(client, 'other', 'wrong')).payload.readUInt16LE(1), 1045);
    await client.end();
    await noSessions();
  });

  test('wrong, where the servers are MySQL: 1045, and the connection is closed', async () => {
    await setUp({ users: [user(), other], server: { accounts } });
    const backends = worker.snapshot.backends.map((view) => ({ ...view, greeting: MYSQL_5_6 }));
    worker.publish({ ...worker.snapshot, backends });
    const client = await logIn();
    const packet = await change(client, 'other', 'wrong');
    assert.equal(packet.payload.readUInt16LE(1), 1045);
    await client.end();
    await noSessions();
  });

  test('that the server refuses leaves the session the user it was', async () => {
    await setUp({ users: [user(), other], server: { accounts: { app: { password: 'app' } } } });
    const client = await logIn();
    assert.equal((await change(client, 'other', 'other')).payload.readUInt16LE(1), 1045);
    client.send(query('select 1'));
    await assertOk(client);
    assert.equal(worker.pool('db1').counts()[0]!.user, 'app');
  });

  test('that is refused keeps the place of the first user and takes none of the second', async () => {
    const limited = [
      user({ maxConnections: 1 }),
      user({ name: 'other', password: 'other', maxConnections: 1 }),
    ];
    const known = { app: { password: 'app' } };
    await setUp({ users: limited, server: { accounts: known }, limits: { 'user:app': 1, 'user:other': 1 } });
    const client = await logIn();
    assert.equal((await change(client, 'other', 'other')).payload.readUInt16LE(1), 1045);
    assert.equal(worker.slots.used('user:app'), 1);
    assert.equal(worker.slots.used('user:other'), 0);
  });

  test('to a user who has no place left resets the session, which goes on', async () => {
    const limited = [user(), user({ name: 'other', password: 'other', maxConnections: 1 })];
    await setUp({ users: limited, server: { accounts }, limits: { 'user:other': 1 } });
    await logIn({ user: 'other', password: 'other' });
    const client = await logIn();
    let errno = 0;
    void change(client, 'other', 'other').then(({ payload }) => (errno = payload.readUInt16LE(1)));
    await eventually(() => {
      worker.clock.advance(500);
      assert.equal(errno, 1226);
    });
    client.send(query('select 1'));
    await assertOk(client);
    assert.deepEqual(server.connections[1]!.commandBytes, [Command.CHANGE_USER, Command.QUERY]);
  });

  test("gives the first user's slot back", async () => {
    const limited = user({ maxConnections: 1 });
    await setUp({ users: [limited, other], server: { accounts }, limits: { 'user:app': 1 } });
    const client = await logIn();
    assert.equal(worker.slots.used('user:app'), 1);
    await change(client, 'other', 'other');
    assert.equal(worker.slots.used('user:app'), 0);
    client.send(QUIT);
    await noSessions();
  });
});

suite('the end', () => {
  test("an option that outlives a reset (several statements a packet) is no other session's", async () => {
    await setUp();
    const client = await logIn();
    client.send(writeCommand(Command.SET_OPTION, Buffer.from([0, 0])));
    await assertOk(client);
    client.send(QUIT);
    await client.end();
    await noSessions();
    await eventually(() => assert.equal(worker.slots.used('backend:db1'), 0));
  });

  test('QUIT at rest: the connection is reset and serves the next session', async () => {
    await setUp();
    const first = await logIn();
    first.send(query('begin'));
    await assertOk(first);
    first.send(QUIT);
    await first.end();
    await idleConnections(1);
    const second = await logIn();
    second.send(PING);
    await assertOk(second);
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.QUERY, Command.CHANGE_USER, Command.PING]);
    assert.equal(server.connections.length, 1);
  });

  test('a client gone in the middle of a statement: its connection is closed, not pooled', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    client.send(query('select sleep(100)'));
    await server.connections[0]!.command();
    client.destroy();
    await server.connections[0]!.closed();
    await noSessions();
    assert.deepEqual(worker.pool('db1').counts(), []);
  });

  test('a client gone in the middle of its own command: the same', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    await client.sendInPieces([query(`select '${'x'.repeat(200)}'`).subarray(0, 100)]);
    client.destroy();
    await server.connections[0]!.closed();
  });

  test('a client gone at rest: its connection is reset and pooled', async () => {
    await setUp();
    const client = await logIn();
    client.send(PING);
    await assertOk(client);
    client.destroy();
    await idleConnections(1);
  });

  test('a server gone before it answers: 1158 in the place of the answer', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    client.send(query('select 1'));
    await server.connections[0]!.command();
    server.connections[0]!.socket.destroy();
    const error = await client.error();
    assert.equal(error.errno, 1158);
    assert.equal(error.sequence, 1);
    assert.match(error.message, /'db1'/);
    await client.end();
  });

  test('a server gone in the middle of an answer: the client is cut off, with no packet of ours in it', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    client.send(query('select 1'));
    const connection = server.connections[0]!;
    await connection.command();
    connection.send(writeResultSet([{ name: 'a', type: 'text' }], [['x']], 0).subarray(0, 20));
    assert.equal((await client.packet())!.payload.length, 1);
    connection.socket.destroy();
    await client.end();
  });

  test("a server's goodbye that nobody asked for reaches the client", async () => {
    await setUp();
    const client = await logIn();
    server.connections[0]!.socket.end(writeError(0, { errno: 1927, sqlState: '70100', message: 'killed' }));
    assert.equal((await client.error()).errno, 1927);
    await client.end();
    await noSessions();
  });

  test('bytes behind an answer spoil the connection: QUIT does not pool it', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    client.send(PING);
    const connection = server.connections[0]!;
    await connection.command();
    connection.send(Buffer.concat([writeOk(1), writeOk(9)]));
    await assertOk(client);
    await assertOk(client, 9);
    client.send(QUIT);
    await connection.closed();
  });

  test('idle_timeout ends a session that rests, and not one that works', async () => {
    await setUp({ server: scripted, listener: { idleTimeoutMs: 1000 } });
    const resting = await logIn();
    const working = await logIn();
    working.send(query('select sleep(9)'));
    await server.connections[1]!.command();
    worker.clock.advance(1001);
    worker.sessions.tick();
    await resting.end();
    server.connections[1]!.send(writeOk(1));
    await assertOk(working);
  });
});

suite('an end at the next rest', () => {
  const reason = refusal('DBPROXY_SESSION_ENDED', 'moved');
  const IN_TRANSACTION = 3;

  test('comes at once for a session that rests or logs in', async () => {
    await setUp();
    const resting = await logIn();
    worker.clock.advance(1_000);
    const coming = await connect();
    await coming.packet();
    await worker.sessions.endEach(60_000);
    await resting.end();
    await coming.end();
  });

  test('of all comes behind the next answer for who was served a moment ago', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    worker.clock.advance(999);
    const ended = worker.sessions.endEach(60_000);
    worker.sessions.tick();
    client.send(query('select 1'));
    await server.connections[0]!.command();
    server.connections[0]!.send(writeOk(1));
    await assertOk(client);
    await client.end();
    await ended;
  });

  test('of all comes for who was served a moment ago when he has nothing more to say, but not within a transaction', async () => {
    await setUp({ server: scripted });
    const resting = await logIn();
    const inside = await logIn();
    const connection = server.connections[1]!;
    inside.send(query('begin'));
    await connection.command();
    connection.send(writeOk(1, { status: IN_TRANSACTION }));
    await assertOk(inside);
    const ended = worker.sessions.endEach(60_000);
    worker.clock.advance(1_000);
    worker.sessions.tick();
    await resting.end();
    inside.send(query('commit'));
    await connection.command();
    connection.send(writeOk(1));
    await assertOk(inside);
    await inside.end();
    await ended;
  });

  test('of all comes behind the answer after next when this process stood still behind the next one', async (context) => {
    await setUp({ server: scripted });
    const client = await logIn();
    const ended = worker.sessions.endEach(60_000);
    const connection = server.connections[0]!;
    const { clock } = worker;
    const standing = context.mock.method(clock, 'nowMs', () => {
      clock.advance(2);
      return clock.wallMs();
    });
    for (const isLast of [false, true]) {
      if (isLast) standing.mock.restore();
      client.send(query('select 1'));
      await connection.command();
      connection.send(writeOk(1));
      await assertOk(client);
    }
    await client.end();
    await ended;
  });

  test('waits for the answer under way', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    client.send(query('select 1'));
    await server.connections[0]!.command();
    const ended = worker.sessions.endEach(60_000);
    server.connections[0]!.send(writeOk(1));
    await assertOk(client);
    await client.end();
    await ended;
  });

  test('waits for the transaction', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    const connection = server.connections[0]!;
    client.send(query('begin'));
    await connection.command();
    connection.send(writeOk(1, { status: IN_TRANSACTION }));
    await assertOk(client);
    const ended = worker.sessions.endEach(60_000);
    client.send(query('commit'));
    await connection.command();
    connection.send(writeOk(1));
    await assertOk(client);
    await client.end();
    await ended;
  });

  test('comes at the deadline in any case: an error for who waits, a close for who rests', async () => {
    await setUp({ server: scripted });
    const waiting = await logIn();
    waiting.send(query('select 1'));
    await server.connections[0]!.command();
    const inside = await logIn();
    inside.send(query('begin'));
    await server.connections[1]!.command();
    server.connections[1]!.send(writeOk(1, { status: IN_TRANSACTION }));
    await assertOk(inside);
    const ended = worker.sessions.endOn('db1', 500, 'moved');
    worker.clock.advance(501);
    worker.sessions.tick();
    assert.equal((await waiting.error()).errno, 1053);
    await waiting.end();
    await inside.end();
    assert.equal(await ended, 2);
  });

  test('comes for a session that waits for a backend, at the deadline', async () => {
    await setUp({ limits: { 'backend:db1': 1 }, listener: { queueTimeoutMs: 60_000 } });
    await logIn();
    const waiting = await connect();
    const answer = waiting.logIn();
    await eventually(() => assert.equal(worker.pool('db1').waitingCount, 1));
    const ended = worker.sessions.endEach(500);
    worker.clock.advance(501);
    worker.sessions.tick();
    const packet = await answer;
    assert.equal(packet!.payload.readUInt16LE(1), 1053);
    assert.equal(packet!.sequence, 2);
    await ended;
  });

  test('of a session that is over already is over', async () => {
    await setUp();
    const client = await logIn();
    const session = await worker.session();
    client.send(QUIT);
    await noSessions();
    await session.endWhenIdle(reason, 0);
  });
});

suite('a read endpoint', () => {
  const READ_ONLY = 'SET SESSION TRANSACTION READ ONLY';

  test('makes its session READ ONLY, and again after COM_RESET_CONNECTION', async () => {
    await setUp({ listener: { mode: 'read' } });
    const client = await logIn();
    client.send(writeCommand(Command.RESET_CONNECTION));
    await assertOk(client);
    assert.deepEqual(statements(server.connections[0]!), [READ_ONLY, READ_ONLY]);
  });

  test('that cannot be made READ ONLY again is ended', async () => {
    let settings = 0;
    await setUp({
      listener: { mode: 'read' },
      server: {
        respond: (command) =>
          command[0] === Command.QUERY && ++settings > 1 ? writeError(1, failure) : writeOk(1),
      },
    });
    const client = await logIn();
    client.send(writeCommand(Command.RESET_CONNECTION));
    await client.error();
    await client.end();
    await server.connections[0]!.closed();
  });

  test('refuses to be made writable, and answers what drivers send on connecting', async () => {
    await setUp({ listener: { mode: 'read' } });
    const client = await logIn();
    client.send(
      query('set session transaction read write'),
      query('select 1'),
      query('set tx_read_only = 0'),
    );
    await assertOk(client);
    await assertOk(client);
    const error = await client.error();
    assert.equal(error.errno, 1290);
    assert.match(error.message, /'entry' is a read endpoint/);
    client.send(writeCommand(Command.STMT_PREPARE, 'set session transaction read write'));
    assert.equal((await client.error()).errno, 1290);
    client.send(PING);
    await assertOk(client);
    assert.deepEqual(statements(server.connections[0]!), [READ_ONLY, 'select 1']);
  });

  test('refuses a statement too large to be looked at, and goes on', async () => {
    await setUp({ listener: { mode: 'read' } });
    const client = await logIn();
    client.send(query(`set @a = '${'x'.repeat(1_100_000)}'`), PING);
    assert.equal((await client.error()).errno, 1290);
    await assertOk(client);
    assert.deepEqual(server.connections[0]!.commandBytes, [Command.QUERY, Command.PING]);
  });

  test('refuses a chain of more than 16 MB in the same way', async () => {
    await setUp({ listener: { mode: 'read' } });
    const client = await logIn();
    const first = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0]), Buffer.alloc(0xffffff, 0x20)]);
    first[4] = Command.QUERY;
    client.send(first, Buffer.from([3, 0, 0, 1, 1, 1, 1]), PING);
    const error = await client.error();
    assert.equal(error.errno, 1290);
    assert.equal(error.sequence, 2);
    await assertOk(client);
  });
});

suite('a slow reader', () => {
  const MEGABYTE = 1024 * 1024;

  /** Waits until the bytes that the only session has passed on stand still; answers their number. */
  async function passedOn(direction: 'fromClient' | 'toClient'): Promise<number> {
    const [session] = [...worker.sessions.all()];
    let last = -1;
    let same = 0;
    return eventually(() => {
      const now = session!.liveBytes()[direction];
      same = now === last ? same + 1 : 0;
      last = now;
      assert.ok(same >= 6 && now > 0, 'it goes on');
      return now;
    });
  }

  test('stops the server, keeps little in memory, and gets every byte in the end', async () => {
    await setUp({ server: scripted });
    const client = await logIn();
    const connection = server.connections[0]!;
    client.send(query('select big'));
    await connection.command();
    client.socket.pause();
    const row = 'r'.repeat(64 * 1024);
    const rows = Array.from({ length: 640 }, (_, index) => [`${index}${row}`]);
    const answer = writeResultSet([{ name: 'a', type: 'text' }], rows, Capability.DEPRECATE_EOF);
    const before = process.memoryUsage().external;
    // Pipelined behind it: QUIT must not give the connection away while its input is still being sent.
    client.send(QUIT);
    connection.send(answer);
    const passed = await passedOn('toClient');
    assert.ok(passed < answer.length / 2, `${passed} of ${answer.length} bytes have been read`);
    assert.ok(process.memoryUsage().external - before < 20 * MEGABYTE);
    client.socket.resume();
    const payloads: Buffer[] = [];
    for (let packet = await client.packet(); packet !== null; packet = await client.packet())
      payloads.push(packet.payload);
    assert.equal(payloads.length, rows.length + 3);
    for (const [index, payload] of payloads.slice(2, -1).entries()) {
      assert.ok(
        payload.toString('latin1', 3).includes(`${index}${row}`.slice(0, 12)) && payload.length > row.length,
      );
    }
    await idleConnections(1);
  });

  test('that asks and asks without reading answers is not read any more', async () => {
    await setUp({ listener: { mode: 'read' } });
    const client = await logIn();
    client.socket.pause();
    const refused = query('set tx_read_only = 0');
    const burst = Buffer.concat(Array.from({ length: 20_000 }, () => refused));
    for (let count = 0; count < 100; count++) client.socket.write(burst);
    const passed = await passedOn('fromClient');
    assert.ok(passed < (100 * burst.length) / 2, `${passed} bytes of questions have been taken`);
    client.socket.resume();
    const error = await client.error();
    assert.equal(error.errno, 1290);
  });
});
