/**
 * The admin port: accepts connections of the allowed networks, a bounded number at a time, and gives each
 * a session.
 */
import net from 'node:net';
import { networkList, type Endpoint, unmapped } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { refusal, type ProxyError } from '../base/errors.ts';
import { listenOn } from '../base/listen.ts';
import type { Log } from '../base/log.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { Operations } from '../ipc/operations.ts';
import { toErrorPacket, writeError } from '../protocol/packets.ts';
import { FIRST_ADMIN_ID } from './execute.ts';
import { CertificateWatch, loadCertificates, newTicketKeys } from '../transport/certificates.ts';
import { tlsServer, type TlsServer } from '../transport/tls-stream.ts';
import { serveSession } from './session.ts';

/** Admin connections at once: people and scripts, not applications. */
const MAX_SESSIONS = 64;

/** What the admin port needs. */
export interface AdminOptions {
  config: ProxyConfig['admin'];
  /** The account of the other dbproxy of a pair. */
  peer?: ProxyConfig['peer'];
  operations: Operations;
  clock: Clock;
  log: Log;
  version: string;
}

/** A running admin port. */
export interface AdminServer {
  address: Endpoint;
  /** Stops listening and ends all admin connections. */
  close(): Promise<void>;
}

/** Opens the admin port; rejects when its address cannot be had. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const { config, log } = options;
  const allowed = networkList(config.allow);
  const sessions = new Map<number, net.Socket>();
  let nextId = FIRST_ADMIN_ID;
  const door = openTls(options);

  const server = net.createServer({ noDelay: true, keepAlive: true }, (socket) => {
    const clientAddress = addressOf(socket);
    // Without a listener an error of the socket would end the process.
    socket.on('error', () => undefined);
    const refused = whyRefused(clientAddress);
    if (refused !== undefined) {
      log.warn('admin.connection_refused', { code: refused.code, client: clientAddress });
      socket.end(writeError(0, toErrorPacket(refused), false));
      socket.destroySoon();
      return;
    }
    const connectionId = nextId;
    nextId = nextId === 0xffff_ffff ? FIRST_ADMIN_ID : nextId + 1;
    sessions.set(connectionId, socket);
    void serveSession({
      socket,
      connectionId,
      clientAddress,
      account: { user: config.user, password: config.password },
      peer: options.peer ?? null,
      tls: door?.tls() ?? null,
      context: { operations: options.operations, version: options.version, killAdmin },
      clock: options.clock,
      log: log.child({ client: clientAddress, connection: connectionId }),
    }).then(() => sessions.delete(connectionId));
  });

  /** A Unix socket is guarded by the rights of its file. */
  function whyRefused(clientAddress: string): ProxyError | undefined {
    if (config.address.kind === 'tcp' && config.allow.length > 0 && !allowed.contains(clientAddress)) {
      return refusal('DBPROXY_ADDRESS_NOT_ALLOWED', clientAddress, 'admin port');
    }
    if (sessions.size >= MAX_SESSIONS)
      return refusal('DBPROXY_TOO_MANY_CONNECTIONS', 'the admin port', MAX_SESSIONS);
    return undefined;
  }

  function killAdmin(id: number): boolean {
    const socket = sessions.get(id);
    socket?.destroy();
    return socket !== undefined;
  }

  try {
    await listenOn(server, config.address);
  } catch (error) {
    door?.close();
    throw error;
  }
  server.on('error', (error) => log.error('admin.server_failed', { error: error.message }));
  return {
    address: config.address,
    close: () =>
      new Promise((resolve) => {
        door?.close();
        server.close(() => resolve());
        for (const socket of sessions.values()) socket.destroy();
      }),
  };
}

/** What the admin port shows of itself to who asks for TLS; a renewed certificate is taken by itself. */
function openTls({ config, clock, log }: AdminOptions): { tls(): TlsServer; close(): void } | null {
  const { tlsCert: certPath, tlsKey: keyPath } = config;
  if (certPath === undefined || keyPath === undefined) return null;
  const files = { listener: 'the admin port', certPath, keyPath, caPath: null };
  const ticketKeys = newTicketKeys();
  const read = (pair: { cert: string; key: string }): TlsServer =>
    tlsServer({ cert: pair.cert, key: pair.key, ca: null, ticketKeys });
  let current = read(loadCertificates(files));
  const watch = new CertificateWatch({
    listeners: [files],
    clock,
    onLoaded: (pair) => {
      current = read(pair);
    },
    onNews: ({ result, detail }) => {
      if (result === 'failed') log.error('admin.tls_reload_failed', { detail });
      else log.info('admin.tls_reloaded', { detail });
    },
  });
  return { tls: () => current, close: () => watch.close() };
}

function addressOf(socket: net.Socket): string {
  return socket.remoteAddress === undefined ? 'localhost' : unmapped(socket.remoteAddress);
}
