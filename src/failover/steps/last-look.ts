/**
 * The last look before the new primary takes writes. From the fence or the election to this moment a server may have
 * been restarted, somebody may have made the old primary writable, or this process may have stood still: then there
 * may be writes by now that clients were told of and that the new primary has not.
 */
import { messageOf } from '../../base/message-of.ts';
import type { BackendConfig } from '../../config/config.ts';
import type { ServerFacts } from '../../monitor/observation.ts';
import { describeHeld, hasAllOf, hasLogOf, hasMoreThanItsSource, hasWrittenAllItself } from '../history.ts';
import { CUT_SHORT, isCutShort } from '../memory.ts';
import { mayAcknowledge, whyACrashMayCost } from '../semi-sync.ts';
import { memberOf, withAnswers, type Member, type Survey } from '../survey.ts';
import type { StepContext } from './context.ts';

/** All that is asked at once is answered, or not, within it. */
const ASK_TIMEOUT_MS = 2_000;
/** Answers that have come in longer time were kept waiting by this process, and may not hold any more. */
const FRESH_MS = 1_000;
const ATTEMPTS = 3;

/** Rejects with the reason when the new primary may lack by now what was acknowledged. FORCE does not ask. */
export async function lookOnceMore(context: StepContext): Promise<void> {
  const { clock } = context.world;
  if (context.decision.force || context.decision.kind === 'adopt') return;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const startMs = clock.nowMs();
    const { isAnswered } = await lookAround(context);
    const boundMs = FRESH_MS + (isAnswered ? 0 : ASK_TIMEOUT_MS);
    if (clock.nowMs() - startMs <= boundMs) return;
  }
  throw new Error(
    'looking at the other servers once more takes so long that what was seen may not hold any more',
  );
}

/** What one server said; an error when it did not. */
type Answer = ServerFacts | Error;

async function lookAround(context: StepContext): Promise<{ isAnswered: boolean }> {
  const isFailover = context.decision.kind === 'failover';
  const survey = context.world.survey(context.cluster.name);
  const old = memberOf(survey, context.oldBackend().name);
  const mayLose = context.cluster.semiSync === 'require' && old?.record.facts?.hasGtid === true;
  const acknowledgers = mayLose
    ? survey.members.filter(
        (member) =>
          member !== old && member.backend.name !== context.notes.target && mayAcknowledge(member, old),
      )
    : [];
  const answers = new Map<string, Answer>();
  const ask = async ({ name }: BackendConfig, look: () => Promise<ServerFacts>): Promise<void> => {
    answers.set(name, await within(context, look()).catch(toError));
  };
  const target = context.targetBackend();
  await Promise.all([
    ask(target, async () => context.look(await context.target())),
    ...(isFailover
      ? []
      : [
          ask(context.oldBackend(), async () =>
            (await context.server(context.oldBackend())).look(ASK_TIMEOUT_MS),
          ),
        ]),
    ...acknowledgers.map(({ backend }) => ask(backend, () => silence(context, backend, isFailover))),
  ]);
  const now = answers.get(target.name)!;
  if (now instanceof Error) throw now;
  const oldNow = answers.get(context.oldBackend().name);
  const isOldAtRest = oldNow !== undefined && !(oldNow instanceof Error);
  if (isOldAtRest) {
    checkOld(context, oldNow, now);
    if (mayLose) checkWhatACrashCost(context, survey, answers);
  }
  // Nobody can have acknowledged anything to one that has nothing new.
  else checkAcknowledgers(context, old!, acknowledgers, answers, now);
  return { isAnswered: ![...answers.values()].some((answer) => answer instanceof TookTooLong) };
}

class TookTooLong extends Error {}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}

function within<T>({ world }: StepContext, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = world.clock.after(ASK_TIMEOUT_MS, () =>
      reject(new TookTooLong(`no answer within ${ASK_TIMEOUT_MS} ms`)),
    );
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

/**
 * It receives nothing more: a replica that was restarted receives again by itself, and acknowledges that. So does one that
 * could not be reached when the others were stopped: from now on it is in hand as they are.
 */
async function silence(
  context: StepContext,
  backend: BackendConfig,
  isFailover: boolean,
): Promise<ServerFacts> {
  const server = await context.server(backend);
  const facts = await context.look(server);
  if (!isFailover || facts.replication === null || facts.replication.receiver === 'stopped') return facts;
  const { name } = backend;
  context.note({ stopped: [...new Set([...context.notes.stopped, name])] });
  await context.world.takeInHand(context.cluster.name, [name]);
  await server.stopReceiver();
  return context.look(server);
}

/** The old primary is read-only still, and the new one has all of it. */
function checkOld(context: StepContext, old: ServerFacts, target: ServerFacts): void {
  const { name } = context.oldBackend();
  if (!old.readOnly) throw new Error(`${name} can be written to again`);
  // In a ring the old one has what the writer goes on writing; without global ids the places have been compared.
  if (!old.hasGtid || context.decision.dissolvesRing === true || hasLogOf(target, old)) return;
  throw new Error(
    `${name} has been written to since it was made read-only: it has ${old.position}, and ${context.notes.target} ${describeHeld(target)}`,
  );
}

/** The old primary may have been restarted in the middle of this, and lack by now what it had acknowledged. */
function checkWhatACrashCost(
  context: StepContext,
  survey: Survey,
  answers: ReadonlyMap<string, Answer>,
): void {
  const { name } = context.oldBackend();
  const factsOf = (answer: Answer): ServerFacts | null => (answer instanceof Error ? null : answer);
  const oldNow = factsOf(answers.get(name)!)!;
  const target = factsOf(answers.get(context.notes.target)!)!;
  for (const [other, answer] of answers) {
    const facts = other === name ? null : factsOf(answer);
    if (facts !== null && !hasAllOf(target, facts) && hasMoreThanItsSource(facts, oldNow))
      throw new Error(`${CUT_SHORT}: ${other} received what ${name} has not any more`);
  }
  const told = [...answers].map(([other, answer]) => ({ name: other, facts: factsOf(answer) }));
  const now = withAnswers(survey, told);
  const cost = whyACrashMayCost(now, memberOf(now, name)!);
  if (cost !== null) throw new Error(cost);
}

/** Whoever may have acknowledged something to the old primary since the election has nothing that the new one lacks. */
function checkAcknowledgers(
  context: StepContext,
  old: Member,
  acknowledgers: readonly Member[],
  answers: ReadonlyMap<string, Answer>,
  target: ServerFacts,
): void {
  const silent: string[] = [];
  const ahead: string[] = [];
  for (const { name } of acknowledgers.map(({ backend }) => backend)) {
    const answer = answers.get(name)!;
    if (answer instanceof Error) silent.push(`${name} (${answer.message})`);
    else if (!hasWrittenAllItself(answer) && !hasAllOf(target, answer))
      ahead.push(`${name} has ${describeHeld(answer)}`);
  }
  if (ahead.length > 0) {
    throw new Error(
      `meanwhile ${ahead.join(', ')}, which ${context.notes.target} has not: ${old.backend.name} may have acknowledged that`,
    );
  }
  const needed = old.record.facts?.semiSync.primary?.waitForReplicas ?? 1;
  // One that a crash has cut short has taken no writes since: what it had acknowledged until then has been asked for.
  const survey = context.world.survey(context.cluster.name);
  const isCut = isCutShort(survey, old, memberOf(survey, context.notes.target)!);
  if (silent.length >= needed && !isCut) {
    throw new Error(
      `${silent.join(', ')} cannot be asked any more, and may acknowledge what ${old.backend.name} writes`,
    );
  }
}
