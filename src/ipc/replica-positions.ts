/**
 * Tells the workers how far a replica has come, where some endpoint has reads that wait for writes: with each check
 * that finds it further, as no snapshot is published for that.
 */
import type { BackendConfig, ProxyConfig } from '../config/config.ts';
import type { BackendHealth } from '../topology/health.ts';
import type { ToWorker } from './messages.ts';

export class ReplicaPositions {
  readonly #listeners: ProxyConfig['listeners'];
  readonly #broadcast: (message: ToWorker) => void;
  /** By backend, what the workers were told last. */
  readonly #told = new Map<string, string | null>();

  constructor(listeners: ProxyConfig['listeners'], broadcast: (message: ToWorker) => void) {
    this.#listeners = listeners;
    this.#broadcast = broadcast;
  }

  /** A backend has been looked at. */
  note({ name, cluster }: BackendConfig, { replicating, gtidPosition }: BackendHealth): void {
    const matters = this.#listeners.some(
      (listener) => listener.cluster === cluster && listener.causalReads !== 'off',
    );
    if (!matters || !replicating || this.#told.get(name) === gtidPosition) return;
    this.#told.set(name, gtidPosition);
    this.#broadcast({ type: 'replica-position', backend: name, gtidPosition });
  }

  /** A backend is gone. */
  forget(name: string): void {
    this.#told.delete(name);
  }
}
