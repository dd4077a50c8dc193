/**
 * MySQL's compressed protocol as a byte stream over another one: the user of it sees the ordinary protocol,
 * with ordinary packet numbers (see `protocol/compression.ts`).
 *
 * Inbound, one frame is assembled and inflated at a time; a frame that is not compressed passes in the pieces
 * it comes in. While the user pauses, the rest waits in the input buffer of the stream below. Outbound, each
 * write becomes one or several frames and is compressed at once, so its memory is free again; false means
 * only that the stream below wants a pause.
 */
import { refusal, type ProxyError } from '../base/errors.ts';
import type { ByteStream, SocketHandler } from '../base/socket.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_PIECE_BYTES,
  inflateFrame,
  PacketNumbers,
  readFrameHeader,
  writeFrame,
  type CompressionAlgorithm,
  type FrameHeader,
} from '../protocol/compression.ts';

export interface CompressionOptions {
  /** What we are: `server` when the peer is a client, which begins the commands. */
  role: 'server' | 'client';
  algorithm: CompressionAlgorithm;
  /** Of zstd, 1 to 22; zlib has none. */
  level: number;
  /** Compressed bytes that have come already. */
  early: Buffer;
}

const NOTHING = Buffer.alloc(0);

export class CompressedStream implements ByteStream, SocketHandler {
  input: Buffer = NOTHING;
  handler: SocketHandler;
  readonly #under: ByteStream;
  readonly #options: CompressionOptions;
  readonly #numbers = new PacketNumbers();
  /** Number of the next frame in either direction. */
  #frameNumber = 0;
  /** The last frame was ours, as the OK of the login was. */
  #sentLast = true;
  /** `#source[#offset, #end)` is still to be taken: the early bytes, then what the stream below has read. */
  #source: Buffer;
  #offset = 0;
  #end: number;
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  #headBytes = 0;
  #frame: FrameHeader | null = null;
  /** Bytes of the frame under way that have been taken. */
  #taken = 0;
  /** The payload of a compressed frame, as far as it has come. */
  #payload: Buffer = NOTHING;
  /** The beginning of a packet header that ended the last write: it may begin a command. */
  #held: Buffer = NOTHING;
  #paused = false;
  #scheduled = false;
  #ended = false;
  #failure: ProxyError | undefined;

  /** Takes `under` over, from after the login's last OK. The handler is that of `under`. */
  constructor(under: ByteStream, options: CompressionOptions) {
    this.#under = under;
    this.#options = options;
    this.handler = under.handler;
    under.handler = this;
    under.pause();
    this.#source = options.early;
    this.#end = options.early.length;
    this.#schedule();
  }

  get remoteAddress(): string {
    return this.#under.remoteAddress;
  }

  get remotePort(): number {
    return this.#under.remotePort;
  }

  get destroyed(): boolean {
    return this.#under.destroyed;
  }

  get hasEnded(): boolean {
    return this.#under.hasEnded;
  }

  write(bytes: Buffer): boolean {
    const frames = this.#framesOf(bytes);
    return frames.length === 0 || this.#under.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
  }

  pause(): void {
    this.#paused = true;
    this.#under.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#offset < this.#end) this.#schedule();
    else this.#under.resume();
  }

  end(bytes: Buffer = NOTHING): void {
    const frames = this.#framesOf(bytes);
    if (this.#held.length > 0) frames.push(this.#nextFrame(this.#held));
    this.#ended = true;
    this.#under.end(frames.length === 0 ? undefined : Buffer.concat(frames));
  }

  close(): void {
    if (this.#held.length > 0) return this.end();
    this.#ended = true;
    this.#under.close();
  }

  destroy(): void {
    this.#ended = true;
    this.#under.destroy();
  }

  askPeer(afterMs: number): void {
    this.#under.askPeer(afterMs);
  }

  // ---- from the stream below ------------------------------------------------------------------------

  onData(length: number): void {
    this.#source = this.#under.input;
    this.#offset = 0;
    this.#end = length;
    this.#pump();
  }

  onDrain(): void {
    this.handler.onDrain();
  }

  onClose(error: Error | undefined): void {
    this.#ended = true;
    this.handler.onClose(this.#failure ?? error);
  }

  /** What waits is given out in a turn of its own: who resumes does not expect it at once. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.#pump();
      if (!this.#paused && !this.#ended) this.#under.resume();
    });
  }

  /** Takes what there is, until it is used up or the user pauses. */
  #pump(): void {
    try {
      while (this.#offset < this.#end && !this.#paused && !this.#ended) {
        if (this.#frame === null) this.#takeHead();
        else this.#takePayload(this.#frame);
      }
    } catch (error) {
      // The user's own faults are not ours to hide.
      if (error !== this.#failure) throw error;
      this.#ended = true;
      this.#under.destroy();
    }
  }

  #takeHead(): void {
    const step = Math.min(FRAME_HEADER_BYTES - this.#headBytes, this.#end - this.#offset);
    this.#source.copy(this.#head, this.#headBytes, this.#offset, this.#offset + step);
    this.#headBytes += step;
    this.#offset += step;
    if (this.#headBytes < FRAME_HEADER_BYTES) return;
    this.#headBytes = 0;
    const frame = readFrameHeader(this.#head);
    this.#number(frame.number);
    // A frame without payload says nothing.
    if (frame.payloadBytes === 0) return;
    this.#frame = frame;
    this.#taken = 0;
    if (frame.plainBytes > 0) this.#payload = Buffer.allocUnsafe(frame.payloadBytes);
  }

  /** A client's frame 0 begins a command, unless it is the one behind 255 in what the client goes on sending. */
  #number(number: number): void {
    if (this.#options.role === 'server' && number === 0) {
      const continues = this.#frameNumber === 0 && !this.#sentLast;
      if (!continues) {
        if (!this.#numbers.incomingAtStart) {
          throw this.#fail(refusal('DBPROXY_PACKET_OUT_OF_ORDER'));
        }
        this.#numbers.beginIncomingCommand();
      }
    }
    this.#sentLast = false;
    this.#frameNumber = (number + 1) & 0xff;
  }

  #takePayload(frame: FrameHeader): void {
    const step = Math.min(frame.payloadBytes - this.#taken, this.#end - this.#offset);
    const piece = this.#source.subarray(this.#offset, this.#offset + step);
    this.#offset += step;
    this.#taken += step;
    const isWhole = this.#taken === frame.payloadBytes;
    if (isWhole) this.#frame = null;
    if (frame.plainBytes === 0) return this.#give(piece);
    this.#payload.set(piece, this.#taken - step);
    if (!isWhole) return;
    const payload = this.#payload;
    this.#payload = NOTHING;
    this.#give(this.#inflate(payload, frame.plainBytes));
  }

  #inflate(payload: Buffer, plainBytes: number): Buffer {
    try {
      return inflateFrame(payload, plainBytes, this.#options.algorithm);
    } catch (error) {
      throw this.#fail(error as ProxyError);
    }
  }

  #give(bytes: Buffer): void {
    this.#numbers.renumber(bytes);
    this.input = bytes;
    this.handler.onData(bytes.length);
  }

  #fail(error: ProxyError): ProxyError {
    this.#failure = error;
    return error;
  }

  // ---- to the stream below --------------------------------------------------------------------------

  /** The frames for a write. Towards a server each command begins a frame with number 0. */
  #framesOf(bytes: Buffer): Buffer[] {
    const starts = this.#numbers.commandsIn(bytes);
    const before = this.#held.length;
    let all = before === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = NOTHING;
    const frames: Buffer[] = [];
    if (this.#options.role === 'server') return this.#cut(all, frames);
    const headBytes = this.#numbers.outgoingHeadBytes;
    if (headBytes > 0) {
      this.#held = Buffer.from(all.subarray(all.length - headBytes));
      all = all.subarray(0, all.length - headBytes);
    }
    let done = 0;
    for (const start of starts) {
      this.#cut(all.subarray(done, start + before), frames);
      done = start + before;
      this.#frameNumber = 0;
    }
    return this.#cut(all.subarray(done), frames);
  }

  #cut(bytes: Buffer, frames: Buffer[]): Buffer[] {
    for (let offset = 0; offset < bytes.length; offset += FRAME_PIECE_BYTES) {
      frames.push(this.#nextFrame(bytes.subarray(offset, offset + FRAME_PIECE_BYTES)));
    }
    return frames;
  }

  #nextFrame(piece: Buffer): Buffer {
    const { algorithm, level } = this.#options;
    const frame = writeFrame(piece, this.#frameNumber, algorithm, level);
    this.#frameNumber = (this.#frameNumber + 1) & 0xff;
    this.#sentLast = true;
    return frame;
  }
}
