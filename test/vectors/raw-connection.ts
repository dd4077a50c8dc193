/**
 * A connection to a server that knows nothing of the protocol's ends: the recorders use it.
 */
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const SILENCE_MS = Number(process.env.SILENCE_MS ?? 60);

/** For who records: where an answer ends is known by silence. */
export class RawConnection {
  readonly socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);

  constructor(host: string, port: string) {
    this.socket = net.connect({ host, port: Number(port), noDelay: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.socket.on('error', () => undefined);
  }

  /** All bytes of the server until it has been silent for a while. */
  async quiet(): Promise<Buffer> {
    let length = -1;
    while (length !== this.#received.length) {
      length = this.#received.length;
      await delay(SILENCE_MS);
    }
    const bytes = this.#received;
    this.#received = Buffer.alloc(0);
    return bytes;
  }

  async ask(bytes: Buffer): Promise<Buffer> {
    this.socket.write(bytes);
    return this.quiet();
  }
}
