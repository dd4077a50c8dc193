/** What a diagnosis says: its name, how grave it is, what an operator reads and what is to be done about it. */

/** What the control plane does about a finding, when nothing forbids it to act. */
export type Action =
  /** Nothing: it is for the operator to know, or will be well by itself. */
  | { readonly kind: 'none' }
  /** Wait for more checks: they come at the fast interval. */
  | { readonly kind: 'watch' }
  /** Promote a replica instead of the primary. */
  | { readonly kind: 'failover' }
  /** Make these read-only, and end the sessions of their clients. */
  | { readonly kind: 'fence'; readonly backends: readonly string[] }
  /** The primary of the epoch is read-only: let it take writes again. */
  | { readonly kind: 'unlock'; readonly backend: string }
  /** A promotion that got as far as the state file: finish it. */
  | { readonly kind: 'finish'; readonly backend: string }
  /** Bring a promotion to its end that was cut off. */
  | { readonly kind: 'take_up' }
  /** Another promotion is known to the servers than to us: believe it. */
  | { readonly kind: 'adopt_epoch'; readonly backend: string; readonly epoch: number }
  /** Take no writes until it is clear who may. */
  | { readonly kind: 'stop_writes'; readonly backends: readonly string[] };

export type DiagnosisName =
  | 'PromotionUnderWay'
  | 'PromotionUnfinished'
  | 'PeerUnheard'
  | 'BothInCharge'
  | 'PeerUnreachable'
  | 'NotInCharge'
  | 'StaleEpoch'
  | 'TwoWritablePrimaries'
  | 'PrimaryDown'
  | 'NoSafeCandidate'
  | 'Isolated'
  | 'CheckerBroken'
  | 'PrimaryUnreachableButReplicasSeeIt'
  | 'PrimaryUnreachableNoWitness'
  | 'AllServersGone'
  | 'PrimaryHung'
  | 'PrimaryLocked'
  | 'PrimaryReadOnly'
  | 'PrimaryReplicates'
  | 'NoWritablePrimary'
  | 'OldPrimaryWritable'
  | 'ReplicaWritable'
  | 'PrimarySuspect'
  | 'StateNotWritable'
  | 'MonitorAccountRefused'
  | 'CommitsWait'
  | 'AllReplicasGone'
  | 'SemiSyncDegraded'
  | 'NobodyElectable'
  | 'OnlyLaggingCandidate'
  | 'ReplicaDiverged'
  | 'ReplicaLeftBehind'
  | 'ReplicaBroken'
  | 'ReplicaStopped'
  | 'ReplicaGone'
  | 'ReplicaOrphaned'
  | 'ReplicaLagging'
  | 'OldPrimaryReturned'
  | 'NobodyInCharge'
  | 'InMaintenance'
  | 'AllHealthy';

export interface Finding {
  readonly name: DiagnosisName;
  /** critical: writes have nowhere to go, or could go wrong. warning: a reserve is gone. info: all is well. */
  readonly gravity: 'critical' | 'warning' | 'info';
  readonly detail: string;
  readonly action: Action;
}

/** What one row of the table of diagnoses has found. */
export interface Found {
  readonly detail: string;
  /** Absent: nothing is done about it. */
  readonly action?: Action;
}

/** Nothing is done about it. */
export const NONE: Action = { kind: 'none' };
