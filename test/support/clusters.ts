/**
 * A cluster at one moment, from a compact description: what is not said of a server is as it is in a cluster that is
 * well. Plain data, so that a scenario can be a JSON file; the tests of diagnosis, election and chores use it, too.
 *
 * It is 100 s on the clock. The server db1 has the id 1, db2 the id 2; each transaction is `0-1-…`.
 */
import type { BackendConfig, ClusterConfig } from '../../src/config/config.ts';
import type { Memory, Reign, Trace } from '../../src/failover/traces.ts';
import type { FailoverFailure, Member, PromotionStand, Survey } from '../../src/failover/survey.ts';
import { FIRST_RECORD, type HealthRecord } from '../../src/monitor/detector.ts';
import type {
  ReplicationFacts,
  SemiSyncPrimary,
  SemiSyncReplica,
  ServerFacts,
} from '../../src/monitor/observation.ts';
import type { VoteSight } from '../../src/monitor/vote.ts';
import type { AdminState, Handover } from '../../src/topology/state-file.ts';
import type { Maintenance } from '../../src/topology/snapshot.ts';
import { backendConfig, clusterConfig } from './configs.ts';
import { replicationFacts, serverFacts } from './facts.ts';

/** What the receiver of a replica has to say of its source. */
export type Hearing = 'receives' | 'lost' | 'silent' | 'seldom' | 'answered' | 'stopped';

export interface ServerDescription {
  /** Whom it follows: a member, or the name of a server that is none. */
  readonly from?: string;
  readonly hears?: Hearing;
  /** All that it has, by its global ids, applied and received. */
  readonly has?: string;
  /** Commits there wait for so many connected replicas. */
  readonly waitsFor?: number;
  /** It tells its source what it has received. */
  readonly answers?: boolean;
  /** The promotion that it knows of: number, primary. */
  readonly epoch?: readonly [number, string];
  readonly down?: string;
  readonly suspect?: string;
  readonly admin?: AdminState;
  readonly rwWeight?: number;
  readonly backend?: Partial<BackendConfig>;
  readonly record?: Partial<HealthRecord>;
  /** Null: it has never been seen. */
  readonly facts?: Partial<ServerFacts> | null;
  readonly replication?: Partial<ReplicationFacts>;
  readonly primarySide?: Partial<SemiSyncPrimary> | null;
  readonly replicaSide?: Partial<SemiSyncReplica> | null;
}

export interface ClusterDescription {
  readonly cluster?: Partial<ClusterConfig>;
  /** Undefined: db1. */
  readonly remembered?: string | null;
  readonly epoch?: number;
  readonly alone?: boolean;
  readonly promotion?: PromotionStand;
  readonly inHand?: readonly string[];
  readonly handover?: Handover;
  /** What is remembered of replicas of db1, beside what they are. */
  readonly traces?: Readonly<Record<string, Partial<Trace>>>;
  /** What db1 was when it was last seen taking writes, where that is another than it is. */
  readonly reign?:
    | (Partial<Omit<Reign, 'facts'>> & { readonly facts?: Partial<ServerFacts>; readonly askedMs: number })
    | undefined;
  /** What servers have that the primary has not, as it was found out before. */
  readonly diverged?: Readonly<Record<string, string>>;
  /** What replicas had written themselves when they were last compared with the primary. */
  readonly ownWrites?: Readonly<Record<string, string>>;
  /** Replicas that were gone long before the primary was last seen taking writes, as it was written down. */
  readonly longGone?: readonly string[];
  /** How many answer, of how many. */
  readonly arbiters?: readonly [number, number];
  readonly brokenArbiters?: number;
  /** What the arbiter that votes says; null and absent: none does. */
  readonly vote?: VoteSight | null;
  readonly maintenance?: Maintenance;
  readonly stateTrouble?: string;
  readonly failoverFailure?: FailoverFailure;
  readonly charge?: Survey['charge'];
  readonly hasStandby?: boolean;
  readonly mayGoAlone?: boolean;
  readonly servers: Readonly<Record<string, ServerDescription>>;
}

export const NOW_MS = 100_000;
/** When a server was last seen that answers now, and one that does not any more. */
export const SEEN_MS = NOW_MS - 200;
export const LAST_SEEN_MS = NOW_MS - 3_000;
export const DAY_MS = 24 * 3600 * 1000;
const LAST_GTID = '0-1-100';

/** The cluster as diagnosis and election look at it. */
export function surveyOf(description: ClusterDescription): Survey {
  const { remembered = 'db1', epoch = 4, alone = false, arbiters = [1, 1], servers } = description;
  const [reachable, total] = arbiters;
  return {
    cluster: clusterConfig(description.cluster),
    members: Object.entries(servers).map(([name, server]) => memberFrom(name, server)),
    remembered,
    epoch,
    alone,
    inHand: description.inHand ?? [],
    handover: description.handover ?? null,
    longGone: description.longGone ?? [],
    memory: memoryOf(description),
    diverged: Object.entries(description.diverged ?? {}).map(([backend, extras]) => ({ backend, extras })),
    ownWrites: description.ownWrites ?? {},
    arbiters: {
      configured: total > 0,
      reachable,
      total,
      broken: description.brokenArbiters ?? 0,
      reasons: reachable < total ? ['ping:10.0.0.254: timed out'] : [],
      freshMs: total === 0 ? null : NOW_MS,
      vote: description.vote ?? null,
    },
    maintenance: description.maintenance ?? 'off',
    stateTrouble: description.stateTrouble ?? null,
    failoverFailure: description.failoverFailure ?? null,
    promotion: description.promotion ?? null,
    charge: description.charge ?? null,
    hasStandby: description.hasStandby ?? false,
    mayGoAlone: description.mayGoAlone ?? true,
    nowMs: NOW_MS,
  };
}

function memoryOf({ traces = {}, reign, servers }: ClusterDescription): Memory {
  const unknown = {
    settledMs: -Infinity,
    forgotMs: -Infinity,
    goneMs: null,
    hasMore: false,
    hasOutlived: false,
    acknowledgedUntilMs: null,
  };
  const known = Object.entries(traces).map(([name, trace]) => {
    const facts = factsOf(name, servers[name] ?? {});
    return [name, { facts, ...unknown, ...trace }] as const;
  });
  const facts = { ...factsOf('db1', servers['db1'] ?? {}), readOnly: false, ...reign?.facts };
  return {
    traces: new Map([['db1', new Map(known)]]),
    reigns: new Map(reign === undefined ? [] : [['db1', { accountedSinceMs: null, ...reign, facts }]]),
  };
}

/** One server of the description. */
export function memberFrom(name: string, server: ServerDescription = {}): Member {
  const backend = backendConfig(name, server.backend);
  return {
    backend,
    admin: server.admin ?? 'online',
    rwWeight: server.rwWeight ?? backend.rwWeight,
    record: recordOf(name, server),
  };
}

function recordOf(name: string, server: ServerDescription): HealthRecord {
  const { from, hears = 'receives', down, suspect } = server;
  const seenMs = down === undefined ? SEEN_MS : LAST_SEEN_MS;
  const facts = server.facts === null ? null : factsOf(name, server);
  return {
    ...FIRST_RECORD,
    reach: down !== undefined ? 'down' : suspect !== undefined ? 'suspect' : 'up',
    reachReason: down ?? suspect ?? '',
    good: down === undefined ? 3 : 0,
    failed: down === undefined ? 0 : 3,
    facts,
    seenMs: server.facts === null ? null : seenMs,
    askedMs: seenMs,
    startedMs: facts === null ? null : seenMs - (facts.uptimeSeconds - 1) * 1000,
    fresh: from !== undefined,
    lastInSync: from === undefined ? null : { atMs: seenMs, lagMs: 0 },
    receiverSeenMs: from === undefined ? null : hears === 'silent' ? LAST_SEEN_MS : SEEN_MS,
    ...server.record,
  };
}

function factsOf(name: string, server: ServerDescription): ServerFacts {
  const { from, has = LAST_GTID, epoch } = server;
  return serverFacts({
    serverId: idOf(name),
    readOnly: from !== undefined,
    position: has,
    replicatedPosition: from === undefined ? '' : has,
    history: has,
    epoch: epoch === undefined ? null : { epoch: epoch[0], backend: epoch[1] },
    semiSync: { primary: primarySideOf(server), replica: replicaSideOf(server) },
    replication: from === undefined ? null : replicationOf(from, server),
    ...server.facts,
  });
}

function primarySideOf({ waitsFor, primarySide }: ServerDescription): SemiSyncPrimary | null {
  if (primarySide === null || (waitsFor === undefined && primarySide === undefined)) return null;
  return {
    enabled: true,
    live: true,
    clients: waitsFor ?? 0,
    timeoutMs: 10 * DAY_MS,
    waitPoint: 'after_sync',
    waitForReplicas: 1,
    waiting: 0,
    acknowledged: 0,
    ...primarySide,
  };
}

function replicaSideOf({ answers, replicaSide }: ServerDescription): SemiSyncReplica | null {
  if (replicaSide === null || (answers === undefined && replicaSide === undefined)) return null;
  return { enabled: answers ?? true, live: answers ?? true, ...replicaSide };
}

function replicationOf(from: string, server: ServerDescription): ReplicationFacts {
  const { has = LAST_GTID, hears = 'receives' } = server;
  return replicationFacts({
    sourceHost: `host-${from}`,
    sourcePort: 3306,
    sourceServerId: idOf(from),
    receivedPosition: has,
    ...HEARINGS[hears],
    ...server.replication,
  });
}

const HEARINGS: Readonly<Record<Hearing, Partial<ReplicationFacts>>> = {
  receives: { heartbeatPeriodMs: 500 },
  silent: { heartbeatPeriodMs: 500 },
  seldom: { heartbeatPeriodMs: 30_000 },
  lost: {
    receiver: 'connecting',
    receiverErrno: 2003,
    receiverError: "error connecting to source: Can't connect",
    lagMs: null,
    heartbeatPeriodMs: 500,
  },
  answered: {
    receiver: 'connecting',
    receiverErrno: 1045,
    receiverError: 'error connecting to source: Access denied',
    lagMs: null,
    heartbeatPeriodMs: 500,
  },
  stopped: { receiver: 'stopped', lagMs: null, heartbeatPeriodMs: 500 },
};

/** The number in its name; one that is no member has another than all of them. */
function idOf(name: string): number {
  const match = /^db(\d+)$/.exec(name);
  return match === null ? 99 : Number(match[1]);
}
