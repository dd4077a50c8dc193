/**
 * What REJOIN reads: the servers at both ends, and in the binary log of the one that comes back what the primary has not, by
 * global ids or, without them, from the place on where the new primary's log went on.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { foreignTo } from './history.ts';
import { collectLost, type CollectRequest } from './lost/collect.ts';
import { conflictsOf } from './lost/conflicts.ts';
import { atServer, type SqlConnection } from './lost/connection.ts';
import { findLostTransactions } from './lost/find.ts';
import type { Found } from './lost/found.ts';
import { readHeld, type Held } from './lost/held.ts';
import { LOOK_TIMEOUT_MS, type OpenServer, type ServerControl } from './server-control.ts';
import { factsInCluster, memberOf, type Survey } from './survey.ts';

interface SearchWorld {
  readonly clock: Clock;
  readonly stateDir: string;
  readonly openServer: OpenServer;
  survey(): Survey;
}

/** Bound of one statement of REJOIN. */
export const STATEMENT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** Bound of reading a binary log. */
const READ_TIMEOUT_MS = 60_000;

/** Looks for what is lost. */
export class LostSearch {
  readonly #world: SearchWorld;
  readonly #cluster: ClusterConfig;
  readonly #ends: RejoinEnds;

  constructor(world: SearchWorld, ends: RejoinEnds) {
    this.#world = world;
    this.#cluster = world.survey().cluster;
    this.#ends = ends;
  }

  /** Finds, compares and saves. */
  async save(backend: BackendConfig, primary: BackendConfig): Promise<{ files: string; found: Found }> {
    const { stateDir } = this.#world;
    const request = await this.#lostRequest(backend, primary);
    const found = await collectLost({ ...request, stateDir, epoch: this.#world.survey().epoch });
    return { files: found.file ?? 'no file', found };
  }

  /** Finds and compares. */
  async find(backend: BackendConfig, primary: BackendConfig): Promise<Found> {
    const request = await this.#lostRequest(backend, primary);
    const lost = await findLostTransactions({ ...request, onRaw: null });
    return { lost, verdicts: await conflictsOf(lost.transactions, request.newPrimary, STATEMENT_TIMEOUT_MS) };
  }

  async #lostRequest(
    backend: BackendConfig,
    primary: BackendConfig,
  ): Promise<Omit<CollectRequest, 'stateDir' | 'epoch'>> {
    const { clock } = this.#world;
    const { monitorUser, monitorPassword, replicationUser, replicationPassword } = this.#cluster;
    const account =
      replicationUser === ''
        ? { user: monitorUser, password: monitorPassword }
        : { user: replicationUser, password: replicationPassword };
    const connection = atServer(backend.name, await this.#ends.connect(backend));
    const newPrimary = atServer(primary.name, await this.#ends.connect(primary));
    const [row] = await newPrimary.run('SELECT VERSION() AS version', STATEMENT_TIMEOUT_MS);
    const kind = /mariadb/i.test(String(row?.version)) ? 'mariadb' : 'mysql';
    const held = this.#heldByPlace(backend) ?? (await this.#heldOrForeign(backend, newPrimary, kind));
    const bounds = { clock, timeoutMs: READ_TIMEOUT_MS };
    return { source: { backend, account }, connection, newPrimary, held, bounds };
  }

  /** What the primary has, and what has come to the server from other sources: nobody here misses that. */
  async #heldOrForeign(
    backend: BackendConfig,
    newPrimary: SqlConnection,
    kind: 'mysql' | 'mariadb',
  ): Promise<Held> {
    const held = await readHeld(newPrimary, kind, STATEMENT_TIMEOUT_MS);
    if (held.kind === 'position' || backend.channel === undefined) return held;
    const own = await (await this.#ends.server(backend)).look(LOOK_TIMEOUT_MS);
    const foreign = foreignTo(own, factsInCluster(this.#world.survey(), backend, own));
    return { ...held, gtids: [held.gtids, foreign].filter((gtids) => gtids !== '').join(',') };
  }

  /** Without global ids: all before the place where the new primary's log went on; null with them. */
  #heldByPlace({ name }: BackendConfig): Held | null {
    const survey = this.#world.survey();
    const facts = memberOf(survey, name)?.record.facts ?? null;
    if (facts === null || facts.hasGtid) return null;
    const end = survey.handover?.end;
    if (end === undefined || end.server !== facts.serverUuid) {
      throw new Error(
        `it was not the primary before this one, and what else it has cannot be told without global ids`,
      );
    }
    return { kind: 'position', file: end.file, position: end.position };
  }
}

/** Connections to servers, which are closed together. */
export class RejoinEnds {
  readonly #world: SearchWorld;
  readonly #cluster: ClusterConfig;
  readonly #open: { close(): void }[] = [];

  constructor(world: SearchWorld) {
    this.#world = world;
    this.#cluster = world.survey().cluster;
  }

  async server(backend: BackendConfig): Promise<ServerControl> {
    const server = await this.#world.openServer(backend, this.#cluster);
    this.#open.push(server);
    return server;
  }

  async connect(backend: BackendConfig): Promise<ControlConnection> {
    const { clock } = this.#world;
    const connection = await ControlConnection.open(backend, this.#cluster, clock, CONNECT_TIMEOUT_MS);
    this.#open.push(connection);
    return connection;
  }

  close(): void {
    for (const connection of this.#open) connection.close();
  }
}
