/**
 * What the supervisor offers to its own doors, the admin port and the HTTP port: look and act.
 * Refusals are errors of the catalogue (`base/errors.ts`).
 */
import type { ProxyConfig } from '../config/config.ts';
import type { ImportStatus } from '../topology/account.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import type { CertificateNews } from '../transport/certificates.ts';
import type { CommitOutcome, WorkerStats } from './messages.ts';
import type { SessionInfo } from './session-info.ts';
import type { DigestStats, RouteAsker, RouteExplanation, SessionExplanation } from './split.ts';

/** What an operator may change of a backend; what is absent stays. */
export interface BackendChange {
  rwWeight?: number;
  roWeight?: number;
  maxConnections?: number;
  /** `draining`: no new sessions; those that are there may end until `drainTimeoutMs`, then are ended. */
  admin?: 'online' | 'draining' | 'offline';
  drainTimeoutMs?: number;
}

/** One step of a promotion, as it went. */
export interface PromoteStep {
  step: string;
  /** planned: by a DRY RUN, or not begun yet. refused: said by a DRY RUN of what would not be begun. running: now. undoing: it is being taken back now. waiting: it was cut off there. */
  result:
    'done' | 'skipped' | 'failed' | 'undone' | 'planned' | 'refused' | 'running' | 'undoing' | 'waiting';
  detail: string;
  durationMs: number;
}

/** One step of setting up servers, as it is planned or as it went. */
export interface SetupReport {
  /** The backend; empty where it is none in particular. */
  readonly server: string;
  readonly step: string;
  readonly result: 'planned' | 'done' | 'skipped' | 'failed' | 'undone';
  readonly detail: string;
  /** Without passwords. */
  readonly sql: string;
  readonly durationMs: number;
}

/** A promotion under way, all of its steps in order. */
export interface PlanReport {
  cluster: string;
  kind: string;
  target: string;
  steps: PromoteStep[];
}

/** One thing that is the matter with a cluster, or that nothing is. */
export interface DiagnosisReport {
  cluster: string;
  name: string;
  gravity: 'critical' | 'warning' | 'info';
  /** What is done about it, in a word. */
  action: string;
  detail: string;
}

/** A change that an old primary had and nobody else: a row of SHOW LOST TRANSACTIONS. */
export interface LostChange {
  backend: string;
  epoch: number;
  gtid: string;
  at: string;
  table: string;
  kind: string;
  key: string;
  old: string | null;
  new: string | null;
  conflict: string;
  file: string;
}

/** What is asked of a cluster: another primary. */
export interface PrimaryChange {
  kind: 'switchover' | 'failover';
  /** Null: the best one. */
  to: string | null;
  force: boolean;
  dryRun: boolean;
}

/** One line of the timeline (SHOW EVENTS). */
export interface EventRecord {
  id: number;
  /** Unix time in milliseconds. */
  wallMs: number;
  /** Log event name, for example `backend.down`. */
  event: string;
  /** Backend, cluster, listener or worker it is about. */
  subject: string;
  detail: string;
}

/** One key that is not as the file has it. */
export interface ConfigDifference {
  section: string;
  key: string;
  /** Null: there is none now. */
  running: string | null;
  /** Null: the file has none. */
  file: string | null;
}

export interface ListenerStatus {
  listener: string;
  worker: number;
  /** Null when it listens; else why not yet. */
  error: string | null;
  /** Its address has left, and the sessions that it had are kept for drain_timeout. */
  isDraining: boolean;
  /** For how long this is so. */
  stateMs: number;
}

export interface CheckSettings {
  rise: number;
  fall: number;
  intervalMs: number;
  fastIntervalMs: number;
}

/** One of the two dbproxies of a pair, for SHOW PEER. */
export interface PeerReport {
  which: 'this' | 'other';
  address: string;
  /** Of the other: what is known of it. */
  state: 'running' | 'unheard' | 'connected' | 'silent' | 'gone';
  /** Of the other all is as it has said last; null: it has said nothing yet. */
  holdsVip: boolean | null;
  inCharge: boolean | null;
  version: string | null;
  term: number | null;
  epoch: number | null;
  revision: number | null;
  /** Since it was heard last; null: of this one, or never. */
  heardMs: number | null;
  /** How far its clock is before ours, by the host's clocks; null: not known. */
  clockAheadMs: number | null;
  /** What it is doing at servers, in words; empty: nothing. */
  doing: string;
  /** Why it is not in charge, or what is the matter with it; empty: nothing. */
  reason: string;
}

export interface Operations {
  config(): ProxyConfig;
  snapshot(): Snapshot;
  /** Milliseconds since the supervisor started. */
  uptimeMs(): number;
  /** From all workers; a worker that does not answer in time is left out. */
  sessions(): Promise<SessionInfo[]>;
  /** From all workers; a worker that does not answer in time is left out. */
  stats(): Promise<WorkerStats[]>;
  /** From all workers; a worker that does not answer in time is left out. */
  digests(): Promise<DigestStats[]>;
  /** Where a statement would go; null when there is no such session. Rejects with DBPROXY_ADMIN_NO_ANSWER. */
  explainRoute(asker: RouteAsker, sql: string): Promise<RouteExplanation | null>;
  /** Null when there is no such session. Rejects with DBPROXY_ADMIN_NO_ANSWER. */
  explainSession(sessionId: number): Promise<SessionExplanation | null>;
  listeners(): ListenerStatus[];
  /** The newest last; bounded. */
  events(): EventRecord[];
  /** Acts at once, is in the state file when it resolves. */
  setBackend(name: string, change: BackendChange): Promise<void>;
  /**
   * Adds a server with the keys of a [backend] section; in the state file when it resolves. With `clone` it is offline
   * until it has been filled, and stays so when that fails. Rejects with DBPROXY_SETUP_REFUSED or _FAILED.
   */
  addBackend(
    name: string,
    keys: Readonly<Record<string, string>>,
    clone: { from: string | null } | null,
  ): Promise<SetupReport[]>;
  /** Forgets a server; in the state file when it resolves. Rejects with DBPROXY_SETUP_REFUSED. */
  dropBackend(name: string): Promise<void>;
  /** Where what runs differs from the file. */
  configDiff(): ConfigDifference[];
  /**
   * Makes `name` the primary of its cluster; `force`: whatever is lost with that. Rejects with DBPROXY_PROMOTE_REFUSED
   * or _FAILED.
   */
  promote(name: string, force: boolean): Promise<PromoteStep[]>;
  /**
   * Makes a working cluster of servers that hold nothing, or the same; a null primary is chosen. With `dryRun`
   * only the plan. Rejects with DBPROXY_SETUP_REFUSED or _FAILED.
   */
  bootstrap(cluster: string, primary: string | null, dryRun: boolean): Promise<SetupReport[]>;
  /**
   * Fills an empty server from another one (null: the primary) and has it follow. Rejects with
   * DBPROXY_SETUP_REFUSED or _FAILED.
   */
  cloneBackend(name: string, from: string | null, dryRun: boolean): Promise<SetupReport[]>;
  /** Gives a cluster another primary, or says how; rejects as `promote` does. */
  changePrimary(cluster: string, change: PrimaryChange): Promise<PromoteStep[]>;
  /** A switchover there and back; rejects as `promote` does, with the cluster as it is then. */
  rehearse(cluster: string, to: string | null): Promise<PromoteStep[]>;
  /** Brings a server back as a replica; rejects with DBPROXY_REJOIN_REFUSED or _FAILED. */
  rejoin(request: {
    backend: string;
    mode: 'plain' | 'append' | 'discard';
    dryRun: boolean;
  }): Promise<PromoteStep[]>;
  /** All that was saved of old primaries, by all runs of dbproxy. */
  lostTransactions(): LostChange[];
  /** Whether dbproxy leaves the servers of a cluster alone; is in the state file when it resolves. */
  setMaintenance(cluster: string, on: boolean): Promise<void>;
  /** A row a finding, the gravest of each cluster first. */
  diagnoses(): DiagnosisReport[];
  /** Whether this proxy is the one that acts on the servers of each cluster. */
  charges(): { readonly cluster: string; readonly isOurs: boolean }[];
  /** The promotions under way, one a cluster at most. */
  plans(): PlanReport[];
  /** Ends a proxied session (or only its running statement); false when there is no such session. */
  killSession(sessionId: number, query: boolean): Promise<boolean>;
  /** Graceful within shutdown_timeout, or at once. */
  shutdown(now: boolean): void;
  /** A row a cluster with `users = import`. */
  imports(): ImportStatus[];
  /** Reads the accounts of a cluster, or of all, from the primary now; answers how that went. */
  reloadUsers(cluster: string | null): Promise<ImportStatus[]>;
  /** Reads the certificates of the listeners again; one row a listener that speaks TLS. */
  reloadTls(): CertificateNews[];
  /** COMMITs whose answers were lost, by what was found of them: for `dbproxy_lost_commits_total`. */
  lostCommits(): { cluster: string; outcome: CommitOutcome; count: number }[];
  /** Why nothing can be written to state_dir; null: as far as is known it can be. */
  stateTrouble(): string | null;
  /** What the other dbproxy of a pair says; answers what this one has to say. */
  peer(message: string): Promise<string>;
  /** The two of a pair; none where there is no other. */
  peers(): PeerReport[];
  /** An operator says that the other is gone. Rejects with DBPROXY_PEER. */
  setPeerGone(): Promise<void>;
  /** Promotions so far: for `dbproxy_failovers_total`. */
  promotions(): {
    kind: 'switchover' | 'failover';
    result: 'done' | 'failed';
    count: number;
    lastDurationMs: number;
  }[];
}
