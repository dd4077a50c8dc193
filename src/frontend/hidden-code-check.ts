/**
 * Whether the statement at hand may set off code that is not in its text (see hidden-code.ts). What is known of
 * the account's triggers and views is applied at once; where nothing is known a server has to be asked first.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Leave, Need, type Statement } from '../sql/statement.ts';
import { ASKS_AFTER, type CommandAtHand } from './command-at-hand.ts';
import { mayName, UNKNOWN, type HiddenCode, type HiddenCodeWatch } from './hidden-code.ts';
import type { SessionRecord } from './session-record.ts';

export class HiddenCodeCheck {
  readonly #watch: HiddenCodeWatch;
  readonly #account: string;
  readonly #clock: Clock;
  readonly #statement: Statement;
  readonly #record: SessionRecord;
  #isDue = false;

  constructor(
    watch: HiddenCodeWatch,
    account: string,
    clock: Clock,
    { statement }: CommandAtHand,
    record: SessionRecord,
  ) {
    this.#watch = watch;
    this.#account = account;
    this.#clock = clock;
    this.#statement = statement;
    this.#record = record;
  }

  /** A server must be asked before the statement at hand is sent. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** A new command. */
  begin(): void {
    this.#isDue = false;
  }

  /** Notes what the statement at hand, whose text this is, may set off. */
  look(text: Buffer, start: number, end: number): void {
    this.#isDue = false;
    const { class: kind, needs } = this.#statement;
    // A transaction ends, and what was left in it stays.
    const isPinnedAnyway = this.#record.pins.has('anything');
    if (isPinnedAnyway || (needs & ASKS_AFTER) !== 0 || (kind !== 'read' && kind !== 'write')) return;
    const code = this.#watch.known(this.#account, this.#clock.nowMs()) ?? this.#unasked;
    if (code === undefined) this.#isDue = true;
    else this.#apply(code, text, start, end);
  }

  /** The question would be the transaction that SET TRANSACTION was for. */
  get #unasked(): HiddenCode | undefined {
    return this.#record.pins.has('next_transaction') ? UNKNOWN : undefined;
  }

  /** The same, after asking on this connection, which is at rest. Rejects as `HiddenCodeWatch.ask` does. */
  async ask(connection: BackendConnection, text: Buffer): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const code = await this.#watch.ask(this.#account, connection, this.#record.dialect, nowMs);
    // Not before: when this connection breaks, the next one is asked.
    this.#isDue = false;
    if (this.#mayHaveBegun) await connection.execute('COMMIT AND NO CHAIN NO RELEASE');
    this.#apply(code, text, 0, text.length);
  }

  /** With autocommit off MySQL begins a transaction with the question. */
  get #mayHaveBegun(): boolean {
    const { autocommit, inTransaction, pins } = this.#record;
    return !autocommit && !inTransaction && !pins.has('error') && !pins.has('xa');
  }

  #apply(code: HiddenCode, text: Buffer, start: number, end: number): void {
    const statement = this.#statement;
    if (statement.class === 'write' && code.triggers) statement.leaves |= Leave.ANYTHING;
    if (!mayName(code.views, text, start, end)) return;
    statement.needs |= Need.UNKNOWN_FUNCTION;
    statement.leaves |= Leave.ANYTHING;
  }
}
