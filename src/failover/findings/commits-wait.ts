/** The diagnosis of a primary that could be let go on alone, were it not for the other dbproxy of the pair. */
import { acknowledgersOf } from '../acknowledgements.ts';
import { isSeen, takesWrites } from '../survey.ts';
import type { Found } from './finding.ts';
import { whyNoReplica } from './replicas.ts';
import type { View } from './view.ts';

/** Nobody but an operator ends that: who is silent may be dead, or alive behind a cut with a replica. */
export function findCommitsWait({ survey, primary, others }: View): Found | null {
  if (survey.cluster.semiSync !== 'require' || survey.alone || survey.mayGoAlone !== false) return null;
  if (primary === undefined || !isSeen(primary) || !takesWrites(primary)) return null;
  const side = primary.record.facts.semiSync.primary;
  if (side?.enabled !== true || acknowledgersOf(survey, primary).length >= side.waitForReplicas) return null;
  const { name } = primary.backend;
  return {
    detail: `every commit at ${name} waits for a replica (semi_sync = require), and none answers: ${others.map(whyNoReplica).join('; ')}. ${name} is not let go on alone, as the other dbproxy may be alive behind a cut, with a replica that it promotes: if the other host is dead for sure, say SET PEER GONE here`,
  };
}
