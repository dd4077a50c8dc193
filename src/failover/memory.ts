/**
 * What is remembered of the replicas of a primary while it is looked at. Whether semi-synchronous replication vouches for
 * a candidate depends on what the others were while the primary took writes, and what they are now does not tell: one
 * may have acknowledged and been pointed elsewhere since, or have acknowledged and lost it.
 *
 * How a replica can lose what it had received and not applied: in a restart (that is known by its start); when MariaDB
 * starts both of its threads anew; when it is pointed at a source, reset or filled anew. What it had acknowledged until
 * then is safe with another one as soon as that has been seen to have all that the primary had at a later moment.
 *
 * Pure: a look makes a new memory. It ends with this process: the next one has seen nothing, and believes nobody.
 */
import { holdsPosition } from '../monitor/gtid.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { hasLogOf, hasMoreThanItsSource, heldBy, lacksOwn } from './history.ts';
import {
  acknowledgesTo,
  isSeen,
  memberOf,
  takesWrites,
  wasSeenBefore,
  type Member,
  type SeenMember,
  type Survey,
} from './survey.ts';
import { type Memory, type Reign, type Trace } from './traces.ts';

/** What `isCutShort` finds, in words. */
export const CUT_SHORT = 'a crash has cut its binary log short';

/** What is known of `replica` as one of `primary`. */
export function traceOf(
  { memory }: Pick<Survey, 'memory'>,
  primary: Member,
  replica: Member,
): Trace | undefined {
  return memory.traces.get(primary.backend.name)?.get(replica.backend.name);
}

/**
 * The primary is back after a crash, read-only, and lacks what it had sent to this replica: when both were seen, the
 * primary later, or when they could be compared last.
 */
export function isCutShort(survey: Survey, primary: Member, replica: Member): boolean {
  if (!isSeen(primary) || !isSeen(replica)) return false;
  const { facts } = primary.record;
  if (!facts.readOnly || facts.replication !== null) return false;
  if (wasSeenBefore(replica, primary)) return hasMoreThanItsSource(replica.record.facts, facts);
  return traceOf(survey, primary, replica)?.hasMore ?? false;
}

/** Replicas that have received what the primary has not any more; also those that cannot be asked now. */
export function whoHasMore(survey: Survey, primary: Member): { seen: Member[]; gone: Member[] } {
  const others = survey.members.filter((member) => member !== primary);
  return {
    seen: others.filter((member) => isCutShort(survey, primary, member)),
    gone: others.filter((member) => !isSeen(member) && traceOf(survey, primary, member)?.hasMore === true),
  };
}

/**
 * The old primary as it was when it last took writes. One that is back after a crash is another one: it may have
 * forgotten what it had, and waits for nobody yet.
 */
export function asItReigned({ memory }: Pick<Survey, 'memory'>, old: Member): Member {
  const reign = memory.reigns.get(old.backend.name);
  return reign === undefined ? old : { ...old, record: { ...old.record, ...reign } };
}

/**
 * The primary is back, may have crashed since it last took writes, and may have lost in that crash what was in its
 * binary log, or what its clients were told of. What is not known of the time before speaks against it.
 */
export function mayHaveForgotten(
  survey: Survey,
  primary: Member,
  kept: 'keepsLog' | 'keepsAcknowledged' = 'keepsLog',
): boolean {
  const { facts, startedMs } = primary.record;
  if (!isSeen(primary) || facts === null || !facts.readOnly || !facts.hasGtid) return false;
  const reign = survey.memory.reigns.get(primary.backend.name);
  if (facts[kept] && reign?.facts[kept] !== false) return false;
  return reign === undefined || startedMs === null || startedMs > reign.askedMs;
}

/** The primary takes writes, and has less than when it was last seen doing so: its log was reset, or a crash cut it short. */
function hasForgottenWhileItReigned(memory: Memory, primary: Member): boolean {
  const reign = memory.reigns.get(primary.backend.name);
  return reign !== undefined && takesWrites(primary) && hasForgotten(reign.facts, primary.record.facts!);
}

/** What is known after one more look. */
export function noteLook(memory: Memory, survey: Survey): Memory {
  const primary = memberOf(survey, survey.remembered);
  if (primary === undefined) return memory;
  const before = memory.traces.get(primary.backend.name);
  const traces = new Map<string, Trace>();
  for (const member of survey.members) {
    const { name } = member.backend;
    if (member === primary) continue;
    const trace = before?.get(name);
    if (isSeen(member)) traces.set(name, traceAfter(trace, survey, primary, member));
    else if (trace !== undefined) {
      const goneMs = trace.goneMs ?? survey.nowMs;
      traces.set(name, { ...trace, goneMs, hasOutlived: hasOutlived(trace, survey, primary, trace.facts) });
    }
  }
  // A server that gets the name of one that was dropped is another one.
  const isThere = ([name]: readonly [string, unknown]): boolean => memberOf(survey, name) !== undefined;
  const { name } = primary.backend;
  const reign = reignOf(primary, survey, memory.reigns.get(name));
  return {
    traces: new Map([...[...memory.traces].filter(isThere), [name, traces]]),
    reigns: new Map([
      ...[...memory.reigns].filter(isThere),
      ...(reign === null ? [] : [[name, reign] as const]),
    ]),
  };
}

function reignOf(primary: Member, survey: Survey, before: Reign | undefined): Reign | null {
  const { facts, askedMs } = primary.record;
  if (!isSeen(primary) || askedMs === null || facts === null || !takesWrites(primary)) return null;
  const side = facts.semiSync.primary;
  const known = survey.members.filter((member) => isSeen(member) && acknowledgesTo(member, primary)).length;
  const mayWaitForOthers = side !== null && side.waiting > 0 && known < side.waitForReplicas;
  const isAccounted = (side?.clients ?? 0) <= known && !mayWaitForOthers;
  return { facts, askedMs, accountedSinceMs: isAccounted ? (before?.accountedSinceMs ?? askedMs) : null };
}

function traceAfter(trace: Trace | undefined, survey: Survey, primary: Member, member: SeenMember): Trace {
  const { nowMs } = survey;
  const { facts } = member.record;
  const untilMs = trace?.acknowledgedUntilMs ?? null;
  return {
    facts,
    settledMs: Math.max(settledAt(primary, member), trace?.settledMs ?? -Infinity),
    forgotMs:
      trace !== undefined && hasForgotten(trace.facts, facts) ? nowMs : (trace?.forgotMs ?? -Infinity),
    goneMs: null,
    hasMore: isCutShort(survey, primary, member),
    hasOutlived: hasOutlived(trace, survey, primary, facts),
    acknowledgedUntilMs: acknowledgesTo(member, primary) ? Infinity : untilMs === Infinity ? nowMs : untilMs,
  };
}

/** Who follows nobody is being filled anew, or compared. */
function hasOutlived(trace: Trace | undefined, survey: Survey, primary: Member, facts: ServerFacts): boolean {
  if (facts.replication === null) return false;
  if (trace?.hasOutlived === true) return true;
  return hasForgottenWhileItReigned(survey.memory, primary) && lacksOwn(primary.record.facts!, facts);
}

/** When the primary was asked, if the replica had all of that afterwards. */
function settledAt(primary: Member, { record }: SeenMember): number {
  const { askedMs, facts } = primary.record;
  // One that takes no writes may have crashed, and have less than it had.
  if (!isSeen(primary) || facts === null || facts.readOnly || askedMs === null) return -Infinity;
  // Of a look before the primary's nobody knows whether the replica has been restarted in between.
  const isLater = record.askedMs !== null && record.askedMs >= askedMs;
  return isLater && hasLogOf(record.facts, facts) ? askedMs : -Infinity;
}

function hasForgotten(before: ServerFacts, now: ServerFacts): boolean {
  if (before === now || !before.hasGtid || !now.hasGtid) return false;
  return !holdsPosition(heldBy(now), heldBy(before));
}
