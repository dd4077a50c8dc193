/**
 * What is the matter with a cluster? Pure: from a survey to named findings, the gravest first, each with what is to
 * be done about it and what an operator reads. One row a diagnosis, in the order of their gravity; the headline of
 * a cluster is its first finding.
 *
 * A primary is called down only by three witnesses: our own checks, its replicas (none that we can ask still
 * receives from it), and an arbiter that answers us, so that it is not we who are cut off. One that is missing
 * makes another diagnosis, with another action.
 */
import { receiverWitness } from '../monitor/witness.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  memberOf,
  sourceOf,
  takesWrites,
  type Member,
  type SeenMember,
  type Survey,
} from './survey.ts';
import { elect } from './election.ts';
import { ownExtras } from './history.ts';
import { NEVER_MS, semiSyncCovers } from './semi-sync.ts';

/** What the control plane does about a finding, when nothing forbids it to act. */
export type Action =
  /** Nothing: it is for the operator to know, or will be well by itself. */
  | { readonly kind: 'none' }
  /** Wait for more checks: they come at the fast interval. */
  | { readonly kind: 'watch' }
  /** Promote a replica instead of the primary. */
  | { readonly kind: 'failover' }
  /** Make these read-only, and end the sessions of their clients. */
  | { readonly kind: 'fence'; readonly backends: readonly string[] }
  /** The primary of the epoch is read-only: let it take writes again. */
  | { readonly kind: 'unlock'; readonly backend: string }
  /** A promotion that got as far as the state file: finish it. */
  | { readonly kind: 'finish'; readonly backend: string }
  /** Another promotion is known to the servers than to us: believe it. */
  | { readonly kind: 'adopt_epoch'; readonly backend: string; readonly epoch: number }
  /** Take no writes until it is clear who may. */
  | { readonly kind: 'stop_writes'; readonly backends: readonly string[] };

export type DiagnosisName =
  | 'StaleEpoch'
  | 'TwoWritablePrimaries'
  | 'PrimaryDown'
  | 'NoSafeCandidate'
  | 'Isolated'
  | 'CheckerBroken'
  | 'PrimaryUnreachableButReplicasSeeIt'
  | 'PrimaryUnreachableNoWitness'
  | 'AllServersGone'
  | 'PrimaryHung'
  | 'PrimaryReadOnly'
  | 'PrimaryReplicates'
  | 'NoWritablePrimary'
  | 'OldPrimaryWritable'
  | 'ReplicaWritable'
  | 'PrimarySuspect'
  | 'AllReplicasGone'
  | 'SemiSyncDegraded'
  | 'OnlyLaggingCandidate'
  | 'ReplicaDiverged'
  | 'ReplicaBroken'
  | 'ReplicaStopped'
  | 'ReplicaGone'
  | 'ReplicaLagging'
  | 'OldPrimaryReturned'
  | 'AllHealthy';

export interface Finding {
  readonly name: DiagnosisName;
  /** critical: writes have nowhere to go, or could go wrong. warning: a reserve is gone. info: all is well. */
  readonly gravity: 'critical' | 'warning' | 'info';
  readonly detail: string;
  readonly action: Action;
}

interface Row {
  readonly name: DiagnosisName;
  readonly gravity: Finding['gravity'];
  /** Null when it does not hold. */
  readonly find: (view: View) => { detail: string; action?: Action } | null;
}

/** The survey with what most rows ask. */
interface View {
  readonly survey: Survey;
  readonly primary: Member | undefined;
  readonly others: readonly Member[];
  readonly replicas: readonly SeenMember[];
  readonly witnesses: Witnesses;
}

interface Witnesses {
  readonly lost: readonly string[];
  readonly receiving: readonly string[];
  readonly silentUnknown: readonly string[];
}

const NONE: Action = { kind: 'none' };

/** Every diagnosis, the gravest first. */
const ROWS: readonly Row[] = [
  { name: 'StaleEpoch', gravity: 'critical', find: findStaleEpoch },
  { name: 'TwoWritablePrimaries', gravity: 'critical', find: findTwoWritable },
  { name: 'CheckerBroken', gravity: 'critical', find: findCheckerBroken },
  { name: 'Isolated', gravity: 'critical', find: findIsolated },
  { name: 'AllServersGone', gravity: 'critical', find: findAllServersGone },
  {
    name: 'PrimaryUnreachableButReplicasSeeIt',
    gravity: 'critical',
    find: findSeenByReplicas,
  },
  { name: 'PrimaryUnreachableNoWitness', gravity: 'critical', find: findNoWitness },
  { name: 'NoSafeCandidate', gravity: 'critical', find: findNoSafeCandidate },
  { name: 'PrimaryDown', gravity: 'critical', find: findPrimaryDown },
  { name: 'PrimaryHung', gravity: 'critical', find: findPrimaryHung },
  { name: 'PrimaryReadOnly', gravity: 'critical', find: findPrimaryReadOnly },
  { name: 'PrimaryReplicates', gravity: 'critical', find: findPrimaryReplicates },
  { name: 'NoWritablePrimary', gravity: 'critical', find: findNoWritable },
  { name: 'OldPrimaryWritable', gravity: 'warning', find: findOldPrimaryWritable },
  { name: 'ReplicaWritable', gravity: 'warning', find: findReplicaWritable },
  { name: 'PrimarySuspect', gravity: 'warning', find: findPrimarySuspect },
  { name: 'AllReplicasGone', gravity: 'warning', find: findAllReplicasGone },
  { name: 'SemiSyncDegraded', gravity: 'warning', find: findSemiSyncDegraded },
  { name: 'ReplicaDiverged', gravity: 'warning', find: findReplicaDiverged },
  { name: 'ReplicaBroken', gravity: 'warning', find: findReplicaBroken },
  { name: 'ReplicaStopped', gravity: 'warning', find: findReplicaStopped },
  { name: 'ReplicaGone', gravity: 'warning', find: findReplicaGone },
  { name: 'OnlyLaggingCandidate', gravity: 'warning', find: findOnlyLagging },
  { name: 'ReplicaLagging', gravity: 'warning', find: findReplicaLagging },
  { name: 'OldPrimaryReturned', gravity: 'warning', find: findReturned },
];

/** All that is the matter, the gravest first; one finding AllHealthy when nothing is. */
export function diagnose(survey: Survey): readonly [Finding, ...Finding[]] {
  const view = viewOf(survey);
  const findings: Finding[] = [];
  for (const { name, gravity, find } of ROWS) {
    const found = find(view);
    if (found !== null) findings.push({ name, gravity, detail: found.detail, action: found.action ?? NONE });
  }
  const [first, ...others] = findings;
  if (first !== undefined) return [first, ...others];
  const { primary, replicas } = view;
  const followers =
    replicas.length === 0 ? 'no replica' : replicas.map(({ backend }) => backend.name).join(', ');
  const detail = `${primary?.backend.name ?? 'nobody'} takes the writes of epoch ${survey.epoch}; in sync: ${followers}`;
  return [{ name: 'AllHealthy', gravity: 'info', detail, action: NONE }];
}

function viewOf(survey: Survey): View {
  const primary = memberOf(survey, survey.remembered);
  const others = survey.members.filter((member) => member !== primary && member.admin !== 'offline');
  const replicas =
    primary === undefined
      ? []
      : others.filter(
          (member): member is SeenMember => isSeen(member) && descendsFrom(survey, member, primary),
        );
  return { survey, primary, others, replicas, witnesses: hearWitnesses(survey, primary) };
}

/** What those say that have their replication directly from the primary. */
function hearWitnesses(survey: Survey, primary: Member | undefined): Witnesses {
  const witnesses = { lost: [] as string[], receiving: [] as string[], silentUnknown: [] as string[] };
  if (primary === undefined) return witnesses;
  for (const member of survey.members) {
    if (!followsServer(member, primary)) continue;
    const { name } = member.backend;
    switch (receiverWitness(member.record, survey.cluster, survey.nowMs)) {
      case 'lost':
      case 'silent':
        witnesses.lost.push(name);
        break;
      // Who was answered, if only by a refusal, bears witness of its life as well.
      case 'receives':
      case 'answered':
        witnesses.receiving.push(name);
        break;
      case 'unknown':
        witnesses.silentUnknown.push(name);
    }
  }
  return witnesses;
}

// ---- the epoch, and who is writable ------------------------------------------------------------------

function findStaleEpoch({ survey }: View): ReturnType<Row['find']> {
  const [highest] = survey.members
    .flatMap(({ record }) => record.facts?.epoch ?? [])
    .sort((one, other) => other.epoch - one.epoch);
  if (highest === undefined || highest.epoch <= survey.epoch) return null;
  const detail = `the servers know epoch ${highest.epoch}, in which ${highest.backend} is the primary; here epoch ${survey.epoch} is known (${survey.remembered ?? 'no primary'})`;
  if (memberOf(survey, highest.backend) === undefined) {
    return {
      detail: `${detail}; ${highest.backend} is not in the configuration, so nobody may take writes here`,
      action: { kind: 'stop_writes', backends: [highest.backend] },
    };
  }
  return { detail, action: { kind: 'adopt_epoch', backend: highest.backend, epoch: highest.epoch } };
}

/** One that is only an old primary is another finding: it is known who is right. */
function findTwoWritable({ survey, primary, others }: View): ReturnType<Row['find']> {
  if (primary === undefined || !takesWrites(primary)) return null;
  const rivals = others.filter((member) => takesWrites(member) && !isPast(survey, member));
  if (rivals.length === 0) return null;
  const names = rivals.map(({ backend }) => backend.name);
  return {
    detail: `${[primary.backend.name, ...names].join(' and ')} are writable and follow nobody; writes stop until ${names.join(' and ')} cannot be written to any more`,
    action: { kind: 'stop_writes', backends: names },
  };
}

/** It was the primary of an earlier epoch than ours: it knows none that is as new. */
function isPast(survey: Survey, member: Member): boolean {
  const epoch = member.record.facts?.epoch?.epoch ?? 0;
  return survey.epoch > 0 && epoch < survey.epoch;
}

function findOldPrimaryWritable({ survey, others }: View): ReturnType<Row['find']> {
  const found = others.filter(
    (member) => takesWrites(member) && (survey.remembered === null ? false : isPast(survey, member)),
  );
  if (found.length === 0) return null;
  const names = found.map(({ backend }) => backend.name);
  return {
    detail: `${names.join(', ')} can be written to, but ${survey.remembered} is the primary of epoch ${survey.epoch}; no traffic goes there`,
    action: { kind: 'fence', backends: names },
  };
}

function findReplicaWritable({ others }: View): ReturnType<Row['find']> {
  const found = others.filter(
    ({ record }) =>
      record.reach !== 'down' &&
      record.facts !== null &&
      !record.facts.readOnly &&
      record.facts.replication !== null,
  );
  if (found.length === 0) return null;
  const names = found.map(({ backend }) => backend.name);
  return {
    detail: `${names.join(', ')} replicate(s) but can be written to: read_only is off`,
    action: { kind: 'fence', backends: names },
  };
}

// ---- the primary is not to be reached ----------------------------------------------------------------

function isDown(member: Member): boolean {
  // One that has just answered again is on its way back, whatever else is said of it.
  return member.record.reach === 'down' && member.record.good === 0 && member.admin === 'online';
}

function findCheckerBroken({ survey }: View): ReturnType<Row['find']> {
  const broken = survey.members.filter(({ record }) => record.checkerBroken !== null);
  if (broken.length === 0) return null;
  const reason = broken[0]!.record.checkerBroken!;
  return {
    detail: `dbproxy itself cannot look at ${broken.map(({ backend }) => backend.name).join(', ')}: ${reason}; that says nothing of the servers`,
  };
}

function findIsolated({ survey, primary }: View): ReturnType<Row['find']> {
  const { arbiters } = survey;
  if (primary === undefined || !isDown(primary) || arbiters.total === 0 || arbiters.reachable > 0)
    return null;
  const why =
    arbiters.broken === arbiters.total
      ? 'dbproxy has no means to ask its arbiters'
      : 'no arbiter answers either';
  return {
    detail: `${primary.backend.name} is not to be reached, and ${why} (${arbiters.reasons.join('; ')}): it may be this host that is cut off`,
    action: { kind: 'watch' },
  };
}

function findAllServersGone({ survey, primary }: View): ReturnType<Row['find']> {
  if (primary === undefined || !isDown(primary) || survey.members.length < 2) return null;
  if (survey.members.some((member) => member.record.reach !== 'down')) return null;
  return {
    detail: `no server of cluster ${survey.cluster.name} is to be reached`,
    action: { kind: 'watch' },
  };
}

function hasQuorum({ arbiters }: Survey): boolean {
  return arbiters.total === 0 || arbiters.reachable > 0;
}

function findSeenByReplicas({ survey, primary, witnesses }: View): ReturnType<Row['find']> {
  if (primary === undefined || !isDown(primary) || !hasQuorum(survey) || witnesses.receiving.length === 0)
    return null;
  return {
    detail: `${primary.backend.name} is not to be reached from here (${primary.record.reachReason}), but ${witnesses.receiving.join(', ')} still hear(s) from it: it lives, and the network between it and dbproxy does not`,
    action: { kind: 'watch' },
  };
}

function findNoWitness(view: View): ReturnType<Row['find']> {
  const { survey, primary, witnesses, replicas } = view;
  if (primary === undefined || !isDown(primary) || !hasQuorum(survey) || witnesses.receiving.length > 0)
    return null;
  if (findAllServersGone(view) !== null) return null;
  const { name } = primary.backend;
  if (witnesses.silentUnknown.length > 0) {
    return {
      detail: `${name} is not to be reached; whether ${witnesses.silentUnknown.join(', ')} still receive(s) from it cannot be told yet, as replication speaks too seldom (heartbeat period; see doctor)`,
      action: { kind: 'watch' },
    };
  }
  if (witnesses.lost.length > 0) return null;
  const unheard =
    replicas.length === 0 ? 'it has no replica that can be asked' : 'no replica of it can be asked';
  return { detail: `${name} is not to be reached, and ${unheard}`, action: { kind: 'watch' } };
}

/** All witnesses say that the primary is gone. */
function isSurelyDown({ survey, primary, witnesses }: View): boolean {
  return (
    primary !== undefined &&
    isDown(primary) &&
    hasQuorum(survey) &&
    witnesses.lost.length > 0 &&
    witnesses.receiving.length === 0 &&
    witnesses.silentUnknown.length === 0
  );
}

function findNoSafeCandidate(view: View): ReturnType<Row['find']> {
  if (!isSurelyDown(view)) return null;
  const why = whyNoFailover(view);
  if (why === null) return null;
  return {
    detail: `${downWords(view)}; there is nobody to promote without a loss: ${why}`,
    action: { kind: 'watch' },
  };
}

/** Why nobody may be promoted by itself; null when somebody may. */
function whyNoFailover({ survey, primary }: View): string | null {
  const election = elect(survey, primary!, { only: null, force: false });
  if (election.winner === null) return election.reason;
  return semiSyncCovers(survey, primary!, election.winner.name);
}

function findPrimaryDown(view: View): ReturnType<Row['find']> {
  if (!isSurelyDown(view) || whyNoFailover(view) !== null) return null;
  return { detail: downWords(view), action: { kind: 'failover' } };
}

function downWords({ survey, primary, witnesses }: View): string {
  const { arbiters } = survey;
  const third =
    arbiters.total === 0
      ? 'all servers are on this host'
      : `${arbiters.reachable} of ${arbiters.total} arbiters answer`;
  return `${primary!.backend.name} is down: ${primary!.record.reachReason}; ${witnesses.lost.join(', ')} lost it too; ${third}`;
}

function findPrimarySuspect({ primary }: View): ReturnType<Row['find']> {
  if (primary === undefined || primary.record.reach === 'up' || isDown(primary)) return null;
  if (primary.record.reach === 'unknown') return null;
  return { detail: `${primary.backend.name}: ${primary.record.reachReason}`, action: { kind: 'watch' } };
}

// ---- the primary is there, but takes no writes -------------------------------------------------------

function findPrimaryHung(view: View): ReturnType<Row['find']> {
  const { survey, primary } = view;
  const failing = primary?.record.writeFailing ?? null;
  if (primary === undefined || failing === null || failing.count < survey.cluster.fall) return null;
  const detail = `${primary.backend.name} answers, but has taken no write for ${Math.round(survey.nowMs - failing.sinceMs)} ms: ${failing.reason}`;
  const why = hasQuorum(survey) ? whyNoFailover(view) : 'no arbiter answers';
  if (why !== null) return { detail: `${detail}; it stays the primary: ${why}` };
  return { detail, action: { kind: 'failover' } };
}

function findPrimaryReadOnly({ survey, primary, others }: View): ReturnType<Row['find']> {
  if (primary === undefined || primary.record.reach === 'down' || primary.record.facts === null) return null;
  const { readOnly, replication } = primary.record.facts;
  if (!readOnly) return null;
  const { name } = primary.backend;
  const detail = `${name} is the primary of epoch ${survey.epoch}, but read_only is on there`;
  const source = sourceOf(survey, primary);
  if (replication !== null && (source === undefined || !isReplicaOf(survey, source, primary))) {
    const words = `${detail}, and it replicates from ${replication.sourceHost}:${replication.sourcePort}`;
    return isSeen(primary) && hasQuorum(survey) && source !== undefined
      ? { detail: `${words}: a promotion has got no further`, action: { kind: 'finish', backend: name } }
      : { detail: `${words}: PROMOTE the one that is to take the writes` };
  }
  // Only who is seen for sure to be the primary of the last epoch is let loose.
  const rival = others.find((member) => takesWrites(member));
  if (rival !== undefined) return { detail: `${detail}, and ${rival.backend.name} is writable` };
  if (!isSeen(primary) || !hasQuorum(survey)) return { detail, action: { kind: 'watch' } };
  return { detail, action: { kind: 'unlock', backend: name } };
}

/** Writable, and a replica: what it is sent would be written between what clients write. */
function findPrimaryReplicates({ survey, primary }: View): ReturnType<Row['find']> {
  if (primary === undefined || primary.record.reach === 'down' || primary.record.facts === null) return null;
  const { readOnly, replication } = primary.record.facts;
  if (readOnly || replication === null) return null;
  const { name } = primary.backend;
  const detail = `${name} is the primary of epoch ${survey.epoch} and can be written to, but it replicates from ${replication.sourceHost}:${replication.sourcePort}`;
  const mayFinish = isSeen(primary) && hasQuorum(survey) && sourceOf(survey, primary) !== undefined;
  return mayFinish
    ? { detail: `${detail}: a promotion has got no further`, action: { kind: 'finish', backend: name } }
    : { detail: `${detail}: PROMOTE the one that is to take the writes` };
}

/** A ring of two: each replicates from the other. */
function isReplicaOf(survey: Survey, member: Member, source: Member): boolean {
  return sourceOf(survey, member) === source;
}

function findNoWritable({ survey, primary }: View): ReturnType<Row['find']> {
  if (primary !== undefined) return null;
  const writable = survey.members.filter((member) => takesWrites(member)).map(({ backend }) => backend.name);
  const detail =
    writable.length === 0
      ? 'the cluster has no primary, and no server is writable'
      : `the cluster has no primary yet; writable: ${writable.join(', ')}`;
  return { detail };
}

// ---- replicas ----------------------------------------------------------------------------------------

function findAllReplicasGone({ primary, others, replicas }: View): ReturnType<Row['find']> {
  if (primary === undefined || isDown(primary) || others.length === 0 || replicas.length > 0) return null;
  return {
    detail: `${primary.backend.name} has no replica that works: ${others.map(whyNoReplica).join('; ')}`,
  };
}

function whyNoReplica({ backend, record }: Member): string {
  if (record.reach === 'down' || record.facts === null)
    return `${backend.name} is down (${record.reachReason})`;
  return record.facts.replication === null
    ? `${backend.name} does not replicate`
    : `${backend.name} replicates from elsewhere`;
}

function findSemiSyncDegraded({ survey, primary }: View): ReturnType<Row['find']> {
  const { cluster, alone } = survey;
  if (primary === undefined || !isSeen(primary) || cluster.semiSync === 'off') return null;
  const { name } = primary.backend;
  if (alone)
    return { detail: `${name} goes on alone by decision: what it acknowledges now is nowhere else yet` };
  const side = primary.record.facts.semiSync.primary;
  const isShort = cluster.semiSync === 'require' && side !== null && side.timeoutMs < NEVER_MS;
  if (side !== null && side.enabled && side.live && side.clients > 0 && !isShort) return null;
  const why =
    side === null
      ? 'it has no semi-synchronous replication installed'
      : !side.enabled
        ? 'it is switched off there'
        : side.clients === 0
          ? 'no replica answers it, so its commits wait'
          : isShort
            ? `its commits wait only ${side.timeoutMs} ms`
            : 'it has given up waiting and commits at once';
  return { detail: `semi_sync = ${cluster.semiSync}, but ${name} is not semi-synchronous: ${why}` };
}

function findReplicaDiverged(view: View): ReturnType<Row['find']> {
  const { primary } = view;
  if (primary === undefined || !isSeen(primary)) return null;
  const found = listReplicas(view, ({ record }) => ownExtras(record.facts, primary.record.facts));
  if (found === null) return null;
  return {
    detail: `${found.detail}; somebody has written there: it cannot be elected, and has to be undone or copied anew`,
  };
}

function findReplicaBroken(view: View): ReturnType<Row['find']> {
  return listReplicas(view, ({ record }) => {
    const replication = record.facts.replication!;
    const error = replication.applierError || replication.receiverError;
    const stands = replication.applier === 'stopped' || replication.receiver === 'stopped';
    return stands && error !== '' ? error : null;
  });
}

function findReplicaStopped(view: View): ReturnType<Row['find']> {
  return listReplicas(view, ({ record }) => {
    const { applier, receiver, applierError, receiverError } = record.facts.replication!;
    if (applierError !== '' || receiverError !== '') return null;
    if (applier === 'stopped') return 'its applier is stopped';
    return receiver === 'stopped' && view.primary?.record.reach !== 'down' ? 'its receiver is stopped' : null;
  });
}

function findReplicaLagging(view: View): ReturnType<Row['find']> {
  return listReplicas(view, ({ record }) => {
    if (!record.lagging || record.facts.replication!.applier === 'stopped') return null;
    return `lags ${record.lagMs === null ? 'by an unknown time' : 'more than max_lag'}`;
  });
}

function listReplicas(
  { replicas }: View,
  ask: (replica: SeenMember) => string | null,
): ReturnType<Row['find']> {
  const words = replicas.flatMap((replica) => {
    const why = ask(replica);
    return why === null ? [] : [`${replica.backend.name}: ${why}`];
  });
  return words.length === 0 ? null : { detail: words.join('; ') };
}

function findReplicaGone({ primary, others }: View): ReturnType<Row['find']> {
  const gone = others.filter(({ record }) => record.reach === 'down');
  if (gone.length === 0 || gone.length === others.length || primary?.record.reach === 'down') return null;
  return {
    detail: gone.map(({ backend, record }) => `${backend.name} is down: ${record.reachReason}`).join('; '),
  };
}

/** Said before it matters: would the primary die now, nobody could follow it. */
function findOnlyLagging({ survey, primary, replicas }: View): ReturnType<Row['find']> {
  const candidates = replicas.filter(({ rwWeight }) => rwWeight > 0);
  if (primary === undefined || isDown(primary) || candidates.length === 0) return null;
  if (candidates.some(({ record }) => record.fresh)) return null;
  const names = candidates.map(({ backend, record }) => `${backend.name} (${record.replicationReason})`);
  return {
    detail: `nobody could take over from ${primary.backend.name} without waiting or losing: ${names.join(', ')}; max_lag is ${survey.cluster.maxLagMs} ms`,
  };
}

function findReturned({ survey, primary, others }: View): ReturnType<Row['find']> {
  const found = others.filter(
    (member) => isSeen(member) && member.record.facts.readOnly && member.record.facts.replication === null,
  );
  if (primary === undefined || found.length === 0) return null;
  const names = found.map(({ backend }) => backend.name).join(', ');
  return {
    detail: `${names} answer(s) and follow(s) nobody; ${survey.remembered} is the primary: REJOIN brings it back`,
  };
}
