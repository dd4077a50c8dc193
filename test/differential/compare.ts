/**
 * The differential suite: the same steps run directly at a server and through dbproxy, and every packet of
 * every answer must mean the same (see test/support/wire-client.ts). A case is a generator that yields
 * answers; this file runs it both ways and says where the two part.
 */
import assert from 'node:assert/strict';
import type { LabFlavour } from '../lab/flavours.ts';
import { WireClient, WireExtended, WireFlag, type WireOptions } from '../support/wire-client.ts';
import type { Meaning } from '../support/wire-decode.ts';

/** What a case finds around it. */
export interface CasePlace {
  kind: LabFlavour;
  options: Partial<WireOptions> & { port: number };
  /** One more client with the same options, others laid over; ended with the case. */
  open(over?: Partial<WireOptions>): Promise<WireClient>;
}

/** One list of steps. */
export interface WireCase {
  name: string;
  /** Statements for a fresh database `wire`, before the steps. */
  setup?: readonly string[];
  /** All when left out. */
  servers?: readonly LabFlavour[];
  /** Flags without which the case has no sense. */
  needs?: number;
  /** The same of MariaDB's upper flags. */
  needsExtended?: number;
  /** Large or slow: it runs under one set of flags with and one without DEPRECATE_EOF. */
  costly?: boolean;
  /** It sends packets of its own making, which a compressed channel numbers in its own way. */
  raw?: boolean;
  /** The connection does not outlive the case. */
  ends?: boolean;
  steps(client: WireClient, place: CasePlace): AsyncGenerator<Meaning[]>;
}

/** What a client asks for. */
export interface FlagSet {
  name: string;
  servers: readonly LabFlavour[];
  options: Partial<WireOptions>;
  /**
   * Laid over them towards the proxy alone: a channel (TLS, compression) that the server itself may not have.
   * It ends at the proxy, so nothing else may differ.
   */
  channel: Partial<WireOptions>;
  takesCostly: boolean;
}

const OLD = WireFlag.MULTI_RESULTS | WireFlag.PS_MULTI_RESULTS | WireFlag.LOCAL_FILES;
const MODERN =
  OLD | WireFlag.DEPRECATE_EOF | WireFlag.SESSION_TRACK | WireFlag.MULTI_STATEMENTS | WireFlag.CONNECT_ATTRS;
const EVERY: readonly LabFlavour[] = ['mariadb', 'mysql97', 'mysql56'];
const NEWER: readonly LabFlavour[] = ['mariadb', 'mysql97'];
const attributes = { _client_name: 'wire', program: 'differential' };
const ALL_EXTENDED =
  WireExtended.BULK | WireExtended.METADATA | WireExtended.CACHE_METADATA | WireExtended.BULK_RESULTS;

function flagSet(
  name: string,
  servers: readonly LabFlavour[],
  capabilities: number,
  rest: Partial<WireOptions> = {},
  takesCostly = false,
): FlagSet {
  return { name, servers, takesCostly, options: { capabilities, ...rest }, channel: {} };
}

/** What is large goes over the channel that has the most to do with it. */
function overChannel(name: string, channel: Partial<WireOptions>): FlagSet {
  const capabilities = OLD | WireFlag.MULTI_STATEMENTS;
  return { name, servers: EVERY, takesCostly: name.includes('zlib'), options: { capabilities }, channel };
}

/** Sets that every case runs under, where the server has them. */
export const FLAG_SETS: readonly FlagSet[] = [
  flagSet('flags of MySQL 5.5', EVERY, OLD | WireFlag.MULTI_STATEMENTS, {}, true),
  flagSet('no flags that could be left out', EVERY, 0),
  flagSet('deprecate EOF', NEWER, OLD | WireFlag.DEPRECATE_EOF),
  flagSet('session track', NEWER, OLD | WireFlag.SESSION_TRACK | WireFlag.MULTI_STATEMENTS),
  flagSet('a modern client', NEWER, MODERN, { attributes }, true),
  flagSet(
    'found rows, ignore space, interactive',
    EVERY,
    OLD | WireFlag.FOUND_ROWS | WireFlag.IGNORE_SPACE | WireFlag.INTERACTIVE,
  ),
  flagSet('extended flags of MariaDB', ['mariadb'], MODERN, { attributes, extended: ALL_EXTENDED }),
  flagSet('extended flags with EOF', ['mariadb'], OLD, { extended: ALL_EXTENDED }),
  flagSet('optional metadata', ['mysql97'], MODERN | WireFlag.OPTIONAL_METADATA, { attributes }),
  flagSet('optional metadata with EOF', ['mysql97'], OLD | WireFlag.OPTIONAL_METADATA),
  flagSet('query attributes', ['mysql97'], MODERN | WireFlag.QUERY_ATTRIBUTES, { attributes }),
  flagSet(
    'everything of MySQL',
    ['mysql97'],
    MODERN | WireFlag.QUERY_ATTRIBUTES | WireFlag.OPTIONAL_METADATA,
  ),
  overChannel('over TLS', { tls: true }),
  overChannel('compressed by zlib', { compression: 'zlib' }),
  overChannel('compressed by zstd, over TLS', { compression: 'zstd', tls: true }),
];

/** The cases of a set at a server, in their order. */
export function casesFor(cases: readonly WireCase[], set: FlagSet, kind: LabFlavour): WireCase[] {
  const wished = set.options.capabilities ?? 0;
  const extended = set.options.extended ?? 0;
  return cases.filter(
    (one) =>
      (one.servers ?? EVERY).includes(kind) &&
      (!one.costly || set.takesCostly) &&
      (!one.raw || set.channel.compression === undefined) &&
      ((one.needs ?? 0) & ~wished) === 0 &&
      ((one.needsExtended ?? 0) & ~extended) === 0,
  );
}

/** Where to run: the server and the proxy in front of it, and an account that may do everything. */
export interface Sides {
  kind: LabFlavour;
  directPort: number;
  proxiedPort: number;
  account: { user: string; password: string };
}

/** Runs one case both ways; throws with the first difference. */
export async function compare(sides: Sides, set: FlagSet, wireCase: WireCase): Promise<void> {
  const direct = await transcript(sides, sides.directPort, set, wireCase, {});
  const proxied = await transcript(sides, sides.proxiedPort, set, wireCase, set.channel);
  for (let index = 0; index < Math.max(direct.length, proxied.length); index++) {
    assert.deepEqual(
      proxied[index],
      direct[index],
      `answer ${index} of '${wireCase.name}' (actual: through the proxy)`,
    );
  }
}

/** The flags that a client of this set agrees on with each side must be the same. */
export async function compareFlags(sides: Sides, set: FlagSet): Promise<void> {
  const agreed = async (port: number): Promise<unknown> => {
    const options = { ...set.options, ...sides.account, database: 'mysql', port };
    const client = await WireClient.connect(options);
    client.destroy();
    return { capabilities: client.capabilities.toString(16), extended: client.extended.toString(16) };
  };
  assert.deepEqual(await agreed(sides.proxiedPort), await agreed(sides.directPort));
}

/** All answers of a case on one side, ready to be compared. */
async function transcript(
  sides: Sides,
  port: number,
  set: FlagSet,
  wireCase: WireCase,
  channel: Partial<WireOptions>,
): Promise<Meaning[][]> {
  await freshDatabase(sides, wireCase.setup ?? []);
  const options = { ...set.options, ...channel, ...sides.account, database: 'wire', port };
  const clients: WireClient[] = [];
  const place: CasePlace = {
    kind: sides.kind,
    options,
    async open(over = {}) {
      const client = await WireClient.connect({ ...options, ...over });
      clients.push(client);
      return client;
    },
  };
  const answers: Meaning[][] = [];
  try {
    const client = await place.open();
    for await (const answer of wireCase.steps(client, place)) answers.push(answer);
    if (wireCase.ends !== true) answers.push(await client.ping());
    assert.equal(client.unasked, 0, 'packets that nobody asked for');
    assert.deepEqual(client.faults, []);
    return normalised(answers);
  } catch (error) {
    const side = port === sides.directPort ? 'direct' : 'through the proxy';
    throw new Error(`${side}, after ${answers.length} answers: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    for (const client of clients) client.destroy();
  }
}

async function freshDatabase(sides: Sides, setup: readonly string[]): Promise<void> {
  const client = await WireClient.connect({ port: sides.directPort, ...sides.account, database: '' });
  try {
    for (const sql of ['drop database if exists wire', 'create database wire', 'use wire', ...setup]) {
      const answer = await client.query(sql);
      const last = answer.at(-1)!;
      if (last.kind === 'error') throw new Error(`set-up: ${sql}: ${last.message}`);
    }
  } finally {
    client.destroy();
  }
}

/** dbproxy says which number it expected, and answers with the next (docs/differences.md). */
const OUT_OF_ORDER = 1156;

/**
 * What must differ between two runs, and nothing else: ids that count on for the life of a server or of a
 * pooled connection, and numbers that change by the second.
 */
function normalised(answers: Meaning[][]): Meaning[][] {
  const statements = new Map<number, number>();
  return answers.map((answer) =>
    answer.map((meaning): Meaning => {
      // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- the others are as they are
      switch (meaning.kind) {
        case 'prepared':
          statements.set(meaning.id, statements.size + 1);
          return { ...meaning, id: statements.size };
        case 'error':
          if (meaning.errno === OUT_OF_ORDER) return { ...meaning, message: '', sequence: 0 };
          return { ...meaning, message: withStatementIds(meaning.message, statements) };
        case 'ok':
          return { ...meaning, tracked: meaning.tracked.map(withoutPosition) };
        case 'text':
          // COM_STATISTICS: uptime, threads and counters.
          return { ...meaning, text: meaning.text.replace(/[\d.]+/g, '#') };
        default:
          return meaning;
      }
    }),
  );
}

/** `Unknown prepared statement handler (7)`, `The statement (7) has no open cursor`: 7 as the case counts. */
function withStatementIds(message: string, statements: Map<number, number>): string {
  return message.replace(/(statement (?:handler )?\()(\d+)/, (_, before: string, id: string) => {
    return `${before}${statements.get(Number(id)) ?? id}`;
  });
}

/** Positions in the log of changes grow with every statement: `0-1-17`, `uuid:1-17`; so do other counts. */
function withoutPosition(tracked: string): string {
  if (/^variable: (statement_id|timestamp|pseudo_thread_id) = /.test(tracked))
    return tracked.replace(/\d+/g, '#');
  return tracked.replace(/\b\d+-\d+-\d+\b/g, 'GTID').replace(/(^gtids.*:)[\d:-]+$/, '$1#');
}
