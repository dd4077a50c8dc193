/**
 * A MySQL server that does what a test tells it, for the faults that a real one cannot be made to show. It
 * greets and logs in by itself; from then on each command goes to `respond`, or waits for the test to take
 * it with `connection.command()` when `respond` answers undefined.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { Endpoint } from '../../src/base/address.ts';
import type { Secret } from '../../src/protocol/auth.ts';
import { Capability, Collation, Command } from '../../src/protocol/constants.ts';
import { PacketFramer } from '../../src/protocol/framer.ts';
import { ServerLogin, type LoginStep } from '../../src/protocol/login-server.ts';
import { toErrorPacket, writeError, writeOk } from '../../src/protocol/packets.ts';
import { Inbox } from './inbox.ts';

const CAPABILITIES = (0x1ffffff & ~Capability.SSL & ~Capability.COMPRESS & ~Capability.CONNECT_ATTRS) >>> 0;
const LARGEST = 0xfffffe;

export interface FakeServerOptions {
  /** Answers a command; undefined leaves it to the test. By default every command is answered with OK. */
  respond?: (command: Buffer, connection: FakeServerConnection) => Buffer | undefined;
  /** Takes the place of greeting and login: for servers that misbehave there. */
  onConnect?: (socket: net.Socket) => void;
  /** Accounts; by default `app` with password `app`. */
  accounts?: Record<string, Secret>;
  capabilities?: number;
}

export class FakeServer {
  readonly connections: FakeServerConnection[] = [];
  readonly #arrivals = new Inbox<FakeServerConnection>();
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  private constructor(server: net.Server) {
    this.#server = server;
  }

  static async start(options: FakeServerOptions = {}): Promise<FakeServer> {
    const listener = net.createServer({ noDelay: true });
    const server = new FakeServer(listener);
    listener.on('connection', (socket) => server.#connected(socket, options));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return server;
  }

  get endpoint(): Endpoint {
    return { kind: 'tcp', host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  /** Connections that are open now. */
  get openCount(): number {
    return this.#sockets.size;
  }

  /** The next connection that has logged in. */
  accepted(): Promise<FakeServerConnection> {
    return this.#arrivals.take();
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #connected(socket: net.Socket, options: FakeServerOptions): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    if (options.onConnect !== undefined) return options.onConnect(socket);
    const connection = new FakeServerConnection(socket, this.connections.length + 1, options, () =>
      this.#arrivals.put(connection),
    );
    this.connections.push(connection);
  }
}

export class FakeServerConnection {
  readonly socket: net.Socket;
  readonly threadId: number;
  /** Every command of the connection, payloads. */
  readonly log: Buffer[] = [];
  readonly #options: FakeServerOptions;
  readonly #commands = new Inbox<Buffer>();
  readonly #framer = new PacketFramer(LARGEST);
  readonly #login: ServerLogin;
  readonly #onLogin: () => void;
  #loggedIn = false;
  #hasLoggedIn = false;
  #greeted = false;

  constructor(socket: net.Socket, threadId: number, options: FakeServerOptions, onLogin: () => void) {
    this.socket = socket;
    this.threadId = threadId;
    this.#options = options;
    this.#onLogin = onLogin;
    const accounts = options.accounts ?? { app: { password: 'app' } };
    this.#login = new ServerLogin({
      connectionId: threadId,
      serverVersion: '5.5.5-10.11.6-MariaDB',
      capabilities: options.capabilities ?? CAPABILITIES,
      collation: Collation.UTF8MB4_GENERAL_CI,
      clientAddress: () => '127.0.0.1',
      findSecret: (user) => accounts[user],
    });
    socket.write(this.#login.greeting());
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
  }

  /** The next command that `respond` has left to the test. */
  command(): Promise<Buffer> {
    return this.#commands.take();
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** The command bytes seen so far, for short comparisons. */
  get commandBytes(): number[] {
    return this.log.map((command) => command[0]!);
  }

  async closed(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, 'close');
  }

  #receive(chunk: Buffer): void {
    for (let packet = this.#framer.next(chunk); packet !== undefined; packet = this.#framer.next()) {
      if (this.#loggedIn) this.#take(Buffer.from(packet.payload));
      else this.#step(this.#login.receive(packet.payload, packet.sequence));
    }
  }

  #take(command: Buffer): void {
    this.log.push(command);
    if (command[0] === Command.CHANGE_USER) {
      const answer = this.#options.respond?.(command, this);
      if (answer !== undefined) return this.send(answer);
      this.#loggedIn = false;
      return this.#step(this.#login.changeUser(command, CAPABILITIES));
    }
    const answer = this.#options.respond === undefined ? writeOk(1) : this.#options.respond(command, this);
    if (answer === undefined) this.#commands.put(command);
    else this.send(answer);
  }

  #step(step: LoginStep): void {
    switch (step.kind) {
      case 'send':
        return this.send(step.bytes);
      case 'unproven':
        return this.#step(this.#login.deny());
      case 'tls':
        throw new Error('this server does not offer TLS');
      case 'refused':
        if (!this.#hasLoggedIn) this.socket.end(writeError(step.sequence, toErrorPacket(step.error)));
        else this.send(writeError(step.sequence, toErrorPacket(step.error)));
        // A refused change of user leaves the session the user it was, as MariaDB does.
        this.#loggedIn = this.#hasLoggedIn;
        return;
      case 'accepted':
        this.#loggedIn = true;
        this.#hasLoggedIn = true;
        if (step.prelude !== null) this.send(step.prelude);
        this.send(writeOk(step.sequence));
        if (!this.#greeted) this.#onLogin();
        this.#greeted = true;
    }
  }
}
