/**
 * Whether the statement at hand may set off code that is not in its text (see hidden-code.ts). What is known of the
 * account's triggers and views is applied at once; where nothing is known a server has to be asked, and that only on
 * a connection that is at rest: in a transaction the question would open the read view, and the client would see
 * older data than on a direct connection.
 *
 *   1. Known: it is applied.
 *   2. Not known, and nothing pins the session: home is asked before the statement is sent, or the replica that it goes
 *      to where home cannot be; also before what begins a transaction, for all that is in it.
 *   3. Not known (any more), and the session is pinned: where the statement goes is clear. What was known last
 *      decides meanwhile, and the statement is judged when nothing pins the session any more, before its connection
 *      goes to anybody else.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command } from '../protocol/constants.ts';
import { Leave, Need } from '../sql/statement.ts';
import { ASKS_AFTER, type CommandAtHand } from './command-at-hand.ts';
import { mayName, UNKNOWN, type HiddenCode, type HiddenCodeWatch } from './hidden-code.ts';
import type { SessionRecord } from './session-record.ts';
import { UnjudgedStatements } from './unjudged-statements.ts';

/** The session whose statements they are, in its parts. */
export interface HiddenCodeParts {
  readonly watch: HiddenCodeWatch;
  readonly account: string;
  readonly clock: Clock;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly isHome: (connection: BackendConnection) => boolean;
  /** The session is in a READ ONLY transaction on a replica. */
  readonly isAway: () => boolean;
}

/** After it nobody can be asked for a while. */
const BEGINS = Leave.TRANSACTION | Leave.NEXT_TRANSACTION | Leave.XA | Leave.TABLE_LOCK;

const PARENTHESIS = 0x28;

export class HiddenCodeCheck {
  readonly #parts: HiddenCodeParts;
  readonly #watch: HiddenCodeWatch;
  readonly #account: string;
  readonly #record: SessionRecord;
  readonly #unjudged = new UnjudgedStatements();
  #isDue = false;
  /** Views and triggers may come into the statement at hand. */
  #maySetOff = false;

  constructor(parts: HiddenCodeParts) {
    this.#parts = parts;
    this.#watch = parts.watch;
    this.#account = parts.account;
    this.#record = parts.record;
  }

  /** A server must be asked before the statement at hand is sent. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** Statements have run that are still to be judged, before others get the connection. */
  get hasUnjudged(): boolean {
    return this.#unjudged.count > 0;
  }

  /** A new command. */
  begin(): void {
    this.#isDue = false;
    this.#unjudged.dropNext();
  }

  /** Notes what the statement at hand, whose text this is, may set off. */
  look(text: Buffer, start: number, end: number): void {
    this.begin();
    const { needs, leaves } = this.#parts.atHand.statement;
    this.#maySetOff = this.#setsOff(text, start, end);
    const isOfInterest = this.#maySetOff || (leaves & BEGINS) !== 0;
    if (!isOfInterest || this.#record.pins.has('anything') || (needs & ASKS_AFTER) !== 0) return;
    const code = this.#known;
    if (code !== undefined) {
      if (this.hasUnjudged) this.#judgeBy(code);
      this.#apply(code, text, start, end);
    } else if (!this.#record.pinned) this.#isDue = true;
    else if (this.#maySetOff) this.#defer(text, start, end);
  }

  /**
   * The same, after asking on this connection, which is at rest, unless somebody has asked replicas already and this is
   * one. Rejects as `HiddenCodeWatch.ask` does.
   */
  async ask(connection: BackendConnection, text: Buffer): Promise<void> {
    const { isHome, clock } = this.#parts;
    const known = isHome(connection) ? undefined : this.#watch.known(this.#account, clock.nowMs(), 'replica');
    const code = known ?? (await this.#ask(connection));
    // Not before: when this connection breaks, the next one is asked.
    this.#isDue = false;
    this.#apply(code, text, 0, text.length);
  }

  /** The statement at hand has been answered. */
  answered(): void {
    if (!this.#unjudged.hasNext) return;
    this.#unjudged.keepNext();
    // It may have written, and a later read on a replica must see that.
    if (!this.#parts.isAway()) this.#record.hasWritten = true;
  }

  /**
   * Judges what has run while nobody could be asked, on this connection, which is at rest now: what may have left
   * something there pins the session to it.
   */
  async judge(connection: BackendConnection): Promise<void> {
    const code = this.#known ?? (await this.#ask(connection).catch(() => UNKNOWN));
    this.#judgeBy(code);
  }

  /**
   * The same by what is known now or was known last, where the connection is gone or cannot be asked. `mayHaveRun`:
   * the statement at hand has been sent.
   */
  judgeUnasked(mayHaveRun: boolean): void {
    if (mayHaveRun) this.#unjudged.keepNext();
    if (this.hasUnjudged) this.#judgeBy(this.#known ?? this.#watch.lastKnown(this.#account) ?? UNKNOWN);
  }

  /** The session begins anew: nothing is left of its statements. */
  forget(): void {
    this.#unjudged.clear();
  }

  /** What is known of the account by a question that was put after that time; undefined: by none. */
  knownSince(sinceMs: number): HiddenCode | undefined {
    return this.#watch.knownSince(this.#account, sinceMs);
  }

  /** The same, after asking on this connection, which is at rest, when nobody has. Rejects as `HiddenCodeWatch.ask` does. */
  async askSince(connection: BackendConnection, sinceMs: number): Promise<HiddenCode> {
    return this.knownSince(sinceMs) ?? (await this.#ask(connection));
  }

  get #known(): HiddenCode | undefined {
    return this.#watch.known(this.#account, this.#parts.clock.nowMs());
  }

  /** It reads or writes, so that views and triggers may come in; a SET where it has a query in parentheses. */
  #setsOff(text: Buffer, start: number, end: number): boolean {
    const { class: kind, needs, leaves } = this.#parts.atHand.statement;
    if (kind === 'read' || kind === 'write' || (needs & Need.SEVERAL) !== 0) return true;
    if (kind === 'session' && (leaves & Leave.SETTINGS) !== 0) {
      const at = text.indexOf(PARENTHESIS, start);
      return at >= 0 && at < end;
    }
    // SET STATEMENT … FOR.
    return kind === 'unknown' && (leaves & Leave.ANYTHING) === 0;
  }

  /** Nobody can be asked now. Without any knowledge nothing but plain commands may run on a replica. */
  #defer(text: Buffer, start: number, end: number): void {
    const { atHand, isAway } = this.#parts;
    const code = this.#watch.lastKnown(this.#account) ?? (isAway() ? UNKNOWN : null);
    if (code !== null) this.#apply(code, text, start, end);
    const { command, statement } = atHand;
    const isJudged = (statement.leaves & Leave.ANYTHING) !== 0;
    // To prepare is not to run.
    if (isJudged || command === Command.STMT_PREPARE) return;
    this.#unjudged.next(text.toString('latin1', start, end), (statement.needs & Need.WRITE) !== 0);
  }

  #judgeBy(code: HiddenCode): void {
    if (this.#unjudged.mayHaveSetOff(code)) this.#record.pin('anything', this.#parts.clock.nowMs());
    this.#unjudged.clear();
  }

  async #ask(connection: BackendConnection): Promise<HiddenCode> {
    const nowMs = this.#parts.clock.nowMs();
    const side = this.#parts.isHome(connection) ? 'home' : 'replica';
    const code = await this.#watch.ask(this.#account, connection, this.#record.dialect, nowMs, side);
    if (this.#mayHaveBegun) await connection.execute('COMMIT AND NO CHAIN NO RELEASE');
    return code;
  }

  /** With autocommit off MySQL begins a transaction with the question. */
  get #mayHaveBegun(): boolean {
    const { autocommit, inTransaction, pins } = this.#record;
    return !autocommit && !inTransaction && !pins.has('error') && !pins.has('xa');
  }

  #apply(code: HiddenCode, text: Buffer, start: number, end: number): void {
    if (!this.#maySetOff) return;
    const { statement } = this.#parts.atHand;
    if ((statement.needs & Need.WRITE) !== 0 && code.triggers) statement.leaves |= Leave.ANYTHING;
    if (!mayName(code.views, text, start, end)) return;
    statement.needs |= Need.UNKNOWN_FUNCTION;
    statement.leaves |= Leave.ANYTHING;
  }
}
