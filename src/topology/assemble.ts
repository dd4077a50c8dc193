/**
 * Makes the topology snapshot out of what is known: the configuration, what was decided and is
 * remembered on disk, and what the monitor sees. Pure: the same knowledge gives the same snapshot.
 *
 * The one rule to hold on to: a primary is a decision, not an observation. It is made once (the first
 * start, or a promotion), remembered with its epoch, and from then on a server that merely looks like a
 * primary gets no traffic.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { cureOfDivergence, describeDivergence, followAdvice } from './divergence-words.ts';
import { UNSEEN, type BackendHealth } from './health.ts';
import type {
  BackendRole,
  BackendState,
  BackendView,
  ClusterView,
  Diagnosis,
  Maintenance,
  Snapshot,
} from './snapshot.ts';
import type { AdminState, Divergence, DurableState } from './state-file.ts';

export interface Knowledge {
  readonly version: number;
  readonly clusters: readonly ClusterConfig[];
  readonly backends: readonly BackendConfig[];
  readonly durable: DurableState;
  readonly health: ReadonlyMap<string, BackendHealth>;
  /** Clusters whose writes a promotion holds now. */
  readonly held: ReadonlySet<string>;
  /** Clusters whose writes go nowhere for now, and why. */
  readonly stopped: ReadonlyMap<string, string>;
  readonly diagnoses: ReadonlyMap<string, Diagnosis>;
  /** What a server has that its primary has not, in words. */
  readonly diverged: ReadonlyMap<string, Divergence>;
  /** haconf says maintenance, of all clusters. */
  readonly rests?: boolean;
}

/** What holds for a backend now, whoever said it. */
export interface Settings {
  readonly rwWeight: number;
  readonly roWeight: number;
  /** Somebody gave the ro_weight; see BackendView.roWeightSet. */
  readonly roWeightSet: boolean;
  readonly maxConnections: number;
  readonly admin: AdminState;
  /** See BackendOverride.isNew. */
  readonly isNew: boolean;
}

/** The snapshot for this knowledge. */
export function assembleSnapshot(knowledge: Knowledge): Snapshot {
  return {
    version: knowledge.version,
    epoch: knowledge.durable.epoch,
    clusters: knowledge.clusters.map((cluster) => viewCluster(knowledge, cluster)),
    backends: knowledge.backends.map((backend) => viewBackend(knowledge, backend)),
  };
}

/**
 * Which backend a cluster without a remembered primary should take: the only one that is writable, does
 * not replicate and may be elected. Null with the reason when there is none or more than one, or when
 * one that may be elected has not been looked at yet.
 */
export function firstPrimary(
  knowledge: Knowledge,
  cluster: string,
): { primary: string; reason: '' } | { primary: null; reason: string } {
  const eligible = knowledge.backends.filter(
    (backend) => backend.cluster === cluster && settings(knowledge, backend).rwWeight > 0,
  );
  if (eligible.length === 0) {
    return { primary: null, reason: 'no backend has rw_weight > 0; set it on the one that takes the writes' };
  }
  const unseen = eligible.filter((backend) => healthOf(knowledge, backend.name).reach === 'unknown');
  if (unseen.length > 0) return { primary: null, reason: `${names(unseen)} not checked yet` };

  const candidates = eligible.filter((backend) => {
    const health = healthOf(knowledge, backend.name);
    return health.reach !== 'down' && health.serverVersion !== null && health.writable && !health.replicating;
  });
  const [first, second] = candidates;
  if (first !== undefined && second === undefined) return { primary: first.name, reason: '' };
  if (first !== undefined) {
    return {
      primary: null,
      reason: `${names(candidates)} are all writable and do not replicate; set read_only=1 on those that must not take writes`,
    };
  }
  const detail = eligible.map(
    (backend) => `${backend.name} ${whyNotPrimary(healthOf(knowledge, backend.name))}`,
  );
  const shareless = knowledge.backends.filter((backend) => {
    const { writable, replicating } = healthOf(knowledge, backend.name);
    return backend.cluster === cluster && !eligible.includes(backend) && writable && !replicating;
  });
  const hint = shareless.map(
    ({ name }) => `; ${name} is writable, but its rw_weight is 0: set it if ${name} is the primary`,
  );
  return {
    primary: null,
    reason: `no server with rw_weight > 0 is writable without replicating: ${detail.join(', ')}${hint.join('')}`,
  };
}

/** Weights, limit and admin state of a backend: what was set at run time wins over the file. */
export function settings(knowledge: Pick<Knowledge, 'durable'>, backend: BackendConfig): Settings {
  const changed = knowledge.durable.backends[backend.name];
  return {
    rwWeight: changed?.rwWeight ?? backend.rwWeight,
    roWeight: changed?.roWeight ?? backend.roWeight,
    roWeightSet: changed?.roWeight !== undefined || backend.roWeightSet,
    maxConnections: changed?.maxConnections ?? backend.maxConnections,
    admin: changed?.admin ?? 'online',
    isNew: changed?.isNew ?? false,
  };
}

/** The epoch of the remembered primary of a cluster; 0: there is none. */
export function epochOf({ clusters, epoch }: DurableState, cluster: string): number {
  const state = clusters[cluster];
  return state === undefined ? 0 : (state.epoch ?? epoch);
}

/** `said`: by MAINTENANCE; `rests`: haconf says so. */
export function maintenanceBy(said: boolean, rests: boolean): Maintenance {
  if (said) return rests ? 'on, haconf' : 'on';
  return rests ? 'haconf' : 'off';
}

function viewCluster(knowledge: Knowledge, cluster: ClusterConfig): ClusterView {
  const { name } = cluster;
  const state = knowledge.durable.clusters[name];
  const common = {
    name,
    epoch: epochOf(knowledge.durable, name),
    diagnosis: knowledge.diagnoses.get(name) ?? null,
    maintenance: maintenanceBy(state?.maintenance === true, knowledge.rests === true),
    alone: state?.alone ?? false,
    writesStopped: false,
  };
  if (knowledge.held.has(name)) {
    return { ...common, primary: null, writesHeld: true, reason: 'a promotion is under way' };
  }
  const stop = knowledge.stopped.get(name);
  if (stop !== undefined)
    return { ...common, primary: null, writesHeld: false, writesStopped: true, reason: stop };
  const choice = currentPrimary(knowledge, name);
  return { ...common, primary: choice.primary, writesHeld: false, reason: choice.reason };
}

/** What helps, and what dbproxy does by itself, depends on more than is known here. */
const WHAT_TO_DO = 'SHOW DIAGNOSES says what to do';

/** The backend that takes writes now, or why none does. */
function currentPrimary(knowledge: Knowledge, cluster: string): { primary: string | null; reason: string } {
  const name = remembered(knowledge, cluster);
  if (name === null)
    return { primary: null, reason: firstPrimary(knowledge, cluster).reason || 'being decided' };
  const backend = knowledge.backends.find((one) => one.name === name)!;
  const health = healthOf(knowledge, name);
  const { admin } = settings(knowledge, backend);
  const none = (why: string): { primary: null; reason: string } => ({
    primary: null,
    reason: `${name} is the primary of epoch ${epochOf(knowledge.durable, cluster)} but ${why}`,
  });
  if (admin !== 'online')
    return none(`an operator set it ${admin}; SET BACKEND ${name} ONLINE brings it back`);
  if (health.reach === 'unknown') return none(health.reachReason);
  if (health.reach === 'down') return none(`down: ${health.reachReason}; ${WHAT_TO_DO}`);
  if (health.serverVersion === null) return none(`could not be looked into: ${health.reachReason}`);
  if (health.replicating) return none(`replicates from another server; ${WHAT_TO_DO}`);
  if (!health.writable) return none(`read_only is on there; ${WHAT_TO_DO}`);
  return { primary: name, reason: '' };
}

function viewBackend(knowledge: Knowledge, backend: BackendConfig): BackendView {
  const health = healthOf(knowledge, backend.name);
  const { admin, rwWeight, roWeight, roWeightSet, maxConnections } = settings(knowledge, backend);
  const role = roleOf(knowledge, backend, health);
  const answers = health.reach === 'up' || health.reach === 'suspect';
  return {
    name: backend.name,
    cluster: backend.cluster,
    address: backend.address,
    role,
    state: stateOf(admin, health),
    writable: answers && health.serverVersion !== null ? health.writable : null,
    lagMs: role === 'replica' && answers ? health.lagMs : null,
    rwWeight,
    roWeight,
    roWeightSet,
    maxConnections,
    readable:
      admin === 'online' && answers && role === 'replica' && health.fresh && !lacksRows(knowledge, backend),
    reason: reasonOf(knowledge, backend, health, role, admin),
    serverVersion: health.serverVersion,
    greeting: health.greeting,
    sqlMode: health.sqlMode,
    gtidPosition: health.gtidPosition,
  };
}

function roleOf(knowledge: Knowledge, backend: BackendConfig, health: BackendHealth): BackendRole {
  if (remembered(knowledge, backend.cluster) === backend.name) return 'primary';
  if (health.serverVersion === null) return 'unknown';
  return health.replicating ? 'replica' : 'standalone';
}

function stateOf(admin: AdminState, health: BackendHealth): BackendState {
  if (admin !== 'online') return admin;
  switch (health.reach) {
    case 'up':
      return 'online';
    case 'suspect':
      return 'suspect';
    case 'unknown':
    case 'down':
      return 'down';
  }
}

/** The reasons that hold, the gravest first. */
function reasonOf(
  knowledge: Knowledge,
  backend: BackendConfig,
  health: BackendHealth,
  role: BackendRole,
  admin: AdminState,
): string {
  const reasons: string[] = [];
  if (admin !== 'online') {
    const why = knowledge.durable.backends[backend.name]?.adminReason ?? '';
    reasons.push(why === '' ? `set ${admin} by an operator` : `${admin}: ${why}`);
  }
  if (health.reachReason !== '') reasons.push(health.reachReason);
  if (health.serverVersion !== null) {
    const about = roleReason(knowledge, backend, health, role);
    if (about !== '') reasons.push(about);
  }
  const divergence = knowledge.diverged.get(backend.name);
  if (divergence !== undefined) {
    const primary = remembered(knowledge, backend.cluster) ?? 'its primary';
    reasons.push(`${describeDivergence(divergence, primary)}; ${cureOfDivergence(divergence)}`);
  }
  return reasons.join('; ');
}

/** What it answers to a read is not what there is, and never will be. */
function lacksRows({ diverged }: Knowledge, { name }: BackendConfig): boolean {
  return diverged.get(name)?.kind !== undefined;
}

function roleReason(
  knowledge: Knowledge,
  backend: BackendConfig,
  health: BackendHealth,
  role: BackendRole,
): string {
  const epoch = epochOf(knowledge.durable, backend.cluster);
  switch (role) {
    case 'primary':
      // Once it is on record, and until it follows nobody.
      if (health.replicating && knowledge.held.has(backend.cluster))
        return `becomes the primary of epoch ${epoch}`;
      if (health.replicating) return `the primary of epoch ${epoch}, but it replicates from another server`;
      return health.writable ? '' : `the primary of epoch ${epoch}, but read_only is on`;
    case 'replica': {
      const writable = health.writable ? 'replicates but is writable: set read_only=1 there' : '';
      return [health.replicationReason, writable].filter((part) => part !== '').join('; ');
    }
    case 'standalone': {
      const primary = remembered(knowledge, backend.cluster);
      if (primary === null) return 'does not replicate; the cluster has no primary yet';
      // What it has of its own says the rest, where that is known.
      const cure = knowledge.diverged.has(backend.name) ? '' : `: ${followAdvice(backend.name, primary)}`;
      return health.writable
        ? `writable but not the primary of epoch ${epoch} (${primary} is); no traffic${cure}`
        : `does not replicate and is not the primary; no reads${cure}`;
    }
    case 'unknown':
      return '';
  }
}

/** The remembered primary, when the configuration still has it in this cluster. */
function remembered(knowledge: Knowledge, cluster: string): string | null {
  const name = knowledge.durable.clusters[cluster]?.primary;
  const known = knowledge.backends.some((backend) => backend.name === name && backend.cluster === cluster);
  return name !== undefined && known ? name : null;
}

function whyNotPrimary(health: BackendHealth): string {
  if (health.reach === 'down') return `is down (${health.reachReason})`;
  if (health.serverVersion === null) return `cannot be looked into (${health.reachReason})`;
  if (health.replicating) return 'replicates';
  return 'is read-only';
}

function healthOf(knowledge: Knowledge, name: string): BackendHealth {
  return knowledge.health.get(name) ?? UNSEEN;
}

function names(backends: readonly BackendConfig[]): string {
  return backends.map((backend) => backend.name).join(', ');
}
