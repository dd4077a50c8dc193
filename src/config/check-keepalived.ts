/**
 * What the section [keepalived] must be, in itself and beside the listeners.
 */
import { isIP } from 'node:net';
import type { Problem } from './ini.ts';
import { problemAt, type Section } from './section.ts';
import { formatDuration } from './values.ts';
import { isOnVip, vipAddress, vipKind } from './virtual-addresses.ts';

/** VRRP 3 has twelve bits for the hundredths of seconds between two advertisements. */
const MAX_ADVERT_INT_MS = 40_950;
const ADVERT_STEP_MS = 10;
const HIGHEST_ROUTER_ID = 255;

/** All that is wrong with the section. */
export function keepalivedIsWhole(sections: readonly Section[]): Problem[] {
  const section = sections.find(({ kind }) => kind === 'keepalived');
  if (section === undefined) return [];
  return [
    ...vipsAreSet(section),
    ...hostsAreTwo(section),
    ...addressesDiffer(section),
    ...timesFit(section),
    ...layoutIsPossible(section, sections),
  ];
}

/** VIPs that no listener has: nobody would be served there. */
export function vipsWithoutListener(sections: readonly Section[]): string[] {
  const listeners = listenersOf(sections);
  return sections
    .filter(({ kind }) => kind === 'keepalived')
    .flatMap((section) => section.list('vip').map((vip) => [section, vip] as const))
    .filter(([, vip]) => !listeners.some(({ address }) => isOnVip(address, vip)))
    .map(([section, vip]) => `${section.label} vip ${vip}: no listener has this address`);
}

/** A section without VIPs sets nothing; VIPs need an interface to be on. */
function vipsAreSet(section: Section): Problem[] {
  const written = ['interface', 'gateway', 'hosts', 'instance'].find((key) => section.isWritten(key));
  if (!section.isWritten('vip'))
    return written === undefined
      ? []
      : [problemAt(section, 'vip', `is missing; ${written} is for virtual addresses`)];
  if (section.isWritten('interface')) return [];
  return [problemAt(section, 'interface', 'is missing; the virtual addresses need one, such as eth0')];
}

function hostsAreTwo(section: Section): Problem[] {
  const hosts = section.list('hosts');
  if (section.isWritten('hosts') && section.value('hosts') !== undefined && hosts.length !== 2)
    return [problemAt(section, 'hosts', 'names the own addresses of two hosts: host 1, host 2')];
  const [vip] = section.list('vip');
  if (section.value('unicast') !== true) return [];
  if (!section.isWritten('hosts'))
    return [problemAt(section, 'unicast', 'on needs hosts, so that each knows the other: hosts = IP1, IP2')];
  const other = vip === undefined ? undefined : hosts.find((host) => isIP(host) !== isIP(vipAddress(vip)));
  if (other === undefined) return [];
  return [problemAt(section, 'hosts', `${other} and the first vip, ${vip}, are not both IPv4 or both IPv6`)];
}

/** No host and no gateway is at a virtual address, which may be anywhere. */
function addressesDiffer(section: Section): Problem[] {
  const vips = section.list('vip').map(vipAddress);
  const gateway = section.value('gateway');
  const fixed = [
    ...section.list('hosts').map((address) => ['hosts', address] as const),
    ...(typeof gateway === 'string' ? [['gateway', gateway] as const] : []),
  ];
  return [
    ...fixed
      .filter(([, address]) => vips.includes(address))
      .map(([key, address]) => problemAt(section, key, `${address} is a virtual address`)),
    ...section
      .list('hosts')
      .filter((host) => host === gateway)
      .map((host) =>
        problemAt(section, 'gateway', `${host} is one of the hosts, which cannot tell whether it is cut off`),
      ),
  ];
}

function timesFit(section: Section): Problem[] {
  const ms = section.value('advert_int');
  if (typeof ms !== 'number' || (ms <= MAX_ADVERT_INT_MS && ms % ADVERT_STEP_MS === 0)) return [];
  const most = formatDuration(MAX_ADVERT_INT_MS);
  return [problemAt(section, 'advert_int', `${formatDuration(ms)} is not a multiple of 10ms up to ${most}`)];
}

/** Two instances have two ids, and each at least one address. */
function layoutIsPossible(section: Section, sections: readonly Section[]): Problem[] {
  const vips = section.list('vip');
  if (section.value('vip_layout') !== 'apart' || vips.length === 0) return [];
  const kinds = new Set(vips.map((vip) => vipKind(vip, listenersOf(sections))));
  const missing = (['write', 'read'] as const).find((kind) => !kinds.has(kind));
  if (missing !== undefined) {
    const modes = missing === 'read' ? 'read alone' : 'write or split';
    return [
      problemAt(
        section,
        'vip_layout',
        `apart needs a ${missing} VIP, one that listeners with mode = ${modes} have`,
      ),
    ];
  }
  if (section.value('virtual_router_id') !== HIGHEST_ROUTER_ID) return [];
  return [
    problemAt(section, 'virtual_router_id', 'apart needs the next id, too; 254 is the highest that has one'),
  ];
}

function listenersOf(sections: readonly Section[]): Parameters<typeof vipKind>[1] {
  return sections
    .filter((section) => section.kind === 'listener' && section.value('address') !== undefined)
    .map((section) => ({
      address: section.endpoint('address'),
      mode: section.value('mode') as 'write' | 'read' | 'split',
    }));
}
