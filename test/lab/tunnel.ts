/**
 * A way between two servers that can be cut in the middle of what goes over it: after so many bytes more,
 * nothing passes, as when a machine dies while it sends.
 */
import { once } from 'node:events';
import net from 'node:net';

export class Tunnel {
  readonly port: number;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  /** Bytes towards the client that may still pass. */
  #left = Infinity;
  #whenCut: (() => void) | null = null;
  #isSilent = false;

  private constructor(server: net.Server, targetPort: number) {
    this.#server = server;
    this.port = (server.address() as net.AddressInfo).port;
    server.on('connection', (client) => this.#join(client, net.connect(targetPort, '127.0.0.1')));
  }

  /** Opens a tunnel to a port of this machine. */
  static async open(targetPort: number): Promise<Tunnel> {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Tunnel(server, targetPort);
  }

  /** Lets `bytes` more through to the client and then nothing; resolves when that many have passed. */
  cutAfter(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#left = bytes;
    this.#whenCut = resolve;
    return promise;
  }

  /** Nothing passes in either direction, and nobody is told, as when a cable is cut; or (false) all does, on new connections. */
  silence(on: boolean): void {
    this.#isSilent = on;
    if (!on) this.breakAll();
  }

  /** Ends all connections that there are; new ones may come, and everything passes on them. */
  breakAll(): void {
    this.#left = Infinity;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.breakAll();
  }

  #join(client: net.Socket, target: net.Socket): void {
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined); // the other side's end is the same to us
      socket.on('close', () => {
        other.destroy();
        this.#sockets.delete(socket);
      });
    }
    client.on('data', (chunk: Buffer) => {
      if (!this.#isSilent) target.write(chunk);
    });
    target.on('data', (chunk: Buffer) => {
      if (this.#isSilent) return;
      client.write(chunk.subarray(0, this.#left));
      this.#left -= Math.min(this.#left, chunk.length);
      if (this.#left === 0) this.#whenCut?.();
    });
  }
}
