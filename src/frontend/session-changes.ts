/**
 * Statements that change what a session is set to: SET and USE, prepared or not, alone or among others. What
 * they set is noted in the record when the server has taken it; a value that was computed is read back, so that
 * it can be set again elsewhere. A SET that a server has answered before is answered here: what it sets is set
 * with the session's next statement.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { initialSettings } from '../backend/wish.ts';
import { NAMES } from '../backend/settings.ts';
import { parseOk } from '../protocol/packets.ts';
import { parseSet, parseUse, type Assignment } from '../sql/set-statement.ts';
import { splitStatements } from '../sql/split.ts';
import { Leave, Need, type Statement } from '../sql/statement.ts';
import type { ServerFacts } from './context.ts';
import { knownSetKey, type KnownSettings } from './known-settings.ts';
import type { Relay } from './relay.ts';
import type { SessionRecord } from './session-record.ts';
import {
  applyAssignments,
  isRepeatable,
  mayBeSetInPart,
  withReadBack,
  withUserValue,
} from './session-settings.ts';

/** The dispatcher, as these statements use it. */
export interface ChangesHost {
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly known: KnownSettings;
  /** Whose statements they are, with the flags of the session. */
  readonly account: string;
  readonly capabilities: number;
  facts(): ServerFacts;
  /** It has a connection of its own, so that no server's answer has to be repeated by us. */
  readonly staysHome: boolean;
  nowMs(): number;
  /** The last statement is likely to be asked after. */
  isAskedAfter(): boolean;
  /** Runs `work` on the connection that is attached, before the next command. */
  settleBy(work: () => Promise<void>): void;
  /** What a successful SET has set was read at once. */
  setRead(): void;
  /** A connection that may write; its settings are the record's as they are. */
  isHome(connection: BackendConnection): boolean;
}

/** A SET that has been answered, by which others may be. */
interface LearntSet {
  readonly key: string | null;
  readonly answer: Buffer | null;
  readonly assignments: readonly Assignment[];
}

/** User variables that are repeated on other connections. */
const MOST_USER_VARIABLES = 100;

const CHARACTER_SETS = ['character_set_client', 'character_set_results', 'collation_connection'];

export class SessionChanges {
  readonly #host: ChangesHost;
  /** Of a SET: what it assigns; null when it is not understood, undefined for all else. */
  #assignments: readonly Assignment[] | null | undefined;
  /** Of a SET that has not been answered before: the key to keep its answer by. */
  #newKey: string | null = null;
  #database: string | null = null;
  #dropsDatabase = false;
  /** Asks for the values that the last SET has set. */
  #unread: (() => Promise<void>) | null = null;

  constructor(host: ChangesHost) {
    this.#host = host;
  }

  /** Values are still to be read, before anything but what may ask after the SET. */
  get isPending(): boolean {
    return this.#unread !== null;
  }

  /** The statement at hand only assigns to user variables, and nothing that only this connection could say. */
  get assignsVariables(): boolean {
    return this.#assignments?.every(isVariableForAll) === true;
  }

  /** The statement at hand is a SET of something that may not be said again on another connection. */
  get mayPin(): boolean {
    const assignments = this.#assignments;
    return assignments !== undefined && (assignments === null || !assignments.every(mayBeSaidAgain));
  }

  /** The statement at hand makes `id IS NULL` ask for the last insert, which only its own connection can tell. */
  get asksByNull(): boolean {
    return this.#assignments?.some(isAutoIsNull) === true;
  }

  /** The statement at hand sets LAST_INSERT_ID(), by one of its names. */
  get assignsInsertId(): boolean {
    return this.#assignments?.some(isInsertId) === true;
  }

  /** A new command. */
  begin(): void {
    this.#assignments = undefined;
    this.#newKey = null;
    this.#database = null;
    this.#dropsDatabase = false;
  }

  /** COM_INIT_DB; bytes of the name as latin1. */
  selects(database: string): void {
    this.#database = database;
  }

  /** COM_DROP_DB: it may be the database in use. */
  drops(): void {
    this.#dropsDatabase = true;
  }

  /** A prepared SET is executed: what it assigns, as far as its text says it. */
  assigns(assignments: readonly Assignment[]): void {
    this.#assignments = assignments;
  }

  /** A server has answered this SET before, so that dbproxy can. */
  knows(text: string): boolean {
    if (this.#host.staysHome) return false;
    return !this.#host.record.pinned && this.#host.known.find(this.#keyOf(text)) !== undefined;
  }

  /** Looks at a statement that leaves settings or a database. Payload of the OK, when it is answered here. */
  read(bytes: Buffer, text: number, end: number, statement: Statement): Buffer | null {
    const { leaves, needs } = statement;
    const { record, known, relay } = this.#host;
    const isAlone = (needs & Need.SEVERAL) === 0;
    if ((leaves & Leave.IMPLICIT_COMMIT) !== 0) this.#dropsDatabase = mayDropDatabase(bytes, text, end);
    if ((leaves & Leave.DATABASE) !== 0) {
      this.#database = isAlone ? parseUse(bytes, text, end, record.dialect) : null;
    }
    if ((leaves & Leave.SETTINGS) === 0) return null;
    this.#assignments = this.#assignmentsIn(bytes, text, end, isAlone);
    if (this.asksByNull) statement.needs |= Need.LAST_INSERT_ID;
    if (!isAlone || this.#assignments === null || !this.#assignments.every(isSelfContained)) return null;
    const key = this.#keyOf(bytes.toString('latin1', text, end));
    const found = record.pinned || this.#host.staysHome ? undefined : known.find(key);
    if (found === undefined) {
      this.#newKey = key;
      relay.keepAnswer();
      return null;
    }
    let { settings } = record;
    for (const [name, value] of found.variables) {
      settings = name === NAMES ? settings.withNames(value) : settings.withVariable(name, value);
    }
    record.set(settings);
    record.status = found.status;
    return found.answer;
  }

  /** The statement at hand has been answered by this connection. */
  answered(connection: BackendConnection, { leaves, needs }: Statement, errno: number): void {
    const isWell = errno === 0;
    if ((leaves & Leave.SETTINGS) !== 0) this.#settingsAnswered(connection, isWell);
    if ((leaves & Leave.DATABASE) !== 0 && (isWell || (needs & Need.SEVERAL) !== 0)) {
      this.#databaseAnswered(connection);
    }
    if (this.#dropsDatabase && isWell) this.#host.settleBy(() => this.#readDatabase(connection));
  }

  /** What is still to be read, to be run on the connection that the session is pinned to. */
  takePending(): () => Promise<void> {
    const read = this.#unread!;
    this.forget();
    return read;
  }

  /** Nothing is to be read any more. */
  forget(): void {
    this.#unread = null;
    this.#host.record.unpin('unread');
  }

  /** After a reset the character sets may be others than after the login. */
  async readCharacterSets(connection: BackendConnection): Promise<void> {
    await this.#readBack(connection, CHARACTER_SETS);
  }

  /** What the SETs assign among the statements of a packet; null when one of them is not understood. */
  #assignmentsIn(bytes: Buffer, text: number, end: number, isAlone: boolean): Assignment[] | null {
    const { dialect } = this.#host.record;
    if (isAlone) return parseSet(bytes, text, end, dialect);
    const all: Assignment[] = [];
    for (const place of splitStatements(bytes, text, end, dialect)) {
      if (!beginsWithSet(bytes, place.start, place.end)) continue;
      const some = parseSet(bytes, place.start, place.end, dialect);
      if (some === null) return null;
      all.push(...some);
    }
    return all;
  }

  #keyOf(text: string): string {
    const { account, capabilities, record } = this.#host;
    return `${account}\0${knownSetKey(record.status, capabilities, text)}`;
  }

  #settingsAnswered(connection: BackendConnection, isWell: boolean): void {
    const { record, relay } = this.#host;
    const nowMs = this.#host.nowMs();
    const assignments = this.#assignments ?? null;
    const names = this.#host.facts().transactionNames;
    if (!isWell) {
      if (mayBeSetInPart(assignments)) record.pin('settings', nowMs);
      return;
    }
    const outcome = applyAssignments(record.settings, assignments, names);
    if (outcome.pin !== null) record.pin('settings', nowMs);
    if (outcome.nextTransaction !== null) record.setNext(outcome.nextTransaction, nowMs);
    this.#setBoth(connection, outcome.settings);
    // To say all of them again to each connection would be more than to stay on one.
    const isMuch = outcome.settings.userVariables.size > MOST_USER_VARIABLES;
    if (isMuch) record.pin('user_variable', nowMs);
    if (outcome.pin !== null || isMuch) return;
    const learnt = { key: this.#newKey, answer: relay.takeKept(), assignments: assignments ?? [] };
    if (outcome.readBack.length === 0) return this.#keep(connection, learnt);
    this.#readLater(async () => {
      if (await this.#readBack(connection, outcome.readBack)) this.#keep(connection, learnt);
      this.#host.setRead();
    });
  }

  /** To ask for values would wipe out what the client may ask after the statement. */
  #readLater(read: () => Promise<void>): void {
    const before = this.#unread;
    const mayBeNow = !this.#host.record.pinned && !this.#host.isAskedAfter() && before === null;
    if (mayBeNow) return this.#host.settleBy(read);
    this.#unread = before === null ? read : () => before().then(read);
    this.#host.record.pin('unread', this.#host.nowMs());
  }

  /** The same SET of another session can be answered here from now on, if all about it is known. */
  #keep(connection: BackendConnection, { key, answer, assignments }: LearntSet): void {
    const { record, known } = this.#host;
    if (key === null || answer === null || record.pinned) return;
    const { status, warnings } = parseOk(answer);
    if (warnings > 0) return;
    const names = this.#host.facts().transactionNames;
    const fresh = applyAssignments(initialSettings(connection.preparation), assignments, names);
    const variables = new Map<string, string>();
    for (const name of [...fresh.settings.variables.keys(), ...fresh.readBack]) {
      const value = record.settings.variables.get(name);
      if (value === undefined) return;
      variables.set(name, value);
    }
    known.keep(key, { variables, status, answer });
  }

  /** Asks the server for the values of variables; false when one cannot be repeated elsewhere, which pins. */
  async #readBack(connection: BackendConnection, names: readonly string[]): Promise<boolean> {
    const { record } = this.#host;
    for (const name of names) {
      const settings = name.startsWith('@')
        ? withUserValue(record.settings, name, await connection.queryTyped(`SELECT ${name}`))
        : withReadBack(record.settings, name, await connection.queryValue(`SELECT @@SESSION.${name}`));
      if (settings === null) {
        record.pin('settings', this.#host.nowMs());
        return false;
      }
      this.#setBoth(connection, settings);
    }
    return true;
  }

  #databaseAnswered(connection: BackendConnection): void {
    if (this.#database === null) return this.#host.settleBy(() => this.#readDatabase(connection));
    this.#setBoth(connection, this.#host.record.settings.withDatabase(this.#database));
  }

  async #readDatabase(connection: BackendConnection): Promise<void> {
    const value = await connection.queryValue('SELECT DATABASE()');
    // No other connection can be brought to have none.
    if (value === null) this.#host.record.pin('settings', this.#host.nowMs());
    const database = value === null ? '' : Buffer.from(value, 'utf8').toString('latin1');
    this.#setBoth(connection, this.#host.record.settings.withDatabase(database));
  }

  /** The session's settings, which are those of the connection that has served it. */
  #setBoth(connection: BackendConnection, settings: SessionRecord['settings']): void {
    const { record } = this.#host;
    record.set(settings);
    connection.settings = this.#host.isHome(connection) ? record.settings : record.replicaSettings;
  }
}

/** Literals for session variables that can be repeated: the outcome depends on nothing else. */
function isSelfContained(assignment: Assignment): boolean {
  switch (assignment.kind) {
    case 'setting':
      return assignment.isLiteral && isRepeatable(assignment.name) && !/^default$/i.test(assignment.value);
    case 'names':
      return assignment.characterSet !== 'default';
    case 'transaction':
      return assignment.scope === 'session';
    case 'user_variable':
    case 'character_set':
    case 'global':
    case 'other':
      return false;
  }
}

function mayBeSaidAgain(assignment: Assignment): boolean {
  if (assignment.kind === 'user_variable') return isVariableForAll(assignment);
  return assignment.kind === 'character_set' || assignment.kind === 'names' || isSelfContained(assignment);
}

/** Its value can be said again on any connection: a literal, or a count, which is read back. */
function isVariableForAll(assignment: Assignment): boolean {
  if (assignment.kind !== 'user_variable') return false;
  return assignment.isLiteral || /^(?:found_rows|row_count)\s*\(\s*\)$/i.test(assignment.value);
}

function beginsWithSet(bytes: Buffer, start: number, end: number): boolean {
  return end - start > 3 && /^set\b/i.test(bytes.toString('latin1', start, Math.min(end, start + 4)));
}

/** SET sql_auto_is_null, but for its being switched off. */
function isAutoIsNull(assignment: Assignment): boolean {
  if (assignment.kind !== 'setting' || assignment.name !== 'sql_auto_is_null') return false;
  return !/^(?:0|off|'off'|false|default)$/i.test(assignment.value);
}

/** SET last_insert_id, and its other name. */
function isInsertId(assignment: Assignment): boolean {
  return (
    assignment.kind === 'setting' && (assignment.name === 'last_insert_id' || assignment.name === 'identity')
  );
}

/** DROP DATABASE and DROP SCHEMA, which may be the one in use. */
function mayDropDatabase(bytes: Buffer, start: number, end: number): boolean {
  return /\bdrop\b.*\b(?:database|schema)\b/is.test(
    bytes.toString('latin1', start, Math.min(end, start + 1000)),
  );
}
