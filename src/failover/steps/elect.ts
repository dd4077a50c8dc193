/** The step that asks who of those that are left takes over in a failover, looking at each of them once more. */
import { messageOf } from '../../base/message-of.ts';
import { asSeenNow } from '../../monitor/detector.ts';
import { elect, type Election } from '../election.ts';
import { heldBy } from '../history.ts';
import { noteLook } from '../memory.ts';
import { semiSyncCovers } from '../semi-sync.ts';
import { memberOf, type Member, type Survey } from '../survey.ts';
import type { StepContext } from './context.ts';
import { done, type StepReport } from './step-report.ts';

/** Who is promoted from now on. */
export async function electTarget(context: StepContext): Promise<StepReport> {
  const { only, force } = context.decision;
  const before = context.world.survey(context.cluster.name);
  const members = await Promise.all(before.members.map((member) => lookAgain(context, member)));
  const seen: Survey = { ...before, members };
  const survey: Survey = { ...seen, memory: noteLook(before.memory, seen) };
  const old = memberOf(survey, context.oldBackend().name);
  if (old === undefined) throw new Error(`${context.oldBackend().name} is not in the cluster`);
  const election = elect(survey, old, { only, force });
  if (election.winner === null) throw new Error(election.reason);
  const uncovered = semiSyncCovers(survey, old, election.winner.name);
  if (uncovered !== null && !force) throw new Error(uncovered);
  const loss = [election.loss, uncovered ?? ''].filter((part) => part !== '').join('; ');
  const winner = memberOf(survey, election.winner.name)!;
  context.note({ target: election.winner.name, loss, electedWith: heldBy(winner.record.facts!) });
  return done(`${describeElection(election)}${loss === '' ? '' : `; it may lack: ${loss}`}`);
}

/** What is known of a member, with what it is now; one that does not answer is as good as gone. */
async function lookAgain(context: StepContext, member: Member): Promise<Member> {
  if (member.backend.name === context.decision.old?.name || member.record.reach === 'down') return member;
  try {
    const facts = await context.look(await context.server(member.backend));
    return { ...member, record: asSeenNow(member.record, facts, context.world.clock.nowMs()) };
  } catch (error) {
    return { ...member, record: { ...member.record, reach: 'suspect', reachReason: messageOf(error) } };
  }
}

function describeElection({ winner, candidacies, leaves }: Election): string {
  const others = candidacies
    .filter(({ outcome }) => outcome !== 'elected')
    .map(({ backend, reason }) => `${backend} (${reason})`);
  const losers = others.length === 0 ? '' : `, not ${others.join(', ')}`;
  const rest = leaves === '' ? '' : `; ${leaves}, and no client was told of, stays there`;
  return `${winner!.name} is elected${losers}${rest}`;
}
