/**
 * Packets around the limit of 16 MB - 1, far above it, and above what the server takes.
 */
import { parameter, WireClient, WireFlag } from '../../support/wire-client.ts';
import type { WireCase } from '../compare.ts';

const MOST = 0xffffff;

/** A statement whose command packet has exactly `bytes` bytes of payload. */
function statementOf(bytes: number, client: WireClient): string {
  const overhead = 1 + (client.has(WireFlag.QUERY_ATTRIBUTES) ? 2 : 0);
  const [before, after] = ["select length('", "') as n"];
  return before + 'x'.repeat(bytes - overhead - before.length - after.length) + after;
}

const edges: WireCase = {
  name: 'commands of 16 MB - 2, - 1, 16 MB, + 1, and 32 MB around the edge',
  costly: true,
  async *steps(client) {
    for (const bytes of [MOST - 1, MOST, MOST + 1, MOST + 2, 2 * MOST, 2 * MOST + 1]) {
      yield client.query(statementOf(bytes, client));
    }
  },
};

const rows: WireCase = {
  name: 'rows of 16 MB - 1, 16 MB and above, beside small ones',
  costly: true,
  async *steps(client) {
    // A cell of this length takes four bytes for its own length.
    for (const bytes of [MOST - 5, MOST - 4, MOST - 3, MOST, 2 * MOST - 4]) {
      yield client.query(`select repeat('x', ${bytes}) union all select 'small'`);
    }
    const prepared = await client.prepare("select repeat('y', ?) as v");
    yield prepared;
    for (const bytes of [MOST - 10, MOST, MOST + 10]) {
      yield client.execute(WireClient.idOf(prepared), [parameter(bytes)]);
    }
  },
};

const beyond: WireCase = {
  name: 'a command and a row of 70 MB',
  costly: true,
  async *steps(client) {
    const bytes = 70 * 1024 * 1024;
    yield client.query(statementOf(bytes, client));
    yield client.query(`select repeat('z', ${bytes})`);
    const prepared = await client.prepare('select length(?), crc32(?)');
    yield prepared;
    const id = WireClient.idOf(prepared);
    client.longData(id, 0, Buffer.alloc(40 * 1024 * 1024, 'l'));
    yield client.execute(id, [{ type: 252, value: Buffer.alloc(0) }, parameter('m')]);
  },
};

const tooLarge: WireCase = {
  name: 'a command above max_allowed_packet',
  costly: true,
  ends: true,
  setup: ['create table t (v longblob)'],
  async *steps(client) {
    yield client.query("select length(repeat('x', 200000000))");
    yield client.query('show warnings');
    // The server answers before it has read the whole, and closes; what arrives of its words is a race.
    const answer = await client.query(statementOf(130 * 1024 * 1024, client));
    yield answer.filter(({ kind }) => kind === 'column_count' || kind === 'row');
    yield (await client.query('select 1')).filter(({ kind }) => kind === 'row');
  },
};

export const sizeCases: readonly WireCase[] = [edges, rows, beyond, tooLarge];
