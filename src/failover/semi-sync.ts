/**
 * Does semi-synchronous replication vouch for a candidate? With semi_sync = require, a write is acknowledged only
 * when a replica has received it, so a server that has all that any acknowledging replica can have misses nothing
 * that a client was told of. Pure.
 */
import { holdsPosition } from '../monitor/gtid.ts';
import { hasAllOf, heldBy } from './history.ts';
import { isSeen, memberOf, type Member, type SeenMember, type Survey } from './survey.ts';

/** A timeout at which a primary never falls back by itself, in effect: a day. */
export const NEVER_MS = 24 * 3600 * 1000;

/**
 * Why `candidate` may miss a write that `old` has acknowledged; null when it cannot, or when the policy does not
 * ask. In this order:
 * 1. the old primary waited for its replicas when it was last seen, and could not stop waiting by itself;
 * 2. it had not been let go on alone;
 * 3. every replica that may have acknowledged can be asked: those that cannot, and those that nobody here knows, are
 *    fewer than the acknowledgements that a write needs (one that an operator has set offline does not count);
 * 4. the candidate has not been restarted since, which may have cost it what it had received and not applied: the old
 *    primary was seen after that, and the candidate has all that it had then;
 * 5. of those that can be asked, none has received more than the candidate.
 */
export function semiSyncCovers(survey: Survey, old: Member, candidate: string): string | null {
  if (survey.cluster.semiSync !== 'require') return null;
  const { name } = old.backend;
  if (survey.alone)
    return `${name} had been let go on alone, so it may have acknowledged writes that are nowhere else`;
  const side = old.record.facts?.semiSync.primary ?? null;
  if (side === null || !side.enabled) {
    return `semi_sync = require, but ${name} was not semi-synchronous when it was last seen`;
  }
  if (!side.live) return `${name} had given up waiting for its replicas when it was last seen`;
  if (side.timeoutMs < NEVER_MS) {
    return `${name} waits only ${side.timeoutMs} ms for its replicas and then acknowledges without them; set its timeout above ${NEVER_MS} ms`;
  }
  const chosen = memberOf(survey, candidate);
  if (chosen === undefined || !isSeen(chosen)) return `${candidate} does not answer`;
  const asked = survey.members.filter((member) => member !== old && isSeen(member) && answers(member));
  const unasked = survey.members.filter(
    (member) => member !== old && !isSeen(member) && mayHaveAnswered(member),
  );
  if (unasked.length >= side.waitForReplicas) {
    const names = unasked.map(({ backend }) => backend.name).join(', ');
    return `${names} may have acknowledged what ${candidate} has not, and cannot be asked; SET BACKEND … OFFLINE says that it has not`;
  }
  const strangers = Math.max(0, side.clients - asked.length - unasked.length);
  if (unasked.length + strangers >= side.waitForReplicas) {
    return `${side.clients} replica(s) acknowledged the writes of ${name}, and only ${asked.length} can be asked: another may have what ${candidate} has not`;
  }
  const lost = whyRestartMatters(survey, old, chosen);
  if (lost !== null) return lost;
  const ahead = asked.find(
    (member) => isSeen(member) && member !== chosen && !hasAllOf(chosen.record.facts, member.record.facts),
  );
  return ahead === undefined ? null : `${ahead.backend.name} has received more than ${candidate}`;
}

/** A start longer ago than this has been made good by now: the old primary was seen many times since. */
const LONG_AGO_MS = 600_000;

function whyRestartMatters({ nowMs }: Survey, old: Member, { backend, record }: SeenMember): string | null {
  // Whole seconds, rounded down, told before it was seen: it has started by then at the latest.
  const startedMs = (record.seenMs ?? nowMs) - record.facts.uptimeSeconds * 1000;
  if (nowMs - startedMs > LONG_AGO_MS) return null;
  const words = `${backend.name} was restarted lately, and may have lost what it had received and not applied`;
  if (old.record.askedMs === null || old.record.askedMs < startedMs) return words;
  const before = old.record.facts!.position;
  return holdsPosition(heldBy(record.facts), before) ? null : `${words}: it has not all of ${before}`;
}

/** Nothing that is known speaks against it. */
function mayHaveAnswered({ admin, record }: Member): boolean {
  return admin !== 'offline' && (record.facts === null || record.facts.semiSync.replica?.enabled === true);
}

/** It tells its source what it has received. */
function answers({ record }: Member): boolean {
  const { facts } = record;
  return facts !== null && facts.replication !== null && facts.semiSync.replica?.enabled === true;
}
