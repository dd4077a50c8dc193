/**
 * The dispatcher of one session that changes connections (mode = split, or pool = transaction): for each
 * command it decides where it goes, has a connection there brought to the session's state, and takes note of
 * what the command has left. The relay moves the bytes; the record (session-record.ts) says what the session
 * depends on; `destinationOf` (routing/split.ts) decides; session-connections.ts finds and keeps connections.
 *
 * The quick way, which nearly every statement takes, is synchronous: classify, take a connection that idles
 * with the right settings, and the bytes go as they lie. Whatever needs a wait (a connection, a SET, a
 * replica that has to catch up) takes the slow way: the command is copied and forwarded later.
 */
import { isRefusal, refusal } from '../base/errors.ts';
import {
  identityKey,
  initialSettings,
  type BackendConnection,
  type Preparation,
} from '../backend/connection.ts';
import { Lane } from '../backend/lane.ts';
import { Command, HEADER_BYTES, Status } from '../protocol/constants.ts';
import { ServerError, writeOk, writePayload } from '../protocol/packets.ts';
import { hasNoReply } from '../protocol/reply-tracker.ts';
import { textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { destinationOf, type Destination, type SplitView, type StatementView } from '../routing/split.ts';
import { classify } from '../sql/classify.ts';
import { digestText } from '../sql/digest-text.ts';
import { mayBeKill, parseKill, type KillStatement } from '../sql/kill.ts';
import { parseSet, type Assignment } from '../sql/set-statement.ts';
import { Leave, Need, Statement, type RouteHint } from '../sql/statement.ts';
import { Aftermath } from './aftermath.ts';
import type { SessionContext, SessionEndpoint, ServerFacts, SharedEndpoint } from './context.ts';
import type { QueryCounter } from './counters.ts';
import { mayName, type HiddenCode } from './hidden-code.ts';
import { dialectOf } from './dialect.ts';
import { isFast, recordDigest, type Digest } from './digests.ts';
import type { SessionRequest } from './find-backend.ts';
import { READ_ONLY_ERRORS, type Dispatcher, type Relay } from './relay.ts';
import { SessionChanges } from './session-changes.ts';
import { SessionConnections } from './session-connections.ts';
import { SessionRecord } from './session-record.ts';
import { StatementCommands, type StatementHost } from './statement-commands.ts';

/** The session that the dispatcher works for. */
export interface DispatchHost {
  /** What it asks of a pool: who it is, and the first state of a connection for it. */
  readonly request: SessionRequest;
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

/** A read whose connections are lost is sent again at most this often. */
const MOST_RETRIES = 3;

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

/** Commands beside statements that go home and leave nothing. */
const PLAIN_COMMANDS: ReadonlySet<number> = new Set([
  Command.FIELD_LIST,
  Command.CREATE_DB,
  Command.DROP_DB,
  Command.REFRESH,
  Command.SHUTDOWN,
  Command.STATISTICS,
  Command.PROCESS_INFO,
  Command.DEBUG,
]);

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set([
  'information_schema',
  'performance_schema',
  'mysql',
  'sys',
]);

/** Commands that may ask after a SET, or belong to the same set-up: what it has set is not read before them. */
const MAY_LEAVE_UNREAD: ReadonlySet<number> = new Set([
  Command.QUERY,
  Command.STMT_PREPARE,
  Command.PING,
  Command.INIT_DB,
]);

const REPLICATION_COMMANDS: ReadonlySet<number> = new Set([
  Command.BINLOG_DUMP,
  Command.BINLOG_DUMP_GTID,
  Command.TABLE_DUMP,
  Command.REGISTER_SLAVE,
]);

const NO_NEEDS = 0;

/** Flags that say how the session is, not what the last statement did. */
const LASTING_STATUS =
  Status.AUTOCOMMIT |
  Status.IN_TRANS |
  Status.IN_TRANS_READONLY |
  Status.NO_BACKSLASH_ESCAPES |
  Status.ANSI_QUOTES;

/** It asks after the statement before. */
const ASKS_AFTER = Need.DIAGNOSTICS | Need.ROW_COUNT | Need.FOUND_ROWS;

/** ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION */
const READ_ONLY_TRANSACTION = 1792;

/** Of a digest's text, as SHOW DIGESTS has it. */
const MOST_DIGEST_TEXT = 1024;

/** What becomes of a statement that cannot be where the session's READ ONLY transaction is. */
export type Detour = 'none' | 'moves_home' | 'refused' | 'ends_transaction';

/** How the last statement has been answered; `by` null: by dbproxy itself. */
export interface LastRoute {
  readonly statement: StatementView & Pick<Statement, 'digestHigh' | 'digestLow'>;
  readonly to: Destination;
  readonly by: string | null;
  readonly atHome: boolean;
}

export class StatementDispatcher implements Dispatcher, SplitView, StatementHost {
  readonly record: SessionRecord;
  readonly connections: SessionConnections;
  readonly relay: Relay;
  /** What the classifier says of the command at hand. */
  readonly statement = new Statement();
  readonly splits: boolean;
  readonly #context: SessionContext;
  readonly #endpoint: SessionEndpoint;
  readonly #shared: SharedEndpoint;
  readonly #host: DispatchHost;
  readonly #prepared: StatementCommands;
  readonly #aftermath: Aftermath;
  readonly #changes: SessionChanges;
  readonly #user: string;
  readonly #account: string;
  readonly #capabilities: number;
  /** Statements by who answered them, and reads that were sent again. */
  readonly counts = { home: 0, replica: 0, pipelined: 0, retried: 0 };
  #facts: ServerFacts;
  #dialectSettings: SessionRecord['settings'];
  #command = 0;
  #wish: RouteHint = 'none';
  #to: Destination = 'home';
  /** The statement at hand is one for `#changes`. */
  #changesSession = false;
  /** The read at hand, to be sent again when its connection is lost. */
  #copy: Buffer = Buffer.alloc(0);
  #copyLength = 0;
  #mayRetry = false;
  #retries = 0;
  readonly #excluded = new Set<string>();
  /** What is remembered of statements of this form. */
  #digest: Digest | undefined;
  #bytesBefore = 0;
  #idleBeforeMs = 0;
  /** The command at hand lies in the client's input, with its header before it. */
  #isInInput = false;
  /** Payload of the START TRANSACTION READ ONLY that is at hand, and of the one that nothing has followed yet. */
  #begun: Buffer | null = null;
  #readOnlyStart: Buffer | null = null;
  /** It does not fit on a lane. */
  #ridesAlone = false;
  /** The lane on which it travels. */
  #lane: Lane | null = null;
  /** Who has answered the last statement. */
  #answeredBy = '';
  #answeredAtHome = true;
  #wasPipelined = false;
  #lastCounter: QueryCounter | null = null;
  /** A connection that is being got ready for the command at hand. */
  #preparing: BackendConnection | null = null;
  /** The connection that the relay has; stays while the session is pinned. */
  #attached: BackendConnection | null = null;
  /** The statement at hand asks for the value that a sequence has given before. */
  #asksPreviousValue = false;
  /** What the statement at hand may set off must be asked first. */
  #asksHiddenCode = false;
  /** Work after an answer that the next command has to wait for. */
  #settling: Promise<void> | null = null;
  #leaveWhenTaken = false;
  readonly #leaving = new Map<string, (() => void)[]>();
  #stopped = false;

  constructor(
    context: SessionContext,
    endpoint: SessionEndpoint,
    shared: SharedEndpoint,
    host: DispatchHost,
    makeRelay: (dispatcher: Dispatcher) => Relay,
  ) {
    const { request } = host;
    this.#context = context;
    this.#endpoint = endpoint;
    this.#shared = shared;
    this.#host = host;
    this.splits = endpoint.config.mode === 'split';
    this.#user = request.identity.user;
    this.#account = identityKey(request.identity);
    this.#capabilities = request.identity.capabilities;
    const facts = shared.facts();
    const settings = initialSettings(request.preparation);
    const dialect = dialectOf(facts, settings, request.preparation);
    this.record = new SessionRecord(settings, dialect, facts.transactionNames.readOnly);
    this.#facts = facts;
    this.#dialectSettings = settings;
    this.connections = new SessionConnections(context, endpoint, shared, request, this.record, host);
    this.#aftermath = new Aftermath(this, this.connections);
    this.relay = makeRelay(this);
    this.#changes = new SessionChanges({
      record: this.record,
      relay: this.relay,
      known: shared.knownSettings,
      account: this.#account,
      capabilities: this.#capabilities,
      facts: () => this.#facts,
      nowMs: () => context.clock.nowMs(),
      isAskedAfter: () => this.#aftermath.isAskedAfter,
      settleBy: (work) => this.#settleBy(work),
      isHome: (connection) => this.connections.isHome(connection),
    });
    this.#prepared = new StatementCommands(this, endpoint.config, this.#capabilities);
  }

  // What the decision looks at (SplitView).

  get pinned(): boolean {
    return this.record.pinned;
  }

  get autocommit(): boolean {
    return this.record.autocommit;
  }

  /** The connection in use now, or the one that the session is pinned to. */
  get attached(): BackendConnection | null {
    return this.#attached;
  }

  /** The first state of its connections. */
  get preparation(): Preparation {
    return this.#host.request.preparation;
  }

  /** It has written something that its reads must see. */
  get hasWritten(): boolean {
    return this.record.hasWritten || this.connections.position !== null;
  }

  get statements(): StatementCommands {
    return this.#prepared;
  }

  /** Null before the first statement. */
  get lastRoute(): LastRoute | null {
    if (this.#command === 0) return null;
    const by = this.#answeredBy === '' ? null : this.#answeredBy;
    return { statement: this.statement, to: this.#to, by, atHome: this.#answeredAtHome };
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
  detourOf({ needs, leaves }: StatementView): Detour {
    if (!this.#isStrange()) return 'none';
    if ((needs & NEEDS_PRIMARY) !== 0 || (leaves & LEAVES_ON_PRIMARY) !== 0) {
      return this.#readOnlyStart === null ? 'refused' : 'moves_home';
    }
    return (leaves & Leave.TRANSACTION) !== 0 && this.splits ? 'ends_transaction' : 'none';
  }

  // What the relay asks.

  route(command: number, bytes: Buffer, start: number, end: number): boolean {
    try {
      return this.#route(command, bytes, start, end);
    } catch (error) {
      this.#defect(error);
      return false;
    }
  }

  #route(command: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#settling !== null) {
      const payload = Buffer.from(bytes.subarray(start, end));
      this.#host.background(this.#settling.then(() => this.#routeAgain(payload)));
      return false;
    }
    if (this.#changes.isPending && !MAY_LEAVE_UNREAD.has(command)) {
      return this.#readPending(bytes, start, end);
    }
    this.#begin(command);
    this.#isInInput = start > 0;
    switch (command) {
      case Command.QUERY:
      case Command.STMT_PREPARE:
        return this.#query(bytes, start, end);
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
        this.#as(Need.SESSION, Leave.DATABASE);
        this.#changes.selects(bytes.toString('latin1', start + 1, end));
        this.#changesSession = true;
        return this.go(bytes, start, end);
      default:
        return this.#other(command, bytes, start, end);
    }
  }

  routeLarge(command: number, bytes: Buffer, start: number, end: number): boolean {
    this.#begin(command);
    this.#as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
    if (command !== Command.QUERY) return this.#prepared.large(command, bytes, start, end);
    this.resumeLarge(() => Promise.resolve());
    return false;
  }

  onAnswered(): void {
    try {
      this.#answered();
    } catch (error) {
      this.#defect(error);
    }
  }

  /** A defect of ours ends this session, and no other. */
  #defect(error: unknown): void {
    this.#context.log.error('session.defect', {
      error: String(error instanceof Error ? error.stack : error),
    });
    this.#host.fail(refusal('DBPROXY_SESSION_ENDED', 'an internal error'));
  }

  #answered(): void {
    if (this.#lane !== null) return this.#rideEnded(this.#lane);
    const connection = this.#attached!;
    this.#answeredBy = connection.backend;
    this.#answeredAtHome = this.connections.isHome(connection);
    this.#wasPipelined = false;
    const { tracker } = this.relay;
    const { needs, leaves } = this.statement;
    const { errno, status } = tracker;
    const atHome = this.#answeredAtHome;
    this.#mayRetry = false;
    this.record.answered({ needs, leaves, errno, status, atHome }, this.#context.clock.nowMs());
    this.#aftermath.answered(connection, this.statement, tracker, this.#command === Command.STMT_PREPARE);
    if (this.#mayHaveInserted()) this.connections.inserted(connection);
    if ((leaves & Leave.IMPLICIT_COMMIT) !== 0) this.#shared.hiddenCode.forget();
    this.#noteReadOnlyStart(connection, errno);
    this.#prepared.answered(connection, errno, status);
    this.#settle(connection, errno);
    if (this.#settling === null) this.#leaveIfFree();
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
    const { errno, status } = this.relay.tracker;
    this.#lane = null;
    this.#mayRetry = false;
    this.#answeredBy = connection.backend;
    this.#answeredAtHome = this.connections.isHome(connection);
    this.#wasPipelined = true;
    this.#shared.pipelined++;
    if (errno === 0) this.record.status = status;
    // Others have used the connection since, or will before anybody asks.
    this.#aftermath.answered(connection, this.statement, this.relay.tracker, false);
  }

  onAnswerTaken(): void {
    if (!this.#leaveWhenTaken) return;
    this.#leaveWhenTaken = false;
    if (this.#settling === null) this.#leaveIfFree();
  }

  onRefused(errno: number, answer: Buffer): void {
    if (!this.#mayRetry) return this.#answerRefusal(errno, answer);
    this.#leaveFailed();
    this.#count('refused');
    this.#retryAt('home');
  }

  /** The connection that has not answered goes; its pool sees what is left of it. */
  #leaveFailed(): BackendConnection {
    if (this.#lane !== null) {
      const { connection } = this.#lane;
      this.#lane = null;
      return connection;
    }
    const connection = this.#attached!;
    this.#detach();
    this.connections.leave(connection, false);
    return connection;
  }

  /** A write in a READ ONLY transaction that is on a replica: the client hears what the primary would say. */
  #answerRefusal(errno: number, answer: Buffer): void {
    const { status } = this.relay.tracker;
    this.record.answered(
      { needs: NO_NEEDS, leaves: 0, errno, status, atHome: false },
      this.#context.clock.nowMs(),
    );
    if (errno === READ_ONLY_TRANSACTION) return this.#host.answer(answer);
    this.#host.answerError(
      new ServerError({
        errno: READ_ONLY_TRANSACTION,
        sqlState: '25006',
        message: `Cannot execute statement in a READ ONLY transaction${this.#facts.isMariaDb ? '' : '.'}`,
      }),
    );
  }

  onLost(reason: string): void {
    const wasSent = this.relay.abandonAnswer();
    const pinned = this.pinned;
    const connection = this.#leaveFailed();
    this.#shared.causal.forget(connection.backend);
    if (this.connections.isHome(connection)) this.record.lost(this.statement.needs);
    if (this.#stopped) return;
    const lost = refusal('DBPROXY_BACKEND_LOST', connection.backend, reason);
    if (pinned || !wasSent) return this.#host.fail(lost);
    if (!this.#mayRetry || ++this.#retries > MOST_RETRIES) return this.#host.answerError(lost);
    this.#excluded.add(connection.backend);
    this.#count('lost');
    this.#retryAt(this.#to === 'replica' ? 'replica' : 'home');
  }

  // What the session asks.

  /**
   * COM_RESET_CONNECTION: the server forgets, and so does the record. What is in force then on the connection is
   * read back from it. Rejects as BackendConnection.reset does.
   */
  async reset(): Promise<Buffer> {
    await this.#settled();
    const pinned = this.#attached;
    const connection = pinned ?? (await this.connections.obtain('home', this.#excluded));
    this.#detach();
    try {
      // A reset leaves the database as it is: that of the session must be there.
      if (pinned === null) await this.connections.bring(connection, this.#firstSettings());
      const ok = await connection.reset(connection.preparation.readOnly);
      await this.#beginAnew(connection);
      this.connections.leave(connection, false);
      return ok.payload;
    } catch (error) {
      // MySQL 5.6 does not know the command: all is as it was.
      const isWhole = error instanceof ServerError && !connection.closed;
      if (pinned !== null && connection.closed) this.#host.fail(error);
      if (isWhole && pinned !== null) this.#attach(connection);
      else this.connections.discard(connection, isWhole);
      throw error;
    }
  }

  /** What the session is set to after a reset. */
  #firstSettings(): SessionRecord['settings'] {
    return initialSettings(this.#host.request.preparation).withDatabase(this.record.settings.database);
  }

  /** After a reset on this connection. */
  async #beginAnew(connection: BackendConnection): Promise<void> {
    const settings = this.#firstSettings();
    this.#prepared.clear();
    connection.prepared.clear();
    connection.lastInserter = null;
    connection.settings = settings;
    this.connections.insertId.reset();
    this.record.reset(settings);
    this.#changes.forget();
    await this.#changes.readCharacterSets(connection);
    this.#aftermath.begunAnew(connection);
  }

  /** Sends a command home that is no statement of the client as it was. */
  forwardHome(payload: Buffer): void {
    this.#begin(Command.SLEEP);
    this.#as(Need.UNKNOWN_STATEMENT, 0);
    this.#to = this.#destination();
    this.goLater(payload);
  }

  /** The statement at hand has been answered after `durationMs`. */
  count(durationMs: number): void {
    this.#counter().record(durationMs);
    if (this.#answeredAtHome) this.counts.home++;
    else this.counts.replica++;
    if (this.#wasPipelined) this.counts.pipelined++;
    if (this.#digest === undefined) return;
    const bytes = this.relay.bytesToClient - this.#bytesBefore;
    const way = { atHome: this.#answeredAtHome, pipelined: this.#wasPipelined };
    if (this.#aftermath.hasDiagnostics) this.#digest.hasComplained = true;
    const idleMs = this.#context.clock.idleMs() - this.#idleBeforeMs;
    recordDigest(this.#digest, durationMs, idleMs, bytes, way);
  }

  /** The counter of the last statement: nearly always that of the one before it. */
  #counter(): QueryCounter {
    const last = this.#lastCounter;
    if (last !== null && last.backend === this.#answeredBy && last.class === this.statement.class)
      return last;
    const { name } = this.#endpoint.config;
    const counter = this.#context.counters.queries(name, this.#answeredBy, this.statement.class);
    this.#lastCounter = counter;
    return counter;
  }

  /** True when nothing of the session is on the backend any more; else `left` is called when that is so. */
  leave(backend: string, left: () => void): boolean {
    this.connections.drop(backend);
    if (!this.isOn(backend)) return true;
    const listeners = this.#leaving.get(backend);
    if (listeners === undefined) this.#leaving.set(backend, [left]);
    else listeners.push(left);
    return false;
  }

  /** Something of the session is on the backend. */
  isOn(backend: string): boolean {
    const isInUse = this.#attached?.backend === backend || this.#preparing?.backend === backend;
    return isInUse || this.#lane?.connection.backend === backend || this.connections.holdsOn(backend);
  }

  /** Tells who waits for the session to have left a backend. */
  #checkLeft(): void {
    if (this.#leaving.size === 0) return;
    for (const [backend, listeners] of this.#leaving) {
      this.connections.drop(backend);
      if (this.isOn(backend)) continue;
      this.#leaving.delete(backend);
      for (const left of listeners) left();
    }
  }

  /** The session is over. `reusable`: nothing is under way on its connection. */
  stop(reusable: boolean): void {
    this.#stopped = true;
    this.#lane = null;
    // Whatever it is in the middle of ends with it.
    if (this.#preparing !== null && this.#preparing !== this.#attached) this.#preparing.close();
    const connection = this.#attached;
    this.#detach();
    if (connection !== null) {
      const isQuiet = reusable && this.#settling === null;
      if (isQuiet && !this.pinned) this.connections.leave(connection, false);
      else this.connections.discard(connection, isQuiet);
    }
    this.connections.stop();
  }

  // What the prepared statements ask (StatementHost).

  fail(error: unknown): void {
    this.#host.fail(error);
  }

  answerError(error: unknown): void {
    this.#host.answerError(error);
  }

  /** Sends the command to where its statement says, now (true) or later. */
  go(bytes: Buffer, start: number, end: number): boolean {
    this.#to = this.#destination();
    const found = this.#quick();
    if (found instanceof Lane) return this.#ride(found, bytes, start, end);
    const connection = found;
    if (connection !== null && this.#prepared.fits(connection, bytes, start, end)) {
      this.#attach(connection);
      if (this.#mayBeSentAgain()) this.#keepCopy(bytes, start, end);
      return true;
    }
    if (connection !== null && connection !== this.#attached) this.connections.leave(connection, false);
    this.goLater(Buffer.from(bytes.subarray(start, end)));
    return false;
  }

  goLater(payload: Buffer): void {
    this.#host.background(this.#goSlowly(payload));
  }

  /** Finds what is known of statements of this form, whose text is at hand where it is a new one. */
  remember(bytes: Buffer | null, text: number, end: number): void {
    const { digestHigh, digestLow, class: kind } = this.statement;
    const { digests, rules } = this.#shared;
    this.#wish = rules.wishFor(this.#user, digestHigh, digestLow);
    this.#bytesBefore = this.relay.bytesToClient;
    this.#idleBeforeMs = this.#context.clock.idleMs();
    this.#digest = digests.find(digestHigh, digestLow);
    if (this.#digest !== undefined || bytes === null) return;
    const words = digestText(bytes, text, end, this.record.dialect, MOST_DIGEST_TEXT);
    this.#digest = digests.add(digestHigh, digestLow, words, kind);
  }

  /** An OK of our own, with the flags of the server's last word. */
  answerOk(): void {
    this.#host.answer(writeOk(this.relay.answerSequence, { status: this.#quietStatus() }));
  }

  pinFor(pin: 'cursor' | 'long_data'): void {
    this.record.pin(pin, this.#context.clock.nowMs());
  }

  unpin(pin: 'cursor' | 'long_data'): void {
    this.record.unpin(pin);
  }

  /** After something has been closed without an answer. */
  leaveIfFree(): void {
    if (this.relay.tracker.idle) this.#leaveIfFree();
  }

  // Commands.

  #begin(command: number): void {
    this.#command = command;
    this.#wish = 'none';
    this.#digest = undefined;
    this.#changes.begin();
    this.#changesSession = false;
    this.#asksPreviousValue = false;
    this.#asksHiddenCode = false;
    this.#ridesAlone = false;
    this.#mayRetry = false;
    this.#retries = 0;
    if (this.#excluded.size > 0) this.#excluded.clear();
    this.relay.expectNothing();
    this.connections.begin();
    this.#prepared.begin();
  }

  /** The command at hand is no statement that could be classified. */
  #as(needs: number, leaves: number): void {
    this.statement.class = (needs & Need.SESSION) === 0 ? 'unknown' : 'session';
    this.statement.needs = needs;
    this.statement.leaves = leaves;
    this.statement.hint = 'none';
    this.statement.digestHigh = 0;
    this.statement.digestLow = 0;
  }

  /** COM_QUERY and COM_STMT_PREPARE. */
  #query(bytes: Buffer, start: number, end: number): boolean {
    const text = textStart(bytes, start, end, this.#capabilities);
    if (text === UNKNOWN_START) {
      if (this.#endpoint.config.mode === 'read') {
        const { name } = this.#endpoint.config;
        const what = 'its query attributes cannot be read';
        this.#host.answerError(refusal('DBPROXY_READ_ENDPOINT', name, what));
        return false;
      }
      this.#as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
      return this.go(bytes, start, end);
    }
    const isQuery = bytes[start] === Command.QUERY;
    if (isQuery && mayBeKill(bytes, text, end)) {
      const kill = parseKill(bytes, text, end);
      if (kill !== undefined) {
        this.#host.kill(Buffer.from(bytes.subarray(start, end)), kill);
        return false;
      }
    }
    if (this.#endpoint.config.mode === 'read' && this.#host.answersRead(bytes, start, text, end))
      return false;
    const { statement } = this;
    classify(bytes, text, end, this.#dialect(), statement);
    // Names without a schema are looked up in a server's own.
    if (SYSTEM_SCHEMAS.has(this.record.settings.database.toLowerCase()))
      statement.needs |= Need.SYSTEM_SCHEMA;
    const mayWait = statement.class === 'session' || (statement.needs & ASKS_AFTER) !== 0;
    if (this.#changes.isPending && !mayWait) return this.#readPending(bytes, start, end);
    this.remember(bytes, text, end);
    this.minds(bytes, text, end);
    if (!isQuery) {
      const isSet = (statement.leaves & Leave.SETTINGS) !== 0 && (statement.needs & Need.SEVERAL) === 0;
      const assignments = isSet ? parseSet(bytes, text, end, this.record.dialect) : null;
      return this.#prepared.prepare(bytes, start, end, assignments);
    }
    if (this.#isStrange()) {
      const detour = this.detourOf(statement);
      if (detour === 'moves_home' || detour === 'refused') return this.#moveHome(bytes, start, end);
      if (statement.class === 'write') this.relay.expectRefusal();
    }
    const { leaves } = statement;
    this.#begun = (leaves & Leave.READ_ONLY) === 0 ? null : Buffer.from(bytes.subarray(start, end));
    if ((statement.needs & Need.SEQUENCE) !== 0)
      this.#asksPreviousValue = asksPreviousValue(bytes, text, end);
    if ((leaves & (Leave.SETTINGS | Leave.DATABASE | Leave.IMPLICIT_COMMIT)) !== 0) {
      this.#changesSession = true;
      const answer = this.#changes.read(bytes, text, end, statement);
      if (answer !== null) return this.#answerKnown(answer);
    }
    return this.go(bytes, start, end);
  }

  /** A SET that a server has answered before: what it sets is set with the next statement. */
  #answerKnown(answer: Buffer): boolean {
    this.#aftermath.answeredHere();
    this.#answeredBy = '';
    this.#host.answer(writePayload(this.relay.answerSequence, answer));
    return false;
  }

  /** The connection that ran the last statement answers with its warnings; where there are none, dbproxy does. */
  #ping(): boolean {
    this.#as(NO_NEEDS, Leave.FOUND_ROWS);
    this.statement.needs = Need.DIAGNOSTICS;
    if (this.#attached !== null) return true;
    const last = this.#aftermath.takeComplaining();
    if (last !== null) {
      this.#attach(last);
      return true;
    }
    this.answerOk();
    return false;
  }

  #other(command: number, bytes: Buffer, start: number, end: number): boolean {
    const nowMs = this.#context.clock.nowMs();
    if (command === Command.SET_OPTION) {
      this.#as(Need.SESSION, 0);
      this.#pinBefore('set_option', nowMs);
    } else if (REPLICATION_COMMANDS.has(command)) {
      this.#as(Need.UNKNOWN_STATEMENT, 0);
      this.#pinBefore('replication', nowMs);
    } else if (PLAIN_COMMANDS.has(command)) {
      this.#as(Need.UNKNOWN_STATEMENT, 0);
      if (command === Command.DROP_DB) {
        this.#changes.drops();
        this.#changesSession = true;
      }
    } else this.#as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
    return this.go(bytes, start, end);
  }

  /** It will be pinned by the command at hand, which has to find its connection first. */
  #pinBefore(pin: 'set_option' | 'replication', nowMs: number): void {
    this.#pinAfter = { pin, nowMs };
  }

  #pinAfter: { pin: 'set_option' | 'replication'; nowMs: number } | null = null;

  /** A prepared SET is executed: what it assigns, as far as its text says it. */
  assigns(assignments: readonly Assignment[]): void {
    this.#changes.assigns(assignments);
    this.#changesSession = true;
  }

  /** In a transaction on a replica, or otherwise not where this statement must be. */
  #isStrange(): boolean {
    const connection = this.#attached;
    return connection !== null && this.pinned && !this.connections.isHome(connection);
  }

  /**
   * A transaction that has read nothing yet can as well begin at home; one that has read must not see another
   * state of the data from now on.
   */
  #moveHome(bytes: Buffer, start: number, end: number): boolean {
    if (this.#readOnlyStart === null) {
      this.#host.answerError(refusal('DBPROXY_READ_ONLY_TRANSACTION', 'what this statement does'));
    } else this.#host.background(this.#moveHomeAndGo(Buffer.from(bytes.subarray(start, end))));
    return false;
  }

  async #moveHomeAndGo(payload: Buffer): Promise<void> {
    const begin = this.#readOnlyStart!;
    this.#readOnlyStart = null;
    let connection: BackendConnection | null = null;
    try {
      await this.#endReadOnly();
      connection = await this.#obtainHome();
      if (this.#host.isOver()) return this.#abandon(connection);
      const { status } = await connection.command(begin);
      const outcome = { needs: Need.TRANSACTION, leaves: Leave.TRANSACTION, errno: 0, status, atHome: true };
      this.record.answered(outcome, this.#context.clock.nowMs());
      if (this.#host.isOver()) return this.#abandon(connection);
      this.#attach(connection);
      this.#to = 'here';
      await this.#goSlowly(payload);
    } catch (error) {
      // The transaction that the client believes to be in is gone.
      if (!this.#host.isOver()) this.#host.fail(error);
      if (connection !== null) this.#abandon(connection);
    }
  }

  #destination(): Destination {
    return destinationOf(this.statement, this, this.#wish);
  }

  #dialect(): SessionRecord['dialect'] {
    const facts = this.#shared.facts();
    const { settings } = this.record;
    if (facts !== this.#facts || settings !== this.#dialectSettings) {
      this.#facts = facts;
      this.#dialectSettings = settings;
      this.record.dialect = dialectOf(facts, settings, this.#host.request.preparation);
    }
    return this.record.dialect;
  }

  /** The text of the statement at hand may set off code that is not in it. */
  minds(text: Buffer, start: number, end: number): void {
    this.#asksHiddenCode = false;
    const { class: kind, needs } = this.statement;
    // A transaction ends, and what was left in it stays.
    const isPinnedAnyway = this.record.pins.has('anything');
    if (isPinnedAnyway || (needs & ASKS_AFTER) !== 0 || (kind !== 'read' && kind !== 'write')) return;
    const code = this.#shared.hiddenCode.known(this.#account, this.#context.clock.nowMs());
    if (code === undefined) this.#asksHiddenCode = true;
    else this.#mindsCode(code, text, start, end);
  }

  #mindsCode(code: HiddenCode, text: Buffer, start: number, end: number): void {
    const { statement } = this;
    if (statement.class === 'write' && code.triggers) statement.leaves |= Leave.ANYTHING;
    if (!mayName(code.views, text, start, end)) return;
    statement.needs |= Need.UNKNOWN_FUNCTION;
    statement.leaves |= Leave.ANYTHING;
  }

  /** Asks the server at hand, and judges the command anew. False: it does not belong there. */
  async #askHiddenCode(connection: BackendConnection, payload: Buffer): Promise<boolean> {
    this.#asksHiddenCode = false;
    if (connection === this.#attached) this.#detach();
    const { hiddenCode } = this.#shared;
    const nowMs = this.#context.clock.nowMs();
    const code = await hiddenCode.ask(this.#account, connection, this.record.dialect, nowMs);
    const text = this.#prepared.textToRun ?? payload;
    this.#mindsCode(code, text, 0, text.length);
    return this.#destination() !== 'home' || this.connections.isHome(connection);
  }

  // The quick way.

  #quick(): BackendConnection | Lane | null {
    const asksInsertId = (this.statement.needs & Need.LAST_INSERT_ID) !== 0;
    if (this.#to === 'here') {
      const connection = this.#attached;
      const mustWait = this.#asksHiddenCode || this.#endsReadOnly();
      if (connection === null || mustWait || this.#asksElsewhere(connection)) return null;
      return asksInsertId && !this.connections.insertId.isOn(connection) ? null : connection;
    }
    const mustWait = asksInsertId || this.#asksPreviousValue || this.#asksHiddenCode;
    if (mustWait || this.#to === 'last') return null;
    const mayShare = this.#isInInput && this.#mayShare();
    return this.connections.quick(this.#to, mayShare ? this.#shared.laneTerms : null);
  }

  /** It asks after a statement that ran on another connection, before the session was pinned to this one. */
  #asksElsewhere(connection: BackendConnection): boolean {
    const { needs } = this.statement;
    const isAlone = (needs & Need.SEVERAL) === 0;
    return isAlone && (needs & ASKS_AFTER) !== 0 && this.#aftermath.isElsewhere(needs, connection);
  }

  /** It depends on nothing, is fast, and nobody has had to ask after one like it. */
  #mayShare(): boolean {
    const { laneTerms } = this.#shared;
    if (laneTerms === null || this.#digest === undefined || this.#ridesAlone) return false;
    const { class: kind, needs, leaves } = this.statement;
    const isPlain = kind === 'read' && needs === 0 && leaves === 0 && this.#command !== Command.STMT_PREPARE;
    return isPlain && isFast(this.#digest, laneTerms.fastMs);
  }

  /** Travels together with statements of others; the answer comes to `onRideEnded` by way of the relay. */
  #ride(lane: Lane, bytes: Buffer, start: number, end: number): boolean {
    const { connection } = lane;
    if (!this.#prepared.fits(connection, bytes, start, end)) {
      // It has to be taught there first, on a connection of its own.
      this.#ridesAlone = true;
      lane.cancel();
      this.goLater(Buffer.from(bytes.subarray(start, end)));
      return false;
    }
    if (this.#mayBeSentAgain()) this.#keepCopy(bytes, start, end);
    this.#lane = lane;
    this.relay.ride(lane, bytes, start, end);
    return false;
  }

  #attach(connection: BackendConnection): void {
    this.#preparing = null;
    connection.lastUser = this;
    if (this.#attached === connection) return;
    this.#attached = connection;
    this.relay.attach(connection);
  }

  #detach(): void {
    this.#attached = null;
    this.relay.detach();
  }

  #mayBeSentAgain(): boolean {
    const { needs, class: kind } = this.statement;
    if (kind !== 'read' || this.pinned || (needs & ~Need.USER_VARIABLE) !== 0) return false;
    if (this.#to === 'replica') this.relay.expectRefusal();
    return true;
  }

  #keepCopy(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#copy.length < length) this.#copy = Buffer.allocUnsafeSlow(Math.max(256, 2 * length));
    bytes.copy(this.#copy, 0, start, end);
    this.#copyLength = length;
    this.#mayRetry = true;
  }

  // The slow way.

  async #goSlowly(payload: Buffer): Promise<void> {
    let connection: BackendConnection | null = null;
    try {
      await this.#settled();
      if (this.#host.isOver()) return;
      const found = await this.#obtain();
      if (found instanceof Lane) return this.#rideLate(found, payload);
      connection = found;
      this.#preparing = connection;
      if (this.#host.isOver()) return this.#abandon(connection);
      if (this.#asksHiddenCode && !(await this.#askHiddenCode(connection, payload))) {
        this.#preparing = null;
        this.connections.leave(connection, false);
        this.#to = this.#destination();
        return this.goLater(payload);
      }
      const commands = await this.#bring(connection);
      const fitted = this.#prepared.fitted(connection, payload);
      if (this.#host.isOver()) return this.#abandon(connection);
      // Meanwhile another server may have become the primary: nothing has been sent to this one.
      if (!this.pinned && !this.connections.mayServe(connection, this.#side)) {
        this.#preparing = null;
        this.connections.leave(connection, false);
        return this.goLater(payload);
      }
      this.#attach(connection);
      if (this.#mayBeSentAgain()) this.#keepCopy(payload, 0, payload.length);
      this.#forward(fitted, commands);
    } catch (error) {
      const mayGoHome = connection !== null && this.#isRefusedRead(error);
      const mayGoAgain = connection !== null && this.#isLostBefore(connection);
      // What pinned the session is gone with its connection.
      if (this.pinned && connection?.closed === true && !this.#host.isOver()) this.#host.fail(error);
      if (connection !== null) this.#abandon(connection);
      if (this.#host.isOver()) return;
      if (mayGoAgain) {
        this.#count('lost');
        this.#excluded.add(connection!.backend);
        return this.goLater(payload);
      }
      // The client does not wait for an answer, and would take it for that of its next command.
      if (hasNoReply(this.#command)) return this.#host.fail(error);
      // Without its password no server lets it in again: its client has to log in anew.
      if (isRefusal(error) && error.code === 'DBPROXY_BACKEND_LOGIN') return this.#host.fail(error);
      if (!mayGoHome) return this.#host.answerError(error);
      this.#count('refused');
      this.#to = 'home';
      this.goLater(payload);
    } finally {
      this.#checkLeft();
    }
  }

  get #side(): 'home' | 'replica' {
    return this.#to === 'replica' ? 'replica' : 'home';
  }

  /** The connection broke while it was being prepared: nothing of the client's was sent on it. */
  #isLostBefore(connection: BackendConnection): boolean {
    return connection.closed && !this.pinned && ++this.#retries <= MOST_RETRIES;
  }

  /** A replica will not even prepare the statement, because something in it writes. */
  #isRefusedRead(error: unknown): boolean {
    if (this.#to !== 'replica' || this.statement.class !== 'read' || this.pinned) return false;
    return error instanceof ServerError && READ_ONLY_ERRORS.has(error.packet.errno);
  }

  /** What had to wait travels on a lane after all. */
  #rideLate(lane: Lane, payload: Buffer): void {
    if (this.#host.isOver()) return lane.cancel();
    const packet = writePayload(0, payload);
    this.#ride(lane, packet, HEADER_BYTES, packet.length);
  }

  #forward(payload: Buffer, commands: readonly Buffer[]): void {
    if (commands.length === 0) this.relay.forward(payload);
    else this.relay.forwardAfter(commands, payload);
  }

  /** A connection that was got ready, and is not needed or not right. One that pins the session stays. */
  #abandon(connection: BackendConnection): void {
    this.#preparing = null;
    const isNeeded = this.pinned && !connection.closed && !this.#host.isOver();
    if (isNeeded) return this.#attach(connection);
    if (connection === this.#attached) this.#detach();
    const isReusable = !connection.closed && !this.pinned && !this.#host.isOver();
    this.connections.discard(connection, isReusable);
  }

  async #obtain(): Promise<BackendConnection | Lane> {
    if (this.#to === 'here' && this.#endsReadOnly()) await this.#endReadOnly();
    switch (this.#to) {
      case 'here':
        if (this.#asksElsewhere(this.#attached!))
          throw refusal('DBPROXY_STATE_GONE', 'what this statement asks for');
        return this.#attached!;
      case 'last':
        return this.#aftermath.obtainLast(this.statement.needs, this.#mayRunOnReplica);
      case 'home':
      case 'replica': {
        if (this.#asksPreviousValue) return this.#aftermath.obtainSequence();
        const terms = this.#mayShare() ? this.#shared.laneTerms : null;
        return terms === null
          ? this.connections.obtain(this.#to, this.#excluded)
          : this.connections.obtainShared(this.#to, this.#excluded, terms);
      }
    }
  }

  /** A replica's connection serves reads, and what assigns their outcome to variables that can be read back. */
  get #mayRunOnReplica(): boolean {
    if (this.statement.class === 'read') return true;
    return this.#changes.assignsVariables;
  }

  async #bring(connection: BackendConnection): Promise<readonly Buffer[]> {
    const asksInsertId = (this.statement.needs & Need.LAST_INSERT_ID) !== 0;
    const isRead = this.#mayBeSentAgainAt(connection);
    if (isRead && !this.#prepared.runs) {
      const commands = this.connections.bringAlong(connection);
      if (commands !== null) return commands;
    }
    if (connection === this.#attached) this.#detach();
    await this.#prepared.teach(connection);
    if (this.#prepared.asksForRefusal) await connection.forgetDiagnostics();
    await this.connections.bring(connection);
    if (asksInsertId) await this.#bringInsertId(connection);
    return [];
  }

  async #bringInsertId(connection: BackendConnection): Promise<void> {
    const { insertId } = this.connections;
    const asksAfter = (this.statement.needs & ASKS_AFTER) !== 0;
    // To set the one would wipe out the other.
    if (asksAfter && !insertId.isOn(connection))
      throw refusal('DBPROXY_STATE_GONE', 'what this statement asks for');
    await insertId.bring(connection);
  }

  /** A read that may be sent behind what it needs, because nothing is lost when that fails. */
  #mayBeSentAgainAt(connection: BackendConnection): boolean {
    const { needs, class: kind } = this.statement;
    const isPlain = kind === 'read' && (needs & ~Need.USER_VARIABLE) === 0;
    return isPlain && !this.pinned && connection !== this.#attached && this.#to === 'replica';
  }

  #retryAt(to: 'home' | 'replica'): void {
    this.#to = to;
    this.goLater(Buffer.from(this.#copy.subarray(0, this.#copyLength)));
  }

  async #routeAgain(payload: Buffer): Promise<void> {
    if (this.#host.isOver()) return;
    if (this.route(payload[0]!, payload, 0, payload.length)) this.relay.forward(payload);
  }

  resumeLarge(ready: (connection: BackendConnection) => Promise<void>): void {
    this.#host.background(this.#resumeLarge(ready));
  }

  async #resumeLarge(ready: (connection: BackendConnection) => Promise<void>): Promise<void> {
    let connection: BackendConnection | null = null;
    try {
      await this.#settled();
      connection = this.#attached ?? (await this.#obtainHome());
      this.#preparing = connection;
      this.#detach();
      if (this.#host.isOver()) return this.#abandon(connection);
      await ready(connection);
      await this.connections.bring(connection);
      if (this.#host.isOver()) return this.#abandon(connection);
      if (!this.pinned && !this.connections.mayServe(connection, 'home')) {
        throw refusal('DBPROXY_SESSION_ENDED', 'another server has become the primary');
      }
      this.#attach(connection);
      this.record.pin('unseen', this.#context.clock.nowMs());
      this.relay.resumeLarge();
    } catch (error) {
      // Its bytes are still to come: nothing can be answered before them.
      if (!this.#host.isOver()) this.#host.fail(error);
      if (connection !== null) this.#abandon(connection);
    } finally {
      this.#checkLeft();
    }
  }

  /** A connection at home with the session's settings, to which a statement may be sent now. */
  async #obtainHome(): Promise<BackendConnection> {
    for (;;) {
      const connection = await this.connections.obtain('home', this.#excluded);
      this.#preparing = connection;
      try {
        await this.connections.bring(connection);
      } catch (error) {
        this.#preparing = null;
        this.connections.discard(connection, !connection.closed);
        throw error;
      }
      if (this.connections.mayServe(connection, 'home') || this.#host.isOver()) return connection;
      this.#preparing = null;
      this.connections.leave(connection, false);
    }
  }

  // READ ONLY transactions on a replica.

  /** BEGIN in a READ ONLY transaction on a replica: that one ends, and the next one begins where it belongs. */
  #endsReadOnly(): boolean {
    return (this.statement.leaves & Leave.TRANSACTION) !== 0 && this.#isStrange() && this.splits;
  }

  async #endReadOnly(): Promise<void> {
    const connection = this.#attached!;
    this.#detach();
    const status = await this.#commit(connection);
    this.record.answered(
      { needs: Need.TRANSACTION, leaves: Leave.TRANSACTION_ENDED, errno: 0, status, atHome: false },
      this.#context.clock.nowMs(),
    );
    this.connections.leave(connection, false);
    this.#to = this.#destination();
  }

  /** What the transaction was is lost with its connection, and the session with it. */
  async #commit(connection: BackendConnection): Promise<number> {
    try {
      return (await connection.execute('COMMIT')).status;
    } catch (error) {
      this.connections.discard(connection, false);
      this.#host.fail(refusal('DBPROXY_BACKEND_LOST', connection.backend, String(error)));
      throw error;
    }
  }

  // After the answer.

  /** START TRANSACTION READ ONLY on a replica may be moved home as long as nothing else has been run in it. */
  #noteReadOnlyStart(connection: BackendConnection, errno: number): void {
    const begins = this.#to === 'replica' && (this.statement.leaves & Leave.READ_ONLY) !== 0 && errno === 0;
    const isOnReplica = !this.connections.isHome(connection) && this.#command === Command.QUERY;
    this.#readOnlyStart = begins && isOnReplica ? this.#begun : null;
    this.#begun = null;
  }

  /** Takes note of what the statement has changed; what a server must be asked for is settled before the next one. */
  #settle(connection: BackendConnection, errno: number): void {
    if (this.#pinAfter !== null) {
      if (errno === 0) this.record.pin(this.#pinAfter.pin, this.#pinAfter.nowMs);
      this.#pinAfter = null;
    }
    if (this.#changesSession) this.#changes.answered(connection, this.statement, errno);
  }

  /** The values that a SET with warnings has set are asked for before the command at hand, which then comes again. */
  #readPending(bytes: Buffer, start: number, end: number): boolean {
    const payload = Buffer.from(bytes.subarray(start, end));
    this.#settleBy(this.#changes.takePending());
    this.#host.background(this.#settling!.then(() => this.#routeAgain(payload)));
    return false;
  }

  /** Work on the attached connection, which the next command waits for. */
  #settleBy(work: () => Promise<void>): void {
    const connection = this.#attached!;
    this.relay.detach();
    const done = (this.#settling ?? Promise.resolve())
      .then(work)
      .catch((error: unknown) => {
        if (this.#stopped) return;
        // What is set there is not known, and so is what the next connection would need.
        this.record.pin('settings', this.#context.clock.nowMs());
        this.#context.log.warn('session.settings_unread', {
          backend: connection.backend,
          error: String(error),
        });
      })
      .then(() => {
        if (this.#settling !== done) return;
        this.#settling = null;
        this.#settledOn(connection);
      });
    this.#settling = done;
  }

  #settledOn(connection: BackendConnection): void {
    if (this.#stopped) return;
    if (connection.closed) {
      this.#attached = null;
      this.connections.leave(connection, false);
      if (this.pinned) this.#host.fail(refusal('DBPROXY_BACKEND_LOST', connection.backend, 'it was closed'));
      return;
    }
    this.relay.attach(connection);
    this.#leaveIfFree();
  }

  async #settled(): Promise<void> {
    while (this.#settling !== null) await this.#settling;
  }

  /** Nothing is under way: what does not pin the session lets its connection go. */
  #leaveIfFree(): void {
    const connection = this.#attached;
    if (connection === null || this.pinned || this.#stopped) return;
    // The client has not taken all of the answer, and the rest is in the connection's own input.
    if (this.relay.answerUntaken) {
      this.#leaveWhenTaken = true;
      return;
    }
    this.#detach();
    const { isAskedAfter } = this.#aftermath;
    this.connections.leave(connection, isAskedAfter);
    // What other connections knew of the statement before is not asked for any more.
    this.connections.letGo(isAskedAfter ? connection : null);
    this.#checkLeft();
  }

  #quietStatus(): number {
    return this.record.status & LASTING_STATUS;
  }

  #count(reason: 'refused' | 'lost'): void {
    const { retries } = this.#shared;
    retries.set(reason, (retries.get(reason) ?? 0) + 1);
    this.counts.retried++;
  }
}

/** It may ask for what a sequence has given before, besides or instead of something new. */
function asksPreviousValue(bytes: Buffer, start: number, end: number): boolean {
  return /lastval|previous|currval/i.test(bytes.toString('latin1', start, end));
}
