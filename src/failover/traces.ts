/** What a memory of the replicas of a primary is made of; `memory.ts` says what it is for, and makes it. */
import type { ServerFacts } from '../monitor/observation.ts';

/** What is remembered of one replica of one primary. */
export interface Trace {
  /** As it was seen last. */
  readonly facts: ServerFacts;
  /** The latest moment of which it is known to have all that the primary had then. */
  readonly settledMs: number;
  /** When it was last found to have less than before. */
  readonly forgotMs: number;
  /** When it was first found not to answer; null: it answers, as last seen. */
  readonly goneMs: number | null;
  /** When the two could last be compared, the primary, read-only after a crash, lacked what it had sent to this one. */
  readonly hasMore: boolean;
  /** It has of the primary's own what that one, which goes on taking writes, has not any more. */
  readonly hasOutlived: boolean;
  /** Null: it was never seen to acknowledge; Infinity: it does, as last seen; else when it was found not to any more. */
  readonly acknowledgedUntilMs: number | null;
}

/** What a primary was when it was last seen taking writes. */
export interface Reign {
  readonly facts: ServerFacts;
  /** When that look began. */
  readonly askedMs: number;
  /**
   * Since when, at each look, all replicas that were connected and acknowledge could be asked, and no commit waited for
   * others; null: that was not so at this one.
   */
  readonly accountedSinceMs: number | null;
}

/** By the name of a primary: a promotion may be taken back, so each has its own. */
export interface Memory {
  /** And of its replica. */
  readonly traces: ReadonlyMap<string, ReadonlyMap<string, Trace>>;
  readonly reigns: ReadonlyMap<string, Reign>;
}

export const NO_MEMORY: Memory = { traces: new Map(), reigns: new Map() };
