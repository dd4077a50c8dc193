/**
 * Finds the transactions that an old primary has and its successor lacks, and decodes them. As many as fit within
 * the bounds are decoded; all of them, without bounds, go to a file in the form of a binlog, as they came.
 */
import { UnreadableEvent } from '../../binlog/reader.ts';
import { decodeTransaction, tablesOf, type Transaction } from '../../binlog/transaction.ts';
import { TransactionReader, type RawTransaction } from '../../binlog/transaction-reader.ts';
import type { SqlConnection } from './connection.ts';
import { describeTables } from './describe.ts';
import { readBinlog, type BinlogSource, type DumpBounds } from './dump.ts';
import { holder, isInDoubt, startOf, type Held } from './held.ts';

export interface LostRequest {
  /** The old primary: its binlog, and its definitions of tables. */
  readonly source: BinlogSource;
  readonly connection: SqlConnection;
  /** What the new primary has. */
  readonly held: Held;
  readonly bounds: DumpBounds;
  /** Gets the bytes of a binlog with the lost transactions in it; null: nobody wants them. */
  readonly onRaw: ((bytes: Buffer) => void) | null;
}

export interface LostTransactions {
  readonly transactions: readonly Transaction[];
  /** Lost ones that are not among them: more than are decoded. They are in the raw file. */
  readonly further: number;
  /** Whose rows they are, as `schema.table`, of those that are decoded. */
  readonly tables: readonly string[];
  /**
   * MariaDB: writers (`domain-server`) that the new primary knows nothing of, and that wrote before its binary log begins. It
   * was filled by somebody who did not tell it what there had been: perhaps it has all of theirs.
   */
  readonly doubtful: readonly string[];
  /** MariaDB: of what both servers have the position and the state of the binary log; else empty. */
  readonly common: { readonly position: string; readonly history: string };
}

/** So many transactions are decoded, of so many bytes together. */
const MOST_TRANSACTIONS = 10_000;
const MOST_BYTES = 32 * 1024 * 1024;

/** A binlog begins with these four bytes. */
const MAGIC = Buffer.from([0xfe, 0x62, 0x69, 0x6e]);

/** Reads the old primary's binlog to its end. Rejects when that cannot be done whole. */
export async function findLostTransactions(request: LostRequest): Promise<LostTransactions> {
  const { source, connection, held, bounds } = request;
  const endMs = bounds.clock.nowMs() + bounds.timeoutMs;
  const left = (): DumpBounds => ({ ...bounds, timeoutMs: Math.max(1, endMs - bounds.clock.nowMs()) });
  const start = await startOf(held, source, connection, left());
  const collector = new LostCollector(held, request.onRaw);
  await readBinlog(source, start, left(), ({ hasChecksums }) => {
    const file = start.kind === 'at' ? start.file : '';
    collector.begin(new TransactionReader({ hasChecksums, file, mostBytes: MOST_BYTES }));
    return (event) => collector.push(event);
  });
  const tables = collector.found.flatMap(tablesOf);
  const definitions = await describeTables(connection, tables, left().timeoutMs);
  return {
    transactions: collector.found.map((raw) => decodeTransaction(raw, definitions)),
    further: collector.further,
    tables: [...new Set(tables.map(({ database, table }) => `${database}.${table}`))],
    doubtful: held.kind === 'mariadb' ? [...collector.doubtful] : [],
    common: held.kind === 'mariadb' ? collector.common : { position: '', history: '' },
  };
}

class LostCollector {
  readonly found: RawTransaction[] = [];
  further = 0;
  /** See `LostTransactions`. */
  readonly doubtful = new Set<string>();
  readonly #isHeld: (transaction: RawTransaction) => boolean;
  readonly #held: Held;
  readonly #onRaw: ((bytes: Buffer) => void) | null;
  #reader: TransactionReader | null = null;
  #bytes = 0;
  /** The open transaction is lost. */
  #isLost = false;
  /** Of each domain the last one that is held, and of each server the last that it wrote, in the order of the log. */
  readonly #position = new Map<string, string>();
  readonly #history = new Map<string, string>();
  #sawList = false;
  /** The format that the raw file has last. */
  #writtenFormat: Buffer | null = null;

  constructor(held: Held, onRaw: LostRequest['onRaw']) {
    this.#isHeld = holder(held);
    this.#held = held;
    this.#onRaw = onRaw;
  }

  begin(reader: TransactionReader): void {
    this.#reader = reader;
  }

  push(event: Buffer): 'more' {
    const { transaction, begins, ends } = this.#reader!.push(event);
    this.#readList();
    if (transaction === null) return 'more';
    if (begins) this.#isLost = !this.#isHeld(transaction);
    if (begins && this.#isLost) this.#lacks(transaction.gtid);
    if (!this.#isLost) {
      if (transaction.gtid !== null) this.#holds(transaction.gtid);
      // Nobody will read it.
      transaction.parts = [];
      transaction.raw = [];
      return 'more';
    }
    this.#writeRaw(event);
    if (ends) this.#keep(transaction);
    return 'more';
  }

  get common(): LostTransactions['common'] {
    const join = (gtids: ReadonlyMap<string, string>): string => [...gtids.values()].join(',');
    return { position: join(this.#position), history: join(this.#history) };
  }

  /** What is in the files before the first that is read; the last of a domain stands last. */
  #readList(): void {
    if (this.#sawList || this.#reader!.gtidList === null) return;
    this.#sawList = true;
    for (const gtid of this.#reader!.gtidList) this.#holds(gtid);
  }

  #lacks(gtid: string | null): void {
    if (gtid !== null && isInDoubt(this.#held, gtid)) this.doubtful.add(writerOf(gtid));
  }

  #holds(gtid: string): void {
    this.#position.set(gtid.split('-', 1)[0]!, gtid);
    const writer = writerOf(gtid);
    this.#history.delete(writer);
    this.#history.set(writer, gtid);
  }

  #keep(transaction: RawTransaction): void {
    // A crash in the middle of writing it: no server ever had it.
    if (transaction.end === 'cut_off') return;
    this.#bytes += transaction.rawBytes;
    if (this.found.length < MOST_TRANSACTIONS && this.#bytes <= MOST_BYTES) this.found.push(transaction);
    else this.further++;
  }

  #writeRaw(event: Buffer): void {
    if (this.#onRaw === null) return;
    const { format } = this.#reader!;
    if (format === null) throw new UnreadableEvent('events before the one that describes their format');
    if (this.#writtenFormat === null) this.#onRaw(MAGIC);
    if (this.#writtenFormat === null || !this.#writtenFormat.equals(format)) this.#onRaw(format);
    this.#writtenFormat = format;
    this.#onRaw(event);
  }
}

/** Of MariaDB's `0-1-9`: `0-1`. */
function writerOf(gtid: string): string {
  return gtid.slice(0, gtid.lastIndexOf('-'));
}
