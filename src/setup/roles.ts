/**
 * Who is the primary of servers that were just looked at, and who follows whom. Pure.
 */
import type { Endpoint } from '../base/address.ts';
import type { Survey } from './survey.ts';

/** True when `survey` is set up to replicate from `source`. */
export function follows(survey: Survey, source: Survey): boolean {
  const { replication } = survey.facts;
  if (replication === null || survey === source) return false;
  if (replication.sourceServerId !== 0) return replication.sourceServerId === source.facts.serverId;
  const { host, port } = tcpAddress(source);
  return replication.sourceHost === host && replication.sourcePort === port;
}

/** How other servers reach one: over TCP, on this machine where it is known by a Unix socket. */
export function tcpAddress({ backend, variables }: Survey): Extract<Endpoint, { kind: 'tcp' }> {
  if (backend.address.kind === 'tcp') return backend.address;
  return { kind: 'tcp', host: '127.0.0.1', port: Number(variables.get('port')) };
}

/**
 * 1. The only one that takes writes.
 * 2. Else, of those that replicate from nobody, the one that all others follow.
 * 3. Else it is not clear.
 */
export function primaryAmong(surveys: readonly Survey[]): Survey | null {
  const writable = surveys.filter(({ facts }) => !facts.readOnly);
  if (writable.length === 1) return writable[0]!;
  const followed = surveys.filter(
    (one) =>
      one.facts.replication === null &&
      surveys.length > 1 &&
      surveys.every((other) => other === one || follows(other, one)),
  );
  return followed.length === 1 ? followed[0]! : null;
}
