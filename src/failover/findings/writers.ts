/** Diagnoses of the epoch, and of who is writable. */
import { agree } from '../../base/grammar.ts';
import { memberOf, takesWrites, type Member, type Survey } from '../survey.ts';
import { NONE, type Found } from './finding.ts';
import type { View } from './view.ts';

export function findStaleEpoch({ survey }: View): Found | null {
  const { recorded = null } = survey.arbiters.vote ?? {};
  // One that we know is taken over with all that was decided of it, as soon as it is read.
  const isStrange = recorded !== null && memberOf(survey, recorded.primary) === undefined;
  const told = isStrange ? [{ epoch: recorded.epoch, backend: recorded.primary }] : [];
  const [highest] = [...survey.members.flatMap(({ record }) => record.facts?.epoch ?? []), ...told].sort(
    (one, other) => other.epoch - one.epoch,
  );
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
export function findTwoWritable({ survey, primary, others }: View): Found | null {
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

export function findOldPrimaryWritable({ survey, primary, others }: View): Found | null {
  // While the configuration does not have the primary, one that knows of no epoch may be that very server under another name.
  const isKnown = ({ record }: Member): boolean =>
    primary !== undefined || (record.facts?.epoch ?? null) !== null;
  const found = others.filter(
    (member) =>
      takesWrites(member) && survey.remembered !== null && isPast(survey, member) && isKnown(member),
  );
  if (found.length === 0) return null;
  const names = found.map(({ backend }) => backend.name);
  return {
    detail: `${names.join(', ')} can be written to, but ${survey.remembered} is the primary of epoch ${survey.epoch}; no traffic goes there`,
    action: { kind: 'fence', backends: names },
  };
}

export function findReplicaWritable({ primary, others }: View): Found | null {
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
    detail: `${names.join(', ')} ${agree(names, 'replicates', 'replicate')} but can be written to: read_only is off`,
    // Before it is known who takes the writes, one of them may be who does (a ring).
    action: primary === undefined ? NONE : { kind: 'fence', backends: names },
  };
}
