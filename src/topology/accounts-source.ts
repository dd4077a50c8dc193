/**
 * Which server the accounts of a cluster are read from: the primary; while it is away, or is being changed, a replica
 * that is near it. Accounts that are somewhat old are better than none: as long as none have been read, who has been
 * the primary will do, then a replica however far behind, then any server that answers. Never one that has just been
 * added, or that an operator has taken out: its accounts need not be those of the cluster.
 */
import type { BackendRole, Snapshot } from './snapshot.ts';

const ROLES: readonly BackendRole[] = ['primary', 'replica', 'standalone'];

/** Its name; null when there is none. `hasNone`: no accounts of this cluster have been read yet. */
export function accountsSource(
  { clusters, backends }: Snapshot,
  cluster: string,
  hasNone: boolean,
  isNew: (backend: string) => boolean,
): string | null {
  const primary = clusters.find(({ name }) => name === cluster)?.primary ?? null;
  if (primary !== null) return primary;
  const servers = backends.filter(
    (one) => one.cluster === cluster && one.writable !== null && one.state !== 'offline' && !isNew(one.name),
  );
  const near = servers.find(({ readable }) => readable);
  if (near !== undefined || !hasNone) return near?.name ?? null;
  const [any] = ROLES.flatMap((role) => servers.filter((one) => one.role === role));
  return any?.name ?? null;
}
