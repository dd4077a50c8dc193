/**
 * The HTTP port: the socket side of `routes.ts`, with its limits.
 */
import http from 'node:http';
import type { Socket } from 'node:net';
import { networkList, unmapped } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { isRefusal } from '../base/errors.ts';
import { listenOn } from '../base/listen.ts';
import type { Log } from '../base/log.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { Operations } from '../ipc/operations.ts';
import { Routes, text, type Reply } from './routes.ts';

/** Limits; scrapers and health checks need far less. */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 8192;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_TIMEOUT_MS = 60_000;

/** What the HTTP port needs. */
export interface HttpOptions {
  config: ProxyConfig['http'];
  operations: Operations;
  clock: Clock;
  log: Log;
  version: string;
}

/** A running HTTP port. */
export interface HttpServer {
  /** Stops listening and ends all connections. */
  close(): Promise<void>;
}

/** Opens the HTTP port; rejects when its address cannot be had. */
export async function startHttp({
  config,
  operations,
  log,
  version,
  clock,
}: HttpOptions): Promise<HttpServer> {
  const allowed = networkList(config.allow);
  const routes = new Routes(operations, version);
  const server = http.createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    },
    (request, response) => {
      void answer(request).then((reply) => send(response, reply, request.method === 'HEAD'));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', (error, socket) => refuseGarbage(error, socket as Socket));

  /** Never rejects: a failure is a 500 and a log event. */
  async function answer(request: http.IncomingMessage): Promise<Reply> {
    const client = addressOf(request.socket);
    if (!isAllowed(client)) {
      log.warn('http.refused', { client });
      return text(403, `${client} is not in 'allow' of [http]`);
    }
    const startedMs = clock.nowMs();
    try {
      return await routes.reply(request.method ?? 'GET', request.url ?? '/');
    } catch (error) {
      const message = isRefusal(error) ? error.message : String(error);
      log.error('http.failed', { client, path: request.url, error: message, ms: clock.nowMs() - startedMs });
      return text(500, message);
    }
  }

  /** A Unix socket is guarded by the rights of its file. */
  function isAllowed(client: string): boolean {
    return config.address.kind === 'unix' || config.allow.length === 0 || allowed.contains(client);
  }

  function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
    log.warn('http.bad_request', { client: addressOf(socket), error: error.code ?? error.message });
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    socket.destroySoon();
  }

  await listenOn(server, config.address);
  server.on('error', (error) => log.error('http.server_failed', { error: error.message }));
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(response: http.ServerResponse, reply: Reply, withoutBody: boolean): void {
  response.writeHead(reply.status, {
    'content-type': reply.contentType,
    'content-length': Buffer.byteLength(reply.body),
    'cache-control': 'no-store',
    ...reply.headers,
  });
  response.end(withoutBody ? undefined : reply.body);
}

function addressOf(socket: Socket): string {
  return socket.remoteAddress === undefined ? 'localhost' : unmapped(socket.remoteAddress);
}
