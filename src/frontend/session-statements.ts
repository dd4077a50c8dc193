/**
 * The prepared statements of one session that changes connections: what the client knows by a number of
 * ours, and all that is needed to prepare it again wherever it runs next.
 */
import type { Settings } from '../backend/settings.ts';
import type { Assignment } from '../sql/set-statement.ts';
import type { RouteHint, StatementClass } from '../sql/statement.ts';

/** One of them. */
export interface SessionStatement {
  /** The client's number. */
  readonly id: number;
  /** Payload of its COM_STMT_PREPARE. */
  readonly prepare: Buffer;
  /** The settings it was prepared under: names in it were looked up in that database, read by that sql_mode. */
  readonly settings: Settings;
  /** Equal for statements that connections may share; `keepApart` makes it one of its own. */
  key: string;
  readonly class: StatementClass;
  readonly needs: number;
  readonly leaves: number;
  /** Of a SET; null of all else, and where it is not understood. */
  readonly assignments: readonly Assignment[] | null;
  readonly hint: RouteHint;
  readonly digestHigh: number;
  readonly digestLow: number;
  /** Parameters it has; known when the server has prepared it. */
  parameters: number;
  /** A hash of the columns that the client was told, where it keeps them; see `ColumnsHash`. */
  columns: string | null;
  /** Types of its parameters as the client sent them last; null before its first execution. */
  types: Buffer | null;
  /** Parameters have been sent in advance, to the connection that the session is pinned to. */
  hasLongData: boolean;
  /** They were, to a connection that is gone. */
  lostLongData: boolean;
  /** A cursor of it is open there. */
  hasCursor: boolean;
}

export class SessionStatements {
  readonly #byId = new Map<number, SessionStatement>();
  #lastId: number;

  /** Numbers begin after `lastId`. */
  constructor(lastId: number) {
    this.#lastId = lastId;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The number for the next one. */
  nextId(): number {
    do {
      this.#lastId = (this.#lastId % 0x7fffffff) + 1;
    } while (this.#byId.has(this.#lastId));
    return this.#lastId;
  }

  add(statement: SessionStatement): void {
    this.#byId.set(statement.id, statement);
  }

  find(id: number): SessionStatement | undefined {
    return this.#byId.get(id);
  }

  remove(id: number): void {
    this.#byId.delete(id);
  }

  /**
   * A server's statement has one cursor, and one set of parameters sent in advance. As long as another statement
   * of this session has either, this one may not be the same to the server.
   */
  keepApart(statement: SessionStatement): void {
    if (isBusy(statement)) return;
    for (const other of this.#byId.values()) {
      if (other.id !== statement.id && other.key === statement.key && isBusy(other)) {
        statement.key = `${statement.id}\0${statement.key}`;
        return;
      }
    }
  }

  clear(): void {
    this.#byId.clear();
  }

  all(): Iterable<SessionStatement> {
    return this.#byId.values();
  }
}

/** A connection knows something of it that the next execution would wipe out. */
function isBusy({ hasCursor, hasLongData }: SessionStatement): boolean {
  return hasCursor || hasLongData;
}
