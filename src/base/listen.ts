/**
 * Opens a server on an endpoint. A Unix socket that a killed process has left behind is removed; one that
 * somebody still answers on is not.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import type { Endpoint } from './address.ts';

/** Resolves when `server` listens; rejects with the reason when it cannot. */
export async function listenOn(server: net.Server, endpoint: Endpoint): Promise<void> {
  if (endpoint.kind === 'tcp') return listening(server, { host: endpoint.host, port: endpoint.port });
  try {
    await listening(server, { path: endpoint.path });
  } catch (error) {
    if (!isAddressInUse(error)) throw error;
    await removeStaleSocket(endpoint.path);
    await listening(server, { path: endpoint.path });
  }
}

/** Removes a Unix socket that nobody answers on; leaves everything else alone. */
export async function removeStaleSocket(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file?.isSocket() === true && !(await isAnswered(path))) unlinkSync(path);
}

function listening(server: net.Server, options: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function isAddressInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

/** Does a process listen on the socket? */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
