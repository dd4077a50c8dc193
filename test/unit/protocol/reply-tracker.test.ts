import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Capability, Command, Status } from '../../../src/protocol/constants.ts';
import { parseOk, writePayload } from '../../../src/protocol/packets.ts';
import { hasNoReply, NOT_ENDED, ReplyTracker } from '../../../src/protocol/reply-tracker.ts';
import { newerReplyVectors, payloadsOf, replyVectors, type ReplyVector } from '../../support/vectors.ts';

const LARGEST = 0xffffff;

function trackerFor(deprecateEof: boolean): ReplyTracker {
  return new ReplyTracker(deprecateEof ? Capability.DEPRECATE_EOF : 0);
}

/** Status and errno as the last packet of an answer shows them to whoever reads it whole. */
function expectedEnd(reply: Buffer): { errno: number; status: number | undefined } {
  const last = payloadsOf(reply).at(-1)!;
  if (last[0] === 0xff) return { errno: last.readUInt16LE(1), status: undefined };
  if (last[0] === 0xfe && last.length === 5) return { errno: 0, status: last.readUInt16LE(3) };
  const isOk = (last[0] === 0x00 || last[0] === 0xfe) && last.length >= 7;
  return { errno: 0, status: isOk ? parseOk(last).status : undefined };
}

/** Feeds the pieces; fails when the end is seen anywhere but at the last byte of the last piece. */
function feedAll(tracker: ReplyTracker, pieces: readonly Buffer[], what: string): void {
  for (const [index, piece] of pieces.entries()) {
    const isLast = index === pieces.length - 1;
    const ended = tracker.feed(piece, 0, piece.length);
    assert.equal(ended, isLast ? piece.length : NOT_ENDED, `${what}, piece ${index + 1} of ${pieces.length}`);
    assert.equal(tracker.idle, isLast, what);
  }
}

function checkEnd(tracker: ReplyTracker, { command, name }: ReplyVector, reply: Buffer): void {
  const { errno, status } = expectedEnd(reply);
  assert.equal(tracker.errno, errno, name);
  const saysStatus = command !== Command.STMT_PREPARE && command !== Command.STATISTICS;
  if (status !== undefined && saysStatus) assert.equal(tracker.status, status, name);
}

suite('answers of a real server', () => {
  for (const vector of replyVectors) {
    const { deprecateEof, command, reply, afterFile } = vector;
    const title = `${vector.name} (${deprecateEof ? 'without' : 'with'} EOF packets)`;

    if (afterFile !== undefined) {
      test(`${title}: asks for the file, ends after it, cut anywhere`, () => {
        for (let cut = 1; cut < reply.length; cut++) {
          const tracker = trackerFor(deprecateEof);
          tracker.begin(command);
          tracker.feed(reply, 0, cut);
          assert.equal(tracker.feed(reply, cut, reply.length), NOT_ENDED);
          assert.equal(tracker.wantsFile, true);
          assert.equal(tracker.idle, false);
          tracker.wantsFile = false;
          feedAll(tracker, [afterFile], title);
        }
      });
      continue;
    }

    test(`${title}: the end is its last byte, cut anywhere`, () => {
      for (let cut = 1; cut < reply.length; cut++) {
        const tracker = trackerFor(deprecateEof);
        tracker.begin(command);
        feedAll(tracker, [reply.subarray(0, cut), reply.subarray(cut)], `${title} cut at ${cut}`);
        checkEnd(tracker, vector, reply);
      }
    });

    test(`${title}: byte by byte, and again on the same tracker`, () => {
      const tracker = trackerFor(deprecateEof);
      const bytes = [...reply].map((byte) => Buffer.from([byte]));
      for (let round = 0; round < 2; round++) {
        tracker.begin(command);
        assert.equal(tracker.started, false);
        feedAll(tracker, bytes, title);
        assert.equal(tracker.started, true);
        checkEnd(tracker, vector, reply);
      }
    });

    test(`${title}: what follows it is not taken`, () => {
      const tracker = trackerFor(deprecateEof);
      tracker.begin(command);
      const followed = Buffer.concat([Buffer.alloc(3, 0xee), reply, Buffer.from([9, 9, 9, 9, 9])]);
      assert.equal(tracker.feed(followed, 3, followed.length), 3 + reply.length);
    });
  }

  test('the vectors hold what they are for', () => {
    const of = (name: string): ReplyVector[] => replyVectors.filter((vector) => vector.name === name);
    for (const name of ['rows', 'several results', 'execute with a cursor', 'fetch the rest', 'field list']) {
      assert.equal(of(name).length, 2, name);
    }
    for (const { reply } of of('err in the middle of rows')) {
      const payloads = payloadsOf(reply);
      assert.equal(payloads.at(-1)![0], 0xff);
      assert.ok(payloads.length > 3, 'columns before the error');
    }
    for (const { reply } of of('execute with a cursor')) {
      assert.notEqual(expectedEnd(reply).status! & Status.CURSOR_EXISTS, 0);
    }
    for (const { reply } of of('fetch the rest')) {
      assert.notEqual(expectedEnd(reply).status! & Status.LAST_ROW_SENT, 0);
    }
  });
});

// Packets that no recording should hold: made here.

function packet(sequence: number, payload: Buffer | number[]): Buffer {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(4);
  header.writeUIntLE(body.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, body]);
}

const EOF = [0xfe, 0, 0, 0x02, 0];
const OK_AT_END = [0xfe, 0, 0, 0x02, 0, 0, 0];
const ONE_COLUMN = [packet(1, [1]), packet(2, Buffer.from('\x03def'))];

/** The beginning of a result of one column, up to its rows. */
function beginRows(deprecateEof: boolean): Buffer {
  return Buffer.concat([...ONE_COLUMN, ...(deprecateEof ? [] : [packet(3, EOF)])]);
}

function end(deprecateEof: boolean): Buffer {
  return packet(9, deprecateEof ? OK_AT_END : EOF);
}

suite('packets of 16 MB', () => {
  for (const deprecateEof of [true, false]) {
    const form = deprecateEof ? 'without EOF packets' : 'with EOF packets';

    test(`a row of exactly 16 MB - 1 is followed by the rest of its chain (${form})`, () => {
      const tracker = trackerFor(deprecateEof);
      tracker.begin(Command.QUERY);
      const row = packet(4, Buffer.alloc(LARGEST, 1));
      // The rest of the chain begins like an ERR packet and like an end: it is neither.
      for (const rest of [[], [0xff, 1, 2], [0xfe, 0, 0, 2, 0], [0xfe, 0, 0, 2, 0, 0, 0]]) {
        tracker.begin(Command.QUERY);
        feedAll(tracker, [beginRows(deprecateEof), row, packet(5, rest), end(deprecateEof)], form);
        assert.equal(tracker.errno, 0);
      }
    });

    test(`a chain of three packets is one row (${form})`, () => {
      const tracker = trackerFor(deprecateEof);
      tracker.begin(Command.QUERY);
      const full = packet(4, Buffer.alloc(LARGEST, 0xff).fill(1, 0, 1));
      feedAll(
        tracker,
        [
          beginRows(deprecateEof),
          full,
          packet(5, Buffer.alloc(LARGEST, 0xff)),
          packet(6, [0xff]),
          end(deprecateEof),
        ],
        form,
      );
    });

    test(`a row whose first cell is 16 MB begins with 0xfe and does not end the rows (${form})`, () => {
      const tracker = trackerFor(deprecateEof);
      tracker.begin(Command.QUERY);
      const head = Buffer.from([0xfe, 0, 0, 0, 1, 0, 0, 0, 0]);
      const row = packet(4, Buffer.concat([head, Buffer.alloc(LARGEST - head.length)]));
      const rest = packet(5, Buffer.alloc(20));
      feedAll(tracker, [beginRows(deprecateEof), row, rest, end(deprecateEof)], form);
    });
  }

  test('an OK with a message longer than any head ends with its last byte', () => {
    const tracker = trackerFor(true);
    const ok = packet(1, Buffer.concat([Buffer.from([0, 0, 0, 2, 0, 0, 0]), Buffer.alloc(300, 0x61)]));
    for (let cut = 1; cut < ok.length; cut++) {
      tracker.begin(Command.QUERY);
      feedAll(tracker, [ok.subarray(0, cut), ok.subarray(cut)], `cut at ${cut}`);
    }
  });
});

suite('shapes that are rare', () => {
  test('the counts of an OK packet may be of any length', () => {
    const tracker = trackerFor(true);
    const counts = [[5], [0xfc, 1, 2], [0xfd, 1, 2, 3], [0xfe, 1, 2, 3, 4, 5, 6, 7, 8]];
    for (const rows of counts) {
      for (const id of counts) {
        tracker.begin(Command.QUERY);
        feedAll(tracker, [packet(1, [0, ...rows, ...id, 0x03, 0x20, 0, 0])], `${rows.length} ${id.length}`);
        assert.equal(tracker.status, 0x2003);
      }
    }
  });

  test('a stream of binlog events ends with EOF or ERR only', () => {
    const tracker = trackerFor(true);
    const event = packet(1, Buffer.alloc(60));
    tracker.begin(Command.BINLOG_DUMP);
    feedAll(tracker, [event, event, packet(3, EOF)], 'eof');
    tracker.begin(Command.BINLOG_DUMP_GTID);
    feedAll(tracker, [event, packet(3, [0xff, 0xd4, 0x04, 0x23])], 'err');
    assert.equal(tracker.errno, 1236);
  });

  test('the wish for a file is told once, at the end of its packet or before', () => {
    const tracker = trackerFor(true);
    tracker.begin(Command.QUERY);
    const wish = packet(1, Buffer.from('\xfbname', 'latin1'));
    assert.equal(tracker.feed(wish, 0, wish.length), NOT_ENDED);
    assert.equal(tracker.wantsFile, true);
    tracker.begin(Command.QUERY);
    assert.equal(tracker.wantsFile, false);
  });

  test('the commands without an answer are these three', () => {
    const silent = Array.from({ length: 256 }, (_, command) => command).filter(hasNoReply);
    assert.deepEqual(silent, [Command.QUIT, Command.STMT_SEND_LONG_DATA, Command.STMT_CLOSE]);
  });
});

suite('answers whose form newer flags decide', () => {
  for (const { name, capabilities, extendedCapabilities, command, reply } of newerReplyVectors) {
    test(`${name}: ends with its last byte, cut anywhere`, () => {
      const { errno, status } = expectedEnd(reply);
      for (let cut = 1; cut < reply.length; cut++) {
        const tracker = new ReplyTracker(capabilities, extendedCapabilities);
        tracker.begin(command);
        feedAll(tracker, [reply.subarray(0, cut), reply.subarray(cut)], name);
        assert.equal(tracker.errno, errno);
        if (status !== undefined && command !== Command.STMT_PREPARE) assert.equal(tracker.status, status);
      }
    });
  }

  test('of the EOF packets around OUT parameters the first alone says at MySQL that an OK follows', () => {
    const answer = Buffer.concat([
      packetOf(1, '01'),
      packetOf(2, '036465660000000161000c3f000b0000000380000000'),
      packetOf(3, 'fe00000a10'),
      packetOf(4, '000005000000'),
      packetOf(5, 'fe00000200'),
      packetOf(6, '00000002000000'),
    ]);
    for (let cut = 1; cut < answer.length; cut++) {
      const tracker = new ReplyTracker(0);
      tracker.begin(Command.STMT_EXECUTE);
      feedAll(tracker, [answer.subarray(0, cut), answer.subarray(cut)], `cut ${cut}`);
    }
  });

  test('a report of progress ends an answer for who has not asked for reports', () => {
    const report = Buffer.from('03000001ffffff', 'hex');
    const tracker = new ReplyTracker(Capability.DEPRECATE_EOF);
    tracker.begin(Command.QUERY);
    assert.equal(tracker.feed(report, 0, report.length), report.length);
    assert.equal(tracker.errno, 0xffff);
  });
});

function packetOf(sequence: number, hex: string): Buffer {
  return writePayload(sequence, Buffer.from(hex, 'hex'));
}
