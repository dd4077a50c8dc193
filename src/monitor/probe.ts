/**
 * One check of one server: who are you, are you read-only, how does your replication go. A check changes
 * nothing on the server, never rejects, and ends within its timeout.
 *
 * A connection is kept from one check to the next. While a check waits for its answer on that one, another may
 * be started beside it, on a connection of its own: so a frozen server is found out in the time of one check,
 * and a connection that is dead alone is not taken for a server that is. As one that is kept needs no login, a new
 * login is made beside the checks from time to time.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from './connection.ts';
import { readFacts, type Acquaintance, type OwnRows, type Questions } from './facts.ts';
import { flavourOf } from './flavour/flavour.ts';
import { LoginCheck } from './login-check.ts';
import { classifyError, isConnectionLost, type Observation } from './observation.ts';

const VERSION_QUERY = 'SELECT VERSION() AS version';

/** Whoever changes a table of ours must not keep a thread of the server waiting for longer: whole seconds, 1 is the least. */
const BOUND_WAITS = 'SET SESSION lock_wait_timeout = 1';

/** One whose connection is kept. */
interface Met extends Acquaintance {
  /** When the connection was made. */
  readonly metMs: number;
}

export class Probe {
  readonly #backend: BackendConfig;
  readonly #cluster: ClusterConfig;
  readonly #questions: Questions;
  readonly #clock: Clock;
  readonly #onLost: () => void;
  readonly #logins: LoginCheck;
  #idle: Met | null = null;
  readonly #busy = new Set<ControlConnection>();
  #known: OwnRows = { epoch: null, beat: null };
  #closed = false;

  /** `onLost` is called when the connection that is kept breaks while nobody uses it: the server went, perhaps. */
  constructor(backend: BackendConfig, cluster: ClusterConfig, clock: Clock, onLost: () => void) {
    this.#backend = backend;
    this.#cluster = cluster;
    this.#questions = {
      name: cluster.name,
      lagSource: cluster.lagSource,
      ...(backend.channel !== undefined && { channel: backend.channel }),
    };
    this.#clock = clock;
    this.#onLost = onLost;
    this.#logins = new LoginCheck(cluster.checkLoginIntervalMs, clock, (timeoutMs) => this.#logIn(timeoutMs));
  }

  /** Checks the server once; several checks may run side by side. */
  async check(timeoutMs: number): Promise<Observation> {
    const endMs = this.#clock.nowMs() + timeoutMs;
    const leftMs = (): number => Math.max(1, endMs - this.#clock.nowMs());
    try {
      const kept = this.#takeIdle();
      if (kept !== null) {
        try {
          const seen = await this.#ask(kept, leftMs);
          void this.#logins.tryIfDue(timeoutMs);
          return seen;
        } catch (error) {
          // The server was restarted under us, perhaps: ask anew before calling that a failure.
          if (!isConnectionLost(error)) throw error;
        }
      }
      return await this.#ask(await this.#meet(leftMs), leftMs);
    } catch (error) {
      return { kind: 'failed', failure: classifyError(error) };
    }
  }

  /** Drops all connections. */
  close(): void {
    this.#closed = true;
    this.#takeIdle()?.connection.close();
    for (const connection of this.#busy) connection.close();
  }

  /** Asks, and keeps the connection when that went well. */
  async #ask(acquaintance: Met, leftMs: () => number): Promise<Observation> {
    const { connection } = acquaintance;
    this.#busy.add(connection);
    try {
      const facts = await readFacts(acquaintance, this.#questions, this.#known, leftMs);
      this.#known = { epoch: facts.epoch, beat: facts.beat };
      this.#keep(acquaintance);
      return { kind: 'seen', facts, metMs: acquaintance.metMs, accountTrouble: this.#logins.trouble };
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      this.#busy.delete(connection);
    }
  }

  /** Connects, and asks a server for its version. */
  async #meet(leftMs: () => number): Promise<Met> {
    const connection = await this.#logIn(leftMs()).catch((error: unknown) => {
      this.#logins.note(error);
      throw error;
    });
    this.#logins.note(null);
    const metMs = this.#clock.nowMs();
    try {
      await connection.run(BOUND_WAITS, leftMs());
      const [row] = await connection.run(VERSION_QUERY, leftMs());
      const version = String(row?.version);
      return {
        connection,
        metMs,
        version,
        flavour: flavourOf(version),
        allowed: new Set(),
        memory: { recalled: null },
      };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  #logIn(timeoutMs: number): Promise<ControlConnection> {
    return ControlConnection.open(this.#backend, this.#cluster, this.#clock, timeoutMs, true);
  }

  #takeIdle(): Met | null {
    const idle = this.#idle;
    this.#idle = null;
    if (idle === null) return null;
    idle.connection.onLost = null;
    return idle.connection.usable ? idle : null;
  }

  /** One is enough: a second one comes from checks that ran side by side. */
  #keep(acquaintance: Met): void {
    const { connection } = acquaintance;
    if (!connection.usable) return;
    if (this.#closed || this.#idle !== null) return connection.close();
    this.#idle = acquaintance;
    connection.onLost = () => {
      this.#takeIdle();
      this.#onLost();
    };
  }
}
