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
import { textOf, type SqlConnection } from './connection.ts';
import { readBinlog, type BinlogSource, type DumpBounds } from './dump.ts';

/** Replication position of a server, as far as it tells what it has of another. */
export type Held =
  | { readonly kind: 'mysql'; readonly gtids: string }
  | { readonly kind: 'mariadb'; readonly gtids: string }
  | { readonly kind: 'position'; readonly file: string; readonly position: number };

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
  return { kind, gtids: textOf(row?.['gtids']).replaceAll('\n', '') };
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
  const first = files[low];
  if (first === undefined) throw new Error(`${source.backend.name} has no binary log`);
  const list = await gtidListOf(first, source, bounds);
  const lacking = list.filter((gtid) => !set.has(gtid));
  if (lacking.length === 0) return first;
  throw new Error(
    `the oldest binary log of ${source.backend.name} (${first}) begins after ${lacking.join(', ')}, which is lost, too: its file has been purged`,
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
