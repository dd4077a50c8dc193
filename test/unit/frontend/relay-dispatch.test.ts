/**
 * The relay of a session that changes connections: what it asks its dispatcher, and what it does to answers on
 * their way. A chunk may end anywhere, so answers are cut at every offset.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ByteStream } from '../../../src/base/socket.ts';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Relay, type Dispatcher, type RelayHost } from '../../../src/frontend/relay.ts';
import { INSPECT_BYTES } from '../../../src/frontend/first-look.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import {
  writeCommand,
  writeError,
  writeOk,
  writePayload,
  writeResultSet,
} from '../../../src/protocol/packets.ts';
import { cuts, PlayedSocket } from '../../support/played-socket.ts';

const FLAGS: number = Capability.DEPRECATE_EOF;

/** What happened, in words and in order. */
type Event = string;

type Route = (command: number, payload: Buffer) => boolean;

interface Stage {
  readonly relay: Relay;
  readonly client: PlayedSocket;
  readonly server: PlayedSocket;
  readonly events: Event[];
  /** Bytes of the client. */
  readonly ask: (...parts: Buffer[]) => void;
}

/** A session with a connection attached, whose dispatcher does as `route` says; by default all passes. */
function play(route: Route = () => true, large: Route = () => true): Stage {
  const client = new PlayedSocket(0);
  const server = new PlayedSocket(FLAGS);
  const events: Event[] = [];
  const dispatcher: Dispatcher = {
    route: (command, bytes, start, end) => {
      assert.equal(bytes[start], command);
      events.push(`route ${bytes.toString('latin1', start + 1, end)}`);
      return route(command, bytes.subarray(start, end));
    },
    routeLarge: (command, bytes, start, end) => {
      assert.equal(bytes[start], command);
      assert.ok(end - start >= 5, 'the number of a prepared statement is there');
      events.push(`large ${bytes.toString('latin1', start + 1, start + 5)}`);
      return large(command, bytes.subarray(start, end));
    },
    onAnswered: () => void events.push(`answered ${relay.tracker.errno}`),
    onAnswerTaken: () => void events.push('taken'),
    onRefused: (errno, answer) => void events.push(`refused ${errno} ${answer.toString('hex')}`),
    onLost: (reason) => void events.push(`lost ${reason}`),
  };
  const host: RelayHost = {
    onCommand: (payload) => void events.push(`host ${payload[0]}`),
    onSent: () => undefined,
    onAnswerEnds: () => undefined,
    onAnswered: () => undefined,
    onProtocolError: () => assert.fail('no MySQL'),
    onTooLarge: () => assert.fail('too large'),
    onClientGone: () => undefined,
    onBackendGone: (reason) => void events.push(`gone ${reason}`),
  };
  const flags = { capabilities: FLAGS, extendedCapabilities: 0, loginOk: server.loginOk };
  const relay: Relay = new Relay(client as unknown as ByteStream, flags, host, dispatcher);
  relay.attach(server as unknown as BackendConnection);
  relay.begin(0);
  return { relay, client, server, events, ask: (...parts) => client.receiveFor(relay, ...parts) };
}

function query(sql: string): Buffer {
  return writeCommand(Command.QUERY, Buffer.from(sql));
}

const OK = writeOk(1);
const ENDED = 'answered 0';

/** A result of one column and one row. */
const RESULT = writeResultSet([{ name: 'a', type: 'integer' }], [[5]], FLAGS);
/** A definition of a column, as it is in it. */
const DEFINITION = RESULT.subarray(5, 5 + 4 + RESULT.readUIntLE(5, 3));

function failure(errno: number, sequence = 1): Buffer {
  return writeError(sequence, { errno, sqlState: 'HY000', message: 'it does not take that' });
}

suite('a command', () => {
  test('is shown whole to the dispatcher once, and passes as it lies', () => {
    const { server, events, ask } = play();
    ask(query('select 1'));
    assert.deepEqual(events, ['route select 1']);
    assert.equal(server.text, query('select 1').toString('hex'));
  });

  test('is shown whole wherever it is cut', () => {
    for (const [before, after] of cuts(query('select 1'))) {
      const { server, events, ask } = play();
      ask(before, after);
      assert.deepEqual(events, ['route select 1'], `cut at ${before.length}`);
      assert.equal(server.text, query('select 1').toString('hex'));
    }
  });

  test('waits for the answer to the one before it', () => {
    const { server, events, ask } = play();
    ask(Buffer.concat([query('one'), query('two')]));
    server.receive(OK);
    assert.deepEqual(events, ['route one', ENDED, 'route two']);
    server.receive(OK);
    assert.deepEqual(events.slice(3), [ENDED]);
  });

  test('that the dispatcher takes is not sent, and nothing more is taken before it is dealt with', () => {
    const ways: Record<string, (relay: Relay) => void> = {
      answer: (relay) => relay.answer(OK),
      skip: (relay) => relay.skip(),
    };
    for (const [way, deal] of Object.entries(ways)) {
      const { relay, server, events, ask } = play(
        (_command, payload) => payload.toString('latin1', 1) !== 'one',
      );
      ask(Buffer.concat([query('one'), query('two')]));
      assert.deepEqual(events, ['route one'], way);
      deal(relay);
      assert.deepEqual(events, ['route one', 'route two'], way);
      assert.equal(server.text, query('two').toString('hex'), way);
    }
  });

  test('may be forwarded later, changed, to another connection', () => {
    const { relay, client, server, ask } = play(() => false);
    ask(query('one'));
    relay.detach();
    const other = new PlayedSocket(FLAGS);
    relay.attach(other as unknown as BackendConnection);
    relay.forward(query('changed').subarray(4));
    assert.equal(server.text, '');
    assert.equal(other.text, query('changed').toString('hex'));
    other.receive(OK);
    assert.equal(client.text, OK.toString('hex'));
  });

  test('that ends the session, or is about who it is, is the host’s', () => {
    for (const command of [Command.QUIT, Command.CHANGE_USER, Command.RESET_CONNECTION]) {
      const { events, ask } = play();
      ask(writeCommand(command, Buffer.from('x')));
      assert.deepEqual(events, [`host ${command}`]);
    }
  });
});

suite('a command too large to be looked at', () => {
  const LENGTH = INSPECT_BYTES + 1;
  const large = Buffer.alloc(4 + LENGTH, 'x');
  large.writeUIntLE(LENGTH, 0, 3);
  large[3] = 0;
  large[4] = Command.QUERY;

  /** The command in chunks no larger than an input buffer; the first ends at `offset`. */
  function chunks(offset: number): Buffer[] {
    const parts = [large.subarray(0, offset)];
    for (let at = offset; at < large.length; at += 16 * 1024) parts.push(large.subarray(at, at + 16 * 1024));
    return parts;
  }

  test('passes when the dispatcher says so, wherever its beginning is cut', () => {
    for (let offset = 1; offset <= 12; offset++) {
      const { server, events, ask } = play();
      ask(...chunks(offset));
      assert.deepEqual(events, ['large xxxx'], `cut at ${offset}`);
      assert.equal(Buffer.concat(server.written).equals(large), true, `cut at ${offset}`);
    }
  });

  test('waits where it is until it may pass, wherever its beginning is cut', () => {
    for (let offset = 1; offset <= 12; offset++) {
      const { relay, client, server, events, ask } = play(undefined, () => false);
      const parts = chunks(offset);
      const rest = parts.slice();
      while (events.length === 0) ask(rest.shift()!);
      assert.equal(client.paused || rest.length > 0, true);
      assert.equal(server.text, '', `cut at ${offset}`);
      relay.resumeLarge();
      ask(...rest);
      assert.deepEqual(events, ['large xxxx'], `cut at ${offset}`);
      assert.equal(Buffer.concat(server.written).equals(large), true, `cut at ${offset}`);
    }
  });

  test('that was refused before its server took it whole leaves the client paused no longer than that server lives', () => {
    for (const isAnswered of [true, false]) {
      const { relay, client, server, events, ask } = play();
      server.full = true;
      ask(query('too much'));
      assert.ok(client.paused, 'for the server');
      if (isAnswered) server.receive(failure(1153));
      relay.onBackendClose('goodbye');
      assert.equal(relay.abandonAnswer(), !isAnswered);
      relay.detach();
      if (isAnswered) relay.goOn();
      else relay.answer(failure(1927));
      assert.ok(!client.paused, 'it may speak');
      const other = new PlayedSocket(FLAGS);
      relay.attach(other as unknown as BackendConnection);
      ask(query('next'));
      assert.equal(events.at(-1), 'route next');
      assert.equal(other.text, query('next').toString('hex'));
    }
  });

  test('has not been sent whole when its connection is lost on the way', () => {
    const { relay, server, events, ask } = play();
    ask(large.subarray(0, 100));
    server.user!.onBackendClose('reset');
    assert.deepEqual(events, ['large xxxx', 'lost reset']);
    assert.equal(relay.abandonAnswer(), false);
  });
});

suite('answers to commands of the dispatcher’s own', () => {
  const SET = query('SET SESSION a = 1');
  const USE = writeCommand(Command.INIT_DB, Buffer.from('db'));
  const QUIET = writeOk(1, { status: 2 });
  const LOUD = writeOk(1, { status: 3 });

  function begun(hidden: Buffer[]): Stage {
    const stage = play(() => false);
    stage.ask(query('select 1'));
    stage.relay.forwardAfter(hidden, query('select 1').subarray(4));
    return stage;
  }

  test('do not reach the client, wherever they are cut', () => {
    for (const [before, after] of cuts(Buffer.concat([QUIET, LOUD, RESULT]))) {
      const { relay, client, server, events } = begun([USE, SET]);
      assert.equal(server.written.length, 1, 'all in one write');
      assert.equal(server.text, Buffer.concat([USE, SET, query('select 1')]).toString('hex'));
      server.receive(before, after);
      assert.equal(client.text, RESULT.toString('hex'), `cut at ${before.length}`);
      assert.deepEqual(events.slice(1), [ENDED]);
      assert.equal(relay.bytesToClient, RESULT.length);
      assert.equal(relay.idle, true);
    }
  });

  test('may be an error that does no harm: the client gets its answer, and it is told of', () => {
    for (const [before, after] of cuts(Buffer.concat([failure(1305), RESULT]))) {
      const stage = play(() => false);
      const { relay, client, server, events, ask } = stage;
      ask(query('commit'));
      const told: number[] = [];
      relay.forwardAfter([SET], query('commit').subarray(4), (errno) => told.push(errno) > 0);
      server.receive(before, after);
      assert.equal(client.text, RESULT.toString('hex'), `cut at ${before.length}`);
      assert.deepEqual([told, server.closed, events.at(-1)], [[1305], false, ENDED]);
    }
  });

  test('close the connection when one is an error, and the client sees nothing of what came behind it', () => {
    const answers = Buffer.concat([QUIET, failure(1193), RESULT]);
    for (const [before, after] of cuts(answers)) {
      const { relay, client, server, events } = begun([USE, SET]);
      server.receive(before);
      if (!server.closed) server.receive(after);
      assert.equal(server.closed, true, `cut at ${before.length}`);
      server.user!.onBackendClose('closed');
      assert.deepEqual(events.slice(1), ['lost closed']);
      assert.equal(relay.abandonAnswer(), true, 'the statement may be sent again');
      assert.equal(client.text, '');
    }
  });

  test('that are cut off by the end of the connection leave the client without a byte: it is lost, not gone', () => {
    for (const [before] of cuts(Buffer.concat([QUIET, LOUD]))) {
      const { client, server, events } = begun([USE, SET]);
      server.receive(before);
      server.user!.onBackendClose('reset');
      assert.deepEqual(events.slice(1), ['lost reset'], `cut at ${before.length}`);
      assert.equal(client.text, '');
    }
  });

  test('say nothing of warnings and insert ids to who asks the tracker', () => {
    const { relay, server } = begun([SET]);
    server.receive(writeOk(1, { insertId: 7, warnings: 3 }), OK);
    assert.deepEqual([relay.tracker.warnings, relay.tracker.toldInsertId], [0, false]);
  });
});

suite('an answer that may be a refusal', () => {
  function begun(): Stage {
    const stage = play(() => {
      stage.relay.expectRefusal();
      return true;
    });
    stage.ask(query('select f()'));
    return stage;
  }

  for (const errno of [1290, 1792, 1836]) {
    test(`with ${errno} is kept from the client, wherever it is cut`, () => {
      const answer = failure(errno);
      for (const [before, after] of cuts(answer)) {
        const { relay, client, server, events } = begun();
        server.receive(before, after);
        assert.deepEqual(
          events.slice(1),
          [`refused ${errno} ${answer.toString('hex')}`],
          `cut at ${before.length}`,
        );
        assert.equal(client.text, '');
        assert.equal(relay.tracker.idle, true);
        assert.equal(relay.bytesToClient, 0);
      }
    });
  }

  const OTHERS: readonly [what: string, answer: Buffer, ended: Event][] = [
    ['another error', failure(1146), 'answered 1146'],
    ['an OK', OK, ENDED],
    ['rows', RESULT, ENDED],
    [
      'rows that end in a refusal: it comes too late',
      Buffer.concat([RESULT.subarray(0, -11), failure(1290, 4)]),
      'answered 1290',
    ],
  ];
  for (const [what, answer, ended] of OTHERS) {
    test(`passes when it is ${what}, wherever it is cut`, () => {
      for (const [before, after] of cuts(answer)) {
        const { client, server, events } = begun();
        server.receive(before, after);
        assert.equal(client.text, answer.toString('hex'), `cut at ${before.length}`);
        assert.deepEqual(events.slice(1), [ended]);
      }
    });
  }

  test('is not looked at a second time: the next answer passes', () => {
    const { client, server, relay, events, ask } = play(() => true);
    relay.expectRefusal();
    ask(query('one'));
    server.receive(OK);
    ask(query('two'));
    server.receive(failure(1290));
    assert.equal(client.text, Buffer.concat([OK, failure(1290)]).toString('hex'));
    assert.equal(events.at(-1), 'answered 1290');
  });

  test('and is cut off by the end of the connection leaves the client without a byte', () => {
    const answer = failure(1290);
    for (const [before] of cuts(answer.subarray(0, -1))) {
      const { client, server, events, relay } = begun();
      server.receive(before);
      server.user!.onBackendClose('reset');
      assert.deepEqual(events.slice(1), ['lost reset'], `cut at ${before.length}`);
      assert.equal(relay.abandonAnswer(), true);
      assert.equal(client.text, '');
    }
  });

  test('of a connection that was lost is not looked for on the next one', () => {
    const { relay, client, server } = begun();
    server.receive(failure(1290).subarray(0, 6));
    relay.abandonAnswer();
    relay.detach();
    const other = new PlayedSocket(FLAGS);
    relay.attach(other as unknown as BackendConnection);
    relay.forward(query('again').subarray(4));
    other.receive(failure(1290));
    assert.equal(client.text, failure(1290).toString('hex'), 'it is not looked at');
  });
});

test('what was held back of an answer that broke off is not put before the next one', () => {
  const { relay, client, server, ask } = play(() => false);
  ask(query('select f()'));
  relay.expectRefusal();
  relay.forward(query('select f()').subarray(4));
  server.receive(failure(1290).subarray(0, 6));
  relay.abandonAnswer();
  relay.detach();
  const other = new PlayedSocket(FLAGS);
  relay.attach(other as unknown as BackendConnection);
  relay.expectRefusal();
  relay.forward(query('select f()').subarray(4));
  other.receive(RESULT);
  assert.equal(client.text, RESULT.toString('hex'));
});

suite('the answer to PREPARE', () => {
  const SERVER_ID = 0x01020304;
  const CLIENT_ID = 0x7f00fe01;

  /** An OK of PREPARE with one parameter and one column, and their definitions. */
  function prepared(id: number): Buffer {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(id, 1);
    head.writeUInt16LE(1, 5);
    head.writeUInt16LE(1, 7);
    return Buffer.concat([writePayload(1, head), DEFINITION, DEFINITION]);
  }

  function begun(hidden: Buffer[] = []): Stage {
    const stage = play(() => false);
    stage.ask(writeCommand(Command.STMT_PREPARE, Buffer.from('select ?')));
    stage.relay.expectRefusal();
    stage.relay.expectPrepared(CLIENT_ID, false);
    stage.relay.forwardAfter(hidden, writeCommand(Command.STMT_PREPARE, Buffer.from('select ?')).subarray(4));
    return stage;
  }

  test('tells the client its own number, and the dispatcher the server’s, wherever it is cut', () => {
    for (const [before, after] of cuts(prepared(SERVER_ID))) {
      const { relay, client, server, events } = begun();
      server.receive(before, after);
      assert.equal(client.text, prepared(CLIENT_ID).toString('hex'), `cut at ${before.length}`);
      assert.equal(relay.preparedHead.readUInt32LE(5), SERVER_ID);
      assert.equal(relay.preparedHead.readUInt16LE(11), 1, 'parameters');
      assert.deepEqual(events.slice(1), [ENDED]);
    }
  });

  test('does so behind answers of the dispatcher’s own, too', () => {
    for (const [before, after] of cuts(Buffer.concat([OK, prepared(SERVER_ID)]))) {
      const { client, server, relay } = begun([query('SET a = 1')]);
      server.receive(before, after);
      assert.equal(client.text, prepared(CLIENT_ID).toString('hex'), `cut at ${before.length}`);
      assert.equal(relay.preparedHead.readUInt32LE(5), SERVER_ID);
    }
  });

  test('is not touched when it is an error, wherever it is cut', () => {
    for (const [before, after] of cuts(failure(1064))) {
      const { client, server, events } = begun();
      server.receive(before, after);
      assert.equal(client.text, failure(1064).toString('hex'), `cut at ${before.length}`);
      assert.deepEqual(events.slice(1), ['answered 1064']);
    }
  });

  test('is renamed once only: the answer to the next command is left alone', () => {
    const { relay, client, server, ask } = begun();
    server.receive(prepared(SERVER_ID));
    ask(query('select 1'));
    relay.forward(query('select 1').subarray(4));
    server.receive(OK);
    assert.equal(client.text, Buffer.concat([prepared(CLIENT_ID), OK]).toString('hex'));
  });
});

suite('an answer that is kept', () => {
  function kept(
    answer: Buffer,
    [before, after]: [Buffer, Buffer],
  ): { taken: Buffer | null; client: PlayedSocket } {
    const { relay, client, server, ask } = play(() => true);
    relay.keepAnswer();
    ask(query('SET a = 1'));
    server.receive(before, after);
    assert.equal(client.text, answer.toString('hex'));
    return { taken: relay.takeKept(), client };
  }

  test('is an OK’s payload, wherever it is cut', () => {
    for (const cut of cuts(OK))
      assert.deepEqual(kept(OK, cut).taken, OK.subarray(4), `cut at ${cut[0].length}`);
  });

  test('is none when it was more than one packet', () => {
    for (const cut of cuts(RESULT)) assert.equal(kept(RESULT, cut).taken, null, `cut at ${cut[0].length}`);
  });

  test('can be taken once', () => {
    const { relay, server, ask } = play(() => true);
    relay.keepAnswer();
    ask(query('SET a = 1'));
    server.receive(OK);
    assert.notEqual(relay.takeKept(), null);
    assert.equal(relay.takeKept(), null);
  });

  test('is not the one of the command before', () => {
    const { relay, server, ask } = play(() => true);
    relay.keepAnswer();
    ask(query('one'));
    server.receive(failure(1193));
    relay.keepAnswer();
    ask(query('two'));
    server.receive(OK);
    assert.deepEqual(relay.takeKept(), OK.subarray(4));
  });
});

suite('bytes that nobody asked for', () => {
  test('close the connection and do not reach the client', () => {
    const { client, server } = play();
    server.receive(failure(1053));
    assert.equal(server.closed, true);
    assert.equal(client.text, '');
  });

  test('behind an answer make the connection serve nobody else', () => {
    const { server, ask } = play();
    ask(query('one'));
    server.receive(Buffer.concat([OK, OK]));
    assert.equal(server.spoiled, true);
  });
});

suite('a connection that is lost', () => {
  test('before a byte of the answer is the dispatcher’s affair', () => {
    const { relay, server, events, ask } = play();
    ask(query('one'));
    server.user!.onBackendClose('reset');
    assert.deepEqual(events.slice(1), ['lost reset']);
    assert.equal(relay.abandonAnswer(), true);
  });

  test('after a byte of it ends the session: nothing can be sent again', () => {
    for (let length = 1; length < RESULT.length; length++) {
      const { server, events, ask } = play();
      ask(query('one'));
      server.receive(RESULT.subarray(0, length));
      server.user!.onBackendClose('reset');
      assert.deepEqual(events.slice(1), ['gone reset'], `after ${length} bytes`);
    }
  });
});

suite('a client that does not take its answer', () => {
  test('keeps the connection’s input as it is, and is waited for before its next command', () => {
    const { relay, client, server, events, ask } = play();
    ask(Buffer.concat([query('one'), query('two')]));
    client.full = true;
    server.receive(OK);
    assert.equal(relay.answerUntaken, true);
    assert.equal(server.paused, true);
    assert.deepEqual(events, ['route one', ENDED]);
    client.full = false;
    relay.onDrain();
    assert.equal(relay.answerUntaken, false);
    assert.equal(server.paused, false);
    assert.deepEqual(events, ['route one', ENDED, 'taken', 'route two']);
  });

  test('is read from again on the connection that it was slow on, not on the one attached since', () => {
    const { relay, client, server, ask } = play();
    ask(query('one'));
    client.full = true;
    server.receive(OK);
    relay.detach();
    const other = new PlayedSocket(FLAGS);
    relay.attach(other as unknown as BackendConnection);
    relay.onDrain();
    assert.equal(server.paused, false);
    assert.equal(other.paused, false);
  });
});

test('a connection takes the status flags of its last answer with it', () => {
  const { relay, server, ask } = play();
  ask(query('begin'));
  server.receive(writeOk(1, { status: 3 }));
  relay.detach();
  assert.equal(server.loginOk.status, 3);
  const other = new PlayedSocket(FLAGS);
  relay.attach(other as unknown as BackendConnection);
  assert.equal(relay.tracker.status, 2);
  assert.equal(server.user, null);
});
