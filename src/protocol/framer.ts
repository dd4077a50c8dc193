/**
 * Cuts a stream of chunks into whole packets, for the places where whole packets are wanted: logins and
 * the admin port. The relay has no use for it: it walks headers and lets the bytes pass.
 * Memory is bounded: a packet whose header announces more than the limit is refused before its body.
 * Manual: page_protocol_basic_packets.
 */
import { refusal } from '../base/errors.ts';
import { HEADER_BYTES } from './constants.ts';

export class PacketFramer {
  readonly #maxPayloadBytes: number;
  #held: Buffer = Buffer.alloc(0);

  /** `maxPayloadBytes` must be below 16 MB - 1: chains are not assembled here. */
  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  /**
   * Adds a chunk and answers the next whole packet, if there is one. Call with no chunk for the ones after
   * it. The payload shares memory with the chunk, unless the packet came in pieces.
   * Throws DBPROXY_PACKET_TOO_LARGE.
   */
  next(chunk?: Buffer): { payload: Buffer; sequence: number } | undefined {
    if (chunk !== undefined)
      this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#held.length < HEADER_BYTES) return this.#keep();
    const length = this.#held.readUIntLE(0, 3);
    if (length > this.#maxPayloadBytes) throw refusal('DBPROXY_PACKET_TOO_LARGE', this.#maxPayloadBytes);
    if (this.#held.length < HEADER_BYTES + length) return this.#keep();
    const payload = this.#held.subarray(HEADER_BYTES, HEADER_BYTES + length);
    const sequence = this.#held[3]!;
    this.#held = this.#held.subarray(HEADER_BYTES + length);
    return { payload, sequence };
  }

  /** Takes the bytes that came after the last whole packet; the framer is empty then. */
  takeRest(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  /** The chunk's memory is the caller's and is used again: what is kept must be a copy. */
  #keep(): undefined {
    if (this.#held.length > 0) this.#held = Buffer.from(this.#held);
    return undefined;
  }
}
