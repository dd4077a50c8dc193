/**
 * Statements that a session has run while nobody could be asked which triggers and views there are: kept until that
 * is known, as far as there is room. Of what does not fit any more it is taken that it names every view.
 */
import { namesOneOf, type HiddenCode } from './hidden-code.ts';

/** Characters of texts that are kept of one session. */
const MOST_CHARACTERS = 64 * 1024;

interface Unjudged {
  readonly text: string;
  readonly writes: boolean;
}

export class UnjudgedStatements {
  /** The statement at hand, which has not been answered. */
  #next: Unjudged | null = null;
  #texts: string[] = [];
  #characters = 0;
  #count = 0;
  #hasWrites = false;

  /** Those that have been answered. */
  get count(): number {
    return this.#count;
  }

  get hasNext(): boolean {
    return this.#next !== null;
  }

  /** The statement at hand is one of them, unless it is never sent. `text`: in latin1. */
  next(text: string, writes: boolean): void {
    this.#next = { text, writes };
  }

  dropNext(): void {
    this.#next = null;
  }

  /** The statement at hand has run, or may have. */
  keepNext(): void {
    if (this.#next === null) return;
    const { text, writes } = this.#next;
    this.#next = null;
    this.#count++;
    this.#hasWrites ||= writes;
    if (this.#characters + text.length > MOST_CHARACTERS) return;
    this.#characters += text.length;
    this.#texts.push(text);
  }

  /** One of them may have set off code that leaves something on its connection. */
  mayHaveSetOff({ triggers, views }: HiddenCode): boolean {
    if (this.#count === 0) return false;
    if (this.#hasWrites && triggers) return true;
    if (this.#texts.length < this.#count) return views.length > 0;
    return this.#texts.some((text) => namesOneOf(views, text));
  }

  clear(): void {
    this.#next = null;
    this.#texts = [];
    this.#characters = 0;
    this.#count = 0;
    this.#hasWrites = false;
  }
}
