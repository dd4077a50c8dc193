/**
 * One check of one server over a connection that is kept: who are you, are you read-only, how does your
 * replication go. A check changes nothing on the server, never rejects, and ends within its timeout.
 */
import type { Clock } from '../base/clock.ts';
import { ControlConnection, type ControlAccount, type ControlServer } from './connection.ts';
import { flavourOf, readIdentity, readReplicaStatus, type Flavour } from './flavour/replication.ts';
import { classifyError, isConnectionLost, type Observation, type ServerFacts } from './observation.ts';

const VERSION_QUERY = 'SELECT VERSION() AS version';

/** A connection together with what its server said it is. */
interface Acquaintance {
  readonly connection: ControlConnection;
  readonly version: string;
  readonly flavour: Flavour;
}

export class Probe {
  readonly #server: ControlServer;
  readonly #account: ControlAccount;
  readonly #clock: Clock;
  #kept: Acquaintance | null = null;

  constructor(server: ControlServer, account: ControlAccount, clock: Clock) {
    this.#server = server;
    this.#account = account;
    this.#clock = clock;
  }

  /** Checks the server once. */
  async check(timeoutMs: number): Promise<Observation> {
    const endMs = this.#clock.nowMs() + timeoutMs;
    const leftMs = (): number => Math.max(1, endMs - this.#clock.nowMs());
    try {
      const kept = this.#kept;
      if (kept?.connection.usable === true) {
        try {
          return { kind: 'seen', facts: await readFacts(kept, leftMs) };
        } catch (error) {
          // The server was restarted under us, perhaps: ask anew before calling that a failure.
          if (!isConnectionLost(error)) throw error;
        }
      }
      this.close();
      this.#kept = await meet(await this.#connect(leftMs()), leftMs);
      return { kind: 'seen', facts: await readFacts(this.#kept, leftMs) };
    } catch (error) {
      this.close();
      return { kind: 'failed', failure: classifyError(error) };
    }
  }

  /** Drops the kept connection. */
  close(): void {
    this.#kept?.connection.close();
    this.#kept = null;
  }

  #connect(timeoutMs: number): Promise<ControlConnection> {
    return ControlConnection.open(this.#server, this.#account, this.#clock, timeoutMs);
  }
}

/** Asks a server for its version; closes the connection when that fails. */
async function meet(connection: ControlConnection, leftMs: () => number): Promise<Acquaintance> {
  try {
    const [row] = await connection.run(VERSION_QUERY, leftMs());
    const version = String(row?.version);
    return { connection, version, flavour: flavourOf(version) };
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function readFacts(
  { connection, version, flavour }: Acquaintance,
  leftMs: () => number,
): Promise<ServerFacts> {
  const identity = readIdentity(await connection.run(flavour.identity, leftMs()));
  const replication = readReplicaStatus(flavour, await connection.run(flavour.replicaStatus, leftMs()));
  return { version, greeting: connection.greeting, ...identity, replication };
}
