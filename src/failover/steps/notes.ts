/**
 * What a promotion has learnt so far: what a later step, or an undoing, needs of an earlier one. It is kept in the
 * journal, as a promotion that was cut off is taken up by another process.
 */
import type { Handover, LogPlace } from '../../topology/state-file.ts';
import type { PromotionWorld } from './world.ts';

/** What a promotion has learnt so far. */
export interface Notes {
  /** Who is promoted: in a failover the election may take another than was thought at first. */
  readonly target: string;
  /** The old primary had been read-only before we came; null: that has not been read, and nothing was changed. */
  readonly wasReadOnly: boolean | null;
  /** All that the old primary has in its binary log, once nobody can write there any more. */
  readonly fencedPosition: string | null;
  /** In a failover, all that the new primary had, applied or only received, when it was elected; absent: not known. */
  readonly electedWith?: string;
  /** The same where there are no global ids: the end of its log. */
  readonly fencedPlace?: LogPlace | null;
  /** Without global ids: where the new primary stands, in the old one's log and in its own; and before this promotion. */
  readonly handover?: Handover | null;
  readonly handoverBefore?: Handover | null;
  /** Replicas whose receivers were stopped. */
  readonly stopped: readonly string[];
  /** Whom to remember again when the record has to be taken back. */
  readonly rememberedBefore: string | null;
  /** When a primary had been replaced last without an operator. */
  readonly failoverWallMsBefore: number | null;
  /** The state file may name the new primary. */
  readonly recordTried: boolean;
  /** The new primary may have been made writable. */
  readonly writableTried: boolean;
  /** What was lost, in words; empty: nothing that is known of. */
  readonly loss: string;
}

/** Of a promotion that begins. */
export function firstNotes(world: PromotionWorld, cluster: string, target: string): Notes {
  return {
    target,
    wasReadOnly: null,
    fencedPosition: null,
    fencedPlace: null,
    handover: null,
    handoverBefore: world.handoverOf(cluster),
    stopped: [],
    rememberedBefore: world.rememberedPrimary(cluster),
    failoverWallMsBefore: world.failoverWallMs(cluster),
    recordTried: false,
    writableTried: false,
    loss: '',
  };
}
