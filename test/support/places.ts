/**
 * Servers without global ids, for tests: each by its own log and, of a replica, how far it is in its source's. The log
 * of db1 is `u1`, and so on.
 */
import type { FilePosition } from '../../src/monitor/observation.ts';
import type { Handover, LogPlace } from '../../src/topology/state-file.ts';
import type { ServerDescription } from './clusters.ts';

/** `2:500` is position 500 of the second file. */
export function at(text: string): FilePosition {
  const [file = '', position = ''] = text.split(':');
  return { file: `binlog.${file.padStart(6, '0')}`, position: Number(position) };
}

/** The same in the log of a server. */
export function placeAt(server: string, text: string): LogPlace {
  return { server, ...at(text) };
}

/** From u1 to u2. */
export function handover(end: string, start: string, received = end): Handover {
  return { end: placeAt('u1', end), received: placeAt('u1', received), start: placeAt('u2', start) };
}

/** A server whose own log ends there. */
export function byPlace(uuid: string, own: string, over: ServerDescription = {}): ServerDescription {
  const facts = { hasGtid: false, position: '', history: '', serverUuid: uuid, filePosition: at(own) };
  return { ...over, facts: { ...facts, ...over.facts } };
}

/** A replica of db1 by its own log, and how far it has received and applied the log of db1. */
export function replicaByPlace(
  uuid: string,
  own: string,
  received: string,
  { applied = received, ...over }: ServerDescription & { applied?: string } = {},
): ServerDescription {
  return byPlace(uuid, own, {
    from: 'db1',
    ...over,
    replication: {
      sourceUuid: 'u1',
      receivedPosition: '',
      receivedFile: at(received),
      appliedFile: at(applied),
      ...over.replication,
    },
  });
}
