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
import { createHash } from 'node:crypto';
import { startAdmin } from './admin/server.ts';
import { formatEndpoint } from './base/address.ts';
import type { Clock } from './base/clock.ts';
import { refusal } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { ServiceManager } from './base/service-manager.ts';
import type { BackendConfig, ListenerConfig, ProxyConfig } from './config/config.ts';
import { vipAddress, vipKind } from './config/virtual-addresses.ts';
import { CommitResolver } from './failover/commit-resolver.ts';
import { ControlPlane } from './failover/control.ts';
import { FirstPrimaries } from './failover/first-primary.ts';
import { openJournal } from './failover/journal.ts';
import { pastEvents } from './failover/past-events.ts';
import { Membership } from './failover/membership.ts';
import { controlOperations, type ControlOperations } from './failover/operations.ts';
import { discardLost, saveLost } from './failover/rejoin.ts';
import { sharedPlace, voteOn } from './failover/shared-charge.ts';
import { sqlServers } from './failover/sql-server.ts';
import { healthWords } from './http/health.ts';
import { startHttp } from './http/server.ts';
import { EventRing } from './ipc/event-ring.ts';
import { WorkerFleet, type Report } from './ipc/fleet.ts';
import { ListenerClaims } from './ipc/listener-claims.ts';
import type { LostCommit, ToWorker } from './ipc/messages.ts';
import type { Operations } from './ipc/operations.ts';
import { Readiness } from './ipc/readiness.ts';
import { ReplicaPositions } from './ipc/replica-positions.ts';
import { SlotCounter } from './ipc/slot-counter.ts';
import { WorkerQuestions } from './ipc/worker-questions.ts';
import { AccountImport } from './monitor/accounts.ts';
import { HaconfWatch, readHaconf } from './keepalived/haconf-watch.ts';
import { Monitor } from './monitor/monitor.ts';
import { hostAddresses, openPeerLink } from './peer/link.ts';
import { Peer } from './peer/peer.ts';
import { BackendOperations } from './operations/backends.ts';
import { configDiff } from './operations/config-diff.ts';
import { reloadUsers } from './operations/users.ts';
import { Setup } from './setup/setup.ts';
import { accountsSource } from './topology/accounts-source.ts';
import { topologyEvents } from './topology/changes.ts';
import { unusedSections } from './topology/members.ts';
import { ProvenLogins, type ProvenLogin } from './topology/proven-logins.ts';
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
      for (const { event, subject, detail, level } of topologyEvents(previous, snapshot)) {
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
          tell: (...event) => this.#tell(...event),
        }),
      onHealth: (backend, health) => {
        this.#store.observe(backend, health);
        const { cluster } = this.#backend(backend);
        this.#positions.note(this.#backend(backend), health);
        if (this.#peer?.right.mayAct !== false) this.#firstPrimaries.note(cluster);
        this.#commits.note(backend);
        void this.#membership.note(cluster);
        this.#control.consider(cluster);
      },
    });
    this.#peer = this.#openPeer();
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
      ...(this.#peer !== null && { right: () => this.#peer!.right }),
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
      requireCharge: (cluster, said) => this.#control.requireCharge(cluster, said),
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
    const { haconf } = config.keepalived;
    this.#haconf = haconf === undefined ? null : this.#haconfWatch(haconf);
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
      onReport: (slot, report) => this.#receive(slot, report),
      onDeath: (slot, how) => this.#workerDied(slot, how),
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
    if (setup === null && this.#control.promotions.underWay.length === 0) await this.#monitor.releaseVotes();
    for (const target of this.#control.promotions.underWay) {
      const detail =
        'dbproxy stops in the middle of this promotion; the next start goes on with it, or takes it back';
      this.#tell('error', 'promote.abandoned', target, detail);
    }
    await this.#fleet.stop(Math.max(0, endMs - this.#clock.nowMs()));
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

  #receive(slot: number, report: Report): void {
    switch (report.type) {
      case 'ready':
        return this.#readiness.setReady(slot);
      case 'listening':
        return this.#noteListener(slot, report.listener, report.error);
      case 'listener-released':
      case 'listener-drained':
        return this.#noteDrain(slot, report);
      case 'session-wanted':
        return void this.#findSession(slot, report.requestId, report.sessionId, report.ends);
      case 'accounts-wanted':
        return void this.#checkAccounts(slot, report.requestId, report.cluster);
      case 'account-proven':
        return this.#learn(slot, report.login);
      case 'schema-changed':
        return this.#tellOthers(slot, report);
      case 'slots-wanted':
        return this.#slots.want(slot, report.key, report.count);
      case 'slots-returned':
        return this.#slots.giveBack(slot, report.key, report.count);
      case 'commit-lost':
        return void this.#resolveCommit(slot, report.requestId, report.question);
      case 'backend-failed':
        this.#log.debug('backend.failed_on_data_path', { worker: slot, ...report });
        return this.#monitor.checkSoon(report.backend);
    }
  }

  #noteListener(slot: number, listener: string, error: string | null): void {
    this.#readiness.setListening(slot, listener, error);
    const subject = `${listener} (worker ${slot})`;
    if (error === null) this.#tell('info', 'listener.bound', subject, 'listens');
    // What has just left was told as that.
    else if (!this.#readiness.isDraining(slot, listener)) {
      this.#tell('warn', 'listener.not_bound', subject, error);
    }
  }

  #noteDrain(
    slot: number,
    report: Extract<Report, { type: 'listener-released' | 'listener-drained' }>,
  ): void {
    const { name, address, drainTimeoutMs } = this.#config.listeners.find(
      (one) => one.name === report.listener,
    )!;
    const [subject, where] = [`${name} (worker ${slot})`, formatEndpoint(address)];
    this.#readiness.setDraining(slot, name, report.type === 'listener-released');
    if (report.type === 'listener-released') {
      const kept = `${report.kept} sessions are kept for drain_timeout (${drainTimeoutMs} ms)`;
      this.#tell('warn', 'listener.released', subject, `${where} has left this host; ${kept}`);
    } else {
      const detail = `${where} was not back within drain_timeout (${drainTimeoutMs} ms); ${report.ended} sessions were ended`;
      this.#tell('info', 'listener.drained', subject, detail);
    }
  }

  async #resolveCommit(slot: number, requestId: number, question: LostCommit): Promise<void> {
    const { outcome, detail } = await this.#commits.resolve(question);
    const { cluster, backend, user, threadId, mark } = question;
    const trace = { threadId, ...(mark === null ? {} : { mark: mark.name }) };
    this.#log.info('commit.resolved', { cluster, backend, user, ...trace, outcome, detail });
    this.#fleet.send(slot, { type: 'commit-resolved', requestId, outcome, detail });
  }

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

  /** What has changed is broadcast while this waits, so it is there before the answer. */
  async #checkAccounts(slot: number, requestId: number, cluster: string): Promise<void> {
    await this.#accounts.refresh(cluster);
    const awaitsFirst = this.#accounts.awaitsFirst(cluster);
    this.#fleet.send(slot, { type: 'accounts-checked', requestId, awaitsFirst });
  }

  #learn(teacher: number, login: ProvenLogin): void {
    if (this.#proven.remember(login)) this.#tellOthers(teacher, { type: 'account-proven', login });
  }

  #tellOthers(teller: number, message: ToWorker): void {
    for (const slot of this.#fleet.slots()) if (slot !== teller) this.#fleet.send(slot, message);
  }

  #workerDied(slot: number, how: string): void {
    this.#events.add('worker.exited', `worker ${slot}`, how);
    this.#readiness.forget(slot);
    this.#slots.release(slot);
  }

  async #findSession(asker: number, requestId: number, sessionId: number, ends: boolean): Promise<void> {
    const place = await this.#questions.findSession(sessionId, ends);
    this.#fleet.send(asker, { type: 'session-found', requestId, place });
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
      setBackend: this.#inCharge((name, change) => this.#backends.set(name, change)),
      addBackend: this.#inCharge((...request) => this.#backends.add(...request)),
      dropBackend: this.#inCharge((name) => this.#membership.drop(name)),
      bootstrap: this.#inCharge((...request) => this.#setup.bootstrap(...request)),
      cloneBackend: this.#inCharge((...request) => this.#setup.cloneBackend(...request)),
      configDiff: () => configDiff(this.#options.config, this.#store),
      killSession: (sessionId, query) => this.#questions.killSession(sessionId, query),
      shutdown: (now) => void this.#shutdown(now),
      ...this.#controlOperations(),
      peer: (message) => this.#requirePeer().receive(message),
      setPeerGone: () => this.#requirePeer().setGone(),
      lostCommits: () => this.#commits.counts(),
      imports: () => this.#accounts.statuses(),
      stateTrouble: () => this.#stateWatch.trouble,
      reloadUsers: (cluster) => reloadUsers(this.#config, this.#accounts, cluster),
      reloadTls: () => this.#certificates.reload(),
    };
  }

  #haconfWatch(path: string): HaconfWatch {
    return new HaconfWatch({
      clock: this.#clock,
      read: () => readHaconf(path),
      rest: (on) => {
        this.#store.rest(on);
        for (const { name } of this.#config.clusters) this.#control.consider(name);
      },
      backends: () => this.#config.backends,
      primaryOf: (cluster) => this.#store.rememberedPrimary(cluster),
      switchover: (cluster, to) =>
        this.#operations().changePrimary(cluster, { kind: 'switchover', to, force: false, dryRun: false }),
      tell: (...event) => this.#tell(...event),
    });
  }

  /** What changes something is refused by the one of a pair that is not in charge; a dry run is not. */
  #controlOperations(): ControlOperations {
    const operations = controlOperations(this.#config, this.#control, this.#store);
    return {
      ...operations,
      promote: this.#inCharge((...request) => operations.promote(...request)),
      rehearse: this.#inCharge((...request) => operations.rehearse(...request)),
      setMaintenance: this.#inCharge((...request) => operations.setMaintenance(...request)),
      changePrimary: async (cluster, change) => {
        if (!change.dryRun) this.#peer?.requireCharge();
        return operations.changePrimary(cluster, change);
      },
      rejoin: async (request) => {
        if (!request.dryRun) this.#peer?.requireCharge();
        return operations.rejoin(request);
      },
    };
  }

  #inCharge<A extends unknown[], R>(act: (...request: A) => Promise<R>): (...request: A) => Promise<R> {
    return async (...request) => {
      this.#peer?.requireCharge();
      return act(...request);
    };
  }

  #requirePeer(): Peer {
    if (this.#peer !== null) return this.#peer;
    throw refusal('DBPROXY_NOT_AVAILABLE', 'that, as there is no other dbproxy ([peer] address)');
  }

  #openPeer(): Peer | null {
    const { peer: config, admin, clusters } = this.#config;
    if (config === undefined) return null;
    const addresses = this.#options.hostAddresses ?? hostAddresses;
    const vip = vipOfCharge(this.#config);
    const peer = new Peer({
      clock: this.#clock,
      link: openPeerLink(config, admin, this.#clock),
      timeoutMs: config.peerTimeoutMs,
      store: this.#store,
      holdsVip: () => addresses().has(vip),
      busy: () => clusters.map(({ name }) => name).filter((name) => this.#runsPromotion(name)),
      config: hashOfShared(this.#options.config),
      onAdopted: () => this.#adopted(),
      onRight: () => {
        for (const { name } of clusters) this.#control.consider(name);
        // What was left unfinished here is for the one in charge to put right.
        if (peer.right.charge?.diagnosis === 'NotInCharge') void this.#leaveToOther();
      },
      tell: (level, event, detail) => this.#tell(level, event, 'peer', detail),
    });
    this.#store.shareWith(peer);
    return peer;
  }

  #runsPromotion(cluster: string): boolean {
    return this.#control.promotions.underWayIn(cluster) !== null;
  }

  /** The other dbproxy of the pair has decided something. */
  async #adopted(): Promise<void> {
    for (const { name } of this.#store.members)
      this.#slots.limitBackend(name, this.#store.settingsOf(name).maxConnections);
    for (const { name } of this.#config.clusters) this.#monitor.rejudge(name);
    await this.#leaveToOther();
  }

  async #leaveToOther(): Promise<void> {
    await this.#control.promotions.leaveToOther().catch((error: unknown) => {
      this.#log.error('peer.journal_not_closed', { error: String(error) });
    });
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

/** The address whose holder is in charge: the first VIP for writes, or else the first. */
function vipOfCharge({ keepalived, listeners }: ProxyConfig): string {
  const forWrites = keepalived.vip.find((vip) => vipKind(vip, listeners) === 'write');
  return vipAddress(forWrites ?? keepalived.vip[0]!);
}

/** Of what the files of a pair should both have; no secrets are in it. */
function hashOfShared({ clusters, backends, listeners, keepalived }: ProxyConfig): string {
  const shared = {
    clusters: clusters.map((one) => ({ ...one, monitorPassword: '', replicationPassword: '' })),
    backends,
    listeners: listeners.map(({ name, cluster, mode }) => ({ name, cluster, mode })),
    vip: keepalived.vip,
  };
  return createHash('sha256').update(JSON.stringify(shared)).digest('hex');
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
