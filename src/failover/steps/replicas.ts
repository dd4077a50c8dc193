/** The steps at the replicas: they receive nothing more from the old primary, and follow the new one. */
import { agree } from '../../base/grammar.ts';
import { messageOf } from '../../base/message-of.ts';
import type { BackendConfig } from '../../config/config.ts';
import { followByPlace, type PlaceTerms } from '../follow-by-place.ts';
import { extrasOver, lacksOwn, strayExtras } from '../history.ts';
import { descendsFrom, isSeen, memberOf } from '../survey.ts';
import { takeReplicaSide } from '../replica-side.ts';
import { LOOK_TIMEOUT_MS } from '../server-control.ts';
import type { StepContext } from './context.ts';
import { done, skipped, type StepReport } from './step-report.ts';

/** On every replica of the old primary that can be reached; one that cannot has no say in the election. */
export async function stopReceivers(context: StepContext): Promise<StepReport> {
  const survey = context.world.survey(context.cluster.name);
  const old = memberOf(survey, context.oldBackend().name);
  const replicas = survey.members.filter(
    (member) =>
      old !== undefined &&
      member !== old &&
      member.record.reach !== 'down' &&
      descendsFrom(survey, member, old),
  );
  const names = replicas.map(({ backend }) => backend.name);
  context.note({ stopped: [...new Set([...context.notes.stopped, ...names])] });
  await context.world.takeInHand(context.cluster.name, names);
  const failures = await atAll(
    replicas.map(({ backend }) => backend),
    async (backend) => (await context.server(backend)).stopReceiver(),
  );
  // One that goes on receiving may go on acknowledging what the old primary writes.
  if (failures.length > 0) throw new Error(failures.join('; '));
  return done(
    `${names.join(', ')} ${agree(names, 'receives', 'receive')} nothing more from ${context.oldBackend().name}`,
  );
}

/** Has all receive again that were stopped. */
export async function startReceivers(context: StepContext): Promise<string> {
  // Who was asked to stop is known unless that was cut off: then all are asked to go on that replicate.
  const { stopped } = context.notes;
  const replicas = context.world
    .survey(context.cluster.name)
    .members.filter(({ record }) => (record.facts?.replication ?? null) !== null);
  const backends = replicas
    .map(({ backend }) => backend)
    .filter(({ name }) => stopped.length === 0 || stopped.includes(name));
  const failures = await atAll(backends, (backend) => startReceiver(context, backend));
  if (failures.length > 0) throw new Error(failures.join('; '));
  if (backends.length === 0) return 'nobody receives again';
  const names = backends.map(({ name }) => name).join(', ');
  return `${names} ${agree(backends, 'receives', 'receive')} again`;
}

/** MariaDB throws the relay log away when both threads are started, and without its source nobody has that once more. */
async function startReceiver(context: StepContext, backend: BackendConfig): Promise<void> {
  const server = await context.server(backend);
  const { replication } = await server.look(LOOK_TIMEOUT_MS);
  const old = memberOf(context.world.survey(context.cluster.name), context.oldBackend().name);
  const isIdle = replication?.receiver === 'stopped' && replication.applier === 'stopped';
  // It is in hand, and started when its source is well.
  if (isIdle && !replication.drained && (old === undefined || !isSeen(old)))
    throw new Error('it is left stopped, as a start might throw away what it has received and cannot apply');
  await server.startReplication();
}

/** Has all others follow the new primary. */
export async function repoint(context: StepContext): Promise<StepReport> {
  const backends = followersToBe(context);
  if (backends.length === 0) await startOthers(context, []);
  if (backends.length === 0) return skipped('no other server is alive that is to follow it');
  const target = context.targetBackend();
  // Without global ids others find their places in the old primary's log, which must not go on before they have.
  const isLast = ({ name }: BackendConfig): boolean =>
    context.handover !== null && name === context.decision.old?.name;
  const followTarget = (backend: BackendConfig): Promise<void> => follow(context, backend, target);
  const failures = [
    ...(await atAll(
      backends.filter((backend) => !isLast(backend)),
      followTarget,
    )),
    ...(await atAll(backends.filter(isLast), followTarget)),
  ];
  await startOthers(context, backends);
  await Promise.all(backends.map((backend) => context.world.checkNow(backend.name)));
  if (failures.length > 0) throw new Error(failures.join('; '));
  const names = backends.map(({ name }) => name).join(', ');
  return done(`${names} ${agree(backends, 'follows', 'follow')} ${target.name}`);
}

/** Who is to follow the new primary: all that answer and do not follow it, through others or directly. */
function followersToBe(context: StepContext): BackendConfig[] {
  const survey = context.world.survey(context.cluster.name);
  const target = memberOf(survey, context.notes.target);
  const old = memberOf(survey, context.decision.old?.name ?? null);
  return survey.members
    .filter((member) => {
      if (member === target || target === undefined || member.record.reach === 'down') return false;
      // An old primary that was lost is looked into before it follows anybody.
      if (member === old) return context.decision.kind === 'switchover';
      const replicates = (member.record.facts?.replication ?? null) !== null;
      return replicates && !descendsFrom(survey, member, target);
    })
    .map(({ backend }) => backend);
}

/** Whose receivers were stopped and who stay where they are: below the new primary already. */
async function startOthers(context: StepContext, moved: readonly BackendConfig[]): Promise<void> {
  const { stopped, target } = context.notes;
  const old = context.decision.old?.name;
  const left = context
    .members()
    .filter(
      ({ name }) =>
        stopped.includes(name) && name !== target && name !== old && !moved.some((one) => one.name === name),
    );
  // Who cannot be asked now is started when it is seen again: it is in hand.
  await Promise.allSettled(left.map(async (backend) => (await context.server(backend)).startReplication()));
}

/** Does it at all of them at once; answers what failed. */
async function atAll(
  backends: readonly BackendConfig[],
  act: (backend: BackendConfig) => Promise<void>,
): Promise<string[]> {
  const outcomes = await Promise.allSettled(backends.map(act));
  return outcomes.flatMap((outcome, index) =>
    outcome.status === 'rejected' ? [`${backends[index]!.name}: ${messageOf(outcome.reason)}`] : [],
  );
}

async function follow(context: StepContext, backend: BackendConfig, source: BackendConfig): Promise<void> {
  const server = await context.server(backend);
  const seen = await context.look(server);
  const { kind, old, dissolvesRing } = context.decision;
  const waitsForNobody = context.cluster.semiSync === 'off' || backend.follow || dissolvesRing === true;
  const isFenced = seen.readOnly || waitsForNobody;
  // Its clients' commits that wait for replicas must not be acknowledged by who waits for nobody.
  if (!isFenced) await server.makeReadOnly(context.cluster.holdTimeoutMs, true);
  await takeReplicaSide(server, context.cluster);
  const own = isFenced ? seen : await context.look(server);
  const theirs = await context.look(await context.target());
  if (!own.hasGtid) {
    await context.world.takeInHand(context.cluster.name, [backend.name]);
    return followByPlace(server, await context.target(), placeTerms(context));
  }
  // Who was not there when it was elected may have received more; somebody may have written on the old primary. In a ring
  // that one has what the writer goes on writing.
  if (kind === 'failover' || (backend.name === old?.name && dissolvesRing !== true)) {
    const extras = extrasOver(own, theirs);
    if (extras.count !== 0n) throw new Error(`it has what ${source.name} has not: ${extras.detail}`);
  }
  // A write on an old primary that somebody made writable again may have come to this one alone.
  const stray = strayExtras(own, theirs);
  if (stray !== null) throw new Error(`it has what ${source.name} has not: ${stray}`);
  await context.world.takeInHand(context.cluster.name, [backend.name]);
  await server.follow(source, context.cluster.holdTimeoutMs, lacksOwn(own, theirs), null);
}

function placeTerms(context: StepContext): PlaceTerms {
  return {
    handover: context.handover,
    followMs: context.cluster.holdTimeoutMs,
    catchUpMs: context.cluster.catchUpTimeoutMs,
    receives: context.decision.kind === 'switchover',
  };
}
