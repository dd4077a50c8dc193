/**
 * Builds packets into one growing buffer: several packets of one answer leave in one write.
 * Manual: page_protocol_basic_data_types, page_protocol_basic_packets.
 */
import { HEADER_BYTES, MAX_PACKET_PAYLOAD } from './constants.ts';

export class PacketWriter {
  #buffer: Buffer;
  #length = 0;
  #packetStart = 0;

  constructor(initialBytes = 256) {
    this.#buffer = Buffer.allocUnsafe(initialBytes);
  }

  /** Begins a packet; its header is filled in by `end`. */
  begin(): this {
    this.#packetStart = this.#length;
    this.#reserve(HEADER_BYTES);
    this.#length += HEADER_BYTES;
    return this;
  }

  /** Ends the packet begun last. Our own packets stay below 16 MB; a larger one is a defect and throws. */
  end(sequence: number): this {
    const payloadLength = this.#length - this.#packetStart - HEADER_BYTES;
    if (payloadLength >= MAX_PACKET_PAYLOAD) throw new RangeError(`packet of ${payloadLength} bytes`);
    this.#buffer.writeUIntLE(payloadLength, this.#packetStart, 3);
    this.#buffer[this.#packetStart + 3] = sequence & 0xff;
    return this;
  }

  u8(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16LE(value, this.#length);
    return this;
  }

  u32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32LE(value >>> 0, this.#length);
    return this;
  }

  zeros(count: number): this {
    this.#reserve(count);
    this.#buffer.fill(0, this.#length, this.#length + count);
    this.#length += count;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'));
  }

  nulText(value: string): this {
    return this.text(value).u8(0);
  }

  lenenc(value: number): this {
    if (value < 0xfb) return this.u8(value);
    if (value < 0x10000) return this.u8(0xfc).u16(value);
    if (value < 0x1000000)
      return this.u8(0xfd)
        .u16(value & 0xffff)
        .u8(value >>> 16);
    return this.u8(0xfe)
      .u32(value % 0x100000000)
      .u32(Math.floor(value / 0x100000000));
  }

  lenencBytes(value: Uint8Array): this {
    return this.lenenc(value.length).bytes(value);
  }

  lenencText(value: string): this {
    return this.lenencBytes(Buffer.from(value, 'utf8'));
  }

  /** All packets written, as a view; the writer must not be used after it. */
  take(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}
