/**
 * Transactions and their global ids, in the manner of both families: MariaDB goes on counting where its domain is,
 * whoever wrote; MySQL counts by server.
 */
export type Family = 'mariadb' | 'mysql';

/** A global id: who wrote it (MariaDB: its server id, MySQL: its uuid), and the number it was given. */
export interface GlobalId {
  readonly writer: string;
  readonly sequence: number;
}

/** One transaction: the same object wherever it is. */
export interface Txn extends GlobalId {
  readonly id: number;
  readonly kind: 'client' | 'epoch' | 'fool';
  /** Number of the client's statement; 0 for what is none. */
  readonly statement: number;
  readonly epoch: { readonly epoch: number; readonly backend: string } | null;
}

/** The binary log of one server. */
export class TransactionLog {
  readonly #family: Family;
  readonly #writer: string;
  #transactions: Txn[] = [];
  readonly #ids = new Set<number>();
  /** By writer the last number. */
  readonly #counts = new Map<string, number>();
  #highest = 0;
  #epoch: Txn['epoch'] = null;

  constructor(family: Family, writer: string) {
    this.#family = family;
    this.#writer = writer;
  }

  /** In the order of the log. */
  get transactions(): readonly Txn[] {
    return this.#transactions;
  }

  get last(): Txn | null {
    return this.#transactions.at(-1) ?? null;
  }

  /** The highest number of all. */
  get highest(): number {
    return this.#highest;
  }

  /** The last promotion that is written down in it. */
  get epoch(): Txn['epoch'] {
    return this.#epoch;
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }

  /** The number that the next transaction of this server is given. */
  get nextSequence(): number {
    return (this.#family === 'mariadb' ? this.#highest : this.countOf(this.#writer)) + 1;
  }

  /** The last number of one writer. */
  countOf(writer: string): number {
    return this.#counts.get(writer) ?? 0;
  }

  append(txn: Txn): void {
    this.#transactions.push(txn);
    this.#ids.add(txn.id);
    this.#counts.set(txn.writer, Math.max(txn.sequence, this.countOf(txn.writer)));
    this.#highest = Math.max(this.#highest, txn.sequence);
    if (txn.epoch !== null && txn.epoch.epoch >= (this.#epoch?.epoch ?? 0)) this.#epoch = txn.epoch;
  }

  /** Forgets some, as recovery may. */
  drop(dropped: readonly Txn[]): void {
    const kept = this.#transactions.filter((txn) => !dropped.includes(txn));
    this.#transactions = [];
    this.#ids.clear();
    this.#counts.clear();
    this.#highest = 0;
    this.#epoch = null;
    for (const txn of kept) this.append(txn);
  }

  /** As the server says it. MySQL does not count those of its own that wait for their acknowledgement. */
  history(waiting: number): string {
    const items: string[] = [];
    for (const [writer, count] of this.#counts) {
      if (this.#family === 'mariadb') items.push(`0-${writer}-${count}`);
      else {
        const committed = writer === this.#writer ? count - waiting : count;
        if (committed > 0) items.push(`${writer}:1-${committed}`);
      }
    }
    return items.join(',');
  }
}

/** How a server of this family names itself in global ids. */
export function writerOf(family: Family, serverId: number): string {
  return family === 'mariadb'
    ? String(serverId)
    : `00000000-0000-0000-0000-${String(serverId).padStart(12, '0')}`;
}

/** A MariaDB position. */
export function gtidOf({ writer, sequence }: GlobalId): string {
  return `0-${writer}-${sequence}`;
}

/** A transaction in words. */
export function describe({ kind, statement, epoch, writer, sequence }: Txn): string {
  return `${what(kind, statement, epoch)} as ${writer.slice(-2)}:${sequence}`;
}

function what(kind: Txn['kind'], statement: number, epoch: Txn['epoch']): string {
  switch (kind) {
    case 'client':
      return `statement ${statement}`;
    case 'epoch':
      return `epoch ${epoch?.epoch} (${epoch?.backend})`;
    case 'fool':
      return 'a fool’s write';
  }
}
