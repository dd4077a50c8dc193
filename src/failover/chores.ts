/**
 * What there is to put right in a cluster while no promotion runs: servers that may be written to and must not,
 * the primary of the epoch that came back read-only, servers that follow the wrong one or nobody, semi-synchronous
 * replication that is not as it should be. Pure: from a survey to a list of small acts, each harmless if it is
 * done twice, none of which makes a second writer.
 */
import { receiverWitness } from '../monitor/witness.ts';
import type { Finding } from './diagnosis.ts';
import { extrasOver, hasAllOf, ownExtras } from './history.ts';
import { NEVER_MS } from './semi-sync.ts';
import type { SemiSyncSide } from './server-control.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  memberOf,
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

/** An old primary that has what nobody else has: it is not brought back by itself. */
export interface Divergence {
  readonly backend: string;
  /** What it has, in words. */
  readonly extras: string;
}

/** A replica that hears from its source less often cannot tell soon that it is gone. */
const WITNESS_PERIOD_MS = 1_000;

export interface Work {
  readonly chores: readonly Chore[];
  readonly divergences: readonly Divergence[];
}

/** All that is to be done now; `replicalessMs`: how long the primary has had no replica that answers it, 0 when it has one. */
export function choresOf(survey: Survey, findings: readonly Finding[], replicalessMs: number): Work {
  const chores: Chore[] = [];
  const divergences: Divergence[] = [];
  if (survey.cluster.enforceReadOnly) chores.push(...locks(survey, findings));
  const primary = memberOf(survey, survey.remembered);
  if (primary !== undefined && isSeen(primary) && stopsShort(survey, primary)) {
    const because =
      'a promotion had stopped it and got no further; it takes in what the one before it still has';
    chores.push({ kind: 'reconnect', backend: primary.backend.name, because });
  }
  if (primary === undefined || !isSeen(primary) || primary.record.facts.readOnly)
    return { chores, divergences };
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
    const own = ownExtras(member.record.facts, primary.record.facts);
    const why = whyItShouldFollow(survey, member, primary);
    if (why === null) {
      if (own !== null) divergences.push({ backend: member.backend.name, extras: own });
      continue;
    }
    const extras = extrasOver(member.record.facts, primary.record.facts);
    // What a replica has that is looked at after the primary may only be newer: who moves it looks again, in order.
    const isSure = member.record.facts.replication === null || wasSeenBefore(member, primary);
    if (extras.count !== 0n && isSure)
      divergences.push({ backend: member.backend.name, extras: extras.detail });
    else if (survey.cluster.rejoin === 'auto' && member.record.facts.readOnly) {
      const { name: source } = primary.backend;
      chores.push({ kind: 'follow', backend: member.backend.name, source, because: why });
    }
  }
  chores.push(...semiSyncChores(survey, primary, replicalessMs));
  return { chores, divergences };
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
      case 'failover':
      case 'adopt_epoch':
      case 'finish':
        return [];
    }
  });
}

/**
 * Why a member is to be pointed at the primary; null: it is well where it is, or not ours to move.
 * 1. It follows nobody, and has a history: a server that is empty is filled first (BOOTSTRAP, CLONE).
 * 2. It follows a member of the cluster, or is told to (`follow = on`), but does not get to the primary that way.
 */
function whyItShouldFollow(survey: Survey, member: SeenMember, primary: SeenMember): string | null {
  const { replication, position } = member.record.facts;
  if (replication === null) return position === '' ? null : 'it follows nobody';
  if (replication.channels > 1) return null;
  const source = sourceOf(survey, member);
  if (source === primary) return whyItHearsTooSeldom(survey, member);
  // A chain is well as long as it hands on; one whose receiver a promotion has stopped hangs on to the old primary.
  const isStopped = replication.receiver === 'stopped' && replication.receiverError === '';
  if (descendsFrom(survey, member, primary) && !isStopped) {
    return source === undefined ? null : whyItHangs(source, primary);
  }
  if (source !== undefined) return `it follows ${source.backend.name}, which is not the primary`;
  return member.backend.follow
    ? `it follows ${replication.sourceHost}:${replication.sourcePort}, and follow = on`
    : null;
}

/** We have stopped it, and did not come to start it again. One that an operator has stopped is left alone. */
function isLeftStopped({ inHand }: Survey, { backend, record }: SeenMember): boolean {
  const { replication } = record.facts;
  return (
    replication?.receiver === 'stopped' && replication.receiverError === '' && inHand.includes(backend.name)
  );
}

/** Why nothing good comes from a replica to those below it; null: it does. */
function whyItHangs(source: Member, primary: SeenMember): string | null {
  if (!isSeen(source)) return null;
  const { name } = source.backend;
  if (source.record.facts.replication?.applier === 'stopped') {
    return `it follows ${name}, whose own replication is stopped`;
  }
  return ownExtras(source.record.facts, primary.record.facts) === null
    ? null
    : `it follows ${name}, which has transactions of its own`;
}

/** The primary's last look began when that at the member had ended. */
function wasSeenBefore({ record }: SeenMember, primary: SeenMember): boolean {
  const { askedMs } = primary.record;
  return askedMs !== null && record.seenMs !== null && askedMs >= record.seenMs;
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
 * 4. one whose replicas are all gone, and that must wait for them, is let go on alone.
 */
function semiSyncChores(survey: Survey, primary: SeenMember, replicalessMs: number): Chore[] {
  const { cluster } = survey;
  if (cluster.semiSync === 'off') return [];
  const chores: Chore[] = [];
  const followers = survey.members.filter((member): member is SeenMember => followsServer(member, primary));
  for (const { backend, record } of followers) {
    const { semiSync } = record.facts;
    if (semiSync.replica?.enabled !== true) {
      const because = `semi_sync = ${cluster.semiSync}, and it does not answer its primary`;
      chores.push({ kind: 'semi_sync', backend: backend.name, side: 'replica', on: true, because });
    }
    if (semiSync.primary?.enabled === true) {
      const because = 'it is a replica: its applier would wait for replicas of its own';
      chores.push({ kind: 'semi_sync', backend: backend.name, side: 'primary', on: false, because });
    }
  }
  const { name } = primary.backend;
  const side = primary.record.facts.semiSync.primary;
  const answering = followers.filter(({ record }) => answersNow(record));
  const caughtUp = answering.filter(({ record }) => hasAllOf(record.facts, primary.record.facts));
  if (survey.alone) {
    if (caughtUp.length > 0) {
      chores.push({ kind: 'take_back', backend: name, because: `${namesOf(caughtUp)} has caught up` });
    } else if (side?.enabled === true && side.clients === 0) {
      const because = 'it was to go on alone, and waits for replicas again since a restart';
      chores.push({ kind: 'go_alone', backend: name, because });
    }
    return chores;
  }
  if (side?.enabled !== true) {
    if (answering.length > 0) {
      const because = `${namesOf(answering)} answer(s) it`;
      chores.push({ kind: 'semi_sync', backend: name, side: 'primary', on: true, because });
    }
    return chores;
  }
  if (cluster.semiSync === 'require' && side.timeoutMs < NEVER_MS) {
    const because = `its commits wait only ${side.timeoutMs} ms for a replica, and semi_sync = require`;
    chores.push({ kind: 'semi_sync', backend: name, side: 'primary', on: true, because });
  }
  const mayActAlone = survey.arbiters.total === 0 || survey.arbiters.reachable > 0;
  const patienceMs = allDown(survey, primary) ? 0 : cluster.holdTimeoutMs;
  // One that is frozen, or cut off, stays connected for long, and its primary waits for it.
  const isInVain = side.clients === 0 || (side.waiting > 0 && allDown(survey, primary));
  if (isInVain && answering.length === 0 && mayActAlone && replicalessMs > patienceMs) {
    chores.push({
      kind: 'go_alone',
      backend: name,
      because: 'it has no replica any more, so its writes wait',
    });
  }
  return chores;
}

/** Some replica tells the primary what it has received. */
export function isAnswered(survey: Survey): boolean {
  const primary = memberOf(survey, survey.remembered);
  if (primary === undefined) return false;
  return survey.members.some((member) => followsServer(member, primary) && answersNow(member.record));
}

function answersNow({ facts }: SeenMember['record']): boolean {
  return facts.semiSync.replica?.enabled === true && facts.replication?.receiver === 'running';
}

function allDown(survey: Survey, primary: Member): boolean {
  return survey.members.every((member) => member === primary || member.record.reach === 'down');
}

function namesOf(members: readonly Member[]): string {
  return members.map(({ backend }) => backend.name).join(', ');
}
