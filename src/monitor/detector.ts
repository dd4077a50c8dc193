/**
 * From observations to health. Two pure questions, apart:
 *
 * `judgeCheck`: does the server answer? One check at a time, with rise and fall, so that one lost packet
 *   takes nothing out and one lucky answer brings nothing back.
 * `judgeReplication`: may it serve reads? That depends on its replication *and* on whether the cluster's
 *   primary is up, because a replica whose primary died has lost nothing it could have had.
 */
import type { ClusterConfig } from '../config/config.ts';
import type { BackendHealth, Reach } from '../topology/health.ts';
import { areWritten, lagByBeats, type Beats } from './beats.ts';
import {
  describeFailure,
  isAlive,
  type Observation,
  type ReplicationFacts,
  type ServerFacts,
} from './observation.ts';
import type { WriteOutcome } from './write-outcome.ts';

export type CheckLimits = Pick<
  ClusterConfig,
  'rise' | 'fall' | 'maxLagMs' | 'readmitLagMs' | 'checkIntervalMs' | 'checkTimeoutMs' | 'heartbeatIntervalMs'
>;

/** The cluster's primary as far as its replicas are judged by it. */
export interface PrimarySight {
  readonly isUp: boolean;
  /** When it last answered well; null when it never has, or when no primary is known. */
  readonly seenMs: number | null;
  /** What was written on it to measure lag by, and why nothing is; null when nothing is to be. */
  readonly beats: { readonly written: Beats; readonly problem: string } | null;
}

/** What is remembered of one server between checks. */
export interface HealthRecord {
  readonly reach: Reach;
  readonly reachReason: string;
  /** Good and failed checks in a row; one of them is 0. */
  readonly good: number;
  readonly failed: number;
  /** As last seen; null before the first good check. */
  readonly facts: ServerFacts | null;
  /** When it was last seen so, and when that check had begun. */
  readonly seenMs: number | null;
  readonly askedMs: number | null;
  /** It has been running since then at the latest. */
  readonly startedMs: number | null;
  /** When replication was last seen working with a known lag, and that lag. */
  readonly lastInSync: { readonly atMs: number; readonly lagMs: number } | null;
  readonly lagMs: number | null;
  /** Taken out for its lag, until it is below the readmit threshold. */
  readonly lagging: boolean;
  readonly fresh: boolean;
  readonly replicationReason: string;
  /** When its receiver was last seen to have got something from its source; null when it was never seen running. */
  readonly receiverSeenMs: number | null;
  /** How often it was seen to have been restarted, and when last. */
  readonly restarts: number;
  readonly restartedMs: number | null;
  /** Why we ourselves cannot look at it, which says nothing of the server; null while we can. */
  readonly checkerBroken: string | null;
  /** Why it refuses our account, be it a new login alone; null while it does not, as far as is known. */
  readonly accountTrouble: string | null;
  /** Since when, how often in a row and why it takes no writes, by write_check; null while it does, or is not asked. */
  readonly writeFailing: WriteFailing | null;
}

export interface WriteFailing {
  readonly sinceMs: number;
  readonly count: number;
  readonly reason: string;
  /** It waits for a lock that somebody holds. */
  readonly isLocked: boolean;
}

export const FIRST_RECORD: HealthRecord = {
  reach: 'unknown',
  reachReason: 'not checked yet',
  good: 0,
  failed: 0,
  facts: null,
  seenMs: null,
  askedMs: null,
  startedMs: null,
  lastInSync: null,
  lagMs: null,
  lagging: false,
  fresh: false,
  replicationReason: '',
  receiverSeenMs: null,
  restarts: 0,
  restartedMs: null,
  checkerBroken: null,
  accountTrouble: null,
  writeFailing: null,
};

/** The record after one more check, which began at `startMs` and ended at `nowMs`. */
export function judgeCheck(
  record: HealthRecord,
  observation: Observation,
  limits: CheckLimits,
  nowMs: number,
  startMs = nowMs,
): HealthRecord {
  switch (observation.kind) {
    case 'seen':
      return judgeGood(take(record, observation, nowMs, startMs), limits);
    case 'failed':
      break;
  }
  const { failure } = observation;
  const words = describeFailure(failure);
  if (failure.kind === 'checker_broken') {
    // Neither a good check nor a failed one: what was known stays, and grows old.
    return { ...record, reachReason: words, good: 0, checkerBroken: words };
  }
  if (isAlive(failure)) {
    // It answers, we only cannot look: what was known stays, with the reason beside it.
    const reach = aliveReach(record.reach);
    const accountTrouble = failure.kind === 'access_denied' ? failure.message : record.accountTrouble;
    return {
      ...record,
      reach,
      reachReason: words,
      good: 0,
      failed: 0,
      checkerBroken: null,
      accountTrouble,
    };
  }
  const failed = record.failed + 1;
  const isDown = record.reach === 'down' || record.reach === 'unknown' || failed >= limits.fall;
  return {
    ...record,
    reach: isDown ? 'down' : 'suspect',
    reachReason: isDown ? words : `${words}, check ${failed} of ${limits.fall}`,
    good: 0,
    failed,
    checkerBroken: null,
    // A server that is gone takes no write either: that is no finding of its own.
    writeFailing: isDown ? null : record.writeFailing,
  };
}

/** The record after a write that began at `startMs`. */
export function judgeWrite(record: HealthRecord, outcome: WriteOutcome, startMs: number): HealthRecord {
  switch (outcome.kind) {
    case 'written':
      return { ...record, writeFailing: null };
    case 'failing':
    case 'locked': {
      const isLocked = outcome.kind === 'locked';
      const before = record.writeFailing?.isLocked === isLocked ? record.writeFailing : null;
      const { sinceMs, count } = before ?? { sinceMs: startMs, count: 0 };
      return { ...record, writeFailing: { sinceMs, count: count + 1, reason: outcome.reason, isLocked } };
    }
    case 'unreachable':
      return record;
    case 'hopeless':
      return { ...record, writeFailing: null };
  }
}

/** The record with new facts, and what they mean beside the old ones. */
function take(
  record: HealthRecord,
  { facts, metMs, accountTrouble = null }: Extract<Observation, { kind: 'seen' }>,
  nowMs: number,
  startMs: number,
): HealthRecord {
  const restarted = wasRestarted(record, facts, nowMs);
  return {
    ...record,
    facts,
    seenMs: nowMs,
    askedMs: startMs,
    startedMs: latestStart(facts, nowMs, metMs),
    checkerBroken: null,
    accountTrouble,
    receiverSeenMs: whenReceiverWasSeen(record, facts, nowMs),
    restarts: record.restarts + (restarted ? 1 : 0),
    restartedMs: restarted ? nowMs : record.restartedMs,
  };
}

/** When it has started at the latest: by its uptime, a difference of whole seconds that may be one too many, or when we met. */
function latestStart(facts: ServerFacts, nowMs: number, metMs = nowMs): number {
  return Math.min(nowMs - (facts.uptimeSeconds - 1) * 1000, metMs);
}

/** The record after a look over another connection, which is none of the checks: what the server is now. */
export function asSeenNow(record: HealthRecord, facts: ServerFacts, nowMs: number): HealthRecord {
  return { ...record, facts, startedMs: startAsOf(record, facts, nowMs), reach: 'up', reachReason: '' };
}

/** When it has started, by such a look: it was restarted when that is later than could be taken for rounding. */
function startAsOf({ startedMs }: HealthRecord, facts: ServerFacts, nowMs: number): number {
  const latestMs = latestStart(facts, nowMs);
  const isSame = startedMs !== null && latestMs <= startedMs + UPTIME_TOLERANCE_SECONDS * 1000;
  return isSame ? startedMs : latestMs;
}

/** What a server's uptime may be behind by rounding and by the time of a check. */
const UPTIME_TOLERANCE_SECONDS = 2;

/**
 * A server was restarted when
 * 1. our connection to it is another one (a server whose clock was set back has kept the old one);
 * 2. and it runs for less time than has passed since it was last seen.
 */
function wasRestarted({ facts: before, seenMs }: HealthRecord, facts: ServerFacts, nowMs: number): boolean {
  if (before === null || seenMs === null || before.connectionId === facts.connectionId) return false;
  const expectedSeconds = before.uptimeSeconds + (nowMs - seenMs) / 1000;
  return facts.uptimeSeconds < expectedSeconds - UPTIME_TOLERANCE_SECONDS;
}

/** A receiver that runs has got something when its signs are others than before, or when it did not run before. */
function whenReceiverWasSeen(record: HealthRecord, facts: ServerFacts, nowMs: number): number | null {
  const now = facts.replication;
  if (now?.receiver !== 'running') return record.receiverSeenMs;
  const before = record.facts?.replication;
  const isNew = before?.receiver !== 'running' || before.signs !== now.signs;
  return isNew ? nowMs : record.receiverSeenMs;
}

function judgeGood(record: HealthRecord, limits: CheckLimits): HealthRecord {
  const good = record.good + 1;
  const isBack = record.reach !== 'down' || good >= limits.rise;
  return {
    ...record,
    reach: isBack ? 'up' : 'down',
    reachReason: isBack ? '' : `answers again, check ${good} of ${limits.rise}`,
    good,
    failed: 0,
  };
}

/** A server that only denies us entry is no worse than it was; one never seen can be no better than suspect. */
function aliveReach(reach: Reach): Reach {
  return reach === 'unknown' ? 'suspect' : reach;
}

/**
 * The record with its replication judged at `nowMs`.
 *
 * A replica is fresh when
 * 1. its applier runs;
 * 2. its receiver runs, or is reconnecting, or the primary is down or not known (then there is nothing to
 *    receive: the replica is an orphan, and goes on);
 * 3. its lag is within bounds: taken out above max_lag, back at readmit_lag or below. While the receiver
 *    reconnects, lag counts from the last good moment; an orphan's lag is 0 once it has applied all it had,
 *    if it was in sync when its primary was last seen. Facts that could not be renewed grow old likewise.
 */
export function judgeReplication(
  record: HealthRecord,
  primary: PrimarySight,
  limits: CheckLimits,
  nowMs: number,
): HealthRecord {
  const replication = record.facts?.replication ?? null;
  if (replication === null) {
    return { ...record, lastInSync: null, lagMs: null, lagging: false, fresh: false, replicationReason: '' };
  }
  if (record.reach === 'down' || record.reach === 'unknown') return record;

  const measured = measureLag(record, replication, primary, limits, nowMs);
  const { lagMs } = measured;
  const lagging = isLagging(record.lagging, lagMs, limits);
  const broken = brokenReason(replication, primary.isUp);
  const lagReason = lagging ? lagWords(lagMs, limits) : '';
  const oddity =
    replication.receiver !== 'running'
      ? primary.isUp
        ? `its receiver is reconnecting${because(replication.receiverError)}`
        : 'orphan: it has lost its primary and serves what it has'
      : '';
  const unmeasured = primary.isUp ? (primary.beats?.problem ?? '') : '';
  const noBeats =
    unmeasured === '' ? '' : `its lag is what the server says, as no heartbeat is written: ${unmeasured}`;
  return {
    ...record,
    lastInSync: measured.lastInSync,
    lagMs,
    lagging,
    fresh: broken === '' && !lagging,
    replicationReason: broken || [lagReason, oddity, noBeats].filter((part) => part !== '').join('; '),
  };
}

/**
 * True when a replica has missed nothing it could have had of a primary last seen well at `primarySeenMs`:
 * it was in sync at about that time (the two are checked apart). True also when the primary was never seen,
 * as then nothing speaks against it.
 */
export function wasInSync(
  lastInSync: HealthRecord['lastInSync'],
  primarySeenMs: number | null,
  { checkIntervalMs, checkTimeoutMs }: Pick<CheckLimits, 'checkIntervalMs' | 'checkTimeoutMs'>,
): boolean {
  if (primarySeenMs === null) return true;
  return lastInSync !== null && lastInSync.atMs >= primarySeenMs - checkIntervalMs - checkTimeoutMs;
}

/** Up by a good check: not suspect, not merely known from before. */
export function isSeenWell(record: HealthRecord): boolean {
  return record.reach === 'up' && record.reachReason === '';
}

/** The record in the words of the topology. */
export function toBackendHealth(record: HealthRecord): BackendHealth {
  return {
    reach: record.reach,
    reachReason: record.reachReason,
    serverVersion: record.facts?.version ?? null,
    greeting: record.facts?.greeting ?? null,
    sqlMode: record.facts?.sqlMode ?? null,
    gtidPosition: positionOf(record.facts),
    writable: record.facts !== null && !record.facts.readOnly,
    replicating: record.facts !== null && record.facts.replication !== null,
    lagMs: record.lagMs,
    fresh: record.fresh,
    replicationReason: record.replicationReason,
  };
}

/** How far a server has come: as a replica by what it has applied, otherwise by what it has logged. */
function positionOf(facts: ServerFacts | null): string | null {
  if (facts === null || !facts.hasGtid) return null;
  const { position, replicatedPosition, replication } = facts;
  const reached = replication === null ? position : replicatedPosition || position;
  return reached === '' ? null : reached;
}

/** True when something about the server calls for the fast interval. */
export function isWorrying(record: HealthRecord): boolean {
  if (record.reach !== 'up' || record.lagging) return true;
  const replication = record.facts?.replication ?? null;
  return replication !== null && (replication.receiver !== 'running' || replication.applier !== 'running');
}

/** Why replication is broken as far as reads go; empty when it is not. */
function brokenReason(replication: ReplicationFacts, primaryIsUp: boolean): string {
  if (replication.applier === 'stopped') {
    const error = because(replication.applierError);
    return `replication is stopped: its applier does not run${error || ' (STOP SLAVE?)'}`;
  }
  if (replication.receiver === 'stopped' && primaryIsUp) {
    const error = because(replication.receiverError);
    return `replication is stopped: its receiver does not run although the primary is up${error}`;
  }
  return '';
}

function measureLag(
  record: HealthRecord,
  replication: ReplicationFacts,
  primary: PrimarySight,
  limits: CheckLimits,
  nowMs: number,
): Pick<HealthRecord, 'lagMs' | 'lastInSync'> {
  const { lastInSync } = record;
  if (isCurrent(record)) {
    const works = replication.receiver === 'running' && replication.applier === 'running';
    const lagMs = works ? lagOf(record, replication, primary, limits, nowMs) : null;
    if (lagMs !== null) return { lagMs, lastInSync: { atMs: record.seenMs ?? nowMs, lagMs } };
    // An orphan that has applied all it received can get no fresher: it is where its primary was.
    const isCaughtUp = replication.applier === 'running' && replication.drained;
    if (!primary.isUp && isCaughtUp && wasInSync(lastInSync, primary.seenMs, limits)) {
      return { lagMs: 0, lastInSync: { atMs: record.seenMs ?? nowMs, lagMs: 0 } };
    }
  }
  return { lagMs: lastInSync === null ? null : lastInSync.lagMs + (nowMs - lastInSync.atMs), lastInSync };
}

/** By beats while they are written, and otherwise as the server says. */
function lagOf(
  { askedMs, facts }: HealthRecord,
  { lagMs }: ReplicationFacts,
  { beats }: PrimarySight,
  { heartbeatIntervalMs }: CheckLimits,
  nowMs: number,
): number | null {
  const shown = facts?.beat ?? null;
  if (shown === null || beats === null || askedMs === null) return lagMs;
  if (!areWritten(beats.written, heartbeatIntervalMs, nowMs)) return lagMs;
  return lagByBeats(beats.written, shown.atMs, askedMs) ?? lagMs;
}

/** Its facts are from the last check, not from one before that failed. */
function isCurrent(record: HealthRecord): boolean {
  return record.good > 0;
}

/** A lag that is not known at all counts as too much. */
function isLagging(wasLagging: boolean, lagMs: number | null, limits: CheckLimits): boolean {
  if (lagMs === null) return true;
  return wasLagging ? lagMs > limits.readmitLagMs : lagMs > limits.maxLagMs;
}

/** Without the number itself, which changes with every check; SHOW BACKENDS has it in lag_ms. */
function lagWords(lagMs: number | null, limits: CheckLimits): string {
  if (lagMs === null) return 'its lag is not known';
  const readmit = `takes reads again at readmit_lag = ${limits.readmitLagMs} ms`;
  return lagMs > limits.maxLagMs
    ? `lags more than max_lag = ${limits.maxLagMs} ms; ${readmit}`
    : `catching up; ${readmit}`;
}

function because(error: string): string {
  return error === '' ? '' : `: ${error}`;
}
