/**
 * Records the vectors beside this file from a real server, byte for byte. It has no part in the tests; run
 * it by hand when a server version or an exchange is to be added:
 *
 *   node test/vectors/capture.ts HOST PORT
 *
 * The server needs user app (password app, mysql_native_password), the right to use database demo, its
 * table t (id, name) with three rows, and the procedures two() and fails(); see `SETUP` below.
 *
 * Where an answer ends is known here by silence, not by our own tracker, so the vectors can prove it wrong.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Capability, Command } from '../../src/protocol/constants.ts';
import { ClientLogin } from '../../src/protocol/login-client.ts';
import { writeChangeUser, writeHandshakeResponse } from '../../src/protocol/handshake.ts';
import { writeCommand } from '../../src/protocol/packets.ts';
import { RELAYED_CAPABILITIES } from '../../src/frontend/offer.ts';
import { RawConnection } from './raw-connection.ts';

/** What the server must hold: for whoever records anew. */
const SETUP = `
create database demo;
create user app@'127.0.0.1' identified via mysql_native_password using password('app');
grant all on demo.* to app@'127.0.0.1';
create table demo.t (id int primary key, name varchar(20));
insert into demo.t values (1,'one'),(2,'two'),(3,'three');
create procedure demo.two() begin select 1 as a; select id, name from t where id=2; end;
create procedure demo.fails() begin
  select 1 as a; signal sqlstate '45000' set mysql_errno=5001, message_text='enough'; end;
`;

const [host, port] = process.argv.slice(2);
if (host === undefined || port === undefined) throw new Error(`HOST PORT of a server with:${SETUP}`);

interface Exchange {
  name: string;
  /** The command byte. */
  command: number;
  deprecateEof: boolean;
  request: string;
  reply: string;
  /** For LOAD DATA LOCAL: what the client sends then, and what the server answers to that. */
  file?: string;
  afterFile?: string;
}

function loginOptions(capabilities: number, password = 'app') {
  return { user: 'app', secret: { password }, database: 'demo', collation: 45, capabilities };
}

/** Logs in and answers the connection with the flags in force. */
async function loggedIn(capabilities: number): Promise<RawConnection> {
  const connection = new RawConnection(host!, port!);
  await once(connection.socket, 'connect');
  const greeting = await connection.quiet();
  const login = new ClientLogin(loginOptions(capabilities));
  const step = login.receive(greeting.subarray(4), 0);
  if (step.kind !== 'send') throw new Error(`login: ${step.kind}`);
  const ok = await connection.ask(step.bytes);
  if (ok[4] !== 0) throw new Error(`login refused: ${ok.toString('latin1')}`);
  return connection;
}

function query(sql: string): Buffer {
  return writeCommand(Command.QUERY, sql);
}

/** Statement id, flags (1: read-only cursor) and iteration count of an execute. */
function execute(id: number, cursor: boolean): Buffer {
  const body = Buffer.alloc(9);
  body.writeUInt32LE(id, 0);
  body[4] = cursor ? 1 : 0;
  body.writeUInt32LE(1, 5);
  return writeCommand(Command.STMT_EXECUTE, body);
}

function fetch(id: number, rows: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(id, 0);
  body.writeUInt32LE(rows, 4);
  return writeCommand(Command.STMT_FETCH, body);
}

async function captureReplies(deprecateEof: boolean): Promise<Exchange[]> {
  const flags = RELAYED_CAPABILITIES;
  const capabilities = deprecateEof ? flags : (flags & ~Capability.DEPRECATE_EOF) >>> 0;
  const connection = await loggedIn(capabilities);
  const exchanges: Exchange[] = [];
  const record = async (name: string, request: Buffer): Promise<Buffer> => {
    const reply = await connection.ask(request);
    const command = request[4]!;
    exchanges.push({ name, command, deprecateEof, request: request.toString('hex'), reply: reply.toString('hex') });
    return reply;
  };
  const prepare = async (name: string, sql: string): Promise<number> =>
    (await record(name, writeCommand(Command.STMT_PREPARE, sql))).readUInt32LE(5);

  await record('ok', query('do 1'));
  await record('ok with rows affected and info', query("update t set name = 'one' where id = 1"));
  await record('ok with session tracking', query('set autocommit = 1'));
  await record('ok in a transaction', query('begin'));
  await record('rows in a transaction', query('select 1'));
  await record('commit', query('commit'));
  await record('err', query('select * from missing'));
  await record('err of the parser', query('selec'));
  await record('rows', query('select id, name from t'));
  await record('no rows', query('select id, name from t where id > 99'));
  await record('null and empty cells', query("select null, '', null"));
  await record('a cell of 300 bytes', query("select repeat('x', 300)"));
  await record('a cell of 260 bytes', query("select left(repeat('x', 300), 260)"));
  await record('err in the middle of rows', query('select id, (select id from t where id >= x.id) from t x order by id desc'));
  await record('several results', query('select 1; do 1; select id from t; select 2 from t where 0'));
  await record('several results, the last an err', query('select 1; select * from missing'));
  await record('call with two results', query('call two()'));
  await record('call that fails after a result', query('call fails()'));
  await record('show warnings', query('show warnings'));
  await record('260 columns', query(`select ${Array.from({ length: 260 }, (_, index) => index % 10).join(',')}`));

  const plain = await prepare('prepare without parameters and columns', 'do 1');
  const select = await prepare('prepare with parameters and columns', 'select id, name from t where id < ?');
  await prepare('prepare with parameters only', 'update t set name = ? where id = ?');
  const rows = await prepare('prepare with columns only', 'select id, name from t');
  const call = await prepare('prepare of a call', 'call two()');
  await prepare('prepare that fails', 'select * from missing');
  await record('execute without rows', execute(plain, false));
  await record('execute with rows', execute(rows, false));
  await record('execute of a call', execute(call, false));
  await record('execute of an unknown statement', execute(9999, false));
  await record('execute that lacks its parameters', execute(select, false));
  await record('execute with a cursor', execute(rows, true));
  await record('fetch some', fetch(rows, 2));
  await record('a query while a cursor is open', query('select 1'));
  await record('fetch the rest', fetch(rows, 10));
  await record('fetch after the end', fetch(rows, 10));
  await record('execute of a call with a cursor wish', execute(call, true));
  await record('execute without rows with a cursor wish', execute(plain, true));
  const id = Buffer.alloc(4);
  id.writeUInt32LE(rows);
  await record('statement reset', writeCommand(Command.STMT_RESET, id));

  await record('field list', writeCommand(Command.FIELD_LIST, 't\0'));
  await record('field list of a missing table', writeCommand(Command.FIELD_LIST, 'missing\0'));
  await record('statistics', writeCommand(Command.STATISTICS));
  await record('ping', writeCommand(Command.PING));
  await record('init db', writeCommand(Command.INIT_DB, 'demo'));
  await record('init db that fails', writeCommand(Command.INIT_DB, 'missing'));
  await record('set option', writeCommand(Command.SET_OPTION, Buffer.from([0, 0])));
  await record('set option back', writeCommand(Command.SET_OPTION, Buffer.from([1, 0])));
  await record('process info', writeCommand(Command.PROCESS_INFO));
  await record('debug', writeCommand(Command.DEBUG));
  await record('reset connection', writeCommand(Command.RESET_CONNECTION));
  await record('unknown command', writeCommand(0x77));
  await record('command that is no client command', writeCommand(Command.TIME));

  await captureFile(connection, exchanges, deprecateEof);
  connection.socket.destroy();
  return exchanges;
}

async function captureFile(connection: RawConnection, exchanges: Exchange[], deprecateEof: boolean) {
  await connection.ask(query('create temporary table f (line varchar(50))'));
  const request = query("load data local infile 'lines.txt' into table f");
  const reply = await connection.ask(request);
  const content = Buffer.from('first\nsecond\n');
  const file = Buffer.concat([Buffer.from([content.length, 0, 0, 2]), content, Buffer.from([0, 0, 0, 3])]);
  const afterFile = await connection.ask(file);
  exchanges.push({
    name: 'load data local',
    command: Command.QUERY,
    deprecateEof,
    request: request.toString('hex'),
    reply: reply.toString('hex'),
    file: file.toString('hex'),
    afterFile: afterFile.toString('hex'),
  });
}

/** The packets of logins, each direction on its own. */
async function captureLogins(): Promise<Record<string, string>> {
  const flags = RELAYED_CAPABILITIES;
  const connection = new RawConnection(host!, port!);
  const greeting = await connection.quiet();
  const login = new ClientLogin(loginOptions(flags));
  const step = login.receive(greeting.subarray(4), 0);
  if (step.kind !== 'send') throw new Error(step.kind);
  const ok = await connection.ask(step.bytes);
  const changeUser = writeChangeUser({
    user: 'app',
    answer: Buffer.alloc(20, 7),
    database: 'demo',
    collation: 45,
    plugin: 'mysql_native_password',
    attributes: Buffer.alloc(0),
  }, login.capabilities);
  const changeAnswer = await connection.ask(changeUser);
  connection.socket.destroy();

  const stranger = new RawConnection(host!, port!);
  const second = await stranger.quiet();
  const wish = new ClientLogin(loginOptions(flags));
  wish.receive(second.subarray(4), 0);
  const response = writeHandshakeResponse(1, {
    capabilities: wish.capabilities,
    maxPacketBytes: 0x40000000,
    collation: 45,
    user: 'app',
    answer: Buffer.alloc(32, 5),
    database: 'demo',
    plugin: 'caching_sha2_password',
    extendedCapabilities: 0,
    attributes: Buffer.alloc(0),
    zstdLevel: 0,
  });
  const authSwitch = await stranger.ask(response);
  const answer = wish.receive(authSwitch.subarray(4), authSwitch[3]!);
  if (answer.kind !== 'send') throw new Error(answer.kind);
  const okAfterSwitch = await stranger.ask(answer.bytes);
  stranger.socket.destroy();

  const wrong = new RawConnection(host!, port!);
  const third = await wrong.quiet();
  const wrongLogin = new ClientLogin(loginOptions(flags, 'wrong'));
  const wrongStep = wrongLogin.receive(third.subarray(4), 0);
  if (wrongStep.kind !== 'send') throw new Error(wrongStep.kind);
  const denied = await wrong.ask(wrongStep.bytes);
  wrong.socket.destroy();
  const hex = (bytes: Buffer): string => bytes.toString('hex');
  return {
    greeting: hex(greeting),
    response: hex(step.bytes),
    ok: hex(ok),
    changeUser: hex(changeUser),
    changeUserAnswer: hex(changeAnswer),
    authSwitch: hex(authSwitch),
    switchAnswer: hex(answer.bytes),
    okAfterSwitch: hex(okAfterSwitch),
    denied: hex(denied),
  };
}

const folder = new URL('.', import.meta.url);
const replies = [...(await captureReplies(true)), ...(await captureReplies(false))];
writeFileSync(new URL('replies.json', folder), `${JSON.stringify(replies, null, 1)}\n`);
writeFileSync(new URL('logins.json', folder), `${JSON.stringify(await captureLogins(), null, 1)}\n`);
