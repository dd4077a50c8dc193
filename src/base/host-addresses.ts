/**
 * Which IP addresses this host has now, and news when one comes or leaves, as a virtual IP does that moves between hosts.
 *
 * The list of the kernel's interfaces is looked at several times a second: that costs some 40 µs, needs no rights, and
 * sees whatever has moved the address. The list leaves out interfaces without carrier, whose addresses serve programs on
 * the host itself all the same, and has no addresses that are local by a route only. So an address that is not in it is
 * asked of the kernel: what can be bound is here. Only where the kernel lets everything be bound (ip_nonlocal_bind) is the
 * list the last word.
 */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { canonicalAddress, networkList } from './address.ts';
import type { Clock, Timer } from './clock.ts';
import { ownAddresses } from './own-addresses.ts';

/** What is asked of the operating system. */
export interface AddressFacts {
  /** The addresses of all interfaces, each in its shortest spelling. Throws when the kernel does not say. */
  list(): Iterable<string>;
  /** A program may listen on `host`, which is not in the list. */
  canBind(host: string): Promise<boolean>;
}

/** An address that is watched. */
export interface AddressWatch {
  /** No news after this. */
  stop(): void;
}

/** How often the list is looked at: a listener is to be bound within 200 ms of the arrival of its address. */
const LOOK_MS = 50;
/** How often the kernel is asked whether an address that is not here can be bound: it costs more than the list, and rarely matters. */
const ASK_MISSING_MS = 1_000;
/** What is never gone: all addresses, and what is the host's own by definition. */
const ALWAYS_HERE = networkList(['0.0.0.0/32', '::/128', '127.0.0.0/8', '::1/128']);

/** False for what is on every host at all times: wildcards, loopback; and for names, of which nothing is known. */
export function mayMove(host: string): boolean {
  return net.isIP(host) !== 0 && !ALWAYS_HERE.contains(canonicalAddress(host));
}

/** One for a process; it looks while something is watched. */
export class HostAddresses {
  readonly #clock: Clock;
  readonly #facts: AddressFacts;
  readonly #watched = new Set<Watched>();
  #timer: Timer | null = null;

  constructor(clock: Clock, facts: AddressFacts = kernelFacts) {
    this.#clock = clock;
    this.#facts = facts;
  }

  /** `onNews` is told whether `host` is here as soon as that is known, never before this returns, and then each time that changes. */
  watch(host: string, onNews: (isHere: boolean) => void): AddressWatch {
    const watched = new Watched(canonicalAddress(host), onNews);
    this.#watched.add(watched);
    this.#timer ??= this.#clock.every(LOOK_MS, () => this.#look());
    queueMicrotask(() => this.#look());
    return {
      stop: () => {
        watched.isStopped = true;
        this.#watched.delete(watched);
        if (this.#watched.size > 0) return;
        this.#timer?.cancel();
        this.#timer = null;
      },
    };
  }

  #look(): void {
    let listed: Set<string>;
    try {
      listed = new Set(this.#facts.list());
    } catch {
      // Nothing is known now: what was so stays so until the next look.
      return;
    }
    for (const watched of this.#watched) {
      if (listed.has(watched.host)) watched.tell(true);
      else void watched.ask(this.#facts, this.#clock.nowMs());
    }
  }
}

class Watched {
  readonly host: string;
  isStopped = false;
  readonly #onNews: (isHere: boolean) => void;
  #isHere: boolean | null = null;
  #isAsked = false;
  #askedMs = -Infinity;
  /** Counts what was told: an answer to a question from before that is out of date. */
  #told = 0;

  constructor(host: string, onNews: (isHere: boolean) => void) {
    this.host = host;
    this.#onNews = onNews;
  }

  tell(isHere: boolean): void {
    this.#told++;
    if (this.isStopped || isHere === this.#isHere) return;
    this.#isHere = isHere;
    this.#onNews(isHere);
  }

  async ask(facts: AddressFacts, nowMs: number): Promise<void> {
    if (this.#isAsked || (this.#isHere === false && nowMs - this.#askedMs < ASK_MISSING_MS)) return;
    this.#isAsked = true;
    this.#askedMs = nowMs;
    const told = this.#told;
    const isHere = await facts.canBind(this.host);
    this.#isAsked = false;
    if (told === this.#told) this.tell(isHere);
  }
}

const kernelFacts: AddressFacts = {
  list: ownAddresses,
  canBind: async (host) => !bindsAnything(host) && (await isBound(host)),
};

/** The kernel lets programs bind addresses that are not here. */
function bindsAnything(host: string): boolean {
  const family = net.isIPv6(host) ? 'ipv6' : 'ipv4';
  try {
    return readFileSync(`/proc/sys/net/${family}/ip_nonlocal_bind`, 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

/** Any other failure than that the address is not here says nothing about the address. */
function isBound(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.createServer((client) => client.destroy());
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRNOTAVAIL'));
    probe.listen({ host, port: 0, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
