/**
 * A server that is acted on by SQL: each act of `ServerControl` in the words of the server's flavour, over a
 * connection of its own as `monitor_user`. Nothing here decides what comes next.
 */
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { readFacts } from '../monitor/facts.ts';
import type { Source } from '../monitor/flavour/acts.ts';
import { flavourOf, type Flavour } from '../monitor/flavour/flavour.ts';
import { isOn, text, type Row } from '../monitor/flavour/row.ts';
import { readSemiSync, SEMI_SYNC_QUERY } from '../monitor/flavour/semi-sync.ts';
import { semiSyncTimeoutMs, setupWordsOf, type SemiSyncWords } from '../monitor/flavour/setup.ts';
import { readIdentity, readReplicaStatus } from '../monitor/flavour/status.ts';
import { CREATE_TABLES, DBPROXY_SCHEMA, noteEpoch } from '../monitor/flavour/tables.ts';
import { isDenied, type ReplicationFacts, type ServerFacts } from '../monitor/observation.ts';
import type { EpochNote, OpenServer, SemiSyncSide, ServerControl } from './server-control.ts';

/** Bound of a statement that has nothing to wait for. */
const STATEMENT_TIMEOUT_MS = 5_000;
/** Bound of connecting: a server that takes longer is of no use to anybody who waits. */
const CONNECT_TIMEOUT_MS = 2_000;
/** How often a server is asked again while waiting for something it cannot announce. */
const POLL_MS = 20;
/** Length of one wait for a position. */
const WAIT_SLICE_SECONDS = 1;
/** How long a server may take to stop its applier before something must be in the way. */
const STOP_PATIENCE_MS = 500;
/** MySQL waits 60 s for the rest of a transaction before it stops its applier. */
const HALF_TRANSACTION_TIMEOUT_MS = 65_000;
/** How much longer than the server itself we wait, so that it is the server that gives up first. */
const SERVER_GIVES_UP_FIRST_MS = 1_000;
/** How often to look whether a thread has ended. */
const END_POLL_MS = 5;
/** Sessions are ended again and again until the server is read-only: new ones may come in between. */
const END_SESSIONS_EVERY_MS = 100;
/** After so many rounds every session that is still there has been told to end, and its client is gone. */
const ROUNDS_TO_WAIT = 3;

/** Opens servers over SQL. */
export function sqlServers(clock: Clock): OpenServer {
  return async (backend, cluster) => {
    const connection = await ControlConnection.open(backend, cluster, clock, CONNECT_TIMEOUT_MS);
    try {
      const [row] = await connection.run('SELECT VERSION() AS version', STATEMENT_TIMEOUT_MS);
      return new SqlServer(backend, cluster, clock, connection, String(row?.version));
    } catch (error) {
      connection.close();
      throw error;
    }
  };
}

class SqlServer implements ServerControl {
  readonly backend: BackendConfig;
  readonly #cluster: ClusterConfig;
  readonly #clock: Clock;
  readonly #flavour: Flavour;
  readonly #version: string;
  #connection: ControlConnection;

  constructor(
    backend: BackendConfig,
    cluster: ClusterConfig,
    clock: Clock,
    connection: ControlConnection,
    version: string,
  ) {
    this.backend = backend;
    this.#cluster = cluster;
    this.#clock = clock;
    this.#connection = connection;
    this.#version = version;
    this.#flavour = flavourOf(version, backend.channel);
  }

  async look(timeoutMs: number): Promise<ServerFacts> {
    if (!this.#connection.usable) this.#connection = await this.#connect();
    const endMs = this.#clock.nowMs() + timeoutMs;
    const acquaintance = { connection: this.#connection, version: this.#version, flavour: this.#flavour };
    const { channel } = this.backend;
    const questions = {
      name: this.#cluster.name,
      lagSource: 'status' as const,
      ...(channel !== undefined && { channel }),
    };
    return readFacts(acquaintance, questions, { epoch: null, beat: null }, () =>
      Math.max(1, endMs - this.#clock.nowMs()),
    );
  }

  async makeReadOnly(timeoutMs: number, endsSessions: boolean): Promise<void> {
    const endMs = this.#clock.nowMs() + timeoutMs;
    const leftMs = (): number => Math.max(1, endMs - this.#clock.nowMs());
    // read_only waits for statements that hold table locks; the server is told not to wait for ever.
    await this.#run(`SET SESSION lock_wait_timeout = ${Math.max(1, Math.floor(timeoutMs / 1000))}`);
    const stop = endsSessions ? await this.#keepEndingSessions() : () => undefined;
    try {
      for (const statement of this.#flavour.makeReadOnly) {
        await this.#connection.run(statement, leftMs() + SERVER_GIVES_UP_FIRST_MS);
      }
    } catch (error) {
      await this.#killOwn();
      throw new Error(
        `${this.backend.name} did not become read-only within ${timeoutMs} ms: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    } finally {
      stop();
    }
    if (!(await this.#identity()).readOnly) throw new Error(`${this.backend.name} is still writable`);
  }

  async makeWritable(): Promise<void> {
    try {
      for (const statement of this.#flavour.makeWritable) await this.#run(statement);
    } catch (error) {
      await this.#killOwn();
      throw error;
    }
    if ((await this.#identity()).readOnly) throw new Error(`${this.backend.name} is still read-only`);
  }

  async stopReceiver(): Promise<void> {
    const { receiverThreads, stopReceiver } = this.#flavour;
    if (receiverThreads !== null) await this.#endThreads(receiverThreads);
    await this.#run(stopReceiver);
  }

  /** Ends threads of the server and waits, for a moment, until they have ended. */
  async #endThreads(query: string): Promise<void> {
    const endMs = this.#clock.nowMs() + STOP_PATIENCE_MS;
    let threads = await this.#run(query);
    for (const { id } of threads) await this.#run(`KILL ${Number(id)}`).catch(() => undefined);
    while (threads.length > 0 && this.#clock.nowMs() < endMs) {
      await sleep(this.#clock, END_POLL_MS);
      threads = await this.#run(query);
    }
  }

  async startReplication(): Promise<void> {
    await this.#run(this.#flavour.startReplication);
  }

  async stopReplication(sourceIsGone: boolean, timeoutMs: number): Promise<string> {
    const { stopReplication } = this.#flavour;
    if (!sourceIsGone) {
      await this.#connection.run(stopReplication, timeoutMs);
      return '';
    }
    const boundMs = Math.max(timeoutMs, HALF_TRANSACTION_TIMEOUT_MS);
    const stopping = this.#connection.run(stopReplication, boundMs).then(() => 'stopped' as const);
    const patience = sleep(this.#clock, STOP_PATIENCE_MS).then(() => 'waiting' as const);
    if ((await Promise.race([stopping, patience])) === 'stopped') return '';
    const help = await this.#dropHalfTransaction();
    await stopping;
    return help;
  }

  async forgetSource(): Promise<void> {
    await this.#run(this.#flavour.forgetSource);
  }

  async hasApplied(position: string): Promise<boolean> {
    const wait = this.#flavour.waitFor(position, WAIT_SLICE_SECONDS);
    const [row] = await this.#connection.run(wait, WAIT_SLICE_SECONDS * 1000 + STATEMENT_TIMEOUT_MS);
    const outcome = row?.outcome;
    return outcome !== null && outcome !== undefined && Number(outcome) >= 0;
  }

  async follow(source: BackendConfig, timeoutMs: number, takesBackOwn: boolean): Promise<void> {
    if (takesBackOwn) await this.#takeBackOwn(source);
    const { position, replicatedPosition } = await this.#identity();
    const wasReplica = (await this.#replication()) !== null;
    if (wasReplica) await this.stopReplication(true, timeoutMs);
    else {
      for (const statement of this.#flavour.followFrom(position, replicatedPosition))
        await this.#run(statement);
    }
    await this.#run(this.#flavour.changeSource(await this.#sourceOf(source)));
    await this.startReplication();
    let lastError = '';
    const endMs = this.#clock.nowMs() + timeoutMs;
    for (;;) {
      const replication = await this.#replication();
      if (replication?.receiver === 'running' && replication.applier === 'running') return;
      lastError = replication?.receiverError || replication?.applierError || lastError;
      if (this.#clock.nowMs() >= endMs) break;
      await sleep(this.#clock, POLL_MS);
    }
    const why = lastError === '' ? '' : `: ${lastError}`;
    throw new Error(
      `${this.backend.name} does not replicate from ${source.name} after ${timeoutMs} ms${why}`,
    );
  }

  /**
   * MariaDB takes back what it wrote itself when it is strict about global ids and answers as a semi-synchronous
   * replica (https://jira.mariadb.org/browse/MDEV-21117); MySQL never does.
   */
  async #takeBackOwn(source: BackendConfig): Promise<void> {
    const { takeBackOwn } = this.#flavour;
    if (takeBackOwn === null) {
      throw new Error(
        `${this.backend.name} has lost transactions that it wrote itself and ${source.name} has; a replica does not take those back: CLONE BACKEND ${this.backend.name} copies it anew`,
      );
    }
    await this.setSemiSync('replica', true);
    await this.#run(takeBackOwn);
  }

  async setSemiSync(side: SemiSyncSide, on: boolean): Promise<void> {
    const rows = await this.#run(SEMI_SYNC_QUERY);
    const variables = new Map(rows.map((row) => [text(row.Variable_name).toLowerCase(), text(row.Value)]));
    const { semiSync } = setupWordsOf(this.#version, (name) => variables.has(name));
    const variable = side === 'primary' ? semiSync.primarySwitch : semiSync.replicaSwitch;
    if (!variables.has(variable)) {
      if (!on) return;
      if (semiSync.plugins === null) {
        throw new Error(`${this.backend.name} has no semi-synchronous replication (${variable})`);
      }
      await this.#run(semiSync.plugins[side].install);
    }
    if (side === 'primary' && on) await this.#setHowCommitsWait(semiSync, variables);
    if (isOn(variables.get(variable)) !== on) await this.#run(`SET GLOBAL ${variable} = ${on ? 1 : 0}`);
  }

  /** Commits wait before others see them, for as long as the policy says, also while no replica is connected. */
  async #setHowCommitsWait(words: SemiSyncWords, before: ReadonlyMap<string, string>): Promise<void> {
    const { semiSync: policy } = this.#cluster;
    if (policy === 'off') return;
    const wanted: [string, string][] = [[words.timeout, String(semiSyncTimeoutMs(policy))]];
    if (policy === 'require') wanted.push([words.waitWithoutReplica, 'ON']);
    if (words.waitPoint !== null) wanted.push([words.waitPoint, 'AFTER_SYNC']);
    for (const [name, value] of wanted) {
      if (before.get(name) !== value) await this.#run(`SET GLOBAL ${name} = ${value}`);
    }
  }

  async noteEpoch({ cluster, epoch, backend }: EpochNote): Promise<void> {
    const note = noteEpoch(cluster, epoch, backend, this.#clock.wallMs());
    try {
      for (const statement of this.#flavour.letOurselvesWrite) await this.#run(statement);
      await this.#run(note).catch(async (error: unknown) => {
        // Without the right to read a schema, one that is not there is denied, too.
        if (!isMissingTable(error) && !isDenied(error)) throw error;
        for (const statement of CREATE_TABLES) await this.#run(statement);
        await this.#run(note);
      });
    } catch (error) {
      if (!isDenied(error)) throw error;
      const grant = `GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON ${DBPROXY_SCHEMA}.* TO ${this.#cluster.monitorUser}`;
      throw new Error(`${messageOf(error)}; a promotion is written down there: ${grant}`, { cause: error });
    }
  }

  close(): void {
    this.#connection.close();
  }

  // ---- helpers -------------------------------------------------------------------------------------

  async #run(statement: Parameters<ControlConnection['run']>[0]): Promise<Row[]> {
    if (!this.#connection.usable) this.#connection = await this.#connect();
    return this.#connection.run(statement, STATEMENT_TIMEOUT_MS);
  }

  #connect(): Promise<ControlConnection> {
    return ControlConnection.open(this.backend, this.#cluster, this.#clock, CONNECT_TIMEOUT_MS);
  }

  async #identity(): Promise<ReturnType<typeof readIdentity>> {
    return readIdentity(await this.#run(this.#flavour.identity));
  }

  async #replication(): Promise<ReplicationFacts | null> {
    return readReplicaStatus(this.#flavour, await this.#run(this.#flavour.replicaStatus), {
      status: [],
      signs: [],
    });
  }

  /** How a replica reaches `source`: over TCP, on this machine where it is known by a Unix socket. */
  async #sourceOf({ address, ...source }: BackendConfig): Promise<Source> {
    const { replicationUser: user, replicationPassword: password } = this.#cluster;
    const login = user === '' ? null : { user, password };
    switch (address.kind) {
      case 'tcp':
        return { host: address.host, port: address.port, login };
      case 'unix': {
        const other = await ControlConnection.open(
          { address, ...source },
          this.#cluster,
          this.#clock,
          CONNECT_TIMEOUT_MS,
        );
        try {
          const [row] = await other.run('SELECT @@global.port AS port', STATEMENT_TIMEOUT_MS);
          return { host: '127.0.0.1', port: Number(row?.port), login };
        } finally {
          other.close();
        }
      }
    }
  }

  /**
   * Ends sessions now and again until it is called off. Commits that wait for a replica go on waiting also when
   * their sessions have been ended, and keep the server from becoming read-only; once nobody can be told any more
   * that they succeeded, they need not wait.
   */
  async #keepEndingSessions(): Promise<() => void> {
    const other = await this.#connect();
    let rounds = 0;
    const round = async (): Promise<void> => {
      const left = await this.#endSessions(other);
      if (++rounds >= ROUNDS_TO_WAIT && left) await this.#letCommitsGo(other);
    };
    const timer = this.#clock.every(END_SESSIONS_EVERY_MS, () => void round().catch(() => undefined));
    await round().catch(() => undefined);
    return () => {
      timer.cancel();
      other.close();
    };
  }

  async #letCommitsGo(other: ControlConnection): Promise<void> {
    const { primary } = readSemiSync(await other.run(SEMI_SYNC_QUERY, STATEMENT_TIMEOUT_MS));
    if (primary?.on === true) await other.run(`SET GLOBAL ${primary.variable} = 0`, STATEMENT_TIMEOUT_MS);
  }

  /** Answers whether there were any. */
  async #endSessions(other: ControlConnection): Promise<boolean> {
    const ours = [other.threadId, this.#connection.threadId];
    const sessions = await other.run(this.#flavour.clientSessions, STATEMENT_TIMEOUT_MS);
    const others = sessions.filter(({ id }) => !ours.includes(Number(id)));
    for (const { id } of others) {
      // One that has gone in between is no failure.
      await other.run(`KILL ${Number(id)}`, STATEMENT_TIMEOUT_MS).catch(() => undefined);
    }
    return others.length > 0;
  }

  /**
   * Ends the idle appliers, so that a stop need not wait for what cannot come any more. The half transaction
   * is rolled back; what is being applied goes on. Never rejects: without it (it takes the privilege
   * SYSTEM_USER where there is one), the stop only takes longer.
   */
  async #dropHalfTransaction(): Promise<string> {
    const { idleAppliers } = this.#flavour;
    if (idleAppliers === null) return '';
    let other: ControlConnection | null = null;
    try {
      other = await this.#connect();
      const idle = await other.run(idleAppliers, STATEMENT_TIMEOUT_MS);
      for (const { id } of idle) await other.run(`KILL ${Number(id)}`, STATEMENT_TIMEOUT_MS);
      return '; the half of a transaction that had arrived was dropped';
    } catch (error) {
      return `; it waited for the rest of a transaction, as its appliers could not be ended (${messageOf(error)})`;
    } finally {
      other?.close();
    }
  }

  /** Ends, from outside, a statement that did not come back: it must not take effect after we gave up. */
  async #killOwn(): Promise<void> {
    const { threadId } = this.#connection;
    this.#connection.close();
    try {
      this.#connection = await this.#connect();
      await this.#run(`KILL ${threadId}`);
    } catch {
      // It has ended already, which is what was wanted; or the server is gone, and the undoing will say so.
    }
  }
}

/** 1146: no such table; 1049: no such schema. */
function isMissingTable(error: unknown): boolean {
  const errno = error instanceof Error && 'errno' in error ? error.errno : 0;
  return errno === 1146 || errno === 1049;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
