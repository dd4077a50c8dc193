/**
 * Does semi-synchronous replication vouch for a candidate? With semi_sync = require, a write is acknowledged only
 * when a replica has received it, so a server that has all that any acknowledging replica can have misses nothing
 * that a client was told of. Pure.
 */
import { describeHeld, hasAllOf, hasLogOf } from './history.ts';
import { longGoneOf } from './long-gone.ts';
import { asItReigned, isCutShort, mayHaveForgotten, traceOf } from './memory.ts';
import {
  acknowledgesTo,
  descendsFrom,
  isSeen,
  isSource,
  memberOf,
  namesOf,
  type Member,
  type SeenMember,
  type Survey,
} from './survey.ts';

/** A timeout at which a primary never falls back by itself, in effect: a day. */
export const NEVER_MS = 24 * 3600 * 1000;

/**
 * Why `candidate` may miss a write that `old` has acknowledged; null when it cannot, or when the policy does not
 * ask. An old primary that a crash has cut short, and that is back, is compared itself, with all that it may have sent
 * anything to (`whyACrashMayCost`). Otherwise, in this order:
 * 1. the old primary was seen by this process, waited for its replicas when it was last seen, and could not stop waiting by itself;
 * 2. it had not been let go on alone;
 * 3. every replica that may have acknowledged, by what is remembered of it or by what it is, can be asked: those that
 *    cannot, and those that nobody here knows, are fewer than the acknowledgements that a write needs (one that an
 *    operator has set offline does not count);
 * 4. of those that can be asked, the candidate among them, none may have lost since what it had received and not applied
 *    (`memory.ts` says how): the old primary was seen after that, and the candidate has, or was seen to have, all that it
 *    had then. One that may have is as good as one that cannot be asked;
 * 5. of those that can be asked, none has received more than the candidate.
 */
export function semiSyncCovers(survey: Survey, oldNow: Member, candidate: string): string | null {
  if (survey.cluster.semiSync !== 'require') return null;
  const { name } = oldNow.backend;
  const chosen = memberOf(survey, candidate);
  if (chosen !== undefined && isCutShort(survey, oldNow, chosen)) {
    return whyItLacks(survey, oldNow, chosen) ?? whyACrashMayCost(survey, oldNow);
  }
  if (survey.alone)
    return `${name} had been let go on alone, so it may have acknowledged writes that are nowhere else`;
  const old = asItReigned(survey, oldNow);
  if (old.record.facts === null)
    return `semi_sync = require, and ${name} has not been seen since dbproxy was started: whether its writes waited for a replica, and for which, is not known`;
  const side = old.record.facts.semiSync.primary;
  if (side === null || !side.enabled) {
    return `semi_sync = require, but ${name} was not semi-synchronous when it was last seen`;
  }
  if (!side.live) return `${name} had given up waiting for its replicas when it was last seen`;
  if (side.timeoutMs < NEVER_MS) {
    return `${name} waits only ${side.timeoutMs} ms for its replicas and then acknowledges without them; set its timeout above ${NEVER_MS} ms`;
  }
  if (chosen === undefined || !isSeen(chosen)) return `${candidate} does not answer`;
  const others = survey.members.filter(
    (member) =>
      member !== oldNow && (mayAcknowledge(member, old) || isRemembered(survey, old, member, chosen)),
  );
  const seen = others.filter(isSeen);
  const forgetful = seen.filter(
    (member) =>
      member !== chosen && member.admin !== 'offline' && whyLossMatters(survey, old, member, chosen) !== null,
  );
  const asked = seen.filter((member) => !forgetful.includes(member));
  const silent = others.filter((member) => !isSeen(member));
  const unasked = [...silent, ...forgetful];
  if (unasked.length >= side.waitForReplicas) {
    const reasons = forgetful.map((member) => whyLossMatters(survey, old, member, chosen));
    const why =
      silent.length > 0
        ? `${namesOf(unasked)} may have acknowledged what ${candidate} has not, and cannot be asked`
        : `${reasons.join('; ')}: ${candidate} may not have it either`;
    return `${why}; SET BACKEND … OFFLINE says that it has not`;
  }
  const answering = asked.filter((member) => acknowledgesTo(member, old));
  const strangers = Math.max(0, side.clients - answering.length - unasked.length);
  if (unasked.length + strangers >= side.waitForReplicas) {
    return `${side.clients} replica(s) acknowledged the writes of ${name}, and only ${answering.length} can be asked: another may have what ${candidate} has not`;
  }
  const lost = whyLossMatters(survey, old, chosen, chosen);
  if (lost !== null) return lost;
  const ahead = asked.find(
    (member) => member !== chosen && !hasAllOf(chosen.record.facts, member.record.facts),
  );
  return ahead === undefined ? null : `${ahead.backend.name} has received more than ${candidate}`;
}

/**
 * Why a primary that is back after a crash may lack what it had sent, and perhaps acknowledged itself; null when it
 * cannot, or when the policy does not ask. MariaDB that starts as a semi-synchronous replica takes out of its binary log
 * what its storage engine had not written for good, which clients may have been told of already; any server loses the
 * end of a log that it did not flush. A replica has all of that, and the primary would give the same ids to other
 * transactions. Nobody can help with what replicas have lost as well, so only those that do not answer are waited for,
 * and whoever is seen to have more is promoted. One that was let go on alone is no exception: a replica that dbproxy
 * cannot reach may have been connected to it all the time.
 */
export function whyACrashMayCost(survey: Survey, primary: Member): string | null {
  if (survey.cluster.semiSync !== 'require' || !mayHaveForgotten(survey, primary)) return null;
  const { name } = primary.backend;
  const before = survey.memory.reigns.get(name);
  const longGone = longGoneOf(survey);
  // Since it is back it has acknowledged nothing: who was restarted after it last did may have been another one then.
  const reigned = { ...primary, record: { ...primary.record, askedMs: null, ...before } };
  const silent = survey.members.filter(
    (member) =>
      member !== primary &&
      !isSeen(member) &&
      mayAcknowledge(member, reigned) &&
      !longGone.includes(member.backend.name),
  );
  const what = mayHaveForgotten(survey, primary, 'keepsAcknowledged')
    ? 'what it had acknowledged'
    : 'what it had sent and told nobody of';
  const side = before?.facts.semiSync.primary ?? null;
  if (silent.length < (side?.waitForReplicas ?? 1)) return null;
  return `a crash may have cost ${name} ${what}, and ${namesOf(silent)}, which may have that, cannot be asked`;
}

/** What has the primary take writes again all the same. */
export function forceAdvice(primary: string): string {
  return `PROMOTE ${primary} FORCE gives that up`;
}

/** What a crash costs a primary that goes on alone, behind what is said of that; empty when its settings keep all. */
export function whatACrashCosts({ record }: Member): string {
  return record.facts?.keepsAcknowledged === false
    ? ', and should it crash, the last of that may be gone (doctor says what keeps it)'
    : '';
}

/** The old primary can be asked itself: what it has the candidate must have, and what replicas of it have. */
function whyItLacks(survey: Survey, old: Member, candidate: Member): string | null {
  const { name } = candidate.backend;
  if (!hasLogOf(candidate.record.facts!, old.record.facts!))
    return `${name} has not all that ${old.backend.name} has`;
  const ahead = survey.members.find(
    (member) =>
      member !== candidate &&
      isSeen(member) &&
      descendsFrom(survey, member, old) &&
      !hasAllOf(candidate.record.facts!, member.record.facts),
  );
  return ahead === undefined ? null : `${ahead.backend.name} has received more than ${name}`;
}

/** A start as long as this before the old primary was last seen had been made good by then: it was seen many times in between. */
const LONG_BEFORE_MS = 600_000;

/** Why a replica may have lost what it had acknowledged and the candidate has not; null: it has not. */
function whyLossMatters(
  survey: Survey,
  old: Member,
  member: SeenMember,
  candidate: SeenMember,
): string | null {
  const { name } = member.backend;
  const [lostMs, words] = lastLoss(survey, old, member, candidate);
  const { askedMs } = old.record;
  // How long ago it is now says nothing: all that time the old primary may have been away.
  if (askedMs !== null && askedMs - lostMs > LONG_BEFORE_MS) return null;
  if ((traceOf(survey, old, candidate)?.settledMs ?? -Infinity) >= lostMs) return null;
  if (askedMs === null || askedMs < lostMs) return `${name} ${words}`;
  const before = old.record.facts!;
  if (hasLogOf(candidate.record.facts, before)) return null;
  const lacking = before.hasGtid ? before.position : describeHeld(before);
  return `${name} ${words}: ${candidate.backend.name} has not all of ${lacking}`;
}

/** When a replica may last have lost something that it had received, and how. */
function lastLoss(
  survey: Survey,
  old: Member,
  member: SeenMember,
  candidate: SeenMember,
): [atMs: number, words: string] {
  const trace = traceOf(survey, old, member);
  const untilMs = isRemembered(survey, old, member, candidate) ? trace!.acknowledgedUntilMs! : Infinity;
  const losses: [number, string][] = [
    [
      member.record.startedMs ?? survey.nowMs,
      'was restarted lately, and may have lost what it had received and not applied',
    ],
    [
      trace?.forgotMs ?? -Infinity,
      'has less than it had, and may have lost what it had received and not applied',
    ],
    [
      untilMs === Infinity ? -Infinity : untilMs,
      `acknowledges nothing to ${old.backend.name} any more, and may have lost what it had received and not applied`,
    ],
  ];
  return losses.reduce((one, other) => (other[0] > one[0] ? other : one));
}

/** It tells the old primary what it has received, or may have done so. */
export function mayAcknowledge(member: Member, old: Member): boolean {
  return (isSeen(member) && acknowledgesTo(member, old)) || mayHaveAcknowledged(member, old);
}

/** It was seen to acknowledge, and what it had received then the candidate need not have. */
function isRemembered(survey: Survey, old: Member, member: Member, candidate: Member): boolean {
  const untilMs = traceOf(survey, old, member)?.acknowledgedUntilMs ?? null;
  if (member.admin === 'offline' || untilMs === null) return false;
  if ((traceOf(survey, old, candidate)?.settledMs ?? -Infinity) >= untilMs) return false;
  return untilMs === Infinity || !hadLeft(survey, old, candidate);
}

/**
 * All replicas that were connected to the old primary when it was last seen are others, which can be asked: one that
 * acknowledges no more had acknowledged only what was there then, and the candidate has that.
 */
function hadLeft(survey: Survey, old: Member, candidate: Member): boolean {
  const { facts } = old.record;
  const side = facts?.semiSync.primary ?? null;
  if (facts === null || side === null || candidate.record.facts === null) return false;
  const connected = survey.members.filter((one) => isSeen(one) && acknowledgesTo(one, old));
  return side.clients <= connected.length && hasLogOf(candidate.record.facts, facts);
}

/** Nothing that is known of it now speaks against it: it may never have been seen while the old primary was up. */
function mayHaveAcknowledged({ admin, backend, record }: Member, old: Member): boolean {
  const { facts, startedMs } = record;
  if (admin === 'offline' || backend.follow) return false;
  if (facts === null) return true;
  if (facts.replication !== null && !isSource(old, facts.replication)) return false;
  if (facts.semiSync.replica?.enabled === true) return true;
  // It may have come up otherwise than it was: what it is now says nothing of the time before.
  const { askedMs } = old.record;
  return startedMs === null || askedMs === null || startedMs > askedMs;
}
