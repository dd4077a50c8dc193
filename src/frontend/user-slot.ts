/**
 * A session's place among those of its user, where a user may have only so many. A change of user takes the second
 * one's place first, and gives the first one's back when the second is let in.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { takeSlotInTime, type Slots } from '../backend/slots.ts';
import type { KnownUser } from './users.ts';

export class UserSlot {
  readonly #slots: Slots;
  readonly #clock: Clock;
  /** Keys of slots; null: none, as for a user without a limit. */
  #held: string | null = null;
  #reserved: string | null = null;

  constructor(slots: Slots, clock: Clock) {
    this.#slots = slots;
    this.#clock = clock;
  }

  /** Takes a place for `user`, beside the one that is held. Rejects with DBPROXY_USER_CONNECTIONS. */
  async reserve({ name, maxConnections }: KnownUser): Promise<void> {
    if (maxConnections === 0) return;
    const key = `user:${name}`;
    if (!(await takeSlotInTime(this.#slots, this.#clock, key))) {
      throw refusal('DBPROXY_USER_CONNECTIONS', name, maxConnections);
    }
    this.#reserved = key;
  }

  /** The user is let in: the place that was reserved is the session's now, and the only one. */
  keepReserved(): void {
    const before = this.#held;
    this.#held = this.#reserved;
    this.#reserved = null;
    if (before !== null) this.#slots.release(before);
  }

  /** The user is not let in. */
  cancelReserved(): void {
    if (this.#reserved !== null) this.#slots.release(this.#reserved);
    this.#reserved = null;
  }

  /** The session is over. */
  release(): void {
    this.cancelReserved();
    if (this.#held !== null) this.#slots.release(this.#held);
    this.#held = null;
  }
}
