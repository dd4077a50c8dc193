/**
 * What a replica bears witness of: whether its receiver still hears its source. It is the second of the three
 * witnesses for a dead primary, and it counts for nothing when the replica could not know.
 */
import type { CheckLimits, HealthRecord } from './detector.ts';
import { isSourceLost } from './observation.ts';

/** What a replica's receiver says of its source. */
export type Witness = 'receives' | 'silent' | 'lost' | 'answered' | 'unknown';

type Waits = Pick<CheckLimits, 'checkIntervalMs' | 'checkTimeoutMs'>;

/** A source that speaks less often than this cannot be missed soon enough to be of use. */
const HEARTBEAT_USEFUL_MS = 1_000;
/** Silence that is shorter than this means nothing. */
const SILENCE_MIN_MS = 1_000;

/**
 * What the receiver of a replica bears witness of, as last seen:
 *
 * | witness  | its receiver                                                                              |
 * |----------|-------------------------------------------------------------------------------------------|
 * | receives | runs, and has got something lately                                                        |
 * | silent   | runs, and between two checks has got nothing for longer than its source is ever silent    |
 * | lost     | does not run, and says that it cannot reach its source                                    |
 * | answered | does not run, and says what its source answered it (a wrong password): the source lives   |
 * | unknown  | was stopped, or just connects, or its source may be silent for longer than we can wait,   |
 * |          | or what we know of it is old                                                              |
 */
export function receiverWitness(record: HealthRecord, limits: Waits, nowMs: number): Witness {
  const replication = record.facts?.replication ?? null;
  const { seenMs, receiverSeenMs } = record;
  if (replication === null || seenMs === null || isOld(record, limits, nowMs)) return 'unknown';
  const { receiver, receiverErrno, heartbeatPeriodMs } = replication;
  if (receiver !== 'running') {
    if (receiverErrno === 0) return 'unknown';
    if (isSourceLost(receiverErrno)) return 'lost';
    return receiver === 'connecting' ? 'answered' : 'unknown';
  }
  if (heartbeatPeriodMs === null || heartbeatPeriodMs === 0 || heartbeatPeriodMs > HEARTBEAT_USEFUL_MS) {
    return 'unknown';
  }
  // Both are times of checks, so that our own pauses cannot look like its silence.
  const silentMs = seenMs - (receiverSeenMs ?? seenMs);
  return silentMs > Math.max(2 * heartbeatPeriodMs, SILENCE_MIN_MS) ? 'silent' : 'receives';
}

/** Why its receiver bears no witness; only of one that is `unknown`. */
export function whyItCannotTell(record: HealthRecord, limits: Waits, nowMs: number): string {
  const replication = record.facts?.replication ?? null;
  if (replication === null) return 'it replicates from nobody';
  if (isOld(record, limits, nowMs)) return 'it has not been looked at since';
  switch (replication.receiver) {
    case 'stopped':
      return replication.receiverError === ''
        ? 'its receiver is stopped, so start it'
        : `its receiver has stopped (${replication.receiverError})`;
    case 'connecting':
      return 'it is just connecting';
    case 'running':
      return 'replication speaks too seldom (heartbeat period; see doctor)';
  }
}

function isOld({ seenMs }: HealthRecord, { checkIntervalMs, checkTimeoutMs }: Waits, nowMs: number): boolean {
  return seenMs === null || nowMs - seenMs > checkIntervalMs + checkTimeoutMs;
}
