/** Diagnoses of a primary that is not to be reached. */
import { agree } from '../../base/grammar.ts';
import type { Found } from './finding.ts';
import { hasQuorum, isDown, whyNoFailover, type View } from './view.ts';

export function findCheckerBroken({ survey }: View): Found | null {
  const broken = survey.members.filter(({ record }) => record.checkerBroken !== null);
  if (broken.length === 0) return null;
  const reason = broken[0]!.record.checkerBroken!;
  return {
    detail: `dbproxy itself cannot look at ${broken.map(({ backend }) => backend.name).join(', ')}: ${reason}; that says nothing of the servers`,
  };
}

export function findIsolated({ survey, primary }: View): Found | null {
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

export function findAllServersGone({ survey, primary }: View): Found | null {
  if (primary === undefined || !isDown(primary) || survey.members.length < 2) return null;
  if (survey.members.some((member) => member.record.reach !== 'down')) return null;
  return {
    detail: `no server of cluster ${survey.cluster.name} is to be reached`,
    action: { kind: 'watch' },
  };
}

export function findSeenByReplicas({ survey, primary, witnesses }: View): Found | null {
  if (primary === undefined || !isDown(primary) || !hasQuorum(survey) || witnesses.receiving.length === 0)
    return null;
  return {
    detail: `${primary.backend.name} is not to be reached from here (${primary.record.reachReason}), but ${witnesses.receiving.join(', ')} still ${agree(witnesses.receiving, 'hears', 'hear')} from it: it lives, and the network between it and dbproxy does not`,
    action: { kind: 'watch' },
  };
}

export function findNoWitness(view: View): Found | null {
  const { survey, primary, witnesses, replicas } = view;
  if (primary === undefined || !isDown(primary) || !hasQuorum(survey) || witnesses.receiving.length > 0)
    return null;
  if (findAllServersGone(view) !== null) return null;
  const { name } = primary.backend;
  if (witnesses.unknown.length > 0) {
    const words = witnesses.unknown.map(
      (one) => `whether ${one.name} still receives from it cannot be told yet: ${one.why}`,
    );
    return {
      detail: `${name} is not to be reached; ${words.join('; ')}`,
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
    witnesses.unknown.length === 0
  );
}

export function findNoSafeCandidate(view: View): Found | null {
  if (!isSurelyDown(view)) return null;
  const why = whyNoFailover(view);
  if (why === null) return null;
  return {
    detail: `${downWords(view)}; there is nobody to promote without a loss: ${why}`,
    action: { kind: 'watch' },
  };
}

export function findPrimaryDown(view: View): Found | null {
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

export function findPrimarySuspect({ primary }: View): Found | null {
  if (primary === undefined || primary.record.reach === 'up' || isDown(primary)) return null;
  if (primary.record.reach === 'unknown') return null;
  return { detail: `${primary.backend.name}: ${primary.record.reachReason}`, action: { kind: 'watch' } };
}
