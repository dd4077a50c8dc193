/**
 * The counter at which workers get the slots of each limit that holds over all of them, and give them back: the ledger
 * (`topology/slots.ts`) decides, this tells the workers.
 */
import type { ProxyConfig } from '../config/config.ts';
import { SlotLedger, type LedgerAnswer } from '../topology/slots.ts';
import type { ToWorker } from './messages.ts';

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export class SlotCounter {
  readonly #ledger = new SlotLedger();
  readonly #send: (slot: number, message: ToWorker) => void;

  /** `maxConnections`: of a backend, as it is set now. */
  constructor(
    config: Pick<ProxyConfig, 'backends' | 'listeners' | 'users'>,
    maxConnections: (backend: string) => number,
    send: (slot: number, message: ToWorker) => void,
  ) {
    this.#send = send;
    for (const { name } of config.backends) this.limitBackend(name, maxConnections(name));
    for (const { name, maxConnections: limit } of config.listeners)
      this.#ledger.setLimit(`listener:${name}`, limit);
    for (const { name, maxConnections: limit } of config.users)
      this.#ledger.setLimit(`user:${name}`, limit || NO_LIMIT);
  }

  /** Connections to a backend, of all workers. */
  limitBackend(name: string, limit: number): void {
    this.#deliver(this.#ledger.setLimit(`backend:${name}`, limit));
  }

  /** A worker wants slots. */
  want(slot: number, key: string, count: number): void {
    this.#deliver(this.#ledger.want(slot, key, count));
  }

  /** A worker has no use for slots that it had. */
  giveBack(slot: number, key: string, count: number): void {
    this.#deliver(this.#ledger.giveBack(slot, key, count));
  }

  /** A worker is gone, and all it had is free. */
  release(slot: number): void {
    this.#deliver(this.#ledger.release(slot));
  }

  #deliver({ grants, wantedBack }: LedgerAnswer): void {
    for (const { holder, key, count } of grants) this.#send(holder, { type: 'slots-granted', key, count });
    for (const { holder, key, must } of wantedBack)
      this.#send(holder, { type: 'slots-wanted-back', key, must });
  }
}
