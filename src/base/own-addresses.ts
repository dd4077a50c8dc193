/** Which IP addresses the interfaces of this host have; `host-addresses.ts` has the news of them. */
import { networkInterfaces } from 'node:os';

/** Each in its shortest spelling. Throws when the kernel does not say. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((ones = []) => ones.map(({ address }) => address));
}
