/**
 * The host part of an account (`app@'10.1.%'`), matched against a client's address as the servers do it.
 *
 * | written as                     | matches                                                           |
 * |--------------------------------|-------------------------------------------------------------------|
 * | 10.1.2.3                       | that address                                                      |
 * | 10.1.0.0/16                    | addresses whose first 16 bits are exactly these (MySQL 8.0.23 on)  |
 * | 10.1.0.0/255.255.0.0           | the same, with a netmask                                          |
 * | 10.1.%, %, 2001:db8::_         | the address as text; % any characters, _ one, \ takes that away   |
 * | localhost                      | Unix sockets and loopback addresses                               |
 * | db.example.com, %.example.com  | nothing here: names are not looked up, as with skip_name_resolve  |
 *
 * Manual: https://dev.mysql.com/doc/refman/8.4/en/account-names.html
 *         https://dev.mysql.com/doc/refman/8.4/en/connection-access.html
 *         https://mariadb.com/kb/en/create-user/#account-names
 */
import { unmapped } from '../base/address.ts';

export interface HostPattern {
  /** It wants a host name other than localhost, so no client matches it here. */
  readonly isName: boolean;
  /** The most specific has the least, compared place by place; an account is looked for in this order. */
  readonly rank: readonly [kind: number, within: number];
  /** `address` is textual, IPv4 or IPv6; `localhost` for a client on a Unix socket. */
  matches(address: string): boolean;
}

/** Kinds of patterns in the order in which MySQL looks at them. */
const RANK = { address: 0, prefix: 1, netmask: 2, text: 3 } as const;

/** A text without wildcards is as specific as one whose first wildcard stood here. */
const NO_WILDCARD = 128;
const IPV4_BITS = 32;

const LOCALHOST = 'localhost';

export function parseHostPattern(host: string): HostPattern {
  return parseNetwork(host) ?? parseText(host === '' ? '%' : host, host === '');
}

/** Below 0 when `one` is looked at before `other`. */
export function compareHostPatterns(one: HostPattern, other: HostPattern): number {
  return one.rank[0] - other.rank[0] || one.rank[1] - other.rank[1];
}

/** An IPv4 address alone, with a prefix length, or with a netmask; undefined for everything else. */
function parseNetwork(host: string): HostPattern | undefined {
  const [, base, prefix, netmask] =
    /^(\d+(?:\.\d+){3})(?:\/(?:(\d{1,2})|(\d+(?:\.\d+){3})))?$/.exec(host) ?? [];
  const wanted = base === undefined ? undefined : ipv4Number(base);
  if (wanted === undefined) return undefined;
  if (prefix !== undefined) {
    const bits = Number(prefix);
    return bits > IPV4_BITS
      ? undefined
      : networkPattern(wanted, maskOf(bits), [RANK.prefix, IPV4_BITS - bits]);
  }
  if (netmask === undefined) return networkPattern(wanted, maskOf(IPV4_BITS), [RANK.address, 0]);
  const mask = ipv4Number(netmask);
  return mask === undefined ? undefined : networkPattern(wanted, mask, [RANK.netmask, -mask]);
}

/** As the servers do it, an address that has bits outside of its mask matches nobody. */
function networkPattern(wanted: number, mask: number, rank: HostPattern['rank']): HostPattern {
  return {
    isName: false,
    rank,
    matches(address) {
      const number = ipv4Number(unmapped(address));
      return number !== undefined && (number & mask) >>> 0 === wanted;
    },
  };
}

function parseText(host: string, wasEmpty: boolean): HostPattern {
  const places = placesOf(host);
  const wildcardAt = firstWildcard(host);
  return {
    isName: looksLikeName(host) && !isLike(LOCALHOST, places),
    // The empty host matches everything, after '%' had its turn.
    rank: [RANK.text, wasEmpty ? NO_WILDCARD : NO_WILDCARD - wildcardAt],
    matches: (address) => namesOf(address).some((name) => isLike(name, places)),
  };
}

/** What a client is called when it comes from `address`. */
function namesOf(address: string): string[] {
  const [plain = ''] = unmapped(address).split('%', 1);
  const isLoopback = plain === '::1' || plain.startsWith('127.');
  return isLoopback ? [plain, LOCALHOST] : [plain];
}

/** Letters that stand in no IPv6 address make it a name. */
function looksLikeName(host: string): boolean {
  return /[g-z]/i.test(host);
}

/** Where the first wildcard stands, counted from 1. */
function firstWildcard(host: string): number {
  for (let at = 0; at < host.length; at++) {
    if (host[at] === '\\') at++;
    else if (host[at] === '%' || host[at] === '_') return Math.min(at + 1, NO_WILDCARD - 1);
  }
  return NO_WILDCARD;
}

/** One place of a pattern: `many` and `one` are the wildcards, everything else is a character. */
interface Place {
  readonly kind: 'many' | 'one' | 'character';
  readonly character?: string;
}

function placesOf(pattern: string): Place[] {
  return [...pattern.toLowerCase().matchAll(/\\(.)|(.)/gs)].map(([, escaped, plain]): Place => {
    if (plain === '%') return { kind: 'many' };
    if (plain === '_') return { kind: 'one' };
    return { kind: 'character', character: (escaped ?? plain)! };
  });
}

/** LIKE, in time bounded by the product of the lengths: only the last % is ever tried again. */
function isLike(text: string, places: readonly Place[]): boolean {
  const subject = text.toLowerCase();
  let at = 0;
  let place = 0;
  let retry: { at: number; place: number } | undefined;
  while (at < subject.length) {
    const wanted = places[place];
    if (wanted?.kind === 'many') {
      retry = { at, place: ++place };
    } else if (wanted?.kind === 'one' || wanted?.character === subject[at]) {
      at++;
      place++;
    } else if (retry !== undefined) {
      at = ++retry.at;
      ({ place } = retry);
    } else {
      return false;
    }
  }
  return places.slice(place).every(({ kind }) => kind === 'many');
}

/** Mask of the first `bits` bits. */
function maskOf(bits: number): number {
  return bits === 0 ? 0 : (-1 << (IPV4_BITS - bits)) >>> 0;
}

/** The number that dotted text stands for. */
function ipv4Number(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255))
    return undefined;
  return parts.reduce((number, part) => number * 256 + Number(part), 0);
}
