import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ColumnsHash } from '../../../src/backend/columns-hash.ts';
import { writePayload } from '../../../src/protocol/packets.ts';

/** An answer to COM_STMT_PREPARE with this number and one column. */
function answer(id: number, warnings: number, column: string): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(id, 1);
  head.writeUInt16LE(1, 5);
  head.writeUInt16LE(warnings, 10);
  return Buffer.concat([writePayload(1, head), writePayload(2, Buffer.from(column))]);
}

function hashOf(bytes: Buffer, cut = bytes.length): string {
  const hash = new ColumnsHash();
  hash.add(bytes.subarray(0, cut));
  hash.add(bytes.subarray(cut));
  return hash.digest();
}

it('is the same for the same columns, whatever number the statement has', () => {
  assert.equal(hashOf(answer(1, 0, 'a int')), hashOf(answer(77, 2, 'a int')));
});

it('is another for other columns', () => {
  assert.notEqual(hashOf(answer(1, 0, 'a int')), hashOf(answer(1, 0, 'a text')));
});

it('is the same wherever the answer is cut', () => {
  const bytes = answer(1, 0, 'a int');
  for (let cut = 0; cut <= bytes.length; cut++) assert.equal(hashOf(bytes, cut), hashOf(bytes));
});
