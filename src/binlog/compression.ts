/**
 * What servers compress in their binlogs: MySQL whole transactions (binlog_transaction_compression), MariaDB
 * single events (log_bin_compress) and columns (COMPRESSED). Each says how long it was, and must be so long again.
 */
import { inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { EventReader, UnreadableEvent } from './reader.ts';

/** A transaction that is larger when unpacked is not read. */
const MOST_UNPACKED_BYTES = 256 * 1024 * 1024;

/** Fields of a TRANSACTION_PAYLOAD_EVENT, and its kinds of compression. */
const Field = { END: 0, PAYLOAD_BYTES: 1, COMPRESSION: 2, UNPACKED_BYTES: 3 } as const;
const Compression = { ZSTD: 0, NONE: 255 } as const;

/**
 * TRANSACTION_PAYLOAD_EVENT: fields of type, length and value, all length-encoded, up to type 0; then the events.
 * Manual: mysql::binlog::event::Transaction_payload_event.
 */
export function unpackTransaction(body: Buffer): Buffer {
  const reader = new EventReader(body);
  let compression: number = Compression.ZSTD;
  let unpackedBytes = 0;
  let payloadBytes = -1;
  for (let type = reader.lenenc(); type !== Field.END; type = reader.lenenc()) {
    const value = new EventReader(reader.lenencBytes());
    if (type === Field.COMPRESSION) compression = value.lenenc();
    else if (type === Field.UNPACKED_BYTES) unpackedBytes = value.lenenc();
    else if (type === Field.PAYLOAD_BYTES) payloadBytes = value.lenenc();
  }
  const payload = reader.rest();
  if (payloadBytes !== payload.length) {
    throw new UnreadableEvent(`a payload of ${payload.length} bytes, ${payloadBytes} announced`);
  }
  switch (compression) {
    case Compression.NONE:
      return payload;
    case Compression.ZSTD:
      return unpacked(unpackedBytes, (options) => zstdDecompressSync(payload, options));
    default:
      throw new UnreadableEvent(
        `a transaction compressed in the way ${compression}, which is not known here`,
      );
  }
}

/**
 * MariaDB's compressed part of an event: one byte (0x80, algorithm in bits 4 to 6 of which only 0, zlib, is there,
 * bytes of the length in bits 0 to 2), the length, high byte first, then zlib's stream.
 * Source: sql/log_event.cc, binlog_buf_compress; mariadb.com/kb/en/query_compressed_event.
 */
export function unpackPart(part: Buffer): Buffer {
  const reader = new EventReader(part);
  const head = reader.u8();
  if ((head & 0xf0) !== 0x80)
    throw new UnreadableEvent(`compression 0x${head.toString(16)} is not known here`);
  const length = reader.uintBE(head & 0x07);
  return unpacked(length, (options) => inflateSync(reader.rest(), options));
}

/**
 * MariaDB's COMPRESSED columns: 0 and the value as it is; or 0x80, plus 8 for a stream without zlib's own header,
 * plus the bytes of the length; the length, low byte first; the stream. Source: sql/field.cc, compress_zlib.
 */
export function unpackColumn(stored: Buffer): Buffer {
  if (stored.length === 0) return stored;
  const reader = new EventReader(stored);
  const head = reader.u8();
  if (head === 0) return reader.rest();
  if ((head & 0xf0) !== 0x80) throw new UnreadableEvent(`a column compressed in the way ${head >> 4}`);
  const length = reader.uintBE(head & 0x07);
  const inflate = (head & 0x08) === 0 ? inflateSync : inflateRawSync;
  return unpacked(length, (options) => inflate(reader.rest(), options));
}

function unpacked(length: number, unpack: (options: { maxOutputLength: number }) => Buffer): Buffer {
  if (length > MOST_UNPACKED_BYTES) {
    throw new UnreadableEvent(
      `${length} bytes unpacked are more than the ${MOST_UNPACKED_BYTES} that are read`,
    );
  }
  let bytes: Buffer;
  try {
    bytes = unpack({ maxOutputLength: Math.max(1, length) });
  } catch (error) {
    if (error instanceof UnreadableEvent) throw error;
    throw new UnreadableEvent(`what is compressed cannot be unpacked: ${String(error)}`);
  }
  if (bytes.length !== length)
    throw new UnreadableEvent(`${bytes.length} bytes unpacked, ${length} announced`);
  return bytes;
}
