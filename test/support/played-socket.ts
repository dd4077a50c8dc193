/**
 * Stands for a client's stream and for a server connection, with a kernel that the test plays: `full` says that it
 * takes no more.
 */
import type { Relay } from '../../src/frontend/relay.ts';

export class PlayedSocket {
  readonly input: Buffer = Buffer.alloc(16 * 1024);
  readonly capabilities: number;
  readonly extendedCapabilities = 0;
  spoiled = false;
  readonly loginOk = { status: 2, payload: Buffer.alloc(0) };
  readonly written: Buffer[] = [];
  full = false;
  paused = false;
  closed = false;
  handler: unknown;
  user: { onBackendData(length: number): void; onBackendClose(reason: string): void } | null = null;
  lastUser: object | null = null;
  memoryAge = 0;
  turns = 0;

  constructor(capabilities: number) {
    this.capabilities = capabilities;
  }

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

  close(): void {
    this.closed = true;
  }

  takenBy(user: object): void {
    this.lastUser = user;
  }

  /** All that was written, in hexadecimal digits. */
  get text(): string {
    return Buffer.concat(this.written).toString('hex');
  }

  /** The server sends `parts`, each in a chunk of its own. */
  receive(...parts: Buffer[]): void {
    for (const bytes of parts) {
      if (bytes.length === 0) continue;
      if (this.paused) throw new Error('a paused socket reads nothing');
      bytes.copy(this.input);
      this.user!.onBackendData(bytes.length);
    }
  }

  /** The same for the stream of a client, whose bytes go to `relay`. */
  receiveFor(relay: Relay, ...parts: Buffer[]): void {
    for (const bytes of parts) {
      if (bytes.length === 0) continue;
      if (this.paused) throw new Error('a paused socket reads nothing');
      bytes.copy(this.input);
      relay.onData(bytes.length);
    }
  }
}

/** `bytes` in two parts, cut at every offset from 0 to their end. */
export function* cuts(bytes: Buffer): Generator<[before: Buffer, after: Buffer]> {
  for (let offset = 0; offset <= bytes.length; offset++) {
    yield [bytes.subarray(0, offset), bytes.subarray(offset)];
  }
}
