/** The semi-synchronous side of a server that becomes a replica, wherever that happens. */
import type { ClusterConfig } from '../config/config.ts';
import type { ServerControl } from './server-control.ts';

/**
 * It waits for nobody any more, and tells its source what it receives; a follower that takes no traffic does not. What it
 * cannot do is no reason not to have it follow: `SemiSyncDegraded` says so then. It must be read-only, or it would
 * acknowledge what its clients wait for.
 */
export async function takeReplicaSide(server: ServerControl, { semiSync }: ClusterConfig): Promise<void> {
  if (semiSync === 'off') return;
  await server.setSemiSync('primary', false).catch(() => undefined);
  if (!server.backend.follow) await server.setSemiSync('replica', true).catch(() => undefined);
}
