/** What the steps of a promotion need from the rest of the control plane, as promises that a test can keep, too. */
import type { Clock } from '../../base/clock.ts';
import type { HoldBounds } from '../../ipc/worker-questions.ts';
import type { BackendOverride, Divergence, Handover } from '../../topology/state-file.ts';
import type { Standing } from '../charge.ts';
import type { OpenServer } from '../server-control.ts';
import type { Survey } from '../survey.ts';
import type { WorkUnderWay } from '../work-under-way.ts';

/** What workers are asked to hold, and which server to leave (`hold-writes` of the messages between the planes). */
export interface HoldWrites {
  readonly cluster: string;
  readonly backend: string | null;
  readonly graceMs: number;
  readonly kind: 'switchover' | 'failover';
  readonly reason: string;
}

/** What a step needs from the rest of the control plane. */
export interface PromotionWorld {
  readonly clock: Clock;
  readonly openServer: OpenServer;
  /** Whether this proxy is the one that acts on the servers of a cluster. */
  charge(cluster: string): Standing;
  /** Has chores do nothing more, and waits for what they have begun; answers whether there was anything, rejects when it does not end. */
  overtakeChores(cluster: string): Promise<boolean>;
  /** What else is being done to the servers of a cluster on an operator's word; null: nothing. */
  workUnderWay(cluster: string): WorkUnderWay | null;
  hold(cluster: string, held: boolean): void;
  /** Has all workers leave the old primary and hold their statements; those that do not begin, or end, in time are killed. */
  holdWrites(
    request: HoldWrites,
    bounds: HoldBounds,
  ): Promise<{ moved: number; ended: number; workersKilled: number }>;
  /**
   * Remembers the primary under the next epoch, on disk; answers the epoch. `failoverWallMs`: when it was replaced
   * without an operator, null: it was not, undefined: as before. `handover`: the same where there are no global ids.
   */
  recordPromotion(
    cluster: string,
    primary: string,
    failoverWallMs?: number | null,
    handover?: Handover | null,
  ): Promise<number>;
  /** When a primary was replaced last without an operator. */
  failoverWallMs(cluster: string): number | null;
  /** Of the remembered primary. */
  handoverOf(cluster: string): Handover | null;
  /** Remembers, on disk, that it is another one. */
  setHandover(cluster: string, handover: Handover | null): Promise<void>;
  /** The epoch of the remembered primary. */
  epochOf(cluster: string): number;
  /** Writes down that the replication of servers is about to be stopped, to be started again. */
  takeInHand(cluster: string, backends: readonly string[]): Promise<void>;
  /** Remembers, on disk, that the primary goes on without a replica to wait for, or no longer. */
  setAlone(cluster: string, alone: boolean): Promise<void>;
  /** Remembers, on disk, that the data of these is not what the primary has. */
  noteDiverged(cluster: string, found: readonly Divergence[]): Promise<void>;
  changeSettings(changes: Readonly<Record<string, BackendOverride>>): Promise<void>;
  rwWeight(backend: string): number;
  rememberedPrimary(cluster: string): string | null;
  /** The cluster as it is known now. */
  survey(cluster: string): Survey;
  /** Looks at a backend now; false when that did not succeed. */
  checkNow(backend: string): Promise<boolean>;
  /** The primary has changed: judge the rest of the cluster by the new one. */
  rejudge(cluster: string): void;
}
