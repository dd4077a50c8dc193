/**
 * Looks every few seconds whether `state_dir` takes what a promotion has to write down, so that a full disk, or one that
 * has become read-only, is known before it is needed. What it writes is as long as a promotion may need, is flushed, and
 * is removed again. One look at a time; one that does not end is trouble, too.
 */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';
import { messageOf } from '../base/message-of.ts';

const EVERY_MS = 5_000;
/** A disk that takes longer would hold up a promotion. */
const TIMEOUT_MS = 4_000;
/** The state file is written beside the old one, and the journal has an entry a step. */
const PROBE_BYTES = 64 * 1024;
const PROBE_NAME = 'probe.tmp';

export class StateWatch {
  readonly #clock: Clock;
  readonly #probe: () => Promise<void>;
  #trouble: string | null = null;
  #isLooking = false;
  #ticker: Timer | null = null;

  /** `probe` rejects when the directory does not take what is written. */
  constructor(clock: Clock, probe: () => Promise<void>) {
    this.#clock = clock;
    this.#probe = probe;
  }

  /** Why nothing can be written there; null: as far as is known it can be. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Looks now and then, until `close`. */
  start(): void {
    this.#ticker = this.#clock.every(EVERY_MS, () => void this.look());
    void this.look();
  }

  close(): void {
    this.#ticker?.cancel();
  }

  /** Looks once, unless that is being done; never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const patience = this.#clock.after(TIMEOUT_MS, () => {
      this.#trouble = `a write has not ended within ${TIMEOUT_MS} ms`;
    });
    try {
      await this.#probe();
      this.#trouble = null;
    } catch (error) {
      this.#trouble = messageOf(error);
    } finally {
      patience.cancel();
      this.#isLooking = false;
    }
  }
}

/** Writes to `stateDir` as much as a promotion may need, and removes it; rejects when that is not possible. */
export function probeOf(stateDir: string): () => Promise<void> {
  const path = join(stateDir, PROBE_NAME);
  const bytes = Buffer.alloc(PROBE_BYTES, 'dbproxy looks whether there is room here\n');
  return async () => {
    try {
      const file = await open(path, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
    } finally {
      await rm(path, { force: true });
    }
  };
}
