/**
 * How far a server is where there are no global ids: a place in the binary log of one server, by file and position.
 *
 * Places compare only within one log, which its server's uuid names. Of two servers' logs nothing can be said but where
 * a promotion has been: at that moment nobody writes, and what the new primary has applied of the old one's log (`end`)
 * is the same data as the end of its own log (`start`). That is the *handover*, and the one bridge between two logs:
 * who stands at `end` may follow the new primary from `start`.
 */
import type { FilePosition, ServerFacts } from '../monitor/observation.ts';
import type { Handover, LogPlace } from '../topology/state-file.ts';

/** Below 0: `one` comes first; 0: the same; null: they are not of one log. */
export function comparePlaces(one: LogPlace, other: LogPlace): number | null {
  if (one.server !== other.server) return null;
  const [oneBase, oneNumber] = partsOf(one.file);
  const [otherBase, otherNumber] = partsOf(other.file);
  if (oneBase !== otherBase || oneNumber === null || otherNumber === null) return null;
  return oneNumber === otherNumber ? one.position - other.position : oneNumber - otherNumber;
}

/** `binlog.000012` → `binlog`, 12. */
function partsOf(file: string): [string, number | null] {
  const match = /^(.*)\.(\d+)$/.exec(file);
  return match === null ? [file, null] : [match[1]!, Number(match[2])];
}

/** The end of its own binary log. */
export function endOfLog({ serverUuid, filePosition }: ServerFacts): LogPlace | null {
  return placeIn(serverUuid, filePosition);
}

/** How far it has received and applied the log of the server it follows. */
export function receivedPlace({ replication }: ServerFacts): LogPlace | null {
  return replication === null ? null : placeIn(replication.sourceUuid, replication.receivedFile);
}

export function appliedPlace({ replication }: ServerFacts): LogPlace | null {
  return replication === null ? null : placeIn(replication.sourceUuid, replication.appliedFile);
}

function placeIn(server: string, place: FilePosition | null): LogPlace | null {
  return server === '' || place === null ? null : { server, ...place };
}

/**
 * True when `one` has all that `other` has received, or has written where it follows nobody: as far as their places
 * are in one log, which is that of a source that both have, or of one of the two.
 */
export function hasAllByPlace(one: ServerFacts, other: ServerFacts): boolean {
  if (one.hasGtid || other.hasGtid) return false;
  const theirs = other.replication === null ? endOfLog(other) : receivedPlace(other);
  return theirs !== null && hasReached(one, theirs);
}

/** True when it has received, or written, all up to this place. */
export function hasReached(facts: ServerFacts, place: LogPlace): boolean {
  return [endOfLog(facts), receivedPlace(facts)].some((own) => {
    const order = own === null ? null : comparePlaces(own, place);
    return order !== null && order >= 0;
  });
}

/** In words. */
export function describePlace(place: LogPlace | null): string {
  return place === null ? 'no known place' : `${place.file}:${place.position}`;
}

/** How far it is in the words of its kind: of a replica in its source's log, of another one in its own. */
export function describeByPlace(facts: ServerFacts): string {
  const { replication } = facts;
  if (replication === null) return `${describePlace(endOfLog(facts))} of its own log`;
  return `${describePlace(receivedPlace(facts))} of ${replication.sourceHost}:${replication.sourcePort}`;
}

/** Why no server could follow this one after `before`; null: any could. */
export function whyNobodyCouldFollow(facts: ServerFacts, before: ServerFacts | null): string | null {
  if (!facts.logsChanges) return 'its binary log is off (log_bin), so no server could follow it';
  if (before !== null && facts.hasGtid !== before.hasGtid) {
    const [on, off] = facts.hasGtid ? ['it', 'the old primary'] : ['the old primary', 'it'];
    return `global transaction ids are on at ${on} and off at ${off} (gtid_mode): such a mixture cannot be promoted in; switch them on everywhere`;
  }
  if (facts.hasGtid) return null;
  if (facts.whyNotByPlace === '') return null;
  return `global transaction ids are off there (gtid_mode), which a promotion needs: ${facts.whyNotByPlace}`;
}

/** The handover that a promotion of this server makes now that its replication stands still; null: its place is not known. */
export function handoverOf(facts: ServerFacts): Handover | null {
  const end = appliedPlace(facts);
  const received = receivedPlace(facts);
  const start = endOfLog(facts);
  return end === null || received === null || start === null ? null : { end, received, start };
}

/** Where a server stands that is to follow the new primary of a handover. */
export type Standing =
  /** It follows it already. */
  | { readonly kind: 'there' }
  /** It is the old primary itself: what came after `end` has to be looked for in its log. */
  | { readonly kind: 'old_primary' }
  /** A replica of the old primary: below 0, it lacks something up to `end`; above, it has applied more. */
  | { readonly kind: 'replica'; readonly order: number; readonly applied: LogPlace }
  | { readonly kind: 'unknown'; readonly why: string };

/** Whether a replica whose source does not say its uuid follows the new primary is told by its address: `isThere`. */
export function standingOf(
  own: ServerFacts,
  primary: ServerFacts,
  handover: Handover | null,
  isThere: boolean,
): Standing {
  if (own.hasGtid !== primary.hasGtid) {
    return unknown('global transaction ids are on at one of the two only (gtid_mode)');
  }
  const { replication } = own;
  const isByUuid = replication !== null && replication.sourceUuid !== '';
  if (isByUuid ? replication.sourceUuid === primary.serverUuid : replication !== null && isThere)
    return { kind: 'there' };
  if (handover === null || handover.start.server !== primary.serverUuid)
    return unknown('how its place is called in the log of the new primary was not recorded');
  if (replication === null) {
    return own.serverUuid === handover.end.server
      ? { kind: 'old_primary' }
      : unknown('it follows nobody, and was not the primary before this one');
  }
  const applied = appliedPlace(own);
  const order = applied === null ? null : comparePlaces(applied, handover.end);
  return applied === null || order === null
    ? unknown('it does not follow the primary before this one, in whose log alone its place would be known')
    : { kind: 'replica', order, applied };
}

function unknown(why: string): Standing {
  return { kind: 'unknown', why };
}
