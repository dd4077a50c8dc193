/**
 * The relay between two sockets whose kernel the test plays: what it does while a write has not been taken.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteSocket } from '../../../src/base/socket.ts';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Relay, type RelayHost } from '../../../src/frontend/relay.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { writeCommand, writeError, writeOk } from '../../../src/protocol/packets.ts';
import { PlayedSocket } from '../../support/played-socket.ts';

/** Stands among the commands for bytes that are none. */
const PROTOCOL_ERROR = -1;

function play() {
  const client = new PlayedSocket(Capability.DEPRECATE_EOF);
  const backend = new PlayedSocket(Capability.DEPRECATE_EOF);
  const commands: number[] = [];
  const host: RelayHost = {
    onCommand: (payload) => void commands.push(payload[0]!),
    onSent: () => undefined,
    onAnswerEnds: () => undefined,
    onAnswered: () => undefined,
    onProtocolError: () => void commands.push(PROTOCOL_ERROR),
    onTooLarge: () => assert.fail('too large'),
    onClientGone: () => undefined,
    onBackendGone: () => undefined,
  };
  const relay = new Relay(
    client as unknown as ByteSocket,
    backend as unknown as BackendConnection,
    host,
    false,
  );
  relay.begin(0);
  const fromClient = (bytes: Buffer): void => {
    assert.equal(client.paused, false, 'a paused socket reads nothing');
    bytes.copy(client.input);
    relay.onData(bytes.length);
  };
  const fromBackend = (bytes: Buffer): void => {
    assert.equal(backend.paused, false, 'a paused socket reads nothing');
    bytes.copy(backend.input);
    relay.onBackendData(bytes.length);
  };
  return { relay, client, backend, commands, fromClient, fromBackend };
}

const PING = writeCommand(Command.PING);
const QUIT = writeCommand(Command.QUIT);

test('while the client does not take its answer, the server is paused and its next command waits', () => {
  const { relay, client, backend, commands, fromClient, fromBackend } = play();
  fromClient(Buffer.concat([PING, PING, QUIT]));
  assert.equal(client.paused, true, 'what is left waits in the input buffer');
  client.full = true;
  fromBackend(writeOk(1));
  assert.equal(backend.paused, true);
  assert.equal(backend.written.length, 1, 'the second command waits');
  assert.equal(relay.reusable, false, 'the input is still being sent');
  client.full = false;
  relay.onDrain();
  assert.equal(backend.paused, false);
  assert.equal(backend.written.length, 2);
  client.full = true;
  fromBackend(writeOk(1));
  assert.deepEqual(commands, [], 'QUIT must not give the connection away yet');
  client.full = false;
  relay.onDrain();
  assert.deepEqual(commands, [Command.QUIT]);
  assert.equal(relay.reusable, true);
});

test('while the client does not take an answer of ours, no further command is taken', () => {
  const { relay, client, commands, fromClient } = play();
  const unknown = Buffer.from([0, 0, 0, 0]);
  fromClient(Buffer.concat([unknown, unknown, unknown]));
  assert.equal(commands.length, 1);
  client.full = true;
  relay.answer(writeOk(1));
  assert.equal(commands.length, 1);
  client.full = false;
  relay.onDrain();
  assert.equal(commands.length, 2);
});

test('while the server does not take a command, the client is paused and its input stays', () => {
  const { relay, client, backend, fromClient } = play();
  const body = writeCommand(Command.STMT_SEND_LONG_DATA, Buffer.alloc(1000, 7));
  backend.full = true;
  fromClient(Buffer.concat([body, PING]));
  assert.equal(client.paused, true);
  assert.equal(backend.written.length, 1);
  assert.equal(relay.reusable, false);
  backend.full = false;
  relay.onBackendDrain();
  assert.equal(client.paused, false);
  assert.equal(backend.text, Buffer.concat([body, PING]).toString('hex'));
});

test('a relay that was stopped takes nothing any more', () => {
  const { relay, backend, fromClient } = play();
  relay.stop();
  fromClient(PING);
  relay.onDrain();
  relay.onBackendDrain();
  assert.equal(backend.written.length, 0);
});

test('rest, work and transaction are told apart', () => {
  const { relay, fromClient, fromBackend } = play();
  assert.equal(relay.idle, true);
  assert.equal(relay.inTransaction, false);
  fromClient(PING);
  assert.equal(relay.idle, false);
  assert.equal(relay.answerStarted, false);
  const ok = writeOk(1, { status: 3 });
  fromBackend(ok.subarray(0, 3));
  assert.equal(relay.answerStarted, true);
  fromBackend(ok.subarray(3));
  assert.equal(relay.idle, true);
  assert.equal(relay.inTransaction, true);
  fromClient(PING.subarray(0, 2));
  assert.equal(relay.idle, false, 'half a command is on its way');
  assert.equal(relay.reusable, false);
});

/** A packet that a semi-synchronous replica sends while it gets events. */
function acknowledgement(): Buffer {
  const payload = Buffer.concat([Buffer.from([0xef]), Buffer.alloc(8, 4), Buffer.from('binlog.000001')]);
  return Buffer.concat([Buffer.from([payload.length, 0, 0, 5]), payload]);
}

const EVENT = Buffer.from([5, 0, 0, 1, 0, 1, 2, 3, 4]);
const DUMP = writeCommand(Command.BINLOG_DUMP, Buffer.alloc(10));

test('while events are sent, acknowledgements of the replica pass, wherever they are cut', () => {
  const ack = acknowledgement();
  for (let cut = 1; cut < ack.length; cut++) {
    const { backend, client, fromClient, fromBackend } = play();
    fromClient(DUMP);
    fromBackend(EVENT);
    fromClient(Buffer.concat([ack, ack.subarray(0, cut)]));
    fromBackend(EVENT);
    fromClient(ack.subarray(cut));
    assert.equal(backend.text, Buffer.concat([DUMP, ack, ack]).toString('hex'), `cut ${cut}`);
    assert.equal(client.text, Buffer.concat([EVENT, EVENT]).toString('hex'));
  }
});

test('a command behind a request for events waits for their end, and is looked at then', () => {
  const { relay, backend, client, commands, fromClient, fromBackend } = play();
  const reset = writeCommand(Command.RESET_CONNECTION);
  fromClient(Buffer.concat([DUMP, reset]));
  fromBackend(EVENT);
  assert.equal(client.paused, true);
  assert.deepEqual(commands, []);
  fromBackend(writeError(1, { errno: 1236, sqlState: 'HY000', message: 'no' }));
  assert.deepEqual(commands, [Command.RESET_CONNECTION]);
  assert.equal(backend.text, DUMP.toString('hex'), 'the server has not seen it');
  assert.equal(relay.reusable, false, 'a connection that sent events serves nobody else');
});

test('a goodbye ends the session while events are sent', () => {
  const { relay, commands, fromClient, fromBackend } = play();
  fromClient(DUMP);
  fromBackend(EVENT);
  assert.equal(relay.idle, false);
  fromClient(QUIT);
  assert.deepEqual(commands, [Command.QUIT]);
});

test('what is neither, in pieces while events are sent, is no MySQL', () => {
  const { commands, fromClient } = play();
  fromClient(DUMP);
  fromClient(PING.subarray(0, 3));
  fromClient(PING.subarray(3));
  assert.deepEqual(commands, [PROTOCOL_ERROR]);
});
