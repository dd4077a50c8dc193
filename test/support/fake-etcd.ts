/** An etcd in memory: keys with revisions, leases that run out by a clock, and failures as a test wants them. */
import type { Clock } from '../../src/base/clock.ts';
import type { Etcd, EtcdCompare, EtcdEntry, EtcdOutcome, EtcdTransaction } from '../../src/monitor/etcd.ts';

export class FakeEtcd implements Etcd {
  readonly #clock: Clock;
  readonly #keys = new Map<string, EtcdEntry>();
  readonly #leases = new Map<string, { ttlMs: number; endMs: number }>();
  #revision = 1;
  #lastLease = 0;
  /** Nobody gets an answer. */
  isDown = false;
  /** What is asked is done, and the answer is lost: so many times. */
  losesAnswers = 0;
  /** Called before each question is looked at. */
  onAsked: () => void | Promise<void> = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  grant(ttlMs: number): Promise<{ id: string; ttlMs: number }> {
    return this.#answer(() => {
      const id = String(++this.#lastLease);
      this.#leases.set(id, { ttlMs, endMs: this.#clock.nowMs() + ttlMs });
      return { id, ttlMs };
    });
  }

  keepAlive(lease: string): Promise<number> {
    return this.#answer(() => {
      const known = this.#leases.get(lease);
      if (known === undefined) return 0;
      known.endMs = this.#clock.nowMs() + known.ttlMs;
      return known.ttlMs;
    });
  }

  revoke(lease: string): Promise<void> {
    return this.#answer(() => this.#end(lease));
  }

  transact({ compare, put, read }: EtcdTransaction): Promise<EtcdOutcome> {
    return this.#answer(() => {
      const succeeded = compare.every((one) => this.#holds(one));
      if (succeeded) for (const { key, value, lease } of put) this.put(key, value, lease);
      return { succeeded, entries: read.map((key) => this.#keys.get(key) ?? null) };
    });
  }

  close(): void {
    return undefined;
  }

  /** What is there now; null: nothing. */
  valueOf(key: string): string | null {
    this.#expire();
    return this.#keys.get(key)?.value ?? null;
  }

  put(key: string, value: string, lease = '0'): void {
    const modRevision = String(++this.#revision);
    const createRevision = this.#keys.get(key)?.createRevision ?? modRevision;
    this.#keys.set(key, { value, createRevision, modRevision, lease });
  }

  #holds(compare: EtcdCompare): boolean {
    const entry = this.#keys.get(compare.key);
    return 'createRevision' in compare
      ? (entry?.createRevision ?? '0') === compare.createRevision
      : (entry?.modRevision ?? '0') === compare.modRevision;
  }

  async #answer<T>(work: () => T): Promise<T> {
    await this.onAsked();
    this.#expire();
    if (this.isDown) throw new Error('no answer within 1000 ms');
    const answer = work();
    if (this.losesAnswers > 0) {
      this.losesAnswers--;
      throw new Error('the answer was lost');
    }
    return answer;
  }

  #expire(): void {
    for (const [id, { endMs }] of this.#leases) if (this.#clock.nowMs() >= endMs) this.#end(id);
  }

  #end(lease: string): void {
    this.#leases.delete(lease);
    for (const [key, entry] of this.#keys) if (entry.lease === lease) this.#keys.delete(key);
  }
}
