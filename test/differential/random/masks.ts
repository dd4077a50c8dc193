/**
 * What may differ between two runs of a scenario, and why: this table is all that is not compared. Rows of a
 * statement without ORDER BY are compared as a set, because a server promises no more.
 */
import type { Meaning } from '../../support/wire-decode.ts';

/** What one step was answered, ready to be compared. */
export type Answer = readonly Meaning[];

interface Mask {
  readonly what: string;
  readonly why: string;
  apply(meaning: Meaning, sql: string): Meaning;
}

/** They tell of the plan that the optimizer took, by statistics that it takes from samples. */
const OF_THE_PLAN = ['no_good_index', 'no_index', 'slow'];
/** PRI_KEY, UNIQUE_KEY, MULTIPLE_KEY, AUTO_INCREMENT, NO_DEFAULT_VALUE, PART_KEY. */
const KEY_FLAGS = 2 | 4 | 8 | 512 | 4096 | 16384;
const MALFORMED_PACKET = 1835;
const BINARY_FLAG = 128;
const NULL_LENGTH = 16_777_215;
const MEDIUM_BLOB = 250;
const LONG_BLOB = 251;
/** ER_ROW_IS_REFERENCED_2, ER_NO_REFERENCED_ROW_2 */
const FOREIGN_KEY: ReadonlySet<number> = new Set([1451, 1452]);
/** A prepared statement was prepared anew, because its table had changed: dbproxy may have done so before. */
const PREPARED_ANEW = 'metadata_changed';

export const MASKS: readonly Mask[] = [
  {
    what: 'status flags of the plan',
    why: 'statistics of tables are sampled in the background',
    apply: (meaning) => withoutFlags(meaning, OF_THE_PLAN),
  },
  {
    what: 'the status flag that a prepared statement was prepared anew by itself',
    why: 'it says what one connection has prepared before; the columns that come tell the rest',
    apply: (meaning) => withoutFlags(meaning, [PREPARED_ANEW]),
  },
  {
    what: 'flags of columns that tell of keys, and their table, where there is a join, a subquery or a view',
    why: 'a plan that goes through a temporary table loses them',
    apply: (meaning, sql) =>
      meaning.kind === 'column' &&
      /\bjoin\b|\(\s*select\b|\bfrom\b[^()]*,|\bv_|\binformation_schema\b/i.test(sql)
        ? { ...meaning, flags: meaning.flags & ~KEY_FLAGS, originalTable: '' }
        : meaning,
  },
  {
    what: 'positions in the log of changes that OK packets tell',
    why: 'each server counts its own history',
    apply: (meaning) =>
      meaning.kind === 'ok' ? { ...meaning, tracked: meaning.tracked.map(withoutPosition) } : meaning,
  },
  {
    what: 'the order in which an OK packet tells changed variables',
    why: 'MariaDB tells them in the order of addresses in its memory',
    apply: (meaning) =>
      meaning.kind === 'ok' ? { ...meaning, tracked: meaning.tracked.toSorted() } : meaning,
  },
  {
    what: 'what is wrong with a malformed packet',
    why: 'dbproxy says it more exactly (docs/differences.md)',
    apply: (meaning) =>
      meaning.kind === 'error' && meaning.errno === MALFORMED_PACKET ? { ...meaning, message: '' } : meaning,
  },
  {
    what: 'quotes in the words about a foreign key',
    why: 'with sql_quote_show_create = 0 the same MySQL 9.7 writes them at one time and not at another',
    apply: (meaning) =>
      meaning.kind === 'error' && FOREIGN_KEY.has(meaning.errno)
        ? { ...meaning, message: meaning.message.replaceAll('`', '') }
        : meaning,
  },
  {
    what: 'how long a user variable without a value could be, and so which kind of blob it is',
    why: 'of one that was never set they say another than of one that was set to NULL or that a trigger has read',
    apply: (meaning) =>
      meaning.kind === 'column' && /^@[^@]/.test(meaning.name) && isValueless(meaning)
        ? { ...meaning, length: NULL_LENGTH + 1, type: LONG_BLOB }
        : meaning,
  },
  {
    what: 'the flag BINARY of a column that is a parameter',
    why: 'MariaDB sets it at the second execution of a statement: elsewhere that is the first one',
    apply: (meaning) =>
      meaning.kind === 'column' && meaning.name === 'given' && meaning.table === ''
        ? { ...meaning, flags: meaning.flags & ~BINARY_FLAG }
        : meaning,
  },
  {
    what: 'numbers in COM_STATISTICS',
    why: 'uptime and counters of the server',
    apply: (meaning) =>
      meaning.kind === 'text' ? { ...meaning, text: meaning.text.replace(/[\d.]+/g, '#') } : meaning,
  },
];

/** The answer without what may differ; `sql` is what was run, where one can say. */
export function masked(answer: Answer, sql: string): Answer {
  const meanings = answer.map((meaning) => MASKS.reduce((so, mask) => mask.apply(so, sql), meaning));
  return isOrdered(sql) ? meanings : withRowsSorted(meanings);
}

function isValueless({ type, length }: { type: number; length: number }): boolean {
  const isBlob = type === MEDIUM_BLOB || type === LONG_BLOB;
  return length === NULL_LENGTH || (isBlob && length === NULL_LENGTH + 1);
}

function isOrdered(sql: string): boolean {
  return /\border\s+by\b/i.test(sql) || /^\s*(show|handler|describe|call|get)\b/i.test(sql);
}

/** Sorts the rows of each result where they stand; the numbers of the packets stay in their places. */
function withRowsSorted(meanings: readonly Meaning[]): Meaning[] {
  const sorted = [...meanings];
  for (let start = 0; start < sorted.length; start++) {
    let end = start;
    while (sorted[end]?.kind === 'row') end++;
    if (end - start < 2) continue;
    const rows = sorted
      .slice(start, end)
      .flatMap((meaning) => (meaning.kind === 'row' ? [meaning.cells] : []));
    const inOrder = rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    inOrder.forEach((cells, index) => {
      sorted[start + index] = { ...sorted[start + index]!, kind: 'row', cells };
    });
    start = end;
  }
  return sorted;
}

function withoutFlags(meaning: Meaning, flags: readonly string[]): Meaning {
  if (meaning.kind !== 'ok' && meaning.kind !== 'eof') return meaning;
  return { ...meaning, status: meaning.status.filter((flag) => !flags.includes(flag)) };
}

function withoutPosition(tracked: string): string {
  return tracked.replace(/\b\d+-\d+-\d+\b/g, 'GTID').replace(/(^gtids.*:)[\d:-]+$/, '$1#');
}
