/**
 * Frameworks and drivers that cannot be run here, by the statements that their sources send: each connection is
 * played byte by byte directly at a server and through a split endpoint, and every packet that comes back must
 * be the same. The set-up goes out in one write, as some connectors do not wait for the answers to it; nothing
 * of it may hold the session.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { forEachFlavour, type LabFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import { type ProxyProcess } from '../lab/proxy.ts';
import { pinsOf } from '../support/explained-session.ts';
import { readFrameworkSessions, type FrameworkConnection } from '../support/framework-sessions.ts';
import { parameter, WireClient, WireFlag } from '../support/wire-client.ts';
import { type Meaning } from '../support/wire-decode.ts';

const Command = { INIT_DB: 0x02, QUERY: 0x03, RESET_CONNECTION: 0x1f } as const;
const CAPABILITIES = WireFlag.MULTI_STATEMENTS | WireFlag.MULTI_RESULTS | WireFlag.PS_MULTI_RESULTS;

/** What their statements are about. */
const TABLES: Readonly<Record<string, string>> = {
  book: 'id int auto_increment primary key, title varchar(50), copies int default 1',
  books: 'id int auto_increment primary key, title varchar(50)',
  Books: 'Id int auto_increment primary key, Title varchar(50)',
  variable: 'name varchar(50), value varchar(50)',
  wp_options: 'option_name varchar(50), option_value varchar(50), autoload varchar(20)',
  wp_posts: 'ID int auto_increment primary key',
};

const sessions = readFrameworkSessions().filter(({ source }) => source === 'read');

forEachFlavour(
  (flavour) => {
    describe(`statements of frameworks at ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;

      before(async () => {
        lab = await startPair({ flavour });
        const split = { pool: 'transaction', causal_reads: 'global' };
        proxy = await lab.startProxy({ workers: 1, config: { 'listener split': split } });
      });
      after(() => lab?.stop());

      for (const session of sessions.filter(({ server }) => fits(server, flavour))) {
        it(`${session.framework}: the same answers, and nothing pins after the set-up`, async () => {
          for (const connection of session.connections) {
            await makeTables(proxy, connection);
            const direct = await play(connection, lab.db1.port);
            await makeTables(proxy, connection);
            const proxied = await play(connection, proxy.ports.split, async () => {
              assert.deepEqual(await pinsOf(proxy, 'split'), []);
            });
            assert.deepEqual(direct.setUp.flat().filter(isError), [], 'the server takes the set-up');
            assert.deepEqual(proxied, direct);
          }
        });
      }
    });
  },
  ['mariadb', 'mysql97'],
);

function fits(server: string, flavour: LabFlavour): boolean {
  return server === 'any' || server.includes(flavour === 'mariadb' ? 'MariaDB' : 'MySQL');
}

function isError({ kind }: Meaning): boolean {
  return kind === 'error';
}

/** Those that the statements are about, empty; through the proxy, so that its sessions' reads wait for them. */
async function makeTables(proxy: ProxyProcess, { setUp, session }: FrameworkConnection): Promise<void> {
  const client = await proxy.connect('split');
  const words = new Set([...setUp, ...session].join(' ').split(/\W+/));
  for (const [name, columns] of Object.entries(TABLES).filter(([table]) => words.has(table))) {
    await client.query(`drop table if exists \`${name}\``);
    await client.query(`create table \`${name}\` (${columns})`);
  }
  await client.end();
}

interface Played {
  setUp: Meaning[][];
  session: Meaning[][];
}

async function play(
  { setUp, session }: FrameworkConnection,
  port: number,
  whenSetUp: () => Promise<void> = async () => undefined,
): Promise<Played> {
  const client = await WireClient.connect({ port, capabilities: CAPABILITIES });
  const played: Played = { setUp: [], session: [] };
  try {
    client.sendRaw(Buffer.concat(setUp.map(packetOf)));
    for (const line of setUp) played.setUp.push(await readAnswer(client, line));
    await whenSetUp();
    for (const line of session) played.session.push(...(await send(client, line)));
    return played;
  } finally {
    client.destroy();
  }
}

/** Commands go by the names that a server's general log has for them. */
function split(line: string): { command: string; text: string } {
  const colon = line.indexOf(':');
  return { command: line.slice(0, colon), text: line.slice(colon + 1).replace(/^ /, '') };
}

function packetOf(line: string): Buffer {
  const { command, text } = split(line);
  const code = command === 'Init DB' ? Command.INIT_DB : Command.QUERY;
  if (command !== 'Init DB' && command !== 'Query') throw new Error(`in a set-up: ${line}`);
  const payload = Buffer.concat([Buffer.from([code]), Buffer.from(text)]);
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  return Buffer.concat([header, payload]);
}

function readAnswer(client: WireClient, line: string): Promise<Meaning[]> {
  return split(line).command === 'Query' ? client.readResults() : client.readSingle();
}

async function send(client: WireClient, line: string): Promise<Meaning[][]> {
  const { command, text } = split(line);
  switch (command) {
    case 'Query':
      return [await client.query(text)];
    case 'Init DB':
      return [await client.single(Command.INIT_DB, Buffer.from(text))];
    case 'Reset Connection':
      return [await client.single(Command.RESET_CONNECTION)];
    case 'Prepare': {
      const prepared = await client.prepare(text);
      const id = WireClient.idOf(prepared);
      const values = [...text.matchAll(/\?/g)].map(() => parameter('1'));
      const executed = await client.execute(id, values);
      client.close(id);
      return [prepared.map((one) => (one.kind === 'prepared' ? { ...one, id: 0 } : one)), executed];
    }
    default:
      throw new Error(`no command of the protocol: ${line}`);
  }
}
