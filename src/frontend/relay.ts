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
 * Backpressure: while a write has not been taken whole by the kernel, the side that the bytes came from is
 * paused, so its input buffer stays as it is. Bytes of a client that come before the answer to its last
 * command wait in its input buffer in the same way.
 */
import type { ByteStream, SocketHandler } from '../base/socket.ts';
import type { BackendConnection, ConnectionUser } from '../backend/connection.ts';
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

export class Relay implements SocketHandler, ConnectionUser {
  readonly #client: ByteStream;
  readonly #backend: BackendConnection;
  readonly #host: RelayHost;
  readonly #guardsReads: boolean;
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
  readonly #head: Buffer = Buffer.alloc(HEADER_BYTES + 1);
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

  /** `guardsReads`: a read endpoint, where every statement that is no plain SELECT is looked at. */
  constructor(client: ByteStream, backend: BackendConnection, host: RelayHost, guardsReads: boolean) {
    this.#client = client;
    this.#backend = backend;
    this.#host = host;
    this.#guardsReads = guardsReads;
    this.tracker = new ReplyTracker(backend.capabilities, backend.extendedCapabilities);
    this.tracker.status = backend.loginOk.status;
    this.#mayHoldSeveral = (backend.capabilities & Capability.MULTI_STATEMENTS) !== 0;
    backend.user = this;
  }

  /** Nothing is under way: the client may send its next command. */
  get idle(): boolean {
    return this.#phase === COMMAND && this.#headLength === 0 && this.tracker.idle;
  }

  /** The connection can serve another session: no answer under way, no bytes on their way. */
  get reusable(): boolean {
    const quiet =
      this.tracker.idle && !this.#clientBlocked && !this.#backendBlocked && !this.#backend.spoiled;
    return quiet && (this.#phase === COMMAND || this.#phase === ANSWER) && this.#headLength === 0;
  }

  get inTransaction(): boolean {
    return (this.tracker.status & Status.IN_TRANS) !== 0;
  }

  /** The answer to the command under way has begun to reach the client. */
  get answerStarted(): boolean {
    return !this.tracker.idle && this.tracker.started;
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
    const packet = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
    packet.writeUIntLE(payload.length, 0, 3);
    packet[3] = 0;
    packet.set(payload, HEADER_BYTES);
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
  }

  onData(length: number): void {
    this.bytesFromClient += length;
    this.#consume(0, length);
  }

  /** The client has taken what was written last; its next command may wait for that. */
  onDrain(): void {
    this.#clientBlocked = false;
    this.#backend.resume();
    this.#continue();
  }

  onClose(error: Error | undefined): void {
    this.#host.onClientGone(error);
  }

  onBackendData(length: number): void {
    this.bytesToClient += length;
    const input = this.#backend.input;
    const { tracker } = this;
    // Bytes that nobody asked for are the server's goodbye; the client gets them as they are.
    const unasked = tracker.idle;
    const ended = unasked ? NOT_ENDED : tracker.feed(input, 0, length);
    if (unasked || (ended !== NOT_ENDED && ended < length)) this.#backend.spoiled = true;
    this.#sendToClient(input.subarray(0, length));
    if (ended !== NOT_ENDED) this.#answered();
    else if (tracker.wantsFile) this.#sendFile();
  }

  onBackendDrain(): void {
    this.#backendBlocked = false;
    this.#continue();
  }

  onBackendClose(reason: string): void {
    this.#host.onBackendGone(reason);
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

  /** No KILL is so long that it would not be assembled. */
  #passesUnseen(how: number, length: number): boolean {
    return how === PASS || (how === LOOK && !this.#guardsReads && length > INSPECT_BYTES);
  }

  /** The first look at a statement, `input[payload, end)`: true when nobody needs to see it whole. */
  #passes(how: number, input: Buffer, payload: number, end: number, whole: boolean): boolean {
    if (how !== LOOK) return false;
    const start = textStart(input, payload, end, this.#backend.capabilities);
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
    this.#headLength = 0;
    if (this.#passesUnseen(treatment[command]!, length)) {
      this.#beginBody(command, length, length - 1);
      this.#sendToBackend(Buffer.from(this.#head));
      if (this.#bodyLeft === 0) this.#packetPassed();
      return offset;
    }
    this.#beginHostCommand(command, length);
    // Its first byte has been consumed with the header.
    if (this.#assembled === null) this.#bodyLeft--;
    else this.#takeAssembled(this.#head, HEADER_BYTES, HEADER_BYTES + 1);
    return offset;
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
    this.#host.onCommand(payload, this.#sequence);
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
    this.#sendToBackend(Buffer.from(this.#head));
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
    if (!hasNoReply(this.#command)) this.tracker.begin(this.#command);
    if (startsStream[this.#command] === 1) {
      this.#streaming = true;
      this.#backend.spoiled = true;
    }
    if (this.#command === Command.SET_OPTION) {
      this.#mayHoldSeveral = true;
      // Servers keep the option over a change of user: the next session must not find it.
      this.#backend.spoiled = true;
    }
    this.#host.onSent(this.#command);
  }

  #sendToBackend(bytes: Buffer): void {
    if (!this.#backend.write(bytes)) this.#backendBlocked = true;
  }

  #sendToClient(bytes: Buffer): void {
    if (this.#client.write(bytes)) return;
    this.#clientBlocked = true;
    this.#backend.pause();
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
    this.#host.onAnswered();
    if (this.#leftStart < this.#leftEnd) this.#continue();
  }

  #nextCommand(): void {
    if (this.#phase === ANSWER) this.#phase = COMMAND;
    if (this.#leftStart < this.#leftEnd) this.#continue();
  }
}
