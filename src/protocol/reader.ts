/**
 * A cursor over one packet's payload. Every read is checked against the end of the payload, so a lying
 * length inside a packet ends in an error and never in somebody else's bytes.
 * Manual: page_protocol_basic_data_types.
 */
import { refusal } from '../base/errors.ts';

export class PacketReader {
  readonly #payload: Buffer;
  #offset: number;

  constructor(payload: Buffer, offset = 0) {
    this.#payload = payload;
    this.#offset = offset;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#payload.length - this.#offset;
  }

  get offset(): number {
    return this.#offset;
  }

  u8(): number {
    return this.#payload.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#payload.readUInt16LE(this.#advance(2));
  }

  u24(): number {
    return this.#payload.readUIntLE(this.#advance(3), 3);
  }

  u32(): number {
    return this.#payload.readUInt32LE(this.#advance(4));
  }

  skip(count: number): void {
    this.#advance(count);
  }

  /** A view of the next `count` bytes; it shares memory with the payload. */
  bytes(count: number): Buffer {
    const start = this.#advance(count);
    return this.#payload.subarray(start, start + count);
  }

  /** The rest of the payload. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** Length-encoded integer; one above 2^53 is refused, no length or count is that large. */
  lenenc(): number {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.u16();
    if (first === 0xfd) return this.u24();
    if (first !== 0xfe)
      throw refusal('DBPROXY_MALFORMED_PACKET', `0x${first.toString(16)} does not begin a length`);
    const low = this.u32();
    const high = this.u32();
    if (high > 0x1fffff) throw refusal('DBPROXY_MALFORMED_PACKET', 'a length above 2^53');
    return high * 0x100000000 + low;
  }

  lenencBytes(): Buffer {
    return this.bytes(this.lenenc());
  }

  /** Passes over length-encoded bytes. */
  skipLenencBytes(): void {
    this.skip(this.lenenc());
  }

  /** True when a NUL follows somewhere in the payload. */
  hasNul(): boolean {
    return this.#payload.indexOf(0, this.#offset) >= 0;
  }

  /** Bytes up to a NUL, which is consumed; without a NUL the packet is malformed. */
  nulBytes(): Buffer {
    const end = this.#payload.indexOf(0, this.#offset);
    if (end < 0) throw refusal('DBPROXY_MALFORMED_PACKET', 'a string without its end');
    const bytes = this.bytes(end - this.#offset);
    this.skip(1);
    return bytes;
  }

  #advance(count: number): number {
    if (count > this.remaining) {
      throw refusal('DBPROXY_MALFORMED_PACKET', `${count} bytes announced, ${this.remaining} left`);
    }
    const start = this.#offset;
    this.#offset += count;
    return start;
  }
}
