/**
 * Waiting in tests for what happens in another process and sends no event: look again and again, but
 * not for ever, and when it never came, fail with what was last wrong.
 */
import { setTimeout as delay } from 'node:timers/promises';

const LOOK_EVERY_MS = 25;

/** Resolves with what `look` answers once it does not throw; rejects with its last error after `timeoutMs`. */
export async function eventually<T>(look: () => T | Promise<T>, timeoutMs = 10_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await delay(LOOK_EVERY_MS);
  }
}
