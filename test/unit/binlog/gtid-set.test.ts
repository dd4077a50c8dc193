import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { dumpCommand } from '../../../src/binlog/dump-request.ts';
import { GtidSet } from '../../../src/binlog/gtid-set.ts';

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = '4e11fa47-71ca-11e1-9e33-c80aa9429562';

suite('a set of global ids', () => {
  const cases: [set: string, gtid: string, has: boolean][] = [
    ['', `${A}:1`, false],
    [`${A}:1-5:7`, `${A}:5`, true],
    [`${A}:1-5:7`, `${A}:6`, false],
    [`${A}:1-5:7`, `${A.toUpperCase()}:7`, true],
    [`${A}:1-5,${A}:6-9`, `${A}:6`, true],
    [`${A}:1-5`, `${B}:1`, false],
    [`${A}:1-5:tag:8-9`, `${A}:tag:8`, true],
    [`${A}:1-5:tag:8-9`, `${A}:8`, false],
    ['0-1-100', '0-1-100', true],
    ['0-1-100', '0-1-101', false],
    // Another server's number of the same domain says nothing of this one's.
    ['0-2-150,0-1-100', '0-1-101', false],
    ['0-1-90,0-1-100', '0-1-95', true],
    ['1-1-100', '0-1-5', false],
  ];
  for (const [set, gtid, has] of cases) {
    test(`'${set}' ${has ? 'has' : 'does not have'} ${gtid}`, () => {
      assert.equal(GtidSet.parse(set).has(gtid), has);
    });
  }

  test('that is none is refused', () => {
    for (const text of ['nonsense', `${A}`, `${A}:x y`, '0-1', `${A}:1-`]) {
      assert.throws(() => GtidSet.parse(text), /is no set of global ids/);
    }
  });

  test('is encoded as the server wants it, without what has a tag', () => {
    const bytes = GtidSet.parse(`${A}:1-5:7:tag:1`).encode();
    const numbers = [1n, null, 2n, 1n, 6n, 7n, 8n];
    const expected = numbers.map((value) => {
      if (value === null) return Buffer.from(A.replaceAll('-', ''), 'hex');
      const one = Buffer.alloc(8);
      one.writeBigUInt64LE(value);
      return one;
    });
    assert.deepEqual(bytes, Buffer.concat(expected));
    const command = dumpCommand({ kind: 'without', gtids: `${A}:1-5:7` });
    assert.equal(command[0], 0x1e);
    assert.deepEqual(command.subarray(23), Buffer.concat(expected));
    assert.equal(command.readUInt32LE(19), bytes.length);
  });
});
