/** Semi-synchronous replication in a promotion: who waits for whose acknowledgements at which moment. */
import type { ServerControl } from '../server-control.ts';
import { isSource, memberOf } from '../survey.ts';
import { LOOK_TIMEOUT_MS } from '../server-control.ts';
import type { StepContext } from './context.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/**
 * The new primary waits for acknowledgements as soon as there is somebody to give them. Where it must and there is
 * nobody, it goes on alone by a decision that is on disk first.
 */
export async function carrySemiSync(context: StepContext): Promise<StepReport> {
  const { semiSync, name: cluster } = context.cluster;
  if (semiSync === 'off') return skipped('semi_sync = off');
  const target = await context.target();
  const { name } = target.backend;
  const hasReplica = await anyFollows(context);
  if (hasReplica) {
    await target.setSemiSync('replica', false).catch(() => undefined);
    await target.setSemiSync('primary', true);
    await context.world.setAlone(cluster, false);
    return done(`${name} acknowledges a write when a replica has it`);
  }
  if (semiSync === 'require') {
    await context.world.setAlone(cluster, true);
    await target.setSemiSync('primary', false);
  }
  return skipped(
    `no replica follows ${name}, so it acknowledges writes alone until one has caught up; what is lost with ${name} before that is lost`,
  );
}

async function anyFollows(context: StepContext): Promise<boolean> {
  const survey = context.world.survey(context.cluster.name);
  const target = memberOf(survey, context.notes.target);
  for (const member of survey.members) {
    if (member === target || target === undefined || member.record.reach === 'down') continue;
    try {
      const server = await context.server(member.backend);
      const { replication, semiSync } = await server.look(LOOK_TIMEOUT_MS);
      // A follower that takes no traffic is not told to answer.
      if (member.backend.follow && semiSync.replica?.enabled !== true) continue;
      // A receiver runs before it has asked its source for its id.
      if (replication?.receiver === 'running' && isSource(target, replication)) return true;
    } catch {
      // One that cannot be asked does not follow, as far as acknowledgements go.
    }
  }
  return false;
}

/** Until the step semi_sync says so: its applier, and its own first writes, would wait for replicas that it has not. */
export async function waitForNobody(context: StepContext, target: ServerControl): Promise<void> {
  if (context.cluster.semiSync !== 'off') await target.setSemiSync('primary', false);
}

/** Becoming read-only may have let its commits go. */
export async function waitForReplicasAgain(context: StepContext, old: ServerControl): Promise<void> {
  const survey = context.world.survey(context.cluster.name);
  const isInstalled = (memberOf(survey, old.backend.name)?.record.facts?.semiSync.primary ?? null) !== null;
  if (context.cluster.semiSync === 'require' && !survey.alone && isInstalled)
    await old.setSemiSync('primary', true);
}
