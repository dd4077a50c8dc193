/** Lost transactions with what the new primary says of them, in words, and what may be done with them. Pure. */
import type { Transaction } from '../../binlog/transaction.ts';
import { DBPROXY_SCHEMA } from '../../monitor/flavour/tables.ts';
import { isHarmless, type TransactionVerdict } from './conflicts.ts';
import type { LostTransactions } from './find.ts';

export interface Found {
  readonly lost: LostTransactions;
  readonly verdicts: readonly TransactionVerdict[];
}

/**
 * Harmless says that no row is in the way. Where a key is given anew each time (AUTO_INCREMENT, UUID()) no row would be,
 * had the client run the same again.
 */
export const MAY_BE_THERE_TWICE =
  "a client whose COMMIT was not answered was told that nothing of it had taken effect, or that this is not known, and may have run it again since; under a new key it is in nobody's way, and would be there twice (commit.resolved in the log, docs/lost-transactions.md)";

/** How much was found; dbproxy's own, which nobody misses, apart from the others. */
export function describeFound(found: Found): string {
  const { lost } = found;
  const ours = lost.transactions.filter(isOurs).length;
  const count = lost.transactions.length + lost.further - ours;
  const words = `${count} transaction(s) that nobody else has, ${countHarmless(found)} of them harmless`;
  return ours === 0 ? words : `${words}, beside ${ours} of dbproxy's own`;
}

/** Of how many nothing stands against making them again. */
export function countHarmless({ lost, verdicts }: Found): number {
  return lost.transactions.filter(
    (transaction, index) => !changesOnlyOurs(transaction) && isHarmless(transaction, verdicts[index] ?? []),
  ).length;
}

/** Behind what says that so many are, or would be, made again. */
export function warningOfTwice(count: number): string {
  return count === 0 ? '' : `. Look first whether they have been run again: ${MAY_BE_THERE_TWICE}`;
}

/** All of it is dbproxy's own (heartbeats): nobody misses it. */
export function isOnlyOurs({ lost }: Found): boolean {
  return lost.further === 0 && lost.doubtful.length === 0 && lost.transactions.every(isOurs);
}

/** It has nothing but what dbproxy writes for itself, as heartbeats, and that can be undone. */
export function isOurs(transaction: Transaction): boolean {
  return changesOnlyOurs(transaction) && transaction.undoProblems.length === 0;
}

/**
 * All that it changes is dbproxy's own. It is never made again: a note of an epoch after the present one would have
 * the new primary taken for one that was replaced.
 */
export function changesOnlyOurs({ changes, ddl, problems }: Transaction): boolean {
  return (
    ddl === null &&
    problems.length === 0 &&
    changes.length > 0 &&
    changes.every(({ table }) => table.database === DBPROXY_SCHEMA)
  );
}

/** Why nothing may be made again or undone, as it cannot be told whether it is lost; null: that is certain. */
export function whyInDoubt({ lost }: Found, primary: string): string | null {
  if (lost.doubtful.length === 0) return null;
  return `the binary log of ${primary} begins after some of them, and knows nothing of who wrote them (domain-server ${lost.doubtful.join(', ')} is not in its gtid_binlog_state), so it may have been filled with them; nothing of it is made again or undone`;
}
