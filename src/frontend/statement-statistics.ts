/**
 * What is counted of the statements of one session: who has answered the last one, how long it took, in the
 * counters of the endpoint and in the digest of its form. The digest also tells whether statements of that form
 * are fast enough to share a connection.
 */
import type { SqlDialect, Statement, StatementClass } from '../sql/statement.ts';
import { digestText } from '../sql/digest-text.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import type { QueryCounter } from './counters.ts';
import { isFast, recordDigest, type Digest } from './digests.ts';
import type { Relay } from './relay.ts';

/** The session whose statements they are. */
export interface StatisticsHost {
  readonly context: Pick<SessionContext, 'clock' | 'counters'>;
  readonly endpoint: SessionEndpoint;
  readonly shared: SharedEndpoint;
  readonly relay: Relay;
}

/** Of a digest's text, as SHOW DIGESTS has it. */
const MOST_DIGEST_TEXT = 1024;

export class StatementStatistics {
  /** Statements by who answered them, and reads that were sent again. */
  readonly counts = { home: 0, replica: 0, pipelined: 0, retried: 0 };
  readonly #context: StatisticsHost['context'];
  readonly #listener: string;
  readonly #shared: SharedEndpoint;
  readonly #relay: Relay;
  /** What is remembered of statements of the form of the one at hand. */
  #digest: Digest | undefined;
  #bytesBefore = 0;
  #idleBeforeMs = 0;
  /** Who has answered the last statement; empty: dbproxy itself. */
  #answeredBy = '';
  #answeredAtHome = true;
  #wasPipelined = false;
  #lastCounter: QueryCounter | null = null;

  constructor({ context, endpoint, shared, relay }: StatisticsHost) {
    this.#context = context;
    this.#listener = endpoint.config.name;
    this.#shared = shared;
    this.#relay = relay;
  }

  /** Who has answered the last statement; null: dbproxy itself. */
  get answeredBy(): string | null {
    return this.#answeredBy === '' ? null : this.#answeredBy;
  }

  get answeredAtHome(): boolean {
    return this.#answeredAtHome;
  }

  /** A new command, of which no form is known. */
  begin(): void {
    this.#digest = undefined;
  }

  /** It is a statement of this form; `bytes[text, end)` is the text of a new form, if it is at hand. */
  beginStatement(
    { digestHigh, digestLow, class: kind }: Statement,
    bytes: Buffer | null,
    text: number,
    end: number,
    dialect: SqlDialect,
  ): void {
    const { digests } = this.#shared;
    this.#bytesBefore = this.#relay.bytesToClient;
    this.#idleBeforeMs = this.#context.clock.idleMs();
    this.#digest = digests.find(digestHigh, digestLow);
    if (this.#digest !== undefined || bytes === null) return;
    const words = digestText(bytes, text, end, dialect, MOST_DIGEST_TEXT);
    this.#digest = digests.add(digestHigh, digestLow, words, kind);
  }

  /** Statements like the one at hand have proved to be answered in less than `fastMs`. */
  isFast(fastMs: number): boolean {
    return this.#digest !== undefined && isFast(this.#digest, fastMs);
  }

  /** A server has answered, on a connection of the session's own. */
  answered(backend: string, atHome: boolean): void {
    this.#answeredBy = backend;
    this.#answeredAtHome = atHome;
    this.#wasPipelined = false;
  }

  /** A server has answered, on a lane. */
  answeredOnLane(backend: string, atHome: boolean): void {
    this.#answeredBy = backend;
    this.#answeredAtHome = atHome;
    this.#wasPipelined = true;
    this.#shared.pipelined++;
  }

  /** dbproxy has answered. */
  answeredHere(): void {
    this.#answeredBy = '';
  }

  /** A read is sent again. */
  retried(reason: 'refused' | 'lost'): void {
    const { retries } = this.#shared;
    retries.set(reason, (retries.get(reason) ?? 0) + 1);
    this.counts.retried++;
  }

  /** The statement at hand has been answered after `durationMs`. `hasComplained`: its client may ask after it. */
  record(durationMs: number, kind: StatementClass, hasComplained: boolean): void {
    this.#counter(kind).record(durationMs);
    if (this.#answeredAtHome) this.counts.home++;
    else this.counts.replica++;
    if (this.#wasPipelined) this.counts.pipelined++;
    if (this.#digest === undefined) return;
    const bytes = this.#relay.bytesToClient - this.#bytesBefore;
    const way = { atHome: this.#answeredAtHome, pipelined: this.#wasPipelined };
    if (hasComplained) this.#digest.hasComplained = true;
    const idleMs = this.#context.clock.idleMs() - this.#idleBeforeMs;
    recordDigest(this.#digest, durationMs, idleMs, bytes, way);
  }

  /** The counter of the last statement: nearly always that of the one before it. */
  #counter(kind: StatementClass): QueryCounter {
    const last = this.#lastCounter;
    if (last !== null && last.backend === this.#answeredBy && last.class === kind) return last;
    const counter = this.#context.counters.queries(this.#listener, this.#answeredBy, kind);
    this.#lastCounter = counter;
    return counter;
  }
}
