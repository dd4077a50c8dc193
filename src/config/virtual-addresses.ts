/**
 * Virtual addresses (VIPs): which of them are for writes and which for reads only. A listener makes the difference: a
 * VIP that a listener with mode write or split has is a write VIP, any other is a read VIP.
 */
import { canonicalAddress } from '../base/address.ts';
import type { ListenerConfig } from './config.ts';
import type { Section } from './section.ts';

/** What an address is for. */
export type VipKind = 'write' | 'read';

/** The address of a VIP without its prefix. */
export function vipAddress(vip: string): string {
  return vip.split('/')[0]!;
}

/** What a VIP is for, by the listeners that have it. */
export function vipKind(
  vip: string,
  listeners: readonly Pick<ListenerConfig, 'address' | 'mode'>[],
): VipKind {
  const writes = listeners.some(({ address, mode }) => mode !== 'read' && isOnVip(address, vip));
  return writes ? 'write' : 'read';
}

/** A listener's address is this VIP. */
export function isOnVip(address: ListenerConfig['address'], vip: string): boolean {
  return address.kind === 'tcp' && canonicalAddress(address.host) === vipAddress(vip);
}

/** The name of the VRRP instance that [keepalived] gives, or that follows from its id; null where neither can be read. */
export function vrrpInstance(keepalived: Section): string | null {
  const [name, id] = [keepalived.value('instance'), keepalived.value('virtual_router_id')];
  if (keepalived.isWritten('instance')) return typeof name === 'string' ? name : null;
  return typeof id === 'number' ? `vi_dbproxy_${id}` : null;
}
