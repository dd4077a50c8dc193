import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { startAdmin } from '../../../src/admin/server.ts';
import { systemClock, type Clock } from '../../../src/base/clock.ts';
import { callAdmin } from '../../../src/cli/admin-client.ts';
import { refusal } from '../../../src/base/errors.ts';
import { silentLog, type Log } from '../../../src/base/log.ts';
import type { Operations } from '../../../src/ipc/operations.ts';
import { certificate } from '../../support/certificates.ts';
import { eventually } from '../../support/eventually.ts';
import { fakeOperations } from '../../support/operations.ts';

interface Fixture {
  port: number;
  /** Names of the events logged so far. */
  events: string[];
}

interface FixtureOptions {
  operations?: Operations;
  allow?: string[];
  clock?: Clock;
  tls?: { tlsCert: string; tlsKey: string };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function admin(t: TestContext, options: FixtureOptions = {}): Promise<Fixture> {
  const events: string[] = [];
  const note = (event: string): void => void events.push(event);
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const port = await freePort();
  const server = await startAdmin({
    config: {
      address: { kind: 'tcp', host: '127.0.0.1', port },
      user: 'admin',
      password: 'secret-of-admin',
      allow: options.allow ?? ['127.0.0.0/8'],
      ...options.tls,
    },
    operations: options.operations ?? fakeOperations(),
    clock: options.clock ?? systemClock,
    log,
    version: '1.2.3',
  });
  t.after(() => server.close());
  return { port, events };
}

async function client(t: TestContext, port: number, password = 'secret-of-admin'): Promise<Connection> {
  const connection = await createConnection({ host: '127.0.0.1', port, user: 'admin', password });
  t.after(() => connection.destroy());
  return connection;
}

/** A connection that has not logged in; `received` resolves with all that came until its end. */
async function rawClient(
  t: TestContext,
  port: number,
): Promise<{ socket: net.Socket; greeting: Buffer; received: Promise<Buffer> }> {
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const received = once(socket, 'close').then(() => Buffer.concat(chunks));
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  return { socket, greeting, received };
}

function packet(sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, payload]);
}

describe('a MySQL client', () => {
  test('logs in, asks and is answered in types it knows', async (t) => {
    const { port, events } = await admin(t);
    const connection = await client(t, port);
    const [rows] = await connection.query<RowDataPacket[]>("SHOW BACKENDS WHERE name = 'db2'");
    assert.equal(rows.length, 1);
    assert.equal(rows[0]!['rw_weight'], 1);
    assert.equal(rows[0]!['state'], 'online');
    assert.ok(events.includes('admin.login'));
  });

  test('can do many statements one after the other, and go on after a refusal', async (t) => {
    const { port } = await admin(t);
    const connection = await client(t, port);
    await connection.ping();
    await assert.rejects(connection.query('SHOW BACKNEDS'), { errno: 1064, sqlState: '42000' });
    await assert.rejects(connection.query('PAUSE'), { errno: 1235 });
    await assert.rejects(connection.execute('SHOW BACKENDS'), { errno: 1235 });
    for (let i = 0; i < 50; i++) await connection.query('SHOW POOLS');
    const [ok] = await connection.query('SET BACKEND db1 RW_WEIGHT = 3');
    assert.equal((ok as { affectedRows: number }).affectedRows, 1);
    await connection.query('USE demo');
    await connection.end();
  });

  test('gets a result set larger than one chunk whole', async (t) => {
    const operations = fakeOperations({
      events: () =>
        Array.from({ length: 5000 }, (_value, id) => ({
          id,
          wallMs: id,
          event: 'backend.up',
          subject: 'db1',
          detail: 'x'.repeat(100),
        })),
    });
    const { port } = await admin(t, { operations });
    const connection = await client(t, port);
    const [rows] = await connection.query<RowDataPacket[]>('SHOW EVENTS');
    assert.equal(rows.length, 5000);
    assert.equal(rows[4999]!['id'], 4999);
  });

  test('sees a refusal of the supervisor with its number', async (t) => {
    const operations = fakeOperations({
      promote: async () => {
        throw refusal('DBPROXY_PROMOTE_REFUSED', 'db2', 'it lags');
      },
    });
    const { port, events } = await admin(t, { operations });
    const connection = await client(t, port);
    await assert.rejects(connection.query('PROMOTE db2'), { errno: 1290, message: /it lags/ });
    assert.ok(events.includes('admin.statement'));
  });

  test('has all of a long refusal in rows, as clients cut what an error says', async (t) => {
    const grants = Array.from(
      { length: 20 },
      (_value, index) => `GRANT SELECT ON s${index}.* TO dbproxy@'%'`,
    );
    const reason = `db1: it may not; ${grants.join('; ')}`;
    const operations = fakeOperations({
      bootstrap: async () => {
        throw refusal('DBPROXY_SETUP_REFUSED', 'BOOTSTRAP CLUSTER main', reason);
      },
    });
    const { port } = await admin(t, { operations });
    const connection = await client(t, port);
    await assert.rejects(connection.query('BOOTSTRAP CLUSTER main'), {
      errno: 1290,
      message: /^\(SHOW WARNINGS has all of it, line by line\) BOOTSTRAP CLUSTER main was refused/,
    });
    for (const statement of ['SHOW WARNINGS', 'SHOW ERRORS']) {
      const [rows] = await connection.query<RowDataPacket[]>(statement);
      assert.deepEqual(
        rows.map((row): unknown[] => [row['Level'], row['Code'], row['Message']]),
        [
          'BOOTSTRAP CLUSTER main was refused and nothing was changed: db1: it may not;',
          ...grants.map((grant, index) => (index < 19 ? `${grant};` : grant)),
        ].map((line) => ['Error', 1290, line]),
      );
    }
    await connection.query('SHOW CLUSTERS');
    const [none] = await connection.query<RowDataPacket[]>('SHOW WARNINGS');
    assert.deepEqual(none, []);
    const { text } = await callAdmin({
      address: { kind: 'tcp', host: '127.0.0.1', port },
      user: 'admin',
      password: 'secret-of-admin',
      statement: 'BOOTSTRAP CLUSTER main',
      batch: false,
    });
    assert.match(text, /^ERROR 1290 \(HY000\): BOOTSTRAP .*it may not;\n {2}GRANT SELECT ON s0/);
    assert.match(text, /\n {2}GRANT SELECT ON s19\.\* TO dbproxy@'%'$/);
  });

  test('sees a defect of ours as an error too, and the connection lives', async (t) => {
    const operations = fakeOperations({
      stats: async () => {
        throw new TypeError('a defect');
      },
    });
    const { port, events } = await admin(t, { operations });
    const connection = await client(t, port);
    await assert.rejects(connection.query('SHOW POOLS'), { errno: 1105 });
    await connection.query('SHOW CLUSTERS');
    assert.ok(events.includes('admin.failed'));
  });

  test('gets the answer to SHUTDOWN before it is carried out', async (t) => {
    const operations = fakeOperations();
    const { port } = await admin(t, { operations });
    const connection = await client(t, port);
    await connection.query('SHUTDOWN');
    assert.deepEqual(operations.calls, [['shutdown', false]]);
  });
});

describe('who may not come in', () => {
  test('a wrong password is refused and logged', async (t) => {
    const { port, events } = await admin(t);
    await assert.rejects(client(t, port, 'wrong'), { errno: 1045, sqlState: '28000' });
    assert.ok(events.includes('admin.login_refused'));
  });

  test('an unknown user is refused like a wrong password', async (t) => {
    const { port } = await admin(t);
    const login = createConnection({ host: '127.0.0.1', port, user: 'root', password: '' });
    await assert.rejects(login, { errno: 1045 });
  });

  test('an address outside allow is refused', async (t) => {
    const { port, events } = await admin(t, { allow: ['10.0.0.0/8'] });
    await assert.rejects(client(t, port), { errno: 1130 });
    assert.deepEqual(events, ['admin.connection_refused']);
  });

  test('one connection too many is refused, and there is room again when one leaves', async (t) => {
    const { port } = await admin(t);
    const crowd = await Promise.all(Array.from({ length: 64 }, () => rawClient(t, port)));
    await assert.rejects(client(t, port), { errno: 1040 });
    crowd[0]!.socket.destroy();
    await crowd[0]!.received;
    const connection = await clientWhenThereIsRoom(t, port);
    await connection.ping();
  });
});

/** The server learns of a closed connection a moment later than its client. */
async function clientWhenThereIsRoom(t: TestContext, port: number): Promise<Connection> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await client(t, port);
    } catch (error) {
      if (attempt === 50) throw error;
    }
  }
}

describe('bad input ends its connection and no other', () => {
  const inputs: [what: string, bytes: Buffer, code: number][] = [
    ['a packet that announces 16 MB', Buffer.from([0xff, 0xff, 0xff, 1]), 1153],
    ['a packet out of order', packet(5, Buffer.alloc(40)), 1156],
    ['a truncated login', packet(1, Buffer.from([0x00, 0x82, 0, 0, 1])), 1835],
    ['a client of before 4.1', packet(1, Buffer.alloc(40)), 1251],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 1153],
  ];
  for (const [what, bytes, code] of inputs) {
    test(what, async (t) => {
      const { port, events } = await admin(t);
      const neighbour = await client(t, port);
      const { socket, greeting, received } = await rawClient(t, port);
      socket.write(bytes);
      const answer = (await received).subarray(greeting.length);
      assert.equal(answer[4], 0xff);
      assert.equal(answer.readUInt16LE(5), code);
      assert.ok(events.includes('admin.bad_packet') || events.includes('admin.login_refused'));
      await neighbour.ping();
    });
  }

  test('a client that leaves in the middle of a packet', async (t) => {
    const { port, events } = await admin(t);
    const { socket, received } = await rawClient(t, port);
    socket.end(Buffer.from([40, 0, 0, 1, 1, 2, 3]));
    await received;
    await (await client(t, port)).ping();
    assert.equal(events.includes('admin.failed'), false);
  });

  test('a client that says nothing is ended after the login timeout', async (t) => {
    const timers: { delayMs: number; callback: () => void }[] = [];
    const clock: Clock = {
      ...systemClock,
      after(delayMs, callback) {
        const timer = { delayMs, callback };
        timers.push(timer);
        return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
      },
    };
    const { port, events } = await admin(t, { clock });
    const { greeting, received } = await rawClient(t, port);
    const [login] = timers.filter((timer) => timer.delayMs === 10_000);
    login!.callback();
    const answer = (await received).subarray(greeting.length);
    assert.equal(answer.readUInt16LE(5), 1159);
    assert.ok(events.includes('admin.timeout'));
  });
});

test('close ends the connections that are open and the port answers no more', async (t) => {
  const port = await freePort();
  const server = await startAdmin({
    config: { address: { kind: 'tcp', host: '127.0.0.1', port }, user: 'admin', password: '', allow: [] },
    operations: fakeOperations(),
    clock: systemClock,
    log: silentLog,
    version: '1.2.3',
  });
  const { received } = await rawClient(t, port);
  await server.close();
  await received;
  await assert.rejects(client(t, port), { code: 'ECONNREFUSED' });
});

describe('TLS', () => {
  function keyPair(t: TestContext): {
    tlsCert: string;
    tlsKey: string;
    write: () => void;
    cert: () => string;
  } {
    const directory = mkdtempSync(join(tmpdir(), 'dbproxy-admin-tls-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const [tlsCert, tlsKey] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    let cert = '';
    const write = (): void => {
      const made = certificate();
      cert = made.cert;
      writeFileSync(tlsKey, made.key);
      writeFileSync(tlsCert, made.cert);
    };
    write();
    return { tlsCert, tlsKey, write, cert: () => cert };
  }

  const secure = async (t: TestContext, port: number, ca: string): Promise<Connection> => {
    const ssl = { ca, verifyIdentity: true };
    const account = { user: 'admin', password: 'secret-of-admin' };
    const connection = await createConnection({ host: '127.0.0.1', port, ssl, ...account });
    t.after(() => connection.destroy());
    return connection;
  };

  test('is there for who asks for it, and nobody else has to', async (t) => {
    const { tlsCert, tlsKey, cert } = keyPair(t);
    const { port } = await admin(t, { tls: { tlsCert, tlsKey } });
    const encrypted = await secure(t, port, cert());
    for (let round = 0; round < 3; round++) {
      const [rows] = await encrypted.query<RowDataPacket[]>('SHOW CLUSTERS');
      assert.equal(rows.length, 1);
    }
    const [rows] = await (await client(t, port)).query<RowDataPacket[]>('SHOW CLUSTERS');
    assert.equal(rows.length, 1);
    const wrong = { ca: certificate().cert };
    const account = { host: '127.0.0.1', port, user: 'admin', password: 'secret-of-admin' };
    await assert.rejects(createConnection({ ...account, ssl: wrong }), /self-signed|verify/);
  });

  test('takes a renewed certificate by itself', async (t) => {
    const pair = keyPair(t);
    const { port, events } = await admin(t, { tls: { tlsCert: pair.tlsCert, tlsKey: pair.tlsKey } });
    const old = pair.cert();
    pair.write();
    await eventually(() => assert.ok(events.includes('admin.tls_reloaded')));
    await secure(t, port, pair.cert());
    await assert.rejects(secure(t, port, old), /self-signed|verify/);
  });

  test('a client that talks nonsense instead of a handshake loses its connection, and no more', async (t) => {
    const { tlsCert, tlsKey, cert } = keyPair(t);
    const { port } = await admin(t, { tls: { tlsCert, tlsKey } });
    const { socket, received } = await rawClient(t, port);
    const request = Buffer.alloc(32);
    request.writeUInt32LE(0x0008_0a00 | 0x200, 0);
    socket.write(Buffer.concat([packet(1, request), Buffer.from('no handshake at all, only words')]));
    await received;
    await (await secure(t, port, cert())).query('SHOW VERSION');
  });
});
