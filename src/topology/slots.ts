/**
 * The slot ledger: how several processes keep a limit that is meant for all of them together. A key has a
 * limit; a worker must hold a slot for each thing it counts under that key, asks for slots when it needs
 * them and gives them back. The sum of what is granted never passes the limit, whatever the workers do.
 *
 * Pure bookkeeping: a call changes the ledger and answers which messages are to be sent.
 */

/** Slots that now belong to a worker. */
export interface Grant {
  readonly holder: number;
  readonly key: string;
  readonly count: number;
}

/** What is to be sent after a change of the ledger. */
export interface LedgerAnswer {
  readonly grants: readonly Grant[];
  /** Workers that hold slots of a key others wait for: they are asked for what idles. */
  readonly wantedBack: readonly WantedBack[];
}

/** A worker is asked for slots. */
export interface WantedBack {
  readonly holder: number;
  readonly key: string;
  /**
   * It holds more than its fair part, so whatever idles must go. Else only what has idled for a while: two
   * workers that both need all of their parts would take them from one another without end.
   */
  readonly must: boolean;
}

interface Account {
  limit: number;
  /** Slots out, by worker. */
  held: Map<number, number>;
  /** Who waits and for how many, the longest waiting first; one wish a worker. */
  wishes: Map<number, number>;
}

const NOTHING: LedgerAnswer = { grants: [], wantedBack: [] };

export class SlotLedger {
  readonly #accounts = new Map<string, Account>();

  /** Sets (or changes) the limit of `key`. A lower limit acts as slots come back. */
  setLimit(key: string, limit: number): LedgerAnswer {
    const account = this.#accounts.get(key);
    if (account === undefined) {
      this.#accounts.set(key, { limit, held: new Map(), wishes: new Map() });
      return NOTHING;
    }
    account.limit = limit;
    if (granted(account) > limit) return { grants: [], wantedBack: holders(key, account, -1) };
    return { grants: fulfil(key, account), wantedBack: [] };
  }

  /** A worker asks for `count` slots: it gets what is free up to that, or waits in line for it. */
  want(holder: number, key: string, count: number): LedgerAnswer {
    const account = this.#accounts.get(key);
    if (account === undefined || count <= 0) return NOTHING;
    // A wish that is repeated keeps its place in the line.
    account.wishes.set(holder, count);
    const grants = fulfil(key, account);
    if (!account.wishes.has(holder)) return { grants, wantedBack: [] };
    return { grants, wantedBack: holders(key, account, holder).filter((other) => other.holder !== holder) };
  }

  /** A worker gives slots back; more than it holds cannot come back. */
  giveBack(holder: number, key: string, count: number): LedgerAnswer {
    const account = this.#accounts.get(key);
    if (account === undefined) return NOTHING;
    const left = Math.max(0, (account.held.get(holder) ?? 0) - Math.max(0, count));
    if (left === 0) account.held.delete(holder);
    else account.held.set(holder, left);
    const grants = fulfil(key, account);
    // One slot that came back may not be enough: the need is said again while somebody waits.
    const needed = account.wishes.size > 0;
    return {
      grants,
      wantedBack: needed
        ? holders(key, account, -1).filter(({ holder: other }) => !account.wishes.has(other))
        : [],
    };
  }

  /** A worker is gone, and with it its slots and wishes. */
  release(holder: number): LedgerAnswer {
    const grants: Grant[] = [];
    for (const [key, account] of this.#accounts) {
      account.held.delete(holder);
      account.wishes.delete(holder);
      grants.push(...fulfil(key, account));
    }
    return { grants, wantedBack: [] };
  }

  /** How a key stands; for tests and for SHOW. Undefined for a key without a limit. */
  standing(key: string): { limit: number; granted: number; waiting: number } | undefined {
    const account = this.#accounts.get(key);
    if (account === undefined) return undefined;
    return { limit: account.limit, granted: granted(account), waiting: account.wishes.size };
  }
}

/** Serves the line while slots are free; those who wait behind are left a fair part. */
function fulfil(key: string, account: Account): Grant[] {
  const grants: Grant[] = [];
  let free = account.limit - granted(account);
  for (const [holder, wanted] of account.wishes) {
    if (free <= 0) break;
    const fair = Math.max(1, Math.floor(free / account.wishes.size));
    const count = Math.min(wanted, fair);
    account.wishes.delete(holder);
    account.held.set(holder, (account.held.get(holder) ?? 0) + count);
    free -= count;
    grants.push({ holder, key, count });
  }
  return grants;
}

function granted(account: Account): number {
  let sum = 0;
  for (const count of account.held.values()) sum += count;
  return sum;
}

/** All holders of a key; `asker` counts as one more among whom the limit is to be shared. */
function holders(key: string, account: Account, asker: number): WantedBack[] {
  const parties = new Set([...account.held.keys(), ...account.wishes.keys()]);
  if (asker >= 0) parties.add(asker);
  const fair = Math.max(1, Math.floor(account.limit / parties.size));
  const isOver = granted(account) > account.limit;
  return [...account.held].map(([holder, count]) => ({ holder, key, must: isOver || count > fair }));
}
