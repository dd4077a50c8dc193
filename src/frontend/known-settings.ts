/**
 * What is known of SET statements that a server of this endpoint has executed before: the values that came of
 * them, so that they need not be read back; and the whole answer, so that the same statement of another
 * session can be answered here and is executed with that session's next statement. Applications say the
 * same few things whenever they connect.
 *
 * Only what depends on nothing but its own text is kept, and only what succeeded without a warning.
 */

/** A SET that a server has answered. */
export interface KnownSet {
  /** Session variables it sets, with the values that the server has given them, as SQL. */
  readonly variables: ReadonlyMap<string, string>;
  /** Status flags of its answer. */
  readonly status: number;
  /** Payload of the OK that answered it. */
  readonly answer: Buffer;
}

/** Equal for statements of sessions that a server would answer alike. `text`: the bytes, as latin1. */
export function knownSetKey(status: number, capabilities: number, text: string): string {
  return `${status} ${capabilities} ${text}`;
}

/** Statements at most; the oldest gives way. */
const MOST = 500;
/** Longer ones are not what applications say on connecting. */
const MOST_BYTES = 2000;

export class KnownSettings {
  readonly #sets = new Map<string, KnownSet>();

  find(key: string): KnownSet | undefined {
    return this.#sets.get(key);
  }

  keep(key: string, set: KnownSet): void {
    if (key.length > MOST_BYTES) return;
    this.#sets.set(key, set);
    if (this.#sets.size <= MOST) return;
    for (const oldest of this.#sets.keys()) {
      this.#sets.delete(oldest);
      break;
    }
  }

  /** A server may have other defaults now, or another one may be the primary. */
  clear(): void {
    this.#sets.clear();
  }
}
