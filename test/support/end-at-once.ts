/** Ends a driver's connection without the goodbye that its own `destroy` waits for: a host that is dead never says it. */
import type net from 'node:net';
import type { Connection } from 'mysql2/promise';

export function endAtOnce(connection: Connection): void {
  connection.destroy();
  (connection as unknown as { connection: { stream: net.Socket } }).connection.stream.destroy();
}
