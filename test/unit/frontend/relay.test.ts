/**
 * The relay between two sockets whose kernel the test plays: what it does while a write has not been taken.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteSocket } from '../../../src/base/socket.ts';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Relay, type RelayHost } from '../../../src/frontend/relay.ts';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { writeCommand, writeOk } from '../../../src/protocol/packets.ts';

/** Stands for both kinds of socket; `full` says that the kernel takes no more. */
class PlayedSocket {
  readonly input = Buffer.alloc(16 * 1024);
  readonly capabilities = Capability.DEPRECATE_EOF;
  readonly loginOk = { status: 2, warnings: 0 };
  readonly written: Buffer[] = [];
  full = false;
  paused = false;
  handler: unknown;
  user: unknown;

  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes));
    return !this.full;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  get text(): string {
    return Buffer.concat(this.written).toString('hex');
  }
}

function play() {
  const client = new PlayedSocket();
  const backend = new PlayedSocket();
  const commands: number[] = [];
  const host: RelayHost = {
    onCommand: (payload) => void commands.push(payload[0]!),
    onSent: () => undefined,
    onAnswered: () => undefined,
    onProtocolError: () => assert.fail('protocol error'),
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
