/**
 * keepalived on one of two hosts, as far as it says who has the VIP: VRRP with nopreempt. Who has it says so again and
 * again; who has not heard that for three times as long takes it; of two who have it and hear each other the one with the
 * lower priority lets go. A check asks whether dbproxy answers and, where there is one, the gateway: who fails it says
 * that it lets go, and takes nothing. Killed, it leaves the VIP where it is; its next start takes it away.
 */
import type { Timer } from '../../src/base/clock.ts';
import type { SimPair } from './pair.ts';
import { ProcessClock, SimProcess } from './process.ts';
import type { SimProxy } from './proxy.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

const CHECK_EVERY_MS = 200;
/** So many checks have to fail, and to succeed after that. */
const FALL = 3;
const RISE = 2;
/** Who lets the VIP go for an operator does not take it again at once. */
const GIVEN_UP_MS = 2_000;

export class SimKeepalived {
  readonly #world: World;
  readonly #pair: SimPair;
  readonly #proxy: SimProxy;
  readonly #random: Random;
  readonly #priority: number;
  readonly #advertMs: number;
  #process: SimProcess | null = null;
  #clock: ProcessClock | null = null;
  #state: 'master' | 'backup' | 'fault' = 'backup';
  /** The other one is taken for gone, or for not wanting it, when that passes. */
  #patience: Timer | null = null;
  /** Checks in a row that say otherwise than the state. */
  #doubts = 0;
  /** The VIP is on this host. */
  holds = false;

  /** `priority`: the higher one wins. */
  constructor(
    world: World,
    pair: SimPair,
    proxy: SimProxy,
    priority: number,
    advertMs: number,
    random: Random,
  ) {
    this.#pair = pair;
    this.#world = world;
    this.#proxy = proxy;
    this.#priority = priority;
    this.#advertMs = advertMs;
    this.#random = random;
  }

  start(isFirst = false): void {
    if (this.#process !== null) return;
    const process = new SimProcess(this.#world.scheduler);
    this.#process = process;
    this.#clock = new ProcessClock(this.#world.scheduler, process, this.#random.stream(), { offsetMs: 0 });
    this.#setHolds(false);
    this.#state = 'backup';
    this.#doubts = 0;
    this.#clock.every(this.#advertMs, () => this.#advertise());
    this.#clock.every(CHECK_EVERY_MS, () => this.#check());
    if (isFirst) this.#become('master');
    else this.#wait(3 * this.#advertMs);
  }

  /** `leavesVip`: it has no time to take the VIP away. */
  kill(leavesVip: boolean): void {
    this.#process?.kill();
    this.#process = null;
    this.#patience?.cancel();
    if (!leavesVip) this.#setHolds(false);
  }

  pause(): void {
    this.#process?.pause();
  }

  goOn(): void {
    this.#process?.goOn();
  }

  /** An operator has the VIP go to the other host. */
  giveUp(): void {
    this.#process?.enter(() => {
      if (this.#state !== 'master') return;
      this.#become('backup');
      this.#say(0);
      this.#wait(GIVEN_UP_MS);
    });
  }

  #hear(priority: number): void {
    if (this.#state === 'fault') return;
    if (this.#state === 'master') {
      if (priority > this.#priority) this.#become('backup');
      else return this.#say(this.#priority);
    }
    this.#wait(priority === 0 ? this.#advertMs / 10 : 3 * this.#advertMs);
  }

  #wait(timeMs: number): void {
    this.#patience?.cancel();
    // The one with the lower priority waits a moment longer.
    const skewMs = (this.#advertMs * (256 - this.#priority)) / 256;
    this.#patience = this.#clock!.after(timeMs + skewMs, () => this.#become('master'));
  }

  #become(state: 'master' | 'backup' | 'fault'): void {
    this.#state = state;
    this.#patience?.cancel();
    this.#setHolds(state === 'master');
    if (state === 'master') this.#say(this.#priority);
  }

  #advertise(): void {
    if (this.#state === 'master') this.#say(this.#priority);
  }

  #say(priority: number): void {
    const other = this.#pair.keepaliveds.find((one) => one !== this)!;
    const [from, to] = [vrrpOf(this.#proxy.host), vrrpOf(other.#proxy.host)];
    // A datagram: on a cut line it is lost.
    if (this.#world.network.cutSinceMs(from, to) !== null) return;
    this.#world.network.send(from, to, () => other.#process?.enter(() => other.#hear(priority)));
  }

  #check(): void {
    const isWell = this.#isWell();
    if (isWell === (this.#state !== 'fault')) {
      this.#doubts = 0;
      return;
    }
    if (++this.#doubts < (isWell ? RISE : FALL)) return;
    this.#doubts = 0;
    if (isWell) {
      this.#become('backup');
      return this.#wait(3 * this.#advertMs);
    }
    if (this.#state === 'master') this.#say(0);
    this.#become('fault');
  }

  #isWell(): boolean {
    const { network, scenario } = this.#world;
    const { host, life } = this.#proxy;
    if (life === null || life.process.pausedSinceMs !== null) return false;
    if (!scenario.hasArbiter) return true;
    return network.cutSinceMs(host, 'arbiter') === null && network.cutSinceMs('arbiter', host) === null;
  }

  #setHolds(holds: boolean): void {
    if (holds === this.holds) return;
    this.holds = holds;
    this.#world.note(() => `the VIP is ${holds ? '' : 'not '}on ${this.#proxy.host}`);
    this.#pair.noteSplit();
  }
}

/** The end of a line that carries nothing but VRRP. */
export function vrrpOf(host: string): string {
  return `${host}/vrrp`;
}
