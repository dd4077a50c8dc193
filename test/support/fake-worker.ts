/**
 * As much of a worker as sessions need: real sockets, sessions and pools in this process, one endpoint, and
 * a supervisor's part (snapshot, slots, places) that the test plays.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { Endpoint } from '../../src/base/address.ts';
import { refusal } from '../../src/base/errors.ts';
import { ByteSocket, type ByteStream } from '../../src/base/socket.ts';
import { silentLog } from '../../src/base/log.ts';
import { BackendPool } from '../../src/backend/pool.ts';
import { Slots } from '../../src/backend/slots.ts';
import type { ListenerConfig, ProxyConfig, UserConfig } from '../../src/config/config.ts';
import { Counters } from '../../src/frontend/counters.ts';
import { WriteHold } from '../../src/frontend/hold.ts';
import { offerOf } from '../../src/frontend/offer.ts';
import type { SessionContext } from '../../src/frontend/context.ts';
import { Session } from '../../src/frontend/session.ts';
import { EndpointShares, sharesConnections } from '../../src/frontend/shared-endpoint.ts';
import { Sessions } from '../../src/frontend/sessions.ts';
import { UserDirectory } from '../../src/frontend/users.ts';
import type { LostCommit, SessionPlace } from '../../src/ipc/messages.ts';
import type { BackendView, Snapshot } from '../../src/topology/snapshot.ts';
import { SPLIT_DEFAULTS } from './configs.ts';
import { PLAIN_CHANNEL } from './channels.ts';
import { FakeClock } from './fake-clock.ts';
import { Inbox } from './inbox.ts';
import { MARIADB_10_11 } from './greetings.ts';
import { clusterView } from './operations.ts';

export interface FakeWorkerOptions {
  /** The servers; the first is the primary, the others are replicas. */
  servers: Record<string, Endpoint>;
  listener?: Partial<ListenerConfig>;
  users?: UserConfig[];
  /** Puts something between a client’s socket and its session. */
  wrap?: (client: ByteStream) => ByteStream;
  /** Slots there are of each key; 100 unless told. */
  limits?: Record<string, number>;
}

/** A view of a backend that is well; `change` says what is different. */
export function backendView(name: string, change: Partial<BackendView> = {}): BackendView {
  return {
    name,
    cluster: 'c',
    address: { kind: 'tcp', host: '127.0.0.1', port: 1 },
    role: 'replica',
    state: 'online',
    writable: false,
    lagMs: 0,
    rwWeight: 1,
    roWeight: 1,
    roWeightSet: false,
    maxConnections: 100,
    readable: true,
    reason: '',
    serverVersion: '10.11.6-MariaDB',
    greeting: MARIADB_10_11,
    sqlMode: '',
    gtidPosition: null,
    ...change,
  };
}

export function user(change: Partial<UserConfig> = {}): UserConfig {
  return { name: 'app', password: 'app', allow: [], maxConnections: 0, listeners: [], ...change };
}

export class FakeWorker {
  readonly clock = new FakeClock();
  readonly counters = new Counters();
  readonly slots: Slots;
  readonly sessions: Sessions;
  readonly config: ListenerConfig;
  snapshot: Snapshot;
  readonly hold = new WriteHold('c', 10_000, this.clock);
  /** What its sessions share where they change connections. */
  readonly shares: EndpointShares | null;
  /** Where `placeOf` finds sessions besides those of this worker. */
  readonly places = new Map<number, SessionPlace>();
  /** What the supervisor was asked of COMMITs that were not answered. */
  readonly commitQuestions: LostCommit[] = [];
  /** What the supervisor says of a COMMIT that was not answered. */
  commitAnswer: Awaited<ReturnType<SessionContext['resolveCommit']>> = {
    outcome: 'unknown',
    detail: 'a test',
  };
  readonly #server = net.createServer({ pauseOnConnect: true, noDelay: true });
  readonly #pools = new Map<string, BackendPool>();
  readonly #wrap: (client: ByteStream) => ByteStream;
  readonly #begun = new Inbox<Session>();
  #snapshotWaiters: (() => void)[] = [];

  private constructor(options: FakeWorkerOptions) {
    this.#wrap = options.wrap ?? ((client) => client);
    const free = new Map(Object.entries(options.limits ?? {}));
    this.slots = new Slots({
      want: (key, count) => {
        const granted = Math.min(count, free.get(key) ?? 100);
        free.set(key, (free.get(key) ?? 100) - granted);
        if (granted > 0) queueMicrotask(() => this.slots.granted(key, granted));
      },
      giveBack: (key, count) => void free.set(key, (free.get(key) ?? 100) + count),
    });
    this.sessions = new Sessions(0, this.clock);
    this.config = {
      name: 'entry',
      cluster: 'c',
      address: { kind: 'tcp', host: '127.0.0.1', port: 1 },
      mode: 'write',
      ...SPLIT_DEFAULTS,
      sessionMoves: false,
      markCommits: false,
      balance: 'weighted_round_robin',
      maxConnections: 100,
      queueTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      handshakeTimeoutMs: 10_000,
      drainTimeoutMs: 30_000,
      allow: [],
      proxyProtocolFrom: [],
      tls: 'off',
      compression: true,
      ...options.listener,
    };
    const names = Object.keys(options.servers);
    this.snapshot = {
      version: 1,
      epoch: 1,
      clusters: [clusterView({ name: 'c', primary: names[0] ?? null })],
      backends: names.map((name, index) =>
        backendView(name, {
          address: options.servers[name]!,
          role: index === 0 ? 'primary' : 'replica',
          writable: index === 0,
          readable: index !== 0,
        }),
      ),
    };
    const forShares = { rules: [], dbproxy: { digestLimit: 100 } } as unknown as ProxyConfig;
    this.shares = sharesConnections(this.config)
      ? new EndpointShares(this.config, forShares, this.snapshot, this.hold)
      : null;
    const context = this.#context(options.users ?? [user()]);
    this.#server.on('connection', (socket) => this.#accept(socket, context));
  }

  static async start(options: FakeWorkerOptions): Promise<FakeWorker> {
    const worker = new FakeWorker(options);
    worker.#server.listen(0, '127.0.0.1');
    await once(worker.#server, 'listening');
    return worker;
  }

  get endpoint(): Endpoint {
    return { kind: 'tcp', host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  /** The next session that begins. */
  session(): Promise<Session> {
    return this.#begun.take();
  }

  pool(name: string): BackendPool {
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      const view = this.snapshot.backends.find((backend) => backend.name === name)!;
      pool = new BackendPool(view, {
        slots: this.slots,
        clock: this.clock,
        idleTimeoutMs: 60_000,
        connectTimeoutMs: 2_000,
        workers: 1,
        channel: PLAIN_CHANNEL,
        onFailure: () => undefined,
      });
      this.#pools.set(name, pool);
    }
    return pool;
  }

  publish(snapshot: Snapshot): void {
    this.snapshot = snapshot;
    this.shares?.take(snapshot);
    for (const wake of this.#snapshotWaiters.splice(0)) wake();
  }

  async stop(): Promise<void> {
    const ended = this.sessions.endEach(0);
    this.sessions.tick();
    await ended;
    for (const pool of this.#pools.values()) pool.close(new Error('the test is over'));
    // Its sockets have gone to others, so it never hears of their end: nothing to wait for.
    this.#server.close();
  }

  #accept(socket: net.Socket, context: SessionContext): void {
    const nobody = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };
    const accepted = ByteSocket.accept(socket, 16 * 1024, nobody);
    if (accepted === undefined) return;
    // A session uses it as a stream and no more.
    const client = this.#wrap(accepted) as ByteSocket;
    const endpoint = {
      config: this.config,
      credits: new Map<string, number>(),
      offer: () => offerOf(this.snapshot.backends, this.snapshot.clusters[0]!.primary),
      tls: () => null,
      shared: this.shares,
    };
    const session = new Session(this.sessions.nextId(), client, endpoint, context, (over) =>
      this.sessions.remove(over),
    );
    this.sessions.add(session);
    session.start();
    this.#begun.put(session);
  }

  #context(users: UserConfig[]): SessionContext {
    return {
      clock: this.clock,
      log: silentLog,
      slots: this.slots,
      counters: this.counters,
      rsa: undefined,
      users: new UserDirectory({
        clusters: [{ name: this.config.cluster, users: 'file' }],
        users,
        remember: { rememberPasswords: true, rememberedLogins: 100 },
        onProven: () => undefined,
      }),
      refreshAccounts: async () => false,
      snapshot: () => this.snapshot,
      nextSnapshot: (timeoutMs) =>
        new Promise((resolve) => {
          this.clock.after(timeoutMs, resolve);
          this.#snapshotWaiters.push(resolve);
        }),
      pool: (name) => this.pool(name),
      sessionsOn: (name) => this.sessions.countOn(name),
      placeOf: async (id) => this.sessions.find(id)?.place ?? this.places.get(id) ?? null,
      schemaChanged: () => undefined,
      resolveCommit: (question) => {
        this.commitQuestions.push(question);
        return Promise.resolve(this.commitAnswer);
      },
      endKilled: async (id) => {
        this.sessions.find(id)?.end(refusal('DBPROXY_SESSION_KILLED'));
      },
    };
  }
}
