/**
 * What a worker counts. Counters are plain numbers and arrays, made once and added to on the hot path;
 * the supervisor asks for them when somebody scrapes.
 */
import { DURATION_BOUNDS_SECONDS, type QueryStats } from '../ipc/messages.ts';

const BOUNDS_MS = DURATION_BOUNDS_SECONDS.map((seconds) => seconds * 1000);

/** Statements of one endpoint on one backend. */
export class QueryCounter {
  readonly listener: string;
  readonly backend: string;
  readonly class: string;
  count = 0;
  sumMs = 0;
  readonly buckets = new Float64Array(BOUNDS_MS.length + 1);

  constructor(listener: string, backend: string, statementClass: string) {
    this.listener = listener;
    this.backend = backend;
    this.class = statementClass;
  }

  /** One statement has been answered after `durationMs`. */
  record(durationMs: number): void {
    let bucket = 0;
    while (bucket < BOUNDS_MS.length && durationMs > BOUNDS_MS[bucket]!) bucket++;
    this.buckets[bucket]!++;
    this.count++;
    this.sumMs += durationMs;
  }
}

export class Counters {
  bytesFromClients = 0;
  bytesToClients = 0;
  /** Sessions that wait for a backend now. */
  waiting = 0;
  readonly #queries = new Map<string, QueryCounter>();
  readonly #errors = new Map<number, number>();
  readonly #loginsRefused = new Map<string, number>();

  /** The counter of one endpoint, backend and class; always the same object for the same three. */
  queries(listener: string, backend: string, statementClass: string): QueryCounter {
    const key = `${listener}\0${backend}\0${statementClass}`;
    let counter = this.#queries.get(key);
    if (counter === undefined) {
      counter = new QueryCounter(listener, backend, statementClass);
      this.#queries.set(key, counter);
    }
    return counter;
  }

  /** There is no such backend any more. */
  forgetBackend(backend: string): void {
    for (const [key, counter] of this.#queries) if (counter.backend === backend) this.#queries.delete(key);
  }

  /** dbproxy or a server has answered with this error. */
  error(errno: number): void {
    this.#errors.set(errno, (this.#errors.get(errno) ?? 0) + 1);
  }

  loginRefused(reason: string): void {
    this.#loginsRefused.set(reason, (this.#loginsRefused.get(reason) ?? 0) + 1);
  }

  queryStats(): QueryStats[] {
    return [...this.#queries.values()].map((counter) => ({
      listener: counter.listener,
      backend: counter.backend,
      class: counter.class,
      count: counter.count,
      durationBuckets: [...counter.buckets],
      durationSumSeconds: counter.sumMs / 1000,
    }));
  }

  errorStats(): { code: number; count: number }[] {
    return [...this.#errors].map(([code, count]) => ({ code, count }));
  }

  loginStats(): { reason: string; count: number }[] {
    return [...this.#loginsRefused].map(([reason, count]) => ({ reason, count }));
  }
}
