/**
 * The steps of a promotion as they are done on real servers: the thin shell around `plan.ts`. Each step
 * is one method of doing and, where there is one, one of undoing; each ends within a bound, and answers
 * in words what it did. Nothing here decides what comes next.
 */
import type { Endpoint } from '../base/address.ts';
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from '../monitor/connection.ts';
import {
  flavourOf,
  readIdentity,
  readReplicaStatus,
  readSemiSync,
  SEMI_SYNC_QUERY,
  type Flavour,
  type Identity,
  type Row,
  type SemiSyncSwitches,
  type Source,
} from '../monitor/flavour/replication.ts';
import type { ReplicationFacts } from '../monitor/observation.ts';
import type { BackendOverride } from '../topology/state-file.ts';
import type { Decision } from './check.ts';
import type { StepName } from './plan.ts';

/** What a step needs from the rest of the control plane. */
export interface PromotionWorld {
  readonly clock: Clock;
  hold(cluster: string, held: boolean): void;
  /** Ends the client sessions of a backend in all workers; those that do not answer in time are killed. */
  endSessions(
    backend: string,
    graceMs: number,
    timeoutMs: number,
    reason: string,
  ): Promise<{ ended: number; workersKilled: number }>;
  /** Remembers the primary under the next epoch, on disk. */
  recordPromotion(cluster: string, primary: string): Promise<number>;
  changeSettings(changes: Readonly<Record<string, BackendOverride>>): Promise<void>;
  rwWeight(backend: string): number;
  rememberedPrimary(cluster: string): string | null;
  /** Looks at a backend now; false when that did not succeed. */
  checkNow(backend: string): Promise<boolean>;
  /** The primary has changed: judge the rest of the cluster by the new one. */
  rejudge(cluster: string): void;
}

/** What a step did, in words; `skipped` when there was nothing to do. */
export interface StepReport {
  readonly result: 'done' | 'skipped';
  readonly detail: string;
}

/** A control connection and the words its server understands. */
interface Server {
  readonly backend: BackendConfig;
  readonly connection: ControlConnection;
  readonly flavour: Flavour;
}

/** Bound of a statement that has nothing to wait for. */
const STATEMENT_TIMEOUT_MS = 5_000;
/** How often a server is asked again while waiting for something it cannot announce. */
const POLL_MS = 100;
/** Length of one wait for a position; between two of them the applier is looked at. */
const WAIT_SLICE_SECONDS = 1;
/** How long a server may take to stop its applier before something must be in the way. */
const STOP_PATIENCE_MS = 500;
/** MySQL waits 60 s for the rest of a transaction before it stops its applier. */
const HALF_TRANSACTION_TIMEOUT_MS = 65_000;
/** How much longer than the server itself we wait, so that it is the server that gives up first. */
const SERVER_GIVES_UP_FIRST_MS = 1_000;

export class PromotionActions {
  readonly #world: PromotionWorld;
  readonly #cluster: ClusterConfig;
  readonly #decision: Decision;
  readonly #servers = new Map<string, Server>();
  /** Whom to remember again when the record has to be taken back. */
  readonly #rememberedBefore: string | null;
  /** All that the old primary has in its binary log, once nobody can write there any more. */
  #fencedPosition: string | null = null;
  #semiSync = false;
  /** The old primary had been read-only before we came; null until that has been read, and so before any change. */
  #wasReadOnly: boolean | null = null;
  /** The state file may name the new primary. */
  #recordTried = false;
  /** The new primary may have been made writable. */
  #writableTried = false;

  constructor(world: PromotionWorld, cluster: ClusterConfig, decision: Decision) {
    this.#world = world;
    this.#cluster = cluster;
    this.#decision = decision;
    this.#rememberedBefore = world.rememberedPrimary(cluster.name);
  }

  /** Does one step; rejects with the reason when it could not be done. */
  do(step: StepName): Promise<StepReport> {
    switch (step) {
      case 'hold':
        return this.#hold();
      case 'end_sessions':
        return this.#endSessions();
      case 'fence':
        return this.#fence();
      case 'catch_up':
        return this.#decision.kind === 'switchover' ? this.#catchUpWithOld() : this.#drainRelayLog();
      case 'stop_replication':
        return this.#stopReplication();
      case 'record':
        return this.#record();
      case 'make_writable':
        return this.#makeWritable();
      case 'weights':
        return this.#swapWeights();
      case 'publish':
        return this.#publish();
      case 'repoint':
        return this.#repoint();
      case 'semi_sync':
        return this.#carrySemiSync();
    }
  }

  /** Takes one step back; rejects with the reason when it could not be. */
  undo(step: StepName): Promise<string> {
    switch (step) {
      case 'hold':
        return this.#release();
      case 'fence':
        return this.#unfence();
      case 'catch_up':
      case 'stop_replication':
        return this.#restartReplication();
      case 'record':
        return this.#recordBack();
      case 'make_writable':
        return this.#makeReadOnlyAgain();
      case 'end_sessions':
      case 'weights':
      case 'publish':
      case 'repoint':
      case 'semi_sync':
        return Promise.reject(new Error(`step ${step} has no way back`));
    }
  }

  /** Closes the connections to the servers. */
  close(): void {
    for (const { connection } of this.#servers.values()) connection.close();
    this.#servers.clear();
  }

  // ---- the steps, in their order -------------------------------------------------------------------

  async #hold(): Promise<StepReport> {
    this.#world.hold(this.#cluster.name, true);
    return done('new write sessions wait');
  }

  async #endSessions(): Promise<StepReport> {
    const { old, target, kind } = this.#decision;
    if (old === null) return skipped('there is no old primary');
    const { holdTimeoutMs, transactionGraceMs } = this.#cluster;
    // A worker needs some of hold_timeout to answer, and a dead server's transactions cannot end well.
    const graceMs = kind === 'failover' ? 0 : Math.min(transactionGraceMs, holdTimeoutMs / 2);
    const reason = `${target.name} becomes the primary instead of ${old.name}`;
    const { ended, workersKilled } = await this.#world.endSessions(old.name, graceMs, holdTimeoutMs, reason);
    const killed = workersKilled === 0 ? '' : `; ${workersKilled} worker(s) did not answer and were killed`;
    return done(`${ended} client session(s) of ${old.name} ended${killed}`);
  }

  async #fence(): Promise<StepReport> {
    const old = await this.#server(this.#oldBackend());
    this.#wasReadOnly = (await identityOf(old)).readOnly;
    const timeoutMs = this.#cluster.holdTimeoutMs;
    const started = this.#world.clock.nowMs();
    const leftMs = (): number => Math.max(1, timeoutMs - (this.#world.clock.nowMs() - started));
    // read_only waits for statements that hold table locks; the server is told not to wait for ever.
    await old.connection.run(
      `SET SESSION lock_wait_timeout = ${Math.max(1, Math.floor(timeoutMs / 1000))}`,
      STATEMENT_TIMEOUT_MS,
    );
    for (const statement of old.flavour.makeReadOnly) {
      try {
        await old.connection.run(statement, leftMs() + SERVER_GIVES_UP_FIRST_MS);
      } catch (error) {
        await this.#kill(old);
        throw new Error(
          `${old.backend.name} did not become read-only within hold_timeout (${timeoutMs} ms): ${messageOf(error)}`,
        );
      }
    }
    const identity = await identityOf(old);
    if (!identity.readOnly) throw new Error(`${old.backend.name} is still writable`);
    this.#fencedPosition = identity.position;
    this.#semiSync = (await readSwitches(old)).primary?.on === true;
    return done(`${old.backend.name} is read-only at ${this.#fencedPosition || 'an empty binary log'}`);
  }

  async #catchUpWithOld(): Promise<StepReport> {
    const position = this.#fencedPosition ?? '';
    if (position === '') return skipped('the old primary has never written anything');
    const target = await this.#target();
    const waited = await this.#waitUntil(this.#cluster.catchUpTimeoutMs, async () => {
      const wait = target.flavour.waitFor(position, WAIT_SLICE_SECONDS);
      const [row] = await target.connection.run(wait, WAIT_SLICE_SECONDS * 1000 + STATEMENT_TIMEOUT_MS);
      const outcome = row?.outcome;
      if (outcome !== null && outcome !== undefined && Number(outcome) >= 0) return true;
      throwWhenApplierStopped(target.backend.name, await replicationOf(target));
      return false;
    });
    if (!waited) throw new Error(this.#tooSlow(`${target.backend.name} has not applied ${position}`));
    return done(`${target.backend.name} has applied ${position}, all that ${this.#oldBackend().name} had`);
  }

  /** Without the old primary, all there is to wait for is what had been received from it. */
  async #drainRelayLog(): Promise<StepReport> {
    const target = await this.#target();
    this.#semiSync = (await readSwitches(target)).replica?.on === true;
    // What was received must stay what it is, should the old primary come back right now.
    await target.connection.run(target.flavour.stopReceiver, STATEMENT_TIMEOUT_MS);
    const drained = await this.#waitUntil(this.#cluster.catchUpTimeoutMs, async () => {
      const replication = await replicationOf(target);
      if (replication === null || replication.drained) return true;
      throwWhenApplierStopped(target.backend.name, replication);
      await sleep(this.#world.clock, POLL_MS);
      return false;
    });
    if (!drained) throw new Error(this.#tooSlow(`${target.backend.name} has not applied all it received`));
    return done(
      `${target.backend.name} has applied all it received; what ${this.#oldBackend().name} had not sent yet stays there`,
    );
  }

  async #stopReplication(): Promise<StepReport> {
    const target = await this.#target();
    const oddity = await this.#stopServer(target);
    return done(`replication is stopped on ${target.backend.name}${oddity}`);
  }

  async #record(): Promise<StepReport> {
    this.#recordTried = true;
    const epoch = await this.#world.recordPromotion(this.#cluster.name, this.#decision.target.name);
    return done(`${this.#decision.target.name} is the primary of epoch ${epoch} in the state file`);
  }

  async #makeWritable(): Promise<StepReport> {
    const target = await this.#target();
    const { name } = target.backend;
    try {
      // A source that is only stopped would be followed again after the server's next restart.
      await target.connection.run(target.flavour.forgetSource, STATEMENT_TIMEOUT_MS);
      this.#writableTried = true;
      for (const statement of target.flavour.makeWritable) {
        await target.connection.run(statement, STATEMENT_TIMEOUT_MS);
      }
    } catch (error) {
      await this.#kill(target);
      throw error;
    }
    if ((await identityOf(target)).readOnly) throw new Error(`${name} is still read-only`);
    return done(`${name} is writable and follows nobody`);
  }

  async #swapWeights(): Promise<StepReport> {
    const target = this.#decision.target.name;
    const old = this.#oldBackend().name;
    const weight = this.#world.rwWeight(old) || this.#world.rwWeight(target) || 1;
    await this.#world.changeSettings({ [old]: { rwWeight: 0 }, [target]: { rwWeight: weight } });
    return done(`rw_weight of ${target} is ${weight}, of ${old} 0`);
  }

  async #publish(): Promise<StepReport> {
    const { target } = this.#decision;
    // The new snapshot must be made of what the server is now, not of what it was a second ago.
    const seen = await this.#world.checkNow(target.name);
    this.#world.rejudge(this.#cluster.name);
    this.#world.hold(this.#cluster.name, false);
    if (!seen) throw new Error(`${target.name} does not answer, so its writes wait`);
    return done(`${target.name} takes the writes`);
  }

  async #repoint(): Promise<StepReport> {
    const { kind, followers } = this.#decision;
    const backends = kind === 'switchover' ? [this.#oldBackend(), ...followers] : [...followers];
    if (backends.length === 0) return skipped('no other server is alive that followed the old primary');
    const source = await this.#sourceOfTarget();
    const outcomes = await Promise.allSettled(backends.map((backend) => this.#follow(backend, source)));
    for (const backend of backends) await this.#world.checkNow(backend.name);

    const failures = outcomes.flatMap((outcome, index) =>
      outcome.status === 'rejected' ? [`${backends[index]!.name}: ${messageOf(outcome.reason)}`] : [],
    );
    if (failures.length > 0) throw new Error(failures.join('; '));
    return done(`${backends.map(({ name }) => name).join(', ')} follow(s) ${this.#decision.target.name}`);
  }

  /** The new primary waits for acknowledgements only once there is somebody to give them. */
  async #carrySemiSync(): Promise<StepReport> {
    if (!this.#semiSync) return skipped('the old primary was not semi-synchronous');
    const target = await this.#target();
    const { primary, replica } = await readSwitches(target);
    if (primary === null)
      throw new Error(`${target.backend.name} has no semi-synchronous replication to switch on`);
    if (replica?.on === true) await setGlobal(target, replica.variable, 0);
    const followers = [this.#oldBackend(), ...this.#decision.followers];
    if (!(await this.#anyFollows(followers))) {
      throw new Error(
        `no replica follows ${target.backend.name} yet, so ${primary.variable} stays off there; set it when one does`,
      );
    }
    await setGlobal(target, primary.variable, 1);
    return done(`${primary.variable} is on at ${target.backend.name}`);
  }

  // ---- the ways back -------------------------------------------------------------------------------

  async #release(): Promise<string> {
    for (const backend of [this.#decision.old, this.#decision.target]) {
      if (backend !== null) await this.#world.checkNow(backend.name);
    }
    this.#world.rejudge(this.#cluster.name);
    this.#world.hold(this.#cluster.name, false);
    return 'writes go on as before';
  }

  async #unfence(): Promise<string> {
    if (this.#wasReadOnly === null) return `${this.#oldBackend().name} had not been touched`;
    if (this.#wasReadOnly) return `${this.#oldBackend().name} is read-only, as it was before`;
    const old = await this.#server(this.#oldBackend());
    for (const statement of old.flavour.makeWritable)
      await old.connection.run(statement, STATEMENT_TIMEOUT_MS);
    if ((await identityOf(old)).readOnly) throw new Error(`${old.backend.name} is still read-only`);
    return `${old.backend.name} is writable again`;
  }

  /** Starts the replica again; one whose source has been forgotten by now is pointed at it anew. */
  async #restartReplication(): Promise<string> {
    const target = await this.#target();
    if ((await replicationOf(target)) === null) {
      await this.#follow(
        target.backend,
        sourceOf(this.#oldBackend().address, await this.#oldPort(), this.#login()),
      );
    } else {
      await target.connection.run(target.flavour.startReplication, STATEMENT_TIMEOUT_MS);
    }
    return `${target.backend.name} replicates again`;
  }

  async #recordBack(): Promise<string> {
    if (!this.#recordTried) return 'the state file had not been changed';
    // A write that was reported as failed may be on the disk all the same: only a newer one is sure.
    const before = this.#rememberedBefore ?? this.#decision.old?.name ?? null;
    if (before === null) return `${this.#decision.target.name} may stay remembered: nobody was before it`;
    const epoch = await this.#world.recordPromotion(this.#cluster.name, before);
    return `${before} is the primary of epoch ${epoch} in the state file`;
  }

  async #makeReadOnlyAgain(): Promise<string> {
    const { old, target } = this.#decision;
    if (!this.#writableTried) return `${target.name} had not been made writable`;
    try {
      const server = await this.#target();
      for (const statement of server.flavour.makeReadOnly) {
        await server.connection.run(statement, STATEMENT_TIMEOUT_MS);
      }
      if (!(await identityOf(server)).readOnly) throw new Error('read_only is still off there');
    } catch (error) {
      const fenced =
        old === null ? '' : `, so ${old.name} is left as it is and is not given the writes again`;
      throw new Error(
        `${target.name} may be writable (${messageOf(error)})${fenced}; ${target.name} is remembered as the primary: when it answers, PROMOTE ${target.name} if it is read-only`,
      );
    }
    return `${target.name} is read-only`;
  }

  // ---- helpers -------------------------------------------------------------------------------------

  /** Makes a server follow `source` from where it stands, and waits until it is connected. */
  async #follow(backend: BackendConfig, source: Source): Promise<void> {
    const server = await this.#server(backend);
    const run = (sql: string): Promise<Row[]> => server.connection.run(sql, STATEMENT_TIMEOUT_MS);
    const { position, replicatedPosition } = await identityOf(server);
    const follows = (await replicationOf(server)) !== null;
    if (follows) await this.#stopServer(server);
    if (this.#semiSync) {
      const { primary, replica } = await readSwitches(server);
      if (primary?.on === true) await setGlobal(server, primary.variable, 0);
      if (replica?.on === false) await setGlobal(server, replica.variable, 1);
    }
    if (!follows) {
      const statements = server.flavour.followFrom(position, replicatedPosition);
      for (const statement of statements) await server.connection.run(statement, STATEMENT_TIMEOUT_MS);
    }
    await server.connection.run(server.flavour.changeSource(source), STATEMENT_TIMEOUT_MS);
    await run(server.flavour.startReplication);
    let lastError = '';
    const connected = await this.#waitUntil(this.#cluster.holdTimeoutMs, async () => {
      const replication = await replicationOf(server);
      if (replication?.receiver === 'running' && replication.applier === 'running') return true;
      lastError = replication?.receiverError || replication?.applierError || lastError;
      await sleep(this.#world.clock, POLL_MS);
      return false;
    });
    if (!connected) {
      throw new Error(`does not replicate after hold_timeout${lastError === '' ? '' : `: ${lastError}`}`);
    }
  }

  /**
   * Stops the replication of a server; answers what was odd about it, in words. A replica of a primary that
   * is gone may wait for the rest of its last transaction before it stops.
   */
  async #stopServer(server: Server): Promise<string> {
    const { stopReplication } = server.flavour;
    const { catchUpTimeoutMs } = this.#cluster;
    if (this.#decision.kind !== 'failover') {
      await server.connection.run(stopReplication, catchUpTimeoutMs);
      return '';
    }
    const timeoutMs = Math.max(catchUpTimeoutMs, HALF_TRANSACTION_TIMEOUT_MS);
    const stopping = server.connection.run(stopReplication, timeoutMs).then(() => 'stopped' as const);
    const patience = sleep(this.#world.clock, STOP_PATIENCE_MS).then(() => 'waiting' as const);
    if ((await Promise.race([stopping, patience])) === 'stopped') return '';
    const help = await this.#dropHalfTransaction(server);
    await stopping;
    return help;
  }

  /**
   * Ends the idle appliers, so that a stop need not wait for what cannot come any more. The half transaction
   * is rolled back; what is being applied goes on. Never rejects: without it (it takes the privilege
   * SYSTEM_USER where there is one), the stop only takes longer.
   */
  async #dropHalfTransaction({ backend, flavour }: Server): Promise<string> {
    if (flavour.idleAppliers === null) return '';
    let other: Server | null = null;
    try {
      other = await this.#open(backend);
      const idle = await other.connection.run(flavour.idleAppliers, STATEMENT_TIMEOUT_MS);
      for (const { id } of idle) await other.connection.run(`KILL ${Number(id)}`, STATEMENT_TIMEOUT_MS);
      return '; the half of a transaction that had arrived was dropped';
    } catch (error) {
      return `; it waited for the rest of a transaction, as its appliers could not be ended (${messageOf(error)})`;
    } finally {
      other?.connection.close();
    }
  }

  async #anyFollows(backends: readonly BackendConfig[]): Promise<boolean> {
    for (const backend of backends) {
      try {
        if ((await replicationOf(await this.#server(backend)))?.receiver === 'running') return true;
      } catch {
        // One that cannot be asked does not follow, as far as acknowledgements go.
      }
    }
    return false;
  }

  async #sourceOfTarget(): Promise<Source> {
    const target = await this.#target();
    const [row] = await target.connection.run('SELECT @@global.port AS port', STATEMENT_TIMEOUT_MS);
    return sourceOf(target.backend.address, Number(row?.port), this.#login());
  }

  async #oldPort(): Promise<number> {
    const old = await this.#server(this.#oldBackend());
    const [row] = await old.connection.run('SELECT @@global.port AS port', STATEMENT_TIMEOUT_MS);
    return Number(row?.port);
  }

  #login(): Source['login'] {
    const { replicationUser: user, replicationPassword: password } = this.#cluster;
    return user === '' ? null : { user, password };
  }

  /** Ends, from outside, a statement that did not come back: it must not take effect after we gave up. */
  async #kill(server: Server): Promise<void> {
    this.#servers.delete(server.backend.name);
    try {
      const other = await this.#server(server.backend);
      await other.connection.run(`KILL ${server.connection.threadId}`, STATEMENT_TIMEOUT_MS);
    } catch {
      // It has ended already, which is what was wanted; or the server is gone, and the undoing will say so.
    } finally {
      server.connection.close();
    }
  }

  #target(): Promise<Server> {
    return this.#server(this.#decision.target);
  }

  #oldBackend(): BackendConfig {
    const { old } = this.#decision;
    if (old === null) throw new Error('this promotion has no old primary');
    return old;
  }

  /** The connection to a server: the one at hand, or a new one. */
  async #server(backend: BackendConfig): Promise<Server> {
    const kept = this.#servers.get(backend.name);
    if (kept?.connection.usable === true) return kept;
    const server = await this.#open(backend);
    this.#servers.set(backend.name, server);
    return server;
  }

  async #open(backend: BackendConfig): Promise<Server> {
    const { clock } = this.#world;
    const connection = await ControlConnection.open(backend, this.#cluster, clock, STATEMENT_TIMEOUT_MS);
    const [row] = await connection.run('SELECT VERSION() AS version', STATEMENT_TIMEOUT_MS);
    return { backend, connection, flavour: flavourOf(String(row?.version)) };
  }

  /** Asks until the answer is yes or the time is over; `ask` does its own waiting in between. */
  async #waitUntil(timeoutMs: number, ask: () => Promise<boolean>): Promise<boolean> {
    const endMs = this.#world.clock.nowMs() + timeoutMs;
    do {
      if (await ask()) return true;
    } while (this.#world.clock.nowMs() < endMs);
    return false;
  }

  #tooSlow(what: string): string {
    return `${what} within catch_up_timeout (${this.#cluster.catchUpTimeoutMs} ms)`;
  }
}

/** How other servers reach one: over TCP, on this machine where it is known by a Unix socket. */
function sourceOf(address: Endpoint, ownPort: number, login: Source['login']): Source {
  switch (address.kind) {
    case 'tcp':
      return { host: address.host, port: address.port, login };
    case 'unix':
      return { host: '127.0.0.1', port: ownPort, login };
  }
}

async function identityOf(server: Server): Promise<Identity> {
  return readIdentity(await server.connection.run(server.flavour.identity, STATEMENT_TIMEOUT_MS));
}

async function replicationOf(server: Server): Promise<ReplicationFacts | null> {
  const rows = await server.connection.run(server.flavour.replicaStatus, STATEMENT_TIMEOUT_MS);
  return readReplicaStatus(server.flavour, rows);
}

async function readSwitches(server: Server): Promise<SemiSyncSwitches> {
  return readSemiSync(await server.connection.run(SEMI_SYNC_QUERY, STATEMENT_TIMEOUT_MS));
}

/** `variable` is a name the server itself has given. */
async function setGlobal(server: Server, variable: string, value: 0 | 1): Promise<void> {
  await server.connection.run(`SET GLOBAL ${variable} = ${value}`, STATEMENT_TIMEOUT_MS);
}

function throwWhenApplierStopped(name: string, replication: ReplicationFacts | null): void {
  if (replication?.applier !== 'stopped') return;
  const error = replication.applierError === '' ? '' : `: ${replication.applierError}`;
  throw new Error(`the applier of ${name} has stopped${error}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function done(detail: string): StepReport {
  return { result: 'done', detail };
}

function skipped(detail: string): StepReport {
  return { result: 'skipped', detail };
}
