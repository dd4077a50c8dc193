/**
 * The prepared statements of a session that changes connections, command by command. The client knows them
 * by numbers of ours; a server knows them by its own, on each connection where they have run. What a client
 * says once (the types of the parameters) a server may have to be told again.
 * Manual: page_protocol_command_phase_ps.
 */
import { isRefusal, refusal } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import type { ServerStatement } from '../backend/prepared-statements.ts';
import { NAMES, type Settings } from '../backend/settings.ts';
import type { ListenerConfig } from '../config/config.ts';
import { Command, ExtendedCapability, Status } from '../protocol/constants.ts';
import {
  asksForCursor,
  LAST_STATEMENT_ID,
  NO_TYPES,
  placeOfTypes,
  setStatementId,
  statementIdOf,
  withTypes,
  type TypesPlace,
} from '../protocol/execute.ts';
import { writeCommand } from '../protocol/packets.ts';
import type { Assignment } from '../sql/set-statement.ts';
import { Leave, Need, type Statement } from '../sql/statement.ts';
import type { Relay } from './relay.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';
import { staysHome } from './shared-endpoint.ts';
import { SessionStatements, type SessionStatement } from './session-statements.ts';

/** The dispatcher, as these commands use it. */
export interface StatementHost {
  readonly statement: Statement;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly connections: SessionConnections;
  readonly attached: BackendConnection | null;
  /** Sends the command at hand to where its statement says: now (true) or later. */
  go(bytes: Buffer, start: number, end: number): boolean;
  /** Finds what is known of statements of this form; `bytes[text, end)` is the text of a new one, if it is at hand. */
  remember(bytes: Buffer | null, text: number, end: number): void;
  /** The text of the statement at hand may set off code that is not in it. */
  minds(text: Buffer, start: number, end: number): void;
  /** The command at hand is a SET with these assignments. */
  assigns(assignments: readonly Assignment[]): void;
  /** Answers a command that leaves the warnings of the statement before as they are. */
  answerPlainOk(): void;
  /** The connection that a question after the statement before goes to; gone: nobody knows any more. */
  connectionToAsk(needs: number): BackendConnection | 'gone' | null;
  /** The list of warnings on the connection is empty, or of this session. */
  hasOwnDiagnostics(connection: BackendConnection): boolean;
  answerError(error: unknown): void;
  /** Ends the session: what its client sends cannot be followed. */
  fail(error: unknown): void;
  pinFor(pin: 'cursor' | 'long_data'): void;
  unpin(pin: 'cursor' | 'long_data'): void;
  /** After something has been closed without an answer. */
  leaveIfFree(): void;
  /** Holds a large command back until there is a connection at home; unless `isSeen`, it pins the session to that. */
  resumeLarge(ready: (connection: BackendConnection) => Promise<void>, isSeen: boolean): void;
}

/** A command that names a statement: its first byte and the number. */
const ID_BYTES = 5;

/**
 * Where a client's numbers go to the session's own server when there is no such statement, they are none that the
 * server itself has given: those are counted from 1.
 */
const ABOVE_SERVERS = 2 ** 30;

/** Settings that decide how the text of a statement is read, beside the database. */
const DECIDES_READING = [NAMES, 'character_set_client', 'collation_connection', 'sql_mode'] as const;

export class StatementCommands {
  readonly #host: StatementHost;
  readonly #config: ListenerConfig;
  readonly #capabilities: number;
  readonly #staysHome: boolean;
  /** The client keeps the columns of results, and servers leave them out (MARIADB_CLIENT_CACHE_METADATA). */
  readonly #hasCache: boolean;
  readonly #statements: SessionStatements;
  #command = 0;
  /** The statement that the command at hand is about. */
  #current: SessionStatement | null = null;
  /** Of an execution: where the types of its parameters are. */
  #place: TypesPlace = NO_TYPES;
  #isUnreadable = false;
  #opensCursor = false;
  /** What is said of a command about a statement that there is not, where no server can be asked. */
  #unknown: Error | null = null;
  /** The one that was prepared last, for connectors that do not wait for its number. */
  #lastPreparedId = 0;

  constructor(
    host: StatementHost,
    config: ListenerConfig,
    { capabilities, extendedCapabilities }: { capabilities: number; extendedCapabilities: number },
  ) {
    this.#host = host;
    this.#config = config;
    this.#capabilities = capabilities;
    this.#staysHome = staysHome(config);
    this.#statements = new SessionStatements(this.#staysHome ? ABOVE_SERVERS : 0);
    this.#hasCache = (extendedCapabilities & ExtendedCapability.CACHE_METADATA) !== 0;
  }

  /** How many the client has. */
  get count(): number {
    return this.#statements.size;
  }

  /** A new command; what was at hand is done. */
  begin(): void {
    this.#command = 0;
    this.#current = null;
    this.#unknown = null;
    this.#opensCursor = false;
  }

  clear(): void {
    this.#statements.clear();
  }

  /** The connection is gone, with its cursors and with the parameters that were sent in advance. */
  lostConnection(): void {
    for (const statement of this.#statements.all()) {
      if (statement.hasLongData) statement.lostLongData = true;
      statement.hasCursor = false;
      statement.hasLongData = false;
    }
  }

  /** COM_STMT_PREPARE, whose text has just been classified; `assignments`: of a SET that is understood. */
  prepare(bytes: Buffer, start: number, end: number, assignments: readonly Assignment[] | null): boolean {
    const { statement, record } = this.#host;
    if (this.#statements.size >= this.#config.maxPreparedStatements) {
      this.#host.answerError(refusal('DBPROXY_PREPARED_STATEMENTS', this.#config.maxPreparedStatements));
      return false;
    }
    const payload = Buffer.from(bytes.subarray(start, end));
    const isUnclear = (statement.leaves & Leave.DATABASE) !== 0;
    this.#command = Command.STMT_PREPARE;
    this.#current = {
      id: this.#statements.nextId(),
      prepare: payload,
      settings: record.settings,
      key: `${record.replicaSettings.key}\0\0${payload.toString('latin1')}`,
      class: statement.class,
      needs: statement.needs,
      leaves: isUnclear ? statement.leaves | Leave.ANYTHING : statement.leaves,
      assignments,
      hint: statement.hint,
      digestHigh: statement.digestHigh,
      digestLow: statement.digestLow,
      parameters: 0,
      columns: null,
      types: null,
      hasLongData: false,
      lostLongData: false,
      hasCursor: false,
    };
    if (this.#hasBusy) this.#statements.keepApart(this.#current);
    // To prepare is not to run: nothing is needed or left.
    const mayBeAnywhere = statement.class === 'read' && (statement.needs & ~Need.USER_VARIABLE) === 0;
    statement.needs = mayBeAnywhere ? 0 : Need.SESSION;
    statement.leaves = 0;
    if (!mayBeAnywhere) statement.class = 'session';
    return this.#host.go(bytes, start, end);
  }

  /** COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE. */
  execute(command: number, bytes: Buffer, start: number, end: number): boolean {
    const current = this.#take(command, bytes, start, end, 'mysqld_stmt_execute');
    if (current === undefined) return false;
    if (current.lostLongData) {
      current.lostLongData = false;
      this.#host.answerError(refusal('DBPROXY_LONG_DATA_LOST'));
      return false;
    }
    this.#findTypes(current, bytes.subarray(start, end));
    if (!this.#mayBeTaught(current)) return false;
    const { statement } = this.#host;
    this.#asStatement(current);
    this.#executesSet(current);
    this.#host.minds(current.prepare, 0, current.prepare.length);
    this.#host.remember(null, 0, 0);
    // The rows of a cursor are fetched later, while writes must go on: it is opened at home.
    this.#opensCursor = asksForCursor(bytes.subarray(start, end));
    if (this.#opensCursor) statement.needs |= Need.SESSION;
    return this.#host.go(bytes, start, end);
  }

  /** What a SET with parameters sets is not seen. */
  #executesSet({ leaves, assignments, parameters }: SessionStatement): void {
    if ((leaves & Leave.SETTINGS) === 0) return;
    if (assignments !== null && parameters === 0) this.#host.assigns(assignments);
    else this.#host.statement.leaves |= Leave.ANYTHING;
  }

  /** COM_STMT_FETCH: where the cursor is. */
  fetch(bytes: Buffer, start: number, end: number): boolean {
    const current = this.#take(Command.STMT_FETCH, bytes, start, end, 'mysqld_stmt_fetch');
    if (current === undefined) return false;
    const known = this.#knownTo(this.#host.attached, current);
    if (known === undefined || !current.hasCursor) {
      this.#host.answerError(
        refusal('DBPROXY_NO_CURSOR', current.id, this.#host.record.dialect.isMariaDb ? '' : '.'),
      );
      return false;
    }
    this.#asPlain();
    setStatementId(bytes, start, known.id);
    return true;
  }

  /** COM_STMT_RESET: closes the cursor and forgets what was sent in advance; where there is neither, nothing. */
  reset(bytes: Buffer, start: number, end: number): boolean {
    const current = this.#take(Command.STMT_RESET, bytes, start, end, 'mysqld_stmt_reset');
    if (current === undefined) return false;
    current.lostLongData = false;
    const known = this.#knownTo(this.#host.attached, current);
    if (known === undefined || !(current.hasCursor || current.hasLongData)) {
      this.#host.answerPlainOk();
      return false;
    }
    this.#asPlain();
    setStatementId(bytes, start, known.id);
    return true;
  }

  /** COM_STMT_CLOSE: the client's number is gone; on its connection the statement may serve others. */
  close(bytes: Buffer, start: number, end: number): boolean {
    const { attached, relay } = this.#host;
    if (end - start < ID_BYTES && attached !== null) {
      // MySQL 9.7 answers what is no such command.
      relay.expectUnasked();
      this.#asPlain();
      return this.#host.go(bytes, start, end);
    }
    const id = end - start < ID_BYTES ? 0 : statementIdOf(bytes, start);
    const current = this.#statements.find(id);
    this.#statements.remove(id);
    if (current !== undefined && (current.hasCursor || current.hasLongData)) {
      const known = this.#knownTo(attached, current);
      if (known !== undefined) {
        attached!.prepared.forget(current.key);
        this.#closeOn(attached!, [known.id]);
      }
      current.hasCursor = false;
      current.hasLongData = false;
      this.#unpin();
      this.#host.leaveIfFree();
    } else if (current !== undefined && this.#staysHome) this.#closeAlone(current);
    relay.skip();
    return false;
  }

  /** Where nobody else will use the statement, the server is told that it is closed. */
  #closeAlone({ key }: SessionStatement): void {
    const { attached } = this.#host;
    const known = attached?.prepared.find(key);
    if (known === undefined) return;
    for (const other of this.#statements.all()) if (other.key === key) return;
    attached!.prepared.forget(key);
    this.#closeOn(attached!, [known.id]);
  }

  /** COM_STMT_SEND_LONG_DATA: a parameter in advance, for the connection on which the statement will run. */
  longData(bytes: Buffer, start: number, end: number): boolean {
    const current = this.#find(end - start < ID_BYTES ? 0 : statementIdOf(bytes, start));
    if (current !== undefined && this.#hasBusy) this.#statements.keepApart(current);
    // Servers do not answer this command, also when it makes no sense.
    if (current === undefined) {
      this.#host.relay.skip();
      return false;
    }
    this.#command = Command.STMT_SEND_LONG_DATA;
    this.#current = current;
    this.#asPlain();
    this.#host.statement.needs = Need.SESSION;
    return this.#host.go(bytes, start, end);
  }

  /** One of these commands, too large to be looked at: it goes home, and the session stays there. */
  large(command: number, bytes: Buffer, start: number, end: number): boolean {
    const current = end - start < ID_BYTES ? undefined : this.#find(statementIdOf(bytes, start));
    if (current !== undefined && this.#hasBusy) this.#statements.keepApart(current);
    const canBe = command !== Command.STMT_PREPARE && command !== Command.STMT_CLOSE;
    if (current === undefined || !canBe) {
      this.#host.fail(refusal('DBPROXY_MALFORMED_PACKET', `command 0x${command.toString(16)}`));
      return false;
    }
    const types = this.#typesInHead(command, current, bytes.subarray(start, end));
    if (types !== null) {
      this.#asStatement(current);
      this.#host.minds(current.prepare, 0, current.prepare.length);
    }
    const isSeen = types !== null || (this.#staysHome && command === Command.STMT_SEND_LONG_DATA);
    this.#host.resumeLarge(async (connection) => {
      await this.#prepareOn(connection, current);
      const known = this.#knownTo(connection, current)!;
      if (command === Command.STMT_SEND_LONG_DATA) {
        current.hasLongData = true;
        this.#host.pinFor('long_data');
      }
      // Types that it may bring and that are not seen from now on this connection alone knows.
      if (types !== null || !isSeen) {
        known.types = types;
        current.types = types;
      }
      setStatementId(bytes, start, known.id);
    }, isSeen);
    return false;
  }

  /**
   * The types of an execution's parameters, of which only the first bytes are at hand; null when they are not among
   * them. A session that shares connections would have to know more of it.
   */
  #typesInHead(command: number, current: SessionStatement, head: Buffer): Buffer | null {
    if (!this.#staysHome || command !== Command.STMT_EXECUTE || asksForCursor(head)) return null;
    const hasSettings = (current.leaves & (Leave.SETTINGS | Leave.DATABASE)) !== 0;
    if (hasSettings) return null;
    try {
      const { start, end } = placeOfTypes(head, current.parameters, this.#capabilities);
      return end > start ? Buffer.from(head.subarray(start, end)) : null;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return null;
    }
  }

  /** The command at hand runs this statement. */
  #asStatement(current: SessionStatement): void {
    const { statement } = this.#host;
    statement.class = current.class;
    statement.needs = current.needs;
    statement.leaves = current.leaves;
    statement.hint = current.hint;
    statement.digestHigh = current.digestHigh;
    statement.digestLow = current.digestLow;
  }

  /** Makes the command at hand right for a connection as it lies; false when that is not enough. */
  fits(connection: BackendConnection, bytes: Buffer, start: number, end: number): boolean {
    const current = this.#current;
    if (current === null) {
      if (this.#unknown === null) return true;
      // Servers add this error to the list that is there, which may be of somebody else.
      const isKnown = end - start >= ID_BYTES && connection.prepared.hasId(statementIdOf(bytes, start));
      return !isKnown && (this.#staysHome || this.#host.hasOwnDiagnostics(connection));
    }
    if (this.#command === Command.STMT_PREPARE) {
      this.#host.relay.expectPrepared(current.id, this.#hasCache);
      return true;
    }
    const known = this.#knownTo(connection, current);
    if (known === undefined) return false;
    if (this.#command === Command.STMT_SEND_LONG_DATA) this.#pinLongData(current);
    // What the server has read of the types nobody knows.
    else if (this.#isUnreadable) known.types = null;
    else if (!this.#typesAreRight(known, current, bytes.subarray(start, end))) return false;
    setStatementId(bytes, start, known.id);
    return true;
  }

  /** The command at hand names a statement that there is not: a server is to refuse it. */
  get namesNone(): boolean {
    return this.#unknown !== null;
  }

  /** A server is to refuse the command at hand, and would add that to complaints of somebody else. */
  addsToForeign(connection: BackendConnection): boolean {
    return this.#unknown !== null && !this.#host.hasOwnDiagnostics(connection);
  }

  /** The command at hand is an execution whose rows are to be fetched later. */
  get opensCursor(): boolean {
    return this.#opensCursor;
  }

  /** There is a statement to run: the connection may have to learn it first. */
  get runs(): boolean {
    return this.#current !== null && this.#command !== Command.STMT_PREPARE;
  }

  /** Payload of the PREPARE of the statement that is to run; null when there is none. */
  get textToRun(): Buffer | null {
    return this.runs ? this.#current!.prepare : null;
  }

  /** Has the connection learn the statement that is to run. It may have other settings afterwards. */
  async teach(connection: BackendConnection): Promise<void> {
    if (this.#current !== null && this.runs) await this.#prepareOn(connection, this.#current);
  }

  /** The connection knows the statement that is to run, if there is one. */
  isTaught(connection: BackendConnection): boolean {
    return this.#current === null || !this.runs || this.#knownTo(connection, this.#current) !== undefined;
  }

  /** The command at hand as this connection needs it. */
  fitted(connection: BackendConnection, payload: Buffer): Buffer {
    const current = this.#current;
    if (this.fits(connection, payload, 0, payload.length)) return payload;
    if (current === null) throw this.#unknown!;
    const known = this.#knownTo(connection, current);
    if (known === undefined || current.types === null) throw preparedBefore(current);
    const complete = withTypes(payload, this.#place, current.types);
    known.types = current.types;
    setStatementId(complete, 0, known.id);
    return complete;
  }

  /** The command at hand has been answered by this connection. */
  answered(connection: BackendConnection, errno: number, status: number): void {
    const current = this.#current;
    if (current === null) return;
    switch (this.#command) {
      case Command.STMT_PREPARE:
        if (errno === 0) this.#prepared(connection, current);
        else this.#lastPreparedId = 0;
        return;
      case Command.STMT_EXECUTE:
        current.hasLongData = false;
        current.hasCursor = errno === 0 && (status & Status.CURSOR_EXISTS) !== 0;
        if (current.hasCursor) this.#host.pinFor('cursor');
        return this.#unpin();
      case Command.STMT_FETCH:
        if ((status & Status.LAST_ROW_SENT) === 0) return;
        current.hasCursor = false;
        return this.#unpin();
      case Command.STMT_RESET:
        current.hasLongData = false;
        current.hasCursor = false;
        return this.#unpin();
      default:
        return;
    }
  }

  /** The statement that a command names; undefined when there is none, which has been answered then. */
  #take(
    command: number,
    bytes: Buffer,
    start: number,
    end: number,
    name: string,
  ): SessionStatement | undefined {
    const id = end - start < ID_BYTES ? 0 : statementIdOf(bytes, start);
    const found = this.#find(id);
    if (found === undefined) {
      this.#refuse(bytes, start, end, refusal('DBPROXY_UNKNOWN_PREPARED', id, this.#checkName(name)));
      return undefined;
    }
    if (this.#hasBusy) this.#statements.keepApart(found);
    this.#command = command;
    this.#current = found;
    return found;
  }

  /** The function that does not know the statement: since MySQL 8.0 there is one check before them all. */
  #checkName(name: string): string {
    const { isMariaDb, minVersion } = this.#host.record.dialect;
    return !isMariaDb && minVersion >= 80_000 ? 'mysql_stmt_precheck' : name;
  }

  /**
   * A server refuses a statement that it does not know in words of its own, and adds that to what it has to
   * complain of: the one with the complaints is asked, with a number that it cannot know.
   */
  #refuse(bytes: Buffer, start: number, end: number, error: Error): void {
    const isGone = this.#host.connectionToAsk(Need.DIAGNOSTICS) === 'gone';
    const mayBeSent = this.#staysHome || end - start >= ID_BYTES;
    if (!mayBeSent || isGone) return this.#host.answerError(error);
    this.#unknown = error;
    this.#asPlain();
    this.#host.statement.needs = Need.DIAGNOSTICS;
    if (this.#host.go(bytes, start, end)) this.#host.relay.forward(Buffer.from(bytes.subarray(start, end)));
  }

  #find(id: number): SessionStatement | undefined {
    return this.#statements.find(id === LAST_STATEMENT_ID ? this.#lastPreparedId : id);
  }

  #knownTo(connection: BackendConnection | null, { key }: SessionStatement): ServerStatement | undefined {
    return connection?.prepared.find(key);
  }

  /** The command leaves nothing that the record must know. */
  #asPlain(): void {
    const { statement } = this.#host;
    statement.class = 'session';
    statement.needs = 0;
    statement.leaves = 0;
    statement.hint = 'none';
  }

  #prepared(connection: BackendConnection, current: SessionStatement): void {
    const head = this.#host.relay.preparedHead;
    current.parameters = head.readUInt16LE(11);
    current.columns = this.#host.relay.preparedColumns;
    this.#lastPreparedId = current.id;
    this.#statements.add(current);
    this.#keepOn(connection, current, head.readUInt32LE(5));
  }

  async #prepareOn(connection: BackendConnection, current: SessionStatement): Promise<void> {
    if (this.#knownTo(connection, current) !== undefined) return;
    const wanted = this.#settingsToPrepare(current) ?? current.settings;
    // MySQL parses again at an execution with other types than it expected, then by the sql_mode of that moment:
    // where that has happened, it was another moment than the one to come here.
    const { record } = this.#host;
    const mode = (of: Settings): string | undefined => of.variables.get('sql_mode');
    const isOtherMode = mode(current.settings) !== mode(record.settings);
    const mayBeParsedAgain = current.types !== null && !record.dialect.isMariaDb;
    if (isOtherMode && mayBeParsedAgain) throw preparedBefore(current);
    // On the way back the connection would begin anew, and forget it.
    if (wanted.changeTo(this.#host.record.settings).kind === 'reset') throw preparedBefore(current);
    await this.#host.connections.bring(connection, wanted);
    const { id, columns } = await connection.prepareStatement(current.prepare, this.#hasCache);
    // The client decodes rows by the columns that it was told: the server will not tell it of others.
    if (this.#hasCache && columns !== current.columns) throw preparedBefore(current);
    this.#keepOn(connection, current, id);
  }

  #keepOn(connection: BackendConnection, { key }: SessionStatement, id: number): void {
    // What has a cursor open is in use, though it is not executed: it must not be the first to give way.
    if (this.#hasBusy) {
      for (const { key: used, hasCursor } of this.#statements.all()) {
        if (hasCursor) connection.prepared.find(used);
      }
    }
    const { statementCache, maxPreparedStatements } = this.#config;
    // Where all of them are this client's own, none gives way before the client closes it.
    const most = this.#staysHome ? maxPreparedStatements : statementCache;
    const closing = connection.prepared.keep(key, { id, types: null }, most);
    this.#closeOn(connection, closing);
  }

  #closeOn(connection: BackendConnection, ids: readonly number[]): void {
    for (const id of ids) {
      const body = Buffer.alloc(4);
      body.writeUInt32LE(id);
      connection.write(writeCommand(Command.STMT_CLOSE, body));
    }
  }

  /**
   * The session's settings but for what decides how a statement is read: that is as it was when this one was
   * prepared. All else (autocommit above all) stays as it is, for a transaction may be open. Null: a connection
   * cannot come to them and back by SET alone.
   */
  #settingsToPrepare({ settings }: SessionStatement): Settings | null {
    const now = this.#host.record.settings;
    let then = now.withDatabase(settings.database);
    for (const name of DECIDES_READING) then = then.withVariable(name, settings.variables.get(name) ?? null);
    return now.changeTo(then).kind === 'set' && then.changeTo(now).kind === 'set' ? then : null;
  }

  /** False, and answered: the connection that the session keeps does not know the statement, and cannot learn it. */
  #mayBeTaught(current: SessionStatement): boolean {
    const { record, attached } = this.#host;
    if (!record.pinned || attached === null || this.#knownTo(attached, current) !== undefined) return true;
    if (this.#settingsToPrepare(current) !== null) return true;
    this.#host.answerError(preparedBefore(current));
    return false;
  }

  /** Finds the types in an execution. One that cannot be read passes: servers have words of their own for it. */
  #findTypes(current: SessionStatement, payload: Buffer): void {
    this.#isUnreadable = false;
    try {
      this.#place = placeOfTypes(payload, current.parameters, this.#capabilities);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#place = NO_TYPES;
      this.#isUnreadable = true;
    }
  }

  /** A cursor is open, or parameters were sent in advance. */
  get #hasBusy(): boolean {
    const { pins } = this.#host.record;
    return pins.has('cursor') || pins.has('long_data');
  }

  /** True when the server knows the types of the parameters, or is told them by the command as it is. */
  #typesAreRight(known: ServerStatement, current: SessionStatement, payload: Buffer): boolean {
    if (this.#command !== Command.STMT_EXECUTE && this.#command !== Command.STMT_BULK_EXECUTE) return true;
    const place = this.#place;
    if (place.saidAt < 0) return true;
    if (place.end > place.start) {
      const types = payload.subarray(place.start, place.end);
      if (current.types === null || !current.types.equals(types)) current.types = Buffer.from(types);
      known.types = current.types;
      return true;
    }
    // With no types sent ever, the server has its own word for that.
    const { types } = current;
    return types === null || types === known.types || known.types?.equals(types) === true;
  }

  #pinLongData(current: SessionStatement): void {
    current.hasLongData = true;
    this.#host.pinFor('long_data');
  }

  #unpin(): void {
    let cursors = 0;
    let longData = 0;
    for (const { hasCursor, hasLongData } of this.#statements.all()) {
      if (hasCursor) cursors++;
      if (hasLongData) longData++;
    }
    if (cursors === 0) this.#host.unpin('cursor');
    if (longData === 0) this.#host.unpin('long_data');
  }
}

function preparedBefore({ id }: SessionStatement): Error {
  return refusal('DBPROXY_PREPARED_BEFORE', id);
}
