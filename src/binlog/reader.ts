/**
 * A cursor over the bytes of one binlog event. Every read is checked against the end, so that a cut or a lying
 * length ends in `UnreadableEvent`, and never in somebody else's bytes. Binlogs are little-endian; what keeps
 * the order of its bytes (DECIMAL, the newer times, BIT) is read by the functions that end in BE.
 */

/** An event that does not say what it should, or something that is not read here; the message is for people. */
export class UnreadableEvent extends Error {}

export class EventReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#advance(2));
  }

  u24(): number {
    return this.#bytes.readUIntLE(this.#advance(3), 3);
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4));
  }

  u48(): number {
    return this.#bytes.readUIntLE(this.#advance(6), 6);
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#advance(8));
  }

  i64(): bigint {
    return this.#bytes.readBigInt64LE(this.#advance(8));
  }

  /** An unsigned number of 1 to 6 bytes. */
  uint(size: number): number {
    return this.#bytes.readUIntLE(this.#advance(size), size);
  }

  int(size: number): number {
    return this.#bytes.readIntLE(this.#advance(size), size);
  }

  uintBE(size: number): number {
    if (size > 6) throw new UnreadableEvent(`a number of ${size} bytes`);
    return size === 0 ? 0 : this.#bytes.readUIntBE(this.#advance(size), size);
  }

  float(): number {
    return this.#bytes.readFloatLE(this.#advance(4));
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#advance(8));
  }

  /** A view of the next bytes; it shares memory with the event. */
  bytes(count: number): Buffer {
    const start = this.#advance(count);
    return this.#bytes.subarray(start, start + count);
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  skip(count: number): void {
    this.#advance(count);
  }

  /** UTF-8 text of so many bytes. */
  text(count: number): string {
    return this.bytes(count).toString('utf8');
  }

  /** Bytes up to a NUL, which is passed. */
  nulText(): string {
    const end = this.#bytes.indexOf(0, this.#offset);
    if (end < 0) throw new UnreadableEvent('a name without its end');
    const text = this.text(end - this.#offset);
    this.skip(1);
    return text;
  }

  /** The length-encoded integer of the client protocol (page_protocol_basic_dt_integers). */
  lenenc(): number {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.u16();
    if (first === 0xfd) return this.u24();
    const value = first === 0xfe ? this.u64() : null;
    if (value === null || value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new UnreadableEvent(`0x${first.toString(16)} does not begin a length`);
    }
    return Number(value);
  }

  lenencBytes(): Buffer {
    return this.bytes(this.lenenc());
  }

  /** One bit a column, the first column in the lowest bit. */
  bitmap(count: number): boolean[] {
    const bytes = this.bytes((count + 7) >> 3);
    return Array.from({ length: count }, (_, index) => isBitSet(bytes, index));
  }

  #advance(count: number): number {
    if (count > this.remaining || count < 0) {
      throw new UnreadableEvent(`${count} bytes announced, ${this.remaining} left`);
    }
    const start = this.#offset;
    this.#offset += count;
    return start;
  }
}

function isBitSet(bytes: Buffer, index: number): boolean {
  return ((bytes[index >> 3]! >> (index & 7)) & 1) === 1;
}
