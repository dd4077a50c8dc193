/**
 * What a server has of another one's transactions, in the words of its kind, and where the other one's binlog has to
 * be read from to find those that it lacks.
 *
 * | kind     | it has                                         | read from                                       |
 * |----------|------------------------------------------------|-------------------------------------------------|
 * | mysql    | a set of ids                                   | the server leaves out what is in the set        |
 * | mariadb  | of each domain and server all up to a number   | the last file that begins within what is held   |
 * | position | all before a place in the other one's binlog   | that place                                      |
 */
import { FIRST_POSITION, type DumpStart } from '../../binlog/dump-request.ts';
import { GtidSet } from '../../binlog/gtid-set.ts';
import { TransactionReader, type RawTransaction } from '../../binlog/transaction-reader.ts';
import { isDenied } from '../../monitor/observation.ts';
import { textOf, type SqlConnection } from './connection.ts';
import { readBinlog, type BinlogSource, type DumpBounds } from './dump.ts';

/** Replication position of a server, as far as it tells what it has of another. */
export type Held =
  | { readonly kind: 'mysql'; readonly gtids: string }
  | {
      readonly kind: 'mariadb';
      readonly gtids: string;
      /**
       * By domain, the number that its binary log begins after: of what was written up to there it knows only what it has
       * been told. A domain that is not there: that is not known.
       */
      readonly begins?: ReadonlyMap<string, bigint>;
    }
  | { readonly kind: 'position'; readonly file: string; readonly position: number };

/** Of a binary log, to find the first id of each domain. */
const EVENTS_TO_LOOK_AT = 200;

/** What a server with global ids has now. */
export async function readHeld(
  connection: SqlConnection,
  kind: 'mysql' | 'mariadb',
  timeoutMs: number,
): Promise<Held> {
  const expression =
    kind === 'mysql'
      ? '@@global.gtid_executed'
      : "CONCAT_WS(',', NULLIF(@@global.gtid_binlog_state, ''), NULLIF(@@global.gtid_slave_pos, ''))";
  const [row] = await connection.run(`SELECT ${expression} AS gtids`, timeoutMs);
  const gtids = textOf(row?.['gtids']).replaceAll('\n', '');
  if (kind === 'mysql') return { kind, gtids };
  try {
    return { kind, gtids, begins: await readBegins(connection, timeoutMs) };
  } catch (error) {
    if (!isDenied(error)) throw error;
    return { kind, gtids };
  }
}

/** Of the first file: it has a list of what was before (`[0-1-4,0-2-6]`), and else its first ids (`BEGIN GTID 0-1-5`). */
async function readBegins(connection: SqlConnection, timeoutMs: number): Promise<Map<string, bigint>> {
  // Without a name it is the first one.
  const events = await connection.run(`SHOW BINLOG EVENTS LIMIT ${EVENTS_TO_LOOK_AT}`, timeoutMs);
  const begins = new Map<string, bigint>();
  for (const event of events) {
    const gtids = [...textOf(event['Info']).matchAll(/\b(\d+)-\d+-(\d+)\b/g)];
    switch (textOf(event['Event_type'])) {
      case 'Gtid_list':
        for (const [, domain, sequence] of gtids) {
          const known = begins.get(domain!) ?? 0n;
          if (BigInt(sequence!) > known) begins.set(domain!, BigInt(sequence!));
        }
        break;
      case 'Gtid':
        for (const [, domain, sequence] of gtids.slice(0, 1)) {
          if (!begins.has(domain!)) begins.set(domain!, BigInt(sequence!) - 1n);
        }
        break;
      default:
    }
  }
  return begins;
}

/**
 * True when it cannot be told whether a transaction is held that is not known to be: nothing is known of who wrote it, and it
 * was written before the log begins. MariaDB only: the sets of MySQL know everything.
 */
export function isInDoubt(held: Held, gtid: string): boolean {
  if (held.kind !== 'mariadb') return false;
  const place = /^((\d+)-\d+)-(\d+)$/.exec(gtid);
  if (place === null) return false;
  const [, writer, domain, sequence] = place;
  const items = held.gtids.split(',').map((item) => item.trim());
  if (items.some((item) => item.startsWith(`${writer}-`))) return false;
  if (!items.some((item) => item.startsWith(`${domain}-`))) return false;
  const begins = held.begins?.get(domain!);
  return begins === undefined || BigInt(sequence!) <= begins;
}

/** Tells of each transaction of the other server's binlog whether it is held. */
export function holder(held: Held): (transaction: Pick<RawTransaction, 'gtid'>) => boolean {
  // What lies before the place is not read at all.
  if (held.kind === 'position') return () => false;
  const set = GtidSet.parse(held.gtids);
  return ({ gtid }) => gtid !== null && set.has(gtid);
}

/** Where to read the binlog of `source` from. `connection` is to the same server. */
export async function startOf(
  held: Held,
  source: BinlogSource,
  connection: SqlConnection,
  bounds: DumpBounds,
): Promise<DumpStart> {
  switch (held.kind) {
    case 'mysql':
      return { kind: 'without', gtids: held.gtids };
    case 'position':
      return { kind: 'at', file: held.file, position: held.position };
    case 'mariadb':
      return {
        kind: 'at',
        file: await lastFileWithin(held, source, connection, bounds),
        position: FIRST_POSITION,
      };
  }
}

/** All before a later file is in the list that it begins with, too, so the files can be halved. */
async function lastFileWithin(
  held: Held & { kind: 'mariadb' },
  source: BinlogSource,
  connection: SqlConnection,
  bounds: DumpBounds,
): Promise<string> {
  const rows = await connection.run('SHOW BINARY LOGS', bounds.timeoutMs);
  const files = rows.map((row) => textOf(row['Log_name']));
  const set = GtidSet.parse(held.gtids);
  let [low, high] = [0, files.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const list = await gtidListOf(files[middle]!, source, bounds);
    if (list.every((gtid) => set.has(gtid))) low = middle;
    else high = middle - 1;
  }
  if (files.length === 0) throw new Error(`${source.backend.name} has no binary log`);
  let list = await gtidListOf(files[low]!, source, bounds);
  // A file that begins with no more than the one before it may be that of a server that had forgotten what is in there.
  while (low > 0) {
    const earlier = await gtidListOf(files[low - 1]!, source, bounds);
    const isHeld = list.every((gtid) => set.has(gtid));
    const whole = GtidSet.parse(earlier.join(','));
    if (isHeld && !list.every((gtid) => whole.has(gtid))) break;
    list = earlier;
    low--;
  }
  const first = files[low]!;
  const lacking = list.filter((gtid) => !set.has(gtid));
  if (lacking.length === 0) return first;
  throw new Error(
    `the oldest binary log of ${source.backend.name} (${first}) begins after ${lacking.join(', ')}, which the log of the new primary does not have: its file has been purged`,
  );
}

async function gtidListOf(
  file: string,
  source: BinlogSource,
  bounds: DumpBounds,
): Promise<readonly string[]> {
  let list: readonly string[] | null = null;
  await readBinlog(source, { kind: 'at', file, position: FIRST_POSITION }, bounds, ({ hasChecksums }) => {
    const reader = new TransactionReader({ hasChecksums, file, mostBytes: 0 });
    return (event) => {
      const { transaction } = reader.push(event);
      list = reader.gtidList;
      return list === null && transaction === null ? 'more' : 'enough';
    };
  });
  if (list === null)
    throw new Error(`binary log ${file} of ${source.backend.name} has no list of global ids`);
  return list;
}
