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
import {
  describeFailure,
  isAlive,
  type Observation,
  type ReplicationFacts,
  type ServerFacts,
} from './observation.ts';

export type CheckLimits = Pick<ClusterConfig, 'rise' | 'fall' | 'maxLagMs' | 'readmitLagMs'>;

/** What is remembered of one server between checks. */
export interface HealthRecord {
  readonly reach: Reach;
  readonly reachReason: string;
  /** Good and failed checks in a row; one of them is 0. */
  readonly good: number;
  readonly failed: number;
  /** As last seen; null before the first good check. */
  readonly facts: ServerFacts | null;
  /** When replication was last seen working with a known lag, and that lag. */
  readonly lastInSync: { readonly atMs: number; readonly lagMs: number } | null;
  readonly lagMs: number | null;
  /** Taken out for its lag, until it is below the readmit threshold. */
  readonly lagging: boolean;
  readonly fresh: boolean;
  readonly replicationReason: string;
}

export const FIRST_RECORD: HealthRecord = {
  reach: 'unknown',
  reachReason: 'not checked yet',
  good: 0,
  failed: 0,
  facts: null,
  lastInSync: null,
  lagMs: null,
  lagging: false,
  fresh: false,
  replicationReason: '',
};

/** The record after one more check. */
export function judgeCheck(
  record: HealthRecord,
  observation: Observation,
  limits: CheckLimits,
): HealthRecord {
  switch (observation.kind) {
    case 'seen':
      return judgeGood({ ...record, facts: observation.facts }, limits);
    case 'failed':
      break;
  }
  const { failure } = observation;
  const words = describeFailure(failure);
  if (isAlive(failure)) {
    // It answers, we only cannot look: what was known stays, with the reason beside it.
    return { ...record, reach: aliveReach(record.reach), reachReason: words, good: 0, failed: 0 };
  }
  const failed = record.failed + 1;
  const isDown = record.reach === 'down' || record.reach === 'unknown' || failed >= limits.fall;
  return {
    ...record,
    reach: isDown ? 'down' : 'suspect',
    reachReason: isDown ? words : `${words}, check ${failed} of ${limits.fall}`,
    good: 0,
    failed,
  };
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
 *    reconnects, lag counts from the last good moment; an orphan's lag is 0 once it has applied all it had.
 */
export function judgeReplication(
  record: HealthRecord,
  primaryIsUp: boolean,
  limits: CheckLimits,
  nowMs: number,
): HealthRecord {
  const replication = record.facts?.replication ?? null;
  if (replication === null) {
    return { ...record, lastInSync: null, lagMs: null, lagging: false, fresh: false, replicationReason: '' };
  }
  if (record.reach !== 'up') return record;

  const measured = measureLag(record, replication, primaryIsUp, nowMs);
  const { lagMs } = measured;
  const lagging = isLagging(record.lagging, lagMs, limits);
  const broken = brokenReason(replication, primaryIsUp);
  const lagReason = lagging ? lagWords(lagMs, limits) : '';
  const oddity =
    replication.receiver !== 'running'
      ? primaryIsUp
        ? `its receiver is reconnecting${because(replication.receiverError)}`
        : 'orphan: it has lost its primary and serves what it has'
      : '';
  return {
    ...record,
    lastInSync: measured.lastInSync,
    lagMs,
    lagging,
    fresh: broken === '' && !lagging,
    replicationReason: broken || [lagReason, oddity].filter((part) => part !== '').join('; '),
  };
}

/** The record in the words of the topology. */
export function toBackendHealth(record: HealthRecord): BackendHealth {
  return {
    reach: record.reach,
    reachReason: record.reachReason,
    serverVersion: record.facts?.version ?? null,
    writable: record.facts !== null && !record.facts.readOnly,
    replicating: record.facts !== null && record.facts.replication !== null,
    lagMs: record.lagMs,
    fresh: record.fresh,
    replicationReason: record.replicationReason,
  };
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
  primaryIsUp: boolean,
  nowMs: number,
): Pick<HealthRecord, 'lagMs' | 'lastInSync'> {
  const works = replication.receiver === 'running' && replication.applier === 'running';
  if (works && replication.lagMs !== null) {
    return { lagMs: replication.lagMs, lastInSync: { atMs: nowMs, lagMs: replication.lagMs } };
  }
  // An orphan that has applied all it received can get no fresher: it is where its primary was.
  if (!primaryIsUp && replication.applier === 'running' && replication.drained) {
    return { lagMs: 0, lastInSync: { atMs: nowMs, lagMs: 0 } };
  }
  const { lastInSync } = record;
  return { lagMs: lastInSync === null ? null : lastInSync.lagMs + (nowMs - lastInSync.atMs), lastInSync };
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
