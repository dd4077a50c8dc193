/**
 * What the steps of a promotion do in another way where there are no global ids: they wait for places, and take down
 * where the new primary stands in both logs (`place.ts`) at the only moment at which that can be known.
 */
import type { BackendConfig } from '../../config/config.ts';
import type { ServerFacts } from '../../monitor/observation.ts';
import type { Handover, LogPlace } from '../../topology/state-file.ts';
import { appliedPlace, comparePlaces, describePlace, endOfLog, handoverOf } from '../place.ts';
import { LOOK_TIMEOUT_MS, type ServerControl } from '../server-control.ts';

/** How often a half transaction is looked at before it is taken for one. */
const LOOKS_AT_A_HALF = 5;

/**
 * Waits for a moment for `target` to apply the fenced old primary's log up to `end`. Answers where that log ends now:
 * the same place when all has been applied, a later one when who may write on a read-only server has written, or the
 * log was rotated; null: not there yet.
 */
export async function reachEnd(
  target: ServerControl,
  old: ServerControl,
  end: LogPlace,
): Promise<LogPlace | null> {
  const reached = await target.hasApplied(end);
  const facts = await target.look(LOOK_TIMEOUT_MS);
  if (!reached) return null;
  const now = endOfLog(await old.look(LOOK_TIMEOUT_MS));
  const applied = appliedPlace(facts);
  if (now === null || applied?.server !== now.server) {
    throw new Error(`${target.backend.name} does not follow the log of ${old.backend.name}`);
  }
  return comparePlaces(now, end) !== 0 || comparePlaces(applied, end) === 0 ? now : null;
}

/**
 * The handover, once nothing is applied any more and nobody can write there. `fenced`: where the log of an old primary
 * ends that is alive; null: it is not, or that was looked at before.
 */
export function takeHandover(facts: ServerFacts, name: string, fenced: LogPlace | null): Handover {
  const handover = handoverOf(facts);
  if (handover === null) throw new Error(`where ${name} stands in the log of its source is not known`);
  if (!facts.readOnly) throw new Error(`${name} can be written to, so where it stands cannot be told`);
  if (fenced !== null && comparePlaces(handover.end, fenced) !== 0) {
    throw new Error(
      `${name} has applied ${describePlace(handover.end)} where the log of the old primary ends at ${describePlace(fenced)}`,
    );
  }
  return handover;
}

/** Points the new primary, which has forgotten its source, at the old one again: a promotion is taken back. */
export async function followOldAgain(
  target: ServerControl,
  old: BackendConfig,
  { start, end }: Handover,
  followMs: number,
): Promise<void> {
  // What it has written by itself, if only the note of an epoch that never was, the old primary has not.
  if ((await target.logAfter(start)) !== 'nothing') {
    throw new Error(`${target.backend.name} has changes of its own; it needs a fresh copy of the data`);
  }
  await target.follow(old, followMs, false, end);
}

/** How often it has to be seen with all applied: of half a transaction only its standing still tells that it is one. */
export function looksUntilSure({ hasGtid, replication }: ServerFacts): number {
  if (hasGtid || replication === null) return 1;
  const { receivedFile: received, appliedFile: applied } = replication;
  const isAll = received?.file === applied?.file && received?.position === applied?.position;
  return isAll ? 1 : LOOKS_AT_A_HALF;
}
