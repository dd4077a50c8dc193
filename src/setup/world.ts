/**
 * What setting up servers needs from the rest of the control plane. The supervisor gives the real thing; the demo,
 * which sets its servers up before there is a supervisor, one that remembers nothing.
 */
import type { Clock } from '../base/clock.ts';
import type { SetupReport } from '../ipc/operations.ts';

export interface SetupWorld {
  readonly clock: Clock;
  /** Aborted when it is to end (dbproxy stops, a failover): what is under way is taken back, and nothing more is begun. */
  readonly stopping?: AbortSignal;
  /** A server that was found to be empty is about to be filled. */
  beginFilling?(server: string): Promise<void>;
  /** It is filled; from now on other servers of the cluster may be changed, too. */
  beginJoining?(): Promise<void>;
  rememberedPrimary(cluster: string): string | null;
  /** The epoch that the remembered primary leads in. */
  epoch(cluster: string): number;
  /** Remembers the primary under the next epoch, on disk; answers that epoch. */
  recordPromotion(cluster: string, primary: string): Promise<number>;
  /** As it is now: the file's, or what an operator has set since. */
  rwWeight(backend: string): number;
  /** Looks at a backend now. */
  checkNow(backend: string): Promise<unknown>;
  /** The primary has changed: judge the rest of the cluster by it. */
  rejudge(cluster: string): void;
  /** A step has come to its end. */
  onReport(cluster: string, report: SetupReport): void;
  /** What a long step has to tell meanwhile. */
  onProgress(cluster: string, server: string, detail: string): void;
}
