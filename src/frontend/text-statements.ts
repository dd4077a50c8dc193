/**
 * Statements that come as text, to be run (COM_QUERY) or to be prepared (COM_STMT_PREPARE): what the text is, by
 * the classifier and by what the session is set to, and who has to hear of it before it is sent: a KILL, a read
 * endpoint, a READ ONLY transaction that is on a replica, a SET that can be answered here.
 * Manual: page_protocol_com_query.
 */
import { refusal } from '../base/errors.ts';
import type { Preparation } from '../backend/wish.ts';
import { Command } from '../protocol/constants.ts';
import { writePayload } from '../protocol/packets.ts';
import { textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { classify } from '../sql/classify.ts';
import { mayBeKill, parseKill, type KillStatement } from '../sql/kill.ts';
import { parseSet } from '../sql/set-statement.ts';
import { Leave, Need, type SqlDialect, type Statement } from '../sql/statement.ts';
import type { Aftermath } from './aftermath.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import type { ServerFacts, SessionEndpoint, SharedEndpoint } from './context.ts';
import type { Delivery } from './delivery.ts';
import { dialectOf } from './dialect.ts';
import type { ReadOnlyTransaction } from './read-only-transaction.ts';
import type { Relay } from './relay.ts';
import type { SessionChanges } from './session-changes.ts';
import type { SessionRecord } from './session-record.ts';
import type { StatementCommands } from './statement-commands.ts';
import type { StatementStatistics } from './statement-statistics.ts';

/** The dispatcher, as these commands use it. */
export interface TextHost {
  /** Finds what is known of statements of this form, whose text is `bytes[text, end)`. */
  remember(bytes: Buffer, text: number, end: number): void;
  /** The text of the statement at hand may set off code that is not in it. */
  minds(text: Buffer, start: number, end: number): void;
  /** The command at hand comes again when what a SET has set has been read. */
  readPending(bytes: Buffer, start: number, end: number): false;
}

/** The session whose statements they are, in its parts. */
export interface TextParts {
  readonly dispatcher: TextHost;
  readonly endpoint: SessionEndpoint;
  readonly shared: SharedEndpoint;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly aftermath: Aftermath;
  readonly changes: SessionChanges;
  readonly prepared: StatementCommands;
  readonly statistics: StatementStatistics;
  readonly readOnly: ReadOnlyTransaction;
  readonly delivery: Delivery;
  readonly host: {
    /** The first state of its connections, and the flags of the session. */
    readonly request: {
      readonly preparation: Preparation;
      readonly identity: { readonly capabilities: number };
    };
    /** Answers a command that no server is asked. */
    answer(bytes: Buffer): void;
    answerError(error: unknown): void;
    kill(payload: Buffer, kill: KillStatement): void;
    /** Looks at a statement of a read endpoint, whose text begins at `text`; true: it has been answered here. */
    answersRead(bytes: Buffer, start: number, text: number, end: number): boolean;
  };
}

/** How far a text is searched that cannot be classified. */
const TEXT_BYTES = 64 * 1024;

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set([
  'information_schema',
  'performance_schema',
  'mysql',
  'sys',
]);

export class TextStatements {
  readonly #parts: TextParts;
  readonly #dispatcher: TextHost;
  readonly #shared: SharedEndpoint;
  readonly #atHand: CommandAtHand;
  readonly #statement: Statement;
  readonly #record: SessionRecord;
  readonly #changes: SessionChanges;
  readonly #readOnly: ReadOnlyTransaction;
  readonly #delivery: Delivery;
  readonly #capabilities: number;
  readonly #isReadEndpoint: boolean;
  /** What `record.dialect` was made of. */
  #facts: ServerFacts;
  #settings: SessionRecord['settings'];

  /** `facts`: those that the record's dialect was made of. */
  constructor(parts: TextParts, facts: ServerFacts) {
    this.#parts = parts;
    this.#dispatcher = parts.dispatcher;
    this.#shared = parts.shared;
    this.#atHand = parts.atHand;
    this.#statement = parts.atHand.statement;
    this.#record = parts.record;
    this.#changes = parts.changes;
    this.#readOnly = parts.readOnly;
    this.#delivery = parts.delivery;
    this.#capabilities = parts.host.request.identity.capabilities;
    this.#isReadEndpoint = parts.endpoint.config.mode === 'read';
    this.#facts = facts;
    this.#settings = parts.record.settings;
  }

  /** A command with text: true when it goes as it lies to the connection that is attached now. */
  route(bytes: Buffer, start: number, end: number): boolean {
    const text = textStart(bytes, start, end, this.#capabilities);
    if (text === UNKNOWN_START) return this.#unreadable(bytes, start, end);
    const isToRun = this.#atHand.command === Command.QUERY;
    const { host } = this.#parts;
    if (isToRun && mayBeKill(bytes, text, end)) {
      const kill = parseKill(bytes, text, end);
      if (kill !== undefined) {
        host.kill(Buffer.from(bytes.subarray(start, end)), kill);
        return false;
      }
    }
    if (this.#isReadEndpoint && host.answersRead(bytes, start, text, end)) return false;
    this.#classify(bytes, text, end);
    const mayComeBetween = this.#statement.class === 'session' || this.#atHand.asksAfter;
    if (this.#changes.isPending && !mayComeBetween) return this.#dispatcher.readPending(bytes, start, end);
    this.#dispatcher.remember(bytes, text, end);
    this.#dispatcher.minds(bytes, text, end);
    return isToRun ? this.#run(bytes, start, text, end) : this.#prepare(bytes, start, text, end);
  }

  /** Its query attributes go on beyond what is at hand, or are none: only a server can say what the text is. */
  #unreadable(bytes: Buffer, start: number, end: number): boolean {
    const { endpoint, host } = this.#parts;
    if (this.#isReadEndpoint) {
      const what = 'its query attributes cannot be read';
      host.answerError(refusal('DBPROXY_READ_ENDPOINT', endpoint.config.name, what));
      return false;
    }
    this.#atHand.as(Need.UNKNOWN_STATEMENT, Leave.ANYTHING);
    return this.#delivery.go(bytes, start, end);
  }

  #classify(bytes: Buffer, text: number, end: number): void {
    const statement = this.#statement;
    classify(bytes, text, end, this.#dialect(), statement);
    // Names without a schema are looked up in a server's own.
    const { database } = this.#record.settings;
    if (SYSTEM_SCHEMAS.has(database.toLowerCase())) statement.needs |= Need.SYSTEM_SCHEMA;
    if (mayHoldText(statement)) statement.needs |= asksInText(bytes, text, end);
  }

  /** How a text is to be read, by what the session is set to now. */
  #dialect(): SqlDialect {
    const facts = this.#shared.facts();
    const { settings } = this.#record;
    if (facts !== this.#facts || settings !== this.#settings) {
      this.#facts = facts;
      this.#settings = settings;
      this.#record.dialect = dialectOf(facts, settings, this.#parts.host.request.preparation);
    }
    return this.#record.dialect;
  }

  #prepare(bytes: Buffer, start: number, text: number, end: number): boolean {
    const { leaves, needs } = this.#statement;
    const isSet = (leaves & Leave.SETTINGS) !== 0 && (needs & Need.SEVERAL) === 0;
    const assignments = isSet ? parseSet(bytes, text, end, this.#record.dialect) : null;
    return this.#parts.prepared.prepare(bytes, start, end, assignments);
  }

  #run(bytes: Buffer, start: number, text: number, end: number): boolean {
    const { needs, leaves } = this.#statement;
    this.#readOnly.begins((leaves & Leave.READ_ONLY) === 0 ? null : Buffer.from(bytes.subarray(start, end)));
    if ((needs & Need.SEQUENCE) !== 0) this.#atHand.asksPreviousValue = asksPreviousValue(bytes, text, end);
    if ((leaves & (Leave.SETTINGS | Leave.DATABASE | Leave.IMPLICIT_COMMIT)) !== 0) {
      this.#atHand.changesSession = true;
      const answer = this.#changes.read(bytes, text, end, this.#statement);
      if (answer !== null) return this.#answerKnown(answer);
    }
    return this.#delivery.go(bytes, start, end);
  }

  /** A SET that a server has answered before: what it sets is set with the next statement. */
  #answerKnown(answer: Buffer): false {
    const { aftermath, statistics, relay, host } = this.#parts;
    aftermath.answeredHere();
    statistics.answeredHere();
    host.answer(writePayload(relay.answerSequence, answer));
    return false;
  }
}

/** PREPARE and EXECUTE IMMEDIATE, whose statement is in a text of theirs. */
function mayHoldText({ leaves, needs }: Statement): boolean {
  const isOne = (needs & Need.SEVERAL) === 0;
  return isOne && (leaves & (Leave.NAMED_STATEMENT | Leave.ANYTHING)) !== 0 && (needs & Need.WRITE) === 0;
}

/** What a statement in a text seems to ask after the statement before. */
function asksInText(bytes: Buffer, start: number, end: number): number {
  const words = bytes.toString('latin1', start, Math.min(end, start + TEXT_BYTES));
  if (!/^\s*(?:prepare|execute\s+immediate)\b/i.test(words)) return 0;
  return (/found_rows/i.test(words) ? Need.FOUND_ROWS : 0) | (/row_count/i.test(words) ? Need.ROW_COUNT : 0);
}

/** It may ask for what a sequence has given before, besides or instead of something new. */
function asksPreviousValue(bytes: Buffer, start: number, end: number): boolean {
  return /lastval|previous|currval/i.test(bytes.toString('latin1', start, end));
}
