import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketFramer } from '../../../src/protocol/framer.ts';

const stream = Buffer.concat([
  Buffer.from([3, 0, 0, 0]),
  Buffer.from('abc'),
  Buffer.from([0, 0, 0, 1]),
  Buffer.from([2, 0, 0, 2]),
  Buffer.from('de'),
]);
const expected = [
  { payload: 'abc', sequence: 0 },
  { payload: '', sequence: 1 },
  { payload: 'de', sequence: 2 },
];

/** Feeds chunks from one memory that is overwritten after each, as a socket's input buffer is. */
function packetsOf(framer: PacketFramer, chunks: readonly Buffer[]): { payload: string; sequence: number }[] {
  const packets: { payload: string; sequence: number }[] = [];
  const input = Buffer.alloc(64);
  for (const chunk of chunks) {
    input.fill(0xee);
    chunk.copy(input);
    let packet = framer.next(input.subarray(0, chunk.length));
    while (packet !== undefined) {
      packets.push({ payload: packet.payload.toString(), sequence: packet.sequence });
      packet = framer.next();
    }
  }
  return packets;
}

test('packets come out whole wherever the stream is cut', () => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      assert.deepEqual(packetsOf(new PacketFramer(100), chunks), expected, `cut at ${first} and ${second}`);
    }
  }
});

test('packets come out whole byte by byte', () => {
  const bytes = [...stream].map((byte) => Buffer.from([byte]));
  assert.deepEqual(packetsOf(new PacketFramer(100), bytes), expected);
});

test('a packet of the limit passes, one byte more is refused at its header', () => {
  const framer = new PacketFramer(10);
  assert.equal(
    framer.next(Buffer.concat([Buffer.from([10, 0, 0, 0]), Buffer.alloc(10)]))!.payload.length,
    10,
  );
  assert.throws(() => framer.next(Buffer.from([11, 0, 0, 0])), { code: 'DBPROXY_PACKET_TOO_LARGE' });
});

test('a header that announces 16 MB is refused before its body', () => {
  assert.throws(() => new PacketFramer(65536).next(Buffer.from([0xff, 0xff, 0xff, 0])), {
    code: 'DBPROXY_PACKET_TOO_LARGE',
  });
});

test('the rest after the last packet can be taken, once', () => {
  const framer = new PacketFramer(100);
  framer.next(stream);
  framer.next();
  assert.deepEqual(framer.takeRest(), stream.subarray(11));
  assert.equal(framer.takeRest().length, 0);
});
