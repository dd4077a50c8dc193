/** What scenarios of a pair of hosts say again and again: clients at the VIP, who holds it, what must be true at the end. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { findBrokenPromises, findTwoWriters } from '../chaos/verify.ts';
import { Workload } from '../chaos/workload.ts';
import { insideOwnNetwork, whyNoOwnNetwork } from '../lab/hosts.ts';
import type { HostFlavour } from '../lab/host-servers.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import {
  CLIENT_ADDRESS,
  PAIR_PORTS,
  TwoHosts,
  WRITE_VIP,
  type PairHost,
  type TwoHostsOptions,
} from '../lab/two-hosts.ts';
import { eventually } from './eventually.ts';
import { primaryOf, untilWell } from './failovers.ts';

const LONG_MS = 30_000;
/** So many acknowledged writes are "it goes on". */
const A_FEW = 20;
/** They take a minute or two each: MySQL 9.7 only when it is asked for. */
const FLAVOURS: readonly HostFlavour[] =
  process.env['DBPROXY_TEST_FLAVOURS'] === undefined ? ['mariadb'] : ['mariadb', 'mysql97'];
/** No client of the lab is left without an answer for longer than an application would stand. */
const ANSWER_TIMEOUT_MS = 4_000;

/** Defines scenarios, in a network of their own, for each kind of server; where none can be made it says why. */
export async function pairSuite(name: string, define: (flavour: HostFlavour) => void): Promise<void> {
  const reason = whyNoOwnNetwork();
  if (reason !== null) {
    void test(name, { skip: reason }, () => undefined);
    return;
  }
  if (!(await insideOwnNetwork(CLIENT_ADDRESS))) return;
  forEachFlavour((flavour) => {
    void suite(`${name} on ${flavour}`, () => define(flavour as HostFlavour));
  }, FLAVOURS);
}

/** A pair with everything started, h1 with the VIP and the primary. */
export async function startPairOfHosts(options: TwoHostsOptions): Promise<TwoHosts> {
  const pair = await TwoHosts.open(options);
  try {
    await Promise.all(pair.hosts.map((host) => host.startProxy()));
    pair.h1.keepalived.start();
    await pair.untilHeld('h1');
    pair.h2.keepalived.start();
    await settled(pair);
    return pair;
  } catch (error) {
    await pair.close();
    throw error;
  }
}

/** Resolves with the holder of the VIP when there is one, nothing is wrong, and the standby knows the same primary. */
export async function settled(pair: TwoHosts): Promise<PairHost> {
  const holder = await pair.untilHeld();
  await untilInCharge(holder);
  await untilWell(holder.proxy);
  return holder;
}

/** Resolves when the proxy of this host may act. */
async function untilInCharge(host: PairHost): Promise<void> {
  await eventually(async () => {
    const [cluster] = await host.proxy.admin('SHOW CLUSTERS');
    assert.ok(/^(0|off|no|)$/.test(String(cluster!['maintenance'])), JSON.stringify(cluster));
  }, LONG_MS);
}

/** As `settled`, with the primary on the holder's own host: a switchover where it is not. */
export async function holderWithPrimary(pair: TwoHosts): Promise<PairHost> {
  const holder = await settled(pair);
  if ((await primaryOf(holder.proxy)) !== holder.server.name) {
    await holder.proxy.admin(`SWITCHOVER TO ${holder.server.name}`);
    await settled(pair);
  }
  return holder;
}

let next = 1;

/**
 * Has something happen while clients write through the VIP; resolves when their writes go on, all that was acknowledged
 * is there, and never two servers have been written.
 */
export async function underLoad(
  pair: TwoHosts,
  happen: (workload: Workload) => Promise<void>,
): Promise<Workload> {
  const load = { clients: 4, paceMs: 5, first: next, host: WRITE_VIP, answerTimeoutMs: ANSWER_TIMEOUT_MS };
  const workload = new Workload(PAIR_PORTS, load);
  try {
    await goesOn(workload);
    workload.measureGap();
    await happen(workload);
    await goesOn(workload);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${story(pair)}`, { cause: error });
  } finally {
    await workload.stop();
    next = workload.next;
  }
  await assertKept(pair, workload);
  return workload;
}

/** Resolves when a few writes more have been acknowledged. */
export async function goesOn(workload: Workload): Promise<void> {
  const before = workload.acknowledged;
  await eventually(() => assert.ok(workload.acknowledged >= before + A_FEW, 'writes do not go on'), LONG_MS);
}

async function assertKept(pair: TwoHosts, workload: Workload): Promise<void> {
  const holder = await pair.untilHeld();
  const primary = await primaryOf(holder.proxy);
  const { server } = pair.hosts.find((host) => host.server.name === primary)!;
  const rows = await server.query('select id, part from demo.written');
  assert.deepEqual(findBrokenPromises(workload.entries, rows), [], story(pair));
  assert.deepEqual(await findTwoWriters(server), [], story(pair));
}

/** Promotions that a proxy has ended well since its log was this long. */
export function promotionsSince(host: PairHost, from: number): number {
  return host.proxy.log.slice(from).filter(({ event }) => event === 'promote.done').length;
}

function story(pair: TwoHosts): string {
  return pair.hosts
    .map((host) => {
      const events = host.proxy.log.slice(-40).map((event) => JSON.stringify(event));
      const vrrp = host.keepalived.output.split('\n').filter((line) => !/gratuitous/i.test(line));
      return [`--- ${host.name}`, ...events, ...vrrp.slice(-25)].join('\n');
    })
    .join('\n');
}
