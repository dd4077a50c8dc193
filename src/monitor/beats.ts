/**
 * Lag by beats: the monitor writes a row on the primary again and again, and looks at which of these a replica
 * has. A replica that has the last one lags by less than the time between two; one that has not lags since the
 * first that it lacks was written.
 *
 * All times are of one clock, our own monotonic one. The wall-clock time in the row is only the name of the
 * beat, and grows from beat to beat even when that clock is set back: so neither the clocks of the servers nor
 * a jump of ours can take a replica for a lagging one.
 */

/** One row that was written, and when the primary had confirmed it. */
export interface Beat {
  readonly atMs: number;
  readonly writtenMs: number;
}

/** The beats of one cluster, the oldest first. */
export interface Beats {
  readonly beats: readonly Beat[];
  /** Older ones have been forgotten. */
  readonly isFull: boolean;
}

export const NO_BEATS: Beats = { beats: [], isFull: false };

/** Four minutes, at the usual rate. */
const BEATS_KEPT = 1_024;
/** Beats may be late by this much before lag is measured otherwise. */
const PAUSE_MIN_MS = 2_000;

/** The beats with one more. */
export function withBeat({ beats, isFull }: Beats, beat: Beat): Beats {
  const all = [...beats, beat];
  return all.length > BEATS_KEPT ? { beats: all.slice(1), isFull: true } : { beats: all, isFull };
}

/** The name of the next beat. */
export function nextBeatMs({ beats }: Beats, wallMs: number): number {
  return Math.max(Math.round(wallMs), (beats.at(-1)?.atMs ?? 0) + 1);
}

/** True while beats are being written; when they are not, nothing can be told from the last one. */
export function areWritten({ beats }: Beats, intervalMs: number, nowMs: number): boolean {
  const last = beats.at(-1);
  return last !== undefined && nowMs - last.writtenMs <= Math.max(PAUSE_MIN_MS, 4 * intervalMs);
}

/**
 * How far a replica is behind that showed the beat `shownMs` when it was asked at `askedMs`; null when there
 * was nothing that it could have shown.
 */
export function lagByBeats({ beats, isFull }: Beats, shownMs: number | null, askedMs: number): number | null {
  const due = beats.filter(({ writtenMs }) => writtenMs <= askedMs);
  const last = due.at(-1);
  if (last === undefined) return null;
  const shown = shownMs ?? -Infinity;
  const lacking = due.find(({ atMs }) => atMs > shown);
  if (lacking === undefined) return 0;
  const lagMs = askedMs - lacking.writtenMs;
  // Longer ago than we remember: then the names of the beats tell it roughly.
  const isForgotten = isFull && lacking === due[0] && shownMs !== null;
  return isForgotten ? Math.max(lagMs, last.atMs - shownMs) : lagMs;
}
