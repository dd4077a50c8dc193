/**
 * When to look at a server, and whether what we saw can be trusted. Pure: the monitor asks with the time
 * in hand.
 */
import type { ClusterConfig } from '../config/config.ts';
import { isWorrying, type HealthRecord } from './detector.ts';

export type CheckIntervals = Pick<ClusterConfig, 'checkIntervalMs' | 'checkFastIntervalMs' | 'fall'>;

/** The checks of one server so far, and what is known of those it depends on. */
export interface CheckState {
  readonly record: HealthRecord;
  readonly lastStartMs: number;
  /** When one was last started because somebody asked for it out of turn. */
  readonly lastUrgentMs: number;
  /** Checks that have not been answered yet. */
  readonly running: number;
  /** It is a replica of a primary that is in doubt, and its witness is wanted. */
  readonly isWitness: boolean;
}

/** How long after the start of the last check the next one starts. */
export function checkDelayMs(
  { record, isWitness }: Pick<CheckState, 'record' | 'isWitness'>,
  { checkFastIntervalMs, checkIntervalMs }: CheckIntervals,
): number {
  return isWitness || isWorrying(record) ? checkFastIntervalMs : checkIntervalMs;
}

/**
 * When the next check starts, whatever happens until then; null: not before one that runs has ended.
 *
 * 1. None runs: in its turn.
 * 2. One has not been answered in check_fast_interval: another one beside it, up to `fall` of them, so that a
 *    server that is frozen is found down by the time the first of them has failed, and two fast intervals.
 * 3. A server that is down already is asked by one at a time: what it has not accepted piles up there.
 */
export function nextCheckMs(state: CheckState, intervals: CheckIntervals): number | null {
  const { record, lastStartMs, running } = state;
  if (running === 0) return lastStartMs + checkDelayMs(state, intervals);
  return mayOverlap(record, running, intervals) ? lastStartMs + intervals.checkFastIntervalMs : null;
}

/**
 * When a check may start that somebody asks for out of turn (a worker's connection failed there, our own
 * broke, a replica has lost it); null: not before one that runs has ended.
 *
 * 1. At once, when all was well so far; but never more often than the fast interval, however many ask.
 * 2. A server that fails already is being looked at: its checks must not follow each other any faster.
 */
export function urgentCheckMs(state: CheckState, intervals: CheckIntervals): number | null {
  const { record, lastStartMs, lastUrgentMs, running } = state;
  if (running > 0 && !mayOverlap(record, running, intervals)) return null;
  const isFailing = record.failed > 0 || record.reach !== 'up';
  return (isFailing ? lastStartMs : lastUrgentMs) + intervals.checkFastIntervalMs;
}

function mayOverlap({ reach }: HealthRecord, running: number, { fall }: CheckIntervals): boolean {
  return (reach === 'up' || reach === 'suspect') && running < fall;
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
