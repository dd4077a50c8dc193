/**
 * TLS as a byte stream, begun in the middle of a connection's life: the MySQL protocol says a few bytes in
 * clear text, and only then, at the client's SSL request, does TLS begin on the same socket.
 * Manual: page_protocol_connection_phase_packets_protocol_ssl_request.
 *
 * node:tls takes the socket's handle over, so that the encrypted bytes never pass JavaScript. What is written
 * is copied when it is encrypted, at once; so the memory is free again although the kernel may not have the
 * bytes yet. A second write while the first is on its way is not encrypted before that, and therefore answers
 * false: at most two chunks of a connection wait.
 */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import tls, { TLSSocket, type SecureContext } from 'node:tls';
import {
  endInOrder,
  LINGER_BYTES,
  type ByteSocket,
  type ByteStream,
  type SocketHandler,
} from '../base/socket.ts';
import { tlsFailure } from './tls-failure.ts';

/** A certificate with its key, all in PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

/** What an endpoint shows and asks for. */
export interface TlsServerOptions extends KeyPair {
  /** Who signs the certificates of clients; null: none are asked for. */
  ca: string | null;
  /** 48 secret bytes, the same in all workers: then each can resume the TLS sessions of the others. */
  ticketKeys: Buffer;
}

/** How a server is talked to. */
export interface TlsClientOptions {
  /** Refuse a server whose certificate is not signed by `ca` or does not name it. */
  verify: boolean;
  /** Null: the authorities that come with Node.js. */
  ca: string | null;
  /** Shown to servers that ask for it. */
  own: KeyPair | null;
}

/** `TlsServerOptions`, read: made once and used for many connections. */
export interface TlsServer {
  readonly context: SecureContext;
  readonly asksForCertificate: boolean;
}

/** `TlsClientOptions`, read: made once and used for many connections. */
export interface TlsClient {
  readonly context: SecureContext;
  readonly verify: boolean;
}

/** What was agreed upon. */
export interface TlsInfo {
  /** For example `TLSv1.3`. */
  version: string;
  /** The standard's name of the cipher suite. */
  cipher: string;
  /** Of the peer's certificate, as `/C=…/CN=…`, the way account tables write it; null when it showed none. */
  peerSubject: string | null;
}

const OLDEST_VERSION = 'TLSv1.2';

/** Reads what an endpoint needs for TLS; throws when OpenSSL cannot use it. */
export function tlsServer({ cert, key, ca, ticketKeys }: TlsServerOptions): TlsServer {
  const context = tls.createSecureContext({
    cert,
    key,
    ticketKeys,
    ...(ca !== null && { ca }),
    minVersion: OLDEST_VERSION,
    // Without this name sessions of clients with certificates cannot be resumed.
    sessionIdContext: 'dbproxy',
  });
  return { context, asksForCertificate: ca !== null };
}

/** Reads what is needed for TLS towards a server; throws when OpenSSL cannot use it. */
export function tlsClient({ verify, ca, own }: TlsClientOptions): TlsClient {
  const context = tls.createSecureContext({
    ...(ca !== null && { ca }),
    ...(own !== null && { cert: own.cert, key: own.key }),
    minVersion: OLDEST_VERSION,
  });
  return { context, verify };
}

/** The part of a TLSSocket that node:tls's own server reads and that the types do not have. */
interface PeerVerification {
  ssl: { verifyError(): (Error & { code: string }) | null } | null;
}

const NOTHING = Buffer.alloc(0);

export class TlsStream implements ByteStream {
  input: Buffer = NOTHING;
  handler: SocketHandler;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #socket: TLSSocket;
  readonly #peer: 'client' | 'server';
  #secure = false;
  #ending = false;
  /** A write has answered false, and its drain has not been told. */
  #waits = false;
  #dropped = 0;
  #error: Error | undefined;

  private constructor(
    socket: TLSSocket,
    under: ByteSocket,
    peer: 'client' | 'server',
    handler: SocketHandler,
  ) {
    this.#socket = socket;
    this.#peer = peer;
    this.handler = handler;
    this.remoteAddress = under.remoteAddress;
    this.remotePort = under.remotePort;
    const failed = (error: Error): void => {
      this.#error ??= error;
    };
    socket.on('error', failed);
    socket.on('close', () => this.#closed());
  }

  /**
   * Answers a client's SSL request. `rest` are the bytes that came together with it: the beginning of the
   * handshake. `onSecure` is called when it is done and reading has begun; when it fails, the handler's
   * `onClose` says why. Nobody but the caller bounds the time that it takes: `destroy` gives it up.
   */
  static accept(
    under: ByteSocket,
    server: TlsServer,
    rest: Buffer,
    handler: SocketHandler,
    onSecure: () => void,
  ): TlsStream {
    const socket = new TLSSocket(under.release(rest), {
      isServer: true,
      secureContext: server.context,
      requestCert: server.asksForCertificate,
      rejectUnauthorized: false,
    });
    const stream = new TlsStream(socket, under, 'client', handler);
    // Before the handshake is done a server's TLSSocket tells errors to its tls.Server only, by this event.
    socket.on('_tlsError', (error: Error) => {
      stream.#error ??= error;
      socket.destroy();
    });
    socket.once('secure', () => {
      const distrust = server.asksForCertificate ? distrustOf(socket) : null;
      if (distrust === null) stream.#begin(onSecure);
      else socket.destroy(distrust);
    });
    return stream;
  }

  /** Begins TLS towards a server, after the SSL request has been written. `host` is what `verify` compares. */
  static connect(
    under: ByteSocket,
    client: TlsClient,
    host: string,
    handler: SocketHandler,
    onSecure: () => void,
  ): TlsStream {
    const socket = tls.connect({
      socket: under.release(NOTHING),
      secureContext: client.context,
      rejectUnauthorized: client.verify,
      host,
      // An address is no name to indicate.
      ...(isIP(host) === 0 && host !== '' && { servername: host }),
    });
    const stream = new TlsStream(socket, under, 'server', handler);
    socket.once('secureConnect', () => stream.#begin(onSecure));
    return stream;
  }

  #begin(onSecure: () => void): void {
    if (this.#socket.destroyed) return;
    this.#secure = true;
    this.#socket.on('data', (chunk: Buffer) => this.#received(chunk));
    onSecure();
  }

  #received(chunk: Buffer): void {
    if (!this.#ending) {
      this.input = chunk;
      return this.handler.onData(chunk.length);
    }
    this.#dropped += chunk.length;
    if (this.#dropped > LINGER_BYTES) this.#socket.destroy();
  }

  #closed(): void {
    const error = this.#secure || this.#ending ? this.#error : tlsFailure(this.#error, this.#peer);
    this.handler.onClose(error);
  }

  /** What was agreed upon; only after `onSecure`. */
  info(): TlsInfo {
    const certificate = this.#socket.getPeerX509Certificate();
    return {
      version: this.#socket.getProtocol() ?? '',
      cipher: this.#socket.getCipher().standardName,
      peerSubject: certificate === undefined ? null : subjectOf(certificate),
    };
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get hasEnded(): boolean {
    return this.#socket.readableEnded;
  }

  /** True: the bytes are encrypted, and nothing waits behind them. */
  write(bytes: Buffer): boolean {
    if (this.#socket.writableLength === 0) {
      this.#socket.write(bytes);
      return true;
    }
    this.#waits = true;
    this.#socket.write(bytes, this.#onTaken);
    return false;
  }

  readonly #onTaken = (error: Error | null | undefined): void => {
    // Several writes may have been taken in one.
    if (error || !this.#waits || this.#socket.writableLength > 0) return;
    this.#waits = false;
    this.handler.onDrain();
  };

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(bytes?: Buffer): void {
    this.#ending = true;
    // Before the handshake is done there is nobody to say it to.
    if (!this.#secure) return this.destroy();
    endInOrder(this.#socket, bytes);
  }

  /** TLS has a word to say first. */
  close(): void {
    this.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  askPeer(afterMs: number): void {
    this.#socket.setKeepAlive(true, afterMs);
  }
}

/** Why a client's certificate is not to be trusted; null when it is, or when there is none. */
function distrustOf(socket: TLSSocket): Error | null {
  if (socket.getPeerX509Certificate() === undefined) return null;
  const { ssl } = socket as unknown as PeerVerification;
  return ssl === null ? new Error('the connection is gone') : ssl.verifyError();
}

/** Names have one line each in node:crypto. */
function subjectOf(certificate: X509Certificate): string {
  return certificate.subject
    .split('\n')
    .map((part) => `/${part}`)
    .join('');
}
