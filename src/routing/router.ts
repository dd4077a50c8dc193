/**
 * Where a session goes: a pure function of the snapshot, the endpoint and what the caller counts.
 *
 * write: the cluster's primary, when it is online and writes are not held.
 * read: by ro_weight
 *   1. among the readable replicas with ro_weight > 0, and the primary if an operator gave it a ro_weight
 *      of its own (the default of 1 counts for replicas alone);
 *   2. when there is none, the primary.
 */
import type { BackendView, ClusterView, Snapshot } from '../topology/snapshot.ts';
import { leastConnections, nextByWeight, type Candidate, type Credits } from './balance.ts';

/** What the router must know of an endpoint. */
export interface Endpoint {
  readonly cluster: string;
  readonly mode: 'write' | 'read';
  readonly balance: 'weighted_round_robin' | 'least_connections';
}

/** `reason` says why this one, or why none can be had now. */
export type Route =
  | { readonly backend: BackendView; readonly reason: string }
  | { readonly backend: null; readonly reason: string };

/** Chooses a backend; `excluded` are those that have just failed this session. */
export function route(
  snapshot: Snapshot,
  endpoint: Endpoint,
  credits: Credits,
  sessionsOf: (backend: string) => number,
  excluded: ReadonlySet<string>,
): Route {
  const cluster = snapshot.clusters.find(({ name }) => name === endpoint.cluster);
  if (cluster === undefined) return { backend: null, reason: `there is no cluster '${endpoint.cluster}'` };
  const primary = routePrimary(snapshot, cluster, excluded);
  if (endpoint.mode === 'write') return primary;

  const members = snapshot.backends.filter((backend) => backend.cluster === cluster.name);
  const readable = members.filter(
    (backend) => !excluded.has(backend.name) && takesReads(backend, cluster, primary),
  );
  const candidates: Candidate[] = readable.map(({ name, roWeight }) => ({
    name,
    weight: roWeight,
    sessions: sessionsOf(name),
  }));
  const chosen =
    endpoint.balance === 'least_connections'
      ? leastConnections(candidates)
      : nextByWeight(candidates, credits);
  const backend = readable.find(({ name }) => name === chosen);
  if (backend !== undefined)
    return { backend, reason: `${endpoint.balance} among ${readable.length} by ro_weight` };
  if (primary.backend !== null)
    return { backend: primary.backend, reason: 'no replica can serve, so the primary does' };
  return {
    backend: null,
    reason: `no replica can serve (${whyNot(members)}) and no primary (${primary.reason})`,
  };
}

function routePrimary(snapshot: Snapshot, cluster: ClusterView, excluded: ReadonlySet<string>): Route {
  if (cluster.writesHeld) return { backend: null, reason: 'writes are held while a promotion is under way' };
  if (cluster.primary === null) return { backend: null, reason: cluster.reason };
  const backend = snapshot.backends.find(({ name }) => name === cluster.primary);
  if (backend === undefined)
    return { backend: null, reason: `the primary '${cluster.primary}' is not configured` };
  if (!takesSessions(backend))
    return { backend: null, reason: `the primary '${backend.name}' is ${backend.state}: ${backend.reason}` };
  if (excluded.has(backend.name))
    return { backend: null, reason: `the primary '${backend.name}' has just failed` };
  return { backend, reason: 'it is the primary' };
}

function takesReads(backend: BackendView, cluster: ClusterView, primary: Route): boolean {
  if (backend.roWeight <= 0) return false;
  if (backend.name === cluster.primary) return backend.roWeightSet && primary.backend !== null;
  return backend.readable && takesSessions(backend);
}

function takesSessions(backend: BackendView): boolean {
  return backend.state === 'online' || backend.state === 'suspect';
}

function whyNot(members: readonly BackendView[]): string {
  return members
    .map(
      (backend) =>
        `${backend.name}: ${backend.reason || (backend.roWeight <= 0 ? 'ro_weight is 0' : backend.role)}`,
    )
    .join('; ');
}
