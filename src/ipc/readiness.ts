/** Which workers are ready to serve, and on which listeners: what they report as they start. */
import type { Clock } from '../base/clock.ts';
import type { ListenerStatus } from './operations.ts';

/** How long the workers may take to try their listeners. */
const START_TIMEOUT_MS = 30_000;

/** One listener of one worker. */
interface Status {
  /** Why it does not listen, or null. */
  readonly error: string | null;
  readonly isDraining: boolean;
  readonly sinceMs: number;
}

export class Readiness {
  readonly #workers: number;
  readonly #clock: Clock;
  readonly #ready = new Set<number>();
  /** By worker, then by listener. */
  readonly #listening = new Map<number, Map<string, Status>>();
  #onAllReady: (() => void) | null = null;

  /** `workers`: how many there are to be. */
  constructor(workers: number, clock: Clock) {
    this.#workers = workers;
    this.#clock = clock;
  }

  /** A worker has tried all of its listeners. */
  setReady(slot: number): void {
    this.#ready.add(slot);
    if (this.#ready.size === this.#workers) this.#onAllReady?.();
  }

  /** A worker has tried a listener; `error`: null when it listens. */
  setListening(slot: number, listener: string, error: string | null): void {
    const isDraining = error !== null && this.isDraining(slot, listener);
    this.#set(slot, listener, { error, isDraining });
  }

  /** The sessions of a listener whose address has left are kept for a while, or no more. */
  setDraining(slot: number, listener: string, isDraining: boolean): void {
    this.#set(slot, listener, { error: this.#statusOf(slot, listener)?.error ?? null, isDraining });
  }

  isDraining(slot: number, listener: string): boolean {
    return this.#statusOf(slot, listener)?.isDraining === true;
  }

  #statusOf(slot: number, listener: string): Status | undefined {
    return this.#listening.get(slot)?.get(listener);
  }

  #set(slot: number, listener: string, status: Omit<Status, 'sinceMs'>): void {
    const statuses = this.#listening.get(slot) ?? new Map<string, Status>();
    this.#listening.set(slot, statuses.set(listener, { ...status, sinceMs: this.#clock.nowMs() }));
  }

  /** A worker is gone. */
  forget(slot: number): void {
    this.#ready.delete(slot);
    this.#listening.delete(slot);
  }

  /** Resolves when all workers are ready; rejects when that takes too long. */
  allReady(clock: Clock): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = clock.after(START_TIMEOUT_MS, () => {
        reject(
          new Error(
            `the workers did not get ready within ${START_TIMEOUT_MS} ms; see worker.exited in the log`,
          ),
        );
      });
      this.#onAllReady = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Every listener of every worker. */
  listeners(): ListenerStatus[] {
    return [...this.#listening].flatMap(([worker, statuses]) =>
      [...statuses].map(([listener, { error, isDraining, sinceMs }]) => ({
        listener,
        worker,
        error,
        isDraining,
        stateMs: Math.floor(this.#clock.nowMs() - sinceMs),
      })),
    );
  }

  /** The names of those that no worker listens on, as when their port is taken or their address is not here. */
  notListening(): Set<string> {
    const names = new Set(this.listeners().map(({ listener }) => listener));
    for (const { listener, error } of this.listeners()) if (error === null) names.delete(listener);
    return names;
  }

  /** Throws when every listener's port is taken: then this process has nothing to do here. */
  refuseWithoutListener(): void {
    const errors = this.listeners().map(({ error }) => error);
    if (errors.length === 0 || !errors.every((error) => error?.includes('EADDRINUSE') === true)) return;
    throw Object.assign(new Error(`no listener could be opened: ${[...new Set(errors)].join('; ')}`), {
      code: 'EADDRINUSE',
    });
  }
}
