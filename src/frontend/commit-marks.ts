/**
 * Marks by which a transaction can be found in the binary log of another server when the answer to its COMMIT is lost
 * (`mark_commits = on`). No server has both: a log that tells whose transaction it is, on replicas too, and a client
 * that is told so before the end. So dbproxy gives each transaction a name of its own that is logged with it:
 *
 * - a transaction that has written gets a savepoint of that name, sent in one write with its COMMIT. All servers log
 *   savepoints with the transaction, and replicas log them again;
 * - a single write in autocommit gets it as a comment before its text, which is logged where statements are
 *   (docs/lost-transactions.md). One that was prepared cannot be marked.
 */
import { writePayload } from '../protocol/packets.ts';
import { queryPayload, textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import { isCommit, isInTransaction, isSingleWrite } from './lost-connection.ts';
import type { Relay } from './relay.ts';
import type { SessionRecord } from './session-record.ts';
import type { TransactionTrail } from './transaction-trail.ts';

/** The marks of one endpoint in one worker: no two are the same, and none is another worker's. */
export class CommitMarks {
  readonly #prefix: string;
  #count = 0;
  /** An engine has no savepoints: no more are sent, and that one is missing means nothing. */
  areRefused = false;

  /** `token`: nobody else's, ever; letters and digits. */
  constructor(token: string) {
    this.#prefix = `dbproxy_${token}_`;
  }

  next(): string {
    return `${this.#prefix}${(this.#count++).toString(36)}`;
  }
}

/** The session whose commits are marked, in its parts. */
export interface MarkerParts {
  readonly marks: CommitMarks;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly trail: TransactionTrail;
  /** Flags of the session. */
  readonly capabilities: number;
}

/** ER_CHECK_NOT_IMPLEMENTED: an engine of this transaction has no savepoints. */
const NO_SAVEPOINTS = 1178;
/** ER_LOCK_DEADLOCK: the transaction is gone, and its COMMIT would be answered with an OK all the same. */
const DEADLOCK = 1213;

/** Statements whose texts are logged beside their rows. */
const LOGGED_WITH_ROWS = /^[\s;]*(?:\/\*(?!!|M!)[^*]*\*\/\s*)*(?:insert|update|delete|replace)\b/i;
/** Within so many bytes such a statement shows what it is. */
const HEAD_BYTES = 256;

export class CommitMarker {
  readonly #parts: MarkerParts;
  /** The savepoint has failed, so that it says nothing of this transaction; true: its COMMIT is none the worse for that. */
  readonly #isHarmless = (errno: number): boolean => {
    this.#parts.trail.mark = null;
    if (errno === NO_SAVEPOINTS) this.#parts.marks.areRefused = true;
    return errno !== DEADLOCK;
  };

  constructor(parts: MarkerParts) {
    this.#parts = parts;
  }

  /** The command at hand, a COM_QUERY, may go to the connection attached now. True: it has gone there, with a mark. */
  sends(bytes: Buffer, start: number, end: number): boolean {
    const { marks, atHand, record, trail } = this.#parts;
    const { statement } = atHand;
    if (trail.writeCount === 0) return false;
    if (!isInTransaction(record.pins)) {
      return record.autocommit && isSingleWrite(statement) && this.#sendsComment(bytes, start, end);
    }
    if (!isCommit(statement) || atHand.isRollback || marks.areRefused) return false;
    this.#sendSavepoint(Buffer.from(bytes.subarray(start, end)));
    return true;
  }

  #sendSavepoint(commit: Buffer): void {
    const { marks, relay, trail, capabilities } = this.#parts;
    const name = marks.next();
    trail.mark = { kind: 'savepoint', name };
    const savepoint = writePayload(0, queryPayload(`SAVEPOINT ${name}`, capabilities));
    relay.forwardAfter([savepoint], commit, this.#isHarmless);
  }

  #sendsComment(bytes: Buffer, start: number, end: number): boolean {
    const { marks, relay, trail, capabilities } = this.#parts;
    const text = textStart(bytes, start, end, capabilities);
    if (text === UNKNOWN_START) return false;
    if (!LOGGED_WITH_ROWS.test(bytes.toString('latin1', text, Math.min(end, text + HEAD_BYTES))))
      return false;
    const name = marks.next();
    trail.mark = { kind: 'comment', name };
    const comment = Buffer.from(`/*${name}*/ `, 'latin1');
    relay.forward(Buffer.concat([bytes.subarray(start, text), comment, bytes.subarray(text, end)]));
    return true;
  }
}
