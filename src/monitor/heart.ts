/**
 * The heart of a cluster: writes one row on its primary again and again. What it is for are the lag of the
 * replicas, which have the row or have it not yet, and the write check: a primary that answers every question
 * and yet takes no write (a full disk, a lock on everything) shows it here and nowhere else.
 *
 * Never more than one write is under way, and each has an end: one that is not answered in time is ended from
 * outside, so that it cannot take effect later, and its connection is dropped.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { areWritten, nextBeatMs, NO_BEATS, withBeat, type Beats } from './beats.ts';
import { ControlConnection } from './connection.ts';
import type { HealthRecord } from './detector.ts';
import { isOn, text, type Statement } from './flavour/row.ts';
import { beat, CREATE_TABLES } from './flavour/tables.ts';
import { isTimeout } from './observation.ts';
import { lacksTable, outcomeOfError, type WriteOutcome } from './write-outcome.ts';

/** The primary that may be written on now, and the epoch to write. */
export interface HeartTarget {
  readonly backend: BackendConfig;
  readonly epoch: number;
}

export interface HeartOptions {
  readonly cluster: ClusterConfig;
  readonly clock: Clock;
  /** Whom to write on now; null: nobody. */
  readonly target: () => HeartTarget | null;
  /** Called with how each write went. */
  readonly onOutcome: (backend: string, outcome: WriteOutcome, startMs: number) => void;
  /** Called when the reason why nothing is written is another one; empty: it is written. */
  readonly onProblem: (problem: string, backend: string, outcome: WriteOutcome) => void;
  /** Makes the connection; by default a ControlConnection. */
  readonly connect?: (backend: BackendConfig, timeoutMs: number) => Promise<HeartConnection>;
}

/**
 * True when a row may be written on this primary in this epoch:
 *
 * 1. it is up, writable, and does not know of a later epoch than ours;
 * 2. its commits do not wait for a replica that is not there: that would be no finding, and every write that
 *    we end leaves a transaction behind that nobody else has.
 */
export function takesBeats({ reach, facts }: HealthRecord, epoch: number): boolean {
  if (reach !== 'up' || facts === null || facts.readOnly || (facts.epoch?.epoch ?? 0) > epoch) return false;
  const semiSync = facts.semiSync.primary;
  return semiSync === null || !semiSync.live || semiSync.clients >= semiSync.waitForReplicas;
}

/** What of a connection a heart needs. */
export type HeartConnection = Pick<ControlConnection, 'run' | 'close' | 'usable' | 'threadId'>;

/**
 * A lock that somebody holds on everything must not keep a thread of the server waiting for long. Nobody but a dbproxy
 * locks the row: who waits for that waits for a write of ours that hangs, so our own patience has to end first.
 */
function prepare({ checkTimeoutMs }: ClusterConfig): string {
  const longerThanOurs = Math.ceil(checkTimeoutMs / 1000) + 1;
  return `SET SESSION autocommit = 1, lock_wait_timeout = 1, innodb_lock_wait_timeout = ${longerThanOurs}`;
}

/** Our account may write on a read-only server, too, and must not: somebody else may have demoted it just now. */
const IS_READ_ONLY = 'SELECT @@global.read_only AS read_only';
/** What one of our own threads does. */
const THREAD_STATE = 'SELECT state AS state FROM information_schema.processlist WHERE id = ';
/** After a write that our account is not allowed, or that has no table, another one is tried after this. */
const HOPELESS_PAUSE_MS = 5_000;

export class Heart {
  readonly #options: HeartOptions;
  #beats: Beats = NO_BEATS;
  #kept: { readonly backend: string; readonly connection: HeartConnection } | null = null;
  #timer: Timer | null = null;
  #closed = false;
  /** Why nothing is written, as the last try said; empty when it is, or when none was made. */
  #problem = '';

  constructor(options: HeartOptions) {
    this.#options = options;
  }

  /** Begins to beat. */
  start(): void {
    this.#schedule(0);
  }

  /** What was written so far. */
  get beats(): Beats {
    return this.#beats;
  }

  /** Why there are no beats, in words; empty while there are. */
  get problem(): string {
    const { cluster, clock } = this.#options;
    return areWritten(this.#beats, cluster.heartbeatIntervalMs, clock.nowMs()) ? '' : this.#problem;
  }

  /** Stops, and drops the connection. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#drop();
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(delayMs, () => void this.#turn());
  }

  /** One write, and then the next one in its time. Never rejects. */
  async #turn(): Promise<void> {
    const { clock, target: targetNow } = this.#options;
    const startMs = clock.nowMs();
    const target = targetNow();
    const outcome = target === null ? null : await this.#write(target, startMs);
    this.#schedule(Math.max(0, startMs + this.#pauseMs(outcome) - clock.nowMs()));
    if (target === null || outcome === null || this.#closed) return;
    this.#tell(target.backend.name, outcome);
    this.#options.onOutcome(target.backend.name, outcome, startMs);
  }

  /** Once for each new problem, as nobody wants to read it four times a second. */
  #tell(backend: string, outcome: WriteOutcome): void {
    // That a server is not to be reached is said by its checks.
    const problem = outcome.kind === 'written' || outcome.kind === 'unreachable' ? '' : outcome.reason;
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(problem, backend, outcome);
  }

  /** For the write check alone it is enough to write as often as is checked. */
  #pauseMs(outcome: WriteOutcome | null): number {
    const { lagSource, heartbeatIntervalMs, checkIntervalMs } = this.#options.cluster;
    const usualMs = lagSource === 'status' ? checkIntervalMs : heartbeatIntervalMs;
    return outcome?.kind === 'hopeless' ? Math.max(usualMs, HOPELESS_PAUSE_MS) : usualMs;
  }

  async #write({ backend, epoch }: HeartTarget, startMs: number): Promise<WriteOutcome> {
    const { cluster, clock } = this.#options;
    const leftMs = (): number => Math.max(1, startMs + cluster.checkTimeoutMs - clock.nowMs());
    // Set once the server has answered on this connection: from then on it is the write that it does not take.
    let answering: HeartConnection | null = null;
    try {
      const connection = await this.#connectTo(backend, leftMs);
      const [row] = await connection.run(IS_READ_ONLY, leftMs());
      if (isOn(row?.read_only)) return { kind: 'hopeless', reason: 'it is read-only' };
      answering = connection;
      const atMs = nextBeatMs(this.#beats, clock.wallMs());
      await this.#beat(connection, beat(cluster.name, atMs, epoch), leftMs);
      this.#beats = withBeat(this.#beats, { atMs, writtenMs: clock.nowMs() });
      return { kind: 'written' };
    } catch (error) {
      this.#drop();
      const stuck = isTimeout(error) ? answering : null;
      const doing = stuck === null ? '' : await this.#endStuck(backend, stuck.threadId);
      return outcomeOfError(error, answering !== null, doing);
    }
  }

  /** Writes the row; makes its table first where it is missing and somebody has asked for it by name. */
  async #beat(connection: HeartConnection, row: Statement, leftMs: () => number): Promise<void> {
    const { lagSource, writeCheck } = this.#options.cluster;
    try {
      await connection.run(row, leftMs());
    } catch (error) {
      if (!lacksTable(error) || (lagSource !== 'heartbeat' && !writeCheck)) throw error;
      for (const statement of CREATE_TABLES) await connection.run(statement, leftMs());
      await connection.run(row, leftMs());
    }
  }

  async #connectTo(backend: BackendConfig, leftMs: () => number): Promise<HeartConnection> {
    if (this.#kept?.backend === backend.name && this.#kept.connection.usable) return this.#kept.connection;
    this.#drop();
    const connection = await this.#open(backend, leftMs());
    this.#kept = { backend: backend.name, connection };
    await connection.run(prepare(this.#options.cluster), leftMs());
    return connection;
  }

  /**
   * Ends from outside what did not come back, and answers what it was doing; a server that does not take that either has
   * nothing to end.
   */
  async #endStuck(backend: BackendConfig, threadId: number): Promise<string> {
    const { checkTimeoutMs } = this.#options.cluster;
    let doing = '';
    try {
      const other = await this.#open(backend, checkTimeoutMs);
      try {
        const [row] = await other.run(`${THREAD_STATE}${threadId}`, checkTimeoutMs);
        doing = text(row?.state);
      } finally {
        await other.run(`KILL ${threadId}`, checkTimeoutMs).finally(() => other.close());
      }
    } catch {
      // It is said by the outcome of the write.
    }
    return doing;
  }

  #open(backend: BackendConfig, timeoutMs: number): Promise<HeartConnection> {
    const { cluster, clock, connect } = this.#options;
    if (connect !== undefined) return connect(backend, timeoutMs);
    return ControlConnection.open(backend, cluster, clock, timeoutMs);
  }

  #drop(): void {
    this.#kept?.connection.close();
    this.#kept = null;
  }
}
