/**
 * What may be asked after a statement that has been answered, and the connection that knows the answer: its
 * warnings, its ROW_COUNT(), the FOUND_ROWS() of the last SELECT, the value that a sequence gave before. When
 * others have used that connection since, or dbproxy has asked it something of its own, the question is refused: a
 * guess would be a wrong result.
 */
import { refusal } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import type { ReplyTracker } from '../protocol/reply-tracker.ts';
import { Leave, Need, type Statement } from '../sql/statement.ts';
import type { SessionConnections } from './session-connections.ts';

/** Stands for a session that does not ask any more. */
const NOBODY = {};

export class Aftermath {
  readonly #user: object;
  readonly #connections: SessionConnections;
  /** Which connection ran the last statement, and the last SELECT; null where there is nothing to ask after. */
  #last: BackendConnection | null = null;
  #lastSelect: BackendConnection | null = null;
  /** The age of their memories by then: older ones know something else. */
  #lastAt = 0;
  #lastSelectAt = 0;
  /** Which one asked a sequence last. */
  #lastSequence: BackendConnection | null = null;
  #lastSequenceTurns = 0;
  /** Which one has warnings or errors of this session in its list. */
  #complainedOn: BackendConnection | null = null;
  /** The last statement left warnings, or an error. */
  hasDiagnostics = false;
  #hasFoundRows = false;
  /** dbproxy has answered something since that sets ROW_COUNT(), while the connection knows another one. */
  #isRowCountGone = false;

  /** `user`: who uses the connections, as they note it. */
  constructor(user: object, connections: SessionConnections) {
    this.#user = user;
    this.#connections = connections;
  }

  /** The last statement is likely to be asked after: its connection should be kept. */
  get isAskedAfter(): boolean {
    return this.hasDiagnostics || this.#hasFoundRows;
  }

  /** A statement has been answered on this connection. `isPrepare`: it was only prepared. */
  answered(
    connection: BackendConnection,
    statement: Statement,
    tracker: ReplyTracker,
    isPrepare: boolean,
  ): void {
    const complains = tracker.errno !== 0 || tracker.warnings > 0;
    const asksAfter = (statement.needs & Need.DIAGNOSTICS) !== 0;
    this.#leaveComplaints(connection);
    if (isPrepare && !complains) {
      // It changes no ROW_COUNT(). Whether it empties the list of warnings depends on the server.
      if (this.hasDiagnostics) this.#last = null;
    } else {
      this.#last = connection;
      this.#lastAt = connection.memoryAge;
      if (!asksAfter || complains) this.hasDiagnostics = complains;
    }
    if (!isPrepare) this.#isRowCountGone = false;
    if (complains) {
      connection.lastComplainer = this.#user;
      this.#complainedOn = connection;
    }
    if (statement.class === 'read' && !isPrepare && !asksAfter) {
      this.#lastSelect = connection;
      this.#lastSelectAt = connection.memoryAge;
      this.#hasFoundRows = (statement.leaves & Leave.FOUND_ROWS) !== 0;
    }
    if ((statement.needs & Need.SEQUENCE) === 0) return;
    this.#lastSequence = connection;
    this.#lastSequenceTurns = connection.turns;
    connection.knowsSequences = true;
  }

  /** Once a statement has run elsewhere, what an earlier one has left in the list of a connection is nobody's. */
  #leaveComplaints(connection: BackendConnection): void {
    const before = this.#complainedOn;
    if (before === null || before === connection) return;
    if (before.lastComplainer === this.#user) before.lastComplainer = NOBODY;
    this.#complainedOn = null;
  }

  /** A statement has been answered without a server, and left nothing. */
  answeredHere(): void {
    this.#last = null;
    this.hasDiagnostics = false;
    this.#isRowCountGone = false;
  }

  /** The same of a command that sets ROW_COUNT() and leaves warnings as they are. `isAttached`: to a connection. */
  commandAnsweredHere(isAttached: boolean): void {
    if (isAttached || this.hasDiagnostics) this.#isRowCountGone = true;
    else this.#last = null;
  }

  /** What the statement before, a SET, has set was asked for: the connection has another ROW_COUNT() than its 0. */
  setRead(): void {
    if (!this.hasDiagnostics) this.#last = null;
  }

  /** The session has begun anew on this connection. */
  begunAnew(connection: BackendConnection): void {
    this.#last = null;
    this.#lastSelect = null;
    this.hasDiagnostics = false;
    this.#isRowCountGone = false;
    connection.lastComplainer = null;
  }

  /**
   * The connection that a question goes to. null: there is nothing to ask after, so that any at home will do;
   * gone: others have used it since.
   */
  connectionToAsk(needs: number): BackendConnection | 'gone' | null {
    if (this.isGone(needs)) return 'gone';
    const wanted = this.#connectionAfter(needs);
    if (wanted !== null && !wanted.closed && wanted.lastUser === this.#user) return wanted;
    const isAsked = wanted !== null && (needs & (Need.FOUND_ROWS | Need.ROW_COUNT)) !== 0;
    return isAsked || this.hasDiagnostics ? 'gone' : null;
  }

  /** What is asked is not known to this connection, to which the session is pinned, but to another one. */
  isElsewhere(needs: number, connection: BackendConnection): boolean {
    if (this.isGone(needs)) return true;
    const wanted = this.#connectionAfter(needs);
    if (wanted === null || wanted === connection) return false;
    return (needs & (Need.FOUND_ROWS | Need.ROW_COUNT)) !== 0 || this.hasDiagnostics;
  }

  /**
   * The connection that ran the statement before. `mayRunOnReplica`: the statement that asks may run there, too.
   * When there was nothing to ask after, one that knows of nothing serves as well. Rejects with
   * DBPROXY_STATE_GONE, and as `obtain` does.
   */
  async obtainLast(needs: number, mayRunOnReplica: boolean): Promise<BackendConnection> {
    if (this.isGone(needs)) throw gone('what this statement asks for');
    const wanted = this.#connectionAfter(needs);
    const isThere = wanted !== null && (mayRunOnReplica || this.#connections.isHome(wanted));
    if (isThere && this.#connections.again(wanted, this.#user)) {
      // A statement without a table leaves the list as it was: it may be of somebody else.
      const isForeign = wanted.lastComplainer !== null && wanted.lastComplainer !== this.#user;
      const mustForget = isForeign && (needs & Need.DIAGNOSTICS) !== 0;
      return this.#prepared(wanted, async () => (mustForget ? wanted.forgetDiagnostics() : undefined));
    }
    if ((needs & Need.FOUND_ROWS) !== 0 && wanted !== null) throw gone('FOUND_ROWS()');
    if ((needs & Need.ROW_COUNT) !== 0 && wanted !== null) throw gone('ROW_COUNT()');
    if (this.hasDiagnostics) throw gone('what SHOW WARNINGS tells');
    const connection = await this.#connections.obtain('home');
    return this.#prepared(connection, async () => {
      if ((needs & Need.DIAGNOSTICS) !== 0) {
        await this.#connections.bring(connection);
        await connection.forgetDiagnostics();
        return;
      }
      await this.#connections.renew(connection);
      // As after a login: ROW_COUNT() is 0.
      await connection.execute('DO 0');
    });
  }

  /** The connection when `work` on it is done; when that fails it is nobody's any more. */
  async #prepared(connection: BackendConnection, work: () => Promise<void>): Promise<BackendConnection> {
    try {
      await work();
      return connection;
    } catch (error) {
      this.#connections.discard(connection, !connection.closed);
      throw error;
    }
  }

  /** LASTVAL() and PREVIOUS VALUE FOR: of the connection that asked the sequence before. Rejects as `obtainLast` does. */
  async obtainSequence(): Promise<BackendConnection> {
    const wanted = this.#lastSequence;
    if (wanted !== null) {
      const isSame = wanted.turns === this.#lastSequenceTurns;
      if (isSame && this.#connections.again(wanted, this.#user)) return wanted;
      throw gone('the previous value of a sequence');
    }
    // No server forgets the values of sequences before a connection ends.
    for (;;) {
      const connection = await this.#connections.obtain('home');
      if (!connection.knowsSequences) return connection;
      this.#connections.discard(connection, false);
    }
  }

  /** The connection whose warnings a ping tells of; null when there are none. */
  takeComplaining(): BackendConnection | null {
    const last = this.#last;
    const isThere = last !== null && this.hasDiagnostics && this.#connections.again(last, this.#user);
    return isThere ? last : null;
  }

  /** dbproxy has asked something of its own since where this is asked, or no connection knows all of it. */
  isGone(needs: number): boolean {
    const asksCount = (needs & Need.ROW_COUNT) !== 0;
    const asksRows = (needs & Need.FOUND_ROWS) !== 0 && this.#lastSelect !== null;
    if (asksCount && this.#isRowCountGone) return true;
    if (asksCount && asksRows && this.#last !== this.#lastSelect) return true;
    if (asksRows && this.#lastSelect!.memoryAge !== this.#lastSelectAt) return true;
    const asksLast = asksCount || (this.hasDiagnostics && (needs & Need.DIAGNOSTICS) !== 0);
    return asksLast && this.#last !== null && this.#last.memoryAge !== this.#lastAt;
  }

  #connectionAfter(needs: number): BackendConnection | null {
    return (needs & Need.FOUND_ROWS) === 0 ? this.#last : this.#lastSelect;
  }
}

function gone(what: string): Error {
  return refusal('DBPROXY_STATE_GONE', what);
}
