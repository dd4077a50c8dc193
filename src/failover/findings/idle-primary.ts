/** Diagnoses of a primary that is there, but takes no writes, or must not. */
import { descendsFrom, isSeen, sourceOf, takesWrites, type Member, type Survey } from '../survey.ts';
import { CUT_SHORT, whoHasMore } from '../memory.ts';
import { forceAdvice, whyACrashMayCost } from '../semi-sync.ts';
import type { Found } from './finding.ts';
import { hasQuorum, whyNoFailover, type View } from './view.ts';

export function findPrimaryHung(view: View): Found | null {
  const { survey, primary } = view;
  const failing = primary?.record.writeFailing ?? null;
  if (primary === undefined || failing === null || failing.count < survey.cluster.fall) return null;
  if (failing.isLocked) return null;
  const detail = `${primary.backend.name} answers, but has taken no write for ${Math.round(survey.nowMs - failing.sinceMs)} ms: ${failing.reason}`;
  const why = hasQuorum(survey) ? whyNoFailover(view) : 'no arbiter answers';
  if (why !== null) return { detail: `${detail}; it stays the primary: ${why}` };
  return { detail, action: { kind: 'failover' } };
}

/** Another server would take the writes, but this one is well, and will when the lock is let go. */
export function findPrimaryLocked({ survey, primary }: View): Found | null {
  const failing = primary?.record.writeFailing ?? null;
  if (primary === undefined || failing === null || failing.count < survey.cluster.fall) return null;
  if (!failing.isLocked) return null;
  const { name } = primary.backend;
  return {
    detail: `somebody has held a lock on ${name} for ${Math.round(survey.nowMs - failing.sinceMs)} ms that its writes wait for (${failing.reason}): a backup, FLUSH TABLES WITH READ LOCK or LOCK TABLES; ${name} is well otherwise and stays the primary`,
  };
}

export function findPrimaryReadOnly(view: View): Found | null {
  const { survey, primary, others } = view;
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
  const { seen, gone } = whoHasMore(survey, primary);
  const ahead = seen.map(({ backend }) => backend.name);
  if (ahead.length > 0) {
    const words = `${detail}, and ${CUT_SHORT}: ${ahead.join(', ')} received what it has not any more`;
    const why = hasQuorum(survey) ? whyNoFailover(view) : 'no arbiter answers';
    return why === null
      ? { detail: words, action: { kind: 'failover' } }
      : { detail: `${words}; nobody can take over: ${why}` };
  }
  if (gone.length > 0) {
    const names = gone.map(({ backend }) => backend.name).join(', ');
    return {
      detail: `${detail}, and ${CUT_SHORT}: ${names} received what it has not any more, and cannot be asked; ${forceAdvice(name)}`,
    };
  }
  const cost = whyACrashMayCost(survey, primary);
  if (cost !== null) return { detail: `${detail}; ${cost}; ${forceAdvice(name)}` };
  // Only who is seen for sure to be the primary of the last epoch is let loose.
  const rival = others.find((member) => takesWrites(member));
  if (rival !== undefined) return { detail: `${detail}, and ${rival.backend.name} is writable` };
  if (!isSeen(primary) || !hasQuorum(survey)) return { detail, action: { kind: 'watch' } };
  return { detail, action: { kind: 'unlock', backend: name } };
}

/** Writable, and a replica: what it is sent would be written between what clients write. */
export function findPrimaryReplicates({ survey, primary }: View): Found | null {
  if (primary === undefined || primary.record.reach === 'down' || primary.record.facts === null) return null;
  const { readOnly, replication } = primary.record.facts;
  if (readOnly || replication === null) return null;
  const { name } = primary.backend;
  const detail = `${name} is the primary of epoch ${survey.epoch} and can be written to, but it replicates from ${replication.sourceHost}:${replication.sourcePort}`;
  const source = sourceOf(survey, primary);
  const why =
    source !== undefined && descendsFrom(survey, source, primary)
      ? 'a ring, which is dissolved, as what the other one alone has would come over unseen'
      : 'a promotion has got no further';
  return isSeen(primary) && hasQuorum(survey) && source !== undefined
    ? { detail: `${detail}: ${why}`, action: { kind: 'finish', backend: name } }
    : { detail: `${detail}: PROMOTE the one that is to take the writes` };
}

function isInRing(survey: Survey, member: Member): boolean {
  const source = sourceOf(survey, member);
  return source !== undefined && descendsFrom(survey, source, member);
}

/** A ring of two: each replicates from the other. */
function isReplicaOf(survey: Survey, member: Member, source: Member): boolean {
  return sourceOf(survey, member) === source;
}

export function findNoWritable({ survey, primary }: View): Found | null {
  if (primary !== undefined) return null;
  const ring = survey.members.filter((member) => isInRing(survey, member)).map(({ backend }) => backend.name);
  if (ring.length > 0) {
    return {
      detail: `the cluster has no primary yet, and ${ring.join(' and ')} replicate from each other: PROMOTE the one that is to take the writes; it follows nobody afterwards`,
    };
  }
  const writable = survey.members.filter((member) => takesWrites(member)).map(({ backend }) => backend.name);
  if (survey.remembered !== null) {
    const [only, ...others] = writable;
    const adopt =
      only === undefined || others.length > 0
        ? ''
        : `, or, if ${only} is that very server under another name, PROMOTE ${only} FORCE`;
    return {
      detail: `the primary of epoch ${survey.epoch} is ${survey.remembered}, which the configuration here does not have: put its section back under that name${adopt}. Of a pair both files have to be the same: see doctor`,
    };
  }
  const bootstrap = `BOOTSTRAP CLUSTER ${survey.cluster.name}`;
  const detail =
    writable.length === 0
      ? `the cluster has no primary, and no server is writable: ${bootstrap} makes one out of new servers; of servers that replicate already, PROMOTE the one that is to take the writes`
      : `the cluster has no primary yet; writable: ${writable.join(', ')}: make exactly one writable, or ${bootstrap}`;
  return { detail };
}
