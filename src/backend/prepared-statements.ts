/**
 * The statements that are prepared on one connection for the sessions that share it. A session's statement
 * is found by its text and the settings it was prepared under; the one not used for longest gives way.
 */

/** A statement as the server of one connection knows it. */
export interface ServerStatement {
  /** The server's id. */
  readonly id: number;
  /** The types of the parameters that the server remembers from its last execution; null before the first. */
  types: Buffer | null;
}

export class PreparedStatements {
  readonly #byKey = new Map<string, ServerStatement>();

  get size(): number {
    return this.#byKey.size;
  }

  /** Finds one, which counts as used now. */
  find(key: string): ServerStatement | undefined {
    const found = this.#byKey.get(key);
    if (found !== undefined) {
      this.#byKey.delete(key);
      this.#byKey.set(key, found);
    }
    return found;
  }

  /** Keeps a statement; answers the ids of those that give way to it and are to be closed. */
  keep(key: string, statement: ServerStatement, most: number): number[] {
    const closing: number[] = [];
    const same = this.#byKey.get(key);
    if (same !== undefined) closing.push(same.id);
    this.#byKey.delete(key);
    this.#byKey.set(key, statement);
    for (const [oldest, { id }] of this.#byKey) {
      if (this.#byKey.size <= most || oldest === key) break;
      this.#byKey.delete(oldest);
      closing.push(id);
    }
    return closing;
  }

  /** True when the server may know a statement by this number. */
  hasId(id: number): boolean {
    for (const statement of this.#byKey.values()) if (statement.id === id) return true;
    return false;
  }

  /** Forgets a statement that the server does not have any more. */
  forget(key: string): void {
    this.#byKey.delete(key);
  }

  clear(): void {
    this.#byKey.clear();
  }
}
