/**
 * The relay: the bytes of one session between its client and its server connection, one command at a time.
 * This is the hot path: a chunk is read once and written once, of a command only its header and first bytes are
 * looked at, of an answer what the reply tracker needs; nothing is copied, no promise or closure is made for a
 * packet. Commands are the forwarder's (command-forwarder.ts); this file passes the answers, and ties the two.
 *
 * With a dispatcher the relay has no connection of its own: the dispatcher looks at each command first and
 * attaches the connection that it goes to, at once or later, or has it ride on a lane with those of others. What it
 * wants done to the answer is done by the watch (answer-watch.ts).
 *
 * Backpressure: while a write has not been taken whole by the kernel, the side that the bytes came from is
 * paused, so its input buffer stays as it is.
 */
import type { ByteStream, SocketHandler } from '../base/socket.ts';
import type { BackendConnection, ConnectionUser } from '../backend/connection.ts';
import type { Lane, Rider } from '../backend/lane.ts';
import { HEADER_BYTES, Status } from '../protocol/constants.ts';
import { NOT_ENDED, ReplyTracker } from '../protocol/reply-tracker.ts';
import { AnswerWatch } from './answer-watch.ts';
import { CommandForwarder, type CommandHost, type CommandRouter } from './command-forwarder.ts';
import { FirstLook } from './first-look.ts';

/** Who decides what the relay cannot, and is told what happens. */
export interface RelayHost extends CommandHost {
  /** The client is about to be given the end of the answer to a command that was sent. */
  onAnswerEnds(): void;
  /** It has been given to it. */
  onAnswered(): void;
  onClientGone(error: Error | undefined): void;
  onBackendGone(reason: string): void;
}

/** What a relay must know of connections before it has one. */
export type RelayFlags = Pick<BackendConnection, 'capabilities' | 'extendedCapabilities' | 'loginOk'>;

/** Who chooses the connection of each command, and hears what became of it. */
export interface Dispatcher extends CommandRouter {
  /** The answer has ended; before the host is told. */
  onAnswered(): void;
  /** The client has taken all of an answer that it was slow to take. */
  onAnswerTaken(): void;
  /** The server has refused the statement in the answer's first packet, which the client has not seen. */
  onRefused(errno: number, answer: Buffer): void;
  /** The connection is gone, before the client has seen a byte of the answer. */
  onLost(reason: string): void;
}

export class Relay implements SocketHandler, ConnectionUser, Rider {
  readonly #client: ByteStream;
  readonly #host: RelayHost;
  readonly #dispatcher: Dispatcher | null;
  readonly tracker: ReplyTracker;
  readonly #commands: CommandForwarder;
  readonly #watch: AnswerWatch;
  bytesFromClient = 0;
  bytesToClient = 0;
  #mayBeUnasked = false;
  /** The lane on which the command at hand travels. */
  #lane: Lane | null = null;
  /** Whose bytes the client is slow to take. */
  #pausedLane: Lane | null = null;
  #pausedBackend: BackendConnection | null = null;

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
    const { capabilities, extendedCapabilities, loginOk } = backend;
    this.#client = client;
    this.#host = host;
    this.#dispatcher = typeof way === 'boolean' ? null : way;
    this.tracker = new ReplyTracker(capabilities, extendedCapabilities);
    this.tracker.status = loginOk.status;
    const look = new FirstLook(capabilities, way === true);
    this.#commands = new CommandForwarder(client, look, this.tracker, host, this.#dispatcher);
    this.#watch = new AnswerWatch(this.tracker);
    if (typeof way === 'boolean') this.attach(backend as BackendConnection);
  }

  /** Bytes that the client sent before the relay began are in its input buffer up to `length`. */
  begin(length: number): void {
    this.#client.handler = this;
    this.#commands.begin(length);
  }

  /** The session goes on without this relay: whatever comes is not its business any more. */
  stop(): void {
    this.#commands.stop();
    this.#lane?.leave(this);
    this.#pausedLane?.clientReady();
  }

  // Where it stands.

  /** Nothing is under way: the client may send its next command. */
  get idle(): boolean {
    return this.#commands.atRest && this.tracker.idle;
  }

  /** A command has been sent whole, and its answer is awaited. */
  get awaitsAnswer(): boolean {
    return !this.tracker.idle || this.#commands.awaitsAnswer;
  }

  /** A command has gone to the server in part, and its rest is still to come from the client. */
  get isSending(): boolean {
    return this.#commands.isSending;
  }

  /** The connection can serve another session: no answer under way, no bytes on their way. */
  get reusable(): boolean {
    const isQuiet = this.tracker.idle && !this.answerUntaken && this.#commands.isBetweenCommands;
    return isQuiet && this.#commands.backend?.spoiled !== true;
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
    return this.answerStarted && !this.#watch.holdsBack;
  }

  /** The number that the first packet of an answer must carry. */
  get answerSequence(): number {
    return this.#commands.answerSequence;
  }

  /** The client has not taken all of the answer: its bytes are still in the connection's input. */
  get answerUntaken(): boolean {
    return this.#commands.answerUntaken;
  }

  /** The answer to COM_STMT_PREPARE as the server gave it, as far as the dispatcher needs it. */
  get preparedHead(): Buffer {
    return this.#watch.preparedHead;
  }

  // What the host and the dispatcher do with a command.

  /** From now on commands go to `backend`, and its bytes to the client. Nothing may be under way. */
  attach(backend: BackendConnection): void {
    this.#commands.backend = backend;
    this.tracker.status = backend.loginOk.status;
    backend.user = this;
  }

  /** The connection goes elsewhere, with the status flags of its last answer. */
  detach(): void {
    const backend = this.#commands.backend;
    if (backend === null) return;
    backend.loginOk.status = this.tracker.status;
    backend.user = null;
    this.#commands.backend = null;
  }

  /** The host lets the command pass after all, as it is or changed. */
  forward(payload: Buffer): void {
    this.#commands.forward(NONE, payload);
  }

  /**
   * Sends commands of dbproxy's own and the client's, in one write; the client gets the last answer only. When one of
   * ours fails, that is the end of the connection, unless somebody takes that error as harmless.
   */
  forwardAfter(
    hidden: readonly Buffer[],
    payload: Buffer,
    isHarmless: ((errno: number) => boolean) | null = null,
  ): void {
    this.#watch.hide(hidden.length, payload[0]!, isHarmless);
    this.#commands.forward(hidden, payload);
  }

  /** The large command that `routeLarge` has left waiting may go on to the connection attached now. */
  resumeLarge(): void {
    this.#commands.resumeLarge();
  }

  /**
   * Has the command at hand travel on a lane, together with those of others. `bytes[start, end)` is its payload,
   * with its header before it.
   */
  ride(lane: Lane, bytes: Buffer, start: number, end: number): void {
    this.#lane = lane;
    this.tracker.begin(bytes[start]!);
    this.#host.onSent();
    lane.ride(this, bytes, start - HEADER_BYTES, end);
  }

  /** The host has answered the command itself: `bytes` go to the client, and the next command may come. */
  answer(bytes: Buffer): void {
    this.#sendToClient(bytes);
    this.#commands.nextCommand();
  }

  /** There is nothing to answer to the command: the next one may come. */
  skip(): void {
    this.#commands.nextCommand();
  }

  /** The answer that was awaited will not come; false when the command has not been sent whole. */
  abandonAnswer(): boolean {
    this.tracker.abandon();
    this.#watch.abandon();
    return this.#commands.abandonAnswer();
  }

  /** A connection was lost while nothing was awaited of it: what the client sends next is taken. */
  goOn(): void {
    this.#commands.goOn();
  }

  // What is to be done with the answer.

  /** A new command: what was expected of the answer to one that was not sent does not count. */
  expectNothing(): void {
    this.#mayBeUnasked = false;
    this.#watch.expectNothing();
  }

  /** The answer to the next command that is sent is looked at for a refusal before the client gets it. */
  expectRefusal(): void {
    this.#watch.expectRefusal();
  }

  /** The command at hand has no answer, and may get one all the same: it is for the client. */
  expectUnasked(): void {
    this.#mayBeUnasked = true;
  }

  /** The next command that is sent prepares a statement, which the client shall know by this number. */
  expectPrepared(clientStatementId: number, hashesColumns: boolean): void {
    this.#watch.expectPrepared(clientStatementId, hashesColumns);
  }

  /** A hash of what the last answer to COM_STMT_PREPARE told of columns; null when that was not asked for. */
  get preparedColumns(): string | null {
    return this.#watch.preparedColumns;
  }

  /** Keeps a copy of the next answer, if it is one short packet: see `takeKept`. */
  keepAnswer(): void {
    this.#watch.keep();
  }

  /** Payload of the answer that was kept; null when it was more than one short packet. */
  takeKept(): Buffer | null {
    return this.#watch.takeKept();
  }

  // The client's side.

  onData(length: number): void {
    this.bytesFromClient += length;
    this.#commands.take(0, length);
  }

  /** The client has taken what was written last; its next command may wait for that. */
  onDrain(): void {
    this.#commands.answerUntaken = false;
    this.#pausedBackend?.resume();
    this.#pausedBackend = null;
    this.#pausedLane?.clientReady();
    this.#pausedLane = null;
    this.#dispatcher?.onAnswerTaken();
    this.#commands.resume();
  }

  onClose(error: Error | undefined): void {
    this.#host.onClientGone(error);
  }

  // The server's side.

  onBackendData(length: number): void {
    const backend = this.#commands.backend!;
    if (this.#watch.isOn) this.#passWatched(backend, length);
    else this.#passAnswer(backend, backend.input, length);
  }

  onBackendDrain(): void {
    this.#commands.backendDrained();
  }

  onBackendClose(reason: string): void {
    if (this.#dispatcher !== null && !this.#clientHasSeen) this.#dispatcher.onLost(reason);
    else this.#host.onBackendGone(reason);
  }

  /** Gives the client `bytes[0, end)` of an answer. */
  #passAnswer(backend: BackendConnection, bytes: Buffer, end: number): void {
    this.bytesToClient += end;
    const { tracker } = this;
    // Bytes that nobody asked for are the server's goodbye; the client gets them as they are.
    const unasked = tracker.idle;
    if (unasked && this.#dispatcher !== null && !this.#mayBeUnasked) return backend.close();
    this.#mayBeUnasked = false;
    const ended = unasked ? NOT_ENDED : tracker.feed(bytes, 0, end);
    if (unasked || (ended !== NOT_ENDED && ended < end)) backend.spoiled = true;
    if (ended !== NOT_ENDED) this.#host.onAnswerEnds();
    this.#sendToClient(end === bytes.length ? bytes : bytes.subarray(0, end));
    if (ended !== NOT_ENDED) this.#answered();
    else if (tracker.wantsFile) this.#sendFile();
  }

  #passWatched(backend: BackendConnection, length: number): void {
    const answer = this.#watch.take(backend, length);
    if (answer !== null) return this.#passAnswer(backend, answer, answer.length);
    const refused = this.#watch.takeRefused();
    if (refused === null) return;
    this.tracker.feed(refused.answer, 0, refused.answer.length);
    this.#dispatcher!.onRefused(refused.errno, refused.answer);
  }

  #sendToClient(bytes: Buffer): void {
    if (this.#client.write(bytes)) return;
    this.#commands.answerUntaken = true;
    this.#pausedBackend = this.#commands.backend;
    this.#pausedBackend?.pause();
  }

  #sendFile(): void {
    this.tracker.wantsFile = false;
    this.#commands.sendFile();
  }

  #answered(): void {
    this.#commands.answered();
    this.#watch.answered();
    this.#dispatcher?.onAnswered();
    this.#host.onAnswered();
    this.#commands.goOn();
  }

  // A lane, which cuts its server's bytes by the trackers of its riders.

  onLaneBytes(bytes: Buffer, ended: boolean): boolean {
    const answer = this.#watch.mayBeRefused ? this.#watch.lookForRefusal(bytes) : bytes;
    // It waits for the client only while there is more to come.
    if (ended) this.#lane = null;
    if (answer === null) {
      const refused = this.#watch.takeRefused();
      if (refused !== null) this.#dispatcher!.onRefused(refused.errno, refused.answer);
      return true;
    }
    this.bytesToClient += answer.length;
    if (ended) this.#host.onAnswerEnds();
    // The input that the bytes are in goes on to be used, whether the client has taken them or not.
    const isTaken = this.#client.write(Buffer.from(answer));
    if (!isTaken) {
      this.#commands.answerUntaken = true;
      this.#pausedLane = this.#lane;
    }
    if (ended) this.#answered();
    return isTaken;
  }

  onLaneLost(reason: string): void {
    this.#lane = null;
    if (this.#clientHasSeen) this.#host.onBackendGone(reason);
    else this.#dispatcher!.onLost(reason);
  }
}

const NONE: readonly Buffer[] = [];
