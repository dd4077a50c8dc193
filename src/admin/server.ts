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
import { serveSession } from './session.ts';

/** Admin connections at once: people and scripts, not applications. */
const MAX_SESSIONS = 64;

/** What the admin port needs. */
export interface AdminOptions {
  config: ProxyConfig['admin'];
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

  await listenOn(server, config.address);
  server.on('error', (error) => log.error('admin.server_failed', { error: error.message }));
  return {
    address: config.address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sessions.values()) socket.destroy();
      }),
  };
}

function addressOf(socket: net.Socket): string {
  return socket.remoteAddress === undefined ? 'localhost' : unmapped(socket.remoteAddress);
}
