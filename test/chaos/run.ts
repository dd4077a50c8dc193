/**
 * Chaos: real servers and a real dbproxy, a workload that keeps books, faults at random moments, and after each round
 * the question whether all that was acknowledged is there. The last lines are the figures.
 *
 *   npm run chaos -- [--minutes N] [--flavour mariadb|mysql97] [--seed S] [--servers 2|3] [--only kill,freeze,…] [--durable] [--log FILE]
 *   npm run chaos -- --switchovers [--minutes N] [--flavour F]
 *
 * As root: the servers' hosts are network namespaces, their disks file systems in memory. The exit code is 1 when a
 * promise was broken.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { insideOwnNetwork } from '../lab/hosts.ts';
import { Random } from '../sim/random.ts';
import { ChaosCluster } from './cluster.ts';
import { describeFault, drawFaults, inflict, type Fault } from './faults.ts';
import { getWell } from './heal.ts';
import { parseChaosArguments, USAGE, type ChaosRunOptions } from './options.ts';
import { Report } from './report.ts';
import { runSwitchovers } from './switchovers.ts';
import { verify } from './verify.ts';
import { Workload } from './workload.ts';

const CLIENTS = 9;
const PACE_MS = 4;
/** Of load before the first fault of a round, and after the last was taken back. */
const QUIET_MS = 700;

const options = parseChaosArguments(process.argv.slice(2));
if (typeof options === 'string') {
  process.stderr.write(`${options}\n${USAGE}\n`);
  process.exitCode = 64;
} else if (await insideOwnNetwork()) {
  const endMs = performance.now() + options.minutes * 60_000;
  const report = options.switchovers ? await runSwitchovers(options, endMs) : await runChaos(options, endMs);
  process.stdout.write(report.summary());
  process.exitCode = report.violations === 0 ? 0 : 1;
}

async function runChaos(run: ChaosRunOptions, endMs: number): Promise<Report> {
  const random = new Random(run.seed);
  const report = new Report(`chaos on ${run.flavour}, ${run.servers} servers, seed ${run.seed}`, run.logPath);
  const cluster = await ChaosCluster.start(run);
  const stop = (): void => void cluster.stop();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    let first: number | null = 1;
    for (let round = 1; first !== null && performance.now() < endMs; round++) {
      first = await playRound(cluster, drawFaults(random, run.only), { round, first }, report);
    }
  } catch (error) {
    report.endedEarly(error);
  } finally {
    await cluster.stop();
  }
  return report;
}

/** One round; answers the number of the next row, or null when the cluster did not get well. */
async function playRound(
  cluster: ChaosCluster,
  faults: readonly Fault[],
  { round, first }: { round: number; first: number },
  report: Report,
): Promise<number | null> {
  const before = await cluster.primary();
  const logged = cluster.proxy.log.length;
  const workload = new Workload(cluster.proxy.ports, { clients: CLIENTS, paceMs: PACE_MS, first });
  await delay(QUIET_MS);
  workload.measureGap();
  const words = await Promise.all(
    faults.map(async (fault, index) => {
      await delay(fault.afterMs);
      const replica = cluster.names.find((name) => name !== before)!;
      // Two at once: of the second, too, the part is what it was before the round.
      const name = fault.on === 'replica' ? replica : (before ?? replica);
      const mend = await inflict(fault.kind, cluster, cluster.machine(name));
      await delay(fault.forMs);
      await mend();
      return describeFault(fault, name) + (index > 0 ? ` (+${fault.afterMs} ms)` : '');
    }),
  );
  const { copied, problem } = await getWell(cluster, workload);
  await delay(QUIET_MS);
  const gapMs = workload.longestGapMs;
  await workload.stop();
  const violations =
    problem === null
      ? await verify(cluster, workload.entries)
      : [`NOT WELL: after ${words.join(', ')}: ${problem}`];
  violations.push(...workload.hung.map((words) => `HUNG: ${words}`));
  report.round({
    round,
    faults: words,
    kinds: faults.map(({ kind, on }) => (on === null ? kind : `${kind} ${on}`)),
    before,
    after: await cluster.primary().catch(() => null),
    gapMs,
    entries: workload.entries,
    copied,
    violations,
  });
  report.events(round, cluster.proxy.log.slice(logged), violations.length > 0);
  return problem === null ? workload.next : null;
}
