/**
 * Sets of transactions by their global ids, in the texts of both families, and whether one holds another.
 *
 * | family  | text                              | means                                              |
 * |---------|-----------------------------------|----------------------------------------------------|
 * | MariaDB | `domain-server-sequence,…`        | of each domain all up to and with this sequence    |
 * | MySQL   | `uuid[:tag]:first-last:one,…`     | of each uuid (and tag) these intervals             |
 *
 * A MariaDB position is read as the interval from 1 to its sequence, so that one comparison serves both,
 * and several texts joined by commas are their union.
 */

interface Interval {
  readonly first: bigint;
  readonly last: bigint;
}

type TransactionSet = ReadonlyMap<string, readonly Interval[]>;

/** True when `whole` holds all of `part`. A text that cannot be read holds nothing and is held by nothing. */
export function holdsPosition(whole: string, part: string): boolean {
  return countLacking(whole, part) === 0n;
}

/** How many transactions of `part` are not in `whole`; null when one of the texts cannot be read. */
export function countLacking(whole: string, part: string): bigint | null {
  const held = parse(whole);
  const wanted = parse(part);
  if (held === null || wanted === null) return null;
  let lacking = 0n;
  for (const [source, intervals] of wanted) {
    const candidates = merge(held.get(source) ?? []);
    for (const interval of merge(intervals)) {
      lacking += lengthOf(interval);
      for (const one of candidates) lacking -= overlapOf(interval, one);
    }
  }
  return lacking;
}

function lengthOf({ first, last }: Interval): bigint {
  return last < first ? 0n : last - first + 1n;
}

function overlapOf(one: Interval, other: Interval): bigint {
  return lengthOf({
    first: one.first > other.first ? one.first : other.first,
    last: one.last < other.last ? one.last : other.last,
  });
}

/** All of several positions. */
export function unitePositions(...positions: string[]): string {
  return positions.filter((position) => position !== '').join(',');
}

/** Joins two MariaDB positions (`domain-server-sequence,…`): of each domain the furthest. */
export function joinPositions(one: string, other: string): string {
  const furthest = new Map<string, { gtid: string; sequence: bigint }>();
  for (const gtid of `${one},${other}`.split(',').map((part) => part.trim())) {
    const match = /^(\d+)-\d+-(\d+)$/.exec(gtid);
    if (match === null) continue;
    const [, domain, digits] = match;
    const sequence = BigInt(digits!);
    const known = furthest.get(domain!);
    if (known === undefined || sequence > known.sequence) furthest.set(domain!, { gtid, sequence });
  }
  return [...furthest.values()].map(({ gtid }) => gtid).join(',');
}

/** A MariaDB position, and of the domains that it does not name what another one says of them. */
export function completePosition(position: string, other: string): string {
  const domainOf = (gtid: string): string => gtid.split('-', 1)[0]!;
  const named = new Set(itemsOf(position).map(domainOf));
  return [...itemsOf(position), ...itemsOf(other).filter((gtid) => !named.has(domainOf(gtid)))].join(',');
}

/**
 * The state of a MariaDB binary log after it has gone on from `state` to `position`. Of a domain the last id stands
 * last: that is what the server takes for its end.
 */
export function stateAt(state: string, position: string): string {
  const writerOf = (gtid: string): string => gtid.slice(0, gtid.lastIndexOf('-'));
  const moved = new Set(itemsOf(position).map(writerOf));
  return [...itemsOf(state).filter((gtid) => !moved.has(writerOf(gtid))), ...itemsOf(position)].join(',');
}

/**
 * The last ids of those servers (of MariaDB) that have written in a binary log with the state `whole`, and of which one
 * with the state `part` knows nothing, though it has gone on in their domain.
 */
export function writersLacking(whole: string, part: string): string {
  const sequenceOf = (gtid: string): bigint => BigInt(/\d+$/.exec(gtid)?.[0] ?? 0);
  const known = itemsOf(part).map((gtid) => ({ gtid, sequence: sequenceOf(gtid) }));
  const isLacking = (gtid: string): boolean => {
    const [domain, server] = gtid.split('-');
    const isKnown = known.some((one) => one.gtid.startsWith(`${domain}-${server}-`));
    const isPast = known.some((one) => one.gtid.startsWith(`${domain}-`) && one.sequence > sequenceOf(gtid));
    return !isKnown && isPast;
  };
  return itemsOf(whole)
    .filter((gtid) => /^\d+-\d+-\d+$/.test(gtid) && isLacking(gtid))
    .join(',');
}

function itemsOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** A union in fewer words: each item once, and of each of MariaDB's domains the furthest. */
export function describePositions(text: string): string {
  return joinPositions(text, '') || [...new Set(itemsOf(text))].join(',');
}

function parse(text: string): TransactionSet | null {
  const sets = new Map<string, Interval[]>();
  for (const item of text.split(',').map((part) => part.trim().toLowerCase())) {
    if (item === '') continue;
    if (!readMariadb(item, sets) && !readMysql(item, sets)) return null;
  }
  return sets;
}

function readMariadb(item: string, sets: Map<string, Interval[]>): boolean {
  const match = /^(\d+)-\d+-(\d+)$/.exec(item);
  if (match === null) return false;
  add(sets, match[1]!, { first: 1n, last: BigInt(match[2]!) });
  return true;
}

function readMysql(item: string, sets: Map<string, Interval[]>): boolean {
  const [uuid = '', ...parts] = item.split(':');
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) || parts.length === 0) return false;
  let source = uuid;
  for (const part of parts.map((one) => one.trim())) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (match !== null) {
      add(sets, source, { first: BigInt(match[1]!), last: BigInt(match[2] ?? match[1]!) });
    } else if (/^[a-z_][a-z0-9_]*$/.test(part)) {
      source = `${uuid}:${part}`;
    } else {
      return false;
    }
  }
  return true;
}

function add(sets: Map<string, Interval[]>, source: string, interval: Interval): void {
  const known = sets.get(source);
  if (known === undefined) sets.set(source, [interval]);
  else known.push(interval);
}

/** The same transactions in as few intervals as can be, in order. */
function merge(intervals: readonly Interval[]): Interval[] {
  const merged: Interval[] = [];
  for (const next of [...intervals].sort((one, other) => (one.first < other.first ? -1 : 1))) {
    const previous = merged.at(-1);
    if (previous === undefined || next.first > previous.last + 1n) merged.push(next);
    else if (next.last > previous.last) merged[merged.length - 1] = { ...previous, last: next.last };
  }
  return merged;
}
