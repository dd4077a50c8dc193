/**
 * Servers that have what the primary has not: old primaries that came back, replicas that somebody has written on, and
 * replicas that had received more than the one that was promoted. And replicas whose data is another for good: that lack
 * what it has, or have what it had. Pure: what a look tells for sure is kept until another tells for sure that it is over.
 */
import { describeHeld, extrasOver, ownExtras, passedOver, strayExtras } from './history.ts';
import { traceOf } from './memory.ts';
import type { Divergence, OwnWrites } from '../topology/state-file.ts';
import {
  descendsFrom,
  isSeen,
  memberOf,
  sourceOf,
  wasSeenBefore,
  type SeenMember,
  type Survey,
} from './survey.ts';

/** Those that are known after one more look; `known`: those before. */
export function divergencesOf(survey: Survey, known: readonly Divergence[]): Divergence[] {
  const primary = memberOf(survey, survey.remembered);
  if (primary === undefined || !isSeen(primary) || primary.record.facts.readOnly)
    return known.filter(({ backend }) => memberOf(survey, backend) !== undefined);
  return survey.members.flatMap((member): Divergence[] => {
    const { name: backend } = member.backend;
    if (member === primary) return [];
    const before = known.filter((one) => one.backend === backend);
    if (!isSeen(member) || member.admin === 'offline') return before;
    const extras = extrasOf(survey, member, primary);
    if (extras === undefined) return before;
    const forgotten = forgottenOf(survey, member, primary, before);
    if (forgotten !== null) return [{ backend, extras: forgotten, kind: 'forgotten' }];
    if (extras !== null) return [{ backend, extras }];
    const missing = passedOver(member.record.facts, primary.record.facts);
    return missing === null ? [] : [{ backend, extras: missing, kind: 'lacks' }];
  });
}

/**
 * What it has of the primary's own, which goes on and has it no more, in words; null: nothing. That stays so when the
 * primary has given as many ids again, until the server is seen to follow nobody: then it is being filled, or compared.
 */
function forgottenOf(
  survey: Survey,
  member: SeenMember,
  primary: SeenMember,
  [before]: readonly Divergence[],
): string | null {
  const { facts } = member.record;
  if (facts.replication === null || !descendsFrom(survey, member, primary)) return null;
  if (before?.kind === 'forgotten') return before.extras;
  return traceOf(survey, primary, member)?.hasOutlived === true ? describeHeld(facts) : null;
}

/**
 * By the name of a replica, after one more look: what it has written itself, as long as the primary has all of that. A process
 * that has never seen the primary tells by it that somebody has written there since.
 */
export function ownWritesOf(survey: Survey): Readonly<Record<string, string>> {
  const primary = memberOf(survey, survey.remembered);
  if (primary === undefined) return survey.ownWrites;
  const isThere = isSeen(primary) && !primary.record.facts.readOnly;
  const entries = survey.members.flatMap((member): [string, string][] => {
    const { name } = member.backend;
    if (member === primary) return [];
    const before = survey.ownWrites[name];
    const known: [string, string][] = before === undefined ? [] : [[name, before]];
    if (!isThere || !isSeen(member) || !descendsFrom(survey, member, primary)) return known;
    const { facts } = member.record;
    if (!facts.hasGtid || ownExtras(facts, primary.record.facts) !== null) return known;
    return [[name, facts.ownTransactions]];
  });
  return Object.fromEntries(entries);
}

/** Those that were written down, if they are of this epoch. */
export function ownWritesIn(epoch: number, written: OwnWrites | undefined): Readonly<Record<string, string>> {
  return written?.epoch === epoch ? written.of : {};
}

/** What it has that the primary has not, in words; null: nothing; undefined: these looks do not tell. */
function extrasOf(survey: Survey, member: SeenMember, primary: SeenMember): string | null | undefined {
  const { facts } = member.record;
  const { replication, position } = facts;
  // Of a replica, what it has from the primary may only be newer than what was seen of that one.
  const isInCluster = sourceOf(survey, member) !== undefined || member.backend.follow;
  const isElsewhere = replication !== null && (replication.channels > 1 || !isInCluster);
  if (isElsewhere) return ownExtras(facts, primary.record.facts);
  if (descendsFrom(survey, member, primary))
    return ownExtras(facts, primary.record.facts) ?? strayExtras(facts, primary.record.facts);
  // What is known of one without global ids is its place, not what it has (`place.ts`): who moves it finds that out.
  if (!facts.hasGtid) return undefined;
  if (position === '') return null;
  if ((facts.forgotten?.why ?? null) !== null) return undefined;
  const extras = extrasOver(facts, primary.record.facts);
  if (extras.count === 0n) return null;
  return replication === null || wasSeenBefore(member, primary) ? extras.detail : undefined;
}
