/**
 * What a session is, apart from its connection: the record by which it can leave one connection and go on on
 * another as if nothing had happened. It answers two questions: may the session leave its connection now, and
 * if not, why; and what must be set on the next one (`settings`).
 *
 * It is told each statement that has been answered, and nothing else: no sockets, no time of its own.
 */
import type { Settings } from '../backend/settings.ts';
import { Status } from '../protocol/constants.ts';
import { Leave, Need, type SqlDialect } from '../sql/statement.ts';
import type { NextTransaction } from './session-settings.ts';

/** Why a session must keep the connection it has. */
export type Pin =
  | 'transaction'
  | 'error'
  | 'next_transaction'
  | 'xa'
  | 'temporary_table'
  | 'user_lock'
  | 'table_lock'
  | 'handler'
  | 'named_statement'
  | 'user_variable'
  | 'settings'
  | 'unread'
  | 'connection_id'
  | 'anything'
  | 'unseen'
  | 'cursor'
  | 'long_data'
  | 'set_option'
  | 'replication';

/** What is said of each pin, and when it ends. */
export const PIN_WORDS: Readonly<Record<Pin, string>> = {
  transaction: 'a transaction is open, until COMMIT or ROLLBACK',
  error: 'an error may have left a transaction open, until the next statement says',
  next_transaction: 'SET TRANSACTION is for the next transaction, until that has ended',
  xa: 'an XA transaction, until XA COMMIT or XA ROLLBACK',
  temporary_table: 'a temporary table, until the session is reset',
  user_lock: 'a user lock (GET_LOCK), until the session is reset',
  table_lock: 'locked tables, until UNLOCK TABLES',
  handler: 'an open HANDLER, until the session is reset',
  named_statement: 'a statement prepared by PREPARE, until the session is reset',
  user_variable: 'a user variable whose value dbproxy does not know, until the session is reset',
  settings: 'a setting that cannot be repeated on another connection, until the session is reset',
  unread: 'a SET had warnings: what it set is read when the next statement comes',
  connection_id: 'the client has asked which connection it has, until the session is reset',
  anything:
    'a statement that may have left anything behind (CALL, a stored function, …), until the session is reset',
  unseen: 'a statement too large to be looked at, until the session is reset',
  cursor: 'an open cursor, until it is closed',
  long_data: 'parameters sent in advance, until the statement is executed',
  set_option: 'COM_SET_OPTION, until the session is reset',
  replication: 'a replica that follows, until it goes',
};

/** Pins by what a statement leaves. */
const PIN_OF_LEAVE: readonly (readonly [leave: number, pin: Pin])[] = [
  [Leave.USER_VARIABLE, 'user_variable'],
  [Leave.TEMPORARY_TABLE, 'temporary_table'],
  [Leave.USER_LOCK, 'user_lock'],
  [Leave.TABLE_LOCK, 'table_lock'],
  [Leave.HANDLER, 'handler'],
  [Leave.NAMED_STATEMENT, 'named_statement'],
  [Leave.XA, 'xa'],
  [Leave.NEXT_TRANSACTION, 'next_transaction'],
  [Leave.CONNECTION_ID, 'connection_id'],
  [Leave.ANYTHING, 'anything'],
];

const LEAVES_THAT_PIN = PIN_OF_LEAVE.reduce((all, [leave]) => all | leave, 0);
/** What is done while a statement runs, and is not taken back when it fails later on. */
const REMAINS_AFTER_FAILURE: ReadonlySet<Pin> = new Set<Pin>(['anything', 'user_lock', 'user_variable']);

const LEAVES_THAT_UNPIN = Leave.TABLES_UNLOCKED | Leave.XA_ENDED | Leave.TRANSACTION_ENDED;

/** Needs of statements after which others may see something new. */
const MAY_HAVE_WRITTEN =
  Need.WRITE |
  Need.UNKNOWN_FUNCTION |
  Need.UNKNOWN_STATEMENT |
  Need.AMBIGUOUS |
  Need.SEVERAL |
  Need.SEQUENCE |
  Need.TRANSACTION;

/** Errors with which a server may have rolled back the whole transaction: a changed row, a lock wait, a deadlock. */
const MAY_ROLL_BACK: ReadonlySet<number> = new Set([1020, 1205, 1213]);

/** What the status flags say of the sql_mode. */
const MODE = Status.NO_BACKSLASH_ESCAPES | Status.ANSI_QUOTES;

/** How a statement has ended. */
export interface Outcome {
  readonly needs: number;
  readonly leaves: number;
  /** 0: well. */
  readonly errno: number;
  /** The status flags of the server's last word. */
  readonly status: number;
  /** It ran on home, where writes go. */
  readonly atHome: boolean;
}

export class SessionRecord {
  settings: Settings;
  /** As a replica wants them: without READ ONLY or READ WRITE, which is dbproxy's own there. */
  replicaSettings: Settings;
  /** How its text is to be read; renewed by who changes what it depends on. */
  dialect: SqlDialect;
  /** The server's last word. */
  status: number = Status.AUTOCOMMIT;
  /** An error has perhaps ended the transaction that is open, which no ERR says: a write may commit by itself. */
  mayBeOver = false;
  /** It has written since the position of its last write was asked for. */
  hasWritten = false;
  /** What was said of the next transaction on a connection that is gone: to be said again; SQL. */
  nextToRepeat: string | null = null;
  #next: NextTransaction = NO_NEXT;
  readonly #pins = new Map<Pin, number>();
  readonly #readOnlyName: string;

  /** `readOnlyName`: the variable that makes the session's transactions READ ONLY. */
  constructor(settings: Settings, dialect: SqlDialect, readOnlyName: string) {
    this.settings = settings;
    this.replicaSettings = settings;
    this.dialect = dialect;
    this.#readOnlyName = readOnlyName;
  }

  get pinned(): boolean {
    return this.#pins.size > 0;
  }

  /** Why it must stay, each with the time since when. */
  get pins(): ReadonlyMap<Pin, number> {
    return this.#pins;
  }

  get autocommit(): boolean {
    return (this.status & Status.AUTOCOMMIT) !== 0;
  }

  get inTransaction(): boolean {
    return (this.status & Status.IN_TRANS) !== 0;
  }

  set(settings: Settings): void {
    this.settings = settings;
    this.replicaSettings = settings.withVariable(this.#readOnlyName, null);
  }

  /** Settings as a replica wants them. */
  onReplica(settings: Settings): Settings {
    return settings === this.settings
      ? this.replicaSettings
      : settings.withVariable(this.#readOnlyName, null);
  }

  pin(pin: Pin, nowMs: number): void {
    if (!this.#pins.has(pin)) this.#pins.set(pin, nowMs);
  }

  unpin(pin: Pin): void {
    this.#pins.delete(pin);
  }

  /** SET TRANSACTION, for the next transaction: what it does not speak of stays. */
  setNext({ isolation, access }: NextTransaction, nowMs: number): void {
    this.#next = { isolation: isolation ?? this.#next.isolation, access: access ?? this.#next.access };
    this.pin('next_transaction', nowMs);
  }

  /** What was to be repeated has been said on the connection that the session has now. */
  nextIsRepeated(nowMs: number): void {
    if (this.nextToRepeat === null) return;
    this.nextToRepeat = null;
    this.pin('next_transaction', nowMs);
  }

  /** The session is pinned by nothing that could not be said again elsewhere. */
  get mayMove(): boolean {
    return this.#pins.size === 0 || (this.#pins.size === 1 && this.#pins.has('next_transaction'));
  }

  /** The session has begun anew: COM_RESET_CONNECTION. */
  reset(settings: Settings): void {
    this.set(settings);
    this.#pins.clear();
    this.#next = NO_NEXT;
    this.mayBeOver = false;
    this.nextToRepeat = null;
    this.status = Status.AUTOCOMMIT;
  }

  /**
   * A statement has been answered. Its settings (SET, USE) are not looked at here.
   *
   *   1. The server's flags say whether a transaction is open. An ERR packet has none: with a transaction or
   *      with autocommit off the question stays open until the next answer. Flags beside an ERR are those of an
   *      earlier answer, perhaps to another session.
   *   2. What a failed statement would have left is not there, unless it was several, or may leave anything;
   *      a lock that it took and a variable that it set before it failed are.
   */
  answered({ needs, leaves, errno, status, atHome }: Outcome, nowMs: number): void {
    const before = this.status;
    // SET STATEMENT … FOR has its own sql_mode, which is over with it.
    const isOfItsOwn = leaves === 0 && (needs & Need.UNKNOWN_STATEMENT) !== 0;
    if (errno === 0) this.status = isOfItsOwn ? (status & ~MODE) | (before & MODE) : status;
    if ((needs & MAY_HAVE_WRITTEN) !== 0 && atHome) this.hasWritten = true;
    if (errno === 0) {
      this.mayBeOver = false;
      if ((status & Status.IN_TRANS) !== 0) this.pin('transaction', nowMs);
      else if (this.#pins.size > 0) this.#transactionEnded(before, leaves);
    } else if ((before & Status.AUTOCOMMIT) === 0 || (needs & (Need.TRANSACTION | Need.SEVERAL)) !== 0) {
      this.pin('error', nowMs);
    }
    if (errno !== 0 && MAY_ROLL_BACK.has(errno)) this.mayBeOver = true;
    if ((leaves & (LEAVES_THAT_PIN | LEAVES_THAT_UNPIN)) === 0) return;
    const isSure = errno === 0;
    if (isSure && (leaves & Leave.TABLES_UNLOCKED) !== 0) this.unpin('table_lock');
    if (isSure && (leaves & Leave.XA_ENDED) !== 0) this.unpin('xa');
    for (const [leave, pin] of PIN_OF_LEAVE) {
      const remains = isSure || REMAINS_AFTER_FAILURE.has(pin) || (needs & Need.SEVERAL) !== 0;
      if ((leaves & leave) !== 0 && remains) this.pin(pin, nowMs);
    }
  }

  /**
   * Its connection is gone, and with it what was open there; what was said of the next transaction is said again on
   * the next connection.
   */
  lostConnection(): void {
    const isInOne = this.#pins.has('transaction') || this.#pins.has('error');
    if (this.#pins.has('next_transaction') && !isInOne) this.nextToRepeat = nextAsSql(this.#next);
    this.#pins.clear();
    this.#next = NO_NEXT;
    this.mayBeOver = false;
    this.status &= ~(Status.IN_TRANS | Status.IN_TRANS_READONLY);
  }

  /** A statement at home has ended without an answer: it may have been run. */
  lost(needs: number): void {
    if ((needs & MAY_HAVE_WRITTEN) !== 0) this.hasWritten = true;
  }

  #transactionEnded(before: number, leaves: number): void {
    this.unpin('transaction');
    this.unpin('error');
    const hasEnded = (before & Status.IN_TRANS) !== 0 || (leaves & Leave.TRANSACTION_ENDED) !== 0;
    if (!hasEnded) return;
    this.unpin('next_transaction');
    this.#next = NO_NEXT;
  }
}

const NO_NEXT: NextTransaction = { isolation: null, access: null };

function nextAsSql({ isolation, access }: NextTransaction): string | null {
  const words = [isolation === null ? null : `ISOLATION LEVEL ${isolation}`, access];
  const said = words.filter((word) => word !== null);
  return said.length === 0 ? null : `SET TRANSACTION ${said.join(', ')}`;
}
