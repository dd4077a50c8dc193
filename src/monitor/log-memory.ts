/**
 * What a MariaDB server has by its own binary log, where it remembers less. One that starts as a semi-synchronous replica
 * (`init_rpl_role = SLAVE`) after a crash cuts its log back to what its storage engine has, and takes for its position
 * not the end of the log but what stands at the head of the file that its recovery began with (tried on 10.11.19). So
 * after a crash in the first second or so of a new file it believes that it has far less than it has, or nothing at all,
 * and would follow from there: all that it has comes a second time.
 *
 * The log itself tells. Each file begins with the state that the server had then (Gtid_list), so
 *
 * 1. when the newest file begins with more than the one before it, all is well; that is nearly always so;
 * 2. when it begins with no more, though there are transactions in the one before, the server has forgotten those;
 *    files without transactions in between (one a restart) are passed by;
 * 3. what it has then is the state at the head of that file, the transactions in it, and what came behind. Should a number
 *    have been given twice since, nobody can tell.
 *
 * Pure but for `recallLog`, which asks.
 */
import { holdsPosition, stateAt } from './gtid.ts';
import { text, type Row } from './flavour/row.ts';

/** What is wrong with what a server says of itself. */
export interface Forgotten {
  /** What it says itself. */
  readonly position: string;
  readonly history: string;
  /** Null: its log tells what it has, and the facts are by that. Otherwise why nobody can tell, in words. */
  readonly why: string | null;
}

/** What a server has, by its log. */
export type Recalled =
  | { readonly kind: 'agrees' }
  | { readonly kind: 'more'; readonly position: string; readonly history: string }
  | { readonly kind: 'unclear'; readonly why: string };

/** How a log is read: its files, the oldest first, and the first events of one of them from a place on. */
export interface LogQuestions {
  readonly files: string;
  events(file: string, most: number): string;
  /** One row with `position`: of each domain the last id before the end of a file. */
  endOf(file: string, size: number): string;
}

type Ask = (sql: string) => Promise<readonly Row[]>;

/** What a file begins with, and the first transaction in it. */
interface FileHead {
  readonly file: string;
  /** State of the log, by `domain-server`. */
  readonly state: ReadonlyMap<string, bigint>;
  readonly list: string;
  /** Null: there is none in it. */
  readonly firstGtid: string | null;
}

/** The head of a file: a few events of the file itself, and then the first of a transaction. */
const HEAD_EVENTS = 12;
/** So many files are looked at: one comes with each restart, and these have nothing in them. */
const MOST_FILES = 50;
/** So many events of a file are read: a check waits for that. */
const MOST_EVENTS = 20_000;

/** Asks a server that follows nobody and says that the state of its log is `history`. */
export async function recallLog(questions: LogQuestions, history: string, ask: Ask): Promise<Recalled> {
  const rows = await ask(questions.files);
  const files = rows
    .slice(-MOST_FILES)
    .map((row) => ({ file: text(row.Log_name), size: Number(row.File_size) }));
  const headOf = async (index: number): Promise<FileHead> =>
    readHead(files[index]!.file, await ask(questions.events(files[index]!.file, HEAD_EVENTS)));
  let index = files.length - 1;
  if (index < 1) return { kind: 'agrees' };
  const newest = await headOf(index);
  let after = newest;
  for (;;) {
    if (--index < 0) return { kind: 'agrees' };
    const head = await headOf(index);
    if (hasGrown(head, after)) return { kind: 'agrees' };
    if (head.firstGtid !== null) {
      if (isDomainGone(head, after) && !(await hasBegun(after, index, headOf))) return { kind: 'agrees' };
      return recallFrom(head, files[index]!, newest, history, questions, ask);
    }
    after = head;
  }
}

/** The server has forgotten the transactions in this file, the last that has any but the newest. */
async function recallFrom(
  head: FileHead,
  { file, size }: { file: string; size: number },
  newest: FileHead,
  said: string,
  questions: LogQuestions,
  ask: Ask,
): Promise<Recalled> {
  const events = await ask(questions.events(file, MOST_EVENTS));
  const gtids = gtidsIn(events);
  let state = gtids.reduce(stateAt, head.list);
  if (events.length >= MOST_EVENTS) {
    const [row] = await ask(questions.endOf(file, size));
    const end = itemsOf(text(row?.position));
    if (!end.every((gtid) => lastOf(state, domainOf(gtid)).startsWith(`${writerOf(gtid)}-`)))
      return { kind: 'unclear', why: `${file} is too long to be read through` };
    state = end.reduce(stateAt, state);
  }
  const next = newest.firstGtid;
  if (next !== null && holdsPosition(state, next)) {
    const why = `it has gone on from there, and has given ${next} a second time`;
    return { kind: 'unclear', why: `a crash had made it forget the end of ${file}; ${why}` };
  }
  const history = itemsOf(said).reduce(
    (whole, gtid) => (holdsPosition(whole, gtid) ? whole : stateAt(whole, gtid)),
    state,
  );
  return isSame(history, said) ? { kind: 'agrees' } : { kind: 'more', position: endOf(history), history };
}

/** Reads the first events of a file. */
export function readHead(file: string, events: readonly Row[]): FileHead {
  const list = events.find((row) => text(row.Event_type) === 'Gtid_list');
  const state = /\[(.*)\]/.exec(text(list?.Info))?.[1] ?? '';
  const items = itemsOf(state);
  const firstGtid = gtidsIn(events)[0] ?? null;
  return {
    file,
    list: items.join(','),
    state: new Map(items.map((gtid) => [writerOf(gtid), sequenceOf(gtid)])),
    firstGtid,
  };
}

/** `BEGIN GTID 0-1-5 cid=7`, `GTID 0-1-6`. */
function gtidsIn(events: readonly Row[]): string[] {
  return events.flatMap((row) => {
    const match = text(row.Event_type) === 'Gtid' ? /\bGTID (\d+-\d+-\d+)/.exec(text(row.Info)) : null;
    return match === null ? [] : [match[1]!];
  });
}

/** Something was written between the beginnings of the two files, and the server knew of it in the second. */
function hasGrown(before: FileHead, after: FileHead): boolean {
  return [...after.state].some(([writer, sequence]) => sequence > (before.state.get(writer) ?? 0n));
}

/** The domain of what is in the file is not known afterwards: it may have been deleted (FLUSH BINARY LOGS DELETE_DOMAIN_ID). */
function isDomainGone({ firstGtid }: FileHead, after: FileHead): boolean {
  return ![...after.state.keys()].some((writer) => domainOf(writer) === domainOf(firstGtid!));
}

/** The recovery began with a file that begins so. */
async function hasBegun(
  after: FileHead,
  last: number,
  headOf: (index: number) => Promise<FileHead>,
): Promise<boolean> {
  for (let index = last; index >= 0; index--) {
    if (isSame((await headOf(index)).list, after.list)) return true;
  }
  return false;
}

function isSame(one: string, other: string): boolean {
  const sorted = (list: string): string => itemsOf(list).sort().join(',');
  return sorted(one) === sorted(other);
}

/** Of each domain what stands last. */
function endOf(state: string): string {
  return [...new Map(itemsOf(state).map((gtid) => [domainOf(gtid), gtid])).values()].join(',');
}

function lastOf(state: string, domain: string): string {
  return itemsOf(state).findLast((gtid) => domainOf(gtid) === domain) ?? '';
}

function itemsOf(list: string): string[] {
  return list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function domainOf(gtid: string): string {
  return gtid.split('-', 1)[0]!;
}

function writerOf(gtid: string): string {
  return gtid.slice(0, gtid.lastIndexOf('-'));
}

function sequenceOf(gtid: string): bigint {
  return BigInt(gtid.slice(gtid.lastIndexOf('-') + 1));
}
