/**
 * Records answers whose form depends on newer flags: column definitions left out, progress of a long
 * statement, many rows in one execution. Run by hand, as capture.ts beside it:
 *
 *   node test/vectors/capture-newer.ts HOST MYSQL9_PORT MARIADB_PORT
 *
 * Both servers need user app (password app) with all rights on database demo.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Capability, Command } from '../../src/protocol/constants.ts';
import { ClientLogin } from '../../src/protocol/login-client.ts';
import { writeCommand, writePayload } from '../../src/protocol/packets.ts';
import { queryPayload } from '../../src/protocol/query-attributes.ts';
import { PacketWriter } from '../../src/protocol/writer.ts';
import { RELAYED_CAPABILITIES, RELAYED_EXTENDED } from '../../src/frontend/offer.ts';
import { RawConnection } from './raw-connection.ts';

const [host, mysqlPort, mariadbPort] = process.argv.slice(2);
if (mariadbPort === undefined) throw new Error('usage: capture-newer.ts HOST MYSQL9_PORT MARIADB_PORT');

interface Exchange {
  name: string;
  capabilities: number;
  extendedCapabilities: number;
  command: number;
  reply: string;
}

const exchanges: Exchange[] = [];

class Recorder {
  readonly #connection: RawConnection;
  readonly #capabilities: number;
  readonly #extendedCapabilities: number;
  readonly #server: string;

  private constructor(connection: RawConnection, server: string, login: ClientLogin) {
    this.#connection = connection;
    this.#server = server;
    this.#capabilities = login.capabilities;
    this.#extendedCapabilities = login.extendedCapabilities;
  }

  static async open(server: string, port: string, capabilities: number): Promise<Recorder> {
    const connection = new RawConnection(host!, port);
    await once(connection.socket, 'connect');
    const login = new ClientLogin({
      user: 'app',
      secret: { password: 'app' },
      database: 'demo',
      collation: 45,
      capabilities,
      extendedCapabilities: RELAYED_EXTENDED,
      attributes: Buffer.alloc(0),
      zstdLevel: 0,
      tls: 'off',
      secure: false,
    });
    let bytes = await connection.quiet();
    for (;;) {
      let sent = false;
      for (let at = 0; at < bytes.length; at += 4 + bytes.readUIntLE(at, 3)) {
        const step = login.receive(bytes.subarray(at + 4, at + 4 + bytes.readUIntLE(at, 3)), bytes[at + 3]!);
        if (step.kind === 'ok') return new Recorder(connection, server, login);
        if (step.kind === 'failed') throw new Error(step.error.message);
        if (step.kind !== 'send') continue;
        connection.socket.write(step.bytes);
        sent = true;
      }
      if (!sent) throw new Error('the login stands still');
      bytes = await connection.quiet();
    }
  }

  async record(name: string, request: Buffer): Promise<Buffer> {
    const reply = await this.#connection.ask(request);
    exchanges.push({
      name: `${this.#server}: ${name}`,
      capabilities: this.#capabilities,
      extendedCapabilities: this.#extendedCapabilities,
      command: request[4]!,
      reply: reply.toString('hex'),
    });
    return reply;
  }

  query(sql: string, name = sql): Promise<Buffer> {
    return this.record(name, writePayload(0, queryPayload(sql, this.#capabilities)));
  }

  async prepare(sql: string): Promise<number> {
    return (await this.record(`prepare ${sql}`, writeCommand(Command.STMT_PREPARE, sql))).readUInt32LE(5);
  }

  end(): void {
    this.#connection.socket.destroy();
  }
}

/** An execution without parameters. */
function execute(id: number, cursor = false): Buffer {
  const body = new PacketWriter().u32(id).u8(cursor ? 1 : 0).u32(1).take();
  return writeCommand(Command.STMT_EXECUTE, body);
}

/** Three rows of one parameter of type LONG; no indicator (https://mariadb.com/kb/en/com_stmt_bulk_execute/). */
function bulkExecute(id: number): Buffer {
  const writer = new PacketWriter().u32(id).u16(128).u8(0x03).u8(0);
  for (const value of [101, 102, 103]) writer.u8(0).u32(value);
  return writeCommand(Command.STMT_BULK_EXECUTE, writer.take());
}

async function captureMetadata(recorder: Recorder): Promise<void> {
  for (const metadata of ['FULL', 'NONE']) {
    await recorder.query(`set resultset_metadata = ${metadata}`);
    await recorder.query('select 1 as a, 2 as b', `${metadata}, rows`);
    await recorder.query('select 1 as a from dual where 0', `${metadata}, no rows`);
    await recorder.query('select 1; do 1; select 2', `${metadata}, several results`);
    await recorder.query(`select ${Array(300).fill('1').join(',')}`, `${metadata}, 300 columns`);
    const both = await recorder.prepare('select ? as a, 2 as b');
    const columns = await recorder.prepare('select 1 as a, 2 as b');
    await recorder.prepare('do ?');
    await recorder.record(`${metadata}, execute`, execute(columns));
    await recorder.record(`${metadata}, execute with a cursor`, execute(columns, true));
    await recorder.record(`${metadata}, execute that lacks its parameter`, execute(both));
  }
}

async function captureMariaDb(recorder: Recorder): Promise<void> {
  const rows = await recorder.prepare('select 1 as a, 2 as b');
  await recorder.record('the first execution', execute(rows));
  await recorder.record('the second, without definitions', execute(rows));
  await recorder.record('with a cursor, without definitions', execute(rows, true));
  await recorder.query('select 1 as a', 'rows of a text');
  await recorder.query('create or replace temporary table bulk (a int)');
  await recorder.record('many rows at once', bulkExecute(await recorder.prepare('insert into bulk values (?)')));
  await recorder.query('create or replace table slow engine=aria as select seq from seq_1_to_3000000', 'create of a table');
  await recorder.query('set progress_report_time = 1');
  await recorder.query('alter table slow add key (seq)', 'progress of an alter');
  await recorder.query('drop table slow');
}

for (const eof of [false, true]) {
  const capabilities = eof ? RELAYED_CAPABILITIES & ~Capability.DEPRECATE_EOF : RELAYED_CAPABILITIES;
  const suffix = eof ? ' with EOF packets' : '';
  const mysql = await Recorder.open(`MySQL 9.7${suffix}`, mysqlPort!, capabilities >>> 0);
  await captureMetadata(mysql);
  mysql.end();
  const mariadb = await Recorder.open(`MariaDB 10.11${suffix}`, mariadbPort, capabilities >>> 0);
  await captureMariaDb(mariadb);
  mariadb.end();
}
const text = `${JSON.stringify(exchanges, null, 1)}\n`;
writeFileSync(new URL('replies-newer.json', import.meta.url), text);
