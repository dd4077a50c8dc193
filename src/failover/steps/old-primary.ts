/** The steps at the old primary: nobody can write there any more, or can again. */
import { messageOf } from '../../base/message-of.ts';
import { describePlace, endOfLog } from '../place.ts';
import type { ServerControl } from '../server-control.ts';
import { memberOf } from '../survey.ts';
import { LOOK_TIMEOUT_MS } from '../server-control.ts';
import type { StepContext } from './context.ts';
import { waitForReplicasAgain } from './semi-sync.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/** How long to try to reach an old primary that is thought to be gone. */
const FENCE_GONE_TIMEOUT_MS = 1_000;

/** Nobody can write to the old primary any more. */
export function fence(context: StepContext): Promise<StepReport> {
  return context.decision.kind === 'failover' ? fenceGone(context) : fenceLiving(context);
}

async function fenceLiving(context: StepContext): Promise<StepReport> {
  const old = await context.server(context.oldBackend());
  await noteWhetherReadOnly(context, old);
  await old.makeReadOnly(context.cluster.holdTimeoutMs, true);
  const facts = await old.look(LOOK_TIMEOUT_MS);
  const { position } = facts;
  const place = facts.hasGtid ? null : endOfLog(facts);
  context.note({ fencedPosition: position, fencedPlace: place });
  const where = place === null ? position || 'an empty binary log' : describePlace(place);
  return done(`${old.backend.name} is read-only at ${where}`);
}

/**
 * An old primary that cannot be reached is fenced when it comes back (see `care.ts`). One that answers, only
 * does not write, must be fenced now, or be unable to acknowledge anything: its replicas do not receive any more.
 */
async function fenceGone(context: StepContext): Promise<StepReport> {
  const old = context.oldBackend();
  const isReachable = memberOf(context.world.survey(context.cluster.name), old.name)?.record.reach === 'up';
  if (!isReachable) return skipped(`${old.name} is not to be reached; it is fenced when it comes back`);
  try {
    const server = await context.server(old);
    await noteWhetherReadOnly(context, server);
    await server.makeReadOnly(Math.min(FENCE_GONE_TIMEOUT_MS, context.cluster.holdTimeoutMs), true);
    return done(`${old.name} is read-only`);
  } catch (error) {
    if (context.cluster.semiSync !== 'require') throw error;
    return skipped(`${messageOf(error)}; it can acknowledge nothing, as no replica receives from it`);
  }
}

/** One that is back after a crash, read-only, must not be made writable by taking this back: that is `unlock`'s to judge. */
async function noteWhetherReadOnly(context: StepContext, old: ServerControl): Promise<void> {
  if (context.notes.wasReadOnly !== null) return;
  context.note({ wasReadOnly: (await old.look(LOOK_TIMEOUT_MS)).readOnly });
}

/** Takes writes there again, if it did before. */
export async function unfence(context: StepContext): Promise<string> {
  const { name } = context.oldBackend();
  if (context.notes.wasReadOnly === null) return `${name} had not been touched`;
  if (context.notes.wasReadOnly) return `${name} is read-only, as it was before`;
  const old = await context.server(context.oldBackend());
  const why = await context.whyNotLetLoose(old);
  if (why !== null) return `${name} stays read-only: ${why}`;
  await waitForReplicasAgain(context, old);
  await old.makeWritable();
  return `${name} is writable again`;
}
