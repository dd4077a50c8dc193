/**
 * Gets the command at hand to where its statement says: to the connection that the session has, to the one that
 * ran the statement before, home, or to a replica.
 *
 * The quick way is synchronous: a connection that idles with the right settings is attached, and the bytes go as
 * they lie; or they ride on a lane with those of others. Whatever has to be waited for goes the slow way: the
 * command is copied, a connection is found, taught what the command needs and brought to the session's settings,
 * and the copy is forwarded. The two ways stand in one file because they decide the same things, the second one
 * after a wait in which all may have changed.
 */
import type { Clock } from '../base/clock.ts';
import { isRefusal, refusal } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Lane } from '../backend/lane.ts';
import { Command, HEADER_BYTES } from '../protocol/constants.ts';
import { ServerError, toErrorPacket, writePayload } from '../protocol/packets.ts';
import { hasNoReply } from '../protocol/reply-tracker.ts';
import type { SplitView } from '../routing/split.ts';
import { Leave, Need } from '../sql/statement.ts';
import type { Aftermath } from './aftermath.ts';
import { READ_ONLY_ERRORS } from './answer-watch.ts';
import type { Attachment } from './attachment.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import type { SharedEndpoint } from './context.ts';
import type { HiddenCodeCheck } from './hidden-code-check.ts';
import { ReadRetry } from './read-retry.ts';
import type { ReadOnlyTransaction } from './read-only-transaction.ts';
import type { Relay } from './relay.ts';
import type { SessionChanges } from './session-changes.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';
import type { StatementCommands } from './statement-commands.ts';
import type { StatementStatistics } from './statement-statistics.ts';

/** The session whose commands they are, in its parts. */
export interface DeliveryParts {
  readonly view: SplitView;
  readonly dispatcher: {
    /** A mistake of ours: it is logged, and ends the session. */
    defect(error: unknown): void;
    /** What pinned the session is gone, before the command at hand was sent. */
    lostAtWork(backend: string, reason: string): void;
    /** The client had to be told first what it has lost: the command at hand is answered. */
    tellsOwed(): boolean;
  };
  readonly context: { readonly clock: Clock };
  readonly shared: SharedEndpoint;
  readonly endpoint: { readonly config: { readonly mode: 'write' | 'read' | 'split' } };
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly connections: SessionConnections;
  readonly attachment: Attachment;
  readonly aftermath: Aftermath;
  readonly changes: SessionChanges;
  readonly prepared: StatementCommands;
  readonly statistics: StatementStatistics;
  readonly readOnly: ReadOnlyTransaction;
  readonly hiddenCode: HiddenCodeCheck;
  readonly host: {
    /** Ends the session with an error. */
    fail(error: unknown): void;
    answerError(error: unknown): void;
    isOver(): boolean;
    background(work: Promise<void>): void;
  };
}

/** A read waits so long for a connection to a primary that may be dying. */
const MOST_FOR_ANSWER_MS = 1_000;

/** What a question after a statement on a replica may need besides: all of it is there, or is brought along. */
const MAY_ASK_ANYWHERE =
  Need.ROW_COUNT |
  Need.FOUND_ROWS |
  Need.DIAGNOSTICS |
  Need.LAST_INSERT_ID |
  Need.USER_VARIABLE |
  Need.SYSTEM_VARIABLE;

export class Delivery {
  readonly #view: SplitView;
  readonly #dispatcher: DeliveryParts['dispatcher'];
  readonly #clock: Clock;
  readonly #shared: SharedEndpoint;
  readonly #atHand: CommandAtHand;
  readonly #record: SessionRecord;
  readonly #relay: Relay;
  readonly #connections: SessionConnections;
  readonly #attachment: Attachment;
  readonly #aftermath: Aftermath;
  readonly #changes: SessionChanges;
  readonly #prepared: StatementCommands;
  readonly #statistics: StatementStatistics;
  readonly #readOnly: ReadOnlyTransaction;
  readonly #hiddenCode: HiddenCodeCheck;
  readonly #host: DeliveryParts['host'];
  readonly #retry = new ReadRetry();
  /** Home is the primary. */
  readonly #homeMayWrite: boolean;

  constructor(parts: DeliveryParts) {
    this.#view = parts.view;
    this.#dispatcher = parts.dispatcher;
    this.#clock = parts.context.clock;
    this.#shared = parts.shared;
    this.#atHand = parts.atHand;
    this.#record = parts.record;
    this.#relay = parts.relay;
    this.#connections = parts.connections;
    this.#attachment = parts.attachment;
    this.#aftermath = parts.aftermath;
    this.#changes = parts.changes;
    this.#prepared = parts.prepared;
    this.#statistics = parts.statistics;
    this.#readOnly = parts.readOnly;
    this.#hiddenCode = parts.hiddenCode;
    this.#host = parts.host;
    this.#homeMayWrite = parts.endpoint.config.mode !== 'read';
  }

  /** A new command. */
  begin(): void {
    this.#retry.begin();
  }

  /** Sends the command to where its statement says: now (true), or later. */
  go(bytes: Buffer, start: number, end: number): boolean {
    if (this.#readOnly.isAway && !this.#mayRunAway(bytes, start, end)) return false;
    this.#atHand.to = this.#atHand.destination(this.#view);
    if (this.#shared.hold.isOn && this.#mustHold) {
      this.goLater(Buffer.from(bytes.subarray(start, end)));
      return false;
    }
    const found = this.#quick();
    if (found instanceof Lane) return this.#ride(found, bytes, start, end);
    const connection = found;
    if (connection !== null && this.#prepared.fits(connection, bytes, start, end)) {
      this.#attachment.attach(connection);
      if (this.#mayBeSentAgain()) this.#retry.keep(bytes, start, end);
      return true;
    }
    if (connection !== null && connection !== this.#attachment.connection) {
      this.#connections.leave(connection, false);
    }
    this.goLater(Buffer.from(bytes.subarray(start, end)));
    return false;
  }

  /** Sends the command to where it has been decided that it goes. */
  goLater(payload: Buffer): void {
    this.#host.background(this.#goSlowly(payload));
  }

  /** It needs the primary while another server becomes that. What is open there may go on, until it is cut. */
  get #mustHold(): boolean {
    const { to, asksAfter } = this.#atHand;
    if (!this.#shared.hold.isOn || !this.#homeMayWrite || this.#record.pinned) return false;
    // Only the connection of the statement before can answer, as long as it is there.
    return to !== 'replica' && !(asksAfter && to !== 'home');
  }

  /** It can be where the session's READ ONLY transaction is; false: it cannot, and is taken care of. */
  #mayRunAway(bytes: Buffer, start: number, end: number): boolean {
    const { statement, runsStatement, command } = this.#atHand;
    if (command === Command.STMT_SEND_LONG_DATA) this.#readOnly.hasLongData();
    if (!runsStatement) return true;
    switch (this.#readOnly.detourOf(statement, this.#mayStay)) {
      case 'refused': {
        this.#host.answerError(refusal('DBPROXY_READ_ONLY_TRANSACTION', 'what this statement does'));
        return false;
      }
      case 'moves_home':
        this.#host.background(this.#goWithTransaction(Buffer.from(bytes.subarray(start, end))));
        return false;
      case 'ends_transaction':
      case 'none':
        if (statement.class === 'write') this.#relay.expectRefusal();
        return true;
    }
  }

  /** It may keep the session on its connection: a cursor, or a SET of what cannot be said again elsewhere. */
  get #mayStay(): boolean {
    return this.#prepared.opensCursor || this.#changes.mayPin;
  }

  /** The session's READ ONLY transaction moves home, and the command goes there with it. */
  async #goWithTransaction(payload: Buffer): Promise<void> {
    if (!(await this.#readOnly.moveHome())) return;
    this.#atHand.to = 'here';
    await this.#goSlowly(payload);
  }

  /** Holds a large command back until there is a connection at home; unless `isSeen`, it pins the session to that. */
  resumeLarge(ready: (connection: BackendConnection) => Promise<void>, isSeen: boolean): void {
    this.#host.background(this.#resumeLarge(ready, isSeen));
  }

  // The answer that does not come.

  /** The command at hand has been answered. */
  answered(): void {
    this.#retry.forget();
  }

  /** It is a read that can be sent again. */
  get mayGoAgain(): boolean {
    return this.#retry.isKept;
  }

  /** A copy of it, with its first byte. */
  get keptPayload(): Buffer {
    return this.#retry.take();
  }

  /** The replica has refused it, because something in it writes. */
  goHomeAgain(): void {
    this.#statistics.retried('refused');
    this.#goAgain('home');
  }

  /** The backend has lost it: false when it cannot be sent again. */
  goElsewhere(backend: string): boolean {
    if (!this.mayGoAgain || !this.#retry.mayTryAgain()) return false;
    this.#retry.excluded.add(backend);
    this.#statistics.retried('lost');
    this.#goAgain(this.#atHand.side);
    return true;
  }

  #goAgain(to: 'home' | 'replica'): void {
    this.#atHand.to = to;
    this.goLater(this.#retry.take());
  }

  #mayBeSentAgain(): boolean {
    if (!this.#atHand.mayRunTwice || this.#record.pinned) return false;
    if (this.#atHand.to === 'replica') this.#relay.expectRefusal();
    return true;
  }

  // The quick way.

  #quick(): BackendConnection | Lane | null {
    const { to, asksInsertId, asksPreviousValue, isInInput } = this.#atHand;
    if (to === 'here') {
      const { connection } = this.#attachment;
      if (connection === null || connection.closed || this.#readOnly.endsNow) return null;
      if (this.#asksElsewhere(connection)) return null;
      return asksInsertId && !this.#connections.insertId.isOn(connection) ? null : connection;
    }
    const mustWait = asksInsertId || asksPreviousValue || this.#hiddenCode.isDue;
    if (mustWait || to === 'last') return null;
    const mayShare = isInInput && this.#mayShare();
    return this.#connections.quick(to, mayShare ? this.#shared.laneTerms : null);
  }

  /** It asks after a statement that ran on another connection, before the session was pinned to this one. */
  #asksElsewhere(connection: BackendConnection): boolean {
    if (!this.#atHand.asksAfter) return false;
    const { needs } = this.#atHand.statement;
    return (needs & Need.SEVERAL) === 0 && this.#aftermath.isElsewhere(needs, connection);
  }

  /** It depends on nothing, is fast, and nobody has had to ask after one like it. */
  #mayShare(): boolean {
    const { laneTerms } = this.#shared;
    // What it may set off is asked on a connection of its own.
    if (laneTerms === null || this.#atHand.ridesAlone || this.#hiddenCode.isDue) return false;
    if (!this.#atHand.isPlain) return false;
    return this.#statistics.isFast(laneTerms.fastMs);
  }

  /** Travels together with statements of others. */
  #ride(lane: Lane, bytes: Buffer, start: number, end: number): boolean {
    if (!this.#prepared.fits(lane.connection, bytes, start, end)) {
      // It has to be taught there first, on a connection of its own.
      this.#atHand.ridesAlone = true;
      lane.cancel();
      this.goLater(Buffer.from(bytes.subarray(start, end)));
      return false;
    }
    if (this.#mayBeSentAgain()) this.#retry.keep(bytes, start, end);
    this.#attachment.beginRide(lane);
    this.#relay.ride(lane, bytes, start, end);
    return false;
  }

  // The slow way.

  async #goSlowly(payload: Buffer): Promise<void> {
    let connection: BackendConnection | null = null;
    try {
      await this.#attachment.settled();
      if (this.#host.isOver()) return;
      if (this.#mustHold) await this.#shared.hold.released();
      if (this.#host.isOver() || this.#dispatcher.tellsOwed()) return;
      // The connection that it was to go to may be gone meanwhile.
      if (this.#attachment.connection?.closed === true && !this.#record.pinned)
        this.#attachment.leaveFailed();
      if (this.#atHand.to === 'here' && this.#attachment.connection === null) {
        this.#atHand.to = this.#atHand.destination(this.#view);
      }
      if (this.#hiddenCode.isDue && this.#atHand.to === 'replica') await this.#askHome(payload);
      if (this.#host.isOver()) return;
      const found = await this.#obtain();
      if (found instanceof Lane) return this.#rideLate(found, payload);
      connection = found;
      await this.#goOn(connection, payload);
    } catch (error) {
      this.#failed(error, connection, payload);
    } finally {
      this.#attachment.tellLeft();
    }
  }

  /** The connection is made ready for the command, which then is sent on it; or it begins anew on another one. */
  async #goOn(connection: BackendConnection, payload: Buffer): Promise<void> {
    this.#attachment.beginPreparing(connection);
    if (this.#host.isOver()) return this.#attachment.abandon(connection);
    if (this.#hiddenCode.isDue && !(await this.#staysAfterAsking(connection, payload))) return;
    const commands = await this.#bring(connection);
    const fitted = this.#prepared.fitted(connection, payload);
    if (this.#host.isOver()) return this.#attachment.abandon(connection);
    // Meanwhile another server may have become the primary: nothing has been sent to this one.
    if (!this.#record.pinned && !this.#connections.mayServe(connection, this.#atHand.side)) {
      if (this.#record.nextToRepeat === null) this.#attachment.putBack(connection);
      else this.#attachment.abandon(connection);
      if (this.#atHand.to === 'here') this.#atHand.to = 'home';
      return this.goLater(payload);
    }
    if (this.#connections.isHome(connection)) this.#record.nextIsRepeated(this.#clock.nowMs());
    // It may have gone while another one was waited for.
    if (connection.closed) throw refusal('DBPROXY_BACKEND_LOST', connection.backend, 'it was closed');
    this.#attachment.attach(connection);
    if (this.#mayBeSentAgain()) this.#retry.keep(payload, 0, payload.length);
    if (commands.length === 0) this.#relay.forward(fitted);
    else this.#relay.forwardAfter(commands, fitted);
  }

  /** What had to wait travels on a lane after all. */
  #rideLate(lane: Lane, payload: Buffer): void {
    if (this.#host.isOver()) return lane.cancel();
    const packet = writePayload(0, payload);
    this.#ride(lane, packet, HEADER_BYTES, packet.length);
  }

  /** Nothing of the client's was sent: another server may do, home may do, or the client hears of it. */
  #failed(error: unknown, connection: BackendConnection | null, payload: Buffer): void {
    const mayGoHome = connection !== null && this.#isRefusedRead(error);
    const mayGoAgain = connection !== null && this.#isLostBefore(connection);
    const wasPinned = this.#record.pinned;
    if (connection !== null) this.#attachment.abandon(connection);
    if (this.#host.isOver()) return;
    // What pinned the session is gone with its connection.
    if (wasPinned && connection?.closed === true) {
      return this.#dispatcher.lostAtWork(connection.backend, toErrorPacket(error).message);
    }
    // A mistake of ours.
    if (error instanceof TypeError) return this.#dispatcher.defect(error);
    if (mayGoAgain) {
      this.#statistics.retried('lost');
      this.#retry.excluded.add(connection.backend);
      return this.goLater(payload);
    }
    // The client does not wait for an answer, and would take it for that of its next command.
    if (hasNoReply(this.#atHand.command)) return this.#host.fail(error);
    // Without its password no server lets it in again: its client has to log in anew.
    if (isRefusal(error) && error.code === 'DBPROXY_BACKEND_LOGIN') return this.#host.fail(error);
    if (!mayGoHome) return this.#host.answerError(error);
    this.#statistics.retried('refused');
    this.#atHand.to = 'home';
    this.goLater(payload);
  }

  /** The connection broke while it was being prepared. */
  #isLostBefore(connection: BackendConnection): boolean {
    return connection.closed && !this.#record.pinned && this.#retry.mayTryAgain();
  }

  /** A replica will not even prepare the statement, because something in it writes. */
  #isRefusedRead(error: unknown): boolean {
    const { to, statement } = this.#atHand;
    if (to !== 'replica' || statement.class !== 'read' || this.#record.pinned) return false;
    return error instanceof ServerError && READ_ONLY_ERRORS.has(error.packet.errno);
  }

  async #obtain(): Promise<BackendConnection | Lane> {
    if (this.#atHand.to === 'here' && this.#readOnly.endsNow) {
      await this.#readOnly.end();
      this.#atHand.to = this.#atHand.destination(this.#view);
    }
    const { to, statement, asksPreviousValue } = this.#atHand;
    switch (to) {
      case 'here': {
        const { connection } = this.#attachment;
        if (connection === null) throw new TypeError('a pinned session has no connection');
        if (this.#asksElsewhere(connection)) throw stateGone();
        return connection;
      }
      case 'last':
        return this.#aftermath.obtainLast(statement.needs, this.#mayRunOnReplica);
      case 'home':
      case 'replica': {
        if (asksPreviousValue) return this.#aftermath.obtainSequence();
        const terms = this.#mayShare() ? this.#shared.laneTerms : null;
        return terms === null
          ? this.#connections.obtain(to, this.#retry.excluded)
          : this.#connections.obtainShared(to, this.#retry.excluded, terms);
      }
    }
  }

  /**
   * A replica's connection serves reads, what assigns their outcome to variables that can be read back, and what
   * every server refuses alike.
   */
  get #mayRunOnReplica(): boolean {
    const { class: kind, needs, leaves } = this.#atHand.statement;
    const isRead = kind === 'read' && (needs & ~MAY_ASK_ANYWHERE) === 0 && (leaves & ~Leave.FOUND_ROWS) === 0;
    return isRead || this.#changes.assignsVariables || this.#prepared.namesNone;
  }

  /** Has home asked for hidden code, and judges the command anew. Where home cannot be asked the replica is, later on. */
  async #askHome(payload: Buffer): Promise<void> {
    const isAsked = await this.#attachment.atHome(MOST_FOR_ANSWER_MS, (connection) =>
      this.#hiddenCode.ask(connection, this.#prepared.textToRun ?? payload),
    );
    if (isAsked) this.#atHand.to = this.#atHand.destination(this.#view);
  }

  /**
   * Asks the server at hand for hidden code, on a connection that nothing pins the session to, and judges the command
   * anew. False: it does not belong there, and is taken care of.
   */
  async #staysAfterAsking(connection: BackendConnection, payload: Buffer): Promise<boolean> {
    if (connection === this.#attachment.connection) this.#attachment.detach();
    await this.#hiddenCode.ask(connection, this.#prepared.textToRun ?? payload);
    this.#atHand.to = this.#atHand.destination(this.#view);
    if (this.#atHand.to !== 'home' || this.#connections.isHome(connection)) return true;
    this.#attachment.putBack(connection);
    this.goLater(payload);
    return false;
  }

  /** Brings the connection to what the command needs. Answers commands that go before it in the same write. */
  async #bring(connection: BackendConnection): Promise<readonly Buffer[]> {
    if (this.#maySendBehind(connection) && !this.#prepared.runs) {
      const commands = this.#connections.bringAlong(connection);
      if (commands !== null) return commands;
    }
    if (connection === this.#attachment.connection) this.#attachment.detach();
    await this.#prepared.teach(connection);
    if (this.#prepared.addsToForeign(connection)) await connection.forgetDiagnostics();
    await this.#connections.bring(connection);
    // To come to the settings the connection may have had to begin anew.
    if (!this.#prepared.isTaught(connection)) {
      await this.#prepared.teach(connection);
      await this.#connections.bring(connection);
    }
    if (this.#atHand.asksInsertId) await this.#bringInsertId(connection);
    const { nextToRepeat } = this.#record;
    if (nextToRepeat !== null && this.#connections.isHome(connection)) await connection.execute(nextToRepeat);
    // To get it ready has wiped out what is asked.
    if (this.#atHand.asksAfter && this.#aftermath.isGone(this.#atHand.statement.needs)) throw stateGone();
    return [];
  }

  async #bringInsertId(connection: BackendConnection): Promise<void> {
    const { insertId } = this.#connections;
    if (this.#changes.asksByNull && !insertId.isFirstHand(connection)) throw stateGone();
    // To set the one would wipe out the other.
    if (this.#atHand.asksAfter && !insertId.isOn(connection)) throw stateGone();
    await insertId.bring(connection);
  }

  /** A read that may be sent behind what it needs, because nothing is lost when that fails. */
  #maySendBehind(connection: BackendConnection): boolean {
    const { isRepeatable, to } = this.#atHand;
    const isFree = !this.#record.pinned && connection !== this.#attachment.connection;
    return isRepeatable && isFree && to === 'replica';
  }

  // A command too large to be looked at.

  async #resumeLarge(
    ready: (connection: BackendConnection) => Promise<void>,
    isSeen: boolean,
  ): Promise<void> {
    let connection: BackendConnection | null = null;
    try {
      await this.#attachment.settled();
      if (this.#shared.hold.isOn && this.#homeMayWrite && !this.#record.pinned) {
        await this.#shared.hold.released();
      }
      connection = this.#attachment.connection ?? (await this.#attachment.obtainHome());
      this.#attachment.beginPreparing(connection);
      this.#attachment.detach();
      if (this.#host.isOver()) return this.#attachment.abandon(connection);
      await ready(connection);
      await this.#connections.bring(connection);
      if (this.#host.isOver()) return this.#attachment.abandon(connection);
      if (!this.#record.pinned && !this.#connections.mayServe(connection, 'home')) {
        throw refusal('DBPROXY_SESSION_ENDED', 'another server has become the primary');
      }
      this.#attachment.attach(connection);
      if (!isSeen) this.#record.pin('unseen', this.#clock.nowMs());
      this.#relay.resumeLarge();
    } catch (error) {
      // Its bytes are still to come: nothing can be answered before them.
      if (!this.#host.isOver()) this.#host.fail(error);
      if (connection !== null) this.#attachment.abandon(connection);
    } finally {
      this.#attachment.tellLeft();
    }
  }
}

/** What it asks for is known to no connection that it may have. */
function stateGone(): Error {
  return refusal('DBPROXY_STATE_GONE', 'what this statement asks for');
}
