/** Diagnoses of replicas, and of what the primary has of them. */
import { agree } from '../../base/grammar.ts';
import { cureOfDivergence, describeDivergence, followAdvice } from '../../topology/divergence-words.ts';
import type { Handover } from '../../topology/state-file.ts';
import { whyItsPlaceIsUnknown } from '../history.ts';
import { describePlace, standingOf, type Standing } from '../place.ts';
import { NEVER_MS, whatACrashCosts } from '../semi-sync.ts';
import {
  descendsFrom,
  isOrphaned,
  isSeen,
  memberOf,
  sourceOf,
  type Member,
  type SeenMember,
} from '../survey.ts';
import type { Found } from './finding.ts';
import { isDown, type View } from './view.ts';

export function findAllReplicasGone({ primary, others, replicas }: View): Found | null {
  if (primary === undefined || isDown(primary) || others.length === 0 || replicas.length > 0) return null;
  return {
    detail: `${primary.backend.name} has no replica that works: ${others.map(whyNoReplica).join('; ')}`,
  };
}

/** Why a server is no replica that works. */
export function whyNoReplica({ backend, record }: Member): string {
  if (record.reach === 'down' || record.facts === null)
    return `${backend.name} is down (${record.reachReason})`;
  return record.facts.replication === null
    ? `${backend.name} does not replicate`
    : `${backend.name} replicates from elsewhere`;
}

export function findSemiSyncDegraded({ survey, primary }: View): Found | null {
  const { cluster, alone } = survey;
  if (primary === undefined || !isSeen(primary) || cluster.semiSync === 'off') return null;
  const { name } = primary.backend;
  if (alone)
    return {
      detail: `${name} goes on alone by decision: what it acknowledges now is nowhere else yet${whatACrashCosts(primary)}`,
    };
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

export function findReplicaDiverged(view: View): Found | null {
  const { survey, primary, replicas } = view;
  if (primary === undefined) return null;
  const { name } = primary.backend;
  const words = survey.diverged.flatMap((divergence) => {
    const { backend, extras } = divergence;
    const member = memberOf(survey, backend);
    if (divergence.kind !== undefined)
      return [`${backend} ${describeDivergence(divergence, name)}: ${cureOfDivergence(divergence)}`];
    // An old primary that follows nobody is another finding.
    if (member === undefined || (member.record.facts?.replication ?? null) === null) return [];
    return replicas.some((replica) => replica === member)
      ? [
          `${backend}: ${extras}; somebody has written there, or on a server that it followed: it cannot be elected, and has to be undone or copied anew`,
        ]
      : [`${backend}: ${extras}; so it does not follow ${name}: ${cureOfDivergence(divergence)}`];
  });
  return words.length === 0 ? null : { detail: words.join('; ') };
}

/** Without global ids: its place in the log of the new primary is not known, or not yet. */
export function findReplicaLeftBehind({ survey, primary, others }: View): Found | null {
  if (primary === undefined || !isSeen(primary) || primary.record.facts.hasGtid) return null;
  const { handover } = survey;
  const words = others.flatMap((member) => {
    if (!isSeen(member) || descendsFrom(survey, member, primary)) return [];
    const { facts } = member.record;
    if (facts.replication === null && handover === null) return [];
    const why = whyLeftBehind(standingOf(facts, primary.record.facts, handover, false), handover);
    return why === null ? [] : [`${member.backend.name}: ${why}`];
  });
  return words.length === 0 ? null : { detail: words.join('; ') };
}

function whyLeftBehind(standing: Standing, handover: Handover | null): string | null {
  switch (standing.kind) {
    case 'there':
    case 'old_primary':
      return null;
    case 'unknown':
      return `${standing.why}; it needs a fresh copy of the data`;
    case 'replica': {
      if (standing.order === 0) return null;
      const where = `it has applied ${describePlace(standing.applied)} of the log of the primary before this one, which went on from ${describePlace(handover?.end ?? null)}`;
      return standing.order < 0
        ? `${where}; it needs that server for the rest, or a fresh copy of the data`
        : `${where}; it has what the primary has not, and needs a fresh copy of the data`;
    }
  }
}

export function findReplicaBroken(view: View): Found | null {
  return listReplicas(view, ({ record }) => {
    const replication = record.facts.replication!;
    const error = replication.applierError || replication.receiverError;
    const stands = replication.applier === 'stopped' || replication.receiver === 'stopped';
    return stands && error !== '' ? error : null;
  });
}

export function findReplicaStopped(view: View): Found | null {
  return listReplicas(view, ({ record }) => {
    const { applier, receiver, applierError, receiverError } = record.facts.replication!;
    if (applierError !== '' || receiverError !== '') return null;
    if (applier === 'stopped') return 'its applier is stopped';
    return receiver === 'stopped' && view.primary?.record.reach !== 'down' ? 'its receiver is stopped' : null;
  });
}

/** In a chain: what is between it and the primary is gone. */
export function findOrphaned(view: View): Found | null {
  const { survey, primary } = view;
  if (primary === undefined || isDown(primary)) return null;
  return listReplicas(view, (replica) => {
    const source = sourceOf(survey, replica);
    if (source === undefined || source === primary || !isOrphaned(survey, replica, source)) return null;
    return `it follows ${source.backend.name}, which is down, and so gets nothing of ${primary.backend.name}`;
  });
}

export function findReplicaLagging(view: View): Found | null {
  return listReplicas(view, ({ record }) => {
    if (!record.lagging || record.facts.replication!.applier === 'stopped') return null;
    return `lags ${record.lagMs === null ? 'by an unknown time' : 'more than max_lag'}`;
  });
}

function listReplicas({ replicas }: View, ask: (replica: SeenMember) => string | null): Found | null {
  const words = replicas.flatMap((replica) => {
    const why = ask(replica);
    return why === null ? [] : [`${replica.backend.name}: ${why}`];
  });
  return words.length === 0 ? null : { detail: words.join('; ') };
}

export function findReplicaGone({ primary, others }: View): Found | null {
  const gone = others.filter(({ record }) => record.reach === 'down');
  if (gone.length === 0 || gone.length === others.length || primary?.record.reach === 'down') return null;
  return {
    detail: gone.map(({ backend, record }) => `${backend.name} is down: ${record.reachReason}`).join('; '),
  };
}

/** Said before it matters: would the primary die now, nobody could follow it. */
export function findOnlyLagging({ survey, primary, replicas }: View): Found | null {
  const candidates = replicas.filter(({ rwWeight }) => rwWeight > 0);
  if (primary === undefined || isDown(primary) || candidates.length === 0) return null;
  if (candidates.some(({ record }) => record.fresh)) return null;
  const names = candidates.map(({ backend, record }) => `${backend.name} (${record.replicationReason})`);
  return {
    detail: `nobody could take over from ${primary.backend.name} without waiting or losing: ${names.join(', ')}; max_lag is ${survey.cluster.maxLagMs} ms`,
  };
}

export function findReturned({ survey, primary, others }: View): Found | null {
  const found = others.filter(
    (member) => isSeen(member) && member.record.facts.readOnly && member.record.facts.replication === null,
  );
  if (primary === undefined || found.length === 0) return null;
  const names = found.map(({ backend }) => backend.name).join(', ');
  const cures = found.flatMap(({ backend, record }) => {
    const own = survey.diverged.find((one) => one.backend === backend.name);
    // What it lacks, or has in the place of something else, is another finding.
    if (own?.kind !== undefined) return [];
    if (own !== undefined)
      return [
        `${own.backend} has what ${primary.backend.name} has not: ${own.extras}; ${cureOfDivergence(own)}`,
      ];
    return [
      whyItsPlaceIsUnknown(backend.name, record.facts!) ?? followAdvice(backend.name, primary.backend.name),
    ];
  });
  const said = [
    `${names} ${agree(found, 'answers and follows', 'answer and follow')} nobody`,
    `${primary.backend.name} is the primary`,
    ...cures,
  ];
  return { detail: said.join('; ') };
}
