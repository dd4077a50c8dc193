/**
 * Which of two servers was the primary when they last ran? Both boot read-only and without replication,
 * so nothing is lost by thinking first. Pure: the observations come in, the name goes out.
 */

/** What a freshly booted server says of itself. */
export interface BootObservation {
  name: string;
  /** Port of the server it was set up to follow; null when it follows nobody. */
  followsPort: number | null;
  /** Newest transaction it has, as MariaDB writes it: `domain-server-sequence[,…]`; empty when none. */
  gtidCurrentPosition: string;
}

/**
 * 1. The only one that follows nobody is the primary.
 * 2. Else the one with more history: a promotion writes on the server that it promotes.
 * 3. Else the one remembered from the last orderly stop.
 * 4. Else the first.
 */
export function choosePrimary(servers: readonly BootObservation[], remembered: string | null): string {
  const first = servers[0];
  if (first === undefined) throw new RangeError('there is no server to choose from');

  const independent = servers.filter((server) => server.followsPort === null);
  if (independent.length === 1) return independent[0]!.name;

  const newest = Math.max(...servers.map((server) => newestSequence(server.gtidCurrentPosition)));
  const ahead = servers.filter((server) => newestSequence(server.gtidCurrentPosition) === newest);
  if (ahead.length === 1) return ahead[0]!.name;

  return servers.some((server) => server.name === remembered) ? remembered! : first.name;
}

function newestSequence(position: string): number {
  const sequences = position.split(',').map((gtid) => Number(gtid.split('-')[2] ?? 0));
  return Math.max(...sequences);
}
