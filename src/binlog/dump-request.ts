/**
 * What a server is asked for its binlog with: a command of the client protocol, and a few user variables before it
 * that tell the server what its reader understands.
 * Manual: page_protocol_com_binlog_dump, page_protocol_com_binlog_dump_gtid, mariadb.com/kb/en/com_binlog_dump.
 */
import { GtidSet } from './gtid-set.ts';

/** Where to begin: at a place, or with all transactions that are not in a set (MySQL with GTID). */
export type DumpStart =
  | { readonly kind: 'at'; readonly file: string; readonly position: number }
  | { readonly kind: 'without'; readonly gtids: string };

/** The first event of a file; the bytes before it say only that it is a binlog. */
export const FIRST_POSITION = 4;

const COM_BINLOG_DUMP = 0x12;
const COM_BINLOG_DUMP_GTID = 0x1e;
/** Ends at the end of the log, where a replica would wait. */
const NON_BLOCK = 1;
/** MariaDB: with the statements that rows come from. In MySQL's other command this bit has another meaning. */
const ANNOTATE_ROWS = 2;
const THROUGH_GTID = 4;
/** No replica: a server takes two of one number for the same one, and ends the older. */
const SERVER_ID = 0;

/** What must be set on the connection first. */
export const DUMP_SETTINGS: readonly string[] = [
  // Without it the server takes the checksums away, or refuses; the name has changed with MySQL 8.
  'SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum',
  // MariaDB: events as they are in the log, its own kinds among them.
  'SET @mariadb_slave_capability = 4',
];

/** The command's payload. */
export function dumpCommand(start: DumpStart): Buffer {
  if (start.kind === 'at') {
    const head = Buffer.alloc(11);
    head.writeUInt8(COM_BINLOG_DUMP, 0);
    head.writeUInt32LE(start.position, 1);
    head.writeUInt16LE(NON_BLOCK | ANNOTATE_ROWS, 5);
    head.writeUInt32LE(SERVER_ID, 7);
    return Buffer.concat([head, Buffer.from(start.file, 'utf8')]);
  }
  const set = GtidSet.parse(start.gtids).encode();
  const head = Buffer.alloc(23);
  head.writeUInt8(COM_BINLOG_DUMP_GTID, 0);
  head.writeUInt16LE(NON_BLOCK | THROUGH_GTID, 1);
  head.writeUInt32LE(SERVER_ID, 3);
  // No file's name; the position of the first event.
  head.writeUInt32LE(0, 7);
  head.writeBigUInt64LE(BigInt(FIRST_POSITION), 11);
  head.writeUInt32LE(set.length, 19);
  return Buffer.concat([head, set]);
}
