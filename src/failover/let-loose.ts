/**
 * May the primary take writes again? It may be back after a crash that has cost it what it had acknowledged; its replicas
 * tell, as they are now and not as they were seen last.
 */
import type { ServerFacts } from '../monitor/observation.ts';
import { describeHeld, hasMoreThanItsSource } from './history.ts';
import { CUT_SHORT, traceOf } from './memory.ts';
import { forceAdvice, whyACrashMayCost } from './semi-sync.ts';
import { memberOf, withAnswers, type Answer, type Member, type Survey } from './survey.ts';
import type { Divergence } from '../topology/state-file.ts';

export interface LetLooseWorld {
  survey(): Survey;
  /** What a server of the cluster is now; rejects when it does not answer. */
  look(backend: string): Promise<ServerFacts>;
  /** Has everybody see what it is now. */
  checkNow(backend: string): Promise<boolean>;
}

/** Why `primary`, which is this now, may not take writes; null when it may. */
export async function whyNotLetLoose(
  primary: string,
  facts: ServerFacts,
  world: LetLooseWorld,
): Promise<string | null> {
  const answers = await lookAtOthers(primary, world);
  const other = whyAnotherIsThePrimary(primary, answers, world.survey());
  if (other !== null) return other;
  const ahead = answers.find((answer) => answer.facts !== null && hasMoreThanItsSource(answer.facts, facts));
  if (ahead !== undefined) {
    // So that it is seen by the next who looks.
    await world.checkNow(ahead.name);
    return `${CUT_SHORT}: ${ahead.name} received what it has not any more`;
  }
  const now = withAnswers(world.survey(), [...answers, { name: primary, facts }]);
  const cost = whyACrashMayCost(now, memberOf(now, primary)!);
  return cost === null ? null : `${cost}; ${forceAdvice(primary)}`;
}

/**
 * Servers that have of the primary's own what it, which is read-only and is this now, has not any more. Whoever has it take
 * writes all the same gives that up: the ids are given again, and nothing tells later who has the one and who the other.
 */
export async function whoIsGivenUp(
  primary: string,
  facts: ServerFacts,
  world: LetLooseWorld,
): Promise<Divergence[]> {
  if (!facts.readOnly) return [];
  const answers = await lookAtOthers(primary, world);
  const survey = world.survey();
  const hasMore = (member: Member): ServerFacts | null => {
    const now = answers.find(({ name }) => name === member.backend.name)?.facts ?? null;
    if (now !== null) return hasMoreThanItsSource(now, facts) ? now : null;
    const trace = traceOf(survey, memberOf(survey, primary)!, member);
    return trace?.hasMore === true ? trace.facts : null;
  };
  return survey.members.flatMap((member) => {
    const held = member.backend.name === primary ? null : hasMore(member);
    if (held === null) return [];
    return [{ backend: member.backend.name, extras: describeHeld(held), kind: 'forgotten' } as const];
  });
}

/** Somebody else may have promoted another one a moment ago: an operator, another dbproxy. */
function whyAnotherIsThePrimary(primary: string, answers: readonly Answer[], survey: Survey): string | null {
  for (const { name, facts } of answers) {
    if (facts === null) continue;
    if (facts.epoch !== null && facts.epoch.epoch > survey.epoch)
      return `${name} knows epoch ${facts.epoch.epoch}, in which ${facts.epoch.backend} is the primary`;
    const member = memberOf(survey, name);
    if (!facts.readOnly && member?.backend.follow !== true)
      return `${name} can be written to, and there would be two writers; ${primary} waits until that one is read-only`;
  }
  return null;
}

/** All that may answer; also those that a promotion that was taken back has left without a source. */
function lookAtOthers(primary: string, world: LetLooseWorld): Promise<Answer[]> {
  const others = world
    .survey()
    .members.filter(({ backend, record }) => backend.name !== primary && record.reach !== 'down');
  return Promise.all(
    others.map(async ({ backend: { name } }) => {
      const facts = await world.look(name).catch(() => null);
      return { name, facts };
    }),
  );
}
