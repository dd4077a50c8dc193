/**
 * Can a write, can a read be routed now? Pure answers from the topology snapshot, with one line saying
 * why, for load balancers and keepalived.
 */
import type { ListenerConfig } from '../config/config.ts';
import type { ListenerStatus } from '../ipc/operations.ts';
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
  const told = (bad.length > 0 ? bad : answers).map(({ reason }) => reason);
  const resting = clusters.filter(({ maintenance }) => maintenance !== 'off').map(({ name }) => name);
  const notes = resting.length === 0 ? [] : [`MAINTENANCE is on in ${resting.join(', ')}`];
  return { well: bad.length === 0, reason: [...told, ...notes].join('; ') };
}

/** Both answers in a line, for people who look at the process from outside. */
export function healthWords(snapshot: Snapshot): string {
  const answers = (['write', 'read'] as const).map((question) => healthOf(question, snapshot));
  const reasons = answers.flatMap((answer) => (typeof answer === 'string' ? [] : answer.reason.split('; ')));
  return [...new Set(reasons), `epoch ${snapshot.epoch}`].join('; ');
}

/**
 * The listeners that such a question is about and nobody can connect to here, each with why: on the host that does not
 * hold a virtual IP. It changes nothing about the answer: this proxy can route, as soon as the address comes.
 */
export function notHere(
  question: HealthQuestion,
  listeners: readonly Pick<ListenerConfig, 'name' | 'cluster' | 'mode'>[],
  statuses: readonly Pick<ListenerStatus, 'listener' | 'error'>[],
  clusterName?: string,
): string[] {
  return listeners
    .filter(({ cluster }) => clusterName === undefined || cluster === clusterName)
    .filter(({ mode }) => mode === question || mode === 'split')
    .flatMap(({ name }) => {
      const own = statuses.filter(({ listener }) => listener === name);
      const [first] = own;
      if (first === undefined || own.some(({ error }) => error === null)) return [];
      return [`listener ${name}: ${first.error}`];
    });
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
