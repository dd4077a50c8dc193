/**
 * Do replicas acknowledge what a primary writes? What a replica says of itself is not enough: one that comes and goes, or
 * that is connected and writes nothing down, keeps the commits of its primary waiting. So while commits wait, only
 * what comes of them counts. Pure.
 */
import type { ReplicationFacts } from '../monitor/observation.ts';
import { receiverWitness } from '../monitor/witness.ts';
import { followsServer, memberOf, type Member, type SeenMember, type Survey } from './survey.ts';

/** What has been seen of the acknowledgements of a primary, from look to look. */
export interface Acknowledgements {
  readonly primary: string;
  /** So many commits have been acknowledged since its start. */
  readonly count: number;
  /** How far in its binary log any replica has received; grows as a text. */
  readonly furthest: string;
  /** Since when none has come, or none could; null: they come. */
  readonly missingSinceMs: number | null;
}

/** Replicas of the primary that tell it what they have received. */
export function acknowledgersOf(survey: Survey, primary: Member): SeenMember[] {
  return survey.members.filter(
    (member): member is SeenMember =>
      followsServer(member, primary) &&
      acknowledges(member.record.facts) &&
      receiverWitness(member.record, survey.cluster, survey.nowMs) !== 'silent',
  );
}

/** Its receiver is connected as one that acknowledges; that it is switched on tells only of its next connection. */
export function acknowledges({ semiSync, replication }: SeenMember['record']['facts']): boolean {
  return semiSync.replica?.live === true && replication?.receiver === 'running';
}

/**
 * What is known after one more look. Acknowledgements come
 * 1. while commits wait: when one has come, or a replica has received more, since the look before;
 * 2. while none waits: when as many replicas acknowledge as a commit needs.
 */
export function noteAcknowledgements(
  before: Acknowledgements | null,
  survey: Survey,
): Acknowledgements | null {
  const primary = memberOf(survey, survey.remembered);
  const facts = primary?.record.facts ?? null;
  if (primary === undefined || facts === null) return null;
  const { name } = primary.backend;
  const side = facts.semiSync.primary;
  const count = side?.acknowledged ?? 0;
  const reached = survey.members
    .filter((member) => followsServer(member, primary))
    .map(({ record }) => receivedOf(record.facts.replication!));
  // A server that was restarted counts from the beginning.
  const known = before?.primary === name && before.count <= count ? before : null;
  const furthest = [known?.furthest ?? '', ...reached].sort().at(-1)!;
  const isWaiting = (side?.waiting ?? 0) > 0;
  const come = isWaiting
    ? known === null || count > known.count || furthest > known.furthest
    : acknowledgersOf(survey, primary).length >= (side?.waitForReplicas ?? 1);
  const missingSinceMs = come ? null : (known?.missingSinceMs ?? survey.nowMs);
  return { primary: name, count, furthest, missingSinceMs };
}

/**
 * For how long acknowledgements have not come, as far as is known. While the primary has replicas connected, only
 * a later look at it can tell.
 */
export function missingForMs(known: Acknowledgements | null, survey: Survey): number {
  const primary = memberOf(survey, survey.remembered);
  const side = primary?.record.facts?.semiSync.primary ?? null;
  if (primary === undefined || known === null || known.missingSinceMs === null) return 0;
  const couldCome = side !== null && side.clients >= side.waitForReplicas;
  const untilMs = couldCome ? (primary.record.seenMs ?? 0) : survey.nowMs;
  return Math.max(0, untilMs - known.missingSinceMs);
}

function receivedOf({ receivedFile }: ReplicationFacts): string {
  return receivedFile === null
    ? ''
    : `${receivedFile.file} ${String(receivedFile.position).padStart(20, '0')}`;
}
