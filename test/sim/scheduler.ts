/**
 * Virtual time. Everything that happens in the simulated world is an event with a time; events of one time
 * happen in the order in which they were set. After each event all promises that can settle are settled before
 * the next one begins, so that a history is the same whenever it is run.
 *
 * That settling is done from inside, without a turn of the event loop (a turn costs more than all the rest). Node
 * has a function for it, which its own callbacks end with; it has been there, unnamed in the manual, since 0.10.
 */

/** An event that has not happened yet. */
export interface Planned {
  cancelled: boolean;
}

interface Event extends Planned {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const settlePromises = (process as unknown as { _tickCallback: () => void })._tickCallback;

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  /** Events so far: what a history costs. */
  happened = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs `run` at this time, or now if that has passed. */
  at(atMs: number, run: () => void): Planned {
    const event = { atMs: Math.max(atMs, this.#nowMs), order: this.#order++, run, cancelled: false };
    push(this.#heap, event);
    return event;
  }

  after(delayMs: number, run: () => void): Planned {
    return this.at(this.#nowMs + delayMs, run);
  }

  /**
   * Lets events happen until `done` says so or time is up; `seen` is called after each. Must be called from the
   * event loop itself, not from a promise: promises do not settle within promises.
   */
  run(untilMs: number, done: () => boolean, seen: () => void): void {
    settlePromises();
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      pop(this.#heap);
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      this.happened++;
      next.run();
      settlePromises();
      seen();
      if (done()) return;
    }
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.atMs === other.atMs ? one.order < other.order : one.atMs < other.atMs;
}

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(event, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}
