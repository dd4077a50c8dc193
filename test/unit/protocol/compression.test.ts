import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { deflateSync, zstdCompressSync } from 'node:zlib';
import { isRefusal } from '../../../src/base/errors.ts';
import {
  compressionOf,
  FRAME_HEADER_BYTES,
  inflateFrame,
  PacketNumbers,
  readFrameHeader,
  writeFrame,
} from '../../../src/protocol/compression.ts';
import { Capability } from '../../../src/protocol/constants.ts';

const ALGORITHMS = ['zlib', 'zstd'] as const;
const LEVEL = 3;

/** Packets of these lengths with these numbers. */
function packets(...list: [bytes: number, number: number][]): Buffer {
  return Buffer.concat(
    list.map(([bytes, number]) => {
      const packet = Buffer.alloc(4 + bytes, 'x');
      packet.writeUIntLE(bytes, 0, 3);
      packet[3] = number;
      return packet;
    }),
  );
}

test('the flags name the algorithm, zlib before zstd', () => {
  assert.equal(compressionOf(0), null);
  assert.equal(compressionOf(Capability.COMPRESS), 'zlib');
  assert.equal(compressionOf(Capability.ZSTD_COMPRESSION), 'zstd');
  assert.equal(compressionOf(Capability.ZSTD_COMPRESSION | Capability.COMPRESS), 'zlib');
});

test("the manual's example of a frame that is not compressed", () => {
  // page_protocol_basic_compression_packet: a short query in clear.
  const query = Buffer.from('\x09\0\0\0\x03SELECT 1', 'latin1');
  const frame = writeFrame(query, 0, 'zlib', LEVEL);
  assert.equal(frame.toString('hex'), `0d000000000000${query.toString('hex')}`);
});

for (const algorithm of ALGORITHMS) {
  describe(algorithm, () => {
    test('what is worth it is compressed, and comes back', () => {
      for (const length of [50, 51, 4096, 65_536]) {
        const piece = Buffer.alloc(length, 'abcdefgh');
        const frame = writeFrame(piece, 7, algorithm, LEVEL);
        const header = readFrameHeader(frame);
        assert.deepEqual(header, {
          payloadBytes: frame.length - FRAME_HEADER_BYTES,
          number: 7,
          plainBytes: length,
        });
        assert.ok(header.payloadBytes < length);
        assert.deepEqual(inflateFrame(frame.subarray(FRAME_HEADER_BYTES), length, algorithm), piece);
      }
    });

    test('what is short or would grow stays as it is', () => {
      for (const piece of [Buffer.alloc(49, 'a'), randomBytes(1000)]) {
        const frame = writeFrame(piece, 1, algorithm, LEVEL);
        assert.equal(readFrameHeader(frame).plainBytes, 0);
        assert.deepEqual(frame.subarray(FRAME_HEADER_BYTES), piece);
      }
    });

    const piece = Buffer.alloc(10_000, 'abc');
    const packed = writeFrame(piece, 0, algorithm, LEVEL).subarray(FRAME_HEADER_BYTES);
    const wrong: [what: string, payload: Buffer, announced: number, why: RegExp][] = [
      ['more than it announced', packed, 9999, /more than the 9999 bytes announced/],
      ['less than it announced', packed, 10_001, /holds 10000 bytes and announced 10001/],
      ['its end missing', packed.subarray(0, -2), 10_000, /not \w+ data|holds \d+ bytes/],
      ['no such data', Buffer.from('garbage, garbage, garbage'), 100, /not \w+ data/],
    ];
    for (const [what, payload, announced, why] of wrong) {
      test(`a frame with ${what} is refused`, () => {
        assert.throws(
          () => inflateFrame(payload, announced, algorithm),
          (error) =>
            isRefusal(error) && error.code === 'DBPROXY_COMPRESSED_PACKET' && why.test(error.message),
        );
      });
    }

    test('a bomb takes no more memory than it announced', () => {
      const zeros = Buffer.alloc(64 * 1024 * 1024);
      const bomb = algorithm === 'zlib' ? deflateSync(zeros) : zstdCompressSync(zeros);
      const before = process.memoryUsage().arrayBuffers;
      assert.throws(() => inflateFrame(bomb, 1000, algorithm), /more than the 1000 bytes/);
      assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024);
    });
  });
}

describe('packet numbers', () => {
  test('a server: the command is 0, what is sent counts on, and so does the file of the client', () => {
    const numbers = new PacketNumbers();
    numbers.beginIncomingCommand();
    const command = packets([10, 0]);
    numbers.renumber(command);
    assert.deepEqual(command, packets([10, 0]));
    numbers.commandsIn(packets([5, 1]));
    // The client has taken the number of its frame, and counted wrong.
    const file = packets([100, 7], [100, 7], [0, 9]);
    numbers.renumber(file);
    assert.deepEqual(file, packets([100, 2], [100, 3], [0, 4]));
  });

  test('a client: answers count on from the command', () => {
    const numbers = new PacketNumbers();
    assert.deepEqual(numbers.commandsIn(packets([10, 0])), [0]);
    const answer = packets([1, 1], [20, 9], [20, 9], [5, 0]);
    numbers.renumber(answer);
    assert.deepEqual(answer, packets([1, 1], [20, 2], [20, 3], [5, 4]));
    assert.deepEqual(numbers.commandsIn(packets([3, 0])), [0]);
  });

  test('they are right wherever the bytes are cut', () => {
    const wrong = packets([1, 9], [300, 9], [0, 9], [2, 9]);
    const right = packets([1, 1], [300, 2], [0, 3], [2, 4]);
    for (let cut = 0; cut <= wrong.length; cut++) {
      const numbers = new PacketNumbers();
      numbers.commandsIn(packets([10, 0]));
      const bytes = Buffer.from(wrong);
      numbers.renumber(bytes.subarray(0, cut));
      assert.equal(numbers.incomingAtStart, [0, 5, 309, 313, 319].includes(cut), `cut at ${cut}`);
      numbers.renumber(bytes.subarray(cut));
      assert.deepEqual(bytes, right, `cut at ${cut}`);
    }
  });

  test('they wrap at 256 in an answer', () => {
    const numbers = new PacketNumbers();
    numbers.commandsIn(packets([10, 0]));
    const answer = packets(...Array.from({ length: 300 }, (): [number, number] => [1, 0]));
    numbers.renumber(answer);
    assert.equal(answer[5 * 254 + 3], 255);
    assert.equal(answer[5 * 255 + 3], 0);
    assert.equal(answer[5 * 256 + 3], 1);
  });

  test('several commands in one write are found, also with their headers cut', () => {
    const bytes = packets([10, 0], [3, 0], [7, 0]);
    assert.deepEqual(new PacketNumbers().commandsIn(bytes), [0, 14, 21]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const numbers = new PacketNumbers();
      const first = numbers.commandsIn(bytes.subarray(0, cut));
      const second = numbers.commandsIn(bytes.subarray(cut)).map((start) => start + cut);
      assert.deepEqual([...first, ...second], [0, 14, 21], `cut at ${cut}`);
    }
  });

  test('a file of more than 256 packets does not begin a command where its numbers wrap', () => {
    const numbers = new PacketNumbers();
    numbers.commandsIn(packets([10, 0]));
    numbers.renumber(packets([3, 1]));
    const file = packets(
      ...Array.from({ length: 600 }, (_, index): [number, number] => [1, (index + 2) & 0xff]),
    );
    assert.deepEqual(numbers.commandsIn(file), []);
  });
});
