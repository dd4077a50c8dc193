/**
 * The signals that end the program: the first asks for a graceful stop, a second means at once.
 *
 * Under npm a terminal's Ctrl-C arrives twice, from the terminal and passed on by npm, a moment apart;
 * so what follows within that moment is the same wish, not a second one.
 */
import type { Clock } from '../base/clock.ts';

const SAME_WISH_MS = 400;

/** What a signal at `nowMs` asks for, when the first one came at `firstMs` (null: this is the first). */
export function stopWish(firstMs: number | null, nowMs: number): 'graceful' | 'at-once' | 'same' {
  if (firstMs === null) return 'graceful';
  return nowMs - firstMs < SAME_WISH_MS ? 'same' : 'at-once';
}

export interface StopSignals {
  /** True once somebody wants the program to end. */
  readonly received: boolean;
  /** Says who stops from now on; told at once of a wish that came before. */
  handleWith(stop: (now: boolean) => void): void;
}

/** Listens from now on, so that a signal during a slow start is not lost. */
export function listenForStop(clock: Clock): StopSignals {
  let firstMs: number | null = null;
  let stop: (now: boolean) => void = () => undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const nowMs = clock.nowMs();
      const wish = stopWish(firstMs, nowMs);
      firstMs ??= nowMs;
      if (wish !== 'same') stop(wish === 'at-once');
    });
  }
  return {
    get received() {
      return firstMs !== null;
    },
    handleWith(handler) {
      stop = handler;
      if (firstMs !== null) handler(false);
    },
  };
}
