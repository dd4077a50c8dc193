/**
 * One worker: the composition root of the data plane. It is told everything by its supervisor (who it is,
 * the configuration, each new snapshot) and reads nothing else; when the supervisor is gone, it ends.
 */
import { createPrivateKey } from 'node:crypto';
import { sleep, systemClock, type Timer } from './base/clock.ts';
import { HostAddresses } from './base/host-addresses.ts';
import { openLog, type Log } from './base/log.ts';
import { refusal } from './base/errors.ts';
import { closedInOrder, type ByteSocket } from './base/socket.ts';
import { channelOf } from './backend/channel.ts';
import { BackendPool } from './backend/pool.ts';
import { Slots } from './backend/slots.ts';
import type { BackendConfig, ListenerConfig, ProxyConfig } from './config/config.ts';
import { AccountQuestions } from './frontend/account-questions.ts';
import { Counters } from './frontend/counters.ts';
import { explainFirstRoute, explainRoute } from './frontend/explain.ts';
import { explainSession } from './frontend/explain-session.ts';
import { WriteHold } from './frontend/hold.ts';
import { leaveUnreadable } from './frontend/leave-replica.ts';
import { leavePrimary } from './frontend/leave-primary.ts';
import { ListenerDrain } from './frontend/listener-drain.ts';
import { Listener } from './frontend/listener.ts';
import { offerOf, withoutCache, type Offer } from './frontend/offer.ts';
import type { SessionContext, SessionEndpoint } from './frontend/context.ts';
import { Session } from './frontend/session.ts';
import { Sessions } from './frontend/sessions.ts';
import { EndpointShares, sharesConnections, staysHome } from './frontend/shared-endpoint.ts';
import { UserDirectory } from './frontend/users.ts';
import { workerStats } from './frontend/worker-stats.ts';
import type {
  CommitOutcome,
  FromWorker,
  LostCommit,
  SessionPlace,
  TakenListeners,
  ToWorker,
  WorkerStats,
} from './ipc/messages.ts';
import { slotOfSessionId } from './ipc/session-id.ts';
import type { DigestStats, RouteAsker, RouteExplanation } from './ipc/split.ts';
import type { RsaKeys } from './protocol/login-server.ts';
import { formatDigest } from './sql/digest-text.ts';
import type { ClusterAccounts } from './topology/account.ts';
import { withPosition, type Snapshot } from './topology/snapshot.ts';
import type { ListenerCertificates } from './transport/certificates.ts';
import { tlsServer, type TlsServer } from './transport/tls-stream.ts';

/** How often sessions look at their limits of time. */
const TICK_MS = 200;
/** How often pools close what has idled too long. */
const TRIM_MS = 5000;
/** How long a wish of another worker for more than its part is kept in mind, and what must have idled for it. */
const WISH_MS = 30_000;
const WISHED_IDLE_MS = 500;
/** How long an operator's KILL QUERY waits for the server's word. */
const KILL_WAIT_MS = 1000;
/** How long the supervisor may take to say where a session is. */
const PLACE_TIMEOUT_MS = 2000;

/** How much longer than hold_timeout the supervisor may take to say what became of a COMMIT. */
const RESOLVE_MARGIN_MS = 1000;
/** How often at most a worker reports that a backend has failed. */
const REPORT_INTERVAL_MS = 50;

/** What became of a transaction whose COMMIT was not answered, and how that is known. */
interface CommitAnswer {
  readonly outcome: CommitOutcome;
  readonly detail: string;
}

/** Runs this process as a worker. Resolves with the exit code when it is to end. */
export function runWorker(): Promise<number> {
  return new Promise((resolve) => {
    let worker: Worker | undefined;
    process.once('disconnect', () => resolve(1));
    process.on('message', (message: ToWorker) => {
      if (message.type === 'start') worker = new Worker(message, send, resolve);
      else worker?.receive(message);
    });
  });
}

function send(message: FromWorker): void {
  if (process.connected) process.send!(message);
}

class Worker {
  readonly #slot: number;
  #config: ProxyConfig;
  readonly #send: (message: FromWorker) => void;
  readonly #exit: (code: number) => void;
  readonly #log: Log;
  readonly #slots: Slots;
  readonly #counters = new Counters();
  readonly #sessions: Sessions;
  readonly #addresses = new HostAddresses(systemClock);
  readonly #pools = new Map<string, BackendPool>();
  readonly #listeners: Listener[];
  readonly #users: UserDirectory;
  readonly #accountQuestions: AccountQuestions;
  readonly #context: SessionContext;
  readonly #rsa: RsaKeys;
  readonly #ticketKeys: Buffer;
  /** Of the listeners that speak TLS. */
  readonly #tlsServers = new Map<string, TlsServer>();
  /** Listeners that have not been tried yet; `ready` is sent when the last one has. */
  readonly #untried: Set<string>;
  readonly #offers = new Map<string, Offer>();
  readonly #endpoints = new Map<string, SessionEndpoint>();
  /** Of the listeners whose sessions change connections. */
  readonly #shares = new Map<string, EndpointShares>();
  /** Slots that others wish for, though they have their fair part, and until when. */
  readonly #wished = new Map<string, number>();
  readonly #placeQuestions = new Map<number, (place: SessionPlace | null) => void>();
  readonly #commitQuestions = new Map<number, (answer: CommitAnswer) => void>();
  /** By cluster. */
  readonly #holds: ReadonlyMap<string, WriteHold>;
  /** The latest primary of each cluster, also while there is none. */
  readonly #primaries = new Map<string, string>();
  /** When a failure of a backend was reported last. */
  readonly #reportedMs = new Map<string, number>();
  readonly #snapshotWaiters = new Set<() => void>();
  #snapshot: Snapshot;
  #taken: TakenListeners;
  #question = 0;
  #lagMs = 0;

  constructor(
    start: Extract<ToWorker, { type: 'start' }>,
    sendMessage: (message: FromWorker) => void,
    exit: (code: number) => void,
  ) {
    const { config, slot } = start;
    this.#slot = slot;
    this.#config = config;
    this.#snapshot = start.snapshot;
    this.#send = sendMessage;
    this.#exit = exit;
    this.#log = openLog({
      level: config.dbproxy.logLevel,
      format: config.dbproxy.logFormat,
      base: { worker: slot },
    });
    this.#slots = new Slots({
      want: (key, count) => this.#send({ type: 'slots-wanted', key, count }),
      giveBack: (key, count) => this.#send({ type: 'slots-returned', key, count }),
    });
    this.#holds = new Map(
      config.clusters.map(({ name, holdTimeoutMs }) => [
        name,
        new WriteHold(name, holdTimeoutMs, systemClock),
      ]),
    );
    for (const { name, primary, writesHeld } of start.snapshot.clusters) {
      if (primary !== null) this.#primaries.set(name, primary);
      if (writesHeld) this.#holds.get(name)?.begin();
    }
    this.#sessions = new Sessions(slot, systemClock);
    this.#users = new UserDirectory({
      clusters: config.clusters,
      users: config.users,
      remember: config.dbproxy,
      onProven: (login) => this.#send({ type: 'account-proven', login }),
    });
    for (const accounts of start.accounts) this.#users.take(accounts);
    for (const login of start.proven) this.#users.learn(login);
    this.#accountQuestions = new AccountQuestions({
      clock: systemClock,
      users: this.#users,
      ask: (requestId, cluster) => this.#send({ type: 'accounts-wanted', requestId, cluster }),
    });
    this.#rsa = {
      privateKey: createPrivateKey(start.rsa.rsaPrivateKeyPem),
      publicPem: start.rsa.rsaPublicKeyPem,
    };
    this.#ticketKeys = Buffer.from(start.ticketKeys, 'base64');
    for (const certificates of start.certificates) this.#takeCertificates(certificates);
    this.#context = this.#makeContext();
    this.#taken = start.taken;
    this.#untried = new Set(config.listeners.map(({ name }) => name));
    this.#listeners = config.listeners.map((listener) => this.#openListener(listener));
    this.#startTimers();
  }

  receive(message: Exclude<ToWorker, { type: 'start' }>): void {
    switch (message.type) {
      case 'backends':
        return this.#takeBackends(message.backends);
      case 'snapshot':
        return this.#takeSnapshot(message.snapshot);
      case 'listeners-taken':
        this.#taken = message.taken;
        return;
      case 'accounts':
        return this.#takeAccounts(message.accounts);
      case 'accounts-checked':
        return this.#accountQuestions.answered(message.requestId, message.awaitsFirst);
      case 'account-proven':
        return this.#users.learn(message.login);
      case 'schema-changed':
        return this.#forgetSchema(message.cluster);
      case 'end-sessions':
        return void this.#endSessions(message);
      case 'hold-writes':
        return void this.#holdWrites(message);
      case 'commit-resolved':
        return this.#commitQuestions.get(message.requestId)?.(message);
      case 'stats-wanted':
        return this.#send({ type: 'stats', requestId: message.requestId, stats: this.#stats() });
      case 'sessions-wanted': {
        const sessions = [...this.#sessions.all()].map((session) => session.info());
        return this.#send({ type: 'sessions', requestId: message.requestId, sessions });
      }
      case 'replica-position':
        return this.#takePosition(message.backend, message.gtidPosition);
      case 'digests-wanted':
        return this.#send({ type: 'digests', requestId: message.requestId, digests: this.#digests() });
      case 'explain-session': {
        const { requestId, sessionId } = message;
        const session = this.#sessions.find(sessionId);
        const explanation = session === undefined ? null : explainSession(session, this.#context);
        return this.#send({ type: 'session-explained', requestId, explanation });
      }
      case 'explain-route': {
        const explanation = this.#explainRoute(message.asker, message.sql);
        return this.#send({ type: 'route-explained', requestId: message.requestId, explanation });
      }
      case 'session-asked': {
        const place = this.#ownPlace(message.sessionId, message.ends);
        return this.#send({ type: 'session-place', requestId: message.requestId, place });
      }
      case 'kill-session':
        return void this.#kill(message);
      case 'session-found':
        return this.#answerPlace(message.requestId, message.place);
      case 'certificates':
        return this.#takeCertificates(message.certificates);
      case 'slots-granted':
        return this.#slots.granted(message.key, message.count);
      case 'slots-wanted-back':
        return this.#giveBack(message.key, message.must);
      case 'stop':
        return void this.#stop(message.timeoutMs);
    }
  }

  #makeContext(): SessionContext {
    return {
      clock: systemClock,
      log: this.#log,
      slots: this.#slots,
      counters: this.#counters,
      rsa: this.#rsa,
      users: this.#users,
      refreshAccounts: (cluster, patienceMs) => this.#accountQuestions.refresh(cluster, patienceMs),
      snapshot: () => this.#snapshot,
      nextSnapshot: (timeoutMs) => this.#nextSnapshot(timeoutMs),
      pool: (backend) => this.#pool(backend),
      sessionsOn: (backend) => this.#sessions.countOn(backend),
      placeOf: (sessionId) => this.#placeOf(sessionId, false),
      endKilled: async (sessionId) => void (await this.#placeOf(sessionId, true)),
      resolveCommit: (question) => this.#resolveCommit(question),
      schemaChanged: (cluster) => {
        this.#forgetSchema(cluster);
        this.#send({ type: 'schema-changed', cluster });
      },
    };
  }

  #forgetSchema(cluster: string): void {
    for (const [listener, shared] of this.#shares) {
      if (this.#endpoints.get(listener)?.config.cluster === cluster) shared.hiddenCode.forget();
    }
  }

  #openListener(config: ListenerConfig): Listener {
    const shared = sharesConnections(config)
      ? new EndpointShares(config, this.#config, this.#snapshot, this.#holds.get(config.cluster)!)
      : null;
    if (shared !== null) this.#shares.set(config.name, shared);
    const endpoint: SessionEndpoint = {
      config,
      credits: new Map(),
      offer: () =>
        shared === null || staysHome(config)
          ? this.#offer(config.cluster)
          : withoutCache(this.#offer(config.cluster)),
      tls: () => this.#tlsServers.get(config.name) ?? null,
      shared,
    };
    this.#endpoints.set(config.name, endpoint);
    const { name } = config;
    const drain = new ListenerDrain({
      config,
      clock: systemClock,
      sessions: () => this.#sessions.all(),
      onDrained: (ended) => this.#send({ type: 'listener-drained', listener: name, ended }),
    });
    const listener = new Listener({
      config,
      addresses: this.#addresses,
      clock: systemClock,
      log: this.#log,
      slots: this.#slots,
      counters: this.#counters,
      removesStaleSocket: this.#slot === 0,
      takenBy: () => this.#taken[name] ?? null,
      begin: (client, onOver) => this.#beginSession(client, endpoint, onOver),
      onReleased: () => this.#send({ type: 'listener-released', listener: name, kept: drain.begin() }),
      onStatus: (error) => {
        if (error === null) drain.addressIsHere();
        this.#send({ type: 'listening', listener: name, error });
        this.#listenerTried(name);
      },
    });
    listener.open();
    return listener;
  }

  /** What endpoints of a cluster greet with; made once a snapshot. */
  #offer(cluster: string): Offer {
    let offer = this.#offers.get(cluster);
    if (offer === undefined) {
      const members = this.#snapshot.backends.filter((backend) => backend.cluster === cluster);
      const view = this.#snapshot.clusters.find(({ name }) => name === cluster);
      offer = offerOf(members, view?.primary ?? null);
      this.#offers.set(cluster, offer);
    }
    return offer;
  }

  #takeCertificates({ listener, cert, key, ca }: ListenerCertificates): void {
    this.#tlsServers.set(listener, tlsServer({ cert, key, ca, ticketKeys: this.#ticketKeys }));
  }

  #listenerTried(name: string): void {
    if (this.#untried.delete(name) && this.#untried.size === 0) this.#send({ type: 'ready' });
  }

  #beginSession(client: ByteSocket, endpoint: SessionEndpoint, onOver: () => void): void {
    const session = new Session(this.#sessions.nextId(), client, endpoint, this.#context, (over) => {
      this.#sessions.remove(over);
      onOver();
    });
    this.#sessions.add(session);
    session.start();
  }

  #startTimers(): void {
    let expectedMs = systemClock.nowMs() + TICK_MS;
    systemClock.every(TICK_MS, () => {
      const nowMs = systemClock.nowMs();
      this.#lagMs = Math.max(0, nowMs - expectedMs);
      expectedMs = nowMs + TICK_MS;
      this.#sessions.tick();
      if (this.#wished.size > 0) this.#fulfilWishes(nowMs);
    });
    systemClock.every(TRIM_MS, () => {
      for (const pool of this.#pools.values()) pool.trim(systemClock.nowMs());
    });
  }

  #takePosition(backend: string, position: string | null): void {
    this.#snapshot = withPosition(this.#snapshot, backend, position);
    if (position === null) return;
    for (const shared of this.#shares.values()) shared.learn(backend, position);
  }

  /** A server of a name is not the one that had it before: nothing of that one is kept. */
  #takeBackends(backends: readonly BackendConfig[]): void {
    const isThere = (name: string): boolean => backends.some((backend) => backend.name === name);
    this.#config = { ...this.#config, backends: [...backends] };
    for (const [name, pool] of this.#pools) {
      if (isThere(name)) continue;
      pool.close(refusal('DBPROXY_SESSION_ENDED', `backend ${name} was dropped by an operator`));
      this.#pools.delete(name);
      this.#counters.forgetBackend(name);
    }
  }

  /** A replica that is new, or has come back, knows nobody: whoever shows the password next is introduced to it. */
  #noteNewReplicas(snapshot: Snapshot): void {
    const before = this.#snapshot.backends;
    const fresh = snapshot.backends.filter(
      ({ name, readable }) => readable && before.find((one) => one.name === name)?.readable !== true,
    );
    for (const [listener, shared] of this.#shares) {
      const { cluster } = this.#endpoints.get(listener)!.config;
      if (fresh.some((backend) => backend.cluster === cluster)) shared.introduced.clear();
    }
  }

  #takeSnapshot(snapshot: Snapshot): void {
    const before = this.#snapshot;
    this.#noteNewReplicas(snapshot);
    this.#snapshot = snapshot;
    this.#offers.clear();
    for (const shared of this.#shares.values()) shared.take(snapshot);
    for (const backend of snapshot.backends) {
      const pool = this.#pools.get(backend.name);
      pool?.retarget(backend);
      // Idle connections to a dead server may be half open: nobody should be given one.
      if (backend.state === 'down') pool?.serverDown(`it is down: ${backend.reason}`);
      else if (backend.state === 'offline') pool?.dropIdle();
    }
    leaveUnreadable(systemClock, this.#sessions.all(), snapshot);
    for (const wake of [...this.#snapshotWaiters]) wake();
    for (const { name, primary, writesHeld, writesStopped, reason } of snapshot.clusters) {
      const old = this.#primaries.get(name);
      if (primary !== null) this.#primaries.set(name, primary);
      if (old !== undefined && primary !== null && old !== primary)
        this.#leaveOld(name, old, `${primary} is the primary of cluster ${name} now`);
      // Once: where there is no primary, nobody gets a connection there anew.
      const stopsNow =
        writesStopped && before.clusters.some((one) => one.name === name && !one.writesStopped);
      if (old !== undefined && stopsNow) this.#leaveOld(name, old, reason);
      if (writesHeld) this.#holds.get(name)?.begin();
      else this.#letGo(name);
    }
  }

  /** Nobody goes on writing to a server that is the primary no longer, even if this worker was not asked to leave. */
  #leaveOld(cluster: string, old: string, reason: string): void {
    const parts = { clock: systemClock, sessions: this.#sessions.all(), pool: this.#pools.get(old) };
    void leavePrimary(parts, { backend: old, graceMs: 0, reason }).then(({ moved, ended }) => {
      this.#pools.get(old)?.reopen();
      if (moved + ended > 0) this.#log.warn('writes.moved_late', { cluster, backend: old, moved, ended });
    });
  }

  /** The promotion is over, one way or the other. */
  #letGo(cluster: string): void {
    const hold = this.#holds.get(cluster);
    if (hold?.isOn !== true) return;
    for (const backend of this.#config.backends) {
      if (backend.cluster === cluster) this.#pools.get(backend.name)?.reopen();
    }
    hold.end();
  }

  /** What idles in the name of an account that has changed must not serve who logs in from now on. */
  #takeAccounts(accounts: ClusterAccounts): void {
    const changed = this.#users.take(accounts);
    this.#accountQuestions.arrived(accounts.cluster);
    if (changed.size > 0) for (const shared of this.#shares.values()) shared.logins.clear();
    for (const { name, cluster } of this.#config.backends) {
      if (cluster === accounts.cluster) this.#pools.get(name)?.dropIdle((user) => changed.has(user));
    }
  }

  #nextSnapshot(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#snapshotWaiters.delete(wake);
        resolve();
      };
      const timer: Timer = systemClock.after(timeoutMs, wake);
      this.#snapshotWaiters.add(wake);
    });
  }

  #pool(backend: string): BackendPool {
    let pool = this.#pools.get(backend);
    if (pool === undefined) {
      const view = this.#snapshot.backends.find(({ name }) => name === backend);
      const config = this.#config.backends.find(({ name }) => name === backend);
      if (view === undefined || config === undefined) throw new Error(`no backend '${backend}'`);
      pool = new BackendPool(view, {
        slots: this.#slots,
        clock: systemClock,
        idleTimeoutMs: config.poolIdleTimeoutMs,
        connectTimeoutMs: config.connectTimeoutMs,
        workers: this.#config.dbproxy.workers,
        channel: channelOf(config),
        onFailure: (name, error) => this.#reportFailure(name, error),
      });
      this.#pools.set(backend, pool);
    }
    return pool;
  }

  #ownPlace(sessionId: number, ends: boolean): SessionPlace | null {
    const session = this.#sessions.find(sessionId);
    session?.markForKill();
    const place = session?.place ?? null;
    if (ends) session?.end(refusal('DBPROXY_SESSION_KILLED'));
    return place;
  }

  async #placeOf(sessionId: number, ends: boolean): Promise<SessionPlace | null> {
    const slot = slotOfSessionId(sessionId);
    if (slot === undefined) return null;
    if (slot === this.#slot) return this.#ownPlace(sessionId, ends);
    const requestId = ++this.#question;
    return new Promise((resolve) => {
      const timer = systemClock.after(PLACE_TIMEOUT_MS, () => this.#answerPlace(requestId, null));
      this.#placeQuestions.set(requestId, (place) => {
        timer.cancel();
        resolve(place);
      });
      this.#send({ type: 'session-wanted', requestId, sessionId, ends });
    });
  }

  #answerPlace(requestId: number, place: SessionPlace | null): void {
    const answer = this.#placeQuestions.get(requestId);
    this.#placeQuestions.delete(requestId);
    answer?.(place);
  }

  async #endSessions(message: Extract<ToWorker, { type: 'end-sessions' }>): Promise<void> {
    const { requestId, backend, graceMs, reason } = message;
    const ended = await this.#sessions.endOn(backend, graceMs, reason);
    this.#pools.get(backend)?.dropIdle();
    this.#log.info('sessions.ended', { backend, ended, reason });
    this.#send({ type: 'sessions-ended', requestId, ended });
  }

  async #holdWrites(message: Extract<ToWorker, { type: 'hold-writes' }>): Promise<void> {
    const { requestId, cluster, backend, graceMs, kind, reason } = message;
    this.#holds.get(cluster)?.begin();
    this.#send({ type: 'writes-holding', requestId });
    const pool = backend === null ? undefined : this.#pools.get(backend);
    const parts = { clock: systemClock, sessions: this.#sessions.all(), pool };
    const { moved, ended } = await leavePrimary(parts, {
      backend: backend ?? '',
      graceMs: kind === 'failover' ? 0 : graceMs,
      reason,
    });
    this.#log.info('writes.held', { cluster, backend, kind, moved, ended, reason });
    this.#send({ type: 'writes-held', requestId, moved, ended });
  }

  /** Within hold_timeout and a little more: the server that knows may be the one that is just being promoted. */
  #resolveCommit(question: LostCommit): Promise<CommitAnswer> {
    const { holdTimeoutMs } = this.#config.clusters.find(({ name }) => name === question.cluster)!;
    const requestId = ++this.#question;
    return new Promise((resolve) => {
      const settle = (answer: CommitAnswer): void => {
        timer.cancel();
        this.#commitQuestions.delete(requestId);
        resolve(answer);
      };
      const timeoutMs = holdTimeoutMs + RESOLVE_MARGIN_MS;
      const detail = `nobody could tell within ${timeoutMs} ms`;
      const timer = systemClock.after(timeoutMs, () => settle({ outcome: 'unknown', detail }));
      this.#commitQuestions.set(requestId, settle);
      this.#send({ type: 'commit-lost', requestId, question });
    });
  }

  /** Many connections break at once; one word of it is enough to have the server looked at. */
  #reportFailure(backend: string, error: string): void {
    const nowMs = systemClock.nowMs();
    if (nowMs - (this.#reportedMs.get(backend) ?? -Infinity) < REPORT_INTERVAL_MS) return;
    this.#reportedMs.set(backend, nowMs);
    this.#send({ type: 'backend-failed', backend, error });
  }

  async #kill(message: Extract<ToWorker, { type: 'kill-session' }>): Promise<void> {
    const { requestId, sessionId, query } = message;
    const session = this.#sessions.find(sessionId);
    // The statement on the server must end, too; a server that does not answer must not keep the session.
    const killed = session?.isActive === true ? session.killQuery() : Promise.resolve();
    const watched = killed.catch((error: unknown) => {
      this.#log.warn('session.kill_failed', { session: sessionId, error: String(error) });
    });
    if (query) await Promise.race([watched, sleep(systemClock, KILL_WAIT_MS)]);
    else session?.end(refusal('DBPROXY_SESSION_KILLED'));
    this.#send({ type: 'session-killed', requestId, found: session !== undefined });
  }

  #giveBack(key: string, must: boolean): void {
    const pool = key.startsWith('backend:') ? this.#pools.get(key.slice('backend:'.length)) : undefined;
    pool?.askForLingering();
    if (must) pool?.dropIdle();
    else this.#wished.set(key, systemClock.nowMs() + WISH_MS);
    this.#slots.giveBackIdle(key, must);
  }

  /** Others could use what idles here for longer than a moment. */
  #fulfilWishes(nowMs: number): void {
    for (const [key, untilMs] of this.#wished) {
      if (nowMs > untilMs) this.#wished.delete(key);
      const pool = this.#pools.get(key.slice('backend:'.length));
      pool?.dropIdleSince(nowMs - WISHED_IDLE_MS);
      pool?.askForLingering();
      this.#slots.giveBackIdle(key, false);
    }
  }

  /** Null when there is no such session or listener. */
  #explainRoute(asker: RouteAsker, sql: string): RouteExplanation | null {
    if (asker.kind === 'session') {
      const session = this.#sessions.find(asker.sessionId);
      return session === undefined ? null : explainRoute(session, sql, this.#context);
    }
    const endpoint = this.#endpoints.get(asker.listener);
    return endpoint === undefined ? null : explainFirstRoute(endpoint, sql, this.#context);
  }

  #digests(): DigestStats[] {
    return [...this.#shares].flatMap(([listener, { digests }]) => digests.stats(listener, formatDigest));
  }

  async #stop(timeoutMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    await this.#sessions.endEach(timeoutMs);
    // The end of this process would come before the end of the last connections, and meet a client's next statement.
    await closedInOrder();
    for (const pool of this.#pools.values()) pool.close(refusal('DBPROXY_SHUTDOWN'));
    this.#exit(0);
  }

  #stats(): WorkerStats {
    return workerStats({
      slot: this.#slot,
      config: this.#config,
      sessions: this.#sessions,
      pools: this.#pools,
      counters: this.#counters,
      holds: this.#holds,
      shares: this.#shares,
      lagMs: this.#lagMs,
    });
  }
}
