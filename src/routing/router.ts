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
  readonly mode: 'write' | 'read' | 'split';
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
  if (endpoint.mode !== 'read') return routePrimary(snapshot, cluster, excluded);

  const { readers, candidates, reason } = readingOf(snapshot, cluster, endpoint, excluded);
  const chosen =
    endpoint.balance === 'least_connections'
      ? leastConnections(
          candidates.map((candidate) => ({ ...candidate, sessions: sessionsOf(candidate.name) })),
        )
      : nextByWeight(candidates, credits);
  const backend = readers.find(({ name }) => name === chosen);
  return backend === undefined ? routeReadFallback(snapshot, cluster, excluded) : { backend, reason };
}

/** Who shares the reads of a cluster, in the forms that a choice needs. */
interface Reading {
  readonly readers: readonly BackendView[];
  readonly candidates: readonly Candidate[];
  readonly reason: string;
}

/** Made once a snapshot, cluster and balance: where each statement finds its own way, each one asks. */
const readings = new WeakMap<Snapshot, Map<string, Reading>>();

function readingOf(
  snapshot: Snapshot,
  cluster: ClusterView,
  { balance }: Endpoint,
  excluded: ReadonlySet<string>,
): Reading {
  let known = readings.get(snapshot);
  if (known === undefined) readings.set(snapshot, (known = new Map<string, Reading>()));
  const key = `${balance} ${cluster.name}`;
  const found = excluded.size === 0 ? known.get(key) : undefined;
  if (found !== undefined) return found;
  const readers = readersOf(snapshot, cluster, excluded);
  const reading: Reading = {
    readers,
    candidates: readers.map(({ name, roWeight }) => ({ name, weight: roWeight, sessions: 0 })),
    reason: `${balance} among ${readers.length} by ro_weight`,
  };
  if (excluded.size === 0) known.set(key, reading);
  return reading;
}

/** The servers that share the reads of a cluster now, by their ro_weight. */
export function readersOf(
  snapshot: Snapshot,
  cluster: ClusterView,
  excluded: ReadonlySet<string>,
): BackendView[] {
  const primaryServes = routePrimary(snapshot, cluster, excluded).backend !== null;
  return membersOf(snapshot, cluster).filter((backend) => {
    if (excluded.has(backend.name) || backend.roWeight <= 0) return false;
    if (backend.name === cluster.primary) return backend.roWeightSet && primaryServes;
    return backend.readable && takesSessions(backend);
  });
}

/** Reads may go to a primary that takes no writes now (held, or read-only for maintenance). */
function routeReadFallback(snapshot: Snapshot, cluster: ClusterView, excluded: ReadonlySet<string>): Route {
  const members = membersOf(snapshot, cluster);
  const backend = members.find(
    (member) => member.role === 'primary' && takesSessions(member) && !excluded.has(member.name),
  );
  if (backend !== undefined) return { backend, reason: 'no replica can serve, so the primary does' };
  return { backend: null, reason: members.map(whyNot).join('; ') || 'it has no servers' };
}

/**
 * Whether a session that was sent to `backend` a moment ago may still begin there: opening its connection
 * took time, and a promotion may have begun meanwhile.
 */
export function maySessionBegin(snapshot: Snapshot, endpoint: Endpoint, backend: string): boolean {
  const view = snapshot.backends.find(({ name }) => name === backend);
  if (view === undefined || !takesSessions(view)) return false;
  const cluster = snapshot.clusters.find(({ name }) => name === endpoint.cluster);
  return endpoint.mode === 'read' || (cluster?.primary === backend && !cluster.writesHeld);
}

/**
 * Whether reads may go on at a server that they were sent to earlier; false: another one is there that they belong to
 * now. Servers that are down, or were taken out, are left in other ways.
 */
export function mayReadOn(snapshot: Snapshot, clusterName: string, backend: string): boolean {
  const cluster = snapshot.clusters.find(({ name }) => name === clusterName);
  const view = snapshot.backends.find(({ name }) => name === backend);
  if (cluster === undefined || view === undefined || !takesSessions(view) || view.readable) return true;
  const readers = readersOf(snapshot, cluster, NOBODY);
  if (readers.length > 0) return readers.includes(view);
  const fallback = routeReadFallback(snapshot, cluster, NOBODY).backend;
  return fallback === null || fallback === view;
}

const NOBODY: ReadonlySet<string> = new Set();

function routePrimary(snapshot: Snapshot, cluster: ClusterView, excluded: ReadonlySet<string>): Route {
  if (cluster.writesHeld) return { backend: null, reason: 'writes are held while a promotion is under way' };
  if (cluster.primary === null) return { backend: null, reason: cluster.reason };
  const backend = snapshot.backends.find(({ name }) => name === cluster.primary);
  if (backend === undefined) return { backend: null, reason: `${cluster.primary} is not configured` };
  if (!takesSessions(backend)) return { backend: null, reason: whyNot(backend) };
  if (!backend.writable) return { backend: null, reason: `${backend.name} is read-only` };
  if (excluded.has(backend.name)) return { backend: null, reason: `${backend.name} has just failed` };
  return { backend, reason: 'it is the primary' };
}

function membersOf(snapshot: Snapshot, cluster: ClusterView): BackendView[] {
  return snapshot.backends.filter((backend) => backend.cluster === cluster.name);
}

function takesSessions(backend: BackendView): boolean {
  return backend.state === 'online' || backend.state === 'suspect';
}

function whyNot(backend: BackendView): string {
  if (backend.reason !== '') return `${backend.name} is ${backend.state} (${backend.reason})`;
  const shareless = takesSessions(backend) && backend.roWeight <= 0;
  return `${backend.name} is ${backend.state}${shareless ? ', its ro_weight is 0' : ''}`;
}
