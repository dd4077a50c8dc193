/**
 * The command that a session is at: what the classifier says of it, where it goes, and what decides how it may
 * get there. A session has one of these, filled anew for each command; whoever works on the command reads it.
 */
import { Command } from '../protocol/constants.ts';
import { destinationOf, type Destination, type SplitView } from '../routing/split.ts';
import { Need, Statement, type RouteHint } from '../sql/statement.ts';
import { onlyMarksTransaction } from './lost-connection.ts';
import type { Side } from './side.ts';

/** It asks after the statement before. */
export const ASKS_AFTER = Need.DIAGNOSTICS | Need.ROW_COUNT | Need.FOUND_ROWS;

export class CommandAtHand {
  /** Its first byte; 0 before the first one. */
  command = 0;
  /** What the classifier says of it. */
  readonly statement = new Statement();
  /** What a rule asks for. */
  wish: RouteHint = 'none';
  /** Where it goes, as it has been decided. */
  to: Destination = 'home';
  /** It lies in the client's input, with its header before it. */
  isInInput = false;
  /** It does not fit on a lane. */
  ridesAlone = false;
  /** It asks for the value that a sequence has given before. */
  asksPreviousValue = false;
  /** It is a ROLLBACK of the whole transaction, perhaps with AND CHAIN or RELEASE. */
  isRollback = false;
  /** It may change the settings or the database. */
  changesSession = false;

  begin(command: number): void {
    this.command = command;
    this.wish = 'none';
    this.ridesAlone = false;
    this.asksPreviousValue = false;
    this.changesSession = false;
    this.isRollback = false;
  }

  /** It is no statement that could be classified. */
  as(needs: number, leaves: number): void {
    const { statement } = this;
    statement.class = (needs & Need.SESSION) === 0 ? 'unknown' : 'session';
    statement.needs = needs;
    statement.leaves = leaves;
    statement.hint = 'none';
    statement.digestHigh = 0;
    statement.digestLow = 0;
  }

  /** It runs a statement, in text or prepared. */
  get runsStatement(): boolean {
    const { command } = this;
    return (
      command === Command.QUERY || command === Command.STMT_EXECUTE || command === Command.STMT_BULK_EXECUTE
    );
  }

  /** Where it should go, as the session is now. */
  destination(session: SplitView): Destination {
    return destinationOf(this.statement, session, this.wish);
  }

  /** Where it goes, when that is not a connection that the session has. */
  get side(): Side {
    return this.to === 'replica' ? 'replica' : 'home';
  }

  /** Nothing comes of it when it is run a second time, and no transaction is open. */
  get mayRunTwice(): boolean {
    if (this.command === Command.STMT_PREPARE || this.isRepeatable) return true;
    return this.runsStatement && onlyMarksTransaction(this.statement.needs, this.statement.leaves);
  }

  /** Nothing is lost when it is run a second time: a read that needs at most the values of user variables. */
  get isRepeatable(): boolean {
    const { class: kind, needs } = this.statement;
    return kind === 'read' && (needs & ~Need.USER_VARIABLE) === 0;
  }

  /** It depends on nothing and leaves nothing, so that it may travel among statements of others. */
  get isPlain(): boolean {
    const { class: kind, needs, leaves } = this.statement;
    return kind === 'read' && needs === 0 && leaves === 0 && this.command !== Command.STMT_PREPARE;
  }

  get asksInsertId(): boolean {
    return (this.statement.needs & Need.LAST_INSERT_ID) !== 0;
  }

  /** It asks after the statement before, by its warnings, its ROW_COUNT() or its FOUND_ROWS(). */
  get asksAfter(): boolean {
    return (this.statement.needs & ASKS_AFTER) !== 0;
  }
}
