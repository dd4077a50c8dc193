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
import { holder, startOf, type Held } from './held.ts';

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
  /** MariaDB: of each domain the last transaction before the lost ones that both servers have; else empty. */
  readonly common: string;
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
    common: held.kind === 'mariadb' ? collector.common : '',
  };
}

class LostCollector {
  readonly found: RawTransaction[] = [];
  further = 0;
  readonly #isHeld: (transaction: RawTransaction) => boolean;
  readonly #onRaw: ((bytes: Buffer) => void) | null;
  #reader: TransactionReader | null = null;
  #bytes = 0;
  /** The open transaction is lost. */
  #isLost = false;
  /** Of each domain the last one that is held. */
  readonly #common = new Map<string, string>();
  #sawList = false;
  /** The format that the raw file has last. */
  #writtenFormat: Buffer | null = null;

  constructor(held: Held, onRaw: LostRequest['onRaw']) {
    this.#isHeld = holder(held);
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

  get common(): string {
    return [...this.#common.values()].join(',');
  }

  /** What is in the files before the first that is read; the last of a domain stands last. */
  #readList(): void {
    if (this.#sawList || this.#reader!.gtidList === null) return;
    this.#sawList = true;
    for (const gtid of this.#reader!.gtidList) this.#holds(gtid);
  }

  #holds(gtid: string): void {
    this.#common.set(gtid.split('-', 1)[0]!, gtid);
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
