/**
 * The relay: the bytes of one session between its client and its server connection, one command at a time.
 * This is the hot path: a chunk is read once and written once. Of a command only its header and first
 * bytes are looked at, of an answer what the reply tracker needs; nothing is copied, no promise or closure
 * is made for a packet. What cannot simply pass (the end of the session, KILL, a change of user, what a read
 * endpoint refuses) is assembled, within a bound, and given to the host.
 *
 * A replica that asks for the binary log gets it as one answer without an end. Meanwhile it may speak:
 * a semi-synchronous one acknowledges what it has received.
 *
 * With a dispatcher the relay has no connection of its own: the dispatcher looks at each command first and
 * attaches the connection that it goes to, at once or later. It may hold back the beginning of an answer, to
 * see whether a server has refused the statement, so that another one can be asked.
 *
 * Backpressure: while a write has not been taken whole by the kernel, the side that the bytes came from is
 * paused, so its input buffer stays as it is. Bytes of a client that come before the answer to its last
 * command wait in its input buffer in the same way.
 */
import type { ByteStream, SocketHandler } from '../base/socket.ts';
import type { BackendConnection, ConnectionUser } from '../backend/connection.ts';
import type { Lane, Rider } from '../backend/lane.ts';
import { Capability, Command, HEADER_BYTES, MAX_PACKET_PAYLOAD, Status } from '../protocol/constants.ts';
import { textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { hasNoReply, NOT_ENDED, ReplyTracker } from '../protocol/reply-tracker.ts';
import { mayBeKill } from '../sql/kill.ts';
import { beginsWithSelect, isPlainSelect } from '../sql/read-guard.ts';

/** Who decides what the relay cannot, and is told what happens. */
export interface RelayHost {
  /** A whole command that does not simply pass. The host answers by `answer`, `forward` or by ending. */
  onCommand(payload: Buffer, sequence: number): void;
  /** A command that passes has been sent to the server. */
  onSent(command: number): void;
  /** The answer to it has ended. */
  onAnswered(): void;
  /** The bytes are no MySQL commands. `sequence` is what an ERR packet must carry. */
  onProtocolError(expected: number, got: number): void;
  /** A command too large to be looked at, on an endpoint that must. */
  onTooLarge(command: number, bytes: number, sequence: number): void;
  onClientGone(error: Error | undefined): void;
  onBackendGone(reason: string): void;
}

/** What a relay must know of connections before it has one. */
export type RelayFlags = Pick<BackendConnection, 'capabilities' | 'extendedCapabilities' | 'loginOk'>;

/** Who chooses the connection of each command, where a session changes connections. */
export interface Dispatcher {
  /**
   * A command lies whole in `bytes[start, end)`, its first byte first. True: it goes to the connection that is
   * attached now, as it lies. False: the dispatcher has taken it and will answer, forward or skip it; the bytes
   * are its own only until it returns.
   */
  route(command: number, bytes: Buffer, start: number, end: number): boolean;
  /**
   * The same of a command that is too large to be looked at; of its bytes only the first are there. False: it
   * stays where it is until `resumeLarge` or `skipLarge`.
   */
  routeLarge(command: number, bytes: Buffer, start: number, end: number): boolean;
  /** The answer has ended; before the host is told. */
  onAnswered(): void;
  /** The client has taken all of an answer that it was slow to take. */
  onAnswerTaken(): void;
  /** The server has refused the statement in the answer's first packet, which the client has not seen. */
  onRefused(errno: number, answer: Buffer): void;
  /** The connection is gone, before the client has seen a byte of the answer. */
  onLost(reason: string): void;
}

/** Errors by which a server says that it does not take writes: read_only, super_read_only, READ ONLY. */
export const READ_ONLY_ERRORS: ReadonlySet<number> = new Set([1290, 1792, 1836]);

/** Header, the mark of an ERR and its number. */
const ERROR_HEAD_BYTES = HEADER_BYTES + 3;

/** An answer that is kept is an OK, with what it tells of the session. */
const MOST_KEPT_BYTES = 1024;

/** Bytes of an answer that hold the id of a prepared statement. */
const PREPARED_ID_START = HEADER_BYTES + 1;
const PREPARED_ID_END = PREPARED_ID_START + 4;

/** Of a large command the dispatcher must see so much: its first byte, and the number of a prepared statement. */
const LARGE_HEAD_BYTES = 5;

/** Largest command that is assembled to be looked at. */
export const INSPECT_BYTES = 1024 * 1024;

/** How a command is treated, by its first byte. */
const PASS = 0;
const LOOK = 1;
const HOST = 2;
const treatment = new Uint8Array(256);
treatment[Command.QUERY] = LOOK;
treatment[Command.STMT_PREPARE] = LOOK;
treatment[Command.QUIT] = HOST;
treatment[Command.CHANGE_USER] = HOST;
treatment[Command.RESET_CONNECTION] = HOST;
treatment[Command.PROCESS_KILL] = HOST;

/** Commands that are answered by a stream of events, during which the client may acknowledge them. */
const startsStream = new Uint8Array(256);
startsStream[Command.BINLOG_DUMP] = 1;
startsStream[Command.BINLOG_DUMP_GTID] = 1;

/** First byte of a semi-synchronous replica's acknowledgement; no command begins so. */
const ACKNOWLEDGEMENT = 0xef;

// What the next byte of the client is. Small integers: this is looked at for every chunk.
/** The header of a command. */
const COMMAND = 0;
/** The body of a command that passes. */
const BODY = 1;
/** The header of a packet that continues the command (after 2^24 - 1 bytes), or of a file's packet. */
const NEXT_HEADER = 2;
/** The rest of a command that the host wants to see whole. */
const ASSEMBLE = 3;
/** The rest of a command that is refused. */
const DISCARD = 4;
/** An acknowledgement of events, while they are being sent. */
const ACKNOWLEDGE = 5;
/** None: the answer is awaited, or the host is at work. From here on nothing is taken. */
const ANSWER = 6;
/** None any more: the session has left this relay. */
const STOPPED = 7;

const EMPTY = Buffer.alloc(0);

/** Header, mark, id, and the numbers of columns and parameters: the beginning of the answer to PREPARE. */
export const PREPARED_HEAD_BYTES = HEADER_BYTES + 9;

export class Relay implements SocketHandler, ConnectionUser, Rider {
  readonly #client: ByteStream;
  /** Null only while a session that changes connections has none. */
  #backend: BackendConnection | null;
  readonly #host: RelayHost;
  readonly #guardsReads: boolean;
  readonly #dispatcher: Dispatcher | null;
  readonly #capabilities: number;
  readonly tracker: ReplyTracker;
  /** A packet of the client may hold several statements. */
  #mayHoldSeveral: boolean;
  bytesFromClient = 0;
  bytesToClient = 0;
  #phase = COMMAND;
  /** Bytes of the current packet that are still to come from the client. */
  #bodyLeft = 0;
  #chained = false;
  #sendingFile = false;
  #streaming = false;
  #command = 0;
  /** Sequence number of the client's last packet. */
  #sequence = 0;
  /** A header cut by the end of a chunk, with the command byte where one follows. */
  readonly #head: Buffer = Buffer.alloc(HEADER_BYTES + LARGE_HEAD_BYTES);
  #headLength = 0;
  #assembled: Buffer | null = null;
  #assembledLength = 0;
  #discarded: { command: number; bytes: number } | null = null;
  /** Client bytes that wait in its input buffer. */
  #leftStart = 0;
  #leftEnd = 0;
  #clientPaused = false;
  #backendBlocked = false;
  #clientBlocked = false;
  #consuming = false;
  /** The large command at hand may pass now. */
  #largePasses = false;
  /** Answers to commands that the dispatcher has sent before the client's; the client gets none of them. */
  #hiddenAnswers = 0;
  /** The answer may be the server's refusal: it is looked at before the client gets it. */
  #mayBeRefused = false;
  #heldAnswer: Buffer = EMPTY;
  #refusal: { errno: number; answer: Buffer } | null = null;
  #keepsAnswer = false;
  #kept: Buffer = EMPTY;
  /** The lane on which the command at hand travels. */
  #lane: Lane | null = null;
  #pausedLane: Lane | null = null;
  /** The connection whose input the client is slow to take. */
  #pausedBackend: BackendConnection | null = null;
  /** The client's name for the statement that is being prepared; 0: none is. */
  #clientStatementId = 0;
  #answerOffset = 0;
  /** The answer to COM_STMT_PREPARE, as far as the dispatcher needs it. */
  readonly preparedHead: Buffer = Buffer.alloc(PREPARED_HEAD_BYTES);

  /** `guardsReads`: a read endpoint, where every statement that is no plain SELECT is looked at. */
  constructor(client: ByteStream, backend: BackendConnection, host: RelayHost, guardsReads: boolean);
  /** With a dispatcher: `flags` are those in force on every connection that it will attach. */
  constructor(client: ByteStream, flags: RelayFlags, host: RelayHost, dispatcher: Dispatcher);
  constructor(
    client: ByteStream,
    backend: BackendConnection | RelayFlags,
    host: RelayHost,
    way: boolean | Dispatcher,
  ) {
    this.#client = client;
    this.#host = host;
    this.#guardsReads = way === true;
    this.#dispatcher = typeof way === 'boolean' ? null : way;
    this.#backend = null;
    this.#capabilities = backend.capabilities;
    this.tracker = new ReplyTracker(backend.capabilities, backend.extendedCapabilities);
    this.tracker.status = backend.loginOk.status;
    this.#mayHoldSeveral = (backend.capabilities & Capability.MULTI_STATEMENTS) !== 0;
    if (typeof way === 'boolean') this.attach(backend as BackendConnection);
  }

  /** From now on commands go to `backend`, and its bytes to the client. Nothing may be under way. */
  attach(backend: BackendConnection): void {
    this.#backend = backend;
    this.tracker.status = backend.loginOk.status;
    backend.user = this;
  }

  /** The connection goes elsewhere, with the status flags of its last answer. */
  detach(): void {
    const backend = this.#backend;
    if (backend === null) return;
    backend.loginOk.status = this.tracker.status;
    backend.user = null;
    this.#backend = null;
  }

  /** The answer to the next command that is sent is looked at for a refusal before the client gets it. */
  expectRefusal(): void {
    this.#mayBeRefused = true;
  }

  /** A new command: what was expected of the answer to one that was not sent does not count. */
  expectNothing(): void {
    this.#mayBeRefused = false;
    this.#clientStatementId = 0;
    this.#keepsAnswer = false;
  }

  /** The next command that is sent prepares a statement, which the client shall know by this number. */
  expectPrepared(clientStatementId: number): void {
    this.#clientStatementId = clientStatementId;
    this.#answerOffset = 0;
  }

  /** Keeps a copy of the next answer, if it is one short packet: see `takeKept`. */
  keepAnswer(): void {
    this.#keepsAnswer = true;
    this.#kept = EMPTY;
  }

  /** Payload of the answer that was kept; null when it was more than one short packet. */
  takeKept(): Buffer | null {
    const kept = this.#kept;
    this.#keepsAnswer = false;
    this.#kept = EMPTY;
    const isWhole = kept.length > HEADER_BYTES && kept.length === HEADER_BYTES + kept.readUIntLE(0, 3);
    return isWhole ? kept.subarray(HEADER_BYTES) : null;
  }

  /**
   * Has the command at hand travel on a lane, together with those of others. `bytes[start, end)` is its payload,
   * with its header before it.
   */
  ride(lane: Lane, bytes: Buffer, start: number, end: number): void {
    this.#command = bytes[start]!;
    this.#lane = lane;
    this.tracker.begin(this.#command);
    this.#host.onSent(this.#command);
    lane.ride(this, bytes, start - HEADER_BYTES, end);
  }

  onLaneBytes(bytes: Buffer, ended: boolean): boolean {
    let answer: Buffer | null = bytes;
    if (this.#mayBeRefused) {
      answer = this.#look(bytes);
      if (answer === null) {
        if (ended) this.#lane = null;
        if (this.#refusal !== null) this.#tellRefusal();
        return true;
      }
    }
    this.bytesToClient += answer.length;
    // The input that the bytes are in goes on to be used, whether the client has taken them or not.
    const isTaken = this.#client.write(Buffer.from(answer));
    if (!isTaken) {
      this.#clientBlocked = true;
      this.#pausedLane = this.#lane;
    }
    if (ended) {
      this.#lane = null;
      this.#answered();
    }
    return isTaken;
  }

  onLaneLost(reason: string): void {
    this.#lane = null;
    if (this.#clientHasSeen) this.#host.onBackendGone(reason);
    else this.#dispatcher!.onLost(reason);
  }

  /** Sends commands of dbproxy's own and the client's, in one write; the client gets the last answer only. */
  forwardAfter(hidden: readonly Buffer[], payload: Buffer): void {
    this.#hiddenAnswers = hidden.length;
    this.#forward(payload, hidden);
  }

  /** The large command that `routeLarge` has left waiting may go on to the connection attached now. */
  resumeLarge(): void {
    this.#phase = COMMAND;
    if (this.#headLength > 0) this.#passCutLarge();
    else this.#largePasses = true;
    this.#continue();
  }

  /** The answer that was awaited will not come; false when the command has not been sent whole. */
  abandonAnswer(): boolean {
    this.tracker.abandon();
    this.#hiddenAnswers = 0;
    this.#mayBeRefused = false;
    this.#heldAnswer = EMPTY;
    this.#clientStatementId = 0;
    this.#backendBlocked = false;
    return this.#phase === ANSWER;
  }

  /** The client has not taken all of the answer: its bytes are still in the connection's input. */
  get answerUntaken(): boolean {
    return this.#clientBlocked;
  }

  /** There is nothing to answer to the command: the next one may come. */
  skip(): void {
    this.#nextCommand();
  }

  /** Nothing is under way: the client may send its next command. */
  get idle(): boolean {
    return this.#phase === COMMAND && this.#headLength === 0 && this.tracker.idle;
  }

  /** The connection can serve another session: no answer under way, no bytes on their way. */
  get reusable(): boolean {
    const quiet =
      this.tracker.idle && !this.#clientBlocked && !this.#backendBlocked && this.#backend?.spoiled !== true;
    return quiet && (this.#phase === COMMAND || this.#phase === ANSWER) && this.#headLength === 0;
  }

  get inTransaction(): boolean {
    return (this.tracker.status & Status.IN_TRANS) !== 0;
  }

  /** The answer to the command under way has begun to reach the client. */
  get answerStarted(): boolean {
    return !this.tracker.idle && this.tracker.started;
  }

  /** Something of the answer has been given to the client. */
  get #clientHasSeen(): boolean {
    return this.answerStarted && this.#hiddenAnswers === 0 && this.#heldAnswer.length === 0;
  }

  /** The number that the first packet of an answer must carry. */
  get answerSequence(): number {
    return (this.#sequence + 1) & 0xff;
  }

  /** Bytes that the client sent before the relay began are in its input buffer up to `length`. */
  begin(length: number): void {
    this.#client.handler = this;
    if (length > 0) {
      this.#clientPaused = true;
      this.#leftStart = 0;
      this.#leftEnd = length;
    }
    this.#continue();
  }

  /** The host has answered the command itself: `bytes` go to the client, and the next command may come. */
  answer(bytes: Buffer): void {
    this.#sendToClient(bytes);
    this.#nextCommand();
  }

  /** The host lets the command pass after all, as it is or changed. */
  forward(payload: Buffer): void {
    this.#forward(payload, []);
  }

  #forward(payload: Buffer, before: readonly Buffer[]): void {
    let offset = 0;
    for (const { length } of before) offset += length;
    const packet = Buffer.allocUnsafe(offset + HEADER_BYTES + payload.length);
    let filled = 0;
    for (const bytes of before) {
      packet.set(bytes, filled);
      filled += bytes.length;
    }
    packet.writeUIntLE(payload.length, offset, 3);
    packet[offset + 3] = 0;
    packet.set(payload, offset + HEADER_BYTES);
    this.#command = payload[0]!;
    this.#sequence = 0;
    this.#begun();
    this.#phase = ANSWER;
    this.#sendToBackend(packet);
    if (hasNoReply(this.#command)) this.#nextCommand();
  }

  /** The session goes on without this relay: whatever comes is not its business any more. */
  stop(): void {
    this.#phase = STOPPED;
    this.#lane?.leave(this);
    this.#pausedLane?.clientReady();
  }

  onData(length: number): void {
    this.bytesFromClient += length;
    this.#consume(0, length);
  }

  /** The client has taken what was written last; its next command may wait for that. */
  onDrain(): void {
    this.#clientBlocked = false;
    this.#pausedBackend?.resume();
    this.#pausedBackend = null;
    this.#pausedLane?.clientReady();
    this.#pausedLane = null;
    this.#dispatcher?.onAnswerTaken();
    this.#continue();
  }

  onClose(error: Error | undefined): void {
    this.#host.onClientGone(error);
  }

  onBackendData(length: number): void {
    const backend = this.#backend!;
    const isWatched =
      this.#hiddenAnswers > 0 || this.#mayBeRefused || this.#clientStatementId !== 0 || this.#keepsAnswer;
    if (!isWatched) {
      return this.#passAnswer(backend, backend.input, 0, length);
    }
    const start = this.#hiddenAnswers === 0 ? 0 : this.#takeHidden(backend, length);
    if (start < 0 || start === length) return;
    let answer: Buffer | null = backend.input.subarray(start, length);
    if (this.#mayBeRefused) answer = this.#look(answer);
    if (answer === null) {
      if (this.#refusal === null) return;
      this.tracker.feed(this.#refusal.answer, 0, this.#refusal.answer.length);
      return this.#tellRefusal();
    }
    if (this.#clientStatementId !== 0) this.#rename(answer);
    if (this.#keepsAnswer && this.#kept.length < MOST_KEPT_BYTES)
      this.#kept = Buffer.concat([this.#kept, answer]);
    this.#passAnswer(backend, answer, 0, answer.length);
  }

  /** Gives the client `bytes[start, end)` of an answer. */
  #passAnswer(backend: BackendConnection, bytes: Buffer, start: number, end: number): void {
    this.bytesToClient += end - start;
    const { tracker } = this;
    // Bytes that nobody asked for are the server's goodbye; the client gets them as they are.
    const unasked = tracker.idle;
    if (unasked && this.#dispatcher !== null) return backend.close();
    const ended = unasked ? NOT_ENDED : tracker.feed(bytes, start, end);
    if (unasked || (ended !== NOT_ENDED && ended < end)) backend.spoiled = true;
    this.#sendToClient(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    if (ended !== NOT_ENDED) this.#answered();
    else if (tracker.wantsFile) this.#sendFile();
  }

  /**
   * Takes the answers to commands of the dispatcher's own; answers where the client's begins, or -1 when one of
   * them was an error: what was sent behind it must not count, so the connection is closed.
   */
  #takeHidden(backend: BackendConnection, length: number): number {
    const { tracker } = this;
    let offset = 0;
    while (offset < length && this.#hiddenAnswers > 0) {
      const ended = tracker.feed(backend.input, offset, length);
      if (ended === NOT_ENDED) return length;
      offset = ended;
      if (tracker.errno !== 0) {
        this.#hiddenAnswers = 0;
        backend.close();
        return -1;
      }
      this.#hiddenAnswers--;
      tracker.begin(this.#hiddenAnswers > 0 ? Command.QUERY : this.#command);
    }
    return offset;
  }

  /**
   * Looks at the beginning of an answer, which may come in pieces. Answers what there is for the client; null
   * while that is nothing: more has to come, or the server has refused (`#refusal`).
   */
  #look(bytes: Buffer): Buffer | null {
    const answer = this.#heldAnswer.length === 0 ? bytes : Buffer.concat([this.#heldAnswer, bytes]);
    this.#heldAnswer = EMPTY;
    const isError = answer.length > HEADER_BYTES && answer[HEADER_BYTES] === 0xff;
    const isCut = isError && answer.length < HEADER_BYTES + answer.readUIntLE(0, 3);
    if (answer.length <= HEADER_BYTES || isCut) {
      this.#heldAnswer = Buffer.from(answer);
      return null;
    }
    this.#mayBeRefused = false;
    if (!isError || answer.length < ERROR_HEAD_BYTES) return answer;
    const errno = answer.readUInt16LE(HEADER_BYTES + 1);
    if (!READ_ONLY_ERRORS.has(errno)) return answer;
    this.#refusal = { errno, answer: Buffer.from(answer) };
    return null;
  }

  #tellRefusal(): void {
    const { errno, answer } = this.#refusal!;
    this.#refusal = null;
    this.#dispatcher!.onRefused(errno, answer);
  }

  /** Puts the client's name of a statement in the place of the server's, which is kept. */
  #rename(answer: Buffer): void {
    for (let index = 0; index < answer.length && this.#answerOffset < PREPARED_HEAD_BYTES; index++) {
      const at = this.#answerOffset++;
      this.preparedHead[at] = answer[index]!;
      const isId = at >= PREPARED_ID_START && at < PREPARED_ID_END;
      if (isId && this.preparedHead[HEADER_BYTES] === 0) {
        answer[index] = (this.#clientStatementId >>> (8 * (at - PREPARED_ID_START))) & 0xff;
      }
    }
  }

  onBackendDrain(): void {
    this.#backendBlocked = false;
    this.#continue();
  }

  onBackendClose(reason: string): void {
    if (this.#dispatcher !== null && !this.#clientHasSeen) this.#dispatcher.onLost(reason);
    else this.#host.onBackendGone(reason);
  }

  /** Takes `input[start, end)` of the client as far as it goes; the rest waits there, the client paused. */
  #consume(start: number, end: number): void {
    const { input } = this.#client;
    let offset = start;
    this.#consuming = true;
    while (offset < end && !this.#backendBlocked && this.#mayTake()) {
      switch (this.#phase) {
        case COMMAND:
          offset = this.#takeCommand(input, offset, end);
          break;
        case NEXT_HEADER:
          offset = this.#takeNextHeader(input, offset, end);
          break;
        case BODY:
          offset = this.#takeBody(input, offset, end);
          break;
        case ASSEMBLE:
          offset = this.#takeAssembled(input, offset, end);
          break;
        case ACKNOWLEDGE:
          offset = this.#takeAcknowledgement(input, offset, end);
          break;
        default:
          offset = this.#takeDiscarded(offset, end);
          break;
      }
    }
    this.#consuming = false;
    if (this.#phase === STOPPED) return;
    this.#leftStart = offset;
    this.#leftEnd = end;
    if (offset < end || this.#backendBlocked) this.#pauseClient();
    else this.#resumeClient();
  }

  /**
   * No command is begun before the client has taken the answer to its last one: so a client that asks and
   * does not read costs no memory, and a connection is not given back while its input is still being sent.
   */
  #mayTake(): boolean {
    return this.#phase < ANSWER && !(this.#clientBlocked && this.#phase === COMMAND);
  }

  /** Goes on with what waits in the client's input buffer, then reads again. */
  #continue(): void {
    if (this.#consuming || this.#backendBlocked || this.#phase === STOPPED) return;
    this.#consume(this.#leftStart, this.#leftEnd);
  }

  #pauseClient(): void {
    if (this.#clientPaused) return;
    this.#clientPaused = true;
    this.#client.pause();
  }

  #resumeClient(): void {
    if (!this.#clientPaused) return;
    this.#clientPaused = false;
    this.#client.resume();
  }

  #takeCommand(input: Buffer, start: number, end: number): number {
    if (this.#headLength > 0 || end - start < HEADER_BYTES + 1)
      return this.#takeCutCommand(input, start, end);
    const length = input[start]! | (input[start + 1]! << 8) | (input[start + 2]! << 16);
    this.#sequence = input[start + 3]!;
    if (this.#sequence !== 0 || length === 0) return this.#oddCommand(length, start + HEADER_BYTES, end);
    const command = input[start + HEADER_BYTES]!;
    const packetEnd = start + HEADER_BYTES + length;
    const whole = packetEnd <= end;
    const how = treatment[command]!;
    if (this.#dispatcher !== null && how !== HOST) {
      return this.#dispatch(this.#dispatcher, command, input, start, length, end);
    }
    if (
      this.#passesUnseen(how, length) ||
      this.#passes(how, input, start + HEADER_BYTES, Math.min(packetEnd, end), whole)
    ) {
      this.#beginBody(command, length, length + HEADER_BYTES);
      return this.#takeBody(input, start, end);
    }
    this.#beginHostCommand(command, length);
    return start + HEADER_BYTES;
  }

  /** A command for the dispatcher: whole where it lies, assembled first, or too large for that. */
  #dispatch(
    dispatcher: Dispatcher,
    command: number,
    input: Buffer,
    start: number,
    length: number,
    end: number,
  ): number {
    const payload = start + HEADER_BYTES;
    if (payload + length <= end) {
      this.#phase = ANSWER;
      if (!dispatcher.route(command, input, payload, payload + length)) return payload + length;
      this.#beginBody(command, length, length + HEADER_BYTES);
      return this.#takeBody(input, start, end);
    }
    if (length <= INSPECT_BYTES) {
      this.#beginHostCommand(command, length);
      return payload;
    }
    if (end - payload < LARGE_HEAD_BYTES) return this.#takeCutCommand(input, start, end);
    this.#phase = ANSWER;
    if (!this.#largePasses && !dispatcher.routeLarge(command, input, payload, end)) return start;
    this.#largePasses = false;
    this.#beginBody(command, length, length + HEADER_BYTES);
    return this.#takeBody(input, start, end);
  }

  /** No KILL is so long that it would not be assembled. */
  #passesUnseen(how: number, length: number): boolean {
    return how === PASS || (how === LOOK && !this.#guardsReads && length > INSPECT_BYTES);
  }

  /** The first look at a statement, `input[payload, end)`: true when nobody needs to see it whole. */
  #passes(how: number, input: Buffer, payload: number, end: number, whole: boolean): boolean {
    if (how !== LOOK) return false;
    const start = textStart(input, payload, end, this.#capabilities);
    if (start === UNKNOWN_START) return false;
    if (this.#guardsReads) {
      return this.#mayHoldSeveral
        ? whole && isPlainSelect(input, start, end)
        : beginsWithSelect(input, start, end);
    }
    // Of a statement whose text is still to come nothing is known.
    return (whole || start < end) && !mayBeKill(input, start, end);
  }

  /** A command whose header came in pieces: rare, so it is put together by way of a copy. */
  #takeCutCommand(input: Buffer, start: number, end: number): number {
    const offset = this.#fillHead(input, start, end, HEADER_BYTES + 1);
    if (this.#headLength < HEADER_BYTES) return offset;
    const length = this.#head.readUIntLE(0, 3);
    this.#sequence = this.#head[3]!;
    if (this.#sequence !== 0 || length === 0) {
      // The byte after the header belongs to the next packet; it came last, so it is still in the input.
      const unread = this.#headLength > HEADER_BYTES ? 1 : 0;
      this.#headLength = 0;
      return this.#oddCommand(length, offset - unread, end);
    }
    if (this.#headLength < HEADER_BYTES + 1) return offset;
    const command = this.#head[HEADER_BYTES]!;
    const isLarge = length > INSPECT_BYTES && treatment[command] !== HOST;
    if (this.#dispatcher !== null && isLarge) {
      const after = this.#fillHead(input, offset, end, HEADER_BYTES + LARGE_HEAD_BYTES);
      if (this.#headLength < HEADER_BYTES + LARGE_HEAD_BYTES) return after;
      this.#phase = ANSWER;
      const passes = this.#dispatcher.routeLarge(command, this.#head, HEADER_BYTES, this.#headLength);
      if (passes) this.#passCutLarge();
      return after;
    }
    this.#headLength = 0;
    if (this.#dispatcher === null && this.#passesUnseen(treatment[command]!, length)) {
      this.#beginBody(command, length, length - 1);
      this.#sendToBackend(Buffer.from(this.#head.subarray(0, HEADER_BYTES + 1)));
      if (this.#bodyLeft === 0) this.#packetPassed();
      return offset;
    }
    this.#beginHostCommand(command, length);
    // Its first byte has been consumed with the header.
    if (this.#assembled === null) this.#bodyLeft--;
    else this.#takeAssembled(this.#head, HEADER_BYTES, HEADER_BYTES + 1);
    return offset;
  }

  /** A large command whose header came in pieces begins to pass. */
  #passCutLarge(): void {
    const length = this.#head.readUIntLE(0, 3);
    const sent = this.#headLength;
    this.#headLength = 0;
    this.#beginBody(this.#head[HEADER_BYTES]!, length, length + HEADER_BYTES - sent);
    this.#sendToBackend(Buffer.from(this.#head.subarray(0, sent)));
  }

  /** A command begins to pass; `bodyLeft` bytes of its first packet are still to be sent. */
  #beginBody(command: number, length: number, bodyLeft: number): void {
    this.#command = command;
    this.#begun();
    this.#bodyLeft = bodyLeft;
    this.#chained = length === MAX_PACKET_PAYLOAD;
    this.#phase = BODY;
  }

  /** A wrong sequence number, or a command without a byte, which servers answer as an unknown command. */
  #oddCommand(length: number, offset: number, end: number): number {
    if (this.#sequence !== 0) {
      this.#host.onProtocolError(0, this.#sequence);
      return end;
    }
    this.#phase = ANSWER;
    this.#host.onCommand(Buffer.from([length]), 0);
    return offset;
  }

  /** Begins to assemble a command for the host, or to discard one that is too large for it. */
  #beginHostCommand(command: number, length: number): void {
    if (length <= INSPECT_BYTES) {
      this.#assembled = Buffer.allocUnsafe(length);
      this.#assembledLength = 0;
      this.#phase = ASSEMBLE;
      return;
    }
    this.#discarded = { command, bytes: length };
    this.#bodyLeft = length;
    this.#chained = length === MAX_PACKET_PAYLOAD;
    this.#phase = DISCARD;
  }

  #takeAssembled(input: Buffer, start: number, end: number): number {
    const assembled = this.#assembled!;
    const step = Math.min(end - start, assembled.length - this.#assembledLength);
    assembled.set(input.subarray(start, start + step), this.#assembledLength);
    this.#assembledLength += step;
    if (this.#assembledLength === assembled.length) this.#assembledWhole();
    return start + step;
  }

  #assembledWhole(): void {
    const payload = this.#assembled!;
    this.#assembled = null;
    this.#phase = ANSWER;
    const command = payload[0]!;
    if (this.#dispatcher === null || treatment[command] === HOST) {
      return this.#host.onCommand(payload, this.#sequence);
    }
    if (this.#dispatcher.route(command, payload, 0, payload.length)) this.forward(payload);
  }

  #takeDiscarded(start: number, end: number): number {
    const step = Math.min(end - start, this.#bodyLeft);
    this.#bodyLeft -= step;
    if (this.#bodyLeft === 0) this.#packetPassed();
    return start + step;
  }

  /** Passes on what there is of the current packet. */
  #takeBody(input: Buffer, start: number, end: number): number {
    const step = Math.min(end - start, this.#bodyLeft);
    this.#bodyLeft -= step;
    this.#sendToBackend(input.subarray(start, start + step));
    if (this.#bodyLeft === 0) this.#packetPassed();
    return start + step;
  }

  /** A packet of the client has passed (or has been discarded) whole. */
  #packetPassed(): void {
    if (this.#chained || this.#sendingFile) {
      this.#phase = NEXT_HEADER;
      return;
    }
    if (this.#streaming) {
      this.#phase = ACKNOWLEDGE;
      return;
    }
    if (this.#discarded !== null) {
      const { command, bytes } = this.#discarded;
      this.#discarded = null;
      this.#phase = ANSWER;
      return this.#host.onTooLarge(command, bytes, this.#sequence);
    }
    // A server may refuse a command before it has read it whole.
    if (hasNoReply(this.#command) || this.tracker.idle) this.#phase = COMMAND;
    else this.#phase = ANSWER;
  }

  /** Header of a packet that continues a chain, or of one of a local file, which ends with an empty one. */
  #takeNextHeader(input: Buffer, start: number, end: number): number {
    const offset = this.#fillHead(input, start, end, HEADER_BYTES);
    if (this.#headLength < HEADER_BYTES) return offset;
    const length = this.#head.readUIntLE(0, 3);
    this.#sequence = this.#head[3]!;
    this.#headLength = 0;
    const endsFile = this.#sendingFile && !this.#chained && length === 0;
    if (endsFile) this.#sendingFile = false;
    this.#chained = length === MAX_PACKET_PAYLOAD;
    this.#bodyLeft = length;
    this.#phase = this.#discarded === null ? BODY : DISCARD;
    if (this.#discarded === null) this.#sendToBackend(Buffer.from(this.#head.subarray(0, HEADER_BYTES)));
    if (length === 0) this.#packetPassed();
    return offset;
  }

  /**
   * A packet of the client while events are being sent to it. An acknowledgement passes, a goodbye ends the
   * session; a command has to wait for the end of the events like any other, and be looked at then.
   */
  #takeAcknowledgement(input: Buffer, start: number, end: number): number {
    if (this.#headLength === 0 && end - start > HEADER_BYTES) {
      const first = input[start + HEADER_BYTES]!;
      if (first !== ACKNOWLEDGEMENT) {
        this.#phase = first === Command.QUIT ? COMMAND : ANSWER;
        return start;
      }
    }
    const offset = this.#fillHead(input, start, end, HEADER_BYTES + 1);
    if (this.#headLength <= HEADER_BYTES) return offset;
    this.#headLength = 0;
    const length = this.#head.readUIntLE(0, 3);
    if (this.#head[HEADER_BYTES] !== ACKNOWLEDGEMENT || length === 0) {
      // It came in pieces and is no acknowledgement: nothing that a replica does.
      this.#host.onProtocolError(0, this.#head[3]!);
      return end;
    }
    this.#bodyLeft = length - 1;
    this.#chained = length === MAX_PACKET_PAYLOAD;
    this.#phase = BODY;
    this.#sendToBackend(Buffer.from(this.#head.subarray(0, HEADER_BYTES + 1)));
    if (this.#bodyLeft === 0) this.#packetPassed();
    return offset;
  }

  /** Adds bytes to the cut header until it has `wanted`; answers the new offset. */
  #fillHead(input: Buffer, start: number, end: number, wanted: number): number {
    let offset = start;
    while (offset < end && this.#headLength < wanted) this.#head[this.#headLength++] = input[offset++]!;
    return offset;
  }

  #begun(): void {
    if (!hasNoReply(this.#command)) {
      this.tracker.begin(this.#hiddenAnswers > 0 ? Command.QUERY : this.#command);
    }
    if (startsStream[this.#command] === 1) {
      this.#streaming = true;
      this.#backend!.spoiled = true;
    }
    if (this.#command === Command.SET_OPTION) {
      this.#mayHoldSeveral = true;
      // Servers keep the option over a change of user: the next session must not find it.
      this.#backend!.spoiled = true;
    }
    this.#host.onSent(this.#command);
  }

  #sendToBackend(bytes: Buffer): void {
    if (!this.#backend!.write(bytes)) this.#backendBlocked = true;
  }

  #sendToClient(bytes: Buffer): void {
    if (this.#client.write(bytes)) return;
    this.#clientBlocked = true;
    this.#pausedBackend = this.#backend;
    this.#backend?.pause();
  }

  /** The server has asked for a local file: the client's packets are its content now. */
  #sendFile(): void {
    this.tracker.wantsFile = false;
    this.#sendingFile = true;
    this.#phase = NEXT_HEADER;
    this.#continue();
  }

  #answered(): void {
    this.#streaming = false;
    if (this.#phase === ANSWER || this.#phase === ACKNOWLEDGE) this.#phase = COMMAND;
    this.#clientStatementId = 0;
    this.#dispatcher?.onAnswered();
    this.#host.onAnswered();
    if (this.#leftStart < this.#leftEnd) this.#continue();
  }

  #nextCommand(): void {
    if (this.#phase === ANSWER) this.#phase = COMMAND;
    if (this.#leftStart < this.#leftEnd) this.#continue();
  }
}
