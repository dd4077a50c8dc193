/**
 * All that is done at the sight of an old primary that has more than its successor: find what is lost, write it down
 * as it comes, compare it, and have it on the disk before anybody acts.
 */
import { messageOf } from '../../base/message-of.ts';
import { refusal } from '../../base/errors.ts';
import { conflictsOf, type TransactionVerdict } from './conflicts.ts';
import type { SqlConnection } from './connection.ts';
import { LostFiles } from './files.ts';
import { findLostTransactions, type LostRequest, type LostTransactions } from './find.ts';
import type { LostRow } from './report.ts';

export interface CollectRequest extends Omit<LostRequest, 'onRaw'> {
  /** To the new primary; settings of the connection are changed. */
  readonly newPrimary: SqlConnection;
  readonly stateDir: string;
  /** The epoch in which they were lost. */
  readonly epoch: number;
}

export interface CollectedLost {
  readonly lost: LostTransactions;
  /** Of each transaction, in the same order. */
  readonly verdicts: readonly TransactionVerdict[];
  readonly rows: readonly LostRow[];
  /** The SQL that makes them again; null when nothing is lost. */
  readonly file: string | null;
}

/**
 * Finds, compares and saves what is lost; without lost transactions no file is made. Rejects with
 * DBPROXY_BINLOG_UNREAD, and what had been found by then stays in its .binlog file.
 */
export async function collectLost(request: CollectRequest): Promise<CollectedLost> {
  const { source, newPrimary, stateDir, epoch, bounds } = request;
  let files: LostFiles | null = null;
  const opened = (): LostFiles => (files ??= LostFiles.create(stateDir, source.backend.name, epoch));
  let isSaved = false;
  try {
    const lost = await findLostTransactions({ ...request, onRaw: (bytes) => opened().writeRaw(bytes) });
    if (lost.transactions.length === 0 && lost.further === 0)
      return { lost, verdicts: [], rows: [], file: null };
    const verdicts = await conflictsOf(lost.transactions, newPrimary, bounds.timeoutMs);
    isSaved = true;
    return { lost, verdicts, ...opened().save(lost, verdicts) };
  } catch (error) {
    const why = messageOf(error);
    throw refusal('DBPROXY_BINLOG_UNREAD', source.backend.name, why);
  } finally {
    if (!isSaved) (files as LostFiles | null)?.abandon();
  }
}
