/**
 * Random and damaged bytes into everything that reads what strangers send. Whatever comes, only refusals of
 * the catalogue come out, nothing hangs, and how the bytes are cut into chunks makes no difference. How
 * seeds are chosen and kept: test/support/fuzz.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { compressionOf, FRAME_HEADER_BYTES, inflateFrame } from '../../../src/protocol/compression.ts';
import { PacketNumbers, readFrameHeader, writeFrame } from '../../../src/protocol/compression.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { PacketFramer } from '../../../src/protocol/framer.ts';
import {
  parseAuthSwitch,
  parseChangeUser,
  parseGreeting,
  parseHandshakeResponse,
} from '../../../src/protocol/handshake.ts';
import { ClientLogin } from '../../../src/protocol/login-client.ts';
import { ServerLogin, type LoginStep } from '../../../src/protocol/login-server.ts';
import { parseError, parseOk } from '../../../src/protocol/packets.ts';
import { findPlugin } from '../../../src/protocol/plugins.ts';
import { parseProxyHeader, writeProxyHeaderV2 } from '../../../src/protocol/proxy-header.ts';
import { textStart, UNKNOWN_START } from '../../../src/protocol/query-attributes.ts';
import { NOT_ENDED, ReplyTracker } from '../../../src/protocol/reply-tracker.ts';
import { matchesSha2Hash } from '../../../src/protocol/sha2-hash.ts';
import { ANY_DIALECT, Lexer, Token } from '../../../src/sql/lexer.ts';
import { mayBeKill, parseKill } from '../../../src/sql/kill.ts';
import { guardRead, isPlainSelect } from '../../../src/sql/read-guard.ts';
import { damaged, fuzz, pieces, randomBytes, randomFlags, type Random } from '../../support/fuzz.ts';
import { loginVectors, payloadsOf, replyVectors } from '../../support/vectors.ts';

function onlyRefusals<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

const loginPackets = Object.values(loginVectors).map((bytes) => bytes.subarray(4));

function loginPayload(random: Random): Buffer {
  const good = loginPackets[random(loginPackets.length)]!;
  return random(4) === 0 ? randomBytes(random, 80) : damaged(random, good);
}

test('readers of login packets', () => {
  fuzz('login packets', (random) => {
    const payload = loginPayload(random);
    const capabilities = random(2) === 0 ? 0xffffffff : randomFlags(random);
    onlyRefusals(() => parseGreeting(payload));
    onlyRefusals(() => parseHandshakeResponse(payload, capabilities, randomFlags(random)));
    onlyRefusals(() => parseChangeUser(payload, capabilities));
    onlyRefusals(() => parseAuthSwitch(payload));
    onlyRefusals(() => parseError(payload));
    onlyRefusals(() => parseOk(payload));
  });
});

const PLUGINS = [
  'mysql_native_password',
  'caching_sha2_password',
  'sha256_password',
  'client_ed25519',
  'mysql_clear_password',
  'none_of_these',
];

/** Packets of a login's further rounds, which the vectors do not have. */
function roundPacket(random: Random): Buffer {
  const plugin = PLUGINS[random(PLUGINS.length)]!;
  switch (random(4)) {
    case 0:
      return Buffer.concat([Buffer.from([0xfe]), Buffer.from(`${plugin}\0`), randomBytes(random, 40)]);
    case 1:
      return Buffer.concat([Buffer.from([1]), randomBytes(random, 40)]);
    case 2:
      return Buffer.from([1, 2 + random(4)]);
    default:
      return Buffer.from('app\0');
  }
}

function steppedOn(server: ServerLogin, step: LoginStep, random: Random): LoginStep {
  switch (step.kind) {
    case 'unproven':
      return random(2) === 0 ? server.recheck() : server.deny();
    case 'accepted':
      return random(2) === 0 ? server.askPassword() : step;
    case 'tls':
      server.secured();
      return step;
    case 'send':
    case 'refused':
      return step;
  }
}

const KINDS = new Set(['send', 'tls', 'unproven', 'accepted', 'refused']);

test('a login seen by the server: it always has a step, and lets nobody in by noise', () => {
  fuzz('login-server', (random) => {
    const known = random(2) === 0;
    const server = new ServerLogin({
      connectionId: 1,
      serverVersion: 'x',
      capabilities: random(2) === 0 ? 0xffffffff : randomFlags(random),
      extendedCapabilities: random(2) === 0 ? randomFlags(random) : undefined,
      collation: 45,
      defaultPlugin: PLUGINS[random(2)],
      clientAddress: () => 'x',
      isSecure: () => random(2) === 0,
      requireTls: random(4) === 0,
      findSecret: () => (known ? { password: 'a password that nobody guesses' } : undefined),
    });
    server.greeting();
    for (let packets = 0; packets < 5; packets++) {
      const payload = random(2) === 0 ? loginPayload(random) : roundPacket(random);
      const step = steppedOn(server, server.receive(payload, server.expectedSequence), random);
      assert.ok(KINDS.has(step.kind));
      assert.notEqual(step.kind, 'accepted');
    }
  });
});

test('a login seen by the client: it comes to an end, and never sends the password in clear', () => {
  const password = 'a password to be kept';
  fuzz('login-client', (random) => {
    const client = new ClientLogin({
      user: 'app',
      secret: { password },
      database: 'demo',
      collation: 45,
      capabilities: randomFlags(random),
      extendedCapabilities: randomFlags(random),
      attributes: randomBytes(random, 60),
    });
    let sent = Buffer.alloc(0);
    for (let packets = 0; packets < 6; packets++) {
      const greeting = loginVectors['greeting']!.subarray(4);
      const payload =
        packets === 0 ? (random(2) ? greeting : damaged(random, greeting)) : roundPacket(random);
      const step = onlyRefusals(() => client.receive(payload, packets * 2));
      if (step?.kind === 'send') sent = Buffer.concat([sent, step.bytes]);
    }
    assert.ok(!sent.includes(password), 'the password in clear');
  });
});

test('answers of the plugins: none fits by accident', () => {
  fuzz('plugins', (random) => {
    for (const name of PLUGINS) {
      const plugin = findPlugin(name);
      const answer = randomBytes(random, 80);
      const verdict = plugin?.verify(randomBytes(random, 40), answer, { password: 'nobody guesses' });
      assert.notEqual(verdict?.accepted, true);
    }
    if (random(50) === 0) matchesSha2Hash(randomBytes(random, 300), damagedHash(random));
  });
});

/** As mysql.user stores it for caching_sha2_password, with few rounds; damaged. */
function damagedHash(random: Random): Buffer {
  const bytes = damaged(random, Buffer.from(`$A$005$${'s'.repeat(20)}${'h'.repeat(43)}`, 'latin1'));
  // Rounds are in thousands, in hexadecimal: a damaged count must not make this test slow.
  return bytes.subarray(0, 7).equals(Buffer.from('$A$005$')) ? bytes : Buffer.from('$A$005$cut');
}

test('the framer, in chunks of any size', () => {
  fuzz('framer', (random) => {
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

test('the framer: the packets are the same, however they are cut', () => {
  fuzz('framer cuts', (random) => {
    const bytes = replyVectors[random(replyVectors.length)]!.reply;
    const framer = new PacketFramer(100_000);
    const found: Buffer[] = [];
    for (const piece of pieces(random, bytes, 50)) {
      // The relay's buffers are used again: what is kept must be a copy.
      const lent = Buffer.from(piece);
      let packet = framer.next(lent);
      for (; packet !== undefined; packet = framer.next()) found.push(Buffer.from(packet.payload));
      lent.fill(0xaa);
    }
    assert.deepEqual(found, payloadsOf(bytes));
  });
});

/** Feeds an answer in pieces; answers where it ended, or NOT_ENDED. Never past a chunk, and never back. */
function fedInPieces(tracker: ReplyTracker, bytes: Buffer, random: Random): number {
  for (let start = 0; start < bytes.length;) {
    const until = Math.min(bytes.length, start + 1 + random(40));
    const ended = tracker.feed(bytes, start, until);
    assert.equal(tracker.idle, ended !== NOT_ENDED);
    if (ended !== NOT_ENDED) {
      assert.ok(ended >= start && ended <= until);
      return ended;
    }
    start = until;
  }
  return NOT_ENDED;
}

test('the reply tracker: whatever comes, and however it is cut, an answer ends at the same byte', () => {
  fuzz('reply-tracker', (random) => {
    const vector = replyVectors[random(replyVectors.length)]!;
    const own = vector.deprecateEof ? Capability.DEPRECATE_EOF : 0;
    const flags = random(2) === 0 ? own : randomFlags(random);
    const extended = random(2) === 0 ? 0 : randomFlags(random);
    const command = random(3) === 0 ? random(256) : vector.command;
    const good = random(3) === 0 ? vector.reply : damaged(random, vector.reply);
    const bytes = random(5) === 0 ? randomBytes(random, 300) : good;

    const whole = new ReplyTracker(flags, extended);
    whole.begin(command);
    const end = whole.feed(bytes, 0, bytes.length);
    const cut = new ReplyTracker(flags, extended);
    cut.begin(command);
    assert.equal(fedInPieces(cut, bytes, random), end);
    assert.deepEqual([cut.status, cut.errno, cut.wantsFile], [whole.status, whole.errno, whole.wantsFile]);
  });
});

test('compressed frames: what is written is read, what is damaged is refused within its bound', () => {
  fuzz('compression', (random) => {
    const algorithm = random(2) === 0 ? 'zlib' : 'zstd';
    const plain = Buffer.alloc(1 + random(600), randomBytes(random, 20).toString('hex') || 'x');
    const frame = writeFrame(plain, random(256), algorithm, 1);
    const header = readFrameHeader(frame);
    assert.equal(frame.length, FRAME_HEADER_BYTES + header.payloadBytes);
    const payload = frame.subarray(FRAME_HEADER_BYTES);
    const back = header.plainBytes === 0 ? payload : inflateFrame(payload, header.plainBytes, algorithm);
    assert.deepEqual(back, plain);

    const announced = random(2) === 0 ? plain.length : 1 + random(2000);
    const inflated = onlyRefusals(() => inflateFrame(damaged(random, payload), announced, algorithm));
    if (inflated !== undefined) assert.equal(inflated.length, announced);
    compressionOf(randomFlags(random));
  });
});

test('packet numbers over a compressed channel: the same however the bytes are cut', () => {
  fuzz('packet numbers', (random) => {
    const bytes = replyVectors[random(replyVectors.length)]!.reply;
    const first = random(256);
    const renumbered = (chunks: Iterable<Buffer>): Buffer => {
      const numbers = new PacketNumbers();
      // One packet of a command goes out first.
      const starts = numbers.commandsIn(Buffer.from([1, 0, 0, 0, 0x0e]));
      assert.deepEqual(starts, [0]);
      const out: Buffer[] = [];
      for (const chunk of chunks) {
        const copy = Buffer.from(chunk);
        numbers.renumber(copy);
        out.push(copy);
      }
      return Buffer.concat(out);
    };
    // Whatever numbers they bear, those that come out are those of an uncompressed channel.
    const shifted = withNumbers(bytes, first);
    assert.deepEqual(renumbered(pieces(random, shifted, 9)), withNumbers(bytes, 1));
  });
});

/** The same packets, numbered from `first` on. */
function withNumbers(bytes: Buffer, first: number): Buffer {
  const copy = Buffer.from(bytes);
  for (let offset = 0, number = first; offset < copy.length; number++) {
    copy[offset + 3] = number & 0xff;
    offset += 4 + copy.readUIntLE(offset, 3);
  }
  return copy;
}

const proxyHeaders = [
  Buffer.from('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n'),
  Buffer.from('PROXY TCP6 2001:db8::1 ::1 1 65535\r\n'),
  Buffer.from('PROXY UNKNOWN\r\n'),
  writeProxyHeaderV2('local'),
  writeProxyHeaderV2({
    source: { address: '10.1.2.3', port: 1234 },
    destination: { address: '10.0.0.1', port: 3306 },
  }),
  writeProxyHeaderV2({
    source: { address: '2001:db8::1', port: 1234 },
    destination: { address: '::1', port: 3306 },
  }),
];

test('PROXY headers: whole ones are read, cut ones waited for, damaged ones refused', () => {
  fuzz('proxy-header', (random) => {
    const good = proxyHeaders[random(proxyHeaders.length)]!;
    const rest = randomBytes(random, 20);
    const read = parseProxyHeader(Buffer.concat([good, rest]));
    assert.ok(read.kind === 'header' && read.bytes === good.length);
    assert.deepEqual(parseProxyHeader(good.subarray(0, 1 + random(good.length - 1))), { kind: 'incomplete' });

    const bytes = Buffer.concat([damaged(random, good), rest]);
    const outcome = onlyRefusals(() => parseProxyHeader(bytes));
    if (outcome?.kind === 'header') assert.ok(outcome.bytes > 0 && outcome.bytes <= bytes.length);
  });
});

/** A COM_QUERY with one attribute of a type that carries its length, and one NULL. */
const withAttributes = Buffer.concat([
  Buffer.from([Command.QUERY, 2, 1, 0b10, 1, 254, 0, 1, 0x61, 6, 0, 1, 0x62, 3, 0x78, 0x79, 0x7a]),
  Buffer.from('select 1'),
]);

test('query attributes: the text is found, never outside the packet, and not guessed from its beginning', () => {
  const start = withAttributes.indexOf('select');
  const flags = Capability.QUERY_ATTRIBUTES;
  fuzz('query-attributes', (random) => {
    assert.equal(textStart(withAttributes, 0, withAttributes.length, flags), start);
    const cut = 1 + random(withAttributes.length);
    const ofCut = textStart(withAttributes, 0, cut, flags);
    assert.ok(ofCut === UNKNOWN_START || (ofCut === start && cut >= start), `${ofCut} of ${cut} bytes`);

    const bytes = damaged(random, withAttributes);
    const found = textStart(bytes, 0, bytes.length, randomFlags(random) | flags);
    assert.ok(found === UNKNOWN_START || (found > 0 && found <= Math.max(1, bytes.length)));
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
  fuzz('lexer', (random) => {
    const text = Buffer.from(
      Array.from({ length: random(14) }, () => pieces[random(pieces.length)]).join(random(2) ? ' ' : ''),
    );
    const around = Buffer.concat([Buffer.from("'/*;"), text, Buffer.from("*/';kill 7")]);
    const [start, end] = [4, 4 + text.length];
    const lexer = new Lexer();
    lexer.begin(around, start, end, ANY_DIALECT);
    let at = start;
    for (let token = lexer.next(); token !== Token.END; token = lexer.next()) {
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
