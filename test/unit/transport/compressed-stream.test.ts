import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import type { ByteStream, SocketHandler } from '../../../src/base/socket.ts';
import {
  FRAME_HEADER_BYTES,
  inflateFrame,
  readFrameHeader,
  writeFrame,
} from '../../../src/protocol/compression.ts';
import { CompressedStream } from '../../../src/transport/compressed-stream.ts';

const LEVEL = 3;

/** The stream below, in the test's hands. */
class FakeStream implements ByteStream {
  input: Buffer = Buffer.alloc(0);
  handler: SocketHandler = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };
  readonly remoteAddress = '10.0.0.7';
  readonly remotePort = 7;
  readonly written: Buffer[] = [];
  taking = true;
  paused = false;
  destroyed = false;
  hasEnded = false;
  ended = false;

  receive(bytes: Buffer): void {
    assert.equal(this.paused, false, 'a paused stream gives nothing');
    this.input = Buffer.from(bytes);
    this.handler.onData(bytes.length);
  }

  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes));
    return this.taking;
  }

  askPeer(): void {
    // Nobody is asked here.
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(bytes?: Buffer): void {
    if (bytes !== undefined) this.written.push(Buffer.from(bytes));
    this.ended = true;
  }

  close(): void {
    this.end();
  }

  destroy(): void {
    this.destroyed = true;
    queueMicrotask(() => this.handler.onClose(undefined));
  }
}

function packet(payload: string | Buffer, number: number): Buffer {
  const head = Buffer.from([
    payload.length & 0xff,
    (payload.length >> 8) & 0xff,
    payload.length >> 16,
    number,
  ]);
  return Buffer.concat([head, typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload]);
}

/** Lets what was put off to the next turn happen. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function open(role: 'server' | 'client', early: Buffer = Buffer.alloc(0)) {
  const under = new FakeStream();
  const stream = new CompressedStream(under, { role, algorithm: 'zlib', level: LEVEL, early });
  const received: Buffer[] = [];
  const closes: (Error | undefined)[] = [];
  let drains = 0;
  stream.handler = {
    onData: (length) => received.push(Buffer.from(stream.input.subarray(0, length))),
    onDrain: () => drains++,
    onClose: (error) => closes.push(error),
  };
  await turn();
  return { under, stream, received, closes, drains: () => drains };
}

/** The frames in what was written: numbers and contents. */
function framesIn(written: readonly Buffer[]): { number: number; plain: Buffer }[] {
  const frames: { number: number; plain: Buffer }[] = [];
  let rest = Buffer.concat(written);
  while (rest.length > 0) {
    const { number, payloadBytes, plainBytes } = readFrameHeader(rest);
    const payload = rest.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + payloadBytes);
    frames.push({ number, plain: plainBytes === 0 ? payload : inflateFrame(payload, plainBytes, 'zlib') });
    rest = rest.subarray(FRAME_HEADER_BYTES + payloadBytes);
  }
  return frames;
}

const frame = (bytes: Buffer, number: number): Buffer => writeFrame(bytes, number, 'zlib', LEVEL);
const LONG = 'select 1 /* and a long comment that is worth it: worth it, worth it, worth it */';

describe('from a client', () => {
  test('commands come out plain, wherever the bytes are cut', async () => {
    const bytes = Buffer.concat([frame(packet('ping', 0), 0), frame(packet(LONG, 0), 0)]);
    for (let cut = 1; cut < bytes.length; cut++) {
      const { under, received } = await open('server');
      under.receive(bytes.subarray(0, cut));
      under.receive(bytes.subarray(cut));
      assert.deepEqual(Buffer.concat(received), Buffer.concat([packet('ping', 0), packet(LONG, 0)]));
    }
  });

  test('what came with the login comes first, in a turn of its own', async () => {
    const { received, under } = await open('server', frame(packet(LONG, 0), 0));
    assert.deepEqual(Buffer.concat(received), packet(LONG, 0));
    assert.equal(under.paused, false);
  });

  test('a file goes on counting after our answer, over the wrap of the frame numbers', async () => {
    const { under, stream, received } = await open('server');
    under.receive(frame(packet('load data', 0), 0));
    stream.write(packet('\xfbfile', 1));
    received.length = 0;
    // Each piece in a frame of its own, numbered as libmysqlclient does; frame 0 comes up twice.
    for (let index = 0; index < 600; index++) {
      under.receive(frame(packet('row', (index + 2) & 0xff), (index + 2) & 0xff));
    }
    under.receive(frame(packet('', 99), 602 & 0xff));
    const numbers = received.map((bytes) => bytes[3]);
    assert.deepEqual(
      numbers,
      Array.from({ length: 601 }, (_, index) => (index + 2) & 0xff),
    );
    stream.write(packet('ok', 91));
    under.receive(frame(packet('next', 5), 0));
    assert.deepEqual(received.at(-1), packet('next', 0));
    assert.equal(framesIn(under.written).at(-1)!.number, 603 & 0xff);
  });

  test('a frame that begins a command in the middle of a packet is refused', async () => {
    const { under, closes } = await open('server');
    under.receive(frame(packet(LONG, 0).subarray(0, 20), 0));
    under.receive(frame(packet(LONG, 0), 0));
    await turn();
    assert.equal(under.destroyed, true);
    assert.ok(isRefusal(closes[0]) && closes[0].code === 'DBPROXY_PACKET_OUT_OF_ORDER');
  });

  test('a client that does not begin with frame 0 has a number that no command has', async () => {
    const { under, received } = await open('server');
    under.receive(frame(packet('ping', 0), 3));
    assert.notEqual(received[0]![3], 0);
  });

  test('a frame that lies about its length closes, with the reason, and nothing of it is given out', async () => {
    const { under, closes, received } = await open('server');
    const lying = frame(packet(LONG, 0), 0);
    lying.writeUIntLE(20, 4, 3);
    under.receive(Buffer.concat([lying, frame(packet('ping', 0), 0)]));
    await turn();
    assert.equal(under.destroyed, true);
    assert.ok(isRefusal(closes[0]) && closes[0].code === 'DBPROXY_COMPRESSED_PACKET');
    assert.equal(closes.length, 1);
    assert.deepEqual(received, []);
  });

  test('a pause keeps the rest of the frames, and what was given stays as it is', async () => {
    const { under, stream } = await open('server');
    const received: Buffer[] = [];
    stream.handler = {
      onData: (length) => {
        received.push(Buffer.from(stream.input.subarray(0, length)));
        stream.pause();
      },
      onDrain: () => undefined,
      onClose: () => undefined,
    };
    const commands = ['one', LONG, 'three', LONG].map((text) => packet(text, 0));
    under.receive(Buffer.concat(commands.map((command) => frame(command, 0))));
    for (const [index, command] of commands.entries()) {
      assert.equal(received.length, index + 1);
      assert.deepEqual(received[index], command);
      await turn();
      assert.equal(received.length, index + 1, 'paused');
      assert.deepEqual(stream.input, command);
      assert.equal(under.paused, true);
      stream.resume();
      assert.equal(received.length, index + 1, 'not from within resume');
      await turn();
    }
    assert.equal(under.paused, false);
  });

  test('after destroy nothing more is given out', async () => {
    const { under, stream } = await open('server');
    let times = 0;
    stream.handler.onData = () => {
      times++;
      stream.destroy();
    };
    under.receive(Buffer.concat([frame(packet('one', 0), 0), frame(packet('two', 0), 0)]));
    assert.equal(times, 1);
  });
});

describe('towards a client', () => {
  test("answers are numbered on from the command's frame, and cut into frames of a bounded size", async () => {
    const { under, stream } = await open('server');
    under.receive(frame(packet('query', 0), 0));
    const answer = packet(Buffer.alloc(150_000, 'row '), 1);
    assert.equal(stream.write(answer), true);
    stream.end(packet('eof', 2));
    const frames = framesIn(under.written);
    assert.deepEqual(
      frames.map(({ number }) => number),
      [1, 2, 3, 4],
    );
    assert.deepEqual(
      Buffer.concat(frames.map(({ plain }) => plain)),
      Buffer.concat([answer, packet('eof', 2)]),
    );
    assert.ok(Buffer.concat(under.written).length < 10_000, 'it is compressed');
    assert.equal(under.ended, true);
  });

  test('the drain of the stream below is passed on', async () => {
    const { under, stream, drains } = await open('server');
    under.taking = false;
    assert.equal(stream.write(packet('a', 1)), false);
    under.handler.onDrain();
    assert.equal(drains(), 1);
  });
});

describe('towards a server', () => {
  test('each command begins a frame 0; its answer comes with right numbers', async () => {
    const { under, stream, received } = await open('client');
    stream.write(Buffer.concat([packet('prepare', 0), packet(LONG, 0)]));
    assert.deepEqual(
      framesIn(under.written).map(({ number, plain }) => [number, plain]),
      [
        [0, packet('prepare', 0)],
        [0, packet(LONG, 0)],
      ],
    );
    under.receive(frame(Buffer.concat([packet('a', 1), packet('b', 1), packet('c', 9)]), 1));
    assert.deepEqual(
      Buffer.concat(received),
      Buffer.concat([packet('a', 1), packet('b', 2), packet('c', 3)]),
    );
  });

  test('commands are found wherever the writes are cut', async () => {
    const commands = Buffer.concat([packet('one', 0), packet('', 1), packet('two', 0)]);
    for (let cut = 1; cut < commands.length; cut++) {
      const { under, stream } = await open('client');
      stream.write(commands.subarray(0, cut));
      stream.write(commands.subarray(cut));
      stream.end();
      const frames = framesIn(under.written);
      assert.deepEqual(Buffer.concat(frames.map(({ plain }) => plain)), commands, `cut at ${cut}`);
      const second = frames.findLastIndex(({ number }) => number === 0);
      const before = frames.slice(0, second).map(({ plain }) => plain);
      assert.equal(Buffer.concat(before).length, 11, `cut at ${cut}`);
    }
  });

  test('a long command goes on in numbered frames', async () => {
    const { under, stream } = await open('client');
    const command = packet(Buffer.alloc(200_000, 'x'), 0);
    for (let offset = 0; offset < command.length; offset += 16_384) {
      stream.write(command.subarray(offset, offset + 16_384));
    }
    const frames = framesIn(under.written);
    assert.deepEqual(
      frames.map(({ number }) => number),
      Array.from({ length: 13 }, (_, index) => index),
    );
    assert.deepEqual(Buffer.concat(frames.map(({ plain }) => plain)), command);
  });
});
