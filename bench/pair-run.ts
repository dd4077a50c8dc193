/**
 * The program that `failover.ts` runs for what happens to a whole pair: two hosts with a server, dbproxy and keepalived
 * each, in a network that only this process sees. Its output is that of `failover-run.ts`.
 *
 *   node bench/pair-run.ts FLAVOUR ROUNDS CASE…
 */
import assert from 'node:assert/strict';
import type { HostFlavour } from '../test/lab/host-servers.ts';
import { insideOwnNetwork } from '../test/lab/hosts.ts';
import { CLIENT_ADDRESS, type TwoHosts } from '../test/lab/two-hosts.ts';
import { eventually } from '../test/support/eventually.ts';
import { eventSince } from '../test/support/failovers.ts';
import {
  bringVips,
  failures,
  holderWithPrimary,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../test/support/pair-scenarios.ts';
import { pairCases, type FailoverSample } from './failover.ts';

/** For who waits for an answer where nothing dies. */
const PATIENT_MS = 10_000;

if (await insideOwnNetwork(CLIENT_ADDRESS)) {
  const [flavour, rounds, ...names] = process.argv.slice(2);
  const cases = pairCases.filter(({ name }) => names.includes(name));
  const pair = await startPairOfHosts({ flavour: flavour as HostFlavour });
  try {
    for (let round = 1; round <= Number(rounds); round++) {
      for (const { name, fault } of cases) {
        const measured = fault === 'host' ? await hostDies(pair) : await vipMoves(pair);
        const sample: FailoverSample = { name, flavour: pair.flavour, ...measured, problem: null };
        process.stdout.write(`${JSON.stringify(sample)}\n`);
      }
    }
  } finally {
    await pair.close();
  }
}

type Measured = Pick<FailoverSample, 'gapMs' | 'failed'>;

/** The host with the VIP and the primary loses its power, and gets it back. */
async function hostDies(pair: TwoHosts): Promise<Measured> {
  const holder = await holderWithPrimary(pair);
  const other = pair.other(holder);
  const from = other.proxy.log.length;
  const workload = await underLoad(pair, async () => {
    await holder.powerOff();
    await eventSince(other.proxy, from, 'promote.done');
  });
  await holder.boot();
  await settledAgain(pair);
  // From now on it can have the VIP.
  await eventually(() => assert.equal(holder.keepalived.state, 'BACKUP'));
  return { gapMs: workload.longestGapMs, failed: failures(workload).length };
}

/** The host with the VIPs gives them up, as an operator wants. */
async function vipMoves(pair: TwoHosts): Promise<Measured> {
  const holder = await holderWithPrimary(pair);
  const workload = await underLoad(pair, () => bringVips(pair, pair.other(holder)), PATIENT_MS);
  return { gapMs: workload.longestGapMs, failed: failures(workload).length };
}
