/**
 * May what looked like a read have written, by a function in a view? A session that keeps its connection to the primary
 * asks nobody beforehand what its views do (hidden-code.ts): all goes to one server anyway. So it is asked when it
 * matters, after a connection was lost: before a read is run a second time, and before dbproxy itself answers the COMMIT
 * of a transaction whose statements were all reads. What is asked is the server that takes the writes now, and always
 * after the loss: nobody may have made such a view in between.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConnection } from '../backend/connection.ts';
import type { Attachment } from './attachment.ts';
import type { HiddenCodeCheck } from './hidden-code-check.ts';
import { mayName, type HiddenCode } from './hidden-code.ts';

/** The session that has lost its connection, in its parts. */
export interface HiddenWritesParts {
  readonly context: { readonly clock: Clock };
  readonly hiddenCode: HiddenCodeCheck;
  readonly attachment: Attachment;
}

/** A connection that is lost while it is asked is replaced so often. */
const MOST_TRIES = 3;

export class HiddenWrites {
  readonly #parts: HiddenWritesParts;

  constructor(parts: HiddenWritesParts) {
    this.#parts = parts;
  }

  /** `text`: of the one statement in question; null: all that the account can read from. True where nobody can tell. */
  async mayBeIn(text: Buffer | null): Promise<boolean> {
    const sinceMs = this.#parts.context.clock.nowMs();
    const code = this.#parts.hiddenCode.knownSince(sinceMs) ?? (await this.#ask(sinceMs).catch(() => null));
    if (code === null) return true;
    return text === null ? code.views.length > 0 : mayName(code.views, text, 0, text.length);
  }

  /** Within queue_timeout and hold_timeout. */
  async #ask(sinceMs: number): Promise<HiddenCode> {
    for (let tries = 1; ; tries++) {
      const connection = await this.#parts.attachment.obtainHome();
      try {
        const code = await this.#parts.hiddenCode.askSince(connection, sinceMs);
        this.#giveBack(connection);
        return code;
      } catch (error) {
        const wasLost = connection.closed;
        this.#parts.attachment.abandon(connection);
        if (!wasLost || tries >= MOST_TRIES) throw error;
      } finally {
        this.#parts.attachment.tellLeft();
      }
    }
  }

  #giveBack(connection: BackendConnection): void {
    if (connection.closed) this.#parts.attachment.abandon(connection);
    else this.#parts.attachment.putBack(connection);
  }
}
