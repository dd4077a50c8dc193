import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { PacketChain } from '../../../../src/failover/lost/dump.ts';

function packet(sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, payload]);
}

suite('packets of a binlog stream', () => {
  test('come whole, wherever the stream is cut', () => {
    const payloads = ['one', '', 'three', 'x'.repeat(300)].map((text) => Buffer.from(text));
    const bytes = Buffer.concat(payloads.map((payload, index) => packet(index, payload)));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const chain = new PacketChain();
      const found = [...chain.push(bytes.subarray(0, cut)), ...chain.push(bytes.subarray(cut))];
      assert.deepEqual(found, payloads);
    }
  });

  test('of full length are one with the next', () => {
    const most = Buffer.alloc(0xffffff, 'a');
    const cases = [
      [most, Buffer.from('bc')],
      [most, Buffer.alloc(0)],
      [most, most, Buffer.from('d')],
    ];
    for (const parts of cases) {
      const chain = new PacketChain();
      const bytes = Buffer.concat([...parts, Buffer.from('next')].map((part, index) => packet(index, part)));
      const found: Buffer[] = [];
      for (let start = 0; start < bytes.length; start += 100_000) {
        found.push(...chain.push(bytes.subarray(start, start + 100_000)));
      }
      assert.equal(found.length, 2);
      assert.ok(found[0]!.equals(Buffer.concat(parts)));
      assert.equal(found[1]!.toString(), 'next');
    }
  });

  test('that are larger than anything that is read are refused before they are there', () => {
    const chain = new PacketChain();
    const most = packet(0, Buffer.alloc(0xffffff));
    assert.throws(() => {
      for (let count = 0; count < 17; count++) [...chain.push(most)].forEach(() => undefined);
    }, /an event of more than 268435456 bytes/);
  });

  test('of a reader that reuses its memory stay as they came', () => {
    const chain = new PacketChain();
    const chunk = Buffer.concat([packet(0, Buffer.from('kept'))]);
    const [payload] = [...chain.push(chunk)];
    chunk.fill(0);
    assert.equal(payload!.toString(), 'kept');
  });
});
