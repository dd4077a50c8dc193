/**
 * The id that a client is told at its login and that KILL takes: a number no server uses in practice,
 * with the worker in it, so that any worker's question finds its way.
 *
 *   bits 31..30   01, so it is positive in every language and far above the ids of servers
 *   bits 29..24   slot of the worker (0 to 62)
 *   bits 23..0    counter
 */

/** Highest slot of a worker. */
export const WORKER_SLOT_MAX = 62;

/** Mask of the counter. */
export const SESSION_COUNTER_MAX = 0xffffff;

const MARK = 0x40000000;

export function formatSessionId(slot: number, counter: number): number {
  return MARK | (slot << 24) | counter;
}

/** The worker that owns a session id; undefined for a number that is none. */
export function slotOfSessionId(id: number): number | undefined {
  if (id < MARK || id >= MARK * 2) return undefined;
  const slot = (id >> 24) & 0x3f;
  return slot <= WORKER_SLOT_MAX ? slot : undefined;
}
