/** What makes those who follow the new primary find their place in its log at once. */
import { messageOf } from '../../base/message-of.ts';
import { LOOK_TIMEOUT_MS } from '../server-control.ts';
import { memberOf } from '../survey.ts';
import type { StepContext } from './context.ts';

/**
 * Has the server that is to be the primary go on in a new file of its binary log, where that is safe. Its replicas
 * connect anew, and it reads the file that they have come to from its start: of a gigabyte that takes a third of a
 * second, for which writes would wait where one of them has to acknowledge. Answers what was odd, to be added to what a
 * step says: nothing depends on it but time. Rejects when the server does not answer any more.
 */
export async function beginNewLog(context: StepContext): Promise<string> {
  if (context.isByPlace || context.decision.dissolvesRing === true || !hasFollowers(context)) return '';
  try {
    await (await context.target()).beginNewLog();
    return '';
  } catch (error) {
    // Nobody is to wait for one that is gone, or hangs.
    await (await context.target()).look(LOOK_TIMEOUT_MS);
    return `; ${context.notes.target} could not begin a new binary log, so its replicas may take longer to find their place: ${messageOf(error)}`;
  }
}

/** Somebody is there to follow it: the old primary of a failover is not. */
function hasFollowers({ world, cluster, decision, notes }: StepContext): boolean {
  const survey = world.survey(cluster.name);
  const lost = decision.kind === 'failover' ? memberOf(survey, decision.old?.name ?? null) : undefined;
  return survey.members.some(
    (member) => member !== lost && member.backend.name !== notes.target && member.record.reach !== 'down',
  );
}
