/** JSON that no server writes must end soon; what servers write is read in the vectors and on real servers. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readJson } from '../../../src/binlog/json.ts';
import { UnreadableEvent } from '../../../src/binlog/reader.ts';

const SMALL_ARRAY = 2;

/** An array of two items that both are what lies behind them, and so on. */
function doubling(levels: number): Buffer {
  const HEAD_BYTES = 4 + 2 * 3;
  let inner: Buffer = Buffer.from([0, 0, 4, 0]);
  for (let level = 0; level < levels; level++) {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt16LE(2, 0);
    head.writeUInt16LE(HEAD_BYTES + inner.length, 2);
    for (const place of [4, 7]) {
      head.writeUInt8(SMALL_ARRAY, place);
      head.writeUInt16LE(HEAD_BYTES, place + 1);
    }
    inner = Buffer.concat([head, inner]);
  }
  return Buffer.concat([Buffer.from([SMALL_ARRAY]), inner]);
}

suite('binary JSON', () => {
  test('that names one value many times is refused, and soon', () => {
    assert.equal(readJson(doubling(1)).text, '[[], []]');
    assert.throws(() => readJson(doubling(90)), UnreadableEvent);
  });

  test('that holds itself is refused', () => {
    const itself = doubling(1);
    itself.writeUInt16LE(0, 1 + 5);
    assert.throws(() => readJson(itself), UnreadableEvent);
  });

  test('of nothing is null', () => {
    assert.deepEqual(readJson(Buffer.alloc(0)), { text: 'null', sql: "CAST(_utf8mb4'null' AS JSON)" });
  });
});
