/**
 * Keeps the accounts of each cluster as fresh as somebody needs them: reads them from the primary's own
 * tables (or, while there is none, those of another server) at an interval, after a change of primary, and whenever it is asked to.
 *
 * Who asks waits for a read that began after the question, for an earlier one may have missed what the
 * question is about; all who ask meanwhile wait for the same one. Reads of a cluster are apart by at least
 * READ_GAP_MS, so that guessing passwords here costs the primary next to nothing. A read that fails changes
 * nothing: what was read last goes on being served.
 */
import { messageOf } from '../base/message-of.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { accountName, type Account, type ClusterAccounts, type ImportStatus } from '../topology/account.ts';
import { ControlConnection } from './connection.ts';
import { accountTableOf } from './flavour/accounts.ts';
import { isDenied } from './observation.ts';

/** Least time between the beginnings of two reads of one cluster. */
const READ_GAP_MS = 250;
/** As long as none have been read it is tried again so often: until then nobody can log in. */
const FIRST_READ_RETRY_MS = 500;
/** A read that takes longer has failed; who waits for it has gone by then. */
const READ_TIMEOUT_MS = 2_000;
/** More accounts than this are not a list to keep in every process. */
const ACCOUNTS_MAX = 50_000;

/** Reads the accounts of a cluster from the server `source`; rejects with the reason in words. */
export type AccountReader = (
  cluster: ClusterConfig,
  source: BackendConfig,
  clock: Clock,
) => Promise<ClusterAccounts>;

export interface AccountImportOptions {
  /** Clusters whose accounts are imported. */
  readonly clusters: readonly ClusterConfig[];
  readonly clock: Clock;
  /** The server of a cluster to read from now; null when there is none. `hasNone`: none have been read yet. */
  readonly sourceOf: (cluster: string, hasNone: boolean) => BackendConfig | null;
  /** Called with accounts that differ from what was read before. */
  readonly onChange: (accounts: ClusterAccounts) => void;
  /** Called when a first read, or one after failures, is good, and once for each new reason of a failure. */
  readonly onNews: (cluster: string, news: ImportNews) => void;
  readonly read?: AccountReader;
}

export type ImportNews =
  | { readonly kind: 'imported'; readonly detail: string }
  | { readonly kind: 'failed'; readonly detail: string };

interface Desk {
  readonly cluster: ClusterConfig;
  accounts: ClusterAccounts | null;
  readMs: number;
  failure: string | null;
  /** The last read has failed because the monitor account may not read them. */
  isDenied: boolean;
  startedMs: number;
  running: Promise<void> | null;
  /** The read that has not begun yet, which all who ask now wait for. */
  next: Promise<void> | null;
  /** The gap before that read. */
  gap: { readonly timer: Timer; readonly end: () => void } | null;
  interval: Timer | null;
}

export class AccountImport {
  readonly #options: AccountImportOptions;
  readonly #desks: Map<string, Desk>;
  readonly #read: AccountReader;
  #closed = false;

  constructor(options: AccountImportOptions) {
    this.#options = options;
    this.#read = options.read ?? readAccounts;
    this.#desks = new Map(
      options.clusters.map((cluster) => [
        cluster.name,
        {
          cluster,
          accounts: null,
          readMs: 0,
          failure: null,
          isDenied: false,
          startedMs: -Infinity,
          running: null,
          next: null,
          gap: null,
          interval: null,
        },
      ]),
    );
  }

  /** How it goes, a row a cluster. */
  statuses(): ImportStatus[] {
    return [...this.#desks.values()].map((desk) => ({
      cluster: desk.cluster.name,
      accounts: desk.accounts,
      ageMs: desk.accounts === null ? null : this.#options.clock.nowMs() - desk.readMs,
      failure: desk.failure,
    }));
  }

  /** None of this cluster have been read yet, and the next try may do without anybody's help. */
  awaitsFirst(cluster: string): boolean {
    const desk = this.#desks.get(cluster);
    return desk?.accounts === null && !desk.isDenied && !this.#closed;
  }

  /** Resolves, never rejects, when a read that began after this call has ended, well or not. */
  refresh(cluster: string): Promise<void> {
    const desk = this.#desks.get(cluster);
    if (desk === undefined || this.#closed) return Promise.resolve();
    desk.next ??= this.#readInTurn(desk);
    return desk.next;
  }

  /** Resolves when every cluster has been read once, well or not. */
  async firstReads(): Promise<void> {
    const desks = [...this.#desks.values()];
    await Promise.all(desks.map((desk) => desk.next ?? desk.running ?? this.refresh(desk.cluster.name)));
  }

  /** Reads all clusters. */
  async refreshAll(): Promise<void> {
    await Promise.all([...this.#desks.keys()].map((cluster) => this.refresh(cluster)));
  }

  /** Begins no more reads; who waits for one is let go. */
  close(): void {
    this.#closed = true;
    for (const desk of this.#desks.values()) {
      desk.interval?.cancel();
      desk.gap?.timer.cancel();
      desk.gap?.end();
    }
  }

  async #readInTurn(desk: Desk): Promise<void> {
    const { clock } = this.#options;
    await desk.running;
    const waitMs = desk.startedMs + READ_GAP_MS - clock.nowMs();
    if (waitMs > 0) {
      await new Promise<void>((end) => (desk.gap = { timer: clock.after(waitMs, end), end }));
      desk.gap = null;
    }
    desk.next = null;
    if (this.#closed) return;
    desk.startedMs = clock.nowMs();
    desk.running = this.#readNow(desk);
    await desk.running;
  }

  async #readNow(desk: Desk): Promise<void> {
    const { clock, sourceOf } = this.#options;
    const { name, usersIntervalMs } = desk.cluster;
    desk.interval?.cancel();
    desk.isDenied = false;
    try {
      const source = sourceOf(name, desk.accounts === null);
      if (source === null) throw new Error('there is no server to read them from');
      const accounts = await this.#read(desk.cluster, source, clock);
      if (!this.#closed) this.#take(desk, accounts);
    } catch (error) {
      desk.isDenied = error instanceof Error && (isDenied(error) || isDenied(error.cause));
      if (!this.#closed) this.#fail(desk, messageOf(error));
    }
    if (this.#closed) return;
    const waitMs = this.awaitsFirst(name) ? Math.min(FIRST_READ_RETRY_MS, usersIntervalMs) : usersIntervalMs;
    desk.interval = clock.after(waitMs, () => void this.refresh(name));
  }

  #take(desk: Desk, accounts: ClusterAccounts): void {
    const { clock, onChange, onNews } = this.#options;
    const before = desk.accounts;
    const isNews = before === null || desk.failure !== null;
    desk.readMs = clock.nowMs();
    desk.failure = null;
    if (before === null || JSON.stringify(before) !== JSON.stringify(accounts)) {
      desk.accounts = accounts;
      onChange(accounts);
    }
    if (isNews) onNews(desk.cluster.name, { kind: 'imported', detail: describe(accounts.accounts) });
  }

  #fail(desk: Desk, reason: string): void {
    const isNews = desk.failure !== reason;
    desk.failure = reason;
    if (!isNews) return;
    const kept = desk.accounts === null ? 'there are none yet' : 'those read last go on being served';
    this.#options.onNews(desk.cluster.name, { kind: 'failed', detail: `${reason}; ${kept}` });
  }
}

function describe(accounts: readonly Account[]): string {
  const unservable = accounts.filter((account) => account.unservable !== null).length;
  return `${accounts.length} accounts, ${unservable} of them cannot be served; see SHOW USERS`;
}

/** Reads the accounts over a connection of its own. */
const readAccounts: AccountReader = async (cluster, source, clock) => {
  const endMs = clock.nowMs() + READ_TIMEOUT_MS;
  const leftMs = (): number => Math.max(1, endMs - clock.nowMs());
  const connection = await ControlConnection.open(source, cluster, clock, leftMs());
  try {
    const [me] = await connection.run('SELECT VERSION() AS version, CURRENT_USER() AS account', leftMs());
    const { product, table, query, ...reader } = accountTableOf(String(me?.version));
    const rows = await connection.run(query, leftMs()).catch((error: unknown) => {
      throw isDenied(error) ? new Error(mending(error, table, String(me?.account)), { cause: error }) : error;
    });
    if (rows.length > ACCOUNTS_MAX) {
      throw new Error(`${table} has ${rows.length} accounts, above the ${ACCOUNTS_MAX} that dbproxy keeps`);
    }
    const accounts = rows
      .map((row) => reader.readAccount(row))
      .sort((one, other) => compareTexts(keyOf(one), keyOf(other)));
    return { cluster: cluster.name, product, accounts };
  } finally {
    connection.close();
  }
};

/** The server's own words, and the statement that helps; `account` is CURRENT_USER(), so `user@host`. */
function mending(error: unknown, table: string, account: string): string {
  const at = account.lastIndexOf('@');
  const grantee = accountName({ user: account.slice(0, at), host: account.slice(at + 1) });
  return `${(error as Error).message}; say on the primary: GRANT SELECT ON ${table} TO ${grantee}`;
}

function keyOf({ user, host }: Account): string {
  return `${user}\0${host}`;
}

/** By code units: the same everywhere. */
function compareTexts(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
