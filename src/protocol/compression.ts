/**
 * MySQL's compressed protocol, without sockets: frames of seven bytes of header and a compressed (or plain)
 * piece of the ordinary byte stream. Packets and frames do not end together: a frame may hold many packets
 * and a packet may span many frames.
 * Manual: page_protocol_basic_compression, page_protocol_basic_compression_packet.
 *
 * Frames are numbered like packets: from 0 at each command, counted on over both directions. The numbers of
 * the packets inside are of no meaning to servers and clients then, and often wrong (they take them from the
 * number of a frame). Everybody else relies on them; `PacketNumbers` puts them right.
 */
import {
  constants,
  deflateSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
  type ZlibOptions,
  type ZstdOptions,
} from 'node:zlib';
import { refusal } from '../base/errors.ts';
import { Capability, HEADER_BYTES } from './constants.ts';

export type CompressionAlgorithm = 'zlib' | 'zstd';

/** What the two sides have agreed upon by these flags; servers prefer zlib when there are both. */
export function compressionOf(capabilities: number): CompressionAlgorithm | null {
  if ((capabilities & Capability.COMPRESS) !== 0) return 'zlib';
  return (capabilities & Capability.ZSTD_COMPRESSION) !== 0 ? 'zstd' : null;
}

/** Three bytes of length, one of number, three of length before compression (0: not compressed). */
export const FRAME_HEADER_BYTES = 7;
/** Largest piece that is put into one frame: it bounds how long the compression of one takes. */
export const FRAME_PIECE_BYTES = 64 * 1024;
/** Below this compression is not tried, as servers do. */
const LEAST_COMPRESSED_BYTES = 50;
/** A result of inflation is assembled from pieces of at most this size. */
const INFLATE_CHUNK_BYTES = 1024 * 1024;
const LEAST_CHUNK_BYTES = 64;

/** One frame's header, read. */
export interface FrameHeader {
  payloadBytes: number;
  number: number;
  /** 0: the payload is not compressed. */
  plainBytes: number;
}

/** Reads the header at `bytes[0, 7)`. */
export function readFrameHeader(bytes: Buffer): FrameHeader {
  return { payloadBytes: bytes.readUIntLE(0, 3), number: bytes[3]!, plainBytes: bytes.readUIntLE(4, 3) };
}

/** Makes one frame of at most `FRAME_PIECE_BYTES`. `level` is zstd's; zlib works at its fastest. */
export function writeFrame(
  piece: Buffer,
  number: number,
  algorithm: CompressionAlgorithm,
  level: number,
): Buffer {
  const packed = piece.length < LEAST_COMPRESSED_BYTES ? piece : compress(piece, algorithm, level);
  const isSmaller = packed.length < piece.length;
  const payload = isSmaller ? packed : piece;
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUIntLE(payload.length, 0, 3);
  frame[3] = number;
  frame.writeUIntLE(isSmaller ? piece.length : 0, 4, 3);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

function compress(piece: Buffer, algorithm: CompressionAlgorithm, level: number): Buffer {
  switch (algorithm) {
    case 'zlib':
      return deflateSync(piece, { level: constants.Z_BEST_SPEED });
    case 'zstd':
      return zstdCompressSync(piece, { params: { [constants.ZSTD_c_compressionLevel]: level } });
  }
}

/**
 * Inflates the payload of a frame. Throws DBPROXY_COMPRESSED_PACKET when it is not what the header
 * announced; never takes more memory than that.
 */
export function inflateFrame(payload: Buffer, plainBytes: number, algorithm: CompressionAlgorithm): Buffer {
  const chunkSize = Math.min(INFLATE_CHUNK_BYTES, Math.max(LEAST_CHUNK_BYTES, plainBytes));
  const options: ZlibOptions & ZstdOptions = { maxOutputLength: plainBytes, chunkSize };
  let plain: Buffer;
  try {
    plain = algorithm === 'zlib' ? inflateSync(payload, options) : zstdDecompressSync(payload, options);
  } catch (error) {
    const tooLarge = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    const what = tooLarge ? `more than the ${plainBytes} bytes announced` : `not ${algorithm} data`;
    throw refusal('DBPROXY_COMPRESSED_PACKET', `a frame holds ${what}`);
  }
  if (plain.length === plainBytes) return plain;
  const text = `a frame holds ${plain.length} bytes and announced ${plainBytes}`;
  throw refusal('DBPROXY_COMPRESSED_PACKET', text);
}

/** Where the bytes of one direction stand between the headers of its packets. */
class PacketWalk {
  /** Bytes of the header under way that have been seen. */
  headBytes = 0;
  #length = 0;
  #bodyLeft = 0;

  /** The next byte begins a packet. */
  get atStart(): boolean {
    return this.headBytes === 0 && this.#bodyLeft === 0;
  }

  /**
   * Walks on from `offset` to the next packet number: answers its offset and has it counted as seen, or -1
   * when it is not in these bytes.
   */
  toNumber(bytes: Buffer, offset: number): number {
    let at = offset;
    const body = Math.min(this.#bodyLeft, bytes.length - at);
    this.#bodyLeft -= body;
    at += body;
    while (at < bytes.length) {
      if (this.headBytes === HEADER_BYTES - 1) {
        this.#bodyLeft = this.#length;
        this.headBytes = 0;
        this.#length = 0;
        return at;
      }
      this.#length |= bytes[at]! << (8 * this.headBytes);
      this.headBytes++;
      at++;
    }
    return -1;
  }
}

/**
 * The numbers that packets would have without compression: a command's first packet 0, then counted on over
 * both directions. What comes in is renumbered in place; what goes out has right numbers already.
 */
export class PacketNumbers {
  readonly #incoming = new PacketWalk();
  readonly #outgoing = new PacketWalk();
  /** Of the next packet in either direction. No command begins with 1, so that one is missed is seen. */
  #next = 1;
  #sentLast = false;

  /** What came last ends with a whole packet. */
  get incomingAtStart(): boolean {
    return this.#incoming.atStart;
  }

  /** The next packet that comes in begins a command. */
  beginIncomingCommand(): void {
    this.#next = 0;
  }

  /** Renumbers the packets that begin in these bytes. */
  renumber(bytes: Buffer): void {
    for (let at = this.#incoming.toNumber(bytes, 0); at !== -1; at = this.#incoming.toNumber(bytes, at + 1)) {
      bytes[at] = this.#next;
      this.#next = (this.#next + 1) & 0xff;
      this.#sentLast = false;
    }
  }

  /**
   * Looks at bytes that go out. Answers where in them commands begin; a negative offset when the header
   * began in the bytes before.
   */
  commandsIn(bytes: Buffer): number[] {
    const starts: number[] = [];
    for (let at = this.#outgoing.toNumber(bytes, 0); at !== -1; at = this.#outgoing.toNumber(bytes, at + 1)) {
      const number = bytes[at]!;
      // Number 0 behind our own 255 continues what we are sending: a file, for example.
      const continues = this.#sentLast && this.#next === 0;
      if (number === 0 && !continues) starts.push(at - (HEADER_BYTES - 1));
      this.#next = (number + 1) & 0xff;
      this.#sentLast = true;
    }
    return starts;
  }

  /** Bytes at the end of what goes out that are the beginning of a header. */
  get outgoingHeadBytes(): number {
    return this.#outgoing.headBytes;
  }
}
