/**
 * The supervisor: composition root of the control plane. It joins the parts (state file, topology store,
 * monitor, promotions, workers, admin port, HTTP port) and carries their news from one to the other; the
 * decisions are theirs.
 *
 *   monitor ─health→ store ─snapshot→ workers
 *                      ↑                 │ reports: slots, failures, listeners
 *   promotions ────────┘                 ↓
 *   admin, http ──Operations──→ this file
 */
import { startAdmin } from './admin/server.ts';
import { formatEndpoint } from './base/address.ts';
import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import type { ServiceManager } from './base/service-manager.ts';
import type { BackendConfig, ListenerConfig, ProxyConfig } from './config/config.ts';
import { CommitResolver } from './failover/commit-resolver.ts';
import { ControlPlane } from './failover/control.ts';
import { FirstPrimaries } from './failover/first-primary.ts';
import { openJournal } from './failover/journal.ts';
import { pastEvents } from './failover/past-events.ts';
import { Membership } from './failover/membership.ts';
import { controlOperations } from './failover/operations.ts';
import { discardLost, saveLost } from './failover/rejoin.ts';
import { sharedPlace, voteOn } from './failover/shared-charge.ts';
import { sqlServers } from './failover/sql-server.ts';
import { healthWords } from './http/health.ts';
import { startHttp } from './http/server.ts';
import { EventRing } from './ipc/event-ring.ts';
import { WorkerFleet } from './ipc/fleet.ts';
import { ListenerClaims } from './ipc/listener-claims.ts';
import type { ToWorker } from './ipc/messages.ts';
import type { Operations } from './ipc/operations.ts';
import { Readiness } from './ipc/readiness.ts';
import { ReplicaPositions } from './ipc/replica-positions.ts';
import { SlotCounter } from './ipc/slot-counter.ts';
import { WorkerQuestions } from './ipc/worker-questions.ts';
import { AccountImport } from './monitor/accounts.ts';
import type { HaconfWatch } from './keepalived/haconf-watch.ts';
import { Monitor } from './monitor/monitor.ts';
import type { Peer } from './peer/peer.ts';
import { BackendOperations } from './operations/backends.ts';
import { configDiff } from './operations/config-diff.ts';
import { reloadUsers } from './operations/users.ts';
import { Setup } from './setup/setup.ts';
import { watchHaconf } from './supervisor/haconf.ts';
import { openPair, pairOperations } from './supervisor/pair.ts';
import { WorkerReports } from './supervisor/worker-reports.ts';
import { accountsSource } from './topology/accounts-source.ts';
import { TopologyChanges } from './topology/changes.ts';
import { unusedSections } from './topology/members.ts';
import { ProvenLogins } from './topology/proven-logins.ts';
import { openStateFile } from './topology/state-file.ts';
import { probeOf, StateWatch } from './topology/state-watch.ts';
import { TopologyStore } from './topology/store.ts';
import { CertificateWatch, newTicketKeys, type CertificateFiles } from './transport/certificates.ts';
import { openRsaKeys, type RsaKeyTexts } from './transport/rsa-keys.ts';

export interface SupervisorOptions {
  readonly config: ProxyConfig;
  readonly log: Log;
  readonly clock: Clock;
  readonly version: string;
  /** Who has started this process and wants to know how it is; null when nobody does. */
  readonly serviceManager?: ServiceManager | null;
  /** Called when SHUTDOWN has stopped everything. */
  readonly onExit: (code: number) => void;
  /** The addresses of this host, by which it is told who of a pair holds the write VIP; by default those of the system. */
  readonly hostAddresses?: () => ReadonlySet<string>;
  /** Script and arguments of a worker; by default this program itself with the argument `worker`. */
  readonly workerEntry?: { readonly exec: string; readonly args: readonly string[] };
}

export interface RunningSupervisor {
  /** Stops everything: sessions end in order within shutdown_timeout, or at once. */
  stop(now: boolean): Promise<void>;
}

/** How long what was being set up may take to be taken back when dbproxy is to stop at once. */
const TAKE_BACK_TIMEOUT_MS = 2_000;
const EVENTS_KEPT = 1_000;

/**
 * Starts the proxy; resolves when the workers listen and every backend has been checked once. Rejects,
 * with everything stopped again, when a port is taken or the state file cannot be used.
 */
export async function startSupervisor(options: SupervisorOptions): Promise<RunningSupervisor> {
  const supervisor = new Supervisor(options);
  try {
    await supervisor.start();
  } catch (error) {
    await supervisor.stop(true);
    throw error;
  }
  return supervisor;
}

class Supervisor implements RunningSupervisor {
  readonly #options: SupervisorOptions;
  /** The file, with the backends that there are now. */
  readonly #config: ProxyConfig;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #events: EventRing;
  readonly #changes = new TopologyChanges();
  readonly #store: TopologyStore;
  readonly #stateWatch: StateWatch;
  readonly #monitor: Monitor;
  readonly #control: ControlPlane;
  /** Null: it is the only one. */
  readonly #peer: Peer | null;
  readonly #commits: CommitResolver;
  readonly #setup: Setup;
  readonly #membership: Membership;
  readonly #accounts: AccountImport;
  readonly #proven: ProvenLogins;
  readonly #slots: SlotCounter;
  readonly #positions: ReplicaPositions;
  readonly #firstPrimaries: FirstPrimaries;
  readonly #backends: BackendOperations;
  readonly #certificates: CertificateWatch;
  readonly #ticketKeys = newTicketKeys().toString('base64');
  readonly #rsa: RsaKeyTexts;
  readonly #claims: ListenerClaims;
  readonly #haconf: HaconfWatch | null;
  readonly #fleet: WorkerFleet;
  readonly #questions: WorkerQuestions;
  readonly #readiness: Readiness;
  readonly #reports: WorkerReports;
  readonly #doors: { close(): Promise<void> }[] = [];
  #stopped: Promise<void> | null = null;

  constructor(options: SupervisorOptions) {
    const { log, clock } = options;
    this.#options = options;
    this.#proven = new ProvenLogins(options.config.dbproxy.rememberedLogins);
    this.#log = log;
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
    this.#events = new EventRing(clock, EVENTS_KEPT);
    const { stateDir } = options.config.dbproxy;
    this.#store = new TopologyStore(options.config, openStateFile(stateDir));
    const journal = openJournal(stateDir);
    const names = options.config.clusters.map(({ name }) => name);
    for (const past of pastEvents(journal.entries(), this.#store.durable, names)) {
      this.#events.add(past.event, past.subject, past.detail, past.wallMs ?? undefined);
    }
    this.#stateWatch = new StateWatch(options.clock, probeOf(stateDir));
    const config = withMembers(options.config, () => this.#store.members);
    this.#config = config;
    this.#store.onMembers((joined, left) => this.#takeMembers(joined, left));
    this.#store.onSnapshot((snapshot, previous) => {
      this.#fleet.broadcast({ type: 'snapshot', snapshot });
      for (const { event, subject, detail, level } of this.#changes.between(previous, snapshot)) {
        this.#tell(level, event, subject, detail);
      }
      for (const { name, primary } of snapshot.clusters) {
        const before = previous.clusters.find((cluster) => cluster.name === name)?.primary;
        if (primary !== null && primary !== before) void this.#accounts.refresh(name);
      }
    });
    this.#monitor = new Monitor({
      config,
      clock,
      log,
      primaryOf: (cluster) => this.#store.rememberedPrimary(cluster),
      mayBeat: (cluster) => this.#control.mayBeat(cluster),
      makeVote: (cluster, isWorried) =>
        voteOn(cluster, isWorried, {
          clock,
          stateDir,
          store: this.#store,
          control: () => this.#control,
          isPair: config.peer !== undefined,
          tell: (...event) => this.#tell(...event),
        }),
      onHealth: (backend, health) => {
        this.#store.observe(backend, health);
        const { cluster } = this.#backend(backend);
        this.#positions.note(this.#backend(backend), health);
        this.#firstPrimaries.note(cluster);
        this.#commits.note(backend);
        void this.#membership.note(cluster);
        this.#control.consider(cluster);
      },
    });
    this.#peer = openPair({
      config: options.config,
      clock,
      log,
      store: this.#store,
      monitor: this.#monitor,
      control: () => this.#control,
      slots: () => this.#slots,
      hostAddresses: options.hostAddresses,
      version: options.version,
      tell: (...event) => this.#tell(...event),
    });
    this.#store.shareIn(sharedPlace(() => this.#monitor));
    this.#positions = new ReplicaPositions(config.listeners, (message) => this.#fleet.broadcast(message));
    this.#firstPrimaries = new FirstPrimaries({
      store: this.#store,
      isInCharge: (cluster) => this.#control.charge(cluster).isOurs,
      rejudge: (cluster) => this.#monitor.rejudge(cluster),
      tell: (...event) => this.#tell(...event),
    });
    this.#commits = new CommitResolver({
      config,
      clock,
      primaryOf: (cluster) =>
        this.#store.snapshot.clusters.find(({ name }) => name === cluster)?.primary ?? null,
      recordOf: (backend) => this.#monitor.recordOf(backend),
      isGivenUp: (backend) => this.#store.settingsOf(backend).admin === 'offline',
    });
    this.#control = new ControlPlane({
      config,
      clock,
      log,
      store: this.#store,
      monitor: this.#monitor,
      stateDir: config.dbproxy.stateDir,
      stateTrouble: () => this.#stateWatch.trouble,
      lost: { save: saveLost, discard: discardLost },
      journal,
      openServer: sqlServers(clock),
      workUnderWay: (cluster) => this.#setup.work(cluster) ?? this.#membership.work(cluster),
      ...(this.#peer !== null && { pair: this.#peer }),
      holdWrites: (...request) => this.#questions.holdWrites(...request),
      tell: (...event) => this.#tell(...event),
      onEvent: (event, subject, detail) => this.#events.add(event, subject, detail),
    });
    this.#membership = new Membership({
      config,
      clock,
      store: this.#store,
      openServer: sqlServers(clock),
      survey: (cluster) => this.#control.wholeSurvey(cluster),
      inTheWay: (cluster) => this.#setup.underWay(cluster) ?? this.#promotionUnderWay(cluster),
      overtakeChores: (cluster) => this.#control.overtakeChores(cluster),
      sessionsOn: (backend) => this.#questions.sessionsOn(backend),
      tell: (...event) => this.#tell(...event),
    });
    this.#setup = new Setup({
      config,
      clock,
      log,
      store: this.#store,
      monitor: this.#monitor,
      promotionUnderWay: (cluster) => this.#promotionUnderWay(cluster) ?? this.#membership.underWay(cluster),
      overtakeChores: (cluster) => this.#control.overtakeChores(cluster),
      requireCharge: (cluster) => this.#control.requireCharge(cluster),
      onEvent: (event, subject, detail) => this.#events.add(event, subject, detail),
    });
    this.#accounts = new AccountImport({
      clusters: config.clusters.filter(({ users }) => users === 'import'),
      clock,
      sourceOf: (cluster, hasNone) => this.#accountsFrom(cluster, hasNone),
      onChange: (accounts) => {
        this.#proven.keepOnly(accounts);
        this.#fleet.broadcast({ type: 'accounts', accounts });
      },
      onNews: (cluster, { kind, detail }) => {
        if (kind === 'imported') this.#tell('info', 'users.imported', cluster, detail);
        else this.#tell('warn', 'users.import_failed', cluster, detail);
      },
    });
    this.#rsa = openRsaKeys(config.dbproxy.stateDir);
    this.#certificates = new CertificateWatch({
      listeners: config.listeners.flatMap(certificateFilesOf),
      clock,
      onLoaded: (certificates) => this.#fleet.broadcast({ type: 'certificates', certificates }),
      onNews: ({ listener, result, detail }) => {
        if (result === 'failed') this.#tell('error', 'tls.reload_failed', listener, detail);
        else this.#tell('info', 'tls.reloaded', listener, detail);
      },
    });
    this.#haconf = watchHaconf({
      config,
      clock,
      store: this.#store,
      control: this.#control,
      tell: (...event) => this.#tell(...event),
    });
    this.#claims = new ListenerClaims({
      listeners: config.listeners,
      clock,
      holder: `process ${process.pid}, state_dir ${stateDir}`,
      onChange: () => this.#fleet.broadcast({ type: 'listeners-taken', taken: this.#claims.taken }),
    });
    this.#fleet = new WorkerFleet({
      workers: config.dbproxy.workers,
      entry: options.workerEntry ?? { exec: process.argv[1]!, args: ['worker'] },
      clock,
      log,
      greeting: (slot) => this.#greeting(slot),
      onReport: (slot, report) => this.#reports.receive(slot, report),
      onDeath: (slot, how) => this.#reports.noteDeath(slot, how),
    });
    this.#questions = new WorkerQuestions(this.#fleet, config.dbproxy.workers);
    this.#readiness = new Readiness(config.dbproxy.workers, clock);
    this.#slots = new SlotCounter(
      config,
      (backend) => this.#store.settingsOf(backend).maxConnections,
      (slot, message) => this.#fleet.send(slot, message),
    );
    this.#backends = new BackendOperations({
      config,
      clock,
      log,
      store: this.#store,
      slots: this.#slots,
      workers: this.#questions,
      join: (...request) => this.#membership.add(...request),
      fill: (name, from) => this.#setup.cloneBackend(name, from, false),
      tell: (...event) => this.#tell(...event),
    });
    this.#reports = new WorkerReports({
      listeners: config.listeners,
      log,
      events: this.#events,
      fleet: this.#fleet,
      questions: this.#questions,
      readiness: this.#readiness,
      slots: this.#slots,
      accounts: this.#accounts,
      proven: this.#proven,
      commits: this.#commits,
      monitor: this.#monitor,
      tell: (...event) => this.#tell(...event),
    });
    this.#control.holdUnfinished();
    const { charge = null } = this.#peer?.right ?? {};
    if (charge?.stopsWrites === true)
      for (const { name } of config.clusters) this.#store.stopWrites(name, charge.detail);
    for (const detail of unusedSections(options.config.backends, this.#store.members, this.#store.durable)) {
      this.#tell('warn', 'config.section_unused', 'proxy.conf', detail);
    }
  }

  async start(): Promise<void> {
    const { config, version } = this.#options;
    const doors = { operations: this.#operations(), clock: this.#clock, log: this.#log, version };
    // The doors first: a second dbproxy with the same configuration ends here.
    const { peer } = config;
    this.#doors.push(
      await startAdmin({ config: config.admin, ...(peer !== undefined && { peer }), ...doors }),
    );
    this.#doors.push(await startHttp({ config: config.http, ...doors }));

    await this.#claims.start();
    // Before the servers are looked at: in maintenance nothing is begun.
    await this.#haconf?.start();

    const workersReady = this.#readiness.allReady(this.#clock);
    this.#fleet.start();
    this.#stateWatch.start();
    this.#peer?.start();
    await Promise.all([workersReady, this.#monitor.start()]);
    await this.#firstPrimaries.settled();
    await Promise.all([this.#membership.takeBack(), this.#backends.noteCutOff()]).catch((error: unknown) => {
      this.#log.error('backend.not_recorded', { error: String(error) });
    });
    // What is taken up in one cluster keeps no clients of another one from logging in.
    await Promise.all([this.#control.start(), this.#accounts.firstReads()]);
    this.#readiness.refuseWithoutListener();
    const waiting = this.#readiness.notListening();
    const placesOf = (listeners: readonly ListenerConfig[]): string[] =>
      listeners.map(({ name, address }) => `${name} ${formatEndpoint(address)}`);
    this.#log.info('dbproxy.ready', {
      version,
      workers: config.dbproxy.workers,
      epoch: this.#store.snapshot.epoch,
      listeners: placesOf(config.listeners.filter(({ name }) => !waiting.has(name))),
      ...(waiting.size > 0 && {
        notListening: placesOf(config.listeners.filter(({ name }) => waiting.has(name))),
      }),
      admin: formatEndpoint(config.admin.address),
      http: formatEndpoint(config.http.address),
    });
    this.#options.serviceManager?.ready(() => healthWords(this.#store.snapshot));
  }

  async stop(now: boolean): Promise<void> {
    if (now) this.#fleet.killAll();
    this.#stopped ??= this.#stop(now);
    return this.#stopped;
  }

  async #stop(now: boolean): Promise<void> {
    const { shutdownTimeoutMs } = this.#config.dbproxy;
    this.#options.serviceManager?.stopping();
    this.#log.info('dbproxy.stopping', { now, shutdownTimeoutMs });
    const endMs = this.#clock.nowMs() + (now ? 0 : shutdownTimeoutMs);
    // A promotion left half way would have to be mended by hand.
    this.#haconf?.close();
    const promotionsEnd = this.#control.stop();
    const setupEnd = this.#setup.stop();
    if (!now) await this.#within(promotionsEnd, shutdownTimeoutMs);
    // It is being taken back, so it ends soon; a server that does not answer must not keep us.
    await this.#within(setupEnd, now ? TAKE_BACK_TIMEOUT_MS : Math.max(0, endMs - this.#clock.nowMs()));
    const setup = this.#setup.underWay();
    if (setup !== null) {
      this.#tell('error', 'setup.abandoned', setup, 'dbproxy stops before all of it could be taken back');
    }
    // Of what is abandoned nobody knows when it ends: then the right runs out by itself.
    const isAbandoned = setup !== null || this.#control.promotions.underWay.length > 0;
    if (!isAbandoned) await this.#monitor.releaseVotes();
    for (const target of this.#control.promotions.underWay) {
      const detail =
        'dbproxy stops in the middle of this promotion; the next start goes on with it, or takes it back';
      this.#tell('error', 'promote.abandoned', target, detail);
    }
    const fleetEnd = this.#fleet.stop(Math.max(0, endMs - this.#clock.nowMs()));
    await Promise.all([fleetEnd, isAbandoned ? undefined : this.#peer?.leave()]);
    this.#claims.close();
    this.#peer?.close();
    this.#backends.close();
    this.#monitor.close();
    this.#stateWatch.close();
    this.#certificates.close();
    this.#accounts.close();
    await Promise.all(this.#doors.map((door) => door.close()));
    this.#log.info('dbproxy.stopped');
  }

  // ---- workers -------------------------------------------------------------------------------------

  /** All that a new worker is told. */
  #greeting(slot: number): ToWorker {
    return {
      type: 'start',
      slot,
      config: this.#config,
      snapshot: this.#store.snapshot,
      accounts: this.#accounts.statuses().flatMap(({ accounts }) => accounts ?? []),
      proven: this.#proven.all(),
      certificates: this.#certificates.current(),
      ticketKeys: this.#ticketKeys,
      rsa: this.#rsa,
      taken: this.#claims.taken,
    };
  }

  #promotionUnderWay(cluster: string): string | null {
    const { promotions } = this.#control;
    const target = promotions.underWayIn(cluster);
    if (target !== null) return `the promotion of ${target}`;
    return promotions.isBusy(cluster) ? 'a promotion that was cut off' : null;
  }

  // ---- topology ------------------------------------------------------------------------------------

  /** Backends have come or gone; the snapshot that says so follows. */
  #takeMembers(joined: readonly BackendConfig[], left: readonly BackendConfig[]): void {
    this.#fleet.broadcast({ type: 'backends', backends: this.#config.backends });
    for (const { name } of left) {
      this.#monitor.remove(name);
      this.#commits.forget(name);
      this.#positions.forget(name);
      this.#backends.forget(name);
    }
    for (const backend of joined) {
      this.#slots.limitBackend(backend.name, this.#store.settingsOf(backend.name).maxConnections);
      this.#monitor.add(backend);
    }
  }

  // ---- operations ----------------------------------------------------------------------------------

  #operations(): Operations {
    return {
      config: () => this.#config,
      snapshot: () => this.#store.snapshot,
      uptimeMs: () => this.#clock.nowMs() - this.#startedMs,
      sessions: () => this.#questions.sessions(),
      stats: this.#questions.stats,
      digests: () => this.#questions.digests(),
      explainRoute: (asker, sql) => this.#questions.explainRoute(asker, sql),
      explainSession: (sessionId) => this.#questions.explainSession(sessionId),
      listeners: () => this.#readiness.listeners(),
      events: () => this.#events.list(),
      setBackend: (name, change) => this.#backends.set(name, change),
      addBackend: (...request) => this.#backends.add(...request),
      dropBackend: (name) => this.#membership.drop(name),
      bootstrap: (...request) => this.#setup.bootstrap(...request),
      cloneBackend: (...request) => this.#setup.cloneBackend(...request),
      configDiff: () => configDiff(this.#options.config, this.#store),
      killSession: (sessionId, query) => this.#questions.killSession(sessionId, query),
      shutdown: (now) => void this.#shutdown(now),
      ...controlOperations(this.#config, this.#control, this.#store),
      ...pairOperations(this.#peer, this.#config, this.#control),
      lostCommits: () => this.#commits.counts(),
      imports: () => this.#accounts.statuses(),
      stateTrouble: () => this.#stateWatch.trouble,
      reloadUsers: (cluster) => reloadUsers(this.#config, this.#accounts, cluster),
      reloadTls: () => this.#certificates.reload(),
    };
  }

  async #shutdown(now: boolean): Promise<void> {
    try {
      await this.stop(now);
      this.#options.onExit(0);
    } catch (error) {
      this.#log.error('dbproxy.stop_failed', { error: String(error) });
      this.#options.onExit(1);
    }
  }

  // ---- helpers -------------------------------------------------------------------------------------

  #backend(name: string): BackendConfig {
    const backend = this.#config.backends.find((one) => one.name === name);
    if (backend === undefined) throw new TypeError(`no such backend: ${name}`);
    return backend;
  }

  #accountsFrom(cluster: string, hasNone: boolean): BackendConfig | null {
    const isNew = (backend: string): boolean => this.#store.settingsOf(backend).isNew;
    const source = accountsSource(this.#store.snapshot, cluster, hasNone, isNew);
    return source === null ? null : this.#backend(source);
  }

  /** One event: in the log and in SHOW EVENTS. */
  #tell(level: 'info' | 'warn' | 'error', event: string, subject: string, detail: string): void {
    this.#log[level](event, { subject, detail });
    this.#events.add(event, subject, detail);
  }

  async #within(wait: Promise<void>, timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(timeoutMs, resolve);
      void wait.finally(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** The files of a listener that speaks TLS; its configuration has been checked. */
function certificateFilesOf({ name, tls, tlsCert, tlsKey, tlsCa }: ListenerConfig): CertificateFiles[] {
  if (tls === 'off' || tlsCert === undefined || tlsKey === undefined) return [];
  return [{ listener: name, certPath: tlsCert, keyPath: tlsKey, caPath: tlsCa ?? null }];
}

/** The configuration with other backends than the file's, which may change. */
function withMembers(config: ProxyConfig, members: () => readonly BackendConfig[]): ProxyConfig {
  return {
    ...config,
    get backends() {
      return [...members()];
    },
  };
}
