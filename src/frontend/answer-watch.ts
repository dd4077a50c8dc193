/**
 * What is done to answers on their way to the client, where a session changes connections. Four things, each only
 * when it was asked for; all other answers pass unwatched.
 *
 * - Answers to commands of dbproxy's own, sent before the client's, are taken out.
 * - The beginning is held back, to see whether the server has refused the statement: then another one can be asked.
 * - The number of a statement that was prepared is written over by the client's own for it.
 * - A short answer is kept, so that the same question need not be asked again.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { ColumnsHash } from '../backend/columns-hash.ts';
import { Command, HEADER_BYTES } from '../protocol/constants.ts';
import { NOT_ENDED, type ReplyTracker } from '../protocol/reply-tracker.ts';

/** Errors by which a server says that it does not take writes: read_only, super_read_only, READ ONLY. */
export const READ_ONLY_ERRORS: ReadonlySet<number> = new Set([1290, 1792, 1836]);

/** How a server has refused a statement. */
interface Refused {
  readonly errno: number;
  readonly answer: Buffer;
}

/** Header, the mark of an ERR and its number. */
const ERROR_HEAD_BYTES = HEADER_BYTES + 3;

/** An answer that is kept is an OK, with what it tells of the session. */
const MOST_KEPT_BYTES = 1024;

/** Bytes of an answer that hold the id of a prepared statement. */
const PREPARED_ID_START = HEADER_BYTES + 1;
const PREPARED_ID_END = PREPARED_ID_START + 4;

/** Header, mark, id, and the numbers of columns and parameters: the beginning of the answer to PREPARE. */
const PREPARED_HEAD_BYTES = HEADER_BYTES + 9;

const EMPTY = Buffer.alloc(0);

export class AnswerWatch {
  readonly #tracker: ReplyTracker;
  /** Answers to commands that were sent before the client's, and what the client's is. */
  #hiddenAnswers = 0;
  #command = 0;
  /** Is told the number when a hidden answer is an error, and says whether that does no harm; null: it must not be one. */
  #isHarmless: ((errno: number) => boolean) | null = null;
  /** The answer may be the server's refusal. */
  #mayBeRefused = false;
  #held: Buffer = EMPTY;
  #refused: Refused | null = null;
  /** The client's name for the statement that is being prepared; 0: none is. */
  #clientStatementId = 0;
  #preparedOffset = 0;
  #columns: ColumnsHash | null = null;
  #keeps = false;
  #kept: Buffer = EMPTY;
  /** The answer to COM_STMT_PREPARE as the server gave it, as far as the dispatcher needs it. */
  readonly preparedHead: Buffer = Buffer.alloc(PREPARED_HEAD_BYTES);

  constructor(tracker: ReplyTracker) {
    this.#tracker = tracker;
  }

  // What is asked for.

  hide(answers: number, command: number, isHarmless: ((errno: number) => boolean) | null): void {
    this.#hiddenAnswers = answers;
    this.#command = command;
    this.#isHarmless = isHarmless;
  }

  expectRefusal(): void {
    this.#mayBeRefused = true;
  }

  expectPrepared(clientStatementId: number, hashesColumns: boolean): void {
    this.#clientStatementId = clientStatementId;
    this.#preparedOffset = 0;
    this.#columns = hashesColumns ? new ColumnsHash() : null;
  }

  /** A hash of what the last answer to COM_STMT_PREPARE told of columns; null when that was not asked for. */
  get preparedColumns(): string | null {
    return this.#columns?.digest() ?? null;
  }

  keep(): void {
    this.#keeps = true;
    this.#kept = EMPTY;
  }

  /** Payload of the answer that was kept; null when it was more than one short packet. */
  takeKept(): Buffer | null {
    const kept = this.#kept;
    this.#keeps = false;
    this.#kept = EMPTY;
    const isWhole = kept.length > HEADER_BYTES && kept.length === HEADER_BYTES + kept.readUIntLE(0, 3);
    return isWhole ? kept.subarray(HEADER_BYTES) : null;
  }

  /** A new command: what was expected of the answer to one that was not sent does not count. */
  expectNothing(): void {
    this.#mayBeRefused = false;
    this.#clientStatementId = 0;
    this.#keeps = false;
  }

  /** The answer will not come. */
  abandon(): void {
    this.#hiddenAnswers = 0;
    this.#mayBeRefused = false;
    this.#held = EMPTY;
    this.#clientStatementId = 0;
  }

  answered(): void {
    this.#clientStatementId = 0;
  }

  // What is done.

  /** Something is to be done with the bytes that come. */
  get isOn(): boolean {
    return this.#hiddenAnswers > 0 || this.#mayBeRefused || this.#clientStatementId !== 0 || this.#keeps;
  }

  /** The client has not been given what has come of its answer. */
  get holdsBack(): boolean {
    return this.#hiddenAnswers > 0 || this.#held.length > 0;
  }

  get mayBeRefused(): boolean {
    return this.#mayBeRefused;
  }

  /** Answers what of the connection's `input[0, length)` is for the client; null: nothing (yet), or a refusal. */
  take(backend: BackendConnection, length: number): Buffer | null {
    const start = this.#hiddenAnswers === 0 ? 0 : this.#takeHidden(backend, length);
    if (start === length) return null;
    let answer: Buffer | null = backend.input.subarray(start, length);
    if (this.#mayBeRefused) answer = this.lookForRefusal(answer);
    if (answer === null) return null;
    if (this.#clientStatementId !== 0) {
      this.#columns?.add(answer);
      this.#rename(answer);
    }
    if (this.#keeps && this.#kept.length < MOST_KEPT_BYTES) this.#kept = Buffer.concat([this.#kept, answer]);
    return answer;
  }

  /** The refusal that was found last; once. */
  takeRefused(): Refused | null {
    const refused = this.#refused;
    this.#refused = null;
    return refused;
  }

  /**
   * Takes hidden answers; answers where the client's begins. When one of them is an error that does harm, what was
   * sent behind it must not count: the connection is closed, and nothing that it has sent is for the client.
   */
  #takeHidden(backend: BackendConnection, length: number): number {
    const tracker = this.#tracker;
    let offset = 0;
    while (offset < length && this.#hiddenAnswers > 0) {
      const ended = tracker.feed(backend.input, offset, length);
      if (ended === NOT_ENDED) return length;
      offset = ended;
      if (tracker.errno !== 0 && this.#isHarmless?.(tracker.errno) !== true) {
        this.#hiddenAnswers = 0;
        backend.close();
        return length;
      }
      this.#hiddenAnswers--;
      tracker.begin(this.#hiddenAnswers > 0 ? Command.QUERY : this.#command);
    }
    return offset;
  }

  /**
   * Looks at the beginning of an answer, which may come in pieces. Answers what there is for the client; null
   * while that is nothing: more has to come, or the server has refused.
   */
  lookForRefusal(bytes: Buffer): Buffer | null {
    const answer = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = EMPTY;
    const isError = answer.length > HEADER_BYTES && answer[HEADER_BYTES] === 0xff;
    const isCut = isError && answer.length < HEADER_BYTES + answer.readUIntLE(0, 3);
    if (answer.length <= HEADER_BYTES || isCut) {
      this.#held = Buffer.from(answer);
      return null;
    }
    this.#mayBeRefused = false;
    if (!isError || answer.length < ERROR_HEAD_BYTES) return answer;
    const errno = answer.readUInt16LE(HEADER_BYTES + 1);
    if (!READ_ONLY_ERRORS.has(errno)) return answer;
    this.#refused = { errno, answer: Buffer.from(answer) };
    return null;
  }

  /** Puts the client's name of a statement in the place of the server's, which is kept. */
  #rename(answer: Buffer): void {
    for (let index = 0; index < answer.length && this.#preparedOffset < PREPARED_HEAD_BYTES; index++) {
      const at = this.#preparedOffset++;
      this.preparedHead[at] = answer[index]!;
      const isId = at >= PREPARED_ID_START && at < PREPARED_ID_END;
      if (isId && this.preparedHead[HEADER_BYTES] === 0) {
        answer[index] = (this.#clientStatementId >>> (8 * (at - PREPARED_ID_START))) & 0xff;
      }
    }
  }
}
