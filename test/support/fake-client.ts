/**
 * A client that speaks packet by packet, or byte by byte, and says what it likes: for what no driver does.
 */
import { once } from 'node:events';
import net from 'node:net';
import type { Endpoint } from '../../src/base/address.ts';
import { Capability, Collation } from '../../src/protocol/constants.ts';
import { PacketFramer } from '../../src/protocol/framer.ts';
import { ClientLogin } from '../../src/protocol/login-client.ts';
import { parseError, type ErrorPacket } from '../../src/protocol/packets.ts';
import { Inbox } from './inbox.ts';

/** A packet from the server, or null: the connection is closed. */
export type Received = { payload: Buffer; sequence: number } | null;

export interface FakeLogin {
  user?: string;
  password?: string;
  database?: string;
  capabilities?: number;
}

export class FakeClient {
  readonly socket: net.Socket;
  readonly #packets = new Inbox<Received>();
  readonly #framer = new PacketFramer(0xfffffe);
  #closed = false;
  /** Bytes received so far. */
  receivedBytes = 0;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      for (let packet = this.#framer.next(chunk); packet !== undefined; packet = this.#framer.next()) {
        this.#packets.put({ payload: Buffer.from(packet.payload), sequence: packet.sequence });
      }
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#packets.put(null);
    });
  }

  static async connect(endpoint: Endpoint): Promise<FakeClient> {
    if (endpoint.kind !== 'tcp') throw new Error('tcp only');
    const socket = net.connect({ host: endpoint.host, port: endpoint.port, noDelay: true });
    await once(socket, 'connect');
    return new FakeClient(socket);
  }

  /** Connects and logs in; fails with what the server says when it refuses. */
  static async loggedIn(endpoint: Endpoint, login: FakeLogin = {}): Promise<FakeClient> {
    const client = await FakeClient.connect(endpoint);
    const answer = await client.logIn(login);
    if (answer?.payload[0] !== 0) throw new Error(`login: ${JSON.stringify(answer && errorOf(answer))}`);
    return client;
  }

  /** Reads the greeting, answers, and answers auth switches; resolves with the last packet. */
  async logIn(options: FakeLogin = {}): Promise<Received> {
    const login = new ClientLogin({
      user: options.user ?? 'app',
      secret: { password: options.password ?? 'app' },
      database: options.database ?? '',
      collation: Collation.UTF8MB4_GENERAL_CI,
      capabilities: options.capabilities ?? Capability.DEPRECATE_EOF | Capability.TRANSACTIONS,
    });
    for (;;) {
      const packet = await this.packet();
      if (packet === null) return null;
      const step = login.receive(packet.payload, packet.sequence);
      if (step.kind === 'wait') continue;
      if (step.kind !== 'send') return packet;
      this.send(step.bytes);
    }
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Sends the parts so that the other side reads each on its own. */
  async sendInPieces(parts: Iterable<Buffer>): Promise<void> {
    for (const part of parts) {
      await new Promise((resolve) => this.socket.write(part, resolve));
      // The kernel hands over what has arrived; a turn of the loop lets the other side read it.
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  packet(): Promise<Received> {
    return this.#packets.take();
  }

  /** The next packet, which must be an ERR packet. */
  async error(): Promise<ErrorPacket & { sequence: number }> {
    const packet = await this.packet();
    if (packet === null) throw new Error('closed, where an ERR packet was expected');
    return errorOf(packet);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves when the server has closed; fails when it sends something first. */
  async end(): Promise<void> {
    const packet = await this.packet();
    if (packet !== null)
      throw new Error(`a packet, where the end was expected: ${packet.payload.toString('latin1')}`);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

function errorOf(packet: { payload: Buffer; sequence: number }): ErrorPacket & { sequence: number } {
  if (packet.payload[0] !== 0xff) throw new Error(`no ERR packet: ${packet.payload.toString('hex')}`);
  return { ...parseError(packet.payload), sequence: packet.sequence };
}
