/** The steps in the state file: who is the primary of the next epoch, and which weight it has. */
import type { StepContext } from './context.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/** Remembers the new primary under the next epoch. */
export async function record(context: StepContext): Promise<StepReport> {
  const { target, recordTried } = context.notes;
  const { name: cluster } = context.cluster;
  if (recordTried && context.world.rememberedPrimary(cluster) === target) {
    return skipped(
      `${target} is the primary of epoch ${context.world.epochOf(cluster)} in the state file already`,
    );
  }
  context.note({ recordTried: true });
  // With the epoch, or a process that is killed right now would leave a failover without its cooldown.
  const failoverWallMs = context.decision.isAutomatic ? Math.round(context.world.clock.wallMs()) : undefined;
  const epoch = await context.world.recordPromotion(
    cluster,
    target,
    failoverWallMs,
    context.handover ?? undefined,
  );
  return done(`${target} is the primary of epoch ${epoch} in the state file`);
}

/** Remembers who was the primary before, under one more epoch. */
export async function recordBack(context: StepContext): Promise<string> {
  const { recordTried, rememberedBefore, failoverWallMsBefore, target } = context.notes;
  if (!recordTried) return 'the state file had not been changed';
  // A write that was reported as failed may be on the disk all the same: only a newer one is sure.
  const before = rememberedBefore ?? context.decision.old?.name ?? null;
  if (before === null) return `${target} may stay remembered: nobody was before it`;
  const failoverWallMs = context.decision.isAutomatic ? failoverWallMsBefore : undefined;
  const { handoverBefore } = context.notes;
  const { name } = context.cluster;
  const epoch = await context.world.recordPromotion(name, before, failoverWallMs, handoverBefore);
  return `${before} is the primary of epoch ${epoch} in the state file`;
}

/** A server that could not be elected becomes the primary: it takes the weight over, as the older scripts expect. */
export async function swapWeights(context: StepContext): Promise<StepReport> {
  const { target } = context.notes;
  if (context.world.rwWeight(target) > 0) return skipped(`${target} has an rw_weight already`);
  const old = context.oldBackend().name;
  const weight = context.world.rwWeight(old) || 1;
  await context.world.changeSettings({ [old]: { rwWeight: 0 }, [target]: { rwWeight: weight } });
  return done(`rw_weight of ${target} is ${weight}, of ${old} 0`);
}
