/**
 * One server as those who act on it see it: what may be done to it, without the words it takes. `sql-server.ts` has
 * the words; the simulator has a server that is none.
 *
 * Each act ends within its bound, or rejects; one that was rejected may have been done all the same, so every act
 * can be done twice.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { FilePosition, ServerFacts } from '../monitor/observation.ts';

/** Bound of one look, where an act is not of its own time. */
export const LOOK_TIMEOUT_MS = 2_000;

/** What was seen before a server is made writable may not hold any more after it: at most. */
export const LET_LOOSE_WITHIN_MS = 2_000;

/** Which half of semi-synchronous replication. */
export type SemiSyncSide = 'primary' | 'replica';

/** A promotion as it is written down on the servers. */
export interface EpochNote {
  readonly cluster: string;
  readonly epoch: number;
  readonly backend: string;
}

/**
 * What a binary log has after a place: no changes; some that the server has written itself, first of all the note of
 * an epoch or not; some that it has from others; or the log ends before that place, or its file is gone.
 */
export type LogAfter = 'nothing' | 'epoch_note' | 'own_changes' | 'changes_of_others' | 'is_short';

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
  /** Leaves it read-only, and rejects, when the server comes to it later than `withinMs` (LET_LOOSE_WITHIN_MS) from now: the way there may be cut. */
  makeWritable(withinMs?: number): Promise<void>;
  /** Goes on in a new file of its binary log, where that is safe. Who connects next is there at once: servers look for its place from the file's start. */
  beginNewLog(): Promise<void>;
  /** Receives nothing more; goes on applying what it has. */
  stopReceiver(): Promise<void>;
  /** Receives and applies, from the source it has. */
  startReplication(): Promise<void>;
  /** Answers what was odd about it, in words. `sourceIsGone`: the rest of a transaction may never come. */
  stopReplication(sourceIsGone: boolean, timeoutMs: number): Promise<string>;
  /** Follows nobody, also after a restart. */
  forgetSource(): Promise<void>;
  /**
   * Waits for a moment, and answers whether it has applied all of `position` (as `ServerFacts.position`), or all up to
   * a place in its source's log.
   */
  hasApplied(position: string | FilePosition): Promise<boolean>;
  /**
   * Has its applier go on exactly to a place in its source's log and stop there; rejects when it does not get there
   * within `timeoutMs`, or when it is overtaken. `receives`: from its source, too; otherwise from what it has received.
   */
  bringTo(
    place: FilePosition,
    receives: boolean,
    timeoutMs: number,
    isOvertaken?: () => boolean,
  ): Promise<void>;
  /** What its own log has after a place in it. */
  logAfter(place: FilePosition): Promise<LogAfter>;
  /**
   * Follows `source` from where it stands; resolves when its receiver and applier run, within `timeoutMs`.
   * `takesBackOwn`: it has to take from the source what it has written itself and lost; rejects where it would not.
   * `place`: without global ids, where in the source's log it begins; null with them.
   * `isOvertaken`: nobody waits for it to run any more, so it rejects as soon as all has been told to the server.
   */
  follow(
    source: BackendConfig,
    timeoutMs: number,
    takesBackOwn: boolean,
    place: FilePosition | null,
    isOvertaken?: () => boolean,
  ): Promise<void>;
  /** Switches one side of semi-synchronous replication; does nothing where it is so already, rejects where it is not installed. */
  setSemiSync(side: SemiSyncSide, on: boolean): Promise<void>;
  /** Writes a promotion down, in a table that is made when it is not there. Goes past read_only. */
  noteEpoch(note: EpochNote): Promise<void>;
  close(): void;
}

/** Connects to servers; rejects when that does not succeed within a bound. */
export type OpenServer = (backend: BackendConfig, cluster: ClusterConfig) => Promise<ServerControl>;
