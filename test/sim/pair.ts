/**
 * Two dbproxies and their VIP: who has it, where clients get to, who is in charge; and whether the two are split, which
 * is the one thing that a pair cannot do anything about by itself (docs/pair.md, "What a pair cannot see").
 */
import { compareDocuments } from '../../src/peer/merge.ts';
import { SimKeepalived } from './keepalived.ts';
import { peerOf } from './peer-link.ts';
import type { SimProxy } from './proxy.ts';
import type { Random } from './random.ts';
import type { Pair } from './scenario.ts';
import type { World } from './world.ts';

const PRIORITY = { holder: 100, other: 90 };

export class SimPair {
  readonly #world: World;
  readonly #scenario: Pair;
  /** One a dbproxy. */
  readonly keepaliveds: readonly SimKeepalived[];
  /**
   * The two could not talk while the VIP was on both hosts, or came to one after the other had gone on alone with it; and they
   * have not agreed since.
   */
  isSplit = false;
  /** They were split at some time: both halves may have made the same epoch. */
  wasSplit = false;

  constructor(world: World, scenario: Pair, proxies: readonly SimProxy[], random: Random) {
    this.#world = world;
    this.#scenario = scenario;
    this.keepaliveds = proxies.map((proxy, index) => {
      const priority = index === scenario.holder ? PRIORITY.holder : PRIORITY.other;
      return new SimKeepalived(world, this, proxy, priority, scenario.advertMs, random.stream());
    });
  }

  get #proxies(): readonly SimProxy[] {
    return this.#world.proxies;
  }

  start(): void {
    this.keepaliveds.forEach((keepalived, index) => keepalived.start(index === this.#scenario.holder));
  }

  holdsVip(proxy: SimProxy): boolean {
    return this.keepaliveds[this.#proxies.indexOf(proxy)]!.holds;
  }

  otherThan(proxy: SimProxy): SimProxy {
    return this.#proxies.find((one) => one !== proxy)!;
  }

  /** The one that may act, or else who has the VIP. */
  get inCharge(): SimProxy {
    const acts = this.#proxies.find(({ life }) => life?.peer?.right.mayAct === true);
    return acts ?? this.#proxies.find((proxy) => this.holdsVip(proxy)) ?? this.#proxies[0]!;
  }

  /** Where a client's statement goes: where the VIP is, on either host when it is on both; null: nowhere. */
  proxyForClient(random: Random): SimProxy | null {
    if (random.chance(this.#scenario.strays)) return random.pick(this.#proxies);
    const holders = this.#proxies.filter((proxy) => this.holdsVip(proxy));
    return holders.length === 0 ? null : random.pick(holders);
  }

  /** The VIP has moved, or a line was cut. */
  noteSplit(): void {
    if (this.isSplit || !(this.#isCutWithTwoVips() || this.#isCutFromWhoWentOn())) return;
    this.isSplit = true;
    this.wasSplit = true;
    this.#world.note(() => 'the pair is split: both have had the VIP, and cannot talk');
  }

  /** They have found to each other again. */
  noteUnity(): void {
    if (!this.isSplit || this.#isCutWithTwoVips() || this.whyNotOne() !== '') return;
    this.isSplit = false;
    this.#world.note(() => 'the pair is one again');
    this.#world.ledger.unitedIn(this.inCharge.life!.store.durable);
  }

  #isCutWithTwoVips(): boolean {
    return this.#isCut && this.keepaliveds.every(({ holds }) => holds);
  }

  /** Who has the VIP now has not heard that the other one, which had it before, has gone on without it. */
  #isCutFromWhoWentOn(): boolean {
    const holder = this.#proxies.find((proxy) => this.holdsVip(proxy));
    if (!this.#isCut || holder === undefined) return false;
    const termOf = ({ disk }: SimProxy): number => disk.state.term ?? 0;
    return termOf(this.otherThan(holder)) > termOf(holder);
  }

  get #isCut(): boolean {
    const [one, other] = this.#proxies.map(({ host }) => peerOf(host)) as [string, string];
    const { network } = this.#world;
    return network.cutSinceMs(one, other) !== null || network.cutSinceMs(other, one) !== null;
  }

  /** Why they are no pair: one of them has the VIP and acts, and what the one knows the other does; empty: they are. */
  whyNotOne(): string {
    const holders = this.keepaliveds.filter(({ holds }) => holds).length;
    if (holders !== 1) return `the VIP is on ${holders} hosts`;
    for (const { host, life } of this.#proxies) {
      if (life === null) return `the dbproxy of ${host} does not run`;
      const { sight, right, holds } = life.peer!;
      const charge = right.charge?.diagnosis ?? 'none';
      if (sight.kind !== 'connected') return `to ${host} the other is ${sight.kind}`;
      if (right.mayAct !== holds) return `${host} ${holds ? 'has' : 'has not'} the VIP, and ${charge}`;
    }
    const [one, other] = this.#proxies.map(({ life }) => life!.store.durable);
    return compareDocuments(one!, other!) === 0 ? '' : 'the two know different things';
  }
}
