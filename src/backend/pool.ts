/**
 * The connections of one worker to one backend. A connection is in exactly one of these places, and its
 * state is the place it is in: opening (not a connection yet), idle, lent, being reset, or closing. A session that
 * ends gives its connection back; it is reset at once (its transaction, locks and tables must not live on)
 * and then goes to the first who waits, or idles.
 *
 * Who wants a connection for itself (`acquire` without settings) gets, in this order:
 *   1. an idle one of the same identity in the right first state already,
 *   2. an idle one of the same identity, brought to that state,
 *   3. a new one, if a slot is free,
 *   4. a new one in the slot of an idle one of another identity,
 *   5. a place in the queue, until its deadline.
 *
 * Sessions that share connections (pool = transaction) take one for a statement or a transaction and give it
 * back as it is; it carries the record of its settings. Such a session gets one with equal settings, else one
 * that a SET brings to them (`take` answers at once), else as above. A session may linger on a connection:
 * it has it lent, and lets go when it is asked because somebody else waits.
 */
import { formatEndpoint, type Endpoint } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { isRefusal, refusal } from '../base/errors.ts';
import { Collation } from '../protocol/constants.ts';
import { ServerError } from '../protocol/packets.ts';
import { IdleConnections } from './idle.ts';
import type { Settings } from './settings.ts';
import { BackendConnection, type LoginOk } from './connection.ts';
import { type BackendChannel, type ConnectionWish, Identity, type Preparation } from './wish.ts';
import { Lane } from './lane.ts';
import type { Slots } from './slots.ts';

/** What a pool must know of its backend; it changes with the snapshots. */
export interface PoolTarget {
  name: string;
  address: Endpoint;
  maxConnections: number;
}

export interface PoolOptions {
  slots: Slots;
  clock: Clock;
  idleTimeoutMs: number;
  /** How long a new connection may take to stand and log in. */
  connectTimeoutMs: number;
  /** How the server is connected to, its address apart. */
  channel: Omit<BackendChannel, 'endpoint'>;
  /** Workers that share max_connections. */
  workers: number;
  /** A connection could not be opened, or was lost: the server should be looked at. */
  onFailure: (backend: string, error: string) => void;
}

/** A wish for a connection. */
export interface PoolRequest extends ConnectionWish {
  /** How long to wait in the queue. */
  timeoutMs: number;
  /** The settings that a session wants which shares connections; absent: it wants the connection for itself. */
  settings?: Settings;
  /** With settings: a place on a lane will do as well. */
  lane?: LaneTerms;
}

/** How short reads share connections. */
export interface LaneTerms {
  /** Share a connection that is in use even while others are idle. */
  readonly sharesFirst: boolean;
  readonly mostRiders: number;
  readonly fastMs: number;
}

interface Waiter {
  request: PoolRequest;
  timer: Timer;
  resolve: (found: BackendConnection | Lane) => void;
  reject: (error: Error) => void;
  /** The server had no room for one more connection. */
  refused?: ServerError;
}

/** A connection that is being opened for somebody. */
interface Opening {
  user: string;
  mayWrite: boolean;
  abort: (reason: string) => void;
}

/** How many of each there are now, by user. */
export interface PoolCount {
  user: string;
  used: number;
  idle: number;
  connecting: number;
  waiting: number;
}

export class BackendPool {
  #target: PoolTarget;
  readonly #options: PoolOptions;
  readonly #slotKey: string;
  readonly #idle = new IdleConnections();
  readonly #lent = new Set<BackendConnection>();
  /** Lent to sessions that do not use them now, with how to ask for them. */
  readonly #lingering = new Map<BackendConnection, () => void>();
  readonly #resetting = new Set<BackendConnection>();
  /** Were idle, are being closed; they hold their slots until they are gone. */
  readonly #closing = new Set<BackendConnection>();
  /** Lent to several sessions at once, by identity. */
  readonly #lanes = new Map<string, Lane[]>();
  /** It has just refused one more connection. */
  #isServerFull = false;
  /** Another server becomes the primary: see `shut`. */
  #isShut = false;
  readonly #whenEmptied: (() => void)[] = [];
  readonly #laneOf = new WeakMap<BackendConnection, Lane>();
  readonly #waiters: Waiter[] = [];
  readonly #opening = new Set<Opening>();
  #waits = 0;
  /** Takes back the wish to be told of a free slot; null when there is none. */
  #stopListening: (() => void) | null = null;

  constructor(target: PoolTarget, options: PoolOptions) {
    this.#target = target;
    this.#options = options;
    this.#slotKey = `backend:${target.name}`;
  }

  // Another server becomes the primary.

  /** No connection that may write stays with the pool: what idles is closed, and what comes back. */
  shut(): void {
    this.#isShut = true;
    this.dropIdle();
  }

  /** As it was before `shut`. */
  reopen(): void {
    this.#isShut = false;
  }

  /** Resolves when there is no connection that may write any more, and none is being opened. */
  emptied(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenEmptied.push(resolve);
      this.#tellEmptied();
    });
  }

  /** Cuts all connections that may write; who uses one is told `reason`. Answers how many were in use. */
  cut(reason: string): number {
    for (const { abort, mayWrite } of this.#opening) if (mayWrite) abort(reason);
    const cut = this.#mayWrite;
    const used = cut.filter((connection) => this.#lent.has(connection) && !this.#lingering.has(connection));
    for (const connection of cut) connection.cut(reason);
    return used.length;
  }

  /** The backend as the newest snapshot has it. */
  retarget(target: PoolTarget): void {
    this.#target = target;
  }

  /** How often a session had to wait in the queue. */
  get waits(): number {
    return this.#waits;
  }

  /** Connections that sessions use now. */
  get inUse(): number {
    return this.#lent.size - this.#lingering.size;
  }

  get waitingCount(): number {
    return this.#waiters.length;
  }

  /**
   * Lends a connection in the first state of a session. Rejects with ServerError (the server refused),
   * PasswordNeeded, DBPROXY_BACKEND_CONNECT or DBPROXY_QUEUE_TIMEOUT.
   */
  acquire(request: Omit<PoolRequest, 'lane'>): Promise<BackendConnection>;
  /** The same, or a place on a lane, kept until its `ride` or `cancel`. */
  acquire(request: PoolRequest): Promise<BackendConnection | Lane>;
  acquire(request: PoolRequest): Promise<BackendConnection | Lane> {
    return new Promise<BackendConnection | Lane>((resolve, reject) => {
      const waiter: Waiter = { request, resolve, reject, timer: NO_TIMER };
      if (this.#waiters.length === 0 && this.#serve(waiter)) return;
      this.#waits++;
      waiter.timer = this.#options.clock.after(request.timeoutMs, () => this.#expire(waiter));
      this.#waiters.push(waiter);
      this.#listenForSlot();
      // A session that lingered may have given its connection up at once, when nobody was in the queue yet.
      if (this.#idle.size > 0) this.#pump();
    });
  }

  /**
   * Lends an idle connection at once to a session that shares connections; null when there is none, or others
   * wait. Its settings are equal, or a SET away (`changeTo`).
   */
  take(request: Omit<PoolRequest, 'timeoutMs'>, settings: Settings): BackendConnection | null {
    if (this.#waiters.length > 0) return null;
    const found = this.#findShared(request, settings);
    if (found === undefined) return null;
    this.#idle.remove(found);
    this.#lent.add(found);
    return found;
  }

  /** Lends this one, if it idles and nobody has used it since `user` did. */
  takeOwn(connection: BackendConnection, user: object): boolean {
    if (connection.lastUser !== user || !this.#idle.remove(connection)) return false;
    this.#lent.add(connection);
    return true;
  }

  /**
   * A place on a lane with the right settings for one short read, kept until its `ride` or `cancel`; null when
   * there is none, or others wait who want a connection for themselves.
   */
  board(request: Omit<PoolRequest, 'timeoutMs'>, settings: Settings, terms: LaneTerms): Lane | null {
    if (this.#waiters.length > 0 && this.#mustWaitBehind(request.identity)) return null;
    const { maxConnections } = this.#target;
    const isAllowedMore = this.#lent.size + this.#opening.size < maxConnections / this.#options.workers;
    return this.#findLane(request, settings, terms, !isAllowedMore);
  }

  /** Others want a connection for themselves, or were there first for a place on a lane. */
  #mustWaitBehind(identity: Identity): boolean {
    return this.#waiters.some(
      ({ request }) => request.lane === undefined || request.identity.key === identity.key,
    );
  }

  /** Takes a connection back from a session that shares it; it serves the next one as it is. */
  giveBack(connection: BackendConnection): void {
    connection.user = null;
    connection.worn = true;
    this.#lingering.delete(connection);
    if (!this.#lent.delete(connection)) throw new Error(`connection to ${connection.backend} released twice`);
    if (connection.closed) return this.#pump();
    if (connection.spoiled || connection.isMarked) return connection.close();
    this.#becomeIdle(connection);
  }

  /** The session keeps a connection that it does not use now; `giveUp` is called, once, when others want it. */
  linger(connection: BackendConnection, giveUp: () => void): void {
    this.#lingering.set(connection, giveUp);
    if (this.#waiters.length > 0) this.#askLingering(this.#waiters[0]!.request.identity);
  }

  /** Others, in another worker, want a slot: the session that lingers longest is asked. */
  askForLingering(): void {
    const [first] = this.#lingering.keys();
    if (first !== undefined) this.#askLingering(first.identity);
  }

  /** The session uses the connection again. */
  stopLingering(connection: BackendConnection): void {
    this.#lingering.delete(connection);
  }

  /**
   * Takes a connection back. `reusable` false: it is in an unknown state (an answer was under way) and is
   * closed.
   */
  release(connection: BackendConnection, reusable: boolean): void {
    connection.user = null;
    this.#lingering.delete(connection);
    if (!this.#lent.delete(connection)) throw new Error(`connection to ${connection.backend} released twice`);
    if (connection.closed) return this.#pump();
    if (!reusable || connection.spoiled || connection.isMarked) return connection.close();
    connection.resume();
    const next = this.#waiters.find(({ request }) => this.#isSame(request.identity, connection.identity));
    this.#prepare(connection, next?.request.preparation ?? connection.preparation, RESET_TIMEOUT_MS).then(
      () => this.#becomeIdle(connection),
      () => this.#pump(),
    );
  }

  /** Closes connections that have idled too long. */
  trim(nowMs: number): void {
    this.dropIdleSince(nowMs - this.#options.idleTimeoutMs);
  }

  /** Closes connections that have idled since before `beforeMs`. */
  dropIdleSince(beforeMs: number): void {
    for (const connection of this.#idle.all()) if (connection.idleSinceMs < beforeMs) this.#drop(connection);
  }

  /** Closes all that idles (of some users): the slots are wanted elsewhere, or the server is gone. */
  dropIdle(isMeant: (user: string) => boolean = () => true): void {
    for (const connection of this.#idle.all()) if (isMeant(connection.identity.user)) this.#drop(connection);
  }

  /**
   * The server is down: what idles is closed, and who waits for it (in the queue, for a login, for a reset)
   * is told so at once, so that a read can go elsewhere. Sessions in service are left to their sockets.
   */
  serverDown(reason: string): void {
    this.dropIdle();
    for (const { abort } of this.#opening) abort(reason);
    for (const connection of this.#resetting) connection.abort(reason);
    const error = refusal(
      'DBPROXY_BACKEND_CONNECT',
      this.#target.name,
      formatEndpoint(this.#target.address),
      reason,
    );
    for (const waiter of this.#waiters.splice(0)) {
      waiter.timer.cancel();
      waiter.reject(error);
    }
    this.#wantNothing();
  }

  /**
   * Runs one statement without rows on a connection of its own, which counts in no limit: for KILL, which
   * must get through just when all connections are taken. Rejects with ServerError or
   * DBPROXY_BACKEND_CONNECT, at the latest after twice the connect timeout.
   */
  async executeAside(
    { identity, secret, findPassword }: Omit<ConnectionWish, 'preparation'>,
    sql: string,
  ): Promise<LoginOk> {
    const { clock, connectTimeoutMs } = this.#options;
    const wish: ConnectionWish = {
      identity: new Identity({ ...identity, capabilities: 0, extendedCapabilities: 0 }),
      secret,
      ...(findPassword !== undefined && { findPassword }),
      keepsPassword: false,
      preparation: PLAIN_PREPARATION,
    };
    let abort: (reason: string) => void = () => undefined;
    const timer = clock.after(2 * connectTimeoutMs, () =>
      abort(`no answer within ${2 * connectTimeoutMs} ms`),
    );
    try {
      const connection = await BackendConnection.open(
        this.#target.name,
        this.#channel(),
        wish,
        (abortOpening) => {
          abort = abortOpening;
        },
      );
      return await connection.execute(sql).finally(() => connection.close());
    } finally {
      timer.cancel();
    }
  }

  /** Closes everything; who waits is told `reason`. */
  close(reason: Error): void {
    for (const waiter of this.#waiters.splice(0)) {
      waiter.timer.cancel();
      waiter.reject(reason);
    }
    this.#wantNothing();
    for (const connection of [...this.#idle.all(), ...this.#resetting, ...this.#lent]) connection.close();
  }

  /** Counts by user. */
  counts(): PoolCount[] {
    const counts = new Map<string, PoolCount>();
    const of = (user: string): PoolCount => {
      let count = counts.get(user);
      if (count === undefined)
        counts.set(user, (count = { user, used: 0, idle: 0, connecting: 0, waiting: 0 }));
      return count;
    };
    // One that its server has closed stays with its session until that looks.
    for (const { identity, closed } of this.#lent) if (!closed) of(identity.user).used++;
    for (const { identity } of this.#idle.all()) of(identity.user).idle++;
    for (const { identity } of this.#resetting) of(identity.user).connecting++;
    for (const { user } of this.#opening) of(user).connecting++;
    for (const { request } of this.#waiters) of(request.identity.user).waiting++;
    return [...counts.values()];
  }

  /** Tries the ways 1 to 4; true when the waiter will be answered by one of them. */
  #serve(waiter: Waiter): boolean {
    const { request } = waiter;
    const { settings, preparation, lane } = request;
    const place =
      settings === undefined || lane === undefined ? null : this.#findLane(request, settings, lane, true);
    if (place !== null) {
      waiter.timer.cancel();
      waiter.resolve(place);
      return true;
    }
    const shared = settings === undefined ? undefined : this.#findShared(request, settings);
    const ready =
      settings === undefined
        ? this.#mine(request.identity).findLast(
            (connection) => !connection.closed && connection.isPreparedFor(preparation),
          )
        : shared;
    if (ready !== undefined) {
      this.#idle.remove(ready);
      this.#lend(ready, waiter);
      return true;
    }
    // Sessions with other settings keep their connections as long as there is room for more.
    if (settings !== undefined && this.#mayOpen()) {
      void this.#open(waiter);
      return true;
    }
    const other = this.#mine(request.identity).findLast(({ closed }) => !closed);
    if (other !== undefined) {
      this.#idle.remove(other);
      this.#prepareFor(other, waiter);
      return true;
    }
    if (settings !== undefined || !this.#mayOpen()) {
      this.#makeRoom(request.identity);
      return false;
    }
    void this.#open(waiter);
    return true;
  }

  /** The slot of an idle one of somebody else changes hands: it is free when that socket is gone. */
  #makeRoom(identity: Identity): void {
    if (this.#closing.size > 0) return;
    const oldest = this.#idle.oldest();
    if (oldest !== undefined) this.#drop(oldest);
    else this.#askLingering(identity);
  }

  /** Asks the session that lingers longest, one of the same identity if there is one. */
  #askLingering(identity: Identity): void {
    let longest: BackendConnection | undefined;
    for (const connection of this.#lingering.keys()) {
      if (this.#isSame(connection.identity, identity)) {
        longest = connection;
        break;
      }
      longest ??= connection;
    }
    if (longest === undefined) return;
    const giveUp = this.#lingering.get(longest)!;
    this.#lingering.delete(longest);
    giveUp();
  }

  /** Idle ones of the same identity, the warmest last. */
  #mine(identity: Identity): readonly BackendConnection[] {
    const same = this.#idle.of(identity);
    // A server that knows the client's address may have let it in for just that.
    return this.#options.channel.sendsProxyHeader
      ? same.filter((connection) => this.#isSame(connection.identity, identity))
      : same;
  }

  /** The warmest with equal settings, else the warmest that a SET brings to them. */
  #findShared(
    { identity, preparation }: Omit<PoolRequest, 'timeoutMs'>,
    settings: Settings,
  ): BackendConnection | undefined {
    const mine = this.#mine(identity);
    for (let index = mine.length - 1; index >= 0; index--) {
      const connection = mine[index]!;
      if (connection.hasSettings(preparation, settings) && !connection.closed) return connection;
    }
    return mine.findLast(
      (connection) => !connection.closed && connection.changeTo(preparation, settings).kind === 'set',
    );
  }

  /** A lane that is there, or a new one on an idle connection; which of them first, the terms say. */
  #findLane(
    request: Omit<PoolRequest, 'timeoutMs'>,
    settings: Settings,
    terms: LaneTerms,
    isFull: boolean,
  ): Lane | null {
    const shared = terms.sharesFirst ? this.#joinLane(request, settings, terms) : null;
    if (shared !== null) return shared.reserve();
    const found = this.#findShared(request, settings);
    if (found?.hasSettings(request.preparation, settings) === true) {
      this.#idle.remove(found);
      this.#lent.add(found);
      return this.#openLane(found).reserve();
    }
    return terms.sharesFirst || !isFull
      ? null
      : (this.#joinLane(request, settings, terms)?.reserve() ?? null);
  }

  /** The lane with the fewest riders that takes one more. */
  #joinLane(
    { identity, preparation }: Omit<PoolRequest, 'timeoutMs'>,
    settings: Settings,
    { mostRiders, fastMs }: LaneTerms,
  ): Lane | null {
    const lanes = this.#lanes.get(identity.key);
    if (lanes === undefined || lanes.length === 0) return null;
    let best: Lane | null = null;
    for (const lane of lanes) {
      if (best !== null && lane.depth >= best.depth) continue;
      const { connection } = lane;
      const fits =
        connection.hasSettings(preparation, settings) && this.#isSame(connection.identity, identity);
      if (fits && lane.admits(mostRiders, fastMs)) best = lane;
    }
    return best;
  }

  #openLane(connection: BackendConnection): Lane {
    let lane = this.#laneOf.get(connection);
    if (lane === undefined) {
      const onEmpty = (empty: Lane): void => this.#closeLane(empty);
      lane = new Lane(connection, this.#options.clock, onEmpty, () => this.#pump());
      this.#laneOf.set(connection, lane);
    }
    const key = connection.identity.key;
    const lanes = this.#lanes.get(key);
    if (lanes === undefined) this.#lanes.set(key, [lane]);
    else lanes.push(lane);
    return lane;
  }

  #closeLane(lane: Lane): void {
    const key = lane.connection.identity.key;
    const lanes = this.#lanes.get(key)!;
    lanes.splice(lanes.indexOf(lane), 1);
    if (lanes.length === 0) this.#lanes.delete(key);
    this.giveBack(lane.connection);
  }

  #prepareFor(connection: BackendConnection, waiter: Waiter): void {
    const { preparation, timeoutMs } = waiter.request;
    const deadlineMs = this.#options.clock.nowMs() + timeoutMs;
    this.#prepare(connection, preparation, timeoutMs).then(
      () => this.#lend(connection, waiter),
      (error: Error) => {
        waiter.timer.cancel();
        // It idled: the server may have closed it, or want more of a secret that is older than the client's.
        // That says nothing of the next one, and of the client only what a new connection gets to hear counts.
        const leftMs = deadlineMs - this.#options.clock.nowMs();
        if (leftMs > 0)
          this.acquire({ ...waiter.request, timeoutMs: leftMs }).then(waiter.resolve, waiter.reject);
        else waiter.reject(error);
      },
    );
  }

  /** Brings a connection to a first state; one that does not get there in time is closed. */
  async #prepare(connection: BackendConnection, preparation: Preparation, timeoutMs: number): Promise<void> {
    this.#resetting.add(connection);
    const timer = this.#options.clock.after(timeoutMs, () =>
      connection.abort(`no answer to the reset within ${timeoutMs} ms`),
    );
    try {
      await connection.prepare(preparation);
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      timer.cancel();
      this.#resetting.delete(connection);
    }
  }

  async #open(waiter: Waiter): Promise<void> {
    const { request } = waiter;
    const { name } = this.#target;
    const mayWrite = !request.preparation.readOnly;
    const opening: Opening = { user: request.identity.user, mayWrite, abort: () => undefined };
    this.#opening.add(opening);
    const { connectTimeoutMs } = this.#options;
    const timer = this.#options.clock.after(connectTimeoutMs, () =>
      opening.abort(`no answer within ${connectTimeoutMs} ms (connect_timeout)`),
    );
    try {
      const connection = await BackendConnection.open(name, this.#channel(), request, (abortOpening) => {
        opening.abort = abortOpening;
      });
      connection.onGone = (lost) => this.#gone(connection, lost);
      this.#lend(connection, waiter);
    } catch (error) {
      if (this.#isFull(error)) return this.#waitForServer(waiter, error);
      this.#options.slots.release(this.#slotKey);
      waiter.timer.cancel();
      if (isRefusal(error)) this.#options.onFailure(name, error.message);
      waiter.reject(error instanceof Error ? error : new Error(String(error)));
    } finally {
      timer.cancel();
      this.#opening.delete(opening);
      this.#tellEmptied();
    }
  }

  /** The server takes fewer connections than we may open; one of those that there are will come back. */
  #isFull(error: unknown): error is ServerError {
    const says = error instanceof ServerError && TOO_MANY_CONNECTIONS.has(error.packet.errno);
    return says && this.#lent.size + this.#idle.size > 0;
  }

  /** Who had the first turn has it again; for a moment the server is not asked for more connections. */
  #waitForServer(waiter: Waiter, error: ServerError): void {
    const { clock, slots } = this.#options;
    waiter.refused = error;
    if (waiter.timer === NO_TIMER) {
      waiter.timer = clock.after(waiter.request.timeoutMs, () => this.#expire(waiter));
    }
    this.#waiters.unshift(waiter);
    this.#waits++;
    if (!this.#isServerFull) {
      this.#isServerFull = true;
      clock.after(FULL_SERVER_MS, () => {
        this.#isServerFull = false;
        this.#pump();
      });
    }
    this.#listenForSlot();
    slots.release(this.#slotKey);
    if (this.#idle.size > 0) this.#pump();
  }

  #mayOpen(): boolean {
    return !this.#isServerFull && this.#options.slots.tryTake(this.#slotKey);
  }

  #lend(connection: BackendConnection, waiter: Waiter): void {
    waiter.timer.cancel();
    this.#lent.add(connection);
    waiter.resolve(connection);
  }

  #becomeIdle(connection: BackendConnection): void {
    if (connection.closed) return;
    if (this.#isShut && !connection.preparation.readOnly) return connection.close();
    connection.idleSinceMs = this.#options.clock.nowMs();
    this.#idle.add(connection);
    if (this.#waiters.length > 0) this.#pump();
    if (this.#options.slots.isOwed(this.#slotKey) && this.#idle.has(connection)) this.#drop(connection);
  }

  #channel(): BackendChannel {
    return { ...this.#options.channel, endpoint: this.#target.address };
  }

  #isSame(left: Identity, right: Identity): boolean {
    return (
      left.key === right.key &&
      (!this.#options.channel.sendsProxyHeader || left.client.address === right.client.address)
    );
  }

  /** Serves the queue from its head as far as it goes. */
  #pump(): void {
    if (this.#waiters.length === 0) return this.#wantNothing();
    while (this.#waiters.length > 0) {
      const waiter = this.#waiters[0]!;
      if (!this.#serve(waiter)) return this.#listenForSlot();
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    }
    this.#wantNothing();
  }

  /** With nobody in the queue, a slot that becomes free is not for us. */
  #wantNothing(): void {
    if (this.#waiters.length > 0) return;
    this.#stopListening?.();
    this.#stopListening = null;
  }

  #listenForSlot(): void {
    this.#stopListening ??= this.#options.slots.onFree(this.#slotKey, () => {
      this.#stopListening = null;
      this.#pump();
    });
  }

  #expire(waiter: Waiter): void {
    const index = this.#waiters.indexOf(waiter);
    if (index < 0) return;
    this.#waiters.splice(index, 1);
    this.#wantNothing();
    const { name, maxConnections } = this.#target;
    waiter.reject(
      waiter.refused ??
        refusal('DBPROXY_QUEUE_TIMEOUT', name, Math.round(waiter.request.timeoutMs), maxConnections),
    );
  }

  /** Closes an idle one. It leaves the list at once, so that nobody is given it; its slot is free when the socket is gone. */
  #drop(connection: BackendConnection): void {
    this.#idle.remove(connection);
    this.#closing.add(connection);
    connection.close();
  }

  /** A connection of ours is gone, from whichever place. */
  #gone(connection: BackendConnection, lost: string | null): void {
    this.#idle.remove(connection);
    this.#closing.delete(connection);
    this.#resetting.delete(connection);
    this.#options.slots.release(this.#slotKey);
    if (lost !== null) this.#options.onFailure(this.#target.name, lost);
    this.#tellEmptied();
  }

  /** Connections that may write, or are on their way. */
  get #mayWrite(): BackendConnection[] {
    const all = [...this.#lent, ...this.#resetting, ...this.#idle.all()];
    return all.filter(({ closed, preparation }) => !closed && !preparation.readOnly);
  }

  #tellEmptied(): void {
    if (this.#whenEmptied.length === 0 || this.#mayWrite.length > 0) return;
    for (const { mayWrite } of this.#opening) if (mayWrite) return;
    for (const tell of this.#whenEmptied.splice(0)) tell();
  }
}

/** ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED */
const TOO_MANY_CONNECTIONS: ReadonlySet<number> = new Set([1040, 1203, 1226]);

/** How long a server that was full is not asked for one more connection. */
const FULL_SERVER_MS = 250;

/** How long a server may take to reset a connection that nobody waits for. */
const RESET_TIMEOUT_MS = 10_000;

const NO_TIMER: Timer = { cancel: () => undefined };

/** The first state of a connection that serves no session. */
const PLAIN_PREPARATION: Preparation = {
  database: '',
  collation: Collation.UTF8MB4_GENERAL_CI,
  readOnly: false,
  attributes: Buffer.alloc(0),
  settingFlags: 0,
};
