/**
 * One half of the relay: commands, from the client's bytes to the server. A chunk is cut where one command ends and
 * the next begins; of a command only the header and the first bytes are looked at, then its bytes pass as they lie.
 * What cannot simply pass (the end of the session, KILL, a change of user, what a read endpoint refuses) is
 * assembled, within a bound, and given to the host. With a router, every other command is shown to it first.
 *
 * A replica that asks for the binary log gets it as one answer without an end. Meanwhile it may speak:
 * a semi-synchronous one acknowledges what it has received.
 *
 * While the server has not taken what was sent, the client is paused, so its input buffer stays as it is. Bytes
 * that come before the last command is answered wait in that buffer in the same way.
 *
 * All of it is one state machine: what the next byte of the client is depends on what came before, so it stays
 * together. MySQL manual, "MySQL Packets" and "Command Phase".
 */
import type { ByteStream } from '../base/socket.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command, HEADER_BYTES, MAX_PACKET_PAYLOAD } from '../protocol/constants.ts';
import { hasNoReply, type ReplyTracker } from '../protocol/reply-tracker.ts';
import { INSPECT_BYTES, isForHost, type FirstLook } from './first-look.ts';

/** Who decides on commands that do not simply pass, and is told of those that do. */
export interface CommandHost {
  /** A whole command that does not simply pass. The host answers by `answer`, `forward` or by ending. */
  onCommand(payload: Buffer, sequence: number): void;
  /** A command that passes has been sent to the server. */
  onSent(): void;
  /** The bytes are no MySQL commands. `sequence` is what an ERR packet must carry. */
  onProtocolError(expected: number, got: number): void;
  /** A command too large to be looked at, on an endpoint that must. */
  onTooLarge(command: number, bytes: number, sequence: number): void;
}

/** Who chooses the connection of each command, where a session changes connections. */
export interface CommandRouter {
  /**
   * A command lies whole in `bytes[start, end)`, its first byte first. True: it goes to the connection that is
   * attached now, as it lies. False: the router has taken it and will answer, forward or skip it; the bytes
   * are its own only until it returns.
   */
  route(command: number, bytes: Buffer, start: number, end: number): boolean;
  /**
   * The same of a command that is too large to be looked at; of its bytes only the first are there. False: it
   * stays where it is until `resumeLarge`, or the session ends.
   */
  routeLarge(command: number, bytes: Buffer, start: number, end: number): boolean;
}

/** Of a large command the router must see so much: its first byte, and the number of a prepared statement. */
const LARGE_HEAD_BYTES = 5;

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

export class CommandForwarder {
  readonly #client: ByteStream;
  readonly #look: FirstLook;
  readonly #tracker: ReplyTracker;
  readonly #host: CommandHost;
  readonly #router: CommandRouter | null;
  /** Where commands go; null only while a session that changes connections has none. */
  backend: BackendConnection | null = null;
  /** The client has not taken all of an answer yet. */
  answerUntaken = false;
  #phase = COMMAND;
  /** Bytes of the current packet that are still to come from the client. */
  #bodyLeft = 0;
  #chained = false;
  /** The command at hand has been sent, or begun to be. */
  #isSent = false;
  #sendingFile = false;
  #streaming = false;
  #command = 0;
  /** Sequence number of the client's last packet. */
  #sequence = 0;
  /** A header cut by the end of a chunk, with the first bytes of the command where some follow. */
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
  #consuming = false;
  /** The large command at hand may pass now. */
  #largePasses = false;

  constructor(
    client: ByteStream,
    look: FirstLook,
    tracker: ReplyTracker,
    host: CommandHost,
    router: CommandRouter | null,
  ) {
    this.#client = client;
    this.#look = look;
    this.#tracker = tracker;
    this.#host = host;
    this.#router = router;
  }

  // Where it stands.

  /** The client may send its next command. */
  get atRest(): boolean {
    return this.#phase === COMMAND && this.#headLength === 0;
  }

  /** No command is partly on its way. */
  get isBetweenCommands(): boolean {
    const isBetween = this.#phase === COMMAND || this.#phase === ANSWER;
    return isBetween && this.#headLength === 0 && !this.#backendBlocked;
  }

  /** A command has been sent whole, and its answer has not ended. */
  get awaitsAnswer(): boolean {
    return this.#isSent && this.#phase === ANSWER;
  }

  /** A command has been sent in part: the next bytes of the client belong to it. */
  get isSending(): boolean {
    return this.#phase === BODY || this.#phase === NEXT_HEADER;
  }

  /** The number that the first packet of an answer must carry. */
  get answerSequence(): number {
    return (this.#sequence + 1) & 0xff;
  }

  // What happens to it.

  /** Bytes that the client sent before the relay began are in its input buffer up to `length`. */
  begin(length: number): void {
    if (length > 0) {
      this.#clientPaused = true;
      this.#leftStart = 0;
      this.#leftEnd = length;
    }
    this.resume();
  }

  /** The session goes on without this relay. */
  stop(): void {
    this.#phase = STOPPED;
  }

  /** The server has taken what was sent. */
  backendDrained(): void {
    this.#backendBlocked = false;
    this.resume();
  }

  /** The server has asked for a local file: the client's packets are its content now. */
  sendFile(): void {
    this.#sendingFile = true;
    this.#phase = NEXT_HEADER;
    this.resume();
  }

  /** The answer has ended; `goOn` takes the next command. */
  answered(): void {
    this.#streaming = false;
    this.#isSent = false;
    if (this.#phase === ANSWER || this.#phase === ACKNOWLEDGE) this.#phase = COMMAND;
  }

  /** There is nothing more to answer to the command: the next one may come. */
  nextCommand(): void {
    this.#isSent = false;
    if (this.#phase === ANSWER) this.#phase = COMMAND;
    this.goOn();
  }

  /** The answer that was awaited will not come; false when the command has not been sent whole. */
  abandonAnswer(): boolean {
    this.#backendBlocked = false;
    this.#isSent = false;
    return this.#phase === ANSWER;
  }

  /** The large command that `routeLarge` has left waiting may go on to the connection attached now. */
  resumeLarge(): void {
    this.#phase = COMMAND;
    if (this.#headLength > 0) this.#passCutLarge();
    else this.#largePasses = true;
    this.resume();
  }

  /** Sends a whole command, in one write with those of others `before` it. */
  forward(before: readonly Buffer[], payload: Buffer): void {
    this.#sequence = 0;
    this.#begun(payload[0]!, before.length > 0);
    this.#phase = ANSWER;
    this.#sendToBackend(packetOf(before, payload));
    if (hasNoReply(this.#command)) this.nextCommand();
  }

  /**
   * Takes what waits in the client's input buffer. Nothing may wait there, and the client be paused all the same: for
   * a server that had not taken what was sent, and is gone.
   */
  goOn(): void {
    if (this.#clientPaused) this.resume();
  }

  /** Goes on with what waits in the client's input buffer, then reads again. */
  resume(): void {
    if (this.#consuming || this.#backendBlocked || this.#phase === STOPPED) return;
    this.take(this.#leftStart, this.#leftEnd);
  }

  /** Takes `input[start, end)` of the client as far as it goes; the rest waits there, the client paused. */
  take(start: number, end: number): void {
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
    return this.#phase < ANSWER && !(this.answerUntaken && this.#phase === COMMAND);
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
    if (this.#router !== null && !isForHost(command)) {
      return this.#route(this.#router, command, input, start, length, end);
    }
    if (
      this.#look.passesUnseen(command, length) ||
      this.#look.passes(command, input, start + HEADER_BYTES, Math.min(packetEnd, end), whole)
    ) {
      this.#beginBody(command, length, length + HEADER_BYTES);
      return this.#takeBody(input, start, end);
    }
    this.#beginHostCommand(command, length);
    return start + HEADER_BYTES;
  }

  /** A command for the router: whole where it lies, assembled first, or too large for that. */
  #route(
    router: CommandRouter,
    command: number,
    input: Buffer,
    start: number,
    length: number,
    end: number,
  ): number {
    const payload = start + HEADER_BYTES;
    if (payload + length <= end) {
      this.#phase = ANSWER;
      if (!router.route(command, input, payload, payload + length)) return payload + length;
      this.#beginBody(command, length, length + HEADER_BYTES);
      return this.#takeBody(input, start, end);
    }
    if (length <= INSPECT_BYTES) {
      this.#beginHostCommand(command, length);
      return payload;
    }
    if (end - payload < LARGE_HEAD_BYTES) return this.#takeCutCommand(input, start, end);
    this.#phase = ANSWER;
    if (!this.#largePasses && !router.routeLarge(command, input, payload, end)) return start;
    this.#largePasses = false;
    this.#beginBody(command, length, length + HEADER_BYTES);
    return this.#takeBody(input, start, end);
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
    if (this.#router !== null && length > INSPECT_BYTES && !isForHost(command)) {
      return this.#routeCutLarge(this.#router, command, input, offset, end);
    }
    this.#headLength = 0;
    if (this.#router === null && this.#look.passesUnseen(command, length)) {
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

  #routeCutLarge(router: CommandRouter, command: number, input: Buffer, start: number, end: number): number {
    const offset = this.#fillHead(input, start, end, HEADER_BYTES + LARGE_HEAD_BYTES);
    if (this.#headLength < HEADER_BYTES + LARGE_HEAD_BYTES) return offset;
    this.#phase = ANSWER;
    if (router.routeLarge(command, this.#head, HEADER_BYTES, this.#headLength)) this.#passCutLarge();
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
    this.#begun(command, false);
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
    if (this.#router === null || isForHost(command)) {
      return this.#host.onCommand(payload, this.#sequence);
    }
    if (this.#router.route(command, payload, 0, payload.length)) this.forward(NONE, payload);
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
    if (hasNoReply(this.#command) || this.#tracker.idle) this.#phase = COMMAND;
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

  /** The command is on its way: its answer is awaited. */
  #begun(command: number, isBehindOthers: boolean): void {
    this.#command = command;
    this.#isSent = true;
    // Those before it are statements.
    if (!hasNoReply(command)) this.#tracker.begin(isBehindOthers ? Command.QUERY : command);
    if (startsStream[command] === 1) {
      this.#streaming = true;
      this.backend!.spoiled = true;
    }
    if (command === Command.SET_OPTION) {
      this.#look.mayHoldSeveral = true;
      // Servers keep the option over a change of user: the next session must not find it.
      this.backend!.spoiled = true;
    }
    this.#host.onSent();
  }

  #sendToBackend(bytes: Buffer): void {
    if (!this.backend!.write(bytes)) this.#backendBlocked = true;
  }
}

const NONE: readonly Buffer[] = [];

/** The command in a packet of its own, behind others. */
function packetOf(before: readonly Buffer[], payload: Buffer): Buffer {
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
  return packet;
}
