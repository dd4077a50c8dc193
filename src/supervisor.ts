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
import type { Clock, Timer } from './base/clock.ts';
import { refusal } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { BackendConfig, ListenerConfig, ProxyConfig } from './config/config.ts';
import type { HoldWrites } from './failover/actions.ts';
import { CommitResolver } from './failover/commit-resolver.ts';
import { ControlPlane } from './failover/control.ts';
import { openJournal } from './failover/journal.ts';
import { controlOperations } from './failover/operations.ts';
import { discardLost, saveLost } from './failover/rejoin.ts';
import { sqlServers } from './failover/sql-server.ts';
import { startHttp } from './http/server.ts';
import { EventRing } from './ipc/event-ring.ts';
import { WorkerFleet, type AnswerTo, type Question, type Report } from './ipc/fleet.ts';
import type { LostCommit, SessionInfo, SessionPlace, ToWorker, WorkerStats } from './ipc/messages.ts';
import type { BackendChange, ListenerStatus, Operations } from './ipc/operations.ts';
import { sharedWhileInFlight } from './ipc/shared-question.ts';
import { slotOfSessionId } from './ipc/session-id.ts';
import type { DigestStats, RouteAsker, RouteExplanation, SessionExplanation } from './ipc/split.ts';
import { AccountImport } from './monitor/accounts.ts';
import { Monitor } from './monitor/monitor.ts';
import { Setup } from './setup/setup.ts';
import type { ImportStatus } from './topology/account.ts';
import { topologyEvents } from './topology/changes.ts';
import type { BackendHealth } from './topology/health.ts';
import { ProvenLogins, type ProvenLogin } from './topology/proven-logins.ts';
import { SlotLedger, type LedgerAnswer } from './topology/slots.ts';
import { openStateFile, type BackendOverride } from './topology/state-file.ts';
import { TopologyStore } from './topology/store.ts';
import { CertificateWatch, newTicketKeys, type CertificateFiles } from './transport/certificates.ts';
import { openRsaKeys, type RsaKeyTexts } from './transport/rsa-keys.ts';

export interface SupervisorOptions {
  readonly config: ProxyConfig;
  readonly log: Log;
  readonly clock: Clock;
  readonly version: string;
  /** Called when SHUTDOWN has stopped everything. */
  readonly onExit: (code: number) => void;
  /** Script and arguments of a worker; by default this program itself with the argument `worker`. */
  readonly workerEntry?: { readonly exec: string; readonly args: readonly string[] };
}

export interface RunningSupervisor {
  /** Stops everything: sessions end in order within shutdown_timeout, or at once. */
  stop(now: boolean): Promise<void>;
}

/** How long a worker may take to answer a question of an operator. */
const ANSWER_TIMEOUT_MS = 2_000;
/** How long the workers may take to try their listeners. */
const START_TIMEOUT_MS = 30_000;
const EVENTS_KEPT = 1_000;
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

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
  readonly #config: ProxyConfig;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #events: EventRing;
  readonly #store: TopologyStore;
  readonly #monitor: Monitor;
  readonly #control: ControlPlane;
  readonly #commits: CommitResolver;
  readonly #setup: Setup;
  readonly #accounts: AccountImport;
  readonly #proven = new ProvenLogins();
  readonly #ledger: SlotLedger;
  readonly #certificates: CertificateWatch;
  readonly #ticketKeys = newTicketKeys().toString('base64');
  readonly #rsa: RsaKeyTexts;
  readonly #fleet: WorkerFleet;
  /** By worker, then by listener: why it does not listen, or null. */
  readonly #listening = new Map<number, Map<string, string | null>>();
  readonly #readyWorkers = new Set<number>();
  readonly #drainTimers = new Map<string, Timer>();
  /** By backend, what the workers were told last. */
  readonly #toldPositions = new Map<string, string | null>();
  /** Clusters whose first primary is being written down, and the last reason why that failed. */
  readonly #adopting = new Map<string, Promise<void>>();
  readonly #adoptionErrors = new Map<string, string>();
  readonly #doors: { close(): Promise<void> }[] = [];
  /** Scrapes that come while one is being answered get the same answer. */
  readonly #stats = sharedWhileInFlight(() => this.#askStats());
  #onWorkersReady: (() => void) | null = null;
  #stopped: Promise<void> | null = null;

  constructor(options: SupervisorOptions) {
    const { config, log, clock } = options;
    this.#options = options;
    this.#config = config;
    this.#log = log;
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
    this.#events = new EventRing(clock, EVENTS_KEPT);
    this.#store = new TopologyStore(config, openStateFile(config.dbproxy.stateDir));
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
      onHealth: (backend, health) => {
        this.#store.observe(backend, health);
        this.#tellPosition(this.#backend(backend), health);
        void this.#adoptFirstPrimary(this.#backend(backend).cluster);
        this.#commits.note(backend);
        this.#control.consider(this.#backend(backend).cluster);
      },
    });
    this.#commits = new CommitResolver({
      config,
      clock,
      primaryOf: (cluster) =>
        this.#store.snapshot.clusters.find(({ name }) => name === cluster)?.primary ?? null,
      recordOf: (backend) => this.#monitor.recordOf(backend),
    });
    this.#control = new ControlPlane({
      config,
      clock,
      log,
      store: this.#store,
      monitor: this.#monitor,
      stateDir: config.dbproxy.stateDir,
      lost: { save: saveLost, discard: discardLost },
      journal: openJournal(config.dbproxy.stateDir),
      openServer: sqlServers(clock),
      isSettingUp: () => this.#setup.underWay !== null,
      holdWrites: (...request) => this.#holdWrites(...request),
      tell: (...event) => this.#tell(...event),
      onEvent: (event, subject, detail) => this.#events.add(event, subject, detail),
    });
    this.#setup = new Setup({
      config,
      clock,
      log,
      store: this.#store,
      monitor: this.#monitor,
      promotionUnderWay: () => {
        const { underWay } = this.#control.promotions;
        return underWay === null ? null : `the promotion of ${underWay}`;
      },
      onEvent: (event, subject, detail) => this.#events.add(event, subject, detail),
    });
    this.#accounts = new AccountImport({
      clusters: config.clusters.filter(({ users }) => users === 'import'),
      clock,
      primaryOf: (cluster) => this.#accountsFrom(cluster),
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
    this.#ledger = makeLedger(config, this.#store);
    this.#fleet = new WorkerFleet({
      workers: config.dbproxy.workers,
      entry: options.workerEntry ?? { exec: process.argv[1]!, args: ['worker'] },
      clock,
      log,
      greeting: (slot) => this.#greeting(slot),
      onReport: (slot, report) => this.#receive(slot, report),
      onDeath: (slot, how) => this.#workerDied(slot, how),
    });
    this.#control.holdUnfinished();
  }

  async start(): Promise<void> {
    const { config, version } = this.#options;
    const doors = { operations: this.#operations(), clock: this.#clock, log: this.#log, version };
    // The doors first: they alone tell for sure that another dbproxy runs here already.
    this.#doors.push(await startAdmin({ config: config.admin, ...doors }));
    this.#doors.push(await startHttp({ config: config.http, ...doors }));

    const workersReady = this.#workersReady();
    this.#fleet.start();
    await Promise.all([workersReady, this.#monitor.start()]);
    await Promise.all(this.#adopting.values());
    await this.#control.start();
    await this.#accounts.firstReads();
    this.#refuseWithoutListener();
    this.#log.info('dbproxy.ready', {
      version,
      workers: config.dbproxy.workers,
      epoch: this.#store.snapshot.epoch,
      listeners: config.listeners.map(({ name, address }) => `${name} ${formatEndpoint(address)}`),
      admin: formatEndpoint(config.admin.address),
      http: formatEndpoint(config.http.address),
    });
  }

  async stop(now: boolean): Promise<void> {
    if (now) this.#fleet.killAll();
    this.#stopped ??= this.#stop(now);
    return this.#stopped;
  }

  async #stop(now: boolean): Promise<void> {
    const { shutdownTimeoutMs } = this.#config.dbproxy;
    this.#log.info('dbproxy.stopping', { now, shutdownTimeoutMs });
    const endMs = this.#clock.nowMs() + (now ? 0 : shutdownTimeoutMs);
    // A promotion left half way would have to be mended by hand.
    const promotionsEnd = this.#control.stop();
    if (!now) await this.#within(promotionsEnd, shutdownTimeoutMs);
    const { underWay } = this.#control.promotions;
    if (underWay !== null) {
      const detail =
        'dbproxy stops in the middle of this promotion; the next start goes on with it, or takes it back';
      this.#tell('error', 'promote.abandoned', underWay, detail);
    }
    await this.#fleet.stop(Math.max(0, endMs - this.#clock.nowMs()));
    for (const timer of this.#drainTimers.values()) timer.cancel();
    this.#monitor.close();
    this.#certificates.close();
    this.#accounts.close();
    await Promise.all(this.#doors.map((door) => door.close()));
    this.#log.info('dbproxy.stopped');
  }

  // ---- workers -------------------------------------------------------------------------------------

  #receive(slot: number, report: Report): void {
    switch (report.type) {
      case 'ready':
        this.#readyWorkers.add(slot);
        if (this.#readyWorkers.size === this.#config.dbproxy.workers) this.#onWorkersReady?.();
        return;
      case 'listening':
        return this.#setListening(slot, report.listener, report.error);
      case 'session-wanted':
        return void this.#findSession(slot, report.requestId, report);
      case 'accounts-wanted':
        return void this.#checkAccounts(slot, report.requestId, report.cluster);
      case 'account-proven':
        return this.#learn(slot, report.login);
      case 'schema-changed':
        return this.#tellOthers(slot, report);
      case 'slots-wanted':
        return this.#deliver(this.#ledger.want(slot, report.key, report.count));
      case 'slots-returned':
        return this.#deliver(this.#ledger.giveBack(slot, report.key, report.count));
      case 'commit-lost':
        return void this.#resolveCommit(slot, report.requestId, report.question);
      case 'backend-failed':
        this.#log.debug('backend.failed_on_data_path', { worker: slot, ...report });
        return this.#monitor.checkSoon(report.backend);
    }
  }

  async #resolveCommit(slot: number, requestId: number, question: LostCommit): Promise<void> {
    const { outcome, detail } = await this.#commits.resolve(question);
    const { cluster, backend, user } = question;
    this.#log.info('commit.resolved', { cluster, backend, user, outcome, detail });
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
    };
  }

  /** What has changed is broadcast while this waits, so it is there before the answer. */
  async #checkAccounts(slot: number, requestId: number, cluster: string): Promise<void> {
    await this.#accounts.refresh(cluster);
    this.#fleet.send(slot, { type: 'accounts-checked', requestId });
  }

  #learn(teacher: number, login: ProvenLogin): void {
    if (this.#proven.remember(login)) this.#tellOthers(teacher, { type: 'account-proven', login });
  }

  #tellOthers(teller: number, message: ToWorker): void {
    for (const slot of this.#fleet.slots()) if (slot !== teller) this.#fleet.send(slot, message);
  }

  #workerDied(slot: number, how: string): void {
    this.#events.add('worker.exited', `worker ${slot}`, how);
    this.#readyWorkers.delete(slot);
    this.#listening.delete(slot);
    this.#deliver(this.#ledger.release(slot));
  }

  /**
   * Tells the workers how far a replica has come, where some endpoint has reads that wait for writes: with
   * each check that finds it further, as no snapshot is published for that.
   */
  #tellPosition({ name, cluster }: BackendConfig, { replicating, gtidPosition }: BackendHealth): void {
    const matters = this.#config.listeners.some(
      (listener) => listener.cluster === cluster && listener.causalReads !== 'off',
    );
    if (!matters || !replicating || this.#toldPositions.get(name) === gtidPosition) return;
    this.#toldPositions.set(name, gtidPosition);
    this.#fleet.broadcast({ type: 'replica-position', backend: name, gtidPosition });
  }

  #setListening(slot: number, listener: string, error: string | null): void {
    const statuses = this.#listening.get(slot) ?? new Map<string, string | null>();
    this.#listening.set(slot, statuses.set(listener, error));
    const subject = `${listener} (worker ${slot})`;
    if (error === null) this.#tell('info', 'listener.bound', subject, 'listens');
    else this.#tell('warn', 'listener.not_bound', subject, error);
  }

  #deliver({ grants, wantedBack }: LedgerAnswer): void {
    for (const { holder, key, count } of grants)
      this.#fleet.send(holder, { type: 'slots-granted', key, count });
    for (const { holder, key, must } of wantedBack)
      this.#fleet.send(holder, { type: 'slots-wanted-back', key, must });
  }

  async #findSession(
    asker: number,
    requestId: number,
    { sessionId, ends }: { sessionId: number; ends: boolean },
  ): Promise<void> {
    const owner = slotOfSessionId(sessionId);
    let place: SessionPlace | null = null;
    if (owner !== undefined) {
      const question = { type: 'session-asked', sessionId, ends } as const;
      const answer = await this.#fleet.ask(owner, question, ANSWER_TIMEOUT_MS);
      place = answer?.place ?? null;
    }
    this.#fleet.send(asker, { type: 'session-found', requestId, place });
  }

  /** Has all workers hold the statements of a cluster; one that does not confirm in time is killed. */
  async #holdWrites(
    { cluster, backend, graceMs, kind, reason }: HoldWrites,
    timeoutMs: number,
  ): Promise<{ moved: number; ended: number; workersKilled: number }> {
    const question = { type: 'hold-writes', cluster, backend, graceMs, kind, reason } as const;
    const answers = await this.#fleet.askAll(question, timeoutMs);
    const silent = answers.filter(({ answer }) => answer === undefined);
    await Promise.all(
      silent.map(({ slot }) =>
        this.#fleet.kill(slot, `did not confirm that nothing of it can reach ${backend} any more`),
      ),
    );
    const moved = answers.reduce((sum, { answer }) => sum + (answer?.moved ?? 0), 0);
    const ended = answers.reduce((sum, { answer }) => sum + (answer?.ended ?? 0), 0);
    return { moved, ended, workersKilled: silent.length };
  }

  #workersReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(START_TIMEOUT_MS, () => {
        reject(
          new Error(
            `the workers did not get ready within ${START_TIMEOUT_MS} ms; see worker.exited in the log`,
          ),
        );
      });
      this.#onWorkersReady = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Throws when every listener's port is taken: then this process has nothing to do here. */
  #refuseWithoutListener(): void {
    const errors = this.#listenerStatuses().map(({ error }) => error);
    if (errors.length === 0 || !errors.every((error) => error?.includes('EADDRINUSE') === true)) return;
    throw Object.assign(new Error(`no listener could be opened: ${[...new Set(errors)].join('; ')}`), {
      code: 'EADDRINUSE',
    });
  }

  #listenerStatuses(): ListenerStatus[] {
    return [...this.#listening].flatMap(([worker, statuses]) =>
      [...statuses].map(([listener, error]) => ({ listener, worker, error })),
    );
  }

  // ---- topology ------------------------------------------------------------------------------------

  /** Remembers the first primary of a cluster once it is clear which one it is. */
  #adoptFirstPrimary(cluster: string): Promise<void> {
    if (this.#store.rememberedPrimary(cluster) !== null) return Promise.resolve();
    let adopting = this.#adopting.get(cluster);
    if (adopting === undefined) {
      adopting = this.#adopt(cluster).finally(() => this.#adopting.delete(cluster));
      this.#adopting.set(cluster, adopting);
    }
    return adopting;
  }

  async #adopt(cluster: string): Promise<void> {
    try {
      const primary = await this.#store.adoptFirstPrimary(cluster);
      if (primary === null) return;
      this.#adoptionErrors.delete(cluster);
      this.#tell('info', 'cluster.first_primary', cluster, `${primary} is remembered as the primary`);
      this.#monitor.rejudge(cluster);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // Tried again with every check; said once.
      if (this.#adoptionErrors.get(cluster) === reason) return;
      this.#adoptionErrors.set(cluster, reason);
      this.#tell('error', 'cluster.primary_not_recorded', cluster, reason);
    }
  }

  // ---- operations ----------------------------------------------------------------------------------

  #operations(): Operations {
    return {
      config: () => this.#config,
      snapshot: () => this.#store.snapshot,
      uptimeMs: () => this.#clock.nowMs() - this.#startedMs,
      sessions: () => this.#sessions(),
      stats: this.#stats,
      digests: () => this.#digests(),
      explainRoute: (asker, sql) => this.#explainRoute(asker, sql),
      explainSession: (sessionId) => this.#explainSession(sessionId),
      listeners: () => this.#listenerStatuses(),
      events: () => this.#events.list(),
      setBackend: (name, change) => this.#setBackend(name, change),
      killSession: (sessionId, query) => this.#killSession(sessionId, query),
      shutdown: (now) => void this.#shutdown(now),
      ...controlOperations(this.#config, this.#control, this.#store),
      bootstrap: (...request) => this.#setup.bootstrap(...request),
      cloneBackend: (...request) => this.#setup.cloneBackend(...request),
      imports: () => this.#accounts.statuses(),
      reloadUsers: (cluster) => this.#reloadUsers(cluster),
      reloadTls: () => this.#certificates.reload(),
    };
  }

  async #reloadUsers(cluster: string | null): Promise<ImportStatus[]> {
    const known = this.#config.clusters.map(({ name }) => name);
    if (cluster !== null && !known.includes(cluster)) {
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'cluster', cluster, known.join(', '));
    }
    if (this.#config.clusters.some(({ name, users }) => name === cluster && users === 'file')) {
      const why = 'it has users = file, so its users are the [user] sections of the configuration';
      throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'CLUSTER', cluster!, why);
    }
    await (cluster === null ? this.#accounts.refreshAll() : this.#accounts.refresh(cluster));
    return this.#accounts.statuses().filter((status) => cluster === null || status.cluster === cluster);
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

  async #sessions(): Promise<SessionInfo[]> {
    const answers = await this.#fleet.askAll({ type: 'sessions-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => answer?.sessions ?? []);
  }

  async #askStats(): Promise<WorkerStats[]> {
    const answers = await this.#fleet.askAll({ type: 'stats-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => (answer === undefined ? [] : [answer.stats]));
  }

  async #digests(): Promise<DigestStats[]> {
    const answers = await this.#fleet.askAll({ type: 'digests-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => answer?.digests ?? []);
  }

  /** A session is known to its own worker alone; of a new one each worker can tell. */
  async #explainRoute(asker: RouteAsker, sql: string): Promise<RouteExplanation | null> {
    const slot = asker.kind === 'session' ? this.#workerOf(asker.sessionId) : (this.#fleet.slots()[0] ?? 0);
    if (slot === undefined) return null;
    const { explanation } = await this.#answer(slot, { type: 'explain-route', asker, sql });
    return explanation;
  }

  async #explainSession(sessionId: number): Promise<SessionExplanation | null> {
    const slot = this.#workerOf(sessionId);
    if (slot === undefined) return null;
    const { explanation } = await this.#answer(slot, { type: 'explain-session', sessionId });
    return explanation;
  }

  /** The worker that a session would be in; undefined for an id that none of ours gives out. */
  #workerOf(sessionId: number): number | undefined {
    const slot = slotOfSessionId(sessionId);
    return slot !== undefined && slot < this.#config.dbproxy.workers ? slot : undefined;
  }

  /** The answer of one worker, where there is nothing to say without it. */
  async #answer<Q extends Question>(slot: number, question: Q): Promise<AnswerTo<Q>> {
    const answer = await this.#fleet.ask(slot, question, ANSWER_TIMEOUT_MS);
    if (answer === undefined) throw refusal('DBPROXY_ADMIN_NO_ANSWER', `worker ${slot}`, ANSWER_TIMEOUT_MS);
    return answer;
  }

  async #setBackend(name: string, change: BackendChange): Promise<void> {
    this.#requireBackend(name);
    requireCount('RW_WEIGHT', change.rwWeight, 0);
    requireCount('RO_WEIGHT', change.roWeight, 0);
    requireCount('MAX_CONNECTIONS', change.maxConnections, 1);
    const { drainTimeoutMs, ...override } = change;
    await this.#store.change({ [name]: override satisfies BackendOverride });
    this.#log.info('backend.set', { backend: name, ...change });
    if (change.maxConnections !== undefined) {
      this.#deliver(this.#ledger.setLimit(`backend:${name}`, change.maxConnections));
    }
    if (change.admin !== undefined) this.#applyAdminState(name, change.admin, drainTimeoutMs);
  }

  #applyAdminState(name: string, admin: NonNullable<BackendChange['admin']>, drainTimeoutMs?: number): void {
    this.#drainTimers.get(name)?.cancel();
    this.#drainTimers.delete(name);
    switch (admin) {
      case 'online':
        return;
      case 'draining':
        if (drainTimeoutMs === undefined) return;
        this.#drainTimers.set(
          name,
          this.#clock.after(
            drainTimeoutMs,
            () => void this.#dismiss(name, `backend ${name} is being drained`),
          ),
        );
        return;
      case 'offline':
        void this.#dismiss(name, `backend ${name} was set offline by an operator`);
    }
  }

  /** Ends the sessions of a backend that an operator takes out; nothing depends on every worker's answer. */
  async #dismiss(name: string, reason: string): Promise<void> {
    const cluster = this.#config.clusters.find((one) => one.name === this.#backend(name).cluster)!;
    const graceMs = cluster.transactionGraceMs;
    const answers = await this.#fleet.askAll(
      { type: 'end-sessions', backend: name, graceMs, reason },
      graceMs + ANSWER_TIMEOUT_MS,
    );
    const ended = answers.reduce((sum, { answer }) => sum + (answer?.ended ?? 0), 0);
    this.#tell('info', 'backend.sessions_ended', name, `${ended} session(s): ${reason}`);
  }

  async #killSession(sessionId: number, query: boolean): Promise<boolean> {
    const slot = slotOfSessionId(sessionId);
    if (slot === undefined) return false;
    const answer = await this.#fleet.ask(slot, { type: 'kill-session', sessionId, query }, ANSWER_TIMEOUT_MS);
    return answer?.found ?? false;
  }

  // ---- helpers -------------------------------------------------------------------------------------

  #backend(name: string): BackendConfig {
    const backend = this.#config.backends.find((one) => one.name === name);
    if (backend === undefined) throw new TypeError(`no such backend: ${name}`);
    return backend;
  }

  /** Where accounts are read: the primary, and while it is away a server that replicates them. */
  #accountsFrom(cluster: string): BackendConfig | null {
    const { clusters, backends } = this.#store.snapshot;
    const primary = clusters.find((one) => one.name === cluster)?.primary;
    const other = backends.find((one) => one.cluster === cluster && one.readable);
    return this.#config.backends.find(({ name }) => name === (primary ?? other?.name)) ?? null;
  }

  #requireBackend(name: string): void {
    const known = this.#config.backends.map((backend) => backend.name);
    if (!known.includes(name))
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known.join(', '));
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

/** Every limit that holds over all workers. */
function makeLedger(config: ProxyConfig, store: TopologyStore): SlotLedger {
  const ledger = new SlotLedger();
  for (const { name } of config.backends)
    ledger.setLimit(`backend:${name}`, store.settingsOf(name).maxConnections);
  for (const { name, maxConnections } of config.listeners)
    ledger.setLimit(`listener:${name}`, maxConnections);
  for (const { name, maxConnections } of config.users)
    ledger.setLimit(`user:${name}`, maxConnections || NO_LIMIT);
  return ledger;
}

function requireCount(key: string, value: number | undefined, minimum: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= minimum)) return;
  throw refusal('DBPROXY_ADMIN_BAD_VALUE', key, value, `it must be a whole number, at least ${minimum}`);
}
