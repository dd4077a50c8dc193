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
import { diagnoses, primaryOf } from './failovers.ts';

const LONG_MS = 30_000;
/** So many acknowledged writes are "it goes on". */
const A_FEW = 20;
/**
 * How long clients wait for an answer before they begin anew. Where a host dies that has taken a statement nobody ever tells
 * its client, so no gap is shorter than that.
 */
const ANSWER_TIMEOUT_MS = 1_000;

/**
 * Defines scenarios, in a network of their own, for each kind of server (MariaDB unless told otherwise); where none can be
 * made it says why.
 */
export async function pairSuite(
  name: string,
  define: (flavour: HostFlavour) => void,
  flavours: readonly HostFlavour[] = ['mariadb'],
): Promise<void> {
  const reason = whyNoOwnNetwork();
  if (reason !== null) {
    void test(name, { skip: reason }, () => undefined);
    return;
  }
  if (!(await insideOwnNetwork(CLIENT_ADDRESS))) return;
  forEachFlavour((flavour) => {
    void suite(`${name} on ${flavour}`, () => define(flavour as HostFlavour));
  }, flavours);
}

/** A pair with everything started, h1 with the VIPs and the primary. */
export async function startPairOfHosts(options: TwoHostsOptions): Promise<TwoHosts> {
  const pair = await TwoHosts.open(options);
  try {
    await Promise.all(pair.hosts.map(({ proxy }) => proxy.start()));
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

/**
 * Resolves with the holder of the write VIP when there is one, nothing is wrong for it, and the other looks on and knows the
 * same primary.
 */
export async function settled(pair: TwoHosts): Promise<PairHost> {
  return eventually(async () => {
    const holder = await pair.untilHeld();
    const standby = pair.other(holder).proxy;
    assert.deepEqual(await diagnoses(holder.proxy), ['AllHealthy']);
    assert.deepEqual(await diagnoses(standby), ['NotInCharge']);
    assert.equal(await primaryOf(standby), await primaryOf(holder.proxy));
    return holder;
  }, LONG_MS).catch((error: Error) => {
    throw new Error(`not settled: ${error.message}\n${story(pair)}`, { cause: error });
  });
}

/**
 * As `settled`, after something that may have left a server with what nobody else has, or was told: statements that the old
 * primary had begun and that were never acknowledged. What dbproxy does not take back by itself an operator has it undo.
 */
export async function settledAgain(pair: TwoHosts): Promise<PairHost> {
  const told = new Set<string>();
  return eventually(async () => {
    const holder = await pair.untilHeld();
    const found = (await diagnoses(holder.proxy)).join();
    if (found === 'AllHealthy') return settled(pair);
    for (const { server } of pair.hosts) {
      const diverged = holder.proxy.log.some(
        ({ event, subject }) => event === 'rejoin.diverged' && subject === server.name,
      );
      if (!diverged || told.has(server.name) || (await primaryOf(holder.proxy)) === server.name) continue;
      await holder.proxy.admin(`REJOIN ${server.name} DISCARD`);
      told.add(server.name);
    }
    throw new Error(found);
  }, LONG_MS).catch((error: Error) => {
    throw new Error(`not settled: ${error.message}\n${story(pair)}`, { cause: error });
  });
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

/** Has the VIPs come to this host, by the other one that gives them up for a while. */
export async function bringVips(pair: TwoHosts, to: PairHost): Promise<void> {
  const from = pair.other(to);
  from.sendAway(true);
  await pair.untilHeld(to.name);
  from.sendAway(false);
}

let next = 1;

/**
 * Has something happen while clients write through the VIP; resolves when their writes go on, all that was acknowledged
 * is there, and never two servers have been written.
 */
export async function underLoad(
  pair: TwoHosts,
  happen: (workload: Workload) => Promise<void>,
  answerTimeoutMs = ANSWER_TIMEOUT_MS,
): Promise<Workload> {
  const load = { clients: 4, paceMs: 5, first: next, host: WRITE_VIP, answerTimeoutMs };
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

/** Resolves when each of the two knows that both have the VIP: then nobody is written. */
export async function bothInCharge(pair: TwoHosts): Promise<void> {
  for (const { proxy } of pair.hosts) {
    await eventually(async () => assert.ok((await diagnoses(proxy)).includes('BothInCharge')));
  }
}

/** Promotions that a proxy has ended well since its log was this long. */
export function promotionsSince(host: PairHost, from: number): number {
  return host.proxy.log.slice(from).filter(({ event }) => event === 'promote.done').length;
}

/** The pieces of work that were not acknowledged, in words. */
export function failures({ entries }: Workload): string[] {
  return entries.flatMap(({ id, outcome, error }) =>
    outcome === 'acknowledged' ? [] : [`${id} ${outcome}: ${error}`],
  );
}

/** All that clients asked for was done. */
export function assertNothingFailed(pair: TwoHosts, workload: Workload): void {
  const found = failures(workload);
  if (found.length > 0) assert.fail(`${found.join('\n')}\n${story(pair)}`);
}

/** What each of the two has told lately, for a failure's words. */
export function story(pair: TwoHosts): string {
  return pair.hosts
    .map((host) => {
      const events = host.proxy.log.slice(-40).map((event) => JSON.stringify(event));
      const vrrp = host.keepalived.output.split('\n').filter((line) => !/gratuitous/i.test(line));
      return [`--- ${host.name}`, ...events, ...vrrp.slice(-25)].join('\n');
    })
    .join('\n');
}
