/** The steps at the clients: their statements wait, they leave the old primary, and are let go again. */
import { BEGINNING_MS, LEAVING_MS } from '../../ipc/leaving.ts';
import type { StepContext } from './context.ts';
import { beginNewLog } from './new-log.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/** Has what needs the primary wait. What can be done before that is: nobody waits for it yet. */
export async function hold(context: StepContext): Promise<StepReport> {
  const oddity = context.decision.kind === 'switchover' ? await beginNewLog(context) : '';
  context.world.hold(context.cluster.name, true);
  return done(`statements that need the primary wait${oddity}`);
}

/** Has all client sessions leave the old primary, within transaction_grace. */
export async function endSessions(context: StepContext): Promise<StepReport> {
  const { old, kind } = context.decision;
  if (old === null || kind === 'adopt') return skipped('there is no old primary');
  const { name: cluster, holdTimeoutMs, transactionGraceMs } = context.cluster;
  // The steps after this one need some of hold_timeout, too; and a dead server's transactions cannot end well.
  const graceMs = kind === 'failover' ? 0 : Math.min(transactionGraceMs, holdTimeoutMs / 2);
  const reason = `${context.notes.target} becomes the primary instead of ${old.name}`;
  const request = { cluster, backend: old.name, graceMs, kind, reason };
  const { moved, ended, workersKilled } = await context.world.holdWrites(request, {
    // While others are given the grace nobody waits for one that hangs alone; then those who wait still have time.
    beginTimeoutMs: graceMs + BEGINNING_MS,
    // Who waits is told no after hold_timeout, however short; a worker that is still leaving is not killed for that.
    timeoutMs: Math.max(holdTimeoutMs, graceMs + LEAVING_MS),
  });
  const killed = workersKilled === 0 ? '' : `; ${workersKilled} worker(s) did not answer and were killed`;
  return done(
    `${moved} client session(s) have left ${old.name}, ${ended} had something there that ended${killed}`,
  );
}

/** Tells the workers who the primary is, and lets go of what waits. */
export async function publish(context: StepContext): Promise<StepReport> {
  const { target } = context.notes;
  // The new snapshot must be made of what the server is now, not of what it was a second ago.
  const seen = await context.world.checkNow(target);
  context.world.rejudge(context.cluster.name);
  context.world.hold(context.cluster.name, false);
  if (!seen) throw new Error(`${target} does not answer, so its writes wait`);
  return done(`${target} takes the writes`);
}

/** Lets go of what waits, as the primary is still who it was. */
export async function release(context: StepContext): Promise<string> {
  const { old } = context.decision;
  for (const name of [old?.name, context.notes.target]) {
    if (name !== undefined) await context.world.checkNow(name);
  }
  context.world.rejudge(context.cluster.name);
  context.world.hold(context.cluster.name, false);
  return 'writes go on as before';
}
