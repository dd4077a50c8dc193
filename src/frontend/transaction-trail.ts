/**
 * What is kept of a session's transaction so that it can be found in a binary log when the answer to its COMMIT is
 * lost: when it began, and its statements that may have written, in one piece of memory that is used again and again.
 */
import type { CommitMark } from '../ipc/messages.ts';

/** Statements and bytes of one transaction that are kept; of more only the number. */
const MOST_WRITES = 64;
const MOST_BYTES = 64 * 1024;
const FIRST_BYTES = 512;

export class TransactionTrail {
  /** What its COMMIT, or the one statement that it is, was marked with; null: with nothing. */
  mark: CommitMark | null = null;
  #bytes: Buffer = Buffer.alloc(0);
  /** Where each text ends. */
  readonly #ends: number[] = [];
  #length = 0;
  #beganAtMs = 0;
  #count = 0;

  /** Statements that may have written. */
  get writeCount(): number {
    return this.#count;
  }

  /** When the first of them was sent, by the monotonic clock. */
  get beganAtMs(): number {
    return this.#beganAtMs;
  }

  /** The transaction is over. */
  clear(): void {
    this.#ends.length = 0;
    this.#length = 0;
    this.#count = 0;
    this.mark = null;
  }

  /** A statement that may write is about to be sent; its text is `bytes[start, end)`, but for a prepared one. */
  add(bytes: Buffer, start: number, end: number, isPrepared: boolean, nowMs: number): void {
    if (this.#count === 0) this.#beganAtMs = nowMs;
    this.#count++;
    const length = this.#length + end - start;
    if (isPrepared || this.#ends.length >= MOST_WRITES || length > MOST_BYTES) return;
    if (length > this.#bytes.length) this.#grow(length);
    bytes.copy(this.#bytes, this.#length, start, end);
    this.#length = length;
    this.#ends.push(length);
  }

  /** Their texts, in their order; empty when not all of them are there. */
  texts(): string[] {
    if (this.#ends.length < this.#count) return [];
    let start = 0;
    return this.#ends.map((end) => {
      const text = this.#bytes.toString('utf8', start, end);
      start = end;
      return text;
    });
  }

  #grow(length: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 * length));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
