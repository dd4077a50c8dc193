/**
 * Sets of transactions by their global ids, to ask of each id of a binlog whether it is in one. A MariaDB id counts
 * by its domain and its server together: what a server wrote itself comes in the order of its numbers, but after a
 * failover two servers may have used one number of one domain.
 *
 *   MySQL    `uuid[:tag]:first-last:one,…`     MariaDB  `domain-server-sequence,…` (all up to this one)
 */
import { UnreadableEvent } from './reader.ts';

interface Interval {
  first: bigint;
  last: bigint;
}

export class GtidSet {
  readonly #sources = new Map<string, Interval[]>();

  /** Reads a set; throws UnreadableEvent for a text that is none. */
  static parse(text: string): GtidSet {
    const set = new GtidSet();
    for (const item of text.split(',').map((part) => part.trim().toLowerCase())) {
      if (item !== '' && !set.#addMariadb(item) && !set.#addMysql(item)) {
        throw new UnreadableEvent(`'${item}' is no set of global ids`);
      }
    }
    for (const [source, intervals] of set.#sources) set.#sources.set(source, merged(intervals));
    return set;
  }

  /** True for the id of one transaction that is in the set. */
  has(gtid: string): boolean {
    const place = /^(.*)[-:](\d+)$/.exec(gtid.toLowerCase());
    if (place === null) throw new UnreadableEvent(`'${gtid}' is no global id`);
    const number = BigInt(place[2]!);
    const intervals = this.#sources.get(place[1]!) ?? [];
    return intervals.some(({ first, last }) => first <= number && number <= last);
  }

  /**
   * As COM_BINLOG_DUMP_GTID wants it: count 8; of each server uuid 16, count of intervals 8, of each interval first
   * 8 and the one after its last 8. Sets with tags have another form; what they hold is left out here, so that
   * the server sends too much, never too little. Manual: Gtid_set::encode.
   */
  encode(): Buffer {
    const untagged = [...this.#sources].filter(([source]) => /^[0-9a-f-]{36}$/.test(source));
    const parts = untagged.map(([source, intervals]) => {
      const numbers = [
        BigInt(intervals.length),
        ...intervals.flatMap(({ first, last }) => [first, last + 1n]),
      ];
      return Buffer.concat([Buffer.from(source.replaceAll('-', ''), 'hex'), uint64s(numbers)]);
    });
    return Buffer.concat([uint64s([BigInt(untagged.length)]), ...parts]);
  }

  #addMariadb(item: string): boolean {
    const match = /^(\d+-\d+)-(\d+)$/.exec(item);
    if (match === null) return false;
    this.#add(match[1]!, { first: 0n, last: BigInt(match[2]!) });
    return true;
  }

  #addMysql(item: string): boolean {
    const [uuid = '', ...parts] = item.split(':').map((part) => part.trim());
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) || parts.length === 0) return false;
    let source = uuid;
    for (const part of parts) {
      const interval = /^(\d+)(?:-(\d+))?$/.exec(part);
      if (interval !== null) {
        this.#add(source, { first: BigInt(interval[1]!), last: BigInt(interval[2] ?? interval[1]!) });
      } else if (/^[a-z_][a-z0-9_]*$/.test(part)) source = `${uuid}:${part}`;
      else return false;
    }
    return true;
  }

  #add(source: string, interval: Interval): void {
    const known = this.#sources.get(source);
    if (known === undefined) this.#sources.set(source, [interval]);
    else known.push(interval);
  }
}

function merged(intervals: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (const { first, last } of [...intervals].sort((one, other) => (one.first < other.first ? -1 : 1))) {
    const previous = result.at(-1);
    if (previous === undefined || first > previous.last + 1n) result.push({ first, last });
    else if (last > previous.last) previous.last = last;
  }
  return result;
}

function uint64s(values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => bytes.writeBigUInt64LE(value, 8 * index));
  return bytes;
}
