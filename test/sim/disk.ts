/**
 * The state directory of a dbproxy: the state file and the journal, with what a crash leaves of them. A process
 * that is killed loses what it had not handed over; a machine that crashes loses also what was not flushed. A disk
 * that is full refuses, and sometimes reports as failed what it has.
 */
import type { Journal, JournalEntry } from '../../src/failover/journal.ts';
import { EMPTY_STATE, type DurableState, type StateStore } from '../../src/topology/state-file.ts';
import type { SimProcess } from './process.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export class SimDisk {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  /** Called when a state is on disk. */
  readonly #onState: (state: DurableState) => void;
  readonly #writeMs: number;
  #state: DurableState = EMPTY_STATE;
  #entries: JournalEntry[] = [];
  /** How many of the entries would survive a crash of the machine. */
  #durable = 0;
  isFull = false;
  /** Called with each entry that has come to the journal. */
  onEntry: (entry: JournalEntry) => void = () => undefined;

  constructor(scheduler: Scheduler, random: Random, onState: (state: DurableState) => void) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#onState = onState;
    this.#writeMs = random.pick([0.1, 1, 5, 30]);
  }

  get state(): DurableState {
    return this.#state;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** What was not flushed is gone. */
  crash(): void {
    const kept = this.#random.whole(Math.min(this.#durable, this.#entries.length), this.#entries.length);
    this.#entries = this.#entries.slice(0, kept);
    this.#durable = this.#entries.length;
  }

  openState(process: SimProcess): StateStore {
    return {
      load: () => this.#state,
      save: (state) =>
        this.#write(process, this.#random.chance(0.2), () => {
          this.#state = state;
          this.#onState(state);
        }),
    };
  }

  openJournal(process: SimProcess): Journal {
    const entries = [...this.#entries];
    let last: Promise<void> = Promise.resolve();
    const write = async (entry: JournalEntry, durable: boolean): Promise<void> => {
      await this.#write(process, false, () => {
        this.#entries.push(entry);
        if (durable) this.#durable = this.#entries.length;
        this.onEntry(entry);
      });
      entries.push(entry);
    };
    return {
      entries: () => entries,
      append(entry, durable) {
        const written = last.then(() => write(entry, durable));
        last = written.catch(() => undefined);
        return written;
      },
    };
  }

  /**
   * The moment of truth is somewhere within the time of the call; the caller hears of it at its end, if it lives.
   * `keepsFailed`: a write that fails is there all the same.
   */
  #write(process: SimProcess, keepsFailed: boolean, take: () => void): Promise<void> {
    const totalMs = this.#random.between(0.5, 1.5) * this.#writeMs;
    const takenMs = this.#random.between(0, totalMs);
    return new Promise((resolve, reject) => {
      let problem: Error | null = null;
      this.#scheduler.after(takenMs, () => {
        // A process that was killed before had not come that far.
        if (!process.isAlive) return;
        if (this.isFull) problem = new Error('no space left on device');
        if (problem === null || keepsFailed) take();
      });
      this.#scheduler.after(totalMs, () =>
        process.enter(() => (problem === null ? resolve() : reject(problem))),
      );
    });
  }
}
