/**
 * Reads that see the writes before them. A session that has written (causal_reads = session), or every one
 * (global), asks the primary for its position before it reads from a replica, and the replica must have that
 * position: known from an earlier look, or waited for within causal_timeout; else the primary serves the read.
 *
 * One object serves all sessions of an endpoint in one worker, so that what one of them has learnt of a
 * replica serves the others, and readers that come together ask the primary once.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { holdsPosition } from '../monitor/gtid.ts';

/** What became of the reads that had to see a write. */
export interface CausalCounts {
  atOnce: number;
  waited: number;
  fellBack: number;
}

/** The statements by which a kind of server tells its position and waits for one; null: it knows none. */
export interface CausalWords {
  /** What the primary has, to be run there. */
  readonly position: string;
  /** Waits on a replica, at most `timeoutMs`; answers 0 when it has the position. */
  wait(position: string, timeoutMs: number): string;
}

const MARIADB_WORDS: CausalWords = {
  position: 'SELECT @@GLOBAL.gtid_binlog_pos',
  wait: (position, timeoutMs) => `SELECT MASTER_GTID_WAIT('${position}', ${timeoutMs / 1000})`,
};

const MYSQL_WORDS: CausalWords = {
  position: 'SELECT @@GLOBAL.gtid_executed',
  wait: (position, timeoutMs) => `SELECT WAIT_FOR_EXECUTED_GTID_SET('${position}', ${timeoutMs / 1000})`,
};

/** MySQL 5.6 answers the number of transactions it waited for, -1 after the time, and waits whole seconds. */
const MYSQL_56_WORDS: CausalWords = {
  position: 'SELECT @@GLOBAL.gtid_executed',
  wait: (position, timeoutMs) =>
    `SELECT IF(WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS('${position}', ${Math.max(1, Math.ceil(timeoutMs / 1000))}) >= 0, 0, 1)`,
};

/** `version` as executable comments write it: 50624, 90700, 101106. */
export function causalWords(isMariaDb: boolean, version: number): CausalWords {
  if (isMariaDb) return MARIADB_WORDS;
  return version < 50705 ? MYSQL_56_WORDS : MYSQL_WORDS;
}

/** A position is text of a server that goes into a statement: nothing else than this may be in it. */
const POSITION = /^[0-9a-zA-Z_:,\-\s]+$/;

export class CausalReads {
  /** Grows with each change of the primary. */
  primaryEra = 0;
  readonly counts: CausalCounts = { atOnce: 0, waited: 0, fellBack: 0 };
  /** What each replica is known to have, by its name. */
  readonly #known = new Map<string, string>();
  readonly #eras = new Map<string, number>();
  /** A question to the primary that will be asked when the one under way has been answered. */
  #next: Promise<string | null> | null = null;
  #asking: Promise<string | null> | null = null;

  /** The replica has this position, as far as is known from earlier looks. */
  isKnownToHave(replica: string, position: string): boolean {
    const known = this.#known.get(replica);
    return known !== undefined && (known === position || holdsPosition(known, position));
  }

  learn(replica: string, position: string): void {
    if (!this.isKnownToHave(replica, position)) this.#known.set(replica, position);
  }

  /** A replica that begins anew may have less than it had. */
  forget(replica: string): void {
    this.#known.delete(replica);
    this.#eras.set(replica, this.eraOf(replica) + 1);
  }

  /** Grows whenever what was known of a replica does not hold any more. */
  eraOf(replica: string): number {
    return this.#eras.get(replica) ?? 0;
  }

  /**
   * The primary's position at some time after this call. Those who come while a question is under way share the
   * one after it. Null when the primary has no position to tell.
   */
  positionNow(ask: () => Promise<string | null>): Promise<string | null> {
    if (this.#asking === null) return this.#ask(ask);
    this.#next ??= this.#asking
      .catch(() => null)
      .then(() => {
        this.#next = null;
        return this.#ask(ask);
      });
    return this.#next;
  }

  #ask(ask: () => Promise<string | null>): Promise<string | null> {
    const asking = ask().then(
      (position) => this.#answered(position),
      (error: unknown) => {
        this.#asking = null;
        throw error;
      },
    );
    this.#asking = asking;
    return asking;
  }

  #answered(position: string | null): string | null {
    this.#asking = null;
    const plain = position?.replaceAll(/\s/g, '') ?? '';
    return plain !== '' && POSITION.test(plain) ? plain : null;
  }
}

/** Waits until the replica behind `connection` has the position; false when the time was not enough. */
export async function waitForPosition(
  connection: BackendConnection,
  words: CausalWords,
  position: string,
  timeoutMs: number,
): Promise<boolean> {
  return (await connection.queryValue(words.wait(position, timeoutMs))) === '0';
}
