/**
 * The program that `failover.ts` runs: it needs hosts of its own, which live in a network that only this process sees.
 * A line of JSON a round on its standard output: `{ name, flavour, gapMs, failed, problem }`.
 *
 *   node bench/failover-run.ts FLAVOUR ROUNDS CASE…
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ChaosCluster, type ChaosFlavour } from '../test/chaos/cluster.ts';
import { inflict } from '../test/chaos/faults.ts';
import { getWell } from '../test/chaos/heal.ts';
import { Workload } from '../test/chaos/workload.ts';
import { insideOwnNetwork } from '../test/lab/hosts.ts';
import { serverCases, type FailoverSample } from './failover.ts';

/** Of load before it happens, so that everything is warm. */
const WARM_MS = 1_000;
/** Until writes have gone on for sure. */
const OBSERVED_MS = 4_000;
/** How often one client alone writes; many write as fast as they can. */
const ALONE_PACE_MS = 5;

if (await insideOwnNetwork()) {
  const [flavour, rounds, ...names] = process.argv.slice(2);
  const cases = serverCases.filter(({ name }) => names.includes(name));
  for (const interval of new Set(cases.map(({ checkFastInterval }) => checkFastInterval))) {
    const cluster = await ChaosCluster.start({
      flavour: flavour as ChaosFlavour,
      servers: 2,
      config: { 'cluster main': { check_fast_interval: interval, write_check: 'off' } },
    });
    try {
      let first = 1;
      for (let round = 1; round <= Number(rounds); round++) {
        for (const one of cases.filter(({ checkFastInterval }) => checkFastInterval === interval)) {
          const { sample, next } = await measure(cluster, one, first);
          process.stdout.write(`${JSON.stringify(sample)}\n`);
          if (sample.problem !== null) throw new Error(sample.problem);
          first = next;
        }
      }
    } finally {
      await cluster.stop();
    }
  }
}

/** One round of one case, and all made well again. */
async function measure(
  cluster: ChaosCluster,
  { name, fault, clients }: (typeof serverCases)[number],
  first: number,
): Promise<{ sample: FailoverSample; next: number }> {
  const primary = await cluster.primary();
  if (primary === null) throw new Error('there is no primary');
  const paceMs = clients === 1 ? ALONE_PACE_MS : 0;
  const workload = new Workload(cluster.proxy.ports, { clients, paceMs, first });
  await delay(WARM_MS);
  workload.measureGap();
  const before = workload.entries.length;
  const mend = await inflict(fault, cluster, cluster.machine(primary));
  await delay(OBSERVED_MS);
  const gapMs = workload.longestGapMs;
  await workload.stop();
  const failed = workload.entries.slice(before).filter(({ outcome }) => outcome !== 'acknowledged').length;
  await mend();
  const { problem } = await getWell(cluster);
  return { sample: { name, flavour: cluster.flavour, gapMs, failed, problem }, next: workload.next };
}
