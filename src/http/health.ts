/**
 * Can a write, can a read be routed now? Pure answers from the topology snapshot, with one line saying
 * why, for load balancers and keepalived.
 */
import { readersOf, route } from '../routing/router.ts';
import type { ClusterView, Snapshot } from '../topology/snapshot.ts';

const NOBODY: ReadonlySet<string> = new Set();

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

/** Asks the router itself, so that the answer is what a session would meet. */
function answerFor(question: HealthQuestion, snapshot: Snapshot, cluster: ClusterView): HealthAnswer {
  const endpoint = { cluster: cluster.name, mode: question, balance: 'weighted_round_robin' } as const;
  const { backend, reason } = route(snapshot, endpoint, new Map(), () => 0, NOBODY);
  if (backend === null) return { well: false, reason: `${cluster.name}: no ${question}s: ${reason}` };
  if (question === 'write') return { well: true, reason: `${cluster.name}: writes go to ${backend.name}` };
  const readers = readersOf(snapshot, cluster, NOBODY).map(({ name }) => name);
  const where = readers.length > 0 ? readers.join(', ') : `${backend.name}: ${reason}`;
  return { well: true, reason: `${cluster.name}: reads go to ${where}` };
}
