/**
 * Events in, transactions out: where each begins and ends, who ran it and when. The rows in it are left as they
 * are: to read them the tables' definitions are needed, and those are asked for once it is known which.
 *
 * A transaction is
 * 1. what begins with an event that gives a global id (all servers but MySQL of before GTIDs), or with BEGIN;
 * 2. and ends with XID, COMMIT, ROLLBACK or XA PREPARE, or is one statement without BEGIN.
 */
import { unpackTransaction } from './compression.ts';
import { EventType, parseEvent, parseEvents, parseFormat, type BinlogEvent } from './event.ts';
import { parseGtidList, parseTransactionHead, type TransactionHead } from './gtid-event.ts';
import { parseAnnotation, parseQuery, parseRotation } from './query-event.ts';
import { UnreadableEvent } from './reader.ts';
import { layoutOf } from './rows.ts';
import { parseTableMap, type TableMap } from './table-map.ts';

/** A part of a transaction, in the order of the log. */
type Part =
  | { kind: 'table'; map: TableMap }
  | { kind: 'rows'; event: BinlogEvent }
  /** `text` can be run as it stands, `sent` is what the session sent. */
  | { kind: 'statement'; text: string; sent: string };

/** A transaction whose rows are not read yet. */
export interface RawTransaction {
  readonly gtid: string | null;
  readonly serverId: number;
  readonly file: string;
  readonly position: number;
  endPosition: number;
  /** Milliseconds since the Unix epoch: when it was committed first, or else when it began (to the second). */
  readonly atMs: number;
  /** The same in microseconds, where the server tells when it was committed first. */
  readonly committedAtUs: bigint | null;
  /** Of the session, at the server where it ran first; null where nothing in the log says so. */
  threadId: number | null;
  /** Rows and statements. Empty when they were too many to keep. */
  parts: Part[];
  /** The statements that the rows come from, as far as the server logs them. */
  readonly annotations: string[];
  /** Names of its savepoints, as far as they are logged: those after its first change. */
  readonly savepoints: string[];
  /** DDL, one statement. */
  ddl: string | null;
  /** What is in the way of reading it. */
  readonly problems: string[];
  /** How it ended. */
  end: 'committed' | 'rolled_back' | 'prepared' | 'cut_off';
  /** Its events as they came. Empty when they were too many to keep. */
  raw: Buffer[];
  /** Of its events, as they came and unpacked. */
  rawBytes: number;
}

/** What an event has changed. */
export interface ReaderStep {
  readonly event: BinlogEvent;
  /** The transaction that it belongs to. */
  readonly transaction: RawTransaction | null;
  /** It is the first event of it. */
  readonly begins: boolean;
  /** It is the last one. */
  readonly ends: boolean;
}

export class TransactionReader {
  readonly #mostBytes: number;
  #hasChecksums: boolean;
  #file: string;
  #format: Buffer | null = null;
  #gtidList: readonly string[] | null = null;
  #open: RawTransaction | null = null;
  /** It has a BEGIN, and so ends with more than one statement. */
  #hasBegin = false;

  /** `hasChecksums`: as agreed upon for the connection. Of a larger transaction than `mostBytes` no rows are kept. */
  constructor(options: { hasChecksums: boolean; file: string; mostBytes: number }) {
    this.#hasChecksums = options.hasChecksums;
    this.#file = options.file;
    this.#mostBytes = options.mostBytes;
  }

  /** The log that is being read. */
  get file(): string {
    return this.#file;
  }

  /** The last FORMAT_DESCRIPTION_EVENT as it came; null before the first. */
  get format(): Buffer | null {
    return this.#format;
  }

  /** MariaDB's list of ids before this file; null before there was one. */
  get gtidList(): readonly string[] | null {
    return this.#gtidList;
  }

  /** Takes the next event. Throws UnreadableEvent when it cannot be told where one transaction ends. */
  push(raw: Buffer): ReaderStep {
    const event = parseEvent(raw, this.#hasChecksums);
    const before = this.#open;
    const ended = this.#take(event);
    const transaction = ended ?? this.#open;
    if (transaction !== null) this.#keepRaw(transaction, event);
    return {
      event,
      transaction,
      begins: transaction !== null && transaction !== before,
      ends: ended !== null,
    };
  }

  /** Answers the transaction that has ended with this event. */
  #take(event: BinlogEvent): RawTransaction | null {
    switch (event.type) {
      case EventType.FORMAT_DESCRIPTION:
        this.#format = event.raw;
        this.#hasChecksums = parseFormat(event).hasChecksums;
        return this.#cutOff(event);
      case EventType.ROTATE:
        this.#file = parseRotation(event).file;
        return null;
      case EventType.MARIADB_GTID_LIST:
        this.#gtidList = parseGtidList(event);
        return null;
      case EventType.GTID:
      case EventType.GTID_TAGGED:
      case EventType.ANONYMOUS_GTID:
      case EventType.MARIADB_GTID:
        return this.#begin(event);
      case EventType.TRANSACTION_PAYLOAD:
        return this.#unpack(event);
      case EventType.QUERY:
      case EventType.QUERY_COMPRESSED:
      case EventType.EXECUTE_LOAD_QUERY:
        return this.#query(event);
      case EventType.XID:
        return this.#end('committed');
      case EventType.XA_PREPARE:
        this.#problem(event, 'it is part of an XA transaction');
        return this.#end('prepared');
      default:
        return this.#content(event);
    }
  }

  /** What a transaction is made of, and what is of no interest. */
  #content(event: BinlogEvent): null {
    switch (event.type) {
      case EventType.TABLE_MAP:
        this.#transactionOf(event).parts.push({ kind: 'table', map: parseTableMap(event) });
        return null;
      case EventType.ANNOTATE_ROWS:
      case EventType.ROWS_QUERY:
        this.#transactionOf(event).annotations.push(parseAnnotation(event));
        return null;
      case EventType.PARTIAL_UPDATE_ROWS:
        this.#problem(
          event,
          'it has changes of parts of JSON values (binlog_row_value_options = PARTIAL_JSON)',
        );
        return null;
      case EventType.INTVAR:
      case EventType.RAND:
      case EventType.USER_VAR:
      case EventType.BEGIN_LOAD_QUERY:
        this.#problem(event, 'it is logged by statement, with values of the session');
        return null;
      case EventType.INCIDENT:
        this.#problem(event, 'the server says that events are missing (INCIDENT)');
        return null;
      case EventType.STOP:
      case EventType.HEARTBEAT:
      case EventType.HEARTBEAT_V2:
      case EventType.PREVIOUS_GTIDS:
      case EventType.BINLOG_CHECKPOINT:
      // Of a log that is encrypted on the disk: the server sends what it has decrypted.
      case EventType.START_ENCRYPTION:
      case EventType.IGNORABLE:
      case EventType.TRANSACTION_CONTEXT:
      case EventType.VIEW_CHANGE:
        return null;
      default:
        return this.#rowsOrUnknown(event);
    }
  }

  #rowsOrUnknown(event: BinlogEvent): null {
    if (layoutOf(event.type) !== null) this.#transactionOf(event).parts.push({ kind: 'rows', event });
    else if (!event.isIgnorable)
      this.#problem(event, `it has an event of type ${event.type}, not known here`);
    return null;
  }

  #begin(event: BinlogEvent): RawTransaction | null {
    const cut = this.#cutOff(event);
    if (cut !== null) throw new UnreadableEvent(`transaction ${cut.gtid ?? cut.position} has no end`);
    const head = parseTransactionHead(event);
    this.#open = this.#newTransaction(event, head);
    // MariaDB's event stands for the BEGIN, too.
    this.#hasBegin = event.type === EventType.MARIADB_GTID && !head.isStandalone;
    if (head.isXa) this.#open.problems.push('it is part of an XA transaction');
    return null;
  }

  #unpack(event: BinlogEvent): RawTransaction | null {
    const unpacked = unpackTransaction(event.body);
    this.#transactionOf(event).rawBytes += unpacked.length;
    let ended: RawTransaction | null = null;
    for (const inner of parseEvents(unpacked)) ended = this.#take(inner) ?? ended;
    return ended;
  }

  #query(event: BinlogEvent): RawTransaction | null {
    const { threadId, database, text } = parseQuery(event);
    const transaction = this.#transactionOf(event);
    // MariaDB's GTID event of a transaction stands for its BEGIN, which nobody's thread is known of.
    if (threadId !== 0) transaction.threadId ??= threadId;
    if (/^(BEGIN|XA START\b.*)$/is.test(text)) {
      this.#hasBegin = true;
      if (text !== 'BEGIN') this.#problem(event, 'it is part of an XA transaction');
      return null;
    }
    if (text === 'COMMIT') return this.#end('committed');
    if (text === 'ROLLBACK') return this.#end('rolled_back');
    if (/^XA END\b/i.test(text)) return null;
    if (/^SAVEPOINT\b/i.test(text)) {
      transaction.savepoints.push(nameOf(text));
      return null;
    }
    if (/^XA (COMMIT|ROLLBACK)\b/i.test(text)) {
      this.#problem(event, 'it is part of an XA transaction');
      transaction.parts.push({ kind: 'statement', text, sent: text });
      return this.#end('committed');
    }
    if (/^ROLLBACK TO\b/i.test(text)) {
      this.#problem(event, 'a part of it was rolled back (ROLLBACK TO)');
      return null;
    }
    const statement = database === '' ? text : `USE \`${database.replaceAll('`', '``')}\`; ${text}`;
    if (this.#hasBegin) {
      transaction.parts.push({ kind: 'statement', text: statement, sent: text });
      this.#problem(event, 'it has changes that are logged by statement');
      return null;
    }
    transaction.ddl = statement;
    return this.#end('committed');
  }

  #problem(event: BinlogEvent, problem: string): void {
    const { problems } = this.#transactionOf(event);
    if (!problems.includes(problem)) problems.push(problem);
  }

  /** A crash may leave the beginning of a transaction at the end of a file; it was never committed. */
  #cutOff(event: BinlogEvent): RawTransaction | null {
    return event.isArtificial ? null : this.#end('cut_off');
  }

  #end(how: RawTransaction['end']): RawTransaction | null {
    const transaction = this.#open;
    this.#open = null;
    this.#hasBegin = false;
    if (transaction !== null) transaction.end = how;
    return transaction;
  }

  /** The open one, or a new one without a global id. */
  #transactionOf(event: BinlogEvent): RawTransaction {
    this.#open ??= this.#newTransaction(event, null);
    return this.#open;
  }

  #newTransaction(event: BinlogEvent, head: TransactionHead | null): RawTransaction {
    const committedAtUs = head?.committedAtUs ?? null;
    return {
      gtid: head?.gtid ?? null,
      serverId: event.serverId,
      file: this.#file,
      position: event.endPosition - event.raw.length,
      endPosition: event.endPosition,
      atMs: committedAtUs === null ? event.timestamp * 1000 : Number(committedAtUs / 1000n),
      committedAtUs,
      threadId: null,
      parts: [],
      annotations: [],
      savepoints: [],
      ddl: null,
      problems: [],
      end: 'cut_off',
      raw: [],
      rawBytes: 0,
    };
  }

  #keepRaw(transaction: RawTransaction, event: BinlogEvent): void {
    if (event.endPosition !== 0) transaction.endPosition = event.endPosition;
    transaction.rawBytes += event.raw.length;
    if (transaction.rawBytes <= this.#mostBytes) {
      transaction.raw.push(event.raw);
      return;
    }
    if (transaction.raw.length > 0) {
      transaction.problems.push(`it is larger than the ${this.#mostBytes} bytes that are decoded`);
    }
    transaction.raw = [];
    transaction.parts = [];
    transaction.annotations.length = 0;
  }
}

/** Of the savepoint: servers log it in backquotes. */
function nameOf(savepoint: string): string {
  const name = savepoint.replace(/^SAVEPOINT\s+/i, '');
  return /^`.*`$/s.test(name) ? name.slice(1, -1).replaceAll('``', '`') : name;
}
