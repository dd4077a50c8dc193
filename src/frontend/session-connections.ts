/**
 * The connections of one session that changes them: finds one at home or on a replica, brings it to the
 * session's settings, and gives it back, or keeps it: for good with pool = session; with pool = transaction
 * while it knows something of the session that others must not wipe out (its LAST_INSERT_ID, its warnings), and
 * nobody else waits for it.
 */
import { isRefusal, refusal } from '../base/errors.ts';
import { PasswordNeeded, type BackendConnection } from '../backend/connection.ts';
import { Lane } from '../backend/lane.ts';
import type { LaneTerms } from '../backend/pool.ts';
import type { Settings, SettingsChange } from '../backend/settings.ts';
import { Command } from '../protocol/constants.ts';
import { ServerError, writeCommand, writePayload } from '../protocol/packets.ts';
import { queryPayload } from '../protocol/query-attributes.ts';
import { mayReadOn, maySessionBegin, route, type Endpoint, type Route } from '../routing/router.ts';
import type { BackendView } from '../topology/snapshot.ts';
import { waitForPosition, type CausalCounts } from './causal.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import { explained, isRefusedLogin } from './find-backend.ts';
import { InsertId } from './insert-id.ts';
import type { SessionRecord } from './session-record.ts';
import type { SessionRequest } from './session-request.ts';
import type { Side } from './side.ts';

/** The session they belong to. */
export interface ConnectionsHost {
  isOver(): boolean;
  background(work: Promise<void>): void;
}

/** How long a connection is kept for a question about the statement before, though others wait for it. */
const LINGER_GRACE_MS = 250;

/** How long a primary that cannot be reached is not tried again, unless there is news. */
const RETRY_PRIMARY_MS = 250;

/** Identities that are remembered at most; then all are forgotten, and met again. */
const MOST_IDENTITIES = 1000;

export class SessionConnections {
  readonly #context: SessionContext;
  readonly #endpoint: SessionEndpoint;
  readonly #shared: SharedEndpoint;
  readonly #record: SessionRecord;
  readonly #host: ConnectionsHost;
  readonly #keepsAll: boolean;
  /** Home is the primary. */
  readonly #homeMayWrite: boolean;
  readonly #homeRequest: SessionRequest;
  /** As a connection for reads on a replica must be: its transactions READ ONLY. */
  readonly #replicaRequest: SessionRequest;
  readonly #homeEndpoint: Endpoint;
  readonly #readEndpoint: Endpoint;
  /** Lent to this session and at rest, by backend. */
  readonly #held = new Map<string, BackendConnection>();
  readonly insertId = new InsertId();
  /** Why a held connection must not be given up at once: until when. */
  #graceUntilMs = 0;
  /** The server that the quick way has chosen for the statement at hand. */
  #chosen: string | null = null;
  /** The position that reads must have seen; null: none. */
  position: string | null = null;
  /** What became of this session's reads that had to see a write. */
  readonly causalCounts: CausalCounts = { atOnce: 0, waited: 0, fellBack: 0 };
  /** Of which primary it is. */
  #positionEra = 0;
  /** Replicas that are known to have it, with the era in which they were. */
  readonly #satisfied = new Map<string, number>();

  constructor(
    context: SessionContext,
    endpoint: SessionEndpoint,
    shared: SharedEndpoint,
    request: SessionRequest,
    record: SessionRecord,
    host: ConnectionsHost,
  ) {
    const { config } = endpoint;
    this.#context = context;
    this.#endpoint = endpoint;
    this.#shared = shared;
    this.#record = record;
    this.#host = host;
    this.#keepsAll = config.pool === 'session';
    this.#homeMayWrite = config.mode !== 'read';
    this.#homeRequest = request;
    this.#replicaRequest = { ...request, preparation: { ...request.preparation, readOnly: true } };
    this.#homeEndpoint = { ...config, mode: config.mode === 'read' ? 'read' : 'write' };
    this.#readEndpoint = { ...config, mode: 'read' };
  }

  /** Connections that rest with this session now. */
  get held(): Iterable<BackendConnection> {
    return this.#held.values();
  }

  holdsOn(backend: string): boolean {
    return this.#held.has(backend);
  }

  /**
   * A connection that is there now and has the right settings, or with `terms` a lane; null when something has to
   * be waited for.
   */
  quick(side: Side, terms: LaneTerms | null): BackendConnection | Lane | null {
    const found = this.#quick(side, terms);
    // Only the slow way of this very statement goes on with the choice.
    if (found !== null) this.#chosen = null;
    return found;
  }

  /** A new statement: what was chosen for the one before does not count. */
  begin(): void {
    this.#chosen = null;
  }

  #quick(side: Side, terms: LaneTerms | null): BackendConnection | Lane | null {
    if (this.#record.nextToRepeat !== null) return null;
    if (side === 'replica' && this.#mustAsk()) return null;
    const backend = this.#choose(side);
    if (backend === null) return null;
    const { name, role } = backend;
    const isOnReplica = side === 'replica' && role !== 'primary';
    if (!isOnReplica && this.#shared.hold.isOn && this.#homeMayWrite) return null;
    this.#chosen = name;
    if (isOnReplica && !this.#isSatisfiedOn(name)) return null;
    // What was decided for a replica ends at the primary when that serves the reads.
    const request = isOnReplica ? this.#replicaRequest : this.#homeRequest;
    const settings = this.#settingsFor(request);
    const held = this.#held.get(name);
    if (held !== undefined) {
      if (held.closed || !held.hasSettings(request.preparation, settings)) return null;
      this.#take(held);
      return held;
    }
    const pool = this.#context.pool(name);
    if (terms !== null) {
      const lane = pool.board(request, settings, terms);
      if (lane !== null) return lane;
    }
    const found = pool.take(request, settings);
    if (found === null || found.hasSettings(request.preparation, settings)) return found;
    // The slow way brings it to the settings.
    this.#held.set(name, found);
    return null;
  }

  /**
   * A connection to whichever server of that side serves now, within queue_timeout; its settings may be
   * others (see `bring`). A replica that has not what the session must see is waited for, within
   * causal_timeout; then home serves. Rejects as findBackend does.
   */
  async obtain(side: Side, excluded: ReadonlySet<string> = NONE): Promise<BackendConnection> {
    if (side === 'home') return this.#acquire('home', NONE);
    const position = await this.#positionToSee();
    if (position === undefined) {
      this.#countCausal('fellBack');
      return this.#acquire('home', NONE);
    }
    const connection = await this.#acquire('replica', excluded).catch((error: unknown) => {
      if (isRefusal(error) && error.code === 'DBPROXY_SESSION_ENDED') throw error;
      return null;
    });
    if (connection === null) return this.#acquire('home', NONE);
    if (position === null || this.isHome(connection)) return connection;
    if (await this.#catchUp(connection, position)) return connection;
    this.#countCausal('fellBack');
    this.leave(connection, false);
    return this.#acquire('home', NONE);
  }

  /** A connection to home if that serves now, and within so much time; null: there is none. */
  async obtainHomeSoon(patienceMs: number): Promise<BackendConnection | null> {
    const isHeld = this.#homeMayWrite && this.#shared.hold.isOn;
    if (isHeld || this.#choose('home') === null) return null;
    try {
      return await this.#acquire('home', NONE, patienceMs);
    } catch (error) {
      if (isRefusal(error) || error instanceof ServerError) return null;
      throw error;
    }
  }

  /**
   * The same for a short read that may as well travel on a lane: kept for it then, until its `ride` or `cancel`.
   */
  async obtainShared(
    side: Side,
    excluded: ReadonlySet<string>,
    terms: LaneTerms,
  ): Promise<BackendConnection | Lane> {
    const chosen = side === 'replica' && !this.#mustAsk() ? this.#chosen : null;
    const isReady = side === 'home' || (chosen !== null && this.#isSatisfiedOn(chosen));
    return isReady ? this.#acquireAny(side, excluded, terms) : this.obtain(side, excluded);
  }

  /** The connection of an earlier statement, if nobody else has used it since. */
  again(connection: BackendConnection, user: object): boolean {
    if (connection.closed || connection.lastUser !== user) return false;
    if (this.#held.get(connection.backend) === connection) {
      this.#take(connection);
      return true;
    }
    return this.#context.pool(connection.backend).takeOwn(connection, user);
  }

  /** A statement may still begin there, by the newest snapshot: to make a connection ready took time. */
  mayServe(connection: BackendConnection, side: Side): boolean {
    const isRead = side === 'replica' || !this.isHome(connection);
    const endpoint = isRead ? this.#readEndpoint : this.#homeEndpoint;
    const snapshot = this.#context.snapshot();
    if (!this.#homeMayWrite && !mayReadOn(snapshot, endpoint.cluster, connection.backend)) return false;
    return maySessionBegin(snapshot, endpoint, connection.backend);
  }

  /** True for a connection that may write: those of a replica side are READ ONLY. */
  isHome(connection: BackendConnection): boolean {
    return connection.preparation.readOnly === this.#homeRequest.preparation.readOnly;
  }

  /**
   * Brings a connection to settings (the session's own, unless others are given), one step after the other.
   * Rejects with ServerError; the settings of the connection are not known then, and it must be reset.
   */
  async bring(connection: BackendConnection, wanted: Settings | null = null): Promise<void> {
    const request = this.#requestOf(connection);
    const settings = this.#settingsFor(request, wanted ?? this.#record.settings);
    let change = connection.changeTo(request.preparation, settings);
    if (changesSomething(change)) this.#shared.restores++;
    if (change.kind === 'reset') {
      // What pins the session is on this very connection: it must not be taken away.
      if (this.#record.pinned) throw refusal('DBPROXY_STATE_GONE', 'what this statement needs');
      await this.renew(connection);
      change = connection.changeTo(request.preparation, settings);
    }
    if (change.kind === 'reset') throw new Error('a fresh connection cannot be brought to the settings');
    if (change.database !== null) await connection.selectDatabase(Buffer.from(change.database, 'latin1'));
    for (const sql of change.statements) await connection.execute(sql);
    connection.settings = settings;
  }

  /**
   * The same for a read, whose commands may all be sent in one write: answers the commands that go before it;
   * null when it must be done step by step. Counts on them to succeed.
   */
  bringAlong(connection: BackendConnection): Buffer[] | null {
    const request = this.#requestOf(connection);
    const settings = this.#settingsFor(request);
    const change = connection.changeTo(request.preparation, settings);
    if (change.kind === 'reset') return null;
    if (changesSomething(change)) this.#shared.restores++;
    const commands: Buffer[] = [];
    if (change.database !== null)
      commands.push(writeCommand(Command.INIT_DB, Buffer.from(change.database, 'latin1')));
    for (const sql of change.statements)
      commands.push(writePayload(0, queryPayload(sql, connection.capabilities)));
    connection.settings = settings;
    return commands;
  }

  /** A statement on this connection may have changed LAST_INSERT_ID(). */
  inserted(connection: BackendConnection): void {
    const before = this.insertId.inserted(connection);
    if (before !== null && this.#held.get(before.backend) === before) this.#release(before);
  }

  /** The session does not use the connection now. `isAskedAfter`: what it knows of the last statement may be wanted. */
  leave(connection: BackendConnection, isAskedAfter: boolean): void {
    const { backend } = connection;
    if (connection.closed || connection.spoiled) {
      if (this.#held.get(backend) === connection) this.#held.delete(backend);
      return this.#context.pool(backend).giveBack(connection);
    }
    if (this.#host.isOver()) return this.#release(connection);
    const other = this.#held.get(backend);
    if (other !== undefined && other !== connection) this.#release(other);
    if (this.#keepsAll) {
      this.#held.set(backend, connection);
      return;
    }
    if (!isAskedAfter && connection.lastInserter === null) return this.#release(connection);
    this.#graceUntilMs = isAskedAfter ? this.#context.clock.nowMs() + LINGER_GRACE_MS : 0;
    this.#held.set(backend, connection);
    this.#linger(connection);
  }

  /** Nothing depends any more on what held connections know of the last statement, but for one of them. */
  letGo(butFor: BackendConnection | null): void {
    if (this.#keepsAll || this.#held.size === 0) return;
    for (const connection of [...this.#held.values()]) {
      if (connection.lastInserter === null && connection !== butFor) this.#release(connection);
    }
  }

  /** Takes away whatever others have left on a connection that was just obtained. */
  async renew(connection: BackendConnection): Promise<void> {
    await this.insertId.clean(connection);
    await connection.prepare(this.#requestOf(connection).preparation);
  }

  /** Gives a connection back that is in a state nobody knows; it is reset, or closed where that is not enough. */
  discard(connection: BackendConnection, reusable: boolean): void {
    if (this.#held.get(connection.backend) === connection) this.#held.delete(connection.backend);
    this.insertId.discarded(connection);
    this.#context.pool(connection.backend).release(connection, reusable);
  }

  /** Leaves a backend; connections that rest there go. */
  drop(backend: string): void {
    const held = this.#held.get(backend);
    if (held !== undefined) this.#release(held);
  }

  /** The session is over, or begins anew as somebody else. */
  stop(): void {
    for (const connection of [...this.#held.values()]) this.#release(connection);
  }

  #settingsFor({ preparation }: SessionRequest, settings: Settings = this.#record.settings): Settings {
    return preparation.readOnly ? this.#record.onReplica(settings) : settings;
  }

  #requestOf(connection: BackendConnection): SessionRequest {
    return this.isHome(connection) ? this.#homeRequest : this.#replicaRequest;
  }

  /** The server for a side now, by the newest snapshot. */
  #choose(side: Side): BackendView | null {
    return this.#route(side === 'home' ? this.#homeEndpoint : this.#readEndpoint, NONE).backend;
  }

  #route(endpoint: Endpoint, excluded: ReadonlySet<string>): Route {
    const usedOn = (name: string): number => this.#context.pool(name).inUse;
    return route(this.#context.snapshot(), endpoint, this.#endpoint.credits, usedOn, excluded);
  }

  /** What the quick way has chosen, so that one statement counts once in the shares of the servers. */
  #routeOnce(endpoint: Endpoint, excluded: ReadonlySet<string>): Route {
    const name = this.#chosen;
    this.#chosen = null;
    const snapshot = this.#context.snapshot();
    const backend = snapshot.backends.find((view) => view.name === name);
    const isGood = backend !== undefined && !excluded.has(backend.name);
    return isGood && maySessionBegin(snapshot, endpoint, backend.name)
      ? { backend, reason: '' }
      : this.#route(endpoint, excluded);
  }

  #acquire(side: Side, excluded: ReadonlySet<string>, mostMs = Infinity): Promise<BackendConnection> {
    return this.#acquireAny(side, excluded, null, mostMs) as Promise<BackendConnection>;
  }

  /** A lane only where `terms` allow it. */
  async #acquireAny(
    side: Side,
    excluded: ReadonlySet<string>,
    terms: LaneTerms | null,
    mostMs = Infinity,
  ): Promise<BackendConnection | Lane> {
    const { clock } = this.#context;
    const { config } = this.#endpoint;
    const endpoint = side === 'home' ? this.#homeEndpoint : this.#readEndpoint;
    const patienceMs = Math.min(config.queueTimeoutMs, mostMs);
    let deadlineMs = clock.nowMs() + patienceMs;
    const failed = new Set(excluded);
    for (;;) {
      const chosen = this.#routeOnce(endpoint, failed);
      const leftMs = deadlineMs - clock.nowMs();
      if (this.#mustHold(side, chosen.backend)) {
        if (mostMs < Infinity) throw refusal('DBPROXY_NO_PRIMARY', config.cluster, 'writes are held', mostMs);
        await this.#shared.hold.released();
        if (this.#host.isOver()) throw refusal('DBPROXY_SESSION_ENDED', 'it is over');
        deadlineMs = clock.nowMs() + patienceMs;
      } else if (chosen.backend !== null) {
        const { name, role } = chosen.backend;
        const request = side === 'home' || role === 'primary' ? this.#homeRequest : this.#replicaRequest;
        try {
          const found = await this.#acquireOn(name, request, Math.max(1, leftMs), terms);
          if (this.#host.isOver()) {
            this.#putBack(found);
            throw refusal('DBPROXY_SESSION_ENDED', 'it is over');
          }
          if (maySessionBegin(this.#context.snapshot(), endpoint, name)) return found;
          this.#putBack(found);
        } catch (error) {
          if (isRefusedLogin(error)) throw explained(error, name, request.identity.user);
          if (error instanceof PasswordNeeded) {
            this.#notePassword(name, request);
            throw refusal('DBPROXY_BACKEND_LOGIN', name, request.identity.user, error.message);
          }
          const isUnreachable = isRefusal(error) && error.code === 'DBPROXY_BACKEND_CONNECT';
          if (!isUnreachable || this.#host.isOver()) throw error;
          if (side === 'replica') failed.add(name);
          else if (leftMs <= RETRY_PRIMARY_MS) throw error;
          // Whoever watches the servers has been told, and may find another primary.
          else await this.#context.nextSnapshot(RETRY_PRIMARY_MS);
        }
      } else if (leftMs <= 0 || this.#host.isOver()) {
        const code = endpoint.mode === 'read' ? 'DBPROXY_NO_READABLE' : 'DBPROXY_NO_PRIMARY';
        throw refusal(code, config.cluster, chosen.reason, config.queueTimeoutMs);
      } else {
        await this.#context.nextSnapshot(leftMs);
      }
    }
  }

  /** What would go to the primary waits, while another server becomes that. */
  #mustHold(side: Side, backend: BackendView | null): boolean {
    if (!this.#homeMayWrite || !this.#shared.hold.isOn) return false;
    return side === 'home' || backend?.role === 'primary';
  }

  /** A server wants the password itself: told once, and asked of the next login that can tell it in secret. */
  #notePassword(backend: string, { identity }: SessionRequest): void {
    const { passwords } = this.#shared;
    const key = identity.key;
    if (passwords.has(key)) return;
    if (passwords.size >= MOST_IDENTITIES) passwords.clear();
    passwords.add(key);
    this.#context.log.warn('session.password_needed', {
      backend,
      user: identity.user,
      listener: this.#endpoint.config.name,
      detail: 'its reads stay at the primary until a client logs in over TLS',
    });
  }

  #putBack(found: BackendConnection | Lane): void {
    if (found instanceof Lane) found.cancel();
    else this.#release(found);
  }

  async #acquireOn(
    name: string,
    request: SessionRequest,
    timeoutMs: number,
    terms: LaneTerms | null,
  ): Promise<BackendConnection | Lane> {
    const held = this.#held.get(name);
    if (held !== undefined) {
      this.#take(held);
      if (!held.closed && this.isHome(held) === (request === this.#homeRequest)) return held;
      // Its server has changed its role since, or has closed it.
      this.#release(held);
    }
    const settings = this.#settingsFor(request);
    const wish = { ...request, settings, timeoutMs };
    return this.#context.pool(name).acquire(terms === null ? wish : { ...wish, lane: terms });
  }

  // What reads must have seen.

  /** The primary's position has to be asked for before a replica may read. */
  #mustAsk(): boolean {
    const { causalReads } = this.#endpoint.config;
    const { primaryEra } = this.#shared.causal;
    // A new primary may never have what the old one had last.
    if (this.#positionEra !== primaryEra && this.position !== null) this.#record.hasWritten = true;
    this.#positionEra = primaryEra;
    return causalReads === 'global' || (causalReads === 'session' && this.#record.hasWritten);
  }

  /** What must be seen is known to be there. */
  #isSatisfiedOn(replica: string): boolean {
    if (this.position === null) return true;
    const { causal } = this.#shared;
    const era = causal.eraOf(replica);
    if (this.#satisfied.get(replica) !== era) {
      if (!causal.isKnownToHave(replica, this.position)) return false;
      this.#satisfied.set(replica, era);
    }
    this.#countCausal('atOnce');
    return true;
  }

  /** The position that a read must have seen; null: none. undefined: nobody can tell, so home must serve. */
  async #positionToSee(): Promise<string | null | undefined> {
    const { causalReads } = this.#endpoint.config;
    if (causalReads === 'off') return null;
    if (causalReads === 'session' && !this.#record.hasWritten) return this.position;
    const { causal } = this.#shared;
    const words = this.#shared.facts().causal;
    this.#record.hasWritten = false;
    try {
      const position = await causal.positionNow(async () => {
        const connection = await this.#acquire('home', NONE);
        try {
          return await connection.queryValue(words.position);
        } finally {
          this.leave(connection, false);
        }
      });
      if (causalReads === 'session') {
        this.position = position;
        this.#satisfied.clear();
      }
      if (position !== null) return position;
    } catch {
      // The primary cannot be asked: whether a replica has all is not known.
    }
    this.#record.hasWritten = true;
    return undefined;
  }

  /** True when the replica has the position, now or within causal_timeout. */
  async #catchUp(connection: BackendConnection, position: string): Promise<boolean> {
    const { causal } = this.#shared;
    const words = this.#shared.facts().causal;
    const { backend } = connection;
    if (causal.isKnownToHave(backend, position)) {
      this.#countCausal('atOnce');
      return true;
    }
    const { causalTimeoutMs } = this.#endpoint.config;
    const has = await waitForPosition(connection, words, position, causalTimeoutMs).catch(() => false);
    if (!has) return false;
    causal.learn(backend, position);
    this.#countCausal('waited');
    return true;
  }

  #countCausal(what: keyof CausalCounts): void {
    this.causalCounts[what]++;
    this.#shared.causal.counts[what]++;
  }

  // Keeping and giving back.

  /** A held connection is in use again. */
  #take(connection: BackendConnection): void {
    this.#held.delete(connection.backend);
    if (!this.#keepsAll) this.#context.pool(connection.backend).stopLingering(connection);
  }

  /** Gives a connection back, with nothing on it that is this session's alone. */
  #release(connection: BackendConnection): void {
    if (this.#held.get(connection.backend) === connection) this.#held.delete(connection.backend);
    if (!this.#keepsAll) this.#context.pool(connection.backend).stopLingering(connection);
    if (connection.lastInserter === null || connection.closed) {
      return this.#context.pool(connection.backend).giveBack(connection);
    }
    this.#host.background(this.#cleanAndRelease(connection));
  }

  async #cleanAndRelease(connection: BackendConnection): Promise<void> {
    const pool = this.#context.pool(connection.backend);
    try {
      await this.insertId.clean(connection);
      pool.giveBack(connection);
    } catch {
      // It is lost, or will not say: nobody else should have it.
      pool.release(connection, false);
    }
  }

  #linger(connection: BackendConnection): void {
    this.#context.pool(connection.backend).linger(connection, () => this.#giveUp(connection));
  }

  /** Others wait for a connection that this session does not use now. */
  #giveUp(connection: BackendConnection): void {
    const leftMs = this.#graceUntilMs - this.#context.clock.nowMs();
    if (leftMs > 0) {
      this.#context.clock.after(leftMs, () => {
        if (this.#held.get(connection.backend) === connection) this.#giveUp(connection);
      });
      return;
    }
    this.#release(connection);
  }
}

function changesSomething(change: SettingsChange): boolean {
  return change.kind === 'reset' || change.database !== null || change.statements.length > 0;
}

const NONE: ReadonlySet<string> = new Set();
