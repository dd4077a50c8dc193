/**
 * The program that `failover.ts` runs for what happens to a whole pair: two hosts with a server, dbproxy and keepalived
 * each, in a network that only this process sees. Its output is that of `failover-run.ts`.
 *
 *   node bench/pair-run.ts FLAVOUR ROUNDS CASE…
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createConnection } from 'mysql2/promise';
import type { HostFlavour } from '../test/lab/host-servers.ts';
import { insideOwnNetwork } from '../test/lab/hosts.ts';
import { CLIENT_ADDRESS, PAIR_PORTS, WRITE_VIP, type TwoHosts } from '../test/lab/two-hosts.ts';
import { endAtOnce } from '../test/support/end-at-once.ts';
import { eventually } from '../test/support/eventually.ts';
import { diagnoses, eventSince } from '../test/support/failovers.ts';
import {
  bringVips,
  failures,
  holderWithPrimary,
  settledAgain,
  startPairOfHosts,
  underLoad,
} from '../test/support/pair-scenarios.ts';
import { pairCases, type FailoverSample } from './failover.ts';

/** Rows of `standbyServes`: other than those of workloads. */
let lastId = 0;
/** For who waits for an answer where nothing dies. */
const PATIENT_MS = 10_000;

const CLIENT = { user: 'app', password: 'app', database: 'demo' };
const HAPPENINGS = { host: hostDies, vip: vipMoves, standby: standbyServes };

if (await insideOwnNetwork(CLIENT_ADDRESS)) {
  const [flavour, rounds, ...names] = process.argv.slice(2);
  const cases = pairCases.filter(({ name }) => names.includes(name));
  const pair = await startPairOfHosts({ flavour: flavour as HostFlavour });
  try {
    for (let round = 1; round <= Number(rounds); round++) {
      for (const { name, fault } of cases) {
        const measured = await HAPPENINGS[fault](pair);
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

/** By hand, as keepalived takes its time: the holder has it no more, then the other one has it, whom nobody has asked before. */
async function standbyServes(pair: TwoHosts): Promise<Measured> {
  const holder = await holderWithPrimary(pair);
  const standby = pair.other(holder);
  for (const { keepalived } of [standby, holder]) await keepalived.stop();
  await eventually(async () => assert.deepEqual(await diagnoses(holder.proxy), ['NotInCharge']));
  const onStandby = (...words: string[]): unknown => {
    const [command, ...args] = standby.host.command('ip', ...words);
    return execFileSync(command, args);
  };
  onStandby('addr', 'add', `${WRITE_VIP}/24`, 'dev', 'eth0');
  // What keepalived tells everybody: the address is at another card.
  execFileSync('ip', ['neigh', 'flush', 'to', WRITE_VIP]);
  const startMs = performance.now();
  while (!(await writesOne())) assert.ok(performance.now() - startMs < PATIENT_MS, 'it does not serve');
  const gapMs = performance.now() - startMs;
  onStandby('addr', 'del', `${WRITE_VIP}/24`, 'dev', 'eth0');
  holder.keepalived.start();
  await pair.untilHeld(holder.name);
  standby.keepalived.start();
  await eventually(() => assert.equal(standby.keepalived.state, 'BACKUP'));
  return { gapMs, failed: 0 };
}

async function writesOne(): Promise<boolean> {
  let connection;
  try {
    connection = await createConnection({ host: WRITE_VIP, port: PAIR_PORTS.write, ...CLIENT });
    await connection.query('insert into written (id, part, server, at_ms) values (?, 0, @@server_id, 0)', [
      --lastId,
    ]);
    return true;
  } catch (error) {
    // Its listener has not noticed yet.
    if ((error as { code?: string }).code !== 'ECONNREFUSED') throw error;
    return false;
  } finally {
    if (connection !== undefined) endAtOnce(connection);
  }
}
