/**
 * What transactions a server has: to find out who is ahead of whom, and who has some that nobody else has. By their
 * global ids; where there are none, by places in binary logs (`place.ts`), of which two may not be comparable: then
 * nobody has all that the other has.
 *
 * MariaDB numbers the transactions of a domain in one row, whoever writes them: after a failover the number that
 * an old primary gave its last, lost transaction is given again to another one. So a position (`0-1-100`) tells
 * how far a replica is behind its source, but not whether two servers have the same; that takes the state of
 * their binary logs, which names the last number of *each* server (`0-1-99,0-2-105`). MySQL's sets tell both.
 */
import { countLacking, describePositions, holdsPosition, unitePositions } from '../monitor/gtid.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { copyAdvice } from '../topology/divergence-words.ts';
import { describeByPlace, endOfLog, hasAllByPlace, hasReached } from './place.ts';

/** All transactions a server has, applied or only received. */
export function heldBy({ position, replicatedPosition, replication }: ServerFacts): string {
  return unitePositions(position, replicatedPosition, replication?.receivedPosition ?? '');
}

/** The transactions a replica has from others: without its own. */
export function receivedBy(facts: ServerFacts | null): string {
  if (facts === null) return '';
  const { position, replicatedPosition, replication } = facts;
  const received = unitePositions(replicatedPosition || position, replication?.receivedPosition ?? '');
  // MariaDB keeps them apart itself; in MySQL's sets they bear its uuid.
  const uuid = uuidOf(facts);
  const isOwn = (item: string): boolean => item.includes(':') && originOf(item) === uuid;
  return itemsOf(received)
    .filter((item) => !isOwn(item))
    .join(',');
}

/**
 * What a server has without what came to it from other sources than its cluster: of a MariaDB server, what is in a
 * domain in which no member of the cluster has anything; of a MySQL server, what was written by a server that no member
 * has anything of.
 */
export function withoutForeign(facts: ServerFacts, members: readonly ServerFacts[]): ServerFacts {
  const known = new Set(
    [
      facts.ownTransactions,
      ...members.flatMap(({ history, replicatedPosition }) => [history, replicatedPosition]),
    ]
      .flatMap(itemsOf)
      .map(originOf),
  );
  const ours = (text: string): string =>
    itemsOf(text)
      .filter((item) => known.has(originOf(item)))
      .join(',');
  const { replication } = facts;
  return {
    ...facts,
    position: ours(facts.position),
    history: ours(facts.history),
    replicatedPosition: ours(facts.replicatedPosition),
    replication: replication && { ...replication, receivedPosition: ours(replication.receivedPosition) },
  };
}

/** What `withoutForeign` takes away, as global ids. */
export function foreignTo(all: ServerFacts, ours: ServerFacts): string {
  const known = new Set([...itemsOf(ours.position), ...itemsOf(ours.history)]);
  return [...itemsOf(all.position), ...itemsOf(all.history)].filter((item) => !known.has(item)).join(',');
}

function itemsOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** The uuid of MySQL's `uuid:1-5`, the domain of MariaDB's `0-1-100`. */
function originOf(item: string): string {
  return item.includes(':') ? item.slice(0, item.indexOf(':')).toLowerCase() : item.split('-', 1)[0]!;
}

/** What a MySQL server is called in global ids; empty: it is not known. */
function uuidOf({ ownTransactions, serverUuid }: ServerFacts): string {
  // One whose log was reset names nobody any more.
  return (/^[0-9a-f-]{36}/i.exec(ownTransactions)?.[0] ?? serverUuid).toLowerCase();
}

/** True when `one` has all that `other` has received, and so may be promoted instead of it. */
export function hasAllOf(one: ServerFacts, other: ServerFacts): boolean {
  if (!one.hasGtid || !other.hasGtid) return hasAllByPlace(one, other);
  const received = receivedBy(other);
  // What it has written itself nobody has sent it.
  const isOwn = (item: string): boolean => item.split('-')[1] === String(other.serverId);
  const fromOthers = itemsOf(received).filter((item) => item.includes(':') || !isOwn(item));
  return holdsPosition(heldBy(one), received) && holds(one, fromOthers.join(','));
}

/** Nobody has ever sent it anything: what it has it has written itself. Of MySQL `receivedBy` tells. */
export function hasWrittenAllItself({ position, replicatedPosition, replication }: ServerFacts): boolean {
  return replication === null && replicatedPosition === '' && !position.includes(':');
}

/** True when `one` has received all that is in the binary log of `source`. */
export function hasLogOf(one: ServerFacts, source: ServerFacts): boolean {
  if (one.hasGtid && source.hasGtid) return holds(one, source.position);
  const end = endOfLog(source);
  return !one.hasGtid && !source.hasGtid && end !== null && hasReached(one, end);
}

/**
 * Of a writer that its binary log names, a MariaDB server has just what it names: when it has gone on in the domain by
 * itself, its position is past numbers that the other one has given. Of one that it does not name (it was filled from
 * a copy) the position alone tells.
 */
function holds(one: ServerFacts, wanted: string): boolean {
  if (!holdsPosition(heldBy(one), wanted)) return false;
  const named = parseLogState(one.history);
  if (named === null) return true;
  addState(named, one.replicatedPosition);
  addState(named, one.replication?.receivedPosition ?? '');
  return [...(parseLogState(wanted) ?? [])].every(
    ([writer, sequence]) => sequence <= (named.get(writer) ?? sequence),
  );
}

/** How far a server is, in words. */
export function describeHeld(facts: ServerFacts): string {
  return facts.hasGtid ? describePositions(heldBy(facts)) || 'nothing' : describeByPlace(facts);
}

/** A server that is to follow the primary has what that one has not. */
export class Diverged extends Error {
  readonly extras: string;

  constructor(extras: string, primary: string) {
    super(`it has what ${primary} has not: ${extras}`);
    this.extras = extras;
  }
}

/** What a server has that another has not. */
export interface Extras {
  /** At least so many; null: it cannot be told. */
  readonly count: bigint | null;
  /** In words for an operator. */
  readonly detail: string;
}

/** What `one` has in its binary log that `other` has neither there nor received. */
export function extrasOver(one: ServerFacts, other: ServerFacts): Extras {
  if (!one.hasGtid || !other.hasGtid)
    return { count: null, detail: 'without global ids that is to be read out of its log' };
  const mariadb = parseLogState(one.history);
  if (mariadb !== null) {
    // What it has received and not applied is gone when it follows another one.
    addState(mariadb, one.replication?.receivedPosition ?? '');
    return mariadbExtras(mariadb, other);
  }
  const count = countLacking(heldBy(other), heldBy(one));
  if (count === null)
    return {
      count,
      detail: `${one.position || 'nothing'} cannot be compared with ${heldBy(other) || 'nothing'}`,
    };
  return {
    count,
    // Without what the other one has, which goes on all the time.
    detail: count === 0n ? '' : `${count} of ${one.position} are not in its log`,
  };
}

/** What a replica has written by itself and `other` has not, in words; null: nothing. */
export function ownExtras(replica: ServerFacts, other: ServerFacts): string | null {
  const own = replica.ownTransactions;
  // Without global ids nothing tells them from what it has replicated.
  if (own === '' || !replica.hasGtid || !other.hasGtid) return null;
  // Only what it wrote: what it has received of others is theirs, and may be newer than what was seen of them.
  const alone = { ...replica, position: own, history: own, replicatedPosition: '', replication: null };
  const extras = extrasOver(alone, other);
  return extras.count === 0n ? null : extras.detail;
}

/** What a server has written itself and had not `before`, in words; null: nothing. */
export function ownSince({ hasGtid, ownTransactions }: ServerFacts, before: string): string | null {
  if (!hasGtid || ownTransactions === '') return null;
  const state = parseLogState(ownTransactions);
  if (state === null) return countLacking(before, ownTransactions) === 0n ? null : ownTransactions;
  const known = parseLogState(before) ?? new Map<string, bigint>();
  const news = [...state].filter(([writer, sequence]) => sequence > (known.get(writer) ?? 0n));
  return news.length === 0 ? null : news.map(([writer, sequence]) => `${writer}-${sequence}`).join(', ');
}

/**
 * What a replica has of others than its primary, which follows nobody, and that one has not, in words; null: nothing.
 * Nothing of that can have come from the primary, however long ago either was looked at. Of a MariaDB primary that does
 * not name a writer at all nothing is said: it may have been filled from a copy.
 */
export function strayExtras(replica: ServerFacts, primary: ServerFacts): string | null {
  if (!replica.hasGtid || !primary.hasGtid || primary.replication !== null) return null;
  if (primary.history === '') return null;
  const named = parseLogState(primary.history);
  const uuid = uuidOf(primary);
  // The first that it has written may be newer than what was seen of it.
  if (named === null && uuid === '') return null;
  const isStray = (item: string): boolean => {
    if (item.includes(':')) return originOf(item) !== uuid;
    const writer = item.slice(0, item.lastIndexOf('-'));
    return !writer.endsWith(`-${primary.serverId}`) && named?.has(writer) === true;
  };
  const strayOf = (text: string): string => itemsOf(text).filter(isStray).join(',');
  const { position, history, replicatedPosition, replication } = replica;
  const strays = {
    ...replica,
    position: strayOf(position),
    history: strayOf(history),
    replicatedPosition: strayOf(replicatedPosition),
    replication: replication && { ...replication, receivedPosition: strayOf(replication.receivedPosition) },
  };
  const held = unitePositions(strays.history, heldBy(strays));
  if (held === '') return null;
  // What was only received tells its family as well.
  const extras = extrasOver({ ...strays, history: named === null ? held : strays.history }, primary);
  return extras.count === 0n ? null : extras.detail;
}

/**
 * True when `source` has transactions that `server` has written itself and does not have any more: a crash has cut
 * its binary log short. A replica does not take from its source what bears its own number, and would never have them
 * again, without a word.
 */
export function lacksOwn(server: ServerFacts, source: ServerFacts): boolean {
  if (!server.hasGtid || !source.hasGtid) return false;
  const state = parseLogState(server.history);
  const theirs = parseLogState(source.history);
  if (state !== null && theirs !== null) {
    const isOwn = (writer: string): boolean => writer.endsWith(`-${server.serverId}`);
    return [...theirs].some(([writer, sequence]) => isOwn(writer) && sequence > (state.get(writer) ?? 0n));
  }
  const own = uuidOf(server);
  if (own === '') return false;
  const items = source.history.split(',').map((item) => item.trim());
  const written = items.filter((item) => item.toLowerCase().startsWith(own)).join(',');
  return written !== '' && countLacking(server.history, written) !== 0n;
}

/**
 * What a replica lacks of its own for good, though `source` has it, in words; null: nothing, as far as can be told. It has
 * applied what came behind in the same domain. MySQL does not keep an order that would tell.
 */
export function passedOver(server: ServerFacts, source: ServerFacts): string | null {
  const state = parseLogState(server.history);
  const theirs = parseLogState(source.history);
  if (!server.hasGtid || !source.hasGtid || state === null || theirs === null) return null;
  const applied = new Map(state);
  addState(applied, server.replicatedPosition);
  const missing = [...theirs].flatMap(([writer, sequence]) => {
    const own = state.get(writer);
    // What it was filled with its log may not name.
    if (own === undefined || sequence <= own || !writer.endsWith(`-${server.serverId}`)) return [];
    const isPast = [...applied].some(
      ([other, last]) => other !== writer && domainOf(other) === domainOf(writer) && last > sequence,
    );
    return isPast ? [`${writer}-${own + 1n} to ${writer}-${sequence}`] : [];
  });
  return missing.length === 0 ? null : missing.join(', ');
}

/** Of MariaDB's `domain-server`. */
function domainOf(writer: string): string {
  return writer.split('-', 1)[0]!;
}

/**
 * The state for the empty binary log of a MariaDB server that somebody has filled: what is in the log of `primary` up to
 * where it stands, with all who have written. Empty: it has a log, or stands nowhere.
 */
export function historyToBeginWith(filled: ServerFacts, primary: ServerFacts): string {
  const place = parseLogState(filled.replicatedPosition);
  const state = parseLogState(primary.history);
  if (filled.history !== '' || place === null || place.size === 0 || state === null) return '';
  addState(state, primary.replicatedPosition);
  const until = new Map([...place].map(([writer, sequence]) => [domainOf(writer), sequence]));
  const earlier = [...state].filter(
    ([writer, sequence]) => !place.has(writer) && sequence < (until.get(domainOf(writer)) ?? 0n),
  );
  // The last of a domain is what the server takes for its end.
  return [...earlier, ...place].map(([writer, sequence]) => `${writer}-${sequence}`).join(',');
}

/**
 * True when a primary that is back after a crash lacks what it had sent to this replica: its binary log was cut short
 * (MariaDB cuts off what was not committed in the engine when it starts as a semi-synchronous replica). It would give
 * the same numbers to other transactions, and the replica would never know. One that has only forgotten what is in its
 * log has cut off its replicas, which it takes for ones from elsewhere: a replica that has all of it goes on instead.
 */
export function hasMoreThanItsSource(replica: ServerFacts, primary: ServerFacts): boolean {
  const received = replica.replication?.receivedPosition ?? '';
  const history = [replica.history, received].filter((part) => part !== '').join(',');
  const { forgotten } = primary;
  if (forgotten?.why !== null) return lacksOwn(primary, { ...replica, history });
  return lacksOwn({ ...primary, ...forgotten }, { ...replica, history }) && hasLogOf(replica, primary);
}

/** What becomes of a server that has forgotten what is in its log, when it is to write or to follow; to be put behind other words. */
export function describeReminder({ position, forgotten }: ServerFacts): string {
  if (forgotten === undefined || forgotten.why !== null) return '';
  return `; a crash had made it forget what is in its own binary log: it said ${forgotten.position || 'nothing'} and has ${position}; it knows again, and its log begins anew behind that`;
}

/** Why it is not known where a server that follows nobody would have to follow from, in words; null: it is known, or it is empty. */
export function whyItsPlaceIsUnknown(backend: string, facts: ServerFacts): string | null {
  const { hasGtid, replication, position, replicatedPosition, forgotten, epoch } = facts;
  if (!hasGtid || replication !== null) return null;
  const why = forgotten?.why ?? null;
  if (why !== null) return `it cannot be told what ${backend} has: ${why}; ${copyAdvice(backend)}`;
  if (position !== '' || replicatedPosition !== '' || epoch === null) return null;
  return `${backend} was in this cluster already, in epoch ${epoch.epoch}, and its binary log tells of nothing that it has: it was reset, or lost in a crash; ${copyAdvice(backend)}`;
}

function mariadbExtras(own: ReadonlyMap<string, bigint>, other: ServerFacts): Extras {
  const theirs = parseLogState(other.history);
  if (theirs === null) return { count: null, detail: `${other.history} is not the state of a binary log` };
  // What it has received but not logged yet counts as well, by the server that wrote it; and where it was filled.
  addState(theirs, other.replication?.receivedPosition ?? '');
  addState(theirs, other.replicatedPosition);
  let count = 0n;
  const details: string[] = [];
  for (const [writer, sequence] of own) {
    const known = theirs.get(writer) ?? 0n;
    if (sequence <= known) continue;
    count += 1n;
    details.push(
      `${writer}-${sequence} (the other has ${known === 0n ? 'none' : `up to ${writer}-${known}`})`,
    );
  }
  return { count, detail: details.join(', ') };
}

/** Adds another state to one. */
function addState(state: Map<string, bigint>, text: string): void {
  for (const [writer, sequence] of parseLogState(text) ?? []) {
    if (sequence > (state.get(writer) ?? 0n)) state.set(writer, sequence);
  }
}

/** `domain-server-sequence,…` by `domain-server`; null for anything else. An empty text is an empty log. */
function parseLogState(text: string): Map<string, bigint> | null {
  const state = new Map<string, bigint>();
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const match = /^(\d+-\d+)-(\d+)$/.exec(item);
    if (match === null) return null;
    const sequence = BigInt(match[2]!);
    if (sequence > (state.get(match[1]!) ?? 0n)) state.set(match[1]!, sequence);
  }
  return state;
}
