/**
 * Replicas that a primary which is back after a crash need not wait for. A crash costs it no more than its last moments,
 * and who was gone by then has none of what it wrote in them: it must have been away long before the primary was last
 * seen taking writes, and none that nobody could ask may have been connected since. Which these are is written down, as the
 * next process may find both dead: the primary would wait for ever for a replica whose host is long gone. Pure.
 */
import type { LongGone } from '../topology/state-file.ts';
import { traceOf } from './memory.ts';
import { isSeen, memberOf, type Member, type Survey } from './survey.ts';

/** What a server wrote longer ago has come to its disk by then, whatever its settings. */
const ON_DISK_WITHIN_MS = 60_000;

/** Their names, after one more look. */
export function longGoneOf(survey: Survey): string[] {
  const primary = memberOf(survey, survey.remembered);
  if (primary === undefined || survey.cluster.semiSync !== 'require') return [];
  return survey.members
    .filter((member) => member !== primary && wasLongGone(survey, member, primary))
    .map(({ backend }) => backend.name);
}

/** Those that were written down, if they are of this epoch. */
export function longGoneIn(epoch: number, written: LongGone | undefined): readonly string[] {
  return written?.epoch === epoch ? written.servers : [];
}

/**
 * In this order:
 * 1. it does not answer;
 * 2. this process has not seen the primary take writes since another one did: what is written down holds;
 * 3. when it last did, no replica was connected to it that could not be asked;
 * 4. one that this process has never seen beside this primary was gone before, if that was written down;
 * 5. it was gone long enough before, and for as long no such replica was connected.
 */
function wasLongGone(survey: Survey, member: Member, primary: Member): boolean {
  if (isSeen(member)) return false;
  const isKnown = survey.longGone.includes(member.backend.name);
  const { reigns } = survey.memory;
  const reign = reigns.get(primary.backend.name);
  const isLast = (askedMs: number): boolean => [...reigns.values()].every((one) => one.askedMs <= askedMs);
  if (reign === undefined || !isLast(reign.askedMs)) return isKnown;
  if (reign.accountedSinceMs === null) return false;
  const trace = traceOf(survey, primary, member);
  if (trace === undefined && isKnown) return true;
  const goneMs = trace === undefined ? -Infinity : (trace.goneMs ?? Infinity);
  return Math.max(goneMs, reign.accountedSinceMs) + ON_DISK_WITHIN_MS <= reign.askedMs;
}
