/**
 * The socket under a driver's connection that has logged in, for tests that then speak for themselves: commands
 * in pieces, several at once, or without ever reading an answer.
 */
import type { Socket } from 'node:net';
import type { Connection } from 'mysql2/promise';

/** To be opened with: a plain COM_QUERY holds nothing but its text then. */
export const PLAIN_COMMANDS = { flags: ['-CLIENT_QUERY_ATTRIBUTES'] };

/** The driver goes on to see what the server says, unless its socket is paused. */
export function socketOf(connection: Connection): Socket {
  return (connection as unknown as { connection: { stream: Socket } }).connection.stream;
}

/** A command as it travels: its header with number 0, its first byte, and its text. */
export function commandBytes(command: number, text: string): Buffer {
  const body = Buffer.from(`\0${text}`, 'latin1');
  body[0] = command;
  const header = Buffer.alloc(4);
  header.writeUIntLE(body.length, 0, 3);
  return Buffer.concat([header, body]);
}
