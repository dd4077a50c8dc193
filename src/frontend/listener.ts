/**
 * An endpoint: listens on its address in every worker (the kernel spreads the connections), lets in who
 * may come within the limits, and begins a session for each. Where the address may move between hosts (a
 * virtual IP), it listens as soon as the address is here and no longer than that.
 */
import net from 'node:net';
import { formatEndpoint, networkList, type NetworkList } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { mayMove, type AddressWatch, type HostAddresses } from '../base/host-addresses.ts';
import type { Log } from '../base/log.ts';
import { removeStaleSocket } from '../base/listen.ts';
import { ByteSocket, type SocketHandler } from '../base/socket.ts';
import { takeSlotInTime, type Slots } from '../backend/slots.ts';
import type { ListenerConfig } from '../config/config.ts';
import { toErrorPacket, writeError } from '../protocol/packets.ts';
import type { Counters } from './counters.ts';

export interface ListenerOptions {
  config: ListenerConfig;
  clock: Clock;
  log: Log;
  slots: Slots;
  counters: Counters;
  addresses: HostAddresses;
  /** Removes the Unix socket that a killed process left behind; one worker of all does. */
  removesStaleSocket: boolean;
  /** Who else has its address, so that it is not to be shared with him; null: nobody, it is ours. */
  takenBy: () => string | null;
  /** Begins a session; `onOver` is to be called when it has ended. */
  begin(client: ByteSocket, onOver: () => void): void;
  /** Listening (null), or why not yet. */
  onStatus(error: string | null): void;
  /** It has listened, and its address has left this host; `onStatus` follows. */
  onReleased(): void;
}

/** An IPv6 address that has just come cannot be bound before it is known to be nobody else's. */
const FRESH_ADDRESS_RETRY_MS = 100;
const OTHER_RETRY_MS = 1000;
/** Input buffer of a client: commands are short. */
const INPUT_BYTES = 16 * 1024;
const BACKLOG = 1024;

/** For a connection that has no session yet. */
const NOT_YET: SocketHandler = {
  onData: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

export class Listener {
  readonly #options: ListenerOptions;
  readonly #allowed: NetworkList | undefined;
  readonly #balancers: NetworkList | undefined;
  readonly #slotKey: string;
  #server: net.Server | undefined;
  #watch: AddressWatch | undefined;
  #retry: Timer | undefined;
  #closed = false;
  #lastError: string | null | undefined;

  constructor(options: ListenerOptions) {
    const { config } = options;
    this.#options = options;
    this.#allowed = config.allow.length > 0 ? networkList(config.allow) : undefined;
    this.#balancers = config.proxyProtocolFrom.length > 0 ? networkList(config.proxyProtocolFrom) : undefined;
    this.#slotKey = `listener:${config.name}`;
  }

  /** Begins to listen, now or when the address is there; the outcome is told by `onStatus`. */
  open(): void {
    const { config, addresses } = this.#options;
    const { address } = config;
    if (address.kind === 'unix' || !mayMove(address.host)) return this.#open();
    this.#watch = addresses.watch(address.host, (isHere) => {
      if (isHere) this.#listen();
      else this.#release();
    });
  }

  #open(): void {
    const { config, removesStaleSocket } = this.#options;
    if (config.address.kind === 'unix' && removesStaleSocket) {
      const listen = (): void => this.#listen();
      // What cannot be removed is said by the attempt to listen.
      removeStaleSocket(config.address.path).then(listen, listen);
    } else {
      this.#listen();
    }
  }

  #listen(): void {
    if (this.#closed) return;
    const by = this.#options.takenBy();
    if (by !== null) return this.#failed({ code: 'EADDRINUSE', message: '' }, by);
    const server = net.createServer({ pauseOnConnect: true, noDelay: true, keepAlive: true });
    this.#server = server;
    server.on('connection', (socket) => this.#accept(socket));
    const failed = (error: NodeJS.ErrnoException): void => {
      if (this.#server === server) this.#failed(error);
    };
    server.once('error', failed);
    server.once('listening', () => {
      // The address has left meanwhile, or nobody wants it any more.
      if (this.#server !== server) return void server.close();
      // From now on an error is one of accepting a connection: the listener stays.
      server.off('error', failed);
      server.on('error', (error) =>
        this.#options.log.warn('listener.accept_failed', {
          listener: this.#options.config.name,
          error: error.message,
        }),
      );
      this.#tell(null);
    });
    const { address } = this.#options.config;
    if (address.kind === 'unix') server.listen({ path: address.path, backlog: BACKLOG });
    else
      server.listen({
        host: address.host,
        port: address.port,
        backlog: BACKLOG,
        reusePort: true,
        exclusive: true,
      });
  }

  /** Stops to accept; sessions go on. */
  close(): void {
    this.#closed = true;
    this.#watch?.stop();
    this.#stopListening();
  }

  #stopListening(): void {
    this.#retry?.cancel();
    this.#server?.close();
    this.#server = undefined;
  }

  /** The address is not here (any more). */
  #release(): void {
    this.#stopListening();
    if (this.#lastError === null) this.#options.onReleased();
    this.#tell(`${this.#missing}; listens as soon as it comes`);
  }

  get #missing(): string {
    return `this host does not have ${formatEndpoint(this.#options.config.address)} (now)`;
  }

  #failed(error: Pick<NodeJS.ErrnoException, 'code' | 'message'>, by = 'another process'): void {
    const missing = error.code === 'EADDRNOTAVAIL';
    const where = formatEndpoint(this.#options.config.address);
    const retryMs = missing ? FRESH_ADDRESS_RETRY_MS : OTHER_RETRY_MS;
    const why = missing
      ? this.#missing
      : `cannot listen on ${where}: ${error.code ?? error.message}${error.code === 'EADDRINUSE' ? `, ${by} has it` : ''}`;
    this.#tell(`${why}; tried again every ${retryMs} ms`);
    this.#retry = this.#options.clock.after(retryMs, () => this.#open());
  }

  #tell(error: string | null): void {
    if (error === this.#lastError) return;
    this.#lastError = error;
    this.#options.onStatus(error);
  }

  #accept(socket: net.Socket): void {
    const client = ByteSocket.accept(socket, INPUT_BYTES, NOT_YET);
    if (client === undefined) return;
    // A load balancer speaks first; its header must not be read before there is a session to read it.
    client.pause();
    const { remoteAddress } = client;
    const isLocal = this.#options.config.address.kind === 'unix';
    // Where the clients of a load balancer are is known when its header has come.
    const isBalancer = this.#balancers?.contains(remoteAddress) === true;
    if (this.#allowed !== undefined && !isLocal && !isBalancer && !this.#allowed.contains(remoteAddress)) {
      return this.#refuse(
        client,
        refusal('DBPROXY_ADDRESS_NOT_ALLOWED', remoteAddress, `listener '${this.#options.config.name}'`),
      );
    }
    const { slots } = this.#options;
    if (slots.tryTake(this.#slotKey)) this.#begin(client);
    else void this.#beginWithSlot(client);
  }

  async #beginWithSlot(client: ByteSocket): Promise<void> {
    const { config, slots, clock } = this.#options;
    if (await takeSlotInTime(slots, clock, this.#slotKey)) {
      if (client.destroyed) slots.release(this.#slotKey);
      else this.#begin(client);
    } else {
      this.#refuse(
        client,
        refusal('DBPROXY_TOO_MANY_CONNECTIONS', `listener '${config.name}'`, config.maxConnections),
      );
    }
  }

  #begin(client: ByteSocket): void {
    this.#options.begin(client, () => this.#options.slots.release(this.#slotKey));
  }

  #refuse(client: ByteSocket, error: ReturnType<typeof refusal>): void {
    const { counters, log, config } = this.#options;
    counters.loginRefused(error.code);
    counters.error(error.errno);
    log.warn('session.login_refused', {
      listener: config.name,
      client: client.remoteAddress,
      code: error.code,
      error: error.message,
    });
    // Before the greeting a client knows no SQLSTATE.
    client.end(writeError(0, toErrorPacket(error), false));
  }
}
