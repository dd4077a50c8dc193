/**
 * How long a lease is ours, by our own clock. Pure. The one who gives it counts from when it has heard of us; we count
 * from before we have asked, so that ours is over first, however long the question was under way, and however long
 * this process stood still meanwhile.
 */

/** A lease as it was given or renewed last. */
export interface Lease {
  readonly id: string;
  readonly ttlMs: number;
  /** When we began to ask for it. */
  readonly askedMs: number;
}

/** What is kept from its end: clocks do not all run alike, and an act takes a moment to get where it is meant for. */
const MARGIN = 1 / 10;
/** It is renewed so many times before it runs out. */
const RENEWALS = 3;

/** From here on it may be somebody else's. */
export function leaseEndMs({ ttlMs, askedMs }: Omit<Lease, 'id'>): number {
  return askedMs + ttlMs * (1 - MARGIN);
}

/** How long it is ours still; 0: it may be somebody else's. */
export function leaseLeftMs(lease: Omit<Lease, 'id'>, nowMs: number): number {
  return Math.max(0, leaseEndMs(lease) - nowMs);
}

/** Time between two renewals. */
export function renewalMs(ttlMs: number): number {
  return ttlMs / RENEWALS;
}
