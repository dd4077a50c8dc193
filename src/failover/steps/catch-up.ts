/** The steps in which the new primary comes to have what the old one had, or all that it received of it. */
import { sleep } from '../../base/clock.ts';
import { describePositions, holdsPosition } from '../../monitor/gtid.ts';
import type { ReplicationFacts, ServerFacts } from '../../monitor/observation.ts';
import type { LogPlace } from '../../topology/state-file.ts';
import { describeHeld, extrasOver, heldBy, passedOver } from '../history.ts';
import { comparePlaces, describePlace } from '../place.ts';
import { LOOK_TIMEOUT_MS, type ServerControl } from '../server-control.ts';
import type { StepContext } from './context.ts';
import { looksUntilSure, reachEnd } from './handover.ts';
import { beginNewLog } from './new-log.ts';
import { waitForNobody } from './semi-sync.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/** How often a server is asked again while waiting for something it cannot announce. */
const POLL_MS = 20;

/** To the end of the old primary's log, where that can be had. */
export function catchUp(context: StepContext): Promise<StepReport> {
  return context.decision.kind === 'switchover' ? catchUpWithOld(context) : drainRelayLog(context);
}

async function catchUpWithOld(context: StepContext): Promise<StepReport> {
  const { fencedPlace = null } = context.notes;
  if (fencedPlace !== null) return catchUpByPlace(context, fencedPlace);
  const position = context.notes.fencedPosition ?? '';
  if (position === '') return skipped('the old primary has never written anything');
  const target = await context.target();
  await letApplierGo(context, target);
  const applied = await context.waitUntil(context.cluster.catchUpTimeoutMs, async () => {
    if (await target.hasApplied(position)) return true;
    throwWhenApplierStopped(target.backend.name, (await target.look(LOOK_TIMEOUT_MS)).replication);
    return false;
  });
  if (!applied) throw new Error(context.tooSlow(`${target.backend.name} has not applied ${position}`));
  const old = await (await context.server(context.oldBackend())).look(LOOK_TIMEOUT_MS);
  const targetNow = await context.look(target);
  const extras = extrasOver(targetNow, old);
  // The writer of a ring goes on being written to, and the other one gets that from it.
  if (extras.count !== 0n && !context.decision.force && context.decision.dissolvesRing !== true) {
    throw new Error(`${target.backend.name} has what ${context.oldBackend().name} has not: ${extras.detail}`);
  }
  const missing = passedOver(targetNow, old);
  if (missing !== null && !context.decision.force) {
    throw new Error(`${target.backend.name} lacks ${missing} of ${context.oldBackend().name} for good`);
  }
  return done(`${target.backend.name} has applied ${position}, all that ${context.oldBackend().name} had`);
}

/** To the end of the old primary's log, which has to be its end still when the new one has got there. */
async function catchUpByPlace(context: StepContext, first: LogPlace): Promise<StepReport> {
  const target = await context.target();
  const old = await context.server(context.oldBackend());
  const { name } = target.backend;
  await letApplierGo(context, target);
  let end = first;
  const applied = await context.waitUntil(context.cluster.catchUpTimeoutMs, async () => {
    const now = await reachEnd(target, old, end);
    if (now === null) {
      throwWhenApplierStopped(name, (await target.look(LOOK_TIMEOUT_MS)).replication);
      return false;
    }
    if (comparePlaces(now, end) === 0) return true;
    end = now;
    context.note({ fencedPlace: end });
    return false;
  });
  if (!applied) throw new Error(context.tooSlow(`${name} has not applied ${describePlace(end)}`));
  return done(`${name} has applied ${describePlace(end)}, all that ${old.backend.name} had`);
}

/** Without the old primary, all there is to wait for is what had been received from it. */
async function drainRelayLog(context: StepContext): Promise<StepReport> {
  const target = await context.target();
  const { name } = target.backend;
  await letApplierGo(context, target);
  const oddity = await beginNewLog(context);
  let looks = 0;
  const drained = await context.waitUntil(context.cluster.catchUpTimeoutMs, async () => {
    const facts = await target.look(LOOK_TIMEOUT_MS);
    const { replication } = facts;
    looks = replication?.drained === false ? 0 : looks + 1;
    throwWhenItForgot(context, facts);
    if (looks >= looksUntilSure(facts)) return true;
    if (looks === 0) throwWhenApplierStopped(name, replication);
    await sleep(context.world.clock, POLL_MS);
    return false;
  });
  const rest = `what ${context.oldBackend().name} had not sent yet stays there${oddity}`;
  if (drained) return done(`${name} has applied all it received; ${rest}`);
  const slow = context.tooSlow(`${name} has not applied all it received`);
  if (context.cluster.failoverData === 'wait' && !context.decision.force) throw new Error(slow);
  context.note({
    loss: [context.notes.loss, `what ${name} had received and not applied`].filter(Boolean).join('; '),
  });
  return done(
    `${slow}; it is promoted without that, as ${context.decision.force ? 'FORCE' : 'failover_data'} says; ${rest}`,
  );
}

/**
 * Its applier would wait for replicas that it has not. A server that clients can write to, as after a restart, would
 * acknowledge then what nobody else has; it is fenced first.
 */
async function letApplierGo(context: StepContext, target: ServerControl): Promise<void> {
  const { readOnly } = await target.look(LOOK_TIMEOUT_MS);
  if (!readOnly && context.decision.dissolvesRing !== true)
    throw new Error(`${target.backend.name} can be written to although it is a replica`);
  await waitForNobody(context, target);
}

/** Some servers start with an empty relay log: then there is nothing left to apply, and what it was elected for is gone. */
function throwWhenItForgot(context: StepContext, facts: ServerFacts): void {
  const { electedWith = '', target } = context.notes;
  if (!facts.hasGtid || context.decision.force || holdsPosition(heldBy(facts), electedWith)) return;
  throw new Error(
    `${target} has lost what it had received and not applied, in a restart perhaps: it was elected with ${describePositions(electedWith)} and has ${describeHeld(facts)}`,
  );
}

function throwWhenApplierStopped(name: string, replication: ReplicationFacts | null): void {
  if (replication?.applier !== 'stopped') return;
  const error = replication.applierError === '' ? '' : `: ${replication.applierError}`;
  throw new Error(`the applier of ${name} has stopped${error}`);
}
