/**
 * May this server be promoted, and as what? A pure decision on what was just seen of its whole cluster.
 * It is asked before anything is changed, and each refusal says what to do about it.
 */
import type { BackendConfig } from '../config/config.ts';
import { wasInSync } from '../monitor/detector.ts';
import { holdsPosition, unitePositions } from '../monitor/gtid.ts';
import type { ReplicationFacts } from '../monitor/observation.ts';
import { cureOfDivergence, followAdvice } from '../topology/divergence-words.ts';
import { elect, whyDiverged, whyErrant } from './election.ts';
import { describeHeld, hasAllOf, hasLogOf, heldBy } from './history.ts';
import { CUT_SHORT, isCutShort, whoHasMore } from './memory.ts';
import { whyNobodyCouldFollow } from './place.ts';
import type { PromotionKind } from './plan.ts';
import { forceAdvice, semiSyncCovers, whyACrashMayCost } from './semi-sync.ts';
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
  /** No operator asks for it: its failover counts for failover_cooldown. */
  readonly isAutomatic?: boolean;
  /** A plan on paper: a failover also of a primary that is well now. */
  readonly isOnPaper?: boolean;
  /** What was said, for refusals: they name it. Absent: PROMOTE. */
  readonly said?: string;
}

export interface Decision {
  readonly kind: PromotionKind;
  readonly target: BackendConfig;
  readonly old: BackendConfig | null;
  /** Other servers that follow the old primary and are to follow the new one. */
  readonly followers: readonly BackendConfig[];
  /** The target is the writer of a ring already: afterwards it follows nobody. */
  readonly dissolvesRing?: boolean;
  /** The only one that may be promoted; null: who is best when the receivers have been stopped. */
  readonly only: string | null;
  readonly force: boolean;
  /** A failover that no operator has asked for. */
  readonly isAutomatic: boolean;
}

export type Verdict = Decision | { readonly kind: 'refused'; readonly reason: string };

/**
 * Decides. In this order:
 * 1. it can be written down;
 * 2. the target answers, is online, and others could follow it;
 * 3. no server but the old primary takes writes;
 * 4. a target that does not replicate: is the primary already, or is adopted when nobody else can be;
 * 5. a target that replicates: from the old primary, which is either well or surely down.
 */
export function decidePromotion(survey: Survey, wish: Wish): Verdict {
  const target = memberOf(survey, wish.target);
  if (target === undefined) {
    return refuse(
      `it is not a backend of cluster '${survey.cluster.name}', or was added and has not replicated from it yet`,
    );
  }
  const name = target.backend.name;

  // What nobody asks for is tried: the trouble may have ended since it was last looked for.
  if (survey.stateTrouble !== null && wish.isAutomatic !== true) {
    return refuse(
      `nothing can be written to state_dir (${survey.stateTrouble}), so it could not be written down; free space or mend the directory, and try again a few seconds later`,
    );
  }
  const newest = Math.max(0, ...survey.members.map(({ record }) => record.facts?.epoch?.epoch ?? 0));
  if (newest > survey.epoch) {
    return refuse(
      `the servers know epoch ${newest}, and here epoch ${survey.epoch} is known: somebody else has promoted; that is taken in first, try again in a moment`,
    );
  }
  if (target.admin !== 'online') {
    return refuse(`it was set ${target.admin} by an operator; SET BACKEND ${name} ONLINE first`);
  }
  if (target.backend.follow) {
    return refuse('it has follow = on, so it takes no traffic; take that out of its section first');
  }
  if (!isSeen(target)) return refuse(`it does not answer well: ${target.record.reachReason}`);
  const before = memberOf(survey, survey.remembered);
  const unfit = whyNobodyCouldFollow(target.record.facts, before?.record.facts ?? null);
  if (unfit !== null) return refuse(unfit);

  const { replication } = target.record.facts;
  return replication === null
    ? decideStandalone(survey, target, wish)
    : decideReplica(survey, target, replication, wish);
}

function decideStandalone(survey: Survey, target: SeenMember, wish: Wish): Verdict {
  const { remembered, epoch } = survey;
  const name = target.backend.name;
  const adopted = adoption(target.backend, wish.force);
  const rival = otherWriter(survey, name, null);
  if (remembered === name) {
    if (!target.record.facts.readOnly) return refuse(`it is the primary already (epoch ${epoch})`);
    const cost = wish.force ? null : whyItLacksItsOwn(survey, target);
    if (cost !== null) return refuse(cost);
    return rival === null ? adopted : refuse(rivalWords(rival));
  }
  if (rival !== null && rival.backend.name === remembered) {
    const own = survey.diverged.find(({ backend }) => backend === name);
    const cure = own === undefined ? followAdvice(name, remembered) : cureOfDivergence(own);
    return refuse(
      `it does not follow ${remembered}, the primary of epoch ${epoch}, which takes the writes; ${cure}`,
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
  // What a server that is not in the configuration had cannot be asked, and will not be.
  if (remembered !== null && !(old === undefined && wish.force)) {
    const lack = whyItMayLack(target, old, remembered);
    if (lack !== null) return refuse(lack);
  }
  return adopted;
}

/** Why the primary itself may have less than it had; null when it has not. */
function whyItLacksItsOwn(survey: Survey, primary: SeenMember): string | null {
  const { seen, gone } = whoHasMore(survey, primary);
  const { name } = primary.backend;
  const [first] = [...seen, ...gone];
  if (first === undefined) {
    const cost = whyACrashMayCost(survey, primary);
    return cost === null ? null : `${cost}; ${forceAdvice(name)}`;
  }
  return `${CUT_SHORT}: ${first.backend.name} received what it has not any more; FAILOVER TO ${first.backend.name}, or PROMOTE ${name} FORCE and lose that (${first.backend.name} has to be copied anew then: the ids are given again)`;
}

/** Why a writable server is no continuation of the primary before it; null when it has all that one had. */
function whyItMayLack(target: SeenMember, old: Member | undefined, remembered: string): string | null {
  if (old === undefined) {
    return `whether it has all that the primary ${remembered} had is not known, as the configuration has no ${remembered}; put its section back under that name, or PROMOTE ${target.backend.name} FORCE, and lose what only ${remembered} has`;
  }
  const { facts } = old.record;
  if (facts === null) {
    return `whether it has all that the primary ${remembered} had is not known, as ${remembered} has not been seen since dbproxy started; bring ${remembered} back first, if only to be looked at`;
  }
  // What the old primary has from the target itself it cannot have ahead of it, only seen later.
  if (followsServer(old, target)) return null;
  if (!target.record.facts.hasGtid) {
    return `whether it has all that the primary ${remembered} had cannot be told without global ids, as it does not follow it`;
  }
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
    const hasAll = replication.drained && hasLogOf(target.record.facts, source.record.facts);
    const rival = otherWriter(survey, name, null);
    if (hasAll && rival === null) {
      return adoption(target.backend, wish.force);
    }
  }
  const { hasGtid } = target.record.facts;
  const isBelow = primary !== undefined && primary !== target && descendsFrom(survey, target, primary);
  const old = isBelow ? primary : source;
  if (remembered !== null && remembered !== name && remembered !== old.backend.name) {
    return refuse(
      `it replicates from ${old.backend.name}, not from the primary ${remembered}; make it follow that first`,
    );
  }
  if (!hasGtid && old !== source) {
    return refuse(
      `it replicates from ${source.backend.name}, not from ${old.backend.name} directly, and without global ids its place in the log of ${old.backend.name} is not known`,
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
    isAutomatic: false,
    dissolvesRing: isRingWriter(survey, target, old),
  };
  if (old.record.reach === 'down' || wish.as === 'failover') {
    if (wish.as === 'switchover') {
      return refuse(
        `the primary ${old.backend.name} is down (${old.record.reachReason}); FAILOVER promotes without it`,
      );
    }
    const isAutomatic = wish.isAutomatic ?? false;
    if (!isAutomatic && !wish.force && wish.isOnPaper !== true && isWell(old)) {
      return refuse(livesWords(old, name));
    }
    return (
      decideFailover(survey, target, old, replication, wish) ?? { ...decision, kind: 'failover', isAutomatic }
    );
  }
  if (!isSeen(old)) return refuse(unclearWords(old));
  // It loses nothing, so there is nothing to force.
  return (
    decideSwitchover(survey, target, old, replication) ?? { kind: 'switchover', ...decision, force: false }
  );
}

/**
 * What the old primary has not sent is lost with a failover; nothing else may be. So:
 * 1. what the target has received it can apply;
 * 2. it was in sync when the old primary was last seen;
 * 3. no other replica has received more, but what only one has that may not be elected, and no client was told of;
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
  if (seenMs !== null && !isCutShort(survey, old, target) && !wasInSync(lastInSync, seenMs, survey.cluster)) {
    const behind =
      lastInSync === null
        ? 'it has not been seen in sync at all'
        : `it was last in sync ${Math.round((seenMs - lastInSync.atMs) / 1000)} s before that`;
    return refuse(
      `its replication did not work when ${old.backend.name} was last seen well (${behind}), so it lacks what was written since; promote another replica or bring ${old.backend.name} back`,
    );
  }
  const ahead = survey.members.find(
    (member): member is SeenMember =>
      member !== target && followsServer(member, old) && !hasAllOf(target.record.facts, member.record.facts),
  );
  // The election has looked into what another has received and no client was told of.
  const isElected = elect(survey, old, { only: null, force: false }).winner === target.backend;
  if (ahead === undefined || isElected) {
    const uncovered = semiSyncCovers(survey, old, target.backend.name);
    return uncovered === null
      ? null
      : refuse(
          `${uncovered}; bring ${old.backend.name} back, or FAILOVER TO ${target.backend.name} FORCE and lose that`,
        );
  }
  return refuse(
    `${ahead.backend.name} has received more from ${old.backend.name} (it has ${describeHeld(ahead.record.facts)}, ${target.backend.name} has ${describeHeld(target.record.facts)}); promote ${ahead.backend.name}`,
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
  const unfit = whyNobodyCouldFollow(target.record.facts, old.record.facts);
  if (unfit !== null) return refuse(unfit);
  const oldUnfit = old.record.facts.whyNotByPlace;
  if (oldUnfit !== '') return refuse(`of ${oldName}: ${oldUnfit}`);
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
  const dissolves = isRingWriter(survey, target, old);
  if (!target.record.facts.readOnly && name !== survey.remembered && !dissolves) {
    return refuse('it can be written to although it replicates; set read_only=1 there first');
  }
  const second = dissolves ? secondRingWriter(survey, target, old) : null;
  if (second !== null) {
    return refuse(`${second.backend.name} can be written to, too; set read_only=1 there first`);
  }
  // What the writer of a ring has of its own comes to the others by itself.
  const errant = dissolves ? null : (whyErrant(survey, target, old) ?? whyDiverged(survey, target));
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

/** As far as is known it takes writes: who takes over from it does not do so because it is lost. */
export function isWell(old: Member): old is SeenMember {
  return isSeen(old) && takesWrites(old) && old.record.writeFailing === null;
}

/** Why nobody takes over from a primary that is well without asking it. */
export function livesWords(old: Member, target: string): string {
  const { name } = old.backend;
  return `the primary ${name} is alive and well: SWITCHOVER TO ${target} hands over without losing anything; when ${name} is to be given up all the same, FAILOVER TO ${target} FORCE does it, and loses what it has not sent`;
}

/** In a ring: it can be written to, and the one that it follows has its changes from it. */
function isRingWriter(survey: Survey, target: SeenMember, old: Member): boolean {
  return !target.record.facts.readOnly && descendsFrom(survey, old, target);
}

function secondRingWriter(survey: Survey, target: Member, old: Member): Member | null {
  const found = survey.members.find(
    (member) =>
      member !== target &&
      member !== old &&
      member.record.reach !== 'down' &&
      member.record.facts?.readOnly === false,
  );
  return found ?? null;
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

/** It takes over from nobody, and by its record alone. */
function adoption(target: BackendConfig, force: boolean): Verdict {
  return {
    kind: 'adopt',
    target,
    old: null,
    followers: [],
    only: target.name,
    force,
    isAutomatic: false,
  };
}
