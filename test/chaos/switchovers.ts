/**
 * A planned change of the primary every few seconds, under sysbench's read-write transactions and under the clients
 * that keep books: how long writes paused, which statements failed, and whether all that was acknowledged is there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseSysbench, runSysbench } from '../../bench/sysbench.ts';
import { ChaosCluster } from './cluster.ts';
import type { ChaosRunOptions } from './options.ts';
import { Report } from './report.ts';
import { verify } from './verify.ts';
import { Workload } from './workload.ts';

const EVERY_MS = 5_000;
const CLIENTS = 4;
const PACE_MS = 10;
const SYSBENCH_CLIENTS = 16;
/** What sysbench writes in minutes lies in the data and the logs of each server. */
const DISK_MEGABYTES = 4_000;

/** Switchovers until the time is over. */
export async function runSwitchovers(run: ChaosRunOptions, endMs: number): Promise<Report> {
  const report = new Report(`a switchover every ${EVERY_MS / 1000} s on ${run.flavour}`, run.logPath);
  const cluster = await ChaosCluster.start({ ...run, diskMegabytes: DISK_MEGABYTES });
  const stopped = new AbortController();
  const { split, write } = cluster.proxy.ports;
  const place = { script: 'oltp_read_write', clients: SYSBENCH_CLIENTS };
  try {
    await runSysbench(
      { ...place, command: 'prepare', port: write, clients: 1, seconds: 1, options: [] },
      stopped.signal,
    );
    await cluster.untilWell();
    const seconds = Math.ceil((endMs - performance.now()) / 1000);
    const load = runSysbench(
      { ...place, command: 'run', port: split, seconds, options: ['--mysql-ignore-errors=all'] },
      stopped.signal,
    );
    load.catch(() => undefined); // it is waited for below
    let first = 1;
    for (let round = 1; performance.now() + EVERY_MS < endMs; round++) {
      const workload = new Workload(cluster.proxy.ports, { clients: CLIENTS, paceMs: PACE_MS, first });
      const dueMs = performance.now() + EVERY_MS;
      await delay(EVERY_MS / 4);
      workload.measureGap();
      const before = await cluster.primary();
      const { words, problem } = await switchOver(cluster);
      await delay(Math.max(0, dueMs - performance.now()));
      const gapMs = workload.longestGapMs;
      await workload.stop();
      const violations = workload.hung.map((one) => `HUNG: ${one}`);
      if (problem !== null) violations.push(`NOT DONE: ${problem}`);
      // The servers are compared at the end: sysbench does not stand still for it.
      violations.push(...(await verify(cluster, workload.entries)));
      const after = await cluster.primary();
      report.round({
        round,
        faults: [words],
        kinds: ['switchover'],
        before,
        after,
        gapMs,
        entries: workload.entries,
        copied: [],
        violations,
      });
      first = workload.next;
    }
    const outcome = parseSysbench(await load);
    report.note(
      `sysbench: ${outcome?.queries} queries, ${outcome?.errors} ignored errors, p99 ${outcome?.p99Ms} ms`,
    );
    await cluster.untilWell();
    return report;
  } finally {
    stopped.abort();
    await cluster.stop();
  }
}

async function switchOver(cluster: ChaosCluster): Promise<{ words: string; problem: string | null }> {
  try {
    const steps = await cluster.proxy.admin('SWITCHOVER');
    const failed = steps.filter((row) => row['result'] === 'failed');
    const totalMs = steps.reduce((sum, row) => sum + Number(row['duration_ms']), 0);
    return {
      words: `switchover in ${totalMs} ms`,
      problem:
        failed.length === 0
          ? null
          : failed.map((row) => `${String(row['step'])}: ${String(row['detail'])}`).join('; '),
    };
  } catch (error) {
    return { words: 'switchover', problem: (error as Error).message };
  }
}
