/**
 * The topology snapshot: what the control plane knows, as one immutable, numbered value.
 * The supervisor makes it, workers read it; it is the only thing they share. It is plain data, so it
 * travels between processes as it is.
 */
import type { Endpoint } from '../base/address.ts';

/** What a server is in its cluster. */
export type BackendRole = 'primary' | 'replica' | 'standalone' | 'unknown';

/**
 * online: takes traffic as its role and weights allow. suspect: a check has failed, not enough of them
 * to take it out. down: unreachable. draining: an operator lets its sessions run out. offline: an
 * operator took it out.
 */
export type BackendState = 'online' | 'suspect' | 'down' | 'draining' | 'offline';

/** How a server greets its clients: what an endpoint before it offers follows from that. */
export interface ServerGreeting {
  /** The version string as the greeting has it, with MariaDB's prefix for old replicas. */
  readonly serverVersion: string;
  /** Capability flags, the lower 32. */
  readonly capabilities: number;
  /** MariaDB's upper 32 flags; 0 of other servers. */
  readonly extendedCapabilities: number;
  /** Default collation, low byte of its id. */
  readonly collation: number;
  /** Authentication plugin it begins with. */
  readonly plugin: string;
}

export interface BackendView {
  readonly name: string;
  readonly cluster: string;
  readonly address: Endpoint;
  readonly role: BackendRole;
  readonly state: BackendState;
  /** read_only is off there, as last seen; null: it does not answer, or was never seen. */
  readonly writable: boolean | null;
  /** Replication lag in milliseconds; null when unknown or not a replica. */
  readonly lagMs: number | null;
  readonly rwWeight: number;
  readonly roWeight: number;
  /**
   * The ro_weight was written by somebody (file or admin port). The default counts while the server is a
   * replica only; one that was set is its share of the reads in any role.
   */
  readonly roWeightSet: boolean;
  readonly maxConnections: number;
  /** May be given reads as a replica now (online or suspect, replicating or orphaned, lag in bounds). */
  readonly readable: boolean;
  /** In plain words why it is in this state; empty when all is well. */
  readonly reason: string;
  /** VERSION() of the server as last seen; null before the first good check. */
  readonly serverVersion: string | null;
  /** As last seen; null before the first good check. */
  readonly greeting: ServerGreeting | null;
  /** The sql_mode that its new sessions begin with, as last seen; null before the first good check. */
  readonly sqlMode: string | null;
  /**
   * How far it had come, by global transaction ids, when this snapshot was published or, in a worker, when
   * it was last told (`withPosition`); null when that is not known. No snapshot is published for it.
   */
  readonly gtidPosition: string | null;
}

/** What is the matter with a cluster. */
export interface Diagnosis {
  /** One of the names of `failover/diagnosis.ts`. */
  readonly name: string;
  readonly gravity: 'critical' | 'warning' | 'info';
  /** In plain words; without numbers that change with every check. */
  readonly detail: string;
}

/**
 * Who wants nothing done by itself in a cluster: operators by MAINTENANCE (`on`), which both of a pair of dbproxies share,
 * or `haconf`, which this one goes by alone.
 */
export type Maintenance = 'off' | 'on' | 'haconf' | 'on, haconf';

export interface ClusterView {
  readonly name: string;
  /** Of the promotion that made the primary so; 0: there has been none. */
  readonly epoch: number;
  /** The gravest finding; null before the first. */
  readonly diagnosis: Diagnosis | null;
  readonly maintenance: Maintenance;
  /** The primary goes on without a replica to wait for, though semi_sync = require. */
  readonly alone: boolean;
  /** The backend that takes the writes now; null when writes have nowhere to go. */
  readonly primary: string | null;
  /** True while a promotion is under way: new write sessions wait instead of being refused. */
  readonly writesHeld: boolean;
  /** Nobody may write anywhere, for this `reason`: sessions leave the server that took the writes. */
  readonly writesStopped: boolean;
  /** Why there is no primary; empty when there is one. */
  readonly reason: string;
}

export interface Snapshot {
  /** Grows by one with each publication by this supervisor. */
  readonly version: number;
  /** Grows by one with each promotion; kept over restarts. */
  readonly epoch: number;
  readonly clusters: readonly ClusterView[];
  readonly backends: readonly BackendView[];
}

/** The snapshot with a newer position of one backend. */
export function withPosition(snapshot: Snapshot, backend: string, gtidPosition: string | null): Snapshot {
  const backends = snapshot.backends.map((view) =>
    view.name === backend ? { ...view, gtidPosition } : view,
  );
  return { ...snapshot, backends };
}
