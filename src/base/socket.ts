/**
 * A TCP or Unix stream as the relay wants it: one fixed input buffer a connection, filled by the kernel
 * and handed to the handler without a copy or an event, and a write that says at once whether the kernel
 * has taken everything. While it has not, the bytes must stay as they are, so the reader of their source
 * pauses: that is the whole backpressure, and it bounds the memory of a connection to its input buffer.
 *
 * net.Socket offers this mode (`onread`) for sockets that it connects. For accepted ones it is had by
 * giving the accepted handle to a socket made with `onread`.
 *
 * The input buffers of connections that are over serve the next ones: to make one for each would have the
 * collector run all the time where connections are short.
 */
import net from 'node:net';
import { unmapped, type Endpoint } from './address.ts';
import { systemClock } from './clock.ts';

/** Who is told of what happens on a socket. */
export interface SocketHandler {
  /** `socket.input[0, length)` holds new bytes; they are overwritten after the call, unless it pauses. */
  onData(length: number): void;
  /** A write that answered false has been taken whole. */
  onDrain(): void;
  /** The connection is gone; the last call. `error` is undefined after an orderly end. */
  onClose(error: Error | undefined): void;
}

/**
 * What sessions and server connections need of a stream, whatever the bytes go through on their way: the
 * socket itself, TLS, compression.
 */
export interface ByteStream {
  /** What `onData` announced; stable until it returns, and while the stream is paused. */
  readonly input: Buffer;
  /** May be replaced at any time: logins and relays take turns. */
  handler: SocketHandler;
  /** The peer's IP address, IPv4-mapped addresses as IPv4; empty for a Unix socket, or when the peer has gone. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly destroyed: boolean;
  /** The peer has ended its side: what is written now does not reach it. */
  readonly hasEnded: boolean;
  /**
   * Sends `bytes`. True: the memory is free again and more may come. False: the memory must stay untouched
   * until `onDrain`.
   */
  write(bytes: Buffer): boolean;
  /** Stops reading; `input` stays as it is. */
  pause(): void;
  /** Reads (again). */
  resume(): void;
  /**
   * Sends what is queued and `bytes`, then closes in order. What still comes is dropped; a peer that does
   * not close its side in time, or goes on sending, is cut off.
   */
  end(bytes?: Buffer): void;
  /**
   * Closes behind what was written. Where that has left already it is done on return, and the peer learns of it as soon as
   * may be: what it sends after that is answered with a reset.
   */
  close(): void;
  /** Closes at once; what is queued is lost. */
  destroy(): void;
  /** Has the kernel ask a peer that is silent for so long whether it is still there; one that is not is gone soon. */
  askPeer(afterMs: number): void;
}

const EMPTY = Buffer.alloc(0);

/** Input buffers that can be used again are of this size, and so many are kept. */
const SPARE_BYTES = 16 * 1024;
const MOST_SPARE = 256;
const spare: Buffer[] = [];

/** After our end: how long the peer may take to end, too, and how much it may still send. */
const LINGER_MS = 2000;
export const LINGER_BYTES = 1024 * 1024;

const closing = new Set<net.Socket>();

/** Resolves when every connection that was ended in order has closed, which is bounded. */
export async function closedInOrder(): Promise<void> {
  await Promise.all([...closing].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
}

/** Sends what is queued and `bytes`, then closes in order; a peer that does not do so, too, is cut off in time. */
export function endInOrder(socket: net.Socket, bytes: Buffer | undefined): void {
  if (bytes === undefined) socket.end();
  else socket.end(bytes);
  closing.add(socket);
  const timer = systemClock.after(LINGER_MS, () => socket.destroy());
  socket.once('close', () => {
    timer.cancel();
    closing.delete(socket);
  });
  socket.resume();
}

/** For a socket that another stream has taken over: that one is told instead. */
const nobody: SocketHandler = {
  onData: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

export class ByteSocket implements ByteStream {
  readonly input: Buffer;
  handler: SocketHandler;
  readonly #socket: net.Socket;
  #error: Error | undefined;
  #ending = false;
  #dropped = 0;
  /** What is in the input buffer may still be needed. */
  #isPaused = true;

  private constructor(socket: net.Socket, input: Buffer, handler: SocketHandler) {
    this.#socket = socket;
    this.input = input;
    this.handler = handler;
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.handler.onClose(this.#error);
      if (!this.#isPaused && input.length === SPARE_BYTES && spare.length < MOST_SPARE) spare.push(input);
    });
  }

  /**
   * Wraps a socket that a server with `pauseOnConnect` has accepted. Nothing is read before `resume`.
   * Answers undefined when the peer has gone already.
   */
  static accept(accepted: net.Socket, inputBytes: number, handler: SocketHandler): ByteSocket | undefined {
    const owner = accepted as unknown as { _handle: unknown };
    const handle = owner._handle;
    if (!handle) return undefined;
    owner._handle = null;
    return ByteSocket.#make(inputBytes, handler, (onread) => {
      const options = { handle, readable: true, writable: true, onread };
      return new net.Socket(options as net.SocketConstructorOpts);
    });
  }

  /** Connects, and reads from then on; a failure comes as `onClose` with the error. */
  static connect(endpoint: Endpoint, inputBytes: number, handler: SocketHandler): ByteSocket {
    const where =
      endpoint.kind === 'unix'
        ? { path: endpoint.path }
        : { host: endpoint.host, port: endpoint.port, noDelay: true, keepAlive: true };
    return ByteSocket.#make(inputBytes, handler, (onread) => net.connect({ ...where, onread }));
  }

  static #make(
    inputBytes: number,
    handler: SocketHandler,
    open: (onread: net.OnReadOpts) => net.Socket,
  ): ByteSocket {
    const input =
      (inputBytes === SPARE_BYTES ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(inputBytes);
    const made: ByteSocket = new ByteSocket(
      open({
        buffer: input,
        callback: (length: number) => {
          made.#received(length);
          return true;
        },
      }),
      input,
      handler,
    );
    return made;
  }

  #received(length: number): void {
    if (!this.#ending) return this.handler.onData(length);
    this.#dropped += length;
    if (this.#dropped > LINGER_BYTES) this.#socket.destroy();
  }

  /**
   * Hands the connection over to a stream that wraps it (TLS). `rest` has come already and is what that
   * stream reads first. This object is of no use from then on, and its handler is told nothing more.
   */
  release(rest: Buffer): net.Socket {
    this.handler = nobody;
    this.pause();
    // The input buffer's memory is not the new owner's.
    if (rest.length > 0) this.#socket.unshift(Buffer.from(rest));
    return this.#socket;
  }

  get remoteAddress(): string {
    return unmapped(this.#socket.remoteAddress ?? '');
  }

  get remotePort(): number {
    return this.#socket.remotePort ?? 0;
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get hasEnded(): boolean {
    return this.#socket.readableEnded;
  }

  /** True: the kernel has all bytes. */
  write(bytes: Buffer): boolean {
    this.#socket.write(bytes);
    if (this.#socket.writableLength === 0) return true;
    // Several writes may be on their way; only when the last of them is taken is all memory free.
    this.#socket.write(EMPTY, (error) => {
      if (!error && this.#socket.writableLength === 0) this.handler.onDrain();
    });
    return false;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket.resume();
  }

  end(bytes?: Buffer): void {
    this.#ending = true;
    endInOrder(this.#socket, bytes);
  }

  close(): void {
    // An end in order is the kernel's only in the next round of events.
    if (this.#socket.writableLength === 0) this.destroy();
    else this.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  askPeer(afterMs: number): void {
    this.#socket.setKeepAlive(true, afterMs);
  }
}
