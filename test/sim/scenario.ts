/**
 * A scenario is what is given of a history: the cluster, its policies, and the faults with their times. It follows
 * from a seed, and is plain data: a fault can be left out to see whether the rest does without it.
 */
import type { StepName } from '../../src/failover/plan.ts';
import { NEVER_MS } from '../../src/failover/semi-sync.ts';
import { withPair } from './pair-scenario.ts';
import { Random } from './random.ts';
import type { Settings } from './server.ts';
import type { Family } from './transactions.ts';

/** At a time, or so long after a step of a promotion came to the journal. */
export type When =
  | { readonly atMs: number }
  | {
      readonly step: StepName;
      readonly event: 'begun' | 'done' | 'undone' | 'failed';
      readonly afterMs: number;
    };

export type Deed =
  | { readonly kind: 'kill'; readonly server: string; readonly forMs: number }
  | { readonly kind: 'freeze'; readonly server: string; readonly forMs: number }
  | { readonly kind: 'host_down'; readonly server: string; readonly forMs: number }
  | {
      readonly kind: 'cut';
      readonly from: string;
      readonly to: string;
      readonly bothWays: boolean;
      readonly forMs: number;
    }
  | { readonly kind: 'isolate'; readonly host: string; readonly forMs: number }
  | (ProxyDeed & { readonly proxy?: ProxyIndex })
  | { readonly kind: 'too_many_connections'; readonly server: string; readonly forMs: number }
  | { readonly kind: 'slow_apply'; readonly server: string; readonly times: number; readonly forMs: number }
  | {
      readonly kind: 'promote';
      readonly target: string;
      readonly as: 'any' | 'switchover' | 'failover';
      readonly named: boolean;
      readonly force: boolean;
      readonly proxy?: ProxyIndex;
    }
  | { readonly kind: 'maintenance'; readonly forMs: number }
  | { readonly kind: 'stop_replication'; readonly server: string; readonly forMs: number }
  | { readonly kind: 'fool'; readonly server: string; readonly writes: boolean }
  | { readonly kind: 'weight'; readonly server: string; readonly weight: number }
  | PairDeed;

/** Which of the dbproxies; absent: the first, or of what an operator says the one in charge. */
export type ProxyIndex = 0 | 1;

/** What happens to a dbproxy. */
export type ProxyDeed =
  | { readonly kind: 'kill_proxy'; readonly crash: boolean; readonly forMs: number }
  | { readonly kind: 'freeze_proxy'; readonly forMs: number }
  | { readonly kind: 'freeze_worker'; readonly slot: number; readonly forMs: number }
  | { readonly kind: 'kill_worker'; readonly slot: number }
  | { readonly kind: 'wall_jump'; readonly byMs: number }
  | { readonly kind: 'disk_full'; readonly forMs: number }
  | { readonly kind: 'checker_broken'; readonly forMs: number };

/** What happens only where there are two of them. */
export type PairDeed =
  /** All of a host stands still: server, dbproxy, keepalived. */
  | { readonly kind: 'freeze_host'; readonly proxy: ProxyIndex; readonly forMs: number }
  /** A dbproxy is stopped in order, and its host after it, or not; both come back. */
  | {
      readonly kind: 'stop_proxy';
      readonly proxy: ProxyIndex;
      readonly withHost: boolean;
      readonly forMs: number;
    }
  /** keepalived dies; killed, it leaves the VIP where it is. */
  | {
      readonly kind: 'kill_keepalived';
      readonly proxy: ProxyIndex;
      readonly leavesVip: boolean;
      readonly forMs: number;
    }
  /** Of what goes from this host to the other one alone keepalived's word, or PEER, gets lost. */
  | {
      readonly kind: 'deafen';
      readonly what: 'vrrp' | 'peer';
      readonly proxy: ProxyIndex;
      readonly bothWays: boolean;
      readonly forMs: number;
    }
  /** An operator has the VIP move. */
  | { readonly kind: 'move_vip' }
  /** An operator says SET PEER GONE at this one, if the other's host is down. */
  | { readonly kind: 'peer_gone'; readonly proxy: ProxyIndex };

export type Fault = When & Deed;

export interface Scenario {
  readonly seed: number;
  readonly family: Family;
  readonly servers: readonly string[];
  readonly settings: Settings;
  readonly semiSync: 'require' | 'prefer' | 'off';
  readonly failover: 'auto' | 'manual';
  readonly hasArbiter: boolean;
  readonly cooldownMs: number;
  readonly failoverData: 'wait' | 'lose_with_report';
  readonly checkIntervalMs: number;
  readonly checkFastIntervalMs: number;
  readonly clients: number;
  readonly hasDirectClient: boolean;
  readonly faults: readonly Fault[];
  /** There are two dbproxies, on the hosts of the first two servers, and a VIP; absent: there is one. */
  readonly pair?: Pair;
}

export interface Pair {
  readonly peerTimeoutMs: number;
  /** keepalived's advert_int. */
  readonly advertMs: number;
  /** Who has the VIP at first. */
  readonly holder: ProxyIndex;
  /** How many of the clients' statements go past the VIP to either dbproxy. */
  readonly strays: number;
}

/** Seeds from here on are of pairs: what a lower seed plays was so before there were any. */
export const PAIRS_FROM = 1_000_000_000;

/** The last fault ends by then. */
export const FAULTS_END_MS = 9_000;
const FAULTS_BEGIN_MS = 1_500;

const STEPS: readonly StepName[] = [
  'hold',
  'end_sessions',
  'stop_receivers',
  'elect',
  'fence',
  'catch_up',
  'stop_replication',
  'record',
  'make_writable',
  'weights',
  'repoint',
  'semi_sync',
  'publish',
];

/** The scenario of a seed: from PAIRS_FROM on one with two dbproxies. */
export function scenarioOf(seed: number): Scenario {
  const scenario = scenarioOfOne(seed);
  return seed < PAIRS_FROM ? scenario : withPair(scenario, FAULTS_BEGIN_MS);
}

function scenarioOfOne(seed: number): Scenario {
  const random = new Random(seed);
  const semiSync = random.chance(0.6) ? 'require' : random.pick(['prefer', 'off', 'off'] as const);
  const servers = random.chance(0.45) ? ['db1', 'db2'] : ['db1', 'db2', 'db3'];
  const readOnly = random.chance(0.7);
  const hasSemiSync = semiSync !== 'off' || random.chance(0.3);
  const family = random.pick(['mariadb', 'mysql'] as const);
  const given = {
    seed,
    family,
    servers,
    settings: {
      readOnly,
      // A server that may come back writable waits for its replicas then, or it would break the promise unseen.
      semiSyncPrimary: hasSemiSync && semiSync !== 'off' && (!readOnly || random.chance(0.4)),
      semiSyncReplica: hasSemiSync && random.chance(0.8),
      semiSyncTimeoutMs: semiSync === 'require' ? 10 * NEVER_MS : 1_000,
      hasSemiSync,
      isStrict: random.chance(0.5),
      dropsUnacknowledged: random.chance(0.3),
      keepsRelayLog: family === 'mysql' && seed % 3 !== 0,
    },
    semiSync,
    failover: random.chance(0.88) ? 'auto' : 'manual',
    hasArbiter: random.chance(0.6),
    cooldownMs: random.pick([0, 0, 4_000]),
    failoverData: random.pick(['wait', 'lose_with_report'] as const),
    checkIntervalMs: random.pick([500, 1_000, 1_000]),
    checkFastIntervalMs: random.pick([100, 250]),
    clients: 2,
    hasDirectClient: random.chance(0.4),
  } as const;
  const windowMs = random.pick([100, 600, 2_000, 5_000]);
  const faults: Fault[] = [];
  for (let left = random.pick([1, 2, 2, 3, 3, 4, 6]); left > 0; left--) {
    const deed = deedOf(random, servers, given.hasArbiter);
    const hasOpening = faults.some(({ kind }) => kind === 'promote' || kind === 'kill' || kind === 'freeze');
    const when: When =
      hasOpening && random.chance(0.4)
        ? {
            step: random.pick(STEPS),
            event: random.pick(['begun', 'begun', 'done', 'undone', 'failed'] as const),
            afterMs: random.pick([0, 0.1, 2, 20, 300]) * random.next(),
          }
        : { atMs: FAULTS_BEGIN_MS + random.between(0, windowMs) };
    faults.push({ ...when, ...deed });
  }
  return { ...given, faults };
}

function deedOf(random: Random, servers: readonly string[], hasArbiter: boolean): Deed {
  // The first one is the primary, at first: what happens to it matters most.
  const server = random.chance(0.6) ? servers[0]! : random.pick(servers);
  const forMs = random.pick([30, 300, 1_500, 5_000, 7_000]) * random.between(0.5, 1);
  const kinds: readonly (readonly [number, () => Deed])[] = [
    [26, () => ({ kind: 'kill', server, forMs })],
    [10, () => ({ kind: 'freeze', server, forMs })],
    [8, () => ({ kind: 'host_down', server, forMs })],
    [14, () => cutOf(random, servers, hasArbiter, forMs)],
    [5, () => ({ kind: 'isolate', host: random.pick(['host-p1', `host-${server}`]), forMs })],
    [8, () => ({ kind: 'kill_proxy', crash: random.chance(0.4), forMs: forMs / 3 })],
    [4, () => ({ kind: 'freeze_proxy', forMs })],
    [4, () => ({ kind: 'freeze_worker', slot: random.whole(0, 1), forMs })],
    [2, () => ({ kind: 'kill_worker', slot: random.whole(0, 1) })],
    [2, () => ({ kind: 'wall_jump', byMs: random.pick([-3_600_000, -2_000, 5_000, 86_400_000]) })],
    [3, () => ({ kind: 'disk_full', forMs })],
    [2, () => ({ kind: 'checker_broken', forMs })],
    [2, () => ({ kind: 'too_many_connections', server, forMs })],
    [3, () => ({ kind: 'slow_apply', server: random.pick(servers), times: random.pick([5, 50]), forMs })],
    [
      14,
      () => ({
        kind: 'promote',
        target: random.pick(servers),
        as: random.pick(['any', 'any', 'switchover', 'failover'] as const),
        named: random.chance(0.8),
        force: random.chance(0.06),
      }),
    ],
    [2, () => ({ kind: 'maintenance', forMs })],
    [4, () => ({ kind: 'stop_replication', server: random.pick(servers), forMs })],
    [4, () => ({ kind: 'fool', server: random.pick(servers), writes: random.chance(0.6) })],
    [1, () => ({ kind: 'weight', server: random.pick(servers), weight: random.pick([0, 5]) })],
  ];
  let left = random.between(
    0,
    kinds.reduce((sum, [weight]) => sum + weight, 0),
  );
  for (const [weight, make] of kinds) {
    left -= weight;
    if (left < 0) return make();
  }
  return kinds[0]![1]();
}

function cutOf(random: Random, servers: readonly string[], hasArbiter: boolean, forMs: number): Deed {
  const hosts = ['host-p1', ...servers.map((name) => `host-${name}`), ...(hasArbiter ? ['arbiter'] : [])];
  const from = random.pick(hosts.filter((host) => host !== 'arbiter'));
  const to = random.pick(hosts.filter((host) => host !== from));
  return { kind: 'cut', from, to, bothWays: random.chance(0.7), forMs };
}
