/**
 * What the supervisor offers to its own doors, the admin port and the HTTP port: look and act.
 * Refusals are errors of the catalogue (`base/errors.ts`).
 */
import type { ProxyConfig } from '../config/config.ts';
import type { ImportStatus } from '../topology/account.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import type { CertificateNews } from '../transport/certificates.ts';
import type { SessionInfo, WorkerStats } from './messages.ts';
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
  result: 'done' | 'skipped' | 'failed' | 'undone';
  detail: string;
  durationMs: number;
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

export interface ListenerStatus {
  listener: string;
  worker: number;
  /** Null when it listens; else why not yet. */
  error: string | null;
}

export interface CheckSettings {
  rise: number;
  fall: number;
  intervalMs: number;
  fastIntervalMs: number;
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
  /** Makes `name` the primary of its cluster; rejects with DBPROXY_PROMOTE_REFUSED or _FAILED. */
  promote(name: string): Promise<PromoteStep[]>;
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
  /** Promotions so far: for `dbproxy_failovers_total`. */
  promotions(): {
    kind: 'switchover' | 'failover';
    result: 'done' | 'failed';
    count: number;
    lastDurationMs: number;
  }[];
}
