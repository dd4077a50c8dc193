/**
 * What of the configuration the two dbproxies of a pair should both have, as a text to compare: a short hash a part. No
 * secret is in it.
 */
import { createHash } from 'node:crypto';
import type { ListenerConfig, ProxyConfig } from './config.ts';
import { isOnVip } from './virtual-addresses.ts';

const WILDCARDS = ['0.0.0.0', '::'];

/** The parts with their hashes. */
export function sharedPartOf({
  clusters,
  backends,
  listeners,
  keepalived,
  peer,
}: Pick<ProxyConfig, 'clusters' | 'backends' | 'listeners' | 'keepalived' | 'peer'>): string {
  const parts = {
    clusters: clusters.map((one) => ({
      ...one,
      monitorPassword: '',
      replicationPassword: '',
      etcdPassword: '',
    })),
    backends,
    listeners: listeners.map(({ name, cluster, mode }) => ({ name, cluster, mode })),
    vip: keepalived.vip,
    // An application that comes by the VIP finds its port on either host.
    ports: listeners.flatMap(({ name, address }) =>
      comesByVip(address, keepalived.vip) ? [[name, address.port]] : [],
    ),
    // Who has not the VIP stops before the other takes it for gone only if both mean the same by that.
    peer_timeout: peer?.peerTimeoutMs ?? null,
  };
  return Object.entries(parts)
    .map(
      ([name, part]) =>
        `${name}:${createHash('sha256').update(JSON.stringify(part)).digest('hex').slice(0, 16)}`,
    )
    .join(' ');
}

function comesByVip(
  address: ListenerConfig['address'],
  vips: readonly string[],
): address is Extract<ListenerConfig['address'], { kind: 'tcp' }> {
  if (address.kind !== 'tcp') return false;
  return WILDCARDS.includes(address.host) || vips.some((vip) => isOnVip(address, vip));
}

/** Names of the parts that both texts have, and in which they differ: another version may have other parts. */
export function differingParts(one: string, other: string): string[] {
  const hashes = (text: string): Map<string, string> =>
    new Map(text.split(' ').map((part) => part.split(':') as [string, string]));
  const theirs = hashes(other);
  return [...hashes(one)].flatMap(([name, hash]) => {
    const their = theirs.get(name);
    return their === undefined || their === hash ? [] : [name];
  });
}
