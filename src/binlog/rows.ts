/**
 * Row events: which rows were inserted, changed, deleted, with as much of them before and after as the server logs
 * (binlog_row_image).
 *
 *   table 6 | flags 2 | [more, in version 2] | columns | which are in the image | [which are in the second] | rows
 *   a row: which are NULL, of those that are in the image | their values
 *
 * Manual: mysql::binlog::event::Rows_event; mariadb.com/kb/en/rows_event_v1v2-rows_compressed_event_v1.
 */
import { NULL_CELL, readCell, type Cell } from './cell.ts';
import { unpackPart } from './compression.ts';
import type { Column } from './definition.ts';
import { EventType, type BinlogEvent } from './event.ts';
import { EventReader, UnreadableEvent } from './reader.ts';

export type ChangeKind = 'insert' | 'update' | 'delete';

/** A value for each column; undefined where the image has none. */
export type Image = readonly (Cell | undefined)[];

export interface RowImages {
  readonly before: Image | null;
  readonly after: Image | null;
}

interface Layout {
  readonly kind: ChangeKind;
  readonly version: 1 | 2;
  readonly isCompressed: boolean;
}

/** How a type of event is laid out; null when it is none of rows. */
export function layoutOf(type: number): Layout | null {
  switch (type) {
    case EventType.WRITE_ROWS_V1:
      return { kind: 'insert', version: 1, isCompressed: false };
    case EventType.UPDATE_ROWS_V1:
      return { kind: 'update', version: 1, isCompressed: false };
    case EventType.DELETE_ROWS_V1:
      return { kind: 'delete', version: 1, isCompressed: false };
    case EventType.WRITE_ROWS:
      return { kind: 'insert', version: 2, isCompressed: false };
    case EventType.UPDATE_ROWS:
      return { kind: 'update', version: 2, isCompressed: false };
    case EventType.DELETE_ROWS:
      return { kind: 'delete', version: 2, isCompressed: false };
    case EventType.WRITE_ROWS_COMPRESSED_V1:
      return { kind: 'insert', version: 1, isCompressed: true };
    case EventType.UPDATE_ROWS_COMPRESSED_V1:
      return { kind: 'update', version: 1, isCompressed: true };
    case EventType.DELETE_ROWS_COMPRESSED_V1:
      return { kind: 'delete', version: 1, isCompressed: true };
    case EventType.WRITE_ROWS_COMPRESSED:
      return { kind: 'insert', version: 2, isCompressed: true };
    case EventType.UPDATE_ROWS_COMPRESSED:
      return { kind: 'update', version: 2, isCompressed: true };
    case EventType.DELETE_ROWS_COMPRESSED:
      return { kind: 'delete', version: 2, isCompressed: true };
    default:
      return null;
  }
}

/** Reads all rows of an event whose layout is known. */
export function parseRows(event: BinlogEvent, layout: Layout, columns: readonly Column[]): RowImages[] {
  const head = new EventReader(event.body);
  head.skip(8);
  // The length counts its own two bytes.
  if (layout.version === 2) head.skip(head.u16() - 2);
  const count = head.lenenc();
  if (count !== columns.length) {
    throw new UnreadableEvent(`rows of ${count} columns for a table of ${columns.length}`);
  }
  const first = head.bitmap(count);
  const second = layout.kind === 'update' ? head.bitmap(count) : first;
  const reader = layout.isCompressed ? new EventReader(unpackPart(head.rest())) : head;
  const rows: RowImages[] = [];
  while (reader.remaining > 0) {
    const start = reader.remaining;
    const before = layout.kind === 'insert' ? null : readImage(reader, columns, first);
    const after = layout.kind === 'delete' ? null : readImage(reader, columns, second);
    // Rows without a byte would have no end.
    if (reader.remaining === start) throw new UnreadableEvent('rows without columns');
    rows.push({ before, after });
  }
  return rows;
}

function readImage(reader: EventReader, columns: readonly Column[], present: readonly boolean[]): Image {
  const nulls = reader.bitmap(present.filter(Boolean).length);
  let place = 0;
  return columns.map((column, index) => {
    if (!present[index]!) return undefined;
    return nulls[place++]! ? NULL_CELL : readCell(reader, column);
  });
}
