/**
 * The dispatcher of one session that changes connections (mode = split, or pool = transaction): it sees each
 * command before a byte of it is sent, has it go where it may, and takes note of what it has left. The relay
 * moves the bytes. The rooms around it, each of which knows little of the others:
 *
 *   command-at-hand.ts        what is known of the command, one record for all who work on it
 *   command-kinds.ts          which commands are treated alike
 *   text-statements.ts        commands that are text: classified, judged
 *   statement-commands.ts     prepared statements
 *   delivery.ts               the way of a command to a connection: the quick one, the slow one, once again
 *   attachment.ts             the connection that the session has in its hands
 *   session-connections.ts    finding, keeping and giving back connections
 *   read-only-transaction.ts  READ ONLY transactions on a replica
 *   hidden-code-check.ts, unjudged-statements.ts
 *                             what a statement may set off that is not in its text
 *   aftermath.ts              what may be asked after a statement
 *   connection-loss.ts, lost-connection.ts, hidden-writes.ts, transaction-trail.ts, commit-marks.ts
 *                             what becomes of the session when its connection is lost
 *   hold.ts                   waiting while another server becomes the primary
 *   session-record.ts, session-changes.ts, session-reset.ts
 *                             what the session is, how statements change that, how it begins anew
 *   statement-statistics.ts   counting
 *
 * Nearly every statement takes the way that is synchronous from here to the relay, without a promise, a closure
 * or a copy of its own.
 */
import { refusal } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { initialSettings, type Preparation } from '../backend/wish.ts';
import type { Lane } from '../backend/lane.ts';
import { Command, Status } from '../protocol/constants.ts';
import { writeOk } from '../protocol/packets.ts';
import type { Destination, SplitView, StatementView } from '../routing/split.ts';
import type { KillStatement } from '../sql/kill.ts';
import type { Assignment } from '../sql/set-statement.ts';
import { Leave, Need, type Statement } from '../sql/statement.ts';
import { Aftermath } from './aftermath.ts';
import { Attachment } from './attachment.ts';
import { CommandAtHand } from './command-at-hand.ts';
import { MAY_LEAVE_UNREAD, PLAIN_COMMANDS, REPLICATION_COMMANDS } from './command-kinds.ts';
import { CommitMarker } from './commit-marks.ts';
import { ConnectionLoss, isRollback } from './connection-loss.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import { Delivery } from './delivery.ts';
import { dialectOf } from './dialect.ts';
import type { SessionRequest } from './session-request.ts';
import { HiddenCodeCheck } from './hidden-code-check.ts';
import { ReadOnlyTransaction, type Detour } from './read-only-transaction.ts';
import { isInTransaction, rollsBack } from './lost-connection.ts';
import type { Dispatcher, Relay } from './relay.ts';
import { SessionChanges } from './session-changes.ts';
import { SessionConnections } from './session-connections.ts';
import { staysHome } from './shared-endpoint.ts';
import { SessionRecord, type Pin } from './session-record.ts';
import { resetSession, type ResetParts } from './session-reset.ts';
import { StatementCommands, type StatementHost } from './statement-commands.ts';
import { StatementStatistics } from './statement-statistics.ts';
import { TextStatements, type TextHost } from './text-statements.ts';
import { TransactionTrail } from './transaction-trail.ts';

/** The session that the dispatcher works for. */
export interface DispatchHost {
  /** What it asks of a pool: who it is, and the first state of a connection for it. */
  readonly request: SessionRequest;
  /** Since when the command at hand is under way, or the session at rest. */
  readonly sinceMs: number;
  /** Answers a command that no server is asked. */
  answer(bytes: Buffer): void;
  answerError(error: unknown): void;
  kill(payload: Buffer, kill: KillStatement): void;
  /** Looks at a statement of a read endpoint, whose text begins at `text`; true: it has been answered here. */
  answersRead(bytes: Buffer, start: number, text: number, end: number): boolean;
  /** Ends the session with an error. */
  fail(error: unknown): void;
  isOver(): boolean;
  background(work: Promise<void>): void;
}

/** Flags that say how the session is, not what the last statement did. */
const LASTING_STATUS =
  Status.AUTOCOMMIT |
  Status.IN_TRANS |
  Status.IN_TRANS_READONLY |
  Status.NO_BACKSLASH_ESCAPES |
  Status.ANSI_QUOTES;

/** What such a statement does may be logged, though it is no write by its text. */
const MAY_WRITE_UNSEEN = Need.SEQUENCE | Need.UNKNOWN_FUNCTION | Need.AMBIGUOUS;

/** How the last statement has been answered; `by` null: by dbproxy itself. */
export interface LastRoute {
  readonly statement: StatementView & Pick<Statement, 'digestHigh' | 'digestLow'>;
  readonly to: Destination;
  readonly by: string | null;
  readonly atHome: boolean;
}

export class StatementDispatcher implements Dispatcher, SplitView, StatementHost, TextHost {
  readonly record: SessionRecord;
  readonly connections: SessionConnections;
  readonly relay: Relay;
  readonly splits: boolean;
  /** It keeps one connection, to the primary, as long as that is the primary. */
  readonly staysHome: boolean;
  readonly seesAll: boolean;
  /** What the classifier says of the command at hand. */
  readonly statement: Statement;
  readonly #context: SessionContext;
  readonly #shared: SharedEndpoint;
  readonly #host: DispatchHost;
  readonly #user: string;
  readonly #cluster: string;
  readonly #atHand = new CommandAtHand();
  readonly #aftermath: Aftermath;
  readonly #attachment: Attachment;
  readonly #statistics: StatementStatistics;
  readonly #hiddenCode: HiddenCodeCheck;
  readonly #readOnly: ReadOnlyTransaction;
  readonly #changes: SessionChanges;
  readonly #prepared: StatementCommands;
  readonly #delivery: Delivery;
  readonly #text: TextStatements;
  readonly #resetParts: ResetParts;
  readonly #loss: ConnectionLoss;
  readonly #trail = new TransactionTrail();
  /** Null: commits are not marked. */
  readonly #marker: CommitMarker | null;
  /** What the command at hand will pin the session by when it has been answered. */
  #pinAfter: { readonly pin: Pin; readonly nowMs: number } | null = null;

  constructor(
    context: SessionContext,
    endpoint: SessionEndpoint,
    shared: SharedEndpoint,
    host: DispatchHost,
    makeRelay: (dispatcher: Dispatcher) => Relay,
  ) {
    const { request } = host;
    const { user, capabilities } = request.identity;
    const account = request.identity.key;
    const facts = shared.facts();
    const settings = initialSettings(request.preparation);
    const dialect = dialectOf(facts, settings, request.preparation);
    const record = new SessionRecord(settings, dialect, facts.transactionNames.readOnly);
    const connections = new SessionConnections(context, endpoint, shared, request, record, host);
    const atHand = this.#atHand;
    this.#context = context;
    this.#shared = shared;
    this.#host = host;
    this.#user = user;
    this.#cluster = endpoint.config.cluster;
    this.splits = endpoint.config.mode === 'split';
    this.staysHome = staysHome(endpoint.config);
    this.seesAll = endpoint.config.causalReads === 'global';
    this.statement = atHand.statement;
    this.record = record;
    this.connections = connections;
    this.relay = makeRelay(this);

    // The rooms, each with those that it works with.
    const { relay } = this;
    const aftermath = new Aftermath(this, connections);
    const sessionParts = {
      user: this,
      view: this,
      context,
      endpoint,
      shared,
      host,
      staysHome: this.staysHome,
    };
    const given = { ...sessionParts, record, connections, relay };
    const first = { ...given, dispatcher: this, atHand, aftermath };
    const hiddenCode = new HiddenCodeCheck({
      watch: shared.hiddenCode,
      account,
      clock: context.clock,
      atHand,
      record,
      isHome: (connection) => connections.isHome(connection),
      isAway: () => this.#readOnly.isAway,
    });
    const attachment = new Attachment({ ...first, hiddenCode });
    const statistics = new StatementStatistics(first);
    const readOnly = new ReadOnlyTransaction({ ...first, attachment, hiddenCode });
    const changes = new SessionChanges({
      record,
      relay,
      known: shared.knownSettings,
      account,
      capabilities,
      facts: () => shared.facts(),
      staysHome: this.staysHome,
      nowMs: () => context.clock.nowMs(),
      isAskedAfter: () => aftermath.isAskedAfter,
      settleBy: (work) => attachment.settleBy(work),
      setRead: () => {
        if (!record.pinned) aftermath.setRead();
      },
      isHome: (connection) => connections.isHome(connection),
    });
    const prepared = new StatementCommands(this, endpoint.config, request.identity);
    const parts = { ...first, attachment, statistics, hiddenCode, readOnly, changes, prepared };
    const delivery = new Delivery(parts);
    this.#aftermath = aftermath;
    this.#attachment = attachment;
    this.#statistics = statistics;
    this.#hiddenCode = hiddenCode;
    this.#readOnly = readOnly;
    this.#changes = changes;
    this.#prepared = prepared;
    this.#delivery = delivery;
    this.#text = new TextStatements({ ...parts, delivery }, facts);
    this.#resetParts = parts;
    const trail = this.#trail;
    const answerOk = (): void => this.answerPlainOk();
    const { marks } = shared;
    this.#marker =
      marks === null ? null : new CommitMarker({ marks, atHand, record, relay, trail, capabilities });
    this.#loss = new ConnectionLoss({ ...parts, delivery, trail, cluster: this.#cluster, user, answerOk });
  }

  /** The session has a connection before its first statement. */
  beginOn(connection: BackendConnection): void {
    const { backend } = connection;
    this.#attachment.attach(connection);
    // To log in took time.
    if (!this.connections.mayServe(connection, 'home')) this.leave(backend, () => undefined);
  }

  /** For a change of user, which takes away all that is left on a connection: the one it has; null: none. */
  handOver(): BackendConnection | null {
    return this.staysHome && !this.#shared.hold.isOn ? this.#attachment.handOver() : null;
  }

  // What the decision looks at (SplitView), and what EXPLAIN tells.

  get pinned(): boolean {
    return this.record.pinned || (this.staysHome && this.#attachment.connection !== null);
  }

  get autocommit(): boolean {
    return this.record.autocommit;
  }

  /** The connection in use now, or the one that the session is pinned to. */
  get attached(): BackendConnection | null {
    return this.#attachment.connection;
  }

  /** The first state of its connections. */
  get preparation(): Preparation {
    return this.#host.request.preparation;
  }

  /** It has written something that its reads must see. */
  get hasWritten(): boolean {
    return this.record.hasWritten || this.connections.position !== null;
  }

  /** The server's last word, without what it said of the last statement. */
  get lastingStatus(): number {
    return this.record.status & LASTING_STATUS;
  }

  get statements(): StatementCommands {
    return this.#prepared;
  }

  get counts(): StatementStatistics['counts'] {
    return this.#statistics.counts;
  }

  /** Null before the first statement. */
  get lastRoute(): LastRoute | null {
    const { command, statement, to } = this.#atHand;
    const { answeredBy, answeredAtHome } = this.#statistics;
    return command === 0 ? null : { statement, to, by: answeredBy, atHome: answeredAtHome };
  }

  /** A server has answered this SET before, so that dbproxy can. */
  knowsSet(text: string): boolean {
    return this.#changes.knows(text);
  }

  /** See Aftermath.connectionToAsk. */
  connectionToAsk(needs: number): BackendConnection | 'gone' | null {
    return this.#aftermath.connectionToAsk(needs);
  }

  /** What a READ ONLY transaction on a replica means for a statement. */
  detourOf(statement: StatementView): Detour {
    return this.#readOnly.detourOf(statement, false);
  }

  // What the relay asks: where a command goes.

  route(command: number, bytes: Buffer, start: number, end: number): boolean {
    try {
      return this.#route(command, bytes, start, end);
    } catch (error) {
      this.defect(error);
      return false;
    }
  }

  #route(command: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#attachment.isSettling) return this.#routeWhenSettled(bytes, start, end);
    if (this.#changes.isPending && !MAY_LEAVE_UNREAD.has(command)) {
      return this.readPending(bytes, start, end);
    }
    if (this.#loss.isOwed && this.#loss.tells(command, isRollback(command, bytes, start, end))) return false;
    this.#begin(command);
    this.#atHand.isInInput = start > 0;
    switch (command) {
      case Command.QUERY:
        return this.#text.route(bytes, start, end) && this.#marker?.sends(bytes, start, end) !== true;
      case Command.STMT_PREPARE:
        return this.#text.route(bytes, start, end);
      case Command.STMT_EXECUTE:
      case Command.STMT_BULK_EXECUTE:
        return this.#prepared.execute(command, bytes, start, end);
      case Command.STMT_FETCH:
        return this.#prepared.fetch(bytes, start, end);
      case Command.STMT_RESET:
        return this.#prepared.reset(bytes, start, end);
      case Command.STMT_CLOSE:
        return this.#prepared.close(bytes, start, end);
      case Command.STMT_SEND_LONG_DATA:
        return this.#prepared.longData(bytes, start, end);
      case Command.PING:
        return this.#ping();
      case Command.INIT_DB:
        this.#atHand.as(Need.SESSION, Leave.DATABASE);
        this.#changes.selects(bytes.toString('latin1', start + 1, end));
        this.#atHand.changesSession = true;
        return this.go(bytes, start, end);
      default:
        return this.#other(command, bytes, start, end);
    }
  }

  routeLarge(command: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#loss.isOwed && this.#loss.tells(command, false)) return false;
    this.#begin(command);
    this.#atHand.as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
    if (command !== Command.QUERY) return this.#prepared.large(command, bytes, start, end);
    this.resumeLarge(() => Promise.resolve(), false);
    return false;
  }

  #begin(command: number): void {
    this.#atHand.begin(command);
    this.#pinAfter = null;
    this.#statistics.begin();
    this.#hiddenCode.begin();
    this.#delivery.begin();
    this.#changes.begin();
    this.relay.expectNothing();
    this.connections.begin();
    this.#prepared.begin();
  }

  /** The command at hand comes again when the work that is under way has been done. */
  #routeWhenSettled(bytes: Buffer, start: number, end: number): false {
    const payload = Buffer.from(bytes.subarray(start, end));
    this.#host.background(this.#attachment.settled().then(() => this.#routeAgain(payload)));
    return false;
  }

  #routeAgain(payload: Buffer): void {
    if (this.#host.isOver()) return;
    if (this.route(payload[0]!, payload, 0, payload.length)) this.relay.forward(payload);
  }

  /** The values that a SET with warnings has set are asked for before the command at hand, which then comes again. */
  readPending(bytes: Buffer, start: number, end: number): false {
    this.#attachment.settleBy(this.#changes.takePending());
    return this.#routeWhenSettled(bytes, start, end);
  }

  /** The connection that ran the last statement answers with its warnings; where there are none, dbproxy does. */
  #ping(): boolean {
    this.#atHand.as(Need.DIAGNOSTICS, Leave.FOUND_ROWS);
    if (this.attached !== null) return true;
    const last = this.#aftermath.takeComplaining();
    if (last !== null) {
      this.#attachment.attach(last);
      return true;
    }
    this.answerPlainOk();
    return false;
  }

  #other(command: number, bytes: Buffer, start: number, end: number): boolean {
    if (command === Command.SET_OPTION) {
      this.#atHand.as(Need.SESSION, 0);
      this.#pinWhenAnswered('set_option');
    } else if (REPLICATION_COMMANDS.has(command)) {
      this.#atHand.as(Need.UNKNOWN_STATEMENT, 0);
      this.#pinWhenAnswered('replication');
    } else if (PLAIN_COMMANDS.has(command)) {
      this.#atHand.as(Need.UNKNOWN_STATEMENT, 0);
      if (command === Command.DROP_DB) {
        this.#changes.drops();
        this.#atHand.changesSession = true;
      }
    } else this.#atHand.as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
    return this.go(bytes, start, end);
  }

  #pinWhenAnswered(pin: Pin): void {
    this.#pinAfter = { pin, nowMs: this.#context.clock.nowMs() };
  }

  // What the relay tells: how the server has answered, or has not.

  onAnswered(): void {
    try {
      this.#answered();
    } catch (error) {
      this.defect(error);
    }
  }

  #answered(): void {
    const { lane } = this.#attachment;
    if (lane !== null) return this.#rideEnded(lane);
    const connection = this.attached!;
    const { tracker } = this.relay;
    const { needs, leaves } = this.statement;
    const { errno } = tracker;
    const isPrepare = this.#atHand.command === Command.STMT_PREPARE;
    // A PREPARE changes nothing, and its OK has no flags: what the tracker has are those of somebody before.
    const status = isPrepare ? this.record.status : tracker.status;
    const atHome = this.connections.isHome(connection);
    this.#statistics.answered(connection.backend, atHome);
    this.#delivery.answered();
    this.#hiddenCode.answered();
    this.record.answered({ needs, leaves, errno, status, atHome }, this.#context.clock.nowMs());
    this.#aftermath.answered(connection, this.statement, tracker, isPrepare);
    if (this.#mayHaveInserted()) this.connections.inserted(connection);
    if ((leaves & Leave.IMPLICIT_COMMIT) !== 0) this.#context.schemaChanged(this.#cluster);
    this.#readOnly.answered(connection, errno);
    this.#prepared.answered(connection, errno, status);
    if (this.#trail.writeCount > 0) this.#forgetTrail();
    if (this.#pinAfter !== null && errno === 0) this.record.pin(this.#pinAfter.pin, this.#pinAfter.nowMs);
    if (this.#atHand.changesSession) this.#changes.answered(connection, this.statement, errno);
    if (errno !== 0 && this.record.autocommit && this.record.pins.has('error')) {
      this.#attachment.settleBy(() => this.#askWhetherOpen(connection));
    }
    this.#attachment.answered();
  }

  /** Whether one of several statements has left a transaction open before another one failed: an ERR does not say. */
  async #askWhetherOpen(connection: BackendConnection): Promise<void> {
    const { status } = await connection.ping();
    const atHome = this.connections.isHome(connection);
    this.record.answered({ needs: 0, leaves: 0, errno: 0, status, atHome }, this.#context.clock.nowMs());
    this.#forgetTrail();
    this.#aftermath.commandAnsweredHere(true);
  }

  /** What is kept of a transaction, unless one is open, or may be. */
  #forgetTrail(): void {
    if (!isInTransaction(this.record.pins)) this.#trail.clear();
  }

  /** LAST_INSERT_ID() may be another one than before. */
  #mayHaveInserted(): boolean {
    const { tracker } = this.relay;
    const { class: kind, leaves } = this.statement;
    if (tracker.toldInsertId || (leaves & (Leave.LAST_INSERT_ID | Leave.ANYTHING)) !== 0) return true;
    // INSERT … RETURNING answers with rows, which tell no id.
    if (tracker.hadColumns && kind === 'write') return true;
    return this.#changes.assignsInsertId;
  }

  /** A statement that depends on nothing and leaves nothing: only what may be asked after it is noted. */
  #rideEnded({ connection }: Lane): void {
    const { tracker } = this.relay;
    this.#attachment.endRide();
    this.#delivery.answered();
    this.#statistics.answeredOnLane(connection.backend, this.connections.isHome(connection));
    if (tracker.errno === 0) this.record.status = tracker.status;
    // Others have used the connection since, or will before anybody asks.
    this.#aftermath.answered(connection, this.statement, tracker, false);
  }

  onAnswerTaken(): void {
    this.#attachment.answerTaken();
  }

  onRefused(errno: number, answer: Buffer): void {
    if (!this.#delivery.mayGoAgain) {
      const { status } = this.relay.tracker;
      return this.#readOnly.answerRefusal(errno, status, answer);
    }
    this.#attachment.leaveRefused();
    this.#delivery.goHomeAgain();
  }

  onLost(reason: string): void {
    try {
      this.#loss.lost(reason);
    } catch (error) {
      this.defect(error);
    }
  }

  tellsOwed(): boolean {
    return this.#loss.isOwed && this.#loss.tells(this.#atHand.command, this.#atHand.isRollback);
  }

  lostAtWork(backend: string, reason: string): void {
    this.#loss.lostAtWork(backend, reason);
  }

  /** Judges what has run on the connection while nobody could be asked what it sets off. */
  async judge(connection: BackendConnection): Promise<void> {
    await this.#hiddenCode.judge(connection);
    if (!this.#host.isOver()) this.#readOnly.judged(connection);
  }

  /** A defect of ours ends this session, and no other. */
  defect(error: unknown): void {
    this.#context.log.error('session.defect', {
      error: String(error instanceof Error ? error.stack : error),
    });
    this.#host.fail(refusal('DBPROXY_SESSION_ENDED', 'an internal error'));
  }

  // What the session asks.

  /** COM_RESET_CONNECTION. Rejects as BackendConnection.reset does. */
  async reset(): Promise<Buffer> {
    const answer = await resetSession(this.#resetParts);
    this.#loss.forget();
    this.#hiddenCode.forget();
    this.#trail.clear();
    return answer;
  }

  /** Resolves when its connection is at work for no one but the client. */
  settled(): Promise<void> {
    return this.#attachment.settled();
  }

  /** Sends a command home that is no statement of the client as it was. */
  forwardHome(payload: Buffer): void {
    if (this.#attachment.isSettling) {
      const go = (): void => (this.#host.isOver() ? undefined : this.forwardHome(payload));
      return this.#host.background(this.#attachment.settled().then(go));
    }
    this.#begin(Command.SLEEP);
    this.#atHand.as(Need.UNKNOWN_STATEMENT, 0);
    this.#atHand.to = this.#atHand.destination(this);
    this.#delivery.goLater(payload);
  }

  /** The statement at hand has been answered after `durationMs`. */
  count(durationMs: number): void {
    this.#statistics.record(durationMs, this.statement.class, this.#aftermath.hasDiagnostics);
  }

  /** True when nothing of the session is on the backend any more; else `left` is called when that is so. */
  leave(backend: string, left: () => void): boolean {
    // What a SET has set is read while its connection is there.
    const isAtRest = this.relay.idle && !this.#attachment.isSettling && !this.record.inTransaction;
    if (this.#changes.isPending && isAtRest && this.attached?.backend === backend) {
      this.#attachment.settleBy(this.#changes.takePending());
    }
    return this.#attachment.leaveBackend(backend, left);
  }

  /** A replica gets the binary log: that has no end. */
  get followsLog(): boolean {
    return REPLICATION_COMMANDS.has(this.#atHand.command) && !this.relay.idle;
  }

  /** The last statement is likely to be asked after, and only its connection could answer. */
  get isAskedAfter(): boolean {
    return this.#aftermath.isAskedAfter;
  }

  /** Something of the session is on the backend. */
  isOn(backend: string): boolean {
    return this.#attachment.isOn(backend);
  }

  /** The session is over. `reusable`: nothing is under way on its connection. */
  stop(reusable: boolean): void {
    this.#attachment.stop(reusable);
  }

  // What the prepared statements ask (StatementHost).

  go(bytes: Buffer, start: number, end: number): boolean {
    return this.#delivery.go(bytes, start, end);
  }

  resumeLarge(ready: (connection: BackendConnection) => Promise<void>, isSeen: boolean): void {
    this.#delivery.resumeLarge(ready, isSeen);
  }

  remember(bytes: Buffer | null, text: number, end: number): void {
    // Where all goes to one server nobody asks which form of statement goes where.
    if (this.staysHome) return;
    const { digestHigh, digestLow } = this.statement;
    this.#atHand.wish = this.#shared.rules.wishFor(this.#user, digestHigh, digestLow);
    this.#statistics.beginStatement(this.statement, bytes, text, end, this.record.dialect);
  }

  minds(text: Buffer, start: number, end: number): void {
    const { class: kind } = this.statement;
    // What triggers and views do is asked about where connections are shared.
    if (!this.staysHome) this.#hiddenCode.look(text, start, end);
    if (this.statement.needs === 0 || !this.#atHand.runsStatement) return;
    const isPrepared = this.#atHand.command !== Command.QUERY;
    const begin = isPrepared ? start + 1 : start;
    this.#atHand.isRollback = rollsBack(this.statement, text[begin]!);
    const isWrite = kind === 'write' || kind === 'unknown';
    if (!isWrite && (this.statement.needs & MAY_WRITE_UNSEEN) === 0) return;
    this.#trail.add(text, begin, end, isPrepared || !isWrite, this.#context.clock.nowMs());
  }

  /** A prepared SET is executed: what it assigns, as far as its text says it. */
  assigns(assignments: readonly Assignment[]): void {
    this.#changes.assigns(assignments);
    if (this.#changes.asksByNull) this.statement.needs |= Need.LAST_INSERT_ID;
    this.#atHand.changesSession = true;
  }

  /** An OK of our own, with the flags of the server's last word. */
  answerOk(): void {
    this.#host.answer(writeOk(this.relay.answerSequence, { status: this.lastingStatus }));
  }

  answerPlainOk(): void {
    this.#aftermath.commandAnsweredHere(this.attached !== null);
    this.answerOk();
  }

  /** The list of warnings on the connection is empty, or of this session. */
  hasOwnDiagnostics({ lastComplainer }: BackendConnection): boolean {
    return lastComplainer === null || lastComplainer === this;
  }

  answerError(error: unknown): void {
    this.#host.answerError(error);
  }

  fail(error: unknown): void {
    this.#host.fail(error);
  }

  pinFor(pin: 'cursor' | 'long_data'): void {
    this.record.pin(pin, this.#context.clock.nowMs());
  }

  unpin(pin: 'cursor' | 'long_data'): void {
    this.record.unpin(pin);
  }

  /** After something has been closed without an answer. */
  leaveIfFree(): void {
    if (this.relay.tracker.idle) this.#attachment.leaveIfFree();
  }
}
