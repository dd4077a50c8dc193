/**
 * After the faults: waits until all is well again, and does what is left for an operator to do.
 */
import type { ChaosCluster } from './cluster.ts';
import { startThoseThatEnded } from './faults.ts';
import type { Workload } from './workload.ts';

/**
 * From the end of the faults until all is well, a copy included. MariaDB looks once a minute whether a full disk has
 * room again, and does not answer until then.
 */
const WELL_MS = 90_000;

/**
 * Waits until all is well; a server that has what nobody else has is copied anew, as an operator would. `workload`: its
 * writes go on, too. A primary that a full disk has hung answers all questions, and that it takes no writes is not known
 * at once.
 */
export async function getWell(
  cluster: ChaosCluster,
  workload: Workload | null = null,
): Promise<{ copied: string[]; problem: string | null }> {
  const copied: string[] = [];
  const endMs = performance.now() + WELL_MS;
  for (;;) {
    try {
      // One whose disk is full may end a while after that.
      await startThoseThatEnded(cluster);
      if ((await workload?.goesOn(3_000)) === false)
        throw new Error('nothing that is written is acknowledged');
      await cluster.untilWell(3_000);
      return { copied, problem: null };
    } catch (error) {
      if (performance.now() > endMs) return { copied, problem: (error as Error).message };
    }
    for (const name of await diverged(cluster)) {
      if (copied.includes(name)) continue;
      copied.push(name);
      await bringBack(cluster, name);
    }
  }
}

/** What an operator does about it: has it undone by dbproxy, or where that cannot be, fills the server anew. */
async function bringBack(cluster: ChaosCluster, name: string): Promise<void> {
  try {
    await cluster.proxy.admin(`REJOIN ${name} DISCARD`);
  } catch {
    await cluster.copyAnew(name);
  }
}

/** Servers that dbproxy has told to hold what the primary has not, and that therefore wait for an operator. */
async function diverged(cluster: ChaosCluster): Promise<string[]> {
  const primary = await cluster.primary().catch(() => null);
  const found = await cluster.diagnoses().catch(() => []);
  return cluster.names.filter(
    (name) =>
      name !== primary &&
      found.some(
        ({ name: diagnosis, detail }) =>
          ['ReplicaDiverged', 'OldPrimaryReturned', 'ReplicaBroken'].includes(diagnosis) &&
          detail.includes(name),
      ) &&
      cluster.proxy.log.some(
        ({ event, subject, backend }) =>
          event === 'rejoin.diverged' && (subject === name || backend === name),
      ),
  );
}
