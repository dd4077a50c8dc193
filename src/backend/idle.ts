/**
 * The idle connections of a pool, by whom they belong to, so that a session finds one of its own without
 * looking at the others. Within a shelf the one that idled last comes first: it is the warmest.
 */
import type { BackendConnection } from './connection.ts';
import type { Identity } from './wish.ts';

export class IdleConnections {
  readonly #shelves = new Map<string, BackendConnection[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(connection: BackendConnection): void {
    const key = connection.identity.key;
    const shelf = this.#shelves.get(key);
    if (shelf === undefined) this.#shelves.set(key, [connection]);
    else shelf.push(connection);
    this.#size++;
  }

  /** True when it was here. */
  remove(connection: BackendConnection): boolean {
    const key = connection.identity.key;
    const shelf = this.#shelves.get(key);
    const index = shelf?.lastIndexOf(connection) ?? -1;
    if (index < 0) return false;
    if (index === shelf!.length - 1) shelf!.pop();
    else shelf!.splice(index, 1);
    if (shelf!.length === 0) this.#shelves.delete(key);
    this.#size--;
    return true;
  }

  /** Those of one identity, the coldest first; not to be kept. */
  of(identity: Identity): readonly BackendConnection[] {
    return this.#shelves.get(identity.key) ?? NONE;
  }

  has(connection: BackendConnection): boolean {
    return this.of(connection.identity).includes(connection);
  }

  /** The one that idles longest. */
  oldest(): BackendConnection | undefined {
    let oldest: BackendConnection | undefined;
    for (const [first] of this.#shelves.values()) {
      if (oldest === undefined || first!.idleSinceMs < oldest.idleSinceMs) oldest = first;
    }
    return oldest;
  }

  /** All of them, in a list of the caller's own. */
  all(): BackendConnection[] {
    return [...this.#shelves.values()].flat();
  }
}

const NONE: readonly BackendConnection[] = [];
