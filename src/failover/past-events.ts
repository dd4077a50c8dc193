/**
 * What SHOW EVENTS begins with after a restart: the promotions that have ended, as far back as the journal goes, at
 * the times that they have there; then who is remembered as the primary of which epoch. Pure.
 */
import { epochOf } from '../topology/assemble.ts';
import type { DurableState } from '../topology/state-file.ts';
import type { JournalEntry } from './journal.ts';

export interface PastEvent {
  readonly event: string;
  readonly subject: string;
  readonly detail: string;
  /** Unix time in milliseconds; null: that is how it is now. */
  readonly wallMs: number | null;
}

/** The oldest first. */
export function pastEvents(
  entries: readonly JournalEntry[],
  state: DurableState,
  clusters: readonly string[],
): PastEvent[] {
  const remembered = clusters.flatMap((cluster) => {
    const primary = state.clusters[cluster]?.primary;
    if (primary === undefined) return [];
    const detail = `dbproxy starts, and remembers ${primary} as the primary of epoch ${epochOf(state, cluster)}`;
    return [{ event: 'cluster.remembered', subject: cluster, detail, wallMs: null }];
  });
  return [...promotionsOf(entries), ...remembered];
}

function promotionsOf(entries: readonly JournalEntry[]): PastEvent[] {
  const runs = Map.groupBy(entries, ({ run }) => run);
  return entries.flatMap((closed) => {
    if (closed.event !== 'closed') return [];
    const own = runs.get(closed.run) ?? [];
    const opened = own.find((entry) => entry.event === 'opened');
    const isTakenBack = own.some(({ event }) => event === 'failed' || event === 'undone');
    const ending = closed.result === 'done' ? 'done' : isTakenBack ? 'undone' : 'closed';
    const epoch = closed.result === 'done' ? '' : `; the epoch was ${closed.epoch} then`;
    // Of the last one before the file was set aside there is the end alone.
    const because = opened === undefined ? '' : `; because: ${opened.decision.because}`;
    return [
      {
        event: `promote.${ending}`,
        subject: opened?.decision.target ?? closed.cluster,
        detail: `${closed.detail}${epoch}${because}`,
        wallMs: closed.wallMs,
      },
    ];
  });
}
