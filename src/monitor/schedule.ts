/**
 * When to look at a server, and whether what we saw can be trusted. Pure: the monitor asks with the time
 * in hand.
 */
import type { ClusterConfig } from '../config/config.ts';
import { isWorrying, type HealthRecord } from './detector.ts';

export type CheckIntervals = Pick<ClusterConfig, 'checkIntervalMs' | 'checkFastIntervalMs'>;

/** How long after the start of the last check the next one starts. */
export function checkDelayMs(record: HealthRecord, intervals: CheckIntervals): number {
  return isWorrying(record) ? intervals.checkFastIntervalMs : intervals.checkIntervalMs;
}

/**
 * How long until a check that somebody asks for out of turn (a worker's connection failed there): at
 * once, but never more often than the fast interval, however many ask.
 */
export function urgentDelayMs(lastStartMs: number, intervals: CheckIntervals, nowMs: number): number {
  return Math.max(0, lastStartMs + intervals.checkFastIntervalMs - nowMs);
}

/** How often the guard expects to be called. */
export const STALL_TICK_MS = 100;

/** A tick that is later than this means that we stood still, not the others. */
const STALL_THRESHOLD_MS = 400;

/**
 * The stall guard. A process that was stopped, swapped out or busy sees every timer fire at once when it
 * comes back, and would take all servers for dead. So it ticks; a tick that is late is a stall, and a
 * check that failed while one happened says nothing about the server.
 */
export class StallGuard {
  #lastTickMs: number;
  #stallEndMs = -Infinity;

  constructor(nowMs: number) {
    this.#lastTickMs = nowMs;
  }

  /** The regular tick; answers how long the stall was that it found, or 0. */
  tick(nowMs: number): number {
    const lateMs = nowMs - this.#lastTickMs - STALL_TICK_MS;
    this.#lastTickMs = nowMs;
    if (lateMs <= STALL_THRESHOLD_MS) return 0;
    this.#stallEndMs = nowMs;
    return lateMs;
  }

  /** True when a stall touched the time from `startMs` to `nowMs`, whether or not a tick has told yet. */
  stalledSince(startMs: number, nowMs: number): boolean {
    const overdueMs = nowMs - this.#lastTickMs - STALL_TICK_MS;
    return overdueMs > STALL_THRESHOLD_MS || this.#stallEndMs >= startMs;
  }
}
