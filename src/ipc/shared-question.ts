/**
 * One question for all who ask it at the same time: who asks while it is being answered gets that answer.
 */

/** `ask` with at most one call under way. */
export function sharedWhileInFlight<T>(ask: () => Promise<T>): () => Promise<T> {
  let inFlight: Promise<T> | null = null;
  return () => {
    inFlight ??= ask().finally(() => (inFlight = null));
    return inFlight;
  };
}
