/**
 * Addresses as the configuration writes them: `host:port`, `[v6]:port`, `unix:/path`, and CIDR lists.
 */
import { Address4, Address6 } from 'ip-address';

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

/** A parsed list of networks; an empty list contains nothing. */
export interface NetworkList {
  /** True when the textual IP address lies in one of the networks. IPv4-mapped IPv6 counts as IPv4. */
  contains(address: string): boolean;
}

/** Reads one CIDR (or bare address); answers undefined when it is not one. */
function parseNetwork(text: string): Address4 | Address6 | undefined {
  if (Address4.isValid(text)) return new Address4(text);
  if (Address6.isValid(text)) return new Address6(text);
  return undefined;
}

/** True when `text` is an address or a CIDR that `networkList` accepts. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined;
}

/** Builds a list from CIDRs that `isNetwork` has accepted; throws on one it has not. */
export function networkList(cidrs: readonly string[]): NetworkList {
  const networks = cidrs.map((cidr) => {
    const network = parseNetwork(cidr);
    if (network === undefined) throw new TypeError(`not an address or CIDR: ${cidr}`);
    return network;
  });
  return {
    contains(address) {
      const subject = parseNetwork(unmapped(address));
      if (subject === undefined) return false;
      return networks.some((network) =>
        network instanceof Address4
          ? subject instanceof Address4 && subject.isInSubnet(network)
          : subject instanceof Address6 && subject.isInSubnet(network),
      );
    },
  };
}
