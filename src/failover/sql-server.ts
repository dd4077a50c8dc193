/**
 * A server that is acted on by SQL: each act of `ServerControl` in the words of the server's flavour, over a
 * connection of its own as `monitor_user`. Nothing here decides what comes next.
 */
import { sleep, type Clock } from '../base/clock.ts';
import { messageOf } from '../base/message-of.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { readFacts } from '../monitor/facts.ts';
import { holdsPosition, joinPositions } from '../monitor/gtid.ts';
import type { PlaceWords, Source } from '../monitor/flavour/acts.ts';
import { flavourOf, type Flavour } from '../monitor/flavour/flavour.ts';
import { isOn, text, type Row } from '../monitor/flavour/row.ts';
import {
  COMMIT_WAITS_QUERY,
  commitWaitChanges,
  readCommitWaits,
  SEMI_SYNC_QUERY,
  type CommitWaits,
} from '../monitor/flavour/semi-sync.ts';
import { setupWordsOf, type SemiSyncWords } from '../monitor/flavour/setup.ts';
import { readIdentity, readReplicaStatus } from '../monitor/flavour/status.ts';
import { CREATE_TABLES, DBPROXY_SCHEMA, isAboutEpoch, noteEpoch } from '../monitor/flavour/tables.ts';
import {
  isDenied,
  type FilePosition,
  type ReplicationFacts,
  type ServerFacts,
} from '../monitor/observation.ts';
import { copyAdvice } from '../topology/divergence-words.ts';
import { whyItsPlaceIsUnknown } from './history.ts';
import {
  LET_LOOSE_WITHIN_MS,
  type EpochNote,
  type LogAfter,
  type OpenServer,
  type SemiSyncSide,
  type ServerControl,
} from './server-control.ts';

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
/** A log that begins anew has all of its files removed, however many and large they are. */
const NEW_LOG_TIMEOUT_MS = 60_000;
/** How much longer than the server itself we wait, so that it is the server that gives up first. */
const SERVER_GIVES_UP_FIRST_MS = 1_000;
/** How often to look whether a thread has ended. */
const END_POLL_MS = 5;
/** Sessions are ended again and again until the server is read-only: new ones may come in between. */
const END_SESSIONS_EVERY_MS = 100;
/** A commit that has waited so long waits for somebody who does not answer. */
const STUCK_AFTER_MS = 50;
/** A binary log begins with an event at this place. */
const FIRST_EVENT = 4;
/** Of events that change something, the first few of a log tell. */
const EVENTS_TO_LOOK_AT = 20;
/** Events that a binary log has for itself. */
const NO_CHANGES: readonly string[] = ['Format_desc', 'Previous_gtids', 'Rotate', 'Stop'];
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

  async makeWritable(withinMs = LET_LOOSE_WITHIN_MS): Promise<void> {
    await this.#recall(false);
    try {
      const moment = await this.#momentFromNow(withinMs);
      for (const statement of this.#flavour.makeWritableBefore(moment)) await this.#run(statement);
    } catch (error) {
      await this.#killOwn();
      throw error;
    }
    if ((await this.#identity()).readOnly) {
      throw new Error(
        `${this.backend.name} is still read-only; what was to make it writable may have come too late`,
      );
    }
  }

  /** By the server's own clock, in seconds of Unix time; rejects when it took as long to learn what it is now. */
  async #momentFromNow(withinMs: number): Promise<string> {
    const startMs = this.#clock.nowMs();
    const question = `SELECT UNIX_TIMESTAMP(SYSDATE(6)) + ${withinMs / 1000} AS moment`;
    const [row] = await this.#run(question);
    if (this.#clock.nowMs() - startMs > withinMs)
      throw new Error(`${this.backend.name} was not reached for more than ${withinMs} ms`);
    return String(row?.['moment']);
  }

  async beginNewLog(): Promise<void> {
    const { beginNewLog } = this.#flavour;
    if (beginNewLog !== null) await this.#run(beginNewLog);
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

  async hasApplied(position: string | FilePosition): Promise<boolean> {
    const wait =
      typeof position === 'string'
        ? this.#flavour.waitFor(position, WAIT_SLICE_SECONDS)
        : this.#byPlace().waitFor(position, WAIT_SLICE_SECONDS);
    const connection = await this.#usable();
    const [row] = await connection.run(wait, WAIT_SLICE_SECONDS * 1000 + STATEMENT_TIMEOUT_MS);
    const outcome = row?.outcome;
    return outcome !== null && outcome !== undefined && Number(outcome) >= 0;
  }

  async bringTo(
    place: FilePosition,
    receives: boolean,
    timeoutMs: number,
    isOvertaken: () => boolean = () => false,
  ): Promise<void> {
    const words = this.#byPlace();
    await this.#connection.run(words.stopApplier, timeoutMs);
    if (receives) await this.#run(words.startReceiver);
    await this.#run(words.startApplierUntil(place));
    const endMs = this.#clock.nowMs() + timeoutMs;
    for (;;) {
      const replication = await this.#replication();
      const applied = replication?.appliedFile ?? null;
      const isThere = applied?.file === place.file && applied.position === place.position;
      if (isThere) {
        // It stops by itself only when there is something more, which it does not touch.
        await this.#connection.run(words.stopApplier, timeoutMs);
        return;
      }
      const where = `it has applied ${applied?.file}:${applied?.position}`;
      const lacks = !receives && replication?.drained === true;
      if (replication?.applier !== 'running' || lacks || isOvertaken() || this.#clock.nowMs() >= endMs) {
        const why =
          replication?.applierError || (lacks ? 'it has received no more' : 'it does not get there');
        await this.#connection.run(words.stopApplier, timeoutMs);
        throw new Error(`${where}, not all up to ${place.file}:${place.position}: ${why}`);
      }
      await sleep(this.#clock, POLL_MS);
    }
  }

  async logAfter({ file, position }: FilePosition): Promise<LogAfter> {
    const words = this.#byPlace();
    const files = await this.#run(words.binlogFiles);
    const first = files.findIndex((row) => text(row.Log_name) === file);
    if (first < 0 || Number(files[first]!.File_size) < position) return 'is_short';
    let begin = position;
    for (const row of files.slice(first)) {
      const place = { file: text(row.Log_name), position: begin };
      const events = await this.#run(words.binlogEvents(place, EVENTS_TO_LOOK_AT));
      const changes = events.filter(({ Event_type: type }) => !NO_CHANGES.includes(text(type)));
      if (changes.length > 0) {
        const { serverId } = await this.#identity();
        const own = changes.filter((event) => Number(event.Server_id) === serverId);
        if (own.length === 0) return 'changes_of_others';
        return own.some(({ Info: info }) => isAboutEpoch(text(info))) ? 'epoch_note' : 'own_changes';
      }
      begin = FIRST_EVENT;
    }
    return 'nothing';
  }

  async follow(
    source: BackendConfig,
    timeoutMs: number,
    takesBackOwn: boolean,
    place: FilePosition | null,
    isOvertaken: () => boolean = () => false,
  ): Promise<void> {
    if (place === null) await this.#recall(true);
    if (takesBackOwn) await this.#takeBackOwn(source);
    const { position, replicatedPosition } = await this.#identity();
    const wasReplica = (await this.#replication()) !== null;
    if (wasReplica) await this.stopReplication(true, timeoutMs);
    // A server that has other channels, and nothing of its own, stands where it is: MariaDB keeps one place for all.
    else if (place === null && !holdsPosition(replicatedPosition, position)) {
      for (const statement of this.#flavour.followFrom(position, replicatedPosition))
        await this.#run(statement);
    }
    const from = await this.#sourceOf(source);
    await this.#run(
      place === null ? this.#flavour.changeSource(from) : this.#byPlace().changeSource(from, place),
    );
    await this.startReplication();
    let lastError = '';
    const startMs = this.#clock.nowMs();
    const endMs = startMs + timeoutMs;
    for (;;) {
      const replication = await this.#replication();
      if (replication?.receiver === 'running' && replication.applier === 'running') return;
      lastError = replication?.receiverError || replication?.applierError || lastError;
      if (this.#clock.nowMs() >= endMs || isOvertaken()) break;
      await sleep(this.#clock, POLL_MS);
    }
    const why = lastError === '' ? '' : `: ${lastError}`;
    throw new Error(
      `${this.backend.name} does not replicate from ${source.name} after ${Math.round(this.#clock.nowMs() - startMs)} ms${why}`,
    );
  }

  /**
   * A server that has forgotten what is in its own log is told so, before it writes or follows: it would give numbers twice, or
   * take in twice what it has. Its log is begun anew, for whoever would read the one that it has would not find all in it.
   * Who cannot be told `has` to know where it has to follow from; one that is to write has gone on by itself already.
   */
  async #recall(hasToKnow: boolean): Promise<void> {
    const facts = await this.look(STATEMENT_TIMEOUT_MS);
    const { position, history, replicatedPosition, replication, forgotten } = facts;
    if (replication !== null || forgotten === undefined) return;
    const { name } = this.backend;
    const why = whyItsPlaceIsUnknown(name, facts);
    if (why !== null) {
      if (!hasToKnow) return;
      throw new Error(why);
    }
    const place = joinPositions(position, replicatedPosition);
    for (const statement of this.#flavour.remindOf(place, history))
      await (await this.#usable()).run(statement, NEW_LOG_TIMEOUT_MS);
  }

  /**
   * MariaDB takes back what it wrote itself when it is strict about global ids and answers as a semi-synchronous
   * replica (https://jira.mariadb.org/browse/MDEV-21117); MySQL never does.
   */
  async #takeBackOwn(source: BackendConfig): Promise<void> {
    const { takeBackOwn } = this.#flavour;
    if (takeBackOwn === null) {
      throw new Error(
        `${this.backend.name} has lost transactions that it wrote itself and ${source.name} has; a replica does not take those back: ${copyAdvice(this.backend.name)}`,
      );
    }
    await this.setSemiSync('replica', true);
    await this.#run(takeBackOwn);
  }

  async setSemiSync(side: SemiSyncSide, on: boolean): Promise<void> {
    const { words, variables } = await this.#semiSync(await this.#usable());
    const name = side === 'primary' ? words.primarySwitch : words.replicaSwitch;
    if (!variables.has(name)) {
      if (!on) return;
      if (words.plugins === null) {
        throw new Error(`${this.backend.name} has no semi-synchronous replication (${name})`);
      }
      await this.#run(words.plugins[side].install);
    }
    if (side === 'replica') {
      if (isOn(variables.get(name)) !== on) await this.#run(`SET GLOBAL ${name} = ${on ? 1 : 0}`);
    } else if (on) {
      const { semiSync: policy } = this.#cluster;
      for (const change of commitWaitChanges(words, policy, true, variables)) await this.#set(change);
    } else {
      await this.#letCommitsGo(this.#connection);
    }
  }

  async noteEpoch({ cluster, epoch, backend }: EpochNote): Promise<void> {
    await this.#recall(false);
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

  #byPlace(): PlaceWords {
    const { byPlace } = this.#flavour;
    if (byPlace === null) throw new Error(`${this.backend.name} is not replicated by places in binary logs`);
    return byPlace;
  }

  async #run(statement: Parameters<ControlConnection['run']>[0]): Promise<Row[]> {
    return (await this.#usable()).run(statement, STATEMENT_TIMEOUT_MS);
  }

  /** Our connection, or a new one where that is lost. */
  async #usable(): Promise<ControlConnection> {
    if (!this.#connection.usable) this.#connection = await this.#connect();
    return this.#connection;
  }

  #connect(): Promise<ControlConnection> {
    return ControlConnection.open(this.backend, this.#cluster, this.#clock, CONNECT_TIMEOUT_MS);
  }

  async #identity(): Promise<ReturnType<typeof readIdentity>> {
    return readIdentity(await this.#run(this.#flavour.identity));
  }

  async #replication(): Promise<ReplicationFacts | null> {
    const rows = await this.#run(this.#flavour.replicaStatus);
    return readReplicaStatus(this.#flavour, rows, { status: [], signs: [] }, this.backend.channel);
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

  /** Commits wait for nobody from now on, also those that wait already. */
  async #letCommitsGo(by: ControlConnection): Promise<void> {
    const { words, variables } = await this.#semiSync(by);
    const changes = commitWaitChanges(words, this.#cluster.semiSync, false, variables);
    for (const change of changes) await this.#set(change, by);
    // Those that began to wait before go on waiting for a replica that is connected, and perhaps will never answer.
    if (words.standsBy && isOn(variables.get(words.primarySwitch)) && (await this.#commitsAreStuck(by)))
      await this.#set([words.primarySwitch, 'OFF'], by);
  }

  /** One at least waits, and for a while no commit has ended. */
  async #commitsAreStuck(by: ControlConnection): Promise<boolean> {
    const look = async (): Promise<CommitWaits> =>
      readCommitWaits(await by.run(COMMIT_WAITS_QUERY, STATEMENT_TIMEOUT_MS));
    const before = await look();
    if (before.waiting === 0) return false;
    await sleep(this.#clock, STUCK_AFTER_MS);
    const after = await look();
    return after.waiting > 0 && after.done === before.done;
  }

  async #semiSync(
    by: ControlConnection,
  ): Promise<{ words: SemiSyncWords; variables: ReadonlyMap<string, string> }> {
    const rows = await by.run(SEMI_SYNC_QUERY, STATEMENT_TIMEOUT_MS);
    const variables = new Map(rows.map((row) => [text(row.Variable_name).toLowerCase(), text(row.Value)]));
    return { words: setupWordsOf(this.#version, (name) => variables.has(name)).semiSync, variables };
  }

  async #set([name, value]: [name: string, value: string], by: ControlConnection = this.#connection) {
    await by.run(`SET GLOBAL ${name} = ${value}`, STATEMENT_TIMEOUT_MS);
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
