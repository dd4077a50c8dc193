/**
 * What has happened and what is waited for, whichever comes first: the way tests await an event without
 * looking again and again.
 */
export class Inbox<T> {
  readonly #items: T[] = [];
  readonly #takers: ((item: T) => void)[] = [];

  put(item: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#items.push(item);
    else taker(item);
  }

  /** The next item, now or when it comes. */
  take(): Promise<T> {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift()!);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** Items that nobody has taken yet. */
  get length(): number {
    return this.#items.length;
  }
}
