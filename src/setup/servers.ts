/**
 * Connections to the servers that are being set up, one each, opened when first needed and kept to the end: a
 * step may set something for its session.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConfig } from '../config/config.ts';
import { ControlConnection, type ControlAccount } from '../monitor/connection.ts';
import { flavourOf, type Flavour } from '../monitor/flavour/flavour.ts';
import { text, type Row } from '../monitor/flavour/row.ts';
import type { StartingPoint } from '../monitor/flavour/setup.ts';
import { readIdentity, readReplicaStatus } from '../monitor/flavour/status.ts';
import type { ReplicationFacts } from '../monitor/observation.ts';

/** Bound of a statement that has nothing to wait for but the disk. */
export const STATEMENT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** A connection and the words its server understands. */
export interface SetupServer {
  readonly backend: BackendConfig;
  readonly connection: ControlConnection;
  readonly flavour: Flavour;
}

export class Servers {
  readonly #account: ControlAccount;
  readonly #clock: Clock;
  readonly #open = new Map<string, SetupServer>();

  constructor(account: ControlAccount, clock: Clock) {
    this.#account = account;
    this.#clock = clock;
  }

  /** The connection to a server: the one at hand, or a new one. */
  async of(backend: BackendConfig): Promise<SetupServer> {
    const kept = this.#open.get(backend.name);
    if (kept?.connection.usable === true) return kept;
    const connection = await ControlConnection.open(backend, this.#account, this.#clock, CONNECT_TIMEOUT_MS);
    const [row] = await connection.run('SELECT VERSION() AS version', STATEMENT_TIMEOUT_MS);
    const server = { backend, connection, flavour: flavourOf(text(row?.version)) };
    this.#open.set(backend.name, server);
    return server;
  }

  /** Asks a server one thing. */
  async ask(backend: BackendConfig, sql: string): Promise<Row[]> {
    const { connection } = await this.of(backend);
    return connection.run(sql, STATEMENT_TIMEOUT_MS);
  }

  /** Asks beside the connection that is kept, which may be busy. */
  async askAside(backend: BackendConfig, sql: string): Promise<Row[]> {
    const connection = await ControlConnection.open(backend, this.#account, this.#clock, CONNECT_TIMEOUT_MS);
    try {
      return await connection.run(sql, STATEMENT_TIMEOUT_MS);
    } finally {
      connection.close();
    }
  }

  /** All that a server has, by global ids. */
  async identity(backend: BackendConfig): Promise<StartingPoint> {
    const { flavour } = await this.of(backend);
    return readIdentity(await this.ask(backend, flavour.identity));
  }

  /** How its replication goes now; null when it has none. */
  async replication(backend: BackendConfig): Promise<ReplicationFacts | null> {
    const { flavour } = await this.of(backend);
    const rows = await this.ask(backend, flavour.replicaStatus);
    return readReplicaStatus(flavour, rows, { status: [], signs: [] });
  }

  /** Closes all. */
  close(): void {
    for (const { connection } of this.#open.values()) connection.close();
    this.#open.clear();
  }
}
