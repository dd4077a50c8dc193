/**
 * Can a write, can a read be routed now? Pure answers from the topology snapshot, with one line saying
 * why, for load balancers and keepalived.
 */
import type { BackendView, ClusterView, Snapshot } from '../topology/snapshot.ts';

/** What is asked of a cluster. */
export type HealthQuestion = 'write' | 'read';

export interface HealthAnswer {
  well: boolean;
  /** One line of text. */
  reason: string;
}

/** The answer for one cluster, or with no name for all of them: well only if each is. */
export function healthOf(
  question: HealthQuestion,
  snapshot: Snapshot,
  clusterName?: string,
): HealthAnswer | 'unknown cluster' {
  const clusters = snapshot.clusters.filter(
    (cluster) => clusterName === undefined || cluster.name === clusterName,
  );
  if (clusters.length === 0 && clusterName !== undefined) return 'unknown cluster';
  const answers = clusters.map((cluster) => answerFor(question, snapshot, cluster));
  const bad = answers.filter((answer) => !answer.well);
  if (clusters.length === 0) return { well: false, reason: 'no cluster is known' };
  return {
    well: bad.length === 0,
    reason: (bad.length > 0 ? bad : answers).map(({ reason }) => reason).join('; '),
  };
}

function answerFor(question: HealthQuestion, snapshot: Snapshot, cluster: ClusterView): HealthAnswer {
  const members = snapshot.backends.filter((backend) => backend.cluster === cluster.name);
  const primary = members.find((backend) => backend.name === cluster.primary);
  return question === 'write' ? canWrite(cluster, primary) : canRead(cluster, primary, members);
}

/**
 * A write can be routed when
 * 1. the cluster has a primary,
 * 2. no promotion holds the writes,
 * 3. the primary takes new sessions,
 * 4. and it is writable.
 */
function canWrite(cluster: ClusterView, primary: BackendView | undefined): HealthAnswer {
  const no = (why: string): HealthAnswer => ({ well: false, reason: `${cluster.name}: no writes: ${why}` });
  if (primary === undefined) return no(cluster.reason || 'there is no primary');
  if (cluster.writesHeld) return no('a promotion is under way');
  if (!takesSessions(primary)) return no(whyNot(primary));
  if (!primary.writable) return no(`${primary.name} is read-only`);
  return { well: true, reason: `${cluster.name}: writes go to ${primary.name}` };
}

/**
 * A read can be routed when
 * 1. a server is readable and has a share of the reads,
 * 2. or else the primary can take the reads in its place.
 */
function canRead(
  cluster: ClusterView,
  primary: BackendView | undefined,
  members: readonly BackendView[],
): HealthAnswer {
  const readers = members.filter(
    (backend) => backend.readable && takesSessions(backend) && backend.roWeight > 0,
  );
  if (readers.length > 0) {
    return {
      well: true,
      reason: `${cluster.name}: reads go to ${readers.map(({ name }) => name).join(', ')}`,
    };
  }
  if (primary !== undefined && takesSessions(primary)) {
    return {
      well: true,
      reason: `${cluster.name}: reads go to the primary ${primary.name}: no replica can serve`,
    };
  }
  const why = members.map(whyNot).join(', ') || 'it has no servers';
  return { well: false, reason: `${cluster.name}: no reads: ${why}` };
}

function takesSessions(backend: BackendView): boolean {
  switch (backend.state) {
    case 'online':
    case 'suspect':
      return true;
    case 'down':
    case 'draining':
    case 'offline':
      return false;
  }
}

function whyNot(backend: BackendView): string {
  return backend.reason === ''
    ? `${backend.name} is ${backend.state}`
    : `${backend.name} is ${backend.state} (${backend.reason})`;
}
