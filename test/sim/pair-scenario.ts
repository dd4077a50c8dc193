/**
 * A scenario with two dbproxies: that of one, with some of its faults, and faults of what is between the two. Follows
 * from the same seed.
 */
import { Random } from './random.ts';
import type { Deed, Fault, Pair, PairDeed, ProxyIndex, Scenario } from './scenario.ts';

/** Apart from the stream that makes the scenario of one. */
const STREAM = 0x9a17;

/** The same cluster with a dbproxy on each of the first two hosts; `beginMs`: no fault before that. */
export function withPair(scenario: Scenario, beginMs: number): Scenario {
  const random = new Random(scenario.seed ^ STREAM);
  const pair: Pair = {
    peerTimeoutMs: random.pick([800, 1_500, 3_000]),
    advertMs: random.pick([100, 300, 1_000]),
    holder: random.chance(0.7) ? 0 : 1,
    strays: random.pick([0, 0.2]),
  };
  const kept = scenario.faults.slice(0, random.pick([0, 1, 1, 2, 3]));
  const faults = kept.map((fault) => onHosts(fault, random));
  const windowMs = random.pick([100, 600, 2_000, 5_000]);
  for (let left = random.pick([0, 1, 1, 2, 3]); left > 0; left--) {
    const [step] = faults.filter((fault) => 'step' in fault);
    const when =
      step !== undefined && random.chance(0.3)
        ? { step: step.step, event: step.event, afterMs: step.afterMs * random.next() }
        : { atMs: beginMs + random.between(0, windowMs) };
    faults.push({ ...when, ...pairDeedOf(random, pair.holder) });
  }
  return { ...scenario, pair, faults };
}

/** A fault of one dbproxy strikes one of the two, which is on a host with a server. */
function onHosts(fault: Fault, random: Random): Fault {
  const proxy: ProxyIndex = random.chance(0.6) ? 0 : 1;
  const host = `host-db${proxy + 1}`;
  switch (fault.kind) {
    case 'kill_proxy':
    case 'freeze_proxy':
    case 'freeze_worker':
    case 'kill_worker':
    case 'wall_jump':
    case 'disk_full':
    case 'checker_broken':
      return { ...fault, proxy };
    case 'promote':
      return random.chance(0.2) ? { ...fault, proxy } : fault;
    case 'isolate':
      return fault.host === 'host-p1' ? { ...fault, host } : fault;
    case 'cut': {
      const [from, to] = [fault.from, fault.to].map((one) => (one === 'host-p1' ? host : one)) as [
        string,
        string,
      ];
      return { ...fault, from, to: from === to ? `host-db${2 - proxy}` : to };
    }
    case 'kill':
    case 'freeze':
    case 'host_down':
    case 'too_many_connections':
    case 'slow_apply':
    case 'maintenance':
    case 'stop_replication':
    case 'fool':
    case 'weight':
    case 'freeze_host':
    case 'stop_proxy':
    case 'kill_keepalived':
    case 'deafen':
    case 'move_vip':
    case 'peer_gone':
      return fault;
  }
}

function pairDeedOf(random: Random, holder: ProxyIndex): Deed {
  const proxy: ProxyIndex = random.chance(0.6) ? holder : holder === 0 ? 1 : 0;
  const forMs = random.pick([30, 300, 1_500, 5_000, 7_000]) * random.between(0.5, 1);
  const bothWays = random.chance(0.5);
  const server = `host-db${proxy + 1}`;
  const kinds: readonly (() => Deed | PairDeed)[] = [
    () => ({ kind: 'freeze_host', proxy, forMs }),
    () => ({ kind: 'freeze_proxy', proxy, forMs }),
    () => ({ kind: 'kill_proxy', proxy, crash: false, forMs }),
    () => ({ kind: 'kill_proxy', proxy, crash: false, forMs: forMs / 10 }),
    () => ({ kind: 'host_down', server: server.slice('host-'.length), forMs }),
    () => ({ kind: 'stop_proxy', proxy, withHost: random.chance(0.6), forMs }),
    () => ({ kind: 'kill_keepalived', proxy, leavesVip: random.chance(0.6), forMs }),
    () => ({ kind: 'deafen', what: 'vrrp', proxy, bothWays, forMs }),
    () => ({ kind: 'deafen', what: 'peer', proxy, bothWays, forMs }),
    () => ({ kind: 'move_vip' }),
    () => ({ kind: 'move_vip' }),
    () => ({ kind: 'peer_gone', proxy }),
    () => ({ kind: 'isolate', host: server, forMs }),
    () => ({ kind: 'cut', from: 'host-db1', to: 'host-db2', bothWays: true, forMs }),
    () => ({ kind: 'disk_full', proxy, forMs }),
    () => ({
      kind: 'promote',
      target: random.pick(['db1', 'db2']),
      as: 'switchover',
      named: true,
      force: false,
    }),
  ];
  return random.pick(kinds)();
}
