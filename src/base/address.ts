/**
 * Addresses as the configuration writes them: `host:port`, `[v6]:port`, `unix:/path`, and CIDR lists.
 */
import { BlockList, isIP, SocketAddress } from 'node:net';

/** Where to connect or listen. */
export type Endpoint = { kind: 'tcp'; host: string; port: number } | { kind: 'unix'; path: string };

/** Reads `host:port`, `[v6]:port` or `unix:/path`; answers undefined when it is none of these. */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    return path.startsWith('/') ? { kind: 'unix', path } : undefined;
  }
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return undefined;
  return { kind: 'tcp', host: (match[1] ?? match[2])!, port };
}

/** Writes an endpoint the way `parseEndpoint` reads it. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === 'unix') return `unix:${endpoint.path}`;
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/** An IPv4 address that arrived as IPv6 (`::ffff:10.0.0.1`) as IPv4; every other address as it is. */
export function unmapped(address: string): string {
  return address.startsWith('::') ? address.replace(/^::ffff:(?=\d+\.)/i, '') : address;
}

/**
 * An IP address in its one usual form, that of the system and of `os.networkInterfaces()`: without the interface that a
 * link-local one may name, and as IPv4 where it is one. What is no address stays as it is.
 */
export function canonicalAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  return unmapped(new SocketAddress({ address, family: 'ipv6' }).address);
}

/** A parsed list of networks; an empty list contains nothing. */
export interface NetworkList {
  /** True when the textual IP address lies in one of the networks. IPv4-mapped IPv6 counts as IPv4. */
  contains(address: string): boolean;
}

interface Network {
  readonly family: 'ipv4' | 'ipv6';
  readonly address: string;
  readonly prefix: number;
}

/** Reads one CIDR (or bare address); answers undefined when it is not one. */
function parseNetwork(text: string): Network | undefined {
  const [, address = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = familyOf(address);
  if (family === undefined) return undefined;
  const bits = family === 'ipv4' ? 32 : 128;
  const prefix = Number(digits ?? bits);
  return prefix <= bits ? { family, address, prefix } : undefined;
}

function familyOf(address: string): Network['family'] | undefined {
  switch (isIP(address)) {
    case 4:
      return 'ipv4';
    case 6:
      return 'ipv6';
    default:
      return undefined;
  }
}

/** True when `text` is an address or a CIDR that `networkList` accepts. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined;
}

/** Builds a list from CIDRs that `isNetwork` has accepted; throws on one it has not. */
export function networkList(cidrs: readonly string[]): NetworkList {
  // One for each family: `::/0` has no IPv4 in it.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const cidr of cidrs) {
    const network = parseNetwork(cidr);
    if (network === undefined) throw new TypeError(`not an address or CIDR: ${cidr}`);
    lists[network.family].addSubnet(network.address, network.prefix, network.family);
  }
  return {
    contains(address) {
      const plain = canonicalAddress(address);
      const family = familyOf(plain);
      return family !== undefined && lists[family].check(plain, family);
    },
  };
}
