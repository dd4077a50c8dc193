/**
 * A process of the simulated world: it can stand still (SIGSTOP; all that reaches it waits and then comes at once)
 * and die (nothing of it happens any more). What stands outside, as a disk or a network, goes on.
 */
import type { Clock, Timer } from '../../src/base/clock.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export class SimProcess {
  readonly #scheduler: Scheduler;
  readonly #waiting: (() => void)[] = [];
  readonly #deaths: (() => void)[] = [];
  isAlive = true;
  /** Since when it has run without a pause. */
  runsSinceMs: number;
  /** Since when it stands still; null while it runs. */
  pausedSinceMs: number | null = null;
  /** When it last went on after that. */
  #wokeMs = -Infinity;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.runsSinceMs = scheduler.nowMs;
  }

  /** Something for this process: now, when it goes on, or never. */
  enter(work: () => void): void {
    if (!this.isAlive) return;
    if (this.pausedSinceMs === null) work();
    else this.#waiting.push(work);
  }

  /** It stands still, or went on less than so long ago. */
  stoodStillWithin(timeMs: number): boolean {
    return this.pausedSinceMs !== null || this.#scheduler.nowMs - this.#wokeMs < timeMs;
  }

  pause(): void {
    if (this.isAlive) this.pausedSinceMs ??= this.#scheduler.nowMs;
  }

  goOn(): void {
    if (this.pausedSinceMs === null) return;
    this.pausedSinceMs = null;
    this.runsSinceMs = this.#scheduler.nowMs;
    this.#wokeMs = this.runsSinceMs;
    for (const work of this.#waiting.splice(0)) this.#scheduler.after(0, () => this.enter(work));
  }

  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.pausedSinceMs = null;
    this.#waiting.length = 0;
    for (const told of this.#deaths.splice(0)) told();
  }

  onDeath(told: () => void): void {
    this.#deaths.push(told);
  }
}

/** The clock of one process: its timers wait while it stands still, and its wall clock may be set by anybody. */
export class ProcessClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #process: SimProcess;
  readonly #random: Random;
  readonly #wall: { offsetMs: number };

  constructor(scheduler: Scheduler, process: SimProcess, random: Random, wall: { offsetMs: number }) {
    this.#scheduler = scheduler;
    this.#process = process;
    this.#random = random;
    this.#wall = wall;
  }

  nowMs(): number {
    return this.#scheduler.nowMs;
  }

  wallMs(): number {
    return this.#scheduler.nowMs + this.#wall.offsetMs;
  }

  idleMs(): number {
    return this.#scheduler.nowMs;
  }

  random(): number {
    return this.#random.next();
  }

  after(delayMs: number, callback: () => void): Timer {
    let isOn = true;
    const planned = this.#scheduler.after(delayMs, () =>
      this.#process.enter(() => {
        if (!isOn) return;
        isOn = false;
        callback();
      }),
    );
    return {
      cancel: () => {
        isOn = false;
        planned.cancelled = true;
      },
    };
  }

  every(intervalMs: number, callback: () => void): Timer {
    let isOn = true;
    let timer: Timer;
    const turn = (): void => {
      callback();
      if (isOn) timer = this.after(intervalMs, turn);
    };
    timer = this.after(intervalMs, turn);
    return {
      cancel: () => {
        isOn = false;
        timer.cancel();
      },
    };
  }
}
