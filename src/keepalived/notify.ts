/**
 * What keepalived's notify scripts do. keepalived itself puts the addresses on the interface and takes them away; this
 * sees to it that it is so, and that dbproxy is there. Every call may come twice, late, or in any order: it looks first,
 * does only what is not so yet, and nothing once a later call is under way.
 */
import type { Clock } from '../base/clock.ts';
import type { ProxyConfig } from '../config/config.ts';
import { canonicalAddress } from '../base/address.ts';
import { vipAddress } from '../config/virtual-addresses.ts';

/** States that keepalived tells of. */
export type NotifyState = 'master' | 'backup' | 'fault';

/** What is done to the host, and seen of it. */
export interface NotifyWorld {
  readonly clock: Clock;
  /** Addresses of this host in their usual form, now. */
  readonly addresses: () => readonly string[];
  /** Null when it is done, else why not. */
  readonly addAddress: (vip: string, device: string) => Promise<string | null>;
  readonly removeAddress: (vip: string, device: string) => Promise<string | null>;
  /** Who else answers for the address: words; null: nobody, or that cannot be asked. */
  readonly ownerElsewhere: (address: string, device: string) => Promise<string | null>;
  /** Tells the neighbours where the address is. */
  readonly announce: (address: string, device: string) => Promise<void>;
  /** Null: dbproxy answers; else why it does not. */
  readonly proxySilence: () => Promise<string | null>;
  /** Has its unit started where there is one: what was done, in words. */
  readonly startProxy: () => Promise<string>;
  /** Something accepts connections there. */
  readonly isListening: (address: string, port: number) => Promise<boolean>;
  /** See `turns.ts`. */
  readonly overtakenBy: () => string | null;
}

export interface NotifyOutcome {
  readonly isWell: boolean;
  /** One line. */
  readonly words: string;
}

/**
 * keepalived has put the addresses there, or taken them away, before it calls. Where that is not so, the next change has come
 * most likely, whose call is still being started: only what stays so for so long is ours to put right. A call that did that
 * at once took the address from under a keepalived that had just become master, which then gave it up, and so on.
 */
const SETTLE_MS = 3_000;
/** A listener has bound its address so soon after it came. */
const LISTEN_WAIT_MS = 2_000;
const LOOK_EVERY_MS = 100;

/** The VIPs of the configuration that were named; what is none of them, if anything is. */
export function chooseVips(
  given: readonly string[],
  configured: readonly string[],
): { vips: string[] } | { problem: string } {
  const vips: string[] = [];
  for (const text of given) {
    const address = canonicalAddress(vipAddress(text));
    const vip = configured.find((one) => vipAddress(one) === address);
    if (vip === undefined) return { problem: `${text} is not in [keepalived] vip: ${configured.join(', ')}` };
    vips.push(vip);
  }
  return { vips };
}

/** Does what belongs to the state. */
export async function notify(
  state: NotifyState,
  vips: readonly string[],
  config: Pick<ProxyConfig, 'keepalived' | 'listeners'>,
  world: NotifyWorld,
): Promise<NotifyOutcome> {
  const device = config.keepalived.interface!;
  const outcome =
    state === 'master' ? await takeOver(vips, device, config, world) : await release(vips, device, world);
  const later = world.overtakenBy();
  if (later === null) return { isWell: outcome.isWell, words: `${state}: ${outcome.words}` };
  // What this call has added meanwhile is the later one's to have or not.
  const undone =
    state === 'master' && later !== 'master'
      ? await release(vips, device, {
          ...world,
          overtakenBy: () => (world.overtakenBy() === 'master' ? 'master' : null),
        })
      : null;
  const also = undone === null ? '' : `; ${undone.words}`;
  return { isWell: undone?.isWell ?? true, words: `${state}: overtaken by ${later}${also}` };
}

/**
 * 1. The addresses are here; one that is missing is added, unless another host answers for it.
 * 2. The neighbours are told.
 * 3. dbproxy runs; else its unit is started.
 * 4. It listens on the addresses.
 */
async function takeOver(
  vips: readonly string[],
  device: string,
  { listeners }: Pick<ProxyConfig, 'listeners'>,
  world: NotifyWorld,
): Promise<NotifyOutcome> {
  const said: string[] = [];
  const settledMs = world.clock.nowMs() + SETTLE_MS;
  for (const vip of vips) {
    const address = vipAddress(vip);
    const isMissing = await staysSo(() => !world.addresses().includes(address), settledMs, world);
    if (world.overtakenBy() !== null) return { isWell: true, words: '' };
    if (isMissing) {
      const owner = await world.ownerElsewhere(address, device);
      if (owner !== null) return { isWell: false, words: `${address} is not added: ${owner} answers for it` };
      if (world.overtakenBy() !== null) return { isWell: true, words: '' };
      const failure = await world.addAddress(vip, device);
      if (failure !== null)
        return { isWell: false, words: `${vip} could not be added to ${device}: ${failure}` };
      said.push(`${vip} added to ${device}`);
    }
    await world.announce(address, device);
  }
  const silence = await world.proxySilence();
  if (silence !== null)
    return {
      isWell: false,
      words: [...said, `dbproxy does not answer: ${silence}`, await world.startProxy()].join('; '),
    };
  const doors = listeners.flatMap(({ name, address }) =>
    address.kind === 'tcp' && vips.some((vip) => vipAddress(vip) === canonicalAddress(address.host))
      ? [{ name, host: canonicalAddress(address.host), port: address.port }]
      : [],
  );
  const deadlineMs = world.clock.nowMs() + LISTEN_WAIT_MS;
  for (const { name, host, port } of doors) {
    while (!(await world.isListening(host, port))) {
      if (world.overtakenBy() !== null) return { isWell: true, words: '' };
      if (world.clock.nowMs() > deadlineMs)
        return {
          isWell: false,
          words: [...said, `listener ${name} does not accept connections at ${host} port ${port}`].join('; '),
        };
      await new Promise<void>((resolve) => void world.clock.after(LOOK_EVERY_MS, resolve));
    }
  }
  return {
    isWell: true,
    words: [...said, `${vips.map(vipAddress).join(', ')} here, dbproxy listens`].join('; '),
  };
}

/** The addresses are gone from this host; dbproxy stops listening where there is no address. */
async function release(vips: readonly string[], device: string, world: NotifyWorld): Promise<NotifyOutcome> {
  const said: string[] = [];
  let isWell = true;
  const settledMs = world.clock.nowMs() + SETTLE_MS;
  for (const vip of vips) {
    const isLeft = await staysSo(() => world.addresses().includes(vipAddress(vip)), settledMs, world);
    if (world.overtakenBy() !== null) return { isWell: true, words: '' };
    if (!isLeft) continue;
    const failure = await world.removeAddress(vip, device);
    if (failure === null || !world.addresses().includes(vipAddress(vip))) {
      said.push(`${vip} removed from ${device}`);
    } else {
      isWell = false;
      said.push(`${vip} could not be removed from ${device}: ${failure}`);
    }
  }
  if (said.length === 0) said.push(`${vips.map(vipAddress).join(', ')} not here`);
  return { isWell, words: said.join('; ') };
}

/** Looks until then, or until this call is overtaken; whether it was so all the time. */
async function staysSo(isSo: () => boolean, untilMs: number, world: NotifyWorld): Promise<boolean> {
  while (isSo()) {
    if (world.clock.nowMs() >= untilMs || world.overtakenBy() !== null) return true;
    await new Promise<void>((resolve) => void world.clock.after(LOOK_EVERY_MS, resolve));
  }
  return false;
}
