/**
 * The journal: what a promotion is about to do is on disk before it is done, so that the next process knows where
 * the last one was. One line of JSON an entry, only ever appended; a line that a crash has cut off at the end has
 * not happened.
 *
 * A promotion that has been opened and not closed is *unfinished*: whoever starts next takes it up (`plan.resume`).
 * Promotions of several clusters may run beside each other, their entries one among the other's; those of one cluster
 * follow each other.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { copyFile, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { refusal } from '../base/errors.ts';
import type { Notes } from './steps/notes.ts';
import { canBeUndone, resumesForward, type PlanShape, type StepName } from './plan.ts';

/** A promotion as it was decided, by names. */
export interface JournaledDecision {
  readonly shape: PlanShape;
  readonly target: string;
  readonly old: string | null;
  readonly only: string | null;
  readonly force: boolean;
  /** A failover that no operator has asked for; absent in a journal of an earlier version. */
  readonly isAutomatic?: boolean;
  /** The old primary goes on with what the new one writes: a ring. Absent: it does not. */
  readonly dissolvesRing?: boolean;
  /** As it was seen when that was decided; null: it was not seen. */
  readonly oldWasReadOnly: boolean | null;
  /** Who asked for it, in words: an operator, or a diagnosis. */
  readonly because: string;
}

export type JournalEvent =
  | {
      readonly event: 'opened';
      readonly decision: JournaledDecision;
      readonly epoch: number;
      /** It had been decided, and begun, by another process: of a pair. */
      readonly takenOver?: true;
    }
  | { readonly event: 'begun'; readonly step: StepName; readonly notes: Notes }
  | { readonly event: 'done'; readonly step: StepName; readonly detail: string; readonly notes: Notes }
  | { readonly event: 'failed'; readonly step: StepName; readonly detail: string }
  | { readonly event: 'undone'; readonly step: StepName; readonly detail: string }
  | {
      readonly event: 'closed';
      readonly result: 'done' | 'undone';
      readonly detail: string;
      readonly epoch: number;
    };

export type JournalEntry = JournalEvent & {
  /** Number of the promotion; grows. */
  readonly run: number;
  readonly cluster: string;
  /** Unix time in milliseconds, for people. */
  readonly wallMs: number;
};

/** A promotion that was cut off. */
export interface UnfinishedRun {
  readonly run: number;
  readonly cluster: string;
  readonly decision: JournaledDecision;
  /** Of the cluster when that was decided. */
  readonly epoch: number;
  /** The last step that had begun; null: none had. */
  readonly step: StepName | null;
  /** Since when it is at that step, Unix time in milliseconds. */
  readonly sinceWallMs: number;
  /** It was being taken back. */
  readonly undoing: boolean;
  readonly notes: Notes | undefined;
}

export interface Journal {
  /** All entries that are kept, the oldest first. */
  entries(): readonly JournalEntry[];
  /**
   * Appends; when it resolves the entry outlives this process, and, if `durable`, is on disk for sure with all
   * before it. Rejects with DBPROXY_STATE_FILE when it could not be written; then it is not in the journal.
   */
  append(entry: JournalEntry, durable: boolean): Promise<void>;
}

const FILE_NAME = 'journal.jsonl';
/** At this size the file is set aside when a promotion has been closed; the one before it is forgotten. */
const MOST_BYTES = 1024 * 1024;

/** Opens the journal of `stateDir`; throws DBPROXY_STATE_UNREADABLE when it cannot be understood. */
export function openJournal(stateDir: string): Journal {
  const path = join(stateDir, FILE_NAME);
  const { entries, bytes } = readEntries(stateDir, path);
  let size = bytes;
  let isInDirectory = false;
  let last: Promise<void> = Promise.resolve();
  const write = async (entry: JournalEntry, durable: boolean): Promise<void> => {
    const line = `${JSON.stringify(entry)}\n`;
    try {
      const written = await writeAt(path, size, line, durable);
      if (durable && !isInDirectory) await syncDirectory(stateDir);
      isInDirectory ||= durable;
      size = written;
    } catch (error) {
      throw refusal('DBPROXY_STATE_FILE', path, (error as Error).message);
    }
    entries.push(entry);
    if (entry.event === 'closed' && size > MOST_BYTES) await setAside();
  };
  /** What cannot be set aside now is when the next promotion ends. */
  const setAside = async (): Promise<void> => {
    const kept = entriesToKeep(entries);
    const text = kept.map((one) => `${JSON.stringify(one)}\n`).join('');
    const next = `${path}.new`;
    try {
      const bytesKept = await writeAt(next, 0, text, true);
      await copyFile(path, `${path}.1`);
      await rename(next, path);
      isInDirectory = false;
      size = bytesKept;
      entries.splice(0, entries.length, ...kept);
    } catch {
      return;
    }
  };
  return {
    entries: () => entries,
    append(entry, durable) {
      const written = last.then(() => write(entry, durable));
      last = written.catch(() => undefined);
      return written;
    },
  };
}

/** The promotions that were opened and not closed, the oldest first: one a cluster at most. */
export function unfinishedRuns(entries: readonly JournalEntry[]): UnfinishedRun[] {
  const runs = new Map<number, UnfinishedRun>();
  for (const entry of entries) {
    const { run, cluster } = entry;
    const known = runs.get(run);
    switch (entry.event) {
      case 'opened':
        // The one before it in this cluster had ended, though that may not have come to be written down.
        for (const before of runs.values()) if (before.cluster === cluster) runs.delete(before.run);
        runs.set(run, {
          run,
          cluster,
          decision: entry.decision,
          epoch: entry.epoch,
          step: null,
          sinceWallMs: entry.wallMs,
          undoing: false,
          notes: undefined,
        });
        break;
      case 'begun':
      case 'done':
        if (known !== undefined) {
          const sinceWallMs = known.step === entry.step ? known.sinceWallMs : entry.wallMs;
          runs.set(run, { ...known, step: entry.step, sinceWallMs, notes: entry.notes });
        }
        break;
      case 'failed':
      case 'undone':
        // What fails after the point of no return is a gap, and the plan goes on; and whether the new primary, which
        // may be writable, is taken back is not known before that has begun.
        if (
          known !== undefined &&
          canBeUndone(known.decision.shape, entry.step) &&
          (entry.event === 'undone' || !resumesForward(known.decision.shape, entry.step))
        ) {
          runs.set(run, { ...known, undoing: true });
        }
        break;
      case 'closed':
        runs.delete(run);
    }
  }
  return [...runs.values()];
}

/**
 * Of all entries those that say the same of what is unfinished and which numbers there have been: the last one, and of
 * each unfinished promotion all but the steps before the last.
 */
function entriesToKeep(entries: readonly JournalEntry[]): JournalEntry[] {
  const kept = new Set<JournalEntry>(entries.slice(-1));
  for (const { run, step } of unfinishedRuns(entries)) {
    const own = entries.filter((entry) => entry.run === run);
    for (const entry of own) {
      const isOver = (entry.event === 'begun' || entry.event === 'done') && entry.step !== step;
      if (!isOver) kept.add(entry);
    }
  }
  return entries.filter((entry) => kept.has(entry));
}

/** A number that no run has had. */
export function nextRun(entries: readonly JournalEntry[]): number {
  return entries.reduce((highest, { run }) => Math.max(highest, run), 0) + 1;
}

function readEntries(stateDir: string, path: string): { entries: JournalEntry[]; bytes: number } {
  let text: string;
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o750 });
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { entries: [], bytes: 0 };
    throw refusal('DBPROXY_STATE_UNREADABLE', path, (error as Error).message);
  }
  // What stands behind the last line break was cut off by a crash while it was written.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const entries = whole
    .split('\n')
    .slice(0, -1)
    .map((line, index) => {
      const entry = parseEntry(line);
      if (entry === null) throw refusal('DBPROXY_STATE_UNREADABLE', path, `line ${index + 1} is no entry`);
      return entry;
    });
  return { entries, bytes: Buffer.byteLength(whole) };
}

function parseEntry(line: string): JournalEntry | null {
  try {
    const entry = JSON.parse(line) as Partial<JournalEntry> | null;
    const isEntry =
      typeof entry === 'object' &&
      entry !== null &&
      typeof entry.run === 'number' &&
      typeof entry.cluster === 'string' &&
      typeof entry.event === 'string';
    return isEntry ? (entry as JournalEntry) : null;
  } catch {
    return null;
  }
}

/** Without this a file that is new, or has a new name, may be gone after a power cut, whatever is in it. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes `line` at `size`, over what an attempt before may have left there; answers the new size. */
async function writeAt(path: string, size: number, line: string, durable: boolean): Promise<number> {
  const file = await open(path, size === 0 ? 'w' : 'r+', 0o640);
  try {
    await file.truncate(size);
    const { bytesWritten } = await file.write(line, size);
    const bytes = Buffer.byteLength(line);
    if (bytesWritten < bytes) throw new Error(`only ${bytesWritten} of ${bytes} bytes could be written`);
    if (durable) await file.datasync();
    return size + bytes;
  } finally {
    await file.close();
  }
}
