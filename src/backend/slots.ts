/**
 * The worker's purse of slots. A limit that holds over all workers (max_connections of a backend, a
 * listener, a user) is kept by the supervisor, which grants slots to workers; the purse spends them, asks
 * for more when it is empty, and gives back what idles when others are in need.
 */

import type { Clock } from '../base/clock.ts';

/** Carries the purse's wishes to the supervisor. */
export interface SlotLine {
  want(key: string, count: number): void;
  giveBack(key: string, count: number): void;
}

interface Purse {
  granted: number;
  used: number;
  /** Asked for and not granted yet. */
  asked: number;
  /** Others are in need: the next slot that becomes free here goes back. */
  owed: boolean;
  /** The next connection that idles must go for it. */
  mustYield: boolean;
  /** Called, in order, when a slot may have become free. */
  waiting: (() => void)[];
}

/** Slots asked for at once, so that a burst of connections costs few messages. */
const ASK_AT_ONCE = 8;

export class Slots {
  readonly #line: SlotLine;
  readonly #purses = new Map<string, Purse>();

  constructor(line: SlotLine) {
    this.#line = line;
  }

  /** Takes a slot if the worker has a free one; else asks for some, and `onFree` tells when to try again. */
  tryTake(key: string): boolean {
    const purse = this.#purse(key);
    if (purse.used < purse.granted) {
      purse.used++;
      return true;
    }
    this.#ask(key, purse);
    return false;
  }

  /** Calls `callback` once when a slot of `key` may be had; answers the function that takes the wish back. */
  onFree(key: string, callback: () => void): () => void {
    const { waiting } = this.#purse(key);
    waiting.push(callback);
    return () => {
      const index = waiting.indexOf(callback);
      if (index >= 0) waiting.splice(index, 1);
    };
  }

  /** Gives a slot back to the purse. */
  release(key: string): void {
    const purse = this.#purse(key);
    if (purse.used === 0) throw new Error(`slot of ${key} released twice`);
    purse.used--;
    this.#wake(purse);
    // Nobody here has taken it, and others are in need.
    if (purse.owed && purse.waiting.length === 0 && purse.used < purse.granted) this.giveBackIdle(key);
  }

  /** True when others wait for a slot of `key`: what idles should be let go. */
  isOwed(key: string): boolean {
    return this.#purse(key).mustYield;
  }

  /** The supervisor has granted `count` slots: fewer than were asked for, perhaps. */
  granted(key: string, count: number): void {
    const purse = this.#purse(key);
    purse.asked = 0;
    if (purse.waiting.length === 0) {
      // Who needed them has been served or has given up; others may be in line.
      this.#line.giveBack(key, count);
      return;
    }
    purse.granted += count;
    for (let free = purse.granted - purse.used; free > 0 && purse.waiting.length > 0; free--)
      this.#wake(purse);
    if (purse.waiting.length > 0) this.#ask(key, purse);
  }

  /**
   * Others are in need, or the limit was lowered: gives back all that is not used. `must`: if that is nothing, the
   * next one that becomes free.
   */
  giveBackIdle(key: string, must = true): void {
    const purse = this.#purse(key);
    const idle = purse.granted - purse.used;
    purse.owed = idle <= 0;
    purse.mustYield = must && idle <= 0;
    if (idle <= 0) return;
    purse.granted -= idle;
    this.#line.giveBack(key, idle);
  }

  /** Slots of `key` in use in this worker. */
  used(key: string): number {
    return this.#purses.get(key)?.used ?? 0;
  }

  #ask(key: string, purse: Purse): void {
    if (purse.asked > 0) return;
    purse.asked = ASK_AT_ONCE;
    this.#line.want(key, ASK_AT_ONCE);
  }

  #wake(purse: Purse): void {
    purse.waiting.shift()?.();
  }

  #purse(key: string): Purse {
    let purse = this.#purses.get(key);
    if (purse === undefined) {
      purse = { granted: 0, used: 0, asked: 0, owed: false, mustYield: false, waiting: [] };
      this.#purses.set(key, purse);
    }
    return purse;
  }
}

/** How long a limit that holds over all workers may take to be asked for. */
const SLOT_WAIT_MS = 500;

/** Takes a slot, asking the supervisor if need be; false when none came within the time. */
export function takeSlotInTime(slots: Slots, clock: Clock, key: string): Promise<boolean> {
  if (slots.tryTake(key)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const tryAgain = (): void => {
      if (slots.tryTake(key)) {
        timer.cancel();
        resolve(true);
      } else cancelWish = slots.onFree(key, tryAgain);
    };
    let cancelWish = slots.onFree(key, tryAgain);
    const timer = clock.after(SLOT_WAIT_MS, () => {
      cancelWish();
      resolve(false);
    });
  });
}
