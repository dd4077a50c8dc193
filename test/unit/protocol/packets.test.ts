import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { refusal } from '../../../src/base/errors.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import {
  parseError,
  parseOk,
  ServerError,
  toErrorPacket,
  writeCommand,
  writeError,
  writeOk,
  writeResultSet,
  type ResultColumn,
} from '../../../src/protocol/packets.ts';
import { ReplyTracker } from '../../../src/protocol/reply-tracker.ts';
import { payloadsOf } from '../../support/vectors.ts';

suite('ERR packets', () => {
  test('come back as they were written', () => {
    const error = { errno: 1045, sqlState: '28000', message: 'Zugriff für „app“ verweigert' };
    const bytes = writeError(258, error);
    assert.equal(bytes[3], 2);
    assert.deepEqual(parseError(bytes.subarray(4)), error);
  });

  test('have no SQLSTATE before the greeting', () => {
    const bytes = writeError(0, { errno: 1130, sqlState: 'HY000', message: 'no' }, false);
    assert.deepEqual(parseError(bytes.subarray(4)), { errno: 1130, sqlState: '', message: 'no' });
  });

  test('with no SQLSTATE of their own say a general one, never that of success', () => {
    const bytes = writeError(0, { errno: 1040, sqlState: '', message: 'Too many connections' });
    assert.equal(parseError(bytes.subarray(4)).sqlState, 'HY000');
  });

  test('with a very long message stay one small packet', () => {
    const bytes = writeError(0, { errno: 1, sqlState: 'HY000', message: 'x'.repeat(100_000) });
    assert.ok(bytes.length < 5000);
  });

  test('say of a refusal, of a server error and of a defect what each has to say', () => {
    const ours = toErrorPacket(refusal('DBPROXY_UNKNOWN_COMMAND'));
    assert.deepEqual(ours, { errno: 1047, sqlState: '08S01', message: 'Unknown command' });
    const theirs = { errno: 1146, sqlState: '42S02', message: 'no table' };
    assert.equal(toErrorPacket(new ServerError(theirs)), theirs);
    assert.equal(toErrorPacket(new Error('oops')).errno, 1105);
    assert.match(toErrorPacket('oops').message, /oops/);
  });
});

suite('OK packets', () => {
  test('come back as they were written', () => {
    const bytes = writeOk(3, { affectedRows: 70_000, insertId: 2 ** 40, status: 0x4002, warnings: 7 });
    assert.equal(bytes[3], 3);
    assert.deepEqual(parseOk(bytes.subarray(4)), { status: 0x4002, warnings: 7 });
  });
});

suite('result sets', () => {
  const columns: ResultColumn[] = [
    { name: 'name', type: 'text' },
    { name: 'count', type: 'integer' },
    { name: 'share', type: 'real' },
  ];

  for (const capabilities of [0, Capability.DEPRECATE_EOF]) {
    test(`end where a client with capabilities ${capabilities} sees the end`, () => {
      for (const rows of [
        [],
        [['a', 1, 1.5]],
        [
          [null, 2n, true],
          ['\xfe', -1, false],
        ],
      ]) {
        const bytes = writeResultSet(columns, rows, capabilities);
        const tracker = new ReplyTracker(capabilities);
        tracker.begin(Command.QUERY);
        assert.equal(tracker.feed(bytes, 0, bytes.length), bytes.length);
      }
    });
  }

  test('have cells as text, NULL as its mark, and sequence numbers that go round', () => {
    const rows = Array.from({ length: 300 }, (_, index) => [index, null, true]);
    const bytes = writeResultSet(columns, rows, Capability.DEPRECATE_EOF);
    const payloads = payloadsOf(bytes);
    assert.equal(payloads.length, 1 + 3 + 300 + 1);
    assert.equal(payloads[4]!.toString('hex'), '0130' + 'fb' + '0131');
    let offset = 0;
    for (const [index, { length }] of payloads.entries()) {
      assert.equal(bytes[offset + 3], (index + 1) & 0xff);
      offset += 4 + length;
    }
  });
});

test('a command is one packet with number 0, and one of 16 MB is a defect', () => {
  assert.equal(
    writeCommand(Command.QUERY, 'do 1').toString('hex'),
    '0500000003' + Buffer.from('do 1').toString('hex'),
  );
  assert.throws(() => writeCommand(Command.QUERY, Buffer.alloc(0xfffffe)), RangeError);
});
