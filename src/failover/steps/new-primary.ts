/** The steps at the new primary: it follows nobody any more and takes writes, or is what it was again. */
import { messageOf } from '../../base/message-of.ts';
import type { BackendConfig } from '../../config/config.ts';
import { describeReminder, extrasOver } from '../history.ts';
import { describePlace } from '../place.ts';
import { LOOK_TIMEOUT_MS, type ServerControl } from '../server-control.ts';
import type { StepContext } from './context.ts';
import { lookOnceMore } from './last-look.ts';
import { followOldAgain, takeHandover } from './handover.ts';
import { waitForNobody } from './semi-sync.ts';
import { done, type StepReport } from './step-report.ts';

/** Has it follow its source no more; where that matters, takes down how far it has come. */
export async function stopReplication(context: StepContext): Promise<StepReport> {
  const target = await context.target();
  const sourceIsGone = context.decision.kind === 'failover';
  const oddity = await target.stopReplication(sourceIsGone, context.cluster.catchUpTimeoutMs);
  const stopped = `replication is stopped on ${target.backend.name}${oddity}`;
  if (!context.isByPlace) return done(stopped);
  const { fencedPlace = null } = context.notes;
  const handover = takeHandover(await target.look(LOOK_TIMEOUT_MS), target.backend.name, fencedPlace);
  context.note({ handover });
  const { end, start } = handover;
  return done(
    `${stopped}; ${describePlace(end)} of ${context.oldBackend().name} is ${describePlace(start)} of its own log`,
  );
}

/** The epoch is written down there first, so that who finds it writable finds out in which epoch it is. */
export async function makeWritable(context: StepContext): Promise<StepReport> {
  const target = await context.target();
  const { name } = target.backend;
  const epoch = context.world.epochOf(context.cluster.name);
  if (context.notes.writableTried) await notePerhapsUntouched(context, epoch);
  // One that may have been writable before may have been written to: it is the primary, whatever others have.
  const mayTurnBack = !context.notes.writableTried;
  if (mayTurnBack) await lookOnceMore(context);
  if (context.decision.kind === 'adopt') {
    if (context.decision.force) {
      const givenUp = await context.whoIsGivenUp(target);
      if (givenUp.length > 0) await context.world.noteDiverged(context.cluster.name, givenUp);
    } else if (mayTurnBack || (await target.look(LOOK_TIMEOUT_MS)).readOnly) {
      // One that was let loose before this was cut off takes writes; who else does is fenced when this has ended.
      if (!mayTurnBack) await fenceOthers(context);
      const why = await context.whyNotLetLoose(target);
      if (why !== null) throw new Error(why);
    }
  }
  const { replication } = await target.look(LOOK_TIMEOUT_MS);
  if (replication !== null && (replication.receiver !== 'stopped' || replication.applier !== 'stopped')) {
    await target.stopReplication(true, context.cluster.catchUpTimeoutMs);
  }
  // As long as it knows a source it has not been written to: it may have gone on since its place was taken.
  if (replication !== null && context.isByPlace) {
    const facts = await target.look(LOOK_TIMEOUT_MS);
    // One that could be written to while it replicated: a place was lost, a primary must be there.
    const handover = facts.readOnly ? takeHandover(facts, name, null) : null;
    context.note({ handover });
    await context.world.setHandover(context.cluster.name, handover);
  }
  // A source that is only stopped would be followed again after the server's next restart.
  await target.forgetSource();
  await waitForNobody(context, target);
  const reminder = describeReminder(await target.look(LOOK_TIMEOUT_MS));
  context.note({ writableTried: true });
  await target.noteEpoch({ cluster: context.cluster.name, epoch, backend: name });
  // From the first write on: it waits until a replica follows, or until it is let go on alone.
  if (context.cluster.semiSync === 'require') await target.setSemiSync('primary', true);
  if (mayTurnBack) await lookOnceMore(context);
  await target.makeWritable();
  return done(`${name} is writable in epoch ${epoch} and follows nobody${reminder}`);
}

/** Nobody else comes to that while this is not brought to its end. Who cannot be fenced is told of by who asks next. */
async function fenceOthers(context: StepContext): Promise<void> {
  const { enforceReadOnly, holdTimeoutMs } = context.cluster;
  if (!enforceReadOnly) return;
  const others = context.members().filter(({ name, follow }) => name !== context.notes.target && !follow);
  const fence = async (backend: BackendConfig): Promise<void> => {
    const server = await context.server(backend);
    if (!(await server.look(LOOK_TIMEOUT_MS)).readOnly) await server.makeReadOnly(holdTimeoutMs, true);
  };
  await Promise.allSettled(others.map(fence));
}

/**
 * A process before this one may have been stopped before it came to do anything: who is read-only and does not know of
 * this epoch has not been writable in it, as that is written down there first.
 */
async function notePerhapsUntouched(context: StepContext, epoch: number): Promise<void> {
  const { readOnly, epoch: known } = await (await context.target()).look(LOOK_TIMEOUT_MS);
  if (readOnly && (known === null || known.epoch < epoch)) context.note({ writableTried: false });
}

/**
 * Starts the replica again; one whose source has been forgotten by now is pointed at it anew. A server that was restarted
 * meanwhile, and starts writable, may have been written to: what is under way there comes to its log first.
 */
export async function restartReplication(context: StepContext): Promise<string> {
  const target = await context.target();
  const { holdTimeoutMs: followMs } = context.cluster;
  const { replication, readOnly } = await target.look(LOOK_TIMEOUT_MS);
  // The writer of a ring was writable before.
  if (!readOnly && context.decision.dissolvesRing !== true) await target.makeReadOnly(followMs, true);
  if (replication !== null) await target.startReplication();
  else if (context.handover === null) {
    const extras = await ownExtrasOverOld(context, target);
    if (extras !== null)
      return `${target.backend.name} follows nobody for now, as it has what ${context.oldBackend().name} has not: ${extras}`;
    await target.follow(context.oldBackend(), followMs, false, null);
  } else await followOldAgain(target, context.oldBackend(), context.handover, followMs);
  return `${target.backend.name} replicates again`;
}

/** The note of its epoch, mostly, which is discarded before it follows again; null: nothing, or nobody to compare with. */
async function ownExtrasOverOld(context: StepContext, target: ServerControl): Promise<string | null> {
  try {
    const old = await context.server(context.oldBackend());
    const extras = extrasOver(await context.look(target), await context.look(old));
    return extras.count === 0n ? null : extras.detail;
  } catch {
    return null;
  }
}

/** Has it take no more writes, if it may have begun to. */
export async function makeReadOnlyAgain(context: StepContext): Promise<string> {
  const { old } = context.decision;
  const { target, writableTried } = context.notes;
  if (!writableTried) return `${target} had not been made writable`;
  try {
    await (await context.target()).makeReadOnly(context.cluster.holdTimeoutMs, true);
  } catch (error) {
    const fenced = old === null ? '' : `, so ${old.name} is left as it is and is not given the writes again`;
    throw new Error(
      `${target} may be writable (${messageOf(error)})${fenced}; ${target} is remembered as the primary: when it answers, PROMOTE ${target} if it is read-only`,
      { cause: error },
    );
  }
  return `${target} is read-only`;
}
