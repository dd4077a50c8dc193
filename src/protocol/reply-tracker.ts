/**
 * Follows a server's answer as it passes by, and says where it ends. It walks packet headers and looks at
 * the first bytes of a packet only; nothing is copied but the few bytes of a packet that begins at the very
 * end of a chunk. One tracker serves one connection: `begin` for each command, `feed` for each chunk.
 *
 * The answers have few shapes: a single packet; a result (OK, ERR, or columns and rows, possibly several
 * in a row); the answer to PREPARE; columns until an EOF; rows until an EOF; an endless stream of events.
 * Flags of the connection bend them: no EOF packets, column definitions left out, reports of progress that
 * look like an ERR packet.
 *
 * Manual: page_protocol_com_query_response, page_protocol_com_stmt_prepare, page_protocol_com_stmt_execute,
 * page_protocol_com_stmt_fetch, page_protocol_com_field_list, page_protocol_replication;
 * https://mariadb.com/kb/en/result-set-packets/, https://mariadb.com/kb/en/err_packet/ (progress).
 */
import {
  Capability,
  Command,
  ExtendedCapability,
  HEADER_BYTES,
  MAX_PACKET_PAYLOAD,
  Status,
} from './constants.ts';

/** `feed` has not seen the end of the answer yet. */
export const NOT_ENDED = -1;

/** What a packet counts as that is too short for its kind (CR_MALFORMED_PACKET). */
const MALFORMED = 2027;

/** The error number under which MariaDB reports the progress of a long statement. */
const PROGRESS_REPORT = 0xffff;

/** The answer to PREPARE, without the byte that says whether definitions follow. */
const PREPARE_OK_BYTES = 12;

/** A decision needs at most this much of a payload: an OK packet up to its warnings is 23 bytes. */
const HEAD_BYTES = 24;

// The states, as small integers because this runs for every packet.
const IDLE = 0;
const SINGLE = 1;
const RESULT = 2;
const COLUMNS = 3;
const COLUMNS_EOF = 4;
const ROWS = 5;
const PREPARE = 6;
const PARAMETERS = 7;
const PARAMETERS_EOF = 8;
const PREPARE_COLUMNS = 9;
const PREPARE_COLUMNS_EOF = 10;
const FIELDS = 11;
const EVENTS = 12;
const TEXT = 13;

/** First state of each command's answer; a command that servers do not know is answered by one ERR. */
const firstState = new Uint8Array(256).fill(RESULT);
firstState[Command.STATISTICS] = TEXT;
firstState[Command.STMT_PREPARE] = PREPARE;
firstState[Command.STMT_FETCH] = ROWS;
firstState[Command.FIELD_LIST] = FIELDS;
firstState[Command.BINLOG_DUMP] = EVENTS;
firstState[Command.BINLOG_DUMP_GTID] = EVENTS;
firstState[Command.TABLE_DUMP] = EVENTS;
for (const command of [
  Command.INIT_DB,
  Command.CREATE_DB,
  Command.DROP_DB,
  Command.REFRESH,
  Command.SHUTDOWN,
  Command.PROCESS_KILL,
  Command.DEBUG,
  Command.PING,
  Command.REGISTER_SLAVE,
  Command.STMT_RESET,
  Command.SET_OPTION,
  Command.RESET_CONNECTION,
]) {
  firstState[command] = SINGLE;
}

/** True for the commands that a server answers with nothing. */
export function hasNoReply(command: number): boolean {
  return (
    command === Command.STMT_CLOSE || command === Command.STMT_SEND_LONG_DATA || command === Command.QUIT
  );
}

export class ReplyTracker {
  /** Status flags of the last OK or EOF seen. */
  status: number = Status.AUTOCOMMIT;
  /** Number of the ERR packet that ended the last answer; 0 when it ended well. */
  errno = 0;
  /** The server has asked for a local file: packets of the client are data now, up to an empty one. */
  wantsFile = false;
  /** Any byte of the answer in progress has been seen. */
  started = false;
  /** Warnings that the last OK or EOF told of. */
  warnings = 0;
  /** The answer, or one of several, told of an insert id: LAST_INSERT_ID() may have changed. */
  toldInsertId = false;
  /** The answer had columns. */
  hadColumns = false;
  readonly #deprecateEof: boolean;
  /** The number of columns is followed by a byte that says whether their definitions are. */
  readonly #saysMetadata: boolean;
  /** The same of the answer to PREPARE, where MySQL alone says it. */
  readonly #saysPrepareMetadata: boolean;
  readonly #reportsProgress: boolean;
  #state = IDLE;
  /** Bytes of the current payload that are still to pass. */
  #bodyLeft = 0;
  /** The current payload is 2^24 - 1 long, so the next packet continues it. */
  #chained = false;
  #columnsLeft = 0;
  #prepareColumns = 0;
  #prepareSkipsMetadata = false;
  #hasOutParameters = false;
  /** Header and head of a packet that began at the end of a chunk. */
  readonly #held: Buffer = Buffer.alloc(HEADER_BYTES + HEAD_BYTES);
  #heldLength = 0;

  /** Flags in force on the connection, MariaDB's upper ones apart; they decide the form of the answers. */
  constructor(capabilities: number, extendedCapabilities = 0) {
    this.#deprecateEof = (capabilities & Capability.DEPRECATE_EOF) !== 0;
    this.#saysPrepareMetadata = (capabilities & Capability.OPTIONAL_RESULTSET_METADATA) !== 0;
    this.#saysMetadata =
      this.#saysPrepareMetadata || (extendedCapabilities & ExtendedCapability.CACHE_METADATA) !== 0;
    this.#reportsProgress = (extendedCapabilities & ExtendedCapability.PROGRESS) !== 0;
  }

  /** No answer is under way. */
  get idle(): boolean {
    return this.#state === IDLE && this.#bodyLeft === 0;
  }

  /** Rows, or their end, come next. */
  get expectsRows(): boolean {
    return this.#state === ROWS && this.#bodyLeft === 0;
  }

  /** A command with an answer has been sent. */
  begin(command: number): void {
    this.#state = firstState[command]!;
    this.errno = 0;
    this.warnings = 0;
    this.toldInsertId = false;
    this.hadColumns = false;
    this.wantsFile = false;
    this.started = false;
    this.#hasOutParameters = false;
  }

  /** The connection is gone: the answer under way will not go on. */
  abandon(): void {
    this.#state = IDLE;
    this.#bodyLeft = 0;
    this.#chained = false;
    this.#heldLength = 0;
    this.wantsFile = false;
  }

  /**
   * Takes `buffer[start, end)`, the next bytes of the answer. Answers the offset right after the answer's
   * last byte, or NOT_ENDED.
   */
  feed(buffer: Buffer, start: number, end: number): number {
    let offset = start;
    if (end > start) this.started = true;
    while (offset < end && this.#state !== IDLE) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, end - offset);
        this.#bodyLeft -= step;
        offset += step;
        continue;
      }
      if (this.#heldLength > 0 || end - offset < HEADER_BYTES) {
        offset = this.#hold(buffer, offset, end);
        continue;
      }
      const length = buffer[offset]! | (buffer[offset + 1]! << 8) | (buffer[offset + 2]! << 16);
      const head = length < HEAD_BYTES ? length : HEAD_BYTES;
      if (end - offset < HEADER_BYTES + head) {
        offset = this.#hold(buffer, offset, end);
        continue;
      }
      offset += HEADER_BYTES;
      this.#packet(buffer, offset, length);
      offset += head;
      this.#bodyLeft = length - head;
    }
    // An answer whose last packet is longer than its head ends with its body.
    return this.#state === IDLE && this.#bodyLeft === 0 ? offset : this.#finishBody(offset, end);
  }

  /** The last packet has been decided; its body may still be under way. */
  #finishBody(offset: number, end: number): number {
    if (this.#state !== IDLE || this.#bodyLeft > end - offset) {
      if (this.#state === IDLE) this.#bodyLeft -= end - offset;
      return NOT_ENDED;
    }
    const ended = offset + this.#bodyLeft;
    this.#bodyLeft = 0;
    return ended;
  }

  /** Collects header and head of a packet that is cut by the chunk's end; answers the new offset. */
  #hold(buffer: Buffer, from: number, end: number): number {
    let offset = from;
    while (offset < end && this.#heldLength < HEADER_BYTES)
      this.#held[this.#heldLength++] = buffer[offset++]!;
    if (this.#heldLength < HEADER_BYTES) return offset;
    const length = this.#held.readUIntLE(0, 3);
    const head = Math.min(length, HEAD_BYTES);
    while (offset < end && this.#heldLength < HEADER_BYTES + head)
      this.#held[this.#heldLength++] = buffer[offset++]!;
    if (this.#heldLength < HEADER_BYTES + head) return offset;
    this.#heldLength = 0;
    this.#packet(this.#held, HEADER_BYTES, length);
    this.#bodyLeft = length - head;
    return offset;
  }

  /** Decides one packet by the head of its payload, which is at `buffer[at, at + 24)`. */
  #packet(buffer: Buffer, at: number, length: number): void {
    const continues = this.#chained;
    this.#chained = length === MAX_PACKET_PAYLOAD;
    if (continues) return;
    const first = length === 0 ? 0 : buffer[at]!;
    switch (this.#state) {
      case ROWS:
        if (first === 0xfe && this.#isEnd(length)) this.#resultEnds(this.#readEnd(buffer, at, length));
        else if (first === 0xff) this.#failed(buffer, at, length);
        return;
      case RESULT:
        return this.#result(buffer, at, length, first);
      case COLUMNS:
        if (first === 0xff) return this.#failed(buffer, at, length);
        if (--this.#columnsLeft === 0) this.#afterColumns();
        return;
      case COLUMNS_EOF:
        if (first === 0xff) return this.#failed(buffer, at, length);
        this.status = this.#readEnd(buffer, at, length);
        // Values of OUT parameters: of their two EOF packets only this one says that there is more.
        this.#hasOutParameters = (this.status & Status.PS_OUT_PARAMS) !== 0;
        // An open cursor: the rows come with COM_STMT_FETCH.
        this.#state = (this.status & Status.CURSOR_EXISTS) !== 0 ? IDLE : ROWS;
        return;
      case SINGLE:
        if (first === 0xff) return this.#failed(buffer, at, length);
        this.status = this.#readEnd(buffer, at, length);
        this.#state = IDLE;
        return;
      case PREPARE:
        return this.#prepared(buffer, at, length, first);
      case PARAMETERS:
        if (--this.#columnsLeft === 0) this.#afterParameters(this.#deprecateEof);
        return;
      case PARAMETERS_EOF:
        return this.#afterParameters(true);
      case PREPARE_COLUMNS:
        if (--this.#columnsLeft === 0) this.#state = this.#deprecateEof ? IDLE : PREPARE_COLUMNS_EOF;
        return;
      case PREPARE_COLUMNS_EOF:
      case TEXT:
        this.#state = IDLE;
        return;
      case FIELDS:
      case EVENTS:
        if (first === 0xff) this.#failed(buffer, at, length);
        else if (first === 0xfe && (this.#state === FIELDS || length < 9))
          this.#resultEnds(this.#readEnd(buffer, at, length));
        return;
    }
  }

  /** First packet of a result: OK, ERR, a wish for a local file, or the number of columns. */
  #result(buffer: Buffer, at: number, length: number, first: number): void {
    if (first === 0x00) return this.#resultEnds(this.#readOk(buffer, at, length));
    if (first === 0xff) return this.#failed(buffer, at, length);
    if (first === 0xfb) {
      this.wantsFile = true;
      return;
    }
    this.hadColumns = true;
    const countBytes = first < 0xfb ? 1 : 3;
    if (length < countBytes) return this.#malformed();
    this.#columnsLeft = countBytes === 1 ? first : buffer[at + 1]! | (buffer[at + 2]! << 8);
    const isSaid = this.#saysMetadata && length > countBytes;
    if (isSaid && buffer[at + countBytes] === 0) this.#afterColumns();
    else this.#state = COLUMNS;
  }

  #afterColumns(): void {
    this.#state = this.#deprecateEof ? ROWS : COLUMNS_EOF;
  }

  #prepared(buffer: Buffer, at: number, length: number, first: number): void {
    if (first === 0xff) return this.#failed(buffer, at, length);
    if (length < PREPARE_OK_BYTES) return this.#malformed();
    this.#prepareColumns = buffer[at + 5]! | (buffer[at + 6]! << 8);
    this.#columnsLeft = buffer[at + 7]! | (buffer[at + 8]! << 8);
    this.#prepareSkipsMetadata =
      this.#saysPrepareMetadata && length > PREPARE_OK_BYTES && buffer[at + PREPARE_OK_BYTES] === 0;
    if (this.#columnsLeft === 0) this.#afterParameters(true);
    else if (this.#prepareSkipsMetadata) this.#afterParameters(this.#deprecateEof);
    else this.#state = PARAMETERS;
  }

  /** Without their definitions, what is left of the parameters and of the columns is an EOF packet each. */
  #afterParameters(eofPassed: boolean): void {
    if (!eofPassed) {
      this.#state = PARAMETERS_EOF;
      return;
    }
    this.#columnsLeft = this.#prepareColumns;
    if (this.#columnsLeft === 0) this.#state = IDLE;
    else if (!this.#prepareSkipsMetadata) this.#state = PREPARE_COLUMNS;
    else this.#state = this.#deprecateEof ? IDLE : PREPARE_COLUMNS_EOF;
  }

  #failed(buffer: Buffer, at: number, length: number): void {
    const errno = length < 3 ? MALFORMED : buffer[at + 1]! | (buffer[at + 2]! << 8);
    if (errno === PROGRESS_REPORT && this.#reportsProgress) return;
    this.errno = errno;
    this.#state = IDLE;
  }

  /** A packet too short for its kind: what follows it cannot be known. */
  #malformed(): void {
    this.errno = MALFORMED;
    this.#state = IDLE;
  }

  #resultEnds(status: number): void {
    this.status = status;
    const hasMore = (status & Status.MORE_RESULTS_EXISTS) !== 0 || this.#hasOutParameters;
    this.#hasOutParameters = false;
    this.#state = hasMore ? RESULT : IDLE;
  }

  /** A packet that begins with 0xfe ends the rows unless it is a row with a first column of 16 MB. */
  #isEnd(length: number): boolean {
    return this.#deprecateEof ? length < MAX_PACKET_PAYLOAD : length < 9;
  }

  /** Status flags of an EOF packet (five bytes) or of an OK packet. */
  #readEnd(buffer: Buffer, at: number, length: number): number {
    if (length === 5 && buffer[at] === 0xfe) {
      this.warnings = buffer[at + 1]! | (buffer[at + 2]! << 8);
      return buffer[at + 3]! | (buffer[at + 4]! << 8);
    }
    return this.#readOk(buffer, at, length);
  }

  /** Status flags of the OK packet at `at`: they follow two length-encoded integers, and warnings follow them. */
  #readOk(buffer: Buffer, at: number, length: number): number {
    if (length < 7) return this.status;
    const insertId = afterLenenc(buffer, at + 1);
    const offset = afterLenenc(buffer, insertId);
    if (offset + 4 > at + length) return this.status;
    if (buffer[insertId] !== 0) this.toldInsertId = true;
    this.warnings = buffer[offset + 2]! | (buffer[offset + 3]! << 8);
    return buffer[offset]! | (buffer[offset + 1]! << 8);
  }
}

function afterLenenc(buffer: Buffer, offset: number): number {
  const first = buffer[offset]!;
  if (first < 0xfb) return offset + 1;
  if (first === 0xfc) return offset + 3;
  return first === 0xfd ? offset + 4 : offset + 9;
}
