/**
 * The timeline of SHOW EVENTS: the last events of the supervisor, in memory and bounded. The log has
 * them all.
 */
import type { Clock } from '../base/clock.ts';
import type { EventRecord } from './operations.ts';

export class EventRing {
  readonly #clock: Clock;
  readonly #capacity: number;
  #records: EventRecord[] = [];
  #lastId = 0;

  constructor(clock: Clock, capacity: number) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  /** Adds an event of now, or one of then; the oldest gives way when the ring is full. */
  add(event: string, subject: string, detail: string, wallMs = this.#clock.wallMs()): void {
    this.#records.push({ id: ++this.#lastId, wallMs, event, subject, detail });
    if (this.#records.length > this.#capacity) this.#records.shift();
  }

  /** The events, the newest last. */
  list(): EventRecord[] {
    return [...this.#records];
  }
}
