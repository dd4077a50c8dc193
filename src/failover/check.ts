/**
 * May this server be promoted, and as what? A pure decision on what was just seen of its whole cluster.
 * It is asked before anything is changed, and each refusal says what to do about it.
 */
import type { BackendConfig } from '../config/config.ts';
import { wasInSync } from '../monitor/detector.ts';
import { holdsPosition, unitePositions } from '../monitor/gtid.ts';
import type { ReplicationFacts } from '../monitor/observation.ts';
import { whyErrant } from './election.ts';
import { heldBy, receivedBy } from './history.ts';
import type { PromotionKind } from './plan.ts';
import { semiSyncCovers } from './semi-sync.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  isSource,
  memberOf,
  takesWrites,
  type Member,
  type SeenMember,
  type Survey,
} from './survey.ts';

/** What is asked for. */
export interface Wish {
  readonly target: string;
  /** The operator named it; otherwise an election did, and may think again once nothing moves any more. */
  readonly named: boolean;
  /** What it must be: a failover also of a primary that answers (it takes no writes); any: as it comes. */
  readonly as: 'any' | 'switchover' | 'failover';
  /** The operator takes the losses that he has been told of. */
  readonly force: boolean;
}

export interface Decision {
  readonly kind: PromotionKind;
  readonly target: BackendConfig;
  readonly old: BackendConfig | null;
  /** Other servers that follow the old primary and are to follow the new one. */
  readonly followers: readonly BackendConfig[];
  /** The only one that may be promoted; null: who is best when the receivers have been stopped. */
  readonly only: string | null;
  readonly force: boolean;
}

export type Verdict = Decision | { readonly kind: 'refused'; readonly reason: string };

/**
 * Decides. In this order:
 * 1. the target answers, is online, and others could follow it;
 * 2. no server but the old primary takes writes;
 * 3. a target that does not replicate: is the primary already, or is adopted when nobody else can be;
 * 4. a target that replicates: from the old primary, which is either well or surely down.
 */
export function decidePromotion(survey: Survey, wish: Wish): Verdict {
  const target = memberOf(survey, wish.target);
  if (target === undefined) return refuse(`it is not a backend of cluster '${survey.cluster.name}'`);
  const name = target.backend.name;

  const newest = Math.max(0, ...survey.members.map(({ record }) => record.facts?.epoch?.epoch ?? 0));
  if (newest > survey.epoch) {
    return refuse(
      `the servers know epoch ${newest}, and here epoch ${survey.epoch} is known: somebody else has promoted; that is taken in first, try again in a moment`,
    );
  }
  if (target.admin !== 'online') {
    return refuse(`it was set ${target.admin} by an operator; SET BACKEND ${name} ONLINE first`);
  }
  if (!isSeen(target)) return refuse(`it does not answer well: ${target.record.reachReason}`);
  const unfit = whyNobodyCouldFollow(target);
  if (unfit !== null) return refuse(unfit);

  const { replication } = target.record.facts;
  return replication === null
    ? decideStandalone(survey, target, wish)
    : decideReplica(survey, target, replication, wish);
}

function decideStandalone(survey: Survey, target: SeenMember, wish: Wish): Verdict {
  const { remembered, epoch } = survey;
  const name = target.backend.name;
  const adopted: Verdict = {
    kind: 'adopt',
    target: target.backend,
    old: null,
    followers: [],
    only: name,
    force: wish.force,
  };
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
  if (wish.as !== 'any') return refuse('it does not replicate from the primary');
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

function decideReplica(
  survey: Survey,
  target: SeenMember,
  replication: ReplicationFacts,
  wish: Wish,
): Verdict {
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
  const primary = memberOf(survey, remembered);
  // A promotion that got as far as the state file, and no further: the one before it takes no writes any more.
  if (
    name === remembered &&
    isSeen(source) &&
    source.record.facts.readOnly &&
    !descendsFrom(survey, source, target)
  ) {
    const hasAll =
      replication.drained && holdsPosition(heldBy(target.record.facts), source.record.facts.position);
    const rival = otherWriter(survey, name, null);
    if (hasAll && rival === null) {
      return {
        kind: 'adopt',
        target: target.backend,
        old: null,
        followers: [],
        only: name,
        force: wish.force,
      };
    }
  }
  const isBelow = primary !== undefined && primary !== target && descendsFrom(survey, target, primary);
  const old = isBelow ? primary : source;
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
  const decision = {
    target: target.backend,
    old: old.backend,
    followers,
    only: wish.named ? name : null,
    force: wish.force,
  };
  if (old.record.reach === 'down' || wish.as === 'failover') {
    if (wish.as === 'switchover') {
      return refuse(
        `the primary ${old.backend.name} is down (${old.record.reachReason}); FAILOVER promotes without it`,
      );
    }
    return decideFailover(survey, target, old, replication, wish) ?? { kind: 'failover', ...decision };
  }
  if (!isSeen(old)) return refuse(unclearWords(old));
  return decideSwitchover(survey, target, old, replication) ?? { kind: 'switchover', ...decision };
}

/**
 * What the old primary has not sent is lost with a failover; nothing else may be. So:
 * 1. what the target has received it can apply;
 * 2. it was in sync when the old primary was last seen;
 * 3. no other replica has received more;
 * 4. with semi_sync = require, no client was told of a write that it may lack.
 * An operator who forces it takes the last three upon himself.
 */
function decideFailover(
  survey: Survey,
  target: SeenMember,
  old: Member,
  replication: ReplicationFacts,
  wish: Wish,
): Verdict | null {
  if (replication.applier !== 'running' && !replication.drained) {
    return refuse(
      `it has received changes it has not applied, and its applier is stopped${errorWords(replication.applierError)}; START SLAVE SQL_THREAD first`,
    );
  }
  if (wish.force) return null;
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
  if (ahead === undefined) {
    const uncovered = semiSyncCovers(survey, old, target.backend.name);
    return uncovered === null
      ? null
      : refuse(
          `${uncovered}; bring ${old.backend.name} back, or FAILOVER TO ${target.backend.name} FORCE and lose that`,
        );
  }
  return refuse(
    `${ahead.backend.name} has received more from ${old.backend.name} (it has ${receivedBy(ahead.record.facts)}, ${target.backend.name} has ${held || 'nothing'}); promote ${ahead.backend.name}`,
  );
}

function decideSwitchover(
  survey: Survey,
  target: SeenMember,
  old: SeenMember,
  replication: ReplicationFacts,
): Verdict | null {
  const { cluster } = survey;
  const { name } = target.backend;
  const oldName = old.backend.name;
  // In a ring the old primary has its replication from its own replica.
  if (old.record.facts.replication !== null && !descendsFrom(survey, old, target)) {
    return refuse(
      `${oldName}, which it follows, replicates from a server that is not in the cluster; make that the primary first`,
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
  if (!target.record.facts.readOnly && name !== survey.remembered) {
    return refuse('it can be written to although it replicates; set read_only=1 there first');
  }
  const errant = whyErrant(survey, target, old);
  if (errant !== null)
    return refuse(`${errant}; they would be everybody's. Undo them there, or copy it anew`);
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
    (member) => member.backend.name !== target && member.backend.name !== old && takesWrites(member),
  );
  return found ?? null;
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
