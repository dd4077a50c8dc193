/**
 * A READ ONLY transaction that a session has on a replica, and the statements that cannot be there with it:
 *
 *   1. What only home can do (a user lock, a sequence, a function that may do anything) moves the transaction
 *      home, as long as nothing has been read in it: it can as well begin there. One that has read must not see
 *      another state of the data from now on, so the statement is refused.
 *   2. The BEGIN of another transaction ends this one first, and goes where that other one belongs; so does what
 *      commits before it begins (CREATE TABLE and the like).
 *   3. A write is sent to the replica, which refuses it. The client hears what the primary would say.
 *   4. What would keep the session on its connection beyond the transaction (a cursor, a SET that cannot be repeated)
 *      is treated as in 1. Where that was not to be foreseen the session ends with the transaction: it could never
 *      write again.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command } from '../protocol/constants.ts';
import { ServerError } from '../protocol/packets.ts';
import type { SplitView, StatementView } from '../routing/split.ts';
import { Leave, Need } from '../sql/statement.ts';
import type { Attachment } from './attachment.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import type { HiddenCodeCheck } from './hidden-code-check.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';

/** The session whose transactions they are. */
export interface TransactionParts {
  readonly view: SplitView;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly connections: SessionConnections;
  readonly attachment: Attachment;
  readonly hiddenCode: Pick<HiddenCodeCheck, 'hasUnjudged' | 'judge'>;
  readonly context: { readonly clock: Clock };
  readonly host: {
    /** Ends the session with an error. */
    fail(error: unknown): void;
    isOver(): boolean;
    answer(bytes: Buffer): void;
    answerError(error: unknown): void;
  };
}

/** What becomes of a statement that cannot be where the session's READ ONLY transaction is. */
export type Detour = 'none' | 'moves_home' | 'refused' | 'ends_transaction';

/** What a READ ONLY transaction on a replica cannot do, though one on the primary can. */
const NEEDS_PRIMARY =
  Need.USER_LOCK | Need.SEQUENCE | Need.UNKNOWN_FUNCTION | Need.UNKNOWN_STATEMENT | Need.AMBIGUOUS;
const LEAVES_ON_PRIMARY =
  Leave.TEMPORARY_TABLE |
  Leave.USER_LOCK |
  Leave.TABLE_LOCK |
  Leave.HANDLER |
  Leave.NAMED_STATEMENT |
  Leave.XA |
  Leave.ANYTHING |
  Leave.USER_VARIABLE |
  Leave.NEXT_TRANSACTION |
  Leave.CONNECTION_ID;

/** What ends a transaction before it runs itself. */
const ENDS = Leave.TRANSACTION | Leave.IMPLICIT_COMMIT;

/** ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION */
const READ_ONLY_TRANSACTION = 1792;

export class ReadOnlyTransaction {
  readonly #parts: TransactionParts;
  readonly #record: SessionRecord;
  readonly #connections: SessionConnections;
  readonly #attachment: Attachment;
  /** Payload of the START TRANSACTION READ ONLY that is at hand, and of the one that nothing has followed yet. */
  #begin: Buffer | null = null;
  #begun: Buffer | null = null;

  constructor(parts: TransactionParts) {
    this.#parts = parts;
    this.#record = parts.record;
    this.#connections = parts.connections;
    this.#attachment = parts.attachment;
  }

  /** The session is in a transaction on a replica, or otherwise not where a statement must be. */
  get isAway(): boolean {
    const { connection } = this.#attachment;
    return connection !== null && this.#record.pinned && !this.#connections.isHome(connection);
  }

  /** What it means for a statement; `mayStay`: it may keep the session on its connection. */
  detourOf({ needs, leaves }: StatementView, mayStay: boolean): Detour {
    if (!this.isAway) return 'none';
    if (mayStay || (needs & NEEDS_PRIMARY) !== 0 || (leaves & LEAVES_ON_PRIMARY) !== 0) {
      return this.#begun === null ? 'refused' : 'moves_home';
    }
    return (leaves & ENDS) !== 0 && this.#parts.view.splits ? 'ends_transaction' : 'none';
  }

  /** The statement at hand begins another transaction, or commits before it does anything: so this one ends. */
  get endsNow(): boolean {
    const { view, atHand } = this.#parts;
    return (atHand.statement.leaves & ENDS) !== 0 && this.isAway && view.splits;
  }

  /** A statement is at hand; `payload` is that of a START TRANSACTION READ ONLY, null for all others. */
  begins(payload: Buffer | null): void {
    this.#begin = payload;
  }

  /** Parameters have been sent in advance: they are where the transaction is. */
  hasLongData(): void {
    this.#begun = null;
  }

  /** The command at hand has been answered by this connection. */
  answered(connection: BackendConnection, errno: number): void {
    this.#noteStart(connection, errno);
    this.judged(connection);
  }

  /** What the statements before have left on this connection is known. */
  judged(connection: BackendConnection): void {
    if (!this.#connections.isHome(connection) && !this.#record.inTransaction && this.#record.pinned)
      this.#strand();
  }

  /** Outside of a transaction nothing may keep a session on a replica, where it could not write. */
  #strand(): void {
    // A START that has failed leaves no transaction open.
    this.#record.unpin('error');
    if (!this.#record.pinned || this.#record.pins.has('unread')) return;
    const what = 'its READ ONLY transaction has left something behind on a replica';
    this.#parts.host.fail(refusal('DBPROXY_SESSION_ENDED', what));
  }

  #noteStart(connection: BackendConnection, errno: number): void {
    const { to, statement, command } = this.#parts.atHand;
    // To prepare is to read nothing: it can be prepared again.
    if (command === Command.STMT_PREPARE) return;
    const begins = to === 'replica' && (statement.leaves & Leave.READ_ONLY) !== 0 && errno === 0;
    const isOnReplica = !this.#connections.isHome(connection) && command === Command.QUERY;
    this.#begun = begins && isOnReplica ? this.#begin : null;
    this.#begin = null;
  }

  /** Answers a write that the replica has refused in these words. */
  answerRefusal(errno: number, status: number, answer: Buffer): void {
    const { host, context } = this.#parts;
    const { isMariaDb } = this.#record.dialect;
    this.#record.answered({ needs: 0, leaves: 0, errno, status, atHome: false }, context.clock.nowMs());
    if (errno === READ_ONLY_TRANSACTION) return host.answer(answer);
    host.answerError(
      new ServerError({
        errno: READ_ONLY_TRANSACTION,
        sqlState: '25006',
        message: `Cannot execute statement in a READ ONLY transaction${isMariaDb ? '' : '.'}`,
      }),
    );
  }

  /** Ends it, and leaves its connection. Rejects when that is lost, which ends the session. */
  async end(): Promise<void> {
    const connection = this.#attachment.connection!;
    this.#attachment.detach();
    const status = await this.#commit(connection);
    this.#record.answered(
      { needs: Need.TRANSACTION, leaves: Leave.TRANSACTION_ENDED, errno: 0, status, atHome: false },
      this.#parts.context.clock.nowMs(),
    );
    const { hiddenCode } = this.#parts;
    if (hiddenCode.hasUnjudged && !this.#record.pinned) await hiddenCode.judge(connection);
    if (!this.#record.pinned) return this.#connections.leave(connection, false);
    this.#connections.discard(connection, false);
    this.#strand();
    throw refusal('DBPROXY_SESSION_ENDED', 'what it has left behind on a replica is gone');
  }

  /** What the transaction was is lost with its connection, and the session with it. */
  async #commit(connection: BackendConnection): Promise<number> {
    try {
      return (await connection.execute('COMMIT')).status;
    } catch (error) {
      this.#connections.discard(connection, false);
      this.#parts.host.fail(refusal('DBPROXY_BACKEND_LOST', connection.backend, String(error)));
      throw error;
    }
  }

  /** Has one that has read nothing begin at home, which is attached then. False: the session is over. */
  async moveHome(): Promise<boolean> {
    const { host } = this.#parts;
    const begin = this.#begun!;
    this.#begun = null;
    let connection: BackendConnection | null = null;
    try {
      await this.end();
      connection = await this.#attachment.obtainHome();
      if (!host.isOver()) await this.#beginOn(connection, begin);
      if (!host.isOver()) {
        this.#attachment.attach(connection);
        return true;
      }
    } catch (error) {
      // The transaction that the client believes to be in is gone.
      if (!host.isOver()) host.fail(error);
    }
    if (connection !== null) this.#attachment.abandon(connection);
    return false;
  }

  async #beginOn(connection: BackendConnection, begin: Buffer): Promise<void> {
    const { status } = await connection.command(begin);
    this.#record.answered(
      { needs: Need.TRANSACTION, leaves: Leave.TRANSACTION, errno: 0, status, atHome: true },
      this.#parts.context.clock.nowMs(),
    );
  }
}
