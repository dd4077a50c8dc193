/**
 * Several sessions on one connection. Their relays are real, so that what is proved is what each client gets: its
 * own answers, whole and in order, wherever the server's bytes are cut.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ByteStream } from '../../../src/base/socket.ts';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Lane } from '../../../src/backend/lane.ts';
import { Relay, type Dispatcher, type RelayHost } from '../../../src/frontend/relay.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { writeCommand, writeError, writeOk, writeResultSet } from '../../../src/protocol/packets.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { cuts, PlayedSocket } from '../../support/played-socket.ts';

const FLAGS: number = Capability.DEPRECATE_EOF;
const FAST_MS = 1;
const MOST = 4;

function query(sql: string): Buffer {
  return writeCommand(Command.QUERY, Buffer.from(sql));
}

function rows(...values: number[]): Buffer {
  const cells = values.map((value) => [value]);
  return writeResultSet([{ name: 'a', type: 'integer' }], cells, FLAGS);
}

const REFUSAL = writeError(1, { errno: 1290, sqlState: 'HY000', message: 'read only' });
const FAILURE = writeError(1, { errno: 1146, sqlState: '42S02', message: 'no such table' });

/** After what is sent in this round of the event loop. */
function nextRound(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/** A session whose statements all travel on `lane`. */
class Passenger {
  readonly client = new PlayedSocket(0);
  readonly events: string[] = [];
  readonly relay: Relay;

  constructor(lane: Lane, mayBeRefused = false) {
    const { events, client } = this;
    const dispatcher: Dispatcher = {
      route: (_command, bytes, start, end) => {
        if (mayBeRefused) this.relay.expectRefusal();
        lane.reserve();
        this.relay.ride(lane, bytes, start, end);
        return false;
      },
      routeLarge: () => assert.fail('nothing large rides'),
      onAnswered: () => void events.push(`answered ${this.relay.tracker.errno}`),
      onAnswerTaken: () => void events.push('taken'),
      onRefused: (errno) => void events.push(`refused ${errno}`),
      onLost: (reason) => void events.push(`lost ${reason}`),
    };
    const host: RelayHost = {
      onCommand: () => undefined,
      onSent: () => undefined,
      onAnswerEnds: () => undefined,
      onAnswered: () => undefined,
      onProtocolError: () => assert.fail('no MySQL'),
      onTooLarge: () => assert.fail('too large'),
      onClientGone: () => undefined,
      onBackendGone: (reason) => void events.push(`gone ${reason}`),
    };
    const flags = {
      capabilities: FLAGS,
      extendedCapabilities: 0,
      loginOk: { status: 2, payload: Buffer.alloc(0) },
    };
    this.relay = new Relay(client as unknown as ByteStream, flags, host, dispatcher);
    this.relay.begin(0);
  }

  ask(sql: string): void {
    this.client.receiveFor(this.relay, query(sql));
  }
}

function lay() {
  const server = new PlayedSocket(FLAGS);
  const clock = new FakeClock();
  let empty = 0;
  const lane = new Lane(
    server as unknown as BackendConnection,
    clock,
    () => empty++,
    () => undefined,
  );
  return { lane, server, clock, emptied: () => empty };
}

suite('answers of several sessions', () => {
  const ANSWERS = [rows(1), rows(2, 3), FAILURE, writeOk(1), rows()];

  test('each reach their own client, wherever the bytes are cut', async () => {
    for (const [before, after] of cuts(Buffer.concat(ANSWERS))) {
      const { lane, server, emptied } = lay();
      const passengers = ANSWERS.map(() => new Passenger(lane));
      for (const [index, passenger] of passengers.entries()) passenger.ask(`select ${index}`);
      await nextRound();
      server.receive(before, after);
      for (const [index, { client, events }] of passengers.entries()) {
        assert.equal(
          client.text,
          ANSWERS[index]!.toString('hex'),
          `client ${index}, cut at ${before.length}`,
        );
        assert.deepEqual(events, [index === 2 ? 'answered 1146' : 'answered 0']);
      }
      assert.equal(emptied(), 1);
    }
  });

  test('may come byte by byte', async () => {
    const { lane, server, emptied } = lay();
    const passengers = ANSWERS.map(() => new Passenger(lane, true));
    for (const passenger of passengers) passenger.ask('select 1');
    await nextRound();
    const bytes = Buffer.concat(ANSWERS);
    for (let offset = 0; offset < bytes.length; offset++) server.receive(bytes.subarray(offset, offset + 1));
    for (const [index, { client }] of passengers.entries()) {
      assert.equal(client.text, ANSWERS[index]!.toString('hex'));
    }
    assert.equal(emptied(), 1);
  });

  test('are each looked at for a refusal, which concerns one session only', async () => {
    for (const [before, after] of cuts(Buffer.concat([rows(1), REFUSAL, rows(2)]))) {
      const { lane, server } = lay();
      const [one, refused, two] = [
        new Passenger(lane, true),
        new Passenger(lane, true),
        new Passenger(lane, true),
      ];
      for (const passenger of [one, refused, two]) passenger.ask('select f()');
      await nextRound();
      server.receive(before, after);
      assert.equal(one.client.text, rows(1).toString('hex'), `cut at ${before.length}`);
      assert.equal(two.client.text, rows(2).toString('hex'));
      assert.equal(refused.client.text, '');
      assert.deepEqual(refused.events, ['refused 1290']);
    }
  });

  test('for a session that is over are for nobody, and disturb nobody', async () => {
    for (const [before, after] of cuts(Buffer.concat([rows(1), rows(2), rows(3)]))) {
      const { lane, server, emptied } = lay();
      const [one, over, two] = [new Passenger(lane), new Passenger(lane), new Passenger(lane)];
      for (const passenger of [one, over, two]) passenger.ask('select 1');
      await nextRound();
      server.receive(before);
      const seen = over.client.text;
      over.relay.stop();
      server.receive(after);
      assert.equal(over.client.text, seen, `cut at ${before.length}`);
      assert.equal(one.client.text, rows(1).toString('hex'));
      assert.equal(two.client.text, rows(3).toString('hex'));
      assert.equal(emptied(), 1);
    }
  });
});

suite('statements', () => {
  test('of one round of the event loop go out in one write, in the order in which they came', async () => {
    const { lane, server } = lay();
    for (const sql of ['one', 'two', 'three']) new Passenger(lane).ask(sql);
    assert.equal(server.written.length, 0);
    await nextRound();
    assert.equal(server.written.length, 1);
    assert.equal(server.text, Buffer.concat(['one', 'two', 'three'].map(query)).toString('hex'));
  });

  test('that come while the server is at work go out together, once it has answered half of what it had', async () => {
    const { lane, server } = lay();
    const texts = ['one', 'two', 'three', 'four', 'five', 'six'];
    for (const sql of texts.slice(0, 4)) new Passenger(lane).ask(sql);
    await nextRound();
    new Passenger(lane).ask(texts[4]!);
    await nextRound();
    server.receive(rows(1));
    new Passenger(lane).ask(texts[5]!);
    await nextRound();
    assert.equal(server.written.length, 1);
    server.receive(rows(2));
    await nextRound();
    assert.equal(server.written.length, 2);
    assert.equal(server.text, Buffer.concat(texts.map(query)).toString('hex'));
  });

  test('that do not fit into one write keep their order', async () => {
    const { lane, server } = lay();
    const texts = ['first', 'x'.repeat(9000), 'y'.repeat(9000), 'z'.repeat(15_000), 'last'];
    for (const sql of texts) new Passenger(lane).ask(sql);
    await nextRound();
    assert.equal(server.text, Buffer.concat(texts.map(query)).toString('hex'));
  });

  test('of those who had a place already keep their order while the kernel takes no more, whatever their size', async () => {
    const { lane, server } = lay();
    server.full = true;
    const texts = ['one', 'two', 'x'.repeat(15_000), 'y'.repeat(9000), 'z'.repeat(9000), 'last'];
    const passengers = texts.map(() => new Passenger(lane));
    passengers[0]!.ask(texts[0]!);
    await nextRound();
    assert.equal(lane.admits(MOST, FAST_MS), false);
    for (const [index, passenger] of passengers.entries()) if (index > 0) passenger.ask(texts[index]!);
    for (let answered = 1; answered < texts.length; answered++) {
      server.receive(rows(answered));
      await nextRound();
    }
    assert.equal(server.text, Buffer.concat(texts.map(query)).toString('hex'));
    server.full = false;
    lane.onBackendDrain();
    assert.equal(lane.admits(100, FAST_MS), true);
  });
});

suite('a lane admits', () => {
  test('as many as may ride, places that are kept among them', () => {
    const { lane } = lay();
    for (let count = 0; count < MOST - 1; count++) new Passenger(lane).ask('select 1');
    assert.equal(lane.admits(MOST, FAST_MS), true);
    lane.reserve();
    assert.equal(lane.depth, MOST);
    assert.equal(lane.admits(MOST, FAST_MS), false);
    lane.cancel();
    assert.equal(lane.admits(MOST, FAST_MS), true);
  });

  test('nobody while its first statement is slow, and somebody again after it', async () => {
    const { lane, server, clock } = lay();
    new Passenger(lane).ask('slow');
    new Passenger(lane).ask('quick');
    await nextRound();
    clock.advance(10 * FAST_MS - 0.5);
    assert.equal(lane.admits(MOST, FAST_MS), true);
    clock.advance(0.5);
    assert.equal(lane.admits(MOST, FAST_MS), false);
    server.receive(rows(1));
    assert.equal(lane.admits(MOST, FAST_MS), true, 'the second has only now its turn');
  });

  test('nobody while a client is slow to take its answer', async () => {
    const { lane, server } = lay();
    const slow = new Passenger(lane);
    slow.ask('select 1');
    new Passenger(lane).ask('select 2');
    await nextRound();
    slow.client.full = true;
    server.receive(rows(1).subarray(0, 20));
    assert.equal(lane.admits(MOST, FAST_MS), false);
    slow.relay.onDrain();
    assert.equal(lane.admits(MOST, FAST_MS), true);
  });
});

suite('a client that is slow', () => {
  test('keeps the others waiting for a moment only: then they are told that the connection is lost', async () => {
    const { lane, server, clock } = lay();
    const slow = new Passenger(lane);
    slow.client.full = true;
    slow.ask('select 1');
    const other = new Passenger(lane);
    other.ask('select 2');
    await nextRound();
    server.receive(rows(1).subarray(0, 20));
    clock.advance(99);
    assert.equal(server.closed, false);
    clock.advance(1);
    assert.equal(server.closed, true);
  });

  test('stops the connection while its answer goes on, until it has taken it', async () => {
    const { lane, server } = lay();
    const slow = new Passenger(lane);
    slow.ask('select 1');
    await nextRound();
    slow.client.full = true;
    const answer = rows(1, 2, 3);
    server.receive(answer.subarray(0, 20));
    assert.equal(server.paused, true);
    slow.client.full = false;
    slow.relay.onDrain();
    assert.equal(server.paused, false);
    server.receive(answer.subarray(20));
    assert.equal(slow.client.text, answer.toString('hex'));
  });

  test('stops nobody once its answer has ended: the connection may serve others', async () => {
    const { lane, server, emptied } = lay();
    const slow = new Passenger(lane);
    slow.ask('select 1');
    await nextRound();
    slow.client.full = true;
    server.receive(rows(1));
    assert.equal(emptied(), 1);
    assert.equal(server.paused, false);
  });

  test('gets bytes that stay as they are, whatever the server sends next', async () => {
    const { lane, server } = lay();
    const [slow, next] = [new Passenger(lane), new Passenger(lane)];
    const given: Buffer[] = [];
    slow.client.write = (bytes) => {
      given.push(bytes);
      return false;
    };
    slow.ask('select 1');
    next.ask('select 2');
    await nextRound();
    server.receive(rows(1), rows(2));
    assert.equal(Buffer.concat(given).toString('hex'), rows(1).toString('hex'));
  });

  test('and goes away lets the others go on', async () => {
    const { lane, server } = lay();
    const [slow, next] = [new Passenger(lane), new Passenger(lane)];
    slow.ask('select 1');
    next.ask('select 2');
    await nextRound();
    slow.client.full = true;
    server.receive(rows(1, 2).subarray(0, 20));
    assert.equal(server.paused, true);
    slow.relay.stop();
    assert.equal(server.paused, false);
    server.receive(rows(1, 2).subarray(20), rows(3));
    assert.equal(next.client.text, rows(3).toString('hex'));
  });
});

suite('a lane whose connection is lost', () => {
  test('tells each session what its client has seen: nothing, or a part', async () => {
    for (let length = 0; length < rows(1).length; length++) {
      const { lane, server, emptied } = lay();
      const [first, second] = [new Passenger(lane), new Passenger(lane)];
      first.ask('select 1');
      second.ask('select 2');
      await nextRound();
      server.receive(rows(1).subarray(0, length));
      server.closed = true;
      lane.onBackendClose('reset');
      assert.deepEqual(first.events, [length === 0 ? 'lost reset' : 'gone reset'], `after ${length} bytes`);
      assert.deepEqual(second.events, ['lost reset']);
      assert.equal(emptied(), 1);
    }
  });

  test('counts a refusal that was held back as nothing', async () => {
    const { lane, server } = lay();
    const passenger = new Passenger(lane, true);
    passenger.ask('select f()');
    await nextRound();
    server.receive(REFUSAL.subarray(0, -1));
    server.closed = true;
    lane.onBackendClose('reset');
    assert.deepEqual(passenger.events, ['lost reset']);
    assert.equal(passenger.client.text, '');
  });

  test('does not tell sessions that are over', async () => {
    const { lane, server } = lay();
    const passenger = new Passenger(lane);
    passenger.ask('select 1');
    await nextRound();
    passenger.relay.stop();
    server.closed = true;
    lane.onBackendClose('reset');
    assert.deepEqual(passenger.events, []);
  });

  test('sends nothing of what had not gone out', async () => {
    const { lane, server } = lay();
    new Passenger(lane).ask('select 1');
    server.closed = true;
    lane.onBackendClose('reset');
    await nextRound();
    assert.equal(server.text, '');
  });

  test('while a place is kept ends only with that place, and tells who comes to it', () => {
    const { lane, server, emptied } = lay();
    const passenger = new Passenger(lane);
    lane.reserve();
    server.closed = true;
    lane.onBackendClose('reset');
    assert.equal(emptied(), 0);
    passenger.ask('select 1');
    assert.equal(passenger.events.length, 1);
    assert.match(passenger.events[0]!, /^lost /);
    lane.cancel();
    assert.equal(emptied(), 1);
    assert.equal(server.text, '');
  });
});

test('an answer to what has not been sent yet is a goodbye: who waits is told so, and nothing goes out later', async () => {
  const { lane, server } = lay();
  const [first, second] = [new Passenger(lane), new Passenger(lane)];
  first.ask('one');
  await nextRound();
  server.receive(rows(1).subarray(0, 5));
  second.ask('two');
  await nextRound();
  server.receive(Buffer.concat([rows(1).subarray(5), FAILURE]));
  assert.equal(server.closed, true);
  lane.onBackendClose('gone');
  await nextRound();
  assert.deepEqual(first.events, ['answered 0']);
  assert.deepEqual(second.events, ['lost gone']);
  assert.equal(server.text, query('one').toString('hex'));
});

test('bytes that nobody asked for close the connection', async () => {
  const { lane, server } = lay();
  const passenger = new Passenger(lane);
  passenger.ask('select 1');
  await nextRound();
  server.receive(Buffer.concat([rows(1), writeOk(1)]));
  assert.equal(passenger.client.text, rows(1).toString('hex'));
  assert.equal(server.closed, true);
});
