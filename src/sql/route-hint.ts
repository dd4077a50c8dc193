/**
 * Hints on where to route, written in a comment of the statement. What is understood, in any case:
 *
 *   dbproxy: primary            dbproxy: replica           our own
 *   maxscale route to master    maxscale route to slave    MaxScale
 *   mycat:db_type=master        mycat:db_type=slave        Mycat, also with # or ! before it
 *   master                      slave, balance             Atlas and older Mycat: the word alone
 *
 * All else in these languages names servers or groups that mean nothing here (ProxySQL's `hostgroup=1`,
 * MaxScale's `route to last`) and is a comment like any other.
 */
import { findWord, FOLDED, HASH_PRIME, HASH_SEED, HintWord, Word } from './words.ts';

/** What a comment asks for; small numbers, as the lexer asks for every comment. */
export const Hint = { NONE: 0, PRIMARY: 1, REPLICA: 2 } as const;

/** The words and marks of a comment, one after the other. */
class CommentReader {
  readonly #text: Buffer;
  readonly #end: number;
  #offset: number;

  constructor(text: Buffer, start: number, end: number) {
    this.#text = text;
    this.#offset = start;
    this.#end = end;
  }

  /** The number of the next word, the code of the next mark; 0 for an unknown word, -1 at the end. */
  next(): number {
    const text = this.#text;
    let offset = this.#offset;
    while (offset < this.#end && text[offset]! <= 0x20) offset++;
    if (offset >= this.#end) return -1;
    const start = offset;
    let hash = HASH_SEED;
    for (; offset < this.#end && FOLDED[text[offset]!] !== 0; offset++) {
      hash = Math.imul(hash ^ FOLDED[text[offset]!]!, HASH_PRIME);
    }
    this.#offset = offset === start ? offset + 1 : offset;
    return offset === start ? text[start]! : findWord(text, start, offset, hash);
  }
}

const COLON = 0x3a;
const EQUALS = 0x3d;
const HASH = 0x23;

/** True for a byte with which one of the hints may begin. */
function mayBegin(byte: number): boolean {
  switch (byte | 0x20) {
    case 0x62: // balance
    case 0x64: // dbproxy
    case 0x6d: // master, maxscale, mycat
    case 0x73: // slave
      return true;
    default:
      return byte === HASH;
  }
}

/** Reads the inside of a comment, `text[start, end)`. */
export function readHint(text: Buffer, start: number, end: number): number {
  let offset = start;
  while (offset < end && text[offset]! <= 0x20) offset++;
  if (offset >= end || !mayBegin(text[offset]!)) return Hint.NONE;
  const reader = new CommentReader(text, offset, end);
  const first = reader.next();
  switch (first === HASH ? reader.next() : first) {
    case HintWord.DBPROXY:
      return reader.next() === COLON ? lastRole(reader) : Hint.NONE;
    case HintWord.MAXSCALE:
      return reader.next() === HintWord.ROUTE && reader.next() === Word.TO ? lastRole(reader) : Hint.NONE;
    case HintWord.MYCAT:
      return reader.next() === COLON && reader.next() === HintWord.DB_TYPE && reader.next() === EQUALS
        ? lastRole(reader)
        : Hint.NONE;
    case HintWord.MASTER:
      return first !== HASH && reader.next() === -1 ? Hint.PRIMARY : Hint.NONE;
    case HintWord.SLAVE:
    case HintWord.BALANCE:
      return first !== HASH && reader.next() === -1 ? Hint.REPLICA : Hint.NONE;
    default:
      return Hint.NONE;
  }
}

/** The role that the rest of the comment names, if it is all that is left. */
function lastRole(reader: CommentReader): number {
  const role = reader.next();
  if (reader.next() !== -1) return Hint.NONE;
  if (role === HintWord.PRIMARY || role === HintWord.MASTER) return Hint.PRIMARY;
  return role === HintWord.REPLICA || role === HintWord.SLAVE ? Hint.REPLICA : Hint.NONE;
}

/** True when `text` from `start`, behind the mark of an executable comment, is Mycat's spelling of a hint. */
export function beginsWithMycat(text: Buffer, start: number, end: number): boolean {
  if (start >= end || (text[start]! | 0x20) !== 0x6d) return false;
  const reader = new CommentReader(text, start, end);
  return reader.next() === HintWord.MYCAT && reader.next() === COLON;
}
