/**
 * One server as those who act on it see it: what may be done to it, without the words it takes. `sql-server.ts` has
 * the words; the simulator has a server that is none.
 *
 * Each act ends within its bound, or rejects; one that was rejected may have been done all the same, so every act
 * can be done twice.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { ServerFacts } from '../monitor/observation.ts';

/** Which half of semi-synchronous replication. */
export type SemiSyncSide = 'primary' | 'replica';

/** A promotion as it is written down on the servers. */
export interface EpochNote {
  readonly cluster: string;
  readonly epoch: number;
  readonly backend: string;
}

export interface ServerControl {
  readonly backend: BackendConfig;
  /** What it is now. */
  look(timeoutMs: number): Promise<ServerFacts>;
  /**
   * Nobody may write any more, from the moment that it resolves. Sessions of others are ended first when
   * `endsSessions`: commits that wait for a replica would keep the server from becoming read-only, and their
   * clients must not be told that they succeeded.
   */
  makeReadOnly(timeoutMs: number, endsSessions: boolean): Promise<void>;
  makeWritable(): Promise<void>;
  /** Receives nothing more; goes on applying what it has. */
  stopReceiver(): Promise<void>;
  /** Receives and applies, from the source it has. */
  startReplication(): Promise<void>;
  /** Answers what was odd about it, in words. `sourceIsGone`: the rest of a transaction may never come. */
  stopReplication(sourceIsGone: boolean, timeoutMs: number): Promise<string>;
  /** Follows nobody, also after a restart. */
  forgetSource(): Promise<void>;
  /** Waits for a moment, and answers whether it has applied all of `position` (as `ServerFacts.position`). */
  hasApplied(position: string): Promise<boolean>;
  /**
   * Follows `source` from where it stands; resolves when its receiver and applier run, within `timeoutMs`.
   * `takesBackOwn`: it has to take from the source what it has written itself and lost; rejects where it would not.
   */
  follow(source: BackendConfig, timeoutMs: number, takesBackOwn: boolean): Promise<void>;
  /** Switches one side of semi-synchronous replication; does nothing where it is so already, rejects where it is not installed. */
  setSemiSync(side: SemiSyncSide, on: boolean): Promise<void>;
  /** Writes a promotion down, in a table that is made when it is not there. Goes past read_only. */
  noteEpoch(note: EpochNote): Promise<void>;
  close(): void;
}

/** Connects to servers; rejects when that does not succeed within a bound. */
export type OpenServer = (backend: BackendConfig, cluster: ClusterConfig) => Promise<ServerControl>;
