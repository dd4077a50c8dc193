/**
 * What there is to put right in a cluster while no promotion runs: servers that may be written to and must not,
 * the primary of the epoch that came back read-only, servers that follow the wrong one or nobody, semi-synchronous
 * replication that is not as it should be. Pure: from a survey to a list of small acts, each harmless if it is
 * done twice, none of which makes a second writer.
 */
import { agree } from '../base/grammar.ts';
import { isSourceLost } from '../monitor/observation.ts';
import { semiSyncWanted, type SemiSyncWish } from '../monitor/semi-sync.ts';
import { receiverWitness } from '../monitor/witness.ts';
import { acknowledgersOf } from './acknowledgements.ts';
import type { Finding } from './findings/finding.ts';
import { hasLogOf, ownExtras, whyItsPlaceIsUnknown } from './history.ts';
import { standingOf } from './place.ts';
import { NEVER_MS } from './semi-sync.ts';
import type { SemiSyncSide } from './server-control.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  memberOf,
  isDiverged,
  isOrphaned,
  namesOf,
  sourceOf,
  type Member,
  type SeenMember,
  type Survey,
} from './survey.ts';

export type Chore =
  /** Ends the sessions of a server's clients and makes it read-only. */
  | { readonly kind: 'fence'; readonly backend: string; readonly because: string }
  /** Makes the primary of the epoch writable again. */
  | { readonly kind: 'unlock'; readonly backend: string; readonly because: string }
  /** Has a receiver connect anew that hears nothing of a source that is well. */
  | { readonly kind: 'reconnect'; readonly backend: string; readonly because: string }
  /** Has a server that misses nothing and has nothing of its own follow the primary. */
  | { readonly kind: 'follow'; readonly backend: string; readonly source: string; readonly because: string }
  | {
      readonly kind: 'semi_sync';
      readonly backend: string;
      readonly side: SemiSyncSide;
      readonly on: boolean;
      readonly because: string;
    }
  /** Lets the primary acknowledge writes that no replica has, by a decision on disk. */
  | { readonly kind: 'go_alone'; readonly backend: string; readonly because: string }
  /** Has it wait for its replicas again. */
  | { readonly kind: 'take_back'; readonly backend: string; readonly because: string };

/** A replica that hears from its source less often cannot tell soon that it is gone. */
const WITNESS_PERIOD_MS = 1_000;

/** All that is to be done now; `unacknowledgedMs`: for how long nothing of what the primary writes has been acknowledged. */
export function choresOf(survey: Survey, findings: readonly Finding[], unacknowledgedMs: number): Chore[] {
  const chores: Chore[] = [];
  if (survey.cluster.enforceReadOnly) chores.push(...locks(survey, findings));
  const primary = memberOf(survey, survey.remembered);
  if (primary !== undefined && isSeen(primary) && stopsShort(survey, primary)) {
    const because =
      'a promotion had stopped it and got no further; it takes in what the one before it still has';
    chores.push({ kind: 'reconnect', backend: primary.backend.name, because });
  }
  if (primary === undefined || !isSeen(primary) || primary.record.facts.readOnly) return chores;
  for (const member of survey.members) {
    if (member === primary || !isSeen(member) || member.admin === 'offline') continue;
    if (isDeaf(survey, member, primary)) {
      const because = `it has heard nothing of ${primary.backend.name} for a while, which is well`;
      chores.push({ kind: 'reconnect', backend: member.backend.name, because });
      continue;
    }
    if (followsServer(member, primary) && isLeftStopped(survey, member)) {
      const because = 'dbproxy had stopped it and did not come to start it again';
      chores.push({ kind: 'reconnect', backend: member.backend.name, because });
      continue;
    }
    if (followsServer(member, primary) && hasGivenUp(member)) {
      const because = `it had given up reaching ${primary.backend.name}, which is well`;
      chores.push({ kind: 'reconnect', backend: member.backend.name, because });
      continue;
    }
    if (!member.record.facts.hasGtid) {
      chores.push(...placeChores(survey, member, primary));
      continue;
    }
    const why = whyItShouldFollow(survey, member, primary);
    if (
      why !== null &&
      !isDiverged(survey, member) &&
      survey.cluster.rejoin === 'auto' &&
      member.record.facts.readOnly
    ) {
      const { name: source } = primary.backend;
      chores.push({ kind: 'follow', backend: member.backend.name, source, because: why });
    }
  }
  chores.push(...semiSyncChores(survey, primary, unacknowledgedMs));
  return chores;
}

/** Of the chores those that keep who is not the primary from being written to. */
export function fencesOf(survey: Survey, findings: readonly Finding[]): Chore[] {
  if (!survey.cluster.enforceReadOnly) return [];
  return locks(survey, findings).filter(({ kind }) => kind === 'fence');
}

function locks(survey: Survey, findings: readonly Finding[]): Chore[] {
  return findings.flatMap(({ action, detail }): Chore[] => {
    switch (action.kind) {
      case 'fence':
      case 'stop_writes':
        // A promotion may name a server that is not in the configuration any more.
        return action.backends
          .filter((backend) => memberOf(survey, backend) !== undefined)
          .map((backend) => ({ kind: 'fence', backend, because: detail }));
      case 'unlock':
        return [{ kind: 'unlock', backend: action.backend, because: detail }];
      case 'none':
      case 'watch':
      case 'take_up':
      case 'failover':
      case 'adopt_epoch':
      case 'finish':
        return [];
    }
  });
}

/**
 * Why a member is to be pointed at the primary; null: it is well where it is, or not ours to move.
 * 1. It follows nobody, and has a history that is known: a server that is empty is filled first (BOOTSTRAP, CLONE).
 * 2. It follows a member of the cluster, or is told to (`follow = on`), but does not get to the primary that way.
 */
function whyItShouldFollow(survey: Survey, member: SeenMember, primary: SeenMember): string | null {
  const { replication, position } = member.record.facts;
  if (replication === null)
    return position === '' || whyItsPlaceIsUnknown(member.backend.name, member.record.facts) !== null
      ? null
      : 'it follows nobody';
  if (replication.channels > 1) return null;
  const source = sourceOf(survey, member);
  if (source === primary) return whyItHearsTooSeldom(survey, member);
  // A chain is well as long as it hands on; one whose receiver a promotion has stopped hangs on to the old primary.
  if (descendsFrom(survey, member, primary) && !isLeftStopped(survey, member)) {
    return source === undefined ? null : whyItHangs(survey, member, source, primary);
  }
  if (source !== undefined) return `it follows ${source.backend.name}, which is not the primary`;
  return member.backend.follow
    ? `it follows ${replication.sourceHost}:${replication.sourcePort}, and follow = on`
    : null;
}

/**
 * The same where there are no global ids. Whether it can follow, and whether it has something of its own, is read out
 * of its log by who moves it. Who cannot be moved is a finding (`ReplicaLeftBehind`).
 * 1. It follows the primary: it is only to hear more often.
 * 2. It gets to the primary through others: that is well, and its place would not be known anywhere else.
 * 3. It is, or follows, the primary before this one: from there a place in this one's log is known.
 */
function placeChores(survey: Survey, member: SeenMember, primary: SeenMember): Chore[] {
  if (survey.cluster.rejoin !== 'auto' || !member.record.facts.readOnly) return [];
  const { name: backend } = member.backend;
  const follow = (because: string): Chore[] => [
    { kind: 'follow', backend, source: primary.backend.name, because },
  ];
  const { facts } = member.record;
  if (facts.replication !== null && sourceOf(survey, member) === primary) {
    const why = whyItHearsTooSeldom(survey, member);
    return why === null ? [] : follow(why);
  }
  if (descendsFrom(survey, member, primary)) {
    const because = 'dbproxy had stopped it, and its source follows the primary';
    return isLeftStopped(survey, member) ? [{ kind: 'reconnect', backend, because }] : [];
  }
  const standing = standingOf(facts, primary.record.facts, survey.handover, false);
  switch (standing.kind) {
    case 'old_primary':
      return follow('it follows nobody');
    case 'replica':
      return follow('it follows the primary before this one');
    case 'there':
    case 'unknown':
      return [];
  }
}

/** We have stopped it, and did not come to start it again. One that an operator has stopped is left alone. */
function isLeftStopped({ inHand }: Survey, { backend, record }: SeenMember): boolean {
  const { replication } = record.facts;
  return (
    replication?.receiver === 'stopped' && replication.receiverError === '' && inHand.includes(backend.name)
  );
}

/** Its source could not be reached so often that it does not try any more (MySQL's `SOURCE_RETRY_COUNT`). */
function hasGivenUp({ record }: SeenMember): boolean {
  const { replication } = record.facts;
  return replication?.receiver === 'stopped' && isSourceLost(replication.receiverErrno);
}

/** Why nothing good comes from a replica to those below it; null: it does. */
function whyItHangs(survey: Survey, member: SeenMember, source: Member, primary: SeenMember): string | null {
  const { name } = source.backend;
  if (isOrphaned(survey, member, source)) return `it follows ${name}, which is down`;
  if (!isSeen(source)) return null;
  if (source.record.facts.replication?.applier === 'stopped') {
    return `it follows ${name}, whose own replication is stopped`;
  }
  return ownExtras(source.record.facts, primary.record.facts) === null
    ? null
    : `it follows ${name}, which has transactions of its own`;
}

/** It is to be the primary, is still a replica, and does not replicate: whatever it lacks it will not get so. */
function stopsShort(survey: Survey, primary: SeenMember): boolean {
  const { replication, readOnly } = primary.record.facts;
  const source = sourceOf(survey, primary);
  if (!readOnly || replication === null || source === undefined || !isSeen(source)) return false;
  return (
    source.record.facts.readOnly && replication.receiver === 'stopped' && replication.receiverError === ''
  );
}

/** Its connection to the source is dead, and neither end has noticed. */
function isDeaf(survey: Survey, member: SeenMember, primary: Member): boolean {
  if (!followsServer(member, primary)) return false;
  return receiverWitness(member.record, survey.cluster, survey.nowMs) === 'silent';
}

/** A replica bears witness of its primary's life, for which the primary has to speak also when it has nothing to send. */
function whyItHearsTooSeldom({ cluster }: Survey, { record }: SeenMember): string | null {
  const periodMs = record.facts.replication?.heartbeatPeriodMs ?? null;
  if (cluster.failover !== 'auto' || periodMs === null) return null;
  if (periodMs > 0 && periodMs <= WITNESS_PERIOD_MS) return null;
  return `it hears from its source every ${periodMs} ms at the least often, too seldom for a witness`;
}

/**
 * In this order:
 * 1. a replica answers its source, and waits for nobody itself (its applier would);
 * 2. the primary waits for its replicas when there is one that answers;
 * 3. one that has been let go on alone waits again when a replica has caught up;
 * 4. one that must wait for replicas, and waits in vain, is let go on alone.
 */
function semiSyncChores(survey: Survey, primary: SeenMember, unacknowledgedMs: number): Chore[] {
  const { cluster } = survey;
  if (cluster.semiSync === 'off') return [];
  const chores: Chore[] = [];
  const { name } = primary.backend;
  const followers = survey.members.filter((member): member is SeenMember => followsServer(member, primary));
  const answering = acknowledgersOf(survey, primary);
  const wanted = semiSyncWanted(
    cluster.semiSync,
    name,
    [primary, ...followers].map((member) => ({
      name: member.backend.name,
      follows: answering.includes(member),
      waits: member.record.facts.semiSync.primary?.enabled === true,
    })),
  );
  chores.push(...whoWaitsAlone(survey, primary));
  const wish = (member: Member): SemiSyncWish => wanted.find((one) => one.name === member.backend.name)!;
  for (const member of followers) {
    const { semiSync } = member.record.facts;
    const { name: backend } = member.backend;
    const answers = semiSync.replica?.enabled === true && !isConnectedMutely(member.record, primary);
    // One that is never elected need not answer, and what it answers to others is not ours.
    if (wish(member).acknowledges && !member.backend.follow && !answers) {
      const because = `semi_sync = ${cluster.semiSync}, and it does not answer its primary`;
      chores.push({ kind: 'semi_sync', backend, side: 'replica', on: true, because });
    }
    if (!wish(member).waits && semiSync.primary?.enabled === true) {
      const because = 'it is a replica: its applier would wait for replicas of its own';
      chores.push({ kind: 'semi_sync', backend, side: 'primary', on: false, because });
    }
  }
  const side = primary.record.facts.semiSync.primary;
  const needed = side?.waitForReplicas ?? 1;
  const caughtUp = answering.filter(
    (member) => hasLogOf(member.record.facts, primary.record.facts) && !isDiverged(survey, member),
  );
  if (survey.alone) {
    if (caughtUp.length >= needed) {
      chores.push({ kind: 'take_back', backend: name, because: `${namesOf(caughtUp)} has caught up` });
    } else if (side !== null && ((side.enabled && side.clients < needed) || side.waiting > 0)) {
      const because = 'it was to go on alone, and waits for replicas all the same';
      chores.push({ kind: 'go_alone', backend: name, because });
    }
    return chores;
  }
  if (side?.enabled !== true) {
    if (wish(primary).waits) {
      const because = `${namesOf(answering)} ${agree(answering, 'answers', 'answer')} it`;
      chores.push({ kind: 'semi_sync', backend: name, side: 'primary', on: true, because });
    }
    return chores;
  }
  if (cluster.semiSync === 'require' && side.timeoutMs < NEVER_MS) {
    const because = `its commits wait only ${side.timeoutMs} ms for a replica, and semi_sync = require`;
    chores.push({ kind: 'semi_sync', backend: name, side: 'primary', on: true, because });
  }
  const mayActAlone = survey.arbiters.total === 0 || survey.arbiters.reachable > 0;
  // One that is frozen, or cut off, or that comes and goes, stays connected for long, and its primary waits for it.
  const isInVain = side.waiting > 0 || (side.clients < needed && answering.length < needed);
  if (isInVain && mayActAlone && unacknowledgedMs > patienceOf(survey, primary, side.clients >= needed)) {
    chores.push({
      kind: 'go_alone',
      backend: name,
      because: 'no replica acknowledges what it writes, so its writes wait',
    });
  }
  return chores;
}

/**
 * An old primary that follows nobody: whatever is written there to put it right would wait for ever, and keep everybody
 * out meanwhile. Only where clients cannot write: what they wait for must not be acknowledged.
 */
function whoWaitsAlone(survey: Survey, primary: SeenMember): Chore[] {
  const alone = survey.members.filter(
    (member) =>
      member !== primary &&
      isSeen(member) &&
      !member.backend.follow &&
      member.record.facts.readOnly &&
      member.record.facts.replication === null &&
      member.record.facts.semiSync.primary?.enabled === true,
  );
  const because = 'it follows nobody and nobody follows it: a statement to put it right would wait for ever';
  return alone.map(({ backend: { name } }) => ({
    kind: 'semi_sync',
    backend: name,
    side: 'primary',
    on: false,
    because,
  }));
}

/** It was switched on when its receiver was connected already; to a primary that could take its answers. */
function isConnectedMutely({ facts }: SeenMember['record'], primary: SeenMember): boolean {
  if (primary.record.facts.semiSync.primary === null) return false;
  return facts.semiSync.replica?.live === false && facts.replication?.receiver === 'running';
}

/** Replicas that are down for us may be there for the primary: as long as they are connected, each gets the time of a check. */
function patienceOf(survey: Survey, primary: Member, areConnected: boolean): number {
  const { checkTimeoutMs, holdTimeoutMs } = survey.cluster;
  if (!allDown(survey, primary)) return holdTimeoutMs;
  return areConnected ? checkTimeoutMs : 0;
}

function allDown(survey: Survey, primary: Member): boolean {
  return survey.members.every((member) => member === primary || member.record.reach === 'down');
}
