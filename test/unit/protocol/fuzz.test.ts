/**
 * Random and damaged bytes into everything that reads what strangers send. Whatever comes, only refusals of
 * the catalogue come out, and nothing hangs. The seed is fixed, so that a failure can be had again; another
 * one may be given as FUZZ_SEED.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import { PacketFramer } from '../../../src/protocol/framer.ts';
import {
  parseAuthSwitch,
  parseChangeUser,
  parseGreeting,
  parseHandshakeResponse,
} from '../../../src/protocol/handshake.ts';
import { ClientLogin } from '../../../src/protocol/login-client.ts';
import { ServerLogin } from '../../../src/protocol/login-server.ts';
import { parseError, parseOk } from '../../../src/protocol/packets.ts';
import { NOT_ENDED, ReplyTracker } from '../../../src/protocol/reply-tracker.ts';
import { Lexer } from '../../../src/sql/lexer.ts';
import { mayBeKill, parseKill } from '../../../src/sql/kill.ts';
import { guardRead, isPlainSelect } from '../../../src/sql/read-guard.ts';
import { loginVectors, replyVectors } from '../../support/vectors.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_240_611);
const ROUNDS = 4000;

/** mulberry32: small, seeded, good enough to hit the corners. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Random = ReturnType<typeof generator>;

/** Runs `round` many times; a failure names seed and round. */
function fuzz(salt: number, round: (random: Random) => void): void {
  for (let index = 0; index < ROUNDS; index++) {
    try {
      round(generator(SEED + salt * 1_000_003 + index));
    } catch (error) {
      const words = error instanceof Error ? error.stack : String(error);
      assert.fail(`FUZZ_SEED=${SEED}, round ${index}: ${words}`);
    }
  }
}

function randomBytes(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random(most + 1) }, () => random(256)));
}

/** A good message with some bytes changed, cut out, or doubled. */
function damaged(random: Random, good: Buffer): Buffer {
  let bytes = Buffer.from(good);
  for (let count = 1 + random(4); count > 0 && bytes.length > 0; count--) {
    const at = random(bytes.length);
    switch (random(4)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = [0, 0xfb, 0xfc, 0xfd, 0xfe, 0xff][random(6)]!;
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(8))]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(8)))]);
    }
  }
  return bytes;
}

function onlyRefusals(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
}

const loginPackets = Object.values(loginVectors).map((bytes) => bytes.subarray(4));

test('readers of login packets', () => {
  fuzz(1, (random) => {
    const payload =
      random(4) === 0 ? randomBytes(random, 80) : damaged(random, loginPackets[random(loginPackets.length)]!);
    const capabilities = random(2) === 0 ? 0xffffffff : random(0x7fffffff);
    onlyRefusals(() => parseGreeting(payload));
    onlyRefusals(() => parseHandshakeResponse(payload, capabilities));
    onlyRefusals(() => parseChangeUser(payload, capabilities));
    onlyRefusals(() => parseAuthSwitch(payload));
    onlyRefusals(() => parseError(payload));
    onlyRefusals(() => parseOk(payload));
  });
});

test('both sides of a login', () => {
  const names = ['greeting', 'response', 'authSwitch', 'switchAnswer', 'ok', 'changeUser'];
  fuzz(2, (random) => {
    const server = new ServerLogin({
      connectionId: 1,
      serverVersion: 'x',
      capabilities: 0xffffffff,
      collation: 45,
      clientAddress: 'x',
      findSecret: () => ({ password: 'app' }),
    });
    const client = new ClientLogin({
      user: 'app',
      secret: { password: 'app' },
      database: 'demo',
      collation: 45,
      capabilities: Capability.DEPRECATE_EOF,
    });
    for (let packets = 0; packets < 4; packets++) {
      const good = loginVectors[names[random(names.length)]!]!.subarray(4);
      const payload = random(3) === 0 ? good : damaged(random, good);
      // The server's side answers with a step, whatever comes; it has no way to throw.
      assert.ok(server.receive(payload, server.expectedSequence).kind !== undefined);
      onlyRefusals(() => client.receive(payload, packets * 2));
    }
  });
});

test('the framer, in chunks of any size', () => {
  fuzz(3, (random) => {
    const framer = new PacketFramer(200);
    onlyRefusals(() => {
      for (let chunks = 0; chunks < 5; chunks++) {
        let packet = framer.next(
          randomBytes(random, 60).map((byte, at) => (at % 4 === 1 ? 0 : byte)) as Buffer,
        );
        for (let taken = 0; packet !== undefined; taken++) {
          assert.ok(taken < 100, 'the framer does not come to an end');
          assert.ok(packet.payload.length <= 200);
          packet = framer.next();
        }
      }
    });
  });
});

test('the reply tracker: never past the chunk, and never back', () => {
  fuzz(4, (random) => {
    const vector = replyVectors[random(replyVectors.length)]!;
    const tracker = new ReplyTracker(random(2) === 0 ? Capability.DEPRECATE_EOF : 0);
    tracker.begin(random(3) === 0 ? random(256) : vector.command);
    const bytes = random(5) === 0 ? randomBytes(random, 300) : damaged(random, vector.reply);
    for (let start = 0; start < bytes.length;) {
      const end = Math.min(bytes.length, start + 1 + random(40));
      const ended = tracker.feed(bytes, start, end);
      if (ended !== NOT_ENDED) {
        assert.ok(ended >= start && ended <= end);
        assert.ok(tracker.idle);
        return;
      }
      assert.ok(!tracker.idle);
      start = end;
    }
  });
});

test('the lexer and what is read with it', () => {
  const pieces = [
    'select',
    'set',
    'kill',
    'query',
    '42',
    'session',
    'transaction',
    'read',
    'write',
    ' ',
    '\n',
    ';',
    "'",
    '"',
    '`',
    '\\',
    '/*',
    '*/',
    '/*!',
    '/*!50000',
    '/*M!',
    '--',
    '-- ',
    '#',
    '*',
    '/',
    '@@',
    '.',
    ',',
    '=',
    'ü',
    '\0',
    'prepare',
    'from',
    'execute',
    'immediate',
    'using',
    'tx_read_only',
  ];
  fuzz(5, (random) => {
    const text = Buffer.from(
      Array.from({ length: random(14) }, () => pieces[random(pieces.length)]).join(random(2) ? ' ' : ''),
    );
    const around = Buffer.concat([Buffer.from("'/*;"), text, Buffer.from("*/';kill 7")]);
    const [start, end] = [4, 4 + text.length];
    const lexer = new Lexer(around, start, end);
    let at = start;
    for (let token = lexer.next(); token !== 'end'; token = lexer.next()) {
      assert.ok(lexer.tokenStart >= at && lexer.tokenEnd > lexer.tokenStart && lexer.tokenEnd <= end);
      at = lexer.tokenEnd;
    }
    // What stands around the statement must not be seen.
    assert.deepEqual(guardRead(around, start, end, true), guardRead(text, 0, text.length, true));
    assert.equal(isPlainSelect(around, start, end), isPlainSelect(text, 0, text.length));
    const kill = parseKill(around, start, end);
    assert.equal(kill?.id, parseKill(text, 0, text.length)?.id);
    if (kill !== undefined) assert.ok(mayBeKill(around, start, end), 'a KILL is looked at');
  });
});
