/**
 * Reads how a server greets, from the first bytes of a connection that the driver opens: the driver keeps to
 * itself what it does not use, and a connection for the greeting alone would count as a failed one there.
 */
import type { Socket } from 'node:net';
import { isRefusal } from '../base/errors.ts';
import { PacketFramer } from '../protocol/framer.ts';
import { parseGreeting } from '../protocol/handshake.ts';
import type { ServerGreeting } from '../topology/snapshot.ts';

/** A greeting is short. */
const GREETING_BYTES = 4096;

/** Calls `onGreeting` once with what the server of `socket` says first, unless that is no greeting. */
export function listenForGreeting(socket: Socket, onGreeting: (greeting: ServerGreeting) => void): void {
  const framer = new PacketFramer(GREETING_BYTES);
  const onData = (chunk: Buffer): void => {
    try {
      const packet = framer.next(chunk);
      if (packet === undefined) return;
      socket.off('data', onData);
      if (packet.payload[0] !== 0xff) onGreeting(toServerGreeting(packet.payload));
    } catch (error) {
      socket.off('data', onData);
      // What is wrong with it the driver finds, too, and says.
      if (!isRefusal(error)) throw error;
    }
  };
  socket.on('data', onData);
}

function toServerGreeting(payload: Buffer): ServerGreeting {
  const { serverVersion, capabilities, extendedCapabilities, collation, plugin } = parseGreeting(payload);
  return { serverVersion, capabilities, extendedCapabilities, collation, plugin };
}
