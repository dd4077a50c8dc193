/**
 * What transactions a server has, by their global ids: to find out who is ahead of whom, and who has some that
 * nobody else has.
 *
 * MariaDB numbers the transactions of a domain in one row, whoever writes them: after a failover the number that
 * an old primary gave its last, lost transaction is given again to another one. So a position (`0-1-100`) tells
 * how far a replica is behind its source, but not whether two servers have the same; that takes the state of
 * their binary logs, which names the last number of *each* server (`0-1-99,0-2-105`). MySQL's sets tell both.
 */
import { countLacking, holdsPosition, unitePositions } from '../monitor/gtid.ts';
import type { ServerFacts } from '../monitor/observation.ts';

/** All transactions a server has, applied or only received. */
export function heldBy({ position, replicatedPosition, replication }: ServerFacts): string {
  return unitePositions(position, replicatedPosition, replication?.receivedPosition ?? '');
}

/** The transactions a replica has from others: without its own, where it keeps those apart. */
export function receivedBy(facts: ServerFacts | null): string {
  if (facts === null) return '';
  const { position, replicatedPosition, replication } = facts;
  return unitePositions(replicatedPosition || position, replication?.receivedPosition ?? '');
}

/** True when `one` has all that `other` has received, and so may be promoted instead of it. */
export function hasAllOf(one: ServerFacts, other: ServerFacts): boolean {
  return holdsPosition(heldBy(one), receivedBy(other));
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
  if (own === '') return null;
  // Only what it wrote: what it has received of others is theirs, and may be newer than what was seen of them.
  const alone = { ...replica, position: own, history: own, replicatedPosition: '', replication: null };
  const extras = extrasOver(alone, other);
  return extras.count === 0n ? null : extras.detail;
}

/**
 * True when `source` has transactions that `server` has written itself and does not have any more: a crash has cut
 * its binary log short. A replica does not take from its source what bears its own number, and would never have them
 * again, without a word.
 */
export function lacksOwn(server: ServerFacts, source: ServerFacts): boolean {
  const state = parseLogState(server.history);
  const theirs = parseLogState(source.history);
  if (state !== null && theirs !== null) {
    const isOwn = (writer: string): boolean => writer.endsWith(`-${server.serverId}`);
    return [...theirs].some(([writer, sequence]) => isOwn(writer) && sequence > (state.get(writer) ?? 0n));
  }
  const own = /^[0-9a-f-]{36}/i.exec(server.ownTransactions)?.[0].toLowerCase();
  if (own === undefined) return false;
  const items = source.history.split(',').map((item) => item.trim());
  const written = items.filter((item) => item.toLowerCase().startsWith(own)).join(',');
  return written !== '' && countLacking(server.history, written) !== 0n;
}

function mariadbExtras(own: ReadonlyMap<string, bigint>, other: ServerFacts): Extras {
  const theirs = parseLogState(other.history);
  if (theirs === null) return { count: null, detail: `${other.history} is not the state of a binary log` };
  // What it has received but not logged yet counts as well, by the server that wrote it.
  addState(theirs, other.replication?.receivedPosition ?? '');
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
