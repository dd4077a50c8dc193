/**
 * A load client for TLS, a program of its own as sysbench is one: clients that log in, then ask for one row
 * by its primary key again and again, each query a round trip. It says what it measured as one line of JSON.
 *
 * It exists because MySQL begins TLS in the middle of a connection and HAProxy, which does not know MySQL,
 * only from the first byte. sysbench can do the one and not the other; this can do both, and from the login
 * on does the same work for each.
 *
 *   node bench/tls-client.ts PORT CLIENTS SECONDS ROWS plain|first-byte|in-band
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import tls from 'node:tls';
import { systemClock, sleep } from '../src/base/clock.ts';
import { Capability, Collation, Command } from '../src/protocol/constants.ts';
import { PacketFramer } from '../src/protocol/framer.ts';
import { ClientLogin, type ClientStep } from '../src/protocol/login-client.ts';
import { writeCommand } from '../src/protocol/packets.ts';
import { NOT_ENDED, ReplyTracker } from '../src/protocol/reply-tracker.ts';
import type { TlsLoadOutcome, TlsStart } from './tls-load.ts';

const LARGEST_LOGIN_PACKET = 65_536;
/** The certificate of the bench is self-signed. */
const TLS_OPTIONS = { rejectUnauthorized: false } as const;
const [port, clients, seconds, rows] = process.argv.slice(2, 6).map(Number) as [
  number,
  number,
  number,
  number,
];
const start = process.argv[6] as TlsStart;

async function main(): Promise<void> {
  const connections: Connection[] = [];
  for (let index = 0; index < clients; index++) connections.push(await logIn());
  const startedMs = systemClock.nowMs();
  for (const connection of connections) connection.ask();
  // The timer alone would not keep the process alive; the sockets do.
  await sleep(systemClock, seconds * 1000);
  const elapsedSeconds = (systemClock.nowMs() - startedMs) / 1000;
  const times = connections.flatMap(({ timesMs }) => timesMs).sort((one, other) => one - other);
  const outcome: TlsLoadOutcome = {
    queries: times.length,
    queriesPerSecond: times.length / elapsedSeconds,
    p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
  };
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  process.exit(0);
}

/** One client that has logged in. */
class Connection {
  readonly timesMs: number[] = [];
  readonly #socket: Socket;
  readonly #tracker: ReplyTracker;
  #askedMs = 0;

  constructor(socket: Socket, capabilities: number) {
    this.#socket = socket;
    this.#tracker = new ReplyTracker(capabilities);
    socket.removeAllListeners('data');
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('close', () => fail('a connection was closed'));
  }

  ask(): void {
    const id = 1 + Math.floor(systemClock.random() * rows);
    this.#tracker.begin(Command.QUERY);
    this.#askedMs = systemClock.nowMs();
    this.#socket.write(writeCommand(Command.QUERY, `SELECT c FROM sbtest1 WHERE id=${id}`));
  }

  #receive(chunk: Buffer): void {
    if (this.#tracker.feed(chunk, 0, chunk.length) === NOT_ENDED) return;
    if (this.#tracker.errno !== 0) fail(`error ${this.#tracker.errno}`);
    this.timesMs.push(systemClock.nowMs() - this.#askedMs);
    this.ask();
  }
}

async function logIn(): Promise<Connection> {
  let socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  if (start === 'first-byte') socket = await secured(socket);
  const login = new ClientLogin({
    user: 'app',
    secret: { password: 'app' },
    database: 'demo',
    collation: Collation.UTF8MB4_GENERAL_CI,
    capabilities: Capability.TRANSACTIONS | Capability.DEPRECATE_EOF,
    tls: start === 'in-band' ? 'required' : 'off',
    secure: start === 'first-byte',
  });
  const framer = new PacketFramer(LARGEST_LOGIN_PACKET);
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    let packet = framer.next(chunk);
    while (packet !== undefined) {
      const step = login.receive(packet.payload, packet.sequence);
      if (step.kind === 'ok') return new Connection(socket, login.capabilities);
      if (step.kind === 'tls') {
        socket.write(step.bytes);
        socket = await secured(socket);
        send(socket, login.secured());
      } else {
        send(socket, step);
      }
      packet = framer.next();
    }
  }
}

async function secured(socket: Socket): Promise<Socket> {
  const encrypted = tls.connect({ socket, ...TLS_OPTIONS });
  await once(encrypted, 'secureConnect');
  return encrypted;
}

function send(socket: Socket, step: ClientStep): void {
  if (step.kind === 'send') socket.write(step.bytes);
  else if (step.kind !== 'wait') fail(`the login came to ${step.kind}`);
}

function fail(reason: string): never {
  process.stderr.write(`tls-client: ${reason}\n`);
  process.exit(1);
}

// Last: a class is not there before its place in the file.
await main();
