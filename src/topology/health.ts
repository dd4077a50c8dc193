/**
 * What the monitor says about one backend, in the terms the topology is made of. The monitor (a higher
 * layer) makes it out of probes; this layer only needs to know its shape.
 */
import type { ServerGreeting } from './snapshot.ts';

/** How far a backend answers: `unknown` until its first check has ended. */
export type Reach = 'unknown' | 'up' | 'suspect' | 'down';

export interface BackendHealth {
  readonly reach: Reach;
  /** Why it is not simply `up`, in plain words; also set while it is up but cannot be looked into. */
  readonly reachReason: string;
  /** VERSION() as last seen; null before the first good check, and then all below is not known. */
  readonly serverVersion: string | null;
  /** Null exactly when serverVersion is. */
  readonly greeting: ServerGreeting | null;
  /** Null exactly when serverVersion is. */
  readonly sqlMode: string | null;
  /** How far it had come when it was last seen; null when it does not number its transactions. */
  readonly gtidPosition: string | null;
  readonly writable: boolean;
  /** It has replication set up, whether or not that runs now. */
  readonly replicating: boolean;
  readonly lagMs: number | null;
  /** Replicating well enough to serve reads. */
  readonly fresh: boolean;
  /** Why it is not fresh, or what is odd about its replication although it is. */
  readonly replicationReason: string;
}

/** The health of a backend nobody has looked at yet. */
export const UNSEEN: BackendHealth = {
  reach: 'unknown',
  reachReason: 'not checked yet',
  serverVersion: null,
  greeting: null,
  sqlMode: null,
  gtidPosition: null,
  writable: false,
  replicating: false,
  lagMs: null,
  fresh: false,
  replicationReason: '',
};
