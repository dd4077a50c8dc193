/**
 * What happened between two snapshots, as events: the line in the log and the row of SHOW EVENTS.
 */
import { ToldReasons } from '../base/told-reasons.ts';
import type { BackendView, ClusterView, Snapshot } from './snapshot.ts';

export interface TopologyEvent {
  /** Event name as the log writes it. */
  readonly event: string;
  /** Backend or cluster. */
  readonly subject: string;
  readonly detail: string;
  readonly level: 'info' | 'warn';
}

/** Tells what happened, snapshot by snapshot; remembers which reasons of an outage it has told. */
export class TopologyChanges {
  readonly #told = new Map<string, ToldReasons>();

  /** The events that lead from one snapshot to the next, clusters last as they follow from backends. */
  between(previous: Snapshot, next: Snapshot): TopologyEvent[] {
    const events: TopologyEvent[] = [];
    for (const backend of next.backends) {
      const before = previous.backends.find(({ name }) => name === backend.name);
      if (before !== undefined) events.push(...this.#backendEvents(before, backend));
    }
    for (const { name } of previous.backends) {
      if (!next.backends.some((backend) => backend.name === name)) this.#told.delete(name);
    }
    for (const cluster of next.clusters) {
      const before = previous.clusters.find(({ name }) => name === cluster.name);
      if (before !== undefined) events.push(...clusterEvents(before, cluster));
    }
    return events;
  }

  #backendEvents(before: BackendView, now: BackendView): TopologyEvent[] {
    const told = this.#toldOf(now.name);
    const isWell = now.reason === '';
    if (isWell || (now.state === 'online' && before.state !== 'online')) told.forget();
    const events = backendEvents(before, now);
    if (events.length > 0) {
      if (events.some(({ detail }) => detail === now.reason)) told.isNews(now.reason);
      return events;
    }
    // A reason that changed without any of the above is news of its own: another error, for example.
    if (before.reason === now.reason || !(isWell || told.isNews(now.reason))) return [];
    const [detail, level] = isWell ? (['all is well', 'info'] as const) : ([now.reason, 'warn'] as const);
    return [{ event: 'backend.reason', subject: now.name, detail, level }];
  }

  #toldOf(backend: string): ToldReasons {
    const told = this.#told.get(backend) ?? new ToldReasons();
    this.#told.set(backend, told);
    return told;
  }
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
