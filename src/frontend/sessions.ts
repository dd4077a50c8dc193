/**
 * The sessions of one worker: who is there, under which id, and on which backend.
 */
import { refusal } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import { formatSessionId, SESSION_COUNTER_MAX } from '../ipc/session-id.ts';
import type { Session } from './session.ts';

/**
 * A connection that is in use is closed behind an answer, where whoever keeps it for later sees that before he sends
 * anything more. A close at any other time meets statements on their way, which then fail. Nobody is as quick to use one
 * that has rested for so long.
 */
const USED_WITHIN_MS = 1_000;

export class Sessions {
  readonly #slot: number;
  readonly #clock: Clock;
  readonly #byId = new Map<number, Session>();
  #counter = 0;

  /** `slot`: the worker's number, part of each id. */
  constructor(slot: number, clock: Clock) {
    this.#slot = slot;
    this.#clock = clock;
  }

  /** An id that no session of this worker has. */
  nextId(): number {
    do {
      this.#counter = (this.#counter + 1) & SESSION_COUNTER_MAX;
    } while (this.#byId.has(formatSessionId(this.#slot, this.#counter)));
    return formatSessionId(this.#slot, this.#counter);
  }

  add(session: Session): void {
    this.#byId.set(session.id, session);
  }

  remove(session: Session): void {
    this.#byId.delete(session.id);
  }

  find(id: number): Session | undefined {
    return this.#byId.get(id);
  }

  all(): Iterable<Session> {
    return this.#byId.values();
  }

  /** Sessions on a backend now. */
  countOn(backend: string): number {
    let count = 0;
    for (const session of this.#byId.values()) if (session.isOn(backend)) count++;
    return count;
  }

  /** Lets every session look at its limits of time. */
  tick(): void {
    const nowMs = this.#clock.nowMs();
    for (const session of this.#byId.values()) session.tick(nowMs);
  }

  /**
   * Has the sessions on a backend leave it, each at its next rest, at the latest after `graceMs`: those that
   * keep one connection end. Resolves with their number when the last one has left.
   */
  async endOn(backend: string, graceMs: number, reason: string): Promise<number> {
    const leaving = [...this.#byId.values()].filter((session) => session.isOn(backend));
    const deadlineMs = this.#clock.nowMs() + graceMs;
    const error = refusal('DBPROXY_SESSION_ENDED', reason);
    await Promise.all(leaving.map((session) => session.leaveBackend(backend, error, deadlineMs)));
    return leaving.length;
  }

  /** Ends all sessions, each at its next rest (see `USED_WITHIN_MS`), at the latest after `graceMs`. */
  async endEach(graceMs: number): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + graceMs;
    const error = refusal('DBPROXY_SHUTDOWN');
    const ending = [...this.#byId.values()];
    await Promise.all(ending.map((session) => session.endWhenIdle(error, deadlineMs, USED_WITHIN_MS)));
  }
}
