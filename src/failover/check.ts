/**
 * May this server be promoted, and as what? A pure decision on what was just seen of its whole cluster.
 * It is asked before anything is changed, and each refusal says what to do about it.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { isSeenWell, wasInSync, type HealthRecord } from '../monitor/detector.ts';
import { holdsPosition, unitePositions } from '../monitor/gtid.ts';
import type { ReplicationFacts, ServerFacts } from '../monitor/observation.ts';
import type { AdminState } from '../topology/state-file.ts';
import type { PromotionKind } from './plan.ts';

/** A server of the cluster as it was seen just now. */
export interface Member {
  readonly backend: BackendConfig;
  readonly admin: AdminState;
  readonly record: HealthRecord;
}

export interface Survey {
  readonly cluster: ClusterConfig;
  readonly target: string;
  readonly members: readonly Member[];
  /** The primary as it was decided last. */
  readonly remembered: string | null;
  readonly epoch: number;
}

export interface Decision {
  readonly kind: PromotionKind;
  readonly target: BackendConfig;
  readonly old: BackendConfig | null;
  /** Other servers that follow the old primary and are to follow the new one. */
  readonly followers: readonly BackendConfig[];
}

export type Verdict = Decision | { readonly kind: 'refused'; readonly reason: string };

/** A member whose facts are from a good check. */
interface SeenMember extends Member {
  readonly record: HealthRecord & { readonly facts: ServerFacts };
}

/**
 * Decides. In this order:
 * 1. the target answers, is online, and others could follow it;
 * 2. no server but the old primary takes writes;
 * 3. a target that does not replicate: is the primary already, or is adopted when nobody else can be;
 * 4. a target that replicates: from the old primary, which is either well or surely down.
 */
export function decidePromotion(survey: Survey): Verdict {
  const target = survey.members.find((member) => member.backend.name === survey.target);
  if (target === undefined) return refuse(`it is not a backend of cluster '${survey.cluster.name}'`);
  const name = target.backend.name;

  if (target.admin !== 'online') {
    return refuse(`it was set ${target.admin} by an operator; SET BACKEND ${name} ONLINE first`);
  }
  if (!isSeen(target)) return refuse(`it does not answer well: ${target.record.reachReason}`);
  const unfit = whyNobodyCouldFollow(target);
  if (unfit !== null) return refuse(unfit);

  const { replication } = target.record.facts;
  return replication === null ? decideStandalone(survey, target) : decideReplica(survey, target, replication);
}

function decideStandalone(survey: Survey, target: SeenMember): Verdict {
  const { remembered, epoch } = survey;
  const name = target.backend.name;
  const adopted: Verdict = { kind: 'adopt', target: target.backend, old: null, followers: [] };
  const rival = otherWriter(survey, name, null);
  if (remembered === name) {
    if (!target.record.facts.readOnly) return refuse(`it is the primary already (epoch ${epoch})`);
    return rival === null ? adopted : refuse(rivalWords(rival));
  }
  if (rival !== null && rival.backend.name === remembered) {
    return refuse(
      `it does not follow ${remembered}, the primary of epoch ${epoch}, which takes the writes; make it a replica of ${remembered} first and let it catch up`,
    );
  }
  if (rival !== null) return refuse(rivalWords(rival));
  if (target.record.facts.readOnly) {
    const primary = remembered === null ? 'a primary' : `the primary ${remembered}`;
    return refuse(
      `it does not replicate from ${primary}, so it may lack transactions; set its replication up first`,
    );
  }
  const old = survey.members.find((member) => member.backend.name === remembered);
  if (old !== undefined && !isSeen(old) && old.record.reach !== 'down') return refuse(unclearWords(old));
  if (remembered !== null) {
    const lack = whyItMayLack(target, old, remembered);
    if (lack !== null) return refuse(lack);
  }
  return adopted;
}

/** Why a writable server is no continuation of the primary before it; null when it has all that one had. */
function whyItMayLack(target: SeenMember, old: Member | undefined, remembered: string): string | null {
  const facts = old?.record.facts ?? null;
  if (old === undefined || facts === null) {
    return `whether it has all that the primary ${remembered} had is not known, as ${remembered} has not been seen since dbproxy started; bring ${remembered} back first, if only to be looked at`;
  }
  // What the old primary has from the target itself it cannot have ahead of it, only seen later.
  if (followsServer(old, target)) return null;
  const last = unitePositions(facts.position, facts.replicatedPosition);
  if (holdsPosition(heldBy(target.record.facts), last)) return null;
  return `it has not all that the primary ${remembered} had (${remembered} was at ${last}, it is at ${heldBy(target.record.facts) || 'no position'}); it was never its replica, or lost data`;
}

function decideReplica(survey: Survey, target: SeenMember, replication: ReplicationFacts): Verdict {
  const { cluster, remembered } = survey;
  const name = target.backend.name;
  const sourceAddress = `${replication.sourceHost}:${replication.sourcePort}`;
  if (replication.channels > 1) {
    return refuse(`it replicates from ${replication.channels} sources, which this version cannot promote`);
  }
  const source = survey.members.find((member) => isSource(member, replication));
  if (source === undefined) {
    return refuse(`it replicates from ${sourceAddress}, which is no backend of cluster '${cluster.name}'`);
  }
  const old = source;
  if (remembered !== null && remembered !== name && remembered !== old.backend.name) {
    return refuse(
      `it replicates from ${old.backend.name}, not from the primary ${remembered}; make it follow that first`,
    );
  }
  const rival = otherWriter(survey, name, old.backend.name);
  if (rival !== null) return refuse(rivalWords(rival));

  const followers = survey.members
    .filter((member) => member !== target && member !== old && followsServer(member, old))
    .map((member) => member.backend);
  if (old.record.reach === 'down') {
    return (
      decideFailover(survey, target, old, replication) ?? {
        kind: 'failover',
        target: target.backend,
        old: old.backend,
        followers,
      }
    );
  }
  if (!isSeen(old)) return refuse(unclearWords(old));
  return (
    decideSwitchover(cluster, target, old, replication) ?? {
      kind: 'switchover',
      target: target.backend,
      old: old.backend,
      followers,
    }
  );
}

/**
 * What the old primary has not sent is lost with a failover; nothing else may be. So:
 * 1. what the target has received it can apply;
 * 2. it was in sync when the old primary was last seen;
 * 3. no other replica has received more.
 */
function decideFailover(
  survey: Survey,
  target: SeenMember,
  old: Member,
  replication: ReplicationFacts,
): Verdict | null {
  if (replication.applier !== 'running' && !replication.drained) {
    return refuse(
      `it has received changes it has not applied, and its applier is stopped${errorWords(replication.applierError)}; START SLAVE SQL_THREAD first`,
    );
  }
  const { lastInSync } = target.record;
  const { seenMs } = old.record;
  if (seenMs !== null && !wasInSync(lastInSync, seenMs, survey.cluster)) {
    const behind =
      lastInSync === null
        ? 'it has not been seen in sync at all'
        : `it was last in sync ${Math.round((seenMs - lastInSync.atMs) / 1000)} s before that`;
    return refuse(
      `its replication did not work when ${old.backend.name} was last seen well (${behind}), so it lacks what was written since; promote another replica or bring ${old.backend.name} back`,
    );
  }
  const held = heldBy(target.record.facts);
  const ahead = survey.members.find(
    (member) =>
      member !== target &&
      followsServer(member, old) &&
      !holdsPosition(held, receivedBy(member.record.facts)),
  );
  if (ahead === undefined) return null;
  return refuse(
    `${ahead.backend.name} has received more from ${old.backend.name} (it has ${receivedBy(ahead.record.facts)}, ${target.backend.name} has ${held || 'nothing'}); promote ${ahead.backend.name}`,
  );
}

/** All transactions a server has, applied or only received. */
function heldBy({ position, replicatedPosition, replication }: ServerFacts): string {
  return unitePositions(position, replicatedPosition, replication?.receivedPosition ?? '');
}

/** The transactions a replica has from others: without its own, where it keeps those apart. */
function receivedBy(facts: ServerFacts | null): string {
  if (facts === null) return '';
  const { position, replicatedPosition, replication } = facts;
  return unitePositions(replicatedPosition || position, replication?.receivedPosition ?? '');
}

function decideSwitchover(
  cluster: ClusterConfig,
  target: SeenMember,
  old: SeenMember,
  replication: ReplicationFacts,
): Verdict | null {
  const oldName = old.backend.name;
  if (old.record.facts.replication !== null) {
    return refuse(
      `${oldName}, which it follows, replicates itself; a chain cannot be promoted in this version`,
    );
  }
  if (!old.record.facts.hasGtid)
    return refuse(`GTIDs are off on ${oldName} (gtid_mode); switch them on first`);
  if (cluster.replicationUser === '') {
    return refuse(
      `${oldName} is alive and must follow it afterwards, which needs an account: set replication_user and replication_password in [cluster ${cluster.name}]`,
    );
  }
  if (target.backend.address.kind === 'unix' && old.backend.address.kind !== 'unix') {
    return refuse(
      `its address is a Unix socket, which ${oldName} cannot follow; give it a host:port address`,
    );
  }
  if (replication.receiver !== 'running' || replication.applier !== 'running') {
    const error = replication.applierError || replication.receiverError;
    return refuse(
      `its replication does not run (receiver ${replication.receiver}, applier ${replication.applier}${errorWords(error)}) although ${oldName} is alive; start it there first`,
    );
  }
  if (replication.lagMs !== null && replication.lagMs > cluster.catchUpTimeoutMs) {
    return refuse(
      `it lags ${replication.lagMs} ms, more than catch_up_timeout (${cluster.catchUpTimeoutMs} ms); let it catch up first`,
    );
  }
  return null;
}

function whyNobodyCouldFollow(target: SeenMember): string | null {
  if (!target.record.facts.logsChanges)
    return 'its binary log is off (log_bin), so no server could follow it';
  if (!target.record.facts.hasGtid)
    return 'GTIDs are off there (gtid_mode), which a promotion needs; switch them on first';
  return null;
}

/** A server besides these two that takes writes: with it, the cluster would have two writers. */
function otherWriter(survey: Survey, target: string, old: string | null): Member | null {
  const found = survey.members.find(
    (member) =>
      member.backend.name !== target &&
      member.backend.name !== old &&
      member.record.reach !== 'down' &&
      member.record.facts !== null &&
      !member.record.facts.readOnly &&
      member.record.facts.replication === null,
  );
  return found ?? null;
}

/** Its server id tells best, as a server has many names; the address does when the id was not learnt. */
function isSource(member: Member, replication: ReplicationFacts): boolean {
  const serverId = member.record.facts?.serverId ?? 0;
  if (serverId !== 0 && replication.sourceServerId !== 0) return serverId === replication.sourceServerId;
  const { address } = member.backend;
  return (
    address.kind === 'tcp' &&
    address.host === replication.sourceHost &&
    address.port === replication.sourcePort
  );
}

function followsServer(member: Member, source: Member): boolean {
  const replication = member.record.facts?.replication ?? null;
  return isSeen(member) && replication !== null && isSource(source, replication);
}

function isSeen(member: Member): member is SeenMember {
  return isSeenWell(member.record) && member.record.facts !== null;
}

function rivalWords(rival: Member): string {
  return `${rival.backend.name} is writable and does not replicate, so there would be two writers; set read_only=1 there first`;
}

function unclearWords(old: Member): string {
  return `whether the primary ${old.backend.name} is alive is not clear (${old.record.reachReason}); try again in a moment, or mend that`;
}

function errorWords(error: string): string {
  return error === '' ? '' : `: ${error}`;
}

function refuse(reason: string): Verdict {
  return { kind: 'refused', reason };
}
