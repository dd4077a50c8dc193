/**
 * What happened between two snapshots, as events: the line in the log and the row of SHOW EVENTS.
 */
import type { BackendView, ClusterView, Snapshot } from './snapshot.ts';

export interface TopologyEvent {
  /** Event name as the log writes it. */
  readonly event: string;
  /** Backend or cluster. */
  readonly subject: string;
  readonly detail: string;
  readonly level: 'info' | 'warn';
}

/** The events that lead from one snapshot to the next, clusters last as they follow from backends. */
export function topologyEvents(previous: Snapshot, next: Snapshot): TopologyEvent[] {
  const events: TopologyEvent[] = [];
  for (const backend of next.backends) {
    const before = previous.backends.find(({ name }) => name === backend.name);
    if (before !== undefined) events.push(...backendEvents(before, backend));
  }
  for (const cluster of next.clusters) {
    const before = previous.clusters.find(({ name }) => name === cluster.name);
    if (before !== undefined) events.push(...clusterEvents(before, cluster));
  }
  return events;
}

function backendEvents(before: BackendView, now: BackendView): TopologyEvent[] {
  const events: TopologyEvent[] = [];
  const add = (event: string, detail: string, level: TopologyEvent['level'] = 'info'): void => {
    events.push({ event, subject: now.name, detail, level });
  };
  if (before.state !== now.state) {
    const level = now.state === 'down' || now.state === 'suspect' ? 'warn' : 'info';
    add(
      `backend.${now.state}`,
      now.reason || (before.serverVersion === null ? 'answers' : `was ${before.state}`),
      level,
    );
  }
  if (before.role !== now.role) add('backend.role', `${before.role} to ${now.role}`);
  if (before.readable !== now.readable) {
    if (now.readable) add('backend.readable', now.reason || 'takes reads');
    else {
      const isPromoted = before.role !== now.role && now.role === 'primary';
      add('backend.not_readable', now.reason || `it is ${now.role} now`, isPromoted ? 'info' : 'warn');
    }
  }
  if (before.rwWeight !== now.rwWeight || before.roWeight !== now.roWeight) {
    const weights = (view: BackendView): string => `rw ${view.rwWeight}, ro ${view.roWeight}`;
    add('backend.weights', `${weights(before)} to ${weights(now)}`);
  }
  if (before.maxConnections !== now.maxConnections) {
    add('backend.max_connections', `${before.maxConnections} to ${now.maxConnections}`);
  }
  // A reason that changed without any of the above is news of its own: another error, for example.
  if (events.length === 0 && before.reason !== now.reason) {
    add('backend.reason', now.reason || 'all is well', now.reason === '' ? 'info' : 'warn');
  }
  return events;
}

function clusterEvents(before: ClusterView, now: ClusterView): TopologyEvent[] {
  const subject = now.name;
  if (before.primary === now.primary && before.writesHeld === now.writesHeld) return [];
  if (now.writesHeld) return [{ event: 'cluster.writes_held', subject, detail: now.reason, level: 'info' }];
  return now.primary === null
    ? [{ event: 'cluster.no_primary', subject, detail: now.reason, level: 'warn' }]
    : [{ event: 'cluster.primary', subject, detail: `${now.primary} takes the writes`, level: 'info' }];
}
