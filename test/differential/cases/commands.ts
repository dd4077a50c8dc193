/**
 * Every command that is no statement, unknown and damaged ones among them.
 */
import { WireFlag, type WireClient } from '../../support/wire-client.ts';
import type { Meaning } from '../../support/wire-decode.ts';
import type { CasePlace, WireCase } from '../compare.ts';

const login: WireCase = {
  name: 'the OK of a login, with and without a database, and of one that fails',
  async *steps(client, place) {
    yield client.loginAnswer;
    yield (await place.open({ database: '' })).loginAnswer;
    for (const wrong of [
      { database: 'missing' },
      { password: 'wrong' },
      { password: '' },
      { user: 'nobody' },
    ]) {
      const other = await place.open(wrong);
      // How a password is asked for depends on user and channel; what is said of it in the end does not.
      yield 'database' in wrong ? other.loginAnswer : lastWord(other.loginAnswer);
    }
  },
};

const simple: WireCase = {
  name: 'init db, field list, statistics, ping, debug, process info, refresh',
  setup: ["create table t (id int primary key default 7, v varchar(20) default 'x', n int)"],
  async *steps(client) {
    yield client.single(0x02, Buffer.from('mysql'));
    yield client.query('select database()');
    yield client.single(0x02, Buffer.from('missing'));
    yield client.single(0x02, Buffer.from(''));
    yield client.single(0x02, Buffer.from('wire'));
    yield client.fieldList('t');
    yield client.fieldList('t', 'v%');
    yield client.fieldList('missing');
    yield client.fieldList('');
    yield client.statistics();
    yield client.ping();
    yield client.single(0x0e, Buffer.from('more than a ping'));
    yield client.single(0x0d);
    yield client.single(0x07, Buffer.from([1]));
  },
};

const processInfo: WireCase = {
  name: 'COM_PROCESS_INFO has the columns of SHOW PROCESSLIST',
  async *steps(client) {
    yield (await client.resultsOf(0x0a)).filter(
      ({ kind }) => kind !== 'row' && kind !== 'ok' && kind !== 'eof',
    );
  },
};

/** Not among them: what ends the server (0x08) or the connection (0x21 at MySQL 9), follows its log (0x12, 0x13, 0x15, 0x1e), or has a case of its own. */
const WITH_CASES = new Set([
  0x01, 0x03, 0x04, 0x08, 0x09, 0x0a, 0x0c, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1c, 0x1e, 0x1f,
  0x20, 0x21, 0xfa, 0xfb, 0xfe,
]);

const unknown: WireCase = {
  name: 'commands that nobody knows',
  async *steps(client) {
    for (let command = 0; command < 256; command++) {
      if (!WITH_CASES.has(command)) yield client.single(command);
    }
    yield client.single(0x77, Buffer.alloc(5000, 1));
  },
};

const empty: WireCase = {
  name: 'a command of 0 bytes',
  raw: true,
  ends: true,
  async *steps(client) {
    client.sendRaw(Buffer.from([0, 0, 0, 0]));
    yield client.readSingle();
  },
};

const outOfOrder: WireCase = {
  name: 'a command with a wrong sequence number',
  raw: true,
  ends: true,
  async *steps(client) {
    client.sendRaw(Buffer.from([1, 0, 0, 5, 0x0e]));
    yield client.readClose();
  },
};

const quit: WireCase = {
  name: 'COM_QUIT ends the connection without a word',
  ends: true,
  async *steps(client) {
    yield client.query('select 1');
    client.send(0x01);
    yield client.readClose();
  },
};

const quitInTransaction: WireCase = {
  name: 'COM_QUIT rolls back, and so does a connection that is cut',
  setup: ['create table t (a int)'],
  async *steps(client, place) {
    for (const end of ['quit', 'cut'] as const) {
      const other = await place.open();
      yield other.query('begin');
      yield other.query('insert into t values (1)');
      if (end === 'quit') {
        other.send(0x01);
        yield other.readClose();
      } else other.destroy();
      // The lock shows that the transaction is over: no row, and the table can be changed.
      yield client.query('lock tables t write');
      yield client.query('select * from t');
      yield client.query('unlock tables');
    }
  },
};

const changeUser: WireCase = {
  name: 'COM_CHANGE_USER: to itself, another database, another character set, back',
  setup: ['create table t (a int)'],
  async *steps(client, place) {
    const { user = '', password = '' } = place.options;
    yield client.query("set @a = 1, sql_mode = 'ansi'");
    yield client.query('create temporary table tmp (a int)');
    yield client.query('begin');
    yield client.query('insert into t values (1)');
    yield client.changeUser(user, password, 'mysql', 8);
    yield client.query('select database(), @a, @@sql_mode, @@character_set_client, @@collation_connection');
    yield client.changeUser(user, password, 'wire', 224);
    yield client.query('select database(), @@character_set_client, @@collation_connection');
    yield client.query('select * from t');
    yield client.query('select * from tmp');
    yield client.changeUser(user, password, '', 45);
    yield client.query('select database()');
    yield client.changeUser(user, password, 'wire', 45);
  },
};

/** MariaDB goes on as the old user; MySQL closes. */
function afterRefusal(client: WireClient, place: CasePlace): Promise<Meaning[]> {
  return place.kind === 'mariadb' ? client.query('do 1') : client.readClose();
}

const refusedPassword: WireCase = {
  name: 'COM_CHANGE_USER refused: a wrong password',
  costly: true,
  ends: true,
  async *steps(client, place) {
    yield client.changeUser('app', 'wrong', 'wire', 45);
    yield afterRefusal(client, place);
  },
};

const refusedUser: WireCase = {
  name: 'COM_CHANGE_USER refused: an unknown user',
  costly: true,
  ends: true,
  async *steps(client, place) {
    yield lastWord(await client.changeUser('nobody', 'x', 'wire', 45));
    yield afterRefusal(client, place);
  },
};

const refusedDatabase: WireCase = {
  name: 'COM_CHANGE_USER to a database that is missing',
  costly: true,
  ends: true,
  async *steps(client, place) {
    const { user = '', password = '' } = place.options;
    yield client.changeUser(user, password, 'missing', 45);
    yield afterRefusal(client, place);
  },
};

const resetConnection: WireCase = {
  name: 'COM_RESET_CONNECTION',
  setup: ['create table t (a int)'],
  servers: ['mariadb', 'mysql97'],
  async *steps(client) {
    yield client.query("set @a = 1, sql_mode = 'ansi', character_set_results = latin1");
    yield client.query('create temporary table tmp (a int)');
    yield client.prepare('select 1');
    yield client.query('begin');
    yield client.query('insert into t values (1)');
    yield client.single(0x02, Buffer.from('mysql'));
    yield client.single(0x1f);
    yield client.query('select database(), @a, @@sql_mode, @@character_set_results, @@autocommit');
    yield client.query('select * from wire.t');
    yield client.query('select * from wire.tmp');
    yield client.single(0x1f);
  },
};

const killOther: WireCase = {
  name: 'KILL and COM_PROCESS_KILL by the id of the greeting',
  async *steps(client, place) {
    const kills: ((id: number) => Promise<Meaning[]>)[] = [
      (id) => client.query(`kill ${id}`),
      (id) => client.query(`KILL CONNECTION ${id}`),
    ];
    // MySQL 9 does not know the command any more; dbproxy serves it there, too (docs/differences.md).
    if (place.kind !== 'mysql97') kills.push((id) => client.single(0x0c, u32(id)));
    for (const kill of kills) {
      const other = await place.open();
      yield other.query('select 1');
      yield kill(other.greeting.threadId);
      yield (await other.readClose()).filter(({ kind }) => kind === 'closed');
    }
    yield client.query('kill 2147483000');
    yield client.single(0x0c, Buffer.from([1]));
  },
};

const killQuery: WireCase = {
  name: 'KILL QUERY of a statement that runs, and the session goes on',
  async *steps(client, place) {
    const other = await place.open();
    yield other.query('set @mine = 5');
    const sleeping = other.query("select sleep(20), 'killed'");
    // It may be killed only when it sleeps: until then a server may still answer without the head of the result.
    for (;;) {
      const answer = await client.query(
        "select count(*) from information_schema.processlist where info like 'select sleep(20)%' and state = 'User sleep'",
      );
      if (answer.some((one) => one.kind === 'row' && one.cells[0] === '1')) break;
    }
    yield client.query(`kill query ${other.greeting.threadId}`);
    yield sleeping;
    yield other.query('select @mine');
  },
};

const pipelined: WireCase = {
  name: 'commands that come in one write, before the answers of the first',
  raw: true,
  setup: ['create table t (a int)'],
  async *steps(client) {
    const command = (text: string): Buffer => {
      const attributes = client.has(WireFlag.QUERY_ATTRIBUTES) ? Buffer.from([0, 1]) : Buffer.alloc(0);
      const body = Buffer.concat([Buffer.from([3]), attributes, Buffer.from(text)]);
      return Buffer.concat([Buffer.from([body.length & 0xff, body.length >> 8, 0, 0]), body]);
    };
    const texts = [
      'insert into t values (1)',
      'select * from t',
      "select repeat('x', 100000)",
      'selec',
      'select 2',
    ];
    client.sendRaw(Buffer.concat(texts.map(command)));
    for (const _ of texts) yield client.readResults();
    client.sendRaw(command('select 3').subarray(0, 2));
    client.sendRaw(command('select 3').subarray(2, 5));
    client.sendRaw(command('select 3').subarray(5));
    yield client.readResults();
  },
};

/** The last packet, wherever in the exchange it came. */
function lastWord(answer: Meaning[]): Meaning[] {
  return answer.slice(-1).map((meaning) => ({ ...meaning, sequence: 0 }));
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export const commandCases: readonly WireCase[] = [
  login,
  simple,
  processInfo,
  unknown,
  empty,
  outOfOrder,
  quit,
  quitInTransaction,
  changeUser,
  refusedPassword,
  refusedUser,
  refusedDatabase,
  resetConnection,
  killOther,
  killQuery,
  pipelined,
];
