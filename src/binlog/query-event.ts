/**
 * A statement in a binlog as text: BEGIN and COMMIT, DDL, and whatever is logged by statement.
 *
 *   thread 4 | execution time 4 | database's length 1 | error 2 | variables' length 2 | variables | database, NUL | text
 *
 * Manual: mysql::binlog::event::Query_event; mariadb.com/kb/en/query_event, mariadb.com/kb/en/query_compressed_event.
 */
import { unpackPart } from './compression.ts';
import { EventType, type BinlogEvent } from './event.ts';
import { EventReader } from './reader.ts';

export interface QueryEvent {
  /** Of the session that ran it, at the server where it ran first: replicas keep it. */
  readonly threadId: number;
  readonly database: string;
  readonly text: string;
}

/** Reads a QUERY_EVENT, compressed or not, or an EXECUTE_LOAD_QUERY_EVENT. */
export function parseQuery(event: BinlogEvent): QueryEvent {
  const reader = new EventReader(event.body);
  const threadId = reader.u32();
  reader.skip(4);
  const databaseBytes = reader.u8();
  reader.skip(2);
  const variableBytes = reader.u16();
  // File, where its name stands in the text, and how duplicates are handled.
  if (event.type === EventType.EXECUTE_LOAD_QUERY) reader.skip(13);
  reader.skip(variableBytes);
  const database = reader.text(databaseBytes);
  reader.skip(1);
  const text = event.type === EventType.QUERY_COMPRESSED ? unpackPart(reader.rest()) : reader.rest();
  return { threadId, database, text: text.toString('utf8') };
}

/** ROWS_QUERY_EVENT has a length of one byte, which is too small to be of use, ANNOTATE_ROWS_EVENT none. */
export function parseAnnotation(event: BinlogEvent): string {
  const reader = new EventReader(event.body);
  if (event.type === EventType.ROWS_QUERY) reader.skip(1);
  return reader.rest().toString('utf8');
}

/** ROTATE_EVENT: position 8 and the next file's name. Manual: mysql::binlog::event::Rotate_event. */
export function parseRotation(event: BinlogEvent): { file: string; position: number } {
  const reader = new EventReader(event.body);
  const position = Number(reader.u64());
  return { file: reader.rest().toString('utf8'), position };
}
