/**
 * What the packets of a server mean, for tests: every packet of an answer becomes one plain value that can
 * be compared. This is a witness against src/protocol, so it shares no code with it: it reads an answer the
 * way a client library does, packet by packet, and keeps every field.
 * Manual: page_protocol_com_query_response, page_protocol_binary_resultset, page_protocol_com_stmt_prepare,
 * page_protocol_basic_ok_packet; https://mariadb.com/kb/en/result-set-packets/.
 */
import { createHash } from 'node:crypto';

/** A payload with its continuations joined. */
export interface WirePacket {
  payload: Buffer;
  /** Number of its first packet. */
  sequence: number;
  /** Packets it came in: more than one above 16 MB. */
  pieces: number;
}

/** A value of a row: text as far as it can be shown, a digest where it is long. */
export type Cell = string | null;

export interface ColumnMeaning {
  catalog: string;
  schema: string;
  table: string;
  originalTable: string;
  name: string;
  originalName: string;
  /** MariaDB's extended metadata, as bytes. */
  extended?: string;
  charset: number;
  length: number;
  type: number;
  flags: number;
  decimals: number;
  /** COM_FIELD_LIST only. */
  defaultValue?: Cell;
}

/** What one packet says. */
export type PacketMeaning =
  | {
      kind: 'ok';
      header: number;
      affectedRows: string;
      insertId: string;
      status: string[];
      warnings: number;
      info: string;
      tracked: string[];
    }
  | { kind: 'error'; errno: number; sqlState: string; message: string }
  | { kind: 'progress'; text: string }
  | { kind: 'eof'; status: string[]; warnings: number }
  | { kind: 'column_count'; count: number; metadata: number | null }
  | ({ kind: 'column' } & ColumnMeaning)
  | { kind: 'row'; cells: Cell[] }
  | { kind: 'wants_file'; name: string }
  | {
      kind: 'prepared';
      id: number;
      columns: number;
      parameters: number;
      warnings: number;
      metadata: number | null;
    }
  | { kind: 'text'; text: string }
  | { kind: 'auth'; text: string }
  | { kind: 'closed'; text: string };

/** A meaning with its place in the answer. */
export type Meaning = PacketMeaning & { sequence: number; pieces: number };

/** What decides the form of answers. */
export interface WireForm {
  deprecateEof: boolean;
  optionalMetadata: boolean;
  cacheMetadata: boolean;
  extendedMetadata: boolean;
  progress: boolean;
}

/** Status flags by their bit (SERVER_STATUS_flags_enum). */
const STATUS_NAMES = [
  'in_trans',
  'autocommit',
  'unused_4',
  'more_results',
  'no_good_index',
  'no_index',
  'cursor',
  'last_row',
  'db_dropped',
  'no_backslash_escapes',
  'metadata_changed',
  'slow',
  'out_parameters',
  'in_trans_readonly',
  'session_changed',
  'ansi_quotes',
];

/** A longer value is shown by its length and digest. */
const SHOWN_BYTES = 120;

const TYPE_FIXED_BYTES: Record<number, number> = {
  1: 1, // TINY
  2: 2, // SHORT
  3: 4, // LONG
  4: 4, // FLOAT
  5: 8, // DOUBLE
  8: 8, // LONGLONG
  9: 4, // INT24
  13: 2, // YEAR
};
/** TIMESTAMP, DATE, TIME, DATETIME: one byte of length, then the fields. */
const TYPE_DATES = new Set([7, 10, 11, 12]);

/** How rows are written: `unknown` when the server has never said the types of the columns. */
type RowForm = { kind: 'text' } | { kind: 'binary'; types: number[] } | { kind: 'unknown' };

class Cursor {
  readonly payload: Buffer;
  offset: number;

  constructor(payload: Buffer, offset = 0) {
    this.payload = payload;
    this.offset = offset;
  }

  get left(): number {
    return this.payload.length - this.offset;
  }

  number(bytes: number): number {
    this.offset += bytes;
    return this.payload.readUIntLE(this.offset - bytes, bytes);
  }

  bytes(count: number): Buffer {
    if (count > this.left) throw new Error(`${count} bytes announced, ${this.left} there`);
    this.offset += count;
    return this.payload.subarray(this.offset - count, this.offset);
  }

  lenenc(): bigint {
    const first = this.number(1);
    if (first < 0xfb) return BigInt(first);
    if (first === 0xfc) return BigInt(this.number(2));
    if (first === 0xfd) return BigInt(this.number(3));
    if (first !== 0xfe) throw new Error(`0x${first.toString(16)} begins no length`);
    this.offset += 8;
    return this.payload.readBigUInt64LE(this.offset - 8);
  }

  lenencBytes(): Buffer {
    return this.bytes(Number(this.lenenc()));
  }

  lenencText(): string {
    return shown(this.lenencBytes());
  }

  rest(): Buffer {
    return this.bytes(this.left);
  }
}

/** Bytes as text when they are UTF-8 that can be printed, as hexadecimal otherwise, as a digest when long. */
export function shown(bytes: Buffer): string {
  if (bytes.length > SHOWN_BYTES) {
    return `${bytes.length} bytes, sha1 ${createHash('sha1').update(bytes).digest('hex')}`;
  }
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) && !/[\0-\x08\x0e-\x1f]/.test(text)
    ? text
    : `x'${bytes.toString('hex')}'`;
}

/** Where the packets come from; rejects when the connection ends. */
export type NextPacket = () => Promise<WirePacket>;

/** Reads one answer after the other; each method takes what belongs to it and answers its meanings. */
export class AnswerReader {
  form: WireForm = {
    deprecateEof: false,
    optionalMetadata: false,
    cacheMetadata: false,
    extendedMetadata: false,
    progress: false,
  };
  readonly #next: NextPacket;
  #meanings: Meaning[] = [];
  /** Column types by statement, for rows whose metadata is not sent again. */
  readonly #statementTypes = new Map<number, number[]>();

  constructor(next: NextPacket) {
    this.#next = next;
  }

  /** What has been read of the answer under way: complete when its reader has resolved. */
  take(): Meaning[] {
    const meanings = this.#meanings;
    this.#meanings = [];
    return meanings;
  }

  /** OK, ERR or EOF, and nothing after it. */
  async single(): Promise<void> {
    const packet = await this.#packet();
    this.#add(packet, generic(packet.payload));
  }

  /** A text without a form: COM_STATISTICS. */
  async text(): Promise<void> {
    const packet = await this.#packet();
    const isError = packet.payload[0] === 0xff;
    this.#add(
      packet,
      isError ? generic(packet.payload) : { kind: 'text', text: packet.payload.toString('latin1') },
    );
  }

  /**
   * Results until one says that it is the last. `statement`: of this prepared statement, so rows are
   * binary; `sendFile` is called where the server asks for a file.
   */
  async results(statement: number | null, sendFile: (sequence: number) => void): Promise<void> {
    for (;;) {
      const packet = await this.#packet();
      const first = packet.payload[0];
      if (first === 0x00 || first === 0xff) {
        if (!hasMore(this.#add(packet, generic(packet.payload)))) return;
      } else if (first === 0xfb) {
        this.#add(packet, { kind: 'wants_file', name: shown(packet.payload.subarray(1)) });
        sendFile(packet.sequence + packet.pieces);
      } else if (!(await this.#resultSet(packet, statement))) return;
    }
  }

  /** The answer to COM_STMT_PREPARE; answers the statement's id, or null after an error. */
  async prepared(): Promise<number | null> {
    const packet = await this.#packet();
    if (packet.payload[0] === 0xff) {
      this.#add(packet, generic(packet.payload));
      return null;
    }
    const cursor = new Cursor(packet.payload, 1);
    const id = cursor.number(4);
    const columns = cursor.number(2);
    const parameters = cursor.number(2);
    cursor.number(1);
    const warnings = cursor.left >= 2 ? cursor.number(2) : 0;
    const metadata = cursor.left >= 1 ? cursor.number(1) : null;
    this.#add(packet, { kind: 'prepared', id, columns, parameters, warnings, metadata });
    const follows = !this.form.optionalMetadata || metadata !== 0;
    if (parameters > 0) await this.#preparedColumns(parameters, follows);
    const types = columns > 0 ? await this.#preparedColumns(columns, follows) : [];
    if (follows) this.#statementTypes.set(id, types);
    return id;
  }

  /** Where the definitions are left out, the EOF after them still comes. */
  async #preparedColumns(count: number, follow: boolean): Promise<number[]> {
    if (follow) return this.#columns(count);
    if (!this.form.deprecateEof) await this.single();
    return [];
  }

  /** Rows that COM_STMT_FETCH brings. */
  async fetched(statement: number): Promise<void> {
    const types = this.#statementTypes.get(statement);
    await this.#rows(types === undefined ? { kind: 'unknown' } : { kind: 'binary', types });
  }

  /** The answer to COM_FIELD_LIST: columns until an EOF. */
  async fields(): Promise<void> {
    for (;;) {
      const packet = await this.#packet();
      const first = packet.payload[0];
      if (first === 0xff || (first === 0xfe && packet.payload.length < 9)) {
        this.#add(packet, generic(packet.payload));
        return;
      }
      this.#add(packet, { kind: 'column', ...this.#column(packet.payload, true) });
    }
  }

  /** One packet of a login or a change of user; answers it for the plugin to go on with. */
  async authentication(): Promise<WirePacket> {
    const packet = await this.#packet();
    const first = packet.payload[0];
    const isEnd = first === 0x00 || first === 0xff;
    const plugin = packet.payload.subarray(1).toString('latin1').split('\0')[0]!;
    const text = first === 0xfe ? `switch to ${plugin}` : `more: ${packet.payload.length} bytes`;
    this.#add(packet, isEnd ? generic(packet.payload) : { kind: 'auth', text });
    return packet;
  }

  /** Notes the end of the connection as part of the answer. */
  closed(text: string): void {
    this.#meanings.push({ kind: 'closed', text, sequence: 0, pieces: 0 });
  }

  /** Reads one result set; answers whether another result follows. */
  async #resultSet(packet: WirePacket, statement: number | null): Promise<boolean> {
    const cursor = new Cursor(packet.payload);
    const count = Number(cursor.lenenc());
    const saysMetadata = this.form.optionalMetadata || this.form.cacheMetadata;
    const metadata = saysMetadata ? cursor.number(1) : null;
    this.#add(packet, { kind: 'column_count', count, metadata });
    const types = await this.#typesOf(count, metadata, statement);
    const status = this.form.deprecateEof ? [] : statusOf(this.#meanings.at(-1)!);
    // An open cursor: the rows come with COM_STMT_FETCH.
    if (status.includes('cursor')) return false;
    const binary: RowForm = types === undefined ? { kind: 'unknown' } : { kind: 'binary', types };
    const more = await this.#rows(statement === null ? { kind: 'text' } : binary);
    // MySQL says only before the row of the OUT parameters, and not after it, that an OK is to follow.
    return more || status.includes('out_parameters');
  }

  /** Reads the column definitions of a result, if they come; undefined for types that nobody has said. */
  async #typesOf(
    count: number,
    metadata: number | null,
    statement: number | null,
  ): Promise<number[] | undefined> {
    if (metadata === 0) {
      if (!this.form.deprecateEof) await this.single();
      return this.#statementTypes.get(statement ?? -1);
    }
    const types = await this.#columns(count);
    if (statement !== null) this.#statementTypes.set(statement, types);
    return types;
  }

  /** Column definitions, and the EOF after them where the form has one; answers their types. */
  async #columns(count: number): Promise<number[]> {
    const types: number[] = [];
    for (let index = 0; index < count; index++) {
      const packet = await this.#packet();
      if (packet.payload[0] === 0xff) {
        this.#add(packet, generic(packet.payload));
        return types;
      }
      const column = this.#column(packet.payload, false);
      this.#add(packet, { kind: 'column', ...column });
      types.push(column.type);
    }
    if (!this.form.deprecateEof) await this.single();
    return types;
  }

  /** Rows up to their end; answers whether another result follows. */
  async #rows(form: RowForm): Promise<boolean> {
    for (;;) {
      const packet = await this.#packet();
      const { payload } = packet;
      const first = payload[0];
      const mayEnd = this.form.deprecateEof ? payload.length < 0xffffff : payload.length < 9;
      if (first === 0xff || (first === 0xfe && mayEnd)) return hasMore(this.#add(packet, generic(payload)));
      this.#add(packet, { kind: 'row', cells: cellsOf(payload, form) });
    }
  }

  /** page_protocol_com_query_response_text_resultset_column_definition */
  #column(payload: Buffer, withDefault: boolean): ColumnMeaning {
    const cursor = new Cursor(payload);
    const [catalog, schema, table, originalTable, name, originalName] = Array.from({ length: 6 }, () =>
      cursor.lenencText(),
    ) as [string, string, string, string, string, string];
    const extended = this.form.extendedMetadata ? cursor.lenencBytes().toString('latin1') : undefined;
    cursor.lenenc();
    const column: ColumnMeaning = {
      catalog,
      schema,
      table,
      originalTable,
      name,
      originalName,
      charset: cursor.number(2),
      length: cursor.number(4),
      type: cursor.number(1),
      flags: cursor.number(2),
      decimals: cursor.number(1),
    };
    cursor.number(2);
    if (extended !== undefined) column.extended = extended;
    if (withDefault && cursor.left > 0) column.defaultValue = textCells(cursor.rest())[0] ?? null;
    if (cursor.left > 0) throw new Error(`${cursor.left} bytes after a column definition`);
    return column;
  }

  /** The next packet that is no report of progress. */
  async #packet(): Promise<WirePacket> {
    for (;;) {
      const packet = await this.#next();
      const isProgress =
        this.form.progress && packet.payload[0] === 0xff && packet.payload.readUInt16LE(1) === 0xffff;
      if (!isProgress) return packet;
      this.#add(packet, { kind: 'progress', text: shown(packet.payload.subarray(3)) });
    }
  }

  #add(packet: WirePacket, meaning: PacketMeaning): Meaning {
    const placed = { ...meaning, sequence: packet.sequence, pieces: packet.pieces };
    this.#meanings.push(placed);
    return placed;
  }
}

function hasMore(meaning: Meaning): boolean {
  return statusOf(meaning).includes('more_results');
}

function statusOf(meaning: Meaning): string[] {
  return meaning.kind === 'ok' || meaning.kind === 'eof' ? meaning.status : [];
}

/** OK, ERR and EOF: page_protocol_basic_response_packets. */
function generic(payload: Buffer): PacketMeaning {
  const cursor = new Cursor(payload, 1);
  if (payload[0] === 0xff) {
    const errno = cursor.number(2);
    const hasState = payload[cursor.offset] === 0x23;
    const sqlState = hasState ? cursor.bytes(6).toString('latin1').slice(1) : '';
    return { kind: 'error', errno, sqlState, message: cursor.rest().toString('utf8') };
  }
  if (payload[0] === 0xfe && payload.length === 5) {
    const warnings = cursor.number(2);
    return { kind: 'eof', status: statusNames(cursor.number(2)), warnings };
  }
  const affectedRows = String(cursor.lenenc());
  const insertId = String(cursor.lenenc());
  const status = statusNames(cursor.number(2));
  const warnings = cursor.number(2);
  const info = cursor.left > 0 ? cursor.lenencText() : '';
  const tracked = cursor.left > 0 ? trackedChanges(cursor.lenencBytes()) : [];
  if (cursor.left > 0) throw new Error(`${cursor.left} bytes after an OK packet`);
  return { kind: 'ok', header: payload[0]!, affectedRows, insertId, status, warnings, info, tracked };
}

/** page_protocol_basic_ok_packet_sessinfo: one line for each entry. */
function trackedChanges(bytes: Buffer): string[] {
  const kinds = ['variable', 'schema', 'state', 'gtids', 'characteristics', 'transaction'];
  const cursor = new Cursor(bytes);
  const lines: string[] = [];
  while (cursor.left > 0) {
    const kind = cursor.number(1);
    const entry = new Cursor(cursor.lenencBytes());
    const parts: string[] = [];
    if (kind === 3) parts.push(String(entry.number(1)));
    // The only entry whose value has no length of its own.
    if (kind === 2) parts.push(shown(entry.rest()));
    while (entry.left > 0) parts.push(entry.lenencText());
    lines.push(`${kinds[kind] ?? kind}: ${parts.join(' = ')}`);
  }
  return lines;
}

function statusNames(status: number): string[] {
  return STATUS_NAMES.filter((_, bit) => (status & (1 << bit)) !== 0);
}

function cellsOf(payload: Buffer, form: RowForm): Cell[] {
  switch (form.kind) {
    case 'text':
      return textCells(payload);
    case 'binary':
      return binaryCells(payload, form.types);
    case 'unknown':
      return [shown(payload)];
  }
}

function textCells(payload: Buffer): Cell[] {
  const cursor = new Cursor(payload);
  const cells: Cell[] = [];
  while (cursor.left > 0) {
    if (payload[cursor.offset] === 0xfb) {
      cursor.number(1);
      cells.push(null);
    } else cells.push(cursor.lenencText());
  }
  return cells;
}

/** page_protocol_binary_resultset_row: numbers stay bytes, which compare just as well. */
function binaryCells(payload: Buffer, types: number[]): Cell[] {
  const cursor = new Cursor(payload, 1);
  const nulls = cursor.bytes((types.length + 9) >> 3);
  const cells = types.map((type, index): Cell => {
    const bit = index + 2;
    if ((nulls[bit >> 3]! & (1 << (bit & 7))) !== 0) return null;
    const fixed = TYPE_FIXED_BYTES[type];
    if (fixed !== undefined) return `x'${cursor.bytes(fixed).toString('hex')}'`;
    if (TYPE_DATES.has(type)) return `x'${cursor.bytes(cursor.number(1)).toString('hex')}'`;
    return type === 6 ? null : cursor.lenencText();
  });
  if (cursor.left > 0) throw new Error(`${cursor.left} bytes after a binary row`);
  return cells;
}
