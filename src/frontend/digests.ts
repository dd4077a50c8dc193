/**
 * What a worker remembers of each form of statement on an endpoint: for SHOW DIGESTS, and to know which forms
 * are fast enough to share a connection with others. Bounded: the form that was met first gives way.
 */
import type { DigestStats } from '../ipc/split.ts';
import type { StatementClass } from '../sql/statement.ts';

/** One form of statement. */
export interface Digest {
  readonly high: number;
  readonly low: number;
  readonly text: string;
  readonly class: StatementClass;
  count: number;
  sumMs: number;
  maxMs: number;
  /** How long this process typically had nothing to do but to wait for one of them. */
  typicalMs: number;
  /** One of them had warnings, or failed: its client may ask after it. */
  hasComplained: boolean;
  bytes: number;
  maxBytes: number;
  primary: number;
  replica: number;
  pipelined: number;
}

/** A form counts as fast only after so many. */
const PROVED_BY = 20;
/** Answers that are larger keep others waiting. */
const SMALL_BYTES = 16 * 1024;
/** It follows quicker ones by one share, slower ones by another: a busy machine makes all slow for a moment. */
const DOWN_SHARE = 1 / 2;
const UP_SHARE = 1 / 32;

export class Digests {
  readonly #limit: number;
  readonly #byKey = new Map<number, Digest>();

  /** `limit`: forms at most; 0 remembers none. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  find(high: number, low: number): Digest | undefined {
    const found = this.#byKey.get(keyOf(high, low));
    return found !== undefined && found.high === high && found.low === low ? found : undefined;
  }

  /** Begins to remember a form; undefined when none are to be. */
  add(high: number, low: number, text: string, kind: StatementClass): Digest | undefined {
    if (this.#limit === 0) return undefined;
    if (this.#byKey.size >= this.#limit) {
      const [oldest] = this.#byKey.keys();
      this.#byKey.delete(oldest!);
    }
    const digest: Digest = {
      high,
      low,
      text,
      class: kind,
      count: 0,
      sumMs: 0,
      maxMs: 0,
      typicalMs: 0,
      hasComplained: false,
      bytes: 0,
      maxBytes: 0,
      primary: 0,
      replica: 0,
      pipelined: 0,
    };
    this.#byKey.set(keyOf(high, low), digest);
    return digest;
  }

  /** For SHOW DIGESTS; `format` writes the two halves. */
  stats(listener: string, format: (high: number, low: number) => string): DigestStats[] {
    return [...this.#byKey.values()].map((digest) => ({
      digest: format(digest.high, digest.low),
      listener,
      text: digest.text,
      class: digest.class,
      count: digest.count,
      sumMs: digest.sumMs,
      maxMs: digest.maxMs,
      bytes: digest.bytes,
      primary: digest.primary,
      replica: digest.replica,
      pipelined: digest.pipelined,
    }));
  }
}

/** One of them has been answered after `durationMs`, of which this process has idled for `idleMs`. */
export function recordDigest(
  digest: Digest,
  durationMs: number,
  idleMs: number,
  bytes: number,
  way: { readonly atHome: boolean; readonly pipelined: boolean },
): void {
  digest.count++;
  digest.sumMs += durationMs;
  if (durationMs > digest.maxMs) digest.maxMs = durationMs;
  const change = idleMs - digest.typicalMs;
  digest.typicalMs += digest.count === 1 ? change : change * (change < 0 ? DOWN_SHARE : UP_SHARE);
  digest.bytes += bytes;
  if (bytes > digest.maxBytes) digest.maxBytes = bytes;
  if (way.atHome) digest.primary++;
  else digest.replica++;
  if (way.pipelined) digest.pipelined++;
}

/** It has proved to be answered in less than `fastMs`, shortly, and without a word to ask after. */
export function isFast(digest: Digest, fastMs: number): boolean {
  return (
    digest.count >= PROVED_BY &&
    digest.typicalMs < fastMs &&
    digest.maxBytes <= SMALL_BYTES &&
    !digest.hasComplained
  );
}

/** Why a form does not count as fast, in words; null when it does. */
export function whyNotFast(digest: Digest | undefined, fastMs: number): string | null {
  if (digest === undefined) return 'statements of this form have not been seen yet';
  if (isFast(digest, fastMs)) return null;
  const { count, typicalMs, maxBytes, hasComplained } = digest;
  if (count < PROVED_BY) return `statements of this form were seen ${count} times, not yet ${PROVED_BY}`;
  if (typicalMs >= fastMs) return `they take ${typicalMs.toFixed(3)} ms, pipeline_threshold is ${fastMs} ms`;
  if (hasComplained) return 'one of them had a warning or an error, which its client may ask after';
  return `one of them had an answer of ${maxBytes} bytes, at most ${SMALL_BYTES} may be`;
}

/** As much of the digest as a number holds exactly. */
function keyOf(high: number, low: number): number {
  return (high & 0x1fffff) * 0x1_0000_0000 + (low >>> 0);
}
