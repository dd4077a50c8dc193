/**
 * A read that is sent again when a replica refuses it or its connection is lost: its bytes, kept while it is
 * under way, the servers that have lost it, and how often it has been tried.
 */

/** A read whose connections are lost is sent again at most this often. */
const MOST_RETRIES = 3;

/** The least room that is made for a read. */
const LEAST_BYTES = 256;

export class ReadRetry {
  /** Servers that have lost the command at hand. */
  readonly excluded = new Set<string>();
  #copy: Buffer = Buffer.alloc(0);
  #length = 0;
  #isKept = false;
  #retries = 0;

  /** A new command. */
  begin(): void {
    this.#isKept = false;
    this.#retries = 0;
    if (this.excluded.size > 0) this.excluded.clear();
  }

  /** The command at hand may be sent again. The copy is overwritten by the next one. */
  keep(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#copy.length < length) this.#copy = Buffer.allocUnsafeSlow(Math.max(LEAST_BYTES, 2 * length));
    bytes.copy(this.#copy, 0, start, end);
    this.#length = length;
    this.#isKept = true;
  }

  /** It has been answered. */
  forget(): void {
    this.#isKept = false;
  }

  get isKept(): boolean {
    return this.#isKept;
  }

  /** Its payload, to be sent again. */
  take(): Buffer {
    return Buffer.from(this.#copy.subarray(0, this.#length));
  }

  /** A connection was lost: false when that has happened too often to this command. */
  mayTryAgain(): boolean {
    return ++this.#retries <= MOST_RETRIES;
  }
}
