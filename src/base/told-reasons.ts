/**
 * What of an outage was told already. One that lasts gives several reasons in turn (a network says "host unreachable" in
 * one second and nothing at all in the next), and each is news once; who tells it again drowns what happened meanwhile.
 */

/** Reasons beyond that are not told: nothing fails in so many ways. */
const MOST_REASONS = 32;

export class ToldReasons {
  readonly #told = new Set<string>();

  /** True the first time; numbers (times, ports) make no reason another one. */
  isNews(reason: string): boolean {
    const key = reason.replaceAll(/\d+/g, '#');
    if (this.#told.has(key) || this.#told.size === MOST_REASONS) return false;
    this.#told.add(key);
    return true;
  }

  /** The outage is over: the next one is told anew. */
  forget(): void {
    this.#told.clear();
  }
}
