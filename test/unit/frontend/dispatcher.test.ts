/**
 * Sessions that change connections, between clients and servers that do what no real one can be made to do at the
 * right moment: connections that end in the middle of something, answers that do not come, settings that are
 * refused. What each server was asked is in its log.
 */
import assert from 'node:assert/strict';
import { afterEach, suite, test } from 'node:test';
import type { ByteStream, SocketHandler } from '../../../src/base/socket.ts';
import type { ListenerConfig } from '../../../src/config/config.ts';
import { leavePrimary, type LeaveOutcome } from '../../../src/frontend/leave-primary.ts';
import { Capability, Command, Status } from '../../../src/protocol/constants.ts';
import { LAST_STATEMENT_ID } from '../../../src/protocol/execute.ts';
import {
  writeCommand,
  writeError,
  writeOk,
  writePayload,
  writeResultSet,
} from '../../../src/protocol/packets.ts';
import { viewRow } from '../../support/statements.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { FakeServer, type FakeServerConnection } from '../../support/fake-server.ts';
import { FakeWorker, type FakeWorkerOptions } from '../../support/fake-worker.ts';

const FLAGS: number = Capability.DEPRECATE_EOF | Capability.TRANSACTIONS;

/** Answers a statement; undefined: as a server would. 'later': the test answers. */
type Answer = (sql: string, connection: FakeServerConnection) => Buffer | 'later' | undefined;

/** What dbproxy asks for itself at the beginning. */
const OWN = /^SET SESSION TRANSACTION READ ONLY$|information_schema\.(?:triggers|views)/;

/** A server with as much of SQL as transactions and one-row results need. */
class SqlServer {
  answer: Answer = () => undefined;
  server!: FakeServer;
  readonly #status = new WeakMap<FakeServerConnection, number>();
  #prepared = 0;

  static async start(): Promise<SqlServer> {
    const made = new SqlServer();
    made.server = await FakeServer.start({
      capabilities: FLAGS | (0x1ffffff & ~(Capability.SSL | Capability.COMPRESS | Capability.CONNECT_ATTRS)),
      respond: (command, connection) => made.#respond(command, connection),
    });
    return made;
  }

  /** Every statement of its clients, in the order of the connections; dbproxy's own beginnings left out. */
  get statements(): string[] {
    return this.server.connections.flatMap((connection) => this.on(connection));
  }

  on(connection: FakeServerConnection): string[] {
    return connection.log.map(named).filter((sql) => !OWN.test(sql));
  }

  /** The one connection on which `sql` was run. */
  whereRan(sql: string): FakeServerConnection {
    const found = this.server.connections.filter((connection) => this.on(connection).includes(sql));
    assert.equal(found.length, 1, `${sql} ran on ${found.length} connections`);
    return found[0]!;
  }

  #respond(command: Buffer, connection: FakeServerConnection): Buffer | undefined {
    const kind = command[0]!;
    if (kind === Command.CHANGE_USER) {
      this.#status.delete(connection);
      return undefined;
    }
    const sql = named(command);
    const wanted = this.answer(sql, connection);
    if (wanted === 'later') return undefined;
    if (wanted !== undefined) return wanted;
    if (kind === Command.STMT_PREPARE) return prepared(++this.#prepared);
    if (kind === Command.STMT_CLOSE || kind === Command.STMT_SEND_LONG_DATA) return Buffer.alloc(0);
    return this.usual(sql, connection);
  }

  /** What a server would answer. */
  usual(sql: string, connection: FakeServerConnection): Buffer {
    let status = this.#status.get(connection) ?? Status.AUTOCOMMIT;
    if (/^(begin|start transaction)/i.test(sql)) status |= Status.IN_TRANS;
    if (/^(commit|rollback)/i.test(sql)) status &= ~Status.IN_TRANS;
    if (/^set .*autocommit = 0/i.test(sql)) status &= ~Status.AUTOCOMMIT;
    if (/^set .*autocommit = 1/i.test(sql)) status |= Status.AUTOCOMMIT;
    this.#status.set(connection, status);
    if (/information_schema\.triggers/.test(sql)) return row(0, status);
    if (/information_schema\.views/.test(sql)) return row(viewRow(['plain', 'select 1 AS a']), status);
    if (/gtid_binlog_pos/.test(sql)) return row('0-1-5', status);
    if (/GTID_WAIT/.test(sql)) return row(0, status);
    if (/^(select|execute)/i.test(sql)) return row(1, status);
    if (/^insert/i.test(sql)) return writeOk(1, { affectedRows: 1, insertId: 7, status });
    return writeOk(1, { status });
  }
}

/** A command in words: the text of a statement, else its name. */
function named(command: Buffer): string {
  const kind = command[0]!;
  if (kind === Command.QUERY) return command.toString('latin1', 1);
  if (kind === Command.STMT_PREPARE) return `prepare ${command.toString('latin1', 1)}`;
  const name = Object.entries(Command).find(([, code]) => code === kind)?.[0] ?? `${kind}`;
  return name.toLowerCase().replace(/^stmt_/, '');
}

function row(value: string | number, status: number = Status.AUTOCOMMIT): Buffer {
  return writeResultSet([{ name: 'a', type: 'text' }], [[value]], FLAGS, 1, status);
}

function prepared(id: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(id, 1);
  return writePayload(1, head);
}

/** Of a statement with one parameter. */
function preparedWithOne(): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(1, 1);
  head.writeUInt16LE(1, 7);
  return Buffer.concat([writePayload(1, head), writePayload(2, Buffer.alloc(20))]);
}

function failure(errno: number): Buffer {
  return writeError(1, { errno, sqlState: 'HY000', message: 'no' });
}

let primary: SqlServer;
let replica: SqlServer;
let worker: FakeWorker;
const clients: Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await worker.stop();
  await primary.server.stop();
  await replica.server.stop();
});

/** A primary and a replica behind a split endpoint; `limit`: connections to each server. */
async function setUp(
  listener: Partial<ListenerConfig> = {},
  limit = 100,
  wrap: FakeWorkerOptions['wrap'] = (client) => client,
): Promise<void> {
  [primary, replica] = [await SqlServer.start(), await SqlServer.start()];
  worker = await FakeWorker.start({
    servers: { db1: primary.server.endpoint, db2: replica.server.endpoint },
    listener: { mode: 'split', pool: 'transaction', ...listener },
    limits: { 'backend:db1': limit, 'backend:db2': limit },
    wrap,
  });
}

/** A client that reads answers as one word: ok, row, error with its number, or closed. */
class Client {
  readonly #client: FakeClient;

  constructor(client: FakeClient) {
    this.#client = client;
  }

  get socket(): FakeClient['socket'] {
    return this.#client.socket;
  }

  send(...commands: Buffer[]): void {
    this.#client.send(...commands);
  }

  async read(): Promise<string> {
    const first = await this.#client.packet();
    if (first === null) return 'closed';
    if (first.payload[0] === 0xff) return `error ${first.payload.readUInt16LE(1)}`;
    if (first.payload[0] === 0) return 'ok';
    await this.#client.packet();
    const value = (await this.#client.packet())!.payload;
    await this.#client.packet();
    return `row ${value.toString('latin1', 1)}`;
  }

  /** Number and words of an error. */
  async readWords(): Promise<string> {
    const { payload } = (await this.#client.packet())!;
    // Behind the number there is the SQLSTATE with its mark.
    return `${payload.readUInt16LE(1)} ${payload.toString('utf8', 9)}`;
  }

  /** Of the answer to COM_STMT_PREPARE of a statement with one parameter. */
  async preparedId(): Promise<number> {
    const { payload } = (await this.#client.packet())!;
    await this.#client.packet();
    return payload.readUInt32LE(1);
  }

  ask(sql: string): Promise<string> {
    this.send(query(sql));
    return this.read();
  }

  destroy(): void {
    this.#client.destroy();
  }
}

async function open(): Promise<Client> {
  const client = new Client(await FakeClient.loggedIn(worker.endpoint, { capabilities: FLAGS }));
  clients.push(client);
  return client;
}

function query(sql: string): Buffer {
  return writeCommand(Command.QUERY, sql);
}

function execute(id: number): Buffer {
  const body = Buffer.alloc(9);
  body.writeUInt32LE(id);
  body.writeUInt32LE(1, 5);
  return writeCommand(Command.STMT_EXECUTE, body);
}

/** The same with one parameter of 2 MiB, whose type is sent with it. */
function executeLarge(id: number): Buffer {
  const head = execute(id).subarray(4);
  const value = Buffer.alloc(4 + 2 * 1024 * 1024, 'x');
  value[0] = 0xfd;
  value.writeUIntLE(value.length - 4, 1, 3);
  // No NULL, types follow: a text.
  return writePayload(0, Buffer.concat([head, Buffer.from([0, 1, 0xfd, 0]), value]));
}

/** Connections that sessions have now, at rest or in use, by server. */
function lent(): Record<string, number> {
  return Object.fromEntries(
    ['db1', 'db2'].map((name) => [
      name,
      worker
        .pool(name)
        .counts()
        .reduce((sum, { used }) => sum + used, 0),
    ]),
  );
}

const NOTHING_LENT = { db1: 0, db2: 0 };

function nothingLent(): Promise<void> {
  return eventually(() => assert.deepEqual(lent(), NOTHING_LENT));
}

/** The next time that `server` is asked for something that fits; from then on it is left to the test. */
function asked(server: SqlServer, fits: RegExp): Promise<FakeServerConnection> {
  const before = server.answer;
  return new Promise((resolve) => {
    server.answer = (sql, connection) => {
      if (!fits.test(sql)) return before(sql, connection);
      server.answer = before;
      resolve(connection);
      return 'later';
    };
  });
}

suite('a connection that ends', () => {
  test('before the first byte of a read: it is asked elsewhere, once', async () => {
    await setUp();
    const client = await open();
    const connection = asked(replica, /select 1/);
    client.send(query('select 1'));
    (await connection).socket.destroy();
    assert.equal(await client.read(), 'row 1');
    assert.deepEqual(replica.statements, ['select 1']);
    assert.deepEqual(primary.statements.filter((sql) => sql === 'select 1').length, 1);
    assert.equal(worker.shares!.retries.get('lost'), 1);
  });

  test('in the middle of the answer to a read: the session ends, nothing is asked again', async () => {
    await setUp();
    const client = await open();
    const connection = asked(replica, /select 1/);
    client.send(query('select 1'));
    (await connection).send(row(1).subarray(0, 7));
    await eventually(() => assert.ok(client.socket.bytesRead > 0));
    (await connection).socket.end();
    await eventually(() => assert.equal(client.socket.closed || client.socket.readableEnded, true));
    assert.deepEqual(primary.statements, []);
    await nothingLent();
  });

  test('before the answer to a write: the client hears of it, and nothing is sent again', async () => {
    await setUp();
    const client = await open();
    const connection = asked(primary, /insert/);
    client.send(query('insert into t values (1)'));
    (await connection).socket.destroy();
    assert.match(await client.read(), /^error /);
    assert.deepEqual(primary.statements, ['insert into t values (1)']);
    assert.equal(await client.ask('select 1'), 'row 1', 'the session goes on');
    await nothingLent();
  });

  test('in a transaction: the client hears that it is gone, and the session goes on', async () => {
    await setUp();
    const client = await open();
    await client.ask('begin');
    const connection = asked(primary, /select 1/);
    client.send(query('select 1'));
    (await connection).socket.destroy();
    assert.match(await client.read(), /^error 1213/);
    await nothingLent();
    assert.match(await client.ask('insert into t values (1)'), /^ok/);
  });

  test('again and again: a read is sent so often and no more', async () => {
    await setUp();
    const client = await open();
    const lose: Answer = (sql, connection) => {
      if (!/select 1/.test(sql)) return undefined;
      connection.socket.destroy();
      return 'later';
    };
    replica.answer = lose;
    primary.answer = lose;
    client.send(query('select 1'));
    let answer = '';
    void client.read().then((read) => (answer = read));
    await eventually(async () => {
      await worker.clock.pass(5000);
      assert.match(answer, /^error /);
    });
    assert.ok(primary.statements.length + replica.statements.length <= 4);
    await nothingLent();
  });

  test('again and again at home, where a comment wants it: it is sent so often and no more', async () => {
    await setUp();
    primary.answer = (sql, connection) => {
      if (!/select 1/.test(sql)) return undefined;
      connection.socket.destroy();
      return 'later';
    };
    assert.match(await (await open()).ask('/* dbproxy: primary */ select 1'), /^error /);
    assert.equal(primary.statements.length, 4);
    await nothingLent();
  });

  test('while it rests with a session: the next statement gets another one', async () => {
    await setUp();
    const client = await open();
    await client.ask('insert into t values (1)');
    assert.deepEqual(lent(), { db1: 1, db2: 0 }, 'it knows the LAST_INSERT_ID()');
    primary.whereRan('insert into t values (1)').socket.destroy();
    await eventually(() => assert.equal(primary.server.openCount, 0));
    assert.equal(await client.ask('update t set a = 1'), 'ok');
    client.destroy();
    await nothingLent();
  });
});

suite('a server that refuses a read as a write', () => {
  for (const errno of [1290, 1792, 1836]) {
    test(`with ${errno}: home is asked, and the client hears of nothing`, async () => {
      await setUp();
      replica.answer = (sql) => (/from v/.test(sql) ? failure(errno) : undefined);
      const client = await open();
      assert.equal(await client.ask('select a from v'), 'row 1');
      assert.deepEqual(
        primary.statements.filter((sql) => /from v/.test(sql)),
        ['select a from v'],
      );
      assert.equal(worker.shares!.retries.get('refused'), 1);
    });
  }

  test('at home, too: the client hears what home says', async () => {
    await setUp();
    for (const server of [primary, replica])
      server.answer = (sql) => (/from v/.test(sql) ? failure(1290) : undefined);
    assert.equal(await (await open()).ask('select a from v'), 'error 1290');
  });
});

suite('settings', () => {
  const SET = "set time_zone = '+01:00'";
  const BROUGHT = "SET SESSION time_zone = '+01:00'";

  test('that one session has set are brought to the connection of its next read', async () => {
    await setUp();
    const client = await open();
    await client.ask(SET);
    await client.ask('select 1');
    const all = replica.on(replica.whereRan('select 1'));
    assert.deepEqual(all.slice(-2), [BROUGHT, 'select 1']);
  });

  test('do not stay for another session', async () => {
    await setUp({}, 1);
    const [one, two] = [await open(), await open()];
    await one.ask(SET);
    await one.ask('select 1');
    await two.ask('select 2');
    const all = replica.on(replica.whereRan('select 2'));
    assert.equal(all.at(-2), 'change_user', all.join(' | '));
  });

  test('are not recorded when the SET has failed', async () => {
    await setUp();
    primary.answer = (sql) => (/^set time_zone/.test(sql) ? failure(1298) : undefined);
    const client = await open();
    assert.equal(await client.ask(SET), 'error 1298');
    await client.ask('select 1');
    assert.equal(replica.statements.includes(BROUGHT), false);
  });

  test('of a SET that failed in part keep the session where it ran', async () => {
    await setUp();
    primary.answer = (sql) => (/^set a/.test(sql) ? failure(1193) : undefined);
    const client = await open();
    await client.ask('set a = 1, b = 2');
    await client.ask('select 1');
    assert.deepEqual(primary.statements.slice(-2), ['set a = 1, b = 2', 'select 1']);
    client.destroy();
    await eventually(() => assert.equal(primary.on(primary.whereRan('select 1')).at(-1), 'change_user'));
  });

  test('that a server has answered before are answered at once, and set before the next statement', async () => {
    await setUp();
    const [one, two] = [await open(), await open()];
    await one.ask(SET);
    const count = primary.statements.length;
    assert.equal(await two.ask(SET), 'ok');
    assert.equal(primary.statements.length, count, 'no server was asked');
    await two.ask('select 1');
    assert.deepEqual(replica.on(replica.whereRan('select 1')).slice(-2), [BROUGHT, 'select 1']);
  });

  /** A session that has set something which no connection at home has: the next write must bring it. */
  async function aboutToWrite(): Promise<Client> {
    await setUp({}, 1);
    const [one, two] = [await open(), await open()];
    await one.ask(SET);
    await one.ask('select 1');
    // The one connection at home has other settings then.
    await two.ask('update t set a = 0');
    return one;
  }

  test('are confirmed before a write is sent behind them', async () => {
    const client = await aboutToWrite();
    const bringing = asked(primary, /^SET SESSION time_zone/);
    client.send(query('insert into t values (1)'));
    const connection = await bringing;
    assert.equal(primary.statements.includes('insert into t values (1)'), false);
    connection.send(writeOk(1));
    assert.equal(await client.read(), 'ok');
    assert.deepEqual(primary.statements.slice(-2), [BROUGHT, 'insert into t values (1)']);
  });

  test('that a server refuses to bring are told to the client, and its write is not sent', async () => {
    const client = await aboutToWrite();
    primary.answer = (sql) => (sql === BROUGHT ? failure(1298) : undefined);
    assert.equal(await client.ask('insert into t values (1)'), 'error 1298');
    assert.equal(primary.statements.includes('insert into t values (1)'), false);
    assert.equal(primary.statements.at(-1), 'change_user', 'nobody knows what is set there');
    await nothingLent();
    primary.answer = () => undefined;
    assert.equal(await client.ask('insert into t values (1)'), 'ok');
  });

  test('that a replica refuses to bring cost the client nothing: home is asked', async () => {
    await setUp();
    replica.answer = (sql) => (sql === BROUGHT ? failure(1298) : undefined);
    const client = await open();
    await client.ask(SET);
    assert.equal(await client.ask('select 1'), 'row 1');
    assert.equal(primary.statements.includes('select 1'), true);
    await nothingLent();
  });

  test('with autocommit off keep all at home, also after an error, whose packet has no status', async () => {
    await setUp();
    const [one, two] = [await open(), await open()];
    await one.ask('set autocommit = 0');
    await two.ask('set autocommit = 0');
    primary.answer = (sql) => (/bogus/.test(sql) ? failure(1064) : undefined);
    assert.equal(await two.ask('bogus'), 'error 1064');
    assert.equal(await two.ask('select 1'), 'row 1');
    assert.deepEqual(replica.statements, []);
    assert.equal(primary.whereRan('select 1'), primary.whereRan('bogus'));
  });
});

suite('prepared statements', () => {
  async function prepare(client: Client, sql: string): Promise<number> {
    client.send(writeCommand(Command.STMT_PREPARE, sql));
    assert.equal(await client.read(), 'ok');
    return 1;
  }

  test('that a transaction’s connection cannot learn leave the transaction as it is', async () => {
    await setUp();
    const client = await open();
    const id = await prepare(client, 'select 1');
    await client.ask('begin');
    const home = primary.whereRan('begin');
    primary.answer = (sql) => (/^prepare/.test(sql) ? failure(1461) : undefined);
    client.send(execute(id));
    assert.equal(await client.read(), 'error 1461');
    assert.equal(await client.ask('insert into t values (1)'), 'ok');
    assert.equal(await client.ask('commit'), 'ok');
    assert.equal(primary.on(home).includes('change_user'), false);
    assert.deepEqual(primary.on(home).slice(-2), ['insert into t values (1)', 'commit']);
  });

  test('are learnt in a transaction without touching anything else that is set', async () => {
    await setUp();
    const client = await open();
    const id = await prepare(client, 'select 1');
    await client.ask("set time_zone = '+01:00'");
    await client.ask('begin');
    const home = primary.whereRan('begin');
    client.send(execute(id));
    assert.equal(await client.read(), 'row 1');
    assert.equal(await client.ask('commit'), 'ok');
    assert.deepEqual(primary.on(home).slice(-4), ['begin', 'prepare select 1', 'execute', 'commit']);
  });

  test('whose command is too short are for the server to refuse, and the session goes on', async () => {
    await setUp();
    const client = await open();
    const id = await prepare(client, 'select ?');
    replica.answer = (sql) => (sql === 'execute' ? failure(1835) : undefined);
    primary.answer = (sql) => (sql === 'execute' ? failure(1243) : undefined);
    for (let length = 0; length < 9; length++) {
      const body = Buffer.alloc(length);
      if (length >= 4) body.writeUInt32LE(id);
      client.send(writeCommand(Command.STMT_EXECUTE, body));
      assert.match(await client.read(), /^error 1(?:835|243)/, `${length} bytes`);
    }
    assert.equal(await client.ask('select 2'), 'row 1');
    await nothingLent();
  });

  test('that there are not are refused, also when the server knows one by that number, and nothing stays lent', async () => {
    await setUp();
    const client = await open();
    await prepare(client, 'select 1');
    for (const id of [1, 2, 3]) {
      client.send(writeCommand(Command.STMT_CLOSE, Buffer.from([id, 0, 0, 0])));
      client.send(execute(id));
      for (const server of [primary, replica]) {
        server.answer = (sql) => (sql === 'execute' ? failure(1243) : undefined);
      }
      assert.equal(await client.read(), 'error 1243');
      assert.equal(await client.ask('select 2'), 'row 1');
    }
    client.destroy();
    await nothingLent();
  });

  test('whose long data is lost with a connection say so once, and name no server', async () => {
    await setUp({ mode: 'write', pool: 'session', sessionMoves: true });
    const client = await open();
    await prepare(client, 'select 1');
    client.send(writeCommand(Command.STMT_SEND_LONG_DATA, Buffer.from([255, 255, 255, 255, 0, 0, 0x61])));
    assert.equal(await client.ask('select 3'), 'row 1');
    primary.whereRan('select 3').socket.destroy();
    await nothingLent();
    client.send(execute(LAST_STATEMENT_ID));
    assert.match(await client.readWords(), /^1158 Parameters of this prepared statement .* send them again/);
    client.send(execute(LAST_STATEMENT_ID));
    assert.equal(await client.read(), 'row 1');
  });

  test('whose long data has nowhere to go end the session: an error would answer the next command', async () => {
    await setUp();
    const client = await open();
    const id = await prepare(client, 'select 1');
    worker.publish({
      ...worker.snapshot,
      clusters: [{ ...worker.snapshot.clusters[0]!, primary: null }],
      backends: worker.snapshot.backends.map((view) => ({
        ...view,
        role: 'replica',
        writable: false,
        readable: false,
      })),
    });
    client.send(writeCommand(Command.STMT_SEND_LONG_DATA, Buffer.from([id, 0, 0, 0, 0, 0, 0x61])));
    let answer = '';
    void client.read().then((read) => (answer = read));
    await eventually(async () => {
      await worker.clock.pass(5000);
      assert.match(answer, /^(?:error|closed)/);
    });
    assert.equal(await client.read(), 'closed');
  });
});

suite('READ ONLY transactions', () => {
  test('on a replica go on being READ ONLY after COM_RESET_CONNECTION', async () => {
    await setUp();
    const client = await open();
    await client.ask('start transaction read only');
    const connection = replica.whereRan('start transaction read only');
    client.send(writeCommand(Command.RESET_CONNECTION));
    assert.equal(await client.read(), 'ok');
    const log = connection.log.map(named);
    const after = log.slice(log.indexOf('reset_connection'));
    assert.equal(after.includes('SET SESSION TRANSACTION READ ONLY'), true, after.join(' | '));
  });

  test('whose connection ends while they are ended for the next one: the session ends, and nothing stays lent', async () => {
    await setUp();
    const client = await open();
    await client.ask('start transaction read only');
    const committing = asked(replica, /^commit/i);
    client.send(query('begin'));
    (await committing).socket.destroy();
    assert.match(await client.read(), /^(?:error|closed)/);
    await eventually(() => assert.equal(client.socket.destroyed || client.socket.readableEnded, true));
    await nothingLent();
  });
});

/** A client's stream whose kernel takes nothing while `holds` is set: the memory stays the writer's, as it does there. */
class HoldingStream implements ByteStream {
  holds = false;
  readonly #stream: ByteStream;
  readonly #held: Buffer[] = [];

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  get input(): Buffer {
    return this.#stream.input;
  }

  get handler(): SocketHandler {
    return this.#stream.handler;
  }

  set handler(handler: SocketHandler) {
    this.#stream.handler = handler;
  }

  get remoteAddress(): string {
    return this.#stream.remoteAddress;
  }

  get remotePort(): number {
    return this.#stream.remotePort;
  }

  get hasEnded(): boolean {
    return this.#stream.hasEnded;
  }

  get destroyed(): boolean {
    return this.#stream.destroyed;
  }

  write(bytes: Buffer): boolean {
    if (!this.holds) return this.#stream.write(bytes);
    this.#held.push(bytes);
    return false;
  }

  /** The kernel takes what it was given. */
  take(): void {
    this.holds = false;
    for (const bytes of this.#held.splice(0)) this.#stream.write(Buffer.from(bytes));
    this.handler.onDrain();
  }

  askPeer(afterMs: number): void {
    this.#stream.askPeer(afterMs);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(bytes?: Buffer): void {
    this.#stream.end(bytes);
  }

  close(): void {
    this.#stream.close();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

suite('a client that does not read', () => {
  test('the end of its answer keeps the connection: its bytes are still in there', async () => {
    const streams: HoldingStream[] = [];
    await setUp({}, 1, (stream) => {
      const holding = new HoldingStream(stream);
      streams.push(holding);
      return holding;
    });
    const [slow, other] = [await open(), await open()];
    replica.answer = (sql) => (/one|two/.test(sql) ? row(sql) : undefined);
    streams[0]!.holds = true;
    slow.send(query('select one'));
    await eventually(() => assert.deepEqual(replica.statements, ['select one']));
    other.send(query('select two'));
    await eventually(() => assert.equal(worker.pool('db2').waitingCount, 1));
    assert.deepEqual(replica.statements, ['select one']);
    streams[0]!.take();
    assert.equal(await slow.read(), 'row select one');
    assert.equal(await other.read(), 'row select two');
  });

  test('keeps its connection until it has, whoever waits for it', async () => {
    await setUp({}, 1);
    const [slow, other] = [await open(), await open()];
    const big = writeResultSet(
      [{ name: 'a', type: 'text' }],
      Array.from({ length: 200 }, () => ['x'.repeat(100_000)]),
      FLAGS,
    );
    replica.answer = (sql) => (/big/.test(sql) ? big : undefined);
    slow.socket.pause();
    slow.send(query('select big'));
    await eventually(() => assert.ok(slow.socket.bytesRead > 0 || replica.statements.includes('select big')));
    other.send(query('select 1'));
    await eventually(() => assert.equal(worker.pool('db2').waitingCount, 1));
    assert.deepEqual(replica.statements, ['select big']);
    slow.socket.resume();
    assert.equal(await other.read(), 'row 1');
    assert.equal(replica.whereRan('select 1'), replica.whereRan('select big'));
  });
});

suite('a session that ends gives each connection back once', () => {
  /** States that a session may be in, and how it gets there. */
  const STATES: readonly [
    what: string,
    listener: Partial<ListenerConfig>,
    reach: (client: Client) => Promise<(() => void) | void>,
  ][] = [
    ['at rest', {}, async (client) => void (await client.ask('select 1'))],
    [
      'at rest, with connections of its own',
      { pool: 'session' },
      async (client) => {
        await client.ask('select 1');
        await client.ask('update t set a = 1');
      },
    ],
    [
      'with the connection of its last insert',
      {},
      async (client) => void (await client.ask('insert into t values (1)')),
    ],
    ['in a transaction', {}, async (client) => void (await client.ask('begin'))],
    [
      'in a transaction on a replica',
      {},
      async (client) => void (await client.ask('start transaction read only')),
    ],
    [
      'that is waiting for an answer',
      {},
      async (client) => {
        const connection = asked(replica, /select 1/);
        client.send(query('select 1'));
        const server = await connection;
        return () => server.send(row(1));
      },
    ],
    [
      'whose settings are being read back',
      {},
      async (client) => {
        const reading = asked(primary, /@@SESSION\.sql_mode/);
        client.send(query("set sql_mode = 'ansi'"));
        const connection = await reading;
        return () => connection.send(row('ANSI'));
      },
    ],
    [
      'whose settings are being brought',
      {},
      async (client) => {
        await client.ask("set time_zone = '+01:00'");
        const other = await open();
        await other.ask('begin');
        const bringing = asked(primary, /^SET SESSION time_zone/);
        client.send(query('insert into t values (1)'));
        void bringing.then((connection) => connection.send(writeOk(1)));
        other.destroy();
      },
    ],
    [
      'that waits for the position of the primary',
      { causalReads: 'global' },
      async (client) => {
        const asking = asked(primary, /gtid_binlog_pos/);
        client.send(query('select 1'));
        const connection = await asking;
        return () => connection.send(row('0-1-5'));
      },
    ],
    [
      'the same, with connections of its own',
      { causalReads: 'global', pool: 'session' },
      async (client) => {
        const asking = asked(primary, /gtid_binlog_pos/);
        client.send(query('select 1'));
        const connection = await asking;
        return () => connection.send(row('0-1-5'));
      },
    ],
    [
      'that waits for a replica to catch up',
      { causalReads: 'global', pool: 'session' },
      async (client) => {
        const waiting = asked(replica, /GTID_WAIT/);
        client.send(query('select 1'));
        const connection = await waiting;
        return () => connection.send(row(-1));
      },
    ],
    [
      'whose READ ONLY transaction is being ended',
      { pool: 'session' },
      async (client) => {
        await client.ask('start transaction read only');
        const committing = asked(replica, /^commit/i);
        client.send(query('begin'));
        const connection = await committing;
        return () => connection.send(writeOk(1));
      },
    ],
    [
      'whose connection learns a statement in a transaction',
      {},
      async (client) => {
        client.send(writeCommand(Command.STMT_PREPARE, 'select 1'));
        await client.read();
        await client.ask('begin');
        const learning = asked(primary, /^prepare/);
        client.send(execute(1));
        const connection = await learning;
        return () => connection.send(prepared(9));
      },
    ],
    [
      'that is being reset',
      {},
      async (client) => {
        await client.ask('begin');
        const resetting = asked(primary, /^reset_connection/);
        client.send(writeCommand(Command.RESET_CONNECTION));
        const connection = await resetting;
        return () => connection.send(writeOk(1));
      },
    ],
  ];
  for (const [what, listener, reach] of STATES) {
    test(what, async () => {
      await setUp(listener);
      const client = await open();
      const answer = await reach(client);
      client.destroy();
      await eventually(() => assert.equal([...worker.sessions.all()].length, 0));
      answer?.();
      await nothingLent();
      const next = await open();
      assert.equal(await next.ask('select 2'), 'row 1', 'the connections serve others');
      assert.equal(await next.ask('update t set a = 2'), 'ok');
    });
  }
});

suite('what one session asks after', () => {
  test('is not answered by a connection that dbproxy itself has used since', async () => {
    await setUp({ causalReads: 'global' }, 1);
    const [one, two] = [await open(), await open()];
    await one.ask('update t set a = 1');
    await two.ask('select 1');
    assert.match(await one.ask('select row_count()'), /^error 1235/);
    assert.equal(primary.statements.includes('select row_count()'), false);
  });

  test('is answered by its own connection when nobody has used it', async () => {
    await setUp();
    const one = await open();
    await one.ask('update t set a = 1');
    assert.equal(await one.ask('select row_count()'), 'row 1');
    assert.equal(primary.whereRan('select row_count()'), primary.whereRan('update t set a = 1'));
  });
});

suite('a connection that a session keeps because it may be asked after', () => {
  const WARNED: Answer = (sql) => (/^update/.test(sql) ? writeOk(1, { warnings: 1 }) : undefined);

  test('is given to who waits when nobody is likely to ask any more', async () => {
    await setUp({}, 1);
    primary.answer = WARNED;
    const [one, two] = [await open(), await open()];
    await one.ask('update t set a = 1');
    await worker.clock.pass(300);
    assert.equal(await two.ask('update t set a = 2'), 'ok');
    assert.match(await one.ask('show warnings'), /^error 1235/);
  });

  test('is waited for as long as somebody is', async () => {
    await setUp({}, 1);
    primary.answer = WARNED;
    const [one, two] = [await open(), await open()];
    await one.ask('update t set a = 1');
    two.send(query('update t set a = 2'));
    await eventually(() => assert.equal(worker.pool('db1').waitingCount, 1));
    assert.equal(await one.ask('show warnings'), 'ok', 'the server answers');
    await eventually(async () => {
      await worker.clock.pass(300);
      assert.equal(primary.statements.at(-1), 'update t set a = 2');
    });
    assert.equal(await two.read(), 'ok');
  });
});

/** A session that keeps one connection as long as its server is the primary. */
const STAYS: Partial<ListenerConfig> = { mode: 'write', pool: 'session', sessionMoves: true };

const OUTCOMES = ['committed', 'not_committed', 'unknown'] as const;

/** Has the connection end on which `sql` is under way. */
async function loseDuring(client: Client, sql: string): Promise<void> {
  const connection = asked(primary, new RegExp(`^${sql.slice(0, 6)}`));
  client.send(query(sql));
  (await connection).socket.destroy();
}

const ENDPOINTS: readonly (readonly [name: string, Partial<ListenerConfig>])[] = [
  ['write', STAYS],
  ['split', {}],
];
const WAYS = ['as text', 'prepared'] as const;

/** Has the connection end on which the last of the statements is under way; answers what its client is told. */
async function loseLast(
  client: Client,
  statements: readonly string[],
  way: (typeof WAYS)[number],
): Promise<string> {
  for (const sql of statements.slice(0, -1)) await client.ask(sql);
  const last = statements.at(-1)!;
  if (way === 'as text') await loseDuring(client, last);
  else {
    client.send(writeCommand(Command.STMT_PREPARE, last));
    assert.equal(await client.read(), 'ok');
    const connection = asked(primary, /^execute/);
    client.send(execute(LAST_STATEMENT_ID));
    (await connection).socket.destroy();
  }
  return client.read();
}

/** A function that writes is behind the view `writes`. */
function hideWrites(server: SqlServer): void {
  server.answer = (sql) =>
    /information_schema\.views/.test(sql) ? row(viewRow(['writes', 'select demo.f() AS a'])) : undefined;
}

suite('an answer that is lost', () => {
  const LOST: readonly (readonly [told: string, statements: readonly string[]])[] = [
    ['error 1180', ['set autocommit = 0', 'begin', 'insert into t values (1)', 'set autocommit = 1']],
    ['error 1180', ['begin', 'insert into t values (1)', 'create table u (a int)']],
    ['error 1180', ['begin', 'insert into t values (1)', 'start transaction']],
    ['error 1180', ['begin', 'insert into t values (1)', 'commit and chain']],
    ['error 1180', ['begin', 'insert into t values (1)', 'lock tables t write']],
    ['error 1180', ['begin', 'insert into t values (1)', "set password = 'x'"]],
    ['error 1180', ['begin', 'set global max_connections = 5']],
    ['error 1180', ['set autocommit = 0', "xa commit 'x'"]],
    ['error 1180', ['set completion_type = 1', 'begin', 'insert into t values (1)', 'commit']],
    ['error 1213', ['set completion_type = 1', 'begin', 'insert into t values (1)', 'rollback']],
    ['error 1213', ['begin', 'insert into t values (1)', 'rollback and chain']],
    ['error 1213', ['begin', 'insert into t values (1)', 'rollback release']],
    ['error 1213', ['begin', 'insert into t values (1)', 'set @a = 1']],
    ['ok', ['begin', 'insert into t values (1)', 'rollback']],
    ['ok', ['begin', 'select 1', 'commit']],
  ];
  for (const [endpoint, listener] of ENDPOINTS) {
    for (const way of WAYS) {
      for (const [told, statements] of LOST) {
        test(`of ${statements.join('; ')} (${way}, ${endpoint}): ${told}`, async () => {
          await setUp(listener);
          const client = await open();
          assert.equal(await loseLast(client, statements, way), told);
          const last = way === 'as text' ? statements.at(-1)! : 'execute';
          const often = primary.statements.filter((sql) => sql === last).length;
          assert.equal(often, 1, 'it ran more than once');
          assert.equal(await client.ask('select 2'), 'row 1', 'the session goes on');
        });
      }
    }

    test(`of a ROLLBACK and more in one packet is not said to be OK (${endpoint})`, async () => {
      await setUp(listener);
      const several = 'rollback; insert into t values (2); commit';
      assert.equal(await loseLast(await open(), ['begin', several], 'as text'), 'error 1180');
    });

    test(`of the COMMIT of what several statements have left open is asked after (${endpoint})`, async () => {
      await setUp(listener);
      worker.commitAnswer = { outcome: 'not_committed', detail: 'a test knows' };
      const client = await open();
      const several = 'begin; insert into t values (1); insert into t values (1)';
      primary.answer = (sql, connection) => {
        if (sql !== several) return undefined;
        primary.usual('begin', connection);
        return failure(1062);
      };
      assert.equal(await client.ask(several), 'error 1062');
      await loseDuring(client, 'commit');
      assert.equal(await client.read(), 'error 1213');
      assert.equal(worker.commitQuestions[0]?.writeCount, 1);
    });

    test(`of the COMMIT after several statements that have left nothing open is an OK (${endpoint})`, async () => {
      await setUp(listener);
      const client = await open();
      const several = 'insert into t values (1); insert into t values (1)';
      primary.answer = (sql) => (sql === several ? failure(1062) : undefined);
      assert.equal(await client.ask(several), 'error 1062');
      assert.equal(await client.ask('begin'), 'ok');
      assert.equal(await loseLast(client, ['select 1', 'commit'], 'as text'), 'ok');
      assert.deepEqual(worker.commitQuestions, []);
    });

    for (const way of WAYS) {
      test(`of a read whose view writes is not asked for a second time (${way}, ${endpoint})`, async () => {
        await setUp(listener);
        hideWrites(primary);
        hideWrites(replica);
        const client = await open();
        // To prepare it pins the session of a split endpoint already.
        const told = endpoint === 'split' && way === 'prepared' ? 'error 1053' : 'error 1180';
        assert.equal(await loseLast(client, ['select * from writes'], way), told);
        const last = way === 'as text' ? 'select * from writes' : 'execute';
        assert.equal(primary.statements.filter((sql) => sql === last).length, 1);
      });
    }
  }

  for (const way of WAYS) {
    test(`of a read that names no such view is read again (${way})`, async () => {
      await setUp(STAYS);
      hideWrites(primary);
      assert.equal(await loseLast(await open(), ['select * from t'], way), 'row 1');
    });
  }

  test('of the COMMIT of reads is asked after where views write', async () => {
    await setUp(STAYS);
    hideWrites(primary);
    worker.commitAnswer = { outcome: 'not_committed', detail: 'a test knows' };
    const client = await open();
    assert.equal(
      await loseLast(client, ['begin', 'select * from writes', 'commit'], 'as text'),
      'error 1213',
    );
    const [{ writeCount, statements }] = worker.commitQuestions as [(typeof worker.commitQuestions)[0]];
    assert.deepEqual([writeCount, statements], [0, []]);
  });

  test('of a COMMIT is asked after without the statements, where a view may have written besides', async () => {
    await setUp(STAYS);
    hideWrites(primary);
    const client = await open();
    const statements = ['begin', 'insert into t values (1)', 'select * from writes', 'commit'];
    assert.equal(await loseLast(client, statements, 'as text'), 'error 1180');
    assert.deepEqual(worker.commitQuestions[0]?.statements, []);
  });

  test('of the COMMIT of a sequence, or of a READ ONLY transaction, is treated as what that is', async () => {
    await setUp(STAYS);
    const client = await open();
    await loseLast(client, ['begin', 'select nextval(s)', 'commit'], 'as text');
    assert.equal(worker.commitQuestions.length, 1);
  });

  test('of a read is not known where nobody can tell what its view does', async () => {
    await setUp(STAYS);
    primary.answer = (sql) => (/information_schema/.test(sql) ? failure(1104) : undefined);
    assert.equal(await loseLast(await open(), ['select 1'], 'as text'), 'error 1180');
  });

  test('of a read is asked after once for all sessions of an account', async () => {
    await setUp(STAYS);
    for (const client of [await open(), await open()]) {
      assert.equal(await loseLast(client, ['select 1'], 'as text'), 'row 1');
    }
    const asks = primary.server.connections
      .flatMap(({ log }) => log.map(named))
      .filter((sql) => /schema\.views/.test(sql));
    assert.equal(asks.length, 1);
  });

  test('is all that has anybody ask what views do, at an endpoint whose sessions stay', async () => {
    await setUp(STAYS);
    const client = await open();
    for (const sql of ['select 1', 'begin', 'select 1', 'insert into t values (1)', 'commit'])
      await client.ask(sql);
    const all = primary.server.connections.flatMap(({ log }) => log.map(named));
    assert.deepEqual(all, ['select 1', 'begin', 'select 1', 'insert into t values (1)', 'commit']);
  });
});

suite('a session that stays at the primary', () => {
  for (const [index, outcome] of OUTCOMES.entries()) {
    test(`whose COMMIT is lost hears whether it has happened: ${outcome}`, async () => {
      await setUp(STAYS);
      worker.commitAnswer = { outcome, detail: 'a test knows' };
      const client = await open();
      await client.ask('begin');
      await client.ask('insert into t values (1)');
      await loseDuring(client, 'commit');
      assert.equal(await client.read(), ['ok', 'error 1213', 'error 1180'][index]);
      assert.equal(await client.ask('select 2'), 'row 1', 'the session goes on');
      assert.equal(primary.statements.filter((sql) => sql === 'commit').length, 1);
    });

    test(`whose write is lost hears whether it has happened: ${outcome}`, async () => {
      await setUp(STAYS);
      worker.commitAnswer = { outcome, detail: 'a test knows' };
      const client = await open();
      await loseDuring(client, 'insert into t values (1)');
      assert.equal(await client.read(), ['error 1158', 'error 1213', 'error 1180'][index]);
      assert.equal(await client.ask('select 2'), 'row 1', 'the session goes on');
      assert.equal(primary.statements.filter((sql) => sql.startsWith('insert')).length, 1);
    });
  }

  test('asks with all that is known of the transaction', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    await client.ask('insert into t values (1)');
    await client.ask('select 1');
    await client.ask('update t set a = 2');
    const { threadId } = (await worker.session()).place!;
    await loseDuring(client, 'commit');
    await client.read();
    const { backend, autocommit, writeCount, statements, user: name, ...rest } = worker.commitQuestions[0]!;
    assert.deepEqual([backend, autocommit, writeCount, name], ['db1', false, 2, 'app']);
    assert.deepEqual(statements, ['insert into t values (1)', 'update t set a = 2']);
    assert.equal(rest.threadId, threadId);
  });

  test('does not hear that a write after a deadlock was rolled back', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    primary.answer = (sql) => (sql.startsWith('update') ? failure(1213) : undefined);
    assert.equal(await client.ask('update t set a = 2'), 'error 1213');
    await loseDuring(client, 'insert into t values (1)');
    assert.equal(await client.read(), 'error 1180');
  });

  test('is not asked about when the transaction has written nothing', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    await client.ask('select 1');
    await loseDuring(client, 'commit');
    assert.equal(await client.read(), 'ok');
    assert.deepEqual(worker.commitQuestions, []);
  });

  test('asks also when the write was a prepared one, too large to be looked at', async () => {
    await setUp(STAYS);
    primary.answer = (sql) => (/^prepare insert/.test(sql) ? preparedWithOne() : undefined);
    const client = await open();
    client.send(writeCommand(Command.STMT_PREPARE, 'insert into t values (?)'));
    const id = await client.preparedId();
    await client.ask('begin');
    client.send(executeLarge(id));
    assert.equal(await client.read(), 'row 1');
    await loseDuring(client, 'commit');
    assert.equal(await client.read(), 'error 1180');
    const [{ writeCount, statements }] = worker.commitQuestions as [(typeof worker.commitQuestions)[0]];
    assert.deepEqual([writeCount, statements], [1, []]);
  });

  test('whose ROLLBACK is lost has what it wanted', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    await client.ask('insert into t values (1)');
    await loseDuring(client, 'rollback');
    assert.equal(await client.read(), 'ok');
  });

  test('has its read run again, and what begins a transaction', async () => {
    await setUp(STAYS);
    const client = await open();
    await loseDuring(client, 'select 1');
    assert.equal(await client.read(), 'row 1');
    await loseDuring(client, 'begin');
    assert.equal(await client.read(), 'ok');
    assert.equal(await client.ask('commit'), 'ok');
  });

  test('does not notice that its connection ends at rest, and has its settings on the next', async () => {
    await setUp(STAYS);
    const client = await open();
    assert.equal(await client.ask("set time_zone = '+01:00'"), 'ok');
    primary.server.connections[0]!.socket.destroy();
    await nothingLent();
    assert.equal(await client.ask('insert into t values (1)'), 'ok');
    assert.deepEqual(primary.on(primary.server.connections[1]!), [
      "SET SESSION time_zone = '+01:00'",
      'insert into t values (1)',
    ]);
  });

  test('hears once that its transaction is gone, but not when it asks for that', async () => {
    await setUp(STAYS);
    const client = await open();
    for (const [first, answer] of [
      ['insert into t values (2)', 'error 1213'],
      ['rollback', 'ok'],
    ] as const) {
      await client.ask('begin');
      primary.server.connections.at(-1)!.socket.destroy();
      await nothingLent();
      assert.equal(await client.ask(first), answer);
      assert.equal(await client.ask('select 1'), 'row 1');
    }
    assert.equal(primary.statements.includes('insert into t values (2)'), false);
  });

  test('ends with a word of what it has lost, where that cannot be made anew', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('create temporary table mine (a int)');
    primary.server.connections[0]!.socket.destroy();
    await nothingLent();
    assert.equal(await client.ask('select 1'), 'error 1053');
    assert.equal(await client.read(), 'closed');
  });

  test('waits while writes are held, and its statement is sent once', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('select 1');
    worker.hold.begin();
    client.send(query('insert into t values (1)'));
    await eventually(() => assert.equal(worker.hold.stats().held, 1));
    assert.deepEqual(primary.statements, ['select 1']);
    worker.hold.end();
    assert.equal(await client.read(), 'ok');
    assert.deepEqual(primary.statements, ['select 1', 'insert into t values (1)']);
  });

  test('goes on in its transaction while writes are held, and waits after it', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    worker.hold.begin();
    assert.equal(await client.ask('insert into t values (1)'), 'ok');
    assert.equal(await client.ask('commit'), 'ok');
    client.send(query('select 1'));
    await eventually(() => assert.equal(worker.hold.stats().held, 1));
    worker.hold.end();
    assert.equal(await client.read(), 'row 1');
  });

  test('is refused after hold_timeout, and nothing of its statement has been sent', async () => {
    await setUp(STAYS);
    const client = await open();
    worker.hold.begin();
    client.send(query('insert into t values (1)'));
    await eventually(() => assert.equal(worker.hold.stats().held, 1));
    worker.clock.advance(10_000);
    assert.equal(await client.read(), 'error 1205');
    assert.deepEqual(primary.statements, []);
    worker.hold.end();
    assert.equal(await client.ask('select 1'), 'row 1');
  });
});

suite('triggers and views of which nothing is known in a transaction', () => {
  const TRIGGERS = /information_schema\.triggers/;

  /** What a connection was asked, in the words of the client or as triggers? and views? */
  function all(connection: FakeServerConnection): string[] {
    return connection.log.map(named).map((sql) => /information_schema\.(\w+)/.exec(sql)?.[1] ?? sql);
  }

  /** In a transaction, after something was created through another session. */
  async function begun(begin = 'begin', limit = 100): Promise<Client> {
    await setUp({}, limit);
    const client = await open();
    await client.ask(begin);
    worker.shares!.hiddenCode.forget();
    return client;
  }

  function hasTriggers(): void {
    primary.answer = (sql) => (TRIGGERS.test(sql) ? row(1) : undefined);
  }

  test('are asked for when it has ended, and the connection goes to others only then', async () => {
    const client = await begun('begin', 1);
    await client.ask('insert into t values (1)');
    const asking = asked(primary, TRIGGERS);
    assert.equal(await client.ask('commit'), 'ok');
    const connection = await asking;
    const other = await open();
    other.send(query('insert into t values (2)'));
    await worker.clock.pass(100);
    assert.deepEqual(all(connection), [
      'triggers',
      'views',
      'begin',
      'insert into t values (1)',
      'commit',
      'triggers',
    ]);
    connection.send(row(0));
    assert.equal(await other.read(), 'ok');
  });

  test('keep the session on its connection when a trigger may have left something there', async () => {
    const client = await begun();
    hasTriggers();
    await client.ask('insert into t values (1)');
    await client.ask('commit');
    assert.equal(await client.ask('select 1'), 'row 1');
    assert.equal(primary.whereRan('select 1'), primary.whereRan('commit'));
  });

  test('end a session that may have left something on a replica', async () => {
    const client = await begun('start transaction read only');
    replica.answer = (sql) =>
      /information_schema\.views/.test(sql) ? row(viewRow(['v_calls', 'select f() AS a'])) : undefined;
    assert.equal(await client.ask('select a from v_calls'), 'row 1');
    assert.equal(await client.ask('commit'), 'ok');
    assert.match(await client.read(), /^error 1053|closed/);
    await nothingLent();
  });

  test('are asked for when another transaction ends one on a replica', async () => {
    const client = await begun('start transaction read only');
    await client.ask('select 1');
    await client.ask('begin');
    assert.deepEqual(all(replica.whereRan('select 1')).slice(-4), [
      'select 1',
      'COMMIT',
      'triggers',
      'views',
    ]);
    await client.ask('commit');
    await nothingLent();
  });

  test('end the session when its connection is lost while they are asked for', async () => {
    const client = await begun();
    await client.ask('insert into t values (1)');
    const asking = asked(primary, TRIGGERS);
    assert.equal(await client.ask('commit'), 'ok');
    (await asking).socket.destroy();
    await nothingLent();
    assert.equal(await client.ask('select 1'), 'error 1053');
  });

  test('do not keep it from leaving the primary', async () => {
    const client = await begun();
    await client.ask('insert into t values (1)');
    worker.hold.begin();
    const parts = { clock: worker.clock, sessions: worker.sessions.all(), pool: worker.pool('db1') };
    const left = leavePrimary(parts, { backend: 'db1', graceMs: 5000, reason: 'db2 becomes the primary' });
    assert.equal(await client.ask('commit'), 'ok');
    assert.deepEqual(await left, { moved: 1, ended: 0 });
  });
});

suite('a worker that leaves the primary', () => {
  function leave(graceMs: number): Promise<LeaveOutcome> {
    worker.hold.begin();
    const parts = { clock: worker.clock, sessions: worker.sessions.all(), pool: worker.pool('db1') };
    return leavePrimary(parts, { backend: 'db1', graceMs, reason: 'db2 becomes the primary' });
  }

  for (const listener of [
    STAYS,
    { mode: 'split', pool: 'transaction' },
    { mode: 'split', pool: 'session' },
  ] as const) {
    const name = `mode = ${listener.mode}, pool = ${listener.pool}`;

    test(`has sessions at rest leave at once, and no connection is left: ${name}`, async () => {
      await setUp(listener);
      const client = await open();
      await client.ask('insert into t values (1)');
      const { ended } = await leave(5000);
      assert.equal(ended, 0);
      await eventually(() => assert.ok(primary.server.connections.every(({ socket }) => socket.closed)));
      worker.pool('db1').reopen();
      worker.hold.end();
      assert.equal(await client.ask('insert into t values (2)'), 'ok');
    });

    test(`lets a transaction end within the grace: ${name}`, async () => {
      await setUp(listener);
      const client = await open();
      await client.ask('begin');
      const left = leave(5000);
      assert.equal(await client.ask('insert into t values (1)'), 'ok');
      assert.equal(await client.ask('commit'), 'ok');
      assert.deepEqual(await left, { moved: 1, ended: 0 });
    });

    test(`cuts a transaction after the grace: ${name}`, async () => {
      await setUp(listener);
      const client = await open();
      await client.ask('begin');
      const left = leave(5000);
      worker.clock.advance(5000);
      assert.deepEqual(await left, { moved: 0, ended: 1 });
      worker.pool('db1').reopen();
      worker.hold.end();
      assert.equal(await client.ask('insert into t values (1)'), 'error 1213');
      assert.equal(await client.ask('insert into t values (2)'), 'ok');
    });
  }

  test('without a grace all is cut at once', async () => {
    await setUp(STAYS);
    const client = await open();
    await client.ask('begin');
    assert.deepEqual(await leave(0), { moved: 0, ended: 1 });
  });
});
