/** The diagnosis that nobody could follow the primary, whoever is in sync: said before it matters. */
import { elect } from '../election.ts';
import { isSeen, memberOf, type Member } from '../survey.ts';
import type { Found } from './finding.ts';
import type { View } from './view.ts';

/** With FORCE, so that what passes by itself (lag) is not counted: that is `OnlyLaggingCandidate`. */
export function findNobodyElectable({ survey, primary, replicas }: View): Found | null {
  // Without a replica that works there is another finding.
  if (primary === undefined || !isSeen(primary) || replicas.length === 0) return null;
  const { winner, candidacies } = elect(survey, primary, { only: null, force: true });
  if (winner !== null) return null;
  const words = candidacies.map(({ backend, reason }) => {
    const cure = cureOf(memberOf(survey, backend)!);
    return `${backend}: ${reason}${cure === '' ? '' : ` (${cure})`}`;
  });
  return {
    detail: `should ${primary.backend.name} die now, nobody could take over: ${words.join('; ')}`,
  };
}

/** What makes it electable, where that is one thing; empty: its reason says it, or it has a finding of its own. */
function cureOf(member: Member): string {
  const { name, follow } = member.backend;
  if (member.admin !== 'online') return `SET BACKEND ${name} ONLINE`;
  if (!isSeen(member)) return '';
  if (follow) return 'take that out of its section if it is to be electable';
  if (member.rwWeight === 0) return `SET BACKEND ${name} RW_WEIGHT = 1`;
  const { replication, readOnly } = member.record.facts;
  if (replication !== null && replication.channels === 1 && !readOnly) return 'set read_only = 1 there';
  return '';
}
