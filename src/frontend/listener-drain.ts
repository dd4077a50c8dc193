/**
 * What becomes of the sessions of a listener whose address has left this host. Their clients cannot be reached any more,
 * as what is sent to the address lands at the host that has it now; nor do they hear of an end. They are kept for
 * drain_timeout all the same: an address that is back by then finds them as they were, transactions included. Then they are
 * ended, which frees their server connections and rolls back what was open.
 *
 * While the address was elsewhere a client may have been told there that it has no connection, and nobody told us: it would
 * keep its locks until idle_timeout. So when the address is back, each client is asked by the kernel (TCP keepalive).
 */
import { formatEndpoint } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { ListenerConfig } from '../config/config.ts';
import type { Session } from './session.ts';

export interface ListenerDrainOptions {
  readonly config: Pick<ListenerConfig, 'name' | 'address' | 'drainTimeoutMs'>;
  readonly clock: Clock;
  /** Of all listeners. */
  readonly sessions: () => Iterable<Session>;
  /** The time is over, and so many were ended. */
  readonly onDrained: (ended: number) => void;
}

/** When the address is back: a client that is silent for so long is asked, and again every second. */
const ASK_AFTER_MS = 1_000;
/** How long that goes on: the kernel gives up after ten questions. Then once a minute is enough. */
const ASKED_MS = 20_000;
const LATER_ASK_AFTER_MS = 60_000;

export class ListenerDrain {
  readonly #options: ListenerDrainOptions;
  #deadline: Timer | null = null;
  #relaxing: Timer | null = null;

  constructor(options: ListenerDrainOptions) {
    this.#options = options;
  }

  /** The address has left. Answers how many sessions there are. */
  begin(): number {
    const { clock, config } = this.#options;
    this.#relaxing?.cancel();
    this.#deadline?.cancel();
    this.#deadline = clock.after(config.drainTimeoutMs, () => this.#end());
    return this.#own().length;
  }

  /** The listener listens, as its address is (back) here. */
  addressIsHere(): void {
    if (this.#deadline === null) return;
    this.#deadline.cancel();
    this.#deadline = null;
    const kept = this.#own();
    for (const session of kept) session.askClient(ASK_AFTER_MS);
    this.#relaxing = this.#options.clock.after(ASKED_MS, () => {
      for (const session of kept) if (!session.isOver()) session.askClient(LATER_ASK_AFTER_MS);
    });
  }

  #end(): void {
    this.#deadline = null;
    const { name, address, drainTimeoutMs } = this.#options.config;
    const ending = this.#own();
    const error = refusal('DBPROXY_ADDRESS_LEFT', name, formatEndpoint(address), drainTimeoutMs);
    for (const session of ending) session.end(error);
    this.#options.onDrained(ending.length);
  }

  #own(): Session[] {
    return [...this.#options.sessions()].filter(
      ({ endpoint }) => endpoint.config.name === this.#options.config.name,
    );
  }
}
