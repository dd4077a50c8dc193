import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketReader } from '../../../src/protocol/reader.ts';
import { PacketWriter } from '../../../src/protocol/writer.ts';

const MALFORMED = { code: 'DBPROXY_MALFORMED_PACKET' };

/** The payload of one packet written by `write`. */
function written(write: (writer: PacketWriter) => void): Buffer {
  const writer = new PacketWriter(1).begin();
  write(writer);
  return writer.end(7).take().subarray(4);
}

test('length-encoded integers come back at every border of their forms', () => {
  for (const value of [
    0,
    1,
    250,
    251,
    252,
    0xffff,
    0x10000,
    0xffffff,
    0x1000000,
    0xffffffff,
    2 ** 32,
    2 ** 53 - 1,
  ]) {
    const payload = written((writer) => writer.lenenc(value));
    const reader = new PacketReader(payload);
    assert.equal(reader.lenenc(), value);
    assert.equal(reader.remaining, 0);
  }
});

test('length-encoded integers have the bytes of the manual', () => {
  assert.deepEqual([...written((writer) => writer.lenenc(250))], [250]);
  assert.deepEqual([...written((writer) => writer.lenenc(251))], [0xfc, 251, 0]);
  assert.deepEqual([...written((writer) => writer.lenenc(0x10000))], [0xfd, 0, 0, 1]);
  assert.deepEqual([...written((writer) => writer.lenenc(0x1000000))], [0xfe, 0, 0, 0, 1, 0, 0, 0, 0]);
});

test('every kind of field comes back as it was written', () => {
  const payload = written((writer) =>
    writer
      .u8(255)
      .u16(65535)
      .u32(0xfffffffe)
      .nulText('ünï')
      .lenencText('x'.repeat(300))
      .zeros(3)
      .bytes(Buffer.from('end')),
  );
  const reader = new PacketReader(payload);
  assert.equal(reader.u8(), 255);
  assert.equal(reader.u16(), 65535);
  assert.equal(reader.u32(), 0xfffffffe);
  assert.equal(reader.nulBytes().toString(), 'ünï');
  assert.equal(reader.lenencBytes().toString(), 'x'.repeat(300));
  assert.equal(reader.u24(), 0);
  assert.equal(reader.rest().toString(), 'end');
});

test('a read past the end of the payload is refused', () => {
  const two = Buffer.from([1, 2]);
  assert.throws(() => new PacketReader(two).u24(), MALFORMED);
  assert.throws(() => new PacketReader(two).u32(), MALFORMED);
  assert.throws(() => new PacketReader(two).skip(3), MALFORMED);
  assert.throws(() => new PacketReader(two).bytes(3), MALFORMED);
  assert.throws(() => new PacketReader(two, 2).u8(), MALFORMED);
});

test('a length that lies is refused', () => {
  assert.throws(() => new PacketReader(Buffer.from([5, 1, 2])).lenencBytes(), MALFORMED);
  assert.throws(() => new PacketReader(Buffer.from([0xfd, 255, 255, 255, 1])).lenencBytes(), MALFORMED);
  assert.throws(() => new PacketReader(Buffer.alloc(9, 0xfe)).lenencBytes(), MALFORMED);
  assert.throws(() => new PacketReader(Buffer.alloc(9, 0xff)).lenenc(), MALFORMED);
  assert.throws(() => new PacketReader(Buffer.from([0xfb])).lenenc(), MALFORMED);
  assert.throws(() => new PacketReader(Buffer.from('no end')).nulBytes(), MALFORMED);
});

test('a failed read does not move the cursor', () => {
  const reader = new PacketReader(Buffer.from([1, 2]));
  assert.throws(() => reader.u32(), MALFORMED);
  assert.equal(reader.u16(), 0x0201);
});

test('packets of one writer follow each other with their own headers', () => {
  const bytes = new PacketWriter(1)
    .begin()
    .text('ab')
    .end(1)
    .begin()
    .end(258)
    .begin()
    .text('c')
    .end(3)
    .take();
  assert.equal(bytes.toString('hex'), '02000001' + '6162' + '00000002' + '01000003' + '63');
});

test('a packet of 16 MB is a defect of ours, one byte less is not', () => {
  assert.throws(() => new PacketWriter().begin().zeros(0xffffff).end(0), RangeError);
  assert.equal(new PacketWriter().begin().zeros(0xfffffe).end(0).take().length, 0xfffffe + 4);
});
