/**
 * Which listeners this dbproxy may open: those whose address no other one has (`base/address-claim.ts`). The supervisor
 * claims them before its first worker begins to listen, and again and again those that somebody else has.
 */
import { claimAddress, type ClaimOutcome, type TcpEndpoint } from '../base/address-claim.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { ListenerConfig } from '../config/config.ts';

export interface ListenerClaimsOptions {
  readonly listeners: readonly Pick<ListenerConfig, 'name' | 'address'>[];
  readonly clock: Clock;
  /** What others are told who want an address of ours. */
  readonly holder: string;
  /** Called when somebody else has let go, or another one has taken it. */
  readonly onChange: () => void;
  readonly claim?: typeof claimAddress;
}

/** Workers of a dbproxy that was killed notice it soon, and let go. */
const PATIENCE_MS = 1_000;
const FIRST_RETRY_MS = 50;
const RETRY_MS = 1_000;

export class ListenerClaims {
  readonly #options: ListenerClaimsOptions;
  readonly #claim: typeof claimAddress;
  /** By listener: who has its address. */
  readonly #taken = new Map<string, string>();
  readonly #releases: (() => void)[] = [];
  #retry: Timer | null = null;
  #closed = false;

  constructor(options: ListenerClaimsOptions) {
    this.#options = options;
    this.#claim = options.claim ?? claimAddress;
  }

  /** The listeners that are not to be opened now, and who has their address. */
  get taken(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#taken);
  }

  /** Resolves when each is claimed, or when those that are not have been waited for. */
  async start(): Promise<void> {
    const { clock, listeners } = this.#options;
    const endMs = clock.nowMs() + PATIENCE_MS;
    await this.#claimAll(listeners);
    while (this.#taken.size > 0 && clock.nowMs() < endMs && !this.#closed) {
      await new Promise<void>((resolve) => void clock.after(FIRST_RETRY_MS, resolve));
      await this.#claimAll(this.#unclaimed());
    }
    this.#tryLater();
  }

  /** Lets go of all; to be called when nobody listens any more. */
  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    for (const release of this.#releases.splice(0)) release();
  }

  #unclaimed(): ListenerClaimsOptions['listeners'] {
    return this.#options.listeners.filter(({ name }) => this.#taken.has(name));
  }

  #tryLater(): void {
    if (this.#taken.size === 0 || this.#closed) return;
    this.#retry = this.#options.clock.after(RETRY_MS, () => {
      const before = JSON.stringify(this.taken);
      void this.#claimAll(this.#unclaimed()).then(() => {
        if (JSON.stringify(this.taken) !== before) this.#options.onChange();
        this.#tryLater();
      });
    });
  }

  async #claimAll(listeners: ListenerClaimsOptions['listeners']): Promise<void> {
    for (const { name, address } of listeners) {
      // A Unix socket is shared by nobody.
      if (address.kind === 'tcp') this.#note(name, await this.#claimOne(address));
    }
  }

  #claimOne(address: TcpEndpoint): Promise<ClaimOutcome> {
    return this.#claim(address, this.#options.holder, this.#options.clock);
  }

  #note(name: string, outcome: ClaimOutcome): void {
    switch (outcome.kind) {
      case 'claimed':
        this.#taken.delete(name);
        if (this.#closed) outcome.release();
        else this.#releases.push(outcome.release);
        return;
      case 'taken':
        this.#taken.set(name, outcome.by);
    }
  }
}
